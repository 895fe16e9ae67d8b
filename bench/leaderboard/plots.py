"""The pictures of a published board, as SVG: what each is of and the numbers that it shows; `drawers` draws them.

The main answer has one always: rank intervals where tests over settings place methods, else forest plots. A picture carries the hash of the
numbers it shows: `--check` compares that, for the drawing itself depends on the version of matplotlib. Needs the extra `plot`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.leaderboard.drawers import DRAWERS, Data
from bench.leaderboard.files import Key
from bench.leaderboard.robustness import PANELS, Curve
from bench.leaderboard.rows import Board, Overall, SettingTable
from bench.leaderboard.surface import Surface
from bench.methods.catalog import CEILING, UNRANKED
from bench.stats import cd_groups, nemenyi, nested_pairs
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import factor

MARK = re.compile(r"data sha256 ([0-9a-f]{64})")
DIGITS = 6
MOST_FORESTS = 6  # of one kind of data
MOST_PAIRS = 60  # nested pairs in one picture


@in_its_unit(lambda board: board.suite.metric)
def data_of(board: Board) -> dict[str, Data]:
    """File name -> the numbers that the picture shows, in points and GFLOPs; None where a number is not known."""
    return {board.files.picture(*key): data for key, data in _pictures(board).items()}


def _pictures(board: Board) -> dict[Key, Data]:
    """What each picture of the board is of, and its numbers."""
    found: dict[Key, Data] = {}

    def by(setting: SettingTable) -> Data:
        return {"metric": setting.metric, "higher_is_better": METRICS[setting.metric].higher_is_better}

    settings: dict[Key, SettingTable] = {("forest", *setting.setting): setting for setting in board.settings}
    for kind in board.overall:
        for key in main_of(kind).keys:
            found[key] = (
                intervals_data(kind) if key[0] == "intervals" else {"kind": "forest", **by(settings[key]), **_forest_data(settings[key])}
            )
        ranks = _ranks_data(kind)
        if ranks and not kind.mixed:
            found["ranks", kind.what] = {"kind": "ranks", **ranks}
        if len(kind.settings) > 1 and any(row.mean is not None for row in kind.rows):
            found["cost", kind.what] = {"kind": "cost", "metric": kind.metric, **_unit(kind.settings), **_cost_data(kind)}
    for curve in board.curves:
        along = [setting for setting in board.settings if setting.dataset == curve.dataset]
        of_curve = {**by(along[0]), **_unit(along)}
        for part, key in enumerate(curve.pictures if any(math.isfinite(row.area) for row in curve.rows) else ()):
            found[key] = {"kind": "noise", **of_curve, **_noise_data(curve, part)}
    for setting in board.settings:
        if setting.surface:
            own = {"metric": setting.metric, **_unit([setting])}
            found["surface", *setting.setting] = {"kind": "surface", **own, **_surface_data(setting.title, setting.surface)}
            if setting.surface.knows_more:
                found["more", *setting.setting] = {"kind": "more", **own, **_more_data(setting.title, setting.surface)}
    return found


class Main(NamedTuple):
    """The pictures of the main answer over settings of one kind, or why there are none."""

    keys: tuple[Key, ...]
    reason: str = ""
    left_out: int = 0  # settings that have no picture because there are many


def main_of(kind: Overall) -> Main:
    """Rank intervals where tests over settings place methods; else a forest plot of each setting, of the first ones if they are many."""
    if any(row.place is not None for row in kind.rows):
        return Main((("intervals", kind.what),))
    scored = [setting for setting in kind.settings if any(row.n and math.isfinite(row.mean) for row in setting.rows)]
    if not scored:
        return Main((), "no trial gave a score")
    return Main(tuple(("forest", *setting.setting) for setting in scored[:MOST_FORESTS]), left_out=len(scored[MOST_FORESTS:]))


def data_hashes(board: Board) -> dict[str, str]:
    return {name: hash_of(data) for name, data in data_of(board).items()}


def hash_of(data: Data) -> str:
    """What a picture carries of the numbers that it shows."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def hash_in(path: Path) -> str | None:
    """The hash of the numbers that a picture says it shows."""
    found = MARK.search(path.read_text(encoding="utf-8", errors="replace"))
    return found[1] if found else None


def draw(board: Board, folder: Path) -> list[Path]:
    """Write every picture of the board; returns the files."""
    found = data_of(board)
    for name, data in found.items():
        save(folder / name, data, DRAWERS[data["kind"]])
    return [folder / name for name in found]


def save(path: Path, data: Data, drawer: Callable[[Data], Any]) -> None:
    """Write the figure that `drawer` makes of some numbers, with their hash in it."""
    with style():
        figure = drawer(data)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None, "Description": f"data sha256 {hash_of(data)}"})
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


@contextmanager
def style():
    """Settings under which the same numbers give the same bytes."""
    import matplotlib

    own: dict[str, Any] = {
        "svg.hashsalt": "missing-modality-bench", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white", "axes.axisbelow": True, "backend": "svg",
    }  # fmt: skip
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(own)  # type: ignore[arg-type]
        yield


def _number(value: float | None, by: float | None = None) -> float | None:
    """A score as pages show it, or a number times `by`."""
    return None if value is None or not math.isfinite(value) else float(f"{(factor() if by is None else by) * value:.{DIGITS}g}")


def _unit(settings: Sequence[SettingTable]) -> Data:
    """The target in whose unit these settings are scored, where scores have one."""
    units = {setting.unit for setting in settings} - {""}
    return {"unit": units.pop()} if len(units) == 1 else {}


def intervals_data(kind: Overall) -> Data:
    """What the picture of rank intervals shows. Raises: ValueError if no method has a place over settings."""
    rows = [(row, row.place) for row in kind.rows if row.place is not None]
    if kind.across is None or not rows:
        raise ValueError(f"no method has a place over the {kind.what} settings of this board")
    return {
        "kind": "intervals",
        "labels": [row.label for row, _ in rows],
        "roles": [row.role for row, _ in rows],
        "ranks": [round(float(row.mean_rank or 0.0), 4) for row, _ in rows],
        "low": [place.low for _, place in rows],
        "high": [place.high for _, place in rows],
        "what": kind.what,
        "datasets": len(kind.datasets),
        "settings": len(kind.distinct),
        "seeds": len({seed for setting in kind.settings for seed in setting.seeds}),
        "pairs": kind.across.over_settings.size,
    }


def _forest_data(setting: SettingTable) -> Data:
    rows = [row for row in setting.rows if row.label not in UNRANKED]
    return {
        "title": setting.title,
        "labels": [row.label for row in rows],
        "roles": [row.role for row in rows],
        "n": [row.n for row in rows],
        "means": [_number(row.mean) for row in rows],
        "intervals": [[_number(end) for end in row.interval] for row in rows],
        "floor": _number(setting.floor),
        "ceiling": _number(setting.ceiling),
        "ceiling_source": setting.ceiling_source.partition(",")[0].strip("`"),
        **_unit([setting]),
    }


def _ranks_data(kind: Overall) -> Data:
    over = kind.across
    if over is None or len(over.labels) < 3 or len(over.settings) < 2:
        return {}
    order = np.argsort(over.mean_ranks, kind="stable")
    ranks = over.mean_ranks[order]
    difference = nemenyi(ranks, len(over.settings)).critical_difference
    return {
        "labels": [over.labels[i] for i in order],
        "ranks": [_number(rank, 1) for rank in ranks],
        "critical_difference": _number(difference, 1),
        "groups": [list(group) for group in cd_groups(ranks, difference) if group[0] != group[1]],
        "settings": len(over.settings),
    }


def _cost_data(kind: Overall) -> Data:
    points = [row for row in kind.rows if row.mean is not None and row.label != CEILING]
    points.sort(key=lambda row: -(row.mean or 0.0))
    return {
        "labels": [row.label for row in points],
        "roles": [row.role for row in points],
        "scores": [_number(row.mean) for row in points],
        "gflops": [_number(row.cost["gflops_per_sample"], 1) for row in points],
        "front": [row.pareto for row in points],
        "settings": len(kind.settings),
    }


def _noise_data(curve: Curve, part: int) -> Data:
    """Of the panels of one picture; the curves of all methods lie behind each."""
    return {
        "title": curve.title + ", SYNTHETIC" * curve.synthetic,
        "noise": list(curve.noise),
        "floor": [_number(value) for value in curve.floor],
        "ceiling": [_number(value) for value in curve.ceiling],
        "labels": [row.label for row in curve.rows],
        "scores": [[_number(value) for value in row.scores] for row in curve.rows],
        "bands": [[[_number(low), _number(high)] for low, high in row.intervals] for row in curve.rows],
        "areas": [_number(row.area) for row in curve.rows],
        "panels": list(range(len(curve.rows)))[part * PANELS : (part + 1) * PANELS],
    }


def _more_data(title: str, surface: Surface) -> Data:
    """Differences of nested pairs, those that differ by one modality where there are too many for one picture, and which are sure."""
    rows = [(row.label, found) for row in surface.rows if (found := row.more_is_worse) is not None]
    pairs = nested_pairs(surface.combination)
    if len(pairs) > MOST_PAIRS:
        pairs = [(fewer, more) for fewer, more in pairs if len(more) == len(fewer) + 1]
    known = [{(pair.fewer, pair.more): pair.difference for pair in found.found} for _, found in rows]
    return {
        "title": title,
        "pairs": [f"{fewer} to {more}" for fewer, more in pairs],
        "labels": [label for label, _ in rows],
        "differences": [[_number(own.get(pair, math.nan)) for pair in pairs] for own in known],
        "sure": [[pair in found.marked for pair in pairs] for _, found in rows],
    }


def _surface_data(title: str, surface: Surface) -> Data:
    return {
        "title": title,
        "rules": list(surface.rules),
        "labels": [row.label for row in surface.rows],
        "scores": [[_number(row.scores[rule]) for rule in surface.rules] for row in surface.rows],
    }

"""The pictures of a published board, as SVG: mean ranks, score against cost, score over noise, response surfaces.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only sign. A picture carries the hash of the
numbers it shows: `--check` compares that, for the drawing itself depends on the version of matplotlib. Needs the extra `plot`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.leaderboard.front_page import cd_groups
from bench.leaderboard.robustness import Curve
from bench.leaderboard.rows import Board, Overall
from bench.leaderboard.surface import Surface
from bench.methods.catalog import CEILING
from bench.stats import nemenyi
from bench.text import picture

BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#B0B0B0", "#202020"
ROLE_STYLE = {"paper": (BLUE, "o"), "reference": (ORANGE, "s"), "outside": (GREEN, "D"), "floor": (BLACK, "v")}
MARK = re.compile(r"data sha256 ([0-9a-f]{64})")
DIGITS = 6
WIDE = 8.0  # inches
Data = dict[str, Any]


def data_of(board: Board) -> dict[str, Data]:
    """File name -> the numbers that the picture shows, in points and GFLOPs; None where a number is not known."""
    found: dict[str, Data] = {}
    metric = board.suite.metric
    for kind in board.overall:
        what = "synthetic" if kind.synthetic else "real"
        ranks = _ranks_data(kind)
        if ranks and not kind.mixed:
            found[picture("ranks", what)] = {"kind": "ranks", **ranks}
        if len(kind.settings) > 1:
            found[picture("cost", what)] = {"kind": "cost", "metric": metric, **_cost_data(kind)}
    for curve in board.curves:
        name = picture("noise", curve.dataset, curve.combination, curve.shape)
        found[name] = {"kind": "noise", "metric": metric, **_noise_data(curve)}
    for setting in board.settings:
        if setting.surface:
            name = picture("surface", *setting.setting)
            found[name] = {"kind": "surface", "metric": metric, **_surface_data(setting.title, setting.surface)}
    return found


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


def _number(value: float | None, factor: float = 100.0) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{factor * value:.{DIGITS}g}")


def _or_nan(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


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


def _draw_ranks(data: Data):
    """Demsar's diagram: a bar joins methods whose mean ranks differ by less than the critical difference."""
    from matplotlib.figure import Figure

    labels, ranks, k = data["labels"], _or_nan(data["ranks"]), len(data["labels"])
    left = math.ceil(k / 2)
    groups, step = data["groups"], 0.30
    bars = 0.25 + 0.16 * len(groups)
    rows = max(left, k - left)
    height = 0.75 + 0.12 + bars + step * rows
    margin = 0.75 + 0.075 * max(map(len, labels))  # inches for names
    scale = max(WIDE - 2 * margin, 0.2 * k) / (k - 1)
    wide = 2 * margin + scale * (k - 1)
    figure = Figure(figsize=(wide, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, wide), ylim=(height, 0))
    axes.axis("off")

    def at(rank: float) -> float:
        return margin + (rank - 1) * scale

    line = 0.75
    axes.plot([at(1), at(k)], [line, line], color=BLACK, lw=1)
    for tick in range(1, k + 1):
        axes.plot([at(tick)] * 2, [line - 0.06, line], color=BLACK, lw=1)
        axes.text(at(tick), line - 0.1, str(tick), ha="center", va="bottom")
    difference = min(data["critical_difference"], k - 1)
    axes.plot([at(1), at(1 + difference)], [0.32, 0.32], color=BLACK, lw=2)
    said = f"critical difference {data['critical_difference']:.2f} (Nemenyi, {data['settings']} settings)"
    axes.text(at(1), 0.26, said, ha="left", va="bottom")
    for number, (first, last) in enumerate(groups):
        y = line + 0.16 + 0.16 * number
        axes.plot([at(ranks[first]) - 0.04, at(ranks[last]) + 0.04], [y, y], color=BLUE, lw=3.5, solid_capstyle="round")
    for i, (label, rank) in enumerate(zip(labels, ranks, strict=True)):
        is_left = i < left
        y = line + bars + 0.12 + step * (i if is_left else k - 1 - i)
        edge = margin - 0.15 if is_left else wide - margin + 0.15
        axes.plot([at(rank), at(rank), edge], [line, y, y], color=GREY, lw=0.8)
        axes.plot(at(rank), line, marker="o", ms=4, color=BLACK)
        text = f"{label}  {rank:.2f}" if is_left else f"{rank:.2f}  {label}"
        axes.text(edge + (-0.05 if is_left else 0.05), y, text, ha="right" if is_left else "left", va="center")
    return figure


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


def _draw_cost(data: Data):
    """Numbered points with their names beside the picture; what has no operations to show is a line across."""
    from matplotlib.figure import Figure

    labels, roles, scores, gflops = data["labels"], data["roles"], _or_nan(data["scores"]), _or_nan(data["gflops"])
    shown = np.isfinite(scores) & (gflops > 0)
    inner = scores[np.isfinite(scores) & (np.array(roles) != "floor")]
    notes = ["" if cost > 0 else " (no operations)" if cost == 0 else " (not counted)" for cost in gflops]
    texts = [f"{label}{note}" for label, note in zip(labels, notes, strict=True)]
    wide = 6.2 + 0.085 * max(map(len, texts))  # inches: picture and list
    figure = Figure(figsize=(wide, max(4.2, 0.9 + 0.21 * len(labels))))
    axes = figure.add_axes((0.65 / wide, 0.13, 4.75 / wide, 0.75))
    for role, (colour, marker) in ROLE_STYLE.items():
        own = shown & (np.array(roles) == role)
        if own.any():
            axes.plot(gflops[own], scores[own], marker, color=colour, ms=7, mec="white", mew=0.6, label=_role_text(role), zorder=3)
    front = shown & (np.array(data["front"]) == "front")
    order = np.argsort(gflops[front])
    if front.sum() > 1:
        x, y = gflops[front][order], scores[front][order]
        axes.step(x, y, where="post", color=BLACK, lw=1, ls="--", label="front: nobody better for less", zorder=2)
    if shown.any():
        axes.set_xscale("log")
        axes.set_xlim(gflops[shown].min() / 3, gflops[shown].max() * 4)
    if len(inner):
        room = max(0.08 * float(np.ptp(inner)), 1.0)
        axes.set_ylim(inner.min() - room, inner.max() + room)
    for place, (role, score) in enumerate(zip(np.array(roles)[~(gflops > 0)], scores[~(gflops > 0)], strict=True)):
        label = None if place else "without operations counted"
        axes.axhline(score, color=ROLE_STYLE.get(role, ROLE_STYLE["outside"])[0], lw=1, ls=":", zorder=1, label=label)
    axes.set_xlabel("GFLOPs of a forward pass, a sample (log scale)")
    axes.set_ylabel(f"{data['metric']} x 100, mean over {data['settings']} settings")
    axes.grid(color="#E6E6E6", lw=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.08, 1.0), ncols=4, frameon=False, handletextpad=0.3, columnspacing=1.0)
    step = 0.78 / max(len(labels) - 1, 11)
    for number, (text, score) in enumerate(zip(texts, scores, strict=True)):
        y = 0.88 - number * step
        figure.text(5.75 / wide, y, str(number + 1), ha="right", va="top")
        figure.text(5.85 / wide, y, f"{score:.1f}  {text}", ha="left", va="top")
    points = [(str(i + 1), float(gflops[i]), float(scores[i])) for i in np.flatnonzero(shown)]
    _place_numbers(figure, axes, points)
    return figure


def _role_text(role: str) -> str:
    return {"paper": "published method", "reference": "reference method", "outside": "other method"}.get(role, role)


def _place_numbers(figure, axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Numbers beside their points, where they cover neither another number nor a point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    renderer = FigureCanvasAgg(figure).get_renderer()  # measures texts; the picture itself is SVG
    figure.draw_without_rendering()
    pixels = axes.transData.transform([(x, y) for _, x, y in points]) if points else np.empty((0, 2))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    offsets = [(r * math.cos(a), r * math.sin(a)) for r in (9, 14, 20, 27) for a in np.deg2rad([45, 0, 90, 315, 135, 180, 270, 225])]
    for label, x, y in points:
        text = axes.annotate(
            label, (x, y), xytext=(0, 0), textcoords="offset points", ha="center", va="center", fontsize=8.5, zorder=4,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        for offset in offsets:
            text.set_position(offset)
            found = text.get_window_extent(renderer)
            box = (found.x0 - 1, found.y0 - 1, found.x1 + 1, found.y1 + 1)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _noise_data(curve: Curve) -> Data:
    return {
        "title": curve.title + ", SYNTHETIC" * curve.synthetic,
        "noise": list(curve.noise),
        "floor": [_number(value) for value in curve.floor],
        "ceiling": [_number(value) for value in curve.ceiling],
        "labels": [row.label for row in curve.rows],
        "scores": [[_number(value) for value in row.scores] for row in curve.rows],
        "bands": [[[_number(low), _number(high)] for low, high in row.intervals] for row in curve.rows],
        "areas": [_number(row.area) for row in curve.rows],
    }


def _draw_noise(data: Data):
    """A panel a method, best Noise-AUC first: its own curve with a 95 % band over the others' in grey."""
    from matplotlib.figure import Figure

    k = len(data["labels"])
    columns = min(4, k)
    rows = math.ceil(k / columns)
    figure = Figure(figsize=(WIDE, 0.9 + 1.75 * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)).ravel()
    noise = np.array(data["noise"])
    scores = [_or_nan(found) for found in data["scores"]]
    everyone = np.tile(np.append(noise, np.nan), k), np.concatenate([np.append(found, np.nan) for found in scores])  # one path with gaps
    for panel, axes in enumerate(grid):
        if panel >= k:
            axes.axis("off")
            continue
        axes.plot(*everyone, color="#DADADA", lw=0.9, zorder=1)
        low, high = (_or_nan([band[side] for band in data["bands"][panel]]) for side in (0, 1))
        if np.isfinite(low).all():
            axes.fill_between(noise, low, high, color=BLUE, alpha=0.22, lw=0, zorder=2)
        axes.plot(noise, scores[panel], color=BLUE, marker="o", ms=4, lw=1.8, zorder=3)
        for bound, style in ((data["floor"], ":"), (data["ceiling"], "--")):
            if any(value is not None for value in bound):
                axes.plot(noise, _or_nan(bound), color=BLACK, lw=1, ls=style, zorder=2)
        area = data["areas"][panel]
        axes.set_title(f"{data['labels'][panel]}\nNoise-AUC {area:.1f}" if area is not None else data["labels"][panel], fontsize=8.5)
        axes.set_xticks(noise)
        axes.grid(color="#EFEFEF", lw=0.5)
    for axes in grid[max(0, k - columns) : k]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("missing rate (share of modalities hidden)", fontsize=9)
    figure.supylabel(f"{data['metric']} x 100", fontsize=9)
    bounds = [f"{name} {line}" for name, line, values in (("floor", "dotted", data["floor"]), ("ceiling", "dashed", data["ceiling"]))
              if any(value is not None for value in values)]  # fmt: skip
    note = ", ".join(["band: 95 % interval over seeds and samples", *bounds])
    figure.suptitle(f"{data['title']}   ({note})", fontsize=9)
    return figure


def _surface_data(title: str, surface: Surface) -> Data:
    return {
        "title": title,
        "rules": list(surface.rules),
        "labels": [row.label for row in surface.rows],
        "scores": [[_number(row.scores[rule]) for rule in surface.rules] for row in surface.rows],
    }


def _draw_surface(data: Data):
    """A cell a method and rule, with its number."""
    from matplotlib.figure import Figure

    scores = np.array([_or_nan(found) for found in data["scores"]])
    rows, columns = scores.shape
    cell = 0.5
    title = f"{data['title']}: one trained model under each test rule"
    names = 0.075 * max(map(len, data["labels"])) + 0.2  # inches
    wide = max(names + cell * columns + 1.1, 0.4 + 0.072 * len(title))
    figure = Figure(figsize=(wide, 1.6 + 0.28 * rows), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores, cmap="cividis", aspect="auto")
    middle = (np.nanmin(scores) + np.nanmax(scores)) / 2 if np.isfinite(scores).any() else 0.0
    for i in range(rows):
        for j in range(columns):
            value = scores[i, j]
            text = "n/a" if math.isnan(value) else f"{value:.1f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if value < middle else BLACK)
    axes.set_xticks(range(columns), data["rules"], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), data["labels"])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(image, ax=axes, label=f"{data['metric']} x 100", fraction=0.05)
    return figure


DRAWERS: Mapping[str, Callable[[Data], Any]] = {
    "ranks": _draw_ranks, "cost": _draw_cost, "noise": _draw_noise, "surface": _draw_surface,
}  # fmt: skip

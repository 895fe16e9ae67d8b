"""The published boards as the pages of evidence read them: one row a method and setting, tuned where the method was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, mode

import pandas as pd

from bench.leaderboard import Board, PairTest, Row, SettingTable, board_of
from bench.question.winners import own_label
from bench.records.folder import Folder
from bench.stats.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent.parent
BOARDS = ROOT / "leaderboards"


@cache
def board(folder: Path) -> Board:
    """A published board, read once. Raises: UsageError if it cannot be read."""
    return board_of(folder)


@cache
def training_rows(folder: Path) -> dict[str, int]:
    """Rows of the training part of each dataset of a published board, by its label; the fewest, where splits differ."""
    found: dict[str, int] = {}
    with Folder(folder) as opened:
        records = opened.answers().records
    for record in records:
        if "train" in record.facts.rows:
            name, rows = record.trial.dataset_label, record.facts.rows["train"]
            found[name] = min(rows, found.get(name, rows))
    return found


@cache
def still_rising(folder: Path) -> dict[str, tuple[float, int]]:
    """How often training ended before it was done, by the label of each dataset: share of trials, and the epochs that most of them had.

    The share is of untuned trials that train by epochs: those whose best epoch on validation lies in the last tenth.
    """
    late: dict[str, list[bool]] = {}
    lengths: dict[str, list[int]] = {}
    with Folder(folder) as opened:
        records = opened.answers().records
    for record in records:
        best, epochs = record.facts.best_epoch, record.trial.training.get("epochs")
        if best is not None and isinstance(epochs, int) and not record.trial.options:
            late.setdefault(record.trial.dataset_label, []).append(best > 0.9 * epochs)
            lengths.setdefault(record.trial.dataset_label, []).append(epochs)
    return {name: (mean(own), mode(lengths[name])) for name, own in late.items()}


def shown(labels: Sequence[str]) -> list[str]:
    """The labels that stand for their methods: of the tuned row where there is one, else of its own.

    >>> shown(["muse", "muse@as_released", "muse tuned (20 suggestions)", "constant"])
    ['muse@as_released', 'muse tuned (20 suggestions)', 'constant']
    """
    tuned = {own_label(label) for label in labels if own_label(label) != label}
    return [label for label in labels if label not in tuned]


def chosen(rows: Iterable[Row]) -> list[Row]:
    """The ranked rows with a score that a guide compares: a method's tuned row where it has one, else its own."""
    ranked = {row.label: row for row in rows if row.rank is not None and not math.isnan(row.mean)}
    return [ranked[label] for label in shown(list(ranked))]


def test_of(setting: SettingTable, a: str, b: str) -> PairTest | None:
    """The test a - b of a setting, by labels; None where there is none."""
    return setting.tests.between(a, b) if setting.tests else None


def word(test: PairTest | None) -> str:
    """`better`, `worse`, `equivalent` or `undecided`, which is also what an absent test is."""
    return test.verdict.rstrip("*") if test else "undecided"


def standings(found: Board, sizes: dict[str, int] | None = None) -> pd.DataFrame:
    """One row a chosen method and real setting, best setting by setting.

    Columns: `setting` (dataset, combination, protocol), `dataset`, `base` (without options), `page`, `noise`, `metric`, `size` (training
    rows, NaN where unknown), `label` (of the method's own row), `is_tuned`, `is_simple`, `mean`, `sd`, `n`, `rank` (among these rows),
    `gap` (behind the best, 0 or above), `worse` (than the best, significantly), `good` (as the best), `gflops`, `seconds`, `collapsed`.
    """
    rows = []
    for setting in found.settings:
        own = chosen(setting.rows) if not setting.synthetic else []
        if not own:
            continue
        sign = METRICS[setting.metric].sign
        best = max(own, key=lambda row: sign * row.mean)
        ranks = pd.Series([-sign * row.mean for row in own]).rank()
        for row, rank in zip(own, ranks, strict=True):
            gap = sign * (best.mean - row.mean)
            worse = row is not best and word(test_of(setting, row.label, best.label)) == "worse"
            near = bool(setting.unit) or gap <= found.levels.rope  # a margin of points says nothing of scores in a unit
            rows.append({
                "setting": tuple(setting.setting), "dataset": setting.dataset, "base": setting.question[0], "page": setting.page,
                "protocol": setting.protocol, "noise": setting.noise, "metric": setting.metric, "unit": setting.unit,
                "size": (sizes or {}).get(setting.dataset), "label": own_label(row.label), "is_tuned": row.hp == "tuned",
                "is_simple": row.role == "reference", "mean": row.mean, "sd": row.sd, "n": row.n, "rank": rank, "gap": gap,
                "worse": worse, "good": near and not worse, "gflops": row.cost.get("gflops_per_sample"),
                "seconds": row.cost.get("train_seconds"), "collapsed": any(flag.startswith("collapsed") for flag in row.flags),
            })  # fmt: skip
    return pd.DataFrame(rows)


def tuning(found: Board) -> pd.DataFrame:
    """One row a tuned method and setting: `label`, `setting`, `default` and `tuned` (means), `gain`, `word` (tuned against default)."""
    rows = []
    for setting in found.settings:
        sign = METRICS[setting.metric].sign
        for row in setting.rows:
            own = setting.by_label.get(own_label(row.label))
            if row.hp == "tuned" and own is not None:
                test = word(test_of(setting, row.label, own.label))
                gain = sign * (row.mean - own.mean)
                rows.append((own.label, tuple(setting.setting), own.mean, row.mean, gain, test))
    return pd.DataFrame(rows, columns=["label", "setting", "default", "tuned", "gain", "word"])


def pairs(found: Board) -> list[str]:
    """The word on every pair of a published and a simple method among the chosen rows of real settings."""
    made = []
    for setting in found.settings:
        own = chosen(setting.rows) if not setting.synthetic else []
        for row in own:
            if row.role != "paper":
                continue
            tests = [test_of(setting, row.label, other.label) for other in own if other.role == "reference"]
            made += [word(test) for test in tests if test]
    return made

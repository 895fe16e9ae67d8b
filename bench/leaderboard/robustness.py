"""Score over noise: settings that differ in their missing rate alone form a curve, a method's area under it is its Noise-AUC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench import stats
from bench.leaderboard.files import Key
from bench.leaderboard.scores import Scores, refusal
from bench.leaderboard.significance import Family, family_of
from bench.methods.catalog import CEILING, FLOOR, UNRANKED
from bench.stats.levels import Levels
from bench.stats.metrics import METRICS

PANELS = 6  # of one picture, a method each


@dataclass(frozen=True)
class CurveRow:
    """One method along the curve. Scores are the metric's own, losses positive whatever the metric; NaN where a level is missing."""

    label: str
    n: int  # seeds with a score at every level
    scores: tuple[float, ...]  # by level, means over all seeds there
    intervals: tuple[tuple[float, float], ...]
    area: float  # Noise-AUC
    area_interval: tuple[float, float]
    drop: float  # score at the lowest noise less score at the highest
    relative_drop: float
    retention: float  # share of what stands above the floor that is left; NaN where nothing surely does
    rises: tuple[str, ...]  # steps at which the score rises by more than chance, though more is missing


@dataclass(frozen=True)
class Curve:
    """All methods along one curve."""

    dataset: str
    combination: str
    shape: str  # of the protocol: without its rate
    synthetic: bool
    noise: tuple[float, ...]  # ascending
    floor: tuple[float, ...]  # of the constant predictor by level, NaN where it was not run
    ceiling: tuple[float, ...]
    rows: tuple[CurveRow, ...]  # best Noise-AUC first
    tests: Family  # Noise-AUC, every pair; a second question to the same data: Benjamini-Hochberg, exploratory

    @property
    def title(self) -> str:
        return f"{self.dataset} ({self.combination}), {self.shape}"

    @property
    def pictures(self) -> list[Key]:
        """What its pictures are of, PANELS methods each: `Files` names them."""
        first = ("noise", self.dataset, self.combination, self.shape)
        return [first, *((*first, str(part)) for part in range(2, math.ceil(len(self.rows) / PANELS) + 1))]

    @property
    def span(self) -> str:
        return f"{self.noise[0]:g} to {self.noise[-1]:g}"


def curve_of(
    metric: str, where: tuple[str, str, str], synthetic: bool, noise: Sequence[float], along: Sequence[Mapping[str, Scores]],
    intervals: Sequence[Mapping[str, tuple[float, float]]], levels: Levels, withheld: str,
) -> Curve:  # fmt: skip
    """The curve of the settings `along`, ascending in noise. `where`: dataset, combination, shape of the protocol."""
    labels = list(dict.fromkeys(label for level in along for label in level if label not in UNRANKED and level[label].attempted))
    floors, ceilings = ([level[name].mean if name in level else math.nan for level in along] for name in (FLOOR, CEILING))
    areas = {
        label: _areas(np.array(noise), [level[label] for level in along]) for label in labels if all(label in level for level in along)
    }
    rows = [_row(metric, label, noise, along, intervals, floors, areas.get(label)) for label in labels]
    ordered = tuple(sorted(rows, key=lambda row: (math.isnan(row.area), -METRICS[metric].sign * row.area, row.label)))
    name = f"Noise-AUC: {where[0]} ({where[1]}), {where[2]}"
    return Curve(
        *where, synthetic, tuple(noise), tuple(floors), tuple(ceilings), ordered, _tests(metric, name, areas, along, levels, withheld)
    )


@dataclass(frozen=True)
class _Areas:
    """Noise-AUC of every seed that has a score at every level, and its per-sample values if the same samples were tested throughout."""

    scores: np.ndarray  # (S,)
    values: np.ndarray | None  # (S, N)


def _areas(noise: np.ndarray, along: Sequence[Scores]) -> _Areas:
    seeds = sorted(set.intersection(*(set(level.seeds) for level in along)))
    rows = [[level.seeds.index(seed) for seed in seeds] for level in along]
    scores = stats.noise_auc(noise, np.array([level.scores[own] for level, own in zip(along, rows, strict=True)]))
    if any(level.values is None for level in along) or refusal(along):
        return _Areas(scores, None)
    values = [level.values[own] for level, own in zip(along, rows, strict=True) if level.values is not None]
    return _Areas(scores, stats.noise_auc(noise, np.array(values)))


def _row(
    metric: str, label: str, noise: Sequence[float], along: Sequence[Mapping[str, Scores]],
    intervals: Sequence[Mapping[str, tuple[float, float]]], floors: Sequence[float], areas: _Areas | None,
) -> CurveRow:  # fmt: skip
    sign = METRICS[metric].sign
    means = [level[label].mean if label in level else math.nan for level in along]
    bands = tuple(level.get(label, (math.nan, math.nan)) for level in intervals)
    area = area_low = area_high = math.nan
    if areas is not None and len(areas.scores):
        area = float(areas.scores.mean())
        if areas.values is not None:
            area_low, area_high = stats.crossed_interval(areas.values, areas.scores)
    drop = stats.noise_drop(np.array(noise), sign * np.array(means), sign * floors[0])
    return CurveRow(
        label, len(areas.scores) if areas else 0, tuple(means), bands, area, (area_low, area_high), drop.absolute, sign * drop.relative,
        math.nan if bands[0][0] <= floors[0] <= bands[0][1] else drop.retention, _rises(sign, label, noise, along),
    )  # fmt: skip


def _rises(sign: float, label: str, noise: Sequence[float], along: Sequence[Mapping[str, Scores]]) -> tuple[str, ...]:
    """Steps at which the 95 % interval of the change lies above 0."""
    found = []
    for (low, before), (high, after) in pairwise(zip(noise, along, strict=True)):
        a, b = after.get(label), before.get(label)
        if a is None or b is None or a.values is None or b.values is None or refusal([a, b]):
            continue
        if stats.crossed_test(sign * a.values, sign * b.values, sign * a.scores, sign * b.scores).interval()[0] > 0:
            found.append(f"{low:g} to {high:g}")
    return tuple(found)


def _tests(
    metric: str, name: str, areas: Mapping[str, _Areas], along: Sequence[Mapping[str, Scores]], levels: Levels, withheld: str
) -> Family:
    labels = [label for label, found in areas.items() if found.values is not None]
    refused = withheld or refusal([level[label] for level in along for label in labels])
    if refused or len(labels) < 2:
        reason = refused or "needs two methods with predictions at every level"
        return Family(
            name, "crossed seed x sample", "test samples", 0, tuple(labels), correction="Benjamini-Hochberg", reason=reason, levels=levels
        )
    sign = METRICS[metric].sign
    values = [sign * found.values for label in labels if (found := areas[label]).values is not None]
    estimates = stats.crossed_pairs(values, [sign * areas[label].scores for label in labels])
    return family_of(name, "test samples", values[0].shape[1], labels, estimates, levels, "Benjamini-Hochberg")

"""The response surface: one trained model, tested under many masks, and what that comes to. Free of torch.

The reductions take scores for which higher is better. A point that is missing makes NaN of what needs it, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np

from bench.data.grammar import evaluated_at
from bench.methods.catalog import FLOOR
from bench.records.predictions import Predictions
from bench.records.record import Record, score_under
from bench.stats import MoreIsWorse, crossed_interval, more_is_worse, pseudo_values
from bench.stats.metrics import METRICS


def noise_area(rates: Sequence[float], scores: np.ndarray) -> np.ndarray:
    """Area under the score over the missing rate by trapezoids, divided by the range of rates: a mean score over the curve.

    Shapes: rates (L,) ascending, scores (L, ...) -> (...). NaN where there are fewer than two rates or a score is missing.
    """
    if len(rates) < 2:
        return np.full(scores.shape[1:], np.nan)
    steps = np.diff(rates)
    return np.tensordot(steps, (scores[1:] + scores[:-1]) / 2, 1) / steps.sum()


def retention(whole: float, left: float, floor: float, interval: tuple[float, float] = (math.nan, math.nan)) -> float:
    """Share of what stands above the floor that is left: (left - floor) / (whole - floor).

    NaN where `whole` does not stand above the floor, or its confidence interval, if one is known, holds the floor.
    """
    if not whole > floor or interval[0] <= floor <= interval[1]:
        return math.nan
    return (left - floor) / (whole - floor)


def worst_subset(scores: Mapping[str, float]) -> tuple[str | None, float]:
    """The combination with the lowest score, the first one where several have it. (None, NaN) if none is given or one has no score."""
    if not scores or any(math.isnan(score) for score in scores.values()):
        return None, math.nan
    name = min(scores, key=lambda combination: scores[combination])
    return name, scores[name]


def shapley(scores: Mapping[str, float], letters: str, empty: float) -> dict[str, float]:
    """What each modality contributes: its gain in score, averaged over all orders in which modalities may come in.

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! * (score(S + m) - score(S)), exact over all 2^M combinations; they sum to
    score(all) - empty. `scores` by combination, letters in the order of `letters`; `empty` is the score with nothing observed.
    NaN for all if a combination or `empty` is missing.
    Source: Shapley 1953, A value for n-person games.
    """
    m, bits = len(letters), 1 << np.arange(len(letters))
    subsets = np.arange(2**m)
    inside = (subsets[:, None] & bits) > 0  # (2^M, M)
    names = ["".join(letter for letter, there in zip(letters, row, strict=True) if there) for row in inside.tolist()]
    values = np.array([empty, *(scores.get(name, math.nan) for name in names[1:])])
    if np.isnan(values).any():
        return dict.fromkeys(letters, math.nan)
    size = inside.sum(1)
    weights = np.array([math.factorial(s) * math.factorial(m - s - 1) / math.factorial(m) for s in range(m)])
    without = [subsets[~inside[:, position]] for position in range(m)]
    gains = [weights[size[s]] @ (values[s | bit] - values[s]) for s, bit in zip(without, bits, strict=True)]
    return dict(zip(letters, map(float, gains), strict=True))


@dataclass(frozen=True)
class SurfaceRow:
    """One method's response surface: means over its trials that have one. Scores are the metric's own; NaN where one is missing."""

    label: str
    n: int
    scores: Mapping[str, float]  # by rule
    sds: Mapping[str, float]
    area: float
    area_interval: tuple[float, float]  # 95 %, of seeds and test samples
    noise_drop: float  # score at the lowest rate less score at the highest, the loss positive whatever the metric
    noise_retention: float
    worst: str | None
    worst_score: float
    drop: float  # score with all modalities less score with the worst combination
    retention: float
    shapley: Mapping[str, float]
    more_is_worse: MoreIsWorse | None = None  # None where it cannot be told: `more_reason`
    more_reason: str = ""


@dataclass(frozen=True)
class Surface:
    """The response surfaces of one setting."""

    rules: tuple[str, ...]
    rates: tuple[float, ...]  # ascending
    combination: str  # all modalities of the setting
    floor: float  # score of the constant predictor, NaN where it was not run
    rows: tuple[SurfaceRow, ...]

    @property
    def knows_more(self) -> bool:
        """Whether it can be told of a method if more modalities do worse."""
        return any(row.more_is_worse is not None for row in self.rows)

    @property
    def combinations(self) -> tuple[str, ...]:
        return tuple(letters for _, letters in map(evaluated_at, self.rules) if letters is not None)


def surface_of(
    metric: str, combination: str, labels: Iterable[str], records: Iterable[Record], predictions: Mapping[str, Predictions]
) -> Surface | None:
    """The surfaces of one setting's methods in the order of `labels`; None if no record has any."""
    done = [record for record in records if record.status == "done" and record.trial.evaluations]
    if not done:
        return None
    rules = tuple(dict.fromkeys(rule for record in done for rule in record.trial.evaluations))
    at = {rule: evaluated_at(rule) for rule in rules}
    by_rate = {rate: rule for rule, (rate, _) in at.items() if rate is not None}
    rates = tuple(sorted(by_rate))
    asked = _Rules(rules, rates, tuple(by_rate[rate] for rate in rates), {letters: rule for rule, (_, letters) in at.items() if letters})
    groups = {label: [record for record in done if record.trial.label == label] for label in labels}
    floors = [_metric(record, metric) for record in groups.get(FLOOR, [])]
    base = float(np.mean(floors)) if floors else math.nan
    rows = tuple(_row(metric, combination, label, group, predictions, asked, base) for label, group in groups.items() if group)
    return Surface(rules, rates, combination, base, rows)


class _Rules(NamedTuple):
    """The rules of a setting's evaluations, and which of them stand for a rate or a combination."""

    every: tuple[str, ...]
    rates: tuple[float, ...]  # ascending
    curve: tuple[str, ...]  # the rule of each rate
    fixed: Mapping[str, str]  # combination -> its rule


def _row(
    metric: str,
    combination: str,
    label: str,
    records: Sequence[Record],
    predictions: Mapping[str, Predictions],
    asked: _Rules,
    floor: float,
) -> SurfaceRow:
    rules, rates, curve, fixed = asked
    sign = METRICS[metric].sign
    found = np.array([[score_under(record, rule, metric) for rule in rules] for record in records])  # (S, R)
    means = dict(zip(rules, found.mean(0).tolist(), strict=True))
    high = {rule: sign * mean for rule, mean in means.items()}
    at = {letters: high[rule] for letters, rule in fixed.items()}
    whole = at.get(combination, math.nan)
    worst, worst_score = worst_subset(at)
    first, last = (high[curve[0]], high[curve[-1]]) if len(curve) > 1 else (math.nan, math.nan)
    return SurfaceRow(
        label,
        len(records),
        means,
        dict(zip(rules, (found.std(0, ddof=1) if len(records) > 1 else np.full(len(rules), np.nan)).tolist(), strict=True)),
        area=float(noise_area(rates, np.array([means[rule] for rule in curve]))),
        area_interval=_interval(metric, records, curve, rates, predictions),
        noise_drop=first - last,
        noise_retention=retention(first, last, sign * floor, _oriented(sign, _interval(metric, records, curve[:1], (), predictions))),
        worst=worst,
        worst_score=sign * worst_score,
        drop=whole - worst_score,
        retention=retention(
            whole, worst_score, sign * floor, _oriented(sign, _interval(metric, records, [fixed.get(combination, "")], (), predictions))
        ),
        shapley=shapley(at, combination, sign * floor),
        **_more(metric, combination, records, fixed, predictions),
    )


class _More(TypedDict):
    """These fields of `SurfaceRow`."""

    more_is_worse: MoreIsWorse | None
    more_reason: str


def _more(
    metric: str, combination: str, records: Sequence[Record], fixed: Mapping[str, str], predictions: Mapping[str, Predictions]
) -> _More:
    """Whether more modalities do worse, or why that cannot be told."""

    def refused(reason: str) -> _More:
        return _More(more_is_worse=None, more_reason=reason)

    if len(fixed) < 2 ** len(combination) - 1 or len(combination) < 2:
        return refused("needs scores under every combination of two modalities or more")
    arrays = [predictions[record.trial.id] for record in records if record.trial.id in predictions]
    if len(arrays) != len(records) or any(rule not in found.evaluations for found in arrays for rule in fixed.values()):
        return refused("needs the predictions under every combination")
    if any(not found.shares_rows(arrays[0]) for found in arrays):
        return refused("needs the same test samples for every seed")
    observed = _natural(records, arrays, combination, fixed[combination])
    if observed is None:
        return refused("needs what test samples have by nature, which records of before lack; run it again")
    scores = {letters: [found.scores_under(rule) for found in arrays] for letters, rule in fixed.items()}
    return _More(more_is_worse=more_is_worse(metric, combination, arrays[0].target, scores, observed), more_reason="")


def _natural(records: Sequence[Record], arrays: Sequence[Predictions], combination: str, whole: str) -> np.ndarray | None:
    """What the test samples have (N, M) bool, None where it is not known. Where nothing is missing under `whole`, they have all."""
    if arrays[0].observed is not None:
        return arrays[0].observed
    for record in records:
        missing = record.facts.evaluations[whole].missing if whole in record.facts.evaluations else None
        if missing is None or missing > len(record.facts.unseen) / len(combination) + 1e-9:
            return None
    return np.ones((len(arrays[0].ids), len(combination)), dtype=bool)


def more_text(row: SurfaceRow) -> str:
    """The cell of a table: in how many nested pairs the larger combination scores lower, beyond chance and at all.

    A dash where more modalities change nothing: who ignores inputs does no worse with more of them.
    """
    found = row.more_is_worse
    if found is None or not found.pairs:
        return "n/a"
    if found.gain == 0 and found.raw == 0:
        return "-"
    raw = f"raw {100 * found.raw:.0f} %"
    if found.sure is None:
        return f"n/a ({found.reason.split(',')[0]}; {raw})"
    return f"{found.sure} of {found.pairs} ({raw})"


def _interval(
    metric: str, records: Sequence[Record], rules: Sequence[str], rates: Sequence[float], predictions: Mapping[str, Predictions]
) -> tuple[float, float]:
    """95 % interval of the mean score under one rule, or of the area over several; (NaN, NaN) where it cannot be had."""
    arrays = [predictions[record.trial.id] for record in records if record.trial.id in predictions]
    if len(arrays) < 2 or len(arrays) != len(records) or not rules or any(not np.array_equal(a.ids, arrays[0].ids) for a in arrays):
        return math.nan, math.nan
    if any(rule not in a.evaluations for a in arrays for rule in rules):
        return math.nan, math.nan
    scores = np.array([[score_under(record, rule, metric) for record in records] for rule in rules])  # (L, S)
    if not np.isfinite(scores).all():
        return math.nan, math.nan
    values = np.stack([[pseudo_values(metric, a.target, a.scores_under(rule)) for a in arrays] for rule in rules])  # (L, S, N)
    if len(rules) > 1:
        return crossed_interval(noise_area(rates, values), noise_area(rates, scores))
    return crossed_interval(values[0], scores[0])


def _oriented(sign: float, interval: tuple[float, float]) -> tuple[float, float]:
    return interval if sign > 0 else (-interval[1], -interval[0])


def _metric(record: Record, metric: str) -> float:
    return float(record.metrics.get(metric, math.nan))

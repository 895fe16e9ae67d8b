"""Which differences are real: families of tests between methods, in one setting, over settings, over datasets, over noise.

Differences are turned so that above 0 the first method is better; they are fractions. A family is what one correction runs over; its
size is printed wherever a p is. Nothing is tested that the data cannot answer: such a test has p NaN and a reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, compress
from typing import NamedTuple

import numpy as np

from bench import stats
from bench.seeds import stream
from bench.stats import Estimates
from bench.stats.levels import Levels
from bench.text import NA, count, end_of_interval, p_text, signed


class PairTest(NamedTuple):
    """One comparison, a - b. `effect` is the family's `effect`.

    `low` and `high` are at 95 % for the family at once, and agree with the verdict: they leave out 0 if it is `better` or `worse`, and
    hold it if it is `undecided`. NaN where the data cannot bound the difference on that side.
    """

    a: str
    b: str
    difference: float  # of means; over settings the typical one, by Hodges and Lehmann
    low: float
    high: float
    statistic: float
    p: float
    p_adjusted: float
    effect: float  # its sign is the direction that p speaks of
    verdict: str  # better, worse, equivalent or undecided; with * where the whole interval lies beyond the margin
    reason: str
    alone: tuple[float, float] = (math.nan, math.nan)  # the 95 % interval of this pair alone, not adjusted
    within: tuple[float, float] = (math.nan, math.nan)  # its 90 % interval, not adjusted: `equivalent` if it lies inside the margin

    def turned(self) -> PairTest:
        """The same test from the side of b."""
        word = {"better": "worse", "worse": "better"}.get(self.verdict.rstrip("*"), self.verdict.rstrip("*"))
        verdict = word + "*" * self.verdict.endswith("*")
        return self._replace(
            a=self.b, b=self.a, difference=-self.difference, low=-self.high, high=-self.low, statistic=-self.statistic,
            effect=-self.effect, verdict=verdict, alone=_flipped(self.alone), within=_flipped(self.within),
        )  # fmt: skip


def _flipped(interval: tuple[float, float]) -> tuple[float, float]:
    return -interval[1], -interval[0]


class Place(NamedTuple):
    """What the family lets one say of one method."""

    low: int  # best rank it may have
    high: int
    letters: str  # methods that share one are not distinguishable
    best: bool  # significantly better than every other
    top: bool  # no method is significantly better


@dataclass(frozen=True)
class Family:
    """Every pair of `labels`, tested and corrected together."""

    name: str
    test: str
    unit: str  # what there are n of: test samples, settings, datasets
    n: int
    labels: tuple[str, ...]
    tests: tuple[PairTest, ...] = ()  # in the order of itertools.combinations
    correction: str = "Holm"
    effect: str = "difference"
    reason: str = ""  # why nothing is tested, or no mark is given
    gate: float = math.nan  # p of Friedman's test, where it comes first: above alpha nobody is better
    levels: Levels = field(default_factory=Levels)

    @property
    def size(self) -> int:
        """Tests that the correction runs over."""
        return sum(not math.isnan(test.p) for test in self.tests)

    @property
    def over(self) -> str:
        """What the correction runs over, and how many each test rests on: none of them where every seed has its own."""
        return ", ".join([count(self.size, "pair"), *([count(self.n, self.unit.removesuffix("s"))] if self.n else [])])

    @property
    def exploratory(self) -> bool:
        return self.correction != "Holm"

    @cached_property
    def _by_pair(self) -> Mapping[tuple[str, str], PairTest]:
        return {(test.a, test.b): test for test in self.tests}

    def between(self, a: str, b: str) -> PairTest | None:
        """The test a - b, None if there is none."""
        found = self._by_pair.get((a, b))
        if found is not None:
            return found
        turned = self._by_pair.get((b, a))
        return turned.turned() if turned else None

    @cached_property
    def better(self) -> np.ndarray:
        """[i, j]: i is significantly better than j. Shapes: (K, K) bool."""
        better = np.zeros((len(self.labels), len(self.labels)), dtype=bool)
        if self.tests and not self.reason and not self.gate > self.levels.alpha:
            first, second = np.triu_indices(len(self.labels), 1)
            p, ahead = np.array([(test.p_adjusted, test.effect) for test in self.tests]).T
            significant = p <= self.levels.alpha  # False for NaN
            better[first[significant & (ahead > 0)], second[significant & (ahead > 0)]] = True
            better[second[significant & (ahead < 0)], first[significant & (ahead < 0)]] = True
        return better

    def places(self, order: Sequence[float] | np.ndarray) -> dict[str, Place]:
        """Rank sets and letters by label, empty where the family says nothing. `order`: lower is better. Shapes: (K,)."""
        if self.reason or not self.size:
            return {}
        found = stats.standing(self.better, np.asarray(order, dtype=float))
        columns = zip(self.labels, found.low, found.high, found.letters, found.best, found.top, strict=True)
        return {label: Place(int(low), int(high), letters, bool(best), bool(top)) for label, low, high, letters, best, top in columns}


def family_of(name: str, unit: str, n: int, labels: Sequence[str], found: Estimates, levels: Levels, correction: str = "Holm") -> Family:
    """A family from t-like tests of every pair."""
    p = found.p
    adjusted = (stats.holm if correction == "Holm" else stats.benjamini_hochberg)(p)
    equivalent = found.equivalence(levels.rope).tolist()
    numbers = [found.difference, found.simultaneous(levels.alpha, correction), found.statistic, p, adjusted]
    columns = np.column_stack([*numbers, _where_tested(found, 1 - levels.alpha), _where_tested(found, 1 - 2 * levels.alpha)]).tolist()
    tests = tuple(
        PairTest(
            a, b, difference, low, high, statistic, p, q, difference, verdict(levels, difference, low, high, q, equal), reason,
            alone=(more[0], more[1]), within=(more[2], more[3]),
        )
        for (a, b), (difference, low, high, statistic, p, q, *more), equal, reason in zip(
            combinations(labels, 2), columns, equivalent, found.reasons, strict=True
        )
    )  # fmt: skip
    untested = "" if np.isfinite(p).any() else "; ".join(dict.fromkeys(filter(None, found.reasons)))
    return Family(name, found.test, unit, n, tuple(labels), tests, correction, reason=untested, levels=levels)


def _where_tested(found: Estimates, confidence: float) -> np.ndarray:
    """The interval of each pair alone; NaN where it has no p. Shapes: (P, 2)."""
    return np.where(np.isnan(found.p)[:, None], np.nan, found.interval(confidence))


def verdict(levels: Levels, difference: float, low: float, high: float, p: float, equivalence: float) -> str:
    """`equivalent` if the 90 % interval lies inside the margin, else by the adjusted p; a * if `low` to `high` lies beyond."""
    if equivalence <= levels.alpha:
        return "equivalent"
    if p <= levels.alpha:
        return ("better" if difference > 0 else "worse") + ("*" if low > levels.rope or high < -levels.rope else "")
    return "undecided"


@dataclass(frozen=True)
class Across:
    """Methods over the settings of one kind, real or synthetic; one value a setting, failures filled."""

    settings: tuple[str, ...]
    datasets: tuple[str, ...]  # of each setting
    labels: tuple[str, ...]
    mean_ranks: np.ndarray  # (K,)
    friedman: stats.Friedman | None  # the gate, for three methods and more
    over_settings: Family  # Wilcoxon and Holm: holds within the listed settings
    over_datasets: Family  # t on dataset means, Holm
    sign_flips: Family  # exact, on dataset means, Holm
    left_out: tuple[str, ...]  # settings in which no method has a score
    filled: tuple[str, ...]  # methods without a score in some setting, which has the lower of floor and worst score there
    complete: Across | None = None  # the same over the settings where every planned trial gave a score, if these are fewer
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def minimum_p(self) -> float:
        """Smallest p of an exact test over the datasets, before correction."""
        return stats.minimum_p(len(set(self.datasets)))

    @property
    def families(self) -> tuple[Family, ...]:
        return self.over_settings, self.over_datasets, self.sign_flips


def across(
    kind: str, settings: Sequence[str], datasets: Sequence[str], labels: Sequence[str], scores: np.ndarray, floor: np.ndarray,
    complete: np.ndarray, *, levels: Levels, withheld: str = "",
) -> Across:  # fmt: skip
    """Tests over settings and over datasets.

    Shapes: scores (N, K) oriented so that higher is better, NaN where a method has none; floor (N,), the constant predictor's, NaN where
    unknown; complete (N,) bool, settings without any failed trial. `withheld` says why no mark may be given, if it may not.
    """
    known = ~np.isnan(scores).all(1)
    left_out = tuple(setting for setting, here in zip(settings, known, strict=True) if not here)
    settings, datasets = (list(compress(names, known)) for names in (settings, datasets))
    scores, floor, complete = scores[known], floor[known], complete[known]
    ranks = stats.rank_matrix(scores) if len(scores) else np.empty((0, len(labels)))
    filled = stats.fill_failures(scores, floor) if len(scores) else scores
    friedman = stats.friedman(ranks) if len(labels) > 2 and len(scores) else None
    by_dataset = {name: filled[[other == name for other in datasets]].mean(0) for name in dict.fromkeys(datasets)}
    means = np.array(list(by_dataset.values())).reshape(-1, len(labels))
    mean_ranks = ranks.mean(0) if len(ranks) else np.full(len(labels), np.nan)
    over_settings = _signed_ranks(f"over settings, {kind}", labels, filled, friedman, levels, withheld)
    part = None
    if 0 < complete.sum() < len(scores):
        kept = [list(compress(names, complete)) for names in (settings, datasets)]
        part = across(
            f"{kind}, complete settings alone",
            kept[0],
            kept[1],
            labels,
            scores[complete],
            floor[complete],
            complete[complete],
            levels=levels,
            withheld=withheld,
        )
    return Across(
        tuple(settings), tuple(datasets), tuple(labels), mean_ranks, friedman, over_settings,
        _over_datasets(f"over datasets, {kind}", labels, means, levels, withheld),
        _sign_flips(f"over datasets, sign flips, {kind}", labels, means, levels, withheld),
        left_out, tuple(label for label, column in zip(labels, scores.T, strict=True) if np.isnan(column).any()), part,
        over_settings.places(mean_ranks),
    )  # fmt: skip


def _pairs(values: np.ndarray) -> list[np.ndarray]:
    """Differences of every pair of columns. Shapes: (N, K) -> P times (N,)."""
    first, second = np.triu_indices(values.shape[1], 1)
    return list((values[:, first] - values[:, second]).T)


def _signed_ranks(
    name: str, labels: Sequence[str], values: np.ndarray, gate: stats.Friedman | None, levels: Levels, withheld: str
) -> Family:
    empty = Family(name, "Wilcoxon signed-rank, exact", "settings", len(values), tuple(labels), effect="rank-biserial", levels=levels)
    gate_p = gate.p if gate else math.nan
    if withheld or len(labels) < 2 or not len(values):
        return replace(empty, reason=withheld or "needs two methods with a trial in every setting")
    columns = _pairs(values)
    found = [stats.signed_rank(column) for column in columns]
    p = np.array([test.p for test in found])
    adjusted, ends = stats.holm(p), np.column_stack(stats.interval_levels(p, levels.alpha))
    tests = []
    for (a, b), column, test, q, (near, far) in zip(combinations(labels, 2), columns, found, adjusted.tolist(), ends, strict=True):
        alone = stats.hodges_lehmann(column, 1 - levels.alpha)
        claim = float(np.sign(test.effect)) if q <= levels.alpha else 0.0
        low, high = (math.nan, math.nan) if math.isnan(test.p) else stats.located_ends(column, near, far, claim)
        said = verdict(levels, test.effect, low, high, q, math.nan)
        numbers = (alone.difference, low, high, min(test.plus, test.minus), test.p, q, test.effect)
        tests.append(PairTest(a, b, *numbers, said, test.reason, alone=(alone.low, alone.high)))
    return replace(empty, tests=tuple(tests), reason=next((test.reason for test in found if test.reason), ""), gate=gate_p)


def _over_datasets(name: str, labels: Sequence[str], means: np.ndarray, levels: Levels, withheld: str) -> Family:
    if withheld or len(labels) < 2 or len(means) < 2:
        reason = withheld or ("needs two datasets" if len(labels) > 1 else "needs two methods")
        return Family(name, "t on dataset means", "datasets", len(means), tuple(labels), reason=reason, levels=levels)
    found = family_of(name, "datasets", len(means), labels, Estimates.of([stats.resampled_t(column) for column in _pairs(means)]), levels)
    return replace(found, test="t on dataset means")


def _sign_flips(name: str, labels: Sequence[str], means: np.ndarray, levels: Levels, withheld: str) -> Family:
    empty = Family(name, "sign flips of dataset means", "datasets", len(means), tuple(labels), reason=withheld, levels=levels)
    if withheld or len(labels) < 2 or not len(means):
        return empty
    pairs, nan = list(combinations(labels, 2)), math.nan
    columns = zip(pairs, _pairs(means), strict=True)
    found = [stats.sign_flip(column, stream(0, "statistics", "sign flip", *pair)) for pair, column in columns]
    rows = zip(pairs, found, stats.holm(np.array([test.p for test in found])).tolist(), strict=True)
    tests = tuple(
        PairTest(a, b, test.mean, nan, nan, nan, test.p, q, test.mean, verdict(levels, test.mean, nan, nan, q, nan), test.reason)
        for (a, b), test, q in rows
    )
    return replace(empty, tests=tests, reason=next((test.reason for test in found if test.reason), ""))


def versus_text(test: PairTest) -> str:
    """Difference in points with its interval, then the adjusted p."""
    if math.isnan(test.p):
        return f"{signed(test.difference)}, {NA} ({test.reason or 'no test'})"
    return f"{signed(test.difference)} [{end_of_interval(test.low)}, {end_of_interval(test.high)}], {p_text(test.p_adjusted)}"


def rank_set(place: Place | None) -> str:
    return NA if place is None else f"{place.low}" if place.low == place.high else f"{place.low}-{place.high}"

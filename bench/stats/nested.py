"""Does a trained model score lower when it is given more? Nested pairs of combinations of modalities, tested on the same rows.

Pairs are paired throughout: the same test rows, seeds and checkpoints on both sides. How often the larger combination scores lower
says little alone, for where more modalities change nothing half of the pairs fall by chance: a violation counts where it is beyond
chance, after Holm's correction over all pairs of a method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import TypedDict

import numpy as np
from scipy.stats import t

from bench.errors import UsageError
from bench.stats.adjust import holm
from bench.stats.kinds import kind_of
from bench.stats.metrics import METRICS
from bench.stats.pairs import NOTHING, Estimate, crossed_interval, paired_crossed_test
from bench.stats.pseudo import pseudo_values

LEAST_ROWS = 30  # of a pair: fewer leave it out
EVERY_PAIR = 5  # modalities up to which all nested pairs are compared; beyond, those that differ by one modality
SEEDS = ((12, 5), (math.inf, 10))  # pairs up to which so many seeds keep false marks near 5 % (simulated)
ALPHA = 0.05
LOSS = "loss"  # of a row, in the place of a metric: which it is follows from the kind of target


def nested_pairs(letters: str) -> list[tuple[str, str]]:
    """All pairs (fewer, more) of non-empty combinations of which the first lies strictly inside the second.

    3^M - 2^(M + 1) + 1 of them; of more than five modalities M 2^(M - 1) - M, those that differ by one modality.

    >>> nested_pairs("AB"), len(nested_pairs("ABC")), len(nested_pairs("ABCDEF"))
    ([('A', 'AB'), ('B', 'AB')], 12, 186)
    """
    sizes = range(1, len(letters) + 1)
    every = [frozenset(chosen) for chosen in chain.from_iterable(combinations(letters, size) for size in sizes)]
    near = len(letters) > EVERY_PAIR
    pairs = [(a, b) for b in every for a in every if a < b and (not near or len(b) - len(a) == 1)]
    return [(_text(a, letters), _text(b, letters)) for a, b in pairs]


@dataclass(frozen=True)
class NestedPair:
    """One pair: what the larger combination adds to the score, higher being better whatever the metric."""

    fewer: str
    more: str
    rows: int  # test rows that really observe all of `more`
    difference: float
    interval: tuple[float, float]  # 95 %, for this pair alone
    p: float  # one-sided, of no loss; not adjusted


@dataclass(frozen=True)
class MoreIsWorse:
    """What came of all pairs of a method. Where seeds are too few for marks, `sure` is None, `harmful` is empty and `reason` says so."""

    pairs: int  # that were compared
    left_out: int  # with too few rows that observe the larger combination, or without a score on them
    raw: float  # share of pairs in which the larger scores lower, by whatever amount
    sure: int | None  # pairs in which it does beyond chance
    marked: tuple[tuple[str, str], ...]  # which
    harmful: tuple[str, ...]  # modalities that cost score on average over what they join, beyond chance
    harm: float  # share of rows right with fewer and wrong with more, a mean over pairs and seeds; of accuracy alone, else NaN
    harm_interval: tuple[float, float]
    help: float  # share of rows wrong with fewer and right with more
    lost: float  # harm as a share of what is right with fewer
    gain: float  # mean difference over pairs
    worst: NestedPair | None
    loss_raw: float  # share of pairs in which the loss of a row rises on average
    loss_sure: int | None
    seeds: int
    reason: str
    found: tuple[NestedPair, ...]


def more_is_worse(
    metric: str,
    letters: str,
    target: np.ndarray,
    scores: Mapping[str, Sequence[np.ndarray]],
    observed: np.ndarray,
    least_rows: int = LEAST_ROWS,
) -> MoreIsWorse:
    """Compare all nested pairs of combinations of one method in one setting.

    Shapes: target (N,) or (N, L) as its kind has it; scores[combination] S arrays (N, O) as metrics read them, one a seed, for every
    combination of `letters`; observed (N, M) bool, what the test rows really have. Raises: UsageError if a combination lacks scores, or
    seeds differ in number.
    Source: SimMLM (arXiv 2507.19264) asks the question; tests, counts of seeds and correction are ours.
    """
    wanted = nested_pairs(letters)
    seeds = {len(scores.get(name, ())) for name in set(chain.from_iterable(wanted))} or {0}
    if len(seeds) > 1 or seeds == {0}:
        raise UsageError(f"every combination of {letters} needs scores of the same seeds, got {sorted(seeds)} of them")
    (count,) = seeds
    held = {more: np.asarray(observed[:, [letters.index(letter) for letter in more]].all(1)) for _, more in wanted}
    values = _Values(metric, target, scores)
    found: list[NestedPair] = []
    losses: list[Estimate] = []
    for fewer, more in wanted:
        rows = held[more]
        estimate = values.test(fewer, more, rows, metric) if rows.sum() >= least_rows else None
        if estimate is None or not math.isfinite(estimate.difference):
            continue
        found.append(NestedPair(fewer, more, int(rows.sum()), estimate.difference, estimate.interval(), lower_p(estimate)))
        losses.append(values.test(fewer, more, rows, LOSS))
    if not found:
        reason = f"no pair has {least_rows} test rows that observe its larger combination"
        return MoreIsWorse(0, len(wanted), math.nan, None, (), (), *_NO_HARM, math.nan, None, math.nan, None, count, reason, ())
    needed = next(least for most, least in SEEDS if len(found) <= most)
    reason = f"needs {needed} seeds for {len(found)} pairs, got {count}" if count < needed else ""
    marked = () if reason else tuple((pair.fewer, pair.more) for pair in _beyond_chance([pair.p for pair in found], found))
    falls = np.array([pair.difference for pair in found])
    return MoreIsWorse(
        pairs=len(found),
        left_out=len(wanted) - len(found),
        raw=float((falls < 0).mean()),
        sure=None if reason else len(marked),
        marked=marked,
        harmful=() if count < SEEDS[0][1] else values.harmful(letters, observed, metric, least_rows),
        **values.harm([(pair.fewer, pair.more) for pair in found], held),
        gain=float(falls.mean()),
        worst=min(found, key=lambda pair: pair.difference),
        loss_raw=float(np.mean([loss.difference < 0 for loss in losses])),
        loss_sure=None if reason else len(_beyond_chance([lower_p(loss) for loss in losses], losses)),
        seeds=count,
        reason=reason,
        found=tuple(found),
    )


def lower_p(estimate: Estimate) -> float:
    """One-sided p of a difference below 0. Nothing varies: 1 for no difference, else NaN, which is no test."""
    if estimate.error == 0:
        return 1.0 if estimate.difference > -NOTHING else math.nan
    return float(t.cdf(estimate.statistic, estimate.freedom))


_NO_HARM = (math.nan, (math.nan, math.nan), math.nan, math.nan)


def _beyond_chance(p: Sequence[float], what: Sequence) -> list:
    adjusted = holm(np.array(p))
    return [each for each, own in zip(what, adjusted, strict=True) if own <= ALPHA]


def _text(combination: frozenset[str], letters: str) -> str:
    return "".join(letter for letter in letters if letter in combination)


class _Harm(TypedDict):
    """These fields of `MoreIsWorse`."""

    harm: float
    harm_interval: tuple[float, float]
    help: float
    lost: float


class _Values:
    """Per-sample values of each combination on the rows of a pair, each worked out once."""

    def __init__(self, metric: str, target: np.ndarray, scores: Mapping[str, Sequence[np.ndarray]]) -> None:
        self.metric, self.target, self.scores = metric, target, scores
        self.known: dict[tuple[str, str, bytes], tuple[np.ndarray, np.ndarray]] = {}

    def of(self, combination: str, rows: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Values (S, n) and scores (S,), higher being better, on some rows."""
        key = (combination, metric, rows.tobytes())
        if key not in self.known:
            own, target = [found[rows] for found in self.scores[combination]], self.target[rows]
            if metric == LOSS:
                values = np.array([-kind_of(target).losses(target, found) for found in own])
                self.known[key] = values, values.mean(1)
            else:
                sign = METRICS[metric].sign
                values = np.array([sign * pseudo_values(metric, target, found) for found in own])
                self.known[key] = values, np.array([sign * METRICS[metric].of(target, found) for found in own])
        return self.known[key]

    def test(self, fewer: str, more: str, rows: np.ndarray, metric: str) -> Estimate:
        (a, of_a), (b, of_b) = self.of(more, rows, metric), self.of(fewer, rows, metric)
        found = paired_crossed_test(a - b, np.round(of_a - of_b, 10))
        return Estimate(found.test, round(found.difference, 10), found.error, found.freedom, found.parts, found.reason)

    def harmful(self, letters: str, observed: np.ndarray, metric: str, least_rows: int) -> tuple[str, ...]:
        """Modalities whose joining costs score, averaged over what they join, on rows that observe everything; Holm over modalities."""
        rows = np.asarray(observed.all(1))
        if rows.sum() < least_rows or len(letters) < 2:
            return ()
        p = []
        for m in letters:
            others = [letter for letter in letters if letter != m]
            without = chain.from_iterable(combinations(others, size) for size in range(1, len(letters)))
            pairs = [("".join(own), _text(frozenset({*own, m}), letters)) for own in without]
            both = [(self.of(more, rows, metric), self.of(fewer, rows, metric)) for fewer, more in pairs]
            values = np.mean([a[0] - b[0] for a, b in both], axis=0)
            gains: np.ndarray = np.asarray(np.round(np.mean([a[1] - b[1] for a, b in both], axis=0), 10))
            p.append(lower_p(paired_crossed_test(values, gains)) if np.isfinite(values).all() else math.nan)
        return tuple(_beyond_chance(p, letters))

    def harm(self, pairs: Sequence[tuple[str, str]], held: Mapping[str, np.ndarray]) -> _Harm:
        """Of accuracy: rows that more modalities turn wrong, and right; each row's mean over the pairs that it enters."""
        if self.metric != "accuracy":
            return _Harm(harm=math.nan, harm_interval=(math.nan, math.nan), help=math.nan, lost=math.nan)
        right = {name: np.array([found.argmax(1) == self.target for found in every]) for name, every in self.scores.items()}
        entered = np.sum([held[more] for _, more in pairs], axis=0)  # (N,)
        rows = entered > 0

        def mean(of) -> np.ndarray:
            total = np.sum([np.where(held[more], of(right[fewer], right[more]), 0.0) for fewer, more in pairs], axis=0)
            return total[:, rows] / entered[rows]  # (S, n)

        harmed, helped, before = mean(lambda a, b: a & ~b), mean(lambda a, b: ~a & b), mean(lambda a, _: a)
        share = float(before.mean())
        lost = float(harmed.mean()) / share if share else math.nan
        interval = crossed_interval(harmed, harmed.mean(1))
        return _Harm(harm=float(harmed.mean()), harm_interval=interval, help=float(helped.mean()), lost=lost)

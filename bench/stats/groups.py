"""Scores told apart by groups of test samples: is a method better for some than for others? All scores are higher-is-better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.stats.pairs import NOTHING, Estimate, crossed_interval, run_noise, seed_variance

TEST = "crossed seed x sample, groups of samples"


LEAST_SIDE = 10  # rows of every class, or side of a label, that a test of a metric that ranks or averages over them needs in each group
BY_SIDE = (
    "balanced_accuracy",
    "f1_macro",
    "auroc",
    "auprc",
    "label_auroc",
    "label_auroc_micro",
    "label_auprc",
    "label_auprc_micro",
    "label_f1",
)


def least_side(metric: str, target: np.ndarray, outputs: int) -> int | None:
    """The rows of the rarest class, or side of a label, where a metric rests on each of them; None where it does not.

    Shapes: target (N,) or (N, L), with so many outputs.
    """
    if metric not in BY_SIDE:
        return None
    if target.ndim == 2:
        return min(int((target == side).sum(0).min()) for side in (0, 1))
    return int(np.bincount(target, minlength=outputs).min())


def group_test(
    a: np.ndarray, b: np.ndarray, a_scores: np.ndarray, b_scores: np.ndarray, sides: tuple[int | None, int | None] = (None, None)
) -> Estimate:
    """A method's score on group A less its score on group B, over the same seeds and other samples.

    V = var(differences of the seeds' scores) / S + v_A + v_B, v_g = max(var_i(mean_s of g) / N_g - residual mean square / (S N_g), 0): the
    noise of single runs, which the first term holds already, is not counted twice. Freedom by Satterthwaite with all three terms; that of
    v_g is N_g - 1, or less where few samples carry the variance: 2 N_g / (kurtosis - 1), as the variance of a variance has it.
    `sides` are what `least_side` says of each group: fewer than 10 are not tested, and v_g has one degree of freedom less than them, for
    then a rare class carries its variance.
    Simulated at nominal 5 %, 1,000 draws, groups alike, 3, 5 and 10 seeds, share of those tested: one group of 30 and one of 200, accuracy
    5.0 to 6.2 %, MAE 5.5 to 6.8 %, AUROC 6.4, 7.1 and 8.8 % (13 to 15 % of draws were not tested); four of 40, 60, 120 and 200, the
    largest gap by Sidak, accuracy 3.4 to 3.9 %, MAE 3.0 to 4.2 %. So with small groups an AUROC's p near 0.05 is too small.
    Shapes: a (S, N_A), b (S, N_B) per-sample values on each group (see `pseudo_values`), scores (S,), (S,).
    Source: as `pairs.crossed_test`, with samples nested in groups; freedom: Welch 1947.
    """
    difference = float(a_scores.mean() - b_scores.mean())
    seeds, sizes = len(a), (a.shape[1], b.shape[1])
    reason = ""
    if seeds < 2:
        reason = f"needs 2 seeds, got {seeds}"
    elif min(sizes) < 2 or not all(np.isfinite(one).all() for one in (a, b, a_scores, b_scores)):
        reason = "needs two test samples in each group, and of every class or side of a label"
    elif any(side is not None and side < LEAST_SIDE for side in sides):
        fewest = min(side for side in sides if side is not None)
        reason = f"needs {LEAST_SIDE} test samples of every class, or side of a label, in each group, got {fewest}"
    if reason:
        return Estimate(TEST, difference, math.nan, math.nan, {}, reason)
    of_seeds = seed_variance(a_scores - b_scores)
    of_a, of_b = (max(float(one.mean(0).var(ddof=1)) / one.shape[1] - run_noise(one), 0.0) for one in (a, b))
    variance = of_seeds + of_a + of_b
    if variance <= NOTHING**2:
        return Estimate(TEST, difference, 0.0, math.inf, {}, "zero_variance" if abs(difference) >= NOTHING else "")
    below = of_seeds**2 / (seeds - 1) + of_a**2 / _freedom(a.mean(0), sides[0]) + of_b**2 / _freedom(b.mean(0), sides[1])
    return Estimate(TEST, difference, math.sqrt(variance), variance**2 / below, {"seed": of_seeds, "a": of_a, "b": of_b})


def _freedom(values: np.ndarray, side: int | None) -> float:
    """Degrees of freedom of the variance of some values. Shapes: (N,)."""
    centred = values - values.mean()
    variance = float((centred**2).mean())
    most = float(min(len(values), len(values) if side is None else side) - 1)
    if not variance > 0:
        return most
    kurtosis = float((centred**4).mean()) / variance**2
    return max(1.0, min(most, 2 * len(values) / max(kurtosis - 1, 1e-9)))


def group_interval(values: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """95 % interval of a method's score on one group. Shapes: values (S, N) of the group, scores (S,) -> (low, high)."""
    return crossed_interval(values, scores)


@dataclass(frozen=True)
class Gap:
    """The largest difference of a method's scores between two of its groups, positive: `best` less `worst`.

    It is chosen among `pairs` pairs, which its p and its interval allow for, by Sidak's inequality. NaN with a reason where it cannot be
    tested.
    """

    best: int
    worst: int
    estimate: Estimate
    pairs: int

    @property
    def p(self) -> float:
        """That all groups of the method are equally good."""
        p = self.estimate.p
        return math.nan if math.isnan(p) else -math.expm1(self.pairs * math.log1p(-p)) if p < 1 else 1.0

    def ends(self, near: float = 0.05, far: float = 0.05) -> tuple[float, float]:
        """The interval, whose end towards 0 is at one two-sided level, and whose other end is at another."""
        low, high = (self.estimate.interval((1 - level) ** (1 / self.pairs)) for level in (near, far))
        return low[0], high[1]


def largest_gap(scores: Sequence[float], tests: dict[tuple[int, int], Estimate]) -> Gap | None:
    """The largest gap among groups with these mean scores; None with fewer than two that have one.

    `tests` holds the test of i - j for i < j, turned as needed. Source of the correction: Sidak 1967, JASA 62:626.
    """
    known = [place for place, score in enumerate(scores) if not math.isnan(score)]
    pairs = [(i, j) for i, j in combinations(known, 2)]
    if not pairs:
        return None
    i, j = max(pairs, key=lambda pair: abs(round(scores[pair[0]] - scores[pair[1]], 10)))
    found = tests[i, j]
    if found.difference < 0:
        i, j = j, i
        found = Estimate(found.test, -found.difference, found.error, found.freedom, found.parts, found.reason)
    return Gap(i, j, found, len(pairs))

"""Every pair of several methods at once: the tests of `pairs` as arrays. A board has thousands of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from bench.errors import UsageError
from bench.stats.adjust import interval_levels
from bench.stats.pairs import NOTHING, Estimate, run_noise, seed_variance


@dataclass(frozen=True)
class Estimates:
    """Differences of P pairs with their standard errors; each is what `Estimate` says of one. Shapes: all (P,)."""

    test: str
    difference: np.ndarray
    error: np.ndarray  # NaN where the data cannot answer
    freedom: np.ndarray
    reasons: tuple[str, ...]  # empty where there is an answer

    @classmethod
    def of(cls, estimates: Sequence[Estimate]) -> Estimates:
        columns = np.array([(found.difference, found.error, found.freedom) for found in estimates], dtype=float).reshape(-1, 3)
        difference, error, freedom = columns.T
        return cls(estimates[0].test if estimates else "", difference, error, freedom, tuple(found.reason for found in estimates))

    @property
    def statistic(self) -> np.ndarray:
        return np.divide(self.difference, self.error, out=np.full(len(self.error), np.nan), where=self.error > 0)

    @property
    def p(self) -> np.ndarray:
        """Two-sided p of no difference; 1 where nothing varies and nothing differs."""
        same = (self.error == 0) & (np.abs(self.difference) < NOTHING)
        return np.where(same, 1.0, 2 * t.sf(np.abs(self.statistic), self.freedom))

    def interval(self, confidence: float = 0.95) -> np.ndarray:
        """Shapes: (P, 2)."""
        half = t.ppf(0.5 + confidence / 2, self.freedom) * self.error
        return np.column_stack([self.difference - half, self.difference + half])

    def simultaneous(self, alpha: float = 0.05, correction: str = "Holm") -> np.ndarray:
        """Intervals that agree with the adjusted p: see `interval_levels`. NaN where there is no test. Shapes: (P, 2)."""
        p = self.p
        ends = interval_levels(p, alpha, correction)
        near, far = (t.isf(level / 2, self.freedom) * self.error for level in ends)
        ahead = self.difference > 0
        low, high = self.difference - np.where(ahead, near, far), self.difference + np.where(ahead, far, near)
        return np.where(np.isnan(p)[:, None], np.nan, np.column_stack([low, high]))

    def equivalence(self, rope: float) -> np.ndarray:
        """p of a difference of `rope` or more (TOST)."""
        still = np.where(np.abs(self.difference) < NOTHING, 0.0 if rope > NOTHING else np.nan, np.nan)
        distance = np.divide(rope - np.abs(self.difference), self.error, out=np.full(len(self.error), np.nan), where=self.error > 0)
        return np.where(self.error == 0, still, t.sf(distance, self.freedom))


def crossed_pairs(values: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> Estimates:
    """`crossed_test` of every pair, in the order of `np.triu_indices(K, 1)`; seeds may differ in number, test samples may not.

    Shapes: K times values (S_m, N) and scores (S_m,). Raises: UsageError if methods have values for different numbers of samples.
    """
    k, sizes = len(values), {found.shape[1] for found in values}
    if len(sizes) > 1:
        raise UsageError(f"all methods must have values for the same test samples, got {sorted(sizes)}")
    n = sizes.pop() if sizes else 0
    seeds = np.array([len(found) for found in values])
    finite = np.array([np.isfinite(found).all() and np.isfinite(own).all() for found, own in zip(values, scores, strict=True)], dtype=bool)
    usable = finite & (seeds > 1) & (n > 1)
    mean = np.array([found.mean(0) if len(found) else np.full(n, np.nan) for found in values])  # (K, N)
    of_seeds, noise = np.full(k, np.nan), np.full(k, np.nan)
    for method in np.flatnonzero(usable).tolist():
        of_seeds[method], noise[method] = seed_variance(scores[method]), run_noise(values[method])
    first, second = np.triu_indices(k, 1)
    apart = [(mean[method] - mean[method + 1 :]).var(1, ddof=1) for method in range(k - 1)] if n > 1 else [np.full(len(first), np.nan)]
    of_samples = (np.concatenate([*apart, np.empty(0)])) / max(n, 1) - noise[first] - noise[second]
    variance = of_seeds[first] + of_seeds[second] + np.maximum(of_samples, 0.0)
    below = of_seeds[first] ** 2 / np.maximum(seeds[first] - 1, 1) + of_seeds[second] ** 2 / np.maximum(seeds[second] - 1, 1)
    freedom = np.divide(variance**2, below, out=np.full(len(first), np.inf), where=below > 0)
    means = np.array([own.mean() if len(own) else np.nan for own in scores])
    difference = means[first] - means[second]
    error = np.where(np.isnan(variance), np.nan, np.sqrt(np.where(variance > NOTHING**2, variance, 0.0)))
    reasons = tuple(
        _reason(seeds[i], seeds[j], bool(finite[i] and finite[j]), n, apart_by, wrong)
        for i, j, apart_by, wrong in zip(first, second, difference, error, strict=True)
    )
    return Estimates("crossed seed x sample", difference, error, np.where(np.isnan(error), np.nan, freedom), reasons)


def _reason(seeds_a: int, seeds_b: int, finite: bool, n: int, difference: float, error: float) -> str:
    if min(seeds_a, seeds_b) < 2:
        return f"needs 2 seeds of each method, got {seeds_a} and {seeds_b}"
    if not finite:
        return "needs a score without any one of the test samples"
    if n < 2:
        return "needs 2 test samples"
    return "zero_variance" if error == 0 and not math.isclose(difference, 0, abs_tol=NOTHING) else ""

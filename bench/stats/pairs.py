"""Two methods in one setting: is the difference real, how large, and is it too small to matter?

Every function takes higher-is-better scores and answers for A - B: above 0, A is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import binom, rankdata, t

from bench.errors import UsageError
from bench.stats.curves import noise_auc

NOTHING = 1e-10  # differences are rounded to 10 decimals before they count as zero or tied: binary noise is no difference


class Regions(NamedTuple):
    """Probabilities that A is worse, practically equal and better; they sum to 1."""

    worse: float
    equal: float
    better: float

    def decision(self, sure: float = 0.95) -> str:
        """The region whose probability is above `sure`, else undecided."""
        return next((name for name, chance in zip(("worse", "equivalent", "better"), self, strict=True) if chance > sure), "undecided")


@dataclass(frozen=True)
class Estimate:
    """A difference A - B with its standard error: what every t-like test here gives.

    `freedom` is infinite where the quantile is the normal one. `parts` holds the terms the error is made of. Where the data cannot
    answer, `error` is NaN and `reason` says what is needed; where nothing varies, p is 1 for no difference and else NaN, with a reason.
    """

    test: str
    difference: float
    error: float
    freedom: float = math.inf
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def statistic(self) -> float:
        return self.difference / self.error if self.error > 0 else math.nan

    @property
    def p(self) -> float:
        """Two-sided p of no difference."""
        if self.error == 0 and abs(self.difference) < NOTHING:
            return 1.0
        return float(2 * t.sf(abs(self.statistic), self.freedom))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        half = float(t.ppf(0.5 + confidence / 2, self.freedom)) * self.error
        return self.difference - half, self.difference + half

    def equivalence(self, rope: float) -> float:
        """p of a difference of `rope` or more: the larger of two one-sided tests (TOST).

        At most alpha if and only if the 1 - 2 alpha interval lies inside +- rope. Source: Schuirmann 1987.
        """
        if self.error == 0:
            return 0.0 if abs(self.difference) < NOTHING < rope else math.nan
        return float(t.sf((rope - abs(self.difference)) / self.error, self.freedom))

    def regions(self, rope: float) -> Regions:
        """Posterior of the difference under a flat prior; of `resampled_t`: the Bayesian correlated t-test.

        Source: Benavoli, Corani, Demsar and Zaffalon 2017 (JMLR 18).
        """
        if not self.error > 0:
            return Regions(math.nan, math.nan, math.nan)
        below, above = t.cdf((np.array([-rope, rope]) - self.difference) / self.error, self.freedom)
        return Regions(float(below), float(above - below), float(1 - above))

    def verdict(self, rope: float, p: float | None = None, alpha: float = 0.05) -> str:
        """`better`, `worse`, `equivalent` or `undecided`; `p` is the adjusted p where the test is one of several.

        `equivalent` if and only if the 90 % interval (for alpha 0.05) lies inside +- rope, even where p is small: a difference that is
        real but too small to matter.
        """
        if self.equivalence(rope) <= alpha:
            return "equivalent"
        if (self.p if p is None else p) <= alpha:
            return "better" if self.difference > 0 else "worse"
        return "undecided"


def _estimate(test: str, difference: float, variance: float, freedom: float, parts: Mapping[str, float] | None = None) -> Estimate:
    error = math.sqrt(variance)
    reason = "zero_variance" if error == 0 and abs(difference) >= NOTHING else ""
    return Estimate(test, float(difference), error, float(freedom), parts or {}, reason)


def _refused(test: str, difference: float, reason: str) -> Estimate:
    return Estimate(test, float(difference), math.nan, math.nan, {}, reason)


def crossed_test(a: np.ndarray, b: np.ndarray, a_scores: np.ndarray | None = None, b_scores: np.ndarray | None = None) -> Estimate:
    """The default in a setting: seeds of A and B crossed with one test set.

    V = v_A + v_B + max(v_smp, 0): v_m = var(scores of m) / S_m for its seeds; v_smp = var_i(mean_s a - mean_s b) / N less the residual
    mean square of each method / (S_m N), so that noise of single runs is not counted twice. Freedom by Satterthwaite with the seed
    terms: V^2 / (v_A^2 / (S_A - 1) + v_B^2 / (S_B - 1)). It holds for new seeds and new samples alike, which a t-test over seeds or
    McNemar's test on one pair of models do not. At nominal 5 % it errs in 4 to 6 % from 3 seeds on; far below, few seeds are too few:
    with 3 a nominal 1 % errs in 1.3 to 1.5 % and a nominal 0.1 % in 0.4 to 0.6 %, with 10 it is as said (simulated).
    Shapes: a (S_A, N), b (S_B, N) per-sample values (see `pseudo_values`), scores (S_A,), (S_B,), by default the mean values.
    Raises: UsageError if shapes do not fit.
    Source: the multi-reader multi-case model with seeds as readers; Dorfman, Berbaum and Metz 1992; Obuchowski and Rockette 1995.
    """
    test = "crossed seed x sample"
    a_scores, b_scores = _seed_scores(a, a_scores), _seed_scores(b, b_scores)
    if a.shape[1] != b.shape[1]:
        raise UsageError(f"both methods must have values for the same test samples, got {a.shape[1]} and {b.shape[1]}")
    difference = _mean(a_scores) - _mean(b_scores)
    if min(len(a), len(b)) < 2:
        return _refused(test, difference, f"needs 2 seeds of each method, got {len(a)} and {len(b)}")
    if not all(np.isfinite(values).all() for values in (a, b, a_scores, b_scores)):
        return _refused(test, difference, "needs a score without any one of the test samples")
    if a.shape[1] < 2:
        return _refused(test, difference, "needs 2 test samples")
    v_a, v_b = seed_variance(a_scores), seed_variance(b_scores)
    v_sample = (a.mean(0) - b.mean(0)).var(ddof=1) / a.shape[1] - run_noise(a) - run_noise(b)
    variance = v_a + v_b + max(v_sample, 0.0)
    seeds = v_a**2 / (len(a) - 1) + v_b**2 / (len(b) - 1)
    parts = {"seed_a": v_a, "seed_b": v_b, "sample": float(v_sample)}
    return _estimate(test, difference, variance if variance > NOTHING**2 else 0.0, variance**2 / seeds if seeds else math.inf, parts)


def paired_crossed_test(differences: np.ndarray, scores: np.ndarray | None = None) -> Estimate:
    """The crossed test for seeds that mean the same for both methods, such as one draw of the training part a seed.

    V = (MS_seed + max(MS_smp - MS_res, 0)) / (S N) from the two-way mean squares, freedom by Satterthwaite with MS_seed.
    Shapes: differences (S, N) of per-sample values, scores (S,) of the seeds, by default the mean differences.
    Source: as `crossed_test`.
    """
    test = "crossed seed x sample, paired seeds"
    scores = _seed_scores(differences, scores)
    seeds, n = differences.shape
    if seeds < 2:
        return _refused(test, _mean(scores), f"needs 2 seeds, got {seeds}")
    if not np.isfinite(differences).all() or n < 2:
        return _refused(test, _mean(scores), "needs a score without any one of the test samples")
    of_seed = n * seed_variance(scores) * seeds
    of_sample = seeds * differences.mean(0).var(ddof=1)
    residual = run_noise(differences) * seeds * n
    total = of_seed + max(of_sample - residual, 0.0)
    freedom = total**2 / (of_seed**2 / (seeds - 1)) if of_seed else math.inf
    parts = {"seed": of_seed, "sample": float(of_sample), "residual": residual}
    variance = total / (seeds * n)
    return _estimate(test, _mean(scores), variance if variance > NOTHING**2 else 0.0, freedom, parts)


def crossed_interval(values: np.ndarray, seed_scores: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of one method's mean score, with the variance of seeds and of test samples as in `crossed_test`.

    Shapes: values (S, N) pseudo-values, seed_scores (S,) -> (low, high). One seed, or a value that is NaN: (NaN, NaN).
    """
    seeds, n = values.shape
    if seeds < 2 or n < 2 or not np.isfinite(values).all():
        return math.nan, math.nan
    of_seeds = seed_variance(seed_scores)
    of_samples = max(values.mean(0).var(ddof=1) / n - run_noise(values), 0.0)
    variance = of_seeds + of_samples
    freedom = variance**2 / (of_seeds**2 / (seeds - 1)) if of_seeds else math.inf
    return Estimate("crossed seed x sample", _mean(seed_scores), math.sqrt(variance), freedom).interval(confidence)


def seed_variance(scores: np.ndarray) -> float:
    """Variance of a mean over seeds: var / S, ddof 1; 0 where all agree to 10 decimals. Shapes: (S,), S >= 2."""
    return 0.0 if np.ptp(scores) < NOTHING else float(scores.var(ddof=1) / len(scores))


def run_noise(values: np.ndarray) -> float:
    """What is left of (S, N) values after seed and sample means, as variance of the mean: mean square / (S N)."""
    seeds, n = values.shape
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    return float((residual**2).sum() / ((seeds - 1) * (n - 1)) / (seeds * n))


def _seed_scores(values: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
    if values.ndim != 2 or not values.size:
        raise UsageError(f"per-sample values must be seeds x samples (S, N), got shape {values.shape}")
    scores = values.mean(1) if scores is None else np.asarray(scores, dtype=float)
    if scores.shape != (len(values),):
        raise UsageError(f"there must be one score for each of {len(values)} seeds, got shape {scores.shape}")
    return scores


def _mean(scores: np.ndarray) -> float:
    return float(scores.mean())


def noise_auc_test(noise: np.ndarray, a: np.ndarray, b: np.ndarray, a_scores: np.ndarray, b_scores: np.ndarray) -> Estimate:
    """The crossed test on the area under the score-over-noise curve: the values of a sample are the trapezoid of its values at each level.

    Shapes: noise (L,) ascending, a (L, S_A, N), b (L, S_B, N), a_scores (L, S_A), b_scores (L, S_B); the same seeds and test samples
    at every level.
    """
    areas = [noise_auc(noise, values) for values in (a, b, a_scores, b_scores)]
    return crossed_test(*areas)


def mcnemar(only_a: np.ndarray | int, only_b: np.ndarray | int) -> np.ndarray:
    """Exact two-sided p that two trained models are right equally often, from counts of samples where only one is.

    p = min(1, 2 P(Bin(a + b, 1/2) <= min(a, b))); no disagreement: 1. It speaks of these models on this test set, not of methods.
    Shapes: any, broadcast. Source: McNemar 1947; Dietterich 1998, section 3.1.
    """
    smaller, both = np.minimum(only_a, only_b), np.add(only_a, only_b)
    return np.minimum(1.0, 2 * binom.cdf(smaller, both, 0.5))


def mcnemar_median(a_right: np.ndarray, b_right: np.ndarray) -> float:
    """Median of McNemar's p over all pairs of a seed of A and a seed of B: a description, no test of the methods.

    Shapes: (S_A, N), (S_B, N) bool.
    """
    a, b = np.asarray(a_right, dtype=float), np.asarray(b_right, dtype=float)
    return float(np.median(mcnemar((a @ (1 - b).T).round(), ((1 - a) @ b.T).round())))


def delong(target: np.ndarray, a: np.ndarray, b: np.ndarray) -> Estimate:
    """Difference of two AUROCs on the same samples, normal, in the midrank form.

    Shapes: target (N,) bool or 0/1, a and b (N,) scores of the positive class.
    Raises: UsageError if there are not two samples of each class.
    Source: DeLong, DeLong and Clarke-Pearson 1988; midranks: Sun and Xu 2014.
    """
    positive = np.asarray(target).astype(bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if min(n1, n0) < 2:
        raise UsageError(f"DeLong's test needs two samples of each class, got {n1} positive and {n0} negative")
    scores = np.stack([a, b])
    if not np.isfinite(scores).all():
        raise UsageError("DeLong's test needs finite scores, got NaN or infinity")
    everywhere = rankdata(scores, axis=1)
    of_positives = (everywhere[:, positive] - rankdata(scores[:, positive], axis=1)) / n0  # (2, n1): negatives below each positive
    of_negatives = 1 - (everywhere[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / n1
    auc = of_positives.mean(1)
    covariance = np.cov(of_positives) / n1 + np.cov(of_negatives) / n0
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    parts = {"auroc_a": auc[0], "auroc_b": auc[1], "var_a": covariance[0, 0], "var_b": covariance[1, 1], "cov": covariance[0, 1]}
    variance = 0.0 if variance < NOTHING**2 else float(variance)
    return _estimate("DeLong", auc[0] - auc[1], variance, math.inf, {name: float(value) for name, value in parts.items()})


def welch(mean_a: float, sd_a: float, n_a: int, mean_b: float, sd_b: float, n_b: int) -> Estimate:
    """t-test of two means with unequal variances, from published summaries; over seeds it holds for this test set alone.

    Units: SD with ddof 1. Raises: UsageError on a negative SD or fewer than 2 runs. Source: Welch 1947.
    """
    if min(n_a, n_b) < 2 or min(sd_a, sd_b) < 0:
        raise UsageError(f"Welch's test needs two runs of each and SDs from 0 on, got n = {n_a} and {n_b}, SD = {sd_a} and {sd_b}")
    v_a, v_b = sd_a**2 / n_a, sd_b**2 / n_b
    below = v_a**2 / (n_a - 1) + v_b**2 / (n_b - 1)
    return _estimate("Welch", mean_a - mean_b, v_a + v_b, (v_a + v_b) ** 2 / below if below else math.inf)


def resampled_t(differences: np.ndarray, test_over_train: float = 0.0) -> Estimate:
    """t-test of repeated splits or folds, whose training parts overlap: variance var x (1/J + n_test / n_train).

    With the default 0 it is the paired t-test, for differences that are independent. Shapes: differences (J,).
    Source: Nadeau and Bengio 2003, section 4.
    """
    name = "corrected resampled t" if test_over_train else "paired t"
    if differences.ndim != 1 or not np.isfinite(differences).all():
        raise UsageError(f"differences must be finite, one a split (J,), got shape {differences.shape}")
    if len(differences) < 2:
        return _refused(name, _mean(differences) if len(differences) else math.nan, f"needs 2 differences, got {len(differences)}")
    variance = 0.0 if np.ptp(differences) < NOTHING else float(differences.var(ddof=1) * (1 / len(differences) + test_over_train))
    return _estimate(name, _mean(differences), variance, len(differences) - 1)


def seed_permutation(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, draws: int = 10_000) -> float:
    """Two-sided p of equal means by relabelling seeds: every way where there are at most `draws`, else at random.

    p = share of labellings whose means lie at least as far apart; at random (1 + hits) / (1 + draws). Shapes: (S_A,), (S_B,).
    Source: Fisher 1935; Phipson and Smyth 2010.
    """
    pooled, n = np.concatenate([a, b]), len(a) + len(b)
    if not np.isfinite(pooled).all() or not len(a) or not len(b):
        raise UsageError(f"each method needs finite scores, got {len(a)} and {len(b)} with {np.isnan(pooled).sum()} NaN")

    def hits(rows: np.ndarray) -> int:
        """Labellings, rows of A (P, S_A), whose means lie at least as far apart as those seen."""
        sums = pooled[rows].sum(1)
        apart = np.abs(sums / len(a) - (pooled.sum() - sums) / len(b))
        return int((apart >= abs(a.mean() - b.mean()) - NOTHING).sum())

    if math.comb(n, len(a)) <= draws:
        return hits(np.array(list(combinations(range(n), len(a))))) / math.comb(n, len(a))
    return (1 + hits(rng.permuted(np.tile(np.arange(n), (draws, 1)), axis=1)[:, : len(a)])) / (1 + draws)

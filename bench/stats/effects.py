"""How large a difference is, how often it would show, and how many seeds would settle it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import nct, norm, t, trim_mean

from bench.errors import UsageError

CLIFF = ((0.474, "large"), (0.33, "medium"), (0.147, "small"), (0.0, "negligible"))


def a12(a: np.ndarray, b: np.ndarray) -> float:
    """Chance that a run of A scores above a run of B, ties counting half. Shapes: (S_A,), (S_B,), unpaired.

    Source: Vargha and Delaney 2000.
    """
    _finite_runs(a, b)
    apart = np.sign(np.round(np.subtract.outer(a, b), 10))
    return float((apart.mean() + 1) / 2)


def cliffs_delta(a: np.ndarray, b: np.ndarray) -> float:
    """2 A12 - 1, from -1 to 1. Source: Cliff 1993."""
    return 2 * a12(a, b) - 1


def magnitude(delta: float) -> str:
    """`negligible`, `small`, `medium` or `large` for a Cliff's delta. Source: Romano et al. 2006."""
    return next(word for least, word in CLIFF if abs(delta) >= least)


def hedges_g(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in pooled SDs, corrected for few runs: J = 1 - 3 / (4 df - 1). NaN below 5 runs each, or where nothing varies.

    Shapes: (S_A,), (S_B,). Source: Hedges 1981.
    """
    _finite_runs(a, b)
    freedom = len(a) + len(b) - 2
    if min(len(a), len(b)) < 5:
        return math.nan
    pooled = math.sqrt(((len(a) - 1) * np.var(a, ddof=1) + (len(b) - 1) * np.var(b, ddof=1)) / freedom)
    return float((np.mean(a) - np.mean(b)) / pooled * (1 - 3 / (4 * freedom - 1))) if pooled > 0 else math.nan


class Outperformance(NamedTuple):
    """How often A beats B on the same seed."""

    chance: float
    low: float
    high: float


def outperforms(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, confidence: float = 0.95, draws: int = 10_000) -> Outperformance:
    """P(A > B) over paired seeds, ties counting half, with a percentile bootstrap interval over seeds.

    Shapes: (S,), (S,), same seeds in the same order. The interval is NaN below 5 seeds.
    Source: Bouthillier et al. 2021 (MLSys), section 4.
    """
    _finite_runs(a, b)
    if len(a) != len(b):
        raise UsageError(f"paired seeds must be as many for both methods, got {len(a)} and {len(b)}; use a12 for unpaired ones")
    wins = (np.sign(np.round(np.subtract(a, b), 10)) + 1) / 2
    if len(wins) < 5:
        return Outperformance(float(wins.mean()), math.nan, math.nan)
    means = rng.multinomial(len(wins), np.full(len(wins), 1 / len(wins)), draws) @ wins / len(wins)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Outperformance(float(wins.mean()), float(low), float(high))


def noether_seeds(gamma: float = 0.75, alpha: float = 0.05, beta: float = 0.05) -> int:
    """Paired seeds to find P(A > B) = gamma with one-sided error alpha and power 1 - beta.

    >>> noether_seeds()
    29

    Raises: UsageError unless 0.5 < gamma <= 1. Source: Noether 1987; Bouthillier et al. 2021.
    """
    if not 0.5 < gamma <= 1:
        raise UsageError(f"gamma must be above 0.5 and at most 1, got {gamma}")
    return math.ceil(((norm.isf(alpha) + norm.isf(beta)) / (math.sqrt(6) * (0.5 - gamma))) ** 2)


def iqm(scores: np.ndarray) -> float:
    """Interquartile mean: the mean of the middle half. Shapes: any, over all values. Source: Agarwal et al. 2021 (NeurIPS)."""
    return float(trim_mean(np.ravel(scores), 0.25))


def seeds_needed(
    difference: float, sd_a: float, sd_b: float, sample_variance: float = 0.0, alpha: float = 0.05, power: float = 0.8, most: int = 1000
) -> int | None:
    """Seeds of each method with which the crossed test would find a true difference of this size; None if `most` would not do.

    More seeds leave the variance of the test samples as it is: where that alone hides the difference, only more samples help. With
    `sample_variance` 0 it is the sample size of Welch's t-test. Units: SDs over seeds, and `sample_variance` of the mean over samples,
    in the units of the scores.
    """
    seeds, error, freedom = _designs(sd_a, sd_b, sample_variance, most)
    ratio = np.minimum(abs(difference) / error, 50.0)
    limit = t.isf(alpha / 2, freedom)
    return _first(seeds, nct.sf(limit, freedom, ratio) >= power)  # the other tail's share of the power is below alpha / 2


def seeds_for_equivalence(
    difference: float,
    sd_a: float,
    sd_b: float,
    sample_variance: float,
    rope: float,
    alpha: float = 0.05,
    power: float = 0.8,
    most: int = 1000,
) -> int | None:
    """Seeds of each method with which two one-sided tests would show a true difference of this size to be inside +- rope.

    Arguments and None as in `seeds_needed`; power by the shifted t distribution. Source: Schuirmann 1987.
    """
    seeds, error, freedom = _designs(sd_a, sd_b, sample_variance, most)
    limit = t.isf(alpha, freedom)
    upper, lower = (t.cdf((rope + sign * abs(difference)) / error - limit, freedom) for sign in (-1, 1))
    return _first(seeds, upper + lower - 1 >= power)


def _designs(sd_a: float, sd_b: float, sample_variance: float, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of seeds from 2 on, with the standard error and the freedom of the crossed test at each."""
    seeds = np.arange(2, most + 1)
    v_a, v_b = max(sd_a, 1e-12) ** 2 / seeds, max(sd_b, 1e-12) ** 2 / seeds
    variance = v_a + v_b + max(sample_variance, 0.0)
    freedom = variance**2 / ((v_a**2 + v_b**2) / (seeds - 1))
    return seeds, np.sqrt(variance), np.minimum(freedom, 1e6)


def _first(seeds: np.ndarray, enough: np.ndarray) -> int | None:
    return int(seeds[enough.argmax()]) if enough.any() else None


def _finite_runs(a: np.ndarray, b: np.ndarray) -> None:
    if not len(a) or not len(b) or not np.isfinite(a).all() or not np.isfinite(b).all():
        raise UsageError(
            f"each method needs finite scores, got {len(a)} and {len(b)} runs with {np.isnan(a).sum() + np.isnan(b).sum()} NaN"
        )

"""Many tests at once: adjusted p, and intervals that agree with them. A NaN is no test: it does not count into the family and comes back
as NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import false_discovery_control

from bench.errors import UsageError


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p: the chance of any false claim in the family stays at alpha. Shapes: (K,) -> (K,).

    Ascending, the running maximum of min(1, (m - i + 1) p_(i)). Raises: UsageError if a p is not in [0, 1]. Source: Holm 1979.
    """
    return _adjusted(p, _holm)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p that bounds the share of false claims among the claims; for exploratory families. Shapes: (K,) -> (K,).

    Raises: UsageError if a p is not in [0, 1]. Source: Benjamini and Hochberg 1995.
    """
    return _adjusted(p, false_discovery_control)


class Ends(NamedTuple):
    """Two-sided error levels at which the two ends of each interval are taken; NaN where there is no test. Shapes: (K,)."""

    near: np.ndarray  # the end towards 0
    far: np.ndarray  # the other end


def interval_levels(p: np.ndarray, alpha: float = 0.05, correction: str = "Holm") -> Ends:
    """Levels of intervals that leave out 0 if and only if the adjusted p is at most alpha. Shapes: (K,) -> (K,), (K,).

    Holm: alpha / m for every end, Bonferroni's, so that all m intervals hold at once. Holm claims more pairs than these leave 0 out of: a
    pair that step i alone claims has its near end at the level of that step, alpha / (m - i + 1). That end holds as Holm's claims do,
    all of which are true in 1 - alpha of studies; bounded intervals that agree with a step-down test and hold at once, near ends
    included, do not exist (those that hold say no more of a claimed pair than its direction).
    Benjamini-Hochberg: R alpha / m for R claims, at least alpha / m: of the intervals of claimed pairs at most alpha miss, on average.
    Raises: UsageError if a p is not in [0, 1].
    Source: Dunn 1961; Holm 1979; no bounded ends: Strassburger and Bretz 2008, Guilbaud 2008; claims alone: Benjamini and Yekutieli 2005.
    """
    p = np.asarray(p, dtype=float)
    tested = ~np.isnan(p)
    m = int(tested.sum())
    every = np.where(tested, alpha / max(m, 1), np.nan)
    if correction != "Holm":
        claims = int((benjamini_hochberg(p) <= alpha).sum())
        return Ends(every * max(claims, 1), every * max(claims, 1))
    steps = np.full(len(p), np.nan)
    steps[np.flatnonzero(tested)[np.argsort(p[tested], kind="stable")]] = alpha / (m - np.arange(m))
    claimed = holm(p) <= alpha  # False for NaN
    return Ends(np.where(claimed & (p > every), steps, every), every)


def _holm(p: np.ndarray) -> np.ndarray:
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return adjusted


def _adjusted(p: np.ndarray, correction: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    tested = ~np.isnan(p)
    if p.ndim != 1 or (p[tested] < 0).any() or (p[tested] > 1).any():
        raise UsageError(f"p-values must be a list of numbers in [0, 1] or NaN, got {p.tolist()}")
    adjusted = np.full(len(p), np.nan)
    if tested.any():
        adjusted[tested] = correction(p[tested])
    return adjusted

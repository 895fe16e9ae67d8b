"""Many tests at once: adjusted p. A NaN is no test: it does not count into the family and comes back as NaN."""

from __future__ import annotations

from collections.abc import Callable

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

"""Looking more than once: alpha is spent look by look, so that all looks together err as often as one test would.

Seeds are added while a pair is undecided, so the test is taken at several planned numbers of seeds n_1 < ... < n_K. By the
information fraction t = n_k / n_K an O'Brien-Fleming-type function says how much of alpha may be spent; the level of each look follows
from the joint distribution of the statistics, which are those of a Brownian motion at times t. Test samples are shared by all looks,
which makes the statistics of `crossed_test` correlate more than that, so that the levels err on the safe side.
Source: Lan and DeMets 1983 (Biometrika 70); levels by recursive integration: Armitage, McPherson and Rowe 1969 (JRSS A 132);
Jennison and Turnbull 2000 (Group Sequential Methods), chapters 7, 9 and 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from bench.errors import UsageError

GROWTH = 1.5  # seeds at a look over seeds at the one before
FARTHEST = 12.0  # |z| no statistic reaches: two-sided p of 4e-33
NODES, WEIGHTS = np.polynomial.legendre.leggauss(128)


def look_sizes(first: int, most: int) -> tuple[int, ...]:
    """Seeds at each planned look: each half as many again as before, the last `most`; a short last step joins the one before.

    >>> look_sizes(3, 30)
    (3, 5, 8, 12, 18, 30)

    Raises: UsageError unless 2 <= first <= most.
    """
    if not 2 <= first <= most:
        raise UsageError(f"looks start from 2 seeds or more and end at the largest number of seeds, got {first} and {most}")
    sizes = [first]
    while sizes[-1] < most:
        following = math.ceil(GROWTH * sizes[-1])
        sizes.append(most if most - following < following / 4 else following)
    return tuple(sizes)


def spent_alpha(fractions: Sequence[float], alpha: float = 0.05) -> np.ndarray:
    """Two-sided alpha spent up to each look, O'Brien-Fleming-type on either side: 4 - 4 Phi(z / sqrt(t)), z = Phi^-1(1 - alpha / 4).

    Next to nothing early, all of it at t = 1. Shapes: (K,) ascending in (0, 1] -> (K,). Raises: UsageError if they are not.
    Source: Lan and DeMets 1983.
    """
    t = np.asarray(fractions, dtype=float)
    if t.ndim != 1 or not len(t) or t[0] <= 0 or t[-1] > 1 or (np.diff(t) <= 0).any():
        raise UsageError(f"information fractions must rise within (0, 1], got {list(fractions)}")
    if not 0 < alpha < 1:
        raise UsageError(f"alpha must be in (0, 1), got {alpha}")
    return 4 * ndtr(ndtri(alpha / 4) / np.sqrt(t))


def look_levels(fractions: Sequence[float], alpha: float = 0.05) -> np.ndarray:
    """Two-sided p at or below which each look is significant, so that alpha is spent as `spent_alpha` says. Shapes: (K,) -> (K,).

    Source: Lan and DeMets 1983; the density of the statistic among runs that went on is carried from look to look on a grid.
    """
    t, spent = np.asarray(fractions, dtype=float), spent_alpha(fractions, alpha)
    limit = min(-float(ndtri(spent[0] / 2)), FARTHEST) * math.sqrt(t[0])  # of the Brownian motion at its time t
    levels = [2 * ndtr(-limit / math.sqrt(t[0]))]
    nodes = limit * NODES
    density = limit * WEIGHTS * _normal(nodes / math.sqrt(t[0])) / math.sqrt(t[0])  # weighted, of runs that go on
    for step, increment, time in zip(np.diff(t), np.diff(spent), t[1:], strict=True):
        walk = (density, nodes, step)
        missing = partial(_excess, walk, time, increment)
        z = FARTHEST if missing(FARTHEST) >= 0 else brentq(missing, 0.0, FARTHEST, xtol=1e-12)
        levels.append(2 * ndtr(-z))
        limit = z * math.sqrt(time)
        following = limit * NODES
        density = limit * WEIGHTS * (_normal((following[:, None] - nodes) / math.sqrt(step)) @ density) / math.sqrt(step)
        nodes = following
    return np.array(levels)


def _excess(walk: tuple[np.ndarray, np.ndarray, float], time: float, increment: float, z: float) -> float:
    """What a limit of |z| at `time` would spend, less what it may; `walk`: weighted density at nodes, and the time since then."""
    density, nodes, step = walk
    edge, root = z * math.sqrt(time), math.sqrt(step)
    return float(density @ (ndtr((nodes - edge) / root) + ndtr((-edge - nodes) / root))) - increment


def sequential_p(fractions: Sequence[float], p: Sequence[float]) -> float:
    """The smallest alpha at which some look so far would have been significant: a p that allows for every planned look.

    It never rises from look to look, and may be adjusted over settings like any other p (Holm): whenever one stops, it is at most
    alpha with a chance of at most alpha where there is nothing to find. A NaN is no look.
    Shapes: fractions (K,) of all planned looks, p (J,) two-sided of the looks taken, J <= K. NaN if none was taken.
    Source: Liu and Anderson 2008 (Statistica Sinica 18), sequential p-values; over several tests: Maurer and Bretz 2013.
    """
    if len(p) > len(fractions):
        raise UsageError(f"there are {len(fractions)} planned looks, got p of {len(p)}")
    if len(fractions) == 1:
        return float(p[0]) if len(p) else math.nan
    table = _level_table(tuple(fractions))
    found = [2 * ndtr(-curve(-ndtri(max(value, 1e-300) / 2))) for value, curve in zip(p, table, strict=False) if not math.isnan(value)]
    return float(min(found, default=math.nan))


@lru_cache
def _level_table(fractions: tuple[float, ...]) -> list[Callable[[float], float]]:
    """For each look, z of its level -> z of the alpha that gives it: nearly straight lines, so that 48 points hold 5 digits."""
    z = np.linspace(0.02, 8.0, 48)
    levels = np.stack([look_levels(fractions, 2 * float(ndtr(-value))) for value in z])
    return [_curve(-ndtri(of_look / 2), z) for of_look in levels.T]


def _curve(levels: np.ndarray, alphas: np.ndarray) -> Callable[[float], float]:
    """Monotone interpolation, flat beyond what was computed: an alpha is never understated."""
    rising = np.flatnonzero(np.diff(np.maximum.accumulate(levels), prepend=-1.0) > 1e-9)
    rising = rising[levels[rising] < FARTHEST - 0.01]
    x, y = levels[rising], alphas[rising]
    line = PchipInterpolator(x, y)
    return lambda z: 0.0 if z < x[0] else float(line(min(z, x[-1])))


def _normal(z: np.ndarray) -> np.ndarray:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

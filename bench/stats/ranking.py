"""Who stands where: ranks, ranks that failures cannot better, rank sets and letters from significant pairs, the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from bench.errors import UsageError
from bench.stats.metrics import METRICS


def ranks(scores: Mapping[str, float], metric: str) -> dict[str, float]:
    """Rank 1 for the best; equal scores (to 10 decimals) share the mean of their ranks; NaN ranks last."""
    return dict(zip(scores, rank_matrix(METRICS[metric].sign * np.array([list(scores.values())]))[0].tolist(), strict=True))


def rank_matrix(scores: np.ndarray) -> np.ndarray:
    """Ranks within each setting: 1 for the highest score, ties (to 10 decimals) share the mean, NaN (failed) shares the last ranks.

    Shapes: (N, K) settings x methods -> (N, K).
    """
    return rankdata(np.where(np.isnan(scores), np.inf, -np.round(scores, 10)), axis=1)


def fill_failures(scores: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Scores with the failed (NaN) set to the lower of the floor and the worst valid score of the setting: failing never beats running.

    Shapes: scores (N, K), higher is better; floor (N,), the constant predictor's score, NaN where it is not known -> (N, K).
    Raises: UsageError if a setting has neither a valid score nor a floor.
    """
    lowest = np.fmin.reduce(np.column_stack([scores, floor]), axis=1)
    if np.isnan(lowest).any():
        raise UsageError(f"settings {np.flatnonzero(np.isnan(lowest)).tolist()} have neither a valid score nor a floor; leave them out")
    return np.where(np.isnan(scores), lowest[:, None], scores)


class Standing(NamedTuple):
    """What a table of significant pairs lets one say of each method."""

    low: np.ndarray  # (K,) best rank it may have: 1 + number of methods significantly better
    high: np.ndarray  # (K,) worst rank: K - number significantly worse
    letters: tuple[str, ...]  # methods that share a letter are not distinguishable
    best: np.ndarray  # (K,) bool: significantly better than every other, the one cell that may be bold
    top: np.ndarray  # (K,) bool: no method is significantly better


def standing(better: np.ndarray, order: np.ndarray) -> Standing:
    """Rank sets, letters and the top group.

    With pairs adjusted by Holm the rank sets hold for all methods at once. Letters a, b, ... are the maximal groups without a
    significant pair, by their best member. Shapes: better (K, K) bool, [i, j] = i is significantly better than j; order (K,) such as
    mean ranks, lower is better.
    Raises: UsageError if a pair is better both ways or a method better than itself.
    Source: rank sets: Al Mohamad, Goeman and van Zwet 2022; letters: Piepho 2004.
    """
    better = np.asarray(better, dtype=bool)
    if better.ndim != 2 or better.shape != (len(order), len(order)) or (better & better.T).any():
        raise UsageError(f"better must be (K, K) with no pair better both ways, got shape {better.shape} for {len(order)} methods")
    k = len(better)
    groups = _maximal_groups(~(better | better.T))
    place = rankdata(order, method="ordinal")
    groups.sort(key=lambda group: sorted(place[list(group)]))
    letters = tuple("".join(_letter(number) for number, group in enumerate(groups) if method in group) for method in range(k))
    return Standing(1 + better.sum(0), k - better.sum(1), letters, better.sum(1) == k - 1, better.sum(0) == 0)


def _maximal_groups(alike: np.ndarray) -> list[frozenset[int]]:
    """Maximal cliques. Shapes: alike (K, K) bool, symmetric. Source: Bron and Kerbosch 1973, with a pivot."""
    neighbours = [frozenset(np.flatnonzero(row).tolist()) - {method} for method, row in enumerate(alike)]
    found: list[frozenset[int]] = []

    def grow(group: frozenset[int], open_: frozenset[int], closed: frozenset[int]) -> None:
        if not open_ and not closed:
            found.append(group)
            return
        pivot = max(open_ | closed, key=lambda method: len(open_ & neighbours[method]))
        for method in sorted(open_ - neighbours[pivot]):
            grow(group | {method}, open_ & neighbours[method], closed & neighbours[method])
            open_, closed = open_ - {method}, closed | {method}

    grow(frozenset(), frozenset(range(len(alike))), frozenset())
    return found


def _letter(number: int) -> str:
    """a to z, then A to Z, then numbers in brackets: a method's letters stand beside each other without a space."""
    return chr(ord("a") + number) if number < 26 else chr(ord("A") + number - 26) if number < 52 else f"({number + 1})"


def pareto_front(score: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Which points no other one beats: scores at least as high at a cost at most as high, one of the two strictly.

    A point whose score or cost is NaN (failed, not counted) is never on the front. Shapes: (K,), (K,) -> (K,) bool.
    """
    score, cost = np.asarray(score, dtype=float), np.asarray(cost, dtype=float)
    valid = np.isfinite(score) & np.isfinite(cost)
    at_least = (score[:, None] >= score) & (cost[:, None] <= cost)  # [i, j]: i is no worse than j; False with NaN
    strictly = at_least & ((score[:, None] > score) | (cost[:, None] < cost))
    return valid & ~strictly.any(0)

"""Scores of one yes or no against a number, which metrics of classes and of labels average."""

from __future__ import annotations

import numpy as np


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 on, of equal values their mean; all NaN where one is. As scipy's rankdata, which takes several times as long on one row.

    Shapes: (N,) -> (N,).

    >>> midranks(np.array([0.3, 0.1, 0.3]))
    array([2.5, 1. , 2.5])
    """
    order = values.argsort()
    ordered = values[order]
    if np.isnan(ordered[-1:]).any():  # NaN is sorted to the end
        return np.full(len(values), np.nan)
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(values)])  # of each group of equal values
    last = np.append(first[1:], len(values))[: len(first)]
    ranks = np.empty(len(values))
    ranks[order] = ((first + last + 1) / 2).repeat(last - first)
    return ranks


def auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half, from midranks. Shapes: (N,) bool, (N,)."""
    n1 = positive.sum()
    return float((midranks(score)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(score) - n1)))


def average_precision(positive: np.ndarray, score: np.ndarray) -> float:
    """Sum over distinct thresholds of precision x gain in recall. Shapes: (N,) bool, (N,)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of each group of equal scores
    found = np.cumsum(positive[order])[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / positive.sum())

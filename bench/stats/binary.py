"""Scores of one yes or no against a number, which metrics of classes and of labels average."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counting half, from midranks. Shapes: (N,) bool, (N,)."""
    n1 = positive.sum()
    return float((rankdata(score)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * (len(score) - n1)))


def average_precision(positive: np.ndarray, score: np.ndarray) -> float:
    """Sum over distinct thresholds of precision x gain in recall. Shapes: (N,) bool, (N,)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of each group of equal scores
    found = np.cumsum(positive[order])[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / positive.sum())

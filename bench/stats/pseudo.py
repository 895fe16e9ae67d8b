"""Jackknife pseudo-values: what each test sample contributes to a score, so that tests of means work for any metric.

Source: Tukey 1958; as samples of a crossed design, Dorfman, Berbaum and Metz 1992 (Investigative Radiology 27).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.stats import rankdata

from bench.errors import UsageError
from bench.stats.metrics import ECE_BINS, METRICS

LeaveOneOut = Callable[[np.ndarray, np.ndarray], np.ndarray]


def pseudo_values(metric: str, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Per-sample values whose mean is (for accuracy, brier and auroc exactly, else nearly) the metric.

    x_i = n * theta - (n - 1) * theta(without i). All NaN where auroc or auprc is not defined without some sample, that is with fewer
    than two samples of a class. Every metric has a closed form: O(n log n), no metric is computed n times.
    Shapes: target (N,) int, scores (N, C) -> (N,).
    Raises: UsageError if a score is not finite.
    """
    n = len(target)
    if not np.isfinite(scores).all():
        raise UsageError(f"class scores must be finite, got {(~np.isfinite(scores)).any(1).sum()} of {n} rows with NaN or infinity")
    if metric in PER_SAMPLE:
        return PER_SAMPLE[metric](target, scores)
    return n * METRICS[metric].of(target, scores) - (n - 1) * LEAVE_ONE_OUT[metric](target, scores)


def _right(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (scores.argmax(1) == target).astype(float)


def _squared_error(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    classes = scores.shape[1]
    return ((scores - np.eye(classes)[target]) ** 2).sum(1) / (2 if classes == 2 else 1)


def _balanced_accuracy_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that are left."""
    right = (scores.argmax(1) == target).astype(float)
    present, own, size = np.unique(target, return_inverse=True, return_counts=True)
    recall = np.bincount(own, right) / size
    left = size[own] - 1
    of_own = np.divide(np.bincount(own, right)[own] - right, left, out=np.zeros(len(target)), where=left > 0)
    return (recall.sum() - recall[own] + of_own) / (len(present) - (left == 0))


def _f1_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Macro F1 from class counts: F1_c = 2 TP_c / (true_c + predicted_c), 0 for an empty class."""
    classes = scores.shape[1]
    predicted = scores.argmax(1)
    true, guess = np.eye(classes)[target], np.eye(classes)[predicted]  # (N, C)
    hits = true * guess
    numerator = 2 * (hits.sum(0) - hits)
    denominator = (true + guess).sum(0) - true - guess
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0).mean(1)


def _one_vs_rest_without(binary: LeaveOneOut, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean over classes (class 1 alone of two), NaN where a class has fewer than two samples."""
    classes = scores.shape[1]
    if np.bincount(target, minlength=classes).min() < 2:
        return np.full(len(target), np.nan)
    return np.mean([binary(target == c, scores[:, c]) for c in ([1] if classes == 2 else range(classes))], axis=0)


def _auroc_without(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """AUROC of one class from midranks. Shapes: (N,) bool, (N,) -> (N,)."""
    n1, n0 = positive.sum(), (~positive).sum()
    ranks = rankdata(score)
    wins = np.empty(len(score))  # of a positive: negatives below it; of a negative: positives above it; ties count half
    wins[positive] = ranks[positive] - rankdata(score[positive])
    wins[~positive] = n1 - (ranks[~positive] - rankdata(score[~positive]))
    total = wins[positive].sum()
    return np.where(positive, (total - wins) / ((n1 - 1) * n0), (total - wins) / (n1 * (n0 - 1)))


def _auprc_without(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Average precision of one class, the mean over positives of found / above.

    `above` counts samples and `found` positives that score at least as high. Without a sample the positives scored above it keep their
    term, the others lose 1 from `above`, and from `found` if the sample was positive: sums over the sorted scores give all of it.
    Shapes: (N,) bool, (N,) -> (N,).
    """
    order = np.argsort(-score, kind="stable")
    positive = positive[order]
    starts = np.flatnonzero(np.diff(score[order], prepend=np.nan) != 0)  # of each group of equal scores
    size = np.diff(starts, append=len(score))
    first = np.repeat(starts, size)
    above = np.repeat(starts + size, size)
    found = np.cumsum(positive)[above - 1]

    def from_here(term: np.ndarray) -> np.ndarray:
        """Sum of `term` over positives that score at most as high."""
        return np.cumsum((positive * term)[::-1])[::-1][first]

    precision = found / above
    kept = (positive * precision).sum() - from_here(precision)
    left = np.maximum(above - 1, 1)  # where 0 stands, the term belongs to the sample that is gone
    without_negative = (kept + from_here(found / left)) / positive.sum()
    without_positive = (kept + from_here((found - 1) / left) - (found - 1) / left) / max(positive.sum() - 1, 1)
    result = np.empty(len(score))
    result[order] = np.where(positive, without_positive, without_negative)
    return result


def _calibration_error_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Expected calibration error from the gap of each bin."""
    confidence, right = scores.max(1), scores.argmax(1) == target
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    own = right - confidence
    gap = np.bincount(bins, own, ECE_BINS)
    return (np.abs(gap).sum() - np.abs(gap[bins]) + np.abs(gap[bins] - own)) / (len(target) - 1)


PER_SAMPLE: Mapping[str, LeaveOneOut] = {"accuracy": _right, "brier": _squared_error}  # metrics that are means over samples
LEAVE_ONE_OUT: Mapping[str, LeaveOneOut] = {  # the metric without each sample, of all others
    "balanced_accuracy": _balanced_accuracy_without,
    "f1_macro": _f1_without,
    "auroc": partial(_one_vs_rest_without, _auroc_without),
    "auprc": partial(_one_vs_rest_without, _auprc_without),
    "ece": _calibration_error_without,
}

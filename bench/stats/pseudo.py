"""Jackknife pseudo-values: what each test sample contributes to a score, so that tests of means work for any metric.

Source: Tukey 1958; as samples of a crossed design, Dorfman, Berbaum and Metz 1992 (Investigative Radiology 27).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from bench.errors import UsageError
from bench.stats import of_labels, of_values
from bench.stats.binary import average_precision
from bench.stats.metrics import ECE_BINS, METRICS

LeaveOneOut = Callable[[np.ndarray, np.ndarray], np.ndarray]


def pseudo_values(metric: str, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Per-sample values whose mean is (for accuracy, brier, auroc, mae and rmse exactly, else nearly) the metric.

    x_i = n * theta - (n - 1) * theta(without i); of rmse the delta method's theta + (e_i^2 - theta^2) / (2 theta). All NaN where the metric
    is not defined without some sample, such as auroc with fewer than two samples of a class, or of one side of a label. A sample takes
    all its labels with it. Every metric has a closed form: O(n log n), no metric is computed n times.
    Shapes: target and scores as `metrics.score` has them -> (N,).
    Raises: UsageError if a score is not finite.
    """
    n = len(target)
    if not np.isfinite(scores).all():
        raise UsageError(f"scores must be finite, got {(~np.isfinite(scores)).any(1).sum()} of {n} rows with NaN or infinity")
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


# ---- labels: a sample is a row with all its cells


def _macro_auroc_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean over labels of `_auroc_without`, of all labels at once; a row that does not know a label leaves its score as it is."""
    yes, no = target == 1, target == 0
    n1, n0 = yes.sum(0), no.sum(0)
    if min(n1.min(), n0.min()) < 2:
        return np.full(len(target), np.nan)
    everywhere, of_yes, of_no = (pd.DataFrame(np.where(among, scores, np.nan)).rank().to_numpy() for among in (yes | no, yes, no))
    wins = np.where(yes, everywhere - of_yes, n1 - (everywhere - of_no))  # as `_auroc_without` has them; NaN where not known
    total = np.where(yes, wins, 0.0).sum(0)
    pairs = np.where(yes, (n1 - 1) * n0, n1 * (n0 - 1))
    return np.where(yes | no, (total - wins) / pairs, total / (n1 * n0)).mean(1)


def _macro_auprc_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mean over labels of `_auprc_without`; a row that does not know a label leaves its score as it is."""
    if min(np.min((target == answer).sum(0)) for answer in (0, 1)) < 2:
        return np.full(len(target), np.nan)
    found = np.empty(target.shape)
    for k, (own, score) in enumerate(zip(target.T, scores.T, strict=True)):
        known = own >= 0
        found[:, k] = average_precision(own[known] == 1, score[known])
        found[known, k] = _auprc_without(own[known] == 1, score[known])
    return found.mean(1)


def _micro_auroc_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC over all known cells without those of each row: its wins are taken out, and what was taken out twice is put back."""
    known = target >= 0
    positive, n1, n0 = target[known] == 1, (target == 1).sum(1), (target == 0).sum(1)
    left = (n1.sum() - n1) * (n0.sum() - n0)
    if not left.all():
        return np.full(len(target), np.nan)
    score, ranks = scores[known], rankdata(scores[known])
    wins = np.zeros(target.shape)
    of_cells = np.empty(len(score))
    of_cells[positive] = ranks[positive] - rankdata(score[positive])
    of_cells[~positive] = positive.sum() - (ranks[~positive] - rankdata(score[~positive]))
    wins[known] = of_cells
    total = of_cells[positive].sum()
    ahead = np.sign(scores[:, :, None] - scores[:, None, :]) / 2 + 0.5  # (N, L, L)
    inside = np.einsum("nk,nkl,nl->n", (target == 1).astype(float), ahead, (target == 0).astype(float))
    return (total - wins.sum(1) + inside) / left


def _micro_auprc_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision over all known cells without those of each row.

    Without the row, a positive cell of another row with b cells of the row scored at least as high, a of these positive, has the term
    (found - a) / (above - b). Between two cells of the row a and b do not change: sums over the sorted cells, kept for every b, give
    the terms of each stretch.
    """
    known, labels = target >= 0, target.shape[1]
    left = (target == 1).sum() - (target == 1).sum(1)
    if not left.all() or not ((target == 0).sum() - (target == 0).sum(1)).all():
        return np.full(len(target), np.nan)
    score, positive, row = scores[known], target[known] == 1, np.nonzero(known)[0]
    order = np.argsort(-score, kind="stable")
    score, positive, row = score[order], positive[order], row[order]
    last = np.searchsorted(-score, -score, "right")  # cells scored at least as high
    found = np.cumsum(positive)[last - 1]
    below = np.maximum(last[None] - np.arange(labels + 1)[:, None], 1)  # (L + 1, cells)
    zeros = np.zeros((labels + 1, 1))
    with_found = np.hstack([zeros, np.cumsum(positive * found / below, axis=1)])
    alone = np.hstack([zeros, np.cumsum(positive / below, axis=1)])
    # each row's cells in descending order, padded with ones below all others
    place = np.full(target.shape, len(score), dtype=np.int64)
    own_positive = np.zeros(target.shape, dtype=np.int64)
    nth = np.empty(len(score), dtype=np.int64)  # of a cell within its row
    by_row = np.argsort(row, kind="stable")
    counts = known.sum(1)
    nth[by_row] = np.arange(len(score)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.searchsorted(-score, -score, "left")  # a stretch starts where equal scores do
    place[row, nth], own_positive[row, nth] = first, positive
    a = np.hstack([np.zeros((len(target), 1), dtype=np.int64), np.cumsum(own_positive, axis=1)])  # (N, L + 1) after b cells
    ends = np.hstack([place, np.full((len(target), 1), len(score))])
    starts = np.hstack([np.zeros((len(target), 1), dtype=np.int64), place])
    b = np.broadcast_to(np.arange(labels + 1), a.shape)
    terms = (with_found[b, ends] - with_found[b, starts]) - a * (alone[b, ends] - alone[b, starts])
    # the row's own positive cells stand in those sums too, each in the last stretch that starts at its score
    b_own = np.zeros(target.shape, dtype=np.int64)
    for other in range(labels):
        b_own += (place[:, [other]] <= place) & (place[:, [other]] < len(score))
    a_own = np.take_along_axis(a, b_own, axis=1)
    at = np.minimum(place, len(score) - 1)
    own = own_positive * (found[at] - a_own) / below[b_own, at]
    return (terms.sum(1) - own.sum(1)) / left


def _label_f1_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    hits, total = of_labels.f1_counts(target, scores)
    return _ratio_or_0(2 * (hits.sum(0) - hits), total.sum(0) - total).mean(1)


def _label_f1_micro_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    hits, total = (counts.sum(1) for counts in of_labels.f1_counts(target, scores))
    return _ratio_or_0(2 * (hits.sum() - hits), total.sum() - total)


def _label_brier_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    errors, known = of_labels.squared_errors(target, scores), target >= 0
    left = known.sum(0) - known
    means = np.divide(errors.sum(0) - errors, left, out=np.full(errors.shape, np.nan), where=left > 0).mean(1)
    return np.where(np.isnan(means).any(), np.nan, means)


def _ratio_or_0(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(a.shape), where=b > 0)


# ---- values


def _absolute_error(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.abs(scores[:, 0] - target)


def _root_squared_error(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The delta method: the root is as steep as 1 / (2 theta) there."""
    squares, theta = (scores[:, 0] - target) ** 2, of_values.rmse(target, scores)
    return theta + (squares - theta**2) / (2 * theta) if theta > 0 else np.zeros(len(target))


def _of_moments_without(of: Callable[[of_values.Moments], np.ndarray], target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    found = of(of_values.moments_without(target, scores)) if len(target) > 2 else np.full(len(target), np.nan)
    return np.where(np.isnan(found).any(), np.nan, found)


PER_SAMPLE: Mapping[str, LeaveOneOut] = {  # metrics that are means over samples, or as good as that
    "accuracy": _right,
    "brier": _squared_error,
    "mae": _absolute_error,
    "rmse": _root_squared_error,
}
LEAVE_ONE_OUT: Mapping[str, LeaveOneOut] = {  # the metric without each sample, of all others
    "balanced_accuracy": _balanced_accuracy_without,
    "f1_macro": _f1_without,
    "auroc": partial(_one_vs_rest_without, _auroc_without),
    "auprc": partial(_one_vs_rest_without, _auprc_without),
    "ece": _calibration_error_without,
    "label_auroc": _macro_auroc_without,
    "label_auroc_micro": _micro_auroc_without,
    "label_auprc": _macro_auprc_without,
    "label_auprc_micro": _micro_auprc_without,
    "label_f1": _label_f1_without,
    "label_f1_micro": _label_f1_micro_without,
    "label_brier": _label_brier_without,
    "r2": partial(_of_moments_without, of_values.r2_of),
    "pearson": partial(_of_moments_without, of_values.pearson_of),
    "concordance": partial(_of_moments_without, of_values.concordance_of),
}

"""Intervals by resampling test samples, and seeds: sample counts as weights, scores as products of matrices, no sample is gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from bench.errors import UsageError, unknown
from bench.stats.metrics import ECE_BINS
from bench.stats.of_labels import f1_counts, squared_errors
from bench.stats.of_values import Moments, concordance_of, pearson_of, r2_of

REPLICATES = 10_000
Resampler = Callable[[np.ndarray], np.ndarray]  # counts (N, B) -> scores (S, B)
BinaryResampler = Callable[[np.ndarray, np.ndarray], np.ndarray]  # counts of positives (n1, B), of negatives (n0, B) -> (B,)
BLOCK = 250  # replicates at once: sample counts of 1,500 samples stay in the cache
LEAST_SEEDS = 5  # below, a bootstrap over seeds is too narrow: at 3 seeds a nominal 5 % test errs in 8 to 9 %
STRATIFIED = ("balanced_accuracy", "f1_macro", "auroc", "auprc")  # resampled within each class


class Interval(NamedTuple):
    """A bootstrap interval; NaN with a reason where the data cannot answer, `degenerate` where all replicates are equal."""

    low: float
    high: float
    degenerate: bool = False
    reason: str = ""


def sample_counts(target: np.ndarray, replicates: int, rng: np.random.Generator, stratified: bool = False) -> np.ndarray:
    """How often each replicate draws each sample: multinomial, within each class if `stratified`. Shapes: (N,) -> (N, B) float32.

    Counts are whole numbers, so that sums of indicators are exact in float32.
    """
    strata = [np.flatnonzero(target == c) for c in np.unique(target)] if stratified else [np.arange(len(target))]
    counts = np.empty((len(target), replicates), dtype=np.float32)
    column = np.arange(replicates)
    for rows in strata:
        drawn = rng.integers(len(rows), size=(len(rows), replicates), dtype=np.int32)
        counts[rows] = np.bincount((drawn * replicates + column).ravel(), minlength=counts[rows].size).reshape(len(rows), replicates)
    return counts


def weighted_scores(metric: str, target: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The metric of each seed in each replicate, sample i counted counts[i] times.

    Shapes: target (N,), scores (S, N, C), counts (N, B) -> (S, B). Of other targets as `metrics.score` has them. auroc
    and auprc are NaN where a replicate lacks a class, or a side of a label.
    """
    return _resampler(metric, target, scores)(counts)


def _resampler(metric: str, target: np.ndarray, scores: np.ndarray) -> Resampler:
    """What does not depend on the counts, worked out once: (N, B) counts -> (S, B) scores."""
    if metric not in RESAMPLERS:
        raise unknown("metric", metric, RESAMPLERS)
    return RESAMPLERS[metric](target, scores)


def _products(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums over drawn samples. Shapes: values (..., N), counts (N, B) -> (..., B); whole numbers stay exact in float32."""
    return (values.reshape(-1, values.shape[-1]) @ counts).reshape(*values.shape[:-1], counts.shape[1])


def _accuracy(target: np.ndarray, scores: np.ndarray) -> Resampler:
    right = (scores.argmax(2) == target).astype(np.float32)
    return lambda counts: _products(right, counts) / np.float64(len(target))


def _balanced_accuracy(target: np.ndarray, scores: np.ndarray) -> Resampler:
    truth = _indicators(target, scores.shape[2])
    right = (scores.argmax(2) == target)[:, None] * truth  # (S, C, N)

    def of_replicates(counts: np.ndarray) -> np.ndarray:
        size = _products(truth, counts)  # (C, B)
        recall = np.divide(_products(right, counts), size, out=np.zeros((len(scores), *size.shape)), where=size > 0)
        return recall.sum(1) / (size > 0).sum(0)

    return of_replicates


def _f1_macro(target: np.ndarray, scores: np.ndarray) -> Resampler:
    return _f1_of(target, scores.argmax(2), scores.shape[2])


def weighted_f1_macro(target: np.ndarray, predicted: np.ndarray, classes: int, counts: np.ndarray) -> np.ndarray:
    """Macro F1 of each seed in each replicate; a class with neither truth nor prediction counts 0.

    Shapes: target (N,), predicted (S, N), counts (N, B) -> (S, B).
    """
    return _f1_of(target, predicted, classes)(counts)


def _f1_of(target: np.ndarray, predicted: np.ndarray, classes: int) -> Resampler:
    truth, guess = _indicators(target, classes), _indicators(predicted, classes)  # (C, N), (S, C, N)
    twice_right, total = 2 * truth * guess, truth + guess

    def of_replicates(counts: np.ndarray) -> np.ndarray:
        below = _products(total, counts)  # (S, C, B)
        return np.divide(_products(twice_right, counts), below, out=np.zeros(below.shape), where=below > 0).mean(1)

    return of_replicates


def _indicators(labels: np.ndarray, classes: int) -> np.ndarray:
    """Shapes: (..., N) int -> (..., C, N) float32."""
    return (labels[..., None, :] == np.arange(classes)[:, None]).astype(np.float32)


def _brier(target: np.ndarray, scores: np.ndarray) -> Resampler:
    classes = scores.shape[2]
    values = ((scores - np.eye(classes)[target]) ** 2).sum(2) / (2 if classes == 2 else 1)
    return lambda counts: _products(values, counts) / len(target)


def _calibration_error(target: np.ndarray, scores: np.ndarray) -> Resampler:
    confidence = scores.max(2).astype(float)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    own = (scores.argmax(2) == target) - confidence
    gaps = _indicators(bins, ECE_BINS) * own[:, None]  # (S, bins, N)
    return lambda counts: np.abs(_products(gaps, counts)).sum(1) / len(target)


def _one_vs_rest(binary: Callable[[np.ndarray, np.ndarray], BinaryResampler], target: np.ndarray, scores: np.ndarray) -> Resampler:
    """Mean over classes (class 1 alone of two) of a metric of positive and negative scores."""
    classes = [1] if scores.shape[2] == 2 else range(scores.shape[2])
    parts = [(target == c, [binary(seed[target == c, c], seed[target != c, c]) for seed in scores]) for c in classes]

    def of_replicates(counts: np.ndarray) -> np.ndarray:
        of_classes = []
        for positive, seeds in parts:
            of_positives, of_negatives = counts[positive], counts[~positive]
            of_classes.append([seed(of_positives, of_negatives) for seed in seeds])
        return np.mean(of_classes, axis=0)

    return of_replicates


class _Ranked:
    """Scores in descending order, to count drawn ones above given levels. Shapes: score (N,), levels (L,)."""

    def __init__(self, score: np.ndarray, levels: np.ndarray) -> None:
        ascending = np.argsort(score)
        self.order = ascending[::-1]
        self.above, self.at_least = (len(score) - np.searchsorted(score[ascending], levels, side) for side in ("right", "left"))

    def drawn(self, counts: np.ndarray) -> np.ndarray:
        """Drawn among the 0, 1, ... highest scores: row `above` of it scores above a level. Shapes: (N, B) -> (N + 1, B)."""
        drawn = np.zeros((len(counts) + 1, counts.shape[1]), counts.dtype)
        np.cumsum(counts[self.order], axis=0, out=drawn[1:])
        return drawn


def _auroc(positives: np.ndarray, negatives: np.ndarray) -> BinaryResampler:
    ranked = _Ranked(positives, negatives)
    tied = ranked.at_least > ranked.above

    def of_replicates(of_positives: np.ndarray, of_negatives: np.ndarray) -> np.ndarray:
        drawn = ranked.drawn(of_positives)
        wins = drawn[ranked.above]  # (n0, B)
        wins[tied] = (wins[tied] + drawn[ranked.at_least[tied]]) / 2
        return _ratio(np.einsum("nb,nb->b", of_negatives, wins), drawn[-1].astype(float) * of_negatives.sum(0))

    return of_replicates


def _auprc(positives: np.ndarray, negatives: np.ndarray) -> BinaryResampler:
    right, wrong = _Ranked(positives, positives), _Ranked(negatives, positives)

    def of_replicates(of_positives: np.ndarray, of_negatives: np.ndarray) -> np.ndarray:
        drawn = right.drawn(of_positives)
        found = drawn[right.at_least]  # (n1, B)
        precision = found / np.maximum(found + wrong.drawn(of_negatives)[wrong.at_least], 1)
        return _ratio(np.einsum("nb,nb->b", of_positives, precision), drawn[-1])

    return of_replicates


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0, dtype=float)


# ---- labels: a drawn row brings all its known cells


def _labels(binary: Callable[[np.ndarray, np.ndarray], BinaryResampler], target: np.ndarray, scores: np.ndarray) -> Resampler:
    """Mean over labels of a metric of positive and negative scores."""
    parts = [(own == 1, own == 0, [binary(seed[own == 1, k], seed[own == 0, k]) for seed in scores]) for k, own in enumerate(target.T)]
    return lambda counts: np.mean([[seed(counts[yes], counts[no]) for seed in seeds] for yes, no, seeds in parts], axis=0)


def _micro(binary: Callable[[np.ndarray, np.ndarray], BinaryResampler], target: np.ndarray, scores: np.ndarray) -> Resampler:
    """A metric of positive and negative scores over all known cells."""
    yes, no = np.nonzero(target == 1), np.nonzero(target == 0)
    seeds = [binary(seed[yes], seed[no]) for seed in scores]
    return lambda counts: np.array([seed(counts[yes[0]], counts[no[0]]) for seed in seeds])


def _label_f1(micro: bool, target: np.ndarray, scores: np.ndarray) -> Resampler:
    hits, total = (
        np.stack(each).transpose(0, 2, 1).astype(np.float32) for each in zip(*(f1_counts(target, s) for s in scores), strict=True)
    )
    if micro:
        hits, total = hits.sum(1, keepdims=True), total.sum(1, keepdims=True)  # (S, 1, N)

    def of_replicates(counts: np.ndarray) -> np.ndarray:
        below = _products(total, counts)
        return np.divide(2 * _products(hits, counts), below, out=np.zeros(below.shape), where=below > 0).mean(1)

    return of_replicates


def _label_brier(target: np.ndarray, scores: np.ndarray) -> Resampler:
    errors = np.stack([squared_errors(target, seed).T for seed in scores])  # (S, L, N)
    known = (target >= 0).T.astype(np.float32)

    def of_replicates(counts: np.ndarray) -> np.ndarray:
        size = _products(known, counts)
        return np.divide(_products(errors, counts), size, out=np.full((len(errors), *size.shape), np.nan), where=size > 0).mean(1)

    return of_replicates


# ---- values


def _absolute_error(target: np.ndarray, scores: np.ndarray) -> Resampler:
    errors = np.abs(scores[:, :, 0] - target)
    return lambda counts: _products(errors, counts) / len(target)


def _root_squared_error(target: np.ndarray, scores: np.ndarray) -> Resampler:
    errors = (scores[:, :, 0] - target) ** 2
    return lambda counts: np.sqrt(_products(errors, counts) / len(target))


def _of_moments(of: Callable[[Moments], np.ndarray], target: np.ndarray, scores: np.ndarray) -> Resampler:
    """Of means over drawn rows; numbers are centred first, so that differences of large sums stay exact."""
    n = len(target)
    x, y = scores[:, :, 0] - scores[:, :, 0].mean(1, keepdims=True), target - target.mean()
    bias = scores[:, :, 0] - target

    def of_replicates(counts: np.ndarray) -> np.ndarray:
        counts = counts.astype(np.float64)
        mean_x, mean_y = _products(x, counts) / n, _products(y, counts) / n
        return of(Moments(
            np.asarray(n), _products(bias, counts) / n, _products(bias**2, counts) / n,
            np.broadcast_to(_products(y * y, counts) / n - mean_y**2, mean_x.shape), _products(x * x, counts) / n - mean_x**2,
            _products(x * y, counts) / n - mean_x * mean_y,
        ))  # fmt: skip

    return of_replicates


RESAMPLERS: Mapping[str, Callable[[np.ndarray, np.ndarray], Resampler]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1_macro": _f1_macro,
    "auroc": partial(_one_vs_rest, _auroc),
    "auprc": partial(_one_vs_rest, _auprc),
    "brier": _brier,
    "ece": _calibration_error,
    "label_auroc": partial(_labels, _auroc),
    "label_auroc_micro": partial(_micro, _auroc),
    "label_auprc": partial(_labels, _auprc),
    "label_auprc_micro": partial(_micro, _auprc),
    "label_f1": partial(_label_f1, False),
    "label_f1_micro": partial(_label_f1, True),
    "label_brier": _label_brier,
    "mae": _absolute_error,
    "rmse": _root_squared_error,
    "r2": partial(_of_moments, r2_of),
    "pearson": partial(_of_moments, pearson_of),
    "concordance": partial(_of_moments, concordance_of),
}


def bootstrap(
    metric: str,
    target: np.ndarray,
    scores: Sequence[np.ndarray],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
    seeds: bool = True,
) -> np.ndarray:
    """Replicates of each method's mean score over seeds: two-level, or over samples alone with `seeds=False`.

    Each replicate draws, for each method, its seeds with replacement, and one set of test samples that all methods and seeds share, so
    that differences stay paired. Samples are drawn within each class for the metrics in STRATIFIED.
    Shapes: target (N,), scores of each method (S_m, N, C) -> (B, M).
    Raises: UsageError if a method's scores do not fit the target or are not finite.
    Source: two-level resampling: Davison and Hinkley 1997, section 3.8.
    """
    for number, found in enumerate(scores):
        if found.ndim != 3 or not len(found) or found.shape[1] != len(target) or not np.isfinite(found).all():
            raise UsageError(f"scores of method {number} must be finite, seeds x {len(target)} samples x classes, got shape {found.shape}")
    resamplers = [_resampler(metric, target, found) for found in scores]
    result = np.empty((replicates, len(scores)))
    for block in _blocks(replicates):
        counts = sample_counts(target, block.stop - block.start, rng, metric in STRATIFIED)
        for method, (found, resampler) in enumerate(zip(scores, resamplers, strict=True)):
            of_seeds = resampler(counts)  # (S, B)
            if seeds:
                drawn = sample_counts(np.zeros(len(found)), of_seeds.shape[1], rng)
                result[block, method] = (of_seeds * drawn).mean(0)
            else:
                result[block, method] = of_seeds.mean(0)
    return result


def _blocks(replicates: int) -> Iterator[slice]:
    for start in range(0, replicates, BLOCK):
        yield slice(start, min(start + BLOCK, replicates))


def percentile_interval(replicates: np.ndarray, seeds: int, confidence: float = 0.95) -> Interval:
    """Percentile interval of two-level replicates, such as a difference of two columns of `bootstrap`. Shapes: (B,).

    `seeds` is the fewest seeds behind them: below LEAST_SEEDS no interval is given.
    """
    if seeds < LEAST_SEEDS:
        return Interval(np.nan, np.nan, reason=f"needs {LEAST_SEEDS} seeds, got {seeds}")
    if not np.isfinite(replicates).all():
        return Interval(np.nan, np.nan, reason="needs every class in every replicate")
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high), degenerate=bool(np.ptp(replicates) == 0))


def bca_interval(replicates: np.ndarray, estimate: float, jackknife: np.ndarray, confidence: float = 0.95) -> Interval:
    """Bias-corrected and accelerated interval of replicates over samples alone.

    The bias comes from the share of replicates below the estimate, ties counting half, the acceleration from the delete-one values.
    All replicates equal, or all on one side of the estimate: [estimate, estimate], flagged. Shapes: replicates (B,), jackknife (N,).
    Source: Efron 1987; Efron and Tibshirani 1993, section 14.3.
    """
    below = float(((replicates < estimate).mean() + (replicates <= estimate).mean()) / 2)
    influence = jackknife.mean() - jackknife
    if np.ptp(replicates) == 0 or not 0 < below < 1:
        return Interval(estimate, estimate, degenerate=True)
    spread = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    bias, ends = norm.ppf(below), norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(replicates, norm.cdf(bias + (bias + ends) / (1 - acceleration * (bias + ends))))
    return Interval(float(low), float(high))

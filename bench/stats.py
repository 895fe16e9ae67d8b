"""Statistics from stored predictions alone: pseudo-values, intervals, ranks. Free of torch.

Source: the crossed seed x sample variance and the jackknife pseudo-values are those of the suite's statistics page, sections
3.1 and 3.2; each function is tested against its formula or a library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import rankdata, t

from bench.metrics import HIGHER_IS_BETTER, METRICS


def pseudo_values(metric: str, target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Per-sample values whose mean is (for accuracy and brier exactly, else nearly) the metric.

    x_i = n * theta - (n - 1) * theta(without i), the jackknife pseudo-values. Shapes: target (N,), scores (N, C) -> (N,).
    """
    n, classes = scores.shape
    if metric == "accuracy":
        return (scores.argmax(1) == target).astype(float)
    if metric == "brier":
        return ((scores - np.eye(classes)[target]) ** 2).sum(1) / (2 if classes == 2 else 1)
    whole = METRICS[metric](target, scores)
    without = LEAVE_ONE_OUT.get(metric, _leave_one_out(metric))(target, scores)
    return n * whole - (n - 1) * without


def _leave_one_out(metric: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The metric without each sample in turn, by computing it anew: slow, for metrics with no closed form here."""

    def without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
        kept = ~np.eye(len(target), dtype=bool)
        return np.array([METRICS[metric](target[rows], scores[rows]) for rows in kept])

    return without


def _f1_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Macro F1 without each sample, from class counts: F1_c = 2 TP_c / (true_c + predicted_c), 0 for an empty class."""
    classes = scores.shape[1]
    predicted = scores.argmax(1)
    true, guess = np.eye(classes)[target], np.eye(classes)[predicted]  # (N, C)
    hits = true * guess
    numerator = 2 * (hits.sum(0) - hits)
    denominator = (true + guess).sum(0) - true - guess
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0).mean(1)


def _auroc_without(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC without each sample, from midranks; one class against the rest, averaged. NaN where a class would be gone."""
    classes = scores.shape[1]
    return np.mean([_binary_auroc_without(target == c, scores[:, c]) for c in ([1] if classes == 2 else range(classes))], axis=0)


def _binary_auroc_without(positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    n1, n0 = positive.sum(), (~positive).sum()
    if min(n1, n0) < 2:
        return np.full(len(score), np.nan)
    ranks = rankdata(score)
    wins = np.empty(len(score))  # of a positive: negatives below it; of a negative: positives above it; ties count half
    wins[positive] = ranks[positive] - rankdata(score[positive])
    wins[~positive] = n1 - (ranks[~positive] - rankdata(score[~positive]))
    total = wins[positive].sum()
    return np.where(positive, (total - wins) / ((n1 - 1) * n0), (total - wins) / (n1 * (n0 - 1)))


LEAVE_ONE_OUT: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"f1_macro": _f1_without, "auroc": _auroc_without}


def crossed_interval(values: np.ndarray, seed_scores: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a method's mean score that holds seed and test-sample variance.

    Variance: v = var(seed scores) / S for seeds plus max(var_i(mean over seeds) / n - MSe / (S n), 0) for samples, MSe the mean square
    left after seed and sample means; degrees of freedom by Satterthwaite with the seed term, normal quantile where it is 0.
    Shapes: values (S, N) pseudo-values, seed_scores (S,) -> (low, high). One seed, or a value that is NaN: (NaN, NaN).
    """
    seeds, n = values.shape
    if seeds < 2 or not np.isfinite(values).all():
        return np.nan, np.nan
    centre = seed_scores.mean()
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    noise = (residual**2).sum() / ((seeds - 1) * (n - 1))
    of_seeds = seed_scores.var(ddof=1) / seeds
    of_samples = max(values.mean(0).var(ddof=1) / n - noise / (seeds * n), 0.0)
    variance = of_seeds + of_samples
    freedom = np.inf if of_seeds < 1e-15 else variance**2 / (of_seeds**2 / (seeds - 1))
    half = t.ppf(0.5 + confidence / 2, freedom) * np.sqrt(variance)
    return float(centre - half), float(centre + half)


def ranks(scores: Mapping[str, float], metric: str) -> dict[str, float]:
    """Rank 1 for the best; equal scores (to 10 decimals) share the mean of their ranks; NaN ranks last."""
    sign = -1.0 if HIGHER_IS_BETTER[metric] else 1.0
    keys = [np.inf if np.isnan(value) else sign * round(value, 10) for value in scores.values()]
    return dict(zip(scores, rankdata(keys).tolist(), strict=True))

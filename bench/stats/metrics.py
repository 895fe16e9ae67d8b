"""Scores from stored predictions: names and values as in scikit-learn, fractions in [0, 1].

Written out here, and tested against scikit-learn, because a trial scores every epoch and statistics score thousands of
resamples: scikit-learn's input checks alone took most of the harness's time per trial (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import rankdata

ECE_BINS = 15
TOLERANCE = 1e-5  # of probabilities: what single precision makes of a sum to 1


@dataclass(frozen=True)
class Metric:
    """A number of a trial: how it is taken, what it says, and which way it is good. All else follows from its row in `METRICS`."""

    name: str
    of: Callable[[np.ndarray, np.ndarray], float]  # target (N,) and scores (N, C) to the number, NaN where it is not defined
    meaning: str  # "Measured by ..."
    higher_is_better: bool = True
    lower: float = 0.0  # no score lies below it
    upper: float = 1.0  # no score lies above it
    by_class: bool = False  # looks at the predicted class alone, not at how sure it is

    @property
    def sign(self) -> float:
        """What turns a score so that higher is better."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def perfect(self) -> float:
        """The best score there is."""
        return self.upper if self.higher_is_better else self.lower


def _accuracy(target: np.ndarray, scores: np.ndarray) -> float:
    return float((scores.argmax(1) == target).mean())


def _balanced_accuracy(target: np.ndarray, scores: np.ndarray) -> float:
    correct = scores.argmax(1) == target
    return float(np.mean([correct[target == c].mean() for c in np.unique(target)]))


def _f1_macro(target: np.ndarray, scores: np.ndarray) -> float:
    """Mean over all classes of 2 TP / (true + predicted); a class with neither counts 0."""
    classes, predicted = scores.shape[1], scores.argmax(1)
    hits = np.bincount(target[predicted == target], minlength=classes)
    total = np.bincount(target, minlength=classes) + np.bincount(predicted, minlength=classes)
    return float(np.divide(2 * hits, total, out=np.zeros(classes), where=total > 0).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities of logits: equal rows get equal ones to the bit, and none overflows. Shapes: (N, C) float64 -> (N, C)."""
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


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


def _one_vs_rest(metric: Callable[[np.ndarray, np.ndarray], float], target: np.ndarray, scores: np.ndarray) -> float:
    classes = scores.shape[1]
    if len(np.unique(target)) < classes:
        return np.nan
    return float(np.mean([metric(target == c, scores[:, c]) for c in ([1] if classes == 2 else range(classes))]))


def _brier(target: np.ndarray, scores: np.ndarray) -> float:
    classes = scores.shape[1]
    return float(((scores - np.eye(classes)[target]) ** 2).sum(1).mean() / (2 if classes == 2 else 1))


def expected_calibration_error(target: np.ndarray, scores: np.ndarray) -> float:
    """Mean |accuracy - confidence| over 15 equal bins of the top score, weighted by their sizes."""
    confidence, correct = scores.max(1), scores.argmax(1) == target
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, correct, ECE_BINS) - np.bincount(bins, confidence, ECE_BINS)
    return float(np.abs(gap).sum() / len(target))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _accuracy, "the share of samples given the right class", by_class=True),
        Metric(
            "balanced_accuracy",
            _balanced_accuracy,
            "the share of samples given the right class, averaged over the classes",
            by_class=True,
        ),
        Metric("f1_macro", _f1_macro, "macro F1, the balance of missed and false cases averaged over the classes", by_class=True),
        Metric("auroc", partial(_one_vs_rest, auroc), "AUROC, the chance that a case is scored above a sample that is none"),
        Metric(
            "auprc",
            partial(_one_vs_rest, average_precision),
            "average precision, the share of true cases among those flagged, over all thresholds",
        ),
        Metric(
            "brier",
            _brier,
            "the Brier score, the squared error of the stated probabilities; lower is better",
            higher_is_better=False,
            upper=2.0,  # of three classes and more, which are not halved
        ),
        Metric(
            "ece",
            expected_calibration_error,
            "the calibration error, the gap between stated and actual certainty; lower is better",
            higher_is_better=False,
        ),
    )
}


def not_probabilities(scores: object, rows: int, classes: int) -> str:
    """Why something is not a plain array of probabilities (N, C), each row summing to 1 within 1e-5; empty if it is."""
    if type(scores) is not np.ndarray:
        return f"it must be a numpy array {(rows, classes)}, got {type(scores).__name__}"
    if scores.shape != (rows, classes):
        return f"its shape must be {(rows, classes)}, got {scores.shape}"
    if scores.dtype.kind not in "fiu":
        return f"its values must be numbers, got {scores.dtype}"
    if not np.isfinite(scores).all():
        return f"row {np.flatnonzero(~np.isfinite(scores).all(1))[0]} holds a value that is not finite"
    if scores.size and scores.min() < -TOLERANCE:
        return f"a probability must not be negative, got {scores.min():.4g}"
    sums = scores.sum(1, dtype=np.float64)
    if not np.allclose(sums, 1, atol=TOLERANCE):
        return f"each row must sum to 1, got sums {sums.min():.4f} to {sums.max():.4f}"
    return ""


def score(target: np.ndarray, scores: np.ndarray) -> tuple[dict[str, float], dict[str, str]]:
    """All metrics, and the reason for each that is NaN.

    Shapes: target (N,) int64, scores (N, C) probabilities, rows summing to 1. Binary auroc and auprc score class 1; otherwise one
    class against the rest, averaged over classes (macro). balanced_accuracy is the mean recall over the classes present. brier is
    the sum over classes of (score - truth)^2, halved for two classes as scikit-learn does. ece has 15 equal bins of the top
    score (Guo et al. 2017, arXiv:1706.04599).
    """
    metrics = {name: metric.of(target, scores) for name, metric in METRICS.items()}
    absent = sorted(set(range(scores.shape[1])) - set(target.tolist()))
    why = f"class {', '.join(map(str, absent))} is absent from the scored part"
    return metrics, {name: why for name, value in metrics.items() if np.isnan(value)}


def selection_score(selection: str, target: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """What a checkpoint is chosen by, larger is better: the metric, ties broken by the log likelihood.

    Where the metric is NaN (a class is absent from the validation part) the log likelihood alone decides.
    """
    metric = METRICS[selection]
    value = metric.sign * metric.of(target, scores)
    likelihood = float(np.log(np.maximum(scores[np.arange(len(target)), target], 1e-12)).mean())
    return (value if np.isfinite(value) else -np.inf, likelihood)

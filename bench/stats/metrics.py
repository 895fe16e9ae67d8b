"""Scores from stored predictions: names and values as in scikit-learn, fractions in [0, 1].

Written out here, and tested against scikit-learn, because a trial scores every epoch and statistics score thousands of
resamples: scikit-learn's input checks alone took most of the harness's time per trial (measured).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import numpy as np

from bench.errors import UsageError, unknown
from bench.stats import of_labels, of_values
from bench.stats.binary import auroc, average_precision
from bench.stats.kinds import KINDS, kind_of
from bench.text import showing

ECE_BINS = 15


P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Metric:
    """A number of a trial: how it is taken, what it says, and which way it is good. All else follows from its row in `METRICS`."""

    name: str
    of: Callable[[np.ndarray, np.ndarray], float]  # target and scores (N, O) to the number, NaN where it is not defined
    meaning: str  # "Measured by ..."
    higher_is_better: bool = True
    lower: float = 0.0  # no score lies below it
    upper: float = 1.0  # no score lies above it
    by_class: bool = False  # looks at the predicted class or labels alone, not at how sure they are
    kind: str = "classes"  # of target that it is a score of
    in_unit: bool = False  # in the target's unit; all others are pure numbers, of which pages show hundredths

    @property
    def sign(self) -> float:
        """What turns a score so that higher is better."""
        return 1.0 if self.higher_is_better else -1.0

    @property
    def scale(self) -> tuple[bool, float, float]:
        """What metrics share whose scores may stand in one mean."""
        return self.higher_is_better, self.lower, self.upper

    @property
    def scale_text(self) -> str:
        return f"{self.name} from {self.lower:g} to {self.upper:g}, {'higher' if self.higher_is_better else 'lower'} is better"

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
        Metric(
            "label_auroc",
            of_labels.auroc_macro,
            "AUROC, the chance that a case is scored above a sample that is none, averaged over the labels",
            kind="labels",
        ),
        Metric("label_auroc_micro", of_labels.auroc_micro, "AUROC over all labels at once", kind="labels"),
        Metric(
            "label_auprc",
            of_labels.auprc_macro,
            "average precision, the share of true cases among those flagged, over all thresholds, averaged over the labels",
            kind="labels",
        ),
        Metric("label_auprc_micro", of_labels.auprc_micro, "average precision over all labels at once", kind="labels"),
        Metric("label_f1", of_labels.f1_macro, "F1 at a probability of a half, averaged over the labels", by_class=True, kind="labels"),
        Metric(
            "label_f1_micro", of_labels.f1_micro, "F1 at a probability of a half, over all labels at once", by_class=True, kind="labels"
        ),
        Metric(
            "label_brier",
            of_labels.brier,
            "the Brier score, the squared error of the stated probabilities, averaged over the labels; lower is better",
            higher_is_better=False,
            kind="labels",
        ),
        Metric(
            "mae",
            of_values.mae,
            "the mean absolute error, in the unit of the target; lower is better",
            False,
            upper=np.inf,
            kind="value",
            in_unit=True,
        ),
        Metric(
            "rmse",
            of_values.rmse,
            "the root mean squared error, in the unit of the target; lower is better",
            False,
            upper=np.inf,
            kind="value",
            in_unit=True,
        ),
        Metric("r2", of_values.r2, "R2, the share of the target's variance that is explained", lower=-np.inf, kind="value"),
        Metric("pearson", of_values.pearson, "Pearson's correlation of prediction and target", lower=-1.0, kind="value"),
        Metric(
            "concordance",
            of_values.concordance,
            "Lin's concordance, the correlation of prediction and target less what shift and scale cost",
            lower=-1.0,
            kind="value",
        ),
    )
}


def in_its_unit(metric_of: Callable[P, str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates what shows scores of one metric: inside, pages write them in hundredths, or in the unit of the target.

    `metric_of` takes the arguments of what is decorated.
    """

    def decorated(show: Callable[P, R]) -> Callable[P, R]:
        @wraps(show)
        def shown(*args: P.args, **kwargs: P.kwargs) -> R:
            with showing(METRICS[metric_of(*args, **kwargs)].in_unit):
                return show(*args, **kwargs)

        return shown

    return decorated


def metrics_of(kind: str) -> dict[str, Metric]:
    """Those that are scores of a kind of target, in order."""
    return {name: metric for name, metric in METRICS.items() if metric.kind == kind}


def listed_metrics(text: str) -> tuple[str, ...]:
    """The metrics that a key of a suite names: one, or one for each of several kinds of target, with commas between.

    Raises: UsageError if one is not known, or two are of one kind.

    >>> listed_metrics("mae,auroc")
    ('mae', 'auroc')
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    kinds = [METRICS[name].kind for name in names]
    if len(set(kinds)) < len(kinds):
        raise UsageError(
            f"of each kind of target one metric ranks and one selects, got {text!r}; metrics of a kind are {_told(set(kinds))}"
        )
    return names


def metric_for(text: str, kind: str, of: str) -> str:
    """The metric that a key of a suite names for a kind of target. Raises: UsageError naming those that fit; `of` is whose target it is."""
    found = next((name for name in listed_metrics(text) if METRICS[name].kind == kind), None)
    if found is None:
        raise UsageError(
            f"{text} is no score of the target of {of}, which is of kind {kind}; metrics that fit: {', '.join(metrics_of(kind))}"
        )
    return found


def _told(kinds: set[str]) -> str:
    return "; ".join(f"{kind}: {', '.join(metrics_of(kind))}" for kind in KINDS if kind in kinds)


def score(target: np.ndarray, scores: np.ndarray, names: Sequence[str] = ()) -> tuple[dict[str, float], dict[str, str]]:
    """All metrics of the kind of target, and the reason for each that is NaN, which calls labels by their `names`.

    Shapes: classes, target (N,) int64, scores (N, C) probabilities, rows summing to 1; labels, (N, L) int64 of 1, 0 and -1 (not known),
    (N, L) probabilities; a value, (N,) float64, (N, 1). Binary auroc and auprc score class 1; otherwise one class against the rest,
    averaged over classes (macro). balanced_accuracy is the mean recall over the classes present. brier is the sum over classes of
    (score - truth)^2, halved for two classes as scikit-learn does. ece has 15 equal bins of the top score (Guo et al. 2017,
    arXiv:1706.04599). Those of labels and values stand in `of_labels` and `of_values`.
    """
    kind = kind_of(target)
    metrics = {name: metric.of(target, scores) for name, metric in metrics_of(kind.name).items()}
    undefined = [name for name, value in metrics.items() if np.isnan(value)]
    return metrics, dict.fromkeys(undefined, kind.why_undefined(target, scores.shape[1], names)) if undefined else {}


def selection_score(selection: str, target: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """What a checkpoint is chosen by, larger is better: the metric, ties broken by the log likelihood, of a value by the squared error.

    Where the metric is NaN (a class is absent from the validation part) what breaks ties decides alone.
    """
    metric = METRICS[selection]
    value = metric.sign * metric.of(target, scores)
    return (value if np.isfinite(value) else -np.inf, kind_of(target).likelihood(target, scores))

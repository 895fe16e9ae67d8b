"""The kinds of target as numbers see them: which one an array of targets is of, what a method's outputs say, and how both are checked.

Targets tell their kind by themselves: int64 (N,) are classes, int64 (N, L) labels, float64 (N,) values. So whatever reads stored
predictions needs no word beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from bench.stats import of_labels, of_values

TOLERANCE = 1e-5  # of probabilities: what single precision makes of a sum to 1
CLIP = 1e-7  # the smallest probability of the truth that the loss of a row knows
Array = np.ndarray
Names = Sequence[str]  # of labels, in their order; empty where nobody knows them


@dataclass(frozen=True)
class Kind:
    """One kind of target."""

    name: str
    called: str  # what a prediction is
    metric: str  # that ranks and selects where nobody says another
    least_outputs: int
    link: Callable[[Array], Array]  # logits (N, O) float64 -> scores
    wrong: Callable[[object, int, int], str]  # why something is no array of scores of so many rows and outputs; empty if it is
    told: Callable[[Array, Array], list[int]]  # target and scores -> how often each class or label is the predicted one
    likelihood: Callable[[Array, Array], float]  # what breaks ties between checkpoints, larger is better
    why_undefined: Callable[[Array, int, Names], str]  # target, outputs, names of labels -> why a metric is NaN
    why_untested: Callable[[Array, int, Names], str]  # the same -> why a metric is NaN without some sample, which leaves no pseudo-values
    answers: Callable[[Array], Array]  # scores (N, O) -> what each row is told, (N, 1) classes, (N, L) labels or (N, 1) values
    goodness: Callable[[Array, Array], Array]  # target and scores -> how well each row is told, larger is better (N,)
    loss: str  # what the loss of a row is called
    losses: Callable[[Array, Array], Array]  # target and scores -> the loss of each row, smaller is better (N,)
    is_one_answer: Callable[[list[int], int], bool]  # of a histogram and the rows: whether every row has the same predicted class or labels
    lacking: str  # what a part lacks, or has, where a metric is NaN: "... the validation part"

    def scores(self, outputs: Array, are_logits: bool) -> Array:
        """What metrics read of stored outputs, in double precision."""
        return self.link(outputs) if are_logits else outputs


def softmax(logits: Array) -> Array:
    """Class probabilities of logits: equal rows get equal ones to the bit, and none overflows. Shapes: (N, C) float64 -> (N, C)."""
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def not_numbers(scores: object, rows: int, outputs: int) -> str:
    """Why something is not a plain array of finite numbers (N, O); empty if it is."""
    if type(scores) is not np.ndarray:
        return f"it must be a numpy array {(rows, outputs)}, got {type(scores).__name__}"
    if scores.shape != (rows, outputs):
        return f"its shape must be {(rows, outputs)}, got {scores.shape}"
    if scores.dtype.kind not in "fiu":
        return f"its values must be numbers, got {scores.dtype}"
    if not np.isfinite(scores).all():
        return f"row {np.flatnonzero(~np.isfinite(scores).all(1))[0]} holds a value that is not finite"
    return ""


def not_label_probabilities(scores: object, rows: int, labels: int) -> str:
    """Why something is not a plain array of a probability for each label (N, L); empty if it is."""
    reason = not_numbers(scores, rows, labels)
    if reason or not isinstance(scores, np.ndarray) or not scores.size:
        return reason
    low, high = scores.min(), scores.max()
    return (
        f"a probability must be in [0, 1], got {low if low < -TOLERANCE else high:.4g}" if low < -TOLERANCE or high > 1 + TOLERANCE else ""
    )


def not_probabilities(scores: object, rows: int, classes: int) -> str:
    """Why something is not a plain array of probabilities (N, C), each row summing to 1 within 1e-5; empty if it is."""
    reason = not_numbers(scores, rows, classes)
    if reason or not isinstance(scores, np.ndarray):
        return reason
    if scores.size and scores.min() < -TOLERANCE:
        return f"a probability must not be negative, got {scores.min():.4g}"
    sums = scores.sum(1, dtype=np.float64)
    if not np.allclose(sums, 1, atol=TOLERANCE):
        return f"each row must sum to 1, got sums {sums.min():.4f} to {sums.max():.4f}"
    return ""


def _classes_undefined(target: Array, outputs: int, names: Names) -> str:
    absent = sorted(set(range(outputs)) - set(target.tolist()))
    return f"class {', '.join(map(str, absent))} is absent from the scored part"


def _too_few(what: str, few: Array, of: str, names: Names = ()) -> str:
    """Why leaving one sample out leaves nothing to score. Shapes: few (C,) or (L,) bool."""
    places = np.flatnonzero(few)
    many = len(places) > 1
    there = of_labels.called(places, names, len(few))
    return f"{what}{('es' if what == 'class' else 's') * many} {there} {'have' if many else 'has'} fewer than two {of}"


def _label_likelihood(target: Array, scores: Array) -> float:
    known = target >= 0
    right = np.where(target == 1, scores, 1 - scores)[known]
    return float(np.log(np.maximum(right, 1e-12)).mean()) if known.any() else 0.0


def _share_right(target: Array, scores: Array) -> Array:
    """Of the labels that each row knows. Shapes: -> (N,)."""
    known = target >= 0
    return (known & ((scores > of_labels.CUT) == (target == 1))).sum(1) / np.maximum(known.sum(1), 1)


def _label_losses(target: Array, scores: Array) -> Array:
    """Binary cross entropy, a mean over the labels that a row knows; 0 where it knows none. Shapes: -> (N,)."""
    known = target >= 0
    cells = np.where(known, -np.log(np.maximum(np.where(target == 1, scores, 1 - scores), CLIP)), 0.0)
    return cells.sum(1) / np.maximum(known.sum(1), 1)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "classes", "probabilities", "accuracy", 2, softmax, not_probabilities,
            lambda target, scores: np.bincount(scores.argmax(1), minlength=scores.shape[1]).tolist(),
            lambda target, scores: float(np.log(np.maximum(scores[np.arange(len(target)), target], 1e-12)).mean()),
            _classes_undefined,
            lambda target, outputs, names: _too_few("class", np.bincount(target, minlength=outputs) < 2, "test samples"),
            lambda scores: scores.argmax(1)[:, None],
            lambda target, scores: (scores.argmax(1) == target).astype(float),
            "log loss",
            lambda target, scores: -np.log(np.maximum(scores[np.arange(len(target)), target], CLIP)),
            lambda histogram, rows: sum(number > 0 for number in histogram) == 1,
            "a class is absent from",
        ),
        Kind(
            "labels", "probabilities of each label", "label_auroc", 1, expit, not_label_probabilities,
            lambda target, scores: (scores > of_labels.CUT).sum(0).tolist(),
            _label_likelihood,
            of_labels.why_undefined,
            lambda target, outputs, names: _too_few(
                "label", np.minimum((target == 1).sum(0), (target == 0).sum(0)) < 2, "test samples with it, or without it", names
            ),
            lambda scores: scores > of_labels.CUT,
            _share_right,
            "binary cross entropy",
            _label_losses,
            lambda histogram, rows: bool(histogram) and all(number in (0, rows) for number in histogram),
            "a label has no yes, or no no, in",
        ),
        Kind(
            "value", "values", "mae", 1, lambda outputs: outputs, not_numbers,
            lambda target, scores: [],
            lambda target, scores: -float(((scores[:, 0] - target) ** 2).mean()),
            of_values.why_undefined,
            of_values.why_undefined,
            lambda scores: scores,
            lambda target, scores: -np.abs(scores[:, 0] - target),
            "squared error",
            lambda target, scores: (scores[:, 0] - target) ** 2,
            lambda histogram, rows: False,
            "the target, or its prediction, is the same for every row of",
        ),
    )
}  # fmt: skip


def kind_of(target: Array) -> Kind:
    """The kind that these targets are of."""
    if target.ndim == 2:
        return KINDS["labels"]
    return KINDS["value" if target.dtype.kind == "f" else "classes"]


def wrong_targets(target: Array, outputs: int) -> str:
    """Why these are no targets of so many outputs; empty if they are."""
    kind = kind_of(target)
    if kind.name == "value":
        return "" if outputs == 1 and np.isfinite(target).all() else "must hold finite numbers, of one output"
    if target.dtype.kind != "i":
        return f"must hold whole numbers or, of a value, floating-point ones, got {target.dtype}"
    if kind.name == "labels":
        fits = target.shape[1] == outputs and ((target >= -1) & (target <= 1)).all()
        return "" if fits else f"must hold 1, 0 or -1 for each of {outputs} labels"
    return "" if not len(target) or 0 <= target.min() <= target.max() < outputs else "names a class that there is no score of"

"""Scores of several yes/no labels at once, of which some are not known for some rows: those cells count nowhere.

Macro: the mean over labels of each one's score over the rows that know it; NaN where one of them has none. Micro: one score over all
known cells. Shapes everywhere: target (N, L) int64 of 1, 0 and -1, scores (N, L) probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.stats.binary import auroc, average_precision

Binary = Callable[[np.ndarray, np.ndarray], float]
CUT = 0.5  # a probability above it says yes


def macro(metric: Binary, target: np.ndarray, scores: np.ndarray) -> float:
    """Mean over labels of a metric of positives and scores; NaN where the known rows of a label are all alike."""
    if not len(target) or one_sided(target).any():
        return np.nan
    known = target >= 0
    return float(np.mean([metric(target[known[:, k], k] == 1, scores[known[:, k], k]) for k in range(target.shape[1])]))


def micro(metric: Binary, target: np.ndarray, scores: np.ndarray) -> float:
    """A metric of positives and scores over all known cells; NaN where these are all alike."""
    known = target >= 0
    positive = target[known] == 1
    return np.nan if positive.all() or not positive.any() else float(metric(positive, scores[known]))


def f1_macro(target: np.ndarray, scores: np.ndarray) -> float:
    """Mean over labels of 2 TP / (true + predicted); a label with neither counts 0."""
    hits, total = f1_counts(target, scores)
    return float(np.divide(2 * hits.sum(0), total.sum(0), out=np.zeros(target.shape[1]), where=total.sum(0) > 0).mean())


def f1_micro(target: np.ndarray, scores: np.ndarray) -> float:
    hits, total = f1_counts(target, scores)
    return float(2 * hits.sum() / total.sum()) if total.any() else 0.0


def f1_counts(target: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each known cell: whether it is a hit, and how often it is true or said to be. Shapes: two of (N, L) int64, 0 where not known."""
    true, said = target == 1, (scores > CUT) & (target >= 0)
    return (true & said).astype(np.int64), true.astype(np.int64) + said


def brier(target: np.ndarray, scores: np.ndarray) -> float:
    """Mean over labels of the squared error over the rows that know it; NaN where no row knows one."""
    known = target >= 0
    if not known.any(0).all():
        return np.nan
    return float((squared_errors(target, scores).sum(0) / known.sum(0)).mean())


def squared_errors(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Shapes: -> (N, L), 0 where not known."""
    return np.where(target >= 0, (scores - target) ** 2, 0.0)


def one_sided(target: np.ndarray) -> np.ndarray:
    """Labels that no row has, or that every row has, of those that know it. Shapes: -> (L,) bool."""
    return ~((target == 1).any(0) & (target == 0).any(0))


def called(places: np.ndarray, names: Sequence[str], outputs: int) -> str:
    """Some of so many labels, by their names; by their places, from 0 on, where not each has a name.

    >>> called(np.array([0, 2]), ("stroke", "fever", "death"), 3), called(np.array([2]), (), 3)
    ('stroke, death', '2')
    """
    return ", ".join(names[place] if len(names) == outputs else str(place) for place in places.tolist())


def why_undefined(target: np.ndarray, outputs: int, names: Sequence[str] = ()) -> str:
    """Why a score of labels is NaN."""
    places = np.flatnonzero(one_sided(target)) if len(target) else np.arange(outputs)
    there, many = called(places, names, outputs), len(places) > 1
    return f"label{'s' * many} {there} {'have' if many else 'has'} no yes, or no no, in the scored part"


auroc_macro, auroc_micro = (lambda t, s: macro(auroc, t, s)), (lambda t, s: micro(auroc, t, s))
auprc_macro, auprc_micro = (lambda t, s: macro(average_precision, t, s)), (lambda t, s: micro(average_precision, t, s))

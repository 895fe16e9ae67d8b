"""What the estimators share: samples as one matrix, the answer that looks at nothing, and models for each kind of target."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets.base import Classes, Labels, Samples, Schema, Target, Value

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression


def widths(schema: Schema) -> np.ndarray:
    """Number of values of each modality once flattened: of a sequence its features, else all. Shapes: -> (M,) int64."""
    return np.array([modality.shape[-1] if modality.kind == "sequence" else np.prod(modality.shape, dtype=np.int64) for modality in schema])


def flatten(samples: Samples) -> np.ndarray:
    """All modalities side by side, NaN where not observed. Shapes: -> (N, F) float32, F the sum of `widths`.

    A sequence becomes its mean over the real steps, so that long, short and padded ones all give one vector; images and volumes enter
    whole. A value that is NaN in an observed modality is left out of the mean, and stays NaN elsewhere.
    """
    columns = []
    for modality, array in zip(samples.schema, samples.sealed().values.values(), strict=True):
        if modality.kind == "sequence":
            seen = ~np.isnan(array)  # (N, L, F), False in padding
            count = seen.sum(1)  # (N, F)
            total = np.where(seen, array, 0.0).sum(1, dtype=np.float64)
            array = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)  # (N, F)
        columns.append(array.reshape(len(samples), math.prod(array.shape[1:])))
    return np.concatenate(columns, axis=1)


def observed_means(samples: Samples) -> np.ndarray:
    """Mean of each column of `flatten` over its values that are not NaN, 0 where there is none. Shapes: -> (F,) float32.

    Of large samples a few rows are flattened at a time.
    """
    columns = int(widths(samples.schema).sum())
    totals, counts = np.zeros(columns), np.zeros(columns, dtype=np.int64)
    for piece in samples.pieces():
        matrix = flatten(piece)  # (K, F)
        seen = ~np.isnan(matrix)
        totals += np.where(seen, matrix, 0.0).sum(0, dtype=np.float64)
        counts += seen.sum(0)
    return (totals / np.maximum(counts, 1)).astype(np.float32)


def class_shares(samples: Samples) -> np.ndarray:
    """Share of each class, the same for all without rows. Shapes: -> (C,) float64, sum 1."""
    counts = np.bincount(samples.target, minlength=len(samples.schema.classes)).astype(float)
    return counts / counts.sum() if len(samples) else np.full_like(counts, 1 / len(counts))


def floor_of(samples: Samples, selection: str = "") -> np.ndarray:
    """The best answer to every row that looks at nothing, from these rows. Shapes: -> (O,) float64.

    The share of each class, the same for all without rows; of each label its share among the rows that know it, a half without any; of a
    value the mean, or the median where `selection` is `mae`, 0 without rows.
    """
    target = samples.target
    if isinstance(samples.schema.target, Classes):
        return class_shares(samples)
    if isinstance(samples.schema.target, Labels):
        known = (target >= 0).sum(0)
        return np.where(known > 0, (target == 1).sum(0) / np.maximum(known, 1), 0.5)
    if not len(samples):
        return np.zeros(1)
    return np.array([np.median(target) if selection == "mae" else target.mean()], dtype=float)


@dataclass(frozen=True)
class Fits:
    """Models of scikit-learn: one for classes or a value, one for each label. Where rows do not differ there is none, and the floor stands.

    `floor` (O,): see `floor_of`.
    """

    target: Target
    floor: np.ndarray
    models: tuple[Any, ...]  # None where there was nothing to learn

    @property
    def any(self) -> bool:
        return any(model is not None for model in self.models)

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities or values. Shapes: (N, F) -> (N, O)."""
        full = np.tile(self.floor, (len(matrix), 1))
        for place, model in enumerate(self.models if len(matrix) else ()):
            if model is None:
                continue
            if isinstance(self.target, Classes):
                return over_all_classes(model.predict_proba(matrix), model.classes_, len(self.floor))
            full[:, place] = model.predict(matrix) if isinstance(self.target, Value) else model.predict_proba(matrix)[:, 1]
        return full

    @property
    def coefficients(self) -> int:
        """Weights of linear models."""
        return sum(model.coef_.size for model in self.models if model is not None)

    @property
    def parameters(self) -> int:
        """Numbers of linear models."""
        return self.coefficients + sum(np.size(model.intercept_) for model in self.models if model is not None)


def fit_each(matrix: np.ndarray, samples: Samples, floor: np.ndarray, fit: Callable[[np.ndarray, np.ndarray], Any]) -> Fits:
    """Models for what is to be told of the rows, each fitted by `fit(matrix, target)` on the rows that know it, if these differ.

    Shapes: matrix (N, F), floor (O,).
    """
    asked, target = samples.schema.target, samples.target
    if not isinstance(asked, Labels):
        return Fits(asked, floor, (fit(matrix, target) if len(np.unique(target)) > 1 else None,))
    models = []
    for column in target.T:
        known = column >= 0
        models.append(fit(matrix[known], column[known]) if len(np.unique(column[known])) > 1 else None)
    return Fits(asked, floor, tuple(models))


def fit_linear(matrix: np.ndarray, target: np.ndarray, c: float) -> Any:
    """Logistic regression, of a value ridge regression whose penalty is 1 / c. Shapes: matrix (N, F) without NaN, target (N,)."""
    if target.dtype.kind != "f":
        return fit_logistic(matrix, target, c)
    from sklearn.linear_model import Ridge

    return Ridge(alpha=1 / c).fit(matrix.astype(np.float64), target)


def over_all_classes(probabilities: np.ndarray, seen: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities with 0 for classes that training never saw. Shapes: (N, K), seen (K,) class of a column -> (N, C)."""
    full = np.zeros((len(probabilities), classes))
    full[:, seen] = probabilities
    return full / full.sum(1, keepdims=True)


def fit_logistic(matrix: np.ndarray, target: np.ndarray, c: float) -> LogisticRegression:
    """Logistic regression with an L2 penalty. Shapes: matrix (N, F) without NaN, target (N,) with two classes at least.

    A weak penalty may need more than 1000 steps to reach the tolerance; the fit is used all the same, without a warning.
    """
    from sklearn.exceptions import ConvergenceWarning  # here, so that networks that only flatten do not load scikit-learn
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=c, max_iter=1000).fit(matrix.astype(np.float64), target)

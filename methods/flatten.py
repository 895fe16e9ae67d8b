"""What the estimators share: samples as one matrix, class shares, and probabilities over all classes."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.base import Samples, Schema

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

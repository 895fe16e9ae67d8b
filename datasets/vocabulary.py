"""Words, codes and paths as columns of counts: which of them a dataset keeps, learnt on its training rows (`Dataset.learn`)."""

from __future__ import annotations

import numpy as np

MOST = 20_000  # columns of one modality that may be asked for


def checked_size(name: str, value: object) -> int:
    """An option that says how many columns are kept. Raises: ValueError."""
    if type(value) is not int or not 1 <= value <= MOST:
        raise ValueError(f"{name} must be a whole number from 1 to {MOST}, got {value!r}")
    return value


def commonest(counts: np.ndarray, most: int) -> np.ndarray:
    """Columns that most rows hold, `most` of them at most, in their order; of two held alike the earlier one comes first.

    A column that no row holds is not kept; if that leaves none, the first column stands for the modality.
    Shapes: counts (N, F), a row of NaN where it is not observed -> (K,) int64, 1 <= K <= most.
    """
    held = (np.nan_to_num(counts) > 0).sum(0)  # (F,)
    order = np.argsort(-held, kind="stable")[:most]
    kept = order[held[order] > 0]
    return np.sort(kept) if len(kept) else order[:1]


def unit_length(rows: np.ndarray) -> np.ndarray:
    """Each row divided by its Euclidean length; zeros and NaN stay. Shapes: (N, F) -> (N, F) float32."""
    length = np.sqrt(np.square(rows, dtype=np.float64).sum(1, keepdims=True))  # (N, 1)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)

"""What is learnt on training rows of the columns of a vector: which categories there are, and which columns have gaps worth a column.

A single value that is missing inside a modality that is there becomes the training mean, which says nothing of the gap. Where `learn` of a
dataset adds indicators, every method sees it as a column: 1 where the value is missing, else 0 (Rubin 1976 on why gaps inform; as
scikit-learn's `MissingIndicator` with `features="missing-only"`, one for columns whose gaps are the same in all training rows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.datasets.base import Samples

Blocks = Sequence[tuple[int, int]]  # columns of one category each: the first, and the one behind the last


def gap_columns(train: np.ndarray) -> np.ndarray:
    """Columns that have a gap in some rows and a value in others; of columns with the same gaps the first.

    Shapes: train (N, F), the rows that observe the modality -> (K,) int64, ascending; K may be 0.
    """
    gaps = np.isnan(train)
    some = np.flatnonzero(gaps.any(0) & ~gaps.all(0))
    _, first = np.unique(gaps[:, some], axis=1, return_index=True)
    return some[np.sort(first)]


def with_indicators(values: np.ndarray, columns: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Values with a column for each of `columns`: 1 where it is missing. NaN in rows that do not observe the modality.

    Shapes: values (N, F), columns (K,), observed (N,) bool -> (N, F + K) float32.
    """
    gaps = np.isnan(values[:, columns]).astype(np.float32)
    gaps[~observed] = np.nan
    return np.concatenate([values, gaps], axis=1, dtype=np.float32)


@dataclass(frozen=True)
class Seen:
    """What the training rows of one vector say. Shapes: kept (F',) and gaps (K,) int64; mean (F',)."""

    kept: np.ndarray  # columns, without those of categories that no training row has
    blocks: Blocks  # of categories, among the kept
    gaps: np.ndarray  # of the kept, which get an indicator
    mean: np.ndarray

    def __call__(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        """Shapes: values (N, F), observed (N,) bool -> (N, F' + K) float32."""
        found = values[:, self.kept]
        for begin, end in self.blocks:
            found[(found[:, begin:end] == 0).all(1), begin:end] = np.nan  # a category that no training row has
        found = with_indicators(found, self.gaps, observed)
        lost = observed & np.isnan(found).all(1)
        found[lost] = self.mean  # what a missing value becomes; only without indicators, which always hold one
        return found


def seen_in(train: np.ndarray, blocks: Blocks, is_indicated: bool) -> Seen:
    """What training rows say of a vector. Shapes: train (N, F), the rows that observe it."""
    width = train.shape[1]
    is_category = np.zeros(width, dtype=bool)
    for begin, end in blocks:
        is_category[begin:end] = True
    held = (np.nan_to_num(train) > 0).any(0)
    kept = np.flatnonzero(~is_category | held) if len(train) else np.arange(width)
    inside = [np.searchsorted(kept, block) for block in blocks]
    rows = train[:, kept].astype(np.float64)
    count = (~np.isnan(rows)).sum(0)
    gaps = gap_columns(rows) if is_indicated else np.zeros(0, dtype=np.int64)
    mean = np.where(count > 0, np.nansum(rows, axis=0) / np.maximum(count, 1), 0.0)
    return Seen(kept, tuple((int(begin), int(end)) for begin, end in inside if end > begin), gaps, np.append(mean, np.zeros(len(gaps))))


def learn_vectors(
    train: Samples, indicated: Iterable[str], blocks: Mapping[str, Blocks] | None = None
) -> Callable[[Samples], Samples] | None:
    """For `Dataset.learn`: the training rows' categories of the vectors in `blocks`, and indicators for those of `indicated`.

    None where there is nothing to change. A category that no training row has counts as missing. Samples must come sealed.
    """
    chosen, categories = set(indicated), blocks or {}
    seen: dict[str, Seen] = {}
    for position, modality in enumerate(train.schema):
        name = modality.name
        if modality.kind == "vector" and (name in chosen or categories.get(name)):
            seen[name] = seen_in(train.values[name][train.observed[:, position]], categories.get(name, ()), name in chosen)
    if not any(one.blocks or len(one.gaps) or len(one.kept) < train.values[name].shape[1] for name, one in seen.items()):
        return None
    place = {name: position for position, name in enumerate(train.schema.names)}
    return lambda samples: samples.with_values(
        {name: one(samples.values[name], samples.observed[:, place[name]]) for name, one in seen.items()}
    )

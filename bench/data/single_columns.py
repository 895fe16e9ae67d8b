"""What single columns of the modalities say by themselves: whether one gives the label away, says nothing, or repeats another.

A column is one value of a vector or image, the mean over time of one feature of a sequence, or the number of its steps.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.data.moments import Moments, moments
from bench.data.twins import plain, spread, values_of
from bench.datasets.base import Modality, Samples, varies

BINS = 32  # leaves of the tree that looks at a column; missing values are one more
FOLDS = 5
FEWEST = 5  # rows of a class, for it to be looked for
CHUNK = 512  # columns that are looked at together
CLOSELY = 200  # columns that are scored, those whose leaves are purest
STEPS = -1  # stands for the number of steps of a sequence in the place of a column


@dataclass(frozen=True)
class Columns:
    """Columns of some rows, side by side."""

    matrix: np.ndarray  # (n, F) float32, NaN where not observed
    target: np.ndarray  # (n,)
    places: Sequence[tuple[int, int]]  # of each column: position of its modality, and its own inside that, or STEPS
    rows: np.ndarray = field(repr=False)  # (n,) which rows these are


def columns_of(samples: Samples, cells: int, most: int, kinds: Sequence[str]) -> Columns:
    """The columns of modalities of some kinds, in no more than `most` rows and about `cells` values: each class as often, rare ones whole.

    How often a class comes changes nothing of what is asked of a column here. Of labels and values these are strata.
    """
    samples = samples.in_strata()
    positions = [k for k, modality in enumerate(samples.schema) if modality.kind in kinds]
    width = sum(_width(samples.schema.modalities[k]) for k in positions)
    rows = _of_each_class(samples.target, int(np.clip(cells / max(width, 1), most / 8, most)))
    found, places = [], []
    for position in positions:
        modality = samples.schema.modalities[position]
        values = values_of(samples, position, rows)
        if modality.kind == "sequence":
            values = _over_time(values.reshape(len(rows), *modality.shape))
            if modality.name in samples.lengths:
                steps = samples.lengths[modality.name][rows].astype(np.float32)
                found.append(np.where(samples.observed[rows, position], steps, np.nan)[:, None])
                places.append((position, STEPS))
        found.append(values)
        places += [(position, column) for column in range(values.shape[1])]
    matrix = np.concatenate(found, axis=1, dtype=np.float32) if found else np.zeros((len(rows), 0), np.float32)
    return Columns(matrix, samples.target[rows], places, rows)


def alone(matrix: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """How well each column alone predicts the label: cross-validated AUROC of a tree of `BINS` leaves, one for what is missing.

    Macro one-vs-rest over classes with `FEWEST` rows; 0.5 is chance. Leaves lie at quantiles, so that codes without an order are told
    apart too. Of many columns the `CLOSELY` with the purest leaves are scored.
    Shapes: matrix (n, F), target (n,) -> (F,) float64, NaN where no class has enough rows, and for columns that are not scored.
    """
    counts = np.bincount(target, minlength=classes)
    wanted = [c for c in ([1] if classes == 2 else range(classes)) if FEWEST <= counts[c] <= len(target) - FEWEST]
    if not wanted:
        return np.full(matrix.shape[1], np.nan)
    scores, closely = np.full(matrix.shape[1], np.nan), np.arange(matrix.shape[1])
    if len(closely) > CLOSELY:
        starts = range(0, len(closely), CHUNK)
        purity = np.concatenate([_purity(_leaves(matrix[:, k : k + CHUNK]), target, classes) for k in starts])
        closely = np.argsort(-purity, kind="stable")[:CLOSELY]
    scores[closely] = _alone(_leaves(matrix[:, closely]), target, _folds(target), classes, wanted)
    return scores


def is_label(column: np.ndarray, target: np.ndarray) -> bool:
    """Whether a column is the label under other names: each value of one class, each class of one value. Shapes: (n,), (n,)."""
    known = ~np.isnan(column)
    if not known.all() or target.ndim > 1:
        return False
    pairs = np.unique(np.column_stack([column, target]), axis=0)
    return len(pairs) == len(np.unique(column)) == len(np.unique(target)) > 1


def empty_and_single_valued(samples: Samples, columns: Columns) -> tuple[list[int], list[int]]:
    """Columns (of `columns`) that hold no value in any row, and those whose values are all the same."""
    empty, single = [], []
    for places, parts in _in_all_rows(samples, columns, np.flatnonzero(_spans(columns.matrix) == 0)):
        found = [moments("vector", values) for values in parts]
        whole = Moments(*map(np.concatenate, zip(*found, strict=True))).joined()
        spread = np.sqrt(whole.scatter / np.maximum(whole.number, 1))
        same = (whole.number > 0) & ~varies(whole.mean, spread)
        empty += places[whole.number[0] == 0].tolist()
        single += places[same[0]].tolist()
    return sorted(empty), sorted(single)


def repeated(samples: Samples, columns: Columns, leave: Sequence[int]) -> list[list[int]]:
    """Groups of columns that hold the same values in every row; those of `leave` are no part of one."""
    left = set(leave)
    alike: dict[bytes, list[int]] = defaultdict(list)
    for place in range(columns.matrix.shape[1]):
        if place not in left and columns.places[place][1] != STEPS:
            alike[plain(columns.matrix[:, place]).tobytes()].append(place)
    hashes = {place: hashlib.blake2b() for group in alike.values() if len(group) > 1 for place in group}
    for places, parts in _in_all_rows(samples, columns, np.array(sorted(hashes), dtype=np.int64)):
        for values in parts:
            for place, column in zip(places.tolist(), plain(values).T, strict=True):
                hashes[place].update(column.tobytes())
    same: dict[bytes, list[int]] = defaultdict(list)
    for place, seen in hashes.items():
        same[seen.digest()].append(place)
    return sorted(group for group in same.values() if len(group) > 1)


def name_of(place: tuple[int, int], schema: Sequence[Modality], names: Mapping[str, Sequence[str]]) -> str:
    """A column in words: by its name where that is known, else by its place, counted from 0.

    >>> labs = Modality("labs", "L", "vector", (2,))
    >>> name_of((0, 1), (labs,), {}), name_of((0, 1), (labs,), {"labs": ["crp", "sodium"]})
    ('labs[1]', 'labs[sodium]')
    """
    modality, column = schema[place[0]], place[1]
    if column == STEPS:
        return f"the number of steps of {modality.name}"
    own = names.get(modality.name, ())
    if len(own) == _width(modality):
        return f"{modality.name}[{own[column]}]"
    if modality.kind in ("image", "volume"):
        return f"{modality.name}[{','.join(str(place) for place in np.unravel_index(column, modality.shape))}]"
    return f"{modality.name}[{column}]"


def _width(modality: Modality) -> int:
    return modality.shape[-1] if modality.kind == "sequence" else int(np.prod(modality.shape))


def _of_each_class(target: np.ndarray, most: int) -> np.ndarray:
    """Rows, ascending, so many at the most: every class in its turn gets as many as are left for it, the rarest first."""
    counts = np.bincount(target)
    taken, left = [], most
    order = [c for c in np.argsort(counts, kind="stable").tolist() if counts[c]]
    for place, c in enumerate(order):
        own = spread(np.flatnonzero(target == c), max(1, left // (len(order) - place)))
        taken.append(own)
        left -= len(own)
    return np.sort(np.concatenate(taken))


def _over_time(values: np.ndarray) -> np.ndarray:
    """Means over the steps that hold a value. Shapes: (n, T, F) -> (n, F) float32."""
    known = ~np.isnan(values)
    count = known.sum(1)
    with np.errstate(invalid="ignore"):  # of infinite values, which are refused where a method would see them
        total = np.where(known, values, 0.0).sum(1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def _folds(target: np.ndarray) -> np.ndarray:
    """A fold for each row, every class spread over all of them. Shapes: (n,) -> (n,)."""
    fold = np.empty(len(target), dtype=np.int64)
    order = np.random.default_rng(0).permutation(len(target))
    by_class = order[np.argsort(target[order], kind="stable")]
    fold[by_class] = np.arange(len(target)) % FOLDS
    return fold


def _leaves(matrix: np.ndarray) -> np.ndarray:
    """The leaf of each value: between which quantiles of its column it lies; `BINS` for what is missing. Shapes: (n, F) -> (n, F) int64."""
    ordered = np.sort(matrix, axis=0)  # NaN last
    known = (~np.isnan(matrix)).sum(0)
    leaf = np.zeros(matrix.shape, dtype=np.int64)
    for k in range(1, BINS):
        edge = np.take_along_axis(ordered, np.maximum(known * k // BINS - 1, 0)[None], axis=0)
        leaf += matrix > edge  # False for NaN
    return np.where(np.isnan(matrix), BINS, leaf)


def _counts(leaf: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Rows of each class in each leaf of each column. Shapes: leaf (n, F) -> (F, leaves, C)."""
    columns = leaf.shape[1]
    place = (np.arange(columns) * (BINS + 1) + leaf) * classes + target[:, None]  # (n, F)
    return np.bincount(place.ravel(), minlength=columns * (BINS + 1) * classes).reshape(columns, BINS + 1, classes)


def _purity(leaf: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Chance that two rows of a leaf are of one class, over leaves. Shapes: leaf (n, F) -> (F,)."""
    counts = _counts(leaf, target, classes).astype(float)
    return ((counts**2).sum(2) / np.maximum(counts.sum(2), 1)).sum(1) / len(target)


def _alone(leaf: np.ndarray, target: np.ndarray, fold: np.ndarray, classes: int, wanted: Sequence[int]) -> np.ndarray:
    by_fold = [_counts(leaf[fold == k], target[fold == k], classes) for k in range(FOLDS)]
    total = np.sum(by_fold, axis=0)
    scores: dict[int, list[np.ndarray]] = {c: [] for c in wanted}
    for own in by_fold:
        seen = total - own  # (F, leaves, C), of the other folds
        share = seen.sum((0, 1)) / max(seen.sum(), 1)
        rate = (seen + share) / (seen.sum(2, keepdims=True) + 1)
        for c in wanted:
            positive, negative = own[:, :, c].astype(float), (own.sum(2) - own[:, :, c]).astype(float)
            pairs = positive.sum(1) * negative.sum(1)
            if not pairs.all():
                continue
            ahead = rate[:, :, None, c] - rate[:, None, :, c]
            won = (ahead > 1e-12) + 0.5 * (np.abs(ahead) <= 1e-12)
            scores[c].append(np.einsum("fa,fab,fb->f", positive, won, negative, optimize=True) / pairs)
    means = [np.mean(found, axis=0) for found in scores.values() if found]
    return np.mean(means, axis=0) if means else np.full(leaf.shape[1], np.nan)


def _spans(matrix: np.ndarray) -> np.ndarray:
    """Largest less smallest value of each column, 0 where there is none. Shapes: (n, F) -> (F,)."""
    known = ~np.isnan(matrix)
    high, low = (np.where(known, matrix, fill) for fill in (-np.inf, np.inf))
    with np.errstate(invalid="ignore"):
        return np.where(known.any(0), high.max(0, initial=-np.inf) - low.min(0, initial=np.inf), 0.0)


def _in_all_rows(samples: Samples, columns: Columns, places: np.ndarray) -> Iterator[tuple[np.ndarray, Iterator[np.ndarray]]]:
    """Some columns (of `columns`) in all rows, a pass for each modality: which these are, and their values a few rows at a time.

    Shapes: places (K,) int64 -> (k,), and arrays (n, k) float32, NaN where not observed, of a sequence the means over time.
    """
    kinds = np.array([(position, column == STEPS) for position, column in columns.places], dtype=np.int64).reshape(-1, 2)
    for position, counts_steps in np.unique(kinds[places], axis=0):
        wanted = places[(kinds[places] == (position, counts_steps)).all(1)]
        own = np.array([columns.places[place][1] for place in wanted])
        yield wanted, iter([_steps(samples, position)]) if counts_steps else _values(samples, position, own)


def _steps(samples: Samples, position: int) -> np.ndarray:
    """The number of steps of a sequence. Shapes: -> (N, 1) float32, NaN where not observed."""
    steps = samples.lengths[samples.schema.names[position]].astype(np.float32)
    return np.where(samples.observed[:, position], steps, np.float32(np.nan))[:, None]


def _values(samples: Samples, position: int, own: np.ndarray) -> Iterator[np.ndarray]:
    """Some columns of a modality. Shapes: own (k,) int64 -> arrays (n, k) float32 that share the N rows."""
    modality = samples.schema.modalities[position]
    for _, array in samples.in_blocks(modality.name):
        yield _over_time(array[:, :, own]) if modality.kind == "sequence" else array.reshape(len(array), -1)[:, own]

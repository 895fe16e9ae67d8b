"""Mean and spread of features, put together from parts: from each row's own, kept once for all trials, or from blocks of rows.

A part is known by how many values it has, their mean, and the sum of their squared distances from it, all in double precision. Parts are
joined by their means, so that nothing large is subtracted from something large, as it would be with sums of squares.
Source: Chan, Golub, LeVeque 1983, The American Statistician 37:242-247.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.datasets.base import Modality, Samples
from bench.datasets.deferred import Deferred, Stored, blocks

SHARE = 8  # what is kept of each row takes at most one in so many of the bytes of its values


class Moments(NamedTuple):
    """Of K parts. Shapes: (K, S), S the statistics of a modality: its channels or features. The mean of no value is 0, and a mean of
    infinite values is not finite."""

    number: np.ndarray  # of values
    mean: np.ndarray
    scatter: np.ndarray  # sum of squared distances from the mean

    def rows(self, index: np.ndarray) -> Moments:
        return Moments(self.number[index], self.mean[index], self.scatter[index])

    def beside(self, other: Moments) -> Moments:
        """The parts of both."""
        return Moments(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def joined(self) -> Moments:
        """All parts as one. Shapes: (1, S)."""
        count = self.number.sum(0, keepdims=True)
        mean = (self.number * self.mean).sum(0, keepdims=True) / np.maximum(count, 1)
        with np.errstate(invalid="ignore"):  # infinite values
            apart = self.number * (self.mean - mean) ** 2
        return Moments(count, mean, (self.scatter + apart).sum(0, keepdims=True))


def moments(kind: str, array: np.ndarray) -> Moments:
    """Of sealed values, whose NaN is no value: a part for each row, over its time or space; of vectors one part for all rows.

    Shapes: array (K, *shape) -> (K, S), or (1, S).
    """
    axis = 1
    if kind in ("image", "volume"):
        array, axis = array.reshape(*array.shape[:2], -1), 2  # (K, channels, places)
    elif kind == "vector":
        array = array[None]  # (1, K, F)
    count = np.full(np.delete(array.shape, axis), float(array.shape[axis]))
    with np.errstate(invalid="ignore"):  # infinite values: whoever reads the mean refuses them
        mean = array.mean(axis, dtype=np.float64)
        if np.isnan(mean).any():
            there = ~np.isnan(array)
            count = there.sum(axis).astype(np.float64)
            mean = array.sum(axis, dtype=np.float64, where=there) / np.maximum(count, 1)
            apart = np.where(there, array - np.expand_dims(mean, axis), 0.0)
        else:
            apart = array - np.expand_dims(mean, axis)
        scatter = np.einsum("kcp,kcp->kc" if axis == 2 else "ktf,ktf->kf", apart, apart)
    return Moments(count, mean, scatter)


def of_rows(samples: Samples, modality: Modality) -> Moments | None:
    """The moments of each row of loaded samples, a part a row; None where they would not be small beside the values, as of every vector.

    They are kept with the values, and worked out in a pass over these if nobody did that before.
    """
    assert isinstance(samples.values, Stored)
    if not is_small(modality):
        return None
    if modality.name not in samples.values.kept:
        see = collector(samples)
        for rows, array in samples.in_blocks(modality.name):
            see(modality.name, array, rows)
    return samples.values.kept[modality.name]


def collector(samples: Samples) -> Callable[[str, np.ndarray, slice], None]:
    """What keeps the moments of each row with the values of loaded samples when it sees a pass over these (`Samples.looked_over`)."""
    assert isinstance(samples.values, Stored)
    known, kept = {modality.name: modality for modality in samples.schema if is_small(modality)}, samples.values.kept
    found: dict[str, list[Moments]] = {name: [] for name in known}

    def see(name: str, array: np.ndarray, rows: slice) -> None:
        if name in known:
            found[name].append(moments(known[name].kind, array))
            if rows.stop == len(samples):
                kept[name] = Moments(*map(np.concatenate, zip(*found.pop(name), strict=True)))

    return see


def in_blocks(modality: Modality, values: Deferred, rows: np.ndarray) -> Moments:
    """The moments of some rows together, from a pass over them. Shapes: rows (K,) int64 -> (1, S)."""
    nothing = np.zeros((1, _statistics(modality)))
    found = Moments(nothing, nothing, nothing)
    for block in blocks(len(rows), modality.shape):
        found = found.beside(moments(modality.kind, values.take(modality.name, rows[block]))).joined()
    return found


def is_small(modality: Modality) -> bool:
    """Whether the moments of its rows are small beside its values."""
    values = int(np.prod(modality.shape, dtype=np.int64))
    return modality.kind != "vector" and SHARE * 3 * 8 * _statistics(modality) <= 4 * values


def _statistics(modality: Modality) -> int:
    return modality.shape[0] if modality.kind in ("image", "volume") else modality.shape[-1]

"""Rows that hold the same values: what one patient in several parts of a split looks like where nobody said who is who."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.datasets.base import Samples
from bench.datasets.deferred import Deferred

BLOCK = 64  # values of a row that are compared first; rows are compared whole where these agree
CHUNK = 1 << 24  # values that are read at once where rows are compared whole
KNOWN_FROM = 2_000  # different rows that shares of values are taken from, at the most
COLUMNS = 64  # columns of a modality that they are taken from, at the most
MEASURED = 10  # different values from which on a column is a measurement: codes, flags and gaps that agree tell nobody apart
TELLING = 5.0  # bits beyond the number of different rows: by chance 1 row in 32 would have a twin that agrees as far


class Twins(NamedTuple):
    """Rows of a later part that hold the same values of a modality as a row of a part before it, test rows first."""

    modality: str  # its name; empty where whole rows agree
    rows: np.ndarray  # (K,) rows of validation and test that have a twin in an earlier part
    twin: np.ndarray  # (K,) one of these twins each
    test: int  # how many of `rows` are test rows


def numbered(samples: Samples, position: int) -> np.ndarray:
    """A number for each row, equal where rows hold the same values of a modality, padding aside; -1 where it is not observed.

    Shapes: -> (N,) int64. Rows are compared by a block of their values, and whole, by a hash, where that agrees.
    """
    modality, rows = samples.schema.modalities[position], np.flatnonzero(samples.observed[:, position])
    numbers = np.full(len(samples), -1, dtype=np.int64)
    if not len(rows):
        return numbers
    size = math.prod(modality.shape)
    start = 0 if modality.kind == "sequence" else max(0, (size - BLOCK) // 2)  # of a sequence its first step, which is real
    width = min(modality.shape[-1], BLOCK) if modality.kind == "sequence" else BLOCK
    pieces = [array.reshape(len(array), size)[:, start : start + width].copy() for _, array in samples.in_blocks(modality.name)]
    first = _distinct(_bytes(np.concatenate(pieces)[rows]))
    numbers[rows] = first
    if size <= width:
        return numbers
    shared = np.flatnonzero(np.bincount(first)[first] > 1)
    numbers[rows] += len(shared)  # whoever shares no block keeps a number of its own
    hashes: list[bytes] = []
    step = max(1, CHUNK // size)
    for begin in range(0, len(shared), step):
        hashes += [
            hashlib.blake2b(row, digest_size=16).digest() for row in values_of(samples, position, rows[shared[begin : begin + step]])
        ]
    if hashes:
        numbers[rows[shared]] = _distinct(np.frombuffer(b"".join(hashes), dtype="V16"))
    return numbers


def twins(samples: Samples, parts: Mapping[str, np.ndarray], positions: Sequence[int], numbers: np.ndarray) -> Twins | None:
    """Rows of different parts that hold the same values of some modalities; None where there are none that tell.

    Values tell who somebody is where so many different rows, if their columns knew nothing of each other, would hardly hold the same
    measurements twice (`TELLING`). Rows of one group are known to belong together and do not count.
    Shapes: numbers (N,) as `numbered` gives them, of all these modalities together.
    """
    known = np.flatnonzero(numbers >= 0)
    if len(known) < 2:
        return None
    _, first, inverse, sizes = np.unique(numbers[known], return_index=True, return_inverse=True, return_counts=True)
    several = np.flatnonzero(sizes > 1)
    if not len(several):
        return None
    different, owners = known[first], known[first[several]]
    bits = np.sum([_bits(samples, position, owners, different) for position in positions], axis=0)
    tells = np.zeros(len(sizes), dtype=bool)
    tells[several] = bits >= np.log2(len(different)) + TELLING
    marked = np.full(len(samples), -1, dtype=np.int64)
    marked[known] = np.where(tells[inverse.ravel()], numbers[known], -1)
    found: list[tuple[int, int]] = []
    test = 0
    for part, before in (("test", ("train", "valid")), ("valid", ("train",))):
        earlier = np.concatenate([parts[name] for name in before])
        pairs = _matched(samples.groups, marked, parts[part][marked[parts[part]] >= 0], earlier[marked[earlier] >= 0])
        test += len(pairs) * (part == "test")
        found += pairs
    if not found:
        return None
    rows, twin = np.array(found).T
    return Twins(samples.schema.names[positions[0]] if len(positions) == 1 else "", rows, twin, test)


def together(numbers: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers of whole rows, from those of each modality: equal where rows observe the same modalities and agree in all of them."""
    every = np.column_stack(numbers)
    found = _distinct(np.ascontiguousarray(every).view(np.dtype((np.void, every.shape[1] * every.itemsize))).ravel())
    return np.where((every >= 0).any(1), found, -1)


def _bits(samples: Samples, position: int, owners: np.ndarray, different: np.ndarray) -> np.ndarray:
    """How much the measurements of some rows say of who they are: the sum over columns of -log2 of the value's share among different rows.

    Shapes: owners (K,), different (D,) rows -> (K,) float64, 0 where the modality is not observed.
    """
    base = values_of(samples, position, spread(different, KNOWN_FROM))
    columns = spread(np.arange(base.shape[1]), COLUMNS)
    base, bits = np.sort(base[:, columns], axis=0), np.zeros(len(owners))
    step = max(1, CHUNK // int(np.prod(samples.schema.modalities[position].shape)))
    for begin in range(0, len(owners), step):
        own = values_of(samples, position, owners[begin : begin + step])[:, columns]
        for column, values in zip(base.T, own.T, strict=True):
            column = column[~np.isnan(column)]
            if len(np.unique(column)) < MEASURED:
                continue
            times = np.searchsorted(column, values, "right") - np.searchsorted(column, values, "left")
            bits[begin : begin + step] += np.where(np.isnan(values), 0.0, np.log2(len(base) / np.maximum(times, 1)))
    return bits


def _matched(groups: np.ndarray | None, numbers: np.ndarray, own: np.ndarray, earlier: np.ndarray) -> list[tuple[int, int]]:
    """Each of some rows that has a twin among earlier ones of other groups, with the first of these."""
    order = earlier[np.argsort(numbers[earlier], kind="stable")]
    begin, end = (np.searchsorted(numbers[order], numbers[own], side) for side in ("left", "right"))
    found = []
    for row, low, high in zip(own.tolist(), begin.tolist(), end.tolist(), strict=True):
        others = order[low:high] if groups is None else order[low:high][groups[order[low:high]] != groups[row]]
        if len(others):
            found.append((row, int(others[0])))
    return found


def values_of(samples: Samples, position: int, rows: np.ndarray) -> np.ndarray:
    """Some rows of a modality, sealed and flat; of a memory-mapped one nothing else is read. Shapes: -> (K, F) float32."""
    name = samples.schema.names[position]
    values = samples.values.take(name, rows) if isinstance(samples.values, Deferred) else samples.values[name][rows]
    values[~samples.observed[rows, position]] = np.nan
    if name in samples.lengths:
        values[np.arange(values.shape[1]) >= samples.lengths[name][rows][:, None]] = np.nan
    return plain(values.reshape(len(rows), -1))


def plain(values: np.ndarray) -> np.ndarray:
    """A new array of the same numbers, equal ones of the same bytes: one zero, one NaN."""
    values = np.ascontiguousarray(values) + np.float32(0)
    values[np.isnan(values)] = np.nan
    return values


def _bytes(values: np.ndarray) -> np.ndarray:
    """Each row as one value. Shapes: (N, F) float32 -> (N,) void."""
    found = plain(values)
    return found.view(np.dtype((np.void, found.shape[1] * found.itemsize))).ravel()


def _distinct(keys: np.ndarray) -> np.ndarray:
    return np.unique(keys, return_inverse=True)[1].ravel()


def spread(items: np.ndarray, most: int) -> np.ndarray:
    """So many of the items at the most, at equal distances."""
    return items if len(items) <= most else items[np.linspace(0, len(items) - 1, most).astype(np.int64)]

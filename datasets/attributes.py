"""Attributes of samples, such as sex, age band or site: what scores are told apart by, and no method ever sees.

An attribute names a group for each row, as a text; an empty text stands where it is not known. Numbers are groups once they are cut into
bands whose ends somebody stated: ends that follow the data would be others in each part of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from bench.datasets.columns import flat_column, kind_of, text

UNKNOWN = ""  # the group of a row whose attribute is not known
MOST = 1000  # groups of an attribute: with more it tells single samples apart, as an id does
AGES = (50, 65, 80)  # ends of the age bands of adults in hospital, in years


def checked_attributes(given: object, rows: int) -> dict[str, np.ndarray]:
    """Attribute -> group of each row, as texts of one line without blanks at their ends. Shapes: (N,) -> (N,) str.

    Raises: ValueError if a name or a group is no such text, a column has other rows, or names a group for nearly every row.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"attributes must be a mapping, name -> numpy array of texts, got {kind_of(given)}")
    return {text("name of an attribute", name): _groups(str(name), column, rows) for name, column in given.items()}


def _groups(name: str, given: object, rows: int) -> np.ndarray:
    what = f"attribute {name!r}"
    column = flat_column(what, given, rows)
    if column.dtype.kind == "O":
        wrong = next((row for row, cell in enumerate(column.tolist()) if not isinstance(cell, str)), None)
        if wrong is not None:
            raise ValueError(f"{what} must hold texts, '' where it is not known, got {column[wrong]!r} in row {wrong}")
        column = column.astype(str)
    if column.dtype.kind != "U":
        raise ValueError(f"{what} must hold texts, got {column.dtype}; name groups, or cut numbers into bands (bench.datasets.attributes)")
    column = np.char.strip(column) if len(column) else column
    names = np.unique(column).tolist()
    odd = next((group for group in names if not group.isprintable()), None)
    if odd is not None:
        raise ValueError(f"{what} must hold texts of one line without control characters, got {odd!r}")
    if len(names) > MOST:
        raise ValueError(f"{what} must have {MOST} groups at most, got {len(names)}; an id is no attribute, and numbers are cut into bands")
    return column


def bands(numbers: np.ndarray, ends: Sequence[float]) -> np.ndarray:
    """The band of each number, '' where it is NaN; a number that is an end is in the upper band. Shapes: (N,) -> (N,) str.

    Raises: ValueError if the ends do not ascend.

    >>> bands(np.array([40.0, 50.0, np.nan]), (50, 65)).tolist()
    ['below 50', '50 to below 65', '']
    """
    names = band_names(ends)
    numbers = np.asarray(numbers, dtype=np.float64)
    place = np.searchsorted(np.asarray(ends, dtype=np.float64), numbers, "right")
    return np.where(np.isnan(numbers), UNKNOWN, np.array(names)[place])


def band_names(ends: Sequence[float]) -> tuple[str, ...]:
    """What bands with these ends are called, in order. Raises: ValueError if the ends do not ascend."""
    finite = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
    if not finite or not ends or any(a >= b for a, b in pairwise(ends)):
        raise ValueError(f"ends of bands must be numbers that ascend, got {list(ends)}")
    said = [f"{end:.10g}" for end in ends]
    inner = [f"{low} to below {high}" for low, high in pairwise(said)]
    return (f"below {said[0]}", *inner, f"{said[-1]} and over")


def chosen(codes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The name of each code, '' for -1. Shapes: (N,) int64 -> (N,) str."""
    return np.array([*names, UNKNOWN])[codes]

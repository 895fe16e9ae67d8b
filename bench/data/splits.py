"""Which rows are trained on, validated on and tested on: the official split, or one that is drawn; and what a reader must know of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from bench.data.protocol import PARTS
from bench.datasets.base import Classes, Dataset, Labels, Samples
from bench.datasets.columns import flat_column
from bench.errors import UsageError
from bench.seeds import number
from bench.text import and_list, count, listed

VALID_SHARE = TEST_SHARE = 0.15
FARTHEST = 2.0  # a cut by groups is drawn by rows instead where it holds less than its share by this factor, or more
FAR = 1.5  # the shares of a drawn split are said where valid or test holds less by this factor, or more
LEAST_TRAIN, LEAST_OTHER = 0.5, 0.05  # the shares of an official split are said below these


def split_rows(dataset: Dataset, samples: Samples, seed: int) -> dict[str, np.ndarray]:
    """Row indices of each part: the official split, or 70/15/15 by whole groups where there are some, else stratified by class; by chance
    alone where labels or a value are to be told.

    An official split without a validation part gets one from its training part, cut in the same way.
    Raises: UsageError if a class or the number of groups is too small for every part, or an official split names rows that are not
    there, leaves train or test empty, or puts a row, or the rows of a group that the dataset keeps together, into two parts.
    """
    rows, state = _official(dataset, samples), number(seed, "split") % 2**32
    if rows is None:
        everything = np.arange(len(samples))
        rest, test = _cut(dataset, samples, everything, TEST_SHARE, state, spare=2)
        train, valid = _cut(dataset, samples, rest, VALID_SHARE / (1 - TEST_SHARE), state)
        return {"train": np.sort(train), "valid": np.sort(valid), "test": np.sort(test)}
    if "valid" not in rows:
        train, valid = _cut(dataset, samples, rows["train"], VALID_SHARE / (1 - TEST_SHARE), state)
        rows["train"], rows["valid"] = np.sort(train), np.sort(valid)
    return rows


def has_own(dataset: Dataset, samples: Samples) -> bool:
    """Whether the samples bring their split. Raises: UsageError if it is none that can be used."""
    return _official(dataset, samples) is not None


def noticed(dataset: Dataset, samples: Samples, rows: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """What a reader must know of samples and of their split before any number, a clause each; empty where nothing stands out."""
    found = [f"{count(cells, 'sample')} hold no value of {name}, which counts as missing there" for name, cells in samples.blank.items()]
    found += _absent(samples, rows)
    sizes = {part: len(rows[part]) for part in PARTS}
    if sum(sizes.values()) < len(samples):
        found.append(
            f"{count(len(samples) - sum(sizes.values()), 'sample')} of {len(samples)} are in no part of the {dataset.split_kind} split"
        )
    if _is_far(sizes, dataset.parts(samples) is not None):
        shares = and_list([f"{100 * size / sum(sizes.values()):.1f}" for size in sizes.values()])
        found.append(f"train, valid and test hold {shares} % of the samples ({'/'.join(map(str, sizes.values()))})")
    return tuple(found)


def _absent(samples: Samples, rows: Mapping[str, np.ndarray]) -> list[str]:
    """Classes that no sample has, or none of a part; labels that no sample of a part has, or that all have."""
    target, found = samples.schema.target, []
    if isinstance(target, Classes):
        names = np.array(target.classes)
        there = np.bincount(samples.target, minlength=len(names)) > 0
        if not there.all():
            found.append(f"no sample has class {_quoted(names[~there])}")
        for part in PARTS:
            lacks = there & (np.bincount(samples.target[rows[part]], minlength=len(names)) == 0)
            if lacks.any():
                found.append(f"the {part} part has no sample of class {_quoted(names[lacks])}")
    if isinstance(target, Labels):
        names = np.array(target.labels)
        for part in PARTS:
            for answer, word in ((1, "a yes"), (0, "a no")):
                lacks = ~(samples.target[rows[part]] == answer).any(0)
                if lacks.any() and len(rows[part]):
                    found.append(f"the {part} part has no sample with {word} to label {_quoted(names[lacks])}")
    return found


def _quoted(names: np.ndarray) -> str:
    return listed([repr(str(name)) for name in names])


def _is_far(sizes: Mapping[str, int], official: bool) -> bool:
    """Whether the shares of the parts are not what a reader would take for granted."""
    share = {part: size / sum(sizes.values()) for part, size in sizes.items()}
    if official:
        return share["train"] < LEAST_TRAIN or min(share["valid"], share["test"]) < LEAST_OTHER
    return any(not aim / FAR <= share[part] <= aim * FAR for part, aim in (("valid", VALID_SHARE), ("test", TEST_SHARE)))


def _official(dataset: Dataset, samples: Samples) -> dict[str, np.ndarray] | None:
    """Rows of the official split by part, ascending; None where there is none. Raises: UsageError."""
    of = f"the {dataset.split_kind} split of {dataset.title!r}"
    way = "; mend the dataset's `parts`"
    try:
        given = dataset.parts(samples)
    except Exception as error:
        raise UsageError(f"{of} cannot be had: {type(error).__name__}: {' '.join(str(error).split())}{way}") from error
    if given is None:
        return None
    if not isinstance(given, Mapping) or not set(given) <= set(PARTS):
        came = ", ".join(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise UsageError(f"{of} must be rows by part, of {', '.join(PARTS)}, got {came or 'nothing'}{way}")
    rows = {part: np.sort(_rows_of(f"{part} of {of}", given[part], len(samples))) for part in PARTS if part in given}
    for part in ("train", "test"):
        if part not in rows:
            raise UsageError(f"{of} has no {part} part; name its rows in `split`, or return None from `parts` for a split that is drawn")
    for part, found in rows.items():
        if not len(found):
            raise UsageError(f"{of} has an empty {part} part; name its rows" + (", or leave it out" if part == "valid" else ""))
    together = np.concatenate(list(rows.values()))
    if len(np.unique(together)) != len(together):
        raise UsageError(f"{of} puts a row into two parts{way}")
    if samples.groups is not None and dataset.keeps_groups:
        _check_whole_groups(of, samples.groups, rows)
    return rows


def _rows_of(what: str, given: object, size: int) -> np.ndarray:
    """Row indices. Raises: UsageError unless they are whole numbers in [0, size), each once."""
    try:
        rows = flat_column(what, given)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if rows.dtype == bool:
        raise UsageError(f"{what} must be row indices, got a mask; use np.flatnonzero(...)")
    if len(rows) and rows.dtype.kind not in "iu":
        raise UsageError(f"{what} must be row indices, whole numbers, got {rows.dtype}")
    outside = rows[(rows < 0) | (rows >= size)]
    if len(outside):
        raise UsageError(f"{what} must be row indices in [0, {size}), got {outside[0]}")
    if len(np.unique(rows)) != len(rows):
        values, times = np.unique(rows, return_counts=True)
        raise UsageError(f"{what} must name each row once, got row {values[times > 1][0]} {times.max()} times")
    return rows.astype(np.int64)


def _check_whole_groups(of: str, groups: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
    """Raises: UsageError if the rows of a group are in two parts."""
    names, member = np.unique(groups, return_inverse=True)
    there = np.array([np.bincount(member[found], minlength=len(names)) > 0 for found in rows.values()])  # (parts, groups)
    parted = np.flatnonzero(there.sum(0) > 1)
    if len(parted):
        where = and_list([part for part, here in zip(rows, there[:, parted[0]], strict=True) if here])
        raise UsageError(
            f"{of} parts the rows of {len(parted)} of {count(len(names), 'group')}, first {str(names[parted[0]])!r} ({where}); mend the "
            "split, or state keeps_groups = False if rows of a group may be in several parts"
        )


def _cut(dataset: Dataset, samples: Samples, rows: np.ndarray, share: float, state: int, spare: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Cut a share off some rows: whole groups where the dataset keeps them together, else stratified by class where there are classes.

    `spare` is the number of groups that must be left. Raises: UsageError if there are not enough groups, or rows of a class.
    """
    if samples.groups is not None and dataset.keeps_groups:
        return _cut_groups(samples.groups[rows], rows, share, state, spare)
    if not isinstance(samples.schema.target, Classes):
        if len(rows) < spare + 1:
            raise UsageError(f"a split needs {spare + 1} rows, one for each part that it makes, got {len(rows)}; give more rows")
        first, second = train_test_split(rows, test_size=share, random_state=state)
        return first, second
    counts = np.bincount(samples.target[rows], minlength=len(samples.schema.classes))
    smallest = np.where(counts > 0, counts, len(rows) + 1).argmin()
    if counts[smallest] < 2:
        raise UsageError(
            f"a stratified split needs 4 rows of every class, got {counts[smallest]} of {samples.schema.classes[smallest]!r} to cut in two"
        )
    classes, size = int((counts > 0).sum()), math.ceil(share * len(rows))
    if min(size, len(rows) - size) < classes:
        raise UsageError(
            f"each part needs a row of each of {classes} classes, and a stratified split of {len(rows)} rows makes a part of "
            f"{min(size, len(rows) - size)}; give more rows, or an official split (`split`)"
        )
    first, second = train_test_split(rows, test_size=share, stratify=samples.target[rows], random_state=state)
    return first, second


def _cut_groups(groups: np.ndarray, rows: np.ndarray, share: float, state: int, spare: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole groups drawn with equal chances, a share of their number; where that is far from the share of rows, drawn by rows.

    Shapes: groups (N,), rows (N,) -> two arrays that share the N rows.
    """
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) <= spare:
        raise UsageError(f"a split by groups needs {spare + 1} groups, one for each part that it makes, got {len(names)}")
    first, second = next(GroupShuffleSplit(1, test_size=share, random_state=state).split(rows, groups=groups))
    if not 1 / FARTHEST <= len(second) / (share * len(rows)) <= FARTHEST:
        chosen = _by_rows(sizes, share * len(rows), spare, np.random.default_rng(state))
        if abs(sizes[chosen].sum() - share * len(rows)) < abs(len(second) - share * len(rows)):
            taken = np.isin(member, chosen)
            first, second = np.flatnonzero(~taken), np.flatnonzero(taken)
    return rows[first], rows[second]


def _by_rows(sizes: np.ndarray, aim: float, spare: int, generator: np.random.Generator) -> np.ndarray:
    """Groups in random order, each taken if it brings the number of rows nearer to `aim`; at least one, and `spare` are left."""
    order = generator.permutation(len(sizes))
    taken: list[int] = []
    total = 0
    for group in order.tolist():
        if len(taken) < len(sizes) - spare and abs(total + sizes[group] - aim) < abs(total - aim):
            taken.append(group)
            total += sizes[group]
    return np.array(taken or [order[np.abs(sizes[order] - aim).argmin()]])

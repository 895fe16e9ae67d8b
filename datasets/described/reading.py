"""From a description to samples: vectors, sequences, images and arrays, each row where its sample is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.datasets.base import DataError, Kind, Modality, Samples, Schema
from bench.datasets.described.cells import categories, texts_of, values_of
from bench.datasets.described.description import MOST_STEPS, DescribedModality, Description, Target
from bench.datasets.described.rows import (
    Lookup,
    Notes,
    Roster,
    Tables,
    groups_by,
    is_dated,
    lookup,
    one_row,
    order_of,
    parts_of,
    roster_of,
    said_of,
)
from bench.datasets.described.sheets import Sheet, read_sheet
from bench.datasets.described.words import agreeing, count
from bench.datasets.safe import read_image, read_npy, read_npz

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # of red, green and blue: ITU-R BT.601
UNITS = {"s": 1 / 86_400, "min": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0}  # days


@dataclass(frozen=True)
class Read:
    """What a description gave."""

    samples: Samples
    categories: Mapping[str, tuple[tuple[int, int], ...]]  # vector modality -> first column and the one behind the last of each category
    notes: tuple[str, ...]  # what was handled, in words
    columns: Mapping[str, tuple[str, ...]]  # modality -> names of its features, for messages


@dataclass(frozen=True)
class Filled:
    """The values of a modality.

    Shapes: values (N, *shape) float32, NaN where nothing is known; lengths (N,) int64 of a sequence, or None.
    """

    kind: Kind
    values: np.ndarray
    lengths: np.ndarray | None = None
    categories: tuple[tuple[int, int], ...] = ()
    columns: tuple[str, ...] = ()  # names of the features, where columns of a table gave them


def read_samples(description: Description, read: Callable[[Path], Sheet] | None = None) -> Read:
    """The samples of a description. `read` gives the sheet of a path, by default that of its file. Raises: DataError."""
    wanted = _columns_by_file(description)
    tables = Tables(description, read or (lambda path: read_sheet(path, wanted.get(path.name))))
    roster = roster_of(tables)
    found = {modality.name: _filled(tables, roster, modality) for modality in description.modalities}
    groups = None
    if description.groups is not None:
        groups = said_of(tables, roster, description.groups, "its group")
        _check_groups(roster, groups, description)
    elif roster.base is not None:
        groups = roster.owner.astype(str)
    split = None if description.split is None else parts_of(tables, roster, description.split)
    schema = Schema(
        tuple(Modality(one.name, one.letter, found[one.name].kind, found[one.name].values.shape[1:]) for one in description.modalities),
        description.target.asked,
    )
    samples = Samples(
        schema,
        {name: one.values for name, one in found.items()},
        observed=np.stack([~np.isnan(one.values).all(tuple(range(1, one.values.ndim))) for one in found.values()], axis=1),
        target=roster.target,
        ids=roster.names.astype(str),
        groups=groups,
        split=split,
        lengths={name: one.lengths for name, one in found.items() if one.lengths is not None},
        attributes={one.name: groups_by(tables, roster, one) for one in description.attributes},
    )
    categories = {name: one.categories for name, one in found.items() if one.categories}
    return Read(samples, categories, tuple(dict.fromkeys(tables.notes)), {name: one.columns for name, one in found.items() if one.columns})


def _columns_by_file(description: Description) -> dict[str, set[str]]:
    """The columns of each file that are read; two files of one name in two folders share theirs."""
    found: dict[str, set[str]] = {}
    for table in (description.target, description.groups, description.split, *description.attributes):
        if table is not None:
            cells = table.cells if isinstance(table, Target) else (table.column,)
            found.setdefault(Path(table.file).name, set()).update((*cells, description.id_of(table)))
    for one in description.modalities:
        names = {description.id_of(one), one.order, one.column, *(column.name for column in one.columns), *(c.since for c in one.columns)}
        found.setdefault(Path(one.ids or one.file).name, set()).update(names - {""})
    return found


def _check_groups(roster: Roster, groups: np.ndarray, description: Description) -> None:
    """Rows of one id must be in one group."""
    of_id: dict[str, str] = {}
    for owner, group in zip(roster.owner.tolist(), groups.tolist(), strict=True):
        if of_id.setdefault(owner, group) != group:
            raise DataError(
                f"{description.path.name} [groups]: rows of {owner!r} are in the groups {of_id[owner]!r} and {group!r}; one id is in one"
            )


def _filled(tables: Tables, roster: Roster, modality: DescribedModality) -> Filled:
    readers: Mapping[str, Callable[..., Filled]] = {"vector": _vector, "sequence": _sequence, "image": _image, "array": _array}
    return readers[modality.kind](tables, roster, modality)


# ---- vectors


def _vector(tables: Tables, roster: Roster, modality: DescribedModality) -> Filled:
    sheet, id_column = tables.sheet(modality.file), tables.description.id_of(modality)
    if modality.rows == "mean":
        rows = lookup(tables, roster, modality.file, id_column)
        matrix, blocks, names = _columns(sheet.rows(rows.flat), modality, tables.notes)
        several = int((rows.counts > 1).sum())
        if several:
            have = agreeing(several, "has", "have")
            tables.notes.append(f"{modality.name}: {count(several, 'sample')} {have} several rows, of which the mean is read")
        return Filled("vector", _means(matrix, rows).astype(np.float32), categories=blocks, columns=names)
    chosen = one_row(tables, roster, modality)
    has = np.flatnonzero(chosen >= 0)
    matrix, blocks, names = _columns(sheet.rows(chosen[has]), modality, tables.notes)
    values = np.full((len(roster), matrix.shape[1]), np.nan, dtype=np.float32)
    values[has] = matrix
    return Filled("vector", values, categories=blocks, columns=names)


def _columns(sheet: Sheet, modality: DescribedModality, notes: Notes) -> tuple[np.ndarray, tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Columns side by side: numbers, and a column of 0 and 1 for each category; where these stand; names of all.

    Shapes: -> (N, F) float64. Raises: DataError.
    """
    parts, blocks, width = [], [], 0
    called: list[str] = []
    formats = {column.name: column.format for column in modality.columns if column.kind == "date"}
    for column in modality.columns:
        if column.kind == "category":
            codes, names, said = categories(sheet, column)
            part = (codes[:, None] == np.arange(max(1, len(names)))).astype(np.float64)  # (N, K)
            part[codes < 0] = np.nan
            blocks.append((width, width + part.shape[1]))
            called += [f"{column.name} = {name}" for name in names] or [column.name]
            said = [f"{column.name}: {len(names)} categories, a column each", *said]
        else:
            numbers, said = values_of(sheet, column, formats)
            part = numbers[:, None]
            called.append(column.name)
        parts.append(part)
        width += part.shape[1]
        notes += [f"{sheet.file}: {note}" for note in said]
    return np.concatenate(parts, axis=1), tuple(blocks), tuple(called)


def _means(matrix: np.ndarray, rows: Lookup) -> np.ndarray:
    """Means over the rows of each sample, of what is there. Shapes: matrix (R, F) -> (N, F)."""
    sample = np.repeat(np.arange(len(rows.counts)), rows.counts)
    total, filled = np.zeros((2, len(rows.counts), matrix.shape[1]))
    np.add.at(total, sample, np.nan_to_num(matrix))
    np.add.at(filled, sample, ~np.isnan(matrix))
    return np.where(filled > 0, total / np.maximum(filled, 1), np.nan)


# ---- sequences


def _sequence(tables: Tables, roster: Roster, modality: DescribedModality) -> Filled:
    sheet = tables.sheet(modality.file)
    rows = lookup(tables, roster, modality.file, tables.description.id_of(modality))
    used = sheet.rows(rows.flat)
    matrix, _, names = _columns(used, modality, tables.notes)  # (R, F)
    order = order_of(used, modality, tables.notes)
    sample = np.repeat(np.arange(len(roster)), rows.counts)
    place = np.lexsort((np.arange(len(order)), order, sample))
    matrix, order, sample = matrix[place], order[place], sample[place]
    filled = ~np.isnan(matrix).all(1)
    if not filled.all():
        empty = int((~filled).sum())
        are = agreeing(empty, "is no step", "are no steps")
        tables.notes.append(f"{modality.name}: {count(empty, 'row')} without any value {are}")
        matrix, order, sample = matrix[filled], order[filled], sample[filled]
    if modality.resample:
        matrix, sample, step = _resampled(matrix, order, sample, modality, used)
    else:
        twice = int(((np.diff(order) == 0) & (np.diff(sample) == 0)).sum())
        if twice:
            tables.notes.append(
                f"{modality.name}: {count(twice, 'row')} {agreeing(twice, 'has', 'have')} the {modality.order} of another row of the same "
                "id; both are steps, in the file's order"
            )
        step = np.arange(len(sample)) - np.searchsorted(sample, sample)
    length = np.zeros(len(roster), dtype=np.int64)
    np.maximum.at(length, sample, step + 1)
    most = modality.steps or MOST_STEPS
    longest = int(length.max(initial=0))
    if longest > most and not modality.steps:
        raise DataError(f"{modality.name}: an id has {longest} steps, more than {MOST_STEPS}; steps = ... says how many last ones are kept")
    if longest > most:
        cut = int((length > most).sum())
        have = agreeing(cut, "has", "have")
        tables.notes.append(f"{modality.name}: {count(cut, 'sample')} {have} more than {most} steps, of which the last are kept")
    step = step - np.maximum(length - most, 0)[sample]
    kept, length = step >= 0, np.minimum(length, most)
    values = np.full((len(roster), max(1, int(length.max(initial=0))), matrix.shape[1]), np.nan, dtype=np.float32)
    values[sample[kept], step[kept]] = matrix[kept]
    return Filled("sequence", values, np.maximum(length, 1), columns=names)


def _resampled(
    matrix: np.ndarray, order: np.ndarray, sample: np.ndarray, modality: DescribedModality, sheet: Sheet
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows put together to steps of one length, counted from the first row of each sample: values, samples and steps. Raises: DataError."""
    width = _width(modality, sheet)
    begin = order[np.searchsorted(sample, sample)]
    step = np.floor((order - begin) / width + 1e-9).astype(np.int64)
    _, first, cell = np.unique(np.stack([sample, step]), axis=1, return_index=True, return_inverse=True)
    cell = cell.ravel()
    if modality.reduce == "mean":
        counts = np.bincount(cell, minlength=len(first))
        made = _means(matrix, Lookup(np.concatenate([[0], np.cumsum(counts)]), np.arange(len(matrix))))
    else:
        made = np.full((len(first), matrix.shape[1]), np.nan)
        for row, place in enumerate(cell.tolist()):  # later rows over earlier ones, where they hold a value
            made[place] = np.where(np.isnan(matrix[row]), made[place], matrix[row])
    return made, sample[first], step[first]


def _width(modality: DescribedModality, sheet: Sheet) -> float:
    """The length of a step, in days where dates order the rows. Raises: DataError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)?", modality.resample)
    if not match or float(match[1]) <= 0:
        raise DataError(f'{modality.name}: resample must be a time such as "1h", "30min" or "1d", or a number, got {modality.resample!r}')
    is_number = not is_dated(sheet, modality)
    if bool(match[2]) == is_number:
        rule = "a number, for numbers order its rows" if is_number else 'a time such as "1h", for dates order its rows'
        raise DataError(f"{modality.name}: resample must be {rule}, got {modality.resample!r}")
    return float(match[1]) * UNITS.get(match[2] or "d", 1.0)


# ---- images and arrays


def _image(tables: Tables, roster: Roster, modality: DescribedModality) -> Filled:
    sheet, (height, width) = tables.sheet(modality.file), modality.size
    cells = texts_of(sheet.column(modality.column))
    chosen = one_row(tables, roster, modality)
    values = np.full((len(roster), modality.channels, height, width), np.nan, dtype=np.float32)
    for sample in np.flatnonzero(chosen >= 0).tolist():
        row = chosen[sample]
        if cells[row] == "":
            continue
        path = tables.description.place(cells[row])
        if not path.is_file():
            raise DataError(f"{sheet.where(row)}: {modality.column} must be the path of an image, and {cells[row]!r} is not there")
        image = read_image(path, height, width).astype(np.float32) / 255  # (height, width, 3)
        values[sample] = (image @ GREY)[None] if modality.channels == 1 else image.transpose(2, 0, 1)
    return Filled("image", values)


def _array(tables: Tables, roster: Roster, modality: DescribedModality) -> Filled:
    path = tables.path(modality.file)
    if modality.ids:
        array = read_npy(path, mapped=True)
        names = tables.ids_in(modality.ids, tables.description.id_of(modality))
    else:
        found = read_npz(path, ("ids", "values"))
        array, names = found["values"], np.array([str(one).strip() for one in found["ids"].ravel().tolist()], dtype=object)
    if array.ndim < 2 or len(names) != len(array):
        raise DataError(f"{path.name}: values must be (N, ...) of {len(names)} ids, got shape {array.shape}")
    kind = _kind_of(array, modality, path)
    row_of = {one: row for row, one in enumerate(names.tolist())}
    if len(row_of) < len(names):
        twice = next(one for row, one in enumerate(names.tolist()) if row_of[one] != row)
        raise DataError(f"{path.name}: id {twice!r} comes twice; each id has one row")
    rows = np.array([row_of.get(one, -1) for one in roster.owner.tolist()])
    if (rows < 0).all():
        raise DataError(f"{path.name}: no id is one of a sample: here {names[0]!r}, there {roster.owner[0]!r}; write ids alike")
    strangers = len(row_of) - len(np.unique(rows[rows >= 0]))
    if strangers:
        tables.notes.append(f"{path.name}: {strangers} ids have no label, or are not in the target's table")
    values = np.full((len(roster), *array.shape[1:]), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        values[rows >= 0] = array[rows[rows >= 0]]
    infinite = np.isinf(values).any(tuple(range(1, values.ndim)))
    if infinite.any():
        raise DataError(f"{path.name}: values of id {roster.owner[infinite.argmax()]!r} must be finite numbers of float32, or NaN")
    return Filled(kind, values, _lengths(values) if kind == "sequence" else None)


def _kind_of(array: np.ndarray, modality: DescribedModality, path: Path) -> Kind:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path.name}: values must be numbers, got {array.dtype}")
    kinds: Mapping[tuple[int, str], Kind] = {(2, ""): "vector", (3, ""): "sequence", (4, "image"): "image", (5, "volume"): "volume"}
    kind = kinds.get((array.ndim, modality.layout))
    if kind is None:
        raise DataError(
            f'{path.name}: values must be (N, F), (N, T, F), (N, channels, H, W) with layout = "image" or (N, channels, depth, H, W) with '
            f'layout = "volume", got {array.shape} and layout = "{modality.layout}"'
        )
    return kind


def _lengths(values: np.ndarray) -> np.ndarray | None:
    """Steps up to the last that holds a value, or None where none is padded. Shapes: (N, T, F) -> (N,) int64."""
    filled = ~np.isnan(values).all(2)  # (N, T)
    length = np.maximum(1, values.shape[1] - filled[:, ::-1].argmax(1)).astype(np.int64)
    length[~filled.any(1)] = values.shape[1]
    return None if (length == values.shape[1]).all() else length

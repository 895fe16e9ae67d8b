"""Which rows of a table belong to which sample: ids read alike in every table, several rows of an id, labels, groups and parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.datasets.attributes import UNKNOWN, bands
from bench.datasets.base import DataError
from bench.datasets.described.cells import ISO, WHOLE, coded, is_missing, numbers, texts_of, times
from bench.datasets.described.description import Attribute, Column, DescribedModality, Description, Place, Target
from bench.datasets.described.sheets import Sheet
from bench.datasets.described.words import agreeing, count
from bench.datasets.safe import SPLITS

PARTS = {"train": "train", "valid": "valid", "test": "test", **SPLITS, "val": "valid", "dev": "valid"}  # in small letters
Notes = list[str]


def ids_of(sheet: Sheet, column: str, notes: Notes) -> np.ndarray:
    """The id of each row as a text; ids that were read as floats are whole again, whatever else they are is kept.

    Shapes: -> (N,) objects. Raises: DataError if a row has none.
    """
    cells = sheet.column(column)
    if cells.dtype.kind == "f":
        broken = ~np.isnan(cells) & (cells != np.floor(cells))
        if broken.any():
            raise sheet.refuse(int(broken.argmax()), column, "be a text or a whole number", cells[broken.argmax()])
        notes.append(f"{sheet.file}: {column} is stored as decimal numbers, 12.0 is read as 12")
    texts = texts_of(cells)
    empty = np.array([text == "" for text in texts], dtype=bool)
    if empty.any():
        raise DataError(f"{sheet.where(int(empty.argmax()))}: {column}, the id of a row, is empty; fill it in, or leave the row out")
    as_float = [text for text in texts if WHOLE.fullmatch(text)]
    if as_float and all(re.fullmatch(r"[+-]?\d+(\.0+)?", text) for text in texts):
        notes.append(f"{sheet.file}: {len(as_float)} ids of {column} such as sample {as_float[0]!r} are read without .0")
        texts = np.array([WHOLE.sub(r"\1", text) for text in texts], dtype=object)
    return texts


@dataclass(frozen=True)
class Roster:
    """The samples of a dataset. Shapes: of all (N,)."""

    owner: np.ndarray  # the id of each sample: one of several where rows of a table are kept as samples
    names: np.ndarray  # what the sample is called: its id, and the number of its row where one has several
    target: np.ndarray  # as `Samples.target`
    base: Path | None = None  # the table whose rows are samples
    row: np.ndarray | None = None  # of it, the row of each sample; -1: none

    def __len__(self) -> int:
        return len(self.owner)


@dataclass
class Tables:
    """The sheets of a description, each read once, and what was said of them."""

    description: Description
    read: Callable[[Path], Sheet]
    notes: Notes = field(default_factory=list)
    sheets: dict[Path, Sheet] = field(default_factory=dict)
    ids: dict[tuple[Path, str], np.ndarray] = field(default_factory=dict)

    def path(self, file: str) -> Path:
        path = self.description.place(file)
        return path.resolve() if path.exists() else path

    def sheet(self, file: str) -> Sheet:
        path = self.path(file)
        if path not in self.sheets:
            self.sheets[path] = sheet = self.read(path)
            self.notes += [f"{sheet.file}: {note}" for note in sheet.notes]
        return self.sheets[path]

    def ids_in(self, file: str, column: str) -> np.ndarray:
        key = (self.path(file), column)
        if key not in self.ids:
            self.ids[key] = ids_of(self.sheet(file), column, self.notes)
        return self.ids[key]


def roster_of(tables: Tables) -> Roster:
    """The samples: the ids of the target's table that have a label, or rows of a table that are kept as samples.

    Raises: DataError if a label is missing and may not be, none is left, or rows of one id have two labels.
    """
    description, notes = tables.description, tables.notes
    target, sheet = description.target, tables.sheet(description.target.file)
    ids = tables.ids_in(target.file, description.id_of(target))
    labels, known, said = _told(sheet, target)
    notes += [f"{sheet.file}: {note}" for note in said]
    if not known.all():
        if target.missing == "refuse":
            row = int((~known).argmax())
            raise DataError(
                f"{sheet.where(row)}: {target.called} of {ids[row]!r}, the label, is missing; fill it in, or write "
                'missing = "drop" in [target]'
            )
        dropped = int((~known).sum())
        notes.append(f"{sheet.file}: {count(dropped, 'row')} without {target.called} {agreeing(dropped, 'is', 'are')} dropped")
    kept = np.flatnonzero(known)
    if not len(kept):
        raise DataError(f"{sheet.file} has no row with a label; {target.called} is missing in all {len(labels)}")
    kept_as_samples = [one for one in description.modalities if one.rows == "samples"]
    base = {tables.path(one.file): one for one in kept_as_samples}
    if len(base) > 1:
        files = " and ".join(one.file for one in base.values())
        raise DataError(f"{description.path.name}: rows of one table alone may be kept as samples, got {files}; reduce the others")
    if not base:
        first = _one_label(sheet, ids, labels, kept, target.called, notes)
        return Roster(ids[first], ids[first], labels[first])
    path, modality = next(iter(base.items()))
    for one in description.modalities:
        if tables.path(one.file) == path and (one.rows not in ("one", "samples") or one.kind == "sequence"):
            raise DataError(
                f"{description.path.name} modality {one.name!r}: the rows of {one.file} are samples (modality {modality.name!r}), so they "
                "cannot be put together here as well; leave rows out, or take another file"
            )
    if path == tables.path(target.file):
        return Roster(ids[kept], _numbered(ids[kept]), labels[kept], path, kept)
    first = _one_label(sheet, ids, labels, kept, target.called, notes)
    rows_of = _rows_by_id(tables.ids_in(modality.file, description.id_of(modality)))
    order = order_of(tables.sheet(modality.file), modality, notes) if modality.order else None
    owner: list[str] = []
    places: list[int] = []
    label: list[np.ndarray] = []
    for place in first:
        found = rows_of.get(ids[place], np.array([-1]))
        found = found if order is None else found[np.argsort(order[found], kind="stable")]
        owner += [ids[place]] * len(found)
        label += [labels[place]] * len(found)
        places += found.tolist()
    names = _numbered(np.array(owner, dtype=object))
    return Roster(
        np.array(owner, dtype=object),
        names,
        np.array(label, dtype=labels.dtype).reshape(len(label), *labels.shape[1:]),
        path,
        np.array(places),
    )


YES_NO = (("0", "1"), ("no", "yes"), ("false", "true"), ("False", "True"), ("No", "Yes"), ("n", "y"))  # no first


def _told(sheet: Sheet, target: Target) -> tuple[np.ndarray, np.ndarray, Notes]:
    """What is told of each row, and whether anything is. Shapes: -> as `Samples.target`, (N,) bool. Raises: DataError."""
    if target.kind == "value":
        found, said = numbers(sheet, Column(target.column))
        return found, np.asarray(np.isfinite(found)), said
    if target.kind == "classes":
        codes, said = coded(sheet, target.column, target.classes)
        return codes, codes >= 0, said
    columns, notes = [], []
    for name in target.labels:
        texts = {text for text in texts_of(sheet.column(name)).tolist() if not is_missing(text)}
        levels = next((pair for pair in YES_NO if texts <= set(pair)), YES_NO[0])
        codes, said = coded(sheet, name, levels)
        columns.append(codes)
        notes += said
    answers = np.stack(columns, axis=1)
    return answers, np.asarray((answers >= 0).any(1)), notes


def _one_label(sheet: Sheet, ids: np.ndarray, labels: np.ndarray, kept: np.ndarray, column: str, notes: Notes) -> np.ndarray:
    """The first row of each id that has a label; further ones must say the same. Shapes: -> (K,) int64. Raises: DataError."""
    first: dict[str, int] = {}
    for row in kept.tolist():
        before = first.setdefault(ids[row], row)
        if not np.array_equal(labels[row], labels[before]):
            raise DataError(
                f"{sheet.where(row)}: {column} of {ids[row]!r} is another one than in {sheet.unit} {sheet.lines[before]}; an id has one "
                'label, unless rows = "samples" of a modality of this file keeps its rows as samples'
            )
    if len(first) < len(kept):
        notes.append(f"{sheet.file}: {len(kept) - len(first)} further rows of an id repeat its {column}")
    return np.array(list(first.values()), dtype=np.int64)


def _numbered(owner: np.ndarray) -> np.ndarray:
    """Names of samples: the id, and `#2` for the second of one id."""
    of_id: Counter[str] = Counter(owner.tolist())
    seen: Counter[str] = Counter()
    names = []
    for one in owner.tolist():
        seen[one] += 1
        names.append(one if of_id[one] == 1 else f"{one}#{seen[one]}")
    return np.array(names, dtype=object)


def _rows_by_id(ids: np.ndarray) -> Mapping[str, np.ndarray]:
    found: dict[str, list[int]] = {}
    for row, one in enumerate(ids.tolist()):
        found.setdefault(one, []).append(row)
    return {one: np.array(rows) for one, rows in found.items()}


def order_of(sheet: Sheet, modality: DescribedModality, notes: Notes) -> np.ndarray:
    """What orders the rows of an id, numbers or days. Shapes: -> (N,) float64. Raises: DataError if a row has none."""
    name = modality.order
    found, said = times(sheet, name, modality.order_format) if is_dated(sheet, modality) else numbers(sheet, Column(name))
    notes += [f"{sheet.file}: {note}" for note in said]
    if np.isnan(found).any():
        raise DataError(f"{sheet.where(int(np.isnan(found).argmax()))}: {name}, which orders the rows of an id, is missing; fill it in")
    return found


def is_dated(sheet: Sheet, modality: DescribedModality) -> bool:
    """Whether dates order the rows of an id, and not numbers: the file stores times, the description a format, or a date comes first."""
    cells = sheet.column(modality.order)
    if modality.order_format or cells.dtype.kind != "O":
        return bool(modality.order_format) or cells.dtype.kind == "M"
    return bool(ISO.fullmatch(next((text for text in cells.tolist() if not is_missing(text)), "")))


@dataclass(frozen=True)
class Lookup:
    """Rows of a table for each sample, in their order: `flat[start[i]:start[i + 1]]` are those of sample i.

    Shapes: start (N + 1,), flat (R,).
    """

    start: np.ndarray
    flat: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.start)


def lookup(tables: Tables, roster: Roster, file: str, id_column: str) -> Lookup:
    """The rows of a table that each sample has; where the table's rows are the samples, its own. Ids that are no sample are counted.

    Raises: DataError if no id is one of a sample, or one is but for its writing.
    """
    sheet = tables.sheet(file)
    if roster.base is not None and tables.path(file) == roster.base:
        assert roster.row is not None
        has = roster.row >= 0
        return Lookup(np.concatenate([[0], np.cumsum(has)]), roster.row[has])
    ids = tables.ids_in(file, id_column)
    rows_of = _rows_by_id(ids)
    known = set(roster.owner.tolist())
    strangers = [one for one in rows_of if one not in known]
    _check_writing(sheet, ids, strangers, known, id_column)
    if len(strangers) == len(rows_of):
        raise DataError(
            f"{sheet.file}: no {id_column} is the id of a sample: here {ids[0]!r}, there {roster.owner[0]!r}; name the column, or write "
            "ids alike"
        )
    if strangers:
        tables.notes.append(
            f"{sheet.file}: {len(strangers)} ids such as sample {strangers[0]!r} have no label, or are not in the target's table"
        )
    none = np.zeros(0, dtype=np.int64)
    found = [rows_of.get(one, none) for one in roster.owner.tolist()]
    return Lookup(np.concatenate([[0], np.cumsum([len(rows) for rows in found])]), np.concatenate(found).astype(np.int64))


def _check_writing(sheet: Sheet, ids: np.ndarray, strangers: list[str], known: set[str], column: str) -> None:
    """Refuse an id that is one of a sample but for leading zeros, capital letters or blanks: its rows would count as missing."""
    spelt = {_plain(one): one for one in known}
    for one in strangers:
        other = spelt.get(_plain(one))
        if other is not None:
            row = int((ids == one).argmax())
            raise DataError(f"{sheet.where(row)}: {column} {one!r} is no sample, but {other!r} is; write ids alike in every file")


def _plain(one: str) -> str:
    return re.sub(r"\s+", "", one).casefold().lstrip("0") or "0"


def said_of(tables: Tables, roster: Roster, place: Place, what: str) -> np.ndarray:
    """What a column says of each sample; several rows of an id must say the same. Shapes: -> (N,) str. Raises: DataError."""
    sheet = tables.sheet(place.file)
    cells = texts_of(sheet.column(place.column))
    rows = lookup(tables, roster, place.file, tables.description.id_of(place))
    found = []
    for sample, (start, end) in enumerate(zip(rows.start[:-1], rows.start[1:], strict=True)):
        own = rows.flat[start:end]
        if not len(own):
            raise DataError(f"{sheet.file} has no row of {roster.owner[sample]!r}, so {what} is not known; add it, or drop its label")
        for row in own.tolist():
            if cells[row] == "":
                raise DataError(f"{sheet.where(row)}: {place.column} of {roster.owner[sample]!r}, {what}, is empty; fill it in")
            if cells[row] != cells[own[0]]:
                raise DataError(
                    f"{sheet.where(row)}: {place.column} of {roster.owner[sample]!r} is {cells[row]!r}, and {cells[own[0]]!r} before"
                )
        found.append(cells[own[0]])
    return np.array(found, dtype=str)


MOST_NUMBERS = 12  # different numbers that name groups; more are a measurement


def groups_by(tables: Tables, roster: Roster, attribute: Attribute) -> np.ndarray:
    """The group of each sample by an attribute, '' where it is not known. Shapes: -> (N,) str.

    Raises: DataError if rows of one id name two groups, or a column of numbers has no bands.
    """
    sheet = tables.sheet(attribute.file)
    texts = texts_of(sheet.column(attribute.column))
    if attribute.bands:
        found, said = numbers(sheet, Column(attribute.column))
        tables.notes += [f"{sheet.file}: {note}" for note in said]
        cells = bands(found, attribute.bands)
    else:
        cells = np.array([UNKNOWN if is_missing(text) else str(text).strip() for text in texts.tolist()], dtype=str)
        different = set(cells.tolist()) - {UNKNOWN}
        if len(different) > MOST_NUMBERS and all(re.fullmatch(r"[+-]?\d+([.,]\d+)?", text) for text in different):
            raise DataError(
                f"{sheet.file}: attribute {attribute.name!r} must name groups, {attribute.column} holds {len(different)} different "
                "numbers; cut them with bands = [50, 65, 80], in Python with pandas.cut"
            )
    rows = lookup(tables, roster, attribute.file, tables.description.id_of(attribute))
    made = []
    for sample, (start, end) in enumerate(zip(rows.start[:-1], rows.start[1:], strict=True)):
        own = dict.fromkeys(cells[row] for row in rows.flat[start:end].tolist() if cells[row] != UNKNOWN)
        if len(own) > 1:
            came = " and ".join(map(repr, map(str, list(own)[:2])))
            raise DataError(
                f"{sheet.file}: rows of {roster.owner[sample]!r} are in the groups {came} of attribute {attribute.name!r}; one id is in one"
            )
        made.append(str(next(iter(own), UNKNOWN)))
    return np.array(made, dtype=str)


def parts_of(tables: Tables, roster: Roster, place: Place) -> np.ndarray:
    """The official part of each sample. Shapes: -> (N,) str. Raises: DataError on another word than train, valid and test."""
    said = said_of(tables, roster, place, "its part")
    for one in np.unique(said).tolist():
        if one.lower() not in PARTS:
            raise DataError(f"{Path(place.file).name}: {place.column} must be one of {', '.join(PARTS)}, got {one!r}")
        if one != PARTS[one.lower()]:
            tables.notes.append(f"{Path(place.file).name}: part {one!r} read as {PARTS[one.lower()]}")
    return np.array([PARTS[one.lower()] for one in said.tolist()])


def one_row(tables: Tables, roster: Roster, modality: DescribedModality) -> np.ndarray:
    """The row of each sample, by the rule of the modality; -1: it has none. Shapes: -> (N,) int64. Raises: DataError."""
    sheet = tables.sheet(modality.file)
    rows = lookup(tables, roster, modality.file, tables.description.id_of(modality))
    flat = rows.flat
    if modality.rows in ("last", "first"):
        order = order_of(sheet, modality, tables.notes)
        sample = np.repeat(np.arange(len(roster)), rows.counts)
        flat = flat[np.lexsort((np.arange(len(flat)), order[flat], sample))]
    several = np.flatnonzero(rows.counts > 1)
    if len(several) and modality.rows == "one":
        begin = rows.start[several[0]]
        _refuse_several(sheet, tables.description.id_of(modality), roster.owner[several[0]], flat[begin : begin + 2])
    if len(several):
        tables.notes.append(
            f"{modality.name}: {count(len(several), 'sample')} {agreeing(len(several), 'has', 'have')} several rows, of which the "
            f"{modality.rows} by {modality.order} is read"
        )
    chosen = np.full(len(roster), -1, dtype=np.int64)
    has = rows.counts > 0
    chosen[has] = flat[(rows.start[1:] - 1 if modality.rows == "last" else rows.start[:-1])[has]]
    return chosen


def _refuse_several(sheet: Sheet, column: str, owner: str, rows: np.ndarray) -> None:
    raise DataError(
        f'{sheet.where(int(rows[1]))}: {column} {owner!r} comes twice, first in {sheet.unit} {sheet.lines[rows[0]]}; rows = "last", '
        '"first", "mean" or "samples" says what of several rows counts'
    )

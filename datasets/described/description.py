"""The description of a user's own data: a TOML file read into values, each key checked.

Paths in it are relative to its folder; docs/use/tables.md explains the keys. What is wrong is a `DataError` with the file, the place in it,
the rule, and what came.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from bench.datasets.attributes import band_names
from bench.datasets.base import DataError
from bench.datasets.safe import read_text
from bench.datasets.target import Classes, Labels, Value
from bench.datasets.target import Target as AnyTarget

As = Literal["number", "category", "date", "ordered"]
KINDS = ("vector", "sequence", "image", "array")  # of a described modality; the shape of an array says which kind its values are
AS = ("number", "category", "date", "ordered")
ROWS = ("one", "last", "first", "mean", "samples")
REDUCES = ("mean", "last")
LIMITS = ("half", "limit", "missing", "refuse")  # what a text such as "<0.5" stands for: 0.25, 0.5, nothing, an error
TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".xlsx", ".dta", ".sav", ".sas7bdat", ".xpt")
ARRAYS = (".npy", ".npz")
MODALITY_KEYS = {  # kind -> keys that it alone, with others of this table, may have
    "vector": ("file", "rows", "order", "order_format", "indicators", "columns"),
    "sequence": ("file", "order", "order_format", "steps", "resample", "reduce", "columns"),
    "image": ("file", "rows", "order", "order_format", "column", "size", "channels"),
    "array": ("file", "ids", "layout", "indicators"),
}
AS_KEYS = {
    "number": ("missing", "decimal", "thousands", "below", "above"),
    "category": ("missing",),
    "date": ("missing", "format", "since"),
    "ordered": ("missing", "levels"),
}
MOST_STEPS = 4096


@dataclass(frozen=True)
class Column:
    """A column that is read, and as what."""

    name: str
    kind: As = "number"
    missing: tuple[str, ...] = ()  # cells that are missing, beside empty ones and the usual words
    decimal: str = "."  # the decimal sign of a number
    thousands: str = ""  # the sign between thousands, if numbers have one
    below: str = "refuse"  # what "<0.5" stands for, one of LIMITS
    above: str = "refuse"  # what ">9" stands for
    format: str = ""  # of a date, as `datetime.strptime` reads it; empty: ISO 8601
    since: str = ""  # a date counts days since this column of the same table, or since an ISO date
    levels: tuple[str, ...] = ()  # of an ordered column, from 0 on


@dataclass(frozen=True)
class Target:
    """Where what is to be told of a sample stands: its class, a value, or yes or no to labels. The rows of this table are the samples."""

    file: str
    column: str = ""  # of a class or a value
    classes: tuple[str, ...] = ()
    missing: str = "refuse"  # or "drop": a row without a label
    id: str = ""  # the column that names a sample, where this table calls it otherwise
    kind: str = "classes"  # or "value", "labels"
    unit: str = ""  # of a value
    labels: tuple[str, ...] = ()  # columns of yes or no, a label each; an empty cell is not known

    @property
    def asked(self) -> AnyTarget:
        """What a schema says of it. Raises: ValueError."""
        if self.kind == "value":
            return Value(self.column, self.unit)
        return Labels(self.labels) if self.kind == "labels" else Classes(self.classes)

    @property
    def cells(self) -> tuple[str, ...]:
        """The columns that it is read from."""
        return self.labels if self.kind == "labels" else (self.column,)

    @property
    def called(self) -> str:
        """It, in a message."""
        return ", ".join(self.cells)


@dataclass(frozen=True)
class Place:
    """A column of a table that says something of every sample: its group, or its part."""

    file: str
    column: str
    id: str = ""


@dataclass(frozen=True)
class Attribute:
    """A column that names a group of each sample, such as its sex; scores are told apart by it and no method sees it."""

    name: str
    file: str
    column: str
    id: str = ""
    bands: tuple[float, ...] = ()  # ends of the bands that its numbers are cut into; without any its cells name the groups


@dataclass(frozen=True)
class DescribedModality:
    """A modality of a description, as its kind is read from a file."""

    name: str
    letter: str
    kind: str  # one of KINDS
    file: str
    id: str = ""  # the column that names a sample, where this table calls it otherwise
    columns: tuple[Column, ...] = ()  # of a vector or a sequence
    rows: str = "one"  # several rows of an id: one of ROWS
    order: str = ""  # the column that orders the rows of an id
    order_format: str = ""  # of the dates in it; empty: numbers, or dates in ISO 8601
    indicators: bool = True  # columns with single gaps get a column that says so, chosen on the training rows
    steps: int = 0  # of a sequence: at most so many last ones are kept; 0: as many as the longest has
    resample: str = ""  # of a sequence: the length of a step, "1h" or "30min" of dates, "0.5" of numbers
    reduce: str = "mean"  # rows within one step: one of REDUCES
    column: str = ""  # of images: where their paths stand
    size: tuple[int, int] = (64, 64)  # of images: height and width
    channels: int = 3  # of images: 3 colours, or 1 of grey
    ids: str = ""  # of a .npy array: the table that names its rows, in order
    layout: str = ""  # of an array: "image" for (N, channels, H, W), "volume" with a depth


@dataclass(frozen=True)
class Description:
    """A dataset of a user's own files. `path` is where the description stands, and files are relative to its folder."""

    path: Path
    id: str
    target: Target
    modalities: tuple[DescribedModality, ...]
    title: str = ""
    source: str = ""
    licence: str = ""
    public_ids: bool = False  # its ids are row numbers or published names; otherwise only salted hashes of them are published
    restricted: bool = False  # its owners forbid publishing what is derived of it, row by row
    groups: Place | None = None
    split: Place | None = None
    attributes: tuple[Attribute, ...] = ()
    public_attributes: bool = False  # attributes of test rows, and scores by their groups, may be published

    def place(self, file: str) -> Path:
        """Where a file of it lies."""
        try:
            return self.path.parent / Path(file).expanduser()
        except RuntimeError:  # `~name` of nobody: a folder is called so
            return self.path.parent / file

    def id_of(self, table: Target | Place | Attribute | DescribedModality) -> str:
        """The column that names a sample in a table."""
        return table.id or self.id


@dataclass
class Section:
    """A table of a description, whose keys are taken out one by one; `close` refuses what nobody took."""

    where: str  # file and place, for messages
    given: Mapping[str, Any]
    known: list[str] = field(default_factory=list)

    def take(self, key: str, default: Any = None) -> Any:
        self.known.append(key)
        return self.given.get(key, default)

    def refuse(self, key: str, rule: str, came: object) -> DataError:
        return DataError(f"{self.where}: {key} must be {rule}, got {came!r}")

    def keys_of(self, kind: str, by_kind: Mapping[str, Sequence[str]], words: str) -> Sequence[str]:
        """The keys of a kind. Raises: DataError if one is given that other kinds have and this one has not."""
        for key in self.given:
            others = [other for other, keys in by_kind.items() if key in keys]
            if others and kind not in others:
                raise DataError(f"{self.where}: {key} is for what is {words} {' or '.join(others)}, this is {words} {kind}; leave it out")
        return by_kind[kind]

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without `default` it must be there and not empty."""
        value = self.take(key, default)
        if value is None:
            raise DataError(f'{self.where} has no {key}; write {key} = "..."')
        if not isinstance(value, str) or (default is None and not value.strip()) or (value and not value.isprintable()):
            raise self.refuse(key, "a text of one line", value)
        return value

    def one_of(self, key: str, known: Sequence[str], default: str) -> str:
        value = self.take(key, default)
        if value not in known or not isinstance(value, str):
            raise self.refuse(key, f"one of {', '.join(known)}{_hint(value, known)}", value)
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None, least: int = 0) -> tuple[str, ...]:
        """Different texts; whole numbers count as texts."""
        value = self.take(key, default)
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
            raise self.refuse(key, "a list of texts", value)
        found = tuple(str(item).strip() for item in items)
        if len(found) < least or len(set(found)) != len(found):
            raise self.refuse(key, f"a list of {least} texts at least, each once" if least else "a list of texts, each once", value)
        return found

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false", value)
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.take(key, default)
        if type(value) is not int or not (least <= value <= most or value == default):
            raise self.refuse(key, f"a whole number from {least} to {most}", value)
        return value

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.take(key, {})
        if not isinstance(value, Mapping):
            raise self.refuse(key, "a table", value)
        return value

    def close(self) -> None:
        """Raises: DataError if a key is left."""
        for key in self.given:
            if key not in self.known:
                raise DataError(f"{self.where} has no key {key!r}{_hint(key, self.known)}; known: {', '.join(self.known)}")


def _hint(value: object, known: Sequence[str]) -> str:
    close = get_close_matches(str(value), known, n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def read_description(path: str | Path) -> Description:
    """The description that a file holds. Files it names are not looked at. Raises: DataError."""
    path = Path(path)
    text = read_text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path.name} is no TOML: {error}") from None
    return description_of(data, path)


def description_of(data: Mapping[str, Any], path: Path) -> Description:
    """The description that a parsed file holds. Raises: DataError."""
    top = Section(path.name, data)
    target = _target(Section(f"{path.name} [target]", top.table("target")))
    id_ = top.text("id")
    modalities = top.take("modality", [])
    if not isinstance(modalities, list) or not modalities or not all(isinstance(one, Mapping) for one in modalities):
        raise DataError(f"{path.name} must have a table [[modality]] for each modality, got {modalities!r}"[:300])
    found: list[DescribedModality] = []
    for number, one in enumerate(modalities, start=1):
        where = f"{path.name} modality {str(one.get('name', number))!r}"
        found.append(_modality(Section(where, one), target, [other.letter for other in found]))
    for what, names in (("name", [one.name for one in found]), ("letter", [one.letter for one in found])):
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise DataError(f"{path.name}: {what} {twice!r} is of two modalities; a {what} is of one alone")
    description = Description(
        path=path,
        id=id_,
        target=target,
        modalities=tuple(found),
        title=top.text("title", "") or path.stem,
        source=top.text("source", ""),
        licence=top.text("licence", ""),
        public_ids=top.flag("public_ids", False),
        restricted=top.flag("restricted", False),
        groups=_place(path, top, "groups"),
        split=_place(path, top, "split"),
        attributes=_attributes(path, top, target.file),
        public_attributes=top.flag("public_attributes", False),
    )
    if description.public_attributes and description.restricted:
        raise DataError(f"{path.name}: public_attributes and restricted exclude each other; what is restricted is published of no row")
    top.close()
    return description


def _target(section: Section) -> Target:
    kind = section.one_of("kind", ("classes", "value", "labels"), "classes")
    target = Target(
        file=_file(section, TABLES),
        column="" if kind == "labels" else section.text("column"),
        classes=section.texts("classes", (), least=2) if kind == "classes" else (),
        kind=kind,
        unit=section.text("unit", "") if kind == "value" else "",
        labels=section.texts("labels", (), least=1) if kind == "labels" else (),
        missing=section.one_of("missing", ("refuse", "drop"), "refuse"),
        id=section.text("id", ""),
    )
    section.close()
    return target


def _place(path: Path, top: Section, key: str) -> Place | None:
    given = top.table(key)
    if not given:
        return None
    section = Section(f"{path.name} [{key}]", given)
    place = Place(_file(section, TABLES), section.text("column"), section.text("id", ""))
    section.close()
    return place


def _attributes(path: Path, top: Section, usual: str) -> tuple[Attribute, ...]:
    """Tables [attributes.NAME], or a list of columns of the target's table."""
    given = top.take("attributes", {})
    if isinstance(given, Mapping):
        return tuple(_attribute(f"{path.name} [attributes.{name}]", name, table, usual) for name, table in given.items())
    names = top.texts("attributes", ())
    return tuple(Attribute(name, usual, name) for name in names)


def _attribute(where: str, name: str, given: object, usual: str) -> Attribute:
    if not isinstance(given, Mapping):
        raise DataError(f"{where} must be a table with file, column, id or bands, got {given!r}")
    section = Section(where, given)
    ends = section.take("bands", [])
    try:
        if ends != []:
            band_names(ends if isinstance(ends, list) else [])
    except ValueError:
        raise section.refuse("bands", "a list of numbers that ascend, such as [50, 65, 80]", ends) from None
    found = Attribute(name, _file(section, TABLES, usual), section.text("column", name), section.text("id", ""), tuple(ends))
    section.close()
    return found


def _file(section: Section, endings: Sequence[str], default: str | None = None) -> str:
    file = section.text("file", default)
    if not file.lower().endswith(tuple(endings)):
        raise section.refuse("file", f"a file that ends in one of {' '.join(endings)}", file)
    return file


def _modality(section: Section, target: Target, taken: Sequence[str]) -> DescribedModality:
    name, kind = section.text("name"), section.one_of("kind", KINDS, "")
    own = section.keys_of(kind, MODALITY_KEYS, "of kind")
    modality = DescribedModality(
        name=name,
        letter=_letter(section, name, taken),
        kind=kind,
        file=_file(section, ARRAYS if kind == "array" else TABLES, target.file if kind == "image" else None),
        id=section.text("id", ""),
        columns=_columns(section) if kind in ("vector", "sequence") else (),
        rows=section.one_of("rows", ROWS, "one") if "rows" in own else "one",
        order=section.text("order", None if kind == "sequence" else "") if "order" in own else "",
        order_format=section.text("order_format", "") if "order" in own else "",
        indicators=section.flag("indicators", True) if "indicators" in own else False,
        steps=section.whole("steps", 0, 1, MOST_STEPS) if kind == "sequence" else 0,
        resample=section.text("resample", "") if kind == "sequence" else "",
        reduce=section.one_of("reduce", REDUCES, "mean") if kind == "sequence" else "mean",
        column=section.text("column") if kind == "image" else "",
        size=_size(section) if kind == "image" else (64, 64),
        channels=_channels(section) if kind == "image" else 3,
        ids=section.text("ids", "") if kind == "array" else "",
        layout=section.one_of("layout", ("", "image", "volume"), "") if kind == "array" else "",
    )
    section.close()
    _check_rules(section, modality)
    return modality


def _check_rules(section: Section, modality: DescribedModality) -> None:
    """What keys say together. Raises: DataError."""
    if modality.rows in ("last", "first") and not modality.order:
        raise DataError(f'{section.where}: rows = "{modality.rows}" needs order, the column that orders the rows of an id')
    if modality.kind == "image" and modality.rows == "mean":
        raise DataError(f"{section.where}: images have no mean; rows must be one of one, last, first, samples")
    if modality.kind == "sequence":
        wrong = next((column for column in modality.columns if column.kind == "category"), None)
        if wrong is not None:
            raise DataError(f"{section.where}: column {wrong.name!r} of a sequence must be a number, a date or ordered; give it levels")
    if modality.rows == "mean":
        wrong = next((column for column in modality.columns if column.kind == "category"), None)
        if wrong is not None:
            raise DataError(f'{section.where}: category {wrong.name!r} has no mean; take rows = "last", or leave the column out')
    if modality.kind == "array" and modality.file.lower().endswith(".npy") != bool(modality.ids):
        rule = "a .npy file needs ids, the table that names its rows" if not modality.ids else "a .npz file holds its ids; leave ids out"
        raise DataError(f"{section.where}: {rule}")
    if modality.ids and not modality.ids.lower().endswith(TABLES):
        raise section.refuse("ids", f"a file that ends in one of {' '.join(TABLES)}", modality.ids)


def _letter(section: Section, name: str, taken: Sequence[str]) -> str:
    """A capital letter; by default the first of the name that nobody has."""
    free = [sign for sign in [*name.upper(), *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"] if re.fullmatch("[A-Z]", sign) and sign not in taken]
    letter = section.text("letter", free[0] if free else None)
    if len(letter) != 1 or not letter.isupper():
        raise section.refuse("letter", "one capital letter", letter)
    return letter


def _size(section: Section) -> tuple[int, int]:
    value = section.take("size", [64, 64])
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(type(side) is int and 1 <= side <= 2048 for side in value):
        raise section.refuse("size", "height and width, whole numbers from 1 to 2048", value)
    return value[0], value[1]


def _channels(section: Section) -> int:
    value = section.take("channels", 3)
    if value not in (1, 3) or type(value) is not int:
        raise section.refuse("channels", "3 (colours) or 1 (grey)", value)
    return value


def _columns(section: Section) -> tuple[Column, ...]:
    given = section.table("columns")
    if not given:
        raise DataError(f'{section.where} has no columns; name what is read in [modality.columns], age = "number"')
    return tuple(_column(section.where, name, value) for name, value in given.items())


def _column(where: str, name: str, value: object) -> Column:
    where = f"{where}, column {name!r}"
    if not isinstance(value, str | Mapping):
        raise DataError(f'{where} must be "number", "category", "date", "ordered" or a table with `as`, got {value!r}')
    section = Section(where, {"as": value} if isinstance(value, str) else value)
    kind = section.take("as", "number")
    if kind not in AS:
        raise section.refuse("as", f"one of {', '.join(AS)}{_hint(kind, AS)}", kind)
    known = section.keys_of(kind, AS_KEYS, "read as")
    column = Column(
        name=name,
        kind=kind,
        missing=section.texts("missing", ()),
        decimal=section.one_of("decimal", (".", ","), ".") if "decimal" in known else ".",
        thousands=section.one_of("thousands", ("", ",", ".", " ", "'"), "") if "thousands" in known else "",
        below=section.one_of("below", LIMITS, "refuse") if "below" in known else "refuse",
        above=section.one_of("above", ("limit", "missing", "refuse"), "refuse") if "above" in known else "refuse",
        format=section.text("format", "") if "format" in known else "",
        since=section.text("since") if kind == "date" else "",
        levels=section.texts("levels", (), least=2) if kind == "ordered" else (),
    )
    section.close()
    if column.thousands == column.decimal:
        raise DataError(f"{where}: decimal and thousands must be two signs, got {column.decimal!r} twice")
    return column

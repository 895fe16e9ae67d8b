"""Tables given from Python as a dataset: a pandas frame a modality, its index the ids, its columns by their types.

Numbers and truth values are numbers, times are days since 1970, ordered categoricals are their places, and every other text is a
category. A frame with two levels of index is a sequence, ordered by the second. What is refused, and how, is as for a description's files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets.base import DataError
from bench.datasets.columns import kind_of
from bench.datasets.described.dataset import Framed
from bench.datasets.described.description import Attribute, Column, DescribedModality, Description, Place, Target
from bench.datasets.described.reading import read_samples
from bench.datasets.described.sheets import Sheet, sheet_of
from bench.datasets.files import data_root, write_prepared

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
ID, ORDER, VALUE = "id", "order", "value"  # columns that an index becomes
ROWS = ("one", "mean", "samples")


def framed(
    modalities: Mapping[str, pd.DataFrame],
    target: pd.Series | pd.DataFrame | Mapping[Any, Any],
    name: str,
    *,
    kind: str = "classes",
    unit: str = "",
    groups: pd.Series | Mapping[Any, Any] | None = None,
    split: pd.Series | Mapping[Any, Any] | None = None,
    title: str = "",
    rows: str = "one",
    indicators: bool = True,
    public_ids: bool = False,
    attributes: Sequence[str] | pd.DataFrame | None = None,
    public_attributes: bool = False,
) -> Framed:
    """The dataset that frames make; its values are written to a prepared copy, once. Raises: DataError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DataError(f"name must be letters, digits, _ and -, a letter first, got {name!r}")
    if rows not in ROWS:
        raise DataError(f"rows must be one of {', '.join(ROWS)}, got {rows!r}")
    if not isinstance(modalities, Mapping) or not modalities:
        raise DataError(f"modalities must be a mapping, name -> pandas frame, got {kind_of(modalities)}")
    sheets: dict[str, Sheet] = {}
    found = [_modality(str(key), frame, sheets, rows, indicators) for key, frame in modalities.items()]
    asked, sheets["target"] = _target(target, kind, unit)
    places: dict[str, Place | None] = {}
    for what, given in (("groups", groups), ("split", split)):
        places[what] = None if given is None else Place(what, VALUE)
        if given is not None:
            sheets[what] = _sheet_of_series(what, _series(what, given))
    stated = [] if attributes is None else _attributes(attributes, modalities, sheets)
    description = Description(
        path=Path(name),
        id=ID,
        target=asked,
        modalities=tuple(_lettered(found)),
        title=title or name,
        groups=places["groups"],
        split=places["split"],
        attributes=tuple(stated),
    )
    read = read_samples(description, lambda path: sheets[path.name])
    said = [f"{one.name}: {_kinds(one)}" for one in found]
    facts = {"Columns": "; ".join(said), **({"Handled": "; ".join(read.notes)} if read.notes else {})}
    identity = read.samples.fingerprint()  # which attributes are no part of, and a copy holds them
    identity += "".join("\0".join(("", key, *column.tolist())) for key, column in read.samples.attributes.items())
    folder = data_root() / "prepared" / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not (folder / "meta.json").is_file():
        write_prepared(folder, read.samples, {"dataset": name, "options": {}, "sources": {}})
    indicated = [one.name for one in found if one.kind == "vector" and indicators]
    made = Framed(name, folder, title or name, indicated, read.categories, facts)
    made.column_names, made.public_ids, made.public_attributes = read.columns, public_ids, public_attributes
    return made


def _attributes(given: object, modalities: Mapping[str, pd.DataFrame], sheets: dict[str, Sheet]) -> list[Attribute]:
    """Columns of the modalities' frames, by name, or of a frame of attributes; their sheets go to `sheets`. Raises: DataError."""
    import pandas as pd

    columns: list[tuple[str, pd.Series]] = []
    if isinstance(given, pd.DataFrame):
        columns = [(str(key).strip(), given.iloc[:, place]) for place, key in enumerate(given.columns)]
    elif isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
        for name in given:
            holders = [(key, frame) for key, frame in modalities.items() if frame.index.nlevels == 1 and name in frame.columns]
            if len(holders) != 1:
                where = " and ".join(key for key, _ in holders) or "none"
                raise DataError(
                    f"attribute {name!r} must be a column of one modality with a row an id, found in {where}; or give a frame of attributes"
                )
            columns.append((name, holders[0][1][name]))
    else:
        raise DataError(f"attributes must be names of columns, or a pandas frame whose index holds the ids, got {kind_of(given)}")
    if len({name for name, _ in columns}) < len(columns):
        raise DataError(f"attributes must have different names, got {', '.join(name for name, _ in columns)}")
    found = []
    for number, (name, cells) in enumerate(columns):
        file = f"attribute {number}"
        plain = pd.DataFrame({ID: cells.index, VALUE: [_group(cell) for cell in cells.tolist()]})
        sheets[file] = sheet_of(plain, f"attribute {name!r}")
        found.append(Attribute(name, file, VALUE))
    return found


def _group(cell: object) -> str:
    """A cell as the name of a group, empty where it is missing; whole numbers that a gap made decimal are whole again."""
    if cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType"):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell == int(cell) else str(cell).strip()


def _target(target: object, kind: str, unit: str) -> tuple[Target, Sheet]:
    """What is to be told of an id, and the sheet it is read from: a frame holds labels, a column each. Raises: DataError."""
    import pandas as pd

    if kind not in ("classes", "labels", "value"):
        raise DataError(f"kind of the target must be classes, labels or value, got {kind!r}")
    if isinstance(target, pd.DataFrame) != (kind == "labels"):
        rule = "labels are a pandas frame, a column each (kind = 'labels'), and classes and values a series"
        raise DataError(f"{rule}; got {kind_of(target)} and kind = {kind!r}")
    if unit and kind != "value":
        raise DataError(f"unit is of a value, got unit = {unit!r} and kind = {kind!r}")
    if isinstance(target, pd.DataFrame):
        names = tuple(str(key).strip() for key in target.columns)
        plain = pd.DataFrame({name: _yes_no(name, target.iloc[:, place]) for place, name in enumerate(names)})
        plain[ID] = target.index
        return Target("target", labels=names, kind=kind, missing="drop"), sheet_of(plain.reset_index(drop=True), "target")
    series = _series("target", target)
    column = VALUE if series.name is None or kind == "classes" or str(series.name) == ID else str(series.name)
    sheet = sheet_of(pd.DataFrame({ID: series.index, column: series.to_numpy(object)}), "target")
    return Target("target", column, () if kind == "value" else _classes(series), kind=kind, unit=unit), sheet


def _yes_no(name: str, cells: pd.Series) -> list[str]:
    """A label as texts: 1, 0, and empty where it is not known. Raises: DataError on another cell."""
    words = {1: "1", 0: "0"}  # True and False are equal to them
    found = []
    for place, cell in enumerate(cells.tolist()):
        if cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType"):
            found.append("")
        elif cell in words:
            found.append(words[cell])
        else:
            raise DataError(f"label {name!r} must be 1 or True, 0 or False, or missing where it is not known, got {cell!r} in row {place}")
    return found


def _modality(name: str, frame: object, sheets: dict[str, Sheet], rows: str, indicators: bool) -> DescribedModality:
    """A modality without its letter; its sheet goes to `sheets`. Raises: DataError."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        way = "; .to_frame() makes one" if isinstance(frame, pd.Series) else ""
        raise DataError(f"modality {name!r} must be a pandas frame whose index holds the ids, got {kind_of(frame)}{way}")
    levels = frame.index.nlevels
    if levels > 2 or not len(frame.columns):
        raise DataError(f"modality {name!r} must have columns, and an index of ids or of ids and an order, got {levels} levels of index")
    columns = tuple(_column(name, str(key).strip(), frame.iloc[:, place]) for place, key in enumerate(frame.columns))
    if {ID, ORDER} & {column.name for column in columns} or len({column.name for column in columns}) < len(columns):
        raise DataError(
            f"columns of modality {name!r} must have different names, none of them {ID!r} or {ORDER!r}, got {list(frame.columns)}"
        )
    plain = frame.copy(deep=False)
    plain.columns = pd.Index([column.name for column in columns])
    plain[ID] = frame.index.get_level_values(0)
    if levels == 2:
        plain[ORDER] = frame.index.get_level_values(1)
    sheets[name] = sheet_of(plain.reset_index(drop=True), name)
    kind = "sequence" if levels == 2 else "vector"
    if kind == "sequence" and any(column.kind == "category" for column in columns):
        wrong = next(column.name for column in columns if column.kind == "category")
        raise DataError(f"column {wrong!r} of sequence {name!r} must hold numbers; use an ordered pandas Categorical, or leave it out")
    return DescribedModality(
        name, "", kind, name, columns=columns, rows=rows if kind == "vector" else "one", order=ORDER if levels == 2 else "",
        indicators=indicators and kind == "vector",
    )  # fmt: skip


def _column(modality: str, name: str, cells: pd.Series) -> Column:
    import pandas as pd

    kind = cells.dtype
    if isinstance(kind, pd.CategoricalDtype) and kind.ordered:
        return Column(name, "ordered", levels=tuple(map(str, kind.categories)))
    if pd.api.types.is_bool_dtype(kind):
        return Column(name, "ordered", levels=("False", "True"))
    if pd.api.types.is_datetime64_any_dtype(kind):
        return Column(name, "date", since="1970-01-01")
    if pd.api.types.is_numeric_dtype(kind):
        return Column(name, "number")
    if pd.api.types.is_timedelta64_dtype(kind) or isinstance(kind, pd.PeriodDtype | pd.IntervalDtype):
        raise DataError(f"column {name!r} of modality {modality!r} must hold numbers, times or texts, got {kind}; convert it to numbers")
    return Column(name, "category")


def _kinds(modality: DescribedModality) -> str:
    """How the columns of a frame are read, in words."""
    words = {"number": "numbers", "date": "days since 1970-01-01", "ordered": "places in an order", "category": "categories"}
    of_kind = {kind: [column.name for column in modality.columns if column.kind == kind] for kind in words}
    return ", ".join(f"{words[kind]}: {' '.join(names)}" for kind, names in of_kind.items() if names)


def _lettered(found: list[DescribedModality]) -> list[DescribedModality]:
    """Modalities with letters: the first of the name that is free, else of the alphabet. Raises: DataError if there are too many."""
    from dataclasses import replace

    made: list[DescribedModality] = []
    for one in found:
        taken = [other.letter for other in made]
        free = [sign for sign in [*one.name.upper(), *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"] if re.fullmatch("[A-Z]", sign) and sign not in taken]
        if not free:
            raise DataError(f"a dataset has 26 modalities at most, got {len(found)}")
        made.append(replace(one, letter=free[0]))
    return made


def _series(what: str, given: object) -> pd.Series:
    """Raises: DataError if it is no series or mapping by id."""
    import pandas as pd

    if isinstance(given, pd.Series):
        return given
    if isinstance(given, Mapping):
        return pd.Series(dict(given))
    raise DataError(f"{what} must be a pandas series whose index holds the ids, or a mapping, id -> {what}, got {kind_of(given)}")


def _sheet_of_series(what: str, series: pd.Series) -> Sheet:
    import pandas as pd

    return sheet_of(pd.DataFrame({ID: series.index, VALUE: series.to_numpy(object)}), what)


def _classes(labels: pd.Series) -> tuple[str, ...]:
    """The classes: those of a categorical in its order, else all that come, sorted. Raises: DataError if there are fewer than two."""
    import pandas as pd

    if isinstance(labels.dtype, pd.CategoricalDtype):
        found = list(labels.dtype.categories)
    else:
        kinds = labels.dropna().unique().tolist()
        found = sorted(kinds, key=lambda one: (isinstance(one, str), one))
    names = tuple(str(int(one)) if isinstance(one, float | np.floating) and one == int(one) else str(one).strip() for one in found)
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"target must have two classes at least, each with its own name, got {', '.join(names) or 'none'}")
    return names

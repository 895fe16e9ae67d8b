"""Table files as columns of texts or numbers, whoever wrote them: CSV, TSV, Parquet, Excel, Stata, SPSS and SAS.

What a file stores as a number stays one; every other cell is its text without surrounding blanks, "" where it is empty. Nothing is
guessed here: what a text means, a description says. What breaks a rule is a `DataError` with file, line, rule, and what came.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.datasets.base import DataError
from bench.datasets.described.words import agreeing, count
from bench.datasets.pickles import Refused
from bench.datasets.safe import MAX_LINE, open_text, open_zip, reading
from bench.datasets.tables import listed

if TYPE_CHECKING:
    import pandas as pd

SIGNS = (",", ";", "\t", "|")  # between cells
NEEDS = {".parquet": "pyarrow", ".xlsx": "openpyxl", ".sav": "pyreadstat"}  # ending -> the package that reads it


@dataclass(frozen=True)
class Sheet:
    """Some columns of a table. Shapes: columns[name] (N,), of texts (objects), numbers or times; lines (N,) where its rows stand."""

    file: str  # its name, for messages
    names: tuple[str, ...]  # of all columns of the file
    columns: Mapping[str, np.ndarray]  # those that were asked for
    lines: np.ndarray
    unit: str = "line"  # what `lines` counts
    unclear: Mapping[str, str] = field(default_factory=dict)  # column -> why it cannot be read
    notes: tuple[str, ...] = ()  # what was handled

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> np.ndarray:
        """Raises: DataError if the file has no such column, or two that differ."""
        if name in self.unclear:
            raise DataError(f"{self.file}: {self.unclear[name]}")
        if name not in self.columns:
            close = get_close_matches(name, self.names, n=1, cutoff=0.6)
            hint = f", did you mean {close[0]!r}?" if close else ";"
            raise DataError(f"{self.file} has no column {name!r}{hint} it has {listed(self.names)}")
        return self.columns[name]

    def rows(self, index: np.ndarray) -> Sheet:
        """Some of its rows. Shapes: index (K,) int64 or (N,) bool."""
        return replace(self, columns={name: cells[index] for name, cells in self.columns.items()}, lines=self.lines[index])

    def where(self, row: int) -> str:
        return f"{self.file} {self.unit} {self.lines[row]}"

    def refuse(self, row: int, column: str, rule: str, cell: object, way: str = "") -> DataError:
        """The error of a cell that breaks a rule; `way` says how it could be read."""
        return DataError(f"{self.where(row)}: {column} must {rule}, got {str(cell)[:60]!r}{f'; {way}' if way else ''}")


def read_sheet(path: Path, wanted: Iterable[str] | None = None) -> Sheet:
    """A table file; of its columns those that are `wanted`, without that all. Raises: DataError; a wanted column may be absent."""
    chosen = None if wanted is None else set(wanted)
    name = path.name.lower()
    if name.removesuffix(".gz").endswith((".csv", ".tsv")):
        return _read_text_table(path, chosen)
    frame, notes = _read_frame(path)
    return sheet_of(frame, path.name, chosen, notes, frame.index.to_numpy() if name.endswith(".xlsx") else None)


# ---- text tables


def _read_text_table(path: Path, wanted: set[str] | None) -> Sheet:
    with _rows_of(path) as (sign, reader):
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise Refused("its first line, which names the columns, is empty")
        places = [place for place, name in enumerate(header) if wanted is None or name in wanted]
        cells: list[list[str]] = [[] for _ in places]
        lines, empty, before = [], 0, reader.line_num
        for row in reader:
            line, before = before + 1, reader.line_num
            if not any(map(str.strip, row)):
                empty += bool(row)
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path.name} line {line} must have {len(header)} cells, as the first line has, got {len(row)}; quote a cell that "
                    f"holds {sign!r}, or get the file anew"
                )
            lines.append(line)
            for kept, place in zip(cells, places, strict=True):
                kept.append(row[place].strip())
    notes = [] if sign == "," else [f"cells stand between {'tabs' if sign == chr(9) else repr(sign)}"]
    if empty:
        notes.append(f"{count(empty, 'row')} without any cell {agreeing(empty, 'is', 'are')} left out")
    found = [(header[place], np.array(kept, dtype=object)) for kept, place in zip(cells, places, strict=True)]
    return _made(path.name, header, found, np.array(lines, dtype=np.int64), "line", notes)


@contextmanager
def _rows_of(path: Path) -> Iterator[tuple[str, Any]]:
    """The sign between cells, and the rows of a text table with their lines. Raises: DataError, as they are read, too."""
    csv.field_size_limit(MAX_LINE)
    with reading(path, "table of texts"):
        with open_text(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            head = text.readline()
        sign = "\t" if ".tsv" in path.name.lower() else max(SIGNS, key=lambda one: len(next(csv.reader([head], delimiter=one), [])))
        with open_text(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=sign, strict=True)
            try:
                yield sign, reader
            except csv.Error as error:
                raise DataError(f"{path.name} line {reader.line_num} is no table of texts ({error})") from error


# ---- typed tables


def _read_frame(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A typed table as pandas reads it, and what there is to say of that. Raises: DataError."""
    import pandas as pd

    ending, notes = path.suffix.lower(), []
    package = NEEDS.get(ending)
    if package and find_spec(package) is None:
        raise DataError(f"reading {path.name} needs {package}: pip install 'missing-modality-bench[tables]'")
    with reading(path, f"{ending.removeprefix('.')} table"):
        if ending == ".parquet":
            frame = pd.read_parquet(path, engine="pyarrow")
        elif ending == ".xlsx":
            with open_zip(path, "xlsx table"), pd.ExcelFile(path, engine="openpyxl") as book:
                first, *others = book.sheet_names
                cells = pd.read_excel(book, sheet_name=first, header=None, dtype=object, keep_default_na=False)
            if others:
                notes.append(f"sheet {first!r} is read, {count(len(others), 'other')} {agreeing(len(others), 'is', 'are')} not")
            frame = cells.iloc[1:].set_axis(cells.iloc[0].astype(str).tolist(), axis=1)  # pandas would rename doubled columns
            filled = ((frame != "") & frame.notna()).any(axis=1)
            frame.index += 1  # as the rows of a sheet are counted
            frame = frame[filled.to_numpy()]
        elif ending == ".dta":
            frame = pd.read_stata(path)
        elif ending == ".sav":
            frame = pd.read_spss(path)
        else:
            frame = pd.read_sas(path, format="xport" if ending == ".xpt" else "sas7bdat", encoding="utf-8")
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if named:  # a frame with its ids as index, written as Parquet
        frame = frame.reset_index(named)
    return frame, notes


def sheet_of(
    frame: pd.DataFrame, file: str, wanted: set[str] | None = None, notes: Iterable[str] = (), rows: np.ndarray | None = None
) -> Sheet:
    """The columns of a frame, whose rows count from 1 unless `rows` says how. Raises: DataError where a cell is no text, number or time."""
    header = [str(name).strip() for name in frame.columns]
    rows = np.arange(len(frame), dtype=np.int64) + 1 if rows is None else rows
    found = []
    for place, name in enumerate(header):
        if wanted is None or name in wanted:
            found.append((name, _typed(frame.iloc[:, place], file, name)))
    return _made(file, header, found, rows, "row", list(notes))


def _typed(column: pd.Series, file: str, name: str) -> np.ndarray:
    """A column as numbers (float64, int64), times (datetime64) or texts. Raises: DataError."""
    import pandas as pd

    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(kind):
        column = column.astype(object)
    elif pd.api.types.is_datetime64_any_dtype(kind):
        naive = column.dt.tz_convert("UTC").dt.tz_localize(None) if getattr(kind, "tz", None) is not None else column
        return naive.to_numpy("datetime64[us]")
    elif pd.api.types.is_complex_dtype(kind):
        raise DataError(f"{file}: {name} must hold texts, numbers or times, got {kind}")
    elif pd.api.types.is_integer_dtype(kind) and not column.isna().any():
        return column.to_numpy(np.int64 if not pd.api.types.is_unsigned_integer_dtype(kind) else np.uint64)
    elif pd.api.types.is_numeric_dtype(kind):
        return column.to_numpy(np.float64, na_value=np.nan)
    return np.array([_text(cell, file, name, row) for row, cell in enumerate(column, start=1)], dtype=object)


def _text(cell: object, file: str, name: str, row: int) -> str:
    """A cell as a text file would hold it."""
    import datetime
    import decimal

    import pandas as pd

    if isinstance(cell, str):
        return cell.strip()
    if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float | np.floating) and np.isnan(cell)):
        return ""
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise DataError(f"{file} row {row}: {name} must be UTF-8 text, got {cell[:20]!r}") from None
    if isinstance(cell, datetime.datetime | datetime.date | np.datetime64):
        return str(pd.Timestamp(cell).isoformat())
    if isinstance(cell, bool | int | float | decimal.Decimal | np.generic):
        return str(cell.item() if isinstance(cell, np.generic) else cell)
    raise DataError(f"{file} row {row}: {name} must hold texts, numbers or times, got a {type(cell).__name__}")


# ---- both


def _made(file: str, header: list[str], found: list[tuple[str, np.ndarray]], lines: np.ndarray, unit: str, notes: list[str]) -> Sheet:
    """A sheet; of columns that bear one name and hold the same cells one is kept, others of one name cannot be read."""
    if not len(lines):
        raise DataError(f"{file} holds no rows; the file is damaged or cut short")
    columns: dict[str, np.ndarray] = {}
    unclear: dict[str, str] = {}
    for name, cells in found:
        if name not in columns:
            columns[name] = cells
        elif _alike(columns[name], cells):
            notes.append(f"column {name!r} comes twice with the same cells, one is read")
        else:
            unclear[name] = f"two columns are called {name!r} and differ; rename one"
    return Sheet(file, tuple(header), columns, lines, unit, unclear, tuple(notes))


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype:
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fM"))

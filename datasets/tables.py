"""Text tables read strictly: every row as long as the first rule says, every number finite, every category known.

What breaks a rule is a `DataError` with file, line, rule, and what came.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.datasets.base import DataError
from bench.datasets.stand_ins import refuse_stand_in

Categories = Sequence[str] | Sequence[int]
LARGEST = 256 * 2**20  # bytes of a table; ours have 3 MB
LARGEST_NUMBER = float(np.finfo(np.float32).max)  # what a float32 holds
_REWRITTEN = re.compile(  # what spreadsheets make of dates, long numbers and formulas
    r"\d{1,4}[/.]\d{1,2}[/.]\d{1,4}(\s.*)?|\d{1,2}-[A-Za-z]{3}(-\d{2,4})?|[A-Za-z]{3}-\d{2}|\d{5}([.,]\d+)?|[+-]?\d[.,]?\d*E\+\d+|#[A-Z0-9/?!]*[!?A0]|#+"
)
_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Table:
    """Cells of a text table. Shapes: cells (N, F) of str, stripped; lines (N,) their line numbers in the file."""

    path: Path
    names: tuple[str, ...]
    cells: np.ndarray
    lines: np.ndarray
    missing: str = ""  # how an empty cell is written

    def __len__(self) -> int:
        return len(self.cells)

    def column(self, name: str) -> np.ndarray:
        """Shapes: -> (N,) str. Raises: DataError if the table has no such column."""
        if name not in self.names:
            raise DataError(f"{self.path.name} has no column {name!r}; it has {listed(self.names)}")
        return self.cells[:, self.names.index(name)]

    def numbers(self, names: Sequence[str] | None = None) -> np.ndarray:
        """Columns as numbers, NaN where a cell is missing. Shapes: -> (N, K) float64. Raises: DataError if a cell is no finite number."""
        cells = self.cells if names is None else np.stack([self.column(name) for name in names], axis=1)
        empty = (cells == self.missing).astype(bool)
        numbers = np.array([np.nan if cell == self.missing else plain_number(cell) for cell in cells.flat]).reshape(cells.shape)
        wrong = ~(np.abs(numbers) <= LARGEST_NUMBER) & ~empty
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            name, cell = (names or self.names)[column], str(cells[row, column])
            raise DataError(f"{self.where(row)}: {name} must be a finite number{self._or_missing}, got {cell[:60]!r}{advice(cell)}")
        return numbers

    def codes(self, name: str, categories: Categories) -> np.ndarray:
        """Positions of a column's cells in `categories`, texts or numbers; -1 where missing. Shapes: -> (N,) int64.

        Raises: DataError on another value.
        """
        cells = self.column(name)
        keys = cells if isinstance(categories[0], str) else self.numbers([name])[:, 0]
        codes = np.full(len(cells), -1, dtype=np.int64)
        for code, category in enumerate(categories):
            codes[keys == category] = code
        wrong = np.flatnonzero((codes < 0) & (cells != self.missing))
        if len(wrong):
            row = wrong[0]
            known = ", ".join(map(str, categories))
            cell = str(cells[row])
            raise DataError(f"{self.where(row)}: {name} must be one of {known}{self._or_missing}, got {cell[:60]!r}{advice(cell)}")
        return codes

    def one_hot(self, name: str, categories: Categories) -> np.ndarray:
        """One column a category, all NaN where missing. Shapes: -> (N, K) float64. Raises: DataError on a value that is no category."""
        codes = self.codes(name, categories)
        hot = (codes[:, None] == np.arange(len(categories))).astype(np.float64)
        hot[codes < 0] = np.nan
        return hot

    def features(self, names: Sequence[str], categories: Mapping[str, Categories]) -> np.ndarray:
        """Columns side by side as a modality's values: numbers as they are, categories one-hot. Shapes: -> (N, F) float32."""
        parts = [self.one_hot(name, categories[name]) if name in categories else self.numbers([name]) for name in names]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def blank(self, names: Sequence[str], number: float) -> Table:
        """The same table with the cells of some columns missing where they hold a number that cannot be."""
        cells = self.cells.copy()
        for name in names:
            cells[self.numbers([name])[:, 0] == number, self.names.index(name)] = self.missing
        return replace(self, cells=cells)

    def where(self, row: int) -> str:
        return f"{self.path.name} line {self.lines[row]}"

    @property
    def _or_missing(self) -> str:
        return f", or {self.missing!r} where it is missing" if self.missing else " or empty"


def read_table(path: Path, names: Sequence[str] | None = None, missing: str = "", comment: str | None = None) -> Table:
    """A comma-separated UTF-8 file. Without `names` its first line holds them; lines that start with `comment` do not count.

    Raises: DataError if the file is absent, not UTF-8, without a row, or a row has another number of cells.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path.name} holds {path.stat().st_size} bytes, more than the {LARGEST} a table may have")
        refuse_stand_in(path)
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} must be UTF-8 text, got byte {error.object[error.start]:#04x} at position {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines = [], []
    try:
        if names is None:
            names = [name.strip() for name in next(reader, [])]
        for row in reader:
            if row and not (comment and row[0].startswith(comment)):
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
                if len(row) != len(names):
                    raise DataError(
                        f"{path.name} line {reader.line_num} must have {len(names)} columns, got {len(row)}; it is damaged or cut short"
                    )
    except csv.Error as error:
        raise DataError(f"{path.name} line {reader.line_num} is no comma-separated text ({error})") from error
    if not rows:
        raise DataError(f"{path.name} holds no rows; the file is damaged or cut short")
    if len(set(names)) != len(names):
        raise DataError(f"column names of {path.name} must be unique, got {listed(names)}")
    return Table(path, tuple(names), np.array(rows, dtype=object), np.array(lines), missing)


def check_unique(table: Table, name: str, values: np.ndarray) -> None:
    """Raises: DataError naming the first line that repeats an id."""
    first = np.unique(values, return_index=True)[1]
    if len(first) < len(values):
        row = np.setdiff1d(np.arange(len(values)), first)[0]
        raise DataError(f"{table.where(row)}: {name} {str(values[row])[:60]!r} comes twice; ids must be unique")


def listed(names: Sequence[str]) -> str:
    """Names of a file's own making in one line of bounded length."""
    return " ".join(", ".join(names).split())[:300]


def plain_number(cell: str) -> float:
    """The number a cell holds, NaN if it holds none. Unlike `float` it takes no underscore and no digit but 0 to 9."""
    try:
        number = float(cell)
    except ValueError:
        return np.nan
    return number if "_" not in cell and cell.isascii() else np.nan


def advice(cell: str) -> str:
    """What else to say of a cell that is not of its kind, if one sees how it came to be.

    >>> advice("1/1/2150")
    '; a spreadsheet has rewritten the file, get it anew'
    """
    if _COMMA.fullmatch(cell):
        return "; a decimal comma must be a point"
    return "; a spreadsheet has rewritten the file, get it anew" if _REWRITTEN.fullmatch(cell) else ""

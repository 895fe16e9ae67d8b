"""A user's table files as they lie there: their columns as texts, and which column names the samples."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.datasets.base import DataError
from bench.datasets.described.cells import WHOLE, is_missing, texts_of
from bench.datasets.described.description import TABLES
from bench.datasets.described.guess import Habits, habits_of, looks_like_an_id
from bench.datasets.described.rows import ids_of
from bench.datasets.described.sheets import Sheet, read_sheet
from bench.errors import UsageError, unknown
from bench.text import and_list, listed

SHARED = 0.5  # of a column's cells that must be ids of the samples before it is taken for their column


@dataclass
class Source:
    """A table file.

    `name` is its path from the folder of the description, `title` what messages call it, its bare name where no other file has it. `id` is
    the column that names a sample, once it is known.
    """

    name: str
    title: str
    path: Path
    sheet: Sheet
    id: str = ""

    def __len__(self) -> int:
        return len(self.sheet)

    @property
    def columns(self) -> list[str]:
        """Those that can be read, in the order of the file."""
        return [name for name in dict.fromkeys(self.sheet.names) if name in self.sheet.columns and name not in self.sheet.unclear]

    def texts(self, column: str) -> list[str]:
        """The cells of a column. Shapes: -> N texts."""
        return texts_of(self.sheet.column(column)).tolist()

    @cached_property
    def ids(self) -> list[str]:
        """Whose each row is. Raises: UsageError if a row has no id."""
        try:
            return ids_of(self.sheet, self.id, []).tolist()
        except DataError as error:
            raise UsageError(str(error)) from None

    @cached_property
    def habits(self) -> Habits:
        """How its texts are written; columns that the file stores as numbers or times say nothing of that."""
        return habits_of(self.texts(name) for name in self.columns if self.sheet.columns[name].dtype.kind == "O")


def _like_ids(cells: Sequence[str]) -> list[str]:
    """Cells of a column that may hold ids: "" for none, and 12 for 12.0."""
    return ["" if is_missing(cell) else WHOLE.sub(r"\1", cell) for cell in cells]


def open_sources(files: Sequence[Path], folder: Path) -> list[Source]:
    """The table files of a description that is to lie in a folder. Raises: UsageError if one cannot be read, or comes twice."""
    found: list[Source] = []
    for path in files:
        if not path.name.lower().endswith(TABLES):
            raise UsageError(f"{path.name} must end in one of {' '.join(TABLES)} to be read as a table")
        if not path.is_file():
            raise UsageError(f"{path} does not exist (looked in {Path.cwd()})")
        name = name_from(path, folder)
        if name in [source.name for source in found]:
            raise UsageError(f"{path} is named twice; name each file once")
        title = path.name if [file.name for file in files].count(path.name) == 1 else name
        try:
            found.append(Source(name, title, path, read_sheet(path)))
        except DataError as error:
            raise UsageError(str(error)) from None
    return found


def name_from(path: Path, folder: Path) -> str:
    """A file as a description in a folder names it: relative, with slashes on every system."""
    try:
        return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def source_of(text: str, sources: Sequence[Source]) -> Source | None:
    """The source that a user means by a path or the bare name of a file."""
    exact = [source for source in sources if text in (source.name, str(source.path)) or Path(text).absolute() == source.path.absolute()]
    bare = [source for source in sources if text == source.path.name]
    return exact[0] if exact else bare[0] if len(bare) == 1 else None


def place_of(text: str, what: str, sources: Sequence[Source], preferred: Source | None = None) -> tuple[Source, str]:
    """The file and column that `COLUMN` or `FILE:COLUMN` names; of several files the preferred one.

    Raises: UsageError if no file has the column, or several do.
    """
    file, colon, column = text.rpartition(":")
    named = source_of(file, sources) if colon else None
    if named is not None:
        return named, column_of(named, column, what)
    holding = [source for source in sources if text in source.columns]
    if preferred in holding and preferred is not None:
        return preferred, text
    if len(holding) == 1:
        return holding[0], text
    names = and_list([source.title for source in sources])
    if holding:
        titles = [source.title for source in holding]
        raise UsageError(f"{what} {text!r} is a column of {and_list(titles)}; say which, as {what} {titles[0]}:{text}")
    for source in sources:
        if text in source.sheet.unclear:
            raise UsageError(f"{source.title}: {source.sheet.unclear[text]}")
    error = unknown("column", text, sorted({column for source in sources for column in source.columns}))
    raise UsageError(f"{what} must be a column of {names}: {error}")


def column_of(source: Source, column: str, what: str) -> str:
    """The column, if the source has it. Raises: UsageError."""
    if column in source.sheet.unclear:
        raise UsageError(f"{source.title}: {source.sheet.unclear[column]}")
    if column not in source.columns:
        raise UsageError(f"{what}: {source.title} has no such column: {unknown('column', column, source.columns)}")
    return column


def find_ids(sources: Sequence[Source], target: Source, given: Sequence[str]) -> str:
    """Sets the id column of each source: as given, of that name, of a like name, or the one whose cells are ids; returns the usual one.

    `given` are `COLUMN` or `FILE:COLUMN`. Raises: UsageError if a source has none, or shares no id with the target.
    """
    usual, own = "", {}
    for text in given:
        file, colon, column = text.rpartition(":")
        source = source_of(file, sources) if colon else None
        if source is not None:
            own[source.name] = column_of(source, column, "--id")
        elif usual:
            raise UsageError(f"--id names one column for all files, got {usual!r} and {text!r}; write FILE:COLUMN for a file of its own")
        else:
            usual = text
    target.id = own.get(target.name) or _named_alike(target, usual) or ""
    if not target.id:
        error = unknown("column", usual, target.columns)
        raise UsageError(f"--id must be a column of {target.title}, where the labels stand: {error}")
    known = set(target.ids)
    for source in sources:
        if source is target:
            continue
        source.id = own.get(source.name) or _named_alike(source, usual or target.id) or _by_cells(source, known)
        if not source.id:
            raise UsageError(
                f"{source.title} must have a column of ids, such as {min(known)!r} of {target.title}; none is called "
                f"{usual or target.id!r} and none holds such ids; name it with --id {source.title}:COLUMN; it has {listed(source.columns)}"
            )
        if not known & set(source.ids):
            came = f"its column {source.id!r} has none of them: {source.ids[0]!r} there, {min(known)!r} here"
            raise UsageError(
                f"{source.title} must share ids with {target.title}; {came}; name another column with --id {source.title}:COLUMN, or leave "
                "the file out"
            )
    return usual or target.id


def _named_alike(source: Source, name: str) -> str | None:
    """The column of a name, or the only one that differs from it in case and signs alone."""
    if name in source.columns:
        return name
    alike = [column for column in source.columns if name and _letters(column) == _letters(name)]
    return alike[0] if len(alike) == 1 else None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _by_cells(source: Source, known: set[str]) -> str:
    """The column whose cells are ids of the samples, most of them; "" if there is none. A name of an id decides between equals."""
    shares: list[tuple[float, bool, str]] = []
    for column in source.columns:
        counts = Counter(cell for cell in _like_ids(source.texts(column)) if cell)
        share = sum(counts[cell] for cell in counts if cell in known) / max(1, counts.total())
        if share >= SHARED and len(counts) >= min(len(known), 10) // 2:
            shares.append((share, looks_like_an_id(column), column))
    return max(shares, key=lambda one: one[:2])[2] if shares else ""

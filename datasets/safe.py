"""Readers of files from elsewhere: arrays, tables and images out, or a `DataError` that names the file. Nothing a file says is run.

Bounds: a reader takes memory of at most twice the file's honest size and 200 MB. What a file declares (shapes, lengths, members) is checked
against its size before room is made; what is compressed may swell to 200 MB, or beyond that to 200 times its size.
Pickles and torch files go through `pickles.Machine`, HDF5 through a process of its own (`hdf5.py`).
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bench.datasets.base import DataError
from bench.datasets.pickles import ARRAYS, NAMES, Machine, Refused, Token, plain_dtype, resolve
from bench.datasets.stand_ins import refuse_stand_in
from bench.datasets.tables import LARGEST_NUMBER, Table, advice, listed, plain_number, read_table

if TYPE_CHECKING:
    import pandas as pd

MB = 2**20
SWELL, RATIO = 200 * MB, 200  # what compressed data may grow to: this much, or so many times their size
MAX_TEXT = 8 * MB  # of a JSON or text file
MAX_LABELS = 2 * MB  # of a table that is read whole, cell by cell
MAX_LINE = 4 * MB
MAX_PIXELS = 20_000_000
MAX_MEMBERS = 20_000  # of a zip archive
MAX_HEADER = 10_000  # characters of an npy header
SPLITS = {"training": "train", "validation": "valid", "testing": "test"}


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Whatever a damaged file makes its reader raise becomes one line that names the file; what stands in for data is named before."""
    try:
        refuse_stand_in(path)
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} is not there") from None
    except Refused as error:
        raise DataError(f"{path} is refused as {what}: {error}") from error
    except UnicodeDecodeError as error:
        byte = f"byte {error.object[error.start]:#04x}{_line_of_byte(path)}"
        raise DataError(f"{path} cannot be read as {what}: it must be UTF-8 text, and holds {byte}; save it again as UTF-8") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or "no further reason"
        raise DataError(f"{path} cannot be read as {what} ({type(error).__name__}: {reason}); get the file anew") from error


def may_swell(packed: int) -> int:
    """Bytes that so many compressed bytes may grow to."""
    return max(SWELL, RATIO * packed)


def _line_of_byte(path: Path) -> str:
    """Where a text, plain or gzip, first is no UTF-8, for a message."""
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        for _ in range(1 + may_swell(path.stat().st_size) // MB):
            block = stream.read(MB)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                return f" in line {lines + before.count(10)}"  # line feeds
            lines += block.count(b"\n")
            if not block:
                break
    return ""


# Text


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """A UTF-8 text. Raises: DataError."""
    with reading(path, "UTF-8 text"):
        size = path.stat().st_size
        if size > most:
            raise Refused(f"it holds {size} bytes, more than the {most} such a file may have")
        return path.read_bytes().decode("utf-8-sig")


def read_json(path: Path) -> Any:
    text = read_text(path)
    with reading(path, "JSON"):
        return json.loads(text)


def read_split(path: Path) -> dict[str, str]:
    """Part of each id of a split as Flex-MoE writes it: lists of ids under training, validation and testing.

    Raises: DataError if a list is absent or empty, or an id is in two.
    """
    data = read_json(path)
    part_of: dict[str, str] = {}
    for key, part in SPLITS.items():
        ids = data.get(key) if isinstance(data, dict) else None
        if not isinstance(ids, list) or not ids:
            raise DataError(f"{path.name} must hold {', '.join(SPLITS)}, each a list of ids; {key} is none")
        for place, one in enumerate(ids):
            if type(one) not in (str, int):
                raise DataError(f"{path.name}: entry {place + 1} of {key} must be a text or a whole number, got {str(one)[:60]!r}")
        for one in map(str, ids):
            if part_of.setdefault(one, part) != part:
                raise DataError(f"{path.name} puts {one} into {part_of[one]} and into {part}; an id is in one part alone")
    return part_of


# Tables


class _Lines(io.RawIOBase):
    """A stream of CSV text that may not swell beyond its bound, run on without a new line, or open a quote and never close it.

    With `alike`, every line must have as many cells as the first, which pandas does not ask for. The last one needs no line end: it is
    whole if it has them all, and so is the file if `is_packed`, for gzip knows its length.
    """

    def __init__(self, path: Path, stream: BinaryIO | gzip.GzipFile, most: int, alike: bool) -> None:
        self.path, self.stream, self.left, self.alike = path, stream, most, alike
        self.is_packed = isinstance(stream, gzip.GzipFile)
        self.since_line = self.since_quote = self.lines = 0
        self.commas = 0  # in the line that the last block began
        self.expected = -1
        self.quoted = self.begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        if self.is_packed and not self.begun:
            refuse_stand_in(self.path, data)
        self.begun = True
        self.left -= len(data)
        if self.left < 0:
            raise Refused(f"it unpacks to more than {RATIO} times its size")
        was_quoted, quotes = self.quoted, data.count(b'"')
        self.quoted ^= bool(quotes % 2)
        self.since_line = self.since_line + len(data) if b"\n" not in data else len(data) - data.rfind(b"\n") - 1
        self.since_quote = 0 if quotes or not self.quoted else self.since_quote + len(data)
        if max(self.since_line, self.since_quote) > MAX_LINE:
            raise Refused(f"one of its lines, or a quoted cell, has more than {MAX_LINE} bytes")
        if not data:
            self._end()
        elif self.alike:
            self._compare(np.frombuffer(data, dtype=np.uint8), was_quoted, quotes)
        buffer[: len(data)] = data
        return len(data)

    def _compare(self, data: np.ndarray, quoted: bool, quotes: int) -> None:
        """Count the commas of each line that ends in this block."""
        comma, end = data == ord(","), data == ord("\n")
        if quotes or quoted:
            outside = (np.cumsum(data == ord('"'), dtype=np.uint8) + np.uint8(quoted)) & 1 == 0
            comma, end = comma & outside, end & outside
        ends = np.flatnonzero(end)
        total = np.concatenate([[0], np.cumsum(comma)[ends]])  # commas up to the end of each line
        counts = np.diff(total)
        if len(counts):
            counts[0] += self.commas
            self.expected = counts[0] if self.expected < 0 else self.expected
            wrong = np.flatnonzero(counts != self.expected)
            if len(wrong):
                where = f"row {self.lines + wrong[0] + 1}, the header included,"
                raise Refused(f"{where} has {counts[wrong[0]] + 1} cells, the header {self.expected + 1}; it is damaged or cut short")
            self.commas = 0
        self.lines += len(ends)
        self.commas += int(np.count_nonzero(comma) - total[-1])

    def _end(self) -> None:
        """Is the last line whole, though it may have no end?"""
        if self.quoted:
            raise Refused("it ends inside a quoted cell; it is cut short")
        if not self.alike or not self.since_line:
            return
        if self.expected < 0 and not self.is_packed:
            raise Refused("its one line has no end; it is cut short, or append a line feed if the file is whole")
        if 0 <= self.expected != self.commas:
            raise Refused(
                f"its last row has {self.commas + 1} cells and no line end, the header {self.expected + 1} cells; it is cut short"
            )


@contextmanager
def open_text(path: Path, alike: bool = False) -> Iterator[io.BufferedReader]:
    """The bytes of a CSV file, unpacked if its name ends in .gz. Raises: DataError as they are read."""
    size = path.stat().st_size
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield io.BufferedReader(_Lines(path, unpacked, may_swell(size), alike), MB)
        else:
            yield io.BufferedReader(_Lines(path, raw, size, alike), MB)


def read_labels(path: Path) -> Table:
    """A small table, such as one of labels. Raises: DataError."""
    with reading(path, "small table"):
        if path.stat().st_size > MAX_LABELS:
            raise Refused(f"it holds {path.stat().st_size} bytes, more than the {MAX_LABELS} such a table may have")
        return read_table(path)


def read_chunks(path: Path, columns: Mapping[str, str], rows: int, optional: Sequence[str] = ()) -> Iterator[pd.DataFrame]:
    """The named columns of a large CSV file, plain or gzip, so many rows at a time; the index counts the rows of the file from 0.

    `columns` gives each column's kind (see KINDS). Those of `optional` may be absent. Raises: DataError if another is, if a cell is not
    of its kind, naming its line, or if a row has another length than the header.
    """
    import pandas as pd

    with reading(path, "CSV table"):
        with open_text(path) as stream:
            present = list(pd.read_csv(stream, nrows=0, dtype=str, encoding="utf-8-sig").columns)
        absent = [name for name in columns if name not in present and name not in optional]
        if absent:
            raise Refused(f"it has no column {', '.join(absent)}; it has {listed(present)}")
        kinds = {name: kind for name, kind in columns.items() if name in present}
        texts = {name: "str" for name, kind in kinds.items() if kind in ("str", "id")}
        empty = {name: [""] for name in kinds if name not in texts}
        with open_text(path, alike=True) as stream:
            table = pd.read_csv(
                stream, usecols=list(kinds), dtype=texts, chunksize=rows, encoding="utf-8-sig", keep_default_na=False, na_values=empty,
                index_col=False,
            )  # fmt: skip
            while True:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # of a column of mixed types, at which `_typed` looks again
                    chunk = next(table, None)
                if chunk is None:
                    return
                yield chunk.assign(**{name: _typed(path, chunk[name], kind) for name, kind in kinds.items() if kind != "str"})


KINDS = {  # of a column: what its cells must be. `id` is for few rows: its cells are looked at one by one
    "int64": "a whole number",
    "float64": "a finite number or empty",  # NaN where empty
    "id": "a whole number or empty",  # -1 where empty
    "str": "text",  # "" where empty
}


def _typed(path: Path, column: pd.Series, kind: str) -> np.ndarray:
    """A column as its kind. pandas guesses its type, and guesses int64 only where every cell is a whole number written as one: asked for
    int64, it would take 1.0, 2.26E+07 and True. Raises: DataError naming the first cell that is not of its kind."""
    if not len(column):
        return np.empty(0, dtype=np.float64 if kind == "float64" else np.int64)
    if kind == "float64" and column.dtype.kind in "iuf" and not np.isinf(column.to_numpy(np.float64)).any():
        return column.to_numpy(np.float64)
    if kind == "int64" and column.dtype == np.int64:
        return column.to_numpy(np.int64)
    if kind == "id":
        found, wrong = _parsed(column, kind)
        if wrong.any():
            raise wrong_cell(path, column[wrong], f"be {KINDS[kind]}")
        return found
    return _parsed_again(path, column, kind)


def _parsed_again(path: Path, column: pd.Series, kind: str) -> np.ndarray:
    """The rows of a column once more, from their text, which pandas did not keep. Raises: DataError naming the first wrong cell."""
    import pandas as pd

    with (
        open_text(path) as stream,
        pd.read_csv(stream, usecols=[column.name], dtype=str, iterator=True, encoding="utf-8-sig", keep_default_na=False) as table,
    ):
        before = int(column.index[0])
        while before > 0:
            before -= len(table.get_chunk(min(before, 10 * len(column))))
        texts = table.get_chunk(len(column))[column.name]
    found, wrong = _parsed(texts, kind)
    if wrong.any():
        raise wrong_cell(path, texts[wrong], f"be {KINDS[kind]}")
    return found


def _parsed(texts: pd.Series, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of texts, and which are none of their kind. Shapes: (n,) str -> (n,) int64 or float64, (n,) bool."""
    cells = [cell.strip() for cell in texts]
    if kind == "float64":
        numbers = np.array([plain_number(cell) if cell else math.nan for cell in cells])
        return numbers, ~np.isfinite(numbers) & np.array([cell != "" for cell in cells], dtype=bool)
    known = [bool(re.fullmatch(r"[+-]?[0-9]{1,18}", cell)) for cell in cells]
    wrong = [not good and (kind != "id" or cell != "") for good, cell in zip(known, cells, strict=True)]
    return np.array([int(cell) if good else -1 for good, cell in zip(known, cells, strict=True)], dtype=np.int64), np.array(
        wrong, dtype=bool
    )


def wrong_cell(path: Path, cells: pd.Series, rule: str) -> DataError:
    """What to say of the first of some cells that break a rule; their index counts the rows of the file."""
    cell = str(cells.iloc[0])
    return DataError(f"{path.name} line {line_of(path, int(cells.index[0]))}: {cells.name} must {rule}, got {cell[:60]!r}{advice(cell)}")


def line_of(path: Path, row: int) -> int:
    """The line of a CSV file on which a row begins; rows count from 0 after the header, and a quoted cell may hold line ends."""
    quoted, rows, begin = False, -1, 1
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            begin = begin if quoted else number
            quoted ^= bool(line.count(b'"') % 2)
            rows += not quoted
            if rows > row:
                break
    return begin


def read_matrix(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """A wide CSV table of numbers whose first column names the rows.

    Shapes: -> names of N rows and F columns, values (N, F) float32, NaN where a cell is empty. Raises: DataError if a cell is no number.
    """
    with reading(path, "CSV table of numbers"), open_text(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        header = next(reader, [])
        if len(header) < 2:
            raise Refused(f"it has {len(header)} columns; the first names the rows, at least one more holds numbers")
        ids, rows = [], []
        for cells in reader:
            if len(cells) != len(header):
                raise Refused(f"line {reader.line_num} has {len(cells)} cells, the header {len(header)}; it is damaged or cut short")
            row = np.array([plain_number(cell) if cell else math.nan for cell in cells[1:]], dtype=np.float64)
            for place in 1 + np.flatnonzero(~(np.abs(row) <= LARGEST_NUMBER)):
                if cells[place].lower() not in ("", "nan"):
                    where, cell = f"{path.name} line {reader.line_num}: {' '.join(header[place].split())[:60]}", cells[place]
                    raise DataError(f"{where} must be a finite number or empty, got {cell[:60]!r}{advice(cell)}")
            ids.append(cells[0])
            rows.append(row.astype(np.float32))
        if not rows:
            raise Refused("it has no rows")
        return ids, header[1:], np.stack(rows)


# Pickles


def read_pickle(path: Path) -> Any:
    """What a pickle of numbers, texts, lists, dictionaries and arrays holds, Python 2 texts as bytes. Raises: DataError; nothing is run."""
    with reading(path, "pickle of arrays"), path.open("rb") as stream:
        return resolve(Machine(stream, path.stat().st_size, ARRAYS).load())


# Zip archives


class Archive:
    """A zip archive whose members are checked: names stay inside it, sizes fit the file, nothing is encrypted or comes twice."""

    def __init__(self, file: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> None:
        self.file, self.members = file, members

    @property
    def names(self) -> list[str]:
        return list(self.members)

    def size(self, name: str) -> int:
        return self.members[name].file_size

    def read(self, name: str) -> np.ndarray:
        """The bytes of a member, as uint8. Raises: Refused, or what a damaged member makes zipfile raise."""
        if name not in self.members:
            raise Refused(f"it has no member {name}")
        size = self.size(name)
        data = np.empty(size, dtype=np.uint8)
        done = 0
        with self.file.open(self.members[name]) as stream:
            while block := stream.read(min(MB, size - done) or 1):
                if done + len(block) > size:
                    raise Refused(f"its member {name} is longer than declared")
                data[done : done + len(block)] = np.frombuffer(block, dtype=np.uint8)
                done += len(block)
        if done != size:
            raise Refused(f"its member {name} is shorter than declared")
        return data


@contextmanager
def open_zip(path: Path, what: str = "zip archive") -> Iterator[Archive]:
    """A checked archive. Raises: DataError, also for what goes wrong while it is used."""
    with reading(path, what):
        size = path.stat().st_size
        _check_directory(path, size)
        with zipfile.ZipFile(path) as file:
            members: dict[str, zipfile.ZipInfo] = {}
            for member in file.infolist():
                name = member.filename
                if member.is_dir():
                    continue
                if name.startswith(("/", "\\")) or re.search(r"(^|[/\\])\.\.([/\\]|$)|^[A-Za-z]:|[\x00-\x1f]", name):
                    raise Refused(f"its member {name[:80]!r} would lie outside it")
                if name in members or member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise Refused(f"its member {name[:80]!r} comes twice, is encrypted, or is packed in an unusual way")
                members[name] = member
            packed = sum(member.compress_size for member in members.values())
            unpacked = sum(member.file_size for member in members.values())
            if packed > size or unpacked > may_swell(packed):
                raise Refused(f"its members claim {packed} bytes, {unpacked} unpacked, in a file of {size}")
            _check_apart(file)
            yield Archive(file, members)


def _check_apart(file: zipfile.ZipFile) -> None:
    """Refuse members that share bytes: a few of them can unpack to more than any sum of sizes tells."""
    begins = sorted(((member.header_offset, member) for member in file.infolist()), key=lambda one: one[0])
    ends = [*(begin for begin, _ in begins[1:]), file.start_dir]
    for (begin, member), end in zip(begins, ends, strict=True):
        if begin + 30 + len(member.orig_filename) + member.compress_size > end:  # 30: a local header without its name
            raise Refused(f"its member {member.filename[:80]!r} overlaps with another one")


def _check_directory(path: Path, size: int) -> None:
    """Refuse a table of contents that is large by itself: zipfile reads it whole."""
    with path.open("rb") as stream:
        stream.seek(max(0, size - 65_557))
        tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise Refused("it has no table of contents; it is cut short or no zip archive")
    entries, length = struct.unpack_from("<HI", tail, end + 10)
    wide = tail.rfind(b"PK\x06\x06")
    if wide >= 0 and len(tail) - wide >= 56:
        entries, length = struct.unpack_from("<QQ", tail, wide + 32)
    if entries > MAX_MEMBERS or (length > 64 * MAX_MEMBERS and length != 0xFFFFFFFF):
        raise Refused(f"it has {entries} members, more than the {MAX_MEMBERS} an archive may have")


# npy and npz


def _npy_header(head: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, type and where the data begin. Raises: Refused, or what numpy raises on a damaged header."""
    stream = io.BytesIO(head)
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise Refused(f"it is npy version {version}; write it again with numpy.save")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's hint about headers that Python 2 wrote
        shape, fortran, dtype = read(stream, max_header_size=MAX_HEADER)
    if dtype.kind == "O":
        raise Refused("it holds Python objects, which are pickles; write it again as an array of numbers or texts")
    plain = plain_dtype(dtype.str)
    if len(shape) > 8 or not all(type(length) is int and 0 <= length < 2**48 for length in shape):
        raise Refused("it declares an impossible shape")
    return shape, fortran, plain, stream.tell()


def read_npy(path: Path, mapped: bool = False) -> np.ndarray:
    """An array without objects; `mapped` leaves it on the disk. Raises: DataError if its size does not fit its shape."""
    with reading(path, "npy array"):
        size = path.stat().st_size
        with path.open("rb") as stream:
            shape, fortran, dtype, begin = _npy_header(stream.read(MAX_HEADER + 1000))
        _check_length(shape, dtype, size - begin)
        if not math.prod(shape):
            return np.zeros(shape, dtype=dtype)
        if mapped:
            return np.memmap(path, dtype=dtype, mode="r", offset=begin, shape=shape, order="F" if fortran else "C")
        return np.fromfile(path, dtype=dtype, offset=begin).reshape(shape, order="F" if fortran else "C")


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of an npz file. Raises: DataError if one is absent, or holds objects."""
    with open_zip(path, "npz archive") as archive:
        absent = [name for name in names if f"{name}.npy" not in archive.members]
        if absent:
            raise Refused(f"it has no array {', '.join(absent)}; it has {', '.join(archive.names[:20])}")
        found = {}
        for name in names:
            data = archive.read(f"{name}.npy")
            shape, fortran, dtype, begin = _npy_header(data[: MAX_HEADER + 1000].tobytes())
            _check_length(shape, dtype, len(data) - begin)
            flat = data[begin:].view(dtype) if dtype.itemsize and math.prod(shape) else np.zeros(0, dtype)
            found[name] = flat.reshape(shape, order="F" if fortran else "C")
        return found


def _check_length(shape: Sequence[int], dtype: np.dtype, length: int) -> None:
    if math.prod(shape) * dtype.itemsize != length:
        raise Refused(f"shape {tuple(shape)} of {dtype} needs {math.prod(shape) * dtype.itemsize} bytes, {length} are there")


# torch


_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2",
    "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1", "BFloat16Storage": "bfloat16",
}  # fmt: skip


def read_torch(path: Path) -> np.ndarray:
    """The one tensor or numpy array that `torch.save` wrote, without torch. Raises: DataError; nothing is run.

    Stricter than `torch.load(weights_only=True)`, which makes room for whatever size a file declares.
    """
    with open_zip(path, "torch file") as archive:
        roots = [name.removesuffix("data.pkl") for name in archive.names if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            raise Refused("it is no torch file of version 1.6 or later; load it where it was made and torch.save it again")
        root = roots[0]
        if f"{root}byteorder" in archive.members and archive.read(f"{root}byteorder").tobytes() != b"little":
            raise Refused("its numbers are not little-endian; torch.save it again on another machine")
        calls = {
            **ARRAYS,
            "collections.OrderedDict": lambda: {},
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
        }
        data = archive.read(f"{root}data.pkl").tobytes()
        machine = Machine(io.BytesIO(data), len(data), calls, NAMES | {f"torch.{name}" for name in _STORAGES})
        machine.persistent_load = partial(_storage, archive, root)  # type: ignore[method-assign]
        value = resolve(machine.load())
        if not isinstance(value, np.ndarray):
            raise Refused(f"it holds a {type(value).__name__}; save one tensor or numpy array")
        return value


def _storage(archive: Archive, root: str, key: object) -> np.ndarray:
    """The flat array of a stored tensor's numbers."""
    if not (isinstance(key, tuple) and len(key) == 5 and key[0] == "storage" and isinstance(key[1], Token) and isinstance(key[2], str)):
        raise Refused("its tensors are stored in an unknown way")
    code = _STORAGES.get(key[1].name.removeprefix("torch."))
    if code is None or not re.fullmatch(r"\d{1,9}", key[2]):
        raise Refused("its tensors are of an unknown type")
    raw = archive.read(f"{root}data/{key[2]}")
    dtype = np.dtype("<u2" if code == "bfloat16" else code)
    if type(key[4]) is not int or len(raw) != key[4] * dtype.itemsize:
        raise Refused(f"a tensor declares {key[4]} numbers, its storage has {len(raw)} bytes")
    flat = raw.view(dtype)
    return (flat.astype(np.uint32) << 16).view(np.float32) if code == "bfloat16" else flat


def _tensor(flat: object, offset: object, shape: object, strides: object, *_: object) -> np.ndarray:
    """A copy in C order of the view that offset, shape and strides (in elements) describe."""
    sizes = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    if not isinstance(flat, np.ndarray) or flat.ndim != 1 or not all(type(size) is int and 0 <= size < 2**48 for size in sizes):
        raise Refused("a tensor has an impossible shape")
    assert isinstance(shape, tuple)
    assert isinstance(strides, tuple)
    assert isinstance(offset, int)
    if len(shape) != len(strides) or len(shape) > 8 or math.prod(shape) > len(flat):
        raise Refused("a tensor has more numbers than are stored; save it with .contiguous()")
    if not math.prod(shape):
        return np.zeros(shape, dtype=flat.dtype)
    if offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) >= len(flat):
        raise Refused("a tensor reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(flat[offset:], shape, [stride * flat.itemsize for stride in strides], writeable=False)
    return np.array(view, order="C")


# HDF5


def read_h5ad(path: Path) -> tuple[list[str], np.ndarray]:
    """Row names and matrix of an AnnData file.

    Shapes: -> N names, (N, F) float32. Raises: DataError; also if the HDF5 library crashes, loops or asks for too much memory.
    """
    with reading(path, "h5ad file"), tempfile.TemporaryFile() as complaints:
        if find_spec("h5py") is None:
            raise DataError(f"reading {path.name} needs h5py: pip install 'missing-modality-bench[adni]'")
        size = path.stat().st_size
        most = may_swell(size)
        seconds, megabytes = 2 + size // (4 * MB), 150 + 2 * size // MB  # the process itself takes the other 50
        process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("hdf5.py")), str(path), str(seconds), str(megabytes), str(most)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        watch = threading.Timer(60 + 10 * seconds, process.kill)  # where the system cannot limit processor time, and for slow disks
        watch.start()
        try:
            with process:
                found = _receive(process.stdout, most)
        finally:
            watch.cancel()
        complaints.seek(0)
        complaint = complaints.read(1000).decode("utf-8", "replace").strip()
        if found is None:
            raise Refused(complaint or f"the HDF5 library gave up on it (exit {process.returncode})")
        return found


def _receive(stream: Any, most: int) -> tuple[list[str], np.ndarray] | None:
    """What the HDF5 process sends; None if it stopped before the end."""
    line = stream.readline(most)
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    ids, (rows, columns) = header["ids"], header["shape"]
    values = np.empty((rows, columns), dtype=np.float32)  # no more than `most` bytes: the sender has checked
    view = memoryview(values.data).cast("B")
    done = 0
    while count := stream.readinto(view[done:]):
        done += count
    return (ids, values) if done == len(view) else None


# NIfTI


def read_nifti(path: Path) -> np.ndarray:
    """The 3-D volume of a NIfTI-1 file (.nii or .nii.gz), scaled as its header says. Shapes: -> (X, Y, Z), indexed as nibabel does.

    Source: the NIfTI-1 header (nifti1.h); the first axis varies fastest in the file.
    """
    kinds = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
    with reading(path, "NIfTI volume"), path.open("rb") as raw:
        size = path.stat().st_size
        stream: Any = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        header = stream.read(348)
        refuse_stand_in(path, header)
        if len(header) < 348 or header[344:347] != b"n+1":
            raise Refused("it has no NIfTI-1 header of a single file")
        order = "<" if struct.unpack_from("<i", header)[0] == 348 else ">"
        if struct.unpack_from(f"{order}i", header)[0] != 348:
            raise Refused("its header is not 348 bytes long")
        rank, *shape = struct.unpack_from(f"{order}8h", header, 40)
        code = struct.unpack_from(f"{order}h", header, 70)[0]
        begin, slope, shift = struct.unpack_from(f"{order}3f", header, 108)
        if not 3 <= rank <= 7 or min(shape[:rank]) < 1 or max([1, *shape[3:rank]]) > 1 or code not in kinds:
            raise Refused(f"it must be one 3-D volume of numbers, got {rank} axes {shape[: max(0, rank)]} of type {code}")
        if not math.isfinite(begin) or begin != int(begin) or not 348 <= begin <= MB:
            raise Refused(f"its data begin at byte {begin}")
        dtype = np.dtype(f"{order}{kinds[code]}")
        length = math.prod(shape[:3]) * dtype.itemsize
        if length + begin > (may_swell(size) if path.suffix == ".gz" else size):
            raise Refused(f"a volume {shape[:3]} of {dtype} needs {length} bytes; the file has {size}")
        stream.read(int(begin) - 348)
        data = stream.read(length)
        if len(data) != length or stream.read(1):
            raise Refused(f"a volume {shape[:3]} of {dtype} needs {length} bytes; the file has another number")
        volume = np.frombuffer(data, dtype=dtype).reshape(shape[:3], order="F")
        if slope == 0 or not math.isfinite(slope) or not math.isfinite(shift) or (slope, shift) == (1.0, 0.0):
            return volume
        return volume * np.float64(slope) + np.float64(shift)


# Images


def read_image(path: Path, height: int, width: int) -> np.ndarray:
    """A JPEG or PNG image as RGB, resized. Shapes: -> (height, width, 3) uint8. Raises: DataError, also if it has too many pixels."""
    with reading(path, "image"), warnings.catch_warnings():
        try:
            from PIL import Image
        except ImportError:
            raise DataError(f"reading {path.name} needs pillow: pip install 'missing-modality-bench[image]'") from None
        warnings.simplefilter("ignore")  # pillow's own size warning: the rule below is stricter
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise Refused(f"it has {image.width} x {image.height} pixels, more than the {MAX_PIXELS} an image may have")
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return np.asarray(small, dtype=np.uint8)

"""Files of a published folder that grow with its trials: one while it is small, beyond that numbered pieces. Free of torch.

`records.jsonl` becomes `records/001.jsonl.gz`, `records/002.jsonl.gz`, ..., and `predictions.npz` is cut into `predictions/001.npz` and so
on: hosts of repositories warn of files from 50 MB on and refuse 100 MB. Records that an earlier version cut are plain. The last line of the
records says how many pieces there are, so that one that got lost is missed. Predictions do not compress, and a history keeps each version
of a file whole, so their pieces are smaller: a board that grows by settings leaves all of them but the last as they were.
"""

from __future__ import annotations

import gzip
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST_PLAIN = 8_000_000  # bytes of records that lie in one plain file
MOST_BYTES = 45_000_000  # of a piece of the records, before compression
MOST_TEXT = 2_000_000  # bytes of a rendered file that is written plain
MOST_UNPACKED = 100_000_000  # bytes that a compressed piece of anybody may hold
MOST_PREDICTED = 10_000_000  # of a piece of the predictions, before compression
RECORDS, PREDICTIONS = "records.jsonl", "predictions.npz"
COMPRESSED = f"{RECORDS}.gz"
FORMS = {RECORDS: (RECORDS, COMPRESSED)}  # of a file's pieces, if there are several


def of_folder(folder: Path, name: str) -> list[Path]:
    """The file of this name, or its pieces in order; none where there is neither. Raises: ValueError for several forms, or a gap."""
    place = folder_of(folder, name)
    forms = {form: _numbers(folder, form) for form in FORMS.get(name, (name,))}
    cut = [form for form, numbers in forms.items() if numbers]
    found = [name] * (folder / name).exists() + [f"{place.name}/{piece(1, form)}" for form in cut]
    if len(found) > 1:
        raise ValueError(f"it has both {found[0]} and {found[1]}, of which one is left over")
    if not cut:
        return [folder / path for path in found]
    numbers = forms[cut[0]]
    absent = sorted(set(range(1, len(numbers) + 1)).difference(numbers))
    if absent:
        raise ValueError(f"{place.name}/{piece(absent[0], cut[0])} is not there")
    return [place / piece(number, cut[0]) for number in numbers]


def _numbers(folder: Path, form: str) -> list[int]:
    end = f".{form.partition('.')[2]}"
    found = (path.name.removesuffix(end) for path in folder_of(folder, form).glob(f"*{end}"))
    return sorted(int(number) for number in found if re.fullmatch(r"\d{3,}", number))


def is_published(folder: Path) -> bool:
    """Whether this is a published folder: it has records."""
    return (folder / RECORDS).exists() or any((folder_of(folder, form) / piece(1, form)).exists() for form in FORMS[RECORDS])


def published_in(folder: Path) -> list[Path]:
    """The published folders that lie in a folder, by name."""
    return sorted(path for path in folder.iterdir() if is_published(path)) if folder.is_dir() else []


def lines(folder: Path) -> Iterator[str]:
    """The lines of the records, piece by piece. Raises: OSError, ValueError if they cannot be read."""
    files = of_folder(folder, RECORDS)
    if not files:
        raise FileNotFoundError(f"there is no {RECORDS}")
    for path in files:
        data = path.read_bytes()
        yield from (_unpacked(path, data) if path.suffix == ".gz" else data).decode("utf-8-sig").splitlines()


def _unpacked(path: Path, data: bytes) -> bytes:
    """The bytes of a compressed piece. Raises: ValueError if it is broken, or holds more than a piece does: nobody knows who wrote it."""
    opened = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # one gzip member
    try:
        found = opened.decompress(data, MOST_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"{path.parent.name}/{path.name} is damaged ({error})") from None
    if not opened.eof or opened.unused_data:
        what = "is cut off" if not opened.eof and not opened.unconsumed_tail else f"holds more than {MOST_UNPACKED / 1e6:.0f} MB"
        raise ValueError(f"{path.parent.name}/{path.name} {what if not opened.unused_data else 'has bytes behind its end'}")
    return found


def write_text(path: Path, text: str) -> Path:
    """Write a rendered file, a large one compressed as `NAME.gz`, in the place of either; returns where it lies."""
    data, packed = text.encode(), path.with_name(f"{path.name}.gz")
    where, other = (packed, path) if len(data) > MOST_TEXT and path.suffix == ".json" else (path, packed)
    where.write_bytes(gzip.compress(data, mtime=0) if where == packed else data)
    other.unlink(missing_ok=True)
    return where


def text_of(path: Path) -> str:
    """The text that `write_text` wrote. Raises: OSError, ValueError if it cannot be read, or lies there in both forms."""
    packed = path.with_name(f"{path.name}.gz")
    if path.exists() and packed.exists():
        raise ValueError(f"there are both {path.name} and {packed.name}, of which one is left over")
    return (_unpacked(packed, packed.read_bytes()) if packed.exists() else path.read_bytes()).decode()


def write_lines(folder: Path, lines: Iterable[str]) -> dict[str, int]:
    """Write the records in the place of those that are there, all or none; returns how many pieces of what form, {} for one plain file.

    The same lines make the same bytes, whenever they are written.
    """
    rows = [f"{line}\n".encode() for line in lines]
    if sum(map(len, rows)) <= MOST_PLAIN:
        staged = Staged(folder, RECORDS)
        staged.next().write_bytes(b"".join(rows))
        staged.place()
        return {}
    staged = Staged(folder, COMPRESSED)
    held: list[bytes] = []
    size = 0
    for row in rows:
        if held and size + len(row) > MOST_BYTES:
            staged.next().write_bytes(gzip.compress(b"".join(held), mtime=0))
            held, size = [], 0
        held.append(row)
        size += len(row)
    staged.next().write_bytes(gzip.compress(b"".join(held), mtime=0))
    return {COMPRESSED: staged.place()}


def remove(folder: Path, name: str) -> None:
    """Take away a file of a folder, or its pieces."""
    for file in (name, *(whole for whole, forms in FORMS.items() if name in forms)):
        (folder / file).unlink(missing_ok=True)
    shutil.rmtree(folder_of(folder, name), ignore_errors=True)


class Staged:
    """A file or its pieces, made beside those that are there and put in their place at once."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.fresh = folder / f".{folder_of(folder, name).name}.new"
        shutil.rmtree(self.fresh, ignore_errors=True)
        self.fresh.mkdir()
        self.pieces: list[Path] = []

    def next(self) -> Path:
        """Where the next piece is to be written."""
        self.pieces.append(self.fresh / piece(len(self.pieces) + 1, self.name))
        return self.pieces[-1]

    def place(self) -> int:
        """Returns the number of pieces, 0 for one file; what is compressed is always in pieces."""
        if len(self.pieces) == 1 and self.name != COMPRESSED:
            self.pieces[0].replace(self.folder / self.name)
            shutil.rmtree(folder_of(self.folder, self.name), ignore_errors=True)
            self.fresh.rmdir()
            return 0
        remove(self.folder, self.name)
        self.fresh.rename(folder_of(self.folder, self.name))
        return len(self.pieces)


def folder_of(folder: Path, name: str) -> Path:
    return folder / name.partition(".")[0]


def piece(number: int, name: str) -> str:
    return f"{number:03d}.{name.partition('.')[2]}"

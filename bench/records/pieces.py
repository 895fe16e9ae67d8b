"""Files of a published folder that grow with its trials: one while it is small, beyond that numbered pieces. Free of torch.

`records.jsonl` is cut into `records/001.jsonl`, `records/002.jsonl`, ..., `predictions.npz` into `predictions/001.npz` and so on: hosts of
repositories warn of files from 50 MB on and refuse 100 MB. The last line of the records says how many pieces there are, so that one that
got lost is missed. Predictions do not compress, and a history keeps each version of a file whole, so their pieces are smaller: a board that
grows by settings leaves all of them but the last as they were.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

MOST_BYTES = 45_000_000  # of a piece of the records
MOST_PREDICTED = 10_000_000  # of a piece of the predictions, before compression
RECORDS, PREDICTIONS = "records.jsonl", "predictions.npz"


def of_folder(folder: Path, name: str) -> list[Path]:
    """The file of this name, or its pieces in order; none where there is neither. Raises: ValueError if there are both, or a gap."""
    file, place = folder / name, folder_of(folder, name)
    numbers = sorted(int(path.stem) for path in place.glob(f"*{file.suffix}") if re.fullmatch(r"\d{3,}", path.stem))
    if file.exists() and numbers:
        raise ValueError(f"it has both {name} and {place.name}/, of which one is left over")
    absent = sorted(set(range(1, len(numbers) + 1)).difference(numbers))
    if absent:
        raise ValueError(f"{place.name}/{piece(absent[0], name)} is not there")
    return [place / piece(number, name) for number in numbers] or ([file] if file.exists() else [])


def is_published(folder: Path) -> bool:
    """Whether this is a published folder: it has records."""
    return (folder / RECORDS).exists() or (folder_of(folder, RECORDS) / piece(1, RECORDS)).exists()


def published_in(folder: Path) -> list[Path]:
    """The published folders that lie in a folder, by name."""
    return sorted(path for path in folder.iterdir() if is_published(path)) if folder.is_dir() else []


def lines(folder: Path) -> Iterator[str]:
    """The lines of the records, piece by piece. Raises: OSError, ValueError if they cannot be read."""
    files = of_folder(folder, RECORDS)
    if not files:
        raise FileNotFoundError(f"there is no {RECORDS}")
    for path in files:
        yield from path.read_text(encoding="utf-8-sig").splitlines()


def write_lines(folder: Path, lines: Iterable[str]) -> int:
    """Write the records in the place of those that are there, all or none; returns the number of pieces, 0 for one file."""
    staged = Staged(folder, RECORDS)
    held: list[bytes] = []
    size = 0
    for line in lines:
        data = f"{line}\n".encode()
        if held and size + len(data) > MOST_BYTES:
            staged.next().write_bytes(b"".join(held))
            held, size = [], 0
        held.append(data)
        size += len(data)
    staged.next().write_bytes(b"".join(held))
    return staged.place()


def remove(folder: Path, name: str) -> None:
    """Take away a file of a folder, or its pieces."""
    (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder_of(folder, name), ignore_errors=True)


class Staged:
    """A file or its pieces, made beside those that are there and put in their place at once."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.fresh = folder / f".{Path(name).stem}.new"
        shutil.rmtree(self.fresh, ignore_errors=True)
        self.fresh.mkdir()
        self.pieces: list[Path] = []

    def next(self) -> Path:
        """Where the next piece is to be written."""
        self.pieces.append(self.fresh / piece(len(self.pieces) + 1, self.name))
        return self.pieces[-1]

    def place(self) -> int:
        """Returns the number of pieces, 0 for one file."""
        if len(self.pieces) == 1:
            self.pieces[0].replace(self.folder / self.name)
            shutil.rmtree(folder_of(self.folder, self.name), ignore_errors=True)
            self.fresh.rmdir()
            return 0
        remove(self.folder, self.name)
        self.fresh.rename(folder_of(self.folder, self.name))
        return len(self.pieces)


def folder_of(folder: Path, name: str) -> Path:
    return folder / Path(name).stem


def piece(number: int, name: str) -> str:
    return f"{number:03d}{Path(name).suffix}"

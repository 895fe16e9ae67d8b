"""Values of large data: arrays that are made for the rows that are asked for, when they are asked for.

Small data are held as plain arrays, copied and changed as a trial needs them. Of large data there is one set of arrays on a machine, and
what a trial does to its rows (choosing, hiding, scaling) is noted and done to those that somebody reads.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

SMALL = 50 * 2**20  # bytes of values up to which they are held as plain arrays: a trial is then as fast as it can be, at four times of them
BLOCK = 8 * 2**20  # bytes of values that are looked at together: what a pass over large values needs beside them
PIECE = 2**20  # bytes of values of which several copies are made, as where they are flattened or scaled
HELD = 2**20  # bytes of a file that are read before its pages are let go; the system maps many more around them
DONTNEED = getattr(mmap, "MADV_DONTNEED", None)  # None where a system takes no such advice
Change = Callable[[str, np.ndarray, np.ndarray], np.ndarray]  # of a modality: values of some rows, their places -> other values of these


class Deferred(Mapping[str, np.ndarray]):
    """Modality -> values, made anew at every look: who needs them twice keeps what he got, and who needs a few rows takes these.

    Shapes: shapes[name] of one row; index (N,) int64, the rows that `make` is asked for; make(name, (K,)) -> (K, *shape) float32, an array
    that nobody else holds.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], index: np.ndarray, make: Callable[[str, np.ndarray], np.ndarray]) -> None:
        self.shapes, self.index, self._make = dict(shapes), index, make

    def __getitem__(self, name: str) -> np.ndarray:
        """All values of a modality, made block by block. Shapes: -> (N, *shape) float32."""
        made = np.empty((len(self.index), *self.shapes[name]), dtype=np.float32)
        for rows in blocks(len(self.index), self.shapes[name]):
            made[rows] = self.block(name, rows)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.index)} rows of {', '.join(self.shapes)})"

    def take(self, name: str, rows: np.ndarray) -> np.ndarray:
        """A new array of some rows, in the order given. Shapes: rows (K,) int64 -> (K, *shape) float32."""
        return self._make(name, self.index[rows])

    def block(self, name: str, rows: slice) -> np.ndarray:
        """Values of rows that lie side by side, to be read alone. Shapes: -> (K, *shape) float32."""
        return self.take(name, np.arange(rows.start, rows.stop))

    def rows(self, index: np.ndarray) -> Deferred:
        """The chosen rows; none is made. Shapes: index (K,) int64 or (N,) bool."""
        return Deferred(self.shapes, self.index[index], self._make)

    def only(self, names: tuple[str, ...]) -> Deferred:
        """Some of the modalities."""
        return Deferred({name: self.shapes[name] for name in names}, self.index, self._make)

    def then(self, change: Change) -> Deferred:
        """The same rows, changed by `change` once they are made; it may write into what it is given, and keeps the shape."""
        return Deferred(self.shapes, np.arange(len(self.index)), lambda name, rows: change(name, self.take(name, rows), rows))


class Stored(Deferred):
    """Arrays as they were loaded: the one copy on a machine. A look at a whole modality gives the array itself, to be read alone.

    `kept` holds what was worked out of a modality once, by its name, for all that share these arrays.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays, self.kept = {name: np.asarray(array) for name, array in arrays.items()}, dict[str, Any]()
        self._maps = {name: found for name, array in self.arrays.items() if (found := _file_map(array)) is not None}
        self._held = 0  # bytes read from maps since their pages were let go
        count = len(next(iter(self.arrays.values())))
        super().__init__({name: array.shape[1:] for name, array in self.arrays.items()}, np.arange(count), self._gather)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def block(self, name: str, rows: slice) -> np.ndarray:
        found = self.arrays[name][rows]
        self._taken(name, found.nbytes)
        return found

    def only(self, names: tuple[str, ...]) -> Stored:
        chosen = Stored({name: self.arrays[name] for name in names})
        chosen.kept = self.kept
        return chosen

    def _gather(self, name: str, rows: np.ndarray) -> np.ndarray:
        found = self.arrays[name][rows]
        self._taken(name, found.nbytes)
        return found

    def _taken(self, name: str, size: int) -> None:
        """Note bytes that were read. After some of a file's, its pages are let go: the system's cache keeps them, not this process."""
        if name in self._maps:
            self._held += size
            if self._held >= HELD:
                self._held = 0
                for found in self._maps.values():
                    found.madvise(DONTNEED)


def size_of(values: Mapping[str, np.ndarray]) -> int:
    """Bytes of all values, made or not."""
    if isinstance(values, Deferred):
        return 4 * len(values.index) * sum(int(np.prod(shape, dtype=np.int64)) for shape in values.shapes.values())
    return sum(array.nbytes for array in values.values())


def blocks(rows: int, shape: tuple[int, ...], size: int = BLOCK) -> Iterator[slice]:
    """Rows cut into pieces of at most `size` bytes, a row each at least."""
    step = max(1, size // (4 * int(np.prod(shape, dtype=np.int64))))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _file_map(array: np.ndarray) -> Any:
    """The map of a file that an array reads and nobody writes through; None if it is none, or its pages cannot be let go."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return getattr(base, "_mmap", None) if base is not None and base.mode == "r" and DONTNEED is not None else None

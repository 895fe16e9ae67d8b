"""The predictions of a published folder: written setting by setting, and read file by file. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bench.records.pieces import MOST_PREDICTED, PREDICTIONS, Staged, of_folder
from bench.records.predictions import Predictions, stack, unstack

KEPT_FILES = 2  # that stay in memory: the settings of one are asked for one after the other


def write_predictions(folder: Path, batches: Iterable[Mapping[str, Predictions]], order: Iterable[str]) -> int:
    """Write predictions by trial in the place of those that are there, all or none; returns the number of pieces, 0 for one file.

    A batch, the trials of a setting, stays in one file if it fits. In a file trials stand in the given order.
    """
    staged, place = Staged(folder, PREDICTIONS), {id_: number for number, id_ in enumerate(order)}
    held: dict[str, Predictions] = {}

    def write() -> None:
        with staged.next().open("wb") as stream:
            np.savez_compressed(stream, **stack({id_: held[id_] for id_ in sorted(held, key=place.__getitem__)}))  # type: ignore[arg-type]

    for batch in batches:
        for one in [batch] if size_of(batch) <= MOST_PREDICTED else [{id_: found} for id_, found in batch.items()]:
            if held and size_of({**held, **one}) > MOST_PREDICTED:
                write()
                held.clear()
            held |= one
    write()
    return staged.place()


def size_of(predictions: Mapping[str, Predictions]) -> int:
    """Bytes of their arrays; one that several share counts once."""
    arrays = {id(a): a.nbytes for one in predictions.values() for a in (one.ids, one.target, one.outputs, *one.evaluations.values())}
    return sum(arrays.values())


class StackedFiles:
    """The predictions of a published folder, from the files that hold the trials that are asked for; the last few files stay in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, Path] | None = None
        self.read: dict[Path, dict[str, Predictions]] = {}

    def of(self, ids: Iterable[str]) -> dict[str, Predictions]:
        """Those of the trials that have some, in the order asked for. Raises: OSError, ValueError, KeyError, BadZipFile, zlib.error."""
        wanted = dict.fromkeys(ids)
        if self.places is None:
            files = of_folder(self.folder, PREDICTIONS)
            if not files:
                raise FileNotFoundError(f"there is no {PREDICTIONS}")
            self.places = {id_: path for path in files for id_ in _trials_in(path)}
        found: dict[str, Predictions] = {}
        for path in dict.fromkeys(self.places[id_] for id_ in wanted if id_ in self.places):
            here = self._file(path)
            found |= {id_: here[id_] for id_ in wanted if self.places.get(id_) == path}
        return {id_: found[id_] for id_ in wanted if id_ in found}

    def _file(self, path: Path) -> dict[str, Predictions]:
        if path not in self.read:
            while len(self.read) >= KEPT_FILES:
                del self.read[next(iter(self.read))]
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                self.read[path] = unstack(arrays, arrays.files, _trials(arrays))
        return self.read[path]


def _trials_in(path: Path) -> list[str]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return _trials(arrays)


def _trials(arrays: np.lib.npyio.NpzFile) -> list[str]:
    """The trials of a file, of which only their ids are read; in files of before the stacking each has arrays of its own."""
    stacked = [name for name in arrays.files if re.fullmatch(r"[^/]+/trials", name)]
    heads = {name.partition("/")[0] for name in arrays.files} - {name.partition("/")[0] for name in stacked}
    return [*(str(id_) for name in stacked for id_ in arrays[name].tolist()), *sorted(heads)]

"""Predictions in the database: the test rows once, and of each trial the bytes of its outputs. Free of torch.

Table `test_rows` has a row for each test set: the SHA-256 of what follows, ids as a JSON list, targets as little-endian int64; those of
labels and values as a file of numpy's (npy), which says what they are: no class has a number so large. Table
`outputs` has a row for each trial and rule ("" for the main outputs): form (`logits` or `scores`), type of number as numpy writes it
(`<f4`), number of classes, labels or 1, and N x C numbers, row by row. Table `natural` has, for trials whose test rows lack modalities by
nature and that are tested under further rules, the number of modalities and N x M bits, row by row: what the rows have. Nothing is
compressed, for such numbers hardly become smaller. A database of before has a table `predictions` with a compressed file (npz) a trial in
place of both: it is read as it is, and a row of it goes when its trial runs again.
"""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from bench.errors import UsageError
from bench.records.predictions import Predictions
from bench.stats.kinds import kind_of

TABLES = """
CREATE TABLE IF NOT EXISTS test_rows (hash TEXT PRIMARY KEY, ids TEXT NOT NULL, target BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outputs (
    id TEXT NOT NULL REFERENCES trials (id), rule TEXT NOT NULL, test_rows TEXT NOT NULL REFERENCES test_rows (hash), form TEXT NOT NULL,
    dtype TEXT NOT NULL, classes INTEGER NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (id, rule)
);
CREATE TABLE IF NOT EXISTS natural (id TEXT PRIMARY KEY REFERENCES trials (id), modalities INTEGER NOT NULL, bits BLOB NOT NULL);
"""
TARGET = np.dtype("<i8")


NPY = b"\x93NUMPY"


def target_bytes(target: np.ndarray) -> bytes:
    """Targets as the table has them."""
    if kind_of(target).name == "classes":
        return np.ascontiguousarray(target, TARGET).tobytes()
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(target, target.dtype.newbyteorder("<")), allow_pickle=False)
    return stream.getvalue()


def targets_in(blob: bytes) -> np.ndarray:
    """What `target_bytes` gave."""
    return np.lib.format.read_array(io.BytesIO(blob), allow_pickle=False) if blob.startswith(NPY) else np.frombuffer(blob, TARGET)


class Arrays:
    """The predictions of one database, through a connection of its store."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.known: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # ids (N,) and targets (N,) by hash: one object for all trials

    @cached_property
    def tables(self) -> frozenset[str]:
        """Which of the tables are there: a database of before that is only read lacks the new ones, a new one the old."""
        found = self.connection.execute("SELECT name FROM sqlite_master WHERE name IN ('outputs', 'natural', 'predictions')")
        return frozenset(name for (name,) in found)

    def write(self, id_: str, predictions: Predictions) -> None:
        """Put predictions in the place of those that the trial has, inside the caller's transaction."""
        ids = json.dumps(predictions.ids.astype(str).tolist())
        target = target_bytes(predictions.target)
        hash_ = hashlib.sha256(ids.encode() + b"\0" + target).hexdigest()
        self.connection.execute("INSERT OR IGNORE INTO test_rows VALUES (?, ?, ?)", (hash_, ids, target))
        for table in self.tables:
            self.connection.execute(f"DELETE FROM {table} WHERE id = ?", (id_,))
        for rule, outputs in {"": predictions.outputs, **predictions.evaluations}.items():
            dtype = outputs.dtype.newbyteorder("<")
            row = (id_, rule, hash_, predictions.form, dtype.str, outputs.shape[1], np.ascontiguousarray(outputs, dtype).tobytes())
            self.connection.execute("INSERT INTO outputs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if predictions.observed is not None:
            bits = np.packbits(predictions.observed).tobytes()
            self.connection.execute("INSERT INTO natural VALUES (?, ?, ?)", (id_, predictions.observed.shape[1], bits))

    def read(self, ids: Iterable[str]) -> dict[str, Predictions]:
        """Those of the trials that have some, in the order asked for. Raises: UsageError if some are damaged."""
        found = {id_: self._read(id_) for id_ in ids}
        return {id_: predictions for id_, predictions in found.items() if predictions is not None}

    def _read(self, id_: str) -> Predictions | None:
        if "outputs" in self.tables:
            query = "SELECT rule, test_rows, form, dtype, classes, numbers FROM outputs WHERE id = ? ORDER BY rowid"
            parts = self.connection.execute(query, (id_,)).fetchall()
            if parts:
                return self._joined(id_, parts)
        if "predictions" in self.tables:
            row = self.connection.execute("SELECT arrays FROM predictions WHERE id = ?", (id_,)).fetchone()
            return None if row is None else Predictions.read(row[0])
        return None

    def _joined(self, id_: str, parts: list[tuple[str, str, str, str, int, bytes]]) -> Predictions:
        _, hash_, form, *_ = parts[0]
        ids, target = self._rows(hash_)
        try:
            outputs = {rule: np.frombuffer(blob, dtype).reshape(len(ids), classes) for rule, _, _, dtype, classes, blob in parts}
            return Predictions(ids, target, outputs.pop(""), outputs, form, self._natural(id_, len(ids)))
        except (ValueError, KeyError) as error:
            raise UsageError(f"predictions of trial {id_} are damaged: {error}; run the trial again") from None

    def _natural(self, id_: str, rows: int) -> np.ndarray | None:
        """What the rows have (N, M) bool, None if that is all or was not asked for."""
        found = None
        if "natural" in self.tables:
            found = self.connection.execute("SELECT modalities, bits FROM natural WHERE id = ?", (id_,)).fetchone()
        if found is None:
            return None
        bits = np.unpackbits(np.frombuffer(found[1], np.uint8), count=rows * found[0])
        return bits.astype(bool).reshape(rows, found[0])

    def _rows(self, hash_: str) -> tuple[np.ndarray, np.ndarray]:
        if hash_ not in self.known:
            ids, target = self.connection.execute("SELECT ids, target FROM test_rows WHERE hash = ?", (hash_,)).fetchone()
            self.known[hash_] = np.array(json.loads(ids), dtype=str), targets_in(target)
        return self.known[hash_]

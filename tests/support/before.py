"""Results folders as earlier versions of bench wrote them."""

import io
import sqlite3

import numpy as np

from bench.records.arrays import Arrays


def packed(predictions):
    """Predictions as a compressed file, which was stored for each trial."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **predictions.named())
    return buffer.getvalue()


def set_back(database, version=2):
    """Make of a results database one whose predictions are files, as versions 1 and 2 had them."""
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE predictions (id TEXT PRIMARY KEY REFERENCES trials (id), arrays BLOB NOT NULL)")
    ids = [id_ for (id_,) in connection.execute("SELECT DISTINCT id FROM outputs")]
    for id_, found in Arrays(connection).read(ids).items():
        connection.execute("INSERT INTO predictions VALUES (?, ?)", (id_, packed(found)))
    for table in ("outputs", "test_rows"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()

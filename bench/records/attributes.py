"""Attributes of samples in a results folder and in a published one: once for each dataset, by its fingerprint. Free of torch.

No trial depends on them, so they are no part of one: a run notes those of its datasets when it plans, and those of before are replaced. So
an attribute that a description states later needs no trial anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.data.attributes import Attributes

TABLES = """
CREATE TABLE IF NOT EXISTS attributes (fingerprint TEXT PRIMARY KEY, found TEXT NOT NULL);
"""
FILE = "attributes.json"  # of a published folder
ByData = Mapping[str, Attributes]  # fingerprint of a dataset -> attributes of its samples


def write(connection: sqlite3.Connection, found: ByData) -> None:
    """Within a transaction of the caller's: put these in the place of those that are there, also if a dataset states none any more."""
    connection.executemany("DELETE FROM attributes WHERE fingerprint = ?", [(fingerprint,) for fingerprint in found])
    rows = [(fingerprint, json.dumps(one.as_json())) for fingerprint, one in found.items() if one.groups]
    connection.executemany("INSERT INTO attributes VALUES (?, ?)", rows)


def read(connection: sqlite3.Connection, fingerprints: Iterable[str]) -> dict[str, Attributes]:
    """Those of the datasets that have some; none in a database of before there were any."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'attributes'").fetchone():
        return {}
    query = "SELECT found FROM attributes WHERE fingerprint = ?"
    rows = ((one, connection.execute(query, (one,)).fetchone()) for one in dict.fromkeys(fingerprints))
    return {one: Attributes.from_json(json.loads(row[0])) for one, row in rows if row is not None}


def write_file(folder: Path, found: ByData) -> None:
    """Put these in the place of those that a published folder has; none: it has no such file."""
    (folder / FILE).unlink(missing_ok=True)
    if found:
        lines = [f"{json.dumps(fingerprint)}: {json.dumps(found[fingerprint].as_json())}" for fingerprint in sorted(found)]
        (folder / FILE).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_file(folder: Path) -> dict[str, Attributes]:
    """Those of a published folder. Raises: OSError, ValueError, KeyError, TypeError, IndexError if its file is broken."""
    path = folder / FILE
    if not path.exists():
        return {}
    return {name: Attributes.from_json(found) for name, found in json.loads(path.read_text(encoding="utf-8")).items()}

"""Which trials are stored, at a glance: what a shell completes on each key. Loads none of what records are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.names import method_label, path_of
from bench.records import pieces
from bench.records.reading import connect


class Glance(NamedTuple):
    """A stored trial, by what it is asked for."""

    id: str
    method: str  # as tables name it, but for rows with a name of their own
    where: str  # dataset, combination, protocol and seed


def glance(out: Path | str, published: Path | str | None = None) -> list[Glance]:
    """The trials of a results folder, or of a published one; none where there is no such folder.

    Raises: OSError, ValueError, sqlite3.Error, UsageError if it cannot be read.
    """
    found = []
    for id_, trial in _of_folder(path_of(published)) if published is not None else _of_store(path_of(out)):
        label = method_label(trial["method"], trial["preset"], trial["options"])
        where = f"{trial['dataset']} {trial['combination']} {trial['protocol']} seed {trial['seed']}"
        found.append(Glance(id_, label, where))
    return found


def _of_store(folder: Path) -> Iterator[tuple[str, dict]]:
    path = folder / "bench.db"
    if path.exists():
        connection = connect(path)
        try:
            for id_, trial in connection.execute("SELECT id, trial FROM trials ORDER BY rowid"):
                yield id_, json.loads(trial)
        finally:
            connection.close()


def _of_folder(folder: Path) -> Iterator[tuple[str, dict]]:
    if pieces.is_published(folder):
        for line in pieces.lines(folder):
            record = json.loads(line)
            if "trial" in record:
                yield record["id"], record["trial"]

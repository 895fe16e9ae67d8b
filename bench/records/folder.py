"""A published leaderboard folder, read as `Store` reads a results folder: for readers without the database. Free of torch."""

from __future__ import annotations

import json
import tomllib
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.names import bare_choice, path_of
from bench.question.suite import suite_from
from bench.question.winners import winners_of
from bench.records import attributes, pieces, verification
from bench.records.answers import Answers, StoredPredictions, named
from bench.records.database import Store, one_of
from bench.records.predictions import Predictions
from bench.records.record import Finding, Record
from bench.records.scoring import agreeing
from bench.records.shared import Reader
from bench.records.stacked import StackedFiles

CUT = "cut"  # key of a folder's last line: which files are in pieces, and in how many
WITHHELD = "withheld"  # what a folder's last line says of predictions that were left out on purpose
NO_PREDICTIONS = (
    "was published without predictions: its pages are compared with their hashes, and scores cannot be taken again, nor other pairs or "
    "metrics be tested, nor pages be rendered; whoever has the results folder can"
)


class Folder:
    """`suite.toml`, `records.jsonl`, `predictions.npz` and `audit.json` of a folder that `bench leaderboard --publish` wrote.

    Large files may lie in pieces (see `bench.records.pieces`). Predictions are read when they are asked for; a folder that was published
    without them says so (`withheld`) and has none.
    Raises: UsageError if a file is absent or broken.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = path_of(folder)
        self._stacked = StackedFiles(self.folder)
        try:
            self.suite = suite_from(self.folder.name, tomllib.loads((self.folder / "suite.toml").read_text(encoding="utf-8-sig")))
            said: dict[str, Any] = {}  # of all records
            self._records, read = [], Reader()
            for line in map(json.loads, pieces.lines(self.folder)):
                if "commands" in line:
                    said = line
                else:
                    self._records.append(read.line(line))
            self.cut: dict[str, int] = dict(said.get(CUT, {}))  # file -> number of its pieces, of those that are cut
            self._check_pieces()
            self.commands: list[str] = said.get("commands", [])
            self.left_out: list[str] = said.get("left_out", [])
            self.pages: dict[str, str] = dict(said.get("pages", {}))  # name -> SHA-256, where they cannot be rendered again
            self.withheld = NO_PREDICTIONS if said.get("predictions") == WITHHELD else ""  # why there are no predictions
            self._attributes = attributes.read_file(self.folder)
            path = self.folder / "audit.json"  # absent where it was published before there were audits
            self._records = _with_verified(self._records, self.folder)
            self._audits = [Finding(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise self._broken(error) from None

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open."""

    def _check_pieces(self) -> None:
        """Raises: ValueError if pieces got lost at the end: those between are missed by their numbers."""
        if not (self.folder / pieces.RECORDS).exists() and not self.cut.keys() & set(pieces.FORMS[pieces.RECORDS]):  # its last line says so
            raise ValueError(f"the last piece of {pieces.RECORDS} is not there")
        for name, number in self.cut.items():
            found = len(pieces.of_folder(self.folder, pieces.RECORDS if name == pieces.COMPRESSED else name))
            if found != number:
                raise ValueError(f"{name} was cut into {number} pieces, of which {found} are there")

    def _broken(self, error: Exception) -> UsageError:
        return UsageError(f"leaderboard folder {self.folder} cannot be read: {type(error).__name__}: {error}; publish it again")

    def refuse_withheld(self) -> None:
        """Raises: UsageError if it was published without predictions."""
        if self.withheld:
            raise UsageError(f"{self.folder} {self.withheld}")

    def answers(self, suite: str | None = None) -> Answers:
        """The question, every record, and what belongs to them. Raises: UsageError if it is of another suite."""
        if suite not in (None, self.suite.name):
            raise UsageError(f"{self.folder} holds one suite, {self.suite.name!r}, got {suite!r}; leave --suite out")
        records = named(self.records(), winners_of(self.suite))
        predictions = StoredPredictions((record.trial.id for record in records), self.predictions)
        name, withheld, cut = named_folder(self.folder), bool(self.withheld), tuple(self.cut)
        return Answers(
            self.suite, records, predictions, self.audits(), self.commands, name, self.left_out, withheld=withheld, cut=cut,
            attributes=self._attributes,
        )  # fmt: skip

    def records(self) -> list[Record]:
        return list(self._records)

    def record(self, id_: str) -> Record:
        """The record whose id starts with `id_`. Raises: UsageError if none or several do."""
        return one_of([record for record in self._records if record.trial.id.startswith(id_)], id_, f"--from {self.folder}")

    def audits(self) -> list[Finding]:
        return list(self._audits)

    def predictions(self, ids: Iterable[str]) -> dict[str, Predictions]:
        """Stored predictions of the trials that have some, in the order asked for."""
        if self.withheld:
            return {}
        try:
            return self._stacked.of(ids)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise self._broken(error) from None


def named_folder(folder: Path) -> str:
    """A published folder as a reader of the repository names it."""
    return f"leaderboards/{folder.resolve().name}"


def _with_verified(records: list[Record], folder: Path) -> list[Record]:
    found = verification.verified(verification.of_folder(folder))
    if not found:
        return records
    keys = [(bare_choice(record.trial.choice), record.trial.version) for record in records]
    return [replace(record, verified=found.get(key, "")) for record, key in zip(records, keys, strict=True)]


def opened(out: Path | str, published: Path | str | None = None) -> Store | Folder:
    """The answers of a results folder, or of a published one if that is given. Raises: UsageError if there are none."""
    return Folder(published) if published is not None else Store(out, create=False)


def salt_of(out: Path | str | None) -> bytes | None:
    """The salt of a results folder, if one is given. Raises: UsageError if there are no results."""
    if out is None:
        return None
    with Store(out, create=False) as store:
        return store.salt()


def answers_of(out: Path | str, published: Path | str | None = None, suite: str | None = None) -> Answers:
    """The answers of a results folder's latest run, or of its latest of a suite, or of a published folder. Raises: UsageError.

    The first harness stored other scores than it had taken metrics of; records of it say what is stored, as their tests do.
    """
    with opened(out, published) as source:
        found = source.answers(suite)
        is_first = published is None and any(record.trial.harness < 2 for record in found.records)
        return agreeing(found) if is_first else found

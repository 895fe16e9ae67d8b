"""A results folder: one SQLite file with trials, records and predictions. Free of torch.

The driver is the only writer and holds a file lock while it runs; a record and its predictions are written in one synced
transaction, so a record means finished, whatever happens next. Readers need no lock.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import tomllib
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from bench.errors import UsageError
from bench.names import path_of
from bench.question.suite import Suite, suite_from
from bench.question.trial import Trial
from bench.question.winners import latest as latest_winners
from bench.question.winners import winners_of
from bench.records import attributes as of_samples
from bench.records.answers import Answers, StoredPredictions, current, named
from bench.records.arrays import TABLES as OF_PREDICTIONS
from bench.records.arrays import Arrays
from bench.records.ids import new_salt
from bench.records.predictions import Predictions
from bench.records.reading import connect, share_of
from bench.records.record import Finding, Record
from bench.records.shared import Reader

SCHEMA_VERSION = 3  # 2: predictions may be logits. 3: they lie as raw arrays, test rows once. What earlier versions wrote is read as it is
CACHE_KB = 64 * 1024  # of pages in memory: the ids of 10^5 trials come in no order, and their index is walked for each
TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    run INTEGER PRIMARY KEY, started REAL NOT NULL, suite TEXT NOT NULL, toml TEXT NOT NULL, family TEXT NOT NULL, command TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS plans (run INTEGER NOT NULL, position INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (run, id));
CREATE TABLE IF NOT EXISTS trials (
    id TEXT PRIMARY KEY, trial TEXT NOT NULL, status TEXT NOT NULL, reason TEXT,
    metrics TEXT NOT NULL DEFAULT '{}', cost TEXT NOT NULL DEFAULT '{}', facts TEXT NOT NULL DEFAULT '{}',
    provenance TEXT NOT NULL DEFAULT '{}', ended REAL, attempts INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS audits (
    method TEXT NOT NULL, version TEXT NOT NULL, findings TEXT NOT NULL, ended REAL NOT NULL, PRIMARY KEY (method, version)
);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Run:
    """A run as it was noted before it began: what was asked, and its plan."""

    suite: str
    toml: str
    family: str  # hash of budget, selection and what varies; see `question.plan.budget_key`
    command: str
    started: float  # seconds since 1970
    plan: tuple[tuple[int, str], ...]  # places in the whole plan, and ids

    @property
    def question(self) -> tuple[str, str, str, str]:
        """What two runs share that ask the same."""
        return self.suite, self.toml, self.family, self.command


class Store:
    """`bench.db` in a folder. Raises: UsageError if it cannot be opened, is from a newer version, or the disk refuses."""

    def __init__(self, folder: Path | str, create: bool = True) -> None:
        self.folder = path_of(folder)
        self.path = self.folder / "bench.db"
        if not create and not self.path.exists():
            raise UsageError(f"no results in {self.folder}: there is no {self.path.name}; run `bench run --out {self.folder}` first")
        with self._explained():
            if create:
                (self.folder / "logs").mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(self.path) if create else connect(self.path)
            self.connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                self.connection.close()
                raise UsageError(
                    f"{self.path} was written by a newer bench (format {version}, this one reads {SCHEMA_VERSION}); upgrade bench"
                )
            if version == 0 and not create:  # the version is written last
                self.connection.close()
                raise UsageError(
                    f"no results in {self.folder} yet: {self.path.name} is being made; try again in a moment, and if it is a copy, copy "
                    f"{self.path.name}-wal beside it too"
                )
            if create:
                self.connection.execute("PRAGMA journal_mode = WAL")
                self.connection.execute("PRAGMA synchronous = FULL")
                self.connection.executescript(TABLES + OF_PREDICTIONS + of_samples.TABLES)
                self.connection.execute("INSERT OR IGNORE INTO secrets VALUES ('salt', ?)", (new_salt(),))  # one for good: see `salt`
                self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self.connection.commit()
            self._arrays = Arrays(self.connection)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            share, way = share_of(self.folder), "mend it or give another --out"
            if share is not None:  # SQLite's log of writes needs memory that readers share, and its locks do not hold there
                way = f"it lies on a share ({share}), which databases do not go well with: give an --out on a disk of this machine"
            raise UsageError(f"results folder {self.folder} cannot be used: {error}; finished trials are safe, {way}") from None

    @contextmanager
    def writing(self, wait: bool = False) -> Iterator[None]:
        """Hold the folder's lock: one run at a time. Raises: UsageError if another run holds it and `wait` is False."""
        lock = FileLock(self.folder / "bench.lock")
        with self._explained():
            try:
                lock.acquire(timeout=-1 if wait else 0)
            except Timeout:
                raise UsageError(f"another run is writing to {self.folder}; wait for it (--wait), stop it, or give another --out") from None
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Keep runs out of a folder that is read as a whole. Raises: UsageError if one is writing to it.

        Where nobody may write here, or no run ever did, there is nothing to keep out.
        """
        path = self.folder / "bench.lock"
        if not path.exists() or not os.access(path, os.W_OK):
            yield
            return
        lock = FileLock(path)
        with self._explained():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise UsageError(f"a run is writing to {self.folder}; wait until it has ended, or stop it") from None
        try:
            yield
        finally:
            lock.release()

    def check_whole(self) -> None:
        """Raises: UsageError if the file is damaged."""
        with self._explained():
            found = [text for (text,) in self.connection.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise UsageError(
                f"{self.path} is damaged: {' '.join(found[0].split())}; copy it anew, with {self.path.name}-wal if there is one"
            )

    def runs(self) -> list[Run]:
        """Every run that was begun, oldest first."""
        with self._explained():
            plans: dict[int, list[tuple[int, str]]] = defaultdict(list)
            for run, position, id_ in self.connection.execute("SELECT run, position, id FROM plans ORDER BY run, position"):
                plans[run].append((position, id_))
            rows = self.connection.execute("SELECT run, suite, toml, family, command, started FROM runs ORDER BY run").fetchall()
        return [Run(suite, toml, family, command, started, tuple(plans[run])) for run, suite, toml, family, command, started in rows]

    def lay_out(self, runs: Iterable[Run], trials: Iterable[Trial]) -> None:
        """Put these runs in the place of all that are noted; trials that are not known yet are planned, in this order."""
        with self._explained(), self.connection:
            self.connection.execute("DELETE FROM plans")
            self.connection.execute("DELETE FROM runs")
            for run in runs:
                row = (run.started, *run.question)
                number = self.connection.execute(
                    "INSERT INTO runs (started, suite, toml, family, command) VALUES (?, ?, ?, ?, ?)", row
                ).lastrowid
                self.connection.executemany("INSERT INTO plans VALUES (?, ?, ?)", ((number, *place) for place in run.plan))
            self.connection.executemany(
                "INSERT OR IGNORE INTO trials (id, trial, status) VALUES (?, ?, 'planned')", ((t.id, t.to_json()) for t in trials)
            )

    def ends(self) -> dict[str, tuple[float | None, int]]:
        """When each trial ended, in seconds since 1970, and how often it was tried."""
        with self._explained():
            return {id_: (ended, tries) for id_, ended, tries in self.connection.execute("SELECT id, ended, attempts FROM trials")}

    def add(self, found: Iterable[tuple[Record, Predictions | None]], ends: Mapping[str, tuple[float | None, int]]) -> None:
        """Store trials of another folder, all in one transaction; they keep what its `ends` says."""
        with self._explained(), self.connection:
            for record, predictions in found:
                ended, attempts = ends[record.trial.id]
                self._put(record, predictions, ended)
                self.connection.execute("UPDATE trials SET attempts = ? WHERE id = ?", (attempts, record.trial.id))

    def plan(
        self, suite: Suite, budget_key: str, command: str, trials: Iterable[Trial], positions: Sequence[int] | None = None
    ) -> None:  # fmt: skip
        """Note a run and its trials before anything starts, so that one that never ends is still seen.

        Of a shard `positions` are their places in the whole plan, which tell the order in a merged one. The latest run, asked once more,
        is not noted twice: it has begun anew.
        """
        trials = list(trials)
        with self._explained(), self.connection:
            self.connection.executemany(  # of a trial that is known: where its files lie now
                "INSERT INTO trials (id, trial, status) VALUES (?, ?, 'planned') ON CONFLICT (id) DO UPDATE SET trial = excluded.trial"
                " WHERE trial != excluded.trial",
                ((trial.id, trial.to_json()) for trial in trials),
            )
            row = (suite.name, suite.to_toml(), budget_key, command)
            ids = list(dict.fromkeys(trial.id for trial in trials))
            last = self.connection.execute("SELECT run, suite, toml, family, command FROM runs ORDER BY run DESC LIMIT 1").fetchone()
            if last is not None and last[1:] == row and self._planned(last[0]) == ids:
                self.connection.execute("UPDATE runs SET started = ? WHERE run = ?", (time.time(), last[0]))
                return
            cursor = self.connection.execute(
                "INSERT INTO runs (started, suite, toml, family, command) VALUES (?, ?, ?, ?, ?)", (time.time(), *row)
            )
            places = range(len(ids)) if positions is None else positions
            plan = ((cursor.lastrowid, position, id_) for position, id_ in zip(places, ids, strict=True))
            self.connection.executemany("INSERT INTO plans VALUES (?, ?, ?)", plan)

    def note_attributes(self, found: of_samples.ByData) -> None:
        """Attributes of samples by the fingerprint of their dataset, in the place of those that were noted before."""
        with self._explained(), self.connection:
            of_samples.write(self.connection, found)

    def attributes(self, fingerprints: Iterable[str]) -> of_samples.ByData:
        """Those of the samples of these datasets, where they have some."""
        with self._explained():
            return of_samples.read(self.connection, fingerprints)

    def _planned(self, run: int) -> list[str]:
        """The ids of a run, in the order of its plan."""
        return [id_ for (id_,) in self.connection.execute("SELECT id FROM plans WHERE run = ? ORDER BY position", (run,))]

    def write(self, record: Record, predictions: Predictions | None) -> None:
        """Store a finished trial in one transaction. One that is still planned, since the machine failed it, keeps the reason alone."""
        with self._explained(), self.connection:
            self._put(record, predictions, time.time())

    def _put(self, record: Record, predictions: Predictions | None, ended: float | None) -> None:
        """Within a transaction."""
        found = record.as_json()
        columns = [json.dumps(found[name]) for name in COLUMNS]
        self.connection.execute(
            "UPDATE trials SET status = ?, reason = ?, metrics = ?, cost = ?, facts = ?, provenance = ?, ended = ?,"
            " attempts = attempts + 1 WHERE id = ?",
            (record.status, record.reason, *columns, ended, record.trial.id),
        )
        if predictions is not None:
            self._arrays.write(record.trial.id, predictions)

    def write_audit(self, findings: Sequence[Finding]) -> None:
        """Store the findings on one method, in place of earlier ones on the same version of it."""
        row = (findings[0].label, findings[0].version, json.dumps([asdict(finding) for finding in findings]), time.time())
        with self._explained(), self.connection:
            self.connection.execute("INSERT OR REPLACE INTO audits VALUES (?, ?, ?, ?)", row)

    def audits(self) -> list[Finding]:
        """Every finding stored, method by method."""
        with self._explained():
            if not self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'audits'").fetchone():
                return []  # a file from before there were audits, opened for reading
            rows = self.connection.execute("SELECT findings FROM audits ORDER BY method, version").fetchall()
        return [Finding(**found) for (text,) in rows for found in json.loads(text)]

    def salt(self) -> bytes:
        """What ids of samples are hashed with where they leave this folder; it never leaves itself.

        A folder of before there were salts gets one now, which needs the right to write there. Raises: UsageError.
        """
        with self._explained():
            if self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'secrets'").fetchone():
                return self.connection.execute("SELECT value FROM secrets WHERE name = 'salt'").fetchone()[0]
        with Store(self.folder) as writable:
            return writable.salt()

    def known_salt(self) -> bytes | None:
        """The salt of this folder, if it has one yet."""
        with self._explained():
            if not self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'secrets'").fetchone():
                return None
            row = self.connection.execute("SELECT value FROM secrets WHERE name = 'salt'").fetchone()
        return None if row is None else row[0]

    def keep_salt(self, salt: bytes) -> None:
        """Take the salt of another folder: what is published from both is then hashed alike."""
        with self._explained(), self.connection:
            self.connection.execute("UPDATE secrets SET value = ? WHERE name = 'salt'", (salt,))

    def statuses(self) -> dict[str, str]:
        with self._explained():
            return dict(self.connection.execute("SELECT id, status FROM trials"))

    def record(self, id_: str) -> Record:
        """The record whose id starts with `id_`. Raises: UsageError if none or several do."""
        with self._explained():
            first = f"{SELECT} WHERE id >= ? AND id < ? ORDER BY rowid LIMIT {MOST_NAMED + 1}"  # by the index: what starts with `id_`
            found = list(self._read(first, (id_, id_ + AFTER_ALL)))
        return one_of(found, id_, f"--out {self.folder}")

    def records(self, of: Iterable[str] | None = None) -> list[Record]:
        """Every trial that was ever planned, in order of first planning; or those of these ids that were, in theirs."""
        with self._explained():
            if of is None:
                return list(self._read(f"{SELECT} ORDER BY rowid"))
            read = Reader()
            rows = (self.connection.execute(f"{SELECT} WHERE id = ?", (id_,)).fetchone() for id_ in of)
            return [_record(read, row) for row in rows if row is not None]

    def picked(self, wanted: Callable[[Trial], bool], status: str | None = None) -> list[Record]:
        """The records of the trials that are wanted, of one status if it is given; of the others their question alone is read."""
        with self._explained():
            where, values = ("", ()) if status is None else ("WHERE status = ?", (status,))
            return list(self._read(f"{SELECT} {where} ORDER BY rowid", values, wanted))

    def _read(self, query: str, values: Sequence[object] = (), wanted: Callable[[Trial], bool] | None = None) -> Iterator[Record]:
        read = Reader()
        for id_, trial, *columns in self.connection.execute(query, values):
            known = read.trial(trial, id_)
            if wanted is None or wanted(known):
                yield read.record(known, *columns)

    def answers(self, suite: str | None = None) -> Answers:
        """The latest run's suite, every record comparable with it, and what belongs to them. Predictions are read when asked for.

        Runs are comparable if they share budget, selection and what varies; under a suite's name, those of other suites are left out.
        Records of earlier code or data are left out and named (see `answers.current`). Raises: UsageError if nothing was run, or
        nothing under that suite name.
        """
        with self._explained():
            runs = self.connection.execute("SELECT run, suite, toml, family, command FROM runs ORDER BY run").fetchall()
            runs = [row for row in runs if suite in (None, row[1])]
            if not runs:
                raise UsageError(
                    f"no run{f' of suite {suite!r}' if suite else ''} in {self.path}; `bench run --out {self.folder}` makes one"
                )
            _, name, toml, family, _ = runs[-1]
            found = suite_from(name, tomllib.loads(toml))
            tables = [table for row in runs if row[3] == family for table in tomllib.loads(row[2]).get("tuned", [])]
            found = replace(found, tuned=latest_winners(tables))
            family_runs = [(run, command) for run, _, _, run_family, command in runs if run_family == family]
            plans = [self._planned(run) for run, _ in family_runs]
            records = {record.trial.id: record for record in named(self._of_runs([run for run, _ in family_runs]), winners_of(found))}
            planned = [[records[id_] for id_ in ids] for ids in plans]
        found = _with_pairs(found, [plan for plan in self.plans_to_resolve(family) if suite in (None, plan.name)])
        chosen, left_out = current(planned)
        predictions = StoredPredictions((record.trial.id for record in chosen), _Later(self.folder))
        commands = list(dict.fromkeys(command for _, command in family_runs))
        groups = self.attributes(record.trial.fingerprint for record in chosen)
        return Answers(found, chosen, predictions, self.audits(), commands, left_out=left_out, salt=self._salt_later, attributes=groups)

    def _salt_later(self) -> bytes:
        """What `salt` finds, also once this store is closed."""
        with Store(self.folder, create=False) as store:
            return store.salt()

    def _of_runs(self, runs: Sequence[int]) -> list[Record]:
        """Every trial that one of these runs planned, in order of first planning."""
        marks = ", ".join("?" * len(runs))
        return list(self._read(f"{SELECT} WHERE id IN (SELECT id FROM plans WHERE run IN ({marks})) ORDER BY rowid", runs))

    def plans_to_resolve(self, budget_key: str) -> list[Suite]:
        """Suites of comparable runs that named pairs to resolve, in order."""
        with self._explained():
            rows = self.connection.execute("SELECT suite, toml FROM runs WHERE family = ? ORDER BY run", (budget_key,)).fetchall()
        found = [suite_from(name, tomllib.loads(toml)) for name, toml in rows]
        return [suite for suite in found if suite.until_resolved]

    def predictions(self, ids: Iterable[str]) -> dict[str, Predictions]:
        """Stored predictions of the trials that have some."""
        with self._explained():
            return self._arrays.read(ids)


class _Later:
    """What `Store.predictions` finds in a folder, also once the store that was asked is closed: opened when first called, and kept open.

    A board asks setting by setting, and opening may mean copying the file (see `bench.records.reading`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _store(self) -> Store:
        store = Store(self.folder, create=False)
        weakref.finalize(self, store.connection.close)
        return store

    def __call__(self, ids: Iterable[str]) -> dict[str, Predictions]:
        return self._store.predictions(ids)


COLUMNS = ("metrics", "cost", "facts", "provenance")
SELECT = f"SELECT id, trial, status, reason, {', '.join(COLUMNS)} FROM trials"
AFTER_ALL = chr(0x10FFFF)  # sorts behind whatever an id may go on with
MOST_NAMED = 4  # of ids that start alike


def _with_pairs(suite: Suite, planned: Sequence[Suite]) -> Suite:
    """The suite with every pair of comparable runs that got seeds until it was resolved: their tests allow for it, whoever asks."""
    if not planned:
        return suite
    pairs = tuple(dict.fromkeys(pair for found in planned for pair in found.until_resolved))
    first = planned[0]  # all have its plan: `bench.studies.looks` refuses others
    return replace(suite, until_resolved=pairs, seeds=first.seeds, max_seeds=first.max_seeds)


def one_of(found: Sequence[Record], id_: str, where: str) -> Record:
    """The one record found for a shortened id; `where` is the option that names the folder. Raises: UsageError if it is not one."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no trial with id {id_!r} here; `bench show {where}` lists them")
    ids, more = ", ".join(record.trial.id for record in found[:MOST_NAMED]), len(found) > MOST_NAMED
    said = f"more than {MOST_NAMED}" if more else f"{len(found)}"
    raise UsageError(f"{said} trials have an id that starts with {id_!r}: {ids}{', ...' if more else ''}; give more of it")


def _record(read: Reader, row: tuple) -> Record:
    id_, trial, *columns = row
    return read.record(read.trial(trial, id_), *columns)

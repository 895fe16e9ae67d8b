"""What `bench doctor` checks: that this machine can run the suite, and what it will use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from bench import registry
from bench.datasets.base import DataError
from bench.datasets.files import FileDataset, data_root
from bench.errors import UsageError
from bench.grid.engine import jobs_of
from bench.grid.job import Task
from bench.grid.places import Place
from bench.grid.places.remote import Remote
from bench.grid.warm import SOCKET, socket_folder
from bench.names import path_of
from bench.question.plan import plan
from bench.question.suite import Suite
from bench.records.provenance import hardware
from bench.records.reading import connect
from bench.text import count

PATIENCE = 120.0  # seconds in which a first worker may come
SIGNS = "●±→~×é"  # of pages and of names


def checks(out: Path) -> list[dict[str, object]]:
    """One entry a check: name, whether it passed, what was found."""
    return [
        *_packages(),
        _check("hardware", True, hardware()),
        _torch(),
        _fork_server(),
        _temporary_files(),
        _output(),
        *_datasets(),
        _methods(),
        _data_root(),
        _folder(out),
    ]


def checks_of(place: Place, tasks: Iterable[Task] = ()) -> list[dict[str, object]]:
    """One entry a worker of a place: what it is, and whether it can run the suite, and these tasks. None for this machine.

    Waits a little for the first worker. Raises: UsageError if the place cannot be reached.
    """
    if not isinstance(place, Remote):
        return []
    found = [_check(f"worker {one.worker}", not one.problems, one.line()) for one in place.inspect(tasks, patience=PATIENCE)]
    return found or [_check(place.kind, False, f"no worker came within {PATIENCE:g} s; start some, or look at the queue")]


def workers_for(place: Place, suite: Suite, out: Path | str) -> list[dict[str, object]]:
    """The same for what a suite asks. Data that are not here are not looked for there."""
    if not isinstance(place, Remote):
        return []
    try:
        trials = plan(suite)
    except UsageError as error:
        if not isinstance(error.__cause__, DataError):
            raise
        trials = []
    return checks_of(place, jobs_of(suite, trials, path_of(out)))


def _check(name: str, passed: bool, detail: str) -> dict[str, object]:
    return {"check": name, "passed": passed, "detail": detail}


def _packages() -> list[dict[str, object]]:
    from packaging.requirements import Requirement

    found = []
    for text in requires("missing-modality-bench") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            found.append(_check(requirement.name, False, f"not installed; pip install '{requirement}'"))
            continue
        fits = requirement.specifier.contains(installed, prereleases=True)
        found.append(_check(requirement.name, fits, installed if fits else f"{installed}, needs {requirement.specifier}"))
    return found


def _torch() -> dict[str, object]:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU, trials run on the CPU"
    return _check("device", True, f"torch {torch.__version__}, {device}")


def _fork_server() -> dict[str, object]:
    """Trials need processes from a fork server, which Windows lacks."""
    import multiprocessing

    passed = "forkserver" in multiprocessing.get_all_start_methods()
    return _check("isolation", passed, "fork server" if passed else "no fork server on this system; use Linux, macOS or WSL")


def _temporary_files() -> dict[str, object]:
    """Processes talk through a socket, whose path the system limits; batch systems set long TMPDIRs."""
    try:
        usual, sockets = Path(tempfile.gettempdir()), socket_folder()
    except (OSError, UsageError) as error:
        return _check("temporary files", False, str(error))
    elsewhere = f", too long for a socket, of which a path may have {SOCKET} bytes: those lie in {sockets}"
    return _check("temporary files", True, f"{usual}{elsewhere if usual != sockets else ''}")


def _output() -> dict[str, object]:
    """Pages hold signs that some encodings lack."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    lacking = [sign for sign in SIGNS if sign.encode(encoding, "ignore").decode(encoding) != sign]
    told = f", which lacks {len(lacking)} signs of our pages and shows ? for each; PYTHONIOENCODING=utf-8 brings them" if lacking else ""
    return _check("output", True, f"{encoding}{told}")


def _data_root() -> dict[str, object]:
    """Where files of datasets are looked for, and prepared copies are written: reading is enough where both are there."""
    root = data_root()
    if not root.is_dir():
        return _check("data root", True, f"{root} is not there yet; --data-root or BENCH_DATA names another folder")
    can = "writable" if os.access(root, os.W_OK) else "not writable: datasets are read from it, and `bench data prepare` needs another"
    return _check("data root", os.access(root, os.R_OK | os.X_OK), f"{root}, {can}")


def _datasets() -> list[dict[str, object]]:
    from bench.data.loading import load
    from bench.names import Choice

    found = []
    for name in registry.dataset_names():
        dataset = registry.dataset_of(Choice(name))
        if isinstance(dataset, FileDataset) and not dataset.is_here:
            found.append(_check(f"dataset {name}", True, "not here; `bench data status` says where to get it"))
            continue
        try:
            samples = load(Choice(name)).samples
            found.append(_check(f"dataset {name}", True, f"{count(len(samples), 'sample')}, {samples.schema.combination}"))
        except UsageError as error:
            found.append(_check(f"dataset {name}", False, str(error)))
    return found


def _methods() -> dict[str, object]:
    broken = []
    for name in registry.method_names():
        try:
            registry.method_class(name)
        except Exception as error:
            broken.append(f"{name}: {type(error).__name__}: {error}")
    return _check("methods", not broken, "; ".join(broken) or f"{len(registry.method_names())} import")


def _folder(out: Path) -> dict[str, object]:
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing) as folder:
            _write_and_read(Path(folder) / "probe.db")
    except (OSError, sqlite3.Error) as error:
        return _check("results folder", False, f"{existing} cannot hold results: {error}; give another --out, on a disk of this machine")
    free = shutil.disk_usage(existing).free / 1e9
    return _check("results folder", free > 1, f"{out} writable, {free:.0f} GB free")


def _write_and_read(path: Path) -> None:
    """Use a database as a run and its readers do at once; file systems of a network often cannot. Raises: sqlite3.Error, OSError."""
    with closing(sqlite3.connect(path)) as writer:
        mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError("this file system takes no write-ahead log")
        writer.execute("CREATE TABLE probe (value)")
        writer.commit()
        with closing(connect(path)) as reader:
            reader.execute("SELECT * FROM probe").fetchall()

"""What a worker of a cluster is sent, what it does with that, and what it sends back.

Workers share nothing with the driver but this suite and their copy of the data. A task travels with the classes and the files of code
that it was given; what it writes (its log, traces, weights) comes back with its result, and the driver puts it where it belongs. An
engine brings messages from here to there, and has no part in what they mean.
"""

from __future__ import annotations

import os
import pickle
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import bench
from bench.datasets.files import data_root
from bench.errors import OtherQuestion, UsageError
from bench.grid.faults import line_of
from bench.grid.job import GPUS, Task
from bench.grid.places.local import Local
from bench.grid.process import Ended, Lost, Refused
from bench.grid.same import Same
from bench.grid.slots import working
from bench.question.machine import Limits
from bench.records.facts import Origin
from bench.records.provenance import provenance

LOG = 64 * 1024  # bytes of a log that come back: its end
CHECKING = Limits(seconds=1800, memory=64_000_000_000)  # of the process that looks whether data and code are the same
Hear = Callable[[int, bytes], None]  # takes a report with its number, from 0


@dataclass(frozen=True)
class Parcel:
    """A task on its way: the paths of what it writes are bare names. `code` holds the texts of methods and datasets from files, by name."""

    task: Task
    code: Mapping[str, Code] = field(default_factory=dict)
    per_gpu: int = 1  # trials that share a GPU there


@dataclass(frozen=True)
class Code:
    """The files of a class from a file of the user. `entry` is the name of the class there, relative: `net.py:Net`."""

    entry: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class Delivery:
    """What comes back: a result, or why there is none; and the files that the task wrote, by the field that names each."""

    node: str
    result: Any = None
    ended: str | None = None
    refused: str | None = None
    lost: str | None = None  # what of that machine failed
    files: Mapping[str, bytes] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Check(Task):
    """Looks whether what tasks rest on is the same where it runs; gives what is not, a line each."""

    same: tuple[Same, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.name for one in self.same))

    def renamed(self, names: Mapping[str, str]) -> Check:
        return replace(self, same=tuple(one.renamed(names) for one in self.same))

    def work(self, report: Callable[[Any], None]) -> list[str]:
        problems = []
        for one in self.same:
            try:
                one.check()
            except UsageError as error:
                problems.append(str(error))
        return problems


def check_of(same: tuple[Same, ...], **given: Any) -> Check:
    return Check(same=same, limits=CHECKING, log=Path("check.log"), **given)


# A worker stays for many runs, so what it has loaded may be old: each trial's process proves once more what it computes with.
_proved: set[object] = set()
_lock = threading.Lock()  # one check at a time: two of one dataset would load it twice, two of a GPU hand it out twice


def work(version: str, packed: bytes, tell: Hear, stopped: threading.Event) -> bytes:
    """Carry out a packed parcel on this worker: a packed delivery, whatever happens. `version` is the driver's of bench.

    Raises: Stopped; whatever `tell` raises.
    """
    node, told = socket.gethostname(), 0

    def report(content: Any) -> None:
        nonlocal told
        tell(told, pickle.dumps(content))
        told += 1

    try:
        _check_version(version)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            parcel: Parcel = pickle.loads(packed)  # written by our own driver, and only for this version
            task = _here(parcel, Path(folder))
            with _lock:
                problems = _problems(parcel.task.rests_on(), parcel, Path(folder), stopped)
            delivery = Delivery(node, refused="; ".join(problems)) if problems else _carried_out(parcel, task, report, stopped, node)
    except UsageError as error:  # of another suite, or without the GPU that is asked for
        delivery = Delivery(node, refused=str(error))
    except OSError as error:  # of this worker's disk, or of what keeps it from starting processes
        delivery = Delivery(node, lost=line_of(error), origin=provenance())
    return pickle.dumps(delivery)


def look(version: str, packed: bytes) -> bytes:
    """What this worker is, packed: node, origin, and what is not as these packed parcels of checks ask, with what they ask to be loaded."""
    modules, datasets, devices, parcels = pickle.loads(packed) if version == bench.__version__ else ((), (), (), ())
    problems: list[str] = []
    try:
        _check_version(version)
        _machine().prepare(modules, datasets)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, _lock:
            for parcel in parcels:
                problems += _problems(parcel.task.same, parcel, Path(folder), threading.Event())
            for device in devices:
                working(device, lambda _: None)
    except (OSError, UsageError) as error:
        problems.append(str(error))
    return pickle.dumps((socket.gethostname(), provenance(), tuple(problems)))


def _check_version(version: str) -> None:
    """Before anything is unpacked, which only the same version can."""
    if version != bench.__version__:
        raise OtherQuestion(f"bench {bench.__version__} is installed, the driver is bench {version}; install the same one")


def _machine(per_gpu: int = 1) -> Local:
    """This machine with the GPUs that its worker may use now; an engine may give it others for its next task."""
    return _machine_with(os.environ.get(GPUS), per_gpu)


@cache
def _machine_with(_: str | None, per_gpu: int) -> Local:
    return Local(1, per_gpu)


def _here(parcel: Parcel, folder: Path) -> Task:
    """The task of a parcel, its paths in a folder of this worker, code from files beside them unless the file itself is here."""
    task = parcel.task
    names = {}
    for number, (name, code) in enumerate(parcel.code.items()):
        if not Path(name.rpartition(":")[0]).is_file():
            root = folder / f"code-{number}"
            for path, text in code.texts.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            names[name] = str(root / code.entry)
    own = data_root() if os.environ.get("BENCH_DATA") or not task.data_root.is_dir() else task.data_root
    paths: dict[str, Any] = {key: folder / path.name for key, path in leaves(task).items()}
    return replace(task.renamed(names), data_root=own, **paths)


def leaves(task: Task) -> dict[str, Path]:
    """Paths of the files that a task is to write, by field."""
    return {key: path for key in task.leaves if (path := getattr(task, key)) is not None}


def _problems(same: Sequence[Same], parcel: Parcel, folder: Path, stopped: threading.Event) -> list[str]:
    """What of this is not the same here. What was found to be the same is not looked at again."""
    task = parcel.task
    unknown = {*same, task.suite} - _proved - {None}
    if not unknown:
        return []
    asked = tuple(one for one in same if one in unknown)
    check = check_of(asked, given=task.given, data_root=task.data_root, suite=task.suite)
    try:
        found = _machine().call(_here(replace(parcel, task=check), folder), lambda _: None, stopped)
    except Ended as end:
        return [str(end)]
    if not found:
        _proved.update(unknown)
    return found


def _carried_out(parcel: Parcel, task: Task, report: Callable[[Any], None], stopped: threading.Event, node: str) -> Delivery:
    result = ended = refused = lost = None
    place = _machine(parcel.per_gpu)
    with _lock:
        if task.device not in place.checked:
            place.check([task], lambda _: None)
    try:
        result = place.call(task, report, stopped)
    except Refused as end:
        refused = str(end)
    except (Lost, UsageError) as end:  # the latter once the last GPU here broke, which is no reason for other workers to stop
        lost = str(end)
    except Ended as end:
        ended = str(end)
    files = {key: _read(path) for key, path in leaves(task).items() if path.is_file()}
    return Delivery(node, result, ended, refused, lost, files, provenance())


def _read(path: Path) -> bytes:
    """A file; of a log its end."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - LOG) if path.suffix == ".log" else 0)
        return stream.read()

"""What every engine does in the driver: it packs tasks, unpacks what came of them, and looks whether workers are what they must be."""

from __future__ import annotations

import pickle
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bench import registry
from bench.errors import PlaceLost, UsageError
from bench.grid.faults import line_of
from bench.grid.job import Outcome, Task
from bench.grid.places.base import Place
from bench.grid.places.worker import Code, Delivery, Hear, Parcel, check_of, leaves
from bench.grid.process import Ended, Lost, Stopped
from bench.grid.same import PACKAGES, Same, SameSuite
from bench.names import is_description, is_file, path_of
from bench.question.machine import Machine
from bench.records.facts import Origin
from bench.text import count

CPU = Machine("cpu")


@dataclass(frozen=True)
class Found:
    """A worker as it was found: what it runs on, and what about it is not as in the driver."""

    worker: str
    slots: int
    node: str = ""
    origin: Origin | None = None
    problems: tuple[str, ...] = ()

    def line(self) -> str:
        """What it is, in one line."""
        if self.origin is None:
            return "; ".join(self.problems)
        versions = ", ".join(f"{name} {self.origin.packages[name]}" for name in PACKAGES)
        told = f"{self.node}, {count(self.slots, 'slot')}: bench {self.origin.bench}, Python {self.origin.python}, {versions}"
        return "; ".join([told, self.origin.hardware or "", *self.problems])


class Remote(Place):
    """The workers of an engine. An engine says how a parcel gets to a worker (`send`), and asks all that are there (`ask`)."""

    kind: ClassVar[str]
    looks_at_gpus: ClassVar[bool] = True  # whether what only looks at a worker sees the GPUs that a task on it would have

    def __init__(self, slots: int | None = None, machine: Machine = CPU, per_gpu: int = 1, is_mixed: bool = False) -> None:
        super().__init__(1 if slots is None else slots)
        self.machine, self.per_gpu = machine, per_gpu
        self._is_known = slots is not None
        self._suite = SameSuite.here(is_mixed)
        self._code: dict[str, Code] = {}
        self._warm: tuple[list[str], list[str]] = ([], [])
        self.say: Callable[[str], None] = lambda _: None

    @property
    def slots(self) -> int:
        if not self._is_known:
            self.open()
            self._slots, self._is_known = self.count_slots(), True
        return self._slots

    @abstractmethod
    def count_slots(self) -> int:
        """How many tasks can run at once now. Raises: UsageError if there are no workers."""

    @abstractmethod
    def open(self) -> None:
        """Connect, or start; does nothing where that is done. Raises: UsageError."""

    @abstractmethod
    def send(self, packed: bytes, task: Task, hear: Hear, stopped: threading.Event) -> bytes:
        """What `work` gives for a packed parcel on some worker. Waits for it.

        Raises: Stopped; Ended if workers die of it; PlaceLost if the engine is gone; whatever `hear` raises. It is then ended there.
        """

    @abstractmethod
    def ask(self, packed: bytes, patience: float = 0.0) -> list[Found]:
        """What `look` gives on each worker that is there now, or within so many seconds if there is none yet."""

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Connect. Workers load what is to come when they are first looked at."""
        self.open()
        self._warm = (sorted(modules), sorted(datasets))

    def check(self, tasks: Iterable[Task], say: Callable[[str], None]) -> None:
        self.say, tasks = say, list(tasks)
        found = self.inspect(tasks)
        say(f"{self.kind}: {count(len(found), 'worker')} now, {count(self.slots, 'trial')} at once")
        self.refuse(found)

    def refuse(self, found: Iterable[Found]) -> None:
        """Raises: UsageError if a worker is not as it must be."""
        problems = [f"worker {one.worker}: {problem}" for one in found for problem in one.problems]
        if problems:
            raise UsageError("; ".join(problems))

    def inspect(self, tasks: Iterable[Task] = (), patience: float = 0.0) -> list[Found]:
        """Every worker that is there, with what is not the same as these tasks rest on."""
        self.open()
        groups: dict[tuple[bytes, Path], dict[Same, None]] = {}
        devices = set[str]()
        for task in tasks:
            devices.add(task.device)
            groups.setdefault((task.given, task.data_root), {}).update(dict.fromkeys(task.rests_on()))
        checks = [check_of(tuple(same), given=given, data_root=root) for (given, root), same in groups.items()] or [check_of(())]
        seen = sorted(devices - {"cpu"}) if self.looks_at_gpus else []
        return self.ask(pickle.dumps((*self._warm, seen, [self._parcel(check) for check in checks])), patience)

    def call(self, task: Task, report: Callable[[Any], None], stopped: threading.Event) -> Any:
        self.open()
        raised: list[BaseException] = []
        heard = 0

        def hear(number: int, told: bytes) -> None:
            nonlocal heard
            if number < heard:  # another worker has begun it anew and tells what is known
                return
            heard = number + 1
            try:
                report(pickle.loads(told))
            except BaseException as error:
                raised.append(error)
                raise

        try:
            packed = self.send(pickle.dumps(self._parcel(task)), task, hear, stopped)
        except (Stopped, Ended, PlaceLost, UsageError):
            raise
        except Exception as error:  # whatever an engine raises: it is one task's, and the run is worth more
            if error in raised:
                raise
            raise Ended(f"{self.kind}: {line_of(error)}") from error
        return self._taken(task, pickle.loads(packed))

    def _parcel(self, task: Task) -> Parcel:
        for name in task.names:
            if is_file(name) and not is_description(name) and name not in self._code:
                self._code[name] = code_of(name)
        code = {name: self._code[name] for name in task.names if name in self._code}
        paths: dict[str, Any] = {key: Path(path.name) for key, path in leaves(task).items()}
        return Parcel(replace(task, suite=self._suite, **paths), code, self.per_gpu)

    def _taken(self, task: Task, delivery: Delivery) -> Any:
        """The result of a delivery, its files written. Raises: Ended; UsageError if the worker was refused."""
        for key, content in delivery.files.items():
            path: Path = getattr(task, key)
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.part")
            fresh.write_bytes(content)
            fresh.replace(path)
        if delivery.refused is not None:
            raise UsageError(f"worker {delivery.node}: {delivery.refused}")
        origin = None if delivery.origin is None else self._marked(delivery.origin, delivery.node)
        if delivery.lost is not None:
            raise Lost(f"worker {delivery.node}: {delivery.lost}", origin)
        if delivery.ended is not None:
            raise Ended(delivery.ended, origin)
        if isinstance(delivery.result, Outcome):
            record = delivery.result.record
            own = replace(record, trial=getattr(task, "trial", record.trial), provenance=self._marked(record.provenance, delivery.node))
            return delivery.result._replace(record=own)
        return delivery.result

    def _marked(self, origin: Origin, node: str) -> Origin:
        return replace(origin, node=node, place=self.kind)


def code_of(name: str) -> Code:
    """The files behind a class that is named by its file. Raises: UsageError."""
    sources = [one for one in registry.code.sources_of(registry.from_file(name)) if one.text and not one.name.startswith("bench.")]
    home = path_of(name.rpartition(":")[0]).resolve()
    entry = next(one.below for one in sources if one.path.resolve() == home)
    return Code(f"{entry}:{name.rpartition(':')[2]}", {one.below: one.text for one in sources})

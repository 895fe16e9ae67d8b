"""Where tasks run. The driver asks a place; what the place is (this machine, one day a cluster) is known here alone.

Whatever the place, the driver has one thread for each task that is under way, and only the driver writes: results, studies, progress.
A place therefore says one thing, `call`: what a task gives, carried out in a process of its own somewhere. All else follows from it.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed

from bench.errors import UsageError
from bench.grid.job import Job, Outcome, Task
from bench.grid.process import Ended, Lost, Stopped, call_isolated
from bench.grid.progress import Progress
from bench.grid.slots import Slots, gpus_for, working
from bench.grid.warm import start_server
from bench.question.machine import Machine
from bench.records.reached import Report
from bench.records.record import Record

T = TypeVar("T")
R = TypeVar("R")


class Place(ABC):
    """Somewhere that tasks run, `slots` of them at once."""

    def __init__(self, slots: int = 1) -> None:
        if slots < 1:
            raise UsageError(f"jobs, how many trials run at once, must be at least 1, got {slots}")
        self.slots = int(slots)

    @abstractmethod
    def call(self, task: Task, report: Callable[[Any], None], stopped: threading.Event) -> Any:
        """What `task` gives; what it reports on the way is passed on. Waits for it, in the thread that asks.

        Raises: Ended with the reason if it gives no result, Lost if that is the machine's fault; Stopped once `stopped` is set, and
        whatever `report` raises: its process is then dead or dying.
        """

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Begin to load what the tasks to come need. Nothing depends on it but time."""

    def check(self, device: str, say: Callable[[str], None] = lambda _: None) -> None:
        """Look whether tasks can have this device here, before anything is stored. `say` takes a line on what is not as it could be.

        Raises: UsageError if they cannot.
        """

    def run(self, job: Job, report: Report, stopped: threading.Event) -> Outcome:
        """What comes of a job. Whatever ends it early becomes a failed record with its reason.

        Where the machine failed, the record is of a trial that is still planned, with the reason why. Raises: as `call` does, but Ended.
        """
        try:
            return self.call(job, report, stopped)
        except Lost as lost:
            return Outcome(_without_result(job, "planned", str(lost)))
        except Ended as end:
            return Outcome(_without_result(job, "failed", str(end)))

    def outcomes(self, jobs: Iterable[Job], progress: Progress, stopped: threading.Event) -> Iterator[Outcome]:
        """What comes of each job, as they end. `progress` hears of those that start and of their epochs."""

        def one(job: Job) -> Outcome:
            progress.started(job.trial)
            return self.run(job, lambda reached: progress.reached(job.trial, reached), stopped)

        return self.each(one, jobs, stopped)

    def each(self, work: Callable[[T], R], items: Iterable[T], stopped: threading.Event) -> Iterator[R]:
        """What `work`, which asks this place, returns for each item, as it ends; an item is taken when a slot is free.

        Once `stopped` is set no work begins, and what raises Stopped gives nothing. Any other exception, of `work` or of whoever takes
        what it returns, stops the rest: a failing store must not leave trials running.
        """

        def one(item: T) -> list[R]:
            try:
                return [] if stopped.is_set() else [work(item)]
            except Stopped:
                return []
            except BaseException:
                stopped.set()  # now: joblib waits for the other threads before it passes the exception on
                raise

        parallel = Parallel(n_jobs=self.slots, backend="threading", return_as="generator_unordered", pre_dispatch=self.slots, batch_size=1)
        ended = parallel(delayed(one)(item) for item in items)
        try:
            for found in ended:
                yield from found
        except BaseException:
            stopped.set()
            for _ in ended:  # until every process has gone; it is at its end where the exception came out of it
                pass
            raise


class Local(Place):
    """This machine: each task in a process forked from a server that has loaded what it needs, `per_gpu` of them at once on a GPU.

    A task that may take a GPU has one of its own, or its share of one, from its start to the death of its process. Any other sees none.
    """

    def __init__(self, slots: int = 1, per_gpu: int = 1) -> None:
        super().__init__(slots)
        if per_gpu < 1:
            raise UsageError(f"per_gpu, how many trials share a GPU, must be at least 1, got {per_gpu}")
        self.per_gpu = int(per_gpu)
        self._lock = threading.Lock()
        self._gpus: dict[str, Slots] = {}  # by the device that was asked for

    @classmethod
    def of(cls, jobs: int | None, machine: Machine, per_gpu: int = 1) -> Local:
        """This machine with so many trials at once; None: as many as its GPUs take, or its cores where no GPU is asked for."""
        found = cls(1, per_gpu)
        fitting = len(gpus_for(machine.device)) * per_gpu or (per_gpu if machine.device.startswith("cuda") else 0)
        return cls((fitting or max(1, cpu_count() // machine.threads)) if jobs is None else jobs, found.per_gpu)

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Start the fork server. Has an effect before this process's first task alone."""
        start_server(modules, datasets)

    def check(self, device: str, say: Callable[[str], None] = lambda _: None) -> None:
        ids = working(device, say)
        with self._lock:
            self._gpus[device] = Slots(ids, self.per_gpu)

    def call(self, task: Task, report: Callable[[Any], None], stopped: threading.Event) -> Any:
        with self._lock:
            slots = self._gpus.setdefault(task.device, Slots(gpus_for(task.device), self.per_gpu))
        if not slots.known:
            return call_isolated(task.on("") if task.device == "cpu" else task, report, stopped)
        with slots.one(stopped) as gpu:
            try:
                return call_isolated(task.on(gpu, self.per_gpu), report, stopped)
            except Lost:
                slots.look_again(gpu)
                raise


def _without_result(job: Job, status: str, reason: str) -> Record:
    from bench.records.provenance import provenance

    return Record(job.trial, status, reason, provenance=replace(provenance(), threads=job.machine.threads))

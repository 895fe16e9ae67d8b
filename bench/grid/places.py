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

from joblib import Parallel, delayed

from bench.errors import UsageError
from bench.grid.job import Job, Outcome, Task
from bench.grid.process import Ended, Stopped, call_isolated
from bench.grid.progress import Progress
from bench.grid.warm import start_server
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

        Raises: Ended with the reason if it gives no result; Stopped once `stopped` is set, and whatever `report` raises: its process
        is then dead or dying.
        """

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Begin to load what the tasks to come need. Nothing depends on it but time."""

    def run(self, job: Job, report: Report, stopped: threading.Event) -> Outcome:
        """What comes of a job. Whatever ends it early becomes a failed record with its reason. Raises: as `call` does, but Ended."""
        try:
            return self.call(job, report, stopped)
        except Ended as end:
            return Outcome(_failed(job, str(end)))

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
    """This machine: each task in a process forked from a server that has loaded what it needs."""

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Start the fork server. Has an effect before this process's first task alone."""
        start_server(modules, datasets)

    def call(self, task: Task, report: Callable[[Any], None], stopped: threading.Event) -> Any:
        return call_isolated(task, report, stopped)


def _failed(job: Job, reason: str) -> Record:
    from bench.records.provenance import provenance

    return Record(job.trial, "failed", reason, provenance=replace(provenance(), threads=job.machine.threads))

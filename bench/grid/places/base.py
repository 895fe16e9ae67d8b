"""What every place is: the driver asks it, and whatever it is, this machine or a cluster, is known in this room alone.

Whatever the place, the driver has one thread for each task that is under way, and only the driver writes: results, studies, progress.
A place therefore says one thing, `call`: what a task gives, carried out in a process of its own somewhere. All else follows from it.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Self, TypeVar

from joblib import Parallel, cpu_count, delayed

from bench.errors import UsageError
from bench.grid.job import Job, Outcome, Task
from bench.grid.process import Ended, Lost, Stopped
from bench.grid.progress import Progress
from bench.records.facts import Origin
from bench.records.reached import Report
from bench.records.record import Record

T = TypeVar("T")
R = TypeVar("R")


def cores(threads: int) -> int:
    """Trials of so many threads that the cores of this machine take at once."""
    return max(1, cpu_count() // threads)


class Place(ABC):
    """Somewhere that tasks run, `slots` of them at once. What it holds open is let go at the end of `with place`."""

    def __init__(self, slots: int = 1) -> None:
        if slots < 1:
            raise UsageError(f"jobs, how many trials run at once, must be at least 1, got {slots}")
        self._slots = int(slots)
        self._entered = 0

    @property
    def slots(self) -> int:
        """How many tasks run at once. Raises: UsageError if that is not known."""
        return self._slots

    def __enter__(self) -> Self:
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered:  # a door enters a place that its caller may have entered for several runs
            self.close()

    def close(self) -> None:
        """Let go of whatever is held open. It opens again when it is asked for something."""

    @abstractmethod
    def call(self, task: Task, report: Callable[[Any], None], stopped: threading.Event) -> Any:
        """What `task` gives; what it reports on the way is passed on. Waits for it, in the thread that asks.

        Raises: Ended with the reason if it gives no result, Lost if that is the machine's fault; Stopped once `stopped` is set, and
        whatever `report` raises: its process is then dead or dying.
        """

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Begin to load what the tasks to come need. Nothing depends on it but time."""

    def check(self, tasks: Iterable[Task], say: Callable[[str], None]) -> None:
        """Look whether these tasks can have their device there, and whether what they rest on is the same there as it is here.

        Asked before anything is stored; `say` takes lines about the place. Raises: UsageError if not: they would fail one by one, or their
        results answer another question.
        """

    def run(self, job: Job, report: Report, stopped: threading.Event) -> Outcome:
        """What comes of a job. Whatever ends it early becomes a failed record with its reason.

        Where the machine failed, the record is of a trial that is still planned, with the reason why. Raises: as `call` does, but Ended.
        """
        try:
            return self.call(job, report, stopped)
        except Lost as lost:
            return Outcome(_without_result(job, "planned", str(lost), lost.origin))
        except Ended as end:
            return Outcome(_without_result(job, "failed", str(end), end.origin))

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


def _without_result(job: Job, status: str, reason: str, origin: Origin | None) -> Record:
    from bench.records.provenance import provenance

    return Record(job.trial, status, reason, provenance=replace(origin or provenance(), threads=job.machine.threads))

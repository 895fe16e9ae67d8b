"""This machine as a place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from bench.errors import UsageError
from bench.grid.job import Task
from bench.grid.places.base import Place, cores
from bench.grid.process import Lost, call_isolated
from bench.grid.slots import Slots, gpus_for, working
from bench.grid.warm import start_server
from bench.question.machine import Machine


class Local(Place):
    """This machine: each task in a process forked from a server that has loaded what it needs, `per_gpu` of them at once on a GPU.

    A task that may take a GPU has one of its own, or its share of one, from its start to the death of its process. Any other sees none.
    """

    def __init__(self, slots: int = 1, per_gpu: int = 1) -> None:
        super().__init__(slots)
        self.per_gpu = checked_share(per_gpu)
        self._lock = threading.Lock()
        self._gpus: dict[str, Slots] = {}  # by the device that was asked for
        self.checked = {"cpu"}  # devices that tasks can have

    @classmethod
    def of(cls, jobs: int | None, machine: Machine, per_gpu: int = 1) -> Local:
        """This machine with so many trials at once; None: as many as there is room for."""
        return cls(room(machine, checked_share(per_gpu)) if jobs is None else jobs, per_gpu)

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Start the fork server. Has an effect before this process's first task alone."""
        start_server(modules, datasets)

    def check(self, tasks: Iterable[Task], say: Callable[[str], None]) -> None:
        for device in sorted({task.device for task in tasks} - {"cpu"}):
            ids = working(device, say)
            with self._lock:
                self._gpus[device] = Slots(ids, self.per_gpu)
                self.checked.add(device)

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


def room(machine: Machine, per_gpu: int) -> int:
    """Trials at once that the GPUs of this machine take, or its cores where no GPU is asked for."""
    gpus = len(gpus_for(machine.device)) * per_gpu or (per_gpu if machine.device.startswith("cuda") else 0)
    return gpus or cores(machine.threads)


def checked_share(per_gpu: int) -> int:
    """Raises: UsageError unless at least one trial is to run on a GPU."""
    if per_gpu < 1:
        raise UsageError(f"per_gpu, how many trials share a GPU, must be at least 1, got {per_gpu}")
    return int(per_gpu)

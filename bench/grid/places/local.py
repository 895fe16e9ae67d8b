"""This machine as a place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from bench.grid.job import Task
from bench.grid.places.base import Place
from bench.grid.process import call_isolated
from bench.grid.warm import start_server


class Local(Place):
    """This machine: each task in a process forked from a server that has loaded what it needs."""

    def prepare(self, modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
        """Start the fork server. Has an effect before this process's first task alone."""
        start_server(modules, datasets)

    def call(self, task: Task, report: Callable[[Any], None], stopped: threading.Event) -> Any:
        return call_isolated(task, report, stopped)

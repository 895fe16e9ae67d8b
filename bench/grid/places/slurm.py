"""Slurm as a place: each worker is a job of its own, a dask worker that carries out one trial at a time.

Submitting jobs, and submitting one more where one was cancelled or lost its node, is the work of dask-jobqueue. The scheduler of the
workers is in the driver's process, so the driver must stay where jobs can reach it: on a login node, or in a job of its own.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from bench.errors import UsageError, unknown
from bench.grid.job import Task
from bench.grid.places import leaving
from bench.grid.places.dask import Dask
from bench.grid.places.remote import Found

OPTIONS = (  # of sbatch, under their names there
    "account", "comment", "constraint", "exclude", "gpus", "gres", "licenses", "mem", "nice", "nodelist", "qos", "reservation", "time",
)  # fmt: skip
SLOTS = 4  # jobs at once unless -j says
TIME = "01:00:00"  # of a job, unless said
SPARE = 1_000_000_000  # bytes of a job beyond what its trial may take: the worker and its fork server, with torch loaded
LEAVE = 120  # seconds before the end of its time at which a worker leaves by itself
GONE = 30.0  # seconds in which workers that were asked to leave are gone
_UNITS = {"": 2**20, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}  # of sbatch's --mem, which are powers of two


class Slurm(Dask):
    """As many jobs in a partition as there are slots, submitted when there are tasks and cancelled at the end."""

    kind = "slurm"

    def __init__(
        self, partition: str = "", options: Mapping[str, str] | None = None, *, memory: int | None = None, slots: int | None = None,
        **given: Any,
    ) -> None:  # fmt: skip
        super().__init__(slots=slots or SLOTS, **given)
        try:
            import dask_jobqueue  # noqa: F401
        except ImportError:
            raise UsageError("dask-jobqueue is not installed; pip install 'missing-modality-bench[slurm]'") from None
        self._partition, self._options = partition, dict(options or {})
        self._adaptive: Any = None
        for key in self._options:
            if key not in OPTIONS:
                raise unknown("option of slurm", key, OPTIONS)
        self._seconds = seconds_of(self._options.pop("time", TIME))
        mem = self._options.pop("mem", None)
        self._memory = (memory or 4_000_000_000) + SPARE if mem is None else _bytes(mem)

    def check(self, tasks: Iterable[Task], say: Callable[[str], None]) -> None:
        """Submit as many jobs as there is work for; each proves what it is when it comes."""
        self.say, count = say, len(list(tasks))
        self.open()
        jobs = min(self.slots, count)
        self._adaptive = self._cluster.adapt(minimum=jobs, maximum=jobs)
        say(f"slurm: {jobs} jobs of partition {self._partition or '(default)'} asked for, logs in {self._logs}")

    def inspect(self, tasks: Iterable[Task] = (), patience: float = 0.0) -> list[Found]:
        """One job, to see what workers are."""
        self.open()
        self._cluster.scale(1)
        return super().inspect(tasks, patience)

    def close(self) -> None:
        """Let workers leave before the scheduler does: one that is told by both at once may hang, out of Slurm's sight."""
        if self._client is not None and self._cluster is not None:
            if self._adaptive is not None:
                self._adaptive.stop()  # it would put others in their place
            end = time.monotonic() + GONE
            with suppress(OSError, TimeoutError):
                self._client.retire_workers(list(self._client.nthreads()))
                while self._client.nthreads() and time.monotonic() < end:
                    time.sleep(0.1)
        super().close()

    @property
    def _logs(self) -> Path:
        return platformdirs.user_log_path("missing-modality-bench") / "slurm"

    def _start(self) -> Any:
        from dask_jobqueue import SLURMCluster

        self._logs.mkdir(parents=True, exist_ok=True)
        extra = [f"--{key}={value}" for key, value in self._options.items()]
        lifetime = max(self._seconds - LEAVE, self._seconds // 2)
        try:
            return SLURMCluster(
                queue=self._partition or None, cores=1, processes=1, job_cpu=self.machine.threads, memory=f"{self._memory}B",
                job_mem=f"{-(-self._memory // 2**20)}M", walltime=_clock(self._seconds), nanny=False, death_timeout=60,
                python=sys.executable, job_extra_directives=extra, log_directory=str(self._logs),
                worker_extra_args=["--lifetime", f"{lifetime}s", "--preload", leaving.__name__],
                scheduler_options={"dashboard_address": ":0"}, silence_logs="error",
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(f"no Slurm jobs can be submitted here: {' '.join(str(error).split())}") from None

    def _await_own(self) -> None:
        """Jobs come when the queue lets them."""

    def _named(self) -> str:
        return f"partition {self._partition}" if self._partition else "the default partition"

    def _lonely(self) -> str:
        return f"no job of {self._named()} runs yet; `squeue --me` says why, logs are in {self._logs}; Ctrl-C ends the run"


def seconds_of(text: str) -> int:
    """Seconds of a time as sbatch takes it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS. Raises: UsageError."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise UsageError(f"time of slurm must be as sbatch takes it, such as 04:00:00 or 1-12, got {text!r}")
    days, *parts = (None if part is None else int(part) for part in match.groups())
    known = [part for part in parts if part is not None]
    if days is not None:
        hours, minutes, seconds = (*known, 0, 0)[:3]
    elif len(known) == 3:
        hours, minutes, seconds = known
    else:
        hours, (minutes, seconds) = 0, (*known, 0)[:2]
    found = (((days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if not found:
        raise UsageError(f"time of slurm must be above 0, got {text!r}")
    return found


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _bytes(text: str) -> int:
    """Bytes of a memory as sbatch takes it: a number with K, M, G or T, M if none. Raises: UsageError."""
    match = re.fullmatch(r"([1-9]\d*)([KMGT]?)B?", text.upper())
    if match is None:
        raise UsageError(f"mem of slurm must be as sbatch takes it, such as 12G, got {text!r}")
    return int(match[1]) * _UNITS[match[2]]

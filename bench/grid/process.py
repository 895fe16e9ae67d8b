"""One trial in one process, with limits on time and memory: whatever it does to itself, the run goes on.

Processes start from a fork server that has torch loaded, so a start costs milliseconds and no thread, lock or global state of
the caller is inherited. The parent talks to the trial through a pipe: progress comes in, the record comes last.
"""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cloudpickle

from bench.datasets.files import data_root
from bench.question.trial import Trial
from bench.records.predictions import Predictions
from bench.records.record import Record

TICK = 0.1  # seconds between two looks at a trial's time and memory
_start_lock = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """What a trial may take. Units: seconds of wall time, bytes of memory."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Job:
    """A trial with everything its process needs to run it."""

    trial: Trial
    limits: Limits
    device: str
    threads: int
    log: Path
    given: Mapping[str, type]  # classes handed over from Python
    traces: Path | None = None  # where to write what the method did
    validates: bool = False  # True: train and validate alone, without the test part


@dataclass(frozen=True)
class Task:
    """A call for a process of its own: `work` is "module:function", called with `arguments` and a function that reports."""

    work: str
    arguments: tuple[Any, ...]
    limits: Limits
    log: Path
    given: Mapping[str, type]


class Stopped(RuntimeError):
    """The run was interrupted; the trial was ended and leaves no record."""


class Ended(RuntimeError):
    """The process ended without a result; the message is the reason."""


def prepare_server(modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
    """Load torch, these modules and these datasets once in the fork server. Has an effect before this process's first trial alone."""
    os.environ["BENCH_PRELOAD_DATASETS"] = ",".join(sorted(datasets))  # both are read by bench.grid.warm
    os.environ["BENCH_PRELOAD_MODULES"] = ",".join(modules)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["bench.grid.warm"])


def start_server() -> None:
    """Start the fork server, which loads in the background; without this, the first trial starts it and waits."""
    forkserver.ensure_running()


prepare_server()


def run_isolated(job: Job, report: Callable[..., None], stopped: threading.Event) -> tuple[Record, Predictions | None]:
    """Run a trial in a process of its own. Whatever ends it early becomes a failed record with its reason.

    Raises: Stopped if `stopped` is set before the trial ends, and whatever `report` raises; its process is killed.
    """
    arguments = (job.trial, job.limits, job.device, job.threads, job.traces, job.validates)
    try:
        return call_isolated(Task("bench.grid.process:_trial", arguments, job.limits, job.log, job.given), report, stopped)
    except Ended as end:
        return _failed(job, str(end)), None


def call_isolated(task: Task, report: Callable[..., None], stopped: threading.Event) -> Any:
    """What `task` returns, called in a process of its own; what it reports on the way is passed on.

    Raises: Ended with the reason if it gives no result; Stopped if `stopped` is set first, its process is then killed.
    """
    receiver, process = _start(task)
    begin = time.monotonic()
    try:
        while True:
            if stopped.is_set():
                raise Stopped(task.log.stem)
            ready = wait([receiver, process.sentinel], timeout=TICK)
            if receiver in ready:
                try:
                    kind, *content = receiver.recv()
                except EOFError:
                    raise Ended(_death(process, task.log)) from None
                if kind == "result":
                    return content[0]
                if kind == "failed":
                    raise Ended(content[0])
                report(*content)
            elif process.sentinel in ready:
                raise Ended(_death(process, task.log))
            if time.monotonic() - begin > task.limits.seconds:
                raise Ended(f"time limit: still running after {task.limits.seconds / 60:g} minutes")
            if _resident_bytes(process.pid) > task.limits.memory:
                raise Ended(f"memory limit: took more than {task.limits.memory / 1e9:g} GB")
    finally:
        process.kill()
        process.join()
        receiver.close()


def _start(task: Task) -> tuple[Connection, Any]:
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    given = _by_value(task.given.values())
    arguments = (sender, task.work, task.arguments, str(task.log), given, str(data_root()))
    process = context.Process(target=_child, args=arguments, daemon=True)
    with _start_lock:
        # multiprocessing re-imports the caller's main module in every child: an unguarded script or a notebook would run
        # again inside each trial. A trial needs nothing from it, so an empty one stands in while the process starts.
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
    sender.close()  # the child's copy is then the only one: its death closes the pipe
    return receiver, process


def _by_value(classes: Iterable[type]) -> bytes:
    """Classes with their code: the trial's process could not import what was typed into a notebook or loaded by hand."""
    modules = {sys.modules[cls.__module__] for cls in classes if cls.__module__ != "__main__"}
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(list(classes))
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _trial(
    trial: Trial, limits: Limits, device: str, threads: int, traces: Path | None, validates: bool, report: Callable[..., None]
) -> tuple[Record, Predictions | None]:
    """A trial under its memory limit. A GPU driver reserves address space without end, so there the parent's watch is all."""
    from bench.training.loop import resolve_device
    from bench.training.trial import run_trial, validate_trial

    if resolve_device(device).type == "cpu":
        limit_address_space(limits.memory)
    if validates:
        return validate_trial(trial, device, threads, report)
    return run_trial(trial, device, threads, report, traces)


def _child(sender: Connection, work: str, arguments: tuple[Any, ...], log: str, given: bytes, root: str) -> None:
    """What the process runs: the work, its reports sent as they come, its result in one message."""
    os.environ["BENCH_DATA"] = root  # the fork server may be older than the driver's choice
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with Path(log).open("w", encoding="utf-8", errors="replace") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    from bench import registry
    from bench.errors import TrialError, UsageError

    for cls in pickle.loads(given):  # written by our own parent process
        registry.give(cls)
    try:
        module, _, name = work.partition(":")
        result = getattr(importlib.import_module(module), name)(*arguments, lambda *progress: sender.send(("progress", *progress)))
        sender.send(("result", result))
    except (TrialError, UsageError) as error:
        sender.send(("failed", str(error)))
    except BaseException as error:  # whatever a method raises must become a record
        traceback.print_exc()
        sys.stderr.flush()
        sender.send(("failed", f"out of memory: {line_of(error)}" if _is_memory(error) else line_of(error)))


def _end_with_parent() -> None:
    """Leave when the driver dies, so that a killed run leaves no process behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def limit_address_space(memory: int) -> None:
    """Let this process take no more than `memory` bytes on top of what it holds now."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        held = int(statm.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, hard))


def _resident_bytes(pid: int | None) -> int:
    """Memory a process holds now; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, CUDA's, the allocator's, or the dynamic loader's in the middle of an import."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return any(words in str(error) for words in ("can't allocate memory", "annot allocate memory", "failed to map segment"))


def line_of(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _death(process: Any, log: Path) -> str:
    """Why a process that sent no result is gone."""
    process.join()
    code = process.exitcode
    if code is not None and code < 0:
        return f"killed by signal {signal.Signals(-code).name} (log: {log.name})"
    return f"process ended with exit code {code} and no result (log: {log.name})"


def _failed(job: Job, reason: str) -> Record:
    from bench.records.provenance import provenance

    return Record(job.trial, "failed", reason, provenance=replace(provenance(), threads=job.threads))


@contextmanager
def interruptible(stopped: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run cleanly; a second Ctrl-C stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

"""One task in one process, with limits on time and memory: whatever it does to itself, the run goes on.

Processes start from a fork server that has torch loaded, so a start costs milliseconds and no thread, lock or global state of
the caller is inherited. The parent talks to the process through a pipe: the task goes in whole, progress comes out, the result last.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bench.errors import OtherQuestion, TrialError, UsageError
from bench.grid.faults import CRASHES, is_memory, is_of_machine, line_of
from bench.grid.job import Task
from bench.grid.warm import lives, server_id, start_server
from bench.records.facts import Origin

TICK = 0.1  # seconds between two looks at a process's time and memory
GRACE = 10.0  # seconds that a process whose pipe is closed gets to end
UNKNOWN = 255  # what multiprocessing takes for the exit code where its server cannot tell it any more
_start_lock = threading.Lock()  # of `sys.modules["__main__"]` and of what multiprocessing thinks of us, exchanged while a process starts


class Stopped(RuntimeError):
    """The run was interrupted; the task was ended and nothing came of it."""


class Ended(RuntimeError):
    """The process ended without a result; the message is the reason, `origin` where it ran if that was elsewhere."""

    def __init__(self, reason: str, origin: Origin | None = None) -> None:
        super().__init__(reason)
        self.origin = origin


class Refused(Ended):
    """The process would have answered another question than the one that was planned: its code, its harness or its data are others."""


class Lost(Ended):
    """The machine failed, not the task: nothing is known of it, and it is to be done again."""


def call_isolated(task: Task, report: Callable[..., None], stopped: threading.Event) -> Any:
    """What `task` returns, called in a process of its own; what it reports on the way is passed on.

    Raises: Ended with the reason if it gives no result, Lost if that is the machine's fault; Stopped if `stopped` is set first, its
    process is then killed.
    """
    receiver, process, server = _started(task)
    begin, inherited = time.monotonic(), _own_bytes(process.pid)
    try:
        while True:
            if stopped.is_set():
                raise Stopped(task.log.stem)
            ready = wait([receiver, process.sentinel], timeout=TICK)
            if receiver in ready:
                try:
                    kind, content = receiver.recv()
                except (EOFError, OSError):  # it died before its answer, or in the middle of it
                    raise _death(process, server, task.log) from None
                if kind == "result":
                    return content
                if kind == "failed":
                    raise Ended(content)
                if kind == "lost":
                    raise Lost(content)
                if kind == "refused":
                    raise Refused(content)
                report(content)
            elif process.sentinel in ready:
                raise _death(process, server, task.log)
            if time.monotonic() - begin > task.limits.seconds:
                raise Ended(f"time limit: still running after {task.limits.seconds / 60:g} minutes")
            if _own_bytes(process.pid) - inherited > task.limits.memory:
                raise Ended(f"memory limit: took more than {task.limits.memory / 1e9:g} GB")
    finally:
        process.kill()
        process.join()
        receiver.close()


def _started(task: Task) -> tuple[Connection, Any, int]:
    """The pipe, the process and the id of the server that it was forked from. Where the server was killed, another one is asked once."""
    try:
        return _start(task)
    except EOFError:  # it died before it had forked anything
        try:
            return _start(task)
        except EOFError:
            raise Lost("no process could be started: the fork server is killed from outside each time") from None


def _start(task: Task) -> tuple[Connection, Any, int]:
    context = multiprocessing.get_context("forkserver")
    start_server()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, task, dict(os.environ), Path.cwd()), daemon=True)
    with _start_lock:
        # multiprocessing re-imports the caller's main module in every child: an unguarded script or a notebook would run
        # again inside each trial. A trial needs nothing from it, so an empty one stands in while the process starts.
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        # A worker of a cluster is often a daemon, and multiprocessing lets a daemon have no children, for they could outlive it. Ours
        # watch their parent themselves (`_end_with_parent`).
        own = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        daemon = own.pop("daemon", None)
        try:
            process.start()
        except EOFError:
            receiver.close()
            raise
        except OSError as error:  # no more processes, files or memory, now
            receiver.close()
            raise Lost(f"no process could be started: {line_of(error)}") from None
        finally:
            sys.modules["__main__"] = main
            if daemon is not None:
                own["daemon"] = daemon
            sender.close()  # the child's copy is then the only one: its death closes the pipe
    return receiver, process, server_id()


def _child(sender: Connection, task: Task, environment: dict[str, str], place: Path) -> None:
    """What the process runs: the work, its reports sent as they come, its result in one message.

    Its server may have been started in another folder, with other variables, than the driver is in by now.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update({**environment, **task.environment})  # before anything looks for a GPU
    try:
        os.chdir(place)
        with task.log.open("w", encoding="utf-8", errors="replace") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        _write_at_once()
        task.settle()
        sender.send(("result", task.work(lambda told: sender.send(("progress", told)))))
    except OtherQuestion as error:
        sender.send(("refused", " ".join(str(error).split())))
    except BaseException as error:  # whatever a method raises must become a record
        is_told = isinstance(error, TrialError | UsageError)
        reason = " ".join(str(error).split()) if is_told else line_of(error)
        if not is_told:
            with suppress(OSError):  # a full disk has no room for it either
                traceback.print_exc()
        if is_of_machine(error):
            sender.send(("lost", task.worded(reason)))
        else:
            sender.send(("failed", f"out of memory: {reason}" if not is_told and is_memory(error) else task.worded(reason)))


def _write_at_once() -> None:
    """Print without a buffer, in UTF-8: a process that has answered, or is at a limit, is killed with whatever it held back."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(number, "w", closefd=False)
        setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True))


def _end_with_parent() -> None:
    """Leave when the driver dies, so that a killed run leaves no process behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _own_bytes(pid: int | None) -> int:
    """Memory a process holds now, without the files that it has mapped; 0 where the system does not say.

    What its server had loaded counts from the start: it shares that with its server until it writes there.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return 1024 * sum(int(size) for size in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+) kB", status, re.MULTILINE))


def _death(process: Any, server: int, log: Path) -> Ended:
    """Why a process that sent no result is gone. We kill none of which we still wait for an answer: that was somebody else.

    The exit code comes from the server: where that was killed, nobody knows the code, and the process may be in the middle of its work.
    """
    process.join(GRACE)
    code = process.exitcode
    if code == UNKNOWN and not lives(server):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # `Process.kill` takes it for dead
        return Lost(f"killed from outside: the fork server, and the process with it (log: {log.name})")
    if code is None:
        return Ended(f"process closed the pipe that its result was to come through, and went on (log: {log.name})")
    if code >= 0:
        return Ended(f"process ended with exit code {code} and no result (log: {log.name})")
    name = signal.Signals(-code).name
    if -code in CRASHES:
        return Ended(f"killed by signal {name} (log: {log.name})")
    likely = "; the system does so when memory runs out, then run fewer at once (-j)" if -code == signal.SIGKILL else ""
    return Lost(f"killed from outside by signal {name}{likely} (log: {log.name})")


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

"""The fork server and what it loads before the first process is forked from it: torch, and what a run is about.

The server is a fresh interpreter that imports modules by name and takes no other argument. So what a run is about reaches it through
one environment variable, `BENCH_WARM`, which is set for the moment of its start alone; it says what to load early and moves no number.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import forkserver, util
from pathlib import Path

from bench.errors import UsageError

CHANNEL = "BENCH_WARM"  # {"modules": [...], "datasets": [...]}
ALWAYS = (
    "sklearn.linear_model",
    "torch._dynamo",  # the optimiser imports it at its first step, which would cost every trial a second
    "bench.grid.process",  # what a forked process begins with
    "bench.training.trial",
)
MMAP_THRESHOLD = -3  # as <malloc.h> numbers it: from so many bytes on a buffer is a mapping of its own
SOCKET = 103 if sys.platform == "darwin" else 107  # bytes of a socket's path, a limit of the system
FOLDER, NAME = len("/pymp-12345678"), len("/listener-12345678")  # what multiprocessing adds to the folder for temporary files
SHORT = ("XDG_RUNTIME_DIR", "/tmp", "/var/tmp", "/dev/shm")  # folders, or variables that name one, where TMPDIR is too long
_lock = threading.Lock()  # of the variable, and of where multiprocessing keeps its sockets


def look_at_code() -> None:
    """Note the text of every method that is loaded here, for those are what trials run; and parse it once for all of them."""
    from bench import registry
    from bench.errors import UsageError
    from bench.methods.catalog import METHODS

    registry.code.remember(name for name in list(sys.modules) if name.startswith(registry.code.OURS))
    for name, place in METHODS.items():
        if place.partition(":")[0] in sys.modules:
            with suppress(UsageError):  # left to the trial that needs it, which says so
                registry.source_version(registry.method_class(name), is_running=True)


def start_server(modules: Iterable[str] = (), datasets: Iterable[str] = ()) -> None:
    """Start the fork server, which loads these modules and datasets in the background. Does nothing where it runs already.

    Raises: UsageError if it cannot be started.
    """
    with _lock:
        _shorten_sockets()
        os.environ[CHANNEL] = json.dumps({"modules": sorted(modules), "datasets": sorted(datasets)})
        multiprocessing.get_context("forkserver").set_forkserver_preload(["bench.grid.server"])
        try:
            forkserver.ensure_running()
        except OSError as error:
            raise UsageError(f"no process can be started here: {error}; `bench doctor` says what this machine lacks") from None
        finally:
            del os.environ[CHANNEL]


def server_id() -> int:
    """The process id of the fork server, which has been started."""
    return int(forkserver._forkserver._forkserver_pid)  # type: ignore[attr-defined]  # multiprocessing tells it nowhere else


def lives(server: int) -> bool:
    """Whether a fork server of this process still runs ten seconds later: its pipes close before it is dead, on a busy machine long
    before. It is left to multiprocessing to take note of its death."""
    try:
        for _ in range(100):
            if os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return False
            time.sleep(0.1)
    except ChildProcessError:
        return False
    return True


def socket_folder() -> Path:
    """The folder whose sockets have short enough paths: that of temporary files, or another one. Raises: UsageError if there is none."""
    usual = tempfile.gettempdir()
    others = [os.environ.get(name, "") if name.isupper() else name for name in SHORT]
    for folder in (usual, *others):
        if folder and len(os.fsencode(folder)) + FOLDER + NAME <= SOCKET and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    raise UsageError(
        f"TMPDIR is too long for a socket, whose path may have {SOCKET} bytes: {usual} has {len(os.fsencode(usual))}; "
        f"set TMPDIR to a folder of at most {SOCKET - FOLDER - NAME}"
    )


def _shorten_sockets() -> None:
    """Let multiprocessing, here and in every process started from here, keep its sockets where their paths are short enough.

    It makes one folder for them on first use, in that of temporary files, and hands its name down to its children.
    """
    known = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # where multiprocessing.util keeps the name
    made = known.get("tempdir")
    if made is not None and len(os.fsencode(made)) + NAME <= SOCKET:
        return
    usual, short = tempfile.tempdir, str(socket_folder())
    known.pop("tempdir", None)
    tempfile.tempdir = short
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = usual


def free_at_once() -> None:
    """Let what is freed go back to the system from here on, in this process and all forked from it, where the C library can (glibc).

    By itself it keeps buffers of up to 32 MB for later, as many as the heap happens to have room for: with the batches of large data a
    trial then takes up to twice the memory that it uses. Small data keep the faster way.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 2**20)


def warm_up() -> None:
    """Load, in the fork server, what every trial needs and what this run is about: it is then shared with all that are forked.

    The order matters: what has to see all that is loaded comes last. Nothing here may touch a GPU, or what is forked could use none;
    whatever a module of somebody else asks torch about GPUs, the driver's own library answers.
    """
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    from bench.data.loading import holds_large, preload
    from bench.records.provenance import provenance

    wanted = json.loads(os.environ.pop(CHANNEL, "{}"))
    for name in ALWAYS:
        importlib.import_module(name)
    provenance()
    for name in wanted.get("datasets", ()):
        preload(name)
    if holds_large():
        free_at_once()
    for name in wanted.get("modules", ()):
        with suppress(ImportError):  # left to the trial that needs it, which says so
            importlib.import_module(name)
    look_at_code()
    from bench.training.threads import look_up

    look_up()
    gc.freeze()  # nothing loaded here is ever garbage: a trial's collector need not go through it, nor copy its pages by marking them

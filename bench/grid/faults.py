"""Whose fault an error is: the task's, and running it again gives the same; or the machine's, and nothing is known of the task."""

from __future__ import annotations

import errno
import signal

from bench.errors import MachineError

CRASHES = frozenset(  # signals that a process brings upon itself; any other came from outside
    number
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
    if (number := getattr(signal, name, None)) is not None
)
NUMBERS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENFILE))
DISK_WORDS = ("no space left on device", "disk quota exceeded", "input/output error", "stale file handle")
GPU_WORDS = (  # of CUDA's runtime, its driver and torch: what no code of a method can bring about
    "no cuda-capable device", "no cuda gpus are available", "cuda unknown error", "cuda driver initialization failed",
    "cuda driver version is insufficient", "found no nvidia driver", "forward compatibility was attempted", "driver shutting down",
    "cuda-capable device(s) is/are busy or unavailable", "initialization error", "invalid device ordinal", "uncorrectable ecc error",
    "uncorrectable nvlink error", "hardware stack error", "system not yet initialized", "system has unsupported display driver",
    "gpu is lost", "fallen off the bus", "no hip gpus are available",
)  # fmt: skip


def is_of_machine(error: BaseException) -> bool:
    """Whether an error says that the machine failed: a GPU that is not there or broke, a disk without room or gone.

    Memory that ran out is no such error: each trial has its own limit. Nor are an illegal access or a failed assertion on a GPU.
    """
    if isinstance(error, MachineError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NUMBERS
    text = str(error).lower()
    if "cuda" in text or "hip" in text or "nvidia" in text:
        return any(words in text for words in GPU_WORDS)
    return any(words in text for words in DISK_WORDS)


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, CUDA's, the allocator's, or the dynamic loader's in the middle of an import."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return any(words in str(error) for words in ("can't allocate memory", "annot allocate memory", "failed to map segment"))


def line_of(error: BaseException) -> str:
    """An exception as one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__

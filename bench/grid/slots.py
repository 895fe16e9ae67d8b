"""The GPUs of this machine, and which task has which. The driver never asks CUDA: what it needs to know, a process of its own finds out.

A process that has touched a GPU may not be forked, and torch loads for seconds. So ids come from the variable that a cluster sets, or
from `nvidia-smi`, and whether one works is seen by computing something on it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.grid.job import GPUS, Task
from bench.grid.process import TICK, Ended, Stopped, call_isolated
from bench.question.machine import Limits
from bench.text import and_list, count

LISTING = 60.0  # seconds that nvidia-smi may take; with a broken driver it hangs
PROBE = Limits(seconds=300.0, memory=64 * 10**9)  # a context on a large machine takes its time
LINE = re.compile(r"^(GPU \d+|\s+MIG\b[^:]*):.*\(UUID: ((?:GPU|MIG)-[^)\s]+)\)")


def visible() -> tuple[str, ...]:
    """Ids of the GPUs that this process may use; none where nobody says.

    Those of CUDA_VISIBLE_DEVICES as they stand there (indices, UUIDs, MIG ids), which CUDA reads up to the first that is none; else
    what `nvidia-smi -L` lists, a GPU that is parted into MIG instances by these.
    """
    said = os.environ.get(GPUS)
    return listed_gpus() if said is None else named_gpus(said)


def named_gpus(text: str) -> tuple[str, ...]:
    """The ids in a value of CUDA_VISIBLE_DEVICES. Where one stands twice CUDA sees none.

    >>> named_gpus("2, GPU-8932f937"), named_gpus("0,-1,1"), named_gpus(""), named_gpus("1,1")
    (('2', 'GPU-8932f937'), ('0',), (), ())
    """
    ids: list[str] = []
    for item in (item.strip() for item in text.split(",")):
        if not item or item.startswith("-") or item == "NoDevFiles":
            break
        ids.append(item)
    return tuple(ids) if len(set(ids)) == len(ids) else ()


def listed_gpus() -> tuple[str, ...]:
    """What `nvidia-smi -L` lists; none where there is no such command, or it finds none, as on the login node of a cluster.

    Raises: UsageError if it does not answer.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    try:
        done = subprocess.run([command, "-L"], capture_output=True, encoding="utf-8", errors="replace", timeout=LISTING)
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"nvidia-smi -L did not answer within {LISTING:g} s, the driver of the GPUs hangs; mend it, name GPUs in {GPUS}, "
            "or give --device cpu"
        ) from None
    except OSError:
        return ()
    return read_listing(done.stdout) if done.returncode == 0 else ()


def read_listing(text: str) -> tuple[str, ...]:
    """UUIDs in what `nvidia-smi -L` prints; MIG instances stand in the place of their GPU."""
    groups: list[list[str]] = []
    for line in text.splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        if found[1].startswith("GPU"):
            groups.append([found[2]])
        elif groups:
            groups[-1].append(found[2])
    return tuple(id_ for group in groups for id_ in (group[1:] or group))


def gpus_for(device: str) -> tuple[str, ...]:
    """Ids of the GPUs that tasks on this device may have; none for the CPU, or where nobody says which there are.

    Raises: UsageError if there are some, and not the one that is asked for.
    """
    return () if device == "cpu" else _chosen(device, visible())


def _chosen(device: str, ids: tuple[str, ...]) -> tuple[str, ...]:
    number = device.partition(":")[2]
    if not number or not ids:
        return ids
    if int(number) >= len(ids):
        raise UsageError(f"device {device} was asked for, and this machine offers {count(len(ids), 'GPU')}, cuda:0 to cuda:{len(ids) - 1}")
    return (ids[int(number)],)


class Slots:
    """GPUs by their ids, each for `share` tasks at once. They are handed out in turn: all of them once before any is shared."""

    def __init__(self, ids: Sequence[str], share: int = 1) -> None:
        self.known, self.ids, self.share = tuple(ids), list(ids), share  # `ids` are those that still work
        self._held = dict.fromkeys(ids, 0)
        self._last = {id_: place for place, id_ in enumerate(ids)}  # when each was last handed out
        self._turn = len(self.ids)
        self._changed = threading.Condition()

    @contextmanager
    def one(self, stopped: threading.Event) -> Iterator[str]:
        """The id of a GPU that is free, or becomes so. Raises: Stopped once `stopped` is set; UsageError when no GPU is left."""
        id_ = self._take(stopped)
        try:
            yield id_
        finally:
            with self._changed:
                self._held[id_] -= 1
                self._changed.notify()

    def _take(self, stopped: threading.Event) -> str:
        with self._changed:
            while True:
                if stopped.is_set():
                    raise Stopped("no GPU was free")
                if not self.ids:
                    raise UsageError("no GPU of this machine works any more; what has ended is stored, and the same command goes on")
                id_ = min(self.ids, key=lambda id_: (self._held[id_], self._last[id_]))
                if self._held[id_] < self.share:
                    self._held[id_] += 1
                    self._last[id_], self._turn = self._turn, self._turn + 1
                    return id_
                self._changed.wait(TICK)

    def look_again(self, id_: str) -> None:
        """After something went wrong on a GPU: hand it out no more if it is broken. Raises: UsageError if it was the last."""
        found = probe(id_)
        if found.works:
            return
        with self._changed:
            if id_ in self.ids:
                self.ids.remove(id_)
            self._changed.notify_all()
            if not self.ids:
                raise UsageError(
                    f"no GPU of this machine works any more, the last was {id_}: {found.reason}; what has ended is stored, and the same "
                    "command goes on"
                )


class Probed(NamedTuple):
    """What came of computing something on a GPU."""

    gpus: int  # that torch saw
    is_built: bool = True  # False: this torch computes on the CPU alone
    reason: str = ""  # why nothing could be computed

    @property
    def works(self) -> bool:
        return self.gpus > 0 and not self.reason


@dataclass(frozen=True, kw_only=True)
class Probe(Task):
    """Computes something on the first GPU that it sees."""

    def work(self, report: Callable[[Any], None]) -> Probed:
        import torch

        from bench.training.loop import resolve_device

        if not torch.backends.cuda.is_built():
            return Probed(0, False, f"torch {torch.__version__} is built without GPUs")
        torch.ones(8, device=resolve_device("cuda")).sum().item()
        return Probed(torch.cuda.device_count())


def probe(id_: str | None) -> Probed:
    """Whether a GPU works, or with None whether CUDA finds one as things are."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        task = Probe(limits=PROBE, log=Path(folder) / "probe.log")
        try:
            return call_isolated(task if id_ is None else task.on(id_), lambda _: None, threading.Event())
        except Ended as end:
            return Probed(0, True, str(end))


def working(device: str, say: Callable[[str], None]) -> tuple[str, ...]:
    """Ids of the GPUs for tasks on this device that work, each tried; none where tasks compute on the CPU, or where `auto` is to see.

    `say` takes a line on those that do not work. Raises: UsageError if a GPU is asked for, or `auto` finds some, and none works.
    """
    ids: tuple[str, ...] = gpus_for(device)
    if device == "cpu" or (device == "auto" and not ids):
        return ()
    if not ids:  # nobody says which there are: no NVIDIA, or a container without its commands
        found = probe(None)
        ids = _chosen(device, tuple(map(str, range(found.gpus)))) if found.works else ()
        _refuse_unless(ids, device, [found.reason])
        return ids
    with ThreadPoolExecutor(len(ids)) as pool:
        tried = dict(zip(ids, pool.map(probe, ids), strict=True))
    if device == "auto" and not any(found.is_built for found in tried.values()):
        say(f"{count(len(ids), 'GPU')} here, but {next(iter(tried.values())).reason}: trials run on the CPU")
        return ()
    good = tuple(id_ for id_, found in tried.items() if found.works)
    bad = {id_: found.reason for id_, found in tried.items() if not found.works}
    _refuse_unless(good, device, bad.values())
    for id_, reason in bad.items():
        say(f"GPU {id_} is left out, for it does not work: {reason}")
    return good


def _refuse_unless(good: Sequence[str], device: str, reasons: Iterable[str]) -> None:
    if not good:
        why = and_list(sorted(set(reasons)))
        raise UsageError(f"device {device} was asked for, and no GPU works here: {why}; mend that, run elsewhere, or give --device cpu")

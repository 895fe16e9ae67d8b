"""The workers of a Ray cluster as a place. A task is a generator there: it yields what the trial tells, then what came of it.

Stopping needs nothing of ours: Ray ends the process of a task that is cancelled or whose driver is gone, and the trial's own process ends
with it.
"""

from __future__ import annotations

import pickle
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import bench
from bench.errors import PlaceLost, UsageError
from bench.grid.job import Task
from bench.grid.places import worker as ours
from bench.grid.places.local import room
from bench.grid.places.remote import Found, Remote
from bench.grid.places.worker import Hear
from bench.grid.process import Ended, Stopped
from bench.text import count

TICK = 0.2  # seconds between two looks whether a run is stopped
CONNECT = 10.0  # seconds in which the head of a cluster must answer
RETRIES = 2  # of a task whose worker died
LOOKING = 1800.0  # seconds that a node has to say what it is
STORE = 200_000_000  # bytes of shared memory of a cluster of our own: nothing but records, traces and weights passes through it
NO_BENCH = "missing-modality-bench is not installed there, or a version without places; install the driver's version"


class Ray(Remote):
    """A Ray cluster: the one of an address, or, without, one that is started on this machine."""

    kind = "ray"

    looks_at_gpus = False  # Ray hides them from what asks for none

    def __init__(self, address: str | None = None, **given: Any) -> None:
        super().__init__(**given)
        try:
            import ray  # noqa: F401
        except ImportError:
            raise UsageError("ray is not installed; pip install 'missing-modality-bench[ray]'") from None
        self._address, self._threads, self._gpus = address, self.machine.threads, 0
        self._is_open = self._is_ours = False

    def count_slots(self) -> int:
        import ray

        found = int(ray.cluster_resources().get("CPU", 0)) // self._threads
        if found and self._gpus and self.machine.device != "cpu":
            found = min(found, self._gpus * self.per_gpu)
        if not found:
            raise UsageError(
                f"no node of {self._named()} has {count(self._threads, 'CPU')}; start one, or say with -j how many to send at once"
            )
        return found

    def open(self) -> None:
        import ray

        if self._is_open:
            return
        if not ray.is_initialized():  # a notebook may have connected already: that cluster is meant then
            options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
            if self._address is None:
                if not self._is_known:
                    self._slots, self._is_known = room(self.machine, self.per_gpu), True
                options |= {
                    "num_cpus": self._slots * self._threads,
                    "include_dashboard": False,
                    "object_store_memory": STORE,
                    "address": "local",
                }
            else:
                options |= {"address": self._address}
                if self._address != "auto":  # the cluster that this machine is a node of
                    _knock(self._address)
            try:
                ray.init(**options)
            except (ConnectionError, OSError, RuntimeError, TimeoutError, ValueError) as error:
                raise UsageError(f"no Ray cluster answers at {self._named()}: {' '.join(str(error).split())[:300]}") from None
            self._is_ours = True
        self._gpus = int(ray.cluster_resources().get("GPU", 0))
        self._is_open = True
        if self.machine.device.startswith("cuda") and not self._gpus:
            self.close()
            raise UsageError(f"device {self.machine.device} was asked for, and no node of {self._named()} offers a GPU")

    def close(self) -> None:
        import ray

        if self._is_ours:
            ray.shutdown()  # of this driver; a cluster that was started elsewhere stays
        self._is_open = self._is_ours = False

    def ask(self, packed: bytes, patience: float = 0.0) -> list[Found]:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        end = time.monotonic() + patience
        while not (nodes := [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]) and time.monotonic() < end:
            time.sleep(TICK)
        look = ray.remote(num_cpus=0, max_retries=0)(ours.look)
        asked = {
            node["NodeID"]: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                bench.__version__, packed
            )
            for node in nodes
        }
        found = []
        for node in nodes:
            name, slots = node["NodeManagerAddress"], int(node["Resources"]["CPU"]) // self._threads
            try:
                where, origin, problems = pickle.loads(ray.get(asked[node["NodeID"]], timeout=LOOKING))
                found.append(Found(name, slots, where, origin, problems))
            except ray.exceptions.RayError as error:
                found.append(Found(name, slots, problems=(_told(error),)))
        return found

    def send(self, packed: bytes, task: Task, hear: Hear, stopped: threading.Event) -> bytes:
        import ray

        gpus = 1 / self.per_gpu if task.device != "cpu" and self._gpus else 0
        remote = ray.remote(num_cpus=self._threads, num_gpus=gpus, max_retries=RETRIES)(_carry_out)
        stream = remote.remote(bench.__version__, packed)
        is_over = False
        try:
            while True:
                if stopped.is_set():
                    raise Stopped(task.log.stem)
                ready, _ = ray.wait([stream], timeout=TICK)
                if not ready:
                    continue
                number, told = ray.get(next(stream))
                if number is None:
                    is_over = True
                    return told
                hear(number, told)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
            is_over = True
            raise Ended(f"every worker that ran it died: {_told(error)}") from None
        except ray.exceptions.RayTaskError as error:
            is_over = True
            if isinstance(error.cause, ImportError | AttributeError) and "bench" in str(error.cause):
                raise UsageError(f"a worker of {self._named()}: {NO_BENCH}") from None
            raise Ended(f"ray: {_told(error)}") from None
        except (ConnectionError, ray.exceptions.RaySystemError) as error:
            is_over = True
            gone = f"the Ray cluster at {self._named()} is gone ({type(error).__name__})"
            raise PlaceLost(f"{gone}; what has ended is stored, the same command continues") from None
        finally:
            if not is_over:
                with suppress(Exception):  # it is on its way out, for another reason that is raised
                    ray.cancel(stream, force=True)

    def _named(self) -> str:
        return self._address or "this machine"


def _knock(address: str) -> None:
    """Ray itself would knock for minutes. Raises: UsageError if nobody listens at HOST:PORT, or that is no such address."""
    try:
        found = urlsplit(f"//{address}")
        socket.create_connection((found.hostname or "", found.port or 0), timeout=CONNECT).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}; the address is HOST:PORT, 6379 where Ray was not told") from None


def _told(error: Exception) -> str:
    return " ".join(str(getattr(error, "cause", None) or error).split())[:300]


def _carry_out(version: str, packed: bytes) -> Iterator[tuple[int | None, bytes]]:
    """On a worker: what the task tells, by its number, then the delivery, by none. The generator is read while the trial runs."""
    told: queue.SimpleQueue[tuple[int | None, bytes | BaseException]] = queue.SimpleQueue()

    def work() -> None:
        try:
            told.put((None, ours.work(version, packed, lambda number, content: told.put((number, content)), threading.Event())))
        except BaseException as error:
            told.put((None, error))

    threading.Thread(target=work, daemon=True).start()
    while True:
        number, content = told.get()
        if isinstance(content, BaseException):
            raise content
        yield number, content
        if number is None:
            return

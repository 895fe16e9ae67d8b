"""The workers of a dask cluster as a place. Of dask's own services it uses: that a task whose worker dies runs again elsewhere, and events.

A running task is stopped without a broker: it asks its own worker whether it is still wanted. Once the driver cancels it, or the scheduler
has dropped the keys of a driver that is gone, its state there changes.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
import uuid
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import bench
from bench.errors import PlaceLost, UsageError
from bench.grid.job import Task
from bench.grid.places import worker as ours
from bench.grid.places.local import room
from bench.grid.places.remote import Found, Remote
from bench.grid.places.worker import Hear
from bench.grid.process import Ended, Stopped
from bench.grid.slots import gpus_for
from bench.text import count

TICK = 0.2  # seconds between two looks whether a run is stopped
LOOK, LONELY = 5.0, 60.0  # seconds between two looks at the workers, and after which it is said that there are none
CONNECT, START = 30.0, 180.0  # seconds that a scheduler has to answer, and workers of our own to start on a busy machine
NO_BENCH = "missing-modality-bench is not installed there, or a version without places; install the driver's version"


class Dask(Remote):
    """A dask cluster: the one of an address or of a scheduler file, or, with neither, one that is started on this machine."""

    kind = "dask"

    def __init__(self, address: str | None = None, *, file: str | None = None, **given: Any) -> None:
        super().__init__(**given)
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise UsageError("dask is not installed; pip install 'missing-modality-bench[dask]'") from None
        self._address, self._file = address, file
        self._client: Any = None
        self._cluster: Any = None
        self._topic = f"bench-{uuid.uuid4().hex}"
        self._boxes: dict[str, SimpleQueue[tuple[int, bytes] | None]] = {}
        self._looking, self._looked, self._seen, self._has_said = threading.Lock(), 0.0, 0.0, False

    def count_slots(self) -> int:
        found = sum(self._client.nthreads().values())
        if not found:
            raise UsageError(f"no worker is connected to {self._named()} yet; start some, or say with -j how many trials to send at once")
        return found

    def open(self) -> None:
        if self._client is not None:
            return
        from distributed import Client

        self._cluster = self._start()
        try:
            target = self._cluster or (None if self._file else self._address)
            self._client = Client(target, scheduler_file=self._file, timeout=CONNECT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            self._end_cluster()
            raise UsageError(f"no dask scheduler answers at {self._named()}: {' '.join(str(error).split())}") from None
        self._client.subscribe_topic(self._topic, self._heard)
        self._seen = time.monotonic()
        self._await_own()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=CONNECT)
        self._end_cluster()

    def ask(self, packed: bytes, patience: float = 0.0) -> list[Found]:
        if patience and not self._client.nthreads():
            with suppress(TimeoutError):
                self._client.wait_for_workers(1, timeout=patience)
        slots = dict(self._client.nthreads())
        answers = self._client.run(ours.look, bench.__version__, packed, on_error="return")
        found = []
        for address, answer in sorted(answers.items()):
            if isinstance(answer, bytes):
                node, origin, problems = pickle.loads(answer)
                found.append(Found(address, slots.get(address, 0), node, origin, problems))
            else:
                told = NO_BENCH if isinstance(answer, ImportError | AttributeError) else f"{type(answer).__name__}: {answer}"
                found.append(Found(address, slots.get(address, 0), problems=(told,)))
        return found

    def send(self, packed: bytes, task: Task, hear: Hear, stopped: threading.Event) -> bytes:
        key = f"bench-{uuid.uuid4().hex}"
        box: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()
        client, self._boxes[key] = self._client, box
        future = client.submit(_carry_out, bench.__version__, packed, self._topic, key=key, pure=False, resources=self._resources(task))
        future.add_done_callback(lambda _: box.put(None))
        try:
            while True:
                if stopped.is_set():
                    raise Stopped(task.log.stem)
                try:
                    told = box.get(timeout=TICK)
                except Empty:
                    self._look_around()
                    continue
                if told is None:
                    return self._result(future)
                hear(*told)
        finally:
            del self._boxes[key]
            if not future.done():
                future.cancel()

    def _result(self, future: Any) -> bytes:
        from distributed import KilledWorker

        try:
            return future.result(timeout=CONNECT)
        except KilledWorker as error:
            raise Ended(f"every worker that ran it died, the last one {error.last_worker.address}; see its log there") from None
        except (CancelledError, TimeoutError, OSError) as error:  # nobody but the engine cancels it
            gone = f"the dask scheduler at {self._named()} is gone ({type(error).__name__})"
            raise PlaceLost(f"{gone}; what has ended is stored, the same command continues") from None
        except (ImportError, AttributeError) as error:
            if "bench" in str(error):
                raise UsageError(f"a worker of {self._named()}: {NO_BENCH}") from None
            raise

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        """In the client's own thread."""
        told = event[1]
        if box := self._boxes.get(told["key"]):
            box.put((told["number"], told["told"]))

    def _resources(self, task: Task) -> dict[str, float] | None:
        """A GPU, or its share, for a task that is to run on one, where workers say what they have (`dask worker --resources GPU=2`)."""
        if task.device == "cpu":
            return None
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return {"GPU": 1 / self.per_gpu} if any("GPU" in worker["resources"] for worker in workers) else None

    def _look_around(self) -> None:
        """Say so once there has been no worker for a while; one thread looks for all."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            if now - self._looked < LOOK:
                return
            self._looked = now
            with suppress(OSError, TimeoutError):  # a scheduler that is gone shows itself in the tasks
                if self._client.nthreads():
                    self._seen, self._has_said = now, False
            if now - self._seen >= LONELY and not self._has_said:
                self._has_said = True
                self.say(self._lonely())
        finally:
            self._looking.release()

    def _lonely(self) -> str:
        return f"no workers at {self._named()} for a minute; the run waits for some, Ctrl-C ends it and the same command continues"

    def _named(self) -> str:
        return self._address or self._file or "this machine"

    def _start(self) -> Any:
        """A cluster of this machine, if none was named. Its scheduler is in this process, so that workers end with it; they are commands
        of their own, which import nothing of the driver's script."""
        if self._address or self._file:
            return None
        from distributed import Scheduler, SpecCluster
        from distributed.deploy.subprocess import SubprocessWorker

        if not self._is_known:
            self._slots, self._is_known = room(self.machine, self.per_gpu), True
        is_one = bool(gpus_for(self.machine.device))  # who hands out GPUs must know of all that are in use
        kwargs = {"host": "127.0.0.1", "nthreads": self._slots if is_one else 1, "memory_limit": 0, "silence_logs": logging.ERROR}
        worker = {"cls": SubprocessWorker, "options": {"worker_kwargs": kwargs}}
        scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
        workers = dict.fromkeys(range(1 if is_one else self._slots), worker)
        return SpecCluster(workers, scheduler=scheduler, worker=worker, silence_logs=logging.ERROR)

    def _await_own(self) -> None:
        """Wait for the workers of a cluster that was started here. Raises: UsageError."""
        if self._cluster is not None:
            try:
                self._client.wait_for_workers(len(self._cluster.worker_spec), timeout=START + self._slots)
            except TimeoutError:
                self.close()
                raise UsageError(f"{count(self._slots, 'dask worker')} did not start on this machine; `dask worker` may say why") from None

    def _end_cluster(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close(timeout=CONNECT)


class _Watch(threading.Event):
    """Set once the driver wants a task no more: it cancelled it, or it is gone."""

    def __init__(self, worker: Any, key: str) -> None:
        super().__init__()
        self._worker, self._key = worker, key

    def is_set(self) -> bool:
        known = self._worker.state.tasks.get(self._key)
        return known is None or known.state != "executing" or self._worker.status.name in ("closing", "closed", "failed")


def _carry_out(version: str, packed: bytes, topic: str) -> bytes:
    """On a worker."""
    from distributed import get_worker

    worker = get_worker()
    key = str(worker.get_current_task())

    def tell(number: int, told: bytes) -> None:
        worker.log_event(topic, {"key": key, "number": number, "told": told})

    return ours.work(version, packed, tell, _Watch(worker, key))

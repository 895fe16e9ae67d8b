"""What a Slurm job preloads into its dask worker: a worker that has closed ends its process, whatever else waits in it.

A worker that its scheduler and a signal close at once may wait for ever (seen with distributed 2026.7: the event loop waits for a task
that swallowed its cancellation). The job's script has ended by then, so a Slurm without cgroups would not kill it either.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

TICK = 1.0  # seconds between two looks
GRACE = 10.0  # seconds that a worker has to end by itself


def dask_setup(worker: Any) -> None:
    """Called by dask once the worker is made."""
    threading.Thread(target=_watch, args=(worker,), daemon=True, name="leaving").start()


def _watch(worker: Any) -> None:
    while worker.status.name not in ("closing", "closing_gracefully", "closed", "failed"):
        time.sleep(TICK)
    while worker.status.name == "closing_gracefully":  # it may still carry out what it has begun
        time.sleep(TICK)
    time.sleep(GRACE)
    os._exit(0)

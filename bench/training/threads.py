"""How many threads the numerical libraries of a process may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import ThreadpoolController

# What `look_up` found. It belongs to a process, whose libraries it lists, and a forked one inherits both: that is what spares it the look.
_known: list[ThreadpoolController] = []


def look_up() -> None:
    """Find the loaded libraries once, for this process and those forked from it: every look costs some 15 ms.

    To be called when all is loaded: what is loaded later is not limited.
    """
    _known[:] = [ThreadpoolController()]


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Let torch, BLAS and OpenMP use so many threads, and at the end as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with (_known[0] if _known else ThreadpoolController()).limit(limits=threads):
            yield
    finally:
        torch.set_num_threads(before)

"""Named streams of random numbers, all derived from one root seed; no global generator is read."""

from __future__ import annotations

from zlib import crc32

import numpy as np

STREAMS = ("split", "mask", "init", "order", "noise", "statistics", "tune")


def stream(seed: int, name: str, *path: str) -> np.random.Generator:
    """The generator of one stream; `path` names a branch of it, such as a split part.

    >>> stream(0, "mask", "train").random() == stream(0, "mask", "valid").random()
    False
    """
    if name not in STREAMS:
        raise ValueError(f"stream must be one of {', '.join(STREAMS)}, got {name!r}")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(crc32(key.encode()) for key in (name, *path))))


def number(seed: int, name: str, *path: str) -> int:
    """A 63-bit integer from the stream, for libraries that take a seed."""
    return int(stream(seed, name, *path).integers(2**63 - 1))

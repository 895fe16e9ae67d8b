"""What a trial may take and what it computes on, as plain values. Neither is part of its identity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a trial may take. Units: seconds of wall time, bytes of memory."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Machine:
    """What a trial computes on, wherever that stands."""

    device: str = "auto"  # auto, cpu, cuda or cuda:N
    threads: int = 1  # of torch, BLAS and OpenMP
    per_gpu: int = 1  # trials that share its GPU, itself among them

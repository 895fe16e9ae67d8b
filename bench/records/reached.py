"""How far a training has come: what it tells after each epoch, wherever it runs. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reached:
    """An epoch that a training has ended, what it found by then and what it took."""

    epoch: int  # from 1
    epochs: int  # in all
    best: float  # validation score of the best epoch so far, larger is better; NaN while none may be chosen
    seconds: float  # of training, scoring included
    gflops: float | None = None  # of training; None where nobody counts them


Report = Callable[[Reached], None]  # what it raises ends the training

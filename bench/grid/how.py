"""How a run goes about its trials: what the doors know and no number depends on, in one value."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.grid.hooks import Hook
from bench.grid.places import Local, Place
from bench.grid.progress import Progress
from bench.question.shards import WHOLE, Shard


def _silent(_: str) -> None:
    pass


def _aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class How:
    """How to run what a suite asks. A tuning and an audit take from it what they have: they retry nothing and trace nothing."""

    place: Place = field(default_factory=Local)
    retry_failed: bool = False  # failed trials run again
    wait: bool = False  # while another run writes to the same folder
    is_traced: bool = False  # each trial also writes what its method did to traces/TRIAL.npz; one stored without it runs again
    keeps_weights: bool = False  # each trial that trains also leaves weights/TRIAL.safetensors; one stored without it runs again
    hooks: Sequence[Hook] = ()  # what is told of each record, beside those that are installed
    progress: Callable[[], Progress] = Progress  # a new one for each batch of trials
    say: Callable[[str], None] = _silent  # takes a line now and then, of what a run decided
    warn: Callable[[str], None] = _aside  # takes what nobody may miss, quiet or not: results that are not there
    shard: Shard = WHOLE  # the part of the suite's trials that runs here
    command: str = "bench.run(...)"  # what a user gave, for the pages

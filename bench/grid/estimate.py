"""How long a run will take: from stored trials of the same method and setting, else from a few training steps measured on this machine.

A stored trial gives its own time, scaled to the epochs asked for. Where there is none, `bench.training.timing` times the method with the
most modalities asked for. The range is that of what was stored or timed; with fewer modalities a trial takes between their share of the
time and all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from bench.errors import UsageError
from bench.grid.left import duration, kind, past_seconds
from bench.question.trial import Trial
from bench.records.record import Record
from bench.text import count
from bench.training.timing import Span, timed


@dataclass(frozen=True)
class Estimate:
    """Wall seconds of a run with `jobs` trials at once. `stored` and `measured` say how many trials each source covers."""

    seconds: float
    low: float
    high: float
    jobs: int
    trials: int  # to run
    stored: int  # estimated from stored trials
    measured: int  # estimated from timed steps
    training_gflops_per_second: float | None  # of the timed steps, median over methods; None where none were counted
    unknown: tuple[str, ...] = ()  # what could not be estimated, with the reason

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "unknown": list(self.unknown)}

    def text(self) -> str:
        """One or two sentences for a person."""
        if not self.trials:
            return "nothing to run"
        if not self.stored + self.measured:
            return f"no estimate: {'; '.join(self.unknown)}"
        sources = [f"{count(self.stored, 'trial')} from stored ones of the same method and setting"] if self.stored else []
        if self.measured:
            speed = "" if self.training_gflops_per_second is None else f" ({self.training_gflops_per_second:.3g} training GFLOP/s)"
            sources.append(f"{self.measured} from steps timed on this machine now{speed}")
        lines = [
            f"about {duration(self.seconds)} with {self.jobs} at once (range {duration(self.low)} to {duration(self.high)}): "
            + ", ".join(sources)
        ]
        return "\n".join([*lines, *(f"not in the estimate: {reason}" for reason in self.unknown)])


def estimate(
    trials: Sequence[Trial], records: Iterable[Record], jobs: int, device: str = "auto", threads: int = 1,
    begin: Callable[[Trial], None] | None = None,
) -> Estimate:  # fmt: skip
    """How long `trials` will take, `records` being what a store holds. `begin` hears of each method before it is timed."""
    known: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "done":
            known[kind(record.trial)].append(record)
    past = [from_records(trial, known[kind(trial)]) for trial in trials]
    largest: dict[str, Trial] = {}  # of the trials to be timed: one for each method and dataset, with most modalities
    for trial, span in zip(trials, past, strict=True):
        if span is None and len(trial.combination) > len(largest.get(_work(trial), replace(trial, combination="")).combination):
            largest[_work(trial)] = trial
    spans: dict[str, Span] = {}
    speeds, unknown = [], []
    for work, trial in largest.items():
        if begin is not None:
            begin(trial)
        try:
            spans[work], speed = timed(trial, device, threads)
            speeds += [] if speed is None else [speed]
        except UsageError:
            raise
        except Exception as error:  # whatever a method raises, the others can be estimated
            unknown.append(f"{trial.label} on {trial.dataset_label}: {' '.join(str(error).split())[:200]}")
    found = [span for span in past if span is not None]
    stored = len(found)
    for trial, span in zip(trials, past, strict=True):
        if span is None and _work(trial) in spans:
            found.append(_smaller(spans[_work(trial)], len(trial.combination) / len(largest[_work(trial)].combination)))
    measured = len(found) - stored
    side_by_side = max(1, min(jobs, len(found)))
    seconds, low, high = (sum(getattr(span, part) for span in found) / side_by_side for part in ("seconds", "low", "high"))
    speed = float(np.median(speeds)) if speeds else None
    return Estimate(seconds, low, high, jobs, len(trials), stored, measured, speed, tuple(unknown))


def _work(trial: Trial) -> str:
    """What trials share whose time is measured once."""
    return f"{trial.label} {trial.preset} {trial.dataset_label} {sorted(trial.training.items())}"


def _smaller(span: Span, share: float) -> Span:
    """Time with a share of the modalities: between that share of the time and all of it."""
    return Span(span.seconds * (1 + share) / 2, span.low * share, span.high)


def from_records(trial: Trial, records: Sequence[Record]) -> Span | None:
    """Time of a trial from stored ones of its kind; None without one."""
    seconds = past_seconds(trial, records)
    return Span(float(np.median(seconds)), min(seconds), max(seconds)) if seconds else None

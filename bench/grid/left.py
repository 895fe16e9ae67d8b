"""How long the rest of a run takes, told while it runs: from stored trials, trials that ended, and epochs of those that run."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median

from bench.question.trial import Trial
from bench.records.reached import Reached
from bench.records.record import Record


def kind(trial: Trial) -> str:
    """What trials of about equal time per epoch share: method, preset and options, dataset, combination."""
    return f"{trial.label} {trial.preset} {trial.dataset_label} {trial.combination}"


def past_seconds(trial: Trial, records: Iterable[Record]) -> list[float]:
    """What a trial would have taken by each stored one of its kind that was trained with the same settings but for the number of epochs."""
    seconds = []
    for record in records:
        ours, theirs = dict(trial.training), dict(record.trial.training)
        wanted, had = ours.pop("epochs", None), theirs.pop("epochs", None)
        epochs, total = record.facts.config.get("epochs"), record.facts.seconds.get("total")
        if ours != theirs or total is None or (wanted != had and (wanted is None or not epochs)):
            continue
        training = record.cost.get("train_seconds") or 0.0
        ratio = 1.0 if wanted == had or wanted is None or epochs is None else float(wanted) / epochs
        seconds.append(max(0.0, total - training) + training * ratio)
    return seconds


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> [duration(3), duration(150), duration(9000), duration(200_000)]
    ['3 s', '2.5 min', '2.5 h', '2.3 days']
    """
    for limit, unit, name in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.2g} {name}"
    return f"{seconds / 86400:.2g} days"


class TimeLeft:
    """The seconds that are left of a run with `slots` trials at once. May be asked and told from any thread.

    `records` are what is stored. Trials that nobody can name yet, as those of a tuning, are counted in `unnamed`. A kind of which nothing
    is known takes as long as those that are known do on average.
    """

    def __init__(
        self, slots: int, waiting: Sequence[Trial] = (), records: Iterable[Record] = (), unnamed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.slots, self.unnamed, self.clock = max(1, slots), unnamed, clock
        self.waiting = {trial.id: trial for trial in waiting}
        self.running: dict[str, tuple[Trial, float]] = {}  # with the time at which they began
        self.foreseen: dict[str, float] = {}  # id of a trial that runs -> its whole time, by its epochs
        self.took: dict[str, list[float]] = defaultdict(list)  # by kind
        self.lock = threading.Lock()
        past: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if record.status == "done":
                past[kind(record.trial)].append(record)
        for trial in self.waiting.values():
            if kind(trial) not in self.took and (found := past_seconds(trial, past[kind(trial)])):
                self.took[kind(trial)].append(median(found))

    def started(self, trial: Trial) -> None:
        with self.lock:
            if self.waiting.pop(trial.id, None) is None:
                self.unnamed = max(0, self.unnamed - 1)
            self.running[trial.id] = trial, self.clock()

    def reached(self, trial: Trial, reached: Reached) -> None:
        """An epoch has ended: what is not training, such as the start of a process, is taken to come once."""
        with self.lock:
            if trial.id in self.running:
                elapsed = self.clock() - self.running[trial.id][1]
                training = min(reached.seconds, elapsed)
                self.foreseen[trial.id] = elapsed - training + training / reached.epoch * reached.epochs

    def ended(self, trial: Trial) -> None:
        with self.lock:
            if trial.id in self.running:
                self.took[kind(trial)].append(self.clock() - self.running.pop(trial.id)[1])
            self.foreseen.pop(trial.id, None)

    def of(self, trial: Trial) -> float | None:
        """Seconds that a running trial still takes; None while its first epoch has not ended and none of its kind is known."""
        with self.lock:
            if trial.id not in self.running:
                return None
            whole = self.foreseen.get(trial.id) or (fmean(self.took[kind(trial)]) if self.took.get(kind(trial)) else None)
            return None if whole is None else max(0.0, whole - (self.clock() - self.running[trial.id][1]))

    def seconds(self) -> float | None:
        """Of the whole run; None while nothing is known of any trial."""
        with self.lock:
            known: dict[str, list[float]] = defaultdict(list)
            for name, seconds in self.took.items():
                known[name] += seconds
            for id_, whole in self.foreseen.items():
                known[kind(self.running[id_][0])].append(whole)
            means = {name: fmean(seconds) for name, seconds in known.items() if seconds}
            if not means:
                return None
            mean, now = fmean(means.values()), self.clock()
            running = [
                max(0.0, (self.foreseen.get(id_) or means.get(kind(trial), mean)) - (now - begun))
                for id_, (trial, begun) in self.running.items()
            ]
            rest = sum(means.get(kind(trial), mean) for trial in self.waiting.values()) + self.unnamed * mean
            return max([(sum(running) + rest) / self.slots, *running])

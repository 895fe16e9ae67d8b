"""What a run shows while it goes on: bars on a terminal, one line a trial elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

from tqdm import tqdm

from bench.names import Choice, method_label, short_names
from bench.question.trial import Trial
from bench.records.reached import Reached
from bench.records.record import Record


def describe(trial: Trial) -> str:
    """The trial in a line of progress; a method or dataset from a file by its class alone."""
    short = short_names((trial.method, trial.dataset))
    method = method_label(short.get(trial.method, trial.method), trial.preset, trial.options)
    dataset = Choice(short.get(trial.dataset, trial.dataset), "", trial.dataset_options)
    return f"{trial.row or method} {trial.data or dataset} {trial.combination} {trial.protocol} seed {trial.seed}"


class Progress:
    """Says nothing: the base, and what `-q` uses."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, planned: int, reused: int) -> None:
        pass

    def started(self, trial: Trial) -> None:
        pass

    def reached(self, trial: Trial, reached: Reached) -> None:
        pass

    def ended(self, record: Record) -> None:
        pass


class Lines(Progress):
    """One line a finished trial; with `verbose`, one line an epoch as well."""

    unit = "trial"

    def __init__(self, metric: str, verbose: bool = False, stream: TextIO | None = None) -> None:
        self.metric, self.verbose = metric, verbose
        self.stream = stream or sys.stderr
        self.count = self.planned = 0
        self.begun = time.monotonic()

    def begin(self, planned: int, reused: int) -> None:
        self.planned, self.count = planned, reused
        known = f", {reused} already done" if reused else ""
        self.say(f"{planned} {self.unit}s{known}")

    def reached(self, trial: Trial, reached: Reached) -> None:
        if self.verbose:
            self.say(f"  {describe(trial)}: epoch {reached.epoch}/{reached.epochs}, best validation {reached.best:.4f}")

    def ended(self, record: Record) -> None:
        self.count += 1
        self.say(f"[{self.count}/{self.planned}] {self.outcome(record)}")

    def outcome(self, record: Record) -> str:
        if record.status != "done":
            return f"{record.status} {describe(record.trial)}: {record.reason}"
        total = record.facts.seconds.get("total", 0.0)
        return f"done {describe(record.trial)}: {self.metric} {record.metrics[self.metric]:.4f} in {total:.1f} s"

    def say(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


class Bars(Lines):
    """A bar for the run, and under it one line for every trial that is running."""

    def __init__(self, metric: str, verbose: bool = False, stream: TextIO | None = None) -> None:
        super().__init__(metric, verbose, stream)
        self.lock = threading.Lock()
        self.rows: dict[str, tqdm] = {}

    def begin(self, planned: int, reused: int) -> None:
        super().begin(planned, reused)
        self.bar = tqdm(total=planned, initial=reused, unit=self.unit, file=self.stream, dynamic_ncols=True, smoothing=0.05)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            for row in self.rows.values():
                row.close()
            self.bar.close()

    def started(self, trial: Trial) -> None:
        with self.lock:
            used = {row.pos for row in self.rows.values()}
            position = next(place for place in range(1, len(used) + 2) if -place not in used)
            self.rows[trial.id] = tqdm(
                desc=f"  {describe(trial)}", total=1, position=position, leave=False, file=self.stream, dynamic_ncols=True, bar_format=ROW
            )

    def reached(self, trial: Trial, reached: Reached) -> None:
        with self.lock:
            row = self.rows[trial.id]
            row.total, row.n = reached.epochs, reached.epoch
            row.set_postfix_str(f"best validation {reached.best:.4f}")

    def ended(self, record: Record) -> None:
        self.count += 1
        with self.lock:
            self.rows.pop(record.trial.id).close()
            if record.status != "done" or self.verbose:
                self.bar.write(self.outcome(record), file=self.stream)
            self.bar.update()


class SuggestionLines(Lines):
    """One line a finished suggestion of a tuning; the default configurations are counted with them."""

    unit = "suggestion"

    def outcome(self, record: Record) -> str:
        if record.status != "done":
            return f"{record.status} {describe(record.trial)}: {record.reason}"
        return f"done {describe(record.trial)}: validation {self.metric} {record.facts.valid:.4f}"


class SuggestionBars(SuggestionLines, Bars):
    """Bars for a tuning."""


ROW = "{desc} |{bar:12}| {n_fmt}/{total_fmt}{postfix}"

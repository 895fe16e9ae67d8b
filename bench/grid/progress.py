"""What a run shows while it goes on: bars on a terminal, one line a trial elsewhere. Always on stderr."""

from __future__ import annotations

import math
import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

from bench.grid.left import TimeLeft, duration
from bench.names import Choice, method_label, short_names
from bench.question.trial import Trial
from bench.records.reached import Reached
from bench.records.record import Record
from bench.stats.metrics import METRICS, listed_metrics
from bench.text import LEAST_NAME, count, in_middle

EVERY = 60.0  # seconds between two lines on a slow trial, where there are no bars
SLOW, TICK = 2.0, 0.5  # seconds after which a trial gets a bar of its own, and between two looks at all bars
BAR = 8  # columns of an epoch bar
SPARE_LINES = 3  # of a terminal, for the bar of the run and what stands above it
WHOLE = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s, {elapsed} gone{postfix}"
ROW = f"{{desc}} |{{bar:{BAR}}}| {{n_fmt}}/{{total_fmt}}{{postfix}}"


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

    def begin(self, planned: int, reused: int, left: TimeLeft | None = None) -> None:
        pass

    def started(self, trial: Trial) -> None:
        pass

    def reached(self, trial: Trial, reached: Reached) -> None:
        pass

    def ended(self, record: Record) -> None:
        pass


class Lines(Progress):
    """One line a finished trial, and one now and then for a slow one; with `verbose`, one line an epoch.

    `metric` is what is told of a trial: one for all, or what a dataset is ranked by.
    """

    unit = "trial"

    def __init__(self, metric: str | Callable[[str], str], verbose: bool = False, stream: TextIO | None = None) -> None:
        self.metric, self.verbose = metric, verbose
        self.stream = stream or sys.stderr
        self.count = self.planned = 0
        self.left, self.is_foretold = TimeLeft(1), False
        self.said: dict[str, float] = {}  # when a trial was last spoken of
        self.lock = threading.RLock()

    def begin(self, planned: int, reused: int, left: TimeLeft | None = None) -> None:
        self.planned, self.count, self.left = planned, reused, left or TimeLeft(1, unnamed=planned - reused)
        known = f", {reused} already done" if reused else ""
        self.say(f"{count(planned, self.unit)}{known}{self._foretold()}")

    def started(self, trial: Trial) -> None:
        self.left.started(trial)
        with self.lock:
            self.said[trial.id] = time.monotonic()

    def reached(self, trial: Trial, reached: Reached) -> None:
        self.left.reached(trial, reached)
        with self.lock:
            if self.count < self.planned and (foretold := self._foretold()):
                self.say(foretold.removeprefix(", "))
            if self.verbose or time.monotonic() - self.said.get(trial.id, 0.0) >= EVERY:
                self.said[trial.id] = time.monotonic()
                self.say(f"  {describe(trial)}: epoch {reached.epoch}/{reached.epochs}, {self._so_far(trial, reached)}")

    def ended(self, record: Record) -> None:
        self.left.ended(record.trial)
        with self.lock:
            self.count += 1
            self.say(f"[{self.count}/{self.planned}] {self.outcome(record)}")

    def outcome(self, record: Record) -> str:
        if record.status != "done":
            return f"{'lost' if record.status == 'planned' else record.status} {describe(record.trial)}: {record.reason}"
        total = record.facts.seconds.get("total", 0.0)
        asked = self.metric(record.trial.dataset_choice) if callable(self.metric) else self.metric
        metric = next((name for name in listed_metrics(asked) if name in record.metrics), record.trial.selection)
        return f"done {describe(record.trial)}: {metric} {record.metrics[metric]:.4f} in {total:.1f} s"

    def say(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def _foretold(self) -> str:
        """How long it will take, once, as soon as anything is known."""
        seconds = None if self.is_foretold or self.count >= self.planned else self.left.seconds()
        self.is_foretold = self.is_foretold or seconds is not None
        return "" if seconds is None else f", about {duration(seconds)} to go"

    def _so_far(self, trial: Trial, reached: Reached) -> str:
        """The best validation score by now, and the time left of the trial."""
        left = self.left.of(trial)
        return score_so_far(trial, reached) + ("" if left is None else f", {duration(max(left, 1.0))} left")


def score_so_far(trial: Trial, reached: Reached) -> str:
    """The score of the best epoch by now, in its metric's own direction."""
    if not math.isfinite(reached.best):
        return "no score yet"
    return f"validation {trial.selection} {METRICS[trial.selection].sign * reached.best:.4f}"


class Bars(Lines):
    """A bar for the run with the time left, and under it an epoch bar for each trial that takes longer than a moment."""

    def __init__(self, metric: str | Callable[[str], str], verbose: bool = False, stream: TextIO | None = None) -> None:
        super().__init__(metric, verbose, stream)
        self.rows: dict[str, tqdm] = {}
        self.running: dict[str, tuple[Trial, float, Reached | None]] = {}
        self.reasons: Counter[str] = Counter()
        self.stopped = threading.Event()

    def begin(self, planned: int, reused: int, left: TimeLeft | None = None) -> None:
        super().begin(planned, reused, left)
        self.bar = tqdm(
            total=planned, initial=reused, unit=self.unit, file=self.stream, dynamic_ncols=True, bar_format=WHOLE, leave=True,
        )  # fmt: skip
        self._show()

    def __enter__(self) -> Bars:
        threading.Thread(target=self._tick, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        with self.lock:
            for row in self.rows.values():
                row.close()
            self.bar.set_postfix_str("", refresh=False)
            self.bar.close()

    def started(self, trial: Trial) -> None:
        super().started(trial)
        with self.lock:
            self.running[trial.id] = trial, time.monotonic(), None

    def reached(self, trial: Trial, reached: Reached) -> None:
        self.left.reached(trial, reached)
        with self.lock:
            if trial.id in self.running:
                self.running[trial.id] = trial, self.running[trial.id][1], reached
            if self.verbose:
                said = f"  {describe(trial)}: epoch {reached.epoch}/{reached.epochs}, {self._so_far(trial, reached)}"
                self.bar.write(said, file=self.stream)
        self._show()

    def ended(self, record: Record) -> None:
        self.left.ended(record.trial)
        with self.lock:
            self.count += 1
            self.running.pop(record.trial.id, None)
            if row := self.rows.pop(record.trial.id, None):
                row.close()
            if record.status != "done":
                self.reasons[str(record.reason)] += 1
            if self.verbose or (
                record.status != "done" and self.reasons[str(record.reason)] == 1
            ):  # the run tells of the others at its end
                self.bar.write(self.outcome(record), file=self.stream)
            self.bar.update()
        self._show()

    def _tick(self) -> None:
        while not self.stopped.wait(TICK):
            self._show()

    def _show(self) -> None:
        """Bring every bar up to date."""
        with self.lock:
            if self.stopped.is_set():
                return
            seconds = self.left.seconds() if self.count < self.planned else None
            said = "time left not known yet" if seconds is None else f"about {duration(max(seconds, 1.0))} left"
            self.bar.set_postfix_str(said if self.count < self.planned else "", refresh=False)
            self.bar.refresh()
            size = _size(self.stream)
            for trial, begun, reached in self.running.values():
                if trial.id not in self.rows and time.monotonic() - begun >= SLOW and len(self.rows) < size.lines - SPARE_LINES:
                    self.rows[trial.id] = self._row(trial)
                if trial.id in self.rows:
                    self._fill(self.rows[trial.id], trial, reached, size.columns)

    def _row(self, trial: Trial) -> tqdm:
        used = {row.pos for row in self.rows.values()}
        position = next(place for place in range(1, len(used) + 2) if -place not in used)
        epochs = trial.training.get("epochs")
        total = epochs if isinstance(epochs, int) else 1  # until its first epoch says
        return tqdm(total=total, position=position, leave=False, file=self.stream, dynamic_ncols=True, bar_format=ROW)

    def _fill(self, row: tqdm, trial: Trial, reached: Reached | None, columns: int) -> None:
        said = "first epoch" if reached is None else self._so_far(trial, reached)
        if reached is not None:
            row.total, row.n = reached.epochs, reached.epoch
        room = columns - len(said) - len(f" |{'':{BAR}}| {row.total}/{row.total}, ") - 3
        row.set_description_str(f"  {in_middle(describe(trial), max(room, LEAST_NAME))}", refresh=False)
        row.set_postfix_str(said, refresh=False)
        row.refresh()


def _size(stream: TextIO) -> os.terminal_size:
    """Of the terminal behind a stream, which need not be that of stdout."""
    try:
        return os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # no terminal, or no file
        return shutil.get_terminal_size()


class SuggestionLines(Lines):
    """One line a finished suggestion of a tuning; the default configurations are counted with them."""

    unit = "suggestion"

    def outcome(self, record: Record) -> str:
        if record.status != "done":
            return f"{record.status} {describe(record.trial)}: {record.reason}"
        metric = record.trial.selection
        valid = math.nan if record.facts.valid is None else METRICS[metric].sign * record.facts.valid
        return f"done {describe(record.trial)}: validation {metric} {valid:.4f}"


class SuggestionBars(SuggestionLines, Bars):
    """Bars for a tuning."""

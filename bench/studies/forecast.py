"""What a run would do, before it does it: its trials, their time, and the looks that may add seeds. Free of torch itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.data.loading import loaded_once
from bench.datasets.base import DataError
from bench.errors import UsageError
from bench.grid.estimate import Estimate, estimate
from bench.names import path_of
from bench.question.plan import outline, plan
from bench.question.shards import WHOLE, Shard
from bench.question.suite import Suite, with_one_name
from bench.question.trial import Trial
from bench.records.database import Store
from bench.studies.looks import PlannedLook, further_trials, planned_looks
from bench.text import agreeing, count, terminal_table

WORDS = ("id", "method", "dataset", "combination", "protocol", "status", "setting")  # columns that begin at the left


@dataclass(frozen=True)
class Forecast:
    """The trials of a suite with their time. Pairs to resolve may get `further` trials more, at `looks` planned ahead."""

    trials: Sequence[Mapping[str, object]]  # rows: id, method, setting, seed, and the status of what is stored, else planned
    estimate: Estimate  # of those that are planned
    pairs: Sequence[Sequence[str]] = ()
    looks: Sequence[PlannedLook] = ()
    further: int = 0

    def as_json(self) -> dict[str, object]:
        more = {"looks": [asdict(look) for look in self.looks], "further_trials": self.further} if self.further else {}
        return {"trials": self.trials, "estimate": self.estimate.as_json(), **more}

    def text(self, width: int | None = None) -> str:
        """For a person: tables that fit the `width`, and sentences."""
        lines = [terminal_table(self.trials, WORDS, width, spare=("combination", "dataset"), kept=("method", "seed", "status"))]
        lines.append(f"{count(len(self.trials), 'trial')}, {self.estimate.trials} to run\n{self.estimate.text()}")
        if self.further:
            pairs = "; ".join(" against ".join(pair) for pair in self.pairs)
            lines.append(f"\nthen, where {pairs} is undecided, up to {self.further} more. Planned looks at 5 % in all:")
            looks = [
                {"seeds": look.seeds, "alpha spent": f"{look.spent:.2g}", "significant at p <=": f"{look.level:.2g}"} for look in self.looks
            ]
            lines.append(terminal_table(looks, (), width))
        return "\n".join(lines)


@dataclass(frozen=True)
class Outline:
    """What a suite asks, as far as its own text tells, where the data that it needs are not here."""

    rows: Sequence[Mapping[str, object]]
    trials: int
    reason: str  # what is missing

    def as_json(self) -> dict[str, object]:
        return {"outline": self.rows, "trials": None, "estimate": None, "reason": self.reason}

    def text(self, width: int | None = None) -> str:
        """For a person: a table that fits the `width`, and a sentence."""
        said = f"{count(self.trials, 'trial')}; {agreeing(self.trials, 'its id', 'their ids')} and an estimate of the time need the data"
        return "\n".join([terminal_table(self.rows, WORDS, width), said])


@loaded_once()
def forecast(
    suite: Suite, out: Path | str, jobs: int, begin: Callable[[Trial], None] | None = None, shard: Shard = WHOLE
) -> Forecast | Outline:  # fmt: skip
    """What running the suite, or this part of it, into a results folder would do; nothing is stored.

    `begin` hears of each method before it is timed.

    Raises: UsageError on bad input; data that are not here give an Outline.
    """
    suite = with_one_name(suite)
    try:
        trials = [trial for trial in plan(suite) if shard.holds(trial)]
    except UsageError as error:
        if not isinstance(error.__cause__, DataError):
            raise
        rows = outline(suite)
        return Outline(rows, len(rows) * len(suite.seeds), str(error))
    further = further_trials(suite, trials) if suite.until_resolved else []
    records = []
    if (path_of(out) / "bench.db").exists():
        with Store(out, create=False) as store:
            records = store.records()
    statuses = {record.trial.id: record.status for record in records}
    rows = [
        {"id": t.id, "method": t.label, "dataset": t.dataset_label, "combination": t.combination, "protocol": t.protocol, "seed": t.seed,
         "status": statuses.get(t.id, "planned")}
        for t in trials
    ]  # fmt: skip
    waiting = [trial for trial, row in zip(trials, rows, strict=True) if row["status"] == "planned"]
    found = estimate(waiting, records, jobs, suite.device, suite.threads, begin)
    return Forecast(rows, found, suite.looks.pairs, planned_looks(suite) if further else (), len(further))

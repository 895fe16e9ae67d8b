"""The grid: from trials to stored records, with resume and progress. Free of torch itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import registry
from bench.data.loading import loaded_once
from bench.grid.hooks import Hooks
from bench.grid.how import How
from bench.grid.job import Job, handed_over
from bench.grid.left import TimeLeft
from bench.grid.process import interruptible
from bench.names import path_of
from bench.question.plan import Concerns, budget_key, concerns_of, notices, plan
from bench.question.suite import Suite, with_one_name
from bench.question.trial import Trial
from bench.records.database import Store
from bench.records.kept import check_weights, traces_of, weights_of
from bench.records.record import Record


@dataclass
class Summary:
    """What a run did. `records` holds every trial of the suite that has ended, those of earlier runs included."""

    planned: int
    ran: int = 0
    reused: int = 0
    interrupted: bool = False
    records: list[Record] = field(default_factory=list)

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if record.status == "failed"]


def execute(
    suite: Suite, out: Path | str, how: How | None = None, *, trials: Sequence[Trial] | None = None, concerns: Concerns | None = None
) -> Summary:
    """Run every trial of the suite, or those of it in `trials`, that has no record yet; write each record as it comes.

    `concerns` are what planning found in the data of these `trials`; records repeat them.
    Raises: UsageError on bad input or a folder that cannot be written; finished trials stay stored.
    """
    how, suite = how or How(), with_one_name(suite)
    if how.keeps_weights:
        check_weights()
    if trials is None:
        with loaded_once():
            trials, concerns = plan(suite), concerns_of(suite)
            for line in notices(suite, concerns):
                how.say(line)
    progress, hooks, stopped = how.progress(), Hooks(how.hooks, how.say), threading.Event()
    with Store(out) as store, store.writing(how.wait):
        store.plan(suite, budget_key(suite), how.command, trials)
        jobs = jobs_of(suite, waiting(trials, store, how), store.folder, how, concerns)
        summary = Summary(planned=len(trials), reused=len(trials) - len(jobs))
        if jobs:
            names = {name for job in jobs for name in job.names}
            how.place.prepare(modules_of(names), {job.trial.dataset_label for job in jobs})
            how.place.check(jobs, how.say)
        left = TimeLeft(how.place.slots if jobs else 1, [job.trial for job in jobs], store.records() if jobs else ())
        progress.begin(len(trials), summary.reused, left)
        with interruptible(stopped), progress:
            for record, predictions in how.place.outcomes(jobs, progress, stopped):
                store.write(record, predictions)
                summary.ran += 1
                progress.ended(record)
                hooks.ended(record)
        summary.interrupted = summary.ran + summary.reused < summary.planned
        records = {record.trial.id: record for record in store.records()}
        summary.records = [records[trial.id] for trial in trials if records[trial.id].status != "planned"]
    return summary


def stored(trials: Sequence[Trial], out: Path | str, how: How) -> Summary | None:
    """What running these trials would give if nothing is left to run; nothing is written, so the folder may refuse it. Else None."""
    if not (path_of(out) / "bench.db").exists():
        return None
    with Store(out, create=False) as store:
        known = store.statuses()
        if any(trial.id not in known for trial in trials) or waiting(trials, store, how):
            return None
        records = {record.trial.id: record for record in store.records()}
    return Summary(planned=len(trials), reused=len(trials), records=[records[trial.id] for trial in trials])


def waiting(trials: Iterable[Trial], store: Store, how: How) -> list[Trial]:
    """The trials that have not ended, among them those stored without the traces or weights that are asked for."""
    statuses = store.statuses()
    ended = {"done", "skipped"} if how.retry_failed else {"done", "skipped", "failed"}
    return [
        trial for trial in trials if statuses[trial.id] not in ended or (statuses[trial.id] == "done" and _lacks(trial, store.folder, how))
    ]


def jobs_of(suite: Suite, trials: Sequence[Trial], folder: Path, how: How | None = None, concerns: Concerns | None = None) -> list[Job]:
    """The trials as jobs, with the limits and the machine of the suite; logs, traces and weights go to folders in `folder`."""
    how = how or How()
    given = handed_over(name for trial in trials for name in (trial.method, trial.dataset))
    if how.keeps_weights:
        check_weights()
    return [
        Job(
            trial=trial,
            limits=suite.limits,
            machine=suite.machine,
            log=folder / "logs" / f"{trial.id}.log",
            given=given,
            traces=traces_of(trial, folder).resolve() if how.is_traced else None,
            weights=weights_of(trial, folder).resolve() if how.keeps_weights else None,
            concerns=(concerns or {}).get(trial.dataset_choice, ()),
        )
        for trial in trials
    ]


def _lacks(trial: Trial, folder: Path, how: How) -> bool:
    """Whether a trial's method hands over traces or weights that are asked for, and there is no file of them."""
    asked = [traces_of(trial, folder)] * how.is_traced + [weights_of(trial, folder)] * how.keeps_weights
    if all(path.exists() for path in asked):
        return False
    from bench.methods.base import Method

    return issubclass(registry.method_class(trial.method), Method)


def modules_of(names: Iterable[str]) -> list[str]:
    """Modules of the methods and datasets of these names that are listed."""
    table = registry.method_names() | registry.dataset_names()
    return sorted({table[name].partition(":")[0] for name in names if name in table})

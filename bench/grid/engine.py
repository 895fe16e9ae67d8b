"""The grid: from trials to stored records, with resume and progress. Free of torch itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import registry
from bench.data.loading import loaded_once
from bench.grid.hooks import Hooks
from bench.grid.how import How
from bench.grid.job import Job, handed_over, machine_of
from bench.grid.left import TimeLeft, kind
from bench.grid.lost import lost_lines
from bench.grid.process import interruptible
from bench.names import Setting, path_of
from bench.question.plan import Concerns, attributes_of, budget_key, concerns_of, notices, plan
from bench.question.suite import Suite, with_one_name
from bench.question.trial import Trial
from bench.records.attributes import ByData
from bench.records.database import Store
from bench.records.kept import check_weights, log_of, traces_of, weights_of
from bench.records.record import Record

MOST_PAST = 50  # of each kind: their median is asked for


@dataclass
class Summary:
    """What a run did. `ended` holds every trial of the suite that has ended, with its status; those of earlier runs included.

    `lost` holds trials of this run that the machine failed, each with the reason: they are still planned.
    """

    planned: int
    out: Path | str
    ran: int = 0
    reused: int = 0
    interrupted: bool = False
    ended: list[tuple[Trial, str]] = field(default_factory=list)
    lost: list[Record] = field(default_factory=list)

    @property
    def settings(self) -> set[Setting]:
        """What the trials that have ended were asked in."""
        return {trial.setting for trial, _ in self.ended}

    @property
    def records(self) -> list[Record]:
        """Of every trial that has ended, read from the results folder."""
        return self._records(trial for trial, _ in self.ended)

    @property
    def failed(self) -> list[Record]:
        return self._records(trial for trial, status in self.ended if status == "failed")

    def _records(self, trials: Iterable[Trial]) -> list[Record]:
        with Store(self.out, create=False) as store:
            return store.records(trial.id for trial in trials)


def execute(
    suite: Suite, out: Path | str, how: How | None = None, *, trials: Sequence[Trial] | None = None, concerns: Concerns | None = None,
    attributes: ByData | None = None,
) -> Summary:  # fmt: skip
    """Run every trial of the suite, or those of it in `trials`, that has no record yet; write each record as it comes.

    Of a shard (`how.shard`) those that belong to it. `concerns` are what planning found in the data of these `trials`; records repeat them.
    `attributes` of their samples are noted beside them, whether any trial is left to run or not; no process of a trial gets them.
    Raises: UsageError on bad input, a place that cannot give the device (nothing is stored then), or a folder that cannot be written;
    finished trials stay stored.
    """
    how, suite = how or How(), with_one_name(suite)
    if how.keeps_weights:
        check_weights()
    if trials is None:
        with loaded_once():
            trials, concerns, attributes = plan(suite), concerns_of(suite), attributes_of(suite)
            for line in notices(suite, concerns):
                how.say(line)
    positions = [place for place, trial in enumerate(trials) if how.shard.holds(trial)]
    trials = [trials[place] for place in positions]
    progress, hooks, stopped = how.progress(), Hooks(how.hooks, how.say), threading.Event()
    is_new = not (path_of(out) / "bench.db").exists()
    if is_new:  # a place where nothing can run leaves no folder behind
        _make_ready(jobs_of(suite, trials, path_of(out), how, concerns), how)
    with Store(out) as store, store.writing(how.wait):
        jobs = jobs_of(suite, waiting(trials, store, how), store.folder, how, concerns)
        if not is_new:
            _make_ready(jobs, how)
        store.plan(suite, budget_key(suite), how.command, trials, positions)
        store.note_attributes(attributes or {})
        summary = Summary(planned=len(trials), out=out, reused=len(trials) - len(jobs))
        awaited = [job.trial for job in jobs]
        left = TimeLeft(how.place.slots if jobs else 1, awaited, past(awaited, store))
        progress.begin(len(trials), summary.reused, left)
        with interruptible(stopped), progress:
            for record, predictions in how.place.outcomes(jobs, progress, stopped):
                store.write(record, predictions)
                progress.ended(record)
                if record.status == "planned":
                    summary.lost.append(record)
                else:
                    summary.ran += 1
                    hooks.ended(record)
        summary.interrupted = summary.ran + summary.reused + len(summary.lost) < summary.planned
        summary.ended = _ended(trials, store.statuses())
    for line in lost_lines(summary.lost):
        how.warn(line)
    return summary


def _make_ready(jobs: Sequence[Job], how: How) -> None:
    """Load what these jobs need, and look whether the place can give it. Raises: UsageError if it cannot."""
    if jobs:
        how.place.prepare(modules_of({name for job in jobs for name in job.names}), {job.trial.dataset_label for job in jobs})
        how.place.check(jobs, how.say)


def past(awaited: Sequence[Trial], store: Store) -> list[Record]:
    """Finished trials that tell how long the awaited ones may take: of each kind the first `MOST_PAST`."""
    kinds, seen = {kind(trial) for trial in awaited}, Counter[str]()

    def wanted(trial: Trial) -> bool:
        mine = kind(trial)
        seen[mine] += mine in kinds
        return 0 < seen[mine] <= MOST_PAST

    return store.picked(wanted, "done") if kinds else []


def _ended(trials: Iterable[Trial], statuses: Mapping[str, str]) -> list[tuple[Trial, str]]:
    return [(trial, status) for trial in trials if (status := statuses[trial.id]) != "planned"]


def stored(trials: Sequence[Trial], out: Path | str, how: How) -> Summary | None:
    """What running these trials would give if nothing is left to run; nothing is written, so the folder may refuse it. Else None."""
    if not (path_of(out) / "bench.db").exists():
        return None
    with Store(out, create=False) as store:
        if waiting(trials, store, how):
            return None
        ended = _ended(trials, store.statuses())
    return Summary(planned=len(trials), out=out, reused=len(trials), ended=ended)


def waiting(trials: Iterable[Trial], store: Store, how: How) -> list[Trial]:
    """The trials that have not ended, among them those stored without the traces or weights that are asked for."""
    statuses = store.statuses()
    ended = {"done", "skipped"} if how.retry_failed else {"done", "skipped", "failed"}
    return [
        trial
        for trial in trials
        if (status := statuses.get(trial.id)) not in ended or (status == "done" and _lacks(trial, store.folder, how))
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
            machine=machine_of(trial, suite.machine),
            log=log_of(trial, folder),
            given=given,
            traces=traces_of(trial, folder).resolve() if how.is_traced else None,
            weights=weights_of(trial, folder).resolve() if how.keeps_weights else None,
            concerns=(concerns or {}).get(trial.dataset_choice, ()),
        )
        for trial in trials
    ]


def _lacks(trial: Trial, folder: Path, how: How) -> bool:
    """Whether a trial's method hands over traces or weights that are asked for, and there is no file of them."""
    if not (how.is_traced or how.keeps_weights):
        return False
    asked = [traces_of(trial, folder)] * how.is_traced + [weights_of(trial, folder)] * how.keeps_weights
    if all(path.exists() for path in asked):
        return False
    from bench.methods.base import Method

    return issubclass(registry.method_class(trial.method), Method)


def modules_of(names: Iterable[str]) -> list[str]:
    """Modules of the methods and datasets of these names that are listed."""
    table = registry.method_names() | registry.dataset_names()
    return sorted({table[name].partition(":")[0] for name in names if name in table})

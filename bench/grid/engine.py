"""The grid: from trials to stored records, with joblib, resume and progress. Free of torch itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from joblib import Parallel, delayed

from bench import registry
from bench.grid.process import Job, Limits, Stopped, interruptible, prepare_server, run_isolated
from bench.grid.progress import Progress
from bench.question.plan import family_of, plan
from bench.question.suite import Suite
from bench.question.trial import Trial
from bench.records.database import Store
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
    suite: Suite,
    out: Path | str,
    jobs: int = 1,
    retry_failed: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
    command: str = "bench.run(...)",
    is_traced: bool = False,
    trials: Sequence[Trial] | None = None,
) -> Summary:
    """Run every trial of the suite, or those of it in `trials`, that has no record yet; write each record as it comes.

    With `is_traced`, each trial also writes what its method did to traces/TRIAL.npz in the folder; one that is stored without that file
    runs again, with the same numbers.
    Raises: UsageError on bad input or a folder that cannot be written; finished trials stay stored.
    """
    progress = progress or Progress()
    trials = plan(suite) if trials is None else trials
    with Store(out) as store, store.writing(wait):
        store.plan(suite, family_of(suite), command, trials)
        statuses = store.statuses()
        ended = {"done", "skipped"} if retry_failed else {"done", "skipped", "failed"}
        untraced = _untraced(trials, store.folder) if is_traced else set()
        waiting = [t for t in trials if statuses[t.id] not in ended or (statuses[t.id] == "done" and t.id in untraced)]
        summary = Summary(planned=len(trials), reused=len(trials) - len(waiting))
        stopped = threading.Event()
        progress.begin(len(trials), summary.reused)
        prepare_server(
            modules_of({name for trial in waiting for name in (trial.method, trial.dataset)}), {t.dataset_label for t in waiting}
        )
        limits = Limits(suite.minutes * 60, int(suite.memory_gb * 1e9))
        given = {name: cls for name, cls in registry.given().items() if any(name in (t.method, t.dataset) for t in waiting)}
        jobs_waiting = [
            Job(
                trial,
                limits,
                suite.device,
                suite.threads,
                store.folder / "logs" / f"{trial.id}.log",
                given,
                (store.folder / "traces" / f"{trial.id}.npz").resolve() if is_traced else None,
            )
            for trial in waiting
        ]
        tasks = (delayed(_task)(job, progress, stopped) for job in jobs_waiting)
        with interruptible(stopped), progress:
            parallel = Parallel(n_jobs=jobs, backend="threading", return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)
            try:
                for outcome in parallel(tasks):
                    if outcome is not None:
                        record, predictions = outcome
                        store.write(record, predictions)
                        summary.ran += 1
                        progress.ended(record)
            finally:
                stopped.set()  # a failing store must not leave trials running
        summary.interrupted = summary.ran + summary.reused < summary.planned
        records = {record.trial.id: record for record in store.records()}
        summary.records = [records[trial.id] for trial in trials if records[trial.id].status != "planned"]
    return summary


def _untraced(trials: Iterable[Trial], folder: Path) -> set[str]:
    """Ids of the trials whose method hands over traces and that have no file of them."""
    from bench.methods.base import Method

    found = [trial for trial in trials if not (folder / "traces" / f"{trial.id}.npz").exists()]
    return {trial.id for trial in found if issubclass(registry.method_class(trial.method), Method)}


def _task(job: Job, progress: Progress, stopped: threading.Event):
    """One joblib task: an isolated trial, or None once the run is being stopped."""
    if stopped.is_set():
        return None
    progress.started(job.trial)
    try:
        return run_isolated(job, lambda reached: progress.reached(job.trial, reached), stopped)
    except Stopped:
        return None


def modules_of(names: Iterable[str]) -> tuple[str, ...]:
    """Modules of the methods and datasets of these names that are listed, for the fork server to load once."""
    table = registry.method_names() | registry.dataset_names()
    return tuple(sorted(table[name].partition(":")[0] for name in names if name in table))

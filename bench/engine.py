"""The grid: from a suite to its trials, and from trials to stored records, with joblib, resume and progress. Free of torch itself."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from bench import registry
from bench.datasets.base import Schema
from bench.errors import UsageError, unknown
from bench.isolation import Job, Limits, Stopped, prepare_server, run_isolated
from bench.loader import load, schema_of
from bench.progress import Progress
from bench.protocol import Protocol, further_rules, parse_protocol
from bench.spec import Choice, Record, Suite, Trial, parse_choice
from bench.store import Store
from bench.tuned import with_winners


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


def plan(suite: Suite) -> list[Trial]:
    """All trials of a suite, seed by seed, every name and option checked. Raises: UsageError."""
    choices = registry.expand_methods(suite.methods)
    classes = {str(choice): registry.method_class(choice.name) for choice in choices}
    _check_training(suite, choices, classes)
    trials: dict[str, Trial] = {}
    settings = _settings(suite)
    for seed in suite.seeds:
        for planned in settings:
            ceilings = [Choice(name) for name in registry.CEILING] if planned.has_posterior else []
            for choice in [*choices, *(ceiling for ceiling in ceilings if ceiling not in choices)]:
                cls = classes.setdefault(str(choice), registry.method_class(choice.name))
                budget = suite.budgets.get(planned.dataset.name, {})
                training = _relevant(cls, {**suite.training, **suite.configs.get(choice.name, {}), **budget})
                registry.config_of(cls, choice, training)
                trial = Trial(
                    method=choice.name,
                    preset=choice.preset or next(iter(cls.presets)),
                    options=dict(choice.options),
                    training=training,
                    dataset=planned.dataset.name,
                    dataset_options=dict(planned.dataset.options),
                    combination=planned.schema.combination,
                    protocol=str(planned.protocol),
                    seed=seed,
                    selection=suite.selection,
                    vary=suite.vary,
                    fixed_seed=suite.fixed_seed,
                    fingerprint=planned.fingerprint,
                    version=registry.source_version(cls),
                    evaluations=planned.evaluations(),
                )
                trials[trial.id] = trial
    return with_winners(suite, list(trials.values()))


def outline(suite: Suite) -> list[dict[str, object]]:
    """What a suite asks, a row for each method and setting, as far as its own text tells: the data need not be here."""
    choices = registry.expand_methods(suite.methods)
    wanted = [
        {"dataset": name, "combination": combination, "protocol": protocol, "seeds": len(suite.seeds)}
        for setting in suite.settings
        for name in setting.datasets
        for combination in setting.combinations
        for protocol in setting.protocol_texts()
    ]
    return [{"method": str(choice), **row} for choice in choices for row in wanted]


@dataclass
class _Planned:
    """One dataset, combination and protocol of a suite, with all that its settings tables ask of the test part."""

    dataset: Choice
    fingerprint: str
    has_posterior: bool
    schema: Schema
    protocol: Protocol
    rates: set[float] = field(default_factory=set)
    combinations: set[str] = field(default_factory=set)

    def evaluations(self) -> tuple[str, ...]:
        return further_rules(self.protocol.test, self.schema, self.rates, self.combinations)


def _settings(suite: Suite) -> list[_Planned]:
    """Every setting of the suite once, checked. Raises: UsageError."""
    found: dict[tuple[str, str, str], _Planned] = {}
    for setting in suite.settings:
        for name in setting.datasets:
            choice = parse_choice(name)
            dataset, samples = load(choice)
            fingerprint = samples.fingerprint()[:16]
            has_posterior = dataset.posterior(samples.rows(np.arange(1))) is not None
            for combination in setting.combinations:
                schema = schema_of(dataset, samples, combination)
                for text in setting.protocol_texts():
                    try:
                        protocol = parse_protocol(text).on(schema, samples.groups is not None)
                        new = _Planned(choice, fingerprint, has_posterior, schema, protocol)
                        planned = found.setdefault((str(choice), schema.combination, str(protocol)), new)
                        planned.rates.update(setting.test_noise)
                        planned.combinations.update(setting.test_combinations)
                        planned.evaluations()
                    except UsageError as error:
                        raise UsageError(f"{error} ({name})") from None
    return list(found.values())


def _check_training(suite: Suite, choices: list[Choice], classes: Mapping[str, type[Any]]) -> None:
    """Every key of [training] and [budgets.DATASET] must be a field of some method's Config, every [configs.METHOD] a known method."""
    from dataclasses import fields

    from bench.methods.base import Method, MethodConfig

    configs: list[type[MethodConfig]] = [MethodConfig, *(cls.Config for cls in classes.values() if issubclass(cls, Method))]
    known = {key.name for config in configs for key in fields(config)}
    asked = [*suite.training, *(key for budget in suite.budgets.values() for key in budget)]
    if not known.issuperset(asked):  # a key may belong to a listed method that is not in this run
        listed = [registry.method_class(name) for name in registry.method_names()]
        known |= {key.name for cls in listed if issubclass(cls, Method) for key in fields(cls.Config)}
    for key in asked:
        if key not in known:
            raise unknown("training option", key, known)
    names = {**registry.method_names(), **{choice.name: "" for choice in choices}}
    datasets = {*registry.dataset_names(), *(parse_choice(name).name for setting in suite.settings for name in setting.datasets)}
    for name in suite.budgets:
        if name not in datasets:
            raise unknown("dataset in [budgets]", name, datasets)
    for name, config in suite.configs.items():
        if name not in names:
            raise unknown("method in [configs]", name, names)
        for choice in choices:
            if choice.name == name:
                own = {key.name for key in fields(classes[str(choice)].Config)}
                for key in config:
                    if key not in own:
                        raise unknown(f"option of {name}", key, own)


def _relevant(cls: type[Any], training: Mapping[str, object]) -> dict:
    """The changes that reach a method: fields its Config has, if the suite trains it; others would change its ids and nothing else."""
    from dataclasses import fields

    from bench.methods.base import Method

    names = {key.name for key in fields(cls.Config)} if issubclass(cls, Method) else set()
    return {key: value for key, value in training.items() if key in names}


def family_of(suite: Suite) -> str:
    """Hash of what must be equal for two runs to share a table."""
    shared: list[object] = [dict(suite.training), {k: dict(v) for k, v in suite.configs.items()}]
    shared += [suite.selection, suite.vary, suite.fixed_seed]
    if suite.budgets:  # a suite without them keeps the hash it had
        shared.append({k: dict(v) for k, v in suite.budgets.items()})
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:12]


def execute(
    suite: Suite,
    out: Path | str,
    jobs: int = 1,
    retry_failed: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
    command: str = "bench.run(...)",
    is_recorded: bool = False,
    trials: Sequence[Trial] | None = None,
) -> Summary:
    """Run every trial of the suite, or those of it in `trials`, that has no record yet; write each record as it comes.

    With `is_recorded`, each trial also writes what its method did to records/TRIAL.npz in the folder; one that is stored without that file
    runs again, with the same numbers.
    Raises: UsageError on bad input or a folder that cannot be written; finished trials stay stored.
    """
    progress = progress or Progress()
    trials = plan(suite) if trials is None else trials
    with Store(out) as store, store.writing(wait):
        store.plan(suite, family_of(suite), command, trials)
        statuses = store.statuses()
        ended = {"done", "skipped"} if retry_failed else {"done", "skipped", "failed"}
        unrecorded = _unrecorded(trials, store.folder) if is_recorded else set()
        waiting = [t for t in trials if statuses[t.id] not in ended or (statuses[t.id] == "done" and t.id in unrecorded)]
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
                (store.folder / "records" / f"{trial.id}.npz").resolve() if is_recorded else None,
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


def _unrecorded(trials: Iterable[Trial], folder: Path) -> set[str]:
    """Ids of the trials whose method hands over records and that have no file of them."""
    from bench.methods.base import Method

    found = [trial for trial in trials if not (folder / "records" / f"{trial.id}.npz").exists()]
    return {trial.id for trial in found if issubclass(registry.method_class(trial.method), Method)}


def _task(job: Job, progress: Progress, stopped: threading.Event):
    """One joblib task: an isolated trial, or None once the run is being stopped."""
    if stopped.is_set():
        return None
    progress.started(job.trial)
    try:
        return run_isolated(job, lambda *report: progress.step(job.trial, *report), stopped)
    except Stopped:
        return None


def modules_of(names: Iterable[str]) -> tuple[str, ...]:
    """Modules of the methods and datasets of these names that are listed, for the fork server to load once."""
    table = registry.method_names() | registry.dataset_names()
    return tuple(sorted(table[name].partition(":")[0] for name in names if name in table))


@contextmanager
def interruptible(stopped: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run cleanly; a second Ctrl-C stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

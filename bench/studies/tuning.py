"""Fair tuning: every method gets the same number of suggestions, FLOPs or minutes, and validation alone decides. Free of torch itself.

Each suggestion is trained in a process of its own by the code of a trial, with a test part that is empty. Optuna's own trial is called
suggestion here.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import registry
from bench.data.loading import forget, loaded_once
from bench.errors import UsageError, unknown
from bench.grid.engine import jobs_of, modules_of
from bench.grid.how import How
from bench.grid.job import Job
from bench.grid.left import TimeLeft
from bench.grid.lost import lost_lines
from bench.grid.process import interruptible
from bench.methods.catalog import CEILING
from bench.names import parse_choice, path_of
from bench.question.plan import notices, plan
from bench.question.suite import Suite, with_one_name
from bench.question.trial import HARNESS_VERSION, Trial
from bench.question.winners import FILE, FOLDER, Winner, read_winners, write_winners
from bench.records.kept import log_of
from bench.records.reached import Reached
from bench.records.record import Record
from bench.stats.kinds import KINDS
from bench.stats.metrics import METRICS
from bench.studies.results import Result, training_seed
from bench.studies.space import SAMPLERS, Space, space_of
from bench.studies.study import PRUNERS, SPENT, Budget, Cut, Journal, Study, held, score_of


@dataclass
class Tuning:
    """What a tuning did. `left_out` holds methods of a group that have nothing to tune."""

    name: str
    folder: Path
    results: list[Result]
    left_out: list[str]
    interrupted: bool = False
    seconds: float = 0.0  # wall time of the whole

    @property
    def file(self) -> Path:
        return self.folder / FILE

    @property
    def without_winner(self) -> list[str]:
        """Why, for each method and setting that ended without a winner."""
        reasons = [_reason(result) for result in self.results if result.has_ended]
        return [reason for reason in reasons if reason is not None]


def _reason(result: Result) -> str | None:
    try:
        result.best()
    except UsageError as error:
        return str(error)
    return None


def tune(
    suite: Suite,
    out: Path | str,
    budget: Budget | None = None,
    sampler: str = "random",
    pruner: str = "median",
    seeds: Sequence[int] = (0,),
    name: str | None = None,
    how: How | None = None,
    *,
    fixed: Collection[str] = (),
) -> Tuning:
    """Tune every method of a suite in each of its settings; a study that has begun goes on. The winners of what has ended are written.

    `fixed` are fields that stay as the suite and the method have them, whatever a search space says of them.
    Raises: UsageError on bad input, a study of other code or data, or if no method has a winner.
    """
    begin = time.monotonic()
    budget, how, suite = budget or Budget(), how or How(), with_one_name(suite)
    _check_names(sampler, pruner, name)
    if suite.vary != "training":
        raise UsageError(
            "tuning needs one split: with vary = split, test rows of one seed are validation rows of another; give vary = training"
        )
    datasets = {text for setting in suite.settings for text in setting.datasets}
    names = {choice.name for choice in registry.expand_methods(suite.methods)} | {parse_choice(text).name for text in datasets}
    how.place.prepare(modules_of(names), datasets)  # it loads torch while this process does
    with loaded_once():
        spaces, left_out = _spaces(suite, seeds, budget, fixed)
        for line in notices(suite):
            how.say(line)
        forget()
    question = _question(suite, sampler, pruner, seeds, fixed)
    name = name or f"{suite.name}-{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:8]}"
    folder = path_of(out) / FOLDER / name
    is_new = not folder.exists()
    if is_new:  # a place where nothing can run leaves no folder behind
        how.place.check(_jobs(suite, [space.trial for _, space in spaces], folder), how.say)
    with held(folder), Journal(folder, question, pruner) as journal:
        studies = [journal.study(space, seed, sampler, budget) for seed, space in spaces]
        run = _Run(suite, folder, studies, how)
        run.execute(is_checked=is_new)
        for line in lost_lines(run.lost, "suggestion"):
            how.warn(line)
        tuning = Tuning(name, folder, _results(studies, name, sampler, pruner, fixed), left_out, run.is_interrupted)
        _write(tuning, how.command)
    tuning.seconds = time.monotonic() - begin
    if not tuning.interrupted and len(tuning.without_winner) == len(tuning.results):
        raise UsageError(tuning.without_winner[0])
    return tuning


def _check_names(sampler: str, pruner: str, name: str | None) -> None:
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    if pruner not in PRUNERS:
        raise unknown("pruner", pruner, PRUNERS)
    if name is not None and not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"the name of a study takes letters, digits, dots and hyphens, got {name!r}")


def _spaces(suite: Suite, seeds: Sequence[int], budget: Budget, fixed: Collection[str]) -> tuple[list[tuple[int, Space]], list[str]]:
    """The space of each method, setting and seed, and the methods of a group that have nothing to tune. Raises: UsageError."""
    named = {str(parse_choice(text)) for text in suite.methods if text not in registry.GROUPS}
    found, left_out = [], []
    _check_fixed(suite, fixed)
    for seed in seeds:
        for trial in plan(replace(suite, seeds=(training_seed(seed),), tuned=(), untuned=True)):
            search = registry.method_class(trial.method).search
            if isinstance(search, Mapping) and not search.keys() - set(fixed) and not {trial.label, trial.method} & named:
                left_out += [] if trial.method == CEILING else [trial.label]
            elif budget.gflops is not None and not _is_counted(trial):
                raise UsageError(f"{trial.label} fits itself, so its training FLOPs cannot be counted; give --budget-minutes instead")
            else:
                found.append((seed, space_of(replace(trial, evaluations=()), fixed)))  # what the test part is asked is no matter here
    if not found:
        raise UsageError(f"no method here has anything to tune: {', '.join(dict.fromkeys(left_out))}; `bench list methods` names others")
    return found, list(dict.fromkeys(left_out))


def _check_fixed(suite: Suite, fixed: Collection[str]) -> None:
    """Raises: UsageError on a field that no search space here has."""
    spaces = [registry.method_class(choice.name).search for choice in registry.expand_methods(suite.methods)]
    stated = {name for search in spaces if isinstance(search, Mapping) for name in search}
    for name in fixed:
        if name not in stated:
            raise unknown("field to fix", name, stated)


def _is_counted(trial: Trial) -> bool:
    """Whether the FLOPs of a trial's training are counted: the suite trains the method."""
    from bench.methods.base import Method

    return issubclass(registry.method_class(trial.method), Method)


def _question(suite: Suite, sampler: str, pruner: str, seeds: Sequence[int], fixed: Collection[str]) -> dict[str, Any]:
    """What all studies of a tuning share, in any order of methods and settings."""
    return {
        "training": dict(sorted(suite.training.items())),
        "configs": {method: dict(sorted(config.items())) for method, config in sorted(suite.configs.items())},
        "budgets": {dataset: dict(sorted(budget.items())) for dataset, budget in sorted(suite.budgets.items())},
        "selection": suite.selection,
        **({"selections": suite.selections} if suite.selections else {}),
        "fixed_seed": suite.fixed_seed,
        "sampler": sampler,
        "pruner": pruner,
        "seeds": list(seeds),
        "harness": HARNESS_VERSION,
        **({"fixed": sorted(fixed)} if fixed else {}),
    }


def _jobs(suite: Suite, trials: Sequence[Trial], folder: Path) -> list[Job]:
    """The trainings of these trials, which validation alone judges."""
    return [replace(job, validates=True) for job in jobs_of(suite, trials, folder)]


class _Run:
    """Trains what the studies suggest, in several threads. Studies are touched under one lock alone."""

    def __init__(self, suite: Suite, folder: Path, studies: Sequence[Study], how: How) -> None:
        self.suite, self.folder, self.studies, self.place, self.progress = suite, folder, studies, how.place, how.progress()
        self.lock, self.stopped, self.say = threading.Lock(), threading.Event(), how.say
        self.lost: list[Record] = []  # suggestions that the machine failed
        self.jobs = {job.trial.id: job for job in _jobs(suite, [study.space.trial for study in studies], folder)}

    @property
    def is_interrupted(self) -> bool:
        return not all(study.has_ended for study in self.studies)

    def execute(self, is_checked: bool) -> None:
        planned = [min(study.budget.suggestions, study.space.fresh) + 1 for study in self.studies]
        ended = [study.asked - len(study.waiting) + (study.default is not None) for study in self.studies]
        waiting = max(0, sum(planned) - sum(ended)) * self.is_interrupted
        if waiting and not is_checked:
            self.place.check(list(self.jobs.values()), self.say)
        self.progress.begin(sum(planned), sum(ended), TimeLeft(self.place.slots if waiting else 1, unnamed=waiting))
        if not waiting:
            return
        with interruptible(self.stopped), self.progress:
            for record in self.place.each(self._one, range(waiting), self.stopped):
                if record is not None:
                    self.progress.ended(record)

    def _one(self, _: int) -> Record | None:
        """Whatever is to be trained next, trained; None once nothing is."""
        with self.lock:
            found = self._next()
            if found is None:
                return None
            study, number, trial = found
            left = study.seconds_left() if number is not None else math.inf
        own = self.jobs[study.space.trial.id]
        limits = replace(own.limits, seconds=min(own.limits.seconds, left))
        job = replace(own, trial=trial, limits=limits, log=log_of(trial, self.folder))
        self.progress.started(trial)
        begin, last = time.monotonic(), [0.0, 0.0]

        def report(reached: Reached) -> None:
            told = time.monotonic()
            self.progress.reached(trial, reached)
            last[:] = reached.gflops or 0.0, reached.seconds
            try:
                with self.lock:
                    study.reached(number, reached, told - begin)
            except Cut:
                last[1] += time.monotonic() - told  # it trained on while this was decided
                raise

        try:
            record = self.place.run(job, report, self.stopped).record
        except Cut as cut:
            record = Record(trial, "pruned", str(cut))
        seconds = time.monotonic() - begin
        if record.status == "planned":  # the machine failed: as after a crash, the same command trains it again
            with self.lock:
                self.lost.append(record)
            return None
        if record.status == "done":
            record, last[1] = _with_score(record), record.facts.seconds["train"]
        elif record.status == "failed" and seconds >= left:
            record = replace(record, status="pruned", reason=SPENT)
        cost = {"gflops": last[0] if _is_counted(trial) else None, "seconds": seconds, "train_seconds": last[1]}
        with self.lock:
            return study.end(number, record, cost)

    def _next(self) -> tuple[Study, int | None, Trial] | None:
        """The study with the least running, then with the least asked, then the dearest makes the next suggestion.

        Of each round the cheap ones come last, so that at the end no worker waits long for another.
        """

        def turn(study: Study) -> tuple[int, int, float]:
            default = study.default
            return len(study.running), study.asked + (default is not None), 0.0 if default is None else -default.seconds

        for study in sorted(self.studies, key=turn):
            found = study.next()
            if found is not None:
                number, options = found
                trial = study.space.trial
                return study, number, replace(trial, options={**trial.options, **options})
        return None


def _with_score(record: Record) -> Record:
    """The record, failed if validation gave no number. The test part must not have been there."""
    assert record.facts.rows["test"] == 0, "a suggestion must not see test rows"
    if math.isfinite(score_of(record)):
        return record
    selection = record.trial.selection
    lacking = KINDS[METRICS[selection].kind].lacking
    reason = f"validation {selection} is undefined: {lacking} the validation part; choose another --selection"
    return replace(record, status="failed", reason=reason)


def _results(studies: Sequence[Study], name: str, sampler: str, pruner: str, fixed: Collection[str]) -> list[Result]:
    """One result a method and setting, its seeds together."""
    groups: dict[tuple, list[Study]] = {}
    for study in studies:
        trial = study.space.trial
        groups.setdefault((trial.label, trial.setting), []).append(study)
    return [
        Result(space.trial, name, sampler, pruner, space.fresh, tuple(study.track() for study in group), _stated(space.trial, fixed))
        for group in groups.values()
        for space in [group[0].space]
    ]


def _stated(trial: Trial, fixed: Collection[str]) -> tuple[str, ...]:
    """Those of the fixed fields that the method's search space has."""
    return tuple(name for name in fixed if name in registry.method_class(trial.method).search)


def _write(tuning: Tuning, command: str) -> None:
    """Write the winners of what has ended, beside those that earlier commands found for other methods and settings."""
    found: dict[tuple, Winner] = {}
    if tuning.file.exists():
        found = {(winner.method, *winner.setting): winner for winner in read_winners(tuning.file)}
    for result in tuning.results:
        if result.has_ended and _reason(result) is None:
            winner = result.winner()
            found[winner.method, *winner.setting] = winner
    if found:
        write_winners(tuning.file, found.values(), command)

"""Fair tuning: every method gets the same number of suggestions, FLOPs or minutes, and validation alone decides. Free of torch itself.

One study a method, setting and seed, kept by Optuna in a journal of the tuning's folder. The studies live in the driver, which
suggests, prunes and writes; each suggestion is trained in a process of its own by the code of a trial, with a test part that is
empty. What a killed driver was training is trained again under its number. Optuna's own trial is called suggestion here.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.engine import interruptible, modules_of, plan
from bench.errors import UsageError, unknown
from bench.isolation import Job, Limits, Stopped, prepare_server, run_isolated, start_server
from bench.loader import loaded_once
from bench.progress import Progress
from bench.seeds import stream
from bench.space import SAMPLERS, Space, distributions, key_of, propose, space_of
from bench.spec import HARNESS_VERSION, Record, Suite, Trial, Value, parse_choice
from bench.tuned import FILE, FOLDER, Winner, read_winners, write_winners
from bench.tuning_report import Result, Suggestion, Track, training_seed

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

PRUNERS = ("median", "none")
PRUNE_AFTER = 5  # suggestions trained to their end before one is pruned
WARM_UP = 0.25  # share of the epochs after which the first may be pruned
SPENT = "the budget was spent"
JOURNAL, QUESTION, LOCK = "journal.log", "study.json", "tune.lock"


@dataclass(frozen=True)
class Budget:
    """What each method gets in each setting, for each seed of the tuning; whichever is spent first ends it.

    A suggestion that runs when the FLOPs or minutes are spent is ended and does not count. The default configuration is not charged.
    """

    suggestions: int = 20
    gflops: float | None = None  # counted, training alone
    minutes: float | None = None  # wall time of the suggestions' processes together

    def __post_init__(self) -> None:
        if self.suggestions < 1:
            raise UsageError(f"suggestions must be at least 1, got {self.suggestions}")
        for name in ("gflops", "minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"budget in {name} must be positive, got {value}")

    def is_spent(self, gflops: float, seconds: float) -> bool:
        return (self.gflops is not None and gflops >= self.gflops) or (self.minutes is not None and seconds >= 60 * self.minutes)

    def is_exceeded(self, gflops: float, seconds: float) -> bool:
        return (self.gflops is not None and gflops > self.gflops) or (self.minutes is not None and seconds > 60 * self.minutes)


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


class _Cut(RuntimeError):
    """A suggestion was ended early; the message says why."""


def tune(
    suite: Suite,
    out: Path | str,
    budget: Budget | None = None,
    sampler: str = "random",
    pruner: str = "median",
    seeds: Sequence[int] = (0,),
    jobs: int = 1,
    name: str | None = None,
    progress: Progress | None = None,
    command: str = "bench.tune(...)",
) -> Tuning:
    """Tune every method of a suite in each of its settings; a study that has begun goes on. The winners of what has ended are written.

    Raises: UsageError on bad input, a study of other code or data, or if no method has a winner.
    """
    begin = time.monotonic()
    budget, progress = budget or Budget(), progress or Progress()
    _check_names(sampler, pruner, name)
    if suite.vary != "training":
        raise UsageError(
            "tuning needs one split: with vary = split, test rows of one seed are validation rows of another; give vary = training"
        )
    datasets = {text for setting in suite.settings for text in setting.datasets}
    names = {choice.name for choice in registry.expand_methods(suite.methods)} | {parse_choice(text).name for text in datasets}
    prepare_server(modules_of(names), datasets)
    start_server()  # it loads torch while this process does
    with loaded_once():
        spaces, left_out = _spaces(suite, seeds, budget)
    question = _question(suite, sampler, pruner, seeds)
    name = name or f"{suite.name}-{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:8]}"
    folder = Path(out) / FOLDER / name
    with _held(folder), _Journal(folder, question, pruner) as journal:
        studies = [journal.study(space, seed, sampler, budget) for seed, space in spaces]
        run = _Run(suite, folder, studies, progress)
        run.execute(jobs)
        tuning = Tuning(name, folder, _results(studies, name, sampler, pruner), left_out, run.is_interrupted)
        _write(tuning, command)
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


def _spaces(suite: Suite, seeds: Sequence[int], budget: Budget) -> tuple[list[tuple[int, Space]], list[str]]:
    """The space of each method, setting and seed, and the methods of a group that have nothing to tune. Raises: UsageError."""
    named = {str(parse_choice(text)) for text in suite.methods if text not in registry.GROUPS}
    found, left_out = [], []
    for seed in seeds:
        for trial in plan(replace(suite, seeds=(training_seed(seed),), tuned=(), untuned=True)):
            if not registry.method_class(trial.method).search and not {trial.label, trial.method} & named:
                left_out += [] if trial.method in registry.CEILING else [trial.label]
            elif budget.gflops is not None and not _is_counted(trial):
                raise UsageError(f"{trial.label} fits itself, so its training FLOPs cannot be counted; give --budget-minutes instead")
            else:
                found.append((seed, space_of(replace(trial, evaluations=()))))  # what the test part is asked is no matter of a tuning
    if not found:
        raise UsageError(f"no method here has a search space: {', '.join(dict.fromkeys(left_out))}; `bench list methods` names others")
    return found, list(dict.fromkeys(left_out))


def _is_counted(trial: Trial) -> bool:
    """Whether the FLOPs of a trial's training are counted: the suite trains the method."""
    from bench.methods.base import Method

    return issubclass(registry.method_class(trial.method), Method)


def _question(suite: Suite, sampler: str, pruner: str, seeds: Sequence[int]) -> dict[str, Any]:
    """What all studies of a tuning share, in any order of methods and settings."""
    return {
        "training": dict(sorted(suite.training.items())),
        "configs": {method: dict(sorted(config.items())) for method, config in sorted(suite.configs.items())},
        "budgets": {dataset: dict(sorted(budget.items())) for dataset, budget in sorted(suite.budgets.items())},
        "selection": suite.selection,
        "fixed_seed": suite.fixed_seed,
        "sampler": sampler,
        "pruner": pruner,
        "seeds": list(seeds),
        "harness": HARNESS_VERSION,
    }


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder, made and locked: one driver at a time. Raises: UsageError."""
    from filelock import FileLock, Timeout

    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"another tuning is writing to {folder}; wait for it, stop it, or give another --study") from None
    except OSError as error:
        raise UsageError(f"tuning folder {folder} cannot be used: {error}; mend it or give another --out") from None
    try:
        yield
    finally:
        lock.release()


class _Journal:
    """Every study of one tuning, in one file that only the driver writes."""

    def __init__(self, folder: Path, question: Mapping[str, Any], pruner: str) -> None:
        self.folder, self.pruner = folder, pruner
        path = folder / QUESTION
        if path.exists():
            self._compare(path, question)
        else:
            path.write_text(json.dumps(question, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def _compare(self, path: Path, question: Mapping[str, Any]) -> None:
        """Raises: UsageError if the folder belongs to another question."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{path} is not what a tuning wrote: {error}; delete its folder or give another --study") from None
        for key in question:
            if stored.get(key) != question[key]:
                raise UsageError(
                    f"study {self.folder.name} in {self.folder.parent} was made with {key} {json.dumps(stored.get(key))}, "
                    f"this command has {json.dumps(question[key])}; give the same suite and options, or another --study"
                )

    def __enter__(self) -> _Journal:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self.folder / JOURNAL
        _mend(path)
        try:
            self.storage: BaseStorage = JournalStorage(JournalFileBackend(str(path)))
        except (ValueError, KeyError) as error:
            raise UsageError(f"{path} is not what a tuning wrote: {error}; delete its folder or give another --study") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.storage.remove_session()

    def study(self, space: Space, seed: int, sampler: str, budget: Budget) -> _Study:
        """A study, begun or gone on with. Raises: UsageError if it was begun with other code or data, or another search space."""
        import optuna

        trial = space.trial
        name = f"{trial.label} on {trial.dataset_label} {trial.combination} {trial.protocol} seed {seed}"
        epochs = int(getattr(space.config(), "epochs", 1))
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if self.pruner == "median":
            pruner = optuna.pruners.MedianPruner(PRUNE_AFTER, n_warmup_steps=math.ceil(WARM_UP * epochs) + 1)
        study = optuna.create_study(
            storage=self.storage, study_name=name, load_if_exists=True, direction="maximize", pruner=pruner,
            sampler=optuna.samplers.RandomSampler(0),  # never asked: `propose` draws
        )  # fmt: skip
        key = self.storage.get_study_id_from_name(name)
        was = study.user_attrs.get("made_with")
        now = json.loads(json.dumps({**trial.as_dict(), "search": space.values}))
        if was is None:
            self.storage.set_study_user_attr(key, "made_with", now)
        elif was != now:
            what = next(part for part in now if was.get(part) != now[part])
            raise UsageError(
                f"study '{name}' in {self.folder} was begun with another {what} ({was.get(what)}, now {now[what]}), so its suggestions "
                "cannot be compared with new ones; give another --study NAME, or delete the folder"
            )
        return _Study(space, seed, sampler, budget, name, key, study, self.storage)


def _mend(path: Path) -> None:
    """Drop the lock and the half line that a killed driver may leave; the folder's own lock is held."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            with path.open("r+b") as stream:
                stream.truncate(whole)


@dataclass
class _Study:
    """One method in one setting from one seed: what was suggested, and what to suggest next. Not safe for threads; see `_Run`."""

    space: Space
    seed: int
    sampler: str
    budget: Budget
    name: str
    key: int
    optuna: Any
    storage: BaseStorage
    running: dict[int | None, tuple[float, float]] = field(default_factory=dict)  # suggestion -> GFLOPs, seconds so far
    is_exhausted: bool = False

    def __post_init__(self) -> None:
        from optuna.trial import TrialState

        self.waiting = [s.number for s in self._stored((TrialState.RUNNING,))]  # a driver was killed while they ran
        self.asked = len(self._stored(None))
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Note whether the space has anything left."""
        if self.asked < self.budget.suggestions:
            self.is_exhausted = self.space.draw(stream(self.seed, "tune", "exhausted"), self._tried()) is None

    def _stored(self, states: Any) -> list[Any]:
        """Optuna's own rows of the suggestions within the budget."""
        rows = self.storage.get_all_trials(self.key, deepcopy=False, states=states)
        return [row for row in rows if row.number < self.budget.suggestions]

    def _tried(self) -> set[str]:
        rows = self.storage.get_all_trials(self.key, deepcopy=False)
        return {key_of(row.params) for row in rows} | {key_of(self.space.default())}

    def row(self, number: int) -> Any:
        return self.storage.get_trial(self.storage.get_trial_id_from_study_id_trial_number(self.key, number))

    @property
    def suggestions(self) -> list[Suggestion]:
        return [_suggestion(row) for row in self._stored(None)]

    @property
    def default(self) -> Suggestion | None:
        stored = self.optuna.user_attrs.get("default")
        return None if stored is None else Suggestion(**stored)

    def spent(self) -> tuple[float, float]:
        """GFLOPs and seconds of the suggestions that have ended and of those that run."""
        ended = [s for s in self.suggestions if s.status != "running"]
        now = [cost for number, cost in self.running.items() if number is not None]
        return (
            sum(s.gflops or 0.0 for s in ended) + sum(gflops for gflops, _ in now),
            sum(s.seconds for s in ended) + sum(seconds for _, seconds in now),
        )

    @property
    def has_ended(self) -> bool:
        return not self.running and self.default is not None and not self._has_next()

    def _has_next(self) -> bool:
        if self.waiting:
            return True
        return self.asked < self.budget.suggestions and not self.is_exhausted and not self.budget.is_spent(*self.spent())

    def next(self) -> tuple[int | None, dict[str, Value]] | None:
        """Number and options of what to train now, the default configuration first; None if there is nothing."""
        if self.default is None and None not in self.running:
            self.running[None] = (0.0, 0.0)
            return None, self.space.default()
        if not self._has_next():
            return None
        if self.waiting:
            number = self.waiting.pop(0)
            options = dict(self.row(number).params)
        else:
            generator = stream(self.seed, "tune", "suggestion", self.name, str(self.asked))
            found = propose(self.space, self.optuna, self.sampler, generator, self._tried())
            assert found is not None, "what is not exhausted has a configuration left"
            number, options = self._create(found), found
            self._look_ahead()
        self.running[number] = (0.0, 0.0)
        return number, options

    def _create(self, options: dict[str, Value]) -> int:
        """A new suggestion, written with its options in one line, so that a kill leaves none without them."""
        from optuna.trial import TrialState, create_trial

        state = TrialState.RUNNING
        template = create_trial(state=state, params=dict(options), distributions=distributions(self.space))
        self.asked += 1
        return self.storage.get_trial(self.storage.create_new_trial(self.key, template)).number

    def reached(self, number: int | None, epoch: int, epochs: int, best: float, gflops: float, seconds: float) -> None:
        """Note how far a suggestion has come. Raises: _Cut if it is to go no further."""
        self.running[number] = (gflops, seconds)
        if number is None:
            return
        if self.budget.is_exceeded(*self.spent()):
            raise _Cut(SPENT)
        if math.isnan(best):
            return
        row = self.row(number)
        self.storage.set_trial_intermediate_value(row._trial_id, epoch, best)
        if epoch < epochs and self.optuna.pruner.prune(self.optuna, self.row(number)):
            raise _Cut(f"validation below the median after epoch {epoch} of {epochs}")

    def seconds_left(self) -> float:
        return math.inf if self.budget.minutes is None else 60 * self.budget.minutes - self.spent()[1]

    def end(self, number: int | None, record: Record, cost: Mapping[str, float | None]) -> Record:
        """Write how a suggestion ended; returns the record as it counts."""
        if number is None:
            del self.running[None]
            self._end_default(record, cost)
            return record
        self.running[number] = (cost["gflops"] or 0.0, cost["seconds"] or 0.0)
        spent = self.spent()
        del self.running[number]
        if record.status == "done" and self.budget.is_exceeded(*spent):
            record = replace(record, status="pruned", reason=SPENT)
        row = self.row(number)
        self.storage.set_trial_user_attr(row._trial_id, "cost", dict(cost))
        if record.reason is not None:
            self.storage.set_trial_user_attr(row._trial_id, "reason", record.reason)
        from optuna.trial import TrialState

        state = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(record.status, TrialState.FAIL)
        self.optuna.tell(number, _score(record) if state == TrialState.COMPLETE else None, state)
        return record

    def _end_default(self, record: Record, cost: Mapping[str, float | None]) -> None:
        score = _score(record) if record.status == "done" else None
        facts = {"number": None, "options": self.space.default(), "status": record.status, "score": score, "reason": record.reason, **cost}
        self.storage.set_study_user_attr(self.key, "default", facts)

    def importances(self) -> dict[str, float]:
        """fANOVA over the suggestions trained to their end; empty for too few, or if all scored the same."""
        import optuna
        from optuna.trial import TrialState

        rows = self._stored((TrialState.COMPLETE,))
        if len(rows) < 4 or len({row.value for row in rows}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=int(stream(self.seed, "tune", "fanova").integers(2**31)))
        finite = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
        finite.add_trials([row for row in rows if math.isfinite(row.value)])
        shares = optuna.importance.get_param_importances(finite, evaluator=evaluator)
        return {name: float(share) for name, share in shares.items()}

    def track(self) -> Track:
        return Track(self.seed, self.default, tuple(self.suggestions), self.has_ended, self.importances())


def _score(record: Record) -> float:
    valid = record.facts["valid"]
    assert isinstance(valid, float)
    return valid


STATUS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "running"}


def _suggestion(row: Any) -> Suggestion:
    status = STATUS[row.state.name]
    cost = row.user_attrs.get("cost", {"gflops": None, "seconds": 0.0, "train_seconds": 0.0})
    score = float(row.value) if status == "done" else None
    return Suggestion(row.number, dict(row.params), status, score, reason=row.user_attrs.get("reason"), **cost)


class _Run:
    """Trains what the studies suggest, on several workers. Studies are touched under one lock alone."""

    def __init__(self, suite: Suite, folder: Path, studies: Sequence[_Study], progress: Progress) -> None:
        self.suite, self.folder, self.studies, self.progress = suite, folder, studies, progress
        self.lock, self.stopped = threading.Lock(), threading.Event()
        trials = [study.space.trial for study in studies]
        self.given = {name: cls for name, cls in registry.given().items() if any(name in (t.method, t.dataset) for t in trials)}

    @property
    def is_interrupted(self) -> bool:
        return not all(study.has_ended for study in self.studies)

    def execute(self, jobs: int) -> None:
        from joblib import Parallel, delayed

        planned = [min(study.budget.suggestions, study.space.fresh) + 1 for study in self.studies]
        ended = [study.asked - len(study.waiting) + (study.default is not None) for study in self.studies]
        self.progress.begin(sum(planned), sum(ended))
        waiting = max(0, sum(planned) - sum(ended)) * self.is_interrupted
        if not waiting:
            return
        with interruptible(self.stopped), self.progress:
            parallel = Parallel(n_jobs=jobs, backend="threading", return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)
            try:
                for _ in parallel(delayed(self._one)() for _ in range(waiting)):
                    pass
            finally:
                self.stopped.set()  # a failing journal must not leave suggestions running

    def _one(self) -> None:
        """One joblib task: whatever is to be trained next, or nothing once all is done or the tuning is being stopped."""
        if self.stopped.is_set():
            return
        with self.lock:
            found = self._next()
            if found is None:
                return
            study, number, trial = found
            left = study.seconds_left() if number is not None else math.inf
        limits = Limits(min(self.suite.minutes * 60, left), int(self.suite.memory_gb * 1e9))
        log = self.folder / "logs" / f"{trial.id}.log"
        job = Job(trial, limits, self.suite.device, self.suite.threads, log, self.given, validates=True)
        self.progress.started(trial)
        begin, last = time.monotonic(), [0.0, 0.0]

        def reached(epoch: int, epochs: int, best: float, gflops: float, train_seconds: float) -> None:
            told = time.monotonic()
            self.progress.step(trial, epoch, epochs, best)
            last[:] = gflops, train_seconds
            try:
                with self.lock:
                    study.reached(number, epoch, epochs, best, gflops, told - begin)
            except _Cut:
                last[1] += time.monotonic() - told  # it trained on while this was decided
                raise

        try:
            record, _ = run_isolated(job, reached, self.stopped)
        except _Cut as cut:
            record = Record(trial, "pruned", str(cut))
        except Stopped:
            return
        seconds = time.monotonic() - begin
        if record.status == "done":
            record, last[1] = _with_score(record), record.facts["seconds"]["train"]  # type: ignore[index]
        elif record.status == "failed" and seconds >= left:
            record = replace(record, status="pruned", reason=SPENT)
        cost = {"gflops": last[0] if _is_counted(trial) else None, "seconds": seconds, "train_seconds": last[1]}
        with self.lock:
            record = study.end(number, record, cost)
        self.progress.ended(record)

    def _next(self) -> tuple[_Study, int | None, Trial] | None:
        """The study with the least running, then with the least asked, then the dearest makes the next suggestion.

        Of each round the cheap ones come last, so that at the end no worker waits long for another.
        """

        def turn(study: _Study) -> tuple[int, int, float]:
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
    rows = record.facts["rows"]
    assert isinstance(rows, Mapping)
    assert rows["test"] == 0, "a suggestion must not see test rows"
    if math.isfinite(_score(record)):
        return record
    reason = f"validation {record.trial.selection} is undefined: a class is absent from the validation part; choose another --selection"
    return replace(record, status="failed", reason=reason)


def _results(studies: Sequence[_Study], name: str, sampler: str, pruner: str) -> list[Result]:
    """One result a method and setting, its seeds together."""
    groups: dict[tuple, list[_Study]] = {}
    for study in studies:
        trial = study.space.trial
        groups.setdefault((trial.label, trial.dataset_label, trial.combination, trial.protocol), []).append(study)
    return [
        Result(group[0].space.trial, name, sampler, pruner, group[0].space.fresh, tuple(study.track() for study in group))
        for group in groups.values()
    ]


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

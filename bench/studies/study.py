"""One study a method, setting and seed, kept by Optuna in a journal of the tuning's folder. Free of torch itself.

The studies live in the driver, which suggests, prunes and writes. What a killed driver was training is trained again under its number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.names import Value
from bench.records.reached import Reached
from bench.records.record import Record
from bench.seeds import stream
from bench.studies.results import Suggestion, Track
from bench.studies.space import Space, distributions, key_of, propose

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


class Cut(RuntimeError):
    """A suggestion was ended early; the message says why."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
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


class Journal:
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
        for key in {**question, **stored}:
            if stored.get(key) != question.get(key):
                raise UsageError(
                    f"study {self.folder.name} in {self.folder.parent} was made with {key} {json.dumps(stored.get(key))}, "
                    f"this command has {json.dumps(question.get(key))}; give the same suite and options, or another --study"
                )

    def __enter__(self) -> Journal:
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

    def study(self, space: Space, seed: int, sampler: str, budget: Budget) -> Study:
        """A study, begun or gone on with. Raises: UsageError if it was begun with other code or data, or another search space."""
        import optuna

        trial = space.trial
        name = f"{trial.label} on {' '.join(trial.setting)} seed {seed}"
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
        return Study(space, seed, sampler, budget, name, key, study, self.storage)


def _mend(path: Path) -> None:
    """Drop the lock and the half line that a killed driver may leave; the folder's own lock is held."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        text = path.read_bytes()
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            with path.open("r+b") as stream:
                stream.truncate(whole)


@dataclass(eq=False)  # a study is the key of its job
class Study:
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

    def reached(self, number: int | None, reached: Reached, seconds: float) -> None:
        """Note how far a suggestion has come, `seconds` after its process was asked for. Raises: Cut if it is to go no further."""
        self.running[number] = (reached.gflops or 0.0, seconds)
        if number is None:
            return
        if self.budget.is_exceeded(*self.spent()):
            raise Cut(SPENT)
        if math.isnan(reached.best):
            return
        row = self.row(number)
        self.storage.set_trial_intermediate_value(row._trial_id, reached.epoch, reached.best)
        if reached.epoch < reached.epochs and self.optuna.pruner.prune(self.optuna, self.row(number)):
            raise Cut(f"validation below the median after epoch {reached.epoch} of {reached.epochs}")

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
        self.optuna.tell(number, score_of(record) if state == TrialState.COMPLETE else None, state)
        return record

    def _end_default(self, record: Record, cost: Mapping[str, float | None]) -> None:
        score = score_of(record) if record.status == "done" else None
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


def score_of(record: Record) -> float:
    assert record.facts.valid is not None, "what was validated has a score"
    return record.facts.valid


STATUS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "running"}


def _suggestion(row: Any) -> Suggestion:
    status = STATUS[row.state.name]
    cost = row.user_attrs.get("cost", {"gflops": None, "seconds": 0.0, "train_seconds": 0.0})
    score = float(row.value) if status == "done" else None
    return Suggestion(row.number, dict(row.params), status, score, reason=row.user_attrs.get("reason"), **cost)

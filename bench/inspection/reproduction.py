"""One stored trial run again, and its predictions compared bit for bit with those stored. Loads torch in the trial's process alone."""

from __future__ import annotations

import math
import tempfile
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import registry
from bench.data.loading import load
from bench.errors import UsageError
from bench.grid.job import Job, handed_over, machine_of
from bench.grid.places import Local
from bench.names import Choice
from bench.question.machine import Limits, Machine
from bench.question.trial import HARNESS_VERSION
from bench.records.bits import cut, differences, is_cut
from bench.records.bundle import Bundle
from bench.records.database import Store
from bench.records.folder import Folder
from bench.records.ids import SALTED, Salter, as_set
from bench.records.predictions import Predictions
from bench.records.reached import Report
from bench.records.record import Record
from bench.text import count

UNKNOWN = "not known"
AS_SET = (
    "  rows were compared as a set, by their labels and outputs: the stored ones are under salted ids, and the results folder with their "
    "salt (--salt) was not given"
)
SLOWER = 10  # a repeat may take this many times as long as the trial took


@dataclass(frozen=True)
class Change:
    """Something a trial depends on that is not what it was."""

    what: str
    then: str
    now: str


@dataclass(frozen=True)
class Repeat:
    """What came of running a trial again."""

    record: Record  # as stored
    again: Record
    differing: tuple[str, ...]  # stored arrays that are not the same: ids, target, logits or scores, evaluation RULE
    rows: int
    largest: float  # largest difference of a class score; NaN if rows or classes are others
    changed: int | None  # rows with another predicted class; None if rows or classes are others
    changes: tuple[Change, ...]
    is_set: bool = False  # rows were compared as a set: the stored ones are under salted ids, and their salt is not here
    is_repeatable: bool | None = None  # whether a second run gave what the first gave, where one was made to see that

    @property
    def same(self) -> bool:
        """Whether every stored bit came again."""
        return self.again.status == "done" and not self.differing

    def as_json(self) -> dict[str, object]:
        metrics = {name: {"then": then, "now": self.again.metrics.get(name)} for name, then in self.record.metrics.items()}
        return {
            "id": self.record.trial.id,
            "same_bits": self.same,
            "status": self.again.status,
            "reason": self.again.reason,
            "rows": self.rows,
            "differing": list(self.differing),
            "largest_difference": self.largest,
            "changed_predictions": self.changed,
            "metrics": metrics,
            "changes": [asdict(change) for change in self.changes],
            "repeatable": self.is_repeatable,
        }

    def _cause(self) -> str:
        """Where nothing that the record names has changed: what a second run on the same code and data said."""
        if self.is_repeatable is None:
            return "nothing that the record names has changed"
        if self.is_repeatable:
            return (
                "nothing that the record names has changed, and two runs now give the same answer: something else has changed, such as a "
                "file that the code reads, a package, or the machine"
            )
        return "this trial is not deterministic: two runs now, on the same code and data, give two answers"

    def __str__(self) -> str:
        trial = self.record.trial
        where = f"{trial.label} on {trial.setting.title}, seed {trial.seed} (trial {trial.id})"
        changes = [f"  {change.what}: {change.then} then, {change.now} now" for change in self.changes]
        as_set = [AS_SET] if self.is_set else []
        if self.same:
            told = ["although these are not what they were:", *changes] if changes else []
            return "\n".join([f"same bits: {count(self.rows, 'prediction')} of {where}", *as_set, *told])
        if self.again.status != "done":
            lines = [f"failed: {where}", f"  {self.again.reason}"]
        elif self.is_set:
            lines = [f"different: {where}", f"  in {', '.join(self.differing)}", *as_set]
        elif self.changed is None:
            lines = [f"different: {where}", f"  other test rows or classes: {', '.join(self.differing)}"]
        else:
            lines = [
                f"different: {where}",
                f"  in {', '.join(self.differing)}; largest difference of a class score {self.largest:.3g}, "
                f"{self.changed} of {self.rows} predicted classes changed",
            ]
        lines += [
            f"  {name}: {then:.6f} then, {now:.6f} now"
            for name, then in self.record.metrics.items()
            if (now := self.again.metrics.get(name)) is not None and now != then and not (math.isnan(now) and math.isnan(then))
        ]
        cause = ["what is not as it was:", *changes] if changes else [self._cause()]
        commit = next((change.then for change in self.changes if change.what == "commit" and change.then != UNKNOWN), None)
        return "\n".join([*lines, *cause, *([f"`git checkout {commit[:10]}` brings back the code of then"] if commit else [])])


def reproduce(
    source: Store | Folder | Bundle,
    id_: str,
    report: Report = lambda _: None,
    stopped: threading.Event | None = None,
    salt: bytes | None = None,
    limits: Limits | None = None,
) -> Repeat:
    """Run the trial whose id starts with `id_` again, as `bench run` does, in a process of its own.

    On the device and with the threads that its record names, with the code and the data that are here now; nothing is stored.
    Rows that were published under salted ids are put side by side by id with the `salt` of the results folder they came from, and without
    it compared as a set. Where the answer is another one though nothing that the record names has changed, the trial is run twice, to see
    whether two runs agree. `limits` are the suite's unless given.
    Raises: UsageError if there is no such trial, it has no stored predictions, or its method or dataset is not here; Stopped.
    """
    record = source.record(id_)
    trial = record.trial
    stored = source.predictions([trial.id]).get(trial.id)
    if record.status != "done" or stored is None:
        if isinstance(source, Folder):
            source.refuse_withheld()
        why = f"{record.status}: {record.reason}" if record.reason else record.status
        raise UsageError(f"trial {trial.id} has no stored predictions to compare with ({why if record.status != 'done' else 'not kept'})")
    cls = registry.method_class(trial.method)
    config = registry.config_of(cls, Choice(trial.method, trial.preset, trial.options), trial.training)
    loaded = load(Choice(trial.dataset, "", trial.dataset_options))
    asked = replace(trial, version=registry.version_of(cls, config), fingerprint=loaded.fingerprint, harness=HARNESS_VERSION)
    if limits is None:
        asked_of = source.answers().suite.limits
        limits = replace(asked_of, seconds=max(asked_of.seconds, SLOWER * record.facts.seconds.get("total", 0.0)))
    machine = machine_of(asked, Machine(record.provenance.device or "auto", record.provenance.threads or 1))
    given = handed_over((trial.method, trial.dataset))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / f"{trial.id}.log"
        job = Job(trial=asked, limits=limits, machine=machine, log=log, given=given)
        again, predictions = Local().run(job, report, stopped or threading.Event())
        is_first = trial.harness < 2  # it told code in another way, and data by their samples alone
        changes = [
            ("code of the method", trial.version, trial.version if is_first else asked.version),
            ("data", trial.fingerprint, loaded.samples.fingerprint()[:16] if is_first else asked.fingerprint),
            ("harness", trial.harness, asked.harness),
            *_where(record, again),
        ]
        found = tuple(Change(what, _text(then), _text(now)) for what, then, now in changes if then != now)
        if predictions is None:
            return Repeat(record, again, (), len(stored.ids), math.nan, None, found)
        is_salted = record.facts.ids == SALTED
        repeat = Repeat(record, again, *_differing(stored, predictions, is_salted, salt), found, is_salted and salt is None)
        if repeat.same or found:
            return repeat
        _, second = Local().run(job, report, stopped or threading.Event())
        return replace(repeat, is_repeatable=second is not None and not differences(predictions, second)[0])


def _differing(
    stored: Predictions, new: Predictions, is_salted: bool, salt: bytes | None
) -> tuple[tuple[str, ...], int, float, int | None]:
    """The `differences` of rows that belong together, or of the two sets where nobody can say which do."""
    if not is_salted:
        return differences(stored, new)
    if salt is not None:
        return differences(stored, Salter(salt).predictions(new))
    if is_cut(stored) and not is_cut(new):
        new = cut(new, stored)
    differing, rows, largest, _ = differences(as_set(stored), as_set(new))
    return differing, rows, math.nan if differing else largest, None if differing else 0


def _where(record: Record, again: Record) -> list[tuple[str, object, object]]:
    """What the records of both runs say of masks, device, machine and packages, likely causes first."""
    then, now = record.provenance, again.provenance
    names = ("hardware", "torch_device", "python", "bench", "commit")
    return [
        *((f"{part} mask", record.facts.masks.get(part), mask) for part, mask in again.facts.masks.items()),
        *((name, then.packages.get(name), now.packages.get(name)) for name in dict.fromkeys([*then.packages, *now.packages])),
        *((name.replace("_", " "), getattr(then, name), getattr(now, name)) for name in names),
    ]


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value)

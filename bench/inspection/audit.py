"""What no method may do, checked by experiment: the run half of `bench audit`.

A class is trained for a few steps on synthetic rows with gaps, through the functions of `bench.training.loop`, and then asked the same
question in several ways: with other values in hidden cells, other batch mates, other test rows, other labels, another state of
the global generators. Answers must not differ, to the last bit where the arithmetic is the same.

Two dependences may be stated by a class (`Method.declared`, `uses_other_samples`); they are then measured, reported and passed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.datasets.base import Samples
from bench.errors import UsageError
from bench.grid.faults import line_of
from bench.grid.how import How
from bench.grid.job import Task, handed_over, limit_memory
from bench.grid.places import Place
from bench.grid.process import Ended, Lost, Stopped, interruptible
from bench.grid.same import Same, SameCode
from bench.inspection.subjects import (
    BATCH,
    FILLS,
    GENERATORS,
    SEED,
    TEST,
    TOLERANCE,
    Cells,
    Subject,
    TrainedSubject,
    backwards,
    equal,
    filled,
    largest,
    other_kinds,
    subject_of,
    unreadable,
)
from bench.methods.base import Method
from bench.methods.catalog import CEILING, GROUPS
from bench.names import Choice, bare_choice, one_choice, parse_choice
from bench.question.machine import Limits
from bench.records.database import Store
from bench.records.record import Finding, audit_summary
from bench.text import count, listed
from bench.training.threads import limited

LIMITS = Limits(seconds=600, memory=8_000_000_000)  # of one audit


@dataclass(frozen=True)
class Verdict:
    passed: bool
    detail: str
    declared: bool = False


def judged(problem: str, fine: str, reason: str | None = None) -> Verdict:
    """A verdict on a problem ("" = none); `reason` is why the class says it must be there."""
    if problem:
        return Verdict(True, f"{problem}; declared: {reason}", declared=True) if reason else Verdict(False, problem)
    return Verdict(True, f"{fine}; declared, but not found: {reason}" if reason else fine)


def check_empty_row(subject: Subject) -> Verdict:
    return judged(subject.trouble_with_empty_rows, f"finite {subject.scale} for rows that observe nothing, in company and alone")


def check_poison(subject: Subject) -> Verdict:
    """Hidden cells hold NaN, huge values, or other rows' values; training and outputs must be the same to the last bit."""
    expected, problems = subject.outputs(subject.base.model(), subject.test), []

    def outputs_under(fill: str, only: Cells | None = None) -> np.ndarray:
        return subject.outputs(subject.base.model(), filled(subject.test, fill, only))

    def differs(fill: str, only: Cells) -> bool:
        return not equal(outputs_under(fill, only), expected)

    def difference_under(only: Cells | None = None) -> str:
        train, valid = (filled(part, "mixed", only) for part in (subject.train, subject.valid))
        return subject.difference(subject.base, subject.fit(train, valid))

    for fill in FILLS:
        where = _read(subject.test, partial(differs, fill))
        try:
            outputs = outputs_under(fill)
        except Exception as error:
            problems.append(f"evaluation fails with {fill} in hidden cells: {line_of(error)}{next(where)}")
            continue
        if not equal(outputs, expected):
            problems.append(f"{fill} in hidden cells changes {subject.scale} by {largest(outputs, expected):.2g}{next(where)}")
    where = _read(subject.train, lambda only: bool(difference_under(only)))
    try:
        difference = difference_under()
    except Exception as error:
        problems.append(f"training fails with other values in hidden cells: {line_of(error)}{next(where)}")
        difference = ""
    if difference and subject.repeats:
        problems.append(f"other values in hidden cells change training: its {difference}{next(where)}")
    return judged("; ".join(problems), f"{', '.join(FILLS)} in hidden cells: the same {subject.scale} and training to the last bit")


def _read(samples: Samples, changes: Callable[[Cells], bool]) -> Iterator[str]:
    """Once asked: which cells were read, those of which alone change something or let it fail, in words behind a problem."""
    found = []
    for cells in unreadable(samples):
        try:
            is_read = changes(cells)
        except Exception:
            is_read = True  # what fails reads them too
        if is_read:
            found.append(str(cells))
    yield f" (it reads {listed(found)})" if found else ""


def check_batch_mate(subject: Subject) -> Verdict:
    """A row alone, in other batches, in another order, beside strangers: its output must be the same up to rounding."""
    test, rows = subject.test, np.arange(len(subject.test))
    mixed = np.where(rows % 2 == 0, rows, TEST + rows)  # strangers in every second place
    order = np.random.default_rng(SEED).permutation(rows)
    asked = {
        "alone": (test, np.split(rows, len(rows)), rows),
        "in batches of 5": (test, np.split(rows, range(5, len(rows), 5)), rows),
        "in another order": (test, [order], rows),
        "beside other rows": (subject.crowd.rows(mixed), [rows], rows[::2]),
    }
    expected = subject.outputs(subject.base.model(), test)
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    worst, where, changed = -1.0, "", 0
    for how, (samples, batches, kept) in asked.items():
        outputs = subject.outputs(subject.base.model(), samples, batches)
        changes = [largest(outputs[row], expected[row]) for row in kept]
        changed = max(changed, sum(change > limit for change in changes))
        worst, where = max((worst, where), (max(changes), how))
    text = f"{subject.scale} of a row change by up to {worst:.1e} ({where}), tolerance {limit:.0e}"
    if changed == 1:  # a dependence on other rows is not one row's own
        text += ", of one row alone: rounding decides a switch, such as its top k"
    return judged(text if changed > 1 else "", text, subject.declared.get("batch-mate"))


def check_support_pool(subject: Subject) -> Verdict:
    """Other test rows change neither training nor a prediction; training rows do so through weights alone, unless declared."""
    among_test = judged(_test_rows_used(subject), "no test row reaches training or another test row", subject.declared.get("support pool"))
    reason = "uses_other_samples is stated" if subject.cls.uses_other_samples else None
    among_train = judged(subject.use_of_training_rows(), "training rows act through what was fitted alone", reason)
    verdicts = (among_test, among_train)
    return Verdict(all(v.passed for v in verdicts), "; ".join(v.detail for v in verdicts), any(v.declared for v in verdicts))


def _test_rows_used(subject: Subject) -> str:
    """Where test rows reach what they must not; "" = nowhere."""
    problems = []
    model, test, strangers = subject.base.model(), subject.test, subject.strangers
    before, between, after = (subject.outputs(model, samples) for samples in (test, strangers, test))
    if not equal(before, after):
        problems.append(f"{subject.scale} change by {largest(before, after):.2g} once other rows were scored")
    elif not equal(between, subject.outputs(subject.base.model(), strangers)):
        problems.append(f"{subject.scale} change because other rows were scored before")
    rows = np.arange(len(test))
    halves = np.split(rows, 2)
    crowd = subject.crowd.rows(np.where(rows < len(halves[0]), TEST + rows, rows))
    both = [subject.outputs(subject.base.model(), samples, halves)[halves[1]] for samples in (test, crowd)]
    if not equal(*both):
        problems.append(f"{subject.scale} change by {largest(*both):.2g} with the rows of an earlier batch")
    if isinstance(subject, TrainedSubject):  # an estimator may choose on validation rows, and meets no test row before it is fitted
        difference = subject.difference(subject.base, subject.fit(subject.train, backwards(subject.valid)))
        if difference and subject.repeats:
            problems.append(f"rows that are scored between epochs change training: its {difference}")
    return "; ".join(problems)


def check_label(subject: Subject) -> Verdict:
    target = subject.test.target
    expected, problems = subject.outputs(subject.base.model(), subject.test), []
    for what, labels in (("true", target), ("other", np.roll(target, 1, axis=0))):
        outputs = subject.outputs(subject.base.model(), subject.test, labels=labels)
        if not equal(outputs, expected):
            problems.append(f"{what} labels in evaluation change {subject.scale} by {largest(outputs, expected):.2g}")
    return judged("; ".join(problems), f"with true, other and no labels the same {subject.scale} to the last bit")


def check_determinism(subject: Subject) -> Verdict:
    """Trained twice with one seed, the global generators in other states: the same bits."""
    found = subject.difference(subject.base, subject.fit(subject.train, subject.valid, (1, 1, 1)), (1, 1, 1))
    if not found:
        return Verdict(True, "one seed gives the same bits twice, whatever the global generators hold")
    if not subject.repeats:
        return Verdict(False, f"one seed gives other {found} each time")
    states = {name: tuple(int(name == other) for other in GENERATORS) for name in GENERATORS}
    read = [
        name for name, state in states.items()
        if subject.difference(subject.base, subject.fit(subject.train, subject.valid, state), state)
    ]  # fmt: skip
    return Verdict(
        False, f"{found} depend on the global generator of {', '.join(read) or 'several libraries together'}; use self.generator"
    )


def check_gradient(subject: Subject) -> Verdict:
    if not isinstance(subject, TrainedSubject):
        return Verdict(True, "does not apply: it fits itself")
    idle, steps = subject.base.idle, len(subject.base.losses)
    problem = f"no gradient in {count(steps, 'step')}: {', '.join(idle)}" if idle else ""
    return judged(problem, f"every trained parameter got a gradient in {count(steps, 'step')}")


CHECKS: dict[str, Callable[[Subject], Verdict]] = {
    "poison": check_poison,
    "batch-mate": check_batch_mate,
    "support pool": check_support_pool,
    "label": check_label,
    "determinism": check_determinism,
    "gradient": check_gradient,
    "empty row": check_empty_row,
}


def audit(choice: Choice) -> Iterator[Finding]:
    """Every check on one method, in this process: on classes, and if it passes on labels and a value as well.

    Raises: UsageError if the choice names no method.
    """
    cls, config = resolved(choice)
    finding = _finding_of(choice, cls)
    try:
        subject = subject_of(cls, config)
    except Exception as error:
        for check in CHECKS:
            yield replace(finding, check=check, detail=f"did not run: {line_of(error)}")
        return
    others = dict(other_kinds(cls, config))
    for check, function in CHECKS.items():
        try:
            verdict = function(subject)
            if verdict.passed:
                verdict = _on_others(verdict, function, others)
        except Exception as error:
            verdict = Verdict(False, f"did not run: {line_of(error)}")
        yield replace(finding, check=check, passed=verdict.passed, declared=verdict.declared, detail=verdict.detail + subject.note)


def _on_others(verdict: Verdict, function: Callable[[Subject], Verdict], others: Mapping[str, Subject]) -> Verdict:
    """The verdict on classes, unless the check fails on another kind of target."""
    for kind, subject in others.items():
        other = function(subject)
        if not other.passed:
            return Verdict(False, f"on a target of kind {kind}: {other.detail}")
    return verdict


def resolved(choice: Choice) -> tuple[type[Any], Any]:
    """Class and config of a choice, its batches cut to size. Raises: UsageError."""
    cls = registry.method_class(choice.name)
    config = registry.config_of(cls, choice, {})
    if issubclass(cls, Method):
        config = replace(config, batch_size=min(config.batch_size, BATCH))
    return cls, config


def _finding_of(choice: Choice, cls: type[Any]) -> Finding:
    """A failed finding without a check: the others are made from it. Its version is of the code that runs here."""
    method, preset = str(Choice(choice.name, "", choice.options)), choice.preset or next(iter(cls.presets))
    version = registry.version_of(cls, registry.config_of(cls, choice, {}), is_running=True)
    return Finding(method, preset, "", False, False, "", version)


def expand(texts: Iterable[str]) -> list[Choice]:
    """What to audit: a name means its default preset, a group (`all`, `paper`, `reference`) every preset; `all` has the ceiling too.

    Raises: UsageError if a name, preset or option is not known.
    """
    choices: dict[str, Choice] = {}
    for text in texts:
        names = (*GROUPS[text], *((CEILING,) if text == "all" else ())) if text in GROUPS else ()
        every = [Choice(name, preset) for name in names for preset in registry.method_class(name).presets]
        for choice in every or [parse_choice(one_choice(text))]:
            cls, config = resolved(choice)
            registry.version_of(cls, config)  # or what is found could not be kept
            choice = replace(choice, preset=choice.preset or next(iter(cls.presets)))
            choices.setdefault(str(choice), choice)
    return list(choices.values())


def run_audits(choices: Sequence[Choice], out: Any, how: How | None = None, limits: Limits = LIMITS) -> list[Finding]:
    """Audit every choice in a process of its own and store what was found, as it comes.

    Raises: UsageError on a folder that cannot be written; Stopped if interrupted, what was found by then being stored.
    """
    how, stopped = how or How(), threading.Event()
    found: dict[int, list[Finding]] = {}
    how.place.prepare(["bench.inspection.audit"])
    with Store(out) as store, store.writing(how.wait):
        tasks = [_task(choice, limits, store.folder) for choice in choices]
        how.place.check(tasks, how.say)

        def one(position: int) -> tuple[int, list[Finding]]:
            return position, _isolated(how.place, tasks[position], stopped)

        with interruptible(stopped):
            for position, findings in how.place.each(one, range(len(choices)), stopped):
                found[position] = findings
                store.write_audit(findings)
                how.say(f"[{len(found)}/{len(choices)}] {findings[0].label}: {audit_summary(findings)}")
    if stopped.is_set():
        raise Stopped(f"{len(found)} of {len(choices)} audits are stored")
    return [finding for position in sorted(found) for finding in found[position]]


@dataclass(frozen=True, kw_only=True)
class Audit(Task):
    """The audit of one choice as a task; it tells each finding."""

    choice: Choice
    version: str  # of the method's code, in the driver

    @property
    def names(self) -> tuple[str, ...]:
        return (self.choice.name,)

    def renamed(self, names: Mapping[str, str]) -> Audit:
        return replace(self, choice=replace(self.choice, name=names.get(self.choice.name, self.choice.name)))

    def rests_on(self) -> tuple[Same, ...]:
        return (SameCode(str(self.choice), (), self.version),)

    def work(self, report: Callable[[Finding], None]) -> None:
        """Every check under the memory limit, with one thread, so that sums are always added in the same order."""
        for same in self.rests_on():
            same.check()
        limit_memory(self.limits.memory)
        with limited(1):
            for finding in audit(self.choice):
                report(finding)


def _task(choice: Choice, limits: Limits, folder: Path) -> Audit:
    """The audit of a choice, of the code that is here."""
    cls = registry.method_class(choice.name)
    version = registry.version_of(cls, registry.config_of(cls, choice, {}))
    log = folder / "logs" / f"audit-{re.sub(r'[^A-Za-z0-9.=@-]+', '-', bare_choice(str(choice)))[:200]}.log"
    return Audit(choice=choice, version=version, limits=limits, log=log, given=handed_over([choice.name]))


def _isolated(place: Place, task: Audit, stopped: threading.Event) -> list[Finding]:
    """All findings on one choice; a process that dies leaves the check it was at failed. Raises: Stopped."""
    findings: list[Finding] = []
    choice = task.choice

    def heard(finding: Finding) -> None:
        findings.append(replace(finding, method=str(Choice(choice.name, "", choice.options))))  # its file may lie elsewhere there

    try:
        place.call(task, heard, stopped)
    except Lost as lost:
        raise UsageError(f"the audit of {choice} was lost to the machine: {lost}; what was found before is stored, run it again") from None
    except Ended as end:
        check = list(CHECKS)[min(len(findings), len(CHECKS) - 1)]
        failed = replace(_finding_of(choice, registry.method_class(choice.name)), check=check, detail=f"did not run: {end}")
        findings = [*findings[: len(CHECKS) - 1], failed]
    return findings

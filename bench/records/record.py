"""What came of one trial, and what an audit found in one method: plain values that tables read. Free of torch."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.names import Choice, Setting, method_label, parse_choice
from bench.question.trial import Trial
from bench.records.facts import Facts, Origin
from bench.text import finite


@dataclass(frozen=True)
class Finding:
    """What one check of `bench audit` found in one method. `bench.inspection.audit` makes them; tables read them."""

    method: str  # with its options
    preset: str
    check: str
    passed: bool
    declared: bool  # the dependence that was measured is one the class states: it passes
    detail: str
    version: str  # of the method's source

    @property
    def label(self) -> str:
        """The method as a trial's label names it."""
        choice = parse_choice(self.method)
        return method_label(choice.name, self.preset, choice.options)


def audit_summary(findings: Iterable[Finding]) -> str:
    """What a table says of one method's audit: passed, passed with declared dependences, or the checks that failed."""
    findings = list(findings)
    failed, declared = [finding.check for finding in findings if not finding.passed], sum(finding.declared for finding in findings)
    if failed:
        return f"FAILED: {', '.join(failed) if len(failed) < len(findings) else 'every check'}"
    return f"passed, {declared} declared" if declared else "passed"


@dataclass(frozen=True)
class Record:
    """A trial and what came of it: the only thing the read half of the suite sees."""

    trial: Trial
    status: str  # done, failed or skipped; a trial that has not ended is planned
    reason: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # fractions; NaN has its reason in facts.metric_reasons
    cost: Mapping[str, float | None] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    provenance: Origin = field(default_factory=Origin)
    verified: str = field(default="", compare=False)  # what came of verifying it, if it joined a published board; no part of what it says

    @classmethod
    def from_json(cls, trial: Trial, found: Mapping[str, Any]) -> Record:
        """What `as_json` wrote, of this version or an earlier one. Raises: KeyError, TypeError if it is no record."""
        metrics = {name: math.nan if value is None else value for name, value in found["metrics"].items()}
        origin = found["provenance"]
        origin = origin if isinstance(origin, Origin) else Origin.from_json(origin)
        return cls(trial, found["status"], found.get("reason"), metrics, found["cost"], Facts.from_json(found["facts"]), origin)

    def as_json(self) -> dict[str, object]:
        """Everything but the trial."""
        return {
            "status": self.status,
            "reason": self.reason,
            "metrics": dict(self.metrics),
            "cost": dict(self.cost),
            "facts": self.facts.as_json(),
            "provenance": self.provenance.as_json(),
        }

    def as_line(self) -> dict[str, object]:
        """The whole record as a line of `records.jsonl` has it; NaN becomes null."""
        return finite(self.as_json()) | {"id": self.trial.id, "trial": self.trial.as_dict()}

    @property
    def is_reproduced(self) -> bool:
        """Whether all of its method's trials that somebody trained again gave the same: where they first ran then moves no number."""
        found = re.fullmatch(r"reproduced ([1-9]\d*) of (\d+)", self.verified)
        return found is not None and found[1] == found[2]

    @property
    def device(self) -> str | None:
        """What its method was trained on: cpu, or cuda with the name of the GPU; None where it fits itself, on the CPU everywhere."""
        where = self.provenance
        if self.status == "done" and self.facts.best_epoch is None and self.facts.test_evaluations is not None:
            return None
        return where.device if where.torch_device is None else f"{where.device} ({where.torch_device})"

    @property
    def setting(self) -> Setting:
        return self.trial.setting

    @property
    def test_mask(self) -> str:
        """Hash of the observed mask of its test part; empty where a record of before lacks it."""
        return self.facts.masks.get("test", "")

    def row(self) -> dict[str, object]:
        """The record in the documented JSON shape."""
        trial = self.trial
        return {
            "id": trial.id,
            "method": str(Choice(trial.method, "", trial.options)),
            "preset": trial.preset,
            "dataset": trial.dataset_label,
            "combination": trial.combination,
            "protocol": trial.protocol,
            "noise": trial.noise,
            "seed": trial.seed,
            "status": self.status,
            "reason": self.reason,
            "metrics": dict(self.metrics),
            "cost": dict(self.cost),
        }


def most_on_one_dataset(records: Iterable[Record], value: Callable[[Record], Hashable | None]) -> tuple[list[str], int]:
    """The datasets on which the records differ in a value that all of one experiment share, and the largest number of values on one.

    Methods are compared on each dataset, on the same rows; over datasets only their differences are. So a dataset may come from another
    machine or commit than the next, as where each group runs on its own data, if all methods on one come from the same. None is no value.
    """
    found: dict[str, set[Hashable]] = defaultdict(set)
    for record in records:
        found[record.trial.dataset_label] |= {value(record)} - {None}
    return sorted(label for label, values in found.items() if len(values) > 1), max(map(len, found.values()), default=0)


def score_under(record: Record, rule: str, metric: str) -> float:
    """A trial's score under the rule of an evaluation, NaN where it has none."""
    evaluated = record.facts.evaluations.get(rule)
    found = None if evaluated is None else evaluated.metrics.get(metric)
    return math.nan if found is None else float(found)

"""Stored trials as text: all of them in a table, or everything about one. Free of torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.names import short_names
from bench.records.record import Record
from bench.records.scoring import is_collapsed
from bench.text import Table, finite, wrapped

COLUMNS = ("id", "method", "preset", "dataset", "combination", "protocol", "seed", "status")


@dataclass(frozen=True)
class TrialPage:
    """One trial: question, scores, cost, provenance, and the commands that repeat it. `print` it."""

    record: Record
    out: Path | str = "runs"  # the results folder that it was read from
    published: Path | str | None = None  # or the published folder

    def __str__(self) -> str:
        return "\n".join(line for title, text in self.sections() for line in (title, text))

    def sections(self, width: int | None = None) -> list[tuple[str, str]]:
        """Title and text of each part; long values go on in further lines where a `width` is given."""
        record, trial = self.record, self.record.trial
        tables = {
            "trial": {"id": trial.id, **json.loads(trial.to_json())},
            "status": {"status": record.status, "reason": record.reason, "collapsed": is_collapsed(record, trial.selection)},
            "metrics": record.metrics,
            "cost": record.cost,
            "facts": {key: value for key, value in record.facts.as_json().items() if key != "evaluations"},
            "provenance": record.provenance.as_json(),
        }
        found = [(title, _pairs(finite(values), width)) for title, values in tables.items()]
        if record.facts.evaluations:
            names = list(dict.fromkeys(name for of in record.facts.evaluations.values() for name in of.metrics))
            body = [
                [f"  {rule}", f"{of.missing:.4f}", *(f"{of.metrics[name]:.4f}" if name in of.metrics else "" for name in names)]
                for rule, of in record.facts.evaluations.items()
            ]
            found.append(("evaluations", Table(["  rule", "missing", *names], body, ("  rule",), whole=True).fitted(width)))
        where = ["--out", str(self.out)] if self.published is None else ["--from", str(self.published)]
        found.append(("repeat it and compare the bits", f"  {shlex.join(['bench', 'reproduce', trial.id, *where])}"))
        found.append(("repeat it", f"  {trial.command()} --out {shlex.quote(f'{self.out}-repeat')}"))
        return found

    def as_json(self) -> dict[str, object]:
        return {**self.record.row(), "facts": self.record.facts.as_json(), "provenance": self.record.provenance.as_json()}


def _pairs(values: Mapping[str, object], width: int | None) -> str:
    """One value a line, under each other."""
    indent = max(map(len, values), default=0) + 4
    lines = []
    for key, value in values.items():
        line = f"  {key}".ljust(indent) + ("" if value is None else " ".join(str(value).split()))
        lines += [line.rstrip()] if width is None else wrapped(line, width, " " * min(indent, width // 2))
    return "\n".join(lines)


def listing(records: Iterable[Record], width: int | None = None) -> str:
    """One line a trial. On a terminal files go by the class in them; ids, methods, seeds and what came of it stay at any width."""
    body, records = [], list(records)
    short = {} if width is None else short_names({name for record in records for name in (record.trial.method, record.trial.dataset)})
    for record in records:
        row, accuracy = record.row(), record.metrics.get("accuracy")
        row |= {key: short.get(str(row[key]), row[key]) for key in ("method", "dataset")}
        body.append([*(str(row[key]) for key in COLUMNS), "" if accuracy is None else f"{accuracy:.4f}", record.reason or ""])
    head, spare = [*COLUMNS, "accuracy", "reason"], ("preset", "combination", "accuracy", "protocol", "dataset")
    return Table(head, body, (*COLUMNS[:6], "status", "reason"), spare, ("reason",), kept=("method", "seed", "status")).fitted(width)

"""Stored trials as text: all of them in a table, or everything about one. Free of torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench.records.record import Record
from bench.records.scoring import is_collapsed
from bench.text import finite

COLUMNS = ("id", "method", "preset", "dataset", "combination", "protocol", "seed", "status")


@dataclass(frozen=True)
class TrialPage:
    """One trial: question, scores, cost, provenance, and the commands that repeat it. `print` it."""

    record: Record
    out: Path | str = "runs"  # the results folder that it was read from
    published: Path | str | None = None  # or the published folder

    def __str__(self) -> str:
        return "\n".join(line for title, text in self.sections() for line in (title, text))

    def sections(self) -> list[tuple[str, str]]:
        """Title and text of each part."""
        record, trial = self.record, self.record.trial
        tables = {
            "trial": {"id": trial.id, **json.loads(trial.to_json())},
            "status": {"status": record.status, "reason": record.reason, "collapsed": is_collapsed(record, trial.selection)},
            "metrics": record.metrics,
            "cost": record.cost,
            "facts": {key: value for key, value in record.facts.as_json().items() if key != "evaluations"},
            "provenance": record.provenance.as_json(),
        }
        found = [
            (title, tabulate([(f"  {key}", value) for key, value in finite(values).items()], tablefmt="plain", disable_numparse=True))
            for title, values in tables.items()
        ]
        if record.facts.evaluations:
            rows = [{"  rule": f"  {rule}", "missing": of.missing, **of.metrics} for rule, of in record.facts.evaluations.items()]
            found.append(("evaluations", tabulate(rows, headers="keys", tablefmt="plain", floatfmt=".4f")))
        where = ["--out", str(self.out)] if self.published is None else ["--from", str(self.published)]
        found.append(("repeat it and compare the bits", f"  {shlex.join(['bench', 'reproduce', trial.id, *where])}"))
        found.append(("repeat it", f"  {trial.command()} --out {shlex.quote(f'{self.out}-repeat')}"))
        return found

    def as_json(self) -> dict[str, object]:
        return {**self.record.row(), "facts": self.record.facts.as_json(), "provenance": self.record.provenance.as_json()}


def listing(records: Iterable[Record]) -> str:
    """One line a trial."""
    rows = []
    for record in records:
        row = record.row()
        rows.append({**{key: row[key] for key in COLUMNS}, "accuracy": record.metrics.get("accuracy"), "reason": record.reason})
    return tabulate(rows, headers="keys", tablefmt="simple", floatfmt=".4f")

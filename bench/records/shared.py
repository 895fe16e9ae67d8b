"""Records read by the hundred thousand: what many of them say alike is one object in memory. Free of torch.

Of a stored trial its setting, masks, config, code and machine are those of many others; its id, scores and times are its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from sys import intern
from typing import Any

from bench.question.trial import Trial
from bench.records.facts import Origin
from bench.records.record import Record

ALIKE = ("rows", "missing", "masks", "unseen", "notes", "concerns", "not_counted", "classes", "metric_reasons", "config")  # of the facts


class Reader:
    """Makes records of their JSON. What it hands out is shared: nobody may change a mapping or list of a record."""

    def __init__(self) -> None:
        self.known: dict[object, Any] = {}
        self.origins: dict[str, Origin] = {}

    def trial(self, text: str, id_: str) -> Trial:
        """The trial of this JSON, whose id the database knows: it is not worked out again."""
        found = Trial(**{key: self._shared(value) for key, value in json.loads(text).items()})
        vars(found)["id"] = id_
        return found

    def line(self, found: Mapping[str, Any]) -> Record:
        """A line of a published folder. Raises: KeyError, TypeError, AttributeError if it is no record."""
        trial = Trial(**{key: self._shared(value) for key, value in found["trial"].items()})
        said = {**found, "metrics": _keyed(found["metrics"]), "cost": _keyed(found["cost"]), "facts": self._facts(found["facts"])}
        return Record.from_json(trial, said | {"provenance": self._origin(json.dumps(found["provenance"]))})

    def record(self, trial: Trial, status: str, reason: str | None, metrics: str, cost: str, facts: str, provenance: str) -> Record:
        """One row of the database, by its columns."""
        found = {"status": intern(status), "reason": reason, "metrics": _keyed(json.loads(metrics)), "cost": _keyed(json.loads(cost))}
        return Record.from_json(trial, {**found, "facts": self._facts(json.loads(facts)), "provenance": self._origin(provenance)})

    def _origin(self, text: str) -> Origin:
        if text not in self.origins:
            self.origins[text] = Origin.from_json(json.loads(text))
        return self.origins[text]

    def _facts(self, found: Mapping[str, Any]) -> dict[str, Any]:
        said = dict(found)
        said |= {key: self._shared(said[key]) for key in ALIKE if key in said}
        said |= {key: _keyed(said[key]) for key in ("seconds",) if said.get(key)}
        if said.get("evaluations"):
            said["evaluations"] = {intern(rule): self._evaluated(one) for rule, one in said["evaluations"].items()}
        return said

    def _evaluated(self, one: Mapping[str, Any]) -> dict[str, Any]:
        found = {intern(key): self._shared(value) if isinstance(value, str) else value for key, value in one.items()}
        return found | {key: _keyed(found[key]) for key in ("metrics", "metric_reasons") if found.get(key)}

    def _shared(self, value: Any) -> Any:
        """The first of equal values; 1, 1.0 and True are not equal here."""
        return self.known.setdefault(value if isinstance(value, str) else (repr(value),), value)


def _keyed(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same with keys that all records share."""
    return {intern(key): value for key, value in found.items()}

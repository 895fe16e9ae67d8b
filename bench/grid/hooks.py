"""What is told of each finished record: functions given in Python, and those that packages bring (entry points of group `bench.hooks`).

A hook is called in the driver, in its main thread, after the record is stored, with plain values (`plain`): those given first, in their
order, then installed ones by name. Only trials that ended in this run are told; what was stored before is not told again. A hook that
raises is reported once, in a line, and the run goes on; it is called again for the next record, for a server may come back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

from bench.records.page import TrialPage
from bench.records.record import Record
from bench.text import finite

Hook = Callable[[Mapping[str, Any]], object]
GROUP = "bench.hooks"


def plain(record: Record) -> dict[str, Any]:
    """A record as `bench show TRIAL --json` gives it, and its trial: values that JSON knows, None for NaN; a new copy each time."""
    return json.loads(json.dumps(finite({**TrialPage(record).as_json(), "trial": record.trial.as_dict()})))


class Hooks:
    """The hooks of a run. `say` takes a line on each that fails."""

    def __init__(self, given: Iterable[Hook], say: Callable[[str], None]) -> None:
        self.say = say
        self.failed: set[str] = set()
        self.named = [(getattr(hook, "__name__", type(hook).__name__), hook) for hook in given]
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            try:
                found = entry.load()
                self.named.append((entry.name, found() if isinstance(found, type) else found))
            except Exception as error:  # whatever a package of somebody else raises: the run is worth more
                self._report(entry.name, "cannot be loaded", error)

    def ended(self, record: Record) -> None:
        """Tell every hook of a record that is stored."""
        for name, hook in self.named:
            try:
                hook(plain(record))
            except Exception as error:  # as above
                self._report(name, f"failed on trial {record.trial.id}", error)

    def _report(self, name: str, what: str, error: Exception) -> None:
        if name not in self.failed:
            self.failed.add(name)
            self.say(f"hook {name} {what}: {type(error).__name__}: {' '.join(str(error).split())}; the run goes on, this is said once")

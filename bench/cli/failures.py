"""What went wrong, in few lines: trials that share a reason stand together, however many they are."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.text import count

if TYPE_CHECKING:
    from bench.records.record import Record


def failed_lines(failed: Sequence[Record], out: str) -> list[str]:
    """A line for each reason why trials failed, with the command that shows the first of them."""
    from bench.grid.lost import REASONS, grouped
    from bench.grid.progress import describe

    first: dict[str, Record] = {}
    for record in failed:
        first.setdefault(describe(record.trial), record)
    groups = grouped((describe(record.trial), record.reason or "no reason is known") for record in failed)
    where = [] if out == "runs" else ["--out", out]
    lines = []
    for group in groups[:REASONS]:
        command = shlex.join(["bench", "show", first[group.names[0]].trial.id[:8], *where])
        lines.append(f"failed, {count(len(group.names), 'trial')}: {group.text}; {command}")
    if len(groups) > REASONS:
        rest = sum(len(group.names) for group in groups[REASONS:])
        lines.append(f"failed, {count(rest, 'trial')}, for {len(groups) - REASONS} other reasons; {shlex.join(['bench', 'show', *where])}")
    return lines

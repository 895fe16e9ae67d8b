"""What went wrong, in few lines: trials that share a reason stand together, however many they are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bench.text import count

if TYPE_CHECKING:
    from bench.records.record import Record

NAMED = 3  # of those with one reason
REASONS = 5  # that are told one by one


class Group(NamedTuple):
    """What shares a reason but for the numbers in it."""

    reason: str  # of the first
    names: tuple[str, ...]
    is_exact: bool  # whether the reason of all is the same to the letter

    @property
    def text(self) -> str:
        """The reason, then who it is: the first ones and a count."""
        more = f" and {len(self.names) - NAMED} more" if len(self.names) > NAMED else ""
        differs = "" if self.is_exact else " (numbers differ)"
        return f"{self.reason}{differs}: {'; '.join(self.names[:NAMED])}{more}"


def grouped(found: Iterable[tuple[str, str]]) -> list[Group]:
    """(name, reason) by reason, in the order in which they come, largest groups first. A number is no reason of its own."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, reason in found:
        groups.setdefault(re.sub(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", "0", reason), []).append((name, reason))
    told = [Group(own[0][1], tuple(name for name, _ in own), len({reason for _, reason in own}) == 1) for own in groups.values()]
    return sorted(told, key=lambda group: -len(group.names))


def lost_lines(lost: Sequence[Record]) -> list[str]:
    """A line for each reason why trials were lost to the machine, and what to do; none where none were."""
    from bench.grid.progress import describe

    if not lost:
        return []
    groups = grouped((describe(record.trial), record.reason or "no reason is known") for record in lost)
    lines = [f"lost to the machine, {count(len(group.names), 'trial')}: {group.text}" for group in groups[:REASONS]]
    return [*lines, f"{count(len(lost), 'trial')} of this run gave no result, for the machine failed; the same command runs them again"]


def failed_lines(failed: Sequence[Record], out: str) -> list[str]:
    """A line for each reason why trials failed, with the command that shows the first of them."""
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

"""What the machine took, and what shares a reason, in few lines: a trial that is lost is told of by every door, quiet or not."""

from __future__ import annotations

import re
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


def lost_lines(lost: Sequence[Record], what: str = "trial") -> list[str]:
    """A line for each reason why trials, or what else they are here, were lost to the machine, and what to do; none where none were."""
    from bench.grid.progress import describe

    if not lost:
        return []
    groups = grouped((describe(record.trial), record.reason or "no reason is known") for record in lost)
    lines = [f"lost to the machine, {count(len(group.names), what)}: {group.text}" for group in groups[:REASONS]]
    return [*lines, f"{count(len(lost), what)} of this run gave no result, for the machine failed; the same command runs them again"]

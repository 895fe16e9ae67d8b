"""The section of a setting that tells scores apart by groups, for pages and for a terminal."""

from __future__ import annotations

import math

from bench.leaderboard.groups import LEAST, GroupRow, GroupScore, GroupTable
from bench.text import NA, Table, count, end_of_interval, in_page, interval_text, listed, p_text, points, signed

MOST_NAMED = 12  # groups that are left out, by name
WORDS = ("Method", "Best, worst")


def group_table(found: GroupTable) -> Table:
    """Head and cells. A score stands with its 95 % interval."""
    groups = [f"{group} (n {size})" for group, size in zip(found.groups, found.sizes, strict=True)]
    body = [[row.label, *(map(_cell, row.scores) if row.scores else [NA] * len(groups)), *_gap(row)] for row in found.rows]
    return Table(["Method", *groups, "Largest gap", "95 %", "Holm p", "Best, worst"], body, WORDS, whole=True)


def _cell(score: GroupScore) -> str:
    return points(score.mean) if math.isnan(score.interval[0]) else f"{points(score.mean)} [{interval_text(score.interval)}]"


def _gap(row: GroupRow) -> list[str]:
    gap = row.gap
    if gap is None:
        return [NA, NA, NA, ""]
    ends = NA if math.isnan(gap.interval[0]) else f"[{', '.join(map(end_of_interval, gap.interval))}]"
    return [signed(gap.difference), ends, p_text(gap.p_adjusted), f"{gap.best}, {gap.worst}" if gap.difference else "equal"]


def group_notes(found: GroupTable, alpha: float) -> list[str]:
    """What the tests are, what they say, and what is not in the table, a sentence each."""
    said = []
    differing = [row.label for row in found.rows if row.gap is not None and row.gap.p_adjusted <= alpha]
    tested = [row for row in found.rows if row.gap is not None and not math.isnan(row.gap.p)]
    if tested:
        told = f"Groups differ beyond chance for {listed(differing)}." if differing else "No method differs between groups beyond chance."
        said.append(told)
        said.append(
            "Gap: the best group's score less the worst's, a method at a time; its interval and p allow for all pairs of groups (Sidak) "
            f"and for {count(found.attributes, 'attribute')} of this setting (Holm), not for the number of methods."
        )
    if len(found.groups) < 2:
        said.append(f"No gap: {count(len(found.groups), 'group')} with {LEAST} test rows or more.")
    if found.left_out:
        names = [f"{group} ({size})" for group, size in found.left_out]
        said.append(f"Left out, with fewer than {LEAST} test rows: {listed(names, MOST_NAMED)}.")
    said += [f"The group of {count(found.not_known, 'test row')} is not known."] if found.not_known else []
    reasons: dict[str, dict[str, None]] = {}
    for row in found.rows:
        for group, reason in [("", row.reason), *((score.group, score.reason) for score in row.scores)]:
            if reason:
                reasons.setdefault(f"{group}: {reason}" if group else f"no scores by group: {reason}", {})[row.label] = None
        if row.gap is not None and row.gap.reason:
            reasons.setdefault(f"no test: {row.gap.reason}", {})[row.label] = None
    everyone = {row.label for row in found.rows}
    for reason, labels in reasons.items():
        said.append(f"{reason[0].upper()}{reason[1:]}{'' if set(labels) == everyone else f' ({listed(list(labels))})'}.")
    return [in_page(line) for line in said]

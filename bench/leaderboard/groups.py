"""Scores of a setting told apart by groups of its test samples: sex, age band, site. From stored predictions and attributes alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from bench.data.attributes import Attributes
from bench.datasets.attributes import UNKNOWN
from bench.errors import UsageError, unknown
from bench.leaderboard.scores import Scores, test_over_train
from bench.records.answers import Answers
from bench.records.predictions import Predictions
from bench.stats import holm, interval_levels, pseudo_values, resampled_t
from bench.stats.groups import Gap, group_interval, group_test, largest_gap, least_side
from bench.stats.kinds import kind_of
from bench.stats.metrics import METRICS
from bench.stats.pairs import Estimate

LEAST = 20  # test rows of a group, of each seed; below, its score says little, and may tell of single samples
NAN = (math.nan, math.nan)


@dataclass(frozen=True)
class GroupScore:
    """A method on one group: its mean score over seeds, the metric's own, with seed and sample variance; NaN with its reason."""

    group: str
    mean: float
    interval: tuple[float, float]
    reason: str = ""


@dataclass(frozen=True)
class GroupGap:
    """The largest difference between two groups of one method, positive, with its 95 % interval.

    `p` allows for the pairs of groups that it is the largest of, `p_adjusted` for all attributes of the setting too, as the interval does.
    """

    best: str
    worst: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_adjusted: float
    reason: str = ""


@dataclass(frozen=True)
class GroupRow:
    """One method by the groups of an attribute."""

    label: str
    scores: tuple[GroupScore, ...]
    gap: GroupGap | None
    reason: str = ""  # why there are no scores by group


@dataclass(frozen=True)
class GroupTable:
    """All methods of a setting by the groups of one attribute, in the order of the setting's table."""

    attribute: str
    groups: tuple[str, ...]
    sizes: tuple[int, ...]  # test rows of each; where every seed has its own, the fewest
    left_out: tuple[tuple[str, int], ...]  # groups with fewer than `LEAST` rows, with their rows
    not_known: int  # test rows whose group is not known
    attributes: int  # of the setting, which the correction runs over
    rows: tuple[GroupRow, ...]

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "least_rows": LEAST}


def check_by(answers: Answers, by: Sequence[str]) -> None:
    """Raises: UsageError if no data of these answers have an attribute of such a name."""
    known = {name for record in answers.records for name in _names(answers, record.trial.fingerprint)}
    if by and not known:
        raise UsageError(
            "no samples of these results have attributes; a dataset states them (attributes = [...] in a description, "
            "bench.dataset(..., attributes=...)), and the same `bench run` notes them without a training anew"
        )
    for name in by:
        if name not in known:
            raise unknown("attribute", name, known)


def _names(answers: Answers, fingerprint: str) -> Iterable[str]:
    found = answers.attributes.get(fingerprint)
    return () if found is None else found.groups


def groups_of(
    answers: Answers, fingerprint: str, methods: Sequence[Scores], by: Sequence[str] | None, mixed: str = ""
) -> tuple[GroupTable, ...]:
    """The tables of one setting, whose answers these are: one an attribute, or of the attributes `by` alone; None stands for all.

    Every attribute of the setting is tested, whichever are shown: its p do not depend on who looks. `mixed` says what is mixed in the
    setting that forbids tests.
    """
    known = answers.attributes.get(fingerprint)
    if known is None or (by is not None and not set(by) & set(known.groups)):
        return ()
    given = _Given(answers.suite.metric, answers.suite.vary, answers.predictions, known, mixed)
    found = {name: _of_attribute(given, name, methods) for name in known.groups}
    found = _corrected(found, answers.suite.levels.alpha)
    return tuple(table for name, (table, _) in found.items() if by is None or name in by)


class _Given:
    """What all attributes of a setting are worked out from."""

    def __init__(self, metric: str, vary: str, predictions: Mapping[str, Predictions], known: Attributes, mixed: str) -> None:
        self.metric, self.sign, self.vary = metric, METRICS[metric].sign, vary
        self.predictions, self.known, self.mixed = predictions, known, mixed
        self.at: dict[bytes, dict[str, np.ndarray]] = {}  # ids of test rows -> their groups by each attribute

    def groups(self, found: Predictions, name: str) -> np.ndarray:
        key = found.ids.tobytes()
        if key not in self.at:
            self.at[key] = self.known.at(found.ids)
        return self.at[key][name]

    def stored(self, one: Scores) -> tuple[list[Predictions], str]:
        """The predictions of a method's scored trials, or why it has no scores by group."""
        if not len(one.scores):
            return [], "no trial gave a score"
        ids = [record.trial.id for record in one.scored]
        if any(id_ not in self.predictions for id_ in ids):
            return [], "predictions of some trials are not stored"
        if self.vary != "split" and one.values is None:
            return [], one.reason
        return [self.predictions[id_] for id_ in ids], ""


Found = tuple[GroupTable, Mapping[str, Gap]]


def _of_attribute(given: _Given, name: str, methods: Sequence[Scores]) -> Found:
    stored = {one.label: given.stored(one) for one in methods}
    columns = {column.tobytes(): column for own, _ in stored.values() for column in (given.groups(found, name) for found in own)}
    names = sorted({str(group) for column in columns.values() for group in column.tolist()} - {UNKNOWN}, key=_place)
    sizes = {group: min(int((column == group).sum()) for column in columns.values()) for group in names}
    kept = [group for group in names if sizes[group] >= LEAST]
    gaps: dict[str, Gap] = {}
    rows = []
    for one in methods:
        own, reason = stored[one.label]
        scores, gap = _of_method(given, name, one, own, kept) if own else ((), None)
        rows.append(GroupRow(one.label, scores, None, reason))
        if gap is not None:
            gaps[one.label] = gap
    unknown_rows = max((int((column == UNKNOWN).sum()) for column in columns.values()), default=0)
    left_out = tuple((group, sizes[group]) for group in names if group not in kept)
    table = GroupTable(name, tuple(kept), tuple(sizes[group] for group in kept), left_out, unknown_rows, 0, tuple(rows))
    return table, gaps


def _of_method(
    given: _Given, name: str, one: Scores, own: Sequence[Predictions], kept: Sequence[str]
) -> tuple[tuple[GroupScore, ...], Gap | None]:
    """A method's score on each group, and its largest gap."""
    metric, shares = METRICS[given.metric], given.vary != "split"
    found, of_group, of_side = [], [], []
    for group in kept:
        rows = [given.groups(each, name) == group for each in own]
        parts = [(each.target[here], each.scores[here]) for each, here in zip(own, rows, strict=True)]
        of_side.append(least_side(given.metric, parts[0][0], parts[0][1].shape[1]))
        scores = np.array([metric.of(target, outputs) for target, outputs in parts])
        off = next((place for place, score in enumerate(scores) if not np.isfinite(score)), None)
        if off is not None:
            target, outputs = parts[off]
            of_group.append((scores, np.empty((0, 0))))
            found.append(
                GroupScore(group, math.nan, NAN, kind_of(target).why_undefined(target, outputs.shape[1], one.scored[0].facts.classes))
            )
            continue
        values = np.stack([pseudo_values(given.metric, *part) for part in parts]) if shares else np.empty((0, 0))
        low, high = group_interval(values, scores) if shares else _over_splits(one, scores).interval()
        why = _no_interval(len(scores)) if math.isnan(low) else ""
        found.append(GroupScore(group, float(scores.mean()), (max(low, metric.lower), min(high, metric.upper)) if not why else NAN, why))
        of_group.append((scores, values))
    means = [given.sign * score.mean for score in found]
    tests = {}
    for i, j in combinations(range(len(kept)), 2):
        (a, of_a), (b, of_b) = of_group[i], of_group[j]
        if not math.isnan(means[i] - means[j]):
            a, b = given.sign * a, given.sign * b
            sides = (of_side[i], of_side[j])
            found_test = group_test(given.sign * of_a, given.sign * of_b, a, b, sides) if shares else _over_splits(one, a - b)
            if given.mixed:
                found_test = Estimate(found_test.test, found_test.difference, math.nan, math.nan, {}, given.mixed)
            tests[i, j] = found_test
    return tuple(found), largest_gap(means, tests)


def _over_splits(one: Scores, numbers: np.ndarray) -> Estimate:
    """The mean of a number of each seed, where every seed draws its own split."""
    return resampled_t(numbers, test_over_train(one.scored))


def _no_interval(seeds: int) -> str:
    return (
        f"an interval needs 2 seeds, got {seeds}"
        if seeds < 2
        else "an interval needs two rows in the group, and of every class or side of a label"
    )


def _corrected(found: Mapping[str, Found], alpha: float) -> dict[str, Found]:
    """The same with each method's gaps corrected over the attributes of the setting."""
    made: dict[str, dict[str, GroupGap]] = {name: {} for name in found}
    for label in dict.fromkeys(row.label for table, _ in found.values() for row in table.rows):
        names = [name for name, (_, gaps) in found.items() if label in gaps]
        gaps = [found[name][1][label] for name in names]
        p = np.array([gap.p for gap in gaps])
        adjusted, levels = holm(p), interval_levels(p, alpha)
        for k, (name, gap) in enumerate(zip(names, gaps, strict=True)):
            groups = found[name][0].groups
            ends = NAN if math.isnan(levels.near[k]) else gap.ends(float(levels.near[k]), float(levels.far[k]))
            made[name][label] = GroupGap(
                groups[gap.best], groups[gap.worst], gap.estimate.difference, ends, float(p[k]), float(adjusted[k]), gap.estimate.reason
            )
    return {name: (_with_gaps(table, made[name], len(found)), gaps) for name, (table, gaps) in found.items()}


def _with_gaps(table: GroupTable, gaps: Mapping[str, GroupGap], attributes: int) -> GroupTable:
    rows = tuple(GroupRow(row.label, row.scores, gaps.get(row.label), row.reason) for row in table.rows)
    return GroupTable(table.attribute, table.groups, table.sizes, table.left_out, table.not_known, attributes, rows)


def _place(group: str) -> tuple[int, float, str]:
    """Bands in their order, other groups by name."""
    number = re.match(r"(below )?([+-]?\d+(?:\.\d+)?)", group)
    return (1, 0.0, group) if number is None else (0, float(number[2]) - bool(number[1]), group)

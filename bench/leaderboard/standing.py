"""Where the methods of a setting stand: their ranks, every pair tested, the floor and the ceiling, and who is beyond the floor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench import stats
from bench.leaderboard.origin import mixtures
from bench.leaderboard.scores import Scores, check_once, pairs_of, refusal, scores_in
from bench.leaderboard.significance import Family, Place, family_of
from bench.methods.catalog import CEILING, FLOOR, UNRANKED
from bench.names import Setting
from bench.question.suite import Suite
from bench.records.answers import Answers
from bench.stats import pareto_front, ranks
from bench.stats.metrics import METRICS, in_its_unit
from bench.text import factor


class Standing(NamedTuple):
    """Where the methods of a setting stand to each other, and to the floor."""

    ranks: Mapping[str, float]
    tests: Family
    places: Mapping[str, Place]
    best: str | None  # of those tested
    pareto: Mapping[str, str]
    beats_floor: tuple[str, ...] | None  # significantly better than the constant predictor; None where that is not tested


def standing_of(suite: Suite, setting: Setting, methods: Mapping[str, Scores], mixed: str) -> Standing:
    metric = suite.metric
    ranked = {label: one for label, one in methods.items() if label not in UNRANKED and one.attempted}
    rank_of = ranks({label: one.mean for label, one in ranked.items()}, metric) if ranked else {}
    tests = tests_of(suite, setting, ranked, mixed)
    points = {label: (one.mean, cost_of(one).get("gflops_per_sample")) for label, one in methods.items()}
    return Standing(
        rank_of,
        tests,
        tests.places([rank_of[label] for label in tests.labels]),
        min(tests.labels, key=lambda label: rank_of[label], default=None),
        pareto_marks(metric, points, tests),
        None if mixed else _beating_floor(suite, methods),
    )


def _beating_floor(suite: Suite, methods: Mapping[str, Scores]) -> tuple[str, ...] | None:
    """Methods significantly better than the constant predictor, Holm over the methods; None unless every one can be tested."""
    floor = methods.get(FLOOR)
    ranked = [one for label, one in methods.items() if label not in UNRANKED and one.attempted]
    if floor is None or not ranked:
        return None
    found = [pairs_of(suite.metric, [one, floor], suite.vary) for one in ranked]
    p = np.concatenate([one.p for one in found])
    if np.isnan(p).any():
        return None
    ahead = np.concatenate([one.difference for one in found]) > 0
    beating = (stats.holm(p) <= suite.levels.alpha) & ahead
    return tuple(one.label for one, beats in zip(ranked, beating.tolist(), strict=True) if beats)


def families_of(answers: Answers) -> dict[Setting, Family]:
    """The tests of each setting that a board of these answers has: every pair of its ranked methods, corrected together."""
    found = {}
    check_once(answers.records)
    for setting, here in answers.by_setting():
        methods = scores_in(here.suite.metric, here.records, here.predictions)
        mixed = "; ".join(mixtures([record for one in methods.values() for record in one.done]))
        ranked = {label: one for label, one in methods.items() if label not in UNRANKED and one.attempted}
        found[setting] = tests_of(here.suite, setting, ranked, mixed)
    return found


def tests_of(suite: Suite, setting: Setting, ranked: Mapping[str, Scores], withheld: str) -> Family:
    """Every pair of ranked methods of a setting. `withheld` says why nothing may be tested, if it may not."""
    methods = [one for one in ranked.values() if len(one.scores)]
    labels = tuple(one.label for one in methods)
    arrays = next((one.arrays for one in methods if one.arrays is not None), None)
    n = len(arrays.ids) if arrays is not None else 0
    reason = withheld or refusal(methods) or ("" if len(methods) > 1 else "needs two methods with a score")
    if reason:
        return Family(setting.title, "crossed seed x sample", "test samples", n, labels, reason=reason, levels=suite.levels)
    return family_of(setting.title, "test samples", n, labels, pairs_of(suite.metric, methods, suite.vary), suite.levels)


def pareto_marks(metric: str, points: Mapping[str, tuple[float, float | None]], tests: Family | None) -> dict[str, str]:
    """Marks by label: `front`, or `~` for who is beaten there by noise alone. `points`: (score, GFLOPs); the ceiling is no method."""
    sign = METRICS[metric].sign
    labels = [label for label in points if label != CEILING]
    score = np.array([sign * points[label][0] for label in labels], dtype=float)
    cost = np.array([math.nan if points[label][1] is None else points[label][1] for label in labels], dtype=float)
    front = pareto_front(score, cost)
    marks = {}
    for i, label in enumerate(labels):
        if front[i]:
            marks[label] = "front"
        elif tests is not None and label in tests.labels and tests.size and not tests.reason and np.isfinite([score[i], cost[i]]).all():
            better = tests.better[:, tests.labels.index(label)]
            ahead = [tests.labels[j] for j in np.flatnonzero(better)]
            if not any(cost[labels.index(other)] <= cost[i] for other in ahead):
                marks[label] = "~"
    return marks


class Bounds(NamedTuple):
    """Between what scores lie: the constant predictor's, and the best possible one's."""

    floor: float
    ceiling: float
    source: str  # what the ceiling is
    floor_reason: str  # why there is no floor though it was asked for


@in_its_unit(lambda metric, methods: metric)
def bounds_of(metric: str, methods: Mapping[str, Scores]) -> Bounds:
    floor = methods[FLOOR].mean if FLOOR in methods else math.nan
    reason = _no_floor(metric, methods[FLOOR]) if FLOOR in methods and math.isnan(floor) else ""
    if CEILING in methods and len(methods[CEILING].scores):
        return Bounds(floor, methods[CEILING].mean, f"`{CEILING}`, the exact posterior", reason)
    perfect = METRICS[metric].perfect
    return Bounds(floor, perfect, f"a perfect score, {factor() * perfect:g}", reason)


def _no_floor(metric: str, floor: Scores) -> str:
    """Why the constant predictor has no score."""
    if not floor.attempted:
        return f"`{FLOOR}` is planned and has not run"
    if not floor.done:
        return f"`{FLOOR}` did not end well: {next(record.reason for record in floor.records if record.status != 'planned')}"
    why = next((record.facts.metric_reasons[metric] for record in floor.done if metric in record.facts.metric_reasons), "")
    return f"`{FLOOR}` ran and has no {metric}" + (f", for {why}" if why else "")


def cost_of(one: Scores) -> dict[str, float | None]:
    return {name: mean_cost([record.cost.get(name) for record in one.done]) for name in sorted({k for r in one.done for k in r.cost})}


def mean_cost(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None

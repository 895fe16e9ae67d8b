"""bench/leaderboard/robustness.py: the area is a mean over noise, and what is missing is never guessed."""

import math

import numpy as np
import pytest

from bench import stats
from bench.leaderboard.robustness import curve_of
from bench.leaderboard.scores import Scores
from bench.question.trial import Trial
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.stats.levels import Levels

NOISE = (0.1, 0.3, 0.5)
TRIAL = Trial(
    method="m", preset="paper", options={}, training={}, dataset="d", dataset_options={}, combination="AB", protocol="mcar(0.1)", seed=0,
    selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
TARGET = np.arange(200) % 2
IDS = np.arange(200).astype(str)


def scores(label, share, seeds=3, ids=IDS):
    """Trials that get about this share right."""
    rng = np.random.default_rng([round(1000 * share), len(label)])
    values = (rng.random((seeds, len(TARGET))) < share).astype(float)
    records = tuple(Record(TRIAL if seed == 0 else Trial(**{**TRIAL.as_dict(), "seed": seed}), "done") for seed in range(seeds))
    if not seeds:
        return Scores(label, (), (), (), np.empty(0), None, None, 0, "no trial gave a score")
    return Scores(label, ("",) * seeds, records, records, values.mean(1), values, Predictions(ids, TARGET, np.zeros((200, 2))), 0)


def curve(shares, withheld="", **changes):
    levels = [{label: scores(label, found[place]) for label, found in shares.items()} for place in range(len(NOISE))]
    for (place, label), one in changes.get("replaced", {}).items():
        levels[place][label] = one
    intervals = [{label: stats.crossed_interval(one.values, one.scores) for label, one in level.items() if one.values is not None}
                 for level in levels]  # fmt: skip
    return curve_of("accuracy", ("d", "AB", "mcar"), False, NOISE, levels, intervals, Levels(), withheld)


def by_label(found):
    return {row.label: row for row in found.rows}


def test_area_is_the_trapezoid_of_the_means():
    found = curve({"a": (0.9, 0.8, 0.6), "b": (0.6, 0.5, 0.5), "constant": (0.5, 0.5, 0.5)})
    row = by_label(found)["a"]
    assert row.area == pytest.approx((row.scores[0] + 2 * row.scores[1] + row.scores[2]) / 4)
    assert row.area_interval[0] < row.area < row.area_interval[1]
    assert row.drop == pytest.approx(row.scores[0] - row.scores[2])
    assert row.relative_drop == pytest.approx(row.drop / row.scores[0])
    assert [row.label for row in found.rows] == ["a", "b"]


def test_areas_are_compared_by_the_noise_auc_test():
    shares = {"a": (0.9, 0.8, 0.6), "b": (0.6, 0.5, 0.5)}
    found = curve(shares)
    a, b = (np.array([scores(label, share).values for share in of_method]) for label, of_method in shares.items())
    expected = stats.noise_auc_test(np.array(NOISE), a, b, a.mean(2), b.mean(2))
    assert found.tests.tests[0].p == pytest.approx(expected.p)
    assert found.tests.exploratory


def test_method_that_misses_a_level_has_no_area():
    found = curve({"a": (0.9, 0.8, 0.6), "b": (0.6, 0.5, 0.5)}, replaced={(1, "b"): scores("b", 0.5, seeds=0)})
    row = by_label(found)["b"]
    assert math.isnan(row.area)
    assert found.rows[-1].label == "b"
    assert found.tests.tests == ()


def test_seeds_that_miss_a_level_are_left_out_of_the_area():
    found = curve({"a": (0.9, 0.8, 0.6), "b": (0.6, 0.5, 0.5)}, replaced={(2, "a"): scores("a", 0.6, seeds=2)})
    assert by_label(found)["a"].n == 2


def test_retention_needs_a_start_above_the_floor():
    found = by_label(curve({"a": (0.9, 0.8, 0.7), "b": (0.52, 0.5, 0.5), "constant": (0.5, 0.5, 0.5)}))
    assert 0.2 < found["a"].retention < 0.8
    assert math.isnan(found["b"].retention)


def test_score_that_rises_with_the_noise_beyond_chance_is_flagged():
    found = by_label(curve({"a": (0.6, 0.6, 0.95), "b": (0.7, 0.7, 0.7)}))
    assert found["a"].rises == ("0.3 to 0.5",)
    assert found["b"].rises == ()


def test_levels_tested_on_other_samples_have_no_interval_and_no_test():
    other = scores("a", 0.6, ids=np.arange(200, 400).astype(str))
    found = curve({"a": (0.9, 0.8, 0.6), "b": (0.6, 0.5, 0.5)}, replaced={(2, "a"): other})
    assert math.isnan(by_label(found)["a"].area_interval[0])
    assert not math.isnan(by_label(found)["a"].area)
    assert found.tests.reason


def test_withheld_curve_has_no_test():
    found = curve({"a": (0.9, 0.8, 0.6), "b": (0.6, 0.5, 0.5)}, withheld="records come from 2 commits")
    assert (found.tests.tests, found.tests.reason) == ((), "records come from 2 commits")

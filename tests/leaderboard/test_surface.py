"""bench/leaderboard/surface.py: reductions equal numbers worked out by hand, and a point that is missing is never guessed."""

import math
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.leaderboard.surface import more_text, noise_area, retention, shapley, surface_of, worst_subset
from bench.question.trial import Trial
from bench.records.facts import Evaluated, Facts
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.stats import crossed_interval, pseudo_values

RULES = ("mcar(0)", "mcar(0.3)", "mcar(0.5)", "fixed(N)", "fixed(E)", "fixed(NE)")
TRIAL = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NE", protocol="mcar(0.3)",
    seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v", evaluations=RULES,
)  # fmt: skip
ROWS = 20
scores_of_subsets = st.fixed_dictionaries(
    {"".join(letters): st.floats(0, 1) for size in range(1, 5) for letters in combinations("ABCD", size)}
)


def subsets(letters):
    return ["".join(chosen) for size in range(1, len(letters) + 1) for chosen in combinations(letters, size)]


def test_area_is_the_trapezoid_over_the_range():
    assert noise_area([0, 0.3, 0.5], np.array([0.9, 0.8, 0.6])) == pytest.approx((0.3 * 0.85 + 0.2 * 0.7) / 0.5)
    assert noise_area([0.1, 0.5], np.array([[0.9, 0.4], [0.5, 0.4]])) == pytest.approx([0.7, 0.4])


@pytest.mark.parametrize(("rates", "scores"), [([], []), ([0.3], [0.8]), ([0, 0.3, 0.5], [0.9, math.nan, 0.5])], ids=["none", "one", "gap"])
def test_area_needs_two_rates_and_every_score(rates, scores):
    assert math.isnan(noise_area(rates, np.array(scores)))


def test_retention_is_the_share_above_the_floor():
    assert retention(0.9, 0.6, 0.5) == pytest.approx(0.25)
    assert retention(0.9, 0.9, 0.5) == 1
    assert retention(0.9, 0.4, 0.5) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("whole", "left", "floor", "interval"),
    [(0.5, 0.4, 0.5, (math.nan, math.nan)), (0.6, 0.5, 0.5, (0.45, 0.75)), (0.9, 0.6, math.nan, (0.8, 1.0)), (math.nan, 0.6, 0.5, (0, 1))],
    ids=["at the floor", "perhaps at the floor", "no floor", "no score"],
)
def test_retention_needs_a_score_above_the_floor(whole, left, floor, interval):
    assert math.isnan(retention(whole, left, floor, interval))


def test_worst_subset_is_the_lowest_and_the_first_of_equals():
    assert worst_subset({"N": 0.6, "E": 0.4, "NE": 0.9}) == ("E", 0.4)
    assert worst_subset({"N": 0.4, "E": 0.4}) == ("N", 0.4)
    assert worst_subset({"N": 0.4, "E": math.nan})[0] is None
    assert worst_subset({})[0] is None


def test_shapley_of_two_modalities_by_hand():
    found = shapley({"A": 0.6, "B": 0.7, "AB": 0.9}, "AB", 0.5)
    assert found == pytest.approx({"A": ((0.6 - 0.5) + (0.9 - 0.7)) / 2, "B": ((0.7 - 0.5) + (0.9 - 0.6)) / 2})


def test_shapley_of_three_modalities_by_hand():
    """The glove game: A has a left glove, B and C have right ones, a pair is worth 1. Known answer 2/3, 1/6, 1/6."""
    found = shapley({"A": 0, "B": 0, "C": 0, "AB": 1, "AC": 1, "BC": 0, "ABC": 1}, "ABC", 0)
    assert found == pytest.approx({"A": 2 / 3, "B": 1 / 6, "C": 1 / 6})


@settings(max_examples=50, deadline=None)
@given(scores_of_subsets, st.floats(0, 1))
def test_shapley_is_the_mean_gain_over_all_orders_and_sums_to_the_whole(scores, empty):
    found = shapley(scores, "ABCD", empty)
    value = {"": empty, **scores}
    gains = {letter: [] for letter in "ABCD"}
    for order in permutations("ABCD"):
        for place, letter in enumerate(order):
            before = "".join(sorted(order[:place]))
            gains[letter].append(value["".join(sorted(before + letter))] - value[before])
    assert found == pytest.approx({letter: np.mean(gain) for letter, gain in gains.items()}, abs=1e-12)
    assert sum(found.values()) == pytest.approx(scores["ABCD"] - empty, abs=1e-12)


def test_modality_that_adds_nothing_gets_nothing_and_equals_get_the_same():
    worth = {subset: 0.5 + 0.2 * ("A" in subset) + 0.2 * ("B" in subset) for subset in subsets("ABC")}
    assert shapley(worth, "ABC", 0.5) == pytest.approx({"A": 0.2, "B": 0.2, "C": 0.0})


@pytest.mark.parametrize("absent", ["A", "AB"])
def test_shapley_needs_every_combination_and_the_floor(absent):
    scores = {"A": 0.6, "B": 0.7, "AB": 0.9}
    assert all(math.isnan(value) for value in shapley({k: v for k, v in scores.items() if k != absent}, "AB", 0.5).values())
    assert all(math.isnan(value) for value in shapley(scores, "AB", math.nan).values())


def made(method, seed, hits, metric="accuracy", rules=RULES):
    """A record whose predictions get `hits[rule]` of 20 rows right."""
    trial = replace(TRIAL, method=method, seed=seed, preset="default" if method == "constant" else "paper", evaluations=tuple(rules))
    target, rng = np.arange(ROWS) % 2, np.random.default_rng(seed)

    def scores(count):
        right = rng.permutation(ROWS) < count
        return np.where((np.eye(2)[target] == 1) == right[:, None], 0.8, 0.2).astype(np.float32)

    found = {rule: scores(hits[rule]) for rule in rules}
    values = {rule: hits[rule] / ROWS if metric == "accuracy" else 1 - hits[rule] / ROWS for rule in rules}
    facts = Facts(evaluations={rule: Evaluated({metric: values[rule]}, missing=0.1, mask="m", histogram=[1, 1]) for rule in rules})
    main = values[rules[0]]
    arrays = Predictions(np.array([f"r{i}" for i in range(ROWS)]), target, found[rules[0]], found)
    return Record(trial, "done", None, {metric: main}, {}, facts), arrays


HITS = dict(zip(RULES, (18, 16, 12, 14, 12, 18), strict=True))
FLOOR = dict.fromkeys(RULES, 10)


def surface(pairs, metric="accuracy", labels=("muse", "constant")):
    records = [record for record, _ in pairs]
    return surface_of(metric, "NE", labels, records, {record.trial.id: arrays for record, arrays in pairs})


def both(metric="accuracy"):
    more = {rule: hits - 2 * (rule == "mcar(0.5)") for rule, hits in HITS.items()}
    floor = [made("constant", seed, FLOOR, metric) for seed in (0, 1)]
    return [made("muse", 0, HITS, metric), made("muse", 1, more, metric), *floor]


def test_surface_is_the_mean_over_seeds_and_its_reductions():
    found = surface(both())
    row = found.rows[0]
    assert (found.rules, found.rates, found.combinations, found.floor) == (RULES, (0.0, 0.3, 0.5), ("N", "E", "NE"), 0.5)
    assert row.scores == pytest.approx(
        {"mcar(0)": 0.9, "mcar(0.3)": 0.8, "mcar(0.5)": 0.55, "fixed(N)": 0.7, "fixed(E)": 0.6, "fixed(NE)": 0.9}
    )
    assert row.sds["mcar(0.5)"] == pytest.approx(np.std([0.6, 0.5], ddof=1))
    assert row.area == pytest.approx((0.3 * 0.85 + 0.2 * 0.675) / 0.5)
    assert (row.noise_drop, row.noise_retention) == pytest.approx((0.35, 0.05 / 0.4))
    assert (row.worst, row.worst_score) == ("E", pytest.approx(0.6))
    assert (row.drop, row.retention) == pytest.approx((0.3, 0.1 / 0.4))
    assert row.shapley == pytest.approx({"N": 0.25, "E": 0.15})
    assert sum(row.shapley.values()) == pytest.approx(row.scores["fixed(NE)"] - found.floor)


def test_floor_has_nothing_to_lose():
    row = surface(both()).rows[1]
    assert (row.noise_drop, row.drop) == (0, 0)
    assert math.isnan(row.retention)
    assert row.shapley == pytest.approx({"N": 0, "E": 0})


def test_interval_of_the_area_is_the_crossed_one_of_per_sample_areas():
    pairs = both()[:2]
    steps = (0.3, 0.2)
    values, areas = [], []
    for record, arrays in pairs:
        level = [pseudo_values("accuracy", arrays.target, arrays.evaluations[rule]) for rule in RULES[:3]]
        values.append((steps[0] * (level[0] + level[1]) / 2 + steps[1] * (level[1] + level[2]) / 2) / 0.5)
        score = [record.facts.evaluations[rule].metrics["accuracy"] for rule in RULES[:3]]
        areas.append((steps[0] * (score[0] + score[1]) / 2 + steps[1] * (score[1] + score[2]) / 2) / 0.5)
    assert surface(both()).rows[0].area_interval == pytest.approx(crossed_interval(np.array(values), np.array(areas)))


def test_metric_where_lower_is_better_loses_in_the_same_direction():
    row = surface(both("brier"), "brier").rows[0]
    assert row.scores["fixed(E)"] == pytest.approx(0.4)
    assert (row.worst, row.worst_score) == ("E", pytest.approx(0.4))
    assert (row.drop, row.noise_drop) == pytest.approx((0.3, 0.35))
    assert row.shapley == pytest.approx({"N": 0.25, "E": 0.15})
    assert row.area == pytest.approx(1 - (0.3 * 0.85 + 0.2 * 0.675) / 0.5)


def test_method_with_a_missing_point_has_no_reduction_that_needs_it():
    record, arrays = made("muse", 0, HITS)
    facts = {rule: found for rule, found in record.facts.evaluations.items() if rule not in ("mcar(0.3)", "fixed(N)")}
    gap = (replace(record, facts=Facts(evaluations=facts)), arrays)
    row = surface([gap, made("constant", 0, FLOOR)]).rows[0]
    assert math.isnan(row.area)
    assert row.worst is None
    assert all(math.isnan(value) for value in row.shapley.values())
    assert row.noise_drop == pytest.approx(0.3)


def test_without_a_floor_there_is_neither_retention_nor_contribution():
    row = surface([made("muse", 0, HITS)]).rows[0]
    assert row.drop == pytest.approx(0.3)
    assert math.isnan(row.retention)
    assert all(math.isnan(value) for value in row.shapley.values())


def test_one_seed_has_neither_spread_nor_interval():
    row = surface([made("muse", 0, HITS), made("constant", 0, FLOOR)]).rows[0]
    assert math.isnan(row.sds["mcar(0)"])
    assert math.isnan(row.area_interval[0])
    assert row.retention == pytest.approx(0.25)


def test_records_without_evaluations_have_no_surface():
    record, arrays = made("muse", 0, HITS)
    plain = Record(replace(record.trial, evaluations=()), "done", None, {"accuracy": 0.5})
    assert surface([(plain, arrays)]) is None
    assert [row.label for row in surface([(plain, arrays), made("constant", 0, FLOOR)]).rows] == ["constant"]


# ---- more is worse


def falling(seeds=5, missing=0.0, rows=40, observed=None):
    """Both modalities together are right on fewer rows than each alone; every seed on others."""
    target, pairs = np.arange(rows) % 2, []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        right = {"fixed(N)": rng.random(rows) < 0.9, "fixed(E)": rng.random(rows) < 0.9, "fixed(NE)": rng.random(rows) < 0.4}
        found = {rule: np.where(np.eye(2)[target] == own[:, None], 0.8, 0.2) for rule, own in right.items()}
        facts = Facts(evaluations={rule: Evaluated({"accuracy": own.mean()}, missing=missing) for rule, own in right.items()})
        trial = replace(TRIAL, method="muse", seed=seed, evaluations=tuple(right))
        ids = np.array([f"r{i}" for i in range(rows)])
        arrays = Predictions(ids, target, found["fixed(NE)"], found, observed=observed)
        pairs.append((Record(trial, "done", None, {"accuracy": 0.4}, {}, facts), arrays))
    return pairs


def test_surface_says_where_more_is_worse():
    row = surface(falling()).rows[0]
    assert row.more_is_worse.marked == (("N", "NE"), ("E", "NE"))
    assert row.more_is_worse.harmful == ("N", "E")
    assert more_text(row) == "2 of 2 (raw 100 %)"
    assert more_text(surface(falling(seeds=2)).rows[0]) == "n/a (needs 5 seeds for 2 pairs; raw 100 %)"
    assert surface(falling()).knows_more


def test_it_is_not_told_where_test_samples_may_lack_modalities_unseen():
    row = surface(falling(missing=0.1)).rows[0]
    assert row.more_is_worse is None
    assert row.more_reason == "needs what test samples have by nature, which records of before lack; run it again"
    assert more_text(row) == "n/a"
    assert not surface(falling(missing=0.1)).knows_more


def test_samples_that_lack_a_modality_are_no_pair_of_it():
    observed = np.ones((40, 2), dtype=bool)
    observed[:5, 1] = False
    row = surface(falling(missing=0.1, observed=observed)).rows[0]
    assert [pair.rows for pair in row.more_is_worse.found] == [35, 35]


def test_it_needs_every_combination():
    pairs = [(replace(record, trial=replace(record.trial, evaluations=("fixed(N)", "fixed(NE)"))), arrays) for record, arrays in falling()]
    assert surface(pairs).rows[0].more_reason == "needs scores under every combination of two modalities or more"


def test_a_method_that_ignores_its_inputs_has_a_dash():
    same = [(record, replace(arrays, evaluations=dict.fromkeys(arrays.evaluations, arrays.outputs))) for record, arrays in falling()]
    assert more_text(surface(same).rows[0]) == "-"

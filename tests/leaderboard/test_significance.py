"""bench/leaderboard/significance.py: one family a question, its size known, no mark that the data cannot carry."""

import math

import numpy as np
import pytest

from bench import stats
from bench.leaderboard.significance import Family, across, family_of, verdict
from bench.stats import Estimates
from bench.stats.levels import ALPHA, Levels
from bench.stats.pairs import Estimate

METHODS = ["MoE-Retriever", "mmFormer", "ShaSpec", "M3Care", "MUSE", "FuseMoE"]


def paper_table_4(printed):
    """Accuracy (12, 6) under noise, and the dataset of each setting."""
    cells = [cell for cell in printed if cell.table == "4"]
    keys = list(dict.fromkeys(cell.key for cell in cells))
    means = {(cell.key, cell.method): cell.mean for cell in cells}
    return np.array([[means[key, method] for method in METHODS] for key in keys]), [key[1] for key in keys]


def over(scores, datasets=None, floor=None, complete=None, withheld=""):
    n = len(scores)
    labels = [f"m{i}" for i in range(np.shape(scores)[1])]
    settings = [f"s{i}" for i in range(n)]
    floor = np.full(n, np.nan) if floor is None else floor
    complete = np.ones(n, dtype=bool) if complete is None else complete
    return across(
        "real", settings, datasets or ["d"] * n, labels, np.asarray(scores, float), floor, complete, levels=Levels(), withheld=withheld
    )


def test_rank_sets_of_the_papers_table_4_are_the_known_ones(source):
    """Worked out apart from this code: statistics of all pairs over 12 settings, Holm over 15."""
    scores, datasets = paper_table_4(source("moe_retriever_tables").cells())
    found = across("real", [str(i) for i in range(12)], datasets, METHODS, scores, np.full(12, np.nan), np.ones(12, bool), levels=Levels())
    places = {label: (place.low, place.high, place.letters) for label, place in found.places.items()}
    assert places == {
        "MoE-Retriever": (1, 2, "a"), "ShaSpec": (2, 5, "b"), "M3Care": (1, 6, "abc"), "mmFormer": (2, 5, "b"), "FuseMoE": (2, 6, "bc"),
        "MUSE": (4, 6, "c"),
    }  # fmt: skip
    assert found.over_settings.size == 15
    assert not any(place.best for place in found.places.values())
    assert found.over_datasets.reason == "needs two datasets"


def test_few_settings_give_no_places_and_say_what_is_needed():
    found = over([[0.9, 0.5, 0.1]] * 5)
    assert found.places == {}
    assert found.over_settings.reason == "needs n >= 6"


def test_methods_that_friedman_does_not_tell_apart_share_everything():
    found = over(np.random.default_rng(3).normal(size=(8, 4)))
    assert found.over_settings.gate > ALPHA
    assert {(place.low, place.high, place.letters) for place in found.places.values()} == {(1, 4, "a")}


def test_failed_method_takes_the_lower_of_floor_and_worst_score():
    scores = np.column_stack([np.linspace(0.8, 0.9, 8), np.linspace(0.6, 0.7, 8)])
    scores[0, 0] = np.nan
    found = over(scores, floor=np.full(8, 0.5))
    assert found.filled == ("m0",)
    assert found.mean_ranks.tolist() == [9 / 8, 15 / 8]
    assert found.over_settings.tests[0].p == stats.signed_rank(np.append(0.5 - 0.6, scores[1:, 0] - scores[1:, 1])).p


def test_complete_settings_alone_are_the_sensitivity_line():
    scores = np.column_stack([np.linspace(0.8, 0.9, 8), np.linspace(0.6, 0.7, 8)])
    complete = np.arange(8) != 3
    found = over(scores, complete=complete)
    assert len(found.complete.settings) == 7
    assert found.complete.over_settings.tests[0].p == stats.minimum_p(7)
    assert over(scores).complete is None


def test_datasets_count_once_each():
    rng = np.random.default_rng(0)
    scores = np.column_stack([0.9 + 0.01 * rng.normal(size=12), 0.5 + 0.01 * rng.normal(size=12)])
    found = over(scores, datasets=["a", "b", "c", "d"] * 3)
    assert (found.over_datasets.n, found.minimum_p) == (4, 0.125)
    assert found.sign_flips.reason.startswith("needs n >= 6")
    assert found.over_datasets.tests[0].p < 0.01
    means = np.array([scores[i::4].mean(0) for i in range(4)])
    assert found.over_datasets.tests[0].p == pytest.approx(stats.resampled_t(means[:, 0] - means[:, 1]).p)


def test_withheld_tests_leave_no_mark():
    found = over(np.column_stack([np.linspace(0.8, 0.9, 8), np.linspace(0.6, 0.7, 8)]), withheld="records come from 2 commits")
    assert found.places == {}
    assert all(family.tests == () and family.reason == "records come from 2 commits" for family in found.families)


def test_family_reads_from_both_sides():
    found = family_of("f", "test samples", 9, ("a", "b"), Estimates.of([Estimate("t", 0.2, 0.05, 10)]), Levels())
    there, back = found.between("a", "b"), found.between("b", "a")
    assert (there.difference, there.low, there.verdict) == (-back.difference, -back.high, "better*")
    assert (back.p, back.verdict) == (there.p, "worse*")
    assert found.between("a", "z") is None


def disagreements(tests, rope):
    """Tests whose verdict their interval contradicts. An end that is not known contradicts nothing."""
    found = []
    for test in tests:
        word, surely = test.verdict.rstrip("*"), test.verdict.endswith("*")
        low, high = test.low, test.high
        right = {
            "better": low > 0 and (not surely or low > rope),
            "worse": high < 0 and (not surely or high < -rope),
            "undecided": not low > 0 and not high < 0,
            "equivalent": not test.within[0] < -rope and not test.within[1] > rope,
        }[word]
        if not right or low > high:
            found.append(test)
    return found


@pytest.mark.parametrize("correction", ["Holm", "Benjamini-Hochberg"])
@pytest.mark.parametrize("seed", range(40))
def test_verdict_and_interval_never_disagree(seed, correction):
    """Over families of every size, with differences around where claims begin, too small to matter, untested, and without variance."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 9))
    labels = [f"m{i}" for i in range(k)]
    pairs = k * (k - 1) // 2
    error = rng.choice([0.002, 0.01, 0.05], pairs)
    difference = error * rng.normal(0, 3.0, pairs)
    freedom = rng.choice([2.0, 9.0, 40.0, np.inf], pairs)
    odd = rng.random(pairs)
    error = np.where(odd < 0.05, np.nan, np.where(odd < 0.1, 0.0, error))
    difference = np.where((odd > 0.08) & (odd < 0.1), 0.0, difference)
    found = family_of("f", "test samples", 9, labels, Estimates("t", difference, error, freedom, ("",) * pairs), Levels(), correction)
    assert disagreements(found.tests, 0.01) == []
    assert disagreements([test.turned() for test in found.tests], 0.01) == []
    assert all(math.isnan(test.low) and math.isnan(test.high) for test in found.tests if math.isnan(test.p))


@pytest.mark.parametrize("seed", range(25))
def test_verdict_and_interval_never_disagree_over_settings(seed):
    """Also with ties and zeros, where the interval of the signed-rank test is no exact inverse of its p."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(5, 21)), int(rng.integers(2, 7))
    scores = 0.6 + 0.03 * rng.normal(size=(n, k)) + np.linspace(0, 0.06 * rng.random(), k)
    scores = scores if seed % 2 else np.round(scores, 2)
    found = over(scores, datasets=[f"d{i % 4}" for i in range(n)])
    for family in found.families:
        assert disagreements(family.tests, 0.01) == []


def test_unadjusted_interval_is_kept_under_its_own_name():
    estimates = [Estimate("t", 0.05, 0.02, 20), Estimate("t", 0.01, 0.02, 20), Estimate("t", 0.02, 0.02, 20)]
    test = family_of("f", "test samples", 9, ("a", "b", "c"), Estimates.of(estimates), Levels()).tests[0]
    assert test.alone == pytest.approx(estimates[0].interval())
    assert test.alone[0] > 0 > test.low
    assert test.verdict == "undecided"
    assert test.turned().alone == pytest.approx((-test.alone[1], -test.alone[0]))


def test_tests_without_an_answer_do_not_count_into_the_family():
    estimates = [Estimate("t", 0.1, 0.01, 10), Estimate("t", 0.1, math.nan, math.nan, {}, "why"), Estimate("t", 0.1, 0.01, 10)]
    found = family_of("f", "test samples", 9, ("a", "b", "c"), Estimates.of(estimates), Levels())
    assert found.size == 2
    assert found.tests[0].p_adjusted == pytest.approx(2 * found.tests[0].p)
    assert found.tests[1].reason == "why"
    assert found.places([1, 2, 3])["a"].best is False


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((0.05, 0.02, 0.08, 0.001, 0.9), "better*"),
        ((0.05, 0.005, 0.095, 0.03, 0.9), "better"),
        ((-0.05, -0.08, -0.02, 0.001, 0.9), "worse*"),
        ((0.05, -0.01, 0.11, 0.1, 0.9), "undecided"),
        ((0.004, 0.001, 0.007, 0.01, 0.02), "equivalent"),
        ((0.05, 0.02, 0.08, math.nan, math.nan), "undecided"),
    ],
    ids=["beyond the margin", "across the margin", "worse", "undecided", "real but too small", "no test"],
)
def test_verdict_follows_interval_and_adjusted_p(numbers, expected):
    assert verdict(Levels(), *numbers) == expected


def test_tests_name_what_they_rest_on_unless_every_seed_has_its_own():
    assert Family("x", "t", "test samples", 1, ("a", "b")).over == "0 pairs, 1 test sample"
    assert Family("x", "t", "settings", 18, ("a", "b")).over == "0 pairs, 18 settings"
    assert Family("x", "t", "test samples", 0, ("a", "b")).over == "0 pairs"

"""bench/stats/pairs.py: two methods in one setting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from bench import stats
from bench.errors import UsageError
from bench.stats import crossed_interval, crossed_test, paired_crossed_test


def runs(seeds=4, n=30, chance=0.7, seed=0):
    """Right or wrong of each seed and sample, samples of unlike difficulty. Shapes: (S, N)."""
    rng = np.random.default_rng(seed)
    return (rng.random((seeds, n)) < np.clip(chance + rng.normal(0, 0.2, n), 0, 1)).astype(float)


def components(values):
    """Seed variance and residual mean square, written out sample by sample."""
    seeds, n = values.shape
    squares = [(values[s, i] - values[s].mean() - values[:, i].mean() + values.mean()) ** 2 for s in range(seeds) for i in range(n)]
    return values.mean(1).var(ddof=1) / seeds, sum(squares) / ((seeds - 1) * (n - 1))


def test_interval_equals_the_formula_written_out():
    values = runs()
    seeds, n = values.shape
    v_seed, residual = components(values)
    v_sample = max(values.mean(0).var(ddof=1) / n - residual / (seeds * n), 0)
    low, high = crossed_interval(values, values.mean(1))
    assert (low + high) / 2 == pytest.approx(values.mean())
    freedom = (v_seed + v_sample) ** 2 / (v_seed**2 / (seeds - 1))
    assert high - low == pytest.approx(2 * t.ppf(0.975, freedom) * np.sqrt(v_seed + v_sample))


def test_seeds_that_agree_leave_the_sampling_interval():
    one = (np.arange(50) < 40).astype(float)
    low, high = crossed_interval(np.tile(one, (3, 1)), np.full(3, 0.8))
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(one.var(ddof=1) / 50))


def test_one_seed_or_nan_has_no_interval():
    assert np.isnan(crossed_interval(np.ones((1, 5)), np.ones(1))).all()
    assert np.isnan(crossed_interval(np.full((3, 5), np.nan), np.full(3, np.nan))).all()


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    seeds, n, hits = 5, 200, 0
    for _ in range(400):
        level = rng.normal(0, 0.02, seeds)[:, None] + rng.normal(0, 0.3, n) + 0.7
        values = level + rng.normal(0, 0.2, (seeds, n))
        low, high = crossed_interval(values, values.mean(1))
        hits += low <= 0.7 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_crossed_test_equals_the_formula_written_out():
    a, b = runs(3, 40, 0.8, 1), runs(5, 40, 0.6, 2)
    (v_a, residual_a), (v_b, residual_b) = components(a), components(b)
    v_sample = (a.mean(0) - b.mean(0)).var(ddof=1) / 40 - residual_a / (3 * 40) - residual_b / (5 * 40)
    variance = v_a + v_b + max(v_sample, 0)
    found = crossed_test(a, b)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.error == pytest.approx(math.sqrt(variance))
    assert found.freedom == pytest.approx(variance**2 / (v_a**2 / 2 + v_b**2 / 4))
    assert found.p == pytest.approx(2 * t.sf(abs(found.difference) / found.error, found.freedom))


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 6))
def test_swapping_the_methods_turns_the_sign_and_keeps_p(seed, s_a, s_b):
    a, b = runs(s_a, 20, 0.7, seed), runs(s_b, 20, 0.6, seed + 1)
    forth, back = crossed_test(a, b), crossed_test(b, a)
    assert back.difference == pytest.approx(-forth.difference, abs=1e-12)
    assert back.p == pytest.approx(forth.p, nan_ok=True)
    assert back.interval() == pytest.approx((-forth.interval()[1], -forth.interval()[0]), abs=1e-12)
    assert back.equivalence(0.1) == pytest.approx(forth.equivalence(0.1), nan_ok=True)


@given(st.integers(0, 1000))
def test_order_of_seeds_and_samples_does_not_matter(seed):
    a, b = runs(3, 25, 0.7, seed), runs(4, 25, 0.6, seed + 1)
    rng = np.random.default_rng(seed)
    order = rng.permutation(25)
    shuffled = crossed_test(rng.permutation(a)[:, order], rng.permutation(b)[:, order])
    assert shuffled.p == pytest.approx(crossed_test(a, b).p, nan_ok=True)
    paired, again = rng.permutation(4), rng.normal(size=(4, 25))
    assert paired_crossed_test(again[paired][:, order]).p == pytest.approx(paired_crossed_test(again).p)


def test_larger_difference_has_smaller_p():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 40)), rng.normal(size=(5, 40))
    p = [crossed_test(a - (a.mean() - b.mean()) + shift, b).p for shift in (0, 0.1, 0.2, 0.4)]
    assert p[0] == pytest.approx(1)
    assert sorted(p, reverse=True) == p


def test_more_seeds_or_samples_of_the_same_kind_give_a_smaller_error():
    rng = np.random.default_rng(0)

    def error(seeds, n):
        draws = [crossed_test(*(rng.normal(size=(2, seeds, n)) + rng.normal(size=(2, 1, n)))).error for _ in range(50)]
        return np.mean(draws)

    assert error(3, 50) > error(10, 50) > error(10, 200)


@pytest.mark.parametrize(("s_a", "s_b"), [(1, 3), (3, 1), (1, 1)])
def test_one_seed_is_refused_with_its_reason(s_a, s_b):
    found = crossed_test(runs(s_a), runs(s_b))
    assert math.isnan(found.p)
    assert np.isnan(found.interval()).all()
    assert found.reason == f"needs 2 seeds of each method, got {s_a} and {s_b}"
    assert found.verdict(0.01) == "undecided"


def test_identical_methods_do_not_differ_and_are_equivalent():
    same = np.tile(runs(1), (3, 1))
    found = crossed_test(same, same)
    assert (found.p, found.error, found.interval(), found.verdict(0.01)) == (1, 0, (0, 0), "equivalent")


def test_difference_without_any_variance_has_no_p_and_says_so():
    found = crossed_test(np.ones((3, 10)), np.zeros((3, 10)))
    assert math.isnan(found.p)
    assert found.reason == "zero_variance"
    assert found.verdict(0.01) == "undecided"
    assert math.isnan(found.regions(0.01).better)


def test_constant_predictions_of_one_method_are_tested_all_the_same():
    target = np.arange(40) % 2
    constant = np.tile(stats.pseudo_values("accuracy", target, np.tile([0.6, 0.4], (40, 1))), (3, 1))
    found = crossed_test(runs(3, 40, 0.9), constant)
    assert found.parts["seed_b"] == 0
    assert 0 < found.p < 0.05


def test_values_that_are_not_defined_are_refused_with_their_reason():
    found = crossed_test(np.full((3, 10), np.nan), runs(3, 10), np.full(3, np.nan), None)
    assert found.reason == "needs a score without any one of the test samples"
    assert crossed_test(runs(3, 1), runs(3, 1)).reason == "needs 2 test samples"
    assert paired_crossed_test(np.full((3, 10), np.nan)).reason == "needs a score without any one of the test samples"
    assert paired_crossed_test(runs(1)).reason == "needs 2 seeds, got 1"


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="same test samples, got 30 and 20"):
        crossed_test(runs(), runs(n=20))
    with pytest.raises(UsageError, match="one score for each of 4 seeds"):
        crossed_test(runs(), runs(), np.ones(3))
    with pytest.raises(UsageError, match=r"seeds x samples \(S, N\), got shape \(5,\)"):
        crossed_test(np.ones(5), runs())


def test_noise_auc_test_of_one_shape_at_every_level_is_the_crossed_test():
    a, b = runs(3), runs(3, seed=1)
    levels = np.array([0.1, 0.3, 0.7])
    stacked = [np.stack([values] * 3) for values in (a, b, a.mean(1), b.mean(1))]
    found = stats.noise_auc_test(levels, *stacked)
    assert found.p == pytest.approx(crossed_test(a, b).p)
    assert found.difference == pytest.approx(crossed_test(a, b).difference)


@pytest.mark.parametrize(
    ("difference", "error", "p", "verdict"),
    [
        (0.05, 0.01, None, "better"),
        (-0.05, 0.01, None, "worse"),
        (0.05, 0.01, 0.2, "undecided"),
        (0.0, 0.002, None, "equivalent"),
        (0.006, 0.001, None, "equivalent"),
        (0.0, 0.02, None, "undecided"),
    ],
    ids=["better", "worse", "lost by adjustment", "equivalent", "real but too small to matter", "undecided"],
)
def test_verdict(difference, error, p, verdict):
    assert stats.Estimate("made", difference, error).verdict(0.01, p) == verdict


@given(st.floats(-0.05, 0.05), st.floats(0.001, 0.05), st.floats(2, 100))
def test_equivalent_if_and_only_if_the_90_percent_interval_is_inside(difference, error, freedom):
    estimate = stats.Estimate("made", difference, error, freedom)
    low, high = estimate.interval(0.9)
    assert (estimate.equivalence(0.02) <= 0.05) == (max(-low, high) <= 0.02)


@given(st.floats(-0.05, 0.05), st.floats(0.001, 0.05), st.floats(2, 100))
def test_95_percent_interval_holds_zero_if_and_only_if_p_is_above_5_percent(difference, error, freedom):
    estimate = stats.Estimate("made", difference, error, freedom)
    low, high = estimate.interval()
    assert (low <= 0 <= high) == (estimate.p >= 0.05)
    assert sum(estimate.regions(0.01)) == pytest.approx(1)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_falls_with_imbalance(b, c):
    p = stats.mcnemar(b, c)
    assert p == stats.mcnemar(c, b)
    assert 0 < p <= 1
    assert stats.mcnemar(b + c, 0) <= p


def test_mcnemar_median_is_over_all_pairs_of_seeds():
    a, b = runs(3).astype(bool), runs(4, seed=1).astype(bool)
    slow = [stats.mcnemar((x & ~y).sum(), (~x & y).sum()) for x in a for y in b]
    assert stats.mcnemar_median(a, b) == pytest.approx(np.median(slow))


def test_delong_swaps_and_ignores_order():
    rng = np.random.default_rng(0)
    target, a, b = np.arange(60) % 2 == 0, rng.normal(size=60).round(1), rng.normal(size=60).round(1)
    found, order = stats.delong(target, a, b), rng.permutation(60)
    assert stats.delong(target, b, a).p == pytest.approx(found.p)
    assert stats.delong(target[order], a[order], b[order]).p == pytest.approx(found.p)


def test_delong_refuses_one_class_and_nan():
    with pytest.raises(UsageError, match="got 0 positive and 5 negative"):
        stats.delong(np.zeros(5), np.ones(5), np.ones(5))
    with pytest.raises(UsageError, match="finite scores"):
        stats.delong(np.array([0, 0, 1, 1]), np.ones(4), np.array([1, np.nan, 1, 1]))


def test_delong_of_perfect_and_constant_scores_has_no_p():
    found = stats.delong(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]), np.full(4, 0.5))
    assert (found.difference, found.error, found.reason) == (0.5, 0, "zero_variance")
    assert math.isnan(found.p)


def test_welch_without_spread():
    assert stats.welch(1, 0, 3, 1, 0, 3).p == 1
    found = stats.welch(2, 0, 3, 1, 0, 3)
    assert math.isnan(found.p)
    assert found.reason == "zero_variance"
    with pytest.raises(UsageError, match="n = 1 and 3"):
        stats.welch(2, 0, 1, 1, 0, 3)


def test_correction_for_overlapping_training_parts_raises_p():
    differences = np.array([0.02, 0.01, 0.03, 0.005, 0.015])
    assert stats.resampled_t(differences, 0.25).p > stats.resampled_t(differences).p
    assert stats.resampled_t(differences[:1]).reason == "needs 2 differences, got 1"
    with pytest.raises(UsageError, match="finite"):
        stats.resampled_t(np.array([0.1, np.nan]))


def test_seed_permutation_at_random_comes_near_the_exact_answer():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=6) + 1, rng.normal(size=6)
    exact = stats.seed_permutation(a, b, rng)
    assert stats.seed_permutation(a, b, rng, draws=900) == pytest.approx(exact, abs=0.04)
    assert stats.seed_permutation(b, a, rng) == exact
    with pytest.raises(UsageError, match="1 NaN"):
        stats.seed_permutation(a, np.array([1, np.nan]), rng)

"""bench/stats.py: pseudo-values, intervals and ranks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from bench.metrics import METRICS
from bench.stats import crossed_interval, pseudo_values, ranks


def predictions(classes, n=40, seed=0):
    rng = np.random.default_rng(seed)
    target = np.arange(n) % classes
    scores = np.round(rng.dirichlet(np.ones(classes), n) + 0.7 * np.eye(classes)[target], 1)  # rounded: ties occur
    return target, scores / scores.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", METRICS)
def test_pseudo_values_equal_leave_one_out(metric, classes):
    target, scores = predictions(classes)
    n, whole = len(target), METRICS[metric](target, scores)
    slow = [n * whole - (n - 1) * METRICS[metric](np.delete(target, i), np.delete(scores, i, axis=0)) for i in range(n)]
    assert np.allclose(pseudo_values(metric, target, scores), slow, atol=1e-9)


def test_interval_equals_the_formula_written_out():
    rng = np.random.default_rng(0)
    values = (rng.random((4, 30)) < 0.7).astype(float)
    seeds, n = values.shape
    scores = values.mean(1)
    mse = sum((values[s, i] - scores[s] - values[:, i].mean() + values.mean()) ** 2 for s in range(seeds) for i in range(n)) / (
        (seeds - 1) * (n - 1)
    )
    v_seed = scores.var(ddof=1) / seeds
    v_sample = max(values.mean(0).var(ddof=1) / n - mse / (seeds * n), 0)
    low, high = crossed_interval(values, scores)
    assert (low + high) / 2 == pytest.approx(scores.mean())
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


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(0, 1), min_size=1))
def test_ranks_sum_as_they_must_and_follow_direction(scores):
    up, down = ranks(scores, "accuracy"), ranks(scores, "brier")
    n = len(scores)
    assert sum(up.values()) == pytest.approx(n * (n + 1) / 2)
    assert all(up[name] + down[name] == pytest.approx(n + 1) for name in scores)


def test_nan_ranks_last_and_ties_share():
    assert ranks({"a": 0.5, "b": float("nan"), "c": 0.5, "d": 0.9}, "accuracy") == {"a": 2.5, "b": 4.0, "c": 2.5, "d": 1.0}

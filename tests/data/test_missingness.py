"""bench/data/missingness.py: Little's test against R, its formula and its level; how well a mask predicts, by construction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from bench.data.missingness import indicators, little_test, mask_score, normal_fit, summaries
from bench.datasets.base import Modality, Samples, Schema


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("bench.data.missingness.RESAMPLES", 200)


def normal(n, seed=0):
    """Three correlated normal variables."""
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal([1, -2, 0], [[1, 0.6, 0.2], [0.6, 2, 0.4], [0.2, 0.4, 0.5]], n)


def test_little_equals_naniar_on_the_air_of_new_york():
    """Oracle: R's naniar::mcar_test(airquality), daily measurements of May to September 1973 (as in R's datasets::airquality)."""
    values = np.genfromtxt(Path(__file__).parent / "airquality.csv", delimiter=",", skip_header=1)
    found = little_test(values)
    assert values.shape == (153, 6)
    assert (found.df, found.patterns) == (14, 4)
    assert found.chi2 == pytest.approx(35.1061288689702, abs=1e-3)
    assert found.p == pytest.approx(0.00141778113856683, rel=1e-3)


def test_little_equals_its_closed_form_for_one_gappy_variable():
    """One variable always there, the other in the first rows alone: maximum likelihood is a regression, and the statistic has one term
    a pattern."""
    values = normal(60)[:, :2]
    values[40:, 1] = np.nan
    x, seen = values[:, 0], values[:40]
    slope = np.cov(seen.T, ddof=0)[0, 1] / seen[:, 0].var()
    mean = np.array([x.mean(), seen[:, 1].mean() + slope * (x.mean() - seen[:, 0].mean())])
    rest = (seen[:, 1] - seen[:, 1].mean() - slope * (seen[:, 0] - seen[:, 0].mean())).var()
    covariance = np.array([[x.var(), slope * x.var()], [slope * x.var(), rest + slope**2 * x.var()]])
    gap = seen.mean(0) - mean
    expected = 40 * gap @ np.linalg.solve(covariance, gap) + 20 * (x[40:].mean() - mean[0]) ** 2 / x.var()
    found = little_test(values)
    assert found.chi2 == pytest.approx(expected, rel=1e-5)
    assert found.df == 1
    assert found.p == pytest.approx(chi2.sf(expected, 1), rel=1e-4)


@pytest.mark.slow
def test_little_keeps_its_level_under_random_gaps():
    p = []
    for seed in range(150):
        values = normal(200, seed)
        values[np.random.default_rng(seed + 1000).random(values.shape) < 0.25] = np.nan
        p.append(little_test(values).p)
    assert kstest(p, "uniform").pvalue > 0.01


def test_little_rejects_gaps_that_follow_a_value():
    values = normal(300)
    values[values[:, 0] > 1, 1] = np.nan
    assert little_test(values).p < 1e-6


def test_little_counts_no_empty_row_and_no_empty_variable():
    values = normal(100)
    values[:30, 1] = np.nan
    wider = np.column_stack([np.vstack([values, np.full((5, 3), np.nan)]), np.full(105, np.nan)])
    assert little_test(wider) == little_test(values)


@pytest.mark.parametrize("values", [normal(20), normal(20)[:, :1], np.full((5, 2), np.nan)], ids=["complete", "one-variable", "empty"])
def test_little_has_nothing_to_test(values):
    assert little_test(values) is None


def test_variables_that_repeat_each_other_are_no_obstacle():
    values = normal(100)[:, [0, 1, 0]]
    values[:40, 1] = np.nan
    found = little_test(values)
    assert np.isfinite(found.chi2)


def test_complete_data_give_the_plain_moments():
    values = normal(50)
    mean, covariance = normal_fit([(np.ones(3, dtype=bool), values)], 3)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(covariance, np.cov(values.T, ddof=0), atol=1e-12)


def test_summaries_are_missing_with_their_modality(make_samples):
    samples = make_samples(n=60)
    samples.values["alpha"][:, 2] = np.where(samples.observed[:, 0], 7, np.nan)  # a value that never varies
    samples.values["beta"][np.flatnonzero(samples.observed[:, 1])[:3], 1] = np.nan  # single values that are missing
    found = summaries(samples)
    assert found.shape == (60, 9)
    assert np.array_equal(np.isnan(found), np.repeat(~samples.observed, 3, axis=1))
    np.testing.assert_allclose(np.nanstd(found, axis=0), 1)


def test_modality_without_values_has_no_summary():
    schema = Schema((Modality("a", "A", "vector", (1,)), Modality("b", "B", "vector", (2,))), ("no", "yes"))
    values = {"a": np.full((4, 1), np.nan, dtype=np.float32), "b": np.zeros((4, 2), dtype=np.float32)}
    samples = Samples(schema, values, np.array([[False, True]] * 4), np.array([0, 1, 0, 1]), np.array(list("pqrs")))
    assert summaries(samples).shape == (4, 0)


def test_indicators_tell_whole_modalities_from_single_values(make_samples):
    samples = make_samples(n=20, missing=0.0)
    samples.values["alpha"][:5, 1:3] = np.nan  # two columns with the same gaps count once
    hidden = np.zeros_like(samples.observed)
    hidden[8:10, 2] = True
    whole, single = indicators(samples.hide(hidden))
    assert np.array_equal(whole, hidden)
    assert single.shape == (20, 2)
    assert sorted(single.sum(0).tolist()) == [2, 5]


def test_mask_that_is_the_label_predicts_it(make_samples):
    samples = make_samples(n=80, classes=2, missing=0.0)
    missing = np.zeros_like(samples.observed)
    missing[:, 1] = samples.target == 1
    found = mask_score(samples, missing, False)
    assert (found.auroc, found.low, found.high) == (1.0, 1.0, 1.0)


def test_mask_that_says_nothing_is_at_chance(make_samples):
    samples = make_samples(n=600, classes=3, missing=0.0)
    missing = np.random.default_rng(1).random(samples.observed.shape) < 0.3
    found = mask_score(samples, missing, False)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.15
    assert found == mask_score(samples, missing, False)


def test_mask_that_tells_groups_apart_predicts_nothing_across_them(make_samples):
    """Rows of a group share label and mask; a new group's mask says nothing about its label."""
    samples = make_samples(n=300, classes=2, modalities=5, missing=0.0)
    groups = np.arange(300) % 30
    rng = np.random.default_rng(0)
    samples = replace(samples, groups=groups, target=rng.permutation(np.arange(30) % 2)[groups])
    missing = (rng.random((30, 5)) < 0.5)[groups]
    apart, together = mask_score(samples, missing, False), mask_score(samples, missing, True)
    assert apart.auroc > 0.6
    assert together.auroc < apart.auroc


def test_mask_that_never_varies_is_not_scored(make_samples):
    samples = make_samples(n=20, missing=0.0)
    assert mask_score(samples, ~samples.observed, False) is None

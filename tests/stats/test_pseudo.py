"""bench/stats/pseudo.py: closed forms equal leaving every sample out in turn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.stats import pseudo_values
from bench.stats.metrics import METRICS, metrics_of


def predictions(classes, n=40, seed=0, digits=1):
    """Targets that hold every class, and scores rounded so that ties occur."""
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(n) % classes)
    scores = np.round(rng.dirichlet(np.ones(classes), n) + 0.7 * np.eye(classes)[target], digits)
    return target, scores / scores.sum(1, keepdims=True)


def slow(metric, target, scores):
    n, whole = len(target), METRICS[metric].of(target, scores)
    return [n * whole - (n - 1) * METRICS[metric].of(np.delete(target, i), np.delete(scores, i, axis=0)) for i in range(n)]


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("metric", metrics_of("classes"))
def test_pseudo_values_equal_leave_one_out(metric, classes):
    target, scores = predictions(classes)
    assert np.allclose(pseudo_values(metric, target, scores), slow(metric, target, scores), atol=1e-9)


@pytest.mark.parametrize("metric", metrics_of("classes"))
@given(n=st.integers(6, 25), seed=st.integers(0, 10_000), digits=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_pseudo_values_equal_leave_one_out_with_any_ties(metric, n, seed, digits):
    target, scores = predictions(2, n, seed, digits)
    assert np.allclose(pseudo_values(metric, target, scores), slow(metric, target, scores), atol=1e-9)


@pytest.mark.parametrize("metric", ["accuracy", "brier", "auroc"])
def test_mean_of_pseudo_values_is_the_metric(metric):
    target, scores = predictions(3)
    assert pseudo_values(metric, target, scores).mean() == pytest.approx(METRICS[metric].of(target, scores), abs=1e-12)


@pytest.mark.parametrize("metric", metrics_of("classes"))
def test_order_of_samples_does_not_matter(metric):
    target, scores = predictions(3)
    order = np.random.default_rng(1).permutation(len(target))
    assert np.allclose(pseudo_values(metric, target[order], scores[order]), pseudo_values(metric, target, scores)[order])


def test_balanced_accuracy_without_the_last_sample_of_a_class_is_that_of_the_rest():
    target, scores = predictions(3)
    target = np.where(target == 2, 0, target)
    target[5] = 2
    assert np.allclose(pseudo_values("balanced_accuracy", target, scores), slow("balanced_accuracy", target, scores))


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
@pytest.mark.parametrize("of_class_1", [0, 1], ids=["one class", "one sample of a class"])
def test_class_that_would_be_gone_gives_nan(metric, of_class_1):
    target, scores = predictions(2)
    target = np.arange(len(target)) < of_class_1
    assert np.isnan(pseudo_values(metric, target.astype(int), scores)).all()


@pytest.mark.parametrize("metric", metrics_of("classes"))
def test_constant_predictions_have_finite_values(metric):
    target, _ = predictions(2)
    assert np.isfinite(pseudo_values(metric, target, np.tile([0.7, 0.3], (len(target), 1)))).all()


def test_scores_that_are_not_finite_are_refused():
    target, scores = predictions(2)
    scores[3] = np.nan
    with pytest.raises(UsageError, match="finite, got 1 of 40 rows"):
        pseudo_values("auroc", target, scores)

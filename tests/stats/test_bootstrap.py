"""bench/stats/bootstrap.py: sample counts, weighted scores, intervals."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from bench import stats
from bench.errors import UsageError
from bench.stats import sample_counts, weighted_scores
from bench.stats.bootstrap import BLOCK, STRATIFIED
from bench.stats.metrics import METRICS, metrics_of


def predictions(classes, seeds=3, n=40, seed=0):
    """Targets, and rounded scores so that ties occur. Shapes: (N,), (S, N, C)."""
    rng = np.random.default_rng(seed)
    target = np.arange(n) % classes
    scores = np.round(rng.dirichlet(np.ones(classes), (seeds, n)) + 0.7 * np.eye(classes)[target], 1)
    return target, scores / scores.sum(2, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("metric", metrics_of("classes"))
def test_weighted_score_equals_the_score_of_repeated_samples(metric, classes):
    target, scores = predictions(classes)
    counts = sample_counts(target, 20, np.random.default_rng(1), metric in STRATIFIED)
    found = weighted_scores(metric, target, scores, counts.astype(float))
    drawn = [np.repeat(np.arange(len(target)), column.astype(int)) for column in counts.T]
    slow = [[METRICS[metric].of(target[rows], seed[rows]) for rows in drawn] for seed in scores]
    assert np.allclose(found, slow, atol=1e-9)
    assert np.allclose(weighted_scores(metric, target, scores, counts), slow, atol=2e-6)


@pytest.mark.parametrize(
    ("metric", "library"),
    [
        ("accuracy", lambda y, s, w: sk.accuracy_score(y, s.argmax(1), sample_weight=w)),
        ("f1_macro", lambda y, s, w: sk.f1_score(y, s.argmax(1), average="macro", sample_weight=w)),
        ("balanced_accuracy", lambda y, s, w: sk.balanced_accuracy_score(y, s.argmax(1), sample_weight=w)),
        ("auroc", lambda y, s, w: sk.roc_auc_score(y, s[:, 1], sample_weight=w)),
        ("auprc", lambda y, s, w: sk.average_precision_score(y, s[:, 1], sample_weight=w)),
        ("brier", lambda y, s, w: sk.brier_score_loss(y, s[:, 1], sample_weight=w)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weighted_score_equals_that_of_scikit_learn(metric, library):
    target, scores = predictions(2)
    counts = sample_counts(target, 10, np.random.default_rng(2), stratified=True).astype(float)
    expected = [[library(target, seed, column) for column in counts.T] for seed in scores]
    assert np.allclose(weighted_scores(metric, target, scores, counts), expected, atol=1e-12)


def test_replicate_without_a_class_has_no_auroc():
    target, scores = predictions(2, n=4)
    counts = np.array([[1.0, 0, 3, 0], [1, 1, 1, 1]]).T
    found = weighted_scores("auroc", target, scores, counts)
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


@pytest.mark.parametrize("stratified", [False, True], ids=["plain", "within classes"])
def test_counts_are_multinomial(stratified):
    target = np.array([0] * 30 + [1] * 10)
    counts = sample_counts(target, 4000, np.random.default_rng(0), stratified)
    assert (counts.sum(0) == 40).all()
    assert np.allclose(counts.mean(1), 1, atol=0.1)
    of_class_1 = counts[30:].sum(0)
    assert of_class_1.std() == pytest.approx(0 if stratified else math.sqrt(40 * 0.25 * 0.75), rel=0.05)
    assert counts[0].var() == pytest.approx(1 - 1 / (30 if stratified else 40), rel=0.1)


def test_methods_share_their_samples_and_blocks_are_seamless():
    target, scores = predictions(2)
    found = stats.bootstrap("accuracy", target, [scores, scores], np.random.default_rng(0), BLOCK + 7, seeds=False)
    assert found.shape == (BLOCK + 7, 2)
    assert (found[:, 0] == found[:, 1]).all()
    assert np.ptp(found[-7:]) > 0


def test_two_levels_spread_more_than_samples_alone():
    target, scores = predictions(2, seeds=6)
    scores[0] = scores[0][:, ::-1]
    one, two = (stats.bootstrap("accuracy", target, [scores], np.random.default_rng(0), 2000, seeds=seeds).std() for seeds in (False, True))
    assert two > 1.3 * one


def test_spread_of_replicates_meets_the_variance_of_the_pseudo_values():
    target, scores = predictions(2, seeds=1, n=300)
    counts = sample_counts(target, 4000, np.random.default_rng(0))
    for metric in set(metrics_of("classes")) - {"ece"}:  # whose absolute values have kinks
        found = weighted_scores(metric, target, scores, counts).std()
        assert found == pytest.approx(stats.pseudo_values(metric, target, scores[0]).std(ddof=1) / math.sqrt(300), rel=0.08)


def test_percentile_interval_needs_five_seeds():
    draws = np.random.default_rng(0).normal(size=(1000,))
    assert stats.percentile_interval(draws, 4).reason == "needs 5 seeds, got 4"
    found = stats.percentile_interval(draws, 5)
    assert (found.low, found.high) == pytest.approx((np.quantile(draws, 0.025), np.quantile(draws, 0.975)))
    assert stats.percentile_interval(np.array([0.1, math.nan]), 5).reason == "needs every class in every replicate"
    assert stats.percentile_interval(np.full(9, 0.3), 5).degenerate


def test_bca_of_a_distribution_without_spread_is_a_point_and_says_so():
    assert stats.bca_interval(np.full(100, 0.8), 0.8, np.full(20, 0.8)) == (0.8, 0.8, True, "")
    assert stats.bca_interval(np.array([0.9, 0.95]), 0.8, np.array([0.7, 0.9])).degenerate


def test_bca_covers_a_skewed_mean_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        values = rng.exponential(size=60)
        counts = sample_counts(np.zeros(60), 500, rng)
        jackknife = (values.sum() - values) / 59
        found = stats.bca_interval(values @ counts / 60, values.mean(), jackknife)
        hits += found.low <= 1 <= found.high
    assert 0.90 <= hits / 300 <= 0.98


def test_scores_that_do_not_fit_are_refused():
    target, scores = predictions(2)
    for bad in (scores[:, :5], scores[0], np.full_like(scores, math.nan), scores[:0]):
        with pytest.raises(UsageError, match="scores of method 0 must be finite, seeds x 40 samples"):
            stats.bootstrap("accuracy", target, [bad], np.random.default_rng(0), 10)
    with pytest.raises(UsageError, match="did you mean 'auroc'"):
        stats.bootstrap("aurok", target, [scores], np.random.default_rng(0), 10)

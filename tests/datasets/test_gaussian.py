"""datasets/gaussian.py: the posterior is the exact one, under every mask."""

import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from bench.datasets.gaussian import GaussianClasses


def masked(samples, rate, seed=0):
    keys = np.random.default_rng(seed).random(samples.observed.shape)
    return samples.hide((keys < rate) & (keys < keys.max(1, keepdims=True)))


@pytest.mark.parametrize("pattern", list(itertools.product([False, True], repeat=3)), ids=str)
def test_posterior_equals_bayes_rule_with_full_densities(pattern):
    dataset = GaussianClasses(n=8, features=2, classes=3, redundancy=0.9, uniqueness=0.4)
    samples = dataset.load().hide(~np.tile(pattern, (8, 1)))
    columns = np.flatnonzero(np.repeat(pattern, 2))
    x = np.concatenate([samples.values[name] for name in samples.schema.names], axis=1)[:, columns]
    prior = np.bincount(samples.target) / 8
    covariance = dataset.covariance[np.ix_(columns, columns)]
    density = [multivariate_normal(dataset.means[c].ravel()[columns], covariance).pdf(x) if len(columns) else np.ones(8) for c in range(3)]
    joint = prior * np.stack(density, axis=1)
    assert np.allclose(dataset.posterior(samples), joint / joint.sum(1, keepdims=True), atol=1e-9)


def test_posterior_is_calibrated():
    dataset = GaussianClasses(n=20_000)
    samples = masked(dataset.load(), 0.3)
    scores = dataset.posterior(samples)
    accuracy, confidence = (scores.argmax(1) == samples.target).mean(), scores.max(1).mean()
    assert abs(accuracy - confidence) < 0.01


def test_more_modalities_never_make_bayes_worse():
    dataset = GaussianClasses(n=10_000)
    samples = dataset.load()
    accuracy = [(dataset.posterior(masked(samples, rate)).argmax(1) == samples.target).mean() for rate in (0.0, 0.3, 0.6, 0.9)]
    assert accuracy == sorted(accuracy, reverse=True)


def test_redundant_modalities_add_less_than_unique_ones():
    def gain(redundancy, uniqueness):
        dataset = GaussianClasses(n=10_000, redundancy=redundancy, uniqueness=uniqueness)
        samples = dataset.load()
        one = samples.hide(np.tile([False, True, True], (len(samples), 1)))
        hits = [(dataset.posterior(part).argmax(1) == samples.target).mean() for part in (one, samples)]
        return hits[1] - hits[0]

    assert gain(0.0, 0.8) > 0.15
    assert gain(5.0, 0.0) < 0.05


def test_posterior_of_a_combination_uses_its_modalities_alone():
    dataset = GaussianClasses(n=50)
    samples = dataset.load()
    hidden = samples.hide(np.tile([True, False, False], (50, 1)))
    assert np.allclose(dataset.posterior(samples.select("BC")), dataset.posterior(hidden))


@pytest.mark.parametrize("options", [{"classes": 1}, {"modalities": 0}, {"redundancy": -1.0}], ids=str)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=r"gaussian needs|must not be negative"):
        GaussianClasses(**options)


@pytest.mark.parametrize("pattern", list(itertools.product([False, True], repeat=3)), ids=str)
def test_posterior_of_labels_sums_bayes_rule_over_their_sets(pattern):
    dataset = GaussianClasses(n=8, features=2, labels=2, target="labels", redundancy=0.9, uniqueness=0.4)
    samples = dataset.load().hide(~np.tile(pattern, (8, 1)))
    columns = np.flatnonzero(np.repeat(pattern, 2))
    x = np.concatenate([samples.values[name] for name in samples.schema.names], axis=1)[:, columns]
    covariance, joint = dataset.covariance[np.ix_(columns, columns)], {}
    for place, yes in enumerate(itertools.product((0, 1), repeat=2)):
        share = np.prod([0.3 if one else 0.7 for one in yes])
        joint[yes] = share * (multivariate_normal(dataset.means[place].ravel()[columns], covariance).pdf(x) if len(columns) else np.ones(8))
    total = sum(joint.values())
    expected = np.stack([sum(p for yes, p in joint.items() if yes[k]) / total for k in range(2)], axis=1)
    assert np.allclose(dataset.posterior(samples), expected, atol=1e-9)


def test_value_is_told_as_well_as_any_line_through_many_rows_and_no_better_without_any():
    """The regression of the target on the observed values, from so many rows that it is the law's own."""
    dataset = GaussianClasses(n=60_000, features=2, target="value")
    samples = dataset.load().hide(np.tile([False, True, False], (60_000, 1)))
    x = np.concatenate([samples.values[name] for name in samples.schema.names if name != "gaussian-b"], axis=1)
    line = np.column_stack([np.ones(len(x)), x])
    fitted = line @ np.linalg.lstsq(line, samples.target, rcond=None)[0]
    assert np.abs(dataset.posterior(samples)[:, 0] - fitted).max() < 0.5
    assert np.corrcoef(fitted, samples.target)[0, 1] > 0.8
    assert (dataset.posterior(samples.hide(np.ones_like(samples.observed))) == 50).all()


@pytest.mark.parametrize("options", [{"target": "labels"}, {"synergy": 2.0}], ids=str)
def test_other_posteriors_are_calibrated(options):
    dataset = GaussianClasses(n=20_000, **options)
    samples = masked(dataset.load(), 0.2)
    scores = dataset.posterior(samples)
    truth = samples.target if scores.shape[1] != 2 else np.eye(2)[samples.target]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (scores >= low) & (scores < low + 0.2)
        if inside.sum() > 500:
            assert abs(scores[inside].mean() - truth[inside].mean()) < 0.03, low


def test_parity_needs_every_modality():
    dataset = GaussianClasses(n=4000, synergy=2.0)
    samples = dataset.load()
    assert (dataset.posterior(samples).argmax(1) == samples.target).mean() > 0.85
    for hidden in ([True, False, False], [False, False, True]):
        assert (dataset.posterior(samples.hide(np.tile(hidden, (len(samples), 1)))) == 0.5).all()
    assert (dataset.posterior(samples.select("AB")) == 0.5).all()
    for name in samples.schema.names:  # alone, a modality does not move the class
        means = [samples.values[name][samples.target == c].mean(0) for c in (0, 1)]
        assert np.abs(means[0] - means[1]).max() < 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "number"}, "target of gaussian must be classes, labels or value"),
        ({"target": "labels", "labels": 20}, "1 to 8 labels"),
        ({"target": "value", "synergy": 1.0}, "parity of modalities"),
    ],
)
def test_worlds_that_have_no_posterior_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianClasses(**options)

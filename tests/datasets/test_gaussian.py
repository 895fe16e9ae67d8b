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

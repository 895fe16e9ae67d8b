"""MeanLogistic fills with training means, adds indicators, and fits a linear model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.methods.flatten import class_shares
from bench.methods.mean_logistic import MeanLogistic, MeanLogisticConfig


def fitted(train, **options):
    method = MeanLogistic(train.schema, MeanLogisticConfig(**options))
    method.fit(train, train)
    return method


def test_hidden_values_never_reach_probabilities(make_samples):
    samples = make_samples(n=40, missing=0.4)
    opened = {n: np.where(np.isnan(a), np.float32(1e6), a) for n, a in samples.values.items()}
    method, other = fitted(samples), fitted(replace(samples, values=opened))
    expected = method.predict_proba(samples)
    np.testing.assert_array_equal(expected, method.predict_proba(replace(samples, values=opened)))
    np.testing.assert_array_equal(expected, other.predict_proba(samples))


def test_means_are_those_of_observed_training_rows(make_samples):
    samples = make_samples(n=40, missing=0.4)
    train, test = samples.rows(np.arange(20)), samples.rows(np.arange(20, 40))
    method = fitted(train)
    expected = np.concatenate([np.nanmean(train.values[name], axis=0) for name in train.schema.names])
    np.testing.assert_allclose(method.means, expected, rtol=1e-5)
    filled = method.fill(test)
    hidden = ~test.observed[:, 0]
    assert hidden.any()
    np.testing.assert_array_equal(filled[hidden, :5], np.tile(method.means[:5], (hidden.sum(), 1)))
    np.testing.assert_array_equal(filled[:, 15:], ~test.observed)


def test_missingness_alone_can_be_learnt(make_samples):
    samples = make_samples(n=80, classes=2, missing=0.0)
    values = {name: np.zeros_like(array) for name, array in samples.values.items()}
    hidden = np.zeros_like(samples.observed)
    hidden[:, 1] = samples.target == 1
    samples = replace(samples, values=values).hide(hidden)
    assert (fitted(samples).predict_proba(samples).argmax(1) == samples.target).all()


def test_modality_never_observed_in_training_is_harmless(make_samples):
    samples = make_samples(n=40, missing=0.2)
    hidden = np.zeros_like(samples.observed)
    hidden[:, 0] = True
    probabilities = fitted(samples.hide(hidden)).predict_proba(samples)  # alpha appears for the first time
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities, fitted(samples.hide(hidden)).predict_proba(samples.hide(hidden)), atol=1e-12)


def test_absent_class_keeps_its_column(make_samples):
    samples = make_samples(n=40, classes=4)
    probabilities = fitted(samples.rows(np.flatnonzero(samples.target != 2))).predict_proba(samples)
    assert probabilities.shape == (40, 4)
    assert (probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1)


def test_single_training_class_gives_class_shares(make_samples):
    samples = make_samples(n=30)
    train = samples.rows(np.flatnonzero(samples.target == 1))
    np.testing.assert_array_equal(fitted(train).predict_proba(samples), np.tile(class_shares(train), (30, 1)))


def test_separable_classes_are_learnt(make_samples):
    samples = make_samples(n=120, missing=0.1)
    method = fitted(samples.rows(np.arange(60)))
    test = samples.rows(np.arange(60, 120))
    assert (method.predict_proba(test).argmax(1) == test.target).mean() > 0.9


def test_cost_counts_means_scaling_and_weights(make_samples):
    method = fitted(make_samples(n=30, modalities=3, features=5, classes=3))
    assert method.parameters() == 15 + 2 * 18 + 3 * 18 + 3
    assert method.flops_per_sample() == 2 * 3 * 18


def test_bad_penalty_is_named():
    with pytest.raises(ValueError, match="c must be positive, got -1"):
        MeanLogisticConfig(c=-1)

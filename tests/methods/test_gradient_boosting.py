"""GradientBoosting reads NaN as missing and keeps a column for every class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.methods.flatten import class_shares
from bench.methods.gradient_boosting import GradientBoosting, GradientBoostingConfig


def fitted(train, seed=0, **options):
    method = GradientBoosting(train.schema, GradientBoostingConfig(**{"rounds": 10, **options}), seed)
    method.fit(train, train)
    return method


@pytest.mark.parametrize("classes", [3, 4], ids=["two left", "three left"])
def test_absent_class_keeps_its_column(make_samples, classes):
    samples = make_samples(n=60, classes=classes)
    probabilities = fitted(samples.rows(np.flatnonzero(samples.target != 1))).predict_proba(samples)
    assert probabilities.shape == (60, classes)
    assert (probabilities[:, 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1)


def test_hidden_values_never_reach_probabilities(make_samples):
    samples = make_samples(n=80, missing=0.4)
    opened = replace(samples, values={n: np.where(np.isnan(a), np.float32(1e6), a) for n, a in samples.values.items()})
    expected = fitted(samples).predict_proba(samples)
    np.testing.assert_array_equal(expected, fitted(opened).predict_proba(opened))


def test_modality_never_observed_in_training_is_harmless(make_samples):
    samples = make_samples(n=80, missing=0.2)
    hidden = np.zeros_like(samples.observed)
    hidden[:, 0] = True
    method = fitted(samples.hide(hidden))
    np.testing.assert_array_equal(method.predict_proba(samples), method.predict_proba(samples.hide(hidden)))


def test_missingness_alone_can_be_learnt(make_samples):
    samples = make_samples(n=80, classes=2, missing=0.0)
    values = {name: np.zeros_like(array) for name, array in samples.values.items()}
    hidden = np.zeros_like(samples.observed)
    hidden[:, 1] = samples.target == 1
    samples = replace(samples, values=values).hide(hidden)
    assert (fitted(samples).predict_proba(samples).argmax(1) == samples.target).all()


def test_single_training_class_gives_class_shares(make_samples):
    samples = make_samples(n=30)
    train = samples.rows(np.flatnonzero(samples.target == 1))
    np.testing.assert_array_equal(fitted(train).predict_proba(samples), np.tile(class_shares(train), (30, 1)))


def test_same_seed_gives_same_probabilities(make_samples):
    samples = make_samples(n=80)
    np.testing.assert_array_equal(fitted(samples, seed=3).predict_proba(samples), fitted(samples, seed=3).predict_proba(samples))


def test_separable_classes_are_learnt(make_samples):
    samples = make_samples(n=240, missing=0.1)
    method, test = fitted(samples.rows(np.arange(180))), samples.rows(np.arange(180, 240))
    assert (method.predict_proba(test).argmax(1) == test.target).mean() > 0.8


def test_every_round_is_used(make_samples):
    assert fitted(make_samples(n=60), rounds=7).fits.models[0].n_iter_ == 7


def test_bad_config_is_named():
    with pytest.raises(ValueError, match="rounds must be at least 1, leaves at least 2"):
        GradientBoostingConfig(leaves=1)

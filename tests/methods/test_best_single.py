"""BestSingle picks one modality on the validation part and falls back to class shares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.methods.best_single import BestSingle, BestSingleConfig
from bench.methods.flatten import class_shares


def fitted(train, valid=None, **options):
    method = BestSingle(train.schema, BestSingleConfig(**options))
    method.fit(train, train if valid is None else valid)
    return method


def noise_but(samples, name):
    """The same samples with noise in every modality except `name`."""
    rng = np.random.default_rng(1)
    values = {n: a if n == name else rng.normal(size=a.shape).astype(np.float32) for n, a in samples.values.items()}
    return replace(samples, values=values).sealed()


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
def test_informative_modality_is_chosen(make_samples, name):
    samples = noise_but(make_samples(n=120, missing=0.1), name)
    method = fitted(samples.rows(np.arange(60)), samples.rows(np.arange(60, 120)))
    assert method.chosen == name[0].upper()


def test_rarely_observed_modality_loses_to_a_frequent_one(make_samples):
    samples = make_samples(n=120, missing=0.0)
    hidden = np.zeros_like(samples.observed)
    hidden[10:, 0] = hidden[:, 2] = True  # alpha is seen in ten rows, gamma in none
    assert fitted(samples.hide(hidden)).chosen == "B"


def test_rows_without_the_chosen_modality_get_class_shares(make_samples):
    samples = make_samples(n=60, missing=0.4)
    method = fitted(samples)
    observed = samples.observed[:, samples.schema.positions(method.chosen)[0]]
    probabilities = method.predict_proba(samples)
    assert 0 < observed.sum() < 60
    assert (probabilities[~observed] == class_shares(samples)).all()
    assert (probabilities[observed] != class_shares(samples)).any(1).all()


def test_other_modalities_never_reach_the_prediction(make_samples):
    samples = make_samples(n=60, missing=0.3)
    method = fitted(samples)
    other = {n: a if n[0].upper() == method.chosen else a + 50 for n, a in samples.values.items()}
    np.testing.assert_array_equal(method.predict_proba(samples), method.predict_proba(replace(samples, values=other)))


def test_nothing_to_learn_from_gives_class_shares(make_samples):
    samples = make_samples(n=30)
    for train in (samples.hide(np.ones_like(samples.observed)), samples.rows(np.flatnonzero(samples.target == 1))):
        method = fitted(train)
        assert method.chosen is None
        np.testing.assert_array_equal(method.predict_proba(samples), np.tile(class_shares(train), (30, 1)))
        assert method.flops_per_sample() == 0


@pytest.mark.parametrize("classes", [2, 4])
def test_absent_class_keeps_its_column(make_samples, classes):
    samples = make_samples(n=40, classes=classes + 1)
    method = fitted(samples.rows(np.flatnonzero(samples.target > 0)))
    probabilities = method.predict_proba(samples)
    assert probabilities.shape == (40, classes + 1)
    assert (probabilities[:, 0] == 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1)


def test_empty_validation_part_chooses_the_first_modality(make_samples):
    samples = make_samples(n=30)
    assert fitted(samples, samples.rows(np.zeros(0, dtype=np.int64))).chosen == "A"


def test_cost_counts_the_chosen_model(make_samples):
    method = fitted(make_samples(n=30, features=5, classes=3))
    assert method.parameters() == 3 + 3 * 5 + 3
    assert method.flops_per_sample() == 2 * 3 * 5


def test_bad_penalty_is_named():
    with pytest.raises(ValueError, match="c must be positive, got 0"):
        BestSingleConfig(c=0)

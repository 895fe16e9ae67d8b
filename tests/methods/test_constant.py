"""Constant predicts the training class shares."""

from __future__ import annotations

import numpy as np

from bench.methods.constant import Constant


def test_every_row_gets_the_training_shares(make_samples):
    samples = make_samples(n=30, classes=3)
    train = samples.rows(np.concatenate([np.flatnonzero(samples.target == 2), np.flatnonzero(samples.target == 0)[:5]]))
    method = Constant(samples.schema, Constant.Config())
    method.fit(train, samples)
    np.testing.assert_allclose(method.predict_proba(samples), np.tile([5 / 15, 0, 10 / 15], (30, 1)))
    assert (method.predict_proba(samples).argmax(1) == 2).all()


def test_cost_is_its_shares_alone(make_samples):
    method = Constant(make_samples(classes=4).schema, Constant.Config())
    assert method.parameters() == 4
    assert method.flops_per_sample() == 0


def test_no_rows_give_no_predictions(make_samples):
    samples = make_samples(classes=3)
    method = Constant(samples.schema, Constant.Config())
    method.fit(samples, samples)
    assert method.predict_proba(samples.rows(np.zeros(0, dtype=np.int64))).shape == (0, 3)

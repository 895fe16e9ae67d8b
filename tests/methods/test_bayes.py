"""Bayes repeats the posterior it is given."""

from __future__ import annotations

import numpy as np
import pytest

from bench.methods.bayes import Bayes


def test_prediction_is_the_posterior(make_samples):
    samples = make_samples(n=6, classes=3)
    posterior = np.eye(3)[samples.target]
    method = Bayes(samples.schema, Bayes.Config(), lambda rows: posterior[: len(rows)])
    method.fit(samples, samples)
    np.testing.assert_array_equal(method.predict_proba(samples), posterior)
    assert method.parameters() is None


def test_unknown_posterior_is_named(make_samples):
    samples = make_samples()
    with pytest.raises(ValueError, match="bayes needs a dataset with a known posterior"):
        Bayes(samples.schema, Bayes.Config(), lambda rows: None).predict_proba(samples)

"""Bayes repeats the posterior it is given."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from bench.datasets.gaussian import GaussianClasses
from bench.methods.bayes import Bayes
from bench.methods.catalog import METHODS
from bench.stats.metrics import METRICS


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


WORLDS = {"value": ({"target": "value"}, "rmse"), "labels": ({"target": "labels"}, "label_brier"), "synergy": ({"synergy": 2.0}, "brier")}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["constant", "mean-logistic", "best-single", "gradient-boosting"])
def test_nobody_beats_the_posterior(world, name):
    """By a proper score, which the exact posterior alone makes smallest, on rows with gaps."""
    options, metric = WORLDS[world]
    dataset = GaussianClasses(n=4000, features=4, **options)
    samples = dataset.load()
    keys = np.random.default_rng(0).random(samples.observed.shape)
    samples = samples.hide((keys < 0.3) & (keys < keys.max(1, keepdims=True))).sealed()
    train, valid, test = (samples.rows(rows) for rows in np.split(np.arange(4000), [2000, 2500]))
    cls = getattr(importlib.import_module(METHODS[name].split(":")[0]), METHODS[name].split(":")[1])
    method = cls(train.schema, cls.Config(), seed=0)
    method.selection = metric
    method.fit(train, valid)
    said, best = (METRICS[metric].of(test.target, scores) for scores in (method.outputs(test.untold()), dataset.posterior(test)))
    assert best < said

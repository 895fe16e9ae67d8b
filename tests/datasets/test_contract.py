"""Every listed dataset keeps the contract."""

import numpy as np
import pytest

from bench import registry
from bench.datasets.catalog import DATASETS
from bench.spec import Choice


@pytest.fixture(params=DATASETS)
def dataset(request):
    return registry.dataset_of(Choice(request.param))


def test_samples_load_twice_to_the_same_bits(dataset):
    assert dataset.load().fingerprint() == dataset.load().fingerprint()


def test_every_class_and_modality_occurs(dataset):
    samples = dataset.load()
    assert set(samples.target.tolist()) == set(range(len(samples.schema.classes)))
    assert samples.observed.any(0).all()
    assert samples.observed.any(1).all()


def test_observed_values_are_finite_somewhere(dataset):
    samples = dataset.load()
    for position, array in enumerate(samples.values.values()):
        seen = array[samples.observed[:, position]].reshape(samples.observed[:, position].sum(), -1)
        assert np.isfinite(seen).any(1).all()
        assert not np.isinf(seen).any()


def test_facts_are_stated(dataset):
    assert dataset.title
    assert dataset.source
    assert dataset.licence
    assert ("SYNTHETIC" in dataset.title) == dataset.synthetic

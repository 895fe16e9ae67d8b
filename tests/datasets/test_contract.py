"""Every listed dataset keeps the contract. Datasets of files are tested where their files are."""

import numpy as np
import pytest

from bench import registry
from bench.datasets.catalog import DATASETS
from bench.datasets.files import FileDataset
from bench.names import Choice

FACTS = ("obtain", "terms", "folder", "files")
_loaded = {}


@pytest.fixture(params=DATASETS)
def dataset(request):
    return registry.dataset_of(Choice(request.param))


@pytest.fixture
def samples(dataset, request):
    """Loaded once for all tests. A dataset of files that are not here is skipped."""
    if isinstance(dataset, FileDataset):
        request.getfixturevalue("real_data")
        if not dataset.is_here:
            pytest.skip(f"the files of {dataset.name} are not here: {dataset.obtain}")
    if dataset.title not in _loaded:
        _loaded[dataset.title] = dataset.load()
    return _loaded[dataset.title]


@pytest.mark.slow
def test_samples_load_twice_to_the_same_bits(dataset, samples):
    assert dataset.load().fingerprint() == samples.fingerprint()


def test_every_class_and_modality_occurs(samples):
    assert set(samples.target.tolist()) == set(range(len(samples.schema.classes)))
    assert samples.observed.any(0).all()
    assert samples.observed.any(1).all()


def test_observed_values_are_finite_somewhere(samples):
    for position, array in enumerate(samples.values.values()):
        seen = array[samples.observed[:, position]].reshape(samples.observed[:, position].sum(), -1)
        assert np.isfinite(seen).any(1).all()
        assert not np.isinf(seen).any()


def test_samples_arrive_sealed(samples):
    sealed = samples.sealed()
    for name, array in samples.values.items():
        assert np.array_equal(array, sealed.values[name], equal_nan=True)


def test_facts_are_stated(dataset):
    assert dataset.title
    assert dataset.source
    assert dataset.licence
    assert ("SYNTHETIC" in dataset.title) == dataset.synthetic
    if isinstance(dataset, FileDataset):
        assert DATASETS[dataset.name].endswith(f":{type(dataset).__name__}")
        assert all(getattr(dataset, fact) for fact in FACTS)
        assert set(dataset.checksums) <= set(dataset.files)


def test_option_defaults_are_among_their_choices(dataset):
    for option, values in getattr(dataset, "choices", {}).items():
        assert dataset.options[option] in values
        with pytest.raises(ValueError, match=f"{option} must be one of"):
            type(dataset)(**{option: "something else"})

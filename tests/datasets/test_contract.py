"""Every listed dataset keeps the contract. Datasets of files are tested where their files are."""

import numpy as np
import pytest

from bench import registry
from bench.data.card import facts_of
from bench.data.grammar import parse_protocol
from bench.data.parts import build_parts
from bench.datasets.base import Dataset
from bench.datasets.catalog import DATASETS
from bench.datasets.files import FileDataset
from bench.names import parse_choice

VERSIONS = (  # with modalities of their own
    "mi-complications[modalities=four]", "mosi-utterance[split=standard]",
    *(f"{name}[indicators=true]" for name in ("support2", "uci-heart", "mi-complications", "eicu-demo")),
)  # fmt: skip
FACTS = ("obtain", "terms", "folder", "files")
_loaded = {}


@pytest.fixture(params=[*DATASETS, *VERSIONS])
def dataset(request):
    return registry.dataset_of(parse_choice(request.param))


@pytest.fixture
def samples(dataset, request):
    """Loaded once for all tests. A dataset of files that are not here is skipped."""
    if isinstance(dataset, FileDataset):
        request.getfixturevalue("real_data")
        if not dataset.is_here:
            pytest.skip(f"the files of {dataset.name} are not here: {dataset.obtain}")
    name = request.node.callspec.params["dataset"]
    if name not in _loaded:
        _loaded[name] = dataset.load()
    return _loaded[name]


@pytest.mark.slow
def test_samples_load_twice_to_the_same_bits(dataset, samples):
    assert dataset.load().fingerprint() == samples.fingerprint()


def test_every_answer_and_modality_occurs(samples):
    target, kind = samples.target, samples.schema.target.kind
    if kind == "classes":
        assert set(target.tolist()) == set(range(samples.schema.outputs))
    elif kind == "labels":
        assert all({0, 1} <= set(column) <= {-1, 0, 1} for column in target.T.tolist())
    else:
        assert np.isfinite(target).all()
        assert target.std() > 0
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


def test_what_is_learnt_keeps_the_rules_of_the_seam(dataset, samples):
    """`build_parts` checks them (bench/data/learning.py); a dataset that learns says so on its page."""
    if type(dataset).learn is Dataset.learn or not dataset.learns:
        pytest.skip("learns nothing from data")
    parts = build_parts(dataset, samples, samples.schema.combination, parse_protocol("mcar(0.5)"), 0, 0, "training")
    for part in parts.named().values():
        assert part.samples.schema == parts.train.samples.schema
        for position, array in enumerate(part.samples.values.values()):
            assert np.isfinite(array[part.samples.observed[:, position]]).all()
    assert "Learnt" in facts_of(dataset)


def test_facts_are_stated(dataset):
    assert dataset.title
    assert dataset.source
    assert dataset.licence
    assert ("SYNTHETIC" in dataset.title) == dataset.synthetic
    if isinstance(dataset, FileDataset):
        assert DATASETS[dataset.name].endswith(f":{type(dataset).__name__}")
        assert all(getattr(dataset, fact) for fact in FACTS)
        assert set(dataset.checksums) <= {*dataset.files, *dataset.extra}


def test_option_defaults_are_among_their_choices(dataset):
    for option, values in getattr(dataset, "choices", {}).items():
        assert dataset.options[option] in values
        with pytest.raises(ValueError, match=f"{option} must be one of"):
            type(dataset)(**{option: "something else"})

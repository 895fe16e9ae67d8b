"""datasets/base.py: schema, samples and batches keep their rules."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.datasets.base import Modality, Schema, as_batch, columns_of


def test_combination_prints_in_dataset_order(make_samples):
    schema = make_samples(modalities=3).schema
    assert schema.combination == "ABG"
    assert schema.subset("GA").combination == "AG"


@pytest.mark.parametrize("letters", ["", "X", "AA"], ids=["none", "unknown", "repeated"])
def test_wrong_combination_is_refused(make_samples, letters):
    with pytest.raises(ValueError, match="letters of 'ABG'"):
        make_samples().schema.positions(letters)


@pytest.mark.parametrize(
    ("letter", "kind", "shape"),
    [("ab", "vector", (3,)), ("A", "vector", (3, 3)), ("A", "table", (3,)), ("A", "image", (1, 0, 3))],
    ids=["letter", "rank", "kind", "empty"],
)
def test_impossible_modality_is_refused(letter, kind, shape):
    with pytest.raises(ValueError, match="modality 'x'"):
        Modality("x", letter, kind, shape)


def test_repeated_letters_are_refused():
    with pytest.raises(ValueError, match="letters of a schema must be unique"):
        Schema((Modality("a", "A", "vector", (1,)), Modality("b", "A", "vector", (1,))), ("no", "yes"))


def test_sealed_cells_hold_nan_and_observed_cells_do_not(make_samples):
    samples = make_samples()
    for position, array in enumerate(samples.values.values()):
        assert np.isnan(array[~samples.observed[:, position]]).all()
        assert np.isfinite(array[samples.observed[:, position]]).all()


def test_hiding_never_writes_into_the_source(make_samples):
    samples = make_samples(missing=0.0)
    before = {name: array.copy() for name, array in samples.values.items()}
    samples.hide(np.ones_like(samples.observed))
    assert all(np.array_equal(before[name], array) for name, array in samples.values.items())


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {"target": s.target.astype(np.int32)},
        lambda s: {"target": s.target + 5},
        lambda s: {"ids": np.repeat("same", len(s))},
        lambda s: {"observed": s.observed[:, :1]},
        lambda s: {"values": {name: array[:, :2] for name, array in s.values.items()}},
        lambda s: {"groups": np.zeros(3)},
    ],
    ids=["target-type", "target-range", "ids", "mask-shape", "value-shape", "groups"],
)
def test_samples_that_break_a_rule_are_refused(make_samples, change):
    samples = make_samples()
    with pytest.raises(ValueError, match="must"):
        replace(samples, **change(samples))


def test_fingerprint_sees_values_masks_and_labels_but_not_hidden_values(make_samples):
    samples = make_samples()
    changed = {name: np.where(np.isnan(array), 7.0, array).astype(np.float32) for name, array in samples.values.items()}
    assert replace(samples, values=changed).fingerprint() == samples.fingerprint()
    assert samples.rows(np.arange(len(samples))[::-1]).fingerprint() != samples.fingerprint()
    assert replace(samples, target=(samples.target + 1) % 3).fingerprint() != samples.fingerprint()
    assert samples.hide(~samples.observed | (np.arange(len(samples)) == 0)[:, None]).fingerprint() != samples.fingerprint()


def test_batch_rows_follow_the_index(make_samples):
    batch = as_batch(make_samples())
    rows = batch.rows(torch.tensor([5, 2]))
    assert rows.index.tolist() == [5, 2]
    assert torch.equal(rows.observed, batch.observed[[5, 2]])
    assert len(rows) == 2


def test_absent_columns_are_named():
    with pytest.raises(ValueError, match="columns z are not in the source"):
        columns_of(["a", "b"], ["a", "z"])

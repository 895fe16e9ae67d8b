"""What the estimators share: matrices, means, shares and padded probabilities."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np

from bench.datasets.base import Modality, Samples, Schema
from bench.methods.flatten import class_shares, fit_logistic, flatten, observed_means, over_all_classes, widths


def mixed(n=6) -> Samples:
    """One modality of each kind, the sequence missing in row 0."""
    kinds = {"vector": (3,), "sequence": (4, 2), "image": (1, 2, 3), "volume": (1, 2, 2, 2)}
    schema = Schema(tuple(Modality(kind, kind[0].upper() if kind != "volume" else "X", kind, s) for kind, s in kinds.items()), ("a", "b"))
    values = {m.name: np.arange(n * np.prod(m.shape), dtype=np.float32).reshape(n, *m.shape) for m in schema}
    observed = np.ones((n, 4), dtype=bool)
    observed[0, 1] = False
    return Samples(schema, values, observed, np.arange(n) % 2, np.array([f"r{i}" for i in range(n)]))


def test_every_kind_is_flattened_side_by_side():
    samples = mixed()
    matrix, sizes = flatten(samples), widths(samples.schema)
    assert sizes.tolist() == [3, 2, 6, 8]
    assert matrix.shape == (6, 19)
    for name, block in zip(samples.schema.names, np.split(matrix, np.cumsum(sizes)[:-1], axis=1), strict=True):
        expected = samples.values[name].mean(1) if name == "sequence" else samples.values[name].reshape(6, -1)
        np.testing.assert_allclose(block[1:], expected[1:], rtol=1e-6)


def test_padded_steps_are_no_part_of_the_mean():
    samples = replace(mixed(), lengths={"sequence": np.array([0, 1, 2, 3, 4, 4])})
    samples.values["sequence"][3, 0, 1] = np.nan  # a single value that is missing
    found = flatten(samples)[:, 3:5]
    for row in (1, 2, 4, 5):
        real = samples.values["sequence"][row, : samples.lengths["sequence"][row]]
        np.testing.assert_allclose(found[row], real.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found[3], np.nanmean(samples.values["sequence"][3, :3], axis=0), rtol=1e-6)
    assert np.isnan(found[0]).all()


def test_hidden_values_become_nan_even_where_samples_were_not_sealed():
    matrix = flatten(mixed())
    assert np.isnan(matrix[0, 3:5]).all()
    assert np.isnan(matrix).sum() == 2


def test_no_rows_give_a_matrix_without_rows():
    assert flatten(mixed().rows(np.zeros(0, dtype=np.int64))).shape == (0, 19)


def test_means_skip_nan_and_are_zero_for_empty_columns():
    schema = Schema((Modality("vector", "V", "vector", (3,)),), ("a", "b"))
    vector = np.array([[1.0, np.nan, 4.0], [3.0, np.nan, np.nan]], dtype=np.float32)
    samples = Samples(schema, {"vector": vector}, np.ones((2, 1), dtype=bool), np.arange(2), np.array(["r0", "r1"]))
    np.testing.assert_array_equal(observed_means(samples), np.array([2.0, 0.0, 4.0], dtype=np.float32))


def test_means_are_the_same_block_by_block(monkeypatch):
    expected = np.nanmean(flatten(mixed(50)).astype(np.float64), 0).astype(np.float32)
    monkeypatch.setattr("bench.datasets.base.blocks", lambda rows, shape, size: (slice(at, min(at + 7, rows)) for at in range(0, rows, 7)))
    np.testing.assert_allclose(observed_means(mixed(50).deferred()), expected, rtol=1e-6)


def test_shares_count_absent_classes_and_no_rows(make_samples):
    samples = make_samples(n=9, classes=3)
    np.testing.assert_allclose(class_shares(samples.rows(np.flatnonzero(samples.target < 2))), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(class_shares(samples.rows(np.zeros(0, dtype=np.int64))), [1 / 3, 1 / 3, 1 / 3])


def test_absent_classes_get_probability_zero():
    full = over_all_classes(np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([0, 2]), 4)
    np.testing.assert_array_equal(full, [[0.25, 0.0, 0.75, 0.0], [1.0, 0.0, 0.0, 0.0]])


def test_fit_that_does_not_converge_is_silent():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(30, 3)) * [1.0, 1e6, 1e-6]
    target = (matrix[:, 0] > 0).astype(np.int64)
    assert fit_logistic(matrix, target, 1e12).coef_.shape == (1, 3)


def test_flattening_alone_does_not_load_scikit_learn():
    code = "import sys, bench.methods.flatten; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

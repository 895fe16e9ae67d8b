"""datasets/deferred.py, bench/data/moments.py: large values are held once, made for those who ask, and equal to small ones."""

import dataclasses

import numpy as np
import pytest

from bench.data.grammar import parse_protocol
from bench.data.loading import load
from bench.data.moments import is_small, moments, of_rows
from bench.data.parts import Scaler, build_parts
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.datasets.deferred import Deferred, Stored, size_of
from bench.errors import UsageError
from bench.methods.flatten import flatten
from bench.names import parse_choice


@pytest.fixture
def samples():
    """Of every kind, with gaps of modalities, of single values, padding, a constant feature, and far from 0."""
    rng = np.random.default_rng(0)
    schema = Schema(
        (
            Modality("vector", "A", "vector", (5,)),
            Modality("sequence", "B", "sequence", (60, 2)),
            Modality("image", "C", "image", (2, 12, 12)),
            Modality("volume", "D", "volume", (1, 4, 4, 12)),
        ),
        ("no", "yes"),
    )
    n = 200
    target = rng.integers(0, 2, n)
    values = {m.name: (1e3 + rng.normal(size=(n, *m.shape)) * rng.uniform(0.1, 9)).astype(np.float32) for m in schema}
    values["vector"][:, 2] = 7.3
    values["vector"][::7, 1] = np.nan
    values["image"][::5, 1] = np.nan
    values["sequence"][::3, 2] = np.nan
    lengths = {"sequence": rng.integers(3, 61, n)}
    observed = rng.random((n, 4)) < 0.8
    observed[:, 0] |= ~observed.any(1)
    return Samples(schema, values, observed, target, np.array([f"s{i}" for i in range(n)]), lengths=lengths).sealed()


@pytest.fixture
def large(monkeypatch):
    """Everything counts as large, and a block holds a few rows."""
    monkeypatch.setattr("bench.data.parts.SMALL", 0)
    monkeypatch.setattr("bench.data.loading.SMALL", 0)
    monkeypatch.setattr("bench.datasets.deferred.BLOCK", 2**13)


def made(samples, protocol="mcar(0.3)", dataset=None):
    return build_parts(dataset or Dataset(), samples, samples.schema.combination, parse_protocol(protocol), 1, 0, "training")


PROTOCOLS = ["natural", "mcar(0.3)", "mar(A->C,2,0.4)", "mnar(C|value,2,0.4)", "mnar(B|value,-2,0.4)", "train=fixed(ABC);test=keep(1)"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_values_are_hidden_and_scaled_as_small_ones(samples, request, protocol):
    small = made(samples, protocol)
    request.getfixturevalue("large")
    found = made(samples, protocol)
    for name, part in found.named().items():
        other = getattr(small, name)
        assert isinstance(part.samples.values, Deferred)
        assert (part.mask, part.missing) == (other.mask, other.missing)
        for modality in samples.schema.names:
            np.testing.assert_allclose(part.samples.values[modality], other.samples.values[modality], rtol=3e-7, atol=1e-6)
    under = [parts.under(parse_protocol("mcar(0.6)").test).samples for parts in (found, small)]
    np.testing.assert_allclose(flatten(under[0]), flatten(under[1]), rtol=3e-7, atol=1e-6)
    np.testing.assert_array_equal(found.test.raw.values["image"], small.test.raw.values["image"])


def test_nobody_reads_a_value_to_set_a_trial_up(samples, large, monkeypatch):
    samples = samples.select("BCD").deferred()
    for modality in samples.schema:
        assert of_rows(samples, modality) is not None
    monkeypatch.setattr(Stored, "block", lambda *_: pytest.fail("values were read"))
    monkeypatch.setattr(Deferred, "take", lambda *_: pytest.fail("values were read"))
    found = made(samples, "mcar(0.3)")
    assert [len(part) > 29 for part in found.named().values()] == [True] * 3


def test_rows_that_are_asked_for_are_the_only_ones_made(samples, large, monkeypatch):
    asked = []
    monkeypatch.setattr(Stored, "_gather", lambda self, name, rows: asked.append((name, len(rows))) or self.arrays[name][rows])
    train = made(samples).train.samples
    whole = train.values["image"]
    asked.clear()
    few = train.rows(np.array([7, 3, 7 + 1])).select("AC")
    assert asked == []
    np.testing.assert_array_equal(few.values["image"], whole[[7, 3, 8]])
    assert asked == [("image", 3)]


def test_each_look_at_large_values_gives_an_array_of_its_own(samples):
    large = samples.deferred()
    view = large.rows(np.arange(10)).hide(np.ones((10, 4), dtype=bool))
    view.values["image"][:] = 5
    assert np.isnan(view.values["image"]).all()
    np.testing.assert_array_equal(large.values["image"], samples.values["image"])


def test_large_samples_answer_as_small_ones(samples, large):
    deferred = samples.deferred()
    hidden = np.random.default_rng(1).random((200, 4)) < 0.3
    for one, other in [
        (deferred, samples),
        (deferred.hide(hidden), samples.hide(hidden)),
        (deferred.rows(np.arange(200)[::-3]), samples.rows(np.arange(200)[::-3])),
        (deferred.rows(samples.target == 1).select("BD"), samples.rows(samples.target == 1).select("BD")),
        (deferred.hide(hidden).rows(np.arange(9)).without_blanks(), samples.hide(hidden).rows(np.arange(9)).without_blanks()),
    ]:
        assert one.fingerprint() == other.fingerprint()
        assert one.held().fingerprint() == other.fingerprint()
        assert one.blank == other.blank
        assert size_of(one.values) == size_of(other.values)


def test_large_values_must_fit_the_schema(samples):
    with pytest.raises(ValueError, match="values must be of 199 rows"):
        dataclasses.replace(samples.rows(np.arange(199)), values=Stored(samples.values))


def test_blanks_and_fingerprint_come_of_one_pass(samples, large):
    samples.values["image"][samples.observed[:, 2].argmax()] = np.nan
    seen = []
    found, digest = samples.looked_over(lambda name, array, rows: seen.append((name, rows.start, rows.stop)))
    assert len(seen) == len(set(seen))
    assert sum(stop - start for name, start, stop in seen if name == "image") == len(samples)
    assert found.blank == {"image": 1}
    assert digest == found.fingerprint() == samples.without_blanks().fingerprint() != samples.fingerprint()


def test_loaded_data_are_deferred_above_a_size_alone(large, monkeypatch):
    found = load(parse_choice("digits"))
    assert isinstance(found.samples.values, Stored)
    monkeypatch.undo()
    small = load(parse_choice("digits"))
    assert type(small.samples.values) is dict
    assert found.fingerprint == small.fingerprint


def test_dataset_that_learns_is_given_arrays(samples, large):
    class Learns(Dataset):
        def learn(self, train):
            assert type(train.values) is dict
            return lambda rows: rows.with_values({"vector": rows.values["vector"] * 2})

    assert type(made(samples, dataset=Learns()).train.samples.values) is dict


@pytest.mark.parametrize("spoilt", ["train", "test"])
def test_infinite_values_are_refused_by_name(samples, large, spoilt):
    fine = made(samples)
    row = next(i for i in getattr(fine, spoilt).samples.ids if samples.observed[int(i[1:]), 2])
    samples.values["image"][int(row[1:]), 1, 2, 2] = np.inf
    with pytest.raises(UsageError, match=rf"modality 'image' holds infinite values, first in sample '{row}'"):
        dict(made(samples, "natural").named()[spoilt].samples.values)


def test_infinite_vector_is_refused_by_name(samples, large):
    row = made(samples, "natural").train.samples
    first = row.ids[row.observed[:, 0].argmax()]
    samples.values["vector"][int(first[1:]), 3] = -np.inf
    with pytest.raises(UsageError, match=rf"modality 'vector' holds infinite values, first in sample '{first}'"):
        made(samples, "natural")


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("centre", [0.0, 1e4])
def test_moments_are_those_of_the_formula(scale, centre):
    array = ((np.random.default_rng(0).normal(size=(40, 3, 8, 8)) + centre) * scale).astype(np.float32)
    array[3, 1, 2] = np.nan
    array[5] = np.nan
    whole = moments("image", array).joined()
    seen = array.astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_array_equal(whole.number[0], np.isfinite(seen).sum(1))
    np.testing.assert_allclose(whole.mean[0], np.nanmean(seen, axis=1), rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(whole.scatter[0] / whole.number[0], np.nanvar(seen, axis=1), rtol=1e-11)


def test_moments_of_rows_are_kept_where_they_are_small(samples):
    assert [is_small(modality) for modality in samples.schema] == [False, True, True, True]
    assert not is_small(Modality("short", "S", "sequence", (4, 9)))


def test_statistics_do_not_depend_on_who_worked_them_out(samples, large):
    """A server that loads for its trials, or the trial itself: a number that is repeated is the same to the bit."""
    first, again = (made(samples.select("BCD").deferred()).scaler.statistics for _ in range(2))
    stored = samples.select("BCD").deferred()
    made(stored)
    third = made(stored).scaler.statistics
    for name in first:
        for one, *others in zip(first[name], again[name], third[name], strict=True):
            assert all(one.tobytes() == other.tobytes() for other in others)


def test_constant_feature_of_large_values_is_zero(samples, large):
    assert (made(samples).train.samples.held().values["vector"][:, 2][made(samples).train.samples.observed[:, 0]] == 0).all()
    assert np.isinf(Scaler(samples.deferred()).statistics["vector"][1][0, 2])

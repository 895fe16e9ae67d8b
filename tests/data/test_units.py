"""Units have no say: a raw feature times any number gives the same inputs, masks, tests and scores, wherever "constant" is decided."""

from dataclasses import replace

import numpy as np
import pytest

from bench.data.grammar import parse_protocol
from bench.data.missingness import little_test, summaries
from bench.data.parts import Scaler, build_parts
from bench.datasets.base import Dataset, Modality, Samples, Schema, divisor, varies
from bench.errors import UsageError
from bench.methods.mean_logistic import MeanLogistic, MeanLogisticConfig

UNITS = [1e-12, 1e-8, 1e8, 1e12]


def in_units(samples, factor):
    """The same samples with every feature of every modality times a number."""
    return replace(samples, values={name: (array * np.float64(factor)).astype(np.float32) for name, array in samples.values.items()})


def parts_of(samples, protocol="mcar(0.3)"):
    return build_parts(Dataset(), samples, samples.schema.combination, parse_protocol(protocol), 0, 0, "training")


@pytest.mark.parametrize("factor", [*UNITS, *(-unit for unit in UNITS)])
def test_scaled_inputs_are_the_same_in_any_unit(make_samples, factor):
    samples = make_samples(n=120)
    one, other = parts_of(samples), parts_of(in_units(samples, factor))
    for part in ("train", "valid", "test"):
        for name, array in one.named()[part].samples.values.items():
            np.testing.assert_allclose(other.named()[part].samples.values[name], np.sign(factor) * array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", UNITS)
@pytest.mark.parametrize("kind", ["sequence", "image"])
def test_sequences_and_images_are_scaled_alike_in_any_unit(kind, factor):
    rng = np.random.default_rng(0)
    shape = {"sequence": (4, 3), "image": (2, 4, 4)}[kind]
    schema = Schema((Modality("x", "X", kind, shape),), ("no", "yes"))
    samples = Samples(
        schema, {"x": rng.normal(3, 2, (40, *shape)).astype(np.float32)}, np.ones((40, 1), bool), np.arange(40) % 2,
        np.array([f"row {row}" for row in range(40)]),
    )  # fmt: skip
    other = in_units(samples, factor)
    np.testing.assert_allclose(Scaler(other)(other).values["x"], Scaler(samples)(samples).values["x"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("factor", UNITS)
@pytest.mark.parametrize("protocol", ["mar(A->B,2,0.3)", "mnar(B|value,2,0.3)", "mar(A->B,-3,0.5)"])
def test_masks_that_look_at_values_are_the_same_in_any_unit(make_samples, protocol, factor):
    samples = make_samples(n=300)
    one, other = parts_of(samples, protocol), parts_of(in_units(samples, factor), protocol)
    assert one.missing["train"] > 0.3
    assert [part.mask for part in one.named().values()] == [part.mask for part in other.named().values()]


@pytest.mark.parametrize("factor", UNITS)
def test_gaps_say_the_same_in_any_unit(make_samples, factor):
    samples = make_samples(n=200)
    found, other = summaries(samples), summaries(in_units(samples, factor))
    assert found.shape == other.shape == (200, 9)
    np.testing.assert_allclose(np.abs(other), np.abs(found), atol=1e-3)
    assert little_test(found * factor).chi2 == pytest.approx(little_test(found).chi2, rel=1e-6)
    assert little_test(found + 1e6).chi2 == pytest.approx(little_test(found).chi2, rel=1e-4)


@pytest.mark.parametrize("factor", [*UNITS, *(-unit for unit in UNITS)])
def test_mean_logistic_without_the_suite_predicts_the_same_in_any_unit(make_samples, factor):
    def predicted(samples):
        method = MeanLogistic(samples.schema, MeanLogisticConfig())
        method.fit(samples, samples)
        return method.predict_proba(samples)

    samples = make_samples(n=60)
    np.testing.assert_allclose(predicted(in_units(samples, factor)), predicted(samples), atol=1e-3)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6, 1.0, 1e8, 1e30])
def test_a_constant_is_constant_at_any_size_and_rounding_makes_it_no_feature(size):
    value = np.float32(size)
    neighbour = np.nextafter(value, np.float32(np.inf)) if size else value
    for column in (np.array([value, value] * 10), np.array([value, neighbour] * 10)):
        column = column.astype(np.float64)
        assert not varies(column.mean(), column.std())
        assert (7 - column.mean()) / divisor(column.mean(), column.std()) == 0


@pytest.mark.parametrize("factor", [1.0, *UNITS])
@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_what_training_holds_constant_is_0_elsewhere_in_any_unit(make_samples, constant, factor):
    """Left as it is, a pixel that is on in one test image alone would count a million times as much in another unit."""
    samples = make_samples(n=120, missing=0.0)
    train = parts_of(samples, "natural").train.samples.ids
    samples.values["alpha"][:, 1] = np.where(np.isin(samples.ids, train), constant, 5.0)
    parts = parts_of(in_units(samples, factor), "natural")
    for part in parts.named().values():
        assert (part.samples.values["alpha"][:, 1] == 0).all()


def test_small_variation_on_a_large_offset_is_a_feature(make_samples):
    samples = make_samples(n=60, missing=0.0)
    rng = np.random.default_rng(0)
    samples.values["alpha"][:] = (1e8 + 100 * rng.normal(size=(60, 5))).astype(np.float32)
    scaled = Scaler(samples)(samples).values["alpha"]
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)


def test_features_that_repeat_each_other_give_no_summary_of_rounding(make_samples):
    samples = make_samples(n=200, missing=0.0)
    for array in samples.values.values():
        array[:] = array[:, :1] * np.array([1, 2, 3, -1, 0.1], np.float32)
    assert summaries(samples).shape == (200, 3)


def test_values_near_the_end_of_float32_are_scaled_and_what_leaves_it_is_named(make_samples):
    samples = in_units(make_samples(n=40, missing=0.0), 1e37)
    scaler = Scaler(samples)
    assert np.isfinite(scaler(samples).values["alpha"]).all()
    tiny = in_units(make_samples(n=40, missing=0.0), 1e-20)
    scaler = Scaler(tiny)
    tiny.values["alpha"][3, 2] = 1e25
    with pytest.raises(UsageError, match=r"'alpha' holds a value that is 3e\+38 SDs and more from its training mean"):
        scaler(tiny)


def test_an_infinite_training_value_does_not_blank_its_feature(make_samples):
    samples = make_samples(n=40, missing=0.0)
    samples.values["alpha"][0, 0] = np.inf
    with pytest.raises(UsageError, match="modality 'alpha' holds infinite values, first in sample 'row0'"):
        Scaler(samples)

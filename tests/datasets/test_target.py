"""datasets/target.py: what each kind of target takes, refuses and becomes; and the datasets that ask for other things than a class."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import bench
from bench import registry
from bench.datasets.base import Classes, Labels, Modality, Samples, Schema, Value, as_batch
from bench.datasets.files import read_prepared, write_prepared
from bench.datasets.target import target_from
from bench.errors import UsageError
from bench.names import parse_choice

MODALITY = (Modality("labs", "L", "vector", (2,)),)
TOLD = {
    "labels": (Labels(("fever", "pain")), np.array([[1, 0], [-1, 1], [0, 0], [1, 1]])),
    "value": (Value("stay", "days"), np.array([1.5, 2.0, 8.25, 3.0])),
    "classes": (Classes(("no", "yes")), np.array([0, 1, 1, 1])),
}
every_kind = pytest.mark.parametrize("kind", TOLD)


def asking(kind, target=None):
    asked, told = TOLD[kind]
    values = {"labs": np.zeros((4, 2), dtype=np.float32)}
    return Samples(
        Schema(MODALITY, asked), values, np.ones((4, 1), dtype=bool), told if target is None else target, np.arange(4).astype(str)
    )


@pytest.mark.parametrize(
    ("kind", "target", "message"),
    [
        ("labels", np.array([1, 0, 1, 0]), r"target of labels must be int64 \(N, 2\), a column for each label, got int64 \(4,\)"),
        ("labels", np.array([[1, 0]] * 3 + [[2, 0]]), "got 2 for 'fever' in row 3"),
        ("labels", np.array([[1.0, np.nan]] * 4), r"use np.where\(np.isnan\(x\), -1, x\)"),
        ("labels", np.array([[True, False]] * 4), r"use .astype\(np.int64\)"),
        ("value", np.array([1, 2, 3, 4]), r"must be float64 \(N,\), got int64; use .astype\(np.float64\)"),
        ("value", np.array([1.0, np.nan, 2.0, 3.0]), "must be finite in every row, got nan in row 1; leave such rows out"),
        ("value", np.ones((4, 1)), "one dimension"),
        ("classes", np.array([0, 1, 2, 0]), r"target must be int64 in \[0, 2\), got 2 in row 2"),
    ],
)
def test_targets_of_another_form_are_refused_with_the_way_on(kind, target, message):
    with pytest.raises(ValueError, match=message):
        asking(kind, target)


def test_schema_without_classes_says_what_to_use():
    assert Schema(MODALITY, Value("stay")).outputs == 1
    assert Schema(MODALITY, Labels(("a", "b", "c"))).outputs == 3
    with pytest.raises(ValueError, match=r"target is of kind value; schema\.outputs is the size of a last layer"):
        _ = Schema(MODALITY, Value("stay")).classes
    assert Schema(MODALITY, ("no", "yes")) == Schema(MODALITY, classes=("no", "yes")) == Schema(MODALITY, Classes(("no", "yes")))


def test_schema_of_classes_is_written_as_it_always_was():
    """Its text is part of every fingerprint."""
    assert repr(Schema(MODALITY, ("no", "yes"))) == f"Schema(modalities={MODALITY!r}, classes=('no', 'yes'))"


@every_kind
def test_target_survives_json_and_a_prepared_copy(kind, tmp_path):
    samples = asking(kind)
    assert target_from(samples.schema.target.as_json()) == samples.schema.target
    write_prepared(tmp_path / "copy", samples, {})
    again = read_prepared(tmp_path / "copy").samples
    assert again.schema == samples.schema
    assert again.fingerprint() == samples.fingerprint()
    np.testing.assert_array_equal(again.target, samples.target)


@every_kind
def test_other_targets_are_other_data(kind):
    samples = asking(kind)
    assert dataclasses.replace(samples, target=samples.target[::-1].copy()).fingerprint() != samples.fingerprint()


@every_kind
def test_untold_rows_are_equal_and_sealed_ones_tell_nothing(kind):
    samples = asking(kind)
    assert len(np.unique(samples.untold().target, axis=0)) == 1
    sealed = samples.schema.target.sealed(samples.target)
    assert sealed.shape == samples.target.shape
    assert np.isnan(sealed).all() if kind == "value" else (sealed == -1).all()
    assert as_batch(samples).target.shape == samples.target.shape


def test_strata_are_classes_numbers_of_labels_or_fifths():
    assert asking("classes").in_strata() is not None
    labels = asking("labels").in_strata()
    assert [labels.schema.classes[place] for place in labels.target] == ["1 label", "1 label", "0 labels", "2 labels"]
    value = asking("value").in_strata()
    assert (np.argsort(value.target, kind="stable") == np.argsort(asking("value").target)).all()


REAL = {  # rows, kind, and what is known of the target
    "mosi-utterance[target=value]": (2199, "value", lambda t: np.abs(t).max() == 3),
    "mosi-utterance[split=standard,target=value]": (2199, "value", lambda t: (t == 0).sum() == 96),
    "support2[target=stay]": (9105, "value", lambda t: 10 ** t.min() == pytest.approx(3)),
    "support2[target=cost]": (8200, "value", lambda t: np.isfinite(t).all()),
    "mi-complications[target=complications]": (1700, "labels", lambda t: t.shape[1] == 12 and (t[:, 11] == 1).sum() == 271),
    "eicu-demo[target=outcomes]": (2492, "labels", lambda t: (t[:, 0] == 1).sum() == 212 and (t == -1).sum() == 2),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data_ask_for_what_their_option_says(name, real_data):
    rows, kind, holds = REAL[name]
    samples = registry.dataset_of(parse_choice(name)).load()
    assert len(samples) == rows
    assert samples.schema.target.kind == kind
    assert holds(samples.target)


def test_diabetes_is_a_value_of_body_and_blood():
    samples = registry.dataset_of(parse_choice("diabetes")).load()
    assert (len(samples), samples.schema.combination, samples.schema.target.kind) == (442, "DL", "value")
    assert (samples.target.min(), samples.target.max()) == (25, 346)


def frames(n=40):
    rng = np.random.default_rng(0)
    index = [f"p{row}" for row in range(n)]
    return {name: pd.DataFrame(rng.normal(size=(n, 2)), index, ["u", "v"]) for name in ("first", "second")}, index


def test_frames_of_ones_own_have_a_value_or_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    modalities, index = frames()
    value = pd.Series(np.linspace(1, 9, 40), index, name="stay")
    samples = bench.dataset(modalities, value, "stays", kind="value", unit="days").load()
    assert samples.schema.target == Value("stay", "days")
    np.testing.assert_allclose(samples.target, value)
    labels = pd.DataFrame({"fever": [True, False] * 20, "pain": [1, None, 0, 1] * 10}, index)
    samples = bench.dataset(modalities, labels, "signs", kind="labels").load()
    assert samples.schema.target == Labels(("fever", "pain"))
    assert samples.target[:4].tolist() == [[1, 1], [0, -1], [1, 0], [0, 1]]
    with pytest.raises(UsageError, match="label 'pain' must be 1 or True, 0 or False"):
        bench.dataset(modalities, labels.assign(pain=3), "odd", kind="labels")
    with pytest.raises(UsageError, match="labels are a pandas frame"):
        bench.dataset(modalities, value, "wrong", kind="labels")

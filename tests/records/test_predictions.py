"""bench/records/predictions.py: what a method gave comes back as it was, and everyone reads the same scores from it."""

import io
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from bench.records.arrays import TABLES, Arrays
from bench.records.predictions import LOGITS, SCORES, Predictions, stack, unstack
from bench.stats.metrics import score

ULP = np.float32(2.0**-23)  # relative step of float32


def of_logits(logits, target=None):
    target = np.arange(len(logits)) % 2 if target is None else target
    return Predictions(np.array([f"r{i}" for i in range(len(logits))]), target, np.asarray(logits, np.float32), form=LOGITS)


def reread(predictions):
    """As a results database gives it back."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    arrays = Arrays(connection)
    arrays.write("t", predictions)
    return arrays.read(["t"])["t"]


def naive_auroc(target, score):
    """The formula, pair by pair."""
    above, below = score[target == 1][:, None], score[target == 0]
    return float(((above > below) + 0.5 * (above == below)).mean())


@pytest.mark.parametrize("size", [1e-3, 0.25, 1.0, 8.0], ids=str)
@pytest.mark.parametrize("classes", [2, 3])
def test_order_of_logits_one_float32_step_apart_survives_storing(size, classes):
    """A method whose scores hardly vary: every row one step above the last, in class 1 alone."""
    rows = 200
    logits = np.zeros((rows, classes), np.float32)
    logits[0, 1] = size
    for row in range(1, rows):
        logits[row, 1] = np.nextafter(logits[row - 1, 1], np.float32(np.inf))
    target = np.random.default_rng(0).integers(classes, size=rows)
    scores = reread(of_logits(logits, target)).scores
    assert (np.diff(scores[:, 1]) > 0).all()
    assert len(np.unique(scores[:, 1].astype(np.float32))) < rows  # as they were stored before
    if classes == 2:
        assert score(target, scores)[0]["auroc"] == pytest.approx(naive_auroc(target, np.arange(rows)), abs=1e-12)


def test_equal_differences_of_logits_are_ties_wherever_they_lie():
    shifts = np.float32([0, 1, 64, -64, 2**10])
    scores = reread(of_logits(np.column_stack([shifts, shifts + np.float32(0.5)]))).scores
    assert len(np.unique(scores[:, 1])) == 1
    assert scores[0, 1] == pytest.approx(1 / (1 + np.exp(-0.5)), abs=1e-15)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e3, 3e38], ids=str)
def test_logits_of_any_size_give_finite_scores(scale):
    scores = of_logits(np.float32([[0, 1], [1, 0], [-1, 1], [0, 0]]) * np.float32(scale)).scores
    assert np.isfinite(scores).all()
    assert np.allclose(scores.sum(1), 1, atol=1e-15)
    assert scores[3].tolist() == [0.5, 0.5]


PROBABILITIES = {
    "certain": [[1, 0], [0, 1], [1, 0]],
    "nearly certain": [[1e-17, 1], [1e-12, 1 - 1e-12], [1e-300, 1]],
    "hardly varying": [[0.7, 0.3], [0.7 - 1e-13, 0.3 + 1e-13], [0.7 + 1e-13, 0.3 - 1e-13]],
    "tied in one class": [[0.2, 0.3, 0.5], [0.1, 0.4, 0.5], [0.4, 0.1, 0.5]],
}


@pytest.mark.parametrize("rows", PROBABILITIES.values(), ids=PROBABILITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_come_back_in_the_precision_they_had(rows, dtype):
    given = np.array(rows, dtype)
    found = reread(Predictions(np.array(["a", "b", "c"]), np.array([0, 1, 0]), given))
    assert (found.form, found.outputs.dtype, found.outputs.tobytes()) == (SCORES, dtype, given.tobytes())
    assert found.scores.dtype == np.float64
    assert np.array_equal(found.scores, given)


@pytest.mark.parametrize("form", [LOGITS, SCORES])
def test_scores_do_not_depend_on_how_the_array_lay_in_memory(form):
    outputs = np.random.default_rng(0).dirichlet(np.ones(11), size=500)
    lying = replace(of_logits(np.zeros((500, 11)), np.arange(500) % 11), outputs=np.asfortranarray(outputs), form=form)
    part = unstack(packed := stack({"t": lying, "u": lying}), packed, ["u"])["u"]
    for found in (lying, reread(lying), part):
        assert score(found.target, found.scores)[0] == score(lying.target, replace(lying, outputs=outputs).scores)[0]


def test_every_form_goes_through_a_stacked_file_and_an_unstacked_one():
    base = of_logits([[0, 1], [2, 0]])
    given = {
        "logits": replace(base, evaluations={"mcar(0.5)": base.outputs + 1}),
        "double": replace(base, outputs=np.array([[0.25, 0.75], [0.5, 0.5]]), form=SCORES),
        "before": replace(base, outputs=np.float32([[0.25, 0.75], [0.5, 0.5]]), form=SCORES),
    }
    packed = stack(given)
    apart = {f"{id_}/{name}": array for id_, one in given.items() for name, array in one.named().items()}
    for arrays in (packed, apart):
        found = unstack(arrays, arrays, given)
        assert set(found) == set(given)
        for id_, one in given.items():
            assert {name: (array.dtype, array.tolist()) for name, array in found[id_].named().items()} == {
                name: (array.dtype, array.tolist()) for name, array in one.named().items()
            }


def test_evaluations_are_read_in_the_form_of_the_main_outputs():
    logits = np.float32([[0, np.log(3)], [0, 0]])
    found = reread(replace(of_logits(np.zeros((2, 2))), evaluations={"mcar(0.5)": logits}))
    assert found.scores_under("mcar(0.5)") == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]), abs=1e-7)
    with pytest.raises(KeyError):
        found.scores_under("mcar(0.7)")


def test_files_of_before_there_were_logits_are_read():
    buffer = io.BytesIO()
    scores = np.float32([[0.1, 0.9], [0.6, 0.4]])
    np.savez_compressed(buffer, ids=np.array(["a", "b"]), target=np.array([0, 1]), scores=scores, **{"evaluations/mcar(0.5)": scores[::-1]})
    found = Predictions.read(buffer.getvalue())
    assert np.array_equal(found.scores, scores.astype(float))
    assert np.array_equal(found.scores_under("mcar(0.5)"), scores[::-1].astype(float))

"""bench/records/arrays.py: test rows are stored once, outputs as they are, and databases of before are read."""

import importlib.util
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UsageError
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.arrays import TABLES, Arrays
from bench.records.database import SCHEMA_VERSION, Store
from bench.records.folder import answers_of
from bench.records.ids import Salter
from bench.records.predictions import LOGITS, SCORES, Predictions, stack, unstack
from bench.records.record import Record

spec = importlib.util.spec_from_file_location("bench_before", Path(__file__).parents[1] / "support" / "before.py")
before = importlib.util.module_from_spec(spec)
spec.loader.exec_module(before)

SUITE = Suite("small", (Settings(("digits",), noise=(0.3,)),), methods=("muse",))
BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
TRIALS = [replace(BASE, seed=seed) for seed in range(3)]


def given(seed, rows=("a", "b")):
    outputs = np.random.default_rng(seed).normal(size=(len(rows), 3)).astype(np.float32)
    return Predictions(np.array(rows), np.arange(len(rows)), outputs, {"mcar(0.5)": outputs + 1}, LOGITS)


def filled(folder, rows=("a", "b")):
    with Store(folder) as store:
        store.plan(SUITE, "family", "bench run", TRIALS)
        for trial in TRIALS:
            store.write(Record(trial, "done", metrics={"accuracy": 0.5}), given(trial.seed, rows))


def in_memory():
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    return Arrays(connection)


def told(predictions):
    return {id_: {name: (a.dtype, a.tolist()) for name, a in one.named().items()} for id_, one in predictions.items()}


def test_test_rows_are_stored_once_and_outputs_as_they_are(tmp_path):
    filled(tmp_path)
    with Store(tmp_path, create=False) as store:
        assert store.connection.execute("SELECT ids FROM test_rows").fetchall() == [('["a", "b"]',)]
        query = "SELECT rule, form, dtype, classes, numbers FROM outputs WHERE id = ?"
        main, further = store.connection.execute(query, (TRIALS[0].id,)).fetchall()
        assert main == ("", "logits", "<f4", 3, given(0).outputs.tobytes())
        assert further[0] == "mcar(0.5)"
        found = store.predictions([trial.id for trial in TRIALS])
    assert found[TRIALS[0].id].ids is found[TRIALS[1].id].ids
    assert told(found) == told({trial.id: given(trial.seed) for trial in TRIALS})


@pytest.mark.parametrize(
    "rows",
    [("é", "日本", "\U0001f600"), ("a'b", 'c"d', "e\\f"), ("1", "01", " 1"), ("\ud800", "x", "")],
    ids=["unicode", "quotes", "like", "odd"],
)
def test_ids_of_any_letters_come_back(rows):
    arrays = in_memory()
    arrays.write("t", given(0, rows))
    assert arrays.read(["t"])["t"].ids.tolist() == list(rows)


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f8"])
def test_numbers_of_any_machine_come_back(dtype):
    arrays = in_memory()
    outputs = np.asfortranarray(np.arange(6, dtype=dtype).reshape(2, 3))
    arrays.write("t", Predictions(np.array(["a", "b"]), np.array([0, 1]), outputs, form=SCORES))
    found = arrays.read(["t"])["t"].outputs
    assert found.dtype == np.dtype(dtype).newbyteorder("<")
    assert np.array_equal(found, outputs)


def test_other_targets_of_the_same_ids_are_another_test_set():
    arrays = in_memory()
    arrays.write("t", given(0))
    arrays.write("u", replace(given(0), target=np.array([1, 1])))
    found = arrays.read(["t", "u"])
    assert [one.target.tolist() for one in found.values()] == [[0, 1], [1, 1]]
    assert not found["t"].shares_rows(found["u"])


@pytest.mark.parametrize("version", [1, 2])
def test_database_of_before_gives_the_same_answers_and_is_not_touched(tmp_path, version):
    filled(tmp_path)
    asked = [trial.id for trial in TRIALS]
    now = told(answers_of(tmp_path).predictions)
    before.set_back(tmp_path / "bench.db", version)
    data = (tmp_path / "bench.db").read_bytes()
    answers = answers_of(tmp_path)
    assert list(answers.predictions) == asked
    assert told(answers.predictions) == now
    assert (tmp_path / "bench.db").read_bytes() == data


def test_trial_of_before_that_runs_again_leaves_nothing_in_the_old_form(tmp_path):
    filled(tmp_path)
    before.set_back(tmp_path / "bench.db")
    with Store(tmp_path) as store:
        store.write(Record(TRIALS[1], "done"), given(7))
        assert store.connection.execute("SELECT id FROM predictions ORDER BY rowid").fetchall() == [(TRIALS[0].id,), (TRIALS[2].id,)]
        found = store.predictions([trial.id for trial in TRIALS])
        assert store.connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    assert told(found) == told({trial.id: given({0: 0, 1: 7, 2: 2}[trial.seed]) for trial in TRIALS})


def test_trial_that_runs_again_with_fewer_rules_keeps_none_of_the_old_ones(tmp_path):
    filled(tmp_path)
    with Store(tmp_path) as store:
        store.write(Record(TRIALS[0], "done"), replace(given(0), evaluations={}))
        assert store.predictions([TRIALS[0].id])[TRIALS[0].id].evaluations == {}


def test_outputs_that_lost_bytes_are_explained(tmp_path):
    filled(tmp_path)
    with Store(tmp_path) as store:
        store.connection.execute("UPDATE outputs SET numbers = substr(numbers, 5) WHERE id = ? AND rule = ''", (TRIALS[0].id,))
        with pytest.raises(UsageError, match=rf"predictions of trial {TRIALS[0].id} are damaged: .*run the trial again"):
            store.predictions([TRIALS[0].id])


# ---- what test rows lack by nature

GAPS = np.array([[True, False, True], [False, True, True], [True, True, True]])


def lacking(seed=0):
    return replace(given(seed, ("c", "a", "b")), observed=GAPS)


def test_what_rows_lack_by_nature_comes_back():
    arrays = in_memory()
    arrays.write("x", lacking())
    arrays.write("y", given(0, ("c", "a", "b")))
    found = arrays.read(["x", "y"])
    assert np.array_equal(found["x"].observed, GAPS)
    assert found["y"].observed is None
    arrays.write("x", given(1))
    assert arrays.read(["x"])["x"].observed is None


def test_what_rows_lack_goes_through_a_stacked_file():
    arrays = stack({"x": lacking(), "y": given(1, ("c", "a", "b")), "z": lacking(2)})
    found = unstack(arrays, arrays, ["x", "y", "z"])
    assert np.array_equal(found["x"].observed, GAPS)
    assert np.array_equal(found["z"].observed, GAPS)
    assert found["y"].observed is None
    assert np.array_equal(found["z"].outputs, lacking(2).outputs)


def test_hashed_ids_take_what_rows_lack_with_them():
    found, salter = lacking(), Salter(b"salt")
    hashed = salter.predictions(found)
    for row, id_ in enumerate(found.ids):
        assert np.array_equal(hashed.observed[hashed.ids == salter.of(id_)][0], GAPS[row])


def test_a_database_of_before_has_nothing_to_say_of_it(tmp_path):
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "bench.db") as connection:
        connection.execute("DROP TABLE natural")
    assert answers_of(tmp_path).predictions[TRIALS[0].id].observed is None

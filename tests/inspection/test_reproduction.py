"""bench/inspection/reproduction.py: the same bits come again, and where they do not it is said what differs."""

import importlib.util
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typed import called

import bench
from bench.errors import UsageError
from bench.inspection.reproduction import differences, reproduce
from bench.records.arrays import Arrays
from bench.records.database import Store
from bench.records.predictions import LOGITS, Predictions

SUPPORT = Path(__file__).parents[1] / "support"
OUTSIDE = SUPPORT / "outside.py"
spec = importlib.util.spec_from_file_location("bench_before", SUPPORT / "before.py")
before = importlib.util.module_from_spec(spec)
spec.loader.exec_module(before)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    options = {"datasets": "breast-cancer", "noise": 0.3, "test_noise": [0.5], "training": {"epochs": 2}}
    bench.run(methods=["mean-logistic", "mean-mlp", f"{OUTSIDE}:Raises"], seeds=[0], out=folder, quiet=True, **options)
    called("leaderboard", "--out", folder, "--publish", folder / "board")
    return folder


def id_of(out, method):
    frame = bench.results(out)
    return frame[frame["method"].str.endswith(method)]["id"].iloc[0]


@pytest.fixture
def changed(out, tmp_path):
    """A copy of the results whose stored mean-mlp trial is given other contents."""

    def write(outputs=None, **columns):
        id_ = id_of(out, "mean-mlp")
        with Store(out) as source, sqlite3.connect(tmp_path / "bench.db") as target:
            source.connection.backup(target)
            for name, value in columns.items():
                target.execute(f"UPDATE trials SET {name} = ? WHERE id = ?", (json.dumps(value), id_))
            if outputs is not None:
                stored = source.predictions([id_])[id_]
                Arrays(target).write(id_, replace(stored, outputs=outputs(stored.outputs)))
        target.close()
        return id_

    return write


@pytest.mark.parametrize("method", ["mean-logistic", "mean-mlp"])
@pytest.mark.parametrize("place", ["results", "published"])
def test_same_bits_come_again(out, method, place):
    id_ = id_of(out, method)
    where = ["--out", out] if place == "results" else ["--from", out / "board"]
    assert called("reproduce", id_[:7], *where, "-q").stdout == (
        f"same bits: 86 predictions of {method} on breast-cancer (MEW), mcar(0.3), seed 0 (trial {id_})\n"
    )


def test_python_and_json_say_the_same(out):
    id_ = id_of(out, "mean-mlp")
    shape = json.loads(called("reproduce", id_, "--out", out, "--json").stdout)
    found = bench.reproduce(id_[:8], out)
    assert found.same
    assert (shape["id"], shape["same_bits"], shape["rows"], shape["largest_difference"], shape["changes"]) == (id_, True, 86, 0, [])
    assert shape["metrics"]["accuracy"]["then"] == shape["metrics"]["accuracy"]["now"]


def test_other_scores_are_measured_and_have_exit_code_1(changed, tmp_path):
    id_ = changed(outputs=lambda logits: logits[:, ::-1])
    result = called("reproduce", id_, "--out", tmp_path, "-q", code=1)
    assert result.stdout.startswith("different: mean-mlp on breast-cancer")
    assert "in logits; largest difference of a class score" in result.stdout
    assert "86 of 86 predicted classes changed" in result.stdout
    assert "nothing that the record names has changed, and two runs now give the same answer" in result.stdout
    assert "not deterministic" not in result.stdout


def test_what_changed_since_is_named(changed, tmp_path):
    packages = {"torch": "1.0.0", "numpy": np.__version__}
    id_ = changed(
        outputs=lambda logits: logits + np.float32([0, 2**-18]),
        provenance={"device": "cpu", "threads": 1, "hardware": "abacus", "commit": 40 * "a", "packages": packages},
    )
    found = bench.reproduce(id_, tmp_path)
    assert not found.same
    assert 0 < found.largest <= 2**-20  # a probability moves by a quarter of what its logit moves, at the most
    assert found.changed == 0
    what = {change.what: change.then for change in found.changes}
    assert (what["torch"], what["hardware"]) == ("1.0.0", "abacus")
    assert "numpy" not in what
    assert "torch: 1.0.0 then" in str(found)
    assert str(found).endswith("`git checkout aaaaaaaaaa` brings back the code of then")


def test_same_bits_elsewhere_name_what_is_not_as_it_was(changed, tmp_path):
    id_ = changed(provenance={"device": "cpu", "threads": 1, "hardware": "abacus"})
    found = bench.reproduce(id_, tmp_path)
    assert found.same
    assert "although these are not what they were:\n" in str(found)
    assert "hardware: abacus then" in str(found)


def test_repeat_that_fails_is_told_with_its_reason(changed, tmp_path):
    id_ = changed(provenance={"device": "cuda", "threads": 1})
    result = called("reproduce", id_, "--out", tmp_path, "-q", code=1)
    assert result.stdout.startswith("failed: mean-mlp on")
    assert "sees no GPU" in result.stdout


ROWS = Predictions(
    np.array(["a", "b"]), np.array([0, 1]), np.array([[1, 0], [0.5, 0.5]], np.float32), {"mcar(0.5)": np.eye(2, dtype=np.float32)}
)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (ROWS, ((), 2, 0.0, 0)),
        (replace(ROWS, ids=np.array(["a", "c"])), (("ids",), 2, np.nan, None)),
        (replace(ROWS, outputs=ROWS.outputs[:, ::-1]), (("scores",), 2, 1.0, 1)),
        (replace(ROWS, evaluations={}), (("evaluation mcar(0.5)",), 2, 0.0, 0)),
        (replace(ROWS, evaluations={"mcar(0.5)": 1 - np.eye(2, dtype=np.float32)}), (("evaluation mcar(0.5)",), 2, 1.0, 0)),
    ],
    ids=["same", "rows", "scores", "evaluation gone", "evaluation"],
)
def test_differences_name_arrays_and_sizes(new, expected):
    assert str(differences(ROWS, new)) == str(expected)


LOGITS_NOW = Predictions(
    ROWS.ids, ROWS.target, np.float32([[3, 1], [0.25, 0.5]]), {"mcar(0.5)": np.float32([[0, 1], [7, 0]])}, form=LOGITS
)  # fmt: skip


def as_before(predictions):
    """What was stored when probabilities were cut to float32."""
    evaluations = {rule: predictions.scores_under(rule).astype(np.float32) for rule in predictions.evaluations}
    return Predictions(predictions.ids, predictions.target, predictions.scores.astype(np.float32), evaluations)


@pytest.mark.parametrize("form", ["logits", "probabilities"])
def test_trial_stored_in_float32_is_compared_in_float32(form):
    now = LOGITS_NOW
    if form == "probabilities":
        now = Predictions(now.ids, now.target, now.scores, {rule: now.scores_under(rule) for rule in now.evaluations})
    assert differences(as_before(now), now) == ((), 2, 0.0, 0)
    moved = replace(now, outputs=now.outputs + np.array([0, 1e-5], now.outputs.dtype))
    names, _, largest, changed = differences(as_before(now), moved)
    assert (names, changed) == (("scores",), 0)
    assert 1e-7 < largest < 1e-4
    assert differences(as_before(now), replace(now, evaluations={}))[0] == ("evaluation mcar(0.5)",)


def test_probability_halfway_between_two_of_float32_is_either():
    halfway = np.float64(np.float32(0.3)) + 2.0**-26  # 0.3 lies in [1/4, 1/2), where float32 steps by 2^-25
    second = np.nextafter([halfway, halfway, halfway], [0, halfway, 1])
    now = Predictions(np.array(["a", "b", "c"]), np.array([0, 1, 0]), np.column_stack([1 - second, second]))
    cut = as_before(now)
    assert len(np.unique(cut.outputs[:, 1])) == 2
    swapped = np.where(cut.outputs[:, 1:] == cut.outputs[0, 1], cut.outputs[2, 1], cut.outputs[0, 1])
    assert differences(replace(cut, outputs=np.column_stack([cut.outputs[:, 0], swapped])), now)[0] == ()
    assert differences(replace(cut, outputs=np.column_stack([cut.outputs[:, 0], swapped + np.float32(1e-6)])), now)[0] == ("scores",)


def test_logits_that_give_the_same_scores_are_not_the_same_bits():
    names, _, largest, changed = differences(LOGITS_NOW, replace(LOGITS_NOW, outputs=LOGITS_NOW.outputs + np.float32(1)))
    assert (names, largest, changed) == (("logits",), 0.0, 0)


def test_results_of_before_come_again(out, tmp_path):
    """A store as versions before logits were stored wrote it."""
    id_ = id_of(out, "mean-mlp")
    with Store(out) as source, sqlite3.connect(tmp_path / "bench.db") as target:
        source.connection.backup(target)
        Arrays(target).write(id_, as_before(source.predictions([id_])[id_]))
    target.close()
    before.set_back(tmp_path / "bench.db", version=1)
    assert bench.reproduce(id_, tmp_path).same


def test_trial_without_predictions_is_refused(out):
    id_ = id_of(out, "Raises")
    with pytest.raises(UsageError, match="has no stored predictions to compare with \\(failed: "), Store(out, create=False) as store:
        reproduce(store, id_)
    assert "no trial with id 'zz' here; `bench show --from" in called("reproduce", "zz", "--from", out / "board", code=2).stderr
    assert "trials have an id that starts with ''" in called("reproduce", "", "--out", out, code=2).stderr


DRAWS = """
import os
import numpy as np
from bench.methods.base import Estimator

class Draws(Estimator):
    def fit(self, train, valid): self.classes = len(train.schema.classes)

    def predict_proba(self, samples):
        scores = np.random.default_rng(list(os.urandom(8))).random((len(samples), self.classes))
        return scores / scores.sum(1, keepdims=True)
"""


def test_not_deterministic_is_said_of_what_gave_two_answers_on_the_same_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "draws.py").write_text(DRAWS)
    bench.run(methods="draws.py:Draws", datasets="breast-cancer", noise=0.3, seeds=[0], out="out", quiet=True)
    found = reproduce(Store("out"), id_of("out", "Draws"))
    assert found.is_repeatable is False
    assert "this trial is not deterministic: two runs now, on the same code and data, give two answers" in str(found)


def test_other_code_is_named_before_anyone_speaks_of_chance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steady.py").write_text(DRAWS.replace("list(os.urandom(8))", "SEED").replace("import os", "from beside_steady import SEED"))
    (tmp_path / "beside_steady.py").write_text("SEED = 1\n")
    bench.run(methods="steady.py:Draws", datasets="breast-cancer", noise=0.3, seeds=[0], out="out", quiet=True)
    id_ = id_of("out", "Draws")
    assert reproduce(Store("out"), id_).same
    (tmp_path / "beside_steady.py").write_text("SEED = 2\n")
    found = reproduce(Store("out"), id_)
    assert [change.what for change in found.changes] == ["code of the method"]
    assert found.is_repeatable is None
    assert not found.same

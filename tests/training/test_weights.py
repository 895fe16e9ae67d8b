"""bench/training/weights.py: the weights that a trial chose come back as the method that gave its predictions, bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bench
from bench.errors import TrialError, UsageError
from bench.records.database import Store
from bench.training.weights import FORMAT, save

ASKED = {"datasets": "breast-cancer", "noise": 0.3, "seeds": 0, "training": {"epochs": 2}, "quiet": True}
METHODS = "mean-mlp,moe-retriever,muse,dropout-transformer"  # among them some that draw when they predict, or hold training rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    pytest.importorskip("safetensors", reason="needs safetensors (extra weights)")
    out = tmp_path_factory.mktemp("runs")
    bench.run(methods=f"{METHODS},mean-logistic", out=out, keep_weights=True, **ASKED)
    return out


def stored(out):
    with Store(out, create=False) as store:
        records = [record for record in store.records() if record.status == "done"]
        return {record.trial.method: record for record in records}, store.predictions(record.trial.id for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.split(","))
def test_loaded_weights_give_the_stored_predictions_bit_for_bit(runs, method):
    records, predictions = stored(runs)
    record = records[method]
    kept = bench.load_weights(record.trial.id[:10], runs)
    assert record.facts.weights == "kept"
    for _ in range(2):  # whatever was predicted before
        assert kept.logits().tobytes() == predictions[record.trial.id].outputs.tobytes()
    assert kept.scores().tobytes() == predictions[record.trial.id].scores.tobytes()
    assert kept.logits(kept.test.rows(np.arange(5))).shape == (5, 2)


@pytest.mark.slow
def test_method_that_fits_itself_says_that_nothing_is_kept(runs):
    record = stored(runs)[0]["mean-logistic"]
    assert record.facts.weights == "none to keep: the method fits itself"
    assert len(list((runs / "weights").iterdir())) == len(METHODS.split(","))
    with pytest.raises(UsageError, match=r"no weights of trial .*: there is no .*--keep-weights"):
        bench.load_weights(record.trial.id, runs)


@pytest.mark.slow
def test_file_says_whose_it_is_and_names_no_path(runs):
    from safetensors import safe_open

    trial = stored(runs)[0]["mean-mlp"].trial
    with safe_open(runs / "weights" / f"{trial.id}.safetensors", framework="pt") as stream:
        told = stream.metadata()
    assert (told["format"], told["trial"], told["method"], told["dataset"]) == (FORMAT, trial.id, "mean-mlp", "breast-cancer")
    assert json.loads(told["config"])["epochs"] == 2
    assert json.loads(told["schema"])["target"]["classes"] == ["malignant", "benign"]
    assert not any(word in str(told) for word in (str(runs), str(Path.home()), str(Path.cwd())))


@pytest.mark.slow
def test_trial_stored_without_weights_runs_again_to_the_same_bits(tmp_path):
    asked = {**ASKED, "methods": "mean-mlp,mean-logistic", "out": tmp_path}
    bench.run(**asked)
    before = stored(tmp_path)[1]
    assert not (tmp_path / "weights").exists()
    told = []
    bench.run(**asked, keep_weights=True, hooks=[told.append])
    assert [record["method"] for record in told] == ["mean-mlp"]
    bench.run(**asked, keep_weights=True, hooks=[told.append])
    assert len(told) == 1
    assert all(found.outputs.tobytes() == before[id_].outputs.tobytes() for id_, found in stored(tmp_path)[1].items())


@pytest.mark.slow
def test_damaged_or_swapped_weights_are_refused(runs, tmp_path):
    from safetensors import safe_open
    from safetensors import torch as safetensors

    records, _ = stored(runs)
    one, other = (runs / "weights" / f"{records[name].trial.id}.safetensors" for name in ("mean-mlp", "muse"))
    whole = one.read_bytes()
    try:
        one.write_bytes(other.read_bytes())
        with pytest.raises(UsageError, match="must hold the weights of trial"):
            bench.load_weights(records["mean-mlp"].trial.id, runs)
        with safe_open(one.parent / other.name, framework="pt") as stream:
            told = stream.metadata()
        one.write_bytes(safetensors.save({"a": torch.zeros(1)}, {**told, "trial": records["mean-mlp"].trial.id}))
        with pytest.raises(UsageError, match=r"has no tensor bench\.generator"):
            bench.load_weights(records["mean-mlp"].trial.id, runs)
        one.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UsageError, match="is damaged"):
            bench.load_weights(records["mean-mlp"].trial.id, runs)
    finally:
        one.write_bytes(whole)


def test_state_that_is_no_tensor_is_refused_and_no_file_is_left(runs, tmp_path):
    class Odd(torch.nn.Linear):
        def get_extra_state(self):
            return {"step": 3}

    with pytest.raises(TrialError, match=r"_extra_state of Odd is no tensor; run without --keep-weights"):
        save(Odd(2, 2), stored(runs)[0]["mean-mlp"].trial, 1, tmp_path / "weights" / "x.safetensors")
    assert not (tmp_path / "weights").exists()


def test_keeping_is_refused_before_anything_runs_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.records.kept.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"safetensors is not installed; pip install 'missing-modality-bench\[weights\]'"):
        bench.run(methods="mean-mlp", out=tmp_path / "runs", keep_weights=True, **ASKED)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_weights_of_other_code_are_refused(runs, monkeypatch):
    record = stored(runs)[0]["mean-mlp"]
    monkeypatch.setattr(Store, "record", lambda *_: replace(record, trial=replace(record.trial, version="other")))
    with pytest.raises(UsageError):
        bench.load_weights(record.trial.id, runs)

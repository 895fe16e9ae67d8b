"""bench/training/trial.py: one loop for all methods, nothing hidden can be read, the same seed gives the same bits."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import registry
from bench.data.loading import load
from bench.datasets.breast_cancer import BreastCancer
from bench.errors import TrialError
from bench.methods.tracing import read_traces
from bench.names import Choice
from bench.question.trial import Trial
from bench.records.predictions import stack, unstack
from bench.stats.binary import auroc
from bench.stats.metrics import score
from bench.training import loop
from bench.training import trial as trial_module
from bench.training.loop import resolve_device
from bench.training.trial import run_trial

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"
CLOSE = OUTSIDE.with_name("close_scores.py")


def make_trial(method="Mine", epochs=2, seed=0, dataset="breast-cancer", combination="MEW", protocol="mcar(0.3)", **changes):
    file = CLOSE if f"class {method}(" in CLOSE.read_text() else OUTSIDE
    name = f"{file}:{method}" if method[0].isupper() else method
    training = {} if method in ("constant", "mean-logistic", "bayes") else {"epochs": epochs, "batch_size": 64}
    trial = Trial(
        method=name, preset="default", options={}, training=training, dataset=dataset, dataset_options={}, combination=combination,
        protocol=protocol, seed=seed, selection="accuracy", vary="training", fixed_seed=0, fingerprint="", version="", **changes,
    )  # fmt: skip
    return identified(replace(trial, fingerprint=load(Choice(dataset, "", trial.dataset_options)).fingerprint))


def identified(trial):
    """The trial with the version of its method's code."""
    return replace(trial, version=registry.source_version(registry.method_class(trial.method)))


def test_record_holds_scores_cost_and_provenance():
    record, predictions = run_trial(make_trial(epochs=5))
    assert record.status == "done"
    assert record.metrics["accuracy"] > 0.8
    assert set(record.cost) == {
        "gflops_per_sample", "parameters", "active_parameters", "latency_ms_1", "latency_ms_64", "train_seconds", "peak_memory_mb",
    }  # fmt: skip
    assert all(value is not None and value >= 0 for value in record.cost.values())
    assert record.facts.test_evaluations == 1
    assert sum(record.facts.histogram) == len(predictions.target) == record.facts.rows["test"]
    assert {"commit", "dirty", "packages", "hardware_id", "device", "threads"} <= set(record.provenance.as_json())
    assert (predictions.form, predictions.outputs.dtype, predictions.scores.dtype) == ("logits", np.float32, np.float64)
    assert np.allclose(predictions.scores.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("method", ["Mine", "mean-mlp", pytest.param("moe-retriever", marks=pytest.mark.slow), "gradient-boosting"])
def test_same_seed_same_bits_whatever_the_global_generators_hold(method):
    trial = make_trial(method) if method == "Mine" else replace(make_trial(method), preset=_preset(method))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = run_trial(trial)[1].scores
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, run_trial(trial)[1].scores)


def _preset(method):
    from bench import registry

    return next(iter(registry.method_class(method).presets))


def test_another_seed_gives_other_numbers_on_the_same_test_rows():
    one, other = run_trial(make_trial(seed=0))[1], run_trial(make_trial(seed=1))[1]
    assert np.array_equal(one.ids, other.ids)
    assert not np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("ReadsHidden", "the method read a cell that is not observed"),
        ("WrongShape", r"must return logits \(B, C\) = \(64, 2\), got \(64, 1\) \(epoch 1, batch 1\)"),
        ("NoPrediction", "must return a Prediction, got Tensor"),
        ("Diverges", "non-finite loss: penalty penalty"),
        ("NeverReady", "the warm-up covers them all"),
        ("NotNormalised", "must sum to 1"),
    ],
)
def test_faulty_method_fails_with_its_reason(method, reason):
    trial = make_trial(method)
    if method == "NotNormalised":
        trial = replace(trial, training={})
    with pytest.raises(TrialError, match=reason):
        run_trial(trial)


def test_labels_are_absent_from_evaluation():
    """A method that copies labels into its logits gains nothing: it is left with what it learned, which is nothing."""
    record, _ = run_trial(make_trial("PeeksAtLabels", epochs=3))
    assert record.metrics["accuracy"] < 0.97


def test_methods_that_fit_themselves_get_no_labels_to_predict_from():
    peeking = replace(make_trial(), method=f"{OUTSIDE.with_name('violations.py')}:FitsLabels", training={}, evaluations=("mcar(0)",))
    peeking = identified(peeking)
    record, _ = run_trial(peeking)
    assert record.metrics["accuracy"] < 0.9
    assert record.facts.evaluations["mcar(0)"].metrics["accuracy"] < 0.9


def test_checkpoint_is_the_best_validation_epoch(monkeypatch):
    scored = []
    original = loop.selection_score
    monkeypatch.setattr(loop, "selection_score", lambda *args: scored.append(original(*args)) or scored[-1])
    record, _ = run_trial(make_trial(epochs=6))
    assert len(scored) == 6
    assert record.facts.best_epoch == scored.index(max(scored)) + 1
    assert record.facts.valid == max(scored)[0]


def test_test_part_is_scored_once(monkeypatch):
    sizes = []
    original = loop.predict

    def counted(method, batch, size):
        sizes.append(len(batch))
        return original(method, batch, size)

    for module in (loop, trial_module):
        monkeypatch.setattr(module, "predict", counted)
    record, _ = run_trial(make_trial(epochs=3))
    assert sizes[-1] == record.facts.rows["test"]
    assert len(sizes) == 4


@pytest.mark.parametrize("method", ["Mine", "mean-logistic", pytest.param("moe-retriever", marks=pytest.mark.slow)])
def test_further_evaluations_change_no_bit_of_the_main_scores(method):
    plain = make_trial(method) if method == "Mine" else replace(make_trial(method), preset=_preset(method))
    tested = replace(plain, evaluations=("mcar(0)", "mcar(0.3)", "mcar(0.6)", "fixed(M)", "fixed(MEW)"))
    (before, alone), (record, predictions) = run_trial(plain), run_trial(tested)
    assert np.array_equal(alone.scores, predictions.scores)
    assert (before.metrics, before.facts.valid) == (record.metrics, record.facts.valid)
    assert not before.facts.evaluations
    assert list(predictions.evaluations) == list(record.facts.evaluations) == list(tested.evaluations)
    facts = record.facts.evaluations
    assert np.array_equal(predictions.evaluations["mcar(0.3)"], predictions.outputs)
    assert facts["mcar(0.3)"].metrics == record.metrics
    assert (facts["mcar(0.3)"].mask, facts["mcar(0.3)"].missing) == (record.facts.masks["test"], record.facts.missing["test"])
    assert np.array_equal(predictions.evaluations["mcar(0)"], predictions.evaluations["fixed(MEW)"])
    assert facts["fixed(M)"].missing == pytest.approx(2 / 3)
    assert sum(facts["mcar(0.6)"].histogram) == len(predictions.ids)


def test_an_evaluation_does_not_depend_on_those_before_it():
    drawn = replace(make_trial("DrawsInEvaluation"), evaluations=("mcar(0.5)", "fixed(EW)"))
    one, other = run_trial(drawn)[1], run_trial(replace(drawn, evaluations=("fixed(EW)",)))[1]
    assert np.array_equal(one.evaluations["fixed(EW)"], other.evaluations["fixed(EW)"])


def test_rows_left_with_nothing_are_predicted_too():
    trial = replace(make_trial("mean-logistic"), protocol="train=natural;test=fixed(MW)", evaluations=("fixed(M)",))
    record, predictions = run_trial(trial)
    assert predictions.scores_under("fixed(M)").shape == predictions.scores.shape
    assert np.isfinite(predictions.evaluations["fixed(M)"]).all()
    assert record.facts.evaluations["fixed(M)"].metrics["accuracy"] > 0.6


def test_ceiling_is_exact_under_every_evaluation():
    trial = make_trial("bayes", dataset="gaussian", combination="ABC", protocol="natural", evaluations=("fixed(A)", "fixed(ABC)"))
    record, predictions = run_trial(trial)
    assert np.array_equal(predictions.evaluations["fixed(ABC)"], predictions.outputs)
    assert 0.25 < record.facts.evaluations["fixed(A)"].metrics["accuracy"] < record.metrics["accuracy"]


def test_ceiling_scores_the_exact_posterior():
    record, predictions = run_trial(make_trial("bayes", dataset="gaussian", combination="ABC"))
    dataset = __import__("bench.datasets.gaussian", fromlist=["GaussianClasses"]).GaussianClasses()
    assert record.metrics["accuracy"] > 0.75
    assert record.facts.synthetic
    natural, full = run_trial(make_trial("bayes", dataset="gaussian", combination="ABC", protocol="natural"))
    rows = [int(name.split("-")[1]) for name in full.ids]
    assert np.allclose(full.scores, dataset.posterior(dataset.load().rows(np.array(rows))), atol=1e-6)
    assert natural.metrics["accuracy"] > record.metrics["accuracy"]
    assert len(predictions.ids) == len(full.ids)


KINDS = {
    "Mine": "logits", "HardlyVaries": "logits", "InDouble": "logits", "InHalf": "logits", "mean-logistic": "scores", "constant": "scores",
    "Barely": "scores", "Certain": "scores", "InSingle": "scores", "Steps": "scores", "bayes": "scores",
}  # fmt: skip


def trial_on(method, dataset="breast-cancer"):
    rules = ("mcar(0)", "mcar(0.6)")
    if method == "bayes" or dataset == "gaussian":
        name = method if method == "bayes" else f"{CLOSE}:{method}"
        return identified(replace(make_trial("bayes", dataset="gaussian", combination="ABC"), method=name, evaluations=rules))
    trial = make_trial(method, evaluations=rules) if method != "mean-logistic" else replace(make_trial(method), evaluations=rules)
    return replace(trial, training={}) if KINDS[method] == "scores" else trial


@pytest.mark.parametrize("method", KINDS)
def test_what_is_scored_is_what_is_stored(method):
    record, predictions = run_trial(trial_on(method))
    packed = stack({"t": predictions})
    found = unstack(packed, packed, ["t"])["t"]
    assert found.form == KINDS[method]
    assert (record.metrics, record.facts.metric_reasons) == score(found.target, found.scores)
    for rule, evaluated in record.facts.evaluations.items():
        assert (evaluated.metrics, evaluated.metric_reasons) == score(found.target, found.scores_under(rule))
        assert evaluated.histogram == np.bincount(found.scores_under(rule).argmax(1), minlength=found.scores.shape[1]).tolist()
    assert set(found.evaluations) == set(record.facts.evaluations) == {"mcar(0)", "mcar(0.6)"}
    packed = stack({"a": predictions, "b": predictions})
    assert score(found.target, unstack(packed, packed, ["b"])["b"].scores)[0] == record.metrics


def test_order_of_scores_that_hardly_vary_is_scored_and_stored():
    """As M3Care's on support2: probabilities in float32 make ties of what the logits tell apart."""
    method = registry.method_class(f"{CLOSE}:HardlyVaries")
    method.given.clear()
    record, predictions = run_trial(trial_on("HardlyVaries"))
    assert any(np.array_equal(predictions.outputs, np.concatenate(batches)) for batches in pairwise(method.given))  # 64 and 22 rows
    margin = predictions.outputs[:, 1].astype(float) - predictions.outputs[:, 0]
    assert record.metrics["auroc"] == pytest.approx(auroc(predictions.target == 1, margin), abs=1e-12)
    cut = predictions.scores.astype(np.float32).astype(float)
    assert len(np.unique(cut[:, 1])) < len(np.unique(predictions.scores[:, 1])) == len(np.unique(margin))
    assert abs(score(predictions.target, cut)[0]["auroc"] - record.metrics["auroc"]) > 1e-4


def test_probabilities_closer_than_float32_keep_their_order():
    estimator = registry.method_class(f"{CLOSE}:Barely")
    estimator.given.clear()
    record, predictions = run_trial(trial_on("Barely"))
    given = next(found for found in estimator.given[1:] if len(found) == len(predictions.ids))
    assert np.array_equal(predictions.scores[:, 1], given)
    assert record.metrics["auroc"] == auroc(predictions.target == 1, given)
    assert len(np.unique(given)) > 80 > 2 > len(np.unique(given.astype(np.float32)))


@pytest.mark.parametrize(
    ("method", "precision"),
    [("Mine", "float32"), ("InDouble", "float64"), ("InHalf", "float32"), ("Barely", "float64"), ("InSingle", "float32")],
)
def test_outputs_are_kept_in_the_precision_of_their_method(method, precision):
    predictions = run_trial(trial_on(method))[1]
    kept = [predictions.outputs, *predictions.evaluations.values()]
    assert {outputs.dtype.name for outputs in kept} == {precision}
    if method == "InHalf":
        assert torch.equal(torch.from_numpy(predictions.outputs).bfloat16().float(), torch.from_numpy(predictions.outputs))


def test_equal_votes_stay_ties_whatever_the_other_classes_got():
    record, predictions = run_trial(trial_on("Steps", "gaussian"))
    assert len(np.unique(predictions.scores)) <= 6
    assert record.metrics == score(predictions.target, np.round(predictions.scores * 5) / 5)[0]


@pytest.mark.parametrize(("schedule", "factors"), [("constant", [1, 1]), ("poly", [1, 0.5**0.9]), ("step", [1, 0.9])])
def test_schedules_follow_their_formula(schedule, factors):
    cls = registry.method_class("mean-mlp")
    method = cls(load(Choice("breast-cancer"))[1].schema, cls.Config(schedule=schedule, epochs=40))
    assert [method.schedule(epoch, 0, 1) for epoch in (0, 20)] == pytest.approx(factors)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is present")
def test_absent_gpu_is_explained():
    with pytest.raises(TrialError, match="sees no GPU; use --device cpu or auto"):
        resolve_device("cuda")


@pytest.mark.slow
def test_records_are_written_and_change_no_number(tmp_path):
    trial = replace(make_trial("moe-retriever", epochs=4), preset="paper")
    file = tmp_path / "traces" / "trial.npz"
    _, plain = run_trial(trial)
    _, recorded = run_trial(trial, traces=file)
    assert np.array_equal(plain.scores, recorded.scores)
    tables = read_traces(file)
    assert set(tables) == {"routing", "supports", "embeddings", "gradients"}
    assert set(tables["gradients"]["epoch"]) == {1, 2, 3, 4}
    assert set(tables["embeddings"]["sample"]) == set(range(len(plain.ids)))


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**27, 1e-8])
@pytest.mark.parametrize("method", ["mean-mlp", "dropout-transformer", "best-single", "mean-logistic", "gradient-boosting"])
def test_scores_are_the_same_in_any_unit_of_the_raw_values(monkeypatch, method, factor):
    """A power of two is exact in float32, so nothing may move; another number moves what rounding moves."""
    expected = run_trial(_in_its_preset(method))[1].scores
    original = BreastCancer.load

    def load(dataset):
        samples = original(dataset)
        return replace(samples, values={name: (array * np.float64(factor)).astype(np.float32) for name, array in samples.values.items()})

    monkeypatch.setattr(BreastCancer, "load", load)
    found = run_trial(_in_its_preset(method))[1].scores
    if factor == 1e-8:
        np.testing.assert_allclose(found, expected, atol=1e-3)
    else:
        assert np.array_equal(found, expected)


def _in_its_preset(method):
    trial = make_trial(method)
    return replace(trial, preset=_preset(method), training=trial.training if method in ("mean-mlp", "dropout-transformer") else {})


@pytest.mark.parametrize("method", ["mean-mlp", "dropout-transformer", "muse", "moe-retriever", "m3care", "fusemoe", "constant"])
def test_large_data_train_as_small_ones(method, monkeypatch):
    trial = replace(make_trial(method, epochs=1, evaluations=("mcar(0.6)",)), preset=next(iter(registry.method_class(method).presets)))
    small = run_trial(trial)[1]
    monkeypatch.setattr("bench.data.parts.SMALL", 0)
    record, large = run_trial(trial)
    assert record.status == "done"
    np.testing.assert_array_equal(large.ids, small.ids)
    np.testing.assert_allclose(large.outputs, small.outputs, atol=1e-4)
    np.testing.assert_allclose(large.evaluations["mcar(0.6)"], small.evaluations["mcar(0.6)"], atol=1e-4)
    assert trial_module.validate_trial(trial)[0].facts.valid == pytest.approx(record.facts.valid)

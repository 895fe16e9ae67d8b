"""What a method or dataset hands over is checked where it enters: one bad value fails its trial with a reason, in the suite's words."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bench import registry
from bench.data.loading import load
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.errors import TrialError
from bench.grid.job import Outcome
from bench.methods.base import Estimator, Method, Prediction
from bench.names import Choice
from bench.question.trial import Trial
from bench.records.facts import Facts
from bench.records.record import Record
from bench.training.cost import stated_number
from bench.training.trial import run_trial


class Small(Dataset):
    title = "small"
    returned = None  # what `posterior` gives

    def load(self):
        rng = np.random.default_rng(0)
        target = np.arange(60) % 2
        values = {name: (rng.normal(size=(60, 2)) + target[:, None]).astype(np.float32) for name in ("one", "two")}
        schema = Schema(tuple(Modality(name, letter, "vector", (2,)) for name, letter in (("one", "O"), ("two", "T"))), ("no", "yes"))
        return Samples(schema, values, np.ones((60, 2), bool), target, np.array([f"row {row}" for row in range(60)]))

    def posterior(self, samples):
        return self.returned


@pytest.fixture
def outcome(monkeypatch):
    """What a trial of a class on a small dataset gives."""

    def run(cls, dataset=Small, **changes):
        monkeypatch.setattr(registry, "_given", {cls.__name__: cls, dataset.__name__: dataset})
        training = {"epochs": 1} if issubclass(cls, Method) else {}
        return run_trial(
            Trial(
                method=cls.__name__, preset="default", options={}, training=training, dataset=dataset.__name__, dataset_options={},
                combination="OT", protocol="natural", seed=0, selection="accuracy", vary="training", fixed_seed=0,
                fingerprint=load(Choice(dataset.__name__)).fingerprint, version=registry.source_version(cls, is_running=True), **changes,
            )
        )  # fmt: skip

    return run


def returning(made):
    """A linear method whose `forward` returns what `made` makes of its logits."""

    class Linear(Method):
        def __init__(self, schema, config):
            super().__init__(schema, config)
            self.linear = nn.Linear(2, 2)

        def forward(self, batch):
            return made(self.linear(torch.nan_to_num(batch.inputs["one"])))

    return Linear


PENALTIES = {
    "float": (lambda logits: {"size": 0.5}, r"penalty 'size' as a tensor, got float .*torch\.tensor"),
    "numpy": (lambda logits: {"size": np.float64(0.5)}, "penalty 'size' as a tensor, got float64"),
    "none": (lambda logits: {"size": None}, "penalty 'size' as a tensor, got NoneType"),
    "per row": (lambda logits: {"size": logits.square().sum(1)}, r"penalty 'size' as one floating-point number.* of shape \(32,\)"),
    "one element": (lambda logits: {"size": logits.square().mean().reshape(1)}, r"of shape \(\)\W+got torch.float32 of shape \(1,\)"),
    "whole number": (lambda logits: {"size": torch.tensor(1)}, "got torch.int64"),
    "not finite": (lambda logits: {"size": logits.sum() * float("nan")}, "non-finite loss: penalty size"),
    "tensor for all": (lambda logits: logits.sum(), "penalties as a mapping, name -> tensor, got Tensor"),
    "list": (lambda logits: [logits.sum()], "penalties as a mapping, name -> tensor, got list"),
    "no name": (lambda logits: {1: logits.sum()}, "penalties with texts for names, got 1"),
}


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_penalty_that_is_no_scalar_tensor_is_a_reason(outcome, kind):
    made, reason = PENALTIES[kind]
    with pytest.raises(TrialError, match=reason):
        outcome(returning(lambda logits: Prediction(logits, made(logits))))


def test_a_penalty_that_is_constant_for_now_is_taken(outcome):
    record, _ = outcome(returning(lambda logits: Prediction(logits, {"warm-up": torch.zeros(())})))
    assert record.status == "done"


def test_evaluation_looks_at_no_penalty(outcome):
    cls = returning(lambda logits: Prediction(logits, {"size": logits.square().mean()} if logits.requires_grad else None))
    assert outcome(cls)[0].status == "done"


LOGITS = {
    "numpy": (lambda logits: Prediction(logits.detach().numpy()), "logits as a tensor, got ndarray"),
    "none": (lambda logits: Prediction(None), "logits as a tensor, got NoneType"),
    "whole numbers": (lambda logits: Prediction(logits.round().long()), "logits of a floating-point type, got torch.int64"),
    "one column": (lambda logits: Prediction(logits[:, :1]), r"logits \(B, C\) = \(32, 2\), got \(32, 1\)"),
    "another device": (lambda logits: Prediction(logits.to("meta")), "logits on cpu, where its parameters are, got meta"),
    "detached": (lambda logits: Prediction(logits.detach()), "logits that carry gradients in training, got none"),
}


@pytest.mark.parametrize("kind", LOGITS)
def test_logits_that_cannot_be_trained_on_are_a_reason(outcome, kind):
    made, reason = LOGITS[kind]
    with pytest.raises(TrialError, match=reason):
        outcome(returning(made))


def predicting(made, **stated):
    """A method that fits itself and predicts what `made` makes of the number of rows."""

    class Fits(Estimator):
        def fit(self, train, valid):
            """Nothing is learnt."""

        def predict_proba(self, samples):
            return made(len(samples))

    for name, value in stated.items():
        setattr(Fits, name, lambda self, value=value: value)
    return Fits


def even(rows):
    return np.full((rows, 2), 0.5)


SCORES = {
    "list": (lambda rows: even(rows).tolist(), r"it must be a numpy array \(9, 2\), got list"),
    "frame": (lambda rows: pd.DataFrame(even(rows)), r"it must be a numpy array \(9, 2\), got DataFrame"),
    "masked": (lambda rows: np.ma.array(even(rows)), r"it must be a numpy array \(9, 2\), got MaskedArray"),
    "tensor": (lambda rows: torch.full((rows, 2), 0.5), "got Tensor"),
    "none": (lambda rows: None, "got NoneType"),
    "fewer rows": (lambda rows: even(rows - 1), r"its shape must be \(9, 2\), got \(8, 2\)"),
    "one column": (lambda rows: np.full(rows, 0.5), r"its shape must be \(9, 2\), got \(9,\)"),
    "objects": (lambda rows: even(rows).astype(object), "its values must be numbers, got object"),
    "true and false": (lambda rows: np.eye(2, dtype=bool)[np.zeros(rows, int)], "its values must be numbers, got bool"),
    "not finite": (lambda rows: even(rows) * [np.nan, 2], "row 0 holds a value that is not finite"),
    "negative": (lambda rows: even(rows) + np.array([-0.7, 0.7]), "a probability must not be negative, got -0.2"),
    "not normalised": (lambda rows: even(rows) * 1.5, "each row must sum to 1, got sums 1.5000 to 1.5000"),
}


@pytest.mark.parametrize("kind", SCORES)
def test_predictions_that_are_no_probabilities_are_a_reason(outcome, kind):
    made, reason = SCORES[kind]
    with pytest.raises(TrialError, match=reason):
        outcome(predicting(made))


def test_single_precision_and_whole_numbers_are_probabilities_too(outcome):
    for made in (lambda rows: even(rows).astype(np.float32), lambda rows: np.eye(2, dtype=np.int64)[np.zeros(rows, int)]):
        record, _ = outcome(predicting(made))
        json.dumps(record.as_json())
        assert record.metrics["accuracy"] == pytest.approx(4 / 9)


STATED = [np.nan, np.inf, -1, "many", True, [3], np.array([3]), 1 + 2j]


@pytest.mark.parametrize("value", STATED, ids=repr)
@pytest.mark.parametrize("what", ["parameters", "flops_per_sample"])
def test_a_cost_that_is_no_number_is_a_reason(outcome, what, value):
    with pytest.raises(TrialError, match=rf"Fits\.{what} must return a (whole )?number of at least 0, or None, got"):
        outcome(predicting(even, **{what: value}))


def test_active_parameters_are_a_whole_number(outcome):
    cls = returning(Prediction)
    cls.active_parameters = lambda self: 2.5
    with pytest.raises(TrialError, match=r"Linear\.active_parameters must return a whole number"):
        outcome(cls)


def test_numbers_of_numpy_and_torch_kinds_reach_the_record_as_plain_ones(outcome):
    record, _ = outcome(predicting(even, parameters=np.int64(7), flops_per_sample=np.float32(2e9)))
    assert (record.cost["parameters"], record.cost["gflops_per_sample"]) == (7, 2.0)
    assert json.loads(json.dumps(record.as_json()))["cost"]["active_parameters"] == 7
    assert stated_number("x", None) is None


class Knowing(Small):
    synthetic = True


POSTERIORS = {
    "shape": (np.full((9, 3), 1 / 3), r"its shape must be \(9, 2\), got \(9, 3\)"),
    "list": ([[0.5, 0.5]] * 9, "it must be a numpy array"),
    "not finite": (np.full((9, 2), np.nan), "not finite"),
    "not normalised": (np.full((9, 2), 0.4), "each row must sum to 1"),
    "negative": (np.tile([-0.5, 1.5], (9, 1)), "must not be negative"),
}


@pytest.mark.parametrize("kind", POSTERIORS)
def test_a_posterior_that_is_none_is_a_reason(outcome, kind, monkeypatch):
    given, reason = POSTERIORS[kind]
    monkeypatch.setattr(Knowing, "returned", given)
    from bench.methods.bayes import Bayes

    with pytest.raises(TrialError, match=reason):
        outcome(Bayes, Knowing)


def test_a_record_that_cannot_be_written_fails_where_it_was_made(outcome):
    record, _ = outcome(predicting(even))
    Outcome(record).check()
    odd = Record(record.trial, "done", metrics={"accuracy": np.float32(0.5)}, facts=Facts(config={"width": np.int64(3)}))
    with pytest.raises(TrialError, match=r"the record cannot be stored: Object of type (float32|int64) is not JSON serializable"):
        Outcome(odd).check()

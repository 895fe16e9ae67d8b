"""Every listed method on labels and on a value: finite outputs of the right size, gradients, and no read of what is to be told."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from bench.datasets.base import Classes, Labels, Samples, Value, as_batch
from bench.methods.base import Estimator, Method, loss_of_rows, prior_logits, row_losses, task_loss
from bench.methods.catalog import CEILING, METHODS
from bench.methods.muse import alike
from bench.stats.kinds import KINDS
from bench.training.loader import unlabelled
from bench.training.loop import evaluate
from bench.training.recipe import loss_of
from bench.training.task import Task

SMALL = {"width": 16, "tokens": 1, "epochs": 2, "batch_size": 8, "hidden": 16, "n_experts": 6, "layers": 2, "rounds": 5}


def class_of(name):
    module, attribute = METHODS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


LISTED = {name: class_of(name) for name in METHODS if name != CEILING}
TRAINED = [name for name, cls in LISTED.items() if issubclass(cls, Method)]
FITTED = [name for name, cls in LISTED.items() if issubclass(cls, Estimator)]
every_kind = pytest.mark.parametrize("kind", ["labels", "value"])


def asking(kind, samples: Samples) -> Samples:
    """The same rows asked for two labels, of which some are not known, or for a value far from 0 in a large unit."""
    if kind == "labels":
        told = np.stack([samples.target == 0, samples.target == 1], axis=1).astype(np.int64)
        told[::5, 1] = -1
        return dataclasses.replace(samples, schema=dataclasses.replace(samples.schema, target=Labels(("first", "second"))), target=told)
    value = 5000 + 300.0 * samples.target + np.arange(len(samples))
    return dataclasses.replace(samples, schema=dataclasses.replace(samples.schema, target=Value("cost", "dollars")), target=value)


def config_of(cls):
    fields = {field.name for field in dataclasses.fields(cls.Config)}
    settings = dict(next(iter(cls.presets.values()))) | {key: value for key, value in SMALL.items() if key in fields}
    try:
        return cls.Config(**settings)
    except ValueError:
        return cls.Config(**{key: value for key, value in settings.items() if key != "tokens"})


@every_kind
@pytest.mark.parametrize("name", TRAINED)
def test_trained_method_learns_each_kind_and_is_told_nothing_in_evaluation(name, kind, make_samples):
    cls, train = LISTED[name], asking(kind, make_samples(n=24))
    if kind in cls.skips:
        assert cls.skips[kind].strip()
        return
    task, config = Task.of(train), config_of(cls)
    scaled = task.standardised(train)
    torch.manual_seed(0)
    method = cls(train.schema, config)
    method.seed(0)
    method.prepare(scaled)
    batch = as_batch(scaled)
    for epoch in (0, config.epochs - 1):
        method.train()
        method.on_epoch(epoch, config.epochs)
        method.zero_grad()
        loss = loss_of(method, method(batch), batch, "a test")
        loss.backward()
        assert loss.isfinite()
        gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)
    test = asking(kind, make_samples(n=10, seed=1))
    sealed = unlabelled(as_batch(test), test.schema.target)
    with torch.no_grad():
        method.seed(0)
        logits = evaluate(method, sealed, [torch.arange(10)])
        method.seed(0)
        assert torch.equal(evaluate(method, as_batch(test), [torch.arange(10)]), logits)  # what is to be told reaches no logits
    assert logits.shape == (10, train.schema.outputs)
    assert KINDS[kind].wrong(task.scores(logits), 10, train.schema.outputs) == ""


@every_kind
@pytest.mark.parametrize("name", FITTED)
def test_method_that_fits_itself_answers_each_kind(name, kind, make_samples):
    cls, train, valid = LISTED[name], asking(kind, make_samples(n=60)), asking(kind, make_samples(n=30, seed=1))
    estimator = cls(train.schema, config_of(cls), seed=0)
    estimator.selection = KINDS[kind].metric
    estimator.fit(train, valid)
    test = asking(kind, make_samples(n=12, seed=2)).untold()
    whole = estimator.outputs(test)
    assert KINDS[kind].wrong(whole, 12, train.schema.outputs) == ""
    np.testing.assert_allclose(estimator.outputs(test.rows(np.array([4]))), whole[[4]], atol=1e-6, rtol=1e-6)
    if kind == "value":
        assert 4000 < whole.mean() < 7000  # in its own unit


def test_floor_is_the_prevalence_the_mean_or_the_median_by_the_metric(make_samples):
    constant = LISTED["constant"]

    def said(samples, metric):
        found = constant(samples.schema, constant.Config())
        found.selection = metric
        found.fit(samples, samples)
        return found.outputs(samples)[0]

    labels, value = asking("labels", make_samples(n=25)), asking("value", make_samples(n=25))
    known = labels.target >= 0
    np.testing.assert_allclose(said(labels, "label_auroc"), [(labels.target[known[:, k], k] == 1).mean() for k in range(2)])
    assert said(value, "rmse") == pytest.approx([value.target.mean()])
    assert said(value, "mae") == pytest.approx([np.median(value.target)])


def test_loss_of_labels_is_the_mean_over_known_cells():
    target, logits = torch.tensor([[1, 0, -1], [-1, -1, -1], [0, 1, 1]]), torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    cells = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.clamp(min=0).float(), reduction="none")
    asked = Labels(("a", "b", "c"))
    torch.testing.assert_close(task_loss(asked, logits, target), cells[target >= 0].mean())
    expected = [cells[0, :2].mean(), torch.tensor(0.0), cells[2].mean()]
    torch.testing.assert_close(row_losses(asked, logits, target), torch.stack(expected))
    assert task_loss(asked, logits[1:2], target[1:2]) == 0


@pytest.mark.parametrize("value_loss", ["squared", "absolute"])
def test_loss_of_a_value_is_squared_or_by_choice_absolute(value_loss):
    logits, target = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 5.0])
    gaps = (logits[:, 0] - target).abs()
    expected = gaps if value_loss == "absolute" else gaps**2
    torch.testing.assert_close(task_loss(Value("v"), logits, target, value_loss), expected.mean())
    spread = logits.unsqueeze(1).expand(2, 4, 1)  # a logit for each of four modalities
    torch.testing.assert_close(row_losses(Value("v"), spread, target, value_loss), expected[:, None].expand(2, 4))


def test_loss_of_classes_is_the_cross_entropy_to_the_bit():
    logits, target = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1, 0])
    asked = Classes(("a", "b", "c"))
    assert torch.equal(task_loss(asked, logits, target), torch.nn.functional.cross_entropy(logits, target))


def test_a_value_is_standardised_by_the_training_rows_and_told_in_its_unit(make_samples):
    train = asking("value", make_samples(n=24))
    task = Task.of(train)
    scaled = task.standardised(train).target
    assert (scaled.mean(), scaled.std()) == (pytest.approx(0), pytest.approx(1))
    assert task.stored(scaled[:, None].astype(np.float32)) == pytest.approx(train.target[:, None])
    same = dataclasses.replace(train, target=np.full(24, 7.0))
    assert (Task.of(same).centre, Task.of(same).sd) == (7.0, 1.0)


def test_rows_are_alike_by_class_by_shared_labels_or_by_distance():
    same, pairs = alike(torch.tensor([0, 1, 0, -1]), torch.float32)
    assert same[0].tolist() == [1, 0, 1, 0]
    assert pairs.sum() == 9
    same, pairs = alike(torch.tensor([[1, 0, -1], [1, 1, 0], [-1, -1, -1]]), torch.float32)
    assert (same[0, 1], pairs[0, 1], pairs[0, 2]) == (0.5, 1, 0)
    same, pairs = alike(torch.tensor([0.0, 1.0, torch.nan]), torch.float32)
    assert same[0, 1].item() == pytest.approx(np.exp(-1))
    assert pairs.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


ASKED = [
    (Classes(("a", "b", "c")), torch.tensor([0, 2, 1, 1, 0])),
    (Labels(("a", "b", "c")), torch.tensor([[0, 1, 1], [1, 0, 0], [1, 1, 1], [0, 0, 1], [1, 0, 1]])),
    (Value("v"), torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0])),
]


@pytest.mark.parametrize(("asked", "target"), ASKED, ids=["classes", "labels", "value"])
def test_loss_of_some_rows_is_the_loss_of_a_batch_of_them(asked, target):
    logits = torch.randn(5, asked.outputs, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([True, False, True, False, False])
    torch.testing.assert_close(loss_of_rows(asked, logits, target, rows), task_loss(asked, logits[rows], target[rows]))


@pytest.mark.parametrize(("asked", "target"), ASKED, ids=["classes", "labels", "value"])
def test_loss_of_no_row_is_zero_and_sends_no_gradient(asked, target):
    logits = torch.randn(5, asked.outputs, requires_grad=True)
    loss = loss_of_rows(asked, logits, torch.full_like(target, -1), torch.zeros(5, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_prior_counts_each_answer_once_more_than_it_occurs(make_samples):
    samples = make_samples(n=3, classes=3)
    classes = dataclasses.replace(samples, target=np.array([0, 0, 1]))
    torch.testing.assert_close(prior_logits(classes).exp(), torch.tensor([3.0, 2.0, 1.0]) / 6)
    schema = dataclasses.replace(samples.schema, target=Labels(("first", "second")))
    labels = dataclasses.replace(samples, schema=schema, target=np.array([[1, -1], [1, 0], [0, 0]]))
    torch.testing.assert_close(prior_logits(labels).sigmoid(), torch.tensor([3 / 5, 1 / 4]))
    value = dataclasses.replace(samples, schema=dataclasses.replace(samples.schema, target=Value("v")), target=np.array([0.0, 1.0, 2.0]))
    assert prior_logits(value).tolist() == [0.0]

"""MeanMLP fills raw inputs with training means and learns a perceptron."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.datasets.base import Modality, Samples, Schema, as_batch
from bench.methods.flatten import flatten
from bench.methods.mean_mlp import MeanMLP, MeanMLPConfig


def build(samples, seed=0, **options):
    torch.manual_seed(seed)
    method = MeanMLP(samples.schema, MeanMLPConfig(**{"width": 16, **options}))
    method.prepare(samples)
    return method


def test_means_are_those_of_observed_training_rows(make_samples):
    samples = make_samples(n=40, missing=0.4)
    train, test = samples.rows(np.arange(20)), samples.rows(np.arange(20, 40))
    method = build(train)
    expected = np.concatenate([np.nanmean(train.values[name], axis=0) for name in train.schema.names])
    np.testing.assert_allclose(method.means, expected, rtol=1e-5)
    filled, hidden = method.fill(as_batch(test)), torch.from_numpy(~test.observed[:, 1])
    assert hidden.any()
    torch.testing.assert_close(filled[hidden, 5:10], method.means[5:10].expand(int(hidden.sum()), 5), rtol=0, atol=0)
    torch.testing.assert_close(filled[~hidden, 5:10], as_batch(test).inputs["beta"][~hidden], rtol=0, atol=0)


def test_hidden_values_never_reach_logits_or_gradients(make_samples):
    samples = make_samples(n=20, missing=0.4)
    method, batch = build(samples).eval(), as_batch(samples)
    logits = method(batch).logits
    F.cross_entropy(logits, batch.target).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())
    opened = {name: x.nan_to_num(torch.inf) for name, x in batch.inputs.items()}
    assert torch.equal(logits, method(replace(batch, inputs=opened)).logits)


def test_rows_do_not_depend_on_batch_mates(make_samples):
    samples = make_samples(n=20)
    method, batch = build(samples).eval(), as_batch(samples)
    alone = torch.cat([method(batch.rows(torch.tensor([b]))).logits for b in range(20)])
    torch.testing.assert_close(method(batch).logits, alone, rtol=0, atol=1e-6)


def test_missing_and_mean_are_told_apart(make_samples):
    samples = make_samples(n=20, missing=0.0)
    method, batch = build(samples).eval(), as_batch(samples)
    hidden = batch.observed & torch.tensor([False, True, True])
    at_mean = replace(batch, inputs={**batch.inputs, "alpha": method.means[:5].expand(20, 5)})
    assert not torch.allclose(method(at_mean).logits, method(replace(at_mean, observed=hidden)).logits)


def test_means_travel_with_the_checkpoint(make_samples):
    samples = make_samples(n=20, missing=0.4)
    method, other = build(samples).eval(), build(samples.rows(np.arange(5)), seed=4).eval()
    other.load_state_dict(method.state_dict())
    assert torch.equal(method(as_batch(samples)).logits, other(as_batch(samples)).logits)


def test_modality_never_observed_in_training_is_harmless(make_samples):
    samples = make_samples(n=20)
    hidden = np.zeros_like(samples.observed)
    hidden[:, 2] = True
    method = build(samples.hide(hidden)).eval()
    assert (method.means[10:] == 0).all()
    assert method(as_batch(samples)).logits.isfinite().all()


def test_images_enter_flat_and_sequences_as_means():
    schema = Schema((Modality("image", "I", "image", (2, 3, 3)), Modality("sound", "S", "sequence", (4, 5))), ("a", "b"))
    rng = np.random.default_rng(0)
    values = {m.name: rng.normal(size=(6, *m.shape)).astype(np.float32) for m in schema}
    observed = np.array([[True, True], [True, False], [False, True]] * 2)
    samples = Samples(schema, values, observed, np.arange(6) % 2, np.array(list("abcdef"))).sealed()
    method = build(samples).eval()
    assert method.perceptron[0].in_features == 18 + 5 + 2
    assert method(as_batch(samples)).logits.shape == (6, 2)


def test_sequence_enters_as_the_mean_that_estimators_get():
    schema = Schema((Modality("sound", "S", "sequence", (4, 2)),), ("a", "b"))
    values = {"sound": np.random.default_rng(0).normal(size=(6, 4, 2)).astype(np.float32)}
    observed, lengths = np.ones((6, 1), dtype=bool), {"sound": np.array([4, 1, 2, 3, 4, 0])}
    observed[5] = False
    rest = (np.arange(6) % 2, np.array(list("abcdef")))
    for some in (lengths, {}):
        samples = Samples(schema, values, observed, *rest, lengths=some).sealed()
        method = build(samples)
        expected = flatten(samples)
        expected[5] = method.means
        np.testing.assert_allclose(method.fill(as_batch(samples)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"width": 0}, {"layers": 0}, {"dropout": 1.0}], ids=str)
def test_bad_config_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MeanMLPConfig(**options)

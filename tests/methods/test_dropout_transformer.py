"""DropoutTransformer attends to observed tokens alone and drops modalities in training alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from bench.datasets.base import Modality, Schema
from bench.methods.dropout_transformer import DropoutTransformer, DropoutTransformerConfig


def build(modalities=3, seed=0, **options):
    torch.manual_seed(seed)
    names = ["alpha", "beta", "gamma", "delta"][:modalities]
    schema = Schema(tuple(Modality(name, name[0].upper(), "vector", (5,)) for name in names), ("0", "1", "2"))
    method = DropoutTransformer(schema, DropoutTransformerConfig(**{"width": 16, "tokens": 2, "hidden": 16, **options}))
    method.seed(0)
    return method


def test_hidden_modality_never_reaches_logits(make_batch):
    method, batch = build().eval(), make_batch(n=12, missing=0.5)
    opened = {name: x.nan_to_num(torch.inf) for name, x in batch.inputs.items()}
    assert torch.equal(method(batch).logits, method(replace(batch, inputs=opened)).logits)


def test_embeddings_of_missing_modalities_never_reach_logits(make_batch):
    method, batch = build().eval(), make_batch(n=12)
    batch = replace(batch, observed=batch.observed & torch.tensor([True, False, True]))
    before = method(batch).logits
    with torch.no_grad():
        method.modality_embedding[1] += 100
    torch.testing.assert_close(method(batch).logits, before, rtol=0, atol=0)


def test_rows_do_not_depend_on_batch_mates(make_batch):
    method, batch = build().eval(), make_batch(n=20)
    alone = torch.cat([method(batch.rows(torch.tensor([b]))).logits for b in range(20)])
    torch.testing.assert_close(method(batch).logits, alone, rtol=0, atol=1e-5)


def test_row_without_modalities_is_finite(make_batch):
    method, batch = build().train(), make_batch(n=5)
    logits = method(replace(batch, observed=torch.zeros_like(batch.observed))).logits
    F.cross_entropy(logits, batch.target).backward()
    assert logits.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(("share", "complete"), [(0.0, 1.0), (0.5, 0.5 + 0.5 / 7), (1.0, 1 / 7)])
def test_chosen_share_of_rows_keeps_a_uniform_subset(share, complete):
    method, observed = build(modality_dropout=share), torch.ones(6000, 3, dtype=torch.bool)
    kept = method.drop(observed)
    assert kept.any(1).all()
    assert kept.all(1).float().mean() == pytest.approx(complete, abs=0.025)


def test_dropped_modalities_were_observed(make_batch):
    observed = make_batch(n=300, missing=0.5).observed
    kept = build(modality_dropout=1.0).drop(observed)
    assert not (kept & ~observed).any()
    assert (kept != observed).any()


def test_evaluation_draws_nothing(make_batch):
    method, batch = build().eval(), make_batch(n=10)
    before = method.generator.get_state()
    assert torch.equal(method(batch).logits, method(batch).logits)
    assert torch.equal(method.generator.get_state(), before)


def test_every_parameter_is_trained(make_batch):
    method, batch = build().train(), make_batch(n=24)
    F.cross_entropy(method(batch).logits, batch.target).backward()
    idle = [name for name, parameter in method.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not idle


@pytest.mark.parametrize("modalities", [1, 4])
def test_batch_of_one_trains(make_batch, modalities):
    method, batch = build(modalities).train(), make_batch(n=1, modalities=modalities)
    F.cross_entropy(method(batch).logits, batch.target).backward()
    assert method.head.weight.grad.isfinite().all()


def test_state_dict_restores_predictions(make_batch):
    method, other, batch = build().eval(), build(seed=9).eval(), make_batch(n=8)
    other.load_state_dict(method.state_dict())
    assert torch.equal(method(batch).logits, other(batch).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 30}, "width must be a multiple of heads, got 30 and 4"),
        ({"tokens": 0}, "tokens, width, heads, layers and hidden must be at least 1"),
        ({"modality_dropout": 1.1}, "modality_dropout in"),
    ],
    ids=["width", "tokens", "modality_dropout"],
)
def test_bad_config_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        DropoutTransformerConfig(**options)

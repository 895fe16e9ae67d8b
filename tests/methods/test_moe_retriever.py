"""MoE-Retriever against its equations, a loop over single pairs, and stored outputs of the official code."""

from __future__ import annotations

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import registry
from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.methods.encoders import PatchEncoders
from bench.methods.layers import cv_squared
from bench.methods.moe_retriever import (
    CHOICES,
    Context,
    Fusion,
    FusionLayer,
    MoERetriever,
    MoERetrieverConfig,
    Retriever,
    Router,
    distinct_ranks,
    supporting_groups,
)
from bench.methods.tracing import tracing
from bench.names import parse_choice
from bench.question.suite import suite_from

SMALL = {"tokens": 2, "width": 8, "heads": 2, "n_target_experts": 3, "n_shared": 2, "kept": 2, "dropout": 0.0}


def build(train: Samples, seed: int = 5, **changes) -> MoERetriever:
    """A prepared model in eval mode whose gates and positions are random, so that nothing ties."""
    torch.manual_seed(1)
    model = MoERetriever(train.schema, MoERetrieverConfig(**(SMALL | changes)))
    for name, parameter in model.named_parameters():
        if "gate" in name or "spread" in name or "position" in name:
            torch.nn.init.normal_(parameter)
    model.seed(seed)
    model.prepare(train)
    return model.eval()


def hide(samples: Samples, missing: list[int], rows: slice = slice(None)) -> Samples:
    """The samples with all modalities observed but those named, in the rows named. (Values: seeded noise.)"""
    rng = np.random.default_rng(7)
    values = {name: rng.normal(size=array.shape).astype(np.float32) for name, array in samples.values.items()}
    observed = np.ones_like(samples.observed)
    observed[rows, missing] = False
    return replace(samples, values=values, observed=observed).sealed()


def without_complete_rows(samples: Samples) -> Samples:
    """Rows that miss something, so that the supporting groups of rows that miss one modality are empty."""
    return samples.rows(~samples.observed.all(1))


def loss_of(model: MoERetriever, batch: Batch) -> Tensor:
    prediction = model(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


def retriever_gradients(model: MoERetriever) -> list[Tensor | None]:
    return [parameter.grad for parameter in model.retriever.parameters()]


# equations


def test_supporting_group_follows_equation_2():
    bank, own = torch.rand(40, 4) < 0.6, torch.rand(9, 4) < 0.4
    target = torch.arange(9) % 4
    expected = torch.zeros(9, 40, dtype=torch.bool)
    for k, j in np.ndindex(9, 40):
        expected[k, j] = bank[j, target[k]] and all(bank[j, m] for m in range(4) if own[k, m])
    assert torch.equal(supporting_groups(bank, own, target), expected)


def test_ranks_are_uniform_over_ordered_choices():
    grid = (torch.arange(12, dtype=torch.float64) + 0.5) / 12
    ranks = distinct_ranks(torch.cartesian_prod(grid, grid, grid), torch.full((12**3,), 4))
    choices, counts = ranks.unique(dim=0, return_counts=True)
    assert len(choices) == 4 * 3 * 2
    assert (counts == 12**3 // 24).all()
    assert all(len(set(choice)) == 3 for choice in choices.tolist())


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("n_support", [0, 1, 5])
def test_every_support_is_in_its_group(make_samples, training, n_support):
    train = without_complete_rows(make_samples(n=40, modalities=4, missing=0.4))
    model = build(train, n_support=n_support).train(training)
    observed = torch.from_numpy(train.observed)
    row, target = (~observed).nonzero().unbind(1)
    support, taken = model.draw_supports(row, observed[row], target)
    group = supporting_groups(observed, observed[row], target)
    for rows, take, members, own in zip(support.tolist(), taken.tolist(), group, observed[row], strict=True):
        assert take == min(n_support or int(own.sum()), int(members.sum()))
        assert len(set(rows[:take])) == take
        assert members[rows[:take]].all()
    assert (taken == 0).any()
    assert (taken > 1).any() or n_support == 1


def by_loop(model: MoERetriever, batch: Batch) -> Tensor:
    """Filled tokens (B, M, P, D) by the paper's equations, one pair at a time; supports are drawn for the pair alone."""
    c, r = model.config, model.retriever
    tokens = model.encoders(batch)
    filled = tokens.clone()
    own, shared = c.n_target_experts, range(len(model.schema) * c.n_target_experts, len(r.experts.weight1) if c.routing != "none" else 0)
    for i, t in (~batch.observed).nonzero().tolist():
        observed = batch.observed[i]
        elements, kinds, sources = [], [], []
        if c.use_intra:
            support, taken = model.draw_supports(batch.index[i : i + 1], observed[None], torch.tensor([t]))
            for row in support[0, : int(taken)]:
                elements.append(model.encoders.encode(t, model.bank.inputs[model.schema.names[t]][row][None])[0])
                kinds, sources = [*kinds, 0], [*sources, t]
        for m in observed.nonzero().flatten().tolist() if c.use_inter else []:
            elements.append(tokens[i, m])
            kinds, sources = [*kinds, 1], [*sources, m]
        if not elements:
            continue
        x = torch.stack(elements)  # (n, P, D)
        if c.routing != "none":
            z = r.norm1(x)
            if c.attn_axis == "tokens":
                a = r.attention(z.flatten(0, 1)[None])[0].view_as(x)
            elif c.attn_axis == "context":
                a = torch.stack([r.attention(z[:, p][None])[0] for p in range(c.tokens)], dim=1)
            else:
                a = torch.stack([r.attention(element[None])[0] for element in z])
            u = r.norm2(x + a if c.attn_residual else a)
            allowed = [*range(t * own, (t + 1) * own), *shared] if c.routing == "context" else range(len(r.experts.weight1))
            x = torch.zeros_like(u)
            for n, p in np.ndindex(u.shape[:2]):
                router = {1: 0, 2: kinds[n]}.get(c.n_routers, sources[n])
                logit = {e: float(r.router.gate[router, e] @ u[n, p]) for e in allowed}
                kept = sorted(allowed, key=lambda e: -logit[e])[: c.kept]
                total = sum(np.exp(logit[e]) for e in (allowed if c.gate_norm == "softmax_topk" else kept))
                for e in kept:
                    h = F.gelu(r.experts.weight1[e] @ u[n, p] + r.experts.bias1[e])
                    x[n, p] += np.exp(logit[e]) / total * (r.experts.weight2[e] @ h + r.experts.bias2[e])
            x = x + u if c.moe_residual else x
        sides = [x[[kind == k for kind in kinds]] for k in set(kinds)]
        filled[i, t] = x.mean(0) if c.integrate == "mean" else torch.stack([side.mean(0) for side in sides]).mean(0)
    return filled


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gate_norm": "topk_softmax", "integrate": "mean"},
        {"attn_axis": "context", "n_support": 3},
        {"attn_axis": "patch", "attn_residual": False},
        {"use_intra": False, "n_shared": 0},
        {"use_inter": False},
        {"routing": "none"},
        {"routing": "unrestricted", "kept": 6},
        {"n_routers": 2},
        {"n_routers": 4},
        {"moe_residual": True, "backoff": True},
        {"encoder": "patch"},
        MoERetriever.presets["as_released"],
    ],
    ids=lambda changes: "as_released" if len(changes) > 2 else " ".join(f"{k}={v}" for k, v in changes.items()) or "paper",
)
@torch.no_grad()
def test_batched_retrieval_equals_the_loop(make_samples, changes):
    model = build(without_complete_rows(make_samples(n=16, modalities=4, missing=0.5)), **changes)
    batch = as_batch(make_samples(n=9, modalities=4, missing=0.4, seed=3))
    filled, imbalance = model.complete(model.encoders(batch), batch)
    assert imbalance is None
    torch.testing.assert_close(filled, by_loop(model, batch), rtol=1e-5, atol=1e-6)
    assert (filled == 0).all(3).all(2).any() == (changes.get("use_inter") is False)  # slots without any context stay zero


@torch.no_grad()
def test_released_retrieval_is_the_balanced_mean_of_encoder_tokens(make_samples):
    model = build(make_samples(n=30, modalities=4), **MoERetriever.presets["as_released"])
    batch = as_batch(make_samples(n=9, modalities=4, missing=0.5, seed=3))
    tokens = model.encoders(batch)
    filled, _ = model.complete(tokens, batch)
    for i, t in (~batch.observed).nonzero().tolist():
        support, taken = model.draw_supports(batch.index[[i]], batch.observed[[i]], torch.tensor([t]))
        rows = model.bank.inputs[model.schema.names[t]][support[0, : int(taken)]]
        expected = (model.encoders.encode(t, rows).mean(0) + tokens[i, batch.observed[i]].mean(0)) / 2
        torch.testing.assert_close(filled[i, t], expected)


@torch.no_grad()
def test_backoff_takes_any_row_with_the_target(make_samples):
    train = without_complete_rows(make_samples(n=40, modalities=4, missing=0.4))
    observed = torch.from_numpy(train.observed)
    row, target = (~observed).nonzero().unbind(1)
    group = supporting_groups(observed, observed[row], target)
    strict, wide = (build(train, backoff=backoff).draw_supports(row, observed[row], target) for backoff in (False, True))
    empty = ~group.any(1)
    assert empty.any()
    assert (wide[1][empty] == observed[row[empty]].sum(1)).all()
    for rows, take, t in zip(wide[0][empty].tolist(), wide[1][empty].tolist(), target[empty].tolist(), strict=True):
        assert observed[rows[:take], t].all()
    slots = strict[0].shape[1]
    assert torch.equal(wide[0][~empty][:, :slots], strict[0][~empty])


@torch.no_grad()
def test_both_gate_norms_choose_alike():
    paper, code = (Router(MoERetrieverConfig(**SMALL, gate_norm=norm), 9, 3, torch.arange(9)[None]) for norm in CHOICES["gate_norm"])
    paper.gate.normal_()
    code.gate.copy_(paper.gate)
    u, zero = torch.randn(20, 8), torch.zeros(20, dtype=torch.int64)
    a, b = paper(u, zero, zero), code(u, zero, zero)
    assert torch.equal(a.experts, b.experts)
    assert (a.gates.sum(1) < 1).all()
    torch.testing.assert_close(a.gates / a.gates.sum(1, keepdim=True), b.gates)


def test_imbalance_is_zero_when_experts_share_alike():
    router = Router(MoERetrieverConfig(**SMALL | {"gate_noise": False}), 4, 1, torch.arange(4)[None])
    with torch.no_grad():
        router.gate[0, :, :4] = 9 * torch.eye(4)
    u, group = torch.eye(8)[[0, 1, 2, 3, 0, 0, 0, 0]], torch.tensor([0, 0, 0, 0, 2, 2, 2, 2])
    found = router.imbalance(router(u, torch.zeros_like(group), torch.zeros_like(group)), group, 3)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 8.0]))  # one of four experts takes all: CV^2 = 4, twice


def test_balance_is_a_mean_over_the_targets_present(make_samples):
    train = make_samples(n=10, modalities=4, missing=0.0)
    observed = np.ones_like(train.observed)
    observed[:5, 1] = observed[5:, 3] = False
    model, batch = build(train, use_intra=False, gate_noise=False).train(), as_batch(replace(train, observed=observed))
    parts = [batch.rows(rows) for rows in torch.arange(10).split(5)]
    both, first, second = (model.complete(model.encoders(part), part)[1] for part in (batch, *parts))
    torch.testing.assert_close(both, (first + second) / 2)
    assert first != second


# what reaches what


def test_experts_and_router_shape_the_logits(make_samples):
    train = make_samples(n=24, modalities=3, missing=0.5)
    model = build(train, balance_weight=0.0).train()
    chosen = []
    model.retriever.experts.register_forward_hook(lambda module, inputs, output: chosen.append(inputs[1]))
    loss_of(model, as_batch(train)).backward()
    assert all(grad.isfinite().all() and grad.abs().sum() > 0 for grad in retriever_gradients(model))
    moved = model.retriever.experts.weight2.grad.abs().sum((1, 2)).nonzero().flatten()
    assert torch.equal(moved, torch.cat(chosen).unique())


def test_experts_of_other_targets_get_no_gradient(make_samples):
    train = hide(make_samples(n=20, modalities=4), [2], slice(0, 10))
    model = build(train).train()
    loss_of(model, as_batch(train)).backward()
    moved = model.retriever.experts.weight1.grad.abs().sum((1, 2)) > 0  # (E,)
    scored = model.retriever.router.gate.grad[0].abs().sum(1) > 0
    allowed = torch.tensor([*range(6, 9), 12, 13])  # E_T = 3 and E_sh = 2
    assert torch.equal(scored.nonzero().flatten(), allowed)
    assert moved[allowed].any()
    assert moved.sum() == moved[allowed].sum()


def test_every_parameter_learns(make_samples):
    train = make_samples(n=24, modalities=3, missing=0.4)
    for preset, changes in MoERetriever.presets.items():
        model = build(train, **changes).train()
        loss_of(model, as_batch(train)).backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == [], preset


def test_order_within_a_context_has_no_meaning(make_samples):
    train = make_samples(n=30, modalities=4)
    model = build(train)
    batch = as_batch(train)
    context = model.context(model.encoders(batch), batch)
    first = (context.pair == 3).nonzero().flatten()
    slot = context.slot.clone()
    slot[first] = slot[first].flip(0)
    assert len(first) > 2
    torch.testing.assert_close(model.retriever(context, None)[0], model.retriever(context._replace(slot=slot), None)[0])


def test_a_support_acts_on_its_own_pairs_alone(make_samples):
    train = make_samples(n=30, modalities=3)
    model = build(train)
    batch = as_batch(train)
    row, target = (~batch.observed).nonzero().unbind(1)
    support, taken = model.draw_supports(batch.index[row], batch.observed[row], target)
    changed, m = int(support[0, 0]), int(target[0])
    reads = ((support == changed) & (torch.arange(support.shape[1]) < taken[:, None])).any(1) & (target == m)
    before = model.complete(model.encoders(batch), batch)[0]
    model.bank.inputs[train.schema.names[m]][changed] += 1
    after = model.complete(model.encoders(batch), batch)[0]
    assert torch.equal((before - after)[row, target].abs().sum((1, 2)) > 0, reads)


@pytest.mark.parametrize("preset", MoERetriever.presets)
@torch.no_grad()
def test_hidden_values_change_nothing(make_samples, preset):
    train = make_samples(n=20, modalities=4, missing=0.5)
    model = build(train, **MoERetriever.presets[preset])
    batch = as_batch(train)
    logits = model(batch).logits
    for data in (batch, model.bank):
        for m, name in enumerate(train.schema.names):
            data.inputs[name][~data.observed[:, m]] = 1e6
    assert logits.isfinite().all()
    assert torch.equal(model(batch).logits, logits)


@pytest.mark.parametrize("detached", [True, False])
def test_gradient_flows_through_supports(make_samples, detached):
    train = hide(make_samples(n=20, modalities=3), [1], slice(0, 10))
    model = build(train, detach_support=detached).train()
    loss_of(model, as_batch(train).rows(torch.arange(10))).backward()  # no row of the batch observes modality 1
    assert all((parameter.grad is None) == detached for parameter in model.encoders[1].parameters())


# evaluation


@pytest.mark.parametrize("preset", MoERetriever.presets)
@torch.no_grad()
def test_scores_do_not_depend_on_batch_or_order(make_samples, preset):
    model = build(make_samples(n=40, modalities=4), **MoERetriever.presets[preset])
    batch = as_batch(make_samples(n=13, modalities=4, missing=0.5, seed=2))
    logits = model(batch).logits
    order = torch.randperm(13)
    singles = torch.cat([model(batch.rows(torch.tensor([i]))).logits for i in order.tolist()])
    torch.testing.assert_close(singles, logits[order], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(batch.rows(order)).logits, logits[order], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_seed_alone_decides_the_supports(make_samples):
    train, test = make_samples(n=40, modalities=4), as_batch(make_samples(n=13, modalities=4, missing=0.5, seed=2))
    first, other = build(train, seed=5)(test).logits, build(train, seed=6)(test).logits
    assert torch.equal(first, build(train, seed=5)(test).logits)
    assert not torch.equal(first, other)


@torch.no_grad()
def test_scores_average_over_draws(make_samples):
    train, test = make_samples(n=40, modalities=4), as_batch(make_samples(n=13, modalities=4, missing=0.5, seed=2))
    model, single = build(train, n_draws=3), build(train)
    probabilities = model(test).logits.softmax(1)
    tokens = model.encoders(test)
    each = torch.stack([model.fusion(model.complete(tokens, test, draw)[0], None)[0].softmax(1) for draw in range(3)])
    torch.testing.assert_close(probabilities, each.mean(0))
    torch.testing.assert_close(single(test).logits.softmax(1), each[0])
    assert not torch.equal(each[0], each[1])
    torch.testing.assert_close(model(test.rows(torch.tensor([7]))).logits.softmax(1), probabilities[[7]], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_training_draws_ignore_the_global_generator(make_samples):
    train, logits = make_samples(n=40, modalities=4), []
    for state in (0, 1):
        model = build(train).train()
        torch.manual_seed(state)
        logits.append(model(as_batch(train)).logits)
    assert torch.equal(*logits)


@torch.no_grad()
def test_training_draws_anew(make_samples):
    train = make_samples(n=40, modalities=4)
    model = build(train, gate_noise=False).train()
    assert not torch.equal(model(as_batch(train)).logits, model(as_batch(train)).logits)


@torch.no_grad()
def test_loaded_model_scores_alike(make_samples):
    train = hide(make_samples(n=30, modalities=3), [1])
    batch = as_batch(make_samples(n=9, modalities=3, seed=2))
    model, other = build(train), build(make_samples(n=5, modalities=3), seed=99)
    other.prepare(train)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(model(batch).logits, other(batch).logits)


def test_evaluation_has_no_penalties(make_samples):
    train = make_samples(n=12)
    batch = as_batch(train)
    model = build(train, fusion_sparse=True, fusion_experts=5, fusion_kept=2)
    assert model(replace(batch, target=torch.full_like(batch.target, -1))).penalties == {}
    penalties = model.train()(batch).penalties
    assert set(penalties) == {"balance", "fusion_balance"}
    assert all(value.requires_grad and value > 0 for value in penalties.values())


@torch.no_grad()
def test_records_name_every_choice(make_samples):
    train = make_samples(n=20, modalities=3, missing=0.4)
    model, batch = build(train), as_batch(train)
    with tracing(model.eval()) as tracer:
        model(batch)
    record = {name: torch.from_numpy(column) for name, column in tracer.table("routing").items()}
    target, experts = record["target"].unsqueeze(1), record["experts"]
    assert (((experts // 3) == target) | (experts >= 9)).all()
    assert (record["modality"] == record["target"])[record["supported"]].all()
    rows = torch.arange(len(target))
    assert torch.equal(record["source"][rows, record["target"]], record["supported"])
    assert record["source"][rows, record["modality"]].all()
    assert len(experts) == len(record["gates"]) == len(record["source"])


# schedule


def test_warm_up_leaves_the_retriever_alone(make_samples):
    train = make_samples(n=24)
    model = build(train).train()
    selectable = []
    for epoch in range(20):
        model.on_epoch(epoch, 20)
        selectable.append(model.is_selectable)
    assert selectable == [False] * 5 + [True] * 15
    model.on_epoch(4, 20)
    prediction = model(as_batch(train))
    assert prediction.penalties == {}
    prediction.logits.sum().backward()
    assert all(grad is None for grad in retriever_gradients(model))
    assert model.encoders[0].perceptron[0].weight.grad.abs().sum() > 0
    model.on_epoch(5, 20)
    loss_of(model, as_batch(train)).backward()
    assert all(grad is not None for grad in retriever_gradients(model))


@pytest.mark.parametrize(("epochs", "first"), [(1, 0), (2, 0), (3, 0), (4, 1), (12, 3), (20, 5), (30, 7)])
def test_short_training_has_no_warm_up(make_samples, epochs, first):
    model = build(make_samples(n=6))
    selectable = []
    for epoch in range(epochs):
        model.on_epoch(epoch, epochs)
        selectable.append(model.is_selectable)
    assert selectable.index(True) == first
    assert selectable[-1]


# edges


def test_complete_batch_skips_the_retriever(make_samples):
    train = hide(make_samples(n=8), [])
    model = build(train).train()
    prediction = model(as_batch(train))
    assert prediction.penalties["balance"] == 0
    loss_of(model, as_batch(train)).backward()
    assert all(grad is None for grad in retriever_gradients(model))


@torch.no_grad()
def test_empty_group_leaves_own_modalities(make_samples):
    train = make_samples(n=12, modalities=3)
    observed = np.zeros_like(train.observed)
    observed[:6, 0] = observed[6:, 1:] = True  # no row observes modality 0 and another one
    model = build(hide(train, []))
    model.prepare(replace(train, values={k: np.nan_to_num(v) for k, v in train.values.items()}, observed=observed).sealed())
    batch = as_batch(hide(train, [1]))
    context = model.context(model.encoders(batch), batch)
    assert not context.intra.any()
    torch.testing.assert_close(context.weights("balanced"), torch.full((24,), 0.5))
    assert model.retrievals.tolist() == [0, 12]
    assert model(batch).logits.isfinite().all()


@torch.no_grad()
def test_empty_groups_are_counted_and_logged(make_samples, caplog):
    train = hide(make_samples(n=12, modalities=3), [1])
    caplog.set_level(logging.INFO)
    model, batch = build(train), as_batch(hide(make_samples(n=5, modalities=3), [0]))
    model.on_evaluate()
    assert "empty supporting group" not in caplog.text
    model(batch)  # modality 0 has supports, modality 1 was never seen
    model.on_evaluate()
    assert "5 of 10 slots so far had an empty supporting group" in caplog.text


@torch.no_grad()
def test_small_group_gives_all_its_members(make_samples):
    train = hide(make_samples(n=12, modalities=3), [0], slice(1, None))  # row 0 alone observes modality 0
    model, batch = build(train), as_batch(train)
    context = model.context(model.encoders(batch), batch)
    weights = context.weights("balanced")
    assert context.intra.sum() == 11
    torch.testing.assert_close(weights[context.intra], torch.full((11,), 0.5))
    torch.testing.assert_close(weights[~context.intra], torch.full((22,), 0.25))


@torch.no_grad()
def test_no_context_at_all_leaves_zeros(make_samples):
    train = hide(make_samples(n=8, modalities=3), [0])
    model, batch = build(train, use_inter=False), as_batch(train)
    assert model.context(model.encoders(batch), batch) is None
    assert model(batch).logits.isfinite().all()


@torch.no_grad()
def test_row_without_modalities_gets_constant_logits(make_samples):
    train = make_samples(n=12)
    empty = replace(train, observed=np.zeros_like(train.observed)).sealed()
    logits = build(train)(as_batch(empty)).logits
    assert logits.isfinite().all()
    assert torch.equal(logits, logits[:1].expand(12, -1))


@torch.no_grad()
def test_modality_unknown_in_training_counts_as_missing(make_samples, caplog):
    train = hide(make_samples(n=12), [1])
    model = build(train)
    assert "no training row observes beta; it counts as missing" in caplog.text
    test = hide(make_samples(n=5), [])
    logits = model(as_batch(test)).logits
    assert torch.equal(logits, model(as_batch(test.hide(~train.observed[:5]))).logits)


def test_experts_of_an_unknown_modality_learn(make_samples):
    train = hide(make_samples(n=12), [1])
    model = build(train).train()
    loss_of(model, as_batch(train)).backward()
    assert model.retriever.experts.weight1.grad[3:6].abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.encoders[1].parameters())


@pytest.mark.parametrize("preset", MoERetriever.presets)
def test_every_kind_of_modality_works(preset):
    shapes = {"vector": (5,), "sequence": (6, 3), "image": (1, 8, 8), "volume": (1, 4, 8, 8)}
    schema = Schema(tuple(Modality(kind, "ABCD"[i], kind, shape) for i, (kind, shape) in enumerate(shapes.items())), ("a", "b"))
    rng = np.random.default_rng(0)
    values = {kind: rng.normal(size=(10, *shape)).astype(np.float32) for kind, shape in shapes.items()}
    observed = np.arange(10)[:, None] % 4 != np.arange(4)
    train = Samples(schema, values, observed, np.arange(10, dtype=np.int64) % 2, np.arange(10).astype(str)).sealed()
    model = build(train, **MoERetriever.presets[preset]).train()
    loss_of(model, as_batch(train)).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("modalities", [1, 2])
@pytest.mark.parametrize("rows", [1, 6])
def test_few_modalities_and_rows_work(make_samples, modalities, rows):
    train = make_samples(n=12, modalities=modalities, missing=0.5)
    model = build(train).train()
    loss_of(model, as_batch(train.rows(np.arange(rows)))).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert isinstance(model.retriever, Retriever) == (modalities > 1)


@pytest.mark.parametrize("preset", MoERetriever.presets)
def test_batch_of_one_pair_trains(make_samples, preset):
    train = hide(make_samples(n=12, modalities=3), [1], slice(0, 1))
    model = build(train, **MoERetriever.presets[preset]).train()
    prediction = model(as_batch(train.rows(np.arange(1))))
    (F.cross_entropy(prediction.logits, torch.tensor([0])) + sum(prediction.penalties.values())).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert not isinstance(model.retriever, Retriever) or model.retriever.router.gate.grad.any()


@torch.no_grad()
def test_two_modalities_give_one_support_and_one_own_element(make_samples):
    train = hide(make_samples(n=12, modalities=2), [1], slice(0, 4))
    model, batch = build(train), as_batch(train)
    context = model.context(model.encoders(batch), batch)
    assert torch.bincount(context.pair[context.intra]).tolist() == torch.bincount(context.pair[~context.intra]).tolist() == [1] * 4


@pytest.mark.parametrize("preset", ["paper", "paper_strict"])
def test_gates_start_uniform_as_those_of_the_official_class(make_samples, preset):
    torch.manual_seed(0)
    model = MoERetriever(make_samples(modalities=4).schema, MoERetrieverConfig(**MoERetriever.presets[preset]))
    bound = 36**-0.5  # kaiming_uniform_ with a = sqrt(5) on (D, E) takes E as fan-in
    router = model.retriever.router
    for weight in (router.gate.detach(), *(() if router.spread is None else (router.spread.detach(),))):
        assert bound * 0.99 < weight.abs().max() <= bound
        assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
        reference = torch.nn.init.kaiming_uniform_(torch.empty(128, 36), a=5**0.5)
        assert float(weight.std()) == pytest.approx(float(reference.std()), rel=0.05)


def test_gates_can_start_at_zero(make_samples):
    router = MoERetriever(make_samples().schema, MoERetrieverConfig(**SMALL, gate_start="zero")).retriever.router
    assert not router.gate.any()
    assert not router.spread.any()


def test_retrieval_needs_preparation(make_samples):
    train = make_samples(n=12, missing=0.5)
    with pytest.raises(RuntimeError, match="prepare"):
        MoERetriever(train.schema, MoERetrieverConfig(**SMALL))(as_batch(train))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kept": 13}, "kept must not exceed"),
        ({"width": 10}, "multiple of heads"),
        ({"use_intra": False, "use_inter": False}, "use_intra or use_inter"),
        ({"support_pool": "transductive"}, "training rows alone"),
        ({"routing": "all"}, "routing must be one of"),
        ({"n_shared": -1}, "n_shared must be at least 0"),
        ({"fusion_layers": 0}, "fusion_layers must be at least 1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction must be in \[0, 1\)"),
        ({"fusion_kept": 33}, "fusion_kept must not exceed"),
        ({"n_draws": 0}, "n_draws must be at least 1"),
        ({"burn_dead_smoe": True}, "burn_dead_smoe needs routing 'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_bad_settings_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        MoERetrieverConfig(**changes)


def test_bad_router_counts_are_refused(make_samples):
    with pytest.raises(ValueError, match="n_routers must be 1, 2 or the number of modalities, 4, got 3"):
        Retriever(MoERetrieverConfig(n_routers=3), 4)
    with pytest.raises(ValueError, match="kept must not exceed the number of experts, 36, got 37"):
        Retriever(MoERetrieverConfig(routing="unrestricted", kept=37), 4)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("paper", {"gate_noise": True, "gate_start": "uniform", "balance_weight": 0.01, "gate_norm": "softmax_topk", "routing": "context"}),
        ("paper_strict", {"gate_noise": False, "gate_start": "uniform", "balance_weight": 0.0, "gate_norm": "softmax_topk"}),
        ("as_released", {"routing": "none", "encoder": "patch", "fusion_skip": "attention", "gate_norm": "topk_softmax"}),
    ],
)
def test_presets_hold_the_published_recipe(preset, changes):
    config = MoERetrieverConfig(**MoERetriever.presets[preset])
    recipe = {"epochs": 20, "batch_size": 16, "learning_rate": 1e-4, "weight_decay": 0.0, "schedule": "constant", "clip_norm": 0.0}
    recipe |= {"warmup_fraction": 0.25, "tokens": 16, "width": 128, "heads": 4, "dropout": 0.5, "n_target_experts": 8, "n_shared": 4}
    recipe |= {"kept": 4, "n_routers": 1, "fusion_layers": 1, "fusion_sparse": False, "n_support": 0, "support_pool": "train"}
    recipe |= {"n_draws": 1, "integrate": "balanced", "moe_residual": False, "detach_support": False, "backoff": False}
    assert {name: getattr(config, name) for name in recipe | changes} == recipe | changes


def test_default_sizes_are_the_releases():
    config = MoERetrieverConfig()
    count = [sum(p.numel() for p in module.parameters()) for module in (Retriever(config, 4), Fusion(config, 4, 3))]
    assert count == [2_448_512, 141_827]


def test_active_parameters_leave_out_idle_experts(make_samples):
    model = build(make_samples(n=6, modalities=3))
    expert = 8 * 16 + 16 + 16 * 8 + 8
    assert model.active_parameters() == sum(p.numel() for p in model.parameters()) - (11 - 2) * expert


# the paper's ablations

TABLE_3 = {
    "full": "moe-retriever",
    "without intra-modal context": "moe-retriever[use_intra=false]",
    "without inter-modal context": "moe-retriever[use_inter=false]",
    "without context-aware routing": "moe-retriever[routing=none]",
    "routing over all experts": "moe-retriever[routing=unrestricted]",
    "1 shared expert": "moe-retriever[n_shared=1]",
    "2 shared experts": "moe-retriever[n_shared=2]",
    "8 shared experts": "moe-retriever[n_shared=8]",
    "4 experts a target": "moe-retriever[n_target_experts=4]",
    "16 experts a target": "moe-retriever[n_target_experts=16]",
    "2 routers": "moe-retriever[n_routers=2]",
    "4 routers": "moe-retriever[n_routers=4]",
    "2 fusion layers": "moe-retriever[fusion_layers=2]",
    "sparse fusion": "moe-retriever[fusion_sparse=true]",
}


@pytest.mark.parametrize("row", TABLE_3)
def test_every_row_of_table_3_trains(make_samples, row):
    choice, train = parse_choice(TABLE_3[row]), make_samples(n=12, modalities=4)
    config = registry.config_of(MoERetriever, choice, {"tokens": 2, "width": 8})
    assert {key: getattr(config, key) for key in choice.options} == choice.options
    model = MoERetriever(train.schema, config).train()
    model.prepare(train)
    loss_of(model, as_batch(train)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_one_suite_holds_all_rows_of_table_3():
    settings = [{"datasets": ["digits"], "protocols": ["mcar(0.3)"]}]
    suite = suite_from("table-3", {"methods": list(TABLE_3.values()), "settings": settings})
    assert [str(choice) for choice in registry.expand_methods(suite.methods)] == list(TABLE_3.values())


def test_dead_experts_change_cost_alone(make_samples):
    train, models = make_samples(n=24, modalities=4), []
    for burn in (False, True):
        model = build(train, **MoERetriever.presets["as_released"], burn_dead_smoe=burn, dropout=0.5)
        assert (model.retriever.dead is not None) == burn
        models.append(model)
    plain, burned = models
    burned.load_state_dict(plain.state_dict(), strict=False)
    for mode in (True, False):
        logits = []
        for model in models:
            torch.manual_seed(3)
            logits.append(model.train(mode)(as_batch(train)).logits)
        assert torch.equal(*logits)
    loss_of(burned.train(), as_batch(train)).backward()
    assert all(parameter.grad is None for parameter in burned.retriever.dead.parameters())
    sizes = [sum(p.numel() for p in model.parameters()) for model in models]
    assert sizes[1] - sizes[0] == sum(p.numel() for p in burned.retriever.dead.parameters()) > 0


# dropout of the fusion


@torch.no_grad()
def test_released_attention_is_dropped_twice():
    seen = {}
    for skip in CHOICES["fusion_skip"]:
        torch.manual_seed(0)
        layer = FusionLayer(MoERetrieverConfig(**SMALL | {"dropout": 0.5, "fusion_skip": skip}), sparse=False).train()
        layer.attention.dropout = 0.0
        layer.feed_forward[3].weight.zero_()
        layer.feed_forward[3].bias.zero_()
        z = torch.randn(50, 2, 2, 8)
        a = layer.attention(layer.norm1(z).flatten(1, 2)).view_as(z)
        ratio = (layer(z, None)[0] - (z if skip == "input" else 0)) / a
        seen[skip] = ratio.round(decimals=2).unique().tolist()
    assert seen == {"input": [0, 2], "attention": [0, 2, 6]}


@torch.no_grad()
def test_head_drops_between_its_layers():
    head = Fusion(MoERetrieverConfig(**SMALL | {"dropout": 0.5, "head_layers": 2}), 3, 3).head.train()
    x = torch.ones(1, 24)
    assert len({tuple(head(x)[0].tolist()) for _ in range(10)}) > 1
    assert torch.equal(head.eval()(x), head(x))
    single = Fusion(MoERetrieverConfig(**SMALL | {"dropout": 0.5}), 3, 3).head.train()
    assert torch.equal(single(x), single(x))


# stored outputs of the official code

PARITY = {"tokens": 4, "width": 16, "heads": 4, "n_target_experts": 4, "n_shared": 2, "kept": 3}
PARITY |= MoERetriever.presets["as_released"]
FILE = "moe_retriever_as_released"


def load_attention(layer: Retriever | FusionLayer, z: dict[str, Tensor], prefix: str = "") -> None:
    for norm, name in ((layer.norm1, "LN1"), (layer.norm2, "LN2")):
        norm.weight.copy_(z[f"{prefix}{name}_weight"])
        norm.bias.copy_(z[f"{prefix}{name}_bias"])
    layer.attention.qkv.weight.copy_(torch.cat([z[f"{prefix}W_q"], z[f"{prefix}W_kv"]]))
    layer.attention.out.weight.copy_(z[f"{prefix}W_proj"])
    layer.attention.out.bias.copy_(z[f"{prefix}b_proj"])


def load_experts(layer: Retriever | FusionLayer, z: dict[str, Tensor], prefix: str = "") -> None:
    layer.router.gate.copy_(z[f"{prefix}W_g"].T[None])
    layer.router.spread.copy_(z[f"{prefix}W_n"].T[None])
    for name in ("weight1", "bias1", "weight2", "bias2"):
        getattr(layer.experts, name).copy_(z[f"{prefix}expert_{name.replace('weight', 'W').replace('bias', 'b')}"])


@torch.no_grad()
def load_fusion(fusion: Fusion, z: dict[str, Tensor]) -> None:
    fusion.position.copy_(z["pos"].view_as(fusion.position))
    for number, layer in enumerate(fusion.layers):
        prefix = f"layer{number}/"
        load_attention(layer, z, prefix)
        if layer.router is not None:
            load_experts(layer, z, prefix)
            continue
        for part, name in ((layer.feed_forward[0], "1"), (layer.feed_forward[3], "2")):
            part.weight.copy_(z[f"{prefix}W{name}"])
            part.bias.copy_(z[f"{prefix}b{name}"])
    linear = [part for part in fusion.head if isinstance(part, torch.nn.Linear)]
    for part, name in zip(linear, [""] if len(linear) == 1 else ["1", "2"], strict=True):
        part.weight.copy_(z[f"head_W{name}"])
        part.bias.copy_(z[f"head_b{name}"])


def test_stored_sizes_are_those_of_the_tests(parity):
    sizes = {name: int(value) for name, value in parity(FILE, "").items()}
    names = {"heads": "heads", "top_k": "kept", "experts_per_target": "n_target_experts", "shared_experts": "n_shared"}
    assert sizes == {theirs: PARITY[ours] for theirs, ours in names.items()}


def close(found: Tensor, stored: Tensor, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, stored, rtol=rtol, atol=atol)


def vector_schema(*features: int) -> Schema:
    return Schema(tuple(Modality(f"m{i}", "ABC"[i], "vector", (f,)) for i, f in enumerate(features)), ("a", "b", "c"))


@pytest.mark.parametrize("case", ["patch_F10", "patch_F16", "patch_F3"])
@torch.no_grad()
def test_tokeniser_equals_release(parity, case):
    z = parity(FILE, case)
    encoders = PatchEncoders(vector_schema(z["x"].shape[1]), 4, 16)
    encoders[0].linear.weight.copy_(z["W"])
    encoders[0].linear.bias.copy_(z["b"])
    close(encoders.encode(0, z["x"]), z["out"])


@pytest.mark.parametrize("case", range(5))
def test_released_retrieval_equals_release(parity, case):
    z = parity(FILE, f"retrieve_{case}")
    intra, n = int(z["num_intra"]), len(z["tokens"])
    tokens, place = z["tokens"].requires_grad_(), torch.arange(n)
    zeros = torch.zeros_like(place)
    context = Context(zeros[:1], z["target"][None], tokens, zeros, place, zeros, place < intra, zeros[:, None], zeros - 1, n)
    out = (tokens * context.weights("balanced")[:, None, None]).sum(0)
    close(out, z["out"])
    if "grad_tokens_of_sum" in z:
        close(out, z["out_other_weights_other_experts"])  # their experts have no say
        assert z["n_params_with_grad"] == 0
        assert z["n_params"] == len(list(Retriever(MoERetrieverConfig(**PARITY), 3).parameters())) + 1  # their q and kv are two
        out.sum().backward()
        close(tokens.grad, z["grad_tokens_of_sum"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", range(5))
@torch.no_grad()
def test_dead_experts_equal_release(parity, case):
    z = parity(FILE, f"retrieve_{case}")
    retriever = Retriever(MoERetrieverConfig(**PARITY), 3).eval()
    load_attention(retriever, parity(FILE, "retriever"))
    load_experts(retriever, parity(FILE, "retriever"))
    assert torch.equal(retriever.router.allowed[z["target"]], z["allowed"])
    attended = retriever.attention(z["tokens"])
    close(attended, z["dead_attn"])
    u = retriever.norm2(2 * attended)
    close(u, z["dead_router_input"])
    pool = z["target"].expand(u.shape[0] * u.shape[1])
    routing = retriever.router(u.flatten(0, 1), pool, torch.zeros_like(pool))
    assert torch.equal(routing.experts, z["dead_topk_idx"])
    close(routing.gates, z["dead_gates"])
    close(retriever.experts(u.flatten(0, 1), routing.experts, routing.gates).view_as(u), z["dead_smoe_out"])


@pytest.mark.parametrize("case", ["restricted", "unrestricted", "k_equals_allowed"])
@pytest.mark.parametrize("mode", ["eval", "train"])
@torch.no_grad()
def test_gate_equals_release(parity, mode, case):
    weights, z = parity(FILE, "gate"), parity(FILE, f"gate_{mode}_{case}")
    router = Router(MoERetrieverConfig(**PARITY), 14, 3, z["allowed"][None])
    router.gate.copy_(weights["W_g"].T[None])
    router.spread.copy_(weights["W_n"].T[None])
    zero = torch.zeros(10, dtype=torch.int64)
    routing = router(weights["x"], zero, zero, z["noise"][:, z["allowed"]] if mode == "train" else None)
    assert torch.equal(routing.experts, z["idx"])
    close(routing.gates, z["gates"])
    close(torch.zeros(10, 14).scatter(1, routing.experts, routing.gates).sum(0), z["importance"])
    load, importance = z["load"][z["allowed"]].float(), z["importance"][z["allowed"]]
    if routing.inside is not None:  # the release also counts forbidden experts; on allowed ones both agree
        close(routing.inside.sum(0), load)
    found = router.imbalance(routing, zero, 1).squeeze()
    close(found, cv_squared(importance) + cv_squared(load))
    close(cv_squared(z["importance"]) + cv_squared(z["load"]), z["loss"])  # over all experts: the release
    assert torch.isclose(found, z["loss"]) == (case == "unrestricted")


@torch.no_grad()
def test_balance_is_not_carried_over_steps(parity):
    weights, z, sums = parity(FILE, "gate"), parity(FILE, "gate_eval_unrestricted"), parity(FILE, "gate_accumulation")
    router = Router(MoERetrieverConfig(**PARITY), 14, 3, z["allowed"][None])
    router.gate.copy_(weights["W_g"].T[None])
    zero = torch.zeros(10, dtype=torch.int64)
    steps = [router.imbalance(router(weights["x"], zero, zero), zero, 1) for _ in range(2)]
    assert torch.equal(*steps)
    close(sums["after_two"], 2 * sums["after_one"])  # the release, where the sum is never cleared


@torch.no_grad()
def test_balance_counts_allowed_experts_alone(parity):
    weights, z = parity(FILE, "gate"), parity(FILE, "gate_train_restricted")
    router = Router(MoERetrieverConfig(**PARITY), 14, 3, z["allowed"][None])
    router.gate.copy_(weights["W_g"].T[None])
    router.spread.copy_(weights["W_n"].T[None])
    zero = torch.zeros(10, dtype=torch.int64)
    routing = router(weights["x"], zero, zero, z["noise"][:, z["allowed"]])
    load, importance = routing.inside.sum(0), z["importance"][z["allowed"]]
    expected = sum(value.var() / value.mean() ** 2 for value in (load, importance))
    close(router.imbalance(routing, zero, 1).squeeze(), expected)
    assert z["load"].sum() > 2 * load.sum()


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("fusion_dense_1", {}),
        ("fusion_dense_2", {"fusion_layers": 2, "head_layers": 2}),
        ("fusion_sparse_1", {"fusion_sparse": True, "fusion_experts": 6, "fusion_kept": 2}),
    ],
)
@torch.no_grad()
def test_fusion_equals_release(parity, case, changes):
    z = parity(FILE, case)
    fusion = Fusion(MoERetrieverConfig(**PARITY | changes), 3, 3).eval()
    load_fusion(fusion, z)
    logits, imbalance = fusion(z["x"], None)
    close(logits, z["logits"])
    h = z["x"] + fusion.position
    for number, layer in enumerate(fusion.layers):
        h, _ = layer(h, None)
        close(h, z[f"layer{number}_out"])
    assert (imbalance is None) == (case != "fusion_sparse_1")
    close(torch.zeros(()) if imbalance is None else imbalance, z["gate_loss"])


@pytest.mark.parametrize("burn", [False, True], ids=["without dead experts", "with dead experts"])
def test_released_preset_equals_release_end_to_end(parity, burn):
    z = parity(FILE, "end_to_end")
    schema = vector_schema(*(z[f"x{m}"].shape[1] for m in range(3)))
    bank = {name: z[f"bank_x{m}"].numpy() for m, name in enumerate(schema.names)}
    model = MoERetriever(schema, MoERetrieverConfig(**PARITY, burn_dead_smoe=burn))
    model.prepare(Samples(schema, bank, np.ones((9, 3), dtype=bool), np.zeros(9, dtype=np.int64), np.arange(9).astype(str)))
    with torch.no_grad():
        for m, encoder in enumerate(model.encoders):
            encoder.linear.weight.copy_(z[f"enc{m}_W"])
            encoder.linear.bias.copy_(z[f"enc{m}_b"])
    load_fusion(model.fusion, z)
    inputs = {name: z[f"x{m}"].where(z["observed"][:, m : m + 1], torch.nan) for m, name in enumerate(schema.names)}
    batch = Batch(inputs, z["observed"], z["target"], torch.arange(6))
    assert torch.equal((~batch.observed).nonzero(), z["pairs"])
    model.eval().draw_supports = lambda *pairs: (z["support_rows"], (z["support_rows"] >= 0).sum(1))
    close(model.complete(model.encoders(batch), batch)[0], z["slots"])
    logits = model(batch).logits
    close(logits, z["logits"])
    loss = F.cross_entropy(logits, batch.target)
    close(loss, z["loss"])
    loss.backward()
    for m, encoder in enumerate(model.encoders):
        close(encoder.linear.weight.grad, z[f"grad_enc{m}_W"], rtol=1e-4, atol=1e-6)
    dead = list(model.retriever.parameters())
    assert bool(dead) == burn
    assert sum(parameter.grad is not None for parameter in dead) == z["retriever_params_with_grad"]
    model.on_epoch(0, 20)
    close(model(batch).logits, z["logits_warmup"])

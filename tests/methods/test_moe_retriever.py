"""MoE-Retriever against its equations, a loop over single pairs, and stored outputs of the official code."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.methods.moe_retriever import (
    CHOICES,
    Context,
    Fusion,
    FusionLayer,
    MoERetriever,
    MoERetrieverConfig,
    PatchEncoders,
    Retriever,
    Router,
    distinct_ranks,
    supporting_groups,
)

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
    own, shared = c.n_target_experts, range(len(model.schema) * c.n_target_experts, len(r.experts.weight1) if r else 0)
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
        {"encoder": "patch"},
    ],
    ids=lambda changes: " ".join(f"{key}={value}" for key, value in changes.items()) or "paper",
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


# what reaches what


def test_experts_and_router_shape_the_logits(make_samples):
    train = make_samples(n=24, modalities=3, missing=0.5)
    model = build(train, balance_weight=0.0).train()
    loss_of(model, as_batch(train)).backward()
    assert all(grad.isfinite().all() and grad.abs().sum() > 0 for grad in retriever_gradients(model))
    assert model.retriever.experts.weight2.grad.abs().sum((1, 2)).count_nonzero() > 2


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
    model.retriever.records = []
    model(batch)
    (record,) = model.retriever.records
    target, experts = record["target"].unsqueeze(1), record["experts"]
    assert (((experts // 3) == target) | (experts >= 9)).all()
    assert (record["modality"] == record["target"])[record["intra"]].all()
    rows = torch.arange(len(target))
    assert torch.equal(record["source"][rows, record["target"]], record["intra"])
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
def test_modality_unknown_in_training_counts_as_missing(make_samples):
    train = hide(make_samples(n=12), [1])
    model = build(train)
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
    assert (model.retriever is None) == (modalities == 1)


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


def test_default_sizes_are_the_releases():
    config = MoERetrieverConfig()
    count = [sum(p.numel() for p in module.parameters()) for module in (Retriever(config, 4), Fusion(config, 4, 3))]
    assert count == [2_448_512, 141_827]


def test_active_parameters_leave_out_idle_experts(make_samples):
    model = build(make_samples(n=6, modalities=3))
    expert = 8 * 16 + 16 + 16 * 8 + 8
    assert model.active_parameters() == sum(p.numel() for p in model.parameters()) - (11 - 2) * expert


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
    context = Context(zeros[:1], z["target"][None], tokens, zeros, place, zeros, place < intra, zeros[:, None])
    out = (tokens * context.weights("balanced")[:, None, None]).sum(0)
    close(out, z["out"])
    if "grad_tokens_of_sum" in z:
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
    if routing.inside is not None:  # the release also counts forbidden experts; on allowed ones both agree
        close(routing.inside.sum(0), z["load"][z["allowed"]])
    if case == "unrestricted":
        close(router.imbalance(routing, zero, 1).squeeze(), z["loss"])


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


def test_released_preset_equals_release_end_to_end(parity):
    z = parity(FILE, "end_to_end")
    schema = vector_schema(*(z[f"x{m}"].shape[1] for m in range(3)))
    bank = {name: z[f"bank_x{m}"].numpy() for m, name in enumerate(schema.names)}
    model = MoERetriever(schema, MoERetrieverConfig(**PARITY))
    model.prepare(Samples(schema, bank, np.ones((9, 3), dtype=bool), np.zeros(9, dtype=np.int64), np.arange(9).astype(str)))
    with torch.no_grad():
        for m, encoder in enumerate(model.encoders):
            encoder.linear.weight.copy_(z[f"enc{m}_W"])
            encoder.linear.bias.copy_(z[f"enc{m}_b"])
    load_fusion(model.fusion, z)
    inputs = {name: z[f"x{m}"].where(z["observed"][:, m : m + 1], torch.nan) for m, name in enumerate(schema.names)}
    batch = Batch(inputs, z["observed"], z["target"], torch.arange(6))
    assert torch.equal((~batch.observed).nonzero(), z["pairs"])
    model.eval().draw_supports = lambda index, own, target: (z["support_rows"], (z["support_rows"] >= 0).sum(1))
    close(model.complete(model.encoders(batch), batch)[0], z["slots"])
    logits = model(batch).logits
    close(logits, z["logits"])
    loss = F.cross_entropy(logits, batch.target)
    close(loss, z["loss"])
    loss.backward()
    for m, encoder in enumerate(model.encoders):
        close(encoder.linear.weight.grad, z[f"grad_enc{m}_W"], rtol=1e-4, atol=1e-6)
    assert model.retriever is None
    model.on_epoch(0, 20)
    close(model(batch).logits, z["logits_warmup"])

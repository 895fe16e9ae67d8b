"""MUSE: parity with the released graph network and losses, plain-loop oracles, edge drop, evaluation graphs, edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.datasets.base import Batch, as_batch
from bench.methods import muse
from bench.methods.muse import Graph, Muse, agreement_loss, drop_edges, drop_edges_at_rate, label_loss, masked_mean

SMALL = {"width": 16, "dropout": 0.0, "epochs": 2, "batch_size": 8}
CASES = ["gnn_L1", "gnn_L1_norm", "gnn_L2", "gnn_L2_norm", "gnn_L2_norm_first_only_complete", "gnn_L3", "gnn_L2_batch1"]
MODELS = ["mml_L2_C3", "mml_L1_C2_norm", "mml_L2_C1_bce"]


def muse_of(samples, seed=0, **changes) -> Muse:
    torch.manual_seed(seed)
    method = Muse(samples.schema, Muse.Config(**(SMALL | changes)))
    method.seed(seed)
    method.prepare(samples)
    return method


def evaluated(method: Muse) -> Muse:
    method.eval()
    with torch.no_grad():
        method.on_evaluate()
    return method


def logits_of(method: Muse, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return method(batch).logits


def loss_of(method: Muse, batch: Batch) -> torch.Tensor:
    prediction = method(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


def load_graph(graph: Graph, case: dict[str, torch.Tensor]) -> None:
    graph.nodes.data = case["Q0"]
    for depth, layer in enumerate(graph.layers):
        layer.message.weight.data, layer.message.bias.data = case[f"layer{depth}/W_msg"], case[f"layer{depth}/b_msg"]
        layer.update.weight.data, layer.update.bias.data = case[f"layer{depth}/W_agg"], case[f"layer{depth}/b_agg"]
    for depth, edge in enumerate(graph.edges):
        edge.weight.data, edge.bias.data = case[f"layer{depth}/W_e"], case[f"layer{depth}/b_e"]


def graph_of(case: dict[str, torch.Tensor]) -> Graph:
    flags = [bool(flag) for flag in case["norm"]]
    graph = Graph(len(case["Q0"]), case["Q0"].shape[1], len(flags), flags, dropout=0.0)
    load_graph(graph, case)
    return graph


def assert_near(ours, theirs, rtol=1e-5, atol=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


# ---- parity with the released code


@pytest.mark.parametrize("name", CASES)
def test_sample_states_match_the_release(parity, name):
    case = parity("muse_gnn", name)
    assert_near(graph_of(case)(case["X"], case["A"]), case["z"])


@pytest.mark.parametrize("name", [name for name in CASES if "L1" not in name])
def test_every_layer_state_matches_the_release(parity, name):
    case = parity("muse_gnn", name)
    graph, mask = graph_of(case), case["A"].float()
    for depth in range(1, len(graph.layers)):
        p, q, up, down = graph.enter(depth, case["X"], mask)
        assert_near(p, case[f"P{depth}"])
        assert_near(q, case[f"Q{depth}"])
        assert_near(up * mask.unsqueeze(2), case[f"E_up{depth}"])
        assert_near(down * mask.unsqueeze(2), case[f"E_dn{depth}"])


@pytest.mark.parametrize("name", CASES)
def test_mask_holds_the_edges_of_the_release(parity, name):
    case = parity("muse_gnn", name)
    rows, modalities = case["A"].nonzero().unbind(1)
    up = torch.stack([rows, modalities + len(case["A"])])  # the release numbers modality nodes behind sample nodes
    assert torch.equal(case["edge_index"], torch.cat([up, up.flip(0)], 1))
    assert torch.equal(case["edge_attr"], case["X"][case["A"]].repeat(2, 1))
    assert torch.equal(case["node_x"], torch.cat([torch.ones_like(case["z"]), case["Q0"]]))


@pytest.mark.parametrize("name", CASES)
def test_last_modality_states_match_the_release(parity, name):
    case = parity("muse_gnn", name)
    graph, mask = graph_of(case), case["A"].float()
    p, q, _, down = graph.enter(len(graph.layers) - 1, case["X"], mask)
    sent = masked_mean(graph.layers[-1].send(p.unsqueeze(-2), down), mask, -2)
    q = graph.layers[-1].receive(sent, q)
    assert_near(q, case["Q_final"])
    assert_near(q, case[f"Q{len(graph.layers)}"])
    z = graph(case["X"], case["A"])
    assert_near(z, case[f"P{len(graph.layers)}"])
    assert_near(torch.cat([z, q]), case["out_nodes"])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("preset", Muse.presets)
def test_losses_and_gradients_match_the_release(parity, make_samples, name, preset):
    case = parity("muse_gnn", name)
    classes = len(case["b_c2"])
    flags = "".join(str(int(flag)) for flag in case["norm"])
    method = muse_of(
        make_samples(n=6, classes=max(2, classes)), **Muse.presets[preset], layers=len(flags), normalise=flags
    )  # dropout is 0, so training mode changes nothing below
    method.classifier[3] = nn.Linear(16, classes)  # one case has the official single logit
    load_graph(method.graph, case)
    method.projection.weight.data, method.projection.bias.data = case["W_u"], case["b_u"]
    method.classifier[0].weight.data, method.classifier[0].bias.data = case["W_c1"], case["b_c1"]
    method.classifier[3].weight.data, method.classifier[3].bias.data = case["W_c2"], case["b_c2"]
    x, labelled = case["X"].requires_grad_(), case["y_obs"]

    z, dropped = method.graph(x, torch.stack([case["A"], case["A2"]]))
    penalties = method.contrast(z, dropped, torch.where(labelled, case["y"].long(), -1))
    logits = method.classifier(z)
    if classes == 1:
        logits = logits.squeeze(1)
        classification = F.binary_cross_entropy_with_logits(logits[labelled], case["y"][labelled])
    else:
        classification = F.cross_entropy(logits[labelled], case["y"][labelled])
    total = classification + sum(penalties.values())
    total.backward()

    assert_near(torch.tensor(1 / method.config.temperature), case["scale"])
    assert_near(z, case["z"])
    assert_near(dropped, case["z2"])
    assert_near(torch.tanh(method.projection(z)), case["u_before_norm"])
    assert_near(torch.tanh(method.projection(dropped)), case["u2_before_norm"])
    assert_near(method.project(z) @ method.project(dropped).T / method.config.temperature, case["similarity_UV"])
    assert_near(penalties["unsupervised"], 0.5 * case["loss_unsup"])
    assert_near(penalties["supervised"], 0.5 * case["loss_sup"])
    assert_near(classification, case["loss_cls"])
    assert_near(total, case["loss_total"])
    assert_near(logits, case["logits"])
    assert_near(logits.sigmoid() if classes == 1 else logits.softmax(1), case["scores"])
    gradients = {"Q0": method.graph.nodes, "X": x, "W_u": method.projection.weight}
    gradients["W_msg0"] = method.graph.layers[0].message.weight
    if method.graph.edges:
        gradients["W_e0"] = method.graph.edges[0].weight
    for key, tensor in gradients.items():
        assert_near(tensor.grad, case[f"grad_{key}"], rtol=1e-4, atol=1e-6)


# ---- oracles


def loop_states(graph: Graph, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """Specification 3, edge by edge, with weights applied to concatenations."""
    rows, modalities, width = x.shape
    p, q = torch.ones(rows, width), graph.nodes
    edges = [(i, m) for i in range(rows) for m in range(modalities) if observed[i, m]]
    up, down = {e: x[e] for e in edges}, {e: x[e] for e in edges}
    for depth, layer in enumerate(graph.layers):
        message, update = (lambda v, w=w: F.relu(F.linear(v, w.weight, w.bias)) for w in (layer.message, layer.update))

        def mean(values, width=width):
            return torch.stack(values).mean(0) if values else torch.zeros(width)

        to_p = [mean([message(torch.cat([q[m], up[i, m]])) for j, m in edges if j == i]) for i in range(rows)]
        to_q = [mean([message(torch.cat([p[i], down[i, m]])) for i, k in edges if k == m]) for m in range(modalities)]
        p = torch.stack([update(torch.cat([a, own])) for a, own in zip(to_p, p, strict=True)])
        q = torch.stack([update(torch.cat([a, own])) for a, own in zip(to_q, q, strict=True)])
        if layer.normalise:
            p, q = F.normalize(p, dim=1), F.normalize(q, dim=1)
        if depth < len(graph.edges):
            w = graph.edges[depth]
            up = {(i, m): F.relu(F.linear(torch.cat([q[m], p[i], e]), w.weight, w.bias)) for (i, m), e in up.items()}
            down = {(i, m): F.relu(F.linear(torch.cat([p[i], q[m], e]), w.weight, w.bias)) for (i, m), e in down.items()}
    return p


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("normalise", [False, True], ids=["plain", "normalised"])
def test_dense_graph_equals_the_edge_loop(layers, normalise):
    torch.manual_seed(layers)
    graph = Graph(4, 8, layers, [normalise] * layers, dropout=0.0)
    x, observed = torch.randn(6, 4, 8), torch.rand(6, 4) < 0.6
    observed[2] = False  # an isolated sample
    observed[:, 1] = False  # a modality that no sample of the batch observes
    assert_near(graph(x, observed), loop_states(graph, x, observed), rtol=0, atol=1e-6)


def test_two_views_equal_two_separate_graphs():
    torch.manual_seed(0)
    graph = Graph(3, 8, 3, [False] * 3, dropout=0.0)
    x, views = torch.randn(7, 3, 8), torch.rand(2, 7, 3) < 0.6
    both = graph(x, views)
    for view in range(2):
        assert_near(both[view], graph(x, views[view]), rtol=0, atol=1e-6)


def test_values_off_the_graph_change_nothing():
    torch.manual_seed(0)
    graph = Graph(3, 8, 3, [False] * 3, dropout=0.0)
    x, observed = torch.randn(7, 3, 8), torch.rand(7, 3) < 0.6
    other = torch.where(observed.unsqueeze(2), x, torch.randn(7, 3, 8) * 1e3)
    assert torch.equal(graph(x, observed), graph(other, observed))


def test_agreement_loss_equals_both_cross_entropies():
    u, v = F.normalize(torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)), dim=2)
    s = 4.0 * u @ v.T
    rows = sum(-s[i, i] + s[i].exp().sum().log() for i in range(5)) / 5
    columns = sum(-s[i, i] + s[:, i].exp().sum().log() for i in range(5)) / 5
    assert_near(agreement_loss(u, v, 4.0), (rows + columns) / 2)


def test_label_loss_equals_the_four_official_terms():
    u, v = F.normalize(torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)), dim=2)
    target = torch.tensor([0, 1, -1, 1, 2, 0])
    a, b, y = u[target >= 0], v[target >= 0], target[target >= 0]
    same = (y.unsqueeze(1) == y).float()
    terms = [F.binary_cross_entropy_with_logits(4.0 * s, same) for s in (a @ a.T, a @ a.T, a @ b.T, b @ a.T)]
    assert_near(label_loss(u, v, target, 4.0), sum(terms) / 4)


def test_equal_labels_only_attract():
    u, v = F.normalize(torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)), dim=2)
    target = torch.zeros(6, dtype=torch.int64)
    assert label_loss(u, v, target, 4.0) > label_loss(u[:1].expand(6, 8), u[:1].expand(6, 8), target, 4.0)
    assert_near(label_loss(u, u, target, 4.0), F.softplus(-4.0 * u @ u.T).mean())


def test_similarity_of_label_pairs_is_symmetric_in_the_views():
    u, v = F.normalize(torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)), dim=2)
    target = torch.tensor([0, 1, 1, 2, 0, -1])
    same, pairs = (target[:, None] == target).float(), ((target >= 0)[:, None] & (target >= 0)).float()
    across, back = (F.binary_cross_entropy_with_logits(4.0 * s, same, pairs) for s in (u @ v.T, v @ u.T))
    assert_near(across, back)


def test_one_row_has_no_agreement_loss(make_samples):
    method = muse_of(make_samples()).train()
    batch = as_batch(make_samples(n=24)).rows(torch.tensor([3]))
    assert method(batch).penalties["unsupervised"].item() == 0
    loss_of(method, batch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_batch_without_labels_has_no_label_loss(make_samples):
    method = muse_of(make_samples()).train()
    batch = as_batch(make_samples())
    penalties = method(Batch(batch.inputs, batch.observed, torch.full_like(batch.target, -1), batch.index)).penalties
    assert penalties["supervised"].item() == 0
    sum(penalties.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_parameter_count_is_the_papers(make_samples):
    method = Muse(make_samples(modalities=4, classes=3).schema, Muse.Config())
    parts = (method.graph, method.projection, method.classifier)
    official = 214_788 - 1  # less its frozen scale, which is no parameter here
    assert sum(p.numel() for part in parts for p in part.parameters()) == official


# ---- edge drop


@pytest.mark.parametrize("drop", ["subset", "bernoulli"])
def test_edge_drop_keeps_a_subset_and_the_last_edge(drop):
    generator = torch.Generator().manual_seed(0)
    observed = torch.rand(4000, 4, generator=generator) < 0.5  # holds empty and single rows
    kept = drop_edges(observed, generator) if drop == "subset" else drop_edges_at_rate(observed, 0.9, generator)
    assert not (kept & ~observed).any()
    assert torch.equal(kept.any(1), observed.any(1))
    single = observed.sum(1) <= 1
    assert torch.equal(kept[single], observed[single])


@pytest.mark.parametrize("drop", ["subset", "bernoulli"])
def test_single_modality_has_two_equal_views(make_samples, drop):
    method = muse_of(make_samples(), edge_drop=drop).train()
    observed = torch.eye(3, dtype=torch.bool).repeat(4, 1)
    x = torch.randn(12, 3, 16, generator=torch.Generator().manual_seed(0))
    z, dropped = method.graph(x, torch.stack([observed, method.drop_edges(observed)]))
    assert torch.equal(z, dropped)


@pytest.mark.parametrize("layers", [1, 2])
def test_views_share_edge_dropout_and_draw_node_dropout_apart(make_samples, layers):
    method = muse_of(make_samples(), layers=layers, dropout=0.5).train()
    batch = as_batch(make_samples())
    z, again = method.graph(method.embed(batch), torch.stack([batch.observed, batch.observed]))
    assert torch.equal(z, again) == (layers == 1)  # one layer has no nodes between layers
    assert not torch.equal(method.embed(batch), method.embed(batch))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_edge_drop_has_the_official_distribution(count):
    observed = torch.zeros(20_000, 5, dtype=torch.bool)
    observed[:, :count] = True
    kept = drop_edges(observed, torch.Generator().manual_seed(count))[:, :count]
    assert abs(1 - kept.float().mean().item() - 0.25) < 0.01
    assert ((1 - kept.float().mean(0)) - 0.25).abs().max() < 0.015  # no modality is preferred
    sizes = torch.bincount(kept.sum(1), minlength=count + 1) / 20_000
    expected = torch.tensor([0.0] + [0.5 / (count - 1)] * (count - 1) + [0.5])
    assert (sizes - expected).abs().max() < 0.015


def test_bernoulli_drops_at_its_rate():
    observed = torch.ones(20_000, 5, dtype=torch.bool)
    kept = drop_edges_at_rate(observed, 0.15, torch.Generator().manual_seed(0))
    assert abs(1 - kept.float().mean().item() - 0.15) < 0.005


def test_edge_drop_option_reaches_the_views(make_samples):
    method = muse_of(make_samples(), edge_drop="bernoulli", edge_drop_rate=0.0)
    observed = torch.ones(50, 3, dtype=torch.bool)
    assert torch.equal(method.drop_edges(observed), observed)
    assert not torch.equal(muse_of(make_samples()).drop_edges(observed), observed)


# ---- evaluation graphs


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_frozen_logits_are_independent_of_the_batch(make_samples, layers):
    method = evaluated(muse_of(make_samples(), layers=layers))
    batch = as_batch(make_samples(n=20, seed=1))
    whole = logits_of(method, batch)
    for size in (1, 7):
        parts = [logits_of(method, batch.rows(index)) for index in torch.arange(20).split(size)]
        assert_near(torch.cat(parts), whole, rtol=0, atol=1e-5)


def test_released_logits_depend_on_the_batch(make_samples):
    method = evaluated(muse_of(make_samples(), eval_graph="batch"))
    batch = as_batch(make_samples(n=20, seed=1))
    whole, first = logits_of(method, batch), logits_of(method, batch.rows(torch.arange(1)))
    assert (whole[:1] - first).abs().max() > 1e-4
    single = evaluated(muse_of(make_samples(), eval_graph="batch", layers=1))  # one layer: modalities answer nobody
    assert_near(logits_of(single, batch.rows(torch.arange(1))), logits_of(single, batch)[:1])


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_frozen_states_are_those_of_the_whole_training_graph(make_samples, layers, monkeypatch):
    samples = make_samples(n=30)
    monkeypatch.setattr(muse, "CHUNK", 7)
    frozen = evaluated(muse_of(samples, layers=layers, dropout=0.25))
    graph = evaluated(muse_of(samples, layers=layers, dropout=0.25, eval_graph="batch"))
    assert_near(logits_of(frozen, as_batch(samples)), logits_of(graph, as_batch(samples)), rtol=0, atol=1e-6)
    q = graph.graph.enter(layers - 1, graph.embed(as_batch(samples)), as_batch(samples).observed.float())[1]
    assert_near(frozen.states[-1], q, rtol=0, atol=1e-6)


def test_permuting_the_batch_permutes_logits(make_samples):
    batch, order = as_batch(make_samples(n=20, seed=1)), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    for preset in Muse.presets.values():
        method = evaluated(muse_of(make_samples(), **preset))
        assert_near(logits_of(method, batch.rows(order)), logits_of(method, batch)[order], rtol=0, atol=1e-6)


def test_prediction_before_evaluation_states_is_nan(make_samples):
    method = muse_of(make_samples()).eval()
    assert logits_of(method, as_batch(make_samples())).isnan().all()


def test_states_need_the_training_rows(make_samples):
    method = Muse(make_samples().schema, Muse.Config(**SMALL)).eval()
    with pytest.raises(ValueError, match="call prepare"):
        method.on_evaluate()


def test_saved_states_restore_logits_exactly(make_samples):
    method, fresh = evaluated(muse_of(make_samples())), muse_of(make_samples(), seed=1).eval()
    fresh.load_state_dict(method.state_dict())
    batch = as_batch(make_samples(n=9, seed=1))
    assert torch.equal(logits_of(fresh, batch), logits_of(method, batch))


def test_evaluation_has_no_penalties_and_no_labels(make_samples):
    method, batch = evaluated(muse_of(make_samples())), as_batch(make_samples(seed=1))
    unlabelled = Batch(batch.inputs, batch.observed, torch.full_like(batch.target, -1), batch.index)
    assert not method(unlabelled).penalties
    assert torch.equal(logits_of(method, unlabelled), logits_of(method, batch))


# ---- edge cases and training


@pytest.mark.parametrize("preset", Muse.presets)
def test_hidden_modality_never_reaches_logits(make_samples, preset):
    method = evaluated(muse_of(make_samples(), **Muse.presets[preset]))
    batch = as_batch(make_samples(n=12, seed=1))
    inputs = {name: torch.where(batch.observed[:, m].unsqueeze(1), x, 1e30) for m, (name, x) in enumerate(batch.inputs.items())}
    assert torch.equal(logits_of(method, Batch(inputs, batch.observed, batch.target, batch.index)), logits_of(method, batch))


def test_sample_without_modality_gets_constant_logits(make_samples):
    samples = make_samples(n=6)
    empty = samples.hide(np.ones((6, 3), dtype=bool))
    for preset in Muse.presets.values():
        logits = logits_of(evaluated(muse_of(samples, **preset)), as_batch(empty))
        assert logits.isfinite().all()
        assert_near(logits, logits[:1].expand_as(logits))


def test_modality_absent_from_training_stays_finite(make_samples):
    samples = make_samples()
    hidden = np.zeros((24, 3), dtype=bool)
    hidden[:, 1] = True
    kept = samples.rows(np.flatnonzero(samples.observed[:, [0, 2]].any(1)))
    method = muse_of(kept.hide(hidden[: len(kept)])).train()
    loss_of(method, as_batch(kept.hide(hidden[: len(kept)]))).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    assert logits_of(evaluated(method), as_batch(kept)).isfinite().all()  # observed for the first time in evaluation


@pytest.mark.parametrize(
    "changes",
    [
        {"edge_drop": "bernoulli"},
        {"temperature": 0.05},
        {"layers": 3, "normalise": "110"},
        {"unsupervised_weight": 0.0},
        {"supervised_weight": 0.0},
        {"eval_graph": "batch"},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
def test_every_option_trains(make_samples, changes):
    method = muse_of(make_samples(), **changes).train()
    loss_of(method, as_batch(make_samples())).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_gradients_reach_every_parameter(make_samples, layers):
    method = muse_of(make_samples(), layers=layers, dropout=0.25).train()
    loss_of(method, as_batch(make_samples())).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_of_zero_leave_plain_classification(make_samples):
    method = muse_of(make_samples(), unsupervised_weight=0.0, supervised_weight=0.0).train()
    before = method.generator.get_state()
    prediction = method(as_batch(make_samples()))
    assert not prediction.penalties
    assert torch.equal(method.generator.get_state(), before)  # no second view is drawn


def test_tokens_are_averaged_into_one_edge_feature(make_samples):
    method, batch = muse_of(make_samples(), tokens=4).eval(), as_batch(make_samples())
    x = method.embed(batch)
    row = batch.observed[:, 1].nonzero()[0].item()
    pooled = method.encoders.encode(1, batch.inputs["beta"][row : row + 1]).mean(1)
    assert_near(x[row, 1], method.mappers[1](pooled)[0])
    assert (x[~batch.observed] == 0).all()


def test_same_seed_gives_the_same_loss(make_samples):
    losses = []
    for _ in range(2):
        method = muse_of(make_samples(), dropout=0.25).train()
        losses.append(loss_of(method, as_batch(make_samples())).item())
    assert losses[0] == losses[1]


def test_training_overfits_64_samples(make_samples):
    samples = make_samples(n=64)
    method = muse_of(samples, width=32).train()
    batch, optimiser = as_batch(samples), torch.optim.Adam(method.parameters(), 1e-3)
    for step in range(200):
        if step % 20 == 0 and (logits_of(evaluated(method), batch).argmax(1) == batch.target).float().mean() > 0.95:
            return
        method.train()
        optimiser.zero_grad()
        loss_of(method, batch).backward()
        optimiser.step()
    pytest.fail("200 steps did not reach 95 % on the training rows")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "tokens, width and layers"),
        ({"layers": 3, "normalise": "10"}, "normalise must be"),
        ({"normalise": "1x"}, "normalise must be"),
        ({"dropout": 1.0}, "dropout and edge_drop_rate"),
        ({"edge_drop_rate": -0.1}, "dropout and edge_drop_rate"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"edge_drop": "all"}, "edge_drop must be"),
        ({"supervised_weight": -1.0}, "must not be negative"),
        ({"eval_graph": "train"}, "eval_graph must be"),
        ({"epochs": 0}, "epochs and batch_size"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Muse.Config(**changes)


@pytest.mark.parametrize(("preset", "graph"), [("paper", "train_frozen"), ("as_released", "batch")])
def test_presets_hold_the_published_recipe(preset, graph):
    config = Muse.Config(**Muse.presets[preset])
    recipe = {"epochs": 100, "batch_size": 512, "learning_rate": 2e-4, "weight_decay": 0.0, "schedule": "constant", "clip_norm": 0.0}
    recipe |= {"width": 128, "layers": 2, "normalise": "", "dropout": 0.25, "temperature": 0.07, "edge_drop": "subset"}
    recipe |= {"unsupervised_weight": 0.5, "supervised_weight": 0.5, "eval_graph": graph}
    assert {name: getattr(config, name) for name in recipe} == recipe


def test_search_space_and_presets_are_valid():
    for preset in Muse.presets.values():
        Muse.Config(**preset)
    for field, values in Muse.search.items():
        for value in values:
            Muse.Config(**{field: value})

"""M3Care against plain formulas, per-pair loops and the numbers of its released code."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.datasets.base import Batch, Modality, Schema, as_batch
from bench.methods.m3care import FusionBlock, M3Care, Similarity, bandwidths, multi_kernel, sinusoids, squared_distances, stratified
from bench.names import Choice, parse_choice

SMALL = {"width": 8, "batch_size": 12, "threshold_init": -1.0}  # a low cut, so that tiny graphs have edges
STILL = {"dropout": 0.0, "residual_dropout": 0.0, "attention_dropout": 0.0, "inner_dropout": 0.0}


def build(samples, preset="paper", seed=0, **changes) -> M3Care:
    torch.manual_seed(seed)
    method = M3Care(samples.schema, M3Care.Config(**{**M3Care.presets[preset], **SMALL, **changes}))
    method.seed(seed)
    method.prepare(samples)
    return method


def evaluate(method, batch):
    method.eval()
    method.on_evaluate()
    with torch.no_grad():
        return method(batch).logits


def loss_of(method, batch):
    prediction = method(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


def with_mask(batch, observed):
    """The batch with other observed cells; what is not observed holds NaN."""
    inputs = {name: torch.where(observed[:, [m]], x.nan_to_num(), torch.nan) for m, (name, x) in enumerate(batch.inputs.items())}
    return Batch(inputs, observed, batch.target, batch.index)


def double(batch):
    return Batch({name: x.double() for name, x in batch.inputs.items()}, batch.observed, batch.target, batch.index)


def states_of(method, batch):
    """H, its kernel inputs and the mask of a batch."""
    h = method.encode(batch)[:, :, 0]
    return h, method.similarity.views(method.similarity.phi(h), h), method.observed(batch)


# kernel and similarity


def test_kernel_is_symmetric_with_ones_on_diagonal():
    z = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    distances = squared_distances(z, z)
    kernel = multi_kernel(distances, bandwidths(distances, torch.ones(1, 6, dtype=torch.float64)))[0]
    torch.testing.assert_close(kernel, kernel.T)
    torch.testing.assert_close(kernel.diagonal(), torch.ones(6, dtype=torch.float64))


def test_kernel_matches_formula_written_plainly():
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    distances = squared_distances(z[None], z[None])
    bandwidth = bandwidths(distances, torch.ones(1, 5))
    plain = torch.tensor([[((a - b) ** 2).sum() for b in z] for a in z])
    mean = plain.sum() / (25 - 5)
    expected = (torch.exp(-2 * plain / mean) + torch.exp(-plain / mean) + torch.exp(-plain / (2 * mean))) / 3
    torch.testing.assert_close(multi_kernel(distances, bandwidth)[0], expected, rtol=1e-5, atol=1e-5)


def test_pair_at_mean_distance_gets_037():
    assert multi_kernel(torch.tensor(2.5), torch.tensor(2.5)).item() == pytest.approx(0.3699, abs=1e-4)


def test_kernel_of_one_row_is_one():
    distances = squared_distances(torch.ones(1, 1, 3), torch.ones(1, 1, 3))
    torch.testing.assert_close(multi_kernel(distances, bandwidths(distances, torch.ones(1, 1))), torch.ones(1, 1, 1))


def test_bandwidth_counts_marked_rows_only():
    z = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))
    rows = torch.tensor([[1.0, 1, 0, 1, 0], [0, 0, 0, 1, 0]])
    kept = z[0, [0, 1, 3]]
    expected = sum(((a - b) ** 2).sum() for a in kept for b in kept) / 6
    torch.testing.assert_close(bandwidths(squared_distances(z, z), rows)[:, 0, 0], torch.stack([expected, torch.tensor(1.0)]))


def test_identical_rows_get_bandwidth_one():
    z = torch.ones(1, 4, 3)
    assert bandwidths(squared_distances(z, z), torch.ones(1, 4)).item() == 1.0


def test_clamp_cuts_negative_distances_alone():
    z = 100 + torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(0))
    free, clamped = squared_distances(z, z, clamp=False), squared_distances(z, z)
    assert free.min() < 0  # of a row to itself, by rounding
    assert torch.equal(clamped, torch.where(free < 0, 0.0, free))


@pytest.mark.parametrize("needs", [(True, False), (False, True), (True, True)], ids=["queries", "references", "both"])
def test_distances_have_the_gradient_of_their_formula(needs):
    draw = torch.Generator().manual_seed(5)
    rows = [torch.randn(2, n, 3, generator=draw, dtype=torch.float64).requires_grad_(own) for n, own in zip((4, 6), needs, strict=True)]
    assert torch.autograd.gradcheck(squared_distances, tuple(rows))


def test_distances_among_rows_have_the_gradient_of_their_formula():
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    plain = (x.unsqueeze(2) - x.unsqueeze(1)).square().sum(-1)
    (expected,) = torch.autograd.grad((plain * weight).sum(), x)
    (found,) = torch.autograd.grad((squared_distances(x) * weight).sum(), x)
    torch.testing.assert_close(found, expected)


def test_separate_batch_norms_serve_one_view_each(make_samples):
    samples = make_samples()
    method = build(samples, batch_norm="separate").eval()
    norms = method.similarity.norms
    assert (len(norms), len(build(samples).similarity.norms)) == (6, 1)
    with torch.no_grad():
        for call, norm in enumerate(norms):
            norm.bias.fill_(call)
        h = torch.zeros(3, 4, 8)
        views = method.similarity.views(h, h)
    assert views[:, :, 0, 0].tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]  # of each modality phi first


@pytest.mark.parametrize("kernel", ["product", "convex"])
def test_similarity_lies_between_zero_and_one(make_samples, kernel):
    samples = make_samples(missing=0.5)
    method = build(samples, kernel=kernel).eval()
    _, views, observed = states_of(method, as_batch(samples))
    distances = squared_distances(views, views)
    s_k = method.similarity.modality(multi_kernel(distances, bandwidths(distances, observed)))
    s = method.similarity.average(s_k, observed.unsqueeze(2) * observed.unsqueeze(1))
    assert s.min() >= 0
    assert s.max() <= 1 + 1e-5
    torch.testing.assert_close(s.diagonal(), torch.ones(len(s)), rtol=1e-4, atol=1e-4)  # every row observes a modality


def test_rows_without_shared_modality_have_similarity_zero(make_samples):
    batch = as_batch(make_samples(n=4, missing=0.0))
    observed = torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]]).bool()
    method = build(make_samples(), threshold_init=-9.0).eval()
    _, views, own = states_of(method, with_mask(batch, observed))
    s, _ = method.graph(views, own)
    assert s[0, 1] == s[1, 0] == 0
    assert s[3].abs().sum() == 0
    assert (s.diagonal()[:3] > 0.99).all()


@pytest.mark.parametrize("preset", list(M3Care.presets))
def test_row_with_any_modality_is_its_own_neighbour(make_samples, preset):
    samples = make_samples(missing=0.5)
    cut = M3Care.Config(**M3Care.presets[preset]).threshold_init  # the published one
    method = build(samples, preset, threshold_init=cut).eval()
    batch = with_mask(as_batch(samples), torch.from_numpy(samples.observed) & (torch.arange(24) != 5).unsqueeze(1))
    _, views, observed = states_of(method, batch)
    loops = method.graph(views, observed)[0].diagonal()
    torch.testing.assert_close(loops, observed.any(0).float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", ["product", "convex"])
def test_similarity_matches_loops_over_pairs(make_samples, kernel):
    samples = make_samples(n=7, missing=0.5)
    method = build(samples, kernel=kernel).eval()
    h, views, observed = states_of(method, as_batch(samples))
    expected = plain_similarity(method, h, observed)
    assert 0 < (expected > 0).sum() - 7 < 42  # some pairs are linked, some not
    torch.testing.assert_close(method.graph(views, observed)[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def plain_similarity(method, h, observed):
    """Thresholded similarity of every pair, sample by sample."""
    sim, n = method.similarity, h.shape[1]

    def kernel(z, rows):
        squared = torch.tensor([[((z[i] - z[j]) ** 2).sum() for j in range(n)] for i in range(n)])
        pairs = [squared[i, j] for i in rows for j in rows if i != j]
        b = sum(pairs) / len(pairs) if pairs and sum(pairs) / len(pairs) >= 1e-3 else 1.0
        return sum(torch.exp(-squared / (scale * b)) for scale in (0.5, 1, 2)) / 3

    similar = []
    mapped = sim.phi(h)
    for k in range(len(h)):
        rows = observed[k].nonzero().flatten().tolist()
        deep = kernel(sim.norms[0](mapped[k].relu() if sim.product else mapped[k]), rows)
        raw = kernel(sim.norms[0](h[k]), rows)
        eps = torch.sigmoid(sim.mix[k])
        similar.append(((1 - eps) * deep + eps) * raw if sim.product else (1 - eps) * deep + eps * raw)
    out = torch.zeros(n, n)
    for i in range(n):
        for j in range(n):
            both = [similar[k][i, j] for k in range(len(h)) if observed[k, i] and observed[k, j]]
            mean = sum(both) / len(both) if both else torch.tensor(0.0)
            out[i, j] = mean if mean > torch.sigmoid(sim.threshold) else 0.0
    return out


def test_threshold_keeps_values_above_the_cut():
    similarity = Similarity(2, M3Care.Config(width=8, threshold_init=0.0))
    s = torch.tensor([[1.0, 0.7, 0.5], [0.2, 0.51, 0.0]], requires_grad=True)
    out = similarity.calibrate(s)
    torch.testing.assert_close(out, torch.where(s > 0.5, s, 0.0))
    (out * torch.arange(1.0, 7.0).reshape(2, 3)).sum().backward()
    kept = torch.tensor([[1.0, 2.0, 0.0], [0.0, 5.0, 0.0]])
    torch.testing.assert_close(s.grad, kept)
    torch.testing.assert_close(similarity.threshold.grad, -kept.sum() * 0.25)  # sigmoid'(0) = 1/4


# neighbours


def test_outer_mask_imputes_one_constant(make_samples):
    samples = make_samples(n=20, missing=0.5)
    method = build(samples, "as_released").eval()
    h, views, observed = states_of(method, as_batch(samples))
    g = method.neighbours(h, views, observed)
    for k in range(3):
        absent = g[k, observed[k] == 0]
        assert torch.equal(absent, absent[:1].expand_as(absent))
        torch.testing.assert_close(absent[0], F.relu(method.convolution2.bias[k]))


def clusters(**changes):
    """Two clusters of three rows in eval mode; row 0 lacks modality 1. Returns the method, H with gradient, the mask."""
    schema = Schema(tuple(Modality(name, name[0].upper(), "vector", (4,)) for name in ("alpha", "beta")), ("x", "y"))
    torch.manual_seed(3)
    method = M3Care(schema, M3Care.Config(width=8, threshold_init=0.0, eval_graph="batch", activation="selu", **changes)).eval()
    centres = torch.randn(2, 2, 1, 8).repeat(1, 1, 3, 1).flatten(1, 2) * 3  # (M, 6, D)
    h = (centres + 0.1 * torch.randn(2, 6, 8)).requires_grad_()
    observed = torch.ones(2, 6)
    observed[1, 0] = 0
    return method, h, observed


def test_imputation_follows_neighbours_in_the_same_cluster():
    method, h, observed = clusters()
    g = method.neighbours(h, method.similarity.views(method.similarity.phi(h), h), observed)
    (slope,) = torch.autograd.grad(g[1, 0].sum(), h)
    reached = slope[1].abs().sum(1) > 0
    assert reached.tolist() == [False, True, True, False, False, False]  # neighbours that have modality 1, and no others


def test_outer_mask_lets_no_neighbour_through():
    method, h, observed = clusters(mask="outer")
    g = method.neighbours(h, method.similarity.views(method.similarity.phi(h), h), observed)
    (slope,) = torch.autograd.grad(g[1, 0].sum(), h)
    assert slope.abs().sum() == 0


def plain_layer(method, layer, x, s, observed, k):
    """One graph convolution of modality k, row by row: a weighted sum over rows that have it. Shapes: x (n, D) -> (n, D)."""
    rows = []
    for i in range(len(s)):
        weights = s[i] * observed[k] * (observed[k, i] if method.config.mask == "outer" else 1)
        if method.config.norm == "row":
            weights = weights / max(weights.sum(), 1e-6)
        rows.append(F.relu((weights @ x) @ layer.weight[k].T + layer.bias[k]))
    return torch.stack(rows)


@pytest.mark.parametrize("mask", ["column", "outer"])
@pytest.mark.parametrize("norm", ["row", "none"])
def test_aggregation_matches_loops_over_rows(make_samples, mask, norm):
    samples = make_samples(n=7, missing=0.5)
    method = build(samples, mask=mask, norm=norm, eval_graph="batch").eval()
    h, views, observed = states_of(method, as_batch(samples))
    s, _ = method.graph(views, observed)
    for k, g in enumerate(method.neighbours(h, views, observed)):
        first = plain_layer(method, method.convolution1, h[k], s, observed, k)
        expected = plain_layer(method, method.convolution2, first, s, observed, k)
        torch.testing.assert_close(g, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", ["column", "outer"])
@pytest.mark.parametrize("norm", ["row", "none"])
def test_support_mode_matches_loops_over_rows(make_samples, mask, norm):
    samples = make_samples(n=14, missing=0.4)
    method = build(samples, mask=mask, norm=norm, support=8).eval()
    with torch.no_grad():
        (h_s, views_s, own_s), (h, views, own) = states_of(method, method.support), states_of(method, as_batch(samples))
        s_ss, bandwidth = method.graph(views_s, own_s)
        kernels = multi_kernel(squared_distances(views, views_s), bandwidth)
        s = method.similarity.average(method.similarity.modality(kernels), own.unsqueeze(2) * own_s.unsqueeze(1))
        s = torch.where(s > torch.sigmoid(method.similarity.threshold), s, 0.0)
        for k in range(3):
            first_s = plain_layer(method, method.convolution1, h_s[k], s_ss, own_s, k)
            for q in range(len(h[0])):
                weights = s[q] * own_s[k] * (own[k, q] if mask == "outer" else 1)
                total = max(weights.sum() + own[k, q], 1e-6) if norm == "row" else 1.0
                w1, w2 = method.convolution1.weight[k].T, method.convolution2.weight[k].T
                first = F.relu(((weights @ h_s[k] + own[k, q] * h[k, q]) / total) @ w1 + method.convolution1.bias[k])
                expected = F.relu(((weights @ first_s + own[k, q] * first) / total) @ w2 + method.convolution2.bias[k])
                got = method.neighbours(h[:, [q]], views[:, :, [q]], own[:, [q]])[k, 0]
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_missing_takes_neighbours_and_observed_takes_the_gate(make_samples):
    samples = make_samples(n=9, missing=0.5)
    method = build(samples, eval_graph="batch").eval()
    h, views, observed = states_of(method, as_batch(samples))
    g, filled = method.neighbours(h, views, observed), method.complete(h, method.similarity.phi(h), observed)
    for k in range(3):
        for i in range(9):
            a = torch.sigmoid(method.gate.neighbours.weight[k, 0] @ g[k, i] + method.gate.neighbours.bias[k, 0])
            b = torch.sigmoid(method.gate.own.weight[k, 0] @ h[k, i] + method.gate.own.bias[k, 0])
            blend = a / (a + b) * g[k, i] + b / (a + b) * h[k, i]
            torch.testing.assert_close(filled[k, i], blend if observed[k, i] else g[k, i], rtol=1e-4, atol=1e-5)


# the whole method


@pytest.mark.parametrize("preset", list(M3Care.presets))
def test_hidden_modality_never_reaches_logits(make_samples, preset):
    samples = make_samples(missing=0.5)
    method, batch = build(samples, preset), as_batch(samples)
    filled = Batch({name: x.nan_to_num(7.0) for name, x in batch.inputs.items()}, batch.observed, batch.target, batch.index)
    before = evaluate(method, batch)
    assert before.isfinite().all()
    method.support = method.support.__class__(
        {name: x.nan_to_num(-3.0) for name, x in method.support.inputs.items()},
        method.support.observed, method.support.target, method.support.index,
    )  # fmt: skip
    assert torch.equal(evaluate(method, filled), before)


@pytest.mark.parametrize(("preset", "tokens"), [("paper", 1), ("paper", 3), ("ov", 1)])
def test_support_logits_do_not_depend_on_batch_size(make_samples, preset, tokens):
    samples = make_samples(n=30, missing=0.4)
    method = build(samples, preset, tokens=tokens).double()
    method.support = double(method.support)
    batch = double(as_batch(samples))
    together = evaluate(method, batch)
    alone = torch.cat([evaluate(method, batch.rows(rows)) for rows in torch.arange(30).split(7)])
    single = torch.cat([evaluate(method, batch.rows(torch.tensor([i]))) for i in range(5)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-9)
    torch.testing.assert_close(single, together[:5], rtol=0, atol=1e-9)


@pytest.mark.parametrize("eval_graph", ["support", "batch"])
def test_logits_follow_a_permutation_of_rows(make_samples, eval_graph):
    samples = make_samples(missing=0.4)
    method = build(samples, eval_graph=eval_graph).double()
    method.support = double(method.support)
    batch, order = double(as_batch(samples)), torch.randperm(24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(evaluate(method, batch.rows(order)), evaluate(method, batch)[order], rtol=0, atol=1e-9)


def test_batch_graph_depends_on_batch_mates(make_samples):
    samples = make_samples(missing=0.4)
    method, batch = build(samples, "as_released"), as_batch(samples)
    assert not torch.allclose(evaluate(method, batch.rows(torch.arange(6))), evaluate(method, batch)[:6], atol=1e-3)


HARD_MASKS = {
    "modality absent from the batch": [[1, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 1]],
    "row without any modality": [[1, 1, 1], [0, 0, 0], [0, 1, 1], [1, 0, 1]],
    "one modality a row": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]],
    "two rows": [[1, 0, 1], [1, 1, 0]],
    "one row": [[1, 0, 1]],
    "one empty row": [[0, 0, 0]],
}


@pytest.mark.parametrize("preset", list(M3Care.presets))
@pytest.mark.parametrize("case", list(HARD_MASKS))
def test_loss_and_gradients_stay_finite(make_samples, case, preset):
    observed = torch.tensor(HARD_MASKS[case]).bool()
    batch = with_mask(as_batch(make_samples(n=len(observed), missing=0.0)), observed)
    method = build(make_samples(), preset)
    loss = loss_of(method, batch)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters() if parameter.grad is not None)
    assert evaluate(method, batch).isfinite().all()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("preset", list(M3Care.presets))
def test_modality_absent_from_the_batch_is_one_constant(make_samples, preset, training):
    observed = torch.tensor([[1, 0, 1], [1, 0, 0], [0, 0, 1], [1, 0, 1]]).bool()
    batch = with_mask(as_batch(make_samples(n=4, missing=0.0)), observed)
    method = build(make_samples(), preset, eval_graph="batch").train(training)
    h, views, own = states_of(method, batch)
    expected = method.act(method.convolution2.bias[1])
    torch.testing.assert_close(method.neighbours(h, views, own)[1], expected.expand(4, -1))


@pytest.mark.parametrize("preset", list(M3Care.presets))
def test_rows_without_any_modality_share_one_prior(make_samples, preset):
    samples = make_samples(n=12, missing=0.3)
    method = build(samples, preset)
    batch = with_mask(as_batch(samples), torch.from_numpy(samples.observed) & (torch.arange(12) > 2).unsqueeze(1))
    logits, alone = evaluate(method, batch), evaluate(method, batch.rows(torch.tensor([1])))
    torch.testing.assert_close(logits[:3], alone.expand(3, -1))
    h, _, observed = states_of(method, batch)
    constants = method.act(method.convolution2.bias)  # (M, D), what each imputed modality becomes
    filled = method.complete(h, method.similarity.phi(h), observed)
    torch.testing.assert_close(filled[:, :3], constants.unsqueeze(1).expand(-1, 3, -1))


def test_single_training_row_leaves_running_statistics(make_samples):
    samples = make_samples()
    method = build(samples)
    before = method.similarity.norms[0].running_mean.clone()
    loss_of(method, as_batch(samples).rows(torch.tensor([3]))).backward()
    assert torch.equal(method.similarity.norms[0].running_mean, before)


@pytest.mark.parametrize("preset", list(M3Care.presets))
@pytest.mark.parametrize("tokens", [1, 2])
def test_gradient_reaches_every_parameter(make_samples, preset, tokens):
    samples = make_samples(n=40)
    method = build(samples, preset, tokens=tokens)
    loss_of(method, as_batch(samples)).backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


OPTIONS = [
    {"batch_norm": "separate"}, {"fusion_norm": True}, {"clamp": False}, {"imputable": "AG"}, {"stability": "per_sample_mean"},
    {"stability_rows": "observed"}, {"stability_rows": "observed", "stability": "per_sample_mean"}, {"bandwidth_rows": "all"},
    {"heads": 2, "width": 6}, {"support": 5}, {"stability_weight": 0.0},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_trains_and_evaluates(make_samples, options):
    samples = make_samples(missing=0.4)
    method, batch = build(samples, **options), as_batch(samples)
    loss_of(method, batch).backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters() if parameter.grad is not None)
    assert evaluate(method, batch).shape == (24, 3)


@pytest.mark.parametrize("options", [*OPTIONS, {"kernel": "convex"}, {"mask": "outer"}, {"norm": "none"}, {"eval_graph": "batch"},
                                     {"mix_init": 1}, {"threshold_init": 0}], ids=str)  # fmt: skip
def test_every_ablation_has_a_name(make_samples, options):
    samples = make_samples(n=8)
    choice = parse_choice(str(Choice("m3care", "", {"width": 8, "batch_size": 8, **options})))
    method = M3Care(samples.schema, registry.config_of(M3Care, choice, {}))
    assert {name: getattr(method.config, name) for name in options} == options
    method.prepare(samples)
    loss_of(method, as_batch(samples)).backward()
    assert evaluate(method, as_batch(samples)).isfinite().all()


def test_fusion_norm_makes_the_block_pre_norm():
    torch.manual_seed(0)
    block = FusionBlock(2, M3Care.Config(width=8, heads=2, fusion_norm=True)).eval()
    x, positions = torch.randn(3, 4, 8), torch.randn(4, 8)
    z = block.linear(x) + positions
    z = z + block.attention(F.layer_norm(z, (8,), block.norm1.weight, block.norm1.bias))
    expected = z + block.feed_forward(F.layer_norm(z, (8,), block.norm2.weight, block.norm2.bias))
    torch.testing.assert_close(block(x, positions), expected)


def test_modalities_not_imputable_keep_their_embedding(make_samples):
    samples = make_samples(missing=0.4)
    method = build(samples, imputable="AG").eval()
    h, _, observed = states_of(method, as_batch(samples))
    filled = method.complete(h, method.similarity.phi(h), observed)
    assert torch.equal(filled[1], h[1])
    assert not torch.allclose(filled[[0, 2]], h[[0, 2]])


def test_placeholders_are_one_constant_embedding(make_samples):
    samples = make_samples(missing=0.5)
    method = build(samples)
    h, _, observed = states_of(method, as_batch(samples))
    for k in range(3):
        torch.testing.assert_close(h[k, observed[k] == 0], F.relu(method.project.bias[k]).expand(int((observed[k] == 0).sum()), -1))


def test_missing_modality_keeps_its_first_token_only(make_samples):
    samples = make_samples(n=6, missing=0.5)
    method = build(samples, tokens=3).eval()
    tokens, observed = torch.randn(3, 6, 3, 8, generator=torch.Generator().manual_seed(0)), torch.from_numpy(samples.observed)
    other = tokens.clone()
    other[:, :, 1:] = torch.where(observed.t()[:, :, None, None], other[:, :, 1:], 9.0)
    torch.testing.assert_close(method.fuse(other, observed), method.fuse(tokens, observed))
    other[:, :, 0] = torch.where(observed.t()[:, :, None], other[:, :, 0], 9.0)
    assert not torch.allclose(method.fuse(other, observed), method.fuse(tokens, observed))


def test_stability_matches_its_formulas(make_samples):
    samples = make_samples(missing=0.5)
    values = {}
    for form in ("frobenius", "per_sample_mean"):
        for rows in ("all", "observed"):
            method = build(samples, stability=form, stability_rows=rows)
            h, _, observed = states_of(method, as_batch(samples))
            mapped, values[form, rows] = method.similarity.phi(h), 0.0
            for k in range(3):
                kept = observed[k] > 0 if rows == "observed" else torch.ones(24).bool()
                a, b = mapped[k, kept], h[k, kept]
                change = (a.norm() - b.norm()).abs() if form == "frobenius" else (a.norm(dim=1) - b.norm(dim=1)).abs().mean()
                values[form, rows] = values[form, rows] + change
            torch.testing.assert_close(method.stability(mapped, h, observed), values[form, rows])
    assert len({round(value.item(), 3) for value in values.values()}) == 4


def test_penalty_is_weighted_and_absent_in_evaluation(make_samples):
    samples = make_samples()
    method, batch = build(samples, stability_weight=0.5), as_batch(samples)
    h, _, observed = states_of(method, batch)
    expected = 0.5 * method.stability(method.similarity.phi(h), h, observed)
    torch.testing.assert_close(method(batch).penalties["stability"], expected)
    assert not method.eval()(batch).penalties


def test_size_and_flops_match_the_closed_form(make_samples):
    M, B, d, C = 4, 32, 128, 3
    samples = make_samples(n=B, modalities=M, missing=0.0)
    method, batch = M3Care(samples.schema, M3Care.Config(**M3Care.presets["as_released"])).eval(), as_batch(samples)
    counts = []
    for module in (method, method.encoders):
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            module(batch)
        counts.append(counter.get_total_flops())
    graph = 3 * M * B * d**2 + 2 * M * B**2 * d + 2 * M * (B * d**2 + B**2 * d)  # phi, kernels, graph convolutions
    fusion = 2 * (13 * M * d**2 + 2 * M**2 * d) + 2 * M * d**2 + 2 * d * C  # of one sample, head included
    macs = graph + B * fusion + M * B * d**2 + 2 * M * B * d  # the layer behind the encoders and the gates are counted too
    assert (counts[0] - counts[1]) / 2 == pytest.approx(macs, rel=1e-3)  # bandwidths are the rest
    parameters = sum(p.numel() for name, p in method.named_parameters() if not name.startswith(("encoders", "project")))
    assert round(parameters / 1e6, 2) == 0.89


def test_support_is_stratified_and_fixed_by_seed():
    target = torch.tensor([0] * 60 + [1] * 30 + [2] * 9 + [3])
    rows = stratified(target, 20, seed=4)
    assert torch.equal(rows, stratified(target, 20, seed=4))
    assert not torch.equal(rows, stratified(target, 20, seed=5))
    assert rows.unique().numel() == 20
    assert target[rows].bincount().tolist() == [11, 6, 2, 1]  # of 60, 30, 9 and 1
    assert torch.equal(stratified(target, 500, seed=4), torch.arange(100))


def test_support_has_as_many_rows_as_a_batch(make_samples):
    assert len(build(make_samples(n=40), batch_size=10).support) == 10
    assert len(build(make_samples(n=40), support=25).support) == 25
    assert len(build(make_samples(n=6)).support) == 6


def test_evaluation_refreshes_support_states(make_samples):
    samples = make_samples(missing=0.4)
    method, batch = build(samples), as_batch(samples)
    before = evaluate(method, batch)
    method.train()
    torch.optim.Adam(method.parameters(), 0.01).step(lambda: loss_of(method, batch).backward())
    after = evaluate(method, batch)
    assert not torch.allclose(before, after)
    method.reference = None  # forward builds what is absent
    assert torch.equal(method(batch).logits, after)


def test_edge_density_counts_links_between_support_rows(make_samples):
    samples = make_samples(missing=0.4)
    for threshold, density in ((-9.0, None), (9.0, 0.0)):
        method = build(samples, threshold_init=threshold, support=8)
        evaluate(method, as_batch(samples))
        assert method.edge_density == density if density is not None else 0 < method.edge_density <= 1


def test_evaluation_without_support_is_an_error(make_samples):
    samples = make_samples()
    method = M3Care(samples.schema, M3Care.Config(width=8)).eval()
    with pytest.raises(RuntimeError, match="needs prepare"):
        method(as_batch(samples))
    assert M3Care(samples.schema, M3Care.Config(width=8, eval_graph="batch")).eval()(as_batch(samples)).logits.shape == (24, 3)


@pytest.mark.parametrize("preset", list(M3Care.presets))
def test_saved_state_restores_predictions(make_samples, preset):
    samples = make_samples(missing=0.4)
    method, batch = build(samples, preset, **STILL), as_batch(samples)
    loss_of(method, batch).backward()
    torch.optim.Adam(method.parameters(), 0.01).step()
    other = build(samples, preset, **STILL)
    other.load_state_dict(method.state_dict())
    assert torch.equal(evaluate(other, batch), evaluate(method, batch))


def test_same_seed_gives_same_numbers(make_samples):
    samples = make_samples()
    assert torch.equal(evaluate(build(samples, seed=3), as_batch(samples)), evaluate(build(samples, seed=3), as_batch(samples)))


def test_image_and_sequence_modalities_work():
    schema = Schema(
        (
            Modality("image", "I", "image", (1, 8, 8)),
            Modality("notes", "N", "sequence", (6, 3)),
            Modality("table", "T", "vector", (5,)),
        ),
        ("x", "y"),
    )
    generator = torch.Generator().manual_seed(0)
    observed = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()
    inputs = {modality.name: torch.randn(4, *modality.shape, generator=generator) for modality in schema}
    for m, name in enumerate(schema.names):
        inputs[name][~observed[:, m]] = torch.nan
    torch.manual_seed(0)
    method = M3Care(schema, M3Care.Config(width=8, tokens=4, eval_graph="batch"))
    loss = loss_of(method, Batch(inputs, observed, torch.tensor([0, 1, 0, 1]), torch.arange(4)))
    loss.backward()
    assert loss.isfinite()


def test_training_fits_sixty_four_rows(make_samples):
    samples = make_samples(n=64, missing=0.3, seed=1)
    method = build(samples, **{**STILL, "width": 16, "batch_size": 64})
    batch = as_batch(samples)
    noise = torch.randint(0, 3, (64,), generator=torch.Generator().manual_seed(0))  # labels without a pattern: pure memory
    batch = Batch(batch.inputs, batch.observed, noise, batch.index)
    optimiser = torch.optim.Adam(method.parameters(), 1e-3)
    for _ in range(300):
        prediction = method(batch)
        if (prediction.logits.argmax(1) == noise).float().mean() > 0.95:
            return
        optimiser.zero_grad()
        (F.cross_entropy(prediction.logits, noise) + sum(prediction.penalties.values())).backward()
        optimiser.step()
    pytest.fail("training accuracy stayed at or below 95 percent")


WRONG = [
    {"width": 10}, {"tokens": 0}, {"heads": 0}, {"activation": "gelu"}, {"kernel": "sum"}, {"mask": "row"}, {"norm": "column"},
    {"bandwidth_rows": "none"}, {"batch_norm": "none"}, {"eval_graph": "all"}, {"stability": "l2"}, {"stability_rows": "none"},
    {"dropout": 1.0}, {"residual_dropout": -0.1}, {"support": -1}, {"stability_weight": -1.0}, {"epochs": 0},
]  # fmt: skip


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        M3Care.Config(**changes)


def test_unknown_imputable_letter_is_refused(make_samples):
    with pytest.raises(ValueError, match="letters"):
        M3Care(make_samples().schema, M3Care.Config(width=8, imputable="Z"))


def test_presets_and_search_name_config_fields():
    for changes in (*M3Care.presets.values(), *({name: value} for name, values in M3Care.search.items() for value in values)):
        M3Care.Config(**changes)
    assert next(iter(M3Care.presets)) == "paper"


def test_presets_hold_the_notebooks_settings():
    odir, ov, released = (M3Care.Config(**M3Care.presets[name]) for name in ("paper", "ov", "as_released"))
    assert (odir.width, odir.activation, odir.kernel, odir.mix_init, odir.threshold_init) == (128, "relu", "product", 2, 2)
    assert (ov.width, ov.activation, ov.kernel, ov.mix_init, ov.threshold_init) == (256, "selu", "convex", -0.3, 0)
    assert (odir.weight_decay, odir.stability_weight, odir.attention_dropout) == (1e-4, 1e-7, 0.1)
    assert (ov.weight_decay, ov.stability_weight, ov.attention_dropout, ov.batch_size) == (1e-5, 1e-8, 0.0, 32)
    for config in (odir, ov, released):
        assert (config.learning_rate, config.epochs, config.clip_norm, config.dropout) == (1e-4, 100, 20, 0.5)
    assert (odir.mask, odir.norm, odir.bandwidth_rows, odir.eval_graph) == ("column", "row", "observed", "support")
    assert (released.mask, released.norm, released.bandwidth_rows, released.eval_graph) == ("outer", "none", "all", "batch")


# the released code: ODIR notebook, five modalities, two of them imputable texts

TYPE = [0, 1, 1, 2, 2]  # tabular; left and right text; left and right image
TEXTS = {"left": 1, "right": 2}


def released(arrays, tokens=1, preset="as_released", **changes) -> M3Care:
    """The preset with the stored weights."""
    names = ("tabular", "left text", "right text", "image left", "north")
    schema = Schema(tuple(Modality(name, letter, "vector", (3,)) for name, letter in zip(names, "TLRIN", strict=True)), ("a", "b", "c"))
    config = M3Care.Config(**M3Care.presets[preset], **STILL, width=16, tokens=tokens, imputable="LR", **changes)
    method = M3Care(schema, config)
    sim = method.similarity
    pairs = [(method.types, arrays["type_emb"]), (sim.mix, arrays["e"][TYPE]), (sim.threshold, arrays["t"][0])]
    for layer in range(3):
        pairs += [
            (sim.phi[2 * layer].weight, arrays["phi_W"][TYPE, layer]),
            (sim.phi[2 * layer].bias, arrays["phi_b"][TYPE, layer]),
        ]
    norm = sim.norms[0]
    pairs += [(getattr(norm, name), arrays[f"bn_{name}"]) for name in ("weight", "bias", "running_mean", "running_var")]
    for number, layer in ((1, method.convolution1), (2, method.convolution2)):
        pairs += [(layer.weight, arrays[f"gcn{number}_W"].transpose(1, 2)), (layer.bias, arrays[f"gcn{number}_b"])]
    for number, layer in ((1, method.gate.neighbours), (2, method.gate.own)):
        pairs += [
            (layer.weight, arrays[f"gate_w{number}_W"].unsqueeze(1)),
            (layer.bias, arrays[f"gate_w{number}_b"].unsqueeze(1)),
        ]
    for name, block in (("fuse4", method.fusion1), ("fuse1", method.fusion2)):
        part = {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(name)}
        pairs += [(block.linear.weight, part["W_in"]), (block.linear.bias, part["b_in"])]
        pairs += [(block.attention.qkv.weight, part["W_qkvo"][:3].flatten(0, 1)), (block.attention.out.weight, part["W_qkvo"][3])]
        pairs += [(block.attention.qkv.bias, part["b_qkvo"][:3].flatten()), (block.attention.out.bias, part["b_qkvo"][3])]
        for number, layer in ((1, block.feed_forward[0]), (2, block.feed_forward[3])):
            pairs += [(layer.weight, part[f"W{number}"]), (layer.bias, part[f"b{number}"])]
    for number, layer in ((1, method.head[0]), (2, method.head[3])):
        pairs += [(layer.weight, arrays[f"head_W{number}"]), (layer.bias, arrays[f"head_b{number}"])]
    with torch.no_grad():
        for ours, theirs in pairs:
            ours.copy_(theirs)
    return method


def close(ours, theirs, rtol=1e-5, atol=1e-5):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


@pytest.mark.parametrize("changes", [{}, {"preset": "paper", "bandwidth_rows": "all"}], ids=["as_released", "paper with all rows"])
@pytest.mark.parametrize("case", ["eval", "train"])
def test_similarity_equals_released_code(parity, case, changes):
    arrays = parity("m3care_odir", case)
    method = released(arrays, **changes).train(case == "train")
    h, observed = arrays["H"].transpose(0, 1), arrays["O"].t()
    views = method.similarity.views(method.similarity.phi(h), h)
    distances = squared_distances(views, views)
    kernels = multi_kernel(distances, bandwidths(distances, torch.ones_like(observed)))
    close(kernels[0], arrays["K_phi"], atol=5e-5)
    close(kernels[1], arrays["K_raw"], atol=5e-5)
    s_k = method.similarity.modality(kernels)
    close(s_k, arrays["S_k"], atol=5e-5)
    shared = observed.unsqueeze(2) * observed.unsqueeze(1)
    assert all(torch.equal(shared[k], arrays[f"pair_mask_{side}"]) for side, k in TEXTS.items())
    s = method.similarity.average(s_k, shared)
    close(s, arrays["S_mean"])
    margin = (s - torch.sigmoid(method.similarity.threshold)).abs()[~torch.eye(len(s), dtype=torch.bool)].min()
    close(margin, arrays["min_margin_to_threshold"])
    cut, _ = method.graph(views, observed)
    close(cut, arrays["S_after_threshold"])
    assert torch.equal(cut > 0, arrays["S_after_threshold"] > 0)


@pytest.mark.parametrize("case", ["eval", "train"])
def test_imputation_equals_released_code(parity, case):
    arrays = parity("m3care_odir", case)
    method = released(arrays).train(case == "train")
    h, observed = arrays["H"].transpose(0, 1), arrays["O"].t()
    edges = method.edges(arrays["S_after_threshold"], observed, observed)
    first = method.convolve(method.convolution1, edges, method.pick(h))
    g = method.convolve(method.convolution2, edges, first)
    alpha = method.gate.alpha(g, method.pick(h))
    filled = method.complete(h, method.similarity.phi(h), observed)
    for side, k in TEXTS.items():
        close(first[k - 1], arrays[f"G1_{side}"])
        close(g[k - 1], arrays[f"G_{side}"])
        close(alpha[k - 1], arrays[f"alpha_{side}"])
        close(filled[k], arrays[f"F_{side}"])
    assert torch.equal(filled[[0, 3, 4]], h[[0, 3, 4]])


def sequence(method, arrays, filled):
    """Z0 of texts of unequal length, and the position of each modality's first token."""
    several = released(arrays, tokens=arrays["T_left"].shape[1])
    several.types = method.types
    parts = [method.assemble(filled.unsqueeze(2))[:, [k]] for k in range(5)]
    for side, k in TEXTS.items():
        text = arrays[f"T_{side}"].clone()
        text[:, 0] = filled[k]
        padded = F.pad(text, (0, 0, 0, several.config.tokens - text.shape[1]))
        everything = several.assemble(padded.expand(5, *padded.shape)).unflatten(1, (5, -1))
        parts[k] = everything[:, k, : text.shape[1]]
    lengths = torch.tensor([part.shape[1] for part in parts])
    return torch.cat(parts, 1), lengths.cumsum(0) - lengths


@pytest.mark.parametrize("case", ["eval", "train"])
def test_whole_pass_and_gradients_equal_released_code(parity, case):
    arrays = parity("m3care_odir", case)
    method = released(arrays).train(case == "train")
    h, observed = arrays["H"].transpose(0, 1), arrays["O"].t()
    mapped = method.similarity.phi(h)
    z0, first = sequence(method, arrays, method.complete(h, mapped, observed))
    close(z0, arrays["Z0"])
    keys, positions = arrays["key_mask"].bool(), sinusoids(z0.shape[1], 16)
    for side, k in TEXTS.items():
        text = torch.arange(arrays[f"T_{side}"].shape[1])
        assert torch.equal(keys[:, text + first[k]], text < arrays[f"len_{side}"].unsqueeze(1))
        assert (arrays[f"len_{side}"][observed[k] == 0] == 1).all()  # of a missing text, token 0 alone
    z1 = method.act(method.fusion1(z0, positions, keys))
    z2 = method.act(method.fusion2(z1, positions, keys))
    close(z1, arrays["Z1"])
    close(z2, arrays["Z2"])
    close(z2[:, first].flatten(1), arrays["head_input"])
    logits = method.head(z2[:, first].flatten(1))
    close(logits, arrays["logits"])
    stability = method.stability(mapped, h, observed)
    close(stability, arrays["stab"])
    task = F.binary_cross_entropy_with_logits(logits, arrays["y"])
    close(task, arrays["task_loss"])
    loss = task + method.config.stability_weight * stability
    close(loss, arrays["total_loss"])
    loss.backward()
    by_type = torch.tensor(TYPE)
    sim = method.similarity
    close(sim.threshold.grad, arrays["grad_t"][0], rtol=1e-4, atol=1e-6)
    close(torch.zeros(3).index_add(0, by_type, sim.mix.grad), arrays["grad_e"], rtol=1e-4, atol=1e-6)
    close(torch.zeros(3, 16, 16).index_add(0, by_type, sim.phi[0].weight.grad), arrays["grad_phi_W0"], rtol=1e-4, atol=1e-6)
    close(method.convolution1.weight.grad.transpose(1, 2), arrays["grad_gcn1_W"], rtol=1e-4, atol=1e-6)
    if case == "train":
        close(sim.norms[0].running_mean, arrays["bn_running_mean_after"])
        close(sim.norms[0].running_var, arrays["bn_running_var_after"])


def test_fuse_reads_first_tokens_of_equal_lengths(make_samples):
    method = build(make_samples(), tokens=2).eval()
    tokens = torch.randn(3, 4, 2, 8, generator=torch.Generator().manual_seed(0))
    z = method.fusion1(method.assemble(tokens), method.positions)
    z = F.relu(method.fusion2(F.relu(z), method.positions))
    torch.testing.assert_close(method.fuse(tokens, torch.ones(4, 3).bool()), z[:, [0, 2, 4]])


def test_sinusoids_are_the_standard_table():
    table = sinusoids(5, 7)
    assert table.shape == (5, 7)
    torch.testing.assert_close(table[:, 2], torch.sin(torch.arange(5.0) / 10000 ** (2 / 7)))
    torch.testing.assert_close(table[:, 5], torch.cos(torch.arange(5.0) / 10000 ** (4 / 7)))


def test_copies_of_a_method_agree(make_samples):
    samples = make_samples()
    method = build(samples)
    before = evaluate(method, as_batch(samples))
    assert torch.equal(evaluate(copy.deepcopy(method), as_batch(samples)), before)

"""The shared layers against their formulas, and the draws against their distributions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn import functional as F

from bench.methods.layers import (
    Attention,
    Dropout,
    FeedForward,
    GroupedLinear,
    SparseExperts,
    TransformerBlock,
    cv_squared,
    dropout,
    hash_uniform,
    in_top_k_probability,
    uniform_size_subset,
    uniform_subset,
)

quick = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def close(ours, expected) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# attention and transformer block


def attention_by_hand(x, attention, keys=None):
    """x (B, T, D): one sample, one head, one query at a time."""
    width, size = x.shape[2], x.shape[2] // attention.heads
    out = torch.zeros_like(x)
    for b, t in itertools.product(range(x.shape[0]), range(x.shape[1])):
        q, k, v = F.linear(x[b], attention.qkv.weight, attention.qkv.bias).split(width, dim=1)
        heads = []
        for h in range(attention.heads):
            part = slice(h * size, (h + 1) * size)
            scores = (k[:, part] @ q[t, part]) / size**0.5  # (T,)
            weights = scores.exp() if keys is None else scores.exp() * keys[b]
            heads.append((weights / weights.sum()) @ v[:, part])
        out[b, t] = attention.out.weight @ torch.cat(heads) + attention.out.bias
    return out


@pytest.fixture
def keys():
    return torch.tensor([[True, True, False, True], [False, False, True, False], [True] * 4])


@pytest.mark.parametrize("masked", [False, True], ids=["all keys", "some keys"])
@pytest.mark.parametrize(("heads", "qkv_bias"), [(1, True), (2, False), (6, True)])
def test_attention_equals_its_formula(keys, heads, qkv_bias, masked):
    torch.manual_seed(0)
    attention, x = Attention(6, heads, qkv_bias=qkv_bias), torch.randn(3, 4, 6)
    keys = keys if masked else None
    close(attention(x, keys), attention_by_hand(x, attention, keys))


def test_masked_keys_have_no_influence(keys):
    torch.manual_seed(0)
    attention, x = Attention(8, 2), torch.randn(3, 4, 8)
    other = torch.where(keys.unsqueeze(2), x, torch.randn(3, 4, 8))
    allowed = keys.nonzero(as_tuple=True)
    close(attention(x, keys)[allowed], attention(other, keys)[allowed])
    assert (attention(x)[allowed] - attention(other)[allowed]).abs().max() > 0.01


def test_attention_gradients_equal_the_formula(keys):
    torch.manual_seed(0)
    attention, x = Attention(6, 2), torch.randn(3, 4, 6)
    direction = torch.randn(3, 4, 6)
    ours = torch.autograd.grad((attention(x, keys) * direction).sum(), list(attention.parameters()))
    expected = torch.autograd.grad((attention_by_hand(x, attention, keys) * direction).sum(), list(attention.parameters()))
    for pair in zip(ours, expected, strict=True):
        close(*pair)


def test_attention_refuses_uneven_heads():
    with pytest.raises(ValueError, match="width must be a multiple of heads, got 8 and 3"):
        Attention(8, 3)


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    block, x = TransformerBlock(8, 2, 16, dropout=0.5), torch.randn(2, 3, 8)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))


def test_feed_forward_equals_its_formula():
    torch.manual_seed(0)
    layer, x = FeedForward(4, 7), torch.randn(2, 3, 4)
    first, second = layer[0], layer[3]
    h = x @ first.weight.T + first.bias
    gelu = h * 0.5 * (1 + torch.erf(h / 2**0.5))
    close(layer(x), gelu @ second.weight.T + second.bias)


@pytest.mark.parametrize("masked", [False, True], ids=["all keys", "some keys"])
def test_transformer_block_equals_its_formula(keys, masked):
    torch.manual_seed(0)
    block, x = TransformerBlock(6, 3, 10, dropout=0.5, qkv_bias=False).eval(), torch.randn(3, 4, 6)
    for norm in (block.norm1, block.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    keys = keys if masked else None
    h = x + attention_by_hand(F.layer_norm(x, (6,), block.norm1.weight, block.norm1.bias), block.attention, keys)
    close(block(x, keys), h + block.feed_forward(F.layer_norm(h, (6,), block.norm2.weight, block.norm2.bias)))
    assert block.attention.qkv.bias is None


def test_block_drops_both_residual_branches():
    block = TransformerBlock(4, 1, 4, dropout=0.25)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.zeros(400, 25, 4)
    for bias in (block.attention.out.bias, block.feed_forward[3].bias):
        nn.init.ones_(bias)
        torch.manual_seed(0)
        out = block(x)
        close(out.unique(), torch.tensor([0.0, 1 / 0.75]))
        assert abs((out > 0).float().mean().item() - 0.75) < 0.01  # standard error 0.0022
        nn.init.zeros_(bias)


# sparse experts


def experts_by_hand(layer, x, experts, gates):
    """One unit and one visit at a time."""
    rows = []
    for unit in range(len(x)):
        y = torch.zeros(layer.weight2.shape[1])
        for e, gate in zip(experts[unit].tolist(), gates[unit], strict=True):
            y = y + gate * (layer.weight2[e] @ F.gelu(layer.weight1[e] @ x[unit] + layer.bias1[e]) + layer.bias2[e])
        rows.append(y)
    return torch.stack(rows)


def routed(units=7, experts=5, kept=2, features=4, outputs=3, allowed=None):
    """A layer, inputs and a random routing over the allowed experts."""
    torch.manual_seed(0)
    layer = SparseExperts(experts, kept, features, 6, outputs)
    allowed = torch.arange(experts) if allowed is None else torch.tensor(allowed)
    chosen = allowed[torch.rand(units, len(allowed)).argsort(1)[:, :kept]]
    return layer, torch.randn(units, features, requires_grad=True), chosen, torch.rand(units, kept, requires_grad=True)


@pytest.mark.parametrize("kept", [1, 2, 5])
@pytest.mark.parametrize("units", [1, 7, 40])
def test_sparse_experts_equal_the_loop_over_units(units, kept):
    layer, x, chosen, gates = routed(units=units, kept=kept)
    close(layer(x, chosen, gates), experts_by_hand(layer, x, chosen, gates))


def test_sparse_experts_gradients_equal_the_loop():
    layer, x, chosen, gates = routed(units=9, kept=3)
    wanted = [x, gates, *layer.parameters()]
    direction = torch.randn(9, 3)
    ours = torch.autograd.grad((layer(x, chosen, gates) * direction).sum(), wanted)
    expected = torch.autograd.grad((experts_by_hand(layer, x, chosen, gates) * direction).sum(), wanted)
    for pair in zip(ours, expected, strict=True):
        close(*pair)


def test_experts_nobody_visits_get_no_gradient():
    layer, x, chosen, gates = routed(allowed=[0, 3])
    y = layer(x, chosen, gates)
    close(y, experts_by_hand(layer, x, chosen, gates))
    y.sum().backward()
    for parameter in layer.parameters():
        visited = parameter.grad.flatten(1).abs().sum(1) > 0
        assert visited.tolist() == [True, False, False, True, False]
        assert parameter.grad.isfinite().all()


def test_sparse_experts_accept_zero_units():
    layer, x, chosen, gates = routed()
    assert layer(x[:0], chosen[:0], gates[:0]).shape == (0, 3)


def test_one_expert_visited_twice_counts_twice():
    layer, x, _, gates = routed()
    chosen = torch.full((7, 2), 4)
    close(layer(x, chosen, gates), experts_by_hand(layer, x, chosen, gates))


def test_unit_order_only_permutes_outputs():
    layer, x, chosen, gates = routed(units=30)
    order = torch.randperm(30, generator=generator())
    close(layer(x[order], chosen[order], gates[order]), layer(x, chosen, gates)[order])


def test_expert_dropout_acts_in_training_alone():
    layer, x, chosen, gates = routed()
    layer.dropout = 0.5
    assert not torch.equal(layer(x, chosen, gates), layer(x, chosen, gates))
    layer.eval()
    close(layer(x, chosen, gates), experts_by_hand(layer, x, chosen, gates))


def test_idle_parameters_are_those_of_other_experts():
    layer = SparseExperts(5, 2, 4, 6, 3)
    assert layer.idle_parameters == 3 * (4 * 6 + 6 + 6 * 3 + 3)


def test_experts_start_as_linear_layers_do():
    torch.manual_seed(0)
    layer = SparseExperts(8, 2, 25, 64, 9)
    for parameter, bound in ((layer.weight1, 0.2), (layer.bias1, 0.2), (layer.weight2, 0.125), (layer.bias2, 0.125)):
        assert 0.9 * bound < parameter.abs().max() <= bound


# gates: balance and load


@pytest.mark.parametrize("values", [[1.0, 2.0, 6.0], [0.0, 0.0, 5.0, 5.0], [3, 1, 2]], ids=str)
def test_cv_squared_equals_its_formula(values):
    expected = np.var(values, ddof=1) / (np.mean(values) ** 2 + 1e-10)
    close(cv_squared(torch.tensor(values)), torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("values", [[4.0], [2.0, 2.0, 2.0], [0.0, 0.0]], ids=str)
def test_cv_squared_of_even_load_is_zero(values):
    loads = torch.tensor(values, requires_grad=True)
    assert cv_squared(loads) == 0
    cv_squared(loads).backward()
    assert torch.equal(loads.grad, torch.zeros_like(loads))


@quick
@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=12), st.floats(0.5, 20))
def test_cv_squared_ignores_scale_and_order(values, scale):
    ours, other = cv_squared(torch.tensor(values)), cv_squared(torch.tensor(values[::-1]) * scale)
    torch.testing.assert_close(ours, other, rtol=1e-3, atol=1e-5)


def noisy_router(units=4, experts=6, forbidden=()):
    torch.manual_seed(3)
    clean, sigma = torch.randn(units, experts), torch.rand(units, experts) + 0.3
    clean[:, list(forbidden)] = -torch.inf
    return clean, clean + sigma * torch.randn(units, experts), sigma


@pytest.mark.parametrize("forbidden", [(), (1, 4)], ids=["all allowed", "two forbidden"])
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_in_top_k_probability_equals_monte_carlo(kept, forbidden):
    clean, noisy, sigma = noisy_router(forbidden=forbidden)
    ours = in_top_k_probability(clean, noisy, sigma, kept)
    draws = 20_000
    for e in range(clean.shape[1]):
        anew = noisy.expand(draws, -1, -1).clone()  # the noise of expert e alone is drawn again
        anew[:, :, e] = clean[:, e] + sigma[:, e] * torch.randn(draws, len(clean), generator=generator(e))
        others = (anew > anew[:, :, e : e + 1]).sum(2)  # experts ahead of e
        share = ((others < kept) & anew[:, :, e].isfinite()).float().mean(0)
        assert (ours[:, e] - share).abs().max() < 0.015  # standard error at most 0.0036


def test_in_top_k_probability_sends_finite_gradients():
    clean, noisy, sigma = noisy_router(forbidden=(0,))
    clean.requires_grad_()
    sigma.requires_grad_()
    in_top_k_probability(clean, clean + (noisy - clean).nan_to_num().detach(), sigma, 2).sum().backward()
    assert clean.grad.isfinite().all()
    assert sigma.grad.isfinite().all()
    assert not clean.grad[:, 0].any()


def test_forbidden_expert_has_no_chance():
    probability = in_top_k_probability(*noisy_router(forbidden=(1, 4)), kept=2)
    assert not probability[:, [1, 4]].any()
    assert ((probability >= 0) & (probability <= 1)).all()


# modality dropout

masks = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=20).map(torch.tensor)
subsets = pytest.mark.parametrize("draw", [uniform_subset, uniform_size_subset])


@subsets
@quick
@given(observed=masks, seed=st.integers(0, 2**31))
def test_subset_is_observed_and_empty_only_by_need(draw, observed, seed):
    kept = draw(observed, generator(seed))
    assert kept.dtype == torch.bool
    assert kept.shape == observed.shape
    assert not (kept & ~observed).any()
    assert torch.equal(kept.any(1), observed.any(1))


@subsets
@quick
@given(observed=masks, seed=st.integers(0, 2**31))
def test_subset_depends_on_generator_alone(draw, observed, seed):
    first = draw(observed, generator(seed))
    torch.rand(1)
    assert torch.equal(draw(observed, generator(seed)), first)


def counts_of(kept) -> dict[tuple[bool, ...], int]:
    patterns, counts = kept.unique(dim=0, return_counts=True)
    return {tuple(row): count for row, count in zip(patterns.tolist(), counts.tolist(), strict=True)}


@pytest.mark.parametrize("observed", [[1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1, 1]], ids=str)
def test_uniform_subset_has_equal_chances(observed):
    observed = torch.tensor(observed, dtype=torch.bool)
    counts = counts_of(uniform_subset(observed.expand(30_000, -1), generator()))
    assert len(counts) == 2 ** int(observed.sum()) - 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize("observed", [[1, 1, 1], [1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1, 1]], ids=str)
def test_uniform_size_subset_has_its_exact_distribution(observed):
    observed = torch.tensor(observed, dtype=torch.bool)
    n, draws = int(observed.sum()), 30_000
    counts = counts_of(uniform_size_subset(observed.expand(draws, -1), generator()))
    assert len(counts) == 2**n - 1
    expected = [draws / n / len(list(itertools.combinations(range(n), sum(pattern)))) for pattern in counts]
    assert stats.chisquare(list(counts.values()), expected).pvalue > 1e-3


@subsets
def test_only_observed_modality_is_kept(draw):
    observed = torch.eye(4, dtype=torch.bool).repeat(100, 1)
    assert torch.equal(draw(observed, generator()), observed)


@subsets
def test_rows_of_a_batch_are_drawn_apart(draw):
    kept = draw(torch.ones(20_000, 3, dtype=torch.bool), generator()).double()
    lagged = torch.corrcoef(torch.cat([kept[:-1], kept[1:]], 1).T)[:3, 3:]  # row i against row i + 1
    assert lagged.abs().max() < 0.03  # four standard errors


def test_many_modalities_do_not_overflow():
    observed = torch.ones(2000, 40, dtype=torch.bool)
    kept = uniform_subset(observed, generator())
    assert kept.any(1).all()
    assert abs(kept.double().mean().item() - 0.5) < 0.01


# counter-based numbers

MASK = (1 << 64) - 1


def splitmix(z: int) -> int:
    """SplitMix64's finaliser in Python's unbounded integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_hash_uniform_matches_the_published_generator():
    first = 0xE220A8397B1DCDAF  # SplitMix64 seeded with 0, first number
    assert hash_uniform(1, torch.tensor([-1])).item() == (first >> 11) / 2**53


@quick
@given(st.integers(0, 2**63 - 1), st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), min_size=1, max_size=8))
def test_hash_uniform_equals_whole_number_arithmetic(seed, counters):
    expected = []
    for pair in counters:
        state = seed
        for counter in pair:
            state = splitmix((state * 0x9E3779B97F4A7C15 + counter + 1) & MASK)
        expected.append((state >> 11) / 2**53)
    columns = torch.tensor(counters).unbind(1)
    assert hash_uniform(seed, *columns).tolist() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**40 + 7])
def test_hash_uniform_is_uniform(seed):
    numbers = hash_uniform(seed, torch.arange(200).unsqueeze(1), torch.arange(100))
    assert numbers.shape == (200, 100)
    assert numbers.dtype == torch.float64
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.flatten().numpy(), "uniform").pvalue > 1e-3


def test_hash_uniform_neighbours_are_uncorrelated():
    numbers = hash_uniform(5, torch.arange(200).unsqueeze(1), torch.arange(100))
    for near, far in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1]), (hash_uniform(5, torch.arange(20_000)),
                      hash_uniform(6, torch.arange(20_000)))):  # fmt: skip
        pair = torch.stack([near.flatten(), far.flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.03  # four standard errors
    table, _, _ = np.histogram2d(numbers[1:].flatten().numpy(), numbers[:-1].flatten().numpy(), bins=8)
    assert stats.chisquare(table.flatten()).pvalue > 1e-3


def test_hash_uniform_ignores_batch_size_and_order():
    index, modality = torch.randint(0, 10_000, (50,), generator=generator()), torch.arange(4)
    together = hash_uniform(9, index.unsqueeze(1), modality)
    order = torch.randperm(50, generator=generator())
    assert torch.equal(hash_uniform(9, index[order].unsqueeze(1), modality), together[order])
    for row in (0, 17, 49):
        assert torch.equal(hash_uniform(9, index[row], modality), together[row])


def test_hash_uniform_differs_by_seed_and_counter_order():
    a, b = torch.arange(1000), torch.arange(1000).flip(0)
    for one, other in ((hash_uniform(0, a), hash_uniform(1, a)), (hash_uniform(0, a, b), hash_uniform(0, b, a)),
                       (hash_uniform(0, a), hash_uniform(0, a, torch.tensor(0)))):  # fmt: skip
        assert (one == other).sum() == 0


def test_hash_uniform_rarely_collides():
    numbers = hash_uniform(3, torch.arange(300).unsqueeze(1), torch.arange(300))
    assert len(numbers.unique()) == 90_000


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(p):
    torch.manual_seed(0)
    y = Dropout(p).train()(torch.ones(200_000))
    share = float((y != 0).double().mean())
    assert share == pytest.approx(1 - p, abs=5 * (p * (1 - p) / 200_000) ** 0.5)
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-4)


def test_dropout_masks_values_independently():
    torch.manual_seed(0)
    kept = (Dropout(0.3).train()(torch.ones(100_000)) != 0).double()
    for lag in (1, 2, 3, 4, 8):
        assert abs(float(torch.corrcoef(torch.stack([kept[lag:], kept[:-lag]]))[0, 1])) < 0.02


@pytest.mark.parametrize("p", [0.0, 0.5, 0.999999])
def test_dropout_is_finite_and_off_in_evaluation(p):
    x = torch.randn(7, 3)
    assert torch.equal(Dropout(p).eval()(x), x)
    assert torch.isfinite(Dropout(p).train()(x)).all()


def test_attention_with_dropout_is_the_formula():
    torch.manual_seed(0)
    layer, x = Attention(8, 2, dropout=0.5).train(), torch.randn(3, 5, 8)
    keys = torch.tensor([[True] * 5, [True, True, False, False, False], [False, True, True, True, False]])
    torch.manual_seed(1)
    found = layer(x, keys)
    q, k, v = layer.qkv(x).view(3, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    a = (q @ k.mT / 2).masked_fill(~keys[:, None, None], -torch.inf).softmax(3)
    torch.manual_seed(1)
    expected = layer.out((dropout(a, 0.5) @ v).transpose(1, 2).reshape(3, 5, 8))
    torch.testing.assert_close(found, expected)


def test_grouped_linear_is_each_experts_own_layer():
    torch.manual_seed(0)
    counts, dtype = [3, 0, 4, 1], torch.float64
    x, weight = torch.randn(8, 5, dtype=dtype, requires_grad=True), torch.randn(4, 6, 5, dtype=dtype, requires_grad=True)
    bias = torch.randn(4, 6, dtype=dtype, requires_grad=True)
    expert = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    expected = torch.stack([weight[e] @ row + bias[e] for e, row in zip(expert, x, strict=True)])
    torch.testing.assert_close(GroupedLinear.apply(x, weight, bias, counts), expected)
    assert torch.autograd.gradcheck(lambda *arguments: GroupedLinear.apply(*arguments, counts), (x, weight, bias))


@pytest.mark.parametrize("p", [0.1, 0.5], ids=["16 bits", "8 bits"])
def test_dropout_draws_the_mask_of_its_words(p):
    x = torch.randn(5, 7)
    torch.manual_seed(4)
    out = dropout(x, p)
    torch.manual_seed(4)
    kind, patterns = (torch.int8, 256) if p == 0.5 else (torch.int16, 65536)
    dropped = round(p * patterns)
    words = torch.empty(-(-35 * (8 if p == 0.5 else 16) // 64), dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(kind)[:35].view(5, 7) >= dropped - patterns // 2
    assert torch.equal(out, torch.where(drawn, x * (patterns / (patterns - dropped)), 0.0))

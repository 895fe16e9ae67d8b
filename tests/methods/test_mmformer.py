"""mmFormer against its formulas, the stored outputs of the released code, and the edge cases of missing modalities."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.methods.mmformer import Block, MMFormer, bernoulli_subset
from bench.names import parse_choice

TINY = {"tokens": 2, "width": 8, "heads": 2}


def build(schema: Schema, seed: int = 0, **changes) -> MMFormer:
    """A tiny model whose positions differ from zero, so that tests can see them."""
    torch.manual_seed(seed)
    model = MMFormer(schema, MMFormer.Config(**{**TINY, **changes}))
    for position in model.position:
        nn.init.normal_(position, std=0.5)
    model.seed(seed)
    return model


@pytest.fixture
def samples(make_samples):
    return make_samples()


@pytest.fixture
def batch(samples) -> Batch:
    return as_batch(samples)


def observing(batch: Batch, observed: torch.Tensor) -> Batch:
    """The batch with another mask; inputs become finite numbers where the mask asks for a cell that was hidden."""
    inputs = {name: values.nan_to_num(0.5) for name, values in batch.inputs.items()}
    for m, name in enumerate(inputs):
        inputs[name][~observed[:, m]] = torch.nan
    return replace(batch, inputs=inputs, observed=observed)


def loss_of(model: MMFormer, batch: Batch) -> torch.Tensor:
    prediction = model(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


# the formulas, one sample and one head at a time


def attention_by_hand(x, attention):
    """x (N, D), over all tokens given."""
    width = x.shape[1]
    q, k, v = (x @ part.T for part in attention.qkv.weight.split(width))
    size = width // attention.heads
    heads = []
    for h in range(attention.heads):
        part = slice(h * size, (h + 1) * size)
        heads.append((q[:, part] @ k[:, part].T / size**0.5).softmax(1) @ v[:, part])
    return torch.cat(heads, 1) @ attention.out.weight.T + attention.out.bias


def transformer_by_hand(x, position, blocks):
    for block in blocks:
        x = x + position
        x = x + attention_by_hand(F.layer_norm(x, x.shape[-1:], block.norm1.weight, block.norm1.bias), block.attention)
        first, _, _, second = block.feed_forward
        h = F.layer_norm(x, x.shape[-1:], block.norm2.weight, block.norm2.bias)
        x = x + F.gelu(h @ first.weight.T + first.bias) @ second.weight.T + second.bias
    return x


def fusion_by_hand(x, fusion):
    for norm, linear in ((fusion[0], fusion[2]), (fusion[3], fusion[5])):
        x = F.leaky_relu(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias), 0.2) @ linear.weight.T + linear.bias
    return x


def logits_by_hand(model, batch, row, kept):
    """Logits (C,) of one row that uses the modalities `kept`: steps 1 to 8 of the method, written out."""
    masked = model.config.missing_tokens == "mask"
    local, tokens, positions = {}, {}, dict(enumerate(model.position))
    for m, name in enumerate(model.schema.names):
        local[m] = tokens[m] = torch.zeros_like(positions[m])
        if m in kept:
            local[m] = model.tokenisers[m](model.encoders[m](batch.inputs[name][row : row + 1]))[0]
            tokens[m] = transformer_by_hand(local[m], positions[m], model.intra[m])
    present = [m for m in tokens if m in kept] if masked and kept else list(tokens)
    mixed = transformer_by_hand(torch.cat([tokens[m] for m in present]), torch.cat([positions[m] for m in present]), model.inter)
    means = dict(zip(present, mixed.split(model.config.tokens), strict=True))
    zero = torch.zeros(model.config.width)
    z = torch.cat([zero if masked and m not in kept else means[m].mean(0) for m in tokens])
    bottleneck = fusion_by_hand(z @ model.decode.weight.T + model.decode.bias, model.bottleneck)
    skip = fusion_by_hand(torch.cat([local[m].mean(0) for m in local]), model.skip)
    return model.head(fusion_by_hand(torch.cat([bottleneck, skip]), model.mix))


@pytest.mark.parametrize("missing_tokens", ["zero", "mask"])
@pytest.mark.parametrize("depths", [(1, 1), (2, 2), (0, 1), (1, 0)], ids=["default", "deep", "without intra", "without inter"])
def test_logits_equal_the_formula_written_out(batch, samples, missing_tokens, depths):
    batch = observing(batch, batch.observed & (torch.arange(len(batch)) != 3).unsqueeze(1))  # row 3 observes nothing
    model = build(samples.schema, missing_tokens=missing_tokens, intra_depth=depths[0], inter_depth=depths[1]).eval()
    with torch.no_grad():
        ours = model(batch).logits
        kept = [set(row.nonzero().flatten().tolist()) for row in batch.observed]
        expected = torch.stack([logits_by_hand(model, batch, row, kept[row]) for row in range(len(batch))])
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_penalties_equal_the_formula_written_out(batch, samples):
    model = build(samples.schema, dropout=0.0, lambda_enc=0.5, lambda_dec=0.25)
    captured = {}
    model.bottleneck.register_forward_hook(lambda module, inputs, output: captured.update(bottleneck=output))
    penalties = model(batch).penalties
    local, _ = model.encode(batch)
    encoder = torch.tensor(0.0)
    for m in range(len(samples.schema)):
        rows = batch.observed[:, m].nonzero().flatten()
        encoder += sum(F.cross_entropy(model.encoder_head(local[b, m].mean(0)), batch.target[b]) for b in rows) / len(rows)
    torch.testing.assert_close(penalties["encoder"], 0.5 * encoder)
    torch.testing.assert_close(penalties["decoder"], 0.25 * F.cross_entropy(model.decoder_head(captured["bottleneck"]), batch.target))


def test_attention_branch_is_dropped_twice():
    block = Block(MMFormer.Config(**{**TINY, "dropout": 0.3}))
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(block.attention.out.bias)
    torch.manual_seed(0)
    out = block(torch.zeros(500, 10, 8), torch.zeros(10, 8))
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 1 / 0.7**2]), rtol=1e-4, atol=0)  # the chance is a multiple of 1/65536
    assert abs((out > 0).float().mean().item() - 0.7**2) < 0.01  # standard error 0.0025


SIZES = [(2, 2, 0.65, 19.0), (3, 2, 0.92, 29.0), (4, 2, 1.22, 39.2), (2, 8, 1.24, 44.2), (3, 8, 1.71, 66.7), (4, 8, 2.20, 89.6)]


@pytest.mark.parametrize(("M", "r", "million_parameters", "mflop"), SIZES)
def test_size_and_flops_match_the_closed_form(make_batch, make_samples, M, r, million_parameters, mflop):
    T, d, n = 16, 128, 1
    batch, schema = make_batch(n=n, modalities=M, missing=0.0), make_samples(modalities=M).schema
    model = MMFormer(schema, MMFormer.Config(ffn_ratio=r)).eval()

    def flops(module) -> int:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            module(batch)
        return counter.get_total_flops() // n

    block = (4 + 2 * r) * d**2  # per token, beside 2 n d for attention
    transformers = M * T * (block + 2 * T * d) + M * T * (block + 2 * M * T * d)
    rest = M * T * d**2 + (M * d) ** 2 + 2 * (M * d * d + d**2) + (2 * d * d + d**2) + d * len(schema.classes)
    assert flops(model) - flops(model.encoders) == 2 * (transformers + rest)
    assert round(2e-6 * (transformers + rest), 1) == mflop
    parameters = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("encoders"))
    assert round(1e-6 * parameters, 2) == million_parameters


def test_positions_start_at_zero(samples):
    assert not any(position.any() for position in MMFormer(samples.schema, MMFormer.Config()).position)


# the released code

RELEASED = Path(__file__).parent.parent / "parity" / "mmformer_parts.npz"


def load_block(block: Block, weights: dict[str, torch.Tensor]) -> None:
    block.load_state_dict({
        "norm1.weight": weights["LN1_weight"], "norm1.bias": weights["LN1_bias"],
        "norm2.weight": weights["LN2_weight"], "norm2.bias": weights["LN2_bias"],
        "attention.qkv.weight": weights["W_qkv"], "attention.out.weight": weights["W_o"], "attention.out.bias": weights["b_o"],
        "feed_forward.0.weight": weights["W1"], "feed_forward.0.bias": weights["b1"],
        "feed_forward.3.weight": weights["W2"], "feed_forward.3.bias": weights["b2"],
    })  # fmt: skip


class StoredFeatures(nn.Module):
    """In place of the encoders: the released code's own convolutional features arrive as inputs."""

    def encode_rows(self, m: int, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
        return batch.inputs["abcd"[m]][rows].unflatten(1, (8, 32))


@pytest.fixture
def released(parity):
    """Stored arrays, and a model of their size that holds the released weights."""
    with np.load(RELEASED, allow_pickle=False) as arrays:
        stored = {name: torch.from_numpy(arrays[name]) for name in arrays if "/" not in name and name != "meta"}
    schema = Schema(tuple(Modality(name, name.upper(), "vector", (8 * 32,)) for name in "abcd"), ("no", "yes"))
    model = build(schema, tokens=8, width=16, heads=4, ffn_ratio=2).eval()
    model.encoders = StoredFeatures()
    intra = parity("mmformer_parts", "intra")
    for m in range(4):
        model.position[m].data = stored["pos"][m]
        model.tokenisers[m] = nn.Linear(32, 16)
        model.tokenisers[m].load_state_dict({"weight": stored["tok_W"][m], "bias": stored["tok_b"][m]})
        load_block(model.intra[m][0], {name: array[m] for name, array in intra.items()})
    load_block(model.inter[0], parity("mmformer_parts", "inter"))
    return model, stored


def stored_batch(stored, observed) -> Batch:
    inputs = {name: stored["local_features"][:, m].flatten(1).clone() for m, name in enumerate("abcd")}
    for m, name in enumerate(inputs):
        inputs[name][~observed[:, m]] = torch.nan
    return Batch(inputs, observed, torch.full((3,), -1), torch.arange(3))


def close(ours, reference) -> None:
    torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


def test_tokens_equal_the_released_code(released):
    model, stored = released
    with torch.no_grad():
        local, tokens = model.encode(stored_batch(stored, torch.ones(3, 4, dtype=torch.bool)))
    close(local, stored["local_tokens"])
    close(tokens, stored["intra_out"])


@pytest.mark.parametrize("hidden", ["by the data", "by modality dropout"])
def test_inter_modal_transformer_equals_the_released_code(released, hidden):
    model, stored = released
    seen = {}
    model.inter.register_forward_hook(lambda module, inputs, output: seen.update(into=inputs[0], out=output))
    observed = stored["mask"] if hidden == "by the data" else torch.ones_like(stored["mask"])
    with torch.no_grad():
        model.correlate(model.encode(stored_batch(stored, observed))[1], stored["mask"])
    close(seen["into"], stored["inter_in"])
    close(seen["out"], stored["inter_out"])


def test_released_code_attends_to_missing_tokens(released):
    model, stored = released
    model.config = replace(model.config, missing_tokens="mask")
    seen = {}
    model.inter.register_forward_hook(lambda module, inputs, output: seen.update(out=output))
    with torch.no_grad():
        model.correlate(stored["intra_out"], stored["mask"])
    assert (seen["out"] - stored["inter_out"]).abs().max() > 1


def test_released_grid_cells_take_tokens_of_one_modality(released):
    _, stored = released
    tokens, weight, bias = stored["inter_out"], stored["dec_W"], stored["dec_b"]  # tokens (B, 4 * 8, D), modality by modality
    consecutive = tokens.unflatten(1, (8, 4)).flatten(2)  # (B, 8, 4 * D), what the release does
    close(consecutive @ weight.T + bias, stored["dec_out_released"])
    same_location = tokens.unflatten(1, (4, 8)).transpose(1, 2).flatten(2)  # (B, 8, 4 * D), the evident intent
    assert (same_location @ weight.T + bias - stored["dec_out_released"]).abs().max() > 0.1


def test_position_joins_before_every_released_block(released, parity):
    model, case = build(released[0].schema, tokens=5, width=16, heads=4, inter_depth=2).eval(), parity("mmformer_parts", "depth2")
    for layer in range(2):
        load_block(model.inter[layer], parity("mmformer_parts", f"depth2/layer{layer}"))
    with torch.no_grad():
        close(model.inter(case["x"], case["pos"]), case["out"])


# missing modalities


@pytest.mark.parametrize("missing_tokens", ["zero", "mask"])
def test_hidden_modality_never_reaches_logits(batch, samples, missing_tokens):
    model = build(samples.schema, missing_tokens=missing_tokens).eval()
    garbage = {name: values.nan_to_num(1e6) for name, values in batch.inputs.items()}
    with torch.no_grad():
        assert torch.equal(model(batch).logits, model(replace(batch, inputs=garbage)).logits)
        assert model(batch).logits.isfinite().all()


def test_hidden_modality_never_reaches_gradients(batch, samples):
    def gradients(values: Batch) -> list[torch.Tensor]:
        model = build(samples.schema)
        torch.manual_seed(1)
        loss_of(model, values).backward()
        return [parameter.grad for parameter in model.parameters()]

    garbage = replace(batch, inputs={name: values.nan_to_num(1e6) for name, values in batch.inputs.items()})
    for clean, other in zip(gradients(batch), gradients(garbage), strict=True):
        assert torch.equal(clean, other)
        assert clean.isfinite().all()


@pytest.mark.parametrize("missing_tokens", ["zero", "mask"])
def test_prediction_is_independent_of_batch_mates(make_batch, samples, missing_tokens):
    model, batch = build(samples.schema, missing_tokens=missing_tokens).eval(), make_batch(n=1000)
    with torch.no_grad():
        together = model(batch).logits
        alone = torch.cat([model(batch.rows(torch.tensor([row]))).logits for row in range(0, 1000, 50)])
    torch.testing.assert_close(together[::50], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("missing_tokens", ["zero", "mask"])
def test_rows_without_any_modality_stay_finite(batch, samples, missing_tokens):
    model = build(samples.schema, missing_tokens=missing_tokens)
    empty = observing(batch, torch.zeros_like(batch.observed))
    prediction = model(empty)
    assert prediction.penalties["encoder"] == 0
    loss_of(model, empty).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        logits = model.eval()(empty).logits
    assert logits.isfinite().all()
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))


@pytest.mark.parametrize("only", [0, 1, 2])
def test_single_observed_modality_is_always_kept(batch, samples, only):
    observed = torch.zeros_like(batch.observed)
    observed[:, only] = True
    single = observing(batch, observed)
    for sampler in ("subset", "bernoulli", "none"):
        model = build(samples.schema, modality_dropout=sampler)
        assert torch.equal(model.keep(observed), observed)
        assert loss_of(model, single).isfinite()


def test_batch_of_one_trains(batch, samples):
    model = build(samples.schema)
    loss_of(model, batch.rows(torch.tensor([4]))).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_absent_modality_leaves_its_encoder_untouched(batch, samples):
    observed = batch.observed.clone()
    observed[:, 1], observed[:, 0] = False, True
    model = build(samples.schema)
    own = [*model.encoders[1].parameters(), *model.tokenisers[1].parameters(), *model.intra[1].parameters()]
    before = [parameter.clone() for parameter in own]
    optimiser = torch.optim.Adam(model.parameters(), amsgrad=True, weight_decay=1e-4)
    loss_of(model, observing(batch, observed)).backward()
    assert all(parameter.grad is None for parameter in own)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    assert all(torch.equal(*pair) for pair in zip(own, before, strict=True))


def test_masked_tokens_take_no_part(batch, samples):
    observed = torch.tensor([[True, True, False]]).expand(len(batch), -1)
    changes = {}
    for missing_tokens in ("zero", "mask"):
        model = build(samples.schema, missing_tokens=missing_tokens).eval()
        with torch.no_grad():
            before = model(observing(batch, observed)).logits
            model.position[2] += 1.0
            changes[missing_tokens] = (model(observing(batch, observed)).logits - before).abs().max().item()
    assert changes["mask"] == 0
    assert changes["zero"] > 1e-3


# modality dropout

DRAWS = 20_000


def shares(kept: torch.Tensor) -> dict[tuple[bool, ...], float]:
    patterns, counts = kept.unique(dim=0, return_counts=True)
    return {tuple(row): count / len(kept) for row, count in zip(patterns.tolist(), counts.tolist(), strict=True)}


def test_modality_dropout_is_uniform_over_subsets(samples):
    model = build(samples.schema)
    found = shares(model.keep(torch.ones(DRAWS, 3, dtype=torch.bool)))
    assert len(found) == 7
    assert max(abs(share - 1 / 7) for share in found.values()) < 0.01  # four standard errors
    chance = sum(share for pattern, share in found.items() if pattern[0])
    assert abs(chance - 4 / 7) < 0.015


@pytest.mark.parametrize("keep_prob", [0.1, 0.5, 0.8])
def test_bernoulli_dropout_has_its_exact_distribution(keep_prob):
    observed = torch.tensor([True, False, True, True]).expand(DRAWS, 4)
    found = shares(bernoulli_subset(observed, keep_prob, torch.Generator().manual_seed(0)))
    for pattern in itertools.product((False, True), repeat=3):
        size = sum(pattern)
        expected = 0.0 if size == 0 else keep_prob**size * (1 - keep_prob) ** (3 - size)
        expected += (1 - keep_prob) ** 3 / 3 if size == 1 else 0.0  # an empty draw gets one back
        first, second, third = pattern
        assert abs(found.get((first, False, second, third), 0.0) - expected) < 0.014
    assert all(any(pattern) and not pattern[1] for pattern in found)


def test_bernoulli_dropout_leaves_empty_rows_empty():
    assert not bernoulli_subset(torch.zeros(5, 3, dtype=torch.bool), 0.9, torch.Generator()).any()


def test_modality_dropout_follows_its_seed_alone(batch, samples):
    model = build(samples.schema)
    model.seed(7)
    first = model.keep(batch.observed)
    model.seed(7)
    torch.rand(3)
    assert torch.equal(model.keep(batch.observed), first)
    model.seed(8)
    assert not torch.equal(model.keep(batch.observed), first)


def test_evaluation_draws_nothing(batch, samples):
    model = build(samples.schema).eval()
    state = model.generator.get_state()
    with torch.no_grad():
        assert torch.equal(model(batch).logits, model(batch).logits)
    assert torch.equal(model.keep(batch.observed), batch.observed)
    assert torch.equal(model.generator.get_state(), state)


def test_training_equals_evaluation_without_dropout(batch, samples):
    model = build(samples.schema, dropout=0.0, modality_dropout="none")
    with torch.no_grad():
        torch.testing.assert_close(model.train()(batch).logits, model.eval()(batch).logits)


def test_dropped_modality_reaches_no_logits(batch, samples):
    model = build(samples.schema, dropout=0.0)
    model.keep = lambda observed: observed & torch.tensor([True, False, True])
    other = replace(batch, inputs={**batch.inputs, "beta": batch.inputs["beta"] + 1})
    with torch.no_grad():
        assert torch.equal(model(batch).logits, model(other).logits)
        assert not torch.equal(model(batch).penalties["encoder"], model(other).penalties["encoder"])  # but it still learns


# auxiliary losses


def test_shared_head_learns_from_every_modality(batch, samples):
    for m in range(len(samples.schema)):
        observed = torch.zeros_like(batch.observed)
        observed[:, m] = True
        model = build(samples.schema)
        model(observing(batch, observed)).penalties["encoder"].backward()
        assert model.encoder_head.weight.grad.abs().sum() > 0
        reached = [any(p.grad is not None for p in encoder.parameters()) for encoder in model.encoders]
        assert reached == [n == m for n in range(len(samples.schema))]
        assert all(p.grad is None for p in model.intra.parameters())  # the tokens before the transformers


def test_evaluation_computes_no_penalties(batch, samples):
    model = build(samples.schema).eval()
    with torch.no_grad():
        assert model(replace(batch, target=torch.full_like(batch.target, -1))).penalties == {}


@pytest.mark.parametrize(("weights", "expected"), [((0.0, 1.0), {"decoder"}), ((1.0, 0.0), {"encoder"}), ((0.0, 0.0), set())])
def test_weightless_regulariser_is_not_built(batch, samples, weights, expected):
    model = build(samples.schema, lambda_enc=weights[0], lambda_dec=weights[1])
    assert set(model(batch).penalties) == expected
    assert (model.encoder_head is None, model.decoder_head is None) == ("encoder" not in expected, "decoder" not in expected)


# the suite's contract


@pytest.mark.parametrize("preset", MMFormer.presets)
def test_every_preset_trains_every_parameter(batch, samples, preset):
    model = build(samples.schema, **MMFormer.presets[preset])
    loss_of(model, batch).backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert silent == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_presets_hold_the_published_schedule():
    assert next(iter(MMFormer.presets)) == "paper"
    paper, official = (MMFormer.Config(**MMFormer.presets[name]) for name in ("paper", "official"))
    for config in (paper, official):
        assert (config.learning_rate, config.weight_decay, config.amsgrad, config.schedule) == (2e-4, 1e-4, True, "poly")
    assert (official.epochs, official.batch_size, official.ffn_ratio, official.clip_norm) == (1000, 8, 8, 0.0)


ABLATIONS = [
    "intra_depth=0", "inter_depth=0", "lambda_enc=0", "lambda_dec=0", "missing_tokens=mask", "modality_dropout=none",
    "modality_dropout=bernoulli,keep_prob=0.8", "ffn_ratio=8",
]  # fmt: skip


@pytest.mark.parametrize("options", ABLATIONS)
def test_every_ablation_has_a_name(batch, samples, options):
    choice = parse_choice(f"mmformer[{options},width=8,heads=2,tokens=2]")
    model = MMFormer(samples.schema, registry.config_of(MMFormer, choice, {}))
    assert {name: getattr(model.config, name) for name in choice.options} == choice.options
    loss_of(model, batch).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_search_space_holds_valid_settings():
    names, values = zip(*MMFormer.search.items(), strict=True)
    for choice in itertools.product(*((min(options), max(options)) for options in values)):
        MMFormer.Config(**dict(zip(names, choice, strict=True)))


def test_every_kind_of_modality_is_accepted():
    schema = Schema(
        (
            Modality("table", "T", "vector", (5,)), Modality("signal", "S", "sequence", (6, 3)),
            Modality("photo", "P", "image", (1, 8, 8)), Modality("scan", "V", "volume", (1, 8, 8, 8)),
        ),
        ("no", "yes"),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    values = {m.name: rng.normal(size=(4, *m.shape)).astype(np.float32) for m in schema}
    observed = ~np.eye(4, dtype=bool)
    batch = as_batch(Samples(schema, values, observed, np.array([0, 1, 0, 1]), np.array(list("abcd"))))
    model = build(schema)
    assert model(batch).logits.shape == (4, 2)
    loss_of(model, batch).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_saved_state_restores_predictions(batch, samples):
    model, other = build(samples.schema).eval(), build(samples.schema, seed=1).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(batch).logits, other(batch).logits)


def test_same_seed_trains_to_the_same_weights(batch, samples):
    def trained(seed: int) -> torch.Tensor:
        model = build(samples.schema, seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(3):
            optimiser.zero_grad()
            loss_of(model, batch).backward()
            optimiser.step()
        return nn.utils.parameters_to_vector(model.parameters())

    assert torch.equal(trained(3), trained(3))
    assert not torch.equal(trained(3), trained(4))


def test_learns_separable_classes(make_samples):
    both = make_samples(n=144, missing=0.3, seed=3)
    train, test = as_batch(both.rows(np.arange(96))), as_batch(both.rows(np.arange(96, 144)))
    model = build(both.schema)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2, amsgrad=True, weight_decay=1e-4)
    for _ in range(40):
        optimiser.zero_grad()
        loss_of(model, train).backward()
        optimiser.step()
    with torch.no_grad():
        accuracy = (model.eval()(test).logits.argmax(1) == test.target).float().mean()
    assert accuracy > 0.85


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": 0}, "tokens, width, heads and ffn_ratio must be at least 1"),
        ({"width": 12, "heads": 8}, "width must be a multiple of heads, got 12 and 8"),
        ({"intra_depth": -1}, "must not be negative"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"modality_dropout": "half"}, "modality_dropout must be one of subset, bernoulli, none, got 'half'"),
        ({"keep_prob": 0.0}, r"keep_prob must be in \(0, 1\], got 0.0"),
        ({"keep_prob": 0.8}, "keep_prob 0.8 needs modality_dropout=bernoulli, got 'subset'"),
        ({"missing_tokens": "drop"}, "missing_tokens must be one of zero, mask, got 'drop'"),
        ({"lambda_enc": -1.0}, "lambda_enc and lambda_dec must not be negative"),
        ({"epochs": 0}, "epochs and batch_size must be at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MMFormer.Config(**changes)

"""HEALNet against its formulas, its edge cases, and the stored outputs of the released code."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.datasets.base import Batch, Modality, Schema, as_batch
from bench.inspection.profile import trials_of
from bench.methods.healnet import HEALNet, HEALNetConfig, fourier_code
from bench.methods.tracing import tracing
from bench.names import parse_choice
from bench.training.trial import run_trial

FILE = "healnet_parts"
SHAPES = {  # case -> kinds and raw shapes in the suite's order (channels first for images and volumes)
    "released": (("vector", (7,)), ("sequence", (4, 5)), ("image", (2, 3, 2))),
    "no_self": (("vector", (7,)), ("sequence", (4, 5)), ("image", (2, 3, 2))),
    "tied": (("sequence", (3, 4)), ("image", (1, 2, 2))),
    "gelu_no_position": (("sequence", (3, 4)), ("sequence", (6, 3))),
    "volume": (("volume", (1, 2, 2, 3)),),
}
OPTIONS = {  # what a case changes in its preset
    "released": {},
    "no_self": {"temperature": 0.5, "share": "none"},
    "tied": {},
    "gelu_no_position": {"gate": "gelu", "position": False},
    "volume": {"bands": 4, "max_freq": 6.0},
}
SMALL = {"width": 16, "latents": 4, "tokens": 2, "heads": 2, "head_width": 4, "latent_heads": 2, "latent_head_width": 4}
EXACT = {"rtol": 1e-5, "atol": 1e-5}
PATTERNS = [
    (case, pattern)
    for case, patterns in {
        "released": ("all", "without0", "without1", "only2", "mixed"), "no_self": ("all", "without0", "without1", "only2", "mixed"),
        "tied": ("all", "without0", "mixed"), "gelu_no_position": ("all", "without1", "mixed"), "volume": ("all",),
    }.items()
    for pattern in patterns
]  # fmt: skip


def schema_of(modalities=3, features=5):
    names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"][:modalities]
    return Schema(tuple(Modality(name, "ABCDEFGH"[m], "vector", (features,)) for m, name in enumerate(names)), ("0", "1", "2"))


def build(modalities=3, seed=0, preset="paper", sizes=SMALL, **options):
    torch.manual_seed(seed)
    method = HEALNet(schema_of(modalities), HEALNetConfig(**{**sizes, **HEALNet.presets[preset], **options}))
    method.seed(0)
    return method


def observing(batch, observed):
    """The same batch with other cells observed; values that were sealed become noise where they are wanted."""
    generator = torch.Generator().manual_seed(7)
    filled = {name: torch.where(x.isnan(), torch.randn(x.shape, generator=generator), x) for name, x in batch.inputs.items()}
    inputs = {name: torch.where(observed[:, [m]], x, torch.nan) for m, (name, x) in enumerate(filled.items())}
    return replace(batch, inputs=inputs, observed=observed)


def released(case, arrays, skip="cross"):
    """The release's network of a case, with the stored weights, on raw values; preset paper's where it has no self-attention."""
    n, width = arrays["latents"].shape
    preset = "paper" if case == "no_self" else "as_released"
    heads, latent_heads = int(arrays["x_heads"]), int(arrays["l_heads"])
    sizes = {"heads": heads, "head_width": len(arrays["layer0/cross0/W_q"]) // heads, "latents": n, "width": width}
    if "layer0/self/W_q" in arrays:
        sizes |= {"latent_heads": latent_heads, "latent_head_width": len(arrays["layer0/self/W_q"]) // latent_heads}
    schema = Schema(
        tuple(Modality(f"m{m}", "ABC"[m], kind, shape) for m, (kind, shape) in enumerate(SHAPES[case])),
        tuple(f"class {c}" for c in range(len(arrays["head_W"]))),
    )
    options = HEALNet.presets[preset] | {"skip": skip} | OPTIONS[case] | {"context": "raw", "depth": int(arrays["depth"]), "l1": 1.0}
    method = HEALNet(schema, HEALNetConfig(**sizes, **options, attention_dropout=0.0, dropout=0.0))
    weights = {"latents": arrays["latents"]}
    names = {"norm": "LN", "norm_context": "LNc", "query": "W_q", "key_value": "W_kv", "out": "W_o", "widen": "W1", "narrow": "W2"}
    biases = {"out": "b_o", "widen": "b1", "narrow": "b2"}
    for key in method.state_dict():
        if key.startswith("layers."):
            _, layer, where, *rest = key.split(".")
            own = where == "own"
            part, module, kind = rest if own else rest[1:]
            folder = {"attention": "self" if own else f"cross{rest[0]}", "feed": "selfff" if own else f"ff{rest[0]}"}[part]
            stored = f"{names[module]}_{kind[0]}" if "norm" in module else biases[module] if kind == "bias" else names[module]
            weights[key] = arrays[f"layer{layer}/{folder}/{stored}"]
    for key, stored in {"0.weight": "LN_w", "0.bias": "LN_b", "1.weight": "W", "1.bias": "b"}.items():
        weights[f"head.{key}"] = arrays[f"head_{stored}"]
    weights["seen"] = torch.ones(len(schema), dtype=torch.bool)
    method.load_state_dict(weights)
    return method.eval()


def released_batch(case, arrays, pattern):
    """The case's raw inputs: channels come last in the release, first for images and volumes here; absent cells hold NaN."""
    inputs, rows = {}, len(arrays["target"])
    observed = arrays[f"{pattern}/observed"]
    observed = observed if observed.dim() == 2 else observed.expand(rows, -1).clone()
    for m, (kind, shape) in enumerate(SHAPES[case]):
        x = arrays[f"x{m}"]
        x = (x if kind in ("vector", "sequence") else x.movedim(-1, 1)).reshape(rows, *shape)
        inputs[f"m{m}"] = torch.where(observed[:, m].view(-1, *[1] * len(shape)), x, torch.nan)
    return Batch(inputs, observed, arrays["target"], torch.arange(rows))


# ---- the released code


@pytest.mark.parametrize("case", SHAPES)
def test_raw_contexts_equal_released_code(parity, case):
    arrays = parity(FILE, case)
    method, batch = released(case, arrays), released_batch(case, arrays, "all")
    for m in range(len(SHAPES[case])):
        context, real = method.tokens.read(m, batch, torch.arange(len(batch)), None)
        torch.testing.assert_close(context, arrays[f"context{m}"], **EXACT)
        assert real is None


@pytest.mark.parametrize(("case", "pattern"), PATTERNS, ids=lambda value: value)
def test_logits_equal_released_code_with_the_skip_of_cross_attention_alone(parity, case, pattern):
    arrays = parity(FILE, case)
    method, batch = released(case, arrays, "cross"), released_batch(case, arrays, pattern)
    torch.testing.assert_close(method(batch).logits, arrays[f"{pattern}/logits"], **EXACT)
    if f"{pattern}/latents_out" in arrays:
        latents = method.fuse(method.latents.repeat(len(batch), 1, 1), batch)
        torch.testing.assert_close(latents, arrays[f"{pattern}/latents_out"], **EXACT)


@pytest.mark.parametrize(("case", "pattern"), PATTERNS, ids=lambda value: value)
def test_logits_equal_the_verbose_release_with_the_skip_of_the_update(parity, case, pattern):
    arrays = parity(FILE, case)
    expected = arrays.get(f"{pattern}/logits_true_skip", arrays[f"{pattern}/logits"])  # the same where nothing is skipped
    torch.testing.assert_close(released(case, arrays, "update")(released_batch(case, arrays, pattern)).logits, expected, **EXACT)


@pytest.mark.parametrize("pattern", ["without0", "without1", "only2"])
def test_price_of_the_released_skip_is_more_than_a_fifth_of_a_logit(parity, pattern):
    arrays = parity(FILE, "released")
    batch = released_batch("released", arrays, pattern)
    cross, update = (released("released", arrays, skip)(batch).logits for skip in ("cross", "update"))
    assert (cross - update).abs().max() > 0.2


def test_steps_and_attention_weights_equal_released_code(parity):
    arrays = parity(FILE, "released")
    method, batch = released("released", arrays), released_batch("released", arrays, "all")
    latents = method.latents.repeat(len(batch), 1, 1)
    for number, layer in enumerate(method.layers):
        for m, update in enumerate(layer.cross):
            read = update.attention.read(*method.tokens.read(m, batch, torch.arange(len(batch)), None))
            taken, weights = update.attention(latents, read)
            torch.testing.assert_close(taken, arrays[f"all/layer{number}/cross{m}_out"], **EXACT)
            torch.testing.assert_close(weights, arrays[f"all/layer{number}/attention{m}"], **EXACT)
            torch.testing.assert_close(update.feed(latents + taken), arrays[f"all/layer{number}/ff{m}_out"], **EXACT)
            latents, _ = layer.own(update(latents, read)[0])


@pytest.mark.parametrize("pattern", ["all", "without0", "without1", "only2"])
@pytest.mark.parametrize("case", ["released", "no_self"])
def test_loss_and_gradients_equal_released_code(parity, case, pattern):
    arrays = parity(FILE, case)
    method, batch = released(case, arrays), released_batch(case, arrays, pattern)
    loss = F.cross_entropy(method(batch).logits, batch.target)
    torch.testing.assert_close(loss, arrays[f"{pattern}/loss"], **EXACT)
    loss.backward()
    first, last = method.layers[0].cross[0].attention.key_value.weight, method.layers[-1].cross[-1].feed.widen.weight
    for parameter, stored in ((method.latents, "latents"), (first, "cross0_W_kv"), (last, "last_ff_W1")):
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(gradient, arrays[f"{pattern}/grad_{stored}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in SHAPES if case != "tied"])
def test_l1_penalty_equals_the_released_norm(parity, case):
    arrays = parity(FILE, case)
    penalties = released(case, arrays).train()(released_batch(case, arrays, "all")).penalties
    torch.testing.assert_close(penalties["l1"], arrays["l1_norm"], rtol=1e-5, atol=0, check_dtype=False)


# ---- the formulas


def test_released_second_call_and_ablation_give_every_row_the_same(parity):
    arrays = parity("healnet_parts", "slips")
    for name in ("second_call_same_list", "ablation_list_of_one"):
        assert torch.equal(arrays[name], arrays[name][:1].expand_as(arrays[name]))
    for name in ("first_call", "ablation_none_form"):
        assert (arrays[name].amax(0) - arrays[name].amin(0)).max() > 0.25


def test_forward_follows_the_formulas_row_by_row(make_batch):
    method, batch = build().eval(), make_batch(n=9, missing=0.4)
    logits, code = method(batch).logits, fourier_code((2,), 2, 10.0)
    for b in range(len(batch)):
        s = method.latents
        for _ in range(2):
            for m in batch.observed[b].nonzero().flatten().tolist():
                update = method.layers[0].cross[m]
                attention = update.attention
                tokens = method.tokens.encoders[m](batch.inputs[method.schema.names[m]][b : b + 1])[0]
                context = attention.norm_context(torch.cat([tokens, code], 1))
                keys, values = attention.key_value(context).chunk(2, 1)
                q = attention.query(attention.norm(s))
                heads = [
                    (q[:, h : h + 4] @ keys[:, h : h + 4].T / math.sqrt(4)).softmax(1) @ values[:, h : h + 4] for h in (0, 4)
                ]  # fmt: skip
                s = s + F.leaky_relu(attention.out(torch.cat(heads, 1)), 0.01)
                u, g = update.feed.widen(update.feed.norm(s)).chunk(2, 1)
                s = s + update.feed.narrow(u * F.selu(g))
        torch.testing.assert_close(logits[b], method.head(s.mean(0)), **EXACT)


def test_fourier_code_holds_sines_cosines_and_the_place_of_each_axis():
    code = fourier_code((3, 1), bands=2, max_freq=10.0)
    for row, place in zip(code, (-1.0, 0.0, 1.0), strict=True):
        axis = [math.sin(place * math.pi), math.sin(5 * place * math.pi), math.cos(place * math.pi), math.cos(5 * place * math.pi), place]
        alone = [math.sin(-math.pi), math.sin(-5 * math.pi), math.cos(-math.pi), math.cos(-5 * math.pi), -1.0]
        torch.testing.assert_close(row, torch.tensor([*axis, *alone]), rtol=0, atol=1e-5)


def test_shared_layers_equal_separate_layers_of_the_same_weights(make_batch):
    shared, separate = build(depth=3).eval(), build(depth=3, share="none", seed=1).eval()
    state = separate.state_dict()
    for key in state:
        first = ".".join(["layers", "0", *key.split(".")[2:]])
        state[key] = shared.state_dict()[first if key.startswith("layers.") else key]
    separate.load_state_dict(state)
    batch = make_batch(n=8)
    assert torch.equal(shared(batch).logits, separate(batch).logits)


def test_temperature_of_a_half_equals_doubled_queries(make_batch):
    sharp, plain = build(temperature=0.5).eval(), build().eval()
    with torch.no_grad():
        for update in plain.layers[0].cross:
            update.attention.query.weight *= 2
    batch = make_batch(n=8)
    torch.testing.assert_close(sharp(batch).logits, plain(batch).logits, rtol=0, atol=1e-6)


def test_both_skips_are_the_same_bits_without_self_attention(make_batch):
    batch = make_batch(n=12, missing=0.5)
    assert torch.equal(build(skip="update").eval()(batch).logits, build(skip="cross").eval()(batch).logits)


def test_permuted_latents_leave_logits_unchanged(make_batch):
    method, batch = build(preset="intended").eval(), make_batch(n=8)
    before = method(batch).logits
    method.latents.data = method.latents[torch.tensor([2, 0, 3, 1])]
    torch.testing.assert_close(method(batch).logits, before, rtol=0, atol=1e-6)


def test_order_of_modalities_is_part_of_the_model(make_batch):
    batch = make_batch(n=8, missing=0.0)
    forward, backward = (build(order=order).eval()(batch).logits for order in ("schema", "reversed"))
    assert (forward - backward).abs().max() > 1e-3


def test_one_token_has_attention_weight_one_and_gives_every_latent_the_same(make_batch):
    method, batch = build(tokens=1).eval(), make_batch(n=4, missing=0.0)
    attention = method.layers[0].cross[0].attention
    encoded = method.tokens.encoders(batch)
    taken, weights = attention(method.latents.repeat(4, 1, 1), attention.read(*method.tokens.read(0, batch, torch.arange(4), encoded)))
    assert (weights == 1).all()
    assert torch.equal(taken, taken[:, :1].expand_as(taken))


# ---- missing modalities


def test_pattern_per_row_equals_each_row_alone_and_in_a_thousand(make_batch):
    method, batch = build().eval(), make_batch(n=1000, missing=0.5)
    whole = method(batch).logits
    for rows in (torch.tensor([5]), torch.tensor([17, 3, 999])):
        torch.testing.assert_close(method(batch.rows(rows)).logits, whole[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize("context", ["encoder", "raw"])
@pytest.mark.parametrize("preset", HEALNet.presets)
def test_hidden_values_never_reach_logits_or_penalties(make_batch, preset, context):
    method, batch = build(preset=preset, context=context, attention_dropout=0.0, dropout=0.0).train(), make_batch(n=11, missing=0.5)
    sealed = method(batch)
    for filler in (1e6, torch.inf):
        opened = {name: torch.where(batch.observed[:, [m]], x, filler) for m, (name, x) in enumerate(batch.inputs.items())}
        other = method(replace(batch, inputs=opened))
        assert torch.equal(sealed.logits, other.logits)
        assert torch.equal(sealed.penalties["l1"], other.penalties["l1"])


def test_raw_steps_of_padding_are_no_keys():
    schema = Schema((Modality("s", "S", "sequence", (6, 3)),), ("0", "1"))
    torch.manual_seed(0)
    method = HEALNet(schema, HEALNetConfig(**SMALL, context="raw")).eval()
    x, lengths = torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 4])
    batch = Batch({"s": x}, torch.ones(4, 1, dtype=torch.bool), torch.full((4,), -1), torch.arange(4), {"s": lengths})
    padding = torch.arange(6) >= lengths.unsqueeze(1)
    expected = method(batch).logits
    for filler in (torch.nan, 1e6):
        assert torch.equal(method(replace(batch, inputs={"s": torch.where(padding[:, :, None], filler, x)})).logits, expected)
    assert not torch.equal(method(replace(batch, lengths={})).logits, expected)


@pytest.mark.parametrize("preset", HEALNet.presets)
def test_rows_without_modalities_are_finite_and_alike(make_batch, preset):
    method, batch = build(preset=preset, attention_dropout=0.0, dropout=0.0).train(), make_batch(n=4)
    prediction = method(observing(batch, torch.zeros_like(batch.observed)))
    assert torch.equal(prediction.logits, prediction.logits[:1].expand_as(prediction.logits))
    F.cross_entropy(prediction.logits, batch.target).backward()
    assert method.latents.grad.isfinite().all()
    assert method.latents.grad.abs().sum() > 0
    if preset == "paper":
        torch.testing.assert_close(prediction.logits[0], method.head(method.latents.mean(0)))


@pytest.mark.parametrize("preset", HEALNet.presets)
def test_one_modality_and_a_batch_of_one_train(make_batch, preset):
    prediction = build(modalities=1, preset=preset).train()(make_batch(n=1, modalities=1))
    (F.cross_entropy(prediction.logits, torch.tensor([0])) + sum(prediction.penalties.values())).backward()
    assert prediction.logits.isfinite().all()


def test_forward_twice_gives_the_same_and_modifies_no_input(make_batch):
    method, batch = build(context="raw").eval(), make_batch(n=6)
    before = {name: x.clone() for name, x in batch.inputs.items()}
    assert torch.equal(method(batch).logits, method(batch).logits)
    assert all(torch.equal(x.nan_to_num(9.0), before[name].nan_to_num(9.0)) for name, x in batch.inputs.items())


def test_modality_absent_from_the_batch_gets_no_gradient_and_no_operations(make_batch):
    method, batch = build(l1=0.0, attention_dropout=0.0, dropout=0.0).train(), make_batch(n=6, missing=0.0)
    without = observing(batch, torch.tensor([True, False, True]).expand(6, 3))
    method(without).logits.sum().backward()
    assert all(parameter.grad is None for parameter in method.layers[0].cross[1].parameters())

    def flops(given):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            method(given)
        return counter.get_total_flops()

    only = observing(batch, torch.tensor([True, False, False]).expand(6, 3))
    assert flops(batch) - flops(without) == flops(without) - flops(only)  # each of the three costs as much


def test_l1_gradient_of_an_absent_modality_is_the_sign_of_its_weights(make_batch):
    method, batch = build(l1=0.01).train(), make_batch(n=6)
    prediction = method(observing(batch, torch.tensor([True, False, True]).expand(6, 3)))
    (prediction.logits.sum() + prediction.penalties["l1"]).backward()
    for parameter in method.layers[0].cross[1].parameters():
        torch.testing.assert_close(parameter.grad, 0.01 * parameter.sign())


def test_l1_leaves_the_encoders_out_and_evaluation_has_no_penalty(make_batch):
    method, batch = build(l1=0.5).train(), make_batch(n=6)
    own = [parameter for name, parameter in method.named_parameters() if not name.startswith("tokens.encoders")]
    torch.testing.assert_close(method(batch).penalties["l1"], 0.5 * sum(parameter.abs().sum() for parameter in own))
    assert not method.eval()(batch).penalties


def test_modality_never_seen_in_training_is_skipped_in_paper_alone(make_samples):
    train = make_samples(n=30, missing=0.0)
    train = train.hide(np.repeat([[False, True, False]], 30, 0))
    batch = as_batch(make_samples(n=8, seed=1, missing=0.0))
    without = observing(batch, torch.tensor([True, False, True]).expand(8, 3))
    for preset, is_same in (("paper", True), ("as_released", False)):
        method = build(preset=preset).eval()
        method.prepare(train)
        assert torch.equal(method(batch).logits, method(without).logits) is is_same, preset


# ---- size, cost, traces, settings


@pytest.mark.parametrize("share", ["layers", "none"])
def test_parameters_grow_with_depth_only_where_layers_are_separate(share):
    one, two, three = (sum(p.numel() for p in build(depth=depth, share=share).parameters()) for depth in (1, 2, 3))
    assert two - one == three - two
    assert (two - one == 0) is (share == "layers")


@pytest.mark.parametrize(("modalities", "millions"), [(2, 0.17), (3, 0.25), (4, 0.34), (8, 0.68)])
def test_published_sizes_have_the_stated_number_of_parameters(modalities, millions):
    method = build(modalities, sizes={})
    own = sum(parameter.numel() for name, parameter in method.named_parameters() if not name.startswith("tokens."))
    assert own / 1e6 == pytest.approx(millions, abs=0.006)


def test_updates_tell_which_modality_moved_the_latents(make_batch):
    method, batch = build().eval(), make_batch(n=8, missing=0.5)
    with tracing(method) as tracer:
        method(batch)
    table = tracer.table("updates")
    seen = batch.observed[torch.from_numpy(table["sample"]), torch.from_numpy(table["modality"])]
    assert seen.all()
    assert len(table["sample"]) == 2 * int(batch.observed.sum())  # in both layers
    assert (table["size"] > 0).all()
    assert ((table["entropy"] > 0) & (table["entropy"] <= 1 + 1e-6)).all()
    single = build(tokens=1).eval()
    with tracing(single) as tracer:
        single(batch)
    assert np.isnan(tracer.table("updates")["entropy"]).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"skip": "nothing"}, "skip must be one of update, cross, got 'nothing'"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"temperature": 0.0}, "temperature must be positive and l1 not negative, got 0.0 and 1e-05"),
        ({"bands": 0}, "bands must be at least 1 and max_freq positive, got 0 and 10.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        HEALNetConfig(**option)


@pytest.mark.parametrize("preset", HEALNet.presets)
def test_each_preset_is_known_by_name(preset):
    cls = registry.method_class("healnet")
    config = registry.config_of(cls, parse_choice(f"healnet@{preset}"), {})
    assert {key: getattr(config, key) for key in cls.presets[preset]} == dict(cls.presets[preset])


@pytest.mark.slow
@pytest.mark.parametrize("preset", HEALNet.presets)
def test_digits_trained_with_gaps_are_told_apart_when_complete(preset):
    settings = {"epochs": 8, "batch_size": 64, "learning_rate": 3e-3, "width": 64, "tokens": 2}
    (trial,) = trials_of([f"healnet@{preset}[latents=8]"], "digits", noise=0.3, training=settings)
    record, _ = run_trial(replace(trial, evaluations=("mcar(0)",)))
    assert record.facts.evaluations["mcar(0)"].metrics["accuracy"]

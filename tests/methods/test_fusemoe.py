"""FuseMoE against its equations, per-sample loops, and the stored outputs of the released code."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from bench.datasets.base import as_batch
from bench.methods.fusemoe import FuseMoE, FuseMoEConfig, Mixture, Router, balance_loss, entropy_loss

SMALL = {"width": 8, "heads": 2, "hidden": 6, "n_experts": 4, "k": 2, "k_disjoint": 1, "layers": 2}
ROUTERS = ("joint", "permod", "disjoint")
TIGHT = {"rtol": 1e-5, "atol": 1e-5}  # the stored outputs' tolerance


def config_of(preset="paper", **changes):
    return FuseMoEConfig(**{**SMALL, **FuseMoE.presets[preset], **changes})


def method_of(schema, preset="paper", seed=0, **changes):
    torch.manual_seed(seed)
    method = FuseMoE(schema, config_of(preset, **changes))
    method.seed(seed)
    return method


@pytest.fixture
def samples(make_samples):
    return make_samples(n=10)


def mixture_of(modalities=3, features=5, seed=0, **changes):
    torch.manual_seed(seed)
    mixture = Mixture(modalities, features, config_of(**changes)).eval()
    torch.nn.init.normal_(mixture.router.centres)
    torch.nn.init.normal_(mixture.router.spread, std=0.3)
    return mixture, torch.randn(modalities, 6, features)


def loss_of(method, batch):
    prediction = method(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


# ---- the released code's numbers ----


def released_mixture(parity, case, preset):
    """Our mixture with the weights of one stored case, and the case."""
    arrays = parity("fusemoe_as_released", case)
    _, router, gating = case.split("_")[:3]
    modalities, _, features = arrays["x"].shape
    experts, hidden = arrays["expert_b1"].shape
    kept = int(arrays["k"])
    sizes = {"n_experts": experts, "k": kept, "k_disjoint": kept, "hidden": hidden}
    mixture = Mixture(modalities, features, config_of(preset, router=router, gating=gating, **sizes)).eval()
    load_mixture(mixture, arrays)
    return mixture, arrays


@torch.no_grad()
def load_mixture(mixture, arrays):
    for ours, theirs in ((mixture.router.centres, "W_g"), (mixture.router.spread, "W_n")):
        ours.copy_(arrays[theirs].mT.reshape(ours.shape))
    for ours, theirs in (("weight1", "W1"), ("bias1", "b1"), ("weight2", "W2"), ("bias2", "b2")):
        getattr(mixture.experts, ours).copy_(arrays[f"expert_{theirs}"])


CASES = [
    "moe_joint_laplace_T1", "moe_joint_softmax_T1", "moe_joint_gaussian_T1", "moe_joint_laplace_T4", "moe_permod_laplace_T1",
    "moe_disjoint_laplace_T1", "moe_joint_laplace_k_equals_S", "moe_joint_laplace_saturated",
]  # fmt: skip


@pytest.mark.parametrize(("case", "state"), [*((case, "quiet") for case in CASES), *((case, "noisy") for case in CASES[:-1])])
@pytest.mark.parametrize("preset", FuseMoE.presets)
def test_mixture_equals_released_code(parity, case, state, preset):
    mixture, arrays = released_mixture(parity, case, preset)
    noise = arrays.get(f"{state}/noise")
    with torch.no_grad():
        y, routing = mixture(arrays["x"], None if noise is None else noise.view(-1, *noise.shape[-2:]))
    expected = {name: arrays[f"{state}/{name}"] for name in ("clean_logits", "gates", "load", "loss", "y")}
    shape = expected["gates"].shape
    loose = {"rtol": 1e-5, "atol": 5e-5} if "gaussian" in case else TIGHT
    assert_close(routing.clean.view(shape), expected["clean_logits"], **TIGHT)
    assert_close(routing.dense_gates.view(shape), expected["gates"], **loose)
    assert_close(routing.load.view(expected["load"].shape), expected["load"].float(), **TIGHT)
    assert_close(0.01 * balance_loss(routing), expected["loss"], **TIGHT)
    if preset != "as_released":  # its experts are no log-densities
        return
    y, theirs = y.transpose(0, 1).flatten(1), expected["y"]
    if "saturated" not in case:
        assert_close(y, theirs, **loose)
        return
    floored = (theirs + 36.0437).abs() < 1e-3  # a probability of exactly 0; near -103 stand subnormal numbers, left out
    normal = ~floored & (theirs > -80)
    assert floored.any()
    assert_close(y[normal], theirs[normal], rtol=1e-5, atol=1e-4)
    assert (y[floored] + 36.0437).abs().max() < 1e-3


def released_stack(make_samples, parity, case, preset="as_released", **changes):
    """Our method with the weights of one stored encoder, and the case."""
    arrays = parity("fusemoe_as_released", case)
    modalities, tokens, width = arrays["z"].shape[1:]
    layers = sum(name.endswith("/W_g") for name in arrays)
    experts, hidden = arrays["layer0/expert_b1"].shape
    sizes = {"tokens": tokens, "width": width, "layers": layers, "heads": int(arrays["heads"])}
    sizes |= {"n_experts": experts, "k": int(arrays["k"]), "hidden": hidden, "gating": case.split("_")[1]}
    method = method_of(make_samples(modalities=modalities).schema, preset, **{**sizes, **changes}).eval()
    names = {
        "attention.qkv.weight": "W_qkv", "attention.qkv.bias": "b_qkv",
        "attention.out.weight": "W_o", "attention.out.bias": "b_o",
        "feed_forward.0.weight": "W1", "feed_forward.0.bias": "b1", "feed_forward.3.weight": "W2", "feed_forward.3.bias": "b2",
    } | {f"norm{n}.{part}": f"LN{n}_{part}" for n in (1, 2, 3) for part in ("weight", "bias")}  # fmt: skip
    with torch.no_grad():
        method.position.copy_(arrays["pos"])
        for depth, layer in enumerate(method.layers):
            load_mixture(layer.mixture, {name: arrays[f"layer{depth}/{name}"] for name in MIXTURE_ARRAYS})
            for m, block in enumerate(layer.blocks):
                block.load_state_dict({ours: arrays[f"layer{depth}/{theirs}"][m] for ours, theirs in names.items()})
        for m, norm in enumerate(method.norms):
            norm.load_state_dict({part: arrays[f"final_LN_{part}"][m] for part in ("weight", "bias")})
    return method, arrays


MIXTURE_ARRAYS = ("W_g", "W_n", "expert_W1", "expert_b1", "expert_W2", "expert_b2")
ENCODERS = ["encoder_laplace_T1", "encoder_laplace_T4", "encoder_softmax_T1_2layers"]


@pytest.mark.parametrize("state", ["quiet", "noisy"])
@pytest.mark.parametrize("case", ENCODERS)
def test_stack_equals_released_code(make_samples, parity, case, state):
    method, arrays = released_stack(make_samples, parity, case)
    batch, experts = len(arrays["z"]), arrays["layer0/expert_b1"].shape[0]
    noise = arrays.get(f"{state}/noise", torch.zeros(len(method.layers), batch, experts)).unsqueeze(1)  # (L, 1, B, S)
    with torch.no_grad():
        out, routings = method.fuse(arrays["z"], noise)
        assert_close(out, arrays[f"{state}/out"], **TIGHT)
        for depth, (layer, routing) in enumerate(zip(method.layers, routings, strict=True)):
            found = {name: arrays[f"{state}/layer{depth}_{name}"] for name in ("in", "out", "moe_in", "moe_out")}
            z = found["in"].transpose(0, 1)  # (M, B, T, D)
            a = torch.stack([block.attend(x) for block, x in zip(layer.blocks, z, strict=True)])
            u = layer.to_rows(torch.stack([block.norm2(x) for block, x in zip(layer.blocks, a, strict=True)]))
            assert_close(u.transpose(0, 1).flatten(1), found["moe_in"], **TIGHT)
            assert_close(layer.mixture(u, noise[depth])[0].transpose(0, 1).flatten(1), found["moe_out"], **TIGHT)
            assert_close(layer(z, noise[depth])[0].transpose(0, 1), found["out"], **TIGHT)
            assert_close(0.01 * balance_loss(routing), arrays[f"{state}/layer{depth}_balance_loss_unused"], **TIGHT)


@pytest.mark.parametrize("case", [case for case in ENCODERS if "T1" in case])
def test_layers_of_the_paper_share_both_halves_with_released_code(make_samples, parity, case):
    method, arrays = released_stack(make_samples, parity, case, "paper_joint")
    with torch.no_grad():
        for depth, layer in enumerate(method.layers):
            z, u, y, out = (arrays[f"quiet/layer{depth}_{name}"] for name in ("in", "moe_in", "moe_out", "out"))
            a = torch.stack([block.attend(x) for block, x in zip(layer.blocks, z.transpose(0, 1), strict=True)])
            ours = layer.to_rows(torch.stack([block.norm2(x) for block, x in zip(layer.blocks, a, strict=True)]))
            assert_close(ours.transpose(0, 1).flatten(1), u, **TIGHT)
            c = a + layer.to_tokens(y.unflatten(1, (len(a), -1)).transpose(0, 1), a.shape)
            refined = torch.stack([block.refine(x) for block, x in zip(layer.blocks, c, strict=True)], dim=1)
            assert_close(refined, out, **TIGHT)


@pytest.mark.parametrize("case", ENCODERS)
def test_time_first_rows_mix_samples_as_released(make_samples, parity, case):
    method, arrays = released_stack(make_samples, parity, case)
    with torch.no_grad():
        out, changed = (method.fuse(arrays[name])[0] for name in ("z", "quiet_perturbed/z"))
    assert_close(changed, arrays["quiet_perturbed/out"], **TIGHT)
    change = (changed - out).abs().amax((1, 2, 3))
    assert_close(change, arrays["quiet_perturbed/max_change_per_sample"], **TIGHT)
    assert (change[1:] > 0.1).all() if case.endswith("T4") else (change[1:] == 0).all()


@pytest.mark.parametrize("case", ENCODERS)
def test_sample_rows_equal_released_code_run_one_by_one(make_samples, parity, case):
    method, arrays = released_stack(make_samples, parity, case, flatten="sample")
    with torch.no_grad():
        assert_close(method.fuse(arrays["z"])[0], arrays["quiet_one_by_one/out"], **TIGHT)


# ---- the routers and experts ----


@pytest.mark.parametrize("gating", ["laplace", "gaussian", "softmax"])
def test_gates_equal_direct_formula(gating):
    torch.manual_seed(0)
    router = Router(2, 5, 3, 2, config_of(gating=gating))
    torch.nn.init.normal_(router.centres)
    torch.nn.init.normal_(router.spread)
    u, noise = torch.randn(2, 4, 3), torch.randn(2, 4, 5)
    routing = router(u, noise)
    assert_close(routing.gates.sum(2), torch.ones(2, 4))
    for r in range(2):
        for b in range(4):
            row, w = u[r, b], router.centres[r]
            distance = ((w - row) ** 2).sum(1)
            clean = {"laplace": -distance.sqrt(), "gaussian": -distance, "softmax": w @ row}[gating]
            noisy = clean + noise[r, b] * (F.softplus(router.spread[r] @ row) + 0.01)
            best = noisy.argsort(descending=True)[:2]
            expected = torch.zeros(5).index_copy(0, best, noisy[best].softmax(0))
            assert_close(routing.dense_gates[r, b], expected)


@pytest.mark.parametrize("moe_out", ["all", "own"])
@pytest.mark.parametrize("log_space", [False, True], ids=["linear", "log_space"])
@pytest.mark.parametrize("router", ROUTERS)
def test_mixture_equals_loop_over_units(router, log_space, moe_out):
    mixture, u = mixture_of(router=router, log_space=log_space, moe_out=moe_out, n_experts=7, k_disjoint=2)
    y, routing = mixture(u)
    modalities, batch, features = u.shape
    own = moe_out == "own" and router != "joint"
    expected = torch.zeros(modalities, batch, features)
    for r in range(1 if router == "joint" else modalities):
        for b in range(batch):
            row = u[:, b].flatten() if router == "joint" else u[r, b]
            total = 0
            for local, gate in zip(routing.experts[r, b].tolist(), routing.gates[r, b], strict=True):
                e = local + (r * 2 if router == "disjoint" else 0)  # 7 // 3 experts a pool
                w1, b1, w2, b2 = (p[e] for p in mixture.experts.parameters())
                out = w2 @ F.gelu(w1 @ row + b1) + b2
                total = total + gate * (out.softmax(0) if log_space else out)
            total = total.log() if log_space else total
            if own:
                expected[r, b] = total
            else:
                expected[:, b] += total.view(modalities, features)
    assert_close(y, expected)


def test_released_log_densities_sum_to_one():
    mixture, u = mixture_of(router="joint", log_space=True)
    assert_close(mixture(u)[0].exp().sum((0, 2)), torch.ones(6))


def test_log_space_gradients_stay_finite_at_the_floor():
    mixture, u = mixture_of(router="joint", log_space=True)
    with torch.no_grad():
        mixture.experts.weight2.mul_(400)
    y, _ = mixture(u)
    y.square().sum().backward()
    assert (y == math.log(2.0**-52)).any()
    assert all(p.grad.isfinite().all() for p in mixture.experts.parameters())


@pytest.mark.parametrize("modality", [0, 1, 2])
def test_disjoint_pools_learn_from_their_modality_alone(modality):
    mixture, u = mixture_of(router="disjoint", moe_out="own", n_experts=7, k_disjoint=2)
    mixture(u)[0][modality].sum().backward()
    touched = mixture.experts.weight1.grad.abs().sum((1, 2)) > 0
    assert len(touched) == 6
    assert touched.nonzero().flatten().tolist() == [2 * modality, 2 * modality + 1]


@pytest.mark.parametrize(("moe_out", "crosses"), [("all", True), ("own", False)])
def test_moe_out_decides_whether_modalities_mix(moe_out, crosses):
    mixture, u = mixture_of(moe_out=moe_out)
    changed = u.clone()
    changed[0] += 1
    assert torch.equal(mixture(u)[0][1], mixture(changed)[0][1]) is not crosses


@pytest.mark.parametrize("sizes", [{"n_experts": 1, "k": 1}, {"k": 4}], ids=["one expert", "all experts"])
def test_full_selection_counts_its_load(sizes):
    mixture, u = mixture_of(**sizes)
    routing = mixture(u, torch.randn(3, 6, sizes.get("n_experts", 4)))[1]
    assert (routing.load == 6).all()
    assert balance_loss(routing).isfinite()
    if sizes["k"] == 1:
        assert balance_loss(routing) == 0


def test_full_disjoint_pool_counts_its_load():
    mixture, u = mixture_of(router="disjoint", n_experts=6, k_disjoint=2)
    routing = mixture(u, torch.randn(3, 6, 2))[1]
    assert (routing.load == 6).all()
    assert balance_loss(routing).isfinite()


def test_disjoint_router_reports_unused_experts(samples, caplog):
    caplog.set_level(logging.INFO)
    method_of(samples.schema, router="disjoint", n_experts=16)
    assert "1 of 16 experts are left out" in caplog.text
    caplog.clear()
    method_of(samples.schema, router="disjoint", n_experts=15)
    assert not caplog.text


@pytest.mark.parametrize("router", ROUTERS)
def test_every_router_weight_is_trained_and_stored(samples, router):
    method = method_of(samples.schema, router=router, k_disjoint=1, n_experts=9)
    with torch.no_grad():
        for layer in method.layers:
            layer.mixture.router.spread.normal_()
    loss_of(method.train(), as_batch(samples)).backward()
    names = [name for name in method.state_dict() if ".router." in name]
    assert len(names) == 2 * len(method.layers)
    for name in names:
        rows = method.get_parameter(name).grad.flatten(2).abs().sum((1, 2))  # one number per router
        assert (rows > 0).all(), name


def test_frozen_gates_get_no_gradient(samples):
    method = method_of(samples.schema, gate_init="frozen")
    loss_of(method.train(), as_batch(samples)).backward()
    for layer in method.layers:
        router = layer.mixture.router
        assert router.centres.grad is None
        assert router.spread.grad is None
        assert not router.centres.any()


# ---- the losses ----


def test_separate_distributions_give_minus_log_groups():
    clean = 200 * torch.eye(3).unsqueeze(1).expand(3, 4, 3)  # modality m always prefers expert m
    assert_close(entropy_loss(clean, torch.ones(4, 3, dtype=torch.bool)), torch.tensor(-math.log(3)))


def test_indicator_units_are_a_group_only_where_something_is_missing():
    clean = 200 * torch.eye(4)[:3].unsqueeze(1).repeat(1, 5, 1)  # modality m prefers expert m
    observed = torch.ones(5, 3, dtype=torch.bool)
    assert_close(entropy_loss(clean, observed), torch.tensor(-math.log(3)))
    clean[0, 0] = 200 * torch.eye(4)[3]  # an indicator unit prefers the expert nobody uses
    observed[0, 0] = False
    assert_close(entropy_loss(clean, observed), torch.tensor(-math.log(4)))


def test_equal_distributions_give_zero_entropy_loss():
    clean = torch.randn(5, generator=torch.Generator().manual_seed(0)).expand(3, 4, 5)
    observed = torch.rand(4, 3, generator=torch.Generator().manual_seed(1)) > 0.4
    assert_close(entropy_loss(clean, observed), torch.tensor(0.0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("groups", ["indicator", "modality"])
def test_entropy_loss_equals_loop_over_groups(groups):
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(3, 6, 4, generator=generator)
    observed = torch.rand(6, 3, generator=generator) > 0.4
    observed[:, 2] = False  # no observed unit: the group is left out, unless groups are modalities
    members = {}
    for m in range(3):
        for b in range(6):
            key = m if observed[b, m] or groups == "modality" else "indicator"
            members.setdefault(key, []).append(clean[m, b].softmax(0))
    means = [torch.stack(rows).mean(0) for rows in members.values()]
    assert len(means) == 3

    def entropy(p):
        return -(p * p.log()).sum()

    expected = torch.stack([entropy(p) for p in means]).mean() - entropy(torch.stack(means).mean(0))
    assert_close(entropy_loss(clean, observed, groups), expected)


def test_one_group_gives_zero_that_keeps_the_graph():
    clean = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = entropy_loss(clean, torch.ones(4, 1, dtype=torch.bool))
    loss.backward()
    assert loss == 0
    assert clean.grad.isfinite().all()


def test_entropy_gradient_is_finite_where_probabilities_vanish():
    clean = (500 * torch.eye(3)).unsqueeze(1).repeat(1, 4, 1).requires_grad_()
    entropy_loss(clean, torch.ones(4, 3, dtype=torch.bool)).backward()
    assert clean.grad.isfinite().all()


def test_disjoint_entropy_would_be_constant():
    """Why the disjoint router has the balance loss: supports that never overlap leave nothing to learn."""
    pools = torch.full((3, 4, 6), -torch.inf)
    for m in range(3):
        pools[m, :, 2 * m : 2 * m + 2] = torch.randn(4, 2, generator=torch.Generator().manual_seed(m))
    assert_close(entropy_loss(pools, torch.ones(4, 3, dtype=torch.bool)), torch.tensor(-math.log(3)))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"router": "permod"}, ["entropy"]),
        ({"router": "joint"}, ["balance"]),
        ({"router": "disjoint"}, ["balance"]),
        ({"router": "permod", "entropy_weight": 0.0}, []),
        ({"router": "joint", "balance_weight": 0.0}, []),
    ],
    ids=str,
)
def test_router_decides_the_auxiliary_loss(samples, changes, names):
    method, batch = method_of(samples.schema, **changes), as_batch(samples)
    assert list(method.train()(batch).penalties) == names
    assert not method.eval()(batch).penalties


# ---- the method ----


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("router", ROUTERS)
def test_prediction_ignores_batch_mates(samples, router, tokens):
    method, batch = method_of(samples.schema, router=router, tokens=tokens).eval(), as_batch(samples)
    with torch.no_grad():
        together = method(batch).logits
        alone = torch.cat([method(batch.rows(torch.tensor([b]))).logits for b in range(len(batch))])
    assert together.shape == (10, 3)
    assert_close(together, alone, **TIGHT)


@pytest.mark.parametrize("tokens", [1, 3])
def test_as_released_leaks_between_samples_from_two_tokens_on(samples, tokens):
    method, batch = method_of(samples.schema, "as_released", tokens=tokens).eval(), as_batch(samples)
    changed = replace(batch, inputs={name: x.clone() for name, x in batch.inputs.items()})
    name = samples.schema.names[int(samples.observed[0].argmax())]
    changed.inputs[name][0] += 3
    logits = []
    for each in (batch, changed):
        method.seed(0)  # the same gate noise
        logits.append(method(each).logits)
    others = (logits[0] - logits[1])[1:].abs().max()
    assert others > 1e-4 if tokens > 1 else others == 0


@pytest.mark.parametrize(("preset", "noisy"), [("paper", False), ("paper_joint", False), ("as_released", True)])
def test_only_as_released_is_noisy_in_evaluation(samples, preset, noisy):
    method, batch, logits = method_of(samples.schema, preset).eval(), as_batch(samples), []
    for seed in (0, 1, 0):
        method.seed(seed)
        torch.manual_seed(len(logits))
        logits.append(method(batch).logits)
    assert torch.equal(logits[0], logits[1]) is not noisy
    assert torch.equal(logits[0], logits[2])


def test_training_noise_depends_on_generator_alone(samples):
    method, batch, logits = method_of(samples.schema, dropout=0.0).train(), as_batch(samples), []
    for seed in (0, 1, 0):
        method.seed(seed)
        torch.manual_seed(len(logits))
        logits.append(method(batch).logits)
    assert not torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_evaluation_noise_leaves_training_noise_alone(samples):
    method, batch = method_of(samples.schema, "as_released", dropout=0.0), as_batch(samples)
    twin = method_of(samples.schema, "as_released", dropout=0.0)
    scored = []
    for _ in range(2):
        for each in (method, twin):
            each.on_epoch(0, 2)
            each.train()
        assert torch.equal(method(batch).logits, twin(batch).logits)
        for _ in range(2):  # two parts are scored, in one of the twins
            method.eval()
            method.on_evaluate()
            scored.append(method(batch).logits)
    assert all(torch.equal(scored[0], each) for each in scored[1:])


@pytest.mark.parametrize("preset", FuseMoE.presets)
def test_hidden_modality_never_reaches_logits(samples, preset):
    method, sealed = method_of(samples.schema, preset).eval(), as_batch(samples)
    opened = replace(sealed, inputs={name: torch.nan_to_num(x, nan=7.0) for name, x in sealed.inputs.items()})
    logits = []
    for batch in (sealed, opened):
        method.seed(0)
        logits.append(method(batch).logits)
    assert logits[0].isfinite().all()
    assert torch.equal(*logits)


@pytest.mark.parametrize("tokens", [1, 2])
@pytest.mark.parametrize("preset", FuseMoE.presets)
def test_gradients_are_finite_and_reach_every_parameter(make_samples, preset, tokens):
    samples = make_samples(n=60)
    method = method_of(samples.schema, preset, tokens=tokens)
    loss_of(method.train(), as_batch(samples)).backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", ["shared", "per_modality"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_indicator_learns_only_from_missing_modalities(make_samples, missing, kind):
    samples = make_samples(n=10, missing=missing)
    method = method_of(samples.schema, missing_embedding=kind, dropout=0.0)
    loss_of(method.train(), as_batch(samples)).backward()
    learns = method.indicator.grad.flatten(1).any(1)
    assert learns.tolist() == ([False] * len(learns) if missing == 0 else [True] * len(learns))


@pytest.mark.parametrize("kind", ["zero", "shared", "per_modality"])
def test_complete_data_need_no_indicator(make_samples, kind):
    samples = make_samples(n=10, missing=0.0)
    plain, other = (method_of(samples.schema, missing_embedding=each, dropout=0.0) for each in ("shared", kind))
    other.load_state_dict({key: value for key, value in plain.state_dict().items() if key != "indicator"}, strict=False)
    batch, losses = as_batch(samples), []
    for method in (plain, other):
        method.seed(0)
        losses.append(loss_of(method.train(), batch))
    assert torch.equal(*losses)
    assert torch.equal(plain.eval()(batch).logits, other.eval()(batch).logits)


def test_zero_indicator_has_no_parameter_and_no_type(samples):
    method = method_of(samples.schema, missing_embedding="zero")
    tokens = method.complete(method.encoders(as_batch(samples)), torch.from_numpy(samples.observed))
    assert method.indicator is None
    assert not tokens[~torch.from_numpy(samples.observed)].any()


def test_unseen_modality_counts_as_missing(samples, caplog):
    hidden = np.zeros_like(samples.observed)
    hidden[:, 1] = True
    method = method_of(samples.schema).eval()
    method.prepare(samples.hide(hidden))
    assert "beta" in caplog.text
    with torch.no_grad():
        assert torch.equal(method(as_batch(samples)).logits, method(as_batch(samples.hide(hidden))).logits)


@pytest.mark.parametrize("preset", ["paper", "paper_joint"])
def test_all_missing_gives_constant_finite_logits(samples, preset):
    batch = as_batch(samples.hide(np.ones_like(samples.observed)))
    logits = method_of(samples.schema, preset).eval()(batch).logits
    assert logits.isfinite().all()
    assert_close(logits, logits[:1].expand_as(logits))


@pytest.mark.parametrize("preset", FuseMoE.presets)
@pytest.mark.parametrize("modalities", [1, 3])
def test_batch_of_one_trains(make_samples, preset, modalities):
    samples = make_samples(n=6, modalities=modalities)
    method = method_of(samples.schema, preset, tokens=2)
    loss = loss_of(method.train(), as_batch(samples).rows(torch.tensor([0])))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        *({"gating": gating} for gating in ("gaussian", "softmax")),
        *({"router": router} for router in ROUTERS),
        *({"missing_embedding": kind} for kind in ("zero", "shared", "per_modality")),
        *({"n_experts": experts} for experts in (4, 8, 16, 32)),
        *({"layers": layers} for layers in (1, 2, 3)),
        {"k": 1},
        {"entropy_weight": 0.0},
        {"noise": "off"},
        {"noise": "always"},
        {"moe_out": "own"},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
def test_every_ablation_trains(samples, changes):
    method = method_of(samples.schema, **changes).train()
    loss = loss_of(method, as_batch(samples))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_head_pools_then_adds_residual(samples, pool):
    method = method_of(samples.schema, tokens=3, pool=pool).eval()
    tokens = torch.randn(4, 3, 3, 8, generator=torch.Generator().manual_seed(0))
    v = (tokens.mean(2) if pool == "mean" else tokens[:, :, 2]).reshape(4, 24)
    first, second = method.residual[0], method.residual[3]
    hidden = torch.relu(v @ first.weight.T + first.bias)
    v = v + hidden @ second.weight.T + second.bias
    assert_close(method.head(tokens), v @ method.classify.weight.T + method.classify.bias)


@pytest.mark.parametrize("preset", FuseMoE.presets)
def test_checkpoint_restores_predictions(samples, preset):
    method, other = (method_of(samples.schema, preset, seed=seed).eval() for seed in (1, 2))
    hidden = np.zeros_like(samples.observed)
    hidden[:, 2] = True
    method.prepare(samples.hide(hidden))
    other.load_state_dict(method.state_dict())
    logits = []
    for each in (method, other):
        each.seed(5)
        each.on_evaluate()
        logits.append(each(as_batch(samples)).logits)
    assert torch.equal(*logits)


@pytest.mark.parametrize(
    ("changes", "experts", "inputs", "outputs"),
    [
        ({"router": "joint"}, 7, 15, 15),
        ({"router": "permod"}, 7, 5, 15),
        ({"router": "disjoint"}, 6, 5, 15),
        ({"router": "permod", "moe_out": "own"}, 7, 5, 5),
    ],
    ids=["joint", "permod", "disjoint", "own"],
)
def test_experts_have_the_published_size(changes, experts, inputs, outputs):
    mixture, _ = mixture_of(modalities=3, features=5, n_experts=7, **changes)
    assert sum(p.numel() for p in mixture.experts.parameters()) == experts * (inputs * 6 + 6 + 6 * outputs + outputs)
    assert mixture.router.centres.shape == (1 if inputs == 15 else 3, 2 if experts == 6 else 7, inputs)


@pytest.mark.parametrize(("modalities", "tokens", "expert"), [(4, 1, 525_312), (3, 48, 18_893_312)], ids=["suite's size", "paper's size"])
def test_joint_layer_has_the_stated_parameters(modalities, tokens, expert):
    with torch.device("meta"):
        mixture = Mixture(modalities, tokens * 128, FuseMoEConfig(router="joint"))
    assert sum(p.numel() for p in mixture.experts.parameters()) == 16 * expert
    assert mixture.experts.idle_parameters == 12 * expert


def test_active_parameters_leave_idle_experts_out(samples):
    method = method_of(samples.schema, router="joint")
    one = sum(p[0].numel() for p in method.layers[0].mixture.experts.parameters())
    total = sum(p.numel() for p in method.parameters())
    assert method.active_parameters() == total - 2 * 2 * one  # 2 layers, 4 experts of which 2 are kept


def test_noise_off_has_no_noise_weights(samples):
    method = method_of(samples.schema, noise="off", router="joint").train()
    assert not any("spread" in name for name in method.state_dict())
    loss_of(method, as_batch(samples)).backward()


def test_disjoint_pool_must_hold_its_kept_experts(samples):
    with pytest.raises(ValueError, match="k_disjoint must not exceed n_experts // modalities, here 1, got 2"):
        method_of(samples.schema, router="disjoint", k_disjoint=2, n_experts=5)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("paper", {"router": "permod", "missing_embedding": "shared", "entropy_weight": 0.01, "noise": "train", "log_space": False}),
        ("paper_joint", {"router": "joint", "missing_embedding": "shared", "balance_weight": 0.01, "log_space": False}),
        ("as_released", {"router": "joint", "missing_embedding": "zero", "balance_weight": 0.0, "entropy_weight": 0.0}),
        ("as_released", {"log_space": True, "flatten": "time", "noise": "always", "gate_init": "zero", "pool": "last"}),
    ],
)
def test_presets_hold_the_published_recipe(preset, changes):
    config = FuseMoEConfig(**FuseMoE.presets[preset])
    recipe = {"epochs": 8, "batch_size": 32, "learning_rate": 4e-4, "weight_decay": 0.0, "schedule": "constant", "clip_norm": 0.0}
    recipe |= {"tokens": 1, "width": 128, "layers": 3, "heads": 8, "dropout": 0.1, "gating": "laplace", "hidden": 512}
    recipe |= {"n_experts": 16, "k": 4, "k_disjoint": 2, "moe_out": "all"}
    assert {name: getattr(config, name) for name in recipe | changes} == recipe | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"router": "sparse"}, "router must be one of joint, permod, disjoint, got 'sparse'"),
        ({"gating": "cosine"}, "gating must be one of"),
        ({"width": 12, "heads": 8}, "width must be a multiple of heads, got 12 and 8"),
        ({"k": 5, "n_experts": 4}, "k must not exceed n_experts, got 5 and 4"),
        ({"tokens": 0}, "tokens must be at least 1, got 0"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"entropy_weight": -0.1}, "must not be negative"),
        ({"epochs": 0}, "epochs and batch_size must be at least 1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config_of(**changes)


def test_training_lowers_the_loss(make_samples):
    samples = make_samples(n=24)
    method, batch = method_of(samples.schema, layers=1).train(), as_batch(samples)
    losses = []
    for _ in range(20):
        loss = loss_of(method, batch)
        gradients = torch.autograd.grad(loss, list(method.parameters()))
        losses.append(loss.item())
        with torch.no_grad():
            for parameter, gradient in zip(method.parameters(), gradients, strict=True):
                parameter -= 0.2 * gradient
    assert losses[-1] < 0.5 * losses[0]

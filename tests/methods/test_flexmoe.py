"""Flex-MoE against its formulas, known answers of its bank and router, and the stored outputs of the released code."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from bench.datasets.base import Modality, Samples, Schema, as_batch
from bench.methods.flexmoe import (
    FlexMoE,
    FlexMoEConfig,
    Layer,
    Router,
    assigned_experts,
    balance,
    combination_table,
    routing_losses,
)
from bench.methods.tracing import tracing

SMALL = {"width": 8, "heads": 2, "tokens": 2, "n_experts": 8, "kept": 2, "dropout": 0.0, "batch_size": 4}
TIGHT = {"rtol": 1e-5, "atol": 1e-5}  # the stored outputs' tolerance
LOOSE = {"rtol": 1e-4, "atol": 1e-6}  # of stored gradients
WHOLE = ("e2e_M3_L1", "e2e_M2_L2")


def config_of(preset="paper", **changes):
    return FlexMoEConfig(**{**SMALL, **FlexMoE.presets[preset], **changes})


def method_of(samples, preset="paper", seed=0, **changes):
    torch.manual_seed(seed)
    method = FlexMoE(samples.schema, config_of(preset, **changes))
    method.seed(seed)
    method.prepare(samples)
    return method


def samples_with(make_samples, patterns, rows=4, **options):
    """Samples of which each pattern, such as "AB", is observed by as many rows; letters that a pattern lacks are hidden."""
    letters = "ABGDE"
    samples = make_samples(n=rows * len(patterns), missing=0.0, **options)
    observed = np.array([[letter in pattern for letter in letters[: len(samples.schema)]] for pattern in patterns])
    return samples.hide(~np.repeat(observed, rows, 0))


def logits_of(method, batch):
    method.eval()
    with torch.no_grad():
        method.on_evaluate()
        return method(batch).logits


def loss_of(method, batch):
    prediction = method(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


def gradients_of(method, batch):
    method.zero_grad()
    loss_of(method.train(), batch).backward()
    return {name: parameter.grad for name, parameter in method.named_parameters()}


# ---- the released code's numbers


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
def test_combination_ids_are_those_of_the_released_code(parity, modalities):
    assert np.array_equal(combination_table(modalities), parity("flexmoe_parts", "combinations")[f"M{modalities}"].numpy())


def released_router(arrays, **changes):
    width, experts = arrays["W_g"].shape[-2:]
    kept = int(arrays["top_k"])
    router = Router(config_of(width=width, kept=kept, n_experts=experts, **{"gate_norm": "topk_softmax", **changes}), experts)
    with torch.no_grad():
        router.gate.copy_(arrays["W_g"])
        router.spread.copy_(arrays["W_n"])
    return router


@pytest.mark.parametrize("state", ["eval", "train"])
@pytest.mark.parametrize("norm", ["topk_softmax", "softmax_topk"])
def test_router_equals_released_code(parity, state, norm):
    arrays = parity("flexmoe_parts", "gate")
    x = arrays["x"]
    routing = released_router(arrays, gate_norm=norm)(
        x, torch.ones(len(x), dtype=torch.bool), None, arrays["noise"] if state == "train" else None
    )
    assert torch.equal(routing.experts, arrays[f"{state}/idx"])
    assert_close(
        routing.gates if norm == "topk_softmax" else routing.gates / routing.gates.sum(1, keepdim=True), arrays[f"{state}/gates"], **TIGHT
    )
    assert_close(routing.clean, arrays["eval/clean_logits"], **TIGHT)


@pytest.mark.parametrize("case", ["train_mixed", "train_partial_only", "train_full_only"])
def test_routing_losses_equal_released_code(parity, case):
    arrays = parity("flexmoe_parts", "gate")
    found = {name.removeprefix(f"{case}/"): value for name, value in arrays.items() if name.startswith(f"{case}/")}
    x, router = arrays["x"].clone().requires_grad_(), released_router(arrays)
    own = found["mc"].repeat_interleave(int(arrays["patches"]))  # (V,)
    complete = own == 0
    routing = router(x, complete, None, arrays["noise"])
    group = complete.unsqueeze(1).float()
    assert_close((routing.dense_gates * group).sum(0), found["importance_full"], **TIGHT)
    assert_close((routing.load * group).sum(0), found["load_full"], **TIGHT)
    if "importance_partial_from1" in found:
        assert_close((routing.dense_gates * (1 - group)).sum(0)[1:], found["importance_partial_from1"], **TIGHT)
        assert_close((routing.load * (1 - group)).sum(0)[1:], found["load_partial_from1"], **TIGHT)
    of_complete, entropy, of_incomplete = routing_losses(routing, 1, complete, own, "full_expert")
    if "ce" in found:
        assert_close(entropy[0], found["ce"], **TIGHT)
    loss = (of_complete + entropy + of_incomplete).sum()
    assert_close(loss, found["loss"], **TIGHT)
    assert loss.item() == pytest.approx(
        {"train_mixed": 5.046494, "train_partial_only": 3.868400, "train_full_only": 0.153789}[case], abs=1e-5
    )
    loss.backward()
    assert_close(router.gate.grad[0], found["grad_W_g"], **LOOSE)
    assert_close(router.spread.grad[0], found["grad_W_n"], **LOOSE)
    assert_close(x.grad, found["grad_x"], **LOOSE)


def released_method(parity, case, preset="as_released", **changes):
    """Our method with the weights of one stored case, its batch, and the case's arrays."""
    arrays = parity("flexmoe_parts", case)
    observed = arrays["observed"]
    modalities, classes = observed.shape[1], len(arrays["head_b1" if "head_b1" in arrays else "head_b0"])
    features = [arrays[f"x{m}"].shape[1] for m in range(modalities)]
    schema = Schema(
        tuple(Modality(f"m{m}", "ABC"[m], "vector", (size,)) for m, size in enumerate(features)),
        tuple(f"class {c}" for c in range(classes)),
    )
    width = arrays["enc0_W"].shape[0]
    sizes = {
        "width": width, "heads": int(arrays["heads"]), "tokens": int(arrays["patches"]), "n_experts": int(arrays["experts"]),
        "kept": int(arrays["top_k"]), "layers": int(arrays["layers"]), "head_layers": 2 if "head_W1" in arrays else 1, "dropout": 0.0,
        "encoder": "patch",
    }  # fmt: skip
    values = {f"m{m}": arrays[f"x{m}"].numpy() for m in range(modalities)}
    rows = np.array([f"row {i}" for i in range(len(observed))])
    samples = Samples(schema, values, observed.numpy(), arrays["target"].numpy(), rows).sealed()
    method = method_of(samples, preset, **sizes, **changes)
    load_released(method, arrays)
    return method, as_batch(samples), arrays


@torch.no_grad()
def load_released(method, arrays):
    for m, encoder in enumerate(method.encoders):
        encoder.linear.weight.copy_(arrays[f"enc{m}_W"])
        encoder.linear.bias.copy_(arrays[f"enc{m}_b"])
    used = torch.from_numpy(method.bank.own[:-1] >= 0)
    method.bank.cells.copy_(arrays["bank"][used])
    method.position.copy_(arrays["pos"])
    for depth, layer in enumerate(method.layers):
        found = {name.split("/")[1]: value for name, value in arrays.items() if name.startswith(f"layer{depth}/")}
        for ours, theirs in {"norm1": "LN1", "norm2": "LN2"}.items():
            getattr(layer, ours).weight.copy_(found[f"{theirs}_w"])
            getattr(layer, ours).bias.copy_(found[f"{theirs}_b"])
        layer.attention.qkv.weight.copy_(torch.cat([found["W_q"], found["W_kv"]]))
        layer.attention.out.weight.copy_(found["W_proj"])
        layer.attention.out.bias.copy_(found["b_proj"])
        if "W_g" in found:
            layer.router.gate.copy_(found["W_g"])
            layer.router.spread.copy_(found["W_n"])
            for ours, theirs in (("weight1", "W1"), ("bias1", "b1"), ("weight2", "W2"), ("bias2", "b2")):
                getattr(layer.experts, ours).copy_(found[f"expert_{theirs}"])
        else:
            for place, theirs in ((0, "1"), (3, "2")):
                layer.feed_forward[place].weight.copy_(found[f"W{theirs}"])
                layer.feed_forward[place].bias.copy_(found[f"b{theirs}"])
    method.head[0].weight.copy_(arrays["head_W0"])
    method.head[0].bias.copy_(arrays["head_b0"])
    if "head_W1" in arrays:
        method.head[3].weight.copy_(arrays["head_W1"])
        method.head[3].bias.copy_(arrays["head_b1"])


def slots_of(method, batch):
    own = method.encoders(batch)
    return torch.where(batch.observed[:, :, None, None], own, method.bank(method.ids(batch.observed)))


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("preset", FlexMoE.presets)
def test_slots_and_first_attention_equal_released_code_in_every_preset(parity, case, preset):
    method, batch, arrays = released_method(parity, case, preset)
    method.eval()
    with torch.no_grad():
        assert torch.equal(method.ids(batch.observed), arrays["mc"])
        slots = slots_of(method, batch)
        assert_close(slots, arrays["eval/slots"], **TIGHT)
        layer = method.layers[0]
        assert_close(layer.attention(layer.norm1(slots.flatten(1, 2) + method.position)), arrays["eval/layer0/attn_out"], **TIGHT)


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("norm", ["topk_softmax", "softmax_topk"])
def test_router_and_experts_of_the_paper_equal_released_code_on_its_input(parity, case, norm):
    method, batch, arrays = released_method(parity, case, "paper", gate_norm=norm)
    layer, (rows, modalities) = method.layers[0].eval(), batch.observed.shape
    with torch.no_grad():
        u = layer.norm2(2 * arrays["eval/layer0/attn_out"]).unflatten(1, (modalities, -1)).transpose(0, 1).flatten(0, 2)
        routing = layer.router(u, torch.zeros(len(u), dtype=torch.bool))
        gates = routing.gates / routing.gates.sum(1, keepdim=True)
        assert torch.equal(routing.experts.unflatten(0, (modalities, -1)), arrays["eval/layer0/idx"])
        assert_close(gates.unflatten(0, (modalities, -1)), arrays["eval/layer0/gates"], **TIGHT)
        y = layer.experts(u, routing.experts, gates).unflatten(0, (modalities, rows, -1)).transpose(0, 1)
        assert_close(y, arrays["eval/layer0/moe_out"], **TIGHT)


@pytest.mark.parametrize("case", WHOLE)
def test_evaluation_equals_released_code(parity, case):
    method, batch, arrays = released_method(parity, case)
    method.eval()
    with torch.no_grad():
        h, ids = slots_of(method, batch), method.ids(batch.observed)
        x, routings = method.fuse(h, ids)
        assert_close(method.head(x.mean(2).flatten(1)), arrays["eval/logits"], **TIGHT)
        assert_close(method(batch).logits.softmax(1), arrays["eval/probabilities"], **TIGHT)
        z = h.flatten(1, 2) + method.position
        for depth, layer in enumerate(method.layers):
            assert_close(layer.attention(layer.norm1(z)), arrays[f"eval/layer{depth}/attn_out"], **TIGHT)
            z, _ = layer(z, ids == 0)
            assert_close(z.unflatten(1, (h.shape[1], -1)), arrays[f"eval/layer{depth}/out"], **TIGHT)
        for depth, routing in routings.items():
            assert torch.equal(routing.experts.unflatten(0, (h.shape[1], -1)), arrays[f"eval/layer{depth}/idx"])
            assert_close(routing.gates.unflatten(0, (h.shape[1], -1)), arrays[f"eval/layer{depth}/gates"], **TIGHT)


def released_step(parity, case, **changes):
    method, batch, arrays = released_method(parity, case, **changes)
    method.train()
    h, ids = slots_of(method, batch), method.ids(batch.observed)
    noise = [arrays[name] for name in sorted(arrays) if name.startswith("train/") and name.endswith("/noise")]
    x, routings = method.fuse(h, ids, noise)
    logits = method.head(x.mean(2).flatten(1))
    return method, batch, arrays, logits, routings, method.penalties(list(routings.values()), ids)


@pytest.mark.parametrize("case", WHOLE)
def test_training_step_equals_released_code(parity, case):
    method, batch, arrays, logits, routings, terms = released_step(parity, case)
    assert_close(logits, arrays["train/logits"], **TIGHT)
    for depth, routing in routings.items():
        assert torch.equal(routing.experts.unflatten(0, (len(method.schema), -1)), arrays[f"train/layer{depth}/idx"])
        assert_close(routing.gates.unflatten(0, (len(method.schema), -1)), arrays[f"train/layer{depth}/gates"], **TIGHT)
    task = F.cross_entropy(logits, batch.target)
    assert_close(task, arrays["train/task_loss"], **TIGHT)
    assert_close(100 * sum(terms.values()), arrays["train/gate_loss"], **TIGHT)
    assert_close(100 * terms["specialise"], arrays["train/ce_sum"], **TIGHT)
    (task + sum(terms.values())).backward()
    used = torch.from_numpy(method.bank.own[:-1] >= 0)
    assert_close(method.bank.cells.grad, arrays["train/grad_bank"][used], **LOOSE)
    assert_close(method.position.grad, arrays["train/grad_pos"], **LOOSE)
    for m, encoder in enumerate(method.encoders):
        assert_close(encoder.linear.weight.grad, arrays[f"train/grad_enc{m}_W"], **LOOSE)
    for depth, layer in enumerate(method.layers):
        if f"train/layer{depth}/grad_W_g" in arrays:
            assert_close(layer.router.gate.grad[0], arrays[f"train/layer{depth}/grad_W_g"], **LOOSE)
            assert_close(layer.router.spread.grad[0], arrays[f"train/layer{depth}/grad_W_n"], **LOOSE)
            assert_close(layer.experts.bias2.grad, arrays[f"train/layer{depth}/grad_expert_b2"], **LOOSE)


@pytest.mark.parametrize("case", WHOLE)
def test_released_bank_gradient_touches_exactly_the_cells_of_the_batch(parity, case):
    method, batch, arrays, logits, _, terms = released_step(parity, case)
    (F.cross_entropy(logits, batch.target) + sum(terms.values())).backward()
    touched = method.bank.cells.grad.flatten(1).abs().sum(1) > 0
    used = {int(cell) for ids, lacking in zip(arrays["mc"], ~batch.observed, strict=True) for cell in method.bank.place[ids][lacking]}
    assert set(touched.nonzero().flatten().tolist()) == used
    assert torch.equal(arrays["train/grad_bank"].flatten(2).abs().sum(2) > 0, torch.from_numpy(np.isin(method.bank.own[:-1], list(used))))


def test_leaving_out_the_top_expert_is_not_the_code_path_of_the_release(parity):
    released, paper = (sum(released_step(parity, "e2e_M3_L1", exclude=name)[-1].values()) for name in ("full_expert", "top1"))
    assert 100 * (released - paper).abs().item() == pytest.approx(0.50, abs=0.01)


# ---- combinations and experts


def test_experts_go_to_the_complete_and_the_most_frequent_combinations():
    counts = np.zeros(255, dtype=np.int64)
    counts[[3, 200, 7, 9]] = 5, 9, 5, 1
    found = assigned_experts(counts, 5)
    assert found[[0, 200, 3, 7, 9]].tolist() == [0, 1, 2, 3, 4]
    assert (np.delete(found, [0, 200, 3, 7, 9]) == -1).all()
    assert np.array_equal(assigned_experts(counts[:7], 7), np.arange(7))


def test_assignment_does_not_depend_on_the_order_of_rows(make_samples):
    samples = make_samples(n=60, modalities=5)
    shuffled = samples.rows(np.random.default_rng(0).permutation(60))
    one, other = (method_of(each, max_experts=8).assigned for each in (samples, shuffled))
    assert torch.equal(one, other)
    assert (one == -1).sum() == 31 - 8 + 1  # and the row that observes nothing
    assert one[0] == 0


@pytest.mark.parametrize(("modalities", "experts", "owned"), [(2, 8, 3), (3, 8, 7), (4, 16, 15), (5, 32, 31)])
def test_experts_grow_with_the_combinations(make_samples, modalities, experts, owned):
    method = method_of(make_samples(modalities=modalities))
    assert method.layers[0].experts.experts == experts
    assert (method.assigned >= 0).sum() == owned


def test_parameters_are_those_of_the_specification(make_samples):
    samples = make_samples(n=40, modalities=4)
    torch.manual_seed(0)
    method = FlexMoE(samples.schema, FlexMoEConfig(**FlexMoE.presets["as_released"]))
    encoders = sum(parameter.numel() for parameter in method.encoders.parameters())
    bank = method.bank.cells.numel()
    assert bank == 28 * 16 * 128 == 57_344
    assert sum(parameter.numel() for parameter in method.parameters()) - encoders - bank == 1_134_723
    idle = 12 * sum(parameter[0].numel() for parameter in method.layers[0].experts.parameters()) + 25 * 16 * 128
    assert method.active_parameters() == 1_134_723 + encoders + bank - idle


# ---- the bank


def test_complete_row_gives_no_bank_cell_a_gradient(make_samples):
    samples = samples_with(make_samples, ["ABG", "AB", "AG"])
    gradients = gradients_of(method_of(samples), as_batch(samples).rows(torch.arange(4)))
    assert gradients["bank.cells"] is None or not gradients["bank.cells"].any()


def test_row_trains_exactly_the_cells_of_what_it_lacks(make_samples):
    samples = samples_with(make_samples, ["ABG", "AB", "G"])
    method = method_of(samples)
    for first, combination in ((4, [True, True, False]), (8, [False, False, True])):
        gradient = gradients_of(method, as_batch(samples).rows(torch.arange(first, first + 4)))["bank.cells"]
        own = (combination_table(3) == combination).all(1).argmax()
        assert set(gradient.flatten(1).any(1).nonzero().flatten().tolist()) == set(method.bank.own[own][~np.array(combination)].tolist())


def test_modality_that_a_batch_lacks_gives_its_encoder_no_gradient(make_samples):
    samples = samples_with(make_samples, ["ABG", "AB", "A"])
    gradients = gradients_of(method_of(samples), as_batch(samples).rows(torch.arange(4, 12)))
    assert all(value is None or not value.any() for name, value in gradients.items() if name.startswith("encoders.2."))


def test_combination_unseen_in_training_takes_the_nearest_cells(make_samples):
    """The specification's example: training has AB, AG and BG; a row with A alone takes G of AB and B of AG."""
    method = method_of(samples_with(make_samples, ["AB", "AG", "BG"]))
    table = combination_table(3).tolist()
    ids = {"".join(letter for letter, seen in zip("ABG", row, strict=True) if seen): place for place, row in enumerate(table)}
    filled = method.bank(torch.tensor([ids["A"]]))[0]
    assert torch.equal(filled[2], method.bank.cells[method.bank.own[ids["AB"], 2]])
    assert torch.equal(filled[1], method.bank.cells[method.bank.own[ids["AG"], 1]])


def test_nearest_cells_that_tie_are_averaged(make_samples):
    method = method_of(samples_with(make_samples, ["ABG", "A", "B"]))  # a row with nothing is as near to A as to B
    filled = method.bank(torch.tensor([7]))[0]
    cells, own = method.bank.cells, method.bank.own
    assert_close(filled[2], (cells[own[4, 2]] + cells[own[5, 2]]) / 2)
    assert torch.equal(filled[0], cells[own[5, 0]])


def test_untrained_cells_are_never_read(make_samples):
    samples = samples_with(make_samples, ["AB", "AG", "BG"])
    method, batch = method_of(samples), as_batch(samples_with(make_samples, ["A", "B", "G", "AB", "ABG"], seed=1))
    expected = logits_of(method, batch)
    trained = set(method.bank.own[1:4][~combination_table(3)[1:4]].tolist())
    with torch.no_grad():
        method.bank.cells[[cell for cell in range(len(method.bank.cells)) if cell not in trained]] = torch.nan
    assert expected.isfinite().all()
    assert torch.equal(logits_of(method, batch), expected)


def test_released_bank_keeps_the_random_start_of_unseen_combinations(make_samples):
    method = method_of(samples_with(make_samples, ["AB", "AG", "BG"]), unseen="random")
    assert torch.equal(method.bank(torch.tensor([4]))[0, 1], method.bank.cells[method.bank.own[4, 1]])


def test_modality_never_missing_in_training_is_zeros_and_said(make_samples, caplog):
    with caplog.at_level(logging.WARNING):
        method = method_of(samples_with(make_samples, ["ABG", "AB"]))
    assert "no training row lacks alpha, beta" in caplog.text
    assert not method.bank(torch.tensor([6]))[0, :2].any()  # G alone
    assert method.bank(torch.tensor([5]))[0, 2].any()  # B alone lacks gamma, which AB lacks too


def test_modality_dropout_trains_the_cells_of_complete_data(make_samples, caplog):
    samples = samples_with(make_samples, ["ABG"], rows=24)
    with caplog.at_level(logging.WARNING):
        method = method_of(samples, modality_dropout="uniform_k", curriculum="none")
    assert not caplog.records
    assert sum(gradients_of(method, as_batch(samples))["bank.cells"].abs() for _ in range(5)).flatten(1).any(1).all()


@pytest.mark.parametrize("bank", ["shared", "zero"])
def test_smaller_banks_do_not_depend_on_the_combination(make_samples, bank):
    method = method_of(make_samples(n=40), bank=bank)
    filled = method.bank(torch.arange(8))  # (8, M, T, D)
    table = np.concatenate([combination_table(3), np.zeros((1, 3), dtype=bool)])
    for m in range(3):
        expected = method.bank.cells[m] if bank == "shared" else torch.zeros(2, 8)
        for place in np.flatnonzero(~table[:, m]):
            assert torch.equal(filled[place, m], expected)


def test_more_than_twelve_modalities_need_a_smaller_bank():
    schema = Schema(tuple(Modality(f"m{m}", chr(65 + m), "vector", (2,)) for m in range(13)), ("no", "yes"))
    with pytest.raises(ValueError, match="bank must be shared or zero for more than 12 modalities, got combination for 13"):
        FlexMoE(schema, config_of())
    assert len(FlexMoE(schema, config_of(bank="shared")).bank.cells) == 13


# ---- routing


def test_load_is_the_share_of_draws_that_keep_an_expert():
    torch.manual_seed(0)
    router = Router(config_of(kept=2, top1="forced"), 6)
    u, forced = torch.randn(3, 8), torch.tensor([-1, 2, 4])
    draws = 40_000
    with torch.no_grad():
        many = router(u.repeat(draws, 1), torch.zeros(3 * draws, dtype=torch.bool), forced.repeat(draws), torch.randn(3 * draws, 6))
        counted = torch.zeros_like(many.clean).scatter(1, many.experts, 1.0).view(draws, 3, 6).mean(0)
        assert_close(many.load.view(draws, 3, 6).mean(0), counted, rtol=0, atol=0.02)
    assert many.experts.view(draws, 3, 2)[:, 1:, 0].unique(dim=0).tolist() == [[2, 4]]


@pytest.mark.parametrize("norm", ["topk_softmax", "softmax_topk"])
@pytest.mark.parametrize("training", [True, False])
def test_forced_expert_comes_first_for_every_incomplete_row(make_samples, norm, training):
    samples = make_samples(n=20)
    method, batch = method_of(samples, top1="forced", gate_norm=norm).train(training), as_batch(samples)
    ids = method.ids(batch.observed)
    routing = method.fuse(slots_of(method, batch), ids)[1][0]
    first, gates = routing.experts[:, 0].view(3, 20, 2), routing.gates.sum(1)
    assert torch.equal(first[:, ids > 0], method.assigned[ids][ids > 0].view(1, -1, 1).expand(3, -1, 2))
    assert (routing.experts[:, 0] != routing.experts[:, 1]).all()
    if norm == "topk_softmax":
        assert_close(gates, torch.ones_like(gates), rtol=0, atol=1e-6)
    else:
        assert (gates <= 1 + 1e-6).all()
        assert (gates < 0.999).any()


@pytest.mark.parametrize("top1", ["loss", "forced"])
def test_assignment_acts_in_evaluation_only_where_it_is_forced(make_samples, top1):
    samples = make_samples(n=30)
    method, batch = method_of(samples, top1=top1), as_batch(samples)
    before = logits_of(method, batch)
    method.assigned[:-1] = method.assigned[:-1].roll(1)
    changed = (logits_of(method, batch) != before).any(1)
    complete = batch.observed.all(1)
    assert complete.any()
    assert not changed[complete].any()
    assert changed[~complete].all() if top1 == "forced" else not changed.any()


def test_complete_batch_has_the_balance_of_complete_rows_alone(make_samples):
    samples = samples_with(make_samples, ["ABG", "AB", "A"])
    method, batch = method_of(samples, curriculum="none").train(), as_batch(samples)
    terms = method(batch.rows(torch.arange(4))).penalties
    assert terms["specialise"] == terms["balance_incomplete"] == 0
    assert terms["balance_complete"] > 0
    terms = method(batch.rows(torch.arange(4, 12))).penalties
    assert terms["balance_complete"] == 0
    assert terms["specialise"] > 0
    assert terms["balance_incomplete"] > 0


def test_losses_are_those_of_the_formulas_slot_by_slot():
    torch.manual_seed(1)
    router, slots, rows = Router(config_of(), 8), 3, 7
    u, noise = torch.randn(slots * rows, 8), torch.randn(slots * rows, 8)
    own = torch.tensor([0, 0, 3, 5, -1, 2, 2])
    complete = own == 0
    routing = router(u, complete.repeat(slots), None, noise)
    found = routing_losses(routing, slots, complete, own, "top1")
    gates, load = routing.dense_gates.view(slots, rows, 8), routing.load.view(slots, rows, 8)

    def spread(values):
        return values.var() / (values.mean() ** 2 + 1e-10)

    for s in range(slots):
        full = [b for b in range(rows) if own[b] == 0]
        part = [b for b in range(rows) if own[b] != 0]
        assert_close(found[0][s], spread(gates[s, full].sum(0)) + spread(load[s, full].sum(0)))
        noisy = routing.noisy.view(slots, rows, 8)[s]
        assert_close(found[1][s], -torch.stack([noisy[b].log_softmax(0)[own[b]] for b in part if own[b] >= 0]).mean())
        kept_gates, kept_load = gates[s].clone(), load[s].clone()
        for b in part:
            best = gates[s, b].argmax()
            kept_gates[b, best] = kept_load[b, best] = 0
        assert_close(found[2][s], spread(kept_gates[part].sum(0)) + spread(kept_load[part].sum(0)))


def test_separate_routers_share_nothing(make_samples):
    samples = samples_with(make_samples, ["ABG", "AB"])
    method, batch = method_of(samples, routers="separate", curriculum="none"), as_batch(samples)
    for rows, own in ((torch.arange(4), 0), (torch.arange(4, 8), 1)):
        gradients = gradients_of(method, batch.rows(rows))
        for name in ("gate", "spread"):
            gradient = gradients[f"layers.0.router.{name}"]
            assert gradient[own].any()
            assert not gradient[1 - own].any()


def test_routing_weight_zero_leaves_the_noise_and_no_loss(make_samples):
    samples = make_samples(n=12)
    method = method_of(samples, routing_weight=0.0, curriculum="none").train()
    assert not method(as_batch(samples)).penalties
    assert gradients_of(method, as_batch(samples))["layers.0.router.spread"].any()


def specialisation(samples, weight):
    """Share of incomplete rows' tokens whose first expert is that of their combination, after a short training."""
    method = method_of(samples, routing_weight=weight, curriculum="none", n_experts=16, width=16, kept=4)
    batch, adam, order = as_batch(samples), torch.optim.Adam(method.parameters(), 1e-2), torch.Generator().manual_seed(0)
    for _ in range(25):
        for rows in torch.randperm(len(batch), generator=order).split(32):
            adam.zero_grad()
            loss_of(method.train(), batch.rows(rows)).backward()
            adam.step()
    with tracing(method) as tracer:
        logits_of(method, batch)
    table = tracer.table("routing")
    return method.specialisation(table["source"], table["experts"])


def test_routing_weight_decides_whether_rows_reach_their_expert(make_samples):
    samples = make_samples(n=320, modalities=4)
    assert specialisation(samples, 0.0) < 0.2
    assert specialisation(samples, 1.0) > 0.95


@pytest.mark.parametrize(("switches", "names"), [
    ({}, {"balance_complete", "specialise", "balance_incomplete"}),
    ({"specialise": False}, {"balance_complete"}),
    ({"specialise": False, "generalise": False}, set()),
    ({"generalise": False}, {"specialise", "balance_incomplete"}),
])  # fmt: skip
def test_ablations_of_the_paper_leave_out_their_losses(make_samples, switches, names):
    samples = make_samples(n=12)
    assert set(method_of(samples, curriculum="none", **switches).train()(as_batch(samples)).penalties) == names


# ---- layers


@pytest.mark.parametrize("skip", ["input", "attention"])
def test_input_passes_attention_only_where_it_is_skipped(skip):
    torch.manual_seed(0)
    layer = Layer(config_of(skip=skip), 3, 8).eval()
    torch.nn.init.zeros_(layer.attention.out.weight)
    complete = torch.ones(2, dtype=torch.bool)
    with torch.no_grad():
        one, other = (layer(x, complete)[0] for x in (torch.randn(2, 6, 8), torch.randn(2, 6, 8)))
    assert torch.equal(one, other) if skip == "attention" else not torch.isclose(one, other).any()


def test_start_of_gate_and_experts_is_that_of_fastmoe():
    torch.manual_seed(0)
    layer = Layer(config_of("as_released", width=64, heads=4), 3, 16)
    for weights, bound in (
        (layer.router.gate, 1 / 4), (layer.router.spread, 1 / 4),
        (layer.experts.weight1, (64 * 128) ** -0.5), (layer.experts.weight2, (64 * 128) ** -0.5),
    ):  # fmt: skip
        assert 0.99 * bound < weights.abs().max() <= bound
    assert not layer.experts.bias1.any()
    assert Layer(config_of(width=64, heads=4), 3, 16).experts.weight1.abs().max() > 0.99 / 8


def test_every_second_layer_is_dense(make_samples):
    method = method_of(make_samples(), layers=4)
    assert [hasattr(layer, "router") for layer in method.layers] == [True, False, True, False]


# ---- the whole method


@pytest.mark.parametrize("preset", FlexMoE.presets)
def test_rows_alone_score_as_in_a_batch(make_samples, preset):
    method, batch = method_of(make_samples(n=40), preset), as_batch(make_samples(n=200, seed=1))
    whole = logits_of(method, batch)
    alone = torch.cat([logits_of(method, batch.rows(torch.tensor([row]))) for row in range(200)])
    assert (whole - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("preset", FlexMoE.presets)
def test_hidden_cells_and_generator_never_reach_logits(make_samples, preset):
    method, batch = method_of(make_samples(n=40), preset), as_batch(make_samples(n=30, seed=1))
    expected = logits_of(method, batch)
    for hidden in (torch.nan, 1e6):
        inputs = {name: x.nan_to_num(hidden) for name, x in batch.inputs.items()}
        method.seed(int(hidden == 1e6))
        assert torch.equal(logits_of(method, replace(batch, inputs=inputs)), expected)


@pytest.mark.parametrize("changes", [
    {}, {"top1": "forced"}, {"kept": 7}, {"kept": 1, "top1": "forced"}, {"bank": "zero"}, {"exclude": "none"},
    {"curriculum": "none", "modality_dropout": "uniform_k"}, {"encoder": "patch"},
])  # fmt: skip
@pytest.mark.parametrize("patterns", [["ABG"], ["AB", "A", "G"], ["ABG", "AB", ""], ["A", "B", "G", "AB", "AG", "BG"]], ids="-".join)
def test_any_rows_train_and_score_finite(make_samples, patterns, changes):
    samples = samples_with(make_samples, patterns)
    method, batch = method_of(samples, **changes), as_batch(samples)
    for epoch in (0, 9):
        method.on_epoch(epoch, 10)
        for rows in (torch.arange(len(batch)), torch.tensor([0]), torch.tensor([len(batch) - 1])):
            gradients = gradients_of(method, batch.rows(rows))
            assert all(gradient is None or gradient.isfinite().all() for gradient in gradients.values())
    every = as_batch(samples_with(make_samples, ["", "A", "B", "G", "AB", "AG", "BG", "ABG"], rows=1))
    assert logits_of(method, every).isfinite().all()


def test_row_without_any_modality_scores_the_same_whoever_it_is(make_samples):
    method = method_of(make_samples(n=40))
    logits = logits_of(method, as_batch(samples_with(make_samples, [""], rows=5)))
    assert logits.isfinite().all()
    assert_close(logits, logits[:1].expand(5, -1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("modalities", "experts"), [(1, 8), (8, 64)])
def test_one_and_eight_modalities_work(modalities, experts):
    schema = Schema(tuple(Modality(f"m{m}", chr(65 + m), "vector", (3,)) for m in range(modalities)), ("a", "b", "c"))
    rng = np.random.default_rng(0)
    observed = rng.random((48, modalities)) < 0.6
    observed[:, 0] |= ~observed.any(1)
    values = {name: rng.normal(size=(48, 3)).astype(np.float32) for name in schema.names}
    samples = Samples(schema, values, observed, np.arange(48) % 3, np.array([f"r{i}" for i in range(48)])).sealed()
    method = method_of(samples)
    assert method.layers[0].experts.experts == experts
    assert len(method.bank.cells) == (1016 if modalities == 8 else 0)
    assert (method.assigned >= 0).sum() == (64 if modalities == 8 else 1)
    terms = method.train()(as_batch(samples)).penalties
    assert all(term.isfinite() for term in terms.values())
    assert logits_of(method, as_batch(samples)).isfinite().all()


def test_modality_no_training_row_observes_counts_as_missing(make_samples, caplog):
    with caplog.at_level(logging.WARNING):
        method = method_of(samples_with(make_samples, ["AB", "A"]))
    assert "no training row observes gamma" in caplog.text
    batch = as_batch(samples_with(make_samples, ["ABG"]))
    other = replace(batch, inputs={**batch.inputs, "gamma": batch.inputs["gamma"] + 7})
    assert torch.equal(logits_of(method, batch), logits_of(method, other))


# ---- the warm-up


def test_incomplete_rows_train_nothing_in_the_warm_up(make_samples):
    samples = samples_with(make_samples, ["ABG", "AB", "A"])
    method = method_of(samples)
    method.on_epoch(0, 10)
    gradients = gradients_of(method, as_batch(samples).rows(torch.arange(4, 12)))
    assert all(gradient is None or not gradient.any() for gradient in gradients.values())
    mixed = gradients_of(method, as_batch(samples))
    assert mixed["head.0.weight"].any()
    assert mixed["bank.cells"] is None or not mixed["bank.cells"].any()
    method.on_epoch(1, 10)
    assert gradients_of(method, as_batch(samples))["bank.cells"].any()


def test_warm_up_needs_a_batch_of_complete_rows(make_samples, caplog):
    method = method_of(samples_with(make_samples, ["ABG", "AB"], rows=3))
    with caplog.at_level(logging.INFO):
        method.on_epoch(0, 10)
    assert not method.is_warming
    assert "of which there are 3" in caplog.text
    assert method.is_selectable


# ---- settings and traces


@pytest.mark.parametrize(("changes", "reason"), [
    ({"kept": 8}, "kept must be less than n_experts, got 8 and 8"), ({"heads": 3}, "width must be a multiple of heads, got 8 and 3"),
    ({"exclude": "own"}, "exclude must be one of top1, full_expert, none, got 'own'"),
    ({"head_layers": 3}, "head_layers must be 1 or 2, got 3"),
    ({"routing_weight": -1.0}, "routing_weight must be at least 0"), ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
])  # fmt: skip
def test_wrong_settings_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        config_of(**changes)


def test_traces_say_where_every_token_went(make_samples):
    samples = make_samples(n=10)
    method, batch = method_of(samples, layers=3), as_batch(samples)
    with tracing(method) as tracer:
        logits_of(method, batch)
    table = tracer.table("routing")
    assert len(table["sample"]) == 2 * 3 * 10 * 2  # sparse layers, modalities, rows, tokens
    assert sorted(set(table["layer"].tolist())) == [0, 2]
    for row in (0, 31, 77):
        sample, modality = table["sample"][row], table["modality"][row]
        assert np.array_equal(table["source"][row], batch.observed[sample].numpy())
        assert table["filled"][row] == (not batch.observed[sample, modality])
    routing = method.fuse(slots_of(method, batch), method.ids(batch.observed))[1]
    assert np.array_equal(table["experts"], torch.cat([routing[0].experts, routing[2].experts]).numpy())
    embeddings = tracer.table("embeddings")
    assert not embeddings["before"][~embeddings["observed"]].any()
    assert embeddings["after"][~embeddings["observed"]].any(1).all()


def test_an_empty_group_is_balanced():
    gates = torch.rand(2, 5, 4, requires_grad=True)
    found = balance(gates, gates, torch.zeros(5, dtype=torch.bool))
    assert not found.any()
    found.sum().backward()
    assert not gates.grad.any()

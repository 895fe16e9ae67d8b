"""SimMLM against its formulas, the stored outputs of the released code, and known answers."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from bench.datasets.base import Modality, Samples, Schema, as_batch
from bench.methods.simmlm import NestedPairs, SimMLM, SimMLMConfig, mixture, ranking
from bench.methods.tracing import tracing

SMALL = {"width": 8, "gate_width": 4, "epochs": 10}
TIGHT = {"rtol": 1e-6, "atol": 1e-6}


def method_of(samples, preset="paper", seed=0, **changes):
    torch.manual_seed(seed)
    method = SimMLM(samples.schema, SimMLMConfig(**{**SMALL, **SimMLM.presets[preset], **changes}))
    method.seed(seed)
    method.prepare(samples)
    return method


def empty_row(samples):
    """The samples, of which the first row observes nothing."""
    return samples.hide(np.arange(len(samples))[:, None] < np.array([[1] * len(samples.schema)]))


def logits_of(method, batch):
    method.eval()
    with torch.no_grad():
        method.on_evaluate()
        return method(batch).logits


def loss_of(method, batch):
    prediction = method(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


# ---- the released code's numbers


def test_mixture_equals_released_code(parity, make_samples):
    arrays = parity("simmlm_parts", "mixture")
    logits, weights = mixture(arrays["gate_logits"], arrays["expert_logits"], arrays["observed"])
    assert_close(weights, arrays["weights"], **TIGHT)
    assert_close(logits, arrays["logits"], **TIGHT)
    poisoned = torch.where(arrays["observed"].unsqueeze(2), arrays["expert_logits"], torch.nan)
    assert torch.equal(mixture(arrays["gate_logits"], poisoned, arrays["observed"])[0], logits)


def test_gate_reads_scores_modality_by_modality_as_the_released_code(parity, make_samples):
    arrays = parity("simmlm_parts", "mixture")
    method = method_of(make_samples(modalities=4), gate="class", gate_width=63)  # 4 * (63 + 1) = 256 inputs, as stored
    with torch.no_grad():
        method.gate.weight.copy_(arrays["gate_W"])
        method.gate.bias.copy_(arrays["gate_b"])
        assert_close(method.scores(arrays["gate_input"]), arrays["gate_logits"], **TIGHT)


def test_ranking_loss_equals_released_code(parity):
    arrays = parity("simmlm_parts", "loss")
    found = ranking(arrays["bce_more"], arrays["bce_fewer"]) + ranking(arrays["dice_more"], arrays["dice_fewer"])
    assert_close(found, arrays["released/ranking_loss"], **TIGHT)
    assert_close(0.1 * found + arrays["released/seg_loss"], arrays["released/task_loss"], **TIGHT)
    rows = [sum(arrays[f"{name}_{view}"].mean(1) for name in ("bce", "dice")) for view in ("more", "fewer")]
    assert ranking(*rows).item() == pytest.approx(0.4671, abs=1e-4)  # the suite's own, per row


def test_ranking_gradient_reaches_both_views_as_in_the_released_code(parity):
    arrays = parity("simmlm_parts", "loss")
    more, fewer = (arrays[f"logits_{view}"].clone().requires_grad_() for view in ("more", "fewer"))
    target = arrays["target"].float()

    def losses(logits):
        p = logits.sigmoid()
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none"), 1 - (2 * p * target + 1e-5) / (p + target + 1e-5)

    of_more, of_fewer = losses(more), losses(fewer)
    assert_close(of_more[0], arrays["bce_more"], rtol=1e-5, atol=1e-5)
    (0.1 * ranking(of_more[0], of_fewer[0])).backward(retain_graph=True)
    assert more.grad.any()
    assert fewer.grad.any()
    difference = arrays["released/grad"] - arrays["task_only/grad"]
    assert (difference[:6] != 0).any()
    assert (difference[6:] != 0).any()
    if torch.allclose(of_more[1], arrays["dice_more"], atol=1e-4):
        (0.1 * ranking(of_more[1], of_fewer[1])).backward()
        assert_close(torch.cat([more.grad, fewer.grad]), difference, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_nested_pairs_have_the_released_codes_distribution(parity, modalities):
    arrays, draws = parity("simmlm_parts", f"pairs/M{modalities}"), 100_000
    generator = torch.Generator().manual_seed(0)
    more, fewer = NestedPairs(modalities)(torch.ones(draws, modalities, dtype=torch.bool), generator)
    for a, b, p in zip(arrays["more"], arrays["fewer"], arrays["probability"].tolist(), strict=True):
        found = ((more == a).all(1) & (fewer == b).all(1)).double().mean().item()
        assert abs(found - p) < 4 * (p * (1 - p) / draws) ** 0.5
    assert arrays["probability"].sum() == pytest.approx(1)


# ---- nested pairs


def test_views_are_nested_inside_what_is_observed():
    observed = torch.rand(4000, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    pairs = NestedPairs(5)
    more, fewer = pairs(observed, torch.Generator().manual_seed(2))
    count = observed.sum(1)
    assert not (fewer & ~more).any()
    assert not (more & ~observed).any()
    assert torch.equal((fewer.sum(1) < more.sum(1)), count >= 2)
    assert torch.equal(fewer.sum(1) == 0, count == 0)
    again = pairs(observed, torch.Generator().manual_seed(2))
    assert torch.equal(more, again[0])
    assert torch.equal(fewer, again[1])
    few = count < 2
    assert torch.equal(more[few], observed[few])


# ---- weights


@pytest.mark.parametrize("gate", ["modality", "class", "none"])
def test_weights_sum_to_one_over_what_is_present(make_samples, gate):
    samples = make_samples(n=40)
    method, batch = method_of(samples, gate=gate).eval(), as_batch(samples)
    logits, weights = method.mix(method.votes(batch), method.gate_features(batch), batch.observed)
    assert (weights >= 0).all()
    assert not weights[~batch.observed].any()
    assert_close(weights.sum(1), torch.ones_like(weights.sum(1)), rtol=0, atol=1e-6)
    alone = batch.observed.sum(1) == 1
    assert alone.any()
    assert torch.equal(logits[alone], method.votes(batch)[batch.observed & alone.unsqueeze(1)])


def test_without_a_gate_logits_are_the_mean_of_the_experts(make_samples):
    samples = make_samples(n=10, missing=0.0)
    method, batch = method_of(samples, "mean"), as_batch(samples)
    assert_close(logits_of(method, batch), method.votes(batch).mean(1).detach())


def test_equal_class_columns_are_a_weight_for_each_modality(make_samples):
    samples = make_samples(n=20)
    one, other = method_of(samples), method_of(samples, gate="class")
    state = one.state_dict()
    state["gate.weight"], state["gate.bias"] = (state[f"gate.{name}"].repeat_interleave(3, 0) for name in ("weight", "bias"))
    other.load_state_dict(state)
    assert_close(logits_of(one, as_batch(samples)), logits_of(other, as_batch(samples)), **TIGHT)


def test_probabilities_are_mixed_at_their_level(make_samples):
    samples = make_samples(n=20)
    method, batch = method_of(empty_row(samples), level="probability").eval(), as_batch(empty_row(samples))
    with torch.no_grad():
        votes = method.votes(batch)
        logits, weights = method.mix(votes, method.gate_features(batch), batch.observed)
    assert_close(logits[1:].exp(), (weights * votes.softmax(2)).sum(1)[1:], **TIGHT)
    assert not logits[0].any()
    loss_of(method.train(), batch).backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


# ---- hidden cells, single rows, empty rows


@pytest.mark.parametrize("preset", SimMLM.presets)
def test_absent_inputs_never_reach_logits(make_samples, preset):
    samples = empty_row(make_samples(n=30))
    method, batch = method_of(samples, preset), as_batch(samples)
    expected = logits_of(method, batch)
    for hidden in (torch.nan, 1e6):
        assert torch.equal(
            logits_of(method, replace(batch, inputs={name: x.nan_to_num(hidden) for name, x in batch.inputs.items()})), expected
        )


def test_rows_alone_score_as_among_a_thousand(make_samples):
    samples = make_samples(n=1000)
    method, batch = method_of(samples), as_batch(samples)
    whole = logits_of(method, batch)
    for row in (0, 7, 999):
        assert_close(logits_of(method, batch.rows(torch.tensor([row]))), whole[[row]], **TIGHT)


@pytest.mark.parametrize("preset", SimMLM.presets)
def test_row_without_anything_has_equal_scores_and_no_gradient(make_samples, preset):
    samples = empty_row(make_samples(n=6))
    method, batch = method_of(samples, preset), as_batch(samples)
    assert not logits_of(method, batch)[0].any()
    for epoch in (0, 9):
        method.train().on_epoch(epoch, 10)
        method.zero_grad()
        loss_of(method, batch.rows(torch.tensor([0]))).backward()
        assert all(p.grad is None or not p.grad.any() for p in method.parameters())


# ---- losses


def test_without_weight_there_is_no_ranking_loss(make_samples):
    samples = make_samples(n=8)
    assert set(method_of(samples, "dmome").train()(as_batch(samples)).penalties) == {"fewer"}
    assert set(method_of(samples).train()(as_batch(samples)).penalties) == {"fewer", "mofe"}


def test_swapped_views_differ_by_the_mean_difference():
    more, fewer = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    assert_close(ranking(more, fewer) - ranking(fewer, more), (more - fewer).mean())


def test_ranking_pushes_more_down_and_fewer_up_where_more_loses():
    more, fewer = torch.tensor([0.2, 0.9, 0.5], requires_grad=True), torch.tensor([0.7, 0.1, 0.4], requires_grad=True)
    ranking(more, fewer).backward()
    assert_close(more.grad, torch.tensor([0.0, 1 / 3, 1 / 3]))
    assert_close(fewer.grad, -more.grad)


def test_second_stage_is_the_sum_of_both_views_and_their_ranking(make_samples):
    samples = make_samples(n=30)
    method, batch = method_of(samples, mofe=0.3).train(), as_batch(samples)
    prediction = method(batch)
    method.seed(0)
    more, fewer = method.pairs(batch.observed, method.generator)
    votes, features = method.votes(batch), method.gate_features(batch)
    losses = [F.cross_entropy(method.mix(votes, features, view)[0], batch.target, reduction="none") for view in (more, fewer)]
    assert_close(F.cross_entropy(prediction.logits, batch.target), losses[0].mean())
    assert_close(prediction.penalties["fewer"], losses[1].mean())
    assert_close(prediction.penalties["mofe"], 0.3 * (losses[0] - losses[1]).clamp(min=0).mean())


# ---- stages


def gradients_of(method, batch):
    method.zero_grad()
    loss_of(method.train(), batch).backward()
    return {name: parameter.grad for name, parameter in method.named_parameters()}


def test_first_stage_trains_each_expert_alone(make_samples):
    samples = make_samples(n=30)
    method, batch = method_of(samples), as_batch(samples)
    method.on_epoch(0, 10)
    before = gradients_of(method, batch)
    assert all(gradient is None or not gradient.any() for name, gradient in before.items() if name.startswith("gate"))
    other = gradients_of(method, replace(batch, inputs={**batch.inputs, "beta": batch.inputs["beta"] * 3 - 1}))
    for name, gradient in before.items():
        if name.startswith(("encode.0", "encode.2", "experts.0", "experts.2")):
            assert_close(other[name], gradient, rtol=0, atol=1e-7)
            assert gradient.any()
    assert not torch.equal(other["experts.1.weight"], before["experts.1.weight"])


def test_first_stage_is_the_sum_of_the_experts_own_losses(make_samples):
    samples = make_samples(n=30)
    method, batch = method_of(samples).train(), as_batch(samples)
    method.on_epoch(0, 10)
    prediction = method(batch)
    assert not prediction.logits.requires_grad
    votes, own = method.votes(batch), batch.observed
    expected = sum(F.cross_entropy(votes[own[:, m], m], batch.target[own[:, m]]) for m in range(3))
    assert_close(prediction.penalties["experts"], expected)


@pytest.mark.parametrize(("share", "epochs", "first"), [(0.5, 10, 5), (0.625, 8, 5), (0.0, 3, 0), (0.5, 1, 0)])
def test_stages_change_where_the_share_says(make_samples, share, epochs, first):
    method = method_of(make_samples(), expert_share=share)
    for epoch in range(epochs):
        method.on_epoch(epoch, epochs)
        assert method.is_selectable == (epoch >= first)


def test_inputs_are_encoded_once_a_step(make_samples, monkeypatch):
    samples, calls = make_samples(n=12), []
    method = method_of(samples).train()
    for name in ("encode", "gate_encode"):
        module = getattr(method, name)
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    method(as_batch(samples))
    assert sorted(calls) == ["encode", "gate_encode"]


def test_a_training_step_costs_little_more_than_a_prediction(make_samples):
    samples = make_samples(n=12, features=64)
    method, batch = method_of(samples, width=128, gate_width=32), as_batch(samples)
    flops = []
    for training in (True, False):
        with FlopCounterMode(display=False) as counter:
            method.train(training)(batch)
        flops.append(counter.get_total_flops())
    assert flops[0] < 1.1 * flops[1]


def test_one_modality_trains_without_a_ranking(make_samples):
    samples = make_samples(n=12, modalities=1)
    method, batch = method_of(samples).train(), as_batch(samples)
    prediction = method(batch)
    assert_close(prediction.penalties["fewer"], F.cross_entropy(prediction.logits, batch.target))
    assert prediction.penalties["mofe"] == 0
    assert_close(logits_of(method, batch), method.votes(batch)[:, 0].detach())


# ---- modalities


@pytest.mark.parametrize("seen_only", [True, False])
def test_modality_never_seen_has_a_say_only_as_released(make_samples, seen_only, caplog):
    samples = make_samples(n=20, missing=0.0)
    hidden = np.zeros((20, 3), dtype=bool)
    hidden[:, 2] = True
    with caplog.at_level(logging.WARNING):
        method = method_of(samples.hide(hidden), seen_only=seen_only)
    assert ("no training row observes gamma" in caplog.text) == seen_only
    batch = as_batch(samples)
    other = replace(batch, inputs={**batch.inputs, "gamma": batch.inputs["gamma"] + 5})
    assert torch.equal(logits_of(method, batch), logits_of(method, other)) == seen_only


@pytest.mark.parametrize("order", list(permutations(range(3)))[1:], ids=str)
def test_order_of_modalities_changes_nothing(make_samples, order):
    samples = make_samples(n=20)
    schema = Schema(tuple(samples.schema.modalities[m] for m in order), samples.schema.classes)
    other = replace(
        samples, schema=schema, values={name: samples.values[name] for name in schema.names}, observed=samples.observed[:, order]
    )
    method, turned = method_of(samples), method_of(other)
    state, size = dict(method.state_dict()), method.config.gate_width
    for place, m in enumerate(order):
        for part in ("encode", "gate_encode", "experts"):
            own = {name: value for name, value in method.state_dict().items() if name.startswith(f"{part}.{m}.")}
            state |= {name.replace(f"{part}.{m}.", f"{part}.{place}.", 1): value for name, value in own.items()}
    features = method.gate.weight[:, : 3 * size].unflatten(1, (3, size))[:, order].flatten(1)
    weight = torch.cat([features, method.gate.weight[:, 3 * size :][:, order]], 1)
    state |= {"gate.weight": weight[list(order)], "gate.bias": method.gate.bias[list(order)]}
    turned.load_state_dict(state)
    assert_close(logits_of(turned, as_batch(other)), logits_of(method, as_batch(samples)), rtol=0, atol=1e-6)


# ---- known answers


def noise_beside_signal(rows, seed):
    """A has 12 normal features, 1.5 more in the one of the class; B is pure noise."""
    rng = np.random.default_rng(seed)
    schema = Schema((Modality("a", "A", "vector", (12,)), Modality("b", "B", "vector", (12,))), ("0", "1", "2"))
    target = rng.integers(0, 3, rows)
    a, b = rng.normal(size=(2, rows, 12)).astype(np.float32)
    a[np.arange(rows), target] += 1.5
    return Samples(schema, {"a": a, "b": b}, np.ones((rows, 2), dtype=bool), target, np.arange(rows).astype(str))


@pytest.mark.parametrize(("preset", "most"), [("paper", 0.35), ("as_released", 0.35), ("mean", 0.5)])
def test_noise_gets_little_weight_and_costs_little(preset, most):
    train, test = noise_beside_signal(2000, 0), as_batch(noise_beside_signal(2000, 1))
    method, batch = method_of(train, preset, width=32, gate_width=16), as_batch(train)
    adam, order = torch.optim.Adam(method.parameters(), 1e-3, fused=True), torch.Generator().manual_seed(0)
    for epoch in range(30):
        method.train().on_epoch(epoch, 30)
        for rows in torch.randperm(2000, generator=order).split(32):
            adam.zero_grad()
            loss_of(method, batch.rows(rows)).backward()
            adam.step()
    with tracing(method) as tracer:
        both = logits_of(method, test)
    weight = tracer.table("routing")["gates"][:, 1].mean()
    assert weight == pytest.approx(most) if preset == "mean" else weight < most
    alone = logits_of(method, replace(test, observed=torch.tensor([[True, False]]).expand(2000, 2)))
    right, right_alone = ((logits.argmax(1) == test.target).double().mean().item() for logits in (both, alone))
    assert right >= right_alone - 0.02
    assert right > 0.7


def test_digits_are_learned():
    from bench.inspection.profile import trials_of
    from bench.training.trial import run_trial

    (trial,) = trials_of(["simmlm[width=64]"], "digits", noise=0.3, training={"epochs": 12, "batch_size": 64, "learning_rate": 3e-3})
    record, _ = run_trial(replace(trial, evaluations=("fixed(NEWS)",)))
    assert record.facts.evaluations["fixed(NEWS)"].metrics["accuracy"] >= 0.93


# ---- settings and traces


@pytest.mark.parametrize(("changes", "reason"), [
    ({"gate": "soft"}, "gate must be one of modality, class, none, got 'soft'"), ({"mofe": -0.1}, "mofe must not be negative"),
    ({"expert_share": 1.0}, r"expert_share in \[0, 1\), got 0.1 and 1.0"),
    ({"tokens": 0}, "tokens, width and gate_width must be at least 1"),
])  # fmt: skip
def test_wrong_settings_are_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        SimMLMConfig(**changes)


@pytest.mark.parametrize("preset", SimMLM.presets)
def test_traced_gates_are_the_weights_of_each_row(make_samples, preset):
    samples = make_samples(n=12)
    method, batch = method_of(samples, preset), as_batch(samples)
    with tracing(method) as tracer:
        logits_of(method, batch)
    table = tracer.table("routing")
    assert np.array_equal(table["source"], batch.observed.numpy())
    assert not table["gates"][~batch.observed.numpy()].any()
    np.testing.assert_allclose(table["gates"].sum(1), 1, atol=1e-6)
    assert table["experts"].tolist() == [[0, 1, 2]] * 12

"""I2M2 against its formulas, worlds whose answer is known, and the stored outputs of the released code."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F

from bench import registry
from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.datasets.gaussian import GaussianClasses
from bench.methods.i2m2 import I2M2, Classifier, I2M2Config, mixture
from bench.methods.tracing import tracing
from bench.names import parse_choice

FILE = "i2m2_parts"
EXACT = {"rtol": 1e-5, "atol": 1e-5}
PRODUCTS = ("paper", "scratch", "as_released")  # presets that are the released product on complete rows


def schema_of(modalities, features=5, classes=3):
    names = ["alpha", "beta", "gamma", "delta", "epsilon"][:modalities]
    return Schema(tuple(Modality(name, name[0].upper(), "vector", (features,)) for name in names), tuple(map(str, range(classes))))


def build(modalities=3, preset="paper", classes=3, features=5, seed=0, **options):
    torch.manual_seed(seed)
    config = I2M2Config(**{"width": 16, "hidden": 16, **I2M2.presets[preset], **options})
    method = I2M2(schema_of(modalities, features, classes), config)
    method.seed(0)
    method.log_prior.copy_(torch.randn(classes).log_softmax(0))
    return method


def observing(batch, observed):
    """The same batch with other cells observed, sealed; values that were sealed become noise where they are wanted."""
    generator = torch.Generator().manual_seed(7)
    filled = {name: torch.where(x.isnan(), torch.randn(x.shape, generator=generator), x) for name, x in batch.inputs.items()}
    inputs = {name: torch.where(observed[:, [m]], x, torch.nan) for m, (name, x) in enumerate(filled.items())}
    return replace(batch, inputs=inputs, observed=observed)


def world(n, draw, modalities, seed=0, missing=0.0):
    """Samples of one value a modality: `draw(rng, n)` gives values (n, M) and targets (n,)."""
    rng = np.random.default_rng(seed)
    values, target = draw(rng, n)
    keys = rng.random((n, modalities))
    observed = (keys >= missing) | (keys == keys.max(1, keepdims=True))
    schema = schema_of(modalities, 1, 2)
    arrays = {name: values[:, [m]].astype(np.float32) for m, name in enumerate(schema.names)}
    return Samples(schema, arrays, observed, target.astype(np.int64), np.arange(n).astype(str)).sealed()


def trained(method, samples, epochs=8, batch_size=128, learning_rate=1e-2):
    """The suite's loop in small."""
    method.prepare(samples)
    batch, optimiser = as_batch(samples), torch.optim.Adam(method.parameters(), learning_rate, weight_decay=method.config.weight_decay)
    shuffle = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        method.train()
        method.on_epoch(epoch, epochs)
        for rows in torch.randperm(len(batch), generator=shuffle).split(batch_size):
            prediction = method(batch.rows(rows))
            optimiser.zero_grad()
            (F.cross_entropy(prediction.logits, batch.target[rows]) + sum(prediction.penalties.values())).backward()
            optimiser.step()
    return method.eval()


# ---- the released code


class Given(nn.Module):
    """Stands in for encoders: features handed over from outside, padded to one width."""

    def __init__(self, width, modules=()):
        super().__init__()
        self.width, self.parts = width, nn.ModuleList(modules)

    def forward(self, batch):
        features = [part(x) for part, x in zip(self.parts, batch.inputs.values(), strict=True)] if self.parts else self.features
        return torch.stack([F.pad(x, (0, self.width - x.shape[1])) for x in features], dim=1).unsqueeze(2)  # (B, M, 1, D)


class First(nn.Module):
    """A released classifier on the columns that are not padding."""

    def __init__(self, layers, columns):
        super().__init__()
        self.layers, self.columns = layers, columns

    def forward(self, x):
        return self.layers(x[:, self.columns])


def two_layers(arrays, prefix):
    """Linear, LayerNorm, GELU, linear: the released VQA head."""
    inner, outer = arrays[f"{prefix}/W1"], arrays[f"{prefix}/W2"]
    layers = nn.Sequential(
        nn.Linear(inner.shape[1], len(inner)), nn.LayerNorm(len(inner)), nn.GELU(), nn.Linear(outer.shape[1], len(outer))
    )
    layers.load_state_dict({
        "0.weight": inner, "0.bias": arrays[f"{prefix}/b1"], "1.weight": arrays[f"{prefix}/LN_weight"],
        "1.bias": arrays[f"{prefix}/LN_bias"], "3.weight": outer, "3.bias": arrays[f"{prefix}/b2"],
    })  # fmt: skip
    return layers


def with_released_heads(arrays, preset):
    """A method of two modalities whose classifiers are the released ones, and its batch."""
    features = [arrays["x_0"].clone().requires_grad_(), arrays["x_1"].clone().requires_grad_()]
    has_joint, width = "x_joint" in arrays, max(x.shape[1] for x in features)
    classes = len(arrays["part_0/b2"])
    method = build(2, preset, classes=classes, width=width)
    method.log_prior.zero_()
    method.unimodal_encoders = Given(width)
    method.unimodal_encoders.features = features
    for m in range(2):
        method.heads[m] = First(two_layers(arrays, f"part_{m}"), list(range(features[m].shape[1])))
    if has_joint:
        joint = arrays["x_joint"].clone().requires_grad_()
        half = joint.shape[1] // 2
        method.joint_encoders = Given(half)
        method.joint_encoders.features = [joint[:, :half], joint[:, half:]]
        method.joint_head = First(two_layers(arrays, "part_joint"), list(range(2 * half)))
        method.null = None if method.null is None else nn.Parameter(torch.zeros(2, half))
        features.append(joint)
    rows = len(arrays["y"])
    batch = Batch(
        {"alpha": torch.zeros(rows, 5), "beta": torch.zeros(rows, 5)},
        torch.ones(rows, 2, dtype=torch.bool),
        arrays["y"],
        torch.arange(rows),
    )
    return method, batch, features


@pytest.mark.parametrize(
    ("case", "preset"),
    [*product(("head_K3", "head_K10", "head_pair_K2"), PRODUCTS), ("head_intra_K3", "intra"), ("head_intra_K10", "intra")],
)  # fmt: skip
def test_combination_and_its_gradients_equal_released_code(parity, case, preset):
    arrays = parity(FILE, case)
    method, batch, features = with_released_heads(arrays, preset)
    logits = method.train()(batch).logits
    torch.testing.assert_close(logits.log_softmax(1), arrays["out"], **EXACT)
    loss = F.cross_entropy(logits, batch.target)
    torch.testing.assert_close(loss, arrays["ce"], **EXACT)
    loss.backward()
    parts = {"0": method.heads[0], "1": method.heads[1], **({"joint": method.joint_head} if len(features) == 3 else {})}
    for x, (name, part) in zip(features, parts.items(), strict=True):
        torch.testing.assert_close(x.grad, arrays[f"grad_x_{name}"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(part.layers[3].bias.grad, arrays[f"grad_b2_{name}"], rtol=1e-4, atol=1e-6)


class Perceptron(nn.Module):
    """The released MLP."""

    def __init__(self, arrays, prefix):
        super().__init__()
        self.fc, self.fc2 = (nn.Linear(*arrays[f"{prefix}.{name}.weight"].shape[::-1]) for name in ("fc", "fc2"))

    def forward(self, x):
        return self.fc2(F.relu(self.fc(x)))


class Recurrent(nn.Module):
    """The released GRU, all of its steps side by side, each through a linear layer if it has one."""

    def __init__(self, arrays, prefix):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.linear = nn.Linear(4, 3) if f"{prefix}.linear.weight" in arrays else nn.Identity()

    def forward(self, x):
        return self.linear(self.gru(x)[0]).flatten(1)


def released_mimic(parity, preset="scratch"):
    """The whole small model of the released MIMIC program, and its modules by their released names."""
    arrays = parity(FILE, "mimic/before")
    torch.manual_seed(0)
    schema = Schema((Modality("static", "S", "vector", (5,)), Modality("series", "T", "sequence", (4, 3))), ("0", "1", "2"))
    method = I2M2(schema, I2M2Config(**I2M2.presets[preset]))
    modules = {
        "uni0/0": Perceptron(arrays, "uni0/0"), "uni1/0": Recurrent(arrays, "uni1/0"), "uni0/1": Perceptron(arrays, "uni0/1"),
        "uni1/1": Perceptron(arrays, "uni1/1"),
    }  # fmt: skip
    method.unimodal_encoders = Given(12, [modules["uni0/0"], modules["uni1/0"]])
    for m, columns in enumerate((range(6), range(12))):
        method.heads[m] = First(modules[f"uni{m}/1"], list(columns))
    if method.joint_head is not None:
        modules |= {"joint/encoders.0": Perceptron(arrays, "joint/encoders.0"), "joint/encoders.1": Recurrent(arrays, "joint/encoders.1")}
        modules["joint/head"] = Perceptron(arrays, "joint/head")
        method.joint_encoders = Given(16, [modules["joint/encoders.0"], modules["joint/encoders.1"]])
        method.joint_head = First(modules["joint/head"], [*range(6), *range(16, 32)])
        method.null = None if method.null is None else nn.Parameter(torch.zeros(2, 16))
    for name, module in modules.items():
        module.load_state_dict({key: arrays[f"{name}.{key}"] for key in module.state_dict()})
    arrays, whole = parity(FILE, "mimic"), torch.ones(6, 2, dtype=torch.bool)
    batches = [
        Batch({"static": arrays[f"x0_{i}"], "series": arrays[f"x1_{i}"]}, whole, arrays[f"y_{i}"], torch.arange(6)) for i in range(4)
    ]  # fmt: skip
    return method, modules, batches, arrays


@pytest.mark.parametrize("preset", PRODUCTS)
def test_whole_model_equals_released_code(parity, preset):
    method, _, batches, arrays = released_mimic(parity, preset)
    for i, batch in enumerate(batches):
        with tracing(method.eval()) as tracer:
            logits = method(batch).logits
        torch.testing.assert_close(logits.log_softmax(1), arrays["out"][i], **EXACT)
        for place, name in enumerate(("0", "1", "joint")):
            torch.testing.assert_close(torch.from_numpy(tracer.table("terms")["logits"][:, place]), arrays[f"logits_{name}"][i], **EXACT)


@pytest.mark.parametrize("preset", PRODUCTS)
def test_epoch_of_training_equals_released_code(parity, preset):
    method, modules, batches, arrays = released_mimic(parity, preset)
    method.on_epoch(29, 30)  # all together
    rate, decay, clip = arrays["sgd"].tolist()
    optimiser = torch.optim.SGD(method.train().parameters(), rate, weight_decay=decay)
    for i, batch in enumerate(batches[:3]):
        loss = F.cross_entropy(method(batch).logits, batch.target)
        torch.testing.assert_close(loss, arrays["train_losses"][i].float(), **EXACT)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(method.parameters(), clip)
        optimiser.step()
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, arrays[f"after/{name}.{key}"], rtol=0, atol=1e-6)


def test_released_test_of_the_intra_baseline_is_a_mixture(parity):
    method, _, batches, arrays = released_mimic(parity, "intra_released")
    for i, batch in enumerate(batches):
        torch.testing.assert_close(method.eval()(batch).logits, arrays["intra_test_out_released"][i], **EXACT)


# ---- the formulas


def test_sum_of_logits_is_the_normalised_product_of_probabilities():
    for seed in range(100):
        logits = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(seed)) * 3
        product = logits.log_softmax(2).sum(1)
        torch.testing.assert_close(logits.sum(1).log_softmax(1), product - product.logsumexp(1, keepdim=True), **EXACT)


def parts_by_hand(method, batch, b, null=True):
    """Logits of the terms of row b, each from its own modules: (M, K) with zeros where missing, and the joint one (K,)."""
    own, states = [], []
    for m, name in enumerate(method.schema.names):
        x = batch.inputs[name][b : b + 1]
        if batch.observed[b, m]:
            own.append(method.heads[m](method.unimodal_encoders[m](x).mean(1))[0])
            states.append(method.joint_encoders[m](x).mean(1)[0])
        else:
            own.append(torch.zeros(3))
            states.append(method.null[m] if null else torch.zeros(16))
    return torch.stack(own), method.joint_head(torch.cat(states).unsqueeze(0))[0]


def test_marginal_follows_the_formula_row_by_row(make_batch):
    method, batch = build().eval(), make_batch(n=9, missing=0.4)
    method.null.data.normal_()
    logits = method(batch).logits
    for b in range(len(batch)):
        own, joint = parts_by_hand(method, batch, b)
        expected = (1 - batch.observed[b].sum()) * method.log_prior + own.sum(0) + joint
        torch.testing.assert_close(logits[b], expected, **EXACT)


def test_complete_only_keeps_the_joint_term_for_complete_rows(make_batch):
    method, batch = build(preset="complete_only").eval(), make_batch(n=12, missing=0.3)
    logits = method(batch).logits
    for b in range(len(batch)):
        own, joint = parts_by_hand(method, batch, b, null=False)
        expected = (1 - batch.observed[b].sum()) * method.log_prior + own.sum(0) + (joint if batch.observed[b].all() else 0)
        torch.testing.assert_close(logits[b], expected, **EXACT)
    for parameter in method.joint_head.parameters():
        parameter.data.zero_()
    changed = (method(batch).logits != logits).any(1)
    assert torch.equal(changed, batch.observed.all(1))


def test_without_prior_differs_by_the_prior_alone(make_batch):
    batch = make_batch(n=12, missing=0.4)
    given, without = build().eval()(batch).logits, build(preset="no_prior").eval()(batch).logits
    torch.testing.assert_close(given - without, (1 - batch.observed.sum(1, keepdim=True)) * build().log_prior, **EXACT)


@pytest.mark.parametrize("preset", [preset for preset in I2M2.presets if "zero" not in I2M2.presets[preset].values()])
def test_row_without_modalities_gets_the_prior(make_batch, preset):
    method, batch = build(preset=preset), make_batch(n=4)
    empty = observing(batch, torch.zeros_like(batch.observed))
    for epoch in (0, 29):
        method.on_epoch(epoch, 30)
        for mode in (True, False):
            prediction = method.train(mode)(empty)
            torch.testing.assert_close(prediction.logits.log_softmax(1), method.log_prior.expand(4, -1), rtol=0, atol=1e-6)
        loss = F.cross_entropy(method.train()(empty).logits, batch.target) + sum(method(empty).penalties.values())
        assert loss.isfinite()


def test_zero_gives_a_row_without_modalities_the_constant_of_zeros(make_batch):
    method, batch = build(preset="as_released").eval(), make_batch(n=4)
    logits = method(observing(batch, torch.zeros_like(batch.observed))).logits
    zeros = replace(batch, inputs={name: torch.zeros_like(x) for name, x in batch.inputs.items()}, observed=torch.ones_like(batch.observed))
    assert torch.equal(logits, method(zeros).logits)
    assert torch.equal(logits, logits[:1].expand_as(logits))


def test_single_modality_leaves_its_term_and_the_joint_one_of_null_vectors(make_batch):
    method, batch = build().eval(), make_batch(n=6)
    batch = observing(batch, torch.tensor([False, True, False]).expand(6, 3))
    logits = method(batch).logits
    for b in range(6):
        own, joint = parts_by_hand(method, batch, b)
        torch.testing.assert_close(logits[b], own[1] + joint, **EXACT)


@pytest.mark.parametrize("preset", I2M2.presets)
def test_hidden_values_never_reach_logits_or_penalties(make_batch, preset):
    method, batch = build(preset=preset), make_batch(n=11, missing=0.5)
    for mode, epoch in ((True, 0), (True, 29), (False, 29)):
        method.on_epoch(epoch, 30)
        found = []
        for filler in (torch.nan, 1e6, torch.inf):
            method.seed(0)
            opened = {name: torch.where(batch.observed[:, [m]], x, filler) for m, (name, x) in enumerate(batch.inputs.items())}
            found.append(method.train(mode)(replace(batch, inputs=opened)))
        for other in found[1:]:
            assert torch.equal(found[0].logits, other.logits)
            assert all(torch.equal(term, other.penalties[name]) for name, term in found[0].penalties.items())


def test_rows_do_not_depend_on_batch_mates(make_batch):
    for preset in I2M2.presets:
        method, batch = build(preset=preset).eval(), make_batch(n=64, missing=0.4)
        alone = torch.cat([method(batch.rows(torch.tensor([b]))).logits for b in range(64)])
        torch.testing.assert_close(method(batch).logits, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 10])
def test_mixture_labels_as_the_product_does_of_two_classes_alone(classes):
    logits = torch.randn(2000, 2, classes, generator=torch.Generator().manual_seed(0)) * 2
    mixed = mixture(logits, torch.ones(2000, 2, dtype=torch.bool))
    torch.testing.assert_close(mixed.exp(), logits.softmax(2).mean(1))
    differ = (mixed.argmax(1) != logits.sum(1).argmax(1)).float().mean()
    assert differ == 0 if classes == 2 else differ > 0.2


def test_permuting_modalities_changes_nothing_without_a_joint_term(make_batch):
    batch = make_batch(n=8, missing=0.3)
    for preset, is_same in (("intra", True), ("scratch", False)):
        method, other = build(preset=preset).eval(), build(preset=preset).eval()
        order = [2, 0, 1]
        for m, old in enumerate(order):
            other.heads[m], other.unimodal_encoders[m] = method.heads[old], method.unimodal_encoders[old]
            if method.joint_encoders is not None:
                other.joint_encoders[m] = method.joint_encoders[old]
        names = method.schema.names
        permuted = {names[m]: batch.inputs[names[old]] for m, old in enumerate(order)}
        shuffled = other(replace(batch, inputs=permuted, observed=batch.observed[:, order])).logits
        assert torch.allclose(method(batch).logits, shuffled, rtol=0, atol=1e-6) is is_same


# ---- the two stages


def loss_of(method, batch):
    prediction = method(batch)
    return F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())


def test_stage_one_trains_each_part_as_if_it_were_alone(make_batch):
    batch = make_batch(n=16, missing=0.3)
    together = build().train()
    together.on_epoch(0, 30)
    alone = build().train()
    alone.load_state_dict(together.state_dict())
    optimiser = torch.optim.Adam(together.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        loss_of(together, batch).backward()
        optimiser.step()
    for m in range(3):  # one by one, each with its own optimiser, from the same start
        rows = batch.observed[:, m].nonzero().flatten()
        part = [*alone.unimodal_encoders[m].parameters(), *alone.heads[m].parameters()]
        optimiser = torch.optim.Adam(part, 1e-2)
        for _ in range(20):
            states = alone.unimodal_encoders[m](batch.inputs[alone.schema.names[m]][rows]).mean(1)
            optimiser.zero_grad()
            F.cross_entropy(alone.heads[m](states), batch.target[rows]).backward()
            optimiser.step()
        expected = [*together.unimodal_encoders[m].parameters(), *together.heads[m].parameters()]
        for ours, other in zip(part, expected, strict=True):
            torch.testing.assert_close(ours, other, rtol=0, atol=1e-6)


def test_stage_one_loss_of_a_part_reaches_no_other_part(make_batch):
    method, batch = build().train(), make_batch(n=8, missing=0.3)
    method.on_epoch(0, 30)
    prediction = method(batch)
    parts = {f"part_{m}": {f"heads.{m}", f"unimodal_encoders.{m}"} for m in range(3)}
    for name, term in prediction.penalties.items():
        method.zero_grad()
        term.backward(retain_graph=True)
        reached = {key for key, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert {".".join(key.split(".")[:2]) for key in reached} == parts[name]
    method.zero_grad()
    F.cross_entropy(prediction.logits, batch.target).backward()
    reached = {key.split(".")[0] for key, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == {"joint_encoders", "joint_head", "null"}


def selectable(method, epochs):
    found = []
    for epoch in range(epochs):
        method.on_epoch(epoch, epochs)
        found.append(method.is_selectable)
    return found


def test_checkpoints_come_from_the_second_stage_alone():
    assert selectable(build(), 10) == [False] * 5 + [True] * 5
    assert selectable(build(pretrain_frac=0.7), 10) == [False] * 7 + [True] * 3
    assert selectable(build(), 1) == [True]
    for preset in ("scratch", "as_released", "intra", "inter", "frozen"):
        assert all(selectable(build(preset=preset), 6)), preset
    assert all(selectable(build(modalities=1), 6))


def test_single_epoch_trains_all_together(make_batch):
    method = build().train()
    method.on_epoch(0, 1)
    assert not method(make_batch(n=6)).penalties


def test_last_biases_of_present_terms_get_one_gradient(make_batch):
    method, batch = build().train(), make_batch(n=6)
    method.on_epoch(29, 30)
    loss_of(method, observing(batch, torch.tensor([True, True, False]).expand(6, 3))).backward()
    expected = method.joint_head[2].bias.grad
    for m in (0, 1):
        torch.testing.assert_close(method.heads[m][2].bias.grad, expected, rtol=0, atol=1e-7)
    assert method.heads[2][2].bias.grad is None


def test_auxiliary_losses_are_those_of_every_part(make_batch):
    method, batch = build(aux=0.5).train(), make_batch(n=8, missing=0.3)
    method.on_epoch(29, 30)
    assert set(method(batch).penalties) == {"part_0", "part_1", "part_2", "part_3"}
    assert not method.eval()(batch).penalties


def test_dropout_keeps_a_modality_of_every_row(make_batch):
    method, batch = build(preset="dropout").train(), make_batch(n=500, missing=0.2)
    method.on_epoch(29, 30)
    kept = []
    present = method.present
    method.present = lambda observed: kept.append(observed) or present(observed)
    method(batch)
    assert kept[0].any(1).all()
    assert not (kept[0] & ~batch.observed).any()
    assert kept[0].sum() < batch.observed.sum()


# ---- schemas


def test_one_modality_has_no_joint_part(make_batch):
    method = build(modalities=1)
    assert method.joint_head is None
    assert method.joint_encoders is None
    batch = make_batch(n=5, modalities=1)
    torch.testing.assert_close(method.eval()(batch).logits, method.heads[0](method.unimodal_encoders(batch)[:, 0, 0]))
    inter = build(modalities=1, preset="inter").eval()
    torch.testing.assert_close(inter(batch).logits, inter.joint_head(inter.joint_encoders(batch)[:, 0, 0]))


@pytest.mark.parametrize("preset", I2M2.presets)
def test_five_modalities_and_fifty_classes_work(make_batch, preset):
    method = build(modalities=5, classes=50, preset=preset).train()
    loss_of(method, make_batch(n=6, modalities=5, classes=50)).backward()
    assert method.eval()(make_batch(n=6, modalities=5, classes=50)).logits.shape == (6, 50)


@pytest.mark.parametrize(("modalities", "millions", "shared"), [(2, 0.167, 0.117), (3, 0.250, 0.175), (4, 0.333, 0.233)])
def test_published_sizes_have_the_stated_number_of_parameters(modalities, millions, shared):
    for preset, expected in (("paper", millions), ("shared", shared)):
        method = build(modalities, preset, features=64, width=128, hidden=128)
        assert sum(parameter.numel() for parameter in method.parameters()) / 1e6 == pytest.approx(expected, abs=0.001)


def test_modules_without_a_part_to_play_are_not_built():
    assert build(preset="intra").joint_head is None
    assert len(build(preset="inter").heads) == 0
    assert build(preset="inter").unimodal_encoders is None
    assert build(preset="shared").joint_encoders is None
    assert build(preset="as_released").null is None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"terms": "all"}, "terms must be one of both, intra, inter, got 'all'"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"pretrain_frac": 1.0}, r"pretrain_frac must be in \(0, 1\) and aux not negative, got 1.0 and 0.0"),
        ({"combine": "mixture_eval"}, "combine 'mixture_eval' needs terms 'intra', got 'both'"),
        ({"finetune": False, "init": "scratch"}, "finetune=false needs init 'pretrained' and terms 'both', got 'scratch' and 'both'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        I2M2Config(**option)


@pytest.mark.parametrize("preset", I2M2.presets)
def test_each_preset_is_known_by_name(preset):
    config = registry.config_of(I2M2, parse_choice(f"i2m2@{preset}"), {})
    assert {key: getattr(config, key) for key in I2M2.presets[preset]} == dict(I2M2.presets[preset])


# ---- worlds whose answer is known


def interaction(rng, n):
    """y is the exclusive or of two signs: no modality alone tells anything, both together everything."""
    x = rng.normal(size=(n, 2))
    return x, (x[:, 0] > 0) ^ (x[:, 1] > 0)


def accuracy(preset, draw, **options):
    torch.manual_seed(0)
    method = I2M2(schema_of(2, 1, 2), I2M2Config(**{"width": 32, "hidden": 32, **I2M2.presets[preset], **options}))
    method.seed(0)
    test = as_batch(world(2000, draw, 2, seed=1))
    trained(method, world(6000, draw, 2))
    with torch.no_grad():
        return float((method(test).logits.argmax(1) == test.target).float().mean())


def test_interaction_is_seen_by_the_joint_term_alone():
    assert accuracy("intra", interaction) == pytest.approx(0.5, abs=0.05)
    assert accuracy("inter", interaction) > 0.95
    assert accuracy("paper", interaction) > 0.95


def test_pure_synergy_of_a_dataset_is_seen_by_the_joint_term_alone():
    samples = GaussianClasses(n=4000, modalities=2, features=2, synergy=4.0).load()
    test = as_batch(samples.rows(np.arange(3000, 4000)))
    found = {}
    for preset in ("intra", "inter", "paper"):
        torch.manual_seed(0)
        method = I2M2(samples.schema, I2M2Config(**{"width": 32, "hidden": 32, **I2M2.presets[preset]}))
        method.seed(0)
        trained(method, samples.rows(np.arange(3000)))
        with torch.no_grad():
            found[preset] = float((method(test).logits.argmax(1) == test.target).float().mean())
    assert found["intra"] == pytest.approx(0.5, abs=0.06)
    assert min(found["inter"], found["paper"]) > 0.95


def independent(rng, n):
    """Given y the two modalities are independent: nothing interacts."""
    target = rng.random(n) < 0.5
    return rng.normal(size=(n, 2)) + 0.8 * (2 * target[:, None] - 1), target


def test_where_nothing_interacts_single_terms_are_enough():
    assert accuracy("intra", independent) >= accuracy("inter", independent) - 0.01


SHIFT, PRIOR = 0.57, 0.1


def gaussians(rng, n):
    """Three modalities, independent given y, P(y = 1) = 0.1: the posterior under any mask is known."""
    target = rng.random(n) < PRIOR
    return rng.normal(size=(n, 3)) + SHIFT * (2 * target[:, None] - 1), target


def log_losses(method, count, draws=20000):
    """Mean log loss of the method and of the exact posterior, `count` modalities observed."""
    batch = as_batch(world(draws, gaussians, 3, seed=5))
    keep = torch.rand(draws, 3, generator=torch.Generator().manual_seed(0)).argsort(1) < count
    values = torch.cat(list(batch.inputs.values()), 1)
    exact = np.log(PRIOR / (1 - PRIOR)) + (2 * SHIFT * values * keep).sum(1)
    with torch.no_grad():
        found = F.cross_entropy(method(observing(batch, keep)).logits, batch.target)
    return float(found), float(F.binary_cross_entropy_with_logits(exact, batch.target.float()))


def linear_intra(preset_prior):
    """Linear classifiers of single modalities, fitted on complete rows."""
    method = build(3, "intra", classes=2, features=1, width=1, prior=preset_prior)
    method.unimodal_encoders = Given(1, [nn.Identity()] * 3)
    for m in range(3):
        method.heads[m] = nn.Linear(1, 2)
        nn.init.zeros_(method.heads[m].bias)  # complete rows tell their sum alone: from one start, they stay alike
    samples = world(20000, gaussians, 3)
    method.prepare(samples)
    batch, optimiser = as_batch(samples), torch.optim.LBFGS(method.heads.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        found = F.cross_entropy(method.train()(batch).logits, batch.target)
        found.backward()
        return found

    optimiser.step(loss)
    return method.eval()


def test_prior_term_makes_every_pattern_of_complete_training_calibrated():
    method = linear_intra(True)
    for count in (1, 2, 3):
        found, exact = log_losses(method, count)
        assert found - exact < 0.003
    found, exact = log_losses(linear_intra(False), 1)
    assert found - exact > 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset", [preset for preset in I2M2.presets if "zero" not in I2M2.presets[preset].values() and preset not in ("no_prior", "frozen")]
)
def test_presets_come_near_the_exact_posterior_under_every_pattern(preset):
    torch.manual_seed(0)
    method = I2M2(schema_of(3, 1, 2), I2M2Config(**{"width": 16, "hidden": 16, **I2M2.presets[preset]}))
    method.seed(0)
    trained(method, world(20000, gaussians, 3, missing=0.4), epochs=9, batch_size=128, learning_rate=3e-3)  # fewer rows cost 0.009 alone
    for count in (1, 2, 3):
        found, exact = log_losses(method, count)
        assert found - exact < 0.006, count


def test_parts_that_never_train_together_count_their_evidence_twice():
    """Trained apart, the joint part is a whole posterior, beside those of the single modalities that it reads too."""
    torch.manual_seed(0)
    method = I2M2(schema_of(3, 1, 2), I2M2Config(**{"width": 16, "hidden": 16, **I2M2.presets["frozen"]}))
    method.seed(0)
    trained(method, world(4000, gaussians, 3, missing=0.4), epochs=4, learning_rate=3e-3)
    found, exact = log_losses(method, 1)
    assert found - exact > 0.05


def test_terms_tell_what_each_classifier_said(make_batch):
    method, batch = build().eval(), make_batch(n=8, missing=0.4)
    with tracing(method) as tracer:
        logits = method(batch).logits
    table = tracer.table("terms")
    assert table["logits"].shape == (8, 4, 3)
    assert np.array_equal(table["present"][:, :3], batch.observed.numpy())
    assert (table["logits"][~table["present"]] == 0).all()
    total = torch.from_numpy(table["logits"]).sum(1) + (1 - batch.observed.sum(1, keepdim=True)) * method.log_prior
    torch.testing.assert_close(total, logits, **EXACT)
    assert isinstance(method.heads[0], Classifier)


# ---- what the released code does beside the method: evidence of docs/evidence/others.md, no part of ours


@pytest.mark.parametrize("case", ["head_K3", "head_K10", "head_pair_K2", "head_intra_K3", "head_intra_K10"])
def test_released_vqa_loss_is_binary_cross_entropy_of_normalised_scores(parity, case):
    arrays = parity(FILE, case)
    out, classes = arrays["out"], arrays["out"].shape[1]
    loss = classes * F.binary_cross_entropy_with_logits(out, F.one_hot(arrays["y"], classes).to(out.dtype))
    torch.testing.assert_close(loss, arrays["released_vqa_bce"], **EXACT)
    certain = torch.zeros(1, 1)  # log of the probability 1
    assert F.binary_cross_entropy_with_logits(certain, torch.ones(1, 1)).item() == pytest.approx(math.log(2))


def test_released_low_rank_fusion_has_factors_that_are_no_parameters(parity):
    arrays = parity(FILE, "lrtf")
    ones = torch.ones(len(arrays["x_0"]), 1)
    product = math.prod(torch.cat([ones, arrays[f"x_{m}"]], 1) @ arrays[f"factor_{m}"] for m in (0, 1))  # (R, B, o)
    out = (arrays["fusion_weights"] @ product.permute(1, 0, 2)).squeeze(1) + arrays["fusion_bias"]
    torch.testing.assert_close(out, arrays["out"], **EXACT)
    assert arrays["n_factor_numbers"] == arrays["factor_0"].numel() + arrays["factor_1"].numel()
    assert arrays["n_registered"] == arrays["fusion_weights"].numel() + arrays["fusion_bias"].numel()


def test_released_auprc_counts_the_labels_of_the_last_batch_twice(parity):
    arrays = parity(FILE, "auprc")
    logits, y = arrays["logits"], arrays["y"]
    assert average_precision_score(y, logits[:, 1]) == pytest.approx(arrays["true"].item(), abs=1e-6)
    score, last = logits.softmax(1)[:, 1], y[-(len(y) % int(arrays["batch"])) :]
    released = average_precision_score(torch.cat([y, last]), torch.cat([score, score[: len(last)]]))  # beside the first rows' scores
    assert released == pytest.approx(arrays["released"].item(), abs=1e-6)

"""Every method on a device that is not the CPU (tests/support/rehearsal.py): no device error, the CPU's predictions, few waits."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import rehearsal
import torch
from torch import nn
from torch.nn import functional as F

from bench import registry
from bench.datasets.base import as_batch
from bench.errors import TrialError
from bench.inspection.profile import profiles, trials_of
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.catalog import METHODS
from bench.methods.layers import Attention, draws_here, with_dropout_of_torch
from bench.question.machine import Machine
from bench.training.launches import CLIPPING, step_count
from bench.training.loop import Steps, build_method, resolve_device, row_batches
from bench.training.trial import open_trial, run_trial, validate_trial

SUPPORT = Path(__file__).parents[1] / "support"
SMALL = {"width": 16, "tokens": 2, "hidden": 16, "n_experts": 6, "layers": 2}
DROPOUTS = ("dropout", "decoder_dropout", "residual_dropout", "attention_dropout", "inner_dropout")
CASES = [
    (name, preset) for name in METHODS if issubclass(registry.method_class(name), Method) for preset in registry.method_class(name).presets
]
FIRST = {name: (name, preset) for name, preset in reversed(CASES)}.values()  # each method in its default preset
OTHERS = [  # ways of the methods that no preset goes
    ("m3care", "imputable=A"), ("m3care", "batch_norm=separate"), ("moe-retriever", "use_inter=false"),
    ("moe-retriever", "use_intra=false"),
    ("moe-retriever", "n_draws=2,backoff=true"), ("moe-retriever", "fusion_sparse=true,n_routers=2,attn_axis=context"),
    ("moe-retriever", "routing=unrestricted,integrate=mean,encoder=patch"), ("fusemoe", "router=disjoint,k_disjoint=1"),
    ("shaspec", "dao=kl"),
    ("shaspec", "stem=dual,modality_dropout=uniform_k"), ("muse", "edge_drop=bernoulli"),
    ("mmformer", "missing_tokens=mask,modality_dropout=bernoulli"),
    ("flexmoe", "top1=forced,routers=separate"), ("flexmoe", "bank=shared,modality_dropout=uniform_k,head_layers=2"),
    ("simmlm", "level=probability,gate=class"),
    ("healnet", "context=raw"), ("healnet", "order=reversed,gate=gelu,position=false,self_attention=true,skip=cross"),
    ("i2m2", "aux=0.1,modality_dropout=uniform_subset"), ("i2m2", "encoders=shared,missing=zero"),
    ("mfm", "kernel=released,target_clip=0"), ("mfm", "factors=joint,subsets=leave_one_out"),
]  # fmt: skip
FORCED = {  # where shapes hang on values, so that a step on a GPU must wait: function -> why
    "rows_by_modality": "an encoder gets the rows that observe its modality",
    "SequenceEncoder.forward": "a batch of sequences ends with its longest",
    "SparseExperts.forward": "an expert gets the units that visit it",
    "Decoders.targets": "a reconstruction of sequences ends with the longest",
    "MoERetriever.context": "the slots to fill, and their elements",
    "MoERetriever.draw_supports": "the supporting groups of a batch, their members, the most that a slot draws",
    "MoERetriever.encode_bank": "the support rows to encode, by modality",
}


@pytest.fixture(scope="module", name="rehearsal")
def rehearsal_():
    rehearsal.install()
    return rehearsal


@pytest.fixture
def device(rehearsal):
    return torch.device(rehearsal.NAME, 0)


def trial_of(name, preset="", options="", kinds="vector-sequence-image", dropout=0.0):
    """Two steps in small; tokens as the preset has them where two are not valid."""
    cls = registry.method_class(name)
    known = {field.name for field in fields(cls.Config)}
    sizes = {key: value for key, value in SMALL.items() if key in known} | {key: dropout for key in DROPOUTS if key in known}

    def planned(sizes):
        chosen = ",".join([*(f"{key}={value}" for key, value in sizes.items()), *filter(None, [options])])
        text = f"{name}@{preset}[{chosen}]" if preset else f"{name}[{chosen}]"
        trials = trials_of([text], f"{SUPPORT / 'kinds.py'}:Kinds[kinds={kinds}]", noise=0.2, training={"epochs": 1, "batch_size": 25})
        return replace(trials[0], evaluations=("mcar(0.5)",))

    try:
        return planned(sizes)
    except ValueError:
        return planned({key: value for key, value in sizes.items() if key != "tokens"})


# ---- the device itself


def test_operands_on_two_devices_are_refused(device):
    here, there = torch.ones(3), torch.ones(3, device=device)
    for mixed in (
        lambda: here + there, lambda: there + here, lambda: torch.cat([here, there]), lambda: there.index_select(0, torch.tensor([0])),
        lambda: here.add_(there), lambda: torch.ones(()).add_(there[0]), lambda: torch.mm(there[None], here[:, None]),
        lambda: here[there > 0], lambda: F.linear(there, torch.ones(2, 3)), lambda: torch.where(there > 0, here, there),
        lambda: torch.mul(there, 2, out=here), lambda: F.cross_entropy(there[None], torch.tensor([0])),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            mixed()


def test_what_a_gpu_allows_is_allowed(device):
    there = torch.arange(4.0, device=device)
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4, 6]
    assert there[torch.tensor([3, 0])].tolist() == [3, 0]
    assert torch.where(there > 1, there, torch.tensor(9.0)).tolist() == [9, 9, 2, 3]
    there[1:3] = torch.tensor([7.0, 8.0])
    assert there.cpu().tolist() == [0, 7, 8, 3]


def test_numpy_is_refused(device):
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu\(\)"):
        torch.ones(2, device=device).numpy()


def test_generators_are_of_one_device(rehearsal, device):
    own = torch.Generator(device=device).manual_seed(3)
    drawn = torch.rand(4, generator=own, device=device)
    assert own.device == device
    assert torch.equal(drawn.cpu(), torch.rand(4, generator=torch.Generator().manual_seed(3)))
    with pytest.raises(RuntimeError, match="Expected a 'rehearsal' device type for generator"):
        torch.rand(4, generator=torch.Generator(), device=device)
    with rehearsal.counting(), pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator"):
        torch.rand(4, generator=own)


def test_what_is_written_into_comes_back_as_the_same_tensor(device):
    x, out = torch.ones(2, 3, device=device), torch.empty(0, device=device)
    assert x.add_(1) is x
    assert torch.mul(x, 2, out=out) is out
    assert out.tolist() == [[4.0] * 3] * 2  # resized
    assert x.t_().shape == (3, 2)
    view = x[0]
    view.zero_()
    assert x.tolist() == [[0, 0], [2, 2], [2, 2]]
    values, places = torch.empty(0, device=device), torch.empty(0, dtype=torch.int64, device=device)
    assert torch.max(x, 1, out=(values, places)).values is values
    assert values.tolist() == [0, 2, 2]
    lists = [torch.ones(2, device=device), torch.ones(3, device=device)]
    torch._foreach_mul_(lists, 3.0)
    assert [each.tolist() for each in lists] == [[3, 3], [3, 3, 3]]
    assert [torch.arange(3, device=device).tolist(), torch.linspace(0, 1, 2, device=device).tolist()] == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize("layer", [torch.nn.GRU, torch.nn.LSTM, torch.nn.RNN])
@pytest.mark.parametrize("packed", [False, True])
def test_recurrent_layers_are_those_of_the_cpu(device, layer, packed):
    torch.manual_seed(0)
    near = layer(3, 4, batch_first=True)
    far = layer(3, 4, batch_first=True).to(device)
    far.load_state_dict(near.state_dict())
    x = torch.randn(3, 5, 3)
    found = []
    for module, rows in ((near, x), (far, x.to(device))):
        given = torch.nn.utils.rnn.pack_padded_sequence(rows, torch.tensor([5, 3, 1]), batch_first=True) if packed else rows
        out = module(given)[0]
        out = out.data if packed else out
        out.square().sum().backward()
        found.append([out.detach().cpu(), *(parameter.grad.cpu() for parameter in module.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_every_wait_is_counted_where_it_stands(rehearsal, device):
    x = torch.tensor([0.0, 1.0, 2.0], device=device)
    waits = {
        "item": lambda: x.sum().item(), "bool": lambda: bool(x.any()), "tolist": lambda: x.tolist(), "cpu": lambda: x.cpu(),
        "nonzero": lambda: x.nonzero(), "mask": lambda: x[x > 0], "unique": lambda: x.unique(), "to": lambda: torch.ones(2).to(device),
        "tensor": lambda: torch.tensor([1.0], device=device), "list": lambda: x[[0, 1]], "bincount": lambda: torch.bincount(x.long()),
        "select": lambda: x.masked_select(x > 0), "repeat": lambda: x.repeat_interleave(x.long()), "equal": lambda: torch.equal(x, x),
    }  # fmt: skip
    for name, wait in waits.items():
        with rehearsal.counting() as counts:
            wait()
        assert counts.syncs == 1, name
    others = (lambda: x + 1, lambda: x[:2], lambda: x.repeat_interleave(2), lambda: x[torch.zeros(1, dtype=torch.int64, device=device)],
              lambda: x.clone().masked_fill_(x > 0, 0.0), lambda: torch.where(x > 0, x, 0.0),
              lambda: x.sum().to(torch.float64))  # fmt: skip
    for free in others:
        with rehearsal.counting() as counts:
            free()
        assert counts.syncs == 0
        assert counts.operations > 0


# ---- every method on it


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_trial_on_the_device_predicts_as_on_the_cpu(rehearsal, case):
    """On a vector, padded sequences and an image."""
    _same_on_both(trial_of(*case), rehearsal)


@pytest.mark.parametrize("kinds", ["vector-vector", "sequence", "volume-image"])
@pytest.mark.parametrize("name", ["mmformer", "mean-mlp"])
def test_data_of_one_kind_predict_as_on_the_cpu(rehearsal, name, kinds):
    _same_on_both(trial_of(name, kinds=kinds), rehearsal)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if place % 3 else ()) for place, case in enumerate(OTHERS)], ids=str
)
def test_other_ways_of_a_method_predict_as_on_the_cpu(rehearsal, case):
    _same_on_both(trial_of(case[0], options=case[1]), rehearsal)


def _same_on_both(trial, rehearsal):
    near, expected = run_trial(trial, Machine("cpu"))
    with rehearsal.counting() as counts:
        record, found = run_trial(trial, Machine(rehearsal.NAME))
    np.testing.assert_allclose(found.outputs, expected.outputs, atol=1e-5)
    np.testing.assert_allclose(found.evaluations["mcar(0.5)"], expected.evaluations["mcar(0.5)"], atol=1e-5)
    assert record.status == "done"
    assert (record.provenance.device, record.provenance.torch_device) == (rehearsal.NAME, "a rehearsal")
    assert record.facts.best_epoch == near.facts.best_epoch
    for name in ("gflops_per_sample", "parameters", "active_parameters"):
        assert record.cost[name] == pytest.approx(near.cost[name], rel=1e-9)
    assert record.cost["peak_memory_mb"] > 0
    assert counts.operations > 100


@pytest.mark.parametrize("name", dict(CASES))
def test_dropout_and_traces_work_on_the_device(rehearsal, name, tmp_path):
    trial = trial_of(name, dropout=0.25)
    record, found = run_trial(trial, Machine(rehearsal.NAME), traces=tmp_path / "traces.npz")
    assert np.isfinite(found.outputs).all()
    validated, _ = validate_trial(trial, Machine(rehearsal.NAME))
    assert validated.facts.valid == record.facts.valid
    assert (tmp_path / "traces.npz").exists()


@pytest.mark.parametrize("case", [pytest.param(case, marks=() if case in FIRST else pytest.mark.slow) for case in CASES], ids="-".join)
def test_a_profile_is_measured_on_the_device_and_counts_what_the_cpu_counts(rehearsal, case):
    trial = trial_of(*case, kinds="vector-sequence")
    (found,) = profiles([trial], rehearsal.NAME)
    assert found.reason is None
    count = counted(*case, kinds="vector-sequence")
    assert found.cost["synchronisations"] == count.synchronisations == sum(found.waits.values())
    assert found.cost["launches"] == pytest.approx(count.launches, rel=0.04)  # attention lays out its result in another order here
    assert {place.split(":")[1] for place in count.places} <= FORCED.keys()


def counted(*case, **options):
    """What a step is counted to ask of a GPU, on the CPU: as in a profile, the step after one whose operations were counted."""
    method, config, batch = opened(*case, device="cpu", **options)
    method.on_epoch(config.epochs - 1, config.epochs)
    method.train()(batch.rows(next(row_batches(batch, config.batch_size))))  # draws what that one drew
    return step_count(method, config, batch)


def test_every_wait_that_is_named_as_forced_occurs():
    found = {place.split(":")[1] for name in ("moe-retriever", "fusemoe", "mfm") for place in counted(name).places}
    assert found == FORCED.keys()


# ---- the loop of the suite


def opened(*case, device, **options):
    """A method as a trial builds it, its config, and the training rows."""
    trial = trial_of(*case, **options)
    found = open_trial(trial)
    train = found.parts.train.samples
    return build_method(found.cls, found.config, train, trial.seed, torch.device(device)), found.config, as_batch(train, device)


def test_an_epoch_of_the_loop_waits_for_its_order_its_losses_and_its_scores_alone(rehearsal):
    def waits(epochs):
        trial = replace(trial_of("mean-mlp"), training={"epochs": epochs, "batch_size": 8}, evaluations=())
        with rehearsal.counting() as counts:
            run_trial(trial, Machine(rehearsal.NAME))
        return counts.places

    three, five = waits(3), waits(5)
    an_epoch = {place: (five[place] - three[place]) / 2 for place in five if five[place] != three[place]}
    assert an_epoch == {
        "bench/training/loop.py:row_batches: copy_": 2,  # the order of the training rows, and the rows to score
        "bench/training/loop.py:Steps.check: _to_copy": 1,  # the losses
        "bench/training/loop.py:predict: _to_copy": 1,  # the scores
    }


def test_counted_step_is_the_step_of_the_loop(rehearsal, device):
    """Where nothing has a kernel of its own on a GPU alone, what is counted is what ran."""
    method, config, batch = opened("mean-mlp", device=device)
    steps = Steps(method, config)
    method.train()
    rows = torch.arange(config.batch_size, device=device)
    steps.take(batch.rows(rows), "first")
    with rehearsal.counting() as counts:
        steps.take(batch.rows(rows), "second")
    count = step_count(method, config, batch)
    assert (count.launches, count.synchronisations) == (counts.launches, counts.syncs)


def test_clipping_launches_what_is_counted_for_it(rehearsal, device):
    parameters = [torch.nn.Parameter(torch.ones(3, device=device)) for _ in range(4)]
    sum(parameter.sum() for parameter in parameters).backward()
    with rehearsal.counting() as counts:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    assert (counts.launches, counts.syncs) == (CLIPPING, 0)


class Few(Method):
    """A layer, applied to a fixed input, and nothing else that a method might launch."""

    def __init__(self, schema, config, layer, x):
        super().__init__(schema, config)
        self.layer, self.x = layer, x

    def forward(self, batch):
        out = self.layer(self.x)
        return Prediction((out[0] if isinstance(out, tuple) else out).flatten()[: len(batch) * 3].view(len(batch), 3))


@pytest.mark.parametrize("layer", [nn.GRU(4, 4, batch_first=True), nn.LSTM(4, 4), Attention(4, 2, 0.5), Attention(4, 2)], ids=repr)
def test_recurrent_layers_and_attention_are_one_kernel_either_way(layer, make_samples):
    samples, x = make_samples(n=8), torch.randn(4, 8, 4)
    plain = nn.Linear(4, 4, bias=False)  # forwards a product, backwards the product of its weight
    counts = []
    for each in (plain, layer):
        method = Few(samples.schema, MethodConfig(batch_size=8), each, x)
        counts.append(step_count(method, method.config, as_batch(samples)).launches)
    others = 2 * 3 + 2 if isinstance(layer, Attention) else 0  # its two linear layers and their gradients
    assert counts[1] - counts[0] <= others + 4


def test_dropout_of_torch_is_asked_for_by_the_count_alone():
    x = torch.ones(2)
    assert draws_here(x)
    with with_dropout_of_torch():
        assert not draws_here(x)
    assert draws_here(x)


# ---- names of devices


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gpu", "knows none of that name"),
        ("meta", "knows none of that name"),
        ("rehearsal:7", "sees 1 device of type rehearsal, counted from 0"),
    ],
)
def test_devices_that_are_not_there_are_explained(rehearsal, name, reason):
    with pytest.raises(TrialError, match=reason):
        resolve_device(name)


def test_any_device_that_torch_knows_is_taken(rehearsal, device):
    assert resolve_device("rehearsal:0") == device
    assert resolve_device("cpu").type == "cpu"

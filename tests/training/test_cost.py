"""bench/training/cost.py: counted operations equal answers worked out by hand."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.datasets.base import Modality, Schema, as_batch
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.catalog import PAPER
from bench.methods.layers import Attention, SparseExperts
from bench.names import Choice
from bench.training.cost import FORMULAS, TensorMemory, countable, forward_count, latency_ms, parameters_by_component, training_flops

B, T, D, C = 6, 5, 8, 3


class Wrapped(Method):
    """A module applied to a fixed input, so that nothing else is counted."""

    def __init__(self, schema, module, x):
        super().__init__(schema, MethodConfig())
        self.module, self.x = module, x

    def forward(self, batch):
        out = self.module(self.x)
        return Prediction(out[0] if isinstance(out, tuple) else out)


class Trained(Wrapped):
    """The same with logits of the shape that a loss takes; picking and adding costs nothing."""

    def forward(self, batch):
        return Prediction(super().forward(batch).logits.flatten(1)[:, :C])


class Applied(nn.Module):
    """A function as a module, with parameters of its own where it needs some."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(torch.randn(shape) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.weights)


class Forced(nn.Module):
    """Attention that chooses its own backend."""

    def __init__(self, backend):
        super().__init__()
        self.attention, self.backend = Attention(D, 2), backend

    def forward(self, x):
        with sdpa_kernel(self.backend):
            return self.attention(x)


class Routed(nn.Module):
    """Every unit visits two of four experts."""

    def __init__(self):
        super().__init__()
        self.experts = SparseExperts(4, 2, D, 16, D)

    def forward(self, x):
        chosen = torch.arange(len(x)).unsqueeze(1) % 3 + torch.tensor([0, 1])
        return self.experts(x, chosen, torch.full(chosen.shape, 0.5))


PROJECTIONS, SCORES = 2 * B * T * D * 3 * D, 2 * B * T * T * D  # of queries, keys and values; one product of all pairs of tokens
OUTPUT = 2 * B * T * D * D
ATTENTION = PROJECTIONS + 2 * SCORES + OUTPUT
LSTM, GRU = 2 * B * T * 4 * 4 * (D + 4), 2 * B * T * 3 * 4 * (D + 4)
EXPERTS = 2 * B * 2 * (D * 16 + 16 * D)  # of the two out of four that a row visits
ROWS, TOKENS = (B, D), (B, T, D)


def multihead():
    attention = nn.MultiheadAttention(D, 2, batch_first=True)
    module = Applied(lambda x: attention(x, x, x))
    module.attention = attention
    return module


@pytest.mark.parametrize(
    ("module", "shape", "flops"),
    [
        pytest.param(nn.Linear(D, C), ROWS, 2 * B * D * C, id="linear"),
        pytest.param(nn.Linear(D, C, bias=False), TOKENS, 2 * B * T * D * C, id="linear-tokens"),
        pytest.param(nn.Conv1d(2, 4, 3), (B, 2, 9), 2 * B * 4 * 2 * 3 * 7, id="convolution-1d"),
        pytest.param(nn.Conv2d(2, 4, 3, padding=1), (B, 2, 7, 7), 2 * B * 4 * 2 * 9 * 49, id="convolution-2d"),
        pytest.param(nn.Conv2d(4, 8, 3, padding=1, groups=2), (B, 4, 7, 7), 2 * B * 8 * 2 * 9 * 49, id="convolution-grouped"),
        pytest.param(nn.Conv3d(2, 4, 3, stride=2, padding=1), (B, 2, 5, 5, 5), 2 * B * 4 * 2 * 27 * 27, id="convolution-3d"),
        pytest.param(nn.ConvTranspose2d(4, 2, 3, stride=2), (B, 4, 5, 5), 2 * B * 4 * 2 * 9 * 25, id="convolution-transposed"),
        pytest.param(Attention(D, 2), TOKENS, ATTENTION, id="attention"),
        pytest.param(Forced(SDPBackend.MATH), TOKENS, ATTENTION, id="attention-math"),
        pytest.param(Forced(SDPBackend.FLASH_ATTENTION), TOKENS, ATTENTION, id="attention-fused"),
        pytest.param(multihead(), TOKENS, ATTENTION, id="attention-multihead"),
        pytest.param(
            nn.TransformerEncoderLayer(D, 2, 16, batch_first=True), TOKENS, ATTENTION + 2 * 2 * B * T * D * 16, id="encoder-layer"
        ),
        pytest.param(nn.LSTM(D, 4, batch_first=True), TOKENS, LSTM, id="lstm"),
        pytest.param(
            nn.LSTM(D, 4, num_layers=2, bidirectional=True, batch_first=True), TOKENS, 2 * LSTM + 2 * LSTM, id="lstm-two-ways-twice"
        ),
        pytest.param(nn.GRU(D, 4, batch_first=True), TOKENS, GRU, id="gru"),
        pytest.param(nn.GRUCell(D, 4), ROWS, GRU // T, id="gru-cell"),
        pytest.param(Routed(), ROWS, EXPERTS, id="experts"),
        pytest.param(Applied(torch.cdist, (4, D)), ROWS, 3 * B * 4 * D, id="distances"),
        pytest.param(Applied(torch.cdist, (40, D)), ROWS, 3 * B * 40 * D, id="distances-many"),
        pytest.param(Applied(torch.cdist, (B, 4, D)), TOKENS, 3 * B * T * 4 * D, id="distances-batched"),
        pytest.param(Applied(F.pdist), ROWS, 3 * B * (B - 1) // 2 * D, id="distances-within"),
        pytest.param(Applied(lambda x, w: torch.einsum("btd,sd->bts", x, w), (4, D)), TOKENS, 2 * B * T * D * 4, id="einsum"),
        pytest.param(Applied(torch.bmm, (B, D, 4)), TOKENS, 2 * B * T * D * 4, id="bmm"),
        pytest.param(Applied(lambda x, w, s: torch.baddbmm(s, x, w), (B, D, 4), (4,)), TOKENS, 2 * B * T * D * 4, id="baddbmm"),
        pytest.param(Applied(lambda x, w, s: torch.addbmm(s, x, w), (B, D, 4), (4,)), TOKENS, 2 * B * T * D * 4, id="addbmm"),
        pytest.param(Applied(torch.matmul, (D,)), TOKENS, 2 * B * T * D, id="times-vector"),
        pytest.param(Applied(lambda x, w, s: torch.addmv(s, x, w), (D,), (B,)), ROWS, 2 * B * D, id="addmv"),
        pytest.param(Applied(torch.dot, (D,)), (D,), 2 * D, id="dot"),
        pytest.param(Applied(lambda x: F.gelu(F.layer_norm(x, (D,))).softmax(1).sort().values), TOKENS, 0, id="elementwise"),
    ],
)
def test_counted_operations_equal_the_hand_count(make_samples, module, shape, flops):
    samples = make_samples()
    method = Wrapped(samples.schema, module, torch.randn(shape)).eval()
    count = forward_count(method, [as_batch(samples)])
    assert count.flops == flops
    assert count.not_counted == {}
    assert sum(count.by_module.values()) == flops
    assert forward_count(method, [as_batch(samples)] * 2).flops == 2 * flops


def test_counting_leaves_gradients_and_fused_kernels_as_they_were(make_samples):
    samples = make_samples()
    method = Wrapped(samples.schema, nn.LSTM(D, 4), torch.randn(TOKENS))
    before = (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled())
    forward_count(method, [as_batch(samples)])
    assert (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled, torch.backends.mha.get_fastpath_enabled()) == before
    assert all(parameter.requires_grad for parameter in method.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in method.modules())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("module", "flops"), [(nn.LSTM(D, 4), LSTM), (nn.GRU(D, 4), GRU), (Attention(D, 2), ATTENTION)])
def test_gpu_kernels_are_counted_alike(make_samples, module, flops):
    samples = make_samples()
    method = Wrapped(samples.schema, module.cuda(), torch.randn(TOKENS, device="cuda")).eval()
    assert forward_count(method, [as_batch(samples, "cuda")]).flops == flops


FIRST, SECOND = 2 * B * 4 * 2 * 9 * 49, 2 * B * 8 * 2 * 9 * 49  # operations of two convolutions
STEPS = (T - 1) / T  # the state before the first step takes no gradient


@pytest.mark.parametrize(
    ("module", "shape", "flops"),
    [
        pytest.param(nn.Linear(D, C), ROWS, 2 * (2 * B * D * C), id="first-layer"),
        pytest.param(
            nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, C)), ROWS, 3 * 2 * B * (D * 16 + 16 * C) - 2 * B * D * 16, id="mlp"
        ),
        pytest.param(
            nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1, groups=2)), (B, 2, 7, 7), 2 * FIRST + 3 * SECOND,
            id="convolutions",
        ),
        pytest.param(Attention(D, 2), TOKENS, 2 * PROJECTIONS + 6 * SCORES + 3 * OUTPUT, id="attention"),
        pytest.param(Forced(SDPBackend.FLASH_ATTENTION), TOKENS, 2 * PROJECTIONS + 7 * SCORES + 3 * OUTPUT, id="attention-fused"),
        pytest.param(multihead(), TOKENS, 2 * PROJECTIONS + 6 * SCORES + 3 * OUTPUT, id="attention-multihead"),
        pytest.param(nn.GRU(D, 4, batch_first=True), TOKENS, 2 * B * T * 12 * (2 * D + 4 * (2 + STEPS)), id="gru"),
        pytest.param(nn.LSTM(D, 4, batch_first=True), TOKENS, 2 * B * T * 16 * (2 * D + 4 * (2 + STEPS)), id="lstm"),
        pytest.param(Applied(torch.cdist, (4, D)), ROWS, 2 * 3 * B * 4 * D, id="distances"),
        pytest.param(nn.Sequential(nn.Linear(D, D), Routed()), ROWS, 2 * 2 * B * D * D + 3 * EXPERTS, id="experts"),
    ],
)  # fmt: skip
def test_training_counts_forward_and_backward(make_samples, module, shape, flops):
    samples = make_samples(n=B, classes=C)
    method = Trained(samples.schema, module, torch.randn(shape))
    assert training_flops(method, as_batch(samples)) == pytest.approx(flops)
    assert all(parameter.grad is None for parameter in method.parameters())


@pytest.mark.parametrize("name", sorted(PAPER))
def test_training_count_is_that_of_torch_itself(make_samples, name):
    """Our tally leaves out what makes torch's counter slow; for every method it comes to the same number."""
    samples = make_samples(n=12)
    cls = registry.method_class(name)
    config = registry.config_of(cls, Choice(name), {"width": 16, "tokens": 1, "hidden": 16, "batch_size": 12, "warmup_fraction": 0.0})
    torch.manual_seed(0)
    method = cls(samples.schema, config)
    method.prepare(samples)
    batch, counter = as_batch(samples), FlopCounterMode(display=False, custom_mapping=FORMULAS)
    method.seed(1)
    ours = training_flops(method, batch)
    method.seed(1)
    with countable(), counter:
        prediction = method(batch)
        (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
    assert ours == counter.get_total_flops() > 0


def test_training_counts_penalties(make_samples):
    samples = make_samples(n=B, classes=C)

    class Penalised(Trained):
        def forward(self, batch):
            prediction = super().forward(batch)
            weight = self.module.weight
            return Prediction(prediction.logits, {"gram": (weight @ weight.T).sum()})

    method = Penalised(samples.schema, nn.Linear(D, C), torch.randn(ROWS))
    assert training_flops(method, as_batch(samples)) == 2 * (2 * B * D * C) + 3 * (2 * C * D * C)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.fft.rfft(x).real, "aten._fft_r2c"),
        (lambda x: torch.linalg.inv(x @ x.T), "aten.linalg_inv_ex"),
        (lambda x: F.bilinear(x, x, x.new_ones(C, D, D)), "aten._trilinear"),
    ],
    ids=["fourier", "inverse", "bilinear"],
)
def test_work_without_a_formula_is_named(make_samples, function, name):
    samples = make_samples()
    method = Wrapped(samples.schema, Applied(function), torch.randn(D, D) + 4 * torch.eye(D))
    assert forward_count(method, [as_batch(samples)] * 2).not_counted[name] == 2


class Nested(Method):
    """Work in submodules, in a submodule of one that is passed by, and outside all of them."""

    def __init__(self, schema):
        super().__init__(schema, MethodConfig())
        self.parts = nn.ModuleList([nn.Linear(D, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))])
        self.weight = nn.Parameter(torch.randn(2, C))
        self.unused = SparseExperts(4, 1, 2, 3, 2)

    def forward(self, batch):
        x = self.parts[0](torch.ones(B, D))
        return Prediction(self.parts[1](self.parts[1](x) @ x.new_ones(2, 4)) @ self.weight)


def test_components_share_out_the_whole(make_samples):
    samples = make_samples()
    method = Nested(samples.schema)
    count = forward_count(method, [as_batch(samples)])
    inner = {"parts.0": 2 * B * D * 4, "parts.1": 2 * 2 * B * (4 * 4 + 4 * 2)}
    outside = 2 * B * 2 * 4 + 2 * B * 2 * C
    assert {name: flops for name, flops in count.by_component(2).items() if flops} == {**inner, "other": outside}
    assert {name: flops for name, flops in count.by_component(1).items() if flops} == {"parts": sum(inner.values()), "other": outside}
    assert count.flops == sum(inner.values()) + outside


def test_parameters_of_components_sum_to_the_method(make_samples):
    method = Nested(make_samples().schema)
    expert = 2 * 3 + 3 + 3 * 2 + 2
    parts = {"parts": (D * 4 + 4 + 4 * 4 + 4 + 4 * 2 + 2,) * 2, "other": (2 * C,) * 2, "unused": (4 * expert, expert)}
    assert parameters_by_component(method) == parts
    assert sum(active for _, active in parts.values()) == method.active_parameters()


def test_sparse_experts_report_what_stays_idle():
    experts = SparseExperts(8, 2, D, 16, D)
    assert experts.idle_parameters == 6 * (D * 16 + 16 + 16 * D + D)
    method = Wrapped(Schema((Modality("a", "A", "vector", (1,)),), ("no", "yes")), experts, None)
    assert method.active_parameters() == 2 * (D * 16 + 16 + 16 * D + D)


def test_latency_grows_with_work(make_samples):
    samples = make_samples()
    slow = nn.Sequential(*[nn.Linear(512, 512) for _ in range(30)])
    times = [latency_ms(Wrapped(samples.schema, module, torch.randn(64, 512)), [as_batch(samples)]) for module in (nn.Identity(), slow)]
    assert 0 < times[0] < times[1]


def test_memory_is_in_megabytes():
    """In a process of its own: the largest memory so far of this one does not move below its own past."""
    code = (
        "import numpy; from bench.training.cost import resident_mb; "
        "a = resident_mb(); held = numpy.ones(20_000_000); print(resident_mb() - a)"
    )
    grown = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 120 < grown < 200  # 160 MB of doubles


def test_tensor_memory_counts_what_lives():
    weights, x = 4 * (1000 * 1000 + 1000 * 10), torch.zeros(100, 1000)
    memory = TensorMemory()
    with torch.no_grad(), memory:
        layer = nn.Sequential(nn.Linear(1000, 1000, bias=False), nn.ReLU(), nn.Linear(1000, 10, bias=False))
        memory.restart()
        y = layer(x)
    assert memory.peak == weights + 3 * 4 * 100 * 1000  # input, hidden units before and after the activation
    assert memory.now == weights + 4 * 100 * 1000 + 4 * 100 * 10
    del y, layer
    memory.restart()
    assert memory.peak == memory.now == 4 * 100 * 1000
    with memory:
        x.view(1000, 100).t()
    assert memory.peak == 4 * 100 * 1000

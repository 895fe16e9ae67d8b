"""bench/cost.py: counted operations equal answers worked out by hand."""

import pytest
import torch
from torch import nn

from bench.cost import forward_flops, latency_ms, resident_mb
from bench.datasets.base import Modality, Schema, as_batch
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.layers import Attention, SparseExperts

B, T, D, C = 6, 5, 8, 3


class Wrapped(Method):
    """A module applied to a fixed input, so that nothing else is counted."""

    def __init__(self, schema, module, x):
        super().__init__(schema, MethodConfig())
        self.module, self.x = module, x

    def forward(self, batch):
        out = self.module(self.x)
        return Prediction(out[0] if isinstance(out, tuple) else out)


class Distances(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(4, D))

    def forward(self, x):
        return torch.cdist(x, self.centres)


class Routed(nn.Module):
    """Every unit visits two of four experts."""

    def __init__(self):
        super().__init__()
        self.experts = SparseExperts(4, 2, D, 16, D)

    def forward(self, x):
        chosen = torch.arange(len(x)).unsqueeze(1) % 3 + torch.tensor([0, 1])
        return self.experts(x, chosen, torch.full(chosen.shape, 0.5))


ATTENTION = 2 * B * T * D * 3 * D + 2 * 2 * B * T * T * D + 2 * B * T * D * D  # qkv, scores and values, output


@pytest.mark.parametrize(
    ("module", "shape", "flops"),
    [
        (nn.Linear(D, C), (B, D), 2 * B * D * C),
        (nn.Conv2d(2, 4, 3, padding=1), (B, 2, 7, 7), 2 * B * 4 * 2 * 9 * 49),
        (Attention(D, 2), (B, T, D), ATTENTION),
        (nn.MultiheadAttention(D, 2, batch_first=True), None, ATTENTION),
        (nn.TransformerEncoderLayer(D, 2, 16, batch_first=True), (B, T, D), ATTENTION + 2 * 2 * B * T * D * 16),
        (nn.LSTM(D, 4, batch_first=True), (B, T, D), 2 * B * T * 4 * 4 * (D + 4)),
        (nn.GRU(D, 4, batch_first=True), (B, T, D), 2 * B * T * 3 * 4 * (D + 4)),
        (Routed(), (B, D), 2 * B * 2 * (D * 16 + 16 * D)),
        (Distances(), (B, D), 3 * B * 4 * D),
    ],
    ids=["linear", "convolution", "attention", "multihead", "encoder-layer", "lstm", "gru", "experts", "distances"],
)
def test_counted_operations_equal_the_hand_count(make_samples, module, shape, flops):
    if shape is None:
        attention, x = module, torch.randn(B, T, D)
        module = nn.Module()
        module.attention, module.forward = attention, lambda x: attention(x, x, x)
    else:
        x = torch.randn(shape)
    samples = make_samples()
    method = Wrapped(samples.schema, module, x).eval()
    assert forward_flops(method, [as_batch(samples)]) == flops


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
    before = resident_mb()
    held = torch.ones(40_000_000)
    assert resident_mb() - before > 100
    assert len(held) == 40_000_000

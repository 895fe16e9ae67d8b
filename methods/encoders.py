"""From raw inputs to tokens: one encoder per modality, chosen by its kind, the same for every method.

Source: MoE-Retriever, appendix A.2 (MLP for vectors, GRU for sequences, VGG11 for images, 3D-CNN for volumes); the patch tokeniser
is the `PatchEmbeddings` of the released MoE-Retriever and Flex-MoE code. No encoder looks across rows (no batch norm), so
a row's tokens never depend on its batch mates. Padded steps of a sequence never reach arithmetic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Modality, Schema


class PatchEmbedding(nn.Module):
    """A vector cut into patches of equal length, each mapped to one token by one shared linear layer.

    Shapes: (B, F) -> (B, T, D); zeros are added at the end up to T * ceil(F / T).
    Source: the released MoE-Retriever, `models.py`.
    """

    def __init__(self, features: int, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.patch = math.ceil(features / tokens)
        self.padding = tokens * self.patch - features
        self.linear = nn.Linear(self.patch, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.pad(x, (0, self.padding)).unflatten(1, (self.tokens, self.patch)))  # (B, T, D)


class VectorEncoder(nn.Module):
    """Two-layer perceptron, then the patch tokeniser over its output. Shapes: (B, F) -> (B, T, D)."""

    def __init__(self, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(nn.Linear(modality.shape[0], width), nn.ReLU(), nn.Linear(width, width))
        self.patches = PatchEmbedding(width, tokens, width) if tokens > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.perceptron(x)  # (B, D)
        return h.unsqueeze(1) if self.patches is None else self.patches(F.relu(h))  # (B, T, D)


def without_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Sequences with zeros in the steps after each row's length, whatever stood there. Shapes: (B, L, F), lengths (B,) -> (B, L, F)."""
    if lengths is None:
        return x
    return torch.where((torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)).unsqueeze(2), x, 0.0)


def stretches(lengths: Tensor, steps: int, tokens: int) -> Tensor:
    """Weights that average the real steps of each row over T stretches as equal as can be; a step may count in two of them.

    Shapes: lengths (B,) in [1, L], steps = L, tokens = T -> (B, T, L), each row of weights sums to 1. Source: adaptive average pooling.
    """
    token = torch.arange(tokens, device=lengths.device)
    first = token * lengths.unsqueeze(1) // tokens  # (B, T)
    last = ((token + 1) * lengths.unsqueeze(1) + tokens - 1) // tokens  # (B, T), the step after the stretch
    step = torch.arange(steps, device=lengths.device)
    inside = (step >= first.unsqueeze(2)) & (step < last.unsqueeze(2))  # (B, T, L)
    return inside / (last - first).unsqueeze(2)


class SequenceEncoder(nn.Module):
    """One-layer GRU, its outputs over the real steps averaged over T equal stretches of time. Shapes: (B, L, F), (B,) -> (B, T, D).

    Without lengths every step is real. The GRU reads forward and padding stands at the end, so no output of a real step has seen it.
    """

    def __init__(self, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.gru = nn.GRU(modality.shape[1], width, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        elif len(x):
            x = without_padding(x[:, : int(lengths.max())], lengths)
        h, _ = self.gru(x)  # (B, L, D)
        return stretches(lengths, x.shape[1], self.tokens).to(h.dtype) @ h  # (B, T, D)


class ImageEncoder(nn.Module):
    """VGG11 in small: its blocks of convolutions, as many as the image has room for, averaged over a grid of T cells.

    A block is one convolution (from the third on two) with ReLU, then a 2 x 2 maximum. Blocks end when the smaller side is down to 2, after
    five at most; channels double from block to block up to D. Shapes: (B, channels, H, W) -> (B, T, D).
    Source: VGG configuration A (Simonyan and Zisserman 2015), initialised as torchvision does; narrower, and without its dense layers.
    """

    def __init__(self, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        channels, *sides = modality.shape
        blocks = min(5, max(1, int(math.log2(min(sides))) - 1))
        layers: list[nn.Module] = []
        for block in range(blocks):
            halvings = max(0, min(3, blocks - 1) - block)  # VGG11 has 64, 128, 256, 512, 512 channels
            size = max(8, width >> halvings) if halvings else width
            for _ in range(2 if block >= 2 else 1):
                layers += [nn.Conv2d(channels, size, 3, padding=1), nn.ReLU()]
                channels = size
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.convolutions = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        rows = math.isqrt(tokens)
        while tokens % rows:
            rows -= 1
        self.pool = nn.AdaptiveAvgPool2d((rows, tokens // rows))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.convolutions(x)).flatten(2).transpose(1, 2)  # (B, T, D)


class VolumeEncoder(nn.Module):
    """Three 3-D convolutions with stride 2, averaged over T slabs along the depth. Shapes: (B, channels, depth, H, W) -> (B, T, D)."""

    def __init__(self, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        hidden = max(4, width // 8)
        self.convolutions = nn.Sequential(
            nn.Conv3d(modality.shape[0], hidden, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv3d(hidden, 2 * hidden, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv3d(2 * hidden, width, 3, stride=2, padding=1),
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool3d((tokens, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.convolutions(x)).flatten(2).transpose(1, 2)  # (B, T, D)


ENCODERS: dict[str, type[nn.Module]] = {
    "vector": VectorEncoder, "sequence": SequenceEncoder, "image": ImageEncoder, "volume": VolumeEncoder,
}  # fmt: skip


def rows_by_modality(observed: Tensor) -> list[Tensor]:
    """The rows that observe each modality, ascending. Asked for at once, so that a GPU is waited for once.

    Shapes: observed (B, M) bool -> M of (n,) int64.
    """
    order = (~observed).T.int().sort(dim=1, stable=True).indices  # (M, B), observing rows first
    return [order[m, :count] for m, count in enumerate(observed.sum(0).tolist())]


class Encoders(nn.ModuleList):
    """One encoder per modality, in schema order; observed rows alone reach it.

    Shapes: batch -> (B, M, T, D), zero where not observed. `encode(m, x, lengths)` maps rows (n, *shape) of modality m to (n, T, D).
    """

    def __init__(self, schema: Schema, tokens: int, width: int) -> None:
        super().__init__(ENCODERS[modality.kind](modality, tokens, width) for modality in schema)
        self.names = schema.names
        self.tokens = tokens
        self.width = width

    def encode(self, m: int, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self[m](x) if lengths is None else self[m](x, lengths)

    def encode_rows(self, m: int, batch: Batch, rows: Tensor) -> Tensor:
        """Tokens (n, T, D) of some rows of a batch, all of which observe modality m. Shapes: rows (n,) int64."""
        name = self.names[m]
        return self.encode(m, batch.inputs[name][rows], batch.lengths[name][rows] if name in batch.lengths else None)

    def forward(self, batch: Batch) -> Tensor:
        return torch.stack(
            [self.modality(m, batch, rows) for m, rows in enumerate(rows_by_modality(batch.observed))], dim=1
        )  # (B, M, T, D)

    def modality(self, m: int, batch: Batch, rows: Tensor) -> Tensor:
        """Tokens (B, T, D) of modality m, zero outside `rows` (n,), those that observe it."""
        name = self.names[m]
        if len(rows) == len(batch):
            return self.encode(m, batch.inputs[name], batch.lengths.get(name))
        empty = torch.zeros(len(batch), self.tokens, self.width, dtype=self.dtype, device=rows.device)
        return empty if len(rows) == 0 else empty.index_copy(0, rows, self.encode_rows(m, batch, rows))

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class PatchEncoders(Encoders):
    """The tokeniser of both releases: raw values of any kind, flattened, padding as zeros, to patches to tokens. Shapes as `Encoders`."""

    def __init__(self, schema: Schema, tokens: int, width: int) -> None:
        nn.ModuleList.__init__(self, (PatchEmbedding(math.prod(modality.shape), tokens, width) for modality in schema))
        self.names, self.tokens, self.width = schema.names, tokens, width

    def encode(self, m: int, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self[m](without_padding(x, lengths).flatten(1))

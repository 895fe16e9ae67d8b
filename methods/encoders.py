"""From raw inputs to tokens: one encoder per modality, chosen by its kind, the same for every method.

Source: MoE-Retriever, appendix A.2 (MLP for vectors, GRU for sequences, CNN for images, 3D-CNN for volumes); the patch tokeniser
is the `PatchEmbeddings` of the released MoE-Retriever and Flex-MoE code. No encoder looks across rows (no batch norm), so
a row's tokens never depend on its batch mates.
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


class SequenceEncoder(nn.Module):
    """One-layer GRU, its outputs averaged over T equal stretches of time. Shapes: (B, L, F) -> (B, T, D)."""

    def __init__(self, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(modality.shape[1], width, batch_first=True)
        self.pool = nn.AdaptiveAvgPool1d(tokens)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.gru(x)  # (B, L, D)
        return self.pool(h.transpose(1, 2)).transpose(1, 2)  # (B, T, D)


class ImageEncoder(nn.Module):
    """Three convolutions with stride 2 after the first, averaged over a grid of T cells. Shapes: (B, channels, H, W) -> (B, T, D)."""

    def __init__(self, modality: Modality, tokens: int, width: int) -> None:
        super().__init__()
        hidden = max(8, width // 4)
        self.convolutions = nn.Sequential(
            nn.Conv2d(modality.shape[0], hidden, 3, padding=1), nn.ReLU(),
            nn.Conv2d(hidden, 2 * hidden, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(2 * hidden, width, 3, stride=2, padding=1),
        )  # fmt: skip
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


class Encoders(nn.ModuleList):
    """One encoder per modality, in schema order; observed rows alone reach it.

    Shapes: batch -> (B, M, T, D), zero where not observed. `encode(m, x)` maps rows (n, *shape) of modality m to (n, T, D).
    """

    def __init__(self, schema: Schema, tokens: int, width: int) -> None:
        super().__init__(ENCODERS[modality.kind](modality, tokens, width) for modality in schema)
        self.names = schema.names
        self.tokens = tokens
        self.width = width

    def encode(self, m: int, x: Tensor) -> Tensor:
        return self[m](x)

    def forward(self, batch: Batch) -> Tensor:
        return torch.stack([self.modality(m, batch) for m in range(len(self))], dim=1)  # (B, M, T, D)

    def modality(self, m: int, batch: Batch) -> Tensor:
        """Tokens (B, T, D) of modality m, zero in rows that do not observe it."""
        x = batch.inputs[self.names[m]]
        rows = batch.observed[:, m].nonzero().squeeze(1)  # (n,)
        if len(rows) == len(batch):
            return self.encode(m, x)
        empty = torch.zeros(len(batch), self.tokens, self.width, dtype=self.dtype, device=x.device)
        return empty if len(rows) == 0 else empty.index_copy(0, rows, self.encode(m, x[rows]))

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

"""From factors back to inputs: one decoder per modality, chosen by its kind, the same for every method that reconstructs.

What is reconstructed are the scaled values that a method reads, so that a squared error of 1 is that of predicting the mean, whatever the
kind: a vector whole, a sequence over its real steps, an image or volume averaged over a coarse grid. Decoders act in training alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Modality, Schema

SIDES = {"image": 16, "volume": 8}  # most cells of a grid along an axis


class VectorDecoder(nn.Sequential):
    """Two-layer perceptron. Shapes: (n, D_in) -> (n, F)."""

    def __init__(self, modality: Modality, features: int, width: int) -> None:
        super().__init__(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, modality.shape[0]))


class SequenceDecoder(nn.Module):
    """An LSTM that gets the code at its first step and nothing at the others. Shapes: (n, D_in), steps L -> (n, L, F).

    The released MFM feeds each state back as the next input; the sum of its two weight matrices makes this LSTM the same.
    """

    def __init__(self, modality: Modality, features: int, width: int) -> None:
        super().__init__()
        self.code: nn.Module = nn.Linear(features, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, modality.shape[1])

    def forward(self, x: Tensor, steps: int) -> Tensor:
        code = self.code(x).unsqueeze(1)  # (n, 1, D)
        h, _ = self.lstm(F.pad(code, (0, 0, 0, steps - 1)))  # (n, L, D)
        return self.out(h)


def grid_of(modality: Modality) -> tuple[int, ...]:
    """Cells along each axis of the grid that an image or volume is averaged over."""
    return tuple(min(size, SIDES[modality.kind]) for size in modality.shape[1:])


class GridDecoder(nn.Module):
    """Two-layer perceptron to the cells of a coarse grid. Shapes: (n, D_in) -> (n, channels, *grid)."""

    def __init__(self, modality: Modality, features: int, width: int) -> None:
        super().__init__()
        self.shape = (modality.shape[0], *grid_of(modality))
        self.perceptron = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, math.prod(self.shape)))

    def forward(self, x: Tensor) -> Tensor:
        return self.perceptron(x).unflatten(1, self.shape)


DECODERS: dict[str, type[nn.Module]] = {
    "vector": VectorDecoder, "sequence": SequenceDecoder, "image": GridDecoder, "volume": GridDecoder,
}  # fmt: skip


class Decoders(nn.ModuleList):
    """One decoder per modality, in schema order, of factors of `features` values; targets are cut at +-`clip` (0: not at all).

    `decode(m, factors, steps)` gives reconstructions, `targets(m, batch, rows)` what they are compared with.
    """

    def __init__(self, schema: Schema, features: int, width: int, clip: float = 0.0) -> None:
        super().__init__(DECODERS[modality.kind](modality, features, width) for modality in schema)
        self.schema, self.clip = schema, clip

    @property
    def idle_parameters(self) -> int:
        """All of them: a prediction needs no reconstruction."""
        return sum(parameter.numel() for parameter in self.parameters())

    def decode(self, m: int, factors: Tensor, steps: int | None = None) -> Tensor:
        """Shapes: factors (n, D_in) -> as the targets; of a sequence `steps` steps, all that the schema has if none are given."""
        modality = self.schema.modalities[m]
        return self[m](factors, steps or modality.shape[0]) if modality.kind == "sequence" else self[m](factors)

    def targets(self, m: int, batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """What rows (n,), all of which observe modality m, hold there, and which steps of a sequence are real, None for all.

        Shapes: vector (n, F); sequence (n, L, F) up to the longest of the rows, (n, L) bool; image and volume (n, channels, *grid).
        """
        modality = self.schema.modalities[m]
        x, real = batch.inputs[modality.name][rows], None
        if modality.name in batch.lengths and len(rows):
            lengths = batch.lengths[modality.name][rows]
            x = x[:, : int(lengths.max())]
            real = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
            x = torch.where(real.unsqueeze(2), x, 0.0)
        elif modality.kind == "image":
            x = F.adaptive_avg_pool2d(x, grid_of(modality))  # type: ignore[arg-type]  # as many sizes as it has axes
        elif modality.kind == "volume":
            x = F.adaptive_avg_pool3d(x, grid_of(modality))  # type: ignore[arg-type]
        return (x.clamp(-self.clip, self.clip) if self.clip else x), real

    def error(self, m: int, factors: Tensor, batch: Batch, rows: Tensor) -> Tensor:
        """Mean squared error () of the rows' reconstructions, each row's a mean over its real values; 0 without rows.

        Shapes: factors (n, D_in), rows (n,).
        """
        if not len(rows):
            return factors.sum() * 0.0
        target, real = self.targets(m, batch, rows)
        squares = (self.decode(m, factors, target.shape[1]) - target).square()
        if real is None:
            return squares.mean()
        return ((squares.mean(2) * real).sum(1) / real.sum(1)).mean()

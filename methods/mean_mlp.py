"""MeanMLP: a perceptron on mean-filled inputs and missing indicators.

Idea:    What plain early fusion reaches in the suite's own training loop: fill what is missing with the training mean, append
         one missing indicator per modality, and learn a perceptron with two hidden layers.
Source:  common practice.
Differs: nothing. A sequence enters as its mean over the real steps (as for the estimators, see `flatten`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.datasets.base import Batch, Modality, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import without_padding
from bench.methods.flatten import observed_means, widths
from bench.methods.layers import Dropout


@dataclass(frozen=True, kw_only=True)
class MeanMLPConfig(MethodConfig):
    width: int = 128  # units of each hidden layer
    layers: int = 2  # hidden layers
    dropout: float = 0.1  # after each hidden layer

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1 or self.layers < 1:
            raise ValueError(f"width and layers must be at least 1, got {self.width} and {self.layers}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


def flat(modality: Modality, batch: Batch) -> Tensor:
    """One modality as `flatten` gives it, as a tensor; anything where it is not observed. Shapes: -> (B, F)."""
    x = batch.inputs[modality.name]
    if modality.kind != "sequence":
        return x.flatten(1)
    lengths = batch.lengths.get(modality.name)
    if lengths is None:
        return x.mean(1)
    return without_padding(x, lengths).sum(1) / lengths.clamp(min=1).unsqueeze(1)


class MeanMLP(Method):
    """Early fusion of mean-filled raw inputs. Shapes: batch -> logits (B, C)."""

    Config = MeanMLPConfig
    search = {"learning_rate": (1e-4, 1e-3, 3e-3, 1e-2), "width": (64, 128, 256), "dropout": (0.0, 0.1, 0.3)}
    config: MeanMLPConfig
    owner: Tensor
    means: Tensor

    def __init__(self, schema: Schema, config: MeanMLPConfig) -> None:
        super().__init__(schema, config)
        sizes = torch.from_numpy(widths(schema))  # (M,)
        owner = torch.arange(len(schema)).repeat_interleave(sizes)  # (F,) modality of each column
        self.register_buffer("owner", owner, persistent=False)
        self.register_buffer("means", torch.zeros(len(owner)))  # (F,) training means, set by prepare
        layers: list[nn.Module] = []
        features = len(self.means) + len(schema)
        for _ in range(config.layers):
            layers += [nn.Linear(features, config.width), nn.ReLU(), Dropout(config.dropout)]
            features = config.width
        self.perceptron = nn.Sequential(*layers, nn.Linear(features, schema.outputs))

    def prepare(self, train: Samples) -> None:
        self.means.copy_(torch.from_numpy(observed_means(train)))

    def forward(self, batch: Batch) -> Prediction:
        indicators = (~batch.observed).to(self.means.dtype)  # (B, M)
        return Prediction(self.perceptron(torch.cat([self.fill(batch), indicators], dim=1)))

    def fill(self, batch: Batch) -> Tensor:
        """Inputs side by side, training means where not observed. Shapes: -> (B, F)."""
        raw = torch.cat([flat(m, batch) for m in self.schema], dim=1)  # (B, F)
        return torch.where(batch.observed[:, self.owner], raw, self.means)

"""DropoutTransformer: a small transformer over all tokens, trained with modality dropout.

Idea:    Late fusion at its plainest: the suite's encoders give tokens and a class token attends to those of observed modalities.
         In training half of the rows lose modalities at random, so that every subset is met. Nothing fills a missing modality.
Source:  common practice; modality dropout as in Neverova et al., ModDrop, TPAMI 2016.
Differs: ModDrop draws modalities independently; here a row's subset is uniform over its non-empty subsets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bench.datasets.base import Batch, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders
from bench.methods.layers import TransformerBlock, uniform_subset


@dataclass(frozen=True, kw_only=True)
class DropoutTransformerConfig(MethodConfig):
    tokens: int = 4  # T, tokens of each modality
    width: int = 64  # D of encoders and transformer
    heads: int = 4
    layers: int = 2
    hidden: int = 128  # units of a block's feed-forward part
    dropout: float = 0.1  # inside the transformer
    modality_dropout: float = 0.5  # p, share of training rows that keep a random subset alone

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.tokens, self.width, self.heads, self.layers, self.hidden) < 1:
            sizes = (self.tokens, self.width, self.heads, self.layers, self.hidden)
            raise ValueError(f"tokens, width, heads, layers and hidden must be at least 1, got {', '.join(map(str, sizes))}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        if not 0 <= self.dropout < 1 or not 0 <= self.modality_dropout <= 1:
            raise ValueError(f"dropout must be in [0, 1) and modality_dropout in [0, 1], got {self.dropout} and {self.modality_dropout}")


class DropoutTransformer(Method):
    """Class token over the tokens of observed modalities. Shapes: batch -> logits (B, C)."""

    Config = DropoutTransformerConfig
    traces = ("gradients",)
    search = {
        "learning_rate": (1e-4, 1e-3, 3e-3, 1e-2),
        "width": (32, 64, 128),
        "layers": (1, 2, 4),
        "modality_dropout": (0.0, 0.5, 1.0),
    }
    config: DropoutTransformerConfig

    def __init__(self, schema: Schema, config: DropoutTransformerConfig) -> None:
        super().__init__(schema, config)
        width = config.width
        self.encoders = Encoders(schema, config.tokens, width)
        self.modality_embedding = nn.Parameter(torch.randn(len(schema), 1, width) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(config.tokens, width) * 0.02)
        self.class_token = nn.Parameter(torch.randn(1, width) * 0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, config.heads, config.hidden, config.dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, schema.outputs)

    def forward(self, batch: Batch) -> Prediction:
        if self.training:
            batch = replace(batch, observed=self.dropped(batch.observed, self.drop(batch.observed)))
        tokens = self.encoders(batch) + self.modality_embedding + self.position_embedding  # (B, M, T, D)
        return Prediction(self.head(self.fuse(self.watch(tokens, batch.observed), batch.observed)))

    def drop(self, observed: Tensor) -> Tensor:
        """With probability p a row keeps a random non-empty subset of what it observes. Shapes: (B, M) bool -> (B, M) bool."""
        chosen = torch.rand(len(observed), 1, generator=self.generator, device=observed.device) < self.config.modality_dropout
        return torch.where(chosen, uniform_subset(observed, self.generator), observed)

    def fuse(self, tokens: Tensor, observed: Tensor) -> Tensor:
        """The class token, having attended to the observed tokens. Shapes: tokens (B, M, T, D), observed (B, M) -> (B, D)."""
        x = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens.flatten(1, 2)], dim=1)  # (B, 1 + M*T, D)
        keys = torch.cat([observed.new_ones(len(tokens), 1), observed.repeat_interleave(self.config.tokens, dim=1)], dim=1)
        for block in self.blocks:
            x = block(x, keys)
        return self.norm(x[:, 0])  # (B, D)

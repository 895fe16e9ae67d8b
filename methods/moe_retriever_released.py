"""What the released MoE-Retriever does where it departs from its paper: the parts that preset `as_released` is put together from.

Idea:    In the release a mean of encoder tokens overwrites what the experts make of a context, so that the retriever is never trained;
         its fusion layer adds attention to itself instead of to the input. Its encoders, which cut raw values into patches, stand in
         `bench.methods.encoders`, for the release of Flex-MoE has them too.
Source:  UNITES-Lab/moe-retriever, `models.py` (`PatchEmbeddings`, the retriever's and the fusion layer's forward pass).
Differs: nothing. `bench.methods.moe_retriever` holds the paper's parts, and what both have in common.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn

from bench.methods.layers import Dropout


class OverwrittenRetriever(nn.Module):
    """A context's own tokens, as if no expert had seen them. `dead`, a retriever, runs all the same, in eval mode, and changes nothing.

    Shapes: `Context` with tokens (Z, P, D) -> these tokens, no imbalance, no routing.
    """

    def __init__(self, dead: nn.Module | None = None) -> None:
        super().__init__()
        self.dead = dead

    def forward(self, context: Any, generator: Generator) -> tuple[Tensor, None, None]:
        if self.dead is not None:
            with torch.no_grad():
                self.dead.eval()(context, generator)  # in eval mode, so that no random number is spent
        return context.tokens, None, None


def attention_skip(z: Tensor, attention: Tensor, dropout: Dropout) -> Tensor:
    """a + a, where the paper has z + a: dropped inside the attention, then again. Keeps the shape."""
    return attention + dropout(attention)

"""HEALNet: a few learned latents read one modality after the other, and a missing one is skipped (NeurIPS 2024).

Idea:    A small array of learned vectors, the shared space, asks each modality's tokens in turn by cross-attention and updates itself,
         layer after layer; the mean of the final latents is classified. A missing modality's update is left out: nothing is imputed.
Source:  Hemker, Simidjievski, Jamnik, arXiv 2311.09115, equations 1-4 and algorithms 1-2; official code konst-int-i/healnet,
         `healnet/models/healnet.py`, `healnet/utils/train_utils.py`.
Differs: see `deviations`. Above all, in the release a missing modality's latents still attend to themselves, because the skip stands
         inside `if verbose:`. Preset `paper` has no such attention, `as_released` has it, `intended` skips it too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Modality, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders, rows_by_modality, without_padding
from bench.methods.layers import Dropout

log = logging.getLogger(__name__)

GATES: dict[str, Callable[[Tensor], Tensor]] = {"selu": F.selu, "gelu": F.gelu}
CHOICES: dict[str, tuple[str, ...]] = {
    "skip": ("update", "cross"), "share": ("layers", "none"), "start": ("uniform", "normal"), "context": ("encoder", "raw"),
    "gate": tuple(GATES), "order": ("schema", "reversed"),
}  # fmt: skip
SIZES = ("tokens", "width", "latents", "depth", "heads", "head_width", "latent_heads", "latent_head_width")


@dataclass(frozen=True, kw_only=True)
class HEALNetConfig(MethodConfig):
    epochs: int = 50  # paper, Table 6
    batch_size: int = 32  # ours; paper 8, released configs 4
    learning_rate: float = 1e-3  # ours: constant; paper: OneCycle up to 8e-3
    tokens: int = 16  # T of the suite's encoder; the paper attends to raw values
    width: int = 64  # d, of encoders and latents; paper 119, released configs 62 to 126
    latents: int = 16  # c, number of latents; paper 25, released configs 16 to 25
    depth: int = 2  # d in eq. 3, fusion layers; paper, Table 6
    heads: int = 8  # of the cross-attention; paper, Table 6
    head_width: int = 16  # W; paper, BLCA
    latent_heads: int = 8  # of the latents' attention to themselves; class default
    latent_head_width: int = 16  # ours; class default 64
    attention_dropout: float = 0.1  # on attention weights; paper .08 to .46
    dropout: float = 0.1  # behind the feed-forward; paper .05 to .47
    l1: float = 1e-5  # weight of the sum of absolute weights; paper, BLCA
    temperature: float = 1.0  # divides attention scores; paper: plain scaled dot product, code 0.5
    leak: bool = True  # LeakyReLU(0.01) behind the attention; code, the paper is silent
    gate: str = "selu"  # of the feed-forward, the paper's "SNN"; "gelu": the code's snn=False
    position: bool = True  # Fourier code of a token's place beside its values; code
    bands: int = 2  # frequencies of that code; code
    max_freq: float = 10.0  # highest of them, times two; code
    share: str = "layers"  # a modality's weights are the same in all layers, paper; "none": in no two, all released configs
    self_attention: bool = False  # latents attend to themselves after every modality; in no line of the paper, class default 1
    skip: str = "update"  # of a missing modality: the whole update, paper; "cross": its cross-attention alone, code
    start: str = "uniform"  # latents from U(0, 1), algorithm 1; "normal": N(0, 1), code
    order: str = "schema"  # in which modalities are read; "reversed": the last one first
    context: str = "encoder"  # tokens of the suite's encoder; "raw": values of a vector, steps, pixels or voxels, paper and code
    seen_only: bool = True  # a modality that no training row observes is skipped: its weights are still random; ours

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("attention_dropout", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.temperature <= 0 or self.l1 < 0:
            raise ValueError(f"temperature must be positive and l1 not negative, got {self.temperature} and {self.l1}")
        if self.bands < 1 or self.max_freq <= 0:
            raise ValueError(f"bands must be at least 1 and max_freq positive, got {self.bands} and {self.max_freq}")


def fourier_code(sizes: Sequence[int], bands: int, max_freq: float) -> Tensor:
    """Of each cell of a grid, for each axis: sines and cosines of its place in [-1, 1] at growing frequencies, then the place.

    Shapes: -> (product of sizes, axes * (2 * bands + 1)), rows in row-major order. An axis of one cell has the place -1.
    Source: Perceiver, as in the released `fourier_encode`.
    """
    scales = torch.linspace(1.0, max_freq / 2, bands) * math.pi
    codes = []
    for place in torch.meshgrid(*(torch.linspace(-1.0, 1.0, size) for size in sizes), indexing="ij"):
        angles = place.unsqueeze(-1) * scales  # (*sizes, bands)
        codes.append(torch.cat([angles.sin(), angles.cos(), place.unsqueeze(-1)], dim=-1))
    return torch.cat(codes, dim=-1).flatten(0, -2)


class Read(NamedTuple):
    """Keys and values of a context, and which keys are real. Shapes: (n, H, T, W) twice, (n, 1, 1, T) bool or None."""

    keys: Tensor
    values: Tensor
    real: Tensor | None = None


class LatentAttention(nn.Module):
    """What the latents take from a context, eq. 1: (n, N, D) and a `Read` -> (n, N, D) and the weights (n, H, N, T).

    `features` is the width of a context's token; None: the context is the latents themselves, and there is nothing to read before.
    """

    def __init__(self, config: HEALNetConfig, heads: int, head_width: int, features: int | None) -> None:
        super().__init__()
        self.heads, self.scale, self.leak = heads, head_width**-0.5 / config.temperature, config.leak
        self.norm = nn.LayerNorm(config.width)
        self.norm_context = None if features is None else nn.LayerNorm(features)
        self.query = nn.Linear(config.width, heads * head_width, bias=False)
        self.key_value = nn.Linear(config.width if features is None else features, 2 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, config.width)
        self.dropout = Dropout(config.attention_dropout)

    def read(self, context: Tensor, real: Tensor | None = None) -> Read:
        """Keys and values of a context. Shapes: (n, T, C), real (n, T) bool or None."""
        normed = context if self.norm_context is None else self.norm_context(context)
        keys, values = self.key_value(normed).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (n, H, T, W)
        return Read(keys, values, None if real is None else real[:, None, None, :])

    def forward(self, latents: Tensor, read: Read | None = None) -> tuple[Tensor, Tensor]:
        normed = self.norm(latents)
        read = self.read(normed) if read is None else read
        queries = self.query(normed).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, H, N, W)
        scores = (queries * self.scale) @ read.keys.mT  # (n, H, N, T)
        if read.real is not None:
            scores = scores.masked_fill(~read.real, -torch.inf)
        weights = scores.softmax(3)
        taken = self.out((self.dropout(weights) @ read.values).transpose(1, 2).flatten(2))  # (n, N, D)
        return (F.leaky_relu(taken) if self.leak else taken), weights


class GatedFeedForward(nn.Module):
    """Norm, then Linear(4D, D) of u * SELU(g), where u and g are the halves of Linear(D, 8D). Shapes: (n, N, D) -> (n, N, D)."""

    def __init__(self, config: HEALNetConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.widen, self.narrow = nn.Linear(config.width, 8 * config.width), nn.Linear(4 * config.width, config.width)
        self.gate, self.dropout = GATES[config.gate], Dropout(config.dropout)

    def forward(self, latents: Tensor) -> Tensor:
        value, gate = self.widen(self.norm(latents)).chunk(2, dim=2)  # each (n, N, 4D)
        return self.dropout(self.narrow(value * self.gate(gate)))


class Update(nn.Module):
    """Latents after reading a context, eq. 2: attention, then feed-forward, each added to its input."""

    def __init__(self, config: HEALNetConfig, heads: int, head_width: int, features: int | None = None) -> None:
        super().__init__()
        self.attention = LatentAttention(config, heads, head_width, features)
        self.feed = GatedFeedForward(config)

    def forward(self, latents: Tensor, read: Read | None = None) -> tuple[Tensor, Tensor]:
        taken, weights = self.attention(latents, read)
        latents = latents + taken
        return latents + self.feed(latents), weights


class FusionLayer(nn.Module):
    """The updates of one fusion layer, eq. 3: one for each modality, and the latents' own if they attend to themselves."""

    cross: Sequence[Update]

    def __init__(self, config: HEALNetConfig, features: Sequence[int]) -> None:
        super().__init__()
        self.add_module("cross", nn.ModuleList(Update(config, config.heads, config.head_width, size) for size in features))
        self.own = Update(config, config.latent_heads, config.latent_head_width) if config.self_attention else None


class Tokens(nn.Module):
    """The context of each modality, each token with the code of its place.

    Of the suite's encoder T tokens on one axis; raw: a vector is one token, a sequence its steps, an image or volume its pixels or
    voxels, on as many axes. `read(m, ...)` -> (n, T_m, C_m), of rows that observe modality m, and which tokens are real, None for all.
    """

    def __init__(self, schema: Schema, config: HEALNetConfig) -> None:
        super().__init__()
        self.schema, self.tokens = schema, config.tokens
        self.encoders = Encoders(schema, config.tokens, config.width) if config.context == "encoder" else None
        self.features = []  # C_m
        for m, modality in enumerate(schema):
            sizes, channels = ((config.tokens,), config.width) if self.encoders is not None else self.raw_shape(modality)
            code = fourier_code(sizes, config.bands, config.max_freq) if config.position else torch.zeros(math.prod(sizes), 0)
            self.register_buffer(f"code{m}", code, persistent=False)  # (T_m, P)
            self.features.append(channels + code.shape[1])

    @staticmethod
    def raw_shape(modality: Modality) -> tuple[tuple[int, ...], int]:
        """The axes of a modality's raw tokens, and a token's channels."""
        if modality.kind == "vector":
            return (1,), modality.shape[0]
        return (modality.shape[:1], modality.shape[1]) if modality.kind == "sequence" else (modality.shape[1:], modality.shape[0])

    def read(self, m: int, batch: Batch, rows: Tensor, encoded: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Shapes: rows (n,), those that observe modality m; encoded (B, M, T, D), None where tokens are raw values."""
        real, code = None, self.get_buffer(f"code{m}")
        if encoded is not None:
            tokens = encoded[rows, m]  # (n, T, D)
        else:
            modality = self.schema.modalities[m]
            x = batch.inputs[modality.name][rows]
            if modality.kind == "sequence":
                lengths = batch.lengths[modality.name][rows] if modality.name in batch.lengths else None
                tokens = without_padding(x, lengths)  # (n, L, F)
                real = None if lengths is None else torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)  # (n, L)
            else:
                tokens = x.unsqueeze(1) if modality.kind == "vector" else x.flatten(2).mT  # (n, T, channels)
        return torch.cat([tokens, code.expand(len(tokens), -1, -1)], dim=2), real


class HEALNet(Method):
    """Latents that read one modality after the other. Shapes: batch -> logits (B, C); penalty `l1` in training."""

    Config = HEALNetConfig
    config: HEALNetConfig
    layers: Sequence[FusionLayer]
    seen: Tensor
    paper = "Hemker, Simidjievski, Jamnik: HEALNet: Multimodal Fusion for Heterogeneous Biomedical Data, NeurIPS 2024, arXiv 2311.09115"
    year = 2024
    repository = "konst-int-i/healnet"
    traces = ("updates", "gradients")
    presets = {
        "paper": {},
        "as_released": {
            "self_attention": True, "skip": "cross", "share": "none", "temperature": 0.5, "start": "normal", "l1": 1.6e-4,
            "seen_only": False,
        },
        "intended": {"self_attention": True, "share": "none", "temperature": 0.5, "start": "normal", "l1": 1.6e-4, "seen_only": False},
    }  # fmt: skip
    search = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3, 8e-3), "depth": (1, 2, 3, 5), "latents": (8, 16, 32), "width": (32, 64, 128),
        "attention_dropout": (0.0, 0.1, 0.3), "dropout": (0.0, 0.1, 0.3), "l1": (0.0, 1e-6, 1e-5, 1e-4),
    }  # fmt: skip
    deviations = (
        "Latents read the tokens of the suite's encoders; paper and code read raw values (context='raw'), where a vector is one "
        "token and its attention weights are all 1.",
        "The position code counts an encoder's tokens along one axis; the code has one axis for each of the raw data's.",
        "The learning rate is constant; paper and code use OneCycle up to 8e-3, which the suite does not have.",
        "The L1 penalty is the sum over the method's own weights, the suite's encoders left out; in the code over all.",
        "as_released weighs L1 16 times as much: the code divides the loss by 16 for an accumulation that never happens.",
        "The latent array has 16 x 64 values; the paper's has 25 x 119, those of the released configs 16 x 65 to 25 x 119.",
        "LeakyReLU behind the attention and the gated SELU feed-forward are the code's; the paper does not give their form.",
        "Paper: a modality's weights are the same in all layers. All released configs separate them (share='none'), under a comment "
        "that says the opposite of what the option does; its True would leave the first layer apart.",
        "Released attention scores are divided by a fixed 0.5 (temperature); equation 4 has no such factor.",
        "The released skip of a missing modality stands inside `if verbose:`; without it the latents' self-attention of that step still "
        "runs, so logits depend on `verbose`. as_released is verbose=False, intended is verbose=True; at self_attention=false, "
        "as in the paper and its best configs, there is no difference.",
        "Missing modalities are skipped row by row; the release knows whole batches alone, and equals this run row by row.",
        "A width that does not fit is an error here; the release swallows every exception of a step and goes on as if it were missing.",
        "A modality that no training row observes is skipped (seen_only); in as_released its untrained weights act.",
        "The release writes encoded tensors back into the caller's list, so that a second call reads other values; not copied.",
        "Released early stopping keeps a shallow copy, so that its best weights are the last; the suite chooses the checkpoint.",
        "A row without any modality gives the logits of the latents as they start; the release stops with an error.",
        "The task loss is the suite's cross entropy; the paper's survival loss has no counterpart here.",
    )

    def __init__(self, schema: Schema, config: HEALNetConfig) -> None:
        super().__init__(schema, config)
        self.tokens = Tokens(schema, config)
        draw = torch.rand if config.start == "uniform" else torch.randn
        self.latents = nn.Parameter(draw(config.latents, config.width))  # S_0
        separate = config.depth if config.share == "none" else 1
        self.add_module("layers", nn.ModuleList(FusionLayer(config, self.tokens.features) for _ in range(separate)))
        self.head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, schema.outputs))
        self.register_buffer("seen", torch.ones(len(schema), dtype=torch.bool))  # (M,) observed by a training row

    def prepare(self, train: Samples) -> None:
        """Note which modalities training rows observe; with `seen_only`, any other counts as missing from here on."""
        if not self.config.seen_only:
            return
        self.seen.copy_(torch.from_numpy(train.observed.any(0)))
        for name, seen in zip(self.schema.names, self.seen.tolist(), strict=True):
            if not seen:
                log.warning("healnet: no training row observes %s; it counts as missing", name)

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=batch.observed & self.seen)
        latents = self.fuse(self.latents.repeat(len(batch), 1, 1), batch)  # (B, N, D)
        return Prediction(self.head(latents.mean(1)), self.penalties())

    def fuse(self, latents: Tensor, batch: Batch) -> Tensor:
        """Latents after all layers have read all modalities that a row observes. Shapes: (B, N, D) -> the same."""
        encoders = self.tokens.encoders
        encoded = None if encoders is None else self.watch(encoders(batch), batch.observed)  # (B, M, T, D)
        rows_of = rows_by_modality(batch.observed)  # (n,) each
        contexts = [self.tokens.read(m, batch, rows, encoded) if len(rows) else None for m, rows in enumerate(rows_of)]
        reads = [  # keys and values do not depend on the latents: shared weights read a modality once for all layers
            [None if context is None else update.attention.read(*context) for update, context in zip(layer.cross, contexts, strict=True)]
            for layer in self.layers
        ]
        order = range(len(self.schema))
        for depth in range(self.config.depth):
            layer = depth % len(self.layers)
            for m in order if self.config.order == "schema" else reversed(order):
                latents = self.step(latents, self.layers[layer], m, reads[layer][m], rows_of[m], batch.index, depth)
        return latents

    def step(self, latents: Tensor, layer: FusionLayer, m: int, read: Read | None, rows: Tensor, index: Tensor, depth: int) -> Tensor:
        """One modality's update of the rows that observe it; gathered and put back, so that nothing of other rows is computed."""
        if read is not None:
            before = latents if len(rows) == len(latents) else latents[rows]  # (n, N, D)
            after, weights = layer.cross[m](before, read)
            self.trace_update(before, after, weights, read.real, m, index[rows], depth)
            if layer.own is not None and self.config.skip == "update":
                after, _ = layer.own(after)
            latents = after if len(rows) == len(latents) else latents.index_copy(0, rows, after)
        if layer.own is not None and self.config.skip == "cross":
            latents, _ = layer.own(latents)  # of every row, as released
        return latents

    def penalties(self) -> dict[str, Tensor]:
        """`l1`: weighted sum of the absolute values of all weights but the encoders', shared ones once; nothing in evaluation."""
        if not self.training or self.config.l1 == 0:
            return {}
        own = (parameter for name, parameter in self.named_parameters() if not name.startswith("tokens."))
        return {"l1": self.config.l1 * torch.stack([parameter.abs().sum() for parameter in own]).sum()}

    def trace_update(self, before: Tensor, after: Tensor, weights: Tensor, real: Tensor | None, m: int, sample: Tensor, depth: int) -> None:
        """How far a modality moved the latents, and how evenly they attended to it."""
        if self.tracer is None or self.training:
            return
        entropy = torch.special.entr(weights).sum(3).mean((1, 2))  # (n,)
        count = torch.full_like(entropy, weights.shape[3]) if real is None else real.flatten(1).sum(1).to(entropy.dtype)
        columns = {"layer": torch.full_like(sample, depth), "modality": torch.full_like(sample, m)}
        size = (after - before).flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
        self.trace("updates", sample=sample, **columns, size=size, entropy=entropy / count.log())

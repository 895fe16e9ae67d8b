"""mmFormer: one transformer within each modality, one across all, trained with random modalities away (MICCAI 2022).

Idea:    Each modality is encoded and attends to itself; then the tokens of all modalities attend to one another, with zeros in
         place of the missing ones. Nothing is imputed. What makes it robust is the training: modalities are dropped at random,
         and two auxiliary losses make every single modality, and the decoder's bottleneck, solve the task alone.
Source:  Zhang et al., MICCAI 2022, arXiv 2206.02425; official code YaoZhang93/mmFormer: mmformer.py (model), layers.py (fusion
         unit), train.py (losses, schedule), data/datasets_nii.py (modality dropout).
Differs: the original segments brain scans. Here a shared linear head takes the place of the shared decoder, one head on the
         bottleneck that of the deeply supervised decoder, token means that of the grid; see `MMFormer.deviations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from bench.datasets.base import Batch, Schema
from bench.methods.base import Method, MethodConfig, Prediction, row_losses, task_loss
from bench.methods.encoders import Encoders, rows_by_modality
from bench.methods.layers import Attention, Dropout, FeedForward, uniform_subset

SAMPLERS = ("subset", "bernoulli", "none")
TREATMENTS = ("zero", "mask")


@dataclass(frozen=True, kw_only=True)
class MMFormerConfig(MethodConfig):
    """Hyper-parameters of mmFormer; `width` must be a multiple of `heads`."""

    epochs: int = 50  # E; the code trains 1000 (preset official): a laptop's budget is ours
    batch_size: int = 32  # 8 in the code's job.sh, where one sample is a 128^3 volume
    learning_rate: float = 2e-4  # train.py
    weight_decay: float = 1e-4  # train.py, L2 inside Adam
    amsgrad: bool = True  # train.py
    schedule: str = "poly"  # lr_scheduler.py: (1 - e/E)^0.9 per epoch
    clip_norm: float = 1.0  # ours, for safety; the code does not clip
    tokens: int = 16  # T_m tokens of each modality; 8^3 = 512 grid cells in the code
    width: int = 128  # d; 512 in the code
    heads: int = 8  # h, as in the code
    intra_depth: int = 1  # blocks of each intra-modal transformer, as in the code; 0 = the paper's ablation without it
    inter_depth: int = 1  # blocks of the inter-modal transformer, as in the code; 0 = the paper's ablation without it
    ffn_ratio: int = 2  # r, hidden width of the feed-forward parts / d; 8 in the code (preset official)
    dropout: float = 0.1  # p, as in the code
    modality_dropout: str = "subset"  # "subset": uniform over non-empty subsets, as in the code; "bernoulli"; "none"
    keep_prob: float = 0.5  # q, chance that "bernoulli" keeps a modality; the paper's indicator has 1/2
    missing_tokens: str = "zero"  # "zero": attended to as zero + position, as in the code; "mask": left out of attention
    lambda_enc: float = 1.0  # weight of the single-modality losses (encoder regulariser); 1 in the code
    lambda_dec: float = 1.0  # weight of the bottleneck loss (decoder regulariser); 1 in the code

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.tokens, self.width, self.heads, self.ffn_ratio) < 1:
            sizes = f"{self.tokens}, {self.width}, {self.heads} and {self.ffn_ratio}"
            raise ValueError(f"tokens, width, heads and ffn_ratio must be at least 1, got {sizes}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        if min(self.intra_depth, self.inter_depth) < 0:
            raise ValueError(f"intra_depth and inter_depth must not be negative, got {self.intra_depth} and {self.inter_depth}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.modality_dropout not in SAMPLERS:
            raise ValueError(f"modality_dropout must be one of {', '.join(SAMPLERS)}, got {self.modality_dropout!r}")
        if not 0 < self.keep_prob <= 1:
            raise ValueError(f"keep_prob must be in (0, 1], got {self.keep_prob}")
        if self.keep_prob != 0.5 and self.modality_dropout != "bernoulli":
            raise ValueError(f"keep_prob {self.keep_prob} needs modality_dropout=bernoulli, got {self.modality_dropout!r}")
        if self.missing_tokens not in TREATMENTS:
            raise ValueError(f"missing_tokens must be one of {', '.join(TREATMENTS)}, got {self.missing_tokens!r}")
        if min(self.lambda_enc, self.lambda_dec) < 0:
            raise ValueError(f"lambda_enc and lambda_dec must not be negative, got {self.lambda_enc} and {self.lambda_dec}")


def bernoulli_subset(observed: Tensor, keep_prob: float, generator: Generator) -> Tensor:
    """Each observed modality kept with probability `keep_prob`; a row left empty gets one back, uniformly chosen.

    Shapes: observed (B, M) bool -> (B, M) bool. The one given back has the smallest draw: where any was kept, that one was too.
    """
    draws = torch.rand(observed.shape, generator=generator, device=observed.device, dtype=torch.float64)
    smallest = draws.masked_fill(~observed, 2.0).amin(1, keepdim=True)  # (B, 1)
    return observed & ((draws < keep_prob) | (draws == smallest))


class Block(nn.Module):
    """Pre-norm transformer block that adds the position first and drops the attention's output twice.

    Shapes: x (B, N, D), position (N, D), keys (B, N) bool or None -> (B, N, D).
    Source: mmformer.py (SelfAttention, PreNormDrop, PreNorm, FeedForward, Transformer).
    """

    def __init__(self, config: MMFormerConfig) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, dropout, qkv_bias=False)
        self.feed_forward = FeedForward(width, config.ffn_ratio * width, dropout)
        self.dropout1 = Dropout(1 - (1 - dropout) ** 2)  # p after W_o and p on the residual branch, in one draw
        self.dropout2 = Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor, keys: Tensor | None = None) -> Tensor:
        x = x + position
        x = x + self.dropout1(self.attention(self.norm1(x), keys))
        return x + self.dropout2(self.feed_forward(self.norm2(x)))


class Transformer(nn.ModuleList):
    """Blocks in a row, the same position added before each. Shapes as `Block`."""

    def __init__(self, depth: int, config: MMFormerConfig) -> None:
        super().__init__(Block(config) for _ in range(depth))

    def forward(self, x: Tensor, position: Tensor, keys: Tensor | None = None) -> Tensor:
        for block in self:
            x = block(x, position, keys)
        return x


class Fusion(nn.Sequential):
    """Fusion unit ("RFM" in the code): twice norm, leaky ReLU, linear. Shapes: (B, inputs) -> (B, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(
            nn.LayerNorm(inputs), nn.LeakyReLU(0.2), nn.Linear(inputs, width),
            nn.LayerNorm(width), nn.LeakyReLU(0.2), nn.Linear(width, width),
        )  # fmt: skip


class MMFormer(Method):
    """Hybrid encoders, intra- and inter-modal transformers, a bottleneck joined with a skip path, and two auxiliary heads."""

    Config = MMFormerConfig
    presets = {
        "paper": {},
        "official": {"ffn_ratio": 8, "epochs": 1000, "batch_size": 8, "clip_norm": 0.0},  # as published, but for size
        "plain_ce": {"lambda_enc": 0.0, "lambda_dec": 0.0},  # as community ports to classification train it
    }
    search = {
        "learning_rate": (1e-4, 2e-4, 5e-4, 1e-3, 3e-3),
        "batch_size": (16, 32, 64),
        "width": (64, 128, 256),
        "heads": (4, 8),
        "dropout": (0.0, 0.1, 0.2, 0.3),
        "lambda_enc": (0.0, 0.1, 0.5, 1.0),
        "lambda_dec": (0.0, 0.1, 0.5, 1.0),
    }
    paper = "Zhang et al., MICCAI 2022, arXiv 2206.02425"
    year = 2022
    repository = "YaoZhang93/mmFormer"
    traces = ("gradients",)
    deviations = (
        "Classification instead of segmentation: cross entropy takes the place of Dice plus weighted cross entropy in all terms; of labels "
        "and values the suite's loss for them.",
        "The suite's encoders replace the 3-D convolutional ones; a linear layer per modality stands for the 1x1x1 tokeniser.",
        "The encoder regulariser is one linear head shared by all modalities instead of a shared convolutional decoder.",
        "The decoder regulariser is one head on the bottleneck, since this decoder has one stage and not four.",
        "One skip path (mean of the tokens before the transformers) instead of four scales of masked convolutional features.",
        "Before the bottleneck, tokens are averaged per modality and concatenated; the released reshaping hands each grid cell "
        "four consecutive tokens of one modality, against the evident intent, and has no counterpart without a grid.",
        "Fusion units take M * d inputs and have two steps with LayerNorm; the code's take channels * classes (4 = 4 there) and "
        "have three convolutions with InstanceNorm.",
        "The regulariser of the encoders counts modalities that are observed, whatever modality dropout removes, and modality "
        "dropout draws from the observed ones alone, so that data with natural gaps can be learned from.",
        "Width 128, 16 tokens, feed-forward ratio 2 and 50 epochs in batches of 32 by default (code: 512, 512, 8, 1000, 8); "
        "gradients are clipped at norm 1; the suite selects the checkpoint where the code takes the last epoch.",
        "Layers start as torch starts them; the code draws its convolutions from a Kaiming normal distribution.",
    )  # fmt: skip

    def __init__(self, schema: Schema, config: MMFormerConfig) -> None:
        super().__init__(schema, config)
        modalities, width, outputs = len(schema), config.width, schema.outputs
        self.encoders = Encoders(schema, config.tokens, width)
        self.tokenisers = nn.ModuleList(nn.Linear(width, width) for _ in schema)
        self.position = nn.ParameterList(torch.zeros(config.tokens, width) for _ in schema)  # of intra and inter alike
        self.intra = nn.ModuleList(Transformer(config.intra_depth, config) for _ in schema)
        self.inter = Transformer(config.inter_depth, config)
        self.decode = nn.Linear(modalities * width, modalities * width)
        self.bottleneck = Fusion(modalities * width, width)
        self.skip = Fusion(modalities * width, width)
        self.mix = Fusion(2 * width, width)
        self.head = nn.Linear(width, outputs)
        self.encoder_head = nn.Linear(width, outputs) if config.lambda_enc else None  # one for all modalities
        self.decoder_head = nn.Linear(width, outputs) if config.lambda_dec else None

    def forward(self, batch: Batch) -> Prediction:
        local, tokens = self.encode(batch)  # each (B, M, T, D)
        tokens = self.watch(tokens, batch.observed)
        kept = self.keep(batch.observed)  # (B, M)
        summaries = local.mean(2)  # (B, M, D) each modality alone, before the transformers
        bottleneck = self.bottleneck(self.decode(self.correlate(tokens, kept).flatten(1)))  # (B, D)
        skip = self.skip((summaries * kept.unsqueeze(2)).flatten(1))  # (B, D)
        logits = self.head(self.mix(torch.cat([bottleneck, skip], 1)))  # (B, C)
        return Prediction(logits, self.penalties(summaries, bottleneck, batch) if self.training else {})

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Tokens before and after the intra-modal transformers, zero where not observed. Shapes: each (B, M, T, D)."""
        pairs = [self.encode_modality(m, batch, rows) for m, rows in enumerate(rows_by_modality(batch.observed))]
        local, tokens = zip(*pairs, strict=True)
        return torch.stack(local, 1), torch.stack(tokens, 1)

    def encode_modality(self, m: int, batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As `encode`, of modality m: the rows (n,) that observe it are computed alone. Shapes: each (B, T, D)."""
        empty = self.position[m].new_zeros(len(batch), *self.position[m].shape)
        if len(rows) == 0:
            return empty, empty
        local = self.tokenisers[m](self.encoders.encode_rows(m, batch, rows))  # (n, T, D)
        tokens = self.intra[m](local, self.position[m])
        return empty.index_copy(0, rows, local), empty.index_copy(0, rows, tokens)  # (B, T, D)

    def keep(self, observed: Tensor) -> Tensor:
        """The modalities used in this pass (delta): the observed ones, in training a random part of them. Shapes: (B, M)."""
        if not self.training or self.config.modality_dropout == "none":
            return observed
        if self.config.modality_dropout == "subset":
            return self.dropped(observed, uniform_subset(observed, self.generator))
        return self.dropped(observed, bernoulli_subset(observed, self.config.keep_prob, self.generator))

    def correlate(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Mean over each modality's tokens after the inter-modal transformer. Shapes: (B, M, T, D), (B, M) -> (B, M, D)."""
        tokens = tokens * kept[:, :, None, None]
        keys = None
        if self.config.missing_tokens == "mask":
            keys = (kept | ~kept.any(1, keepdim=True)).repeat_interleave(self.config.tokens, 1)  # (B, N), no row without keys
        mixed = self.inter(tokens.flatten(1, 2), torch.cat(list(self.position)), keys)  # (B, N, D)
        means = mixed.unflatten(1, tokens.shape[1:3]).mean(2)  # (B, M, D)
        return means if keys is None else means * kept.unsqueeze(2)

    def penalties(self, summaries: Tensor, bottleneck: Tensor, batch: Batch) -> Mapping[str, Tensor]:
        """Weighted losses of the auxiliary heads: each observed modality alone, and the bottleneck. Shapes: (B, M, D), (B, D)."""
        found, asked = {}, self.schema.target
        if self.encoder_head is not None:
            losses = row_losses(asked, self.encoder_head(summaries), batch.target, self.config.value_loss)  # (B, M)
            means = (losses * batch.observed).sum(0) / batch.observed.sum(0).clamp(min=1)  # (M,)
            found["encoder"] = self.config.lambda_enc * means.sum()
        if self.decoder_head is not None:
            loss = task_loss(asked, self.decoder_head(bottleneck), batch.target, self.config.value_loss)
            found["decoder"] = self.config.lambda_dec * loss
        return found

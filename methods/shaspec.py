"""ShaSpec: shared and specific features, and a stand-in made of the shared ones (CVPR 2023).

Idea:    Every modality is described twice: by a shared encoder with tied weights, pulled together across modalities, and by an
         encoder of its own, kept recognisable by a modality classifier. Both are fused residually. A missing modality is stood
         in for by the mean of the shared features of those that are there, so the decoder always sees M features.
Source:  Wang et al., arXiv 2307.14126, eq. 1-9; official code billhhh/ShaSpec, `DualNet_SS.py`, `train_SS.py`.
Differs: the released code segments volumes; its classification variant was never released and is built here from the paper. Raw
         inputs of different shapes cannot enter one encoder, so each modality has a stem of common width first. LayerNorm, not
         BatchNorm. Every available pair is aligned, not a ring of four; missing modalities join neither loss. Weight decay 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders, rows_by_modality
from bench.methods.layers import Dropout, uniform_size_subset

CHOICES = {
    "dao": ("l1", "mse", "ce", "kl"),
    "pairs": ("all", "ring"),
    "standin": ("mean", "first"),
    "stem": ("single", "dual"),
    "modality_dropout": ("none", "uniform_k"),
}
KL_CLASSES = 16  # outputs of the projection under `dao="kl"`


@dataclass(frozen=True, kw_only=True)
class ShaSpecConfig(MethodConfig):
    epochs: int = 60  # paper, Audiovision-MNIST
    batch_size: int = 32  # not stated in the paper
    learning_rate: float = 1e-3  # paper, Audiovision-MNIST
    weight_decay: float = 1e-4  # the paper's 1e-2 is strong beside LayerNorm; preset official_cls keeps it
    schedule: str = "step"  # paper: "decreased by 10 % every 20 epochs", read as x0.9
    tokens: int = 1  # T, tokens an encoder gives; their mean is used
    width: int = 128  # D of the encoders and d of every feature; not stated in the paper (its OpenI LSTM has 128)
    decoder_dropout: float = 0.5  # paper: two layers with dropout, rate not stated
    alpha: float = 0.1  # alpha, weight of the alignment (DAO), eq. 9
    beta: float = 0.02  # beta, weight of the modality classification (DCO), eq. 9
    dao: str = "l1"  # distance between shared features: "l1" (paper's choice), "mse", "ce" (eq. 6), "kl" (eq. 7)
    pairs: str = "all"  # "all": every available pair, eq. 8; "ring": (m, m+1) alone, as released
    standin: str = "mean"  # for a missing modality: "mean" of the shared features, eq. 4; "first": one of them, as released
    stem: str = "single"  # "single": both paths start from one encoder; "dual": the shared path has encoders of its own
    modality_dropout: str = "none"  # "uniform_k": train on subsets of random size, the paper's BraTS setting
    dropout_warmup_frac: float = 0.0  # share of the epochs before that dropout starts; released code: 80k of 180k steps = 0.44

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens < 1 or self.width < 1:
            raise ValueError(f"tokens and width must be at least 1, got {self.tokens} and {self.width}")
        if self.alpha < 0 or self.beta < 0:
            raise ValueError(f"alpha and beta must not be negative, got {self.alpha} and {self.beta}")
        if not 0 <= self.decoder_dropout < 1 or not 0 <= self.dropout_warmup_frac <= 1:
            raise ValueError("decoder_dropout must be in [0, 1) and dropout_warmup_frac in [0, 1], got "
                             f"{self.decoder_dropout} and {self.dropout_warmup_frac}")  # fmt: skip
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.dropout_warmup_frac and self.modality_dropout == "none":
            raise ValueError(f"dropout_warmup_frac {self.dropout_warmup_frac} needs modality_dropout=uniform_k, got 'none'")


class Stems(nn.Module):
    """From raw inputs to one space: the suite's encoder, the mean of its tokens, linear, norm, ReLU; one of each per modality.

    Shapes: rows (n,) of a batch, which observe modality m -> (n, D).
    """

    def __init__(self, schema: Schema, config: ShaSpecConfig) -> None:
        super().__init__()
        width = config.width
        self.encoders = Encoders(schema, config.tokens, width)
        self.lifts = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU()) for _ in schema)

    def forward(self, m: int, batch: Batch, rows: Tensor) -> Tensor:
        return self.lifts[m](self.encoders.encode_rows(m, batch, rows).mean(1))  # (n, D)


class FeatureEncoder(nn.Sequential):
    """f_sha (one, with tied weights) and f_spec (one per modality) on top of a stem. Shapes: (V, D) -> (V, D)."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))


class DomainClassifier(nn.Linear):
    """f_dco: which modality a specific feature came from, eq. 5."""

    def __init__(self, width: int, modalities: int) -> None:
        super().__init__(width, modalities)

    def loss(self, specific: Tensor, observed: Tensor) -> Tensor:
        """Mean cross entropy over the observed cells, 0 if there is none. Shapes: (B, M, D), observed (B, M) bool -> ()."""
        modality = torch.arange(observed.shape[1], device=observed.device)
        target = torch.where(observed, modality, -100)  # (B, M); -100 is left out by cross_entropy
        total = F.cross_entropy(self(specific).transpose(1, 2), target, reduction="sum", ignore_index=-100)
        return total / observed.sum().clamp(min=1)


class Alignment(nn.Module):
    """The alignment objective (DAO): how far apart the shared features of one sample's modalities are, eq. 6-8.

    Shapes: shared (B, M, D), observed (B, M) bool -> (). Exactly 0 where no pair (for "ce": no cell) is observed.
    """

    def __init__(self, config: ShaSpecConfig, modalities: int) -> None:
        super().__init__()
        self.kind, self.pairs = config.dao, config.pairs
        outputs = {"ce": modalities, "kl": KL_CLASSES}.get(config.dao)
        self.project = nn.Identity() if outputs is None else nn.Linear(config.width, outputs)  # f_dao

    def forward(self, shared: Tensor, observed: Tensor) -> Tensor:
        if self.kind == "ce":  # cross entropy to the uniform distribution 1/M
            entropy = -self.project(shared).log_softmax(2).mean(2)  # (B, M)
            return torch.where(observed, entropy, 0.0).sum() / observed.sum().clamp(min=1)
        modalities = shared.shape[1]
        i, j = self.partners(modalities, shared.device)  # (P,) each
        valid = observed[:, i] & observed[:, j]  # (B, P)
        distance = torch.where(valid, self.distance(shared, i, j), 0.0)  # (B, P)
        if self.pairs == "ring":
            return (distance.sum(0) / valid.sum(0).clamp(min=1)).sum()
        return modalities * distance.sum() / valid.sum().clamp(min=1)  # the ring has M terms: M keeps its scale

    def partners(self, modalities: int, device: torch.device) -> tuple[Tensor, Tensor]:
        if self.pairs == "ring":
            i = torch.arange(modalities, device=device)
            return i, (i + 1) % modalities
        i, j = torch.triu_indices(modalities, modalities, 1, device=device)
        return i, j

    def distance(self, shared: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Distance of each pair, a mean over D; for "kl" the sum of both directions. Shapes: i, j (P,) -> (B, P)."""
        if self.kind == "kl":
            logs = self.project(shared).log_softmax(2)  # (B, M, 16)
            return ((logs[:, i].exp() - logs[:, j].exp()) * (logs[:, i] - logs[:, j])).sum(2)
        difference = shared[:, i] - shared[:, j]  # (B, P, D)
        return (difference.abs() if self.kind == "l1" else difference.square()).mean(2)


def mean_available(shared: Tensor, observed: Tensor) -> Tensor:
    """Mean over the observed modalities, eq. 4; zero for a row without any. Shapes: (B, M, D), observed (B, M) bool -> (B, D)."""
    return torch.where(observed.unsqueeze(2), shared, 0.0).sum(1) / observed.sum(1, keepdim=True).clamp(min=1)


def first_available(shared: Tensor, observed: Tensor, keys: Tensor) -> Tensor:
    """The feature of the observed modality with the smallest key; zero for a row without any.

    Shapes: shared (B, M, D) zero where not observed, observed (B, M) bool, keys (B, M) or (M,) finite -> (B, D).
    Source: the released code's stand-in, the first of its mode list.
    """
    first = keys.expand(observed.shape).masked_fill(~observed, torch.inf).argmin(1)  # (B,)
    return shared.take_along_dim(first[:, None, None], 1).squeeze(1)


class ShaSpec(Method):
    """Shared-specific feature modelling. Shapes: batch -> logits (B, C); penalties `dao` and `dco` in training."""

    Config = ShaSpecConfig
    presets = {
        "paper": {},
        "official_cls": {"learning_rate": 1e-3, "weight_decay": 1e-2, "schedule": "step", "epochs": 60},
        "as_released": {"standin": "first", "pairs": "ring"},
    }
    search = {
        "learning_rate": (1e-4, 1e-3, 3e-3, 1e-2),
        "weight_decay": (0.0, 1e-4, 1e-2),
        "batch_size": (16, 32, 64),
        "width": (64, 128, 256),
        "schedule": ("step", "constant"),
        "decoder_dropout": (0.1, 0.3, 0.5),
        "alpha": (0.02, 0.1, 0.5),
        "beta": (0.02, 0.05, 0.1),
    }
    paper = "Wang et al., Multi-modal learning with missing modality via shared-specific feature modelling, CVPR 2023, 2307.14126"
    year = 2023
    repository = "billhhh/ShaSpec"
    traces = ("embeddings", "gradients")
    deviations = (
        "The classification variant is built from the paper: the released code holds segmentation alone.",
        "The suite's encoder and a stem of common width come before the shared encoder; the paper feeds it raw inputs.",
        "Shared and specific path start from the same encoder and stem; stem=dual, nearer the paper, gives each its own.",
        "LayerNorm replaces the BatchNorm of the paper's encoders, so that a prediction does not depend on batch mates.",
        "Alignment averages L1 over all available pairs and multiplies by M, the scale of the released ring of four pairs.",
        "Missing modalities join neither loss, as in the paper; the released code includes the features of zeroed inputs.",
        "The modality classifier reads the specific feature, as in the paper; the released code reads an earlier, pooled one.",
        "Weight decay is 1e-4 where the paper's Audiovision-MNIST recipe has 1e-2 (preset official_cls).",
        "No preset drops modalities in training: the suite hides them itself; the released BraTS training is uniform_k.",
        "Preset as_released changes the stand-in and the pairs alone: missing modalities stay out of both losses there too.",
    )
    config: ShaSpecConfig

    def __init__(self, schema: Schema, config: ShaSpecConfig) -> None:
        super().__init__(schema, config)
        modalities, width = len(schema), config.width
        self.stems = Stems(schema, config)
        self.shared_stems = Stems(schema, config) if config.stem == "dual" else None
        self.shared = FeatureEncoder(width)  # f_sha
        self.specific = nn.ModuleList(FeatureEncoder(width) for _ in schema)  # f_spec
        self.project = nn.Linear(2 * width, width, bias=False)  # f_proj
        self.align = Alignment(config, modalities)
        self.recognise = DomainClassifier(width, modalities)  # f_dco
        self.decoder = nn.Sequential(  # f_dec
            nn.Linear(modalities * width, width),
            nn.ReLU(),
            Dropout(config.decoder_dropout),
            nn.Linear(width, schema.outputs),
        )
        self.on_epoch(0, 1)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Modality dropout, if any, starts after its warm-up."""
        self.is_dropping = self.config.modality_dropout == "uniform_k" and epoch >= self.config.dropout_warmup_frac * epochs

    def forward(self, batch: Batch) -> Prediction:
        if self.training and self.is_dropping:
            batch = replace(batch, observed=self.dropped(batch.observed, uniform_size_subset(batch.observed, self.generator)))
        shared, specific = self.encode(batch)  # (B, M, D) each, zero where not observed
        fused = self.watch(self.fuse(shared, specific, batch.observed), batch.observed)  # (B, M, D), a stand-in where not observed
        self.trace("embeddings", sample=batch.index, observed=batch.observed, before=shared, after=fused)
        return Prediction(self.decoder(fused.flatten(1)), self.penalties(shared, specific, batch.observed))

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """r and s of eq. 1: (B, M, D) each, zero where not observed; observed cells alone are computed."""
        cells, starts, own = [], [], []  # of the observed cells, modality by modality: place, input of f_sha, output of f_spec
        for m, rows in enumerate(rows_by_modality(batch.observed)):  # (n,)
            if len(rows):
                start = self.stems(m, batch, rows)  # (n, D)
                cells.append(rows * len(self.schema) + m)
                own.append(self.specific[m](start))
                starts.append(start if self.shared_stems is None else self.shared_stems(m, batch, rows))
        features = self.project.weight.new_zeros(2, batch.observed.numel(), self.config.width)  # (2, B*M, D)
        if cells:
            found = torch.stack([self.shared(torch.cat(starts)), torch.cat(own)])  # (2, V, D)
            features = features.index_copy(1, torch.cat(cells), found)
        shared, specific = features.unflatten(1, batch.observed.shape)  # (B, M, D) each
        return shared, specific

    def fuse(self, shared: Tensor, specific: Tensor, observed: Tensor) -> Tensor:
        """f of eq. 2 where observed, the stand-in of eq. 4 elsewhere. Shapes: (B, M, D), (B, M, D), (B, M) bool -> (B, M, D)."""
        residual = shared + self.project(torch.cat([shared, specific], dim=2))  # (B, M, D)
        return torch.where(observed.unsqueeze(2), residual, self.stand_in(shared, observed).unsqueeze(1))

    def stand_in(self, shared: Tensor, observed: Tensor) -> Tensor:
        """What takes a missing modality's place (B, D); no gradient is stopped."""
        if self.config.standin == "mean":
            return mean_available(shared, observed)
        if self.training:
            keys = torch.rand(observed.shape, generator=self.generator, device=observed.device)  # any available one
        else:
            keys = torch.arange(observed.shape[1], device=observed.device, dtype=shared.dtype)  # the lowest index
        return first_available(shared, observed, keys)

    def penalties(self, shared: Tensor, specific: Tensor, observed: Tensor) -> dict[str, Tensor]:
        """Eq. 9 without the task loss; a term of weight 0 is left out, as are both in evaluation."""
        terms = {}
        if self.training and self.config.alpha:
            terms["dao"] = self.config.alpha * self.align(shared, observed)
        if self.training and self.config.beta:
            terms["dco"] = self.config.beta * self.recognise.loss(specific, observed)
        return terms

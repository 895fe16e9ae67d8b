"""SimMLM: an expert for each modality, a gate that weighs those present, and a loss on samples that lose by having more (ICCV 2025).

Idea:    Every modality has a complete classifier of its own. A small gate looks at all inputs and gives each expert a weight;
         absent ones get exactly 0. In training a sample is seen with more and with fewer of its modalities, and is punished where
         its loss with more exceeds its loss with fewer.
Source:  arXiv 2507.19264, formulas and settings as public reading notes retell them; the authors' code LezJ/SimMLM in the copy
         Tony-Khor/simmlm at aa1aea2, `models/dmome.py`, `loss/blended_loss.py`, `dataset/processors.py` (segmentation alone).
Differs: the classification variant was never released and is built here from the formulas; presence is known from the mask; both
         views are the same input, as nothing is augmented. More in `SimMLM.deviations`.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction, row_losses
from bench.methods.encoders import Encoders

log = logging.getLogger(__name__)

CHOICES = {"gate": ("modality", "class", "none"), "level": ("logit", "probability")}
ABSENT = -1e30  # gate score of what is absent: softmax makes it exactly 0, and a row without anything stays finite


@dataclass(frozen=True, kw_only=True)
class SimMLMConfig(MethodConfig):
    """Settings of SimMLM. In the comments, "notes" are public retellings of the paper, "code" is that of the copy."""

    epochs: int = 60  # both stages together; not in the notes. Code: 500 + 300
    batch_size: int = 32  # not in the notes; code: 4 volumes
    learning_rate: float = 1e-3  # notes, avMNIST
    tokens: int = 1  # T, tokens an encoder gives; their mean is used
    width: int = 128  # D of an expert; the notes have backbones
    gate_width: int = 32  # G of the gate's own encoders; notes: 128
    gate: str = "modality"  # a weight for each modality, notes; "class": and for each class, code; "none": equal weights
    mofe: float = 0.1  # lambda, weight of the ranking loss, eq. 3; the code's mean over both views makes it 0.2
    expert_share: float = 0.5  # share of the epochs that trains each expert alone; code: 500 of 800
    seen_only: bool = True  # a modality that no training row observes has no say, ours; False: its untrained expert votes, code
    level: str = "logit"  # what is mixed, eq. 1; "probability": the experts' softmax, as the code has for Dice

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.tokens, self.width, self.gate_width) < 1:
            raise ValueError(f"tokens, width and gate_width must be at least 1, got {self.tokens}, {self.width} and {self.gate_width}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.mofe < 0 or not 0 <= self.expert_share < 1:
            raise ValueError(f"mofe must not be negative and expert_share in [0, 1), got {self.mofe} and {self.expert_share}")


def ranking(more: Tensor, fewer: Tensor) -> Tensor:
    """How much more is lost with more than with fewer, a mean over all entries that do; eq. 2. Shapes: equal -> ()."""
    return F.relu(more - fewer).mean()


class NestedPairs(nn.Module):
    """Draws two nested subsets of what each row observes, the released code's distribution: `fewer` inside `more` inside observed.

    Both are what the row observes where that is one modality or none; else `fewer` is not empty and smaller than `more`.
    Shapes: observed (B, M) bool -> more, fewer (B, M) bool each. Source: `dataset/processors.py`, whose rejection this is in one draw.
    """

    sizes: Tensor
    reached: Tensor

    def __init__(self, modalities: int) -> None:
        super().__init__()
        sizes = [(a, b) for a in range(1, modalities) for b in range(1, modalities - a + 1)] or [(1, 0)]  # of fewer, of more beside it
        weights = torch.tensor([[ways(k, a, b) for a, b in sizes] for k in range(modalities + 1)], dtype=torch.float64)  # (M+1, P)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)  # (P, 2)
        total = weights.sum(1, keepdim=True)
        self.register_buffer("reached", (weights / total.where(total > 0, 1.0)).cumsum(1), persistent=False)  # (M+1, P)

    def forward(self, observed: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        count = observed.sum(1)  # (B,)
        u = torch.rand(len(observed), 1, generator=generator, device=observed.device, dtype=torch.float64)
        drawn = (self.reached[count] <= u).sum(1).clamp(max=len(self.sizes) - 1)  # (B,)
        fewer, beside = self.sizes[drawn].unbind(1)
        keys = torch.rand(observed.shape, generator=generator, device=observed.device).masked_fill(~observed, 2.0)
        rank = keys.argsort(1).argsort(1)  # (B, M) the observed ones first
        few = (count < 2).unsqueeze(1)
        return (observed & (few | (rank < (fewer + beside).unsqueeze(1)))), (observed & (few | (rank < fewer.unsqueeze(1))))


def ways(k: int, a: int, b: int) -> float:
    """Weight of `fewer` with a and `more` with a + b of k modalities: as many as there are, half where `more` is all of them."""
    if a + b > k:
        return 0.0
    return math.comb(k, a) * math.comb(k - a, b) * (0.5 if a + b == k else 1.0)


class SimMLM(Method):
    """Shapes: batch -> logits (B, C); penalty `experts` in the first stage, `fewer` and `mofe` in the second."""

    Config = SimMLMConfig
    config: SimMLMConfig
    trained: Tensor
    presets: ClassVar = {
        "paper": {},
        "as_released": {"gate": "class", "mofe": 0.2, "expert_share": 0.625, "seen_only": False},
        "dmome": {"mofe": 0.0},
        "mean": {"gate": "none"},
        "joint": {"expert_share": 0.0},
    }
    search: ClassVar = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
        "batch_size": (16, 32, 64),
        "expert_share": (0.0, 0.25, 0.5),
        "mofe": (0.0, 0.01, 0.1, 0.5, 1.0),
        "width": (64, 128, 256),
        "gate_width": (16, 32, 128),
        "tokens": (1, 4),
    }
    paper = "Li et al., SimMLM: A Simple Framework for Multi-modal Learning with Missing Modality, ICCV 2025, arXiv 2507.19264"
    year = 2025
    repository = "LezJ/SimMLM"
    traces = ("routing", "gradients")
    deviations = (
        "Built from formulas and settings that public reading notes retell; the paper's method section was not at hand.",
        "The released code segments volumes; its classification variant was never released.",
        "The suite's encoders, averaged over tokens and a linear layer, are the experts; the gate has smaller ones of its own.",
        "The mask says what is present; the code calls an input absent if all its values are 0, and a row without any gives NaN.",
        "The gate reads the presence bits, in the place of what the code's gate computes from an input of zeros.",
        "The ranking loss is per row on the cross entropy; the code has it per class channel, for two losses separately.",
        "Pairs of views follow the code's distribution, extended to any number of modalities; the notes do not give the paper's.",
        "Both views are the same input: nothing is augmented here, where the code crops and flips each view on its own.",
        "One optimiser with one rate and one budget serve both stages; the code has a rate and a run for each.",
        "A row that observes nothing gets equal scores.",
        "A modality that no training row observes has no say; in the code its untrained expert votes (`as_released`).",
        "The suite hides modalities of training rows; the views are drawn from what is left.",
        "The checkpoint is chosen by the suite's rule; the code takes the lowest loss over all combinations.",
    )

    def __init__(self, schema: Schema, config: SimMLMConfig) -> None:
        super().__init__(schema, config)
        modalities, classes = len(schema), schema.outputs
        self.encode = Encoders(schema, config.tokens, config.width)
        self.experts = nn.ModuleList(nn.Linear(config.width, classes) for _ in schema)
        if config.gate != "none":
            self.gate_encode = Encoders(schema, 1, config.gate_width)
            outputs = modalities * (classes if config.gate == "class" else 1)
            self.gate = nn.Linear(modalities * (config.gate_width + 1), outputs)
        self.pairs = NestedPairs(modalities)
        self.register_buffer("trained", torch.ones(modalities, dtype=torch.bool))  # (M,) seen in training
        self.on_epoch(config.epochs - 1, config.epochs)

    def prepare(self, train: Samples) -> None:
        """Note which modalities training rows observe: with `seen_only`, no other has a say."""
        if not self.config.seen_only:
            return
        self.trained.copy_(torch.from_numpy(train.observed.any(0)))
        for name, trained in zip(self.schema.names, self.trained.tolist(), strict=True):
            if not trained:
                log.warning("simmlm: no training row observes %s; it counts as missing", name)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """The first stage trains every expert alone."""
        self.trains_experts = epoch < math.floor(self.config.expert_share * epochs)

    @property
    def is_selectable(self) -> bool:
        return not self.trains_experts

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=batch.observed & self.trained)
        observed = batch.observed
        votes = self.votes(batch)  # (B, M, C), zero where not observed
        if self.training and self.trains_experts:
            with torch.no_grad():
                logits, _ = self.mix(votes, self.gate_features(batch), observed)
            return Prediction(logits, {"experts": self.loss_alone(votes, batch.target, observed)})
        features = self.gate_features(batch)  # (B, M, G), both once, whatever the number of views
        if not self.training:
            logits, weights = self.mix(votes, features, observed)
            self.trace_weights(weights, batch)
            return Prediction(logits)
        more, fewer = (self.dropped(observed, view) for view in self.pairs(observed, self.generator))
        logits, of_fewer = self.mix(votes, features, more)[0], self.mix(votes, features, fewer)[0]
        return Prediction(logits, self.penalties(logits, of_fewer, batch.target))

    def votes(self, batch: Batch) -> Tensor:
        """The experts' logits, o^m of eq. 1. Shapes: -> (B, M, C), zero where not observed."""
        h = self.watch(self.encode(batch).mean(2), batch.observed)  # (B, M, D)
        votes = torch.stack([expert(h[:, m]) for m, expert in enumerate(self.experts)], dim=1)
        return torch.where(batch.observed.unsqueeze(2), votes, 0.0)

    def gate_features(self, batch: Batch) -> Tensor:
        """What the gate sees of each input. Shapes: -> (B, M, G), zero where not observed."""
        if self.config.gate == "none":
            return torch.zeros(*batch.observed.shape, 0, device=batch.observed.device)
        return F.relu(self.gate_encode(batch).squeeze(2))

    def scores(self, features: Tensor) -> Tensor:
        """Gate scores of each modality, or modality and class. Shapes: (B, M * (G + 1)) -> (B, M, 1 or C), modality by modality."""
        return self.gate(features).unflatten(1, (len(self.schema), -1))

    def mix(self, votes: Tensor, features: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) of the modalities of a view, and their weights (B, M, 1 or C), 0 outside it; eq. 1. A row without any has zeros.

        Shapes: votes (B, M, C), features (B, M, G), view (B, M) bool.
        """
        inside = view.unsqueeze(2)
        if self.config.gate == "none":
            scores = torch.zeros(*inside.shape, dtype=votes.dtype, device=votes.device)
        else:
            seen = torch.where(inside, features, 0.0).flatten(1)
            scores = self.scores(torch.cat([seen, view.to(seen.dtype)], dim=1))
        return mixture(scores, votes, view, self.config.level, self.schema.target.kind)

    def loss_of_each(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of each row under each of its predictions. Shapes: logits (B, ..., C), target (B,) -> (B, ...)."""
        return row_losses(self.schema.target, logits, target, self.config.value_loss)

    def loss_alone(self, votes: Tensor, target: Tensor, observed: Tensor) -> Tensor:
        """Each expert's mean loss on the rows that observe its modality, summed over experts: as many runs of their own."""
        losses = torch.where(observed, self.loss_of_each(votes, target), 0.0)  # (B, M)
        return (losses.sum(0) / observed.sum(0).clamp(min=1)).sum()

    def penalties(self, more: Tensor, fewer: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Eq. 3 without the suite's own loss of the larger view. No gradient is stopped."""
        losses = self.loss_of_each(torch.stack([more, fewer], dim=1), target)  # (B, 2)
        terms = {"fewer": losses[:, 1].mean()}
        return terms | ({"mofe": self.config.mofe * ranking(losses[:, 0], losses[:, 1])} if self.config.mofe else {})

    def trace_weights(self, weights: Tensor, batch: Batch) -> None:
        """The gate's weights of each row, a mean over classes where they have their own."""
        if self.tracer is None:
            return
        none = torch.full_like(batch.index, -1)
        experts = torch.arange(weights.shape[1], device=none.device).expand(len(none), -1)
        self.trace(
            "routing", sample=batch.index, layer=none + 1, target=none, modality=none, filled=none > 0, supported=none > 0,
            source=batch.observed, experts=experts, gates=weights.mean(2),
        )  # fmt: skip


def mixture(scores: Tensor, votes: Tensor, present: Tensor, level: str = "logit", kind: str = "classes") -> tuple[Tensor, Tensor]:
    """Mixed logits (B, C) and the weights (B, M, 1 or C): softmax of the scores of what is present, exactly 0 elsewhere.

    At the level of probabilities the logits are log sum_m w_m softmax(o_m), of labels the log odds of sum_m w_m sigmoid(o_m); a value has
    one level. A row without anything present has logits of zero.
    Shapes: scores (B, M, 1 or C), votes (B, M, C), present (B, M) bool.
    """
    inside = present.unsqueeze(2)
    scores = scores.masked_fill(~inside, ABSENT)
    weights = torch.where(inside, scores.softmax(1), 0.0)
    if level == "logit" or kind == "value":
        return (weights * torch.where(inside, votes, 0.0)).sum(1), weights
    logs, votes = scores.log_softmax(1), torch.where(inside, votes, 0.0)
    if kind == "labels":
        mixed = (logs + F.logsigmoid(votes)).logsumexp(1) - (logs + F.logsigmoid(-votes)).logsumexp(1)
    else:
        mixed = (logs + votes.log_softmax(2)).logsumexp(1)
    return torch.where(present.any(1, keepdim=True), mixed, 0.0), weights

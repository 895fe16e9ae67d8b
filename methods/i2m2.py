"""I2M2: one classifier for each modality, one for all together, and the product of what they say (NeurIPS 2024).

Idea:    A label makes each modality (intra-modality) and, through a selection, their interaction (inter-modality). So the logits of one
         classifier per modality and of one over all modalities are added: a product of experts with equal weights.
Source:  Madaan, Makino, Chopra, Cho, arXiv 2405.17613 (abstract, figures and tables; the full text was not legible to us); official code
         divyam3897/I2M2, `avmnist_and_mimic`, `fastMRI`, `vqa_nlvr`.
Differs: paper and code drop no modality. What a missing one does follows from the paper's own model: its classifier drops out, the joint
         one becomes a function of what is left, and the class prior, which each classifier holds once, is put right. See `deviations`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction, loss_of_rows, prior_logits
from bench.methods.encoders import Encoders, rows_by_modality
from bench.methods.layers import uniform_subset

log = logging.getLogger(__name__)

CHOICES: dict[str, tuple[str, ...]] = {
    "terms": ("both", "intra", "inter"), "init": ("pretrained", "scratch"), "missing": ("marginal", "complete_only", "zero"),
    "encoders": ("separate", "shared"), "combine": ("product", "mixture_eval"), "modality_dropout": ("none", "uniform_subset"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class I2M2Config(MethodConfig):
    epochs: int = 30  # code, AV-MNIST
    batch_size: int = 32  # ours; code 40
    learning_rate: float = 1e-3  # code, MIMIC (RMSprop there, Adam here)
    weight_decay: float = 1e-4  # code, AV-MNIST
    tokens: int = 1  # T, tokens an encoder gives; their mean is used
    width: int = 128  # d, of the encoders; ours, code 30 to 100
    hidden: int = 128  # h, of the classifiers; ours, code 40 to 100
    terms: str = "both"  # of the product; "intra": the classifiers of single modalities alone, "inter": the joint one alone
    init: str = "pretrained"  # first each part by itself, then all together, paper; "scratch": together from the start
    pretrain_frac: float = 0.5  # share of the epochs for the parts by themselves; code (AV-MNIST): 30 epochs, then 30
    finetune: bool = True  # False: the parts are trained by themselves throughout
    missing: str = "marginal"  # is integrated out; "complete_only": the joint term needs every modality; "zero": all terms on zeros, code
    prior: bool = True  # (1 - |O|) log p(y) is added, |O| being the number of observed modalities; False: it is not
    encoders: str = "separate"  # the joint part has encoders of its own, code; "shared": it has not, and stage 1 couples the parts
    combine: str = "product"  # of probabilities, paper; "mixture_eval": their mean in evaluation, what the code tests as "intra"
    aux: float = 0.0  # weight of each part's own loss once all are trained together; ours
    modality_dropout: str = "none"  # "uniform_subset": together, train on random subsets of what is observed; ours

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("tokens", "width", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.pretrain_frac < 1 or self.aux < 0:
            raise ValueError(f"pretrain_frac must be in (0, 1) and aux not negative, got {self.pretrain_frac} and {self.aux}")
        if self.combine == "mixture_eval" and self.terms != "intra":
            raise ValueError(f"combine 'mixture_eval' needs terms 'intra', got {self.terms!r}: the release mixes single modalities alone")
        if not self.finetune and (self.init != "pretrained" or self.terms != "both"):
            raise ValueError(
                f"finetune=false needs init 'pretrained' and terms 'both', got {self.init!r} and {self.terms!r}: "
                "it keeps parts that were trained by themselves"
            )


def mixture(logits: Tensor, present: Tensor, kind: str = "classes") -> Tensor:
    """Logits of the mean of the present classifiers' probabilities; zeros where none is. Shapes: (B, M, K), (B, M) bool -> (B, K)."""

    def mean_of(logs: Tensor) -> Tensor:
        return logs.masked_fill(~present.unsqueeze(2), -torch.inf).logsumexp(1) - present.sum(1, keepdim=True).clamp(min=1).log()

    mixed = mean_of(logits.log_softmax(2)) if kind == "classes" else mean_of(F.logsigmoid(logits)) - mean_of(F.logsigmoid(-logits))
    return torch.where(present.any(1, keepdim=True), mixed, 0.0)


class Classifier(nn.Sequential):
    """Linear, ReLU, linear. Shapes: (n, D) -> (n, K)."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))


class I2M2(Method):
    """A product of M classifiers of single modalities and a joint one. Shapes: batch -> logits (B, K).

    Training has two stages: each part by itself, then all together. Penalties `part_*` are the parts' own losses.
    """

    Config = I2M2Config
    config: I2M2Config
    log_prior: Tensor
    seen: Tensor
    heads: Sequence[Classifier]
    paper = (
        "Madaan, Makino, Chopra, Cho: Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal Learning, NeurIPS 2024, "
        "arXiv 2405.17613"
    )
    year = 2024
    repository = "divyam3897/I2M2"
    traces = ("terms", "embeddings", "gradients")
    skips = {"value": "it multiplies probabilities of classes, and the paper has no form for a number"}
    presets = {
        "paper": {},
        "scratch": {"init": "scratch"},
        "as_released": {"init": "scratch", "missing": "zero", "weight_decay": 0.0},
        "intra": {"terms": "intra", "init": "scratch"},
        "inter": {"terms": "inter", "init": "scratch"},
        "complete_only": {"missing": "complete_only"},
        "no_prior": {"prior": False},
        "frozen": {"finetune": False},
        "shared": {"encoders": "shared"},
        "dropout": {"modality_dropout": "uniform_subset"},
        "intra_released": {"terms": "intra", "init": "scratch", "missing": "zero", "weight_decay": 0.0, "combine": "mixture_eval"},
    }  # fmt: skip
    search = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3), "weight_decay": (0.0, 1e-4, 1e-3), "batch_size": (16, 32, 64),
        "pretrain_frac": (0.3, 0.5, 0.7), "clip_norm": (0.0, 8.0), "width": (64, 128, 256), "hidden": (64, 128, 256),
        "modality_dropout": ("none", "uniform_subset"),
    }  # fmt: skip
    deviations = (
        "Paper and code hide no modality (the paper names null tokens as future work); what a missing one does here is integrated out of "
        "the paper's model, and is ours.",
        "The joint part reads a learned null vector in place of a missing modality.",
        "(1 - |O|) log p(y) is added for |O| observed modalities, p(y) from training rows with one more of each class: each classifier "
        "holds the prior once, and a complete row's constant can be learnt by its biases, but not that of every pattern.",
        "Rows without any modality get log p(y).",
        "Each label of several is such a product of its own, with log odds in the place of log p(y).",
        "Any number of modalities; the code is written for two.",
        "The suite's encoders and two-layer classifiers take the place of the code's networks; encoders of single modalities and of the "
        "joint part are separate, as in the code for AV-MNIST, MIMIC and fastMRI (its VQA model shares a frozen one: preset shared).",
        "Parts are trained by themselves in one loop, in the first half of the epochs: they share no parameter, so that this is separate "
        "training; the code takes each part's best checkpoint and a fresh optimiser, this goes on from the last state with Adam's moments.",
        "Adam for every dataset; the code has SGD, RMSprop or AdamW by dataset.",
        "No clipping in stage 1, where a global norm would couple the parts (code: 8).",
        "Preset as_released is the released MIMIC program on incomplete rows: zeros for what is missing, all terms act, from scratch.",
        "Preset intra_released tests the mean of probabilities of what was trained as their product, as the code does; with more than two "
        "classes that is another model, and the paper's column of intra-modality rests on it.",
        "The released VQA loss, binary cross entropy of normalised log-probabilities, is not copied: a perfect answer costs ln 2 there.",
        "Released scalars inter, intra_1, intra_2 are 1 and get no gradient, and low-rank fusion factors are no parameters there: neither "
        "is built.",
        "The checkpoint is chosen by the suite's rule for all presets; the code chooses its intra baseline by another metric.",
    )

    def __init__(self, schema: Schema, config: I2M2Config) -> None:
        super().__init__(schema, config)
        modalities, classes, width = len(schema), schema.outputs, config.width
        has_joint = config.terms == "inter" or (config.terms == "both" and modalities > 1)  # of one modality nothing interacts
        has_single = config.terms != "inter"
        self.unimodal_encoders = Encoders(schema, config.tokens, width) if has_single or config.encoders == "shared" else None
        self.joint_encoders = Encoders(schema, config.tokens, width) if has_joint and config.encoders == "separate" else None
        heads = [Classifier(width, config.hidden, classes) for _ in range(modalities if has_single else 0)]
        self.add_module("heads", nn.ModuleList(heads))
        self.joint_head = Classifier(modalities * width, config.hidden, classes) if has_joint else None
        self.null = nn.Parameter(torch.zeros(modalities, width)) if has_joint and config.missing == "marginal" else None
        self.register_buffer("log_prior", torch.zeros(classes))  # (K,) log p(y)
        self.register_buffer("seen", torch.ones(modalities, dtype=torch.bool))  # (M,) observed by a training row
        self.is_apart = False  # the parts are trained by themselves

    def prepare(self, train: Samples) -> None:
        """Class shares of the training rows, and which modalities they observe: any other counts as missing from here on."""
        self.log_prior.copy_(prior_logits(train))
        self.seen.copy_(torch.from_numpy(train.observed.any(0)))
        for name, seen in zip(self.schema.names, self.seen.tolist(), strict=True):
            if not seen:
                log.warning("i2m2: no training row observes %s; it counts as missing", name)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """The parts come together after the first `pretrain_frac` of the epochs, never later than in the last one."""
        is_split = self.config.init == "pretrained" and self.joint_head is not None and len(self.heads) > 0
        first = min(int(self.config.pretrain_frac * epochs), epochs - 1) if self.config.finetune else epochs
        self.is_apart = is_split and epoch < first

    @property
    def is_selectable(self) -> bool:
        return not self.is_apart or not self.config.finetune

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=batch.observed & self.seen)
        if self.training and not self.is_apart and self.config.modality_dropout == "uniform_subset":
            batch = replace(batch, observed=uniform_subset(batch.observed, self.generator))
        present = self.present(batch.observed)  # (B, M + 1) which terms act
        terms = self.terms(batch, present)  # (B, M + 1, K), zero where they do not
        self.trace("terms", sample=batch.index, present=present, logits=terms)
        if self.training and self.is_apart:  # the joint part's own loss stands in the place of the task loss
            joint = torch.where(present[:, -1:], terms[:, -1], self.log_prior)
            return Prediction(joint, self.part_losses(terms[:, :-1], present, batch.target, 1.0))
        penalties = self.part_losses(terms, present, batch.target, self.config.aux) if self.training and self.config.aux else {}
        return Prediction(self.combine(terms, present, batch.observed.sum(1, keepdim=True)), penalties)

    def present(self, observed: Tensor) -> Tensor:
        """Which terms act: those of single modalities, then the joint one. Shapes: (B, M) bool -> (B, M + 1) bool."""
        if self.config.missing == "zero":
            single, joint = torch.ones_like(observed), torch.ones_like(observed[:, :1])
        else:
            single, joint = observed, observed.all(1, True) if self.config.missing == "complete_only" else observed.any(1, True)
        none = torch.zeros_like
        return torch.cat([single if self.heads else none(single), joint if self.joint_head is not None else none(joint)], dim=1)

    def terms(self, batch: Batch, present: Tensor) -> Tensor:
        """Logits of each classifier, zero where it does not act: single modalities, then the joint one. Shapes: -> (B, M + 1, K)."""
        own = None if self.unimodal_encoders is None else self.encode(self.unimodal_encoders, batch)  # (B, M, D)
        empty = self.log_prior.new_zeros(len(batch), len(self.log_prior))  # (B, K)
        found = [empty] * len(self.schema)
        if self.heads and own is not None:
            rows_of = enumerate(rows_by_modality(present[:, :-1]))
            found = [empty.index_copy(0, rows, self.heads[m](own[rows, m])) if len(rows) else empty for m, rows in rows_of]
        if self.joint_head is None:
            return torch.stack([*found, empty], dim=1)
        before = self.encode(self.joint_encoders, batch) if self.joint_encoders is not None else own
        assert before is not None  # shared encoders are built for the joint part, too
        after = before if self.null is None else torch.where(batch.observed.unsqueeze(2), before, self.null)  # (B, M, D)
        after = self.watch(after, batch.observed)
        self.trace("embeddings", sample=batch.index, observed=batch.observed, before=before, after=after)
        return torch.stack([*found, torch.where(present[:, -1:], self.joint_head(after.flatten(1)), 0.0)], dim=1)

    def encode(self, encoders: Encoders, batch: Batch) -> Tensor:
        """Encodings (B, M, D), zero where not observed; under missing="zero" those of zeros, the mean of scaled values."""
        if self.config.missing != "zero":
            return encoders(batch).mean(2)
        columns = dict(zip(self.schema.names, batch.observed.unbind(1), strict=True))
        inputs = {name: torch.where(columns[name].view(-1, *[1] * (x.dim() - 1)), x, 0.0) for name, x in batch.inputs.items()}
        lengths = {name: torch.where(columns[name], length, batch.inputs[name].shape[1]) for name, length in batch.lengths.items()}
        return encoders(replace(batch, inputs=inputs, lengths=lengths, observed=torch.ones_like(batch.observed))).mean(2)

    def combine(self, terms: Tensor, present: Tensor, count: Tensor) -> Tensor:
        """The product of the classifiers that act, as a sum of logits. Shapes: terms (B, M + 1, K), present (B, M + 1), count (B, 1)."""
        if self.config.combine == "mixture_eval" and not self.training:
            return mixture(terms[:, :-1], present[:, :-1], self.schema.target.kind)
        logits = terms.sum(1)  # (B, K)
        if self.config.missing == "zero":
            return logits
        if self.heads and self.config.prior:
            return logits + (1 - count) * self.log_prior
        return logits + ~present.any(1, keepdim=True) * self.log_prior  # each posterior holds the prior; where none acts, it alone is left

    def part_losses(self, terms: Tensor, present: Tensor, target: Tensor, weight: float) -> dict[str, Tensor]:
        """Each classifier's own loss over the rows in which it acts. Shapes: terms (B, P, K), present (B, M + 1) bool, P <= M + 1."""
        built = [m for m in range(terms.shape[1]) if (self.heads if m < len(self.schema) else self.joint_head is not None)]
        asked = self.schema.target
        return {f"part_{m}": weight * loss_of_rows(asked, terms[:, m], target, present[:, m], self.config.value_loss) for m in built}

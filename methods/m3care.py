"""M3Care: borrow the embedding of a missing modality from similar samples (KDD 2022).

Idea:    Not the raw data but the task-relevant embedding of a missing modality is imputed. A deep kernel per modality, averaged
         over the modalities two samples share and cut at a learned level, links similar samples; two graph convolutions bring in
         the neighbours, a gate blends them with the sample's own embedding, and a Transformer fuses all modalities.
Source:  Zhang et al., KDD 2022, arXiv 2210.17292; official code choczhang/M3Care, `ODIR/M3Care.ipynb` (forms and defaults) and
         `OV/M3Care.ipynb` (preset `ov`).
Differs: see `deviations`. Above all, the released adjacency is masked on both sides, so every sample that lacks a modality gets
         the same constant vector; and it is not normalised, so states grow with the graph. Preset `paper` masks the neighbours
         alone, normalises rows and evaluates against fixed support rows; `as_released` keeps the released arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema, as_batch
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders
from bench.methods.layers import Attention, Dropout, FeedForward, hash_uniform

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "selu": nn.SELU}
CHOICES: dict[str, tuple[str, ...]] = {
    "activation": tuple(ACTIVATIONS), "kernel": ("product", "convex"), "mask": ("column", "outer"), "norm": ("row", "none"),
    "bandwidth_rows": ("observed", "all"), "batch_norm": ("shared", "separate"), "eval_graph": ("support", "batch"),
    "stability": ("frobenius", "per_sample_mean"), "stability_rows": ("all", "observed"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class M3CareConfig(MethodConfig):
    epochs: int = 100  # ODIR and OV notebooks
    batch_size: int = 128  # ours; ODIR 512, OV 32. Also the number of nodes of the training graph
    learning_rate: float = 1e-4  # both notebooks
    weight_decay: float = 1e-4  # ODIR; also acts on the scalars e and t, as released
    clip_norm: float = 20.0  # both notebooks
    tokens: int = 1  # T per modality; with more, token 0 alone is H_k: it makes the graph and gets imputed
    width: int = 128  # d, ODIR
    heads: int = 4  # of the first fusion block; the second has one
    activation: str = "relu"  # ODIR; "selu" in OV
    kernel: str = "product"  # ODIR: [(1-eps) K(phi) + eps] K(raw); "convex", OV: (1-eps) K(phi) + eps K(raw)
    mix_init: float = 2.0  # e_k, logit of eps_k, ODIR
    threshold_init: float = 2.0  # t, logit of the similarity an edge must exceed, ODIR
    mask: str = "column"  # D1: neighbours must have the modality; "outer", released: the receiver too, so nothing is imputed
    norm: str = "row"  # D2: adjacency rows sum to 1; "none" as released
    bandwidth_rows: str = "observed"  # D5: rows whose distances set the kernel bandwidth; "all", released: placeholders too
    clamp: bool = True  # D7: squared distances are cut at 0; the release lets rounding make them negative
    imputable: str = ""  # D3: letters of the modalities to impute, "" = every one; ODIR: the two texts, OV: all but one
    batch_norm: str = "shared"  # D8: one for all modalities and both kernels, as released; "separate": one for each
    fusion_norm: bool = False  # D9: the release writes layer norms that have no effect; True makes the blocks pre-norm
    eval_graph: str = "support"  # neighbours in evaluation: fixed training rows; "batch", released: the rows scored together
    support: int = 0  # number of support rows; 0 = batch_size, the graph size seen in training
    stability: str = "frobenius"  # | ||phi(H)|| - ||H|| | of the whole batch matrix, released; "per_sample_mean": of each row
    stability_rows: str = "all"  # released; "observed" leaves placeholders out
    stability_weight: float = 1e-7  # lambda, ODIR; practically inactive
    dropout: float = 0.5  # in the head, both notebooks
    residual_dropout: float = 0.5  # in the fusion blocks, the released classes' default
    attention_dropout: float = 0.1  # in the fusion blocks, ODIR
    inner_dropout: float = 0.1  # inside the feed-forward of the fusion blocks, both notebooks

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokens < 1 or self.width < 2 or self.heads < 1 or self.width % self.heads:
            sizes = f"tokens {self.tokens}, width {self.width}, heads {self.heads}"
            raise ValueError(f"tokens must be at least 1 and width a positive multiple of heads, got {sizes}")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("dropout", "residual_dropout", "attention_dropout", "inner_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.support < 0 or self.stability_weight < 0:
            raise ValueError(f"support and stability_weight must not be negative, got {self.support}, {self.stability_weight}")


class SquaredDistances(torch.autograd.Function):
    """|x_i|^2 + |y_j|^2 - 2 x_i.y_j, with the gradient written out: it needs the vectors alone, and one product where y is x.

    The cut at 0 is not looked at on the way back: what it cuts is rounding, of rows that are one, whose gradients cancel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, clamp: bool) -> Tensor:
        ctx.save_for_backward(x, y)
        squares = x.square().sum(-1)  # (..., Q)
        others = squares if y is None else y.square().sum(-1)  # (..., R)
        total = squares.unsqueeze(-1) + others.unsqueeze(-2)  # (..., Q, R)
        found = torch.add(total, x @ (x if y is None else y).mT, alpha=-2, out=total)
        return found.clamp_(min=0) if clamp else found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, y), (g,) = ctx.saved_tensors, gradients
        if y is None:
            g = g + g.mT
            return torch.addcmul(-2 * (g @ x), g.sum(-1, keepdim=True), x, value=2), None, None
        of_x, of_y = ctx.needs_input_grad[:2]
        return (
            torch.addcmul(-2 * (g @ y), g.sum(-1, keepdim=True), x, value=2) if of_x else None,
            torch.addcmul(-2 * (g.mT @ x), g.sum(-2).unsqueeze(-1), y, value=2) if of_y else None,
            None,
        )


def squared_distances(x: Tensor, y: Tensor | None = None, clamp: bool = True) -> Tensor:
    """Of each row of x to each row of y, or to each other. Shapes: (..., Q, D), (..., R, D) -> (..., Q, R)."""
    return SquaredDistances.apply(x, y, clamp)


def bandwidths(distances: Tensor, rows: Tensor) -> Tensor:
    """Mean squared distance over ordered pairs of different rows, without gradient; 1 if below 1e-3 or fewer than two rows.

    Shapes: distances (..., M, R, R), rows (M, R) float 0/1, the rows that count -> (..., M, 1, 1).
    """
    count = rows.sum(1)  # (M,)
    total = ((distances.detach() @ rows.unsqueeze(2)).squeeze(-1) * rows).sum(-1)  # (..., M)
    mean = total / (count * (count - 1)).clamp(min=1)
    return torch.where((count < 2) | (mean < 1e-3), 1.0, mean)[..., None, None]  # (..., M, 1, 1)


class MultiKernel(torch.autograd.Function):
    """(w + w^2 + w^4) / 3 of w = exp(rate D), with a gradient in D alone. As one function it keeps one matrix for the way back."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, rate: Tensor) -> Tensor:
        wide = (distances * rate).exp_()
        ctx.save_for_backward(wide, rate)
        middle = wide * wide
        return torch.addcmul(middle, middle, middle).add_(wide).div_(3)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        wide, rate = ctx.saved_tensors
        middle = wide * wide
        slope = torch.add(wide, middle, alpha=2).addcmul_(middle, middle, value=4)
        return slope.mul_(gradient).mul_(rate / 3), None


def multi_kernel(distances: Tensor, bandwidth: Tensor) -> Tensor:
    """Mean of three Gaussian kernels with bandwidths b/2, b and 2b: 1 at distance 0, 0.370 at distance b. Keeps the shape."""
    return MultiKernel.apply(distances, -0.5 / bandwidth)


def sinusoids(length: int, width: int) -> Tensor:
    """The standard sine and cosine position table. Shapes: -> (length, width)."""
    position = torch.arange(length).unsqueeze(1)  # (L, 1)
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))  # (ceil(D/2),)
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate[: width // 2])
    return table


def stratified(target: Tensor, size: int, seed: int) -> Tensor:
    """`size` rows drawn without replacement, each class in proportion, and at least once if there is room.

    Shapes: target (N,) int64 -> (min(size, N),) int64, ascending. Depends on `seed` and the targets alone.
    """
    shuffled = hash_uniform(seed, torch.arange(len(target))).argsort()  # (N,)
    classes = F.one_hot(target[shuffled])  # (N, C)
    rank = (classes.cumsum(0) * classes).sum(1) - 1  # (N,) place within the class
    share = rank / classes.sum(0)[target[shuffled]]
    return shuffled[share.argsort(stable=True)[:size]].sort().values  # (S,)


class StackedLinear(nn.Module):
    """One linear layer per modality, each started as nn.Linear. Shapes: (M, V, D_in) -> (M, V, D_out)."""

    def __init__(self, count: int, features: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(features)
        self.weight = nn.Parameter(torch.empty(count, outputs, features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.transpose(1, 2))


class AdaptiveGate(nn.Module):
    """F = alpha G + (1 - alpha) H with alpha = a / (a + b), a = sigmoid(w1 G), b = sigmoid(w2 H), and 1 where H is not observed.

    Shapes: g, h (I, B, D), observed (I, B, 1) float 0/1 -> (I, B, D).
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.neighbours, self.own = StackedLinear(count, width, 1), StackedLinear(count, width, 1)

    def alpha(self, g: Tensor, h: Tensor) -> Tensor:
        a, b = torch.sigmoid(self.neighbours(g)), torch.sigmoid(self.own(h))
        return a / (a + b)  # (I, B, 1)

    def forward(self, g: Tensor, h: Tensor, observed: Tensor) -> Tensor:
        return torch.lerp(h, g, torch.where(observed > 0, self.alpha(g, h), 1.0))  # G itself at 1, to the bit


class Similarity(nn.Module):
    """The deep kernel of each modality, their average over shared modalities, and the learned cut.

    `views` gives the kernel inputs (2, M, B, D): BN(phi(H)) and BN(H). With two sets of rows, Q queries and R references,
    `modality` gives (M, Q, R), `average` and `calibrate` give (Q, R).
    """

    norms: Sequence[nn.BatchNorm1d]

    def __init__(self, modalities: int, config: M3CareConfig) -> None:
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        layers = [StackedLinear(modalities, config.width, config.width) for _ in range(3)]
        self.product = config.kernel == "product"
        self.phi = nn.Sequential(layers[0], activation(), layers[1], activation(), layers[2])
        count = 1 if config.batch_norm == "shared" else 2 * modalities
        self.add_module("norms", nn.ModuleList(nn.BatchNorm1d(config.width) for _ in range(count)))
        self.mix = nn.Parameter(torch.full((modalities,), float(config.mix_init)))  # e_k
        self.threshold = nn.Parameter(torch.tensor(float(config.threshold_init)))  # t

    def views(self, mapped: Tensor, h: Tensor) -> Tensor:
        """Kernel inputs. Shapes: mapped = phi(H) (M, B, D), h (M, B, D) -> (2, M, B, D)."""
        pairs = torch.stack([F.relu(mapped) if self.product else mapped, h], dim=1)  # (M, 2, B, D), the order of the release
        views = [self.normalise(self.norms[call % len(self.norms)], x) for call, x in enumerate(pairs.flatten(0, 1))]
        return torch.stack(views).unflatten(0, (-1, 2)).transpose(0, 1)  # (2, M, B, D)

    def normalise(self, norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
        """Batch norm; a training batch of one row has no variance and is scaled by the running statistics."""
        if len(x) > 1 or not norm.training:
            return norm(x)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)

    def modality(self, kernels: Tensor) -> Tensor:
        """Similarity S_k by each modality. Shapes: (2, M, Q, R) -> (M, Q, R)."""
        eps = torch.sigmoid(self.mix)[:, None, None]
        deep, raw = kernels
        return torch.lerp(deep, torch.ones_like(eps), eps) * raw if self.product else torch.lerp(deep, raw, eps)

    def average(self, similarity: Tensor, shared: Tensor) -> Tensor:
        """Mean over the modalities both rows have, 0 where there is none. Shapes: both (M, Q, R) -> (Q, R)."""
        return (similarity * shared).sum(0) / shared.sum(0).clamp(min=1)

    def calibrate(self, similarity: Tensor) -> Tensor:
        """S where S > sigmoid(t), else 0; the cut is added back without gradient, so that t learns. Keeps the shape."""
        cut = torch.sigmoid(self.threshold)
        above = F.relu(similarity - cut)
        return above + cut.detach() * (above > 0)


class FusionBlock(nn.Module):
    """Linear, positions, then attention and feed-forward, each added to its input.

    Shapes: x (B, L, D), positions (L, D), keys (B, L) bool, True = may be attended to -> (B, L, D).
    """

    def __init__(self, heads: int, config: M3CareConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.width, config.width)
        self.attention = Attention(config.width, heads, config.attention_dropout)
        self.feed_forward = FeedForward(config.width, 4 * config.width, config.inner_dropout, ACTIVATIONS[config.activation])
        self.norm1, self.norm2 = (nn.LayerNorm(config.width) if config.fusion_norm else nn.Identity() for _ in range(2))
        self.dropout = Dropout(config.residual_dropout)

    def forward(self, x: Tensor, positions: Tensor, keys: Tensor | None = None) -> Tensor:
        x = self.linear(x) + positions
        x = x + self.dropout(self.attention(self.norm1(x), keys))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Reference(NamedTuple):
    """What a query needs of the support rows. Shapes: as commented."""

    views: Tensor  # (2, M, R, D) kernel inputs
    observed: Tensor  # (M, R) float 0/1
    bandwidth: Tensor  # (2, M, 1, 1)
    states: tuple[Tensor, Tensor]  # inputs of the two graph convolutions, each (I, R, D)


class Edges(NamedTuple):
    """The adjacency of each imputable modality, A_k = scale_k S diag(senders_k) and loops: one S for all, so that no A_k is ever built."""

    similarity: Tensor  # (Q, R)
    senders: Tensor  # (I, R, 1) float 0/1, who has the modality
    scale: Tensor  # (I, Q, 1), 1 over the row's sum, or 0/1
    loops: Tensor | None  # (I, Q, 1), weights of the rows' own states

    def gather(self, states: Tensor, own: Tensor | None) -> Tensor:
        """A X. Shapes: states (I, R, D), own states (I, Q, D), asked for where there are loops -> (I, Q, D)."""
        sent = (self.senders * states).transpose(0, 1)  # (R, I, D)
        found = (self.similarity @ sent.flatten(1)).unflatten(1, sent.shape[1:]).transpose(0, 1) * self.scale  # (I, Q, D)
        return found if self.loops is None or own is None else torch.addcmul(found, self.loops, own)

    def matrix(self) -> Tensor:
        """A without its loops. Shapes: -> (I, Q, R)."""
        return self.scale * self.similarity * self.senders.transpose(1, 2)


class M3Care(Method):
    """Similarity graph, neighbour aggregation, adaptive gate, fusion Transformer. I imputable modalities, R reference rows.

    Training needs the whole batch jointly: its rows are the graph. Evaluation looks at support rows drawn in `prepare`.
    """

    Config = M3CareConfig
    places: Tensor
    positions: Tensor
    paper = "Zhang et al., M3Care: Learning with Missing Modalities in Multimodal Healthcare Data, KDD 2022, arXiv 2210.17292"
    year = 2022
    repository = "choczhang/M3Care"
    traces = ("supports", "embeddings", "gradients")
    uses_other_samples = True
    batch_dependent = False
    presets = {
        "paper": {},
        "as_released": {"mask": "outer", "norm": "none", "bandwidth_rows": "all", "eval_graph": "batch"},
        "ov": {"kernel": "convex", "mix_init": -0.3, "threshold_init": 0.0, "activation": "selu", "width": 256, "batch_size": 32,
               "weight_decay": 1e-5, "stability_weight": 1e-8, "attention_dropout": 0.0},
    }  # fmt: skip
    search = {
        "learning_rate": (5e-5, 1e-4, 3e-4, 1e-3, 3e-3), "width": (64, 128, 256), "kernel": ("product", "convex"),
        "threshold_init": (0.0, 1.0, 2.0), "dropout": (0.1, 0.3, 0.5), "stability_weight": (1e-7, 1e-3, 1e-2, 1e-1),
    }  # fmt: skip
    deviations = (
        "Neighbours must have the modality, the receiver need not (mask='column'); the release also empties the rows of samples "
        "that lack it, which then all get one constant vector.",
        "Adjacency rows are divided by their sum (norm='row'); in the release states grow with the size of the graph.",
        "Every modality can be imputed (imputable=''); the release imputes a fixed part of its data's modalities.",
        "Two samples that share no modality have similarity 0; in the release this cannot occur.",
        "Kernel bandwidths come from rows that observe the modality (bandwidth_rows='observed'); the release counts all rows.",
        "A graph of one row is linked to itself with weight 1, and a training batch of one row is normalised by running "
        "statistics; the release fails. Squared distances are cut at 0 (clamp=True).",
        "In evaluation each row is compared with support rows of the training part, stratified by label (eval_graph='support'); "
        "the release builds the graph inside each evaluation batch. Of several labels the strata are their number, of a value fifths.",
        "Placeholders enter behind the encoder, as zeros before the linear layer, so all rows that lack a modality have one "
        "constant embedding, which takes part in batch norm as in the release; the release encodes zeros.",
        "Encoders are the suite's. With several tokens the first is H_k, though it sees one patch or stretch of the input, where "
        "ODIR's [CLS] sees the whole text.",
        "phi and e are one per modality; ODIR shares them between left and right eye. Batch size is 128, also in as_released "
        "(ODIR 512). The loss is cross entropy over classes, not binary.",
        "Preset ov handles tokens as ODIR does: the OV notebook writes imputed vectors to stale positions and feeds its never "
        "missing modality to the second fusion block alone. It also keeps ODIR's guard against a zero bandwidth, which OV lacks, and "
        "counts all modalities in the stability penalty, where OV leaves out its first.",
    )

    def __init__(self, schema: Schema, config: M3CareConfig) -> None:
        super().__init__(schema, config)
        modalities, width = len(schema), config.width
        self.imputable: Sequence[int] = schema.positions(config.imputable or schema.combination)
        self.encoders = Encoders(schema, config.tokens, width)
        self.project = StackedLinear(modalities, width, width)
        self.act = ACTIVATIONS[config.activation]()
        self.similarity = Similarity(modalities, config)
        self.convolution1, self.convolution2 = (StackedLinear(len(self.imputable), width, width) for _ in range(2))
        self.gate = AdaptiveGate(len(self.imputable), width)
        self.types = nn.Parameter(0.02 * torch.randn(modalities, width))
        self.fusion1, self.fusion2 = FusionBlock(config.heads, config), FusionBlock(1, config)
        self.head = nn.Sequential(
            nn.Linear(modalities * width, 2 * width), ACTIVATIONS[config.activation](), Dropout(config.dropout),
            nn.Linear(2 * width, schema.outputs),
        )  # fmt: skip
        self.register_buffer("places", torch.tensor(self.imputable), persistent=False)
        self.register_buffer("positions", sinusoids(modalities * config.tokens, width), persistent=False)
        self.support: Batch | None = None
        self.support_rows: list[int] = []  # their places in the training part
        self.reference: Reference | None = None
        self.links: tuple[Tensor, int] | None = None  # pairs of support rows linked at the last evaluation, and all pairs

    @classmethod
    def declared(cls, config: M3CareConfig) -> Mapping[str, str]:
        return {"batch-mate": "eval_graph='batch': the rows scored together are the graph"} if config.eval_graph == "batch" else {}

    def prepare(self, train: Samples) -> None:
        """Draw the support rows: fixed by the seed, stratified by label, as many as a training batch has."""
        size = self.config.support or self.config.batch_size
        rows = stratified(torch.from_numpy(train.in_strata().target), size, self.generator.initial_seed())
        self.support, self.support_rows = as_batch(train.rows(rows.numpy())), rows.tolist()
        self.reference = None

    def train(self, mode: bool = True) -> M3Care:
        if mode:
            self.reference = None  # weights will move
        return super().train(mode)

    @torch.no_grad()
    def on_evaluate(self) -> None:
        """Encode the support rows and their graph with the present weights."""
        if self.config.eval_graph == "batch":
            return
        if self.support is None:
            raise RuntimeError("M3Care with eval_graph='support' needs prepare(train) before it is evaluated")
        self.support = self.support.to(self.device)
        h, observed = self.encode(self.support)[:, :, 0], self.observed(self.support)
        views = self.similarity.views(self.similarity.phi(h), h)
        s, bandwidth = self.graph(views, observed)
        own = self.pick(h)
        first = self.convolve(self.convolution1, self.edges(s, observed, observed), own)
        self.reference = Reference(views, observed, bandwidth, (own, first))
        self.links = (s > 0).sum() - (s.diagonal() > 0).sum(), max(s.numel() - len(s), 1)

    @property
    def edge_density(self) -> float:
        """Share of pairs of support rows that are linked, at the last evaluation; NaN before one."""
        return math.nan if self.links is None else self.links[0].item() / self.links[1]

    def forward(self, batch: Batch) -> Prediction:
        tokens = self.encode(batch)  # (M, B, T, D), a constant where not observed
        observed = self.observed(batch)  # (M, B)
        h = tokens[:, :, 0]
        mapped = self.similarity.phi(h)
        filled = self.complete(h, mapped, observed)  # (M, B, D), imputed where missing, blended where not
        if self.tracer is not None:
            own = (h * observed.unsqueeze(2)).transpose(0, 1)  # (B, M, D)
            self.trace("embeddings", sample=batch.index, observed=batch.observed, before=own, after=filled.transpose(0, 1))
            filled = self.watch(filled.transpose(0, 1), batch.observed).transpose(0, 1)
            self.trace_supports(h, mapped, observed, batch.index)
        fused = self.fuse(torch.cat([filled.unsqueeze(2), tokens[:, :, 1:]], dim=2), batch.observed)  # (B, M, D)
        logits = self.head(fused.flatten(1))
        weight = self.config.stability_weight
        if not self.training or weight == 0:
            return Prediction(logits)
        return Prediction(logits, {"stability": weight * self.stability(mapped, h, observed)})

    def observed(self, batch: Batch) -> Tensor:
        """The mask as numbers. Shapes: -> (M, B) float 0/1."""
        return batch.observed.t().to(self.types.dtype)

    def pick(self, x: Tensor) -> Tensor:
        """The imputable modalities of x. Shapes: (M, ...) -> (I, ...)."""
        return x if len(self.imputable) == len(x) else x[self.places]

    def encode(self, batch: Batch) -> Tensor:
        """Tokens of each modality, token 0 is H_k. Shapes: -> (M, B, T, D)."""
        x = self.encoders(batch).transpose(0, 1)  # (M, B, T, D)
        return self.act(self.project(x.flatten(1, 2))).unflatten(1, x.shape[1:3])

    def complete(self, h: Tensor, mapped: Tensor, observed: Tensor) -> Tensor:
        """F_k: neighbours' information alone where k is missing, gated with H_k where it is there.

        Shapes: h, mapped = phi(h) (M, B, D), observed (M, B) -> (M, B, D).
        """
        g = self.neighbours(h, self.similarity.views(mapped, h), observed)  # (I, B, D)
        own = self.pick(h)
        filled = self.gate(g, own, self.pick(observed).unsqueeze(2))  # (I, B, D)
        if len(self.imputable) == len(h):
            return filled
        return h.index_copy(0, self.places, filled)  # (M, B, D)

    def trace_supports(self, h: Tensor, mapped: Tensor, observed: Tensor, index: Tensor) -> None:
        """The support rows each row is linked to, with their weights, for each imputable modality that it lacks."""
        if self.training or self.reference is None:
            return
        s, _ = self.graph(self.similarity.views(mapped, h), observed, self.reference)
        weights = self.edges(s, observed, self.reference.observed, loops=True).matrix()  # (I, Q, R)
        place, row, support = (weights * (1 - self.pick(observed)).unsqueeze(2)).nonzero().unbind(1)
        rows = torch.tensor(self.support_rows, device=index.device)
        self.trace("supports", sample=index[row], target=self.places[place], support=rows[support], weight=weights[place, row, support])

    def neighbours(self, h: Tensor, views: Tensor, observed: Tensor) -> Tensor:
        """G_k, from the batch itself or from the support rows.

        Shapes: h (M, B, D), views (2, M, B, D), observed (M, B) -> (I, B, D).
        """
        own = self.pick(h)
        if self.training or self.config.eval_graph == "batch":
            s, _ = self.graph(views, observed)
            edges = self.edges(s, observed, observed)
            return self.convolve(self.convolution2, edges, self.convolve(self.convolution1, edges, own))
        if self.reference is None:
            self.on_evaluate()
            assert self.reference is not None  # `on_evaluate` leaves it alone only where eval_graph is "batch"
        s, _ = self.graph(views, observed, self.reference)
        edges = self.edges(s, observed, self.reference.observed, loops=True)
        first = self.convolve(self.convolution1, edges, self.reference.states[0], own)
        return self.convolve(self.convolution2, edges, self.reference.states[1], first)

    def graph(self, views: Tensor, observed: Tensor, reference: Reference | None = None) -> tuple[Tensor, Tensor]:
        """Calibrated similarity of the rows to the reference, or to each other, and the bandwidths used.

        Shapes: views (2, M, Q, D), observed (M, Q) -> (Q, R), (2, M, 1, 1).
        """
        others, present = (None, observed) if reference is None else (reference.views, reference.observed)
        distances = squared_distances(views, others, self.config.clamp)  # (2, M, Q, R)
        if reference is None:
            rows = observed if self.config.bandwidth_rows == "observed" else torch.ones_like(observed)
            bandwidth = bandwidths(distances, rows)
        else:
            bandwidth = reference.bandwidth
        similarity = self.similarity.modality(multi_kernel(distances, bandwidth))  # (M, Q, R)
        shared = observed.unsqueeze(2) * present.unsqueeze(1)  # (M, Q, R), J_k
        return self.similarity.calibrate(self.similarity.average(similarity, shared)), bandwidth

    def edges(self, s: Tensor, observed: Tensor, present: Tensor, loops: bool = False) -> Edges:
        """Edges of each imputable modality; with `loops` also those of the rows to themselves, where `s` does not hold them.

        Shapes: s (Q, R), observed (M, Q), present (M, R).
        """
        senders = self.pick(present).unsqueeze(2)  # (I, R, 1)
        receivers = self.pick(observed).unsqueeze(2)  # (I, Q, 1)
        own = receivers if loops else None
        scale = receivers if self.config.mask == "outer" else torch.ones_like(receivers)
        if self.config.norm == "row":
            total = scale * (s @ senders.squeeze(2).t()).t().unsqueeze(2)  # (I, Q, 1)
            total = (total if own is None else total + own).clamp(min=1e-6)
            scale, own = scale / total, None if own is None else own / total
        return Edges(s, senders, scale, own)

    def convolve(self, layer: StackedLinear, edges: Edges, states: Tensor, own: Tensor | None = None) -> Tensor:
        """act((A X) W + b), which is the paper's act(A (X W) + b). Shapes: states (I, R, D), own (I, Q, D) -> (I, Q, D)."""
        return self.act(layer(edges.gather(states, own)))

    def assemble(self, tokens: Tensor) -> Tensor:
        """Z0: tokens plus their modality's type vector, plus positions if T > 1. Shapes: (M, B, T, D) -> (B, M*T, D)."""
        labels = self.types[:, None, None]  # (M, 1, 1, D)
        count = tokens.shape[2]
        z = tokens + labels if count == 1 else tokens + labels + self.positions[:count]
        return z.permute(1, 0, 2, 3).flatten(1, 2)  # (B, M*T, D)

    def fuse(self, tokens: Tensor, observed: Tensor) -> Tensor:
        """First token of each modality after both blocks; of a missing modality, token 0 alone is attended to.

        Shapes: tokens (M, B, T, D), observed (B, M) bool -> (B, M, D).
        """
        count = tokens.shape[2]
        keys = None
        if count > 1:
            first = torch.arange(count, device=tokens.device) == 0  # (T,)
            keys = (observed.unsqueeze(2) | first).flatten(1)  # (B, M*T)
        z = self.act(self.fusion1(self.assemble(tokens), self.positions, keys))
        z = self.act(self.fusion2(z, self.positions, keys))
        return z[:, ::count]  # (B, M, D)

    def stability(self, mapped: Tensor, h: Tensor, observed: Tensor) -> Tensor:
        """How far phi changes norms, summed over modalities. Shapes: mapped, h (M, B, D), observed (M, B) -> ()."""
        rows = observed if self.config.stability_rows == "observed" else torch.ones_like(observed)
        if self.config.stability == "frobenius":
            if self.config.stability_rows == "observed":
                mapped, h = mapped * rows.unsqueeze(2), h * rows.unsqueeze(2)
            return (torch.linalg.vector_norm(mapped, dim=(1, 2)) - torch.linalg.vector_norm(h, dim=(1, 2))).abs().sum()
        change = (torch.linalg.vector_norm(mapped, dim=2) - torch.linalg.vector_norm(h, dim=2)).abs()  # (M, B)
        return ((change * rows).sum(1) / rows.sum(1).clamp(min=1)).sum()

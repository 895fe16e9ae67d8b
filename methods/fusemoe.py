"""FuseMoE: every layer sends all modalities through one sparse mixture of experts with distance gates (NeurIPS 2024).

Idea:    a transformer per modality whose cross-modal sublayer is a sparse mixture of experts, so the cost is linear in the number
         of modalities. A router scores an expert by minus its distance to the embedding ("Laplace gate"). A missing modality is a
         learned indicator; one router per modality and an entropy loss send it to experts that the others use little.
Source:  arXiv 2402.03226, equations 1-3, figures 1-2, appendix C, table 8. Code: aaronhan223/FuseMoE, read at the authors'
         commit c5acf6f (`src/core/sparse_moe.py`, `module.py`, `model.py`) as kept in bddupre92/FuseMoE_Migraines.
Differs: the code normalises expert outputs to log-densities, mixes the samples of a batch when it flattens time, drops its
         auxiliary loss, has no indicator and routes with noise in evaluation. `paper` does none of that, `as_released` all of it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders
from bench.methods.layers import Attention, Dropout, FeedForward, SparseExperts, cv_squared, in_top_k_probability

log = logging.getLogger(__name__)

CHOICES = {
    "router": ("joint", "permod", "disjoint"),
    "gating": ("laplace", "gaussian", "softmax"),
    "missing_embedding": ("zero", "shared", "per_modality"),
    "entropy_groups": ("indicator", "modality"),
    "moe_out": ("all", "own"),
    "pool": ("mean", "last"),
    "noise": ("train", "always", "off"),
    "gate_init": ("normal", "zero", "frozen"),
    "flatten": ("sample", "time"),
}


@dataclass(frozen=True, kw_only=True)
class FuseMoEConfig(MethodConfig):
    epochs: int = 8  # paper, table 8
    batch_size: int = 32  # paper, table 8: 2 rows x 16 accumulation steps
    learning_rate: float = 4e-4  # paper, table 8
    tokens: int = 1  # T, gamma in the paper: 48 time bins there; experts grow with M * T * D, so keep it at 4 or below
    width: int = 128  # D, paper: d = 128
    layers: int = 3  # L, paper
    heads: int = 8  # H, paper
    dropout: float = 0.1  # paper, everywhere
    router: str = "permod"  # paper, figure 2: "joint", "permod" (advised for missing data), "disjoint"
    gating: str = "laplace"  # paper, equation 2: "laplace" -||W - u||, "gaussian" -||W - u||^2, "softmax" u.W
    n_experts: int = 16  # S, paper; the released MIMIC-IV script passes 3
    k: int = 4  # experts kept per unit, paper; the released script passes 2
    k_disjoint: int = 2  # experts kept per unit by the disjoint router, paper and code
    hidden: int = 512  # d_ff of an expert, paper
    moe_out: str = "all"  # permod, disjoint: a unit writes to "all" modalities (code; the paper is silent) or to its "own"
    noise: str = "train"  # gate noise: "train", "always" (code: in evaluation too), "off"
    gate_init: str = "normal"  # W ~ N(0, 0.02), ours; code: "zero", and "frozen" zeros in permod and disjoint (not registered)
    missing_embedding: str = "shared"  # z_miss: one for all, ours (shape not in the paper); "per_modality"; "zero" as in the code
    pool: str = "mean"  # tokens to one vector: "mean", ours, for tokens without time order; "last" as in the code
    entropy_weight: float = 0.01  # lambda_E of equation 3, permod alone; not in the paper, ours
    entropy_groups: str = "indicator"  # equation 3: z_miss units form a group of their own, ours; "modality": read strictly
    balance_weight: float = 0.01  # weight of the importance and load losses, joint and disjoint alone; code (which drops them)
    log_space: bool = False  # True, code: experts give log-densities, combined as log sum g exp(.)
    flatten: str = "sample"  # "time", code: memory laid out (T, B, D) is read as (B, T * D), which mixes samples where T > 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tokens", "width", "layers", "heads", "n_experts", "k", "k_disjoint", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        if self.k > self.n_experts:
            raise ValueError(f"k must not exceed n_experts, got {self.k} and {self.n_experts}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if min(self.entropy_weight, self.balance_weight) < 0:
            raise ValueError(f"loss weights must not be negative, got {self.entropy_weight} and {self.balance_weight}")


@dataclass(frozen=True)
class Routing:
    """What R routers decided, each for B units: ids of experts in the router's own pool and their gates.

    Shapes: clean, noisy, sigma (R, B, S); experts, gates (R, B, K).
    """

    clean: Tensor  # logits without noise
    noisy: Tensor
    sigma: Tensor | None  # standard deviation of the noise, None where there was none
    experts: Tensor
    gates: Tensor

    @property
    def dense_gates(self) -> Tensor:
        return torch.zeros_like(self.clean).scatter(2, self.experts, self.gates)  # (R, B, S), zero outside the top k

    @property
    def load(self) -> Tensor:
        """Units per expert (R, S): expected over the noise, or counted where there is no noise or no expert left out."""
        routers, units, experts = self.clean.shape
        kept = self.experts.shape[2]
        if self.sigma is None or kept == experts:
            return torch.zeros_like(self.clean).scatter(2, self.experts, 1.0).sum(1)
        clean, noisy, sigma = (logits.flatten(0, 1) for logits in (self.clean, self.noisy, self.sigma))  # each (R*B, S)
        return in_top_k_probability(clean, noisy, sigma, kept).view(routers, units, experts).sum(1)  # (R, S)


def balance_loss(routing: Routing) -> Tensor:
    """CV^2(sum of gates) + CV^2(load), summed over routers. Source: Shazeer et al. 2017, section 4 and appendix A."""
    importance = routing.dense_gates.sum(1)  # (R, S)
    return torch.stack([cv_squared(gates) + cv_squared(load) for gates, load in zip(importance, routing.load, strict=True)]).sum()


def entropy_loss(clean: Tensor, observed: Tensor, groups: str = "indicator") -> Tensor:
    """Mean entropy of the groups' expert distributions minus the entropy of their mean: minus a Jensen-Shannon divergence.

    A group is the observed units of one modality, or all indicator units of the batch (`groups="modality"`: all units of one
    modality). Groups without a unit are left out; with one group the loss is 0. It lies in [-log(number of groups), 0].
    Shapes: clean (M, B, S) logits without noise, observed (B, M) bool -> (). Source: FuseMoE, equation 3.
    """
    p = clean.softmax(2)  # (M, B, S), over all experts, before the top k
    seen = observed.T.to(p.dtype) if groups == "indicator" else torch.ones_like(p[..., 0])  # (M, B)
    count = torch.cat([seen.sum(1), (1 - seen).sum().view(1)])  # (M+1,), the indicator group last
    total = torch.cat([torch.einsum("mb,mbs->ms", seen, p), torch.einsum("mb,mbs->s", 1 - seen, p).unsqueeze(0)])  # (M+1, S)
    mean = total / count.clamp(min=1).unsqueeze(1)  # phat of the paper
    share = (count > 0).to(p.dtype)
    share = share / share.sum()
    return share @ entropy(mean) - entropy(share @ mean)


def entropy(p: Tensor) -> Tensor:
    """Natural-log entropy over the last axis; the clamp keeps the gradient finite at p = 0."""
    return -(p * p.clamp(min=torch.finfo(p.dtype).tiny).log()).sum(-1)


class Router(nn.Module):
    """R noisy top-k routers over S experts each, one per modality or one for all (R = 1).

    Shapes: u (R, B, D_in), noise (R, B, S) standard normal or None -> `Routing`. Source: FuseMoE, equations 1-2; the noise, code.
    """

    def __init__(self, routers: int, experts: int, features: int, kept: int, config: FuseMoEConfig) -> None:
        super().__init__()
        self.gating, self.kept = config.gating, kept
        shape, trained = (routers, experts, features), config.gate_init != "frozen"
        start = torch.randn(shape) * 0.02 if config.gate_init == "normal" else torch.zeros(shape)
        self.centres = nn.Parameter(start, requires_grad=trained)  # W
        self.spread = nn.Parameter(torch.zeros(shape), requires_grad=trained) if config.noise != "off" else None  # W_n

    def forward(self, u: Tensor, noise: Tensor | None = None) -> Routing:
        clean = noisy = self.logits(u)  # (R, B, S)
        sigma = None
        if noise is not None and self.spread is not None:
            sigma = F.softplus(u @ self.spread.mT) + 0.01  # (R, B, S)
            noisy = clean + noise * sigma
        kept, experts = noisy.topk(self.kept, dim=2)  # (R, B, K)
        return Routing(clean, noisy, sigma, experts, kept.softmax(2))

    def logits(self, u: Tensor) -> Tensor:
        if self.gating == "softmax":
            return u @ self.centres.mT
        # the shortcut through matrix products loses digits that decide the top k
        distance = torch.cdist(u, self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        return -distance if self.gating == "laplace" else -distance.square()


class LogSpaceExperts(SparseExperts):
    """Experts whose outputs are log-densities over the output coordinates, as released: log(sum_e g_e softmax(FFN_e(u))).

    Where the sum is exactly 0 in floating point, the code takes 2.2e-16 (a jump); elsewhere a stable logsumexp gives its value.
    """

    def forward(self, x: Tensor, experts: Tensor, gates: Tensor) -> Tensor:
        visits, alone = experts.view(-1, 1), torch.ones_like(gates).view(-1, 1)  # (V*K, 1): each visit a unit of its own
        y = super().forward(x.repeat_interleave(experts.shape[1], 0), visits, alone)  # (V*K, D_out)
        y = y.log_softmax(1).unflatten(0, experts.shape)  # (V, K, D_out)
        gates = gates.unsqueeze(2)  # (V, K, 1)
        floored = (gates * y.exp()).sum(1) == 0  # (V, D_out)
        y = (gates.clamp(min=torch.finfo(y.dtype).tiny).log() + y).logsumexp(1)  # (V, D_out)
        return y.masked_fill(floored, math.log(torch.finfo(torch.float64).eps))


class Mixture(nn.Module):
    """The sparse mixture of experts that joins the modalities. Shapes: u (M, B, F) -> (M, B, F) and the `Routing`; F = T * D.

    joint: one unit holds all modalities. permod: a unit per modality, a router per modality, shared experts. disjoint: each
    modality has its own floor(S / M) experts. Unless `moe_out` is "own", a unit writes to all modalities and writings add up.
    Raises: ValueError if a pool of the disjoint router is smaller than `k_disjoint`. Source: FuseMoE, figure 2 and appendix C.
    """

    def __init__(self, modalities: int, features: int, config: FuseMoEConfig) -> None:
        super().__init__()
        joint, disjoint = config.router == "joint", config.router == "disjoint"
        pool = config.n_experts // modalities if disjoint else config.n_experts
        kept = config.k_disjoint if disjoint else config.k
        if kept > pool:  # k <= n_experts holds already, so this is the disjoint router
            raise ValueError(f"k_disjoint must not exceed n_experts // modalities, here {pool}, got {kept}")
        self.modalities, self.joint, self.own = modalities, joint, config.moe_out == "own" and not joint
        self.pool = pool if disjoint else 0  # a modality's pool starts at its position times this
        routers, inputs = (1, modalities * features) if joint else (modalities, features)
        self.router = Router(routers, pool, inputs, kept, config)
        experts = LogSpaceExperts if config.log_space else SparseExperts
        outputs = features if self.own else modalities * features
        self.experts = experts(pool * (modalities if disjoint else 1), kept, inputs, config.hidden, outputs, config.dropout)

    def forward(self, u: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Routing]:
        units = u.transpose(0, 1).flatten(1).unsqueeze(0) if self.joint else u  # (R, B, D_in)
        routing = self.router(units, noise)
        first = torch.arange(len(units), device=u.device).view(-1, 1, 1) * self.pool
        rows = (each.flatten(0, 1) for each in (units, first + routing.experts, routing.gates))  # each (R*B, ...)
        y = self.experts(*rows).unflatten(0, units.shape[:2])  # (R, B, D_out)
        return (y if self.own else y.sum(0).unflatten(1, (self.modalities, -1)).transpose(0, 1)), routing  # (M, B, F)


class ModalityBlock(nn.Module):
    """What one modality owns in a layer: attention over its tokens and a feed-forward block, before and after the mixture."""

    def __init__(self, config: FuseMoEConfig) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(config.width) for _ in range(3))
        self.attention = Attention(config.width, config.heads, config.dropout)
        self.feed_forward = FeedForward(config.width, 4 * config.width, config.dropout, nn.ReLU)
        self.dropout = Dropout(config.dropout)

    def attend(self, z: Tensor) -> Tensor:
        return z + self.dropout(self.attention(self.norm1(z)))  # (B, T, D)

    def refine(self, c: Tensor) -> Tensor:
        return c + self.dropout(self.feed_forward(self.norm3(c)))  # (B, T, D)


class Layer(nn.Module):
    """Attention within modalities, mixture across, feed-forward within. Shapes: z (M, B, T, D) -> same, and the `Routing`."""

    blocks: Sequence[ModalityBlock]

    def __init__(self, modalities: int, config: FuseMoEConfig) -> None:
        super().__init__()
        self.add_module("blocks", nn.ModuleList(ModalityBlock(config) for _ in range(modalities)))
        self.mixture = Mixture(modalities, config.tokens * config.width, config)
        self.dropout = Dropout(config.dropout)
        self.time_first = config.flatten == "time"

    def forward(self, z: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Routing]:
        a = torch.stack([block.attend(x) for block, x in zip(self.blocks, z, strict=True)])
        u = torch.stack([block.norm2(x) for block, x in zip(self.blocks, a, strict=True)])
        y, routing = self.mixture(self.to_rows(u), noise)
        c = a + self.dropout(self.to_tokens(y, a.shape))
        return torch.stack([block.refine(x) for block, x in zip(self.blocks, c, strict=True)]), routing

    def to_rows(self, u: Tensor) -> Tensor:
        """One row per sample (M, B, T*D); time first, as released, a row holds time slices of several samples."""
        return u.transpose(1, 2).reshape(*u.shape[:2], -1) if self.time_first else u.flatten(2)

    def to_tokens(self, y: Tensor, shape: torch.Size) -> Tensor:
        """The way back from `to_rows` (M, B, T, D)."""
        modalities, batch, tokens, width = shape
        return y.reshape(modalities, tokens, batch, width).transpose(1, 2) if self.time_first else y.reshape(shape)


class FuseMoE(Method):
    Config = FuseMoEConfig
    config: FuseMoEConfig
    layers: Sequence[Layer]
    trained: Tensor
    paper = "Han et al.: FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion, NeurIPS 2024, arXiv 2402.03226"
    year = 2024
    repository = "aaronhan223/FuseMoE"
    traces = ("routing", "embeddings", "gradients")
    deviations = (
        "The time-series encoders mTAND and UTDE are left out: the suite's encoders supply the tokens, as for every method.",
        "One token per modality (the paper has 48 time bins), because experts grow with modalities x tokens x width.",
        "Several tokens are averaged before the head; the code takes the last one (pool='last' and `as_released` do so).",
        "The paper leaves the indicator's shape and start open: one (T, D) for all modalities, N(0, 0.02), no type vector.",
        "The paper does not give the weight of the entropy loss, and the code has no such loss: 0.01, summed over the layers.",
        "Indicator units are one more group of the entropy loss; equation 3 has modalities alone (entropy_groups='modality').",
        "The disjoint router uses the balance loss: its entropy loss is the constant -log M.",
        "Gate centres start as N(0, 0.02), where the code starts them at 0 and so ties all distances (`as_released` does so).",
        "Type vectors start as N(0, 0.02); the code's N(0, 1) drowns the suite's encoders and costs the first epochs.",
        "Gate noise acts in training alone; in the code also in evaluation (`as_released` does so).",
        "All positions are trained; the code declares position 0 as padding, which leaves it at its start.",
        "`as_released` keeps 16 experts and the top 4 of the paper; the released MIMIC-IV script passes 3 and 2.",
        "`as_released` restarts its noise before each scored part, so that a checkpoint scores the same again.",
        "A modality that no training row observes counts as missing in evaluation, because its encoder is untrained.",
        "The checkpoint is chosen by the suite's rule, not by validation F1, and the task loss is cross entropy throughout.",
    )
    presets: ClassVar = {
        "paper": {},
        "paper_joint": {"router": "joint"},
        "as_released": {
            "router": "joint", "missing_embedding": "zero", "log_space": True, "flatten": "time", "noise": "always",
            "gate_init": "zero", "pool": "last", "entropy_weight": 0.0, "balance_weight": 0.0,
        },
    }  # fmt: skip
    search: ClassVar = {
        "learning_rate": (1e-4, 4e-4, 1e-3, 3e-3),
        "dropout": (0.0, 0.1, 0.3),
        "router": ("permod", "joint"),
        "n_experts": (4, 8, 16),
        "k": (2, 4),
        "layers": (1, 2, 3),
        "entropy_weight": (0.0, 1e-3, 1e-2, 1e-1),
    }

    def __init__(self, schema: Schema, config: FuseMoEConfig) -> None:
        super().__init__(schema, config)
        modalities, tokens, width = len(schema), config.tokens, config.width
        self.encoders = Encoders(schema, tokens, width)
        self.types = nn.Parameter(torch.randn(modalities, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.02)
        sizes = {"zero": 0, "shared": 1, "per_modality": modalities}[config.missing_embedding]
        self.indicator = nn.Parameter(torch.randn(sizes, tokens, width) * 0.02) if sizes else None  # z_miss
        self.dropout = Dropout(config.dropout)
        self.add_module("layers", nn.ModuleList(Layer(modalities, config) for _ in range(config.layers)))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(modalities))
        self.residual = FeedForward(modalities * width, modalities * width, config.dropout, nn.ReLU)
        self.classify = nn.Linear(modalities * width, schema.outputs)
        self.register_buffer("trained", torch.ones(modalities, dtype=torch.bool))  # (M,) seen in training
        self.paused: Tensor | None = None  # state of the training noise during an evaluation
        if config.router == "disjoint" and (unused := config.n_experts % modalities):
            log.info("fusemoe: %d of %d experts are left out, so that all modalities have as many", unused, config.n_experts)

    @classmethod
    def declared(cls, config: FuseMoEConfig) -> Mapping[str, str]:
        reasons = []
        if config.noise == "always":
            reasons.append("noise='always': gate noise goes by place in the batch")
        if config.flatten == "time" and config.tokens > 1:
            reasons.append("flatten='time': a unit holds time slices of several rows")
        return {"batch-mate": "; ".join(reasons)} if reasons else {}

    def seed(self, seed: int) -> None:
        super().seed(seed)
        self.paused = None

    def prepare(self, train: Samples) -> None:
        """Note which modalities training rows observe: any other counts as missing from here on."""
        self.trained.copy_(torch.from_numpy(train.observed.any(0)))
        for name, trained in zip(self.schema.names, self.trained.tolist(), strict=True):
            if not trained:
                log.warning("fusemoe: no training row observes %s; it counts as missing", name)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        if self.paused is not None:
            self.generator.set_state(self.paused)
            self.paused = None

    def on_evaluate(self) -> None:
        """Noise in evaluation starts anew for each scored part; the training noise goes on where it was."""
        if self.config.noise == "always":
            self.paused = self.generator.get_state() if self.paused is None else self.paused
            self.generator.manual_seed(self.generator.initial_seed())

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=batch.observed & self.trained)
        own = self.encoders(batch)  # (B, M, T, D)
        tokens = self.watch(self.complete(own, batch.observed), batch.observed)
        tokens, routings = self.fuse(tokens, self.gate_noise(tokens))
        self.trace("embeddings", sample=batch.index, observed=batch.observed, before=own.mean(2), after=tokens.mean(2))
        for layer, routing in enumerate(routings):
            self.trace_routing(layer, routing, batch)
        return Prediction(self.head(tokens), self.penalties(routings, batch.observed) if self.training else {})

    def complete(self, tokens: Tensor, observed: Tensor) -> Tensor:
        """Observed tokens with their type vector, the indicator in place of missing ones. Shapes: (B, M, T, D) -> same."""
        missing = tokens.new_zeros(()) if self.indicator is None else self.indicator
        return torch.where(observed[:, :, None, None], tokens + self.types, missing)

    def fuse(self, tokens: Tensor, noise: Tensor | None = None) -> tuple[Tensor, list[Routing]]:
        """All layers and the final norms. Shapes: tokens (B, M, T, D), noise (L, R, B, S) -> (B, M, T, D) and L routings."""
        z = self.dropout(math.sqrt(self.config.width) * tokens + self.position).transpose(0, 1)  # (M, B, T, D)
        routings = []
        for depth, layer in enumerate(self.layers):
            z, routing = layer(z, None if noise is None else noise[depth])
            routings.append(routing)
        return torch.stack([norm(x) for norm, x in zip(self.norms, z, strict=True)], dim=1), routings  # (B, M, T, D)

    def trace_routing(self, layer: int, routing: Routing, batch: Batch) -> None:
        """Where each unit of a layer went; the joint router's one unit a row has modality -1. Experts count over all pools."""
        if self.tracer is None or self.training:
            return
        routers, rows = routing.experts.shape[:2]
        modality = torch.arange(routers, device=batch.index.device).unsqueeze(1).expand(routers, rows)  # (R, B)
        joint = routers == 1 and len(self.schema) > 1
        first = modality * (0 if self.config.router != "disjoint" else self.config.n_experts // len(self.schema))
        columns = {
            "sample": batch.index.expand(routers, rows),
            "layer": torch.full_like(modality, layer),
            "target": torch.full_like(modality, -1),
            "modality": torch.full_like(modality, -1) if joint else modality,
            "filled": torch.zeros_like(modality, dtype=torch.bool) if joint else ~batch.observed.T,
            "supported": torch.zeros_like(modality, dtype=torch.bool),
            "source": batch.observed.expand(routers, -1, -1),
            "experts": routing.experts + first.unsqueeze(2),
            "gates": routing.gates,
        }
        self.trace("routing", **{name: column.flatten(0, 1) for name, column in columns.items()})

    def head(self, tokens: Tensor) -> Tensor:
        v = (tokens.mean(2) if self.config.pool == "mean" else tokens[:, :, -1]).flatten(1)  # (B, M*D)
        return self.classify(v + self.residual(v))  # (B, C)

    def gate_noise(self, tokens: Tensor) -> Tensor | None:
        """Standard normal draws for every layer's gates (L, R, B, S), or None where gates are noise-free."""
        if self.config.noise == "off" or (self.config.noise == "train" and not self.training):
            return None
        routers, experts, _ = self.layers[0].mixture.router.centres.shape
        shape = (len(self.layers), routers, len(tokens), experts)
        return torch.randn(shape, generator=self.generator, device=tokens.device, dtype=tokens.dtype)

    def penalties(self, routings: list[Routing], observed: Tensor) -> dict[str, Tensor]:
        config = self.config
        if config.router == "permod":
            if config.entropy_weight == 0:
                return {}
            losses = [entropy_loss(routing.clean, observed, config.entropy_groups) for routing in routings]
            return {"entropy": config.entropy_weight * torch.stack(losses).sum()}
        if config.balance_weight == 0:
            return {}
        return {"balance": config.balance_weight * torch.stack([balance_loss(routing) for routing in routings]).sum()}

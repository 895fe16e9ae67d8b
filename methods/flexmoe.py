"""Flex-MoE: a bank of tokens for what is missing, and an expert for each combination of modalities (NeurIPS 2024).

Idea:    One transformer over the tokens of all modalities. A missing modality's tokens come from a learned table indexed by what
         the row observes and by which modality it lacks. The feed-forward part is a sparse mixture of experts: complete rows train
         all experts in balance, and a cross entropy on the router pulls incomplete rows to the expert of their combination.
Source:  arXiv 2410.08245: figure 3 and the formulas as public reading notes retell them; official code UNITES-Lab/Flex-MoE at
         2168807, `models.py`, `moe_module.py`, `main.py`, `data.py`.
Differs: the code drops the path around attention, leaves expert 0 in the place of each token's top one out of the balance, keeps
         tokens of unmet combinations at their random start, and fixes no gate. More in `FlexMoE.deviations`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders, PatchEncoders
from bench.methods.layers import Attention, Dropout, FeedForward, SparseExperts, cv_squared, in_top_k_probability, uniform_size_subset

log = logging.getLogger(__name__)

CHOICES = {
    "encoder": ("suite", "patch"),
    "bank": ("combination", "shared", "zero"),
    "unseen": ("backoff", "random"),
    "skip": ("input", "attention"),
    "gate_norm": ("softmax_topk", "topk_softmax"),
    "top1": ("loss", "forced"),
    "exclude": ("top1", "full_expert", "none"),
    "routers": ("shared", "separate"),
    "expert_init": ("linear", "fastmoe"),
    "curriculum": ("full_first", "none"),
    "modality_dropout": ("none", "uniform_k"),
}
LARGEST = 12  # modalities whose combinations may each have tokens of their own: 24,564 blocks


@dataclass(frozen=True, kw_only=True)
class FlexMoEConfig(MethodConfig):
    """Settings of Flex-MoE. In the comments, "notes" are public retellings of the paper, "code" is a default of the official scripts."""

    epochs: int = 50  # notes, code
    batch_size: int = 8  # notes, code
    learning_rate: float = 1e-4  # code
    tokens: int = 16  # T, tokens of a modality; code
    width: int = 128  # D; code
    heads: int = 4  # H; code
    layers: int = 1  # L; code. Layers 0, 2, 4, .. are sparse, the others dense
    dropout: float = 0.5  # on attention, its output and what a layer adds; code
    n_experts: int = 16  # E; notes, code. Raised where modalities have more combinations
    max_experts: int = 64  # up to which E is raised; where it does not suffice, the most frequent combinations have an expert; ours
    kept: int = 4  # k, experts a token visits; notes, code. MIMIC: 3
    routing_weight: float = 0.01  # of all routing losses; notes, code
    encoder: str = "suite"  # "patch": one linear layer over patches of raw values, code
    bank: str = "combination"  # "shared": one block a modality; "zero": none, the ablation "w/o bank"
    unseen: str = "backoff"  # cells no training row uses: mean of the nearest used ones, ours; "random": their start, code
    skip: str = "input"  # x + MHA(x), figure 3; "attention": a + Drop(a) with a = MHA(x), a slip of the code
    gate_norm: str = "softmax_topk"  # notes; "topk_softmax": the kept gates sum to 1, code
    top1: str = "loss"  # the combination's expert is learned, notes and code; "forced": it is always first, as the abstract says
    exclude: str = "top1"  # entry that the balance of incomplete rows leaves out, notes; "full_expert": expert 0, code; "none"
    routers: str = "shared"  # one matrix for G- and S-router, code; "separate": complete and incomplete rows have their own; ours
    specialise: bool = True  # False: no loss on incomplete rows, the ablation "w/o expert specialisation"
    generalise: bool = True  # False: no loss on complete rows, the ablation "w/o generalisation"
    expert_init: str = "linear"  # as nn.Linear; "fastmoe": bound 1/sqrt(out * in), biases 0, code
    curriculum: str = "full_first"  # complete rows alone train in the warm-up, notes; "none": all rows from the start
    warmup_fraction: float = 0.1  # share of the epochs in the warm-up; notes, code: 5 of 50
    head_layers: int = 1  # 2: Linear, ReLU, dropout, Linear; code has either
    modality_dropout: str = "none"  # "uniform_k": train on subsets of random size; ours, where training rows are complete

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for names, rule, holds in (
            (("tokens", "width", "heads", "layers", "n_experts", "max_experts", "kept"), "at least 1", lambda value: value >= 1),
            (("routing_weight",), "at least 0", lambda value: value >= 0),
            (("dropout", "warmup_fraction"), "in [0, 1)", lambda value: 0 <= value < 1),
            (("head_layers",), "1 or 2", lambda value: value in (1, 2)),
        ):
            for name in names:
                if not holds(getattr(self, name)):
                    raise ValueError(f"{name} must be {rule}, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        if self.kept >= self.n_experts:
            raise ValueError(f"kept must be less than n_experts, got {self.kept} and {self.n_experts}")


def combination_table(modalities: int) -> np.ndarray:
    """What each combination id observes: id 0 is complete, the single modalities come last. Shapes: -> (2^M - 1, M) bool."""
    table = np.zeros((2**modalities - 1, modalities), dtype=bool)
    members = (chosen for size in range(modalities, 0, -1) for chosen in combinations(range(modalities), size))
    for row, chosen in zip(table, members, strict=True):
        row[list(chosen)] = True
    return table


def assigned_experts(counts: np.ndarray, experts: int) -> np.ndarray:
    """The expert of each combination, -1 where it has none: its own id where all fit, else the complete one and the most frequent.

    Shapes: counts (K,) int64, training rows of each combination -> (K,) int64. Ties go to the lower id.
    """
    if len(counts) <= experts:
        return np.arange(len(counts))
    frequent = 1 + np.argsort(-counts[1:], kind="stable")[: experts - 1]
    found = np.full(len(counts), -1)
    found[0], found[frequent] = 0, np.arange(1, experts)
    return found


def nearest(wanted: np.ndarray, given: np.ndarray) -> list[np.ndarray]:
    """Which given combinations are nearest to each wanted one by Hamming distance, all of them where several are.

    Shapes: wanted (W, M) bool, given (G, M) bool, G > 0 -> W of (n,) int64, ascending.
    """
    distance = (wanted[:, None] != given[None]).sum(2)  # (W, G)
    return [np.flatnonzero(row == row.min()) for row in distance]


class Bank(nn.Module):
    """Tokens for missing modalities: a learned cell for each (combination, missing modality), or one for each modality, or none.

    Cells that no training row uses are never read: where evaluation asks for one, it gets the mean of the cells of the nearest
    combinations that training rows have, zeros if there is none. A row that observes nothing is one more combination, without cells.
    Shapes: ids (B,) int64 in 0 .. K, K = nothing observed -> (B, M, T, D), meaningless where the combination observes.
    """

    place: Tensor
    donor: Tensor
    owner: Tensor

    def __init__(self, table: np.ndarray, config: FlexMoEConfig) -> None:
        super().__init__()
        self.kind, self.unseen = config.bank, config.unseen
        modalities = table.shape[1]
        if self.kind == "combination" and modalities > LARGEST:
            raise ValueError(f"bank must be shared or zero for more than {LARGEST} modalities, got combination for {modalities}: "
                             "it has tokens for each set of modalities that a row may observe")  # fmt: skip
        self.table = np.concatenate([table, np.zeros((1, modalities), dtype=bool)])  # (K+1, M), the empty combination last
        own = np.full(self.table.shape, -1)
        if self.kind == "combination":
            own[:-1][~table] = np.arange((~table).sum())
        elif self.kind == "shared" and modalities > 1:
            own = np.where(self.table, -1, np.arange(modalities))
        self.own = own  # (K+1, M) the cell of each missing modality, -1 where there is none
        self.cells = nn.Parameter(torch.randn(int(own.max()) + 1, config.tokens, config.width))
        for name in ("place", "donor", "owner"):  # derived from the training rows by `learn`
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64), persistent=False)
        self.substitutes: Tensor | None = None  # (F, T, D) for cells that no training row uses
        self.learn(np.ones(len(table), dtype=bool))

    @property
    def idle_parameters(self) -> int:
        """Parameters of the cells that one row, missing all but one modality, does not read."""
        used = min(len(self.cells), self.table.shape[1] - 1)
        return self.cells.numel() // max(1, len(self.cells)) * (len(self.cells) - used)

    def learn(self, seen: np.ndarray) -> list[int]:
        """Note which combinations training rows have. Returns the modalities that no cell was trained for. Shapes: seen (K,) bool."""
        trained = np.zeros(len(self.cells), dtype=bool)
        used = self.own[:-1][seen if self.unseen == "backoff" else slice(None)]
        trained[used[used >= 0]] = True
        place, without = np.full(self.table.shape, -1), []
        donors: list[np.ndarray] = []
        for m in range(self.table.shape[1]):
            lacking = np.flatnonzero(~self.table[:, m])  # combinations without m, the empty one among them
            has = (self.own[lacking, m] >= 0) & trained[self.own[lacking, m]] if len(trained) else np.zeros(len(lacking), dtype=bool)
            if not has.any():  # one block of zeros for all of them
                without.append(m)
                place[lacking, m] = len(trained) + len(donors)
                donors.append(np.zeros(0, dtype=np.int64))
                continue
            place[lacking[has], m] = self.own[lacking[has], m]
            for row, chosen in zip(lacking[~has], nearest(self.table[lacking[~has]], self.table[lacking[has]]), strict=True):
                place[row, m] = len(trained) + len(donors)
                donors.append(np.unique(self.own[lacking[has][chosen], m]))
        device = self.cells.device
        self.place = torch.from_numpy(place).to(device)
        self.donor = torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *donors])).to(device)
        self.owner = torch.from_numpy(np.repeat(np.arange(len(donors)), [len(each) for each in donors])).to(device)
        self.count, self.substitutes = max(1, len(donors)), None
        return without

    @torch.no_grad()
    def substitute(self) -> Tensor:
        """What stands for the cells that no training row uses (F, T, D); no gradient passes."""
        total = self.cells.new_zeros(self.count, *self.cells.shape[1:])
        shares = total.new_zeros(self.count).index_add(0, self.owner, total.new_ones(len(self.owner)))
        return total.index_add(0, self.owner, self.cells[self.donor]) / shares.clamp(min=1)[:, None, None]

    def forward(self, ids: Tensor) -> Tensor:
        place = self.place[ids]  # (B, M)
        shape, cells = (*place.shape, *self.cells.shape[1:]), len(self.cells)
        if self.substitutes is None:
            self.substitutes = self.substitute()
        found = self.substitutes[(place.flatten() - cells).clamp(min=0)].view(shape)
        if not cells:
            return found
        learned = self.cells.index_select(0, place.flatten().clamp(0, cells - 1)).view(shape)
        return torch.where((place < cells)[:, :, None, None], learned, found)


@dataclass(frozen=True)
class Routing:
    """Where V tokens went. Shapes: clean, noisy (V, E) logits; sigma (V, E) spread of the noise, None without noise; experts, gates
    (V, K), best first; pinned (V, E) bool, the expert that a token must visit first, None if none is forced."""

    clean: Tensor
    noisy: Tensor
    sigma: Tensor | None
    experts: Tensor
    gates: Tensor
    pinned: Tensor | None

    @property
    def dense_gates(self) -> Tensor:
        return torch.zeros_like(self.noisy).scatter(1, self.experts, self.gates)  # (V, E), zero outside the top k

    @property
    def load(self) -> Tensor:
        """Chance (V, E) that a token visits each expert if its noise were drawn anew; 1 for an expert it is forced to."""
        assert self.sigma is not None, "load is expected over the noise of training"
        kept = self.experts.shape[1]
        load = in_top_k_probability(self.clean, self.noisy, self.sigma, kept)
        if self.pinned is None:
            return load
        others = self.pinned.to(load.dtype)
        if kept > 1:
            clean, noisy = (logits.masked_fill(self.pinned, -torch.inf) for logits in (self.clean, self.noisy))
            others = others + in_top_k_probability(clean, noisy, self.sigma, kept - 1)
        return torch.where(self.pinned.any(1, keepdim=True), others, load)


class Router(nn.Module):
    """Noisy top-k gate over E experts. With two routers, complete rows use the first and all others the second.

    Shapes: u (V, D), complete (V,) bool, forced (V,) int64 (an expert to visit first, -1 = none) or None, noise (V, E) standard
    normal or None -> `Routing`. Source: fastmoe's NoisyGate, with its start.
    """

    def __init__(self, config: FlexMoEConfig, experts: int) -> None:
        super().__init__()
        self.kept, self.gate_norm = config.kept, config.gate_norm
        shape = (2 if config.routers == "separate" else 1, config.width, experts)
        bound = 1 / math.sqrt(experts)
        self.gate = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))  # W_g
        self.spread = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))  # W_n

    def forward(self, u: Tensor, complete: Tensor, forced: Tensor | None = None, noise: Tensor | None = None) -> Routing:
        clean = noisy = self.project(u, self.gate, complete)  # (V, E)
        sigma = pinned = None
        if noise is not None:
            sigma = F.softplus(self.project(u, self.spread, complete)) + 0.01
            noisy = clean + noise * sigma
        rank = noisy
        if forced is not None:
            pinned = torch.arange(noisy.shape[1], device=u.device) == forced.unsqueeze(1)
            rank = noisy.masked_fill(pinned, torch.inf)
        experts = rank.topk(self.kept, dim=1).indices  # (V, K)
        softmax_first = self.gate_norm == "softmax_topk"
        gates = noisy.softmax(1).gather(1, experts) if softmax_first else noisy.gather(1, experts).softmax(1)
        return Routing(clean, noisy, sigma, experts, gates, pinned)

    def project(self, u: Tensor, weight: Tensor, complete: Tensor) -> Tensor:
        return u @ weight[0] if len(weight) == 1 else torch.where(complete.unsqueeze(1), u @ weight[0], u @ weight[1])


def balance(gates: Tensor, load: Tensor, group: Tensor) -> Tensor:
    """CV^2 of importance plus CV^2 of load over a group of tokens, 0 if it is empty. Shapes: (S, V, E) twice, (V,) bool -> (S,)."""
    group = group.unsqueeze(1).to(gates.dtype)
    return cv_squared((gates * group).sum(1)) + cv_squared((load * group).sum(1))


def routing_losses(routing: Routing, slots: int, complete: Tensor, assigned: Tensor, exclude: str) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of each of S slots of V tokens: G (balance of complete rows), CE (incomplete rows to their expert), S (their balance).

    Shapes: routing of S * V tokens, slot by slot; complete (V,) bool; assigned (V,) int64, -1 = none -> (S,) each.
    """
    gates, load, noisy = (each.unflatten(0, (slots, -1)) for each in (routing.dense_gates, routing.load, routing.noisy))
    of_complete = balance(gates, load, complete)
    if exclude == "full_expert":
        gates, load = gates[..., 1:], load[..., 1:]
    elif exclude == "top1":
        best = routing.experts[:, :1].unflatten(0, (slots, -1))  # (S, V, 1)
        gates, load = gates.scatter(2, best, 0.0), load.scatter(2, best, 0.0)
    targets = torch.where(complete, -1, assigned)  # (V,) -1 is left out
    entropy = F.cross_entropy(noisy.mT, targets.expand(slots, -1), ignore_index=-1, reduction="none").sum(1)
    return of_complete, entropy / (targets >= 0).sum().clamp(min=1), balance(gates, load, ~complete)


class Layer(nn.Module):
    """Pre-norm transformer layer whose feed-forward part is sparse experts or dense.

    Shapes: x (B, M*T, D), complete (B,) bool, forced (B,) int64 or None, noise (M, B*T, E) or None -> (B, M*T, D), and the
    `Routing` of M*B*T tokens, modality by modality; None if dense.
    """

    def __init__(self, config: FlexMoEConfig, modalities: int, experts: int) -> None:
        super().__init__()
        width = config.width
        self.modalities, self.skips_input = modalities, config.skip == "input"
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, config.dropout, qkv_bias=False)
        self.dropout = Dropout(config.dropout)
        if not experts:
            self.feed_forward = FeedForward(width, 2 * width, config.dropout)
            return
        self.router = Router(config, experts)
        self.experts = SparseExperts(experts, config.kept, width, 2 * width, width)
        if config.expert_init == "fastmoe":
            for weight, bias in ((self.experts.weight1, self.experts.bias1), (self.experts.weight2, self.experts.bias2)):
                nn.init.uniform_(weight, -(weight[0].numel() ** -0.5), weight[0].numel() ** -0.5)
                nn.init.zeros_(bias)

    def forward(
        self, x: Tensor, complete: Tensor, forced: Tensor | None = None, noise: Tensor | None = None
    ) -> tuple[Tensor, Routing | None]:
        a = self.dropout(self.attention(self.norm1(x)))  # dropout of the projection
        x = (x if self.skips_input else a) + self.dropout(a)
        u = self.norm2(x)
        if not hasattr(self, "router"):
            return x + self.dropout(self.feed_forward(u)), None
        tokens = x.shape[1] // self.modalities
        u = u.unflatten(1, (self.modalities, tokens)).transpose(0, 1).flatten(0, 2)  # (M*B*T, D)

        def of_tokens(rows: Tensor) -> Tensor:
            return rows.repeat_interleave(tokens).repeat(self.modalities)  # (M*B*T,)

        routing = self.router(
            u, of_tokens(complete), None if forced is None else of_tokens(forced), None if noise is None else noise.flatten(0, 1)
        )
        y = self.experts(u, routing.experts, routing.gates)
        y = y.unflatten(0, (self.modalities, len(x), tokens)).transpose(0, 1).flatten(1, 2)  # (B, M*T, D)
        return x + self.dropout(y), routing


class FlexMoE(Method):
    """Shapes: batch -> logits (B, C); in training the penalties `specialise`, `balance_complete` and `balance_incomplete`."""

    Config = FlexMoEConfig
    config: FlexMoEConfig
    layers: Sequence[Layer]
    table: Tensor
    trained: Tensor
    assigned: Tensor
    presets: ClassVar = {
        "paper": {},
        "as_released": {
            "encoder": "patch", "skip": "attention", "exclude": "full_expert", "gate_norm": "topk_softmax", "unseen": "random",
            "expert_init": "fastmoe", "curriculum": "none",
        },
    }  # fmt: skip
    search: ClassVar = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
        "batch_size": (8, 16, 32),
        "dropout": (0.1, 0.3, 0.5),
        "width": (64, 128, 256),
        "layers": (1, 2),
        "n_experts": (16, 32),
        "kept": (2, 3, 4),
        "routing_weight": (0.0, 1e-3, 1e-2, 1e-1),
    }
    paper = "Yun et al., Flex-MoE: Modeling Arbitrary Modality Combination via the Flexible Mixture-of-Experts, NeurIPS 2024, 2410.08245"
    year = 2024
    repository = "UNITES-Lab/Flex-MoE"
    traces = ("routing", "embeddings", "gradients")
    deviations = (
        "The formulas are those that public reading notes and the code agree on: the paper's typeset text was not at hand.",
        "Attention is skipped by its input, as figure 3 shows; in the code its output is added to itself (`as_released`).",
        "Layers normalise before they attend, as the code does; figure 3 normalises afterwards.",
        "A token's own top expert is left out of the balance of incomplete rows; the code leaves out expert 0 (`as_released`).",
        "Nothing fixes the top expert, in the paper's formulas as in the code; top1='forced' does what the abstract says.",
        "A combination that no training row has takes the bank cells of the nearest trained ones; the code its random start.",
        "Only cells that a row can use are kept; the code also has those of modalities that are there.",
        "Where modalities have more combinations than experts, E grows up to 64; beyond that the most frequent ones have one.",
        "G- and S-router are one matrix, as in the code; routers='separate' gives each group its own.",
        "Gates are softmax, then top k, and sum to less than 1; the code has them the other way round (`as_released`).",
        "Experts start as linear layers do; the code's start makes them 200 times quieter than attention (`as_released`).",
        "In the first tenth of the epochs complete rows alone train; the code trains on all rows, sorted by what they observe.",
        "Preset as_released runs without that order: the suite draws the order of rows, the same for all methods. For that reason the "
        "paper's ablations of order are left out too: the hook `rows` picks rows but does not sort them. Its 'random' is nearest to "
        "curriculum='none', its 'ascending' has no switch here.",
        "The suite's encoders give the tokens; the code's patch tokeniser is encoder='patch' (`as_released`).",
        "A row that observes nothing takes the cells nearest to that; the code drops it in training and fails in evaluation.",
        "A modality that no training row observes counts as missing in evaluation, because its encoder is untrained.",
        "Scaling and filling are learned on training rows alone; the code fits them on all rows, the test part among them.",
    )

    def __init__(self, schema: Schema, config: FlexMoEConfig) -> None:
        super().__init__(schema, config)
        modalities, tokens, width = len(schema), config.tokens, config.width
        table = combination_table(modalities)
        experts = config.n_experts
        if len(table) > experts:
            experts = max(experts, min(len(table) + 1, config.max_experts))
            log.info("flexmoe: %d experts for %d combinations of modalities, n_experts is %d", experts, len(table), config.n_experts)
        self.encoders = (PatchEncoders if config.encoder == "patch" else Encoders)(schema, tokens, width)
        self.bank = Bank(table, config)
        self.position = nn.Parameter(torch.zeros(1, modalities * tokens, width))
        layers = [Layer(config, modalities, 0 if depth % 2 else experts) for depth in range(config.layers)]
        self.add_module("layers", nn.ModuleList(layers))
        self.head = nn.Sequential(nn.Linear(modalities * width, schema.outputs))
        if config.head_layers == 2:
            hidden = nn.Linear(modalities * width, width)
            self.head = nn.Sequential(hidden, nn.ReLU(), Dropout(config.dropout), nn.Linear(width, schema.outputs))
        self.experts, self.combinations = experts, table
        ids = np.empty(2**modalities, dtype=np.int64)  # of each set of modalities written as a binary number
        ids[0], ids[(table << np.arange(modalities)).sum(1)] = len(table), np.arange(len(table))
        self.register_buffer("table", torch.from_numpy(ids), persistent=False)
        self.register_buffer("trained", torch.ones(modalities, dtype=torch.bool))  # (M,) seen in training
        assigned = np.append(assigned_experts(np.zeros(len(table), dtype=np.int64), experts), -1)
        self.register_buffer("assigned", torch.from_numpy(assigned))  # (K+1,) a(c), -1 = none
        self.complete_rows = config.batch_size
        self.on_epoch(config.epochs - 1, config.epochs)

    def prepare(self, train: Samples) -> None:
        """Note which modalities and combinations the training rows observe. Nothing else of them is looked at."""
        self.trained.copy_(torch.from_numpy(train.observed.any(0)))
        ids = self.ids(torch.from_numpy(train.observed).to(self.device) & self.trained).cpu().numpy()
        counts = np.bincount(ids, minlength=len(self.combinations) + 1)[:-1]
        seen = counts > 0
        if self.config.modality_dropout == "uniform_k":  # all that is left of a row may occur
            seen = np.array([bool(seen[(self.combinations >= own).all(1)].any()) for own in self.combinations])
        self.assigned.copy_(torch.from_numpy(np.append(assigned_experts(counts, self.experts), -1)))
        self.complete_rows = int(counts[0])
        for name, trained in zip(self.schema.names, self.trained.tolist(), strict=True):
            if not trained:
                log.warning("flexmoe: no training row observes %s; it counts as missing", name)
        if (without := self.bank.learn(seen)) and len(self.schema) > 1 and self.config.bank != "zero":
            names = ", ".join(self.schema.names[m] for m in without)
            log.warning("flexmoe: no training row lacks %s, so nothing is learned about its absence, and zeros stand for it; "
                        "modality_dropout=uniform_k trains on rows without it", names)  # fmt: skip

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """In the warm-up complete rows alone train, if there are enough for a batch."""
        self.bank.substitutes = None
        starts = self.config.curriculum == "full_first" and epoch < int(self.config.warmup_fraction * epochs)
        self.is_warming = starts and self.complete_rows >= self.config.batch_size
        if starts and not self.is_warming and epoch == 0:
            log.info("flexmoe: no warm-up on complete rows, of which there are %d, fewer than a batch", self.complete_rows)

    def on_evaluate(self) -> None:
        self.bank.substitutes = None

    def ids(self, observed: Tensor) -> Tensor:
        """Combination of each row, K where it observes nothing. Shapes: (B, M) bool -> (B,) int64."""
        bits = 1 << torch.arange(observed.shape[1], device=observed.device)
        return self.table[(observed * bits).sum(1)]

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=self.kept(batch.observed & self.trained))
        ids = self.ids(batch.observed)
        own = self.encoders(batch)  # (B, M, T, D), zero where not observed
        h = self.watch(torch.where(batch.observed[:, :, None, None], own, self.bank(ids)), batch.observed)
        x, routings = self.fuse(h, ids)
        self.trace("embeddings", sample=batch.index, observed=batch.observed, before=own.mean(2), after=h.mean(2))
        for depth, routing in routings.items():
            self.trace_routing(depth, routing, batch)
        logits = self.head(x.mean(2).flatten(1))
        if self.training and self.is_warming:
            logits = torch.where((ids == 0).unsqueeze(1), logits, logits.detach())
        return Prediction(logits, self.penalties(list(routings.values()), ids) if self.training else {})

    def kept(self, observed: Tensor) -> Tensor:
        """What stays observed after this method's own modality dropout, which begins after the warm-up."""
        if not self.training or self.is_warming or self.config.modality_dropout == "none":
            return observed
        return self.dropped(observed, uniform_size_subset(observed, self.generator))

    def fuse(self, h: Tensor, ids: Tensor, noise: Sequence[Tensor] | None = None) -> tuple[Tensor, dict[int, Routing]]:
        """All layers. Shapes: (B, M, T, D), ids (B,), noise (M, B*T, E) of each sparse layer -> (B, M, T, D), routings by layer."""
        complete, tokens = ids == 0, h.shape[2]
        forced = torch.where(complete, -1, self.assigned[ids]) if self.config.top1 == "forced" else None
        x, routings = h.flatten(1, 2) + self.position, {}
        for depth, layer in enumerate(self.layers):
            drawn = None
            if self.training and depth % 2 == 0:
                size = (h.shape[1], len(h) * tokens, self.experts)
                drawn = torch.randn(size, generator=self.generator, device=h.device, dtype=h.dtype) if noise is None else noise[depth // 2]
            x, routing = layer(x, complete, forced, drawn)
            if routing is not None:
                routings[depth] = routing
        return x.unflatten(1, (-1, tokens)), routings

    def penalties(self, routings: list[Routing], ids: Tensor) -> dict[str, Tensor]:
        """Weighted routing losses, summed over sparse layers and modalities; in the warm-up those of complete rows alone."""
        weight, config, slots = self.config.routing_weight, self.config, len(self.schema)
        incomplete = config.specialise and not self.is_warming
        if not weight or not (config.generalise or incomplete):
            return {}
        complete, assigned = (each.repeat_interleave(config.tokens) for each in (ids == 0, self.assigned[ids]))
        found = [routing_losses(routing, slots, complete, assigned, config.exclude) for routing in routings]
        of_complete, entropy, of_incomplete = (weight * torch.stack(losses).sum() for losses in zip(*found, strict=True))
        terms = {"balance_complete": of_complete} if config.generalise else {}
        return terms | ({"specialise": entropy, "balance_incomplete": of_incomplete} if incomplete else {})

    def trace_routing(self, layer: int, routing: Routing, batch: Batch) -> None:
        """Where each token of a layer went, modality by modality."""
        if self.tracer is None or self.training:
            return
        rows, modalities = batch.observed.shape
        tokens = len(routing.experts) // (rows * modalities)
        sample = batch.index.repeat_interleave(tokens).repeat(modalities)  # (M*B*T,)
        none = torch.full_like(sample, -1)
        self.trace(
            "routing", sample=sample, layer=none + 1 + layer, target=none,
            modality=torch.arange(modalities, device=sample.device).repeat_interleave(rows * tokens),
            filled=~batch.observed.T.repeat_interleave(tokens, 1).flatten(), supported=none > 0,
            source=batch.observed.repeat_interleave(tokens, 0).repeat(modalities, 1), experts=routing.experts, gates=routing.gates,
        )  # fmt: skip

    def specialisation(self, source: np.ndarray, experts: np.ndarray) -> float:
        """Share of the tokens of incomplete rows that go to the expert of their combination first; NaN without such tokens.

        Shapes: of a routing trace, source (V, M) bool, experts (V, K). It says whether the S-Router did its work.
        """
        ids = self.ids(torch.from_numpy(source).to(self.device) & self.trained)
        own = torch.where(ids == 0, -1, self.assigned[ids]).cpu().numpy()
        return float((experts[own >= 0, 0] == own[own >= 0]).mean()) if (own >= 0).any() else math.nan

"""MoE-Retriever: fill each missing modality with what experts make of other samples and of the sample itself (GenAI4Health 2025).

Idea:    Before fusion, every missing modality of a sample gets an embedding made by small feed-forward experts. They read two
         kinds of context: the same modality in other training samples that observe all this sample observes (intra-modal), and
         the sample's own modalities (inter-modal). A router picks the experts: some belong to the missing modality, some to all.
Source:  paper Eq. 1 (gate), Eq. 2 (supporting group), Eq. 3 (experts), Algorithm 1, Table 3 (ablations), appendix A.2; official
         code UNITES-Lab/moe-retriever, `models.py`, `moe_module.py`, `main.py`.
Differs: in the official code a mean of encoder tokens overwrites the experts' output, the retriever is never trained, and the
         fusion layer has no skip path. Preset `paper` does what the paper says, `as_released` what the code does, with the parts of
         `moe_retriever_released`. In both, supports come from training rows alone. More in `MoERetriever.deviations`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema, as_batch
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders, PatchEncoders
from bench.methods.layers import Attention, Dropout, FeedForward, SparseExperts, count_of, cv_squared, hash_uniform, in_top_k_probability
from bench.methods.moe_retriever_released import OverwrittenRetriever, attention_skip

log = logging.getLogger(__name__)

CHOICES = {
    "routing": ("context", "unrestricted", "none"),
    "gate_norm": ("softmax_topk", "topk_softmax"),
    "attn_axis": ("tokens", "context", "patch"),
    "integrate": ("balanced", "mean"),
    "encoder": ("suite", "patch"),
    "fusion_skip": ("input", "attention"),
    "gate_start": ("uniform", "zero"),
    "support_pool": ("train", "transductive"),
}
SIZES: tuple[str, ...] = ("tokens", "width", "heads", "n_target_experts", "kept", "n_routers", "n_draws")
SIZES += ("fusion_layers", "fusion_experts", "fusion_kept", "head_layers")


@dataclass(frozen=True, kw_only=True)
class MoERetrieverConfig(MethodConfig):
    """Settings of MoE-Retriever. In the comments, "code" is a default of the official scripts."""

    epochs: int = 20  # code
    batch_size: int = 16  # code
    learning_rate: float = 1e-4  # code
    warmup_fraction: float = 0.25  # share of the epochs that trains encoders and fusion alone; code: 5 of 20
    tokens: int = 16  # P, patch tokens of a modality; code
    width: int = 128  # D; code. Paper A.2: 256, for ENRICO 16
    heads: int = 4  # H; code
    dropout: float = 0.5  # on attention, projection, feed-forward; code. Much for small data
    encoder: str = "suite"  # MLP, GRU or CNN, as in paper A.2; "patch": one linear layer over patches of raw values, code
    support_pool: str = "train"  # paper; the code's "transductive" pool is refused below
    n_support: int = 0  # supports drawn for a missing modality; 0 = as many as the sample observes (paper, footnote 2)
    n_draws: int = 1  # times the supports are drawn in evaluation; class probabilities are averaged over the draws
    backoff: bool = False  # True: where no row observes target and all own modalities, any row with the target supports; ours
    detach_support: bool = False  # True: no gradient into the encoders through supports; code lets it flow
    use_intra: bool = True  # supports are context; False is Table 3 "w/o intra"
    use_inter: bool = True  # own modalities are context; False is Table 3 "w/o inter"
    attn_axis: str = "tokens"  # attention among all tokens of a context; "context": one patch at a time; "patch": one element
    attn_residual: bool = True  # P' = P + MHA(P), ours; the paper writes P' = MHA(P)
    routing: str = "context"  # to own experts of the target and shared ones; "unrestricted": to all; "none": no experts, code
    n_target_experts: int = 8  # E_T; paper
    n_shared: int = 4  # E_sh; paper
    kept: int = 4  # k; code, the paper names none
    n_routers: int = 1  # R; paper. 2: one for each kind of context, M: one for each source modality (our reading)
    gate_norm: str = "softmax_topk"  # Eq. 1; "topk_softmax": the kept gates sum to 1, code
    gate_noise: bool = True  # learned Gaussian noise on the logits in training; code, not in the paper
    gate_start: str = "uniform"  # W_g, W_n from U(+-1/sqrt(E)); code: NoisyGate of fastmoe, `reset_parameters`. "zero": all logits tie
    moe_residual: bool = False  # True: experts add to their input; Eq. 3 has the experts alone
    integrate: str = "balanced"  # half the weight to supports, half to own modalities, code; "mean": equal weight to each
    balance_weight: float = 0.01  # weight of the load-balance penalties; code, not in the paper
    fusion_layers: int = 1  # L_f; paper, 2 in Table 3
    fusion_sparse: bool = False  # fusion layers 0, 2, 4, .. have sparse experts as feed-forward layer; Table 3
    fusion_experts: int = 32  # experts of a sparse fusion layer; code
    fusion_kept: int = 4  # experts a token visits there; code
    fusion_skip: str = "input"  # z + MHA(z); "attention": a + a with a = MHA(z), a slip of the code
    head_layers: int = 1  # linear layers of the head; code
    burn_dead_smoe: bool = False  # True, with routing "none": run the experts and throw their output away, as the code does

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for names, rule, holds in (
            (SIZES, "at least 1", lambda value: value >= 1),
            (("n_support", "n_shared", "balance_weight"), "at least 0", lambda value: value >= 0),
            (("dropout", "warmup_fraction"), "in [0, 1)", lambda value: 0 <= value < 1),
        ):
            for name in names:
                if not holds(getattr(self, name)):
                    raise ValueError(f"{name} must be {rule}, got {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        own = self.n_target_experts + self.n_shared
        if self.routing != "unrestricted" and self.kept > own:
            raise ValueError(f"kept must not exceed n_target_experts + n_shared, got {self.kept} > {own}")
        if self.fusion_kept > self.fusion_experts:
            raise ValueError(f"fusion_kept must not exceed fusion_experts, got {self.fusion_kept} > {self.fusion_experts}")
        if not (self.use_intra or self.use_inter):
            raise ValueError("use_intra or use_inter must be True, got False and False: retrieval needs a context")
        if self.burn_dead_smoe and self.routing != "none":
            raise ValueError(f"burn_dead_smoe needs routing 'none', got {self.routing!r}: experts that are used are not dead")
        if self.support_pool == "transductive":
            raise ValueError(
                "support_pool must be 'train', got 'transductive': it draws supports from the rows under evaluation, "
                "and a method is given training rows alone, so that no score depends on other rows of the test part"
            )


def input_skip(z: Tensor, attention: Tensor, dropout: Dropout) -> Tensor:
    """z + a: the skip path of a transformer. Keeps the shape."""
    return z + attention


def supporting_groups(bank: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """Which bank rows observe the target and all that `own` names, for K pairs at once.

    Shapes: bank (N, M) bool, own (K, M) bool, target (K,) int64 -> (K, N) bool. Source: paper Eq. 2.
    """
    lacking = own.float() @ (~bank).float().T  # (K, N) how many of the own modalities a row lacks
    return (lacking == 0) & bank.T[target]


def numbered(counts: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Row by row, as many entries as its count says: each entry's row and its number in the row. Shapes: (Q,), their sum -> (Z,), (Z,)."""
    row = torch.repeat_interleave(counts, output_size=total)
    return row, torch.arange(total, device=counts.device) - (counts.cumsum(0) - counts)[row]


def distinct_ranks(u: Tensor, size: Tensor) -> Tensor:
    """Draws without replacement: from uniform numbers in [0, 1) to distinct ones in 0 .. size-1, all ordered choices alike.

    Shapes: u (Q, S) float64, size (Q,) int64 -> (Q, S) int64; columns from `size` on have no meaning.
    """
    ranks = taken = size.new_empty(len(u), 0)  # taken: the ranks drawn so far, ascending
    for slot in range(u.shape[1]):
        rank = (u[:, slot] * (size - slot).clamp(min=1)).long()  # (Q,) counted among those not yet taken
        skipped = taken - torch.arange(slot, device=u.device) <= rank.unsqueeze(1)  # (Q, slot)
        rank = (rank + skipped.sum(1)).unsqueeze(1)  # (Q, 1) counted among all
        ranks, taken = torch.cat([ranks, rank], 1), torch.cat([taken, rank], 1).sort(1).values
    return ranks


class Routing(NamedTuple):
    """Where V tokens go: `place` counts within the A experts a token may visit, `experts` among all.

    Shapes: experts, place, gates (V, K); inside (V, A), the chance to be kept if its noise were drawn anew, None without noise.
    """

    experts: Tensor
    place: Tensor
    gates: Tensor
    inside: Tensor | None


class Router(nn.Module):
    """Noisy top-K gate over the experts that a token's pool allows.

    `allowed` (pools, A) names the experts of each pool; all others are left out, as if their logits were minus infinity.
    Shapes: u (V, D); pool, router (V,) int64; noise (V, A) standard normal or None -> Routing.
    Source: paper Eq. 1; noise and load as in fastmoe's NoisyGate.
    """

    allowed: Tensor

    def __init__(self, config: MoERetrieverConfig, experts: int, kept: int, allowed: Tensor, routers: int = 1) -> None:
        super().__init__()
        self.kept, self.gate_norm = kept, config.gate_norm
        bound = experts**-0.5 if config.gate_start == "uniform" else 0.0
        self.gate = nn.Parameter(torch.empty(routers, experts, config.width).uniform_(-bound, bound))  # W_g
        self.spread = nn.Parameter(torch.empty_like(self.gate).uniform_(-bound, bound)) if config.gate_noise else None  # W_n
        self.register_buffer("allowed", allowed, persistent=False)

    def forward(self, u: Tensor, pool: Tensor, router: Tensor, noise: Tensor | None = None) -> Routing:
        allowed = self.allowed[pool]  # (V, A)
        clean = noisy = self.project(u, self.gate, router).gather(1, allowed)  # (V, A)
        inside = None
        if noise is not None and self.spread is not None:
            sigma = F.softplus(self.project(u, self.spread, router).gather(1, allowed)) + 0.01  # (V, A)
            noisy = clean + noise * sigma
            inside = in_top_k_probability(clean, noisy, sigma, self.kept) if self.kept < allowed.shape[1] else None
        scores = noisy.softmax(1) if self.gate_norm == "softmax_topk" else noisy
        gates, place = scores.topk(self.kept, dim=1)  # (V, K)
        gates = gates if self.gate_norm == "softmax_topk" else gates.softmax(1)
        return Routing(allowed.gather(1, place), place, gates, inside)

    def project(self, u: Tensor, weight: Tensor, router: Tensor) -> Tensor:
        """Logits (V, E), each token's by its own router; weight (R, E, D)."""
        logits = F.linear(u, weight.flatten(0, 1)).unflatten(1, weight.shape[:2])  # (V, R, E)
        return logits[:, 0] if len(weight) == 1 else logits[torch.arange(len(u), device=u.device), router]

    def noise(self, units: int, generator: Generator) -> Tensor | None:
        """Noise (V, A) of a training step, None where there is none."""
        if self.spread is None or not self.training:
            return None
        return torch.randn(units, self.allowed.shape[1], generator=generator, device=self.gate.device, dtype=self.gate.dtype)

    def imbalance(self, routing: Routing, group: Tensor, groups: int) -> Tensor:
        """CV^2 of importance plus CV^2 of load over the allowed experts, for each group of tokens; 0 for one without tokens.

        Shapes: group (V,), the tokens of one group being in one pool -> (groups,).
        """
        gates = routing.gates.new_zeros(len(group), self.allowed.shape[1]).scatter(1, routing.place, routing.gates)  # (V, A)
        inside = (gates > 0).to(gates.dtype) if routing.inside is None else routing.inside
        empty = gates.new_zeros(groups, gates.shape[1])
        importance, load = empty.index_add(0, group, gates), empty.index_add(0, group, inside)  # (groups, A)
        return torch.stack([cv_squared(importance[g]) + cv_squared(load[g]) for g in range(groups)])


class Context(NamedTuple):
    """What Q pairs (sample, missing modality) may read: Z elements, each the P tokens of one modality of one sample.

    Every pair has an element; its elements have the slots 0, 1, 2, .. in no meaningful order.
    Shapes: row, target (Q,); tokens (Z, P, D); pair, slot, modality (Z,) int64; intra (Z,) bool, True = from a supporting sample;
    source (Z, M) bool, what the sample it comes from observes; support (Z,), its row of the bank, -1 for an own modality.
    `slots` counts those of the pair with the most elements.
    """

    row: Tensor
    target: Tensor
    tokens: Tensor
    pair: Tensor
    slot: Tensor
    modality: Tensor
    intra: Tensor
    source: Tensor
    support: Tensor
    slots: int

    def weights(self, integrate: str) -> Tensor:
        """Share (Z,) of each element in its pair's embedding; balanced: half to either kind of context, where both exist."""
        pairs = len(self.row)
        count = count_of(self.intra.long() * pairs + self.pair, 2 * pairs).view(2, pairs)  # own modalities, supports
        if integrate == "mean":
            return 1 / count.sum(0)[self.pair].to(self.tokens.dtype)
        return 1 / (count[self.intra.long(), self.pair] * (count > 0).sum(0)[self.pair]).to(self.tokens.dtype)


class Retriever(nn.Module):
    """Attention within each context, restricted router, experts: one set of weights for all targets.

    Shapes: Context -> (Z, P, D), the imbalance () of its router, a mean over targets, None in evaluation, and the routing of all
    V = Z * P tokens.
    """

    def __init__(self, config: MoERetrieverConfig, modalities: int) -> None:
        super().__init__()
        own = modalities * config.n_target_experts
        experts = own + config.n_shared  # E; t * E_T .. (t + 1) * E_T - 1 belong to target t, the last E_sh to all
        if config.n_routers not in (1, 2, modalities):
            raise ValueError(f"n_routers must be 1, 2 or the number of modalities, {modalities}, got {config.n_routers}")
        if config.kept > experts:
            raise ValueError(f"kept must not exceed the number of experts, {experts}, got {config.kept}")
        shared = torch.arange(own, experts).expand(modalities, -1)
        allowed = torch.cat([torch.arange(own).view(modalities, -1), shared], 1)  # (M, E_T + E_sh)
        if config.routing == "unrestricted":
            allowed = torch.arange(experts).unsqueeze(0)  # (1, E)
        self.axis, self.residual, self.routers = config.attn_axis, config.attn_residual, config.n_routers
        self.adds_input = config.moe_residual
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.dropout, qkv_bias=False)
        self.dropout = Dropout(config.dropout)
        self.router = Router(config, experts, config.kept, allowed, config.n_routers)
        self.experts = SparseExperts(experts, config.kept, config.width, 2 * config.width, config.width)

    def forward(self, context: Context, generator: Generator) -> tuple[Tensor, Tensor | None, Routing]:
        x = self.dropout(self.attend(self.norm1(context.tokens), context))  # (Z, P, D)
        x = context.tokens + x if self.residual else x
        u = self.norm2(x).flatten(0, 1)  # (V, D)
        pools, tokens = len(self.router.allowed), x.shape[1]
        pool = context.target[context.pair] if pools > 1 else torch.zeros_like(context.pair)  # (Z,)
        router = {1: torch.zeros_like(pool), 2: (~context.intra).long()}.get(self.routers, context.modality)  # (Z,)
        pool, router = pool.repeat_interleave(tokens), router.repeat_interleave(tokens)  # (V,)
        routing = self.router(u, pool, router, self.router.noise(len(u), generator))
        y = self.experts(u, routing.experts, routing.gates)  # (V, D)
        y = (y + u if self.adds_input else y).view_as(x)  # (Z, P, D)
        if not self.training:
            return y, None, routing
        return y, self.router.imbalance(routing, pool, pools).sum() / (count_of(pool, pools) > 0).sum(), routing

    def attend(self, x: Tensor, context: Context) -> Tensor:
        """Attention (Z, P, D) -> (Z, P, D) within each pair: contexts are laid side by side, short ones padded and masked."""
        if self.axis == "patch":
            return self.attention(x)
        pairs, tokens = len(context.row), x.shape[1]
        count, slots = count_of(context.pair, pairs), context.slots  # (Q,)
        keys = torch.arange(slots, device=x.device) < count.unsqueeze(1)  # (Q, S)
        place = context.pair * slots + context.slot  # (Z,)
        x = x.new_zeros(pairs * slots, *x.shape[1:]).index_copy(0, place, x).unflatten(0, (pairs, slots))  # (Q, S, P, D)
        if self.axis == "tokens":
            x = self.attention(x.flatten(1, 2), keys.repeat_interleave(tokens, 1)).unflatten(1, (slots, tokens))
        else:
            x = self.attention(x.transpose(1, 2).flatten(0, 1), keys.repeat_interleave(tokens, 0))  # (Q * P, S, D)
            x = x.unflatten(0, (pairs, tokens)).transpose(1, 2)  # (Q, S, P, D)
        return x.flatten(0, 1).index_select(0, place)  # (Z, P, D)


class FusionLayer(nn.Module):
    """Pre-norm transformer layer whose feed-forward layer may be sparse experts, open to every token.

    Shapes: (B, M, P, D) -> the same, and the imbalance () of its router, a sum over modalities, None if dense.
    """

    def __init__(self, config: MoERetrieverConfig, sparse: bool) -> None:
        super().__init__()
        width, hidden = config.width, 2 * config.width
        self.skip = {"input": input_skip, "attention": attention_skip}[config.fusion_skip]
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, config.dropout, qkv_bias=False)
        self.dropout = Dropout(config.dropout)
        self.router = None
        if sparse:
            self.router = Router(config, config.fusion_experts, config.fusion_kept, torch.arange(config.fusion_experts)[None])
            self.experts = SparseExperts(config.fusion_experts, config.fusion_kept, width, hidden, width)
        else:
            self.feed_forward = FeedForward(width, hidden, config.dropout)

    def forward(self, z: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        a = self.dropout(self.attention(self.norm1(z).flatten(1, 2))).view_as(z)
        z = self.skip(z, a, self.dropout)
        if self.router is None:
            return z + self.dropout(self.feed_forward(self.norm2(z))), None
        u = self.norm2(z).flatten(0, 2)  # (V, D)
        modality = torch.arange(z.shape[1], device=z.device).view(1, -1, 1).expand(z.shape[:3]).flatten()  # (V,)
        routing = self.router(u, torch.zeros_like(modality), torch.zeros_like(modality), self.router.noise(len(u), generator))
        y = self.experts(u, routing.experts, routing.gates).view_as(z)
        return z + self.dropout(y), self.router.imbalance(routing, modality, z.shape[1]).sum()


class Fusion(nn.Module):
    """Transformer layers over all M * P tokens, mean over each modality's tokens, a head of linear layers.

    Shapes: (B, M, P, D) -> logits (B, C), and the summed imbalance () of the sparse layers, None if there is none.
    """

    def __init__(self, config: MoERetrieverConfig, modalities: int, outputs: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(modalities, config.tokens, config.width))
        self.layers = nn.ModuleList(FusionLayer(config, config.fusion_sparse and i % 2 == 0) for i in range(config.fusion_layers))
        sizes = (modalities * config.width, *[config.width] * (config.head_layers - 1), outputs)
        parts = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU(), Dropout(config.dropout))]
        self.head = nn.Sequential(*parts[:-2])

    def forward(self, h: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        z, imbalances = h + self.position, []  # (B, M, P, D)
        for layer in self.layers:
            z, imbalance = layer(z, generator)
            imbalances.append(imbalance)
        sparse = [imbalance for imbalance in imbalances if imbalance is not None]
        return self.head(z.mean(2).flatten(1)), sum(sparse) if sparse else None  # (B, C)


def retriever_of(config: MoERetrieverConfig, modalities: int) -> Retriever | OverwrittenRetriever:
    """What makes embeddings of a context: experts, or with routing "none" nothing, as released. One modality has no context."""
    if config.routing != "none" and modalities > 1:
        return Retriever(config, modalities)
    return OverwrittenRetriever(Retriever(config, modalities) if config.burn_dead_smoe and modalities > 1 else None)


class MoERetriever(Method):
    """Missing modalities are retrieved from experts that read other samples and the sample's own modalities.

    `retrievals` (2,) counts, since `prepare`, the slots filled from supports and those whose supporting group was empty; the
    latter are filled from own modalities alone, or stay zero if these are switched off.
    """

    Config = MoERetrieverConfig
    eval_seed: Tensor
    known: Tensor
    retrievals: Tensor
    paper = (
        "Yun, Xin, Choi, Peng, Ding, Long, Chen: Generate, Then Retrieve: Addressing Missing Modalities in Multimodal Learning "
        "via Generative AI and MoE, GenAI4Health at AAAI 2025"
    )
    year = 2025
    repository = "UNITES-Lab/moe-retriever"
    traces = ("routing", "supports", "embeddings", "gradients")
    uses_other_samples = True
    presets = {
        "paper": {},
        "paper_strict": {"balance_weight": 0.0, "gate_noise": False},
        "as_released": {
            "routing": "none", "attn_axis": "patch", "gate_norm": "topk_softmax", "encoder": "patch", "fusion_skip": "attention"
        },
    }  # fmt: skip
    search = {
        "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
        "dropout": (0.1, 0.3, 0.5),
        "width": (64, 128, 256),
        "n_target_experts": (4, 8, 16),
        "n_shared": (1, 2, 4, 8),
        "balance_weight": (0.0, 0.01, 0.1),
    }
    deviations = (
        "Supports come from training rows alone, in as_released too; the official code adds the rows under evaluation.",
        "In evaluation the supports of a row depend on the seed and the row's place in its part alone, so that no score "
        "depends on batch size or order; the official code draws anew in every pass.",
        "A supporting group smaller than wanted gives all its members, an empty one none, and own modalities then carry the "
        "whole weight; the official code stops with an error.",
        "Preset paper keeps the official code's gate noise and load-balance loss (weight 0.01), which the paper does not "
        "mention, but counts allowed experts alone and clears the loss at each step; paper_strict has neither.",
        "Preset paper adds the attention's input to its output; the paper does not say.",
        "Attention output is dropped once (as_released: twice, before and after the slip, as in the official code).",
        "The meaning of 2 and 4 routers in Table 3 is ours: one for each kind of context, one for each source modality.",
        "Warm-up is a quarter of the epochs (the official 5 of 20), none if that is less than one epoch.",
        "A modality that no training row observes counts as missing at evaluation too, for its encoder was never trained.",
        "as_released leaves out the experts, which the official code runs without effect: cost and size are those of what acts "
        "(burn_dead_smoe=true runs them too).",
        "as_released cuts the raw values of every kind of modality into patches; the official code first runs a 3D-CNN over images.",
        "Scaling is fitted on training rows; the official code fits that of genomic features on all rows, test included.",
    )

    def __init__(self, schema: Schema, config: MoERetrieverConfig) -> None:
        super().__init__(schema, config)
        modalities = len(schema)
        self.encoders = (Encoders if config.encoder == "suite" else PatchEncoders)(schema, config.tokens, config.width)
        self.retriever = retriever_of(config, modalities)
        self.fusion = Fusion(config, modalities, schema.outputs)
        self.register_buffer("eval_seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("known", torch.ones(modalities, dtype=torch.bool))  # modalities that a training row observes
        self.register_buffer("retrievals", torch.zeros(2, dtype=torch.int64), persistent=False)
        self.bank: Batch | None = None  # the training rows
        self.is_warm_up = False  # encoders and fusion alone, missing slots zero

    def seed(self, seed: int) -> None:
        super().seed(seed)
        self.eval_seed.fill_(seed & 0x7FFFFFFFFFFFFFFF)

    def prepare(self, train: Samples) -> None:
        self.bank = as_batch(train, self.device)
        self.known.copy_(self.bank.observed.any(0))
        self.retrievals.zero_()
        for name, known in zip(self.schema.names, self.known.tolist(), strict=True):
            if not known:
                log.warning("moe-retriever: no training row observes %s; it counts as missing", name)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """The retriever joins after the warm-up. Until then it gets no gradient, so Adam leaves it alone."""
        self.is_warm_up = epoch < int(self.config.warmup_fraction * epochs + 1e-9)  # a fraction below 1 leaves the last epoch

    def on_evaluate(self) -> None:
        if log.isEnabledFor(logging.INFO) and (counts := self.retrievals.tolist())[1]:
            filled, empty = counts
            log.info("moe-retriever: %d of %d slots so far had an empty supporting group", empty, filled + empty)

    @property
    def is_selectable(self) -> bool:
        return not self.is_warm_up

    def forward(self, batch: Batch) -> Prediction:
        batch = replace(batch, observed=batch.observed & self.known)
        tokens = self.encoders(batch)  # (B, M, P, D), zero where not observed
        if not self.training and self.config.n_draws > 1:
            draws = [self.fusion(self.complete(tokens, batch, draw)[0], self.generator)[0] for draw in range(self.config.n_draws)]
            return Prediction(torch.stack(draws).log_softmax(2).logsumexp(0))  # (B, C), softmax gives the mean over draws
        filled, imbalance = self.complete(tokens, batch)  # (B, M, P, D), retrieved where not observed
        self.trace("embeddings", sample=batch.index, observed=batch.observed, before=tokens.mean(2), after=filled.mean(2))
        logits, fusion_imbalance = self.fusion(self.watch(filled, batch.observed), self.generator)  # (B, C)
        found = {"balance": imbalance, "fusion_balance": fusion_imbalance} if self.training else {}
        return Prediction(logits, {name: self.config.balance_weight * x for name, x in found.items() if x is not None})

    def complete(self, tokens: Tensor, batch: Batch, draw: int = 0) -> tuple[Tensor, Tensor | None]:
        """Tokens with every missing slot filled, and the imbalance () of the retriever in training. Shapes as in `forward`.

        A slot is filled from observed modalities alone, never from another retrieved one (Algorithm 1).
        """
        if self.is_warm_up:
            return tokens, None
        context = self.context(tokens, batch, draw)
        if context is None:
            return tokens, tokens.new_zeros(()) if isinstance(self.retriever, Retriever) else None
        y, imbalance, routing = self.retriever(context, self.generator)  # (Z, P, D)
        weights = context.weights(self.config.integrate)  # (Z,)
        self.trace_context(context, routing, weights, batch.index)
        y = y * weights[:, None, None]
        retrieved = y.new_zeros(len(context.row), *y.shape[1:]).index_add(0, context.pair, y)  # (Q, P, D)
        return tokens.index_put((context.row, context.target), retrieved), imbalance

    def trace_context(self, context: Context, routing: Routing | None, weights: Tensor, index: Tensor) -> None:
        """Who supported whom, and where each token went. Shapes: weights (Z,), index (B,) the rows' places in their part."""
        if self.tracer is None:
            return
        sample, target = index[context.row][context.pair], context.target[context.pair]  # (Z,)
        is_support = context.intra
        columns = {"sample": sample, "target": target, "support": context.support, "weight": weights}
        self.trace("supports", **{name: column[is_support] for name, column in columns.items()})
        if routing is not None:
            columns = {"sample": sample, "layer": torch.zeros_like(sample), "target": target, "modality": context.modality}
            columns |= {"filled": torch.zeros_like(is_support), "supported": is_support, "source": context.source}
            columns = {name: column.repeat_interleave(context.tokens.shape[1], 0) for name, column in columns.items()}  # (V, ...)
            self.trace("routing", **columns, experts=routing.experts, gates=routing.gates)

    def context(self, tokens: Tensor, batch: Batch, draw: int = 0) -> Context | None:
        """What each missing slot of the batch may be filled from; None if there is nothing to fill or to fill it from."""
        observed = batch.observed
        row, target = (~observed & observed.any(1, keepdim=True)).nonzero().unbind(1)  # (Q,)
        if len(row) == 0:
            return None
        own, taken, parts = observed[row], torch.zeros_like(row), []  # (Q, M), (Q,)
        if self.config.use_intra:
            support, taken = self.draw_supports(batch.index[row], own, target, draw)  # (Q, S), (Q,)
        of_own = own.sum(1) if self.config.use_inter else torch.zeros_like(row)  # (Q,)
        supports, owns, slots = torch.stack([taken.sum(), of_own.sum(), (taken + of_own).max()]).tolist()
        if self.config.use_intra:
            pair, slot = numbered(taken, supports)
            rows, modality = support[pair, slot], target[pair]
            intra = torch.ones_like(pair, dtype=torch.bool)
            assert self.bank is not None  # or `draw_supports` would have raised
            parts.append((self.encode_bank(rows, modality), pair, slot, modality, intra, self.bank.observed[rows], rows))
        if self.config.use_inter:
            pair, place = numbered(of_own, owns)
            modality = (~own).int().sort(dim=1, stable=True).indices[pair, place]
            slot = taken[pair] + place  # behind the supports
            intra = torch.zeros_like(pair, dtype=torch.bool)
            elements = tokens.flatten(0, 1).index_select(0, row[pair] * own.shape[1] + modality)  # (Z, P, D)
            parts.append((elements, pair, slot, modality, intra, own[pair], torch.full_like(pair, -1)))
        elements, pair, slot, modality, intra, source, support = (torch.cat(column) for column in zip(*parts, strict=True))
        if not self.config.use_inter:  # a pair without supports has no context: its slot stays zero
            kept, pair = pair.unique(return_inverse=True)
            row, target = row[kept], target[kept]
        return Context(row, target, elements, pair, slot, modality, intra, source, support, slots) if len(row) else None

    def draw_supports(self, index: Tensor, own: Tensor, target: Tensor, draw: int = 0) -> tuple[Tensor, Tensor]:
        """Members of each pair's supporting group, drawn without replacement: from the generator in training, in evaluation
        from a hash of seed, draw, row and target.

        Shapes: index, target (Q,), own (Q, M) bool -> bank rows (Q, S), of which the first ones count, as many as the second
        result (Q,) says. Raises: RuntimeError before `prepare`. Source: paper Eq. 2 and footnote 2.
        """
        if self.bank is None:
            raise RuntimeError("prepare(train) must come before retrieval: supports are training rows")
        if self.bank.observed.device != own.device:
            self.bank = self.bank.to(own.device)
        modalities = own.shape[1]
        bits = torch.arange(modalities, device=own.device)
        code, group = ((own.long() << bits).sum(1) * modalities + target).unique(return_inverse=True)  # (K,) groups, (Q,) whose
        own_of_group = ((code // modalities).unsqueeze(1) >> bits & 1).bool()  # (K, M)
        member = supporting_groups(self.bank.observed, own_of_group, code % modalities)  # (K, N)
        if self.config.backoff:
            member |= self.bank.observed.T[code % modalities] & ~member.any(1, keepdim=True)
        size, members = member.sum(1), member.nonzero()[:, 1]  # (K,), and the rows of all groups, group after group
        start, size = (size.cumsum(0) - size)[group], size[group]  # (Q,)
        self.retrievals += torch.stack([(size > 0).sum(), (size == 0).sum()])
        wanted = own.sum(1) if self.config.n_support == 0 else torch.full_like(size, self.config.n_support)
        taken = torch.minimum(wanted, size)
        slots = torch.arange(int(taken.max()), device=own.device)
        if self.training:
            u = torch.rand(len(size), len(slots), generator=self.generator, device=own.device, dtype=torch.float64)
        else:
            u = hash_uniform(self.eval_seed + draw, index.unsqueeze(1), target.unsqueeze(1), slots)  # (Q, S)
        place = start.unsqueeze(1) + distinct_ranks(u, size)  # (Q, S)
        return members[place.clamp(max=len(members) - 1)], taken

    def encode_bank(self, rows: Tensor, modality: Tensor) -> Tensor:
        """Tokens of bank rows, each in the modality given; a row is encoded but once. Shapes: (Z,), (Z,) -> (Z, P, D)."""
        encoded = [torch.zeros(0, self.config.tokens, self.config.width, dtype=self.encoders.dtype, device=rows.device)]
        if self.bank is None:
            raise RuntimeError("prepare(train) must come before retrieval: supports are training rows")
        unique, place = (modality * len(self.bank) + rows).unique(return_inverse=True)  # modality by modality, rows ascending
        counts = count_of(unique // len(self.bank), len(self.schema)).tolist()
        for m, chosen in enumerate((unique % len(self.bank)).split(counts)):
            if len(chosen):
                encoded.append(self.encoders.encode_rows(m, self.bank, chosen))  # (U, P, D)
        tokens = torch.cat(encoded).index_select(0, place)  # (Z, P, D)
        return tokens.detach() if self.config.detach_support else tokens

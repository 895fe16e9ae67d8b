"""MUSE: a bipartite graph of samples and modalities, trained with mutual-consistent contrastive losses (ICLR 2024).

Idea:    A batch is a graph: samples on one side, modalities on the other, and an edge where the sample observes the modality.
         The encoded modality sits on the edge, so a missing modality is a missing edge and nothing is imputed. Two contrastive
         terms, one against a copy of the graph with edges dropped and one between rows of the same label, keep a sample's
         state from leaning on one modality.
Source:  Wu et al., "Multimodal Patient Representation Learning with Missing Modalities and Labels"; official code
         zzachw/MUSE, `src/core/gnn.py`, `src/core/model.py`, `src/core/run.py`.
Differs: the suite's encoders replace BatchNorm perceptrons; a prediction attaches its row to the graph of the training rows,
         the same for any batch (preset `as_released` builds the graph from the evaluation batch, as the official code does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema, as_batch
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders
from bench.methods.layers import Dropout

CHUNK = 512  # training rows encoded at a time by `on_evaluate`; the official batch size


@dataclass(frozen=True, kw_only=True)
class MuseConfig(MethodConfig):
    """Defaults are those of the official `run.py` unless a comment says otherwise."""

    epochs: int = 100  # paper and code
    batch_size: int = 512  # paper and code
    learning_rate: float = 2e-4  # Adam; no schedule, clipping or weight decay
    tokens: int = 1  # T: tokens of each encoder, averaged into one edge feature; the paper has one vector per modality
    width: int = 128  # d: embedding, node, edge and classifier size
    layers: int = 2  # L: rounds of message passing
    normalise: str = ""  # L2-normalise the nodes after a layer: one 0 or 1 per layer, such as "10"; "" = never
    dropout: float = 0.25  # p: on edge features, on nodes between layers, in the classifier
    temperature: float = 0.07  # tau: cosines are divided by it; code 0.07, paper 0.05
    edge_drop: str = "subset"  # "subset": code, half of the rows keep a random part of their edges; "bernoulli": paper
    edge_drop_rate: float = 0.15  # paper: share of the edges that "bernoulli" drops; "subset" has no rate
    unsupervised_weight: float = 0.5  # lambda of the loss between a graph and its edge-dropped copy
    supervised_weight: float = 0.5  # lambda of the loss between rows of the same label
    eval_graph: str = "train_frozen"  # "train_frozen": ours, modality states of the training graph; "batch": code

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.tokens, self.width, self.layers) < 1:
            raise ValueError(f"tokens, width and layers must be at least 1, got {self.tokens}, {self.width} and {self.layers}")
        if self.normalise and (len(self.normalise) != self.layers or set(self.normalise) - set("01")):
            raise ValueError(f"normalise must be empty or one 0 or 1 for each of {self.layers} layers, got {self.normalise!r}")
        if not 0 <= self.dropout < 1 or not 0 <= self.edge_drop_rate < 1:
            raise ValueError(f"dropout and edge_drop_rate must be in [0, 1), got {self.dropout} and {self.edge_drop_rate}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if self.edge_drop not in ("subset", "bernoulli"):
            raise ValueError(f"edge_drop must be subset or bernoulli, got {self.edge_drop!r}")
        if min(self.unsupervised_weight, self.supervised_weight) < 0:
            raise ValueError("unsupervised_weight and supervised_weight must not be negative, got "
                             f"{self.unsupervised_weight} and {self.supervised_weight}")  # fmt: skip
        if self.eval_graph not in ("train_frozen", "batch"):
            raise ValueError(f"eval_graph must be train_frozen or batch, got {self.eval_graph!r}")


def drop_edges(observed: Tensor, generator: Generator) -> Tensor:
    """A copy of the mask in which half of the rows with two or more edges keep a random part of them.

    The number kept is uniform in 1..count-1 and the part uniform among those of that size: a quarter of such edges goes.
    Shapes: observed (B, M) bool -> (B, M) bool. Source: official `model.py`, the row loop of its edge drop.
    """
    count = observed.sum(1, keepdim=True)  # (B, 1)
    coin, size = torch.rand(2, len(observed), 1, generator=generator, device=observed.device)  # each (B, 1)
    kept = torch.where((coin < 0.5) | (count < 2), count, 1 + (size * (count - 1)).long())  # (B, 1)
    keys = torch.rand(observed.shape, generator=generator, device=observed.device).masked_fill(~observed, 2.0)
    return observed & (keys.argsort(1).argsort(1) < kept)


def drop_edges_at_rate(observed: Tensor, rate: float, generator: Generator) -> Tensor:
    """A copy of the mask in which each edge is dropped with chance `rate`, but never the last edge of a row.

    Shapes: observed (B, M) bool -> (B, M) bool. Source: the paper's 15 %; sparing the last edge is ours.
    """
    keys = torch.rand(observed.shape, generator=generator, device=observed.device).masked_fill(~observed, -1.0)
    return observed & ((keys >= rate) | (keys == keys.amax(1, keepdim=True)))


def agreement_loss(u: Tensor, v: Tensor, scale: float) -> Tensor:
    """Each row of one view must find itself among the rows of the other, both ways (InfoNCE on cosines); 0 for one row.

    Shapes: u, v (B, D) of unit length -> (). Source: official `model.py`, unsupervised loss.
    """
    similarity = scale * u @ v.T  # (B, B)
    own = torch.arange(len(u), device=u.device)
    return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2


def alike(target: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """How alike the targets of each pair of rows are, 0 to 1, and the pair's weight, 0 where nothing is known of one of them.

    Classes: equal or not, as in the paper. Ours: of several labels the share of those known of both rows on which they agree; of a value
    exp(-|difference|), which on the scale of the training rows is 1 for equal ones and 0.37 at a distance of one SD.
    Shapes: target (B,) int64, (B, L) int64 or (B,) float -> two of (B, B).
    """
    if target.is_floating_point():
        known = (~target.isnan()).to(dtype)  # (B,)
        near = torch.exp(-(target.unsqueeze(1) - target).abs().nan_to_num(torch.inf))
        return near.to(dtype), known.unsqueeze(1) * known
    if target.dim() == 1:
        labelled = (target >= 0).to(dtype)  # (B,)
        return (target.unsqueeze(1) == target).to(dtype), labelled.unsqueeze(1) * labelled
    both = (target >= 0).to(dtype) @ (target >= 0).to(dtype).T  # (B, B) labels that both rows know
    yes, no = (target == 1).to(dtype), (target == 0).to(dtype)
    agree = yes @ yes.T + no @ no.T
    return agree / both.clamp(min=1), (both > 0).to(dtype)


def label_loss(u: Tensor, v: Tensor, target: Tensor, scale: float) -> Tensor:
    """Pairs of labelled rows must be alike if and only if their labels are (sigmoid cross entropy on cosines); 0 without labels.

    Shapes: u, v (B, D) of unit length, target as `Batch.target`, -1 = no label -> (). Source: official `model.py`, supervised loss; its
    two cross-view terms are equal because the target is symmetric.
    """
    same, pairs = alike(target, u.dtype)  # (B, B) each
    within = F.binary_cross_entropy_with_logits(scale * u @ u.T, same, pairs, reduction="sum")
    across = F.binary_cross_entropy_with_logits(scale * u @ v.T, same, pairs, reduction="sum")
    return (within + across) / (2 * pairs.sum().clamp(min=1))


def masked_mean(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over the axis `dim` of `mask` (-2 rows, -1 modalities) where the mask is 1; 0 where it is 1 nowhere.

    Shapes: values (..., B, M, D), mask (..., B, M) of 0 and 1 -> (..., M, D) or (..., B, D).
    """
    total = (values * mask.unsqueeze(-1)).sum(dim - 1)  # a product and a sum: faster than einsum's many tiny matrix products
    return total / mask.sum(dim).clamp(min=1).unsqueeze(-1)


class SplitLinear(nn.Linear):
    """A linear layer over a concatenation whose parts are given apart: W [a; b] = W_a a + W_b b, broadcast before the sum.

    Shapes: parts (..., D), broadcasting together -> (..., D).
    """

    def __init__(self, parts: int, width: int) -> None:
        super().__init__(parts * width, width)

    def forward(self, *parts: Tensor) -> Tensor:
        first, *others = self.weight.chunk(len(parts), dim=1)
        total = F.linear(parts[0], first, self.bias)
        for part, weight in zip(parts[1:], others, strict=True):
            total = total + F.linear(part, weight)
        return total


class GraphLayer(nn.Module):
    """Messages along edges and the update of their targets; both directions share the weights."""

    def __init__(self, width: int, normalise: bool) -> None:
        super().__init__()
        self.message = SplitLinear(2, width)  # W_msg [source; edge]
        self.update = SplitLinear(2, width)  # W_agg [gathered; own]
        self.normalise = normalise

    def send(self, sources: Tensor, edges: Tensor) -> Tensor:
        return F.relu(self.message(sources, edges))  # (..., B, M, D)

    def receive(self, gathered: Tensor, own: Tensor) -> Tensor:
        nodes = F.relu(self.update(gathered, own))
        return F.normalize(nodes, dim=-1) if self.normalise else nodes


class Graph(nn.Module):
    """The graph network on a dense mask: at most M edges a row, so no edge list is needed.

    An edge has two states, `up` (modality to sample) and `down` (sample to modality). Leading axes of a mask are separate graphs
    over the same edge features: the two views of a training step run as one.
    Source: official `gnn.py`, to which it is equal up to rounding.
    """

    layers: Sequence[GraphLayer]
    edges: Sequence[SplitLinear]

    def __init__(self, modalities: int, width: int, layers: int, normalise: Sequence[bool], dropout: float) -> None:
        super().__init__()
        self.nodes = nn.Parameter(torch.randn(modalities, width))  # Q^(0); samples start as ones
        self.add_module("layers", nn.ModuleList(GraphLayer(width, flag) for flag in normalise))
        self.add_module("edges", nn.ModuleList(SplitLinear(3, width) for _ in range(layers - 1)))  # W_e [source; target; edge]
        self.dropout = Dropout(dropout)

    def enter(
        self, depth: int, x: Tensor, mask: Tensor, states: Tensor | Sequence[Tensor] | None = None, downward: bool = True
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Samples, modalities, `up` and `down` as they enter layer `depth`; `down` is stale unless `downward`.

        Shapes: x (B, M, D), mask (..., B, M) of x's type, states (>depth, M, D), modality states to use instead of those of this
        graph -> (..., B, D), (..., M, D), (..., B, M, D), (..., B, M, D); axes of size 1 or none stand for equal values.
        """
        modalities: Tensor = self.nodes
        samples, up, down = x.new_ones(1, x.shape[2]), x, x
        for done, (layer, edge) in enumerate(zip(self.layers[:depth], self.edges, strict=False)):
            gathered = masked_mean(layer.send(modalities.unsqueeze(-3), up), mask, -1)  # (..., B, D)
            if states is None:
                sent = masked_mean(layer.send(samples.unsqueeze(-2), down), mask, -2)  # (..., M, D)
                modalities = layer.receive(sent, modalities)
            else:
                modalities = states[done + 1]
            samples, modalities = self.dropout(layer.receive(gathered, samples)), self.dropout(modalities)
            p, q = samples.unsqueeze(-2), modalities.unsqueeze(-3)  # (..., B, 1, D), (..., 1, M, D)
            up = F.relu(edge(q, p, up))  # (..., B, M, D)
            if downward or (states is None and done + 1 < depth):
                down = F.relu(edge(p, q, down))  # (..., B, M, D)
        return samples, modalities, up, down

    def forward(self, x: Tensor, observed: Tensor, states: Tensor | None = None) -> Tensor:
        """Sample states after the last layer. Shapes: x (B, M, D), observed (..., B, M) bool, states (L, M, D) -> (..., B, D)."""
        mask = observed.to(x.dtype)
        samples, modalities, up, _ = self.enter(len(self.edges), x, mask, states, downward=False)
        last = self.layers[-1]
        return last.receive(masked_mean(last.send(modalities.unsqueeze(-3), up), mask, -1), samples)

    def modality_states(self, chunks: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> Tensor:
        """Modality states that enter each layer, for the graph of all rows, read in chunks, once for each layer but the last.

        Shapes: every chunk x (B, M, D), observed (B, M) bool -> (L, M, D).
        """
        states: list[Tensor] = [self.nodes]
        for depth, layer in enumerate(self.layers[:-1]):
            total = count = self.nodes.new_zeros(())
            for x, observed in chunks():
                mask = observed.to(x.dtype)
                samples, _, _, down = self.enter(depth, x, mask, states)
                total = total + (layer.send(samples.unsqueeze(-2), down) * mask.unsqueeze(-1)).sum(0)  # (M, D)
                count = count + mask.sum(0).unsqueeze(1)  # (M, 1)
            states.append(layer.receive(total / count.clamp(min=1), states[-1]))
        return torch.stack(states)  # (L, M, D)


class Muse(Method):
    """Encode, pass messages over the graph and over an edge-dropped copy of it, classify the sample states."""

    Config = MuseConfig
    states: Tensor | None
    presets = {"paper": {}, "as_released": {"eval_graph": "batch"}}
    search = {
        "learning_rate": (1e-4, 2e-4, 5e-4, 1e-3, 3e-3),
        "width": (64, 128, 256),
        "dropout": (0.1, 0.25, 0.5),
        "layers": (2, 3),
        "unsupervised_weight": (0.1, 0.5, 1.0),
        "supervised_weight": (0.1, 0.5, 1.0),
    }
    paper = "Wu et al., Multimodal Patient Representation Learning with Missing Modalities and Labels, ICLR 2024"
    year = 2024
    repository = "zzachw/MUSE"
    traces = ("gradients",)
    uses_other_samples = True  # through the modality states of the training graph
    deviations = (
        "The suite's encoders, equal for all methods, replace the official ones; they have no BatchNorm and no inner dropout, "
        "and see observed rows alone, whereas the official BatchNorm also sees the zero rows of missing modalities.",
        "Predictions attach a row to the graph of the training rows with one-way edges, so they do not change with the batch; "
        "the official code builds the graph from each evaluation batch (preset as_released).",
        "Edge drop, temperature 0.07 and learnable modality nodes follow the official code; the paper states 15 % of the edges, "
        "0.05 and one-hot nodes. edge_drop and temperature are options.",
        "The contrastive losses follow the official code: InfoNCE both ways, and pairwise sigmoid cross entropy for labels. For tasks the "
        "paper does not have, rows are alike by the share of labels they agree on, or by exp(-|difference|) of values in SDs.",
        "Two classes use two logits and cross entropy; the official code uses one logit and binary cross entropy.",
        "Missing modalities are set to zero by a mask instead of in place, with the same values.",
    )

    def __init__(self, schema: Schema, config: MuseConfig) -> None:
        super().__init__(schema, config)
        width, p = config.width, config.dropout
        normalise = [flag == "1" for flag in config.normalise or "0" * config.layers]
        self.encoders = Encoders(schema, config.tokens, width)
        self.mappers = nn.ModuleList(nn.Linear(width, width) for _ in schema)
        self.dropout = Dropout(p)
        self.graph = Graph(len(schema), width, config.layers, normalise, p)
        self.projection = nn.Linear(width, width)  # for the contrastive losses alone
        self.classifier = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), Dropout(p), nn.Linear(width, schema.outputs)
        )  # fmt: skip
        self.training_rows: Samples | None = None
        if config.eval_graph == "train_frozen":  # NaN until `on_evaluate`: a prediction without states cannot go unnoticed
            self.register_buffer("states", torch.full((config.layers, len(schema), width), torch.nan))
        else:
            self.states = None

    @classmethod
    def declared(cls, config: MuseConfig) -> Mapping[str, str]:
        return {"batch-mate": "eval_graph='batch': the rows scored together are the graph"} if config.eval_graph == "batch" else {}

    def prepare(self, train: Samples) -> None:
        self.training_rows = train

    def on_evaluate(self) -> None:
        if self.states is not None:
            self.states.copy_(self.graph.modality_states(self.chunks))

    def chunks(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Edge features (B, M, D) and mask (B, M) of all training rows, a chunk at a time.

        Raises: ValueError if `prepare` has not given the training rows.
        """
        if self.training_rows is None:
            raise ValueError("eval_graph 'train_frozen' needs the training rows: call prepare(train) first, or use 'batch'")
        for rows in np.split(np.arange(len(self.training_rows)), range(CHUNK, len(self.training_rows), CHUNK)):
            batch = as_batch(self.training_rows.rows(rows), self.device)
            yield self.embed(batch), batch.observed

    def embed(self, batch: Batch) -> Tensor:
        """Edge features: one vector per observed modality, zero where there is no edge. Shapes: -> (B, M, D)."""
        tokens = self.encoders(batch).mean(2)  # (B, M, D)
        x = torch.stack([mapper(tokens[:, m]) for m, mapper in enumerate(self.mappers)], dim=1)  # (B, M, D)
        return self.dropout(x.masked_fill(~batch.observed.unsqueeze(2), 0.0))

    def drop_edges(self, observed: Tensor) -> Tensor:
        if self.config.edge_drop == "subset":
            return self.dropped(observed, drop_edges(observed, self.generator))
        return self.dropped(observed, drop_edges_at_rate(observed, self.config.edge_drop_rate, self.generator))

    def project(self, z: Tensor) -> Tensor:
        return F.normalize(torch.tanh(self.projection(z)), dim=-1)  # (B, D)

    def contrast(self, z: Tensor, dropped: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Both contrastive penalties, weighted. Shapes: z, dropped (B, D), the two views; target as
        `Batch.target`."""
        u, v = self.project(z), self.project(dropped)
        scale = 1 / self.config.temperature
        return {
            "unsupervised": self.config.unsupervised_weight * agreement_loss(u, v, scale),
            "supervised": self.config.supervised_weight * label_loss(u, v, target, scale),
        }

    def forward(self, batch: Batch) -> Prediction:
        x = self.watch(self.embed(batch), batch.observed)  # (B, M, D)
        if not self.training:
            return Prediction(self.classifier(self.graph(x, batch.observed, self.states)))
        if self.config.unsupervised_weight == self.config.supervised_weight == 0:
            return Prediction(self.classifier(self.graph(x, batch.observed)))
        views = torch.stack([batch.observed, self.drop_edges(batch.observed)])  # (2, B, M)
        z, dropped = self.graph(x, views)  # each (B, D)
        return Prediction(self.classifier(z), self.contrast(z, dropped, batch.target))

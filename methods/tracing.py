"""What a method did to the rows it saw: routing, supports, embeddings and gradients, in one format for all methods.

Off by default. `with tracing(method) as tracer:` switches it on; a method then hands over what it has through
`Method.trace` and `Method.watch`, and nothing else changes: logits and losses keep their bits. Traces grow with the rows seen, so
trace one part at a time. A class says which tables it hands over: `traces = ("routing",)`.

    table       one row for                     columns
    routing     a routed unit, in evaluation    sample, layer, target (modality being filled, -1 none), modality (the unit's own), filled
                                                (it stands for a missing modality), supported (it comes from a supporting sample),
                                                source (V, M) what the row it comes from observes, experts (V, K), gates (V, K)
    supports    a drawn support, in evaluation  sample, target, support (row of the training part), weight (share in the filled embedding)
    embeddings  a row, in evaluation            sample, observed (B, M), before and after (B, M, D) completion; zero before where missing
    gradients   two modalities in a batch       epoch, first, second, rows (that observe both), cosine (of the gradients of the fusion
                                                input, all rows), cosine_both (of rows that observe both; NaN without one), norm_first and
                                                norm_second (of each gradient, over the rows that observe the modality)
    updates     a step of a row, in evaluation  sample, layer, modality (that is read), size (of the change of the state, in norms of the
                                                state before), entropy (of the attention to it, over log of its tokens; NaN with one token)
    terms       a row, in evaluation            sample, present (B, P) which of the terms of a sum act, logits (B, P, C) of each

`sample` counts the rows of the part that is scored. Source of the gradient cosine: MoE-Retriever, Fig. 5; of the rest: Fig. 3 and 6.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench.methods.base import Method

TABLES = ("routing", "supports", "embeddings", "gradients", "updates", "terms")


class Tracer:
    """Tables of columns, each column one array over all rows handed over so far."""

    def __init__(self) -> None:
        self.epoch = 0  # stands in the gradient table; the trainer counts it from 1
        self._pieces: dict[str, list[dict[str, np.ndarray]]] = defaultdict(list)

    def add(self, table: str, **columns: Tensor) -> None:
        """Append rows; all columns have the same length. Raises: ValueError if a table or its columns are not as documented."""
        if table not in TABLES:
            raise ValueError(f"a trace goes to one of {', '.join(TABLES)}, got {table!r}")
        for name, given in columns.items():
            if not isinstance(given, Tensor) or not given.dim():
                came = "a single number" if isinstance(given, Tensor) else type(given).__name__
                raise ValueError(f"column {name} of {table} must be a tensor with a row for each entry, got {came}")
        piece = {name: column.detach().cpu().numpy() for name, column in columns.items()}
        known = self._pieces[table]
        if known and known[0].keys() != piece.keys():
            raise ValueError(f"table {table} has the columns {', '.join(known[0])}, got {', '.join(piece)}")
        for name, rows in piece.items():
            if known and known[0][name].shape[1:] != rows.shape[1:]:
                raise ValueError(f"rows of {name} of {table} have shape {known[0][name].shape[1:]}, got {rows.shape[1:]}")
        if len({len(column) for column in piece.values()}) > 1:
            raise ValueError(f"columns of {table} must have one length, got { {name: len(c) for name, c in piece.items()} }")
        known.append(piece)

    def table(self, name: str) -> dict[str, np.ndarray]:
        """The columns of a table, in the order of the rows; empty if the method has no such trace."""
        pieces = self._pieces.get(name, [])
        return {column: np.concatenate([piece[column] for piece in pieces]) for column in (pieces[0] if pieces else ())}

    def names(self) -> tuple[str, ...]:
        """The tables that have rows."""
        return tuple(name for name in TABLES if self._pieces.get(name))

    def gradients(self, gradient: Tensor, observed: Tensor) -> None:
        """Cosines between the gradients of each two modalities, and their norms. Shapes: gradient (B, M, ...), observed (B, M) bool."""
        flat = gradient.detach().flatten(2).double()  # (B, M, F)
        pairs = list(combinations(range(flat.shape[1]), 2))
        both = [observed[:, a] & observed[:, b] for a, b in pairs]
        norms = torch.where(observed.unsqueeze(2), flat, 0.0).square().sum((0, 2)).sqrt().tolist()
        self.add(
            "gradients",
            epoch=torch.full((len(pairs),), self.epoch),
            first=torch.tensor([a for a, _ in pairs], dtype=torch.int64),
            second=torch.tensor([b for _, b in pairs], dtype=torch.int64),
            rows=torch.tensor([int(rows.sum()) for rows in both], dtype=torch.int64),
            cosine=torch.tensor([_cosine(flat[:, a], flat[:, b]) for a, b in pairs], dtype=torch.float64),
            norm_first=torch.tensor([norms[a] for a, _ in pairs], dtype=torch.float64),
            norm_second=torch.tensor([norms[b] for _, b in pairs], dtype=torch.float64),
            cosine_both=torch.tensor([_cosine(flat[rows, a], flat[rows, b]) for (a, b), rows in zip(pairs, both, strict=True)]).double(),
        )

    def save(self, path: Path) -> None:
        """All tables as one compressed npz, columns named table/column."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"{name}/{column}": values for name in self.names() for column, values in self.table(name).items()}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


class MaskCount:
    """What a method's own modality dropout leaves of the masks it trains on, counted over all draws of a training.

    `add` takes masks (B, M) bool before and after a draw, on any device, and makes nobody wait.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None  # (2, M + 2): before and after, cells by modality, complete rows, all rows

    def add(self, observed: Tensor, left: Tensor) -> None:
        masks = torch.stack([observed, left])  # (2, B, M)
        complete = masks.all(2).sum(1)  # (2,)
        counts = torch.cat([masks.sum(1), complete.unsqueeze(1), torch.full_like(complete, len(observed)).unsqueeze(1)], dim=1)
        self._counts = counts if self._counts is None else self._counts + counts

    def shares(self, letters: str) -> dict[str, object]:
        """Shares before and after: `missing` of all cells, `complete` of rows, and missing `by_modality`; empty without a draw."""
        if self._counts is None or not int(self._counts[0, -1]):
            return {}
        counts = self._counts.double().cpu().numpy()
        *cells, complete, rows = counts.T  # (2,) each
        missing = {letter: (1 - own / rows).tolist() for letter, own in zip(letters, cells, strict=True)}
        return {
            "missing": np.mean(list(missing.values()), axis=0).tolist(),
            "complete": (complete / rows).tolist(),
            "by_modality": missing,
        }


def read_traces(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The tables of a file written by `Tracer.save`."""
    tables: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays:
            table, _, column = key.partition("/")
            tables[table][column] = arrays[key]
    return dict(tables)


def _cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of two tensors as vectors, NaN if one is zero."""
    norms = float(a.norm() * b.norm())
    return float((a * b).sum()) / norms if norms > 0 else float("nan")


@contextmanager
def tracing(method: Method) -> Iterator[Tracer]:
    """Let a method hand over its traces while the block runs."""
    previous, method.tracer = method.tracer, Tracer()
    try:
        yield method.tracer
    finally:
        method.tracer = previous

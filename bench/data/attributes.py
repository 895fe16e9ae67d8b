"""The attributes of a dataset's samples on their way from `load` to tables: known by the ids of rows, beside every trial. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.datasets.attributes import UNKNOWN
from bench.datasets.base import Dataset, Samples


@dataclass(frozen=True)
class Attributes:
    """The groups that samples of one dataset are in. Shapes: ids (N,) str; groups[name] (N,) str, '' where it is not known."""

    ids: np.ndarray
    groups: Mapping[str, np.ndarray]
    is_public: bool = False  # whether they, and scores by them, may be published

    @classmethod
    def of(cls, dataset: Dataset, samples: Samples) -> Attributes:
        """Those of a dataset as it was loaded; it may state none."""
        return cls(samples.ids.astype(str), dict(samples.attributes), dataset.public_attributes and not dataset.restricted)

    def at(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The groups of rows, '' of a row that is not known here. Shapes: ids (K,) -> (K,) str each."""
        place_of = {id_: place for place, id_ in enumerate(self.ids.tolist())}
        places = np.array([place_of.get(str(id_), -1) for id_ in ids.tolist()], dtype=np.int64)
        return {name: np.append(column, UNKNOWN)[places] for name, column in self.groups.items()}

    def only(self, ids: Iterable[str], called: Callable[[str], str] = str) -> Attributes:
        """Those of some rows, under the ids that `called` makes, in the order of these; rows that are not known here are left out."""
        known = set(self.ids.tolist())
        pairs = sorted((called(id_), id_) for id_ in dict.fromkeys(ids) if id_ in known)
        return Attributes(np.array([new for new, _ in pairs], dtype=str), self.at(np.array([old for _, old in pairs])), self.is_public)

    def as_json(self) -> dict[str, object]:
        """Each attribute as its groups, and of each row the place of its own, -1 where it is not known."""
        found: dict[str, object] = {}
        for name, column in self.groups.items():
            names = [group for group in np.unique(column).tolist() if group != UNKNOWN]
            place_of = {group: place for place, group in enumerate(names)} | {UNKNOWN: -1}
            found[name] = {"groups": names, "rows": [place_of[group] for group in column.tolist()]}
        return {"public": self.is_public, "ids": self.ids.tolist(), "attributes": found}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Attributes:
        """What `as_json` gave. Raises: ValueError, KeyError, TypeError, IndexError if it is something else."""
        ids = np.array(found["ids"], dtype=str)
        groups = {}
        for name, column in found["attributes"].items():
            names, rows = list(map(str, column["groups"])), np.array(column["rows"], dtype=np.int64)
            if rows.shape != ids.shape or (len(rows) and not -1 <= rows.min() <= rows.max() < len(names)):
                raise ValueError(f"attribute {name!r} must name one of {len(names)} groups, or none, for each of {len(ids)} ids")
            groups[str(name)] = np.array([*names, UNKNOWN])[rows]
        return cls(ids, groups, bool(found["public"]))

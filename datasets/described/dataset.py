"""The dataset that a description makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.datasets.base import Dataset, Samples
from bench.datasets.described.description import read_description
from bench.datasets.described.reading import read_samples
from bench.datasets.indicators import learn_vectors


class Described(Dataset):
    """A user's own files, as a description says. Raises: DataError if it breaks a rule; the files are looked at by `load`."""

    def __init__(self, path: str | Path) -> None:
        self.description = read_description(path)
        self.title, self.source, self.licence = self.description.title, self.description.source, self.description.licence
        self.indicated = [one.name for one in self.description.modalities if one.indicators]
        self.categories: Mapping[str, tuple[tuple[int, int], ...]] = {}
        self.facts: dict[str, str] = {}

    def load(self) -> Samples:
        found = read_samples(self.description)
        self.categories, self.facts = found.categories, {"Handled": "; ".join(found.notes)} if found.notes else {}
        return found.samples

    @property
    def learns_by(self) -> str:
        return json.dumps({"indicators": self.indicated, "categories": self.categories}, sort_keys=True)

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        return learn_vectors(train, self.indicated, self.categories)

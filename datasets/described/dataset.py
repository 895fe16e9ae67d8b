"""The datasets that a description and frames make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.datasets.base import DataError, Dataset, Samples
from bench.datasets.described.description import read_description
from bench.datasets.described.reading import read_samples
from bench.datasets.files import read_prepared
from bench.datasets.indicators import learn_vectors

Categories = Mapping[str, tuple[tuple[int, int], ...]]  # vector modality -> its columns of each category, from one to another


class Described(Dataset):
    """A user's own files, as a description says. Raises: DataError if it breaks a rule; the files are looked at by `load`."""

    def __init__(self, path: str | Path) -> None:
        self.description = read_description(path)
        self.title, self.source, self.licence = self.description.title, self.description.source, self.description.licence
        self.public_ids, self.restricted = self.description.public_ids, self.description.restricted
        self.public_attributes = self.description.public_attributes
        self.indicated = [one.name for one in self.description.modalities if one.indicators]
        self.indicators = bool(self.indicated)
        self.categories: Categories = {}

    def load(self) -> Samples:
        found = read_samples(self.description)
        self.column_names = found.columns
        self.categories, self.facts = found.categories, {"Handled": "; ".join(found.notes)} if found.notes else {}
        self.learns_by = _words(self.indicated, self.categories)
        return found.samples

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        return learn_vectors(train, self.indicated, self.categories)


class Framed(Dataset):
    """Tables given from Python, whose values were written once to a prepared copy: `bench.dataset` makes one (see `frames`).

    It is small, so that it can travel to the process of a trial. Raises: DataError by `load` if the copy is gone.
    """

    def __init__(self, name: str, folder: Path, title: str, indicated: list[str], categories: Categories, facts: Mapping[str, str]) -> None:
        self.name, self.folder, self.title, self.facts = name, folder, title, facts
        self.indicated, self.categories = indicated, categories
        self.indicators, self.learns_by = bool(indicated), _words(indicated, categories)

    def load(self) -> Samples:
        if not self.folder.is_dir():
            raise DataError(f"the prepared copy of {self.name!r} is not in {self.folder} any more; call bench.dataset(...) again")
        return read_prepared(self.folder).samples

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        return learn_vectors(train, self.indicated, self.categories)


def _words(indicated: list[str], categories: Categories) -> str:
    return json.dumps({"indicators": indicated, "categories": categories}, sort_keys=True)

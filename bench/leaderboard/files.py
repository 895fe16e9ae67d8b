"""Which file of a published board shows what: a page a dataset, and the pictures. Names are of letters that every file system takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.names import parse_choice
from bench.text import distinct_stems

FRONT = "README.md"
Key = tuple[str, ...]  # what a picture is of: its kind, and the kind of data, the curve or the setting


def base_of(dataset: str) -> str:
    """A dataset without its options: settings that share samples share it."""
    return parse_choice(dataset).name


@dataclass(frozen=True)
class Files:
    """The file names of a board, by what its pages and pictures are of; none differs from another by case alone."""

    datasets: tuple[str, ...]
    keys: tuple[Key, ...]

    @classmethod
    def of(cls, datasets: Iterable[str], keys: Iterable[Sequence[str]]) -> Files:
        return cls(tuple(dict.fromkeys(map(base_of, datasets))), tuple(tuple(key) for key in keys))

    @cached_property
    def _pages(self) -> dict[Key, str]:
        return distinct_stems(((name,) for name in self.datasets), [FRONT.removesuffix(".md")])

    @cached_property
    def _pictures(self) -> dict[Key, str]:
        return distinct_stems(self.keys)

    def page(self, dataset: str) -> str:
        """The file that shows a dataset: its settings share a page, whatever its options."""
        return self._pages[base_of(dataset),] + ".md"

    def picture(self, *key: str) -> str:
        return self._pictures[key] + ".svg"

"""What is to be told of a row: its class, yes or no to each of some labels, or a number. Nothing else asks which of them it is.

A target knows what `Samples.target` is and what breaks it, how many outputs a method has, and what stands where nothing may be told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bench.datasets.columns import flat_column, kind_of, plain, text

FIFTHS, MOST_COUNTED = 5, 3  # strata of a value; labels of a row that are told apart
UNKNOWN = -1  # of a class or a label that is not told, in batches; of a label that nobody knows, in samples too


class Target(ABC):
    """What a dataset asks of each row, one of three kinds. Equal if and only if the question is."""

    kind: ClassVar[str]  # classes, labels or value
    stored: ClassVar[str]  # what a method's answers are kept as, in words

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the outputs, in order."""

    @property
    def outputs(self) -> int:
        """Size of a method's last layer, and columns of what it predicts."""
        return len(self.names)

    def rows(self, given: object) -> int:
        """How many rows these targets are of. Raises: ValueError if they are no plain array of the right number of dimensions."""
        return len(flat_column("target", given))

    @abstractmethod
    def check(self, target: np.ndarray) -> None:
        """Raises: ValueError unless these are what `Samples.target` must be."""

    @abstractmethod
    def sealed(self, target: np.ndarray) -> np.ndarray:
        """Targets of the same shape in which nothing is told: of batches in evaluation."""

    @abstractmethod
    def blank(self, target: np.ndarray) -> np.ndarray:
        """Targets of the same shape that `check` lets pass and that are equal for all rows: of samples that shall tell nothing."""

    @abstractmethod
    def strata(self, target: np.ndarray, like: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        """Each row's stratum, and what these are called: groups of rows alike in what is to be told of them, for what looks at groups.

        The classes; of labels the number that a row has; of a value fifths of the rows, or of the targets `like`, by its
        size. Shapes: -> (N,) int64, names.
        """

    def batched(self, target: np.ndarray) -> np.ndarray:
        """Targets as tensors are made of them: of the same bytes, but for numbers, which become float32 as inputs are."""
        return target

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """As `target_from` reads it back."""

    def describe(self) -> str:
        """In a few words, for lists."""
        return f"{self.outputs} {self.kind}"


def _unique(what: str, given: object, least: int) -> tuple[str, ...]:
    """Texts, each once. Raises: ValueError."""
    if not isinstance(given, list | tuple):
        raise ValueError(f"{what} of a schema must be a tuple, got {kind_of(given)}; use tuple(...)")
    names = tuple(text(f"a {'class' if what == 'classes' else 'label'} of a schema", one) for one in given)
    if len(names) < least:
        raise ValueError(f"{what} of a schema must be {least} at least, got {len(names)}")
    if len(set(names)) != len(names):
        raise ValueError(f"{what} of a schema must be unique, got {', '.join(names)}")
    return names


@dataclass(frozen=True)
class Classes(Target):
    """One of some classes. `Samples.target` is int64 (N,), the place of each row's class; predictions are class probabilities (N, C)."""

    classes: tuple[str, ...]
    kind: ClassVar[str] = "classes"
    stored: ClassVar[str] = "class probabilities"

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _unique("classes", self.classes, 0))

    @property
    def names(self) -> tuple[str, ...]:
        return self.classes

    def check(self, target: np.ndarray) -> None:
        if target.dtype != np.int64 or (len(target) and not 0 <= target.min() <= target.max() < len(self.classes)):
            raise ValueError(f"target must be int64 in [0, {len(self.classes)}), got {self._came(target)}")

    def _came(self, target: np.ndarray) -> str:
        if target.dtype == np.int64:
            row = np.flatnonzero((target < 0) | (target >= len(self.classes)))[0]
            return f"{target[row]} in row {row}"
        return f"{target.dtype}; use " + (".astype(np.int64)" if target.dtype.kind in "biu" else "the place of each class")

    def sealed(self, target: np.ndarray) -> np.ndarray:
        return np.full_like(target, UNKNOWN)

    def blank(self, target: np.ndarray) -> np.ndarray:
        return np.zeros_like(target)

    def strata(self, target: np.ndarray, like: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        return target, self.classes

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "classes": list(self.classes)}


@dataclass(frozen=True)
class Labels(Target):
    """Yes or no to each of some labels. `Samples.target` is int64 (N, L): 1 yes, 0 no, -1 where nobody knows; predictions are the
    probability of each label (N, L)."""

    labels: tuple[str, ...]
    kind: ClassVar[str] = "labels"
    stored: ClassVar[str] = "a probability for each label"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", _unique("labels", self.labels, 1))

    @property
    def names(self) -> tuple[str, ...]:
        return self.labels

    def rows(self, given: object) -> int:
        array = plain("target", given)
        if array.ndim != 2 or array.shape[1] != len(self.labels):
            wanted = f"int64 (N, {len(self.labels)}), a column for each label"
            raise ValueError(f"target of labels must be {wanted}, got {array.dtype} {array.shape}")
        return len(array)

    def check(self, target: np.ndarray) -> None:
        if target.dtype != np.int64:
            way = ".astype(np.int64)" if target.dtype.kind in "biu" else "np.where(np.isnan(x), -1, x).astype(np.int64)"
            rule = "int64, 1 for yes, 0 for no and -1 where it is not known"
            raise ValueError(f"target of labels must be {rule}, got {target.dtype}; use {way}")
        odd = (target < UNKNOWN) | (target > 1)
        if odd.any():
            row, label = np.argwhere(odd)[0].tolist()
            raise ValueError(
                f"target of labels must be 1 for yes, 0 for no and -1 where it is not known, got {target[row, label]} for "
                f"{self.labels[label]!r} in row {row}"
            )

    def sealed(self, target: np.ndarray) -> np.ndarray:
        return np.full_like(target, UNKNOWN)

    def blank(self, target: np.ndarray) -> np.ndarray:
        return np.full_like(target, UNKNOWN)

    def strata(self, target: np.ndarray, like: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        most = min(MOST_COUNTED, self.outputs)
        counts = (target == 1).sum(1)
        names = [f"{n} label{'s' * (n != 1)}" for n in range(most + 1)]
        names[-1] += " or more" * (most < self.outputs)
        return np.minimum(counts, most).astype(np.int64), tuple(names)

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "labels": list(self.labels)}


@dataclass(frozen=True)
class Value(Target):
    """A number with a unit. `Samples.target` is float64 (N,), finite; predictions are numbers (N, 1) in the same unit."""

    name: str
    unit: str = ""  # empty: it has none
    kind: ClassVar[str] = "value"
    stored: ClassVar[str] = "numbers in the target's unit"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", text("name of the value of a schema", self.name))
        if not isinstance(self.unit, str):
            raise ValueError(f"unit of the value {self.name!r} must be a text, empty where it has none, got {kind_of(self.unit)}")

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def check(self, target: np.ndarray) -> None:
        if target.dtype != np.float64:
            way = ".astype(np.float64)" if target.dtype.kind in "biuf" else "numbers"
            raise ValueError(f"target of a value must be float64 (N,), got {target.dtype}; use {way}")
        odd = ~np.isfinite(target)
        if odd.any():
            row = int(odd.argmax())
            raise ValueError(f"target of a value must be finite in every row, got {target[row]} in row {row}; leave such rows out")

    def sealed(self, target: np.ndarray) -> np.ndarray:
        return np.full_like(target, np.nan)

    def blank(self, target: np.ndarray) -> np.ndarray:
        return np.zeros_like(target)

    def strata(self, target: np.ndarray, like: np.ndarray | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
        known = target if like is None else like
        edges = np.quantile(known, np.arange(1, FIFTHS) / FIFTHS) if len(known) else np.zeros(FIFTHS - 1)
        return np.searchsorted(edges, target, "left").astype(np.int64), tuple(f"fifth {k} of {self.name}" for k in range(1, FIFTHS + 1))

    def batched(self, target: np.ndarray) -> np.ndarray:
        return target.astype(np.float32)

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "unit": self.unit}

    def describe(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name


KINDS: Mapping[str, type[Target]] = {cls.kind: cls for cls in (Classes, Labels, Value)}


def target_of(given: Target | Sequence[str]) -> Target:
    """A target, or the classes of one as texts."""
    return given if isinstance(given, Target) else Classes(given)  # type: ignore[arg-type]


def target_from(found: Mapping[str, Any]) -> Target:
    """What `as_json` gave. Raises: ValueError if it is no target."""
    kind = found.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind of a target must be one of {', '.join(KINDS)}, got {kind!r}")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items() if key != "kind"}
    return KINDS[kind](**given)

"""What a dataset is: modalities, a schema, samples and batches.

This room knows arrays and masks. It knows no method, seed or missing rate. torch is imported only by the two functions that
make or move tensors, so that `bench list` and the leaderboards work where torch is absent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from bench.datasets.attributes import checked_attributes
from bench.datasets.columns import flat_column, kind_of, named, plain, text
from bench.datasets.deferred import PIECE, Change, Deferred, Stored, blocks
from bench.datasets.target import Classes as Classes
from bench.datasets.target import Labels as Labels
from bench.datasets.target import Target as Target
from bench.datasets.target import Value as Value
from bench.datasets.target import target_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Kind = Literal["vector", "sequence", "image", "volume"]
PARTS = ("train", "valid", "test")
RANKS: Mapping[str, int] = {"vector": 1, "sequence": 2, "image": 3, "volume": 4}
ROUNDING = 2.0**-24  # how far storing a number as float32 moves it, relative to its size


@dataclass(frozen=True)
class Modality:
    """One input channel of a dataset.

    Shapes: vector (F,), sequence (T, F), image (channels, H, W), volume (channels, depth, H, W).
    Raises: ValueError if the letter is not one capital letter or the shape does not fit the kind.
    """

    name: str
    letter: str
    kind: Kind
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", text("name of a modality", self.name))
        if not isinstance(self.letter, str) or len(self.letter) != 1 or not self.letter.isupper():
            raise ValueError(f"letter of modality {self.name!r} must be one capital letter, got {self.letter!r}")
        if self.kind not in RANKS:
            raise ValueError(f"kind of modality {self.name!r} must be one of {', '.join(RANKS)}, got {self.kind!r}")
        sizes = tuple(self.shape) if isinstance(self.shape, Sequence) and not isinstance(self.shape, str) else ()
        whole = all(isinstance(size, Integral) and not isinstance(size, bool) for size in sizes)
        if len(sizes) != RANKS[self.kind] or not whole or min(sizes) < 1:
            raise ValueError(f"shape of {self.kind} modality {self.name!r} must have {RANKS[self.kind]} positive sizes, got {self.shape}")
        object.__setattr__(self, "shape", tuple(map(int, sizes)))


@dataclass(frozen=True, init=False, repr=False)
class Schema:
    """The modalities of a dataset, in their fixed order, and what is to be told of a row: its class, labels, or a value.

    The second argument is a `Target`, or the names of the classes. Raises: ValueError if there is no modality, there are fewer than two
    classes, or a name, letter, class or label is no text or comes twice.
    """

    modalities: tuple[Modality, ...]
    target: Target

    def __init__(
        self, modalities: Sequence[Modality], target: Target | Sequence[str] | None = None, *, classes: Sequence[str] | None = None
    ) -> None:
        asked = classes if target is None else target
        if asked is None or (target is not None and classes is not None):
            raise ValueError("a schema takes a target, or the names of its classes, and one of the two alone")
        if not isinstance(modalities, list | tuple):
            raise ValueError(f"modalities of a schema must be a tuple, got {kind_of(modalities)}; use tuple(...)")
        if not all(isinstance(one, Modality) for one in modalities):
            raise ValueError(f"modalities of a schema must be Modality values, got {', '.join(map(kind_of, modalities))}")
        object.__setattr__(self, "modalities", tuple(modalities))
        object.__setattr__(self, "target", target_of(asked))
        if not self.modalities or (isinstance(self.target, Classes) and self.outputs < 2):
            came = f"{len(self.modalities)} and {self.outputs}"
            raise ValueError(f"a schema needs a modality and two classes, got {came}")
        for what, values in (("names", self.names), ("letters", tuple(self.combination))):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} of a schema must be unique, got {', '.join(values)}")

    def __repr__(self) -> str:  # part of every fingerprint
        asked = f"classes={self.target.classes!r}" if isinstance(self.target, Classes) else f"target={self.target!r}"
        return f"Schema(modalities={self.modalities!r}, {asked})"

    @property
    def outputs(self) -> int:
        """Size of a method's last layer: classes, labels, or 1 for a value."""
        return self.target.outputs

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names. Raises: ValueError if what is asked for is no class; `outputs` is the size of a last layer for each kind."""
        if not isinstance(self.target, Classes):
            raise ValueError(
                f"this schema has no classes, its target is of kind {self.target.kind}; schema.outputs is the size of a last layer"
            )
        return self.target.classes

    def __len__(self) -> int:
        return len(self.modalities)

    def __iter__(self) -> Iterator[Modality]:
        return iter(self.modalities)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(modality.name for modality in self.modalities)

    @property
    def combination(self) -> str:
        """Letters of all modalities, in order."""
        return "".join(modality.letter for modality in self.modalities)

    def positions(self, combination: str) -> list[int]:
        """Positions of the letters of `combination`, in schema order.

        Raises: ValueError if a letter is unknown, repeated, or none is given.
        """
        unknown = sorted(set(combination) - set(self.combination))
        if unknown or not combination or len(set(combination)) != len(combination):
            raise ValueError(f"a combination takes letters of {self.combination!r}, each at most once, got {combination!r}")
        return [position for position, letter in enumerate(self.combination) if letter in combination]

    def subset(self, combination: str) -> Schema:
        return replace(self, modalities=tuple(self.modalities[position] for position in self.positions(combination)))


@dataclass(frozen=True)
class Samples:
    """Rows of a dataset as numpy arrays.

    Shapes: values[name] (N, *shape) float32; observed (N, M) bool, True = the value is there; target int64 (N,), the class, or as another
    kind of `schema.target` says: int64 (N, L), 1, 0 or -1 for each label, or float64 (N,), a value;
    ids (N,) str, unique; groups (N,) (patient, speaker, video) or None; split (N,) str, the official part of each row (`train`,
    `valid`, `test`; without `valid` the suite carves it from `train`), or None; lengths[name] (N,) int64 in [1, T], the steps of a
    sequence that are real (any number where it is not observed); a sequence not named there has no padding. All are plain numpy arrays;
    `ids`, `groups` and `split` name something in every row; arrays of objects are taken if these are all texts or all whole numbers.
    attributes[name] (N,) str: the group of each row, such as its sex or its site, '' where that is not known. Scores are told apart by
    them and nothing else is: no method sees them, and no split, mask or fingerprint depends on them (`bench.datasets.attributes`).
    Sequences start at step 0 and are padded at the end. A cell that is not observed, or padding, holds NaN (see `sealed`). An observed
    modality may hold NaN in single features; the loader fills those.
    Raises: ValueError if a shape, type or value breaks these rules.
    """

    schema: Schema
    values: Mapping[str, np.ndarray]
    observed: np.ndarray
    target: np.ndarray
    ids: np.ndarray
    groups: np.ndarray | None = None
    split: np.ndarray | None = None
    lengths: Mapping[str, np.ndarray] = field(default_factory=dict)
    blank: Mapping[str, int] = field(default_factory=dict)  # modality -> samples that `without_blanks` found without any value of it
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.schema.target.rows(self.target)
        if not isinstance(self.values, Mapping) or tuple(self.values) != self.schema.names:
            came = tuple(self.values) if isinstance(self.values, Mapping) else kind_of(self.values)
            raise ValueError(f"values must hold the modalities {self.schema.names}, in this order, got {came}")
        plain("observed", self.observed, n)
        if self.observed.dtype != bool or self.observed.shape != (n, len(self.schema)):
            raise ValueError(f"observed must be bool {(n, len(self.schema))}, got {self.observed.dtype} {self.observed.shape}")
        self.schema.target.check(self.target)
        for name, what in (("ids", "a sample"), ("groups", "a group"), ("split", "a part")):
            if name == "ids" or getattr(self, name) is not None:
                object.__setattr__(self, name, named(name, what, getattr(self, name), n))
        first = np.unique(self.ids, return_index=True)[1]
        if len(first) != n:
            twice = self.ids[np.setdiff1d(np.arange(n), first)[0]]
            rows = np.flatnonzero(self.ids == twice)
            raise ValueError(f"ids must be {n} unique values, got {twice.item()!r} in rows {rows[0]} and {rows[1]}")
        if self.split is not None and not set(self.split.tolist()) <= set(PARTS):
            row = next(row for row, part in enumerate(self.split.tolist()) if part not in PARTS)
            raise ValueError(f"split must name one of {', '.join(PARTS)} for each of {n} rows, got {self.split[row].item()!r} in row {row}")
        if not isinstance(self.lengths, Mapping):
            raise ValueError(f"lengths must be a mapping, modality -> numpy array, got {kind_of(self.lengths)}")
        for name, lengths in self.lengths.items():
            modality = {modality.name: modality for modality in self.schema}.get(name)
            if modality is None or modality.kind != "sequence":
                raise ValueError(f"lengths are of sequence modalities alone, got {name!r}")
            flat_column(f"lengths of {name}", lengths, n)
            if lengths.dtype != np.int64 or lengths.shape != (n,):
                raise ValueError(f"lengths of {name} must be int64 ({n},), got {lengths.dtype} {lengths.shape}")
            real = lengths[self.observed[:, self.schema.names.index(name)]]
            if len(real) and not 1 <= real.min() <= real.max() <= modality.shape[0]:
                raise ValueError(f"lengths of {name} must be in [1, {modality.shape[0]}], got {real.min()} to {real.max()}")
        object.__setattr__(self, "attributes", checked_attributes(self.attributes, n))
        if isinstance(self.values, Deferred):
            shapes = {modality.name: modality.shape for modality in self.schema}
            if self.values.shapes != shapes or len(self.values.index) != n:
                raise ValueError(f"values must be of {n} rows of the shapes {shapes}, got {self.values.shapes} of {len(self.values.index)}")
            return
        for modality in self.schema:
            array = plain(modality.name, self.values[modality.name], n)
            if array.dtype != np.float32 or array.shape != (n, *modality.shape):
                raise ValueError(f"{modality.name} must be float32 {(n, *modality.shape)}, got {array.dtype} {array.shape}")

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, index: np.ndarray) -> Samples:
        """The chosen rows, in the order given. Shapes: index (K,) int64 or (N,) bool."""
        values: Mapping[str, np.ndarray] = (
            self.values.rows(index) if isinstance(self.values, Deferred) else {name: array[index] for name, array in self.values.items()}
        )
        groups = None if self.groups is None else self.groups[index]
        split = None if self.split is None else self.split[index]
        lengths = {name: array[index] for name, array in self.lengths.items()}
        chosen = {"values": values, "observed": self.observed[index], "target": self.target[index], "ids": self.ids[index]}
        attributes = {name: column[index] for name, column in self.attributes.items()}
        chosen |= {"groups": groups, "split": split, "lengths": lengths, "blank": {}, "attributes": attributes}
        places = np.sort(np.arange(len(self))[index])
        if (places[1:] == places[:-1]).any():
            return replace(self, **chosen)  # which refuses it: a row comes twice
        return self._with(**chosen)

    def pieces(self) -> Iterator[Samples]:
        """The same rows, in order, large ones a few at a time: for a pass over values that are too large to be copied together."""
        if not isinstance(self.values, Deferred):
            yield self
            return
        for rows in blocks(len(self), (sum(math.prod(modality.shape) for modality in self.schema),), PIECE):
            yield self.rows(np.arange(rows.start, rows.stop))

    def _with(self, **changes: Any) -> Samples:
        """`dataclasses.replace` for what cannot break a rule: rows and values that have passed the checks are not checked again."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **changes)
        return made

    def in_strata(self) -> Samples:
        """The same rows with their stratum in the place of another target (`Target.strata`): for what looks at groups of rows."""
        if isinstance(self.schema.target, Classes):
            return self
        strata, names = self.schema.target.strata(self.target)
        used = np.union1d(strata, [0, 1])  # a value with many equal rows leaves some empty; a schema has two classes at least
        schema = replace(self.schema, target=Classes(tuple(names[k] for k in used)))
        return replace(self, schema=schema, target=np.searchsorted(used, strata).astype(np.int64))

    def unattributed(self) -> Samples:
        """The same rows without their attributes: what goes on towards a method."""
        return self._with(attributes={}) if self.attributes else self

    def untold(self) -> Samples:
        """The same rows with equal targets, which tell nothing of any: what a method that fits itself is asked about."""
        return replace(self, target=self.schema.target.blank(self.target))

    def select(self, combination: str) -> Samples:
        """The same rows with the modalities of `combination` alone."""
        positions = self.schema.positions(combination)
        schema = self.schema.subset(combination)
        values: Mapping[str, np.ndarray] = (
            self.values.only(schema.names) if isinstance(self.values, Deferred) else {name: self.values[name] for name in schema.names}
        )
        lengths = {name: self.lengths[name] for name in schema.names if name in self.lengths}
        return self._with(schema=schema, values=values, observed=self.observed[:, positions], lengths=lengths)

    def with_values(self, values: Mapping[str, np.ndarray]) -> Samples:
        """The same rows with other values of the modalities named, whose shapes the schema takes over.

        Shapes: values[name] (N, *shape) float32, of the rank of its kind. Raises: ValueError if a name is no modality.
        """
        unknown = [name for name in values if name not in self.schema.names]
        if unknown:
            raise ValueError(f"values may be of {', '.join(self.schema.names)} alone, got {', '.join(unknown)}")
        modalities = tuple(replace(m, shape=values[m.name].shape[1:]) if m.name in values else m for m in self.schema)
        return replace(self, schema=replace(self.schema, modalities=modalities), values={**self.values, **values})

    def hide(self, hidden: np.ndarray) -> Samples:
        """A sealed copy in which the cells of `hidden` are not observed. Shapes: hidden (N, M) bool. Raises: ValueError on others."""
        return self.without(hidden).sealed()

    def without(self, hidden: np.ndarray) -> Samples:
        """The same rows and values, the cells of `hidden` not observed. Shapes: hidden (N, M) bool. Raises: ValueError on others."""
        if hidden.dtype != bool or hidden.shape != self.observed.shape:
            raise ValueError(f"hidden must be bool {self.observed.shape}, got {hidden.dtype} {hidden.shape}")
        return self._with(observed=self.observed & ~hidden)

    def changed(self, change: Change) -> Samples:
        """A sealed copy with values that `change` makes of a modality's, of the same shape; those of large data once they are asked for.

        Shapes: change(name, values (K, *shape), rows (K,) int64) -> (K, *shape) float32; it may not write into small values.
        """
        if isinstance(self.values, Deferred):
            return self._with(values=self.values.then(change)).sealed()
        everyone = np.arange(len(self))
        return self._with(values={name: change(name, array, everyone) for name, array in self.values.items()}).sealed()

    def cut(self, name: str, start: np.ndarray, count: np.ndarray) -> Samples:
        """A sealed copy without some steps of a sequence: later ones move up, so that padding takes the place at the end.

        Shapes: start, count (N,) int64: `count` steps from `start` on, inside the real ones, of which one at least is left.
        """
        steps = {modality.name: modality.shape[0] for modality in self.schema}[name]
        real = self.lengths.get(name, np.full(len(self), steps, dtype=np.int64))

        def move_up(other: str, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
            if other != name:
                return array
            place = np.arange(steps)
            source = place + count[rows, None] * (place >= start[rows, None])  # (K, T)
            moved = np.take_along_axis(array, np.minimum(source, steps - 1)[..., None], 1)
            moved[source >= steps] = np.nan
            return moved

        return self.changed(move_up)._with(lengths={**self.lengths, name: real - count}).sealed()

    def held(self) -> Samples:
        """The same rows with all values in memory, as plain arrays."""
        return self._with(values=dict(self.values)) if isinstance(self.values, Deferred) else self

    def deferred(self) -> Samples:
        """The same rows with values that are made for those who ask (`bench.datasets.deferred`)."""
        return self if isinstance(self.values, Deferred) else self._with(values=Stored(self.values))

    def sealed(self) -> Samples:
        """A copy in which every cell that is not observed holds NaN, so that reading it cannot go unnoticed."""
        if isinstance(self.values, Deferred):
            return self._with(values=self.values.then(self._seal))
        rows = np.arange(len(self))
        return self._with(values={name: self._seal(name, array.copy(), rows) for name, array in self.values.items()})

    def _seal(self, name: str, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The values of some rows, written into. Shapes: array (K, *shape), rows (K,) int64."""
        array[~self.observed[rows, self.schema.names.index(name)]] = np.nan
        if name in self.lengths:
            array[np.arange(array.shape[1]) >= self.lengths[name][rows, None]] = np.nan
        return array

    def without_blanks(self) -> Samples:
        """The same rows, where a modality that holds no value in a row, padding aside, is not observed there; `blank` counts them."""
        return self.looked_over()[0]

    def fingerprint(self) -> str:
        """SHA-256 over schema, values, masks, targets, ids and groups: equal if and only if what a trial works with is equal.

        Attributes are no part of it: they move no trial, so stating more of them asks for none anew.
        """
        return self._digest(lambda *_: None, np.zeros_like(self.observed))

    def looked_over(self, see: Callable[[str, np.ndarray, slice], None] = lambda *_: None) -> tuple[Samples, str]:
        """The same rows `without_blanks`, and their fingerprint, from one pass over the values.

        `see` is given what the pass reads, block by block: a modality, sealed values of some rows, which rows. It writes nothing into them.
        """
        blank = np.zeros_like(self.observed)

        def watch(name: str, array: np.ndarray, rows: slice) -> None:
            position = self.schema.names.index(name)
            first = array.reshape(len(array), math.prod(array.shape[1:]))[:, 0]
            suspects = np.flatnonzero(np.isnan(first) & self.observed[rows, position])
            blank[rows.start + suspects, position] = np.isnan(array[suspects]).all(tuple(range(1, array.ndim)))
            see(name, array, rows)

        found = self._digest(watch, blank)
        if not blank.any():
            return self, found
        counts = {name: int(count) for name, count in zip(self.schema.names, blank.sum(0), strict=True) if count}
        return replace(self, observed=self.observed & ~blank, blank=counts), found

    def in_blocks(self, name: str) -> Iterator[tuple[slice, np.ndarray]]:
        """A pass over the sealed values of a modality: some rows, and their values (K, *shape), to be read alone."""
        position, shape = self.schema.names.index(name), self.schema.modalities[self.schema.names.index(name)].shape
        is_sealed = bool(self.observed[:, position].all()) and name not in self.lengths
        for rows in blocks(len(self), shape):
            array = self.values.block(name, rows) if isinstance(self.values, Deferred) else self.values[name][rows]
            yield rows, array if is_sealed else self._seal(name, array.copy(), np.arange(rows.start, rows.stop))

    def _digest(self, watch: Callable[[str, np.ndarray, slice], None], blank: np.ndarray) -> str:
        """The fingerprint with the cells of `blank` not observed, which `watch` may still mark in the rows it is given."""
        digest = hashlib.sha256(repr(self.schema).encode())
        for position, name in enumerate(self.schema.names):
            for rows, array in self.in_blocks(name):
                watch(name, array, rows)
                if blank[rows, position].any():  # a sealed cell holds NaN of one kind
                    array = np.where(blank[rows, position].reshape(-1, *[1] * (array.ndim - 1)), np.float32(np.nan), array)
                digest.update(np.ascontiguousarray(array).data)
        observed = self.observed & ~blank
        digest.update(observed.tobytes() + self.target.tobytes())
        for name, lengths in self.lengths.items():
            digest.update(name.encode() + np.where(observed[:, self.schema.names.index(name)], lengths, 0).tobytes())
        if self.split is not None:
            digest.update("\n".join(self.split.tolist()).encode())
        for column in (self.ids, self.groups):
            digest.update("\n".join(map(str, column)).encode() if column is not None else b"none")
        return digest.hexdigest()


@dataclass(frozen=True)
class Batch:
    """Rows of a dataset as tensors: all that a method sees.

    Shapes: inputs[name] (B, *shape) float32; observed (B, M) bool; target (B,) int64 of classes, (B, L) int64 of labels, (B,) float32 of a
    value, in training standardised by the training rows; index (B,) int64, the row in its part.
    lengths[name] (B,) int64: real steps of a sequence modality, whose padding stands at the end; absent where there is no padding.
    Sealed: cells that are not observed, and padding, hold NaN. In evaluation every target is -1, of a
    value NaN: what is to be told is there in training alone.
    """

    inputs: Mapping[str, Tensor]
    observed: Tensor
    target: Tensor
    index: Tensor
    lengths: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device | str) -> Batch:
        inputs = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        lengths = {name: tensor.to(device) for name, tensor in self.lengths.items()}
        return Batch(inputs, self.observed.to(device), self.target.to(device), self.index.to(device), lengths)

    def rows(self, index: Tensor) -> Batch:
        """The chosen rows, in the order given. Shapes: index (K,) int64 or (B,) bool."""
        inputs = {name: tensor[index] for name, tensor in self.inputs.items()}
        lengths = {name: tensor[index] for name, tensor in self.lengths.items()}
        return Batch(inputs, self.observed[index], self.target[index], self.index[index], lengths)


def as_batch(samples: Samples, device: torch.device | str = "cpu") -> Batch:
    """All rows of `samples` as one sealed batch; `index` counts them from 0."""
    import torch

    inputs = {name: torch.from_numpy(array) for name, array in samples.sealed().values.items()}
    observed, target = torch.from_numpy(samples.observed), torch.from_numpy(samples.schema.target.batched(samples.target))
    lengths = {name: torch.from_numpy(array) for name, array in samples.lengths.items()}
    return Batch(inputs, observed, target, torch.arange(len(samples)), lengths).to(device)


class DataError(ValueError):
    """Data that are absent, damaged or not what they should be; the message says what, the rule, what came, and the way on."""


class Dataset:
    """One source of samples. A subclass states its facts as class attributes and writes `load`.

    `parts` gives the split that the samples bring, if there is one; otherwise the suite splits 70/15/15. `split_kind` says whose it is,
    in the word before "split": official (of the data's source), fixed (a rule of this suite), or the name of another author.
    `posterior` exists for synthetic data alone: the best prediction there is, which makes the ceiling row.
    """

    title: str = ""  # one line for lists and leaderboards
    source: str = ""  # where the data come from, with citation
    licence: str = ""
    synthetic: ClassVar[bool] = False  # True is printed wherever the data are shown
    public_ids: bool = False  # True: its ids are row numbers or published names; otherwise only salted hashes of them are published
    public_attributes: bool = False  # True: attributes of test rows, and scores by their groups, may be published
    restricted: bool = False  # True: its owners forbid publishing what is derived of it, row by row
    split_kind: str = "official"  # whose split it is, where `parts` gives one
    keeps_groups: bool = True  # a split never parts the rows of one group; False: groups only say where a row comes from
    options: ClassVar[Mapping[str, object]] = {}  # keyword arguments of __init__ with their defaults
    facts: Mapping[str, str] = {}  # what else its card says, name -> text; `load` may state some
    indicators: bool = False  # True: `learn` gives columns with gaps in training rows another one that says so
    learns: bool = True  # False: with these options it learns nothing, as if it had no `learn`
    learns_by: str = ""  # what `learn` goes by that is neither in its code nor in the samples nor an option, such as a file
    column_names: Mapping[str, Sequence[str]] = {}  # modality -> names of the values of its vectors, or of its features; for messages alone

    def load(self) -> Samples:
        """All samples, before any splitting, scaling or hiding."""
        raise TypeError(f"{type(self).__name__} must define load(self) -> Samples")

    def parts(self, samples: Samples) -> Mapping[str, np.ndarray] | None:
        """Row indices of the dataset's own split by part, or None; without `valid` the suite carves one from `train`."""
        if samples.split is None:
            return None
        return {part: np.flatnonzero(samples.split == part) for part in PARTS if (samples.split == part).any()}

    def posterior(self, samples: Samples) -> np.ndarray | None:
        """P(class | observed values) (N, C), P(label | ...) (N, L) or E(value | ...) (N, 1) where it is known in closed form, else None.

        Samples come as `load` gives them.
        """
        return None

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        """What must be learnt from data before a method can read them (a vocabulary, a cut of rare terms, their weights); None: nothing.

        `train` holds the training rows of a trial as far as its method may see them: hidden and sealed, not scaled. What comes back is
        called with the rows of each part and gives them with other values: each row changed by itself, all rows to the same shapes.
        It keeps ids, target, groups, split, what is observed, and the names, letters and kinds of the modalities and the target
        (`Samples.with_values` does).
        """
        return None


def varies(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Whether features vary beyond what rounding to float32 makes of a constant: an SD above 2^-24 of their root mean square.

    The one rule of what is constant. It looks at a feature's own size, so that other units (a feature times any number) change nothing.
    Shapes: any, as of its arguments -> bool; False for NaN.
    """
    return sd > ROUNDING * np.hypot(mean, sd)


def divisor(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """What a centred feature is divided by: its SD, and infinity where it does not vary (see `varies`), which makes 0 of any value.

    Where a feature is constant there is no unit to measure another value in, and nothing was learnt of one. Shapes: as of its arguments.
    """
    return np.where(varies(mean, sd), sd, np.inf)


def columns_of(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Positions of `wanted` in `names`. Raises: ValueError naming those that are not there."""
    absent = [name for name in wanted if name not in names]
    if absent:
        raise ValueError(f"columns {', '.join(absent)} are not in the source; it has {', '.join(names)}")
    return [list(names).index(name) for name in wanted]

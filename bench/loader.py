"""From a dataset to what a method sees: splits, masks, scaling fitted on train, sealed batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from bench import registry
from bench.datasets.base import Dataset, Samples, Schema
from bench.errors import UsageError
from bench.protocol import PARTS, Protocol, mask_hash, mask_keys
from bench.seeds import number
from bench.spec import Choice

VALID_SHARE = TEST_SHARE = 0.15
_loaded: dict[str, Samples] = {}  # filled in the fork server alone, so that its trials find the samples in memory


def load(choice: Choice) -> tuple[Dataset, Samples]:
    """A dataset and its samples, from memory where the fork server has loaded them.

    Raises: UsageError if the dataset does not load, whatever its code raised.
    """
    dataset = registry.dataset_of(choice)
    found = _loaded.get(str(choice))
    if found is not None:
        return dataset, found
    try:
        samples = dataset.load()
    except Exception as error:
        raise UsageError(f"dataset {str(choice)!r} does not load: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(samples, Samples):
        raise UsageError(f"load of dataset {str(choice)!r} must return Samples, got {type(samples).__name__}")
    return dataset, samples


def preload(choice: Choice) -> None:
    """Load a dataset into memory for the trials to come. One that does not load fails in its trials, with its reason."""
    with suppress(UsageError):
        _loaded[str(choice)] = load(choice)[1]


@dataclass(frozen=True)
class Parts:
    """The three split parts, hidden, scaled and sealed, and what was done to get them."""

    train: Samples
    valid: Samples
    test: Samples
    raw_test: Samples  # hidden and sealed but not scaled: what a known posterior needs
    missing: Mapping[str, float]  # part -> share of cells not observed after hiding
    masks: Mapping[str, str]  # part -> hash of its observed mask

    def part(self, name: str) -> Samples:
        return getattr(self, name)


def build_parts(
    dataset: Dataset, samples: Samples, combination: str, protocol: Protocol, seed: int, fixed_seed: int, vary: str, test: bool = True
) -> Parts:
    """Split, hide, scale and seal. With `test=False` the test part is empty: none of its rows is looked up.

    The split and the valid and test masks come from `fixed_seed`, the training mask from `seed`; `vary="split"` takes all from `seed`.
    Rows that observe nothing of the combination leave the training part; elsewhere they stay and must be predicted.
    """
    root = seed if vary == "split" else fixed_seed
    rows = split_rows(dataset, samples, root)
    if not test:
        rows["test"] = rows["test"][:0]
    positions = samples.schema.positions(combination)
    chosen = samples.select(combination)
    hidden_parts = {}
    for part in PARTS:
        keys = mask_keys(seed if part == "train" else root, part, len(samples), len(samples.schema))[:, positions]
        part_samples = chosen.rows(rows[part])
        hidden = protocol.part(part).hidden(part_samples.observed, keys[rows[part]], chosen.schema)
        hidden_parts[part] = part_samples.hide(hidden)
    train = hidden_parts["train"]
    hidden_parts["train"] = train = train.rows(np.flatnonzero(train.observed.any(1)))
    if not len(train):
        raise UsageError(f"no training row observes any of combination {combination!r}; choose another combination or protocol")
    scaler = Scaler(train)
    return Parts(
        **{part: scaler(hidden_parts[part]) for part in PARTS},
        raw_test=hidden_parts["test"],
        missing={part: float(1 - hidden_parts[part].observed.mean()) for part in PARTS if len(hidden_parts[part])},
        masks={part: mask_hash(hidden_parts[part].observed) for part in PARTS},
    )


def split_rows(dataset: Dataset, samples: Samples, seed: int) -> dict[str, np.ndarray]:
    """Row indices of each part: the official split, or 70/15/15 stratified by class, or by group where samples have groups.

    Raises: UsageError if a class is too small to be in every part, or an official split overlaps.
    """
    official = dataset.parts(samples)
    if official is not None:
        rows = {part: np.sort(np.asarray(official[part])) for part in PARTS}
        together = np.concatenate(list(rows.values()))
        if len(np.unique(together)) != len(together):
            raise UsageError(f"official split of {dataset.title!r} puts a row into two parts; repair the dataset's `parts`")
        return rows
    everything, state = np.arange(len(samples)), number(seed, "split") % 2**32
    if samples.groups is not None:
        rest, test = next(GroupShuffleSplit(1, test_size=TEST_SHARE, random_state=state).split(everything, groups=samples.groups))
        again = GroupShuffleSplit(1, test_size=VALID_SHARE / (1 - TEST_SHARE), random_state=state)
        train, valid = next(again.split(rest, groups=samples.groups[rest]))
        return {"train": rest[train], "valid": np.sort(rest[valid]), "test": np.sort(test)}
    smallest = np.bincount(samples.target, minlength=len(samples.schema.classes))
    if smallest[smallest > 0].min() < 4:
        raise UsageError(
            f"a stratified split needs 4 rows of every class, got {smallest.min()} of {samples.schema.classes[smallest.argmin()]!r}"
        )
    rest, test = train_test_split(everything, test_size=TEST_SHARE, stratify=samples.target, random_state=state)
    train, valid = train_test_split(rest, test_size=VALID_SHARE / (1 - TEST_SHARE), stratify=samples.target[rest], random_state=state)
    return {"train": np.sort(train), "valid": np.sort(valid), "test": np.sort(test)}


class Scaler:
    """Standardises every feature with mean and SD of the observed training cells; single missing features become the mean.

    The SD of a feature that does not vary is taken as 1. Statistics are per feature of a vector or sequence, per channel of an
    image or volume.
    """

    def __init__(self, train: Samples) -> None:
        self.statistics = {}
        for position, modality in enumerate(train.schema):
            seen = train.values[modality.name][train.observed[:, position]].astype(np.float64)
            axes = _reduced_axes(modality.kind, seen.ndim)
            if not len(seen):  # never observed in train: nothing to fit
                seen = np.zeros((1, *modality.shape))
            count = np.isfinite(seen).sum(axes, keepdims=True)
            mean = np.where(count > 0, np.nansum(seen, axes, keepdims=True) / np.maximum(count, 1), 0.0)
            variance = np.nansum((seen - mean) ** 2, axes, keepdims=True) / np.maximum(count, 1)
            self.statistics[modality.name] = (mean, np.sqrt(np.where(variance > 1e-12, variance, 1.0)))

    def __call__(self, samples: Samples) -> Samples:
        values = {}
        for position, (name, array) in enumerate(samples.values.items()):
            mean, sd = self.statistics[name]
            scaled = ((array - mean) / sd).astype(np.float32)
            gap = np.isnan(scaled) & samples.observed[:, position].reshape(-1, *([1] * (array.ndim - 1)))
            scaled[gap] = 0.0
            if np.isinf(scaled).any():
                raise UsageError(f"modality {name!r} holds infinite values; the dataset's `load` must replace or drop them")
            values[name] = scaled
        return replace(samples, values=values).sealed()


def _reduced_axes(kind: str, dimensions: int) -> tuple[int, ...]:
    """Axes over which one statistic is taken: rows, and time or space where there is some."""
    if kind in ("image", "volume"):
        return (0, *range(2, dimensions))
    return (0, 1) if kind == "sequence" else (0,)


def batch_rows(rows: int, batch_size: int, generator: np.random.Generator | None = None) -> Iterator[np.ndarray]:
    """Row indices of each batch, shuffled if a generator is given. A last batch of one row joins the batch before it.

    >>> [len(batch) for batch in batch_rows(9, 4)]
    [4, 5]
    """
    order = np.arange(rows) if generator is None else generator.permutation(rows)
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1 and batch_size > 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], rows], strict=True):
        yield order[start:end]


def schema_of(dataset: Dataset, samples: Samples, combination: str) -> Schema:
    """The schema with the modalities of a combination; `all` stands for every letter. Raises: UsageError."""
    letters = samples.schema.combination if combination == "all" else combination
    try:
        return samples.schema.subset(letters)
    except ValueError as error:
        raise UsageError(f"{error} ({dataset.title})") from None

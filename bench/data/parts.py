"""From a dataset to what a method sees: splits, masks, scaling fitted on train, sealed batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from bench.data.protocol import PARTS, Draws, Protocol, Rule, mask_hash
from bench.datasets.base import Dataset, Samples
from bench.errors import UsageError
from bench.seeds import number

VALID_SHARE = TEST_SHARE = 0.15


@dataclass(frozen=True)
class Evaluation:
    """The test part under one rule."""

    samples: Samples  # hidden, scaled and sealed
    raw: Samples  # hidden and sealed but not scaled: what a known posterior needs
    missing: float  # share of cells not observed after hiding
    mask: str  # hash of the observed mask


@dataclass(frozen=True)
class Parts:
    """The three split parts, hidden, scaled and sealed, and what was done to get them."""

    train: Samples
    valid: Samples
    test: Samples
    raw_test: Samples  # hidden and sealed but not scaled: what a known posterior needs
    missing: Mapping[str, float]  # part -> share of cells not observed after hiding
    masks: Mapping[str, str]  # part -> hash of its observed mask
    unseen: tuple[str, ...]  # modalities that no training row observes, hidden everywhere
    test_under: Callable[[Rule], Evaluation]  # the same test rows and scaling under another rule

    def part(self, name: str) -> Samples:
        return getattr(self, name)


def build_parts(
    dataset: Dataset, samples: Samples, combination: str, protocol: Protocol, seed: int, fixed_seed: int, vary: str, test: bool = True
) -> Parts:
    """Split, hide, scale and seal. With `test=False` the test part is empty: none of its rows is looked up.

    The split and the valid and test masks come from `fixed_seed`, the training mask from `seed`; `vary="split"` takes all from `seed`.
    Rows that observe nothing of the combination leave the training part; elsewhere they stay and must be predicted. A modality that no
    training row observes is hidden in the other parts too: nothing can be learnt about it, and no method shall feed it to an
    encoder that was never trained.
    Raises: UsageError if the protocol cannot act on these samples or no training row is left.
    """
    root = seed if vary == "split" else fixed_seed
    rows = split_rows(dataset, samples, root)
    if not test:
        rows["test"] = rows["test"][:0]
    chosen = samples.select(combination)
    protocol = protocol.on(chosen.schema, samples.groups is not None)

    def hide(part: str, rule: Rule) -> Samples:
        found = chosen.rows(rows[part])
        draws = Draws(seed if part == "train" else root, part, samples.schema, len(samples), rows[part])
        return found.hide(~rule.left(found, draws, lambda: chosen.rows(rows["train"])))

    hidden_parts = {part: hide(part, protocol.part(part)) for part in PARTS}
    train = hidden_parts["train"]
    hidden_parts["train"] = train = train.rows(np.flatnonzero(train.observed.any(1)))
    if not len(train):
        raise UsageError(f"no training row observes any of combination {combination!r}; choose another combination or protocol")
    unseen = np.asarray(~train.observed.any(0))  # (M,)
    if unseen.any():
        hidden_parts |= {part: hidden_parts[part].hide(np.tile(unseen, (len(hidden_parts[part]), 1))) for part in ("valid", "test")}
    scaler = Scaler(train)

    def test_under(rule: Rule) -> Evaluation:
        raw = hide("test", rule.on(chosen.schema, samples.groups is not None))
        raw = raw.hide(np.tile(unseen, (len(raw), 1))) if unseen.any() else raw
        return Evaluation(scaler(raw), raw, float(1 - raw.observed.mean()), mask_hash(raw.observed))

    return Parts(
        **{part: scaler(hidden_parts[part]) for part in PARTS},
        raw_test=hidden_parts["test"],
        missing={part: float(1 - hidden_parts[part].observed.mean()) for part in PARTS if len(hidden_parts[part])},
        masks={part: mask_hash(hidden_parts[part].observed) for part in PARTS},
        unseen=tuple(name for name, is_unseen in zip(chosen.schema.names, unseen, strict=True) if is_unseen),
        test_under=test_under,
    )


def split_rows(dataset: Dataset, samples: Samples, seed: int) -> dict[str, np.ndarray]:
    """Row indices of each part: the official split, or 70/15/15 by whole groups where there are some, else stratified by class.

    An official split without a validation part gets one from its training part, cut in the same way.
    Raises: UsageError if a class is too small to be in every part, or an official split overlaps.
    """
    official, state = dataset.parts(samples), number(seed, "split") % 2**32
    if official is not None:
        rows = {part: np.sort(np.asarray(official[part])) for part in PARTS if part in official}
        if "valid" not in rows:
            train, valid = _cut(dataset, samples, rows["train"], VALID_SHARE / (1 - TEST_SHARE), state)
            rows["train"], rows["valid"] = np.sort(train), np.sort(valid)
        together = np.concatenate(list(rows.values()))
        if len(np.unique(together)) != len(together):
            raise UsageError(f"official split of {dataset.title!r} puts a row into two parts; repair the dataset's `parts`")
        return rows
    everything = np.arange(len(samples))
    rest, test = _cut(dataset, samples, everything, TEST_SHARE, state)
    train, valid = _cut(dataset, samples, rest, VALID_SHARE / (1 - TEST_SHARE), state)
    return {"train": np.sort(train), "valid": np.sort(valid), "test": np.sort(test)}


def _cut(dataset: Dataset, samples: Samples, rows: np.ndarray, share: float, state: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a share off some rows: whole groups where the dataset keeps them together, else stratified by class."""
    if samples.groups is not None and dataset.keeps_groups:
        first, second = next(GroupShuffleSplit(1, test_size=share, random_state=state).split(rows, groups=samples.groups[rows]))
        return rows[first], rows[second]
    counts = np.bincount(samples.target[rows], minlength=len(samples.schema.classes))
    smallest = np.where(counts > 0, counts, len(rows) + 1).argmin()
    if counts[smallest] < 2:
        raise UsageError(
            f"a stratified split needs 4 rows of every class, got {counts[smallest]} of {samples.schema.classes[smallest]!r} to cut in two"
        )
    first, second = train_test_split(rows, test_size=share, stratify=samples.target[rows], random_state=state)
    return first, second


class Scaler:
    """Standardises every feature with mean and SD of the observed training cells; single missing features become the mean.

    The SD of a feature that does not vary is taken as 1. Statistics are per feature of a vector or sequence, per channel of an
    image or volume. Samples come sealed: padded steps hold NaN, so they are part of no statistic, and they stay NaN.
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

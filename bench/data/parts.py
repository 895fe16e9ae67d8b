"""From a dataset to what a method sees: splits, masks, what is learnt and scaled on train, sealed batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.data.learning import Learnt
from bench.data.moments import in_blocks, of_rows
from bench.data.protocol import PARTS, Draws, Protocol, Rule, mask_hash
from bench.data.splits import noticed, split_rows
from bench.datasets.base import Dataset, Samples, Schema, divisor
from bench.datasets.deferred import PIECE, SMALL, Deferred, blocks, size_of
from bench.errors import UsageError
from bench.text import sample_name


@dataclass(frozen=True)
class Part:
    """The rows of one split part under one rule."""

    samples: Samples  # hidden, learnt, scaled and sealed: what a method gets
    missing: float | None  # share of cells not observed after hiding, None without rows
    mask: str  # hash of the observed mask
    raw: Samples | None = None  # of the test part alone, hidden and sealed, else as `load` gave it: what a known posterior needs

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class Parts:
    """The three split parts, and what it takes to see the test part under another rule."""

    train: Part
    valid: Part
    test: Part
    unseen: tuple[str, ...]  # modalities that no training row observes, hidden everywhere
    hider: Hider = field(repr=False)
    learnt: Learnt = field(repr=False)
    scaler: Scaler = field(repr=False)
    notes: tuple[str, ...] = ()  # what a reader must know of the samples and their split; empty without a test part

    def named(self) -> dict[str, Part]:
        """Each part by its name, in order."""
        return {name: getattr(self, name) for name in PARTS}

    @property
    def missing(self) -> dict[str, float]:
        """Share of missing cells of each part that has rows."""
        return {name: part.missing for name, part in self.named().items() if part.missing is not None}

    @property
    def natural(self) -> np.ndarray | None:
        """What the test rows have before any rule hides some, (N, M) bool; None where that is all."""
        observed = self.hider.samples.observed[self.hider.rows["test"]]
        return None if observed.all() else observed

    def under(self, rule: Rule) -> Part:
        """The test part under another rule: the same rows, learnt and scaled alike. Raises: UsageError if the rule cannot act on them."""
        hidden = _unseen_hidden(self.hider("test", rule), self.unseen)
        return _part(hidden, self.learnt(hidden), self.scaler, rule, keep_raw=True)


def build_parts(
    dataset: Dataset, samples: Samples, combination: str, protocol: Protocol, seed: int, fixed_seed: int, vary: str, test: bool = True
) -> Parts:
    """Split, hide, learn, scale and seal. With `test=False` the test part is empty: none of its rows is looked up.

    The split and the valid and test masks come from `fixed_seed`, the training mask from `seed`; `vary="split"` takes all from `seed`.
    Rows that observe nothing of the combination leave the training part; elsewhere they stay and must be predicted. A modality that no
    training row observes is hidden in the other parts too: nothing can be learnt about it, and no method shall feed it to an
    encoder that was never trained. Attributes end here: what is hidden, learnt and scaled has none.
    Raises: UsageError if the protocol cannot act on these samples, no training row is left, or the dataset cannot learn from them.
    """
    root = seed if vary == "split" else fixed_seed
    rows = split_rows(dataset, samples, root)
    notes = noticed(dataset, samples, rows) if test else ()
    if not test:
        rows["test"] = rows["test"][:0]
    chosen, learns = samples.unattributed().select(combination), type(dataset).learn is not Dataset.learn
    chosen = chosen.held() if learns or size_of(chosen.values) <= SMALL else chosen.deferred()
    hider = Hider(chosen, samples.schema, rows, {"train": seed, "valid": root, "test": root})
    protocol = protocol.on(hider.samples.schema, samples.groups is not None)  # refused before anything is drawn
    train = hider("train", protocol.train)
    seen = np.flatnonzero(train.observed.any(1))
    train = train.rows(seen)
    if not len(train):
        raise UsageError(f"no training row observes any of combination {combination!r}; choose another combination or protocol")
    unseen = tuple(train.schema.names[column] for column in np.flatnonzero(~train.observed.any(0)))
    learnt = Learnt(dataset, train)
    shown = learnt(train)
    scaler = Scaler(shown, None if protocol.train.cuts else chosen, rows["train"][seen])  # a row's known moments are of all its steps
    valid, tested = (_unseen_hidden(hider(part, protocol.part(part)), unseen) for part in ("valid", "test"))
    seen_train = _part(train, shown, scaler, protocol.train)
    seen_valid = _part(valid, learnt(valid), scaler, protocol.valid)
    seen_test = _part(tested, learnt(tested), scaler, protocol.test, keep_raw=True)
    return Parts(seen_train, seen_valid, seen_test, unseen, hider, learnt, scaler, notes)


def _part(hidden: Samples, learnt: Samples, scaler: Scaler, rule: Rule, keep_raw: bool = False) -> Part:
    missing = float(1 - hidden.observed.mean()) if len(hidden) else None
    names = [hidden.schema.names[position] for position in (hidden.schema.positions(rule.cuts) if rule.cuts else ())]
    mask = mask_hash(hidden.observed, (hidden.lengths[name] for name in names))
    return Part(scaler(learnt), missing, mask, hidden if keep_raw else None)


def _unseen_hidden(samples: Samples, unseen: tuple[str, ...]) -> Samples:
    """The same rows without the modalities that no training row observes."""
    return samples.hide(np.tile(np.isin(samples.schema.names, unseen), (len(samples), 1))) if unseen else samples


@dataclass(frozen=True)
class Hider:
    """Hides cells in the rows of a part, by any rule, with the random numbers of the part."""

    samples: Samples  # of the combination, nothing hidden
    schema: Schema  # of the whole dataset
    rows: Mapping[str, np.ndarray]  # part -> its rows
    seeds: Mapping[str, int]  # part -> the seed of its masks

    def __call__(self, part: str, rule: Rule) -> Samples:
        """The rows of a part, hidden and sealed. Raises: UsageError if the rule cannot act on them."""
        found = self.samples.rows(self.rows[part])
        draws = Draws(self.seeds[part], part, self.schema, len(self.samples), self.rows[part])
        rule = rule.on(self.samples.schema, self.samples.groups is not None)
        return rule.applied(found, draws, lambda: self.samples.rows(self.rows["train"])).sealed()


class Scaler:
    """Standardises every feature with mean and SD of the observed training cells; single missing features become the mean.

    A feature that does not vary in training is 0 everywhere. Statistics are per feature of a vector or sequence, per channel of an image
    or volume. Samples come sealed: padded steps hold NaN, so they are part of no statistic, and they stay NaN. Large values are scaled when
    they are asked for, and the statistics of those that are known by row are put together from what is known: both agree with what
    is done to small ones to float32 rounding.
    Raises: UsageError on infinite values, and on one so far from the training mean that it has no float32 once it is scaled; of large
    values once they are asked for.
    """

    def __init__(self, train: Samples, source: Samples | None = None, rows: np.ndarray | None = None) -> None:
        """Of large values, `rows` (N,) int64 says which rows of `source`, where nothing is hidden, the training rows are."""
        self.statistics = {}
        for position, modality in enumerate(train.schema):
            if isinstance(train.values, Deferred):
                mean, variance = _deferred_statistics(train, position, source, rows)
            else:
                mean, variance = _statistics(train, position)
            self.statistics[modality.name] = (mean, divisor(mean, np.sqrt(variance)))

    def __call__(self, samples: Samples) -> Samples:
        def scale(name: str, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return self._scaled(name, array, samples.observed[rows, samples.schema.names.index(name)], samples.ids[rows])

        return samples.changed(scale)

    def _scaled(self, name: str, array: np.ndarray, observed: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The values of some rows, scaled. Shapes: array (K, *shape), observed (K,) bool, ids (K,)."""
        mean, sd = self.statistics[name]
        _check_finite(name, array, ids)
        scaled = np.empty(array.shape, dtype=np.float32)
        with np.errstate(over="ignore"):
            for rows in blocks(len(array), array.shape[1:], PIECE):  # in double precision, which of all rows at once would take much memory
                scaled[rows] = (array[rows] - mean) / sd
        gap = np.isnan(scaled) & observed.reshape(-1, *([1] * (array.ndim - 1)))
        scaled[gap] = 0.0
        if np.isinf(scaled).any():
            raise UsageError(
                f"modality {name!r} holds a value that is {np.finfo(np.float32).max:.0e} SDs and more from its training mean; the "
                "dataset's `load` must replace or drop it"
            )
        return scaled


def _statistics(train: Samples, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a modality over the training cells that observe it, with as many axes as its values."""
    modality = train.schema.modalities[position]
    _check_finite(modality.name, train.values[modality.name], train.ids)
    seen = train.values[modality.name][train.observed[:, position]].astype(np.float64)
    axes = _reduced_axes(modality.kind, seen.ndim)
    if not len(seen):  # never observed in train: nothing to fit
        seen = np.zeros((1, *modality.shape))
    count = np.isfinite(seen).sum(axes, keepdims=True)
    mean = np.where(count > 0, np.nansum(seen, axes, keepdims=True) / np.maximum(count, 1), 0.0)
    return mean, np.nansum((seen - mean) ** 2, axes, keepdims=True) / np.maximum(count, 1)


def _deferred_statistics(train: Samples, position: int, source: Samples | None, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The same from moments: those of each row where they are kept, else of blocks of rows."""
    assert isinstance(train.values, Deferred)
    modality = train.schema.modalities[position]
    seen = np.flatnonzero(train.observed[:, position])
    known = None if source is None else of_rows(source, modality)
    if known is not None:
        assert rows is not None
        found = known.rows(rows[seen])
        _refuse_infinite(modality.name, ~np.isfinite(found.mean).all(1), train.ids[seen])
        whole = found.joined()
    else:
        whole = in_blocks(modality, train.values, seen)
        if not np.isfinite(whole.mean).all():  # now it is worth another look which row it is
            for block in blocks(len(seen), modality.shape):
                _check_finite(modality.name, train.values.take(modality.name, seen[block]), train.ids[seen[block]])
    axes = _reduced_axes(modality.kind, 1 + len(modality.shape))
    shape = [1 if axis in axes else size for axis, size in enumerate((1, *modality.shape))]
    return whole.mean.reshape(shape), (whole.scatter / np.maximum(whole.number, 1)).reshape(shape)


def _check_finite(name: str, array: np.ndarray, ids: np.ndarray) -> None:
    _refuse_infinite(name, np.isinf(array).any(tuple(range(1, array.ndim))), ids)


def _refuse_infinite(name: str, infinite: np.ndarray, ids: np.ndarray) -> None:
    if infinite.any():
        raise UsageError(
            f"modality {name!r} holds infinite values, first in {sample_name(ids[infinite.argmax()])}; the dataset's `load` must replace "
            "them, or leave NaN where a value is missing"
        )


def _reduced_axes(kind: str, dimensions: int) -> tuple[int, ...]:
    """Axes over which one statistic is taken: rows, and time or space where there is some."""
    if kind in ("image", "volume"):
        return (0, *range(2, dimensions))
    return (0, 1) if kind == "sequence" else (0,)


def batch_rows(
    rows: int, batch_size: int, generator: np.random.Generator | None = None, kept: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Row indices of each batch, shuffled if a generator is given. A last batch of one row joins the batch before it.

    Shapes: kept (N,) bool, the rows to take, in the order that they have among all.

    >>> [len(batch) for batch in batch_rows(9, 4)]
    [4, 5]
    """
    order = np.arange(rows) if generator is None else generator.permutation(rows)
    if kept is not None:
        order = order[kept[order]]
        rows = len(order)
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1 and batch_size > 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], rows], strict=True):
        yield order[start:end]

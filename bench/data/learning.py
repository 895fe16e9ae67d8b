"""What a dataset learns on the training rows (`Dataset.learn`): applied to the rows of every part, and checked where it enters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.datasets.base import Dataset, Samples, Schema
from bench.errors import UsageError
from bench.text import sample_name

TOLERANCE = 1e-4  # of a row's values, relative to the largest of them: what another number of rows may change by rounding
KEPT = ("ids", "target", "groups", "split", "observed")


class Learnt:
    """What a dataset learnt on the training rows of a trial. Called with rows of a part, it gives them as methods see them, sealed.

    A dataset that learns nothing gives back the rows as they are. Raises: UsageError, which names the dataset, if it cannot learn from
    these rows, or if what it learnt changes more than values and shapes, or a row by what stands beside it.
    """

    def __init__(self, dataset: Dataset, train: Samples) -> None:
        self.name = dataset.title or type(dataset).__name__
        self.change: Callable[[Samples], Samples] | None = None
        self.schema = train.schema
        if type(dataset).learn is Dataset.learn or not dataset.learns:  # its rows need no copy
            return
        try:
            self.change = dataset.learn(_copy(train))
        except Exception as error:
            raise UsageError(f"dataset {self.name!r} cannot learn from its training rows: {_line(error)}") from error
        if self.change is not None:
            if not callable(self.change):
                raise self._refusal(f"must be a function from samples to samples, or None, got {type(self.change).__name__}")
            self.schema = self._changed(train.rows(np.arange(1))).schema

    def __call__(self, samples: Samples) -> Samples:
        """The same rows, sealed, with what was learnt. Shapes: those of `schema`, whatever the part."""
        if self.change is None:
            return samples
        if not len(samples):
            return samples.with_values({modality.name: np.zeros((0, *modality.shape), dtype=np.float32) for modality in self.schema})
        made = self._changed(samples)
        if made.schema != self.schema:
            raise self._refusal(f"must give every part the same shapes, got {_shapes(self.schema)} and then {_shapes(made.schema)}")
        row = int(samples.observed.sum(1).argmax())
        alone = self._changed(samples.rows(np.array([row])))
        for name, array in made.values.items():
            beside, one = array[row], alone.values[name][0]
            size = float(np.nanmax(np.abs(beside), initial=0.0, where=~np.isnan(beside)))
            if one.shape != beside.shape or not np.allclose(one, beside, rtol=0, atol=TOLERANCE * size, equal_nan=True):
                raise self._refusal(
                    f"must change each row by itself; {name} of {sample_name(samples.ids[row])} is another beside other rows"
                )
        return made

    def _changed(self, samples: Samples) -> Samples:
        """Sealed rows as they were changed, nothing else altered. `change` gets a copy: what it writes into it reaches nobody else."""
        assert self.change is not None
        try:
            made = self.change(_copy(samples))
        except Exception as error:
            raise UsageError(f"what dataset {self.name!r} learnt cannot be applied: {_line(error)}") from error
        if not isinstance(made, Samples):
            raise self._refusal(f"must give back Samples, got {type(made).__name__}")
        if _described(made.schema) != _described(samples.schema):
            raise self._refusal("must keep the names, letters and kinds of the modalities and the target; only shapes may change")
        for column in KEPT:
            before, after = getattr(samples, column), getattr(made, column)
            if (before is None) != (after is None) or (before is not None and not np.array_equal(before, after)):
                raise self._refusal(f"must keep {column} of every row as they are")
        for position, (name, array) in enumerate(made.values.items()):
            if np.isinf(array[samples.observed[:, position]]).any():
                raise self._refusal(f"must give finite values, or NaN where one is missing; {name} holds infinite ones")
            lost = _has_value(samples.values[name]) & ~_has_value(array)
            if lost.any():
                raise self._refusal(f"must leave a value where there was one; {name} of {sample_name(samples.ids[lost.argmax()])} lost all")
        return made.sealed()

    def _refusal(self, reason: str) -> UsageError:
        return UsageError(f"what dataset {self.name!r} learnt {reason} (Dataset.learn)")


def _copy(samples: Samples) -> Samples:
    return samples.rows(np.arange(len(samples)))


def _has_value(array: np.ndarray) -> np.ndarray:
    """Shapes: (N, *shape) -> (N,) bool."""
    return np.isfinite(array).any(tuple(range(1, array.ndim)))


def _described(schema: Schema) -> tuple[object, ...]:
    return (schema.target, *((modality.name, modality.letter, modality.kind) for modality in schema))


def _shapes(schema: Schema) -> str:
    return ", ".join(f"{modality.letter} {'x'.join(map(str, modality.shape))}" for modality in schema)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

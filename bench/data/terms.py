"""The terms of a rule: which cells each of them hides, given the keys of its rows. `bench.data.protocol` says what holds for all."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from bench.data.moments import moments
from bench.datasets.base import ROUNDING, Samples, Schema, divisor
from bench.datasets.deferred import Deferred
from bench.errors import UsageError

DEFAULT_RATE = 0.5  # of mar and mnar written without one
MOST_STRENGTH = 1000  # of mar and mnar: a sharp threshold
Rates = float | tuple[tuple[str, float], ...]  # one for all modalities, or one by letter


@dataclass(frozen=True)
class Term(ABC):
    """One piece of a rule. `letters` are the modalities it names, `rate` is its one missing rate if it has one."""

    @property
    def letters(self) -> str:
        return ""

    @property
    def is_rated(self) -> bool:
        return False

    @property
    def rate(self) -> float | None:
        return None

    @property
    def shape(self) -> str:
        """The term without its rate."""
        return str(self)

    def at(self, rate: float) -> Term:
        """The term at another rate; itself if it has none."""
        return self

    def ordered(self, schema: Schema) -> Term:
        """The term with its letters in dataset order."""
        return self

    def check(self, schema: Schema, grouped: bool) -> None:
        """Raises: UsageError if the term cannot act on such samples."""
        absent = "".join(letter for letter in self.letters if letter not in schema.combination)
        if absent:
            raise UsageError(f"{self} names modalities that are not in {schema.combination!r}: {absent}")

    @abstractmethod
    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        """Cells to hide, inside `samples.observed`. Shapes: keys (N, M) in [0, 1) -> (N, M) bool.

        `train` gives the training rows before anything is hidden; called only by terms that look at values.
        """

    def cut(self, samples: Samples, keys: np.ndarray) -> Samples:
        """The same rows without the steps of sequences that the term hides; most hide none. Shapes: keys (N, M) in [0, 1)."""
        return samples


@dataclass(frozen=True)
class Mcar(Term):
    """Each modality is hidden if its key is below its rate; the one that would go last stays."""

    rates: Rates

    def __str__(self) -> str:
        return f"mcar({_rates_text(self.rates)})"

    @property
    def letters(self) -> str:
        return "" if isinstance(self.rates, float) else "".join(letter for letter, _ in self.rates)

    @property
    def is_rated(self) -> bool:
        return True

    @property
    def rate(self) -> float | None:
        return self.rates if isinstance(self.rates, float) else None

    @property
    def shape(self) -> str:
        return "mcar" if self.rate is not None else str(self)

    def at(self, rate: float) -> Term:
        return replace(self, rates=rate)

    def ordered(self, schema: Schema) -> Term:
        if isinstance(self.rates, float):
            return self
        return replace(self, rates=tuple(sorted(self.rates, key=lambda pair: schema.combination.index(pair[0]))))

    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        by_letter = dict.fromkeys(samples.schema.combination, self.rates) if isinstance(self.rates, float) else dict(self.rates)
        rates = np.array([by_letter.get(letter, 0.0) for letter in samples.schema.combination])  # (M,)
        top = rates.max()
        with np.errstate(over="ignore"):  # a rate next to 0 hides nothing
            goes = np.divide(keys, rates / (top or 1.0), out=np.full(keys.shape, np.inf), where=rates > 0)  # the top rate that hides it
        goes[~samples.observed] = -1.0
        return samples.observed & (goes < top) & (goes < goes.max(1, keepdims=True))


@dataclass(frozen=True)
class Block(Mcar):
    """mcar with keys that the rows of a group share."""

    def __str__(self) -> str:
        return f"block(group,{_rates_text(self.rates)})"

    @property
    def shape(self) -> str:
        return "block(group)" if self.rate is not None else str(self)

    def check(self, schema: Schema, grouped: bool) -> None:
        super().check(schema, grouped)
        if not grouped:
            raise UsageError(f"{self} needs samples with groups, and these have none; give them `groups`, or use mcar")


@dataclass(frozen=True)
class Fixed(Term):
    """All but some modalities are hidden."""

    combination: str

    def __str__(self) -> str:
        return f"fixed({self.combination})"

    @property
    def letters(self) -> str:
        return self.combination

    def ordered(self, schema: Schema) -> Term:
        return Fixed(schema.subset(self.combination).combination)

    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        return samples.observed & ~np.isin(np.arange(len(samples.schema)), samples.schema.positions(self.combination))


@dataclass(frozen=True)
class Keep(Term):
    """The modalities with the largest keys are left: those that mcar would hide last."""

    count: int

    def __str__(self) -> str:
        return f"keep({self.count})"

    def check(self, schema: Schema, grouped: bool) -> None:
        if self.count > len(schema):
            raise UsageError(f"{self} keeps more modalities than there are in {schema.combination!r}; keep at most {len(schema)}")

    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        place = np.where(samples.observed, -keys, 1.0).argsort(1).argsort(1)  # (N, M) 0 for the largest observed key
        return samples.observed & (place >= self.count)


@dataclass(frozen=True)
class Logistic(Term):
    """One modality is hidden with a chance that grows with a driver: a modality (mar; its own: mnar) or `label` (mnar).

    `label` is what is to be told of a row: the place of its class, its value, or of labels the share of those known that it has.
    """

    target: str
    driver: str
    strength: float
    stated: float  # mean chance over the training rows that observe the target

    def __str__(self) -> str:
        return f"{self._head},{number_text(self.stated)})"

    @property
    def _head(self) -> str:
        words = {"label": f"mnar({self.target}|label", self.target: f"mnar({self.target}|value"}
        return f"{words.get(self.driver, f'mar({self.driver}->{self.target}')},{number_text(self.strength)}"

    @property
    def letters(self) -> str:
        return self.target if self.driver in ("label", self.target) else self.driver + self.target

    @property
    def is_rated(self) -> bool:
        return True

    @property
    def rate(self) -> float:
        return self.stated

    @property
    def shape(self) -> str:
        return f"{self._head})"

    def at(self, rate: float) -> Term:
        return replace(self, stated=rate)

    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        position = samples.schema.positions(self.target)[0]
        hidden = np.zeros_like(samples.observed)
        spare = samples.observed[:, position] & (samples.observed.sum(1) > 1)
        hidden[:, position] = spare & (keys[:, position] < self.chances(samples, train()))
        return hidden

    def chances(self, samples: Samples, train: Samples) -> np.ndarray:
        """Chance that each row's target is hidden. Shapes: (N,). Raises: UsageError if no training row can set the intercept."""
        found, known = self.drive(samples, train), self.drive(train, train)
        known = known[np.isfinite(known) & train.observed[:, train.schema.positions(self.target)[0]]]
        if not len(known):
            raise UsageError(f"{self} cannot be set: no training row observes {' and '.join(self.letters)}; name other modalities")
        spread = known.std()  # less than rounding makes of equal drives is none
        has_unit = self.driver == "label" and train.target.dtype.kind == "f"  # all others are features in SDs, places or shares
        rounding = ROUNDING * float(np.abs(known).max()) if has_unit else ROUNDING
        found, known = ((drive - known.mean()) / (spread if spread > rounding else 1.0) for drive in (found, known))
        start = intercept(self.strength * known, self.stated)
        return np.where(np.isnan(found), self.stated, expit(start + self.strength * found))

    def drive(self, samples: Samples, train: Samples) -> np.ndarray:
        """What moves the chance, before it is standardised. Shapes: (N,), NaN where it is not known."""
        if self.driver != "label":
            return level(samples, self.driver, train)
        target = samples.target.astype(float)
        if target.ndim == 1:
            return target
        known = samples.target >= 0
        return np.where(known.any(1), np.where(known, target, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


@dataclass(frozen=True)
class Segment(Term):
    """A stretch of a sequence is cut out: a share of its real steps, rounded, one at least being left. Its key says where it lies."""

    letter: str
    share: float

    def __str__(self) -> str:
        return f"segment({self.letter},{number_text(self.share)})"

    @property
    def letters(self) -> str:
        return self.letter

    @property
    def is_rated(self) -> bool:
        return True

    @property
    def rate(self) -> float:
        return self.share

    @property
    def shape(self) -> str:
        return f"segment({self.letter})"

    def at(self, rate: float) -> Term:
        return replace(self, share=rate)

    def check(self, schema: Schema, grouped: bool) -> None:
        super().check(schema, grouped)
        modality = schema.modalities[schema.positions(self.letter)[0]]
        if modality.kind != "sequence":
            raise UsageError(f"{self} needs a sequence, and {modality.name} is of kind {modality.kind}; name a sequence, or use mcar")

    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        return np.zeros_like(samples.observed)

    def cut(self, samples: Samples, keys: np.ndarray) -> Samples:
        position = samples.schema.positions(self.letter)[0]
        modality = samples.schema.modalities[position]
        real = samples.lengths.get(modality.name, np.full(len(samples), modality.shape[0], dtype=np.int64))
        goes = np.minimum(np.floor(self.share * real + 0.5).astype(np.int64), real - 1)
        goes[~samples.observed[:, position]] = 0
        return samples.cut(modality.name, np.floor(keys[:, position] * (real - goes) + 0.5).astype(np.int64), goes)


def level(samples: Samples, letter: str, train: Samples) -> np.ndarray:
    """How high the values of a modality are: the mean of its features, each standardised with mean and SD of the training rows.

    Features that are not there are left out. Shapes: (N,), NaN where nothing of the modality is observed.
    """
    if isinstance(train.values, Deferred):
        return _deferred_level(samples, letter, train)
    values, known = (_features(part, letter) for part in (samples, train))  # (N, F), (K, F)
    centre = _mean(known, axis=0)
    spread = np.sqrt(_mean((known - centre) ** 2, axis=0))
    return _mean((values - centre) / divisor(centre, spread), axis=1)


def _deferred_level(samples: Samples, letter: str, train: Samples) -> np.ndarray:
    """The same of large values, in blocks of rows: a pass over the training rows, then one over the others."""
    found = None
    for matrix in _feature_blocks(train, letter):
        block = moments("vector", matrix)
        found = block if found is None else found.beside(block).joined()
    assert found is not None, "a training part has rows"
    centre = np.where(found.number > 0, found.mean, np.nan)[0]
    scale = divisor(centre, np.sqrt(found.scatter / np.maximum(found.number, 1))[0])
    return np.concatenate([np.zeros(0), *(_mean((matrix - centre) / scale, axis=1) for matrix in _feature_blocks(samples, letter))])


def _features(samples: Samples, letter: str) -> np.ndarray:
    """One modality as a float64 matrix (N, F), NaN for all that is not there."""
    sealed = samples.select(letter).sealed()
    return _matrix(next(iter(sealed.values.values())))


def _feature_blocks(samples: Samples, letter: str) -> Iterator[np.ndarray]:
    """The same for some rows after the others."""
    return (_matrix(array) for _, array in samples.in_blocks(samples.schema.names[samples.schema.positions(letter)[0]]))


def _matrix(array: np.ndarray) -> np.ndarray:
    """Shapes: (N, *shape) -> (N, F) float64, NaN for all that is not there."""
    matrix = array.reshape(len(array), math.prod(array.shape[1:])).astype(np.float64)
    matrix[~np.isfinite(matrix)] = np.nan
    return matrix


def _mean(matrix: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is not NaN; NaN if nothing is."""
    count = np.isfinite(matrix).sum(axis)
    return np.where(count > 0, np.nansum(matrix, axis) / np.maximum(count, 1), np.nan)


def intercept(moved: np.ndarray, rate: float) -> float:
    """The a for which the mean of sigmoid(a + moved) is the rate; -inf for rate 0. Shapes: moved (K,)."""
    if rate == 0:
        return -math.inf
    reach = 750.0 + float(np.abs(moved).max())  # beyond it the sigmoid is 0 or 1 to the bit
    return float(brentq(lambda a: expit(a + moved).mean() - rate, -reach, reach, maxiter=1000))


def _rates_text(rates: Rates) -> str:
    return number_text(rates) if isinstance(rates, float) else ",".join(f"{letter}={number_text(rate)}" for letter, rate in rates)


def number_text(value: float) -> str:
    """The shortest text that reads back as the number."""
    return text if float(text := f"{value:g}") == value else repr(value)


def check_rate(value: object, name: str = "mcar", example: str = "mcar(0.3)") -> float:
    """A missing rate as a float in [0, 1). Raises: UsageError."""
    if value is None:
        raise UsageError(f"{name} needs a missing rate: write {example} or give noise levels")
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"a missing rate must be a number in [0, 1), got {value!r}") from None
    if not 0 <= rate < 1:
        raise UsageError(f"a missing rate must be in [0, 1), got {value}; 1 would leave nothing to predict from")
    return rate + 0.0  # -0.0 and 0.0 are one rate

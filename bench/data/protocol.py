"""Who hides what: protocols, their canonical text, and the masks they draw.

A protocol names one rule for each split part. A rule is one term, or several joined by `+`, each of which acts on what the terms
before it left:

    natural               the data's own gaps, nothing hidden on top
    mcar(0.3)             each observed modality is hidden with chance 0.3, independently
    mcar(V=0.1,A=0.5)     the same with a rate for each modality; one that is not named is never hidden
    fixed(NE)             only modalities N and E are left
    keep(2)               two modalities are left, drawn at random; a row that observes fewer keeps them all
    block(group,0.3)      mcar by whole groups: all rows of a site, session or patient lose the same modalities
    mar(A->B,2,0.3)       B is hidden with chance sigmoid(a + 2 s), where s says how high the values of A are
    mnar(B|value,2,0.3)   the same with s from B's own values
    mnar(B|label,2,0.3)   the same with s from what is to be told: the class by its index, the value, or the share of its labels
    segment(V,0.3)        of each sequence V a stretch is cut out: 0.3 of its real steps; the steps after it move up

One rule stands for all parts; `train=natural;valid=mcar(0.3);test=mcar(0.3)` places them apart. `natural + mcar(0.3)` is `mcar(0.3)`:
every rule hides on top of the data's own gaps.

What holds for every rule:

- The hidden set of a row is a function of the seed, the part, the row's place in the dataset, what it observes, and the rule, so every
  method sees the same masks. block looks at the row's group as well, mar and mnar at the values they name; no rule at anything else.
- A row that observes something keeps something, also under a sum of rules; a cell that is the last one left stays. `fixed` is the
  exception: a row that observes none of its modalities has nothing left.
- segment hides steps and no modality: one step at least is left, and missing shares, which count modalities, do not see it. A method
  gets a shorter sequence, in which nothing tells where the gap was; no encoder and no statistic meets the steps that are gone.
- Masks of one term nest: what is hidden at rate 0.3 is hidden at 0.5 (with a rate for each modality: as all grow in proportion), and
  keep(1) leaves a part of what keep(2) leaves. In a sum, a later term may have to spare a cell that it hid at a lower rate.

The chances of mar and mnar: s of a modality is the mean of its features, each standardised with mean and SD over the training rows;
s of the class is its index. s is then standardised, and the intercept a is set, over the training rows that observe the target
and have an s: there s has mean 0 and SD 1, and the mean chance is the stated rate (0.5 if neither rule nor noise level states one).
"Training rows" are those before anything is hidden, and their numbers serve all parts. A row without s (its A is not observed) is
hidden with the stated rate. Strength 0 is mcar; a negative strength hides low values. Missing at random holds as long as the
source stays visible: in a sum, write mar last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from bench.data.terms import Block, Fixed, Mcar, Segment, Term
from bench.datasets.base import Samples, Schema
from bench.seeds import number, stream

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Rule:
    """What is hidden in one split part; without terms: nothing."""

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return "+".join(map(str, self.terms)) or "natural"

    @classmethod
    def fixed(cls, combination: str) -> Rule:
        return cls((Fixed(combination),))

    @property
    def rate(self) -> float | None:
        """The one rate of all terms that have one, else None."""
        rates = {term.rate for term in self.terms if term.is_rated}
        return rates.pop() if len(rates) == 1 else None

    @property
    def shape(self) -> str:
        """The rule without its rate."""
        return str(self) if self.rate is None else "+".join(term.shape for term in self.terms)

    def at(self, rate: float) -> Rule:
        """The rule with one other rate in every term that has some; where none has, with mcar(rate) added."""
        if any(term.is_rated for term in self.terms):
            return Rule(tuple(term.at(rate) for term in self.terms))
        return Rule((*self.terms, Mcar(rate)))

    def on(self, schema: Schema, grouped: bool) -> Rule:
        """The rule for samples with this schema, letters in dataset order. Raises: UsageError if it cannot act on them."""
        for term in self.terms:
            term.check(schema, grouped)
        return Rule(tuple(term.ordered(schema) for term in self.terms))

    @property
    def cuts(self) -> str:
        """Letters of the sequences that lose steps."""
        return "".join(dict.fromkeys(term.letter for term in self.terms if isinstance(term, Segment)))

    def left(self, samples: Samples, draws: Draws, train: Callable[[], Samples]) -> np.ndarray:
        """What stays observed. Shapes: (N, M) bool. `train` gives the training rows before anything is hidden."""
        return self.applied(samples, draws, train).observed

    def applied(self, samples: Samples, draws: Draws, train: Callable[[], Samples]) -> Samples:
        """What is left of the rows; hidden cells are not sealed yet."""
        drawn = 0  # the first term that draws has the same keys in every rule, the next ones have their own
        for term in self.terms:
            branch = (str(drawn),) if drawn else ()
            keys = draws.of_groups(samples, branch) if isinstance(term, Block) else draws.of_rows(samples, branch)
            samples = term.cut(samples.without(term.hidden(samples, keys, train)), keys)
            drawn += not isinstance(term, Fixed)
        return samples


@dataclass(frozen=True)
class Draws:
    """The random numbers of one split part: the same for every rule and combination, so that masks pair and nest."""

    seed: int
    part: str
    schema: Schema  # of the whole dataset
    size: int  # rows of the whole dataset
    rows: np.ndarray  # (N,) int64, the rows of the part

    def of_rows(self, samples: Samples, branch: tuple[str, ...] = ()) -> np.ndarray:
        """A key for each modality of each row. Shapes: (N, M) in [0, 1)."""
        keys = mask_keys(self.seed, self.part, self.size, len(self.schema), *branch)
        return keys[:, self.schema.positions(samples.schema.combination)][self.rows]

    def of_groups(self, samples: Samples, branch: tuple[str, ...] = ()) -> np.ndarray:
        """A key for each modality of each group, from a hash of its name: who else is there changes nothing. Shapes: (N, M) in [0, 1)."""
        names, group = np.unique(np.asarray(samples.groups).astype(str), return_inverse=True)
        salt = number(self.seed, "mask", self.part, *branch)
        table = [[_uniform(f"{salt}/{letter}/{name}") for letter in samples.schema.combination] for name in names.tolist()]
        return np.array(table).reshape(-1, len(samples.schema))[group]


def _uniform(text: str) -> float:
    """A number in [0, 1) from the hash of a text."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / 2**53


@dataclass(frozen=True)
class Protocol:
    """One rule per split part."""

    train: Rule
    valid: Rule
    test: Rule

    def __str__(self) -> str:
        return self._written(str)

    def _written(self, text: Callable[[Rule], str]) -> str:
        rules = [self.part(part) for part in PARTS]
        if len(set(rules)) == 1:
            return text(rules[0])
        return ";".join(f"{part}={text(rule)}" for part, rule in zip(PARTS, rules, strict=True))

    def part(self, part: str) -> Rule:
        return getattr(self, part)

    def on(self, schema: Schema, grouped: bool) -> Protocol:
        """The protocol for samples with this schema, letters in dataset order. Raises: UsageError if it cannot act on them."""
        return Protocol(*(self.part(part).on(schema, grouped) for part in PARTS))

    @property
    def noise(self) -> float | None:
        """Missing rate of the test part, None where the protocol has none."""
        return self.test.rate

    @property
    def shape(self) -> str:
        """The protocol without its rates: settings of one shape form a robustness curve."""
        return self._written(lambda rule: rule.shape)

    def hash(self) -> str:
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]


def mask_keys(seed: int, part: str, rows: int, modalities: int, *branch: str) -> np.ndarray:
    """Uniform numbers that decide what is hidden; the same for every rate. Shapes: (N, M) over the whole dataset."""
    return stream(seed, "mask", part, *branch).random((rows, modalities))


def mask_hash(observed: np.ndarray, lengths: Iterable[np.ndarray] = ()) -> str:
    """Hash of an observed mask (N, M), and of the real steps (N,) that each sequence has left where some were cut out."""
    steps = b"".join(np.ascontiguousarray(each).tobytes() for each in lengths)
    return hashlib.sha256(repr(observed.shape).encode() + np.packbits(observed).tobytes() + steps).hexdigest()[:12]

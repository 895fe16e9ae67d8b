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
    mnar(B|label,2,0.3)   the same with s from the class, by its index

One rule stands for all parts; `train=natural;valid=mcar(0.3);test=mcar(0.3)` places them apart. `natural + mcar(0.3)` is `mcar(0.3)`:
every rule hides on top of the data's own gaps.

What holds for every rule:

- The hidden set of a row is a function of the seed, the part, the row's place in the dataset, what it observes, and the rule, so every
  method sees the same masks. block looks at the row's group as well, mar and mnar at the values they name; no rule at anything else.
- A row that observes something keeps something, also under a sum of rules; a cell that is the last one left stays. `fixed` is the
  exception: a row that observes none of its modalities has nothing left.
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
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from bench.datasets.base import Samples, Schema
from bench.errors import UsageError, unknown
from bench.seeds import number, stream

PARTS = ("train", "valid", "test")
DEFAULT_RATE = 0.5  # of mar and mnar written without one
MOST_STRENGTH = 1000  # of mar and mnar: a sharp threshold
MOST_COMBINATIONS = 255  # of one trial
Rates = float | tuple[tuple[str, float], ...]  # one for all modalities, or one by letter


@dataclass(frozen=True)
class Term:
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
    def family(self) -> str:
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

    def hidden(self, samples: Samples, keys: np.ndarray, train: Callable[[], Samples]) -> np.ndarray:
        """Cells to hide, inside `samples.observed`. Shapes: keys (N, M) in [0, 1) -> (N, M) bool.

        `train` gives the training rows before anything is hidden; called only by terms that look at values.
        """
        raise NotImplementedError


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
    def family(self) -> str:
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
    def family(self) -> str:
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
    """One modality is hidden with a chance that grows with a driver: a modality (mar; its own: mnar) or `label` (mnar)."""

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
    def family(self) -> str:
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
        spread = known.std()
        found, known = ((drive - known.mean()) / (spread if spread > 1e-12 else 1.0) for drive in (found, known))
        start = intercept(self.strength * known, self.stated)
        return np.where(np.isnan(found), self.stated, expit(start + self.strength * found))

    def drive(self, samples: Samples, train: Samples) -> np.ndarray:
        """What moves the chance, before it is standardised. Shapes: (N,), NaN where it is not known."""
        return samples.target.astype(float) if self.driver == "label" else level(samples, self.driver, train)


def level(samples: Samples, letter: str, train: Samples) -> np.ndarray:
    """How high the values of a modality are: the mean of its features, each standardised with mean and SD of the training rows.

    Features that are not there are left out. Shapes: (N,), NaN where nothing of the modality is observed.
    """
    values, known = (_features(part, letter) for part in (samples, train))  # (N, F), (K, F)
    centre = _mean(known, axis=0)
    spread = np.sqrt(_mean((known - centre) ** 2, axis=0))
    return _mean((values - centre) / np.where(spread > 1e-12, spread, 1.0), axis=1)


def _features(samples: Samples, letter: str) -> np.ndarray:
    """One modality as a float64 matrix (N, F), NaN for all that is not there."""
    sealed = samples.select(letter).sealed()
    array = next(iter(sealed.values.values()))
    matrix = array.reshape(len(samples), math.prod(array.shape[1:])).astype(np.float64)
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
    def family(self) -> str:
        """The rule without its rate."""
        return str(self) if self.rate is None else "+".join(term.family for term in self.terms)

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

    def left(self, samples: Samples, draws: Draws, train: Callable[[], Samples]) -> np.ndarray:
        """What stays observed. Shapes: (N, M) bool. `train` gives the training rows before anything is hidden."""
        drawn = 0  # the first term that draws has the same keys in every rule, the next ones have their own
        for term in self.terms:
            branch = (str(drawn),) if drawn else ()
            keys = draws.of_groups(samples, branch) if isinstance(term, Block) else draws.of_rows(samples, branch)
            samples = replace(samples, observed=samples.observed & ~term.hidden(samples, keys, train))
            drawn += not isinstance(term, Fixed)
        return samples.observed


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
    def family(self) -> str:
        """The protocol without its rates: settings of one family form a robustness curve."""
        return self._written(lambda rule: rule.family)

    def hash(self) -> str:
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]


def parse_protocol(text: str, noise: float | None = None) -> Protocol:
    """The protocol that `text` names; `noise` is the rate of every term written without one.

    >>> str(parse_protocol("train=natural; test=mcar", noise=0.3))
    'train=natural;valid=natural;test=mcar(0.3)'

    Raises: UsageError if a rule, part or rate is not known or out of range.
    """
    if ";" not in text and not re.match(r"[^(]*=", text):
        rule = parse_rule(text, noise)
        return Protocol(rule, rule, rule)
    rules = {}
    for piece in text.split(";"):
        part, _, rule_text = (word.strip() for word in piece.partition("="))
        if part not in PARTS:
            raise unknown("split part", part, PARTS)
        if part in rules:
            raise UsageError(f"protocol names part {part!r} twice: {text!r}; name each once")
        rules[part] = parse_rule(rule_text, noise)
    return Protocol(*(rules.get(part, Rule()) for part in PARTS))


def further_rules(rule: Rule, schema: Schema, rates: Iterable[float], combinations: Iterable[str]) -> tuple[str, ...]:
    """Canonical rules under which the test part is scored as well: `rule` at each rate, then each combination alone, smaller ones first.

    `all` stands for every non-empty combination of the schema's modalities.
    Raises: UsageError if a combination is not one of the schema, or `all` would be too many.
    """
    chosen: set[str] = set()
    for combination in combinations:
        if combination == "all":
            count = 2 ** len(schema) - 1
            if count > MOST_COMBINATIONS:
                raise UsageError(
                    f"all combinations of {schema.combination!r} would be {count} evaluations of each trial; name those you want"
                )
            sizes = range(1, len(schema) + 1)
            chosen.update("".join(letters) for size in sizes for letters in itertools.combinations(schema.combination, size))
        else:
            try:
                chosen.add(schema.subset(combination).combination)
            except ValueError as error:
                raise UsageError(f"test combination: {error}") from None
    ordered = sorted(chosen, key=lambda letters: (len(letters), schema.positions(letters)))
    return tuple(map(str, (*(rule.at(rate) for rate in sorted(set(rates))), *map(Rule.fixed, ordered))))


def point_of(text: str) -> tuple[float | None, str | None]:
    """What a further rule stands for on the response surface: (rate, None), or (None, the combination it leaves).

    >>> point_of("mcar(0.3)"), point_of("fixed(NE)")
    ((0.3, None), (None, 'NE'))
    """
    rule = parse_rule(text)
    term = rule.terms[0] if len(rule.terms) == 1 else None
    return (None, term.combination) if isinstance(term, Fixed) else (rule.rate, None)


def takes_noise(text: str) -> bool:
    """Whether a protocol leaves a rate to the noise levels.

    >>> [takes_noise(text) for text in ("mcar", "mcar(0.3)", "natural", "mar(A->B,2)")]
    [True, False, False, True]
    """
    return parse_protocol(text, 0.25) != parse_protocol(text, 0.5)


def parse_rule(text: str, noise: float | None = None) -> Rule:
    """One rule such as `mcar(0.3)` or `fixed(NE)+mcar(0.3)`. Raises: UsageError."""
    terms = [_parse_term(piece, noise) for piece in re.split(r"\+(?![^(]*\))", text)]
    return Rule(tuple(term for term in terms if term is not None))


def _parse_term(text: str, noise: float | None) -> Term | None:
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(([^()]*)\))?\s*", text)
    if match is None:
        raise UsageError(f"a protocol rule reads name or name(argument), such as mcar(0.3), got {text!r}")
    if match[1] not in PARSERS:
        raise unknown("protocol", match[1], PARSERS)
    words = [word.strip() for word in match[2].split(",")] if match[2] and match[2].strip() else []
    return PARSERS[match[1]](words, noise)


def _natural(words: Sequence[str], noise: float | None) -> None:
    if words:
        raise UsageError(f"natural takes no argument, got {words[0]!r}; write natural")


def _mcar(words: Sequence[str], noise: float | None) -> Term:
    return Mcar(_rates(words, noise, "mcar", "mcar(0.3)"))


def _fixed(words: Sequence[str], noise: float | None) -> Term:
    if len(words) != 1:
        raise UsageError("fixed needs the letters of the modalities that are left, such as fixed(NE)")
    if len(set(words[0])) != len(words[0]):
        raise UsageError(f"fixed names a modality twice: {words[0]!r}; name each once")
    return Fixed(words[0])


def _keep(words: Sequence[str], noise: float | None) -> Term:
    if len(words) != 1 or not re.fullmatch(r"[0-9]+", words[0]) or int(words[0]) < 1:
        raise UsageError(f"keep needs how many modalities are left, 1 or more, such as keep(2), got {','.join(words)!r}")
    return Keep(int(words[0]))


def _block(words: Sequence[str], noise: float | None) -> Term:
    if not words:
        raise UsageError("block needs what goes missing together, and a rate: write block(group,0.3)")
    if words[0] != "group":
        raise unknown("unit of block", words[0], ["group"])
    return Block(_rates(words[1:], noise, "block", "block(group,0.3)"))


def _mar(words: Sequence[str], noise: float | None) -> Term:
    match = re.fullmatch(r"(\w)\s*->\s*(\w)", words[0]) if 2 <= len(words) <= 3 else None
    if match is None:
        raise UsageError(f"mar reads mar(source->target,strength,rate), such as mar(A->B,2,0.3), got {','.join(words)!r}")
    if match[1] == match[2]:
        raise UsageError(f"source and target of mar must differ, got {words[0]!r}; write mnar({match[1]}|value,...) for own values")
    return _logistic(match[2], match[1], words, noise)


def _mnar(words: Sequence[str], noise: float | None) -> Term:
    match = re.fullmatch(r"(\w)\s*\|\s*(\w+)", words[0]) if 2 <= len(words) <= 3 else None
    if match is None:
        raise UsageError(f"mnar reads mnar(target|driver,strength,rate), such as mnar(B|value,2,0.3), got {','.join(words)!r}")
    if match[2] not in ("label", "value"):
        raise unknown("driver of mnar", match[2], ("label", "value"))
    return _logistic(match[1], "label" if match[2] == "label" else match[1], words, noise)


def _logistic(target: str, driver: str, words: Sequence[str], noise: float | None) -> Term:
    try:
        strength = float(words[1])
    except ValueError:
        strength = math.nan
    if not abs(strength) <= MOST_STRENGTH:
        raise UsageError(
            f"the strength of mar and mnar must be a number in [-{MOST_STRENGTH}, {MOST_STRENGTH}], such as 2, got {words[1]!r}"
        )
    stated = words[2] if len(words) == 3 else DEFAULT_RATE if noise is None else noise
    return Logistic(target, driver, strength + 0.0, check_rate(stated))  # -0.0 and 0.0 are one rule


PARSERS: dict[str, Callable[[Sequence[str], float | None], Term | None]] = {
    "natural": _natural, "mcar": _mcar, "fixed": _fixed, "keep": _keep, "block": _block, "mar": _mar, "mnar": _mnar,
}  # fmt: skip


def _rates(words: Sequence[str], noise: float | None, name: str, example: str) -> Rates:
    """`0.3`, `V=0.1,A=0.5`, or nothing, for the noise level. Raises: UsageError."""
    if not words or (len(words) == 1 and "=" not in words[0]):
        return check_rate(words[0] if words else noise, name, example)
    rates: dict[str, float] = {}
    for word in words:
        match = re.fullmatch(r"(\w)\s*=\s*(\S+)", word)
        if match is None:
            raise UsageError(f"{name} takes one rate or a rate for each of some modalities, such as V=0.1,A=0.5, got {','.join(words)!r}")
        if match[1] in rates:
            raise UsageError(f"{name} names modality {match[1]} twice: {','.join(words)!r}; name each once")
        rates[match[1]] = check_rate(match[2])
    return tuple(rates.items())


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


def mask_keys(seed: int, part: str, rows: int, modalities: int, *branch: str) -> np.ndarray:
    """Uniform numbers that decide what is hidden; the same for every rate. Shapes: (N, M) over the whole dataset."""
    return stream(seed, "mask", part, *branch).random((rows, modalities))


def mask_hash(observed: np.ndarray) -> str:
    """Hash of an observed mask (N, M)."""
    return hashlib.sha256(repr(observed.shape).encode() + np.packbits(observed).tobytes()).hexdigest()[:12]

"""Who hides what: protocols, their canonical text, and the masks they draw.

A protocol names one rule for each split part:

    natural         the data's own gaps, nothing hidden on top
    mcar(0.3)       each observed modality is hidden with chance 0.3, independently; a row always keeps one
    fixed(NE)       only modalities N and E are left

One rule stands for all parts; `train=natural;valid=mcar(0.3);test=mcar(0.3)` places them apart. The hidden set of a row is a
function of the seed, the part, the row and the rule alone, so every method sees the same masks; masks nest: what is
hidden at rate 0.3 is hidden at 0.5.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from bench.datasets.base import Schema
from bench.errors import UsageError, unknown
from bench.seeds import stream

PARTS = ("train", "valid", "test")
RULES = ("natural", "mcar", "fixed")


@dataclass(frozen=True)
class Rule:
    """What is hidden in one split part."""

    name: str
    rate: float | None = None  # mcar: chance in [0, 1)
    combination: str | None = None  # fixed: letters left

    def __str__(self) -> str:
        argument = f"{self.rate:g}" if self.rate is not None else self.combination
        return self.name if argument is None else f"{self.name}({argument})"

    def hidden(self, observed: np.ndarray, keys: np.ndarray, schema: Schema) -> np.ndarray:
        """Cells to hide. Shapes: observed (N, M) bool, keys (N, M) in [0, 1) -> (N, M) bool, inside `observed`."""
        if self.name == "mcar":
            keys = np.where(observed, keys, -1.0)
            last = keys == keys.max(1, keepdims=True)  # the modality a row keeps at every rate
            return observed & (keys < self.rate) & ~last
        if self.name == "fixed":
            return observed & ~np.isin(np.arange(len(schema)), schema.positions(self.combination or ""))
        return np.zeros_like(observed)


@dataclass(frozen=True)
class Protocol:
    """One rule per split part."""

    train: Rule
    valid: Rule
    test: Rule

    def __str__(self) -> str:
        rules = [self.part(part) for part in PARTS]
        return str(rules[0]) if len(set(rules)) == 1 else ";".join(f"{part}={rule}" for part, rule in zip(PARTS, rules, strict=True))

    def part(self, part: str) -> Rule:
        return getattr(self, part)

    @property
    def noise(self) -> float | None:
        """Missing rate of the test part, None where the protocol has none."""
        return self.test.rate

    @property
    def family(self) -> str:
        """The protocol without its rates: settings of one family form a robustness curve."""
        return re.sub(r"\([0-9.e-]+\)", "", str(self))

    def hash(self) -> str:
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]


def parse_protocol(text: str, noise: float | None = None) -> Protocol:
    """The protocol that `text` names; `noise` is the rate of every `mcar` written without one.

    >>> str(parse_protocol("train=natural; test=mcar", noise=0.3))
    'train=natural;valid=natural;test=mcar(0.3)'

    Raises: UsageError if a rule, part or rate is not known or out of range.
    """
    if "=" not in text:
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
    return Protocol(*(rules.get(part, Rule("natural")) for part in PARTS))


def parse_rule(text: str, noise: float | None = None) -> Rule:
    """One rule such as `mcar(0.3)`. Raises: UsageError."""
    match = re.fullmatch(r"\s*([\w-]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", text)
    if match is None:
        raise UsageError(f"a protocol rule reads name or name(argument), such as mcar(0.3), got {text!r}")
    name, argument = match.groups()
    if name not in RULES:
        raise unknown("protocol", name, RULES)
    if name == "natural":
        if argument:
            raise UsageError(f"natural takes no argument, got {text!r}; write natural")
        return Rule("natural")
    if name == "fixed":
        if not argument:
            raise UsageError("fixed needs the letters of the modalities that are left, such as fixed(NE)")
        return Rule("fixed", combination=argument)
    return Rule("mcar", rate=check_rate(argument if argument is not None else noise))


def check_rate(value: object) -> float:
    """A missing rate as a float in [0, 1). Raises: UsageError."""
    if value is None:
        raise UsageError("mcar needs a missing rate: write mcar(0.3) or give noise levels")
    try:
        rate = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"a missing rate must be a number in [0, 1), got {value!r}") from None
    if not 0 <= rate < 1:
        raise UsageError(f"a missing rate must be in [0, 1), got {value}; 1 would leave nothing to predict from")
    return rate


def mask_keys(seed: int, part: str, rows: int, modalities: int) -> np.ndarray:
    """Uniform numbers that decide what `mcar` hides; the same for every rate. Shapes: (N, M) over the whole dataset."""
    return stream(seed, "mask", part).random((rows, modalities))


def mask_hash(observed: np.ndarray) -> str:
    """Hash of an observed mask (N, M)."""
    return hashlib.sha256(repr(observed.shape).encode() + np.packbits(observed).tobytes()).hexdigest()[:12]

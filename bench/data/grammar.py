"""The grammar of protocols: from text to rules, and what a rule asks of a test. `bench.data.protocol` says what each term means."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence

from bench.data.protocol import PARTS, Protocol, Rule
from bench.data.terms import DEFAULT_RATE, MOST_STRENGTH, Block, Fixed, Keep, Logistic, Mcar, Rates, Segment, Term, check_rate
from bench.datasets.base import Schema
from bench.errors import UsageError, unknown

MOST_COMBINATIONS = 255  # of one trial


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


def evaluation_rules(rule: Rule, schema: Schema, rates: Iterable[float], combinations: Iterable[str]) -> tuple[str, ...]:
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


def evaluated_at(text: str) -> tuple[float | None, str | None]:
    """Where the rule of an evaluation stands on the response surface: (rate, None), or (None, the combination it leaves).

    >>> evaluated_at("mcar(0.3)"), evaluated_at("fixed(NE)")
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


def _segment(words: Sequence[str], noise: float | None) -> Term:
    if not 1 <= len(words) <= 2 or not re.fullmatch(r"\w", words[0]):
        raise UsageError(f"segment reads segment(sequence,share), such as segment(V,0.3), got {','.join(words)!r}")
    return Segment(words[0], check_rate(words[1] if len(words) == 2 else noise, "segment", f"segment({words[0]},0.3)"))


PARSERS: dict[str, Callable[[Sequence[str], float | None], Term | None]] = {
    "natural": _natural, "mcar": _mcar, "fixed": _fixed, "keep": _keep, "block": _block, "mar": _mar, "mnar": _mnar,
    "segment": _segment,
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

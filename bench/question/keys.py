"""From what a file or an option gave to what a suite holds: one reader for each kind of key. Free of torch.

A reader takes the key, for its message, and the value as it was written: text of the command line, TOML, or a Python value.
Each raises UsageError where the value is not of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.data.terms import check_rate
from bench.errors import UsageError
from bench.names import Value, parse_options, parse_seeds, split_list

OF_DATASET = ("metric", "selection")  # keys of a table of [metrics]


def text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{key} must be a text, got {value!r}")
    return value


def truth(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{key} must be true or false, got {value!r}")
    return value


def whole(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{key} must be a whole number, got {value!r}")
    return value


def number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{key} must be a number, got {value!r}")
    return float(value)


def texts(key: str, value: object) -> tuple[str, ...]:
    """Names, each once, from a list or a text with commas."""
    found = items(value)
    if not found or not all(isinstance(item, str) for item in found):
        raise UsageError(f"{key} must be a list of names, got {value!r}")
    repeated = sorted({item for item in found if found.count(item) > 1})
    if repeated:
        raise UsageError(f"{key} names {', '.join(repeated)} twice; name each once")
    return tuple(found)


def pairs(key: str, value: object) -> tuple[str, ...]:
    """Pairs of methods; a text is one pair, for its comma separates two methods."""
    return texts(key, [value] if isinstance(value, str) else value)


def rates(key: str, value: object) -> tuple[float, ...]:
    return tuple(map(check_rate, items(value)))


def seeds(key: str, value: object) -> tuple[int, ...]:
    return parse_seeds(value)


def options(key: str, value: object) -> Mapping[str, Value]:
    """Fields with their values, from a table or from texts KEY=VALUE."""
    return value if isinstance(value, Mapping) else parse_options(texts(key, value))


def by_method(key: str, value: object) -> Mapping[str, Mapping[str, Value]]:
    return _named_tables(key, value, "method")


def by_dataset(key: str, value: object) -> Mapping[str, Mapping[str, Value]]:
    return _named_tables(key, value, "dataset")


def _named_tables(key: str, value: object, one: str) -> Mapping[str, Mapping[str, Value]]:
    if not isinstance(value, Mapping) or not all(isinstance(table, Mapping) for table in value.values()):
        raise UsageError(f"{key} must be tables, one a {one}, each headed [{key}.{one.upper()}]")
    return value


def reasons(key: str, value: object) -> Mapping[str, str]:
    """What was chosen for data from outside, each key with its value and why."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise UsageError(f"{key} must be a table of texts, headed [{key}]; a run writes it")
    return value


def winners(key: str, value: object) -> tuple[Mapping[str, object], ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(table, Mapping) for table in value):
        raise UsageError(f"{key} must be tables, each headed [[{key}]]; `bench tune` writes them")
    return tuple(value)


def items(value: object) -> list:
    """A list as it is, a text at its commas, anything else as the only item."""
    if isinstance(value, str):
        return split_list(value)
    return list(value) if isinstance(value, list | tuple) else [value]

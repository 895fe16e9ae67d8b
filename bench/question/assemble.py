"""From what a door was given to the question it asks: names, lists and options are read here, once, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import registry
from bench.names import parse_seeds, split_list
from bench.question.suite import Suite, read_suite, with_options
from bench.question.winners import with_configs

Names = str | type | Iterable[str | type]


def assemble(
    suite: str | Suite, options: Mapping[str, object], configs: str | Iterable[str] | None = None, out: Path | str = "runs"
) -> Suite:
    """The suite that is asked for: its own question with `options` over it, every key and value checked.

    `suite` is a name, a file or a Suite. `options` are suite keys; None leaves a key as it is, and lists may come as text with commas,
    as any iterable or as numpy values, methods as names, `file.py:Class` or classes. `configs` names what runs, as `with_configs` does,
    with `tuned` looked up in the results folder `out`.
    Raises: UsageError.
    """
    given = {key: names_of(value) if key == "methods" else _plain(value) for key, value in options.items() if value is not None}
    chosen = with_options(suite if isinstance(suite, Suite) else read_suite(suite), given)
    if configs is None:
        return chosen
    return with_configs(chosen, configs if isinstance(configs, str) else ",".join(configs), out)


def names_of(methods: object) -> list[str]:
    """Methods by name; a class becomes known under its own.

    >>> names_of("muse, fusemoe[layers=1,k=2]"), names_of(["muse,shaspec", "constant"])
    (['muse', 'fusemoe[layers=1,k=2]'], ['muse', 'shaspec', 'constant'])
    """
    items = [methods] if isinstance(methods, str | type) or not isinstance(methods, Iterable) else methods
    texts = [registry.give(item) if isinstance(item, type) else str(item) for item in items]
    return [name for text in texts for name in split_list(text)]


def seeds_of(seeds: object) -> tuple[int, ...]:
    """Seeds, in whatever form a suite takes them. Raises: UsageError."""
    return parse_seeds(_plain(seeds))


def _plain(value: object) -> object:
    """Lists of plain values in place of ranges, tuples, sets, iterators and numpy arrays.

    >>> _plain(range(2)), _plain("0-1"), _plain(("digits",)), _plain({"epochs": 3})
    ([0, 1], '0-1', ['digits'], {'epochs': 3})
    """
    if hasattr(value, "tolist"):  # numpy and pandas
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Iterable) and not isinstance(value, str) else value

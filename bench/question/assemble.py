"""From what a door was given to the question it asks: names, lists and options are read here, once, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TypeAlias

from bench import registry
from bench.datasets.base import Dataset
from bench.datasets.described.dataset import Framed
from bench.errors import UsageError
from bench.names import Words, list_item, parse_seeds, plain, split_list
from bench.question.defaults import with_defaults
from bench.question.suite import Suite, keys_said, read_suite, with_one_name, with_options
from bench.question.winners import with_configs

Names: TypeAlias = str | type | Framed | Iterable[str | type | Framed]


def assemble(
    suite: str | Path | Suite,
    options: Mapping[str, object],
    configs: Words | None = None,
    out: Path | str = "runs",
    splits: bool = True,
    *,
    tuned_for: str | None = None,
    said: Set[str] | None = None,
) -> Suite:
    """The suite that is asked for: its own question with `options` over it, every key and value checked, every file under one name.

    What nobody said is what the data ask for (see `defaults`); `splits` says whether that may be several splits, and `said` which keys
    of a Suite somebody said, where that is not every one.

    `suite` is a name, a file or a Suite. `options` are suite keys; None leaves a key as it is, and lists may come as text with commas,
    as any iterable or as numpy values, methods and datasets as names, `file.py:Class` or classes. `configs` names what runs, as
    `with_configs` does, with `tuned` looked up in the results folder `out`; `tuned_for` says where winners are trained.
    Raises: UsageError.
    """
    readers = {"methods": names_of, "datasets": names_of, "until_resolved": _pairs_of}
    given = {key: readers.get(key, plain)(value) for key, value in options.items() if value is not None}
    chosen = with_options(suite if isinstance(suite, Suite) else read_suite(suite), given)
    if tuned_for is not None and configs is None:
        raise UsageError("tuned_for says where tuned configs are trained; name them with --configs default,tuned")
    if configs is not None:
        chosen = with_configs(chosen, configs, out, tuned_for or "setting")
    return with_defaults(with_one_name(chosen), {*given, *(keys_said(suite) if said is None else said)}, splits)


def names_of(named: object) -> list[str]:
    """Methods or datasets by name; a class, or tables of `bench.dataset`, become known under their own.

    >>> names_of("muse, fusemoe[layers=1,k=2]"), names_of(["muse,shaspec", "constant"])
    (['muse', 'fusemoe[layers=1,k=2]'], ['muse', 'shaspec', 'constant'])
    """
    value = plain(named)
    items = value if isinstance(value, list) else [value]
    texts = [registry.give(item) if isinstance(item, type | Framed) else _text(item) for item in items]
    return [name for text in texts for name in split_list(text)]


def _text(item: object) -> str:
    """Raises: UsageError on a dataset that is already made: a trial makes its own."""
    if isinstance(item, Dataset):
        raise UsageError(f"give the class {type(item).__name__}, or NAME[option=value], not a dataset that is already made")
    return str(item)


def seeds_of(seeds: object) -> tuple[int, ...]:
    """Seeds, in whatever form a suite takes them. Raises: UsageError."""
    return parse_seeds(seeds)


def _pairs_of(pairs: object) -> object:
    """Pairs of methods: texts such as "muse,fusemoe", or two names or classes each."""
    found = plain(pairs)
    if not isinstance(found, list):
        return found
    return [",".join(map(list_item, names_of(pair))) if isinstance(pair, list) else pair for pair in found]

"""How things are named on the command line: `name@preset[option=value,...]`, values, lists and seeds, read and written."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.errors import UsageError

DEFAULT_PRESETS = ("paper", "default")  # a class that has one of these names it first
Value = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """A method or dataset as written on the command line: `name@preset[option=value,...]`."""

    name: str
    preset: str = ""  # empty: the default
    options: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        preset = f"@{self.preset}" if self.preset else ""
        options = ",".join(f"{key}={format_value(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}{preset}[{options}]" if options else f"{self.name}{preset}"


class Setting(NamedTuple):
    """What methods are compared in: a dataset, the modalities in use, and one rule of what is missing.

    >>> Setting("digits", "NEWS", "mcar(0.3)").title
    'digits (NEWS), mcar(0.3)'
    """

    dataset: str  # as tables name it, with its options
    combination: str
    protocol: str  # canonical

    @property
    def title(self) -> str:
        return f"{self.dataset} ({self.combination}), {self.protocol}"

    def matches(self, words: str) -> bool:
        """Whether every word is its dataset, combination or protocol."""
        return all(word in self for word in words.split())


def method_label(name: str, preset: str, options: Mapping[str, Value]) -> str:
    """A method as a table names it: with its preset, unless that is the default one."""
    return str(Choice(name, "" if preset in DEFAULT_PRESETS else preset, options))


def is_file(name: str) -> bool:
    """Whether a method or dataset is named by its file, `path/to/file.py:Class`."""
    return ".py:" in name


def short_names(names: Iterable[str], taken: Container[str] = (), least: int = 0) -> dict[str, str]:
    """Names by file, each as short as tells them apart: the class, its file, its folder and file, and so on.

    `taken` are names that stand for something else; with `least` 1 the file is always there.

    >>> short_names(["/home/me/mine.py:Mine", "/home/me/a/net.py:Net", "/home/me/b/net.py:Net", "muse"])
    {'/home/me/mine.py:Mine': 'Mine', '/home/me/a/net.py:Net': 'a/net.py:Net', '/home/me/b/net.py:Net': 'b/net.py:Net'}
    """
    files = [name for name in dict.fromkeys(names) if is_file(name)]
    steps = {name: _from_short_to_long(name) for name in files}
    short: dict[str, str] = {}
    for name in files:
        others = {text for other in files if other != name for text in steps[other]}
        fitting = (text for text in steps[name][least:] if text not in others and text not in taken)
        short[name] = next(fitting, name)
    return short


def _from_short_to_long(name: str) -> list[str]:
    path, _, cls = name.rpartition(":")
    parts = path.replace("\\", "/").split("/")
    return [cls, *(f"{'/'.join(parts[start:])}:{cls}" for start in range(len(parts) - 1, -1, -1))]


def parse_choice(text: str) -> Choice:
    """Read `name@preset[option=value,...]`.

    >>> parse_choice("moe-retriever@as_released[use_intra=false,width=64]").options
    {'use_intra': False, 'width': 64}
    """
    match = re.fullmatch(r"\s*([^\[\]@]+?)\s*(?:@([\w-]+))?\s*(?:\[([^\[\]]*)\])?\s*", text)
    if match is None:
        raise UsageError(f"expected name, name@preset or name@preset[option=value,...], got {text!r}")
    name, preset, options = match.groups()
    return Choice(name, preset or "", parse_options(split_list(options or "")))


def parse_options(pairs: Iterable[str]) -> dict[str, Value]:
    """`key=value` texts as a dictionary with typed values. Raises: UsageError."""
    options: dict[str, Value] = {}
    for pair in pairs:
        key, equals, value = (word.strip() for word in pair.partition("="))
        if not equals or not key or not value:
            raise UsageError(f"an option reads name=value, got {pair!r}")
        if key in options:
            raise UsageError(f"option {key!r} is given twice; give it once")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> Value:
    """true and false, integers and floats as such, everything else as text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def format_value(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def split_list(text: str) -> list[str]:
    """Comma separated items; commas inside brackets belong to their item.

    >>> split_list("muse, fusemoe[layers=1,k=2], mcar(A=0.1,B=0.2)")
    ['muse', 'fusemoe[layers=1,k=2]', 'mcar(A=0.1,B=0.2)']
    """
    items = [item.strip() for item in re.split(r",(?![^\[(]*[\])])", text)]
    return [item for item in items if item]


def parse_seeds(value: object) -> tuple[int, ...]:
    """Seeds from `3`, `"0-4"`, `"0,2,5-7"` or a list of these. Raises: UsageError if one is not a whole number from 0 on."""
    items = value if isinstance(value, list | tuple) else str(value).split(",")
    seeds: list[int] = []
    for item in items:
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", str(item)) if not isinstance(item, bool) else None
        if match is None:
            raise UsageError(f"seeds are whole numbers from 0 on, or ranges such as 0-4, got {item!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"a range of seeds runs upwards, got {item!r}; write {last}-{first}")
        seeds.extend(range(first, last + 1))
    if not seeds or len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds must be given, each once, got {value!r}")
    return tuple(seeds)

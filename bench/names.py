"""How things are named: `name@preset[option=value,...]`, values, lists, seeds and paths, as people give them, read and written.

A file that is named as a method or dataset, `path/to/file.py:Class` or the description `path/to/study.toml`, is recognised before
presets and options are, so its folders may hold any sign. A text that would read as something else stands in double quotes:
`weights="a,b.pt"`, or a whole item of a list; single quotes, which a shell leaves inside double ones, do the same for a value.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UsageError

DEFAULT_PRESETS = ("paper", "default")  # a class that has one of these names it first
Value = str | int | float | bool
Words = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]  # one text with commas, or several; of files, paths too
QUOTED = r'"(?:[^"\\]|\\.)*"'  # a text as JSON writes it
SINGLE = r"'[^']*'"  # a value in single quotes, which Python and TOML know too
TAIL = rf'\s*(?:@(?P<preset>[\w-]+))?\s*(?:\[(?P<options>(?:=\s*{SINGLE}|[^\[\]"]|{QUOTED})*)\])?\s*'  # preset and options
BY_FILE = re.compile(rf"\s*(?P<name>.+?(?:\.py(?::[^\W\d]\w*)?|\.toml)){TAIL}", re.DOTALL)
LISTED = re.compile(rf"\s*(?P<name>[^\[\]@]+?){TAIL}", re.DOTALL)
FILE_END = re.compile(rf"(?P<ending>\.py|\.toml)(?::[^\W\d]\w*)?{TAIL}(?=,|$)")  # of an item that begins with the path of a file


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
        others = re.sub(rf"(?<!\S){re.escape(self.dataset)}(?!\S)", " ", words)  # the name of a dataset may hold blanks
        return all(word in self for word in others.split())


def method_label(name: str, preset: str, options: Mapping[str, Value]) -> str:
    """A method as a table names it: with its preset, unless that is the default one."""
    return str(Choice(name, "" if preset in DEFAULT_PRESETS else preset, options))


def is_file(name: str) -> bool:
    """Whether a method or dataset is named by its file, `path/to/file.py:Class` or a description, `path/to/study.toml`."""
    return ".py:" in name or is_description(name)


def is_description(name: str) -> bool:
    """Whether a dataset is named by the file that describes it, `path/to/study.toml`."""
    return name.endswith(".toml")


def short_names(names: Iterable[str], taken: Container[str] = (), least: int = 0) -> dict[str, str]:
    """Names by file, each as short as tells them apart: the class, its file, its folder and file, and so on; a description by its file.

    `taken` are names that stand for something else; with `least` 1 the file is always there.

    >>> short_names(["/home/me/mine.py:Mine", "/home/me/a/net.py:Net", "/home/me/b/net.py:Net", "muse"])
    {'/home/me/mine.py:Mine': 'Mine', '/home/me/a/net.py:Net': 'a/net.py:Net', '/home/me/b/net.py:Net': 'b/net.py:Net'}
    >>> short_names(["/home/me/study.toml"])
    {'/home/me/study.toml': 'study.toml'}
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
    path, cls = _file_and_class(name)
    parts = path.replace("\\", "/").split("/")
    files = ["/".join(parts[start:]) + cls for start in range(len(parts) - 1, -1, -1)]
    return [cls.removeprefix(":") or files[0], *files]


def _file_and_class(name: str) -> tuple[str, str]:
    """The file of a name by file, and `:Class`, which a description has not."""
    if is_description(name):
        return name, ""
    file, _, cls = name.rpartition(":")
    return file, f":{cls}"


def bare(name: str) -> str:
    """A method or dataset without the folder of its file, the same wherever the file lies.

    >>> bare("/home/me/a/net.py:Net"), bare("muse")
    ('net.py:Net', 'muse')
    """
    return _from_short_to_long(name)[1] if is_file(name) else name


def bare_choice(text: str) -> str:
    """The same of a choice, `path/to/file.py:Class@preset[option=value,...]`."""
    choice = parse_choice(text) if _may_be_file(text) else None
    return text if choice is None or not is_file(choice.name) else str(replace(choice, name=bare(choice.name)))


def one_name(name: str) -> str:
    """The one name of a method or dataset by its file, however the path is spelled; any other name, or a file that is not there, as it is.

    Relative to the working folder where the file lies below it, else absolute; `~` and links are followed. Raises: UsageError if the path
    is no text.
    """
    if not is_file(name):
        return name
    file, cls = _file_and_class(name)
    path = path_of(file)
    if not _is_there(path):
        return name
    path, here = path.resolve(), Path.cwd().resolve()
    text = path.relative_to(here).as_posix() if path.is_relative_to(here) else path.as_posix()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the path of {name!r} is not UTF-8, and records are; rename the folder, or change into it") from None
    start = "./" if text[0] in '~" ' else ""  # else it would read as a home folder, a quotation, or without the blank
    return f"{start}{text}{cls}"


def one_choice(text: str) -> str:
    """The same of a choice, `path/to/file.py:Class@preset[option=value,...]`."""
    choice = parse_choice(text) if _may_be_file(text) else None
    return text if choice is None or not is_file(choice.name) else str(replace(choice, name=one_name(choice.name)))


def _may_be_file(text: str) -> bool:
    """Whether it is worth reading a choice as one by file: most are not, and some are no choice at all."""
    return ".py:" in text or ".toml" in text


def path_of(given: str | os.PathLike[str]) -> Path:
    """A path as people give it: `~` and `~name` are home folders."""
    try:
        return Path(given).expanduser()
    except RuntimeError:  # nobody is called so: a folder is
        return Path(given)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a path, or not one at all
        return False


def alike(marked: Iterable[tuple[str, Hashable]]) -> dict[str, str]:
    """Each name -> the first of those that it shares a mark with, directly or through others.

    >>> alike([("a", 1), ("b", 2), ("c", 3), ("d", 1), ("d", 2)])
    {'a': 'a', 'b': 'a', 'c': 'c', 'd': 'a'}
    """
    first: dict[str, str] = {}
    of_mark: dict[Hashable, str] = {}
    for name, mark in marked:
        own, other = first.setdefault(name, name), first[of_mark.setdefault(mark, name)]
        if own != other:
            kept = next(known for known in first if known in (own, other))
            first = {known: kept if value in (own, other) else value for known, value in first.items()}
    return first


def parse_choice(text: str) -> Choice:
    """Read `name@preset[option=value,...]`.

    >>> parse_choice("moe-retriever@as_released[use_intra=false,width=64]").options
    {'use_intra': False, 'width': 64}
    >>> parse_choice("me@mail.org/run [3]/net.py:Net[width=64]").name
    'me@mail.org/run [3]/net.py:Net'
    """
    match = BY_FILE.fullmatch(_unquoted(text)) or LISTED.fullmatch(_unquoted(text))
    if match is None:
        raise UsageError(f"expected name, name@preset or name@preset[option=value,...], got {text!r}")
    return Choice(match["name"], match["preset"] or "", parse_options(_split(match["options"] or "")))


def parse_options(pairs: Iterable[str]) -> dict[str, Value]:
    """`key=value` texts as a dictionary with typed values. Raises: UsageError."""
    options: dict[str, Value] = {}
    for pair in pairs:
        key, equals, value = (word.strip() for word in pair.partition("="))
        if not equals or not key or not value:
            raise UsageError(f'an option reads name=value, got {pair!r}; a value with a comma stands in double quotes: name="a,b"')
        if key in options:
            raise UsageError(f"option {key!r} is given twice; give it once")
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> Value:
    """true and false, integers and floats as such, everything else as text, with or without quotes.

    >>> parse_value("'x.pt'"), parse_value('"x.pt"'), parse_value("x.pt"), parse_value("'3'"), parse_value("it's")
    ('x.pt', 'x.pt', 'x.pt', '3', "it's")
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text[1:-1] if re.fullmatch(SINGLE, text) and len(text) > 2 else _unquoted(text)


def format_value(value: Value) -> str:
    """A value as `parse_value` reads it back; a text that would read as something else in quotes.

    >>> format_value(True), format_value(0.5), format_value("mean"), format_value("a,b"), format_value("3")
    ('true', '0.5', 'mean', '"a,b"', '"3"')
    """
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else f"{value}"
    is_plain = not set('[]"\n') & set(value) and _is_closed(value) and _split(value) == [value] and parse_value(value) == value
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _unquoted(text: str) -> str:
    """A text in double quotes without them; any other as it is."""
    if not re.fullmatch(rf"\s*{QUOTED}\s*", text, re.DOTALL):
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:  # an escape that JSON does not know
        return text


def split_list(text: str) -> list[str]:
    """Comma separated items; commas inside brackets or quotes belong to their item, and so do those in the path of a file that is there.

    >>> split_list("muse, fusemoe[layers=1,k=2], mcar(A=0.1,B=0.2)")
    ['muse', 'fusemoe[layers=1,k=2]', 'mcar(A=0.1,B=0.2)']
    >>> split_list('muse,"Company, Inc/net.py:Net"')
    ['muse', 'Company, Inc/net.py:Net']
    """
    return [_unquoted(item) for item in _split(text, by_file=True)]


def words_of(given: object) -> list[str]:
    """A list of texts or paths, from one text with commas or from any iterable, whose items are taken as they are; None is empty.

    >>> words_of("png, svg"), words_of(("png",)), words_of(None), words_of(Path("a,b.toml"))
    (['png', 'svg'], ['png'], [], ['a,b.toml'])
    """
    if isinstance(given, str):
        return split_list(given)
    value = plain(given)
    return list(map(str, value)) if isinstance(value, list) else [] if value is None else [str(value)]


def list_item(text: str) -> str:
    """An item as `split_list` reads it back, wherever its file lies."""
    return text if _is_closed(text) and _split(text) == [text] and _unquoted(text) == text else json.dumps(text, ensure_ascii=False)


def _is_closed(text: str) -> bool:
    """Whether every bracket and quote that opens closes again: what stands behind the text in a list is then read as it is."""
    depth = 0
    for sign in re.sub(QUOTED, "", text, flags=re.DOTALL):
        depth += (sign in "[(") - (sign in "])")
        if depth < 0 or sign == '"':
            return False
    return depth == 0


def _split(text: str, by_file: bool = False) -> list[str]:
    """Items as they are written; `by_file` looks for files whose paths hold commas."""
    items, start = [], 0
    while start < len(text):
        end = (_end_of_file(text, start) if by_file else None) or _end_of_item(text, start)
        items.append(text[start:end].strip())
        start = end + 1
    return [item for item in items if item]


def _end_of_file(text: str, start: int) -> int | None:
    """Where an item ends that begins with the path of a file that is there; None if none does."""
    for found in FILE_END.finditer(text, start):
        if _is_there(path_of(text[start : found.end("ending")].strip())):
            return found.end()
    return None


def _end_of_item(text: str, start: int) -> int:
    """Where the next comma outside quotes and brackets stands; brackets that do not close hold nothing together."""
    depth, inside, place = 0, None, start
    while place < len(text):
        if quoted := re.match(QUOTED, text[place:], re.DOTALL) if text[place] == '"' else None:
            place += quoted.end()
            continue
        if found := re.compile(rf"=\s*{SINGLE}(?=\s*[,\]]|\s*$)").match(text, place):  # the value of an option
            place = found.end()
            continue
        if text[place] == "," and depth == 0:
            return place
        if text[place] == "," and inside is None:
            inside = place
        depth += (text[place] in "[(") - (depth > 0 and text[place] in "])")
        place += 1
    return len(text) if depth == 0 or inside is None else inside


def parse_seeds(value: object) -> tuple[int, ...]:
    """Seeds from `3`, `"0-4"`, `"0,2,5-7"` or any iterable of these. Raises: UsageError if one is not a whole number from 0 on."""
    value = plain(value)
    items = value if isinstance(value, list) else str(value).split(",")
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


def plain(value: object) -> Any:
    """A value as TOML could hold it: lists for ranges, sets, iterators, numpy arrays and pandas columns, Python's numbers for numpy's.

    A numpy float of fewer than 64 bits is the number that it prints: 0.3 in float32 stays 0.3. Sets come sorted.

    >>> plain(range(2)), plain("0-1"), plain(("digits",)), plain({"epochs": 3}), plain(Path("runs"))
    ([0, 1], '0-1', ['digits'], {'epochs': 3}, 'runs')
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy and pandas
        short = getattr(value, "dtype", None) in ("float16", "float32") and hasattr(value, "astype")
        return value.astype(str).astype(float).tolist() if short else plain(value.tolist())  # type: ignore[attr-defined]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    return [plain(item) for item in value] if isinstance(value, Iterable) and not isinstance(value, str | bytes) else value

"""A description of a user's own files, guessed from what is in them and commented line by line (`bench new dataset`).

What the files say in one way alone is written down; what they say in two ways is written in the likelier one and marked CHECK; what cannot
be told is an error that names the file, the rule, what came, and the way on.
"""

from __future__ import annotations

import re
import string
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.data.inputs import CHECK, Inputs, Labels, inputs_of
from bench.data.sources import Source, column_of, find_ids, name_from, open_sources, place_of, source_of
from bench.datasets.base import DataError
from bench.datasets.described.as_toml import to_toml
from bench.datasets.described.cells import is_missing
from bench.datasets.described.description import ARRAYS, TABLES, DescribedModality, Description, Place, Target
from bench.datasets.described.guess import label_order, twins
from bench.datasets.described.reading import read_samples
from bench.datasets.described.rows import PARTS
from bench.datasets.described.written import NO_VALUE
from bench.datasets.safe import read_npz
from bench.datasets.tables import plain_number
from bench.errors import UsageError
from bench.text import agreeing, and_list, count, listed, terminal_table

MOST_CLASSES = 20
UNSAID = ("the id", "the label", "the group", "the part")  # reasons that need no look
HEAD = """\
Guessed by `bench new dataset` from {files}: check it, line by line.
Above a column stands what its cells hold. A column that is not named is not read.
Paths are relative to the folder of this file."""


@dataclass(frozen=True)
class Draft:
    """A guessed description. `comments` are of its lines, as `to_toml` takes them; `left_out` is file -> column -> why it is no input."""

    description: Description
    comments: Mapping[str, str]
    left_out: Mapping[str, Mapping[str, str]]
    classes: Mapping[str, int]  # name -> samples

    @property
    def text(self) -> str:
        return to_toml(self.description, self.comments)

    @property
    def checks(self) -> int:
        """Lines that could be meant otherwise."""
        return sum(comment.count(CHECK) for comment in self.comments.values())

    def as_json(self) -> dict[str, Any]:
        modalities = [
            {"name": one.name, "letter": one.letter, "kind": one.kind, "file": one.file, "rows": one.rows,
             "columns": {column.name: column.kind for column in one.columns}}
            for one in self.description.modalities
        ]  # fmt: skip
        return {"classes": dict(self.classes), "modalities": modalities, "left_out": self.left_out, "checks": self.checks}

    def summary(self, path: Path) -> str:
        """What was written, in lines of 80 signs."""
        rows = [
            {"": one.letter, "modality": one.name, "kind": one.kind, "from": _shortened(one.file), "columns": str(len(one.columns) or "")}
            for one in self.description.modalities
        ]
        classes = ", ".join(f"{name} {n}" for name, n in self.classes.items())
        out = sum(why not in UNSAID for columns in self.left_out.values() for why in columns.values())
        lines = [
            f"wrote {path}: {count(sum(self.classes.values()), 'sample')}, {count(len(self.classes), 'class', 'classes')} ({classes})",
            *terminal_table(rows, left=("", "modality", "kind", "from")).splitlines(),
            f"Look it over: {count(self.checks, 'line')} marked CHECK, {count(out, 'column')} left out; the reasons stand in it.",
        ]
        if len(rows) == 1:
            lines.append("One modality alone can hardly be missing; --modality NAME=FILE:COLUMNS makes several of a file.")
        return "\n".join(part for line in lines for part in (textwrap.wrap(line, 80, subsequent_indent="  ") if len(line) > 80 else [line]))

    def problem(self) -> str:
        """What keeps the tables from being read as described; empty: nothing. Images and arrays are not looked at."""
        tables = tuple(one for one in self.description.modalities if one.kind in ("vector", "sequence"))
        if tables:
            try:
                read_samples(replace(self.description, modalities=tables))
            except DataError as error:
                return str(error)
        return ""


def draft(
    path: Path, files: Sequence[Path], *, ids: Sequence[str], label: str, group: str = "", title: str = "", modalities: Sequence[str] = ()
) -> Draft:
    """The description that is to lie at a path, of table files and arrays.

    `ids` are `COLUMN`, or `FILE:COLUMN` for a file that calls it otherwise; `label` and `group` are `COLUMN` or `FILE:COLUMN`;
    `modalities` are `NAME=FILE`, or `NAME=FILE:COLUMN,COLUMN` for some columns of a file. Raises: UsageError.
    """
    folder = path.parent
    named = [_named(text) for text in modalities]
    arrays = [file for file in files if file.name.lower().endswith(ARRAYS)]
    more = [Path(file) for _, file, _ in named if Path(file).is_file() and not {Path(file).absolute()} & {one.absolute() for one in files}]
    sources = open_sources([*(file for file in files if file not in arrays), *dict.fromkeys(more)], folder)
    if not sources:
        raise UsageError("--from must name the table that holds the labels, got arrays alone; add it")
    target, column = place_of(label, "--label", sources)
    usual = find_ids(sources, target, ids)
    labels, about_labels = _labels(target, column)
    grouped = place_of(group, "--group", sources, target) if group else None
    split = _split(sources)
    reserved = _reserved(sources, {(target.name, column): "the label"}, grouped, split)
    parts: list[Part] = []
    left_out: dict[str, dict[str, str]] = {source.name: dict(source.sheet.unclear) for source in sources}
    for name, source, columns in _wanted(named, sources):
        inputs = inputs_of(source, columns, labels, reserved[source.name])
        left_out[source.name] |= inputs.left_out
        parts += [Part(name, source, inputs)] if inputs.columns else []
        parts += [Part(image, source, inputs, image) for image in inputs.images]
    parts += [Part(_stem(file), None, Inputs(), array=name_from(file, folder)) for file in arrays]
    if not parts:
        raise UsageError(f"no column of {and_list([source.title for source in sources])} can be an input: {_reasons(left_out)}")
    described, comments = _described(parts, usual, labels)
    for file in arrays:
        _check_array(file, labels)
    description = Description(
        path=path,
        id=usual,
        target=Target(target.name, column, tuple(labels.counts), "drop" if -1 in labels.rows else "refuse", _own(target, usual)),
        modalities=described,
        title=title or path.stem,
        groups=None if grouped is None else Place(grouped[0].name, grouped[1], _own(grouped[0], usual)),
        split=None if split is None else Place(split[0].name, split[1], _own(split[0], usual)),
    )
    names = and_list([source.title for source in sources] + [file.name for file in arrays])
    unused = [source for source in sources if source not in [part.source for part in parts]]
    comments |= {"": "\n".join([HEAD.format(files=names), *_unused_files(unused, left_out)]), "target": about_labels}
    if split is not None:
        comments["split"] = f"{CHECK}{split[0].title} names the part of each sample; without this table the suite splits"
    return Draft(description, comments, left_out, labels.counts)


def _shortened(file: str) -> str:
    """A path in the width of a table: its end."""
    return file if len(file) <= 36 else f"…{file[-35:]}"


@dataclass(frozen=True)
class Part:
    """A modality in the making: columns of a table, a column of images, or an array."""

    name: str
    source: Source | None
    inputs: Inputs
    image: str = ""
    array: str = ""


def _named(text: str) -> tuple[str, str, list[str]]:
    """Name, file and columns of `NAME=FILE[:COLUMN,COLUMN]`. Raises: UsageError."""
    name, sign, rest = text.partition("=")
    file, colon, columns = rest.rpartition(":") if not Path(rest).is_file() else (rest, "", "")
    if not colon:
        file, columns = rest, ""
    if not sign or not name.strip() or not file.strip():
        raise UsageError(f"--modality reads NAME=FILE or NAME=FILE:COLUMN,COLUMN, got {text!r}")
    return name.strip(), file.strip(), [column.strip() for column in columns.split(",") if column.strip()]


def _wanted(named: Sequence[tuple[str, str, list[str]]], sources: Sequence[Source]) -> list[tuple[str, Source, list[str]]]:
    """Name, source and columns of each modality, those that were named first in their file. Raises: UsageError."""
    found: list[tuple[str, Source, list[str]]] = []
    whole: dict[str, str] = {}  # source -> the name for what no other modality takes
    taken: dict[str, dict[str, str]] = {source.name: {} for source in sources}  # source -> column -> modality
    parts: dict[str, list[tuple[str, list[str]]]] = {source.name: [] for source in sources}
    for name, file, columns in named:
        source = source_of(file, sources)
        if source is None:
            raise UsageError(f"--modality {name}: {file} is none of the files; known: {listed([one.title for one in sources])}")
        if not columns:
            whole[source.name] = name
            continue
        for column in columns:
            column_of(source, column, f"--modality {name}")
            if column in taken[source.name]:
                raise UsageError(f"--modality {name}: {column!r} is in {taken[source.name][column]!r} already; a column is in one modality")
            taken[source.name][column] = name
        parts[source.name].append((name, columns))
    for source in sources:
        found += [(name, source, columns) for name, columns in parts[source.name]]
        rest = [column for column in source.columns if column not in taken[source.name] and column != source.id]
        found += [(whole.get(source.name, _stem(source.path)), source, rest)] if rest else []
    return found


def _stem(path: Path) -> str:
    """What a modality of a file is called: its name in letters that every part of the suite takes."""
    stem = path.name.lower()
    for ending in (".gz", *TABLES, *ARRAYS):
        stem = stem.removesuffix(ending)
    return re.sub(r"\W+", "_", stem).strip("_") or "table"


def _own(source: Source, usual: str) -> str:
    """The id column, where a source calls it otherwise than the others."""
    return "" if source.id == usual else source.id


def _reserved(
    sources: Sequence[Source], first: Mapping[tuple[str, str], str], grouped: tuple[Source, str] | None, split: tuple[Source, str] | None
) -> dict[str, dict[str, str]]:
    """Columns that are no inputs, whatever they hold: source -> column -> what it is."""
    found: dict[str, dict[str, str]] = {source.name: {source.id: "the id"} for source in sources}
    for (name, column), what in first.items():
        found[name][column] = what
    for place, what in ((grouped, "the group"), (split, "the part")):
        if place is not None:
            found[place[0].name].setdefault(place[1], what)
    return found


def _unused_files(unused: Sequence[Source], left_out: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Lines on files that give no modality."""
    lines = []
    for source in unused:
        said = [f"  {column}: {why}" for column, why in left_out[source.name].items() if why not in UNSAID]
        lines += [f"{source.title} gives no modality{':' if said else ', it holds no further column'}", *said]
    return lines


def _reasons(left_out: Mapping[str, Mapping[str, str]]) -> str:
    said = [f"{column} ({why})" for columns in left_out.values() for column, why in columns.items()]
    return "; ".join(said[:4]) or "they hold ids alone"


# ---- labels and parts


def _labels(source: Source, column: str) -> tuple[Labels, str]:
    """The classes of the samples, and what to say of them. Raises: UsageError if these are no classes."""
    cells = source.texts(column)
    counts = Counter(cell for cell in cells if not is_missing(cell))
    where = f"--label {source.title}:{column}"
    if not counts:
        raise UsageError(f"{where} must hold a class in its rows, and every cell is empty; name another column")
    if len(counts) == 1:
        only, n = next(iter(counts.items()))
        raise UsageError(f"{where} must hold two classes at least, got {only!r} in all {count(n, 'row')} with a label; name another column")
    if len(counts) > MOST_CLASSES:
        numbers = [number for cell in counts if (number := plain_number(cell)) == number]
        if len(numbers) == len(counts):
            came = (
                f"{len(counts)} different numbers, {min(numbers):g} to {max(numbers):g}; add a column of classes, such as one side of a cut"
            )
        else:
            came = f"{len(counts)} different texts such as {next(iter(counts))[:30]!r}; name another column"
        raise UsageError(f"{where} must hold classes, {MOST_CLASSES} at most, got {came}")
    names = label_order(counts)
    place = {name: code for code, name in enumerate(names)}
    rows = [place.get(cell, -1) for cell in cells]
    labels = Labels(source, column, {}, rows)
    samples = Counter(rows if labels.differ else labels.of.values())
    labels = replace(labels, counts={name: samples[code] for name, code in place.items()})
    said = [f"{count(sum(labels.counts.values()), 'sample')}: {', '.join(f'{name} {n}' for name, n in labels.counts.items())}"]
    if -1 in rows:
        said.append(f"{count(rows.count(-1), 'row')} without a label {'is' if rows.count(-1) == 1 else 'are'} dropped")
    nones = Counter(cell for cell in cells if cell.lower() == "none")
    if nones:
        said.append(
            f"{CHECK}{count(nones.total(), 'cell')} {next(iter(nones))!r} say that there is no label; add it to the classes if it is one"
        )
    odd = [name for name in names if name.lower() in NO_VALUE]
    if odd:
        said.append(f"{CHECK}{odd[0]!r} is a class here; empty such cells if it means that the label is not known")
    alike = twins(names)
    if alike:
        said.append(f"{CHECK}{alike[0]!r} and {alike[1]!r} are two classes; write them alike if they are one")
    return labels, "\n".join(said)


def _split(sources: Sequence[Source]) -> tuple[Source, str] | None:
    """The first column whose cells name parts, train and test among them."""
    for source in sources:
        for column in source.columns:
            words = {cell.lower() for cell in source.texts(column)}
            if words <= PARTS.keys() and {"train", "test"} <= {PARTS[word] for word in words}:
                return source, column
    return None


# ---- modalities


def _described(parts: Sequence[Part], usual: str, labels: Labels) -> tuple[tuple[DescribedModality, ...], dict[str, str]]:
    """The modalities with their letters, and the comments of their lines. Raises: UsageError if there are more than letters."""
    if len(parts) > len(string.ascii_uppercase):
        raise UsageError(
            f"a dataset has {len(string.ascii_uppercase)} modalities at most, one a letter, got {len(parts)}; name fewer files"
        )
    found: list[DescribedModality] = []
    comments: dict[str, str] = {}
    for part in parts:
        name = _unused(part.name, [one.name for one in found])
        letter = next(
            sign for sign in [*name.upper(), *string.ascii_uppercase]
            if sign in string.ascii_uppercase and sign not in [one.letter for one in found]
        )  # fmt: skip
        if part.source is None:
            found.append(DescribedModality(name, letter, "array", part.array))
            comments[name] = "its ids and values, one row an id; the shape of the values says what kind they are"
            continue
        inputs, own = part.inputs, _own(part.source, usual)
        if part.image:
            rows = inputs.rows if inputs.rows in ("last", "first", "samples") else "one"
            found.append(
                DescribedModality(name, letter, "image", part.source.name, own, column=part.image, rows=rows,
                                  order=inputs.order if rows == "last" else "", order_format=inputs.order_format if rows == "last" else "")
            )  # fmt: skip
            comments[name] = "paths of images, relative to this folder; each is scaled to `size` and read in colours (channels = 1: grey)"
            continue
        found.append(
            DescribedModality(name, letter, inputs.kind, part.source.name, own, inputs.columns, inputs.rows, inputs.order,
                              inputs.order_format, steps=inputs.steps)
        )  # fmt: skip
        comments[name] = "\n".join(_about(part.source, inputs, labels, usual))
        comments |= {f"{name}.{column}": why for column, why in inputs.reasons.items()}
    return tuple(found), comments


def _about(source: Source, inputs: Inputs, labels: Labels, usual: str) -> list[str]:
    """What to say of a modality above it."""
    samples = labels.of
    there = len(samples.keys() & set(source.ids))
    lines = [f"{source.title}: {count(len(source), 'row')} of {count(len(set(source.ids)), 'id')}"]
    if source is not labels.source:
        without = len(samples) - there
        lines[0] += f"; {there} of {count(len(samples), 'sample')} {agreeing(there, 'is', 'are')} in it"
        lines[0] += f", {without} {agreeing(without, 'misses', 'miss')} this modality" if without else ""
    if source.id != usual:
        lines.append(f"its column {source.id} names the samples, as {usual} does elsewhere")
    lines += [*source.sheet.notes, *inputs.about]
    out = [f"  {column}: {why}" for column, why in {**inputs.left_out, **source.sheet.unclear}.items() if why not in UNSAID]
    return [*lines, "left out:", *out] if out else lines


def _unused(name: str, taken: Sequence[str]) -> str:
    return next(one for one in (name, *(f"{name}_{number}" for number in range(2, len(taken) + 3))) if one not in taken)


def _check_array(file: Path, labels: Labels) -> None:
    """Raises: UsageError if an array does not say whose rows it holds, or shares no id."""
    if file.suffix.lower() == ".npy":
        raise UsageError(
            f"{file.name} does not say whose its rows are; save ids and values together: np.savez({file.stem!r}, ids=..., values=...)"
        )
    try:
        ids = {str(one).strip() for one in read_npz(file, ("ids", "values"))["ids"].ravel().tolist()}
    except DataError as error:
        raise UsageError(str(error)) from None
    if not ids & labels.of.keys():
        came = f"it has {min(ids)!r}, there is {labels.source.ids[0]!r}"
        raise UsageError(f"{file.name} must share ids with {labels.source.title}; {came}; write them alike")

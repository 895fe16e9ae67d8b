"""Which columns of a user's table are inputs, read as what, and which of several rows of an id counts: a guess with its reasons."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from bench.data.sources import Source
from bench.datasets.described.cells import is_missing
from bench.datasets.described.description import Column
from bench.datasets.described.guess import Guess, guess_column, looks_like_birth
from bench.datasets.described.written import day_of
from bench.datasets.tables import plain_number
from bench.text import count

CHECK = "CHECK: "
START = "2000-01-01"  # what a date counts from that has no other beside it
FEWEST = 20  # labelled rows from which on a column can be said to copy the label
LONG = 8  # rows an id from which on a table is a sequence
MOST_STEPS = 100
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
_ORDERS = re.compile(
    r"(?i)(^|[_\W])(visit|time|hours?|days?|weeks?|months?|years?|minutes?|date|steps?|seq|order|wave|round|session|t)([_\W]|$)"
)


@dataclass(frozen=True)
class Labels:
    """The labels of a target table. Shapes: rows (N,) the class of each of its rows, -1 for none."""

    source: Source
    column: str
    counts: Mapping[str, int]  # class -> samples, in the order of the classes
    rows: Sequence[int]

    @property
    def of(self) -> dict[str, int]:
        """The class of each sample by its id, its first where rows differ."""
        found: dict[str, int] = {}
        for one, label in zip(self.source.ids, self.rows, strict=True):
            if label >= 0:
                found.setdefault(one, label)
        return found

    @property
    def differ(self) -> bool:
        """Whether two rows of one id have two labels."""
        of = self.of
        return any(label >= 0 and of[one] != label for one, label in zip(self.source.ids, self.rows, strict=True))


@dataclass(frozen=True)
class Inputs:
    """What a table gives as inputs, in fields of a `DescribedModality`, and why."""

    columns: tuple[Column, ...] = ()
    kind: str = "vector"
    rows: str = "one"
    order: str = ""
    order_format: str = ""
    steps: int = 0
    images: tuple[str, ...] = ()  # columns that hold paths of images
    about: tuple[str, ...] = ()  # lines on its rows
    reasons: Mapping[str, str] = field(default_factory=dict)  # column -> what its cells hold
    left_out: dict[str, str] = field(default_factory=dict)  # column -> why it is no input


def inputs_of(source: Source, columns: Sequence[str], labels: Labels, reserved: Mapping[str, str]) -> Inputs:
    """The inputs among some columns of a source; `reserved` are columns that say something else, and what."""
    of = labels.of
    classes = labels.rows if source is labels.source else [of.get(one, -1) for one in source.ids]
    owners = range(len(source)) if source is labels.source else source.ids
    guesses: dict[str, Guess] = {}
    images: list[str] = []
    left_out: dict[str, str] = {}
    seen: dict[int, str] = {}  # hash of the cells -> the first column that holds them
    for name in columns:
        cells = source.texts(name)
        twin = seen.setdefault(hash(tuple(cells)), name)
        guess = guess_column(name, cells, source.habits) if name not in reserved and twin == name else None
        if name in reserved:
            left_out[name] = reserved[name]
        elif guess is None:
            left_out[name] = f"the same cells as {twin!r}" + (f", {reserved[twin]}" if twin in reserved else "")
        elif _are_images(cells):
            images.append(name)
        elif guess.column is None:
            left_out[name] = guess.why
        elif why := _tells(cells, classes, owners, list(labels.counts)):
            left_out[name] = why
        else:
            guesses[name] = guess
    made = _of_rows(source, guesses, labels)
    dated, gone = _dated({name: guess for name, guess in guesses.items() if name not in made.left_out}, source)
    columns_read = tuple(guess.column for guess in dated.values() if guess.column is not None)
    reasons = {name: (CHECK if guess.check else "") + guess.why for name, guess in dated.items()}
    return replace(made, columns=columns_read, images=tuple(images), reasons=reasons, left_out={**left_out, **made.left_out, **gone})


def _are_images(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if not is_missing(cell)]
    return bool(filled) and all(cell.lower().endswith(IMAGES) for cell in filled)


def _tells(cells: Sequence[str], classes: Sequence[int], owners: Sequence[object], names: Sequence[str]) -> str:
    """Why a column gives the label away; empty: it does not. `owners` say which sample a row is of; a few are too few to say so."""
    of_value: dict[str, set[int]] = defaultdict(set)
    filled: dict[bool, set[int]] = {True: set(), False: set()}
    samples = set()
    for cell, label, sample in zip(cells, classes, owners, strict=True):
        if label >= 0:
            samples.add(sample)
            of_value["" if is_missing(cell) else cell].add(label)
            filled[not is_missing(cell)].add(label)
    if len(samples) < FEWEST:
        return ""
    if filled[True] and filled[False] and not filled[True] & filled[False]:
        return f"filled in only where the label is {' or '.join(names[label] for label in sorted(filled[True]))}, and there always"
    if 1 < len(of_value) <= len(samples) // 10 and all(len(labels) == 1 for labels in of_value.values()):
        return "each of its values has one label alone: a copy of the label, or known only with it"
    return ""


# ---- several rows of an id


def _of_rows(source: Source, guesses: Mapping[str, Guess], labels: Labels) -> Inputs:
    """Kind, rows and order of a table, and the columns that these leave out."""
    counts = Counter(source.ids)
    if len(counts) == len(source):
        return Inputs()
    several = (
        f"{count(sum(n > 1 for n in counts.values()), 'id')} {'has' if sum(n > 1 for n in counts.values()) == 1 else 'have'} several rows"
    )
    if source is labels.source and labels.differ:
        return Inputs(
            rows="samples", about=(f"{CHECK}{several} and other labels in them: each row is a sample, those of an id stay together",)
        )
    order = _order(source, guesses)
    categories = [name for name, guess in guesses.items() if guess.column is not None and guess.column.kind == "category"]
    if order is None:
        gone = dict.fromkeys(categories, "a category has no mean, and no column orders the several rows of an id")
        return Inputs(rows="mean", about=(f"{CHECK}{several} and no column orders them: their mean is read",), left_out=gone)
    column = guesses[order].column
    written = column.format if column is not None and column.kind == "date" else ""
    gone = {order: "it orders the rows of an id"}
    if median(counts.values()) >= LONG and 2 * len(categories) < len(guesses):
        gone.update(dict.fromkeys(categories, "a sequence takes numbers, dates and ordered words; a category is none"))
        longest = max(counts.values())
        cut = f", the last {MOST_STEPS} of {longest} at most" if longest > MOST_STEPS else ""
        half = f"half of the {count(len(counts), 'id')} have {median(counts.values()):g} rows or more"
        about = f'{half}: a sequence by {order}{cut}; or kind = "vector" and rows = "last"'
        return Inputs((), "sequence", "one", order, written, MOST_STEPS if cut else 0, about=(about,), left_out=gone)
    about = f'{CHECK}{several}: the last by {order} is read; rows may also be "first", "mean" (of numbers) or "samples"'
    return Inputs((), "vector", "last", order, written, about=(about,), left_out=gone)


def _order(source: Source, guesses: Mapping[str, Guess]) -> str | None:
    """The column that orders the rows of an id, dates before numbers: filled everywhere, and different between the rows of an id."""
    several = {one for one, rows in Counter(source.ids).items() if rows > 1}
    for kind in ("date", "number"):
        for name, guess in guesses.items():
            if guess.column is None or guess.column.kind != kind or guess.column.missing or looks_like_birth(name):
                continue
            cells = source.texts(name)
            if any(map(is_missing, cells)) or (
                kind == "number" and not (_ORDERS.search(name) and all(plain_number(one) == plain_number(one) for one in cells))
            ):
                continue
            pairs = [(one, cell) for one, cell in zip(source.ids, cells, strict=True) if one in several]
            if len(set(pairs)) >= 0.9 * len(pairs):
                return name
    return None


# ---- dates


def _dated(guesses: Mapping[str, Guess], source: Source) -> tuple[dict[str, Guess], dict[str, str]]:
    """The same guesses with what each date counts from, and the dates that are left out because others count from them."""
    dates = {name: guess.column for name, guess in guesses.items() if guess.column is not None and guess.column.kind == "date"}
    if not dates:
        return dict(guesses), {}
    base = next((name for name in dates if looks_like_birth(name)), None) or _earliest(dates, source)
    found, gone = dict(guesses), {}
    for name, column in dates.items():
        why = guesses[name].why
        if name != base:
            made = replace(column, since=base, missing=tuple(dict.fromkeys((*column.missing, *dates[base].missing))))
            found[name] = replace(guesses[name], column=made, why=f"{why}; counted in days from {base}")
        elif len(dates) == 1 or any(other.format != column.format for other in dates.values()):
            note = "days from a fixed date; leave it out if the calendar should not matter, or is known only afterwards"
            found[name] = Guess(replace(column, since=START), f"{why}; {note}", True)
        else:
            del found[name]
            gone[name] = f"{why}; the other dates count from it"
    return found, gone


def _earliest(dates: Mapping[str, Column], source: Source) -> str:
    """The date that comes first in most rows, among those with the fewest gaps."""
    days = {name: [day_of(cell, column.format) for cell in source.texts(name)] for name, column in dates.items()}
    there = {name: sum(day is not None for day in column) for name, column in days.items()}
    full = [name for name in dates if there[name] >= 0.95 * max(there.values())]
    first: Counter[str] = Counter()
    for row in range(len(source)):
        known = {name: day.replace(tzinfo=None) for name in full if (day := days[name][row]) is not None}
        if known:
            first[min(known, key=known.__getitem__)] += 1
    return first.most_common(1)[0][0]

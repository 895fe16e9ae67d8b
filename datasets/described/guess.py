"""What a column of text cells holds: a guess that a person checks, with its reason in words.

`guess_column` looks at all cells of a column and at nothing else. It never decides silently: what could be meant in two ways carries
`check`, and a column that makes no input comes back without a kind and with the reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from bench.datasets.described.cells import is_missing
from bench.datasets.described.description import Column
from bench.datasets.described.words import count
from bench.datasets.described.written import (
    BOUND,
    MONTH_FIRST,
    NO_VALUE,
    PLAIN_NUMBER,
    WAYS,
    date_formats,
    day_of,
    is_number,
    number_of,
    number_ways,
    without_bound,
    without_time,
)

MOST_CATEGORIES = 50
MOST_LEVELS = 12
MOST_CODES = 10  # whole numbers of so few values may be codes
LONG_TEXT = 60  # signs of a cell that is prose

MAY_BE_A_CATEGORY = frozenset(("unknown", "unk", "refused", "not applicable", "not known", "unbekannt"))  # said of somebody

LADDERS = (  # words with an order, in lower case
    ("very low", "low", "medium", "high", "very high"),
    ("very low", "low", "moderate", "high", "very high"),
    ("low", "normal", "high"),
    ("none", "mild", "moderate", "severe"),
    ("no", "mild", "moderate", "severe"),
    ("absent", "mild", "moderate", "severe", "critical"),
    ("minimal", "mild", "moderate", "severe", "very severe"),
    ("never", "rarely", "sometimes", "often", "always"),
    ("poor", "fair", "good", "very good", "excellent"),
    ("strongly disagree", "disagree", "neutral", "agree", "strongly agree"),
    ("small", "medium", "large"),
    ("xs", "s", "m", "l", "xl"),
    ("leicht", "mittel", "schwer"),
    ("niedrig", "mittel", "hoch"),
    ("-", "+", "++", "+++", "++++"),
    ("neg", "+", "++", "+++", "++++"),
    ("negative", "trace", "1+", "2+", "3+", "4+"),
)
NEGATIVE = frozenset(
    ("no", "n", "false", "f", "0", "neg", "negative", "absent", "alive", "survived", "healthy", "control", "benign", "nein", "none")
)
ROMAN = ("0", "I", "II", "III", "IV", "V", "VI", "VII", "VIII")
RANKED = frozenset((  # words and letters whose numbers have an order
    "stage", "grade", "class", "level", "degree", "phase", "killip", "nyha", "asa", "ecog", "stadium", "grad",
    "t", "n", "g", "ct", "cn", "pt", "pn",
))  # fmt: skip

WHOLE = re.compile(r"[+-]?\d+(\.0+)?")
_CODE = re.compile(r"(-1|-9|-?(9{2,}|8{3,}|7{3,}))(\.0+)?")  # numbers that may stand for no value
_UNIT = re.compile(r"([+-]?\d[\d.,]*)\s*([A-Za-zµμ%°×]\S*)")


FAR_DAYS = frozenset({(1900, 1, 1), (1899, 12, 30), (1111, 11, 11), (9999, 12, 31), (2999, 12, 31), (2099, 12, 31)})  # stand for "none"
_BORN = re.compile(r"(birth|born|dob|geb)", re.IGNORECASE)
_CODED = re.compile(r"(?i:(^|[_\W])(id|ids|uuid|mrn|ssn|code|key)$)|(?<=[a-z])(ID|Id)$")  # what bears such a name counts nothing
_IDENTIFIER = re.compile(
    r"(?i:(^|[_\W])(id|ids|uuid|key|mrn|ssn|nr|no|number|index|row|record|code)$|^unnamed|^$)|(?<=[a-z])(ID|Id|Nr|No)$"
)


@dataclass(frozen=True)
class Guess:
    """What a column is read as, and why. Without a `column` it makes no input. A date still lacks what it counts from (`since`)."""

    column: Column | None
    why: str  # in words, for the comment beside its line
    check: bool = False  # it could be meant in two ways


@dataclass(frozen=True)
class Habits:
    """How the unambiguous cells of a file are written, which decides for the others."""

    decimal: str = ""
    month_first: bool | None = None


PLAIN = Habits()


def guess_column(name: str, cells: Sequence[str], habits: Habits = PLAIN) -> Guess:
    """The guess for a column. Shapes: cells (N,) of str, stripped."""
    counts = Counter(cell for cell in cells if not is_missing(cell))
    filled = sum(counts.values())
    empty = len(cells) - filled
    if not counts:
        return Guess(None, "every cell is empty")
    if len(counts) == 1 and not empty:
        return Guess(None, f"the same in every row: {_quoted(counts)}")
    nones = Counter(cell for cell in cells if cell.lower() == "none")  # missing elsewhere, a step of a ladder that begins with it
    found = _ladder(name, counts + nones) if nones else None
    if found is not None:
        empty, nones = empty - nones.total(), Counter()
    else:
        found = (
            _row_counter(name, counts, filled)
            or _dates(name, counts, habits)
            or _numbers(name, counts, habits)
            or _ladder(name, counts)
            or _categories(name, counts)
        )
    if not empty or found.column is None:
        return found
    what, sign, notes = found.why.partition("; ")
    why = f"{what}, {empty} of {len(cells)} empty{sign}{notes}"
    if nones and found.column.kind in ("category", "ordered"):
        return Guess(found.column, f"{why}; {_cells(nones.total())} {_quoted(nones)} count as empty, though it may be a value", True)
    return replace(found, why=why)


def habits_of(columns: Iterable[Sequence[str]]) -> Habits:
    """What the cells of a file that can be read in one way alone say of the others; what they do not agree on stays open."""
    decimals, firsts = set(), set()
    for cells in columns:
        counts = Counter(cell for cell in cells if not is_missing(cell))
        if not counts:
            continue
        formats = date_formats(counts)
        ways = {without_time(one) in MONTH_FIRST for one in formats if without_time(one) in {*MONTH_FIRST, *MONTH_FIRST.values()}}
        if len(ways) == 1:
            firsts |= ways
        if not formats and any("," in cell for cell in counts):
            marks = {mark for mark, _ in number_ways(without_bound(cell) for cell in counts if cell.lower() not in NO_VALUE)}
            decimals |= marks if len(marks) == 1 else set()
    return Habits(decimals.pop() if len(decimals) == 1 else "", firsts.pop() if len(firsts) == 1 else None)


def looks_like_birth(name: str) -> bool:
    return _BORN.search(name) is not None


def looks_like_an_id(name: str) -> bool:
    return _IDENTIFIER.search(name) is not None


# Dates


def _dates(name: str, counts: Counter[str], habits: Habits) -> Guess | None:
    formats = date_formats(counts)
    if not formats:
        return _mixed_dates(counts)
    words = [cell for cell in counts if cell.lower() in NO_VALUE]
    written, check, other = formats[0], False, ""
    ways = {without_time(one) in MONTH_FIRST: one for one in formats if without_time(one) in {*MONTH_FIRST, *MONTH_FIRST.values()}}
    if len(ways) == 2:
        first = habits.month_first
        written, check = ways[bool(first)], first is None
        example = next(cell for cell in counts if cell not in words)
        day, swapped = (day_of(example, ways[way]) for way in (bool(first), not first))
        other = f"; {example} may also be {swapped:%Y-%m-%d} ({ways[not first]})" if check else ", as elsewhere in this file"
        other = f", {example} as {day:%Y-%m-%d}{other}"
    days = {cell: day_of(cell, written) for cell in counts if cell not in words}
    far = [cell for cell, day in days.items() if day and (day.year, day.month, day.day) in FAR_DAYS]
    near = [day for cell, day in days.items() if day and cell not in far]
    if not near:
        return Guess(None, f"every date is {_quoted(far)}, which stands for none")
    column = Column(name, "date", missing=(*words, *far), format=written)
    why = f"dates {min(near):%Y-%m-%d} to {max(near):%Y-%m-%d}{other}{_as_missing(counts, [*words, *far])}"
    return Guess(column, why, check or bool(far))


def _mixed_dates(counts: Counter[str]) -> Guess | None:
    """Every cell is a date, but no format fits them all."""
    formats: dict[str, str] = {}  # format -> its first cell
    for cell in counts:
        fits = [written for written in formats if day_of(cell, written)] or date_formats([cell])
        if not fits or "%Y%m%d" in fits[0]:
            return None
        formats.setdefault(fits[0], cell)
    examples = ", ".join(repr(cell) for cell in list(formats.values())[:3])
    return Guess(None, f"dates are written in {len(formats)} ways ({examples}); write them all as 2020-12-31")


# Numbers


def _numbers(name: str, counts: Counter[str], habits: Habits) -> Guess | None:
    numeric = {cell: is_number(without_bound(cell)) for cell in counts}
    cells, others = ([cell for cell in counts if numeric[cell] == wanted] for wanted in (True, False))
    if (units := _units(counts)) and len(counts) > MOST_LEVELS:
        return Guess(None, f"numbers with a unit ({', '.join(units)}), such as {_quoted(others)}; write the number alone")
    strange = [cell for cell in others if cell.lower() not in NO_VALUE]
    if not cells or 10 * sum(counts[cell] for cell in strange) > sum(counts.values()) or len(strange) > 3:  # words among numbers are few
        return None
    ways = number_ways(map(without_bound, cells))
    if not ways:
        return Guess(None, f"decimal marks are mixed ({_mixed(cells)}); write all of them alike")
    way = next((way for way in ways if way[0] == habits.decimal), ways[0])
    is_open = len({number_of(without_bound(cell), one) for cell in cells for one in ways}) > len(
        {number_of(without_bound(cell), way) for cell in cells}
    )
    return _number(name, counts, cells, others, way, is_open and (not habits.decimal or way != ways[0]))


def _number(name: str, counts: Counter[str], cells: list[str], others: list[str], way: tuple[str, str], is_open: bool) -> Guess:
    """A column of numbers written in one way, with words for no value among them."""
    numbers = {cell: number_of(without_bound(cell), way) for cell in cells}
    codes = _stand_for_none({cell: number for cell, number in numbers.items() if not BOUND.match(cell)}, counts)
    kept = {cell: number for cell, number in numbers.items() if cell not in codes}
    words = (*others, *codes)
    whole = all(WHOLE.fullmatch(cell) for cell in kept)
    notes = [f"{'whole ' if whole else ''}numbers {min(kept.values()):.12g} to {max(kept.values()):.12g}{_as_missing(counts, words)}"]
    bounds = {signs: [cell for cell in kept if cell[0] in signs] for signs in ("<≤", ">≥")}
    for found, what in zip(bounds.values(), ("half of the limit", "the limit"), strict=True):
        if found:
            notes.append(f"{_cells(sum(counts[cell] for cell in found))} such as {_quoted(found)} read as {what}")
    shown = next((cell for cell in kept if "," in cell or (way[1] and way[1] in cell)), None)
    if shown is not None:
        notes.append(f"{shown!r} read as {numbers[shown]:.12g}" + (", which could be meant otherwise" if is_open else ""))
    if whole and _CODED.search(name):
        return _named_by_numbers(name, kept, counts, words)
    if whole and 2 < len(kept) <= MOST_CODES:
        notes.append('codes without an order would be "category"')
    column = Column(
        name,
        missing=words,
        decimal=way[0],
        thousands=way[1],
        below="half" if bounds["<≤"] else "refuse",
        above="limit" if bounds[">≥"] else "refuse",
    )
    return Guess(column, "; ".join(notes), bool(codes) or is_open or any(cell.lower() not in NO_VALUE for cell in others))


def _named_by_numbers(name: str, kept: Collection[str], counts: Counter[str], words: tuple[str, ...]) -> Guess:
    """A column whose numbers name something, as its own name says: a site, a ward, a doctor."""
    if len(kept) > MOST_CODES:
        return Guess(None, f"{len(kept)} numbers that name something, going by the column's name, such as {_quoted(kept)}")
    why = f"{len(kept)} numbers that name something, going by the column's name{_as_missing(counts, words)}"
    return Guess(Column(name, "category", missing=words), why, True)


def _units(cells: Iterable[str]) -> list[str]:
    """What stands behind the numbers, if all cells are numbers and most have one unit, or one of a few."""
    found: Counter[str] = Counter()
    for cell in cells:
        match = _UNIT.fullmatch(without_bound(cell))
        if match and not is_number(match[0]):
            found[match[2]] += 1
            if len(found) > 3:
                return []
        elif not is_number(without_bound(cell)):
            return []
    is_unit = len(found) == 1 or (len(found) <= 3 and all(len(unit) > 1 for unit in found))
    return sorted(found) if is_unit else []


def _mixed(cells: Iterable[str]) -> str:
    """Two cells that no one way of writing has, or three that no one has together."""
    kinds: dict[tuple[tuple[str, str], ...], str] = {}  # ways of writing -> the first cell that has them and no others
    for cell in cells:
        kinds.setdefault(tuple(way for way, forms in WAYS.items() if any(form.fullmatch(without_bound(cell)) for form in forms)), cell)
    pairs = (pair for pair in combinations(kinds, 2) if not set(pair[0]) & set(pair[1]))
    return ", ".join(repr(kinds[ways]) for ways in next(pairs, list(kinds)[:3]))


def _stand_for_none(numbers: Mapping[str, float], counts: Counter[str]) -> list[str]:
    """Cells such as -99 or 9999 that come again and again, far away from all others: codes for no value."""
    codes = {cell: number for cell, number in numbers.items() if _CODE.fullmatch(cell)}
    others = [number for cell, number in numbers.items() if cell not in codes]
    if len(others) < 3:
        return []
    low, high = min(others), max(others)
    return [
        cell
        for cell, number in codes.items()
        if counts[cell] >= (3 if abs(number) < 10 else 2) and (low >= 0 if number < 0 else 0 < 3 * high < number)
    ]


# Words


def _ladder(name: str, counts: Counter[str]) -> Guess | None:
    """Words with an order: known ones, stages and grades, bands of numbers."""
    cells = list(counts)
    if not 3 <= len(cells) <= MOST_LEVELS or len({cell.lower() for cell in cells}) < len(cells):
        return None
    levels = next((_by(cells, ladder) for ladder in LADDERS if {cell.lower() for cell in cells} <= set(ladder)), None)
    levels = levels or _stages(cells) or _bands(cells)
    if levels is None:
        return None
    return Guess(Column(name, "ordered", levels=tuple(levels)), f"words in an order: {', '.join(levels)}")


def _by(cells: Sequence[str], ladder: Sequence[str]) -> list[str]:
    return sorted(cells, key=lambda cell: ladder.index(cell.lower()))


def _stages(cells: Sequence[str]) -> list[str] | None:
    """I, II, III; IIa, IIb; grade 1, grade 2; T1, T2."""
    places = {}
    for cell in cells:
        match = re.fullmatch(r"([A-Za-z]*)[ .:_-]*?([IV]+|\d+)\s*([a-cA-C]?)", cell)
        match = re.fullmatch(r"()([IV]+)([a-cA-C]?)", cell) or match
        if match is None or (match[1].lower() not in RANKED if match[1] or match[2].isdigit() else False):
            return None
        if match[2].isdigit():
            places[cell] = (int(match[2]), match[3].lower())
        elif match[2] in ROMAN:
            places[cell] = (ROMAN.index(match[2]), match[3].lower())
        else:
            return None
    return sorted(cells, key=places.__getitem__) if len(set(places.values())) == len(cells) else None


def _bands(cells: Sequence[str]) -> list[str] | None:
    """<18, 18-39, 40-64, 65+."""
    places: dict[str, tuple[float, int]] = {}
    for cell in cells:
        if match := re.fullmatch(r"(\d+)\s*(?:-|–|to)\s*(\d+)", cell):
            if int(match[1]) >= int(match[2]):
                return None
            places[cell] = (int(match[1]), 0)
        elif match := re.fullmatch(r"(<|≤|<=)\s*(\d+)", cell):
            places[cell] = (-1.0, 0)
        elif match := re.fullmatch(r"(>|≥|>=)\s*(\d+)|(\d+)\s*\+", cell):
            places[cell] = (int(match[2] or match[3]), 1)
        else:
            return None
    banded = any(not cell.startswith(tuple("<>≤≥")) for cell in cells)
    return sorted(cells, key=places.__getitem__) if banded and len(set(places.values())) == len(cells) else None


def _categories(name: str, counts: Counter[str]) -> Guess:
    words = [cell for cell in counts if cell.lower() in NO_VALUE - MAY_BE_A_CATEGORY]
    kept = Counter({cell: count for cell, count in counts.items() if cell not in words})
    filled = sum(kept.values())
    if not kept:
        return Guess(None, f"no cell holds a value ({_quoted(words)})")
    if max(map(len, kept)) > LONG_TEXT or sorted(len(cell.split()) for cell in kept)[len(kept) // 2] > 4:
        return Guess(None, f"free text, such as {_quoted(kept)}; make numbers of it first")
    if len(kept) > max(2, min(MOST_CATEGORIES, filled // 3)):
        return Guess(None, f"{len(kept)} different texts in {filled} cells, such as {_quoted(kept)}: a name, an id or free text")
    common = [cell for cell, _ in kept.most_common()]
    shown = ", ".join(common[:4]) + (f" and {len(common) - 4} more" if len(common) > 4 else "")
    alike = twins(common)
    note = f"; {alike[0]!r} and {alike[1]!r} are two categories, unless you change the cells" if alike else ""
    why = f"{len(kept)} {'category' if len(kept) == 1 else 'categories'}: {shown}{note}{_as_missing(counts, words)}"
    return Guess(Column(name, "category", missing=tuple(words)), why, bool(alike))


def twins(cells: Sequence[str]) -> tuple[str, str] | None:
    """Two categories that differ in case or blanks alone."""
    seen: dict[str, str] = {}
    for cell in cells:
        key = " ".join(cell.lower().split())
        if key in seen:
            return seen[key], cell
        seen[key] = cell
    return None


def _row_counter(name: str, counts: Counter[str], filled: int) -> Guess | None:
    """Whole numbers or texts that number the rows, or name something in every row."""
    if len(counts) < filled or filled < 5:
        return None
    whole = sorted(int(float(cell)) for cell in counts if WHOLE.fullmatch(cell))
    if len(whole) == len(counts) and whole == list(range(whole[0], whole[0] + len(whole))):
        return Guess(None, f"numbers the rows, {whole[0]} to {whole[-1]}")
    is_named = looks_like_an_id(name) or (name.lower().endswith("id") and filled >= 50)  # "stayid", and not "paid" of a few rows
    if is_named and all(WHOLE.fullmatch(cell) or not is_number(cell) for cell in counts):
        return Guess(None, f"an id: another value in every row, such as {_quoted(counts)}")
    return None


def label_order(counts: Mapping[str, int]) -> list[str]:
    """Classes in the order of a schema: numbers and known words as they rise, "no" before "yes", else the commonest first."""
    names = list(counts)
    if all(PLAIN_NUMBER["."].fullmatch(name) for name in names):
        return sorted(names, key=float)
    ladder = _ladder("", Counter(counts))
    if ladder is not None and ladder.column is not None:
        return list(ladder.column.levels)
    if len(names) == 2 and any(name.lower() in NEGATIVE for name in names):
        return sorted(names, key=lambda name: name.lower() not in NEGATIVE)
    return sorted(names, key=lambda name: (-counts[name], name))


# In words


def _cells(number: int) -> str:
    return count(number, "cell")


def _quoted(cells: Iterable[str]) -> str:
    cell = next(iter(cells))
    return repr(cell if len(cell) <= 30 else f"{cell[:29]}…")


def _as_missing(counts: Counter[str], words: Sequence[str]) -> str:
    return "" if not words else "; " + ", ".join(f"{_cells(counts[word])} {word!r}" for word in words[:3]) + " read as missing"

"""What a column of text cells holds: a guess that a person checks, with its reason in words.

`guess_column` looks at all cells of a column and at nothing else. It never decides silently: what could be meant in two ways carries
`check`, and a column that makes no input comes back without a kind and with the reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations, product

from bench.datasets.described.cells import ISO, SPACES, is_missing
from bench.datasets.described.description import Column

MOST_CATEGORIES = 50
MOST_LEVELS = 12
MOST_CODES = 10  # whole numbers of so few values may be codes
LONG_TEXT = 60  # signs of a cell that is prose

# Words that stand where a value should, beside those that are missing in every column (`cells`)
NO_VALUE = frozenset((
    "-", "--", "---", "—", "n.a.", "n. a.", "n/d", "nd", "n.d.", "n. d.", "#n/a", "<na>", "#value!", "#ref!", "#div/0!", "#num!", "inf",
    "unk", "unknown", "missing", "pending", "refused", "tbd", "not done", "not_done", "not available", "not_available", "not measured",
    "not applicable", "not known", "k.a.", "k. a.", "keine angabe", "unbekannt", "fehlt",
))  # fmt: skip
MAY_BE_A_CATEGORY = frozenset(("unknown", "unk", "refused", "not applicable", "not known", "unbekannt"))  # said of somebody

LADDERS = (  # words with an order, in lower case
    ("very low", "low", "medium", "high", "very high"),
    ("very low", "low", "moderate", "high", "very high"),
    ("low", "normal", "high"),
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

BOUND = re.compile(r"(<=|>=|<|>|≤|≥)\s*(?=[\d.,+−-])")
WHOLE = re.compile(r"[+-]?\d+(\.0+)?")
_CODE = re.compile(r"(-1|-9|-?(9{2,}|8{3,}|7{3,}))(\.0+)?")  # numbers that may stand for no value
_UNIT = re.compile(r"([+-]?\d[\d.,]*)\s*([A-Za-zµμ%°×]\S*)")
_KEYBOARD = {**dict.fromkeys(map(ord, SPACES), " "), ord("−"): "-", ord("’"): "'"}
_PLAIN = {mark: re.compile(rf"[+-]?(\d+[{mark}]?\d*|[{mark}]\d+)([eE][+-]?\d+)?") for mark in ".,"}


def _grouped(mark: str, sign: str) -> re.Pattern[str]:
    return re.compile(rf"[+-]?[1-9]\d{{0,2}}([{sign}]\d{{3}})+([{mark}]\d+)?")


WAYS = {  # decimal mark and sign between thousands -> the forms a number then has, the usual way first
    (".", ""): (_PLAIN["."],),
    (".", ","): (_PLAIN["."], _grouped(".", ",")),
    (",", ""): (_PLAIN[","],),
    (",", "."): (_PLAIN[","], _grouped(",", ".")),
    **{(mark, sign): (_PLAIN[mark], _grouped(mark, sign)) for sign in " '" for mark in ".,"},
}

_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y",
         "%b %d, %Y", "%B %d, %Y", "%d%b%Y", "%Y%m%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%y")  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S.%f", " %I:%M %p")
FORMATS = tuple(day + time for time, day in product(_TIMES, _DAYS))
MONTH_FIRST = {"%m/%d/%Y": "%d/%m/%Y", "%m-%d-%Y": "%d-%m-%Y", "%m/%d/%y": "%d/%m/%y"}  # how the same digits read with the day first
FAR_DAYS = frozenset({(1900, 1, 1), (1899, 12, 30), (1111, 11, 11), (9999, 12, 31), (2999, 12, 31), (2099, 12, 31)})  # stand for "none"
_DATE = re.compile(
    r"\d{1,4}([-./ ])(\d{1,2}|[A-Za-z]{3,9})\1\d{1,4}.*|[A-Za-z]{3,9} \d{1,2}, \d{4}.*|\d{1,2}[A-Za-z]{3}\d{4}.*|\d{8}([ T]\d.*)?"
)
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
    return replace(found, why=f"{what}, {empty} of {len(cells)} empty{sign}{notes}")


def habits_of(columns: Iterable[Sequence[str]]) -> Habits:
    """What the cells of a file that can be read in one way alone say of the others; what they do not agree on stays open."""
    decimals, firsts = set(), set()
    for cells in columns:
        counts = Counter(cell for cell in cells if not is_missing(cell))
        if not counts:
            continue
        formats = date_formats(counts)
        ways = {_without_time(one) in MONTH_FIRST for one in formats if _without_time(one) in {*MONTH_FIRST, *MONTH_FIRST.values()}}
        if len(ways) == 1:
            firsts |= ways
        if not formats and any("," in cell for cell in counts):
            marks = {mark for mark, _ in number_ways(_without_bound(cell) for cell in counts if cell.lower() not in NO_VALUE)}
            decimals |= marks if len(marks) == 1 else set()
    return Habits(decimals.pop() if len(decimals) == 1 else "", firsts.pop() if len(firsts) == 1 else None)


def looks_like_birth(name: str) -> bool:
    return _BORN.search(name) is not None


def looks_like_an_id(name: str) -> bool:
    return _IDENTIFIER.search(name) is not None


# Dates


def day_of(cell: str, written: str) -> datetime | None:
    """The time a cell names in a format of `datetime.strptime`, or "" for ISO 8601; None if it names none.

    >>> day_of("31.12.2019", "%d.%m.%Y")
    datetime.datetime(2019, 12, 31, 0, 0)
    """
    try:
        return datetime.strptime(cell, written) if written else datetime.fromisoformat(cell)
    except ValueError:
        return None


def date_formats(cells: Collection[str]) -> list[str]:
    """Formats of FORMATS that fit every cell, words that stand for no value apart, or "" for ISO 8601; empty if there is none.

    >>> date_formats(["3/4/2020", "13/4/2020"])
    ['%d/%m/%Y']
    """
    found = list(FORMATS)
    seen = False
    texts = [cell for cell in cells if cell.lower() not in NO_VALUE]
    if texts and all(_is_iso(cell) for cell in texts) and len({datetime.fromisoformat(cell).tzinfo is None for cell in texts}) == 1:
        return [""]
    for cell in cells:
        if cell.lower() in NO_VALUE:
            continue
        if not _DATE.fullmatch(cell):
            return []
        seen = True
        found = [written for written in found if day_of(cell, written)]
        if not found:
            return []
    if seen and found[0].startswith("%Y%m%d"):  # eight digits may be any number
        days = [day_of(cell, found[0]) for cell in cells]
        seen = all(1880 <= day.year <= 2100 for day in days if day is not None)
    return found if seen else []


def _is_iso(cell: str) -> bool:
    return ISO.fullmatch(cell) is not None and day_of(cell, "") is not None


def _without_time(written: str) -> str:
    return written and next(day for day in sorted(_DAYS, key=len, reverse=True) if written.startswith(day))


def _dates(name: str, counts: Counter[str], habits: Habits) -> Guess | None:
    formats = date_formats(counts)
    if not formats:
        return _mixed_dates(counts)
    words = [cell for cell in counts if cell.lower() in NO_VALUE]
    written, check, other = formats[0], False, ""
    ways = {_without_time(one) in MONTH_FIRST: one for one in formats if _without_time(one) in {*MONTH_FIRST, *MONTH_FIRST.values()}}
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
        fits = [written for written in formats if day_of(cell, written)] or (date_formats([cell]) if _DATE.fullmatch(cell) else [])
        if not fits or "%Y%m%d" in fits[0]:
            return None
        formats.setdefault(fits[0], cell)
    examples = ", ".join(repr(cell) for cell in list(formats.values())[:3])
    return Guess(None, f"dates are written in {len(formats)} ways ({examples}); write them all as 2020-12-31")


# Numbers


def number_ways(bare: Iterable[str]) -> list[tuple[str, str]]:
    """Decimal marks and signs between thousands under which every text is a number; the usual way first.

    >>> number_ways(["1,234", "5"])
    [('.', ','), (',', '')]
    >>> number_ways(["1.234,5"])
    [(',', '.')]
    """
    texts = list(bare)
    found = [way for way, forms in WAYS.items() if all(any(form.fullmatch(text) for form in forms) for text in texts)]
    return [way for way in found if not way[1] or any(way[1] in text for text in texts)]  # nobody groups by a sign that is not there


def number_of(bare: str, way: tuple[str, str]) -> float:
    """The number that a text without a bound holds.

    >>> number_of("1.234,5", (",", "."))
    1234.5
    """
    mark, sign = way
    return float((bare.replace(sign, "") if sign else bare).replace(mark, "."))


def _without_bound(cell: str) -> str:
    """The number of a cell such as "< 0.5", its signs as keyboards have them."""
    bare = BOUND.sub("", cell, count=1) if BOUND.match(cell) else cell
    return bare.translate(_KEYBOARD)


def _is_number(bare: str) -> bool:
    return any(form.fullmatch(bare) for forms in WAYS.values() for form in forms)


def _numbers(name: str, counts: Counter[str], habits: Habits) -> Guess | None:
    is_number = {cell: _is_number(_without_bound(cell)) for cell in counts}
    cells, others = ([cell for cell in counts if is_number[cell] == wanted] for wanted in (True, False))
    if (units := _units(counts)) and len(counts) > MOST_LEVELS:
        return Guess(None, f"numbers with a unit ({', '.join(units)}), such as {_quoted(others)}; write the number alone")
    strange = [cell for cell in others if cell.lower() not in NO_VALUE]
    if not cells or 10 * sum(counts[cell] for cell in strange) > sum(counts.values()) or len(strange) > 3:  # words among numbers are few
        return None
    ways = number_ways(map(_without_bound, cells))
    if not ways:
        return Guess(None, f"decimal marks are mixed ({_mixed(cells)}); write all of them alike")
    way = next((way for way in ways if way[0] == habits.decimal), ways[0])
    is_open = len({number_of(_without_bound(cell), one) for cell in cells for one in ways}) > len(
        {number_of(_without_bound(cell), way) for cell in cells}
    )
    return _number(name, counts, cells, others, way, is_open and (not habits.decimal or way != ways[0]))


def _number(name: str, counts: Counter[str], cells: list[str], others: list[str], way: tuple[str, str], is_open: bool) -> Guess:
    """A column of numbers written in one way, with words for no value among them."""
    numbers = {cell: number_of(_without_bound(cell), way) for cell in cells}
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
        match = _UNIT.fullmatch(_without_bound(cell))
        if match and not _is_number(match[0]):
            found[match[2]] += 1
            if len(found) > 3:
                return []
        elif not _is_number(_without_bound(cell)):
            return []
    is_unit = len(found) == 1 or (len(found) <= 3 and all(len(unit) > 1 for unit in found))
    return sorted(found) if is_unit else []


def _mixed(cells: Iterable[str]) -> str:
    """Two cells that no one way of writing has, or three that no one has together."""
    kinds: dict[tuple[tuple[str, str], ...], str] = {}  # ways of writing -> the first cell that has them and no others
    for cell in cells:
        kinds.setdefault(tuple(way for way, forms in WAYS.items() if any(form.fullmatch(_without_bound(cell)) for form in forms)), cell)
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
    if is_named and all(WHOLE.fullmatch(cell) or not _is_number(cell) for cell in counts):
        return Guess(None, f"an id: another value in every row, such as {_quoted(counts)}")
    return None


def label_order(counts: Mapping[str, int]) -> list[str]:
    """Classes in the order of a schema: numbers and known words as they rise, "no" before "yes", else the commonest first."""
    names = list(counts)
    if all(_PLAIN["."].fullmatch(name) for name in names):
        return sorted(names, key=float)
    ladder = _ladder("", Counter(counts))
    if ladder is not None and ladder.column is not None:
        return list(ladder.column.levels)
    if len(names) == 2 and any(name.lower() in NEGATIVE for name in names):
        return sorted(names, key=lambda name: name.lower() not in NEGATIVE)
    return sorted(names, key=lambda name: (-counts[name], name))


# In words


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _quoted(cells: Iterable[str]) -> str:
    cell = next(iter(cells))
    return repr(cell if len(cell) <= 30 else f"{cell[:29]}…")


def _as_missing(counts: Counter[str], words: Sequence[str]) -> str:
    return "" if not words else "; " + ", ".join(f"{_cells(counts[word])} {word!r}" for word in words[:3]) + " read as missing"

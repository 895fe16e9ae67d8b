"""How numbers and dates are written: the marks and formats under which all cells of a column can be read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from itertools import product

from bench.datasets.described.cells import ISO, SPACES

# Words that stand where a value should, beside those that are missing in every column (`cells`)
NO_VALUE = frozenset((
    "-", "--", "---", "—", "n.a.", "n. a.", "n/d", "nd", "n.d.", "n. d.", "#n/a", "<na>", "#value!", "#ref!", "#div/0!", "#num!", "inf",
    "unk", "unknown", "missing", "pending", "refused", "tbd", "not done", "not_done", "not available", "not_available", "not measured",
    "not applicable", "not known", "k.a.", "k. a.", "keine angabe", "unbekannt", "fehlt",
))  # fmt: skip

BOUND = re.compile(r"(<=|>=|<|>|≤|≥)\s*(?=[\d.,+−-])")
_KEYBOARD = {**dict.fromkeys(map(ord, SPACES), " "), ord("−"): "-", ord("’"): "'"}
PLAIN_NUMBER = {mark: re.compile(rf"[+-]?(\d+[{mark}]?\d*|[{mark}]\d+)([eE][+-]?\d+)?") for mark in ".,"}


def _grouped(mark: str, sign: str) -> re.Pattern[str]:
    return re.compile(rf"[+-]?[1-9]\d{{0,2}}([{sign}]\d{{3}})+([{mark}]\d+)?")


WAYS = {  # decimal mark and sign between thousands -> the forms a number then has, the usual way first
    (".", ""): (PLAIN_NUMBER["."],),
    (".", ","): (PLAIN_NUMBER["."], _grouped(".", ",")),
    (",", ""): (PLAIN_NUMBER[","],),
    (",", "."): (PLAIN_NUMBER[","], _grouped(",", ".")),
    **{(mark, sign): (PLAIN_NUMBER[mark], _grouped(mark, sign)) for sign in " '" for mark in ".,"},
}

_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y",
         "%b %d, %Y", "%B %d, %Y", "%d%b%Y", "%Y%m%d", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%b-%y")  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M", "T%H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S.%f", " %I:%M %p")
FORMATS = tuple(day + time for time, day in product(_TIMES, _DAYS))
MONTH_FIRST = {"%m/%d/%Y": "%d/%m/%Y", "%m-%d-%Y": "%d-%m-%Y", "%m/%d/%y": "%d/%m/%y"}  # how the same digits read with the day first
_DATE = re.compile(
    r"\d{1,4}([-./ ])(\d{1,2}|[A-Za-z]{3,9})\1\d{1,4}.*|[A-Za-z]{3,9} \d{1,2}, \d{4}.*|\d{1,2}[A-Za-z]{3}\d{4}.*|\d{8}([ T]\d.*)?"
)


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


def without_time(written: str) -> str:
    return written and next(day for day in sorted(_DAYS, key=len, reverse=True) if written.startswith(day))


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


def without_bound(cell: str) -> str:
    """The number of a cell such as "< 0.5", its signs as keyboards have them."""
    bare = BOUND.sub("", cell, count=1) if BOUND.match(cell) else cell
    return bare.translate(_KEYBOARD)


def is_number(bare: str) -> bool:
    return any(form.fullmatch(bare) for forms in WAYS.values() for form in forms)

"""Cells as numbers, dates, orders and categories, in the way that a column of a description says.

A function takes the sheet and the column, gives float64, NaN where a cell is missing, and notes what it handled. A cell that is not of its
kind is a `DataError` with file, line, column and value, and the key of the description that would read it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np

from bench.datasets.base import DataError
from bench.datasets.described.description import Column
from bench.datasets.described.sheets import Sheet
from bench.datasets.described.words import agreeing, count
from bench.datasets.tables import LARGEST_NUMBER, plain_number

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", ".", "?", "<na>", "#n/a", "nat"))  # in small letters
BOUND = re.compile(r"(<=|>=|[<>≤≥])\s*(.+)")  # "<0.5": below what a laboratory can measure
ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}.*)?")
WHOLE = re.compile(r"([+-]?\d+)\.0+")  # a whole number that was read as a float
SPACES = "\u00a0\u202f\u2009"  # what stands for a blank between thousands
MOST_CATEGORIES = 200
GROUPED = r"[+-]?\d{1,3}(?:\.\d{3})+"  # points that may part thousands
DAY = 86_400  # seconds
Notes = list[str]


def is_missing(text: str, words: Iterable[str] = ()) -> bool:
    """Whether a text means that there is no value; `words` are further ones.

    >>> is_missing("N/A"), is_missing("-99", ("-99",)), is_missing("0")
    (True, True, False)
    """
    return text.lower() in MISSING or text in words


def distinct(cells: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which of the different texts each cell is, and these in the order in which they come. Shapes: (N,) -> (N,) int64."""
    import pandas as pd

    codes, texts = pd.factorize(cells.astype(object), use_na_sentinel=False)
    return codes, [str(text) for text in texts]


def texts_of(cells: np.ndarray) -> np.ndarray:
    """Cells as texts, whatever the file stored: whole numbers without a point, "" where there is none. Shapes: (N,) -> (N,) objects."""
    if cells.dtype.kind == "O":
        return cells
    if cells.dtype.kind == "M":
        return np.array(["" if np.isnat(cell) else str(cell) for cell in cells], dtype=object)
    if cells.dtype.kind == "f":
        return np.array(["" if np.isnan(cell) else repr(int(cell) if cell == int(cell) else cell) for cell in cells.tolist()], dtype=object)
    return np.array([str(cell) for cell in cells.tolist()], dtype=object)


def values_of(sheet: Sheet, column: Column, formats: Mapping[str, str]) -> tuple[np.ndarray, Notes]:
    """A column of numbers, dates or an order as numbers. `formats` says how the dates of other columns are written, where that is said.

    Shapes: -> (N,) float64, NaN where a cell is missing. Raises: DataError.
    """
    if column.kind == "number":
        return numbers(sheet, column)
    if column.kind == "ordered":
        return ordered(sheet, column)
    return days(sheet, column, formats)


# ---- numbers


def numbers(sheet: Sheet, column: Column) -> tuple[np.ndarray, Notes]:
    """Shapes: -> (N,) float64. Raises: DataError on a cell that is no finite number."""
    cells, blanks = sheet.column(column.name), [number for word in column.missing if not np.isnan(number := plain_number(word))]
    if cells.dtype.kind == "M":
        raise sheet.refuse(0, column.name, 'be a number, and the file stores times; read it as = "date"', cells[0])
    if cells.dtype.kind != "O":
        found = cells.astype(np.float64)
        gone = np.isin(found, blanks)
        found[gone] = np.nan
        _check_finite(sheet, column, found, cells)
        n = int(gone.sum())
        verb = agreeing(n, "counts", "count")
        return found, [f"{column.name}: {count(n, 'cell')} {', '.join(column.missing)} {verb} as missing"] if n else []
    codes, texts = distinct(cells)
    values, said = np.full(len(texts), np.nan), Counter[str]()
    counts = np.bincount(codes, minlength=len(texts))
    for place, text in enumerate(texts):
        if is_missing(text, column.missing):
            said[f"{text!r} count as missing"] += int(counts[place]) if text else 0
            continue
        number, how = _number(text, column)
        if np.isnan(number) and not how:
            raise sheet.refuse(int((codes == place).argmax()), column.name, "be a number or empty", text, advice(text, column))
        if number in blanks:
            number, how = np.nan, "count as missing"
        values[place] = number
        if how:
            said[f"{text!r} {how}"] += int(counts[place])
    found = values[codes]
    _check_finite(sheet, column, found, cells)
    return found, _counted(column.name, said)


def _number(text: str, column: Column) -> tuple[float, str]:
    """What a text stands for, and what to say of that; NaN and "" if it is no number."""
    bound = BOUND.fullmatch(text)
    if bound:
        limit = plain_number(_point(bound[2].strip(), column))
        is_below = bound[1][0] in "<≤"
        rule = column.below if is_below else column.above
        if rule == "refuse" or np.isnan(limit):
            return np.nan, ""
        if rule == "missing":
            return np.nan, "count as missing"
        read = limit / 2 if rule == "half" else limit
        return read, f"read as {read:g}"
    number = plain_number(_point(text, column))
    return number, "read with a decimal point" if column.decimal == "," and "." in _point(text, column) == text else ""


def _point(text: str, column: Column) -> str:
    """A number with a decimal point and no sign between thousands; the text as it is if it is not written in that way."""
    decimal, thousands = re.escape(column.decimal), column.thousands
    text = text.replace("\u2212", "-")  # the minus of typesetters
    if thousands:
        if thousands == " ":
            text = text.translate(dict.fromkeys(map(ord, SPACES), " "))
        text = text.replace("’", "'") if thousands == "'" else text
        if re.fullmatch(rf"[+-]?\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+(?:{decimal}\d*)?", text):
            text = text.replace(thousands, "")
    if column.decimal == "." or (re.fullmatch(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?", text) and not re.fullmatch(GROUPED, text)):
        return text  # a decimal point among decimal commas is one, unless it may part thousands
    return text.replace(",", ".") if re.fullmatch(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?", text) else "no number"


def advice(text: str, column: Column) -> str:
    """Which key of the description would read a text that is no number, if one sees what it is."""
    bound = BOUND.fullmatch(text)
    if bound:
        key, rule = ("below", column.below) if bound[1][0] in "<≤" else ("above", column.above)
        if rule != "refuse":
            return advice(bound[2].strip(), column)
        return f'{key} = "{"half" if key == "below" else "limit"}" (or "missing") says what such a text stands for'
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text) and column.decimal == ".":
        return 'thousands = "," if the comma parts thousands, decimal = "," if it is the decimal sign'
    if re.fullmatch(r"[+-]?\d*,\d+", text) and column.decimal == ".":
        return 'decimal = "," reads it'
    if re.fullmatch(r"[+-]?\d{1,3}([. '’\u00a0\u202f]\d{3})+(,\d*)?", text):
        return "thousands names the sign between thousands"
    if _is_date(text):
        return 'read it as = "date"'
    return f'missing = ["{text}"] if it means that, or read it as = "category"' if len(text) <= 20 and '"' not in text else ""


def _is_date(text: str) -> bool:
    return bool(ISO.fullmatch(text) or re.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}", text))


def _check_finite(sheet: Sheet, column: Column, found: np.ndarray, cells: np.ndarray) -> None:
    wrong = ~(np.abs(found) <= LARGEST_NUMBER) & ~np.isnan(found)
    if wrong.any():
        row = int(wrong.argmax())
        raise sheet.refuse(row, column.name, f"be a finite number below {LARGEST_NUMBER:.0e}", cells[row])


def _of_one(what: str) -> str:
    """What is said of several cells, said of one."""
    bare = what.removesuffix(" count as missing")
    return what if bare == what else f"{bare} counts as missing"


def _counted(name: str, said: Counter[str]) -> Notes:
    """Notes of one column, the most frequent first."""
    shown = [f"{name}: {count(n, 'cell')} {_of_one(what) if n == 1 else what}" for what, n in said.most_common(5) if n]
    rest = sum(said.values()) - sum(n for _, n in said.most_common(5))
    return [*shown, f"{name}: {count(rest, 'further cell')} of such kinds"] if rest else shown


# ---- dates


def days(sheet: Sheet, column: Column, formats: Mapping[str, str]) -> tuple[np.ndarray, Notes]:
    """Days, with fractions, since a date or another column. Shapes: -> (N,) float64. Raises: DataError."""
    own, notes = times(sheet, column.name, column.format, column.missing)
    if column.since in sheet.names:
        begin, more = times(sheet, column.since, formats.get(column.since, column.format), column.missing)
        return own - begin, [*notes, *more]
    if not ISO.fullmatch(column.since):
        raise DataError(
            f"{sheet.file}: since of column {column.name!r} must be another column of it or a date such as 2020-01-31, got {column.since!r}"
        )
    return own - datetime.fromisoformat(column.since).replace(tzinfo=UTC).timestamp() / DAY, notes


def times(sheet: Sheet, name: str, format: str = "", missing: Iterable[str] = ()) -> tuple[np.ndarray, Notes]:
    """Dates as days since 1970, UTC; a time without a zone counts as UTC. Shapes: -> (N,) float64. Raises: DataError."""
    cells = sheet.column(name)
    if cells.dtype.kind == "M":
        absent = np.isnat(cells)
        found = cells.astype("datetime64[us]").astype(np.int64) / (DAY * 1e6)
        return np.where(absent, np.nan, found), []
    codes, texts = distinct(texts_of(cells))
    values, zones = np.full(len(texts), np.nan), set()
    for place, text in enumerate(texts):
        if is_missing(text, missing):
            continue
        try:
            if not format and not ISO.fullmatch(text):
                raise ValueError("not ISO 8601")
            moment = datetime.strptime(text, format) if format else datetime.fromisoformat(text)
        except ValueError:
            rule = f"be a date in the format {format}, or empty" if format else "be a date such as 2020-01-31, or empty"
            way = "one format holds for the column" if format else 'format = "%d.%m.%Y" or so says how it is written'
            raise sheet.refuse(int((codes == place).argmax()), name, rule, text, way) from None
        zones.add(moment.tzinfo is None)
        if len(zones) > 1:
            raise sheet.refuse(int((codes == place).argmax()), name, "have a time zone in every cell or in none", text)
        values[place] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / DAY
    return values[codes], []


# ---- orders and categories


def ordered(sheet: Sheet, column: Column) -> tuple[np.ndarray, Notes]:
    """Places of cells in the levels. Shapes: -> (N,) float64. Raises: DataError on a cell that is no level."""
    codes, notes = coded(sheet, column.name, column.levels, column.missing)
    return np.where(codes < 0, np.nan, codes), notes


def coded(sheet: Sheet, name: str, levels: tuple[str, ...], missing: Iterable[str] = ()) -> tuple[np.ndarray, Notes]:
    """Places of cells in `levels`, -1 where missing; levels that are numbers are found as numbers. Shapes: -> (N,) int64.

    Raises: DataError on another cell.
    """
    codes, texts = distinct(texts_of(sheet.column(name)))
    of_number = {number: place for place, level in enumerate(levels) if not np.isnan(number := plain_number(level))}
    places, said = np.full(len(texts), -1, dtype=np.int64), Counter[str]()
    counts = np.bincount(codes, minlength=len(texts))
    for place, text in enumerate(texts):
        if text in levels:
            places[place] = levels.index(text)
        elif (number := plain_number(text)) in of_number and len(of_number) == len(levels):
            places[place] = of_number[number]
            said[f"{text!r} read as {levels[of_number[number]]!r}"] += int(counts[place])
        elif not is_missing(text, missing):
            raise sheet.refuse(int((codes == place).argmax()), name, f"be one of {', '.join(levels)}", text)
        elif text:
            said[f"{text!r} count as missing"] += int(counts[place])
    return places[codes], _counted(name, said)


def categories(sheet: Sheet, column: Column) -> tuple[np.ndarray, tuple[str, ...], Notes]:
    """Which category each cell is, -1 where missing, and their names in order.

    Shapes: -> (N,) int64. Raises: DataError if they are too many.
    """
    codes, texts = distinct(texts_of(sheet.column(column.name)))
    counts = np.bincount(codes, minlength=len(texts))
    known = [text for text in texts if not is_missing(text, column.missing)]
    said = Counter({f"{text!r} count as missing": int(n) for text, n in zip(texts, counts, strict=True) if text and text not in known})
    short = {text: WHOLE.sub(r"\1", text) for text in known}
    if any(short[text] != text for text in known) and all(re.fullmatch(r"[+-]?\d+", one) for one in short.values()):  # codes as floats
        said.update({f"{text!r} read as {short[text]!r}": int(counts[texts.index(text)]) for text in known if short[text] != text})
    else:
        short = {text: text for text in known}
    names = tuple(sorted(set(short.values())))
    if len(names) > MOST_CATEGORIES:
        raise DataError(
            f"{sheet.file}: {column.name} has {len(names)} categories, more than the {MOST_CATEGORIES} a column may have; leave it out, "
            "read it as a number, or put rare ones together"
        )
    place = {name: code for code, name in enumerate(names)}
    found = np.array([place[short[text]] if text in short else -1 for text in texts], dtype=np.int64)[codes]
    notes = _counted(column.name, said)
    of_case = Counter(name.casefold() for name in names)
    notes += [f"{column.name}: {', '.join(map(repr, alike))} are different categories"
              for low, n in of_case.items() if n > 1 for alike in [[name for name in names if name.casefold() == low]]]  # fmt: skip
    return found, names, notes

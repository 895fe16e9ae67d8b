"""How numbers and tables are written: one place, so that every page says a number the same way."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

from tabulate import tabulate

NA = "n/a"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction x 100. The last digit of binary noise never decides a rounding."""
    return NA if value is None or math.isnan(value) else f"{round(100 * value, 8) + 0.0:.{digits}f}"


def share(value: float) -> str:
    """A fraction as its binary value rounds, with its unit: what the pages of datasets say."""
    return f"{100 * value:.1f} %"


def signed(value: float | None) -> str:
    """A difference of fractions in points."""
    return NA if value is None or math.isnan(value) else f"{round(100 * value, 8) + 0.0:+.1f}"


def interval_text(interval: tuple[float, float]) -> str:
    return NA if math.isnan(interval[0]) else f"{percent(interval[0])}-{percent(interval[1])}"


def p_text(p: float) -> str:
    return NA if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """As in a sentence: p = 0.012, or p < 0.001."""
    return f"p {p_text(p).replace('<', '< ')}" if p < 0.001 else f"p = {p_text(p)}"


def number(value: float | None) -> str:
    """Three digits that count; thousands with commas."""
    if value is None or math.isnan(value):
        return NA
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def cost_text(cost: Mapping[str, float | None], key: str) -> str:
    value = cost.get(key)
    if value is None:
        return NA
    if key == "latency_ms_64":
        return f"{value / 64:.2g}"  # of one sample in a batch of 64
    return f"{value:,.0f}" if key == "parameters" else number(value)


def table(head: Sequence[str], body: Sequence[Sequence[str]], left: Sequence[str] = (), whole: bool = False) -> str:
    """A table in markdown, numbers to the right; a bar inside a cell is escaped. Columns without any entry are left out, if not `whole`."""
    kept = [i for i, _ in enumerate(head) if whole or not body or any(row[i] for row in body)]
    cells = [[row[i].replace("|", "\\|") for i in kept] for row in (head, *body)]
    align = ["left" if head[i] in left else "right" for i in kept]
    return tabulate(cells[1:], cells[0], tablefmt="pipe", colalign=align if body else None, disable_numparse=True)


def in_page(text: str) -> str:
    """A text of a user in a page of markdown: it opens no HTML.

    >>> in_page("<50K & more")
    '&lt;50K & more'
    """
    return text.replace("<", "&lt;")


def in_cell(text: str) -> str:
    """The same in a cell of a table, where a bar would end the cell."""
    return in_page(text).replace("|", "\\|")


def terminal_table(rows: Sequence[Mapping[str, object]], left: Sequence[str] = ()) -> str:
    """Rows as a table for a terminal, texts as they are, numbers to the right."""
    sides = ["left" if title in left else "right" for title in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="simple", colalign=sides, disable_numparse=True)


def picture(kind: str, *key: str) -> str:
    """File name of a picture: its kind and what it is of, in letters that every file system takes."""
    text = "_".join([kind, *("".join(letter if letter.isalnum() or letter == "-" else "_" for letter in part).strip("_") for part in key)])
    return (text if len(text) <= 80 else f"{text[:70]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}") + ".svg"


def and_list(words: Sequence[str]) -> str:
    """Words as in a sentence.

    >>> and_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names as in a sentence; of many the first ones and a count."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return and_list(names)


def count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def sample_name(id_: object) -> str:
    """A sample as every message names it, so that what is published can name it otherwise (`bench.records.ids`).

    >>> sample_name("P-17")
    "sample 'P-17'"
    """
    return f"sample {str(id_)!r}"


SAMPLE_NAME = re.compile(r"""\bsample ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")  # as `sample_name` writes it


def without_sample_names(text: str) -> str:
    """The text with every sample it names left unnamed.

    >>> without_sample_names("3 ids such as sample 'P-17' have no label")
    '3 ids such as one have no label'
    """
    return SAMPLE_NAME.sub("one", text)


def finite(value: object):
    """The same structure with NaN as None, which JSON can say."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""How numbers and tables are written: one place, so that every page says a number the same way."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from tabulate import tabulate

NA = "n/a"
LONGEST_STEM = 80  # of a file name without its ending
PORTS = ("0", *map(str, range(1, 10)), "\u00b9", "\u00b2", "\u00b3")
KEPT_BY_WINDOWS = {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{name}{port}" for name in ("com", "lpt") for port in PORTS)}


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction x 100. The last digit of binary noise never decides a rounding."""
    return NA if value is None or math.isnan(value) else f"{round(100 * value, 8) + 0.0:.{digits}f}"


def share(value: float) -> str:
    """A fraction as its binary value rounds, with its unit: what the pages of datasets say."""
    return f"{100 * value:.1f} %"


def signed(value: float | None) -> str:
    """A difference of fractions in points."""
    return NA if value is None or math.isnan(value) else f"{round(100 * value, 8) + 0.0:+.1f}"


def end_of_interval(value: float | None) -> str:
    """A difference of fractions in points, as the end of an interval: an end beyond 0 never reads as 0.

    >>> end_of_interval(0.0123), end_of_interval(-0.00012), end_of_interval(0.0)
    ('+1.2', '-0.01', '+0.0')
    """
    if value is None or math.isnan(value):
        return NA
    text = signed(value)
    return (
        text
        if float(text) or abs(value) < 1e-10
        else f"{100 * value:+.1g}"
        if abs(value) >= 1e-6
        else "+0.0001"
        if value > 0
        else "-0.0001"
    )


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


def file_stem(*parts: str) -> str:
    """A file name without ending that every system takes, Windows too: what it is of, in letters, digits, `-`, `.` and `_`.

    It is no name that Windows keeps for itself, begins and ends with neither dot nor `_`, and is cut where it is long. Texts that differ
    may give one name (see `distinct_stems`).

    >>> file_stem("noise", "a/b:c", "mcar(0.3)"), file_stem("con"), file_stem("what?.")
    ('noise_a_b_c_mcar_0.3', '_con', 'what')
    """
    clean = (re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", part)).strip("._") for part in parts)
    stem = "_".join(part for part in clean if part) or "_"
    if stem.partition(".")[0].casefold() in KEPT_BY_WINDOWS:
        stem = f"_{stem}"
    if len(stem) <= LONGEST_STEM and len(stem.encode()) <= 2 * LONGEST_STEM:
        return stem
    short = stem.encode()[: LONGEST_STEM - 9].decode(errors="ignore")
    return f"{short}_{_digest(stem)}"


def distinct_stems(keys: Iterable[Sequence[str]], taken: Iterable[str] = ()) -> dict[tuple[str, ...], str]:
    """A file name without ending for each key, no two equal where case does not count; none of `taken`.

    Of keys that would share one, the first keeps it; the others get a hash of what they are of.
    """
    found: dict[tuple[str, ...], str] = {}
    used = {name.casefold() for name in taken}
    for key in dict.fromkeys(tuple(key) for key in keys):
        stem = file_stem(*key)
        if stem.casefold() in used:
            stem = f"{stem}_{_digest(repr(key))}"
        used.add(stem.casefold())
        found[key] = stem
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def and_list(words: Sequence[str]) -> str:
    """Words as in a sentence.

    >>> and_list(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names as in a sentence; of many the first ones and a count."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {count(len(names) - most + 1, 'other')}"
    return and_list(names)


def count(number: int, word: str, plural: str = "") -> str:
    """A number with its word, singular or plural; `plural` where it is not the word with an s.

    >>> count(1, "seed"), count(2, "seed"), count(0, "class", "classes")
    ('1 seed', '2 seeds', '0 classes')
    """
    return f"{number} {word}" if number == 1 else f"{number} {plural or word + 's'}"


def agreeing(number: int, one: str, several: str) -> str:
    """The word that agrees with a number, such as a verb.

    >>> agreeing(1, "has", "have"), agreeing(3, "has", "have")
    ('has', 'have')
    """
    return one if number == 1 else several


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

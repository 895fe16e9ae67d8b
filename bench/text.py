"""How numbers and tables are written: one place, so that every page says a number the same way."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import wcwidth
from tabulate import tabulate

NA = "n/a"
LONGEST_STEM = 80  # of a file name without its ending
PORTS = ("0", *map(str, range(1, 10)), "\u00b9", "\u00b2", "\u00b3")
KEPT_BY_WINDOWS = {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{name}{port}" for name in ("com", "lpt") for port in PORTS)}


# What pages show of scores: hundredths with one digit, or, of scores in the unit of a target, these with three. A page is of one metric.
_in_unit: ContextVar[bool] = ContextVar("scores are in the unit of a target", default=False)


@contextmanager
def showing(in_unit: bool) -> Iterator[None]:
    """Scores and their differences are shown so inside."""
    token = _in_unit.set(in_unit)
    try:
        yield
    finally:
        _in_unit.reset(token)


def factor() -> float:
    """What pages multiply a score by."""
    return 1.0 if _in_unit.get() else 100.0


def times() -> str:
    """That, behind the name of a metric."""
    return "" if _in_unit.get() else " x 100"


def _shown(value: float, sign: str) -> str:
    """Points with one decimal. In the unit of a target three decimals, of a small number three digits that count, for units differ."""
    shown = round(factor() * value, 8) + 0.0
    if not _in_unit.get():
        return f"{shown:{sign}.1f}"
    return f"{shown:{sign}.3f}" if abs(shown) >= 0.01 or shown == 0 else f"{shown:{sign}.3g}"


def points(value: float | None) -> str:
    """A score as pages show it. The last digit of binary noise never decides a rounding."""
    return NA if value is None or math.isnan(value) else _shown(value, "")


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction x 100. The last digit of binary noise never decides a rounding."""
    return NA if value is None or math.isnan(value) else f"{round(100 * value, 8) + 0.0:.{digits}f}"


def share(value: float) -> str:
    """A fraction as its binary value rounds, with its unit: what the pages of datasets say."""
    return f"{100 * value:.1f} %"


def signed(value: float | None) -> str:
    """A difference of scores as pages show it, in points or in the unit of the target."""
    return NA if value is None or math.isnan(value) else _shown(value, "+")


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
        else f"{factor() * value:+.1g}"
        if abs(value) >= 1e-6
        else "+0.0001"
        if value > 0
        else "-0.0001"
    )


def interval_text(interval: tuple[float, float]) -> str:
    return NA if math.isnan(interval[0]) else f"{points(interval[0])}-{points(interval[1])}"


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


GAP = "  "  # between two columns on a terminal
LEAST_PROSE = 16  # columns of a terminal that a column of prose keeps at the least
WHOLE_NAME = 32  # up to so many columns a name is whole as long as another table column can go instead
NAMED = 8  # columns that are left out by name
LEAST_NAME = 8  # what is left of it at the least


class Table(NamedTuple):
    """A table as values, for a page of markdown or for a terminal of some width."""

    head: Sequence[str]
    body: Sequence[Sequence[str]]
    left: Sequence[str] = ()  # columns of words, which begin at the left; numbers end at the right
    spare: Sequence[str] = ()  # columns that are left out where the width does not suffice, in this order; then all others, last ones first
    prose: Sequence[str] = ()  # columns whose cells may go on in a further line, broken between words
    kept: Sequence[str] = ()  # columns that always stay, beside the first
    whole: bool = False  # also columns without any entry
    bold: Sequence[int] = ()  # rows that stand out on a terminal; without prose

    def markdown(self) -> str:
        return table(self.head, self.body, self.left, self.whole)

    def fitted(self, width: int | None = None) -> str:
        """The table for a terminal, as wide as it is without a `width`, else with whole columns left out and named below it.

        A head is broken between words before a column goes; a number never is, and other cells only if they are prose. Long names are
        cut in the middle, and short ones too where the columns that stay have no room otherwise.
        """
        shown = [i for i, _ in enumerate(self.head) if self.whole or not self.body or any(row[i] for row in self.body)]
        every, left_out = list(shown), []
        named = [self.head.index(title) for title in self.spare if title in self.head]
        for i in [*named, *(i for i in reversed(every) if i not in named)]:
            if width is None or _span([self._least(j) for j in shown]) <= width:
                break
            if i in shown[1:] and self.head[i] not in self.kept:
                shown.remove(i)
                left_out.append(i)
        lines = self._lines(shown, self._widths(shown, width))
        if left_out and width is not None:
            heads = [self.head[i] for i in sorted(left_out)]
            names = ", ".join(heads[:NAMED]) + (f" and {len(heads) - NAMED} more" if len(heads) > NAMED else "")
            all_at = _span([self._least(i) for i in every])
            said = f"Left out at {width} columns: {names}. {all_at} columns show all; so does `| less -S`."
            lines += wrapped(said, width)
        return "\n".join(lines)

    def _cells(self, i: int) -> int:
        return max((wcwidth.width(row[i]) for row in self.body), default=0)

    def _least(self, i: int) -> int:
        """The smallest width at which no word of the head and no cell is broken, but for prose and long names."""
        is_prose, cells = self.head[i] in self.prose, self._cells(i)
        words = [self.head[i], *(row[i] for row in self.body)] if is_prose else [self.head[i]]
        longest = max((wcwidth.width(word) for text in words for word in text.split()), default=0)
        most = LEAST_PROSE if is_prose else WHOLE_NAME if self.head[i] in self.left else cells
        return max(longest, min(cells, most))

    def _widths(self, shown: Sequence[int], width: int | None) -> dict[int, int]:
        """Of each column: what it needs, and of what is to spare most to those that lack most."""
        full = {i: max(wcwidth.width(self.head[i]), self._cells(i)) for i in shown}
        if width is None:
            return full
        found = {i: self._least(i) for i in shown}
        while _span(list(found.values())) > width:
            longest = max((i for i in shown if self.head[i] in self.left), key=lambda i: found[i], default=shown[0])
            if found[longest] <= LEAST_NAME:  # no terminal is that narrow
                break
            found[longest] -= 1
        for _ in range(width - _span(list(found.values()))):
            poorest = max(shown, key=lambda i: full[i] - found[i])
            found[poorest] += full[poorest] > found[poorest]
        return found

    def _lines(self, shown: Sequence[int], widths: Mapping[int, int]) -> list[str]:
        head = self._row({i: wrapped(self.head[i], widths[i], is_cell=True) for i in shown}, widths, at_end=True)
        lines = [*head, GAP.join("-" * widths[i] for i in shown)]
        for row in self.body:
            cells = {
                i: wrapped(row[i], widths[i], is_cell=True) if self.head[i] in self.prose else [in_middle(row[i], widths[i])] for i in shown
            }
            lines += self._row(cells, widths)
        return lines

    def _row(self, cells: Mapping[int, Sequence[str]], widths: Mapping[int, int], at_end: bool = False) -> list[str]:
        """The lines of a row whose cells have some lines each, which begin at its first line or end at its last."""
        height = max(1, *map(len, cells.values()))
        lines = []
        for k in range(height):
            texts = []
            for i, own in cells.items():
                place = k - (height - len(own)) * at_end
                text = own[place] if 0 <= place < len(own) else ""
                texts.append((wcwidth.ljust if self.head[i] in self.left else wcwidth.rjust)(text, widths[i]))
            lines.append(GAP.join(texts).rstrip())
        return lines


def _span(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def wrapped(text: str, width: int, indent: str = "", is_cell: bool = False) -> list[str]:
    """A text in lines of that width, broken between words alone: never inside a number, a range, or a name with hyphens.

    A longer word, such as an address, stays whole, so that it can be copied; in a cell of a table it is broken.
    """
    return wcwidth.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=is_cell) or [""]


def in_middle(text: str, width: int) -> str:
    """A name that is cut in the middle, where names of one kind are alike, if it is wider than that.

    >>> in_middle("gradient-boosting", 11)
    'gradi…sting'
    """
    if wcwidth.width(text) <= width:
        return text
    tail = (width - 1) // 2
    return wcwidth.clip(text, 0, width - 1 - tail) + "…" + wcwidth.clip(text, wcwidth.width(text) - tail, wcwidth.width(text))


def terminal_table(
    rows: Sequence[Mapping[str, object]], left: Sequence[str] = (), width: int | None = None, *,
    spare: Sequence[str] = (), prose: Sequence[str] = (), kept: Sequence[str] = (),
) -> str:  # fmt: skip
    """Rows as a table for a terminal, texts as they are, numbers to the right; the columns as `Table` has them."""
    if not rows:
        return ""
    body = [[str(cell) for cell in row.values()] for row in rows]
    return Table(list(rows[0]), body, left, spare, prose, kept, whole=True).fitted(width)


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

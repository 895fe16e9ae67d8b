"""Tables that fit the column of a page: how wide one is in a browser, and a wide one cut into several.

A column of a page on GitHub is 842 pixels wide, a letter of its tables about 8, and a cell has 26 of padding and 1 of line. Head and
texts wrap at blanks and hyphens; numbers are not to be broken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.text import table

COLUMN = 842  # pixels
LETTER, BOLD, CELL = 8.0, 8.6, 27  # pixels: of a letter, of one in bold, around the text of a cell
FIRST = 6  # most columns of the first table of a page or section
LONGEST = 32  # letters of a word that gets no breaks
ADDRESS = re.compile(r"(\]\([^)]*\)|`[^`]*`)")  # of a link, and code: nothing is put into them
MARKS = re.compile(r"\]\([^)]*\)|(?<!\\)[\[*`]|\\(?=\|)")


def shown(text: str) -> str:
    """What a reader sees of a cell in markdown; `<wbr>`, where a word may break, as a zero-width blank."""
    return MARKS.sub("", text).replace("&lt;", "<").replace("<wbr>", "\u200b")


def width(head: Sequence[str], body: Sequence[Sequence[str]], left: Sequence[str] = ()) -> float:
    """Pixels below which a browser would scroll the table or break a number. `left`: titles of columns of texts, which wrap."""
    return sum(_columns(head, body, left))


def _columns(head: Sequence[str], body: Sequence[Sequence[str]], left: Sequence[str]) -> list[float]:
    found = []
    for i, title in enumerate(head):
        cells = [shown(row[i]) for row in body]
        words = [word for cell in cells for word in _words(cell)] if title in left else cells
        bold = max((len(word) for word in _words(shown(title))), default=0)
        found.append(CELL + max(BOLD * bold, LETTER * max(map(len, words), default=0)))
    return found


def _words(text: str) -> list[str]:
    """What a browser does not break."""
    return re.split(r"[ \u200b]|(?<=\w-)(?=\w)", text)


def fitted(
    head: Sequence[str],
    body: Sequence[Sequence[str]],
    left: Sequence[str] = (),
    repeated: int = 1,
    whole: bool = False,
    breaks: bool = True,
) -> list[str]:
    """Lines of one table, or of several where one would be too wide: each begins with the `repeated` first columns.

    Columns without any entry are left out, if not `whole`. `breaks`: for a browser, very long words, such as a method with many options,
    may break, and the numbers of a full table may not (their blanks are unbreakable).
    """
    kept = [i for i, _ in enumerate(head) if whole or not body or i < repeated or any(row[i] for row in body)]
    mend = with_breaks if breaks else str
    titles, rows = [mend(head[i]) for i in kept], [[mend(row[i]) for i in kept] for row in body]
    own = [title for title, i in zip(titles, kept, strict=True) if head[i] in left]
    sizes = _columns(titles, rows, own)
    lines: list[str] = []
    for group in _groups(sizes[repeated:], COLUMN - sum(sizes[:repeated]), repeated):
        columns = [*range(repeated), *group]
        head_here, here = [titles[i] for i in columns], [[row[i] for i in columns] for row in rows]
        if breaks and sum(_columns(head_here, here, ())) > COLUMN:  # a browser would break numbers before it breaks texts
            numbers = [titles[i] not in own for i in columns]
            here = [[cell.replace(" ", "\u00a0") if fixed else cell for cell, fixed in zip(row, numbers, strict=True)] for row in here]
        lines += ["", table(head_here, here, own, whole=True)]
    return lines[1:]


def _groups(sizes: Sequence[float], room: float, first: int) -> list[list[int]]:
    """Columns in order, as few groups as fit into `room`, of about equal numbers where that fits; numbered from `first` on."""
    groups: list[list[int]] = [[]]
    for i, size in enumerate(sizes):
        if groups[-1] and sum(sizes[j] for j in groups[-1]) + size > room:
            groups.append([])
        groups[-1].append(i)
    each = -(-len(sizes) // len(groups))
    even = [list(range(start, min(start + each, len(sizes)))) for start in range(0, len(sizes), max(each, 1))]
    fits = len(even) == len(groups) and all(len(group) == 1 or sum(sizes[j] for j in group) <= room for group in even)
    return [[first + i for i in group] for group in (even if fits else groups)]


def with_breaks(text: str) -> str:
    """The same cell with `<wbr>` in words that are too long for a column: after what parts a name, else after so many letters."""
    pieces = ADDRESS.split(text)
    return "".join(piece if place % 2 else re.sub(rf"[^\s-]{{{LONGEST + 1},}}", _broken, piece) for place, piece in enumerate(pieces))


def _broken(word: re.Match[str]) -> str:
    parts = re.findall(rf"[^,=@/_:\[\](]{{1,{LONGEST}}}[,=@/_:\])]*|[,=@/_:\[\](]+", word[0])
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) > LONGEST - 8:
            lines.append("")
        lines[-1] += part
    return "<wbr>".join(lines)

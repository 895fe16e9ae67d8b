"""What a terminal gets: its width, whether it takes colour, and pages of prose and tables that fit it.

Where stdout is no terminal and COLUMNS names no width, nothing of this acts: pages are markdown, as wide as they are.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence

import click

from bench.text import Table, wrapped

LEAST = 20  # columns; a terminal that says it has fewer does not know its width


def width() -> int | None:
    """Columns to fit: those of the terminal, or what COLUMNS says where stdout goes elsewhere; None: nobody said."""
    if sys.stdout.isatty():
        return max(LEAST, shutil.get_terminal_size().columns)
    said = os.environ.get("COLUMNS", "")
    return max(LEAST, int(said)) if said.isdecimal() and int(said) else None


def colour() -> bool | None:
    """Whether to style what is printed: False if the user or the terminal wants none, else None, which is on a terminal alone."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def title(text: str) -> str:
    return click.style(text, bold=True)


def prose(text: str, columns: int, first: str = "", rest: str | None = None) -> list[str]:
    """A paragraph of markdown in lines: emphasis as emphasis, `first` before the first line and `rest` before the others."""
    text = text.replace("&lt;", "<").replace("\\|", "|")
    text = re.sub(r"\*\*(.+?)\*\*", lambda found: click.style(found[1], bold=True), text)
    text = re.sub(r"(?<![\w*`])\*([^\W_][^*`]*)\*(?![\w*])", lambda found: found[1], text)
    return wrapped(first + text, columns, " " * len(first) if rest is None else rest)


def command_lines(command: str, columns: int) -> list[str]:
    """A command that can be copied: broken between its words, each line but the last ending in a backslash."""
    lines = [""]
    for word in map(shlex.quote, shlex.split(command)):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > columns:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def page(blocks: Iterable[str | Table], columns: int) -> str:
    """Lines of our markdown and tables between them, for a terminal. Lines that follow each other are one paragraph, as in markdown."""
    lines: list[str] = []
    paragraph: list[str] = []

    def flush() -> None:
        if paragraph:
            lines.extend(_paragraph(paragraph, columns))
            paragraph.clear()

    is_fenced = False
    for block in blocks:
        for line in [block] if isinstance(block, Table) else block.split("\n"):
            if isinstance(line, Table) or not line or line.startswith(("#", "- ", "> ", "```")):
                flush()
            if isinstance(line, Table):
                lines.extend(emphasised(line, columns))
            elif line.startswith("```"):
                is_fenced = not is_fenced
            elif not line or line == ">":
                lines.append("")
            elif line.startswith("#"):
                lines.extend(map(title, wrapped(line.lstrip("# "), columns)))
            elif is_fenced:
                lines.extend(command_lines(line, columns))
            else:
                paragraph.append(line)
    flush()
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _paragraph(lines: Sequence[str], columns: int) -> list[str]:
    text = " ".join(line.strip() for line in lines)
    if text.startswith("> "):
        text = text.removeprefix("> ")
        is_warning = text.startswith("**Warning")
        return [click.style(line, fg="yellow") if is_warning else line for line in prose(text, columns)]
    return prose(text.removeprefix("- "), columns, "- ") if text.startswith("- ") else prose(text, columns)


def emphasised(table: Table, columns: int) -> list[str]:
    """The lines of a table with its head and its best rows in bold; the rule and what is said below stand back."""
    lines = table.fitted(columns).split("\n")
    rule = next(i for i, line in enumerate(lines) if line and not line.strip("- "))
    rows = {rule + 1 + number for number in table.bold}
    last = rule + len(table.body) if not table.prose else len(lines)  # a cell of prose may have more lines than one
    return [
        title(line) if i < rule or i in rows else click.style(line, dim=True) if i == rule or i > last else line
        for i, line in enumerate(lines)
    ]


def fit(text: str, columns: int | None) -> str:
    """Lines as they are but for those that are too long, which go on below their value: `  licence   text` under `text`."""
    if columns is None:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        label = re.match(r" *(?:\S(?:\S| (?! )){,12} {2,})?", line)
        indent = " " * len(label[0] if label else "")
        lines += wrapped(line, columns, indent or "  ") if line.strip() else [""]
    return "\n".join(lines)


def say_page(text: str) -> None:
    """Print a text on stdout so that no line is longer than the terminal is wide."""
    click.echo(fit(text, width()))


def say_aside(text: str) -> None:
    """Print a text on stderr, in lines that fit where that is a terminal."""
    click.echo(fit(text, max(LEAST, shutil.get_terminal_size().columns) if sys.stderr.isatty() else None), err=True)

"""`bench list`: what there is."""

from __future__ import annotations

import shutil
import sys
from typing import Any

import click

from bench.cli.options import data_root_option, explained, json_option, print_json

SHARES = {  # what the columns that wrap get of the terminal's width, one beside the other
    "methods": {"presets": 1, "idea": 2},
    "datasets": {"modalities": 1, "title": 1},
    "suites": {"title": 1},
}
LEFT_OUT = {"paper", "year"}  # of the table, for the idea names them in short; `--json` has them


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "datasets", "suites"]))
@data_root_option
@json_option
@explained
def list_(what: str, as_json: bool) -> None:
    """List methods, datasets or suites."""
    rows = {"methods": _list_methods, "datasets": _list_datasets, "suites": _list_suites}[what]()
    if as_json:
        print_json(rows)
        return
    absent = [row["name"] for row in rows if not row.pop("here", True)]
    click.echo(_table([{key: value for key, value in row.items() if key not in LEFT_OUT} for row in rows], SHARES[what]))
    if absent:
        click.echo("\n" + click.wrap_text(f"not here: {', '.join(absent)}"))
        click.echo("`bench data status` says where to get them")


def _table(rows: list[dict[str, Any]], shares: dict[str, int]) -> str:
    """These rows as a table that is as wide as the terminal, 80 columns at the least; the columns named in `shares` wrap."""
    from tabulate import tabulate

    fixed = [max(len(key) + 2, *(len(str(row[key])) for row in rows)) for key in rows[0] if key not in shares]  # numbers' heads are padded
    spare = max(80, shutil.get_terminal_size().columns) - sum(fixed) - 2 * (len(rows[0]) - 1)
    widths = [spare * shares[key] // sum(shares.values()) if key in shares else None for key in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=widths, missingval="-")


def _list_methods() -> list[dict[str, Any]]:
    from bench import registry
    from bench.methods.catalog import role

    rows = []
    for name in registry.method_names():
        cls = registry.method_class(name)
        rows.append(
            {"name": name, "role": role(name), "presets": ", ".join(cls.presets), "idea": _idea(cls), "paper": cls.paper or "-",
             "year": cls.year}
        )  # fmt: skip
    return rows


def _list_datasets() -> list[dict[str, Any]]:
    from bench import registry
    from bench.data.card import outline

    return [outline(name) for name in registry.dataset_names()]


def _list_suites() -> list[dict[str, Any]]:
    from bench.question.suite import known_suites, read_suite

    groups = {name: path.parent.name for name, path in known_suites().items()}  # a paper's suites lie in a folder of their own
    return [
        {"name": name, "group": "general" if group == "suites" else group, "title": read_suite(name).title}
        for name, group in groups.items()
    ]


def _idea(cls: type) -> str:
    """The first line of a method's page, after its name."""
    page = sys.modules[cls.__module__].__doc__ or cls.__doc__ or ""
    first = page.strip().splitlines()[0] if page.strip() else ""
    return first.partition(": ")[2] or first

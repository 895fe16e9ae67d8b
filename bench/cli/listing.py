"""`bench list`: what there is."""

from __future__ import annotations

import sys
from typing import Any

import click

from bench.cli.options import data_root_option, explained, json_option, print_json
from bench.cli.screen import fit, width

PROSE = ("presets", "idea", "modalities", "title")  # columns whose cells go on in a further line
LEAST_ASKED = ("year", "presets", "group", "role")  # columns that go where a terminal has no room, in this order
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
    click.echo(_table([{key: value for key, value in row.items() if key not in LEFT_OUT} for row in rows]))
    if absent:
        click.echo(fit(f"\nnot here: {', '.join(absent)}\n`bench data status` says where to get them", width() or 80))


def _table(rows: list[dict[str, Any]]) -> str:
    """These rows as a table that is as wide as the terminal, or 80 columns wide."""
    from bench.text import terminal_table

    shown = [{key: "-" if cell is None or cell == "" else cell for key, cell in row.items()} for row in rows]
    numbers = [key for key in shown[0] if any(isinstance(row[key], int | float) for row in shown)]
    words = [key for key in shown[0] if key not in numbers]
    return terminal_table(shown, words, width() or 80, spare=LEAST_ASKED, prose=PROSE)


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

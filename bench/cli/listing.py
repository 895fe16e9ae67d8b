"""`bench list`: what there is."""

from __future__ import annotations

import sys
from typing import Any

import click

from bench.cli.options import data_root_option, explained, json_option, print_json

WIDTHS = {  # of the columns of `bench list`; None: as wide as they are
    "methods": [None, None, None, 50, 60, None],
    "datasets": [None, None, None, 50, 60],
    "suites": [None, None, 46],
}


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "datasets", "suites"]))
@data_root_option
@json_option
@explained
def list_(what: str, as_json: bool) -> None:
    """List methods, datasets or suites."""
    from tabulate import tabulate

    rows = {"methods": _list_methods, "datasets": _list_datasets, "suites": _list_suites}[what]()
    if as_json:
        print_json(rows)
        return
    absent = [row["name"] for row in rows if not row.pop("here", True)]
    click.echo(tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=WIDTHS[what][: len(rows[0])], missingval="-"))
    if absent:
        click.echo(f"\nnot here: {', '.join(absent)}; `bench data status` says where to get them")


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

"""`bench new`: working templates."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import UserPath, explained, json_option, print_json


@click.group()
def new() -> None:
    """Write a working template."""


@new.command("method")
@click.argument("name")
@click.option(
    "--folder", type=UserPath(exists=True, file_okay=False, path_type=Path), default=Path(), help="Where to write.  [default: here]"
)
@json_option
@explained
def new_method(name: str, folder: Path, as_json: bool) -> None:
    """Write a working method and its test, and say how to list it."""
    from bench.cli.templates import write_method

    files, title = write_method(name, folder)
    module = name.replace("-", "_")
    line = f'    "{name}": "bench.methods.{module}:{title}",'
    if as_json:
        print_json({"files": [str(path) for path in files], "catalog_line": line.strip(), "try": f"bench run --methods {files[0]}:{title}"})
        return
    click.echo("\n".join(f"wrote {path}" for path in files))
    click.echo(f"try it:   bench run --methods {files[0]}:{title}\ntest it:  pytest {files[1]}")
    click.echo(f"list it in methods/catalog.py (or as an entry point of group bench.methods):\n{line}")

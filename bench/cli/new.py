"""`bench new`: working templates, and descriptions of a user's own files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from bench.cli.options import UserPath, explained, json_option, print_json


class Lists(click.Command):
    """A command with an option that takes words up to the next option or the description: `--from a.csv b.csv` means
    `--from a.csv --from b.csv`.
    """

    LIST = "--from"
    ALONE = (".toml", ".py")  # endings of what such a list never holds

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        inside = False
        for word in args:
            if word.startswith("-") and word != "-":
                inside = word == self.LIST or word.startswith(f"{self.LIST}=")
            elif inside and words[-1] != self.LIST and not word.endswith(self.ALONE):
                words.append(self.LIST)
            words.append(word)
        return super().parse_args(ctx, words)


@click.group()
def new() -> None:
    """Write a working template, or describe files of your own."""


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
    line = f'    "{name}": "bench.methods.{files[0].stem}:{title}",'
    if as_json:
        print_json({"files": [str(path) for path in files], "catalog_line": line.strip(), "try": f"bench run --methods {files[0]}:{title}"})
        return
    click.echo("\n".join(f"wrote {path}" for path in files))
    click.echo(f"try it:   bench run --methods {files[0]}:{title}\ntest it:  pytest {files[1]}")
    click.echo(f"list it in methods/catalog.py (or as an entry point of group bench.methods):\n{line}")


@new.command("dataset", cls=Lists)
@click.argument("path", metavar="FILE.toml|FILE.py", type=UserPath(dir_okay=False, path_type=Path))
@click.option(
    "--from",
    "files",
    multiple=True,
    type=UserPath(path_type=Path),
    metavar="FILE...",
    help="The tables and arrays to describe, one or more.",
)
@click.option(
    "--id", "ids", multiple=True, metavar="COLUMN", help="The column that names a sample; FILE:COLUMN where a file calls it otherwise."
)
@click.option("--label", default="", metavar="COLUMN", help="The column of the classes; FILE:COLUMN if several files have it.")
@click.option("--group", default="", metavar="COLUMN", help="The column whose equal cells are never parted by a split, such as a family.")
@click.option("--modality", "modalities", multiple=True, metavar="NAME=FILE[:COLUMNS]",
              help="Name the modality of a file, or make one of some columns: labs=all.csv:crp,wbc. Repeatable.")  # fmt: skip
@click.option("--name", "title", default="", metavar="TEXT", help="Title of the dataset on pages.  [default: the file's]")
@click.option("--force", is_flag=True, help="Write over a description that is there.")
@json_option
@explained
def new_dataset(path: Path, files: tuple[Path, ...], as_json: bool, force: bool, **options: Any) -> None:
    """Describe files of your own, guessing what their columns hold, or write a class that loads a dataset.

    \b
    bench new dataset study.toml --from patients.csv labs.csv \\
        --id patient_id --label outcome
    bench new dataset my_data.py
    """
    from bench.errors import UsageError

    if path.suffix == ".py":
        _write_class(path, files or any(options.values()), as_json)
    elif path.suffix == ".toml":
        _write_description(path, files, options, as_json, force)
    else:
        raise UsageError(f"a new dataset is a description, such as study.toml, or a class in a file, such as my_data.py; got {path}")


def _write_class(path: Path, has_options: object, as_json: bool) -> None:
    from bench.cli.templates import write_dataset
    from bench.errors import UsageError

    if has_options:
        raise UsageError(f"a class takes no options, and {path.name} is one; name the description study.toml to describe files")
    written, title = write_dataset(path)
    attempt = f"bench run --methods mean-logistic,constant --datasets {written[0]}:{title} --noise 0.2"
    if as_json:
        print_json({"files": [str(file) for file in written], "try": attempt})
        return
    click.echo("\n".join(f"wrote {file}" for file in written))
    click.echo(f"look at:  bench data card {written[0]}:{title}\ntest it:  pytest {written[1]}\ntry it:\n  {attempt}")


def _write_description(path: Path, files: tuple[Path, ...], options: dict[str, Any], as_json: bool, force: bool) -> None:
    from bench.data.draft import draft
    from bench.errors import UsageError

    if not files or not options["ids"] or not options["label"]:
        absent = [f"--{name}" for name, given in (("from", files), ("id", options["ids"]), ("label", options["label"])) if not given]
        raise UsageError(f"a description needs {' and '.join(absent)}: bench new dataset {path} --from FILE... --id COLUMN --label COLUMN")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; --force writes over it, or choose another name")
    made = draft(path, files, **options)
    try:
        path.write_text(made.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from None
    problem = made.problem()
    if as_json:
        print_json(made.as_json() | {"file": str(path), "problem": problem})
    else:
        click.echo(made.summary(path))
    if problem:
        raise UsageError(f"{path} is written and cannot be read yet: {problem}")
    if not as_json:
        name = shlex.quote(str(path))
        steps = (f"data card {name}", f"data check {name}", f"run --datasets {name}", "leaderboard --publish board")
        click.echo("\n".join(["next:", *(f"  bench {step}" for step in steps)]))

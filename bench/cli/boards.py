"""`bench leaderboard`: the table of what was run, printed, published or checked."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.complete import metrics, names
from bench.cli.options import UserPath, explain_option, explained, json_option, of_suite_option, out_option, print_json
from bench.cli.screen import width
from bench.cli.sections import Sectioned

if TYPE_CHECKING:
    from bench.records.scoring import Mismatch

SHOWN = 5  # mismatches of a folder that --check names one by one


@click.command(cls=Sectioned)
@out_option
@of_suite_option
@click.option("--metric", metavar="NAME", shell_complete=names(metrics), help="Metric to rank by.  [default: the suite's]")
@click.option("--publish", type=UserPath(file_okay=False, path_type=Path), metavar="FOLDER", help="Write a leaderboard folder.")
@click.option(
    "--beside", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE.csv",
    help="Show printed numbers beside ours where setting, metric and method match.",
)  # fmt: skip
@click.option(
    "--check",
    is_flag=True,
    help="Compare published folders: records with their predictions, pages with their records. Takes folders, else all of leaderboards/.",
)
@click.option("--render", is_flag=True, help="Write the pages of published folders anew. Takes folders, else all of leaderboards/.")
@click.option(
    "--rescore",
    is_flag=True,
    help="Take the metrics of published folders anew from their predictions, and render. Takes folders, else all of leaderboards/.",
)
@click.argument("folders", nargs=-1, type=UserPath(file_okay=False, path_type=Path))
@explain_option
@json_option
@explained
def leaderboard(
    *, out: str, suite: str | None, metric: str | None, publish: Path | None, beside: Path | None, check: bool, render: bool,
    rescore: bool, folders: tuple[Path, ...], is_explained: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print the table of a results folder, publish it, or check published ones.

    On a terminal the tables fit its width: columns that have no room are left out and named. Elsewhere the page is whole, in Markdown
    (`bench leaderboard > page.md`), unless COLUMNS names a width.

    A published folder holds a page over all settings (README.md), one a dataset, CSV, LaTeX, every test in significance.json, and
    plots where matplotlib is installed (extra plot). Of plots --check compares the numbers they show. Every metric in records.jsonl
    is what the trial's predictions give; folders of before, whose predictions were cut after they were scored, are brought there by
    --rescore.

    \b
    FILE.csv has the columns dataset, combination, protocol, metric, method, mean,
    sd and source. Names are those of our tables; mean and sd are in points, as
    papers print them (65.2, not 0.652), and sd may be empty. A published folder
    keeps the lines that stand on its pages, in beside.csv.
    """
    if check:
        _check(folders, as_json)
        return
    if render or rescore:
        _render(folders, as_json, rescore)
        return
    from bench.api import board
    from bench.leaderboard import markdown
    from bench.text import count

    if publish is not None:
        _publish(out, suite, metric, publish, beside)
    found = board(out, suite=suite, metric=metric, beside=beside)
    if beside is not None:
        click.echo(f"{beside}: {count(len(found.printed), 'number')} beside rows of this board", err=True)
    if as_json:
        print_json(found.as_json())
    elif publish is None:
        from bench.cli.board_view import view

        columns = width()
        click.echo(markdown(found) if columns is None else view(found, columns, is_explained))


def _publish(out: str, suite: str | None, metric: str | None, folder: Path, beside: Path | None) -> None:
    from bench.leaderboard import publish
    from bench.leaderboard.printed import read_printed
    from bench.records.folder import answers_of

    printed = () if beside is None else read_printed(beside)
    files = publish(folder, answers_of(out, suite=suite).by(metric), printed)
    click.echo("\n".join(f"wrote {path}" for path in files), err=True)


def _published(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    from bench.errors import UsageError

    chosen = folders or tuple(sorted(path.parent for path in Path("leaderboards").glob("*/records.jsonl")))
    if not chosen:
        raise UsageError("no published leaderboard here; name folders, or run in a checkout with leaderboards/")
    return chosen


def _render(folders: tuple[Path, ...], as_json: bool, anew: bool) -> None:
    from bench.leaderboard import rescore, write
    from bench.text import count

    found = []
    for folder in _published(folders):
        moved = {"rescored": rescore(folder)} if anew else {}
        found.append({"folder": str(folder), **moved, "files": [path.name for path in write(folder)]})
    if as_json:
        print_json(found)
        return
    for entry in found:
        told = f"  {count(len(entry['rescored']), 'trial')} rescored" if anew else ""
        click.echo(f"wrote  {entry['folder']}{told}  {' '.join(entry['files'])}")


def _check(folders: tuple[Path, ...], as_json: bool) -> None:
    from dataclasses import asdict

    from bench.leaderboard import checked

    found = {folder: checked(folder) for folder in _published(folders)}
    if as_json:
        shape = [(folder, [path.name for path in one.stale], list(map(asdict, one.mismatches))) for folder, one in found.items()]
        print_json([{"folder": str(folder), "stale": stale, "mismatches": off} for folder, stale, off in shape])
    else:
        for folder, one in found.items():
            click.echo(f"{'stale' if one.stale else 'ok   '}  {folder}  {' '.join(path.name for path in one.stale)}")
            click.echo("".join(f"       {line}\n" for line in _told(folder, one.mismatches)), nl=False)
    if any(one.stale for one in found.values()):
        sys.exit(1)


def _told(folder: Path, mismatches: Sequence[Mismatch]) -> list[str]:
    """The first of them, how many more there are, and the way on."""
    more = [f"and {len(mismatches) - SHOWN} more"] * (len(mismatches) > SHOWN)
    way = [f"`bench leaderboard --rescore {shlex.quote(str(folder))}` takes them anew"] * bool(mismatches)
    return [*map(str, mismatches[:SHOWN]), *more, *way]

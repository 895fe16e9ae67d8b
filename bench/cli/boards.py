"""`bench leaderboard`: the table of what was run, printed, published or checked."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.options import UserPath, explained, json_option, of_suite_option, out_option, print_json


@click.command()
@out_option
@of_suite_option
@click.option("--metric", metavar="NAME", help="Metric to rank by.  [default: the suite's]")
@click.option("--publish", type=UserPath(file_okay=False, path_type=Path), metavar="FOLDER", help="Write a leaderboard folder.")
@click.option(
    "--beside", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE.csv",
    help="Show printed numbers beside ours where setting, metric and method match.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Re-render published folders and compare bytes. Takes folders, else all of leaderboards/.")
@click.option("--render", is_flag=True, help="Write the pages of published folders anew. Takes folders, else all of leaderboards/.")
@click.argument("folders", nargs=-1, type=UserPath(file_okay=False, path_type=Path))
@json_option
@explained
def leaderboard(
    *, out: str, suite: str | None, metric: str | None, publish: Path | None, beside: Path | None, check: bool, render: bool,
    folders: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Print the table of a results folder, publish it, or check published ones.

    A published folder holds a page over all settings (README.md), one a dataset, CSV, LaTeX, every test in significance.json, and
    plots where matplotlib is installed (extra plot). Of plots --check compares the numbers they show.

    \b
    FILE.csv has the columns dataset, combination, protocol, metric, method, mean,
    sd and source. Names are those of our tables; mean and sd are in points, as
    papers print them (65.2, not 0.652), and sd may be empty. A published folder
    keeps the lines that stand on its pages, in beside.csv.
    """
    if check:
        _check(folders, as_json)
        return
    if render:
        _render(folders, as_json)
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
        click.echo(markdown(found))


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


def _render(folders: tuple[Path, ...], as_json: bool) -> None:
    from bench.leaderboard import write

    found = [{"folder": str(folder), "files": [path.name for path in write(folder)]} for folder in _published(folders)]
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(f"wrote  {entry['folder']}  {' '.join(entry['files'])}" for entry in found))


def _check(folders: tuple[Path, ...], as_json: bool) -> None:
    from bench.leaderboard import stale_files

    found = [{"folder": str(folder), "stale": [path.name for path in stale_files(folder)]} for folder in _published(folders)]
    if as_json:
        print_json(found)
    else:
        for entry in found:
            click.echo(f"{'stale' if entry['stale'] else 'ok   '}  {entry['folder']}  {' '.join(entry['stale'])}")
    if any(entry["stale"] for entry in found):
        sys.exit(1)

"""`bench leaderboard`: the table of what was run, printed, published or checked."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.complete import metrics, names
from bench.cli.options import UserPath, explain_option, explained, json_option, of_suite_option, one_source, print_json, source_options
from bench.cli.screen import width
from bench.cli.sections import Sectioned

if TYPE_CHECKING:
    from bench.leaderboard.site import PageMismatch
    from bench.records.scoring import Mismatch

SHOWN = 5  # mismatches of a folder that --check names one by one


@click.command(cls=Sectioned)
@source_options
@of_suite_option
@click.option("--metric", metavar="NAME", shell_complete=names(metrics), help="Metric to rank by.  [default: the suite's]")
@click.option("--by", metavar="NAME,...", help="Tell scores apart by groups of an attribute, such as sex or site.")
@click.option("--publish", type=UserPath(file_okay=False, path_type=Path), metavar="FOLDER", help="Write a leaderboard folder.")
@click.option("--no-predictions", is_flag=True, help="Publish scores and tests alone, without a row a sample.")
@click.option(
    "--beside", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE.csv",
    help="Show printed numbers beside ours where setting, metric and method match.",
)  # fmt: skip
@click.option(
    "--check",
    is_flag=True,
    help="Compare published folders: records with their predictions, pages with their records. Takes folders, else all of leaderboards/.",
)
@click.option(
    "--site", type=UserPath(file_okay=False, path_type=Path), metavar="DIR",
    help="Write a page to explore, index.html, that needs no network; of several published folders a page each, and a list.",
)  # fmt: skip
@click.option("--render", is_flag=True, help="Write the pages of published folders anew. Takes folders, else all of leaderboards/.")
@click.option(
    "--rescore",
    is_flag=True,
    help="Take the metrics of published folders anew from their predictions, and render. Takes folders, else all of leaderboards/.",
)
@click.option(
    "--add", type=UserPath(dir_okay=False, path_type=Path), metavar="BUNDLE",
    help="Let a verified bundle join the published folder that is named; see `bench verify`.",
)  # fmt: skip
@click.option("--verify", is_flag=True, help="With --add: verify the bundle first, as `bench verify` does without options.")
@click.argument("folders", nargs=-1, type=UserPath(file_okay=False, path_type=Path))
@explain_option
@json_option
@explained
def leaderboard(
    *, out: str, suite: str | None, metric: str | None, by: str | None, publish: Path | None, no_predictions: bool, beside: Path | None,
    check: bool, render: bool, rescore: bool, site: Path | None, published: Path | None, folders: tuple[Path, ...],
    add: Path | None, verify: bool, is_explained: bool, as_json: bool,
) -> None:  # fmt: skip
    """Print the table of a results folder, publish it, or check published ones.

    On a terminal the tables fit its width: columns that have no room are left out and named. Elsewhere the page is whole, in Markdown
    (`bench leaderboard > page.md`), unless COLUMNS names a width.

    A published folder holds a page over all settings (README.md), one a dataset, CSV, LaTeX, every test in significance.json, and
    plots where matplotlib is installed (extra plot). Of plots --check compares the numbers they show. Every metric in records.jsonl
    is what the trial's predictions give; folders of before, whose predictions were cut after they were scored, are brought there by
    --rescore.

    Ids of samples are published as salted hashes, unless the dataset states that its ids are public; the salt stays in OUT. Targets
    and predictions of test rows are published with them, which the owners of some data forbid: --no-predictions leaves them out, and
    the page says what cannot be checked then.

    --by shows every method's score by group with the largest gap between groups, on a terminal, in Markdown and in JSON. A published
    folder shows it for every attribute of data that say `public_attributes = true`, and for no other.

    --site makes the page of --out, of --from, or of FOLDERS; its numbers are those of the board's files, and --check DIR compares them.

    --publish NEW FOLDER FOLDER... makes one board of published folders that ask one question, each of datasets of its own; NEW may be
    one of them.

    \b
    FILE.csv has the columns dataset, combination, protocol, metric, method, mean,
    sd and source. Names are those of our tables; mean and sd are in points, as
    papers print them (65.2, not 0.652), and sd may be empty. mae and rmse are in
    the unit of the target, which a further column, unit, names. A published
    folder keeps the lines that stand on its pages, in beside.csv.
    """
    from bench.errors import UsageError

    if by is not None and (publish is not None or check or render or rescore or site is not None or add is not None):
        raise UsageError("--by is of the board that is printed; a published folder shows every attribute that its data let it show")
    _check_steps(
        {"--publish": publish, "--check": check, "--render": render or rescore, "--site": site, "--add": add or verify}, folders,
        no_predictions,
    )  # fmt: skip
    if add is not None or verify:
        _add(add, folders, verify, as_json)
        return
    if check:
        _check(folders, as_json)
        return
    if render or rescore:
        _render(folders, as_json, rescore)
        return
    one_source(published)
    if site is not None:
        _site(site, out, suite, metric, (*([published] if published else ()), *folders), as_json)
        return
    from bench.api import board
    from bench.api.reading import boards
    from bench.leaderboard import markdown
    from bench.text import count

    if folders and publish is not None:
        if published is not None or suite is not None or metric is not None or beside is not None:
            raise UsageError("--from, --suite, --metric and --beside are of one board; folders that become one are only named")
        _unite(folders, publish, not no_predictions)
        if as_json:
            print_json(board(published=publish).as_json())
        return
    if publish is not None:
        _publish(out, published, suite, metric, publish, beside, not no_predictions)
    if metric is None and publish is None:
        every = boards(out, published=published, suite=suite, beside=beside, by=by or ())
    else:
        every = [board(out, published=published, suite=suite, metric=metric, beside=beside, by=by or ())]
    if beside is not None:
        click.echo(f"{beside}: {count(sum(len(found.printed) for found in every), 'number')} beside rows of this board", err=True)
    if as_json:
        print_json(every[0].as_json() if len(every) == 1 else {"boards": [found.as_json() for found in every]})
    elif publish is None:
        from bench.cli.board_view import view

        columns = width()
        for found in every:
            click.echo(markdown(found) if columns is None else view(found, columns, is_explained))


def _check_steps(steps: Mapping[str, object], folders: Sequence[Path], no_predictions: bool) -> None:
    """Raises: UsageError if a command is to take several steps, or names folders that none of its steps would look at."""
    from bench.errors import UsageError
    from bench.text import and_list

    given = [name for name, value in steps.items() if value]
    if len(given) > 1:
        raise UsageError(f"{and_list(given)} are steps of their own; take one after the other, such as --publish, then --site --from")
    if given == ["--publish"] and len(folders) == 1:
        raise UsageError(
            f"--publish makes one board of several folders, got {folders[0]} alone; --from {folders[0]} publishes it elsewhere"
        )
    if folders and not given:
        raise UsageError(f"nothing here looks at {folders[0]}; --from {folders[0]} prints it, --check {folders[0]} compares it")
    if no_predictions and given != ["--publish"]:
        raise UsageError("--no-predictions is of a folder that is published; give --publish FOLDER as well")


def _publish(
    out: str, published: Path | None, suite: str | None, metric: str | None, folder: Path, beside: Path | None, predictions: bool
) -> None:
    from bench.leaderboard import publish, revealed
    from bench.leaderboard.printed import read_printed
    from bench.records.folder import answers_of

    printed = () if beside is None else read_printed(beside)
    files = publish(folder, answers_of(out, published, suite).by(metric), printed, predictions=predictions)
    click.echo(revealed(folder, files, out), err=True)


def _unite(folders: Sequence[Path], folder: Path, predictions: bool) -> None:
    from bench.leaderboard import publish, revealed
    from bench.leaderboard.uniting import united

    answers, printed = united(folders)
    files = publish(folder, answers, printed, predictions=predictions)
    click.echo(revealed(folder, files, "the results folders that they came from"), err=True)


def _site(site: Path, out: str, suite: str | None, metric: str | None, folders: Sequence[Path], as_json: bool) -> None:
    """The pages of these published folders, or of the results folder where none is named."""
    from bench.errors import UsageError
    from bench.leaderboard.site import published_data, results_data, write_site

    if folders and (suite or metric):
        raise UsageError("a published board has its suite and its metric; leave --suite and --metric out")
    boards = [published_data(folder) for folder in folders] or [results_data(Path(out), suite, metric)]
    files = write_site(site, boards)
    if as_json:
        print_json({"site": str(site), "files": [path.name for path in files]})
    else:
        click.echo("\n".join(f"wrote {path}" for path in files), err=True)


def _add(file: Path | None, folders: tuple[Path, ...], verify: bool, as_json: bool) -> None:
    from bench.cli.verify import code_of, verified
    from bench.errors import UsageError
    from bench.leaderboard.joining import join
    from bench.records import verification as files
    from bench.records.unpacking import open_bundle

    if file is None or len(folders) != 1:
        raise UsageError(f"--add takes a bundle and one published folder, got {len(folders)}; bench leaderboard --add mine.bundle FOLDER")
    if verify:
        found = verified(file, quiet=as_json)
        files.write(found, files.place_of(file))
        if code_of(found):
            click.echo(str(found), err=True)
    bundle = open_bundle(file)
    known = files.of_bundle(file, bundle.sha256)
    if known is None:
        raise UsageError(f"nobody has verified {file} as it is; `bench verify {file}` does, or add --verify")
    said = join(bundle, known, folders[0])
    if as_json:
        print_json({"folder": str(folders[0]), "result": known.result, "notes": said})
    else:
        click.echo("\n".join(said))


def _published(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    from bench.errors import UsageError
    from bench.records.pieces import published_in

    chosen = folders or tuple(published_in(Path("leaderboards")))
    if not chosen:
        raise UsageError("no published leaderboard here; name folders, or run in a checkout with leaderboards/")
    return chosen


def _render(folders: tuple[Path, ...], as_json: bool, anew: bool) -> None:
    from bench.leaderboard import rescore, withheld, write
    from bench.text import count

    found: list[dict[str, Any]] = []
    for folder in _published(folders):
        reason = withheld(folder)
        if reason:
            found.append({"folder": str(folder), "kept": reason})
            continue
        moved = {"rescored": rescore(folder)} if anew else {}
        found.append({"folder": str(folder), **moved, "files": [path.relative_to(folder).as_posix() for path in write(folder)]})
    if as_json:
        print_json(found)
        return
    for entry in found:
        if "kept" in entry:
            click.echo(f"kept   {entry['folder']}  {entry['kept']}")
            continue
        told = f"  {count(len(entry['rescored']), 'trial')} rescored" if anew else ""
        click.echo(f"wrote  {entry['folder']}{told}  {' '.join(entry['files'])}")


def _check(folders: tuple[Path, ...], as_json: bool) -> None:
    from dataclasses import asdict

    from bench.leaderboard import checked
    from bench.leaderboard.site import checked_site, is_site

    committed = [Path("site")] * (not folders and is_site(Path("site")))
    found = {folder: (checked_site if is_site(folder) else checked)(folder) for folder in (*_published(folders), *committed)}
    if as_json:
        print_json([
            {
                "folder": str(folder), "stale": [path.relative_to(folder).as_posix() for path in one.stale],
                "mismatches": list(map(asdict, one.mismatches)),
                **({"unchecked": one.unchecked} if one.unchecked else {}),
            }
            for folder, one in found.items()
        ])  # fmt: skip
    else:
        for folder, one in found.items():
            click.echo(
                f"{'stale' if one.stale else 'ok   '}  {folder}  {' '.join(path.relative_to(folder).as_posix() for path in one.stale)}"
            )
            if one.unchecked:
                click.echo(f"       {one.unchecked}")
            click.echo("".join(f"       {line}\n" for line in _told(folder, one.mismatches)), nl=False)
    if any(one.stale for one in found.values()):
        sys.exit(1)


def _told(folder: Path, mismatches: Sequence[Mismatch] | Sequence[PageMismatch]) -> list[str]:
    """The first of them, how many more there are, and the way on."""
    from bench.leaderboard.site import is_site

    more = [f"and {len(mismatches) - SHOWN} more"] * (len(mismatches) > SHOWN)
    option = f"--site {shlex.quote(str(folder))} FOLDERS" if is_site(folder) else f"--rescore {shlex.quote(str(folder))}"
    way = [f"`bench leaderboard {option}` {'writes' if is_site(folder) else 'takes'} them anew"] * bool(mismatches)
    return [*map(str, mismatches[:SHOWN]), *more, *way]

"""`bench verify`: whether a bundle is true, on one's own data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import UserPath, data_root_option, explained, output_options, print_json, say, steps

if TYPE_CHECKING:
    from bench.records.verification import Verification

LIE, OPEN, INTERRUPTED = 1, 3, 130  # exit codes, beside 0 and that of wrong usage


@click.command()
@click.argument("file", metavar="BUNDLE", type=UserPath(dir_okay=False, path_type=Path))
@click.option("--reproduce", type=click.IntRange(0), default=0, show_default=True, metavar="K", help="Trials to train again.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Draws these trials.  [default: drawn now, and said]")
@click.option("--code", multiple=True, metavar="FILE.py:Class", help="Your copy of a method that the bundle names by file. Repeatable.")
@click.option("--data", "data_files", multiple=True, metavar="FILE", help="Your copy of a dataset that it names by file. Repeatable.")
@click.option("--trust-code", is_flag=True, help="Run the code in the bundle. Read it first: it can do whatever you can.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, help="Wall time of a trial.")
@click.option("--by", metavar="NAME", help="Who signs off.  [default: git's user.name]")
@click.option(
    "--to", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where the verification is written.  [default: beside the bundle, under its name]",
)  # fmt: skip
@data_root_option
@output_options
@explained
def verify(
    *, file: Path, reproduce: int, seed: int | None, code: tuple[str, ...], data_files: tuple[str, ...], trust_code: bool, minutes: float,
    by: str | None, to: Path | None, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Verify a bundle: hashes, ids, grid, budget and code; masks, splits and labels on your own data; every score from the predictions.

    Says what holds, ending in `claimed` (the data are not here), `re-scored`, or `reproduced k of K`, and writes it to BUNDLE's
    verification.json, which `bench leaderboard --add` asks for. Nothing in a bundle is run, unless --trust-code says so: by default the
    methods that are trained again are those that come along, are installed, or are given with --code.

    JSON: {"result", "bundle", "rows", "checks": [{"name", "passed", "detail"}], "again": [{"id", "same", "detail"}], "asked", "seed",
      "by", "when", "environment", "harness", "format"}

    \b
    Exit code 0: all of it holds, 1: a claim does not hold, 2: no bundle, or wrong usage,
    3: nothing is wrong, but something could not be looked at, 130: interrupted.
    """
    from bench.records import verification as files

    found = verified(file, quiet, reproduce=reproduce, seed=seed, code=code, data=data_files, trust_code=trust_code, minutes=minutes, by=by)
    place = to or files.place_of(file)
    files.write(found, place)
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(str(found))
        say(quiet)(f"wrote {place}")
    sys.exit(code_of(found))


def verified(file: Path, quiet: bool, **options: object) -> Verification:
    """A bundle verified, with progress, and with a way to stop it."""
    import threading

    from bench.grid.process import Stopped, interruptible
    from bench.inspection.submission import verify_file

    stopped = threading.Event()
    with steps(quiet) as step, interruptible(stopped):
        try:
            return verify_file(file, report=lambda reached: step(reached.epoch, reached.epochs, "epoch"), stopped=stopped, **options)  # type: ignore[arg-type]
        except Stopped:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)


def code_of(found: Verification) -> int:
    return LIE if found.lies else OPEN if found.is_open else 0

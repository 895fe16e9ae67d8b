"""`bench reproduce`: a stored trial again, bit for bit."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.complete import stored_trials
from bench.cli.options import UserPath, data_root_option, explained, one_source, output_options, print_json, source_options, steps
from bench.cli.screen import say_page


@click.command()
@click.argument("trial", shell_complete=stored_trials)
@data_root_option
@source_options
@click.option(
    "--salt",
    type=UserPath(file_okay=False, path_type=Path),
    metavar="RUNS",
    help="The results folder that --from was published from, whose salt tells which row is which sample.",
)
@output_options
@explained
def reproduce(trial: str, out: str, published: Path | None, salt: Path | None, as_json: bool, quiet: bool) -> None:  # fmt: skip
    """Run a stored trial again and compare its predictions bit for bit. Nothing is stored.

    TRIAL is an id or the beginning of one (`bench show` lists them). It runs on the device and with the threads that its record names.
    Rows that were published under salted ids are compared as a set, or sample by sample with --salt.

    \b
    JSON: {"id", "same_bits", "status", "reason", "rows", "differing": [...], "largest_difference",
      "changed_predictions", "metrics": {NAME: {"then", "now"}}, "changes": [{"what", "then", "now"}]}

    Exit code 0: same bits, 1: something differs (the page names what), 2: wrong usage, 130: interrupted.
    """
    import threading

    from bench.grid.process import Stopped, interruptible
    from bench.inspection.reproduction import reproduce as again
    from bench.records.folder import opened, salt_of

    one_source(published)
    stopped = threading.Event()
    with opened(out, published) as source, steps(quiet) as step, interruptible(stopped):
        try:
            found = again(source, trial, lambda reached: step(reached.epoch, reached.epochs, "epoch"), stopped, salt_of(salt))
        except Stopped:
            click.echo("interrupted", err=True)
            sys.exit(130)
    if as_json:
        print_json(found.as_json())
    else:
        say_page(str(found))
    if not found.same:
        sys.exit(1)

"""`bench audit`: whether a method does what no method may do."""

from __future__ import annotations

import sys

import click

from bench.cli.complete import methods as all_methods
from bench.cli.complete import names
from bench.cli.options import explained, how, jobs_option, out_option, output_options, print_json, say, wait_option, where_options
from bench.cli.screen import say_page, width


@click.command()
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...|all", shell_complete=names(all_methods))
@jobs_option
@where_options
@wait_option
@out_option
@output_options
@explained
def audit(methods: tuple[str, ...], jobs: int | None, place: str, is_mixed: bool, wait: bool, out: str, as_json: bool, quiet: bool) -> None:
    """Try a method for what no method may do, store what is found, and show it in every leaderboard.

    \b
    bench audit muse                            in its default preset
    bench audit m3care@as_released mine.py:Mine
    bench audit 'muse[layers=3]'                one configuration, as a tuned row needs it
    bench audit all                             every listed method in every preset

    \b
    poison        hidden cells hold NaN, huge values, other rows' values: same outputs and training to the bit
    batch-mate    a row alone, in other batches, beside other rows: same outputs up to rounding
    support pool  no test row reaches training or another test row; training rows act through weights alone
    label         true, other and no labels in evaluation: same outputs to the bit
    determinism   one seed, other states of the global generators: same bits
    gradient      every trained parameter receives a gradient within a few batches
    empty row     rows that observe nothing get finite outputs

    Exit code 0: all passed, 1: some check failed, 2: wrong usage, 130: interrupted. A dependence that a class declares is measured,
    reported and passed. What was found holds for the version of the code that was audited.
    """
    from dataclasses import asdict

    from bench.grid.places import place_of
    from bench.grid.process import Stopped
    from bench.inspection.audit import expand, run_audits
    from bench.inspection.audit_page import page
    from bench.question.assemble import names_of
    from bench.question.machine import Machine

    choices = expand(names_of(methods))
    try:
        with place_of(place, jobs, Machine("cpu"), is_mixed=is_mixed) as where:
            found = run_audits(choices, out, how(where, wait=wait, say=say(quiet)))
    except Stopped as error:
        click.echo(f"interrupted: {error}", err=True)
        sys.exit(130)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        say_page(page(found, width()))
    if not all(finding.passed for finding in found):
        sys.exit(1)

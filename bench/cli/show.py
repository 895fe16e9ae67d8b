"""`bench show`: stored trials, or everything about one."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.complete import lists, stored_trials
from bench.cli.complete import methods as all_methods
from bench.cli.options import explained, json_option, one_source, print_json, settings_option, source_options
from bench.cli.screen import title, width


@click.command()
@click.argument("trial", required=False, shell_complete=stored_trials)
@click.option("--methods", metavar="LIST", shell_complete=lists(all_methods), help="Only some methods.")
@settings_option
@source_options
@json_option
@explained
def show(trial: str | None, methods: str | None, settings: str | None, out: str, published: Path | None, as_json: bool) -> None:
    """Show one trial: question, scores, cost, provenance, and the command that repeats it. Without TRIAL, list all.

    TRIAL may be the beginning of an id. From a cell of a table to its trials:
    bench show --from leaderboards/quick --methods muse --settings "digits mcar(0.5)"
    """
    from bench.api import page_of, stored
    from bench.records.page import listing

    one_source(published)
    if trial is None:
        records = stored(out, published, methods, settings)
        if as_json:
            print_json({"trials": [record.row() for record in records]})
        else:
            click.echo(listing(records, width()))
        return
    page = page_of(trial, out, published)
    if as_json:
        print_json({"trials": [page.as_json()]})
        return
    for name, text in page.sections(width()):
        click.echo(f"{title(name)}\n{text}")

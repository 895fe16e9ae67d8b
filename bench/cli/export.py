"""`bench export`: trials or predictions as a flat table in a file."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import UserPath, explained, one_source, settings_option, source_options


@click.command()
@click.argument("file", type=UserPath(dir_okay=False, path_type=Path))
@click.option("--predictions", is_flag=True, help="One row a test sample of each trial, in the place of one a trial.")
@click.option("--methods", metavar="LIST", help="Only some methods.")
@settings_option
@source_options
@explained
def export(file: Path, predictions: bool, methods: str | None, settings: str | None, out: str, published: Path | None) -> None:
    """Write stored trials to FILE, one flat row a trial: Parquet, or CSV, by its ending.

    .parquet needs pyarrow; .csv and .csv.gz need nothing. Columns: the trial (id, method, setting, seed, options), status and reason,
    metrics as fractions, cost, rows and missing shares, and the versions of code, data and packages.

    An export is for yourself: ids of samples stand in it as they are stored, in clear in a results folder, and so do paths. What
    you may hand on is written by `bench leaderboard --publish`; `--from` exports that.
    """
    from bench.api import export as exported
    from bench.text import count

    one_source(published)
    table = exported(file, out, published=published, methods=methods, settings=settings, predictions=predictions)
    clear = "; ids of samples as they are stored here: keep it to yourself" if predictions and published is None else ""
    click.echo(f"wrote {count(len(table), 'row')} of {count(table.shape[1], 'column')} to {file}{clear}", err=True)

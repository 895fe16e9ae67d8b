"""`bench show`: stored trials, or everything about one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from bench.cli.options import explained, from_option, json_option, one_source, out_option, print_json


@click.command()
@click.argument("trial", required=False)
@click.option("--methods", metavar="LIST", help="List the trials of these alone.")
@click.option("--settings", metavar="LIST", help="List some settings, by dataset, combination, protocol: 'digits mcar(0.3),gaussian'.")
@out_option
@from_option
@json_option
@explained
def show(trial: str | None, methods: str | None, settings: str | None, out: str, published: Path | None, as_json: bool) -> None:
    """Show one trial: question, scores, cost, provenance, and the command that repeats it. Without TRIAL, list all.

    TRIAL may be the beginning of an id. From a cell of a table to its trials:
    bench show --from leaderboards/quick --methods muse --settings "digits mcar(0.5)"
    """
    from tabulate import tabulate

    from bench.comparison.belonging import in_settings, label_of
    from bench.names import split_list
    from bench.records.folder import opened
    from bench.text import finite

    one_source(published)
    with opened(out, published) as source:
        records = [source.record(trial)] if trial else source.records()
    if not trial:
        labels = {label_of(text, records) for text in split_list(methods or "")}
        records = [r for r in in_settings(records, split_list(settings or "")) if not labels or r.trial.label in labels]
    if as_json:
        print_json(
            {
                "trials": [
                    {**record.row(), "facts": record.facts.as_json(), "provenance": record.provenance.as_json()} if trial else record.row()
                    for record in records
                ]
            }
        )
        return
    if not trial:
        keys = ("id", "method", "preset", "dataset", "combination", "protocol", "seed", "status")
        rows = [{**{key: r.row()[key] for key in keys}, "accuracy": r.metrics.get("accuracy"), "reason": r.reason} for r in records]
        click.echo(tabulate(rows, headers="keys", tablefmt="simple", floatfmt=".4f"))
        return
    record = records[0]
    evaluations = record.facts.evaluations
    sections = {
        "trial": {"id": record.trial.id, **json.loads(record.trial.canonical())},
        "status": {"status": record.status, "reason": record.reason, "collapsed": record.collapsed},
        "metrics": record.metrics,
        "cost": record.cost,
        "facts": {key: value for key, value in record.facts.as_json().items() if key != "evaluations"},
        "provenance": record.provenance.as_json(),
    }
    for title, values in sections.items():
        click.secho(title, bold=True)
        click.echo(tabulate([(f"  {key}", value) for key, value in finite(values).items()], tablefmt="plain", disable_numparse=True))
    if evaluations:
        click.secho("evaluations", bold=True)
        rows = [{"  rule": f"  {rule}", "missing": evaluated.missing, **evaluated.metrics} for rule, evaluated in evaluations.items()]
        click.echo(tabulate(rows, headers="keys", tablefmt="plain", floatfmt=".4f"))
    where = f"--out {shlex.quote(out)}" if published is None else f"--from {shlex.quote(str(published))}"
    click.secho("repeat it and compare the bits", bold=True)
    click.echo(f"  bench reproduce {record.trial.id} {where}")
    click.secho("repeat it", bold=True)
    click.echo(f"  {record.trial.command()} --out {shlex.quote(out + '-repeat')}")

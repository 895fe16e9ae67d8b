"""`bench run`: the trials of a suite, or what they would be and how long they would take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.options import (
    combinations_option,
    cores,
    data_root_option,
    datasets_option,
    device_option,
    epochs_option,
    explained,
    json_option,
    noise_option,
    out_option,
    print_json,
    progress,
    quiet_option,
    seeds_option,
    typed_command,
    verbose_option,
)


@click.command()
@click.option("--suite", default="quick", show_default=True, metavar="NAME|FILE", help="Suite to run: a name, or a TOML file.")
@click.option("--methods", metavar="LIST", help="Names, all, paper, reference, NAME@PRESET, NAME[option=value], FILE.py:Class.")
@datasets_option
@combinations_option
@click.option(
    "--protocols", metavar="LIST",
    help="natural, mcar(0.3), mcar(V=0.1,A=0.5), fixed(NE), keep(2), block(group,0.3), mar(A->B,2,0.3), mnar(B|value,2,0.3), "
    "mnar(B|label,2,0.3), sums with +, or train=...;valid=...;test=...",
)  # fmt: skip
@noise_option
@click.option("--test-noise", metavar="LIST", help="Test each trained model at these missing rates as well.")
@click.option("--test-combinations", metavar="LIST", help="Test each trained model with these modalities alone as well; all: every subset.")
@seeds_option
@click.option(
    "--until-resolved", metavar="A,B", multiple=True,
    help="Add seeds of methods A and B in each setting where `bench compare A B` is undecided. Repeatable.",
)  # fmt: skip
@click.option("--max-seeds", type=int, metavar="N", help="Seeds of such a pair at the most.  [default: 30]")
@click.option("--rope", type=float, metavar="POINTS", help="Largest difference that does not matter.  [default: 1]")
@click.option("--metric", metavar="NAME", help="Primary metric of the leaderboard.")
@click.option("--selection", metavar="NAME", help="Validation metric that picks the checkpoint.")
@click.option("--vary", metavar="WHAT", help="training, or split: the seed then draws split and test masks too.")
@click.option("--fixed-seed", type=int, metavar="N", help="Root of split and masks that do not vary with the seed.")
@epochs_option
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a Config field of every method that has it. Repeatable.")
@click.option("--configs", metavar="LIST", help="default, tuned (by `bench tune`, in OUT), FILE.toml of tuned ones, or several of these.")
@device_option
@click.option("--threads", type=int, metavar="N", help="CPU threads of each trial.")
@click.option("--minutes", type=float, metavar="N", help="Wall time a trial may take.")
@click.option("--memory-gb", type=float, metavar="N", help="Memory a trial may take.")
@click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Trials at once.  [default: CPU cores / threads]")
@click.option("--dry-run", is_flag=True, help="List the trials, estimate their time, and stop.")
@click.option("--retry-failed", is_flag=True, help="Run failed trials again.")
@click.option("--wait", is_flag=True, help="Wait while another run writes to the same folder.")
@click.option("--trace", "is_traced", is_flag=True, help="Also write what methods did (routing, supports, ...) to OUT/traces.")
@data_root_option
@out_option
@json_option
@quiet_option
@verbose_option
@explained
def run(
    suite: str, sets: tuple[str, ...], epochs: int | None, configs: str | None, jobs: int | None, dry_run: bool, retry_failed: bool,
    wait: bool, is_traced: bool, out: str, as_json: bool, quiet: bool, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Run every trial of a suite that has no record yet, then print the leaderboard.

    A second run does nothing, a run after a crash or Ctrl-C continues. Exit code 0: all done, 1: some trial failed, 2: wrong usage,
    130: interrupted.

    With --until-resolved the numbers of seeds at which a pair is looked at are planned ahead, and alpha is spent over them: looking again
    and again errs no more often than one test would. `bench compare A B` then allows for every look; --dry-run shows the plan.
    """
    from bench.question.suite import read_suite, with_options
    from bench.studies.looks import resolve

    changes = [*sets, *([f"epochs={epochs}"] if epochs is not None else [])]
    pairs = options.pop("until_resolved") or None
    chosen = with_options(read_suite(suite), {**options, "until_resolved": pairs, "training": changes or None})
    if configs is not None:
        from bench.question.winners import with_configs

        chosen = with_configs(chosen, configs, out)
    if dry_run:
        from bench.data.loading import loaded_once

        with loaded_once():
            _dry_run(chosen, out, jobs or cores(chosen.threads), as_json, quiet)
        return
    summary = resolve(
        chosen, out, jobs or cores(chosen.threads), retry_failed, wait, lambda: progress(chosen.metric, quiet, verbose), typed_command(),
        is_traced, lambda line: None if quiet else click.echo(line, err=True),
    )  # fmt: skip
    if as_json:
        print_json({"trials": [record.row() for record in summary.records]})
    elif summary.records:
        click.echo(_page(out))
    for record in summary.failed:
        click.echo(
            f"failed: {record.trial.label} {record.trial.dataset_label} {record.trial.protocol} seed {record.trial.seed}: {record.reason}",
            err=True,
        )
    if summary.interrupted:
        click.echo(
            f"interrupted: {summary.ran + summary.reused} of {summary.planned} trials are stored; the same command continues", err=True
        )
        sys.exit(130)
    if summary.failed:
        click.echo(
            f"{len(summary.failed)} of {summary.planned} trials failed; logs are in {out}/logs, --retry-failed runs them again", err=True
        )
        sys.exit(1)


def _dry_run(suite: Any, out: str, jobs: int, as_json: bool, quiet: bool) -> None:
    from dataclasses import asdict

    from tabulate import tabulate

    from bench.datasets.base import DataError
    from bench.errors import UsageError
    from bench.grid.estimate import estimate
    from bench.question.plan import outline, plan
    from bench.records.database import Store
    from bench.studies.looks import further_trials, planned_looks

    try:
        trials = plan(suite)
    except UsageError as error:
        if not isinstance(error.__cause__, DataError):
            raise
        rows = outline(suite)
        if as_json:
            print_json({"outline": rows, "trials": None, "estimate": None, "reason": str(error)})
        else:
            click.echo(tabulate(rows, headers="keys", tablefmt="simple"))
            click.echo(f"{len(rows) * len(suite.seeds)} trials; their ids and an estimate of their time need the data")
        raise
    further = further_trials(suite, trials) if suite.until_resolved else []
    looks = [asdict(look) for look in planned_looks(suite)] if further else []
    records = []
    if (Path(out) / "bench.db").exists():
        with Store(out, create=False) as store:
            records = store.records()
    statuses = {record.trial.id: record.status for record in records}
    rows = [
        {"id": t.id, "method": t.label, "dataset": t.dataset_label, "combination": t.combination, "protocol": t.protocol, "seed": t.seed,
         "status": statuses.get(t.id, "planned")}
        for t in trials
    ]  # fmt: skip
    waiting = [trial for trial, row in zip(trials, rows, strict=True) if row["status"] == "planned"]
    begin = None if quiet else lambda trial: click.echo(f"timing {trial.label} on {trial.dataset_label} {trial.combination}", err=True)
    found = estimate(waiting, records, jobs, suite.device, suite.threads, begin)
    if as_json:
        more = {"looks": looks, "further_trials": len(further)} if further else {}
        print_json({"trials": rows, "estimate": found.as_json(), **more})
        return
    click.echo(tabulate(rows, headers="keys", tablefmt="simple"))
    click.echo(f"{len(rows)} trials, {len(waiting)} to run\n{found.text()}")
    if further:
        pairs = "; ".join(" against ".join(pair) for pair in suite.looks.pairs)
        click.echo(f"\nthen, where {pairs} is undecided, up to {len(further)} more. Planned looks at 5 % in all:")
        click.echo(tabulate(looks, headers={"seeds": "seeds", "spent": "alpha spent", "level": "significant at p <="}, floatfmt=".2g"))


def _page(out: str) -> str:
    from bench.api import board
    from bench.leaderboard import markdown

    return markdown(board(out))

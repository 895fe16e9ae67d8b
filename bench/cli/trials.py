"""`bench run`, `tune`, `show`, `reproduce`: trials, from a suite to the bits of one of them."""

from __future__ import annotations

import json
import shlex
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
    from_option,
    json_option,
    noise_option,
    one_source,
    out_option,
    print_json,
    progress,
    quiet_option,
    seeds_option,
    steps,
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
@click.option("--record", "is_recorded", is_flag=True, help="Also write what methods did (routing, supports, ...) to OUT/records.")
@data_root_option
@out_option
@json_option
@quiet_option
@verbose_option
@explained
def run(
    suite: str, sets: tuple[str, ...], epochs: int | None, configs: str | None, jobs: int | None, dry_run: bool, retry_failed: bool,
    wait: bool, is_recorded: bool, out: str, as_json: bool, quiet: bool, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Run every trial of a suite that has no record yet, then print the leaderboard.

    A second run does nothing, a run after a crash or Ctrl-C continues. Exit code 0: all done, 1: some trial failed, 2: wrong usage,
    130: interrupted.

    With --until-resolved the numbers of seeds at which a pair is looked at are planned ahead, and alpha is spent over them: looking again
    and again errs no more often than one test would. `bench compare A B` then allows for every look; --dry-run shows the plan.
    """
    from bench.resolving import resolve
    from bench.spec import read_suite, with_options

    changes = [*sets, *([f"epochs={epochs}"] if epochs is not None else [])]
    pairs = options.pop("until_resolved") or None
    chosen = with_options(read_suite(suite), {**options, "until_resolved": pairs, "training": changes or None})
    if configs is not None:
        from bench.tuned import with_configs

        chosen = with_configs(chosen, configs, out)
    if dry_run:
        from bench.loader import loaded_once

        with loaded_once():
            _dry_run(chosen, out, jobs or cores(chosen.threads), as_json, quiet)
        return
    summary = resolve(
        chosen, out, jobs or cores(chosen.threads), retry_failed, wait, lambda: progress(chosen.metric, quiet, verbose), typed_command(),
        is_recorded, lambda line: None if quiet else click.echo(line, err=True),
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
    from bench.engine import outline, plan
    from bench.errors import UsageError
    from bench.estimate import estimate
    from bench.resolving import further_trials, planned_looks
    from bench.store import Store

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
        pairs = "; ".join(" against ".join(pair) for pair in suite.pairs)
        click.echo(f"\nthen, where {pairs} is undecided, up to {len(further)} more. Planned looks at 5 % in all:")
        click.echo(tabulate(looks, headers={"seeds": "seeds", "spent": "alpha spent", "level": "significant at p <="}, floatfmt=".2g"))


@click.command()
@click.option("--suite", default="quick", show_default=True, metavar="NAME|FILE", help="Suite whose settings and training budget are used.")
@click.option("--methods", metavar="LIST", help="As for `bench run`; what an option fixes, as in muse[width=64], is not tuned.")
@datasets_option
@combinations_option
@click.option("--protocols", metavar="LIST", help="As for `bench run`.")
@noise_option
@click.option("--selection", metavar="NAME", help="Validation metric to tune for.")
@epochs_option
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change the default of every method that has it. Repeatable.")
@click.option("--suggestions", default=20, show_default=True, metavar="N", help="Configurations to try, of each method in each setting.")
@click.option("--budget-gflops", type=float, metavar="N", help="End there too: counted training GFLOPs of each method in each setting.")
@click.option("--budget-minutes", type=float, metavar="N", help="End there too: minutes of training of each method in each setting.")
@click.option("--sampler", default="random", show_default=True, metavar="random|tpe", help="Who suggests.")
@click.option("--pruner", default="median", show_default=True, metavar="median|none", help="What ends a suggestion that lags behind.")
@click.option("--seed", "seeds", default="0", show_default=True, metavar="LIST", help="Seed of the tuning; several repeat it whole.")
@click.option("--study", metavar="NAME", help="Name of its folder in OUT/tuning.  [default: from the question]")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw curves and importances.")
@device_option
@click.option("--threads", type=int, metavar="N", help="CPU threads of each suggestion.")
@click.option("--minutes", type=float, metavar="N", help="Wall time a suggestion may take.")
@click.option("--memory-gb", type=float, metavar="N", help="Memory a suggestion may take.")
@click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Suggestions at once.  [default: CPU cores / threads]")
@data_root_option
@out_option
@json_option
@quiet_option
@verbose_option
@explained
def tune(
    suite: str, sets: tuple[str, ...], epochs: int | None, suggestions: int, budget_gflops: float | None, budget_minutes: float | None,
    sampler: str, pruner: str, seeds: str, study: str | None, plot: Path | None, jobs: int | None, out: str, as_json: bool, quiet: bool,
    verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Tune every method with the same budget, on validation alone: the test part is never looked up.

    Each method's class states what may be tried (`search`). The same command after a crash or Ctrl-C goes on. The winners are
    written to OUT/tuning/STUDY/tuned.toml; train them on fresh seeds, beside the default rows, with `bench run --configs`.

    \b
    bench tune --methods paper --datasets digits --noise 0.3 --suggestions 20
    bench tune --methods muse,shaspec --datasets digits --noise 0.3 --sampler tpe --seed 0-2 --plot curves.svg
    bench tune --methods paper --datasets digits --noise 0.3 --suggestions 500 --budget-gflops 2000
    bench run --methods paper --datasets digits --noise 0.3 --configs default,tuned
    """
    from bench.progress import Progress, SuggestionBars, SuggestionLines
    from bench.spec import parse_seeds, read_suite, with_options
    from bench.tuning import Budget
    from bench.tuning import tune as run_tuning
    from bench.tuning_report import check_plot, table
    from bench.tuning_report import plot as draw

    if plot is not None:
        check_plot(plot)
    changes = [*sets, *([f"epochs={epochs}"] if epochs is not None else [])]
    chosen = with_options(read_suite(suite), {**options, "training": changes or None})
    shown = Progress() if quiet else (SuggestionBars if sys.stderr.isatty() else SuggestionLines)(chosen.selection, verbose)
    budget = Budget(suggestions, budget_gflops, budget_minutes)
    found = run_tuning(
        chosen, out, budget, sampler, pruner, parse_seeds(seeds), jobs or cores(chosen.threads), study, shown, typed_command()
    )  # fmt: skip
    if plot is not None:
        draw(found.results, plot)
    if as_json:
        files = {"file": str(found.file) if found.file.exists() else None, "plot": str(plot) if plot else None}
        print_json({"study": found.name, **files, "left_out": found.left_out, "seconds": found.seconds,
                     "methods": [result.as_json() for result in found.results]})  # fmt: skip
    else:
        click.echo(table(found.results))
    if found.left_out:
        click.echo(f"not tuned, for they state no search space: {', '.join(found.left_out)}", err=True)
    for reason in found.without_winner:
        click.echo(f"no winner: {reason}", err=True)
    if found.interrupted:
        click.echo("interrupted: what has ended is stored; the same command continues", err=True)
        sys.exit(130)
    asked = {**options, "set": sets, "epochs": epochs, "out": None if out == "runs" else out, "suite": None if suite == "quick" else suite}
    click.echo(f"winners: {found.file}\ntrain them on fresh seeds:  {_run_of_winners(asked, found.file)}", err=True)
    if found.without_winner:
        sys.exit(1)


def _run_of_winners(asked: dict[str, Any], file: Path) -> str:
    """The command that trains the winners beside the default configurations, under the conditions they were found in."""
    words, settings = ["bench", "run"], ("methods", "datasets", "combinations", "protocols", "noise")
    for key in ("suite", *settings, "selection", "epochs", "set", "device", "threads", "out"):
        values = asked[key] if isinstance(asked[key], tuple) else (asked[key],)
        words += [word for value in values if value is not None for word in (f"--{key}", str(value))]
    return shlex.join([*words, "--configs", f"default,{file}"])


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

    from bench.comparison import in_settings, label_of
    from bench.leaderboard import finite
    from bench.published import opened
    from bench.spec import split_list
    from bench.surface import evaluations_of

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
                    {**record.row(), "facts": record.facts, "provenance": record.provenance} if trial else record.row()
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
    evaluations = evaluations_of(record)
    sections = {
        "trial": {"id": record.trial.id, **json.loads(record.trial.canonical())},
        "status": {"status": record.status, "reason": record.reason, "collapsed": record.collapsed},
        "metrics": record.metrics,
        "cost": record.cost,
        "facts": {key: value for key, value in record.facts.items() if key != "evaluations"},
        "provenance": record.provenance,
    }
    for title, values in sections.items():
        click.secho(title, bold=True)
        click.echo(tabulate([(f"  {key}", value) for key, value in finite(values).items()], tablefmt="plain", disable_numparse=True))
    if evaluations:
        click.secho("evaluations", bold=True)
        rows = [{"  rule": f"  {rule}", "missing": facts["missing"], **facts["metrics"]} for rule, facts in evaluations.items()]
        click.echo(tabulate(rows, headers="keys", tablefmt="plain", floatfmt=".4f"))
    where = f"--out {shlex.quote(out)}" if published is None else f"--from {shlex.quote(str(published))}"
    click.secho("repeat it and compare the bits", bold=True)
    click.echo(f"  bench reproduce {record.trial.id} {where}")
    click.secho("repeat it", bold=True)
    click.echo(f"  {record.trial.command()} --out {shlex.quote(out + '-repeat')}")


@click.command()
@click.argument("trial")
@data_root_option
@out_option
@from_option
@json_option
@quiet_option
@explained
def reproduce(trial: str, out: str, published: Path | None, as_json: bool, quiet: bool) -> None:
    """Run a stored trial again and compare its predictions bit for bit. Nothing is stored.

    TRIAL is an id or the beginning of one (`bench show` lists them). It runs on the device and with the threads that its record names.

    \b
    JSON: {"id", "same_bits", "status", "reason", "rows", "differing": [...], "largest_difference",
      "changed_predictions", "metrics": {NAME: {"then", "now"}}, "changes": [{"what", "then", "now"}]}

    Exit code 0: same bits, 1: something differs (the page names what), 2: wrong usage, 130: interrupted.
    """
    import threading

    from bench.engine import interruptible
    from bench.isolation import Stopped
    from bench.published import opened
    from bench.reproduction import reproduce as again

    one_source(published)
    stopped = threading.Event()
    with opened(out, published) as source, steps(quiet) as step, interruptible(stopped):
        try:
            found = again(source, trial, lambda epoch, epochs, _: step(epoch, epochs, "epoch"), stopped)
        except Stopped:
            click.echo("interrupted", err=True)
            sys.exit(130)
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(str(found))
    if not found.same:
        sys.exit(1)


def _page(out: str) -> str:
    from bench.api import board
    from bench.leaderboard import markdown

    return markdown(board(out))

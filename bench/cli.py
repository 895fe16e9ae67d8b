"""The command line. Imports nothing heavy before a command needs it: `bench --help` stays fast and free of torch."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bench import __version__


def _set_data_root(_: click.Context, __: click.Parameter, folder: Path | None) -> None:
    """For this process and the trials it starts."""
    if folder is not None:
        os.environ["BENCH_DATA"] = str(folder.absolute())


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
out_option = click.option("--out", default="runs", show_default=True, metavar="DIR", help="Folder of the results database.")
from_option = click.option(
    "--from", "published", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Read a published leaderboard, such as leaderboards/quick, instead of --out.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else.")
data_root_option = click.option(
    "--data-root", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", expose_value=False, callback=_set_data_root,
    help="Folder of the datasets that come as files.  [default: BENCH_DATA, or a folder of this user]",
)  # fmt: skip
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Every epoch and every finished trial.")


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Bad input ends as one line on stderr and exit code 2."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from bench.errors import UsageError

        try:
            return command(*args, **kwargs)
        except UsageError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)

    return run


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Compare methods for multimodal learning with missing modalities.

    \b
    bench run                                 all methods on embedded real data, minutes on a laptop
    bench run --methods muse,mine.py:Mine     some methods, your own among them
    bench leaderboard                         the table of what was run
    bench compare muse fusemoe                is the difference between two methods real?
    bench reproduce TRIAL                     do the same bits come again?
    bench list methods                        what there is
    bench profile paper                       what they cost
    bench audit mine.py:Mine                  does it read what it must not?
    bench analyze routing                     what happens inside
    """


@main.command()
@click.option("--suite", default="quick", show_default=True, metavar="NAME|FILE", help="Suite to run: a name, or a TOML file.")
@click.option("--methods", metavar="LIST", help="Names, all, paper, reference, NAME@PRESET, NAME[option=value], FILE.py:Class.")
@click.option("--datasets", metavar="LIST", help="Names, or NAME[option=value].")
@click.option("--combinations", metavar="LIST", help="Modalities in use, as letters; all for every one.")
@click.option(
    "--protocols", metavar="LIST",
    help="natural, mcar(0.3), mcar(V=0.1,A=0.5), fixed(NE), keep(2), block(group,0.3), mar(A->B,2,0.3), mnar(B|value,2,0.3), "
    "mnar(B|label,2,0.3), sums with +, or train=...;valid=...;test=...",
)  # fmt: skip
@click.option("--noise", metavar="LIST", help="Missing rates in [0, 1) for protocols written without one.")
@click.option("--test-noise", metavar="LIST", help="Test each trained model at these missing rates as well.")
@click.option("--test-combinations", metavar="LIST", help="Test each trained model with these modalities alone as well; all: every subset.")
@click.option("--seeds", metavar="LIST", help="Seeds and ranges, such as 0-4,7.")
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
@click.option("--epochs", type=int, metavar="N", help="Short for --set epochs=N.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a Config field of every method that has it. Repeatable.")
@click.option("--configs", metavar="LIST", help="default, tuned (by `bench tune`, in OUT), FILE.toml of tuned ones, or several of these.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
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
        _dry_run(chosen, out, jobs or _cores(chosen.threads), as_json, quiet)
        return
    summary = resolve(
        chosen, out, jobs or _cores(chosen.threads), retry_failed, wait, lambda: _progress(chosen.metric, quiet, verbose), _command(),
        is_recorded, lambda line: None if quiet else click.echo(line, err=True),
    )  # fmt: skip
    if as_json:
        _print_json({"trials": [record.row() for record in summary.records]})
    elif summary.records:
        click.echo(_page(out, None, None))
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


@main.command()
@click.option("--suite", default="quick", show_default=True, metavar="NAME|FILE", help="Suite whose settings and training budget are used.")
@click.option("--methods", metavar="LIST", help="As for `bench run`; what an option fixes, as in muse[width=64], is not tuned.")
@click.option("--datasets", metavar="LIST", help="Names, or NAME[option=value].")
@click.option("--combinations", metavar="LIST", help="Modalities in use, as letters; all for every one.")
@click.option("--protocols", metavar="LIST", help="As for `bench run`.")
@click.option("--noise", metavar="LIST", help="Missing rates in [0, 1) for protocols written without one.")
@click.option("--selection", metavar="NAME", help="Validation metric to tune for.")
@click.option("--epochs", type=int, metavar="N", help="Short for --set epochs=N.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change the default of every method that has it. Repeatable.")
@click.option("--suggestions", default=20, show_default=True, metavar="N", help="Configurations to try, of each method in each setting.")
@click.option("--budget-gflops", type=float, metavar="N", help="End there too: counted training GFLOPs of each method in each setting.")
@click.option("--budget-minutes", type=float, metavar="N", help="End there too: minutes of training of each method in each setting.")
@click.option("--sampler", default="random", show_default=True, metavar="random|tpe", help="Who suggests.")
@click.option("--pruner", default="median", show_default=True, metavar="median|none", help="What ends a suggestion that lags behind.")
@click.option("--seed", "seeds", default="0", show_default=True, metavar="LIST", help="Seed of the tuning; several repeat it whole.")
@click.option("--study", metavar="NAME", help="Name of its folder in OUT/tuning.  [default: from the question]")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw curves and importances.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
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
        chosen, out, budget, sampler, pruner, parse_seeds(seeds), jobs or _cores(chosen.threads), study, shown, _command()
    )  # fmt: skip
    if plot is not None:
        draw(found.results, plot)
    if as_json:
        files = {"file": str(found.file) if found.file.exists() else None, "plot": str(plot) if plot else None}
        _print_json({"study": found.name, **files, "left_out": found.left_out, "seconds": found.seconds,
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


@main.command("list")
@click.argument("what", type=click.Choice(["methods", "datasets", "suites"]))
@data_root_option
@json_option
@explained
def list_(what: str, as_json: bool) -> None:
    """List methods, datasets or suites."""
    from tabulate import tabulate

    rows = {"methods": _list_methods, "datasets": _list_datasets, "suites": _list_suites}[what]()
    if as_json:
        _print_json(rows)
        return
    absent = [row["name"] for row in rows if not row.pop("here", True)]
    click.echo(tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=[None, None, None, 50, 60][: len(rows[0])], missingval="-"))
    if absent:
        click.echo(f"\nnot here: {', '.join(absent)}; `bench data status` says where to get them")


@main.command()
@out_option
@click.option("--suite", metavar="NAME", help="Latest run of this suite, instead of the latest run.")
@click.option("--metric", metavar="NAME", help="Metric to rank by.  [default: the suite's]")
@click.option("--publish", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Write a leaderboard folder.")
@click.option("--paper", is_flag=True, help="Show the MoE-Retriever paper's printed numbers beside ours where setting and metric match.")
@click.option("--check", is_flag=True, help="Re-render published folders and compare bytes. Takes folders, else all of leaderboards/.")
@click.option("--render", is_flag=True, help="Write the pages of published folders anew. Takes folders, else all of leaderboards/.")
@click.argument("folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
@json_option
@explained
def leaderboard(
    out: str, suite: str | None, metric: str | None, publish: Path | None, paper: bool, check: bool, render: bool,
    folders: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Print the table of a results folder, publish it, or check published ones.

    A published folder holds a page over all settings (README.md), one a dataset, CSV, LaTeX, every test in significance.json, and
    plots where matplotlib is installed (extra plot). Of plots --check compares the numbers they show.
    """
    if check:
        _check(folders, as_json)
        return
    if render:
        _render(folders, as_json)
        return
    from bench.api import board
    from bench.leaderboard import markdown

    if publish is not None:
        _publish(out, suite, metric, publish, paper)
    found = board(out, suite, metric, paper)
    if as_json:
        _print_json(found.as_json())
    elif publish is None:
        click.echo(markdown(found))


@main.command()
@click.argument("a")
@click.argument("b")
@click.option("--settings", metavar="LIST", help="Only some settings, by dataset, combination, protocol: 'digits mcar(0.3),gaussian'.")
@click.option("--metric", metavar="NAME", help="Metric to compare by; any but the suite's is exploratory.  [default: the suite's]")
@click.option("--rope", type=float, metavar="POINTS", help="Largest difference that does not matter.  [default: the suite's, 1]")
@click.option("--allow", metavar="LIST", help="Compare although the records mix protocols, data, commits or hardware.")
@click.option("--patterns", is_flag=True, help="Wins and losses by observed modalities. Loads the datasets.")
@click.option("--suite", metavar="NAME", help="Latest run of this suite, instead of the latest run.")
@data_root_option
@out_option
@from_option
@json_option
@explained
def compare(a: str, b: str, as_json: bool, **options: Any) -> None:
    """Compare method A with method B: is the difference real, how large, and does it matter?

    In words and in numbers, setting by setting and over all settings. Where the data cannot answer, the page says what is missing.

    \b
    bench compare muse fusemoe                          the latest run in runs/
    bench compare muse fusemoe --from leaderboards/quick --settings "digits mcar(0.5)"

    \b
    JSON: {"summary", "settings": [{"difference", "interval", "p", "p_adjusted", "verdict", "seeds_needed",
      "patterns": [...], ...}], "across": {...}}; what the data cannot answer is null, with a "reason".

    Exit code 0: answered, 2: wrong usage, or records that must not be compared.
    """
    from bench.api import compare as compared

    _one_source(options["published"])

    found = compared(a, b, **{key: value for key, value in options.items() if value is not None})
    if as_json:
        _print_json(found.as_json())
    else:
        click.echo(str(found))


@main.command()
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...|all")
@click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Audits at once.  [default: CPU cores]")
@click.option("--wait", is_flag=True, help="Wait while a run writes to the same folder.")
@out_option
@json_option
@quiet_option
@explained
def audit(methods: tuple[str, ...], jobs: int | None, wait: bool, out: str, as_json: bool, quiet: bool) -> None:
    """Try a method for what no method may do, store what is found, and show it in every leaderboard.

    \b
    bench audit muse                            in its default preset
    bench audit m3care@as_released mine.py:Mine
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

    from bench.auditing import expand, run_audits
    from bench.isolation import Stopped
    from bench.spec import split_list

    choices = expand(name for text in methods for name in split_list(text))
    try:
        found = run_audits(choices, out, jobs or _cores(1), wait, lambda line: None if quiet else click.echo(line, err=True))
    except Stopped as error:
        click.echo(f"interrupted: {error}", err=True)
        sys.exit(130)
    if as_json:
        _print_json([asdict(finding) for finding in found])
    else:
        click.echo(_audit_page(found))
    if not all(finding.passed for finding in found):
        sys.exit(1)


@main.command()
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
    from bench.leaderboard import _finite
    from bench.published import opened
    from bench.spec import split_list
    from bench.surface import evaluations_of

    _one_source(published)
    with opened(out, published) as source:
        records = [source.record(trial)] if trial else source.records()
    if not trial:
        labels = {label_of(text, records) for text in split_list(methods or "")}
        records = [r for r in in_settings(records, split_list(settings or "")) if not labels or r.trial.label in labels]
    if as_json:
        _print_json(
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
        click.echo(tabulate([(f"  {key}", value) for key, value in _finite(values).items()], tablefmt="plain", disable_numparse=True))
    if evaluations:
        click.secho("evaluations", bold=True)
        rows = [{"  rule": f"  {rule}", "missing": facts["missing"], **facts["metrics"]} for rule, facts in evaluations.items()]
        click.echo(tabulate(rows, headers="keys", tablefmt="plain", floatfmt=".4f"))
    where = f"--out {shlex.quote(out)}" if published is None else f"--from {shlex.quote(str(published))}"
    click.secho("repeat it and compare the bits", bold=True)
    click.echo(f"  bench reproduce {record.trial.id} {where}")
    click.secho("repeat it", bold=True)
    click.echo(f"  {record.trial.command()} --out {shlex.quote(out + '-repeat')}")


@main.command()
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

    _one_source(published)
    stopped = threading.Event()
    with opened(out, published) as source, _steps(quiet) as step, interruptible(stopped):
        try:
            found = again(source, trial, lambda epoch, epochs, _: step(epoch, epochs, "epoch"), stopped)
        except Stopped:
            click.echo("interrupted", err=True)
            sys.exit(130)
    if as_json:
        _print_json(found.as_json())
    else:
        click.echo(str(found))
    if not found.same:
        sys.exit(1)


@main.command()
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...")
@click.option("--dataset", default="digits", show_default=True, metavar="NAME", help="Dataset, or NAME[option=value].")
@click.option("--combination", default="all", show_default=True, metavar="LETTERS", help="Modalities in use.")
@click.option("--protocol", metavar="TEXT", help="Who hides what.  [default: natural, or mcar with --noise]")
@click.option("--noise", type=float, metavar="RATE", help="Missing rate of a protocol written without one.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Draws masks and parameters.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a Config field of every method that has it. Repeatable.")
@click.option("--depth", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Levels of nested components.")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="CPU threads.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw GFLOPs by observed modalities too.")
@json_option
@quiet_option
@explained
def profile(
    methods: tuple[str, ...], sets: tuple[str, ...], depth: int, device: str, threads: int, plot: Path | None, as_json: bool, quiet: bool,
    **where: Any,
) -> None:  # fmt: skip
    """Measure what methods cost: operations, parameters, latency and memory, by component and by what a sample observes.

    METHOD is what --methods of `bench run` takes: names, all, paper, reference, NAME@PRESET, NAME[option=value], FILE.py:Class.
    Nothing is trained; settings are the published ones. Every combination of observed modalities is measured where there are at
    most five of them, else those that occur, single ones and all together.

    \b
    JSON: {"profiles": [{"method", "preset", "dataset", "combination", "protocol", "seed", "device",
      "threads", "reason", "cost": {...}, "components": [{"component", "gflops_per_sample", "parameters",
      "active_parameters"}], "observed": [{"combination", "gflops_per_sample", "ms_per_sample",
      "peak_memory_mb", "components": {...}}], "not_counted": [...]}]}

    Exit code 0: all measured, 1: some method failed, 2: wrong usage.
    """
    from bench.profiling import draw, page, profiles, trials_of
    from bench.spec import parse_options, split_list

    names = [name for text in methods for name in split_list(text)]
    trials = trials_of(names, **where, training=parse_options(sets), device=device, threads=threads)
    if plot is not None:
        draw([], plot)  # what would stop the plot is said before the measuring
    begin = None if quiet else lambda trial: click.echo(f"measuring {trial.label}", err=True)
    found = list(profiles(trials, device, threads, depth, begin))
    if as_json:
        _print_json({"profiles": [entry.row() for entry in found]})
    else:
        click.echo(page(found))
    if plot is not None:
        draw(found, plot)
    failed = [entry for entry in found if entry.reason is not None]
    for entry in failed:
        click.echo(f"failed: {entry.trial.label}: {entry.reason}", err=True)
    if failed:
        sys.exit(1)


@main.group()
def analyze() -> None:
    """What methods did inside: tables and figures of routing, gradients, embeddings, supports and cost.

    \b
    bench analyze routing --methods moe-retriever,fusemoe      which expert takes whose tokens
    bench analyze gradients --seeds 0-2                        do modalities pull the same way?
    bench analyze embeddings                                   do classes separate better once gaps are filled?
    bench analyze supports                                     who supports whom
    bench analyze cost                                         time, operations, parameters by combination

    Without --suite it is about digits at missing rate 0.3, seed 0, under the budget of `quick`. Trials that are not stored, or stored
    without records, are trained; the next analysis of them reads what is there.
    """


def _analysis_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options every analysis has: those of `run` that say which trials, and where its files go."""
    options: list[Callable[..., Any]] = [
        click.option("--methods", metavar="LIST", help="As in `bench run`.  [default: all listed ones that record it]"),
        click.option("--suite", metavar="NAME|FILE", help="Analyse this suite's settings."),
        click.option("--datasets", metavar="LIST", help="Names, or NAME[option=value]."),
        click.option("--combinations", metavar="LIST", help="Modalities in use, as letters; all for every one."),
        click.option("--protocols", metavar="LIST", help="As in `bench run`."),
        click.option("--noise", metavar="LIST", help="Missing rates in [0, 1) for protocols written without one."),
        click.option("--seeds", metavar="LIST", help="Seeds and ranges, such as 0-4,7."),
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a Config field of every method that has it."),
        click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N."),
        click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Trials at once.  [default: CPU cores / threads]"),
        click.option("--wait", is_flag=True, help="Wait while a run writes to the same folder."),
        click.option("--figures", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where.  [default: OUT/analysis]"),
        click.option("--format", "formats", default="png", show_default=True, metavar="LIST", help="png, svg, pdf."),
        data_root_option, out_option, json_option, quiet_option, explained,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@analyze.command("routing")
@_analysis_options
def analyze_routing(**options: Any) -> None:
    """Which experts the tokens of each observed combination go to, and whose tokens each expert gets (Fig. 3 of MoE-Retriever)."""
    _analyze("routing", **options)


@analyze.command("gradients")
@_analysis_options
def analyze_gradients(**options: Any) -> None:
    """Cosine between the gradients of each two modalities, epoch by epoch (Fig. 5 of MoE-Retriever)."""
    _analyze("gradients", **options)


@analyze.command("embeddings")
@_analysis_options
def analyze_embeddings(**options: Any) -> None:
    """Embeddings before and after completion: class separation with intervals, and a t-SNE (Fig. 6 of MoE-Retriever)."""
    _analyze("embeddings", **options)


@analyze.command("supports")
@_analysis_options
def analyze_supports(**options: Any) -> None:
    """Which training rows stand in for whom: by class, against chance, and by what they observe."""
    _analyze("supports", **options)


@analyze.command("cost")
@_analysis_options
def analyze_cost(**options: Any) -> None:
    """Time, operations and parameters by combination of modalities (Fig. 4 of MoE-Retriever). Trains nothing."""
    _analyze("cost", **options)


def _analyze(
    what: str, suite: str | None, sets: tuple[str, ...], jobs: int | None, wait: bool, figures: Path | None, formats: str, out: str,
    as_json: bool, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    from tabulate import tabulate

    from bench.analysis import analyse, write
    from bench.figures import check_formats
    from bench.spec import split_list

    chosen_formats = check_formats(split_list(formats))
    progress = _progress("accuracy", quiet, False)
    found = analyse(what, suite, {**options, "training": [*sets] or None}, out, jobs or _cores(1), wait, progress, _command())
    if found.interrupted:
        click.echo("interrupted: finished trials are stored; the same command continues", err=True)
        sys.exit(130)
    files = write(found, figures or Path(out) / "analysis", chosen_formats, lambda line: click.echo(line, err=True))
    if as_json:
        rows = json.loads(found.summary.to_json(orient="records"))
        _print_json({"analysis": what, "files": [str(path) for path in files], "summary": rows, "absent": list(found.absent)})
    else:
        click.echo(tabulate(found.summary, headers="keys", tablefmt="simple", showindex=False, floatfmt=".3g"))
        click.echo("\n".join(f"wrote {path}" for path in files))
    for reason in found.absent:
        click.echo(f"left out: {reason}", err=True)
    if any(" failed: " in reason for reason in found.absent):
        sys.exit(1)


@main.group()
def data() -> None:
    """Datasets: which are here, where to get the others, preparing and checking files, a page about each."""


@data.command("status")
@data_root_option
@json_option
@explained
def data_status(as_json: bool) -> None:
    """List the datasets that come as files: what is here, what is missing, where to get it, and the owners' terms."""
    from bench.data import data_root, status

    found = status()
    if as_json:
        _print_json({"data_root": str(data_root()), "datasets": found})
        return
    click.echo(f"data root: {data_root()}  (--data-root or BENCH_DATA changes it)")
    for entry in found:
        tested = {True: ", as tested", False: ", not the files this suite was tested with", None: ""}[entry["tested"]]
        click.secho(f"\n{entry['name']}: {entry['state']}{tested}", bold=True)
        for copy in entry["prepared"]:
            options = ",".join(f"{key}={value}" for key, value in copy["options"].items())
            click.echo(f"  prepared  {copy['folder']}  {copy['rows']} samples  {options}")
        click.echo(f"  folder    {entry['folder']}")
        if entry["missing"]:
            click.echo(f"  missing   {', '.join(entry['missing'])}\n  get it    {entry['obtain']}")
        click.echo(f"  licence   {entry['licence']}\n  terms     {entry['terms']}")


@data.command("prepare")
@click.argument("name", metavar="NAME[option=value]")
@click.option(
    "--from", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder of the files.  [default: its own]"
)
@data_root_option
@json_option
@quiet_option
@explained
def data_prepare(name: str, folder: Path | None, as_json: bool, quiet: bool) -> None:
    """Read and check a dataset's files once and keep a copy that loads fast."""
    from bench.data import prepare

    with _steps(quiet) as report:
        made = prepare(name, folder, report)
    if as_json:
        _print_json(made)
    else:
        click.echo(f"wrote {made['folder']}: {made['rows']} samples, fingerprint {made['fingerprint']}")


@data.command("verify")
@click.argument("name", metavar="NAME[option=value]")
@click.option(
    "--from", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder of the files.  [default: its own]"
)
@data_root_option
@json_option
@quiet_option
@explained
def data_verify(name: str, folder: Path | None, as_json: bool, quiet: bool) -> None:
    """Recompute hashes and fingerprint of a dataset and compare. Exit code 1 if something differs."""
    from bench.data import verify

    with _steps(quiet) as report:
        found = verify(name, folder, report)
    _print_checks(found, as_json)


@data.command("card")
@click.argument("names", nargs=-1, metavar="[NAME[option=value]]...")
@click.option("--publish", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write DIR/NAME.md, of all that are here.")
@click.option("--check", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Render the pages of DIR again and compare.")
@data_root_option
@json_option
@explained
def data_card(names: tuple[str, ...], publish: Path | None, check: Path | None, as_json: bool) -> None:
    """Describe datasets: samples, classes, observed combinations, whether gaps look random, whether they alone predict the label."""
    from bench import data as pages
    from bench.errors import UsageError

    if check is not None:
        found = pages.stale_pages(check)
        if as_json:
            _print_json(found)
        else:
            click.echo("\n".join(f"{entry['state']:8}  {entry['page']}" for entry in found))
        sys.exit(any(entry["state"] == "stale" for entry in found))
    if publish is not None:
        files = pages.publish(publish, names or pages.publishable())
        if as_json:
            _print_json({"files": [str(path) for path in files]})
        else:
            click.echo("\n".join(f"wrote {path}" for path in files))
        return
    if not names:
        raise UsageError("name a dataset, such as `bench data card support2`; `bench list datasets` lists them")
    cards = [pages.card(name) for name in names]
    if as_json:
        _print_json(cards)
    else:
        click.echo("\n\n".join(pages.page(found) for found in cards), nl=False)


@main.group()
def new() -> None:
    """Write a working template."""


@new.command("method")
@click.argument("name")
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path(), help="Where to write.  [default: here]"
)
@json_option
@explained
def new_method(name: str, folder: Path, as_json: bool) -> None:
    """Write a working method and its test, and say how to list it."""
    from bench.templates import write_method

    files, title = write_method(name, folder)
    module = name.replace("-", "_")
    line = f'    "{name}": "bench.methods.{module}:{title}",'
    if as_json:
        _print_json(
            {"files": [str(path) for path in files], "catalog_line": line.strip(), "try": f"bench run --methods {files[0]}:{title}"}
        )
        return
    click.echo("\n".join(f"wrote {path}" for path in files))
    click.echo(f"try it:   bench run --methods {files[0]}:{title}\ntest it:  pytest {files[1]}")
    click.echo(f"list it in methods/catalog.py (or as an entry point of group bench.methods):\n{line}")


@main.command()
@out_option
@json_option
@explained
def doctor(out: str, as_json: bool) -> None:
    """Check that this machine can run the suite."""
    from bench.doctor import checks

    _print_checks(checks(Path(out)), as_json)


def _print_checks(found: list[dict[str, Any]], as_json: bool) -> None:
    """Exit code 1 if one did not pass."""
    if as_json:
        _print_json(found)
    else:
        for check in found:
            click.echo(f"{'ok  ' if check['passed'] else 'FAIL'}  {check['check']}: {check['detail']}")
    if not all(check["passed"] for check in found):
        sys.exit(1)


@contextmanager
def _steps(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr for work in steps, where someone watches."""
    from tqdm import tqdm

    with tqdm(disable=quiet or not sys.stderr.isatty(), leave=False) as bar:

        def report(done: int, total: int, what: str) -> None:
            bar.total = total or None
            bar.set_description_str(what, refresh=False)
            bar.n = done
            bar.refresh()

        yield report


def _progress(metric: str, quiet: bool, verbose: bool):
    from bench.progress import Bars, Lines, Progress

    if quiet:
        return Progress()
    return (Bars if sys.stderr.isatty() else Lines)(metric, verbose)


def _cores(threads: int) -> int:
    from joblib import cpu_count

    return max(1, cpu_count() // threads)


def _command() -> str:
    """This command, as anyone can type it again: without the folders of this machine and the number of jobs."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word in ("--out", "-j", "--jobs", "--data-root"):
            next(words, None)
        elif not word.startswith(("--out=", "--jobs=", "-j", "--data-root=")):
            kept.append(word)
    return shlex.join(["bench", *kept])


def _dry_run(suite: Any, out: str, jobs: int, as_json: bool, quiet: bool) -> None:
    from dataclasses import asdict

    from tabulate import tabulate

    from bench.engine import plan
    from bench.estimate import estimate
    from bench.resolving import further_trials, planned_looks
    from bench.store import Store

    trials = plan(suite)
    further = further_trials(suite) if suite.until_resolved else []
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
        _print_json({"trials": rows, "estimate": found.as_json(), **more})
        return
    click.echo(tabulate(rows, headers="keys", tablefmt="simple"))
    click.echo(f"{len(rows)} trials, {len(waiting)} to run\n{found.text()}")
    if further:
        pairs = "; ".join(" against ".join(pair) for pair in suite.pairs)
        click.echo(f"\nthen, where {pairs} is undecided, up to {len(further)} more. Planned looks at 5 % in all:")
        click.echo(tabulate(looks, headers={"seeds": "seeds", "spent": "alpha spent", "level": "significant at p <="}, floatfmt=".2g"))


def _one_source(published: Path | None) -> None:
    """Raises: UsageError if both --from and --out are typed."""
    from bench.errors import UsageError

    if published is not None and click.get_current_context().get_parameter_source("out") == click.core.ParameterSource.COMMANDLINE:
        raise UsageError("--out and --from name two places; give one of them")


def _page(out: str, suite: str | None, metric: str | None) -> str:
    from bench.api import board
    from bench.leaderboard import markdown

    return markdown(board(out, suite, metric))


def _audit_page(findings: list) -> str:
    """One line a method, one column a check, then everything that is not simply passed."""
    from tabulate import tabulate

    checks = list(dict.fromkeys(finding.check for finding in findings))
    rows: dict[str, dict[str, str]] = {}
    for finding in findings:
        word = "FAILED" if not finding.passed else "declared" if finding.declared else "ok"
        rows.setdefault(finding.label, {})[finding.check] = word
    lines = [tabulate([[label, *(row.get(check, "") for check in checks)] for label, row in rows.items()], ["method", *checks])]
    for title, chosen in (("declared", [f for f in findings if f.declared]), ("FAILED", [f for f in findings if not f.passed])):
        reasons: dict[tuple[str, str], list[str]] = {}  # a method that does not run has one reason for all its checks
        for finding in chosen:
            reasons.setdefault((finding.label, finding.detail), []).append(finding.check)
        lines += ["", *(f"{title}  {label}, {', '.join(found)}: {detail}" for (label, detail), found in reasons.items())] if chosen else []
    return "\n".join(lines)


def _publish(out: str, suite: str | None, metric: str | None, folder: Path, paper: bool) -> None:
    from dataclasses import replace

    from bench.leaderboard import publish
    from bench.store import Store

    with Store(out, create=False) as store:
        found, records, commands = store.board(suite)
        predictions = store.predictions(record.trial.id for record in records)
        audits = store.audits()
    files = publish(folder, replace(found, metric=metric) if metric else found, records, predictions, commands, audits, paper)
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
        _print_json(found)
    else:
        click.echo("\n".join(f"wrote  {entry['folder']}  {' '.join(entry['files'])}" for entry in found))


def _check(folders: tuple[Path, ...], as_json: bool) -> None:
    from bench.leaderboard import stale_files

    found = [{"folder": str(folder), "stale": [path.name for path in stale_files(folder)]} for folder in _published(folders)]
    if as_json:
        _print_json(found)
    else:
        for entry in found:
            click.echo(f"{'stale' if entry['stale'] else 'ok   '}  {entry['folder']}  {' '.join(entry['stale'])}")
    if any(entry["stale"] for entry in found):
        sys.exit(1)


def _list_methods() -> list[dict[str, Any]]:
    from bench import registry

    rows = []
    for name in registry.method_names():
        cls = registry.method_class(name)
        rows.append(
            {"name": name, "role": registry.role(name), "presets": ", ".join(cls.presets), "idea": _idea(cls), "paper": cls.paper or "-",
             "year": cls.year}
        )  # fmt: skip
    return rows


def _list_datasets() -> list[dict[str, Any]]:
    from bench import registry
    from bench.data import outline

    return [outline(name) for name in registry.dataset_names()]


def _list_suites() -> list[dict[str, Any]]:
    from bench.spec import known_suites, read_suite

    return [{"name": name, "title": read_suite(name).title} for name in known_suites()]


def _idea(cls: type) -> str:
    """The first line of a method's page, after its name."""
    page = sys.modules[cls.__module__].__doc__ or cls.__doc__ or ""
    first = page.strip().splitlines()[0] if page.strip() else ""
    return first.partition(": ")[2] or first


def _print_json(value: Any) -> None:
    from bench.leaderboard import _finite

    click.echo(json.dumps(_finite(value), indent=2))

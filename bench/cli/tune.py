"""`bench tune`: every method with the same budget, and the command that trains the winners."""

from __future__ import annotations

import shlex
import sys
from functools import partial
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
    quiet_option,
    typed_command,
    verbose_option,
)


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
    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.grid.progress import Progress, SuggestionBars, SuggestionLines
    from bench.names import parse_seeds
    from bench.question.suite import read_suite, with_options
    from bench.studies.curves_plot import check_plot
    from bench.studies.curves_plot import plot as draw
    from bench.studies.results import table
    from bench.studies.study import Budget
    from bench.studies.tuning import tune as run_tuning

    if plot is not None:
        check_plot(plot)
    changes = [*sets, *([f"epochs={epochs}"] if epochs is not None else [])]
    chosen = with_options(read_suite(suite), {**options, "training": changes or None})
    kind = SuggestionBars if sys.stderr.isatty() else SuggestionLines
    shown = Progress if quiet else partial(kind, chosen.selection, verbose)
    how = How(place=Local(jobs or cores(chosen.threads)), progress=shown, command=typed_command())
    budget = Budget(suggestions, budget_gflops, budget_minutes)
    found = run_tuning(chosen, out, budget, sampler, pruner, parse_seeds(seeds), study, how)
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

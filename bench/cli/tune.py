"""`bench tune`: every method with the same budget, and the command that trains the winners."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from bench.cli.complete import fixed, names
from bench.cli.options import (
    UserPath,
    asked,
    explained,
    how,
    machine_options,
    output_options,
    place_options,
    print_json,
    question_options,
    say,
    verbose_option,
    where_options,
)
from bench.cli.screen import width
from bench.cli.sections import Sectioned


@click.command(cls=Sectioned)
@question_options("quick")
@click.option("--suggestions", default=20, show_default=True, metavar="N", help="Configurations to try, of each method in each setting.")
@click.option("--budget-gflops", type=float, metavar="N", help="End there too: counted training GFLOPs of each method in each setting.")
@click.option("--budget-minutes", type=float, metavar="N", help="End there too: minutes of training of each method in each setting.")
@click.option(
    "--sampler", default="random", show_default=True, metavar="random|tpe", shell_complete=names(fixed("random", "tpe")),
    help="Who suggests.",
)  # fmt: skip
@click.option(
    "--pruner", default="median", show_default=True, metavar="median|none", shell_complete=names(fixed("median", "none")),
    help="What ends a suggestion that lags behind.",
)  # fmt: skip
@click.option("--seed", "seeds", default="0", show_default=True, metavar="LIST", help="Seed of the tuning; several repeat it whole.")
@click.option("--fix", metavar="LIST", help="Fields of search spaces that are not tuned, such as sizes: width,batch_size.")
@click.option("--study", metavar="NAME", help="Name of its folder in OUT/tuning.  [default: from the question]")
@click.option("--plot", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE", help="Draw curves and importances.")
@machine_options
@where_options
@place_options
@output_options
@verbose_option
@explained
def tune(
    suite: str, suggestions: int, *, budget_gflops: float | None, budget_minutes: float | None, sampler: str, pruner: str, seeds: str,
    fix: str | None, study: str | None, plot: Path | None, jobs: int | None, per_gpu: int, place: str, is_mixed: bool, out: str,
    as_json: bool, quiet: bool, verbose: bool, **options: Any,
) -> None:  # fmt: skip
    """Tune every method with the same budget, on validation alone: the test part is never looked up.

    Each method's class states what may be tried (`search`). The same command after a crash or Ctrl-C goes on. The winners are
    written to OUT/tuning/STUDY/tuned.toml; train them on fresh seeds, beside the default rows, with `bench run --configs`.

    \b
    bench tune --methods paper --datasets digits --noise 0.3 --suggestions 20
    bench tune --methods muse,shaspec --datasets digits --noise 0.3 --sampler tpe --seed 0-2 --plot curves.svg
    bench tune --methods paper --datasets digits --noise 0.3 --suggestions 500 --budget-gflops 2000
    bench tune --methods paper --datasets digits --noise 0.3 --fix width,batch_size
    bench run --methods paper --datasets digits --noise 0.3 --configs default,tuned
    """
    from bench.data.loading import loaded_once
    from bench.drawing import check_plot
    from bench.grid.places import place_of
    from bench.grid.progress import Progress, SuggestionBars, SuggestionLines
    from bench.names import words_of
    from bench.question.assemble import assemble, seeds_of
    from bench.studies.curves_plot import plot as draw
    from bench.studies.results import table
    from bench.studies.study import Budget
    from bench.studies.tuning import tune as run_tuning

    if plot is not None:
        check_plot(plot)
    with loaded_once():
        chosen = assemble(suite, asked(options), splits=False)
        kind = SuggestionBars if sys.stderr.isatty() else SuggestionLines
        shown = Progress if quiet else partial(kind, chosen.selection, verbose)
        budget = Budget(suggestions, budget_gflops, budget_minutes)
        with place_of(place, jobs, chosen.machine, per_gpu, chosen.limits.memory, is_mixed) as where:
            done = how(where, progress=shown, say=say(quiet))
            found = run_tuning(chosen, out, budget, sampler, pruner, seeds_of(seeds), study, done, fixed=words_of(fix))
    if plot is not None:
        draw(found.results, plot)
    if as_json:
        files = {"file": str(found.file) if found.file.exists() else None, "plot": str(plot) if plot else None}
        print_json({"study": found.name, **files, "left_out": found.left_out, "seconds": found.seconds,
                     "methods": [result.as_json() for result in found.results]})  # fmt: skip
    else:
        click.echo(table(found.results, width()))
    if found.left_out:
        click.echo(f"not tuned, for they have nothing to tune: {', '.join(found.left_out)}", err=True)
    for reason in found.without_winner:
        click.echo(f"no winner: {reason}", err=True)
    if found.interrupted:
        click.echo("interrupted: what has ended is stored; the same command continues", err=True)
        sys.exit(130)
    given = {**options, "out": None if out == "runs" else out, "suite": None if suite == "quick" else suite}
    click.echo(f"winners: {found.file}\ntrain them on fresh seeds:  {_run_of_winners(given, found.file)}", err=True)
    if found.without_winner:
        sys.exit(1)


def _run_of_winners(given: dict[str, Any], file: Path) -> str:
    """The command that trains the winners beside the default configurations, under the conditions they were found in."""
    from bench.names import list_item

    words, settings = ["bench", "run"], ("methods", "datasets", "combinations", "protocols", "noise")
    for key in ("suite", *settings, "selection", "epochs", "training", "device", "threads", "out"):
        values = given[key] if isinstance(given[key], list) else [given[key]]
        option = "--set" if key == "training" else f"--{key}"
        words += [word for value in values if value is not None for word in (option, str(value))]
    return shlex.join([*words, "--configs", f"default,{list_item(str(file))}"])

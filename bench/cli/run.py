"""`bench run`: the trials of a suite, or what they would be and how long they would take."""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from bench.cli.complete import fixed, lists, methods, metrics, names, or_file
from bench.cli.failures import failed_lines
from bench.cli.options import (
    asked,
    check_line,
    explain_option,
    explained,
    how,
    machine_options,
    output_options,
    place_options,
    print_json,
    progress,
    question_options,
    repeatable,
    rope_option,
    say,
    seeds_option,
    verbose_option,
    wait_option,
    where_options,
)
from bench.cli.screen import say_aside, say_page, width
from bench.cli.sections import Sectioned
from bench.text import count

if TYPE_CHECKING:
    from bench.grid.how import How
    from bench.names import Setting


@click.command(cls=Sectioned)
@question_options("quick")
@seeds_option
@click.option("--test-noise", metavar="LIST", help="Test each trained model at these missing rates as well.")
@click.option("--test-combinations", metavar="LIST", help="Test each trained model with these modalities alone as well; all: every subset.")
@click.option(
    "--until-resolved", metavar="A,B", shell_complete=lists(methods), multiple=True, callback=repeatable,
    help="Add seeds of methods A and B in each setting where `bench compare A B` is undecided. Repeatable.",
)  # fmt: skip
@click.option("--max-seeds", type=int, metavar="N", help="Seeds of such a pair at the most.  [default: 30]")
@rope_option
@click.option("--metric", metavar="NAME", shell_complete=names(metrics), help="Primary metric of the leaderboard.")
@click.option(
    "--vary",
    metavar="WHAT",
    shell_complete=names(fixed("training", "split")),
    help="training, or split: the seed then draws split and test masks too.",
)
@click.option("--fixed-seed", type=int, metavar="N", help="Root of split and masks that do not vary with the seed.")
@click.option(
    "--configs", metavar="LIST", shell_complete=or_file(lists(fixed("default", "tuned"))),
    help="default, tuned (by `bench tune`, in OUT), FILE.toml of tuned ones, or several of these.",
)  # fmt: skip
@click.option(
    "--tuned-for", metavar="WHAT", shell_complete=names(fixed("setting", "dataset")),
    help="Train tuned ones in the setting they were found in, or under every protocol of their dataset.  [default: setting]",
)  # fmt: skip
@machine_options
@where_options
@click.option("--dry-run", is_flag=True, help="List the trials, estimate their time, and stop.")
@click.option("--retry-failed", is_flag=True, help="Run failed trials again.")
@wait_option
@click.option(
    "--shard", metavar="K/N", help="Run part K of N alone, cut by the trials' ids; `bench merge` joins the results folders of the parts."
)
@click.option("--trace", "is_traced", is_flag=True, help="Also write what methods did (routing, supports, ...) to OUT/traces.")
@click.option("--keep-weights", "keeps_weights", is_flag=True, help="Keep each trial's chosen checkpoint in OUT/weights (safetensors).")
@place_options
@output_options
@verbose_option
@explain_option
@explained
def run(
    suite: str, configs: str | None, tuned_for: str | None, *, jobs: int | None, per_gpu: int, place: str, is_mixed: bool, dry_run: bool,
    retry_failed: bool, wait: bool, shard: str | None, is_traced: bool, keeps_weights: bool, out: str, as_json: bool, quiet: bool,
    verbose: bool, is_explained: bool, **options: Any,
) -> None:  # fmt: skip
    """Run every trial of a suite that has no record yet, then print the leaderboard.

    A second run does nothing, a run after a crash or Ctrl-C continues. Exit code 0: all done, 1: some trial failed
    or was lost to the machine, 2: wrong usage, or the device is not here, 130: interrupted. What the machine failed (no GPU, a full disk, a
    process killed from outside) is no result: the same command runs it again.

    With --until-resolved the numbers of seeds at which a pair is looked at are planned ahead, and alpha is spent over them: looking again
    and again errs no more often than one test would. `bench compare A B` then allows for every look; --dry-run shows the plan.
    """
    from bench.data.loading import loaded_once
    from bench.grid.places import place_of
    from bench.question.assemble import assemble
    from bench.question.shards import shard_of

    part = shard_of(shard)
    with loaded_once(), ExitStack() as held:
        chosen = assemble(suite, asked(options), configs, out, tuned_for=tuned_for)
        where = held.enter_context(place_of(place, jobs, chosen.machine, per_gpu, chosen.limits.memory, is_mixed))
        done = how(
            where, wait=wait, retry_failed=retry_failed, shard=part, is_traced=is_traced, keeps_weights=keeps_weights,
            progress=partial(progress, chosen.metric_on, quiet, verbose), say=say(quiet),
        )  # fmt: skip
        if dry_run:
            _foretell(chosen, out, done, as_json, quiet)
            return
        from bench.studies.looks import resolve

        summary = resolve(chosen, out, done)
    failed = summary.failed
    for line in failed_lines(failed, out):
        say_aside(line)
    if failed:
        say_aside(f"{len(failed)} of {summary.planned} trials failed; logs are in {out}/logs, --retry-failed runs them again")
    if as_json:
        print_json({"trials": [record.row() for record in summary.records]})
    elif summary.ended:
        _show_board(out, summary.settings, is_explained)
    if summary.interrupted:
        click.echo(
            f"interrupted: {summary.ran + summary.reused} of {count(summary.planned, 'trial')} are stored; the same command continues",
            err=True,
        )
        sys.exit(130)
    if failed or summary.lost:
        sys.exit(1)


def _show_board(out: str, asked_settings: Collection[Setting], is_explained: bool) -> None:
    from bench.api.reading import boards
    from bench.cli.board_view import view_of_run
    from bench.leaderboard import markdown

    columns = width()
    for found in boards(out):
        click.echo(markdown(found) if columns is None else view_of_run(found, columns, asked_settings, is_explained))


def _foretell(suite: Any, out: str, how: How, as_json: bool, quiet: bool) -> None:
    """Print what a run would do, and where. Raises: UsageError if the data are not here, once what is known is printed."""
    from bench.data.loading import loaded_once
    from bench.errors import UsageError
    from bench.inspection.doctor import workers_for
    from bench.question.plan import notices
    from bench.studies.forecast import Outline, forecast

    tell = say(quiet)
    with loaded_once():
        workers = workers_for(how.place, suite, out)
        slots, told = how.place.slots, lambda trial: tell(f"timing {trial.label} on {trial.dataset_label} {trial.combination}")
        found = forecast(suite, out, slots, told, how.shard)
        for line in [] if isinstance(found, Outline) else notices(suite):
            tell(line)
    if as_json:
        print_json({**found.as_json(), **({"workers": workers} if workers else {})})
    else:
        say_page("\n".join([found.text(width()), *(check_line(check) for check in workers)]))
    if isinstance(found, Outline):
        raise UsageError(found.reason)

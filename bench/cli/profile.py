"""`bench profile`: what methods cost."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.complete import datasets, names, protocols
from bench.cli.complete import methods as all_methods
from bench.cli.options import (
    UserPath,
    device_option,
    explain_option,
    explained,
    output_options,
    print_json,
    say,
    threads_option,
    training_option,
)
from bench.cli.screen import say_aside, say_page, width
from bench.cli.sections import Sectioned
from bench.grid.lost import grouped


@click.command(cls=Sectioned)
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...", shell_complete=names(all_methods))
@click.option(
    "--dataset", default="digits", show_default=True, metavar="NAME", shell_complete=names(datasets), help="Dataset, or NAME[option=value]."
)
@click.option("--combination", default="all", show_default=True, metavar="LETTERS", help="Modalities in use.")
@click.option(
    "--protocol", metavar="TEXT", shell_complete=names(protocols), help="Who hides what.  [default: natural, or mcar with --noise]"
)
@click.option("--noise", type=float, metavar="RATE", help="Missing rate of a protocol written without one.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Draws masks and parameters.")
@training_option
@click.option("--depth", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Levels of nested components.")
@device_option
@threads_option
@click.option("--plot", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE", help="Draw GFLOPs by observed modalities too.")
@explain_option
@output_options
@explained
def profile(
    methods: tuple[str, ...], *, depth: int, device: str | None, threads: int | None, plot: Path | None, is_explained: bool, as_json: bool,
    quiet: bool, **where: Any,
) -> None:  # fmt: skip
    """Measure what methods cost: operations, parameters, latency and memory, by component and by what a sample observes.

    METHOD is what --methods of `bench run` takes: names, all, paper, reference, NAME@PRESET, NAME[option=value], FILE.py:Class.
    Nothing is trained; settings are the published ones. Every combination of observed modalities is measured where there are at
    most five of them, else those that occur, single ones and all together.

    What a training step asks of a GPU before any arithmetic is counted on any machine, a CPU too: launches are the operations that
    start a kernel, with attention, recurrent layers, dropout and clipping as the kernels that a GPU has for them (it starts as many
    or more: some operations take several); synchronisations are the times that the host waits for a number or a shape. On a CPU,
    copies to the device are seen only where a call names them.

    \b
    JSON: {"profiles": [{"method", "preset", "dataset", "combination", "protocol", "seed", "device",
      "threads", "reason", "cost": {...}, "components": [{"component", "gflops_per_sample", "parameters",
      "active_parameters"}], "observed": [{"combination", "gflops_per_sample", "ms_per_sample",
      "peak_memory_mb", "components": {...}}], "not_counted": [...], "waits": {"file:function: call": times}}]}

    Exit code 0: all measured, 1: some method failed, 2: wrong usage.
    """
    from bench.data.loading import loaded_once
    from bench.drawing import check_plot
    from bench.inspection.profile import profiles, trials_of
    from bench.inspection.profile_page import draw, page

    if plot is not None:
        check_plot(plot)
    tell = say(quiet)
    with loaded_once():
        trials = trials_of(methods, **where, device=device, threads=threads)
        found = list(profiles(trials, device or "auto", threads or 1, depth, lambda trial: tell(f"measuring {trial.label}")))
    if as_json:
        print_json({"profiles": [entry.row() for entry in found]})
    else:
        columns = width()
        say_page(page(found, columns, is_explained or columns is None))
    if plot is not None:
        draw(found, plot)
    failed = [entry for entry in found if entry.reason is not None]
    for group in grouped((entry.trial.label, str(entry.reason)) for entry in failed):
        say_aside(f"failed: {', '.join(group.names)}: {group.reason}")
    if failed:
        sys.exit(1)

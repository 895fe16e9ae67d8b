"""`bench analyze`: what methods did inside."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
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
    explained,
    json_option,
    noise_option,
    out_option,
    print_json,
    progress,
    quiet_option,
    seeds_option,
    typed_command,
)


@click.group()
def analyze() -> None:
    """What methods did inside: tables and figures of routing, gradients, embeddings, supports and cost.

    \b
    bench analyze routing --methods moe-retriever,fusemoe      which expert takes whose tokens
    bench analyze gradients --seeds 0-2                        do modalities pull the same way?
    bench analyze embeddings                                   do classes separate better once gaps are filled?
    bench analyze supports                                     who supports whom
    bench analyze cost                                         time, operations, parameters by combination

    Without --suite it is about digits at missing rate 0.3, seed 0, under the budget of `quick`. Trials that are not stored, or stored
    without traces, are trained; the next analysis of them reads what is there.
    """


def _analysis_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options every analysis has: those of `run` that say which trials, and where its files go."""
    options: list[Callable[..., Any]] = [
        click.option("--methods", metavar="LIST", help="As in `bench run`.  [default: all listed ones that trace it]"),
        click.option("--suite", metavar="NAME|FILE", help="Analyse this suite's settings."),
        datasets_option,
        combinations_option,
        click.option("--protocols", metavar="LIST", help="As in `bench run`."),
        noise_option,
        seeds_option,
        click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a Config field of every method that has it."),
        device_option,
        click.option("-j", "--jobs", type=click.IntRange(1), metavar="N", help="Trials at once.  [default: CPU cores / threads]"),
        click.option("--wait", is_flag=True, help="Wait while a run writes to the same folder."),
        click.option("--figures", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where.  [default: OUT/analysis]"),
        click.option("--format", "formats", default="png", show_default=True, metavar="LIST", help="png, svg, pdf."),
        data_root_option, out_option, json_option, quiet_option, explained,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _analyze(
    what: str, suite: str | None, sets: tuple[str, ...], jobs: int | None, wait: bool, figures: Path | None, formats: str, out: str,
    as_json: bool, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    from tabulate import tabulate

    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.inspection.analysis import analyse, write
    from bench.inspection.figures import check_formats
    from bench.names import split_list

    chosen_formats = check_formats(split_list(formats))
    shown = partial(progress, "accuracy", quiet, False)
    how = How(place=Local(jobs or cores(1)), wait=wait, progress=shown, command=typed_command())
    found = analyse(what, suite, {**options, "training": [*sets] or None}, out, how)
    if found.interrupted:
        click.echo("interrupted: finished trials are stored; the same command continues", err=True)
        sys.exit(130)
    files = write(found, figures or Path(out) / "analysis", chosen_formats, lambda line: click.echo(line, err=True))
    if as_json:
        rows = json.loads(found.summary.to_json(orient="records"))
        print_json({"analysis": what, "files": [str(path) for path in files], "summary": rows, "absent": list(found.absent)})
    else:
        click.echo(tabulate(found.summary, headers="keys", tablefmt="simple", showindex=False, floatfmt=".3g"))
        click.echo("\n".join(f"wrote {path}" for path in files))
    for reason in found.absent:
        click.echo(f"left out: {reason}", err=True)
    if any(" failed: " in reason for reason in found.absent):
        sys.exit(1)


ANALYSES = {
    "routing": "Which experts the tokens of each observed combination go to, and whose tokens each expert gets (Fig. 3 of MoE-Retriever).",
    "gradients": "Cosine between the gradients of each two modalities, epoch by epoch (Fig. 5 of MoE-Retriever).",
    "embeddings": "Embeddings before and after completion: class separation with intervals, and a t-SNE (Fig. 6 of MoE-Retriever).",
    "supports": "Which training rows stand in for whom: by class, against chance, and by what they observe.",
    "cost": "Time, operations and parameters by combination of modalities (Fig. 4 of MoE-Retriever). Trains nothing.",
}
for _name, _idea in ANALYSES.items():
    analyze.command(_name, help=_idea)(_analysis_options(partial(_analyze, _name)))

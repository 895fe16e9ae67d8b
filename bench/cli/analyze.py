"""`bench analyze`: what methods did inside."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import (
    UserPath,
    asked,
    bundle,
    explained,
    how,
    machine_options,
    output_options,
    place_options,
    print_json,
    progress,
    question_options,
    say,
    seeds_option,
    wait_option,
)
from bench.cli.screen import width
from bench.cli.sections import Sectioned

if TYPE_CHECKING:
    import pandas


@click.group()
def analyze() -> None:
    """What methods did inside: tables and figures of routing, gradients, embeddings, supports and cost.

    \b
    bench analyze routing --methods moe-retriever,fusemoe      which expert takes whose tokens
    bench analyze gradients --seeds 0-2                        do modalities pull the same way?
    bench analyze embeddings                                   do classes separate better once gaps are filled?
    bench analyze supports                                     who supports whom
    bench analyze cost                                         time, operations, parameters by combination

    Without --suite it is about digits at missing rate 0.3, seed 0, under the budget of `quick`, and without --methods about all listed
    ones that trace it. Trials that are not stored, or stored without traces, are trained; the next analysis of them reads what is there.
    """


# Those of `run` that say which trials, and where the files go
analysis_options = bundle(
    question_options(None, otherwise="digits at missing rate 0.3"),
    seeds_option,
    machine_options,
    wait_option,
    click.option("--figures", type=UserPath(file_okay=False, path_type=Path), metavar="DIR", help="Where.  [default: OUT/analysis]"),
    click.option("--format", "formats", default="png", show_default=True, metavar="LIST", help="png, svg, pdf."),
    place_options,
    output_options,
    explained,
)


def _analyze(
    what: str, suite: str | None, *, jobs: int | None, per_gpu: int, wait: bool, figures: Path | None, formats: str, out: str,
    as_json: bool, quiet: bool, **options: Any,
) -> None:  # fmt: skip
    from bench.grid.places import Local
    from bench.inspection.analysis import analyse, write
    from bench.inspection.figures import check_formats
    from bench.names import split_list
    from bench.question.machine import Machine

    chosen_formats = check_formats(split_list(formats))
    shown = partial(progress, "accuracy", quiet, False)
    place = Local.of(jobs, Machine(options["device"] or "auto", options["threads"] or 1), per_gpu)
    found = analyse(what, suite, asked(options), out, how(place, wait=wait, progress=shown, say=say(quiet)))
    if found.interrupted:
        click.echo("interrupted: finished trials are stored; the same command continues", err=True)
        sys.exit(130)
    files = write(found, figures or Path(out) / "analysis", chosen_formats, lambda line: click.echo(line, err=True))
    if as_json:
        rows = json.loads(found.summary.to_json(orient="records"))
        print_json({"analysis": what, "files": [str(path) for path in files], "summary": rows, "absent": list(found.absent)})
    else:
        click.echo(_table(found.summary, width()))
        click.echo("\n".join(f"wrote {path}" for path in files))
    for reason in found.absent:
        click.echo(f"left out: {reason}", err=True)
    if any(" failed: " in reason for reason in found.absent):
        sys.exit(1)


def _table(summary: pandas.DataFrame, columns: int | None) -> str:
    """The summary of an analysis, numbers with three digits."""
    from bench.text import terminal_table

    rows = [{key: f"{cell:.3g}" if isinstance(cell, float) else cell for key, cell in row.items()} for row in summary.to_dict("records")]
    words = [name for name in summary if summary[name].map(lambda cell: isinstance(cell, str)).all()]
    return terminal_table(rows, words, columns, kept=words)


ANALYSES = {
    "routing": "Which experts the tokens of each observed combination go to, and whose tokens each expert gets (Fig. 3 of MoE-Retriever).",
    "gradients": "Cosine between the gradients of each two modalities, epoch by epoch (Fig. 5 of MoE-Retriever).",
    "embeddings": "Embeddings before and after completion: class separation with intervals, and a t-SNE (Fig. 6 of MoE-Retriever).",
    "supports": "Which training rows stand in for whom: by class, against chance, and by what they observe.",
    "cost": "Time, operations and parameters by combination of modalities (Fig. 4 of MoE-Retriever). Trains nothing.",
}
for _name, _idea in ANALYSES.items():
    analyze.command(_name, cls=Sectioned, help=_idea)(analysis_options(partial(_analyze, _name)))

"""`bench bundle`: records of some methods as one file, for others to verify."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.complete import metrics, names
from bench.cli.options import UserPath, explained, json_option, of_suite_option, one_source, print_json, source_options


@click.command()
@click.argument("folder", required=False, type=UserPath(path_type=str))
@click.option("--methods", metavar="LIST", help="The methods that go in, as tables name them.  [default: all]")
@click.option(
    "--to", "to", type=UserPath(dir_okay=False, path_type=Path), metavar="FILE", help="The bundle to write.  [default: SUITE.bundle]"
)
@click.option(
    "--metric", metavar="NAME", shell_complete=names(metrics), help="Of results on several kinds of target: those that it scores."
)
@click.option("--no-code", is_flag=True, help="Leave out the source text of methods that are files.")
@source_options
@of_suite_option
@json_option
@explained
def bundle(
    folder: str | None,
    out: str,
    published: Path | None,
    suite: str | None,
    methods: str | None,
    metric: str | None,
    to: Path | None,
    no_code: bool,
    as_json: bool,
) -> None:
    """Make a bundle: question, records, predictions, audits, code and versions of some methods in one file.

    FOLDER is a results folder, as --out names it; --from takes a published one. What goes in is what `bench leaderboard --publish` would
    write. Of a method from a file, the file and what it imports beside it go in as text, so that somebody can train it again; nobody
    runs that without saying so.

    JSON: {"file", "sha256", "bytes", "methods": [...], "trials", "predictions", "code": [...]}
    """
    from bench.errors import UsageError
    from bench.leaderboard.bundling import bundle_of
    from bench.names import words_of
    from bench.text import count

    one_source(published)
    if folder is not None:
        if published is not None or click.get_current_context().get_parameter_source("out") == click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"{folder} is a second place beside --out or --from; give one of them")
        out = folder
    made = bundle_of(out, words_of(methods), to, published=published, suite=suite, metric=metric, with_code=not no_code)
    choices = list(dict.fromkeys(record.trial.choice for record in made.line))
    said = {
        "file": str(made.path), "sha256": made.sha256, "bytes": made.path.stat().st_size, "methods": choices, "trials": len(made.line),
        "predictions": len(made.stored), "code": sorted(made.texts),
    }  # fmt: skip
    if as_json:
        print_json(said)
        return
    with_text = f"; code as text: {', '.join(sorted({name.rpartition('/')[2] for name in made.texts}))}" if made.texts else ""
    rows = f"{count(len(made.line), 'record')}, predictions of {count(len(made.stored), 'trial')}"
    click.echo(f"wrote {made.path} ({said['bytes']} bytes): {', '.join(choices)}, {rows}{with_text}")
    click.echo(f"sha256 {made.sha256}", err=True)

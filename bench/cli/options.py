"""What the commands share: options, errors as one line, progress, JSON."""

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


def _set_data_root(_: click.Context, __: click.Parameter, folder: Path | None) -> None:
    """For this process and the trials it starts."""
    if folder is not None:
        os.environ["BENCH_DATA"] = str(folder.absolute())


LOCAL = ("--out", "--jobs", "--data-root", "--plot", "--figures")  # options that say something of this machine and nothing of the question
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
datasets_option = click.option("--datasets", metavar="LIST", help="Names, or NAME[option=value].")
combinations_option = click.option("--combinations", metavar="LIST", help="Modalities in use, as letters; all for every one.")
noise_option = click.option("--noise", metavar="LIST", help="Missing rates in [0, 1) for protocols written without one.")
seeds_option = click.option("--seeds", metavar="LIST", help="Seeds and ranges, such as 0-4,7.")
epochs_option = click.option("--epochs", type=int, metavar="N", help="Short for --set epochs=N.")
device_option = click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
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


def one_source(published: Path | None) -> None:
    """Raises: UsageError if both --from and --out are typed."""
    from bench.errors import UsageError

    if published is not None and click.get_current_context().get_parameter_source("out") == click.core.ParameterSource.COMMANDLINE:
        raise UsageError("--out and --from name two places; give one of them")


def typed_command() -> str:
    """This command, as anyone can type it again: without the folders of this machine and the number of jobs."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word in ("-j", *LOCAL):
            next(words, None)
        elif not word.startswith(("-j", *(f"{option}=" for option in LOCAL))):
            kept.append(word)
    return shlex.join(["bench", *kept])


def cores(threads: int) -> int:
    from joblib import cpu_count

    return max(1, cpu_count() // threads)


def progress(metric: str, quiet: bool, verbose: bool):
    from bench.grid.progress import Bars, Lines, Progress

    if quiet:
        return Progress()
    return (Bars if sys.stderr.isatty() else Lines)(metric, verbose)


@contextmanager
def steps(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr for work in steps, where someone watches."""
    from tqdm import tqdm

    with tqdm(disable=quiet or not sys.stderr.isatty(), leave=False) as bar:

        def report(done: int, total: int, what: str) -> None:
            bar.total = total or None
            bar.set_description_str(what, refresh=False)
            bar.n = done
            bar.refresh()

        yield report


def print_json(value: Any) -> None:
    from bench.text import finite

    click.echo(json.dumps(finite(value), indent=2))


def print_checks(found: list[dict[str, Any]], as_json: bool) -> None:
    """Exit code 1 if one did not pass."""
    if as_json:
        print_json(found)
    else:
        for check in found:
            click.echo(f"{'ok  ' if check['passed'] else 'FAIL'}  {check['check']}: {check['detail']}")
    if not all(check["passed"] for check in found):
        sys.exit(1)

"""What the commands share: options, each written once, errors as one line, progress, JSON."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli import complete
from bench.cli.screen import say_page
from bench.names import path_of

if TYPE_CHECKING:
    from bench.grid.how import How
    from bench.grid.places import Place


class UserPath(click.Path):
    """A path as people give it: `~` is a home folder, also where the shell leaves it as it is (`--out=~/runs`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(str(path_of(value)), param, ctx)


def _set_data_root(_: click.Context, __: click.Parameter, folder: Path | None) -> None:
    """For this process and the trials it starts."""
    if folder is not None:
        os.environ["BENCH_DATA"] = str(folder.absolute())


LOCAL = (
    "--out",
    "--jobs",
    "--per-gpu",
    "--shard",
    "--on",
    "--data-root",
    "--plot",
    "--figures",
)  # options that say something of this machine and nothing of the question
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
Command = Callable[..., Any]


def bundle(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Options that go together, as one decorator."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def repeatable(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> list[str] | None:
    """What a repeatable option was given, as a suite takes it: None if nothing."""
    return list(values) or None


def once(_: click.Context, option: click.Parameter, values: tuple[Any, ...]) -> Any:
    """The one value of an option that names a folder: of two, click would take the last and say nothing."""
    if len(values) > 1:
        raise click.BadParameter(f"given {len(values)} times, and one command has one: {', '.join(map(str, values))}", param=option)
    return values[0] if values else None


# The question: keys of a suite, under their names there
datasets_option = click.option(
    "--datasets", metavar="LIST", shell_complete=complete.lists(complete.datasets), help="Names, or NAME[option=value]."
)
combinations_option = click.option("--combinations", metavar="LIST", help="Modalities in use, as letters; all for every one.")
protocols_option = click.option(
    "--protocols", metavar="LIST", shell_complete=complete.lists(complete.protocols),
    help="natural, mcar(0.3), mcar(V=0.1,A=0.5), fixed(NE), keep(2), block(group,0.3), mar(A->B,2,0.3), mnar(B|value,2,0.3), "
    "mnar(B|label,2,0.3), sums with +, or train=...;valid=...;test=...",
)  # fmt: skip
seeds_option = click.option("--seeds", metavar="LIST", help="Seeds and ranges, such as 0-4,7.")
rope_option = click.option(
    "--rope", type=float, metavar="POINTS", help="Largest difference that does not matter.  [default: the suite's, 1]"
)
training_option = click.option(
    "--set", "training", multiple=True, metavar="KEY=VALUE", callback=repeatable,
    help="Change a Config field of every method that has it. Repeatable.",
)  # fmt: skip


def question_options(suite: str | None, otherwise: str = "") -> Callable[[Command], Command]:
    """The suite, by default this one or what `otherwise` says, and what takes the place of its keys."""
    return bundle(
        click.option(
            "--suite",
            default=suite,
            show_default=otherwise or True,
            metavar="NAME|FILE",
            shell_complete=complete.or_file(complete.names(complete.suites)),
            help="Suite to ask: a name, or a TOML file.",
        ),
        click.option(
            "--methods",
            metavar="LIST",
            shell_complete=complete.or_file(complete.lists(complete.methods)),
            help="Names, all, paper, reference, NAME@PRESET, NAME[option=value], FILE.py:Class.",
        ),
        datasets_option,
        combinations_option,
        protocols_option,
        click.option("--noise", metavar="LIST", help="Missing rates in [0, 1) for protocols written without one."),
        click.option(
            "--selection",
            metavar="NAME",
            shell_complete=complete.names(complete.metrics),
            help="Validation metric that picks the checkpoint.",
        ),
        click.option("--epochs", type=int, metavar="N", help="Short for --set epochs=N."),
        training_option,
    )


def asked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as keys of a suite: `--epochs` is one of what `--set` changes."""
    found = {key: value for key, value in options.items() if key != "epochs"}
    if options["epochs"] is not None:
        found["training"] = [*(options["training"] or ()), f"epochs={options['epochs']}"]
    return found


# The machine: what a trial may take of it, and how many run at once
device_option = click.option(
    "--device", metavar="NAME", shell_complete=complete.names(complete.fixed("auto", "cpu", "cuda")), help="auto, cpu, cuda or cuda:N."
)
threads_option = click.option("--threads", type=int, metavar="N", help="CPU threads of each trial.")
jobs_option = click.option(
    "-j", "--jobs", type=click.IntRange(1), metavar="N", help="How many at once.  [default: GPUs x --per-gpu, or CPU cores / threads]"
)
per_gpu_option = click.option(
    "--per-gpu", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Trials that share a GPU, each with 1/N of it."
)
on_option = click.option(
    "--on", "place", default="local", show_default=True, envvar="BENCH_ON", metavar="PLACE",
    shell_complete=complete.names(complete.fixed("local", "dask", "ray", "slurm")),
    help="Where it runs: local, dask[://HOST:PORT], ray[://HOST:PORT], slurm[://PARTITION?time=...&mem=...].  [env: BENCH_ON]",
)  # fmt: skip
mixed_option = click.option("--mixed", "is_mixed", is_flag=True, help="Take other versions of packages too; each record tells its own.")
where_options = bundle(on_option, mixed_option)
wait_option = click.option("--wait", is_flag=True, help="Wait while another run writes to the same folder.")
machine_options = bundle(
    device_option,
    threads_option,
    click.option("--minutes", type=float, metavar="N", help="Wall time a trial may take."),
    click.option("--memory-gb", type=float, metavar="N", help="Memory a trial may take."),
    jobs_option,
    per_gpu_option,
)

# The place: where data and results lie
data_root_option = click.option(
    "--data-root", type=UserPath(file_okay=False, path_type=Path), metavar="DIR", expose_value=False, callback=_set_data_root,
    help="Folder of the datasets that come as files.  [default: BENCH_DATA, or a folder of this user]",
)  # fmt: skip
out_option = click.option(
    "--out", type=UserPath(path_type=str), multiple=True, default=("runs",), show_default="runs", metavar="DIR", callback=once,
    help="Folder of the results database.",
)  # fmt: skip
place_options = bundle(data_root_option, out_option)
source_options = bundle(
    out_option,
    click.option(
        "--from", "published", type=UserPath(file_okay=False, path_type=Path), metavar="FOLDER", multiple=True, callback=once,
        help="Read a published leaderboard, such as leaderboards/quick, instead of --out.",
    ),
)  # fmt: skip

# What of the stored trials
of_suite_option = click.option(
    "--suite",
    metavar="NAME",
    shell_complete=complete.names(complete.suites),
    help="Runs of this suite alone, instead of all like the latest.",
)
settings_option = click.option(
    "--settings", metavar="LIST", help="Only some settings, by dataset, combination, protocol: 'digits mcar(0.3),gaussian'."
)

# The output
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout and nothing else.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Every epoch and every finished trial.")
explain_option = click.option("--explain", "is_explained", is_flag=True, help="Say how to read what is printed; Markdown always does.")
output_options = bundle(json_option, quiet_option)


def explained(command: Command) -> Command:
    """Bad input ends as one line on stderr and exit code 2, a place that is gone as one line and exit code 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from bench.errors import PlaceLost, UsageError

        try:
            return command(*args, **kwargs)
        except UsageError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)
        except PlaceLost as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)

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


def how(place: Place, **given: Any) -> How:
    """How what was typed is done: where, and in the words in which it is stored; `given` are further fields of `How`."""
    from bench.cli.screen import say_aside
    from bench.grid.how import How

    return How(place=place, command=typed_command(), **{"warn": say_aside, **given})


def progress(metric: str | Callable[[str], str], quiet: bool, verbose: bool):
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


def say(quiet: bool) -> Callable[[str], None]:
    """Where lines about the work go: to stderr, unless nobody wants them."""
    return lambda line: None if quiet else click.echo(line, err=True)


def check_line(check: Mapping[str, Any]) -> str:
    return f"{'ok  ' if check['passed'] else 'FAIL'}  {check['check']}: {check['detail']}"


def print_checks(found: list[dict[str, Any]], as_json: bool) -> None:
    """Exit code 1 if one did not pass."""
    if as_json:
        print_json(found)
    else:
        for check in found:
            say_page(check_line(check))
    if not all(check["passed"] for check in found):
        sys.exit(1)

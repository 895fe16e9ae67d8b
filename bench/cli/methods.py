"""`bench list`, `audit`, `profile`, `new`, `doctor`: what there is, what it does and costs, what this machine can do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bench.cli.options import cores, data_root_option, explained, json_option, out_option, print_checks, print_json, quiet_option

WIDTHS = {  # of the columns of `bench list`; None: as wide as they are
    "methods": [None, None, None, 50, 60, None],
    "datasets": [None, None, None, 50, 60],
    "suites": [None, None, 46],
}


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "datasets", "suites"]))
@data_root_option
@json_option
@explained
def list_(what: str, as_json: bool) -> None:
    """List methods, datasets or suites."""
    from tabulate import tabulate

    rows = {"methods": _list_methods, "datasets": _list_datasets, "suites": _list_suites}[what]()
    if as_json:
        print_json(rows)
        return
    absent = [row["name"] for row in rows if not row.pop("here", True)]
    click.echo(tabulate(rows, headers="keys", tablefmt="simple", maxcolwidths=WIDTHS[what][: len(rows[0])], missingval="-"))
    if absent:
        click.echo(f"\nnot here: {', '.join(absent)}; `bench data status` says where to get them")


def _list_methods() -> list[dict[str, Any]]:
    from bench import registry
    from bench.methods.catalog import role

    rows = []
    for name in registry.method_names():
        cls = registry.method_class(name)
        rows.append(
            {"name": name, "role": role(name), "presets": ", ".join(cls.presets), "idea": _idea(cls), "paper": cls.paper or "-",
             "year": cls.year}
        )  # fmt: skip
    return rows


def _list_datasets() -> list[dict[str, Any]]:
    from bench import registry
    from bench.data.card import outline

    return [outline(name) for name in registry.dataset_names()]


def _list_suites() -> list[dict[str, Any]]:
    from bench.question.suite import known_suites, read_suite

    groups = {name: path.parent.name for name, path in known_suites().items()}  # a paper's suites lie in a folder of their own
    return [
        {"name": name, "group": "general" if group == "suites" else group, "title": read_suite(name).title}
        for name, group in groups.items()
    ]


def _idea(cls: type) -> str:
    """The first line of a method's page, after its name."""
    page = sys.modules[cls.__module__].__doc__ or cls.__doc__ or ""
    first = page.strip().splitlines()[0] if page.strip() else ""
    return first.partition(": ")[2] or first


@click.command()
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
    bench audit 'muse[layers=3]'                one configuration, as a tuned row needs it
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

    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.grid.process import Stopped
    from bench.inspection.audit import expand, run_audits
    from bench.names import split_list

    choices = expand(name for text in methods for name in split_list(text))
    how = How(place=Local(jobs or cores(1)), wait=wait, say=lambda line: None if quiet else click.echo(line, err=True))
    try:
        found = run_audits(choices, out, how)
    except Stopped as error:
        click.echo(f"interrupted: {error}", err=True)
        sys.exit(130)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        click.echo(_audit_page(found))
    if not all(finding.passed for finding in found):
        sys.exit(1)


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


@click.command()
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
    from bench.data.loading import loaded_once
    from bench.inspection.profile import profiles, trials_of
    from bench.inspection.profile_page import draw, page
    from bench.names import parse_options, split_list

    names = [name for text in methods for name in split_list(text)]
    if plot is not None:
        draw([], plot)  # what would stop the plot is said before the measuring
    begin = None if quiet else lambda trial: click.echo(f"measuring {trial.label}", err=True)
    with loaded_once():
        trials = trials_of(names, **where, training=parse_options(sets), device=device, threads=threads)
        found = list(profiles(trials, device, threads, depth, begin))
    if as_json:
        print_json({"profiles": [entry.row() for entry in found]})
    else:
        click.echo(page(found))
    if plot is not None:
        draw(found, plot)
    failed = [entry for entry in found if entry.reason is not None]
    for entry in failed:
        click.echo(f"failed: {entry.trial.label}: {entry.reason}", err=True)
    if failed:
        sys.exit(1)


@click.group()
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
    from bench.cli.templates import write_method

    files, title = write_method(name, folder)
    module = name.replace("-", "_")
    line = f'    "{name}": "bench.methods.{module}:{title}",'
    if as_json:
        print_json({"files": [str(path) for path in files], "catalog_line": line.strip(), "try": f"bench run --methods {files[0]}:{title}"})
        return
    click.echo("\n".join(f"wrote {path}" for path in files))
    click.echo(f"try it:   bench run --methods {files[0]}:{title}\ntest it:  pytest {files[1]}")
    click.echo(f"list it in methods/catalog.py (or as an entry point of group bench.methods):\n{line}")


@click.command()
@out_option
@json_option
@explained
def doctor(out: str, as_json: bool) -> None:
    """Check that this machine can run the suite."""
    from bench.inspection.doctor import checks

    print_checks(checks(Path(out)), as_json)

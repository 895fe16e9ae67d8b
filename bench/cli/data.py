"""`bench data`: files of datasets."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.cli.complete import datasets, names, or_file
from bench.cli.options import UserPath, data_root_option, explained, json_option, output_options, print_checks, print_json, steps
from bench.cli.screen import page, say_page, title, width
from bench.text import count

files_option = click.option(
    "--from", "folder", type=UserPath(file_okay=False, path_type=Path), metavar="DIR", help="Folder of the files.  [default: its own]"
)


@click.group()
def data() -> None:
    """Datasets: which are here, where to get the others, preparing and checking files, a page about each."""


@data.command("status")
@data_root_option
@json_option
@explained
def data_status(as_json: bool) -> None:
    """List the datasets that come as files: what is here, what is missing, where to get it, and the owners' terms."""
    from bench.data.files import status
    from bench.datasets.files import data_root

    found = status()
    if as_json:
        print_json({"data_root": str(data_root()), "datasets": found})
        return
    say_page(f"data root: {data_root()}  (--data-root or BENCH_DATA changes it)")
    for entry in found:
        tested = {True: ", as tested", False: ", not the files this suite was tested with", None: ""}[entry["tested"]]
        click.echo("\n" + title(f"{entry['asked']}: {entry['state']}{tested}"))
        for copy in entry["prepared"]:
            options = ",".join(f"{key}={value}" for key, value in copy["options"].items())
            say_page(f"  prepared  {copy['folder']}  {count(copy['rows'], 'sample')}  {options}")
        say_page(f"  folder    {entry['folder']}")
        if entry["missing"]:
            say_page(f"  missing   {', '.join(entry['missing'])}\n  get it    {entry['obtain']}")
        elif entry["problem"]:
            say_page(f"  problem   {entry['problem']}")
        say_page(f"  licence   {entry['licence']}\n  terms     {entry['terms']}")


@data.command("prepare")
@click.argument("name", metavar="NAME[option=value]", shell_complete=names(datasets))
@files_option
@data_root_option
@output_options
@explained
def data_prepare(name: str, folder: Path | None, as_json: bool, quiet: bool) -> None:
    """Read and check a dataset's files once and keep a copy that loads fast."""
    from bench.data.files import prepare

    with steps(quiet) as report:
        made = prepare(name, folder, report)
    if as_json:
        print_json(made)
    else:
        click.echo(f"wrote {made['folder']}: {count(made['rows'], 'sample')}, fingerprint {made['fingerprint']}")


@data.command("verify")
@click.argument("name", metavar="NAME[option=value]", shell_complete=names(datasets))
@files_option
@data_root_option
@output_options
@explained
def data_verify(name: str, folder: Path | None, as_json: bool, quiet: bool) -> None:
    """Recompute hashes and fingerprint of a dataset and compare. Exit code 1 if something differs."""
    from bench.data.files import verify

    with steps(quiet) as report:
        found = verify(name, folder, report)
    print_checks(found, as_json)


@data.command("check")
@click.argument("names", nargs=-1, required=True, metavar="NAME[option=value]...", shell_complete=or_file(names(datasets)))
@data_root_option
@json_option
@explained
def data_check(names: tuple[str, ...], as_json: bool) -> None:
    """Look for what makes numbers say something else than they seem, before the first trial.

    A column that holds the outcome, rows of one patient in several parts, images with channels last, one class that outweighs all, few
    test rows, a mask that tells the label, columns that say nothing or repeat each other. Exit code 1 if something is serious.
    """
    from bench.data.checkup import check_data
    from bench.data.loading import loaded_once

    with loaded_once():
        found = [check_data(name) for name in names]
    if as_json:
        print_json([one.as_json() for one in found])
    else:
        say_page("\n\n".join(one.text() for one in found))
    sys.exit(any(one.is_serious for one in found))


@data.command("card")
@click.argument("names", nargs=-1, metavar="[NAME[option=value]]...", shell_complete=or_file(names(datasets)))
@click.option("--publish", type=UserPath(file_okay=False, path_type=Path), metavar="DIR", help="Write DIR/NAME.md, of all that are here.")
@click.option("--check", type=UserPath(file_okay=False, path_type=Path), metavar="DIR", help="Render the pages of DIR again and compare.")
@data_root_option
@json_option
@explained
def data_card(names: tuple[str, ...], publish: Path | None, check: Path | None, as_json: bool) -> None:
    """Describe datasets: samples, classes, observed combinations, whether gaps look random, whether they alone predict the label."""
    from bench.data import card as pages
    from bench.errors import UsageError

    if check is not None:
        found = pages.stale_pages(check)
        if as_json:
            print_json(found)
        else:
            click.echo("\n".join(f"{entry['state']:8}  {entry['page']}" for entry in found))
        sys.exit(any(entry["state"] == "stale" for entry in found))
    if publish is not None:
        files = pages.publish(publish, names or pages.publishable())
        if as_json:
            print_json({"files": [str(path) for path in files]})
        else:
            click.echo("\n".join(f"wrote {path}" for path in files))
        return
    if not names:
        raise UsageError("name a dataset, such as `bench data card support2`; `bench list datasets` lists them")
    cards = [pages.card(name) for name in names]
    if as_json:
        print_json([found.as_json() for found in cards])
    else:
        columns = width()
        if columns is None:
            click.echo("\n\n".join(pages.page(found) for found in cards), nl=False)
        else:
            click.echo("\n\n".join(page(pages.blocks(found), columns) for found in cards))

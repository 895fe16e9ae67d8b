"""`bench merge`: results folders that were filled apart, as one."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import UserPath, explained, json_option, mixed_option, once, print_json
from bench.cli.screen import say_page


@click.command()
@click.argument("parts", nargs=-1, required=True, metavar="PART...", type=UserPath(file_okay=False, path_type=Path))
@click.option(
    "--out", type=UserPath(file_okay=False, path_type=Path), multiple=True, required=True, metavar="DIR", callback=once,
    help="Folder of the results database.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Choice(["first", "last"]),
    help="Whose answer counts where two parts have done one trial with different bits.  [default: refuse]",
)  # fmt: skip
@mixed_option
@click.option("--check", is_flag=True, help="Score every stored prediction again first.")
@json_option
@explained
def merge(parts: tuple[Path, ...], out: Path, keep: str | None, is_mixed: bool, check: bool, as_json: bool) -> None:
    """Merge results folders, such as the parts of `bench run --shard`, into the folder OUT; what that holds already is merged first.

    \b
    bench run --suite real --shard 1/3 --out part1        on one machine, and so on
    bench merge part1 part2 part3 --out all
    bench leaderboard --out all

    Parts are read and stay as they are. They must ask under the same conditions, of the same code and data, with the same packages, and
    no run may be writing to them; else nothing is written. Of a trial that several hold, done wins over skipped, failed and planned.
    Logs, traces and weights come along; tunings do not. Merging again changes nothing.

    \b
    JSON: {"out", "parts", "statuses": {STATUS: trials}, "added", "same", "differing", "notes": [...]}

    Exit code 0: merged, 2: refused.
    """
    from bench.records.merging import merge as merge_folders

    found = merge_folders(parts, out, keep, is_mixed, check)
    if as_json:
        print_json(found.as_json())
    else:
        say_page(str(found))

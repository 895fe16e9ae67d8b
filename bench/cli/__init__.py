"""The command line. Imports nothing heavy before a command needs it: `bench --help` stays fast and free of torch."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import click

from bench import __version__
from bench.cli import (
    analyze,
    audit,
    boards,
    bundle,
    compare,
    data,
    doctor,
    export,
    listing,
    merge,
    new,
    profile,
    reproduce,
    run,
    show,
    tune,
    verify,
)  # fmt: skip
from bench.cli.options import CONTEXT
from bench.cli.screen import colour

GROUPS = {
    "Ask": (run.run, tune.tune, merge.merge),
    "Read": (boards.leaderboard, compare.compare, show.show, reproduce.reproduce, export.export),
    "Share": (bundle.bundle, verify.verify),
    "Look inside": (analyze.analyze, profile.profile, audit.audit),
    "Data and tools": (listing.list_, data.data, new.new, doctor.doctor),
}


class Grouped(click.Group):
    """Lists its commands under the headings of GROUPS, in their order, each with the whole first sentence of its help."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            _takes_every_sign(stream)
        return super().main(*args, **kwargs)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(str(command.name), command.get_short_help_str(limit=formatter.width * 2)) for command in commands])


def _takes_every_sign(stream: TextIO) -> None:
    """Write `?` for a sign that the encoding of a terminal, or of what stdout goes to, lacks: the numbers around it are worth more."""
    if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


@click.group(cls=Grouped, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Compare methods for multimodal learning with missing modalities.

    \b
    bench run                                 all methods on embedded real data,
                                              minutes on a laptop
    bench run --methods muse,mine.py:Mine     some methods, your own among them
    bench leaderboard                         the table of what was run
    bench compare muse fusemoe                is the difference between two real?
    bench reproduce TRIAL                     do the same bits come again?
    bench analyze routing                     what happens inside
    """
    click.get_current_context().color = colour()


for _commands in GROUPS.values():
    for _command in _commands:
        main.add_command(_command)

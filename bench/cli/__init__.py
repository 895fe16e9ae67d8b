"""The command line. Imports nothing heavy before a command needs it: `bench --help` stays fast and free of torch."""

from __future__ import annotations

import click

from bench import __version__
from bench.cli import analyses, boards, data, methods, reproduce, run, show, tune
from bench.cli.options import CONTEXT


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Compare methods for multimodal learning with missing modalities.

    \b
    bench run                                 all methods on embedded real data, minutes on a laptop
    bench run --methods muse,mine.py:Mine     some methods, your own among them
    bench leaderboard                         the table of what was run
    bench compare muse fusemoe                is the difference between two methods real?
    bench reproduce TRIAL                     do the same bits come again?
    bench list methods                        what there is
    bench profile paper                       what they cost
    bench audit mine.py:Mine                  does it read what it must not?
    bench analyze routing                     what happens inside
    """


for _command in (
    *(run.run, tune.tune, show.show, reproduce.reproduce),
    *(boards.leaderboard, boards.compare),
    *(methods.list_, methods.audit, methods.profile, methods.new, methods.doctor),
    *(analyses.analyze, data.data),
):
    main.add_command(_command)

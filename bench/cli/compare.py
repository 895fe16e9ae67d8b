"""`bench compare`: one method against another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from bench.cli.complete import fixed, lists, metrics, names, stored_methods
from bench.cli.options import (
    data_root_option,
    explain_option,
    explained,
    json_option,
    of_suite_option,
    one_source,
    print_json,
    rope_option,
    settings_option,
    source_options,
)
from bench.cli.screen import page, width
from bench.cli.sections import Sectioned

if TYPE_CHECKING:
    from bench.comparison.differences import Comparison
    from bench.text import Table


@click.command(cls=Sectioned)
@click.argument("a", shell_complete=stored_methods)
@click.argument("b", shell_complete=stored_methods)
@settings_option
@click.option(
    "--metric",
    metavar="NAME",
    shell_complete=names(metrics),
    help="Metric to compare by; any but the suite's is exploratory.  [default: the suite's]",
)
@rope_option
@click.option(
    "--allow", metavar="LIST", shell_complete=lists(fixed("protocols", "data", "commits", "hardware")),
    help="Compare although the records mix protocols, data, commits or hardware.",
)  # fmt: skip
@click.option("--patterns", is_flag=True, help="Wins and losses by observed modalities. Loads the datasets.")
@of_suite_option
@data_root_option
@source_options
@explain_option
@json_option
@explained
def compare(a: str, b: str, as_json: bool, is_explained: bool, **options: Any) -> None:
    """Compare method A with method B: is the difference real, how large, and does it matter?

    In words and in numbers, setting by setting and over all settings. Where the data cannot answer, the page says what is missing.

    \b
    bench compare muse fusemoe                          the latest run in runs/
    bench compare muse fusemoe --from leaderboards/quick --settings "digits mcar(0.5)"

    \b
    JSON: {"summary", "settings": [{"difference", "interval", "p", "p_adjusted", "p_board", "verdict", "seeds_needed",
      "patterns": [...], ...}], "across": {...}}; what the data cannot answer is null, with a "reason".

    Exit code 0: answered, 2: wrong usage, or records that must not be compared.
    """
    from bench.api import compare as compared
    from bench.stats.metrics import METRICS
    from bench.text import showing

    one_source(options["published"])
    found = compared(a, b, **{key: value for key, value in options.items() if value is not None})
    if as_json:
        print_json(found.as_json())
    else:
        columns = width()
        with showing(METRICS[found.metric].in_unit):
            click.echo(str(found) if columns is None else page(_blocks(found, is_explained), columns))


def _blocks(found: Comparison, is_explained: bool) -> Iterator[str | Table]:
    """The page of a comparison as one reads a terminal, from its end: numbers, what they say of each setting, the answer."""
    from bench.comparison.page import ON_BOARD, notes_on, numbers, opening, over_settings, paragraph, patterns_of
    from bench.text import times

    yield from (f"# {found.a} against {found.b}", "", f"Measured by {found.measured}{times().replace(' x', '; x')}.", "")
    yield from (f"> **Warning:** {warning}." for warning in found.warnings)
    if found.exploratory:
        yield from ("", f"**Exploratory**: {found.word} is not the primary metric of these results; what it shows is a question.")
    yield from ("", numbers(found), "")
    yield from ["Not compared:", *(f"- {setting}" for setting in found.left_out), ""] if found.left_out else []
    yield from [*(f"- {note}" for note in found.notes), ""]
    for difference in found.differences:
        yield from (paragraph(found, difference), "")
        yield from (patterns_of(found, difference.patterns), "") if difference.patterns else ()
    if len(found.differences) > 1:
        yield from ("## All settings", "", *(line for across in found.across for line in (over_settings(found, across), "")))
    if is_explained:
        on_board = [ON_BOARD, ""] if any(difference.board_pairs for difference in found.differences) else []
        yield from ("## How to read this", "", *notes_on(found), "", *on_board, found.provenance, "")
    else:
        yield from ("--explain says how to read this.", "")
    yield from ("## Verdict", "", opening(found))

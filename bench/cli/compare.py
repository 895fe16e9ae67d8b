"""`bench compare`: one method against another."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.options import (
    data_root_option,
    explained,
    json_option,
    of_suite_option,
    one_source,
    print_json,
    rope_option,
    settings_option,
    source_options,
)


@click.command()
@click.argument("a")
@click.argument("b")
@settings_option
@click.option("--metric", metavar="NAME", help="Metric to compare by; any but the suite's is exploratory.  [default: the suite's]")
@rope_option
@click.option("--allow", metavar="LIST", help="Compare although the records mix protocols, data, commits or hardware.")
@click.option("--patterns", is_flag=True, help="Wins and losses by observed modalities. Loads the datasets.")
@of_suite_option
@data_root_option
@source_options
@json_option
@explained
def compare(a: str, b: str, as_json: bool, **options: Any) -> None:
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

    one_source(options["published"])
    found = compared(a, b, **{key: value for key, value in options.items() if value is not None})
    if as_json:
        print_json(found.as_json())
    else:
        click.echo(str(found))

"""`bench doctor`: whether this machine can run the suite."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import explained, json_option, on_option, out_option, print_checks


@click.command()
@out_option
@on_option
@json_option
@explained
def doctor(out: str, place: str, as_json: bool) -> None:
    """Check that this machine can run the suite; with --on, that the workers of a place can, and what they are."""
    from bench.grid.places import place_of
    from bench.inspection.doctor import checks, checks_of

    with place_of(place) as where:
        print_checks(checks(Path(out)) if place == "local" else checks_of(where), as_json)

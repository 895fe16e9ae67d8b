"""`bench doctor`: whether this machine can run the suite."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.options import explained, json_option, out_option, print_checks


@click.command()
@out_option
@json_option
@explained
def doctor(out: str, as_json: bool) -> None:
    """Check that this machine can run the suite."""
    from bench.inspection.doctor import checks

    print_checks(checks(Path(out)), as_json)

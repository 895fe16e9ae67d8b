"""A command as a person types it, in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from bench.cli import main


def called(*words: object, code: int = 0) -> Result:
    """What `bench WORDS` gives. Raises: AssertionError, with all that it printed, if it ends with another exit code."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result

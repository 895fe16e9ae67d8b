"""Whether pictures can be drawn here, said before the work that they would show. matplotlib itself is loaded where one is drawn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.errors import UsageError

PLOT_SUFFIXES = (".png", ".pdf", ".svg")


def missing() -> str | None:
    """Why nothing can be drawn, with the way on; None if it can."""
    return None if find_spec("matplotlib") else "matplotlib is not installed; pip install 'missing-modality-bench[plot]'"


def check_plot(path: Path) -> None:
    """Raises: UsageError if a plot could not be written there: before hours are spent on it."""
    if path.suffix not in PLOT_SUFFIXES:
        raise UsageError(f"a plot is written to a file ending in {', '.join(PLOT_SUFFIXES)}, got {str(path)!r}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"the plot's folder {path.parent} does not exist; make it first")
    if missing() is not None:
        raise UsageError(f"no plot can be drawn: {missing()}")

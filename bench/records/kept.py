"""Files that a trial may leave in its results folder beside the database: its log, what its method did, and its weights. Free of torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from bench.errors import UsageError
from bench.question.trial import Trial


def log_of(trial: Trial, folder: Path) -> Path:
    """Where a results folder has what a trial printed."""
    return folder / "logs" / f"{trial.id}.log"


def traces_of(trial: Trial, folder: Path) -> Path:
    """Where a results folder has what a trial's method did."""
    return folder / "traces" / f"{trial.id}.npz"


def weights_of(trial: Trial, folder: Path) -> Path:
    """Where a results folder has a trial's chosen checkpoint."""
    return folder / "weights" / f"{trial.id}.safetensors"


def files_of(trial: Trial, folder: Path) -> list[Path]:
    """Where all that a trial may leave beside the database lies, whether it is there or not."""
    return [log_of(trial, folder), traces_of(trial, folder), weights_of(trial, folder)]


def check_weights() -> None:
    """Raises: UsageError where no weights can be kept or read: before hours are spent on them."""
    if find_spec("safetensors") is None:
        raise UsageError("no weights can be kept or read: safetensors is not installed; pip install 'missing-modality-bench[weights]'")

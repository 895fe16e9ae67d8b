"""Datasets with their samples, read once in a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from bench import registry
from bench.datasets.base import DataError, Dataset, Samples, Schema
from bench.datasets.files import data_root
from bench.errors import UsageError
from bench.names import Choice, parse_choice

# Samples are far too large to travel in a job, so each process keeps its own: a command for as long as it runs (`loaded_once`), the fork
# server for good (`preload`), and a trial has its server's. Whoever opens neither keeps nothing.
_Memory = dict[tuple[str, Path], Samples]
_memory: ContextVar[_Memory | None] = ContextVar("samples that this command has loaded", default=None)


@contextmanager
def loaded_once() -> Iterator[None]:
    """What one command runs in: every dataset is loaded once, whoever asks, and forgotten at the end. Inside another it shares that."""
    if _memory.get() is not None:
        yield
        return
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def load(choice: Choice) -> tuple[Dataset, Samples]:
    """A dataset and its samples, from memory where this command, or the fork server for its trials, has loaded them.

    Raises: UsageError if the dataset does not load, whatever its code raised.
    """
    dataset = registry.dataset_of(choice)
    memory, key = _memory.get(), (str(choice), data_root())
    if memory is not None and key in memory:
        return dataset, memory[key]
    try:
        samples = dataset.load()
    except DataError as error:  # says everything a user needs
        raise UsageError(f"dataset {str(choice)!r}: {error}") from error
    except Exception as error:
        raise UsageError(f"dataset {str(choice)!r} does not load: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(samples, Samples):
        raise UsageError(f"load of dataset {str(choice)!r} must return Samples, got {type(samples).__name__}")
    samples = _usable(choice, samples)
    if memory is not None:
        memory[key] = samples
    return dataset, samples


def _usable(choice: Choice, samples: Samples) -> Samples:
    """The samples as they enter: what holds no value is not observed. Raises: UsageError without rows."""
    if not len(samples):
        raise UsageError(f"dataset {str(choice)!r} has no samples; its `load` must return one row at least")
    return samples.without_blanks()


def preload(name: str) -> None:
    """Load a dataset, NAME or NAME[option=value], in the fork server: its trials find it in memory. One that does not load fails in its
    trials, with its reason."""
    if _memory.get() is None:
        _memory.set({})
    with suppress(UsageError):
        load(parse_choice(name))


def schema_of(dataset: Dataset, samples: Samples, combination: str) -> Schema:
    """The schema with the modalities of a combination; `all` stands for every letter. Raises: UsageError."""
    letters = samples.schema.combination if combination == "all" else combination
    try:
        return samples.schema.subset(letters)
    except ValueError as error:
        raise UsageError(f"{error} ({dataset.title})") from None

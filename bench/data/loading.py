"""Datasets with their samples, read once in a process, and what tells one set of data from another."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench import registry
from bench.data.moments import collector
from bench.datasets.base import DataError, Dataset, Samples, Schema
from bench.datasets.deferred import SMALL, size_of
from bench.datasets.files import data_root
from bench.errors import OtherQuestion, UsageError
from bench.names import Choice, parse_choice

QUICK = 1.0  # seconds: a dataset from outside that loads in less is loaded twice when a run is planned, to see whether it is the same


class Loaded(NamedTuple):
    """A dataset with its samples."""

    dataset: Dataset
    samples: Samples
    fingerprint: str  # of all that moves a number; see `fingerprint_of`


# Samples are far too large to travel in a job, so each process keeps its own: a command for as long as it runs (`loaded_once`), the fork
# server for good (`preload`), and a trial has its server's. Whoever opens neither keeps nothing. What is kept is found by its name, so
# whoever needs certain data looks at the fingerprint, as a trial does.
_Memory = dict[tuple[str, Path], Loaded]
_memory: ContextVar[_Memory | None] = ContextVar("samples that this command has loaded", default=None)
_ids: dict[tuple[str, Path], np.ndarray] = {}  # of the samples that this process, or the server that it was forked from, has loaded

# A server also works out what the trials would each work out again; a command that only plans has no use for it.
_serves: ContextVar[bool] = ContextVar("this process loads samples for the trials that are forked from it", default=False)


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


def forget() -> None:
    """Give back the samples that this command has loaded: planning is over, and trials have those of their server."""
    memory = _memory.get()
    if memory is not None:
        memory.clear()


def load(choice: Choice, anew: bool = False) -> Loaded:
    """A dataset and its samples, from memory where this command, or the fork server for its trials, has loaded them.

    With `anew`, memory is not asked. Raises: UsageError if the dataset does not load, whatever its code raised.
    """
    memory, key = _memory.get(), (str(choice), data_root())
    if memory is not None and key in memory and not anew:
        return memory[key]
    dataset = registry.dataset_of(choice)
    try:
        samples = dataset.load()
    except DataError as error:  # says everything a user needs
        raise UsageError(f"dataset {str(choice)!r}: {error}") from error
    except Exception as error:
        raise UsageError(f"dataset {str(choice)!r} does not load: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(samples, Samples):
        raise UsageError(f"load of dataset {str(choice)!r} must return Samples, got {type(samples).__name__}")
    samples, digest = _usable(choice, samples)
    loaded = Loaded(dataset, samples, fingerprint_of(dataset, samples, digest))
    _ids[key] = samples.ids
    if memory is not None:
        memory[key] = loaded
    return loaded


def loaded_ids(choice: Choice) -> set[str]:
    """Ids of the samples of a dataset, if this process has loaded it, whether it still holds the samples or not; nothing is loaded."""
    found = _ids.get((str(choice), data_root()))
    return set() if found is None else set(map(str, found.tolist()))


def load_checked(choice: Choice) -> Loaded:
    """What `load` gives, for planning. Raises: UsageError, also if a dataset from outside gives other rows at a second look."""
    memory = _memory.get()
    if memory is not None and (str(choice), data_root()) in memory:
        return memory[str(choice), data_root()]
    begin = time.monotonic()
    loaded = load(choice)
    if (
        registry.is_from_outside(choice.name)
        and time.monotonic() - begin < QUICK
        and load(choice, anew=True).fingerprint != loaded.fingerprint
    ):
        raise UsageError(unsteady(choice))
    return loaded


def load_same(choice: Choice, fingerprint: str) -> Loaded:
    """The data that a trial was planned on. Raises: UsageError; OtherQuestion if this process finds others."""
    loaded = load(choice)
    if loaded.fingerprint != fingerprint:  # memory may be of before a change
        loaded = load(choice, anew=True)
    if loaded.fingerprint == fingerprint:
        return loaded
    if load(choice, anew=True).fingerprint != loaded.fingerprint:
        raise UsageError(unsteady(choice))
    raise OtherQuestion(
        f"dataset {str(choice)!r} is other data here than what the trial was planned on: fingerprint {fingerprint} then, "
        f"{loaded.fingerprint} now; run again with the data as they are"
    )


def unsteady(choice: Choice) -> str:
    return (
        f"load of dataset {str(choice)!r} gives other rows each time, so no two trials would be of the same data; draw with a fixed seed, "
        "and sort what comes from sets, folders and queries"
    )


def fingerprint_of(dataset: Dataset, samples: Samples, digest: str | None = None) -> str:
    """Hash of all of a dataset that moves a number: its samples, how rows may be split, and its code where that acts in a trial, with what
    that goes by.

    Where there is nothing but samples, it is the fingerprint of these, `digest` if that is known.
    """
    own = (digest or samples.fingerprint())[:16]
    further: list[str] = []
    if samples.groups is not None and not dataset.keeps_groups:
        further.append("groups may be parted")
    if type(dataset).parts is not Dataset.parts:
        further += _told(dataset, samples)
    acting = [name for name in registry.acting(type(dataset)) if name != "learn" or dataset.learns]
    if "learn" in acting and dataset.learns_by:
        further.append(f"learns by {dataset.learns_by}")
    if acting:
        further.append(f"{', '.join(acting)} {registry.source_version(type(dataset), is_running=True)}")
    return hashlib.sha256("\n".join([own, *further]).encode()).hexdigest()[:16] if further else own


def _told(dataset: Dataset, samples: Samples) -> list[str]:
    """What a dataset's own split is beside what its samples say, good or bad: whether it can be used is for those who use it."""
    try:
        parts = dataset.parts(samples)
        if parts is None and samples.split is None:
            return []
        found = parts.items() if isinstance(parts, Mapping) else [("parts", [repr(parts)])]
        rows = [(name, np.asarray(rows)) for name, rows in found]
    except Exception as error:
        return [f"parts fails: {type(error).__name__}"]
    return [f"{name} {hashlib.sha256(repr(a.tolist()).encode()).hexdigest()}" for name, a in rows]


def _usable(choice: Choice, samples: Samples) -> tuple[Samples, str]:
    """The samples as they enter, and their fingerprint, from one pass: what holds no value is not observed, what is large is not copied.

    Raises: UsageError without rows.
    """
    if not len(samples):
        raise UsageError(f"dataset {str(choice)!r} has no samples; its `load` must return one row at least")
    if size_of(samples.values) <= SMALL:
        return samples.held().looked_over()
    samples = samples.deferred()
    return samples.looked_over(collector(samples)) if _serves.get() else samples.looked_over()


def preload(name: str) -> None:
    """Load a dataset, NAME or NAME[option=value], in the fork server: its trials find it in memory. One that does not load fails in its
    trials, with its reason."""
    if _memory.get() is None:
        _memory.set({})
    _serves.set(True)
    with suppress(UsageError):
        load(parse_choice(name))


def holds_large() -> bool:
    """Whether this process keeps data that trials gather row by row."""
    return any(size_of(loaded.samples.values) > SMALL for loaded in (_memory.get() or {}).values())


def schema_of(dataset: Dataset, samples: Samples, combination: str) -> Schema:
    """The schema with the modalities of a combination; `all` stands for every letter. Raises: UsageError."""
    letters = samples.schema.combination if combination == "all" else combination
    try:
        return samples.schema.subset(letters)
    except ValueError as error:
        raise UsageError(f"{error} ({dataset.title})") from None

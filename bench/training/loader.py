"""Rows of a part as batches: from one batch that lies on the device, or gathered from large data as they are asked for.

Small data lie on the device as a whole. Large data lie there too where a GPU has the room; else their rows are gathered, hidden and
scaled batch by batch (`bench.datasets.deferred`), on a GPU ahead of their use, by a thread, into pinned memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from queue import Full, Queue

import torch
from torch import Tensor

from bench.datasets.base import Batch, Samples, Target, as_batch
from bench.datasets.deferred import Deferred, blocks, size_of

AHEAD = 2  # batches that are gathered before they are asked for
ROOM = 0.5  # share of a GPU's free memory that a part may take; the method needs the rest
TICK = 0.1  # seconds between two looks of the gathering thread at whether anybody still asks


class Rows:
    """Rows of large data: each batch is gathered when it is asked for. Like a `Batch` it has a length and gives `rows`."""

    def __init__(self, samples: Samples, device: torch.device, is_labelled: bool = True) -> None:
        values = samples.sealed().values
        assert isinstance(values, Deferred)
        self.values, self.device, self.lengths = values, device, samples.lengths
        target = samples.schema.target
        self.observed = samples.observed
        self.target = target.batched(samples.target if is_labelled else target.sealed(samples.target))

    def __len__(self) -> int:
        return len(self.target)

    def rows(self, index: Tensor) -> Batch:
        """The chosen rows, in the order given, on the device. Shapes: index (K,) int64."""
        return self.gathered(index).to(self.device)

    def gathered(self, index: Tensor) -> Batch:
        """The chosen rows in this machine's own memory."""
        rows = index.cpu().numpy()
        inputs = {name: torch.from_numpy(self.values.take(name, rows)) for name in self.values}
        lengths = {name: torch.from_numpy(array[rows]) for name, array in self.lengths.items()}
        return Batch(inputs, torch.from_numpy(self.observed[rows]), torch.from_numpy(self.target[rows]), index.cpu(), lengths)

    def moved(self) -> Batch:
        """All rows on the device, brought there block by block."""
        inputs = {name: torch.empty((len(self), *shape), device=self.device) for name, shape in self.values.shapes.items()}
        for name, tensor in inputs.items():
            for rows in blocks(len(self), self.values.shapes[name]):
                tensor[rows] = torch.from_numpy(self.values.block(name, rows)).to(self.device)
        lengths = {name: torch.from_numpy(array) for name, array in self.lengths.items()}
        return Batch(inputs, torch.from_numpy(self.observed), torch.from_numpy(self.target), torch.arange(len(self)), lengths).to(
            self.device
        )


def rows_on(samples: Samples, device: torch.device, is_labelled: bool = True) -> Batch | Rows:
    """All rows as one batch on the device, or what gathers them where they are too large. Without labels every target is sealed."""
    if isinstance(samples.values, Deferred):
        rows = Rows(samples, device, is_labelled)
        return rows.moved() if fits(size_of(samples.values), device) else rows
    batch = as_batch(samples, device)
    return batch if is_labelled else unlabelled(batch, samples.schema.target)


def unlabelled(batch: Batch, target: Target) -> Batch:
    """The batch as in evaluation: nothing that is to be told is there."""
    sealed = torch.from_numpy(target.sealed(batch.target.cpu().numpy()))
    return replace(batch, target=sealed.to(batch.target.device))


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes of large data are kept on a device. Never on a CPU, where they would be a copy of what is there."""
    return device.type == "cuda" and size <= ROOM * torch.cuda.mem_get_info(device)[0]


def batches_of(data: Batch | Rows, index: Iterable[Tensor]) -> Iterator[Batch]:
    """A batch on the device for each set of rows, in order."""
    if isinstance(data, Rows) and data.device.type == "cuda":
        return gathered_ahead(data, index)
    return (data.rows(rows) for rows in index)


def gathered_ahead(data: Rows, index: Iterable[Tensor]) -> Iterator[Batch]:
    """The same from a thread that gathers the next `AHEAD` batches while one is worked on. What it raises is raised here."""
    waiting: Queue[Batch | BaseException | None] = Queue(AHEAD)
    done = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not done.is_set():
            with suppress(Full):
                waiting.put(item, timeout=TICK)
                return

    def gather() -> None:
        try:
            for rows in index:
                if done.is_set():
                    return
                batch = data.gathered(rows)
                put(_pinned(batch) if data.device.type == "cuda" else batch)
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=gather, name="gathers batches", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield _sent(item, data.device)
    finally:
        done.set()
        thread.join()


def _pinned(batch: Batch) -> Batch:
    """In memory that a GPU reads by itself, while the processor goes on."""
    return replace(batch, inputs={name: tensor.pin_memory() for name, tensor in batch.inputs.items()})


def _sent(batch: Batch, device: torch.device) -> Batch:
    """On the device; the copy of what is pinned goes on beside the work there."""
    return replace(batch, inputs={name: tensor.to(device, non_blocking=True) for name, tensor in batch.inputs.items()}).to(device)

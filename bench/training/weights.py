"""The chosen checkpoint of a trial in a file, and a method made from it again: safetensors, so that reading it runs no code.

The file holds every tensor of the method's state and the place of its random generator; who it is stands in its metadata, without a path.
A method may keep what it learnt of other training rows, so it is made again with the data of its trial, and refused where they are others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from bench.datasets.base import Samples
from bench.errors import TrialError, UsageError
from bench.methods.base import Method
from bench.question.machine import Machine
from bench.question.trial import Trial
from bench.records.database import Store
from bench.records.kept import check_weights, weights_of
from bench.records.predictions import LOGITS
from bench.records.public import without_paths
from bench.stats.kinds import KINDS
from bench.training.loader import rows_on
from bench.training.loop import as_computed, build_method, predict, resolve_device
from bench.training.opened import Opened, open_trial
from bench.training.recipe import restore
from bench.training.task import Task

FORMAT = "bench weights 1"
GENERATOR = "bench.generator"  # the tensor with the state of the method's random generator as it was before the test part


def save(method: Method, trial: Trial, best_epoch: int, path: Path) -> None:
    """Write a method's state, whole or not at all. Raises: TrialError if some of it is no tensor."""
    from safetensors import torch as safetensors

    state = method.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise TrialError(f"weights cannot be kept: {odd[0]} of {type(method).__name__} is no tensor; run without --keep-weights")
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}  # tied ones are no longer shared
    tensors[GENERATOR] = method.generator.get_state().clone()
    told = {
        "format": FORMAT, "trial": trial.id, "method": trial.label, "version": trial.version, "dataset": trial.dataset_choice,
        "fingerprint": trial.fingerprint, "best_epoch": str(best_epoch),
        "config": json.dumps(asdict(method.config), sort_keys=True, default=str), "schema": json.dumps(asdict(method.schema)),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(safetensors.save(tensors, {name: without_paths(text) for name, text in told.items()}))
    fresh.replace(path)


@dataclass(frozen=True)
class Weights:
    """A method with the weights that its trial chose."""

    trial: Trial
    opened: Opened
    method: Method  # in evaluation mode
    generator: torch.Tensor  # state of its random generator before it saw the test part

    @property
    def test(self) -> Samples:
        """The test rows as the method saw them: hidden, learnt on, scaled, sealed."""
        return self.opened.parts.test.samples

    def logits(self, samples: Samples | None = None) -> np.ndarray:
        """Logits (N, C) of samples, by default of the test part: for these the stored ones, to the last bit on the same machine; of
        a value on the scale of its training rows.

        Other samples must come as `test` does, with the trial's schema, scaled as its training rows were; their labels are not read.
        """
        rows = rows_on((self.test if samples is None else samples).untold(), next(self.method.parameters()).device, is_labelled=False)
        self.method.generator.set_state(self.generator)
        return as_computed(predict(self.method, rows, self.opened.config.batch_size))

    def scores(self, samples: Samples | None = None) -> np.ndarray:
        """Class or label probabilities (N, C) float64 of the same; of a value, numbers (N, 1) in its unit."""
        outputs = self.task.stored(self.logits(samples))
        return KINDS[self.task.target.kind].scores(outputs.astype(np.float64), self.task.form == LOGITS)

    @property
    def task(self) -> Task:
        return Task.of(self.opened.parts.train.samples)


def load(trial: Trial, path: Path, machine: Machine | None = None) -> Weights:
    """The method of a trial with the weights of a file.

    Raises: UsageError if the file is not there, is damaged or of another trial, or code or data are not those of the trial.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UsageError(
            f"no weights of trial {trial.id}: there is no {path}; `bench run --keep-weights` keeps them, of methods that it trains"
        )
    try:
        with safe_open(path, framework="pt") as stream:
            told = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UsageError(f"{path} is damaged: {error}; run the trial again with --keep-weights") from None
    if told.get("format") != FORMAT or told.get("trial") != trial.id:
        raise UsageError(f"{path} must hold the weights of trial {trial.id} ({FORMAT}), got {told.get('trial')!r} ({told.get('format')!r})")
    if GENERATOR not in tensors:
        raise UsageError(f"{path} has no tensor {GENERATOR}, without which no answer comes again; run the trial again with --keep-weights")
    opened, device = open_trial(trial), resolve_device((machine or Machine()).device)
    method = build_method(opened.cls, opened.config, opened.parts.train.samples, trial.seed, device)
    generator = tensors.pop(GENERATOR)
    try:
        restore(method, tensors, opened.parts.train.samples, trial.seed)
    except RuntimeError as error:
        raise UsageError(f"{path} does not fit the method: {' '.join(str(error).split())}") from None
    return Weights(trial, opened, method.eval(), generator)


def load_stored(trial: str, out: Path | str, device: str) -> Weights:
    """The same for the trial of a results folder whose id starts with `trial`. Raises: UsageError as `load` does."""
    check_weights()
    with Store(out, create=False) as store:
        found = store.record(trial).trial
        return load(found, weights_of(found, store.folder), Machine(device=device))

"""The loop that all methods share: steps down a loss, that of the kind of target or their own (`recipe`); the best checkpoint is kept.

Sealed batches make a leak loud: a hidden value that is read turns the logits into NaN and the trial fails.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.parts import Part, Parts, batch_rows
from bench.datasets.base import Batch, Samples, Target
from bench.errors import MachineError, TrialError
from bench.methods.base import Ceiling, Method, MethodConfig, Prediction
from bench.methods.tracing import Tracer
from bench.question.machine import Machine
from bench.question.trial import Trial
from bench.records.reached import Reached, Report
from bench.seeds import number, stream
from bench.stats.kinds import KINDS
from bench.stats.metrics import selection_score
from bench.training.loader import Rows, batches_of, rows_on
from bench.training.recipe import autocast, check_attributes, finish, has_own, kept_rows, loss_of, optimiser_of, rate_factor
from bench.training.task import Task

OUTPUTS = {"classes": "C", "labels": "L", "value": "1"}  # how shapes are written
LOOK = 64  # training steps between two looks at their losses, and at the end of an epoch


def resolve_device(device: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU. Raises: TrialError if torch knows no such device,
    MachineError if it sees none."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    came = f"device {device} was asked for, but torch {torch.__version__}"
    try:
        found = torch.device(device)
        module = torch.get_device_module(found)
    except RuntimeError:
        raise TrialError(f"{came} knows none of that name that it could train on; use --device cpu or auto") from None
    what = "GPU" if found.type == "cuda" else f"device of type {found.type}"
    if not module.is_available():
        raise MachineError(f"{came} sees no {what}; use --device cpu or auto")
    if found.index is not None and found.index >= module.device_count():
        raise MachineError(f"{came} sees {module.device_count()} {what}{'s' * (module.device_count() > 1)}, counted from 0")
    return found


def device_of(machine: Machine) -> torch.device:
    """The device of a trial. Of a GPU that it shares it gets its part of the memory, so that its appetite ends it and no other.

    Raises: MachineError if a GPU is asked for and none is there.
    """
    device = resolve_device(machine.device)
    if device.type == "cuda" and machine.per_gpu > 1:
        torch.cuda.set_per_process_memory_fraction(1 / machine.per_gpu, device)
    return device


def rows_for(cls: type, part: Part) -> Samples:
    """The test rows that a class is asked about: unscaled for a ceiling, whose posterior is stated in their units."""
    if not issubclass(cls, Ceiling):
        return part.samples
    assert part.raw is not None, "a ceiling predicts the test part alone"
    return part.raw


def build_method(cls: type[Method], config: MethodConfig, train: Samples, seed: int, device: torch.device) -> Method:
    """A method ready for its first epoch, every random stream started from the trial's seed. Values reach it standardised.

    Raises: TrialError if weights that it loads do not fit, or an attribute hides what bench calls.
    """
    torch.manual_seed(number(seed, "init"))
    try:
        method = cls(train.schema, config).to(device)
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise TrialError(f"weights that {cls.__name__} loads do not fit it: {' '.join(str(error).split())}") from None
    check_attributes(method)
    method.seed(number(seed, "noise"))
    torch.manual_seed(number(seed, "noise", "dropout"))
    method.prepare(Task.of(train).standardised(train))
    return method


def fit_to_best(
    method: Method, config: MethodConfig, parts: Parts, trial: Trial, device: torch.device, report: Report, tracer: Tracer | None
) -> tuple[int, float]:
    """Train for all epochs and load the best checkpoint. Returns its epoch (from 1) and its validation metric."""
    begin = time.perf_counter()
    task = Task.of(parts.train.samples)
    rows = task.standardised(parts.train.samples)
    train, valid = rows_on(rows, device), rows_on(parts.valid.samples, device, is_labelled=False)
    order = stream(trial.seed, "order")
    steps = Steps(method, config)

    def validation() -> tuple[float, float]:
        scores = task.scores(predict(method, valid, config.batch_size))
        return selection_score(trial.selection, parts.valid.samples.target, scores)

    best: tuple[float, float] | None = None
    best_epoch, state = 0, {}
    for epoch in range(config.epochs):
        method.train()
        method.on_epoch(epoch, config.epochs)
        if tracer is not None:
            method.tracer, tracer.epoch = tracer, epoch + 1
        for _ in steps.epoch(train, rows.observed, epoch, order):
            pass
        steps.check()
        method.tracer = None
        if method.is_selectable:
            candidate = validation()
            if best is None or candidate > best:
                best, best_epoch = candidate, epoch + 1
                state = {key: tensor.detach().clone() for key, tensor in method.state_dict().items()}
        report(Reached(epoch + 1, config.epochs, math.nan if best is None else best[0], time.perf_counter() - begin))
    if best is None:
        raise TrialError(f"no epoch of {config.epochs} gave a state that may be chosen: the warm-up covers them all; train for more epochs")
    method.load_state_dict(state)
    if finish(method, parts.train.samples, trial.seed):
        best = validation()  # of the model as it will be tested
    return best_epoch, best[0]


class Steps:
    """Optimiser steps of a method, whose losses are looked at some steps later: reading each one would make the host wait for a GPU.

    Once a loss is not finite no parameter moves any more, so what is wrong can still be told when it is looked at.
    """

    def __init__(self, method: Method, config: MethodConfig) -> None:
        self.method, self.config, self.optimiser = method, config, optimiser_of(method)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]  # before any schedule
        self.lost = torch.zeros((), device=method.device)  # 1 from the first loss on that is not finite
        self.reads_lost = getattr(self.optimiser, "_step_supports_amp_scaling", False)  # a fused step reads it on the device
        if self.reads_lost:
            self.optimiser.found_inf = self.lost  # type: ignore[attr-defined]  # as it reads a gradient scaler's
        self._unseen: list[tuple[Tensor, Prediction, str]] = []

    def epoch(self, data: Batch | Rows, observed: np.ndarray, epoch: int, order: np.random.Generator) -> Iterator[Tensor]:
        """The steps of an epoch, counted from 0; yields the loss of each batch. Shapes: observed (N, M) bool, of the rows in `data`.

        Raises: TrialError on wrong logits at once, on a loss that is not finite from `check`.
        """
        index = list(row_batches(data, self.config.batch_size, order, kept_rows(self.method, observed, epoch)))
        each = self.config.accumulate
        steps = math.ceil(len(index) / each)
        for place, batch in enumerate(batches_of(data, index)):
            together = index[place - place % each :][:each]  # the batches of this step
            if place % each == 0:
                self.set_rates(epoch, place // each, steps)
            share = len(batch) / sum(map(len, together)) if each > 1 else 1.0
            yield self.take(batch, f"epoch {epoch + 1}, batch {place + 1}", share, place % each == 0, place % each == len(together) - 1)

    def set_rates(self, epoch: int, step: int, steps: int) -> None:
        factor = rate_factor(self.method, epoch, step, steps)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def take(self, batch: Batch, where: str, share: float = 1.0, is_first: bool = True, is_last: bool = True) -> Tensor:
        """A batch's part of a step, its `share` of the rows, and the step itself after the last; returns the batch's loss.

        Raises: TrialError on wrong logits at once, on a loss that is not finite from `check`.
        """
        loss = self.loss(batch, where)
        self.backward(loss if share == 1.0 else loss * share, is_first)
        if is_last:
            self.clip()
            self.move()
        if len(self._unseen) == LOOK:
            self.check()
        return loss.detach()

    def loss(self, batch: Batch, where: str) -> Tensor:
        """Loss and penalties of a batch, kept for the next look."""
        with autocast(self.config, self.method.device):
            prediction = self.method(batch)
            check_prediction(self.method, prediction, len(batch), where)
            loss = loss_of(self.method, prediction, batch, where)
        seen = loss.detach()
        self.lost.logical_or_(seen - seen)  # 0 if finite, else NaN, which counts as true
        penalties = {name: penalty.detach() for name, penalty in prediction.penalties.items()}
        self._unseen.append((seen, Prediction(prediction.logits.detach(), penalties), where))
        return loss

    def backward(self, loss: Tensor, is_first: bool = True) -> None:
        if is_first:
            self.optimiser.zero_grad(set_to_none=True)
        loss.backward()

    def clip(self) -> None:
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.method.parameters(), self.config.clip_norm)

    def move(self) -> None:
        """One step of the optimiser, of one that knows nothing of lost losses once they have been looked at."""
        if not self.reads_lost:
            self.check()
        self.optimiser.step()

    def check(self) -> None:
        """Look at the losses since the last look. Raises: TrialError if one is not finite, saying what is wrong with the first."""
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        losses = torch.stack([loss for loss, _, _ in unseen]).cpu()
        for finite, (_, prediction, where) in zip(torch.isfinite(losses).tolist(), unseen, strict=True):
            if not finite:
                raise TrialError(f"{_not_finite(self.method, prediction)} ({where})")


@torch.no_grad()
def evaluate(method: Method, data: Batch | Rows, index: Iterable[Tensor]) -> Tensor:
    """Logits in evaluation of the rows that each batch names, one batch after the other. Raises: TrialError on wrong logits."""
    method.eval()
    method.on_evaluate()
    logits = []
    for batch in batches_of(data, index):
        prediction = method(batch)
        check_prediction(method, prediction, len(batch), "evaluation")
        logits.append(prediction.logits)
    return torch.cat(logits)


def predict(method: Method, data: Batch | Rows, batch_size: int) -> Tensor:
    """Logits (N, C) in evaluation, row by row in order, on the host. Raises: TrialError on wrong or non-finite logits."""
    logits = evaluate(method, data, row_batches(data, batch_size)).cpu()  # the one time that the host waits for all of it
    if not torch.isfinite(logits).all():
        raise TrialError(f"{_not_finite(method, Prediction(logits))} (evaluation)")
    return logits


def check_prediction(method: Method, prediction: object, rows: int, where: str) -> None:
    """What a method hands over, before anything is done with it. Raises: TrialError if it is no Prediction as documented."""
    must = f"{type(method).__name__}.forward must return"
    if not isinstance(prediction, Prediction):
        raise TrialError(f"{must} a Prediction, got {type(prediction).__name__} ({where})")
    logits, expected = prediction.logits, (rows, method.schema.outputs)
    if not isinstance(logits, Tensor):
        raise TrialError(f"{must} logits as a tensor, got {type(logits).__name__} ({where})")
    if tuple(logits.shape) != expected:
        raise TrialError(f"{must} logits (B, {OUTPUTS[method.schema.target.kind]}) = {expected}, got {tuple(logits.shape)} ({where})")
    if not logits.is_floating_point():
        raise TrialError(f"{must} logits of a floating-point type, got {logits.dtype} ({where})")
    first = next(method.parameters(), logits)
    if logits.device != first.device and logits.device not in (devices := {parameter.device for parameter in method.parameters()}):
        raise TrialError(f"{must} logits on {', '.join(map(str, devices))}, where its parameters are, got {logits.device} ({where})")
    if method.training:
        _check_penalties(prediction, must, where)


def _check_penalties(prediction: Prediction, must: str, where: str) -> None:
    """Evaluation ignores penalties, so they are looked at in training alone. Raises: TrialError."""
    penalties = prediction.penalties
    if not isinstance(penalties, Mapping):
        raise TrialError(f"{must} penalties as a mapping, name -> tensor, got {type(penalties).__name__} ({where})")
    for name, penalty in penalties.items():
        if not isinstance(name, str):
            raise TrialError(f"{must} penalties with texts for names, got {name!r} ({where})")
        if not isinstance(penalty, Tensor):
            raise TrialError(f"{must} penalty {name!r} as a tensor, got {type(penalty).__name__} ({where}); torch.tensor(...) makes one")
        if penalty.dim() or not penalty.is_floating_point():
            came = f"{penalty.dtype} of shape {tuple(penalty.shape)}"
            raise TrialError(f"{must} penalty {name!r} as one floating-point number, a tensor of shape (), got {came} ({where})")
        if penalty.device != prediction.logits.device:
            raise TrialError(f"{must} penalty {name!r} on {prediction.logits.device}, where the logits are, got {penalty.device} ({where})")
    if torch.is_grad_enabled() and not any(one.requires_grad for one in (prediction.logits, *penalties.values())):
        raise TrialError(f"{must} logits that carry gradients in training, got none: they were detached, or made under no_grad ({where})")


def _not_finite(method: Method, prediction: Prediction) -> str:
    """Why a loss or logits are not finite, as far as it can be told."""
    if not all(torch.isfinite(parameter).all() for parameter in method.parameters()):
        return "non-finite parameters: training diverged; lower the learning rate"
    if not torch.isfinite(prediction.logits).all():
        return "non-finite logits from finite parameters: the method read a cell that is not observed (it holds NaN), or overflowed"
    bad = [name for name, penalty in prediction.penalties.items() if not torch.isfinite(penalty)]
    if bad:
        return f"non-finite loss: penalty {', '.join(bad)}"
    return f"non-finite loss: {type(method).__name__}.loss" if has_own(method, "loss") else "non-finite loss"


def row_batches(
    data: Batch | Rows, batch_size: int, generator: np.random.Generator | None = None, kept: np.ndarray | None = None
) -> Iterator[Tensor]:
    """Row indices of each batch, where the data can be asked for them; shuffled if a generator is given. They are moved there at once.

    Shapes: kept (N,) bool, the rows to take.
    """
    rows = list(batch_rows(len(data), batch_size, generator, kept))
    order = torch.from_numpy(np.concatenate(rows)).to(data.observed.device if isinstance(data, Batch) else "cpu")
    yield from order.split([len(index) for index in rows])


def checked_scores(scores: np.ndarray, rows: int, target: Target) -> np.ndarray:
    """What a method that fits itself predicts, in double precision. Raises: TrialError if it is not what the kind of target asks for."""
    kind = KINDS[target.kind]
    reason = kind.wrong(scores, rows, target.outputs)
    if reason:
        raise TrialError(f"predictions must be finite {kind.called} {(rows, target.outputs)}: {reason}")
    return scores.astype(np.float64, copy=False)


def as_computed(logits: Tensor) -> np.ndarray:
    """Logits in the precision that the method computes in. Shapes: (N, C) -> (N, C) float32 or float64."""
    return in_precision((logits if logits.dtype == torch.float64 else logits.float()).cpu().numpy())


def in_precision(outputs: np.ndarray) -> np.ndarray:
    """In the precision that the method computes in, single or double: nothing that tells two rows apart is lost."""
    return np.ascontiguousarray(outputs, dtype=np.float32 if outputs.dtype in (np.float16, np.float32) else np.float64)

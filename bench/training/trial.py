"""One training and one evaluation: a trial in, a record and its test predictions out.

All methods get the same loop (`bench.training.loop`): one checkpoint chosen on validation, the test part scored once.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from bench.data.grammar import parse_rule
from bench.data.parts import Part
from bench.datasets.base import Batch, Samples, as_batch
from bench.errors import TrialError
from bench.methods.base import Ceiling, Estimator, Method
from bench.methods.tracing import MaskCount, Tracer
from bench.question.machine import Machine
from bench.question.trial import Trial
from bench.records.facts import Facts, Origin, told
from bench.records.predictions import SCORES, Predictions
from bench.records.provenance import provenance
from bench.records.reached import Reached, Report
from bench.records.record import Record
from bench.records.scoring import scored
from bench.seeds import number
from bench.stats.metrics import selection_score
from bench.training.cost import counted_flops, forward_count, latency_ms, resident_mb, stated_number, training_flops
from bench.training.devices import forked_streams, name_of, peak_bytes
from bench.training.loader import Rows, batches_of, rows_on
from bench.training.loop import (
    as_computed,
    build_method,
    check_prediction,
    checked_scores,
    device_of,
    fit_to_best,
    in_precision,
    predict,
    row_batches,
    rows_for,
)
from bench.training.opened import Opened, open_trial
from bench.training.recipe import finish, has_own, kept_rows, recipe_of
from bench.training.task import Task
from bench.training.threads import limited
from bench.training.weights import save

KEPT, NOT_KEPT = "kept", "none to keep: the method fits itself"  # what a record says of weights that were asked for


def run_trial(
    trial: Trial, machine: Machine | None = None, report: Report | None = None, traces: Path | None = None, weights: Path | None = None
) -> tuple[Record, Predictions | None]:
    """Train, choose the checkpoint, score the test part once, and once under each rule of its evaluations.

    With `traces`, what the method did is written there (see `bench.methods.tracing`): gradients in training, all else on the
    test part; with `weights`, the chosen checkpoint of one that the suite trains (see `bench.training.weights`). No number changes.
    A method that has no form for the kind of target is skipped: its record says why, and there are no predictions.
    Raises: TrialError or UsageError with a one-line reason if the trial cannot give a number.
    """
    machine = machine or Machine()
    with limited(machine.threads):
        return _run(trial, machine, report or (lambda _: None), traces, weights)


def validate_trial(trial: Trial, machine: Machine | None = None, report: Report | None = None) -> tuple[Record, None]:
    """Train and score the validation part as `run_trial` does, to the last bit, and stop there: the test part is never looked up.

    The record has no metrics. Its facts hold `valid` (larger is better), `best_epoch` and `train_gflops`, None where not counted.
    Raises: TrialError or UsageError with a one-line reason if the trial cannot give a number.
    """
    machine = machine or Machine()
    with limited(machine.threads):
        return _validate(trial, machine, report or (lambda _: None)), None


def _run(trial: Trial, machine: Machine, report: Report, traces: Path | None, weights: Path | None) -> tuple[Record, Predictions | None]:
    start, memory_before = time.perf_counter(), resident_mb()
    device, opened = device_of(machine), open_trial(trial)
    if reason := _skips(opened):
        return Record(trial, "skipped", reason, provenance=_where(machine, device)), None
    parts, test = opened.parts, opened.parts.test
    loaded = time.perf_counter()
    if issubclass(opened.cls, Estimator):
        outcome = _fit_estimator(opened, trial)
    else:
        tracer = None if traces is None else Tracer()
        outcome = _train_method(opened, trial, device, report, tracer, weights)
        if traces is not None and tracer is not None:
            tracer.save(traces)
    held = peak_bytes(device) if issubclass(opened.cls, Method) else None
    outcome.cost["peak_memory_mb"] = max(0.0, resident_mb() - memory_before) if held is None else held / 1e6
    outputs, hidden = {}, {}
    for rule in trial.evaluations:
        part = parts.under(parse_rule(rule))
        outputs[rule] = outcome.predict(part)
        hidden[rule] = {"missing": part.missing, "mask": part.mask}
    natural = parts.natural if outputs else None
    predictions = Predictions(test.samples.ids, test.samples.target, outcome.outputs, outputs, outcome.form, natural)
    of_target = told(opened.target)
    names = of_target["classes"]
    metrics, reasons, histogram = scored(predictions.target, predictions.scores, names)
    surface = {rule: {**scored(predictions.target, predictions.scores_under(rule), names)._asdict(), **hidden[rule]} for rule in outputs}
    facts = {
        "missing": parts.missing,
        "masks": {name: part.mask for name, part in parts.named().items()},
        "rows": {name: len(part) for name, part in parts.named().items()},
        "unseen": list(parts.unseen),
        "notes": list(parts.notes),
        **of_target,
        "histogram": histogram,
        "metric_reasons": reasons,
        "valid": outcome.valid,
        "best_epoch": outcome.best_epoch,
        "test_evaluations": 1,  # times that the main scores, and each of the evaluations, were taken
        "not_counted": list(outcome.not_counted),
        "recipe": recipe_of(opened.cls, opened.config, device) if issubclass(opened.cls, Method) else [],
        "own_masks": outcome.own_masks,
        "synthetic": opened.dataset.synthetic,
        "ids": "public" if opened.dataset.public_ids else "private",
        "restricted": opened.dataset.restricted,
        "config": {key: value for key, value in vars(opened.config).items() if isinstance(value, bool | int | float | str)},
        "weights": "" if weights is None else KEPT if weights.is_file() else NOT_KEPT,
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {"load": loaded - start, "total": time.perf_counter() - start},
        **({"evaluations": surface} if surface else {}),
    }
    where = _where(machine, torch.device("cpu") if issubclass(opened.cls, Estimator) else device)
    record = Record(trial, "done", None, metrics, outcome.cost, Facts.from_json(facts), where)
    return record, predictions


def _validate(trial: Trial, machine: Machine, report: Report) -> Record:
    start = time.perf_counter()
    device, opened = device_of(machine), open_trial(trial, test=False)
    parts, cls, config = opened.parts, opened.cls, opened.config
    assert not len(parts.test), "validation must not hold test rows"
    if reason := _skips(opened):
        raise TrialError(reason)
    best_epoch: int | None = None
    gflops: list[float] = []
    if issubclass(cls, Ceiling):
        raise TrialError(f"{cls.__name__} learns nothing that a validation score could choose")
    if issubclass(cls, Estimator):
        _, valid, seconds = _fitted(opened, trial)
    else:
        gflops = _epoch_gflops(opened, trial, device)
        method = build_method(cls, config, parts.train.samples, trial.seed, device)
        begin = time.perf_counter()

        def counted(reached: Reached) -> None:
            report(replace(reached, gflops=sum(gflops[: reached.epoch])))

        best_epoch, valid = fit_to_best(method, config, parts, trial, device, counted, tracer=None)
        seconds = time.perf_counter() - begin
    facts = {
        "missing": parts.missing,
        "rows": {name: len(part) for name, part in parts.named().items()},
        "valid": valid,
        "best_epoch": best_epoch,
        "train_gflops": sum(gflops) if gflops else None,
        "test_evaluations": 0,
        "seconds": {"train": seconds, "total": time.perf_counter() - start},
    }
    return Record(trial, "done", facts=Facts.from_json(facts), provenance=_where(machine, device))


def _skips(opened: Opened) -> str:
    """Why a method has no form for the kind of target; empty if it has one."""
    why = opened.cls.skips.get(opened.target.kind)
    return f"{opened.cls.__name__} has no form for a target of kind {opened.target.kind}: {why}" if why else ""


def _epoch_gflops(opened: Opened, trial: Trial, device: torch.device) -> list[float]:
    """GFLOPs of training in each epoch: a step on one batch, counted in each phase of the training, times the rows of the epoch.

    A loss or a choice of rows of its own may make any epoch another phase. What a method does after training counts to its last epoch.
    A twin of the method is counted, so that no random stream of the training moves.
    """
    cls, config, train = opened.cls, opened.config, opened.parts.train.samples
    is_steady = not any(has_own(cls, hook) for hook in ("loss", "rows"))
    phases: dict[object, float] = {}
    gflops = []
    with forked_streams(device):
        twin = build_method(cls, config, train, trial.seed, device)
        for epoch in range(config.epochs):
            twin.on_epoch(epoch, config.epochs)
            rows = np.flatnonzero(kept_rows(twin, train.observed, epoch))
            phase = twin.is_selectable if is_steady else epoch  # a warm-up does less
            if phase not in phases:
                batch = as_batch(train.rows(rows[: config.batch_size]), device)
                flops = training_flops(twin, batch, lambda found: check_prediction(twin, found, len(batch), "counting"))  # noqa: B023
                phases[phase] = flops / len(batch) / 1e9
            gflops.append(phases[phase] * len(rows))
        if has_own(cls, "after_training"):
            gflops[-1] += counted_flops(lambda: finish(twin, train, trial.seed)) / 1e9
    return gflops


@dataclass
class _Outcome:
    outputs: np.ndarray  # (N, C) of the test part
    form: str  # logits or scores: what the outputs are
    predict: Callable[[Part], np.ndarray]  # outputs of the same model on the test part under another rule, (N, C)
    cost: dict[str, float | None]
    valid: float  # selection metric of the chosen checkpoint
    best_epoch: int | None = None
    not_counted: tuple[str, ...] = ()  # operations that the cost may lack
    own_masks: Mapping[str, object] = field(default_factory=dict)  # what its own modality dropout did in training


def _fit_estimator(opened: Opened, trial: Trial) -> _Outcome:
    """Fit a method that fits itself. A ceiling learns nothing."""
    cls, parts = opened.cls, opened.parts
    if issubclass(cls, Ceiling):
        estimator: Estimator = cls(rows_for(cls, parts.test).schema, opened.config, opened.dataset.posterior)
        valid, seconds = math.nan, 0.0
    else:
        estimator, valid, seconds = _fitted(opened, trial)

    def probabilities(part: Part) -> np.ndarray:
        found = estimator.outputs(rows_for(cls, part).untold())
        checked_scores(found, len(part), opened.target)
        return in_precision(found)

    outputs, test = probabilities(parts.test), rows_for(cls, parts.test).untold()
    flops = stated_number(f"{cls.__name__}.flops_per_sample", estimator.flops_per_sample())
    parameters = stated_number(f"{cls.__name__}.parameters", estimator.parameters(), whole=True)
    cost = {
        "gflops_per_sample": None if flops is None else flops / 1e9,
        "parameters": parameters,
        "active_parameters": parameters,
        "latency_ms_1": _estimator_latency(estimator, test, 1),
        "latency_ms_64": _estimator_latency(estimator, test, 64),
        "train_seconds": seconds,
    }
    return _Outcome(outputs, SCORES, probabilities, cost, valid)


def _fitted(opened: Opened, trial: Trial) -> tuple[Estimator, float, float]:
    """A method that fits itself, fitted, with its validation score and the seconds it took."""
    train, valid = opened.parts.train.samples, opened.parts.valid.samples
    begin = time.perf_counter()
    estimator = opened.cls(train.schema, opened.config, number(trial.seed, "init") % 2**32)
    estimator.selection = trial.selection
    estimator.fit(train, valid)
    scores = checked_scores(estimator.outputs(valid.untold()), len(valid), opened.target)
    return estimator, selection_score(trial.selection, valid.target, scores)[0], time.perf_counter() - begin


def _estimator_latency(estimator: Estimator, samples: Samples, rows: int) -> float:
    part, times = samples.rows(np.arange(min(rows, len(samples)))), []
    for _ in range(4):
        begin = time.perf_counter()
        estimator.outputs(part)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times[1:]))


def _train_method(
    opened: Opened, trial: Trial, device: torch.device, report: Report, tracer: Tracer | None, weights: Path | None
) -> _Outcome:
    config, parts = opened.config, opened.parts
    method = build_method(opened.cls, config, parts.train.samples, trial.seed, device)
    method.masks = masks = MaskCount()
    begin = time.perf_counter()
    best_epoch, valid = fit_to_best(method, config, parts, trial, device, report, tracer)
    seconds = time.perf_counter() - begin
    method.masks = None
    if weights is not None:
        save(method, trial, best_epoch, weights)
    test = rows_on(parts.test.samples, device, is_labelled=False)
    state = method.generator.get_state()

    task = Task.of(parts.train.samples)

    def outputs_of(data: Batch | Rows) -> np.ndarray:
        return task.stored(as_computed(predict(method, data, config.batch_size)))

    method.tracer = tracer
    outputs = outputs_of(test)
    method.tracer = None

    def again(part: Part) -> np.ndarray:
        method.generator.set_state(state)  # what an evaluation draws does not depend on what was scored before it
        return outputs_of(rows_on(part.samples, device, is_labelled=False))

    count = forward_count(method, batches_of(test, row_batches(test, config.batch_size)))
    few = test.rows(torch.arange(min(len(test), 64), device=device))
    cost: dict[str, float | None] = {
        "gflops_per_sample": count.flops / len(test) / 1e9,
        "parameters": sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad),
        "active_parameters": stated_number(f"{opened.cls.__name__}.active_parameters", method.active_parameters(), whole=True),
        "latency_ms_1": latency_ms(method, [few.rows(rows) for rows in torch.arange(min(len(few), 16), device=device).split(1)]),
        "latency_ms_64": latency_ms(method, [few]),
        "train_seconds": seconds,
    }
    return _Outcome(outputs, task.form, again, cost, valid, best_epoch, tuple(sorted(count.not_counted)), masks.shares(trial.combination))


def _where(machine: Machine, device: torch.device) -> Origin:
    """Where a trial ran. A GPU goes by the id that CUDA was told, if that is no place in a list: a MIG instance has its own."""
    where = replace(provenance(), device=device.type, threads=machine.threads, torch_device=name_of(device))
    if device.type != "cuda":
        return where
    told, properties = os.environ.get("CUDA_VISIBLE_DEVICES", ""), torch.cuda.get_device_properties(device)
    gpu = told if told.startswith(("GPU-", "MIG-")) and "," not in told else f"GPU-{getattr(properties, 'uuid', told)}"
    return replace(where, gpu=gpu, per_gpu=machine.per_gpu)

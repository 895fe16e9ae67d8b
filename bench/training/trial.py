"""One training and one evaluation: a trial in, a record and its test predictions out.

All methods get the same loop (`bench.training.loop`): one checkpoint chosen on validation, the test part scored once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import registry
from bench.data.grammar import parse_protocol, parse_rule
from bench.data.loading import load
from bench.data.parts import Evaluation, Parts, build_parts
from bench.datasets.base import Dataset, Samples, as_batch
from bench.errors import TrialError
from bench.methods.base import Ceiling, Estimator, Method, MethodConfig
from bench.methods.tracing import Tracer
from bench.names import Choice
from bench.question.machine import Machine
from bench.question.trial import Trial
from bench.records.predictions import Predictions
from bench.records.provenance import provenance
from bench.records.reached import Reached, Report
from bench.records.record import Record
from bench.seeds import number
from bench.stats.metrics import score, selection_score
from bench.training.cost import forward_count, latency_ms, resident_mb, training_flops
from bench.training.loop import (
    _check,
    _checked_scores,
    _eval_batch,
    _fit,
    _rows,
    build_method,
    predict,
    resolve_device,
    without_labels,
)
from bench.training.threads import limited


def run_trial(
    trial: Trial, machine: Machine | None = None, report: Report | None = None, traces: Path | None = None
) -> tuple[Record, Predictions]:
    """Train, choose the checkpoint, score the test part once, and once under each further rule of the trial.

    With `traces`, what the method did is written there (see `bench.methods.tracing`): gradients in training, all else on the
    test part; no number changes.
    Raises: TrialError or UsageError with a one-line reason if the trial cannot give a number.
    """
    machine = machine or Machine()
    with limited(machine.threads):
        return _run(trial, resolve_device(machine.device), machine.threads, report or (lambda _: None), traces)


def validate_trial(trial: Trial, machine: Machine | None = None, report: Report | None = None) -> tuple[Record, None]:
    """Train and score the validation part as `run_trial` does, to the last bit, and stop there: the test part is never looked up.

    The record has no metrics. Its facts hold `valid` (larger is better), `best_epoch` and `train_gflops`, None where not counted.
    Raises: TrialError or UsageError with a one-line reason if the trial cannot give a number.
    """
    machine = machine or Machine()
    with limited(machine.threads):
        return _validate(trial, resolve_device(machine.device), machine.threads, report or (lambda _: None)), None


def _run(trial: Trial, device: torch.device, threads: int, report: Report, traces: Path | None) -> tuple[Record, Predictions]:
    start, memory_before = time.perf_counter(), resident_mb()
    dataset, samples, parts, cls, config = _opened(trial)
    loaded = time.perf_counter()
    if issubclass(cls, Estimator):
        outcome = _fit_estimator(cls, config, dataset, parts, trial)
    else:
        tracer = None if traces is None else Tracer()
        outcome = _train_method(cls, config, parts, trial, device, report, tracer)
        if traces is not None and tracer is not None:
            tracer.save(traces)
    if device.type == "cuda" and issubclass(cls, Method):
        outcome.cost["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    else:
        outcome.cost["peak_memory_mb"] = max(0.0, resident_mb() - memory_before)
    scores = _checked_scores(outcome.scores, len(parts.test), len(samples.schema.classes))
    metrics, reasons = score(parts.test.target, scores)
    surface, further = {}, {}
    for rule in trial.evaluations:
        evaluation = parts.test_under(parse_rule(rule))
        found = _checked_scores(outcome.predict(evaluation), *scores.shape)
        surface[rule] = _evaluation_facts(evaluation, found)
        further[rule] = found.astype(np.float32)
    facts = {
        "missing": dict(parts.missing),
        "masks": dict(parts.masks),
        "rows": {part: len(parts.part(part)) for part in ("train", "valid", "test")},
        "unseen": list(parts.unseen),
        "classes": list(samples.schema.classes),
        "histogram": _histogram(scores),
        "metric_reasons": reasons,
        "valid": outcome.valid,
        "best_epoch": outcome.best_epoch,
        "test_evaluations": 1,  # times that the main scores, and each of the evaluations, were taken
        "not_counted": list(outcome.not_counted),
        "synthetic": dataset.synthetic,
        "config": {key: value for key, value in vars(config).items() if isinstance(value, bool | int | float | str)},
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {"load": loaded - start, "total": time.perf_counter() - start},
        **({"evaluations": surface} if surface else {}),
    }
    where = {**provenance(), "device": device.type, "threads": threads, "torch_device": _device_name(device)}
    record = Record(trial, "done", None, metrics, outcome.cost, facts, where)
    return record, Predictions(parts.test.ids, parts.test.target, scores.astype(np.float32), further)


def _evaluation_facts(evaluation: Evaluation, scores: np.ndarray) -> dict[str, object]:
    metrics, reasons = score(evaluation.samples.target, scores)
    return {
        "metrics": metrics,
        "metric_reasons": reasons,
        "missing": evaluation.missing,
        "mask": evaluation.mask,
        "histogram": _histogram(scores),
    }


def _histogram(scores: np.ndarray) -> list[int]:
    """How often each class is the predicted one."""
    return np.bincount(scores.argmax(1), minlength=scores.shape[1]).tolist()


def _opened(trial: Trial, test: bool = True) -> tuple[Dataset, Samples, Parts, type[Any], Any]:
    """What a trial works with: dataset, samples, parts (the test part empty unless asked for), method class, its config."""
    dataset, samples = load(Choice(trial.dataset, "", trial.dataset_options))
    protocol = parse_protocol(trial.protocol)
    parts = build_parts(dataset, samples, trial.combination, protocol, trial.seed, trial.fixed_seed, trial.vary, test)
    cls = registry.method_class(trial.method)
    return dataset, samples, parts, cls, registry.config_of(cls, Choice(trial.method, trial.preset, trial.options), trial.training)


def _validate(trial: Trial, device: torch.device, threads: int, report: Report) -> Record:
    start = time.perf_counter()
    _, _, parts, cls, config = _opened(trial, test=False)
    assert not len(parts.test), "validation must not hold test rows"
    assert not len(parts.raw_test), "validation must not hold test rows"
    best_epoch: int | None = None
    gflops: list[float] = []
    if issubclass(cls, Ceiling):
        raise TrialError(f"{cls.__name__} learns nothing that a validation score could choose")
    if issubclass(cls, Estimator):
        _, valid, seconds = _fitted(cls, config, parts, trial)
    else:
        gflops = _epoch_gflops(cls, config, parts, trial, device)
        method = build_method(cls, config, parts.train, trial.seed, device)
        begin = time.perf_counter()

        def counted(reached: Reached) -> None:
            report(replace(reached, gflops=sum(gflops[: reached.epoch])))

        best_epoch, valid = _fit(method, config, parts, trial, device, counted, tracer=None)
        seconds = time.perf_counter() - begin
    facts = {
        "missing": dict(parts.missing),
        "rows": {part: len(parts.part(part)) for part in ("train", "valid", "test")},
        "valid": valid,
        "best_epoch": best_epoch,
        "train_gflops": sum(gflops) if gflops else None,
        "test_evaluations": 0,
        "seconds": {"train": seconds, "total": time.perf_counter() - start},
    }
    return Record(trial, "done", facts=facts, provenance={**provenance(), "device": device.type, "threads": threads})


def _epoch_gflops(cls: type[Method], config: MethodConfig, parts: Parts, trial: Trial, device: torch.device) -> list[float]:
    """GFLOPs of training in each epoch: a step on one batch, counted in each phase of the training, times the rows.

    A twin of the method is counted, so that no random stream of the training moves.
    """
    phases: dict[bool, float] = {}
    gflops = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        twin = build_method(cls, config, parts.train, trial.seed, device)
        batch = as_batch(parts.train, device).rows(torch.arange(min(config.batch_size, len(parts.train)), device=device))
        for epoch in range(config.epochs):
            twin.on_epoch(epoch, config.epochs)
            if twin.is_selectable not in phases:  # a warm-up does less
                flops = training_flops(twin, batch, lambda found: _check(twin, found, len(batch), "counting"))
                phases[twin.is_selectable] = flops / len(batch) * len(parts.train) / 1e9
            gflops.append(phases[twin.is_selectable])
    return gflops


@dataclass
class _Outcome:
    scores: np.ndarray  # (N, C) test probabilities
    predict: Callable[[Evaluation], np.ndarray]  # the same model under another rule, (N, C)
    cost: dict[str, float | None]
    valid: float  # selection metric of the chosen checkpoint
    best_epoch: int | None = None
    not_counted: tuple[str, ...] = ()  # operations that the cost may lack


def _fit_estimator(cls: type[Estimator], config: Any, dataset: Dataset, parts: Parts, trial: Trial) -> _Outcome:
    """Fit a method that fits itself. A ceiling learns nothing; it gets unscaled test rows, for its posterior is stated in their units."""
    if issubclass(cls, Ceiling):
        estimator: Estimator = cls(parts.train.schema, config, dataset.posterior)
        test, valid, seconds = without_labels(parts.raw_test), math.nan, 0.0
    else:
        test = without_labels(parts.test)
        estimator, valid, seconds = _fitted(cls, config, parts, trial)
    scores = estimator.predict_proba(test)
    flops, parameters = estimator.flops_per_sample(), estimator.parameters()
    cost = {
        "gflops_per_sample": None if flops is None else flops / 1e9,
        "parameters": parameters,
        "active_parameters": parameters,
        "latency_ms_1": _estimator_latency(estimator, test, 1),
        "latency_ms_64": _estimator_latency(estimator, test, 64),
        "train_seconds": seconds,
    }

    def again(further: Evaluation) -> np.ndarray:
        return estimator.predict_proba(without_labels(further.raw if isinstance(estimator, Ceiling) else further.samples))

    return _Outcome(scores, again, cost, valid)


def _fitted(cls: type[Estimator], config: Any, parts: Parts, trial: Trial) -> tuple[Estimator, float, float]:
    """A method that fits itself, fitted, with its validation score and the seconds it took."""
    begin = time.perf_counter()
    estimator = cls(parts.train.schema, config, number(trial.seed, "init") % 2**32)
    estimator.fit(parts.train, parts.valid)
    scores = _checked_scores(estimator.predict_proba(without_labels(parts.valid)), len(parts.valid), len(parts.train.schema.classes))
    return estimator, selection_score(trial.selection, parts.valid.target, scores)[0], time.perf_counter() - begin


def _estimator_latency(estimator: Estimator, samples: Samples, rows: int) -> float:
    part, times = samples.rows(np.arange(min(rows, len(samples)))), []
    for _ in range(4):
        begin = time.perf_counter()
        estimator.predict_proba(part)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times[1:]))


def _train_method(
    cls: type[Method], config: MethodConfig, parts: Parts, trial: Trial, device: torch.device, report: Report, tracer: Tracer | None
) -> _Outcome:
    method = build_method(cls, config, parts.train, trial.seed, device)
    begin = time.perf_counter()
    best_epoch, valid = _fit(method, config, parts, trial, device, report, tracer)
    seconds = time.perf_counter() - begin
    test = _eval_batch(parts.test, device)
    state = method.generator.get_state()
    method.tracer = tracer
    scores = predict(method, test, config.batch_size)
    method.tracer = None

    def again(further: Evaluation) -> np.ndarray:
        method.generator.set_state(state)  # what an evaluation draws does not depend on what was scored before it
        return predict(method, _eval_batch(further.samples, device), config.batch_size)

    batches = [test.rows(rows) for rows in _rows(len(test), config.batch_size, device)]
    count = forward_count(method, batches)
    cost: dict[str, float | None] = {
        "gflops_per_sample": count.flops / len(test) / 1e9,
        "parameters": sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad),
        "active_parameters": method.active_parameters(),
        "latency_ms_1": latency_ms(method, [test.rows(rows) for rows in _rows(min(len(test), 16), 1, device)]),
        "latency_ms_64": latency_ms(method, [test.rows(torch.arange(min(len(test), 64), device=device))]),
        "train_seconds": seconds,
    }
    return _Outcome(scores, again, cost, valid, best_epoch, tuple(sorted(count.not_counted)))


def _device_name(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None

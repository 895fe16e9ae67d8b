"""One training and one evaluation: a trial in, a record and its test predictions out.

All methods get this same loop: cross entropy plus their penalties, Adam, one checkpoint chosen on validation, the test part
scored once. Sealed batches make a leak loud: a hidden value that is read turns the logits into NaN and the trial fails.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import registry
from bench.cost import forward_count, latency_ms, resident_mb, training_flops
from bench.datasets.base import Batch, Dataset, Samples, as_batch
from bench.loader import Evaluation, Parts, batch_rows, build_parts, load
from bench.methods.base import Ceiling, Estimator, Method, MethodConfig, Prediction
from bench.methods.recording import Recorder
from bench.metrics import score, selection_score
from bench.protocol import parse_protocol, parse_rule
from bench.provenance import provenance
from bench.seeds import number, stream
from bench.spec import Choice, Record, Trial
from bench.threads import limited

Report = Callable[[int, int, float], None]  # epochs done, epochs in all, best validation score so far
CostReport = Callable[[int, int, float, float, float], None]  # a report with the GFLOPs and seconds of training so far


class TrialError(RuntimeError):
    """A trial that cannot give a number; the message becomes the record's reason."""


@dataclass(frozen=True)
class Predictions:
    """Test predictions of one trial. Shapes: ids (N,), target (N,) int64, scores (N, C) float32, rows summing to 1.

    `evaluations` holds the scores (N, C) of the same rows under each further rule.
    """

    ids: np.ndarray
    target: np.ndarray
    scores: np.ndarray
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)


def run_trial(
    trial: Trial, device: str = "auto", threads: int = 1, report: Report | None = None, records: Path | None = None
) -> tuple[Record, Predictions]:
    """Train, choose the checkpoint, score the test part once, and once under each further rule of the trial.

    With `records`, what the method did is written there (see `bench.methods.recording`): gradients in training, all else on the
    test part; no number changes.
    Raises: TrialError or UsageError with a one-line reason if the trial cannot give a number.
    """
    with limited(threads):
        return _run(trial, resolve_device(device), threads, report or (lambda *_: None), records)


def validate_trial(trial: Trial, device: str = "auto", threads: int = 1, report: CostReport | None = None) -> tuple[Record, None]:
    """Train and score the validation part as `run_trial` does, to the last bit, and stop there: the test part is never looked up.

    The record has no metrics. Its facts hold `valid` (larger is better), `best_epoch` and `train_gflops`, None where not counted.
    Raises: TrialError or UsageError with a one-line reason if the trial cannot give a number.
    """
    with limited(threads):
        return _validate(trial, resolve_device(device), threads, report or (lambda *_: None)), None


def resolve_device(device: str) -> torch.device:
    """`auto` is the first GPU where there is one. Raises: TrialError if a GPU is asked for and none is there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise TrialError(f"device {device} was asked for, but torch {torch.__version__} sees no GPU; use --device cpu or auto")
    return torch.device(device)


def _run(trial: Trial, device: torch.device, threads: int, report: Report, records: Path | None) -> tuple[Record, Predictions]:
    start, memory_before = time.perf_counter(), resident_mb()
    dataset, samples, parts, cls, config = _opened(trial)
    loaded = time.perf_counter()
    if issubclass(cls, Estimator):
        outcome = _fit_estimator(cls, config, dataset, parts, trial)
    else:
        recorder = None if records is None else Recorder()
        outcome = _train_method(cls, config, parts, trial, device, report, recorder)
        if records is not None and recorder is not None:
            recorder.save(records)
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


def _validate(trial: Trial, device: torch.device, threads: int, report: CostReport) -> Record:
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

        def told(epoch: int, epochs: int, best: float) -> None:
            report(epoch, epochs, best, sum(gflops[:epoch]), time.perf_counter() - begin)

        best_epoch, valid = _fit(method, config, parts, trial, device, told, recorder=None)
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


def without_labels(samples: Samples) -> Samples:
    """The same rows, all of class 0: no label can reach a prediction of a method that fits itself."""
    return replace(samples, target=np.zeros_like(samples.target))


def build_method(cls: type[Method], config: MethodConfig, train: Samples, seed: int, device: torch.device) -> Method:
    """A method ready for its first epoch, every random stream started from the trial's seed."""
    torch.manual_seed(number(seed, "init"))
    method = cls(train.schema, config).to(device)
    method.seed(number(seed, "noise"))
    torch.manual_seed(number(seed, "noise", "dropout"))
    method.prepare(train)
    return method


def _train_method(
    cls: type[Method], config: MethodConfig, parts: Parts, trial: Trial, device: torch.device, report: Report, recorder: Recorder | None
) -> _Outcome:
    method = build_method(cls, config, parts.train, trial.seed, device)
    begin = time.perf_counter()
    best_epoch, valid = _fit(method, config, parts, trial, device, report, recorder)
    seconds = time.perf_counter() - begin
    test = _eval_batch(parts.test, device)
    state = method.generator.get_state()
    method.recorder = recorder
    scores = predict(method, test, config.batch_size)
    method.recorder = None

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


def _fit(
    method: Method, config: MethodConfig, parts: Parts, trial: Trial, device: torch.device, report: Report, recorder: Recorder | None
) -> tuple[int, float]:
    """Train for all epochs and load the best checkpoint. Returns its epoch (from 1) and its validation metric."""
    train, valid = as_batch(parts.train, device), _eval_batch(parts.valid, device)
    order = stream(trial.seed, "order")
    adam = optimiser_of(method, config)
    best: tuple[float, float] | None = None
    best_epoch, state = 0, {}
    for epoch in range(config.epochs):
        for group in adam.param_groups:
            group["lr"] = config.learning_rate * schedule_factor(config.schedule, epoch, config.epochs)
        method.train()
        method.on_epoch(epoch, config.epochs)
        if recorder is not None:
            method.recorder, recorder.epoch = recorder, epoch + 1
        for step, rows in enumerate(_rows(len(train), config.batch_size, device, order)):
            training_step(method, adam, train.rows(rows), config.clip_norm, f"epoch {epoch + 1}, batch {step + 1}")
        method.recorder = None
        if method.is_selectable:
            scores = predict(method, valid, config.batch_size)
            candidate = selection_score(trial.selection, parts.valid.target, scores)
            if best is None or candidate > best:
                best, best_epoch = candidate, epoch + 1
                state = {key: tensor.detach().clone() for key, tensor in method.state_dict().items()}
        report(epoch + 1, config.epochs, math.nan if best is None else best[0])
    if best is None:
        raise TrialError(f"no epoch of {config.epochs} gave a state that may be chosen: the warm-up covers them all; train for more epochs")
    method.load_state_dict(state)
    return best_epoch, best[0]


def optimiser_of(method: Method, config: MethodConfig) -> torch.optim.Adam:
    """Adam over what the method trains. Raises: TrialError if that is nothing."""
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrialError(f"{type(method).__name__} has no trainable parameter; derive it from Estimator if it fits itself")
    return torch.optim.Adam(
        parameters, config.learning_rate, weight_decay=config.weight_decay, amsgrad=config.amsgrad, fused=True
    )  # fmt: skip


def training_step(method: Method, adam: torch.optim.Adam, batch: Batch, clip_norm: float, where: str) -> Tensor:
    """One optimiser step; returns its loss. Raises: TrialError on wrong logits or a loss that is not finite."""
    prediction = method(batch)
    _check(method, prediction, len(batch), where)
    loss = F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())
    if not torch.isfinite(loss):
        raise TrialError(f"{_not_finite(method, prediction)} ({where})")
    adam.zero_grad(set_to_none=True)
    loss.backward()
    if clip_norm:
        nn.utils.clip_grad_norm_(method.parameters(), clip_norm)
    adam.step()
    return loss.detach()


def schedule_factor(schedule: str, epoch: int, epochs: int) -> float:
    """What the learning rate is multiplied by in an epoch, counted from 0."""
    if schedule == "poly":
        return (1 - epoch / epochs) ** 0.9
    return 0.9 ** (epoch // 20) if schedule == "step" else 1.0


@torch.no_grad()
def evaluate(method: Method, batch: Batch, batches: Iterable[Tensor]) -> Tensor:
    """Logits in evaluation of the rows that each batch names, one batch after the other. Raises: TrialError on wrong logits."""
    method.eval()
    method.on_evaluate()
    logits = []
    for rows in batches:
        prediction = method(batch.rows(rows))
        _check(method, prediction, len(rows), "evaluation")
        logits.append(prediction.logits)
    return torch.cat(logits)


def predict(method: Method, batch: Batch, batch_size: int) -> np.ndarray:
    """Class probabilities (N, C) in evaluation, row by row in order. Raises: TrialError on wrong or non-finite logits."""
    logits = evaluate(method, batch, _rows(len(batch), batch_size, batch.observed.device))
    if not torch.isfinite(logits).all():
        raise TrialError(f"{_not_finite(method, Prediction(logits))} (evaluation)")
    return logits.double().softmax(1).cpu().numpy()


def _check(method: Method, prediction: object, rows: int, where: str) -> None:
    if not isinstance(prediction, Prediction):
        raise TrialError(f"{type(method).__name__}.forward must return a Prediction, got {type(prediction).__name__} ({where})")
    expected = (rows, len(method.schema.classes))
    if tuple(prediction.logits.shape) != expected:
        raise TrialError(
            f"{type(method).__name__}.forward must return logits (B, C) = {expected}, got {tuple(prediction.logits.shape)} ({where})"
        )


def _not_finite(method: Method, prediction: Prediction) -> str:
    """Why a loss or logits are not finite, as far as it can be told."""
    if not all(torch.isfinite(parameter).all() for parameter in method.parameters()):
        return "non-finite parameters: training diverged; lower the learning rate"
    if not torch.isfinite(prediction.logits).all():
        return "non-finite logits from finite parameters: the method read a cell that is not observed (it holds NaN), or overflowed"
    bad = [name for name, penalty in prediction.penalties.items() if not torch.isfinite(penalty)]
    return f"non-finite loss: penalty {', '.join(bad)}" if bad else "non-finite loss"


def _rows(rows: int, batch_size: int, device: torch.device, generator: np.random.Generator | None = None) -> Iterator[Tensor]:
    for index in batch_rows(rows, batch_size, generator):
        yield torch.from_numpy(index).to(device)


def _eval_batch(samples: Samples, device: torch.device) -> Batch:
    """All rows as one batch without labels: no label can reach a prediction."""
    batch = as_batch(samples, device)
    return replace(batch, target=torch.full_like(batch.target, -1))


def _checked_scores(scores: np.ndarray, rows: int, classes: int) -> np.ndarray:
    if scores.shape != (rows, classes) or not np.isfinite(scores).all():
        raise TrialError(f"predictions must be finite probabilities {(rows, classes)}, got shape {scores.shape}")
    if not np.allclose(scores.sum(1), 1, atol=1e-5):
        raise TrialError(f"each row of class probabilities must sum to 1, got sums {scores.sum(1).min():.4f} to {scores.sum(1).max():.4f}")
    return scores


def _device_name(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None

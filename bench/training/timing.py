"""How long a trial would take here: a few optimiser steps and one evaluation are timed; epochs, rows and batches make a trial of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from bench.data.parts import Parts
from bench.methods.base import Ceiling, Estimator, MethodConfig
from bench.question.trial import Trial
from bench.seeds import stream
from bench.training.cost import training_flops
from bench.training.devices import synchronise
from bench.training.loader import rows_on
from bench.training.loop import Steps, build_method, evaluate, resolve_device, row_batches
from bench.training.threads import limited
from bench.training.trial import open_trial

STEPS, SECONDS = 4, 0.3  # timed optimiser steps of a method, and when to stop earlier
ROWS = 512  # training rows on which a method that fits itself is timed; its time is taken to grow with the rows
START = 0.5  # seconds of a trial outside training: its process, its masks, the measuring of its cost


@dataclass(frozen=True)
class Span:
    """Seconds: the likely number, and the range of what it was made from."""

    seconds: float
    low: float
    high: float


def timed(trial: Trial, device: str = "auto", threads: int = 1) -> tuple[Span, float | None]:
    """Time of a trial from a few steps of it, and their counted training GFLOPs a second, None for a method that fits itself."""
    with limited(threads):
        opened = open_trial(trial)
        cls, config, parts = opened.cls, opened.config, opened.parts
        if issubclass(cls, Ceiling):
            return Span(START, START, START), None
        if issubclass(cls, Estimator):
            return _timed_estimator(cls, config, parts), None
        return _timed_method(cls, config, parts, trial, resolve_device(device))


def _timed_estimator(cls: type[Estimator], config: Any, parts: Parts) -> Span:
    train = parts.train.samples
    rows = stream(0, "order").permutation(len(train))[:ROWS]
    begin = time.perf_counter()
    estimator = cls(train.schema, config, 0)
    estimator.fit(train.rows(np.sort(rows)), parts.valid.samples)
    seconds = time.perf_counter() - begin
    whole = seconds * len(train) / len(rows)
    return Span(whole + START, seconds + START, whole + START)


def _timed_method(cls: Any, config: MethodConfig, parts: Parts, trial: Trial, device: torch.device) -> tuple[Span, float]:
    method = build_method(cls, config, parts.train.samples, trial.seed, device)
    train = rows_on(parts.train.samples, device)
    first = islice(row_batches(train, config.batch_size, stream(0, "order")), STEPS + 1)
    batches = [train.rows(rows) for rows in first]
    method.train()
    method.on_epoch(config.epochs - 1, config.epochs)  # past every warm-up, as most epochs are
    taken, steps = Steps(method, config), list[float]()
    while len(steps) < STEPS + 1 and (len(steps) < 2 or sum(steps[1:]) < SECONDS):  # the first one warms up
        steps.append(_seconds(lambda: taken.take(batches[len(steps) % len(batches)], "timing"), device))
    taken.check()
    valid = rows_on(parts.valid.samples, device)
    rows = list(row_batches(valid, config.batch_size))
    scoring = _seconds(lambda: evaluate(method, valid, rows), device)
    speed = training_flops(method, batches[0]) / 1e9 / float(np.median(steps[1:]))
    per_epoch = math.ceil(len(train) / config.batch_size)
    evaluations = config.epochs + 5 * len(parts.test) / len(parts.valid)  # the test part is scored, and passed again to count its cost
    likely, low, high = (
        config.epochs * per_epoch * step + evaluations * scoring + START
        for step in (float(np.median(steps[1:])), min(steps[1:]), max(steps[1:]))
    )
    return Span(likely, low, high), speed


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begin

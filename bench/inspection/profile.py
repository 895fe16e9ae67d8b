"""`bench profile`: what methods cost on a dataset, by component and by which modalities a sample observes. Nothing is trained.

A method is built as a trial builds it and measured as in its last epoch, but with its first parameters: operations, parameters and
memory do not depend on what was learned. A method that fits itself is fitted.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import combinations as subsets
from typing import Any

import numpy as np
import torch

from bench import registry
from bench.data.parts import Part
from bench.data.protocol import Rule
from bench.datasets.base import Batch, Samples, Schema, as_batch
from bench.errors import TrialError, UsageError
from bench.methods.base import Ceiling, Estimator, Method
from bench.names import Choice
from bench.question.assemble import Names, assemble
from bench.question.plan import plan
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.seeds import number
from bench.training.cost import (
    OTHER,
    TensorMemory,
    forward_count,
    latency_ms,
    parameters_by_component,
    stated_number,
    training_flops,
)
from bench.training.devices import forked_streams, peak_bytes, restart_peak
from bench.training.launches import step_count
from bench.training.loader import batches_of, rows_on, unlabelled
from bench.training.loop import build_method, resolve_device, row_batches, rows_for
from bench.training.threads import limited
from bench.training.trial import Opened, open_trial

LATENCY_ROWS = (1, 8, 64)
ROWS = 64  # test rows that stand for an observed combination
EVERY_SUBSET = 5  # up to so many modalities, every combination is measured
COSTS = (
    "gflops_per_sample", "training_gflops_per_sample", "parameters", "active_parameters", *(f"latency_ms_{rows}" for rows in LATENCY_ROWS),
    "peak_memory_mb", "launches", "synchronisations",
)  # fmt: skip


@dataclass(frozen=True)
class Component:
    """Share of one submodule in a method's cost; `other` is what stands outside any."""

    component: str
    gflops_per_sample: float
    parameters: int
    active_parameters: int


@dataclass(frozen=True)
class Observed:
    """Cost of 64 samples that observe exactly one combination: time and memory in one batch, operations in batches as in training."""

    combination: str
    gflops_per_sample: float | None
    ms_per_sample: float
    peak_memory_mb: float
    components: Mapping[str, float] = field(default_factory=dict)  # component -> GFLOPs a sample


@dataclass(frozen=True)
class Profile:
    """Cost of one method on one dataset. `cost` and `components` are means over the test part as the protocol leaves it."""

    trial: Trial  # names method, dataset and protocol; its seed drew masks and parameters
    device: str
    threads: int
    cost: Mapping[str, float | None] = field(default_factory=dict)
    components: Sequence[Component] = ()
    observed: Sequence[Observed] = ()
    not_counted: Sequence[str] = ()  # operations that may matter and that no formula counts
    waits: Mapping[str, int] = field(default_factory=dict)  # file:function: call -> synchronisations of a training step that stand there
    reason: str | None = None  # why there are no numbers

    def row(self) -> dict[str, object]:
        """The profile in the documented JSON shape."""
        about = self.trial
        return {
            "method": str(Choice(about.method, "", about.options)),
            "preset": about.preset,
            "dataset": about.dataset_label,
            "combination": about.combination,
            "protocol": about.protocol,
            "seed": about.seed,
            "device": self.device,
            "threads": self.threads,
            "reason": self.reason,
            "cost": dict(self.cost),
            "components": [dict(vars(part)) for part in self.components],
            "observed": [dict(vars(part)) for part in self.observed],
            "not_counted": list(self.not_counted),
            "waits": dict(self.waits),
        }


def trials_of(
    methods: Names,
    dataset: str = "digits",
    *,
    combination: str = "all",
    protocol: str | None = None,
    noise: float | None = None,
    seed: int = 0,
    training: object = None,
    device: str | None = None,
    threads: int | None = None,
) -> list[Trial]:
    """One trial a method, at its published settings but for `training`; none of them is run. Raises: UsageError."""
    options = {
        "methods": methods,
        "datasets": dataset,
        "combinations": combination,
        "protocols": protocol or ("natural" if noise is None else "mcar"),
        "noise": noise,
        "seeds": seed,
        "training": training,
        "device": device,
        "threads": threads,
    }
    suite = assemble(Suite("profile", (Settings(("digits",)),)), options, splits=False, said=frozenset())
    names = {choice.name for choice in registry.expand_methods(suite.methods)}
    trials = [trial for trial in plan(suite) if trial.method in names]  # a dataset's ceiling joins a plan by itself
    settings = {trial.setting for trial in trials}
    if len(settings) > 1:
        raise UsageError(f"a profile takes one dataset, combination and protocol, got {len(settings)} settings; name one of each")
    return trials


def profiles(
    trials: Iterable[Trial], device: str = "auto", threads: int = 1, depth: int = 1, begin: Callable[[Trial], object] | None = None
) -> Iterator[Profile]:
    """The profile of each trial's method, one after the other; a method that fails gives its reason. Raises: UsageError."""
    try:
        place = resolve_device(device)
    except TrialError as error:
        raise UsageError(str(error)) from None
    for trial in trials:
        if begin is not None:
            begin(trial)
        with limited(threads), forked_streams(place):
            found = _profile_or_reason(trial, place, threads, depth)
        yield found


def _profile_or_reason(trial: Trial, device: torch.device, threads: int, depth: int) -> Profile:
    try:
        return _profile(trial, device, threads, depth)
    except UsageError:
        raise
    except Exception as error:  # whatever a method raises is its reason, and the others go on
        text = " ".join(str(error).split())
        return Profile(trial, device.type, threads, reason=f"{type(error).__name__}: {text[:300]}")


def _profile(trial: Trial, device: torch.device, threads: int, depth: int) -> Profile:
    opened = open_trial(trial)
    whole = opened.parts.under(Rule())  # the test part with nothing hidden
    if issubclass(opened.cls, Estimator):
        return Profile(trial, "cpu", threads, **_estimator(opened, whole, trial.seed))
    return Profile(trial, device.type, threads, **_method(opened, whole, trial.seed, device, depth))


def _method(opened: Opened, whole: Part, seed: int, device: torch.device, depth: int) -> dict[str, Any]:
    """The numbers of a method's profile. `whole` is the test part with nothing hidden."""
    config, train, test = opened.config, opened.parts.train.samples, opened.parts.test.samples
    memory = TensorMemory()
    seen = memory if device.type == "cpu" else nullcontext()  # elsewhere torch's allocator counts
    with seen:
        method = build_method(opened.cls, config, train, seed, device)
    method.on_epoch(config.epochs - 1, config.epochs)  # past every warm-up
    method.eval()
    with torch.no_grad(), seen:
        method.on_evaluate()
    count = forward_count(method, _batches(test, config.batch_size, device))
    not_counted, observed = set(count.not_counted), []
    for combination in combinations_of(test.schema, test.observed):
        rows = exactly(observing(_first(whole.samples), combination), ROWS)
        here = forward_count(method, _batches(rows, config.batch_size, device))
        not_counted |= set(here.not_counted)
        batch = _batch(rows, device)
        components = {name: flops / ROWS / 1e9 for name, flops in here.by_component(depth).items() if flops}
        milliseconds = latency_ms(method, [batch]) / ROWS
        observed.append(Observed(combination, here.flops / ROWS / 1e9, milliseconds, _peak_mb(method, batch, memory), components))
    flops, parameters = count.by_component(depth), parameters_by_component(method, depth)
    names = [name for name in dict.fromkeys([*parameters, *flops]) if flops.get(name) or name in parameters]
    n = len(test)
    cost: dict[str, float | None] = {
        "gflops_per_sample": count.flops / n / 1e9,
        "parameters": sum(owned for owned, _ in parameters.values()),
        "active_parameters": stated_number(f"{opened.cls.__name__}.active_parameters", method.active_parameters(), whole=True),
        "peak_memory_mb": _peak_mb(method, _batch(exactly(test, ROWS), device), memory),
    }
    for size in LATENCY_ROWS:
        cost[f"latency_ms_{size}"] = latency_ms(method, list(_batches(exactly(test, ROWS), size, device)))
    batch = as_batch(train.rows(np.arange(min(config.batch_size, len(train)))), device)
    cost["training_gflops_per_sample"] = training_flops(method, batch) / len(batch) / 1e9
    step = step_count(method, config, batch)  # the last of all, for the method moves
    cost |= {"launches": step.launches, "synchronisations": step.synchronisations}
    return {
        "cost": {name: cost[name] for name in COSTS},
        "components": [
            Component(name, flops.get(name, 0.0) / n / 1e9, *parameters.get(name, (0, 0)))
            for name in sorted(names, key=lambda name: name == OTHER)
        ],
        "observed": observed,
        "not_counted": sorted(not_counted),
        "waits": step.places,
    }


def _peak_mb(method: Method, batch: Batch, memory: TensorMemory) -> float:
    """Largest memory in MB while a batch is predicted, the method's own included.

    On a CPU the bytes of living tensors, counted; on a GPU what torch's allocator held.
    """
    device = batch.observed.device
    restart_peak(device)
    memory.restart()
    with torch.no_grad(), memory if device.type == "cpu" else nullcontext():
        method(batch)
    held = peak_bytes(device)
    return (memory.peak if held is None else held) / 1e6


def _estimator(opened: Opened, whole: Part, seed: int) -> dict[str, Any]:
    """The numbers of the profile of a method that fits itself; operations where it states them, memory as Python's allocators see it."""
    cls, config, parts = opened.cls, opened.config, opened.parts
    estimator: Estimator
    tracemalloc.start()
    try:
        if issubclass(cls, Ceiling):
            estimator = cls(rows_for(cls, parts.test).schema, config, opened.dataset.posterior)
        else:
            estimator = cls(parts.train.samples.schema, config, number(seed, "init") % 2**32)
            estimator.fit(parts.train.samples, parts.valid.samples)
        test, unhidden = rows_for(cls, parts.test), rows_for(cls, whole)
        letters = combinations_of(test.schema, test.observed)
        rows = [exactly(observing(_first(unhidden), combination), ROWS) for combination in letters]
        peaks = [_traced_peak_mb(estimator, samples) for samples in [exactly(test, ROWS), *rows]]
    finally:
        tracemalloc.stop()
    flops = stated_number(f"{cls.__name__}.flops_per_sample", estimator.flops_per_sample())
    parameters = stated_number(f"{cls.__name__}.parameters", estimator.parameters(), whole=True)
    latencies = {f"latency_ms_{n}": _estimator_ms(estimator, exactly(test, n)) for n in LATENCY_ROWS}
    cost: dict[str, float | None] = {
        "gflops_per_sample": None if flops is None else flops / 1e9,
        "training_gflops_per_sample": None,
        "parameters": parameters,
        "active_parameters": parameters,
        **latencies,
        "peak_memory_mb": peaks[0],
        "launches": None,
        "synchronisations": None,
    }
    observed = [
        Observed(combination, None, _estimator_ms(estimator, samples) / ROWS, peak)
        for combination, samples, peak in zip(letters, rows, peaks[1:], strict=True)
    ]
    return {"cost": cost, "observed": observed}


def _traced_peak_mb(estimator: Estimator, samples: Samples) -> float:
    tracemalloc.reset_peak()
    estimator.outputs(samples)
    return tracemalloc.get_traced_memory()[1] / 1e6


def _estimator_ms(estimator: Estimator, samples: Samples) -> float:
    """Median of three predictions in milliseconds, after one to warm up."""
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        estimator.outputs(samples)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times[1:]))


def combinations_of(schema: Schema, observed: np.ndarray) -> list[str]:
    """Combinations to measure, small ones first: all that there are of up to 5 modalities, else those that rows of `observed` have,
    each modality alone, and all together.

    Shapes: observed (N, M) bool.
    """
    letters = schema.combination
    if len(letters) <= EVERY_SUBSET:
        return ["".join(chosen) for size in range(1, len(letters) + 1) for chosen in subsets(letters, size)]
    seen = {"".join(np.array(list(letters))[row]) for row in np.unique(observed, axis=0) if row.any()}
    return sorted(seen | set(letters) | {letters}, key=lambda chosen: (len(chosen), [letters.index(letter) for letter in chosen]))


def observing(samples: Samples, combination: str) -> Samples:
    """The same rows, each observing exactly `combination`; a value that the data lack is 0, the training mean of scaled data."""
    wanted = np.isin(np.arange(len(samples.schema)), samples.schema.positions(combination))
    values = {name: np.nan_to_num(array) for name, array in samples.values.items()}
    return replace(samples, values=values, observed=np.tile(wanted, (len(samples), 1))).sealed()


def _first(samples: Samples, rows: int = ROWS) -> Samples:
    """At most so many rows, in memory."""
    return samples.rows(np.arange(min(rows, len(samples)))).held()


def exactly(samples: Samples, rows: int) -> Samples:
    """The first `rows` rows, from the start again where there are too few."""
    samples = _first(samples, rows)
    index = np.resize(np.arange(len(samples)), rows)
    values = {name: array[index] for name, array in samples.values.items()}
    return Samples(samples.schema, values, samples.observed[index], samples.target[index], np.arange(rows).astype(str))


def _batch(samples: Samples, device: torch.device) -> Batch:
    """All rows as one batch without labels, as in evaluation."""
    return unlabelled(as_batch(samples, device), samples.schema.target)


def _batches(samples: Samples, size: int, device: torch.device) -> Iterator[Batch]:
    data = rows_on(samples, device, is_labelled=False)
    return batches_of(data, row_batches(data, size))


def tidy(found: Iterable[Profile]) -> list[dict[str, object]]:
    """Rows of a table: for each method its cost over the test part (`observed` = "test"), then over each observed combination;
    each in all (`component` = "all") and by component. A number that does not apply is None.
    """
    rows = []
    for profile in found:
        row = profile.row()
        about = {key: row[key] for key in ("method", "preset", "dataset", "combination", "protocol", "seed", "device", "threads", "reason")}
        empty = dict.fromkeys([*COSTS, "ms_per_sample"])
        rows.append({**about, "observed": "test", "component": "all", **empty, **profile.cost})
        rows += [{**about, "observed": "test", **empty, **vars(part)} for part in profile.components]
        for seen in profile.observed:
            numbers = {key: value for key, value in vars(seen).items() if key in empty}
            rows.append({**about, "observed": seen.combination, "component": "all", **empty, **numbers})
            for name, gflops in seen.components.items():
                rows.append({**about, "observed": seen.combination, "component": name, **empty, "gflops_per_sample": gflops})
    return rows

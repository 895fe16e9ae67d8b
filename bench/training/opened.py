"""A trial with its names looked up and its data cut and hidden: what training, scoring and loading of weights begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench import registry
from bench.data.parts import Parts
from bench.datasets.base import Dataset
from bench.errors import UsageError
from bench.names import Choice
from bench.question.parts import parts_of
from bench.question.trial import HARNESS_VERSION, Trial


@dataclass(frozen=True)
class Opened:
    """What a trial works with: its names looked up, its data cut and hidden."""

    dataset: Dataset
    parts: Parts
    cls: type[Any]  # a Method or an Estimator
    config: Any  # of the class

    @property
    def classes(self) -> tuple[str, ...]:
        return self.parts.train.samples.schema.classes


def open_trial(trial: Trial, test: bool = True) -> Opened:
    """A trial's dataset, parts (the test part empty unless asked for), class and config.

    Raises: UsageError, among others if harness, code or data are not those that the trial's id stands for.
    """
    if trial.harness != HARNESS_VERSION:
        raise UsageError(f"the trial is of version {trial.harness} of the harness, this bench is of {HARNESS_VERSION}; plan it anew")
    cls = registry.method_class(trial.method)
    config = registry.config_of(cls, Choice(trial.method, trial.preset, trial.options), trial.training)
    version = registry.version_of(cls, config, is_running=True)
    if version != trial.version:
        raise UsageError(
            f"the code of {trial.method} is not what it was when the trial was planned: version {trial.version} then, {version} now; "
            "run again, in a new Python if this one has loaded the older code"
        )
    dataset, parts = parts_of(trial, test)
    return Opened(dataset, parts, cls, config)

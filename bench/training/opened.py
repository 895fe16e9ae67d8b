"""A trial with its names looked up and its data cut and hidden: what training, scoring and loading of weights begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import registry
from bench.data.parts import Parts
from bench.datasets.base import Dataset, Target
from bench.errors import OtherQuestion
from bench.names import Choice, Value
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
    def target(self) -> Target:
        return self.parts.train.samples.schema.target


def open_trial(trial: Trial, test: bool = True) -> Opened:
    """A trial's dataset, parts (the test part empty unless asked for), class and config.

    Raises: UsageError; OtherQuestion if harness, code or data are not those that the trial's id stands for.
    """
    if trial.harness != HARNESS_VERSION:
        raise OtherQuestion(f"the trial is of version {trial.harness} of the harness, this bench is of {HARNESS_VERSION}; plan it anew")
    cls, config = code_of(Choice(trial.method, trial.preset, trial.options), trial.training, trial.version)
    dataset, parts = parts_of(trial, test)
    return Opened(dataset, parts, cls, config)


def code_of(choice: Choice, training: Mapping[str, Value], planned: str) -> tuple[type[Any], Any]:
    """Class and config of a method. Raises: UsageError; OtherQuestion if its code is not of the version that was planned."""
    cls = registry.method_class(choice.name)
    config = registry.config_of(cls, choice, training)
    version = registry.version_of(cls, config, is_running=True)
    if version != planned:
        raise OtherQuestion(
            f"the code of {choice.name} is not what it was when the trial was planned: version {planned} then, {version} now; "
            "run again, in a new Python if this one has loaded the older code"
        )
    return cls, config

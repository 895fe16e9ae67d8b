"""What a process of its own is given to do: a `Job` is a trial with everything that a worker needs to run it, here or on another machine.

A task is plain data and goes whole to the process that runs it. What a user typed into a notebook travels by value inside it.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import cloudpickle

from bench import registry
from bench.data.loading import loaded_ids
from bench.datasets import files
from bench.errors import TrialError
from bench.grid.same import Same, SameCode, SameData, SameSuite
from bench.names import Choice
from bench.question.machine import Limits, Machine
from bench.question.trial import Trial
from bench.records.ids import marked
from bench.records.predictions import Predictions
from bench.records.reached import Report
from bench.records.record import Record

if TYPE_CHECKING:
    from bench.datasets.described.dataset import Framed

GPUS = "CUDA_VISIBLE_DEVICES"  # the variable by which CUDA tells a process its GPUs: indices, UUIDs or MIG ids


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Work for a process of its own, and what that process needs. `work` is called there."""

    leaves: ClassVar[tuple[str, ...]] = ("log",)  # fields that hold paths of files which it writes

    limits: Limits
    log: Path  # where what it prints goes
    given: bytes = b""  # classes handed over from Python; see `handed_over`
    data_root: Path = field(default_factory=files.data_root)
    environment: Mapping[str, str] = field(default_factory=dict)  # variables of its process alone, set there before anything else
    suite: SameSuite | None = None  # what its process must have, where that may not be the driver's own

    @property
    def device(self) -> str:
        """What it computes on: cpu, or auto, cuda, cuda:N where it may take a GPU."""
        return "cpu"

    def on(self, gpus: str, per_gpu: int = 1) -> Self:
        """The same task where this GPU is the only one there is (none for the empty text), with so many tasks on it."""
        return replace(self, environment={**self.environment, GPUS: gpus})

    @property
    def names(self) -> tuple[str, ...]:
        """The methods and datasets that it looks up."""
        return ()

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The task with other names for methods and datasets: their files lie elsewhere where it runs."""
        return self

    def rests_on(self) -> tuple[Same, ...]:
        """What must be the same where it runs, beside the suite."""
        return ()

    @abstractmethod
    def work(self, report: Callable[[Any], None]) -> Any:
        """What the task gives; `report` takes what it tells on the way. Results and reports must be picklable."""

    def worded(self, reason: str) -> str:
        """Why it failed, as the record says it. Called where the task ran."""
        return reason

    def settle(self) -> None:
        """Make this process one that the task can work in: its data root, and the classes it was given. Raises: OtherQuestion."""
        if self.suite is not None:
            self.suite.check()
        os.environ["BENCH_DATA"] = str(self.data_root)
        for handed in pickle.loads(self.given) if self.given else ():  # written by our own driver
            registry.take(handed)


class Outcome(NamedTuple):
    """What came of a job. There are no predictions of a trial that failed or was validated alone."""

    record: Record
    predictions: Predictions | None = None

    def check(self) -> None:
        """Raises: TrialError if the record cannot be written; asked where the trial runs, so that it fails alone and the run goes on."""
        try:
            json.dumps(self.record.as_json())
        except (TypeError, ValueError) as error:
            raise TrialError(f"the record cannot be stored: {error}; what a method or dataset states must be plain values") from error


@dataclass(frozen=True, kw_only=True)
class Job(Task):
    """A trial as a task."""

    leaves = ("log", "traces", "weights")

    trial: Trial
    machine: Machine
    traces: Path | None = None  # where to write what the method did
    weights: Path | None = None  # where to write the chosen checkpoint
    validates: bool = False  # True: train and validate alone, without the test part
    concerns: tuple[str, ...] = ()  # what planning found in its data, which its record repeats

    @property
    def device(self) -> str:
        return self.machine.device

    def on(self, gpus: str, per_gpu: int = 1) -> Self:
        """It then asks for the GPU by name: were that gone, `auto` would compute on the CPU and nobody would see it."""
        device = "cuda" if gpus else "cpu"
        return replace(super().on(gpus), machine=replace(self.machine, device=device, per_gpu=per_gpu if gpus else 1))

    @property
    def names(self) -> tuple[str, ...]:
        return self.trial.method, self.trial.dataset

    def renamed(self, names: Mapping[str, str]) -> Self:
        method, dataset = (names.get(name, name) for name in self.names)
        return replace(self, trial=replace(self.trial, method=method, dataset=dataset))

    def rests_on(self) -> tuple[Same, ...]:
        trial = self.trial
        code = SameCode(str(Choice(trial.method, trial.preset, trial.options)), tuple(sorted(trial.training.items())), trial.version)
        return SameData(trial.dataset_choice, trial.fingerprint), code

    def work(self, report: Report) -> Outcome:
        """The trial under its memory limit. A GPU driver reserves address space without end, so there the parent's watch is all."""
        from bench.training.loop import resolve_device
        from bench.training.trial import run_trial, validate_trial

        if resolve_device(self.machine.device).type == "cpu":
            limit_memory(self.limits.memory)
        if self.validates:
            outcome = Outcome(*validate_trial(self.trial, self.machine, report))
        else:
            record, predictions = run_trial(self.trial, self.machine, report, self.traces, self.weights)
            outcome = Outcome(replace(record, facts=replace(record.facts, concerns=list(self.concerns))), predictions)
        outcome.check()
        return outcome

    def worded(self, reason: str) -> str:
        """The reason with the samples that it names called so: what is published names them otherwise."""
        return marked(reason, loaded_ids(Choice(self.trial.dataset, "", self.trial.dataset_options)))


def machine_of(trial: Trial, machine: Machine) -> Machine:
    """What a trial computes on where `machine` is asked for: a method that fits itself computes on the CPU everywhere."""
    from bench.methods.base import Method

    return machine if issubclass(registry.method_class(trial.method), Method) else replace(machine, device="cpu")


def handed_over(names: Iterable[str]) -> bytes:
    """The classes among these that were handed over from Python, by value; empty if there are none.

    Raises: UsageError if what is in memory of one is not what its file says.
    """
    wanted = set(names)
    classes = [cls for name, cls in registry.given().items() if name in wanted]
    return by_value(classes) if classes else b""


def by_value(classes: Iterable[type | Framed]) -> bytes:
    """Classes with their code, and that of the files they import, as `registry.Handed`: a trial's process could not import a notebook."""
    handed = [registry.handed(cls) for cls in classes]
    own = [one for one in handed if isinstance(one.cls, type)]
    names = {name for one in own for name in (one.cls.__module__, *one.modules)} - {"__main__"}  # what is there goes by value anyway
    modules = [sys.modules[name] for name in sorted(names) if name in sys.modules]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(handed)
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def limit_memory(memory: int) -> None:
    """Let this process take no more than `memory` bytes on top of what it holds now. Files that it maps to read are not its own."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        held = int(statm.read_text(encoding="ascii").split()[5]) * resource.getpagesize()  # what may be written to
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = held + memory
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))

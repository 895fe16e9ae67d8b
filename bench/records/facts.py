"""What is known of a trial besides its scores: facts of its training and test, and the code and machine that ran it. Free of torch.

Records of earlier versions lack some of it: what they do not say has the value of its default, and what this version does not know is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self

from bench.datasets.target import Target


@dataclass(frozen=True)
class _Known:
    """A JSON object with typed keys. A key whose value is the default is not written."""

    more: Mapping[str, object] = field(default_factory=dict, kw_only=True)  # keys of another version

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        names = _defaults(cls)
        values = {key: value for key, value in found.items() if key in names and value is not None}
        return cls(**values, more={key: value for key, value in found.items() if key not in names})

    def as_json(self) -> dict[str, object]:
        found = {name: value for name, default in _defaults(type(self)).items() if (value := getattr(self, name)) != default}
        return {**found, **self.more}


_known_defaults: dict[type[_Known], dict[str, object]] = {}


def _defaults(kind: type[_Known]) -> dict[str, object]:
    """The keys of a kind of object, with the values that are not written; worked out once."""
    if kind not in _known_defaults:
        keys = [key for key in fields(kind) if key.name != "more"]
        _known_defaults[kind] = {key.name: key.default if key.default_factory is MISSING else key.default_factory() for key in keys}
    return _known_defaults[kind]


@dataclass(frozen=True)
class Evaluated(_Known):
    """The test part under the rule of one evaluation."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    metric_reasons: Mapping[str, str] = field(default_factory=dict)  # of metrics that are NaN
    missing: float | None = None  # share of cells not observed
    mask: str = ""  # hash of the observed mask
    histogram: list[int] = field(default_factory=list)  # how often each class or label is the predicted one

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        known = {name: math.nan if value is None else value for name, value in (found.get("metrics") or {}).items()}  # null is NaN
        return super().from_json({**found, "metrics": known})


@dataclass(frozen=True)
class Facts(_Known):
    """Facts of a trial that ended. Shares are of sample x modality cells; `rows`, `missing` and `masks` are by split part."""

    rows: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)  # share not observed after hiding
    masks: Mapping[str, str] = field(default_factory=dict)  # hashes of the observed masks
    unseen: list[str] = field(default_factory=list)  # modalities that no training row observes
    notes: list[str] = field(default_factory=list)  # what a reader must know of the samples and their split
    concerns: list[str] = field(default_factory=list)  # what the checkup found, of data from outside
    classes: list[str] = field(default_factory=list)  # or the labels
    target: Mapping[str, str | list[str]] = field(default_factory=dict)  # labels, or a value with its unit; see `datasets.target`
    histogram: list[int] = field(default_factory=list)  # how often each class or label is the predicted one in the test part
    metric_reasons: Mapping[str, str] = field(default_factory=dict)  # why metrics are NaN
    valid: float | None = None  # selection metric of the chosen checkpoint; of a suggestion: turned so that larger is better
    best_epoch: int | None = None  # from 1
    test_evaluations: int | None = None  # times that the main scores, and each of the evaluations, were taken
    not_counted: list[str] = field(default_factory=list)  # operations that the cost may lack
    recipe: list[str] = field(default_factory=list)  # what it was trained with that is not the suite's
    own_masks: Mapping[str, Any] = field(default_factory=dict)  # shares before and after the method's own modality dropout in training
    synthetic: bool = False
    ids: str = ""  # of its samples: private, or public where the dataset says so; salted in what was published; "" in records of before
    restricted: bool = False  # the owners of its data forbid publishing what is derived of them, row by row
    config: Mapping[str, Any] = field(default_factory=dict)  # the method's whole Config, plain values alone
    weights: str = ""  # whether those that were asked for were kept, and why not
    train_gflops: float | None = None  # of a suggestion
    ended: str | None = None  # UTC
    rescored: str | None = None  # version of bench that took the metrics anew from the stored predictions
    seconds: Mapping[str, float] = field(default_factory=dict)  # load, train, total
    evaluations: Mapping[str, Evaluated] = field(default_factory=dict)  # by their rules

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        further = found.get("evaluations") or {}
        known = {rule: one if isinstance(one, Evaluated) else Evaluated.from_json(one) for rule, one in further.items()}
        return super().from_json({**found, "evaluations": known})

    def as_json(self) -> dict[str, object]:
        found = super().as_json()
        return {**found, "evaluations": {rule: one.as_json() for rule, one in self.evaluations.items()}} if self.evaluations else found


@dataclass(frozen=True)
class Origin(_Known):
    """The code, packages and machine that made a record. Timings are comparable only where `hardware_id` and `device` are equal."""

    bench: str | None = None  # version
    commit: str | None = None  # None: not from a checkout
    dirty: bool | None = None  # whether the checkout had uncommitted changes
    python: str | None = None
    packages: Mapping[str, str | None] = field(default_factory=dict)
    hardware: str | None = None  # processor model and number of cores
    hardware_id: str | None = None
    device: str | None = None  # cpu or cuda
    threads: int | None = None
    torch_device: str | None = None  # name of the GPU
    gpu: str | None = None  # its UUID, or that of a MIG instance
    per_gpu: int | None = None  # trials that shared it; None: it was not on a GPU, or is of before this was said
    node: str | None = None  # name of the machine, where that is not the driver's; nothing that is published has it
    place: str | None = None  # the kind of place it ran in: dask, ray, slurm; None: the driver's own machine

    @property
    def code(self) -> str:
        """The code of the suite: its commit, or the version that was installed."""
        return f"bench {self.bench or 'of an unknown version'} (installed)" if self.commit is None else self.commit


def told(target: Target) -> dict[str, Any]:
    """What facts say of a target: the classes alone, or the labels, or nothing, beside what the target is."""
    named = {"classes": [] if target.kind == "value" else list(target.names)}
    return named if target.kind == "classes" else {**named, "target": target.as_json()}

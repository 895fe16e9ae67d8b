"""What a method is: `Method` (trained by the suite), `Estimator` (fits itself) and `Prediction`.

This room knows tensors. It knows no file, seed, missing rate or printing; training lives in `bench.training`, the same for all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.datasets.base import Batch, Samples, Schema, Target
from bench.methods.tracing import MaskCount, Tracer


@dataclass(frozen=True)
class Prediction:
    """What `forward` returns.

    Shapes: logits (B, O), O = `schema.outputs`; each penalty is a scalar, already weighted, added to the loss in training.
    Evaluation ignores penalties. Of classes logits go through a softmax, of labels each through a sigmoid; of a value they are the
    prediction itself, on the scale of `batch.target`: SDs from the mean of the training rows.
    """

    logits: Tensor
    penalties: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Training settings every method has. A method's own `Config` repeats a field to give it its published default.

    A setting of a suite for all methods reaches these fields, and of a Config from outside those that it names in `shared`.
    """

    shared: ClassVar[Collection[str]] = ()  # fields of its own that a suite may set for all methods, such as {"width"}
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0  # L2 term inside Adam, not decoupled
    amsgrad: bool = False
    schedule: str = "constant"  # "constant"; "poly": (1 - e/E)^0.9 per epoch; "step": x0.9 every 20 epochs
    clip_norm: float = 0.0  # largest global gradient norm; 0 = no clipping
    accumulate: int = 1  # batches whose gradients make one step of the optimiser
    precision: str = "single"  # of training steps; "mixed": bfloat16 where a product allows it, on a device that has it; scores stay single
    value_loss: str = "squared"  # of a value: "squared" or "absolute" error, standardised; other targets have one loss

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.clip_norm < 0:
            raise ValueError(
                "learning_rate must be positive, weight_decay and clip_norm not negative, got "
                f"{self.learning_rate}, {self.weight_decay} and {self.clip_norm}"
            )
        if self.schedule not in ("constant", "poly", "step"):
            raise ValueError(f"schedule must be constant, poly or step, got {self.schedule!r}")
        if self.accumulate < 1 or self.precision not in ("single", "mixed"):
            raise ValueError(f"accumulate must be at least 1, precision single or mixed, got {self.accumulate} and {self.precision!r}")
        if self.value_loss not in ERRORS:
            raise ValueError(f"value_loss must be {' or '.join(ERRORS)}, got {self.value_loss!r}")


ERRORS = {"squared": F.mse_loss, "absolute": F.l1_loss}


def row_losses(target: Target, logits: Tensor, wanted: Tensor, value_loss: str = "squared") -> Tensor:
    """The loss of each row: cross entropy; mean binary cross entropy over the labels that are known, 0 without any; error of a value.

    Shapes: logits (B, ..., O), wanted as `Batch.target` -> (B, ...).
    """
    wanted = wanted.reshape(len(wanted), *[1] * (logits.dim() - 2), *wanted.shape[1:])  # (B, 1, ...) or (B, 1, ..., L)
    if target.kind == "classes":
        return F.cross_entropy(logits.movedim(-1, 1), wanted.expand(logits.shape[:-1]), reduction="none")
    if target.kind == "labels":
        known = (wanted >= 0).expand(logits.shape).to(logits.dtype)
        yes = wanted.clamp(min=0).expand(logits.shape).to(logits.dtype)
        cells = F.binary_cross_entropy_with_logits(logits, yes, known, reduction="none")
        return cells.sum(-1) / known.sum(-1).clamp(min=1)
    return ERRORS[value_loss](logits.squeeze(-1), wanted.expand(logits.shape[:-1]).to(logits.dtype), reduction="none")


def task_loss(target: Target, logits: Tensor, wanted: Tensor, value_loss: str = "squared") -> Tensor:
    """The suite's loss of a batch: the mean of `row_losses`, of labels over all cells that are known.

    Shapes: logits (B, O), wanted as `Batch.target` -> ().
    """
    if target.kind == "classes":
        return F.cross_entropy(logits, wanted)
    if target.kind == "labels":
        known = (wanted >= 0).to(logits.dtype)  # (B, L)
        total = F.binary_cross_entropy_with_logits(logits, wanted.clamp(min=0).to(logits.dtype), known, reduction="sum")
        return total / known.sum().clamp(min=1)
    return ERRORS[value_loss](logits.squeeze(1), wanted.to(logits.dtype))


def loss_of_rows(target: Target, logits: Tensor, wanted: Tensor, rows: Tensor, value_loss: str = "squared") -> Tensor:
    """Mean of `row_losses` over the rows named, 0 if there is none: a loss of a part beside the task loss.

    Shapes: logits (B, O), wanted as `Batch.target`, rows (B,) bool -> ().
    """
    if target.kind == "classes":
        total = F.cross_entropy(logits, torch.where(rows, wanted, -100), reduction="sum", ignore_index=-100)
    else:
        total = torch.where(rows, row_losses(target, logits, wanted, value_loss), 0.0).sum()
    return total / rows.sum().clamp(min=1)


def prior_logits(train: Samples) -> Tensor:
    """Logits that say what training rows say without a look at them, each answer counted once more than it occurs. Shapes: -> (O,).

    log p(y) of classes, log odds of labels among the rows that know them, 0 of a value, which is the mean of training.
    """
    target, wanted = train.schema.target, torch.from_numpy(train.target)
    if target.kind == "classes":
        return ((torch.bincount(wanted, minlength=target.outputs) + 1) / (len(wanted) + target.outputs)).log()
    if target.kind == "labels":
        return (((wanted == 1).sum(0) + 1) / ((wanted == 0).sum(0) + 1)).log()
    return torch.zeros(target.outputs)


NEARLY = {  # names of other libraries, and of a slip, for what `Method` calls otherwise
    "optimiser": (
        "optimizer optimizers optimisers configure_optimizers configure_optimizer configure_optimisers configure_optimiser get_optimizer "
        "get_optimizers get_optimiser make_optimizer make_optimiser build_optimizer build_optimiser create_optimizer create_optimiser"
    ),
    "schedule": (
        "scheduler schedulers lr_scheduler lr_schedulers lr_schedule learning_rate_schedule configure_scheduler configure_schedulers "
        "get_scheduler get_schedule make_scheduler build_scheduler create_scheduler"
    ),
    "loss": (
        "loss_fn loss_func loss_function losses get_loss compute_loss calculate_loss calc_loss make_loss criterion "
        "training_step train_step training_loss train_loss"
    ),
    "rows": "filter_rows rows_filter row_filter select_rows training_rows get_rows warmup_rows",
    "prepare": "setup before_training on_train_start on_fit_start on_training_start",
    "on_epoch": "on_epoch_start on_epoch_begin on_train_epoch_start before_epoch training_epoch_start",
    "on_evaluate": "validation_step test_step eval_step on_validation_start on_test_start on_evaluation before_evaluation on_eval",
    "after_training": "on_train_end on_fit_end on_training_end on_train_finish after_train after_fit post_training finish_training",
}


class Method(nn.Module):
    """One compared approach, trained by the suite, with its loss for the kind of target (`task_loss`) unless it has one of its own.

    A subclass calls `super().__init__(schema, config)`, builds its modules, and writes `forward(batch) -> Prediction`. All else may be
    left as it is: `optimiser`, `schedule`, `loss` and `rows` are a recipe of its own, which its row on a leaderboard names; `prepare`,
    `on_epoch`, `on_evaluate` and `after_training` are called in their time.
    Random draws beyond dropout and initialisation use `self.generator`, which `seed` places on the module's device.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"default": {}}  # name -> changes to Config; the first is the default
    search: ClassVar[Mapping[str, tuple[object, ...]]] = {}  # Config field -> values a tuner may try
    paper: ClassVar[str] = ""  # authors, venue, arXiv number
    year: ClassVar[int | None] = None
    repository: ClassVar[str | None] = None  # official code, owner/name
    uses_other_samples: ClassVar[bool] = False  # True: a prediction looks at training rows
    batch_dependent: ClassVar[bool] = False  # True: in the default preset, a prediction changes with its batch mates
    deviations: ClassVar[tuple[str, ...]] = ()  # what we do otherwise than the paper or its code, and why
    traces: ClassVar[tuple[str, ...]] = ()  # tables of bench.methods.tracing that it hands over
    skips: ClassVar[Mapping[str, str]] = {}  # kind of target that it has no form for -> why: such trials are skipped with this reason

    def __init__(self, schema: Schema, config: MethodConfig) -> None:
        super().__init__()
        self.schema = schema
        self.config: Any = config  # of the method's own Config
        self.generator = torch.Generator().manual_seed(0)
        self.tracer: Tracer | None = None  # see bench.methods.tracing
        self.masks: MaskCount | None = None  # what its own modality dropout does, while the suite trains it

    def __init_subclass__(cls, **options: Any) -> None:
        """Raises: TypeError if the class defines what nobody calls, by a name that is nearly that of a hook it does not define."""
        super().__init_subclass__(**options)
        defined = {name: one for one in reversed(cls.__mro__) if one not in Method.__mro__ for name in vars(one)}
        for hook, names in NEARLY.items():
            for name in names.split():
                if name in defined and hook not in defined:
                    said = f"{defined[name].__name__} defines {name}, which bench never calls; what it calls is {hook}"
                    raise TypeError(f"{said}{inspect.signature(getattr(Method, hook))}: {_first_line(getattr(Method, hook))}")

    @classmethod
    def declared(cls, config: Any) -> Mapping[str, str]:
        """Why `bench audit` must find a dependence at this config: by check, "batch-mate" or "support pool". The defaults are the facts."""
        return {"batch-mate": "batch_dependent is stated"} if cls.batch_dependent else {}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def seed(self, seed: int) -> None:
        """Restart `self.generator` at `seed`, on the device of the parameters."""
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def prepare(self, train: Samples) -> None:
        """Called once, before training, with the training rows as the method may see them (scaled, hidden, sealed)."""

    def optimiser(self) -> torch.optim.Optimizer:
        """What moves the parameters, made once, after `prepare`: Adam as the Config says. Every trained parameter is in a group of it."""
        trained, config = [parameter for parameter in self.parameters() if parameter.requires_grad], self.config
        return torch.optim.Adam(
            trained, config.learning_rate, weight_decay=config.weight_decay, amsgrad=config.amsgrad, fused=True
        )  # fmt: skip

    def schedule(self, epoch: int, step: int, steps: int) -> float:
        """What the learning rate of each group is multiplied by in step `step` of the `steps` of an epoch, all counted from 0."""
        if self.config.schedule == "poly":
            return (1 - epoch / self.config.epochs) ** 0.9
        return 0.9 ** (epoch // 20) if self.config.schedule == "step" else 1.0

    def loss(self, prediction: Prediction, batch: Batch) -> Tensor:
        """What training descends beside the penalties, which are added to it: a scalar. The suite's own is that of the kind of target."""
        return task_loss(self.schema.target, prediction.logits, batch.target, self.config.value_loss)

    def rows(self, epoch: int, observed: np.ndarray) -> np.ndarray:
        """The training rows of an epoch, counted from 0: all of them; a warm-up may take some. Shapes: (N, M) bool -> (N,) bool."""
        return np.ones(len(observed), dtype=bool)

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each training epoch, counted from 0: warm-up and other schedules."""

    def on_evaluate(self) -> None:
        """Called in eval mode, without gradients, before a part is scored: states computed from training rows are refreshed here."""

    def after_training(self, train: Samples) -> None:
        """Called once, with the checkpoint loaded, in eval mode without gradients, with the training rows as `prepare` gets them.

        Prototypes, statistics and neighbours are made here, best as buffers; `forward` must work before it as well.
        """

    @property
    def is_selectable(self) -> bool:
        """Whether the state after this epoch may become the checkpoint; False in a warm-up that leaves the method unfinished."""
        return True

    def trace(self, table: str, **columns: Tensor) -> None:
        """Hand rows to the tracer, if there is one, in evaluation; `bench.methods.tracing` lists tables and columns."""
        if self.tracer is not None and not self.training:
            self.tracer.add(table, **columns)

    def watch(self, fusion_input: Tensor, observed: Tensor) -> Tensor:
        """The tensor itself; in training a tracer gets the cosines of its gradients. Shapes: (B, M, ...), (B, M) bool."""
        tracer = self.tracer
        if tracer is not None and self.training and fusion_input.requires_grad:
            fusion_input.register_hook(lambda gradient: tracer.gradients(gradient, observed))
        return fusion_input

    def dropped(self, observed: Tensor, left: Tensor) -> Tensor:
        """`left` itself: what modality dropout of its own leaves of a training batch. The suite reports with the row how much that is.

        Shapes: observed, left (B, M) bool.
        """
        if self.masks is not None and self.training:
            self.masks.add(observed, left)
        return left

    def forward(self, batch: Batch) -> Prediction:
        raise TypeError(f"{type(self).__name__} must define forward(self, batch) -> Prediction")

    def active_parameters(self) -> int:
        """Trainable parameters that act on one sample: experts a token does not visit are left out."""
        total = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        return total - sum(getattr(module, "idle_parameters", 0) for module in self.modules())


def _first_line(function: Callable[..., object]) -> str:
    return (function.__doc__ or "").strip().split("\n", 1)[0]


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """Settings of a method that fits itself; a subclass adds its own."""


class Estimator:
    """A method that fits itself, without gradients of ours: the reference methods of scikit-learn's kind.

    A subclass writes `fit` and, as in scikit-learn, `predict_proba` for classes and labels, `predict` for a value. Samples arrive scaled,
    hidden and sealed (NaN where not observed), a value in its own unit.
    """

    Config: ClassVar[type[EstimatorConfig]] = EstimatorConfig
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"default": {}}
    search: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    paper: ClassVar[str] = ""
    year: ClassVar[int | None] = None
    repository: ClassVar[str | None] = None
    uses_other_samples: ClassVar[bool] = False
    batch_dependent: ClassVar[bool] = False
    deviations: ClassVar[tuple[str, ...]] = ()
    traces: ClassVar[tuple[str, ...]] = ()
    skips: ClassVar[Mapping[str, str]] = {}  # kind of target that it has no form for -> why: such trials are skipped with this reason

    def __init__(self, schema: Schema, config: EstimatorConfig, seed: int = 0) -> None:
        self.schema = schema
        self.config: Any = config  # of the method's own Config
        self.seed = seed
        self.selection = ""  # the metric that selects, which the suite says before `fit`; the best answer may depend on it

    @classmethod
    def declared(cls, config: Any) -> Mapping[str, str]:
        """Why `bench audit` must find a dependence at this config: by check, "batch-mate" or "support pool". The defaults are the facts."""
        return {"batch-mate": "batch_dependent is stated"} if cls.batch_dependent else {}

    def fit(self, train: Samples, valid: Samples) -> None:
        """Learn from `train`; choose between candidates on `valid`."""
        raise TypeError(f"{type(self).__name__} must define fit(self, train, valid)")

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """Class probabilities (N, C), rows summing to 1; of labels the probability of each (N, L)."""
        raise TypeError(f"{type(self).__name__} must define predict_proba(self, samples)")

    def predict(self, samples: Samples) -> np.ndarray:
        """Values (N, 1) or (N,) in the target's unit. Asked for where the target is a value, and nowhere else."""
        raise TypeError(f"{type(self).__name__} must define predict(self, samples) for a value")

    def outputs(self, samples: Samples) -> np.ndarray:
        """What the suite stores: probabilities, or values (N, 1), as the kind of target says."""
        if self.schema.target.kind != "value":
            return self.predict_proba(samples)
        found = self.predict(samples)
        return found[:, None] if isinstance(found, np.ndarray) and found.ndim == 1 else found

    def parameters(self) -> int | None:
        """Number of fitted numbers, or None where that means nothing."""
        return None

    def flops_per_sample(self) -> float | None:
        """Floating-point operations of one prediction (multiply-add = 2), or None where they cannot be counted."""
        return None


class Ceiling(Estimator):
    """A row that no method can beat: it is given the exact posterior of a synthetic dataset, or its mean."""

    def __init__(self, schema: Schema, config: EstimatorConfig, posterior) -> None:
        super().__init__(schema, config)
        self.posterior = posterior

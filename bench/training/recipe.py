"""What of its training a method has of its own: optimiser, schedule, loss, rows, precision, a step at the end. Each is looked at here.

A hook that a method leaves as it is does what the suite does for everyone, to the last bit.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from numbers import Real
from types import FunctionType

import numpy as np
import torch
from torch import Tensor

from bench.datasets.base import Batch, Samples
from bench.errors import TrialError
from bench.methods.base import Method, MethodConfig, Prediction
from bench.seeds import number
from bench.training.task import Task

HOOKS = {  # a function of `Method` that a class may write over -> how its row says so
    "loss": "own loss",
    "optimiser": "own optimiser",
    "schedule": "own schedule",
    "rows": "own choice of training rows",
    "after_training": "a step of its own after training",
}


def has_own(method: type[Method] | Method, hook: str) -> bool:
    """Whether a method's class writes a hook over."""
    cls = method if isinstance(method, type) else type(method)
    return getattr(cls, hook) is not getattr(Method, hook)


def recipe_of(cls: type[Method], config: MethodConfig, device: torch.device) -> list[str]:
    """What a method is trained with that is not the suite's, in words; empty for most."""
    own = [words for hook, words in HOOKS.items() if has_own(cls, hook)]
    if config.accumulate > 1:
        own.append(f"gradients of {config.accumulate} batches a step")
    if config.precision == "mixed":
        own.append("mixed precision" if has_mixed(device) else f"mixed precision was asked for, {device.type} trained in single precision")
    return own


def check_attributes(method: Method) -> None:
    """Raises: TrialError if what `__init__` set hides a function that bench calls."""
    held = {**vars(method), **method._modules, **method._parameters, **method._buffers}
    for name in held:
        if isinstance(vars(Method).get(name), FunctionType):
            cls = type(method).__name__
            raise TrialError(f"self.{name} of {cls} hides the function {name} of Method, which bench calls; give your own another name")


def optimiser_of(method: Method) -> torch.optim.Optimizer:
    """What moves the parameters. Raises: TrialError if it is none, leaves one out, or moves what is no parameter."""
    cls = type(method).__name__
    trained = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    if not trained:
        raise TrialError(f"{cls} has no trainable parameter; derive it from Estimator if it fits itself")
    optimiser = method.optimiser()
    if not has_own(method, "optimiser"):
        return optimiser
    must = f"{cls}.optimiser must return"
    if not isinstance(optimiser, torch.optim.Optimizer):
        came = f"{type(optimiser).__name__}; a schedule has a hook of its own" if isinstance(optimiser, tuple | list | Mapping) else None
        raise TrialError(f"{must} a torch.optim.Optimizer, got {came or type(optimiser).__name__}")
    if inspect.signature(optimiser.step).parameters.get("closure", _OPTIONAL).default is inspect.Parameter.empty:
        raise TrialError(f"{must} one that steps from gradients, got {type(optimiser).__name__}, which asks for the loss again (a closure)")
    moved = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    left = [name for name, parameter in trained.items() if id(parameter) not in moved]
    if left:
        raise TrialError(f"{must} one with every trained parameter, got none of {left[0]}; requires_grad_(False) keeps one as it is")
    if moved - {id(parameter) for parameter in method.parameters()}:
        raise TrialError(f"{must} one of the method's own parameters, got a tensor that is none of them and would not be kept with it")
    return optimiser


_OPTIONAL = inspect.Parameter("closure", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)


def rate_factor(method: Method, epoch: int, step: int, steps: int) -> float:
    """What learning rates are multiplied by. Raises: TrialError if that is no finite number of at least 0."""
    given = method.schedule(epoch, step, steps)
    factor = float(given) if isinstance(given, Real) and not isinstance(given, bool) else math.nan
    if not 0 <= factor < math.inf:
        came = f"got {given!r} (epoch {epoch + 1}, step {step + 1} of {steps})"
        raise TrialError(f"{type(method).__name__}.schedule must return a finite number of at least 0, {came}")
    return factor


def loss_of(method: Method, prediction: Prediction, batch: Batch, where: str) -> Tensor:
    """What a step descends: the loss and the penalties. Raises: TrialError if a loss of its own is no scalar that carries gradients."""
    loss = method.loss(prediction, batch)
    if has_own(method, "loss"):
        must = f"{type(method).__name__}.loss must return one floating-point number, a tensor of shape ()"
        if not isinstance(loss, Tensor):
            raise TrialError(f"{must}, got {type(loss).__name__} ({where})")
        if loss.dim() or not loss.is_floating_point():
            raise TrialError(f"{must}, got {loss.dtype} of shape {tuple(loss.shape)} ({where})")
        if loss.device != prediction.logits.device:
            raise TrialError(f"{must} on {prediction.logits.device}, where the logits are, got {loss.device} ({where})")
        if not loss.requires_grad and not any(penalty.requires_grad for penalty in prediction.penalties.values()):
            raise TrialError(f"{must} that carries gradients, got one without: it was detached, or made under no_grad ({where})")
    return loss + sum(prediction.penalties.values())


def kept_rows(method: Method, observed: np.ndarray, epoch: int) -> np.ndarray:
    """The training rows of an epoch. Shapes: (N, M) bool -> (N,) bool. Raises: TrialError if they are told otherwise, or none is left."""
    kept, must = method.rows(epoch, observed.copy()), f"{type(method).__name__}.rows must return"
    if isinstance(kept, Tensor):
        kept = kept.cpu().numpy()
    if not isinstance(kept, np.ndarray) or kept.dtype != bool or kept.shape != (len(observed),):
        came = f"{kept.dtype} {kept.shape}" if isinstance(kept, np.ndarray) else type(kept).__name__
        raise TrialError(f"{must} bool ({len(observed)},), True for each training row to take, got {came} (epoch {epoch + 1})")
    if not kept.any():
        raise TrialError(f"{must} a row at least, got none of {len(observed)} (epoch {epoch + 1}); none is like it in these training rows")
    return kept


def has_mixed(device: torch.device) -> bool:
    """Whether training steps can run in bfloat16 there and gain by it. A CPU trains in single precision: it would lose time and digits."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != "cpu" and torch.amp.is_autocast_available(device.type)


def autocast(config: MethodConfig, device: torch.device) -> AbstractContextManager:
    """The precision of a training step."""
    is_mixed = config.precision == "mixed" and has_mixed(device)
    return torch.autocast(device.type, torch.bfloat16) if is_mixed else nullcontext()


def finish(method: Method, train: Samples, seed: int) -> bool:
    """A method's own step after training, on a random stream of its own; whether it has one."""
    if not has_own(method, "after_training"):
        return False
    torch.manual_seed(number(seed, "noise", "after training", "dropout"))
    method.seed(number(seed, "noise", "after training"))
    method.eval()
    with torch.no_grad():
        method.after_training(Task.of(train).standardised(train))
    method.eval()
    return True


def restore(method: Method, state: Mapping[str, Tensor], train: Samples, seed: int) -> None:
    """Load a state that was taken after training into a method just built. Raises: RuntimeError, torch's, if it does not fit.

    What `after_training` makes outside the state, and the room for what it makes inside, come of the loaded weights.
    """
    if has_own(method, "after_training"):
        own = method.state_dict()
        method.load_state_dict({key: each for key, each in state.items() if key in own and own[key].shape == each.shape}, strict=False)
        finish(method, train, seed)
    method.load_state_dict(state)

"""What a training step asks of a GPU before any arithmetic: kernels that are launched, and times that the host waits for the device.

Counted on any machine, a CPU too, as an eager step on a GPU would do it. A launch is an operation that computes or copies; views and
allocations are none. Attention, recurrent layers, dropout and the clipping of gradients are counted as the kernels that a GPU has for
them, whatever a CPU does in their place. Some operations launch several kernels (sorting, convolutions, an update of many parameters),
so a GPU launches at least so many. A synchronisation is a number or a shape that the host reads from values: `item`, `tolist`, `nonzero`,
`unique`, an index by a mask; and on a GPU a copy between host and device, of which a CPU sees those alone that a call names (`cpu`,
`tensor(..., device=...)`, an index that is a list).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sys import _getframe
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.datasets.base import Batch
from bench.methods.base import Method, MethodConfig
from bench.methods.layers import with_dropout_of_torch
from bench.training.loop import Steps, row_batches

aten = torch.ops.aten
READS = frozenset((
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive,
    aten.unique_dim_consecutive, aten.bincount, aten.equal,
))  # fmt: skip  # operations that read a number, or the shape of their result, from values
INDEXES = frozenset((aten.index, aten._unsafe_index, aten.index_put, aten.index_put_, aten._index_put_impl_))
_NO_KERNEL = frozenset((
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "detach", "alias", "lift", "lift_fresh", "_unsafe_view",
    "_reshape_alias", "resize_", "set_", "_local_scalar_dense", "_has_compatible_shallow_copy_type", "is_same_size",
))  # fmt: skip
ONE_KERNEL = frozenset(("scaled_dot_product_attention", "gru", "lstm", "rnn_tanh", "rnn_relu"))  # on a GPU, forwards and again backwards
CLIPPING = 8  # launches of `clip_grad_norm_` on a GPU: all norms, their stack, its norm, a sum, a quotient in two, a bound, all products


@cache
def is_launch(func: torch._ops.OpOverload) -> bool:
    """Whether an operation starts a kernel or a copy."""
    space, _, name = func.name().partition(".")[0].partition("::")
    return not (func.is_view or space in ("prim", "profiler") or name in _NO_KERNEL)


def reads_values(func: torch._ops.OpOverload, args: Any, kwargs: Any) -> bool:
    """Whether the host must wait for values to know a result or its shape."""
    packet = func.overloadpacket
    if packet in INDEXES:
        masks = any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        is_fill = len(args) > 2 and isinstance(args[2], Tensor) and args[2].numel() == 1 and len(args[1]) == 1
        return masks and not is_fill  # one value where one mask is true needs no places
    if packet is aten.repeat_interleave and func.name() == "aten::repeat_interleave.Tensor":
        return kwargs.get("output_size") is None
    return packet in READS


@dataclass(frozen=True)
class StepCount:
    """Launches and synchronisations of one training step, as the suite runs it: rows, forward and backward pass, clipping, optimiser."""

    launches: int
    synchronisations: int
    places: Mapping[str, int]  # function and call, of each synchronisation -> times


def step_count(method: Method, config: MethodConfig, data: Batch) -> StepCount:
    """The count of a second step, on the first batch; the first makes the optimiser's state. The method has moved when this comes back."""
    steps = Steps(method, config)
    method.train()
    rows = next(row_batches(data, config.batch_size))
    tally = _Tally(data.observed.device.type == "cpu")
    steps.take(data.rows(rows), "counting")
    with with_dropout_of_torch(), tally, _AsOnGPU(tally):
        loss = steps.loss(data.rows(rows), "counting")
        steps.backward(loss)
        with tally.paused():
            steps.clip()
        tally.launches += CLIPPING if config.clip_norm else 0
        steps.optimiser.step()
    steps.check()
    method.zero_grad(set_to_none=True)
    return StepCount(tally.launches, sum(tally.places.values()), dict(tally.places))


class _Tally(TorchDispatchMode):
    """Counts what comes by."""

    supports_higher_order_operators = True

    def __init__(self, on_cpu: bool) -> None:
        super().__init__()
        self.on_cpu, self.launches, self.is_paused = on_cpu, 0, False
        self.places: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not self.is_paused and isinstance(func, torch._ops.OpOverload):
            crosses = not self.on_cpu and _crosses(func, args, kwargs, out)
            self.launches += is_launch(func) and not crosses
            if crosses or reads_values(func, args, kwargs):
                self.wait(func.name().removeprefix("aten::"))
        return out

    def wait(self, call: str) -> None:
        """Note a synchronisation, and where in the code of a method or of the suite it stands."""
        self.places[f"{caller()}: {call.partition('.')[0]}"] += 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        before, self.is_paused = self.is_paused, True
        try:
            yield
        finally:
            self.is_paused = before


def _crosses(func: torch._ops.OpOverload, args: Any, kwargs: Any, out: Any) -> bool:
    """Whether an operation copies between host and device, and waits for it."""
    if func.overloadpacket is aten.copy_:
        return args[0].device.type != args[1].device.type and not (len(args) > 2 and args[2])
    if func.overloadpacket is aten._to_copy:
        return args[0].device.type != out.device.type and not kwargs.get("non_blocking", False)
    return False


class _AsOnGPU(TorchFunctionMode):
    """Runs what is one kernel on a GPU as one, and sees the calls that a GPU waits for and a CPU does not dispatch."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__()
        self.tally = tally

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self.tally.is_paused:
            return func(*args, **kwargs)
        if name in ONE_KERNEL:
            return self.as_one(func, args, kwargs)
        if func is F.dropout:
            return torch.native_dropout(args[0], *_dropout_of(*args[1:], **kwargs))[0]
        if self.tally.on_cpu:
            if func in (Tensor.tolist, Tensor.cpu, Tensor.numpy) or (func is torch.tensor and kwargs.get("device") is not None):
                self.tally.wait(name)
            elif func in (Tensor.__getitem__, Tensor.__setitem__) and any(
                isinstance(index, list) for index in (args[1] if isinstance(args[1], tuple) else (args[1],))
            ):
                self.tally.wait("index by a list")
        return func(*args, **kwargs)

    def as_one(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The call with one launch forwards and, where there are gradients, one backwards."""
        flat, form = torch.utils._pytree.tree_flatten((args, kwargs))
        places = [place for place, leaf in enumerate(flat) if isinstance(leaf, Tensor)]

        def again(*tensors: Tensor) -> Any:
            leaves = list(flat)
            for place, tensor in zip(places, tensors, strict=True):
                leaves[place] = tensor
            inner_args, inner_kwargs = torch.utils._pytree.tree_unflatten(leaves, form)
            return func(*inner_args, **inner_kwargs)

        found = _OneKernel.apply(self.tally, again, *(flat[place] for place in places))
        return found[0] if len(found) == 1 else found


def _dropout_of(p: float = 0.5, training: bool = True, inplace: bool = False) -> tuple[float, bool]:
    return p, training


class _OneKernel(torch.autograd.Function):
    """Any function of tensors, as one launch in either direction."""

    @staticmethod
    def forward(ctx: Any, tally: _Tally, function: Callable[..., Any], *tensors: Tensor) -> tuple[Tensor, ...]:
        tally.launches += 1
        with tally.paused(), torch.enable_grad():
            inputs = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in tensors]
            outputs = function(*inputs)
        ctx.tally, ctx.inputs, ctx.outputs = tally, inputs, outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(output.detach() for output in ctx.outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.tally.launches += 1
        wanted = [tensor for tensor in ctx.inputs if tensor.requires_grad]
        pairs = [(output, grad) for output, grad in zip(ctx.outputs, grads, strict=True) if output.requires_grad and grad is not None]
        with ctx.tally.paused():
            found = iter(torch.autograd.grad([output for output, _ in pairs], wanted, [grad for _, grad in pairs], allow_unused=True))
        return (None, None, *(next(found) if tensor.requires_grad else None for tensor in ctx.inputs))


def caller() -> str:
    """The function of a method, or of the suite, that the innermost call came from; a library's where there is none."""
    frame = _getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module != __name__ and not module.startswith(("torch", "contextlib")):
            where = f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"
            if "__torch_" not in where:
                return where
        frame = frame.f_back  # type: ignore[assignment]
    return "torch:backward"

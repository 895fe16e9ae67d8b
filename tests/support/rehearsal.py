"""A second device without hardware, in pure Python: a rehearsal of the GPU on a machine that has none.

A tensor of the device `rehearsal` is a wrapper (`Far`) around a tensor on the CPU (`near`), where all is computed. What a GPU refuses is
refused: operands on two devices, a generator of another device, numpy from the device. What makes the host wait for a GPU is counted as a
synchronisation: a number or a shape that is read from values, and a copy between host and device.

    torch_device = install()                      # once in a process; torch then knows "rehearsal"
    with counting() as counts:
        method(batch.to(torch_device))
    counts.operations, counts.launches, counts.syncs, counts.places

Rules of a GPU that stand here: a CPU tensor of no dimension may join where it stands for a number; a CPU index may index (it is copied:
a synchronisation); a copy may cross; everything else with operands on both sides raises.
What it is not: fast, asynchronous, short of memory, or of other rounding than the CPU.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _foreach_utils as foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from bench.training.launches import INDEXES, is_launch, reads_values

NAME = "rehearsal"
ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(str(ROOT / room) + "/" for room in ("bench", "methods", "datasets"))
aten = torch.ops.aten

COPIES = {aten._to_copy, aten.copy_, aten.copy, aten._copy_from, aten._copy_from_and_resize}
PACKS = {aten._pack_padded_sequence, aten._pack_padded_sequence_backward}  # lengths and batch sizes stay on the host
TAKES_NUMBERS = {aten.where, aten.lerp, aten.lerp_, aten.fill_, aten.fill, aten.masked_fill, aten.masked_fill_, aten._fused_adam_}


class Far(torch.Tensor):
    """A tensor of the device. Its values lie in `near`; views of it wrap views of that, so that writing shows where it should."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        return torch.Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype, device=torch.device(NAME, 0)
        )

    def __init__(self, near: Tensor) -> None:
        self.near = near
        MEMORY.see(near)

    def __repr__(self, **_: object) -> str:
        return f"Far({self.near!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()  # torch's own refuses wrappers

    def numpy(self, *_: object, **__: object) -> Any:
        raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})

    def settle(self) -> None:
        """Take over the shape of `near`, which an operation may have changed in place."""
        if self.size() != self.near.size() or self.stride() != self.near.stride():
            self.data = Far(self.near)


class Generator(torch._C.Generator):
    """A generator that says which device it is of. Of either device it draws as the CPU's does."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        device = torch.device(device)
        made = super().__new__(cls, "cpu" if device.type == NAME else device)
        if device.type == NAME:
            GENERATORS.add(made._cdata)
            weakref.finalize(made, GENERATORS.discard, made._cdata).atexit = False
        return made

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0) if is_far_generator(self) else super().device


GENERATORS: set[int] = set()  # addresses of those of the device: an operation is handed another object for the same one


def is_far_generator(value: object) -> bool:
    return isinstance(value, torch._C.Generator) and value._cdata in GENERATORS


@dataclass
class Counts:
    """What ran on the device, and what made the host wait for it."""

    calls: Counter[str] = field(default_factory=Counter)  # operation -> calls, views and allocations included
    launches: int = 0  # operations that start a kernel at least
    places: Counter[str] = field(default_factory=Counter)  # file:function: operation, of a synchronisation -> times

    @property
    def operations(self) -> int:
        return self.calls.total()

    @property
    def syncs(self) -> int:
        return self.places.total()


COUNTS: list[Counts] = []  # those that count now


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts what runs on the device while the body does, and refuses a generator of the device to the CPU's operations."""
    counts = Counts()
    COUNTS.append(counts)
    try:
        with _Generators():
            yield counts
    finally:
        COUNTS.remove(counts)


class _Generators(TorchDispatchMode):
    """Refuses what draws on the CPU from a generator of the device."""

    supports_higher_order_operators = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if any(map(is_far_generator, (*args, *kwargs.values()))) and not is_far(args, kwargs):
            raise RuntimeError(f"Expected a 'cpu' device type for generator but found '{NAME}'")
        return func(*args, **kwargs)


class Memory:
    """Bytes of values on the device: now, and at most since the last reset."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.sizes: dict[int, int] = {}  # address of a living storage -> bytes

    def see(self, near: Tensor) -> None:
        storage = near.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if size and address not in self.sizes:
            self.sizes[address] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.freed, address).atexit = False

    def freed(self, address: int) -> None:
        self.now -= self.sizes.pop(address)


MEMORY = Memory()


class Module(_DummyBackendModule):
    """`torch.rehearsal`: what torch and the suite ask a device module for."""

    def get_rng_state(self, device: object = None) -> Tensor:
        return torch.get_rng_state()  # the global generator is the CPU's

    def set_rng_state(self, state: Tensor, device: object = None) -> None:
        torch.set_rng_state(state)

    def synchronize(self, device: object = None) -> None:
        """Nothing runs ahead here."""

    def get_device_name(self, device: object = None) -> str:
        return "a rehearsal"

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []

    def max_memory_allocated(self, device: object = None) -> int:
        return MEMORY.peak

    def reset_peak_memory_stats(self, device: object = None) -> None:
        MEMORY.peak = MEMORY.now


@cache
def install() -> torch.device:
    """Make the device compute. Once in a process: torch has no way back."""
    everything, named = torch.library.Library("_", "IMPL", "PrivateUse1"), torch.library.Library("aten", "IMPL", "PrivateUse1")
    everything.fallback(lambda func, *args, **kwargs: run(func, args, kwargs))
    for op in (aten.copy_.default, aten.empty.memory_format, aten.empty_strided.default):  # `torch.tensor` hides wrappers and modes,
        named.impl(op.name(), lambda *args, op=op, **kwargs: run(op, args, kwargs))  # and what is hidden finds no fallback
    KEPT.extend((everything, named))
    foreach_utils._foreach_supported_types.append(Far)  # which goes by the class of a tensor, not by its device
    torch.Generator = Generator  # type: ignore[misc]  # torch makes generators of its own devices alone
    return torch.device(NAME, 0)


# Before anything in this process goes backward: autograd counts the kinds of devices once, at its first step.
_setup_privateuseone_for_python_backend(NAME, Module())
KEPT: list[object] = []  # libraries: one that nobody holds takes its kernels back


def is_far(args: Any, kwargs: Any) -> bool:
    """Whether an operation runs on the device: by its tensors, or without any by the device asked for."""
    tensors = [leaf for leaf in _leaves(args, kwargs) if isinstance(leaf, Tensor)]
    if tensors:
        return any(isinstance(tensor, Far) for tensor in tensors)
    device = kwargs.get("device")
    return device is not None and torch.device(device).type == NAME


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """One operation with operands of the device, or that makes a tensor of it."""
    packet = func.overloadpacket
    leaves = _leaves(args, kwargs)
    far = [leaf for leaf in leaves if isinstance(leaf, Far)]
    near = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Far)]
    if far and near:
        _check_devices(func, packet, args, kwargs, near)
    for leaf in leaves:
        if isinstance(leaf, torch._C.Generator) and not is_far_generator(leaf):
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
    device = kwargs.get("device")
    goes_far = bool(far) if device is None else torch.device(device).type == NAME
    if packet is aten.copy_:
        goes_far = isinstance(args[0], Far)
    _count(func, packet, args, kwargs, crosses=bool(far and near) or (bool(far or near) and bool(far) != goes_far))
    inner_args, inner_kwargs = _unwrapped(args), {key: _unwrapped(value) for key, value in kwargs.items()}
    if inner_kwargs.pop("pin_memory", False):
        raise RuntimeError("Only dense CPU tensors can be pinned")
    out = WRITTEN_OUT.get(packet, func)(*inner_args, **inner_kwargs)
    written = _written(func, args, kwargs)
    for tensor in _leaves(written, {}):
        if isinstance(tensor, Far):
            tensor.settle()
    if written and func._schema.returns:  # what was written into is what comes back, the same wrapper
        return written[0] if len(func._schema.returns) == 1 else _returned(func, out, written)
    if packet is aten._pack_padded_sequence:
        return Far(out[0]), out[1]
    return _wrapped(out) if goes_far else out


def _leaves(args: Any, kwargs: Any) -> list[Any]:
    """The values in arguments, and in lists of them."""
    found: list[Any] = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, list | tuple):
            found += _leaves(value, {})
        else:
            found.append(value)
    return found


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Far):
        return value.near
    if isinstance(value, list | tuple):
        return type(value)(map(_unwrapped, value)) if type(value) in (list, tuple) else value
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


def _wrapped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if isinstance(value, Far) else Far(value)
    return type(value)(map(_wrapped, value)) if type(value) in (list, tuple) else value


def _check_devices(func: Any, packet: Any, args: Any, kwargs: Any, near: list[Tensor]) -> None:
    """Raises: RuntimeError where a GPU would, of operands on two devices."""
    if packet in COPIES or packet in PACKS:
        return
    if packet in INDEXES:
        values = args[2] if len(args) > 2 else None
        if isinstance(args[0], Far) and (not isinstance(values, Tensor) or isinstance(values, Far) or not values.dim()):
            return
    elif all(not tensor.dim() for tensor in near) and (
        packet in TAKES_NUMBERS or torch.Tag.pointwise in func.tags or "foreach" in func.name()
    ):
        written = _leaves(_written(func, args, kwargs), {})
        if all(isinstance(tensor, Far) for tensor in written if isinstance(tensor, Tensor)):
            return
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu! (in {func.name()})"
    )


def _written(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """The arguments that an operation writes into, in the order of its schema."""
    found = (kwargs.get(name, args[position] if position < len(args) else None) for position, name in _places_written(func))
    return [given for given in found if given is not None]


@cache
def _places_written(func: Any) -> list[tuple[int, str]]:
    arguments = enumerate(func._schema.arguments)
    return [(place, argument.name) for place, argument in arguments if argument.alias_info is not None and argument.alias_info.is_write]


def _returned(func: Any, out: Any, written: list[Any]) -> Any:
    """Several results, those that alias a written argument being that argument."""
    aliased = iter(written)
    return tuple(
        next(aliased)
        if result.alias_info is not None and result.alias_info.is_write
        else Far(value)
        if isinstance(value, Tensor)
        else value
        for result, value in zip(func._schema.returns, out, strict=True)
    )


def _count(func: Any, packet: Any, args: Any, kwargs: Any, crosses: bool) -> None:
    if not COUNTS:
        return
    reads = reads_values(func, args, kwargs)
    if packet in INDEXES:
        crosses = any(isinstance(index, Tensor) and not isinstance(index, Far) and bool(index.dim()) for index in args[1])
    else:
        crosses = crosses and packet in COPIES and not kwargs.get("non_blocking", False)  # else a number of the host is handed over
    place = _place(func) if reads or crosses else None
    for counts in COUNTS:
        counts.calls[func.name()] += 1
        counts.launches += is_launch(func) and not (crosses and packet in COPIES)
        if place is not None:
            counts.places[place] += 1


def _place(func: Any) -> str:
    """Where in our source the innermost call stands."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS) and frame.f_code.co_name != "__torch_dispatch__":  # a mode of ours that looks on asked for nothing
            return f"{Path(file).relative_to(ROOT)}:{frame.f_code.co_qualname}: {func.name().removeprefix('aten::')}"
        frame = frame.f_back  # type: ignore[assignment]
    return f"elsewhere: {func.name().removeprefix('aten::')}"


# ---- cells of recurrent layers, which on a GPU are kernels that the CPU has not


def gru_cell(of_input: Tensor, of_state: Tensor, state: Tensor, bias_input: Any = None, bias_state: Any = None) -> tuple[Tensor, Tensor]:
    """The next state (B, D), and what the backward pass needs (B, 5 D). Shapes: products (B, 3 D), state (B, D)."""
    if bias_input is not None:
        of_input, of_state = of_input + bias_input, of_state + bias_state
    (ri, zi, ni), (rh, zh, nh) = of_input.chunk(3, 1), of_state.chunk(3, 1)
    r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
    n = torch.tanh(ni + r * nh)
    return n + z * (state - n), torch.cat([r, z, n, state, nh], 1)


def gru_cell_backward(grad: Tensor, workspace: Tensor, has_bias: bool) -> tuple[Any, ...]:
    r, z, n, state, nh = workspace.chunk(5, 1)
    dz, dn = grad * (state - n) * z * (1 - z), grad * (1 - z) * (1 - n * n)
    dr = dn * nh * r * (1 - r)
    of_input, of_state = torch.cat([dr, dz, dn], 1), torch.cat([dr, dz, dn * r], 1)
    return of_input, of_state, grad * z, (of_input.sum(0) if has_bias else None), (of_state.sum(0) if has_bias else None)


def lstm_cell(of_input: Tensor, of_state: Tensor, cell: Tensor, bias_input: Any = None, bias_state: Any = None) -> tuple[Tensor, ...]:
    """State and cell (B, D), and the gates (B, 4 D). Shapes: products (B, 4 D), cell (B, D)."""
    gates = of_input + of_state
    if bias_input is not None:
        gates = gates + bias_input + bias_state
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    after = f * cell + i * g
    return o * torch.tanh(after), after, torch.cat([i, f, g, o], 1)


def lstm_cell_backward(
    grad_state: Tensor | None, grad_cell: Tensor | None, before: Tensor, after: Tensor, workspace: Tensor, has_bias: bool
) -> tuple[Any, ...]:
    i, f, g, o = workspace.chunk(4, 1)
    squashed = torch.tanh(after)
    of_state = torch.zeros_like(after) if grad_state is None else grad_state
    of_cell = of_state * o * (1 - squashed**2) + (0 if grad_cell is None else grad_cell)
    gates = torch.cat(
        [of_cell * g * i * (1 - i), of_cell * before * f * (1 - f), of_cell * i * (1 - g**2), of_state * squashed * o * (1 - o)], 1
    )
    return gates, of_cell * f, (gates.sum(0) if has_bias else None)


WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    aten._thnn_fused_gru_cell: gru_cell,
    aten._thnn_fused_gru_cell_backward: gru_cell_backward,
    aten._thnn_fused_lstm_cell: lstm_cell,
    aten._thnn_fused_lstm_cell_backward_impl: lstm_cell_backward,
}

"""What a prediction costs: floating-point operations, parameters, latency, memory. `bench.inspection.profile` makes a report of it.

torch's counter reports 0 for fused attention fast paths, for recurrent layers in one kernel, for `cdist` and for products with a
vector (measured), so operations are counted with attention on the math backend, the fused kernels off, and our own formulas for
the rest. A multiply-add counts 2. Light work, of a cost proportional to the data it passes over (activations, norms, softmax,
sorting, look-ups), is not counted; any other operation without a formula is named in `Count.not_counted`.
"""

from __future__ import annotations

import math
import re
import resource
import statistics
import sys
import time
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends.mha import get_fastpath_enabled, set_fastpath_enabled
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from bench.datasets.base import Batch
from bench.errors import TrialError
from bench.methods.base import Method
from bench.training.devices import synchronise
from bench.training.loop import suite_loss

OTHER = "other"  # work and parameters outside any submodule
aten = torch.ops.aten


def _mv_flops(matrix, vector, *_, **__) -> int:
    return 2 * math.prod(matrix)


def _addmv_flops(start, matrix, vector, *_, **__) -> int:
    return 2 * math.prod(matrix)


def _dot_flops(a, b, *_, **__) -> int:
    return 2 * math.prod(a)


def _addbmm_flops(start, a, b, *_, **__) -> int:
    return 2 * math.prod(a) * b[-1]


def _cdist_flops(a, b, *_, **__) -> int:
    """Pairwise distances by their definition, in whatever kernel: a difference, a product and a sum for each pair and feature."""
    return 3 * math.prod(a) * b[-2]


def _cdist_backward_flops(grad, a, b, *_, **__) -> int:
    """Gradient of one side: a difference, a product and a sum for each pair and feature."""
    return 3 * math.prod(a) * b[-2]


def _pdist_flops(a, *_, **__) -> int:
    return 3 * a[1] * (a[0] * (a[0] - 1) // 2)


def _attention_flops(q, k, v, *_, **__) -> int:
    return sdpa_flop_count(q, k, v)


def _attention_backward_flops(grad, q, k, v, *_, **__) -> int:
    """The scores once more, then gradients of values, scores, queries and keys: five products where the forward pass has two."""
    scores = 2 * math.prod(q) * k[-2]
    values = 2 * math.prod(q[:-1]) * math.prod(v[-2:])
    return 3 * scores + 2 * values


def _convolution_backward_flops(grad, x, weight, *further, **__) -> int:
    """Gradients of input and weight, where wanted, each as much as the forward pass; torch's formula ignores groups in the weight's."""
    _bias, _stride, _padding, _dilation, transposed, _output, _groups, mask = further
    places = x if transposed else grad
    return 2 * places[0] * math.prod(places[2:]) * math.prod(weight) * (bool(mask[0]) + bool(mask[1]))


FORMULAS = {
    aten.mv: _mv_flops,
    aten.addmv: _addmv_flops,
    aten.dot: _dot_flops,
    aten.vdot: _dot_flops,
    aten.addbmm: _addbmm_flops,
    aten._cdist_forward: _cdist_flops,
    aten._euclidean_dist: _cdist_flops,  # what `cdist` runs for more than 25 rows
    aten._cdist_backward: _cdist_backward_flops,
    aten._pdist_forward: _pdist_flops,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,  # where a method picks the backend itself
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
    aten.convolution_backward: _convolution_backward_flops,
}
_LIGHT_NAMES = """
arange empty empty_like empty_strided new_empty new_empty_strided new_zeros new_ones new_full zeros zeros_like ones ones_like full
full_like eye scalar_tensor linspace lift_fresh clone copy _to_copy _unsafe_view cat stack unbind repeat repeat_interleave roll flip
constant_pad_nd
reflection_pad1d reflection_pad2d replication_pad1d tril triu detach fill zero squeeze unsqueeze transpose t swapaxes unsafe_split
im2col col2im _pack_padded_sequence _local_scalar_dense index index_select index_put _index_put_impl _unsafe_index index_add index_copy
index_fill gather scatter scatter_add scatter_reduce masked_select masked_scatter masked_fill nonzero take put embedding _embedding_bag
isin searchsorted bucketize sum mean var std var_mean std_mean prod max min amax amin aminmax argmax argmin any all cumsum cumprod
logcumsumexp cummax logsumexp norm linalg_vector_norm sort argsort topk kthvalue median mode bincount histc _unique _unique2 unique_dim
unique_consecutive equal floor_divide _softmax _log_softmax _safe_softmax native_layer_norm native_group_norm native_batch_norm
_native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_with_update cudnn_batch_norm _fused_rms_norm
max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d
native_dropout bernoulli uniform normal random exponential multinomial rand randn randint randperm rand_like randn_like
_thnn_fused_lstm_cell _thnn_fused_gru_cell
"""
LIGHT = frozenset(_LIGHT_NAMES.split())  # in-place variants, views, and what torch tags as pointwise, are light too


@contextmanager
def countable() -> Iterator[None]:
    """Every matrix product goes through an operation that the counter sees, forwards and backwards."""
    fastpath, cudnn = get_fastpath_enabled(), torch.backends.cudnn.enabled
    fused = torch.backends.mkldnn.set_flags(_enabled=False)[0]  # the `flags` manager also sets TF32, which warns without Intel GPUs
    torch.backends.cudnn.enabled = False  # or a recurrent layer is one kernel
    set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        set_fastpath_enabled(fastpath)
        torch.backends.cudnn.enabled = cudnn
        torch.backends.mkldnn.set_flags(_enabled=fused)


class _Unknown(TorchDispatchMode):
    """Counts the calls of operations that neither have a formula nor are light. Entered outside the counter, it sees what that runs."""

    supports_higher_order_operators = True

    def __init__(self, formulas: Mapping[object, object]) -> None:
        super().__init__()
        self.formulas = formulas
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not isinstance(func, torch._ops.OpOverload):
            self.calls[str(func)] += 1
        elif func.overloadpacket not in self.formulas and not _is_light(func):
            self.calls[func.name().partition(".")[0].replace("::", ".")] += 1
        return func(*args, **(kwargs or {}))


@cache
def _is_light(func: torch._ops.OpOverload) -> bool:
    space, _, name = func.name().partition(".")[0].partition("::")
    if func.is_view or torch.Tag.pointwise in func.tags or space == "prim":
        return True
    return space == "aten" and (name in LIGHT or (name.endswith("_") and name[:-1] in LIGHT))


@dataclass(frozen=True)
class Count:
    """Floating-point operations of one or more passes.

    `by_module` splits them by module path, each with its own work alone, "" being the method itself; it sums to `flops`.
    """

    flops: float
    by_module: Mapping[str, float]
    not_counted: Mapping[str, int]  # operation that is not light and has no formula -> calls

    def by_component(self, depth: int = 1) -> dict[str, float]:
        """Operations by submodule, nested ones down to `depth`; they sum to the total."""
        totals: defaultdict[str, float] = defaultdict(float)
        for path, flops in self.by_module.items():
            totals[component(path, depth)] += flops
        return dict(totals)


def component(path: str, depth: int) -> str:
    """The part of a method that a module belongs to.

    >>> component("encoders.0.perceptron", 2), component("", 1)
    ('encoders.0', 'other')
    """
    return ".".join(path.split(".")[:depth]) or OTHER


def forward_count(method: Method, batches: Iterable[Batch]) -> Count:
    """Operations of the forward passes of all batches together, in evaluation, without gradients."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    unknown = _Unknown(counter.flop_registry)
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    for parameter in trained:  # a view of a parameter made without gradients still asks for one, and the counter's hooks stumble over it
        parameter.requires_grad_(False)
    try:
        with torch.no_grad(), countable(), unknown, counter, _by_module(method, counter) as by_module:
            for batch in batches:
                method(batch)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return Count(float(counter.get_total_flops()), dict(by_module), dict(unknown.calls))


@contextmanager
def _by_module(method: nn.Module, counter: FlopCounterMode) -> Iterator[dict[str, float]]:
    """Fills a table of each module's own operations while its body runs: what ran inside a module, less what ran in those it called."""
    own: dict[str, float] = {"": 0.0}
    starts: list[int] = []  # of each module now running: what was counted before it began, and what those it called have taken

    def enter(path: str, *_: object) -> None:
        starts.append(counter.get_total_flops())

    def leave(path: str, *_: object) -> None:
        taken = counter.get_total_flops() - starts.pop()
        own[path] = own.get(path, 0.0) + taken
        for position in range(len(starts)):
            starts[position] += taken

    handles = []
    for path, module in method.named_modules():
        handles.append(module.register_forward_pre_hook(lambda *_, path=path: enter(path)))
        handles.append(module.register_forward_hook(lambda *_, path=path: leave(path)))
    try:
        yield own
    finally:
        for handle in handles:
            handle.remove()


class _Tally(TorchDispatchMode):
    """Counts by the formulas of torch's counter, at a fifth of its time: no modules are told apart, nothing is decomposed.

    While gradients are on it sees every product, for autograd has then taken compound operations apart before they come here.
    """

    def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()
        self.formulas, self.flops = formulas, 0
        self.by_shape = {packet: formula.__wrapped__ for packet, formula in formulas.items() if hasattr(formula, "__wrapped__")}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = self.by_shape.get(func.overloadpacket)
        if formula is not None:  # takes shapes in place of tensors; torch's own wrapper walks trees of arguments, which costs more
            named = {key: _shape(value) for key, value in (kwargs or {}).items()}
            self.flops += formula(*map(_shape, args), **named, out_shape=_shape(out))
        elif func.overloadpacket in self.formulas:
            self.flops += self.formulas[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def _shape(value: Any) -> Any:
    """The shape of a tensor, those of the tensors in a tuple or list; anything else as it is."""
    if isinstance(value, Tensor):
        return value.shape
    return type(value)(map(_shape, value)) if type(value) in (tuple, list) else value


def training_flops(method: Method, batch: Batch, check: Callable[[object], None] = lambda prediction: None) -> float:
    """Floating-point operations of one training step: forward pass, penalties and backward pass; the optimiser's step is light.

    It moves what a training step moves but the parameters (random streams, batch norm) and leaves the method in training mode,
    without gradients. `check` sees what the method returned before anything is done with it.
    """
    tally = _Tally(FlopCounterMode(display=False, custom_mapping=FORMULAS).flop_registry)
    method.train()
    with torch.enable_grad(), countable(), tally:
        prediction = method(batch)
        check(prediction)
        suite_loss(method, prediction, batch).backward()
    method.zero_grad(set_to_none=True)
    return float(tally.flops)


def parameters_by_component(method: Method, depth: int = 1) -> dict[str, tuple[int, int]]:
    """Trainable parameters of each component, and those of them that act on one sample; each sums to the method's own number."""
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            for position in range(2):
                totals[component(name.rpartition(".")[0], depth)][position] += parameter.numel()
    for path, module in method.named_modules():
        totals[component(path, depth)][1] -= getattr(module, "idle_parameters", 0)
    return {name: (owned, active) for name, (owned, active) in totals.items() if owned}


def stated_number(what: str, value: object, whole: bool = False) -> float | int | None:
    """A number that a method states of itself, as JSON knows numbers. Raises: TrialError if it is none, negative or not finite."""
    if value is None:
        return None
    number = float(value) if isinstance(value, Integral if whole else Real) and not isinstance(value, bool) else math.nan
    if not 0 <= number < math.inf:
        raise TrialError(f"{what} must return {'a whole number' if whole else 'a number'} of at least 0, or None, got {value!r}")
    return int(number) if whole else number


def latency_ms(method: Method, batches: Sequence[Batch], passes: int = 20, seconds: float = 0.1) -> float:
    """Median time of a forward pass in milliseconds over batches taken in turn, after two warm-up passes.

    At least three passes are timed; no new one starts after `seconds`.
    """
    times: list[float] = []
    begin = time.perf_counter()
    with torch.no_grad():
        while len(times) < passes + 2 and (len(times) < 5 or time.perf_counter() - begin < seconds):
            batch = batches[len(times) % len(batches)]
            start = time.perf_counter()
            method(batch)
            synchronise(batch.observed.device)
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[2:])


class TensorMemory(TorchDispatchMode):
    """Bytes of the tensors that operations under it have read or made and that still live: now, and at most since `restart`.

    Exact and repeatable; what a kernel holds while it runs is not in it. A tensor counts from the first operation that touches it.

    >>> with TensorMemory() as memory:
    ...     x = torch.zeros(1000)
    ...     x = x + 1
    >>> memory.peak, memory.now
    (8000, 4000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}  # address of a living storage -> bytes

    def restart(self) -> None:
        self.peak = self.now

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in (*args, *(kwargs or {}).values(), result):
            self._see(value)
        return result

    def _see(self, value: object) -> None:
        if isinstance(value, list | tuple):
            for item in value:
                self._see(item)
        elif isinstance(value, Tensor) and value.layout == torch.strided:
            storage = value.untyped_storage()
            address, size = storage.data_ptr(), storage.nbytes()
            if size and address not in self._sizes:
                self._sizes[address] = size
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, address).atexit = False

    def _freed(self, address: int) -> None:
        self.now -= self._sizes.pop(address)


def resident_mb() -> float:
    """Largest memory this process has held so far, in MB (1e6 bytes).

    Linux's getrusage would also count what the program held that started this one, so there the kernel's own mark of it is read.
    """
    status = Path("/proc/self/status")
    mark = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8", errors="replace")) if status.exists() else None
    if mark:
        return int(mark[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6

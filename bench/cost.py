"""What a prediction costs: floating-point operations, parameters, latency, memory.

torch's counter reports 0 for fused attention fast paths, for LSTM on CPU and for `cdist` (measured), so operations are
counted with attention on the math backend, the fused kernels off, and a formula for `cdist`. A multiply-add counts 2. Elementwise
work (activations, norms, softmax, sorting, index look-ups) is not counted.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.backends.mha import get_fastpath_enabled, set_fastpath_enabled
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.datasets.base import Batch
from bench.methods.base import Method


def _cdist_flops(a_shape, b_shape, *_, out_shape=None, **__) -> int:
    """Pairwise distances: a difference, a product and a sum for each pair and feature."""
    return 3 * a_shape[-2] * b_shape[-2] * a_shape[-1] * int(torch.Size(a_shape[:-2]).numel())


FORMULAS = {torch.ops.aten._cdist_forward: _cdist_flops}


@contextmanager
def countable() -> Iterator[None]:
    """Every matrix product goes through an operation that the counter sees."""
    fastpath = get_fastpath_enabled()
    fused = torch.backends.mkldnn.set_flags(_enabled=False)[0]  # the `flags` manager also sets TF32, which warns without Intel GPUs
    set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        set_fastpath_enabled(fastpath)
        torch.backends.mkldnn.set_flags(_enabled=fused)


def forward_flops(method: Method, batches: Iterable[Batch]) -> float:
    """Floating-point operations of the forward passes of all batches together, in evaluation, without gradients."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    for parameter in trained:  # a view of a parameter made without gradients still asks for one, and the counter's hooks stumble over it
        parameter.requires_grad_(False)
    try:
        with torch.no_grad(), countable(), counter:
            for batch in batches:
                method(batch)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return float(counter.get_total_flops())


class _Tally(TorchDispatchMode):
    """Counts by the formulas of torch's counter, at a fifth of its time: no modules are told apart, nothing is decomposed.

    It sees every product while gradients are on, for autograd has then taken compound operations apart before they come here.
    """

    def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()
        self.formulas, self.flops = formulas, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = self.formulas.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def training_flops(method: Method, batch: Batch) -> float:
    """Floating-point operations of one training step: forward pass, penalties and backward pass; the optimiser's step is light.

    It moves what a training step moves but the parameters (random streams, batch norm) and leaves the method in training mode,
    without gradients.
    """
    tally = _Tally(FlopCounterMode(display=False, custom_mapping=FORMULAS).flop_registry)
    method.train()
    with torch.enable_grad(), countable(), tally:
        prediction = method(batch)
        loss = F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())
        loss.backward()
    method.zero_grad(set_to_none=True)
    return float(tally.flops)


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
            if batch.observed.is_cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[2:])


def resident_mb() -> float:
    """Largest memory this process has held so far, in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6

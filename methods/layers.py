"""Parts that two papers mean alike: attention, transformer blocks, sparse experts with their gates, modality dropout.

Each is tested against its formula in tests/methods/test_layers.py. Shape letters: B batch, M modalities, T tokens, D width,
V routed units (rows of any kind), E experts, K kept experts, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """Dropout whose mask costs little on a CPU: torch's own draws one number per value there, this one 8 or 16 bits.

    The chance is p to the nearest 1/65536 (8 bits where p is a multiple of 1/256), and the scale is that of the chance used, so the
    mean is kept exactly. On a GPU it is torch's own. Draws from torch's global generator, as torch's own does.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


_own_dropout = ContextVar("own dropout", default=True)


@contextmanager
def with_dropout_of_torch() -> Iterator[None]:
    """Dropout as a GPU does it, on a CPU too: to count what it costs there."""
    token = _own_dropout.set(False)
    try:
        yield
    finally:
        _own_dropout.reset(token)


def draws_here(x: Tensor) -> bool:
    """Whether dropout of x is this file's own, and not torch's."""
    return x.device.type == "cpu" and _own_dropout.get()


def dropout(x: Tensor, p: float) -> Tensor:
    """x with values zeroed at chance p and the others scaled up. Keeps the shape."""
    if p == 0:
        return x
    if not draws_here(x):
        return F.dropout(x, p)
    bits = 8 if p * 256 == round(p * 256) else 16
    patterns, kind = 2**bits, torch.int8 if bits == 8 else torch.int16
    dropped = min(round(p * patterns), patterns - 1)  # of equally likely patterns
    words = torch.empty(-(-x.numel() * bits // 64), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(kind)[: x.numel()].ge_(dropped - patterns // 2)  # in place: by way of booleans the mask takes four times as long
    return x * kept.to(x.dtype).view(x.shape).mul_(patterns / (patterns - dropped))


class Attention(nn.Module):
    """Multi-head self-attention with scale (D/H)^-1/2.

    Shapes: x (B, T, D), keys (B, T) bool, True = may be attended to, at least one a row -> (B, T, D).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, qkv_bias: bool = True) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, T, D/H)
        mask = None if keys is None else keys[:, None, None, :]
        if self.training and self.dropout > 0 and draws_here(x):  # torch has no fused path with dropout there
            a = (q * q.shape[3] ** -0.5) @ k.mT  # (B, H, T, T)
            if mask is not None:
                a = a + torch.zeros_like(mask, dtype=a.dtype).masked_fill(~mask, -torch.inf)
            h = dropout(a.softmax(3), self.dropout) @ v
        else:
            h = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=self.dropout if self.training else 0.0)
        return self.out(h.transpose(1, 2).flatten(2))  # (B, T, D)


class FeedForward(nn.Sequential):
    """Linear, activation, dropout, linear, applied to each token."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__(nn.Linear(width, hidden), activation(), Dropout(dropout), nn.Linear(hidden, width))


class TransformerBlock(nn.Module):
    """Pre-norm block: x + Drop(attention(norm x)), then x + Drop(feed-forward(norm x)). Shapes as `Attention`."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float = 0.0, qkv_bias: bool = True) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, qkv_bias)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), keys))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class GroupedLinear(torch.autograd.Function):
    """x W_e^T + b_e for rows grouped by expert: the first counts[0] rows use expert 0, and so on.

    One product per visited expert writes its rows or its gradient in place; slicing the stacked weight under autograd would
    fill a full-size gradient, or copy, for each expert. Shapes: x (V, I), weight (E, O, I), bias (E, O), counts (E,) list -> (V, O).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, counts: list[int]) -> Tensor:
        y = x.new_empty(len(x), weight.shape[1])
        for rows, out, w, b in zip(x.split(counts), y.split(counts), weight.mT.unbind(), bias.unbind(), strict=True):
            if len(rows):
                torch.addmm(b, rows, w, out=out)
        ctx.save_for_backward(x, weight)
        ctx.counts = counts
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (x, weight), counts, grad = ctx.saved_tensors, ctx.counts, grads[0].contiguous()
        of_x, of_weight, of_bias = torch.empty_like(x), torch.empty_like(weight), weight.new_empty(weight.shape[:2])
        columns = (each.unbind() for each in (weight, of_weight, of_bias))
        for rows, g, out, w, out_w, out_b in zip(x.split(counts), grad.split(counts), of_x.split(counts), *columns, strict=True):
            if len(rows):
                torch.mm(g, w, out=out)
                torch.mm(g.T, rows, out=out_w)
                torch.sum(g, 0, out=out_b)
            else:
                out_w.zero_()
                out_b.zero_()
        return of_x, of_weight, of_bias, None


class SparseExperts(nn.Module):
    """E feed-forward experts (linear, GELU, dropout, linear); each unit visits the K experts its gate names.

    Units are sorted by expert, so the loop runs over experts, never over units, and only visited experts compute.
    Shapes: x (V, D_in), experts (V, K) int64, gates (V, K) -> (V, D_out).
    """

    def __init__(self, experts: int, kept: int, features: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.experts, self.kept, self.dropout = experts, kept, dropout
        self.weight1 = nn.Parameter(torch.empty(experts, hidden, features))
        self.bias1 = nn.Parameter(torch.empty(experts, hidden))
        self.weight2 = nn.Parameter(torch.empty(experts, outputs, hidden))
        self.bias2 = nn.Parameter(torch.empty(experts, outputs))
        for weight, bias in ((self.weight1, self.bias1), (self.weight2, self.bias2)):  # as nn.Linear starts
            bound = 1 / math.sqrt(weight.shape[2])
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    @property
    def idle_parameters(self) -> int:
        """Parameters of the experts that one unit does not visit."""
        return sum(parameter.numel() for parameter in self.parameters()) // self.experts * (self.experts - self.kept)

    def forward(self, x: Tensor, experts: Tensor, gates: Tensor) -> Tensor:
        kept = experts.shape[1]
        order = experts.flatten().argsort(stable=True)  # (V*K,) assignments, grouped by expert
        counts = count_of(experts.flatten(), self.experts).tolist()  # the shapes of the products: here a GPU is waited for
        unit = order // kept  # (V*K,)
        h = F.gelu(GroupedLinear.apply(x.index_select(0, unit), self.weight1, self.bias1, counts))  # (V*K, hidden)
        h = dropout(h, self.dropout) if self.training else h
        y = GroupedLinear.apply(h, self.weight2, self.bias2, counts) * gates.flatten()[order].unsqueeze(1)  # (V*K, D_out)
        return y.new_zeros(len(x), y.shape[1]).index_add(0, unit, y)  # (V, D_out)


def count_of(numbers: Tensor, length: int) -> Tensor:
    """How often each of 0 .. length-1 occurs, as `torch.bincount` says it, without making the host wait for a GPU.

    Shapes: (N,) int64 -> (length,) int64.
    """
    return torch.zeros(length, dtype=torch.int64, device=numbers.device).index_add(0, numbers, torch.ones_like(numbers))


def cv_squared(values: Tensor) -> Tensor:
    """Squared coefficient of variation var / (mean^2 + 1e-10), unbiased var; 0 for fewer than two values. Shapes: (..., E) -> (...)."""
    if values.shape[-1] < 2:
        return values.sum(-1) * 0.0
    values = values.float()
    return values.var(-1) / (values.mean(-1) ** 2 + 1e-10)


def in_top_k_probability(clean: Tensor, noisy: Tensor, sigma: Tensor, kept: int) -> Tensor:
    """Probability that each expert is among the K kept when its noise alone is drawn anew.

    An expert now kept is compared with the (K+1)-th noisy logit, any other with the K-th. Forbidden experts have -inf in both
    logits and get 0. Shapes: clean, noisy, sigma (V, E) -> (V, E). Needs K < number of allowed experts.
    Source: Shazeer et al. 2017, appendix A, as in fastmoe's NoisyGate.
    """
    top = noisy.topk(kept + 1, dim=1).values  # (V, K+1)
    threshold_in, threshold_out = top[:, kept].unsqueeze(1), top[:, kept - 1].unsqueeze(1)
    threshold = torch.where(noisy > threshold_in, threshold_in, threshold_out)
    allowed = clean.isfinite()
    z = (torch.where(allowed, clean, 0.0) - threshold) / sigma
    return torch.where(allowed, torch.special.ndtr(z), 0.0)


def uniform_subset(observed: Tensor, generator: Generator) -> Tensor:
    """A uniformly drawn non-empty subset of each row's observed modalities; an empty row stays empty.

    Shapes: observed (B, M) bool -> (B, M) bool. Source: mmFormer, `datasets_nii.py`.
    """
    count = observed.sum(1)  # (B,)
    u = torch.rand(len(observed), generator=generator, device=observed.device, dtype=torch.float64)
    code = (u * (2**count - 1)).long() + 1  # (B,) an integer in 1 .. 2^count - 1
    rank = observed.long().cumsum(1) - 1  # (B, M) position among the observed
    return observed & ((code.unsqueeze(1) >> rank.clamp(min=0)) & 1).bool()


def uniform_size_subset(observed: Tensor, generator: Generator) -> Tensor:
    """A subset of each row's observed modalities whose size is uniform in 1..count; an empty row stays empty.

    Shapes: observed (B, M) bool -> (B, M) bool. Source: ShaSpec, `DualNet_SS.py`, mode "random".
    """
    count = observed.sum(1)
    size = (torch.rand(len(observed), generator=generator, device=observed.device) * count).long() + 1  # (B,)
    keys = torch.rand(observed.shape, generator=generator, device=observed.device).masked_fill(~observed, 2.0)
    return observed & (keys.argsort(1).argsort(1) < size.unsqueeze(1))


def hash_uniform(seed: int | Tensor, *counters: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on `seed` and the counters alone, not on batch size or order.

    Shapes: seed (), counters broadcast together, int64 -> float64 of that shape. The mixing is the finaliser of SplitMix64.
    """
    state = torch.zeros((), dtype=torch.int64, device=counters[0].device) + (seed & 0x7FFFFFFFFFFFFFFF)
    for counter in counters:
        state = _mix(state * -7046029254386353131 + counter + 1)
    return ((state >> 11) & ((1 << 53) - 1)).double() / (1 << 53)


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser in wrapping int64 arithmetic; the masks turn arithmetic shifts into logical ones."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * -4658895280553007687
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * -7723592293110705685
    return z ^ ((z >> 31) & ((1 << 33) - 1))

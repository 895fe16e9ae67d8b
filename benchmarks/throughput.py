"""How fast the methods train on one fixed workload, against the machine's own matrix product and a plain loop. Prints JSON.

    python benchmarks/throughput.py [--methods paper] [--rounds 5] [--scaling] [--breakdown] [--compile] [--graphs] [--device cpu]

Workload W: 512 samples, three vector modalities of 64 features, missing rate 0.3, 16 tokens a modality and width 128 where a method
has them, batch 16, one training epoch (forward, backward, fused Adam). Reported for each method: samples a second; utilisation, the
counted training FLOPs over time and over the peak of a 1024 x 1024 matrix product, measured before and after each epoch; seconds
per counted GFLOP against the median method. For MoE-Retriever: speed against `LoopMoERetriever`, the same mathematics one (sample,
missing modality) at a time in plain torch, and the largest difference between the two. `--scaling` adds the exponent of time in
batch size, `--breakdown` where a step's time goes, and the utilisation that would be left if calls cost nothing and only the
operations' own work took time. On a CPU everything runs on one thread. Compare ratios of one run; times are of this machine at this moment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.data.parts import batch_rows
from bench.datasets.base import Batch, Modality, Samples, Schema, as_batch
from bench.errors import UsageError
from bench.methods.base import Method
from bench.methods.layers import Attention, Dropout, cv_squared
from bench.methods.moe_retriever import MoERetriever, Retriever, Routing
from bench.names import parse_choice
from bench.training.cost import FORMULAS, training_flops

SAMPLES, MODALITIES, FEATURES, CLASSES, MISSING = 512, 3, 64, 3, 0.3
WORKLOAD = {"tokens": 16, "width": 128, "batch_size": 16}
# 16 tokens make FuseMoE's experts read and write 2,048 and 6,144 values: 200 million parameters, of which Adam alone takes the time
OVERRIDES: dict[str, dict[str, int]] = {"fusemoe": {"tokens": 1}}


PRODUCTS = {str(packet).replace(".", "::") for packet in FlopCounterMode(display=False, custom_mapping=FORMULAS).flop_registry}
KINDS = {
    "matrix products": PRODUCTS,
    "Adam": {"aten::_fused_adam_"},
    "GELU, softmax, norms": {
        "aten::gelu", "aten::gelu_backward", "aten::_softmax", "aten::_softmax_backward_data", "aten::native_layer_norm",
        "aten::native_layer_norm_backward",
    },
    "copies and gathers": {
        "aten::copy_", "aten::cat", "aten::index", "aten::index_select", "aten::index_add_", "aten::index_copy_", "aten::scatter_add_",
        "aten::gather", "aten::_index_put_impl_", "aten::fill_",
    },
}  # fmt: skip


class PlainAttention(Attention):
    """Attention through torch's own function, which draws dropout masks one number a value."""

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, T, D/H)
        mask = None if keys is None else keys[:, None, None, :]
        h = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=self.dropout if self.training else 0.0)
        return self.out(h.transpose(1, 2).flatten(2))


class LoopMoERetriever(MoERetriever):
    """MoE-Retriever in plain torch that fills one missing modality of one sample at a time, one expert after the other."""

    def __init__(self, schema: Schema, config: Any) -> None:
        super().__init__(schema, config)
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, Dropout):
                    setattr(module, name, nn.Dropout(child.p))
                elif isinstance(child, Attention):
                    child.__class__ = PlainAttention

    def complete(self, tokens: Tensor, batch: Batch, draw: int = 0) -> tuple[Tensor, Tensor | None]:
        if self.is_warm_up or not isinstance(self.retriever, Retriever) or self.bank is None:
            return super().complete(tokens, batch, draw)
        filled, routings, targets = tokens.clone(), [], []
        for row, target in (~batch.observed).nonzero().tolist():
            x, is_own = self.elements(tokens, batch, row, target, draw)  # (n, P, D), (n,)
            z = self.retriever.norm1(x).flatten(0, 1).unsqueeze(0)  # (1, n * P, D)
            x = x + self.retriever.dropout(self.retriever.attention(z).view_as(x))
            u = self.retriever.norm2(x).flatten(0, 1)  # (V, D)
            pool = torch.full((len(u),), target)
            routing = self.retriever.router(u, pool, torch.zeros_like(pool), self.retriever.router.noise(len(u), self.generator))
            y = self.run_experts(u, routing).view_as(x)
            sides = [y[is_own], y[~is_own]] if not is_own.all() else [y]
            filled[row, target] = torch.stack([side.mean(0) for side in sides]).mean(0)
            routings.append(routing)
            targets.append(pool)
        return filled, self.imbalance(routings, torch.cat(targets)) if self.training else None

    def elements(self, tokens: Tensor, batch: Batch, row: int, target: int, draw: int) -> tuple[Tensor, Tensor]:
        assert self.bank is not None
        own = batch.observed[row]
        support, taken = self.draw_supports(batch.index[row : row + 1], own.unsqueeze(0), torch.tensor([target]), draw)
        bank = self.bank.inputs[self.schema.names[target]]
        found = [self.encoders.encode(target, bank[s : s + 1])[0] for s in support[0, : int(taken)].tolist()]
        mine = [tokens[row, m] for m in own.nonzero().flatten().tolist()]
        return torch.stack([*found, *mine]), torch.arange(len(found) + len(mine)) >= len(found)

    def run_experts(self, u: Tensor, routing: Routing) -> Tensor:
        experts = self.retriever.experts
        y = torch.zeros_like(u)
        weights = zip(*(w.unbind() for w in (experts.weight1, experts.bias1, experts.weight2, experts.bias2)), strict=True)
        for e, (weight1, bias1, weight2, bias2) in enumerate(weights):
            unit, place = (routing.experts == e).nonzero().unbind(1)
            if len(unit):
                out = F.linear(F.gelu(F.linear(u[unit], weight1, bias1)), weight2, bias2)
                y = y.index_add(0, unit, out * routing.gates[unit, place].unsqueeze(1))
        return y

    def imbalance(self, routings: list[Routing], targets: Tensor) -> Tensor:
        """CV^2 of importance plus CV^2 of load for each target, then their mean."""
        place, gates = (torch.cat([getattr(r, name) for r in routings]) for name in ("place", "gates"))
        inside = torch.cat([r.inside for r in routings])  # (V, A)
        dense = torch.zeros_like(inside).scatter(1, place, gates)
        found = [(dense[targets == t], inside[targets == t]) for t in targets.unique()]
        return torch.stack([cv_squared(gate.sum(0)) + cv_squared(load.sum(0)) for gate, load in found]).mean()


def workload() -> Samples:
    rng = np.random.default_rng(0)
    schema = Schema(
        tuple(Modality(name, name.upper(), "vector", (FEATURES,)) for name in "abc"), tuple(f"class {c}" for c in range(CLASSES))
    )
    values = {name: rng.normal(size=(SAMPLES, FEATURES)).astype(np.float32) for name in schema.names}
    keys = rng.random((SAMPLES, MODALITIES))
    observed = (keys >= MISSING) | (keys == keys.max(1, keepdims=True))
    return Samples(schema, values, observed, rng.integers(0, CLASSES, SAMPLES), np.arange(SAMPLES).astype(str)).sealed()


def build(name: str, samples: Samples, device: str, cls: type[Any] | None = None, **changes: object) -> Method:
    choice = parse_choice(name)
    found = registry.method_class(choice.name)
    config = registry.config_of(found, choice, {**WORKLOAD, **OVERRIDES.get(choice.name, {}), **changes})
    torch.manual_seed(0)
    method = (cls or found)(samples.schema, config).to(device)
    method.seed(0)
    method.prepare(samples)
    return method


class Epoch:
    """One training epoch as the suite runs it, past any warm-up."""

    def __init__(self, method: Method, data: Batch, batch_size: int) -> None:
        self.method, self.data = method, data
        trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
        self.adam = torch.optim.Adam(trained, 1e-4, fused=True)
        self.rows = [
            torch.from_numpy(rows).to(data.observed.device) for rows in batch_rows(len(data), batch_size, np.random.default_rng(1))
        ]

    def seconds(self, steps: int | None = None) -> float:
        self.method.train()
        self.method.on_epoch(1, 2)
        synchronise(self.data)
        begin = time.perf_counter()
        for rows in self.rows[:steps]:
            batch = self.data.rows(rows)
            prediction = self.method(batch)
            loss = F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())
            self.adam.zero_grad(set_to_none=True)
            loss.backward()
            self.adam.step()
        synchronise(self.data)
        return time.perf_counter() - begin

    def flops(self) -> float:
        self.method.on_epoch(1, 2)
        return sum(training_flops(self.method, self.data.rows(rows)) for rows in self.rows)


def synchronise(data: Batch) -> None:
    if data.observed.is_cuda:
        torch.cuda.synchronize()


def peak_flops(data: Batch, size: int = 1024) -> float:
    """Best of seven products of two square matrices, in operations a second."""
    a, b = (torch.randn(size, size, device=data.observed.device) for _ in range(2))
    best = 0.0
    for _ in range(7):
        synchronise(data)
        begin = time.perf_counter()
        a @ b
        synchronise(data)
        best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


def measure(method: Method, data: Batch, batch_size: int, rounds: int) -> dict[str, float]:
    epoch = Epoch(method, data, batch_size)
    flops = epoch.flops()
    epoch.seconds()
    found, peak = [], peak_flops(data)
    for _ in range(rounds):
        seconds, after = epoch.seconds(), peak_flops(data)
        found.append((flops / seconds / ((peak + after) / 2), seconds, (peak + after) / 2))
        peak = after
    utilisation = [entry[0] for entry in found]
    seconds = statistics.median(entry[1] for entry in found)
    return {
        "parameters": sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad),
        "training_gflops_per_epoch": flops / 1e9,
        "seconds_per_epoch": seconds,
        "samples_per_second": len(data) / seconds,
        "utilisation_median": statistics.median(utilisation),
        "utilisation_range": [min(utilisation), max(utilisation)],  # type: ignore[dict-item]
        "peak_gflops_per_second": statistics.median(entry[2] for entry in found) / 1e9,
        "seconds_per_gflop": seconds / (flops / 1e9),
    }


def against_loop(samples: Samples, data: Batch, rounds: int) -> dict[str, float]:
    """Speed of the batched method over the loop's, epochs taken in turn, and their largest differences in evaluation."""
    device = str(data.observed.device)
    batched, loop = build("moe-retriever", samples, device), build("moe-retriever", samples, device, LoopMoERetriever)
    loop.load_state_dict(batched.state_dict())
    logits = [_evaluated(method, data.rows(torch.arange(64, device=data.observed.device))) for method in (batched, loop)]
    # without the random numbers of training, which the two spend in different orders, a step has one gradient
    options: dict[str, object] = {"dropout": 0.0, "gate_noise": False, "balance_weight": 0.0}
    pair = [build("moe-retriever", samples, device, cls, **options) for cls in (None, LoopMoERetriever)]
    gradients = [_gradient(method, data.rows(torch.arange(64, device=data.observed.device))) for method in pair]
    fast, slow = Epoch(batched, data, WORKLOAD["batch_size"]), Epoch(loop, data, WORKLOAD["batch_size"])
    fast.seconds()
    ratios = []
    for _ in range(rounds):
        ratios.append(slow.seconds() / fast.seconds())
    return {
        "loop_over_batched_seconds_median": statistics.median(ratios),
        "loop_over_batched_seconds_range": [min(ratios), max(ratios)],  # type: ignore[dict-item]
        "largest_logit_difference": float((logits[0] - logits[1]).abs().max()),
        "largest_gradient_difference": float((gradients[0] - gradients[1]).abs().max()),
    }


@torch.no_grad()
def _evaluated(method: Method, batch: Batch) -> Tensor:
    method.eval()
    method.on_evaluate()
    return method(batch).logits


def _gradient(method: Method, batch: Batch) -> Tensor:
    method.eval()  # supports come from a hash, the same for both
    method.zero_grad()
    F.cross_entropy(method(batch).logits, batch.target).backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


def breakdown(method: Method, data: Batch, batch_size: int, flops: float, peak: float, steps: int = 8) -> dict[str, float]:
    """Milliseconds of a training step by kind of work, from torch's profiler, and the utilisation of that work alone.

    A call costs what an addition of two numbers takes under the same profiler; what an operation takes beyond that is its work. Python,
    autograd and whatever else lies between operations is not among it: to lift utilisation above `ceiling`, removing calls is not enough.
    """
    epoch = Epoch(method, data, batch_size)
    epoch.seconds(2)
    one = torch.ones(1)
    with profile(activities=[ProfilerActivity.CPU]) as calls:
        for _ in range(1000):
            one + one
    call = {event.key: event for event in calls.key_averages()}["aten::add"].self_cpu_time_total / 1000  # microseconds
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        epoch.seconds(steps)
    found: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key in names), "other operations")
        if event.key.startswith("aten::"):
            found["calls"] += event.count * call
            found[kind] += max(0.0, event.self_cpu_time_total - event.count * call)
    work = sum(found.values()) - found["calls"]
    shares = {f"{kind} (ms)": round(found[kind] / steps / 1000, 2) for kind in (*KINDS, "other operations", "calls")}
    return {**shares, "ceiling": flops / len(epoch.rows) / peak / (work / steps / 1e6)}


def exponent(name: str, samples: Samples, data: Batch, sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512)) -> dict[str, Any]:
    """Slope of log time a step against log batch size: 1 is linear; and the cost a sample at each size, first = 1."""
    seconds = []
    for size in sizes:
        epoch = Epoch(build(name, samples, str(data.observed.device), batch_size=size), data, size)
        epoch.seconds(1)
        steps = max(1, min(4, len(epoch.rows)))
        seconds.append(min(epoch.seconds(steps) / steps for _ in range(3)))
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    late = float(np.log(seconds[-1] / seconds[-3]) / np.log(sizes[-1] / sizes[-3]))
    each = [second / size / (seconds[0] / sizes[0]) for second, size in zip(seconds, sizes, strict=True)]
    return {"exponent": slope, "exponent_last_three": late, "relative_seconds_per_sample": dict(zip(map(str, sizes), each, strict=True))}


def networks(texts: str) -> list[str]:
    """The methods named that train by gradient."""
    names = [str(choice) for choice in registry.expand_methods(texts.split(","))]
    return [name for name in names if issubclass(registry.method_class(parse_choice(name).name), Method)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="paper,dropout-transformer,mean-mlp")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="also time batch sizes 16 to 512")
    parser.add_argument("--breakdown", action="store_true", help="also say where a step's time goes")
    parser.add_argument("--no-loop", action="store_true", help="leave the loop out")
    parser.add_argument("--compile", action="store_true", help="also time each method under torch.compile, and name what breaks")
    parser.add_argument("--graphs", action="store_true", help="also time a step captured as one CUDA graph, and name what forbids it")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.breakdown and options.device != "cpu":
        parser.error(f"--breakdown reads the times of a CPU's operations, so it needs --device cpu, got {options.device}")
    if options.graphs and not options.device.startswith("cuda"):
        parser.error(f"--graphs captures CUDA graphs, so it needs --device cuda, got {options.device}")
    torch.set_num_threads(1)
    try:
        names = networks(options.methods)
    except UsageError as error:
        parser.error(str(error))
    samples = workload()
    data = as_batch(samples, options.device)
    result: dict[str, Any] = {"device": options.device, "torch": torch.__version__, "methods": {}}
    for name in names:
        result["methods"][name] = measure(build(name, samples, options.device), data, WORKLOAD["batch_size"], options.rounds)
        if options.breakdown:
            method = build(name, samples, options.device)
            flops, peak = (1e9 * result["methods"][name][key] for key in ("training_gflops_per_epoch", "peak_gflops_per_second"))
            result["methods"][name]["breakdown"] = breakdown(method, data, WORKLOAD["batch_size"], flops, peak)
        if options.scaling:
            result["methods"][name] |= exponent(name, samples, data)
        if options.compile:
            result["methods"][name]["compiled"] = _tried(lambda name=name: compiled(name, samples, data, options.rounds))
        if options.graphs:
            result["methods"][name]["graphed"] = _tried(lambda name=name: graphed(name, samples, data))
    typical = statistics.median(entry["seconds_per_gflop"] for entry in result["methods"].values())
    for entry in result["methods"].values():
        entry["seconds_per_gflop_over_median"] = entry["seconds_per_gflop"] / typical
    if not options.no_loop:
        result["moe_retriever_against_loop"] = against_loop(samples, data, options.rounds)
    print(json.dumps(result, indent=2))


def compiled(name: str, samples: Samples, data: Batch, rounds: int) -> dict[str, float]:
    """Speed of the method over that of the same under torch.compile, both warm."""
    plain, other = (build(name, samples, str(data.observed.device)) for _ in range(2))
    other.compile(mode="reduce-overhead" if data.observed.is_cuda else None, dynamic=not data.observed.is_cuda)  # CUDA graphs, or none
    slow, fast = (Epoch(method, data, WORKLOAD["batch_size"]) for method in (plain, other))
    for epoch in (slow, fast, fast):
        epoch.seconds()
    return {"speedup_median": statistics.median(slow.seconds() / fast.seconds() for _ in range(rounds))}


def graphed(name: str, samples: Samples, data: Batch, steps: int = 50) -> dict[str, float]:
    """Speed of a training step replayed as one CUDA graph over that of the same step, eager. What waits for values cannot be captured."""
    method = build(name, samples, str(data.observed.device))
    method.train()
    method.on_epoch(1, 2)
    adam = torch.optim.Adam([each for each in method.parameters() if each.requires_grad], 1e-4, fused=True, capturable=True)
    batch = data.rows(torch.arange(WORKLOAD["batch_size"], device=data.observed.device))

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        prediction = method(batch)
        (F.cross_entropy(prediction.logits, batch.target) + sum(prediction.penalties.values())).backward()
        adam.step()

    def seconds(work: Callable[[], object]) -> float:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(steps):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / steps

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # a capture wants what it captures to have run, on a stream of its own
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    eager = seconds(step)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(method.generator)
    adam.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        step()
    return {"eager_ms": 1000 * eager, "graph_ms": 1000 * seconds(graph.replay), "speedup": eager / seconds(graph.replay)}


def _tried(work: Callable[[], dict[str, float]]) -> object:
    """The result, or in one line what broke: here a failure is the finding."""
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"


if __name__ == "__main__":
    main()

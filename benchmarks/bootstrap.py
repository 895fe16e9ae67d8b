"""Seconds of 10,000 two-level bootstrap replicates of 20 methods x 10 seeds x 1,500 samples, on one thread. Prints JSON.

    python benchmarks/bootstrap.py [METRIC ...]

Times are of this machine at this moment: the median of three runs after a small one to warm up.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

from bench.stats import bootstrap

METHODS, SEEDS, SAMPLES, CLASSES, REPLICATES, REPEATS = 20, 10, 1500, 2, 10_000, 3


def made(rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Targets (N,) and class probabilities (S, N, C) of each method, right somewhat more often than not."""
    target = rng.integers(CLASSES, size=SAMPLES)
    logits = rng.normal(size=(METHODS, SEEDS, SAMPLES, CLASSES)) + np.eye(CLASSES)[target]
    scores = np.exp(logits)
    return target, list((scores / scores.sum(-1, keepdims=True)).astype(np.float32))


def seconds(metric: str, target: np.ndarray, scores: list[np.ndarray]) -> dict[str, float]:
    """Wall and processor time; they differ where other work shares the machine."""
    bootstrap(metric, target, scores[:1], np.random.default_rng(0), 100)
    wall, cpu = [], []
    for _ in range(REPEATS):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        bootstrap(metric, target, scores, np.random.default_rng(0), REPLICATES)
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    return {"wall": round(statistics.median(wall), 2), "cpu": round(statistics.median(cpu), 2)}


def main() -> None:
    target, scores = made(np.random.default_rng(0))
    with threadpool_limits(1):
        found = {metric: seconds(metric, target, scores) for metric in sys.argv[1:] or ["accuracy", "f1_macro"]}
    sizes = {"methods": METHODS, "seeds": SEEDS, "samples": SAMPLES, "classes": CLASSES, "replicates": REPLICATES}
    print(json.dumps({**sizes, "threads": 1, "seconds": found}, indent=2))


if __name__ == "__main__":
    main()

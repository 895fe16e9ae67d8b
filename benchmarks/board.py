"""Seconds and memory of a leaderboard from 5,000 generated trials, on one thread. Prints JSON.

    python benchmarks/board.py [TRIALS]

25 methods, 10 seeds, 20 settings of five datasets with 1,000 test samples and three classes, metric f1_macro: `read` loads a published
folder, `build` makes every number and test of it, `pages` writes all text files, `render` is all of that in a process of its own, as
`bench leaderboard --check` does it, with the peak of its memory. Times are of this machine at this moment.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from bench.leaderboard import build, publish, render
from bench.leaderboard.folder import _rendered
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.facts import Facts, Origin
from bench.records.folder import Folder
from bench.records.predictions import LOGITS, Predictions
from bench.records.record import Record
from bench.stats.metrics import score

METHODS, SEEDS, DATASETS, SAMPLES, CLASSES = 25, 10, 5, 1000, 3
NOISE = (0.1, 0.3, 0.5, 0.7)
TRIAL = Trial(
    method="m0", preset="paper", options={}, training={"epochs": 8}, dataset="d0", dataset_options={}, combination="ABC",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
PROVENANCE = {
    "commit": "0" * 40, "dirty": False, "packages": {"torch": "2"}, "hardware": "chip", "hardware_id": "id", "device": "cpu", "threads": 1,
    "bench": "0",
}  # fmt: skip


def made(trials: int, folder: Path) -> int:
    """Publish a board of about so many trials, without its plots; returns how many."""
    rng = np.random.default_rng(0)
    records, predictions = [], {}
    for dataset in range(DATASETS):
        target = rng.integers(CLASSES, size=SAMPLES)
        ids = np.array([f"d{dataset}-{row:05d}" for row in range(SAMPLES)])
        for noise in NOISE:
            for method in range(METHODS):
                for seed in range(SEEDS):
                    if len(records) == trials:
                        break
                    trial = replace(
                        TRIAL,
                        method="constant" if method == 0 else f"m{method}",
                        dataset=f"d{dataset}",
                        protocol=f"mcar({noise})",
                        seed=seed,
                    )
                    logits = rng.normal(size=(SAMPLES, CLASSES)) + (2 - 2 * noise + method / METHODS) * np.eye(CLASSES)[target]
                    given = Predictions(ids, target, logits.astype(np.float32), form=LOGITS)
                    facts = {"rows": {"test": SAMPLES, "train": 4000}, "missing": {"test": noise}, "masks": {"test": f"{dataset}{noise}"},
                             "ended": "2026-01-01", "histogram": [300, 300, 400]}  # fmt: skip
                    cost = {"gflops_per_sample": 0.001 * method, "parameters": 1000 * method, "latency_ms_64": 1.0}
                    records.append(
                        Record(
                            trial, "done", None, score(target, given.scores)[0], cost, Facts.from_json(facts), Origin.from_json(PROVENANCE)
                        )
                    )
                    predictions[trial.id] = given
    suite = Suite("board", (Settings(tuple(f"d{i}" for i in range(DATASETS)), noise=NOISE),), metric="f1_macro", seeds=tuple(range(SEEDS)))
    publish(folder, Answers(suite, records, predictions, commands=["bench run"]), draw=False)
    return len(records)


def measured(folder: Path) -> dict[str, float]:
    """Wall seconds of each part, and of a whole rendering in this process."""
    begin = time.perf_counter()
    with Folder(folder) as source:
        answers = source.answers()
    len(answers.predictions)  # reads them
    at_read = time.perf_counter()
    board = build(answers)
    at_build = time.perf_counter()
    _rendered(board, [])
    at_end = time.perf_counter()
    parts = {"read": at_read - begin, "build": at_build - at_read, "pages": at_end - at_build}
    return {name: round(seconds, 2) for name, seconds in parts.items()}


def alone(folder: Path) -> None:
    """What a process of its own prints: seconds of a rendering and its peak memory."""
    begin, cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(1):
        render(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": round(time.perf_counter() - begin, 2), "cpu": round(time.process_time() - cpu, 2), "peak_mb": round(peak)}))


def main() -> None:
    if sys.argv[1:2] == ["--alone"]:
        alone(Path(sys.argv[2]))
        return
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else METHODS * SEEDS * DATASETS * len(NOISE)
    with tempfile.TemporaryDirectory() as temporary, threadpool_limits(1):
        folder = Path(temporary) / "board"
        count = made(trials, folder)
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        done = subprocess.run([sys.executable, __file__, "--alone", str(folder)], check=True, capture_output=True, text=True)
        result = {"trials": count, "threads": 1, "seconds": measured(folder), "render": json.loads(done.stdout)}
        print(json.dumps({**result, "files_mb": {name: round(size / 1e6, 2) for name, size in sorted(sizes.items())}}, indent=2))


if __name__ == "__main__":
    main()

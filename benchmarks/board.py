"""Seconds and memory that readers of 10,000 trials need, or of 100,000. Prints JSON.

    python benchmarks/board.py [TRIALS] [--keep FOLDER]

12 methods, 10 seeds, 28 settings of each dataset, 300 test samples and ten classes; more trials are more datasets. The suite is planned
as `bench run` plans it, and made-up results go through the store that a run writes: nothing is trained. Each reader then works in a
process of its own, on one thread: `board` is `bench leaderboard` up to its page, `resume` is `bench run` up to saying that nothing is left
to run, `look` is `bench show ID`, `publish` and `check` are those of `bench leaderboard`. Walls are of this machine at this moment; `cpu`
is what a quiet one would need. `within` says whether the limits that hold for 10,000 and 100,000 trials were kept, by CPU and by peak.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from functools import cache, partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

METHODS = (
    "constant", "best-single", "mean-logistic", "gradient-boosting", "mean-mlp", "dropout-transformer", "moe-retriever", "mmformer",
    "shaspec", "m3care", "muse",
)  # fmt: skip  # and bayes, which joins where the posterior is known
SEEDS, NOISE, COMBINATIONS = 10, (0.0, 0.2, 0.4, 0.6), ("A", "B", "C", "AB", "AC", "BC", "ABC")
SAMPLES, CLASSES = 300, 10
A_DATASET = (len(METHODS) + 1) * SEEDS * len(NOISE) * len(COMBINATIONS)  # trials
LIMITS = {  # seconds and MB
    10_000: {"board": (15, 500)},
    100_000: {"board": (150, 1500), "resume": (20, None)},
}


def suite_of(trials: int):
    """The question of about so many trials."""
    from bench.question.suite import Settings, Suite

    datasets = tuple(f"gaussian[n=200,seed={number}]" for number in range(max(1, round(trials / A_DATASET))))
    settings = Settings(datasets, combinations=COMBINATIONS, noise=NOISE)
    return Suite("board", (settings,), methods=METHODS, seeds=tuple(range(SEEDS)), training={"epochs": 8})


def fill(folder: Path, trials: int) -> dict[str, float]:
    """Plan a suite and store made-up results; returns how many, and seconds of each step."""
    from bench.data.loading import loaded_once
    from bench.question.plan import budget_key, plan
    from bench.records.database import Store

    suite, rng = suite_of(trials), np.random.default_rng(0)
    begin = time.perf_counter()
    with loaded_once():
        planned = plan(suite)
    at_plan = time.perf_counter()
    with Store(folder) as store:
        store.connection.execute("PRAGMA synchronous = OFF")  # a run pays for a synced disk trial by trial; readers do not
        store.plan(suite, budget_key(suite), "bench run --suite board", planned)
        at_noted = time.perf_counter()
        for trial in planned:
            store.write(*made(trial, rng))
    seconds = {"plan": at_plan - begin, "note": at_noted - at_plan, "write": time.perf_counter() - at_noted}
    return {"trials": len(planned), **{name: round(value, 1) for name, value in seconds.items()}}


def made(trial, rng: np.random.Generator):
    """A record and predictions of a trial, of the size that real ones have."""
    from bench.records.facts import Facts, Origin
    from bench.records.predictions import LOGITS, Predictions
    from bench.records.record import Record

    dataset, strength = int(trial.dataset_options["seed"]), METHODS.index(trial.method) / 10 if trial.method in METHODS else 1.2
    target, logits, metrics = answered(strength, trial.combination, trial.noise or 0.0, trial.seed)
    noise = trial.noise or 0.0
    given = Predictions(ids_of(dataset), target, logits, form=LOGITS)
    facts = Facts(
        rows={"train": 900, "valid": 300, "test": SAMPLES}, missing={"train": noise, "valid": noise, "test": noise},
        masks={part: f"{part[:2]}{dataset:04d}{noise:.1f}{trial.combination:>3}" for part in ("train", "valid", "test")},
        classes=[f"class {number}" for number in range(CLASSES)], histogram=np.bincount(logits.argmax(1), minlength=CLASSES).tolist(),
        valid=float(rng.random()), best_epoch=int(rng.integers(1, 9)), test_evaluations=1, synthetic=True, ids="public",
        config={"epochs": 8, "hidden": 64, "depth": 2, "dropout": 0.1, "lr": 0.001, "batch_size": 64, "heads": 4, "weight_decay": 0.0},
        ended="2026-01-01T00:00:00", seconds={"load": float(rng.random()), "train": float(rng.random()), "total": float(rng.random())},
    )  # fmt: skip
    cost = {
        "parameters": 1000.0 + strength, "active_parameters": 1000.0 + strength, "gflops_per_sample": 0.001 * (1 + strength),
        "latency_ms_1": float(rng.random()), "latency_ms_64": float(rng.random()), "peak_memory_mb": 3.0,
        "train_seconds": float(rng.random()),
    }  # fmt: skip
    origin = Origin(
        bench="0.1.0", commit="0" * 40, dirty=False, python="3.11.9", packages={"torch": "2.0", "numpy": "2.0", "scipy": "1.0"},
        hardware="chip x 2", hardware_id="0123abcd", device="cpu", threads=1,
    )  # fmt: skip
    return Record(trial, "done", None, metrics, cost, facts, origin), given


@cache
def ids_of(dataset: int) -> np.ndarray:
    return np.array([f"d{dataset}-{row:05d}" for row in range(SAMPLES)])


@cache
def answered(strength: float, combination: str, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Targets, logits and metrics, the same on every dataset: made once, for making them takes longer than storing them."""
    from bench.stats.kinds import softmax
    from bench.stats.metrics import score

    target = np.random.default_rng(1).integers(CLASSES, size=SAMPLES)
    rng = np.random.default_rng([int(10 * strength), len(combination), ord(combination[0]), int(10 * noise), seed])
    logits = rng.normal(size=(SAMPLES, CLASSES)) + (len(combination) * (1 - noise) + strength) / 2 * np.eye(CLASSES)[target]
    logits = logits.astype(np.float32)
    return target, logits, dict(score(target, softmax(logits.astype(np.float64)))[0])


def board(folder: Path) -> None:
    from bench.leaderboard import build, markdown
    from bench.records.folder import answers_of

    markdown(build(answers_of(folder)))


def resume(folder: Path, trials: int) -> None:
    from bench.grid.how import How
    from bench.studies.looks import resolve

    summary = resolve(suite_of(trials), folder, How(say=lambda _: None))
    if summary.reused < summary.planned or summary.failed:
        raise SystemExit(f"{summary.reused} of {summary.planned} trials were stored, {len(summary.failed)} failed")


def look(folder: Path) -> None:
    from bench.records.database import Store
    from bench.records.page import TrialPage

    with Store(folder, create=False) as store:
        id_ = store.connection.execute("SELECT id FROM trials LIMIT 1").fetchone()[0]
        str(TrialPage(store.record(id_[:12])))


def publish(folder: Path) -> None:
    from bench.leaderboard import publish as write
    from bench.records.folder import answers_of

    write(folder / "published", answers_of(folder), draw=False)


def check(folder: Path) -> None:
    from bench.leaderboard import checked

    found = checked(folder / "published")
    if found.stale or found.mismatches:
        raise SystemExit(f"what was published does not agree with itself: {found}")


def alone(name: str, trials: int, folder: Path) -> None:
    """What a process of its own prints: seconds of one reader and its peak memory, with what it imports."""
    reader: dict[str, Callable[[Path], dict[str, float] | None]] = {
        "fill": partial(fill, trials=trials), "board": board, "resume": partial(resume, trials=trials), "look": look, "publish": publish,
        "check": check,
    }  # fmt: skip
    begin = time.perf_counter()
    with threadpool_limits(1), redirect_stderr(io.StringIO()):
        told = reader[name](folder) or {}
    own = resource.getrusage(resource.RUSAGE_SELF)
    found = {"wall": time.perf_counter() - begin, "cpu": own.ru_utime + own.ru_stime, "peak_mb": own.ru_maxrss / 1024}
    print(json.dumps({**told, **{key: round(value, 1) for key, value in found.items()}}))


def within(trials: int, found: dict[str, dict[str, float]]) -> bool | None:
    """Whether the limits for about so many trials were kept; None where there are none."""
    limits = next((limits for size, limits in LIMITS.items() if abs(trials / size - 1) < 0.1), None)
    if limits is None or not set(limits) <= set(found):
        return None
    return all(found[name]["cpu"] <= most and found[name]["peak_mb"] <= (peak or np.inf) for name, (most, peak) in limits.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=int, nargs="?", default=10_000)
    parser.add_argument("--keep", type=Path, help="Make the results folder here and keep it; one that is there is read.")
    parser.add_argument("--only", default="board,resume,look,publish,check", help="Readers, by commas.")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        alone(given.alone, given.trials, given.keep)
        return
    with tempfile.TemporaryDirectory() if given.keep is None else nullcontext(given.keep) as folder:
        is_there = (Path(folder) / "bench.db").exists()
        found = {}
        for name in [*([] if is_there else ["fill"]), *given.only.split(",")]:
            command = [sys.executable, __file__, str(given.trials), "--alone", name, "--keep", str(folder)]
            found[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        largest = max(
            (path for path in Path(folder).rglob("*") if path.is_file() and path.name != "bench.db"), key=lambda p: p.stat().st_size
        )
        sizes = {"bench.db": (Path(folder) / "bench.db").stat().st_size, str(largest.relative_to(folder)): largest.stat().st_size}
        ends = {"mb": {name: round(size / 1e6, 1) for name, size in sizes.items()}, "within": within(given.trials, found)}
        print(json.dumps({"asked": given.trials, **found, **ends}, indent=2))


if __name__ == "__main__":
    main()

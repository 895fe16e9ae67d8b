"""What the harness costs beside training: start of `bench --help`, and everything but training of a trial. Prints JSON.

    python benchmarks/overhead.py

The trials run the constant predictor, whose training takes no time, one after the other: wall time of a run of N trials less
that of a run of one, divided by N - 1. Times are of this machine at this moment; compare numbers of one run alone.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS = 7
SEEDS = 40


def seconds(*words: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "bench", *words], check=True, capture_output=True)
    return time.perf_counter() - begin


def run_seconds(seeds: str) -> float:
    with tempfile.TemporaryDirectory() as out:
        return seconds(
            "run",
            "--methods",
            "constant",
            "--datasets",
            "digits",
            "--noise",
            "0.3",
            "--seeds",
            seeds,
            "-j",
            "1",
            "-q",
            "--json",
            "--out",
            out,
        )


def main() -> None:
    helps = [seconds("--help") for _ in range(REPEATS)]
    bare = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.perf_counter() - begin)
    one, many = run_seconds("0"), run_seconds(f"0-{SEEDS - 1}")
    result = {
        "help_seconds_median": round(statistics.median(helps), 3),
        "bare_interpreter_seconds_median": round(statistics.median(bare), 3),
        "run_of_one_trial_seconds": round(one, 2),
        f"run_of_{SEEDS}_trials_seconds": round(many, 2),
        "overhead_per_trial_seconds": round((many - one) / (SEEDS - 1), 3),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

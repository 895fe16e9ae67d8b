"""All that waits for a GPU, in at most eight minutes: run it on a machine that has one. Prints JSON; exit code 1 if a part failed.

    python benchmarks/gpu_check.py [--parts tests,digits,throughput,many] [--minutes 8] [--device cuda]

- tests: `pytest -m gpu`.
- digits: every method that trains, five seeds of three epochs, on the CPU and on the GPU. The two means must lie within twice the
  standard error of their difference, from the spread of the seeds, or one test row.
- throughput: `benchmarks/throughput.py` a method at a time, eager; then under torch.compile with CUDA graphs, and as one captured graph,
  where no shape hangs on values. Where one does, what broke is the finding.
- many: 16 trials of ShaSpec one after the other, and all at once on one GPU; trials a minute.

A part that runs out of its share of the time is ended and says so; what it has found by then is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SHARES = {"tests": 0.3, "digits": 0.3, "throughput": 0.25, "many": 0.15}  # of the time
SEEDS, EPOCHS, TRIALS = 5, 3, 16
THROUGHPUT = (
    "mean-mlp", "dropout-transformer", "shaspec", "mmformer", "m3care", "muse", "moe-retriever", "fusemoe", "flexmoe", "simmlm", "healnet",
    "i2m2", "mfm",
)  # fmt: skip


class Ended(Exception):
    """The time of a part is over."""


def ran(words: list[str], until: float) -> subprocess.CompletedProcess[str]:
    """A command's output. Raises: Ended if it takes too long; it is ended with all that it started."""
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=max(1.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 15)
            raise Ended(f"{' '.join(words[:6])} was ended: its time was over") from None
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def tests(device: str, until: float) -> dict[str, Any]:
    done = ran(
        ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/training/test_gpu.py", "tests/training/test_loader.py"], until
    )
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-300:]]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error|skipped)", last[0])}
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return {"ok": done.returncode == 0 and counts.get("passed", 0) > 0, **counts, "failures": failed}


def digits(device: str, until: float) -> dict[str, Any]:
    """Accuracy of each method on both devices."""
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for place in ("cpu", device):
        with tempfile.TemporaryDirectory() as out:
            words = [
                "--datasets",
                "digits",
                "--noise",
                "0.3",
                "--seeds",
                f"0-{SEEDS - 1}",
                "--training",
                f"epochs={EPOCHS}",
                "--device",
                place,
            ]
            methods = "paper,mean-mlp,dropout-transformer"
            done = ran(["-m", "bench", "run", "--methods", methods, *words, "-j", str(_jobs(place)), "--out", out, "-q"], until)
            if done.returncode:
                return {"ok": False, "reason": done.stderr[-500:]}
            shown = ran(["-m", "bench", "show", "--out", out, "--json"], until)
            for record in json.loads(shown.stdout)["trials"]:
                found[record["method"]].setdefault(place, []).append(record["metrics"]["accuracy"])
    table = {}
    for method, both in found.items():
        near, far = (np.array(both.get(place, [np.nan])) for place in ("cpu", device))
        error = float(np.hypot(near.std(ddof=1), far.std(ddof=1)) / np.sqrt(SEEDS))
        difference = float(far.mean() - near.mean())
        table[method] = {
            "cpu": float(near.mean()), device: float(far.mean()), "difference": difference, "standard_error": error,
            "within": abs(difference) <= max(2 * error, 1 / 270),
        }  # fmt: skip
    return {"ok": bool(table) and all(row["within"] for row in table.values()), "methods": table}


def throughput(device: str, until: float) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for turn, (name, options) in enumerate([(name, options) for options in ([], ["--compile", "--graphs"]) for name in THROUGHPUT]):
        left = 2 * len(THROUGHPUT) - turn
        limit = time.monotonic() + max(5.0, 2 * (until - time.monotonic()) / left)
        try:
            done = ran(
                ["benchmarks/throughput.py", "--methods", name, "--device", device, "--rounds", "3", "--no-loop", *options],
                min(limit, until),
            )
            row = json.loads(done.stdout)["methods"][name] if done.returncode == 0 else {"reason": done.stderr[-300:]}
        except Ended as error:
            row = {"reason": str(error)}
        keys = ("compiled", "graphed", "reason") if options else ("samples_per_second", "utilisation_median", "reason")
        table.setdefault(name, {}).update({key: row[key] for key in keys if key in row})
    return {"ok": all("samples_per_second" in row for row in table.values()), "methods": table}


def many(device: str, until: float) -> dict[str, Any]:
    """Trials a minute, one after the other and all at once."""
    help_text = ran(["-m", "bench", "run", "--help"], until).stdout
    together = ["-j", str(TRIALS), *(["--per-gpu", str(TRIALS)] if "--per-gpu" in help_text else [])]
    found = {}
    for name, words in (("one after the other", ["-j", "1"]), ("at once", together)):
        with tempfile.TemporaryDirectory() as out:
            begin = time.monotonic()
            what = ["--methods", "shaspec", "--datasets", "digits", "--noise", "0.3", "--seeds", f"0-{TRIALS - 1}"]
            done = ran(
                ["-m", "bench", "run", *what, "--training", f"epochs={EPOCHS}", "--device", device, *words, "--out", out, "-q"], until
            )
            if done.returncode:
                return {"ok": False, "reason": done.stderr[-500:]}
            found[name] = 60 * TRIALS / (time.monotonic() - begin)
    return {"ok": True, "trials_a_minute": found, "speedup": found["at once"] / found["one after the other"], "options": together}


PARTS: dict[str, Callable[[str, float], dict[str, Any]]] = {"tests": tests, "digits": digits, "throughput": throughput, "many": many}


def _jobs(place: str) -> int:
    return max(1, min(16, (os.cpu_count() or 2) - 1)) if place == "cpu" else 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    names = options.parts.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--parts takes {', '.join(PARTS)}, got {', '.join(unknown)}")
    import torch

    if options.device != "cpu" and not torch.get_device_module(options.device).is_available():
        parser.error(f"torch {torch.__version__} sees no device {options.device}; this check needs one")
    hardware = "cpu" if options.device == "cpu" else torch.get_device_module(options.device).get_device_name()
    result: dict[str, Any] = {"device": hardware, "torch": torch.__version__, "parts": {}}
    total = sum(SHARES[name] for name in names)
    for name in names:
        begin = time.monotonic()
        try:
            found = PARTS[name](options.device, begin + 60 * options.minutes * SHARES[name] / total)
        except Ended as error:
            found = {"ok": False, "reason": str(error)}
        result["parts"][name] = {**found, "seconds": round(time.monotonic() - begin, 1)}
        print(f"{name}: {'ok' if found['ok'] else 'not ok'}", file=sys.stderr)
    print(json.dumps(result, indent=2))
    sys.exit(0 if all(part["ok"] for part in result["parts"].values()) else 1)


if __name__ == "__main__":
    main()

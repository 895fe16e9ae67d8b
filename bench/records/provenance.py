"""Where a number came from: commit, package versions, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import bench
from bench.records.facts import Origin

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "joblib")


@lru_cache
def provenance() -> Origin:
    """This code, these packages, this machine; without the device and threads of a trial."""
    commit, dirty = _git()
    return Origin(
        bench=bench.__version__,
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        hardware=hardware(),
        hardware_id=hashlib.sha256(hardware().encode()).hexdigest()[:8],
    )


def _git() -> tuple[str | None, bool | None]:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, encoding="utf-8", check=True).stdout.strip()
        # results written by a run do not make the code dirty
        status = ["git", "status", "--porcelain", "--", ".", ":!leaderboards", ":!runs"]
        changes = subprocess.run(status, cwd=root, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(changes.strip())


def git_user() -> str:
    """What this person's commits bear as their name; empty where git does not know."""
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, encoding="utf-8", errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return " ".join(done.stdout.split())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@lru_cache
def hardware() -> str:
    """Processor model and number of cores; timings are comparable only where this text is equal."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"

"""What `bench doctor` checks: that this machine can run the suite, and what it will use."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from bench import registry
from bench.datasets.files import FileDataset
from bench.errors import UsageError
from bench.records.provenance import hardware


def checks(out: Path) -> list[dict[str, object]]:
    """One entry a check: name, whether it passed, what was found."""
    return [
        *_packages(),
        _check("hardware", True, hardware()),
        _torch(),
        _fork_server(),
        *_datasets(),
        _methods(),
        _folder(out),
    ]


def _check(name: str, passed: bool, detail: str) -> dict[str, object]:
    return {"check": name, "passed": passed, "detail": detail}


def _packages() -> list[dict[str, object]]:
    from packaging.requirements import Requirement

    found = []
    for text in requires("missing-modality-bench") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            found.append(_check(requirement.name, False, f"not installed; pip install '{requirement}'"))
            continue
        fits = requirement.specifier.contains(installed, prereleases=True)
        found.append(_check(requirement.name, fits, installed if fits else f"{installed}, needs {requirement.specifier}"))
    return found


def _torch() -> dict[str, object]:
    import torch

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU, trials run on the CPU"
    return _check("device", True, f"torch {torch.__version__}, {device}")


def _fork_server() -> dict[str, object]:
    """Trials need processes from a fork server, which Windows lacks."""
    import multiprocessing

    passed = "forkserver" in multiprocessing.get_all_start_methods()
    return _check("isolation", passed, "fork server" if passed else "no fork server on this system; use Linux, macOS or WSL")


def _datasets() -> list[dict[str, object]]:
    from bench.data.loading import load
    from bench.names import Choice

    found = []
    for name in registry.dataset_names():
        dataset = registry.dataset_of(Choice(name))
        if isinstance(dataset, FileDataset) and not dataset.is_here:
            found.append(_check(f"dataset {name}", True, "not here; `bench data status` says where to get it"))
            continue
        try:
            samples = load(Choice(name)).samples
            found.append(_check(f"dataset {name}", True, f"{len(samples)} samples, {samples.schema.combination}"))
        except UsageError as error:
            found.append(_check(f"dataset {name}", False, str(error)))
    return found


def _methods() -> dict[str, object]:
    broken = []
    for name in registry.method_names():
        try:
            registry.method_class(name)
        except Exception as error:
            broken.append(f"{name}: {type(error).__name__}: {error}")
    return _check("methods", not broken, "; ".join(broken) or f"{len(registry.method_names())} import")


def _folder(out: Path) -> dict[str, object]:
    existing = next(path for path in (out, *out.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing) as folder:
            sqlite3.connect(Path(folder) / "probe.db").execute("PRAGMA journal_mode = WAL").close()
    except (OSError, sqlite3.Error) as error:
        return _check("results folder", False, f"{existing} cannot be written: {error}")
    free = shutil.disk_usage(existing).free / 1e9
    return _check("results folder", free > 1, f"{out} writable, {free:.0f} GB free")

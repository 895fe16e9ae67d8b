"""Fixtures every room's tests use: tiny schemas, samples and datasets, batches, the stored outputs of released code, and the real data."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from bench.datasets.base import Modality, Samples, Schema, as_batch

with contextlib.suppress(ImportError):  # readline writes a width of its own into the environment of child processes when first imported
    importlib.import_module("readline")
for name in ("COLUMNS", "LINES"):  # what runs the tests may say how wide its own terminal is, and output in a pipe follows that
    os.environ.pop(name, None)
    os.unsetenv(name)  # readline's is not among what `os.environ` knows

# a busy machine draws examples slowly, and that is no fault of the code
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def samples_of(n=24, modalities=3, features=5, classes=3, missing=0.3, seed=0) -> Samples:
    """Gaussian samples whose class shifts every modality; every row keeps a modality; sealed."""
    rng = np.random.default_rng(seed)
    names = ["alpha", "beta", "gamma", "delta", "epsilon"][:modalities]
    schema = Schema(
        tuple(Modality(name, name[0].upper(), "vector", (features,)) for name in names), tuple(f"class {c}" for c in range(classes))
    )
    target = np.arange(n, dtype=np.int64) % classes
    centres = rng.normal(size=(modalities, classes, features)) * 2
    values = {name: (centres[m][target] + rng.normal(size=(n, features))).astype(np.float32) for m, name in enumerate(names)}
    keys = rng.random((n, modalities))
    observed = (keys >= missing) | (keys == keys.max(1, keepdims=True))
    return Samples(schema, values, observed, target, np.array([f"row{i}" for i in range(n)])).sealed()


@pytest.fixture
def make_samples():
    return samples_of


@pytest.fixture
def make_batch():
    """The same samples as one training batch (targets present)."""
    return lambda **options: as_batch(samples_of(**options))


REAL = Path(os.environ.get("BENCH_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


@pytest.fixture
def real_data(monkeypatch):
    """The folder of real data, as the data root; without one, the test is skipped."""
    if not REAL.is_dir():
        pytest.skip(f"no real data: BENCH_DATA is not set and {REAL} is not there")
    monkeypatch.setenv("BENCH_DATA", str(REAL))
    return REAL


@pytest.fixture(scope="session")
def fixtures():
    """`support/fixtures.py`, which writes small copies of the paper's datasets, as a module; tests are no package, so it has no name."""
    if "bench_fixtures" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bench_fixtures", Path(__file__).parent / "support" / "fixtures.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["bench_fixtures"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["bench_fixtures"])
    return sys.modules["bench_fixtures"]


@pytest.fixture(scope="session")
def source():
    """A generator of docs/sources by its name, as a module. The folder comes last among those that hold modules: it shadows none."""
    folder = str(Path(__file__).resolve().parents[1] / "docs" / "sources")
    sys.path.append(folder)
    yield importlib.import_module
    sys.path.remove(folder)


@pytest.fixture
def parity():
    """Arrays of one case of a stored release output, as tensors; case "" holds what stands outside any case."""

    def read(file: str, case: str) -> dict[str, torch.Tensor]:
        path = Path(__file__).parent / "parity" / f"{file}.npz"
        with np.load(path, allow_pickle=False) as arrays:
            prefix = f"{case}/" if case else ""
            keys = [key for key in arrays if key.startswith(prefix) and (case or "/" not in key) and arrays[key].dtype.kind != "U"]
            found = {key.removeprefix(prefix): torch.from_numpy(arrays[key]) for key in keys}
        assert found, f"no case {case} in {path.name}"
        return found

    return read

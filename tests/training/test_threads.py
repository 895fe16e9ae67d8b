"""The number of threads is set, given back, and set without a second look where the libraries are known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from bench.training import threads
from bench.training.threads import limited


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("is_known", [False, True], ids=["looked up now", "looked up before"])
def test_threads_are_limited_and_given_back(monkeypatch, is_known):
    monkeypatch.setattr(threads, "_known", [])
    before, blas = torch.get_num_threads(), blas_threads()
    if is_known:
        threads.look_up()
        monkeypatch.setattr(threads, "ThreadpoolController", None)  # a second look would fail
    with limited(1):
        assert torch.get_num_threads() == 1
        assert blas_threads() == {1}
    assert torch.get_num_threads() == before
    assert blas_threads() == blas


@pytest.mark.slow
def test_the_fork_server_has_looked_and_has_no_garbage_before_a_trial_starts():
    code = "import gc, bench.grid.server; from bench.training.threads import _known; print(len(_known), gc.get_freeze_count() > 10_000)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "True"]

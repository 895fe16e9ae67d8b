"""The module that writes small copies of the paper's datasets, for every test of this folder."""

import importlib.util
import sys
from pathlib import Path

import pytest


def load_fixtures():
    """`support/fixtures.py` as a module; tests are no package, so it has no name to import it by."""
    if "bench_fixtures" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bench_fixtures", Path(__file__).parents[1] / "support" / "fixtures.py")
        sys.modules["bench_fixtures"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["bench_fixtures"])
    return sys.modules["bench_fixtures"]


@pytest.fixture(scope="session")
def fixtures():
    return load_fixtures()

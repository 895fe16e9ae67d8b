"""Real engines for the tests of places: one cluster of each kind for all of them."""

import importlib

import pytest

from bench.grid.places import Local


@pytest.fixture(scope="session")
def engines():
    """`support/engines.py` as a module."""
    return importlib.import_module("engines")


@pytest.fixture
def processes(engines):
    found = engines.Processes()
    yield found
    found.end()


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture(scope="package")
def dask_here(engines):
    """What `--on dask` starts: a scheduler in this process and two workers, each under a nanny. A task may kill one worker."""
    engines.need("dask")
    import dask
    import distributed  # noqa: F401  # brings its own settings, which must be there before one is changed for a while

    from bench.grid.places.dask import Dask

    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), Dask(slots=2) as place:
        place.open()
        yield place


@pytest.fixture(scope="package")
def ray_here(engines):
    engines.need("ray")
    from bench.grid.places.ray import Ray

    with Ray(slots=2) as place:
        place.open()
        yield place


@pytest.fixture(params=["local", "dask", "ray"])
def place(request):
    return Local(2) if request.param == "local" else request.getfixturevalue(f"{request.param}_here")


@pytest.fixture
def cluster(engines, processes, tmp_path):
    engines.need("dask")
    return engines.Cluster(processes, tmp_path)

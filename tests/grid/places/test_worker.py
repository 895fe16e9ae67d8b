"""bench/grid/places/worker.py: what a worker answers, whatever its machine does."""

import pickle
import threading

import pytest

import bench
from bench.errors import UsageError
from bench.grid.job import Job
from bench.grid.places import worker


class Broken:
    """A machine that takes tasks until it is to run a trial."""

    def __init__(self, checked=("cpu", "auto"), fault="no GPU of this machine works any more"):
        self.checked, self.fault = set(checked), fault

    def check(self, tasks, say):
        raise UsageError("no GPU works here")

    def call(self, task, report, stopped):
        if isinstance(task, Job):
            raise UsageError(self.fault)
        return []


@pytest.fixture
def answered(engines, tmp_path, monkeypatch):
    def answer(machine):
        monkeypatch.setattr(worker, "_machine", lambda *_: machine)
        packed = pickle.dumps(worker.Parcel(engines.jobs(tmp_path, "mean-mlp")[0]))
        return pickle.loads(worker.work(bench.__version__, packed, lambda *_: None, threading.Event()))

    return answer


def test_a_worker_whose_last_gpu_breaks_loses_the_trial_and_is_no_reason_to_end_the_run(answered):
    found = answered(Broken())
    assert (found.lost, found.refused, found.ended) == ("no GPU of this machine works any more", None, None)


def test_a_worker_that_never_had_the_device_is_refused(answered):
    found = answered(Broken(checked=("cpu",)))
    assert (found.refused, found.lost, found.ended) == ("no GPU works here", None, None)

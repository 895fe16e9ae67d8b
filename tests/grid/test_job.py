"""bench/grid/job.py: a job is plain data that holds all a worker needs, on this machine or another."""

import linecache
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry
from bench.grid.engine import jobs_of
from bench.grid.how import How
from bench.grid.job import handed_over
from bench.grid.places import Local
from bench.question.machine import Limits, Machine
from bench.question.plan import plan
from bench.question.suite import Settings, Suite

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"


def suite_of(*methods, **options):
    training = {"epochs": 1, "batch_size": 128}
    return Suite("small", (Settings(("breast-cancer",), noise=(0.3,)),), methods=methods, seeds=(0,), training=training, **options)


@pytest.fixture
def given(monkeypatch):
    """A method typed into a notebook, known by its name."""
    monkeypatch.setattr(registry, "_given", {})
    namespace, text = {"__name__": "__main__"}, OUTSIDE.read_text()
    monkeypatch.setitem(linecache.cache, "<cell>", (len(text), None, text.splitlines(keepends=True), "<cell>"))
    exec(compile(text, "<cell>", "exec"), namespace)
    return registry.give(namespace["Mine"])


def test_jobs_take_limits_and_machine_from_their_suite(tmp_path):
    suite = suite_of("constant", minutes=2.0, memory_gb=3.0, device="cpu", threads=4)
    (job,) = jobs_of(suite, plan(suite), tmp_path)
    assert (job.limits, job.machine) == (Limits(120.0, 3_000_000_000), Machine("cpu", 4))
    assert (job.traces, job.validates, job.given) == (None, False, b"")


def test_a_job_is_the_same_after_a_journey(tmp_path):
    suite = suite_of(f"{OUTSIDE}:Mine")
    for job in jobs_of(suite, plan(suite), tmp_path, How(is_traced=True)):
        assert pickle.loads(pickle.dumps(job)) == job


def test_only_classes_that_a_run_names_are_handed_over(given):
    assert [handed.cls.__name__ for handed in pickle.loads(handed_over([given, "constant"]))] == ["Mine"]
    assert handed_over(["constant"]) == b""


WORKER = """
import pickle, sys
from pathlib import Path
job = pickle.loads(Path(sys.argv[1]).read_bytes())
job.settle()
Path(sys.argv[2]).write_bytes(pickle.dumps(job.work(lambda reached: print(reached.epoch))))
"""


@pytest.mark.slow
def test_another_interpreter_needs_nothing_but_the_job(tmp_path, given, monkeypatch):
    """A worker in another folder, with another data root and without the classes of the driver."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "of the driver"))
    suite = suite_of(given)
    (job,) = jobs_of(suite, plan(suite), tmp_path)
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    place = {**os.environ, "BENCH_DATA": str(tmp_path / "elsewhere"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(tmp_path / "job"), str(tmp_path / "outcome")],
        cwd=tmp_path, env=place, capture_output=True, text=True, check=True,
    )  # fmt: skip
    record, predictions = pickle.loads((tmp_path / "outcome").read_bytes())
    assert (record.status, done.stdout) == ("done", "1\n")
    assert len(predictions.target) == record.facts.rows["test"]


SAYS = """
import os
from bench.methods.base import Estimator

class Says(Estimator):
    def fit(self, train, valid):
        print("data in", os.environ["BENCH_DATA"])

    def predict_proba(self, samples):
        raise ValueError("said enough")
"""


def test_data_root_travels_in_the_job(tmp_path, monkeypatch):
    (tmp_path / "says.py").write_text(SAYS)
    suite = suite_of(f"{tmp_path / 'says.py'}:Says")
    (job,) = jobs_of(suite, plan(suite), tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "of the driver, later"))
    Local().run(replace(job, log=tmp_path / "log", data_root=tmp_path / "of the job"), print, threading.Event())
    assert f"data in {tmp_path / 'of the job'}\n" in (tmp_path / "log").read_text()

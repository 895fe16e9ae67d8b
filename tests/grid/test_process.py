"""bench/grid/process.py: whatever a trial does to itself, it becomes a failed record with its reason."""

import linecache
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import registry
from bench.data.loading import load
from bench.grid.job import Job, by_value
from bench.grid.places import Local
from bench.grid.process import Stopped
from bench.grid.warm import lives, server_id, start_server
from bench.names import Choice
from bench.question.machine import Limits, Machine
from bench.question.trial import Trial

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"


def job_of(tmp_path, method, seconds=60.0, memory=4e9, epochs=1, given=None):
    name = method if given else f"{OUTSIDE}:{method}"
    cls = given[0] if given else getattr(registry.files.load(OUTSIDE), method)
    trial = Trial(
        method=name, preset="default", options={}, training={"epochs": epochs, "batch_size": 64},
        dataset="breast-cancer", dataset_options={}, combination="MEW", protocol="mcar(0.3)", seed=0,
        selection="accuracy", vary="training", fixed_seed=0,
        fingerprint=load(Choice("breast-cancer")).fingerprint, version=registry.source_version(cls),
    )  # fmt: skip
    limits, machine = Limits(seconds, int(memory)), Machine("cpu")
    return Job(trial=trial, limits=limits, machine=machine, log=tmp_path / "trial.log", given=by_value(given or ()))


def run(job, report=lambda *_: None, stopped=None):
    return Local().run(job, report, stopped or threading.Event())


def test_good_trial_returns_record_predictions_and_progress(tmp_path):
    seen = []
    record, predictions = run(job_of(tmp_path, "Mine", epochs=3), lambda reached: seen.append((reached.epoch, reached.epochs)))
    assert record.status == "done"
    assert len(predictions.target) == record.facts.rows["test"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("Raises", "KeyError: 'no such\\nembedding'"),
        ("ReadsHidden", "non-finite logits from finite parameters: the method read a cell that is not observed"),
        ("Segfaults", "killed by signal SIGSEGV (log: trial.log)"),
        ("Exits", "process ended with exit code 3 and no result (log: trial.log)"),
        ("Devours", "out of memory: "),
        ("Unmapped", "out of memory: ImportError: fast.so"),
        ("NoForward", "does not define forward"),
    ],
)
def test_faulty_trial_becomes_a_failed_record(tmp_path, method, reason):
    record, predictions = run(job_of(tmp_path, method))
    assert record.status == "failed"
    assert reason in record.reason.replace("\n", "\\n")
    assert predictions is None


def test_hanging_trial_is_ended_at_its_time_limit(tmp_path):
    begin = time.monotonic()
    record, _ = run(job_of(tmp_path, "Hangs", seconds=3.0))
    assert record.reason == "time limit: still running after 0.05 minutes"
    assert time.monotonic() - begin < 30


def test_memory_limit_is_a_reason_of_its_own(tmp_path):
    record, _ = run(job_of(tmp_path, "Shares", memory=2e8))
    assert record.status == "failed"
    assert record.reason == "memory limit: took more than 0.2 GB"


def test_mapped_files_are_no_memory_of_a_trial(tmp_path):
    record, _ = run(job_of(tmp_path, "MapsAFile", memory=2e8))
    assert record.status == "done", record.reason


@pytest.mark.parametrize(
    ("epochs", "reason"), [(1, "ValueError: said enough"), pytest.param(2, "time limit: still running after", marks=pytest.mark.slow)]
)
def test_what_a_trial_printed_is_in_its_log_however_it_ended(tmp_path, epochs, reason):
    record, _ = run(job_of(tmp_path, "Prints", seconds=8, epochs=epochs))
    assert reason in record.reason
    assert "métier, no end of line" in (tmp_path / "trial.log").read_text(encoding="utf-8")


def test_what_a_trial_prints_is_in_its_log(tmp_path):
    run(job_of(tmp_path, "Raises"))
    assert "Traceback" in (tmp_path / "trial.log").read_text()


def test_stopping_kills_the_trial(tmp_path):
    stopped = threading.Event()
    threading.Timer(1.0, stopped.set).start()
    begin = time.monotonic()
    with pytest.raises(Stopped):
        run(job_of(tmp_path, "Hangs"), stopped=stopped)
    assert time.monotonic() - begin < 30


def test_class_from_a_notebook_runs(tmp_path, monkeypatch):
    """A class that lives in no file travels by value."""
    source = OUTSIDE.read_text()
    namespace = {"__name__": "__main__"}
    monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, source.splitlines(keepends=True), "<cell>"))
    exec(compile(source, "<cell>", "exec"), namespace)
    record, _ = run(job_of(tmp_path, "Mine", given=[namespace["Mine"]]))
    assert (record.status, record.reason) == ("done", None)


UNGUARDED = """
import sys

import bench
from bench.methods.base import Estimator

print("once")

class Even(Estimator):
    def fit(self, train, valid):
        self.classes = len(train.schema.classes)

    def predict_proba(self, samples):
        import numpy
        return numpy.full((len(samples), self.classes), 1 / self.classes)

frame = bench.run(methods=[Even, "constant"], datasets="breast-cancer", noise=0.3, seeds=0, out=sys.argv[1], jobs=2, quiet=True)
print(sorted(frame["status"]))
"""


@pytest.mark.slow
def test_script_without_a_guard_runs_once_and_its_class_travels(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "out")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["once", "['done', 'done']"]


def test_a_trial_whose_process_cannot_be_started_stays_planned(tmp_path, monkeypatch):
    def refuse(_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess._Popen", staticmethod(refuse))
    record, _ = run(job_of(tmp_path, "Mine"))
    assert record.status == "planned"
    assert record.reason.startswith("no process could be started: BlockingIOError")


def test_a_trial_whose_server_was_killed_beside_it_stays_planned_and_leaves_no_process(tmp_path):
    """Nobody knows its exit code then: it must not be taken for a trial that failed."""
    start_server()
    server, children = server_id(), []

    def kill():
        while not children:  # until the trial is forked
            time.sleep(0.1)
            children.extend(map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split()))
        os.kill(server, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    record, _ = run(job_of(tmp_path, "Hangs", seconds=600.0))
    assert record.status == "planned"
    assert record.reason == "killed from outside: the fork server, and the process with it (log: trial.log)"
    assert children
    assert not any(is_running(child) for child in children)


def is_running(pid):
    """Whether a process is there and has not ended: one that nobody has waited for yet is state Z."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state in "ZX":
            return False
        time.sleep(0.1)
    return True


def test_a_server_that_was_killed_between_trials_is_replaced(tmp_path):
    run(job_of(tmp_path, "Mine"))
    killed = server_id()
    os.kill(killed, signal.SIGKILL)
    assert not lives(killed)
    record, _ = run(job_of(tmp_path, "Mine"))
    assert (record.status, record.reason) == ("done", None)
    assert server_id() != killed


@pytest.mark.parametrize(("times", "status"), [(1, "done"), (2, "planned")], ids=["once", "each time"])
def test_a_server_that_dies_while_it_is_asked_is_asked_again_once(tmp_path, monkeypatch, times, status):
    from multiprocessing.context import ForkServerProcess

    usual, left = ForkServerProcess._Popen, [times]

    def dying(process):
        if left[0]:
            left[0] -= 1
            raise EOFError("unexpected EOF")
        return usual(process)

    monkeypatch.setattr(ForkServerProcess, "_Popen", staticmethod(dying))
    record, _ = run(job_of(tmp_path, "Mine"))
    assert record.status == status
    assert (record.reason or "") == (
        "" if status == "done" else "no process could be started: the fork server is killed from outside each time"
    )


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("DiesAnswering", "planned", "killed from outside by signal SIGKILL"),
        ("ClosesItsPipe", "failed", "process closed the pipe that its result was to come through, and went on"),
    ],
)
def test_half_an_answer_is_none(tmp_path, monkeypatch, method, status, reason):
    monkeypatch.setattr("bench.grid.process.GRACE", 1.0)
    record, predictions = run(job_of(tmp_path, method))
    assert record.status == status
    assert record.reason.startswith(reason)
    assert predictions is None

"""bench/grid/places: what every place does with its tasks, shown with one that runs them in the driver's own threads."""

import ast
import threading
import time
from pathlib import Path

import pytest

import bench
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places import Local, Place
from bench.grid.process import Ended, Lost, Stopped
from bench.question.suite import Settings, Suite

SUITE = Suite("small", (Settings(("breast-cancer",), noise=(0.3,)),), methods=("constant",), seeds=(0, 1, 2))


class Here(Place):
    """Carries a task out in the thread that asks for it."""

    def __init__(self, slots=1):
        super().__init__(slots)
        self.called, self.prepared = [], []

    def prepare(self, modules=(), datasets=()):
        self.prepared.append((list(modules), set(datasets)))

    def call(self, task, report, stopped):
        self.called.append(task)
        task.log.write_text("")
        return task.work(report)


class Nowhere(Here):
    def call(self, task, report, stopped):
        raise Ended("every worker that ran it died")


def test_a_run_needs_nothing_of_its_place_but_call(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.grid.job.limit_memory", lambda memory: None)  # of this very process
    place = Here(slots=2)
    summary = execute(SUITE, tmp_path / "here", How(place=place))
    again = execute(SUITE, tmp_path / "processes")
    assert [record.metrics for record in summary.records] == [record.metrics for record in again.records]
    assert {task.trial.id for task in place.called} == {record.trial.id for record in summary.records}
    assert place.prepared == [(["bench.datasets.breast_cancer", "bench.methods.constant"], {"breast-cancer"})]


def test_nothing_is_prepared_for_a_run_that_has_ended(tmp_path):
    execute(SUITE, tmp_path)
    place = Here()
    assert execute(SUITE, tmp_path, How(place=place)).reused == 3
    assert place.prepared == place.called == []


def test_what_a_place_cannot_carry_out_becomes_a_failed_record(tmp_path):
    summary = execute(SUITE, tmp_path, How(place=Nowhere()))
    assert {(record.status, record.reason) for record in summary.records} == {("failed", "every worker that ran it died")}
    assert summary.failed[0].provenance.threads == 1


class Failing(Here):
    def call(self, task, report, stopped):
        raise Lost("killed from outside by signal SIGKILL")


@pytest.mark.parametrize("is_quiet", [True, False])
def test_what_the_machine_took_is_told_of_quiet_or_not(tmp_path, capsys, is_quiet):
    frame = bench.run(SUITE, out=tmp_path, place=Failing(), quiet=is_quiet)
    assert len(frame) == 0
    told = capsys.readouterr().err
    assert "lost to the machine, 3 trials: killed from outside by signal SIGKILL" in told
    assert "3 trials of this run gave no result, for the machine failed; the same command runs them again" in told


def test_as_many_run_at_once_as_there_are_slots_and_each_result_comes_when_it_is_there():
    running, most, lock = [0], [0], threading.Lock()

    def work(seconds):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(seconds)
        with lock:
            running[0] -= 1
        return seconds

    assert list(Here(3).each(work, (0.6, 0.3, 0.1), threading.Event())) == [0.1, 0.3, 0.6]
    assert most == [3]
    most[0] = 0
    list(Here(1).each(work, (0.01,) * 4, threading.Event()))
    assert most == [1]


def test_items_are_taken_only_when_a_slot_is_free():
    taken = []
    found = Here(2).each(lambda _: time.sleep(0.05), (taken.append(i) for i in range(100)), threading.Event())
    next(found)
    assert len(taken) < 10
    found.close()


def test_once_stopped_no_work_begins_and_stopped_work_gives_nothing():
    stopped, begun = threading.Event(), []

    def work(item):
        begun.append(item)
        stopped.set()
        raise Stopped

    assert list(Here().each(work, range(10), stopped)) == []
    assert begun == [0]


def test_an_error_of_one_task_stops_the_others_at_once():
    stopped = threading.Event()

    def work(item):
        if item == 1:
            raise KeyError("not foreseen")
        if not stopped.wait(30):
            raise AssertionError("the other task went on")
        raise Stopped

    with pytest.raises(KeyError, match="not foreseen"):
        list(Here(2).each(work, range(2), stopped))
    assert stopped.is_set()


def test_an_error_of_who_takes_the_results_stops_what_runs():
    stopped = threading.Event()

    def work(item):
        if item and not stopped.wait(30):
            raise AssertionError("the other task went on")
        return item

    def take():
        for _ in Here(2).each(work, range(2), stopped):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        take()
    assert stopped.is_set()


@pytest.mark.parametrize("slots", [0, -1])
def test_a_place_has_a_slot(slots):
    with pytest.raises(UsageError, match=f"at least 1, got {slots}"):
        Local(slots)


def test_only_places_know_how_tasks_are_spread():
    """Whoever runs trials asks a place, so that another kind of place is one more class there."""
    bench = Path(__file__).parents[3] / "bench"
    spreading = {
        "joblib": {"grid/places/base.py"},
        "multiprocessing": {"grid/process.py", "grid/warm.py", "inspection/doctor.py"},
    }
    for module, files in spreading.items():
        assert {path.relative_to(bench).as_posix() for path in bench.rglob("*.py") if module in imported(path)} == files


def imported(path):
    """Top names of all that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.partition(".")[0] for name in [*names, *(node.module or "" for node in nodes if isinstance(node, ast.ImportFrom))]}

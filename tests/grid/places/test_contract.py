"""bench/grid/places: what whoever runs trials may expect of every place, on this machine and on real engines."""

import linecache
import shutil
import threading
import time
from dataclasses import replace

import pytest

from bench import registry
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places.remote import Remote
from bench.grid.process import Stopped


def test_a_job_gives_its_record_its_predictions_and_its_log(place, engines, notes, tmp_path):
    job = engines.jobs(tmp_path, engines.method(notes))[0]
    record, predictions = engines.run(place, job)
    assert (record.status, record.reason, record.trial) == ("done", None, job.trial)
    assert len(predictions.target) == record.facts.rows["test"]
    assert "it began" in job.log.read_text(encoding="utf-8")
    assert record.provenance.place == (place.kind if isinstance(place, Remote) else None)
    assert (record.provenance.node is None) == (record.provenance.place is None)


def test_reports_arrive_in_order(place, engines, notes, tmp_path):
    heard = []
    job = engines.jobs(tmp_path, engines.method(notes, "Telling"), training={"epochs": 4, "batch_size": 128})[0]
    record, _ = engines.run(place, job, lambda reached: heard.append(reached.epoch))
    assert (record.reason, heard) == (None, [1, 2, 3, 4])


def test_traces_and_weights_come_back(place, engines, notes, tmp_path):
    pytest.importorskip("safetensors")
    job = engines.jobs(tmp_path, engines.method(notes, "Telling"))[0]
    paths = tmp_path / "traces" / "t.npz", tmp_path / "weights" / "w.safetensors"
    record, _ = engines.run(place, replace(job, traces=paths[0], weights=paths[1]))
    assert (record.reason, record.facts.weights) == (None, "kept")
    assert all(path.stat().st_size > 0 for path in paths)


def test_once_stopped_the_job_ends_and_its_process_too(place, engines, notes, tmp_path):
    job = engines.jobs(tmp_path, engines.method(notes, does="hang"))[0]
    stopped = threading.Event()
    threading.Thread(target=lambda: (engines.wait_for(lambda: engines.begun(notes), "its beginning"), stopped.set())).start()
    with pytest.raises(Stopped):
        engines.run(place, job, stopped=stopped)
    process = engines.begun(notes)[0][0]
    engines.wait_for(lambda: not engines.is_alive(process), "the end of its process", 10)


def test_whoever_raises_at_a_report_ends_the_job_and_gets_that_error(place, engines, notes, tmp_path):
    job = engines.jobs(tmp_path, engines.method(notes, "Telling", pause=0.2), training={"epochs": 3000, "batch_size": 128})[0]

    def report(reached):
        raise KeyError("cut")

    with pytest.raises(KeyError, match="cut"):
        engines.run(place, job, report)
    process = engines.begun(notes)[0][0]
    engines.wait_for(lambda: not engines.is_alive(process), "the end of its process", 10)


def test_a_failure_is_a_failed_record_with_its_reason(place, engines, tmp_path):
    outside = engines.FAR.with_name("outside.py")
    crashed, hung = (engines.jobs(tmp_path, f"{outside}:{name}")[0] for name in ("Segfaults", "Hangs"))
    record, predictions = engines.run(place, crashed)
    assert (record.status, predictions) == ("failed", None)
    assert record.reason == f"killed by signal SIGSEGV (log: {crashed.log.name})"
    record, _ = engines.run(place, replace(hung, limits=replace(hung.limits, seconds=3.0)))
    assert record.reason == "time limit: still running after 0.05 minutes"
    assert (record.provenance.node is None) == (not isinstance(place, Remote))


def test_what_the_machine_failed_is_still_planned_and_says_where(place, engines, notes, tmp_path):
    record, predictions = engines.run(place, engines.jobs(tmp_path, engines.method(notes, does="fill"))[0])
    assert (record.status, predictions) == ("planned", None)
    node = record.provenance.node
    assert record.reason == ("" if node is None else f"worker {node}: ") + "OSError: [Errno 28] No space left on device"
    assert (node is None) == (not isinstance(place, Remote))


def test_a_class_from_a_notebook_runs_there(place, engines, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_given", {})
    text = engines.FAR.with_name("outside.py").read_text(encoding="utf-8")
    monkeypatch.setitem(linecache.cache, "<cell>", (len(text), None, text.splitlines(keepends=True), "<cell>"))
    namespace = {"__name__": "__main__"}
    exec(compile(text, "<cell>", "exec"), namespace)
    job = engines.jobs(tmp_path, registry.give(namespace["Mine"]))[0]
    record, _ = engines.run(place, job)
    assert (record.status, record.reason) == ("done", None)


@pytest.mark.parametrize("place", ["dask", "ray"], indirect=True)
def test_a_method_in_a_file_that_the_worker_lacks_runs_there_under_its_own_name(place, engines, tmp_path):
    """And so do the files beside it that it imports."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(engines.FAR, project / "beside.py")
    (project / "mine.py").write_text("from beside import Far\n\n\nclass Mine(Far):\n    pass\n", encoding="utf-8")
    first, second = engines.jobs(tmp_path, f"{project}/mine.py:Mine", seeds=(0, 1))
    assert engines.run(place, first)[0].reason is None
    shutil.rmtree(project)
    record, _ = engines.run(place, second)
    assert (record.status, record.reason, record.trial) == ("done", None, second.trial)


@pytest.mark.parametrize("place", ["dask", "ray"], indirect=True)
def test_an_unforeseen_error_of_an_engine_is_one_failed_record(place, engines, notes, tmp_path, monkeypatch):
    job = engines.jobs(tmp_path, engines.method(notes))[0]

    def send(*_):
        raise RuntimeError("the engine stumbled")

    with monkeypatch.context() as patched:
        patched.setattr(place, "send", send)
        record, _ = engines.run(place, job)
    assert (record.status, record.reason) == ("failed", f"{place.kind}: RuntimeError: the engine stumbled")
    assert engines.run(place, job)[0].status == "done"


@pytest.mark.parametrize("place", ["dask", "ray"], indirect=True)
def test_as_many_jobs_run_at_once_as_there_are_slots(place, engines, notes, tmp_path):
    asked = engines.jobs(tmp_path, engines.method(notes, does="sleep", seconds=1), seeds=range(6))
    begin = time.monotonic()
    records = list(place.each(lambda job: engines.run(place, job)[0], asked, threading.Event()))
    assert {record.status for record in records} == {"done"}
    assert time.monotonic() - begin < engines.LIMIT
    assert len({worker for _, _, worker in engines.begun(notes)}) == 2


@pytest.mark.parametrize("place", ["dask", "ray"], indirect=True)
def test_a_trial_that_kills_every_worker_fails_and_the_others_are_done(place, engines, notes, tmp_path):
    poison, good = engines.method(notes, does="poison"), engines.method(notes, does="sleep", seconds=1)
    summary = execute(engines.suite_of(poison, good), tmp_path / "out", How(place=place))
    found = {record.trial.options["does"]: record for record in summary.records}
    assert found["poison"].status == "failed"
    assert found["poison"].reason.startswith("every worker that ran it died")
    assert found["sleep"].status == "done"

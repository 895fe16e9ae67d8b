"""bench/grid/places/dask.py on real clusters: what is killed, refused or pruned, what is stored then, and that bits are those of here."""

import os
import signal
import threading
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places import place_of
from bench.grid.same import SameSuite
from bench.records.database import Store
from bench.studies.study import Budget
from bench.studies.tuning import tune

DATA = """
import os
from pathlib import Path

import numpy as np

from bench.datasets.base import DataError, Dataset, Modality, Samples, Schema


class Made(Dataset):
    title = "made"

    def load(self):
        file = Path(os.environ["BENCH_DATA"], "values.npy")
        if not file.is_file():
            raise DataError(f"made needs values.npy in {file.parent}, and it is not there")
        target = np.arange(60) % 2
        values = {"one": np.load(file), "two": (np.load(file) + target[:, None]).astype(np.float32)}
        schema = Schema((Modality("one", "A", "vector", (3,)), Modality("two", "B", "vector", (3,))), ("no", "yes"))
        return Samples(schema, values, np.ones((60, 2), dtype=bool), target, np.array([f"row {i}" for i in range(60)]))
"""


def test_bits_are_those_of_this_machine(dask_here, engines, tmp_path):
    suite = engines.suite_of("muse", "mean-logistic", training={"epochs": 2, "batch_size": 64})
    there, here = execute(suite, tmp_path / "there", How(place=dask_here)), execute(suite, tmp_path / "here")
    assert [record.reason for record in there.records] == [None, None]
    assert [record.metrics for record in there.records] == [record.metrics for record in here.records]
    stores = [Store(tmp_path / name, create=False) for name in ("there", "here")]
    outputs = [store.predictions([record.trial.id for record in here.records]) for store in stores]
    for id_, found in outputs[0].items():
        assert found.outputs.tobytes() == outputs[1][id_].outputs.tobytes()
    for store in stores:
        store.__exit__(None, None, None)


def test_a_killed_worker_loses_nothing_and_its_trial_is_stored_once(dask_here, engines, notes, tmp_path):
    suite = engines.suite_of(engines.method(notes, does="sleep", seconds=3), seeds=(0, 1, 2))

    def kill():
        os.kill(engines.wait_for(lambda: engines.begun(notes), "a beginning")[0][2], signal.SIGKILL)

    threading.Thread(target=kill).start()
    summary = execute(suite, tmp_path / "out", How(place=dask_here))
    assert [record.status for record in summary.records] == ["done"] * 3
    assert len(engines.begun(notes)) == 4


def test_a_trial_that_begins_anew_elsewhere_tells_no_epoch_twice(dask_here, engines, notes, tmp_path):
    heard = []
    method = engines.method(notes, "Telling", pause=0.3)
    job = engines.jobs(tmp_path, method, training={"epochs": 8, "batch_size": 128})[0]

    def report(reached):
        heard.append(reached.epoch)
        if reached.epoch == 3:
            os.kill(engines.begun(notes)[0][2], signal.SIGKILL)

    assert engines.run(dask_here, job, report)[0].status == "done"
    assert (heard, len(engines.begun(notes))) == (list(range(1, 9)), 2)


def test_a_tuning_prunes_there(dask_here, engines, tmp_path):
    net = f"{engines.FAR.with_name('tunable.py')}:Net"
    suite = engines.suite_of(net, training={"epochs": 8, "batch_size": 128})
    result = tune(suite, tmp_path, Budget(12), how=How(place=dask_here)).results[0]
    statuses = {suggestion.status for suggestion in result.suggestions}
    assert "done" in statuses
    assert statuses <= {"done", "pruned"}


def test_an_audit_runs_there_and_finds_what_it_finds_here(engines, cluster, tmp_path):
    cluster.worker()
    words = ["audit", "constant", "--quiet", "--json", "--out"]
    there = CliRunner().invoke(main, [*words, str(tmp_path / "there"), "--on", cluster.name, "-j", "1"])
    here = CliRunner().invoke(main, [*words, str(tmp_path / "here")])
    assert there.exit_code == here.exit_code == 0, there.output
    assert there.stdout == here.stdout


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)], ids=["KILL", "INT", "TERM"]
)
def test_a_driver_that_ends_leaves_no_process_and_the_same_command_continues(engines, cluster, processes, notes, tmp_path, number, code):
    cluster.worker()
    words = ["run", "--methods", engines.method(notes, does="hang"), "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0"]
    words += ["--on", cluster.name, "-j", "1", "--out", tmp_path / "out"]
    driver = processes.bench(*words)
    trial = engines.wait_for(lambda: engines.begun(notes), "its beginning")[0][0]
    os.kill(driver.pid, number)
    _, said = driver.communicate(timeout=engines.LIMIT)
    assert driver.returncode == code, said
    engines.wait_for(lambda: not engines.is_alive(trial), "the end of the trial's process", 30)
    with Store(tmp_path / "out", create=False) as store:
        assert list(store.statuses().values()) == ["planned"]


def test_a_run_whose_scheduler_dies_says_so_and_keeps_what_has_ended(engines, cluster, processes, notes, tmp_path):
    cluster.worker()
    methods = f"constant,{engines.method(notes, does='hang')}"
    words = ["run", "--methods", methods, "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0", "--on", cluster.name, "-j", "1"]
    soon = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
    driver = processes.bench(*words, "--out", tmp_path / "out", environment=soon)
    trial = engines.wait_for(lambda: engines.begun(notes), "its beginning")[0][0]
    os.kill(cluster.scheduler.pid, signal.SIGKILL)
    _, said = driver.communicate(timeout=engines.LIMIT)
    assert driver.returncode == 1, said
    assert "is gone" in said
    assert "the same command continues" in said
    engines.wait_for(lambda: not engines.is_alive(trial), "the end of the trial's process", 30)
    with Store(tmp_path / "out", create=False) as store:
        assert sorted(store.statuses().values()) == ["done", "planned"]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A dataset that reads a file of the data root, and the roots of driver and worker."""
    (tmp_path / "data.py").write_text(DATA, encoding="utf-8")
    roots = tmp_path / "ours", tmp_path / "theirs"
    for number, root in enumerate(roots):
        root.mkdir()
        np.save(root / "values.npy", np.random.default_rng(number).normal(size=(60, 3)).astype(np.float32))
    monkeypatch.setenv("BENCH_DATA", str(roots[0]))
    return f"{tmp_path}/data.py:Made", roots[1]


@pytest.mark.parametrize("is_there", [True, False], ids=["other data", "no data"])
@pytest.mark.parametrize("is_late", [True, False], ids=["late worker", "worker of the start"])
def test_a_worker_of_other_data_is_refused_and_nothing_is_stored(engines, cluster, made, tmp_path, is_there, is_late):
    name, theirs = made
    if not is_there:
        (theirs / "values.npy").unlink()
    suite = replace(engines.suite_of("constant"), settings=(replace(engines.suite_of("constant").settings[0], datasets=(name,)),))
    with place_of(cluster.name, 1) as place, ExitStack() as held:
        start = threading.Timer(3.0 * is_late, cluster.worker, kwargs={"environment": {"BENCH_DATA": str(theirs)}})
        start.start()
        if not is_late:
            place.open()
            place.inspect(patience=engines.LIMIT)
        held.callback(start.join)
        with pytest.raises(UsageError, match="other data here" if is_there else "it is not there; copy it there, or give the worker"):
            execute(suite, tmp_path / "out", How(place=place))
    assert (tmp_path / "out").exists() == is_late
    if is_late:
        with Store(tmp_path / "out", create=False) as store:
            assert set(store.statuses().values()) == {"planned"}


def test_a_worker_of_another_bench_is_refused_with_its_name_and_both_versions(engines, cluster, tmp_path):
    (tmp_path / "older.py").write_text("import bench\n\nbench.__version__ = '0.0.9'\n", encoding="utf-8")
    cluster.worker("--preload", tmp_path / "older.py")
    with place_of(cluster.name, 1) as place:
        assert len(place.inspect(patience=engines.LIMIT)) == 1
        with pytest.raises(UsageError, match=r"worker tcp://\S+: bench 0.0.9 is installed, the driver is bench"):
            execute(engines.suite_of("constant"), tmp_path / "out", How(place=place))
    done = CliRunner().invoke(main, ["doctor", "--on", cluster.name])
    assert done.exit_code == 1
    assert "bench 0.0.9 is installed" in done.stdout


def test_other_packages_are_refused_unless_they_are_taken(dask_here, engines, tmp_path, monkeypatch):
    ours = SameSuite.here()
    older = replace(ours, packages=tuple((name, "1.0" if name == "numpy" else version) for name, version in ours.packages))
    monkeypatch.setattr(dask_here, "_suite", older)
    with pytest.raises(UsageError, match=r"numpy \S+ \(the driver has 1.0\); install the same ones, or --mixed"):
        execute(engines.suite_of("constant"), tmp_path / "out", How(place=dask_here))
    monkeypatch.setattr(dask_here, "_suite", replace(older, is_mixed=True))
    assert execute(engines.suite_of("constant"), tmp_path / "out", How(place=dask_here)).ran == 1


def test_a_dry_run_says_what_workers_there_are(engines, cluster, tmp_path):
    cluster.worker()
    asked = ["run", "--methods", "constant", "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0", "--on", cluster.name]
    with place_of(cluster.name, 1) as place:
        place.inspect(patience=engines.LIMIT)
    done = CliRunner().invoke(main, [*asked, "--out", str(tmp_path), "--dry-run"])
    assert (done.exit_code, "ok    worker tcp://" in done.stdout, "1 slot: bench" in done.stdout) == (0, True, True), done.output


def test_a_cluster_without_workers_asks_how_many_trials_to_send(cluster):
    with place_of(cluster.name) as place, pytest.raises(UsageError, match="start some, or say with -j"):
        _ = place.slots


def test_nobody_answers_is_said_in_a_line(engines, monkeypatch):
    engines.need("dask")
    monkeypatch.setattr("bench.grid.places.dask.CONNECT", 1.0)
    with place_of("dask://127.0.0.1:1", 1) as place, pytest.raises(UsageError, match="no dask scheduler answers at tcp://127"):
        place.open()


def test_that_there_are_no_workers_is_said_once(engines, cluster, notes, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.grid.places.dask.LOOK", 0.1)
    monkeypatch.setattr("bench.grid.places.dask.LONELY", 1.0)
    said, stopped = [], threading.Event()
    with place_of(cluster.name, 1) as place:
        threading.Timer(4.0, stopped.set).start()
        place.check([], said.append)
        assert list(place.each(lambda job: engines.run(place, job, stopped=stopped), engines.jobs(tmp_path, "constant"), stopped)) == []
    assert [line for line in said if "no workers" in line] == [said[1]]

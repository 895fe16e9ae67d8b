"""bench/grid/places/slurm.py on a real Slurm of this machine: jobs come, are cancelled, see their GPUs, and leave nothing behind."""

import importlib
import os
import re
import signal
import threading

import pytest

from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places import place_of
from bench.records.database import Store

ON = "slurm://ci?mem=1800M&time=00:20:00"


@pytest.fixture(scope="module")
def slurm_tools(engines):
    engines.need("slurm")
    return importlib.import_module("slurm")


@pytest.fixture(scope="module")
def slurm(slurm_tools, tmp_path_factory):
    if reason := slurm_tools.lack():
        pytest.skip(reason)
    with slurm_tools.Slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def test_each_trial_of_a_run_goes_to_a_job_and_nothing_of_them_is_left(slurm, slurm_tools, engines, processes, notes, tmp_path):
    """And each job has the GPU that Slurm gave it."""
    words = ["run", "--methods", engines.method(notes, does="sleep", seconds=2), "--datasets", "breast-cancer", "--noise", "0.3"]
    driver = processes.bench(*words, "--seeds", "0-3", "--on", f"{ON}&gres=gpu:1", "-j", "2", "--out", tmp_path / "out")
    jobs = engines.wait_for(lambda: len(slurm.jobs()) == 2 and slurm.jobs(), "two jobs")
    _, said = driver.communicate(timeout=engines.LIMIT)
    assert driver.returncode == 0, said
    assert len({worker for _, _, worker in engines.begun(notes)}) == 2
    logs = [path.read_text(encoding="utf-8") for path in (tmp_path / "out" / "logs").glob("*.log")]
    assert {re.search(r"GPUs of its worker: (\S+)", log)[1] for log in logs} == {"0", "1"}
    with Store(tmp_path / "out", create=False) as store:
        assert {(record.status, record.provenance.place) for record in store.records()} == {("done", "slurm")}
    engines.wait_for(lambda: not slurm.jobs(), "an empty queue", 30)
    engines.wait_for(lambda: not any(map(slurm_tools.of_job, jobs)), "the end of all that the jobs started", 30)


def test_a_job_that_is_cancelled_in_mid_trial_loses_nothing(slurm, slurm_tools, engines, notes, tmp_path):
    suite = engines.suite_of(engines.method(notes, does="sleep", seconds=4), seeds=(0, 1))

    def cancel():
        worker = engines.wait_for(lambda: engines.begun(notes), "a beginning")[0][2]
        job = next(job for job in slurm.jobs() if worker in slurm_tools.of_job(job))
        slurm.said("scancel", job)

    thread = threading.Thread(target=cancel)
    thread.start()
    with place_of(ON, 1) as place:
        summary = execute(suite, tmp_path / "out", How(place=place))
    thread.join()
    assert [record.status for record in summary.records] == ["done", "done"]
    assert len(engines.begun(notes)) == 3
    engines.wait_for(lambda: not slurm.jobs(), "an empty queue", 30)


def test_a_driver_that_is_killed_leaves_no_job(slurm, slurm_tools, engines, processes, notes, tmp_path):
    words = ["run", "--methods", engines.method(notes, does="hang"), "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0"]
    driver = processes.bench(*words, "--on", ON, "-j", "1", "--out", tmp_path / "out")
    trial = engines.wait_for(lambda: engines.begun(notes), "a beginning")[0][0]
    jobs = slurm.jobs()
    os.kill(driver.pid, signal.SIGKILL)
    engines.wait_for(lambda: not engines.is_alive(trial), "the end of the trial's process", 30)
    engines.wait_for(lambda: not slurm.jobs() and not any(map(slurm_tools.of_job, jobs)), "the end of the job", 60)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("slurm://ci?tme=1", "unknown option of slurm 'tme', did you mean 'time'"),
        ("slurm://ci?time=soon", "time of slurm must be as sbatch takes it, such as 04:00:00 or 1-12, got 'soon'"),
        ("slurm://ci?mem=much", "mem of slurm must be as sbatch takes it, such as 12G, got 'much'"),
        ("slurm://ci?mem", "options of 'slurm://ci?mem' are key=value with an & between two, each once, got 'mem'"),
        ("slurm://ci?mem=1G&mem=2G", "each once, got 'mem=2G'"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_submitted(engines, name, reason):
    engines.need("slurm")
    with pytest.raises(UsageError, match=re.escape(reason)):
        place_of(name)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("10:30", 630), ("04:00:00", 14400), ("1-12", 129600), ("1-12:30", 131400), ("2-00:00:01", 172801)],
)
def test_times_are_read_as_sbatch_reads_them(engines, text, seconds):
    engines.need("slurm")
    from bench.grid.places.slurm import seconds_of

    assert seconds_of(text) == seconds

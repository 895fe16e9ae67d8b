"""bench/grid/places/ray.py on a real Ray: what is killed and what is stored then. What every place does is in test_contract."""

import os
import signal
import threading

import pytest

from bench.grid.engine import execute
from bench.grid.how import How
from bench.records.database import Store


def test_bits_are_those_of_this_machine(ray_here, engines, tmp_path):
    suite = engines.suite_of("muse", training={"epochs": 2, "batch_size": 64})
    there, here = execute(suite, tmp_path / "there", How(place=ray_here)), execute(suite, tmp_path / "here")
    id_ = here.records[0].trial.id
    with Store(tmp_path / "there", create=False) as one, Store(tmp_path / "here", create=False) as other:
        assert one.predictions([id_])[id_].outputs.tobytes() == other.predictions([id_])[id_].outputs.tobytes()
    assert there.records[0].metrics == here.records[0].metrics


def test_a_killed_worker_loses_nothing_and_its_trial_is_stored_once(ray_here, engines, notes, tmp_path):
    suite = engines.suite_of(engines.method(notes, does="sleep", seconds=3), seeds=(0, 1))

    def kill():
        os.kill(engines.wait_for(lambda: engines.begun(notes), "a beginning")[0][2], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    summary = execute(suite, tmp_path / "out", How(place=ray_here))
    thread.join()
    assert [record.status for record in summary.records] == ["done"] * 2
    assert len(engines.begun(notes)) == 3


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["KILL", "INT"])
def test_a_driver_that_ends_leaves_no_process(engines, processes, notes, tmp_path, number, code):
    engines.need("ray")
    words = ["run", "--methods", engines.method(notes, does="hang"), "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0"]
    driver = processes.bench(*words, "--on", "ray", "-j", "1", "--out", tmp_path / "out")
    trial = engines.wait_for(lambda: engines.begun(notes), "its beginning")[0][0]
    os.kill(driver.pid, number)
    _, said = driver.communicate(timeout=engines.LIMIT)
    assert driver.returncode == code, said
    engines.wait_for(lambda: not engines.is_alive(trial), "the end of the trial's process", 30)


def test_nobody_answers_is_said_in_a_line(engines, processes):
    engines.need("ray")
    asking = processes.bench("doctor", "--on", "ray://127.0.0.1:1")
    _, said = asking.communicate(timeout=engines.LIMIT)
    assert asking.returncode == 2
    assert "Error: no Ray cluster answers at" in said
    assert "Traceback" not in said

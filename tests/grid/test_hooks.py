"""bench/grid/hooks.py: hooks are told of each record that a run adds, and none of them ends a run."""

import json
import threading

import pytest

import bench
from bench.grid.engine import execute
from bench.grid.hooks import Hooks, plain
from bench.grid.how import How
from bench.question.assemble import assemble
from bench.question.trial import Trial
from bench.records.record import Record

ASKED = {"methods": "constant,mean-logistic", "datasets": "breast-cancer", "noise": 0.3, "seeds": "0-1", "quiet": True}
TRIAL = Trial("constant", "default", {}, {}, "digits", {}, "NE", "natural", 0, "accuracy", "training", 0, "f", "v")


class Entry:
    def __init__(self, name, found):
        self.name, self.found = name, found

    def load(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def installed(monkeypatch):
    """Puts entry points into the group."""
    found = []
    monkeypatch.setattr("bench.grid.hooks.entry_points", lambda group: found if group == "bench.hooks" else [])
    return found


@pytest.mark.slow
def test_each_new_record_is_told_once_in_the_main_thread_after_it_is_stored(tmp_path):
    told, threads = [], set()

    def hook(record):
        threads.add(threading.current_thread())
        told.append((record["id"], bench.show(record["id"], tmp_path).record.status, record["status"]))

    bench.run(**ASKED, out=tmp_path, jobs=2, hooks=[hook])
    assert len({id_ for id_, *_ in told}) == 4
    assert {(stored, said) for _, stored, said in told} == {("done", "done")}
    assert threads == {threading.main_thread()}
    bench.run(**{**ASKED, "seeds": "0-2"}, out=tmp_path, hooks=[hook])
    assert len(told) == 6  # those of seed 2 alone


@pytest.mark.slow
def test_hook_that_fails_is_said_once_and_the_run_goes_on(tmp_path):
    said, called = [], []

    def broken(record):
        called.append(record["id"])
        raise ConnectionError("no server\nanywhere")

    suite = assemble("quick", {key: value for key, value in ASKED.items() if key != "quiet"})
    summary = execute(suite, tmp_path, How(hooks=[broken], say=said.append))
    assert (summary.ran, len(called)) == (4, 4)
    assert [line for line in said if "hook" in line] == [
        f"hook broken failed on trial {called[0]}: ConnectionError: no server anywhere; the run goes on, this is said once"
    ]


def test_given_hooks_come_first_and_installed_ones_by_name(installed):
    order = []

    class Made:
        def __call__(self, record):
            order.append("made of a class")

    installed += [Entry("zeta", lambda _: order.append("zeta")), Entry("alpha", Made), Entry("gone", ImportError("no such module"))]
    said = []
    hooks = Hooks([lambda _: order.append("given")], said.append)
    hooks.ended(Record(TRIAL, "done"))
    assert order == ["given", "made of a class", "zeta"]
    assert said == ["hook gone cannot be loaded: ImportError: no such module; the run goes on, this is said once"]


def test_hook_gets_plain_values_of_its_own(installed):
    def spoils(record):
        record["metrics"].clear()

    seen = []
    Hooks([spoils, seen.append], print).ended(Record(TRIAL, "done", metrics={"auroc": float("nan"), "accuracy": 0.5}))
    assert seen[0]["metrics"] == {"auroc": None, "accuracy": 0.5}
    assert json.loads(json.dumps(seen[0])) == plain(Record(TRIAL, "done", metrics={"auroc": float("nan"), "accuracy": 0.5}))
    assert seen[0]["trial"]["fingerprint"] == "f"


def test_keyboard_interrupt_in_a_hook_is_not_taken_for_an_error(installed):
    def stops(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Hooks([stops], print).ended(Record(TRIAL, "done"))

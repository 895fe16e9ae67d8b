"""bench/records/answers.py: a row is of one code, one data and one harness; one thing has one name, and two things have two."""

from dataclasses import replace

import numpy as np
import pytest

from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import current, like, named
from bench.records.database import Store
from bench.records.folder import answers_of
from bench.records.predictions import Predictions
from bench.records.record import Record

SUITE = Suite("small", (Settings(("digits",), noise=(0.3,)),), methods=("muse",))
FIRST = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def record(status="done", **changes):
    return Record(replace(FIRST, **changes), status, metrics={"accuracy": 0.5} if status == "done" else {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "w"}, "left out: 2 trials of muse of other code (version v); `bench run` asks them anew"),
        ({"fingerprint": "g"}, "left out: 2 trials on digits when it was other data (fingerprint f); `bench run` asks them anew"),
        ({"harness": 9}, f"left out: 2 trials of version {FIRST.harness} of the harness; `bench run` asks them anew"),
    ],
    ids=["code", "data", "harness"],
)
def test_seeds_of_another_version_are_left_out_and_named(change, words):
    kept, left_out = current([[record(seed=0), record(seed=1)], [record(seed=2, **change)]])
    assert [one.trial.seed for one in kept] == [2]
    assert left_out == [words]


def test_a_changed_method_leaves_other_methods_as_they_are():
    kept, left_out = current([[record(), record(method="shaspec")], [record(version="w")]])
    assert {(one.trial.method, one.trial.version) for one in kept} == {("muse", "w"), ("shaspec", "v")}
    assert left_out == []  # the one seed was asked anew


def test_method_in_another_setting_is_left_out_when_its_code_has_changed():
    kept, left_out = current([[record(protocol="mcar(0.5)")], [record(version="w")]])
    assert [one.trial.protocol for one in kept] == ["mcar(0.3)"]
    assert len(left_out) == 1


def test_code_may_differ_between_settings_of_one_run():
    """Files that options name count as code, and a budget may name another file for each dataset."""
    kept, left_out = current([[record(), record(dataset="gaussian", version="w")]])
    assert (len(kept), left_out) == (2, [])


def test_trial_that_never_ended_is_left_out_without_a_word():
    assert current([[record("planned", seed=1)], [record(version="w")]])[1] == []


def test_a_board_of_the_first_harness_says_what_its_predictions_give(tmp_path):
    """It stored other scores than it had taken metrics of."""
    old, stored = replace(FIRST, harness=1), Predictions(np.array(["a", "b"]), np.array([0, 1]), np.eye(2, dtype=np.float32), form="scores")
    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "first", [old])
        store.write(Record(old, "done", metrics={"accuracy": 0.5, "auroc": 0.5}), stored)
    (found,) = answers_of(tmp_path).records
    assert (found.metrics["accuracy"], found.metrics["auroc"]) == (1.0, 1.0)


def test_what_is_left_out_stands_on_the_page_and_in_the_published_folder(tmp_path):
    from bench.leaderboard import build, publish
    from bench.leaderboard.folder import stale_files

    with Store(tmp_path) as store:
        store.plan(SUITE, "family", "first", [FIRST, replace(FIRST, seed=1)])
        for seed in (0, 1):
            store.write(record(seed=seed), None)
        store.plan(SUITE, "family", "second", [replace(FIRST, version="w")])
        store.write(record(version="w"), None)
    answers = answers_of(tmp_path)
    assert any("left out: 1 trial of muse of other code" in warning for warning in build(answers).warnings)
    publish(tmp_path / "board", answers, draw=False)
    assert "left out: 1 trial of muse of other code" in (tmp_path / "board" / "README.md").read_text()
    assert stale_files(tmp_path / "board") == []


BASE = Trial(
    method="net.py:Net", preset="paper", options={}, training={}, dataset="data.py:Made", dataset_options={}, combination="NE",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def labels(*changes):
    trials = [record.trial for record in named([Record(replace(BASE, **one), "done") for one in changes], [])]
    return [trial.label for trial in trials], [trial.dataset_label for trial in trials]


def test_file_with_the_same_code_or_data_is_one_wherever_it_lies():
    moved = {"method": "/home/me/net.py:Net", "dataset": "sub/data.py:Made"}
    assert labels({}, moved) == (["Net", "Net"], ["Made", "Made"])


def test_file_whose_code_changed_on_the_way_is_one_through_the_version_they_share():
    later = {"method": "/a/net.py:Net", "version": "w"}
    assert labels({}, {"method": "/a/net.py:Net"}, later, {"method": "/b/net.py:Net", "version": "w"})[0] == ["Net"] * 4


def test_two_files_of_one_name_stay_two():
    others = {"method": "/a/net.py:Net", "version": "w", "dataset": "/a/data.py:Made", "fingerprint": "g"}
    assert labels({}, others) == (["net.py:Net", "a/net.py:Net"], ["data.py:Made", "a/data.py:Made"])


def test_same_code_under_another_class_or_file_name_stays_another_method():
    assert labels({}, {"method": "net.py:Other"}, {"method": "other.py:Net"})[0] == ["net.py:Net", "Other", "other.py:Net"]


def test_trials_to_come_are_named_as_records_of_the_same_code_are():
    records = named([Record(BASE, "done")], [])
    (found,) = like([replace(BASE, seed=7, method="/a/net.py:Net", dataset="/a/data.py:Made")], records)
    assert (found.label, found.dataset_label) == ("Net", "Made")

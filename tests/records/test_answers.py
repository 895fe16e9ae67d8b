"""bench/records/answers.py: one thing has one name in tables, wherever its file lies, and two things have two."""

from dataclasses import replace

from bench.question.trial import Trial
from bench.records.answers import like, named
from bench.records.record import Record

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

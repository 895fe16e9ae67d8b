"""bench/leaderboard/origin.py: where the numbers of a page come from, and what may not stand on one page."""

from dataclasses import replace

import pytest

from bench.leaderboard.origin import mixtures, on_one_machine, provenance_line
from bench.question.trial import Trial
from bench.records.facts import Facts, Origin
from bench.records.record import Record

TRIAL = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NE",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
CHECKOUT = {"bench": "0.1.0", "commit": "0123456789abcdef", "dirty": False}
INSTALLED = {"bench": "0.1.0", "commit": None, "dirty": None}


def records(*places):
    return [Record(TRIAL, "done", provenance=Origin.from_json(place)) for place in places]


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ([CHECKOUT], "commit 0123456789 (clean)"),
        ([{**CHECKOUT, "dirty": True}], "commit 0123456789 (dirty)"),
        ([INSTALLED], "bench 0.1.0 (installed)"),
        ([CHECKOUT, INSTALLED], "commit 0123456789 (clean) | bench 0.1.0 (installed)"),
    ],
    ids=["checkout", "dirty", "wheel", "both"],
)
def test_page_says_which_code_made_it(places, first):
    line = provenance_line(records(*places))
    assert line.startswith(f"{first} | data digits f | ")
    assert "None" not in line.partition(" | test masks")[0]
    assert "bench 0.1.0" in line


def test_two_installed_versions_are_no_one_experiment():
    found = records(INSTALLED, {**INSTALLED, "bench": "0.2.0"})
    assert mixtures(found) == ["records come from 2 versions of bench"]
    assert [record.provenance.code for record in found] == ["bench 0.1.0 (installed)", "bench 0.2.0 (installed)"]


GPU = {**CHECKOUT, "hardware_id": "h", "device": "cuda", "torch_device": "H200", "gpu": "GPU-1", "per_gpu": 1}
TRAINED, FITTED = Facts(best_epoch=1, test_evaluations=1), Facts(test_evaluations=1)


def on(place, facts=TRAINED):
    return Record(TRIAL, "done", facts=facts, provenance=Origin.from_json(place))


def test_a_method_that_fits_itself_mixes_no_devices_with_those_on_gpus():
    found = [on(GPU), on({**GPU, "gpu": "GPU-2"}), on({**CHECKOUT, "hardware_id": "h", "device": "cpu"}, FITTED)]
    assert mixtures(found) == []
    assert on_one_machine(found)
    assert mixtures([on(GPU), on({**CHECKOUT, "hardware_id": "h", "device": "cpu"})]) == ["records come from 2 devices"]


def test_gpus_of_two_kinds_are_two_devices():
    found = [on(GPU), on({**GPU, "torch_device": "A100"})]
    assert mixtures(found) == ["records come from 2 devices"]
    assert not on_one_machine(found)


def test_times_on_a_shared_gpu_are_not_compared():
    assert on_one_machine([on(GPU), on(GPU)])
    assert not on_one_machine([on(GPU), on({**GPU, "per_gpu": 4})])


OTHER = {
    "commits": {"commit": "other"}, "versions of bench": {"commit": None, "bench": "0.2.0"}, "hardware ids": {"hardware_id": "i"},
    "devices": {"torch_device": "A100"},
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER)
def test_each_dataset_is_of_one_origin_and_the_next_may_be_of_another(what):
    base = GPU if what != "versions of bench" else {**GPU, "commit": None}
    elsewhere = {**base, **OTHER[what]}

    def made(dataset, place):
        return replace(on(place), trial=replace(TRIAL, dataset=dataset))

    assert mixtures([made("digits", base), made("digits", base), made("av-digits", elsewhere)]) == []
    mixed = [made("digits", base), made("digits", elsewhere), made("av-digits", elsewhere)]
    assert mixtures(mixed) == [f"records of digits come from 2 {what}"]
    assert mixtures(mixed[:2]) == [f"records come from 2 {what}"]
    assert not on_one_machine([made("digits", GPU), made("av-digits", {**GPU, "hardware_id": "i"})])

"""bench/grid/estimate.py: how long a run will take, from what is stored or from steps timed here."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.grid.estimate import estimate, from_records
from bench.question.plan import plan
from bench.question.suite import read_suite, with_options
from bench.records.facts import Facts
from bench.records.record import Record
from bench.training.timing import Span, timed

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"


def trials_of(methods="shaspec", **options):
    defaults = {
        "datasets": "breast-cancer",
        "protocols": "mcar(0.3)",
        "seeds": "0-3",
        "training": ["epochs=2", "batch_size=64", "width=16"],
    }
    return plan(with_options(read_suite("quick"), {"methods": methods, **defaults, **options}))


def record_of(trial, total, training, epochs=2):
    return Record(trial, "done", cost={"train_seconds": training}, facts=Facts(seconds={"total": total}, config={"epochs": epochs}))


def test_stored_trials_of_the_same_kind_give_the_time():
    first, second, *others = trials_of()
    found = estimate(others, [record_of(first, 3.0, 2.0), record_of(second, 5.0, 4.0)], jobs=2)
    assert (found.stored, found.measured, found.trials) == (2, 0, 2)
    assert (found.low, found.seconds, found.high) == (3.0, 4.0, 5.0)  # two trials side by side take the time of one


def test_more_epochs_take_more_training_alone():
    past, asked = trials_of()[0], trials_of(training=["epochs=8", "batch_size=64", "width=16"])[1]
    assert from_records(asked, [record_of(past, 3.0, 2.0)]) == Span(9.0, 9.0, 9.0)


@pytest.mark.parametrize(
    "change", [{"training": ["epochs=2", "batch_size=32", "width=16"]}, {"combinations": "ME"}], ids=["batch", "letters"]
)
def test_trial_of_another_kind_says_nothing(change):
    past, asked = trials_of()[0], trials_of(**change)[1]
    found = estimate([asked], [record_of(past, 1e6, 1e6)], jobs=1)
    assert found.measured == 1
    assert found.seconds < 1e4


@pytest.mark.parametrize("method", ["shaspec", "mean-logistic"])
def test_timed_steps_grow_with_the_epochs(method):
    few, many = (timed(trials_of(method, training=[f"epochs={epochs}", "width=16"])[0]) for epochs in (1, 1000))
    assert few[0].low <= few[0].seconds <= few[0].high
    if method == "shaspec":
        assert many[0].seconds > 50 * (few[0].seconds - 0.5)
        assert few[1] > 0


def test_fewer_modalities_take_between_their_share_and_all(monkeypatch):
    asked = []
    monkeypatch.setattr("bench.grid.estimate.timed", lambda trial, *_: (asked.append(trial.combination), (Span(9.0, 6.0, 12.0), 1.0))[1])
    found = estimate(trials_of(combinations="M,MEW", seeds="0"), [], jobs=1)
    assert asked == ["MEW"]
    assert (found.low, found.seconds, found.high) == (pytest.approx(2 + 6), pytest.approx(6 + 9), 24)


def test_method_that_fails_is_named_and_the_rest_estimated():
    found = estimate(trials_of(f"mean-logistic,{OUTSIDE}:Raises", seeds="0"), [], jobs=1)
    assert found.measured == 1
    assert len(found.unknown) == 1
    assert "Raises" in found.unknown[0]
    assert "not in the estimate" in found.text()


def test_dry_run_prints_the_estimate(tmp_path):
    words = ["run", "--methods", "constant", "--datasets", "breast-cancer", "--noise", "0.3", "--dry-run", "--out", tmp_path / "runs"]
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "3 trials, 3 to run\nabout " in result.stdout
    found = json.loads(CliRunner().invoke(main, [*map(str, words), "--json", "-q"]).stdout)
    assert len(found["trials"]) == 3
    assert found["estimate"]["trials"] == found["estimate"]["measured"] == 3
    assert not (tmp_path / "runs").exists()


def test_dry_run_without_the_data_lists_what_the_suite_asks(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "empty"))
    result = CliRunner().invoke(main, ["run", "--suite", "paper-table4", "--methods", "muse,constant", "--dry-run", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "cmu-mosi is not here" in result.stderr
    assert "72 trials; their ids and an estimate of the time need the data" in result.stdout  # 2 methods, 4 x 3 settings, 3 seeds
    assert sum("mcar(0.5)" in line for line in result.stdout.splitlines()) == 8

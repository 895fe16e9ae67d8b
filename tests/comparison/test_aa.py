"""bench/comparison/aa.py: one method under two names is not better than itself in more than its share of settings."""

from dataclasses import replace

import numpy as np
import pytest

import bench
from bench.comparison.aa import SelfTest, self_test
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.database import Store
from bench.records.facts import Facts
from bench.records.predictions import Predictions
from bench.records.record import Record

SUITE = Suite("made", (Settings(("digits",)),), methods=("muse",))
BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NE",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def runs(rng, seeds, protocol="mcar(0.1)", gaps=None, rows=100):
    """Seeds of unlike quality on samples of unlike difficulty; `gaps` are added to the quality of each seed."""
    target, difficulty = np.arange(rows) % 2, rng.normal(size=rows)
    pairs = []
    for seed in range(seeds):
        quality = 1 + 0.2 * rng.normal() + (0.0 if gaps is None else gaps[seed])
        positive = 1 / (1 + np.exp(-((2 * target - 1) * quality + difficulty + 0.6 * rng.normal(size=rows))))
        scores = np.column_stack([1 - positive, positive]).astype(np.float32)
        trial = replace(BASE, seed=seed, protocol=protocol)
        record = Record(
            trial, "done", None, {"accuracy": float((scores.argmax(1) == target).mean())}, {}, Facts(rows={"test": rows, "train": 400})
        )
        pairs.append((record, Predictions(np.array([f"r{i}" for i in range(rows)]), target, scores)))
    return pairs


def halved(pairs, **options):
    answers = Answers(SUITE, [record for record, _ in pairs], {record.trial.id: arrays for record, arrays in pairs})
    return self_test(answers, ["muse"], **options)


def test_method_against_itself_is_significant_in_no_more_than_its_share():
    rng = np.random.default_rng(0)
    found = halved([pair for number in range(1, 61) for pair in runs(rng, 6, f"mcar({number / 100:g})")])
    assert found.tests == 60
    assert found.passed
    assert found.share < 0.09
    assert found.as_json()["significant"] == found.significant == len(found.as_json()["found"])


def test_tuned_row_is_compared_with_itself_as_any_other():
    """Both halves carry the name that tables give the row, which once made two rows of one name."""
    label = "muse tuned at mcar(0.3) (2 suggestions)"
    pairs = runs(np.random.default_rng(0), 6)
    named = [(replace(record, trial=replace(record.trial, options={"width": 128}, row=label)), arrays) for record, arrays in pairs]
    answers = Answers(SUITE, [record for record, _ in named], {record.trial.id: arrays for record, arrays in named})
    (tuned,), (plain,) = (list(found.p.values()) for found in (self_test(answers, [label]), halved(pairs)))
    assert tuned[0] == plain[0]  # even and odd seeds; the other halvings are drawn by the name


def test_planted_effect_between_the_halves_is_found():
    rng = np.random.default_rng(0)
    gaps = [1.5 * (seed % 2) for seed in range(10)]
    found = halved([pair for number in range(1, 7) for pair in runs(rng, 10, f"mcar(0.{number})", gaps)])
    assert found.significant == 6
    assert not found.passed


def test_what_says_nothing_is_left_out_by_name():
    rng = np.random.default_rng(0)
    pairs = runs(rng, 6) + runs(rng, 3, "mcar(0.3)")
    same = runs(rng, 1, "natural")[0]
    pairs += [(replace(same[0], trial=replace(same[0].trial, seed=seed)), same[1]) for seed in range(4)]
    found = halved(pairs)
    assert found.tests == 1
    assert found.left_out == (
        "muse on digits (NE), mcar(0.3): 3 seeds, needs 4 with a score",
        "muse on digits (NE), natural: every seed has the same score",
    )
    with pytest.raises(UsageError, match="needs 4 finished seeds of a method whose scores vary"):
        halved(runs(rng, 3))


@pytest.mark.parametrize(("tests", "allowed"), [(1, 0), (18, 3), (234, 17)])
def test_allowed_is_what_95_of_100_runs_stay_within(tests, allowed):
    found = SelfTest("accuracy", {("muse", str(number)): (0.5,) for number in range(tests)}, ())
    assert found.allowed == allowed


@pytest.mark.slow
def test_real_method_on_real_data_does_not_differ_from_itself(tmp_path):
    suite = Suite(
        "aa", (Settings(("digits", "breast-cancer"), noise=(0.1, 0.3, 0.5)),), methods=("mean-logistic",), seeds=tuple(range(6))
    )  # fmt: skip
    execute(suite, tmp_path)
    with Store(tmp_path, create=False) as store:
        result = self_test(store.answers(), suite.methods)
    assert result.tests == 6
    assert result.passed, result.as_json()
    assert bench.results(tmp_path)["status"].eq("done").all()

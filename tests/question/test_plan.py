"""bench/question/plan.py: what cannot be split or stated is refused, and what is odd is said, when a run is planned."""

from dataclasses import replace

import numpy as np
import pytest

from bench import registry
from bench.datasets.base import Dataset
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.question.plan import budget_key, notices, plan, unreached
from bench.question.suite import Settings, Suite

SUITE = Suite("told", (Settings(("Told",), noise=(0.3,)),), methods=("constant",), seeds=(0, 1, 2))


@pytest.fixture
def told(make_samples, monkeypatch):
    """A dataset whose samples are `make_samples` with changes, under the name Told."""

    def give(n=120, classes=2, posterior=None, **changes):
        samples = replace(make_samples(n=n, classes=classes), **changes)

        class Told(Dataset):
            title = "told"

            def load(self):
                return samples

            def posterior(self, samples):
                return posterior(samples) if posterior else None

        monkeypatch.setattr(registry, "_given", {"Told": Told})
        return SUITE

    return give


def test_a_split_that_cannot_be_made_is_refused_before_anything_runs(told):
    with pytest.raises(UsageError, match=r"a split by groups needs 3 groups, .* got 1 \(Told\)"):
        plan(told(groups=np.repeat("only", 120)))
    with pytest.raises(UsageError, match=r"each part needs a row of each of 10 classes.*\(Told\)"):
        plan(told(n=40, classes=10))
    with pytest.raises(UsageError, match=r"has no test part.*\(Told\)"):
        plan(told(split=np.tile(["train", "valid"], 60)))
    with pytest.raises(UsageError, match=r"parts the rows of 60 of 60 groups.*\(Told\)"):
        plan(told(split=np.tile(["train", "test"], 60), groups=np.arange(120) // 2))


def test_every_split_that_seeds_draw_is_tried(told, monkeypatch):
    drawn = []
    monkeypatch.setattr("bench.question.plan.split_rows", lambda dataset, samples, seed: drawn.append(seed))
    plan(told())
    plan(replace(told(), vary="split"))
    assert drawn == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("posterior", "message"),
    [
        (lambda samples: np.ones((len(samples), 3)) / 3, r"posterior of dataset 'Told' must return probabilities .*\(1, 2\), got \(1, 3\)"),
        (lambda samples: [[0.5, 0.5]], "must return probabilities .*got list"),
        (lambda samples: np.full((len(samples), 2), np.nan), "must return probabilities .*not finite"),
        (lambda samples: samples.nothing, "posterior of dataset 'Told' does not work: AttributeError"),
    ],
)
def test_a_posterior_that_is_none_is_refused_before_anything_runs(told, posterior, message):
    with pytest.raises(UsageError, match=message):
        plan(told(posterior=posterior))


def test_what_is_odd_is_said_once_a_dataset_and_stands_in_every_record(told, tmp_path):
    groups = np.where(np.arange(120) % 2 == 1, 0, 1 + np.arange(120) // 20)
    suite = replace(told(groups=groups), seeds=(0, 1))
    said = []
    summary = execute(suite, tmp_path, How(say=said.append))
    assert said == notices(suite)
    assert [line for line in said if line.startswith("Told: the ") and "part has no sample of class 'class 1'" in line]
    assert [record.status for record in summary.records] == ["done", "done"]
    assert summary.records[0].facts.concerns  # few rows, and Gaussians that lie far apart
    assert all([f"Told: {text}" for text in (*record.facts.concerns, *record.facts.notes)] == said for record in summary.records)


def test_of_many_splits_the_first_notes_are_said(told):
    suite = replace(told(groups=np.repeat(np.arange(3), [90, 20, 10])), vary="split", seeds=tuple(range(30)))
    assert len(notices(suite, concerns={})) <= 7


def test_nothing_is_said_of_ordinary_data(told, make_samples):
    samples = make_samples(n=800, classes=2)
    noisy = {
        name: (array + 4 * np.random.default_rng(0).normal(size=array.shape)).astype(np.float32) for name, array in samples.values.items()
    }
    assert notices(told(n=800, values=noisy)) == []


# ---- what a suite says for all methods


CONFIG = """
from dataclasses import dataclass
from torch import nn
from bench.methods.base import Method, MethodConfig, Prediction


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    SHARED
    width: int = 7
    storeys: int = 2


class Mine(Method):
    Config = Config

    def forward(self, batch):
        return Prediction(None)
"""


def trained_with(folder, shared, training, **changes):
    """What reaches a method from outside of what a suite says for all."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(CONFIG.replace("SHARED", shared or "pass"))
    method = f"{folder / 'mine.py'}:Mine"
    changes = {key: {method: value} if key == "configs" else value for key, value in changes.items()}
    suite = Suite(
        "told", (Settings(("breast-cancer",), noise=(0.3,)),), methods=(method, "mean-mlp"), seeds=(0,), training=training, **changes
    )
    return {trial.method.rpartition(":")[2]: trial.training for trial in plan(suite)}


def test_suite_reaches_fields_of_a_config_from_outside_that_it_shares_alone(tmp_path):
    training = {"epochs": 3, "width": 64, "storeys": 9}
    assert trained_with(tmp_path / "a", "", {"epochs": 3, "width": 64}) == {"Mine": {"epochs": 3}, "mean-mlp": {"epochs": 3, "width": 64}}
    assert trained_with(tmp_path / "b", 'shared = {"width", "storeys"}', training)["Mine"] == training


def test_what_a_suite_says_for_one_method_reaches_any_field(tmp_path):
    found = trained_with(tmp_path, "", {"epochs": 3, "width": 64}, configs={"width": 5, "storeys": 1})
    assert found["Mine"] == {"epochs": 3, "width": 5, "storeys": 1}


def told_of_unreached(folder, shared, option="", **changes):
    (folder / "mine.py").write_text(CONFIG.replace("SHARED", shared))
    methods = (f"{folder / 'mine.py'}:Mine{option}", "mean-mlp", "constant")
    return unreached(Suite("told", (Settings(("breast-cancer",), noise=(0.3,)),), methods=methods, seeds=(0,), **changes))


def test_an_option_that_a_config_of_ones_own_keeps_for_itself_is_told_of_in_a_line(tmp_path):
    (line,) = told_of_unreached(tmp_path, "pass", training={"epochs": 3, "width": 64})
    assert line == (
        "width = 64 does not reach mine.py:Mine, where width is a field of its own Config; write mine.py:Mine[width=64], "
        'or shared = {"width"} into the Config'
    )
    (line,) = told_of_unreached(tmp_path, "pass", budgets={"breast-cancer": {"width": 8}})
    assert line.startswith("width = 8 does not reach mine.py:Mine")


@pytest.mark.parametrize(
    ("shared", "option", "changes"),
    [
        ('shared = {"width"}', "", {"training": {"width": 64}}),
        ("pass", "[width=32]", {"training": {"width": 64}}),
        ("pass", "", {"training": {"epochs": 3}}),
    ],
    ids=["shared", "set by name", "of every Config"],
)
def test_an_option_that_reaches_all_or_is_set_by_name_is_not_told_of(tmp_path, shared, option, changes):
    assert told_of_unreached(tmp_path, shared, option, **changes) == []


def test_a_run_tells_of_options_that_do_not_reach_a_method(tmp_path):
    (tmp_path / "mine.py").write_text(CONFIG.replace("SHARED", "pass"))
    suite = Suite(
        "told", (Settings(("breast-cancer",), noise=(0.3,)),), methods=(f"{tmp_path / 'mine.py'}:Mine", "mean-mlp"), seeds=(0,),
        training={"width": 64},
    )  # fmt: skip
    assert notices(suite, concerns={})[0].startswith("width = 64 does not reach mine.py:Mine")


def test_setting_that_reaches_nobody_says_how_to(tmp_path):
    with pytest.raises(
        UsageError,
        match=r"training option storeys is a field of .*Mine, whose Config shares it with no suite; set it as .*Mine\[storeys=3\]",
    ):
        trained_with(tmp_path, "", {"storeys": 3})


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ('shared = "width"', "must be a set of field names"),
        ('shared = {"widht"}', "field in shared of method .*'widht', did you mean 'width'"),
    ],
)
def test_shared_names_fields(tmp_path, shared, said):
    with pytest.raises(UsageError, match=said):
        trained_with(tmp_path, shared, {})


TWO = Suite("two", (Settings(("digits", "breast-cancer"), noise=(0.3,)),), methods=("constant",), seeds=(0,))


def test_trials_are_selected_by_the_metric_of_their_dataset():
    trials = plan(replace(TWO, metrics={"digits": {"selection": "auroc"}}))
    assert {trial.dataset: trial.selection for trial in trials} == {"digits": "auroc", "breast-cancer": "accuracy"}


def test_a_table_that_says_what_the_suite_says_or_a_metric_alone_asks_the_same_trials():
    ids = [trial.id for trial in plan(TWO)]
    for table in ({"metric": "accuracy", "selection": "accuracy"}, {"metric": "auroc"}):
        assert [trial.id for trial in plan(replace(TWO, metrics={"digits": table}))] == ids


def test_results_may_share_a_table_unless_datasets_are_selected_otherwise():
    assert budget_key(replace(TWO, metrics={"digits": {"metric": "auroc"}})) == budget_key(TWO)
    assert budget_key(replace(TWO, metrics={"digits": {"selection": "auroc"}})) != budget_key(TWO)


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("digit", {"metric": "auroc"}, r"unknown dataset in \[metrics\] 'digit', did you mean 'digits'"),
        ("cmu-mosi[lables=zero]", {"metric": "auroc"}, "unknown option of dataset cmu-mosi 'lables', did you mean 'labels'"),
        ("digits", {"metric": "mae"}, "mae is no score of the target of digits, which is of kind classes"),
        ("digits", {"selection": "label_auroc"}, "label_auroc is no score of the target of digits"),
    ],
    ids=["dataset", "option", "metric", "selection"],
)
def test_tables_of_metrics_are_checked_against_the_data(name, table, message):
    with pytest.raises(UsageError, match=message):
        plan(replace(TWO, metrics={name: table}))

"""bench/question/defaults.py: data from outside are asked what their shape asks for, unless somebody says otherwise; the run says so."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import bench
from bench import registry
from bench.cli import main
from bench.datasets.base import Dataset
from bench.question.assemble import assemble
from bench.question.plan import plan
from bench.question.suite import Settings, Suite, read_suite
from bench.records.database import Store

MINE = {"datasets": "Mine", "methods": "constant", "protocols": "natural"}


@pytest.fixture
def mine(make_samples, monkeypatch):
    """A dataset from outside, under the name Mine, one class of which holds a share of its rows."""

    def give(most=0.88, n=200, official=False):
        samples = make_samples(n=n, classes=2)
        target = (np.arange(n) >= most * n).astype(np.int64)
        split = np.random.default_rng(0).permutation(np.repeat(["train", "test"], [3 * n // 4, n - 3 * n // 4])) if official else None

        class Mine(Dataset):
            title = "mine"

            def load(self):
                return replace(samples, target=target, split=split)

        monkeypatch.setattr(registry, "_given", {"Mine": Mine})
        return Mine

    return give


@pytest.fixture
def two(make_samples, monkeypatch):
    """Datasets from outside by name, each with the share of its rows that one class holds."""

    def give(**most):
        def of(share):
            samples = make_samples(n=200, classes=2)

            class Given(Dataset):
                title = "given"

                def load(self):
                    return replace(samples, target=(np.arange(200) >= share * 200).astype(np.int64))

            return Given

        monkeypatch.setattr(registry, "_given", {name: of(share) for name, share in most.items()})
        return {**MINE, "datasets": ",".join(most)}

    return give


def chosen(suite="quick", **options):
    found = assemble(suite, {**MINE, **options})
    return found.metric, found.selection, found.vary, found.seeds


def test_uneven_data_without_a_split_get_auroc_and_five_splits(mine):
    mine()
    assert chosen() == ("auroc", "auroc", "split", (0, 1, 2, 3, 4))
    said = assemble("quick", MINE).by_default
    assert set(said) == {"metric", "selection", "vary", "seeds"}
    assert "88.0 % of Mine are of class 'class 0'" in said["metric"]


def test_even_data_keep_the_metric_and_data_with_a_split_their_split(mine):
    mine(most=0.75)  # no more than three quarters
    assert chosen() == ("accuracy", "accuracy", "split", (0, 1, 2, 3, 4))
    mine(official=True)
    assert chosen() == ("auroc", "auroc", "training", (0, 1, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"metric": "f1_macro"}, ("f1_macro", "auroc", "split", (0, 1, 2, 3, 4))),
        ({"selection": "accuracy"}, ("auroc", "accuracy", "split", (0, 1, 2, 3, 4))),
        ({"vary": "training"}, ("auroc", "auroc", "training", (0, 1, 2))),
        ({"vary": "split"}, ("auroc", "auroc", "split", (0, 1, 2, 3, 4))),
        ({"seeds": "7"}, ("auroc", "auroc", "split", (7,))),
        ({"fixed_seed": 3}, ("auroc", "auroc", "training", (0, 1, 2))),
        ({"methods": "constant,mean-logistic", "until_resolved": ["constant,mean-logistic"]}, ("auroc", "auroc", "training", (0, 1, 2))),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_the_user_says_holds(mine, options, expected):
    mine()
    assert chosen(**options) == expected


def test_what_a_suite_of_the_user_says_holds_and_what_it_leaves_open_is_chosen(mine, tmp_path):
    mine()
    path = tmp_path / "own.toml"
    path.write_text('methods = ["constant"]\nmetric = "accuracy"\nseeds = "0-1"\n[[settings]]\ndatasets = ["Mine"]\n', encoding="utf-8")
    found = assemble(path, {})
    assert (found.metric, found.selection, found.vary, found.seeds) == ("accuracy", "auroc", "split", (0, 1))
    value = Suite("value", (Settings(("Mine",)),), methods=("constant",))
    assert assemble(value, {}) == value


def test_more_seeds_than_five_stay(mine):
    mine()
    assert assemble("real", MINE).seeds == tuple(range(10))


def test_a_catalogued_dataset_keeps_what_it_had_also_beside_data_from_outside(mine):
    mine()
    for datasets in ("digits", "eicu-demo", "digits,Mine"):
        found = assemble("quick", {"datasets": datasets})
        assert (found.metric, found.selection, found.vary, found.seeds, found.by_default) == (
            "accuracy",
            "accuracy",
            "training",
            (0, 1, 2),
            {},
        )
    assert assemble("quick", {}) == read_suite("quick")


def test_a_dataset_that_does_not_load_is_refused_when_it_is_planned(monkeypatch):
    class Mine(Dataset):
        title = "mine"

        def load(self):
            raise OSError("gone")

    monkeypatch.setattr(registry, "_given", {"Mine": Mine})
    suite = assemble("quick", MINE)
    assert suite.by_default == {}
    with pytest.raises(bench.errors.UsageError, match="dataset 'Mine' does not load: OSError: gone"):
        plan(suite)


def test_a_suite_with_reasons_reads_back_and_an_option_takes_its_reason_away(mine, tmp_path):
    mine()
    suite = assemble("quick", MINE)
    path = tmp_path / "quick.toml"
    path.write_text(suite.to_toml(), encoding="utf-8")
    assert read_suite(path) == replace(suite, name="quick")
    again = assemble(path, {"metric": "accuracy"})
    assert (again.metric, again.selection, set(again.by_default)) == ("accuracy", "auroc", {"selection", "vary", "seeds"})


def test_trials_and_the_stored_suite_hold_what_was_used_and_the_same_call_resumes(mine, tmp_path, capsys):
    cls = mine()
    frame = bench.run(datasets=cls, methods="constant", protocols="natural", out=tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("metric = auroc, for 88.0 % of Mine")
    assert [line for line in said if line.startswith("vary = split")]
    assert sum("of the samples are of class" in line for line in said) == 1
    with Store(tmp_path, create=False) as store:
        answers = store.answers()
    assert (answers.suite.metric, answers.suite.vary, answers.suite.seeds) == ("auroc", "split", (0, 1, 2, 3, 4))
    assert {(r.trial.selection, r.trial.vary) for r in answers.records} == {("auroc", "split")}
    assert all("88.0 % of the samples" in " ".join(r.facts.concerns) for r in answers.records)
    again = bench.run(datasets=cls, methods="constant", protocols="natural", out=tmp_path)
    assert again.equals(frame)  # timings too: nothing ran
    assert len(again) == 5


def test_the_command_that_repeats_a_trial_asks_for_its_split(mine):
    mine()
    one = plan(assemble("quick", {**MINE, "vary": "training"}))[0]
    assert "--vary training" in one.command()
    words = one.command().split()
    assert "--selection" in words
    digits = replace(one, dataset="digits")
    assert "--vary" not in digits.command()


def test_a_dry_run_says_what_would_be_asked(mine, tmp_path):
    mine()
    words = ["run", "--datasets", "Mine", "--methods", "constant", "--protocols", "natural", "--dry-run", "--out", str(tmp_path)]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 0
    assert "metric = auroc" in told.stderr
    assert "5 trials" in told.stdout


def test_tuning_keeps_one_split_and_takes_the_metric(mine):
    mine()
    found = assemble("quick", MINE, splits=False)
    assert (found.selection, found.vary, found.seeds) == ("auroc", "training", (0, 1, 2))


def test_of_several_datasets_the_uneven_alone_get_auroc(two):
    suite = assemble("quick", two(Even=0.6, Uneven=0.9))
    assert (suite.metric, suite.selection, suite.metrics) == ("accuracy", "accuracy", {"Uneven": {"metric": "auroc", "selection": "auroc"}})
    told = "auroc on Uneven, for 90.0 % of Uneven are of class 'class 0'; --metric accuracy takes that instead"
    assert suite.by_default["metric"] == told
    assert {trial.dataset: trial.selection for trial in plan(suite)} == {"Even": "accuracy", "Uneven": "auroc"}
    asked = assemble("quick", {**two(Even=0.6, Uneven=0.9), "metric": "accuracy"})
    assert (asked.metrics, "metric" in asked.by_default) == ({"Uneven": {"selection": "auroc"}}, False)


def test_datasets_that_are_all_uneven_share_auroc(two):
    suite = assemble("quick", two(One=0.8, Other=0.9))
    assert (suite.metric, suite.metrics) == ("auroc", {})
    assert suite.by_default["metric"].startswith("auroc, for 80.0 % of One are of class 'class 0' and 90.0 % of Other are")


def test_what_a_table_of_the_user_says_of_a_dataset_holds(two, tmp_path):
    two(Even=0.6, Uneven=0.9)
    path = tmp_path / "own.toml"
    path.write_text(
        'methods = ["constant"]\n[metrics.Uneven]\nmetric = "f1_macro"\n[[settings]]\ndatasets = ["Even", "Uneven"]\n', encoding="utf-8"
    )
    assert assemble(path, {}).metrics == {"Uneven": {"metric": "f1_macro", "selection": "auroc"}}

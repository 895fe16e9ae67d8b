"""bench/studies/looks.py: seeds are added where a pair is undecided, as planned, and nowhere else."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.question.plan import plan
from bench.question.suite import Settings, Suite
from bench.records.database import Store
from bench.studies.looks import further_trials, planned_looks, resolve

SUITE = Suite(
    "made",
    (Settings(("breast-cancer",), noise=(0.3,)), Settings(("breast-cancer",), ("M",), noise=(0.0,))),
    methods=("mean-logistic", "best-single", "mean-mlp", "constant"),
    seeds=(0, 1),
    training={"epochs": 2},
    until_resolved=("mean-logistic,constant", "mean-logistic,best-single", "mean-mlp,mean-logistic"),
    max_seeds=3,
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run that was stopped in the middle of its second look and went on."""
    folder, said = tmp_path_factory.mktemp("runs"), []
    execute(SUITE, folder)
    execute(
        SUITE,
        folder,
        trials=[trial for trial in further_trials(SUITE, plan(SUITE)) if trial.combination == "M" and trial.method == "mean-mlp"],
    )
    summary = resolve(SUITE, folder, How(say=said.append))
    return folder, summary, said


def seeds_of(folder):
    frame = bench.results(folder)
    return {key: sorted(group["seed"]) for key, group in frame.groupby(["method", "combination"])}


@pytest.mark.slow
def test_seeds_are_added_where_a_pair_is_undecided_and_nowhere_else(out):
    folder, summary, said = out
    found = seeds_of(folder)
    assert {method: found[method, "M"] for method in ("mean-logistic", "mean-mlp")} == {"mean-logistic": [0, 1, 2], "mean-mlp": [0, 1, 2]}
    rest = {key: seeds for key, seeds in found.items() if key not in (("mean-logistic", "M"), ("mean-mlp", "M"))}
    assert set(map(tuple, rest.values())) == {(0, 1)}
    assert (summary.planned, summary.ran, summary.reused) == (18, 1, 17)
    assert said[0] == "mean-logistic against constant: 2 of 2 settings resolved"
    assert said[1].endswith(": more seeds would not settle it: it takes more test samples")  # neither varies with the seed there
    assert said[2].endswith(": goes on to 3 seeds")
    assert said[3].endswith(": 3 seeds were not enough")
    assert len(said) == 4


@pytest.mark.slow
def test_same_call_again_runs_nothing(out):
    folder, _, _ = out
    before = seeds_of(folder)
    assert resolve(SUITE, folder).ran == 0
    assert seeds_of(folder) == before


@pytest.mark.slow
def test_compare_allows_for_the_looks_of_an_earlier_run(out, tmp_path):
    folder, _, _ = out
    execute(replace(SUITE, methods=("constant",), seeds=(0,), until_resolved=(), max_seeds=0), folder)  # later, and without a plan
    found = bench.compare("mean-logistic", "mean-mlp", folder, settings="M").differences[0]
    assert [look.seeds for look in found.looks.taken] == [2, 3]
    assert CliRunner().invoke(main, ["leaderboard", "--out", str(folder), "--publish", str(tmp_path)]).exit_code == 0
    assert bench.compare("mean-logistic", "mean-mlp", published=tmp_path, settings="M").differences[0].as_json() == found.as_json()


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"max_seeds": 9}, {"seeds": (0, 2)}, {"rope": 2.0}, {"metric": "auroc"}], ids=str)
def test_plan_cannot_be_changed_after_a_look(out, changes):
    with pytest.raises(UsageError, match=r"--seeds 0,1 --max-seeds 3 --metric accuracy --rope 1; a plan stays as it is"):
        resolve(replace(SUITE, **changes), out[0])


def test_methods_of_a_pair_must_be_in_the_run():
    with pytest.raises(UsageError, match="until_resolved names 'muse', which is not among the methods of this run: best-single, "):
        further_trials(replace(SUITE, until_resolved=("muse,constant",)), plan(SUITE))


def test_dry_run_shows_the_plan(tmp_path):
    words = [
        "run",
        "--methods",
        "constant,mean-logistic",
        "--datasets",
        "breast-cancer",
        "--noise",
        "0.3",
        "--dry-run",
        "--out",
        str(tmp_path),
    ]
    words += ["--until-resolved", "constant,mean-logistic", "--max-seeds", "8"]
    page = CliRunner().invoke(main, words).stdout
    assert "then, where constant against mean-logistic is undecided, up to 10 more. Planned looks at 5 % in all:" in page
    shape = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert shape["further_trials"] == 10
    assert [look["seeds"] for look in shape["looks"]] == [3, 5, 8]
    assert shape["looks"][-1]["spent"] == pytest.approx(0.05)
    assert not (tmp_path / "bench.db").exists()


def test_planned_looks_spend_alpha_up_to_the_last():
    looks = planned_looks(SUITE)
    assert [look.seeds for look in looks] == [2, 3]
    assert looks[0].level == pytest.approx(looks[0].spent)
    assert looks[1].spent == pytest.approx(0.05)


def test_wrong_plans_end_as_one_line(tmp_path):
    result = CliRunner().invoke(main, ["run", "--until-resolved", "muse", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr == "Error: until_resolved takes pairs of two methods, such as muse,fusemoe, got 'muse'\n"
    with Store(tmp_path) as store:
        assert store.plans_to_resolve("any") == []

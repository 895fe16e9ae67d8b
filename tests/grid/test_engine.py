"""bench/grid/engine.py: the grid is complete, resumes, survives failures and kills, and gives the same bits on any number of workers."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UsageError
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places import Local
from bench.question.plan import budget_key, plan
from bench.question.suite import Settings, Suite, with_options
from bench.records.database import Store

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"


def suite_of(methods, seeds=(0,), noise=(0.3,), epochs=1, datasets=("breast-cancer",), **options):
    training = {"epochs": epochs, "batch_size": 128}
    return Suite("small", (Settings(datasets, noise=noise),), methods=methods, seeds=seeds, training=training, **options)


def scores_in(out):
    with Store(out, create=False) as store:
        return {id_: arrays.scores for id_, arrays in store.predictions(store.statuses()).items()}


def test_plan_is_the_whole_grid_seed_by_seed():
    trials = plan(suite_of(("muse", "constant"), seeds=(0, 1), noise=(0.1, 0.3), datasets=("digits", "breast-cancer")))
    assert len(trials) == len({trial.id for trial in trials}) == 2 * 2 * 2 * 2
    assert [trial.seed for trial in trials] == [0] * 8 + [1] * 8
    assert {trial.combination for trial in trials} == {"NEWS", "MEW"}


def test_training_reaches_trained_methods_alone():
    by_method = {trial.method: trial for trial in plan(suite_of(("mean-mlp", "gradient-boosting")))}
    assert by_method["mean-mlp"].training == {"epochs": 1, "batch_size": 128}
    assert by_method["gradient-boosting"].training == {}


def test_the_budget_of_a_dataset_wins_there_for_every_method_and_nowhere_else():
    configs, budgets = {"muse": {"epochs": 9}}, {"digits": {"epochs": 3}}
    trials = plan(suite_of(("muse", "shaspec"), datasets=("digits", "breast-cancer"), epochs=5, configs=configs, budgets=budgets))
    epochs = {(trial.method, trial.dataset): trial.training["epochs"] for trial in trials}
    assert epochs["muse", "digits"] == epochs["shaspec", "digits"] == 3
    assert (epochs["muse", "breast-cancer"], epochs["shaspec", "breast-cancer"]) == (9, 5)


def test_own_configs_reach_their_method_alone():
    trials = plan(suite_of(("muse", "shaspec"), configs={"muse": {"epochs": 9}}))
    assert {trial.method: trial.training["epochs"] for trial in trials} == {"muse": 9, "shaspec": 1}
    assert all("[" not in trial.label for trial in trials)


def test_ceiling_joins_where_the_posterior_is_known():
    assert {trial.method for trial in plan(suite_of(("constant",), datasets=("gaussian", "digits")))} == {"constant", "bayes"}
    assert {trial.dataset for trial in plan(suite_of(("constant",), datasets=("gaussian", "digits"))) if trial.method == "bayes"} == {
        "gaussian"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("shapec",)}, "did you mean 'shaspec'"),
        ({"methods": ("constant",), "datasets": ("digit",)}, "did you mean 'digits'"),
        ({"methods": ("muse[layres=2]",)}, "did you mean 'layers'"),
        ({"methods": ("muse@papr",)}, "unknown preset of muse"),
        ({"methods": ("constant",), "configs": {"mues": {"epochs": 1}}}, "did you mean 'muse'"),
        ({"methods": ("muse",), "configs": {"muse": {"epoch": 1}}}, "did you mean 'epochs'"),
        ({"methods": ("muse",), "budgets": {"digits": {"epoch": 1}}}, "did you mean 'epochs'"),
        ({"methods": ("muse",), "budgets": {"digit": {"epochs": 1}}}, "did you mean 'digits'"),
    ],
)
def test_unknown_names_are_explained_before_anything_runs(options, message):
    with pytest.raises(UsageError, match=message):
        plan(suite_of(**options))


def test_unknown_training_key_and_combination_are_explained():
    with pytest.raises(UsageError, match="did you mean 'learning_rate'"):
        plan(with_options(suite_of(("muse",)), {"training": ["learning_rat=0.1"]}))
    with pytest.raises(UsageError, match="letters of 'MEW'"):
        plan(with_options(suite_of(("muse",)), {"combinations": "MX"}))
    with pytest.raises(UsageError, match=r"fixed\(X\) names modalities that are not in 'MEW': X \(breast-cancer\)"):
        plan(with_options(suite_of(("muse",)), {"protocols": "fixed(X)"}))
    with pytest.raises(UsageError, match=r"block\(group,0.3\) needs samples with groups"):
        plan(with_options(suite_of(("muse",)), {"protocols": "block(group)"}))


def test_protocols_of_a_plan_name_modalities_in_dataset_order():
    trials = plan(with_options(suite_of(("constant",)), {"protocols": "fixed(WM),fixed(MW),mcar(W=0.1,M=0.2)"}))
    assert [trial.protocol for trial in trials] == ["fixed(MW)", "mcar(M=0.2,W=0.1)"]


def test_each_trial_carries_the_evaluations_of_its_setting():
    suite = with_options(
        suite_of(("constant",)), {"protocols": "mcar,natural,fixed(EM)", "test_noise": "0.5,0", "test_combinations": "WM,E"}
    )
    assert {trial.protocol: trial.evaluations for trial in plan(suite)} == {
        "mcar(0.3)": ("mcar(0)", "mcar(0.5)", "fixed(E)", "fixed(MW)"),
        "natural": ("mcar(0)", "mcar(0.5)", "fixed(E)", "fixed(MW)"),
        "fixed(ME)": ("fixed(ME)+mcar(0)", "fixed(ME)+mcar(0.5)", "fixed(E)", "fixed(MW)"),
    }


def test_all_test_combinations_are_every_subset_smaller_ones_first():
    (trial,) = plan(with_options(suite_of(("constant",)), {"test_combinations": "all"}))
    assert trial.evaluations == tuple(f"fixed({letters})" for letters in ("M", "E", "W", "ME", "MW", "EW", "MEW"))


def test_tables_that_ask_for_the_same_trial_are_joined():
    one, other = Settings(("digits",), noise=(0.3,), test_noise=(0.5,)), Settings(("digits",), noise=(0.3,), test_noise=(0.0,))
    (trial,) = plan(Suite("both", (one, other), methods=("constant",), seeds=(0,)))
    assert trial.evaluations == ("mcar(0)", "mcar(0.5)")


def test_test_combination_that_is_not_there_is_explained():
    with pytest.raises(UsageError, match=r"test combination: .*'MEW'.*got 'MX' \(breast-cancer\)"):
        plan(with_options(suite_of(("constant",)), {"test_combinations": "MX"}))
    with pytest.raises(UsageError, match="would be 1023 evaluations of each trial; name those you want"):
        plan(with_options(suite_of(("constant",), datasets=("gaussian[modalities=10]",)), {"test_combinations": "all"}))


def test_evaluations_are_stored_with_their_trial(tmp_path):
    summary = execute(with_options(suite_of(("constant", "mean-mlp")), {"test_noise": "0,0.5", "test_combinations": "all"}), tmp_path)
    with Store(tmp_path, create=False) as store:
        stored = store.predictions(record.trial.id for record in summary.records)
    for record in summary.records:
        assert tuple(record.facts.evaluations) == tuple(stored[record.trial.id].evaluations) == record.trial.evaluations
        assert len(record.trial.evaluations) == 9


def test_second_run_does_nothing(tmp_path):
    suite = suite_of(("constant", "mean-logistic"))
    first, second = execute(suite, tmp_path), execute(suite, tmp_path)
    assert (first.ran, first.reused) == (2, 0)
    assert (second.ran, second.reused) == (0, 2)
    assert [record.metrics for record in first.records] == [record.metrics for record in second.records]


def test_new_method_runs_alone_beside_stored_ones(tmp_path):
    execute(suite_of(("constant",)), tmp_path)
    summary = execute(suite_of(("constant", f"{OUTSIDE}:Mine")), tmp_path)
    assert (summary.ran, summary.reused) == (1, 1)


def test_faulty_methods_become_records_and_the_others_go_on(tmp_path):
    names = ("Raises", "ReadsHidden", "Segfaults", "Exits", "Mine")
    summary = execute(suite_of(tuple(f"{OUTSIDE}:{name}" for name in names)), tmp_path, How(place=Local(2)))
    reasons = {record.trial.method.rpartition(":")[2]: record.reason for record in summary.records}
    assert summary.ran == 5
    assert reasons.pop("Mine") is None
    assert all(reasons.values())
    assert len(summary.failed) == 4


def test_failed_trials_run_again_only_when_asked(tmp_path):
    suite = suite_of((f"{OUTSIDE}:Raises",))
    assert execute(suite, tmp_path).ran == 1
    assert execute(suite, tmp_path).ran == 0
    assert execute(suite, tmp_path, How(retry_failed=True)).ran == 1


def test_number_of_workers_changes_no_bit(tmp_path):
    suite = suite_of(("shaspec", "mean-mlp", "gradient-boosting"), seeds=(0, 1), epochs=2)
    execute(suite, tmp_path / "one", How(place=Local(1)))
    execute(suite, tmp_path / "three", How(place=Local(3)))
    one, three = scores_in(tmp_path / "one"), scores_in(tmp_path / "three")
    assert one.keys() == three.keys()
    assert all(np.array_equal(one[id_], three[id_]) for id_ in one)


def test_runs_share_a_table_if_and_only_if_their_budget_is_equal():
    suite = suite_of(("muse",))
    assert budget_key(suite) == budget_key(with_options(suite, {"methods": "shaspec", "seeds": "5", "metric": "auroc"}))
    assert budget_key(suite) != budget_key(with_options(suite, {"training": ["epochs=7"]}))
    assert budget_key(suite) != budget_key(with_options(suite, {"selection": "auroc"}))


COMMAND = [
    "run",
    "--methods",
    f"{OUTSIDE}:Slow,mean-mlp,constant",
    "--datasets",
    "breast-cancer",
    "--noise",
    "0.3",
    "--seeds",
    "0-1",
    "--epochs",
    "8",
]


def start(out, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *COMMAND, "-j", "2", "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_records(out, count, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(UsageError), Store(out, create=False) as store:  # not there yet, or being made
            if sum(status == "done" for status in store.statuses().values()) >= count:
                return
        time.sleep(0.05)
    raise AssertionError(f"{count} records did not come within {seconds} s")


def finish(out):
    done = subprocess.run(
        [sys.executable, "-m", "bench", *COMMAND, "-j", "2", "-q", "--json", "--out", str(out)], capture_output=True, text=True, check=True
    )
    return {row["id"]: row["metrics"] for row in json.loads(done.stdout)["trials"]}


@pytest.mark.slow
def test_killed_driver_loses_and_repeats_nothing(tmp_path):
    with start(tmp_path / "killed") as driver:
        wait_for_records(tmp_path / "killed", 2)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    before = ends(tmp_path / "killed")
    resumed = finish(tmp_path / "killed")
    after = ends(tmp_path / "killed")
    assert 2 <= len(before) < len(after) == 6
    assert all(after[id_] == end for id_, end in before.items())
    with Store(tmp_path / "killed", create=False) as store:
        assert {attempts for (attempts,) in store.connection.execute("SELECT attempts FROM trials")} == {1}
    assert resumed == finish(tmp_path / "undisturbed")
    undisturbed = scores_in(tmp_path / "undisturbed")
    assert all(np.array_equal(scores, undisturbed[id_]) for id_, scores in scores_in(tmp_path / "killed").items())


def ends(out):
    """When each finished trial ended."""
    with Store(out, create=False) as store:
        return dict(store.connection.execute("SELECT id, ended FROM trials WHERE status = 'done'"))


@pytest.mark.slow
def test_interrupt_stops_cleanly_and_says_how_to_go_on(tmp_path):
    with start(tmp_path) as driver:
        wait_for_records(tmp_path, 1)
        driver.send_signal(signal.SIGINT)
        _, errors = driver.communicate(timeout=180)
    assert driver.returncode == 130
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    assert len(finish(tmp_path)) == 6


@pytest.mark.slow
def test_second_run_on_a_busy_folder_is_refused(tmp_path):
    with start(tmp_path, "--seeds", "0-49") as driver:
        wait_for_records(tmp_path, 1)
        with start(tmp_path) as second:
            _, errors = second.communicate(timeout=180)
        driver.send_signal(signal.SIGINT)
        driver.communicate(timeout=180)
    assert second.returncode == 2
    assert "another run is writing" in errors


@pytest.mark.slow
def test_trials_die_with_a_killed_driver(tmp_path):
    with start(tmp_path) as driver:
        wait_for_records(tmp_path, 1)
        family = descendants(driver.pid)
        assert family
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    end = time.monotonic() + 60
    while alive := {pid for pid in family if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < end, f"processes {alive} of a killed run are still alive"
        time.sleep(0.1)


def descendants(pid):
    """Process ids below a process, from /proc."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, waiting = set(), [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting.extend(below)
    return found

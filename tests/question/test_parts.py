"""bench/question/parts.py and the trial's own process: a record is of the code and the data that its id stands for."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench
from bench import registry
from bench.data.loading import fingerprint_of, load, load_same, loaded_once, preload
from bench.datasets.base import Dataset
from bench.errors import UsageError
from bench.grid.engine import jobs_of
from bench.grid.places import Local
from bench.names import parse_choice
from bench.question.parts import parts_of
from bench.question.plan import plan
from bench.question.suite import Settings, Suite
from bench.training.opened import open_trial

TABLE = """
import os
from pathlib import Path

import numpy as np
from bench.datasets.base import Dataset, Modality, Samples, Schema


class Table(Dataset):
    title, source, licence = "table", "here", "CC0"
    {facts}

    def load(self):
        rng = np.random.default_rng({seed})
        n, y = 120, np.arange(120) % 2
        x = (rng.normal(size=(n, 4)) + 3 * y[:, None]).astype(np.float32)
        schema = Schema((Modality("a", "A", "vector", (2,)), Modality("b", "B", "vector", (2,))), ("no", "yes"))
        ids = np.array([f"p{{i}}" for i in range(n)])
        return Samples(schema, {{"a": x[:, :2].copy(), "b": x[:, 2:].copy()}}, np.ones((n, 2), bool), y.astype(np.int64), ids{more})
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A dataset's file, written anew by table(seed="0", facts="pass", more=""); returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(seed="0", facts="pass", more=""):
        (tmp_path / "table_data.py").write_text(TABLE.format(seed=seed, facts=facts, more=more))
        return "table_data.py:Table"

    return write


def suite_of(dataset, method="constant"):
    return Suite("small", (Settings((dataset,), noise=(0.3,)),), methods=(method,), seeds=(0,), training={"epochs": 1})


def fingerprint(name):
    return load(parse_choice(name)).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "1"},
        {"more": ", split=np.array(['train', 'train', 'valid', 'test'] * 30)"},
        {"more": ", groups=np.arange(n) // 2", "facts": "keeps_groups = False"},
        {"facts": "def parts(self, samples): return {'train': np.arange(80), 'test': np.arange(80, 120)}"},
        {"facts": "def posterior(self, samples): return np.full((len(samples), 2), 0.5)"},
    ],
    ids=["rows", "split column", "groups may be parted", "parts", "posterior"],
)
def test_whatever_moves_rows_or_answers_is_another_question(table, change):
    assert fingerprint(table(**change)) != fingerprint(table())


def test_a_split_of_its_own_that_is_none_changes_nothing(table):
    assert fingerprint(table(facts="def parts(self, samples): return None")) == fingerprint(table())


def test_keeping_groups_or_not_is_another_question(table):
    groups = ", groups=np.arange(n) // 2"
    assert fingerprint(table(more=groups)) != fingerprint(table(more=groups, facts="keeps_groups = False"))


def test_code_of_a_posterior_is_part_of_the_data(table):
    posterior = "def posterior(self, samples): return np.full((len(samples), 2), {})"
    assert fingerprint(table(facts=posterior.format("0.5"))) != fingerprint(table(facts=posterior.format("1 / 2")))


def test_data_without_more_than_samples_keep_the_fingerprint_of_these():
    _, samples, found = load(parse_choice("digits"))
    assert found == samples.fingerprint()[:16] == fingerprint_of(Dataset(), samples)


def test_what_memory_holds_of_before_a_change_is_loaded_anew(table):
    with loaded_once():
        before = fingerprint(table())
        table(seed="1")
        assert load(parse_choice("table_data.py:Table")).fingerprint == before  # one command, one loading
        with loaded_once():
            pass
        changed = load(parse_choice("table_data.py:Table"), anew=True).fingerprint
        assert changed != before
        assert load_same(parse_choice("table_data.py:Table"), changed).fingerprint == changed


def test_data_changed_since_planning_are_refused(table):
    (trial,) = plan(suite_of(table()))
    table(seed="1")
    with pytest.raises(UsageError, match=f"is other data here than what the trial was planned on: fingerprint {trial.fingerprint} then"):
        parts_of(trial)


@pytest.mark.parametrize("seed", ["os.urandom(4)[0]", "None"])
def test_load_that_gives_other_rows_each_time_is_refused_when_planned(table, seed):
    with pytest.raises(UsageError, match="gives other rows each time"):
        plan(suite_of(table(seed=seed)))


def test_load_that_gives_other_rows_in_each_process_is_refused_there(table, tmp_path):
    (tmp_path / "logs").mkdir()
    suite = suite_of(table(seed="os.getpid()"))
    (job,) = jobs_of(suite, plan(suite), tmp_path)
    record, _ = Local().run(job, lambda _: None, threading.Event())
    assert record.status == "failed"
    assert "is other data here than what the trial was planned on" in record.reason


NET = """
from bench.methods.base import Estimator
import numpy as np

class Net(Estimator):
    def fit(self, train, valid): self.classes = len(train.schema.classes)
    def predict_proba(self, samples): return np.eye(self.classes)[np.full(len(samples), {answer})]
"""


def test_code_changed_since_planning_is_refused(table, tmp_path):
    (tmp_path / "net.py").write_text(NET.format(answer=0))
    (trial,) = plan(suite_of("digits", "net.py:Net"))
    (tmp_path / "net.py").write_text(NET.format(answer=1))
    with pytest.raises(UsageError, match=f"is not what it was when the trial was planned: version {trial.version} then"):
        open_trial(trial)


def test_another_harness_is_refused(table):
    (trial,) = plan(suite_of(table()))
    with pytest.raises(UsageError, match="is of version 1 of the harness"):
        open_trial(replace(trial, harness=1))


def test_data_recorded_by_the_first_harness_are_known_by_their_samples(table):
    """Its boards are read still; it counted nothing but samples."""
    facts = "def posterior(self, samples): return np.full((len(samples), 2), 0.5)"
    (trial, _) = plan(suite_of(table(facts=facts)))
    old = replace(trial, harness=1, fingerprint=load(parse_choice(trial.dataset)).samples.fingerprint()[:16])
    assert old.fingerprint != trial.fingerprint
    assert parts_of(old)[1].test.mask == parts_of(trial)[1].test.mask


def accuracies(out, dataset, method="constant"):
    frame = bench.run(methods=method, datasets=dataset, noise=0.3, seeds=[0], training={"epochs": 1}, out=out, quiet=True)
    return frame[["id", "status", "reason", "accuracy"]].to_numpy().tolist()


@pytest.mark.parametrize("way", ["file of the dataset", "file beside it", "variable", "file it reads"])
def test_second_run_in_one_process_is_of_the_data_as_they_are_then(table, tmp_path, monkeypatch, way):
    """A run of before leaves data, modules and variables in the fork server."""
    monkeypatch.setenv("SIGNAL_OF_A_TEST", "5")
    (tmp_path / "signal.txt").write_text("5")
    (tmp_path / "beside_the_table.py").write_text("SEED = 5\n")
    seeds = {"file of the dataset": "5", "variable": "int(os.environ['SIGNAL_OF_A_TEST'])", "file beside it": "beside()",
             "file it reads": "int((Path(__file__).parent / 'signal.txt').read_text())"}  # fmt: skip
    name = table(seed=seeds[way])
    if way == "file beside it":
        path = tmp_path / "table_data.py"
        path.write_text(path.read_text() + "\n\ndef beside():\n    from beside_the_table import SEED\n    return SEED\n")
    (first,) = accuracies(tmp_path / "out", name, "mean-logistic")
    monkeypatch.setenv("SIGNAL_OF_A_TEST", "6")
    (tmp_path / "signal.txt").write_text("6")
    (tmp_path / "beside_the_table.py").write_text("SEED = 6\n")
    if way == "file of the dataset":
        table(seed="6")
    (second,) = accuracies(tmp_path / "out", name, "mean-logistic")
    assert (first[1], second[1]) == ("done", "done"), (first, second)
    assert first[0] != second[0]


def test_trials_run_where_the_driver_is_by_then(table, tmp_path, monkeypatch):
    name = table(seed="int(Path('seed.txt').read_text())")
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "seed.txt").write_text("7")
        (tmp_path / place / "table_data.py").write_text((tmp_path / "table_data.py").read_text())
        monkeypatch.chdir(tmp_path / place)
        assert [row[1] for row in accuracies("out", name)] == ["done"]
        assert Path("out/bench.db").exists()


def test_class_from_a_module_that_imports_others_runs_and_is_the_same_trial_as_by_its_file(table, tmp_path, monkeypatch):
    (tmp_path / "answers_of_a_net.py").write_text("ANSWER = 1\n")
    (tmp_path / "net_of_a_test_.py").write_text(NET.format(answer="answers_of_a_net.ANSWER") + "\nimport answers_of_a_net\n")
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    module = importlib.import_module("net_of_a_test_")
    monkeypatch.setattr(registry, "_given", {})
    by_class = accuracies(tmp_path / "out", "breast-cancer", [module.Net])
    by_file = accuracies(tmp_path / "out", "breast-cancer", "net_of_a_test_.py:Net")
    assert by_class[0][1:] == by_file[0][1:]
    assert by_class[0][1] == "done"
    frame = bench.results(tmp_path / "out")
    assert len(frame) == 2
    assert np.isfinite(frame["accuracy"]).all()


def test_server_keeps_data_by_their_content(table):
    name = table()
    with loaded_once():
        preload(name)
        kept = load(parse_choice(name)).fingerprint
        table(seed="1")
        (trial,) = plan(suite_of(name))  # this command knows the table of before
        assert trial.fingerprint == kept

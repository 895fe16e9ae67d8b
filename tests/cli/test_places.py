"""Places and platforms, from the doors: odd folders, other spellings, long temporary folders, other encodings, snapshots, home folders."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from typed import called

import bench
from bench.cli import main
from bench.records.database import Store

DATA = '''
import numpy as np

from bench.datasets.base import Dataset, Modality, Samples, Schema


class Made(Dataset):
    """Two modalities of three features, the class in the first."""

    title = "made"
    options = {"rows": 60}

    def __init__(self, rows=60):
        self.rows = rows

    def load(self):
        rng, rows = np.random.default_rng(0), self.rows
        target = np.arange(rows) % 2
        values = {name: rng.normal(size=(rows, 3)).astype(np.float32) for name in ("one", "two")}
        values["one"][:, 0] += 2 * target
        schema = Schema((Modality("one", "A", "vector", (3,)), Modality("two", "B", "vector", (3,))), ("no", "yes"))
        return Samples(schema, values, np.ones((rows, 2), dtype=bool), target, np.array([f"row {i}" for i in range(rows)]))
'''
METHOD = '''
from bench.methods.constant import Constant


class Same(Constant):
    """The constant predictor by another name."""
'''
ASKED = ("--noise", "0.3", "--seeds", "0", "--set", "epochs=1")


def ran(*words, code=0, **environment):
    """A command in a process of its own, as a shell starts it."""
    command = [sys.executable, "-c", "from bench.cli import main; main()", *map(str, words)]
    found = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)
    assert found.returncode == code, found.stderr.decode(errors="replace")
    return found


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A results folder of two methods."""
    folder = tmp_path_factory.mktemp("runs")
    called("run", "--methods", "constant,mean-logistic", "--datasets", "breast-cancer", *ASKED, "--out", folder)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a dataset and a method in it, as the working folder."""
    folder = tmp_path / "home" / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "data.py").write_text(DATA, encoding="utf-8")
    (folder / "own.py").write_text(METHOD, encoding="utf-8")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return folder


def ids_of(out):
    with Store(out, create=False) as store:
        return {record.trial.id: record.trial for record in store.records()}


# Paths


@pytest.mark.parametrize("folder", ["me@mail.org/Company, Inc", "run [3]/half (open, [a=b;c/it's käse"])
def test_file_in_an_odd_folder_runs_and_the_command_of_its_trial_asks_for_it_again(folder, project):
    (project / folder).mkdir(parents=True)
    for name in ("data.py", "own.py"):
        shutil.copy(name, project / folder / name)
    named = ("--methods", f"constant,{folder}/own.py:Same", "--datasets", f"{folder}/data.py:Made")
    assert "[2/2] done" in called("run", *named, *ASKED).stderr
    before = ids_of("runs")
    for trial in before.values():
        called(*shlex.split(trial.command())[1:])
    assert ids_of("runs") == before
    assert "same bits" in called("reproduce", next(iter(before))).stdout


def test_odd_folder_stands_in_pairs_tables_and_suite_files(project):
    (project / "a, [b]").mkdir()
    shutil.copy("own.py", "a, [b]/own.py")
    name = "./a, [b]/own.py:Same"
    suite = (
        f'methods = ["constant", {json.dumps(name)}]\nseeds = "0-1"\nuntil_resolved = [{json.dumps(f"constant,{name}")}]\nmax_seeds = 3\n'
    )
    suite += f"[configs.{json.dumps(name)}]\n[[settings]]\ndatasets = ['data.py:Made']\nnoise = 0.3\n"
    (project / "mine.toml").write_text(suite, encoding="utf-8-sig")  # a byte-order mark, as some editors write it
    assert "constant against Same: " in called("run", "--suite", "mine.toml").stderr


@pytest.mark.parametrize("spelling", ["./data.py", "sub/../data.py", "{project}/data.py", "../../link/data.py", "~/project/data.py"])
def test_other_spelling_of_a_file_asks_nothing_new(spelling, project):
    called("run", "--methods", "constant", "--datasets", "data.py:Made", *ASKED)
    again = called("run", "--methods", "constant", "--datasets", f"{spelling.format(project=project)}:Made", *ASKED)
    assert "1 trial, 1 already done" in again.stderr
    assert len(ids_of("runs")) == 1


def test_file_named_twice_is_told_with_both_spellings(project):
    text = called("run", "--methods", "own.py:Same,./own.py:Same", "--datasets", "data.py:Made", *ASKED, code=2).stderr
    assert text == "Error: methods names one file twice, as own.py:Same and as ./own.py:Same; name it once\n"


def test_method_and_dataset_are_one_from_whatever_folder_they_were_asked_for(project, monkeypatch):
    called("run", "--methods", "constant,own.py:Same", "--datasets", "data.py:Made", *ASKED)
    monkeypatch.chdir("sub")
    page = called(
        "run", "--methods", "constant,../own.py:Same", "--datasets", "../data.py:Made", *ASKED, "--seeds", "1", "--out", "../runs"
    ).stdout
    assert page.count("## Made (AB), mcar(0.3)") == 1
    found = json.loads(called("leaderboard", "--out", "../runs", "--json").stdout)
    assert [(row["label"], row["n"]) for row in found["settings"][0]["rows"]] == [("Same", 2), ("constant", 2)]
    assert called("compare", "own.py:Same", "constant", "--out", "../runs").exit_code == 0


# Temporary folders


@pytest.mark.slow
def test_run_works_under_a_temporary_folder_too_long_for_a_socket(tmp_path):
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    ran("run", "--methods", "constant", "--datasets", "breast-cancer", *ASKED, "--out", tmp_path / "runs", TMPDIR=str(long))
    found = json.loads(ran("doctor", "--json", "--out", tmp_path, TMPDIR=str(long)).stdout)
    told = next(check for check in found if check["check"] == "temporary files")
    assert told["passed"]
    assert "too long for a socket" in told["detail"]


# Encodings


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp437", "koi8-r", "utf-16", "utf-8"])
def test_page_is_printed_in_any_encoding(encoding, out):
    found = CliRunner(charset=encoding).invoke(main, ["leaderboard", "--out", str(out)])
    assert found.exit_code == 0, found.exception
    page = found.stdout_bytes.decode(encoding)
    assert "mean-logistic" in page
    assert "±" in page or "?" in page


@pytest.mark.parametrize(
    "words", [["show"], ["compare", "constant", "mean-logistic"], ["list", "methods"], ["--help"], ["doctor"]], ids=" ".join
)
def test_every_page_is_printed_where_signs_are_lacking(words, out):
    from_out = ["--out", str(out)] if words[0] not in ("list", "--help") else []
    found = CliRunner(charset="cp1252").invoke(main, [*words, *from_out])
    assert found.exit_code == 0, found.exception
    assert found.stdout_bytes.decode("cp1252")


def test_published_pages_are_utf8_whatever_is_printed(out, tmp_path):
    ran("leaderboard", "--out", out, "--publish", tmp_path, PYTHONIOENCODING="cp1252", PYTHONUTF8="0", LC_ALL="C")
    assert "●" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert ran("leaderboard", "--out", out, PYTHONIOENCODING="cp1252").stdout.decode("cp1252").count("?")


# Snapshots


@pytest.fixture
def snapshot(out, tmp_path):
    """The database alone, in a folder where SQLite can make no file beside it: a link that leads nowhere stands there."""
    shutil.copy(out / "bench.db", tmp_path / "bench.db")
    (tmp_path / "bench.db-shm").symlink_to(tmp_path / "nowhere" / "shared")
    (tmp_path / "bench.db").chmod(0o444)
    return tmp_path


@pytest.mark.parametrize(
    "words", [("leaderboard",), ("show",), ("compare", "constant", "mean-logistic"), ("reproduce", "ID")], ids=" ".join
)
def test_snapshot_is_read_as_its_results_are(words, out, snapshot):
    id_ = next(iter(ids_of(out)))
    found = [called(*(id_ if word == "ID" else word for word in words), "--out", place).stdout for place in (out, snapshot)]
    assert found[0] == found[1]
    assert (snapshot / "bench.db").read_bytes() == (out / "bench.db").read_bytes()


def test_analysis_of_stored_traces_writes_nothing_to_the_results(tmp_path):
    small = [word for key in ("epochs=1", "width=8", "tokens=1", "warmup_fraction=0.0") for word in ("--set", key)]
    asked = ("analyze", "embeddings", "--methods", "shaspec", "--datasets", "breast-cancer", *small, "--out", tmp_path / "runs")
    first = called(*asked, "--figures", tmp_path / "first").stdout
    with Store(tmp_path / "runs", create=False) as store:
        runs = store.connection.execute("SELECT count(*) FROM runs").fetchone()
    (tmp_path / "runs" / "bench.db").chmod(0o444)
    again = called(*asked, "--figures", tmp_path / "again").stdout
    assert again == first.replace(str(tmp_path / "first"), str(tmp_path / "again"))
    with Store(tmp_path / "runs", create=False) as store:
        assert store.connection.execute("SELECT count(*) FROM runs").fetchone() == runs


# Home folders and values from Python


def test_home_folder_is_meant_by_its_sign_wherever_a_path_is_given(project, monkeypatch):
    home = project.parent
    called("run", "--methods", "constant,~/project/own.py:Same", "--datasets", "~/project/data.py:Made", *ASKED, "--out=~/runs")
    assert (home / "runs" / "bench.db").exists()
    called("leaderboard", "--out", "~/runs", "--publish", "~/board")
    assert called("leaderboard", "--check", "~/board").exit_code == 0
    assert "Same" in called("show", "--from", "~/board").stdout
    (home / "mine.toml").write_text('methods = ["constant"]\n[[settings]]\ndatasets = ["~/project/data.py:Made"]\nnoise = 0.3\n')
    frame = bench.run("~/mine.toml", out="~/runs", seeds=0, quiet=True)
    assert list(frame["dataset"]) == ["data.py:Made"]
    assert len(bench.results(Path("~/runs"))) == 2
    assert len(bench.evaluations("~/runs")) == 0
    assert bench.board("~/runs").settings
    monkeypatch.setenv("BENCH_DATA", "~/data")
    assert json.loads(called("data", "status", "--json").stdout)["data_root"] == str(home / "data")
    assert json.loads(called("data", "status", "--json", "--data-root=~/other").stdout)["data_root"] == str(home / "other")


def test_python_takes_values_as_numpy_pandas_and_paths_give_them(tmp_path):
    asked = {"methods": pd.Series(["constant", "mean-logistic"]), "datasets": np.array(["breast-cancer"]), "noise": np.float32(0.3)}
    frame = bench.run(**asked, seeds=np.arange(2), training={"epochs": np.int64(1)}, jobs=np.int64(1), out=tmp_path, quiet=np.True_)
    plain = bench.run(
        methods="constant,mean-logistic", datasets="breast-cancer", noise=0.3, seeds="0-1", training={"epochs": 1}, out=tmp_path
    )
    assert list(frame["id"]) == list(plain["id"])
    assert set(frame["protocol"]) == {"mcar(0.3)"}
    found = bench.compare(np.str_("constant"), "mean-logistic", tmp_path, rope=np.float64(2), settings=pd.Index(["breast-cancer"]))
    assert found.levels.rope == 0.02
    assert len(bench.show(out=tmp_path, methods=np.array(["constant"]), settings=("breast-cancer",))) == 2
    assert bench.reproduce(np.str_(frame["id"][0]), tmp_path).same
    costs = bench.profile(["constant"], np.str_("breast-cancer"), noise=np.float64(0.3), seed=np.int64(1), threads=np.int64(1))
    assert set(costs["seed"]) == {1}

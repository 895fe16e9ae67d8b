"""bench/records/public.py and names of files: what is published tells nothing of the machine, and two files are never one row."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.grid.progress import describe
from bench.leaderboard import build, markdown, stale_files
from bench.names import short_names
from bench.question.suite import Settings, Suite
from bench.question.trial import WITHOUT_FOLDERS, Trial
from bench.records.answers import Answers
from bench.records.folder import answers_of
from bench.records.public import _own_names, public, without_paths
from bench.records.record import Record

NET = """
from bench.methods.base import MethodConfig
from dataclasses import dataclass
from torch import nn

from bench.methods.base import Method, Prediction
from bench.methods.encoders import Encoders


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    weights: str = ""


class Net(Method):
    Config = Config

    def __init__(self, schema, config):
        super().__init__(schema, config)
        if config.weights == "fail":
            open({missing!r})
        self.encode = Encoders(schema, tokens=1, width={width})
        self.head = nn.Linear({width}, len(schema.classes))

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch).mean((1, 2))))
"""
DATA = """
from bench.datasets.breast_cancer import BreastCancer


class Clinic(BreastCancer):
    title = "a clinic's own"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run with methods from two files of one name, a dataset from a file, an option that is a path, and a failure that names one."""
    home = tmp_path_factory.mktemp("Annabella Leeuwenhoek")
    for folder, width in (("one", 4), ("two", 6)):
        (home / folder).mkdir()
        (home / folder / "net.py").write_text(NET.format(width=width, missing=str(home / "secret" / "weights.pt")))
    (home / "clinic.py").write_text(DATA)
    (home / "weights.pt").touch()
    one, two = home / "one" / "net.py:Net", home / "two" / "net.py:Net"
    asked = ["--methods", f"{one},{two},{one}[weights={home / 'weights.pt'}],{two}[weights=fail],constant"]
    asked += [
        "--datasets",
        f"{home / 'clinic.py'}:Clinic",
        "--noise",
        "0,0.3",
        "--seeds",
        "0-1",
        "--epochs",
        "1",
        "--out",
        str(home / "runs"),
    ]
    assert CliRunner().invoke(main, ["run", "-q", *asked]).exit_code == 1
    assert CliRunner().invoke(main, ["audit", "-q", str(one), "--out", str(home / "runs")]).exit_code == 0
    done = CliRunner().invoke(main, ["leaderboard", "--out", str(home / "runs"), "--publish", str(home / "board")])
    assert done.exit_code == 0, done.output
    return home


def contents(path):
    """Everything in a file, what is compressed as well."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return b"".join([name.encode() + archive.read(name) for name in archive.namelist()])
    return path.read_bytes()


@pytest.mark.slow
def test_published_folder_holds_no_path_of_this_machine(home):
    words = [str(home), "Annabella", "Leeuwenhoek", str(Path.home()), "secret"]
    found = [
        (path.name, word) for path in (home / "board").rglob("*") if path.is_file() for word in words if word.encode() in contents(path)
    ]
    assert found == []


@pytest.mark.slow
def test_methods_from_two_files_of_one_name_have_rows_of_their_own(home):
    rows = {"one/net.py:Net", "two/net.py:Net", "one/net.py:Net[weights=weights.pt]", "two/net.py:Net[weights=fail]", "constant"}
    page = (home / "board" / "README.md").read_text(encoding="utf-8")
    board = build(answers_of(home / "runs", home / "board"))
    assert {row.label for row in board.settings[0].rows} == rows
    assert {setting.dataset for setting in board.settings} == {"Clinic"}
    assert (home / "board" / "Clinic.md").is_file()
    assert "[Clinic](Clinic.md)" in page
    assert {row.audit for row in board.settings[0].rows if row.label == "one/net.py:Net"} == {"passed"}
    assert stale_files(home / "board") == []


@pytest.mark.slow
def test_local_and_published_board_say_the_same(home):
    """But for the path that an option names: its row is called otherwise."""
    local, shown = (bench.board(home / "runs"), build(answers_of(home / "runs", home / "board")))
    assert [str(row.mean) for row in local.settings[0].rows] == [str(row.mean) for row in shown.settings[0].rows]
    assert str(home / "one") not in markdown(local)
    assert bench.compare("one/net.py:Net", "two/net.py:Net", home / "runs").summary
    assert bench.compare(str(home / "one" / "net.py:Net"), "constant", home / "runs").a == "one/net.py:Net"
    assert bench.compare("one/net.py:Net", "constant", published=home / "board").summary


@pytest.mark.slow
def test_published_trial_of_a_file_is_reproduced_where_that_file_lies(home, monkeypatch, tmp_path):
    shutil.copytree(home / "one", tmp_path / "one")
    shutil.copy(home / "clinic.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = [json.loads(line) for line in (home / "board" / "records.jsonl").read_text().splitlines()]
    id_ = next(line["id"] for line in lines if line.get("trial", {}).get("method") == "one/net.py:Net" and not line["trial"]["options"])
    assert bench.reproduce(id_, published=home / "board").same


def test_one_file_is_called_by_its_class_unless_the_name_is_taken():
    assert short_names(["/x/mine.py:Mine", "mine.py:Mine"]) == {"/x/mine.py:Mine": "x/mine.py:Mine", "mine.py:Mine": "mine.py:Mine"}
    assert short_names(["/x/muse.py:muse"], taken={"muse"}) == {"/x/muse.py:muse": "muse.py:muse"}
    assert short_names(["/x/mine.py:Mine"], least=1) == {"/x/mine.py:Mine": "mine.py:Mine"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("FileNotFoundError: '/home/me/data/w.pt'", "FileNotFoundError: 'w.pt'"),
        ("~/x.toml and ~/a/b/c.csv", "x.toml and c.csv"),
        ("[Errno 2] No such file: '/home/Ann Lee/my data/w.pt'", "[Errno 2] No such file: 'w.pt'"),
        ('File "/home/Ann Lee/net.py", line 3', 'File "net.py", line 3'),
        ("/home/Ann Lee/w.pt", "w.pt"),
        ("cannot read /home/Ann Lee/data/w.pt: no such file", "cannot read w.pt: no such file"),
        ("see https://example.org/home/me/page", "see https://example.org/home/me/page"),
        ("net.py:Net[weights=/home/Ann Lee/w.pt,k=2]", "net.py:Net[weights=w.pt,k=2]"),
        ("default,/home/Ann Lee/tuned.toml", "default,tuned.toml"),
        ("error:/home/me/x.log and file:///home/me/y.log, C:/Users/me/z", "error:x.log and y.log, z"),
        ("../../me/my.toml, in /home/me/ or '/home/Ann Lee' or /root/", "my.toml, in ~ or '~' or ~"),
        ("/home/me/a.py failed on /home/you/b.py", "a.py failed on b.py"),
        ("mcar(0.3)+block(group,0.3); / and 3 / 4 and '/'", "mcar(0.3)+block(group,0.3); / and 3 / 4 and '/'"),
        ("see https://example.org/a/b, leaderboards/real and 3/10", "see https://example.org/a/b, leaderboards/real and 3/10"),
        ("--suite=/srv/lab/my.toml", "--suite=my.toml"),
        (r"open('C:\Users\Ann Lee\data\w.pt')", "open('w.pt')"),
        (r"FileNotFoundError: 'C:\\Users\\ann\\w.pt'", "FileNotFoundError: 'w.pt'"),
        (r"cannot read C:\Users\ann\my\w.pt: gone", "cannot read w.pt: gone"),
        (r"D:\w.pt and d:/x y/z.csv", "w.pt and z.csv"),
        (r"in C:\Users\ann\ or 'C:\Users\Ann Lee'", "in ~ or '~'"),
        (r"\\nas\share\ann\w.pt", "w.pt"),
        (r"'\\\\nas\\share\\ann\\w.pt' is not there", "'w.pt' is not there"),
        (r"the pattern '\\d+\.\\w' and \alpha", r"the pattern '\\d+\.\\w' and \alpha"),
        ("~ann/x.csv and ~ann/a/b.csv, about ~3/10", "x.csv and b.csv, about ~3/10"),
        ("smb://nas.lab/share/x.csv or s3://ward/patients/x.csv", "x.csv or x.csv"),
        ("https://ann:pw@host.org/a/b and http://lab-server:8080/x", "https://host.org/a/b and x"),
        ("http://10.0.0.7/data/x.csv", "x.csv"),
        ("ann@srv.lab:/data/x.csv and mail ann@srv.lab: soon", "x.csv and mail ann@srv.lab: soon"),
        ("file:///C:/Users/ann/x.csv", "x.csv"),
        (
            r"study.toml[file=/srv/x/y.csv,k=2] net.py:Net[weights=C:\Users\ann\w.pt,k=2]",
            "study.toml[file=y.csv,k=2] net.py:Net[weights=w.pt,k=2]",
        ),
        ("{'/a/b': 'C:/a/b'} <module '/x/y/z.py'>", "{'b': 'b'} <module 'z.py'>"),
    ],
)
def test_paths_in_any_text_end_as_their_last_part(text, clean):
    assert without_paths(text) == clean


def test_messages_name_neither_this_machine_nor_its_user(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "ward-7.clinic.org")
    monkeypatch.setattr("getpass.getuser", lambda: "annabella")
    _own_names.cache_clear()
    trial = Trial("constant", "default", {}, {}, "digits", {}, "NE", "natural", 0, "accuracy", "training", 0, "f", "v")
    record = Record(trial, "failed", "annabella on ward-7 may not; constant and annabellas may")
    found = public(Answers(Suite("s", (Settings(("digits",)),)), [record])).records[0]
    _own_names.cache_clear()
    assert found.reason == "... on ... may not; constant and annabellas may"
    assert found.trial == trial


def test_progress_names_a_file_by_its_class():
    trial = Trial(
        "/home/me/x.py:Mine", "default", {"k": 1}, {}, "/home/me/d.py:Data", {}, "AB", "natural", 3, "accuracy", "training", 0, "f", "v"
    )
    assert describe(trial) == "Mine[k=1] Data AB natural seed 3"
    assert describe(replace(trial, row="Mine tuned (3 suggestions)")).startswith("Mine tuned (3 suggestions) Data")


def test_ids_stay_what_they_are_when_folders_are_taken_away():
    base = Trial(
        method="/home/me/a/net.py:Net", preset="paper", options={}, training={}, dataset="/srv/data.py:Made", dataset_options={},
        combination="NE", protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
        harness=WITHOUT_FOLDERS,
    )  # fmt: skip
    trials = [base, replace(base, method="/home/me/b/net.py:Net", version="w")]
    answers = Answers(Suite("s", (Settings(("/srv/data.py:Made",)),)), [Record(trial, "done") for trial in trials])
    found = [record.trial for record in public(answers).records]
    assert [trial.id for trial in found] == [trial.id for trial in trials]
    assert [(trial.method, trial.dataset) for trial in found] == [("a/net.py:Net", "data.py:Made"), ("b/net.py:Net", "data.py:Made")]

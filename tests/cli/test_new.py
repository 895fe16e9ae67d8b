"""bench new dataset: a description or a class that works as it stands, nothing overwritten, and what to do next in 80 columns."""

import csv
import json
import subprocess
import sys

import pytest
from typed import called as bench

from bench.datasets.described.description import read_description


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Three small tables in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    for name, column, rows in (("people", "age", 40), ("labs", "crp", 30), ("lungs", "fev", 20)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["pid", column, *(["outcome"] if name == "people" else [])])
            out.writerows(
                [f"P{row}", row * len(name) % 17 + 0.5, *([["no", "yes"][row % 2]] if name == "people" else [])] for row in range(rows)
            )
    return tmp_path


ASKED = ("--id", "pid", "--label", "outcome")


@pytest.mark.parametrize(
    "words",
    [
        ("study.toml", "--from", "people.csv", "labs.csv", "lungs.csv", *ASKED),
        ("--from", "people.csv", "labs.csv", "lungs.csv", *ASKED, "study.toml"),
        ("study.toml", *ASKED, "--from=people.csv", "labs.csv", "--from", "lungs.csv"),
        (*ASKED, "--from", "people.csv", "labs.csv", "lungs.csv", "study.toml"),
        (*ASKED, "--from", "people.csv", "labs.csv", "lungs.csv", "--", "study.toml"),
    ],
    ids=["as shown", "name last", "both ways", "right after them", "after two dashes"],
)
def test_files_follow_from_in_their_order(tables, words):
    bench("new", "dataset", *words)
    assert [one.name for one in read_description("study.toml").modalities] == ["people", "labs", "lungs"]


def test_what_to_do_next_is_said_in_80_columns(tables):
    (tables / "people.csv").rename(tables / ("a_rather_long_name_of_a_table_of_all_people_" * 2 + ".csv"))
    long = next(tables.glob("a_*.csv")).name
    lines = bench("new", "dataset", "my study.toml", "--from", long, "labs.csv", *ASKED).stdout.splitlines()
    assert lines[0] == "wrote my study.toml: 40 samples, 2 classes (no 20, yes 20)"
    assert max(map(len, lines)) <= 80
    assert lines[-4:] == [
        "  bench data card 'my study.toml'",
        "  bench data check 'my study.toml'",
        "  bench run --datasets 'my study.toml'",
        "  bench leaderboard --publish board",
    ]


def test_json_says_what_was_guessed_and_nothing_else(tables):
    said = json.loads(bench("new", "dataset", "study.toml", "--from", "people.csv", "labs.csv", *ASKED, "--json").stdout)
    assert said["file"] == "study.toml"
    assert said["classes"] == {"no": 20, "yes": 20}
    assert said["problem"] == ""
    assert said["modalities"][1] == {
        "name": "labs", "letter": "L", "kind": "vector", "file": "labs.csv", "rows": "one", "columns": {"crp": "number"}
    }  # fmt: skip


def test_a_description_is_not_written_over_without_force(tables):
    bench("new", "dataset", "study.toml", "--from", "people.csv", *ASKED, "--name", "first")
    refused = bench("new", "dataset", "study.toml", "--from", "people.csv", *ASKED, code=2)
    assert "study.toml exists already; --force writes over it" in refused.stderr
    assert read_description("study.toml").title == "first"
    bench("new", "dataset", "study.toml", "--from", "people.csv", *ASKED, "--name", "second", "--force")
    assert read_description("study.toml").title == "second"


def test_data_that_cannot_be_read_yet_are_said_and_the_description_is_kept(tables):
    (tables / "labs.csv").write_text("pid,crp\nP1,2\np2,3.5\nP3,4\nP4,5.5\n")
    result = bench("new", "dataset", "study.toml", "--from", "people.csv", "labs.csv", *ASKED, code=2)
    assert result.stderr == (
        "Error: study.toml is written and cannot be read yet: labs.csv line 3: pid 'p2' is no sample, but 'P2' is; write ids alike in "
        "every file\n"
    )
    assert len(read_description("study.toml").modalities) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("study.toml",), "a description needs --from and --id and --label: bench new dataset study.toml --from FILE..."),
        (("study.toml", "--from", "people.csv", "--id", "pid"), "a description needs --label"),
        (("study.csv", "--from", "people.csv", *ASKED), "a new dataset is a description, such as study.toml, or a class in a file"),
        (("study.toml", "--from", "peple.csv", *ASKED), "peple.csv does not exist"),
        (("study.toml", "--from", "people.csv", "--id", "pid", "--label", "outcom"), "did you mean 'outcome'?"),
        (("nowhere/study.toml", "--from", "people.csv", *ASKED), "nowhere/study.toml cannot be written"),
        (("mine.py", "--from", "people.csv", *ASKED), "a class takes no options, and mine.py is one"),
        (("My-Data.py",), "a dataset file is named in lower case words"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tables, words, message):
    before = sorted(tables.iterdir())
    result = bench("new", "dataset", *words, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tables.iterdir()) == before


def test_a_class_and_its_test_are_written_and_not_over_others(tables):
    said = json.loads(bench("new", "dataset", "my_data.py", "--json").stdout)
    assert said["files"] == ["my_data.py", "test_my_data.py"]
    assert said["try"].endswith("--datasets my_data.py:MyData --noise 0.2")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_data.py"], capture_output=True, text=True, check=False
    )
    assert "3 passed" in tested.stdout, tested.stdout
    assert "exists already" in bench("new", "dataset", "my_data.py", code=2).stderr
    card = bench("data", "card", "my_data.py:MyData").stdout
    assert "178" in card


def test_in_a_checkout_the_test_goes_to_the_tests(tables):
    (tables / "datasets").mkdir()
    (tables / "datasets" / "catalog.py").write_text("")
    (tables / "tests" / "datasets").mkdir(parents=True)
    said = json.loads(bench("new", "dataset", "datasets/my_data.py", "--json").stdout)
    assert said["files"] == ["datasets/my_data.py", "tests/datasets/test_my_data.py"]
    assert "'../../datasets/my_data.py'" in (tables / "tests" / "datasets" / "test_my_data.py").read_text()

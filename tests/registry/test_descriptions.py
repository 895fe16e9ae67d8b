"""A description is a dataset wherever one is named, whatever folder it lies in, and all that it decides is in the fingerprint."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bench
from bench import registry
from bench.cli import main
from bench.data.card import card, publish
from bench.data.loading import load
from bench.errors import UsageError
from bench.leaderboard import markdown
from bench.names import Choice, bare, bare_choice, one_name, parse_choice, short_names, split_list
from bench.question.assemble import assemble
from bench.records.folder import answers_of
from bench.records.public import public

TEXT = """id = "id"
[target]
file = "demo.csv"
column = "outcome"
classes = ["alive", "dead"]
[[modality]]
name = "demo"
kind = "vector"
file = "demo.csv"
[modality.columns]
age = "number"
sex = "category"
"""


def written(folder, text=TEXT, ages=90):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = [f"p{row},{'dead' if row % 3 == 0 else 'alive'},{rng.integers(20, ages)},{'mf'[row % 2]}" for row in range(90)]
    lines[0] = "p0,dead,,m"
    (folder / "demo.csv").write_text("id,outcome,age,sex\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "study.toml").write_text(text, encoding="utf-8")
    return folder / "study.toml"


def test_description_is_one_name_however_its_path_is_spelled(tmp_path, monkeypatch):
    path = written(tmp_path / "my, own [data]")
    monkeypatch.chdir(tmp_path)
    for spelt in (path, "my, own [data]/study.toml", f"{tmp_path}/./my, own [data]/study.toml"):
        assert one_name(str(spelt)) == "my, own [data]/study.toml"
        assert parse_choice(str(spelt)).name == str(spelt)
    assert split_list(f"digits,{path}") == ["digits", str(path)]
    assert assemble("quick", {"datasets": path}).settings[0].datasets == ("my, own [data]/study.toml",)
    with pytest.raises(UsageError, match="names one file twice"):
        assemble("quick", {"datasets": [path, "my, own [data]/study.toml"]})


def test_tables_call_it_by_its_file_and_two_by_their_folders():
    assert bare("/home/me/a/study.toml") == bare_choice("a/study.toml") == "study.toml"
    assert short_names(["/a/x/study.toml", "/a/y/study.toml"]) == {"/a/x/study.toml": "x/study.toml", "/a/y/study.toml": "y/study.toml"}
    assert bare_choice("muse[weights=a.toml]") == "muse[weights=a.toml]"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere/study.toml", "dataset file 'nowhere/study.toml' does not exist"),
        ("study.toml[size=3]", "a description has no options"),
        ("study.toml@paper", "a dataset has options but no preset"),
    ],
)
def test_wrong_name_is_explained(tmp_path, monkeypatch, name, said):
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        registry.dataset_of(parse_choice(name))
    assert said in str(error.value)


def test_wrong_description_is_named_before_anything_runs(tmp_path):
    path = written(tmp_path, TEXT.replace('kind = "vector"', 'kind = "vektor"'))
    for name, said in ((path, "did you mean 'vector'"), (written(tmp_path / "b", TEXT.replace("age =", "agee =")), "has no column 'agee'")):
        with pytest.raises(UsageError, match=said):
            bench.run(datasets=name, methods="constant", out=tmp_path / "runs", quiet=True)


def test_fingerprint_is_of_data_and_what_is_learnt_and_not_of_the_folder(tmp_path):
    first = load(Choice(str(written(tmp_path / "a")))).fingerprint
    assert load(Choice(str(written(tmp_path / "b")))).fingerprint == first
    assert load(Choice(str(written(tmp_path / "c", TEXT + "\n# a remark\n")))).fingerprint == first
    declined = TEXT.replace('file = "demo.csv"\n[modality', 'file = "demo.csv"\nindicators = false\n[modality')
    assert declined != TEXT
    assert load(Choice(str(written(tmp_path / "d", declined)))).fingerprint != first
    assert load(Choice(str(written(tmp_path / "e", ages=50)))).fingerprint != first


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Trials of one description, from two folders."""
    folder = tmp_path_factory.mktemp("study")
    options = {"methods": "constant,mean-logistic", "protocols": "natural", "seeds": 0, "out": folder / "runs", "quiet": True}
    first = bench.run(datasets=written(folder / "a"), **options)
    shutil.copytree(folder / "a", folder / "b")
    return folder, first, bench.run(datasets=folder / "b" / "study.toml", **options)


def test_the_same_study_in_another_folder_is_the_same_trial(ran):
    _, first, again = ran
    assert first["status"].tolist() == ["done", "done"]
    assert again["id"].tolist() == first["id"].tolist()


def test_what_is_published_of_it_tells_no_folder(ran):
    folder, *_ = ran
    found = public(answers_of(folder / "runs"))
    text = json.dumps([record.as_json() for record in found.records]) + found.suite.to_toml() + markdown(bench.board(folder / "runs"))
    assert str(folder) not in text
    assert "study.toml (D), natural" in text


def test_card_lists_what_was_handled_and_is_published_without_folders(tmp_path):
    path = written(tmp_path / "data")
    found = card(str(path))
    assert found.name == "study.toml"
    assert "sex: 2 categories, a column each" in found.facts["Handled"]
    assert found.indicated
    (page,) = publish(tmp_path / "pages", [str(path)])
    assert page.name == "study.toml.md"
    text = Path(page).read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert "in indicator columns, chosen on the training rows" in text


def test_commands_take_it(tmp_path, monkeypatch):
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["data", "card", "study.toml"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("# study.toml\n")

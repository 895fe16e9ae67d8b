"""bench/leaderboard/uniting.py: folders of one question, each of datasets of its own, become one board; what differs is named."""

import json
import re
import shutil

import pandas
import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.errors import UsageError
from bench.leaderboard import checked, publish
from bench.leaderboard.uniting import united
from bench.records import verification
from bench.records.folder import answers_of

WINNER = """
[[tuned]]
method = "mean-logistic"
dataset = "{}"
combination = "{}"
protocol = "mcar(0.3)"
study = "s"
sampler = "random"
pruner = "none"
suggestions = 2
pruned = 0
failed = 0
seconds = 1.0
selection = "accuracy"
valid = 0.5
seeds = [7]
fixed_seed = 0
fingerprint = "{}"
version = "{}"
harness = {}
gflops = 1.0
default = 0.5
[tuned.options]
c = 0.5
[tuned.training]
"""
LETTERS = {"digits": "NEWS", "breast-cancer": "MEW"}


def asked(out, datasets, **more):
    how = {"methods": "constant,mean-logistic", "noise": [0.3], "seeds": [0, 1], "training": {"epochs": 1}, "quiet": True} | more
    bench.run(datasets=datasets, out=out, **how)
    return out


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Runs of two datasets apart and together, with the default rows and a winner's."""
    place = tmp_path_factory.mktemp("uniting")
    winners = []
    for name, letters in LETTERS.items():
        asked(place / name, [name])
        trial = next(r.trial for r in answers_of(place / name).records if r.trial.method == "mean-logistic")
        table = WINNER.format(name, letters, trial.fingerprint, trial.version, trial.harness)
        training = "\n".join(f"{key} = {json.dumps(value)}" for key, value in trial.training.items())
        (place / f"{name}.toml").write_text(f"{table}{training}\n")
        winners.append(place / f"{name}.toml")
        asked(place / name, [name], configs=["default", str(winners[-1])])
        publish(place / f"board-{name}", answers_of(place / name), draw=False)
    asked(place / "both", list(LETTERS), configs=["default", *map(str, winners)])
    publish(place / "whole", answers_of(place / "both"), draw=False)
    return place


@pytest.fixture
def parts(place, tmp_path):
    return [shutil.copytree(place / f"board-{name}", tmp_path / name) for name in LETTERS]


def rows(folder):
    """What a board's table says, but for what is measured in seconds and bytes."""
    table = pandas.read_csv(folder / "table.csv")
    return table[["dataset", "protocol", "method", "hp", "n", "mean", "rank", "letters", "p_holm", "audit"]].to_dict("records")


def press(*words):
    return CliRunner().invoke(main, ["leaderboard", *map(str, words)])


def test_united_board_is_that_of_one_run_over_all_datasets(place, parts, tmp_path):
    found = press("--publish", tmp_path / "board", *parts)
    assert found.exit_code == 0, found.output
    assert "scores and tests of 12 trials" in found.output  # two datasets x two seeds x (two default rows and a tuned one)
    mine, theirs = answers_of("", tmp_path / "board"), answers_of("", place / "whole")
    assert {r.trial.id for r in mine.records} == {r.trial.id for r in theirs.records}
    assert [table["dataset"] for table in mine.suite.tuned] == list(LETTERS)
    assert all(one.outputs.tobytes() == theirs.predictions[id_].outputs.tobytes() for id_, one in mine.predictions.items())
    assert str(rows(tmp_path / "board")) == str(rows(place / "whole"))
    assert checked(tmp_path / "board").stale == ()


def test_board_may_be_united_with_more_in_its_place_and_nobody_touches_the_others(place, parts):
    before = {path.name: path.read_bytes() for path in parts[1].iterdir()}
    assert press("--publish", parts[0], *parts).exit_code == 0
    assert str(rows(parts[0])) == str(rows(place / "whole"))
    assert checked(parts[0]).stale == ()
    assert {path.name: path.read_bytes() for path in parts[1].iterdir()} == before


def test_json_is_the_united_board(parts, tmp_path):
    found = press("--publish", tmp_path / "board", *parts, "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout) == bench.board(published=tmp_path / "board").as_json()


def test_ids_stay_as_they_were_published(place, parts, tmp_path):
    assert press("--publish", tmp_path / "board", *parts).exit_code == 0
    mine, part = answers_of("", tmp_path / "board"), answers_of("", parts[0])
    for record in part.records:
        assert mine.predictions[record.trial.id].ids.tolist() == part.predictions[record.trial.id].ids.tolist()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"seeds": [0]}, "its suite has seeds = 0, the first 0 and 1"),
        ({"training": {"epochs": 2}}, "its suite has training = "),
        ({"methods": "constant"}, "its suite has methods = constant, the first constant and mean-logistic"),
        ({"metric": "f1_macro"}, "its suite has metric = f1_macro, the first accuracy"),
    ],
)
def test_other_question_is_refused_by_what_differs(place, tmp_path, how, reason):
    publish(tmp_path / "other", answers_of(asked(tmp_path / "runs", ["breast-cancer"], **how)), draw=False)
    with pytest.raises(UsageError, match="does not go with .*" + reason.replace("(", "\\(")):
        united([place / "board-digits", tmp_path / "other"])


def test_dataset_in_two_parts_is_refused(parts, tmp_path):
    again = shutil.copytree(parts[0], tmp_path / "again")
    with pytest.raises(UsageError, match=r"digits is in .*digits and in .*again; .*by `bench merge`"):
        united([*parts, again])


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("version", "0" * 12, "mean-logistic is of other code"), ("harness", 1, "its harness is 1, that of the first 2")],
)
def test_other_code_is_refused(parts, key, value, reason):
    path = parts[1] / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "trial" in line and (key == "harness" or line["trial"]["method"] == "mean-logistic"):
            line["trial"][key] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UsageError, match=reason):
        united(parts)


def test_folder_without_predictions_is_refused(place, parts, tmp_path):
    publish(tmp_path / "bare", answers_of("", parts[1]), draw=False, predictions=False)
    with pytest.raises(UsageError, match="published without predictions"):
        united([parts[0], tmp_path / "bare"])


def test_folder_with_a_method_that_was_sent_in_is_refused(parts):
    entry = verification.Verification("b" * 64, (), ())
    verification.write_folder(parts[1], [entry])
    with pytest.raises(UsageError, match=r"sent in and verified; unite the folders first, then add it with --add"):
        united(parts)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["FIRST"], "--publish makes one board of several folders, got .*; --from .* publishes it elsewhere"),
        (["FIRST", "SECOND", "--metric", "accuracy"], "--from, --suite, --metric and --beside are of one board"),
        (["FIRST", "SECOND", "--from", "FIRST"], "--from, --suite, --metric and --beside are of one board"),
    ],
)
def test_what_has_no_meaning_for_several_folders_is_refused(parts, tmp_path, words, reason):
    places = {"FIRST": parts[0], "SECOND": parts[1]}
    found = press("--publish", tmp_path / "board", *[places.get(word, word) for word in words])
    assert found.exit_code == 2
    assert re.search(reason, found.output)
    assert not (tmp_path / "board").exists()

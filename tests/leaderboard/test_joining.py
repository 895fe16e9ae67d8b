"""bench/leaderboard/joining.py: a verified method joins a published folder; what is not comparable is refused, and the folder stays."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import sent_in
from typed import called

import bench
from bench.errors import UsageError
from bench.inspection.submission import verify
from bench.leaderboard import board_of, checked, publish
from bench.leaderboard.joining import _budgets, join
from bench.names import bare
from bench.records.folder import Folder, answers_of
from bench.records.verification import Check, of_folder, place_of, write


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("joining")


@pytest.fixture(scope="module")
def published(place):
    sent_in.made(place / "own", ["constant", "mean-logistic"], place / "own.bundle")
    publish(place / "board", answers_of(place / "own"), draw=False)
    return place / "board"


@pytest.fixture
def board(published, tmp_path):
    return shutil.copytree(published, tmp_path / "board")


@pytest.fixture(scope="module")
def mine(place):
    return sent_in.write_method(place)


@pytest.fixture(scope="module")
def bundle(place, mine):
    return sent_in.made(place / "runs", [mine], place / "mine.bundle")


@pytest.fixture(scope="module")
def good(bundle, mine):
    return verify(bundle, again=1, seed=0, code=[mine])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_method_joins_with_a_column_that_says_what_was_verified(board, bundle, good):
    before = (board / "records.jsonl").read_text().splitlines()
    assert join(bundle, good, board, draw=False) == ["Mine joined with 2 records, reproduced 1 of 1"]
    after = (board / "records.jsonl").read_text().splitlines()
    assert after[: len(before) - 1] == before[:-1]
    rows = {row.label: row.verified for row in board_of(board).settings[0].rows}
    assert rows == {"Mine": "reproduced 1 of 1", "mean-logistic": "", "constant": ""}
    page = (board / "README.md").read_text()
    head = next(line for line in page.splitlines() if line.startswith("|") and "Verified" in line)
    assert "own run" in page
    assert "reproduced 1 of 1" in page
    assert head.count("Verified") == 1
    assert "verified" in (board / "table.csv").read_text().splitlines()[0].split(",")
    assert checked(board).stale == ()
    assert [one.bundle for one in of_folder(board)] == [bundle.sha256]
    assert sorted(path.name for path in board.parent.iterdir()) == ["board"]


def test_board_that_nobody_sent_anything_has_no_such_column(published):
    assert "Verified" not in (published / "README.md").read_text()
    assert "verified" not in (published / "table.csv").read_text()


def test_joined_rows_are_paired_whatever_the_sender_calls_them(board, bundle, good):
    hashed = replace(
        bundle, stored={id_: replace(one, ids=np.array([f"x{n}" for n in range(len(one.ids))])) for id_, one in bundle.stored.items()}
    )
    join(hashed, good, board, draw=False)
    with Folder(board) as found:
        stored = list(found.predictions(record.trial.id for record in found.records()).values())
    assert len(stored) == 6
    assert all(one.shares_rows(stored[0]) for one in stored)


def test_reproduced_records_of_another_machine_withhold_no_test(board, bundle, good, mine):
    elsewhere = [replace(r, provenance=replace(r.provenance, hardware_id="abacus", commit="f" * 40, dirty=False)) for r in bundle.line]
    join(replace(bundle, line=elsewhere), good, board, draw=False)
    found = board_of(board)
    assert [warning for warning in found.warnings if "commits" in warning or "hardware" in warning] == []
    assert not found.settings[0].timed  # its times are of another machine all the same


def test_rescored_records_of_another_machine_withhold_them_and_it_is_said(board, bundle):
    elsewhere = [replace(r, provenance=replace(r.provenance, hardware_id="abacus")) for r in bundle.line]
    said = join(replace(bundle, line=elsewhere), verify(bundle), board, draw=False)
    assert "not every trial was reproduced" in said[-1]
    assert "records come from 2 hardware ids" in board_of(board).warnings


def test_two_bundles_join_one_after_the_other(board, bundle, good, place):
    join(bundle, good, board, draw=False)
    second = sent_in.made(place / "second", ["mean-mlp"], place / "second.bundle")
    join(second, verify(second), board, draw=False)
    assert {row.label: row.verified for row in board_of(board).settings[0].rows} == {
        "Mine": "reproduced 1 of 1", "mean-mlp": "re-scored", "mean-logistic": "", "constant": "",
    }  # fmt: skip


# What is refused


def elsewhere(bundle, **trial):
    """Every trial of the bundle asked otherwise."""
    for place in range(len(bundle.line)):
        bundle = sent_in.told(bundle, place, trial=trial)
    return bundle


def other_mask(bundle):
    for place, record in enumerate(bundle.line):
        facts = replace(record.facts, masks={**record.facts.masks, "test": "0" * 16})
        bundle = sent_in.told(bundle, place, facts=facts)
    return bundle


def other_labels(bundle):
    return replace(bundle, stored={id_: replace(one, target=1 - one.target) for id_, one in bundle.stored.items()})


def budget(bundle, **changes):
    return elsewhere(bundle, training={**bundle.line[0].trial.training, **changes})


REFUSED = {
    "another protocol": (lambda b: elsewhere(b, protocol="mcar(0.5)"), "setting breast-cancer (MEW), mcar(0.5) is none of the board"),
    "another combination": (lambda b: elsewhere(b, combination="ME"), "setting breast-cancer (ME), mcar(0.3) is none of the board"),
    "another dataset": (lambda b: elsewhere(b, dataset="digits"), "setting digits (MEW), mcar(0.3) is none of the board"),
    "a seed left out": (lambda b: replace(b, line=b.line[:1]), "Mine has no seed 1 on breast-cancer (MEW), mcar(0.3): a partial grid"),
    "a seed too many": (lambda b: sent_in.told(b, 0, trial={"seed": 7}), "Mine has seed 7 on breast-cancer (MEW), mcar(0.3), which"),
    "more epochs": (lambda b: budget(b, epochs=50), "Mine has epochs = 50, the board 2"),
    "epochs as an option": (lambda b: elsewhere(b, options={"epochs": 50}), "has epochs = 50, the board 2"),
    "a training setting of its own": (lambda b: budget(b, weight_decay=0.5), "Mine has weight_decay = 0.5, the board"),
    "another selection": (lambda b: elsewhere(b, selection="auroc"), "its selection is auroc, the board's accuracy"),
    "another fixed seed": (lambda b: elsewhere(b, fixed_seed=3), "its fixed seed is 3, the board's 0"),
    "splits that vary": (lambda b: elsewhere(b, vary="split"), "its vary is split, the board's training"),
    "another harness": (lambda b: elsewhere(b, harness=1), "its harness is 1, the board's 2"),
    "another fingerprint": (lambda b: elsewhere(b, fingerprint="0" * 16), "breast-cancer has fingerprint 0000000000000000, the board's"),
    "another mask": (other_mask, "its test mask on breast-cancer (MEW), mcar(0.3) is 0000000000000000, the board's"),
    "other rules of test": (lambda b: elsewhere(b, evaluations=()), "were tested under other rules than the board's"),
    "other labels": (other_labels, "its test labels on breast-cancer (MEW), mcar(0.3) are not those of the board"),
    "a name that is there": (lambda b: elsewhere(b, method="mean-logistic"), "a row mean-logistic is there"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_comparable_is_refused_by_name_and_the_folder_stays(board, bundle, good, case):
    change, words = REFUSED[case]
    before = contents(board)
    with pytest.raises(UsageError) as raised:
        join(change(bundle), good, board, draw=False)
    assert words in str(raised.value)
    assert contents(board) == before
    assert sorted(path.name for path in board.parent.iterdir()) == ["board"]


def test_budget_of_a_dataset_with_options_and_of_a_method_there_is_what_the_board_asks(bundle):
    trial = bundle.line[0].trial
    new = elsewhere(bundle, dataset_options={"n": 9}, training={**trial.training, "epochs": 5}).line

    def told(table):
        return _budgets(new, replace(bundle.suite, budgets={"breast-cancer[n=9]": table}))

    assert told({"epochs": 5}) == told({"epochs": 4, trial.method: {"epochs": 5}}) == []
    assert told({"epochs": 4}) == told({"epochs": 5, trial.method: {"epochs": 4}}) == [f"{trial.method} has epochs = 5, the board 4"]


def test_board_without_predictions_is_joined_by_nobody(board, bundle, good):
    (board / "predictions.npz").unlink()
    before = contents(board)
    with pytest.raises(UsageError, match="publishes no predictions, so nothing can be paired"):
        join(bundle, good, board, draw=False)
    assert contents(board) == before


def test_method_joins_once(board, bundle, good):
    join(bundle, good, board, draw=False)
    before = contents(board)
    with pytest.raises(UsageError, match="a row Mine is there"):
        join(bundle, good, board, draw=False)
    assert contents(board) == before


def test_verification_of_other_bytes_a_lie_and_a_claim_are_refused(board, bundle, good):
    with pytest.raises(UsageError, match="the verification is of another file"):
        join(bundle, replace(good, bundle="0" * 64), board)
    with pytest.raises(UsageError, match="is refuted, scores: made up"):
        join(bundle, replace(good, checks=[*good.checks, Check("scores", False, "made up")]), board)
    with pytest.raises(UsageError, match="is claimed alone, data: not here"):
        join(bundle, replace(good, checks=[*good.checks, Check("data", None, "not here")]), board)


def test_folder_that_cannot_be_rendered_stays_as_it_was(board, bundle, good, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    before = contents(board)
    monkeypatch.setattr("bench.leaderboard.joining.write", broken)
    with pytest.raises(UsageError, match="No space left on device; it is as it was"):
        join(bundle, good, board)
    assert contents(board) == before
    assert sorted(path.name for path in board.parent.iterdir()) == ["board"]


# The command


def test_command_wants_a_verification_of_these_very_bytes(board, bundle, good, tmp_path):
    file = tmp_path / "mine.bundle"
    shutil.copy(bundle.path, file)
    assert "nobody has verified" in called("leaderboard", "--add", file, board, code=2).stderr
    write(replace(good, bundle="0" * 64), place_of(file))
    assert "nobody has verified" in called("leaderboard", "--add", file, board, code=2).stderr
    write(good, tmp_path / "verification.json")
    assert called("leaderboard", "--add", file, board).stdout == "Mine joined with 2 records, reproduced 1 of 1\n"


def test_command_verifies_and_adds_at_once(board, bundle, tmp_path):
    file = tmp_path / "mine.bundle"
    shutil.copy(bundle.path, file)
    found = json.loads(called("leaderboard", "--add", file, "--verify", "--json", board).stdout)
    assert found["result"] == "re-scored"
    assert place_of(file).exists()


def test_verification_that_says_more_than_its_checks_is_refused(board, bundle, good, tmp_path):
    file = tmp_path / "mine.bundle"
    shutil.copy(bundle.path, file)
    place_of(file).write_text(json.dumps({**good.as_json(), "result": "reproduced 9 of 9"}))
    assert (
        "it says 'reproduced 9 of 9', and its checks come to 'reproduced 1 of 1'"
        in called("leaderboard", "--add", file, board, code=2).stderr
    )


def test_add_takes_one_folder(tmp_path):
    assert "--add takes a bundle and one published folder, got 0" in called("leaderboard", "--add", tmp_path / "x.bundle", code=2).stderr


def test_python_makes_and_verifies_the_same(place, bundle):
    made = bench.bundle(place / "runs", methods="Mine", to=place / "again.bundle")
    assert made.sha256 == bundle.sha256
    assert {bare(record.trial.method) for record in made.line} == {"mine.py:Mine"}
    assert bench.verify(place / "again.bundle").result == "re-scored"

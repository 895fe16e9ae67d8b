"""bench/inspection/submission.py, claims.py: an honest bundle passes, and of one that lies the lie is named."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sent_in
from typed import called

from bench.data.loading import load
from bench.errors import UsageError
from bench.inspection.submission import verify
from bench.names import Choice
from bench.records.scoring import rescored
from bench.records.verification import CLAIMED, REFUTED, RESCORED

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sent")
    (folder / "theirs").mkdir()
    return folder


@pytest.fixture(scope="module")
def mine(place):
    """The method's file, at its author's."""
    return sent_in.write_method(place / "theirs")


@pytest.fixture(scope="module")
def honest(place, mine):
    return sent_in.made(place / "runs", [mine, "mean-mlp"], place / "mine.bundle")


@pytest.fixture(scope="module")
def short(place):
    """One trial of a listed method: what is found by training it again is found fast."""
    return sent_in.made(place / "short", ["mean-mlp"], place / "short.bundle", seeds=[0])


@pytest.fixture(scope="module")
def long(place):
    """The same, trained longer."""
    return sent_in.made(place / "long", ["mean-mlp"], place / "long.bundle", seeds=[0], epochs=8)


def check_of(found, name):
    return next(check for check in found.checks if check.name == name)


def test_honest_bundle_is_rescored(honest):
    found = verify(honest)
    assert [check for check in found.checks if not check.passed] == []
    assert found.result == RESCORED
    assert {row.method for row in found.rows} == {"mine.py:Mine", "mean-mlp"}


def test_same_answers_make_the_same_bytes(honest, place):
    called("bundle", place / "runs", "--to", place / "again.bundle")
    assert (place / "again.bundle").read_bytes() == honest.path.read_bytes()


def test_bundle_has_the_code_of_a_file_and_of_what_it_imports_and_no_folder(honest, place):
    assert {name.rpartition("/")[2]: text.decode() for name, text in honest.texts.items()} == {
        "mine.py": sent_in.METHOD,
        "parts.py": sent_in.HELPER,
    }
    assert str(place).encode() not in b"".join([*honest.texts.values(), *(str(record).encode() for record in honest.line)])


def test_listed_methods_are_trained_again_and_others_only_with_their_code(honest, mine):
    found = verify(honest, again=4, seed=3)
    assert found.result == "reproduced 2 of 4"  # those of mean-mlp
    assert found.is_open
    given = verify(honest, again=1, seed=3, code=[mine])
    assert (given.result, given.is_open, given.seed) == ("reproduced 1 of 1", False, 3)


def test_trusted_code_is_run_from_the_bundle_alone(honest, place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    files = [Path(one.entry).name for one in honest.code if one.entry]
    assert files == ["mine.py:Mine"]
    alone = replace(honest, line=[record for record in honest.line if record.trial.method == "mine.py:Mine"][:1])
    alone = replace(alone, suite=replace(alone.suite, seeds=(0,)))
    found = verify(replace(alone, sha256="0"), again=1, trust_code=True)
    assert found.result == "reproduced 1 of 1"


def test_other_code_under_the_same_name_is_named(honest, tmp_path):
    own = sent_in.write_method(tmp_path)
    (tmp_path / "parts.py").write_text("WIDTH = 9\n", encoding="utf-8")
    found = verify(honest, code=[own])
    assert found.result == REFUTED
    assert "mine.py:Mine is of version" in check_of(found, "code").detail


def test_code_that_the_bundle_does_not_name_is_wrong_usage(honest, tmp_path):
    with pytest.raises(UsageError, match=r"names no file 'other.py:Mine'; it names mine.py:Mine"):
        verify(honest, code=[str(tmp_path / "other.py:Mine")])


def test_hashed_ids_are_told_by_the_order_of_rows(honest, tmp_path):
    hashed = {id_: replace(one, ids=np.array([f"{hash(name):x}" for name in one.ids])) for id_, one in honest.stored.items()}
    found = verify(sent_in.rewritten(replace(honest, stored=hashed), tmp_path / "hashed.bundle"))
    assert found.result == RESCORED
    assert "the ids of breast-cancer are not the data's own, so rows were told by their order" in check_of(found, "split").detail


# Lies: each is told with care, so that every hash and id fits


def changed_prediction(bundle):
    def flip(one):
        outputs = one.outputs.copy()
        outputs[0] = outputs[0, ::-1]
        return replace(one, outputs=outputs)

    return sent_in.told(bundle, stored=flip)


def swapped_labels(bundle):
    record = bundle.line[0]
    one = bundle.stored[record.trial.id]
    other = replace(one, target=one.scores.argmax(1))
    return replace(
        bundle,
        line=[rescored(record, other), *bundle.line[1:]],
        stored={**bundle.stored, record.trial.id: other},
    )


def better_metric(bundle):
    return sent_in.told(bundle, metrics={**bundle.line[0].metrics, "accuracy": 0.999})


def better_metric_under_another_mask(bundle):
    facts = bundle.line[0].facts
    rules = {rule: replace(one, metrics={**one.metrics, "auroc": 0.9999}) for rule, one in facts.evaluations.items()}
    return sent_in.told(bundle, facts=replace(facts, evaluations=rules))


def other_mask(bundle):
    facts = bundle.line[0].facts
    return sent_in.told(bundle, facts=replace(facts, masks={**facts.masks, "test": "0" * 16}))


def other_mask_of_an_evaluation(bundle):
    facts = bundle.line[0].facts
    rules = {rule: replace(one, mask="0" * 16) for rule, one in facts.evaluations.items()}
    return sent_in.told(bundle, facts=replace(facts, evaluations=rules))


def less_missing(bundle):
    facts = bundle.line[0].facts
    return sent_in.told(bundle, facts=replace(facts, missing={**facts.missing, "train": 0.9}))


def other_fingerprint(bundle):
    return sent_in.told(bundle, trial={"fingerprint": "0" * 16})


def other_split(bundle):
    samples = load(Choice("breast-cancer")).samples
    others = samples.ids[~np.isin(samples.ids, bundle.stored[bundle.line[0].trial.id].ids)].astype(str)
    return sent_in.told(bundle, stored=lambda one: replace(one, ids=others[: len(one.ids)]))


def more_training_rows(bundle):
    facts = bundle.line[0].facts
    return sent_in.told(bundle, facts=replace(facts, rows={**facts.rows, "train": 10_000}))


def dropped_bad_seed(bundle):
    gone = bundle.line[-1].trial.id
    stored = {id_: one for id_, one in bundle.stored.items() if id_ != gone}
    return replace(bundle, line=bundle.line[:-1], stored=stored)


def other_harness(bundle):
    return sent_in.told(bundle, trial={"harness": 1})


def code_that_is_not_that_of_the_hash(bundle):
    name = next(name for name in bundle.texts if name.endswith("parts.py"))
    return replace(bundle, texts={**bundle.texts, name: b"WIDTH = 64\n"})


def a_made_up_code_hash(bundle):
    place = next(place for place, record in enumerate(bundle.line) if record.trial.method == "mine.py:Mine")
    code = [replace(one, version="0" * 12) if one.parts else one for one in bundle.code]
    return replace(sent_in.told(bundle, place, trial={"version": "0" * 12}), code=code)


def another_version_of_a_listed_method(bundle):
    place = next(place for place, record in enumerate(bundle.line) if record.trial.method == "mean-mlp")
    return sent_in.told(bundle, place, trial={"version": "0" * 12})


def another_budget_in_one_trial(bundle):
    return sent_in.told(bundle, trial={"training": {**bundle.line[0].trial.training, "epochs": 50}})


def another_selection_in_one_trial(bundle):
    return sent_in.told(bundle, trial={"selection": "auroc"})


def real_data_called_synthetic(bundle):
    return sent_in.told(bundle, facts=replace(bundle.line[0].facts, synthetic=True))


def a_test_part_scored_twice(bundle):
    return sent_in.told(bundle, facts=replace(bundle.line[0].facts, test_evaluations=2))


def a_failed_trial_with_scores(bundle):
    gone = bundle.line[0].trial.id
    stored = {id_: one for id_, one in bundle.stored.items() if id_ != gone}
    return sent_in.told(replace(bundle, stored=stored), status="failed", reason="out of memory")


LIES = {  # lie -> the check that names it, and words of what it says
    changed_prediction: ("scores", "its predictions give"),
    swapped_labels: ("labels", "test labels are not those of breast-cancer here"),
    better_metric: ("scores", "accuracy is recorded as 0.999"),
    better_metric_under_another_mask: ("scores", "auroc under mcar(0.5) is recorded as 0.9999"),
    other_mask: ("masks", "the test mask is said to be 0000000000000000"),
    other_mask_of_an_evaluation: ("masks", "the mask under mcar(0.5) is said to be 0000000000000000"),
    less_missing: ("masks", "0.9 of the train part is said to be missing"),
    other_fingerprint: ("data", "breast-cancer has fingerprint 0000000000000000, the data here"),
    other_split: ("split", "test row 0 is said to be"),
    more_training_rows: ("split", "10000"),
    dropped_bad_seed: ("grid", "has no record of seed 1"),
    other_harness: ("harness", "trials are of harness 1"),
    code_that_is_not_that_of_the_hash: ("code", "parts.py is not the code that version"),
    a_made_up_code_hash: ("code", "is of version 000000000000, and its parts make"),
    another_version_of_a_listed_method: ("code", "mean-mlp is of version 000000000000, its code here of"),
    another_budget_in_one_trial: ("budget", "was trained with epochs = 50, the question says 2"),
    another_selection_in_one_trial: ("budget", "has selection 'auroc', the question 'accuracy'"),
    real_data_called_synthetic: ("split", "breast-cancer is said to be synthetic, and is not"),
    a_test_part_scored_twice: ("scores", "was scored 2 times, and may be once"),
    a_failed_trial_with_scores: ("status", "is failed and has scores"),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_lie_is_named(honest, lie, tmp_path):
    name, words = LIES[lie]
    found = verify(sent_in.rewritten(lie(honest), tmp_path / "lie.bundle"))
    assert found.result == REFUTED
    assert words in check_of(found, name).detail
    assert name in {check.name for check in found.lies}


# Lies that the predictions bear out: training again finds them


def trained_longer_than_said(short, long):
    """The predictions of eight epochs under a question that asks for two."""
    record = long.line[0]
    facts = replace(record.facts, config={**record.facts.config, "epochs": 2}, best_epoch=min(2, record.facts.best_epoch))
    return sent_in.told(replace(long, suite=short.suite), trial={"training": dict(short.line[0].trial.training)}, facts=facts)


def made_up_predictions(short, long):
    record = short.line[0]
    one = short.stored[record.trial.id]
    outputs = one.outputs.copy()
    outputs[np.arange(len(outputs)), one.target] += 3
    other = replace(one, outputs=outputs)
    return replace(short, line=[rescored(record, other)], stored={record.trial.id: other})


def cheaper_than_it_is(short, long):
    cost = short.line[0].cost
    return sent_in.told(short, cost={**cost, "gflops_per_sample": cost["gflops_per_sample"] / 100})


AGAIN = {trained_longer_than_said: "another answer", made_up_predictions: "another answer", cheaper_than_it_is: "its gflops_per_sample is"}


@pytest.mark.parametrize("lie", AGAIN, ids=lambda lie: lie.__name__)
def test_lie_is_found_by_training_again(short, long, lie, tmp_path):
    bundle = sent_in.rewritten(lie(short, long), tmp_path / "lie.bundle")
    assert verify(bundle).result == RESCORED
    found = verify(bundle, again=1)
    assert found.result == REFUTED
    assert AGAIN[lie] in check_of(found, "training").detail


def test_another_answer_of_another_machine_is_no_lie_and_not_reproduced(short, long, tmp_path):
    lie = made_up_predictions(short, long)
    record = lie.line[0]
    elsewhere = replace(lie, line=[replace(record, provenance=replace(record.provenance, hardware="abacus"))])
    found = verify(sent_in.rewritten(elsewhere, tmp_path / "elsewhere.bundle"), again=1)
    assert (found.result, found.lies, found.is_open) == ("reproduced 0 of 1", [], True)
    assert "though hardware is" in found.again[0].detail


# Where something is not here


def test_absent_data_leave_a_claim_and_name_what_is_missing(honest, tmp_path):
    where = {"dataset": "study.toml"}
    suite = replace(honest.suite, settings=tuple(replace(table, datasets=("study.toml",)) for table in honest.suite.settings))
    bundle = replace(honest, suite=suite)
    for place in range(len(honest.line)):
        bundle = sent_in.told(bundle, place, trial=where)
    found = verify(sent_in.rewritten(bundle, tmp_path / "absent.bundle"))
    assert (found.result, found.lies) == (CLAIMED, [])
    assert {check.name for check in found.missing} == {"grid", "data", "masks", "split", "labels"}
    assert "study.toml is a file of whoever made the bundle; name yours with --data PATH/study.toml" in check_of(found, "data").detail
    assert "open  labels" in called("verify", tmp_path / "absent.bundle", code=3).output


def test_files_are_looked_for_where_they_are_named_and_nowhere_else(honest, mine, monkeypatch):
    monkeypatch.chdir(Path(mine.rpartition(":")[0]).parent)  # mine.py lies here, and nobody said that it is meant
    assert verify(honest, again=4).result == "reproduced 2 of 4"


# The command


def test_command_signs_off_beside_the_bundle(honest, tmp_path):
    shutil.copy(honest.path, tmp_path / "mine.bundle")
    shown = called("verify", tmp_path / "mine.bundle", "--by", "A. Reader")
    written = json.loads((tmp_path / "mine.verification.json").read_text())
    assert shown.stdout.splitlines()[-1] == "re-scored: mine.py:Mine and mean-mlp"
    assert (written["result"], written["by"], written["bundle"]) == ("re-scored", "A. Reader", honest.sha256)
    assert {"python", "packages", "hardware"} <= set(written["environment"])
    assert written["when"].endswith("+00:00")


@pytest.mark.parametrize(("lie", "code"), [(better_metric, 1), (None, 0)], ids=["lie", "honest"])
def test_command_ends_with_the_code_of_what_it_found(honest, tmp_path, lie, code):
    sent_in.rewritten(lie(honest) if lie else honest, tmp_path / "one.bundle")
    called("verify", tmp_path / "one.bundle", "-q", code=code)


def test_what_is_no_bundle_is_refused_with_code_2(tmp_path):
    (tmp_path / "no.bundle").write_text("hello")
    assert "is refused as bundle" in called("verify", tmp_path / "no.bundle", code=2).stderr


@pytest.mark.slow
def test_bundle_of_another_checkout_is_verified_here(tmp_path):
    for name in ("bench", "methods", "datasets", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    mine = sent_in.write_method(tmp_path)

    def there(*words):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    place = there("list", "--help")
    assert "Usage" in place
    there("run", "--methods", mine, "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0", "--epochs", "2", "-q")
    there("bundle", "runs", "--to", "mine.bundle")
    shown = called("verify", tmp_path / "mine.bundle", "--reproduce", 1, "--code", mine)
    assert shown.stdout.splitlines()[-1] == "reproduced 1 of 1: mine.py:Mine"


@pytest.mark.parametrize(
    ("epochs", "budgets", "passed"),
    [
        (1, {"breast-cancer": {"epochs_times": 2.0}}, True), (1, {"breast-cancer": {"epochs_times": 3.0}}, False),
        (2, {"digits": {"epochs_times": 9.0}}, True), (2, {"breast-cancer[n=9]": {"epochs_times": 9.0}}, True),
        (1, {"breast-cancer": {"mean-mlp": {"epochs": 2}}}, True), (2, {"breast-cancer": {"mean-mlp": {"epochs": 3}}}, False),
        (2, {"breast-cancer": {"muse": {"epochs": 3}}}, True),
    ],
)  # fmt: skip
def test_budgets_of_a_dataset_and_of_a_method_on_it_belong_to_what_the_question_asks(short, epochs, budgets, passed):
    """Two epochs are what a question of one, doubled on this dataset, asks; a bundle of such a suite was once called a lie."""
    suite = replace(short.suite, training={**short.suite.training, "epochs": epochs}, budgets=budgets)
    assert check_of(verify(replace(short, suite=suite)), "budget").passed is passed

"""Bundles of private data: verified though their rows are under salted ids, and joined only where nobody has to guess who is who."""

import zipfile
from dataclasses import replace

import pytest
from typed import called

from bench.inspection.submission import verify_file
from bench.leaderboard import board_of
from bench.leaderboard.bundling import bundled, write
from bench.records.folder import answers_of
from bench.records.ids import SALTED

CLINIC = """
import numpy as np

from bench.datasets.base import Dataset, Modality, Samples, Schema


class Clinic(Dataset):
    title = "a clinic's rows (SYNTHETIC)"
    synthetic = True

    def load(self):
        rng = np.random.default_rng(5)
        target = rng.integers(0, 2, 120)
        schema = Schema((Modality("blood", "B", "vector", (4,)), Modality("gait", "G", "vector", (3,))), ("no", "yes"))
        values = {m.name: (rng.normal(size=(120, *m.shape)) + target[:, None]).astype(np.float32) for m in schema}
        return Samples(schema, values, np.ones((120, 2), bool), target, np.array([f"PATIENT-{row}" for row in range(120)]))


class Ward(Clinic):
    title = "a ward's rows, of the same people (SYNTHETIC)"
"""


def run(place, out, methods, dataset="Clinic"):
    asked = ["--methods", methods, "--datasets", f"{place / 'clinic.py'}:{dataset}", "--protocols", "mcar(0.3)", "--seeds", "0,1"]
    called("run", *asked, "--vary", "training", "--metric", "accuracy", "--selection", "accuracy", "--out", out, "-q", "--json")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("private")
    (place / "clinic.py").write_text(CLINIC)
    run(place, place / "ours", "constant,mean-logistic")
    called("leaderboard", "--out", place / "ours", "--publish", place / "board")
    run(place, place / "theirs", "best-single")
    called("bundle", place / "theirs", "--to", place / "theirs.bundle")
    return place


def test_bundle_of_private_data_names_nobody_and_is_verified_as_a_set(place):
    with zipfile.ZipFile(place / "theirs.bundle") as bundle:
        assert not any(b"PATIENT" in bundle.read(name) for name in bundle.namelist())
    found = verify_file(place / "theirs.bundle", 1, seed=0, data=f"{place / 'clinic.py'}:Clinic")
    assert found.result == "reproduced 1 of 1", [str(check) for check in found.checks]
    split = next(check for check in found.checks if check.name == "split")
    assert "salted, so rows and labels were compared as a set" in str(split)


def test_boards_of_private_data_unite_and_each_keeps_its_salt(place, tmp_path):
    run(place, tmp_path / "ward", "constant,mean-logistic", "Ward")
    called("leaderboard", "--out", tmp_path / "ward", "--publish", tmp_path / "board-ward")
    called("leaderboard", "--publish", tmp_path / "both", place / "board", tmp_path / "board-ward")
    assert not any(b"PATIENT" in path.read_bytes() for path in (tmp_path / "both").rglob("*") if path.is_file())
    assert called("leaderboard", "--check", tmp_path / "both").stdout.startswith("ok")
    whole, salts = answers_of("", tmp_path / "both"), {}
    for part, dataset in ((place / "board", "Clinic"), (tmp_path / "board-ward", "Ward")):
        for record in answers_of("", part).records:
            salts[dataset] = answers_of("", part).predictions[record.trial.id].ids.tolist()
            assert whole.predictions[record.trial.id].ids.tolist() == salts[dataset]
    assert {record.facts.ids for record in whole.records} == {SALTED}
    assert set(salts) == {"Clinic", "Ward"}
    assert not set(salts["Clinic"]) & set(salts["Ward"]), "one person is under another id on the other board"
    shown = called("compare", "mean-logistic", "constant", "--from", tmp_path / "both").stdout
    assert "Clinic" in shown
    assert "Ward" in shown


def test_rows_under_another_salt_join_no_board(place):
    before = {path.name: path.read_bytes() for path in (place / "board").iterdir()}
    called("verify", place / "theirs.bundle", "--data", f"{place / 'clinic.py'}:Clinic")
    words = ["leaderboard", "--add", place / "theirs.bundle", place / "board"]
    assert "under ids with another salt than the board's" in called(*words, code=2).stderr
    assert {path.name: path.read_bytes() for path in (place / "board").iterdir()} == before


def test_rows_under_the_salt_of_the_board_join_it(place):
    run(place, place / "ours", "constant,mean-logistic,best-single")
    called("bundle", place / "ours", "--methods", "best-single", "--to", place / "ours.bundle")
    called("verify", place / "ours.bundle", "--data", f"{place / 'clinic.py'}:Clinic")
    called("leaderboard", "--add", place / "ours.bundle", place / "board")
    assert {row.label for row in board_of(place / "board").settings[0].rows} == {"constant", "mean-logistic", "best-single"}


def test_public_ids_may_not_be_called_salted(tmp_path):
    called("run", "--methods", "constant", "--datasets", "breast-cancer", "--noise", "0.3", "--seeds", "0", "--out", tmp_path / "o", "-q")
    answers = answers_of(tmp_path / "o")
    said = [replace(record, facts=replace(record.facts, ids=SALTED)) for record in answers.records]
    write(bundled(replace(answers, records=said)), tmp_path / "o.bundle")
    found = verify_file(tmp_path / "o.bundle")
    assert found.result == "refuted"
    assert "its ids are said to be salted, and those of breast-cancer are public" in "\n".join(map(str, found.checks))

"""bench/records/ids.py: what is published names no sample of private data, and keeps together what belongs together."""

import hmac
import json
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import bench
from bench import registry
from bench.cli import main
from bench.data.loading import load
from bench.datasets.catalog import DATASETS, PUBLIC_IDS
from bench.datasets.mimic_iv import MimicIv
from bench.errors import UsageError
from bench.leaderboard import build, checked, publish, rescore, revealed, stale_files, write
from bench.names import parse_choice
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.database import Store
from bench.records.facts import Facts
from bench.records.folder import Folder, answers_of
from bench.records.ids import PRIVATE, PUBLIC, SALTED, Salter, as_set, kinds_of, marked
from bench.records.predictions import Predictions
from bench.records.record import Record

STUDY = """id = "mrn"
[target]
file = "clinic.csv"
column = "outcome"
classes = ["alive", "dead"]
[[modality]]
name = "labs"
kind = "vector"
file = "clinic.csv"
[modality.columns]
age = "number"
sodium = "number"
[[modality]]
name = "history"
kind = "vector"
file = "clinic.csv"
[modality.columns]
stays = "number"
"""
TELLS = '''
from dataclasses import dataclass

from bench.methods.base import Estimator, EstimatorConfig


@dataclass(frozen=True, kw_only=True)
class Config(EstimatorConfig):
    pass


class Tells(Estimator):
    """Fails, and says on whom."""

    Config = Config

    def fit(self, train, valid):
        raise KeyError(f"{train.ids[0]} and {valid.ids[1]} of 120 rows")

    def predict_proba(self, samples):
        raise AssertionError
'''


def clinic(folder):
    """120 patients in the order of admission; two of them are twins, which the checkup names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for row in range(120):
        dead = row % 3 == 0
        lines.append(
            f"MRN-{7000 + row},{'dead' if dead else 'alive'},{rng.normal(70 + 8 * dead):.3f},{rng.normal():.3f},{rng.normal(dead):.3f}"
        )
    for row in range(60, 90):
        lines[row] = f"MRN-{7000 + row},{lines[row - 60].partition(',')[2]}"
    (folder / "clinic.csv").write_text("mrn,outcome,age,sodium,stays\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    (folder / "tells.py").write_text(TELLS, encoding="utf-8")
    return folder / "study.toml"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Runs on private and on public data in one results folder, published."""
    home = tmp_path_factory.mktemp("home")
    study = clinic(home / "study")
    methods = f"constant,mean-logistic,{home / 'study' / 'tells.py'}:Tells"
    for vary in ("training", "split"):
        asked = ["--methods", methods, "--datasets", f"{study},breast-cancer", "--vary", vary, "--seeds", "0-1", "--noise", "0.3"]
        assert CliRunner().invoke(main, ["run", "-q", *asked, "--out", str(home / vary)]).exit_code == 1  # one of the methods fails
    done = CliRunner().invoke(main, ["leaderboard", "--out", str(home / "training"), "--publish", str(home / "board")])
    assert done.exit_code == 0, done.output
    (home / "said.txt").write_text(done.stderr, encoding="utf-8")
    return home


def everything_in(folder):
    """Bytes of each file, what is compressed as well, texts of arrays in UTF-8."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                yield path.name, b"".join(archive.read(name) for name in archive.namelist()).replace(b"\0", b"")
        else:
            yield path.name, path.read_bytes()


def by_trial(folder):
    with Folder(folder) as found:
        records = [record for record in found.records() if record.status == "done"]
        return {record.trial.id: record for record in records}, found.predictions(record.trial.id for record in records)


@pytest.mark.slow
def test_no_byte_that_is_published_names_a_private_sample(home):
    assert [name for name, content in everything_in(home / "board") if b"MRN-" in content] == []
    with Store(home / "training", create=False) as store:
        local = json.dumps([record.as_json() for record in store.records()])
        salt = store.salt()
    assert local.count("sample 'MRN-") >= 4  # a reason of the method that tells, and the twins of the checkup
    assert [name for name, content in everything_in(home / "board") if salt in content or salt.hex().encode() in content] == []


@pytest.mark.slow
def test_one_sample_has_one_hash_in_every_trial_text_and_publishing(home, tmp_path):
    answers = answers_of(home / "training")
    for name in ("once", "twice"):
        publish(tmp_path / name, answers, draw=False)
    assert (tmp_path / "once" / "records.jsonl").read_bytes() == (tmp_path / "twice" / "records.jsonl").read_bytes()
    salter = Salter(answers.salt())
    records, predictions = by_trial(tmp_path / "once")
    with Store(home / "training", create=False) as store:
        local = store.predictions(store.statuses())
        reasons = [record.reason for record in store.records() if record.trial.dataset.endswith("study.toml") and record.reason]
    own = [id_ for id_, record in records.items() if record.trial.dataset == "study.toml"]
    assert len(own) == 4
    for id_ in own:
        before = next(found for key, found in local.items() if key == id_)
        places = [list(predictions[id_].ids).index(salter.of(name)) for name in before.ids.tolist()]
        assert (before.outputs == predictions[id_].outputs[places]).all()
        assert (before.target == predictions[id_].target[places]).all()
        assert predictions[id_].ids.tolist() == sorted(predictions[id_].ids.tolist())
    with Folder(tmp_path / "once") as found:
        told = [record.reason for record in found.records() if record.trial.dataset == "study.toml" and record.reason]
    who = reasons[0].partition("sample '")[2].partition("'")[0]
    assert who.startswith("MRN-")
    assert f"sample '{salter.of(who)}'" in told[0]
    assert "120 rows" in told[0]


@pytest.mark.slow
def test_another_results_folder_has_another_salt(home):
    assert answers_of(home / "training").salt() != answers_of(home / "split").salt()


@pytest.mark.slow
def test_public_ids_stay_and_what_is_said_of_both_is_right(home):
    records, predictions = by_trial(home / "board")
    clear = [id_ for id_, record in records.items() if record.trial.dataset == "breast-cancer"]
    assert all(name.startswith("patient-") for id_ in clear for name in predictions[id_].ids.tolist())
    assert {record.facts.ids for record in records.values()} == {PUBLIC, SALTED}
    page = (home / "board" / "README.md").read_text(encoding="utf-8")
    assert "Samples of study.toml stand under salted hashes of their ids" in page
    said = (home / "said.txt").read_text(encoding="utf-8").splitlines()[-1]
    assert f"of breast-cancer under public ids; 18 of study.toml under salted ids, whose salt stays in {home / 'training'}" in said
    assert said.startswith("wrote ")
    assert " MB, to " in said


@pytest.mark.slow
@pytest.mark.parametrize("vary", ["training", "split"])
def test_published_board_says_what_the_local_one_says(home, tmp_path, vary):
    publish(tmp_path / "board", answers_of(home / vary), draw=False)
    local, shown = bench.board(home / vary), build(answers_of("", tmp_path / "board"))
    for a, b in zip(local.settings, shown.settings, strict=True):
        assert [str(row.mean) for row in a.rows] == [str(row.mean) for row in b.rows]
        assert a.tests.reason == b.tests.reason
        found = [[(test.p, test.p_adjusted) for test in table.tests.tests] for table in (a, b)]
        assert np.allclose(*found, rtol=1e-6, equal_nan=True)
    assert checked(tmp_path / "board").mismatches == ()
    assert stale_files(tmp_path / "board") == []
    assert rescore(tmp_path / "board") == []


@pytest.mark.slow
def test_salted_trial_is_reproduced_by_id_with_the_salt_and_as_a_set_without(home, monkeypatch):
    monkeypatch.chdir(home / "study")
    records, _ = by_trial(home / "board")
    id_ = next(id_ for id_, record in records.items() if record.trial.dataset == "study.toml" and record.trial.method == "mean-logistic")
    apart, together = bench.reproduce(id_, published=home / "board"), bench.reproduce(id_, published=home / "board", salt=home / "training")
    assert apart.same
    assert apart.is_set
    assert "compared as a set" in str(apart)
    assert together.same
    assert not together.is_set
    wrong = bench.reproduce(id_, published=home / "board", salt=home / "split")
    assert not wrong.same
    assert "ids" in wrong.differing


@pytest.mark.slow
def test_patterns_are_not_counted_over_rows_in_another_order(home):
    found = bench.compare("constant", "mean-logistic", published=home / "board", patterns=True)
    assert "study.toml is not counted by observed modalities: its ids are salted" in str(found)
    assert {one.table.dataset for one in found.differences if one.patterns} == {"breast-cancer"}


@pytest.mark.slow
def test_folder_without_predictions_says_what_cannot_be_checked(home, tmp_path):
    folder = tmp_path / "board"
    publish(folder, answers_of(home / "training"), draw=False)
    before = (folder / "significance.json").read_text(encoding="utf-8")
    done = CliRunner().invoke(main, ["leaderboard", "--out", str(home / "training"), "--publish", str(folder), "--no-predictions"])
    assert done.exit_code == 0, done.output
    assert "no predictions, so no row, label or id of a sample" in done.stderr
    assert not (folder / "predictions.npz").exists()
    assert (folder / "significance.json").read_text(encoding="utf-8") == before
    assert "**Predictions are not published.**" in (folder / "README.md").read_text(encoding="utf-8")
    assert stale_files(folder) == []
    told = CliRunner().invoke(main, ["leaderboard", "--check", str(folder)])
    assert told.exit_code == 0
    assert "published without predictions" in told.output
    with pytest.raises(UsageError, match="was published without predictions"):
        write(folder)
    with pytest.raises(UsageError, match="was published without predictions"):
        rescore(folder)
    for option in ("--render", "--rescore"):
        kept = CliRunner().invoke(main, ["leaderboard", option, str(folder)])
        assert kept.exit_code == 0
        assert kept.output.startswith("kept ")
    with pytest.raises(UsageError, match="was published without predictions"):
        bench.reproduce(next(iter(by_trial(folder)[0])), published=folder)
    compared = str(bench.compare("constant", "mean-logistic", published=folder))
    assert "without predictions" in compared
    assert "significance.json" in compared
    page = folder / "README.md"
    page.write_text(page.read_text(encoding="utf-8").replace("constant", "best"), encoding="utf-8")
    assert [path.name for path in stale_files(folder)] == ["README.md"]


# ---- without a run


TRIAL = Trial(
    method="constant", preset="default", options={}, training={}, dataset="digits", dataset_options={}, combination="NE",
    protocol="natural",
    seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def record_of(dataset, status="done", **facts):
    return Record(Trial(**{**TRIAL.as_dict(), "dataset": dataset}), status, facts=Facts(**facts))


def test_every_listed_dataset_is_public_or_restricted():
    assert {name for name in DATASETS if name not in PUBLIC_IDS} == {"adni", "mimic-iv"}
    assert all(registry.terms_of(name)[0] != (name in PUBLIC_IDS) for name in DATASETS)
    assert registry.dataset_of(parse_choice("digits")).public_ids


def test_records_that_say_nothing_are_of_the_catalog_or_private():
    records = [record_of("digits"), record_of("mine.py:Mine"), record_of("open.toml", ids=PUBLIC), record_of("open.toml", "failed")]
    assert kinds_of(records, read_by_all=False) == {"digits": PUBLIC, "mine.py:Mine": PRIVATE, "open.toml": PUBLIC}
    assert kinds_of(records, read_by_all=True)["mine.py:Mine"] == PUBLIC  # it stands in a published folder as it is
    assert kinds_of([record_of("x.toml", ids=PUBLIC), record_of("x.toml", ids=PRIVATE)], False) == {"x.toml": PRIVATE}


def test_description_states_whether_ids_are_public_and_terms_forbid(tmp_path):
    path = clinic(tmp_path / "study")
    assert not load(parse_choice(str(path))).dataset.public_ids
    path.write_text("public_ids = true\nrestricted = true\n" + STUDY, encoding="utf-8")
    dataset = load(parse_choice(str(path))).dataset
    assert dataset.public_ids
    assert dataset.restricted


def test_facts_of_another_type_are_refused(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from bench.datasets.breast_cancer import BreastCancer\nclass Own(BreastCancer):\n    public_ids = 'yes'\n", encoding="utf-8"
    )
    with pytest.raises(UsageError, match=r"public_ids of dataset .* must be True or False, got 'yes'"):
        registry.dataset_of(parse_choice(f"{tmp_path / 'own.py'}:Own"))


def test_restricted_data_are_refused_by_name_and_nothing_is_written(tmp_path):
    suite = Suite("s", (Settings(("digits", "adni", "mimic-iv", "ward.toml")),))
    records = [record_of("digits"), record_of("mimic-iv"), record_of("ward.toml", restricted=True)]
    with pytest.raises(
        UsageError, match=r"predictions on mimic-iv \(PhysioNet licence: .*\) and ward.toml must not be published.*--no-predictions"
    ):
        publish(tmp_path / "board", Answers(suite, records))
    assert not (tmp_path / "board").exists()
    assert MimicIv.restricted
    files = publish(tmp_path / "board", Answers(suite, records), draw=False, predictions=False)
    assert not (tmp_path / "board" / "predictions.npz").exists()
    assert "no predictions" in revealed(tmp_path / "board", files, "runs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("KeyError: 'P-17'", "KeyError: sample 'P-17'"),
        ("KeyError: 'P-17 and P-18 of 20 rows'", "KeyError: 'sample 'P-17' and sample 'P-18' of 20 rows'"),
        ("no value in P-17.", "no value in sample 'P-17'."),
        ("sample 'P-17' has none", "sample 'P-17' has none"),
        ("P-170 and XP-17 are others", "P-170 and XP-17 are others"),
        ("'12' of 12 rows, 20240117 too", "sample '12' of 12 rows, sample '20240117' too"),
        ("a smith met 'smith'", "a smith met sample 'smith'"),
        ("'Ann Lee' is one", "sample 'Ann Lee' is one"),
        ("row (P-17,P-18)", "row (sample 'P-17',sample 'P-18')"),
    ],
)
def test_ids_in_a_message_are_called_samples(text, said):
    assert marked(text, {"P-17", "P-18", "12", "20240117", "smith", "Ann Lee"}) == said


def test_named_sample_is_hashed_even_if_nobody_knows_it_and_readers_say_nothing():
    salter = Salter(b"salt")
    assert salter.text("sample 'O\\'Hara' fails") == f"sample '{salter.of(chr(79) + chr(39) + 'Hara')}' fails"
    told = salter.text("dataset 'study.toml': clinic.csv, line 3: outcome of 'P-3', the label, is missing")
    assert told == "dataset 'study.toml' does not load; what its reader said is not published, since it may name samples"


def test_hash_is_an_hmac_of_the_id_and_needs_the_salt():
    assert Salter(b"salt").of("P-17") == hmac.new(b"salt", b"P-17", "sha256").hexdigest()[:20]
    assert Salter(b"salt").of("P-17") != Salter(b"other").of("P-17")


def test_sets_of_rows_are_equal_in_any_order_and_differ_by_one_bit():
    rng = np.random.default_rng(0)
    outputs, target = rng.normal(size=(30, 3)).astype(np.float32), np.arange(30) % 3
    one = Predictions(np.array([f"a{i}" for i in range(30)]), target, outputs, {"natural": outputs[:, ::-1].copy()}, "logits")
    order = rng.permutation(30)
    other = Predictions(one.ids[order], target[order], outputs[order], {"natural": one.evaluations["natural"][order]}, "logits")
    a, b = as_set(one).named(), as_set(other).named()
    assert all(a[name].tobytes() == b[name].tobytes() for name in a)
    outputs = outputs.copy()
    outputs[4, 1] = np.nextafter(outputs[4, 1], np.float32(9))
    changed = as_set(Predictions(one.ids, target, outputs, one.evaluations, "logits")).named()
    assert changed["logits"].tobytes() != a["logits"].tobytes()


def test_folder_of_before_gets_its_salt_when_it_is_asked_for(tmp_path):
    with Store(tmp_path) as store:
        store.connection.execute("DROP TABLE secrets")
        store.connection.commit()
    with Store(tmp_path, create=False) as store:
        salt = store.salt()
        assert len(salt) == 32
        assert store.salt() == salt

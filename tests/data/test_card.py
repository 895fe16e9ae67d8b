"""bench/data/card.py and `bench data`: what is here is told apart from what is not, damage is found, pages follow from the data."""

import gzip
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typed import called as bench

from bench.data import card, files
from bench.datasets.adni import Adni
from bench.datasets.uci_heart import SITES, UciHeart
from bench.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]


def write_heart(folder, rows=12):
    """Small files in the form of the real ones: blood is absent in Switzerland, imaging in Hungary and the VA's."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for site in SITES:
        lines = []
        for row in range(rows):
            blood = "0,?" if site == "switzerland" else f"{rng.integers(150, 300)},{rng.integers(2)}"
            imaging = "?,?" if site in ("hungarian", "va") else f"{rng.integers(4)},{rng.choice([3, 6, 7])}"
            numbers = f"{rng.integers(40, 70)},{rng.integers(2)},{rng.integers(1, 5)},{rng.integers(110, 160)},{blood},{rng.integers(3)}"
            exercise = f"{rng.integers(90, 180)},{rng.integers(2)},{rng.normal():.1f},{rng.integers(1, 4)}"
            lines.append(f"{numbers},{exercise},{imaging},{(row + (site == 'va')) % 2}")
        (folder / f"processed.{site}.data").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root that holds a small uci-heart and nothing else."""
    root = tmp_path / "data root"
    write_heart(root / "uci_heart")
    monkeypatch.setenv("BENCH_DATA", str(root))
    monkeypatch.setattr("bench.data.missingness.RESAMPLES", 20)
    return root


def state_of(name):
    return next(entry for entry in files.status() if entry["name"] == name)


# status


def test_status_tells_what_is_here_from_what_is_not(root):
    entry = state_of("uci-heart")
    assert entry["state"] == "here"
    assert entry["missing"] == []
    assert entry["tested"] is False  # small files are not the published ones
    assert entry["options"] == {"target": ["binary", "five"], "split": ["stratified", "site"], "indicators": [False, True]}
    assert "principal investigators" in entry["terms"]
    assert "archive.ics.uci.edu" in entry["obtain"]
    (root / "uci_heart" / "processed.va.data").unlink()
    assert state_of("uci-heart")["state"] == "incomplete"
    assert state_of("uci-heart")["missing"] == ["processed.va.data"]
    shutil.rmtree(root / "uci_heart")
    assert state_of("uci-heart")["state"] == "absent"
    assert state_of("uci-heart")["tested"] is None


def test_status_lists_prepared_copies_with_their_options(root):
    files.prepare("uci-heart[target=five]")
    entry = state_of("uci-heart")
    assert entry["state"] == "prepared"
    assert entry["prepared"][0]["options"] == {"target": "five", "split": "stratified"}
    assert entry["prepared"][0]["rows"] == 48


def test_status_counts_the_files_that_options_name(root, fixtures):
    """`sources` says which, never the list of the default options."""
    fixtures.write_adni(root / "adni", "npz")
    assert state_of("adni")["state"] == "here"
    (root / "adni" / "clinical" / "clinical_merged.csv").unlink()
    entry = state_of("adni")
    assert entry["state"] == "incomplete"
    assert entry["missing"] == ["clinical/clinical_merged.csv or clinical/clinical_merged_mean.csv"]
    assert not Adni().is_here
    assert Adni().lack(root / "adni").startswith("adni needs clinical/clinical_merged.csv or")


def test_status_finds_files_of_other_options(root, fixtures):
    fixtures.write_mimic_iv(root / "mimic_iv", "raw", 40)
    entry = state_of("mimic-iv")
    assert (entry["asked"], entry["state"], entry["missing"]) == ("mimic-iv[origin=raw]", "to prepare", [])
    assert "mimic-iv[origin=raw]: to prepare" in bench("data", "status").stdout
    (root / "mimic_iv" / "note" / "discharge.csv.gz").unlink()
    entry = state_of("mimic-iv")
    assert (entry["state"], entry["missing"]) == ("incomplete", ["note/discharge.csv.gz or note/discharge.csv"])
    assert "use mimic-iv[origin=raw,notes=0]" in bench("data", "status").stdout


def test_status_of_a_prepared_copy_misses_no_file(root, tmp_path, fixtures):
    folder = fixtures.write_mimic_iv(tmp_path / "raw", "raw", 40)
    files.prepare("mimic-iv[origin=raw]", folder)
    entry = state_of("mimic-iv")
    assert (entry["state"], entry["missing"], entry["problem"]) == ("prepared", [], "")
    assert "labels.csv" not in bench("data", "status").stdout.partition("mimic-iv: prepared")[2].partition("\n\n")[0]


def test_status_says_what_is_wrong_where_nothing_is_missing(root, fixtures):
    for name in ("a.pkl", "b.pkl"):
        fixtures.write_cmu_mosi(root / "cmu_mosi", name=name)
    entry = state_of("cmu-mosi")
    assert (entry["state"], entry["missing"]) == ("incomplete", [])
    assert re.search(r"problem   cmu-mosi reads one pickle; .* holds a\.pkl, b\.pkl\. Choose one", bench("data", "status").stdout)


def test_status_knows_every_dataset_of_files(root):
    assert {entry["name"] for entry in files.status()} == set(files.file_datasets())
    assert {"support2", "uci-heart", "av-digits", "mosi-utterance"} <= set(files.file_datasets())
    assert {entry["state"] for entry in files.status()} <= set(files.STATES)


def test_status_command_prints_both_forms(root):
    found = json.loads(bench("data", "status", "--json").stdout)
    assert found["data_root"] == str(root)
    assert {entry["name"]: entry["state"] for entry in found["datasets"]}["uci-heart"] == "here"
    page = bench("data", "status").stdout
    assert "uci-heart: here, not the files this suite was tested with" in page
    assert "get it    Get support2.csv from" in page


def test_real_files_are_those_the_suite_was_tested_with(real_data):
    found = {entry["name"]: entry["tested"] for entry in files.status()}
    names = ("support2", "uci-heart", "three-sources", "mi-complications", "eicu-demo", "av-digits", "mosi-utterance")
    assert {name: found[name] for name in names} == dict.fromkeys(names, True)


# prepare and verify


def test_prepare_reads_any_folder_into_the_data_root(root, tmp_path):
    elsewhere = write_heart(tmp_path / "downloads here")
    shutil.rmtree(root / "uci_heart")
    made = json.loads(bench("data", "prepare", "uci-heart", "--from", elsewhere, "--json").stdout)
    assert made["name"] == "uci-heart"
    assert made["rows"] == 48
    assert Path(made["folder"]).parent == root / "prepared"
    assert UciHeart().load().fingerprint() == made["fingerprint"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("uci-hart",), "unknown dataset 'uci-hart', did you mean 'uci-heart'"),
        (("digits",), "digits needs no files of yours; those that do: support2, uci-heart"),
        (("uci-heart[target=six]",), "target must be one of binary, five, got 'six'"),
        (("support2",), "there is no folder"),
        (("mosi-utterance[subset=standard]",), "leaks test labels"),
    ],
    ids=["unknown", "embedded", "option", "absent", "leak"],
)
def test_bad_request_is_one_line(root, words, message):
    result = bench("data", "prepare", *words, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_damaged_file_is_named_in_one_line(root):
    path = root / "uci_heart" / "processed.va.data"
    path.write_bytes(path.read_bytes()[:-8])
    assert "processed.va.data line 12 must have 14 columns" in bench("data", "prepare", "uci-heart", code=2).stderr
    assert not (root / "prepared").exists()


def test_verify_passes_what_was_not_touched(root, monkeypatch):
    monkeypatch.setattr(UciHeart, "checksums", {})
    bench("data", "prepare", "uci-heart")
    found = json.loads(bench("data", "verify", "uci-heart", "--json").stdout)
    assert [entry["check"] for entry in found] == [
        "prepared copy", "fingerprint", *(f"processed.{site}.data" for site in SITES), "files read again",
    ]  # fmt: skip
    assert all(entry["passed"] for entry in found)


def test_verify_finds_changed_files_and_changed_copies(root, monkeypatch):
    monkeypatch.setattr(UciHeart, "checksums", {})
    copy = Path(files.prepare("uci-heart")["folder"])
    path = root / "uci_heart" / "processed.va.data"
    path.write_text(path.read_text().replace("?,?,1", "?,?,0", 1))
    failed = {entry["check"] for entry in files.verify("uci-heart") if not entry["passed"]}
    assert failed == {"processed.va.data", "files read again"}
    position = [modality["name"] for modality in json.loads((copy / "meta.json").read_text())["modalities"]].index("rest")
    changed = np.load(copy / f"values-{position}.npy")
    changed[0, 0] += 1
    np.save(copy / f"values-{position}.npy", changed)
    assert "fingerprint" in {entry["check"] for entry in files.verify("uci-heart") if not entry["passed"]}
    assert "FAIL  fingerprint: the copy was changed" in bench("data", "verify", "uci-heart", code=1).stdout


def test_verify_finds_damage_and_other_versions(root):
    copy = Path(files.prepare("uci-heart")["folder"])
    failed = [entry for entry in files.verify("uci-heart") if not entry["passed"]]
    assert {entry["check"] for entry in failed} == {f"processed.{site}.data as tested" for site in SITES}
    (copy / "data.npz").write_bytes(b"PK")
    assert files.verify("uci-heart") == [{"check": "prepared copy", "passed": False, "detail": files.verify("uci-heart")[0]["detail"]}]
    shutil.rmtree(copy)
    (root / "uci_heart" / "processed.va.data").write_text("1,2\n")
    assert files.verify("uci-heart")[-1]["check"] == "files can be read"
    assert not files.verify("uci-heart")[-1]["passed"]


def test_verify_of_nothing_is_refused(root):
    with pytest.raises(UsageError, match=r"nothing to verify: support2 is not in .*Get support2\.csv from"):
        files.verify("support2")


def test_copy_without_its_files_is_checked_alone(root):
    files.prepare("uci-heart")
    shutil.rmtree(root / "uci_heart")
    found = files.verify("uci-heart")
    assert [entry["check"] for entry in found] == ["prepared copy", "fingerprint", "files"]
    assert all(entry["passed"] for entry in found)


RAW = "mimic-iv[origin=raw]"
RAW_TABLES = [f"hosp/{name}.csv.gz" for name in ("admissions", "patients", "labevents", "diagnoses_icd", "procedures_icd")]
RAW_TABLES.append("note/discharge.csv.gz")


@pytest.fixture
def raw(root, tmp_path, fixtures):
    """Raw tables of mimic-iv and a prepared copy of them."""
    folder = fixtures.write_mimic_iv(tmp_path / "raw tables", "raw", 40)
    files.prepare(RAW, folder)
    return folder


def without_death(folder, patients):
    """Remove the date of death of some patients."""
    path = folder / "hosp" / "patients.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    lines = [line[: line.rfind(",") + 1] if line[:8] in patients else line for line in lines]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def test_verify_reads_the_files_that_options_name(raw):
    found = files.verify(RAW, raw)
    assert [entry["check"] for entry in found] == ["prepared copy", "fingerprint", *RAW_TABLES, "files read again"]
    assert all(entry["passed"] for entry in found)


def test_verify_sees_dates_of_death_that_were_removed(raw):
    without_death(raw, ("10000000", "10000004"))
    failed = {entry["check"]: entry["detail"] for entry in files.verify(RAW, raw) if not entry["passed"]}
    assert list(failed) == ["hosp/patients.csv.gz", "files read again"]
    assert "changed since the copy was made" in failed["hosp/patients.csv.gz"]
    assert bench("data", "verify", RAW, "--from", raw, code=1).stdout.count("FAIL") == 2


def test_verify_names_what_an_incomplete_folder_lacks(raw):
    (raw / "hosp" / "labevents.csv.gz").unlink()
    failed = {entry["check"]: entry["detail"] for entry in files.verify(RAW, raw) if not entry["passed"]}
    assert list(failed) == ["hosp/labevents.csv.gz", "files can be read"]
    assert "not in" in failed["hosp/labevents.csv.gz"]
    assert "needs hosp/labevents.csv.gz or hosp/labevents.csv" in failed["files can be read"]


def test_verify_names_a_file_that_is_read_though_the_copy_was_not_made_of_it(raw):
    packed = raw / "hosp" / "patients.csv.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    found = {entry["check"]: entry for entry in files.verify(RAW, raw)}
    assert "the prepared copy was made of it" in found["hosp/patients.csv.gz"]["detail"]
    assert not found["hosp/patients.csv.gz"]["passed"]
    assert "the prepared copy was not made of it" in found["hosp/patients.csv"]["detail"]
    assert found["files read again"]["passed"]


def test_verify_without_a_copy_reads_the_files_alone(raw):
    assert [entry["check"] for entry in files.verify("mimic-iv[origin=raw,notes=0]", raw)] == ["files can be read"]
    (raw / "hosp" / "patients.csv.gz").unlink()
    with pytest.raises(UsageError, match=r"nothing to verify: mimic-iv\[origin=raw,notes=0\] needs hosp/patients\.csv\.gz or"):
        files.verify("mimic-iv[origin=raw,notes=0]", raw)
    with pytest.raises(UsageError, match=r"nothing to verify: mimic-iv is not in .*raw tables\. Complete"):
        files.verify("mimic-iv", raw)


def test_verify_of_a_copy_far_from_its_files_checks_it_alone(raw):
    found = files.verify(RAW)
    assert [entry["check"] for entry in found] == ["prepared copy", "fingerprint", "files"]
    assert "so the prepared copy alone was checked" in found[-1]["detail"]


def test_verify_asks_a_plugin_for_its_sources(root, tmp_path):
    """One that overrides `sources` alone, and lists no file of these options in `files`."""
    (tmp_path / "plugin.py").write_text(PLUGIN, encoding="utf-8")
    name = f"{tmp_path / 'plugin.py'}:Rows[form=long]"
    (root / "rows").mkdir()
    (root / "rows" / "long.txt").write_text("1 0 1 0", encoding="utf-8")
    files.prepare(name)
    assert [entry["check"] for entry in files.verify(name)] == ["prepared copy", "fingerprint", "long.txt", "files read again"]
    (root / "rows" / "long.txt").write_text("0 1 0 1", encoding="utf-8")
    assert [entry["check"] for entry in files.verify(name) if not entry["passed"]] == ["long.txt", "files read again"]


PLUGIN = """
import numpy as np

from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset


class Rows(FileDataset):
    name = folder = "rows"
    files = ("short.txt",)
    options = {"form": "short"}

    def sources(self, folder):
        path = folder / f"{self.form}.txt"
        if not path.is_file():
            raise DataError(f"rows needs {path}")
        return [path]

    def read(self, folder, report):
        target = np.array(self.sources(folder)[0].read_text().split(), dtype=np.int64)
        schema = Schema((Modality("number", "N", "vector", (1,)),), ("no", "yes"))
        values = {"number": np.ones((len(target), 1), dtype=np.float32)}
        return Samples(schema, values, np.ones((len(target), 1), bool), target, np.arange(len(target)).astype(str))
"""


# data root


@pytest.mark.slow
def test_data_root_option_reaches_this_command_and_its_trials(root, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    words = ("--datasets", "uci-heart", "--methods", "constant", "--protocols", "natural", "--seeds", "0", "--epochs", "1")
    assert "uci-heart is not here" in bench("run", *words, "--out", tmp_path / "runs", code=2).stderr
    bench("run", *words, "--out", tmp_path / "runs", "--data-root", root, "-q")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    write_heart(tmp_path / "other" / "uci_heart", rows=20)
    found = json.loads(bench("run", *words, "--out", tmp_path / "runs", "--data-root", tmp_path / "other", "--json", "-q").stdout)
    assert [trial["status"] for trial in found["trials"]] == ["done"]  # though the fork server has seen the first root
    assert len({line for line in bench("show", "--out", tmp_path / "runs").stdout.splitlines() if "constant" in line}) == 2


def test_list_tells_absent_datasets_without_failing(root, monkeypatch):
    rows = {row["name"]: row for row in json.loads(bench("list", "datasets", "--json").stdout)}
    assert rows["uci-heart"]["here"]
    assert rows["uci-heart"]["samples"] == 48
    assert not rows["support2"]["here"]
    assert rows["support2"]["samples"] is None
    assert rows["digits"]["here"]
    page = bench("list", "datasets").stdout
    assert "not here: support2, three-sources" in page
    assert "bench data status" in page


def test_list_reads_a_prepared_copy_by_its_description_alone(root, monkeypatch):
    files.prepare("uci-heart")
    expected = card.outline("uci-heart")
    monkeypatch.setattr(UciHeart, "load", lambda self: pytest.fail("the samples were read"))
    assert card.outline("uci-heart") == expected
    assert expected["modalities"].startswith("H history vector 6, B blood vector 2")


# card


def test_card_counts_what_is_observed(root):
    found = card.card("uci-heart")
    assert found.samples == 48
    assert found.classes == {"healthy": 24, "diseased": 24}
    assert found.groups == 4
    assert [(c.combination, c.samples) for c in found.combinations] == [("HBRE", 24), ("HBREI", 12), ("HREI", 12)]
    assert all(sum(c.classes) == c.samples for c in found.combinations)
    shares = {m.letter: m.missing for m in found.modalities}
    assert shares == {"H": 0, "B": 0.25, "R": 0, "E": 0, "I": 0.5}
    assert found.missing == pytest.approx(0.15)
    assert found.little.patterns == 3
    assert 0 <= found.mask.low <= found.mask.auroc <= found.mask.high <= 1
    assert found.single_values is not None
    assert found.fingerprint == UciHeart().load().fingerprint()


def test_card_as_json_names_what_there_is_alone(root):
    found = card.card("uci-heart")
    shape = found.as_json()
    assert list(shape["single_values"]) == ["indicators", "auroc", "low", "high"]
    assert shape["single_values"]["indicators"] == found.indicators
    assert "indicators" not in shape
    assert "steps" not in shape["modalities"][0]
    assert card.card("breast-cancer").as_json()["single_values"] is None
    steps = replace(found, modalities=(replace(found.modalities[0], steps=card.Steps(3.0, 7)),)).as_json()["modalities"][0]["steps"]
    assert steps == {"median": 3.0, "longest": 7}


def test_card_states_the_facts_of_the_file(root):
    facts = card.card("uci-heart").facts
    assert {"Source", "Licence", "Sizes", "Modalities", "Missing", "Split", "Obtain", "Terms"} <= set(facts)
    assert facts["Licence"].startswith("CC BY 4.0")
    assert "\n" not in "".join(facts.values())


def test_split_is_named_after_its_author_with_parts_in_order(root, raw):
    found = card.card(RAW)
    assert found.split_kind == "fixed"
    assert list(found.split.items()) == [("train", 28), ("valid", 5), ("test", 6)]
    assert ", fixed split train 28, valid 5, test 6." in card.page(found)
    assert list(found.as_json()["split"]) == ["train", "valid", "test"]
    assert card.card("uci-heart").split_kind is None


def test_split_of_other_authors_is_theirs(root, fixtures):
    fixtures.write_enrico(root / "enrico", 42)
    fixtures.write_adni(root / "adni", "npz")
    fixtures.write_cmu_mosi(root / "cmu_mosi")
    kinds = {name: card.card(name).split_kind for name in ("enrico[size=32x16,split=multibench]", "enrico[size=32x16]", "adni", "cmu-mosi")}
    assert list(kinds.values()) == ["MultiBench", None, "Flex-MoE", "official"]
    assert ", MultiBench split train " in card.page(card.card("enrico[size=32x16,split=multibench]"))


def test_page_is_rendered_from_the_card_and_twice_alike(root):
    page = card.page(card.card("uci-heart"))
    assert page == card.page(card.card("uci-heart"))
    assert page.startswith("# uci-heart\n\nHeart disease at four hospitals")
    assert "| HBREI      | 12        | 25.0 %" in page
    assert "AUROC" in page
    assert "chi-square" in page
    assert page.endswith(f"`{card.card('uci-heart').fingerprint}`.\n")


def test_data_without_gaps_say_so():
    found = card.card("breast-cancer")
    assert found.little is None
    assert found.mask is None
    page = card.page(found)
    assert "no natural gaps" in page
    assert "What the gaps say" not in page


def test_card_tells_single_values_from_whole_modalities(root, monkeypatch):
    samples = UciHeart().load()
    samples.values["rest"][:12, 0] = np.nan
    hidden = samples.observed.copy()
    monkeypatch.setattr(UciHeart, "load", lambda self: samples)
    found = card.card("uci-heart")
    assert next(m for m in found.modalities if m.letter == "R").single_values_missing == pytest.approx(12 / 48 / 4)
    assert (samples.observed == hidden).all()


def test_long_tables_of_combinations_are_cut_on_the_page_alone(root, monkeypatch):
    monkeypatch.setattr(card, "MOST_COMBINATIONS", 2)
    found = card.card("uci-heart")
    assert len(found.combinations) == 3
    assert "and 1 rarer ones" in card.page(found)


def test_card_command_wants_a_name(root):
    assert "name a dataset" in bench("data", "card", code=2).stderr
    assert json.loads(bench("data", "card", "uci-heart", "--json").stdout)[0]["samples"] == 48
    assert bench("data", "card", "uci-heart").stdout == card.page(card.card("uci-heart"))


def test_published_pages_are_checked_against_the_data(root, tmp_path):
    pages = tmp_path / "pages"
    written = json.loads(bench("data", "card", "--publish", pages, "--json").stdout)
    assert written == {"files": [str(pages / "uci-heart.md")]}
    (pages / "README.md").write_text("not a dataset")
    (pages / "support2.md").write_text("data that are not here")
    assert [entry["state"] for entry in json.loads(bench("data", "card", "--check", pages, "--json").stdout)] == ["not here", "ok"]
    (pages / "uci-heart.md").write_text("changed by hand")
    assert "stale     " in bench("data", "card", "--check", pages, code=1).stdout
    assert "holds no page of a dataset" in bench("data", "card", "--check", tmp_path, code=2).stderr


def test_pages_that_owners_forbid_are_not_published(root, tmp_path, monkeypatch):
    monkeypatch.setattr(UciHeart, "restricted", True)
    assert card.publishable() == []
    with pytest.raises(UsageError, match="a page about uci-heart may not be published: Name the principal"):
        card.publish(tmp_path / "pages", ["uci-heart"])
    assert not (tmp_path / "pages").exists()


@pytest.mark.slow
def test_committed_pages_follow_from_the_data(real_data):
    found = {Path(entry["page"]).stem: entry["state"] for entry in card.stale_pages(ROOT / "docs" / "data")}
    pages = ("av-digits", "eicu-demo", "mi-complications", "mosi-utterance", "mosi-utterance[split=standard]", "support2", "three-sources")
    assert found == dict.fromkeys((*pages, "uci-heart"), "ok")

"""datasets/mimic_iv.py and mimic_raw.py: who is in, what counts, and that nothing after the index time or outside train gets in."""

import gzip
import json
import re

import numpy as np
import pytest
import torch

from bench.datasets import mimic_raw
from bench.datasets.base import PARTS, DataError
from bench.datasets.files import spelled
from bench.datasets.mimic_iv import TABLES, MimicIv
from bench.datasets.mimic_raw import Means, choose_patients, code_values, fixed_split, lab_values, note_values


def quiet(*_):
    pass


def read(folder, **options):
    return MimicIv(**options).read(folder, quiet)


def edit(path, change):
    """Rewrite a table through a function of its lines."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress(("\n".join(change(lines)) + "\n").encode()))


@pytest.fixture
def prepared(tmp_path, fixtures):
    return fixtures.write_mimic_iv(tmp_path / "mimic")


@pytest.fixture(scope="module")
def raw(tmp_path_factory, fixtures):
    return fixtures.write_mimic_iv(tmp_path_factory.mktemp("raw"), "raw")


@pytest.fixture
def raw_copy(tmp_path, fixtures):
    return fixtures.write_mimic_iv(tmp_path / "raw", "raw")


@pytest.fixture(scope="module")
def samples(raw):
    return read(raw, origin="raw")


@pytest.fixture(scope="module")
def cohort(raw):
    return choose_patients(raw / "hosp" / "admissions.csv.gz", raw / "hosp" / "patients.csv.gz")


# Preprocessed


def test_rows_without_anything_do_not_observe_the_modality(prepared):
    samples = read(prepared)
    row = (samples.ids.astype(int) - 10_000_000) // 7
    assert samples.schema.combination == "LNC"
    assert np.array_equal(samples.observed, np.stack([row % 10 != 0, row % 10 != 1, row % 10 != 2], axis=1))


def test_rows_follow_the_label_table_and_its_split(prepared):
    samples = read(prepared)
    lab = torch.load(prepared / "lab_x.pt", weights_only=True).numpy()
    row = (samples.ids.astype(int) - 10_000_000) // 7
    seen = samples.observed[:, 0]
    assert np.array_equal(samples.values["lab"][seen], lab[row[seen]].astype(np.float32))
    assert np.array_equal(samples.target, row % 4 == 0)
    split = json.loads((prepared / "PTID_splits_mimic.json").read_text(encoding="utf-8"))
    assert set(samples.ids[samples.split == "valid"]) == set(map(str, split["validation"]))


def resave(name, change):
    def damage(folder):
        torch.save(change(torch.zeros(80, 5) + torch.arange(5.0)), folder / name)

    return damage


def rewrite(name, old, new):
    def damage(folder):
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def resplit(**lists):
    def damage(folder):
        path = folder / "PTID_splits_mimic.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | lists), encoding="utf-8")

    return damage


def cut(folder):
    data = (folder / "note_x.pt").read_bytes()
    (folder / "note_x.pt").write_bytes(data[: len(data) // 2])


DAMAGE = {
    "rows": (resave("lab_x.pt", lambda x: x[1:]), r"lab_x\.pt must hold 80 rows of numbers"),
    "rank": (resave("code_x.pt", lambda x: x[0]), r"code_x\.pt must hold 80 rows"),
    "infinite": (resave("lab_x.pt", lambda x: x + torch.inf), r"lab_x\.pt holds an infinite number in row 0"),
    "all-zero": (resave("note_x.pt", lambda x: x * 0), r"note_x\.pt is zero in every row"),
    "dictionary": (resave("note_x.pt", lambda x: {"x": x}), "holds a dict"),
    "cut": (cut, r"note_x\.pt is refused"),
    "label": (rewrite("labels.csv", ",1\n", ",2\n"), "one_year_mortality must be one of 0, 1"),
    "no-label": (rewrite("labels.csv", ",1\n", ",\n"), "one_year_mortality must be 0 or 1, got none"),
    "column": (rewrite("labels.csv", "subject_id", "PTID"), "no column 'subject_id'"),
    "twice": (rewrite("labels.csv", "10000007,", "10000000,"), "comes twice"),
    "overlap": (resplit(testing=[10_000_000], training=[10_000_000]), "into train and into test"),
    "strangers": (resplit(training=[1]), "no subject_id of labels.csv is in the train part"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_preprocessed_files_are_refused(prepared, damage, reason):
    damage(prepared)
    with pytest.raises(DataError, match=reason):
        read(prepared)


# Raw: cohort and label


def test_patients_with_one_admission_left_are_not_in_the_cohort(cohort):
    assert 10_000_001 not in cohort.subjects
    assert len(cohort) == 79


def test_index_time_is_the_last_discharge_alive(cohort):
    row = cohort.subjects.tolist().index(10_000_002)  # dies in a third stay, on day 60
    assert cohort.index_time[row] == np.datetime64("2150-01-01T12:00:00") + np.timedelta64(6 + 40, "D")
    assert len(cohort.admissions) == 2 * len(cohort)


def test_label_is_death_within_a_year_of_the_index_time(cohort):
    died = (cohort.subjects % 4 == 0) | (cohort.subjects == 10_000_002)
    assert np.array_equal(cohort.target, died)


@pytest.mark.parametrize(("days", "target"), [(0, 1), (365, 1), (366, 0)], ids=["same-day", "last-day", "a-day-later"])
def test_horizon_is_365_days(raw_copy, days, target):
    edit(
        raw_copy / "hosp" / "patients.csv.gz",
        lambda lines: [
            line[: line.rfind(",") + 1] + str(np.datetime64("2150-01-01") + 7 * 3 + 40 + days) if line.startswith("10000007") else line
            for line in lines
        ],
    )
    cohort = choose_patients(raw_copy / "hosp" / "admissions.csv.gz", raw_copy / "hosp" / "patients.csv.gz")
    assert cohort.target[cohort.subjects == 10_000_007] == target


def test_patient_who_died_before_leaving_is_dropped(raw_copy):
    edit(
        raw_copy / "hosp" / "patients.csv.gz",
        lambda lines: [line[: line.rfind(",") + 1] + "2150-01-02" if line.startswith("10000007") else line for line in lines],
    )
    cohort = choose_patients(raw_copy / "hosp" / "admissions.csv.gz", raw_copy / "hosp" / "patients.csv.gz")
    assert 10_000_007 not in cohort.subjects


def test_death_in_hospital_counts_where_dod_is_empty(raw_copy):
    edit(
        raw_copy / "hosp" / "patients.csv.gz",
        lambda lines: [line[: line.rfind(",") + 1] if line.startswith("10000002") else line for line in lines],
    )
    cohort = choose_patients(raw_copy / "hosp" / "admissions.csv.gz", raw_copy / "hosp" / "patients.csv.gz")
    assert cohort.target[cohort.subjects == 10_000_002] == 1


def test_split_is_fixed_stratified_and_does_not_depend_on_order():
    subjects, target = np.arange(1000), (np.arange(1000) % 5 == 0).astype(int)
    split, order = fixed_split(subjects, target), np.random.default_rng(0).permutation(1000)
    assert np.array_equal(fixed_split(subjects[order], target[order]), split[order])
    assert [((split == part) & (target == 1)).sum() for part in ("train", "valid", "test")] == [140, 30, 30]
    assert split[:6].tolist() == fixed_split(subjects, target)[:6].tolist()


# Raw: what is observed


def test_gaps_are_patients_without_rows(samples):
    missing = {
        name: set(samples.ids[~samples.observed[:, position]].astype(int) - 10_000_000)
        for position, name in enumerate(("lab", "note", "code"))
    }
    assert missing == {"lab": {5}, "note": {3}, "code": {6}}


def test_laboratory_value_is_the_mean_up_to_the_index_time(raw, cohort):
    values = lab_values(cohort, raw / "hosp" / "labevents.csv.gz", 256, quiet)
    lines = [line.split(",") for line in gzip.decompress((raw / "hosp" / "labevents.csv.gz").read_bytes()).decode().splitlines()[1:]]
    seen = [float(cells[9]) for cells in lines if cells[1] == "10000000" and cells[4] == "50912" and cells[9] and "Z" not in cells[6]]
    in_time = [number for number in seen if number < 80_000]
    assert len(in_time) == 2
    items = sorted({cells[4] for cells in lines})
    assert np.isclose(values[0, items.index("50912")], np.mean(in_time))
    assert np.nanmax(values) < 80_000  # 88888 is stored, 99999 drawn after the index time


def test_item_without_a_store_time_column_is_read_by_draw_time(raw_copy, cohort):
    edit(raw_copy / "hosp" / "labevents.csv.gz", lambda lines: [lines[0].replace("storetime", "other"), *lines[1:]])
    assert np.nanmax(lab_values(cohort, raw_copy / "hosp" / "labevents.csv.gz", 256, quiet)) > 10_000


def test_words_and_codes_from_after_the_index_time_change_nothing(raw_copy, samples):
    late = ("telltale", "addendum", ",LATE,", ",99999,", ",88888,")
    for path in raw_copy.rglob("*.csv.gz"):
        edit(path, lambda lines: [line for line in lines if not any(word in line for word in late)])
    assert read(raw_copy, origin="raw").fingerprint() == samples.fingerprint()


def test_last_discharge_summary_is_the_note(raw_copy, cohort):
    before = note_values(cohort, raw_copy / "note" / "discharge.csv.gz", 512, quiet)
    edit(raw_copy / "note" / "discharge.csv.gz", lambda lines: [line.replace("stay 0", "zebra") for line in lines])
    assert np.array_equal(before, note_values(cohort, raw_copy / "note" / "discharge.csv.gz", 512, quiet), equal_nan=True)


def test_test_rows_never_choose_features_or_weights(raw_copy, cohort):
    """Other words, codes and items in the other two parts leave every training value as it is."""
    others = set(cohort.subjects[cohort.split != "train"].astype(str))

    def of_test(line, column):
        cells = line.split(",")
        return len(cells) > column and cells[column] in others

    paths = {name: raw_copy / f"{name}.csv.gz" for name in TABLES}
    train = cohort.is_train

    def values():
        return (
            lab_values(cohort, paths["hosp/labevents"], 1, quiet)[train],
            note_values(cohort, paths["note/discharge"], 4, quiet)[train],
            code_values(cohort, paths["hosp/diagnoses_icd"], paths["hosp/procedures_icd"], False, 4)[train],
        )

    before = values()
    edit(paths["hosp/labevents"], lambda lines: [line.replace(",50912,", ",59999,") if of_test(line, 1) else line for line in lines])
    edit(paths["hosp/diagnoses_icd"], lambda lines: [line.replace(",25000,", ",99999,") if of_test(line, 0) else line for line in lines])
    edit(
        paths["note/discharge"],  # the words stand in the line after the one that names the patient
        lambda lines: [
            line.replace("Discharge", "Zebra zebra") if number and of_test(lines[number - 1], 1) else line
            for number, line in enumerate(lines)
        ],
    )
    for old, new in zip(before, values(), strict=True):
        assert np.array_equal(old, new, equal_nan=True)


def test_codes_carry_their_kind_and_version(raw, cohort):
    files = raw / "hosp" / "diagnoses_icd.csv.gz", raw / "hosp" / "procedures_icd.csv.gz"
    both = code_values(cohort, *files, False, 512)
    nine = code_values(cohort, *files, True, 512)
    assert both.shape[1] == nine.shape[1] + 1  # E119 is ICD-10
    assert set(np.unique(both[np.isfinite(both)])) == {0, 1}


def test_commonest_features_are_kept(raw, cohort):
    files = raw / "hosp" / "diagnoses_icd.csv.gz", raw / "hosp" / "procedures_icd.csv.gz"
    three = code_values(cohort, *files, False, 3)
    assert three.shape[1] == 3
    assert (np.nanmean(three, axis=0) == 1).all()  # 25000, E119 and 3995 are of everyone
    assert lab_values(cohort, raw / "hosp" / "labevents.csv.gz", 2, quiet).shape[1] == 2


def test_size_of_the_pieces_does_not_matter(raw, samples, monkeypatch):
    monkeypatch.setattr(mimic_raw, "ROWS", 7)
    monkeypatch.setattr(mimic_raw, "NOTES", 3)
    monkeypatch.setattr(mimic_raw, "PENDING", 20)
    assert read(raw, origin="raw").fingerprint() == samples.fingerprint()


def test_order_of_rows_does_not_matter(raw_copy, samples, monkeypatch):
    monkeypatch.setattr(mimic_raw, "NOTES", 3)
    rng = np.random.default_rng(0)
    for name in ("hosp/labevents", "hosp/diagnoses_icd", "hosp/patients", "hosp/admissions"):
        edit(raw_copy / f"{name}.csv.gz", lambda lines: [lines[0], *rng.permutation(lines[1:])])
    edit(raw_copy / "note" / "discharge.csv.gz", lambda lines: [lines[0], *re.split(r"\n(?=\d{8}-)", "\n".join(lines[1:]))[::-1]])
    again = read(raw_copy, origin="raw")
    assert np.allclose(again.values["lab"], samples.values["lab"], equal_nan=True)
    for name in ("note", "code"):
        assert np.array_equal(again.values[name], samples.values[name], equal_nan=True)


def test_plain_tables_read_as_packed_ones_do(raw_copy, samples):
    for path in raw_copy.rglob("*.csv.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert read(raw_copy, origin="raw").fingerprint() == samples.fingerprint()


def test_means_agree_with_plain_ones(monkeypatch):
    monkeypatch.setattr(mimic_raw, "PENDING", 10)
    rng, means = np.random.default_rng(0), Means()
    rows, items, values = rng.integers(0, 4, 200), rng.integers(0, 3, 200), rng.normal(size=200)
    for part in np.array_split(np.arange(200), 17):
        means.add(rows[part], items[part], values[part])
    for row, item, mean in zip(*means.means(), strict=True):
        assert np.isclose(mean, values[(rows == row) & (items == item)].mean())


RAW_DAMAGE = {
    "hosp/admissions": [
        (lambda lines: [lines[0], lines[1], *lines[1:]], "hadm_id 20000000 twice"),
        (
            lambda lines: [line.replace("2150-", "last year ") for line in lines],
            r"admissions\.csv\.gz line 2: dischtime must read 2180-05-07 or 2180-05-07 13:30:00, got 'last year",
        ),
        (lambda lines: [*lines[:3], lines[3][:-1] + "2", *lines[4:]], "line 4: hospital_expire_flag must be 0 or 1, got '2.0'"),
        (lambda lines: [lines[0].replace("deathtime", "died"), *lines[1:]], "no column deathtime"),
        (lambda lines: lines[:3], "leaves 1 patients|lacks a class"),
    ],
    "hosp/patients": [
        (lambda lines: [lines[0], lines[1], *lines[1:]], "subject_id 10000000 twice"),
        (lambda lines: [line for line in lines if "10000000" not in line], "are both of one version"),
        (lambda lines: [line.replace("F,60", "F") for line in lines[:2]] + lines[2:], "row 2, .* has 5 cells"),
        (lambda lines: [line.replace("2150-05-21", "54563") for line in lines], "line 2: dod must read .* got '54563'; a spreadsheet has"),
    ],
    "hosp/labevents": [
        (lambda lines: [line.replace("50912", "-5") for line in lines], r"line 2: itemid must be in \[0, 2\^31\), got '-5'"),
        (lambda lines: [*lines[:9], lines[9].replace(",7,", ",7,5.1E+04", 1), *lines[10:]], "line 10: itemid .* got '5.1E.*a spreadsheet"),
        (
            lambda lines: [*lines[:2], re.sub(r",-?\d\.\d+,mg", ',"2,5",mg', lines[2]), *lines[3:]],
            "line 3: valuenum .* got '2,5'; a decimal",
        ),
        (lambda lines: [lines[0], lines[1].replace("12:00:00", "12:00", 1), *lines[2:]], "line 2: charttime must read"),
        (lambda lines: lines[:1], "no value of a training patient"),
        (
            lambda lines: [lines[0], "1,x" + lines[1][10:], *lines[2:]],
            r"labevents\.csv\.gz line 2: subject_id must be a whole number, got 'x'",
        ),
    ],
    "hosp/diagnoses_icd": [
        (lambda lines: [*lines, "1,2"], "has 2 cells, the header 5"),
        (lambda lines: [lines[0], lines[1][:-1] + "11", *lines[2:]], "line 2: icd_version must be 9 or 10, got '11'"),
    ],
    "hosp/procedures_icd": [
        (
            lambda lines: [*lines[:2], re.sub(r"(\d{4})-(\d\d)-(\d\d)", r"\2/\3/\1", lines[2]), *lines[3:]],
            r"procedures_icd\.csv\.gz line 3: chartdate must .* got '\d\d/\d\d/2150'; a spreadsheet has rewritten the file, get it anew$",
        ),
    ],
    "note/discharge": [
        (lambda lines: lines[:1], "no discharge summary of a training patient"),
        (lambda lines: [*lines[:-1], lines[-1] + '"'], r"discharge\.csv\.gz"),
        (lambda lines: [line.replace("20000010", "2.000001E+07") for line in lines], "line 10: hadm_id must be a whole number or empty"),
    ],
}
RAW_CASES = [(name, change, reason) for name, cases in RAW_DAMAGE.items() for change, reason in cases]


@pytest.mark.parametrize(
    ("name", "change", "reason"), RAW_CASES, ids=[f"{name.split('/')[1]}-{reason[:15]}" for name, _, reason in RAW_CASES]
)
def test_damaged_raw_tables_are_refused(raw_copy, name, change, reason):
    edit(raw_copy / f"{name}.csv.gz", change)
    with pytest.raises(DataError, match=reason):
        read(raw_copy, origin="raw")


@pytest.mark.parametrize("name", TABLES)
def test_absent_or_truncated_raw_table_is_named(raw_copy, name):
    path = raw_copy / f"{name}.csv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=path.name):
        read(raw_copy, origin="raw")
    path.unlink()
    with pytest.raises(DataError, match=rf"needs {name}\.csv\.gz or {name}\.csv .* physionet\.org"):
        MimicIv(origin="raw").sources(raw_copy)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"origin": "demo"}, "origin must be one of preprocessed, raw"), ({"labs": 9}, "go with origin=raw alone"),
        ({"origin": "raw", "notes": -1}, "notes must be a whole number"), ({"origin": "raw", "icd": 10}, "icd must be one of all, 9"),
        ({"notes": 0}, "notes say how raw files are read; .*combinations leave modalities out"),
        ({"origin": "raw", "labs": False}, "labs must be a whole number"),
        ({"origin": "raw", "labs": 0, "notes": 0, "codes": 0}, "one modality at least must stay"),
        ({"origin": "raw", "icd": 9, "codes": 0}, "icd=9 says which codes are kept"),
    ],
    ids=["origin", "labs", "notes", "icd", "preprocessed", "truth", "nothing", "icd-without-codes"],
)  # fmt: skip
def test_impossible_options_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        MimicIv(**options)


# Raw: modalities left out


LEFT_OUT = {
    "labs": ("NC", ("hosp/labevents",)),
    "notes": ("LC", ("note/discharge",)),
    "codes": ("LN", ("hosp/diagnoses_icd", "hosp/procedures_icd")),
}


@pytest.mark.parametrize(("count", "letters", "tables"), [(count, *rest) for count, rest in LEFT_OUT.items()], ids=LEFT_OUT)
def test_modality_of_0_features_is_left_out_with_its_tables(raw_copy, samples, count, letters, tables):
    for table in tables:
        (raw_copy / f"{table}.csv.gz").unlink()
    found, expected = read(raw_copy, origin="raw", **{count: 0}), samples.select(letters)
    expected = expected.rows(expected.observed.any(1))
    assert found.schema == expected.schema
    assert found.fingerprint() == expected.fingerprint()  # the others, the cohort and the split stay as they are


def test_absent_notes_say_how_to_go_on_without_them(raw_copy):
    (raw_copy / "note" / "discharge.csv.gz").unlink()
    with pytest.raises(DataError, match=r"demo has no notes: use mimic-iv\[origin=raw,labs=9,notes=0\]\. Complete"):
        read(raw_copy, origin="raw", labs=9)
    (raw_copy / "hosp" / "patients.csv.gz").unlink()
    with pytest.raises(DataError, match=r"patients\.csv .* neither is there\. Complete"):
        read(raw_copy, origin="raw", notes=0)


def test_dataset_is_spelled_as_one_asks_for_it():
    assert spelled(MimicIv()) == "mimic-iv"
    assert spelled(MimicIv(origin="raw", icd=9), notes=0) == "mimic-iv[origin=raw,icd=9,notes=0]"


def test_split_is_called_what_it_is():
    assert MimicIv().split_kind == "Flex-MoE"
    assert MimicIv(origin="raw").split_kind == "fixed"


# Raw: tables as they come


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
def test_tables_without_a_last_line_end_give_the_same_samples(raw_copy, samples, packed):
    for path in raw_copy.rglob("*.csv.gz"):
        text = gzip.decompress(path.read_bytes())
        assert text.endswith(b"\n")
        path.unlink()
        path.with_suffix(".gz" if packed else "").write_bytes(gzip.compress(text[:-1]) if packed else text[:-1])
    assert read(raw_copy, origin="raw").fingerprint() == samples.fingerprint()


def test_times_and_dates_may_stand_in_one_column(raw_copy, samples):
    def shorter(lines):
        return [
            re.sub(r"(\d{4}-\d\d-\d\d) 12:00:00(,[^,]*,\w*,0)$", r"\1\2", line) if number % 2 else line for number, line in enumerate(lines)
        ]

    edit(raw_copy / "hosp" / "admissions.csv.gz", shorter)
    cohort = choose_patients(raw_copy / "hosp" / "admissions.csv.gz", raw_copy / "hosp" / "patients.csv.gz")
    assert {str(time)[11:] for time in cohort.index_time} == {"12:00:00", "00:00:00"}
    assert len(cohort) == len(samples)


# The open demo, version 2.2: 100 real patients


@pytest.fixture
def demo(real_data, tmp_path):
    """The demo's tables with a laboratory table of our own. Of the procedures the copy with ISO dates is taken, whose first and last line
    are no rows: the other was saved by a spreadsheet."""
    folder = real_data / "mimic_iv_demo"
    if not folder.is_dir():
        pytest.skip(f"the open demo of MIMIC-IV is not in {real_data}")
    (tmp_path / "hosp").mkdir()
    for table in ("admissions", "patients", "diagnoses_icd"):
        (tmp_path / "hosp" / f"{table}.csv").write_bytes((folder / "hosp" / f"{table}.csv").read_bytes())
    _, *rows, header = (folder / "flat_procedures_icd.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "hosp" / "procedures_icd.csv").write_text("\n".join([header, *rows]), encoding="utf-8")
    lines = ["subject_id,itemid,charttime,storetime,valuenum"]
    for row, line in enumerate((folder / "hosp" / "admissions.csv").read_text(encoding="utf-8").splitlines()[1:]):
        subject, _, admitted, *_ = line.split(",")
        lines += [f"{subject},{50912 + item},{admitted},{admitted},{row % 7 + item}" for item in range(3)]
    (tmp_path / "hosp" / "labevents.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_demo_runs_the_whole_raw_path(demo, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(demo / "root"))
    dataset = MimicIv(origin="raw", notes=0)
    dataset.prepare(demo)
    samples = dataset.load()
    assert samples.schema.combination == "LC"
    assert samples.fingerprint() == dataset.read(demo, quiet).fingerprint()
    assert len(samples) == 42
    assert samples.target.sum() == 14
    assert samples.observed.all()
    assert samples.schema.modalities[0].shape == (3,)
    assert [[(samples.target[samples.split == part] == code).sum() for part in PARTS] for code in (0, 1)] == [[20, 4, 4], [10, 2, 2]]


def test_demo_says_what_it_lacks_and_what_a_spreadsheet_did(demo, real_data):
    with pytest.raises(DataError, match=r"demo has no notes: use mimic-iv\[origin=raw,notes=0\]"):
        read(demo, origin="raw")
    rewritten = real_data / "mimic_iv_demo" / "hosp" / "procedures_icd.csv"
    (demo / "hosp" / "procedures_icd.csv").write_bytes(rewritten.read_bytes())
    with pytest.raises(DataError, match=r"procedures_icd\.csv line 2: chartdate must read .* got '5/7/2180'; a spreadsheet has rewritten"):
        read(demo, origin="raw", notes=0)

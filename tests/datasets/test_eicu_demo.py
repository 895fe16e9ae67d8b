"""datasets/eicu_demo.py: only the first day is read, -1 is missing, paths are learnt; on small tables, and on the real ones."""

import csv
import gzip

import numpy as np
import pytest

from bench.data.grammar import parse_protocol
from bench.data.parts import build_parts, split_rows
from bench.datasets.base import DataError
from bench.datasets.eicu_demo import BACKGROUND, ENTERED, LEAKY, MEASURED, TABLES, EicuDemo

MEASURES = [column for _, columns in MEASURED.values() for column in columns]
PATIENT = {
    "patientunitstayid": "1", "uniquepid": "p-1", "hospitaldischargestatus": "Alive", "age": "70", "admissionheight": "170.5",
    "admissionweight": "80", "gender": "Male", "ethnicity": "Caucasian", "unittype": "MICU", "unitstaytype": "admit",
    "unitadmitsource": "Floor", **dict.fromkeys(LEAKY, "9"),
}  # fmt: skip
PATIENTS = (
    {"patientunitstayid": "11", "uniquepid": "p-1"},
    {"patientunitstayid": "12", "uniquepid": "p-1", "hospitaldischargestatus": "Expired", "age": "> 89", "gender": ""},
    {"patientunitstayid": "13", "uniquepid": "p-2", "hospitaldischargestatus": ""},
    {"patientunitstayid": "14", "uniquepid": "p-3", "admissionweight": "", "unittype": "SICU"},
)
MEASURED_STAYS = (
    {"patientunitstayid": "14", **dict.fromkeys(MEASURES, "-1.0"), "heartrate": "88.0", "ph": "7.3"},
    {"patientunitstayid": "12", **dict.fromkeys(MEASURES, "5"), "wbc": "-1"},
)
ENTRIES = {  # table: (stay, minute, path)
    "admissiondx": [(11, 0, "dx|a"), (11, 0, "dx|b"), (14, 1440, "dx|b"), (14, 1441, "dx|late"), (13, 0, "dx|unlabelled")],
    "pasthistory": [(12, -30, "notes/x"), (12, 9, "notes/x")],
    "physicalexam": [(12, 5, "exam/x"), (14, 7, "exam/y, left"), (99, 7, "exam/of-nobody")],
    "treatment": [(11, 9000, "t|late"), (14, 30, "t|a")],
}


def save(path, rows):
    columns = list(rows[0])
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def entered(table, rows):
    _, _, path, minute = next(row for row in ENTERED.values() if row[1] == table)
    return [{"patientunitstayid": stay, minute: when, path: text, "activeupondischarge": "True"} for stay, when, text in rows]


def write(folder, patients=PATIENTS, measured=MEASURED_STAYS, names=None, **entries):
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"patient": [{**PATIENT, **patient} for patient in patients], "apacheapsvar": measured}
    tables |= {table: entered(table, rows) for table, rows in {**ENTRIES, **entries}.items()}
    for table, rows in tables.items():
        save(folder / f"{(names or {}).get(table, table)}.csv.gz", rows)
    return folder


def read(folder, **options):
    return EicuDemo(**options).read(folder, lambda *_: None)


def test_stays_without_an_outcome_are_dropped_and_groups_are_patients(tmp_path):
    samples = read(write(tmp_path))
    assert samples.ids.tolist() == ["stay-11", "stay-12", "stay-14"]
    assert samples.target.tolist() == [0, 1, 0]
    assert samples.groups.tolist() == ["p-1", "p-1", "p-3"]


def test_background_is_numbers_and_fixed_categories(tmp_path):
    background = read(write(tmp_path)).values["background"]
    assert background.shape == (3, 36)
    assert background[0, :3].tolist() == [70, 170.5, 80]
    assert background[1, 0] == 90  # "> 89"
    assert np.isnan(background[2, 2])
    assert background[0, 3:5].tolist() == [0, 1]
    assert np.isnan(background[1, 3:5]).all()


def test_minus_one_and_an_absent_row_are_missing(tmp_path):
    samples = read(write(tmp_path))
    seen = {name: samples.observed[:, samples.schema.names.index(name)].tolist() for name in MEASURED}
    assert seen == {"vitals": [False, True, True], "labs": [False, True, False], "blood-gas": [False, True, True]}
    assert samples.values["vitals"][1].tolist() == [5] * 9
    assert np.isnan(samples.values["vitals"][2]).tolist() == [column != "heartrate" for column in MEASURED["vitals"][1]]
    assert np.isnan(samples.values["labs"][1]).tolist() == [True] + [False] * 7


def test_only_entries_of_the_first_day_of_a_labelled_stay_are_read(tmp_path):
    samples = read(write(tmp_path))
    assert samples.schema.combination == "BVLGDHET"
    np.testing.assert_array_equal(samples.values["admission"], [[1, 1], [np.nan] * 2, [0, 1]])  # dx|a, dx|b
    np.testing.assert_array_equal(samples.values["history"], [[np.nan], [1], [np.nan]])
    np.testing.assert_array_equal(samples.values["examination"], [[np.nan] * 2, [1, 0], [0, 1]])
    np.testing.assert_array_equal(samples.values["treatment"], [[np.nan], [np.nan], [1]])
    assert samples.observed[:, 4:].tolist() == [[True, False, False, False], [False, True, True, False], [True, False, True, True]]


def test_what_tells_the_outcome_changes_nothing(tmp_path):
    assert not set(LEAKY) & {*BACKGROUND}
    plain = read(write(tmp_path / "plain"))
    changed = [{**patient, **dict.fromkeys(LEAKY, "77")} for patient in PATIENTS]
    late = {"treatment": [*ENTRIES["treatment"], (11, 1441, "t|very late"), (13, 0, "t|unlabelled")]}
    assert read(write(tmp_path / "changed", changed, **late)).fingerprint() == plain.fingerprint()


def test_names_as_physionet_writes_them_are_read_too(tmp_path, monkeypatch):
    names = {"apacheapsvar": "apacheApsVar", "admissiondx": "admissionDx", "pasthistory": "pastHistory", "physicalexam": "physicalExam"}
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    write(tmp_path / "eicu_demo", names=names)
    assert EicuDemo().is_here
    assert EicuDemo().load().fingerprint() == read(write(tmp_path / "plain")).fingerprint()
    plain = tmp_path / "eicu_demo" / "treatment.csv"
    plain.write_bytes(gzip.decompress((tmp_path / "eicu_demo" / "treatment.csv.gz").read_bytes()))
    (tmp_path / "eicu_demo" / "treatment.csv.gz").unlink()
    assert EicuDemo().load().fingerprint() == read(tmp_path / "plain").fingerprint()
    plain.unlink()
    assert not EicuDemo().is_here
    with pytest.raises(DataError, match=r"needs treatment\.csv\.gz or treatment\.csv in .*physionet\.org/content/eicu-crd-demo"):
        EicuDemo().load()


def test_paths_are_those_that_most_training_stays_have(tmp_path):
    dataset = EicuDemo(admission=1, examination=1)
    samples = dataset.read(write(tmp_path), lambda *_: None)
    made = dataset.learn(samples.rows(np.array([0, 2])))(samples)
    assert [m.shape[0] for m in made.schema] == [36, 9, 8, 4, 1, 1, 1, 1]
    np.testing.assert_array_equal(made.values["admission"], [[1], [np.nan], [1]])  # dx|b
    np.testing.assert_array_equal(made.values["examination"], [[np.nan], [0], [1]])  # the path of stay 14: seen, and none of it kept
    assert dataset.learn(samples.select("BD"))(samples.select("BD")).values["admission"].shape == (3, 1)
    assert dataset.learn(samples.select("B"))(samples.select("B")).schema == samples.select("B").schema


@pytest.mark.parametrize("option", ["admission", "history", "examination", "treatment"])
def test_sizes_are_checked(option):
    with pytest.raises(ValueError, match=f"{option} must be a whole number from 1"):
        EicuDemo(**{option: 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patients": [*PATIENTS, {"patientunitstayid": "11"}]}, r"patient\.csv\.gz line 6: patientunitstayid '11' comes twice"),
        ({"patients": [{"gender": "M"}]}, r"patient\.csv\.gz line 2: gender must be one of Female, Male or empty, got 'M'"),
        ({"patients": [{"age": "90+"}]}, r"patient\.csv\.gz line 2: age must be a finite number or empty, got '90\+'"),
        ({"patients": [{"hospitaldischargestatus": "Dead"}]}, r"dischargestatus must be one of Alive, Expired or empty, got 'Dead'"),
        ({"patients": PATIENTS[:1]}, r"hospitaldischargestatus must be Alive of some stays and Expired of others"),
        ({"patients": [{"uniquepid": ""}]}, r"patient\.csv\.gz line 2: uniquepid, the patient of a stay, is empty"),
        ({"patients": [{"patientunitstayid": "1.5"}]}, r"patient\.csv\.gz line 2: patientunitstayid must be a whole number, got '1\.5'"),
        ({"measured": [*MEASURED_STAYS, MEASURED_STAYS[0]]}, r"apacheapsvar\.csv\.gz line 4: patientunitstayid '14' comes twice"),
        ({"measured": [{**MEASURED_STAYS[0], "ph": "seven"}]}, r"apacheapsvar\.csv\.gz line 2: ph must be a finite number"),
        ({"treatment": [(11, 9000, "t|late")]}, r"treatment\.csv\.gz has no entry of a first day"),
        ({"treatment": [(11, "soon", "t")]}, r"treatment\.csv\.gz"),
    ],
    ids=["stay-twice", "category", "age", "label", "one-outcome", "nobody", "half-stay", "measured-twice", "text", "late", "minute"],
)  # fmt: skip
def test_bad_table_is_named(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, **change))


@pytest.mark.parametrize("table", TABLES)
def test_table_cut_short_is_named(tmp_path, table):
    path = write(tmp_path) / f"{table}.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=rf"{table}\.csv\.gz"):
        read(tmp_path)


def test_table_without_rows_or_a_column_is_named(tmp_path):
    with gzip.open(write(tmp_path) / "patient.csv.gz", "wt") as stream:
        stream.write(",".join(PATIENT) + "\n")
    with pytest.raises(DataError, match=r"patient\.csv\.gz holds no rows"):
        read(tmp_path)
    save(tmp_path / "patient.csv.gz", [{key: value for key, value in PATIENT.items() if key != "uniquepid"}])
    with pytest.raises(DataError, match=r"patient\.csv\.gz .*has no column uniquepid"):
        read(tmp_path)


@pytest.mark.parametrize("file", [f"{table}.csv.gz" for table in TABLES])
def test_damage_of_any_kind_is_refused_or_harmless(tmp_path, survives, file):
    write(tmp_path)
    assert survives(tmp_path / file, lambda: read(tmp_path)) > 0


# the real tables


@pytest.fixture(scope="module")
def real_once():
    return {}


@pytest.fixture
def real(real_data, real_once):
    """Read once."""
    if not real_once:
        real_once["samples"] = read(real_data / "eicu_demo")
    return real_once["samples"]


def test_real_tables_are_what_the_page_says(real):
    assert np.bincount(real.target).tolist() == [2280, 212]
    assert len(np.unique(real.groups)) == 1820
    assert [m.shape[0] for m in real.schema] == [36, 9, 8, 4, 292, 190, 293, 1118]
    missing = dict(zip(real.schema.combination, (1 - real.observed.mean(0)).round(3).tolist(), strict=True))
    assert missing == {"B": 0, "V": 0.138, "L": 0.252, "G": 0.838, "D": 0.129, "H": 0.124, "E": 0.122, "T": 0.25}
    assert round(1 - real.observed.mean(), 3) == 0.232
    letters = np.array(list(real.schema.combination))
    patterns, counts = np.unique(real.observed, axis=0, return_counts=True)
    assert len(patterns) == 36
    found = {"".join(letters[row]): count for row, count in zip(patterns, counts.tolist(), strict=True)}
    assert (found["BVLDHET"], found["BVLGDHET"], found["B"]) == (1208, 329, 211)


def test_no_real_patient_is_in_two_parts(real):
    parts = [set(real.groups[rows]) for rows in split_rows(EicuDemo(), real, 0).values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1820


def test_real_paths_follow_from_the_split(real):
    seen = []
    for seed in (0, 1):
        parts = build_parts(EicuDemo(), real, "BVLGDHET", parse_protocol("natural"), seed, 0, "split")
        assert [m.shape[0] for m in parts.test.samples.schema] == [36, 9, 8, 4, 150, 100, 150, 150]
        seen.append(parts.learnt(parts.hider.samples.rows(np.arange(300))).values["treatment"])
    assert not np.array_equal(*seen, equal_nan=True)

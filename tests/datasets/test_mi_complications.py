"""datasets/mi_complications.py: the label, nine modalities and four, nothing from after admission; on small files and the real one."""

import numpy as np
import pytest

from bench.data.missingness import indicators, mask_score
from bench.datasets.base import DataError
from bench.datasets.mi_complications import COLUMNS, LABEL, LEAKY, NINE, VERSIONS, MiComplications

USED = [column for _, columns in NINE.values() for column in columns]
UNREAD = ("KFK_BLOOD",)
PATIENT = {column: str(number % 2) for number, column in enumerate(COLUMNS)} | {"AGE": "61", LABEL: "0"}


def write(folder, *patients):
    """A file in the form of MI.data: one row a patient, each given by what differs from PATIENT."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**PATIENT, "ID": str(number + 1), **patient} for number, patient in enumerate(patients)]
    (folder / "MI.data").write_text("".join(",".join(row[column] for column in COLUMNS) + "\n" for row in rows), encoding="utf-8")
    return folder


def read(folder, modalities="nine"):
    return MiComplications(modalities=modalities).read(folder, lambda *_: None)


def without(*modalities):
    return {column: "?" for name in modalities for column in NINE[name][1]}


def test_every_column_is_an_input_a_leak_the_label_or_the_id():
    assert len(COLUMNS) == len(set(COLUMNS)) == 124
    assert sorted(COLUMNS) == sorted(("ID", *USED, *LEAKY, *UNREAD, LABEL))
    four = [column for _, columns in VERSIONS["four"].values() for column in columns]
    assert set(four) == set(USED) - set(NINE["prehospital-drugs"][1]) - set(NINE["thrombolysis"][1])
    assert len(four) == len(set(four))


def test_what_comes_after_admission_changes_nothing(tmp_path):
    plain = read(write(tmp_path / "plain", {}, {LABEL: "1"}))
    late = dict.fromkeys((*LEAKY, *UNREAD), "7")
    assert read(write(tmp_path / "changed", late, {LABEL: "1", **late})).fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(("cause", "label"), [("0", 0), ("1", 1), ("7", 1)])
def test_label_is_death_whatever_the_cause(tmp_path, cause, label):
    assert read(write(tmp_path, {LABEL: cause})).target.tolist() == [label]


def test_modalities_go_missing_as_a_whole_and_single_values_are_nan(tmp_path):
    folder = write(tmp_path, without("unit-pressure", "serum"), {**without("prehospital-drugs"), "AGE": "?", "ROE": "?"})
    nine = read(folder)
    assert nine.schema.combination == "ASEBPMLHT"
    assert [m.shape[0] for m in nine.schema] == [33, 6, 31, 2, 2, 3, 6, 2, 8]
    assert nine.observed.astype(int).tolist() == [[1, 1, 1, 0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 0, 1, 1, 1]]
    assert np.isnan(nine.values["anamnesis"][1, 0])
    assert np.isnan(nine.values["haematology"][1]).tolist() == [False, True]
    four = read(folder, "four")
    assert four.schema.combination == "AECB"
    assert [m.shape[0] for m in four.schema] == [33, 31, 10, 8]
    assert four.observed.all()
    assert np.isnan(four.values["circulation"][0]).tolist() == [False] * 6 + [True] * 2 + [False] * 2  # state, unit, before hospital
    assert np.isnan(four.values["blood"][0]).tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize(
    ("patient", "message"),
    [
        ({"AGE": "old"}, r"MI\.data line 2: AGE must be a finite number, or '\?' where it is missing, got 'old'"),
        ({"K_BLOOD": "inf"}, r"MI\.data line 2: K_BLOOD must be a finite number"),
        ({"K_BLOOD": ""}, r"MI\.data line 2: K_BLOOD must be a finite number"),
        ({LABEL: "8"}, r"MI\.data line 2: LET_IS must be one of 0, 1, 2"),
        ({LABEL: "?"}, r"MI\.data line 2: LET_IS, what became of a patient, must be 0 to 7, and is missing"),
        ({"ID": "1"}, r"MI\.data line 2: ID '1' comes twice"),
        ({"ROE": "3,4"}, r"MI\.data line 2 must have 124 columns, got 125"),
    ],
    ids=["text", "infinite", "empty", "label", "no-label", "id", "columns"],
)
def test_bad_row_is_named(tmp_path, patient, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, {}, patient))


def test_file_cut_short_is_refused(tmp_path):
    path = write(tmp_path, {}, {}) / "MI.data"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"MI\.data line 2 must have 124 columns"):
        read(tmp_path)


def test_file_with_a_header_is_refused(tmp_path):
    path = write(tmp_path, {}) / "MI.data"
    path.write_text(",".join(COLUMNS) + "\n" + path.read_text())
    with pytest.raises(DataError, match=r"MI\.data line 1: LET_IS must be"):
        read(tmp_path)


@pytest.mark.parametrize("file", ["MI.data"])
def test_damage_of_any_kind_is_refused_or_harmless(tmp_path, survives, file):
    write(tmp_path, {}, {LABEL: "1"}, {})
    assert survives(tmp_path / file, lambda: read(tmp_path)) > 0


# the real file


def test_real_file_is_what_the_page_says(real_data):
    samples = read(real_data / "mi_complications")
    assert np.bincount(samples.target).tolist() == [1429, 271]
    missing = dict(zip(samples.schema.combination, (1 - samples.observed.mean(0)).round(3).tolist(), strict=True))
    assert missing == {"A": 0, "S": 0.007, "E": 0, "B": 0.157, "P": 0.633, "M": 0.372, "L": 0.084, "H": 0.071, "T": 0.001}
    assert round(1 - samples.observed.mean(), 3) == 0.147
    letters = np.array(list(samples.schema.combination))
    patterns, counts = np.unique(samples.observed, axis=0, return_counts=True)
    assert len(patterns) == 34
    commonest = sorted(zip(counts.tolist(), ("".join(letters[row]) for row in patterns), strict=True), reverse=True)[:4]
    assert commonest == [(457, "ASEBPMLHT"), (410, "ASEBLHT"), (337, "ASEBMLHT"), (117, "ASEMLHT")]
    for name, share in {"anamnesis": 0.045, "ecg": 0.067, "serum": 0.129}.items():  # single values inside observed ones
        rows = samples.observed[:, samples.schema.names.index(name)]
        assert round(float(np.isnan(samples.values[name][rows]).mean()), 3) == share


def test_real_gaps_tell_the_outcome(real_data):
    samples = read(real_data / "mi_complications")
    unit = samples.observed[:, samples.schema.combination.index("B")]
    assert (samples.target[~unit].sum(), (~unit).sum()) == (4, 267)
    assert round(float(samples.target[unit].mean()), 3) == 0.186
    before = samples.observed[:, samples.schema.combination.index("P")]
    assert (round(float(samples.target[~before].mean()), 3), round(float(samples.target[before].mean()), 3)) == (0.140, 0.192)


@pytest.mark.slow
def test_mask_alone_scores_as_elsewhere(real_data):
    """66.9 AUROC by other code, on three splits."""
    samples = read(real_data / "mi_complications")
    assert mask_score(samples, indicators(samples)[0], True).auroc == pytest.approx(0.669, abs=0.03)

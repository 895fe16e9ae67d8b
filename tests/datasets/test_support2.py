"""datasets/support2.py: the label, the dropped rows, the panels, and no leaky column; on small files, and on the real one."""

import csv

import numpy as np
import pytest

from bench.datasets.base import DataError
from bench.datasets.support2 import CATEGORIES, LEAKY, PANELS, VERSIONS, Support2

USED = [column for _, columns in PANELS.values() for column in columns]
PATIENT = {
    **{column: str(number) for number, column in enumerate(("sno", *LEAKY, *USED))},
    **{column: categories[0] for column, categories in CATEGORIES.items()},
    "death": "1", "d.time": "100",
}  # fmt: skip


def write(folder, *patients, encoding="utf-8", columns=tuple(PATIENT)):
    """A file in the form of support2.csv: one row a patient, each given by what differs from PATIENT."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "support2.csv").open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for number, patient in enumerate(patients):
            writer.writerow([{**PATIENT, "sno": f" {number + 1}", **patient}[column] for column in columns])
    return folder


def read(folder, modalities="four"):
    return Support2(modalities=modalities).read(folder, lambda *_: None)


def without(*panels):
    return {column: "" for panel in panels for column in PANELS[panel][1]}


def test_no_version_reads_a_leaky_column():
    assert len(LEAKY) == len(set(LEAKY)) == 19
    for blocks in VERSIONS.values():
        columns = [column for _, some in blocks.values() for column in some]
        assert not set(columns) & set(LEAKY)
        assert len(columns) == len(set(columns)) == len(USED)


def test_leaky_columns_change_nothing(tmp_path):
    plain = read(write(tmp_path / "plain", {}, {"death": "0", "d.time": "400"}))
    changes = {column: "77" for column in LEAKY if column not in ("death", "d.time")}
    changed = read(write(tmp_path / "changed", changes, {"death": "0", "d.time": "400", **changes}))
    assert changed.fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(
    ("death", "days", "label"),
    [("1", "365", 1), ("1", "366", 0), ("1", "3", 1), ("0", "365", 0), ("0", "2029", 0), ("0", "364", None)],
    ids=["last-day", "day-after", "early", "alive-at-a-year", "alive-later", "censored"],
)
def test_label_is_death_within_a_year(tmp_path, death, days, label):
    samples = read(write(tmp_path, {"death": death, "d.time": days}, {"sno": "99"}))
    assert samples.target.tolist() == ([1] if label is None else [label, 1])
    assert samples.ids.tolist() == (["patient-99"] if label is None else ["patient-1", "patient-99"])


def test_whole_panels_go_missing_and_single_values_are_nan(tmp_path):
    folder = write(tmp_path, without("liver", "renal"), {**without("blood-gas", "patient-adl"), "bun": ""})
    four = read(folder)
    assert four.schema.combination == "BPLF"
    assert four.observed.tolist() == [[True, True, False, True], [True, True, True, True]]
    labs = four.values["labs"]
    assert np.isnan(labs[0]).all()
    assert np.isnan(labs[1]).tolist() == [False, False, False, True, False]
    panels = read(folder, "panels")
    assert panels.schema.combination == "DCPGLRAS"
    assert panels.observed.astype(int).tolist() == [[1, 1, 1, 1, 0, 0, 1, 1], [1, 1, 1, 0, 1, 1, 0, 1]]


def test_categories_keep_their_column_whatever_is_read(tmp_path):
    samples = read(write(tmp_path, {"race": "other"}, {"race": ""}), "panels")
    assert samples.values["demographics"].shape == (2, 13)
    race = samples.values["demographics"][:, 3:8]  # behind age and two columns of sex
    assert race[0].tolist() == [0, 0, 0, 0, 1]
    assert np.isnan(race[1]).all()


@pytest.mark.parametrize(
    ("patient", "message"),
    [
        ({"sex": "unknown"}, "line 3: sex must be one of male, female or empty, got 'unknown'"),
        ({"death": "2"}, "line 3: death must be one of 0, 1"),
        ({"death": ""}, "must state death and d.time"),
        ({"ph": "nan"}, "line 3: ph must be a finite number or empty, got 'nan'"),
        ({"ph": "inf"}, "line 3: ph must be a finite number"),
        ({"sno": " 1"}, "line 3: sno '1' comes twice"),
    ],
    ids=["category", "label", "no-label", "nan", "infinite", "id"],
)
def test_bad_cell_is_named(tmp_path, patient, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, {}, patient))


def test_absent_column_is_named(tmp_path):
    folder = write(tmp_path, {}, columns=[column for column in PATIENT if column != "bili"])
    with pytest.raises(DataError, match=r"support2\.csv has no column 'bili'"):
        read(folder)


def test_file_cut_short_is_refused(tmp_path):
    path = write(tmp_path, {}, {}) / "support2.csv"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="line 3 must have 48 columns"):
        read(tmp_path)


def test_file_that_is_not_utf_8_is_refused(tmp_path):
    with pytest.raises(DataError, match="must be UTF-8"):
        read(write(tmp_path, {"dzgroup": "Sépsis"}, encoding="latin-1"))


def test_real_file_is_what_the_page_says(real_data):
    samples = Support2(modalities="panels").read(real_data / "support2", lambda *_: None)
    assert np.bincount(samples.target).tolist() == [3997, 5043]
    shares = dict(zip(samples.schema.names, (~samples.observed).mean(0), strict=True))
    expected = {"patient-adl": 0.620, "renal": 0.477, "surrogate-adl": 0.315, "blood-gas": 0.251, "liver": 0.224}
    assert {name: round(share, 3) for name, share in shares.items() if share} == pytest.approx(expected)
    assert len(np.unique(samples.observed, axis=0)) == 32


def test_every_column_of_the_real_file_is_an_input_a_leak_or_the_id(real_data):
    with (real_data / "support2" / "support2.csv").open(encoding="utf-8") as stream:
        header = next(csv.reader(stream))
    assert sorted(header) == sorted(("sno", *USED, *LEAKY))

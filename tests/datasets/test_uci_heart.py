"""datasets/uci_heart.py: four sites, zeros that mean missing, two label sets; on small files, and on the real ones."""

import numpy as np
import pytest

from bench.data.parts import split_rows
from bench.datasets.base import DataError
from bench.datasets.uci_heart import SITES, UciHeart

ROWS = {
    "cleveland": "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0.0\n"
    "67.0,1.0,4.0,160.0,286.0,0.0,2.0,108.0,1.0,1.5,2.0,?,3.0,2\n",
    "hungarian": "28,1,2,130,132,0,2,185,0,0,?,?,?,0\n",
    "switzerland": "32,1,1,95,0,?,0,127,0,.7,1,?,?,1\n",
    "va": "66,1,3,0,0,1,?,?,?,?,?,?,?,4\n",
}  # fmt: skip


def write(folder, **sites):
    folder.mkdir(parents=True, exist_ok=True)
    for site, rows in {**ROWS, **sites}.items():
        (folder / f"processed.{site}.data").write_text(rows, encoding="utf-8")
    return folder


def read(folder, **options):
    return UciHeart(**options).read(folder, lambda *_: None)


def test_zeros_that_cannot_be_are_missing(tmp_path):
    samples = read(write(tmp_path))
    names = list(samples.schema.names)
    assert samples.schema.combination == "HBREI"
    assert samples.observed[:, names.index("blood")].tolist() == [True, True, True, False, True]
    assert np.isnan(samples.values["blood"][:, 0]).tolist() == [False, False, False, True, True]
    assert samples.observed[:, names.index("rest")].tolist() == [True, True, True, True, False]
    assert samples.observed[:, names.index("exercise")].tolist() == [True, True, True, True, False]
    assert samples.observed[:, names.index("imaging")].tolist() == [True, True, False, False, False]
    assert samples.values["exercise"][0, :3].tolist() == pytest.approx([150, 0, 2.3])  # zeros that can be stay


def test_two_label_sets(tmp_path):
    folder = write(tmp_path)
    assert read(folder).target.tolist() == [0, 1, 0, 1, 1]
    five = read(folder, target="five")
    assert five.target.tolist() == [0, 2, 0, 1, 4]
    assert len(five.schema.classes) == 5


def test_groups_are_sites_and_ids_count_within_them(tmp_path):
    samples = read(write(tmp_path))
    assert samples.groups.tolist() == ["cleveland", "cleveland", "hungarian", "switzerland", "va"]
    assert samples.ids.tolist() == ["cleveland-000", "cleveland-001", "hungarian-000", "switzerland-000", "va-000"]


def test_sites_are_kept_together_on_demand_alone():
    assert not UciHeart().keeps_groups
    assert UciHeart(split="site").keeps_groups


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("63,1,1,145,233,1,2,150,0,2.3,3,0,6\n", "must have 14 columns, got 13"),
        ("63,1,9,145,233,1,2,150,0,2.3,3,0,6,0\n", "cp must be one of 1, 2, 3, 4"),
        ("63,2,1,145,233,1,2,150,0,2.3,3,0,6,0\n", "sex must be one of 0, 1"),
        ("63,1,1,145,233,1,2,150,0,2.3,3,0,6,5\n", "num must be one of 0, 1, 2, 3, 4"),
        ("63,1,1,145,233,1,2,150,0,2.3,3,0,6,?\n", "must state num"),
        ("63,1,1,145,nan,1,2,150,0,2.3,3,0,6,0\n", "chol must be a finite number, or '\\?' where it is missing, got 'nan'"),
        ("", "holds no rows"),
    ],
    ids=["cut-short", "category", "yes-or-no", "label", "no-label", "nan", "empty"],
)
def test_bad_row_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, va=row))


def test_absent_site_is_named_with_the_way_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (write(tmp_path / "uci_heart") / "processed.va.data").unlink()
    with pytest.raises(DataError, match=r"needs processed\.va\.data in .*uci_heart.* is not there.*archive\.ics\.uci\.edu/dataset/45"):
        UciHeart().load()


def test_real_files_are_what_the_page_says(real_data):
    samples = read(real_data / "uci_heart", target="five")
    assert [int((samples.groups == site).sum()) for site in SITES] == [303, 294, 123, 200]
    assert np.bincount(samples.target).tolist() == [411, 265, 109, 107, 28]
    assert (~samples.observed).sum(0).tolist() == [0, 80, 0, 54, 476]
    patterns, counts = np.unique(samples.observed, axis=0, return_counts=True)
    assert sorted(counts.tolist()) == [2, 31, 49, 52, 375, 411]
    assert counts[patterns.all(1)].tolist() == [411]
    assert np.isnan(samples.values["blood"][samples.groups == "switzerland", 0]).all()


def test_split_by_site_leaves_no_site_in_two_parts(real_data):
    dataset = UciHeart(split="site")
    samples = dataset.read(real_data / "uci_heart", lambda *_: None)
    rows = split_rows(dataset, samples, 0)
    sites = [set(samples.groups[part]) for part in rows.values()]
    assert sum(map(len, sites)) == 4
    mixed = split_rows(UciHeart(), samples, 0)
    assert all(len(set(samples.groups[part])) == 4 for part in mixed.values())

"""Attributes of samples: groups by name, kept with their rows, part of no fingerprint, and read as a user states them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bench
from bench import registry
from bench.datasets.attributes import bands
from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.described.as_toml import to_toml
from bench.datasets.described.dataset import Described
from bench.datasets.described.description import Attribute, read_description
from bench.datasets.files import read_prepared, write_prepared
from bench.errors import UsageError


def samples_of(n=6, **changes):
    schema = Schema((Modality("labs", "L", "vector", (2,)), Modality("notes", "N", "vector", (1,))), ("no", "yes"))
    given = {
        "values": {"labs": np.ones((n, 2), np.float32), "notes": np.ones((n, 1), np.float32)},
        "observed": np.ones((n, 2), dtype=bool),
        "target": np.arange(n) % 2,
        "ids": np.array([f"p{row}" for row in range(n)]),
        "attributes": {"sex": np.array(["f", "m", "", "f", "m", "f"][:n])},
    }
    return Samples(schema, **{**given, **changes})


KEPT = {
    "rows by place": (lambda s: s.rows(np.array([3, 1])), ["f", "m"]),
    "rows by mask": (lambda s: s.rows(np.arange(6) < 2), ["f", "m"]),
    "rows of large data": (lambda s: s.deferred().rows(np.array([3, 1])), ["f", "m"]),
    "without": (lambda s: s.without(np.zeros((6, 2), dtype=bool)), None),
    "hide": (lambda s: s.hide(np.eye(6, 2, dtype=bool)), None),
    "select": (lambda s: s.select("N"), None),
    "with values": (lambda s: s.with_values({"labs": np.ones((6, 3), np.float32)}), None),
    "held again": (lambda s: s.deferred().held(), None),
    "untold": (lambda s: s.untold(), None),
    "looked over": (lambda s: s.looked_over()[0], None),
    "pieces": (lambda s: next(iter(s.deferred().pieces())), None),
}


@pytest.mark.parametrize("case", KEPT)
def test_attributes_stay_with_their_rows(case):
    change, expected = KEPT[case]
    samples = samples_of()
    found = change(samples).attributes["sex"].tolist()
    assert found == (samples.attributes["sex"].tolist() if expected is None else expected)


def test_fingerprint_is_the_same_with_and_without_attributes():
    samples = samples_of()
    assert samples.fingerprint() == samples_of(attributes={}).fingerprint() == samples.unattributed().fingerprint()
    assert samples.unattributed().attributes == {}


def test_prepared_copy_holds_attributes(tmp_path):
    write_prepared(tmp_path / "copy", samples_of(), {"dataset": "x", "options": {}, "sources": {}})
    assert read_prepared(tmp_path / "copy").samples.attributes["sex"].tolist() == ["f", "m", "", "f", "m", "f"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.arange(6), r"attribute 'sex' must hold texts, got int64; name groups, or cut numbers into bands"),
        (np.array(["f"] * 5), r"attribute 'sex' must be a numpy array of 6, got 5"),
        (["f"] * 6, r"attribute 'sex' must be a numpy array of 6, got a list"),
        (np.array(["f", None, "m", "f", "m", "f"], dtype=object), r"must hold texts, '' where it is not known, got None in row 1"),
        (np.array(["f\n"] * 3 + ["m\x00x"] * 3), r"texts of one line without control characters"),
    ],
)
def test_column_that_names_no_groups_is_refused(column, message):
    with pytest.raises(ValueError, match=message):
        samples_of(attributes={"sex": column})


def test_attribute_with_a_group_a_row_is_refused():
    n = 1500
    schema = Schema((Modality("labs", "L", "vector", (1,)),), ("no", "yes"))
    ids = np.array([f"p{row}" for row in range(n)])
    with pytest.raises(ValueError, match="must have 1000 groups at most, got 1500; an id is no attribute"):
        Samples(schema, {"labs": np.ones((n, 1), np.float32)}, np.ones((n, 1), bool), np.arange(n) % 2, ids, attributes={"id": ids})


def test_bands_are_closed_below_and_open_above():
    assert bands(np.array([49.9, 50, 64.9, 65, np.nan]), (50, 65)).tolist() == [
        "below 50", "50 to below 65", "50 to below 65", "65 and over", ""
    ]  # fmt: skip
    for ends in ((65, 50), (50, 50), (), (50, np.nan)):
        with pytest.raises(ValueError, match="ends of bands must be numbers that ascend"):
            bands(np.array([1.0]), ends)


STUDY = """id = "id"
{top}
[target]
file = "demo.csv"
column = "outcome"
classes = ["no", "yes"]
{attributes}
[[modality]]
name = "labs"
kind = "vector"
file = "demo.csv"
[modality.columns]
crp = "number"
[[modality]]
name = "history"
kind = "vector"
file = "demo.csv"
[modality.columns]
age = "number"
"""
CSV = "id,outcome,crp,age,sex\na,yes,1,44,f\nb,no,2,50,m\nc,yes,3,81,NA\nd,no,4,,f\n"


def study(folder, attributes, top="", visits=None):
    (folder / "demo.csv").write_text(CSV, encoding="utf-8")
    if visits:
        (folder / "visits.csv").write_text(visits, encoding="utf-8")
    (folder / "study.toml").write_text(STUDY.format(top=top, attributes=attributes), encoding="utf-8")
    return folder / "study.toml"


def test_description_names_columns_or_tables_of_their_own(tmp_path):
    short = Described(study(tmp_path, "", top='attributes = ["sex"]')).load()
    assert short.attributes["sex"].tolist() == ["f", "m", "", "f"]
    visits = "person,ward\na,north\na,north\nb,south\nd,\nd,north\n"
    tables = '[attributes.age]\nbands = [50, 80]\n[attributes.ward]\nfile = "visits.csv"\nid = "person"'
    found = Described(study(tmp_path, tables, visits=visits)).load().attributes
    assert found["age"].tolist() == ["below 50", "50 to below 80", "80 and over", ""]
    assert found["ward"].tolist() == ["north", "south", "", "north"]  # c has no row, d one that says it


def test_description_with_attributes_is_written_so_that_it_reads_the_same(tmp_path):
    tables = '[attributes."age band"]\nfile = "demo.csv"\ncolumn = "age"\nbands = [50, 80.5]\n[attributes.sex]'
    path = study(tmp_path, tables, top="public_attributes = true")
    first = read_description(path)
    assert first.attributes == (Attribute("age band", "demo.csv", "age", "", (50, 80.5)), Attribute("sex", "demo.csv", "sex"))
    path.write_text(to_toml(first), encoding="utf-8")
    assert read_description(path) == first
    assert first.public_attributes


@pytest.mark.parametrize(
    ("attributes", "top", "message"),
    [
        ("[attributes.age]\nbands = [80, 50]", "", r"\[attributes.age\]: bands must be a list of numbers that ascend"),
        ("[attributes.age]\nband = [80]", "", r"\[attributes.age\] has no key 'band', did you mean 'bands'"),
        ("", 'attributes = {sex = "sex"}', r"\[attributes.sex\] must be a table with file, column, id or bands, got 'sex'"),
        ("", "attributes = 3", r"attributes must be a list of texts, got 3"),
        ("", "public_attributes = true\nrestricted = true", r"public_attributes and restricted exclude each other"),
    ],
)
def test_description_that_breaks_a_rule_is_refused(tmp_path, attributes, top, message):
    with pytest.raises(DataError, match=message):
        read_description(study(tmp_path, attributes, top))


def test_rows_of_one_id_in_two_groups_are_refused(tmp_path):
    path = study(tmp_path, '[attributes.ward]\nfile = "visits.csv"', visits="id,ward\na,north\na,south\n")
    with pytest.raises(DataError, match="rows of 'a' are in the groups 'north' and 'south' of attribute 'ward'; one id is in one"):
        Described(path).load()


def test_numbers_without_bands_are_refused(tmp_path):
    rows = "".join(f"p{row},{'yes' if row % 2 else 'no'},1,{30 + row},f\n" for row in range(20))
    path = study(tmp_path, "[attributes.age]")
    (tmp_path / "demo.csv").write_text(f"id,outcome,crp,age,sex\n{rows}", encoding="utf-8")
    with pytest.raises(DataError, match=r"attribute 'age' must name groups, age holds 20 different numbers; cut them with bands"):
        Described(path).load()


@pytest.fixture
def own_root(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(registry, "_given", {})


def frame():
    ids = [f"p{row}" for row in range(8)]
    site = [1.0, 2.0, np.nan, 1.0, 2.0, 1.0, 2.0, 1.0]
    return pd.DataFrame({"a": np.arange(8.0), "sex": list("fmfmfmfm"), "site": site}, index=ids)


def test_frames_give_attributes_by_name_or_by_a_frame_of_their_own(own_root):
    labs, target = frame()[["a", "sex"]], pd.Series(["no", "yes"] * 4, index=frame().index)
    by_name = bench.dataset({"labs": labs}, target, "study", attributes=["sex"])
    assert by_name.load().attributes["sex"].tolist() == list("fmfmfmfm")
    own = frame()[["site"]].assign(band=pd.cut(frame()["a"], [-1, 3, 10], labels=["low", "high"]))
    by_frame = bench.dataset({"labs": labs}, target, "other", attributes=own, public_attributes=True)
    assert by_frame.load().attributes["site"].tolist() == ["1", "2", "", "1", "2", "1", "2", "1"]
    assert by_frame.load().attributes["band"].tolist() == ["low"] * 4 + ["high"] * 4
    assert (by_name.public_attributes, by_frame.public_attributes) == (False, True)


def test_attributes_stated_later_are_written_anew_though_the_fingerprint_is_the_same(own_root):
    labs, target = frame()[["a"]], pd.Series(["no", "yes"] * 4, index=frame().index)
    before = bench.dataset({"labs": labs}, target, "study").load()
    after = bench.dataset({"labs": labs}, target, "study", attributes=frame()[["sex"]]).load()
    assert before.fingerprint() == after.fingerprint()
    assert (before.attributes, list(after.attributes)) == ({}, ["sex"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["height"], "attribute 'height' must be a column of one modality with a row an id, found in none"),
        ("sex", "attributes must be names of columns, or a pandas frame"),
        (["sex", "sex"], "attributes must have different names, got sex, sex"),
    ],
)
def test_attributes_of_no_column_are_refused(own_root, given, message):
    target = pd.Series(["no", "yes"] * 4, index=frame().index)
    with pytest.raises(UsageError, match=message):
        bench.dataset({"labs": frame()[["a", "sex"]]}, target, "study", attributes=given)


def test_large_and_small_data_name_the_same_groups():
    samples = samples_of()
    assert replace(samples.deferred(), blank={}).attributes["sex"].tolist() == samples.attributes["sex"].tolist()

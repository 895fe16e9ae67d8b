"""datasets/tables.py: tables are read strictly, and what is wrong is named with its line."""

import numpy as np
import pytest

from bench.datasets.base import DataError
from bench.datasets.tables import advice, check_unique, read_table

SHEET = "a spreadsheet has rewritten the file, get it anew"


@pytest.fixture
def table_of(tmp_path):
    def make(content, **options):
        path = tmp_path / "a folder with spaces" / "table.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, **options)

    return make


@pytest.mark.parametrize(
    "content",
    ["a,b\n1, 2\n3,\n", "\ufeffa,b\r\n1,2\r\n3,\r\n", '"a","b"\n"1","2"\n\n"3",""', "a,b\n1,2\n3,"],
    ids=["plain", "byte-order-mark", "quoted", "no-last-newline"],
)
def test_forms_of_one_table_are_read_alike(table_of, content):
    table = table_of(content)
    assert table.names == ("a", "b")
    assert np.array_equal(table.numbers(), [[1, 2], [3, np.nan]], equal_nan=True)


def test_comments_do_not_count(table_of):
    assert table_of("# 1,2,3\n4,5\n", names=("a", "b"), comment="#").numbers().tolist() == [[4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n3\n", "line 3 must have 2 columns, got 1"),
        (b"a,b\n1,2,3\n", "line 2 must have 2 columns, got 3"),
        (b"a,b\n", "holds no rows"),
        (b"", "holds no rows"),
        (b"a,a\n1,2\n", "must be unique"),
        (b"a,b\n1,\xff\n", "UTF-8 text, got byte 0xff at position 6"),
        (b'a,b\n1,"2\n', "no comma-separated text"),
    ],
    ids=["cut-short", "too-wide", "header-alone", "empty", "repeated-name", "not-utf-8", "open-quote"],
)
def test_damaged_table_is_explained(table_of, content, message):
    with pytest.raises(DataError, match=f"table.csv.*{message}|{message}"):
        table_of(content)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"table\.csv cannot be read: No such file"):
        read_table(tmp_path / "table.csv")


def test_table_that_is_far_too_large_is_not_read(table_of, monkeypatch):
    monkeypatch.setattr("bench.datasets.tables.LARGEST", 5)
    with pytest.raises(DataError, match="more than the 5 a table may have"):
        table_of("a,b\n1,2\n")


@pytest.mark.parametrize("cell", ["nan", "inf", "-Infinity", "1e400", "1e300", "x", "1,", "0x10", "1_000", "\u0661"])
def test_number_that_is_none_is_named(table_of, cell):
    with pytest.raises(DataError, match=r"line 3: b must be a finite number or empty, got"):
        table_of(f'a,b\n1,2\n3,"{cell}"\n').numbers(["b"])


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("12,5", "a decimal comma must be a point"), ("-0,5", "a decimal comma must be a point"),
        ("1/1/2150", SHEET), ("31.12.2150", SHEET),
        ("12-May-50", SHEET), ("May-50", SHEET), ("#REF!", SHEET), ("#N/A", SHEET), ("#####", SHEET), ("2.26E+07", SHEET),
        ("unknown", ""), ("2150-01-01", ""), ("", ""),
    ],
)  # fmt: skip
def test_advice_names_what_a_spreadsheet_did(cell, said):
    assert advice(cell) == (f"; {said}" if said else "")


def test_missing_cells_are_nan_by_their_own_mark(table_of):
    table = table_of("a,b\n?,2\n")
    with pytest.raises(DataError, match="a must be a finite number or empty, got '\\?'"):
        table.numbers()
    marked = table_of("a,b\n?,2\n", missing="?")
    assert np.isnan(marked.numbers()[0, 0])


def test_categories_are_fixed_and_missing_ones_nan(table_of):
    table = table_of("a\ny\n\nx\n?\n", missing="?")
    hot = table.one_hot("a", ("x", "y", "z"))
    assert np.array_equal(hot, [[0, 1, 0], [1, 0, 0], [np.nan] * 3], equal_nan=True)
    with pytest.raises(DataError, match="line 2: a must be one of x, z, or '\\?' where it is missing, got 'y'"):
        table.one_hot("a", ("x", "z"))


def test_categories_may_be_numbers_however_written(table_of):
    assert table_of("a\n3\n3.0\n7.00\n").codes("a", (3, 6, 7)).tolist() == [0, 0, 2]


def test_features_stand_side_by_side(table_of):
    features = table_of("a,b\n1.5,y\n2,\n").features(("a", "b"), {"b": ("x", "y")})
    assert features.dtype == np.float32
    assert np.array_equal(features, [[1.5, 0, 1], [2, np.nan, np.nan]], equal_nan=True)


def test_impossible_numbers_become_missing(table_of):
    table = table_of("a,b\n0,0\n1,0.0\n")
    assert np.array_equal(table.blank(["b"], 0).numbers(), [[0, np.nan], [1, np.nan]], equal_nan=True)
    assert table.numbers().tolist() == [[0, 0], [1, 0]]


def test_unknown_column_is_named(table_of):
    with pytest.raises(DataError, match=r"table\.csv has no column 'c'; it has a, b"):
        table_of("a,b\n1,2\n").numbers(["a", "c"])


def test_names_of_the_file_stay_in_one_line(table_of):
    with pytest.raises(DataError, match=r"has no column 'c'; it has a b, b{290}") as caught:
        table_of(f'"a\nb",{"b" * 5000}\n1,2\n').column("c")
    assert len(str(caught.value)) < 400


def test_repeated_id_is_named_with_its_line(table_of):
    table = table_of("a\np\nq\np\n")
    with pytest.raises(DataError, match="line 4: patient 'p' comes twice"):
        check_unique(table, "patient", table.column("a"))

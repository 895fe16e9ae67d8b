"""datasets/columns.py: what is not a plain numpy array, or names nothing in some row, is refused in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bench.datasets.base import Modality, Samples, Schema

LIKES = {
    "list": (lambda column: column.tolist(), r"got a list; use np\.array\(\.\.\.\)"),
    "tuple": (lambda column: tuple(column.tolist()), r"got a tuple; use np\.array\(\.\.\.\)"),
    "series": (lambda column: pd.Series(column), r"got pandas Series; use \.to_numpy\(\)"),
    "index": (lambda column: pd.Index(column), r"got pandas \w*Index; use \.to_numpy\(\)"),
    "categorical": (lambda column: pd.Categorical(column), r"got pandas Categorical; use np\.asarray\(\.\.\.\)"),
    "masked": (lambda column: np.ma.array(column, mask=np.arange(len(column)) == 3), r"got numpy MaskedArray; fill what is masked"),
    "matrix": (lambda column: np.asmatrix(column), r"got numpy matrix; use np\.asarray"),
    "one column": (lambda column: column[:, None], r"got shape \(24, 1\); use \.ravel\(\)"),
    "scalar": (lambda column: np.array(column[0]), r"got shape \(\)"),
    "iterator": (lambda column: iter(column), r"got an? \w*iterator"),
}


@pytest.fixture
def columns(make_samples):
    samples = make_samples()
    return replace(samples, groups=np.array([f"patient {row // 2}" for row in range(24)]), split=np.repeat(["train", "test"], 12))


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("like", LIKES)
@pytest.mark.parametrize("name", ["ids", "target", "groups", "split"])
def test_a_column_that_is_no_plain_array_is_refused_with_a_way_on(columns, name, like):
    made, message = LIKES[like]
    with pytest.raises(ValueError, match=f"^{name} must be a numpy array.*{message}"):
        replace(columns, **{name: made(getattr(columns, name))})


def test_the_rows_that_a_column_must_have_are_said(columns):
    with pytest.raises(ValueError, match=r"^groups must be a numpy array of 24, got pandas Series; use \.to_numpy\(\)$"):
        replace(columns, groups=pd.Series(columns.groups, index=np.arange(24)[::-1]))
    with pytest.raises(ValueError, match=r"^groups must be a numpy array of 24, got 23$"):
        replace(columns, groups=columns.groups[1:])


@pytest.mark.parametrize("made", [torch.from_numpy, pd.DataFrame, lambda array: array.tolist(), lambda array: np.ma.array(array)])
def test_values_and_masks_are_plain_arrays_too(make_samples, made):
    samples = make_samples()
    with pytest.raises(ValueError, match=r"^alpha must be a numpy array of 24, got "):
        replace(samples, values={**samples.values, "alpha": made(samples.values["alpha"])})
    with pytest.raises(ValueError, match=r"^observed must be a numpy array of 24, got "):
        replace(samples, observed=made(samples.observed))


def test_lengths_are_plain_columns():
    schema = Schema((Modality("sound", "S", "sequence", (4, 2)),), ("no", "yes"))
    given = {
        "values": {"sound": np.zeros((6, 4, 2), np.float32)}, "observed": np.ones((6, 1), bool), "target": np.arange(6) % 2,
        "ids": np.array(list("abcdef")),
    }  # fmt: skip
    for lengths in ([4] * 6, pd.Series([4] * 6), torch.full((6,), 4)):
        with pytest.raises(ValueError, match="lengths of sound must be a numpy array of 6, got"):
            Samples(schema, **given, lengths={"sound": lengths})
    with pytest.raises(ValueError, match="lengths must be a mapping"):
        Samples(schema, **given, lengths=np.full(6, 4))


NOTHING = [None, np.nan, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), "", "   "]


@pytest.mark.parametrize("nothing", NOTHING, ids=lambda nothing: repr(nothing))
@pytest.mark.parametrize(("name", "what"), [("groups", "a group"), ("ids", "a sample"), ("split", "a part")])
def test_a_row_that_names_nothing_is_named(columns, name, what, nothing):
    column = getattr(columns, name).astype(object)
    column[[5, 9]] = nothing
    with pytest.raises(ValueError, match=f"^{name} must name {what} for every row, row 5 has none"):
        replace(columns, **{name: column})


@pytest.mark.parametrize(
    "groups",
    [np.where(np.arange(24) < 7, 1.0, np.nan), np.where(np.arange(24) < 7, np.datetime64("2020-01-01"), np.datetime64("NaT"))],
    ids=["numbers", "dates"],
)
def test_groups_of_numbers_and_dates_may_not_hold_gaps(columns, groups):
    with pytest.raises(ValueError, match=r"^groups must name a group for every row, row 7 has none"):
        replace(columns, groups=groups)


def test_objects_that_are_all_texts_or_all_whole_numbers_are_taken_as_such(columns):
    texts = replace(columns, groups=columns.groups.astype(object), ids=pd.Series(columns.ids).to_numpy(object))
    assert (texts.groups.dtype.kind, texts.ids.dtype.kind) == ("U", "U")
    assert texts.fingerprint() == columns.fingerprint()
    numbers = replace(columns, groups=np.array([row // 2 for row in range(24)], dtype=object))
    assert numbers.groups.dtype == np.int64
    large = replace(columns, ids=np.array([2**70 + row for row in range(24)], dtype=object))
    assert large.ids[1] == str(2**70 + 1)
    assert replace(columns, ids=columns.ids.astype("S")).ids.tolist() == columns.ids.tolist()


@pytest.mark.parametrize("other", [1, 1.5, ("a",), b"a"], ids=["number", "fraction", "tuple", "bytes"])
def test_objects_of_two_types_are_refused(columns, other):
    groups = columns.groups.astype(object)
    groups[4] = other
    with pytest.raises(ValueError, match=r"groups must be all texts or all whole numbers, got str in row 0 and \w+ in row 4"):
        replace(columns, groups=groups)


def test_an_id_that_comes_twice_is_named(columns):
    ids = columns.ids.copy()
    ids[9] = ids[4]
    with pytest.raises(ValueError, match="ids must be 24 unique values, got 'row4' in rows 4 and 9"):
        replace(columns, ids=ids)


def test_a_part_that_is_none_is_named(columns):
    split = columns.split.astype("U10")
    split[3] = "validation"
    with pytest.raises(ValueError, match="split must name one of train, valid, test for each of 24 rows, got 'validation' in row 3"):
        replace(columns, split=split)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.array(["no", "yes"]), r"classes of a schema must be a tuple, got numpy ndarray"),
        ("ab", r"classes of a schema must be a tuple, got a str"),
        ((0, 1), r"a class of a schema must be a text, got 0 \(an int\)"),
        (("no", None), r"a class of a schema must be a text, got None"),
        (("no", ""), "a text of one line"),
        (("no", "y\nes"), "a text of one line"),
        (("no", "y\x00es"), "a text of one line"),
        (("no", "no"), "classes of a schema must be unique"),
    ],
)
def test_classes_are_texts_of_one_line_each_once(make_samples, classes, message):
    with pytest.raises(ValueError, match=message):
        Schema(make_samples().schema.modalities, classes)


def test_numpy_texts_and_lists_make_the_same_schema(make_samples):
    modalities = make_samples().schema.modalities
    plain, other = Schema(modalities, ("no", "yes")), Schema(list(modalities), [np.str_("no"), np.str_("yes")])
    assert plain == other
    assert repr(plain) == repr(other)
    assert repr(Modality("a", "A", "image", [np.int64(1), 2, 3])) == repr(Modality("a", "A", "image", (1, 2, 3)))


@pytest.mark.parametrize("name", [None, 3, "", " ", "a\nb", "a\tb"])
def test_a_modality_has_a_name_of_one_line(name):
    with pytest.raises(ValueError, match="name of a modality must be a text"):
        Modality(name, "A", "vector", (3,))


@pytest.mark.parametrize("shape", [3, "3", (3.0,), (True,), None, [[3]]])
def test_a_shape_is_made_of_whole_numbers(shape):
    with pytest.raises(ValueError, match="shape of vector modality 'a' must have 1 positive sizes"):
        Modality("a", "A", "vector", shape)

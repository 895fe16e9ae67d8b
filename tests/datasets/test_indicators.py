"""What training rows say of vectors: categories and gaps, against scikit-learn's transformers and by hand."""

import numpy as np
import pytest
from sklearn.impute import MissingIndicator
from sklearn.preprocessing import OneHotEncoder

from bench.data.learning import Learnt
from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.datasets.indicators import gap_columns, learn_vectors, with_indicators

NAN = np.nan


def made(values, observed=None, name="labs"):
    values = np.array(values, dtype=np.float32)
    rows = len(values)
    observed = np.ones((rows, 1), dtype=bool) if observed is None else np.array(observed)[:, None]
    schema = Schema((Modality(name, "L", "vector", values.shape[1:]),), ("no", "yes"))
    return Samples(schema, {name: values}, observed, np.arange(rows) % 2, np.arange(rows).astype(str)).sealed()


def test_gap_columns_are_those_of_scikit_learn_but_one_for_equal_gaps():
    rng = np.random.default_rng(0)
    train = np.where(rng.random((50, 6)) < 0.3, NAN, 1.0)
    train[:, 0] = 1.0  # no gap
    train[:, 2] = train[:, 1]  # a panel measured together
    train[:, 5] = np.where(train[:, 4] == 1.0, NAN, 2.0)  # the opposite is another pattern
    known = MissingIndicator(features="missing-only").fit(train).features_
    assert gap_columns(train).tolist() == [column for column in known.tolist() if column != 2]


def test_column_without_any_value_gets_no_indicator():
    assert gap_columns(np.array([[NAN, 1.0], [NAN, NAN]])).tolist() == [1]


def test_indicator_of_an_unobserved_row_is_unknown():
    found = with_indicators(np.array([[1.0, NAN], [NAN, NAN]], dtype=np.float32), np.array([1]), np.array([True, False]))
    assert np.array_equal(found, [[1.0, NAN, 1.0], [NAN, NAN, NAN]], equal_nan=True)


def test_gaps_of_test_rows_alone_get_no_column():
    change = learn_vectors(made([[1, 2], [NAN, 3]]), ["labs"])
    assert change(made([[1, NAN], [NAN, 4]])).values["labs"].tolist()[1][1:] == [4.0, 1.0]
    assert change(made([[1, NAN], [NAN, 4]])).schema.modalities[0].shape == (3,)


def test_hidden_rows_give_no_indicator():
    """A gap of a row that the protocol hides whole is no gap inside a modality."""
    assert learn_vectors(made([[1, 2], [NAN, 3]], observed=[True, False]), ["labs"]) is None


def test_categories_are_those_that_scikit_learn_finds_on_training_rows():
    codes = np.array([0, 1, 1, 3])
    hot = np.eye(4)[codes]
    change = learn_vectors(made(np.c_[hot, [1, 2, 3, 4]]), [], {"labs": ((0, 4),)})
    tested = np.array([0, 2, 3])
    found = change(made(np.c_[np.eye(4)[tested], [5, 6, 7]])).values["labs"]
    known = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(codes[:, None]).transform(tested[:, None])
    assert np.array_equal(found[[0, 2], :3], known[[0, 2]])
    assert np.isnan(found[1, :3]).all()  # an unseen category counts as missing, where scikit-learn says zeros
    assert found[:, 3].tolist() == [5, 6, 7]


def test_unseen_category_shows_in_the_indicator():
    change = learn_vectors(made([[1, 0, 0], [0, 1, 0], [NAN, NAN, NAN]], observed=[True, True, True]), ["labs"], {"labs": ((0, 3),)})
    assert change is not None
    rows = made(np.c_[np.eye(3)[[0, 2]]])
    assert change(rows).values["labs"][:, -1].tolist() == [0.0, 1.0]


def test_row_of_unseen_categories_alone_keeps_the_training_mean():
    """What was observed stays so: its values are what a missing one becomes."""
    change = learn_vectors(made(np.eye(3)[[0, 1, 1, 1]]), [], {"labs": ((0, 3),)})
    assert change(made(np.eye(3)[[2]])).values["labs"].tolist() == [[0.25, 0.75]]


class Own(Dataset):
    title = "own"
    rows = None

    def learn(self, train):
        return learn_vectors(train, ["labs"], {"labs": ((0, 3),)})


@pytest.mark.parametrize("seed", range(5))
def test_what_is_learnt_keeps_the_rules_of_the_seam(seed):
    """bench.data.learning checks that rows change by themselves and keep a value where they had one."""
    rng = np.random.default_rng(seed)
    hot = np.eye(3)[rng.integers(0, 3, 30)]
    hot[rng.random(30) < 0.3] = NAN
    values = np.c_[hot, np.where(rng.random((30, 2)) < 0.4, NAN, rng.normal(size=(30, 2)))]
    samples = made(values, observed=~np.isnan(values).all(1))
    learnt = Learnt(Own(), samples.rows(np.arange(4)))
    assert learnt(samples.rows(np.arange(4, 30))).schema == learnt.schema


def test_nothing_to_learn_copies_nothing():
    assert learn_vectors(made([[1, 2], [3, 4]]), ["labs"]) is None

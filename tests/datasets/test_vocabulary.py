"""datasets/vocabulary.py: which columns are kept, and what unit length does to rows that hold nothing."""

import numpy as np
import pytest

from bench.datasets.vocabulary import MOST, checked_size, commonest, unit_length

NAN = np.nan


@pytest.mark.parametrize(
    ("counts", "most", "kept"),
    [
        ([[9, 0, 1, 1], [0, 0, 1, 0], [0, 2, 1, 1]], 2, [2, 3]),  # rows that hold it count, not how often they do
        ([[1, 1, 1], [1, 1, 1]], 2, [0, 1]),
        ([[1, 0, 0], [NAN, NAN, NAN]], 3, [0]),
        ([[0, 0], [0, 0]], 2, [0]),
        ([[NAN, NAN]], 2, [0]),
    ],
    ids=["by-rows", "tie", "not-held", "empty-rows", "never-observed"],
)
def test_commonest_columns_are_kept_in_their_order(counts, most, kept):
    assert commonest(np.array(counts, dtype=np.float32), most).tolist() == kept


def test_rows_get_unit_length_and_empty_ones_stay():
    rows = unit_length(np.array([[3, 4], [0, 0], [NAN, NAN]], dtype=np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [NAN, NAN]], rtol=1e-6)


@pytest.mark.parametrize("value", [0, MOST + 1, 1.5, "9", True])
def test_a_size_is_a_whole_number_in_its_range(value):
    assert checked_size("words", 512) == 512
    with pytest.raises(ValueError, match=f"words must be a whole number from 1 to {MOST}, got {value!r}"):
        checked_size("words", value)

"""bench/stats/adjust.py: adjusted p."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.errors import UsageError

CORRECTIONS = pytest.mark.parametrize("correction", [stats.holm, stats.benjamini_hochberg])
PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@CORRECTIONS
@given(p=PS, seed=st.integers(0, 99))
def test_adjusted_p_ignores_order_and_never_falls_below_p(correction, p, seed):
    p, order = np.array(p), np.random.default_rng(seed).permutation(len(p))
    adjusted = correction(p)
    assert np.allclose(correction(p[order]), adjusted[order])
    assert (adjusted >= p - 1e-15).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-15).all()


@given(PS)
def test_holm_lies_between_benjamini_hochberg_and_bonferroni(p):
    assert (stats.benjamini_hochberg(p) <= stats.holm(p) + 1e-12).all()
    assert (stats.holm(p) <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()


@CORRECTIONS
def test_nan_is_no_test(correction):
    found = correction([0.01, np.nan, 0.04])
    assert np.isnan(found[1])
    assert found[[0, 2]].tolist() == correction([0.01, 0.04]).tolist()
    assert np.isnan(correction([np.nan])).all()


@CORRECTIONS
def test_numbers_that_are_no_p_are_refused(correction):
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        correction([0.5, 1.5])

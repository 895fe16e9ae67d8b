"""bench/stats/adjust.py: adjusted p, and intervals that agree with them."""

import math

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


FEW = st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.0125, 0.05, 1.0, math.nan])), min_size=1, max_size=12)


@pytest.mark.parametrize("name", ["Holm", "Benjamini-Hochberg"])
@given(p=FEW, alpha=st.sampled_from([0.05, 0.01, 0.2]))
def test_interval_at_its_level_leaves_out_0_where_the_adjusted_p_claims(name, p, alpha):
    """An interval at level a leaves out 0 if and only if p is at most a; at the last digit of a float the two may round apart."""
    p = np.array(p)
    ends = stats.interval_levels(p, alpha, name)
    claimed = (stats.holm if name == "Holm" else stats.benjamini_hochberg)(p) <= alpha
    tested = ~np.isnan(p)
    assert np.isnan(ends.near[~tested]).all()
    for end in ends:
        assert ((end[tested] > 0) & (end[tested] <= alpha * (1 + 1e-12))).all()
    assert (p[claimed] <= ends.near[claimed] * (1 + 1e-12)).all()
    assert (p[tested & ~claimed] >= ends.near[tested & ~claimed] * (1 - 1e-12)).all()
    assert (ends.near >= ends.far)[tested].all()


def test_one_test_has_its_own_interval():
    near, far = stats.interval_levels(np.array([0.03, np.nan]))
    assert (near[0], far[0]) == (0.05, 0.05)


def test_pair_that_a_later_step_claims_has_the_near_end_of_that_step():
    near, far = stats.interval_levels(np.array([0.001, 0.02, 0.03, 0.9]))  # 0.02 > 0.05 / 3: nothing beyond the first
    assert near.tolist() == far.tolist() == [0.0125] * 4
    near, far = stats.interval_levels(np.array([0.02, 0.001, 0.9, 0.014]))
    assert far.tolist() == [0.0125] * 4
    assert near.tolist() == pytest.approx([0.05 / 2, 0.0125, 0.0125, 0.05 / 3])


@pytest.mark.parametrize("true", [[0, 0, 0, 0], [4, 4, 4, 0], [2.5, 2, 1, 0], [3, 3, 3, 3]], ids=str)
def test_far_ends_hold_at_once_and_claims_hold_at_once(true):
    """Two promises of 95 % each: no interval misses by its Bonferroni ends, and no claim of Holm's test is false."""
    true, rng = np.array(true, dtype=float), np.random.default_rng(5)
    missed = false = 0
    for x in rng.normal(true, 1, (1500, 4)):
        found = stats.Estimates("z", x, np.ones(4), np.full(4, np.inf), ("",) * 4)
        bonferroni = np.abs(x - true) > 2.4977  # two-sided 0.05 / 4
        intervals = found.simultaneous()
        assert (intervals[:, 0] >= x - 2.4978).all()
        assert (intervals[:, 1] <= x + 2.4978).all()
        missed += bonferroni.any()
        claims = np.where(stats.holm(found.p) <= 0.05, np.sign(x), 0)
        false += ((claims != 0) & (claims != np.sign(true))).any()
        out = (intervals[:, 0] > 0) | (intervals[:, 1] < 0)
        assert (out == (claims != 0)).all()
    assert missed / 1500 <= 0.065
    assert false / 1500 <= 0.065

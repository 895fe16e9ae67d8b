"""bench/stats/across.py: methods over many settings."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.errors import UsageError
from bench.stats.across import ZEROS

RNG = np.random.default_rng
TENTHS = st.lists(st.integers(-8, 8).map(lambda k: k / 10), min_size=6, max_size=10)


def slow_signed_rank_p(differences, zeros):
    """Two-sided p by flipping every sign."""
    from scipy.stats import rankdata

    d = np.array([x for x in differences if x or zeros != "wilcox"])
    ranks = rankdata(np.abs(d))[d != 0]
    d = d[d != 0]
    seen = abs((ranks * np.sign(d)).sum())
    flips = [abs((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=len(d))]
    return np.mean(np.array(flips) >= seen - 1e-9)


@pytest.mark.parametrize("zeros", ZEROS)
@given(differences=TENTHS)
def test_signed_rank_equals_every_flip_of_signs(zeros, differences):
    found = stats.signed_rank(differences, zeros)
    assert found.p == pytest.approx(slow_signed_rank_p(differences, zeros))


@given(differences=TENTHS)
def test_signed_rank_swaps_and_ignores_order(differences):
    found, turned = stats.signed_rank(differences), stats.signed_rank(-np.array(differences))
    assert (found.p, found.plus, found.effect) == (turned.p, turned.minus, -turned.effect)
    assert stats.signed_rank(sorted(differences)).p == found.p
    assert found.p_greater + turned.p_greater >= 1 - 1e-12


@given(seed=st.integers(0, 1000), at=st.integers(0, 7), by=st.floats(0.01, 3))
def test_raising_a_difference_never_lowers_the_evidence_for_a(seed, at, by):
    differences = RNG(seed).normal(size=8)
    raised = differences + by * (np.arange(8) == at)
    assert stats.signed_rank(raised).p_greater <= stats.signed_rank(differences).p_greater + 1e-12


def test_binary_noise_breaks_no_ties():
    assert stats.signed_rank([0.1 + 0.2, 0.3, -0.3, 0.3, 0.3, 0.3]).plus == 17.5
    assert stats.signed_rank([0.1 + 0.2 - 0.3] * 6).nonzero == 0


@pytest.mark.parametrize("n", [1, 3, 5])
def test_signed_rank_refuses_what_cannot_be_significant(n):
    found = stats.signed_rank(np.arange(1.0, n + 1))
    assert math.isnan(found.p)
    assert found.reason == "needs n >= 6"


@pytest.mark.parametrize(("alpha", "needed"), [(0.05, 6), (0.01, 8), (0.05 / 15, 10), (0.0005, 12)])
def test_needed_pairs_are_the_fewest_that_can_reach_alpha(alpha, needed):
    assert stats.needed_pairs(alpha) == needed
    assert stats.minimum_p(needed) <= alpha < stats.minimum_p(needed - 1)


def test_all_zero_differences_have_p_1():
    found = stats.signed_rank(np.zeros(3))
    assert (found.p, found.effect, found.reason) == (1, 0, "")


def test_many_differences_are_tested_by_the_normal_limit_that_meets_the_exact_one():
    d = RNG(0).normal(0.15, 1, 200)
    exact = stats.signed_rank(d)
    assert exact.p == pytest.approx(exact.p_asymptotic, rel=0.02)
    more = stats.signed_rank(np.append(d, 0.01))
    assert more.p == more.p_asymptotic
    assert more.p == pytest.approx(exact.p, rel=0.05)


@pytest.mark.parametrize(
    ("values", "words"), [([0.1, math.nan], "fill failures first"), ([], "finite"), ([[0.1]], "shape")], ids=["NaN", "none", "matrix"]
)
def test_differences_that_are_none_are_refused(values, words):
    with pytest.raises(UsageError, match=words):
        stats.signed_rank(values)
    with pytest.raises(UsageError, match=words):
        stats.bayesian_signed_rank(values, 0.01, RNG(0))


def test_unknown_rule_for_zeros_offers_the_closest():
    with pytest.raises(UsageError, match="did you mean 'pratt'"):
        stats.signed_rank([0.1] * 6, "prat")


def test_sign_flip_of_four_datasets_is_refused_with_its_smallest_p():
    found = stats.sign_flip([0.02, 0.03, 0.01, 0.04], RNG(0))
    assert math.isnan(found.p)
    assert found.minimum_p == 0.125
    assert found.reason == "needs n >= 6; smallest p of 4 is 0.125"


@given(differences=TENTHS)
def test_sign_flip_equals_every_flip_of_signs(differences):
    d = np.array(differences)
    flips = [abs(np.dot(d, signs)) for signs in itertools.product((-1, 1), repeat=len(d))]
    assert stats.sign_flip(d, RNG(0)).p == pytest.approx(np.mean(np.array(flips) >= abs(d.sum()) - 1e-9))


def test_sign_flip_at_random_is_near_the_t_test_and_never_zero():
    d = RNG(1).normal(0.4, 1, 40)
    assert stats.sign_flip(d, RNG(0)).p == pytest.approx(stats.resampled_t(d).p, abs=0.01)
    assert stats.sign_flip(d + 5, RNG(0)).p == 1 / 10_001


def test_friedman_of_full_agreement_and_of_ties_alone():
    agree = stats.friedman(np.tile([1.0, 2.0, 3.0], (5, 1)))
    assert (agree.f, agree.p) == (math.inf, 0)
    tied = stats.friedman(np.full((5, 3), 2.0))
    assert (tied.chi2, tied.p) == (0, 1)
    assert stats.friedman(np.array([[1.0, 2.0, 3.0]])).reason == "needs n >= 2"


def test_friedman_refuses_two_methods():
    with pytest.raises(UsageError, match="three or more methods"):
        stats.friedman(np.tile([1.0, 2.0], (5, 1)))


@given(st.integers(0, 1000))
def test_friedman_ignores_order_of_settings_and_methods(seed):
    ranks, rng = stats.rank_matrix(RNG(seed).normal(size=(7, 4))), RNG(seed)
    assert stats.friedman(ranks[rng.permutation(7)][:, rng.permutation(4)]).f == pytest.approx(stats.friedman(ranks).f)


def test_nemenyi_p_meets_alpha_at_the_critical_difference():
    found = stats.nemenyi(np.array([1.0, 2.0, 3.0]), 10)
    edge = stats.nemenyi(np.array([1.0, 1 + found.critical_difference, 3.0]), 10)
    assert edge.p[0, 1] == pytest.approx(0.05, abs=1e-6)
    assert (edge.p == edge.p.T).all()


def test_bayesian_signed_rank_swaps_and_sums_to_one():
    d = RNG(0).normal(0.02, 0.02, 12)
    forth, back = stats.bayesian_signed_rank(d, 0.01, RNG(1)), stats.bayesian_signed_rank(-d, 0.01, RNG(1))
    assert sum(forth) == pytest.approx(1)
    assert forth.better == pytest.approx(back.worse, abs=0.01)
    assert forth.decision(0.5) == "better"


@pytest.mark.parametrize(("shift", "decision"), [(0.05, "better"), (-0.05, "worse"), (0.0, "equivalent")])
def test_bayesian_signed_rank_decides_clear_cases(shift, decision):
    d = shift + RNG(0).normal(0, 0.004, 15)
    assert stats.bayesian_signed_rank(d, 0.01, RNG(1)).decision() == decision


def test_all_pairs_adjusts_over_every_pair_and_refuses_few_settings():
    scores = RNG(0).normal(size=(12, 4)) + np.array([3.0, 0.0, 0.0, -3.0])
    pairs = stats.all_pairs(scores)
    assert pairs.tests == 6
    assert pairs.better[0].tolist() == [False, True, True, True]
    assert pairs.p_adjusted[0, 3] == pytest.approx(stats.holm(pairs.p[np.triu_indices(4, 1)])[2])
    few = stats.all_pairs(scores[:4])
    assert few.tests == 0
    assert few.reason == "needs n >= 6"
    assert not few.better.any()

"""bench/stats/groups.py: the largest gap between groups, from formulas written out."""

import math

import numpy as np
import pytest
from scipy.stats import t

from bench.stats.groups import LEAST_SIDE, group_test, largest_gap, least_side
from bench.stats.pairs import Estimate


def test_group_test_is_welch_with_seeds_and_run_noise_taken_apart():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 0.3, (3, 40)), rng.normal(0.6, 0.2, (3, 25))
    found = group_test(a, b, a.mean(1), b.mean(1))
    seeds = np.var(a.mean(1) - b.mean(1), ddof=1) / 3

    def of_samples(x):
        residual = x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()
        noise = (residual**2).sum() / (2 * (x.shape[1] - 1)) / x.size
        return max(x.mean(0).var(ddof=1) / x.shape[1] - noise, 0)

    def freedom(x):
        centred = x.mean(0) - x.mean()
        return min(x.shape[1] - 1, 2 * x.shape[1] / ((centred**4).mean() / (centred**2).mean() ** 2 - 1))

    v = seeds + of_samples(a) + of_samples(b)
    df = v**2 / (seeds**2 / 2 + of_samples(a) ** 2 / freedom(a) + of_samples(b) ** 2 / freedom(b))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.p == pytest.approx(2 * t.sf(abs(a.mean() - b.mean()) / math.sqrt(v), df))


def test_turned_groups_give_the_same_p():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 30)), rng.normal(size=(4, 50))
    one, other = group_test(a, b, a.mean(1), b.mean(1)), group_test(b, a, b.mean(1), a.mean(1))
    assert (one.p, one.difference) == pytest.approx((other.p, -other.difference))


@pytest.mark.parametrize(
    ("a", "sides", "reason"),
    [
        (np.ones((1, 30)), (None, None), "needs 2 seeds, got 1"),
        (np.full((2, 30), np.nan), (None, None), "needs two test samples in each group, and of every class or side of a label"),
        (np.ones((2, 30)), (LEAST_SIDE - 1, 50), "needs 10 test samples of every class, or side of a label, in each group, got 9"),
    ],
)
def test_what_cannot_be_tested_says_why(a, sides, reason):
    found = group_test(a, a, a.mean(1), a.mean(1), sides)
    assert math.isnan(found.p)
    assert found.reason == reason


def test_equal_groups_without_any_variance_do_not_differ():
    ones = np.ones((3, 30))
    assert group_test(ones, ones, ones.mean(1), ones.mean(1)).p == 1.0


def estimate(difference):
    return Estimate("test", difference, 1.0, 30.0)


def test_largest_gap_allows_for_the_pairs_it_is_chosen_among():
    scores = [0.0, 3.0, 1.0]
    gap = largest_gap(scores, {(i, j): estimate(scores[i] - scores[j]) for i, j in ((0, 1), (0, 2), (1, 2))})
    assert (gap.best, gap.worst, gap.pairs, gap.estimate.difference) == (1, 0, 3, 3.0)
    p = 2 * t.sf(3.0, 30)
    assert gap.p == pytest.approx(1 - (1 - p) ** 3)
    low, high = gap.ends()
    half = t.ppf(1 - (1 - 0.95 ** (1 / 3)) / 2, 30)
    assert (low, high) == pytest.approx((3 - half, 3 + half))
    assert (gap.p <= 0.05) == (low > 0)


def test_groups_without_a_score_are_in_no_pair():
    assert largest_gap([math.nan, 1.0], {}) is None
    gap = largest_gap([math.nan, 1.0, 3.0], {(1, 2): estimate(-2.0)})
    assert (gap.best, gap.worst, gap.pairs, gap.estimate.difference) == (2, 1, 1, 2.0)


def test_least_side_counts_the_rarest_class_or_side_of_a_label():
    assert least_side("auroc", np.array([0, 0, 1, 0]), 2) == 1
    assert least_side("f1_macro", np.array([0, 0, 1, 0]), 3) == 0
    assert least_side("label_auroc", np.array([[1, 0], [0, 0], [1, -1], [0, 1]]), 2) == 1
    assert least_side("accuracy", np.array([0, 0, 1, 0]), 2) is None
    assert least_side("mae", np.array([0.5]), 1) is None

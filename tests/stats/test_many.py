"""bench/stats/many.py: every pair at once says what the test of one pair says."""

import numpy as np
import pytest

from bench import stats
from bench.errors import UsageError

RNG = np.random.default_rng


def made(seeds=(3, 5, 2), n=40, seed=0):
    rng = RNG(seed)
    ability = rng.normal(size=n)
    return [(ability + rng.normal(size=(s, n)) + rng.normal(size=(s, 1)) > 0).astype(float) for s in seeds]


def both(values, scores=None):
    scores = scores or [found.mean(1) if len(found) else np.empty(0) for found in values]
    pairs = [(i, j) for i in range(len(values)) for j in range(i + 1, len(values))]
    return stats.crossed_pairs(values, scores), [stats.crossed_test(values[i], values[j], scores[i], scores[j]) for i, j in pairs]


@pytest.mark.parametrize("seed", range(5))
def test_pairs_equal_the_test_of_each_pair(seed):
    many, single = both(made(seed=seed))
    assert many.p == pytest.approx([found.p for found in single], rel=1e-12)
    assert many.interval() == pytest.approx(np.array([found.interval() for found in single]), rel=1e-12)
    assert many.statistic == pytest.approx([found.statistic for found in single], rel=1e-12)
    assert many.equivalence(0.05) == pytest.approx([found.equivalence(0.05) for found in single], rel=1e-12)
    assert set(many.reasons) == {""}


def test_what_the_data_cannot_answer_has_the_reason_of_the_pair():
    steady = np.tile(np.arange(40) % 2, (3, 1)).astype(float)
    other = steady + 0.25
    unknown = np.full((3, 40), np.nan)
    many, single = both([*made(), made()[0][:1], steady, steady.copy(), other, unknown])
    assert list(many.reasons) == [found.reason for found in single]
    assert np.array_equal(np.isnan(many.p), [np.isnan(found.p) for found in single])
    assert many.p == pytest.approx([found.p for found in single], nan_ok=True)
    assert many.equivalence(0.01) == pytest.approx([found.equivalence(0.01) for found in single], nan_ok=True)
    assert {"", "zero_variance", "needs a score without any one of the test samples", "needs 2 seeds of each method, got 3 and 1"} <= set(
        many.reasons
    )


def test_pairs_of_one_method_are_none():
    assert len(stats.crossed_pairs(made((3,)), [np.zeros(3)]).p) == 0
    assert len(stats.Estimates.of([]).p) == 0


def test_pairs_need_the_same_samples():
    with pytest.raises(UsageError, match="same test samples"):
        stats.crossed_pairs([np.zeros((2, 4)), np.zeros((2, 5))], [np.zeros(2), np.zeros(2)])


@pytest.mark.parametrize("n", range(6, 14))
@pytest.mark.parametrize("shift", [0.0, 0.6, 1.5])
def test_interval_of_a_typical_difference_agrees_with_the_signed_rank_test(n, shift):
    differences = RNG([n, int(10 * shift)]).normal(size=n) + shift
    found = stats.hodges_lehmann(differences)
    assert found.low <= found.difference <= found.high
    assert (found.low > 0 or found.high < 0) == (stats.signed_rank(differences).p <= 0.05)


def test_typical_difference_of_a_published_example():
    """Depression scores of Hollander and Wolfe, table 3.1: R's wilcox.test gives -0.46 and (-0.786, -0.010)."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    found = stats.hodges_lehmann(after - before)
    assert found == pytest.approx((-0.46, -0.786, -0.010), abs=5e-4)


def test_few_differences_have_no_interval():
    found = stats.hodges_lehmann(np.array([0.1, 0.2, 0.3]))
    assert found.difference == pytest.approx(0.2)
    assert np.isnan([found.low, found.high]).all()


def test_interval_of_many_differences_is_close_to_the_exact_one():
    differences = RNG(0).normal(0.1, 1, 200)
    exact, near = stats.hodges_lehmann(differences), stats.hodges_lehmann(np.append(differences, 0.1))
    assert near == pytest.approx(exact, abs=0.02)

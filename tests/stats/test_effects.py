"""bench/stats/effects.py: sizes of effects, and the seeds that would settle a difference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.errors import UsageError

RUNS = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=8)


@given(RUNS, RUNS)
def test_a12_counts_pairs_and_swaps(a, b):
    slow = np.mean([(x > y) + (x == y) / 2 for x in a for y in b])
    assert stats.a12(a, b) == pytest.approx(slow)
    assert stats.a12(b, a) == pytest.approx(1 - slow)
    assert stats.cliffs_delta(a, b) == pytest.approx(-stats.cliffs_delta(b, a))


@pytest.mark.parametrize(("delta", "word"), [(0.1, "negligible"), (-0.2, "small"), (0.4, "medium"), (-0.9, "large")])
def test_magnitude_has_the_published_limits(delta, word):
    assert stats.magnitude(delta) == word


def test_hedges_g_needs_five_runs_and_spread():
    five = np.arange(5.0)
    assert stats.hedges_g(five + 1, five) == pytest.approx(1 / five.std(ddof=1) * (1 - 3 / 31))
    assert math.isnan(stats.hedges_g(five[:4], five))
    assert math.isnan(stats.hedges_g(np.ones(5), np.zeros(5)))


def test_outperformance_swaps_and_has_an_interval_from_five_seeds_on():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=9).round(1), rng.normal(size=9).round(1)
    forth, back = stats.outperforms(a, b, np.random.default_rng(1)), stats.outperforms(b, a, np.random.default_rng(1))
    assert forth.chance == pytest.approx(1 - back.chance)
    assert forth.low <= forth.chance <= forth.high
    assert math.isnan(stats.outperforms(a[:4], b[:4], rng).low)


def test_runs_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match="use a12 for unpaired"):
        stats.outperforms([1.0, 2.0], [1.0], rng)
    with pytest.raises(UsageError, match="1 NaN"):
        stats.a12([math.nan], [1.0])
    with pytest.raises(UsageError, match="gamma"):
        stats.noether_seeds(0.5)


def test_iqm_is_the_mean_of_the_middle_half():
    assert stats.iqm(np.array([[0.0, 1.0], [2.0, 100.0]])) == 1.5


@pytest.mark.parametrize(
    ("sd", "alpha", "seeds"),
    [(1.4, 0.05, [32, 9, 5, 3]), (1.4, 0.01, [48, 14, 7, 4]), (2.4, 0.05, [92, 24, 12, 5]), (2.4, 0.01, [137, 36, 17, 8])],
)
def test_seeds_needed_are_those_of_a_t_test_with_80_percent_power(sd, alpha, seeds):
    """Sample sizes for gaps of 1, 2, 3 and 5 points, from simulation; one seed of slack."""
    found = [stats.seeds_needed(gap, sd, sd, alpha=alpha) for gap in (1, 2, 3, 5)]
    assert found == pytest.approx(seeds, abs=1)


def test_more_seeds_are_needed_for_smaller_gaps_and_none_suffice_against_few_samples():
    needed = [stats.seeds_needed(gap, 0.02, 0.02, 0.003**2) for gap in (0.1, 0.05, 0.03, 0.02)]
    assert needed == sorted(needed)
    assert stats.seeds_needed(0.01, 0.02, 0.02, sample_variance=0.01**2) is None
    assert stats.seeds_needed(0.0, 0.02, 0.02) is None
    assert stats.seeds_needed(0.1, 0.0, 0.0) == 2


def test_seeds_for_equivalence_rise_towards_the_margin():
    needed = [stats.seeds_for_equivalence(gap, 0.01, 0.01, 0.0, rope=0.01) for gap in (0.0, 0.002, 0.005)]
    assert needed == sorted(needed)
    assert stats.seeds_for_equivalence(0.01, 0.01, 0.01, 0.0, rope=0.01) is None
    assert stats.seeds_for_equivalence(0.0, 0.01, 0.01, 0.02**2, rope=0.01) is None


@pytest.mark.slow
@pytest.mark.parametrize("sample_sd", [0.0, 0.1])
def test_seeds_needed_give_the_power_they_promise(sample_sd):
    """Draws of the crossed design with that many seeds find the difference in about 80 %, and one seed fewer in less."""
    rng, n, gap, sd = np.random.default_rng(0), 200, 0.03, 0.02
    seeds = stats.seeds_needed(gap, sd, sd, 2 * sample_sd**2 / n)
    found = 0
    for _ in range(1000):
        a, b = (rng.normal(0, sd, (seeds, 1)) + rng.normal(0, sample_sd, n) + rng.normal(0, 0.01, (seeds, n)) for _ in range(2))
        found += stats.crossed_test(a + gap, b).p <= 0.05
    assert 0.75 <= found / 1000 <= 0.9

"""bench/stats/sequential.py: published boundaries, a p that allows for every look, and how often the whole procedure errs."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from bench.errors import UsageError
from bench.stats import crossed_test, look_levels, look_sizes, sequential_p, spent_alpha

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
SIZES = look_sizes(3, 30)
FRACTIONS = tuple(n / 30 for n in SIZES)


@pytest.mark.parametrize(
    ("fractions", "expected"),
    [
        (FIFTHS, [4.8769, 3.3569, 2.6803, 2.2898, 2.0310]),
        ((0.25, 0.5, 0.75, 1.0), [4.3326, 2.9631, 2.3590, 2.0141]),
        ((1.0,), [1.9600]),
    ],
    ids=["five", "four", "one"],
)
def test_boundaries_are_the_published_ones(fractions, expected):
    """Two-sided 5 %, O'Brien-Fleming-type, equal steps: Reboussin, DeMets, Kim and Lan 2000, program LD98; R package ldbounds."""
    assert norm.isf(look_levels(fractions) / 2) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_levels_spend_what_was_planned(alpha):
    """Against a Brownian motion walked 400,000 times."""
    steps = np.random.default_rng(0).normal(size=(400_000, len(FRACTIONS))) * np.sqrt(np.diff(FRACTIONS, prepend=0))
    z = np.cumsum(steps, 1) / np.sqrt(FRACTIONS)
    crossed = np.maximum.accumulate(2 * norm.sf(np.abs(z)) <= look_levels(FRACTIONS, alpha), axis=1).mean(0)
    assert crossed == pytest.approx(spent_alpha(FRACTIONS, alpha), abs=4 * np.sqrt(alpha / 400_000))


def test_all_alpha_is_spent_at_the_last_look_and_next_to_none_at_the_first():
    spent = spent_alpha(FRACTIONS)
    assert spent[-1] == pytest.approx(0.05)
    assert spent[0] < 1e-6
    assert (np.diff(spent) > 0).all()


@settings(deadline=None)
@given(st.floats(1e-3, 0.9), st.integers(1, len(FRACTIONS) - 1))
def test_sequential_p_is_alpha_where_a_look_is_just_significant(alpha, look):
    p = [1.0] * look + [look_levels(FRACTIONS, alpha)[look]]
    assert sequential_p(FRACTIONS, p) == pytest.approx(alpha, rel=2e-3)


@settings(deadline=None)
@given(st.floats(0, 1e-3), st.integers(0, len(FRACTIONS) - 1))
def test_small_sequential_p_is_never_understated(p, look):
    found = sequential_p(FRACTIONS, [1.0] * look + [p])
    assert look_levels(FRACTIONS, min(1.001 * found, 0.999))[look] >= p * (1 - 1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=len(FRACTIONS)))
def test_sequential_p_never_rises_and_never_undercuts_p(p):
    found = [sequential_p(FRACTIONS, p[: look + 1]) for look in range(len(p))]
    assert (np.diff(found) <= 0).all()
    assert found[-1] >= min(p) - 1e-12


def test_one_planned_look_leaves_p_as_it_is():
    assert sequential_p((1.0,), [0.031]) == 0.031
    assert np.isnan(sequential_p(FRACTIONS, []))
    assert np.isnan(sequential_p(FRACTIONS, [np.nan]))


@pytest.mark.parametrize("first", [2, 3, 5, 10, 29, 30])
def test_looks_rise_from_the_first_number_of_seeds_to_the_largest(first):
    sizes = look_sizes(first, 30)
    assert (sizes[0], sizes[-1]) == (first, 30)
    assert (np.diff(sizes) > 0).all()
    assert all(n <= 2 * before for before, n in pairwise(sizes))


@pytest.mark.parametrize(
    "call",
    [
        lambda: look_sizes(1, 30),
        lambda: look_sizes(5, 4),
        lambda: spent_alpha([0.5, 0.5]),
        lambda: spent_alpha([0.5, 1.1]),
        lambda: spent_alpha([]),
        lambda: spent_alpha([1.0], 0),
        lambda: sequential_p((1.0,), [0.5, 0.5]),
    ],
)
def test_bad_plans_are_refused(call):
    with pytest.raises(UsageError):
        call()


def runs_of(rng, samples, seed_sd, own_sd, gap=0.0):
    """Per-sample values of two methods at 30 seeds each: seeds of unlike quality, samples of unlike difficulty for either."""
    shared = rng.normal(0, 1, samples)
    return [
        (rng.normal(0, seed_sd, (30, 1)) + shared + rng.normal(0, own_sd, samples) + rng.normal(0, 0.6, (30, samples)) + shift)
        for shift in (gap, 0.0)
    ]


def procedure(rng, rope=0.05, **options):
    """Walk the looks until `difference`, `equivalence` or the end; returns what was claimed, at how many seeds, and naive p at each."""
    a, b = runs_of(rng, **options)
    p, p_equivalence = [], []
    for n in SIZES:
        found = crossed_test(a[:n], b[:n])
        p.append(found.p)
        p_equivalence.append(2 * found.equivalence(rope))
    claims = [
        "equivalence" if sequential_p(FRACTIONS, p_equivalence[: k + 1]) / 2 <= 0.05
        else "difference" if sequential_p(FRACTIONS, p[: k + 1]) <= 0.05 else ""
        for k in range(len(SIZES))
    ]  # fmt: skip
    stop = next((k for k, claim in enumerate(claims) if claim), len(SIZES) - 1)
    return claims[stop], SIZES[stop], min(p) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("own_sd", [0.0, 0.5, 1.5], ids=["seeds alone vary", "both vary", "samples vary most"])
def test_whole_procedure_errs_as_often_as_it_says(own_sd):
    """Nothing to find, 1,000 draws: at most 7 % at nominal 5 % (SE 0.7). Taking each look at 5 % would err far more often."""
    rng = np.random.default_rng(1)
    options = {"samples": 300, "seed_sd": 0.1, "own_sd": own_sd, "rope": 1e-9}
    draws = [procedure(rng, **options) for _ in range(1000)]
    assert np.mean([claim == "difference" for claim, _, _ in draws]) <= 0.07
    if own_sd == 0:
        assert np.mean([naive for _, _, naive in draws]) > 0.10


@pytest.mark.slow
def test_equivalence_claimed_at_its_margin_errs_as_often_as_it_says():
    rng = np.random.default_rng(2)
    draws = [procedure(rng, samples=300, seed_sd=0.05, own_sd=0.1, gap=0.05) for _ in range(1000)]
    assert np.mean([claim == "equivalence" for claim, _, _ in draws]) <= 0.07


@pytest.mark.slow
def test_clear_difference_is_found_with_fewer_seeds():
    rng = np.random.default_rng(3)
    draws = [procedure(rng, samples=300, seed_sd=0.1, own_sd=0.3, gap=0.2, rope=1e-9) for _ in range(300)]
    assert np.mean([claim == "difference" for claim, _, _ in draws]) > 0.95
    assert np.mean([seeds for _, seeds, _ in draws]) < 15

"""bench/stats/ranking.py: ranks, failures, rank sets, letters, the Pareto front."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import stats
from bench.errors import UsageError
from bench.stats import ranks


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(0, 1), min_size=1))
def test_ranks_sum_as_they_must_and_follow_direction(scores):
    up, down = ranks(scores, "accuracy"), ranks(scores, "brier")
    n = len(scores)
    assert sum(up.values()) == pytest.approx(n * (n + 1) / 2)
    assert all(up[name] + down[name] == pytest.approx(n + 1) for name in scores)


def test_nan_ranks_last_and_ties_share():
    scores = {"a": 0.5, "b": float("nan"), "c": 0.5, "d": 0.9}
    assert ranks(scores, "accuracy") == {"a": 2.5, "b": 4.0, "c": 2.5, "d": 1.0}
    assert ranks(scores, "brier") == {"a": 1.5, "b": 4.0, "c": 1.5, "d": 3.0}


def test_failed_method_is_last_even_where_its_filled_score_is_not():
    scores = np.array([[0.4, np.nan, 0.45, np.nan]])
    assert stats.rank_matrix(scores).tolist() == [[2, 3.5, 1, 3.5]]
    assert stats.fill_failures(scores, np.array([0.57])).tolist() == [[0.4, 0.4, 0.45, 0.4]]


def test_floor_alone_fills_a_setting_where_all_failed():
    assert stats.fill_failures(np.full((1, 2), np.nan), np.array([0.5])).tolist() == [[0.5, 0.5]]
    assert stats.fill_failures(np.array([[0.6, np.nan]]), np.array([np.nan])).tolist() == [[0.6, 0.6]]
    with pytest.raises(UsageError, match=r"settings \[0\] have neither"):
        stats.fill_failures(np.full((1, 2), np.nan), np.array([np.nan]))


@given(st.integers(0, 500), st.integers(2, 7))
def test_letters_are_shared_exactly_by_pairs_that_are_not_significant(seed, k):
    rng = np.random.default_rng(seed)
    means = rng.permutation(k)
    better = np.triu(rng.random((k, k)) < 0.5, 1)[np.ix_(means, means)] | np.zeros((k, k), bool)
    found = stats.standing(better, means)
    shared = np.array([[bool(set(a) & set(b)) for b in found.letters] for a in found.letters])
    assert (shared == ~(better | better.T)).all()
    assert (found.low <= found.high).all()


def test_method_better_than_all_others_is_the_best_alone():
    better = np.zeros((3, 3), bool)
    better[0, 1:] = True
    found = stats.standing(better, np.array([1, 2, 3]))
    assert found.best.tolist() == found.top.tolist() == [True, False, False]
    assert found.letters == ("a", "b", "b")


def test_letters_go_on_after_z():
    better = np.triu(np.ones((60, 60), bool), 1)
    letters = stats.standing(better, np.arange(60)).letters
    assert (letters[0], letters[25], letters[26], letters[51], letters[52]) == ("a", "z", "A", "Z", "(53)")


def test_pair_that_is_better_both_ways_is_refused():
    with pytest.raises(UsageError, match="better both ways"):
        stats.standing(np.ones((2, 2)), np.arange(2))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=10))
def test_front_holds_what_no_other_point_beats(points):
    score, cost = np.array(points, dtype=float).T
    front = stats.pareto_front(score, cost)
    slow = [not any(s >= score[i] and c <= cost[i] and (s > score[i] or c < cost[i]) for s, c in points) for i in range(len(points))]
    assert front.tolist() == slow

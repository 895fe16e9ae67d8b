"""bench/stats/nested.py: known answers worked out by hand, what changes nothing, and how often it errs and finds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.errors import UsageError
from bench.stats import more_is_worse, nested_pairs, pseudo_values
from bench.stats.nested import lower_p
from bench.stats.pairs import Estimate


def scores_of(right):
    """Class scores (N, 2) of rows of class 1 that are right or wrong."""
    right = np.asarray(right, dtype=float)
    return np.stack([1 - right, right], axis=-1)


def told(right, seeds=1, letters="AB", observed=None, least_rows=1, metric="accuracy"):
    """The answer for rows of class 1; right[combination] (N,) or (S, N)."""
    arrays = {name: [scores_of(row) for row in np.broadcast_to(found, (seeds, np.shape(found)[-1]))] for name, found in right.items()}
    rows = len(next(iter(arrays.values()))[0])
    observed = np.ones((rows, len(letters)), dtype=bool) if observed is None else observed
    return more_is_worse(metric, letters, np.ones(rows, dtype=np.int64), arrays, observed, least_rows)


# ---- pairs


@pytest.mark.parametrize(("modalities", "pairs"), [(2, 2), (3, 12), (4, 50), (5, 180), (6, 186)])
def test_pairs_are_as_many_as_the_formulas_say(modalities, pairs):
    found = nested_pairs("ABCDEF"[:modalities])
    assert len(found) == len(set(found)) == pairs
    assert all(set(fewer) < set(more) for fewer, more in found)
    if modalities > 5:
        assert all(len(more) == len(fewer) + 1 for fewer, more in found)


# ---- known answers


def test_a_loss_of_one_row_in_four_is_told():
    found = told({"A": [1, 1, 0, 0], "B": [1, 0, 1, 0], "AB": [1, 0, 0, 0]})
    assert [pair.difference for pair in found.found] == [-0.25, -0.25]
    assert (found.raw, found.harm, found.help, found.lost, found.gain) == (1, 0.25, 0, 0.5, -0.25)
    assert found.sure is None
    assert found.reason == "needs 5 seeds for 2 pairs, got 1"


def test_what_never_changes_is_no_violation():
    same = np.array([1, 0] * 20)
    found = told({"A": same, "B": same, "AB": same}, seeds=5)
    assert (found.raw, found.sure, found.gain, found.harm) == (0, 0, 0, 0)
    assert found.worst.p == 1


def test_a_fall_that_nothing_varies_in_is_no_test():
    assert math.isnan(lower_p(Estimate("", -0.1, 0.0)))
    assert lower_p(Estimate("", 0.0, 0.0)) == 1
    assert lower_p(Estimate("", -2.0, 1.0)) == pytest.approx(0.02275, abs=1e-5)


def test_equal_seeds_have_the_normal_quantile():
    rng = np.random.default_rng(0)
    right = {name: rng.random(200) < share for name, share in (("A", 0.8), ("B", 0.8), ("AB", 0.5))}
    found = told(right, seeds=10)
    x = right["AB"].astype(float) - right["A"]
    half = 1.959964 * x.std(ddof=1) / math.sqrt(200)
    assert found.found[0].interval == pytest.approx((x.mean() - half, x.mean() + half))
    assert found.sure == 2
    assert found.marked == (("A", "AB"), ("B", "AB"))
    assert found.harmful == ("A", "B")


def test_rows_that_lack_a_modality_enter_no_pair_that_holds_it():
    observed = np.ones((40, 2), dtype=bool)
    observed[30:, 1] = False
    wrong_there = np.r_[np.ones(30), np.zeros(10)]
    found = told({"A": np.ones(40), "B": np.ones(40), "AB": wrong_there}, observed=observed, least_rows=30)
    assert [pair.rows for pair in found.found] == [30, 30]
    assert found.raw == found.harm == 0


def test_pairs_with_few_rows_are_left_out_and_counted():
    observed = np.ones((40, 3), dtype=bool)
    observed[20:, 2] = False
    right = {name: np.ones(40) for name in ("A", "B", "C", "AB", "AC", "BC", "ABC")}
    found = told(right, letters="ABC", observed=observed, least_rows=30)
    assert (found.pairs, found.left_out) == (2, 10)
    observed[:, :] = False
    nothing = told(right, letters="ABC", observed=observed, least_rows=30)
    assert (nothing.pairs, nothing.sure, nothing.worst) == (0, None, None)
    assert nothing.reason == "no pair has 30 test rows that observe its larger combination"


def test_log_loss_is_told_beside_the_metric():
    sure, less = np.tile([0.1, 0.9], (40, 1)), np.tile([0.4, 0.6], (40, 1))
    arrays = {"A": [sure], "B": [sure], "AB": [less]}
    found = more_is_worse("accuracy", "AB", np.ones(40, dtype=np.int64), arrays, np.ones((40, 2), dtype=bool))
    assert (found.raw, found.loss_raw) == (0, 1)


@pytest.mark.parametrize("metric", ["auroc", "brier", "f1_macro"])
def test_other_metrics_take_the_same_path_higher_being_better(metric):
    rng = np.random.default_rng(1)
    target = np.arange(60) % 2
    arrays = {}
    for name in ("A", "B", "AB"):
        p = rng.random((2, 60, 1))
        arrays[name] = [np.concatenate([1 - each, each], 1) for each in p]
    found = more_is_worse(metric, "AB", target, arrays, np.ones((60, 2), dtype=bool))
    sign = -1 if metric == "brier" else 1
    from bench.stats.metrics import METRICS

    expected = np.mean(
        [sign * (METRICS[metric].of(target, b) - METRICS[metric].of(target, a)) for a, b in zip(arrays["A"], arrays["AB"], strict=True)]
    )
    assert found.found[0].difference == pytest.approx(expected, abs=1e-9)
    assert math.isnan(found.harm)
    if metric == "auroc":
        values = [
            pseudo_values(metric, target, b) - pseudo_values(metric, target, a) for a, b in zip(arrays["A"], arrays["AB"], strict=True)
        ]
        assert np.mean(values) == pytest.approx(expected, abs=1e-8)


def random_answers(rng, letters="ABC", seeds=5, rows=300, share=0.7):
    """Seeds and rows that differ, and combinations that do not: what a row is like decides half of it."""
    likely = rng.normal(size=rows)
    names = {name for pair in nested_pairs(letters) for name in pair}
    cut = float(np.quantile(rng.normal(size=10_000) * math.sqrt(2), share))
    return {name: (likely + rng.normal(size=(seeds, rows))) < cut for name in sorted(names)}


def test_names_and_order_change_nothing():
    rng = np.random.default_rng(2)
    right, turned, order = random_answers(rng), dict(zip("ABC", "CAB", strict=True)), rng.permutation(300)
    renamed = {"".join(sorted(turned[letter] for letter in name)): found[:, order] for name, found in right.items()}
    one, other = told(right, seeds=5, letters="ABC"), told(renamed, seeds=5, letters="ABC")
    for name in ("pairs", "raw", "sure", "harm", "help", "lost", "gain", "loss_raw"):
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name


def test_every_combination_needs_scores():
    with pytest.raises(UsageError, match="every combination of AB needs scores of the same seeds"):
        told({"A": [1, 0], "AB": [1, 1]})


@pytest.mark.parametrize(("letters", "seeds", "needed"), [("AB", 4, 5), ("ABC", 4, 5), ("ABCD", 9, 10)])
def test_marks_need_seeds(letters, seeds, needed):
    found = told(random_answers(np.random.default_rng(3), letters, seeds, 40), seeds, letters)
    assert found.reason == f"needs {needed} seeds for {found.pairs} pairs, got {seeds}"
    assert found.sure is None
    assert 0 <= found.raw <= 1


# ---- how often it errs and finds


def test_false_marks_are_rare_where_more_changes_nothing():
    rng = np.random.default_rng(4)
    marked = sum(bool(told(random_answers(rng), seeds=5, letters="ABC").sure) for _ in range(200))
    assert marked <= 0.08 * 200


def test_a_loss_of_eight_points_is_found_and_no_other():
    rng, found = np.random.default_rng(5), []
    for _ in range(20):
        right = random_answers(rng, seeds=10, rows=656)
        lost = rng.random(656) < 0.11  # 7.7 points where 70 % are right
        right["ABC"] = right["ABC"] & ~lost
        told_of = told(right, seeds=10, letters="ABC")
        found.append(told_of.sure)
        assert all(more == "ABC" for _, more in told_of.marked)
    assert np.mean(np.array(found) > 0) >= 0.95

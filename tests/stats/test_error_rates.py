"""How often each default decision errs where there is nothing to find: nominal 5 %, 1,000 draws, 3 to 7 % allowed (SE 0.7).

Nothing to find means: two methods whose next seed on the next sample is equally good. Samples are of unlike difficulty for both and
for each method; seeds of a method are of unlike quality.
"""

from itertools import combinations

import numpy as np
import pytest

from bench import stats
from bench.stats.groups import group_test, largest_gap, least_side
from bench.stats.metrics import METRICS

pytestmark = pytest.mark.slow
DRAWS, SAMPLES, ROPE = 1000, 656, 0.01
SEEDS = pytest.mark.parametrize("seeds", [3, 5, 10], ids=lambda seeds: f"{seeds} seeds")
NOISE = np.array([0.1, 0.3, 0.5])


def rate(decision, seeds, draws=DRAWS):
    rng = np.random.default_rng(seeds)
    return np.mean([decision(rng, seeds) for _ in range(draws)])


def scores_of(rng, target, shared, seeds, gain=0.9):
    """Class probabilities of one method: two classes, seed SD about 3 points of accuracy. Shapes: (S, N, 2)."""
    own, quality = rng.normal(0, 0.6, len(target)), gain + rng.normal(0, 0.12, (seeds, 1))
    logits = quality * (2 * target - 1) + shared + own + rng.normal(0, 0.6, (seeds, len(target)))
    positive = 1 / (1 + np.exp(-2 * logits))
    return np.stack([1 - positive, positive], 2)


def two_methods(rng, seeds, samples=SAMPLES):
    target, shared = (rng.random(samples) < 0.42).astype(int), rng.normal(0, 0.8, samples)
    return target, [scores_of(rng, target, shared, seeds) for _ in range(2)]


def values_of(metric, target, scores):
    """Shapes: (S, N, C) -> pseudo-values (S, N), scores (S,)."""
    return np.stack([stats.pseudo_values(metric, target, seed) for seed in scores]), [METRICS[metric].of(target, seed) for seed in scores]


@SEEDS
@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "auroc", "auprc"])
def test_crossed_test_errs_as_often_as_it_says(metric, seeds):
    def decision(rng, seeds):
        target, (a, b) = two_methods(rng, seeds)
        (a, a_scores), (b, b_scores) = values_of(metric, target, a), values_of(metric, target, b)
        return stats.crossed_test(a, b, a_scores, b_scores).p <= 0.05

    assert 0.03 <= rate(decision, seeds) <= 0.07


def labels_of(rng, target, shared, seeds):
    """Probabilities of four labels of one method. Shapes: (S, N, L)."""
    own, quality = rng.normal(0, 0.6, target.shape), 0.9 + rng.normal(0, 0.12, (seeds, 1, 1))
    logits = quality * (2 * (target == 1) - 1) + shared + own + rng.normal(0, 0.6, (seeds, *target.shape))
    return 1 / (1 + np.exp(-2 * logits))


def values_near(rng, target, shared, seeds):
    """Numbers of one method, whose seeds shrink by unlike factors. Shapes: (S, N, 1)."""
    own, quality = rng.normal(0, 0.5, len(target)), 0.8 + rng.normal(0, 0.04, (seeds, 1))
    return (quality * target + shared + own + rng.normal(0, 0.5, (seeds, len(target))))[:, :, None]


@SEEDS
@pytest.mark.parametrize("metric", ["label_auroc", "label_auroc_micro", "label_auprc", "label_f1", "label_brier"])
def test_crossed_test_of_labels_errs_as_often_as_it_says(metric, seeds):
    def decision(rng, seeds):
        target = (rng.random((300, 4)) < (0.15, 0.3, 0.4, 0.5)).astype(np.int64)
        shared = rng.normal(0, 0.8, (300, 1)) + rng.normal(0, 0.4, target.shape)
        (a, a_scores), (b, b_scores) = (values_of(metric, known(target), labels_of(rng, target, shared, seeds)) for _ in range(2))
        return stats.crossed_test(a, b, a_scores, b_scores).p <= 0.05

    def known(target):
        return np.where(np.arange(target.size).reshape(target.shape) % 11 == 0, -1, target)  # the same for both

    assert 0.03 <= rate(decision, seeds) <= 0.07


@SEEDS
@pytest.mark.parametrize("metric", ["mae", "rmse", "r2", "pearson", "concordance"])
def test_crossed_test_of_values_errs_as_often_as_it_says(metric, seeds):
    def decision(rng, seeds):
        target, shared = rng.gamma(4, 0.5, 300), rng.normal(0, 0.6, 300)
        (a, a_scores), (b, b_scores) = (values_of(metric, target, values_near(rng, target, shared, seeds)) for _ in range(2))
        return stats.crossed_test(a, b, a_scores, b_scores).p <= 0.05

    assert 0.03 <= rate(decision, seeds) <= 0.07


@SEEDS
def test_crossed_test_after_holm_over_settings_errs_as_often_as_it_says(seeds):
    def p_of_setting(rng, seeds):
        target, methods = two_methods(rng, seeds)
        a, b = ((scores.argmax(2) == target).astype(float) for scores in methods)
        return stats.crossed_test(a, b).p

    found = rate(lambda rng, seeds: (stats.holm([p_of_setting(rng, seeds) for _ in range(4)]) <= 0.05).any(), seeds)
    assert 0.03 <= found <= 0.07


def gap_p(metric, target, scores, sizes):
    """p of the largest gap among groups of these sizes, whose rows are all drawn alike."""
    group, sign, outputs = np.repeat(np.arange(len(sizes)), sizes), METRICS[metric].sign, scores.shape[2]
    values, means, sides = [], [], []
    for k in range(len(sizes)):
        of_seeds, own = values_of(metric, target[group == k], scores[:, group == k])
        values.append(sign * of_seeds)
        means.append(sign * np.array(own))
        sides.append(least_side(metric, target[group == k], outputs))
    pairs = combinations(range(len(sizes)), 2)
    tests = {(i, j): group_test(values[i], values[j], means[i], means[j], (sides[i], sides[j])) for i, j in pairs}
    return largest_gap([float(mean.mean()) for mean in means], tests).p


@SEEDS
@pytest.mark.parametrize("sizes", [(200, 120), (150, 130, 110)], ids=["two groups", "three groups"])
@pytest.mark.parametrize("metric", ["accuracy", "auroc", "label_auroc", "mae"])
def test_gap_between_groups_errs_as_often_as_it_says(metric, sizes, seeds):
    """A method is equally good in all groups; its seeds are of unlike quality, and its samples of unlike difficulty."""
    n = sum(sizes)

    def decision(rng, seeds):
        if metric == "mae":
            target = rng.gamma(4, 0.5, n)
            return gap_p(metric, target, values_near(rng, target, rng.normal(0, 0.6, n), seeds), sizes) <= 0.05
        if metric == "label_auroc":
            target = (rng.random((n, 4)) < (0.2, 0.3, 0.4, 0.5)).astype(np.int64)
            shared = rng.normal(0, 0.8, (n, 1)) + rng.normal(0, 0.4, target.shape)
            return gap_p(metric, target, labels_of(rng, target, shared, seeds), sizes) <= 0.05
        target = (rng.random(n) < 0.42).astype(int)
        return gap_p(metric, target, scores_of(rng, target, rng.normal(0, 0.8, n), seeds), sizes) <= 0.05

    assert 0.03 <= rate(decision, seeds) <= 0.07


@SEEDS
def test_noise_auc_test_errs_as_often_as_it_says(seeds):
    def decision(rng, seeds):
        """The same samples and seeds at every level; what a level hides lowers the scores of both methods."""
        target, shared = (rng.random(300) < 0.42).astype(int), rng.normal(0, 0.8, 300)
        right = []
        for _ in range(2):
            own, quality = rng.normal(0, 0.6, 300), rng.normal(0, 0.12, (seeds, 1))
            logits = (1.2 - NOISE[:, None, None] + quality) * (2 * target - 1) + shared + own + rng.normal(0, 0.6, (3, seeds, 300))
            right.append(((logits > 0) == target).astype(float))
        a, b = right
        return stats.noise_auc_test(NOISE, a, b, a.mean(2), b.mean(2)).p <= 0.05

    assert 0.03 <= rate(decision, seeds) <= 0.07


@SEEDS
def test_equivalence_errs_as_often_as_it_says_at_its_margin(seeds):
    def decision(rng, seeds):
        sample, spread = rng.normal(0, 0.05, 400), 0.004
        a, b = (rng.normal(0, spread, (seeds, 1)) + sample + rng.normal(0, 0.01, 400) + rng.normal(0, 0.02, (seeds, 400)) for _ in range(2))
        return stats.crossed_test(a + ROPE, b).verdict(ROPE) == "equivalent"

    assert 0.03 <= rate(decision, seeds) <= 0.07


def setting_means(rng, seeds, settings, methods, tau=2.0):
    """Mean scores in points: settings of unlike difficulty, true gaps that differ by setting and are 0 on average, seed noise."""
    difficulty, gaps = rng.normal(60, 8, (settings, 1)), rng.normal(0, tau, (settings, methods))
    return difficulty + gaps + rng.normal(0, 1.7 / np.sqrt(seeds), (settings, methods))


@SEEDS
@pytest.mark.parametrize(
    "decision",
    [
        lambda scores, rng: stats.signed_rank(scores[:, 0] - scores[:, 1]).p <= 0.05,
        lambda scores, rng: stats.friedman(stats.rank_matrix(scores)).p <= 0.05,
        lambda scores, rng: stats.resampled_t(scores[:, 0] - scores[:, 1]).p <= 0.05,
        lambda scores, rng: stats.sign_flip(scores[:, 0] - scores[:, 1], rng).p <= 0.05,
    ],
    ids=["signed rank", "Friedman", "t on dataset means", "sign flip of dataset means"],
)
def test_decisions_over_settings_err_as_often_as_they_say(decision, seeds):
    found = rate(lambda rng, seeds: decision(setting_means(rng, seeds, settings=12, methods=6), rng), seeds)
    assert 0.03 <= found <= 0.07


@SEEDS
def test_signed_rank_on_all_pairs_after_holm_errs_at_most_as_often_as_it_says(seeds):
    """15 tests whose exact p are coarse: the family errs less often than 5 %, never more."""
    found = rate(lambda rng, seeds: stats.all_pairs(setting_means(rng, seeds, 12, 6)).better.any(), seeds)
    assert found <= 0.07


@pytest.mark.parametrize("test", ["McNemar", "DeLong"])
def test_tests_of_two_trained_models_err_as_often_as_they_say(test):
    """Two fixed models, equally good on the next sample: what these two tests speak of."""

    def decision(rng, _):
        target, shared = (rng.random(SAMPLES) < 0.42).astype(int), rng.normal(0, 0.8, SAMPLES)
        a, b = (0.9 * (2 * target - 1) + shared + rng.normal(0, 0.8, SAMPLES) for _ in range(2))
        if test == "DeLong":
            return stats.delong(target, a, b).p <= 0.05
        a_right, b_right = (a > 0) == target, (b > 0) == target
        return stats.mcnemar((a_right & ~b_right).sum(), (b_right & ~a_right).sum()) <= 0.05

    assert 0.03 <= rate(decision, 3) <= 0.07

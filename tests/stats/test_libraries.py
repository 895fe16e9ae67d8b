"""bench/stats against scipy, statsmodels, scikit-posthocs and baycomp on random data."""

import numpy as np
import pytest
from scipy import stats as sp

from bench import stats

SEEDS = pytest.mark.parametrize("seed", range(3))


@SEEDS
@pytest.mark.parametrize("zeros", ["zsplit", "pratt", "wilcox"])
def test_signed_rank_is_scipys_with_permutations(seed, zeros):
    d = np.random.default_rng(seed).integers(-4, 6, 10) / 10
    found = stats.signed_rank(d, zeros)
    exact = sp.wilcoxon(d, zero_method=zeros, method=sp.PermutationMethod(n_resamples=np.inf))
    assert found.p == pytest.approx(exact.pvalue)
    assert found.p_asymptotic == pytest.approx(sp.wilcoxon(d, zero_method=zeros, method="asymptotic").pvalue)


@SEEDS
def test_friedman_is_scipys(seed):
    scores = np.random.default_rng(seed).integers(0, 6, (9, 4)) / 10
    found, expected = stats.friedman(stats.rank_matrix(scores)), sp.friedmanchisquare(*scores.T)
    assert (found.chi2, found.p_chi2) == pytest.approx((expected.statistic, expected.pvalue))


@SEEDS
def test_welch_and_permutation_are_scipys(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 1, 5), rng.normal(0.5, 2, 5)
    found = stats.welch(a.mean(), a.std(ddof=1), 5, b.mean(), b.std(ddof=1), 5)
    expected = sp.ttest_ind(a, b, equal_var=False)
    assert (found.p, *found.interval()) == pytest.approx((expected.pvalue, *expected.confidence_interval()))
    by_scipy = sp.permutation_test((a, b), lambda x, y, axis: x.mean(axis) - y.mean(axis), vectorized=True)
    assert stats.seed_permutation(a, b, rng) == pytest.approx(by_scipy.pvalue)


@SEEDS
def test_delong_variance_is_that_of_the_pairwise_kernel(seed):
    rng = np.random.default_rng(seed)
    target, scores = np.arange(50) % 3 == 0, rng.normal(size=(2, 50)).round(1)
    kernel = np.sign(scores[:, target][:, :, None] - scores[:, ~target][:, None]) / 2 + 0.5  # (2, n1, n0)
    covariance = np.cov(kernel.mean(2)) / target.sum() + np.cov(kernel.mean(1)) / (~target).sum()
    found = stats.delong(target, *scores)
    assert found.difference == pytest.approx(np.diff(kernel.mean((1, 2)))[0] * -1)
    assert found.error**2 == pytest.approx(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


@SEEDS
def test_bca_is_scipys(seed):
    values = np.random.default_rng(seed).exponential(size=40)
    expected = sp.bootstrap((values,), np.mean, method="BCa", n_resamples=999, rng=seed)
    found = stats.bca_interval(expected.bootstrap_distribution, values.mean(), (values.sum() - values) / 39)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval))


@SEEDS
def test_crossed_components_are_the_mean_squares_of_statsmodels(seed):
    pandas, anova, ols = pytest.importorskip("pandas"), *_statsmodels("stats.anova", "formula.api")
    d = np.random.default_rng(seed).integers(-1, 2, (4, 9)).astype(float)
    rows, columns = np.indices(d.shape)
    table = pandas.DataFrame({"d": d.ravel(), "seed": rows.ravel(), "sample": columns.ravel()})
    squares = anova.anova_lm(ols.ols("d ~ C(seed) + C(sample)", table).fit())["mean_sq"]
    assert list(stats.paired_crossed_test(d).parts.values()) == pytest.approx(squares.to_list())


@SEEDS
def test_holm_and_benjamini_hochberg_are_those_of_statsmodels(seed):
    (multitest,) = _statsmodels("stats.multitest")
    p = np.random.default_rng(seed).random(12).round(2) ** 3
    assert np.allclose(stats.holm(p), multitest.multipletests(p, method="holm")[1])
    assert np.allclose(stats.benjamini_hochberg(p), multitest.multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize(("b", "c"), [(0, 0), (3, 9), (12, 4), (7, 7)])
def test_mcnemar_is_that_of_statsmodels(b, c):
    (tables,) = _statsmodels("stats.contingency_tables")
    assert stats.mcnemar(b, c) == pytest.approx(tables.mcnemar([[20, b], [c, 30]], exact=True).pvalue)


@SEEDS
def test_equivalence_is_that_of_statsmodels(seed):
    (weighted,) = _statsmodels("stats.weightstats")
    d = np.random.default_rng(seed).normal(0.2, 1, 15)
    found = stats.resampled_t(d).equivalence(1.0)
    assert found == pytest.approx(weighted.ttost_paired(d, np.zeros(15), -1, 1)[0])


@SEEDS
def test_nemenyi_is_that_of_scikit_posthocs(seed):
    posthocs = pytest.importorskip("scikit_posthocs", reason="scikit-posthocs is not installed")
    scores = np.random.default_rng(seed).normal(size=(11, 4))
    found = stats.nemenyi(stats.rank_matrix(scores).mean(0), 11)
    assert np.allclose(found.p, posthocs.posthoc_nemenyi_friedman(scores), atol=1e-4)


def test_bayesian_tests_are_those_of_baycomp():
    baycomp = pytest.importorskip("baycomp", reason="baycomp is not installed")
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.80, 0.03, 15), rng.normal(0.79, 0.03, 15)
    correlated = baycomp.CorrelatedTTest(a, b, rope=0.01, runs=1).probs()
    found = stats.resampled_t(a - b, 1 / 14).regions(0.01)
    assert (found.better, found.equal, found.worse) == pytest.approx(correlated, abs=1e-9)
    signed = baycomp.SignedRankTest.probs(a, b, rope=0.01, prior=0.5, nsamples=50_000, random_state=0)
    found = stats.bayesian_signed_rank(a - b, 0.01, rng)
    assert (found.better, found.equal, found.worse) == pytest.approx(signed, abs=0.01)


def _statsmodels(*names):
    return [pytest.importorskip(f"statsmodels.{name}", reason="statsmodels is not installed") for name in names]

"""Two or more methods over many settings, or over datasets: one value a setting, never seeds as if they were settings.

Settings of one dataset share its data: a test over settings speaks of the listed settings, a test over dataset means of datasets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2 as chi_squared
from scipy.stats import f as f_distribution
from scipy.stats import norm, rankdata, studentized_range

from bench.errors import UsageError, unknown
from bench.stats.adjust import holm
from bench.stats.pairs import Regions

ZEROS = ("zsplit", "pratt", "wilcox")
EXACT_UP_TO = 200  # differences whose sign flips are convolved exactly


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of differences A - B. p is NaN, with a reason, where no outcome could reach alpha."""

    n: int
    nonzero: int
    plus: float  # rank sum of differences above 0
    minus: float
    p: float  # two-sided, exact up to EXACT_UP_TO differences
    p_greater: float  # of A better
    p_asymptotic: float
    reason: str = ""

    @property
    def effect(self) -> float:
        """Rank-biserial correlation, -1 to 1; 0 where all differences are 0."""
        total = self.plus + self.minus
        return (self.plus - self.minus) / total if total else 0.0


def minimum_p(n: int) -> float:
    """Smallest two-sided p that n sign flips can give: 2 / 2^n, for the signed-rank test and for sign flips of dataset means."""
    return min(1.0, 2.0 ** (1 - n))


def needed_pairs(alpha: float = 0.05) -> int:
    """Pairs from which a signed-rank test can reach alpha: 6 for 0.05."""
    return math.ceil(1 - math.log2(alpha) - 1e-12)


def signed_rank(differences: np.ndarray, zeros: str = "zsplit", alpha: float = 0.05) -> SignedRank:
    """Wilcoxon's signed-rank test, exact under sign flips with ties and zeros.

    Differences are rounded to 10 decimals. Zeros: `zsplit` gives half of their ranks to each side, `pratt` ranks and drops them,
    `wilcox` drops them first. All zero: p = 1. The null distribution is a convolution over doubled midranks, which are whole numbers.
    Shapes: differences (N,). Raises: UsageError if a difference is not finite.
    Source: Wilcoxon 1945; Pratt 1959; zeros split: Demsar 2006, section 3.1.3.
    """
    if zeros not in ZEROS:
        raise unknown("rule for zeros", zeros, ZEROS)
    d = _differences(differences)
    n, nonzero = len(d), int((d != 0).sum())
    if zeros == "wilcox":
        d = d[d != 0]
    ranks = rankdata(np.abs(d))
    of_zeros = ranks[d == 0].sum() / 2 if zeros == "zsplit" else 0.0
    plus, minus = float(ranks[d > 0].sum() + of_zeros), float(ranks[d < 0].sum() + of_zeros)
    if nonzero and minimum_p(n) > alpha:
        return SignedRank(n, nonzero, plus, minus, math.nan, math.nan, math.nan, f"needs n >= {needed_pairs(alpha)}")
    flipped = ranks[d != 0]
    spread = float(((ranks if zeros == "zsplit" else flipped) ** 2).sum())
    z = (plus - minus) / math.sqrt(spread) if spread else 0.0
    asymptotic = float(2 * norm.sf(abs(z)))
    if nonzero > EXACT_UP_TO:
        return SignedRank(n, nonzero, plus, minus, asymptotic, float(norm.sf(z)), asymptotic)
    chance = _flip_distribution(flipped)
    tail = float(chance[: round(2 * (min(plus, minus) - of_zeros)) + 1].sum())
    greater = float(chance[: round(2 * (minus - of_zeros)) + 1].sum())  # symmetric: P(plus at least as large)
    return SignedRank(n, nonzero, plus, minus, min(1.0, 2 * tail), min(1.0, greater), asymptotic)


def _flip_distribution(ranks: np.ndarray) -> np.ndarray:
    """Chance of each doubled rank sum of the positive side under random signs. Shapes: (N,) midranks -> (2 sum + 1,)."""
    doubled = np.round(2 * ranks).astype(int)
    chance = np.zeros(doubled.sum() + 1)
    chance[0], top = 1.0, 0
    for rank in doubled:
        chance[rank : top + rank + 1] += chance[: top + 1].copy()
        chance[: top + rank + 1] /= 2
        top += rank
    return chance


class Located(NamedTuple):
    """A typical difference with its 95 % interval; NaN where no interval can be had."""

    difference: float
    low: float
    high: float


def hodges_lehmann(differences: np.ndarray, confidence: float = 0.95) -> Located:
    """The effect that belongs to `signed_rank`: median of all pairwise means of differences, with its exact interval.

    Without ties the interval leaves out 0 if and only if the test's p is below 1 - confidence. Shapes: differences (N,).
    Source: Hodges and Lehmann 1963; interval: Tukey 1949, as in Hollander and Wolfe, section 3.3.
    """
    d = _differences(differences)
    first, second = np.triu_indices(len(d))
    means = np.sort((d[first] + d[second]) / 2)  # (N (N + 1) / 2,)
    middle = float(np.median(means))
    if len(d) > EXACT_UP_TO:
        n = len(d)
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        cut = math.floor(n * (n + 1) / 4 - float(norm.ppf(0.5 + confidence / 2)) * spread)
    else:
        below = np.cumsum(_flip_distribution(np.arange(1.0, len(d) + 1))[::2])  # P(rank sum <= 0, 1, ...)
        cut = int(np.searchsorted(below, (1 - confidence) / 2 * (1 + 1e-12), side="right"))
    if cut < 1:
        return Located(middle, math.nan, math.nan)
    return Located(middle, float(means[cut - 1]), float(means[-cut]))


def located_ends(differences: np.ndarray, near: float, far: float, claim: float) -> tuple[float, float]:
    """Ends of `hodges_lehmann`, each at its own level, that agree with what the signed-rank test claims, ties and zeros or not.

    `near` and `far` are two-sided error levels of the end towards 0 and of the other one (see `interval_levels`), `claim` is 1 or -1 where
    A was claimed better or worse, else 0. NaN where so few differences have no end at that level. Shapes: differences (N,).
    """
    wide = hodges_lehmann(differences, 1 - far)
    if not claim:
        return min(wide.low, 0.0), max(wide.high, 0.0)
    d = claim * _differences(differences)
    end = hodges_lehmann(d, 1 - near).low
    if not end > 0:  # ties and zeros: the test leaves out 0, and the statistic changes at the first mean above it
        first, second = np.triu_indices(len(d))
        means = (d[first] + d[second]) / 2
        end = float(means[means > 0].min())
    return (end, wide.high) if claim > 0 else (wide.low, -end)


@dataclass(frozen=True)
class SignFlip:
    """Test of a mean difference by flipping signs. p is NaN, with a reason, where no outcome could reach alpha."""

    n: int
    mean: float
    p: float
    minimum_p: float
    reason: str = ""


def sign_flip(differences: np.ndarray, rng: np.random.Generator, alpha: float = 0.05, draws: int = 10_000) -> SignFlip:
    """Two-sided p of mean difference 0 by flipping signs: every way up to 2^13, else (1 + hits) / (1 + draws) of random ones.

    For means of clusters, such as one value a dataset. Shapes: differences (N,). Source: Fisher 1935.
    """
    d = _differences(differences)
    n, least = len(d), minimum_p(len(d))
    if d.any() and least > alpha:
        return SignFlip(n, float(d.mean()), math.nan, least, f"needs n >= {needed_pairs(alpha)}; smallest p of {n} is {least:.3g}")
    exact = n <= 13
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) if exact else rng.choice([-1, 1], (draws, n))
    hits = int((np.abs(signs @ d) >= abs(d.sum()) - 1e-10 * n).sum())
    return SignFlip(n, float(d.mean()), hits / 2**n if exact else (1 + hits) / (1 + draws), least)


def _differences(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise UsageError(f"differences must be finite, one a setting (N,), got shape {values.shape}; fill failures first (fill_failures)")
    return np.round(values, 10)


def bayesian_signed_rank(
    differences: np.ndarray, rope: float, rng: np.random.Generator, prior_strength: float = 0.5, draws: int = 50_000
) -> Regions:
    """Chance that A is worse than, practically equal to and better than B in a further setting.

    Dirichlet weights (prior_strength on a difference of 0, 1 on each setting) over all pairwise means of differences; each draw votes
    for the region with most weight. Shapes: differences (N,).
    Source: Benavoli, Corani, Mangili, Zaffalon and Ruggeri 2014; Benavoli, Corani, Demsar and Zaffalon 2017 (JMLR 18).
    """
    d = np.append(0.0, _differences(differences))
    pairs = (d[:, None] + d) / 2
    weights = rng.dirichlet(np.append(prior_strength, np.ones(len(d) - 1)), draws)  # (draws, N + 1)
    shares = np.stack([((weights @ region) * weights).sum(1) for region in (pairs < -rope, np.abs(pairs) <= rope, pairs > rope)])
    votes = np.bincount(shares.argmax(0), minlength=3) / draws
    return Regions(*votes.tolist())


@dataclass(frozen=True)
class Friedman:
    """Do the methods differ at all? The gate before any pair is looked at."""

    n: int  # settings
    mean_ranks: np.ndarray  # (K,)
    chi2: float  # corrected for ties
    p_chi2: float
    f: float  # Iman-Davenport
    p: float  # of f
    chi2_uncorrected: float
    f_uncorrected: float
    reason: str = ""

    @property
    def freedom(self) -> tuple[int, int]:
        k = len(self.mean_ranks)
        return k - 1, (k - 1) * (self.n - 1)


def friedman(ranks: np.ndarray) -> Friedman:
    """Friedman's test corrected for ties, and Iman and Davenport's F, which is less conservative and the default.

    chi2 = 12 N / (k (k + 1)) (sum of squared mean ranks - k (k + 1)^2 / 4) / (1 - sum(t^3 - t) / (N k (k^2 - 1)));
    F = (N - 1) chi2 / (N (k - 1) - chi2). Same ranks everywhere: F is infinite, p = 0; all tied: chi2 = 0, p = 1.
    Shapes: ranks (N, K) of settings x methods (see `rank_matrix`).
    Raises: UsageError for fewer than three methods: use `signed_rank`.
    Source: Demsar 2006, section 3.2.2; Iman and Davenport 1980; ties: Conover 1999.
    """
    ranks = np.asarray(ranks, dtype=float)
    if ranks.ndim != 2 or ranks.shape[1] < 3 or not np.isfinite(ranks).all():
        raise UsageError(f"Friedman's test compares three or more methods with a rank in every setting, got ranks {ranks.shape}")
    n, k = ranks.shape
    means = ranks.mean(0)
    plain = 12 * n / (k * (k + 1)) * float((means**2).sum() - k * (k + 1) ** 2 / 4)
    if n < 2:
        return Friedman(n, means, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, "needs n >= 2")
    tied = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    untied = 1 - tied / (n * k * (k**2 - 1))
    corrected = plain / untied if untied > 1e-12 else 0.0
    f, f_plain = (_iman_davenport(value, n, k) for value in (corrected, plain))
    freedom = (k - 1, (k - 1) * (n - 1))
    return Friedman(n, means, corrected, float(chi_squared.sf(corrected, k - 1)), f, float(f_distribution.sf(f, *freedom)), plain, f_plain)


def _iman_davenport(chi2: float, n: int, k: int) -> float:
    below = n * (k - 1) - chi2
    return (n - 1) * chi2 / below if below > 1e-9 else math.inf


@dataclass(frozen=True)
class Nemenyi:
    """All pairs by mean rank: differences above the critical one are significant at alpha."""

    critical_difference: float
    p: np.ndarray  # (K, K), 1 on the diagonal


def nemenyi(mean_ranks: np.ndarray, n: int, alpha: float = 0.05) -> Nemenyi:
    """Nemenyi's test over n settings: q_alpha sqrt(k (k + 1) / (6 n)), q from the studentized range / sqrt(2).

    Weaker than Wilcoxon and Holm on all pairs (`all_pairs`); for the critical-difference diagram. Shapes: (K,).
    Source: Demsar 2006, section 3.2.2.
    """
    mean_ranks = np.asarray(mean_ranks, dtype=float)
    k = len(mean_ranks)
    error = _rank_error(k, n)
    apart = np.abs(mean_ranks[:, None] - mean_ranks) * math.sqrt(2) / error
    above = np.triu_indices(k, 1)
    p = np.ones((k, k))
    p[above] = np.clip(studentized_range.sf(apart[above], k, np.inf), 0, 1)
    p.T[above] = p[above]
    return Nemenyi(float(studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2) * error, p)


def cd_groups(mean_ranks: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Best and worst member of each largest run of methods within the critical difference of `nemenyi`, in rank order.

    Shapes: mean_ranks (K,) -> pairs of methods' numbers.
    """
    order = np.argsort(mean_ranks, kind="stable")
    groups: list[tuple[int, int]] = []
    reach = -1
    for start, method in enumerate(order):
        end = int(np.flatnonzero(mean_ranks[order] <= mean_ranks[method] + difference)[-1])
        if end > reach:
            groups.append((int(method), int(order[end])))
            reach = end
        if start == end == len(order) - 1:
            break
    return groups


def against_control(mean_ranks: np.ndarray, n: int, control: int) -> tuple[np.ndarray, np.ndarray]:
    """z and two-sided p of every method's mean rank against the control's; adjust with `holm`. Above 0: better than the control.

    Shapes: mean_ranks (K,) -> (K,), (K,), NaN at the control. Source: Demsar 2006, section 3.2.2.
    """
    mean_ranks = np.asarray(mean_ranks, dtype=float)
    z = (mean_ranks[control] - mean_ranks) / _rank_error(len(mean_ranks), n)
    z[control] = np.nan
    return z, 2 * norm.sf(np.abs(z))


def bonferroni_dunn(k: int, n: int, alpha: float = 0.05) -> float:
    """Critical difference of mean ranks against one control. Source: Dunn 1961; Demsar 2006, section 3.2.2."""
    return float(norm.isf(alpha / (2 * (k - 1)))) * _rank_error(k, n)


def _rank_error(k: int, n: int) -> float:
    return math.sqrt(k * (k + 1) / (6 * n))


@dataclass(frozen=True)
class AllPairs:
    """Wilcoxon's test on every pair of methods, adjusted by Holm over all of them."""

    p: np.ndarray  # (K, K), NaN on the diagonal and where the data cannot answer
    p_adjusted: np.ndarray
    better: np.ndarray  # (K, K) bool: row significantly better than column
    tests: int  # that were adjusted together
    reason: str = ""


def all_pairs(scores: np.ndarray, alpha: float = 0.05) -> AllPairs:
    """The default after Friedman's gate. Shapes: scores (N, K), higher is better, failures filled (see `fill_failures`)."""
    scores = np.asarray(scores, dtype=float)
    k = scores.shape[1]
    first, second = np.triu_indices(k, 1)
    tests = [signed_rank(scores[:, i] - scores[:, j], alpha=alpha) for i, j in zip(first, second, strict=True)]
    p, adjusted = np.full((k, k), np.nan), np.full((k, k), np.nan)
    raw = np.array([test.p for test in tests])
    for matrix, values in ((p, raw), (adjusted, holm(raw))):
        matrix[first, second] = matrix[second, first] = values
    ahead = np.zeros((k, k), dtype=bool)
    ahead[first, second] = [test.plus > test.minus for test in tests]
    ahead[second, first] = [test.minus > test.plus for test in tests]
    reason = next((test.reason for test in tests if test.reason), "")
    return AllPairs(p, adjusted, (adjusted <= alpha) & ahead, int((~np.isnan(raw)).sum()), reason)

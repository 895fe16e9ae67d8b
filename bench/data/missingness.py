"""What the gaps of a dataset say: whether they could be completely at random, and how well they alone predict the label.

A mask that predicts the label lets a method score without looking at a single value, so this is known before any ranking is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.datasets.base import ROUNDING, Samples, varies
from bench.stats.metrics import METRICS

SUMMARIES = 3  # principal components that stand for a modality in Little's test
FOLDS, RESAMPLES = 5, 1000
EM_STEPS, EM_TOLERANCE, RIDGE = 1000, 1e-8, 1e-9


@dataclass(frozen=True)
class Little:
    """Little's test of the hypothesis that values are missing completely at random: a small p speaks against it."""

    chi2: float
    df: int
    p: float
    patterns: int


@dataclass(frozen=True)
class MaskScore:
    """AUROC of the label from the mask alone, with a 95 % interval; 0.5 is chance."""

    auroc: float
    low: float
    high: float


def little_test(values: np.ndarray) -> Little | None:
    """Little's chi-square test on numeric variables; None where there is nothing to test: one pattern, or a single variable.

    Shapes: values (N, V), NaN where missing; rows without any value do not count.
    Source: Little 1988, JASA 83:1198-1202: sum over patterns of n (y - mu)' S^-1 (y - mu), y the mean of a pattern's observed variables, mu
    and S the maximum-likelihood mean and covariance under normality. S is not scaled by N / (N - 1), as in R's naniar::mcar_test.
    Variables are tested in their own SDs, so that units have no say; one that does not vary says nothing and is left out.
    """
    from scipy.stats import chi2

    values = values[:, ~np.isnan(values).all(0)]
    mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    kept = varies(mean, sd)
    values = (values[:, kept] - mean[kept]) / sd[kept]
    values = values[~np.isnan(values).all(1)]
    if values.shape[1] < 2:
        return None
    patterns, member = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    if len(patterns) < 2:
        return None
    groups = [(seen, values[member.ravel() == k][:, seen]) for k, seen in enumerate(patterns)]
    mean, covariance = normal_fit(groups, values.shape[1])
    distance = 0.0
    for seen, rows in groups:
        gap = rows.mean(0) - mean[seen]
        distance += len(rows) * gap @ np.linalg.pinv(covariance[np.ix_(seen, seen)], hermitian=True) @ gap
    df = int(patterns.sum()) - values.shape[1]
    return Little(float(distance), df, float(chi2.sf(distance, df)), len(patterns)) if df > 0 else None


def normal_fit(groups: list[tuple[np.ndarray, np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-likelihood mean (V,) and covariance (V, V) of a normal distribution with values missing, by EM.

    Shapes: groups hold (seen (V,) bool, rows (n, number seen)), a pattern each. Variables must have a size near 1, as in `little_test`.
    """
    count = sum(len(rows) for _, rows in groups)
    totals, squares, found = np.zeros(size), np.zeros(size), np.zeros(size)
    moments = []  # of each pattern: places, number of rows, their mean and their scatter around it
    for seen, rows in groups:
        totals[seen] += rows.sum(0)
        squares[seen] += np.square(rows).sum(0)
        found[seen] += len(rows)
        centred = rows - rows.mean(0)
        moments.append((np.flatnonzero(seen), np.flatnonzero(~seen), len(rows), rows.mean(0), centred.T @ centred))
    mean = totals / found
    covariance = np.diag(np.maximum(squares / found - mean**2, 1e-12))
    for _ in range(EM_STEPS):
        before_mean, before_covariance = mean, covariance
        steady = covariance + np.diag(RIDGE * np.diag(covariance))  # modalities may repeat each other
        first, second = np.zeros(size), np.zeros((size, size))
        for seen, hidden, n, centre, scatter in moments:
            weights = np.linalg.solve(steady[seen][:, seen], covariance[seen][:, hidden])  # regression of hidden on seen
            full = np.empty(size)
            full[seen], full[hidden] = centre, mean[hidden] + (centre - mean[seen]) @ weights
            spread = np.empty((size, size))
            spread[np.ix_(seen, seen)] = scatter
            spread[np.ix_(seen, hidden)] = scatter @ weights
            spread[np.ix_(hidden, seen)] = weights.T @ scatter
            spread[np.ix_(hidden, hidden)] = weights.T @ scatter @ weights + n * (
                covariance[hidden][:, hidden] - covariance[hidden][:, seen] @ weights
            )
            first += n * full
            second += spread + n * np.outer(full, full)
        mean = first / count
        covariance = second / count - np.outer(mean, mean)
        moved = max(np.abs(mean - before_mean).max(), np.abs(covariance - before_covariance).max())
        if moved < EM_TOLERANCE * max(1.0, np.abs(covariance).max()):
            break
    return mean, covariance


def summaries(samples: Samples) -> np.ndarray:
    """Each modality as its first principal components, three at most, NaN where it is not observed. Shapes: -> (N, V) float64.

    So a modality is missing or there as a whole, as it is for methods, and Little's test stays small whatever a modality holds. A sequence
    enters as its mean over time; single values that are missing are filled with the mean; every feature is standardised.
    """
    from sklearn.decomposition import PCA

    from bench.methods.flatten import flatten

    columns = []
    for position, modality in enumerate(samples.schema):
        rows = samples.observed[:, position]
        matrix = flatten(samples.select(modality.letter).rows(np.flatnonzero(rows))).astype(np.float64)  # (n, F)
        matrix = matrix[:, ~np.isnan(matrix).all(0)]
        matrix = np.where(np.isnan(matrix), np.nanmean(matrix, axis=0), matrix) if matrix.size else matrix
        if len(matrix):
            matrix = matrix[:, varies(matrix.mean(0), matrix.std(0))]
        kept = min(SUMMARIES, matrix.shape[1], len(matrix) - 1)
        if kept < 1:
            continue
        matrix = (matrix - matrix.mean(0)) / matrix.std(0)
        pca = PCA(kept, svd_solver="full" if matrix.shape[1] <= 500 else "randomized", random_state=0)
        scores = pca.fit_transform(matrix)
        spread = scores.std(0)
        real = spread > 16 * ROUNDING * spread[0]  # features that repeat each other leave components of rounding alone
        full = np.full((len(samples), int(real.sum())), np.nan)
        full[rows] = scores[:, real] / spread[real]
        columns.append(full)
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(samples), 0))


def indicators(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """What is missing: whole modalities (N, M), and single values (N, K), each column that varies once. Both bool."""
    from bench.methods.flatten import flatten

    single = np.unique(np.isnan(flatten(samples)), axis=1)  # (N, K)
    return ~samples.observed, single[:, single.any(0) & ~single.all(0)]


def mask_score(samples: Samples, missing: np.ndarray, keeps_groups: bool, resamples: int | None = None) -> MaskScore | None:
    """How well logistic regression on missing indicators predicts the label of rows it was not fitted on; None where nothing varies.

    Of labels and values it predicts their strata (`Target.strata`).
    Five-fold cross-validation, whole groups where the dataset keeps them together (with fewer groups, as many folds as groups; a fold
    whose training rows are of one class predicts that class); macro one-vs-rest AUROC; the interval is the percentile bootstrap over rows.
    None too where a class has fewer than two rows, or there is one group. `resamples` are `RESAMPLES` unless told.
    Shapes: missing (N, K) bool.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    from bench.methods.flatten import fit_logistic, over_all_classes

    samples = samples.in_strata()
    counts = np.bincount(samples.target, minlength=len(samples.schema.classes))
    if (missing == missing[0]).all() or counts.min() < 2:
        return None
    folds = min(FOLDS, int(counts.min()))
    groups = samples.groups if keeps_groups else None
    if groups is not None:
        folds = min(folds, len(np.unique(groups)))
        if folds < 2:
            return None
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=0)
    mask, scores = missing.astype(float), np.zeros((len(samples), len(counts)))
    for train, test in splitter.split(mask, samples.target, groups):
        if len(np.unique(samples.target[train])) < 2:
            scores[test] = np.bincount(samples.target[train], minlength=len(counts)) / len(train)
            continue
        model = fit_logistic(mask[train], samples.target[train], 1.0)
        scores[test] = over_all_classes(model.predict_proba(mask[test]), model.classes_, len(counts))
    auroc, rng = METRICS["auroc"].of, np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES if resamples is None else resamples):
        rows = rng.integers(0, len(samples), len(samples))
        drawn.append(auroc(samples.target[rows], scores[rows]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])  # NaN: a resample without a class
    return MaskScore(auroc(samples.target, scores), float(low), float(high))

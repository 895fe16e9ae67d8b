"""MeanLogistic: logistic regression on mean-filled inputs and missing indicators.

Idea:    The simplest way to use every modality of every row: fill what is missing with the training mean, add one indicator per
         modality that says so, and fit a linear model with a firm penalty.
Source:  common practice; scikit-learn's LogisticRegression (L-BFGS).
Differs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from bench.datasets.base import Samples, divisor
from bench.methods.base import Estimator, EstimatorConfig
from bench.methods.flatten import class_shares, fit_logistic, flatten, observed_means, over_all_classes


@dataclass(frozen=True, kw_only=True)
class MeanLogisticConfig(EstimatorConfig):
    c: float = 0.1  # C, inverse strength of the L2 penalty; firmer than scikit-learn's 1.0, for there are many columns

    def __post_init__(self) -> None:
        if self.c <= 0:
            raise ValueError(f"c must be positive, got {self.c}")


class MeanLogistic(Estimator):
    """Mean imputation, missing indicators, standardisation, logistic regression; class shares if training holds one class."""

    Config = MeanLogisticConfig
    search = {"c": (0.01, 0.1, 1.0, 10.0)}
    config: MeanLogisticConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        self.shares = class_shares(train)  # (C,)
        self.model: LogisticRegression | None = None
        self.means = observed_means(train)  # (F,)
        filled = self.fill(train)  # (N, F + M)
        self.centre = filled.mean(0)
        self.scale = divisor(self.centre, filled.std(0))  # constant columns become 0
        if np.count_nonzero(self.shares) > 1:
            self.model = fit_logistic((filled - self.centre) / self.scale, train.target, self.config.c)

    def fill(self, samples: Samples) -> np.ndarray:
        """Inputs with training means for what is missing, then a missing indicator per modality. Shapes: -> (N, F + M)."""
        matrix = flatten(samples)  # (N, F)
        filled = np.where(np.isnan(matrix), self.means, matrix)
        return np.concatenate([filled, ~samples.observed], axis=1, dtype=np.float64)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        if self.model is None or len(samples) == 0:
            return np.tile(self.shares, (len(samples), 1))  # (N, C)
        found = self.model.predict_proba((self.fill(samples) - self.centre) / self.scale)  # (N, K)
        return over_all_classes(found, self.model.classes_, len(self.shares))

    def parameters(self) -> int:
        if self.model is None:
            return len(self.shares)
        return self.means.size + self.centre.size + self.scale.size + self.model.coef_.size + self.model.intercept_.size

    def flops_per_sample(self) -> float:
        return 0.0 if self.model is None else 2.0 * self.model.coef_.size

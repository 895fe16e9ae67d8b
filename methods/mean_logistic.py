"""MeanLogistic: logistic regression on mean-filled inputs and missing indicators.

Idea:    The simplest way to use every modality of every row: fill what is missing with the training mean, add one indicator per
         modality that says so, and fit a linear model with a firm penalty.
Source:  common practice; scikit-learn's LogisticRegression (L-BFGS).
Differs: nothing. Labels have a regression each; a value has a ridge regression of the same penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.datasets.base import Samples, divisor
from bench.methods.base import Estimator, EstimatorConfig
from bench.methods.flatten import fit_each, fit_linear, flatten, floor_of, observed_means


@dataclass(frozen=True, kw_only=True)
class MeanLogisticConfig(EstimatorConfig):
    c: float = 0.1  # C, inverse strength of the L2 penalty; firmer than scikit-learn's 1.0, for there are many columns

    def __post_init__(self) -> None:
        if self.c <= 0:
            raise ValueError(f"c must be positive, got {self.c}")


class MeanLogistic(Estimator):
    """Mean imputation, missing indicators, standardisation, a linear model; the floor's answer if training rows do not differ."""

    Config = MeanLogisticConfig
    search = {"c": (0.01, 0.1, 1.0, 10.0)}
    config: MeanLogisticConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        self.means = observed_means(train)  # (F,)
        filled = self.fill(train)  # (N, F + M)
        self.centre = filled.mean(0)
        self.scale = divisor(self.centre, filled.std(0))  # constant columns become 0
        scaled = (filled - self.centre) / self.scale
        self.fits = fit_each(scaled, train, floor_of(train), lambda matrix, target: fit_linear(matrix, target, self.config.c))

    def fill(self, samples: Samples) -> np.ndarray:
        """Inputs with training means for what is missing, then a missing indicator per modality. Shapes: -> (N, F + M)."""
        matrix = flatten(samples)  # (N, F)
        filled = np.where(np.isnan(matrix), self.means, matrix)
        return np.concatenate([filled, ~samples.observed], axis=1, dtype=np.float64)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        return self.fits.outputs((self.fill(samples) - self.centre) / self.scale)  # (N, O)

    predict = predict_proba

    def parameters(self) -> int:
        if not self.fits.any:
            return self.schema.outputs
        return self.means.size + self.centre.size + self.scale.size + self.fits.parameters

    def flops_per_sample(self) -> float:
        return 2.0 * self.fits.coefficients

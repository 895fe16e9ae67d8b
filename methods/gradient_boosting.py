"""GradientBoosting: histogram gradient boosting that reads missing inputs as missing.

Idea:    Boosted trees learn at every split which side a missing value goes to, so nothing is imputed. On tabular data this is the
         reference to beat.
Source:  scikit-learn's HistGradientBoostingClassifier, of labels one for each; of a value its HistGradientBoostingRegressor, whose loss is
         the absolute error where that selects, else the squared one.
Differs: images and volumes enter as flat vectors, a sequence as its mean over time; no early stopping, so that no training row is
         set aside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from bench.datasets.base import Samples
from bench.methods.base import Estimator, EstimatorConfig
from bench.methods.flatten import fit_each, flatten, floor_of


@dataclass(frozen=True, kw_only=True)
class GradientBoostingConfig(EstimatorConfig):
    rounds: int = 100  # trees per class; scikit-learn's default
    learning_rate: float = 0.1  # shrinkage; scikit-learn's default
    leaves: int = 31  # most leaves of a tree; scikit-learn's default

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.leaves < 2 or self.learning_rate <= 0:
            raise ValueError(
                "rounds must be at least 1, leaves at least 2 and learning_rate positive, got "
                f"{self.rounds}, {self.leaves} and {self.learning_rate}"
            )


class GradientBoosting(Estimator):
    """Trees on NaN inputs; the floor's answer if training rows do not differ. Threads are OpenMP's: OMP_NUM_THREADS sets their number."""

    Config = GradientBoostingConfig
    search = {"rounds": (50, 100, 200), "learning_rate": (0.03, 0.1, 0.3), "leaves": (7, 15, 31)}
    config: GradientBoostingConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        self.fits = fit_each(flatten(train), train, floor_of(train, self.selection), self.boosted)

    def boosted(self, matrix: np.ndarray, target: np.ndarray) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
        matrix[:, np.isnan(matrix).all(0)] = 0.0  # scikit-learn cannot bin an empty column; no tree splits a constant one
        settings = {
            "learning_rate": self.config.learning_rate, "max_iter": self.config.rounds, "max_leaf_nodes": self.config.leaves,
            "early_stopping": False, "random_state": self.seed,
        }  # fmt: skip
        if target.dtype.kind != "f":
            return HistGradientBoostingClassifier(**settings).fit(matrix, target)
        loss = "absolute_error" if self.selection == "mae" else "squared_error"
        return HistGradientBoostingRegressor(loss=loss, **settings).fit(matrix, target)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        return self.fits.outputs(flatten(samples))  # (N, O)

    predict = predict_proba

"""GradientBoosting: histogram gradient boosting that reads missing inputs as missing.

Idea:    Boosted trees learn at every split which side a missing value goes to, so nothing is imputed. On tabular data this is the
         reference to beat.
Source:  scikit-learn's HistGradientBoostingClassifier.
Differs: images and volumes enter as flat vectors, a sequence as its mean over time; no early stopping, so that no training row is
         set aside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from bench.datasets.base import Samples
from bench.methods.base import Estimator, EstimatorConfig
from bench.methods.flatten import class_shares, flatten, over_all_classes


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
    """Trees on NaN inputs; class shares if training holds one class. Threads are OpenMP's: OMP_NUM_THREADS sets their number."""

    Config = GradientBoostingConfig
    search = {"rounds": (50, 100, 200), "learning_rate": (0.03, 0.1, 0.3), "leaves": (7, 15, 31)}
    config: GradientBoostingConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        self.shares = class_shares(train)  # (C,)
        self.model: HistGradientBoostingClassifier | None = None
        if np.count_nonzero(self.shares) > 1:
            matrix = flatten(train)  # (N, F)
            matrix[:, np.isnan(matrix).all(0)] = 0.0  # scikit-learn cannot bin an empty column; no tree splits a constant one
            self.model = HistGradientBoostingClassifier(
                learning_rate=self.config.learning_rate,
                max_iter=self.config.rounds,
                max_leaf_nodes=self.config.leaves,
                early_stopping=False,
                random_state=self.seed,
            ).fit(matrix, train.target)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        if self.model is None or len(samples) == 0:
            return np.tile(self.shares, (len(samples), 1))  # (N, C)
        return over_all_classes(self.model.predict_proba(flatten(samples)), self.model.classes_, len(self.shares))

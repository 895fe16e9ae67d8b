"""Constant: the training class shares for every row.

Idea:    What a method that looks at nothing achieves. Its most probable class is the majority class.
Source:  scikit-learn's DummyClassifier, strategy "prior".
Differs: nothing.
"""

from __future__ import annotations

import numpy as np

from bench.datasets.base import Samples
from bench.methods.base import Estimator
from bench.methods.flatten import class_shares


class Constant(Estimator):
    """Class shares of the training rows."""

    def fit(self, train: Samples, valid: Samples) -> None:
        self.shares = class_shares(train)  # (C,)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        return np.tile(self.shares, (len(samples), 1))  # (N, C)

    def parameters(self) -> int:
        return len(self.schema.classes)

    def flops_per_sample(self) -> float:
        return 0.0

"""Constant: the same answer to every row, from the training rows.

Idea:    What a method that looks at nothing achieves. Its most probable class is the majority class; of labels it says how frequent each
         is, of a value the mean, or the median where the mean absolute error selects.
Source:  scikit-learn's DummyClassifier, strategy "prior", and DummyRegressor, strategies "mean" and "median".
Differs: nothing.
"""

from __future__ import annotations

import numpy as np

from bench.datasets.base import Samples
from bench.methods.base import Estimator
from bench.methods.flatten import floor_of


class Constant(Estimator):
    """Class or label shares, mean or median of the training rows."""

    def fit(self, train: Samples, valid: Samples) -> None:
        self.floor = floor_of(train, self.selection)  # (O,)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        return np.tile(self.floor, (len(samples), 1))  # (N, O)

    predict = predict_proba

    def parameters(self) -> int:
        return self.schema.outputs

    def flops_per_sample(self) -> float:
        return 0.0

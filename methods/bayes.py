"""Bayes: the exact posterior of a synthetic dataset, a ceiling for every method.

Idea:    Where the data were drawn from a known law, P(class | observed values) follows in closed form, and so do the probability of
         each label and the mean of a value. Nobody can do better than that, and the gap to it is what is left to gain.
Source:  the dataset's own `posterior`.
Differs: nothing.
"""

from __future__ import annotations

import numpy as np

from bench.datasets.base import Samples
from bench.methods.base import Ceiling


class Bayes(Ceiling):
    """Predicts with `posterior`, which it is given: Samples -> (N, C), (N, L), (N, 1) or None. It learns nothing.

    Raises: ValueError if the dataset knows no posterior.
    """

    def fit(self, train: Samples, valid: Samples) -> None:
        """Nothing is learnt."""

    def predict_proba(self, samples: Samples) -> np.ndarray:
        probabilities = self.posterior(samples)
        if probabilities is None:
            raise ValueError("bayes needs a dataset with a known posterior and this one has none: leave the method out")
        return probabilities  # (N, C) or (N, L)

    predict = predict_proba  # the posterior mean of a value, (N, 1)

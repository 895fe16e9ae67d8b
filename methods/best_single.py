"""BestSingle: logistic regression on the one modality that serves best alone.

Idea:    A fusion method that does not beat its best input has fused nothing. One regression per modality learns from the rows
         that observe it; validation accuracy, with class shares for rows that lack the modality, chooses one of them.
Source:  common practice; scikit-learn's LogisticRegression (L-BFGS).
Differs: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from bench.datasets.base import Samples
from bench.methods.base import Estimator, EstimatorConfig
from bench.methods.flatten import class_shares, fit_logistic, flatten, over_all_classes


@dataclass(frozen=True, kw_only=True)
class BestSingleConfig(EstimatorConfig):
    c: float = 1.0  # C, inverse strength of the L2 penalty; scikit-learn's default

    def __post_init__(self) -> None:
        if self.c <= 0:
            raise ValueError(f"c must be positive, got {self.c}")


class BestSingle(Estimator):
    """The modality with the best validation accuracy; class shares where it is not observed.

    A modality joins only if its observed training rows hold two classes. With none left, every row gets the class shares.
    """

    Config = BestSingleConfig
    search = {"c": (0.01, 0.1, 1.0, 10.0)}
    config: BestSingleConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        self.shares = class_shares(train)  # (C,)
        self.chosen: str | None = None
        self.model: LogisticRegression | None = None
        best = -1
        for modality in self.schema:
            rows = train.select(modality.letter)
            rows = rows.rows(rows.observed[:, 0])
            if len(np.unique(rows.target)) < 2:
                continue
            model = fit_logistic(flatten(rows), rows.target, self.config.c)
            correct = int((self.probabilities(modality.letter, model, valid).argmax(1) == valid.target).sum())
            if correct > best:  # the first of equals stays
                best, self.chosen, self.model = correct, modality.letter, model

    def predict_proba(self, samples: Samples) -> np.ndarray:
        if self.chosen is None or self.model is None:
            return np.tile(self.shares, (len(samples), 1))  # (N, C)
        return self.probabilities(self.chosen, self.model, samples)

    def probabilities(self, letter: str, model: LogisticRegression, samples: Samples) -> np.ndarray:
        """Of `model` where the modality is observed, the class shares elsewhere. Shapes: -> (N, C)."""
        single = samples.select(letter)
        observed = single.observed[:, 0]
        full = np.tile(self.shares, (len(samples), 1))  # (N, C)
        if observed.any():
            found = model.predict_proba(flatten(single.rows(observed)).astype(np.float64))  # (n, K)
            full[observed] = over_all_classes(found, model.classes_, len(self.shares))
        return full

    def parameters(self) -> int:
        return len(self.shares) if self.model is None else len(self.shares) + self.model.coef_.size + self.model.intercept_.size

    def flops_per_sample(self) -> float:
        """Of a row that observes the chosen modality."""
        return 0.0 if self.model is None else 2.0 * self.model.coef_.size

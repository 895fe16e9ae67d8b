"""BestSingle: logistic regression on the one modality that serves best alone.

Idea:    A fusion method that does not beat its best input has fused nothing. One regression per modality learns from the rows
         that observe it; validation accuracy, with class shares for rows that lack the modality, chooses one of them.
Source:  common practice; scikit-learn's LogisticRegression (L-BFGS).
Differs: nothing. Labels have a regression each, a value has a ridge regression of the same penalty; of these the squared error on the
         validation rows chooses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.datasets.base import Classes, Labels, Samples
from bench.methods.base import Estimator, EstimatorConfig
from bench.methods.flatten import Fits, fit_each, fit_linear, flatten, floor_of


@dataclass(frozen=True, kw_only=True)
class BestSingleConfig(EstimatorConfig):
    c: float = 1.0  # C, inverse strength of the L2 penalty; scikit-learn's default

    def __post_init__(self) -> None:
        if self.c <= 0:
            raise ValueError(f"c must be positive, got {self.c}")


class BestSingle(Estimator):
    """The modality that serves best on the validation rows; the floor's answer where it is not observed.

    A modality joins only if its observed training rows differ in what is to be told of them. With none left, every row gets the floor's.
    """

    Config = BestSingleConfig
    search = {"c": (0.01, 0.1, 1.0, 10.0)}
    config: BestSingleConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        self.floor = floor_of(train, self.selection)  # (O,)
        self.chosen: str | None = None
        self.fits: Fits | None = None
        best = -np.inf
        for modality in self.schema:
            rows = train.select(modality.letter)
            rows = rows.rows(rows.observed[:, 0])
            fits = fit_each(flatten(rows), rows, self.floor, lambda matrix, target: fit_linear(matrix, target, self.config.c))
            if not fits.any:
                continue
            served = self.served(self.answers(modality.letter, fits, valid), valid)
            if served > best:  # the first of equals stays
                best, self.chosen, self.fits = served, modality.letter, fits

    def served(self, answers: np.ndarray, valid: Samples) -> float:
        """How well these answers (N, O) serve, larger is better: rows of the right class, else less the squared errors."""
        if isinstance(self.schema.target, Classes):
            return float((answers.argmax(1) == valid.target).sum())
        if isinstance(self.schema.target, Labels):
            return -float(((answers - valid.target)[valid.target >= 0] ** 2).sum())
        return -float(((answers[:, 0] - valid.target) ** 2).sum())

    def predict_proba(self, samples: Samples) -> np.ndarray:
        if self.chosen is None or self.fits is None:
            return np.tile(self.floor, (len(samples), 1))  # (N, O)
        return self.answers(self.chosen, self.fits, samples)

    predict = predict_proba

    def answers(self, letter: str, fits: Fits, samples: Samples) -> np.ndarray:
        """Of the models where the modality is observed, the floor's elsewhere. Shapes: -> (N, O)."""
        single = samples.select(letter)
        observed = single.observed[:, 0]
        full = np.tile(self.floor, (len(samples), 1))  # (N, O)
        if observed.any():
            full[observed] = fits.outputs(flatten(single.rows(observed)).astype(np.float64))
        return full

    def parameters(self) -> int:
        return len(self.floor) + (0 if self.fits is None else self.fits.parameters)

    def flops_per_sample(self) -> float:
        """Of a row that observes the chosen modality."""
        return 0.0 if self.fits is None else 2.0 * self.fits.coefficients

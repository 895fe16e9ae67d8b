"""Diabetes, real: how far the disease has come in a year, from two measurements of the body and six of the blood serum.

Source:     Efron, Hastie, Johnstone and Tibshirani 2004, as shipped by scikit-learn.
Licence:    none stated by its authors, who publish it for research; BSD-3-Clause as part of scikit-learn.
Sizes:      442 patients; the value is a measure of disease progression one year after baseline, 25 to 346 (mean 152, SD 77).
Modalities: D body (age, sex, body mass index, mean blood pressure), L blood (six measurements of the serum). As published, not scaled.
Split:      none official; 70/15/15 drawn by chance. No natural gaps.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes

from bench.datasets.base import Dataset, Modality, Samples, Schema, Value, columns_of

MODALITIES = {"body": ("D", ("age", "sex", "bmi", "bp")), "blood": ("L", ("s1", "s2", "s3", "s4", "s5", "s6"))}


class Diabetes(Dataset):
    title = "progression of diabetes after a year (real)"
    source = "Efron, Hastie, Johnstone and Tibshirani 2004, Annals of Statistics 32:407-499, as shipped by scikit-learn"
    licence = "not stated; BSD-3-Clause as part of scikit-learn"
    column_names = {name: columns for name, (_, columns) in MODALITIES.items()}

    def load(self) -> Samples:
        bunch = load_diabetes(scaled=False)
        names = [str(name) for name in bunch.feature_names]
        values = {name: bunch.data[:, columns_of(names, columns)].astype(np.float32) for name, (_, columns) in MODALITIES.items()}
        modalities = tuple(Modality(name, letter, "vector", values[name].shape[1:]) for name, (letter, _) in MODALITIES.items())
        return Samples(
            Schema(modalities, Value("disease progression")),
            values,
            observed=np.ones((len(bunch.target), len(modalities)), dtype=bool),
            target=bunch.target.astype(np.float64),
            ids=np.array([f"patient-{row:03d}" for row in range(len(bunch.target))]),
        )

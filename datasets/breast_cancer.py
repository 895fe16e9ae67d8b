"""Wisconsin diagnostic breast cancer, real, embedded in scikit-learn: three summaries of ten cell measurements.

Source:     UCI Breast Cancer Wisconsin (Diagnostic) (Wolberg, Street and Mangasarian 1993), as shipped by scikit-learn.
Licence:    CC BY 4.0 (UCI).
Sizes:      569 samples; 212 malignant, 357 benign.
Modalities: M mean, E standard error, W worst, each a vector of the same ten measurements of the nuclei in an image.
Split:      none official; the suite's stratified 70/15/15. No natural gaps.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer

from bench.datasets.base import Dataset, Modality, Samples, Schema, columns_of

MODALITIES = {"mean": "M", "standard-error": "E", "worst": "W"}
MEASUREMENTS = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points", "symmetry", "fractal dimension",
)  # fmt: skip


class BreastCancer(Dataset):
    title = "breast cancer diagnosis, Wisconsin (real)"
    source = "UCI Breast Cancer Wisconsin (Diagnostic), Wolberg, Street and Mangasarian 1993, as shipped by scikit-learn"
    licence = "CC BY 4.0"

    def load(self) -> Samples:
        bunch = load_breast_cancer()
        names = [str(name) for name in bunch.feature_names]
        wanted = {
            "mean": [f"mean {measurement}" for measurement in MEASUREMENTS],
            "standard-error": [f"{measurement} error" for measurement in MEASUREMENTS],
            "worst": [f"worst {measurement}" for measurement in MEASUREMENTS],
        }
        values = {name: bunch.data[:, columns_of(names, wanted[name])].astype(np.float32) for name in MODALITIES}
        modalities = tuple(Modality(name, letter, "vector", (len(MEASUREMENTS),)) for name, letter in MODALITIES.items())
        return Samples(
            Schema(modalities, tuple(str(name) for name in bunch.target_names)),
            values,
            observed=np.ones((len(bunch.target), len(modalities)), dtype=bool),
            target=bunch.target.astype(np.int64),
            ids=np.array([f"patient-{row:03d}" for row in range(len(bunch.target))]),
        )

"""Handwritten digits, real, embedded in scikit-learn: four quadrants of the 8 x 8 image as four modalities.

Source:     UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), test part, as shipped by scikit-learn.
Licence:    CC BY 4.0 (UCI).
Sizes:      1797 samples, 10 classes of 174 to 183; pixels 0..16, divided by 16.
Modalities: N north-west, E north-east, W south-west, S south-east, each a vector of 16 pixels (rows of its quadrant).
Split:      none official; the suite's stratified 70/15/15. No natural gaps.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from bench.datasets.base import Dataset, Modality, Samples, Schema

QUADRANTS = {  # name: (letter, rows, columns)
    "north-west": ("N", slice(0, 4), slice(0, 4)),
    "north-east": ("E", slice(0, 4), slice(4, 8)),
    "south-west": ("W", slice(4, 8), slice(0, 4)),
    "south-east": ("S", slice(4, 8), slice(4, 8)),
}


class Digits(Dataset):
    title = "handwritten digits, four quadrants (real)"
    source = "UCI Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998, as shipped by scikit-learn"
    licence = "CC BY 4.0"

    def load(self) -> Samples:
        bunch = load_digits()
        images = (bunch.images / 16).astype(np.float32)  # (N, 8, 8)
        modalities = tuple(Modality(name, letter, "vector", (16,)) for name, (letter, _, _) in QUADRANTS.items())
        values = {name: images[:, rows, columns].reshape(len(images), 16) for name, (_, rows, columns) in QUADRANTS.items()}
        return Samples(
            Schema(modalities, tuple(str(digit) for digit in range(10))),
            values,
            observed=np.ones((len(images), len(modalities)), dtype=bool),
            target=bunch.target.astype(np.int64),
            ids=np.array([f"digit-{row:04d}" for row in range(len(images))]),
        )

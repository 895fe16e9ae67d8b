"""datasets/digits.py and datasets/breast_cancer.py: the embedded real data are what their pages say."""

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from bench.datasets.breast_cancer import BreastCancer
from bench.datasets.digits import Digits


def test_quadrants_put_together_give_the_image_back():
    samples, bunch = Digits().load(), load_digits()
    north = np.concatenate([samples.values[name].reshape(-1, 4, 4) for name in ("north-west", "north-east")], axis=2)
    south = np.concatenate([samples.values[name].reshape(-1, 4, 4) for name in ("south-west", "south-east")], axis=2)
    assert np.array_equal(np.concatenate([north, south], axis=1) * 16, bunch.images)
    assert np.array_equal(samples.target, bunch.target)


def test_digits_sizes_match_the_page():
    samples = Digits().load()
    assert len(samples) == 1797
    counts = np.bincount(samples.target)
    assert (counts.min(), counts.max()) == (174, 183)


def test_measurements_keep_their_column():
    samples, bunch = BreastCancer().load(), load_breast_cancer()
    names = list(bunch.feature_names)
    assert np.array_equal(samples.values["worst"][:, 0], bunch.data[:, names.index("worst radius")].astype(np.float32))
    assert np.array_equal(samples.values["standard-error"][:, 9], bunch.data[:, names.index("fractal dimension error")].astype(np.float32))
    assert np.bincount(samples.target).tolist() == [212, 357]

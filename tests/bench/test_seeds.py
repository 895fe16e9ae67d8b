"""bench/seeds.py: streams are named, independent, and the same everywhere."""

import numpy as np
import pytest

from bench.seeds import STREAMS, number, stream


def test_streams_differ_by_seed_name_and_path():
    numbers = [number(seed, name, *path) for seed in (0, 1) for name in STREAMS for path in ((), ("train",))]
    assert len(set(numbers)) == len(numbers)


def test_global_generator_is_neither_read_nor_moved():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = stream(3, "mask").random(5)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(first, stream(3, "mask").random(5))
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_streams_keep_their_numbers_for_ever():
    assert number(0, "split") == 3261063147523301193
    assert stream(0, "mask", "test").random() == pytest.approx(0.2031013371098459, abs=1e-15)


def test_unknown_stream_is_refused():
    with pytest.raises(ValueError, match="stream must be one of"):
        stream(0, "dropout")

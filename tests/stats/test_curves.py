"""bench/stats/curves.py: score over noise."""

import numpy as np
import pytest

from bench import stats
from bench.errors import UsageError


def test_flat_curve_has_its_level_as_area_and_no_drop():
    assert stats.noise_auc([0.1, 0.2, 0.7], [0.6, 0.6, 0.6]) == pytest.approx(0.6)
    drop = stats.noise_drop([0.1, 0.2, 0.7], [0.6, 0.6, 0.6])
    assert drop.absolute == drop.relative == 0
    assert drop.slope == pytest.approx(0)


def test_area_is_the_trapezoid_for_uneven_levels_and_further_axes():
    scores = np.random.default_rng(0).random((4, 3, 5))
    noise = np.array([0.0, 0.1, 0.5, 0.9])
    assert np.allclose(stats.noise_auc(noise, scores), np.trapezoid(scores, noise, axis=0) / 0.9)


def test_missing_level_gives_nan():
    assert np.isnan(stats.noise_auc([0.1, 0.3, 0.5], [0.7, np.nan, 0.5]))


def test_retention_counts_from_the_floor():
    assert stats.noise_drop([0.1, 0.5], [0.9, 0.7], floor=0.5).retention == pytest.approx(0.5)
    assert np.isnan(stats.noise_drop([0.1, 0.5], [0.5, 0.4], floor=0.5).retention)
    assert np.isnan(stats.noise_drop([0.1, 0.5], [0.9, 0.7]).retention)
    assert np.isnan(stats.noise_drop([0.1, 0.5], [0.0, 0.0]).relative)


@pytest.mark.parametrize("noise", [[0.1], [0.3, 0.1], [0.1, 0.1], [0.1, 0.3, 0.5]], ids=["one", "falling", "equal", "too many"])
def test_levels_must_ascend_and_fit_the_scores(noise):
    with pytest.raises(UsageError, match="ascending levels"):
        stats.noise_auc(noise, [0.7, 0.6][: max(1, len(noise))])

"""Score over noise: how well a method holds up as more is missing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.errors import UsageError


class Drop(NamedTuple):
    """What is lost between the lowest and the highest noise."""

    absolute: float  # score at the lowest noise less score at the highest
    relative: float  # of the score at the lowest
    retention: float  # share of what stands above the floor that is kept; NaN where nothing stands above it
    slope: float  # least squares, per unit of noise


def noise_auc(noise: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the score-over-noise curve by trapezoids, divided by the noise range: a mean score over noise.

    Shapes: noise (L,) ascending, scores (L, ...) -> (...). NaN where a level is missing (NaN).
    Raises: UsageError if levels are fewer than two or not ascending.
    """
    noise, scores = np.asarray(noise, dtype=float), np.asarray(scores, dtype=float)
    if noise.ndim != 1 or len(noise) < 2 or not (np.diff(noise) > 0).all() or len(scores) != len(noise):
        raise UsageError(
            f"a noise curve needs two or more ascending levels with a score each, got {noise.tolist()} and {len(scores)} scores"
        )
    return np.tensordot(np.diff(noise), (scores[1:] + scores[:-1]) / 2, 1) / (noise[-1] - noise[0])


def noise_drop(noise: np.ndarray, scores: np.ndarray, floor: float = np.nan) -> Drop:
    """What is lost over the curve. A small drop is no merit of its own: a method that starts at the floor cannot fall.

    Shapes: noise (L,) ascending, scores (L,). `floor` is the score of the constant predictor.
    """
    noise, scores = np.asarray(noise, dtype=float), np.asarray(scores, dtype=float)
    noise_auc(noise, scores)
    first, last = float(scores[0]), float(scores[-1])
    centred = noise - noise.mean()
    return Drop(
        absolute=first - last,
        relative=(first - last) / first if first else np.nan,
        retention=(last - floor) / (first - floor) if first > floor else np.nan,
        slope=float(centred @ scores / (centred @ centred)),
    )

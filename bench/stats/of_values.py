"""Scores of a predicted number. Shapes everywhere: target (N,) float64, scores (N, 1), both in the target's unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TINY = 1e-24  # variance over squared mean below which numbers do not vary: rounding makes more of equal ones


def mae(target: np.ndarray, scores: np.ndarray) -> float:
    return float(np.abs(scores[:, 0] - target).mean())


def rmse(target: np.ndarray, scores: np.ndarray) -> float:
    return float(np.sqrt(((scores[:, 0] - target) ** 2).mean()))


class Moments(NamedTuple):
    """Means over the n rows, or over those without each of them: then every entry is (N,). Products are of centred numbers."""

    n: np.ndarray
    bias: np.ndarray  # mean of prediction - target
    error: np.ndarray  # mean of its square
    yy: np.ndarray
    xx: np.ndarray
    xy: np.ndarray


def moments(target: np.ndarray, scores: np.ndarray) -> Moments:
    x, y = scores[:, 0], target
    dx, dy = x - x.mean(), y - y.mean()
    means = (np.asarray(each.mean()) for each in (x - y, (x - y) ** 2, dy * dy, dx * dx, dx * dy))
    return Moments(np.asarray(len(y)), *means)


def moments_without(target: np.ndarray, scores: np.ndarray) -> Moments:
    """The same of all rows but one, for each. Shapes: (N,) each; n (N,)."""
    x, y = scores[:, 0], target
    n = len(y)
    left = max(n - 1, 1)
    dx, dy = x - x.mean(), y - y.mean()
    centred = (((a * b).sum() - a * b - a * b / left) / left for a, b in ((dy, dy), (dx, dx), (dx, dy)))  # about the mean of those left
    error = ((x - y) ** 2).sum()
    return Moments(np.full(n, left), ((x - y).sum() - (x - y)) / left, (error - (x - y) ** 2) / left, *centred)


def r2_of(found: Moments) -> np.ndarray:
    """1 - mean squared error / variance of the target."""
    return 1 - _ratio(found.error, found.yy)


def pearson_of(found: Moments) -> np.ndarray:
    return np.clip(_ratio(found.xy, np.sqrt(np.maximum(found.xx, 0) * np.maximum(found.yy, 0))), -1, 1)


def concordance_of(found: Moments) -> np.ndarray:
    """2 cov / (var + var + squared difference of means). Source: Lin 1989, Biometrics 45:255."""
    return _ratio(2 * found.xy, found.xx + found.yy + found.bias**2)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


def varies(numbers: np.ndarray) -> bool:
    """Whether numbers differ by more than rounding makes of equal ones."""
    return len(numbers) > 0 and bool(numbers.var() > TINY * max(float((numbers**2).mean()), np.finfo(float).tiny))


def r2(target: np.ndarray, scores: np.ndarray) -> float:
    return float(r2_of(moments(target, scores))) if varies(target) else np.nan


def pearson(target: np.ndarray, scores: np.ndarray) -> float:
    return float(pearson_of(moments(target, scores))) if varies(target) and varies(scores[:, 0]) else np.nan


def concordance(target: np.ndarray, scores: np.ndarray) -> float:
    return float(concordance_of(moments(target, scores))) if varies(target) or varies(scores[:, 0]) else np.nan


def why_undefined(target: np.ndarray, outputs: int, names: Sequence[str] = ()) -> str:
    """Why a score of a value is NaN."""
    return "the target has one value in the whole scored part" if not varies(target) else "every row got the same prediction"

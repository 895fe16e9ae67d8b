"""Predictions of test rows: as a trial hands them over, as they are stored, and as bytes. Free of torch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """Test predictions of one trial. Shapes: ids (N,), target (N,) int64, scores (N, C) float32, rows summing to 1.

    `evaluations` holds the scores (N, C) of the same rows under each further rule.
    """

    ids: np.ndarray
    target: np.ndarray
    scores: np.ndarray
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)


EVALUATION = "evaluations/"  # heads the name of a further rule's scores


@dataclass(frozen=True)
class Arrays:
    """Stored predictions. Shapes: ids (N,), target (N,), scores (N, C) float32; evaluations[rule] (N, C) float32, of the same rows."""

    ids: np.ndarray
    target: np.ndarray
    scores: np.ndarray
    evaluations: Mapping[str, np.ndarray] = field(default_factory=dict)

    def named(self, prefix: str = "") -> dict[str, np.ndarray]:
        """All arrays by the names they have in a file."""
        arrays = {"ids": self.ids.astype(str), "target": self.target, "scores": self.scores}
        arrays |= {f"{EVALUATION}{rule}": scores for rule, scores in self.evaluations.items()}
        return {prefix + name: array for name, array in arrays.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """From arrays by their names. Raises: KeyError if one is absent."""
        further = {name.removeprefix(EVALUATION): array for name, array in arrays.items() if name.startswith(EVALUATION)}
        return cls(arrays["ids"], arrays["target"], arrays["scores"], further)


def pack(arrays: Arrays) -> bytes:
    """Predictions as compressed bytes (npz, no pickles)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays.named())  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(blob: bytes) -> Arrays:
    with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
        return Arrays.of(arrays)

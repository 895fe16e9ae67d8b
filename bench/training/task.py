"""What the kind of target means in training: the scale of a value, and what a method's logits say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.datasets.base import Samples, Target, divisor
from bench.records.predictions import LOGITS, SCORES

LINKS: Mapping[str, Callable[[Tensor], Tensor]] = {  # logits in double precision -> what metrics read
    "classes": lambda logits: logits.softmax(1),
    "labels": torch.sigmoid,
    "value": lambda logits: logits,
}


@dataclass(frozen=True)
class Task:
    """A target as a method is trained on it: values standardised by the training rows, all else as it is."""

    target: Target
    centre: float = 0.0
    sd: float = 1.0

    @classmethod
    def of(cls, train: Samples) -> Task:
        """From the training rows. Where all have one value, its distance from others has no unit to be measured in: 1 of the target's."""
        target = train.schema.target
        if target.kind != "value":
            return cls(target)
        centre, sd = float(train.target.mean()), float(train.target.std())
        return cls(target, centre, sd if np.isfinite(divisor(np.array(centre), np.array(sd))) else 1.0)

    def standardised(self, samples: Samples) -> Samples:
        """The same rows with the targets that a method is trained on."""
        return replace(samples, target=(samples.target - self.centre) / self.sd) if self.target.kind == "value" else samples

    def scores(self, logits: Tensor) -> np.ndarray:
        """What metrics read of logits: probabilities, or values in their unit. Shapes: (N, O) -> (N, O) float64."""
        return self._in_unit(LINKS[self.target.kind](logits.double()).numpy())

    def stored(self, logits: np.ndarray) -> np.ndarray:
        """What is kept of logits: these, or values in their unit, in double precision, which tells apart what single precision does."""
        return self._in_unit(logits.astype(np.float64)) if self.target.kind == "value" else logits

    @property
    def form(self) -> str:
        """What `stored` gives."""
        return SCORES if self.target.kind == "value" else LOGITS

    def _in_unit(self, scores: np.ndarray) -> np.ndarray:
        return self.centre + self.sd * scores if self.target.kind == "value" else scores

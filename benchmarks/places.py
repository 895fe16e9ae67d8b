"""What a cluster costs beside training: a run over dask against the same run on this machine. Prints JSON.

    python benchmarks/places.py [TRIALS] [SECONDS]

200 trials of 1 s each, by default, that sleep and use no core, two at once: in processes of this machine, then over a dask cluster of two
workers, both up and warm. The ratio of their wall times is what counts, and is of one run: a machine under load changes both.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.loading import loaded_once
from bench.datasets.base import Samples
from bench.grid.engine import execute
from bench.grid.how import How
from bench.grid.places import Local, Place, place_of
from bench.methods.base import Estimator, EstimatorConfig
from bench.question.suite import Settings, Suite

SLOTS = 2


@dataclass(frozen=True, kw_only=True)
class SleeperConfig(EstimatorConfig):
    seconds: float = 1.0


class Sleeper(Estimator):
    """Sleeps, and gives every class the same score."""

    Config = SleeperConfig

    def fit(self, train: Samples, valid: Samples) -> None:
        time.sleep(self.config.seconds)

    def predict_proba(self, samples: Samples) -> np.ndarray:
        classes = len(samples.schema.classes)
        return np.full((len(samples), classes), 1 / classes)


def seconds(place: Place, trials: int, each: float, out: Path) -> float:
    """Wall time of a run of so many trials, after one that warms the place up."""

    def suite(seeds: range) -> Suite:
        settings = (Settings(("breast-cancer",), noise=(0.3,)),)
        return Suite("places", settings, methods=(f"{__file__}:Sleeper[seconds={each}]",), seeds=tuple(seeds))

    with place, loaded_once():
        execute(suite(range(SLOTS)), out, How(place=place))
        begin = time.perf_counter()
        done = execute(suite(range(SLOTS, SLOTS + trials)), out, How(place=place))
    assert not done.failed, done.failed[0].reason
    return time.perf_counter() - begin


def main() -> None:
    trials, each = int(sys.argv[1]) if sys.argv[1:] else 200, float(sys.argv[2]) if sys.argv[2:] else 1.0
    with tempfile.TemporaryDirectory() as folder:
        here = seconds(Local(SLOTS), trials, each, Path(folder) / "here")
        there = seconds(place_of("dask", SLOTS), trials, each, Path(folder) / "there")
    found = {"trials": trials, "seconds_each": each, "slots": SLOTS, "local_seconds": round(here, 2), "dask_seconds": round(there, 2)}
    print(json.dumps({**found, "dask_over_local": round(there / here, 3)}, indent=2))


if __name__ == "__main__":
    main()

"""Methods for tests of places: they need next to no time of their own, tell where they run, and can end what they run in."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.methods.base import Estimator, EstimatorConfig


class Far(Estimator):
    """Says that it began, and from which process, in a folder; then does as `does` says, and gives every class the same score."""

    @dataclass(frozen=True)
    class Config(EstimatorConfig):
        folder: str = ""  # where it leaves notes
        does: str = "nothing"  # sleep, poison (kills the worker it runs on), hang
        seconds: float = 0.0

    def fit(self, train, valid):
        self.classes = len(train.schema.classes)
        print("it began", flush=True)
        print(f"gpu {os.environ.get('CUDA_VISIBLE_DEVICES')}", flush=True)
        if self.config.folder:
            Path(self.config.folder, f"{time.time_ns()}-{os.getpid()}-{os.getppid()}").write_text(self.config.does)
        if self.config.does == "poison":
            os.kill(parent_of_server(), signal.SIGKILL)
            time.sleep(60)
        if self.config.does == "hang":
            time.sleep(600)
        time.sleep(self.config.seconds)

    def predict_proba(self, samples):
        return np.full((len(samples), self.classes), 1 / self.classes, dtype=np.float64)


def parent_of_server():
    """The process that started the fork server which this process came from: the worker."""
    stat = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="ascii")
    return int(stat.rpartition(")")[2].split()[1])


if __name__ == "__main__":
    sys.exit("for tests")

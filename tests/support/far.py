"""Methods for tests of places: they need next to no time of their own, leave notes of where they ran, and can end what they run in."""

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from bench.methods.base import Estimator, EstimatorConfig, Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders


@dataclass(frozen=True, kw_only=True)
class FarConfig(EstimatorConfig):
    # folder, without its first slash (what is in a folder that an option names would count as code), in which it notes each beginning:
    notes: str = ""  # a file PROCESS-SERVER-WORKER, three process ids
    does: str = "nothing"  # sleep, hang, fill the disk, or poison: kill the worker that it runs on
    seconds: float = 0.0


class Far(Estimator):
    """Gives every class the same score."""

    Config = FarConfig

    def fit(self, train, valid):
        self.classes = len(train.schema.classes)
        note(self.config.notes)
        print(f"it began; GPUs of its worker: {variable_of(parent_of(os.getppid()), 'CUDA_VISIBLE_DEVICES')}", flush=True)
        if self.config.does == "poison":
            os.kill(parent_of(os.getppid()), signal.SIGKILL)
        if self.config.does == "fill":
            raise OSError(errno.ENOSPC, "No space left on device")
        time.sleep(600 if self.config.does in ("hang", "poison") else self.config.seconds)

    def predict_proba(self, samples):
        return np.full((len(samples), self.classes), 1 / self.classes)


@dataclass(frozen=True, kw_only=True)
class TellingConfig(MethodConfig):
    notes: str = ""
    pause: float = 0.0  # seconds of an epoch


class Telling(Method):
    """Trains a little, and tells of each epoch."""

    Config = TellingConfig

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encode = Encoders(schema, tokens=1, width=8)
        self.head = nn.Linear(8 * len(schema), len(schema.classes))

    def on_epoch(self, epoch, epochs):
        if epoch == 0:
            note(self.config.notes)
        time.sleep(self.config.pause)

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch).flatten(1)))


def note(folder):
    if folder:
        Path("/", folder, f"{os.getpid()}-{os.getppid()}-{parent_of(os.getppid())}").touch()


def variable_of(pid, name):
    """A variable of the environment in which another process started; an estimator itself sees no GPU."""
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return next((line.partition("=")[2] for line in lines if line.startswith(f"{name}=")), "")


def parent_of(pid):
    """The process that started another: of a fork server the worker."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])

"""Methods and datasets for the tests of tuning: quick to train, each with a search space that is good or bad in one way."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from bench.datasets.base import Dataset, Modality, Samples, Schema
from bench.methods.base import Estimator, EstimatorConfig, Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders


@dataclass(frozen=True, kw_only=True)
class CutConfig(EstimatorConfig):
    cut: float = 0.0
    slope: float = 1.0

    def __post_init__(self):
        if self.cut > 100:
            raise ValueError("cut must not exceed 100")


class Cut(Estimator):
    """Class 0 where the first feature is above a cut: the best cut is near 0, far ones collapse."""

    Config = CutConfig
    search = {"cut": (-3.0, -1.0, -0.3, 0.0, 0.3, 1.0, 3.0), "slope": (0.5, 1.0, 2.0)}

    def fit(self, train, valid):
        pass

    def predict_proba(self, samples):
        feature = np.nan_to_num(samples.values[samples.schema.names[0]][:, 0])
        p = 1 / (1 + np.exp(self.config.slope * (feature - self.config.cut)))
        return np.stack([1 - p, p], 1)


class FewCuts(Cut):
    search = {"cut": (-1.0, 0.0, 1.0)}


class NoSpace(Cut):
    search = {}


class UnknownField(Cut):
    search = {"cutt": (0.0, 1.0)}


class NoValues(Cut):
    search = {"cut": ()}


class Twice(Cut):
    search = {"cut": (0.0, 1.0, 1.0)}


class WrongType(Cut):
    search = {"cut": ("low", "high")}


class NotFinite(Cut):
    search = {"cut": (0.0, float("nan"))}


class NotAMapping(Cut):
    search = ("cut",)


class OneConfiguration(Cut):
    search = {"cut": (1.0,)}


class Contradictory(Cut):
    search = {"cut": (101.0, 102.0)}


class AlwaysFails(Cut):
    def fit(self, train, valid):
        raise RuntimeError("no luck")


@dataclass(frozen=True, kw_only=True)
class NetConfig(MethodConfig):
    width: int = 8
    pause: float = 0.0  # seconds before each epoch


class Net(Method):
    Config = NetConfig
    search = {"learning_rate": (1e-4, 1e-3, 1e-2, 1e-1), "width": (4, 8, 16)}

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encode = Encoders(schema, tokens=1, width=config.width)
        self.head = nn.Linear(config.width * len(schema), len(schema.classes))

    def on_epoch(self, epoch, epochs):
        time.sleep(self.config.pause)

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch).flatten(1)))


class TunesEpochs(Net):
    search = {"epochs": (1, 2)}


class Hopeless(Net):
    """The default learns; what may be tried gets worse with every epoch and is slower than any budget of a test."""

    search = {"pause": (5.0, 6.0)}


class WarmUp(Net):
    """Trains its head alone, without the encoders, in the first half."""

    def on_epoch(self, epoch, epochs):
        self.is_warm_up = epoch < epochs // 2

    @property
    def is_selectable(self):
        return not self.is_warm_up

    def forward(self, batch):
        if self.is_warm_up:
            return Prediction(self.head(torch.ones(len(batch), self.head.in_features)))
        return super().forward(batch)


def cancer(values):
    schema = Schema((Modality("first", "F", "vector", (5,)), Modality("second", "S", "vector", (5,))), ("bad", "good"))
    target = load_breast_cancer().target.astype(np.int64)
    ids = np.array([f"row-{row}" for row in range(len(target))])
    return Samples(schema, {"first": values[:, :5], "second": values[:, 5:10]}, np.ones((len(target), 2), bool), target, ids)


class Clean(Dataset):
    """Ten features of the breast-cancer data; the official test part is every fifth row."""

    def load(self):
        return cancer(load_breast_cancer().data[:, :10].astype(np.float32))

    def parts(self, samples):
        rows = np.arange(len(samples))
        return {"train": rows[rows % 5 < 3], "valid": rows[rows % 5 == 3], "test": rows[rows % 5 == 4]}


class Poisoned(Clean):
    """The same, but the test rows hold infinities, which no trial survives, and wrong labels."""

    def load(self):
        samples = super().load()
        rows = self.parts(samples)["test"]
        values = {name: array.copy() for name, array in samples.values.items()}
        for array in values.values():
            array[rows] = np.inf
        target = samples.target.copy()
        target[rows] = 1 - target[rows]
        return Samples(samples.schema, values, samples.observed, target, samples.ids)

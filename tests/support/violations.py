"""Methods that break one rule each, as quietly as such slips come. tests/inspection/test_audit.py shows that the audit finds every one."""

import itertools
import os
import random
import signal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bench.methods.base import Estimator, Method, Prediction
from bench.methods.encoders import Encoders


class Clean(Method):
    """Keeps every rule; the others spoil it."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encoders = Encoders(schema, tokens=1, width=8)
        self.head = nn.Linear(8 * len(schema), len(schema.classes))

    def encode(self, batch):
        return self.encoders(batch).flatten(1)  # (B, M * 8)

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch)))


def raw(batch):
    """Whatever the cells hold, NaN as 0: (B,)"""
    return sum(torch.nan_to_num(x).flatten(1).mean(1) for x in batch.inputs.values())


# ---- poison


class ReadsHidden(Clean):
    """NaN turns into 0, so that no trial fails of it."""

    def forward(self, batch):
        return Prediction(super().forward(batch).logits + raw(batch)[:, None] * torch.arange(len(self.schema.classes)))


class ReadsPadding(Clean):
    """The mean of a sequence over all its steps."""

    def forward(self, batch):
        x = torch.where(batch.observed[:, 1, None, None], batch.inputs["sequence"], 0.0)
        return Prediction(super().forward(batch).logits + torch.nan_to_num(x).mean((1, 2))[:, None] * torch.arange(3))


class ReadsHiddenImages(Clean):
    def forward(self, batch):
        return Prediction(
            super().forward(batch).logits + torch.nan_to_num(batch.inputs["image"]).mean((1, 2, 3))[:, None] * torch.arange(3)
        )


class ReadsHiddenInItsPenalty(Clean):
    def forward(self, batch):
        return Prediction(super().forward(batch).logits, {"scale": self.head.weight.square().mean() * raw(batch).abs().mean()})


class ReadsHiddenInPrepare(Clean):
    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.register_buffer("shift", torch.zeros(()))

    def prepare(self, train):
        self.shift.fill_(float(np.nan_to_num(train.values[self.schema.names[0]]).mean()))

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch) + self.shift))


class MultipliesByTheMask(Clean):
    """NaN times 0 is NaN, in the gradient too."""

    def encode(self, batch):
        cells = [self.encoders.encode(m, x).flatten(1) for m, x in enumerate(batch.inputs.values())]
        return torch.where(batch.observed.repeat_interleave(8, 1), torch.cat(cells, 1), 0.0)


class ReadsHiddenAfterTraining(Clean):
    """Statistics of training rows, hidden cells among them."""

    def after_training(self, train):
        self.head.bias.add_(float(np.nan_to_num(train.values[self.schema.names[0]]).mean()))


class ReadsHiddenInItsLoss(Clean):
    def loss(self, prediction, batch):
        return super().loss(prediction, batch) * (1 + raw(batch).abs().mean())


# ---- batch-mate


class NormalisesByTheBatch(Clean):
    def encode(self, batch):
        x = super().encode(batch)
        return (x - x.mean(0)) / (x.std(0, correction=0) + 1)


class DependsOnItsPlace(Clean):
    def forward(self, batch):
        logits = super().forward(batch).logits
        return Prediction(logits + 1e-3 * torch.arange(len(batch))[:, None] * torch.arange(logits.shape[1]))


class DrawsNoiseInEvaluation(Clean):
    def forward(self, batch):
        return Prediction(self.head(F.dropout(self.encode(batch), 0.5)))


class DeclaresItsBatch(NormalisesByTheBatch):
    batch_dependent = True


class DeclaresAlwaysSees(NormalisesByTheBatch):
    @classmethod
    def declared(cls, config):
        return {"batch-mate": "normalised by the batch, as released"}


class DeclaresForNothing(Clean):
    batch_dependent = True


class DeclaresWhatNobodyMay(Clean):
    @classmethod
    def declared(cls, config):
        return {"poison": "reads hidden cells, as released"}


# ---- support pool


class RemembersOtherParts(Clean):
    """Rows of one part are kept and shift the predictions of the next."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.kept = self.shift = 0.0

    def on_evaluate(self):
        self.shift = self.kept

    def forward(self, batch):
        x = self.encode(batch)
        if not self.training:
            self.kept = float(x.mean())
            x = x + self.shift
        return Prediction(self.head(x))


class RemembersEarlierBatches(Clean):
    """A memory that starts anew with each part."""

    def on_evaluate(self):
        self.memory = 0.0

    def forward(self, batch):
        x = self.encode(batch)
        if not self.training:
            x, self.memory = x + self.memory, self.memory + float(x.mean())
        return Prediction(self.head(x))


class AnswersFromACache(Clean):
    """Keyed by the row's place, which other parts share."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.cache = {}

    def train(self, mode=True):
        if mode:
            self.cache = {}
        return super().train(mode)

    def forward(self, batch):
        logits = super().forward(batch).logits
        if not self.training:
            logits = torch.stack([self.cache.setdefault(int(i), row) for i, row in zip(batch.index, logits, strict=True)])
        return Prediction(logits)


class TrainsOnEvaluatedRows(Clean):
    """Statistics that evaluation moves and training uses."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.seen = 0.0

    def forward(self, batch):
        x = self.encode(batch)
        if self.training:
            return Prediction(self.head(x + self.seen))
        self.seen = float(x.mean())
        return Prediction(self.head(x))


class LooksAtTrainingRows(Clean):
    """Training rows in predictions, and `uses_other_samples` not stated."""

    def prepare(self, train):
        self.bank = float(np.nanmean(train.sealed().values[self.schema.names[0]]))

    def encode(self, batch):
        return super().encode(batch) + self.bank


class StatesTrainingRows(LooksAtTrainingRows):
    uses_other_samples = True


class MakesPrototypesOfScoredRows(Clean):
    """What it was asked about in validation is kept, and used once training is over."""

    scored = 0.0

    def forward(self, batch):
        x = self.encode(batch)
        if not self.training and not hasattr(self, "over"):
            self.scored = float(x.mean())
        return Prediction(self.head(x))

    def after_training(self, train):
        self.over = True
        self.head.bias.add_(self.scored)


class ChoosesRowsByScoredRows(Clean):
    """A warm-up that ends by what the validation rows look like."""

    scored = 0.0

    def forward(self, batch):
        x = self.encode(batch)
        if not self.training:
            self.scored = float(x.abs().mean())
        return Prediction(self.head(x))

    def rows(self, epoch, observed):
        return observed.sum(1) > (self.scored > 5)


class KeepsNeighbours(Clean):
    """Training rows in predictions, outside the state, and `uses_other_samples` not stated."""

    kept = 0.0

    def after_training(self, train):
        self.kept = float(np.nanmean(train.sealed().values[self.schema.names[0]]))

    def encode(self, batch):
        return super().encode(batch) + self.kept


class StatesNeighbours(KeepsNeighbours):
    uses_other_samples = True


# ---- label


class PeeksAtLabels(Clean):
    def forward(self, batch):
        logits = super().forward(batch).logits
        known = (batch.target >= 0) & (not self.training)
        return Prediction(logits + 5.0 * F.one_hot(batch.target.clamp(min=0), logits.shape[1]) * known[:, None])


# ---- determinism


class ReadsNumpysGenerator(Clean):
    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.head.weight.data *= float(np.random.rand())  # noqa: NPY002


class ReadsPythonsGenerator(Clean):
    def forward(self, batch):
        scale = 1 + random.random() if self.training else 1.0
        return Prediction(super().forward(batch).logits * scale)


class DrawsAfterTraining(Clean):
    def after_training(self, train):
        self.head.bias.add_(random.random())


class NeverTheSame(Clean):
    count = itertools.count()

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.head.weight.data *= 1 + next(self.count)


# ---- gradient


class NeverTrainsItsRetriever(Clean):
    """As in the released MoE-Retriever: what the experts made is overwritten, so no gradient reaches them."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        width = 8 * len(schema)
        self.experts, self.gate = nn.Linear(width, width), nn.Parameter(torch.ones(width))

    def encode(self, batch):
        x = super().encode(batch)
        retrieved = self.experts(x) * self.gate
        return x + 0.0 * retrieved


# ---- empty row


class NeedsAModality(Clean):
    def forward(self, batch):
        assert batch.observed.any(1).all(), "a row without any modality"
        return super().forward(batch)


class DividesByNothing(Clean):
    def encode(self, batch):
        return super().encode(batch) / batch.observed.sum(1, keepdim=True)


# ---- what cannot be tried


class Raises(Clean):
    def forward(self, batch):
        raise KeyError("no such\nembedding")


class TakesVectorsAlone(Clean):
    def __init__(self, schema, config):
        if any(modality.kind != "vector" for modality in schema):
            raise ValueError("this method takes vectors")
        super().__init__(schema, config)


class TakesFourModalitiesAlone(Clean):
    def __init__(self, schema, config):
        if len(schema) != 4:
            raise ValueError("this method has four of something")
        super().__init__(schema, config)


class DiesOfLabels(Clean):
    """Ends its process at the fourth check."""

    def forward(self, batch):
        if not self.training and (batch.target >= 0).any():
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(batch)


# ---- methods that fit themselves


class Fits(Estimator):
    """Keeps every rule: nearest class mean over observed cells."""

    def table(self, samples):
        return np.concatenate([np.nan_to_num(x).reshape(len(samples), -1) for x in samples.sealed().values.values()], axis=1)

    def fit(self, train, valid):
        x = self.table(train)
        self.means = np.stack([x[train.target == c].mean(0) for c in range(len(self.schema.classes))])

    def scores(self, samples):
        return -np.abs(self.table(samples)[:, None] - self.means).mean(2)  # (N, C)

    def predict_proba(self, samples):
        scores = np.exp(self.scores(samples))
        return scores / scores.sum(1, keepdims=True)


class FitsHidden(Fits):
    def table(self, samples):
        return np.concatenate([np.clip(np.nan_to_num(x), -9, 9).reshape(len(samples), -1) for x in samples.values.values()], axis=1)


class FitsLabels(Fits):
    def scores(self, samples):
        return super().scores(samples) + 3.0 * np.eye(len(self.schema.classes))[samples.target]


class FitsTheBatch(Fits):
    def scores(self, samples):
        return super().scores(samples) - super().scores(samples).mean(0)


class FitsByReference(Fits):
    def fit(self, train, valid):
        self.train = train

    @property
    def means(self):
        x = self.table(self.train)
        return np.stack([x[self.train.target == c].mean(0) for c in range(len(self.schema.classes))])


class FitsByChance(Fits):
    def fit(self, train, valid):
        super().fit(train, valid)
        self.means = self.means + np.random.rand()  # noqa: NPY002

"""Methods with a recipe of their own: optimiser, schedule, loss, rows of a warm-up, and prototypes made after training."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bench.datasets.base import as_batch
from bench.methods.base import Method, MethodConfig, Prediction
from bench.methods.encoders import Encoders


@dataclass(frozen=True, kw_only=True)
class Config(MethodConfig):
    slow: float = 0.1  # rate of the encoders, times that of the head
    warm: int = 1  # epochs on complete rows
    smoothing: float = 0.1  # of labels


class Plain(Method):
    """The suite's recipe."""

    Config = Config

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encoders = Encoders(schema, tokens=1, width=8)
        self.head = nn.Linear(8 * len(schema), len(schema.classes))

    def encode(self, batch):
        return self.encoders(batch).flatten(1)  # (B, M * 8)

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch)))


class Own(Plain):
    """AdamW with a slower rate for the encoders, a linear warm-up by step, smoothed labels, complete rows first."""

    search = {"slow": (0.1, 1.0), "smoothing": (0.0, 0.1), "learning_rate": (1e-3, 1e-2)}

    def optimiser(self):
        rate = self.config.learning_rate
        groups = [{"params": self.encoders.parameters(), "lr": rate * self.config.slow}, {"params": self.head.parameters()}]
        return torch.optim.AdamW(groups, rate, weight_decay=0.01)

    def schedule(self, epoch, step, steps):
        return min(1.0, (epoch + (step + 1) / steps) / 2)

    def loss(self, prediction, batch):
        return F.cross_entropy(prediction.logits, batch.target, label_smoothing=self.config.smoothing)

    def rows(self, epoch, observed):
        return observed.all(1) if epoch < self.config.warm else super().rows(epoch, observed)


class Prototypes(Plain):
    """Logits are distances to the class means of what training rows are encoded to."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.register_buffer("means", torch.zeros(0))

    def after_training(self, train):
        batch = as_batch(train, self.device)
        encoded = self.encode(batch)
        self.means = torch.stack([encoded[batch.target == c].mean(0) for c in range(len(self.schema.classes))])

    def forward(self, batch):
        encoded = self.encode(batch)
        return Prediction(-torch.cdist(encoded, self.means) if len(self.means) else self.head(encoded))


class Neighbours(Plain):
    """Adds the mean of the training rows, in a list that no state holds, by a random share."""

    uses_other_samples = True

    def after_training(self, train):
        share = torch.rand((), generator=self.generator)
        self.kept = [share * self.encode(as_batch(train, self.device)).mean(0)]

    def encode(self, batch):
        encoded = super().encode(batch)
        return encoded + self.kept[0] if hasattr(self, "kept") and not self.training else encoded

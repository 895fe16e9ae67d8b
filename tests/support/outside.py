"""Methods that a stranger might bring: one good, the others bad in one way each. Tests run them through this file's path."""

import gc
import mmap
import os
import signal
import struct
import tempfile
import time
from multiprocessing.connection import Connection

import torch
from torch import nn

from bench.datasets.base import Dataset
from bench.methods.base import Estimator, Method, Prediction
from bench.methods.encoders import Encoders


class Mine(Method):
    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encode = Encoders(schema, tokens=1, width=8)
        self.head = nn.Linear(8 * len(schema), len(schema.classes))

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch).flatten(1)))


class Raises(Mine):
    def forward(self, batch):
        raise KeyError("no such\nembedding")


class ReadsHidden(Mine):
    def forward(self, batch):
        values = torch.cat([batch.inputs[name].flatten(1) for name in self.schema.names], dim=1)
        return Prediction(super().forward(batch).logits + values.sum(1, keepdim=True))


class WrongShape(Mine):
    def forward(self, batch):
        return Prediction(super().forward(batch).logits[:, :1])


class NoPrediction(Mine):
    def forward(self, batch):
        return super().forward(batch).logits


class Diverges(Mine):
    def forward(self, batch):
        prediction = super().forward(batch)
        return Prediction(prediction.logits, {"penalty": prediction.logits.sum() * float("inf")})


class Segfaults(Mine):
    def forward(self, batch):
        os.kill(os.getpid(), signal.SIGSEGV)


class Exits(Mine):
    def forward(self, batch):
        os._exit(3)


class Hangs(Mine):
    def forward(self, batch):
        time.sleep(600)


class Devours(Mine):
    def forward(self, batch):
        return Prediction(torch.ones(10**11).sum())


class Shares(Mine):
    """Memory that no limit of the system counts: the parent's watch alone sees it."""

    def forward(self, batch):
        shared = mmap.mmap(-1, 300_000_000)
        while True:
            shared[::4096] = bytes(len(shared[::4096]))


class MapsAFile(Mine):
    """A file to read, larger than the limit, as the values of a prepared copy may be: it is nobody's memory."""

    def forward(self, batch):
        with tempfile.TemporaryFile() as file:
            file.truncate(400_000_000)
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as found:
                assert not any(found[::4096])
                time.sleep(0.3)  # for the parent to look
        return super().forward(batch)


class Unmapped(Mine):
    """An import that the dynamic loader ends for want of address space."""

    def forward(self, batch):
        raise ImportError("fast.so: failed to map segment from shared object")


class Slow(Mine):
    """Long enough to be interrupted, short enough for a test."""

    def on_epoch(self, epoch, epochs):
        time.sleep(0.2)


class DrawsInEvaluation(Mine):
    """Adds noise from its own generator, in evaluation too."""

    def forward(self, batch):
        logits = super().forward(batch).logits
        return Prediction(logits + torch.randn(logits.shape, generator=self.generator))


class PeeksAtLabels(Mine):
    """Adds the label to the logits: in evaluation there is none to add."""

    def forward(self, batch):
        hot = nn.functional.one_hot(batch.target.clamp(min=0), len(self.schema.classes))
        return Prediction(super().forward(batch).logits + 50.0 * hot * (batch.target >= 0).unsqueeze(1))


class NoForward(Method):
    pass


class NeverReady(Mine):
    is_selectable = False


class PaperSecond(Mine):
    presets = {"other": {}, "paper": {}}


class NotNormalised(Estimator):
    def fit(self, train, valid):
        pass

    def predict_proba(self, samples):
        import numpy as np

        return np.ones((len(samples), len(self.schema.classes)))


class NotAMethod:
    pass


class NoLoad(Dataset):
    title = "nothing"


class LoadsNothing(Dataset):
    def load(self):
        return None


class Prints(Mine):
    def forward(self, batch):
        print("métier, no end of line", end="")
        time.sleep(3600 if self.config.epochs > 1 else 0)
        raise ValueError("said enough")


class DiesAnswering(Mine):
    """Begins a message to the driver and dies in it."""

    def forward(self, batch):
        for number in pipes():
            os.write(number, struct.pack("!i", 1000) + b"half")
        os.kill(os.getpid(), signal.SIGKILL)


class ClosesItsPipe(Mine):
    def forward(self, batch):
        for number in pipes():
            os.close(number)
        time.sleep(600)


def pipes():
    """File numbers of the pipes to the driver, of which there is one."""
    found = [one for one in gc.get_objects() if isinstance(one, Connection)]
    return [one.fileno() for one in found if not one.closed and one.writable]

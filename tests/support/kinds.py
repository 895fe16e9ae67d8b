"""Tiny datasets of one kind of modality each, and of all: two or three modalities, gaps of their own, a class that shifts every value."""

import numpy as np

from bench.datasets.base import Dataset, Modality, Samples, Schema

SHAPES = {"vector": (5,), "sequence": (6, 2), "image": (1, 8, 8), "volume": (1, 4, 4, 4)}
ROWS, CLASSES = 72, 3


class Kinds(Dataset):
    """`kinds=vector-sequence`: a modality of each. Sequences are padded."""

    title = "tiny samples of some kinds"
    source = "drawn from a fixed seed"
    licence = "none"
    synthetic = True
    options = {"kinds": "vector-sequence-image"}

    def __init__(self, kinds="vector-sequence-image"):
        self.kinds = kinds.split("-")

    def load(self):
        rng = np.random.default_rng(0)
        modalities = tuple(Modality(f"m{place}", "ABCDE"[place], kind, SHAPES[kind]) for place, kind in enumerate(self.kinds))
        target = np.arange(ROWS, dtype=np.int64) % CLASSES
        values = {
            modality.name: (rng.normal(size=(ROWS, *modality.shape)) + target.reshape(-1, *[1] * len(modality.shape))).astype(np.float32)
            for modality in modalities
        }
        keys = rng.random((ROWS, len(modalities)))
        lengths = {modality.name: rng.integers(1, 7, ROWS) for modality in modalities if modality.kind == "sequence"}
        schema = Schema(modalities, tuple(f"class {c}" for c in range(CLASSES)))
        return Samples(
            schema, values, (keys >= 0.3) | (keys == keys.max(1, keepdims=True)), target, np.arange(ROWS).astype(str), lengths=lengths
        ).sealed()

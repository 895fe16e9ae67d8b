"""Bundles for tests: an honest one of two methods, one of them from files, and the same told otherwise."""

from __future__ import annotations

from dataclasses import replace

import bench
from bench.leaderboard.bundling import bundle_of
from bench.records.bundle import packed
from bench.records.unpacking import open_bundle

HELPER = "WIDTH = 8\n"
METHOD = '''
from parts import WIDTH
from torch import nn

from bench.methods.base import Method, Prediction
from bench.methods.encoders import Encoders


class Mine(Method):
    """Mean of the embeddings, then a linear head."""

    def __init__(self, schema, config):
        super().__init__(schema, config)
        self.encode = Encoders(schema, tokens=1, width=WIDTH)
        self.head = nn.Linear(WIDTH, len(schema.classes))

    def forward(self, batch):
        return Prediction(self.head(self.encode(batch).mean((1, 2))))
'''
ASKED = {"datasets": "breast-cancer", "noise": 0.3, "test_noise": [0.5], "quiet": True}


def write_method(folder):
    """The method's name by file."""
    (folder / "parts.py").write_text(HELPER, encoding="utf-8")
    (folder / "mine.py").write_text(METHOD, encoding="utf-8")
    return f"{folder / 'mine.py'}:Mine"


def made(out, methods, to, seeds=(0, 1), epochs=2, **asked):
    """A bundle of methods that are run for it."""
    bench.run(methods=methods, seeds=list(seeds), out=out, training={"epochs": epochs}, **{**ASKED, **asked})
    return bundle_of(out, (), to)


def rewritten(bundle, path):
    """The bundle written as it is by somebody who takes care that every hash fits, and read again."""
    path.write_bytes(packed(bundle))
    return open_bundle(path)


def told(bundle, place=0, trial=None, stored=None, **changes):
    """The bundle with the record at a place told otherwise, under the id that its trial then has."""
    record = bundle.line[place]
    other = replace(record, trial=replace(record.trial, **(trial or {})), **changes)
    predictions = {
        (other.trial.id if id_ == record.trial.id else id_): (stored(one) if stored and id_ == record.trial.id else one)
        for id_, one in bundle.stored.items()
    }
    line = [other if one is record else one for one in bundle.line]
    return replace(bundle, line=line, stored=predictions)

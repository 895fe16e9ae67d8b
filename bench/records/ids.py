"""Ids of samples in what leaves a results folder: salted hashes, unless their dataset states that its ids are public. Free of torch.

A hash is the same wherever an id stands, in whatever is published from one results folder, so what was paired stays paired. Rows of such
predictions are in the order of their hashes: in that of the data they would tell who is who to anybody with a list of the samples. Whoever
has the data can still put rows to samples by training again; that person has the data.
"""

from __future__ import annotations

import ast
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Iterable

import numpy as np

from bench import registry
from bench.records.answers import Answers
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.text import SAMPLE_NAME, sample_name

PUBLIC, PRIVATE, SALTED = "public", "private", "salted"  # what `Facts.ids` says
BYTES = 10  # of a hash: two of a billion ids share one with a chance below one in a million
QUOTED = re.compile(r"""(?<!\w)('[^'\n]+'|"[^"\n]+")""")
WORD = re.compile(r"[^\s'\"(),;:=\[\]{}<>]+")
UNREAD = re.compile(r"^(dataset '(?:[^'\\]|\\.)*')(?:: | does not load: ).*", re.DOTALL)


def new_salt() -> bytes:
    return secrets.token_bytes(32)


def kinds_of(records: Iterable[Record], read_by_all: bool) -> dict[str, str]:
    """Dataset -> what its ids are, one of the three words.

    A record of before says nothing: then the catalog does, and ids of what it does not list are private, unless they are `read_by_all`,
    since they come from a published folder.
    """
    said: dict[str, str] = {}
    for record in records:
        name, stated = record.trial.dataset, record.facts.ids
        if stated and said.get(name) != PRIVATE:  # of two statements the careful one counts
            said[name] = stated
        said.setdefault(name, "")
    silent = PUBLIC if read_by_all else PRIVATE
    return {name: stated or (PUBLIC if registry.has_public_ids(name) else silent) for name, stated in said.items()}


class Salter:
    """Makes hashes of ids, each once."""

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self.known: dict[str, str] = {}

    def of(self, id_: str) -> str:
        if id_ not in self.known:
            self.known[id_] = hmac.new(self.salt, id_.encode(), hashlib.sha256).hexdigest()[: 2 * BYTES]
        return self.known[id_]

    def predictions(self, found: Predictions) -> Predictions:
        """The same rows under hashed ids, in the order of these. Raises: ValueError if two ids have one hash."""
        ids = np.array([self.of(str(id_)) for id_ in found.ids.tolist()])
        order = np.argsort(ids, kind="stable")
        if (ids[order][1:] == ids[order][:-1]).any():
            raise ValueError("two ids of samples have the same hash; publish from a folder with another salt")
        evaluations = {rule: outputs[order] for rule, outputs in found.evaluations.items()}
        observed = None if found.observed is None else found.observed[order]
        return Predictions(ids[order], found.target[order], found.outputs[order], evaluations, found.form, observed)

    def text(self, text: str) -> str:
        """The text with every sample it names under its hash: what is called a sample, and any id that is known by now."""
        text = marked(text, self.known)
        text = SAMPLE_NAME.sub(lambda found: sample_name(self.of(ast.literal_eval(found[1]))), text)
        return UNREAD.sub(r"\1 does not load; what its reader said is not published, since it may name samples", text)


def marked(text: str, ids: Collection[str]) -> str:
    """The text with every id among its words, or in quotes, called a sample, so that it can be told from other words later.

    Plain words and numbers of up to four digits count in quotes alone: "12 rows" is no sample 12.

    >>> marked("KeyError: 'P-17' beside P-18 in 4 rows", {"P-17", "P-18", "4"})
    "KeyError: sample 'P-17' beside sample 'P-18' in 4 rows"
    """
    names = [found[1] for found in SAMPLE_NAME.finditer(text)]
    pieces = SAMPLE_NAME.split(text)  # text, name, text, ...
    done = [_marked(piece, ids) for piece in pieces[::2]]
    return done[0] + "".join(f"sample {name}{piece}" for name, piece in zip(names, done[1:], strict=True))


def _marked(text: str, ids: Collection[str]) -> str:
    """Of a text in which no sample is called so yet."""
    pieces = QUOTED.split(text)  # text, quoted, text, ...
    for place, piece in enumerate(pieces):
        if place % 2:
            pieces[place] = sample_name(piece[1:-1]) if piece[1:-1] in ids else f"{piece[0]}{_words(piece[1:-1], ids)}{piece[0]}"
        else:
            pieces[place] = _words(piece, ids)
    return "".join(pieces)


def _words(text: str, ids: Collection[str]) -> str:
    return WORD.sub(lambda found: _word(found[0], ids), text)


def _word(word: str, ids: Collection[str]) -> str:
    bare = word.rstrip(".!?")
    tells = not (bare.isdigit() and len(bare) <= 4) and not (bare.isalpha() and bare.islower())
    return sample_name(bare) + word[len(bare) :] if tells and bare in ids else word


def as_set(found: Predictions) -> Predictions:
    """The same rows without ids, in an order that their labels and outputs alone decide: equal for equal sets of rows."""
    columns = [
        *found.target.reshape(len(found.target), -1).T,
        *(column for outputs in (found.outputs, *found.evaluations.values()) for column in outputs.T),
    ]
    order = np.lexsort([_sortable(column) for column in reversed(columns)])
    evaluations = {rule: outputs[order] for rule, outputs in found.evaluations.items()}
    observed = None if found.observed is None else found.observed[order]
    return Predictions(np.zeros(len(order), dtype="U1"), found.target[order], found.outputs[order], evaluations, found.form, observed)


def _sortable(column: np.ndarray) -> np.ndarray:
    """Bits for numbers: -0 is not 0, and whatever differs has a place."""
    return np.ascontiguousarray(column).view(np.dtype(f"u{column.dtype.itemsize}"))


def rows_by_dataset(answers: Answers) -> dict[str, int]:
    """Dataset, as tables call it -> samples that have predictions."""
    found: dict[str, dict[str, None]] = {}
    for setting, here in answers.by_setting():
        for record in here.records:
            if record.trial.id in here.predictions:
                found.setdefault(setting.dataset, {}).update(dict.fromkeys(here.predictions[record.trial.id].ids.tolist()))
    return {label: len(ids) for label, ids in found.items()}

"""Which modalities each test row observed: masks are stored as hashes, so they are drawn again where the data are here."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.data.loading import loaded_once
from bench.errors import UsageError
from bench.question.parts import parts_of
from bench.question.trial import Trial
from bench.records.ids import SALTED
from bench.records.record import Record


def masks_of(records: Iterable[Record]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Hash of each test mask of these records -> the mask (N, M), drawn again; and a note on each dataset that does not load.

    Where every seed draws its own split there is no mask that trials share, and none is drawn. Rows that were published under salted ids
    stand in another order than the mask's, so theirs is not drawn either.
    """
    records = list(records)
    trials: dict[str, dict[tuple[str, str, int], Trial]] = {}
    salted = list(dict.fromkeys(record.trial.dataset_label for record in records if record.facts.ids == SALTED))
    for trial in (record.trial for record in records):
        if trial.vary != "split" and trial.dataset_label not in salted:
            trials.setdefault(trial.dataset_label, {}).setdefault((trial.combination, trial.protocol, trial.fixed_seed), trial)
    masks = {}
    notes = [f"{label} is not counted by observed modalities: its ids are salted, give the results folder (--out)" for label in salted]
    with loaded_once():
        for label, of_dataset in trials.items():
            try:
                for trial in of_dataset.values():
                    test = parts_of(trial)[1].test
                    masks[test.mask] = test.samples.observed
            except UsageError as error:
                notes.append(f"{label} is not counted by observed modalities: {error}")
    return masks, notes

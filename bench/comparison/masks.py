"""Which modalities each test row observed: masks are stored as hashes, so they are drawn again where the data are here."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bench.data.loading import loaded_once
from bench.errors import UsageError
from bench.question.parts import parts_of
from bench.question.trial import Trial
from bench.records.record import Record


def masks_of(records: Iterable[Record]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Hash of each test mask of these records -> the mask (N, M), drawn again; and a note on each dataset that does not load.

    Where every seed draws its own split there is no mask that trials share, and none is drawn.
    """
    trials: dict[str, dict[tuple[str, str, int], Trial]] = {}
    for trial in (record.trial for record in records):
        if trial.vary != "split":
            trials.setdefault(trial.dataset_label, {}).setdefault((trial.combination, trial.protocol, trial.fixed_seed), trial)
    masks, notes = {}, []
    with loaded_once():
        for label, of_dataset in trials.items():
            try:
                for trial in of_dataset.values():
                    test = parts_of(trial)[1].test
                    masks[test.mask] = test.samples.observed
            except UsageError as error:
                notes.append(f"{label} is not counted by observed modalities: {error}")
    return masks, notes

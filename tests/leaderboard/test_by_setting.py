"""Whoever reads predictions reads those of one setting, and lets them go before the next but one."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from bench.comparison.compare import compare
from bench.leaderboard import build
from bench.leaderboard.standing import families_of
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers, StoredPredictions, by_setting
from bench.records.facts import Facts
from bench.records.ids import rows_by_dataset
from bench.records.predictions import Predictions
from bench.records.public import public
from bench.records.record import Record
from bench.records.scoring import agreeing, mismatches_of
from bench.stats.metrics import score

BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip
RATES = (0.1, 0.3, 0.5, 0.7)
SUITE = Suite("small", (Settings(("digits",), noise=RATES),), methods=("muse", "shaspec"))
TRIALS = [
    replace(BASE, method=method, protocol=f"mcar({rate})", seed=seed)
    for seed in range(3)
    for rate in RATES
    for method in ("muse", "shaspec", "constant")
]
READERS = {
    "board": build, "families": families_of, "mismatches": mismatches_of, "agreeing": agreeing, "rows": rows_by_dataset,
    "public": lambda answers: mismatches_of(public(answers)), "comparison": lambda answers: compare(answers, "muse", "shaspec"),
}  # fmt: skip


def given(id_):
    outputs = np.random.default_rng(int(id_, 16)).dirichlet(np.ones(2), size=20).astype(np.float32)
    return Predictions(np.arange(20).astype(str), np.arange(20) % 2, outputs)


def recorded(trial):
    found = given(trial.id)
    return Record(trial, "done", metrics=dict(score(found.target, found.scores)[0]), facts=Facts(masks={"test": "m"}, ids="private"))


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_predictions_of_one_setting_are_in_memory(reader):
    asked, alive = [], []

    def read(ids):
        gc.collect()
        asked.append((set(ids), sum(one() is not None for one in alive)))
        found = {id_: given(id_) for id_ in ids}
        alive.extend(map(weakref.ref, found.values()))
        return found

    records = [recorded(trial) for trial in TRIALS]
    settings = [{record.trial.id for record in own} for own in by_setting(records).values()]
    reader(Answers(SUITE, records, StoredPredictions([trial.id for trial in TRIALS], read), salt=lambda: b"salt"))
    assert len(asked) >= len(settings)
    for ids, others in asked:
        assert any(ids <= own for own in settings)
        assert others <= len(settings[0])


def test_a_setting_read_alone_gives_the_board_that_all_at_once_give():
    records = [recorded(trial) for trial in TRIALS]
    at_once = {trial.id: given(trial.id) for trial in TRIALS}
    later = StoredPredictions([trial.id for trial in TRIALS], lambda ids: {id_: given(id_) for id_ in ids})
    boards = [build(Answers(SUITE, records, predictions)) for predictions in (at_once, later)]
    assert str(boards[0]) == str(boards[1])
    assert len(boards[0].curves) == 1

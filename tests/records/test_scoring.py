"""bench/records/scoring.py: a record's numbers are those of its stored predictions, on every committed board too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.errors import UsageError
from bench.question.trial import Trial
from bench.records.facts import Evaluated, Facts
from bench.records.folder import Folder
from bench.records.pieces import PREDICTIONS, of_folder, published_in
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.records.scoring import mismatches, rescored, scored
from bench.stats.metrics import metrics_of, score

BOARDS = Path(__file__).resolve().parents[2] / "leaderboards"
TRIAL = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
    evaluations=("mcar(0.5)",),
)  # fmt: skip


@pytest.mark.parametrize("board", [path.name for path in published_in(BOARDS)])
def test_every_metric_of_a_committed_board_is_that_of_its_predictions(board):
    """Closer than any digit shown: the last bits of a sum may differ between machines. Rules of evaluations are left to `--check`."""
    with Folder(BOARDS / board) as found:
        answers = found.answers()
    done = [record for record in answers.records if record.status == "done"]
    stored = set()
    for path in of_folder(BOARDS / board, PREDICTIONS):
        with np.load(path) as arrays:
            stored |= {id_ for name in arrays.files if name.endswith("/trials") for id_ in arrays[name].tolist()}
    assert stored == {record.trial.id for record in done}
    for record in done:
        predictions = answers.predictions[record.trial.id]
        target, scores = predictions.target, predictions.scores
        for name, value in score(target, scores)[0].items():
            told = record.metrics[name]
            assert np.isclose(told, value, rtol=0, atol=1e-12, equal_nan=True), (record.trial.id, name, told, value)
        if target.dtype.kind == "i" and target.ndim == 1:
            assert record.facts.histogram == np.bincount(scores.argmax(1), minlength=scores.shape[1]).tolist()


def agreeing():
    rng = np.random.default_rng(0)
    target = np.arange(60) % 3
    outputs, under = (rng.dirichlet(np.ones(3), size=60) for _ in range(2))
    predictions = Predictions(np.array([f"r{i}" for i in range(60)]), target, outputs, {"mcar(0.5)": under})
    metrics, reasons, histogram = scored(target, outputs)
    facts = Facts(
        histogram=histogram, metric_reasons=reasons, evaluations={"mcar(0.5)": Evaluated(**scored(target, under)._asdict(), mask="m")}
    )
    return Record(TRIAL, "done", None, metrics, {}, facts), predictions


def test_agreeing_record_is_left_as_it_is():
    record, predictions = agreeing()
    assert mismatches(record, predictions) == []
    assert rescored(record, predictions) is record
    reordered = replace(record, metrics=dict(reversed(record.metrics.items())))  # as a file sorts them
    assert rescored(reordered, predictions) is reordered


@pytest.mark.parametrize("metric", metrics_of("classes"))
@pytest.mark.parametrize("rule", ["", "mcar(0.5)"], ids=["main", "evaluation"])
def test_each_wrong_metric_is_found_and_mended(metric, rule):
    record, predictions = agreeing()
    one = record.facts.evaluations["mcar(0.5)"]
    if rule:
        wrong = {**one.metrics, metric: one.metrics[metric] + 1e-8}
        off = replace(record, facts=replace(record.facts, evaluations={rule: replace(one, metrics=wrong)}))
    else:
        off = replace(record, metrics={**record.metrics, metric: record.metrics[metric] + 1e-8})
    (found,) = mismatches(off, predictions)
    assert (found.trial, found.rule, found.metric) == (TRIAL.id, rule, metric)
    assert found.recorded - found.stored == pytest.approx(1e-8, rel=1e-6)
    mended = rescored(off, predictions)
    assert mended == replace(record, facts=replace(record.facts, rescored=bench.__version__))
    assert mended.facts.evaluations["mcar(0.5)"].mask == "m"


def test_number_where_there_is_none_and_other_classes_are_found():
    record, predictions = agreeing()
    predictions = replace(predictions, target=np.zeros(60, dtype=int))
    found = {
        one.metric: one
        for one in mismatches(replace(record, facts=replace(record.facts, histogram=[60, 0, 0])), predictions)
        if not one.rule
    }
    assert {"auroc", "auprc", "histogram"} <= set(found)
    assert np.isnan(found["auroc"].stored)
    assert found["histogram"].recorded == [60, 0, 0]
    mended = rescored(record, predictions)
    assert mended.facts.metric_reasons["auroc"] == "class 1, 2 is absent from the scored part"
    assert mismatches(mended, predictions) == []


def test_record_of_before_is_held_to_what_it_tells_alone():
    record, predictions = agreeing()
    early = replace(record, metrics={"accuracy": record.metrics["accuracy"]}, facts=Facts())
    assert mismatches(early, predictions) == []
    assert rescored(early, predictions).metrics == record.metrics


def test_damaged_predictions_are_named_with_their_trial():
    record, predictions = agreeing()
    predictions.outputs[7] = np.nan
    with pytest.raises(UsageError, match=f"predictions of trial {TRIAL.id} are damaged: .* got 1 of 60 rows with NaN"):
        mismatches(record, predictions)

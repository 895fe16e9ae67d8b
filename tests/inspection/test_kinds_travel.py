"""What is done with stored answers, on labels and on a value: bundled, verified, joined, exported, loaded and trained again."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import sent_in

import bench
from bench.errors import UsageError
from bench.inspection.submission import verify
from bench.leaderboard import markdown
from bench.leaderboard.bundling import bundle_of
from bench.records.database import Store
from bench.records.facts import Evaluated
from bench.records.scoring import mismatches
from bench.records.unpacking import open_bundle
from bench.records.verification import REFUTED

DATA = {"labels": "gaussian[target=labels,n=160,labels=2]", "value": "gaussian[target=value,n=160]"}
METRIC = {"labels": "label_auroc", "value": "mae"}


@pytest.fixture(scope="module", params=DATA)
def runs(request, tmp_path_factory):
    """Two methods and two seeds, scored under every combination as well: `constant` has scores that are NaN there."""
    out = tmp_path_factory.mktemp("runs")
    bench.run(
        methods="constant,mean-mlp", datasets=DATA[request.param], noise=0.3, seeds="0-1", test_combinations="all",
        training={"epochs": 1}, out=out, keep_weights=True, jobs=1, quiet=True,
    )  # fmt: skip
    return request.param, out


def stored(out):
    with Store(out, create=False) as store:
        records = [record for record in store.records() if record.status == "done"]
        return records, store.predictions(record.trial.id for record in records)


def test_a_bundle_is_verified_and_one_that_lies_is_refuted(runs, tmp_path):
    kind, out = runs
    bundle_of(out, (), tmp_path / "own.bundle")
    found = verify(open_bundle(tmp_path / "own.bundle"), again=1)
    assert [str(check) for check in found.checks if not check.passed] == []
    assert found.result == "reproduced 1 of 1"
    bundle = open_bundle(tmp_path / "own.bundle")
    lying = [replace(record, metrics={**record.metrics, METRIC[kind]: record.metrics[METRIC[kind]] * 0.99}) for record in bundle.line]
    assert verify(replace(bundle, line=lying)).result == REFUTED


def test_scores_that_are_not_defined_are_numbers_when_they_are_read(runs):
    records, predictions = stored(runs[1])
    for record in records:
        assert mismatches(record, predictions[record.trial.id]) == []
        told = [one.metrics for one in record.facts.evaluations.values()]
        assert told
        assert all(isinstance(value, float) for metrics in told for value in metrics.values())


def test_null_of_a_record_is_no_number():
    assert math.isnan(Evaluated.from_json({"metrics": {"pearson": None}}).metrics["pearson"])


def test_parts_are_joined(runs, tmp_path):
    kind, out = runs
    more = tmp_path / "more"
    bench.run(
        methods="mean-mlp", datasets=DATA[kind], noise=0.3, seeds=2, test_combinations="all", training={"epochs": 1}, out=more, jobs=1,
        quiet=True,
    )  # fmt: skip
    bench.merge([out, more], out=tmp_path / "all")
    frame = bench.results(tmp_path / "all")
    assert sorted(frame[frame.method == "mean-mlp"].seed) == [0, 1, 2]
    assert np.isfinite(frame[METRIC[kind]]).all()


def test_an_export_has_the_scores_and_every_target(runs, tmp_path):
    kind, out = runs
    records, predictions = stored(out)
    bench.export(tmp_path / "trials.csv", out=out)
    with (tmp_path / "trials.csv").open(encoding="utf-8") as file:
        told = {line["id"]: float(line[f"metric_{METRIC[kind]}"]) for line in csv.DictReader(file)}
    assert told == pytest.approx({record.trial.id: record.metrics[METRIC[kind]] for record in records})
    table = bench.export(out=out, predictions=True)
    assert len(table) == sum(len(one.ids) * (1 + len(one.evaluations)) for one in predictions.values())


def test_kept_weights_give_the_stored_predictions_bit_for_bit(runs):
    pytest.importorskip("safetensors", reason="needs safetensors (extra weights)")
    _, out = runs
    records, predictions = stored(out)
    record = next(record for record in records if record.trial.method == "mean-mlp")
    kept = bench.load_weights(record.trial.id, out)
    assert record.facts.weights == "kept"
    assert kept.scores().tobytes() == predictions[record.trial.id].scores.tobytes()


def test_more_modalities_are_weighed_by_the_loss_of_the_kind(runs):
    kind, out = runs
    board = bench.board(out, metric=METRIC[kind])
    row = next(row for row in board.settings[0].surface.rows if row.label == "mean-mlp")
    assert row.more_reason == ""
    assert row.more_is_worse.pairs + row.more_is_worse.left_out == 12
    assert {"labels": "By binary cross entropy", "value": "By squared error"}[kind] in markdown(board)


@pytest.mark.parametrize("kind", DATA)
def test_tuning_and_looks_take_the_kind(kind, tmp_path):
    asked = {"datasets": DATA[kind], "noise": 0.3, "training": {"epochs": 1}, "quiet": True, "jobs": 1}
    found = bench.tune(methods="mean-logistic", suggestions=2, out=tmp_path, **asked)
    assert found.method.tolist() == ["mean-logistic"]
    bench.run(
        methods="mean-logistic,constant", seeds="0-1", until_resolved="mean-logistic,constant", max_seeds=3, out=tmp_path / "looks", **asked
    )
    looked = bench.compare("mean-logistic", "constant", tmp_path / "looks", metric=METRIC[kind])
    assert looked.differences[0].looks.taken


def test_a_bundle_is_of_one_kind_and_a_selection_of_a_datasets_own_is_verified(tmp_path):
    (tmp_path / "own.toml").write_text(
        'methods = ["mean-mlp"]\nmetric = "accuracy,mae"\nselection = "accuracy,mae"\nseeds = "0"\n[training]\nepochs = 1\n'
        '[metrics.breast-cancer]\nselection = "auroc"\n[[settings]]\n'
        f'datasets = ["breast-cancer", "digits", "{DATA["value"]}"]\nnoise = [0.3]\n'
    )
    bench.run(tmp_path / "own.toml", out=tmp_path / "runs", jobs=1, quiet=True)
    with pytest.raises(UsageError, match="targets of several kinds, each with a board of its own; take one of --metric accuracy, mae"):
        bench.bundle(tmp_path / "runs", to=tmp_path / "both.bundle")
    for metric, selected in (("accuracy", {"breast-cancer": "auroc", "digits": "accuracy"}), ("mae", {"gaussian": "mae"})):
        bundle = bench.bundle(tmp_path / "runs", metric=metric, to=tmp_path / f"{metric}.bundle")
        assert {record.trial.dataset: record.trial.selection for record in bundle.line} == selected
        assert [str(check) for check in verify(bundle).checks if not check.passed] == []
    bundle = open_bundle(tmp_path / "accuracy.bundle")
    place = next(place for place, record in enumerate(bundle.line) if record.trial.selection == "auroc")
    lying = sent_in.told(bundle, place, trial={"selection": "accuracy"})
    assert any("has selection 'accuracy', the question 'auroc'" in str(check) for check in verify(lying).checks if not check.passed)

"""Runs on labels and values from the plan to the page: every number is what its stored predictions give, worked out here anew."""

import re

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn import metrics as sk

import bench
from bench.cli import main
from bench.errors import UsageError
from bench.leaderboard.files import FRONT
from bench.leaderboard.front_page import pages
from bench.question.assemble import assemble
from bench.question.plan import plan
from bench.records.database import Store

DATA = "diabetes,gaussian[target=labels,n=300],gaussian[target=value,n=300]"
METHODS = "constant,mean-logistic,mean-mlp"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Three datasets of two kinds, three methods and the ceiling, two seeds."""
    folder = tmp_path_factory.mktemp("tasks")
    bench.run(methods=METHODS, datasets=DATA, noise=0.3, seeds="0-1", training={"epochs": 2}, out=folder, quiet=True)
    return folder


def by_hand(target, scores):
    if target.ndim == 1:
        return {"mae": sk.mean_absolute_error(target, scores[:, 0]), "rmse": sk.root_mean_squared_error(target, scores[:, 0])}
    return {
        "label_auroc": sk.roc_auc_score(target, scores),
        "label_f1": sk.f1_score(target, scores > 0.5, average="macro", zero_division=0.0),
    }


def test_every_recorded_number_is_what_its_predictions_give(out):
    with Store(out, create=False) as store:
        records = store.records()
        predictions = store.predictions([record.trial.id for record in records])
    assert len(records) == 2 * (3 * 3 + 2)  # the ceiling joins on the two worlds
    assert {record.status for record in records} == {"done"}
    for record in records:
        stored = predictions[record.trial.id]
        for name, value in by_hand(stored.target, stored.scores).items():
            assert record.metrics[name] == pytest.approx(value, abs=1e-9), (record.trial.label, name)
        assert record.trial.selection in ("mae", "label_auroc")


def test_boards_of_each_kind_show_the_means_of_these_numbers(out):
    frame = bench.results(out)
    for metric, factor, digits in (("mae", 1, 3), ("label_auroc", 100, 1)):
        page = bench_page(out, metric)
        own = frame[frame[metric].notna()]
        assert len(own)
        for (_, _), rows in own.groupby(["dataset", "method"]):
            assert f"{factor * rows[metric].mean():.{digits}f} ± {factor * rows[metric].std(ddof=1):.{digits}f} (2)" in page
        other = {"mae": "label_auroc", "label_auroc": "mae"}[metric]
        assert f"{other}, mean" not in page


def bench_page(out, metric):
    from bench.leaderboard import markdown

    return markdown(bench.board(out, metric=metric))


def test_nobody_beats_the_ceiling(out):
    frame = bench.results(out)
    for metric, sign in (("mae", -1), ("label_auroc", 1)):
        own = frame[frame[metric].notna() & frame.dataset.str.startswith("gaussian")]
        best = own.groupby("method")[metric].mean() * sign
        assert best.idxmax() == "bayes"


def test_a_page_has_one_metric_and_a_metric_of_another_kind_is_refused(out):
    with pytest.raises(UsageError, match="targets of several kinds, each with a board of its own; take one of --metric"):
        bench.board(out)
    with pytest.raises(UsageError, match=r"accuracy scores no target of these answers; metrics that fit: .*mae"):
        bench.board(out, metric="accuracy")
    with pytest.raises(UsageError, match=r"accuracy is no score of the target of diabetes, which is of kind value; metrics that fit: mae"):
        plan(assemble("quick", {"datasets": "diabetes", "metric": "accuracy"}))


def test_comparison_of_two_methods_on_a_value_is_in_its_unit(out):
    found = bench.compare("mean-logistic", "constant", out, metric="mae")
    frame = bench.results(out)
    rows = frame[frame.dataset == "diabetes"].groupby("method").mae.mean()
    one = next(each for each in found.differences if each.table.setting.dataset == "diabetes")
    assert one.estimate.difference == pytest.approx(rows["constant"] - rows["mean-logistic"])
    assert "x 100" not in str(found)


def test_published_folders_of_each_kind_check_and_carry_their_targets(out, tmp_path):
    for metric in ("mae", "label_auroc"):
        folder = tmp_path / metric
        done = CliRunner().invoke(main, ["leaderboard", "--out", str(out), "--metric", metric, "--publish", str(folder)])
        assert done.exit_code == 0, done.output
        done = CliRunner().invoke(main, ["leaderboard", "--check", str(folder)])
        assert done.exit_code == 0, done.output
        assert re.search(r"ok +", done.output)
        done = CliRunner().invoke(main, ["leaderboard", "--site", str(tmp_path / f"site-{metric}"), "--from", str(folder)])
        assert done.exit_code == 0, done.output
    table = bench.export(out=out, predictions=True)
    value = table[table.dataset == "diabetes"]
    assert np.isfinite(value[["target", "predicted", "score_0"]].to_numpy(float)).all()
    assert set(table.target_0.dropna()) == {0.0, 1.0}


def test_scores_in_two_units_have_no_mean_and_no_test_over_both(tmp_path):
    folder = tmp_path / "units"
    description = tmp_path / "stay.toml"
    rows = [f"p{i},{3 + i % 9},{i % 5}.5,{i % 7}.25" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["id,days,a,b", *rows]) + "\n")
    modalities = [
        f'[[modality]]\nname = "{name}"\nkind = "vector"\nfile = "t.csv"\n[modality.columns]\n{name} = "number"\n' for name in "ab"
    ]
    head = 'id = "id"\n[target]\nfile = "t.csv"\nkind = "value"\ncolumn = "days"\nunit = "days"\n'
    description.write_text(head + "".join(modalities))
    bench.run(
        methods="constant,mean-logistic",
        datasets=f"diabetes,{description}",
        noise=0.3,
        seeds="0-1",
        vary="training",
        out=folder,
        quiet=True,
    )
    board = bench.board(folder)
    assert [kind.what for kind in board.overall] == ["real disease progression", "real days"]
    front = pages(board)[FRONT]
    for unit in ("disease progression", "days"):
        assert all(told in front for told in (f"## Overall, {unit}", f"**In short, {unit}.**")), "each says whose it is"
    with pytest.raises(UsageError, match=r"mae is in the unit of each target .*; take one at a time, such as --settings 'diabetes'"):
        bench.compare("mean-logistic", "constant", folder)
    assert bench.board(folder, metric="r2").overall[0].what == "real"

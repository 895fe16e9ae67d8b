"""bench/leaderboard/groups.py: scores by group are those of the group's rows, gaps are corrected, and nothing private is published."""

import json
import math
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import norm

import bench
from bench import registry
from bench.cli import main
from bench.data.attributes import Attributes
from bench.errors import UsageError
from bench.leaderboard import build, checked, markdown, publish, significance_json
from bench.leaderboard.groups import LEAST, check_by
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.attributes import read_file
from bench.records.database import Store
from bench.records.facts import Facts, Origin
from bench.records.folder import Folder
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.records.scoring import scored
from bench.stats import crossed_interval, holm, pseudo_values
from bench.stats.metrics import METRICS

ROWS = 200
METRIC_OF = {"classes": "auroc", "labels": "label_auroc", "value": "mae"}
SITES = ["a"] * 100 + ["b"] * 60 + ["c"] * 30 + ["tiny"] * 6 + [""] * 4


def drawn(kind, rng):
    """Targets and outputs of one seed, worse in odd rows."""
    noise = np.where(np.arange(ROWS) % 2, 3.0, 0.8)
    if kind == "value":
        target = np.random.default_rng(7).gamma(4, 1, ROWS)
        return target, (target + rng.normal(0, noise))[:, None]
    if kind == "labels":
        target = np.random.default_rng(7).integers(0, 2, (ROWS, 3))
        return target, norm.cdf((2 * target - 1 + rng.normal(0, 1, target.shape) * noise[:, None]) / 2)
    target = np.random.default_rng(7).integers(0, 2, ROWS)
    yes = norm.cdf((2 * target - 1 + rng.normal(0, noise)) / 2)
    return target, np.stack([1 - yes, yes], 1)


def answers_of(kind="classes", seeds=3, public=False, vary="training", **facts):
    metric = METRIC_OF[kind]
    suite = Suite("s", (Settings(("ward.toml",)),), metric=metric, selection=metric, vary=vary)
    records, predictions = [], {}
    for method in ("mean-mlp", "mean-logistic"):
        for seed in range(seeds):
            trial = Trial(
                method=method, preset="default", options={}, training={}, dataset="ward.toml", dataset_options={}, combination="LN",
                protocol="mcar(0.1)", seed=seed, selection=metric, vary=vary, fixed_seed=0, fingerprint="f" * 16, version="v",
            )  # fmt: skip
            target, outputs = drawn(kind, np.random.default_rng([seed, len(method)]))
            ids = np.array([f"p{row:03}" for row in range(ROWS)])
            if vary == "split":
                chosen = np.sort(np.random.default_rng(seed).permutation(ROWS)[:150])
                ids, target, outputs = ids[chosen], target[chosen], outputs[chosen]
            predictions[trial.id] = Predictions(ids, target, outputs)
            metrics, reasons, _ = scored(target, outputs)
            told = {"rows": {"train": 400, "test": len(ids)}, "metric_reasons": reasons, "ids": "private", **facts}
            origin = Origin(bench="0", commit="c", dirty=False, hardware="chip", hardware_id="1", device="cpu", threads=1)
            records.append(Record(trial, "done", None, metrics, {}, Facts.from_json(told), origin))
    ids = np.array([f"p{row:03}" for row in range(ROWS)])
    groups = {"sex": np.where(np.arange(ROWS) % 2, "m", "f"), "site": np.array(SITES)}
    return Answers(suite, records, predictions, salt=lambda: b"salt", attributes={"f" * 16: Attributes(ids, groups, public)})


def table_of(answers, name, by=None):
    (setting,) = build(answers, by=by).settings
    return next(table for table in setting.groups if table.attribute == name)


@pytest.mark.parametrize("kind", METRIC_OF)
def test_score_of_a_group_is_that_of_its_rows(kind):
    answers, metric = answers_of(kind), METRIC_OF[kind]
    for row in table_of(answers, "sex").rows:
        stored = [answers.predictions[r.trial.id] for r in answers.records if r.trial.method == row.label]
        for score in row.scores:
            rows = np.arange(ROWS) % 2 == (score.group == "m")
            own = np.array([METRICS[metric].of(found.target[rows], found.scores[rows]) for found in stored])
            values = np.stack([pseudo_values(metric, found.target[rows], found.scores[rows]) for found in stored])
            assert score.mean == pytest.approx(own.mean(), abs=1e-12)
            low, high = crossed_interval(values, own)
            assert score.interval == pytest.approx((max(low, METRICS[metric].lower), min(high, METRICS[metric].upper)))
        assert row.gap is not None
        assert (row.gap.best, row.gap.worst) == ("f", "m")  # odd rows are the worse ones, whichever way a metric is good
        means = [score.mean for score in row.scores]
        assert row.gap.difference == pytest.approx(abs(means[0] - means[1]))
        assert row.gap.p_adjusted <= 0.05
        assert row.gap.interval[0] > 0


def test_small_and_unknown_groups_are_named_and_left_out():
    table = table_of(answers_of(), "site")
    assert (table.groups, table.sizes) == (("a", "b", "c"), (100, 60, 30))
    assert (table.left_out, table.not_known) == ((("tiny", 6),), 4)
    page = markdown(build(answers_of(), by=None))
    assert f"Left out, with fewer than {LEAST} test rows: tiny (6). The group of 4 test rows is not known." in page


def test_gaps_are_corrected_over_attributes_whichever_are_shown():
    answers = answers_of()
    every = {name: table_of(answers, name) for name in ("sex", "site")}
    for place, label in enumerate(row.label for row in every["sex"].rows):
        gaps = [every[name].rows[place].gap for name in ("sex", "site")]
        assert [gap.p_adjusted for gap in gaps] == pytest.approx(holm(np.array([gap.p for gap in gaps])).tolist()), label
        for gap in gaps:
            assert (gap.interval[0] > 0) == (gap.p_adjusted <= 0.05)
    assert table_of(answers, "sex", by=["sex"]) == every["sex"]
    (setting,) = build(answers, by=["sex"]).settings
    assert [table.attribute for table in setting.groups] == ["sex"]
    assert build(answers).settings[0].groups == ()


def test_metric_that_is_not_defined_in_a_group_is_nan_with_its_reason():
    answers = answers_of()
    found = next(iter(answers.predictions.values()))
    one_class = found.target == 1
    groups = {"risk": np.where(one_class, "high", "other")}
    answers = replace(answers, attributes={"f" * 16: Attributes(found.ids, groups)})
    table = table_of(answers, "risk")
    high = table.rows[0].scores[0]
    assert math.isnan(high.mean)
    assert high.reason == "class 0 is absent from the scored part"
    assert table.rows[0].gap is None
    assert "High: class 0 is absent from the scored part." in markdown(build(answers, by=None))


def test_one_seed_has_scores_and_says_why_nothing_is_tested():
    row = table_of(answers_of(seeds=1), "sex").rows[0]
    assert not math.isnan(row.scores[0].mean)
    assert (row.scores[0].reason, row.gap.reason) == ("an interval needs 2 seeds, got 1", "needs 2 seeds, got 1")
    assert math.isnan(row.gap.p_adjusted)


def test_splits_of_their_own_are_tested_over_seeds():
    answers = answers_of("value", seeds=6, vary="split")
    table = table_of(answers, "sex")
    fewest = min((np.isin(found.ids, [f"p{row:03}" for row in range(1, ROWS, 2)])).sum() for found in answers.predictions.values())
    assert table.sizes[table.groups.index("m")] == fewest
    assert table.rows[0].gap.best == "f"
    assert 0 < table.rows[0].gap.p < 1


def test_records_that_no_board_compares_are_not_tested_by_group_either():
    answers = answers_of()
    first, *others = answers.records
    mixed = replace(answers, records=[replace(first, provenance=replace(first.provenance, commit="other")), *others])
    gap = table_of(mixed, "sex").rows[0].gap
    assert math.isnan(gap.p)
    assert "different" in gap.reason or "commits" in gap.reason


def test_page_and_json_say_the_same():
    board = build(answers_of(), by=["sex"])
    (found,) = board.as_json()["settings"][0]["groups"]
    assert (found["attribute"], found["groups"], found["sizes"], found["least_rows"]) == ("sex", ["f", "m"], [100, 100], LEAST)
    page = markdown(board)
    assert "### By sex" in page
    for row in found["rows"]:
        assert f"{100 * row['scores'][0]['mean']:.1f} [" in page
        assert f"{100 * row['gap']['difference']:+.1f}" in page
    kept = json.loads(significance_json(board))["groups"]
    assert kept[0]["rows"][0]["gap"]["p_adjusted"] == pytest.approx(found["rows"][0]["gap"]["p_adjusted"], rel=1e-5)


def test_attribute_that_no_data_have_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="unknown attribute 'sexe', did you mean 'sex'"):
        check_by(answers_of(), ["sexe"])
    with pytest.raises(UsageError, match=r"no samples of these results have attributes.*notes them without a training anew"):
        check_by(replace(answers_of(), attributes={}), ["sex"])


def test_published_are_attributes_of_test_rows_under_salted_ids_where_the_data_say_so(tmp_path):
    answers = answers_of(public=True)
    publish(tmp_path / "board", answers, draw=False)
    text = (tmp_path / "board" / "attributes.json").read_text(encoding="utf-8")
    assert "p000" not in text
    with Folder(tmp_path / "board") as folder:
        again = folder.answers()
    here, there = table_of(answers, "site"), table_of(again, "site")
    assert (there.groups, there.sizes, there.left_out, there.not_known) == (here.groups, here.sizes, here.left_out, here.not_known)
    assert [s.mean for row in there.rows for s in row.scores] == pytest.approx([s.mean for row in here.rows for s in row.scores])
    assert "### By sex" in (tmp_path / "board" / "ward.toml.md").read_text(encoding="utf-8")
    assert checked(tmp_path / "board").stale == ()
    publish(tmp_path / "board", answers_of(), draw=False)  # the data do not say so any more
    assert not (tmp_path / "board" / "attributes.json").exists()


@pytest.mark.parametrize(("public", "restricted"), [(False, False), (True, True)], ids=["private", "restricted"])
def test_private_and_restricted_attributes_are_in_no_published_file(tmp_path, public, restricted):
    answers = answers_of(public=public, restricted=restricted)
    publish(tmp_path / "board", answers, draw=False, predictions=False)
    assert not (tmp_path / "board" / "attributes.json").exists()
    for path in (tmp_path / "board").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "By sex" not in text
        assert '"sex"' not in text
    assert "### By sex" in markdown(build(answers, by=["sex"]))  # where they lie, who holds them sees them


def test_without_predictions_pages_show_public_groups_and_no_row_is_there(tmp_path):
    publish(tmp_path / "board", answers_of(public=True), draw=False, predictions=False)
    assert not (tmp_path / "board" / "attributes.json").exists()
    assert "### By sex" in (tmp_path / "board" / "ward.toml.md").read_text(encoding="utf-8")


def test_broken_attributes_of_a_folder_are_one_line(tmp_path):
    publish(tmp_path / "board", answers_of(public=True), draw=False)
    path = tmp_path / "board" / "attributes.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"groups": ["f"', '"groups": ["f", 3, "g"', 1).replace('"rows": [', '"rows": [9, ')
    )
    with pytest.raises(UsageError, match="cannot be read: ValueError: attribute"):
        Folder(tmp_path / "board")


STUDY = """id = "id"
title = "Ward"
{attributes}
[target]
file = "ward.csv"
column = "outcome"
classes = ["alive", "dead"]
[[modality]]
name = "labs"
kind = "vector"
file = "ward.csv"
[modality.columns]
crp = "number"
[[modality]]
name = "history"
kind = "vector"
file = "ward.csv"
[modality.columns]
stays = "number"
"""


def test_attributes_stated_after_a_run_are_noted_without_a_training_anew(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    outcome = rng.integers(0, 2, 400)
    lines = [
        f"p{row},{'dead' if dies else 'alive'},{dies + rng.normal():.3f},{rng.integers(9)},{'fm'[row % 2]}"
        for row, dies in enumerate(outcome)
    ]
    (tmp_path / "ward.csv").write_text("id,outcome,crp,stays,sex\n" + "\n".join(lines) + "\n", encoding="utf-8")
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(attributes=""), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    asked = {
        "methods": "constant,mean-logistic",
        "datasets": "study.toml",
        "protocols": "natural",
        "seeds": "0-1",
        "out": "runs",
        "quiet": True,
    }
    bench.run("quick", **asked)
    with pytest.raises(UsageError, match="no samples of these results have attributes"):
        bench.board("runs", by="sex")
    path.write_text(STUDY.format(attributes='attributes = ["sex"]'), encoding="utf-8")
    with Store("runs", create=False) as store:
        before = store.ends()
    bench.run("quick", **asked)
    with Store("runs", create=False) as store:
        assert store.ends() == before
    (setting,) = bench.board("runs", by="sex").settings
    assert setting.groups[0].groups == ("f", "m")
    done = CliRunner().invoke(main, ["leaderboard", "--out", "runs", "--by", "sex"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "By sex" in done.stdout
    refused = CliRunner().invoke(main, ["leaderboard", "--out", "runs", "--by", "sex", "--publish", "board"])
    assert refused.exit_code == 2
    assert "--by is of the board that is printed" in refused.stderr
    bench.merge(["runs"], "all")
    assert repr(bench.board("all", by="sex").settings[0].groups) == repr(setting.groups)  # a NaN is not itself
    path.write_text(STUDY.format(attributes=""), encoding="utf-8")
    bench.run("quick", **asked)
    with pytest.raises(UsageError, match="no samples of these results have attributes"):
        bench.board("runs", by="sex")


def test_file_of_a_folder_without_attributes_is_absent(tmp_path):
    assert read_file(tmp_path) == {}
    assert not registry.dataset_of(registry.parse_choice("digits")).public_attributes


def test_a_bundle_holds_no_group_whatever_the_dataset_says(tmp_path):
    """It goes to somebody else for checking, which needs predictions alone."""
    rng = np.random.default_rng(0)
    ids, target = [f"p{row:03}" for row in range(400)], rng.integers(0, 2, 400)
    values = pd.DataFrame({"crp": target + rng.normal(0, 1, 400)}, index=ids)
    about = pd.DataFrame({"ward": np.where(rng.random(400) < 0.5, "north-wing", "south-wing")}, index=ids)
    data = bench.dataset(
        {"labs": values, "history": values}, pd.Series(target, index=ids), "wings", attributes=about, public_attributes=True
    )
    bench.run(methods="mean-logistic", datasets=[data], protocols="natural", seeds="0-1", out=tmp_path / "runs", quiet=True)
    (setting,) = bench.board(tmp_path / "runs", by="ward").settings
    assert setting.groups[0].groups == ("north-wing", "south-wing"), "the results folder has them"
    bench.bundle(tmp_path / "runs", to=tmp_path / "own.bundle")
    with zipfile.ZipFile(tmp_path / "own.bundle") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held
    assert [name for name, content in held.items() if b"-wing" in content or "attributes" in name] == []

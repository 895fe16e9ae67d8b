"""A dataset's own metric ranks its settings; where datasets have several, what stands over all of them says whose is which."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from bench.comparison.aa import self_test
from bench.comparison.compare import compare
from bench.errors import UsageError
from bench.leaderboard import build, markdown, pages, significance_json, table_csv, table_tex
from bench.leaderboard.drawers import DRAWERS
from bench.leaderboard.heat_maps import called, score_text
from bench.leaderboard.plots import data_of, hash_in, hash_of, save
from bench.leaderboard.site.data import site_data
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.facts import Facts, Origin
from bench.records.predictions import LOGITS, Predictions
from bench.records.record import Record
from bench.stats.metrics import score

ROWS = 60
DATASETS = ("digits", "eicu-demo")
OWN = {"eicu-demo": {"metric": "auroc", "selection": "auroc"}}
SUITE = Suite("own", (Settings(DATASETS, noise=(0.1, 0.3)),), title="Own", methods=("muse", "fusemoe", "constant"))
QUALITY = {"muse": 2.0, "fusemoe": 1.0, "mmformer": 0.5, "constant": 0.0}
MIXED = "accuracy; auroc on eicu-demo"


def made(suite, method, dataset, protocol, seed):
    """A record and predictions of two classes, the better the higher the method's quality; the classes of eicu-demo are uneven."""
    selection = suite.on(dataset).selection
    trial = Trial(
        method=method, preset="default" if method == "constant" else "paper", options={}, training={}, dataset=dataset, dataset_options={},
        combination="NE", protocol=protocol, seed=seed, selection=selection, vary="training", fixed_seed=0, fingerprint=f"of {dataset}",
        version="v",
    )  # fmt: skip
    target = (np.arange(ROWS) % (6 if dataset == "eicu-demo" else 2) == 0).astype(int)
    noise = np.random.default_rng([seed, *map(ord, method + dataset + protocol)]).normal(size=ROWS)
    logit = (2 * target - 1) * QUALITY[method] + noise if method != "constant" else np.full(ROWS, -1.0)
    positive = 1 / (1 + np.exp(-logit))
    scores = np.column_stack([1 - positive, positive])
    metrics, reasons = score(target, scores)
    facts = Facts(
        histogram=np.bincount(scores.argmax(1), minlength=2).tolist(), masks={"test": "mask"}, missing={"test": 0.25},
        rows={"test": ROWS, "train": 4 * ROWS}, metric_reasons=reasons,
    )  # fmt: skip
    cost = {"gflops_per_sample": 0.001 * (1 + QUALITY[method])}
    record = Record(trial, "done", None, metrics, cost, facts, Origin())
    return record, Predictions(np.arange(ROWS).astype(str), target, np.log(scores), LOGITS)


def answers_of(suite, datasets=DATASETS, methods=("muse", "fusemoe", "mmformer", "constant"), seeds=4):
    pairs = [
        made(suite, method, dataset, protocol, seed)
        for dataset in datasets for protocol in ("mcar(0.1)", "mcar(0.3)") for method in methods for seed in range(seeds)
    ]  # fmt: skip
    return Answers(suite, [record for record, _ in pairs], {record.trial.id: arrays for record, arrays in pairs})


def everything(answers):
    """All that a board is shown as."""
    board = build(answers)
    told = {
        "table": table_csv(board),
        "tests": significance_json(board),
        "tex": table_tex(board),
        "page": markdown(board),
        "pages": pages(board),
    }
    site = site_data(answers, told["table"], told["tests"], "here", "--from here")
    return {**told, "pictures": data_of(board), "json": board.as_json(), "site": site}


@pytest.fixture(scope="module")
def mixed():
    return answers_of(replace(SUITE, metrics=OWN))


@pytest.fixture(scope="module")
def shown(mixed):
    return everything(mixed)


def test_a_table_that_says_the_suites_own_metric_gives_the_same_board():
    same = {"digits": {"metric": "accuracy", "selection": "accuracy"}, "eicu-demo": {"metric": "accuracy"}}
    assert everything(answers_of(replace(SUITE, metrics=same))) == everything(answers_of(SUITE))


def test_a_board_of_one_dataset_with_its_own_metric_is_that_of_a_suite_with_this_metric():
    own = answers_of(replace(SUITE, metrics=OWN), DATASETS[1:])
    other = answers_of(replace(SUITE, metric="auroc", selection="auroc"), DATASETS[1:])
    assert everything(own) == everything(other)


def test_every_setting_of_a_mixed_board_is_that_of_a_board_of_its_dataset_alone(mixed):
    alone = {
        setting.setting: setting
        for dataset, metric in zip(DATASETS, ("accuracy", "auroc"), strict=True)
        for setting in build(answers_of(replace(SUITE, metric=metric, selection=metric), (dataset,))).settings
    }
    for setting in build(mixed).settings:
        one = alone[setting.setting]
        assert (setting.metric, setting.floor, setting.beats_floor) == (one.metric, one.floor, one.beats_floor)
        assert [(row.label, row.mean, row.interval, row.rank, row.gap_closed, row.others) for row in setting.rows] == [
            (row.label, row.mean, row.interval, row.rank, row.gap_closed, row.others) for row in one.rows
        ]
        assert [test[:7] for test in setting.tests.tests] == [test[:7] for test in one.tests.tests]


def test_pages_say_whose_metric_is_which_and_never_call_a_mean_by_one_of_them(shown):
    front = shown["pages"]["README.md"]
    assert "Primary metric: **accuracy**; auroc on eicu-demo x 100." in front
    assert f"Checkpoint: best validation {MIXED}." in front
    assert f"gave a score ({MIXED} x 100)" in front
    assert "Mean score" in front
    assert "Settings are ranked each by its own metric" in front
    assert "Mean accuracy" not in front + shown["page"] + shown["tex"]
    assert "auroc, mean ± SD (n)" in shown["pages"]["eicu-demo.md"]
    assert "accuracy, mean" not in shown["pages"]["eicu-demo.md"]
    assert "accuracy, mean ± SD (n)" in shown["pages"]["digits.md"]


def test_tables_and_pictures_carry_the_metric_of_each_setting(mixed, shown):
    rows = list(csv.DictReader(io.StringIO(shown["table"])))
    assert {(row["dataset"], row["metric"]) for row in rows} == {("digits", "accuracy"), ("eicu-demo", "auroc")}
    assert all(float(row[row["metric"]]) == float(row["mean"]) for row in rows)
    found = json.loads(shown["tests"])
    assert (found["metric"], found["metrics"]) == ("score", {"digits": "accuracy", "eicu-demo": "auroc"})
    drawn = {(data["kind"], data.get("title", "").split(" ")[0]): data["metric"] for data in shown["pictures"].values() if "metric" in data}
    assert drawn["cost", ""] == "score"
    assert {drawn[key] for key in drawn if key[1] == "eicu-demo"} == {"auroc"}
    assert {drawn[key] for key in drawn if key[1] == "digits"} == {"accuracy"}


def test_every_picture_of_a_mixed_board_is_drawn(shown, tmp_path):
    pytest.importorskip("matplotlib")
    for name, data in shown["pictures"].items():
        save(tmp_path / name, data, DRAWERS[data["kind"]])
        assert hash_in(tmp_path / name) == hash_of(data)
    assert {"cost", "forest", "noise"} <= {data["kind"] for data in shown["pictures"].values()}


@pytest.mark.parametrize(
    ("data", "word", "number"),
    [
        ({"metric": "accuracy"}, "accuracy x 100", "43.2"), ({"metric": "score"}, "score x 100", "43.2"),
        ({"metric": "mae", "unit": "days"}, "mae of days", "43.210"), ({"metric": "score", "unit": "days"}, "score of days", "43.210"),
    ],
)  # fmt: skip
def test_a_picture_says_what_its_scores_are_in_whatever_metrics_they_have(data, word, number):
    assert (called(data), score_text(data, 43.21)) == (word, number)


def test_ranks_over_settings_are_those_of_each_settings_own_metric(mixed):
    board = build(mixed)
    [kind] = board.overall
    for row in kind.rows:
        ranks = [setting.by_label[row.label].rank for setting in board.settings]
        assert row.mean_rank == (None if None in ranks else pytest.approx(np.mean(ranks)))


def test_the_page_to_explore_shows_own_metrics_first_and_every_trial_by_its_own(mixed, shown):
    site = shown["site"]
    assert site["metrics"][0]["name"] == site["board"]["metric"] == "score"
    assert site["metrics"][0]["meaning"] == f"each dataset's own metric: {MIXED}"
    assert [(setting["dataset"], setting["metric"]) for setting in site["settings"]] == [
        ("digits", "accuracy"), ("digits", "accuracy"), ("eicu-demo", "auroc"), ("eicu-demo", "auroc"),
    ]  # fmt: skip
    of = {record.trial.id: record for record in mixed.records}
    for id_, _, _, _, _, _, scores in site["trials"]:
        assert scores[0] == pytest.approx(of[id_].metrics[mixed.metric_of(of[id_])], abs=1e-6)


def test_another_metric_ranks_every_dataset_where_the_reader_names_one(mixed):
    board = build(mixed.by("f1_macro"))
    assert {setting.metric for setting in board.settings} == {"f1_macro"}
    assert "Primary metric: **f1_macro** x 100." in markdown(board)


def test_a_comparison_scores_each_setting_by_its_own_metric_and_says_so(mixed):
    found = compare(mixed, "muse", "fusemoe")
    assert {(d.table.dataset, d.table.metric) for d in found.differences} == {("digits", "accuracy"), ("eicu-demo", "auroc")}
    for difference in found.differences:
        alone = compare(mixed, "muse", "fusemoe", metric=difference.table.metric)
        same = next(one for one in alone.differences if one.table.setting == difference.table.setting)
        assert (difference.estimate, difference.patterns) == (same.estimate, same.patterns)
        assert alone.exploratory
    assert not found.exploratory
    assert found.as_json()["metric"] == "score"
    assert "digits by the share of samples given the right class; eicu-demo by AUROC" in found.text
    assert "of score" in found.summary


def test_a_selection_that_is_not_the_one_of_the_dataset_is_still_refused(mixed):
    odd = [r if r.trial.dataset == "digits" else replace(r, trial=replace(r.trial, selection="f1_macro")) for r in mixed.records]
    with pytest.raises(UsageError, match="2 ways to run a trial"):
        compare(Answers(mixed.suite, odd), "muse", "fusemoe")


def test_a_method_is_compared_with_itself_by_the_metric_of_each_dataset(mixed):
    assert self_test(mixed, ["muse"], halvings=2).metric == "accuracy and auroc"


def test_a_dataset_of_another_kind_of_target_may_have_its_metric_from_its_table_alone(mixed):
    records = [replace(r, trial=replace(r.trial, selection="mae")) if r.trial.dataset == "eicu-demo" else r for r in mixed.records]
    suite = replace(SUITE, metrics={"eicu-demo": {"metric": "mae", "selection": "mae"}})
    found = Answers(suite, records)
    assert found.metrics == ("accuracy", "mae")
    values = found.of_kind_of("mae")
    assert ({r.trial.dataset for r in values.records}, values.suite.metric) == ({"eicu-demo"}, "mae")
    assert found.of_kind_of("accuracy").suite.metrics == {}

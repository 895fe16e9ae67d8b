"""bench/leaderboard: tables come from records alone, show what is missing, and re-render to the same bytes."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bench
from bench.cli import main
from bench.errors import UsageError
from bench.leaderboard import (
    build,
    markdown,
    pages,
    plots,
    publish,
    render,
    rescore,
    significance_json,
    stale_files,
    table_csv,
    table_tex,
    write,
)
from bench.leaderboard.drawers import DRAWERS
from bench.leaderboard.folder import Checked, checked
from bench.leaderboard.folder import board_of as board
from bench.leaderboard.front_page import lowest_ranks
from bench.leaderboard.plots import data_of
from bench.leaderboard.printed import read_printed
from bench.leaderboard.setting_page import PAGE_END
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.answers import Answers
from bench.records.facts import Evaluated, Facts, Origin
from bench.records.folder import Folder
from bench.records.pieces import published_in
from bench.records.predictions import LOGITS, Predictions, stack
from bench.records.record import Finding, Record
from bench.records.scoring import scored
from bench.stats.metrics import score

SUITE = Suite("golden", (Settings(("digits",), noise=(0.1, 0.3)),), title="Golden", methods=("muse", "constant"), training={"epochs": 2})
BASE = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NE",
    protocol="mcar(0.1)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="0123456789", version="v",
)  # fmt: skip
PROVENANCE = {
    "commit": "abcdef0123456789", "dirty": False, "packages": {"torch": "2.13.0"}, "hardware": "chip", "hardware_id": "11aa",
    "device": "cpu", "threads": 1, "bench": "0.1.0",
}  # fmt: skip
GOLDEN = Path(__file__).parent / "golden_leaderboard.md"


def made(method, protocol="mcar(0.1)", seed=0, hits=8, status="done", **changes):
    """A record whose predictions get `hits` of 10 rows right."""
    trial = replace(BASE, method=method, protocol=protocol, seed=seed, preset="default" if method == "constant" else "paper")
    if status != "done":
        return Record(trial, status, changes.get("reason")), None
    target = np.arange(10) % 2
    rng = np.random.default_rng([seed, hits])
    right = rng.permutation(10) < hits
    scores = np.where((np.eye(2)[target] == 1) == right[:, None], 0.8, 0.2).astype(np.float32)
    histogram = np.bincount(scores.argmax(1), minlength=2).tolist()
    facts = {
        "histogram": changes.get("histogram", histogram), "missing": {"test": 0.25}, "rows": {"test": 10}, "masks": {"test": "mask"},
        "synthetic": changes.get("synthetic", False), "ended": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    cost = {"gflops_per_sample": 0.002, "parameters": 1000, "latency_ms_64": 6.4}
    metrics = {"accuracy": hits / 10, "f1_macro": hits / 10, "auroc": math.nan}
    record = Record(
        trial, "done", None, metrics, cost, Facts.from_json(facts), Origin.from_json({**PROVENANCE, **changes.get("provenance", {})})
    )
    return record, Predictions(np.array([f"r{i}" for i in range(10)]), target, scores)


def answers_of(pairs, audits=(), suite=SUITE, records=None):
    predictions = {record.trial.id: arrays for record, arrays in pairs if arrays is not None}
    return Answers(suite, [record for record, _ in pairs] if records is None else records, predictions, audits, ["bench run"])


def board_of(*pairs, suite=SUITE, audits=()):
    records = [record for record, _ in pairs]
    return build(answers_of(pairs, audits, suite, records))


def full():
    pairs = []
    for seed in range(3):
        for protocol in ("mcar(0.1)", "mcar(0.3)"):
            pairs += [made("muse", protocol, seed, 8 + seed % 2), made("mmformer", protocol, seed, 7), made("constant", protocol, seed, 5)]
    return pairs


def found(method, check="poison", passed=True, declared=False, version="v"):
    return Finding(method, "default" if method == "constant" else "paper", check, passed, declared, "", version)


def agreeing(pairs):
    """The same pairs, each record with the metrics that its predictions give."""
    return [(replace(record, metrics=scored(arrays.target, arrays.scores).metrics), arrays) for record, arrays in pairs]


AUDITS = (
    found("muse"), found("muse", "batch-mate", declared=True), found("constant", version="older"),
    found("mmformer", passed=False), found("mmformer", "label", passed=False), found("mmformer", "gradient"),
)  # fmt: skip


def test_mean_spread_and_rank_come_from_the_records():
    rows = {row.label: row for row in board_of(*full()).settings[0].rows}
    assert rows["muse"].mean == pytest.approx(np.mean([0.8, 0.9, 0.8]))
    assert rows["muse"].sd == pytest.approx(np.std([0.8, 0.9, 0.8], ddof=1))
    assert (rows["muse"].rank, rows["mmformer"].rank, rows["constant"].rank) == (1, 2, None)
    assert rows["constant"].role == "floor"
    assert rows["muse"].interval[0] < rows["muse"].mean < rows["muse"].interval[1] <= 1


def golden():
    """All pages of a small board, one after the other."""
    found = pages(board_of(*full(), audits=AUDITS))
    return "".join(f"<!-- {name} -->\n{text}" for name, text in found.items())


def test_pages_are_the_golden_ones():
    page = golden()
    assert page == GOLDEN.read_text(encoding="utf-8"), "the page changed: look at it, then run tests/support/make_golden.py"


def test_failed_and_missing_trials_are_shown_and_not_averaged_away():
    pairs = full()
    pairs[0] = made("muse", "mcar(0.1)", 0, status="failed", reason="out of memory: 5 GB")
    pairs[1] = made("mmformer", "mcar(0.1)", 0, status="planned")
    board = board_of(*pairs)
    page = markdown(board)
    rows = {row.label: row for row in board.settings[0].rows}
    assert (rows["muse"].n, rows["muse"].planned, rows["muse"].flags) == (2, 3, ("1 failed",))
    assert rows["mmformer"].flags == ("1 not run",)
    assert "(2/3)" in page
    assert "muse on digits, mcar(0.1), seed 0: out of memory: 5 GB" in page


def test_method_without_any_score_ranks_last_and_has_no_number():
    pairs = [*full(), *(made("shaspec", "mcar(0.1)", seed, status="failed", reason="x") for seed in range(3))]
    board = board_of(*pairs)
    assert board.settings[0].rows[2].label == "shaspec"
    assert board.settings[0].rows[2].rank == 3
    assert "n/a (0/3)" in markdown(board)


def test_method_absent_from_a_setting_has_no_mean_rank():
    board = board_of(*full(), *(made("shaspec", "mcar(0.1)", seed, 9) for seed in range(3)))
    rows = {row.label: row for row in board.overall[0].rows}
    assert rows["shaspec"].mean_rank is None
    assert "n/a (1 of 2)" in markdown(board)


def test_collapsed_predictions_are_flagged():
    board = board_of(
        *(made("muse", seed=seed, hits=5, histogram=[10, 0]) for seed in range(2)), made("constant", hits=5, histogram=[10, 0])
    )
    flags = {row.label: row.flags for row in board.settings[0].rows}
    assert flags == {"muse": ("collapsed 2/2",), "constant": ()}


def test_one_seed_has_neither_spread_nor_interval():
    row = board_of(made("muse")).settings[0].rows[0]
    assert math.isnan(row.sd)
    assert math.isnan(row.interval[0])
    assert "80.0 ± n/a (1) |" in markdown(board_of(made("muse"), made("mmformer")))


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"dirty": True}, "uncommitted changes"),
        ({"commit": "other"}, "2 commits"),
        ({"hardware_id": "22bb"}, "2 hardware ids"),
        ({"device": "cuda"}, "2 devices"),
    ],
)
def test_mixed_provenance_is_a_banner(change, warning):
    page = markdown(board_of(made("muse"), made("muse", seed=1, provenance=change)))
    assert "> **Warning:**" in page
    assert warning in page


def test_different_test_masks_are_a_banner():
    record, arrays = made("mmformer")
    other = replace(record, facts=replace(record.facts, masks={"test": "another"}))
    assert "different test masks" in markdown(board_of(made("muse"), (other, arrays)))


def test_seeds_added_until_a_pair_was_resolved_are_a_banner():
    suite = replace(SUITE, methods=("muse", "mmformer", "constant"), until_resolved=("muse,mmformer",), max_seeds=30)
    told = "muse and mmformer got more seeds where they were undecided, up to 30: the tests of this page do not allow for it"
    assert any(warning.startswith(told) for warning in board_of(*full(), suite=suite).warnings)
    assert not any("more seeds" in warning for warning in board_of(*full()).warnings)


def test_synthetic_and_real_settings_are_kept_apart():
    pairs = full()
    for seed in range(3):
        for protocol in ("mcar(0.1)", "mcar(0.3)"):
            record, arrays = made("muse", protocol, seed, 9, synthetic=True)
            pairs.append((replace(record, trial=replace(record.trial, dataset="gaussian")), arrays))
    page = markdown(board_of(*pairs))
    assert "## Overall, SYNTHETIC data" in page
    assert "## gaussian (NE), mcar(0.1), SYNTHETIC" in page


def test_metric_where_lower_is_better_ranks_the_other_way():
    pairs = [(replace(r, metrics={**r.metrics, "brier": 1 - r.metrics["accuracy"]}), a) for r, a in full()]
    board = board_of(*pairs, suite=replace(SUITE, metric="brier"))
    assert board.settings[0].rows[0].label == "muse"
    assert "lower is better" in markdown(board)


def test_audit_column_shows_what_was_found_in_the_version_that_ran():
    board = board_of(*full(), audits=AUDITS)
    expected = {"muse": "passed, 1 declared", "mmformer": "FAILED: poison, label", "constant": "not audited"}
    assert {row.label: row.audit for row in board.settings[0].rows} == expected
    assert {row.label: row.audit for row in board.overall[0].rows} == expected
    assert {row["method"]: row["audit"] for row in csv.DictReader(table_csv(board).splitlines())} == expected


def test_row_of_two_versions_is_audited_if_both_are():
    record, arrays = made("muse", seed=1)
    other = replace(record, trial=replace(record.trial, version="newer"))
    pairs = [made("muse"), (other, arrays)]
    assert board_of(*pairs, audits=[found("muse")]).settings[0].rows[0].audit == "not audited"
    both = [found("muse"), found("muse", version="newer"), found("muse", passed=False, version="newer")]
    assert board_of(*pairs, audits=both).settings[0].rows[0].audit == "FAILED: poison"


def test_tuned_row_is_audited_as_the_configuration_it_has():
    record, arrays = made("muse")
    tuned = (replace(record, trial=replace(record.trial, options={"width": 128}, row="muse tuned (2 suggestions)")), arrays)
    assert board_of(tuned, audits=[found("muse")]).settings[0].rows[0].audit == "not audited"
    assert board_of(tuned, audits=[found("muse[width=128]")]).settings[0].rows[0].audit == "passed"


def test_published_folder_keeps_the_audits_of_its_methods(tmp_path):
    pairs, folder = full(), tmp_path / "golden"
    audits = [*AUDITS, found("shaspec")]
    publish(folder, answers_of(pairs, audits), draw=False)
    assert [entry["method"] for entry in json.loads((folder / "audit.json").read_text())] == [
        "muse",
        "muse",
        "mmformer",
        "mmformer",
        "mmformer",
    ]
    assert "passed, 1 declared" in (folder / "README.md").read_text(encoding="utf-8")
    (folder / "audit.json").unlink()  # as published before there were audits
    assert "passed" not in render(folder)["README.md"].partition("## How to read this")[0]


def test_json_has_the_documented_shape():
    shape = json.loads(json.dumps(board_of(*full()).as_json()))
    assert set(shape["settings"][0]) >= {"dataset", "protocol", "noise", "rows"}
    assert set(shape["settings"][0]["rows"][0]) >= {"method", "preset", "n", "mean", "sd", "interval", "rank", "flags"}
    assert shape["settings"][1]["noise"] == 0.3
    assert shape["overall"][0]["method"] == "muse"


def test_published_folder_renders_to_its_own_bytes(tmp_path):
    pairs = [*agreeing(full()), made("shaspec", status="failed", reason="x")]
    folder = tmp_path / "golden"
    publish(folder, answers_of(pairs), draw=False)
    assert (folder / "table.csv").read_text() == table_csv(board_of(*pairs))
    assert stale_files(folder) == []
    (folder / "digits.md").write_text("changed by hand")
    (folder / "significance.json").unlink()
    (folder / "gone.md").write_text(f"a page of an earlier board{PAGE_END}")
    (folder / "notes.md").write_text("of someone else")
    assert [path.name for path in stale_files(folder)] == ["digits.md", "gone.md", "significance.json"]
    write(folder, draw=False)
    assert stale_files(folder) == []
    assert not (folder / "gone.md").exists()
    assert (folder / "notes.md").read_text() == "of someone else"


def with_surface(rules=("mcar(0)", "mcar(0.5)", "fixed(N)", "fixed(E)", "fixed(NE)")):
    pairs = []
    for seed in range(2):
        for method, hits in (("muse", 9), ("constant", 5)):
            record, arrays = made(method, seed=seed, hits=hits)
            metrics = {rule: {"accuracy": (hits - (place % 3) * (method == "muse")) / 10} for place, rule in enumerate(rules)}
            facts = {rule: Evaluated(found, missing=0.5, mask=rule, histogram=[5, 5]) for rule, found in metrics.items()}
            trial = replace(record.trial, evaluations=rules)
            further = dict.fromkeys(rules, arrays.outputs)
            pairs.append(
                (replace(record, trial=trial, facts=replace(record.facts, evaluations=facts)), replace(arrays, evaluations=further))
            )
    return pairs


def test_response_surface_is_a_section_of_its_setting():
    page = markdown(board_of(*with_surface()))
    assert page.count("### Response surface") == 1
    assert "fixed(NE) |" in page
    for word in ("Area 0-0.5", "Drop 0 to 0.5", "Retention at 0.5", "Worst combination", "Shapley N", "Shapley E"):
        assert word in page
    assert "*Shapley*: gain in score" in page
    assert "Response surface" not in markdown(board_of(*full()))


def test_response_surface_of_part_of_the_combinations_has_no_contributions():
    page = markdown(board_of(*with_surface(("fixed(N)", "fixed(NE)"))))
    assert "Worst combination" in page
    assert "Shapley N" not in page
    assert "Area" not in page.partition("## How to read this")[0]


def test_response_surface_is_in_the_json():
    board = json.loads(json.dumps(board_of(*with_surface()).as_json()))
    surface = board["settings"][0]["surface"]
    assert surface["rates"] == [0.0, 0.5]
    assert surface["floor"] == 0.5
    assert [row["label"] for row in surface["rows"]] == ["muse", "constant"]
    assert surface["rows"][1]["retention"] is None
    assert board_of(*full()).as_json()["settings"][0]["surface"] is None


def test_published_response_surface_renders_to_its_own_bytes(tmp_path):
    pairs = with_surface()
    publish(tmp_path / "surface", answers_of(pairs), draw=False)
    assert stale_files(tmp_path / "surface") == []
    lines = (tmp_path / "surface" / "surface.csv").read_text().splitlines()
    assert lines[0].startswith("dataset,combination,protocol")
    assert len(lines) == 1 + 2 * 5
    assert "### Response surface" in (tmp_path / "surface" / "digits.md").read_text(encoding="utf-8")


def test_what_own_modality_dropout_does_is_said_with_the_row():
    pairs = [
        (replace(record, facts=replace(record.facts, own_masks={"missing": [0.3, 0.5 + 0.01 * record.trial.seed]})), arrays)
        if record.trial.method == "muse"
        else (record, arrays)
        for record, arrays in full()
    ]
    board = board_of(*pairs)
    flags = {row.label: row.flags for row in board.settings[0].rows}
    assert any(flag.startswith("drops modalities itself: 30 to 5") and flag.endswith("% missing in training") for flag in flags["muse"])
    assert not any("drops" in flag for label, own in flags.items() if label != "muse" for flag in own)
    assert "drops modalities itself" in markdown(board)


def test_more_is_worse_is_a_column_a_table_a_picture_and_in_the_json(tmp_path):
    pairs = with_surface()
    rng = np.random.default_rng(0)
    for place, (record, arrays) in enumerate(pairs):
        known = {rule: replace(one, missing=0.0) for rule, one in record.facts.evaluations.items()}
        rows = np.tile(np.arange(len(arrays.ids)), 4)
        ids = np.array([f"r{i}" for i in range(len(rows))])
        further = {rule: rng.dirichlet([1, 1], len(rows)) for rule in arrays.evaluations}
        wide = replace(arrays, ids=ids, target=arrays.target[rows], outputs=arrays.outputs[rows], evaluations=further)
        pairs[place] = replace(record, facts=replace(record.facts, evaluations=known)), wide
    board = board_of(*pairs)
    page = markdown(board)
    for words in ("More is worse", "n/a (needs 5 seeds for 2 pairs; raw ", "Worst pair", "*More is worse*: `V of K (raw R %)`"):
        assert words in page
    row = json.loads(json.dumps(board.as_json()))["settings"][0]["surface"]["rows"][0]["more_is_worse"]
    assert (row["pairs"], row["sure"], row["seeds"], row["reason"]) == (2, None, 2, "needs 5 seeds for 2 pairs, got 2")
    assert {"left_out", "raw", "harmful", "harm", "harm_interval", "help", "lost", "gain", "worst"} <= row.keys()
    data = data_of(board)[board.files.picture("more", *board.settings[0].setting)]
    assert data["pairs"] == ["N to NE", "E to NE"]
    assert len(DRAWERS["more"](data).axes[0].images[0].get_array()) == len(data["labels"]) == 2
    publish(tmp_path / "more", answers_of(pairs), draw=False)
    assert stale_files(tmp_path / "more") == []


def test_different_masks_of_an_evaluation_are_a_banner():
    pairs = with_surface()
    record, arrays = pairs[0]
    evaluations = {**record.facts.evaluations, "fixed(N)": replace(record.facts.evaluations["fixed(N)"], mask="another")}
    pairs[0] = (replace(record, facts=replace(record.facts, evaluations=evaluations)), arrays)
    assert "different test masks" in markdown(board_of(*pairs))


def test_bar_in_a_protocol_does_not_break_the_table():
    pairs = [made("muse", protocol, seed) for seed in range(2) for protocol in ("mnar(N|value,2,0.1)", "mnar(N|value,2,0.3)")]
    rows = [line for line in markdown(board_of(*pairs)).splitlines() if line.startswith("|") and "mnar" in line]
    assert len(rows) == 1
    assert rows[0].count("|") - rows[0].count("\\|") == 4


def renamed(pair, method):
    record, arrays = pair
    return replace(record, trial=replace(record.trial, method=method)), arrays


def shuffled(pair, ids=None, target=None):
    record, arrays = pair
    return record, replace(arrays, ids=arrays.ids if ids is None else ids, target=arrays.target if target is None else target)


def settings_of(methods, levels, seeds=3, protocol="mcar({})"):
    """A trial of each method, level and seed; `methods`: name -> hits of 10 by level, one less in odd seeds."""
    return [
        made(method, protocol.format(level), seed, hits[place] - seed % 2)
        for place, level in enumerate(levels)
        for method, hits in methods.items()
        for seed in range(seeds)
    ]


def test_method_never_tried_in_a_setting_is_absent_there_and_not_last():
    pairs = [*full(), *(made("shaspec", protocol, seed, status="planned") for seed in range(3) for protocol in ("mcar(0.1)", "mcar(0.3)"))]
    board = board_of(*pairs)
    row = board.settings[0].by_label["shaspec"]
    assert (row.rank, row.place, row.flags) == (None, None, ("3 not run",))
    assert board.overall[0].rows[2].mean_rank is None
    assert "6 of 24 planned trials have not run" in markdown(board)


def test_partly_failed_method_is_tested_with_what_is_there_and_never_bold():
    pairs = [made("muse", seed=seed, hits=9) for seed in range(4)] + [made("mmformer", seed=seed, hits=3) for seed in range(4)]
    complete = board_of(*pairs).settings[0].by_label["muse"]
    assert complete.is_bold
    assert complete.versus is None
    pairs[0] = made("muse", seed=0, status="failed", reason="hung")
    row = board_of(*pairs).settings[0].by_label["muse"]
    assert row.place.best
    assert not row.is_bold
    assert row.flags == ("1 failed",)


def test_failed_method_is_ranked_last_and_filled_at_the_floor_over_settings():
    levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    pairs = settings_of({"muse": [9] * 6, "mmformer": [7] * 6, "constant": [5] * 6}, levels)
    pairs = [pair if pair[0].trial.method != "muse" or pair[0].trial.protocol != "mcar(0.6)" else
             made("muse", "mcar(0.6)", pair[0].trial.seed, status="failed", reason="x") for pair in pairs]  # fmt: skip
    over = board_of(*pairs).overall[0].across
    assert dict(zip(over.labels, over.mean_ranks, strict=True)) == {"muse": pytest.approx(7 / 6), "mmformer": pytest.approx(11 / 6)}
    assert over.filled == ("muse",)
    assert len(over.complete.settings) == 5
    page = markdown(board_of(*pairs))
    assert "Only the 5 settings where every trial gave a score" in page
    assert "ranked last at the lower of floor and worst score: muse" in page


def test_setting_without_any_score_is_left_out_and_says_why():
    """One class in the test part: auroc is not defined."""
    pairs = []
    for record, arrays in full():
        if record.trial.protocol == "mcar(0.1)":
            facts = replace(record.facts, metric_reasons={"auroc": "class 1 is absent from the scored part"})
            record, arrays = replace(record, facts=facts), replace(arrays, target=np.zeros(10, dtype=int))
        else:
            record = replace(record, metrics={**record.metrics, "auroc": record.metrics["accuracy"]})
        pairs.append((record, arrays))
    board = board_of(*pairs, suite=replace(SUITE, metric="auroc"))
    assert board.overall[0].across.left_out == ("digits (NE), mcar(0.1)",)
    assert board.settings[0].by_label["muse"].flags == ("3 without auroc",)
    page = markdown(board)
    assert "Scores without a value: class 1 is absent from the scored part." in page
    assert "Left out, for no method has a score: digits (NE), mcar(0.1)." in page


def test_trial_given_twice_is_refused():
    with pytest.raises(UsageError, match=r"muse on digits, mcar\(0.1\), seed 0\) is given twice"):
        board_of(made("muse"), made("muse"))


def test_second_trial_of_a_seed_is_left_out_and_said():
    record, arrays = made("muse", hits=3)
    newer = (replace(record, trial=replace(record.trial, version="newer")), arrays)
    board = board_of(made("muse", hits=9), newer, made("muse", seed=1, hits=3))
    row = board.settings[0].by_label["muse"]
    assert (row.n, row.planned, row.mean, row.flags) == (2, 2, pytest.approx(0.3), ("1 duplicate",))
    assert "1 trial has the seed of another one of the same method and setting and is left out" in markdown(board)


@pytest.mark.parametrize(
    "change", [{"ids": np.array([f"q{i}" for i in range(10)])}, {"target": np.zeros(10, dtype=int)}], ids=["ids", "target"]
)
def test_methods_tested_on_different_samples_are_not_compared(change):
    pairs = [made("muse", seed=seed, hits=9) for seed in range(3)]
    pairs += [shuffled(made("mmformer", seed=seed, hits=2), **change) for seed in range(3)]
    board = board_of(*pairs)
    assert board.settings[0].tests.reason == "mmformer and muse were tested on different samples"
    assert board.settings[0].by_label["muse"].place is None
    page = markdown(board)
    assert "> **Warning:** digits, mcar(0.1): mmformer and muse were tested on different samples; nothing is tested there." in page
    assert "**muse**" not in page


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda record, arrays: (record, None), "predictions of 1 of 3 trials are not stored"),
        (
            lambda record, arrays: (record, replace(arrays, outputs=np.full((10, 2), np.nan, np.float32))),
            "some scores are not finite",
        ),
        (lambda record, arrays: shuffled((record, arrays), ids=arrays.ids[::-1]), "seeds were tested on different samples"),
    ],
    ids=["no predictions", "NaN scores", "other samples"],
)
def test_unusable_predictions_keep_the_score_and_lose_the_test(spoil, reason):
    pairs = [made(method, seed=seed, hits=hits) for method, hits in (("muse", 9), ("mmformer", 6)) for seed in range(3)]
    pairs[0] = spoil(*pairs[0])
    setting = board_of(*pairs).settings[0]
    row = setting.by_label["muse"]
    assert (row.n, row.mean) == (3, pytest.approx(0.9))
    assert math.isnan(row.interval[0])
    assert setting.tests.tests[0].reason == reason
    assert math.isnan(setting.tests.tests[0].p)


def test_one_seed_is_ranked_but_not_tested():
    board = board_of(made("muse", hits=9), made("mmformer", hits=2))
    assert board.settings[0].tests.tests[0].reason == "needs 2 seeds of each method, got 1 and 1"
    assert board.settings[0].by_label["muse"].rank == 1
    assert "n/a (needs 2 seeds of each method, got 1 and 1)" in markdown(board)


def test_setting_that_mixes_commits_has_no_marks_and_the_other_one_has():
    pairs = settings_of({"muse": [9, 9], "mmformer": [2, 2]}, [0.1, 0.3])
    record, arrays = pairs[0]
    pairs[0] = (replace(record, provenance=replace(record.provenance, commit="other")), arrays)
    mixed, clean = board_of(*pairs).settings
    assert mixed.tests.tests == ()
    assert mixed.by_label["muse"].place is None
    assert clean.by_label["muse"].is_bold
    page = markdown(board_of(*pairs))
    assert "No significance is claimed" in page
    assert "No test: records come from 2 commits." in page


def test_different_data_under_one_name_are_a_banner():
    record, arrays = made("muse", seed=1)
    other = replace(record, trial=replace(record.trial, fingerprint="other"))
    assert "different versions of the data of digits" in markdown(board_of(made("muse"), (other, arrays)))


def test_trial_that_looked_at_the_test_part_twice_is_a_banner():
    record, arrays = made("muse", seed=1)
    peeked = (replace(record, facts=replace(record.facts, test_evaluations=2)), arrays)
    assert "1 trial scored the test part more than once" in markdown(board_of(made("muse"), peeked))


def test_timings_of_two_machines_are_not_shown_side_by_side():
    pairs = full()
    assert "ms/sample" in pages(board_of(*pairs))["digits.md"]
    record, arrays = pairs[0]
    pairs[0] = (replace(record, provenance=replace(record.provenance, hardware_id="other")), arrays)
    first, second = pages(board_of(*pairs))["digits.md"].split("## digits (NE), mcar(0.3)")
    assert "ms/sample" not in first
    assert "ms/sample" in second


def test_nothing_is_bold_without_being_better_than_every_other():
    pairs = settings_of({"muse": [9], "mmformer": [8], "shaspec": [2]}, [0.1])
    page = markdown(board_of(*pairs))
    assert "**muse**" not in page
    assert "muse ●" in page
    assert "mmformer ●" in page
    assert "shaspec ●" not in page


def test_gap_closed_is_measured_between_floor_and_ceiling():
    pairs = [
        made(method, seed=seed, hits=hits, synthetic=True)
        for method, hits in (("muse", 7), ("constant", 5), ("bayes", 9))
        for seed in range(2)
    ]
    setting = board_of(*pairs).settings[0]
    assert setting.by_label["muse"].gap_closed == pytest.approx(0.5)
    assert setting.by_label["muse"].above_floor == pytest.approx(0.2)
    assert "Ceiling: `bayes`, the exact posterior." in markdown(board_of(*pairs))
    real = board_of(*(made(method, seed=seed, hits=hits) for method, hits in (("muse", 7), ("constant", 5)) for seed in range(2)))
    assert real.settings[0].by_label["muse"].gap_closed == pytest.approx(0.4)
    assert "Ceiling: a perfect score, 100." in markdown(real)


def test_every_test_is_in_the_json_with_its_family():
    pairs = settings_of({"muse": [9, 8, 8, 7, 7, 6], "mmformer": [7, 7, 6, 6, 5, 5], "shaspec": [3] * 6, "constant": [5] * 6},
                        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])  # fmt: skip
    found = json.loads(significance_json(board_of(*pairs)))
    sizes = {family["name"]: family["size"] for family in found["families"]}
    assert sizes["over settings, real"] == 3
    assert sum(name.startswith("digits (NE), mcar") for name in sizes) == 6
    assert sizes["Noise-AUC: digits (NE), mcar"] == 3
    assert [f["correction"] for f in found["families"] if f["name"].startswith("Noise-AUC")] == ["Benjamini-Hochberg"]
    assert set(found["tests"][0]) == {"family", "a", "b", "difference", "statistic", "p", "p_adjusted", "effect", "verdict", "interval",
                                      "interval_unadjusted", "interval_90_unadjusted", "reason", "n"}  # fmt: skip
    assert len(found["tests"]) == sum(len(family["methods"]) * (len(family["methods"]) - 1) // 2 for family in found["families"]
                                      if family["reason"] != "needs two datasets")  # fmt: skip
    assert found["friedman"][0]["n"] == 6


def test_latex_has_a_table_a_setting_with_equal_columns():
    text = table_tex(board_of(*full()))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count("{") == text.count("}")
    for block in text.split(r"\begin{tabular}")[1:]:
        rows = [line for line in block.splitlines() if line.endswith(r" \\")]
        assert len({row.count(" & ") for row in rows}) == 1
    assert r"\textbf{muse}\textsuperscript{a}" in text


def test_trials_of_every_row_are_named():
    page = pages(board_of(*full()))["digits.md"]
    for record, _ in full():
        assert record.trial.id[:8] in page
    assert "bench reproduce ID --from leaderboards/golden" in page


def test_page_of_a_dataset_holds_its_options_too():
    pairs = [*full(), *((replace(r, trial=replace(r.trial, dataset_options={"parts": 2})), a) for r, a in full())]
    assert set(pages(board_of(*pairs))) == {"README.md", "digits.md"}
    assert "digits[parts=2] (NE), mcar(0.1)" in pages(board_of(*pairs))["digits.md"]


def test_seeds_with_their_own_splits_use_the_corrected_resampled_t():
    pairs = []
    for method, hits in (("muse", 9), ("mmformer", 4)):
        for seed in range(5):
            record, arrays = shuffled(made(method, seed=seed, hits=hits - seed % 2), ids=np.array([f"{seed}-{i}" for i in range(10)]))
            pairs.append((replace(record, facts=replace(record.facts, rows={"test": 10, "train": 40})), arrays))
    board = board_of(*pairs, suite=replace(SUITE, vary="split"))
    test = board.settings[0].tests.tests[0]
    assert board.settings[0].tests.test == "corrected resampled t"
    assert test.difference == pytest.approx(0.5)
    assert board.settings[0].by_label["muse"].interval[0] < 0.86 < board.settings[0].by_label["muse"].interval[1]
    assert board.warnings == ()


def test_predictions_of_one_test_part_share_ids_and_targets(tmp_path):
    pairs = [*with_surface(), *(made("mmformer", "mcar(0.3)", seed, 7) for seed in range(3))]
    predictions = {record.trial.id: arrays for record, arrays in pairs}
    packed = stack(predictions)
    assert {key for key in packed if key.endswith("/ids")} == {"0/ids", "1/ids"}  # with and without further rules
    publish(tmp_path / "parts", answers_of(pairs), draw=False)
    found = Folder(tmp_path / "parts").predictions(predictions)
    assert set(found) == set(predictions)
    for id_, arrays in predictions.items():
        for mine, theirs in ((arrays.ids, found[id_].ids), (arrays.target, found[id_].target), (arrays.outputs, found[id_].outputs)):
            assert np.array_equal(mine, theirs)
        assert found[id_].outputs.dtype == np.float32
        assert {rule: a.tolist() for rule, a in arrays.evaluations.items()} == {
            rule: a.tolist() for rule, a in found[id_].evaluations.items()
        }


def test_record_that_its_predictions_contradict_is_named_and_mended(tmp_path):
    folder = tmp_path / "golden"
    publish(folder, answers_of(agreeing(full())), draw=False)
    path = folder / "records.jsonl"
    before = path.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in before.splitlines()]
    lines[0]["metrics"]["auroc"] += 2e-9
    lines[1]["metrics"]["brier"] += 0.5
    lines[2]["metrics"]["ece"] += 1e-12  # as another machine may have it
    path.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines), encoding="utf-8")
    found = checked(folder)
    assert folder / "records.jsonl" in found.stale
    assert [(one.trial, one.metric) for one in found.mismatches] == [(lines[1]["id"], "brier"), (lines[0]["id"], "auroc")]
    shown = CliRunner().invoke(main, ["leaderboard", "--check", str(folder)])
    assert shown.exit_code == 1
    assert f"trial {lines[1]['id']}: brier is recorded as {lines[1]['metrics']['brier']}, its predictions give" in shown.stdout
    assert f"`bench leaderboard --rescore {folder}` takes them anew" in shown.stdout
    result = json.loads(CliRunner().invoke(main, ["leaderboard", "--rescore", str(folder), "--json"]).stdout)
    assert result[0]["rescored"] == [line["id"] for line in lines[:3]]
    assert checked(folder) == Checked((), ())
    after = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line.get("facts", {}).pop("rescored", None) for line in after] == [*3 * [bench.__version__], *(len(lines) - 3) * [None]]
    assert after == [json.loads(line) for line in before.splitlines()]


def test_rescoring_keeps_what_this_version_does_not_know(tmp_path):
    publish(tmp_path / "b", answers_of(agreeing(full())), draw=False)
    path = tmp_path / "b" / "records.jsonl"
    first, *others = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    odd = {
        **first,
        "colour": "blue",
        "facts": {**first["facts"], "unseen": [], "mood": "good"},
        "metrics": {**first["metrics"], "auroc": None},
    }
    path.write_text("".join(json.dumps(line) + "\n" for line in [odd, *others]), encoding="utf-8")
    assert rescore(tmp_path / "b") == [first["id"]]
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    assert line == {**odd, "metrics": first["metrics"], "facts": {**odd["facts"], "rescored": bench.__version__}}


def test_results_scored_before_they_were_cut_are_published_as_their_predictions_give_them(tmp_path):
    """Of scores that hardly vary, half became ties in float32: their record says more than what is stored."""
    target = np.arange(1000) % 2
    second = 0.3 + 1e-9 * np.random.default_rng(0).normal(size=1000) + 1e-9 * target
    sharp = np.column_stack([1 - second, second])
    record, _ = made("muse")
    record = replace(record, metrics=score(target, sharp)[0])
    arrays = Predictions(np.array([f"r{i}" for i in range(1000)]), target, sharp.astype(np.float32))
    assert abs(record.metrics["auroc"] - score(target, arrays.scores)[0]["auroc"]) > 0.05
    publish(tmp_path / "b", answers_of([(record, arrays)]), draw=False)
    assert Folder(tmp_path / "b").records()[0].metrics == score(target, arrays.scores)[0]
    assert stale_files(tmp_path / "b") == []


def test_old_and_new_forms_share_a_board(tmp_path):
    old, as_logits, sharp = (made("muse", seed=seed) for seed in range(3))
    logits = replace(as_logits[1], outputs=np.log(as_logits[1].outputs), form=LOGITS)
    double = replace(sharp[1], outputs=sharp[1].outputs.astype(float))
    pairs = agreeing([old, (as_logits[0], logits), (sharp[0], double)])
    assert {key for key in stack({record.trial.id: arrays for record, arrays in pairs}) if key.count("/") == 1} >= {
        "0/scores", "1/logits", "2/scores",
    }  # fmt: skip
    publish(tmp_path / "b", answers_of(pairs), draw=False)
    found = Folder(tmp_path / "b").predictions(record.trial.id for record, _ in pairs)
    for record, arrays in pairs:
        read = found[record.trial.id]
        assert (read.form, read.outputs.dtype, read.outputs.tobytes()) == (arrays.form, arrays.outputs.dtype, arrays.outputs.tobytes())
    assert stale_files(tmp_path / "b") == []
    assert board(tmp_path / "b").settings[0].rows[0].n == 3


def test_published_printed_numbers_are_rendered_again_and_go_with_the_file(tmp_path):
    pairs = []
    for method in ("muse", "moe-retriever"):
        for seed in range(2):
            record, arrays = made(method, "mcar(0.3)", seed, 8)
            pairs.append((replace(record, trial=replace(record.trial, dataset="cmu-mosi", combination="VAT")), arrays))
    printed = read_printed(Path(__file__).parents[2] / "docs" / "evidence" / "moe-retriever.csv")
    publish(tmp_path / "b", answers_of(pairs), printed, draw=False)
    page = (tmp_path / "b" / "cmu-mosi.md").read_text(encoding="utf-8")
    assert " Printed" in page
    assert "65.2 ± 2.7 [1], 65.2 ± 4.1 [2]" in page
    assert "never ranked and never bold; other code, splits and budgets. From [1] Yun et al. 2025 (MoE-Retriever), table 2; [2] Yun" in page
    assert len(read_printed(tmp_path / "b" / "beside.csv")) == 4  # two methods in two tables; what has no row here stays out
    assert "beside.csv" in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    assert stale_files(tmp_path / "b") == []
    assert [found["method"] for found in board(tmp_path / "b").as_json()["settings"][0]["printed"]].count("muse") == 2
    publish(tmp_path / "b", answers_of(pairs), draw=False)
    assert not (tmp_path / "b" / "beside.csv").exists()
    assert "Printed" not in (tmp_path / "b" / "cmu-mosi.md").read_text(encoding="utf-8")


def test_folder_that_an_older_version_published_with_the_papers_numbers_still_renders(tmp_path):
    publish(tmp_path / "b", answers_of(full()), draw=False)
    path = tmp_path / "b" / "records.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"commands": ["bench run"]', '"commands": ["bench run"], "paper": true'))
    assert "paper" in path.read_text(encoding="utf-8").splitlines()[-1]
    assert stale_files(tmp_path / "b") == []


def test_broken_folder_is_explained(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: FileNotFoundError"):
        render(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITE.to_toml())
    (tmp_path / "records.jsonl").write_text("{not json")
    with pytest.raises(UsageError, match="publish it again"):
        render(tmp_path)


@pytest.mark.parametrize("folder", published_in(Path(__file__).parents[2] / "leaderboards"), ids=lambda folder: folder.name)
def test_committed_leaderboards_render_to_themselves(folder):
    assert stale_files(folder) == []


# Datasets that hold the same data


def under(dataset, pairs, **changes):
    """The same answers on a dataset of this name."""
    renamed = [(replace(record, trial=replace(record.trial, dataset=dataset, **changes)), arrays) for record, arrays in pairs]
    return [(record, arrays) for record, arrays in renamed]


def test_two_names_of_the_same_data_count_as_one_dataset_and_its_settings_once():
    alone = board_of(*full())
    both = board_of(*full(), *under("copy.py:Digits", full()), *under("again", full()))
    assert "Digits, again and digits hold the same data: counted as one dataset" in both.warnings
    assert not any("same data" in warning for warning in alone.warnings)
    (one,), (twice,) = alone.overall, both.overall
    assert len(one.datasets) == len(twice.datasets) == 1
    assert twice.across.over_settings.n == one.across.over_settings.n == 2
    assert twice.across.over_settings.reason == one.across.over_settings.reason != ""
    assert twice.across.mean_ranks.tolist() == one.across.mean_ranks.tolist()
    assert [row.label for row in twice.rows] == [row.label for row in one.rows]
    assert [row.mean for row in twice.rows] == pytest.approx([row.mean for row in one.rows])
    assert [row.gap_closed for row in twice.rows] == pytest.approx([row.gap_closed for row in one.rows])
    assert "2 settings on 1 real dataset" in markdown(both)


def test_other_data_under_another_name_count_as_another_dataset():
    found = board_of(*full(), *under("wine", full(), fingerprint="another"))
    assert found.overall[0].datasets == ("digits", "wine")
    assert found.overall[0].across.over_settings.n == 4
    assert not any("same data" in warning for warning in found.warnings)


def test_options_of_one_dataset_are_settings_of_their_own():
    found = board_of(*full(), *under("digits", full(), dataset_options={"size": 3}, fingerprint="another"))
    assert found.overall[0].datasets == ("digits",)
    assert found.overall[0].across.over_settings.n == 4


def test_copy_with_other_scores_gives_its_setting_their_mean():
    other = [made(method, protocol, seed, hits) for method, hits in (("muse", 6), ("mmformer", 9), ("constant", 5))
             for protocol in ("mcar(0.1)", "mcar(0.3)") for seed in range(3)]  # fmt: skip
    (overall,) = board_of(*full(), *under("again", other)).overall
    row = {row.label: row for row in overall.rows}["mmformer"]
    assert row.mean == pytest.approx((0.7 + 0.9) / 2)
    assert row.n == 12


def test_audit_of_a_file_counts_wherever_the_file_lies():
    pairs = [(replace(r, trial=replace(r.trial, method="/a/net.py:Net")), arrays) for r, arrays in (made("muse"), made("muse", seed=1))]
    rows = board_of(*pairs, audits=(found("net.py:Net"),)).settings[0].rows
    assert [row.audit for row in rows] == ["passed"]
    rows = board_of(*pairs, audits=(found("net.py:Net", version="other"),)).settings[0].rows
    assert [row.audit for row in rows] == ["not audited"]


def without_auroc(method, seed=0, **changes):
    """A record of a test part that lacks a class: it has no AUROC."""
    record, arrays = made(method, seed=seed, hits=5, **changes)
    return replace(record, facts=replace(record.facts, metric_reasons={"auroc": "class 1 is absent from the scored part"})), arrays


def test_a_floor_that_cannot_be_computed_says_why():
    suite = replace(SUITE, metric="auroc")
    page = markdown(board_of(without_auroc("muse"), without_auroc("constant"), suite=suite))
    assert "No floor: `constant` ran and has no auroc, for class 1 is absent from the scored part" in page
    assert "Floor: not run" not in page
    failed = markdown(board_of(made("muse"), made("constant", status="failed", reason="out of memory")))
    assert "No floor: `constant` did not end well: out of memory; what stands above it, and the gap closed, cannot be said." in failed
    waiting = markdown(board_of(made("muse"), made("constant", status="planned")))
    assert "No floor: `constant` is planned and has not run" in waiting
    assert "Floor: not run." in markdown(board_of(made("muse")))


def test_a_floor_that_some_setting_lacks_is_said_where_the_gap_closed_is_shown():
    pairs = full()
    pairs[2] = made("constant", "mcar(0.1)", 0, status="failed", reason="out of memory")
    for place in (8, 14):
        pairs[place] = made("constant", "mcar(0.1)", place // 6, status="failed", reason="out of memory")
    front = pages(board_of(*pairs))["README.md"]
    assert "No floor in digits (NE), mcar(0.1): `constant` did not end well: out of memory; the gap closed is n/a." in front


def tied(labels=("muse", "mmformer"), also=()):
    """Methods with the same score in every setting."""
    protocols = ("mcar(0.1)", "mcar(0.3)")
    pairs = [made(label, protocol, seed, 8) for seed in range(3) for protocol in protocols for label in labels]
    return [*pairs, *(made(label, protocol, seed, 5) for seed in range(3) for protocol in protocols for label in also)]


def test_methods_that_share_first_place_are_all_named_first():
    board = board_of(*tied(also=("constant", "fusemoe")))
    page = pages(board)
    assert "mmformer and muse share rank 1, with the same mean rank." in page["README.md"]
    assert "mmformer and muse share rank 1, with the same mean." in page["digits.md"]
    assert "has the best mean" not in page["README.md"] + page["digits.md"]
    assert page["digits.md"].count("best, tied") == 4  # two methods in two settings
    found = board.as_json()
    by_label = {row["label"]: row for row in found["overall"]}
    assert by_label["muse"]["tied"] == ["mmformer"]
    assert by_label["fusemoe"]["tied"] == []
    assert {tuple(row["tied"]) for row in found["settings"][0]["rows"]} == {("muse",), ("mmformer",), ()}


def test_the_order_of_records_decides_nothing_between_equals():
    forward, backward = (pages(board_of(*order)) for order in (tied(), tied()[::-1]))
    for one, other in zip(forward["README.md"].splitlines(), backward["README.md"].splitlines(), strict=True):
        assert one == other


def test_a_lead_without_equals_is_worded_as_a_lead():
    page = pages(board_of(*full()))
    assert "muse has the best mean rank." in page["README.md"]
    assert "tied" not in page["README.md"] + page["digits.md"]


def test_published_methods_are_held_against_every_simple_one_at_the_top():
    page = pages(board_of(*tied(("muse", "mean-mlp", "mean-logistic")), *tied((), ("constant",))))["README.md"]
    assert "mean-logistic, mean-mlp and muse share rank 1" in page


def test_lowest_ranks_name_all_that_share_the_last_place_and_mark_ties():
    ranks = np.array([2.0, 1.0, 3.5, 3.5, 5.0])
    assert lowest_ranks(list("abcde"), ranks) == ["b", "a", "c (tied)", "d (tied)"]
    assert lowest_ranks(list("abc"), np.array([3.0, 1.0, 2.0])) == ["b", "c", "a"]


def test_notes_of_the_trials_stand_under_their_setting():
    pairs = full()
    record, arrays = pairs[0]
    notes = [f"the test part has no sample of class {number}" for number in range(9)]
    pairs[0] = (replace(record, facts=replace(record.facts, notes=["the test part has no sample of class '<b>'", *notes])), arrays)
    page = pages(board_of(*pairs))["digits.md"]
    assert page.count("The test part has no sample of class '&lt;b>'.") == 1
    assert "2 more such notes are in the records." in page


def test_ties_behind_the_first_place_are_said_with_the_rank_they_share():
    pairs = [*full(), *(made(label, protocol, seed, 4) for label in ("fusemoe", "shaspec") for protocol in ("mcar(0.1)", "mcar(0.3)")
                        for seed in range(3))]  # fmt: skip
    page = pages(board_of(*pairs))
    assert "Of the same mean rank: fusemoe and shaspec share rank 3." in page["README.md"]
    assert page["digits.md"].count("Of the same mean: fusemoe and shaspec share rank 3.") == 2
    assert "share rank" not in "".join(pages(board_of(*full())).values())


def test_board_of_one_is_worded_in_the_singular():
    text = "".join(pages(board_of(made("muse"))).values()) + table_tex(board_of(made("muse"), made("mmformer")))
    assert "1 method, 1 setting on 1 real dataset, 1 seed; 1 of 1 trial gave a score" in text
    assert not [word for word in ("method", "setting", "dataset", "seed", "trial", "pair", "sample") if f" 1 {word}s" in text]


def test_board_of_one_setting_has_a_forest_plot_of_it(tmp_path):
    pytest.importorskip("matplotlib")
    publish(
        tmp_path / "own",
        answers_of([made(label, seed=seed, hits=hits) for label, hits in (("muse", 8), ("constant", 5)) for seed in (0, 1)]),
    )
    assert {path.name for path in (tmp_path / "own").glob("*.svg")} == {"forest_digits_NE_mcar_0.1.svg"}
    for name in ("README.md", "digits.md"):
        assert "](forest_digits_NE_mcar_0.1.svg)" in (tmp_path / "own" / name).read_text()
    assert not stale_files(tmp_path / "own")


def test_board_over_many_settings_has_rank_intervals():
    scores = {"muse": [9, 8, 8, 7, 7, 6], "mmformer": [7, 7, 6, 6, 5, 5], "shaspec": [3] * 6, "constant": [5] * 6}
    board = board_of(*settings_of(scores, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
    found = plots.data_of(board)
    assert found["intervals_real.svg"]["labels"] == ["muse", "mmformer", "shaspec"]
    assert not [name for name in found if name.startswith("forest")]
    assert "(intervals_real.svg)" in pages(board, list(found))["README.md"]


def test_board_over_few_settings_has_a_forest_plot_of_each():
    found = plots.data_of(board_of(*full()))
    assert {name for name in found if name.startswith("forest")} == {"forest_digits_NE_mcar_0.1.svg", "forest_digits_NE_mcar_0.3.svg"}
    assert found["forest_digits_NE_mcar_0.1.svg"]["floor"] == 50.0
    assert found["forest_digits_NE_mcar_0.1.svg"]["labels"] == ["muse", "mmformer"]


def test_page_says_why_nothing_was_drawn():
    assert "No picture: this folder was written without matplotlib; `pip install" in pages(board_of(*full()))["README.md"]
    failed = board_of(made("muse", status="failed", reason="out of memory"), made("constant", status="failed", reason="out of memory"))
    assert plots.data_of(failed) == {}
    assert "No picture: no trial gave a score." in pages(failed)["README.md"]
    board = board_of(*full())
    assert "No picture" not in pages(board, list(plots.data_of(board)))["README.md"]

"""bench/leaderboard: tables come from records alone, show what is missing, and re-render to the same bytes."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UsageError
from bench.leaderboard import build, markdown, pages, publish, render, stale_files, table_csv
from bench.spec import Finding, Record, Setting, Suite, Trial
from bench.store import Arrays

SUITE = Suite("golden", (Setting(("digits",), noise=(0.1, 0.3)),), title="Golden", methods=("muse", "constant"), training={"epochs": 2})
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
    record = Record(trial, "done", None, metrics, cost, facts, {**PROVENANCE, **changes.get("provenance", {})})
    return record, Arrays(np.array([f"r{i}" for i in range(10)]), target, scores)


def board_of(*pairs, suite=SUITE, audits=()):
    records = [record for record, _ in pairs]
    return build(suite, records, {record.trial.id: arrays for record, arrays in pairs if arrays is not None}, ["bench run"], audits)


def full():
    pairs = []
    for seed in range(3):
        for protocol in ("mcar(0.1)", "mcar(0.3)"):
            pairs += [made("muse", protocol, seed, 8 + seed % 2), made("mmformer", protocol, seed, 7), made("constant", protocol, seed, 5)]
    return pairs


def found(method, check="poison", passed=True, declared=False, version="v"):
    return Finding(method, "default" if method == "constant" else "paper", check, passed, declared, "", version)


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
    assert page == GOLDEN.read_text(encoding="utf-8"), "the page changed: look at it, then run tests/bench/make_golden.py"


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
    assert "80.0 ± n/a (1) |             n/a" in markdown(board_of(made("muse"), made("mmformer")))


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
    other = replace(record, facts={**record.facts, "masks": {"test": "another"}})
    assert "different test masks" in markdown(board_of(made("muse"), (other, arrays)))


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


def test_published_folder_keeps_the_audits_of_its_methods(tmp_path):
    pairs, folder = full(), tmp_path / "golden"
    audits = [*AUDITS, found("shaspec")]
    publish(folder, SUITE, [r for r, _ in pairs], {r.trial.id: a for r, a in pairs if a}, ["bench run"], audits)
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
    pairs = [*full(), made("shaspec", status="failed", reason="x")]
    folder = tmp_path / "golden"
    publish(folder, SUITE, [r for r, _ in pairs], {r.trial.id: a for r, a in pairs if a}, ["bench run"])
    assert (folder / "table.csv").read_text() == table_csv(board_of(*pairs))
    assert stale_files(folder) == []
    (folder / "digits.md").write_text("changed by hand")
    (folder / "significance.json").unlink()
    (folder / "other.md").write_text("left over")
    assert [path.name for path in stale_files(folder)] == ["digits.md", "other.md", "significance.json"]


def with_surface(rules=("mcar(0)", "mcar(0.5)", "fixed(N)", "fixed(E)", "fixed(NE)")):
    pairs = []
    for seed in range(2):
        for method, hits in (("muse", 9), ("constant", 5)):
            record, arrays = made(method, seed=seed, hits=hits)
            metrics = {rule: {"accuracy": (hits - (place % 3) * (method == "muse")) / 10} for place, rule in enumerate(rules)}
            facts = {rule: {"metrics": found, "missing": 0.5, "mask": rule, "histogram": [5, 5]} for rule, found in metrics.items()}
            trial = replace(record.trial, evaluations=rules)
            further = dict.fromkeys(rules, arrays.scores)
            pairs.append((replace(record, trial=trial, facts={**record.facts, "evaluations": facts}), replace(arrays, evaluations=further)))
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
    publish(tmp_path / "surface", SUITE, [r for r, _ in pairs], {r.trial.id: a for r, a in pairs}, ["bench run"])
    assert stale_files(tmp_path / "surface") == []
    lines = (tmp_path / "surface" / "surface.csv").read_text().splitlines()
    assert lines[0].startswith("dataset,combination,protocol")
    assert len(lines) == 1 + 2 * 5
    assert "### Response surface" in (tmp_path / "surface" / "digits.md").read_text(encoding="utf-8")


def test_different_masks_of_an_evaluation_are_a_banner():
    pairs = with_surface()
    record, arrays = pairs[0]
    evaluations = {**record.facts["evaluations"], "fixed(N)": {**record.facts["evaluations"]["fixed(N)"], "mask": "another"}}
    pairs[0] = (replace(record, facts={**record.facts, "evaluations": evaluations}), arrays)
    assert "different test masks" in markdown(board_of(*pairs))


def test_bar_in_a_protocol_does_not_break_the_table():
    pairs = [made("muse", protocol, seed) for seed in range(2) for protocol in ("mnar(N|value,2,0.1)", "mnar(N|value,2,0.3)")]
    rows = [line for line in markdown(board_of(*pairs)).splitlines() if line.startswith("|") and "mnar" in line]
    assert len(rows) == 1
    assert rows[0].count("|") - rows[0].count("\\|") == 4


def test_broken_folder_is_explained(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: FileNotFoundError"):
        render(tmp_path)
    (tmp_path / "suite.toml").write_text(SUITE.to_toml())
    (tmp_path / "records.jsonl").write_text("{not json")
    with pytest.raises(UsageError, match="publish it again"):
        render(tmp_path)


@pytest.mark.parametrize(
    "folder", sorted((Path(__file__).parents[2] / "leaderboards").glob("*/records.jsonl")), ids=lambda p: p.parent.name
)
def test_committed_leaderboards_render_to_themselves(folder):
    assert stale_files(folder.parent) == []

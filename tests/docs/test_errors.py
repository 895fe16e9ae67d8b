"""docs/sources/errors.py: the page of errors says what was measured, of every decision and every board that can be asked."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from scipy.stats import binom

from bench.records import pieces

ROOT = Path(__file__).parents[2]
FOUND = {
    "rates": [
        {"decision": "crossed test, mae", "seeds": 3, "draws": 1000, "rate": 0.0512},
        {"decision": "crossed test, mae", "seeds": 10, "draws": 1000, "rate": 0.04},
        {"decision": "McNemar", "seeds": 1, "draws": 1000, "rate": 0.049},
    ],
    "boards": [
        {"board": "quick", "metric": "accuracy", "tests": 40, "significant": 1, "allowed": 5, "passed": True, "share_over_halvings": 0.031}
    ],
}


@pytest.fixture(scope="module")
def errors(source):
    return source("errors")


@pytest.fixture(scope="module")
def measured(errors):
    return json.loads(errors.MEASURED.read_text(encoding="utf-8"))


def loaded():
    spec = importlib.util.spec_from_file_location("error_rates", ROOT / "benchmarks" / "error_rates.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["error_rates"] = module  # its classes look their module up
    spec.loader.exec_module(module)
    return module


def test_page_says_what_was_measured(errors, tmp_path):
    file = tmp_path / "found.json"
    file.write_text(json.dumps(FOUND), encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in errors.page(file).splitlines() if line.startswith("|")]
    assert lines[0] == ["% significant", "1 seed", "3 seeds", "10 seeds"]
    assert lines[2:4] == [["crossed test, mae", "", "5.1", "4.0"], ["McNemar", "4.9", "", ""]]
    assert lines[-1][1:] == ["accuracy", "40", "1 (2.5 %)", "5", "3.1 %"]
    assert "1,000 studies a\n  cell, so that a true 5 % shows as 3.6 to 6.4" in errors.page(file)


def test_every_decision_was_measured_with_a_thousand_studies_and_errs_as_often_as_it_says(measured):
    found = {(line["decision"], line["seeds"]): line["rate"] for line in measured["rates"] if line["draws"] >= 1000}
    decisions = loaded().DECISIONS
    assert list(found) == [(name, seeds) for name, decision in decisions.items() for seeds in decision.seeds]
    for (name, _), rate in found.items():
        assert rate <= 0.07, name
        assert decisions[name].at_most or rate >= 0.03, name


def test_every_board_with_four_seeds_on_one_test_part_was_asked_and_no_more_exceed_than_chance_allows(measured):
    asked = {line["board"]: line for line in measured["boards"]}
    for folder in sorted((ROOT / "leaderboards").iterdir()):
        if folder.is_dir():
            records = [json.loads(line) for line in pieces.lines(folder)]
            seeds = {record["trial"]["seed"] for record in records if record.get("trial", {}).get("vary") == "training"}
            assert (folder.name in asked) == (len(seeds) >= 4), f"{folder.name}: python benchmarks/error_rates.py --boards"
    assert all(line["share_over_halvings"] <= 0.07 for line in asked.values())
    over = [name for name, line in asked.items() if not line["passed"]]
    assert len(over) <= binom.ppf(0.95, len(asked), 0.05), over


def test_boards_that_show_more_than_allowed_are_named_with_what_chance_gives(errors):
    line = FOUND["boards"][0]
    over = {**line, "board": "natural", "significant": 6, "passed": False}
    assert errors.on_boards([line, line]).endswith("\n\nNo board shows more than allowed.")
    text = errors.on_boards([line, over])
    assert "More than allowed: `natural`, 1 of 2 boards." in text
    assert "so many or more do in up to 10 of 100 cases" in text  # 1 - 0.95 ** 2

"""bench/records/facts.py: typed facts read what any version wrote, and lose nothing of it."""

import json
from pathlib import Path

import pytest

from bench.records.facts import Evaluated, Facts, Origin
from bench.records.pieces import lines, published_in

BOARDS = Path(__file__).resolve().parents[2] / "leaderboards"


def test_facts_come_back_as_written():
    facts = Facts(
        rows={"train": 7, "test": 3}, masks={"test": "m"}, histogram=[2, 1], valid=0.5, synthetic=True, seconds={"total": 1.5},
        evaluations={"mcar(0.3)": Evaluated({"accuracy": 0.25}, missing=0.3, mask="k", histogram=[3, 0])},
    )  # fmt: skip
    assert Facts.from_json(json.loads(json.dumps(facts.as_json()))) == facts


@pytest.mark.parametrize("kind", [Facts, Origin, Evaluated])
def test_record_of_before_lacks_facts_and_that_of_a_later_version_keeps_its_own(kind):
    assert kind.from_json({}) == kind()
    assert kind().as_json() == {}
    assert kind.from_json({"colour": "blue", "size": None}).as_json() == {"colour": "blue", "size": None}


def test_code_is_the_commit_or_the_version_that_was_installed():
    assert Origin(bench="0.1.0", commit="abc").code == "abc"
    assert Origin(bench="0.1.0").code == "bench 0.1.0 (installed)"


@pytest.mark.parametrize("board", [path.name for path in published_in(BOARDS)])
def test_every_published_fact_is_known(board):
    """A key that a record of ours has and Facts has not would be read by nobody."""
    for line in lines(BOARDS / board):
        record = json.loads(line)
        if "facts" in record:
            facts = Facts.from_json(record["facts"])
            assert (facts.more, Origin.from_json(record["provenance"]).more) == ({}, {})
            assert all(not one.more for one in facts.evaluations.values())

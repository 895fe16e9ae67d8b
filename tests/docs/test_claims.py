"""docs/sources/claims.py: the page of claims says what the published boards say."""

import csv
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.leaderboard import PairTest
from bench.leaderboard.rows import hp_of
from bench.leaderboard.significance import Family
from bench.question.suite import read_suite

ROOT = Path(__file__).parents[2]
SUBJECT = "moe-retriever"


@pytest.fixture(scope="module")
def claims(source):
    return source("claims")


@pytest.fixture
def published(claims):
    """Makes a setting of a board."""
    return lambda *args, **options: claims.Published(*made(*args, **options))


def made(scores, protocol="natural", board="one"):
    """A setting of a board; scores: label -> score, best rank first; 5 points apart is significant."""
    tests = []
    for a, b in combinations(scores, 2):
        d = scores[a] - scores[b]
        word = "undecided" if abs(d) < 0.05 else "better*" if d > 0 else "worse"
        tests.append(PairTest(a, b, d, d - 0.02, d + 0.01, 1.0, 0.01, 0.01, d, word, ""))
    rows = [
        SimpleNamespace(label=label, mean=score, sd=0.01, n=5, rank=1.0, role="reference" if label.startswith("mean") else "paper",
                        hp=hp_of(label))
        for label, score in scores.items()
    ]  # fmt: skip
    rows.append(SimpleNamespace(label="constant", mean=0.1, rank=None, role="floor"))
    family = Family(f"cats (AB), {protocol}", "crossed", "test samples", 9, tuple(scores), tuple(tests))
    key = ("cats", "AB", protocol)
    setting = SimpleNamespace(
        dataset="cats", combination="AB", protocol=protocol, setting=key, page="cats.md", title=family.name, rows=rows, tests=family
    )
    return board, setting


def test_leading_tells_the_first_place_from_a_significant_one(claims, published):
    first = {SUBJECT: 0.9, "muse": 0.8, "shaspec": 0.89, "mean-logistic": 0.96}
    clear = {SUBJECT: 0.9, "muse": 0.8, "shaspec": 0.81, "mean-logistic": 0.7}
    weak, strong = claims.leading([published(first), published(clear, "mcar(0.3)")])
    assert (weak.place, weak.others[0].label, weak.others[weak.rivals[0]].label) == (1, "mean-logistic", "shaspec")
    assert (weak.is_clear, weak.is_behind) == (False, True)
    assert (strong.place, strong.others[0].label) == (1, "shaspec")
    assert (strong.is_clear, strong.is_behind) == (True, False)


def test_subject_is_a_in_every_test_wherever_the_board_lists_it(claims, published):
    (lead,) = claims.leading([published({"muse": 0.9, SUBJECT: 0.8, "shaspec": 0.7})])
    assert [(test.a, test.verdict.rstrip("*")) for test in lead.tests] == [(SUBJECT, "worse"), (SUBJECT, "better")]
    assert lead.tests[0].difference == pytest.approx(-0.1)
    assert (lead.tests[0].low, lead.tests[0].high) == pytest.approx((-0.11, -0.08))


def test_setting_on_two_boards_counts_once(claims, published):
    scores = {SUBJECT: 0.9, "muse": 0.8}
    assert [lead.published.board for lead in claims.leading([published(scores), published(scores, board="two")])] == ["one"]


def test_ablations_are_those_of_the_suite(claims):
    assert claims.SUBJECT == SUBJECT
    assert {SUBJECT, "constant", *claims.ABLATIONS} == set(read_suite("open-table3").methods)


def test_ablation_is_the_full_method_less_the_changed_one(claims, published):
    scores = {SUBJECT: 0.8, **dict.fromkeys(claims.ABLATIONS, 0.79), "moe-retriever[routing=none]": 0.7}
    found = claims.ablation([published(scores)])
    assert list(found) == list(claims.ABLATIONS)
    ((_, test),) = found["moe-retriever[routing=none]"]
    assert (test.a, test.difference, test.verdict) == (SUBJECT, pytest.approx(0.1), "better*")
    ((_, test),) = found["moe-retriever[n_shared=1]"]
    assert test.verdict == "undecided"


def test_every_row_of_shaspec_is_set_against_the_subject_best_first(claims, published):
    best, worst = claims.against_subject([published({SUBJECT: 0.8, "shaspec[width=64]": 0.81, "shaspec[width=8]": 0.7})])
    assert (best.row.label, worst.row.label) == ("shaspec[width=64]", "shaspec[width=8]")
    assert best.tests[SUBJECT].difference == pytest.approx(0.01)
    assert worst.tests[SUBJECT].verdict.rstrip("*") == "worse"


@pytest.mark.parametrize("where", ["", " at mcar(0.3)"])
def test_methods_are_compared_as_set_and_tuned_alike_where_both_have_both_rows(claims, published, where):
    tuned = [f"{name} tuned{where} (20 suggestions)" for name in ("shaspec", SUBJECT)]
    scores = {SUBJECT: 0.8, "shaspec": 0.7, tuned[0]: 0.91, tuned[1]: 0.9, "moe-retriever@as_released": 0.3}
    half = {name: score for name, score in scores.items() if name != tuned[1]}
    (found,) = claims.tuned_alike([published(scores), published(half, "mcar(0.5)")])
    assert [(test.a, test.b) for test in (found.default, found.tuned)] == [("shaspec", SUBJECT), tuple(tuned)]
    assert (found.default.verdict, found.tuned.difference) == ("worse*", pytest.approx(0.01))
    nine = claims.against_subject([published({SUBJECT: 0.8, "shaspec[width=64]": 0.81})])
    said = claims._said_of_tuning(nine, [found])
    assert "in 1 setting of the board" in said
    assert "untuned -10.0 points in the median, worse in 1; both tuned alike +1.0 points in the median, undecided in 1." in said


def test_board_without_the_test_is_refused(published):
    with pytest.raises(ValueError, match=r"one, cats \(AB\), natural: no test of muse against shaspec"):
        published({"muse": 0.9, SUBJECT: 0.8}).test("muse", "shaspec")


def test_cells_of_the_printed_tables_are_counted_by_their_highest_mean(claims):
    cells = {}
    for row in csv.DictReader((ROOT / "docs" / "sources" / "moe_retriever_tables.csv").read_text(encoding="utf-8").splitlines()):
        if row["table"] in ("1", "2", "4"):
            cells.setdefault((row["table"], row["dataset"], row["modality"], row["noise"], row["metric"]), []).append(row)
    best = [max(rows, key=lambda row: float(row["mean"]))["method"] for rows in cells.values()]
    assert all(len(rows) == 6 for rows in cells.values())
    assert claims.printed_first() == (best.count("MoE-Retriever"), len(best))

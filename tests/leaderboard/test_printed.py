"""bench/leaderboard/printed.py and bench/paper_report.py: printed numbers stand beside their own setting, the page says what tests say."""

from pathlib import Path

import numpy as np
import pytest

from bench import paper_report, stats
from bench.leaderboard import printed
from bench.paper_report import Rivalry, against_best, page, view

ROOT = Path(__file__).resolve().parents[2]


def test_committed_page_is_what_the_printed_numbers_give():
    committed = (ROOT / "docs" / "paper-under-test.md").read_text(encoding="utf-8")
    assert committed == page(), "docs/paper-under-test.md is stale: python -m bench.paper_report > docs/paper-under-test.md"


def test_all_printed_cells_are_there_once():
    keys = [(*cell.key, cell.method) for cell in printed.cells()]
    assert len(keys) == len(set(keys)) == 296


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (("cmu-mosi", "VAT", "mcar(0.3)", "accuracy"), "65.2 ± 2.7 (T2), 65.2 ± 4.1 (T4)"),
        (("adni", "IGC", "natural", "accuracy"), "63.1 ± 1.2 (T1)"),
        (("adni[image=volume]", "IGC", "natural", "accuracy"), "63.1 ± 1.2 (T1)"),
    ],
    ids=["two tables", "natural gaps", "with options"],
)
def test_printed_number_stands_beside_its_own_setting(setting, expected):
    found = printed.printed(*setting)
    assert set(found) == set(printed.METHODS.values())
    assert found["moe-retriever"] == expected


@pytest.mark.parametrize(
    "setting",
    [
        ("mosi-utterance", "TAV", "mcar(0.3)", "accuracy"),
        ("cmu-mosi", "VAT", "mcar(0.2)", "accuracy"),
        ("cmu-mosi", "VAT", "natural", "accuracy"),
        ("cmu-mosi", "V", "mcar(0.3)", "accuracy"),
        ("cmu-mosi", "VAT", "mcar(0.3)", "auroc"),
        ("cmu-mosi", "VAT", "mar(V->A,2,0.3)", "accuracy"),
        ("cmu-mosi", "VAT", "train=natural;valid=natural;test=mcar(0.3)", "accuracy"),
        ("adni", "IGCB", "mcar(0.3)", "accuracy"),
    ],
    ids=["other features", "other noise", "no noise", "other modalities", "other metric", "other rule", "other placement", "gaps on top"],
)
def test_no_number_stands_beside_another_setting(setting):
    assert printed.printed(*setting) == {}


@pytest.mark.parametrize(
    ("name", "n", "rank", "beaten", "adjusted"),
    [
        ("accuracy, tables 1 and 2", 12, 1.75, 2, [0.002, 0.002, 0.048, 0.048, 0.048]),
        ("macro F1, table 1", 7, 1.0, 3, [0.078] * 5),
        ("macro F1, table 1, and accuracy, table 2", 12, 1.0, 3, [0.002] * 5),
        ("accuracy under noise, table 4", 12, 1.25, 4, [0.002] * 4 + [0.012]),
    ],
    ids=["accuracy", "macro F1", "both", "noise"],
)
def test_views_give_the_known_ranks_and_p(name, n, rank, beaten, adjusted):
    """Numbers worked out beforehand, apart from this code."""
    found = view(name)
    assert (found.n, found.ranks["MoE-Retriever"], len(found.beaten)) == (n, pytest.approx(rank), beaten)
    assert np.round(sorted(found.adjusted.values()), 3).tolist() == adjusted


def test_four_settings_are_too_few():
    assert view("AUROC, table 5").reason == "needs n >= 6"


def test_comparisons_cell_by_cell_are_the_known_ones():
    """Numbers worked out beforehand, apart from this code."""
    found, population = Rivalry.of(), Rivalry.of(population=True)
    assert (len(found.p), (found.difference > 0).sum(), (found.difference < 0).sum()) == (175, 161, 14)
    assert (found.significant(found.p).sum(), population.significant(population.p).sum()) == (89, 76)
    assert found.significant(found.holm_in_settings).sum() == 59
    assert found.significant(stats.benjamini_hochberg(found.p)).sum() == 67
    assert found.significant(stats.holm(found.p)).sum() == 6


def test_against_the_best_rival_two_of_35_are_resolved():
    found = against_best()
    wins = [test for *_, test in found if test.difference > 0]
    assert (len(found), len(wins), sum(test.p <= 0.05 for test in wins)) == (35, 28, 2)


def test_ablation_resolves_no_variant():
    assert sum("none differs" in line for line in paper_report._ablation()[1].splitlines()) == 2

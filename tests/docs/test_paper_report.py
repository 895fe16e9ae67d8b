"""docs/sources/paper_report.py: the page says what the tests say of the printed numbers."""

import numpy as np
import pytest

from bench import stats


@pytest.fixture(scope="module")
def report(source):
    return source("paper_report")


def test_all_printed_cells_are_there_once(source):
    keys = [(*cell.key, cell.method) for cell in source("moe_retriever_tables").cells()]
    assert len(keys) == len(set(keys)) == 296


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
def test_views_give_the_known_ranks_and_p(name, n, rank, beaten, adjusted, report):
    """Numbers worked out beforehand, apart from this code."""
    found = report.view(name)
    assert (found.n, found.ranks["MoE-Retriever"], len(found.beaten)) == (n, pytest.approx(rank), beaten)
    assert np.round(sorted(found.adjusted.values()), 3).tolist() == adjusted


def test_four_settings_are_too_few(report):
    assert report.view("AUROC, table 5").reason == "needs n >= 6"


def test_comparisons_cell_by_cell_are_the_known_ones(report):
    """Numbers worked out beforehand, apart from this code."""
    found, population = report.Rivalry.of(), report.Rivalry.of(population=True)
    assert (len(found.p), (found.difference > 0).sum(), (found.difference < 0).sum()) == (175, 161, 14)
    assert (found.significant(found.p).sum(), population.significant(population.p).sum()) == (89, 76)
    assert found.significant(found.holm_in_settings).sum() == 59
    assert found.significant(stats.benjamini_hochberg(found.p)).sum() == 67
    assert found.significant(stats.holm(found.p)).sum() == 6


def test_against_the_best_rival_two_of_35_are_resolved(report):
    found = report.against_best()
    wins = [test for *_, test in found if test.difference > 0]
    assert (len(found), len(wins), sum(test.p <= 0.05 for test in wins)) == (35, 28, 2)


def test_ablation_resolves_no_variant(report):
    assert sum("none differs" in line for line in report._ablation()[1].splitlines()) == 2

"""bench/text.py: a table that fits a width leaves out whole columns, names them, and breaks no number."""

import re

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from bench.text import LEAST_NAME, Table, in_middle, terminal_table, wrapped

NUMBERS = st.sampled_from(["86.2 ± 0.8 (3)", "82.6-89.8", "-0.5 [-2.4, +1.4]", "<0.001", "1,797", "n/a", ""])
LABELS = st.sampled_from(["muse", "gradient-boosting", "muse@as_released[layers=3,tokens=16]", "数据集", "file.py:Mine"])


@st.composite
def tables(draw):
    columns = draw(st.integers(1, 7))
    head = ["Method", *(f"number {i}, mean ± SD" for i in range(columns))]
    rows = draw(st.lists(st.tuples(LABELS, *[NUMBERS] * columns), min_size=1, max_size=5))
    return Table(head, rows, left=("Method",), spare=head[2:4], kept=head[1:2], whole=True)


def shown(text):
    """The lines of the table, and those below it that say what is left out."""
    table, _, said = text.partition("Left out at ")
    return table.splitlines(), said


@given(tables(), st.integers(60, 160))
def test_no_line_is_longer_than_the_width(table, width):
    assert max(map(wcwidth.width, table.fitted(width).splitlines())) <= width


@given(tables(), st.integers(40, 160))
def test_every_column_is_shown_whole_or_named_as_left_out(table, width):
    lines, said = shown(table.fitted(width))
    body = "\n".join(lines[next(i for i, line in enumerate(lines) if not line.strip("- ")) + 1 :])
    said = " ".join(said.split())
    for i, title in enumerate(table.head[1:], 1):
        if title in said:
            assert i != 1, "a kept column went"
        else:
            assert all(row[i] in body for row in table.body)


@given(tables(), st.integers(60, 160))
def test_the_width_that_is_named_shows_all(table, width):
    _, said = shown(table.fitted(width))
    if said:
        enough = int(re.search(r"\. (\d+) columns show all", " ".join(said.split()))[1])
        assert enough > width
        assert "Left out" not in table.fitted(enough)
        assert "Left out" in table.fitted(enough - 1)


def test_columns_go_in_the_order_that_is_stated():
    table = Table(["Method", "a", "b", "c"], [["muse", "1" * 20, "2" * 20, "3" * 20]], ("Method",), spare=("b",))
    assert "at 60 columns: b." in table.fitted(60)
    assert "at 40 columns: b, c." in table.fitted(40)
    assert "at 20 columns: a, b, c." in " ".join(table.fitted(20).split())


def test_without_a_width_nothing_is_left_out_or_broken():
    table = Table(["Method", "a head of many words"], [["m" * 200, "1"]], ("Method",))
    assert len(table.fitted().splitlines()) == 3
    assert "m" * 200 in table.fitted()


def test_prose_goes_on_in_further_lines_and_numbers_do_not():
    text = terminal_table([{"name": "a", "idea": "one idea after the other", "n": "1,000"}], ("name", "idea"), 30, prose=("idea",))
    assert [line.split() for line in text.splitlines()[2:]] == [["a", "one", "idea", "after", "1,000"], ["the", "other"]]


def test_heads_are_broken_before_a_column_goes():
    table = Table(["Method", "vs best: difference"], [["muse", "-0.5"]], ("Method",))
    assert "Left out" not in table.fitted(20)


@pytest.mark.parametrize("text", ["gradient-boosting", "数据集数据集数据集", "short"])
def test_a_name_is_cut_in_the_middle_to_its_width(text):
    for width in range(LEAST_NAME, 20):
        cut = in_middle(text, width)
        assert wcwidth.width(cut) <= width
        assert cut == text if wcwidth.width(text) <= width else "…" in cut


def test_ranges_names_and_addresses_are_never_broken():
    words = ["82.6-89.8", "mean-logistic", "archive.ics.uci.edu/dataset/880/with/a/long/path"]
    assert [word for line in wrapped(" ".join(words), 12) for word in line.split()] == words


def test_markdown_of_a_table_is_that_of_its_values():
    table = Table(["Method", "a|b"], [["x", "1"]], ("Method",))
    assert table.markdown().splitlines() == ["| Method   |   a\\|b |", "|:---------|-------:|", "| x        |      1 |"]

"""What a column of texts holds is guessed with its reason, and what could be meant in two ways says so."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.described.guess import PLAIN, guess_column, habits_of, looks_like_an_id
from bench.datasets.described.written import FORMATS, date_formats, day_of, number_of, number_ways

DAYS = st.dates(date(1930, 1, 1), date(2060, 12, 31))


def guess(cells, name="crp", habits=PLAIN):
    return guess_column(name, cells, habits)


# Numbers


@given(st.lists(st.floats(-1e6, 1e6).map(lambda number: round(number, 3)), min_size=3, max_size=30), st.sampled_from(".,"))
def test_decimals_are_read_as_they_were_written(numbers, mark):
    cells = [f"{number:.4f}".replace(".", mark) for number in numbers]  # four digits group no thousands
    way = number_ways(cells)[0]
    assert way == (mark, "")
    assert [number_of(cell, way) for cell in cells] == pytest.approx(numbers)


@given(st.lists(st.integers(1_000_000, 10**9), min_size=3, max_size=20), st.sampled_from([(".", ","), (",", "."), (".", " "), (".", "'")]))
def test_thousands_are_read_as_they_were_written(numbers, way):
    mark, sign = way
    cells = [f"{number:,}".replace(",", sign) + f"{mark}5" for number in numbers]
    assert way in number_ways(cells)
    assert [number_of(cell, way) for cell in cells] == [number + 0.5 for number in numbers]
    found = guess([*cells, "n.d."]).column
    assert (found.decimal, found.thousands, found.missing) == (*way, ("n.d.",))


def test_a_thousand_or_a_decimal_comma_is_left_open():
    found = guess(["1,234", "4,567", "12,345"] * 3)
    assert (found.column.thousands, found.check) == (",", True)
    assert "'1,234' read as 1234, which could be meant otherwise" in found.why


@pytest.mark.parametrize(
    ("cells", "decimal", "thousands"), [(["1,234", "4,567", "2,001"], ",", ""), (["150.000", "234.000", "99.000"], ",", ".")]
)
def test_what_is_open_is_read_as_the_rest_of_the_file_and_named(cells, decimal, thousands):
    habits = habits_of([["0,5", "1,25"], ["a", "b"], cells])
    found = guess(cells, habits=habits)
    assert habits.decimal == ","
    assert (found.column.decimal, found.column.thousands, found.check) == (decimal, thousands, True)


def test_points_and_commas_in_one_column_make_no_input():
    found = guess(["1.5", "7", "2,5", "3.25"])
    assert found.column is None
    assert "('1.5', '2,5')" in found.why


def test_bounds_say_what_they_are_read_as():
    found = guess(["<0.5", "< 0.5", "≤1", "2.5", ">= 100", "7"])
    assert (found.column.below, found.column.above) == ("half", "limit")
    assert "3 cells such as '<0.5' read as half of the limit" in found.why
    assert "1 cell such as '>= 100' read as the limit" in found.why


@pytest.mark.parametrize("code", ["-99", "-999", "999", "9999", "-1", "888"])
def test_a_code_far_from_all_numbers_is_missing_and_to_be_checked(code):
    found = guess(["5", "17.5", "21", "30", "12"] * 4 + [code] * 3)
    assert found.column.missing == (code,)
    assert found.check


@pytest.mark.parametrize("cells", [["-3", "2", "-99", "-99", "5", "-120"], ["990", "980", "999", "999", "970"], ["1", "2", "99", "5", "7"]])
def test_a_number_among_its_like_is_no_code(cells):
    assert guess(cells).column.missing == ()


def test_few_words_among_numbers_are_missing_and_many_make_it_no_number():
    found = guess(["1.5", "2.5", "3", "4"] * 5 + ["haemolysed"])
    assert found.column.missing == ("haemolysed",)
    assert found.check
    assert guess(["1.5", "2.5"] * 5 + ["haemolysed"] * 5).column.kind == "category"


@pytest.mark.parametrize("unit", ["mg/dl", "%", "°C", "x10^9/L"])
def test_numbers_with_a_unit_are_left_out_by_name(unit):
    found = guess([f"{number} {unit}" for number in range(40)])
    assert found.column is None
    assert unit in found.why


def test_numbers_of_a_column_called_an_id_count_nothing():
    few = guess([str(10 + row % 4) for row in range(40)], "ward_id")
    assert (few.column.kind, few.check) == ("category", True)
    many = guess([str(10 + row % 19) for row in range(40)], "doctorID")
    assert many.column is None
    assert "going by the column's name" in many.why
    assert guess([str(7 * row) for row in range(60)], "stayid").column is None


def test_a_column_of_very_many_numbers_is_guessed_in_one_pass():
    cells = [f"{row / 7:.6f}" for row in range(60_000)]
    assert guess([*cells, *["-99"] * 3, "n.d."]).column.missing == ("n.d.", "-99")
    assert guess([*cells, "1,5"]).why.startswith("decimal marks are mixed ('0.000000', '1,5')")


# Dates


@given(st.lists(DAYS, min_size=1, max_size=20), st.sampled_from(FORMATS))
def test_dates_are_found_in_the_format_they_were_written_in(days, written):
    cells = [day.strftime(written) for day in days]
    found = date_formats(cells)
    assert written in found or found == [""]  # ISO 8601, which is read without being told
    assert [day_of(cell, found[0]).date() for cell in cells] == [day_of(cell, written).date() for cell in cells] or len(found) > 1


@given(st.lists(DAYS, min_size=2, max_size=20, unique=True))
def test_month_and_day_are_told_apart_or_the_doubt_is_said(days):
    found = guess([day.strftime("%m/%d/%Y") for day in days] * 3)
    if any(day.day > 12 for day in days):
        assert (found.column.format, found.check) == ("%m/%d/%Y", False)
    else:
        other = [day.strftime("%m/%d/%Y") for day in days if day.day != day.month]
        assert found.check
        assert found.column.format == "%d/%m/%Y"
        assert "may also be" in found.why or not other


def test_the_other_dates_of_a_file_settle_month_and_day():
    cells = ["1/2/2020", "3/4/2020"] * 5
    habits = habits_of([cells, ["12/24/2019"], ["<0.5"]])
    found = guess(cells, habits=habits)
    assert (found.column.format, found.check) == ("%m/%d/%Y", False)
    assert "1/2/2020 as 2020-01-02, as elsewhere in this file" in found.why


def test_dates_written_in_several_ways_make_no_input():
    found = guess(["2020-01-31", "3.4.2020", "2020-05-01"] * 2)
    assert found.column is None
    assert "2 ways ('2020-01-31', '3.4.2020')" in found.why


def test_a_day_that_stands_for_none_is_missing():
    found = guess(["2020-01-31", "2020-05-17", "1900-01-01", "unknown"])
    assert found.column.missing == ("unknown", "1900-01-01")
    assert "2020-01-31 to 2020-05-17" in found.why


def test_eight_digits_are_dates_only_if_all_of_them_could_be():
    assert guess(["20200131", "20191231"] * 3).column.kind == "date"
    assert guess(["20200131", "30001231"] * 3).column.kind == "number"
    assert day_of("20200131", "%Y%m%d").day == 31


# Words


@pytest.mark.parametrize(
    "levels",
    [
        ("low", "Medium", "high"),
        ("mild", "moderate", "severe"),
        ("I", "II", "III", "IV"),
        ("stage 1", "stage 2", "stage 10"),
        ("T1", "T2a", "T2b"),
        ("<18", "18-39", "40-64", "65+"),
        ("+", "++", "+++"),
    ],
)
def test_words_with_an_order_are_put_in_it(levels):
    found = guess([*reversed(levels)] * 3)
    assert found.column.kind == "ordered"
    assert found.column.levels == levels


@pytest.mark.parametrize("words", [("ward 1", "ward 2", "ward 3"), ("3a", "3b", "4a"), ("red", "low", "high")])
def test_words_without_an_order_are_categories(words):
    assert guess([*words] * 5).column.kind == "category"


@given(st.lists(st.sampled_from("abcdefgh"), min_size=30, max_size=60))
def test_few_words_that_repeat_are_categories_and_unique_ones_are_not(words):
    found = guess(words)
    assert found.column is None if len(set(words)) == 1 else found.column.kind == "category"
    assert guess([f"{word}-{place}x" for place, word in enumerate(words)]).column is None


def test_none_is_a_step_of_a_ladder_and_elsewhere_a_gap_to_be_checked():
    assert guess(["None", "mild", "severe", "moderate", ""] * 3).column.levels == ("None", "mild", "moderate", "severe")
    found = guess(["cat", "dog", "none"] * 5)
    assert (found.column.kind, found.check) == ("category", True)
    assert "5 cells 'none' count as empty, though it may be a value" in found.why
    assert not guess(["1.5", "2", "none"] * 5).check


def test_categories_that_differ_in_case_alone_are_named():
    found = guess(["Female", "female", "male"] * 4)
    assert found.check
    assert "'Female' and 'female' are two categories" in found.why


@pytest.mark.parametrize(
    ("name", "cells", "reason"),
    [
        ("x", ["", "NA", "n/a"], "every cell is empty"),
        ("x", ["7", "7", "7"], "the same in every row: '7'"),
        ("case", [str(row) for row in range(1, 21)], "numbers the rows, 1 to 20"),
        ("visit_id", [str(7 * row) for row in range(20)], "an id: another value in every row"),
        ("surname", [f"Person{row:c}" for row in range(97, 117)], "20 different texts in 20 cells"),
        ("note", ["patient came with a cough and fever", "no complaint since the last visit"] * 9, "free text"),
    ],
)
def test_what_makes_no_input_says_why(name, cells, reason):
    found = guess(cells, name)
    assert found.column is None
    assert reason in found.why


def test_a_tick_with_gaps_says_something_and_is_kept():
    assert guess(["x", "", "", "x"]).column.kind == "category"


@pytest.mark.parametrize(("name", "is_id"), [("PatientID", True), ("mrn", True), ("site_id", True), ("paid", False), ("humid", False)])
def test_names_of_ids_are_known(name, is_id):
    assert looks_like_an_id(name) == is_id


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12).map(str.strip), max_size=30)
)
def test_any_cells_are_guessed_with_a_reason_in_one_line(cells):
    found = guess(cells)
    assert found.why
    assert "\n" not in found.why


def test_days_between_two_dates_do_not_depend_on_their_format():
    first = date(2020, 2, 28)
    for written in FORMATS:
        cells = [day.strftime(written) for day in (first, first + timedelta(days=2))]
        days = [day_of(cell, written) for cell in cells]
        assert (days[1] - days[0]).days == 2

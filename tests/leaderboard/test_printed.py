"""bench/leaderboard/printed.py: printed numbers stand beside their own row and no other, and a bad file is explained."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.leaderboard.printed import COLUMNS, Printed, cells_of, footnote, of_board, read_printed, to_csv
from bench.names import Setting
from bench.question.trial import Trial
from bench.records.facts import Facts
from bench.records.record import Record

ROOT = Path(__file__).resolve().parents[2]
HEAD = ",".join(COLUMNS)
GOOD = 'digits,WSEN,mcar(0.3),accuracy,muse,65.2,2.7,"Somebody 2025, table 1"'
TRIAL = Trial(
    method="muse", preset="paper", options={}, training={}, dataset="digits", dataset_options={}, combination="NEWS",
    protocol="mcar(0.3)", seed=0, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Writes a file of the lines given, below the head."""

    def write(*lines, head=HEAD):
        path = tmp_path / "printed.csv"
        path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        return path

    return write


def test_line_is_read_into_points_and_canonical_names(written):
    (one,) = read_printed(written('"adni[pool=2,image=volume]",VAT, mcar( 0.30 ) ,accuracy,muse,65.2,,Somebody'))
    assert one.row == (("adni[image=volume,pool=2]", "ATV", "mcar(0.3)"), "accuracy", "muse")
    assert (one.mean, math.isnan(one.sd), one.source, one.text) == (65.2, True, "Somebody", "65.2")


def test_columns_come_in_any_order_and_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path):
    cells = dict(zip(COLUMNS, ["digits", "NE", "natural", "auroc", "muse", "65.2", "2.7", "Somebody"], strict=True))
    path = tmp_path / "printed.csv"
    path.write_text("\ufeff" + ",".join(reversed(cells)) + "\n\n" + ",".join(reversed(cells.values())) + "\n,,,,,,,\n", encoding="utf-8")
    assert read_printed(path) == (Printed(Setting("digits", "EN", "natural"), "auroc", "muse", 65.2, 2.7, "Somebody"),)


def test_file_reads_back_to_the_same_numbers(written):
    read = read_printed(written(GOOD, "digits,NEWS,natural,brier,muse@as_released,0.123456789,,S", 'd,A,natural,ece,"x, y",3,0,"a ""b"""'))
    again = read_printed(written(*to_csv(read).splitlines()[1:]))
    assert [(one.row, one.mean, one.source) for one in again] == [(one.row, one.mean, one.source) for one in read]
    assert [one.text for one in again] == ["65.2 ± 2.7", "0.1", "3.0 ± 0.0"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("digits,NEWS,mcar,accuracy,muse,65.2,2.7,S", r"line 3, column protocol: mcar needs a missing rate: write mcar\(0.3\)"),
        ("digits,NEWS,mcar(3),accuracy,muse,65.2,2.7,S", r"line 3, column protocol: .*\[0, 1\)"),
        ("digits,NEWS,mcr(0.3),accuracy,muse,65.2,2.7,S", r"line 3, column protocol: unknown protocol 'mcr', did you mean 'mcar'"),
        ("digits[,NEWS,natural,accuracy,muse,65.2,2.7,S", r"line 3, column dataset: expected name"),
        ("digits,N+E,natural,accuracy,muse,65.2,2.7,S", r"line 3, column combination: the letters .* got 'N\+E'"),
        ("digits,NEN,natural,accuracy,muse,65.2,2.7,S", r"line 3, column combination: .* each once, .* got 'NEN'"),
        ("digits,NEWS,natural,acuracy,muse,65.2,2.7,S", r"line 3, column metric: unknown metric 'acuracy', did you mean 'accuracy'"),
        ("digits,NEWS,natural,accuracy,muse,65.2 %,2.7,S", r"line 3, column mean: a number of points from 0 to 200, .* got '65.2 %'"),
        ("digits,NEWS,natural,accuracy,muse,nan,2.7,S", r"line 3, column mean: .* got 'nan'"),
        ("digits,NEWS,natural,accuracy,muse,65.2,-1,S", r"line 3, column sd: .* got '-1'"),
        ("digits,NEWS,natural,accuracy,muse,,2.7,S", r"line 3, column mean: it is empty; only sd may be"),
        ("digits,NEWS,natural,accuracy,muse,65.2,2.7,", r"line 3, column source: it is empty"),
        ("digits,NEWS,natural,accuracy,muse,65.2,2.7,Somebody 2025, table 1", r"line 3: expected 8 cells, got 9; a cell with a comma"),
        ("digits,NEWS,mcar(0.30),accuracy,muse,1,1,\"Somebody 2025, table 1\"", r"line 3 gives .* of line 2 again; give each number once"),
        ('digits,NEWS,natural,accuracy,muse,65.2,2.7,"S', r"line 3 is not CSV"),
        ("diabetes,BL,natural,pearson,muse,-101,2.7,S", r"line 3, column mean: a number of points from -100 to 200, .* got '-101'"),
        ("diabetes,BL,natural,mae,muse,-0.1,2.7,S", r"line 3, column mean: a number in the unit of the target, 0 or above, got '-0.1'"),
        ("diabetes,BL,natural,mae,muse,inf,2.7,S", r"line 3, column mean: a number in the unit of the target, .* got 'inf'"),
        ("diabetes,BL,natural,rmse,muse,1,nan,S", r"line 3, column sd: a number in the unit of the target, 0 or above, got 'nan'"),
    ],
    ids=["no rate", "rate", "protocol", "dataset", "letters", "letter twice", "metric", "mean", "nan", "sd", "no mean", "no source",
         "cells", "twice", "open quote", "no correlation", "negative error", "endless error", "sd of an error"],
)  # fmt: skip
def test_bad_line_is_explained(line, told, written):
    with pytest.raises(UsageError, match=rf"printed\.csv, {told}"):
        read_printed(written(GOOD, line))


def test_other_columns_are_explained(written):
    told = r"line 1: the columns must be dataset, .*, source and, for metrics in a unit, unit, in any order, got data, mean"
    with pytest.raises(UsageError, match=told):
        read_printed(written(head="data,mean"))


def test_fractions_are_explained(written):
    with pytest.raises(UsageError, match=r"column mean: no score is above 1; write points as papers print them \(65.2\), not fractions"):
        read_printed(written("digits,NEWS,natural,accuracy,muse,0.652,0.027,S", "digits,NEWS,natural,brier,muse,40,1,S"))


def test_a_correlation_may_be_below_zero_and_is_in_points(written):
    (one,) = read_printed(written("diabetes,BL,natural,r2,muse,-12.5,2.7,S"))
    assert (one.text, one.score) == ("-12.5 ± 2.7", -0.125)


IN_UNIT = f"{HEAD},unit"
STAY = 'support2[target=log_cost],ABC,natural,mae,muse,0.3123,0.0041,"Somebody 2025, table 2",log10 dollars'


def of_stay(unit):
    trial = replace(TRIAL, dataset="support2", dataset_options={"target": "log_cost"}, combination="CBA", protocol="natural")
    return Record(trial, "done", facts=Facts(target={"kind": "value", "name": "cost", "unit": unit}))


def test_an_error_is_printed_in_the_unit_of_the_target_and_shown_as_it_is(written):
    (one,) = read_printed(written(STAY, head=IN_UNIT))
    assert (one.unit, one.text, one.score, one.spread) == ("log10 dollars", "0.312 ± 0.0041", 0.3123, 0.0041)
    assert of_board([one], [of_stay("log10 dollars")], lambda record: "mae") == (one,)
    assert "mean ± SD as others printed it, in the unit of the target, never ranked" in footnote([one])
    again = read_printed(written(*to_csv([one]).splitlines()[1:], head=to_csv([one]).splitlines()[0]))
    assert again == (one,)


@pytest.mark.parametrize("unit", ["dollars", ""])
def test_a_number_in_another_unit_than_the_board_is_refused(written, unit):
    (one,) = read_printed(written(STAY.replace("log10 dollars", unit), head=IN_UNIT))
    said = (
        f"mae of muse on support2.target=log_cost. from Somebody 2025, table 2 is in {repr(unit) if unit else 'no unit'}, and the board is"
    )
    with pytest.raises(UsageError, match=rf"{said} in 'log10 dollars'; convert mean and sd and write unit = 'log10 dollars'"):
        of_board([one], [of_stay("log10 dollars")], lambda record: "mae")


def test_a_target_without_a_unit_takes_numbers_without_one(written):
    found = read_printed(written(STAY.removesuffix(",log10 dollars")))
    assert of_board(found, [of_stay("")], lambda record: "mae") == found


def test_a_pure_number_has_no_unit(written):
    with pytest.raises(
        UsageError, match=r"line 2, column unit: accuracy is a pure number, printed in points; leave the cell empty, got '%'"
    ):
        read_printed(written(f"{GOOD},%", head=IN_UNIT))


def test_lines_with_and_without_a_unit_share_a_file(written):
    found = read_printed(written(f"{GOOD},", STAY, head=IN_UNIT))
    assert [one.text for one in found] == ["65.2 ± 2.7", "0.312 ± 0.0041"]
    assert to_csv(found).splitlines()[0] == IN_UNIT
    assert to_csv(found[:1]).splitlines()[0] == HEAD


def test_absent_file_is_explained(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv cannot be read: No such file"):
        read_printed(tmp_path / "none.csv")


def test_file_in_another_encoding_is_explained(tmp_path):
    path = tmp_path / "printed.csv"
    path.write_bytes(f"{HEAD}\n{GOOD}\n".replace("Somebody", "Müller").encode("latin-1"))
    with pytest.raises(UsageError, match=r"is not UTF-8: .*; save it as CSV in UTF-8"):
        read_printed(path)


def test_number_stands_beside_its_own_row(written):
    printed = read_printed(written(GOOD))
    assert of_board(printed, [Record(TRIAL, "done")], lambda record: "accuracy") == printed


@pytest.mark.parametrize(
    ("change", "metric"),
    [
        ({"dataset": "av-digits"}, "accuracy"),
        ({"dataset_options": {"part": 2}}, "accuracy"),
        ({"combination": "NEW"}, "accuracy"),
        ({"protocol": "mcar(0.2)"}, "accuracy"),
        ({"protocol": "train=natural;valid=natural;test=mcar(0.3)"}, "accuracy"),
        ({"preset": "as_released"}, "accuracy"),
        ({"options": {"width": 64}}, "accuracy"),
        ({"row": "muse tuned (20 suggestions)"}, "accuracy"),
        ({}, "auroc"),
    ],
    ids=["dataset", "its options", "modalities", "rate", "placement", "preset", "options", "tuned", "metric"],
)
def test_no_number_stands_beside_another_row(change, metric, written):
    record = Record(replace(TRIAL, **change), "done")
    assert of_board(read_printed(written(GOOD)), [record], lambda record: metric) == ()


def test_sources_have_numbers_where_there_are_several():
    one = Printed(Setting("d", "A", "natural"), "accuracy", "muse", 65.2, 2.7, "Table 2")
    two, other = one._replace(mean=65.0, sd=math.nan, source="Table 4"), one._replace(method="shaspec", mean=50.0)
    assert cells_of([one, other]) == {"muse": "65.2 ± 2.7", "shaspec": "50.0 ± 2.7"}
    assert footnote([one, other]).endswith("From Table 2.")
    assert cells_of([one, two, other]) == {"muse": "65.2 ± 2.7 [1], 65.0 [2]", "shaspec": "50.0 ± 2.7 [1]"}
    assert footnote([one, two, other]).endswith("From [1] Table 2; [2] Table 4.")
    assert (cells_of([]), footnote([])) == ({}, "")


def test_file_of_the_moe_retriever_paper_is_one_of_these():
    found = read_printed(ROOT / "docs" / "evidence" / "moe-retriever.csv")
    trial = replace(TRIAL, method="moe-retriever", dataset="cmu-mosi", combination="VAT")
    beside = of_board(found, [Record(trial, "done")], lambda record: "accuracy")
    assert cells_of(beside) == {"moe-retriever": "65.2 ± 2.7 [1], 65.2 ± 4.1 [2]"}
    volume = replace(trial, dataset="adni", dataset_options={"image": "volume"}, combination="IGC", protocol="natural")
    assert [one.mean for one in of_board(found, [Record(volume, "done")], lambda record: "accuracy")] == [pytest.approx(63.1, abs=0.05)]

"""docs/sources/choosing.py: the guide to choosing says what the published boards say."""

import json
import math
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.leaderboard import PairTest
from bench.leaderboard.rows import hp_of
from bench.leaderboard.significance import Family
from bench.names import Setting
from bench.stats.levels import Levels

ROOT = Path(__file__).resolve().parents[2]
PLACES = [(dataset, noise) for dataset in ("cats", "dogs") for noise in (0.1, 0.5)]


@pytest.fixture(scope="module")
def choosing(source):
    return source("choosing")


def setting_of(dataset, noise, means, metric="accuracy", unit=""):
    """A setting of a board; more than 5 points apart (in a unit: 0.05) is significant, turned so that above 0 is better."""
    sign = -1 if metric == "mae" else 1
    tests = []
    for a, b in combinations(means, 2):
        d = sign * (means[a] - means[b])
        word = "better*" if d > 0.05 else "worse" if d < -0.05 else "undecided"
        tests.append(PairTest(a, b, d, d - 0.02, d + 0.02, 1.0, 0.01, 0.01, d, word, ""))
    rows = [
        SimpleNamespace(
            label=label, method=label, mean=mean, sd=0.01, n=10, rank=1.0, role="reference" if label.startswith("mean") else "paper",
            hp=hp_of(label), flags=("collapsed 2/10",) if label == "m3care" else (),
            cost={"gflops_per_sample": len(label) / 100, "train_seconds": 1.0},
        )
        for label, mean in means.items()
    ]  # fmt: skip
    rows.append(SimpleNamespace(label="constant", mean=0.1, rank=None, role="floor", hp="default"))
    setting = Setting(dataset, "AB", f"mcar({noise})")
    return SimpleNamespace(
        dataset=dataset, combination="AB", protocol=setting.protocol, setting=setting, question=(dataset,), page=f"{dataset}.md",
        noise=noise, synthetic=False, metric=metric, unit=unit, rows=rows, by_label={row.label: row for row in rows}, ceiling=0.9,
        tests=Family("", "crossed", "test samples", 9, tuple(means), tuple(tests)),
    )  # fmt: skip


WINNERS = [
    SimpleNamespace(label="muse tuned at mcar(0.3) (20 suggestions)", suggestions=20, fixed=("width",)),
    SimpleNamespace(label="m3care tuned at mcar(0.3) (20 suggestions)", suggestions=20, fixed=("width",)),
    SimpleNamespace(label="shaspec tuned at mcar(0.3) (12 suggestions)", suggestions=12, fixed=("width",)),
]


def board_of(scores, rope=0.01, **options):
    """A board of two datasets at two rates; scores: label -> four means."""
    settings = [setting_of(*place, {label: means[i] for label, means in scores.items()}, **options) for i, place in enumerate(PLACES)]
    suite = SimpleNamespace(metric=settings[0].metric)
    return SimpleNamespace(settings=settings, levels=Levels(rope=rope), winners=WINNERS, suite=suite)


@pytest.fixture
def page(choosing, monkeypatch, tmp_path):
    """Makes the page of boards: `real`, and others by name."""
    monkeypatch.setattr(choosing, "KINDS", {"cats": "pets", "dogs": "pets"})
    monkeypatch.setattr(choosing, "training_rows", lambda folder: {"cats": 100, "dogs": 2000})
    monkeypatch.setattr(choosing, "still_rising", lambda folder: {"cats": (0.1, 20), "dogs": (0.625, 2)})

    def make(real, **others):
        boards = {"real": real, **others}
        for name in boards:
            (tmp_path / name).mkdir()
        monkeypatch.setattr(choosing, "board", lambda folder: boards[folder.name])
        return choosing.page(tmp_path)

    return make


SCORES = {"muse": (0.9, 0.9, 0.9, 0.5), "mean-mlp": (0.895, 0.8, 0.88, 0.7)}


@pytest.fixture
def text(page):
    return page(board_of(SCORES))


def lines_of(text, section):
    """The cells of the lines of the table of a section."""
    lines = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_first_screen_answers_how_many_how_tuned_which_are_real_and_how_large(text):
    screen = text.partition("## In short")[2].partition("\n## ")[0]
    assert "4 settings on 2 real tasks of 2 datasets with 100 to 2,000 training rows, at missing rates 0.1 and 0.5" in screen
    assert "10 seeds; 1 published method, 1 simple one. Scores: accuracy." in screen
    assert "**How tuned?** Not at all" in screen
    assert "`muse` in 3, `mean-mlp` in 2. In 2 of them some simple method is." in screen
    assert (
        "Of 4 pairs of a published and a simple method in one setting, the published one is significantly better in 1 and worse" in screen
    )
    assert "a published method leads and every simple one is significantly worse (cats at mcar(0.5)); in 1 a simple one leads" in screen
    assert "+1.3 points in the median setting, from -20.0 (dogs at mcar(0.5)) to +10.0 (cats at mcar(0.5))" in screen


def test_noisy_method_far_below_the_best_is_no_choice_though_not_significantly_worse(text):
    row = next(cells for cells in lines_of(text, "By data and missing rate") if "dogs" in cells[0] and cells[2] == "mcar(0.1)")
    assert row[3:5] == ["accuracy", "`muse`"]  # mean-mlp lies two points below, undecided


def test_cheapest_of_the_good_is_named(text):
    row = next(cells for cells in lines_of(text, "By data and missing rate") if "cats" in cells[0] and cells[2] == "mcar(0.1)")
    assert row[4:6] == ["`muse`, `mean-mlp`", "`muse`"]


def test_groups_of_data_count_their_own_settings(text):
    sizes = lines_of(text, "By number of training rows")
    assert [cells[:4] for cells in sizes] == [
        ["below 500", "cats", "`muse` 2/2, `mean-mlp` 1/2", "1/2"], ["2,000 and more", "dogs", "`mean-mlp` 1/2, `muse` 1/2", "1/2"],
    ]  # fmt: skip
    assert [cells[0] for cells in lines_of(text, "By kind of data")] == ["pets"]


TUNED = {
    "muse": (0.8, 0.8, 0.8, 0.8), "muse tuned at mcar(0.3) (20 suggestions)": (0.9, 0.9, 0.9, 0.79),
    "shaspec": (0.85, 0.85, 0.85, 0.85), "shaspec tuned at mcar(0.3) (20 suggestions)": (0.86, 0.86, 0.86, 0.86),
    "m3care": (0.5, 0.5, 0.5, 0.5), "m3care tuned at mcar(0.3) (20 suggestions)": (0.54, 0.54, 0.54, 0.5), "mean-mlp": (0.7, 0.7, 0.7, 0.7),
}  # fmt: skip


def test_tuned_row_stands_for_its_method_and_others_for_themselves(page):
    text = page(board_of(TUNED))
    assert {cells[0] for cells in lines_of(text, "By method and cost")} == {"`muse`", "`shaspec`", "`m3care`", "`mean-mlp`"}
    assert [cells[6] for cells in lines_of(text, "By data and missing rate")] == ["`muse` 90.0"] * 3 + ["`shaspec` 86.0"]
    assert "3 methods, 20 suggestions a method and dataset (of `shaspec` all there are) at one missing rate" in text
    assert "Tuning left `width` as they were" in text


def test_what_tuning_gained_is_told_with_what_is_beyond_chance_and_whom_it_moved(page):
    text = page(board_of(TUNED))
    assert lines_of(text, "What tuning changes") == [
        ["`muse`", "+10.0 [-1.0, +10.0]", "3/4", "0/4", "2.0 → 1.2"],
        ["`m3care`", "+4.0 [+0.0, +4.0]", "0/4", "0/4", "3.0 → 3.0"],
        ["`shaspec`", "+1.0 [+1.0, +1.0]", "0/4", "0/4", "1.0 → 1.8"],
    ]
    assert "significantly better in 3, worse in 0. The order of the methods in a setting before and after: Kendall's tau 0.50" in text


def test_collapse_is_told_beside_the_method(page):
    (row,) = (cells for cells in lines_of(page(board_of({**SCORES, "m3care": (0.5,) * 4})), "By method and cost") if cells[0] == "`m3care`")
    assert row[5] == "4/4"


def test_lower_error_is_better_on_the_board_of_values(page):
    scores = {
        "muse": (40.0, 41.0, 42.0, 43.0),
        "mean-mlp": (41.0, 40.99, 50.0, 43.01),
        "i2m2": (math.nan,) * 4,
    }  # I2M2 has no form for a number
    values = board_of(scores, metric="mae", unit="units")
    rows = lines_of(page(board_of(SCORES), value=values), "The board `value`")
    assert [cells[2] for cells in rows] == ["`muse`", "`mean-mlp`, `muse`", "`muse`", "`muse`, `mean-mlp`"]
    assert rows[0][1:2] + rows[0][3:] == ["mae", "`muse` 40", "`mean-mlp` 41"]


def test_robustness_is_a_mean_over_settings_and_marks_are_counted_where_seeds_allow_them(page):
    def row(label, area, sure, raw):
        more = SimpleNamespace(sure=sure, pairs=12, raw=raw)
        return SimpleNamespace(label=label, area=area, noise_drop=0.1, drop=0.2, more_is_worse=more)

    settings = [
        SimpleNamespace(dataset="cats", surface=SimpleNamespace(rows=[row("muse", 0.8, 3, 0.5), row("constant", 0.3, 0, 0.0)])),
        SimpleNamespace(dataset="dogs", surface=SimpleNamespace(rows=[row("muse", 0.6, None, 0.1), row("mean-mlp", 0.9, None, 0.0)])),
    ]
    text = page(board_of(SCORES), robustness=SimpleNamespace(settings=settings))
    assert lines_of(text, "Trained at one rate, tested at all") == [
        ["`mean-mlp`", "90.0", "10.0", "20.0", "n/a", "0 %"], ["`muse`", "70.0", "10.0", "20.0", "3 of 12", "30 %"],
    ]  # fmt: skip


def test_data_on_which_training_often_ended_early_are_named_with_their_epochs(text, choosing):
    assert "may gain: 62 % on dogs (most of 2 epochs); at most 10 % elsewhere." in text
    assert choosing.longer({"cats": (0.1, 20), "dogs": (0.05, 8)}).endswith("may gain: at most 10 % on every dataset.\n")
    assert choosing.longer({"cats": (0.4, 20), "dogs": (0.5, 8)}).endswith(
        "may gain: 50 % on dogs (most of 8 epochs) and 40 % on cats (most of 20 epochs).\n"
    )
    assert not choosing.longer({})


def test_best_epochs_are_those_of_the_trials_of_a_board(source):
    found = source("standings").still_rising(ROOT / "leaderboards" / "quick")
    epochs = {name: length for name, (_, length) in found.items()}
    assert set(found) == {"digits", "breast-cancer"}
    assert all(0 <= share <= 1 for share, _ in found.values())
    own = [
        (record["facts"]["best_epoch"], record["trial"]["training"]["epochs"])
        for record in map(json.loads, (ROOT / "leaderboards" / "quick" / "records.jsonl").read_text().splitlines())
        if "trial" in record
        and record["trial"]["dataset"] == "digits"
        and record["facts"].get("best_epoch") is not None
        and record["trial"]["training"].get("epochs")
    ]
    assert found["digits"][0] == pytest.approx(sum(best > 0.9 * length for best, length in own) / len(own))
    assert epochs["digits"] in {length for _, length in own}


def test_margin_of_the_board_decides_what_is_as_good(page):
    wide = page(board_of(SCORES, rope=0.03))
    assert "`mean-mlp` in 3, `muse` in 3." in wide
    assert "at most 3 points below it" in wide


def test_every_dataset_of_the_real_board_has_a_kind(choosing):
    found = choosing.board(choosing.BOARDS / "real")
    assert {setting.question[0] for setting in found.settings} <= set(choosing.KINDS)

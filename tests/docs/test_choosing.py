"""docs/sources/choosing.py: the guide to choosing says what the published boards say."""

import json

import pandas as pd
import pytest


@pytest.fixture(scope="module")
def page(source):
    return source("choosing").page


def board(folder, scores, name="real", rope=0.01):
    """A board of two datasets at two rates; scores: method -> four means; a score more than 5 points below the best is worse."""
    rows = []
    for i, (dataset, noise) in enumerate((dataset, noise) for dataset in ("cats", "dogs") for noise in (0.1, 0.5)):
        means = {method: values[i] for method, values in scores.items()}
        order = sorted(means, key=lambda method: -means[method])
        rows += [
            {
                "dataset": dataset, "protocol": f"mcar({noise})", "noise": noise, "synthetic": False, "method": method, "preset": "default",
                "role": "reference" if method.startswith("mean") else "paper", "n": 10, "rank": order.index(method) + 1.0, "mean": mean,
                "verdict": "worse" if mean < max(means.values()) - 0.05 else "undecided", "gflops_per_sample": len(method) / 100,
                "train_seconds": 1.0, "flags": "",
            }
            for method, mean in means.items()
        ]  # fmt: skip
    (folder / name).mkdir()
    pd.DataFrame(rows).to_csv(folder / name / "table.csv", index=False)
    (folder / name / "significance.json").write_text(json.dumps({"alpha": 0.05, "rope": rope}), encoding="utf-8")
    return folder


@pytest.fixture
def text(tmp_path, page):
    return page(board(tmp_path, {"muse": (0.9, 0.9, 0.9, 0.5), "mean-mlp": (0.895, 0.8, 0.88, 0.7)}))


def test_summary_counts_settings(text):
    assert "4 settings on 2 real datasets, 10 seeds each" in text
    assert "As good as the best most often: `muse` in 3, `mean-mlp` in 2." in text
    assert "In 2 of 4 settings some simple method is as good as the best." in text
    assert "In 1 of 4 settings a published method leads and every simple one is significantly worse: cats at mcar(0.5)." in text


def test_noisy_method_far_below_the_best_is_no_choice_though_not_significantly_worse(text):
    row = next(line for line in text.splitlines() if "dogs" in line and "mcar(0.1)" in line)
    assert "| `muse` " in row  # mean-mlp lies two points below, undecided
    assert "`muse`, `mean-mlp`" not in row


def test_cheapest_of_the_good_is_named(text):
    row = next(line for line in text.splitlines() if "cats" in line and "mcar(0.1)" in line)
    assert [cell.strip() for cell in row.split("|")[3:5]] == ["`muse`, `mean-mlp`", "`muse`"]


def test_tuned_board_shows_what_tuning_gained_and_whom_it_moved(tmp_path, page):
    folder = board(tmp_path, {"muse": (0.9, 0.9, 0.9, 0.5), "mean-mlp": (0.895, 0.8, 0.88, 0.7)})
    rows = [("muse", "default", 0.8), ("muse[width=64]", "tuned", 0.9), ("shaspec", "default", 0.85), ("shaspec[width=64]", "tuned", 0.86)]
    (folder / "tuned").mkdir()
    table = pd.DataFrame(rows, columns=["method", "hp", "mean"]).assign(dataset="cats", protocol="mcar(0.3)")
    table.to_csv(folder / "tuned" / "table.csv", index=False)
    lines = [line for line in page(folder).partition("## What tuning changes")[2].splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells == [["`muse`", "80.0 (2)", "90.0 (1)", "+10.0"], ["`shaspec`", "85.0 (1)", "86.0 (2)", "+1.0"]]


def test_margin_of_the_board_decides_what_is_as_good(tmp_path, page):
    wide = page(board(tmp_path, {"muse": (0.9, 0.9, 0.9, 0.5), "mean-mlp": (0.895, 0.8, 0.88, 0.7)}, rope=0.03))
    assert "As good as the best most often: `mean-mlp` in 3, `muse` in 3." in wide
    assert "at most 3 points below it" in wide

"""bench/studies/results.py: curves follow their definition, bands say what they are."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import UsageError
from bench.question.trial import Trial
from bench.studies.curves_plot import figure_of, plot
from bench.studies.results import Result, Suggestion, Track, curve, table

TRIAL = Trial(
    method="tiny", preset="default", options={}, training={}, dataset="data", dataset_options={}, combination="AB", protocol="natural",
    seed=1, selection="accuracy", vary="training", fixed_seed=0, fingerprint="f", version="v",
)  # fmt: skip


def suggestion(number, score, gflops=1.0, seconds=2.0, status=None):
    status = status or ("pruned" if score is None else "done")
    return Suggestion(number, {"x": number or 0}, status, score, gflops, seconds, seconds / 2)


def track_of(scores, default=0.5, seed=0, **costs):
    suggestions = tuple(suggestion(number, score, **costs) for number, score in enumerate(scores))
    return Track(seed, None if default is None else suggestion(None, default), suggestions, True, {})


def result_of(*tracks, sampler="random", trial=TRIAL):
    return Result(trial, "study", sampler, "median", 100, tracks)


def test_one_path_is_the_running_best():
    line = curve(result_of(track_of([0.4, 0.7, None, 0.6, 0.9]), sampler="tpe"))
    assert line.best.tolist() == [0.5, 0.5, 0.7, 0.7, 0.7, 0.9]
    assert np.isnan(line.low).all()
    assert line.band.startswith("none: one path")


def test_bootstrap_follows_the_exact_distribution_of_the_best():
    """The best of k draws from n scores is at most the i-th smallest with chance (i/n)^k."""
    scores = np.random.default_rng(0).permutation(np.arange(1, 21) / 20).tolist()
    line = curve(result_of(track_of(scores, default=None)))
    chances = np.arange(1, 21) / 20
    for k in (1, 3, 10, 20):
        for drawn, share in ((line.low, 0.05), (line.best, 0.5), (line.high, 0.95)):
            exact = chances[np.searchsorted(chances**k, share)]
            assert drawn[k] == pytest.approx(exact, abs=0.051), (k, share)
    assert math.isnan(line.best[0])


def test_bands_hold_the_curve_and_nothing_falls():
    line = curve(result_of(track_of([0.4, 0.7, None, 0.6, 0.9])), "seconds")
    assert (line.low <= line.best).all()
    assert (line.best <= line.high).all()
    assert all((np.diff(part) >= 0).all() for part in (line.low, line.best, line.high))
    assert line.budget[-1] == pytest.approx(10.0)


def test_seeds_give_their_lowest_and_highest():
    line = curve(result_of(track_of([0.6, 0.8]), track_of([0.7, 0.7], default=0.4, seed=1), track_of([0.1, 0.9], seed=2)))
    assert line.best.tolist() == [0.5, 0.6, 0.8]
    assert line.low.tolist() == [0.4, 0.5, 0.7]
    assert line.high.tolist() == [0.5, 0.7, 0.9]
    assert line.band == "lowest and highest of 3 seeds"


def test_metric_that_falls_is_shown_falling():
    line = curve(result_of(track_of([-0.4, -0.2], default=-0.5), sampler="tpe", trial=replace(TRIAL, selection="brier")))
    assert line.best.tolist() == [0.5, 0.4, 0.2]


def test_costs_place_the_steps():
    line = curve(result_of(track_of([0.6, 0.7], gflops=3.0), sampler="tpe"), "gflops")
    assert line.at(2.9)[0] == 0.5
    assert line.at(3.0)[0] == 0.6
    assert line.at(6.0)[0] == 0.7


def test_table_holds_curve_counts_and_costs():
    text = table([result_of(track_of([0.6, 0.7, None, 0.65]))])
    assert "50.0" in text
    assert "70.0" in text
    assert "3 done, 1 pruned, 0 failed" in text
    assert "1: " in text
    assert "[" in text


def test_figure_gives_every_method_its_panels_and_every_axis_its_label():
    pytest.importorskip("matplotlib")
    other = replace(TRIAL, method="other")
    elsewhere = replace(TRIAL, protocol="mcar(0.5)")
    found = [result_of(track_of([0.6, 0.7])), result_of(track_of([0.4, None], gflops=None), trial=other)]
    figure = figure_of([*found, result_of(track_of([0.6]), sampler="tpe", trial=elsewhere)])
    first, second = figure.subfigs
    assert [first.get_suptitle(), second.get_suptitle()] == ["data AB natural", "data AB mcar(0.5)"]
    assert [panel.get_title() for panel in first.axes[:2]] == ["tiny", "other"]
    assert [len(block.axes) for block in (first, second)] == [6, 3]
    assert [panel.get_xlabel() for panel in first.axes[:4]] == ["suggestions", "suggestions", "seconds", "seconds"]  # one fits itself
    assert second.axes[1].get_xlabel() == "training GFLOPs"
    assert first.axes[0].get_ylabel() == "best validation accuracy x 100"
    assert {text.get_text() for text in second.legends[0].get_texts()} == {
        "best found, median",
        "default configuration",
        "the other methods",
    }
    low, high = first.axes[0].get_ylim()
    assert low < 50 < 70 < high


def test_importances_are_drawn_largest_first():
    pytest.importorskip("matplotlib")
    shares = {"width": 0.7, "learning_rate": 0.2, "dropout": 0.06, "layers": 0.03, "k": 0.01}
    figure = figure_of([result_of(replace(track_of([0.6, 0.7]), importances=shares))])
    bars = figure.subfigs[0].axes[2]
    assert [text.get_text() for text in bars.texts][::-1] == ["width  70", "learning_rate  20", "dropout  6", "layers  3"]
    assert [bar.get_width() for bar in bars.patches][::-1] == pytest.approx([70, 20, 6, 3])


def test_plot_that_cannot_be_written_is_explained(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"cannot be written: .*the same command draws again"):
        plot([result_of(track_of([0.6]))], tmp_path / "gone" / "curves.png")

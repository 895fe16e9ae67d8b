"""bench/leaderboard/plots.py: pictures carry the hash of their numbers, and the same numbers give the same bytes."""

import re

import numpy as np
import pytest

from bench.leaderboard import drawers, plots
from bench.leaderboard.drawers import DRAWERS, good_range

pytest.importorskip("matplotlib")

LABELS = ["moe-retriever@as_released", "mmformer", "shaspec", "mean-mlp", "constant"]
DATA = {
    "ranks": {"kind": "ranks", "labels": LABELS, "ranks": [1.5, 2.0, 2.5, 4.2, 4.8], "critical_difference": 1.2, "groups": [[0, 2], [3, 4]],
              "settings": 12},
    "cost": {"kind": "cost", "metric": "accuracy", "labels": LABELS, "roles": ["paper", "paper", "paper", "reference", "floor"],
             "scores": [90.0, 89.9, 80.0, 85.0, 10.0], "gflops": [1e-3, 1.05e-3, 1e-4, None, 0.0],
             "front": ["front", "", "front", "", "front"], "settings": 12},
    "noise": {"kind": "noise", "metric": "accuracy", "title": "digits (NEWS), mcar", "noise": [0.1, 0.3, 0.5], "floor": [10.0] * 3,
              "ceiling": [100.0] * 3, "higher_is_better": True, "panels": [0, 1, 2, 3, 4], "labels": LABELS,
              "scores": [[90.0, 80.0, None]] * 5, "bands": [[[85.0, 95.0]] * 3] * 5,
              "areas": [80.0, None, 70.0, 60.0, 50.0]},
    "intervals": {"kind": "intervals", "labels": LABELS[:4], "roles": ["paper", "paper", "paper", "reference"],
                  "ranks": [1.2, 2.0, 2.8, 4.0],
                  "low": [1, 1, 3, 4], "high": [2, 2, 3, 4],
                  "what": "real", "datasets": 1, "settings": 6, "seeds": 1, "pairs": 6},
    "forest": {"kind": "forest", "metric": "accuracy", "higher_is_better": True, "title": "digits (NEWS), mcar(0.3)", "labels": LABELS,
               "roles": ["paper", "paper", "outside", "reference", "paper"], "n": [3, 3, 3, 2, 0],
               "means": [90.0, 89.0, 60.0, 85.5, None], "intervals": [[88.0, 92.0], [87.0, 91.0], [55.0, 65.0], [None, None], [None, None]],
               "floor": 10.0, "ceiling": 100.0, "ceiling_source": "a perfect score"},
    "surface": {"kind": "surface", "metric": "accuracy", "title": "digits", "rules": ["mcar(0)", "fixed(N)"], "labels": LABELS,
                "scores": [[90.0, None]] * 5},
    "more": {"kind": "more", "metric": "balanced_accuracy", "title": "digits (NEWS), mcar(0.3)", "labels": LABELS,
             "pairs": [f"NEW to NEWS{number}" for number in range(50)], "differences": [[0.1, None] * 25] * 5,
             "sure": [[True] + [False] * 49] * 5},
}  # fmt: skip


def texts_of(figure):
    """Every text that is drawn, but powers of ten, with its box in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and "$" not in text.get_text()]
    beyond = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in labels_beyond(axis)}
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown if text not in beyond]


def labels_beyond(axis):
    """Labels of ticks outside what an axis shows, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-6 * (high - low)
    ticks = [tick for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()) if not low - room <= tick.get_loc() <= high + room]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


LONG = [f"a-method-of-mine[{'learning_rate=0.0001,width=128,' * 3}seed={number}]" for number in range(5)]


@pytest.mark.parametrize("names", [LABELS, LONG], ids=["usual names", "long names"])
@pytest.mark.parametrize("kind", DATA)
def test_texts_stay_inside_and_apart(kind, names):
    data = {**DATA[kind], "labels": names[: len(DATA[kind]["labels"])]}
    with plots.style():
        figure = DRAWERS[kind](data)
        found = texts_of(figure)
    width, height = figure.get_size_inches() * figure.dpi
    assert figure.get_size_inches()[0] <= 10.5, "a page shows it smaller than its letters can be read"
    for text, box in found:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    if kind != "noise":  # tick labels of inner panels are drawn empty or hidden
        for i, (text, box) in enumerate(found):
            for other_text, other in found[i + 1 :]:
                apart = box.x1 <= other.x0 + 1 or other.x1 <= box.x0 + 1 or box.y1 <= other.y0 + 1 or other.y1 <= box.y0 + 1
                assert apart or kind == "surface", (text, other_text)


@pytest.mark.parametrize("methods", [1, 5])
@pytest.mark.parametrize(("kind", "columns"), [("surface", 2), ("surface", 31), ("more", 2), ("more", 50)])
def test_heat_maps_fit_a_page_and_say_what_their_colours_mean(kind, columns, methods):
    cells = {"scores": [np.linspace(60.3, 70.7, columns)] * methods, "rules": [f"fixed(NEWS{number})" for number in range(columns)]}
    pairs = {"differences": [[1.5] * columns] * methods, "sure": [[True] * columns] * methods, "pairs": ["NEW to NEWS"] * columns}
    changes = {"metric": "balanced_accuracy", "labels": LABELS[:methods], **(cells if kind == "surface" else pairs)}
    with plots.style():
        figure = DRAWERS[kind]({**DATA[kind], **changes})
        found = texts_of(figure)
    (width, height), words = figure.get_size_inches() * figure.dpi, [text for text, _ in found]
    assert figure.get_size_inches()[0] <= 10.5
    for text, box in found:
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    assert any("balanced_" in text for text in words)
    starts, ends = ("60.3", "70.7") if kind == "surface" else ("*", "*")
    assert words.count(starts) == words.count(ends) == (methods if kind == "surface" else columns * methods)  # no panel lost a cell


@pytest.mark.parametrize("kind", ["ranks", "surface", "forest", "noise", "more"])
def test_same_numbers_give_the_same_bytes(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "data_of", lambda board: {f"{kind}.svg": DATA[kind]})
    first, second = (plots.draw(None, folder)[0] for folder in (tmp_path, tmp_path) if folder.mkdir(exist_ok=True) is None)
    once = first.read_bytes()
    plots.draw(None, tmp_path)
    assert second.read_bytes() == once
    text = once.decode()
    assert plots.hash_in(first) == plots.hash_of(DATA[kind])
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)  # no date


def test_hash_changes_with_a_number():
    changed = {**DATA["ranks"], "ranks": [1.5, 2.0, 2.5, 4.2, 4.9]}
    assert plots.hash_of(changed) != plots.hash_of(DATA["ranks"])


def test_picture_without_a_hash_is_stale(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    assert plots.hash_in(tmp_path / "a.svg") is None


def test_numbers_stay_beside_points_that_lie_together():
    """Two points on nearly one place: their numbers do not cover each other."""
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    drawers._place_numbers(figure, axes, [("1", 0.5, 0.5), ("2", 0.501, 0.501), ("3", 0.499, 0.5)])
    boxes = [box for text, box in texts_of(figure) if text in "123"]
    centres = np.array([((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes])
    apart = np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(3, 1)]
    assert (apart > 8).all()


def words_of(kind, **changes):
    with plots.style():
        return [text for text, _ in texts_of(DRAWERS[kind]({**DATA[kind], **changes}))]


def test_axis_spans_the_good_ones_and_not_what_lies_far_below():
    means = np.array([90.0, 89.0, 88.0, 86.0, 20.0, np.nan])
    start, end = good_range(means, means - 2, means + 2, higher_is_better=True)
    assert 83 < start <= 84
    assert 92 <= end < 93
    start, end = good_range(-means, -means - 2, -means + 2, higher_is_better=False)
    assert -93 < start <= -92
    assert good_range(np.full(3, np.nan), np.full(3, np.nan), np.full(3, np.nan), True) == (0.0, 100.0)


def test_forest_marks_floor_and_ceiling_as_lines_where_near_and_as_arrows_where_far():
    far = words_of("forest")
    assert "floor 10.0" in far
    assert "floor 10.0 (off the axis), ceiling 100.0 (off the axis)" in far
    near = words_of("forest", floor=86.0, ceiling=None)
    assert "floor 86.0 (dotted)" in near
    assert not any("ceiling" in text for text in near)


def test_forest_says_numbers_of_methods_off_the_axis_and_of_those_without_a_score():
    texts = words_of("forest")
    assert "60.0 [55.0, 65.0]" in texts
    assert "85.5" in texts
    assert "no score" in texts
    assert any(text.startswith("mean over 2 to 3 seeds") for text in texts)
    assert any(text.startswith("mean over 1 seed with") for text in words_of("forest", n=[1] * 5))


def test_noise_panels_reach_down_to_their_own_curve_alone():
    scores = [[90.0, 88.0, 86.0]] * 4 + [[30.0, 25.0, 20.0]]
    data = {**DATA["noise"], "scores": scores, "bands": [[[s - 1, s + 1] for s in own] for own in scores], "areas": [88.0] * 4 + [25.0]}
    with plots.style():
        figure = DRAWERS["noise"](data)
    spans = [axes.get_ylim() for axes in figure.axes if axes.axison]
    assert len(set(spans[:4])) == 1
    assert spans[0][0] > 80
    assert spans[4][0] < 20
    assert sum(text.strip() == "floor 10" for text, _ in texts_of(figure)) == 5


def test_picture_says_one_and_several_as_such():
    assert "1 real dataset, 6 settings, 1 seed; Holm over 6 pairs" in words_of("intervals")
    assert any("mean over 1 setting" in text for text in words_of("cost", settings=1))

"""bench/leaderboard/plots.py: pictures carry the hash of their numbers, and the same numbers give the same bytes."""

import re

import numpy as np
import pytest

from bench.leaderboard import plots

pytest.importorskip("matplotlib")

LABELS = ["moe-retriever@as_released", "mmformer", "shaspec", "mean-mlp", "constant"]
DATA = {
    "ranks": {"kind": "ranks", "labels": LABELS, "ranks": [1.5, 2.0, 2.5, 4.2, 4.8], "critical_difference": 1.2, "groups": [[0, 2], [3, 4]],
              "settings": 12},
    "cost": {"kind": "cost", "metric": "accuracy", "labels": LABELS, "roles": ["paper", "paper", "paper", "reference", "floor"],
             "scores": [90.0, 89.9, 80.0, 85.0, 10.0], "gflops": [1e-3, 1.05e-3, 1e-4, None, 0.0],
             "front": ["front", "", "front", "", "front"], "settings": 12},
    "noise": {"kind": "noise", "metric": "accuracy", "title": "digits (NEWS), mcar", "noise": [0.1, 0.3, 0.5], "floor": [10.0] * 3,
              "ceiling": [None] * 3, "labels": LABELS, "scores": [[90.0, 80.0, None]] * 5, "bands": [[[85.0, 95.0]] * 3] * 5,
              "areas": [80.0, None, 70.0, 60.0, 50.0]},
    "surface": {"kind": "surface", "metric": "accuracy", "title": "digits", "rules": ["mcar(0)", "fixed(N)"], "labels": LABELS,
                "scores": [[90.0, None]] * 5},
}  # fmt: skip


def texts_of(figure):
    """Every text but powers of ten (some lie on ticks outside the picture and are not drawn), with its box in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and "$" not in text.get_text()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


@pytest.mark.parametrize("kind", DATA)
def test_texts_stay_inside_and_apart(kind):
    with plots.style():
        figure = plots.DRAWERS[kind](DATA[kind])
        found = texts_of(figure)
    width, height = figure.get_size_inches() * figure.dpi
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


@pytest.mark.parametrize("kind", ["ranks", "surface"])
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
    plots._place_numbers(figure, axes, [("1", 0.5, 0.5), ("2", 0.501, 0.501), ("3", 0.499, 0.5)])
    boxes = [box for text, box in texts_of(figure) if text in "123"]
    centres = np.array([((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2) for box in boxes])
    apart = np.linalg.norm(centres[:, None] - centres, axis=2)[np.triu_indices(3, 1)]
    assert (apart > 8).all()

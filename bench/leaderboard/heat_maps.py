"""Pictures of a cell a method and column, and what all pictures share; `drawers` draws the others. None is a number that is not known."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np

from bench.stats.metrics import METRICS
from bench.text import points, showing

BLACK = "#202020"
LONGEST = 40  # letters of a name in one line
WIDEST = 10.4  # inches: a page shows a wider picture smaller than its letters can be read
Data = dict[str, Any]


def in_unit(data: Data) -> bool:
    """Whether the scores of a picture are in the unit of a target; those of several metrics are where it has one."""
    metric = METRICS.get(data["metric"])
    return metric.in_unit if metric else "unit" in data


def called(data: Data) -> str:
    """The metric of a picture as the axis of its scores names it: in hundredths, or with the target whose unit it is in."""
    metric, unit = data["metric"], data.get("unit", "")
    return f"{metric} x 100" if not in_unit(data) else f"{metric} of {unit}" if unit else metric


def score_text(data: Data, value: float) -> str:
    """A number of a picture, which stands in its data as pages show it, with their digits."""
    if not in_unit(data):
        return f"{value:.1f}"
    with showing(in_unit=True):
        return points(value)


def least_gap(data: Data, centres: np.ndarray) -> float:
    """What an axis always shows: one point, or in the unit of a target a hundredth of the scores. Shapes: centres (K,)."""
    known = centres[np.isfinite(centres)]
    size = float(np.abs(known).max()) if len(known) else 0.0
    return size / 100 or 1.0 if in_unit(data) else 1.0


def short(label: str, most: int = LONGEST) -> str:
    """A name without its middle, where a picture says it beside a number or a curve and a table has it in full."""
    return label if len(label) <= most else f"{label[: most // 2]}…{label[1 - most // 2 :]}"


def _panels(data: Data, values: np.ndarray, ticks: list[str], said: str, bar: str, cell: float, above: float, **look: Any):
    """Cells of all methods, a panel below the other where one would be wider than a page, under one bar of colours.

    Shapes: values (R, C), ticks (C,). Inches: cell is a column's width, above what a panel needs beside its rows. Returns the figure and
    each panel's axes with the number of its first column. `look` goes to `imshow`.
    """
    from matplotlib.figure import Figure

    rows, columns = values.shape
    labels, title = [short(label) for label in data["labels"]], "\n".join(textwrap.wrap(f"{data['title']}: {said}", 90))
    names = 0.075 * max(map(len, labels)) + 0.2
    count = math.ceil(columns / max(1, int((WIDEST - names - 1.5) / cell)))
    each = math.ceil(columns / count)
    high = above + 0.28 * rows + (count - 1) * (above - 0.4 + 0.28 * rows)
    bar = "\n".join(textwrap.wrap(bar, max(8, int((high - 1.1) / 0.085))))  # as many letters in a line as the bar is high
    beside = 0.95 + 0.15 * len(bar.splitlines())
    wide = max(names + cell * each + beside, 0.4 + 0.072 * max(map(len, title.splitlines())))
    figure = Figure(figsize=(wide, high), layout="constrained")
    panels = [(axes, number * each) for number, axes in enumerate(figure.subplots(count, squeeze=False)[:, 0])]
    for axes, first in panels:
        here = slice(first, first + each)
        image = axes.imshow(values[:, here], aspect="auto", **look)
        axes.set_xlim(-0.5, each - 0.5)  # cells of a last panel with fewer columns are as wide as the others
        axes.set_xticks(range(len(ticks[here])), ticks[here])
        axes.set_yticks(range(rows), labels)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(image, ax=[axes for axes, _ in panels], label=bar, fraction=0.05)
    return figure, panels


def draw_surface(data: Data):
    """A cell a method and rule, with its number."""
    scores = np.array(data["scores"], dtype=float)
    known = scores[np.isfinite(scores)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    cell = 0.7 if in_unit(data) else 0.5  # of its number
    figure, panels = _panels(
        data, scores, data["rules"], "one trained model under each test rule", called(data), cell, 1.6,
        cmap="cividis", vmin=least, vmax=most,
    )  # fmt: skip
    for axes, first in panels:
        for i, j in np.ndindex(*axes.images[0].get_array().shape):
            value = scores[i, first + j]
            text = "n/a" if math.isnan(value) else score_text(data, value)
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if value < (least + most) / 2 else BLACK)
        for tick in axes.get_xticklabels():
            tick.set(rotation=45, ha="right", rotation_mode="anchor")
    return figure


def draw_more(data: Data):
    """A cell a method and nested pair: what the larger combination adds. A star where it surely takes away."""
    added = np.array(data["differences"], dtype=float)
    most = (float(np.nanmax(np.abs(added))) if np.isfinite(added).any() else 0.0) or 1e-3
    figure, panels = _panels(
        data, added, data["pairs"], "what more modalities add", f"{called(data)}, higher is better", 0.3, 1.9,
        cmap="PuOr", vmin=-most, vmax=most,
    )  # fmt: skip
    for axes, first in panels:
        for i, j in zip(*np.nonzero(np.array(data["sure"])[:, first : first + axes.images[0].get_array().shape[1]]), strict=True):
            pale = abs(added[i, first + j]) < most / 2
            axes.text(j, i, "*", ha="center", va="center", fontsize=9, color=BLACK if pale else "white")
        axes.tick_params(axis="x", labelrotation=90, labelsize=7)
    return figure

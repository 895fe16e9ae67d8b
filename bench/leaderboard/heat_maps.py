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
Data = dict[str, Any]


def called(data: Data) -> str:
    """The metric of a picture as the axis of its scores names it: in hundredths, or with the target whose unit it is in."""
    metric, unit = data["metric"], data.get("unit", "")
    return f"{metric} x 100" if not METRICS[metric].in_unit else f"{metric} of {unit}" if unit else metric


def score_text(data: Data, value: float) -> str:
    """A number of a picture, which stands in its data as pages show it, with their digits."""
    if not METRICS[data["metric"]].in_unit:
        return f"{value:.1f}"
    with showing(in_unit=True):
        return points(value)


def least_gap(data: Data, centres: np.ndarray) -> float:
    """What an axis always shows: one point, or in the unit of a target a hundredth of the scores. Shapes: centres (K,)."""
    known = centres[np.isfinite(centres)]
    size = float(np.abs(known).max()) if len(known) else 0.0
    return size / 100 or 1.0 if METRICS[data["metric"]].in_unit else 1.0


def short(label: str, most: int = LONGEST) -> str:
    """A name without its middle, where a picture says it beside a number or a curve and a table has it in full."""
    return label if len(label) <= most else f"{label[: most // 2]}…{label[1 - most // 2 :]}"


def draw_surface(data: Data):
    """A cell a method and rule, with its number."""
    from matplotlib.figure import Figure

    scores = np.array(data["scores"], dtype=float)
    rows, columns = scores.shape
    cell = 0.7 if METRICS[data["metric"]].in_unit else 0.5  # of its number
    title = "\n".join(textwrap.wrap(f"{data['title']}: one trained model under each test rule", 90))
    labels = [short(label) for label in data["labels"]]
    names = 0.075 * max(map(len, labels)) + 0.2  # inches
    wide = max(names + cell * columns + 1.1, 0.4 + 0.072 * max(map(len, title.splitlines())))
    figure = Figure(figsize=(wide, 1.6 + 0.28 * rows), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(scores, cmap="cividis", aspect="auto")
    middle = (np.nanmin(scores) + np.nanmax(scores)) / 2 if np.isfinite(scores).any() else 0.0
    for i in range(rows):
        for j in range(columns):
            value = scores[i, j]
            text = "n/a" if math.isnan(value) else score_text(data, value)
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if value < middle else BLACK)
    axes.set_xticks(range(columns), data["rules"], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), labels)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(image, ax=axes, label=called(data), fraction=0.05)
    return figure


def draw_more(data: Data):
    """A cell a method and nested pair: what the larger combination adds. A star where it surely takes away."""
    from matplotlib.figure import Figure

    added = np.array(data["differences"], dtype=float)
    rows, columns = added.shape
    labels, title = [short(label) for label in data["labels"]], "\n".join(textwrap.wrap(f"{data['title']}: what more modalities add", 90))
    wide = max(0.075 * max(map(len, labels)) + 0.2 + 0.3 * columns + 1.1, 0.4 + 0.072 * max(map(len, title.splitlines())))
    figure = Figure(figsize=(wide, 1.9 + 0.28 * rows), layout="constrained")
    axes = figure.subplots()
    most = (float(np.nanmax(np.abs(added))) if np.isfinite(added).any() else 0.0) or 1e-3
    image = axes.imshow(added, cmap="PuOr", aspect="auto", vmin=-most, vmax=most)
    for i, j in zip(*np.nonzero(np.array(data["sure"])), strict=True):
        axes.text(j, i, "*", ha="center", va="center", fontsize=9, color="white")
    axes.set_xticks(range(columns), data["pairs"], rotation=90, fontsize=7)
    axes.set_yticks(range(rows), labels)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(image, ax=axes, label=f"{called(data)}, higher is better", fraction=0.05)
    return figure

"""Pictures of a cell a method and column, and what all pictures share; `drawers` draws the others. None is a number that is not known."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np

from bench.stats.metrics import METRICS

BLACK = "#202020"
LONGEST = 40  # letters of a name in one line
Data = dict[str, Any]


def called(metric: str) -> str:
    """A metric as the axis of its scores names it."""
    return metric if METRICS[metric].in_unit else f"{metric} x 100"


def short(label: str, most: int = LONGEST) -> str:
    """A name without its middle, where a picture says it beside a number or a curve and a table has it in full."""
    return label if len(label) <= most else f"{label[: most // 2]}…{label[1 - most // 2 :]}"


def draw_surface(data: Data):
    """A cell a method and rule, with its number."""
    from matplotlib.figure import Figure

    scores = np.array(data["scores"], dtype=float)
    rows, columns = scores.shape
    cell = 0.5
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
            text = "n/a" if math.isnan(value) else f"{value:.1f}"
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if value < middle else BLACK)
    axes.set_xticks(range(columns), data["rules"], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(rows), labels)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(image, ax=axes, label=called(data["metric"]), fraction=0.05)
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
    most = max(float(np.nanmax(np.abs(added))) if np.isfinite(added).any() else 0.0, 1e-3)
    image = axes.imshow(added, cmap="PuOr", aspect="auto", vmin=-most, vmax=most)
    for i, j in zip(*np.nonzero(np.array(data["sure"])), strict=True):
        axes.text(j, i, "*", ha="center", va="center", fontsize=9, color="white")
    axes.set_xticks(range(columns), data["pairs"], rotation=90, fontsize=7)
    axes.set_yticks(range(rows), labels)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=9)
    figure.colorbar(image, ax=axes, label=f"{data['metric']} x 100, higher is better", fraction=0.05)
    return figure

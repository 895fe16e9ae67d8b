"""What a tuning found, drawn: curves with their bands, and importances. matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.names import Setting
from bench.stats.metrics import in_its_unit
from bench.studies.results import BUDGETS, Curve, Result, curve, is_counted
from bench.text import factor, times

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#B0B0B0"  # Okabe and Ito's: colour-blind readers can tell them apart
TOP = 4  # fields whose importance is drawn


def plot(results: Sequence[Result], path: Path) -> None:
    """Write `figure_of` these results. Raises: UsageError if the file cannot be written."""
    figure = figure_of(results)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise UsageError(f"the plot {path} cannot be written: {error}; what was found is stored, the same command draws again") from None


def figure_of(results: Sequence[Result]) -> Any:
    """Curves on suggestions and on cost, and importances: one block a setting, one column a method, one scale for all of them."""
    from matplotlib.figure import Figure

    groups: dict[Setting, list[Result]] = {}
    for result in results:
        groups.setdefault(result.trial.setting, []).append(result)
    columns = max(map(len, groups.values()))
    figure = Figure(figsize=(max(7.0, 1.0 + 2.6 * columns), 7.6 * len(groups)), layout="constrained")
    for block, (setting, here) in zip(figure.subfigures(len(groups), 1, squeeze=False)[:, 0], groups.items(), strict=True):
        _draw_setting(block, " ".join(setting), here, columns)
    return figure


@in_its_unit(lambda block, title, here, columns: here[0].trial.selection)
def _draw_setting(block: Any, title: str, here: Sequence[Result], columns: int) -> None:
    metric = here[0].trial.selection
    counted = "gflops" if all(is_counted(result, "gflops") for result in here) else "seconds"
    block.suptitle(title)
    panels = block.subplots(3, columns, squeeze=False)
    for row, by in zip(panels, ("suggestions", counted), strict=False):
        lines = [curve(result, by) for result in here]
        for place, (panel, result, line) in enumerate(zip(row, here, lines, strict=False)):
            for other in lines:
                panel.step(other.budget, factor() * other.best, where="post", color=GREY, linewidth=0.8)
            _draw_curve(panel, line, result.shown(result.default))
            panel.set_xlabel(BUDGETS[by])
            panel.sharex(row[0])
            panel.sharey(panels[0, 0])
            panel.tick_params(labelleft=place == 0)
        row[0].set_ylabel(f"best validation {metric}{times()}", fontsize="small")
    for panel, result in zip(panels[0], here, strict=False):
        panel.set_title(result.trial.label, fontsize="medium", fontweight="bold")
        panel.xaxis.get_major_locator().set_params(integer=True)
    for place, (panel, result) in enumerate(zip(panels[2], here, strict=False)):
        shares = list(result.importances.items())[:TOP][::-1]
        panel.set_xlabel("share of the score's variance, %")
        panel.set_xlim(0, 100)
        panel.set_ylim(-0.6, TOP - 0.4)
        if not shares:
            panel.text(50, (TOP - 1) / 2, "too few suggestions", ha="center", va="center")
        rows = range(TOP - len(shares), TOP)
        panel.barh(rows, [100 * share for _, share in shares], height=0.35, color=BLUE)
        for row, (name, share) in zip(rows, shares, strict=True):  # a name above its bar has room
            panel.text(1, row + 0.22, f"{name}  {100 * share:.0f}", va="bottom", fontsize="small")
        panel.set_yticks([])
        if place == 0:
            panel.set_ylabel("importance (fANOVA)", fontsize="small")
    for panel in panels[:, len(here) :].flat:
        panel.remove()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    block.legend(handles, labels, loc="outside lower center", ncols=4 if columns > 3 else 2, frameon=False)


def _draw_curve(panel: Any, line: Curve, default: float | None) -> None:
    panel.step(line.budget, factor() * line.best, where="post", color=BLUE, linewidth=2, label="best found, median")
    if np.isfinite(line.low).any():
        panel.fill_between(
            line.budget, factor() * line.low, factor() * line.high, step="post", alpha=0.25, color=BLUE, linewidth=0, label=line.band
        )
    if default is not None:
        panel.axhline(factor() * default, color=ORANGE, linestyle="--", linewidth=1.2, label="default configuration")
    panel.plot([], [], color=GREY, linewidth=0.8, label="the other methods")

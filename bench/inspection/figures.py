"""Figures of `bench analyze`, drawn from its tables alone. matplotlib is loaded when one is drawn.

Colours are those of Okabe and Ito, which readers with any kind of colour vision tell apart; where lines or points could be confused their
style or shape differs as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.drawing import missing
from bench.errors import UsageError, unknown
from bench.text import count

if TYPE_CHECKING:
    from bench.inspection.tables import Analysis


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.")
FORMATS = ("png", "svg", "pdf")
EXPERTS = "expert (letter: modality it fills, sh: shared, e: any)"
NUMBERED = 12  # columns up to which the cells of a map bear their number


def check_formats(names: Sequence[str]) -> list[str]:
    """The formats, checked. Raises: UsageError."""
    for name in names or [""]:
        if name not in FORMATS:
            raise unknown("figure format", name, FORMATS)
    return list(names)


def draw(analysis: Analysis, stem: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Draw one setting and save it as STEM.FORMAT in each format; returns the files. Raises: UsageError on an unknown format."""
    check_formats(formats)
    if missing() is not None:
        raise UsageError(f"no figure can be drawn: {missing()}")
    from matplotlib import rc_context

    painter = {"routing": _routing, "gradients": _gradients, "embeddings": _embeddings, "supports": _supports, "cost": _cost}
    files = []
    with rc_context({"svg.hashsalt": "bench", "font.size": 9, "axes.titlesize": 9, "figure.titlesize": 11}):
        figure = painter[analysis.what](analysis)
        for name in formats:
            files.append(stem.parent / f"{stem.name}.{name}")
            figure.savefig(files[-1], dpi=150, metadata={"Date": None} if name == "svg" else None)
    return files


def _figure(rows: int, columns: int, width: float, height: float, title: str, **options: Any) -> tuple[Any, np.ndarray]:
    """A figure of `rows` x `columns` panels, sizes in inches a panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    figure.suptitle(title)
    return figure, axes


def _place(frame: pd.DataFrame) -> str:
    """The setting as a title names it."""
    first = frame.iloc[0]
    return f"{first['dataset']}, modalities {first['combination']}, {first['protocol']}"


def _by_size(names: Sequence[str]) -> list[str]:
    """Combinations from all modalities down to one, and in letters' order."""
    return sorted(set(names), key=lambda name: (-len(name.strip("-")), name))


def _map(axes: Any, frame: pd.DataFrame, title: str, bar: str, across: str, down: str) -> None:
    """A matrix of shares, 0 to 1, as percentages in shades of one colour."""
    values = frame.to_numpy(float)
    high = float(np.nanmax(values)) if values.size else 1.0
    image = axes.imshow(100 * values, cmap="Blues", vmin=0, vmax=100 * high or 1, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(frame.columns)), frame.columns, rotation=90 if len(frame.columns) > NUMBERED else 0)
    axes.set_yticks(range(len(frame)), frame.index)
    axes.set_xlabel(across)
    axes.set_ylabel(down)
    axes.set_title(title)
    if len(frame.columns) <= NUMBERED:
        for row, column in product(range(len(frame)), range(len(frame.columns))):
            colour = "white" if values[row, column] > 0.6 * high else "black"
            axes.text(column, row, f"{100 * values[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    axes.figure.colorbar(image, ax=axes, label=bar, shrink=0.8)


def _routing(analysis: Analysis) -> Any:
    """For each method and layer: where the tokens of each observed combination go, and whose tokens each expert gets; the first seed."""
    rows = analysis.rows[analysis.rows["seed"] == analysis.rows["seed"].min()]
    panels = list(rows.groupby(["method", "layer"], sort=False))
    several = rows.groupby("method")["layer"].nunique().to_dict()
    experts = max(part["expert"].nunique() for _, part in panels)
    combinations = max(part["observed"].nunique() for _, part in panels)
    seed = rows["seed"].iloc[0]
    figure, axes = _figure(
        len(panels), 2, max(5.0, 0.2 * experts + 2), max(2.6, 0.22 * combinations + 1.4), f"Expert selection: {_place(rows)}, seed {seed}"
    )
    for place, ((method, layer), part) in enumerate(panels):
        cells = part.pivot_table(index="observed", columns=["place", "expert"], values="tokens", aggfunc="sum", fill_value=0)
        cells = cells.loc[_by_size(cells.index)]
        cells.columns = [expert for _, expert in cells.columns]
        counts = cells.sum(axis=1)
        name = f"{method}, layer {layer}" if several[method] > 1 else str(method)
        shares = cells.div(counts, axis=0)
        shares.index = [f"{letters} ({count:,})" for letters, count in counts.items()]
        _map(
            axes[place, 0], shares, f"{name}: where a combination's tokens go", "% of the row", "expert", "observed (tokens x experts kept)"
        )
        _map(axes[place, 1], cells / cells.sum(), f"{name}: whose tokens an expert gets", "% of the column", EXPERTS, "observed")
    return figure


def _gradients(analysis: Analysis) -> Any:
    """A panel a method, a line a pair of modalities: mean over seeds, and the range of the seeds."""
    rows = analysis.rows
    methods, pairs = list(dict.fromkeys(rows["method"])), list(dict.fromkeys(rows["pair"]))
    columns = 2 if len(methods) == 4 else min(3, len(methods))
    seeds = rows["seed"].nunique()
    title = f"Cosine between the gradients of two modalities: {_place(rows)}, " + count(seeds, "seed")
    figure, axes = _figure(-(-len(methods) // columns), columns, 3.6, 2.8, title, sharey=True)
    styles = dict(zip(pairs, zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False), strict=False))
    for panel in axes.flat[len(methods) :]:
        panel.set_visible(False)
    for panel, method in zip(axes.flat, methods, strict=False):
        for pair, (colour, marker, line) in styles.items():
            part = rows[(rows["method"] == method) & (rows["pair"] == pair)].groupby("epoch")["cosine"].agg(["mean", "min", "max"])
            panel.plot(part.index, part["mean"], color=colour, marker=marker, ls=line, ms=4, lw=1.3, label=pair)
            if seeds > 1:
                panel.fill_between(part.index, part["min"], part["max"], color=colour, alpha=0.15, lw=0)
        panel.axhline(0, color="grey", lw=0.8)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.set_title(method)
        panel.set_xlabel("epoch")
    for panel in axes[:, 0]:
        panel.set_ylabel("cosine, mean over batches")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside right center", title="modalities")
    return figure


def _embeddings(analysis: Analysis) -> Any:
    """Rows that miss a modality, before and after completion, with the numbers that say what the picture cannot; the first seed."""
    points = analysis.points[analysis.points["seed"] == analysis.points["seed"].min()] if len(analysis.points) else analysis.points
    if not len(points):
        raise UsageError("no test row misses a modality, so there is no completion to draw; choose another --protocols or --noise")
    methods, classes = list(dict.fromkeys(points["method"])), sorted(set(points["class"]))
    title = f"Rows that miss a modality (t-SNE): {_place(points)}, seed {points['seed'].iloc[0]}"
    figure, axes = _figure(len(methods), 2, 4.2, 3.4, title)
    for row, method in enumerate(methods):
        for column, stage in enumerate(("before", "after")):
            panel, part = axes[row, column], points[(points["method"] == method) & (points["stage"] == stage)]
            for number, name in enumerate(classes):
                here, colour = part[part["class"] == name], COLOURS[number % len(COLOURS)]
                face = colour if number < len(COLOURS) else "none"  # hollow from the ninth class on
                marker = MARKERS[number % 6]
                panel.scatter(here["x"], here["y"], s=16, edgecolor=colour, facecolor=face, marker=marker, lw=0.9, alpha=0.85, label=name)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_title(f"{method}, {stage} completion\n{_separation(analysis.summary, method, stage, points['seed'].iloc[0])}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", title="class", markerscale=1.4)
    return figure


def _separation(summary: pd.DataFrame, method: str, stage: str, seed: int) -> str:
    here = summary[(summary["method"] == method) & (summary["seed"] == seed)] if len(summary) else summary
    texts = [f"{row['measure']} {row[stage]:.2f} [{row[f'{stage}_low']:.2f}, {row[f'{stage}_high']:.2f}]" for _, row in here.iterrows()]
    return "\n".join(texts)


def _supports(analysis: Analysis) -> Any:
    """For each method: the classes that support a class, and the observed combinations that support one; all seeds."""
    rows = analysis.rows
    methods = list(dict.fromkeys(rows["method"]))
    classes, observed = rows["class"].nunique(), rows["observed"].nunique()
    figure, axes = _figure(len(methods), 2, 5.2, max(3.0, 0.22 * max(classes, observed) + 1.6), f"Who supports whom: {_place(rows)}")
    for row, method in enumerate(methods):
        part, numbers = rows[rows["method"] == method], analysis.summary[analysis.summary["method"] == method]
        same, low, high, chance = (100 * numbers[key].mean() for key in ("same_class", "same_class_low", "same_class_high", "by_chance"))
        title = f"{method}: same class {same:.0f} % [{low:.0f}, {high:.0f}], by chance {chance:.0f} %"
        by_class = part.pivot_table(index="class", columns="support_class", values="weight", aggfunc="sum", fill_value=0)
        _map(axes[row, 0], by_class.div(by_class.sum(axis=1), axis=0), title, "% of the row", "class of the support", "class of the row")
        by_letters = part.pivot_table(index="observed", columns="support_observed", values="weight", aggfunc="sum", fill_value=0)
        by_letters = by_letters.loc[_by_size(by_letters.index), _by_size(by_letters.columns)]
        shares, title = by_letters.div(by_letters.sum(axis=1), axis=0), f"{method}: by what they observe"
        _map(axes[row, 1], shares, title, "% of the row", "observed by the support", "observed by the row")
    return figure


def _cost(analysis: Analysis) -> Any:
    """Time and operations by combination in use where there are several, else by what a sample observes; parameters."""
    whole = analysis.rows[analysis.rows["observed"] == "test"]
    in_use = list(dict.fromkeys(whole["combination"]))
    is_of_use = len(in_use) > 1
    if is_of_use:
        rows, order, across = whole.assign(at=whole["combination"], ms=whole["latency_ms_64"] / 64), in_use, "modalities in use"
    else:
        rows = analysis.rows[analysis.rows["observed"] != "test"]
        rows = rows.assign(at=rows["observed"], ms=rows["ms_per_sample"])
        order, across = sorted(set(rows["at"]), key=lambda name: (len(name), name)), "modalities a sample observes"
    first = whole.iloc[0]
    threads = f"{count(int(first['threads']), 'thread')}"
    figure, axes = _figure(1, 3, 4.4, 3.4, f"Cost of a prediction: {first['dataset']}, {first['protocol']}; {first['device']}, {threads}")
    methods = list(dict.fromkeys(whole["method"]))
    styles = dict(zip(methods, zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False), strict=False))
    for panel, (key, label) in zip(
        axes[0], {"ms": "ms a sample, in batches of 64", "gflops_per_sample": "GFLOPs a sample"}.items(), strict=False
    ):
        for method, (colour, marker, line) in styles.items():
            part = rows[rows["method"] == method].set_index("at").reindex(order)
            panel.plot(range(len(order)), part[key].astype(float), color=colour, marker=marker, ls=line, ms=4.5, lw=1.2, label=method)
        panel.set_xticks(range(len(order)), order, rotation=90 if len(order) > 6 else 0)
        panel.set_xlabel(across)
        panel.set_ylabel(label)
        panel.set_yscale("log")
        panel.grid(axis="y", lw=0.3)
    _parameters(axes[0, 2], whole, styles, order if is_of_use else None, across)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    return figure


def _parameters(panel: Any, whole: pd.DataFrame, styles: dict[str, tuple[str, str, str]], order: list[str] | None, across: str) -> None:
    """All parameters, and hollow those that act on a sample: by combination in use, or a column a method."""
    for place, (method, (colour, marker, line)) in enumerate(styles.items()):
        part, style = whole[whole["method"] == method].set_index("combination"), {"color": colour, "marker": marker, "ms": 5.5}
        part = part if order is None else part.reindex(order)
        x = [place] if order is None else range(len(order))
        panel.plot(x, part["parameters"].astype(float), ls="none" if order is None else line, lw=1.2, **style)
        panel.plot(x, part["active_parameters"].astype(float), ls="none", markerfacecolor="white", **style)
    names = list(styles) if order is None else order
    panel.set_xticks(range(len(names)), names, rotation=90 if order is None or len(names) > 6 else 0)
    panel.set_xlabel("" if order is None else across)
    panel.set_ylabel("parameters (hollow: active ones)")
    panel.set_yscale("log")
    panel.margins(x=0.15)
    panel.grid(axis="y", lw=0.3)

"""How the pictures of a board are drawn, each from its numbers alone; `plots` says what they are. matplotlib is loaded when one is drawn.

Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only sign. No picture is wider than the column of a
page on GitHub, 842 pixels. An axis of scores spans what separates the good methods: a floor, a ceiling or a method far away is an arrow
at the edge with its number.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from bench.leaderboard.heat_maps import BLACK, LONGEST, Data, called, draw_more, draw_surface, in_unit, least_gap, score_text, short
from bench.text import count

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#B0B0B0"
ROLE_STYLE = {"paper": (BLUE, "o"), "reference": (ORANGE, "s"), "outside": (GREEN, "D"), "floor": (BLACK, "v")}
ROLE_NAMES = {"paper": "published method", "reference": "reference method", "outside": "other method"}
WIDE = 8.0  # inches


def _or_nan(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def good_range(centres: np.ndarray, low: np.ndarray, high: np.ndarray, higher_is_better: bool, least: float = 1.0) -> tuple[float, float]:
    """The span of an axis that separates the good ones: all whose centre lies within three times the lead of the best on the median.

    A lead counts as `least` at least, in the unit of the axis. Shapes: centres, low and high (K,), NaN where one is not known. (0, 100)
    where no centre is.
    """
    sign = 1.0 if higher_is_better else -1.0
    known = np.isfinite(centres)
    if not known.any():
        return 0.0, 100.0
    best, middle = (sign * centres[known]).max(), float(np.median(sign * centres[known]))
    good = known & (sign * centres >= best - 3 * max(best - middle, least))
    bottom, top = np.nanmin(np.fmin(low, centres)[good]), np.nanmax(np.fmax(high, centres)[good])
    room = max(0.06 * (top - bottom), 0.3 * least)
    return float(bottom - room), float(top + room)


def draw_intervals(data: Data):
    """A bar a method from the best to the worst rank that it may have, best mean rank on top, and a mark at the mean rank."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    labels, roles = data["labels"], data["roles"]
    k = len(labels)
    names, longest, lines = _wrapped(labels)
    step, top, bottom = 0.29 if lines == 1 else 0.1 + 0.18 * lines, 0.92, 0.90  # inches
    high = top + step * k + bottom
    left = 0.15 + 0.084 * longest
    wide = max(6.4, left + 3.4)  # narrow, so that letters are large where the picture is small
    figure = Figure(figsize=(wide, high))
    axes = figure.add_axes((left / wide, bottom / high, (wide - left - 0.2) / wide, step * k / high))
    for i, (role, rank, best, worst) in enumerate(zip(roles, data["ranks"], data["low"], data["high"], strict=True)):
        colour, marker = ROLE_STYLE[role]
        axes.plot([best, worst], [i, i], color=colour, alpha=0.35, lw=8, solid_capstyle="round", zorder=2)
        axes.plot(rank, i, marker=marker, color=colour, ms=8, mec="white", mew=1, zorder=3)
    axes.set(xlim=(0.6, k + 0.4), ylim=(k - 0.4, -0.6))
    axes.set_xticks(range(1, k + 1, math.ceil(k / 16)))
    axes.set_yticks(range(k), names, fontsize=10.5)
    axes.tick_params(length=0, labelsize=10.5)
    axes.spines[:].set_visible(False)
    axes.grid(axis="x", color="#E2E2E2", lw=0.8)
    axes.set_xlabel("rank among the methods (1: best)", fontsize=10.5, labelpad=3)
    where = f"{count(data['datasets'], data['what'] + ' dataset')}, {count(data['settings'], 'setting')}, {count(data['seeds'], 'seed')}"
    figure.text(0.15 / wide, 1 - 0.10 / high, "Ranks that each method may have", fontsize=12.5, weight="bold", va="top")
    figure.text(0.15 / wide, 1 - 0.37 / high, f"{where}; Holm over {count(data['pairs'], 'pair')}", fontsize=10.5, va="top")
    figure.text(0.15 / wide, 1 - 0.58 / high, "bar: best to worst rank that the tests leave open, mark: mean rank", fontsize=10.5, va="top")
    handles = [
        Line2D([], [], ls="none", color=colour, marker=marker, ms=8, mec="white", label=ROLE_NAMES.get(role, role))
        for role, (colour, marker) in ROLE_STYLE.items()
        if role in roles
    ]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=len(handles), frameon=False, fontsize=10.5,
        handletextpad=0.3, columnspacing=1.6,
    )  # fmt: skip
    return figure


def draw_forest(data: Data):
    """A line a method: its mean with a 95 % interval, numbers on the right; floor and ceiling across, or as arrows where they are far."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    labels, roles, means = data["labels"], data["roles"], _or_nan(data["means"])
    low, high = (_or_nan([interval[side] for interval in data["intervals"]]) for side in (0, 1))
    k, said = len(labels), partial(score_text, data)
    numbers = [
        "no score" if math.isnan(mean) else said(mean) + ("" if math.isnan(a) else f" [{said(a)}, {said(b)}]")
        for mean, a, b in zip(means, low, high, strict=True)
    ]
    names, longest, lines = _wrapped(labels)
    left, right = 0.3 + 0.078 * longest, 0.2 + 0.078 * max(map(len, numbers))  # inches
    wide, step, bottom = WIDE, 0.27 if lines == 1 else 0.1 + 0.16 * lines, 0.85
    title = textwrap.wrap(data["title"], 78)
    top = 1.12 + 0.19 * len(title) - 0.19
    tall = top + step * k + bottom
    figure = Figure(figsize=(wide, tall))
    axes = figure.add_axes((left / wide, bottom / tall, (wide - left - right) / wide, step * k / tall))
    start, end = good_range(means, low, high, data["higher_is_better"], least_gap(data, means))
    floor, ceiling = (math.nan if data[name] is None else float(data[name]) for name in ("floor", "ceiling"))
    start, end = _with_near(start, end, floor, ceiling)
    for i, (role, mean, a, b) in enumerate(zip(roles, means, low, high, strict=True)):
        colour, marker = ROLE_STYLE.get(role, ROLE_STYLE["outside"])
        if not start <= mean <= end:
            _at_edge(axes, mean, i, (start, end), colour)
            continue
        axes.plot([max(a, start), min(b, end)], [i, i], color=colour, lw=2, solid_capstyle="butt", zorder=2)
        axes.plot(mean, i, marker=marker, color=colour, ms=7, mec="white", mew=0.8, zorder=3)
    axes.set(xlim=(start, end), ylim=(k - 0.4, -0.6))
    axes.set_yticks(range(k), names)
    axes.tick_params(axis="y", length=0, pad=9)
    axes.grid(axis="x", color="#E6E6E6", lw=0.6)
    for i, text in enumerate(numbers):
        y = 1 - (top + step * k * (i + 0.6) / (k + 0.2)) / tall
        figure.text((wide - right + 0.12) / wide, y, text, va="center", ha="left")
    words = [
        word
        for word in (_bound(axes, "floor", floor, said, ":", (start, end)), _bound(axes, "ceiling", ceiling, said, "--", (start, end)))
        if word
    ]
    axes.set_xlabel(f"{called(data)}" + ("" if data["higher_is_better"] else " (lower is better)"), labelpad=2)
    runs = sorted({n for n in data["n"] if n})
    seeds = "" if not runs else count(runs[0], "seed") if len(runs) == 1 else f"{runs[0]} to {runs[-1]} seeds"
    figure.text(0.12 / wide, 1 - 0.10 / tall, "\n".join(title), fontsize=11, weight="bold", va="top")
    legend = ["mean" + f" over {seeds}" * bool(seeds) + " with its 95 % interval over seeds and test samples", ", ".join(words)]
    legend += ["whether two methods differ is not seen from two intervals: the table has the tests"]
    for line, text in enumerate(text for text in legend if text):
        figure.text(0.12 / wide, 1 - (0.17 + 0.19 * (len(title) + line)) / tall, text, va="top")
    handles = [
        Line2D([], [], color=ROLE_STYLE[role][0], marker=ROLE_STYLE[role][1], ms=7, mec="white", label=ROLE_NAMES.get(role, role))
        for role in ROLE_STYLE
        if role in roles
    ]
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, handletextpad=0.4, columnspacing=1.6)
    return figure


def _wrapped(labels: Sequence[str]) -> tuple[list[str], int, int]:
    """Names that take no more than a third of a picture: each in lines, their letters at most, and their lines at most."""
    lines = [textwrap.wrap(label, LONGEST) for label in labels]
    return ["\n".join(own) for own in lines], max(len(line) for own in lines for line in own), max(map(len, lines))


def _with_near(start: float, end: float, *bounds: float) -> tuple[float, float]:
    """The axis with those bounds in it that lie no farther off than a third of its span."""
    reach, room = (end - start) / 3, (end - start) * 0.03
    near = [bound for bound in bounds if start - reach <= bound <= end + reach]
    return min([start, *(bound - room for bound in near)]), max([end, *(bound + room for bound in near)])


def _bound(axes, name: str, value: float, said: Callable[[float], str], style: str, span: tuple[float, float]) -> str:
    """A line across at floor or ceiling, in words; an arrow at the edge with its number where it lies outside."""
    if math.isnan(value):
        return ""
    if span[0] <= value <= span[1]:
        axes.axvline(value, color=BLACK, lw=1, ls=style, zorder=1)
        return f"{name} {said(value)} ({'dotted' if style == ':' else 'dashed'})"
    left = value < span[0]
    axes.annotate(
        f"{name} {said(value)}", (0.0 if left else 1.0, 1.0), xycoords="axes fraction", xytext=(26 if left else -26, 6),
        textcoords="offset points", ha="left" if left else "right", va="bottom", fontsize=8, annotation_clip=False,
    )  # fmt: skip
    axes.annotate(
        "", (0.0 if left else 1.0, 1.0), xycoords="axes fraction", xytext=(24 if left else -24, 10), textcoords="offset points",
        arrowprops={"arrowstyle": "->", "color": BLACK, "lw": 1, "shrinkA": 0, "shrinkB": 0}, annotation_clip=False,
    )  # fmt: skip
    return f"{name} {said(value)} (off the axis)"


def _at_edge(axes, mean: float, row: float, span: tuple[float, float], colour: str) -> None:
    """A method too far away for the axis: a mark at its edge, and none without a score."""
    if not math.isnan(mean):
        left = mean < span[0]
        axes.plot(span[0] if left else span[1], row, marker="<" if left else ">", color=colour, ms=8, clip_on=False, zorder=3)


def draw_noise(data: Data):
    """A panel a method, best Noise-AUC first: its own curve with a 95 % band over the others' in grey.

    The axes are alike and span the good methods; a method below them has an axis that reaches down to it.
    """
    from matplotlib.figure import Figure

    panels = data["panels"]
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDE, 0.95 + 2.1 * rows), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, sharex=True, squeeze=False)).ravel()
    noise = np.array(data["noise"])
    scores = [_or_nan(found) for found in data["scores"]]
    bands = [tuple(_or_nan([band[side] for band in own]) for side in (0, 1)) for own in data["bands"]]
    everyone = (
        np.tile(np.append(noise, np.nan), len(scores)),
        np.concatenate([np.append(found, np.nan) for found in scores]),
    )  # one path with gaps
    low, high = (np.array([_edge(own[side], found, side) for own, found in zip(bands, scores, strict=True)]) for side in (0, 1))
    centres = _or_nan(data["areas"])
    centres = np.where(np.isfinite(centres), centres, [_mean_known(found) for found in scores])
    shared = good_range(centres, low, high, data["higher_is_better"], least_gap(data, centres))
    for panel, axes in enumerate(grid):
        if panel >= len(panels):
            axes.axis("off")
            continue
        i = panels[panel]
        own = [value for value in (low[i], high[i]) if math.isfinite(value)]
        span = (min([shared[0], *own]), max([shared[1], *own]))
        axes.plot(*everyone, color="#DADADA", lw=0.9, zorder=1)
        if np.isfinite(bands[i][0]).all():
            axes.fill_between(noise, *bands[i], color=BLUE, alpha=0.22, lw=0, zorder=2)
        axes.plot(noise, scores[i], color=BLUE, marker="o", ms=4, lw=1.8, zorder=3)
        axes.set_ylim(*span)
        for name, style in (("floor", ":"), ("ceiling", "--")):
            _bound_over_noise(axes, name, noise, _or_nan(data[name]), partial(_rounded, data), style, span)
        area = data["areas"][i]
        name = "\n".join(textwrap.wrap(short(data["labels"][i]), 26))
        axes.set_title(f"{name}\nNoise-AUC {score_text(data, area)}" if area is not None else name, fontsize=8.5)
        axes.set_xticks(noise)
        axes.grid(color="#EFEFEF", lw=0.5)
    for axes in grid[max(0, len(panels) - columns) : len(panels)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("missing rate (share of modalities hidden)", fontsize=9)
    figure.supylabel(f"{called(data)}", fontsize=9)
    title = "\n".join(textwrap.wrap(data["title"], 90))
    figure.suptitle(f"{title}\nband: 95 % interval over seeds and samples; grey: the other methods", fontsize=9)
    return figure


def _edge(band: np.ndarray, scores: np.ndarray, side: int) -> float:
    """The lowest (side 0) or highest point of a curve and its band; NaN where nothing is known."""
    known = np.concatenate([band, scores])
    known = known[np.isfinite(known)]
    return float((known.min() if side == 0 else known.max()) if len(known) else math.nan)


def _mean_known(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _rounded(data: Data, value: float) -> str:
    """A score of which whole points are enough."""
    return score_text(data, value) if in_unit(data) else f"{value:.0f}"


def _bound_over_noise(
    axes, name: str, noise: np.ndarray, values: np.ndarray, said: Callable[[float], str], style: str, span: tuple[float, float]
) -> None:
    """Floor or ceiling over the missing rate, or an arrow at the edge with its number where it lies outside."""
    known = values[np.isfinite(values)]
    if not len(known):
        return
    if known.max() >= span[0] and known.min() <= span[1]:
        axes.plot(noise, values, color=BLACK, lw=1, ls=style, zorder=2)
        return
    below = known.max() < span[0]
    ends = list(dict.fromkeys(map(said, (float(known.min()), float(known.max())))))
    number = " to ".join(ends)
    place, text = ((0.03, 0.02), (0.03, 0.13)) if below else ((0.03, 0.98), (0.03, 0.87))
    axes.annotate(
        f" {name} {number}", place, xytext=text, xycoords="axes fraction", textcoords="axes fraction", fontsize=7.5, zorder=4,
        ha="left", va="center", arrowprops={"arrowstyle": "->", "color": BLACK, "lw": 0.9, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)},
        bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
    )  # fmt: skip


def draw_ranks(data: Data):
    """Demsar's diagram: a bar joins methods whose mean ranks differ by less than the critical difference."""
    from matplotlib.figure import Figure

    labels, ranks, k = [short(label) for label in data["labels"]], _or_nan(data["ranks"]), len(data["labels"])
    left = math.ceil(k / 2)
    groups, step = data["groups"], 0.30
    bars = 0.25 + 0.16 * len(groups)
    rows = max(left, k - left)
    height = 0.75 + 0.12 + bars + step * rows
    margin = 0.75 + 0.075 * max(map(len, labels))  # inches for names
    scale = max(WIDE - 2 * margin, 0.2 * k) / (k - 1)
    wide = 2 * margin + scale * (k - 1)
    figure = Figure(figsize=(wide, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, wide), ylim=(height, 0))
    axes.axis("off")

    def at(rank: float) -> float:
        return margin + (rank - 1) * scale

    line = 0.75
    axes.plot([at(1), at(k)], [line, line], color=BLACK, lw=1)
    for tick in range(1, k + 1):
        axes.plot([at(tick)] * 2, [line - 0.06, line], color=BLACK, lw=1)
        axes.text(at(tick), line - 0.1, str(tick), ha="center", va="bottom")
    difference = min(data["critical_difference"], k - 1)
    axes.plot([at(1), at(1 + difference)], [0.32, 0.32], color=BLACK, lw=2)
    said = f"critical difference {data['critical_difference']:.2f} (Nemenyi, {count(data['settings'], 'setting')})"
    axes.text(at(1), 0.26, said, ha="left", va="bottom")
    for number, (first, last) in enumerate(groups):
        y = line + 0.16 + 0.16 * number
        axes.plot([at(ranks[first]) - 0.04, at(ranks[last]) + 0.04], [y, y], color=BLUE, lw=3.5, solid_capstyle="round")
    for i, (label, rank) in enumerate(zip(labels, ranks, strict=True)):
        is_left = i < left
        y = line + bars + 0.12 + step * (i if is_left else k - 1 - i)
        edge = margin - 0.15 if is_left else wide - margin + 0.15
        axes.plot([at(rank), at(rank), edge], [line, y, y], color=GREY, lw=0.8)
        axes.plot(at(rank), line, marker="o", ms=4, color=BLACK)
        text = f"{label}  {rank:.2f}" if is_left else f"{rank:.2f}  {label}"
        axes.text(edge + (-0.05 if is_left else 0.05), y, text, ha="right" if is_left else "left", va="center")
    return figure


def draw_cost(data: Data):
    """Numbered points with their names beside the picture; what has no operations to show is a line across."""
    from matplotlib.figure import Figure

    labels, roles, scores, gflops = (
        [short(label, 34) for label in data["labels"]],
        data["roles"],
        _or_nan(data["scores"]),
        _or_nan(data["gflops"]),
    )
    shown = np.isfinite(scores) & (gflops > 0)
    inner = scores[np.isfinite(scores) & (np.array(roles) != "floor")]
    notes = ["" if cost > 0 else " (no operations)" if cost == 0 else " (not counted)" for cost in gflops]
    texts = [f"{label}{note}" for label, note in zip(labels, notes, strict=True)]
    wide = 6.2 + 0.085 * max(map(len, texts))  # inches: picture and list
    figure = Figure(figsize=(wide, max(4.2, 0.9 + 0.21 * len(labels))))
    axes = figure.add_axes((0.65 / wide, 0.13, 4.75 / wide, 0.75))
    for role, (colour, marker) in ROLE_STYLE.items():
        own = shown & (np.array(roles) == role)
        if own.any():
            axes.plot(
                gflops[own], scores[own], marker, color=colour, ms=7, mec="white", mew=0.6, label=ROLE_NAMES.get(role, role), zorder=3
            )
    front = shown & (np.array(data["front"]) == "front")
    order = np.argsort(gflops[front])
    if front.sum() > 1:
        x, y = gflops[front][order], scores[front][order]
        axes.step(x, y, where="post", color=BLACK, lw=1, ls="--", label="front: nobody better for less", zorder=2)
    if shown.any():
        axes.set_xscale("log")
        axes.set_xlim(gflops[shown].min() / 3, gflops[shown].max() * 4)
    if len(inner):
        room = max(0.08 * float(np.ptp(inner)), least_gap(data, inner))
        axes.set_ylim(inner.min() - room, inner.max() + room)
    for place, (role, score) in enumerate(zip(np.array(roles)[~(gflops > 0)], scores[~(gflops > 0)], strict=True)):
        label = None if place else "without operations counted"
        axes.axhline(score, color=ROLE_STYLE.get(role, ROLE_STYLE["outside"])[0], lw=1, ls=":", zorder=1, label=label)
    axes.set_xlabel("GFLOPs of a forward pass, a sample (log scale)")
    axes.set_ylabel(f"{called(data)}, mean over {count(data['settings'], 'setting')}")
    axes.grid(color="#E6E6E6", lw=0.6)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.08, 1.0), ncols=4, frameon=False, handletextpad=0.3, columnspacing=1.0)
    step = 0.78 / max(len(labels) - 1, 11)
    for number, (text, score) in enumerate(zip(texts, scores, strict=True)):
        y = 0.88 - number * step
        figure.text(5.75 / wide, y, str(number + 1), ha="right", va="top")
        figure.text(5.85 / wide, y, f"{score_text(data, score)}  {text}", ha="left", va="top")
    points = [(str(i + 1), float(gflops[i]), float(scores[i])) for i in np.flatnonzero(shown)]
    _place_numbers(figure, axes, points)
    return figure


def _place_numbers(figure, axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Numbers beside their points, where they cover neither another number nor a point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    renderer = FigureCanvasAgg(figure).get_renderer()  # measures texts; the picture itself is SVG
    figure.draw_without_rendering()
    pixels = axes.transData.transform([(x, y) for _, x, y in points]) if points else np.empty((0, 2))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    offsets = [(r * math.cos(a), r * math.sin(a)) for r in (9, 14, 20, 27) for a in np.deg2rad([45, 0, 90, 315, 135, 180, 270, 225])]
    for label, x, y in points:
        text = axes.annotate(
            label, (x, y), xytext=(0, 0), textcoords="offset points", ha="center", va="center", fontsize=8.5, zorder=4,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        for offset in offsets:
            text.set_position(offset)
            found = text.get_window_extent(renderer)
            box = (found.x0 - 1, found.y0 - 1, found.x1 + 1, found.y1 + 1)
            if not any(_overlap(box, other) for other in taken):
                break
        taken.append(box)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


DRAWERS: Mapping[str, Callable[[Data], Any]] = {
    "intervals": draw_intervals, "forest": draw_forest, "ranks": draw_ranks, "cost": draw_cost, "noise": draw_noise,
    "surface": draw_surface, "more": draw_more,
}  # fmt: skip

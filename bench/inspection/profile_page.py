"""A profile as a page and a picture: methods side by side, then each of them by component and by what samples observe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.drawing import check_plot
from bench.errors import UsageError
from bench.inspection.profile import COSTS, LATENCY_ROWS, Profile
from bench.text import count, terminal_table


def by_size(profile: Profile) -> dict[int, float]:
    """Mean GFLOPs a sample over the combinations of each number of observed modalities; empty where they are not known."""
    sizes: dict[int, list[float]] = {}
    for seen in profile.observed:
        if seen.gflops_per_sample is not None:
            sizes.setdefault(len(seen.combination), []).append(seen.gflops_per_sample)
    return {size: float(np.mean(values)) for size, values in sorted(sizes.items())}


def page(found: Sequence[Profile], width: int | None = None, is_explained: bool = True) -> str:
    """Profiles as text: a table that compares them, then each in detail, then how to read them. Tables fit the `width`."""
    done = [profile for profile in found if profile.reason is None]
    if not done:
        return ""
    first = done[0].trial
    setting = f"{first.dataset_label}, modalities {first.combination}, {first.protocol}, seed {first.seed}"
    heading = f"{setting}; {count(done[0].threads, 'thread')}"
    blocks = [heading, _comparison(done, width)]
    counted = [profile for profile in done if by_size(profile)]
    if len(done) > 1 and counted:
        blocks.append(_sizes(counted, width))
    blocks += [_detail(profile, width) for profile in done]
    return "\n\n".join([*blocks, NOTES] if is_explained else blocks)


LEFT = ("Method", "Device", "Component", "Observed")
LEAST_ASKED = ("Device", "Active", "Training", "Peak MB")  # columns that go first where there is no width
NOTES = """GFLOPs: 1e9 floating-point operations a sample; a multiply-add counts 2; activations, norms, sorting and look-ups count nothing.
Training: forward and backward pass of a training sample. Active: parameters that act on one sample. ms: median time of a batch.
Peak MB (1e6 bytes) while 64 rows are predicted: living tensors, parameters included; on a GPU what torch's allocator held; for a
method that fits itself what Python's allocators held, data that it keeps included.
Launches: operations of a training step, Adam's included, that start a kernel on a GPU; it starts as many or more. Waits: times that the
host waits in that step for a number or a shape. Both are counted on any machine as a GPU would work, not measured on one."""


def _comparison(found: Sequence[Profile], width: int | None) -> str:
    latency = (f"ms, {count(rows, 'row')}" for rows in LATENCY_ROWS)
    titles = ["GFLOPs", "Training", "Parameters", "Active", *latency, "Peak MB", "Launches", "Waits"]
    table = [
        {
            "Method": profile.trial.label,
            "Device": profile.device,
            **{title: _number(profile.cost[key]) for title, key in zip(titles, COSTS, strict=True)},
        }
        for profile in found
    ]
    return terminal_table(table, LEFT, width, spare=LEAST_ASKED)


def _sizes(found: Sequence[Profile], width: int | None) -> str:
    """GFLOPs by the number of observed modalities, each method in one line."""
    table = []
    for profile in found:
        means = by_size(profile)
        full = means[max(means)]
        part = {"One / all": f"{means[min(means)] / full:.0%}" if full else "n/a"}
        table.append({"Method": profile.trial.label, **{str(size): _number(mean) for size, mean in means.items()}, **part})
    return "GFLOPs by number of observed modalities, mean over their combinations\n\n" + terminal_table(table, LEFT, width)


def _detail(profile: Profile, width: int | None) -> str:
    blocks = [profile.trial.label]
    if profile.components:
        total = profile.cost["gflops_per_sample"] or 0.0
        table = [
            {
                "Component": part.component,
                "GFLOPs": _number(part.gflops_per_sample),
                "Share": f"{part.gflops_per_sample / total:.1%}" if total else "n/a",
                "Parameters": _number(part.parameters),
                "Active": _number(part.active_parameters),
            }
            for part in profile.components
        ]
        blocks.append(terminal_table(table, LEFT, width))
    full = profile.observed[-1].gflops_per_sample
    table = [
        {
            "Observed": seen.combination,
            "GFLOPs": _number(seen.gflops_per_sample),
            "Of all": f"{seen.gflops_per_sample / full:.0%}" if seen.gflops_per_sample is not None and full else "n/a",
            "ms/sample": _number(seen.ms_per_sample),
            "Peak MB": _number(seen.peak_memory_mb),
        }
        for seen in profile.observed
    ]
    blocks.append(terminal_table(table, LEFT, width))
    if profile.not_counted:
        blocks.append(f"not counted, for want of a formula: {', '.join(profile.not_counted)}")
    if profile.waits:
        waits = (f"{place}{f' ({count} times)' if count > 1 else ''}" for place, count in profile.waits.items())
        blocks.append(f"waits of a training step: {'; '.join(waits)}")
    return "\n\n".join(blocks)


def _number(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def draw(found: Sequence[Profile], file: Path) -> None:
    """Draw GFLOPs against the number of observed modalities, a line a method. Raises: UsageError."""
    check_plot(file)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for profile in found:
        means = by_size(profile)
        if means:
            axes.plot(list(means), list(means.values()), marker="o", label=profile.trial.label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("observed modalities")
    axes.set_ylabel("GFLOPs a sample")
    if axes.lines:
        axes.set_yscale("log")
        axes.legend()
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise UsageError(f"the plot {file} cannot be written: {error}") from None

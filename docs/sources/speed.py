"""The table of launches and waits in docs/evidence/speed.md, between `<!-- launches -->` and `<!-- /launches -->`.

They are counted, not timed, so any machine writes the same table: a training step of each method on the workload of
benchmarks/throughput.py, as `bench profile` counts it. `BEFORE` holds what the same count gave before the steps were gone over for waits.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from functools import cache
from typing import Any

from bench.text import table
from bench.training.launches import StepCount, step_count
from standings import ROOT

PAGE = ROOT / "docs" / "evidence" / "speed.md"
MARKED = re.compile(r"(?<=<!-- launches -->\n).*?(?=<!-- /launches -->)", re.DOTALL)
METHODS = "paper,dropout-transformer,mean-mlp"
BEFORE = {  # launches and waits at commit aefe8f8, counted by the same code
    "moe-retriever": (855, 26),
    "mmformer": (385, 5),
    "shaspec": (257, 5),
    "m3care": (458, 5),
    "muse": (374, 5),
    "fusemoe": (1189, 11),
    "dropout-transformer": (193, 5),
    "mean-mlp": (43, 2),
}


def page(text: str | None = None) -> str:
    """docs/evidence/speed.md, or `text`, with the table in its place. Raises: ValueError if the lines around it are not there."""
    text = PAGE.read_text(encoding="utf-8") if text is None else text
    if len(MARKED.findall(text)) != 1:
        raise ValueError("speed.md needs one table between the lines <!-- launches --> and <!-- /launches -->")
    return MARKED.sub(lambda _: launches() + "\n", text)


@cache
def launches() -> str:
    """The table: a row for each method that the suite trains."""
    rows = []
    for name, count in counted().items():
        before = BEFORE.get(name, ("n/a", "n/a"))
        numbers = (before[0], count.launches, before[1], count.synchronisations)
        rows.append([name, *map(str, numbers), _places(count)])
    titles = ("Method", "Launches before", "Launches", "Waits before", "Waits", "Where it waits")
    return table(titles, rows, ("Method", "Where it waits"))


def counted() -> dict[str, StepCount]:
    """The count of each method's training step on the workload, past any warm-up."""
    throughput = _throughput()
    samples = throughput.workload()
    data = throughput.as_batch(samples)
    found = {}
    for name in throughput.networks(METHODS):
        method = throughput.build(name, samples, "cpu")
        method.on_epoch(1, 2)
        found[name] = step_count(method, method.config, data)
    return found


def _places(count: StepCount) -> str:
    functions: Counter[str] = Counter()
    for place, times in count.places.items():
        functions[place.split(":")[1]] += times
    return ", ".join(f"`{name}`{f' {times} times' if times > 1 else ''}" for name, times in functions.items()) or "nowhere"


def _throughput() -> Any:
    """benchmarks/throughput.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("throughput", ROOT / "benchmarks" / "throughput.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

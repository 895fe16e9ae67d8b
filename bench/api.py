"""The commands as Python functions, for notebooks: `bench.run`, `bench.results`, `bench.board`, `bench.compare`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.spec import Suite, Value, read_suite, with_options

if TYPE_CHECKING:
    import numpy as np
    import pandas

    from bench.comparison import Comparison
    from bench.leaderboard import Board
    from bench.spec import Record

DEFAULT_OUT = "runs"


def run(
    suite: str | Suite = "quick",
    methods: str | type | Iterable[str | type] | None = None,
    datasets: str | Iterable[str] | None = None,
    combinations: str | Iterable[str] | None = None,
    protocols: str | Iterable[str] | None = None,
    noise: float | str | Iterable[float] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    training: Mapping[str, Value] | None = None,
    out: str | Path = DEFAULT_OUT,
    jobs: int = 1,
    retry_failed: bool = False,
    quiet: bool = False,
    **options: object,
) -> pandas.DataFrame:
    """Run a suite, as `bench run` does, and return one row per trial of it that has ended.

    `methods` takes names, `file.py:Class` and classes; `options` are further suite keys (metric, selection, vary, device, minutes, ...).
    Raises: UsageError (a ValueError) on bad input.
    """
    from bench import registry
    from bench.engine import execute
    from bench.progress import Lines, Progress

    given = {
        "datasets": datasets,
        "combinations": combinations,
        "protocols": protocols,
        "noise": noise,
        "seeds": seeds,
        "training": training,
    }
    if methods is not None:
        items = [methods] if isinstance(methods, str | type) else list(methods)
        names = [registry.give(item) if isinstance(item, type) else item for item in items]
        given["methods"] = ",".join(names)
    given = {key: list(value) if isinstance(value, range | set | tuple) else value for key, value in given.items()}
    chosen = with_options(suite if isinstance(suite, Suite) else read_suite(suite), {**given, **options})
    summary = execute(chosen, out, jobs, retry_failed, progress=Progress() if quiet else Lines(chosen.metric))
    return tidy(summary.records)


def results(out: str | Path = DEFAULT_OUT) -> pandas.DataFrame:
    """Every trial of a results folder as one tidy row: its keys, status, metrics (fractions) and cost."""
    from bench.store import Store

    with Store(out, create=False) as store:
        return tidy(store.records())


def board(out: str | Path = DEFAULT_OUT, suite: str | None = None, metric: str | None = None) -> Board:
    """The board of the latest run in a results folder; `bench.leaderboard.markdown(board)` is its page."""
    from dataclasses import replace

    from bench.leaderboard import build
    from bench.store import Store

    with Store(out, create=False) as store:
        found, records, commands = store.board(suite)
        predictions = store.predictions(record.trial.id for record in records)
    return build(replace(found, metric=metric) if metric else found, records, predictions, commands)


def compare(
    a: str,
    b: str,
    out: str | Path = DEFAULT_OUT,
    suite: str | None = None,
    metric: str | None = None,
    settings: str | Iterable[str] | None = None,
    rope: float = 1.0,
    allow: str | Iterable[str] = (),
    patterns: bool = False,
) -> Comparison:
    """Method A against B in the latest run of a results folder, as `bench compare` does; `print` it for the page.

    `settings` picks some by dataset, combination or protocol. `rope` is the largest difference that does not matter, in points.
    `allow` names what may be mixed: protocols, data, commits, hardware. `patterns` counts wins and losses by observed modalities; it
    loads the datasets to draw the test masks again and uses those whose hash is the stored one.
    Raises: UsageError (a ValueError) on bad input.
    """
    from bench.comparison import compare as compared
    from bench.spec import split_list
    from bench.store import Store

    with Store(out, create=False) as store:
        found, records, _ = store.board(suite)
        predictions = store.predictions(record.trial.id for record in records)
    items = [split_list(given) if isinstance(given, str) else list(given or ()) for given in (settings, allow)]
    observed = _test_masks(records) if patterns else None
    return compared(found, records, predictions, a, b, metric, items[0], rope / 100, items[1], observed)


def _test_masks(records: Iterable[Record]) -> dict[str, np.ndarray]:
    """Hash of each test mask of these records -> the mask (N, M), drawn again."""
    from bench.loader import build_parts, load
    from bench.protocol import parse_protocol
    from bench.spec import Choice

    found = {}
    trials = {
        (t.dataset_label, t.combination, t.protocol, t.fixed_seed): t for t in (record.trial for record in records) if t.vary != "split"
    }
    for t in trials.values():
        dataset, samples = load(Choice(t.dataset, "", t.dataset_options))
        parts = build_parts(dataset, samples, t.combination, parse_protocol(t.protocol), t.seed, t.fixed_seed, t.vary)
        found[parts.masks["test"]] = parts.test.observed
    return found


def tidy(records: Iterable) -> pandas.DataFrame:
    """Records as a table, one column a metric and a cost."""
    import pandas

    rows = []
    for record in records:
        row = record.row()
        metrics, cost = row.pop("metrics"), row.pop("cost")
        rows.append({**row, **metrics, **cost})
    return pandas.DataFrame(rows)

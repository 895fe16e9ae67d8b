"""The commands as Python functions, for notebooks: `bench.run`, `bench.results`, `bench.evaluations`, `bench.board`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.spec import Suite, Value, read_suite, with_options

if TYPE_CHECKING:
    import pandas

    from bench.leaderboard import Board

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

    `methods` takes names, `file.py:Class` and classes; `options` are further suite keys (test_noise, test_combinations, metric, selection,
    vary, device, minutes, ...).
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


def evaluations(out: str | Path = DEFAULT_OUT) -> pandas.DataFrame:
    """Every further evaluation of every trial as one tidy row: the trial's keys, the rule, what it stands for, missing share, metrics."""
    import pandas

    from bench.protocol import point_of
    from bench.store import Store
    from bench.surface import evaluations_of

    rows = []
    with Store(out, create=False) as store:
        for record in store.records():
            keys = {key: value for key, value in record.row().items() if key not in ("status", "reason", "metrics", "cost")}
            for rule, facts in evaluations_of(record).items():
                rate, letters = point_of(rule)
                point = {"evaluation": rule, "test_noise": rate, "test_combination": letters, "missing": facts["missing"]}
                rows.append({**keys, **point, **facts["metrics"]})
    return pandas.DataFrame(rows)


def board(out: str | Path = DEFAULT_OUT, suite: str | None = None, metric: str | None = None) -> Board:
    """The board of the latest run in a results folder; `bench.leaderboard.markdown(board)` is its page."""
    from dataclasses import replace

    from bench.leaderboard import build
    from bench.store import Store

    with Store(out, create=False) as store:
        found, records, commands = store.board(suite)
        predictions = store.predictions(record.trial.id for record in records)
    return build(replace(found, metric=metric) if metric else found, records, predictions, commands)


def tidy(records: Iterable) -> pandas.DataFrame:
    """Records as a table, one column a metric and a cost."""
    import pandas

    rows = []
    for record in records:
        row = record.row()
        metrics, cost = row.pop("metrics"), row.pop("cost")
        rows.append({**row, **metrics, **cost})
    return pandas.DataFrame(rows)

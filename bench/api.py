"""The commands as Python functions, for notebooks: `bench.run`, `bench.results`, `bench.board`, and one for each further command."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.names import Value, split_list
from bench.question.suite import Suite, read_suite, with_options

if TYPE_CHECKING:
    import pandas

    from bench.comparison.differences import Comparison
    from bench.inspection.reproduction import Repeat
    from bench.inspection.tables import Analysis
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
    configs: str | None = None,
    out: str | Path = DEFAULT_OUT,
    jobs: int = 1,
    retry_failed: bool = False,
    quiet: bool = False,
    is_traced: bool = False,
    **options: object,
) -> pandas.DataFrame:
    """Run a suite, as `bench run` does, and return one row per trial of it that has ended.

    `methods` takes names, `file.py:Class` and classes; `configs` names what runs: "default", "tuned" (by `bench.tune`), a file of tuned
    ones, or several of these; `options` are further suite keys (test_noise, test_combinations, metric, selection, vary, device, minutes,
    until_resolved, max_seeds, ...).
    Raises: UsageError (a ValueError) on bad input.
    """
    from functools import partial

    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.grid.progress import Lines, Progress
    from bench.studies.looks import resolve

    given = {
        "datasets": datasets,
        "combinations": combinations,
        "protocols": protocols,
        "noise": noise,
        "seeds": seeds,
        "training": training,
    }
    if methods is not None:
        given["methods"] = ",".join(_names(methods))
    given = {key: list(value) if isinstance(value, range | set | tuple) else value for key, value in given.items()}
    chosen = with_options(suite if isinstance(suite, Suite) else read_suite(suite), {**given, **options})
    if configs is not None:
        from bench.question.winners import with_configs

        chosen = with_configs(chosen, configs, out)
    how = How(
        place=Local(jobs),
        retry_failed=retry_failed,
        is_traced=is_traced,
        progress=Progress if quiet else partial(Lines, chosen.metric),
        say=lambda line: None if quiet else print(line, file=sys.stderr, flush=True),
    )
    return tidy(resolve(chosen, out, how).records)


def results(out: str | Path = DEFAULT_OUT) -> pandas.DataFrame:
    """Every trial of a results folder as one tidy row: its keys, status, metrics (fractions) and cost."""
    from bench.records.database import Store

    with Store(out, create=False) as store:
        return tidy(store.records())


def evaluations(out: str | Path = DEFAULT_OUT) -> pandas.DataFrame:
    """Every evaluation of every trial as one tidy row: the trial's keys, the rule, what it stands for, missing share, metrics."""
    import pandas

    from bench.data.grammar import evaluated_at
    from bench.records.database import Store

    rows = []
    with Store(out, create=False) as store:
        for record in store.records():
            keys = {key: value for key, value in record.row().items() if key not in ("status", "reason", "metrics", "cost")}
            for rule, evaluated in record.facts.evaluations.items():
                rate, letters = evaluated_at(rule)
                at = {"evaluation": rule, "test_noise": rate, "test_combination": letters, "missing": evaluated.missing}
                rows.append({**keys, **at, **evaluated.metrics})
    return pandas.DataFrame(rows)


def board(out: str | Path = DEFAULT_OUT, suite: str | None = None, metric: str | None = None, beside: str | Path | None = None) -> Board:
    """The board of the latest run in a results folder; `bench.leaderboard.markdown(board)` is its page.

    `beside` is a CSV file of numbers that others printed, in points; its pages show them beside ours where setting, metric and method
    match. Raises: UsageError (a ValueError) on bad input.
    """
    from bench.leaderboard import build
    from bench.leaderboard.printed import read_printed
    from bench.records.folder import answers_of

    printed = () if beside is None else read_printed(beside)
    return build(answers_of(out, suite=suite).by(metric), printed)


def audit(
    methods: str | type | Iterable[str | type] = "all", out: str | Path = DEFAULT_OUT, jobs: int = 1, quiet: bool = False
) -> pandas.DataFrame:
    """Audit methods, as `bench audit` does, and return one row per check of each.

    `methods` takes names, groups, `file.py:Class` and classes. Raises: UsageError (a ValueError) on bad input.
    """
    from dataclasses import asdict

    import pandas

    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.inspection.audit import expand, run_audits

    how = How(place=Local(jobs), say=lambda line: None if quiet else print(line, file=sys.stderr, flush=True))
    found = run_audits(expand(_names(methods)), out, how)
    return pandas.DataFrame([asdict(finding) for finding in found])


def profile(
    methods: str | type | Iterable[str | type] = "paper",
    dataset: str = "digits",
    combination: str = "all",
    protocol: str | None = None,
    noise: float | None = None,
    seed: int = 0,
    training: Mapping[str, Value] | None = None,
    depth: int = 1,
    device: str = "auto",
    threads: int = 1,
) -> pandas.DataFrame:
    """What methods cost, as `bench profile` measures it.

    For each method rows with its cost over the test part (`observed` is "test") and over each observed combination (its letters),
    in all (`component` is "all") and for each component. A method that fails has one row with its `reason`.
    Raises: UsageError (a ValueError) on bad input.
    """
    import pandas

    from bench.data.loading import loaded_once
    from bench.inspection import profile as profiling

    with loaded_once():
        trials = profiling.trials_of(_names(methods), dataset, combination, protocol, noise, seed, training, device, threads)
        return pandas.DataFrame(profiling.tidy(profiling.profiles(trials, device, threads, depth)))


def analyze(
    what: str,
    methods: str | type | Iterable[str | type] | None = None,
    suite: str | Suite | None = None,
    datasets: str | Iterable[str] | None = None,
    noise: float | str | Iterable[float] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    training: Mapping[str, Value] | None = None,
    out: str | Path = DEFAULT_OUT,
    figures: str | Path | None = None,
    formats: Iterable[str] = ("png",),
    jobs: int = 1,
    quiet: bool = False,
    **options: object,
) -> Analysis:
    """What methods did inside, as `bench analyze` tells it: routing, gradients, embeddings, supports or cost.

    `.summary`, `.rows` and `.points` are pandas tables. With `figures`, a folder, tables and figures are written there and `.files`
    names them; `options` are further suite keys (combinations, protocols, ...). Raises: UsageError (a ValueError) on bad input.
    """
    from functools import partial

    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.grid.progress import Lines, Progress
    from bench.inspection.analysis import analyse, write

    given: dict[str, object] = {"datasets": datasets, "noise": noise, "seeds": seeds, "training": training, **options}
    given = {key: list(value) if isinstance(value, range | set | tuple) else value for key, value in given.items()}
    if methods is not None:
        given["methods"] = ",".join(_names(methods))
    how = How(place=Local(jobs), progress=Progress if quiet else partial(Lines, "accuracy"), command="bench.analyze(...)")
    found = analyse(what, suite, given, out, how)
    if figures is not None:
        write(found, Path(figures), list(formats))
    return found


def _names(methods: str | type | Iterable[str | type]) -> list[str]:
    """Methods by name; a class becomes known under its own."""
    from bench import registry

    items = [methods] if isinstance(methods, str | type) else list(methods)
    texts = [registry.give(item) if isinstance(item, type) else item for item in items]
    return [name for text in texts for name in split_list(text)]


def compare(
    a: str,
    b: str,
    out: str | Path = DEFAULT_OUT,
    suite: str | None = None,
    metric: str | None = None,
    settings: str | Iterable[str] | None = None,
    rope: float | None = None,
    allow: str | Iterable[str] = (),
    patterns: bool = False,
    published: str | Path | None = None,
) -> Comparison:
    """Method A against B in the latest run of a results folder, as `bench compare` does; `print` it for the page.

    `published` reads a published leaderboard folder instead. `settings` picks some by dataset, combination or protocol. `rope` is the
    largest difference that does not matter, in points, by default the suite's. `allow` names what may be mixed: protocols, data,
    commits, hardware. `patterns` counts wins and losses by observed modalities; it loads the datasets to draw the test masks again and
    uses those whose hash is the stored one.
    Raises: UsageError (a ValueError) on bad input.
    """
    from bench.comparison.belonging import in_settings, label_of
    from bench.comparison.compare import compare as compared
    from bench.comparison.masks import masks_of
    from bench.records.folder import answers_of

    wanted, allowed = (split_list(given) if isinstance(given, str) else list(given or ()) for given in (settings, allow))
    answers = answers_of(out, published, suite)
    labels = [label_of(text, answers.records) for text in (a, b)]
    own = [record for record in in_settings(answers.records, wanted) if record.trial.label in labels]
    observed, notes = masks_of(own) if patterns else (None, [])
    margin = None if rope is None else rope / 100
    return compared(answers, a, b, metric=metric, settings=wanted, rope=margin, allow=allowed, observed=observed, notes=notes)


def reproduce(trial: str, out: str | Path = DEFAULT_OUT, published: str | Path | None = None) -> Repeat:
    """Run a stored trial again and compare bit for bit, as `bench reproduce` does; `.same` says whether every bit came again.

    `trial` is an id or the beginning of one. Raises: UsageError (a ValueError) on bad input.
    """
    from bench.inspection.reproduction import reproduce as again
    from bench.records.folder import opened

    with opened(out, published) as source:
        return again(source, trial)


def tune(
    suite: str | Suite = "quick",
    methods: str | type | Iterable[str | type] | None = None,
    datasets: str | Iterable[str] | None = None,
    combinations: str | Iterable[str] | None = None,
    protocols: str | Iterable[str] | None = None,
    noise: float | str | Iterable[float] | None = None,
    training: Mapping[str, Value] | None = None,
    suggestions: int = 20,
    budget_gflops: float | None = None,
    budget_minutes: float | None = None,
    sampler: str = "random",
    pruner: str = "median",
    seeds: int | str | Iterable[int] = 0,
    study: str | None = None,
    out: str | Path = DEFAULT_OUT,
    jobs: int = 1,
    quiet: bool = False,
    plot: str | Path | None = None,
    **options: object,
) -> pandas.DataFrame:
    """Tune methods on validation alone, as `bench tune` does, and return one row per method and setting.

    Columns hold the default and the best validation score, the best options, what was spent, importances and curves; `attrs["file"]`
    is the file of winners, for `bench.run(configs=...)`. Raises: UsageError (a ValueError) on bad input.
    """
    from functools import partial

    import pandas

    from bench import registry
    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.grid.progress import Progress, SuggestionLines
    from bench.names import parse_seeds
    from bench.studies.curves_plot import check_plot
    from bench.studies.curves_plot import plot as draw
    from bench.studies.study import Budget
    from bench.studies.tuning import tune as run_tuning

    given = {"datasets": datasets, "combinations": combinations, "protocols": protocols, "noise": noise, "training": training}
    if methods is not None:
        items = [methods] if isinstance(methods, str | type) else list(methods)
        given["methods"] = ",".join(registry.give(item) if isinstance(item, type) else item for item in items)
    given = {key: list(value) if isinstance(value, range | set | tuple) else value for key, value in given.items()}
    chosen = with_options(suite if isinstance(suite, Suite) else read_suite(suite), {**given, **options})
    if plot is not None:
        check_plot(Path(plot))
    roots = parse_seeds(list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else seeds)
    budget = Budget(suggestions, budget_gflops, budget_minutes)
    shown = Progress if quiet else partial(SuggestionLines, chosen.selection)
    how = How(place=Local(jobs), progress=shown, command="bench.tune(...)")
    found = run_tuning(chosen, out, budget, sampler, pruner, roots, study, how)
    if plot is not None:
        draw(found.results, Path(plot))
    frame = pandas.DataFrame([result.as_json() for result in found.results])
    frame.attrs["file"] = str(found.file)
    return frame


def tidy(records: Iterable) -> pandas.DataFrame:
    """Records as a table, one column a metric and a cost."""
    import pandas

    rows = []
    for record in records:
        row = record.row()
        metrics, cost = row.pop("metrics"), row.pop("cost")
        rows.append({**row, **metrics, **cost})
    return pandas.DataFrame(rows)

"""The commands as Python functions, for notebooks: `bench.run`, `bench.results`, `bench.board`, and one for each further command.

What is natural comes first and may go by position, everything else by name. Suites are names, files or `Suite` values; methods are names,
`file.py:Class` or classes; lists may be text with commas or any iterable; numbers and texts may be numpy's or pandas'; paths are texts or
`Path`, and `~` is a home folder. Bad input raises UsageError, a ValueError.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.names import Value, Words, path_of, plain, words_of

if TYPE_CHECKING:
    import pandas

    from bench.comparison.differences import Comparison
    from bench.datasets.described.dataset import Framed
    from bench.grid.hooks import Hook
    from bench.grid.how import How
    from bench.grid.progress import Progress
    from bench.inspection.reproduction import Repeat
    from bench.inspection.tables import Analysis
    from bench.leaderboard import Board
    from bench.question.assemble import Names
    from bench.question.suite import Suite
    from bench.records.bundle import Bundle
    from bench.records.page import TrialPage
    from bench.records.record import Record
    from bench.records.verification import Verification
    from bench.training.weights import Weights

DEFAULT_OUT = "runs"


def run(
    suite: str | Path | Suite = "quick",
    *,
    methods: Names | None = None,
    datasets: Names | None = None,
    combinations: str | Iterable[str] | None = None,
    protocols: str | Iterable[str] | None = None,
    noise: float | str | Iterable[float] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    training: Mapping[str, Value] | None = None,
    configs: Words | None = None,
    out: str | Path = DEFAULT_OUT,
    jobs: int = 1,
    retry_failed: bool = False,
    quiet: bool = False,
    is_traced: bool = False,
    keep_weights: bool = False,
    hooks: Sequence[Hook] = (),
    **options: object,
) -> pandas.DataFrame:
    """One row per trial of a suite that has ended, after running those that have no record yet, as `bench run` does.

    `methods`, `datasets`, `combinations`, `protocols`, `noise` and `seeds` take the place of the suite's, `training` changes fields of
    every method's Config. `configs` names what runs: "default", "tuned" (by `bench.tune`), a file of tuned ones, or several of these.
    `out` is the results folder, `jobs` the number of trials at once; `retry_failed` runs failed trials again, `is_traced` also writes
    what methods did inside, `keep_weights` the chosen checkpoints (for `load_weights`). Each of `hooks` is called with every
    record that this run adds, as plain values. `options` are further suite keys (test_noise, test_combinations, metric, selection, vary,
    device, minutes, until_resolved, max_seeds, ...).
    Raises: UsageError on bad input.
    """
    from functools import partial

    from bench.data.loading import loaded_once
    from bench.grid.progress import Lines
    from bench.question.assemble import assemble
    from bench.records.export import tidy
    from bench.studies.looks import resolve

    asked = {"methods": methods, "datasets": datasets, "combinations": combinations, "protocols": protocols, "noise": noise}
    with loaded_once():
        chosen, out = assemble(suite, {**asked, "seeds": seeds, "training": training, **options}, configs, out), path_of(out)
        kept = {"is_traced": is_traced, "keeps_weights": keep_weights}
        how = _how(jobs, quiet, partial(Lines, chosen.metric), retry_failed=retry_failed, hooks=tuple(hooks), **kept)
        return tidy(resolve(chosen, out, how).records)


def dataset(
    modalities: Mapping[str, pandas.DataFrame],
    target: pandas.Series | Mapping[Any, Any],
    name: str,
    *,
    groups: pandas.Series | Mapping[Any, Any] | None = None,
    split: pandas.Series | Mapping[Any, Any] | None = None,
    title: str = "",
    rows: str = "one",
    indicators: bool = True,
    public_ids: bool = False,
) -> Framed:
    """A dataset of your own pandas frames, for `bench.run(datasets=...)` and the other functions that take datasets.

    Each frame is a modality, its index the ids; an id that a frame lacks, or whose row is empty, misses this modality. Numbers are read
    as such, times as days since 1970, ordered categoricals as their places, other texts as categories, learnt on training rows; a frame
    with two levels of index, id and order, is a sequence. `target`, `groups` (rows of one are never parted) and `split` (train, valid,
    test) are series or mappings by id; an id without a label is left out. Several rows of an id are refused (`rows` = "one"), averaged
    ("mean") or kept as samples ("samples"). Columns with single gaps get `indicators`. Values are written once, to the data root.
    Published are salted hashes of the ids, or with `public_ids` the ids themselves.
    Raises: UsageError on bad input.
    """
    from bench import registry
    from bench.datasets.base import DataError
    from bench.datasets.described.frames import framed
    from bench.errors import UsageError

    try:
        made = framed(
            modalities, target, name, groups=groups, split=split, title=title, rows=rows, indicators=indicators,
            public_ids=public_ids,
        )  # fmt: skip
    except DataError as error:
        raise UsageError(str(error)) from None
    registry.give(made)
    return made


def _how(jobs: int, quiet: bool, shown: Callable[[], Progress] | None = None, **given: Any) -> How:
    """How what was asked for in Python is done: so many at once, what it says on stderr; `given` are further fields of `How`."""
    from bench.grid.how import How
    from bench.grid.places import Local
    from bench.grid.progress import Progress

    progress = Progress if quiet or shown is None else shown
    return How(place=Local(jobs), progress=progress, say=lambda line: None if quiet else print(line, file=sys.stderr, flush=True), **given)


def show(
    trial: str | None = None,
    out: str | Path = DEFAULT_OUT,
    *,
    published: str | Path | None = None,
    methods: Names | None = None,
    settings: str | Iterable[str] | None = None,
) -> pandas.DataFrame | TrialPage:
    """Stored trials as a tidy table, or everything about one, as `bench show` does; `print` that for its page.

    `trial` is an id or the beginning of one. `published` reads a published leaderboard folder instead of the results folder `out`.
    `methods` and `settings` (by dataset, combination or protocol: "digits mcar(0.3)") pick rows of the table.
    Raises: UsageError on bad input.

    >>> print(bench.show("3f2a", published="leaderboards/real"))  # doctest: +SKIP
    """
    from bench.records.export import tidy

    return tidy(stored(out, published, methods, settings)) if trial is None else page_of(trial, out, published)


def page_of(trial: str, out: str | Path = DEFAULT_OUT, published: str | Path | None = None) -> TrialPage:
    """The page behind `show`. Raises: UsageError if no trial, or more than one, has this id."""
    from bench.records.folder import opened
    from bench.records.page import TrialPage

    with opened(out, published) as source:
        return TrialPage(source.record(trial), out, published)


def stored(
    out: str | Path = DEFAULT_OUT,
    published: str | Path | None = None,
    methods: Names | None = None,
    settings: str | Iterable[str] | None = None,
) -> list[Record]:
    """The records behind `show`. Raises: UsageError on bad input."""
    from bench.comparison.belonging import selected
    from bench.question.assemble import names_of
    from bench.records.folder import opened

    with opened(out, published) as source:
        records = source.records()
    return selected(records, () if methods is None else names_of(methods), words_of(settings))


def results(out: str | Path = DEFAULT_OUT) -> pandas.DataFrame:
    """Every trial of a results folder as one tidy row: its keys, status, metrics (fractions) and cost."""
    from bench.records.database import Store
    from bench.records.export import tidy

    with Store(out, create=False) as store:
        return tidy(store.records())


def evaluations(out: str | Path = DEFAULT_OUT) -> pandas.DataFrame:
    """Every evaluation of every trial as one tidy row: the trial's keys, the rule, what it stands for, missing share, metrics."""
    from bench.records.database import Store
    from bench.records.export import tidy_evaluations

    with Store(out, create=False) as store:
        return tidy_evaluations(store.records())


def board(
    out: str | Path = DEFAULT_OUT, *, published: str | Path | None = None, suite: str | None = None, metric: str | None = None,
    beside: str | Path | None = None,
) -> Board:  # fmt: skip
    """The board of the latest run in a results folder; `bench.leaderboard.markdown(board)` is its page.

    `published` reads a leaderboard folder, such as `leaderboards/quick`, instead.
    `suite` reads runs of this suite alone, instead of all like the latest; `metric` is what it ranks by, by default the suite's.
    `beside` is a CSV file of numbers that others printed, in points; its pages show them beside ours where setting, metric and method
    match. Raises: UsageError on bad input.
    """
    from bench.leaderboard import build
    from bench.leaderboard.printed import read_printed
    from bench.records.folder import answers_of

    printed = () if beside is None else read_printed(beside)
    return build(answers_of(out, published, suite).by(metric), printed)


def audit(methods: Names = "all", *, out: str | Path = DEFAULT_OUT, jobs: int = 1, quiet: bool = False) -> pandas.DataFrame:
    """One row per check of each method: whether it does what no method may do, as `bench audit` tries it.

    `methods` takes groups too; what is found is stored in the results folder `out`, `jobs` audits run at once.
    Raises: UsageError on bad input.
    """
    from dataclasses import asdict

    import pandas

    from bench.inspection.audit import expand, run_audits
    from bench.question.assemble import names_of

    found = run_audits(expand(names_of(methods)), out, _how(jobs, quiet))
    return pandas.DataFrame([asdict(finding) for finding in found])


def profile(
    methods: Names = "paper",
    dataset: str = "digits",
    *,
    combination: str = "all",
    protocol: str | None = None,
    noise: float | None = None,
    seed: int = 0,
    training: Mapping[str, Value] | None = None,
    depth: int = 1,
    device: str = "auto",
    threads: int = 1,
) -> pandas.DataFrame:
    """What methods cost, as `bench profile` measures it in one setting; nothing is trained.

    For each method rows with its cost over the test part (`observed` is "test") and over each observed combination (its letters),
    in all (`component` is "all") and for each component, nested `depth` levels. A method that fails has one row with its `reason`.
    Raises: UsageError on bad input.
    """
    import pandas

    from bench.data.loading import loaded_once
    from bench.inspection import profile as profiling

    threads, depth = int(threads), int(depth)
    with loaded_once():
        trials = profiling.trials_of(
            methods, dataset, combination=combination, protocol=protocol, noise=noise, seed=seed, training=training, device=device,
            threads=threads,
        )  # fmt: skip
        return pandas.DataFrame(profiling.tidy(profiling.profiles(trials, device, threads, depth)))


def analyze(
    what: str,
    methods: Names | None = None,
    *,
    suite: str | Path | Suite | None = None,
    datasets: Names | None = None,
    noise: float | str | Iterable[float] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    training: Mapping[str, Value] | None = None,
    out: str | Path = DEFAULT_OUT,
    figures: str | Path | None = None,
    formats: str | Iterable[str] = ("png",),
    jobs: int = 1,
    quiet: bool = False,
    **options: object,
) -> Analysis:
    """What methods did inside, as `bench analyze` tells it: routing, gradients, embeddings, supports or cost.

    `.summary`, `.rows` and `.points` are pandas tables. Trials that have no traces in the results folder `out` yet are trained; without
    a suite it asks about digits at missing rate 0.3, seed 0. With `figures`, a folder, tables and figures are written there and
    `.files` names them; `options` are further suite keys (combinations, protocols, ...).
    Raises: UsageError on bad input.
    """
    from functools import partial

    from bench.grid.progress import Lines
    from bench.inspection.analysis import analyse, write
    from bench.inspection.figures import check_formats

    wanted = check_formats(words_of(formats))
    given = {"methods": methods, "datasets": datasets, "noise": noise, "seeds": seeds, "training": training, **options}
    found = analyse(what, suite, given, out, _how(jobs, quiet, partial(Lines, "accuracy"), command="bench.analyze(...)"))
    if figures is not None:
        write(found, path_of(figures), wanted)
    return found


def compare(
    a: str | type,
    b: str | type,
    out: str | Path = DEFAULT_OUT,
    *,
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
    Raises: UsageError on bad input, and where the records must not be compared.
    """
    from bench.comparison.belonging import in_settings, label_of
    from bench.comparison.compare import compare as compared
    from bench.comparison.masks import masks_of
    from bench.question.assemble import names_of
    from bench.question.keys import number
    from bench.records.folder import NO_PREDICTIONS, answers_of

    a, b = (text if isinstance(text, str) else names_of(text)[0] for text in (a, b))
    wanted, allowed = words_of(settings), words_of(allow)
    answers = answers_of(out, published, suite)
    labels = [label_of(text, answers.records) for text in (a, b)]
    own = [record for record in in_settings(answers.records, wanted) if record.trial.label in labels]
    observed, notes = masks_of(own) if patterns else (None, [])
    if answers.withheld:
        notes = [*notes, f"{answers.folder} {NO_PREDICTIONS}; the tests it was published with stand in its significance.json"]
    margin = None if rope is None else number("rope", plain(rope)) / 100
    return compared(answers, a, b, metric=metric, settings=wanted, rope=margin, allow=allowed, observed=observed, notes=notes)


def check_data(names: Names) -> pandas.DataFrame:
    """One row per concern about each dataset, as `bench data check` finds them: dataset, check, level (serious or note), text.

    `names` are names, files or classes, as `datasets` of `run` takes them; without a concern there is no row. Raises: UsageError.
    """
    from dataclasses import asdict

    import pandas

    from bench.data.checkup import check_data as checked
    from bench.data.loading import loaded_once
    from bench.question.assemble import names_of

    with loaded_once():
        found = [checked(name) for name in names_of(names)]
    rows = [{"dataset": one.dataset, **asdict(concern)} for one in found for concern in one.concerns]
    return pandas.DataFrame(rows, columns=["dataset", "check", "level", "text"])


def reproduce(trial: str, out: str | Path = DEFAULT_OUT, *, published: str | Path | None = None, salt: str | Path | None = None) -> Repeat:
    """Run a stored trial again and compare bit for bit, as `bench reproduce` does; `.same` says whether every bit came again.

    `trial` is an id or the beginning of one; nothing is stored. `salt` is the results folder that `published` came from: rows under salted
    ids are then put side by side by id, else compared as a set. Raises: UsageError on bad input.
    """
    from bench.inspection.reproduction import reproduce as again
    from bench.records.folder import opened, salt_of

    with opened(out, published) as source:
        return again(source, trial, salt=salt_of(salt))


def bundle(out: str | Path = DEFAULT_OUT, *, methods: Names | None = None, to: str | Path | None = None, **source: Any) -> Bundle:
    """Records of some methods, or of all, as one file that others can verify; `.path` is where it lies.

    `source` may give `published` and `suite`, and `with_code=False`. Raises: UsageError on bad input.
    """
    from bench.leaderboard.bundling import bundle_of

    return bundle_of(out, words_of(methods), None if to is None else path_of(to), **source)


def verify(file: str | Path, *, reproduce: int = 0, **how: Any) -> Verification:
    """What of a bundle holds here, as `bench verify` says it; `.result`, `.lies` and `.missing` sum it up.

    `how` are its options: `seed`, `code`, `data`, `trust_code`, `minutes`, `by`. Raises: UsageError on bad input, or if it is no bundle.
    """
    from bench.inspection.submission import verify_file

    return verify_file(path_of(file), reproduce, **how)


def tune(
    suite: str | Path | Suite = "quick",
    *,
    methods: Names | None = None,
    datasets: Names | None = None,
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
    """One row per method and setting of a tuning on validation alone, as `bench tune` does it.

    Columns hold the default and the best validation score, the best options, what was spent, importances and curves; `attrs["file"]`
    is the file of winners, for `bench.run(configs=...)`. Each method gets `suggestions` in each setting, less where a budget ends
    first; `seeds` are those of the tuning, `study` names its folder, `plot` a file for curves and importances.
    Raises: UsageError on bad input.
    """
    from functools import partial

    import pandas

    from bench.data.loading import loaded_once
    from bench.drawing import check_plot
    from bench.grid.progress import SuggestionLines
    from bench.question.assemble import assemble, seeds_of
    from bench.studies.curves_plot import plot as draw
    from bench.studies.study import Budget
    from bench.studies.tuning import tune as run_tuning

    asked = {"methods": methods, "datasets": datasets, "combinations": combinations, "protocols": protocols, "noise": noise}
    drawn = None if plot is None else path_of(plot)
    if drawn is not None:
        check_plot(drawn)
    budget = Budget(*map(plain, (suggestions, budget_gflops, budget_minutes)))
    with loaded_once():
        chosen = assemble(suite, {**asked, "training": training, **options}, splits=False)
        how = _how(jobs, quiet, partial(SuggestionLines, chosen.selection), command="bench.tune(...)")
        found = run_tuning(chosen, out, budget, sampler, pruner, seeds_of(seeds), study, how)
    if drawn is not None:
        draw(found.results, drawn)
    frame = pandas.DataFrame([result.as_json() for result in found.results])
    frame.attrs["file"] = str(found.file)
    return frame


def export(
    file: str | Path | None = None, out: str | Path = DEFAULT_OUT, *, published: str | Path | None = None, methods: Names | None = None,
    settings: str | Iterable[str] | None = None, predictions: bool = False,
) -> pandas.DataFrame:  # fmt: skip
    """One flat row per trial, or with `predictions` per test sample of each trial, as `bench export` writes it; to `file` if one is given.

    The ending says what is written: .parquet (needs pyarrow), .csv or .csv.gz. Ids of samples stand as they are stored: in clear in a
    results folder. Raises: UsageError on bad input.
    """
    from bench.records.export import exported

    return exported(file, out, published, predictions, lambda: stored(out, published, methods, settings))


def load_weights(trial: str, out: str | Path = DEFAULT_OUT, *, device: str = "cpu") -> Weights:
    """The method of a stored trial with the weights that `keep_weights` kept: `.method` is the torch module, `.logits()` its test part's.

    `trial` is an id or the beginning of one. Raises: UsageError if there are no weights, or code or data are others by now.
    """
    from bench.training.weights import load_stored

    return load_stored(trial, out, device)

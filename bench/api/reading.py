"""What came of it: records, boards, comparisons, tables and weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.asking import DEFAULT_OUT
from bench.names import plain, words_of

if TYPE_CHECKING:
    import pandas

    from bench.comparison.differences import Comparison
    from bench.leaderboard import Board
    from bench.question.assemble import Names
    from bench.records.page import TrialPage
    from bench.records.record import Record
    from bench.training.weights import Weights


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
    beside: str | Path | None = None, by: str | Iterable[str] = (),
) -> Board:  # fmt: skip
    """The board of the latest run in a results folder; `bench.leaderboard.markdown(board)` is its page.

    `published` reads a leaderboard folder, such as `leaderboards/quick`, instead.
    `suite` reads runs of this suite alone, instead of all like the latest; `metric` is what it ranks by, by default the suite's.
    `beside` is a CSV file of numbers that others printed, in points or in the unit of the target; its pages show them beside ours where
    setting, metric and method match. `by` names attributes of samples, such as "sex": scores by their groups stand in `groups` of each
    setting. Raises: UsageError on bad input.
    """
    from bench.leaderboard import build
    from bench.leaderboard.groups import check_by
    from bench.leaderboard.printed import read_printed
    from bench.records.folder import answers_of

    printed = () if beside is None else read_printed(beside)
    answers, asked = answers_of(out, published, suite), words_of(by)
    check_by(answers, asked)
    return build(answers.by(metric), printed, asked)


def boards(
    out: str | Path = DEFAULT_OUT, *, published: str | Path | None = None, suite: str | None = None, beside: str | Path | None = None,
    by: str | Iterable[str] = (),
) -> list[Board]:  # fmt: skip
    """A board for each kind of target that the latest run has, by the suite's metric for it; otherwise as `board`."""
    from bench.leaderboard import build
    from bench.leaderboard.groups import check_by
    from bench.leaderboard.printed import read_printed
    from bench.records.folder import answers_of

    printed, asked = () if beside is None else read_printed(beside), words_of(by)
    found = answers_of(out, published, suite)
    check_by(found, asked)
    return [build(answers, printed, asked) for answers in found.by_metric()]


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
    answers = answers_of(out, published, suite).of_kind_of(metric)
    labels = [label_of(text, answers.records) for text in (a, b)]
    own = [record for record in in_settings(answers.records, wanted) if record.trial.label in labels]
    observed, notes = masks_of(own) if patterns else (None, [])
    if answers.withheld:
        notes = [*notes, f"{answers.folder} {NO_PREDICTIONS}; the tests it was published with stand in its significance.json"]
    margin = None if rope is None else number("rope", plain(rope)) / 100
    return compared(answers, a, b, metric=metric, settings=wanted, rope=margin, allow=allowed, observed=observed, notes=notes)


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

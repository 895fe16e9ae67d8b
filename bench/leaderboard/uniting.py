"""Published folders of one question, each of datasets of its own, as the answers of one board. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from bench.errors import UsageError
from bench.leaderboard.printed import FILE, Printed, read_printed
from bench.names import bare
from bench.question.suite import Suite
from bench.question.winners import winners_of
from bench.records import verification
from bench.records.answers import Answers, StoredPredictions, named
from bench.records.folder import Folder
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.text import listed

OWN = (
    "name",
    "title",
    "settings",
    "budgets",
    "metrics",
    "tuned",
    "by_default",
    "threads",
    "device",
    "minutes",
    "memory_gb",
)  # of each part


def united(folders: Sequence[Path]) -> tuple[Answers, list[Printed]]:
    """The answers of all folders as those of one board, and the printed numbers beside them; predictions are read when asked for.

    The suite is that of the first folder with the settings, budgets, metrics and winners of all. Trials stand in the order of the folders,
    so that a board which is united with more keeps the pieces of its predictions.
    Raises: UsageError that names what differs unless they ask one question of one code, and no dataset is in two of them.
    """
    parts = []
    for folder in folders:
        with Folder(folder) as found:
            found.refuse_withheld()
            if verification.of_folder(folder):
                raise UsageError(f"{folder} holds a method that was sent in and verified; unite the folders first, then add it with --add")
            parts.append((folder, found.answers()))
    for (_, first), (folder, other) in ((parts[0], part) for part in parts[1:]):
        reasons = [*_asked(first.suite, other.suite), *_code(first.records, other.records)]
        if reasons:
            raise UsageError(f"{folder} does not go with {folders[0]}: {'; '.join(reasons)}")
    _check_datasets(parts)
    answers = [one for _, one in parts]
    suite = replace(
        answers[0].suite,
        settings=tuple(dict.fromkeys(table for one in answers for table in one.suite.settings)),
        budgets=_tables("budgets", (one.suite.budgets for one in answers)),
        metrics=_tables("metrics", (one.suite.metrics for one in answers)),
        tuned=tuple(table for one in answers for table in one.suite.tuned),
    )
    records = named([record for one in answers for record in one.records], winners_of(suite))
    whose = {record.trial.id: one.predictions for one in answers for record in one.records}
    return (
        Answers(
            suite,
            records,
            StoredPredictions((record.trial.id for record in records), lambda ids: dict(_read(whose, ids))),
            list(dict.fromkeys(finding for one in answers for finding in one.audits)),
            list(dict.fromkeys(command for one in answers for command in one.commands)),
            left_out=list(dict.fromkeys(line for one in answers for line in one.left_out)),
            attributes={key: groups for one in answers for key, groups in one.attributes.items()},
        ),
        [printed for folder in folders if (folder / FILE).exists() for printed in read_printed(folder / FILE)],
    )


def _read(whose: Mapping[str, Mapping[str, Predictions]], ids: Iterable[str]) -> Iterator[tuple[str, Predictions]]:
    """Those of the trials that have some, each from the part that holds it; of a part only what is asked for is read."""
    wanted = list(ids)
    parts = {id(whose[id_]): whose[id_] for id_ in wanted}
    for key, part in parts.items():
        own = [id_ for id_ in wanted if id(whose[id_]) == key]
        found = part.read(own) if isinstance(part, StoredPredictions) else part
        yield from ((id_, found[id_]) for id_ in own if id_ in found)


def _asked(first: Suite, other: Suite) -> list[str]:
    """What the two suites ask in unlike ways."""
    keys = [one.name for one in fields(Suite) if one.name not in OWN]
    return [
        f"its suite has {key} = {_shown(getattr(other, key))}, the first {_shown(getattr(first, key))}"
        for key in keys
        if getattr(other, key) != getattr(first, key)
    ]


def _shown(value: object) -> str:
    return listed([str(one) for one in value]) if isinstance(value, tuple) else str(value)


def _code(first: Sequence[Record], other: Sequence[Record]) -> list[str]:
    """Harness and methods that are of unlike code."""
    found = []
    harness, theirs = ({record.trial.harness for record in records} for records in (first, other))
    if harness != theirs:
        found.append(f"its harness is {_shown(tuple(sorted(theirs)))}, that of the first {_shown(tuple(sorted(harness)))}")
    versions = {record.trial.method: record.trial.version for record in first}
    unlike = {bare(r.trial.method) for r in other if versions.get(r.trial.method, r.trial.version) != r.trial.version}
    if unlike:
        found.append(f"{listed(sorted(unlike))} is of other code")
    return found


def _check_datasets(parts: Sequence[tuple[Path, Answers]]) -> None:
    """Raises: UsageError if two parts have answers on one dataset."""
    seen: dict[str, Path] = {}
    for folder, answers in parts:
        for dataset in dict.fromkeys(record.trial.dataset_label for record in answers.records):
            if dataset in seen:
                raise UsageError(
                    f"{dataset} is in {seen[dataset]} and in {folder}; of folders that become one board, each has datasets of its own. "
                    "Trials of one dataset that were shared out are joined before they are published, by `bench merge`"
                )
            seen[dataset] = folder


def _tables(key: str, given: Iterable[Mapping[str, Mapping]]) -> dict[str, Mapping]:
    """The tables of all suites by dataset. Raises: UsageError if two say different things of one."""
    found: dict[str, Mapping] = {}
    for tables in given:
        for dataset, table in tables.items():
            if found.setdefault(dataset, table) != table:
                raise UsageError(f"the suites have different tables [{key}.{dataset}]: {dict(found[dataset])} and {dict(table)}")
    return found

"""A verified bundle joins a published folder: refused by name where it is not comparable, written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.errors import UsageError
from bench.leaderboard.folder import write, write_answers
from bench.names import Setting, bare_choice
from bench.question.suite import Suite
from bench.question.winners import winners_of
from bench.records import pieces
from bench.records import verification as files
from bench.records.answers import named
from bench.records.bundle import Bundle
from bench.records.folder import Folder
from bench.records.ids import SALTED
from bench.records.predictions import Predictions
from bench.records.public import public
from bench.records.record import Record
from bench.records.verification import Verification
from bench.text import count, listed

SHOWN = 5  # reasons named one by one


def join(bundle: Bundle, verification: Verification, folder: Path, draw: bool = True) -> list[str]:
    """Add the records of a bundle to a published folder and render it anew; returns what is to be said of it.

    The question of the folder, its lines and its predictions stay as they are; audits of a bundle stay out, for nobody here has made them.
    A test row of the bundle gets the id that it has in the folder.
    Raises: UsageError if the verification is of another file or found a lie, the records are not comparable with the folder's, or nothing
    can be written; the folder is then as it was.
    """
    _check_verified(bundle, verification)
    with Folder(folder) as found:
        old, suite = found.answers().records, found.suite
        if not pieces.of_folder(folder, pieces.PREDICTIONS):
            raise UsageError(f"{folder} publishes no predictions, so nothing can be paired with what it holds, and nothing joins it")
        stored = found.predictions(r.trial.id for r in old)
    answers = public(bundle.answers())
    new = list(answers.records)
    if [record.trial.id for record in new] != [record.trial.id for record in bundle.line]:
        raise UsageError(f"the bundle {bundle.path} names paths of a machine; make it anew with `bench bundle`")
    reasons = [*_names(old, new, suite), *_settings(old, new), *_ways(old, new), *_budgets(new, suite), *_data(old, new)]
    matched, off = _rows(old, new, stored, answers.predictions)
    reasons += off
    if reasons:
        more = f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
        raise UsageError(f"{bundle.path.name} does not belong on {folder}: {'; '.join(reasons[:SHOWN])}{more}")
    _write(folder, bundle, new, verification, {**stored, **matched}, draw)
    return _told(old, new, verification)


def _check_verified(bundle: Bundle, verification: Verification) -> None:
    if verification.bundle != bundle.sha256:
        raise UsageError(f"the verification is of another file than {bundle.path}; verify this one with `bench verify {bundle.path}`")
    if verification.lies:
        lie = verification.lies[0]
        raise UsageError(f"{bundle.path} is refuted, {lie.name}: {lie.detail}")
    if verification.missing:
        gap = verification.missing[0]
        raise UsageError(f"{bundle.path} is claimed alone, {gap.name}: {gap.detail}; verify it where the data are")


def _names(old: Sequence[Record], new: Sequence[Record], suite: Suite) -> list[str]:
    """Rows that would bear the name of one that is there."""
    there = {record.trial.label for record in old}
    choices = {bare_choice(record.trial.choice) for record in old}
    after = {r.trial.label for r in named([*old, *new], winners_of(suite))[: len(old)]}
    mine = dict.fromkeys((record.trial.label, bare_choice(record.trial.choice)) for record in new)
    found = [f"a row {label} is there" for label, choice in mine if label in there or choice in choices]
    return found or ([f"its name changes that of {listed(sorted(there - after))}"] if there - after else [])


def _settings(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """Settings and seeds that the board has not, and seeds of its settings that are left out."""
    asked: dict[Setting, set[int]] = defaultdict(set)
    for record in old:
        asked[record.setting].add(record.trial.seed)
    given: dict[tuple[str, Setting], set[int]] = defaultdict(set)
    for record in new:
        given[record.trial.label, record.setting].add(record.trial.seed)
    found = []
    for (label, setting), seeds in given.items():
        if setting not in asked:
            found.append(f"setting {setting.title} is none of the board")
            continue
        if seeds - asked[setting]:
            found.append(f"{label} has seed {_numbers(seeds - asked[setting])} on {setting.title}, which the board has not")
        if asked[setting] - seeds:
            found.append(f"{label} has no seed {_numbers(asked[setting] - seeds)} on {setting.title}: a partial grid")
    return found


def _numbers(seeds: Iterable[int]) -> str:
    return listed([str(seed) for seed in sorted(seeds)])


def _ways(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """What every trial of a board shares."""
    found = []
    for key, what in (("harness", "harness"), ("vary", "vary"), ("fixed_seed", "fixed seed")):
        theirs, ours = ({str(getattr(record.trial, key)) for record in records} for records in (new, old))
        if theirs - ours:
            found.append(f"its {what} is {listed(sorted(theirs))}, the board's {listed(sorted(ours))}")
    picked = {record.trial.dataset_label: record.trial.selection for record in old}
    for trial in (record.trial for record in new):
        if trial.selection != picked.get(trial.dataset_label, trial.selection):
            found.append(f"on {trial.dataset_label} its selection is {trial.selection}, the board's {picked[trial.dataset_label]}")
    rules = {record.setting: record.trial.evaluations for record in old}
    for record in new:
        if record.setting in rules and record.trial.evaluations != rules[record.setting]:
            found.append(f"on {record.setting.title} its trained models were tested under other rules than the board's")
    return list(dict.fromkeys(found))


def _budgets(new: Sequence[Record], suite: Suite) -> list[str]:
    """Training settings that are not the board's."""
    found = []
    for record in new:
        trial = record.trial
        asked = {**suite.training, **suite.configs.get(trial.method, {}), **suite.budget_of(trial.method, trial.dataset_choice)}
        own = {**trial.training, **{key: value for key, value in trial.options.items() if key in asked}}
        for key in sorted(own.keys() | (asked.keys() & record.facts.config.keys() if record.facts.best_epoch else set())):
            if own.get(key) != asked.get(key):
                found.append(
                    f"{trial.label} has {key} = {own.get(key, record.facts.config.get(key))}, the board {asked.get(key, 'its own')}"
                )
    return list(dict.fromkeys(found))


def _data(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """Fingerprints, and masks of the test part, that are not the board's."""
    prints = {record.trial.dataset_label: record.trial.fingerprint for record in old}
    masks = {_place(record): _masks(record) for record in old if record.status == "done"}
    found = []
    for record in new:
        trial = record.trial
        if prints.get(trial.dataset_label, trial.fingerprint) != trial.fingerprint:
            found.append(f"{trial.dataset_label} has fingerprint {trial.fingerprint}, the board's {prints[trial.dataset_label]}")
        elif record.status == "done" and masks.get(_place(record), _masks(record)) != _masks(record):
            found.append(
                f"its test mask on {trial.setting.title} is {record.test_mask}, the board's {masks[_place(record)].get('', 'none')}"
            )
    return list(dict.fromkeys(found))


def _place(record: Record) -> tuple[Setting, int | None]:
    return record.setting, record.trial.seed if record.trial.vary == "split" else None


def _masks(record: Record) -> dict[str, str]:
    return {"": record.test_mask, **{rule: one.mask for rule, one in record.facts.evaluations.items()}}


def _rows(
    old: Sequence[Record], new: Sequence[Record], stored: Mapping[str, Predictions], given: Mapping[str, Predictions]
) -> tuple[dict[str, Predictions], list[str]]:
    """The predictions of a bundle under the ids that the folder has for the same rows, which stand in the same order."""
    ours = {_place(record): stored[record.trial.id] for record in old if record.trial.id in stored}
    found, off = {}, []
    for record in new:
        own, there = given.get(record.trial.id), ours.get(_place(record))
        if own is None or there is None:
            continue
        if record.facts.ids == SALTED and not np.array_equal(own.ids, there.ids):
            dataset = record.trial.dataset_label
            off.append(f"its rows of {dataset} are under ids with another salt than the board's, so nobody can tell which is which")
        elif not np.array_equal(own.target, there.target) or own.outputs.shape != there.outputs.shape:
            off.append(f"its test labels on {record.setting.title} are not those of the board")
        found[record.trial.id] = replace(own, ids=there.ids, target=there.target)
    return {**{id_: one for id_, one in given.items() if id_ not in found}, **found}, list(dict.fromkeys(off))


def _write(
    folder: Path, bundle: Bundle, new: Sequence[Record], verification: Verification, stored: Mapping[str, Predictions], draw: bool
) -> None:
    """Build the folder anew beside itself, then let it take the place of the old one."""
    folder = folder.resolve()
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
            fresh = Path(place) / folder.name  # its name is that of its suite
            shutil.copytree(folder, fresh)
            write_answers(fresh, _lines(fresh, new, bundle.commands), [stored], stored)
            files.write_folder(fresh, [*files.of_folder(fresh), verification])
            write(fresh, draw)
            before = Path(place) / "before"
            folder.rename(before)
            try:
                fresh.rename(folder)
            except BaseException:
                before.rename(folder)
                raise
    except OSError as error:
        raise UsageError(f"{folder} cannot be written anew: {error.strerror}; it is as it was") from None


def _lines(folder: Path, new: Sequence[Record], commands: Sequence[str]) -> tuple[list[str], dict[str, object]]:
    """The lines of the records with those of new ones behind them, and what is said of all."""
    lines = list(pieces.lines(folder))
    place = next((place for place, line in enumerate(lines) if "commands" in json.loads(line)), None)
    last = {"commands": []} if place is None else json.loads(lines.pop(place))
    last["commands"] = list(dict.fromkeys([*last["commands"], *commands]))
    return [*lines, *(json.dumps(record.as_line(), sort_keys=True) for record in new)], last


def _told(old: Sequence[Record], new: Sequence[Record], verification: Verification) -> list[str]:
    settings = {record.setting for record in old}
    labels = dict.fromkeys(record.trial.label for record in new)
    said = [f"{listed(list(labels))} joined with {count(len(new), 'record')}, {verification.result}"]
    for label in labels:
        own = {record.setting for record in new if record.trial.label == label}
        if own != settings:
            said.append(f"{label} is in {len(own)} of {len(settings)} settings: it has no rank over all of them")
    if verification.asked == 0 or any(one.same is not True for one in verification.again):
        said.append(
            "not every trial was reproduced: where its records come from another commit or machine than the board's, nothing is tested; "
            "`bench verify --reproduce K` shows that they come again"
        )
    return said

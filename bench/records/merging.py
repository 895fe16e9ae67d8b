"""Results folders that were filled apart, such as the shards of a run, as one folder. Free of torch.

Whatever would make the merged board say something else than one run would have said is refused, before anything is written: another
question, other code or data, other packages, two answers to one question. What was merged once changes nothing when it is merged again,
and a merge that was cut off is finished by the same call. The parts are read and stay as they are.

A salt hides who is who in what is published from a folder. Parts that are copies of one folder share theirs, and the merged folder goes on
with it. Of different ones none is taken over: it would link what is published from here to what was published from one part, for everybody
who holds that part. The merged folder keeps, or draws, a salt of its own; ids that were published from a part stay linked to that part.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import tomllib
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from bench.errors import UsageError, unknown
from bench.names import bare_choice, path_of
from bench.question.trial import Trial
from bench.question.winners import FOLDER
from bench.records.answers import current
from bench.records.bits import differences
from bench.records.database import Run, Store
from bench.records.kept import files_of
from bench.records.predictions import Predictions
from bench.records.record import Finding, Record
from bench.records.scoring import mismatches
from bench.text import and_list, count, listed

T = TypeVar("T")
RANKS = ("planned", "failed", "skipped", "done")  # of two statuses of a trial the later one wins
KEEP = ("first", "last")
CHUNK = 200  # trials whose predictions are held at once
NAMED = 3  # of many things that are wrong, those that a message names
FAMILY = ("training", "configs", "selection", "vary", "fixed_seed", "budgets")  # keys of a suite that must be equal on a board


@dataclass(frozen=True)
class Part:
    """What is known of a results folder that is merged: all but the answers."""

    folder: Path
    runs: Sequence[Run]
    trials: Mapping[str, Trial]
    statuses: Mapping[str, str]
    shown: frozenset[str]  # ids of the trials that its own board shows, ended or not
    environments: Mapping[str, frozenset[str]]  # bench, python and packages of what is done -> versions
    machines: frozenset[str]
    salt: bytes | None
    audits: Mapping[tuple[str, str], list[Finding]]  # by method and version


class Twice(NamedTuple):
    """A trial that two parts have done with different bits."""

    trial: Trial
    one: Path
    other: Path
    how: str


@dataclass(frozen=True)
class Merged:
    """What a merge did. `print` it."""

    out: str
    parts: int
    statuses: Mapping[str, int]  # of all trials in the merged folder
    added: int  # trials that it did not have so before
    same: int  # that several had done, with the same bits
    differing: int  # that several had done with different bits, of which one was kept
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, object]:
        return {**asdict(self), "notes": list(self.notes)}

    def __str__(self) -> str:
        total = sum(self.statuses.values())
        by_status = ", ".join(f"{self.statuses[status]} {status}" for status in reversed(RANKS) if self.statuses.get(status))
        lines = [
            f"{count(self.parts, 'part')} in {self.out}: {count(total, 'trial')}{f' ({by_status})' if total else ''}, {self.added} new"
        ]
        lines += [f"{count(self.same, 'trial')} in several parts, with the same bits"] * bool(self.same)
        lines += [f"{count(self.differing, 'trial')} in several parts with different bits, of which one was kept"] * bool(self.differing)
        return "\n".join([*lines, *self.notes])


def merge(
    parts: Iterable[Path | str], out: Path | str, keep: str | None = None, mixed: bool = False, check: bool = False
) -> Merged:  # fmt: skip
    """Merge results folders into `out`, which may hold some of it already and is then merged first.

    `keep` says whose answer counts where two parts have done one trial with different bits; `mixed` allows different packages; `check`
    scores every stored prediction again. Raises: UsageError with what differs and where; then nothing was written.
    """
    if keep not in (None, *KEEP):
        raise unknown("value of keep", str(keep), KEEP)
    out = path_of(out)
    folders = _folders(parts, out)
    with ExitStack() as stack:
        for folder in folders:
            with Store(folder, create=False) as store:
                stack.enter_context(store.writing() if folder == out else store.idle())
        found = [_part(folder) for folder in folders]
        _check_families(found)
        _check_questions(found)
        notes = _check_environments(found, mixed)
        chosen, same, differing = _choose(found, keep)
        if check:
            for part in found:
                _check_scores(part, [id_ for id_, one in chosen.items() if one is part])
        return _write(found, out, chosen, same, differing, notes)


def _folders(parts: Iterable[Path | str], out: Path) -> list[Path]:
    """The folders to merge, what is in `out` first. Raises: UsageError."""
    given = [path_of(part) for part in parts]
    if not given:
        raise UsageError("nothing to merge: name the results folders of the parts")
    known: dict[Path, Path] = {}
    for folder in given:
        if (before := known.setdefault(folder.resolve(), folder)) is not folder:
            raise UsageError(f"{before} and {folder} are one folder; name each part once")
    if out.resolve() in known:
        raise UsageError(f"{out} is a part and cannot be the merged folder too; give another --out")
    return [*([out] if (out / "bench.db").exists() else []), *given]


def _part(folder: Path) -> Part:
    """Raises: UsageError if it cannot be read, or is damaged."""
    with Store(folder, create=False) as store:
        store.check_whole()
        runs, records = store.runs(), {record.trial.id: record for record in store.records()}
        audits: dict[tuple[str, str], list[Finding]] = defaultdict(list)
        for finding in store.audits():
            audits[finding.label, finding.version].append(finding)
        salt = store.known_salt()
    absent = [id_ for run in runs for _, id_ in run.plan if id_ not in records]
    if absent:
        raise UsageError(f"{folder} is damaged: its plan names the trial {absent[0]}, which it does not hold; copy it anew")
    family = runs[-1].family if runs else ""
    shown, _ = current([[records[id_] for _, id_ in run.plan] for run in runs if run.family == family])
    environments: dict[str, set[str]] = defaultdict(set)
    machines = set()
    for record in records.values():
        if record.status == "done":
            where = record.provenance
            environments["bench"].add(where.code)
            environments["python"].add(".".join(str(where.python).split(".")[:2]))
            for name, version in where.packages.items():
                environments[name].add(str(version))
            machines.add(f"{where.hardware}, {where.torch_device or where.device}")
    return Part(
        folder, runs, {id_: record.trial for id_, record in records.items()}, {id_: record.status for id_, record in records.items()},
        frozenset(record.trial.id for record in shown), {name: frozenset(values) for name, values in environments.items()},
        frozenset(machines), salt, audits,
    )  # fmt: skip


def _check_families(parts: Sequence[Part]) -> None:
    """A board holds runs of one budget, selection and variation: that of the latest. Raises: UsageError with the key that differs."""
    asked = [part for part in parts if part.runs]
    for part in asked[1:]:
        first, other = asked[0].runs[-1], part.runs[-1]
        if first.family != other.family:
            one, two = _tables(first), _tables(other)
            keys = [key for key in FAMILY if one.get(key) != two.get(key)]
            said = "; ".join(f"{key} is {_short(one.get(key))} and {_short(two.get(key))}" for key in keys)
            raise UsageError(
                f"{asked[0].folder} and {part.folder} cannot share a board, they ask under different conditions: {said or 'other keys'}; "
                "merge those that agree"
            )


def _tables(run: Run) -> dict[str, object]:
    return tomllib.loads(run.toml)


def _short(value: object) -> str:
    text = "not set" if value in (None, {}, []) else json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _check_questions(parts: Sequence[Part]) -> None:
    """One question has one id; a row of a board is of one code and one data, all of one harness. Raises: UsageError.

    Without this the latest plan would win on the merged board, and nobody would see that the other trials were left out.
    """
    seen: dict[tuple, tuple[object, Path]] = {}

    def compare(key: tuple, value: object, what: str, part: Part) -> None:
        before, where = seen.setdefault(key, (value, part.folder))
        if before != value:
            raise UsageError(
                f"{where} and {part.folder} hold {what} ({before} and {value}), which one board cannot show; run one of them again with "
                "the code and data of the other, or merge those that agree"
            )

    for part in parts:
        for id_ in sorted(part.shown):
            trial = part.trials[id_]
            method, dataset = bare_choice(trial.choice), bare_choice(trial.dataset_choice)
            training = json.dumps(dict(trial.training), sort_keys=True)
            compare(("harness",), trial.harness, "trials of different versions of the harness", part)
            compare(("data", dataset), trial.fingerprint, f"trials on different data of {dataset}", part)
            compare(("code", method, training), trial.version, f"trials of different code of {method}", part)
            question = (method, dataset, trial.combination, trial.protocol, trial.seed)
            where = f"{method} on {dataset} {trial.combination} {trial.protocol}, seed {trial.seed}"
            for name in ("training", "evaluations", "selection", "vary", "fixed_seed"):
                asked = json.dumps(trial.as_dict().get(name, []), sort_keys=True)
                compare((name, *question), asked, f"{where}, asked with different {name}", part)
            compare(("id", *question), id_, f"{where}, under different ids", part)


def _check_environments(parts: Sequence[Part], mixed: bool) -> list[str]:
    """Lines on what differs between the machines. Raises: UsageError if packages do, unless that is allowed."""
    said = []
    for name in sorted({name for part in parts for name in part.environments}):
        values: dict[str, list[str]] = defaultdict(list)
        for part in parts:
            for value in sorted(part.environments.get(name, ())):
                values[value].append(str(part.folder))
        if len(values) > 1:
            said.append(f"{name} {and_list([f'{value} ({listed(where, NAMED)})' for value, where in values.items()])}")
    if said and not mixed:
        raise UsageError(f"parts ran with different versions: {'; '.join(said)}; --mixed merges them, and the board says so")
    notes = [f"different versions, which the board says: {'; '.join(said)}"] if said else []
    machines = sorted({machine for part in parts for machine in part.machines})
    if len(machines) > 1:
        notes.append(
            f"different hardware: {'; '.join(machines)}; boards leave out times and memory, and claim no significance, where it mixes"
        )
    return notes


def _choose(parts: Sequence[Part], keep: str | None) -> tuple[dict[str, Part], dict[str, list[Part]], set[str]]:
    """The part whose answer counts for each trial; further parts with the same answer; trials with two answers.

    Raises: UsageError if two parts answer one question with different bits, unless `keep` says which counts.
    """
    holders: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        for id_ in part.trials:
            holders[id_].append(part)
    chosen, same = {}, {}
    pairs: dict[tuple[Path, Path], list[str]] = defaultdict(list)
    for id_, own in holders.items():
        best = max(RANKS.index(part.statuses[id_]) for part in own)
        own = [part for part in own if part.statuses[id_] == RANKS[best]]
        chosen[id_] = own[-1] if keep == "last" and RANKS[best] == "done" else own[0]
        if RANKS[best] == "done" and len(own) > 1:
            same[id_] = [part for part in own if part is not chosen[id_]]
            for part in same[id_]:
                pairs[chosen[id_].folder, part.folder].append(id_)
    unlike = [twice for (one, other), ids in pairs.items() for twice in _unlike(one, other, ids)]
    if unlike and keep is None:
        told = "; ".join(
            f"{found.trial.label} on {found.trial.setting.title}, seed {found.trial.seed}: {found.how}" for found in unlike[:NAMED]
        )
        more = f"; and {count(len(unlike) - NAMED, 'more')}" if len(unlike) > NAMED else ""
        raise UsageError(
            f"{count(len({found.trial.id for found in unlike}), 'trial')} done in two parts with different bits: {told}{more}; on one CPU "
            "with the same packages a trial gives the same bits, on GPUs it need not; --keep first or last says whose counts"
        )
    for twice in unlike:
        same[twice.trial.id] = [part for part in same[twice.trial.id] if part.folder != twice.other]
    return chosen, same, {twice.trial.id for twice in unlike}


def _unlike(one: Path, other: Path, ids: Sequence[str]) -> Iterator[Twice]:
    with Store(one, create=False) as first, Store(other, create=False) as second:
        for chunk in _chunks(ids):
            here, there = _read(first, chunk), _read(second, chunk)
            for id_ in chunk:
                a, b = here.get(id_), there.get(id_)
                if a is None and b is None:
                    continue
                arrays, rows, largest, changed = (("stored predictions",), 0, 0.0, None) if a is None or b is None else differences(a, b)
                if arrays:
                    records = first.record(id_), second.record(id_)
                    machines = " and ".join(f"{folder} on {r.provenance.hardware}, {r.provenance.torch_device or r.provenance.device}"
                                            for folder, r in zip((one, other), records, strict=True))  # fmt: skip
                    size = "" if changed is None else f", by {largest:.3g} at most, {changed} of {rows} predicted classes changed"
                    yield Twice(records[0].trial, one, other, f"{', '.join(arrays)} differ{size} ({machines})")


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _read(store: Store, ids: Iterable[str]) -> dict[str, Predictions]:
    """Stored predictions. Raises: UsageError if bytes of them are no predictions."""
    try:
        return store.predictions(ids)
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"predictions in {store.folder} cannot be read: {error}; copy the folder anew") from None


def _answers(store: Store, ids: Sequence[str]) -> Iterator[tuple[Record, Predictions | None]]:
    wanted = set(ids)
    records = [record for record in store.records() if record.trial.id in wanted]
    for chunk in _chunks(records):
        predictions = _read(store, [record.trial.id for record in chunk if record.status == "done"])
        for record in chunk:
            yield record, predictions.get(record.trial.id)


def _check_scores(part: Part, ids: Sequence[str]) -> None:
    """Raises: UsageError if a record does not say what its predictions give, or is done and has none."""
    wrong: list[str] = []
    with Store(part.folder, create=False) as store:
        for record, predictions in _answers(store, ids):
            if record.status == "done":
                if predictions is None:
                    wrong.append(f"trial {record.trial.id} is done and has no predictions")
                else:
                    wrong += map(str, mismatches(record, predictions))
    if wrong:
        raise UsageError(f"{part.folder}: {'; '.join(wrong[:NAMED])}{f', and {len(wrong) - NAMED} more' if len(wrong) > NAMED else ''}")


def _write(
    parts: Sequence[Part], out: Path, chosen: Mapping[str, Part], same: Mapping[str, list[Part]], differing: set[str], notes: list[str]
) -> Merged:
    """Everything was looked at: now it is written, one transaction a part."""
    here = parts[0] if parts[0].folder == out else None
    others = [part for part in parts if part is not here]
    before, notes, added = ({} if here is None else here.statuses), list(notes), 0
    with Store(out) as store, store.writing() if here is None else nullcontext():
        salts = {part.salt for part in others if part.salt is not None}
        if here is None and len(salts) == 1:
            store.keep_salt(salts.pop())
        elif salts - {store.salt()}:
            notes.append(f"ids of samples in what is published from {out} are hashed with a salt of its own, not with those of the parts")
        runs = joined([part.runs for part in parts])
        planned = dict.fromkeys(id_ for run in runs for _, id_ in run.plan)
        order = [*planned, *(id_ for id_ in chosen if id_ not in planned)]
        if runs != store.runs() or any(id_ not in before for id_ in order):
            store.lay_out(runs, (chosen[id_].trials[id_] for id_ in order))
        for part in others:
            own = [id_ for id_ in order if chosen[id_] is part]
            _copy_files(part, out, own, replaces=True)
            _copy_files(part, out, [id_ for id_, further in same.items() if part in further], replaces=False)
            with Store(part.folder, create=False) as source:
                store.add(_answers(source, own), source.ends())
                store.note_attributes(source.attributes(trial.fingerprint for trial in part.trials.values()))
            added += len(own)
            if (part.folder / FOLDER).is_dir():
                notes.append(f"tunings stay where they are: {part.folder / FOLDER}")
        notes += _merge_audits(here, others, store)
        statuses = Counter(store.statuses().values())
    return Merged(str(out), len(others), dict(statuses), added, sum(map(bool, same.values())), len(differing), tuple(notes))


def joined(folders: Sequence[Sequence[Run]]) -> list[Run]:
    """The runs of several folders, oldest first, those that ask the same as one: the latest of a folder with the latest of another.

    Its plan holds the trials of all in the order of the whole plan, so that shards give what the run that was cut would have.
    """
    found: dict[tuple, list[Run]] = defaultdict(list)
    for runs in folders:
        later = Counter[tuple]()
        for run in reversed(runs):
            found[run.question, later[run.question]].append(run)
            later[run.question] += 1
    together = []
    for same in found.values():
        places: dict[str, int] = {}
        for run in same:
            for position, id_ in run.plan:
                places[id_] = min(position, places.get(id_, position))
        plan = tuple(sorted((position, id_) for id_, position in places.items()))
        together.append(replace(same[0], started=min(run.started for run in same), plan=plan))
    return sorted(together, key=lambda run: run.started)


def _copy_files(part: Part, out: Path, ids: Iterable[str], replaces: bool) -> None:
    """Logs, traces and weights of these trials; one that is there already only where it `replaces` it. Each comes whole or not at all."""
    try:
        for trial in (part.trials[id_] for id_ in ids):
            for source, target in zip(files_of(trial, part.folder), files_of(trial, out), strict=True):
                if source.is_file() and (not target.exists() or (replaces and not filecmp.cmp(source, target, shallow=False))):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    half = target.with_name(f"{target.name}.part")
                    shutil.copyfile(source, half)
                    half.replace(target)
    except OSError as error:
        raise UsageError(f"files of {part.folder} cannot be copied to {out}: {error}; mend that, and the same command goes on") from None


def _merge_audits(here: Part | None, parts: Sequence[Part], store: Store) -> list[str]:
    """Audits of all; where two of one code disagree, the one that failed more counts. Returns a line on each such."""
    known = dict(here.audits) if here is not None else {}
    notes = []
    for part in parts:
        for key, findings in part.audits.items():
            verdicts, before = _verdicts(findings), _verdicts(known.get(key, []))
            if before and verdicts != before:
                notes.append(f"audits of {key[0]} disagree, the one with more failures counts")
            if not before or sum(verdicts.values()) < sum(before.values()):
                known[key] = findings
                store.write_audit(findings)
    return notes


def _verdicts(findings: Iterable[Finding]) -> dict[str, bool]:
    return {finding.check: finding.passed for finding in findings}

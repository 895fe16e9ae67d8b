"""What a bundle claims, looked at claim by claim: its grid, budget, code, data, masks, rows, labels and scores. Trains nothing.

Each function takes a bundle and gives a `Check`: it holds, it does not (with the first that does not), or it could not be looked at.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from bench import registry
from bench.data.grammar import parse_rule
from bench.data.loading import load
from bench.data.parts import Parts
from bench.errors import UsageError
from bench.methods.catalog import CEILING
from bench.names import Choice, bare, bare_choice, is_description, is_file, parse_choice
from bench.question.parts import parts_of
from bench.question.plan import planned_settings
from bench.question.trial import HARNESS_VERSION, Trial
from bench.question.winners import winners_of
from bench.records.bundle import Bundle, Code
from bench.records.facts import told as told_of
from bench.records.ids import SALTED
from bench.records.record import Record
from bench.records.scoring import mismatches, scored
from bench.records.verification import Check
from bench.registry import code as source_code
from bench.registry.text import digest
from bench.stats.kinds import Kind, kind_of
from bench.stats.metrics import listed_metrics
from bench.text import count, listed

TINY = 1e-9  # probabilities of a row sum to 1, and shares are equal, up to this
SUMS = 1e-4  # of probabilities in single precision


@dataclass(frozen=True)
class Here:
    """A bundle beside what this machine has: its data, and the classes of its methods."""

    bundle: Bundle
    classes: Mapping[str, type[Any]]  # method as its trials name it -> its class here

    @property
    def done(self) -> list[Record]:
        return [record for record in self.bundle.line if record.status == "done"]

    @cached_property
    def absent(self) -> dict[str, str]:
        """Datasets that are not here, and why."""
        found = {}
        for choice in {record.trial.dataset_choice: _dataset(record.trial) for record in self.bundle.line}.values():
            try:
                if (is_file(choice.name) or is_description(choice.name)) and "/" not in choice.name:
                    raise UsageError(f"{choice.name} is a file of whoever made the bundle; name yours with --data PATH/{choice.name}")
                load(choice)
            except UsageError as error:
                found[str(choice)] = str(error)
        return found

    @cached_property
    def parts(self) -> dict[str, Parts | str]:
        """By trial that is done and whose data are here: its parts, drawn anew, or why they cannot be."""
        drawn: dict[tuple, Parts | str] = {}
        found = {}
        for record in self.done:
            trial = record.trial
            if trial.dataset_choice in self.absent:
                continue
            key = (trial.dataset_choice, trial.combination, trial.protocol, trial.seed, trial.fixed_seed, trial.vary)
            if key not in drawn:
                try:
                    drawn[key] = parts_of(replace(trial, fingerprint=load(_dataset(trial)).fingerprint, harness=HARNESS_VERSION))[1]
                except UsageError as error:
                    drawn[key] = str(error)
            found[trial.id] = drawn[key]
        return found

    def drawn(self) -> Iterator[tuple[Record, Parts]]:
        for record in self.done:
            parts = self.parts.get(record.trial.id)
            if isinstance(parts, Parts):
                yield record, parts


def _dataset(trial: Trial) -> Choice:
    return Choice(trial.dataset, "", trial.dataset_options)


def told(name: str, wrong: list[str], well: str, absent: Iterable[str] = ()) -> Check:
    """A lie if something is wrong, open if something was not here, else that all is well."""
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return Check(name, False, f"{wrong[0]}{more}")
    missing = list(absent)
    return Check(name, None, "; ".join(missing)) if missing else Check(name, True, well)


def harness(here: Here) -> Check:
    """Trials are of this harness: numbers of another are not worked out as here."""
    others = sorted({record.trial.harness for record in here.bundle.line} - {HARNESS_VERSION})
    wrong = [f"trials are of harness {listed(list(map(str, others)))}, this bench is of {HARNESS_VERSION}"] if others else []
    return told("harness", wrong, f"version {HARNESS_VERSION}")


def grid(here: Here) -> Check:
    """Every method has a record for each seed and setting that the question asks for: none was left out for its score."""
    bundle, wrong = here.bundle, []
    seeds: dict[str, dict[tuple[str, ...], set[int]]] = defaultdict(lambda: defaultdict(set))
    for record in bundle.answers().records:
        trial = record.trial
        seeds[trial.label][bare_choice(trial.dataset_choice), trial.combination, trial.protocol].add(trial.seed)
    present = [name for table in bundle.suite.settings for name in table.datasets if not _is_absent(name, here.absent)]
    tables = [replace(table, datasets=tuple(name for name in table.datasets if name in present)) for table in bundle.suite.settings]
    asked: set[tuple[str, ...]] = set()
    kept = tuple(table for table in tables if table.datasets)
    if kept:
        try:
            asked = {(bare_choice(one.setting.dataset), *one.setting[1:]) for one in planned_settings(replace(bundle.suite, settings=kept))}
        except UsageError as error:
            wrong.append(f"the question cannot be asked: {error}")
    winners = winners_of(bundle.suite)  # rows of a setting of their own, as those of a ceiling are
    of_some = {CEILING, *(r.trial.label for r in bundle.answers().records if any(winner.made(r.trial) for winner in winners))}
    for label, settings in seeds.items():
        gone = [] if label in of_some else sorted(asked - set(settings))
        wrong += [f"{label} has no record on {' '.join(setting)}, which the question asks for" for setting in gone]
        for setting, there in settings.items():
            lost = sorted(set(bundle.suite.seeds) - there)
            if lost:
                wrong.append(
                    f"{label} on {' '.join(setting)} has no record of seed {listed(list(map(str, lost)))}, which the question asks for"
                )
    well = f"{count(len(bundle.line), 'record')}, {count(len(here.done), 'trial')} done, every seed and setting of the question"
    return told("grid", wrong, well, [f"settings of {name} are not known here" for name in here.absent])


def _is_absent(name: str, absent: Mapping[str, str]) -> bool:
    choice = parse_choice(name)
    return str(Choice(choice.name, "", choice.options)) in absent


def budget(here: Here) -> Check:
    """Every trial was asked under the question's rules and budget, and says the Config that these give."""
    suite, wrong = here.bundle.suite, []
    for record in here.bundle.line:
        trial, where = record.trial, f"trial {record.trial.id}"
        asked_selection = suite.on(trial.dataset_choice).selection
        if trial.selection not in listed_metrics(asked_selection):
            wrong.append(f"{where} has selection {trial.selection!r}, the question {asked_selection!r}")
        for key in ("vary", "fixed_seed"):
            if getattr(trial, key) != getattr(suite, key):
                wrong.append(f"{where} has {key} {getattr(trial, key)!r}, the question {getattr(suite, key)!r}")
        method, data = bare(trial.method), str(Choice(bare(trial.dataset), "", trial.dataset_options))
        own = suite.configs.get(method, {}).keys() | suite.own_budget_of(method, data).keys()
        asked = {**suite.training, **suite.configs.get(method, {}), **suite.budget_of(method, data)}
        for key in sorted(trial.training.keys() | (asked.keys() & record.facts.config.keys())):
            if key not in trial.training and (not record.facts.best_epoch or not _reaches(here.classes.get(trial.method), own, key)):
                continue  # a method that fits itself takes no budget, and one from outside what its Config shares
            if trial.training.get(key) != asked.get(key):
                wrong.append(f"{where} was trained with {key} = {trial.training.get(key)}, the question says {asked.get(key)}")
        wrong += _config(record, here.classes.get(trial.method))
    return told("budget", wrong, "selection, seeds and training as the question says")


def _reaches(cls: type[Any] | None, own: Container[str], key: str) -> bool:
    """Whether what the question says of a field reaches a method: `own` are those that it says for it alone.

    Of a class that is not here, its own fields are not known.
    """
    return key in own or key in registry.shared_fields(cls)


def _config(record: Record, cls: type[Any] | None) -> list[str]:
    trial, said = record.trial, record.facts.config
    epochs = said.get("epochs")
    if record.facts.best_epoch and isinstance(epochs, int) and record.facts.best_epoch > epochs:
        return [f"trial {trial.id} chose epoch {record.facts.best_epoch} of {epochs}"]
    if cls is None or record.status != "done":
        return []
    config = vars(registry.config_of(cls, Choice(trial.method, trial.preset, trial.options), trial.training))
    plain = {key: value for key, value in config.items() if isinstance(value, bool | int | float | str)}
    own, told_of = _recipes(record, cls)
    if own != told_of:
        return [
            f"trial {trial.id} says it was trained with {listed(told_of) or 'nothing of its own'}, its method has {listed(own) or 'none'}"
        ]
    off = [key for key in sorted(plain.keys() | said.keys()) if plain.get(key) != said.get(key)]
    return [f"trial {trial.id} says {off[0]} = {said.get(off[0])}, its method has {plain.get(off[0])}"] if off else []


def _recipes(record: Record, cls: type[Any]) -> tuple[list[str], list[str]]:
    """The hooks of training that a method has of its own, and those that its record names, in words."""
    from bench.methods.base import Method
    from bench.training.recipe import HOOKS, has_own

    own = [words for hook, words in HOOKS.items() if issubclass(cls, Method) and has_own(cls, hook)]
    return own, [words for words in record.facts.recipe if words in HOOKS.values()]


def code(here: Here) -> Check:
    """The version of each method is the hash of the code in the bundle, and of the code here, as far as either is there."""
    told_of = {(one.method, one.version): one for one in here.bundle.code}
    wrong, absent = [], []
    for trial in {(record.trial.method, record.trial.version): record.trial for record in here.bundle.line}.values():
        said = told_of.get((bare_choice(trial.method), trial.version))
        cls = here.classes.get(trial.method)
        if cls is not None:
            config = registry.config_of(cls, Choice(trial.method, trial.preset, trial.options), trial.training)
            now = registry.version_of(cls, config)
            if now != trial.version:
                wrong.append(f"{bare_choice(trial.choice)} is of version {trial.version}, its code here of {now}")
        if said is not None and said.parts:
            wrong += _of_texts(said, here.bundle.texts)
        elif cls is None:
            absent.append(f"the code of {trial.method} is neither in the bundle nor here; name it with --code PATH/{trial.method}")
    return told("code", wrong, "versions are the hashes of the code", absent)


def _of_texts(said: Code, texts: Mapping[str, bytes]) -> list[str]:
    """Whether a version is the hash of its parts, and each part that of its text; of the suite's own, of the text here."""
    if source_code.version_from(said.parts, said.contents) != said.version:
        return [f"{said.method} is of version {said.version}, and its parts make {source_code.version_from(said.parts, said.contents)}"]
    wrong = []
    for part, member in said.texts.items():
        try:
            is_same = digest(texts[member].decode("utf-8")) == said.parts.get(part)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            is_same = False
        if not is_same:
            wrong.append(f"{member} is not the code that version {said.version} of {said.method} is the hash of")
    for part, then in said.parts.items():
        if part.startswith(source_code.OURS) and source_code.digest_of_module(part) != then:
            wrong.append(f"{said.method} ran with another {part} than the one here")
    loose = [part for part in said.parts if not part.startswith(("==", *source_code.OURS)) and part not in said.texts]
    return wrong if not loose or not said.texts else [*wrong, f"{said.method} ran with {loose[0]!r}, whose text is not in the bundle"]


def data(here: Here) -> Check:
    """Fingerprints are those of the data here."""
    wrong = []
    for trial in {(record.trial.dataset_choice, record.trial.fingerprint): record.trial for record in here.bundle.line}.values():
        if trial.dataset_choice not in here.absent:
            now = load(_dataset(trial)).fingerprint
            if now != trial.fingerprint:
                wrong.append(f"{trial.dataset_choice} has fingerprint {trial.fingerprint}, the data here {now}")
    names = listed(sorted({record.trial.dataset_choice for record in here.bundle.line}))
    return told("data", wrong, f"{names} here too, with the same fingerprint", _not_here(here))


def _not_here(here: Here) -> list[str]:
    return [f"{name} is not here: {reason}" for name, reason in here.absent.items()]


def masks(here: Here) -> Check:
    """What was hidden in each part, drawn anew from the seed: hashes, shares, and modalities that training never saw."""
    wrong = [f"trial {id_}: {parts}" for id_, parts in here.parts.items() if isinstance(parts, str)]
    for record, parts in here.drawn():
        facts, where = record.facts, f"trial {record.trial.id}"
        for name, part in parts.named().items():
            if facts.masks.get(name) != part.mask:
                wrong.append(f"{where}: the {name} mask is said to be {facts.masks.get(name)}, drawn anew it is {part.mask}")
            elif not _close(facts.missing.get(name), part.missing):
                wrong.append(f"{where}: {facts.missing.get(name)} of the {name} part is said to be missing, drawn anew {part.missing}")
        if list(facts.unseen) != list(parts.unseen):
            wrong.append(f"{where}: training is said never to see {list(facts.unseen)}, drawn anew it is {list(parts.unseen)}")
        for rule in record.trial.evaluations:
            part, said = parts.under(parse_rule(rule)), facts.evaluations.get(rule)
            if said is None or said.mask != part.mask or not _close(said.missing, part.missing):
                wrong.append(f"{where}: the mask under {rule} is said to be {said.mask if said else 'none'}, drawn anew it is {part.mask}")
    return told("masks", wrong, "drawn anew from the seeds, all the same", here.absent)


def _close(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and abs(a - b) <= TINY)


def splits(here: Here) -> Check:
    """The rows of each part, and what is said of them: test rows by their ids where these are the data's own, else by their order.

    Rows under salted ids stand in the order of these, so there is only their number to compare; no public ids may be salted.
    """
    wrong, by_order, as_set = [], set(), set()
    for record, parts in here.drawn():
        trial, where = record.trial, f"trial {record.trial.id}"
        dataset, samples, _ = load(_dataset(trial))
        stored = here.bundle.stored[trial.id]
        rows = {name: len(part) for name, part in parts.named().items()}
        if dict(record.facts.rows) != rows:
            wrong.append(f"{where}: the parts are said to have {dict(record.facts.rows)} rows, split anew {rows}")
        own, ids = parts.test.samples.ids.astype(str), stored.ids.astype(str)
        if len(own) != len(ids):
            wrong.append(f"{where}: {len(ids)} test rows are predicted, split anew there are {len(own)}")
        elif record.facts.ids == SALTED:
            as_set.add(trial.dataset_choice)
            if dataset.public_ids:
                wrong.append(f"{where}: its ids are said to be salted, and those of {trial.dataset_choice} are public")
        elif np.isin(ids, samples.ids.astype(str)).any():
            if not np.array_equal(own, ids):
                place = int((own != ids).argmax())
                wrong.append(f"{where}: test row {place} is said to be {ids[place][:40]!r}, split anew it is {own[place][:40]!r}")
        else:
            by_order.add(trial.dataset_choice)
        here_told = told_of(samples.schema.target)
        said = {"classes": list(record.facts.classes), **({"target": dict(record.facts.target)} if record.facts.target else {})}
        if said != here_told or stored.outputs.shape[1] != samples.schema.outputs:
            wrong.append(f"{where}: its {samples.schema.target.kind} are said to be {_asked(said)}, here {_asked(here_told)}")
        if record.facts.synthetic != dataset.synthetic:
            wrong.append(f"{where}: {trial.dataset_choice} is said to be {'synthetic' if record.facts.synthetic else 'real'}, and is not")
        notes = count(len(set(record.facts.notes)), "thing")  # their words may name rows, and were cleaned
        if notes != count(len(set(parts.notes)), "thing"):
            wrong.append(f"{where}: {notes} are to be known of its rows, it says; split anew it is: {'; '.join(parts.notes) or 'nothing'}")
    order = f"; the ids of {listed(sorted(by_order))} are not the data's own, so rows were told by their order" if by_order else ""
    order += f"; the ids of {listed(sorted(as_set))} are salted, so rows and labels were compared as a set" if as_set else ""
    return told("split", wrong, f"split anew, the same rows{order}", here.absent)


def labels(here: Here) -> Check:
    """The targets beside the predictions are the labels of the data here."""
    wrong = []
    for record, parts in here.drawn():
        said, own = here.bundle.stored[record.trial.id].target, parts.test.samples.target
        if record.facts.ids == SALTED:
            said, own = _as_set(said), _as_set(own)
        if said.shape != own.shape or said.dtype.kind != own.dtype.kind:
            wrong.append(f"trial {record.trial.id}: its test labels are {said.dtype} {said.shape}, here {own.dtype} {own.shape}")
        elif not np.array_equal(said, own):
            off = int((said != own).reshape(len(own), -1).any(1).sum())
            wrong.append(f"trial {record.trial.id}: {off} of {len(own)} test labels are not those of {record.trial.dataset_choice} here")
    return told("labels", wrong, "those of the data here", here.absent)


def _asked(told: Mapping[str, Any]) -> object:
    """What is to be told of a row: classes by name, else the whole target."""
    return told.get("target", told["classes"])


def _as_set(target: np.ndarray) -> np.ndarray:
    """Rows in an order that they alone decide."""
    return target[np.lexsort(target.reshape(len(target), -1).T[::-1])]


def scores(here: Here) -> Check:
    """Every metric and histogram is what the predictions give, and nothing stands there that they do not give."""
    wrong = []
    for record in here.done:
        where, stored = f"trial {record.trial.id}", here.bundle.stored[record.trial.id]
        kind = kind_of(stored.target)
        if stored.form == "scores" and not _are_scores(kind, stored.outputs, *stored.evaluations.values()):
            wrong.append(f"{where}: its scores are no {kind.called}")
            continue
        rules, facts = set(record.trial.evaluations), record.facts
        if set(facts.evaluations) != rules or set(stored.evaluations) != rules:
            wrong.append(f"{where}: it has scores under {sorted(facts.evaluations)}, and its question asks for {sorted(rules)}")
            continue
        said = {"": record.metrics, **{rule: one.metrics for rule, one in facts.evaluations.items()}}
        names = set(scored(stored.target, stored.scores).metrics)
        for rule, metrics in said.items():
            if set(metrics) != names:
                wrong.append(
                    f"{where}: it has {listed(sorted(set(metrics) ^ names))} {f'under {rule} ' * bool(rule)}in too many or too few"
                )
        if kind.name != "value" and (not facts.histogram or any(not one.histogram for one in facts.evaluations.values())):
            wrong.append(f"{where}: it does not say how often each class is the predicted one")
        if facts.test_evaluations != 1:
            wrong.append(f"{where}: its test part was scored {facts.test_evaluations} times, and may be once")
        wrong += map(str, mismatches(record, stored))
    return told("scores", wrong, f"{count(len(here.done), 'trial')} scored anew, every metric the same")


def _are_scores(kind: Kind, *outputs: np.ndarray) -> bool:
    if kind.name != "classes":
        return not any(kind.wrong(one, *one.shape) for one in outputs)
    return all((one >= -TINY).all() and (np.abs(one.sum(1, dtype=np.float64) - 1) <= SUMS).all() for one in outputs)


def reasons(here: Here) -> Check:
    """A trial without a score says why, and has none."""
    wrong = [
        f"trial {record.trial.id} is {record.status} and has scores"
        for record in here.bundle.line
        if record.status != "done" and any(not math.isnan(value) for value in record.metrics.values())
    ]
    wrong += [
        f"trial {r.trial.id} is {r.status} and says no reason"
        for r in here.bundle.line
        if r.status in ("failed", "skipped") and not r.reason
    ]
    return told("status", wrong, "trials without a score say why")


CLAIMS: tuple[Callable[[Here], Check], ...] = (harness, grid, reasons, budget, code, data, masks, splits, labels, scores)

"""From a suite to its trials: every one of them checked, and known by its id, before anything runs. Free of torch itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench import registry
from bench.data.attributes import Attributes
from bench.data.checkup import Subject
from bench.data.checkup import concerns as checkup
from bench.data.grammar import evaluation_rules, parse_protocol
from bench.data.loading import load_checked, schema_of
from bench.data.protocol import Protocol
from bench.data.splits import noticed, split_rows
from bench.datasets.base import Dataset, Samples, Schema
from bench.errors import UsageError, unknown
from bench.methods.catalog import CEILING
from bench.names import Choice, Setting, Value, bare, bare_choice, format_value, parse_choice
from bench.question import budgets
from bench.question.suite import Suite, with_one_name
from bench.question.trial import Trial
from bench.question.winners import with_winners
from bench.stats.kinds import KINDS
from bench.stats.metrics import metric_for
from bench.text import listed

MOST_NOTICES = 6  # of a dataset


def plan(suite: Suite) -> list[Trial]:
    """All trials of a suite, seed by seed, every name and option checked. Raises: UsageError."""
    suite = with_one_name(suite)
    choices = registry.expand_methods(suite.methods)
    classes = {str(choice): registry.method_class(choice.name) for choice in choices}
    _check_training(suite, choices, classes)
    trials: dict[str, Trial] = {}
    settings = planned_settings(suite)
    if any(planned.has_posterior for planned in settings):
        classes.setdefault(CEILING, registry.method_class(CEILING))
    trainings: dict[tuple[str, str], tuple[dict, str]] = {}  # of a method on a dataset: its training, and its version with that
    evaluations = {planned.setting: planned.evaluations() for planned in settings}
    for seed in suite.seeds:
        for planned in settings:
            ceilings = [Choice(CEILING)] if planned.has_posterior else []
            for choice in [*choices, *(ceiling for ceiling in ceilings if ceiling not in choices)]:
                cls = classes[str(choice)]
                data = str(Choice(planned.dataset.name, "", planned.dataset.options))
                known = (str(choice), data)
                if known not in trainings:
                    training = _relevant(cls, suite, choice.name, data)
                    trainings[known] = training, registry.version_of(cls, registry.config_of(cls, choice, training))
                training, version = trainings[known]
                trial = Trial(
                    method=choice.name,
                    preset=choice.preset or next(iter(cls.presets)),
                    options=dict(choice.options),
                    training=training,
                    dataset=planned.dataset.name,
                    dataset_options=dict(planned.dataset.options),
                    combination=planned.setting.combination,
                    protocol=planned.setting.protocol,
                    seed=seed,
                    selection=planned.selection,
                    vary=suite.vary,
                    fixed_seed=suite.fixed_seed,
                    fingerprint=planned.fingerprint,
                    version=version,
                    evaluations=evaluations[planned.setting],
                )
                trials.setdefault(trial.id, trial)  # a file and its copy ask one question
    return with_winners(suite, list(trials.values()))


def outline(suite: Suite) -> list[dict[str, object]]:
    """What a suite asks, a row for each method and setting, as far as its own text tells: the data need not be here."""
    choices = registry.expand_methods(suite.methods)
    wanted = [
        {"dataset": name, "combination": combination, "protocol": protocol, "seeds": len(suite.seeds)}
        for setting in suite.settings
        for name in setting.datasets
        for combination in setting.combinations
        for protocol in setting.protocol_texts()
    ]
    return [{"method": str(choice), **row} for choice in choices for row in wanted]


@dataclass
class PlannedSetting:
    """One setting of a suite, with what is known of its data and all that the suite's tables ask of the test part."""

    setting: Setting
    dataset: Choice
    fingerprint: str
    has_posterior: bool
    selection: str  # the metric that picks checkpoints there: the dataset's own, or the suite's of this kind of target
    schema: Schema  # of `load`: letters and kinds hold for every method, shapes may be learnt in the trial (`Dataset.learn`)
    protocol: Protocol
    rates: set[float] = field(default_factory=set)
    combinations: set[str] = field(default_factory=set)

    def evaluations(self) -> tuple[str, ...]:
        return evaluation_rules(self.protocol.test, self.schema, self.rates, self.combinations)


def planned_settings(suite: Suite) -> list[PlannedSetting]:
    """Every setting of the suite once, checked. Raises: UsageError."""
    found: dict[Setting, PlannedSetting] = {}
    for table in suite.settings:
        for name in table.datasets:
            choice = parse_choice(name)
            dataset, samples, fingerprint = load_checked(choice)
            has_posterior = _has_posterior(dataset, samples, name)
            kind = samples.schema.target.kind
            asked = suite.on(name)
            metric_for(asked.metric, kind, name)
            selection = metric_for(asked.selection, kind, name)
            for root in _roots(suite):
                try:
                    split_rows(dataset, samples, root)
                except UsageError as error:
                    raise UsageError(f"{error} ({name})") from None
            for combination in table.combinations:
                schema = schema_of(dataset, samples, combination)
                for text in table.protocol_texts():
                    try:
                        protocol = parse_protocol(text).on(schema, samples.groups is not None)
                        setting = Setting(str(choice), schema.combination, str(protocol))
                        planned = found.setdefault(
                            setting, PlannedSetting(setting, choice, fingerprint, has_posterior, selection, schema, protocol)
                        )
                        planned.rates.update(table.test_noise)
                        planned.combinations.update(table.test_combinations)
                        planned.evaluations()
                    except UsageError as error:
                        raise UsageError(f"{error} ({name})") from None
    return list(found.values())


def _datasets(suite: Suite) -> list[Choice]:
    """The datasets of a suite, each once."""
    return [parse_choice(text) for text in dict.fromkeys(str(parse_choice(name)) for table in suite.settings for name in table.datasets)]


def _roots(suite: Suite) -> tuple[int, ...]:
    """The seeds that splits are drawn from."""
    return suite.seeds if suite.vary == "split" else (suite.fixed_seed,)


Concerns = Mapping[str, tuple[str, ...]]  # dataset, as trials name it -> what a quick checkup found


def concerns_of(suite: Suite) -> Concerns:
    """What a quick checkup says of the datasets of a planned suite that come from outside, on the first of their splits."""
    found = {}
    for choice in _datasets(suite):
        if registry.is_from_outside(choice.name):
            dataset, samples, _ = load_checked(choice)
            rows = split_rows(dataset, samples, _roots(suite)[0])
            metric = metric_for(suite.on(str(choice)).metric, samples.schema.target.kind, str(choice))
            found[str(choice)] = tuple(concern.text for concern in checkup(Subject(dataset, samples, rows, suite.vary, metric)))
    return found


def attributes_of(suite: Suite) -> dict[str, Attributes]:
    """The attributes of the samples of a planned suite by the fingerprint of their dataset; some state none."""
    loaded = (load_checked(choice) for choice in _datasets(suite))
    return {one.fingerprint: Attributes.of(one.dataset, one.samples) for one in loaded}


def notices(suite: Suite, concerns: Concerns | None = None) -> list[str]:
    """What is to be known of the samples and splits of a planned suite before any number, a line each; of many splits the first few.

    What was chosen for data from outside comes first, then what their checkup found; `concerns` are those of `concerns_of`, where known.
    """
    concerns = concerns_of(suite) if concerns is None else concerns
    found = [f"{key} = {reason}" for key, reason in suite.by_default.items()]
    found += unreached(suite)
    for name in map(str, _datasets(suite)):
        found += [f"{name}: {concern}" for concern in concerns.get(name, ())]
    for choice in map(str, _datasets(suite)):
        dataset, samples, _ = load_checked(parse_choice(choice))
        every = (noticed(dataset, samples, split_rows(dataset, samples, root)) for root in _roots(suite))
        notes = list(dict.fromkeys(note for notes in every for note in notes))
        found += [f"{choice}: {note}" for note in notes[:MOST_NOTICES]]
        if len(notes) > MOST_NOTICES:
            found.append(
                f"{choice}: {len(notes) - MOST_NOTICES} more such notes on the splits of other seeds; the pages of the board have them"
            )
    return found


def unreached(suite: Suite) -> list[str]:
    """A line for each training option that is also a field of some method's own Config, which shares it with no suite: it stays as it was.

    Raises: UsageError if a method is not known.
    """
    from dataclasses import fields

    from bench.methods.base import Method

    own_fields = []
    for choice in registry.expand_methods(suite.methods):
        cls = registry.method_class(choice.name)
        own = (
            {key.name for key in fields(cls.Config)} - registry.shared_fields(cls) - {*choice.options, *suite.configs.get(choice.name, {})}
        )
        own_fields.append((choice, own if issubclass(cls, Method) else set()))
    asked = {**budgets.fields_asked(suite.budgets), **suite.training}
    found = []
    for key, value in asked.items():
        kept = [choice for choice, own in own_fields if key in own]
        if kept:
            names = listed([bare_choice(str(choice)) for choice in kept])
            ways = listed([bare_choice(str(replace(choice, options={**choice.options, key: value}))) for choice in kept])
            found.append(
                f"{key} = {format_value(value)} does not reach {names}, where {key} is a field "
                f'of its own Config; write {ways}, or shared = {{"{key}"}} into the Config'
            )
    return found


def _has_posterior(dataset: Dataset, samples: Samples, name: str) -> bool:
    """Whether the best prediction is known. Raises: UsageError if it is none of this kind of target."""
    where = f"posterior of dataset {name!r}"
    try:
        found = dataset.posterior(samples.rows(np.arange(1)))
    except Exception as error:
        raise UsageError(f"{where} does not work: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if found is not None:
        kind = KINDS[samples.schema.target.kind]
        reason = kind.wrong(found, 1, samples.schema.outputs)
        if reason:
            shape = {"classes": "(N, C)", "labels": "(N, L)", "value": "(N, 1)"}[kind.name]
            raise UsageError(f"{where} must return {kind.called} {shape} or None: {reason}")
    return found is not None


def _check_training(suite: Suite, choices: list[Choice], classes: Mapping[str, type[Any]]) -> None:
    """Every key of [training] and [budgets.DATASET] must be a field of some method's Config, what other tables are headed by be known."""
    from dataclasses import fields

    from bench.methods.base import Method, MethodConfig

    known = {key.name for key in fields(MethodConfig)}.union(*map(registry.shared_fields, classes.values()))
    asked = {**suite.training, **budgets.fields_asked(suite.budgets)}
    if not known.issuperset(asked):  # a key may belong to a listed method that is not in this run
        listed = [registry.method_class(name) for name in registry.method_names()]
        known |= {key.name for cls in listed if issubclass(cls, Method) for key in fields(cls.Config)}
    for key, value in asked.items():
        for name, cls in classes.items():
            if key not in known and key in {each.name for each in fields(cls.Config)}:
                way = f'set it as {bare(name)}[{key}={format_value(value)}], or write shared = {{"{key}"}} into its Config'
                raise UsageError(f"training option {key} is a field of {bare(name)}, whose Config shares it with no suite; {way}")
        if key not in known:
            raise unknown("training option", key, known)
    names = {**registry.method_names(), **{choice.name: "" for choice in choices}}
    datasets = {*registry.dataset_names(), *(parse_choice(name).name for setting in suite.settings for name in setting.datasets)}
    for key, tables in (("budgets", suite.budgets), ("metrics", suite.metrics)):
        for name in tables:
            if parse_choice(name).name not in datasets:
                raise unknown(f"dataset in [{key}]", name, datasets)
            if parse_choice(name).options:
                registry.dataset_of(parse_choice(name))
    own_budgets = [(f"budgets.{data}", pair) for data, table in suite.budgets.items() for pair in budgets.of_methods(table).items()]
    for where, (name, config) in [*(("configs", pair) for pair in suite.configs.items()), *own_budgets]:
        if name not in names:
            raise unknown(f"method in [{where}]", name, names)
        for choice in choices:
            if choice.name == name:
                own = {key.name for key in fields(classes[str(choice)].Config)}
                for key in config:
                    if key not in own:
                        raise unknown(f"option of {name}", key, own)


def _relevant(cls: type[Any], suite: Suite, method: str, data: str) -> dict[str, Value]:
    """The changes that reach a method on a dataset: to shared fields from what a suite says for all, to any from what it says for this one.

    Others would change its ids and nothing else.
    """
    from dataclasses import fields

    from bench.methods.base import Method

    names, shared = {key.name for key in fields(cls.Config)} if issubclass(cls, Method) else set(), registry.shared_fields(cls)
    own, own_budget = suite.configs.get(method, {}), suite.own_budget_of(method, data)
    reaching = [(suite.training, shared), (own, names), (suite.budget_of(method, data), shared), (own_budget, names)]  # the last one wins
    return {key: value for found, known in reaching for key, value in found.items() if key in known}


def budget_key(suite: Suite) -> str:
    """Hash of budget, selection and what varies: what must be equal for two runs to share a table."""
    shared: list[object] = [dict(suite.training), {k: dict(v) for k, v in suite.configs.items()}]
    shared += [suite.selection, suite.vary, suite.fixed_seed]
    if suite.budgets:  # a suite without them keeps the hash it had
        shared.append({k: dict(v) for k, v in suite.budgets.items()})
    selections = suite.selections
    if selections:
        shared.append({"selections": selections})
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:12]

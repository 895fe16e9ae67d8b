"""Which records belong together: settings and labels by their words, and what may not be compared unless the caller accepts it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from bench.errors import UsageError, unknown
from bench.names import Setting, bare_choice, method_label, one_choice, parse_choice
from bench.question.suite import Suite
from bench.records.record import Record, most_on_one_dataset

ALLOW = ("protocols", "data", "commits", "hardware")  # what may be mixed if the caller says so


def spelled(text: str) -> str:
    """A method's name as tables spell it."""
    choice = parse_choice(one_choice(text))
    return method_label(choice.name, choice.preset, choice.options)


def label_of(text: str, records: Sequence[Record]) -> str:
    """The method as tables name it, from that name or from what `--methods` takes. Raises: UsageError if no record is of it."""
    spelt = spelled(text)
    known = {record.trial.label for record in records}
    if spelt in known:
        return spelt
    found = {record.trial.label for record in records if record.trial.choice == spelt}
    found = found or {record.trial.label for record in records if bare_choice(record.trial.choice) == bare_choice(spelt)}
    if len(found) != 1:
        raise unknown("method in these results", spelt, known)
    return found.pop()


def called(text: str, records: Sequence[Record]) -> str:
    """The same, or the name as it is spelled where no record is of it."""
    try:
        return label_of(text, records)
    except UsageError:
        return spelled(text)


def in_settings(records: Sequence[Record], settings: Iterable[str]) -> list[Record]:
    """Records of the settings that an item of `settings` describes; all if there is none. Raises: UsageError if an item fits none."""
    wanted = list(settings)
    if not wanted:
        return list(records)
    keys = dict.fromkeys(record.setting for record in records)
    chosen: set[Setting] = set()
    for item in wanted:
        fitting = {key for key in keys if key.matches(item)}
        if not fitting:
            raise UsageError(
                f"no setting fits {item!r}; give its dataset, combination or protocol, of: {'; '.join(key.title for key in keys)}"
            )
        chosen |= fitting
    return [record for record in records if record.setting in chosen]


def selected(records: Sequence[Record], methods: Iterable[str] = (), settings: Iterable[str] = ()) -> list[Record]:
    """Records of some methods in some settings; all where none is named. Raises: UsageError if a name or an item fits none."""
    labels = {label_of(text, records) for text in methods}
    return [record for record in in_settings(records, settings) if not labels or record.trial.label in labels]


def shared_settings(records: Sequence[Record], a: str, b: str) -> tuple[set[Setting], list[str]]:
    """Settings that have trials of both, and those that have not, in words. Raises: UsageError if none has."""
    found = {label: dict.fromkeys(record.setting for record in records if record.trial.label == label) for label in (a, b)}
    shared = {key for key in found[a] if key in found[b]}
    if not shared:
        where = " and ".join(f"{label} on {'; '.join(key.title for key in keys) or 'nothing'}" for label, keys in found.items())
        raise UsageError(f"no setting has trials of both methods: {where}; run both on the same data under the same protocol")
    return shared, [f"{key.title}: no trial of {other}" for label, other in ((a, b), (b, a)) for key in found[label] if key not in shared]


def _selection(record: Record, suite: Suite) -> str:
    """What selected a checkpoint: the suite's, where that is what it asks of the dataset."""
    asked = suite.on(record.trial.dataset_choice).selection
    return suite.selection if record.trial.selection == asked else record.trial.selection


def check_together(own: Sequence[Record], allowed: Sequence[str], suite: Suite) -> None:
    """Refuse duplicates, and records that do not belong together: what selects is one metric, unless the suite says others of datasets.

    Raises: UsageError.
    """
    done = [record for record in own if record.status == "done"]
    seen: set[tuple[str, Setting, int]] = set()
    for record in done:
        trial = (record.trial.label, record.setting, record.trial.seed)
        if trial in seen:
            raise UsageError(f"two finished trials of {trial[0]}, seed {trial[2]}, on {trial[1].title}; keep one of them")
        seen.add(trial)
    ways = {(_selection(record, suite), record.trial.vary, record.trial.fixed_seed, record.trial.harness) for record in own}
    own_runs = [record for record in done if not record.is_reproduced]  # of the others it was shown that another machine gives the same
    budgets: dict[tuple[str, Setting], set[str]] = defaultdict(set)
    versions: dict[str, set[str]] = defaultdict(set)
    for record in done:
        budgets[record.trial.label, record.setting].add(json.dumps(dict(record.trial.training), sort_keys=True))
        versions[record.trial.label].add(record.trial.version)
    machines = most_on_one_dataset(own_runs, lambda record: record.provenance.hardware_id)
    devices = most_on_one_dataset(own_runs, lambda record: record.device)
    kinds = {
        "protocols": (len(ways), "ways to run a trial"),
        "commits": (most_on_one_dataset(own_runs, lambda record: record.provenance.code)[1], "commits"),
        "hardware": (max(machines[1], devices[1]), "kinds of hardware"),
    }
    problems = {name: f"{number} {what}" for name, (number, what) in kinds.items() if number > 1}
    for (label, key), found in budgets.items():
        if len(found) > 1:
            problems.setdefault("protocols", f"{len(found)} budgets of {label} in {key.title}")
    for label, found in versions.items():
        if len(found) > 1:
            problems.setdefault("commits", f"{len(found)} versions of the code of {label}")
    data: dict[tuple, set[tuple[str, str]]] = defaultdict(set)
    for record in done:
        data[record.setting, record.trial.seed if record.trial.vary == "split" else None].add((record.trial.fingerprint, record.test_mask))
    unlike = sorted({key.title for (key, _), values in data.items() if len(values) > 1})
    if unlike:
        problems["data"] = f"different data or test masks in {'; '.join(unlike)}"
    refused = [name for name in ALLOW if name in problems and name not in allowed]
    if refused:
        what = ", ".join(problems[name] for name in refused)
        raise UsageError(f"these records mix {what}; run both methods alike, or accept it with --allow {','.join(refused)}")

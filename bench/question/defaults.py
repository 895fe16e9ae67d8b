"""What is asked of data from outside where neither the user nor a suite of the user says: a metric that tells methods apart, and splits.

What a suite that comes along says of these is said of its own datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from bench import registry
from bench.data.checkup import LARGE_SHARE, largest_class
from bench.data.loading import load_checked
from bench.data.splits import has_own
from bench.datasets.base import Samples
from bench.errors import UsageError
from bench.names import bare_choice, parse_choice
from bench.question.keys import OF_DATASET
from bench.question.suite import Suite
from bench.stats.kinds import KINDS
from bench.stats.metrics import METRICS, listed_metrics
from bench.text import and_list, share

METRIC = "auroc"
SPLITS = tuple(range(5))
KEYS = frozenset(("metric", "selection", "vary", "seeds"))


def with_defaults(suite: Suite, said: AbstractSet[str], splits: bool = True) -> Suite:
    """The suite with what its data ask for, in place of what nobody said: `said` are the keys that somebody did.

    Labels and values are ranked and selected by the metric of their kind (`KINDS`), beside that of classes where there are such too. Where
    one class of a dataset holds over three quarters, AUROC ranks it and picks its checkpoints. Where no dataset brings a split, each of
    five seeds draws its own, if `splits` and nothing asks for one split (pairs to resolve, tuned rows, a root of it). Of other keys, and
    of a suite with a dataset of the catalog, nothing else changes.
    """
    if said >= KEYS:
        return suite
    suite = _by_kind(suite, said)
    names = list(dict.fromkeys(name for table in suite.settings for name in table.datasets))
    if not all(registry.is_from_outside(parse_choice(name).name) for name in names):
        return suite
    try:
        loaded = {name: load_checked(parse_choice(name)) for name in names}
        own = [name for name, one in loaded.items() if has_own(one.dataset, one.samples)]
    except UsageError:  # planning meets it as well, and says so
        return suite
    changes, reasons = _by_share({name: one.samples for name, one in loaded.items()}, suite, said)
    one_split = suite.until_resolved or suite.tuned or "fixed_seed" in said or not splits
    if not own and "vary" not in said and not one_split and suite.vary != "split":
        changes["vary"] = "split"
        they_bring = f"{and_list(list(map(bare_choice, names)))} {'bring' if names[1:] else 'brings'}"
        reasons["vary"] = f"split, for {they_bring} no split of its own; --vary training keeps one"
    if changes.get("vary", suite.vary) == "split" and "seeds" not in said and len(suite.seeds) < len(SPLITS):
        changes["seeds"] = SPLITS
        reasons["seeds"] = f"{SPLITS[0]}-{SPLITS[-1]}, for each seed draws a split; --seeds takes others"
    return replace(suite, **changes, by_default={**suite.by_default, **reasons}) if changes else suite


def _by_share(samples: Mapping[str, Samples], suite: Suite, said: AbstractSet[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """AUROC for the datasets one class of which is large: as the suite's where all datasets of classes are so, else in their tables.

    Out come the keys that change, and the reason for each that nobody said.
    """
    largest = {name: largest_class(one) for name, one in samples.items() if one.schema.target.kind == METRICS[METRIC].kind}
    changes: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for key in OF_DATASET:
        now = {name: getattr(suite.on(name), key) for name in largest if key not in suite.said_of(name)}
        uneven = [name for name in now if largest[name][1] > LARGE_SHARE and METRIC not in listed_metrics(now[name])]
        if not uneven or key in said:
            continue
        why = and_list([f"{share(largest[name][1])} of {bare_choice(name)} are of class {largest[name][0]!r}" for name in uneven])
        if len(uneven) == len(largest):
            others = [name for name in listed_metrics(getattr(suite, key)) if METRICS[name].kind != METRICS[METRIC].kind]
            chosen = changes[key] = ",".join([METRIC, *others])
        else:
            tables = changes.get("metrics", suite.metrics)
            changes["metrics"] = {**tables, **{name: {**tables.get(name, {}), key: METRIC} for name in uneven}}
            chosen = f"{METRIC} on {and_list([bare_choice(name) for name in uneven])}"
        reasons[key] = f"{chosen}, for {why}; --{key} {getattr(suite, key)} takes that instead"
    return changes, reasons


def _by_kind(suite: Suite, said: AbstractSet[str]) -> Suite:
    """The suite with a metric for each kind of target that its datasets have, where nobody said one."""
    open_keys = [key for key in ("metric", "selection") if key not in said]
    names = list(dict.fromkeys(name for table in suite.settings for name in table.datasets))
    try:
        kind_of = {name: load_checked(parse_choice(name)).samples.schema.target.kind for name in names} if open_keys else {}
    except UsageError:  # planning meets it as well, and says so
        return suite
    changes: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for key in open_keys:
        kinds = [kind for kind in KINDS if kind in {kind_of[name] for name in names if key not in suite.said_of(name)}]
        own = {METRICS[name].kind: name for name in listed_metrics(getattr(suite, key))}
        wanted = ",".join(own.get(kind, KINDS[kind].metric) for kind in kinds)
        if any(kind not in own for kind in kinds):
            asked = [
                f"{and_list([bare_choice(n) for n in names if kind_of[n] == kind and key not in suite.said_of(n)])} ask for {WORDS[kind]}"
                for kind in kinds
                if kind not in own
            ]
            changes[key] = wanted
            reasons[key] = f"{wanted}, for {and_list(asked)}; --{key} takes others"
    return replace(suite, **changes, by_default={**suite.by_default, **reasons}) if changes else suite


WORDS = {"classes": "classes", "labels": "labels", "value": "a value"}

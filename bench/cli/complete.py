"""What a shell offers after <Tab>: methods, datasets, suites, metrics, protocols, stored trials. Loads nothing heavy: it runs on each key.

The shell asks through click (`eval "$(_BENCH_COMPLETE=bash_source bench)"` in a start file; docs/use/terminal.md). A folder that cannot
be read offers nothing, for a message would end up in the middle of the line that is typed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from bench.errors import UsageError

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
METRIC_NAMES = (  # of bench.stats.metrics, which takes a second to load
    "accuracy", "balanced_accuracy", "f1_macro", "auroc", "auprc", "brier", "ece", "label_auroc", "label_auroc_micro", "label_auprc",
    "label_auprc_micro", "label_f1", "label_f1_micro", "label_brier", "mae", "rmse", "r2", "pearson", "concordance",
)  # fmt: skip
PROTOCOLS = {
    "natural": "nothing is hidden beyond what the data lack",
    "mcar(0.3)": "each modality of a sample is hidden with chance 0.3",
    "fixed(NE)": "the modalities of these letters are left",
    "keep(2)": "two modalities of a sample are left",
    "block(group,0.3)": "hidden by groups of samples",
    "mar(A->B,2,0.3)": "B is hidden depending on A",
    "mnar(B|value,2,0.3)": "B is hidden depending on itself",
    "segment(V,0.3)": "a stretch of the steps of sequence V is hidden",
}
UNSAFE = "()|>"  # signs that bash reads as its own


def names(found: Callable[[], Mapping[str, str]]) -> Offer:
    """One of these names, with what it is."""

    def offer(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        return [_item(name, said) for name, said in found().items() if name.startswith(typed)]

    return offer


def lists(found: Callable[[], Mapping[str, str]]) -> Offer:
    """Names with commas between them: the last one is completed, and none is offered twice. A comma in brackets parts nothing."""

    def offer(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
        depths = [typed[: i + 1].count("[") + typed[: i + 1].count("(") - typed[: i + 1].count("]") - typed[: i + 1].count(")")
                  for i in range(len(typed))]  # fmt: skip
        cut = next((i + 1 for i in reversed(range(len(typed))) if typed[i] == "," and depths[i] == 0), 0)
        before, last = typed[:cut], typed[cut:]
        given = before.split(",")
        return [_item(before + name, said) for name, said in found().items() if name.startswith(last) and name not in given]

    return offer


def or_file(offer: Offer) -> Offer:
    """What it offers, and a file where that is nothing or a path is being typed."""

    def extended(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        items = [] if "/" in typed else offer(context, parameter, typed)
        return items or [CompletionItem(typed, type="file")]

    return extended


def methods() -> dict[str, str]:
    from bench.methods.catalog import METHODS, PAPER, role

    groups = {"all": "every method but outside ones", "paper": "the published ones", "reference": "the simple ones"}
    listed = {name: "" if name in PAPER else role(name) for name in METHODS}
    return {**listed, **_from_outside("bench.methods"), **groups}


def datasets() -> dict[str, str]:
    from bench.datasets.catalog import DATASETS

    return {**dict.fromkeys(DATASETS, ""), **_from_outside("bench.datasets")}


def suites() -> dict[str, str]:
    folder = Path(__file__).parents[1] / "suites"
    return {path.stem: "" if path.parent == folder else f"of {path.parent.name}" for path in sorted(folder.rglob("*.toml"))}


def metrics() -> dict[str, str]:
    return dict.fromkeys(METRIC_NAMES, "")


def protocols() -> dict[str, str]:
    return PROTOCOLS


def fixed(*words: str) -> Callable[[], dict[str, str]]:
    return lambda: dict.fromkeys(words, "")


def stored_trials(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Ids of the trials in --out or --from."""
    return [_item(one.id, f"{one.method} {one.where}") for one in _stored(context) if one.id.startswith(typed)]


def stored_methods(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Methods with trials in --out or --from, but the one that is given already; every listed one where there are none."""
    from bench.methods.catalog import METHODS

    found = dict.fromkeys(one.method for one in _stored(context)) or METHODS
    return [_item(name, "") for name in found if name.startswith(typed) and name != context.params.get("a")]


def _stored(context: click.Context) -> Iterable:
    from bench.records.glance import glance

    try:
        return glance(context.params.get("out") or "runs", context.params.get("published"))
    except (OSError, ValueError, KeyError, sqlite3.Error, UsageError):  # said by the command itself, if it is run
        return []


def _from_outside(group: str) -> dict[str, str]:
    return {entry.name: f"of {entry.dist.name}" if entry.dist else "" for entry in entry_points(group=group)}


def _item(value: str, said: str) -> CompletionItem:
    """A word as the shell takes it. Bash alone does not escape what it is given, and click's script for it reads away one backslash."""
    in_bash = any(key.endswith("_COMPLETE") and text.startswith("bash") for key, text in os.environ.items())
    word = "".join(f"\\\\{sign}" if in_bash and sign in UNSAFE else sign for sign in value)
    return CompletionItem(word, help=said or None)

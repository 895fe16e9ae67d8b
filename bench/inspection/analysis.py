"""`bench analyze`: what methods did inside, as tables made from the traces of trials, and as figures drawn from these tables.

A trial that is not stored, or is stored without its traces, is trained as `bench run --trace` trains it: the same numbers to the bit.
`cost` trains nothing. Source: MoE-Retriever, Fig. 3 (routing), 4 (cost), 5 (gradients) and 6 (embeddings).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import is_zipfile

import pandas as pd

from bench import registry
from bench.data.loading import loaded_once
from bench.drawing import missing
from bench.errors import UsageError, unknown
from bench.grid.engine import execute, stored
from bench.grid.how import How
from bench.inspection.profile import profiles, tidy
from bench.inspection.tables import (
    SETTING,
    Analysis,
    Source,
    at_setting,
    embeddings_analysis,
    gradients_analysis,
    labels_of,
    routing_analysis,
    supports_analysis,
)
from bench.methods.catalog import CEILING
from bench.methods.tracing import read_traces
from bench.names import Choice, path_of
from bench.question.assemble import assemble
from bench.question.plan import plan
from bench.question.suite import Suite, keys_said, read_suite
from bench.records.database import Store
from bench.records.record import Record
from bench.text import and_list
from bench.text import file_stem as stem_of

TRACED = ("routing", "gradients", "embeddings", "supports")
ANALYSES = (*TRACED, "cost")


@loaded_once()
def analyse(
    what: str,
    suite: str | Path | Suite | None = None,
    options: dict[str, object] | None = None,
    out: Path | str = "runs",
    how: How | None = None,
) -> Analysis:
    """Run one analysis: train what has no records yet, read them, and make tables. Nothing is written but trials and records.

    Without a suite it asks about digits at missing rate 0.3, seed 0, under the budget of `quick`; without methods, about the listed
    ones that hand over the traces. Raises: UsageError.
    """
    if what not in ANALYSES:
        raise unknown("analysis", what, ANALYSES)
    given = {key: value for key, value in (options or {}).items() if value is not None}
    if suite is None:
        given = {"datasets": "digits", "seeds": "0", **given}
        if "protocols" not in given:
            given = {"noise": "0.3", **given}
    said = keys_said(suite or "quick")
    chosen = suite if isinstance(suite, Suite) else read_suite(suite or "quick")
    if "methods" not in given:
        given["methods"] = _providing(what, chosen, suite is not None)
    chosen = assemble(chosen, given, splits=False, said=said)
    _check_providers(what, chosen)
    if what == "cost":
        return _cost(replace(chosen, seeds=chosen.seeds[:1]))
    how, trials = replace(how or How(), is_traced=True), plan(chosen)
    summary = stored(trials, out, how) or execute(chosen, out, how, trials=trials)
    found, absent = [], []
    for record in summary.records:
        trial = record.trial
        if trial.method == CEILING:  # joins a plan by itself
            continue
        source, reason = _source(record, what, path_of(out))
        found += [source] if source is not None else []
        absent += [reason] if reason is not None else []
    if not found and not summary.interrupted:
        raise UsageError(f"no traces to analyse: {'; '.join(dict.fromkeys(absent))}. {_who(what)}")
    analysis = {
        "routing": routing_analysis,
        "gradients": gradients_analysis,
        "embeddings": embeddings_analysis,
        "supports": supports_analysis,
    }[what](found)
    analysis.absent, analysis.interrupted = tuple(dict.fromkeys(absent)), summary.interrupted
    return analysis


def providers(what: str) -> tuple[str, ...]:
    """Listed methods whose class says that they hand over what an analysis reads."""
    return tuple(name for name in registry.method_names() if what in registry.method_class(name).traces)


def _may_trace(choice: Choice, what: str) -> bool:
    """Whether a method says so, or is an unlisted one that says nothing: that is tried."""
    stated = registry.method_class(choice.name).traces
    return what in stated or (not stated and choice.name not in registry.method_names())


def _providing(what: str, suite: Suite, is_named: bool) -> list[str]:
    """Methods to ask when none is named: those of the suite that hand over the traces, all of its methods for cost."""
    if what == "cost":
        return list(suite.methods) if is_named else ["paper"]
    found = [str(choice) for choice in registry.expand_methods(suite.methods) if _may_trace(choice, what)]
    if not found:
        raise UsageError(f"no method of suite {suite.name!r} traces {what}. {_who(what)}")
    return found if is_named else list(providers(what))


def _who(what: str) -> str:
    return (
        f"{what} {'are' if what.endswith('s') else 'is'} traced by {', '.join(providers(what))}, and by any method of yours that calls "
        "Method.trace or Method.watch (methods/tracing.py)"
    )


def _check_providers(what: str, suite: Suite) -> None:
    """A method that says it traces something else is refused before anything is trained. Raises: UsageError."""
    for choice in registry.expand_methods(suite.methods):
        if what != "cost" and not _may_trace(choice, what):
            has = registry.method_class(choice.name).traces
            raise UsageError(f"{choice.name} traces no {what}{f', only {and_list(has)}' if has else ''}; {_who(what)}")


def _source(record: Record, what: str, out: Path) -> tuple[Source | None, str | None]:
    """A trial's traces, or why there are none."""
    trial = record.trial
    name = f"{trial.label} on {' '.join(trial.setting)} seed {trial.seed}"
    if record.status != "done":
        return None, f"{name} {record.status}: {record.reason}"
    path = out / "traces" / f"{trial.id}.npz"
    if not path.exists():
        return None, f"{trial.label} is not trained by gradients and traces nothing"
    damaged = UsageError(f"the traces {path} are damaged; remove the file and analyse again")
    if not is_zipfile(path):
        raise damaged
    try:
        tables = read_traces(path)
    except Exception:  # whatever a damaged archive makes its reader raise
        raise damaged from None
    if what not in tables:
        return None, f"{trial.label} traces no {what} in this configuration"
    with Store(out, create=False) as store:
        arrays = store.predictions([trial.id])
    return Source(trial, record, tables, arrays[trial.id].target), None


# Cost


def _cost(suite: Suite) -> Analysis:
    """Time, operations and parameters by combination in use and, within each, by observed combination. Nothing is trained."""
    trials = [trial for trial in plan(suite) if trial.method != CEILING]
    measured = list(profiles(trials, suite.device, suite.threads))
    frame = pd.DataFrame(tidy(measured))
    frame["method"] = [str(label) for label in labels_of(frame)]
    absent = tuple(f"{profile.trial.label} failed: {profile.reason}" for profile in measured if profile.reason is not None)
    frame = frame[(frame["component"] == "all") & frame["reason"].isna()].drop(columns=["preset", "component", "reason"])
    summary = frame[frame["observed"] == "test"].drop(columns=["observed", "ms_per_sample"]).reset_index(drop=True)
    return Analysis("cost", frame.reset_index(drop=True), summary, absent=absent)


# Files


def file_stem(what: str, setting: Sequence[object]) -> str:
    """
    >>> file_stem("routing", ("digits", "NEWS", "mcar(0.3)"))
    'routing-digits-NEWS-mcar-0.3'
    """
    return stem_of(re.sub(r"[^\w.]+", "-", "-".join([what, *map(str, setting)])).strip("-"))


def _stems(what: str, settings: Sequence[tuple[object, ...]]) -> list[str]:
    """A name for each setting; of settings that would share one, where case does not count, all but the first are numbered."""
    stems, seen = [file_stem(what, setting) for setting in settings], Counter[str]()
    for number, stem in enumerate(stems):
        seen[stem.casefold()] += 1
        if seen[stem.casefold()] > 1:
            stems[number] = f"{stem}_{seen[stem.casefold()]}"
    return stems


def write(analysis: Analysis, folder: Path, formats: Sequence[str] = ("png",), say: Callable[[str], object] = print) -> list[Path]:
    """Write each setting's tables as CSV and its figure in each format; returns the files. Without matplotlib there are tables alone.

    Raises: UsageError if a file cannot be written.
    """
    from bench.inspection import figures

    files: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        by = [key for key in SETTING if analysis.what != "cost" or key != "combination"]  # the figure of cost compares combinations
        settings = [tuple(setting) for setting in analysis.rows[by].drop_duplicates().itertuples(index=False)]
        for setting, stem in zip(settings, _stems(analysis.what, settings), strict=True):
            here = at_setting(analysis, setting, by)
            for ending, frame in here.tables().items():
                files.append(folder / f"{stem}{ending}.csv")
                frame.to_csv(files[-1], index=False, float_format="%.6g", encoding="utf-8")
            if missing() is None:
                files += figures.draw(here, folder / stem, formats)
    except OSError as error:
        raise UsageError(f"the analysis cannot be written to {folder}: {error.strerror}; choose another --figures DIR") from None
    if missing() is not None:
        say(f"no figure: {missing()}")
    analysis.files = files
    return files

"""Records and predictions as flat tables, for whatever reads Parquet or CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.grammar import evaluated_at
from bench.errors import UsageError
from bench.names import path_of
from bench.records.folder import opened
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.stats.kinds import Kind, kind_of

if TYPE_CHECKING:
    import pandas

ENDINGS = (".parquet", ".csv", ".csv.gz")


def tidy(records: Iterable[Record]) -> pandas.DataFrame:
    """Records as a table for a notebook, one column a metric and a cost."""
    import pandas

    rows = []
    for record in records:
        row = {key: value for key, value in record.row().items() if key not in ("metrics", "cost")}
        rows.append({**row, **record.metrics, **record.cost})
    return pandas.DataFrame(rows)


def tidy_evaluations(records: Iterable[Record]) -> pandas.DataFrame:
    """Every evaluation of every trial as one row: the trial's keys, the rule, what it stands for, missing share, metrics."""
    import pandas

    rows = []
    for record in records:
        keys = {key: value for key, value in record.row().items() if key not in ("status", "reason", "metrics", "cost")}
        for rule, evaluated in record.facts.evaluations.items():
            rate, letters = evaluated_at(rule)
            at = {"evaluation": rule, "test_noise": rate, "test_combination": letters, "missing": evaluated.missing}
            rows.append({**keys, **at, **evaluated.metrics})
    return pandas.DataFrame(rows)


def trials_table(records: Iterable[Record]) -> pandas.DataFrame:
    """One row a trial, every column a plain value: who it is, its setting, status, metrics (fractions), cost, facts and versions.

    Columns of metrics, cost, rows, missing shares and packages are headed by what they are (`metric_auroc`, `cost_parameters`, ...).
    Mappings that differ from method to method (options, config) are JSON texts.
    """
    import pandas

    return pandas.DataFrame([_trial_row(record) for record in records])


def _trial_row(record: Record) -> dict[str, Any]:
    trial, facts, origin = record.trial, record.facts, record.provenance
    keys = ("version", "fingerprint", "harness", "selection", "vary", "fixed_seed")
    row = {key: value for key, value in record.row().items() if key not in ("metrics", "cost")}
    return {
        **row,
        "row": trial.label,
        **{key: getattr(trial, key) for key in keys},
        "options": _text(trial.options),
        "training": _text(trial.training),
        "dataset_options": _text(trial.dataset_options),
        **_headed("metric", record.metrics),
        **_headed("cost", record.cost),
        **_headed("rows", facts.rows),
        **_headed("missing", facts.missing),
        **{key: getattr(facts, key) for key in ("valid", "best_epoch", "synthetic", "ids", "ended", "rescored")},
        "config": _text(facts.config),
        "notes": " | ".join([*facts.notes, *facts.concerns]),
        **{key: getattr(origin, key) for key in ("bench", "commit", "dirty", "python", "hardware", "device", "threads", "torch_device")},
        **_headed("package", origin.packages),
    }


def predictions_table(records: Iterable[Record], predictions: Mapping[str, Predictions]) -> pandas.DataFrame:
    """One row a test sample of each trial and rule: trial, keys, `rule` ("" for the main scores), sample, label, predicted class, scores.

    `score_0`, `score_1`, ... are class probabilities, in the order of the classes. Of labels there are `target_0`, ... (1, 0, and -1 where
    not known) and `predicted_0`, ... (true, false) beside these, and of a value `target` and `predicted` are numbers in its unit, `score_0`
    too. Ids stand as they are stored.
    """
    import pandas

    tables = []
    for record in records:
        found = predictions.get(record.trial.id)
        if found is None:
            continue
        row = record.row()
        keys = {key: row[key] for key in ("id", "method", "preset", "dataset", "combination", "protocol", "seed")}
        names, kind = dict(enumerate(record.facts.classes)), kind_of(found.target)
        for rule in ("", *found.evaluations):
            scores = found.scores_under(rule) if rule else found.scores
            said = {
                "rule": rule,
                "sample": found.ids,
                **_named("target", kind, found.target.reshape(len(found.target), -1), names),
                **_named("predicted", kind, kind.answers(scores), names),
                **{f"score_{place}": scores[:, place] for place in range(scores.shape[1])},
            }
            tables.append(pandas.DataFrame({**said}).assign(**keys)[[*keys, *said]])
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()


def _named(head: str, kind: Kind, answers: np.ndarray, names: Mapping[int, str]) -> dict[str, Any]:
    """Columns of answers: classes by name, values as numbers, labels a column each. Shapes: answers (N, 1) or (N, L)."""
    if kind.name == "labels":
        return {f"{head}_{place}": column for place, column in enumerate(answers.T)}
    only = answers[:, 0]
    return {head: only if kind.name == "value" else [names.get(place, str(place)) for place in only.tolist()]}


def exported(
    file: Path | str | None, out: Path | str, published: Path | str | None, predictions: bool, chosen: Callable[[], list[Record]]
) -> pandas.DataFrame:
    """The table of the chosen records of a results folder, or of a published one, written to `file` if one is given. Raises: UsageError."""
    path = None if file is None else path_of(file)
    if path is not None:
        check_file(path)
    records = chosen()
    if predictions:
        with opened(out, published) as source:
            table = predictions_table(records, source.predictions(record.trial.id for record in records))
    else:
        table = trials_table(records)
    if path is not None:
        write_table(table, path)
    return table


def check_file(path: Path) -> None:
    """Raises: UsageError if a table could not be written there."""
    if not path.name.lower().endswith(ENDINGS):
        raise UsageError(f"a table is written to a file ending in {', '.join(ENDINGS)}, got {str(path)!r}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"the folder {path.parent} of the table does not exist; make it first")
    if path.name.lower().endswith(".parquet") and find_spec("pyarrow") is None:
        raise UsageError("Parquet needs pyarrow, which is not installed; pip install 'missing-modality-bench[tables]', or name a .csv file")


def write_table(table: pandas.DataFrame, path: Path) -> None:
    """Write a table whole or not at all. Raises: UsageError if the file cannot be written."""
    check_file(path)
    fresh = path.with_name(f".new-{path.name}")  # ends as it does: the ending says what is written
    try:
        if path.name.lower().endswith(".parquet"):
            table.to_parquet(fresh, index=False)
        else:
            table.to_csv(fresh, index=False, lineterminator="\n")
        fresh.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}; give another file") from None


def _headed(head: str, values: Mapping[str, object]) -> dict[str, object]:
    return {f"{head}_{name}": value for name, value in values.items()}


def _text(values: Mapping[str, object]) -> str:
    return json.dumps(dict(values), sort_keys=True, default=str)

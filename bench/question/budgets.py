"""What a suite's tables say of one dataset, and of one method on it. Free of torch.

`[budgets.DATASET]` is for every method; a table inside it, `[budgets.DATASET.METHOD]`, for one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

from bench.errors import UsageError
from bench.names import Value, parse_choice

TIMES = "epochs_times"  # key of [budgets.DATASET] that is no field of a Config: it multiplies each method's epochs there
Table = Mapping[str, Any]


def of_all(table: Table) -> dict[str, Value]:
    """What a table of [budgets] says of every method."""
    return {key: value for key, value in table.items() if not isinstance(value, Mapping)}


def of_methods(table: Table) -> dict[str, Mapping[str, Value]]:
    """The tables of one method each that stand inside a table of [budgets]."""
    return {key: value for key, value in table.items() if isinstance(value, Mapping)}


def fields_asked(tables: Mapping[str, Table]) -> dict[str, Value]:
    """The fields that [budgets] change for every method, each with one of its values."""
    return {key: value for table in tables.values() for key, value in of_all(table).items() if key != TIMES}


def tables_on(tables: Mapping[str, Table], dataset: str) -> dict[str, Any]:
    """What tables by dataset say of one: of the dataset with its options over its name alone."""
    if not tables:
        return {}
    choice, known = parse_choice(dataset), {str(parse_choice(name)): table for name, table in tables.items()}
    first, second = known.get(choice.name, {}), known.get(str(choice), {})
    methods = {name: {**of_methods(first).get(name, {}), **own} for name, own in of_methods(second).items()}
    return {**first, **second, **methods}


def without(tables: Mapping[str, Table], fields: Container[str]) -> dict[str, dict[str, Any]]:
    """The tables without these fields; what multiplies epochs goes with the epochs."""
    return {
        name: {
            key: {own: item for own, item in value.items() if own not in fields} if isinstance(value, Mapping) else value
            for key, value in table.items()
            if ("epochs" if key == TIMES else key) not in fields or isinstance(value, Mapping)
        }
        for name, table in tables.items()
    }


def renamed(table: Table, method: Callable[[str], str]) -> dict[str, Any]:
    """The table with the names of the methods that it has tables of as `method` writes them."""
    return {method(key) if isinstance(value, Mapping) else key: value for key, value in table.items()}


def check(tables: Mapping[str, Table], training: Mapping[str, Value]) -> None:
    """Raises: UsageError if a budget multiplies epochs by no positive number, or epochs that are not stated."""
    for dataset, table in tables.items():
        if TIMES not in table:
            continue
        times, where = table[TIMES], f"{TIMES} in [budgets.{dataset}]"
        if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times < math.inf:
            raise UsageError(f"{where} must be a positive number, such as 0.5 for half of the epochs, got {times!r}")
        if "epochs" in table or "epochs" not in training:
            raise UsageError(f"{where} multiplies the epochs that [training] and [configs] state; state them there, and there alone")

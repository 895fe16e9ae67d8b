"""The numbers that the MoE-Retriever paper printed (Yun et al. 2025, tables 1 to 7).

`bench.paper_report` writes docs/paper-under-test.md from them.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from bench.data.grammar import parse_protocol
from bench.names import parse_choice

FILE = "paper_tables.csv"
METHODS = {  # as printed: ours
    "MoE-Retriever": "moe-retriever",
    "mmFormer": "mmformer",
    "ShaSpec": "shaspec",
    "M3Care": "m3care",
    "MUSE": "muse",
    "FuseMoE": "fusemoe",
}
DATASETS = {"cmu-mosi": "CMU-MOSI", "enrico": "ENRICO", "adni": "ADNI", "mimic-iv": "MIMIC"}  # ours: as printed
COMPARED = ("1", "2", "4", "5", "6")  # tables that compare the methods; 3 is an ablation, 7 a search
FOOTNOTE = (
    "*Paper*: mean ± SD as printed by Yun et al. 2025, never ranked and never bold; other code, splits and budgets. What those tables show "
    "under our tests: `docs/paper-under-test.md`."
)


class Cell(NamedTuple):
    """One printed number, in points."""

    table: str
    dataset: str
    modality: str
    noise: str  # empty: the data's own gaps, or not stated (table 7)
    metric: str
    method: str  # of table 3 the variant, of table 7 the searched configuration
    mean: float
    std: float

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        return self.table, self.dataset, self.modality, self.noise, self.metric


@cache
def cells() -> tuple[Cell, ...]:
    """Every printed number."""
    text = resources.files("bench").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(
        Cell(
            row["table"], row["dataset"], row["modality"], row["noise"], row["metric"], row["method"], float(row["mean"]), float(row["std"])
        )
        for row in csv.DictReader(text.splitlines())
    )


@cache
def _printed() -> Mapping[tuple[str, str, str, str], Mapping[str, str]]:
    """(dataset, letters, noise, metric) -> our method -> what was printed; where two tables print the same setting, both."""
    found: dict[tuple[str, str, str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells():
        if cell.table in COMPARED:
            key = (cell.dataset, "".join(sorted(cell.modality.split("+"))), cell.noise, cell.metric)
            found[key][METHODS[cell.method]].append(f"{cell.mean:.1f} ± {cell.std:.1f} (T{cell.table})")
    return {key: {method: ", ".join(texts) for method, texts in methods.items()} for key, methods in found.items()}


def printed(dataset: str, combination: str, protocol: str, metric: str) -> Mapping[str, str]:
    """What the paper printed for a setting, by our method; empty where it has no such setting or metric.

    Settings match if the dataset is the same, the same modalities are in use, and the protocol is mcar at the printed noise in every part,
    or the data's own gaps where the paper states none.
    """
    name = DATASETS.get(parse_choice(dataset).name)
    rule = parse_protocol(protocol)
    noise = "" if str(rule) == "natural" else f"{rule.noise:g}" if rule.shape == "mcar" and rule.noise is not None else None
    if name is None or noise is None:
        return {}
    return _printed().get((name, "".join(sorted(combination)), noise, metric), {})

"""The numbers that the MoE-Retriever paper printed (Yun et al. 2025, tables 1 to 7), from `moe_retriever_tables.csv` beside this file.

python docs/sources/moe_retriever_tables.py     writes docs/evidence/moe-retriever.csv, which `bench leaderboard --beside` takes
"""

from __future__ import annotations

import csv
import io
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("moe_retriever_tables.csv")
BESIDE = Path(__file__).resolve().parent.parent / "evidence" / "moe-retriever.csv"
METHODS = {  # as printed: ours
    "MoE-Retriever": "moe-retriever",
    "mmFormer": "mmformer",
    "ShaSpec": "shaspec",
    "M3Care": "m3care",
    "MUSE": "muse",
    "FuseMoE": "fusemoe",
}
DATASETS = {  # as printed: as the suites ask for it
    "CMU-MOSI": "cmu-mosi",
    "ENRICO": "enrico[split=multibench]",
    "ADNI": "adni[image=volume]",
    "MIMIC": "mimic-iv",
}
COMPARED = ("1", "2", "4", "5", "6")  # tables that compare the methods; 3 is an ablation, 7 a search


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
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Cell(
                row["table"], row["dataset"], row["modality"], row["noise"], row["metric"], row["method"],
                float(row["mean"]), float(row["std"]),
            )
            for row in csv.DictReader(file)
        )  # fmt: skip


def beside() -> str:
    """The tables that compare the methods, as `bench leaderboard --beside` reads them: our names and protocols, means and SDs in points."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("dataset", "combination", "protocol", "metric", "method", "mean", "sd", "source"))
    for cell in cells():
        if cell.table in COMPARED:
            where = (DATASETS[cell.dataset], cell.modality.replace("+", ""), f"mcar({cell.noise})" if cell.noise else "natural")
            source = f"Yun et al. 2025 (MoE-Retriever), table {cell.table}"
            writer.writerow((*where, cell.metric, METHODS[cell.method], f"{cell.mean:.2f}", f"{cell.std:.2f}", source))
    return stream.getvalue()


if __name__ == "__main__":
    BESIDE.write_text(beside(), encoding="utf-8")

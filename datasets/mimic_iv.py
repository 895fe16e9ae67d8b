"""MIMIC-IV: death within a year after the last discharge, from laboratory, discharge notes and codes; each may be missing.

Source:     Johnson et al. 2023 (Sci Data 10:1), PhysioNet `mimiciv` and `mimic-iv-note`.
Licence:    PhysioNet credentialed health data licence: no redistribution, no third-party services.
Options:    origin=preprocessed (default): `labels.csv`, `lab_x.pt`, `note_x.pt`, `code_x.pt` and `PTID_splits_mimic.json` as Flex-MoE and
            MoE-Retriever read them; 9003 patients, 22.6 % die (paper).
            origin=raw: built from the CSV files of versions 2 and 3, see `mimic_raw.py`; labs=256, notes=512 and codes=512 are the numbers
            of features, icd=9 keeps codes of ICD-9 alone, as the paper does. Our cohort is larger: the paper's cut is not documented.
Modalities: L lab, N note, C code, vectors.
Split:      preprocessed: the official one; patients it does not name are left out. raw: a fixed rule, stored in the prepared copy,
            because words, codes and laboratory items are chosen on its training part.
Gaps:       preprocessed: a row whose cells are all NaN or all zero does not observe that modality (a patient without any laboratory value,
            word or code); the released loader calls every row observed, though the paper reports gaps. raw: no row in the source files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.base import PARTS, DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.safe import read_labels, read_split, read_torch
from bench.datasets.tables import check_unique

NAMES = ("lab", "note", "code")
CLASSES = ("survived", "died")
TABLES = ("hosp/admissions", "hosp/patients", "hosp/labevents", "hosp/diagnoses_icd", "hosp/procedures_icd", "note/discharge")
COUNTS = ("labs", "notes", "codes")
MOST = 20_000  # features of one modality


class MimicIv(FileDataset):
    name = "mimic-iv"
    folder = "mimic_iv"
    files = ("labels.csv", "PTID_splits_mimic.json", "lab_x.pt", "note_x.pt", "code_x.pt")
    title = "MIMIC-IV, one-year mortality after discharge"
    source = "MIMIC-IV, Johnson et al. 2023 (doi.org/10.1038/s41597-022-01899-x), physionet.org/content/mimiciv"
    licence = "PhysioNet credentialed health data licence, no redistribution"
    obtain = (
        "Complete the training and sign the agreements at physionet.org/content/mimiciv and physionet.org/content/mimic-iv-note; put their "
        "hosp/ and note/ folders side by side (origin=raw), or take the five files github.com/UNITES-Lab/flex-moe reads "
        "(origin=preprocessed)."
    )
    terms = (
        "PhysioNet licence: no redistribution, not even of derived vectors, and no third-party online services; cite Johnson et al. 2023."
    )
    must_prepare = True
    restricted = True
    options = {"origin": "preprocessed", "icd": "all", "labs": 256, "notes": 512, "codes": 512}
    choices = {"origin": ("preprocessed", "raw"), "icd": ("all", 9)}
    origin: str
    icd: str | int
    labs: int
    notes: int
    codes: int

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        for key in COUNTS:
            if type(getattr(self, key)) is not int or not 1 <= getattr(self, key) <= MOST:
                raise ValueError(f"{key} must be a whole number from 1 to {MOST}, got {getattr(self, key)!r}")
        given = sorted(key for key in options if key != "origin" and options[key] != self.options[key])
        if given and self.origin != "raw":
            raise ValueError(f"{', '.join(given)} say how raw files are read; they go with origin=raw alone")

    def sources(self, folder: Path) -> list[Path]:
        if self.origin != "raw":
            return super().sources(folder)
        found = []
        for table in TABLES:
            there = [path for ending in (".csv.gz", ".csv") if (path := folder / f"{table}{ending}").is_file()]
            if not there:
                raise DataError(f"{self.name} needs {table}.csv.gz or {table}.csv in {folder}, and neither is there. {self.obtain}")
            found.append(there[0])
        return found

    def read(self, folder: Path, report: Report) -> Samples:
        if self.origin == "raw":
            from bench.datasets.mimic_raw import build  # brings pandas and scikit-learn

            return build(self.sources(folder), self.icd == 9, self.labs, self.notes, self.codes, report)
        labels, split, *tensors = self.sources(folder)
        table = read_labels(labels)
        ids = table.column("subject_id")
        check_unique(table, "subject_id", ids)
        target = table.codes("one_year_mortality", (0, 1))
        if target.min() < 0:
            raise DataError(f"{table.where(int(target.argmin()))}: one_year_mortality must be 0 or 1, got none")
        values, observed = {}, np.empty((len(ids), len(NAMES)), dtype=bool)
        for position, (name, path) in enumerate(zip(NAMES, tensors, strict=True)):
            report(position, len(NAMES), f"reading {path.name}")
            values[name], observed[:, position] = _vectors(path, labels.name, len(ids))
        part_of = read_split(split)
        parts = np.array([part_of.get(one, "") for one in ids.tolist()])
        for part in PARTS:
            if part not in parts:
                raise DataError(f"no subject_id of {labels.name} is in the {part} part of {split.name}; do both use the same ids?")
        modalities = tuple(Modality(name, name[0].upper(), "vector", array.shape[1:]) for name, array in values.items())
        kept = np.flatnonzero(observed.any(1) & (parts != ""))
        for code, outcome in enumerate(CLASSES):
            if code not in target[kept]:
                raise DataError(f"{labels.name}: nobody of the split has one_year_mortality {code} ({outcome}); both are needed")
        values = {name: array[kept] for name, array in values.items()}
        return Samples(Schema(modalities, CLASSES), values, observed[kept], target[kept], ids[kept].astype(str), split=parts[kept])


def _vectors(path: Path, labels: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a tensor, NaN where all is NaN or zero, and which are there. Shapes: -> (n, F) float32, (n,) bool. Raises: DataError."""
    array = read_torch(path)
    if array.ndim != 2 or array.dtype.kind not in "biuf" or len(array) != n or not array.shape[1]:
        raise DataError(f"{path.name} must hold {n} rows of numbers, in the order of {labels}, got {array.dtype} {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = array.astype(np.float32)
    if np.isinf(values).any():
        raise DataError(f"{path.name} holds an infinite number in row {np.argwhere(np.isinf(values))[0][0]}")
    there = ((values != 0) & ~np.isnan(values)).any(1)
    if not there.any():
        raise DataError(f"{path.name} is zero in every row; the file is not what it should be")
    values[~there] = np.nan
    return values, there

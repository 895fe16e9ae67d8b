"""MIMIC-IV: death within a year after the last discharge, from laboratory, discharge notes and codes; each may be missing.

Source:     Johnson et al. 2023 (Sci Data 10:1), PhysioNet `mimiciv` and `mimic-iv-note`.
Licence:    PhysioNet credentialed health data licence: no redistribution, no third-party services.
Options:    origin=preprocessed (default): `labels.csv`, `lab_x.pt`, `note_x.pt`, `code_x.pt` and `PTID_splits_mimic.json` as Flex-MoE and
            MoE-Retriever read them; 9003 patients, 22.6 % die (paper).
            origin=raw: built from the CSV files of versions 2 and 3, see `mimic_raw.py`; labs=256, notes=512 and codes=512 are the numbers
            of features, 0 leaves the modality out and needs none of its tables (notes=0 for the open demo, which has no notes), icd=9
            keeps codes of ICD-9 alone, as the paper does. Our cohort is larger: the paper's cut is not documented.
Modalities: L lab, N note, C code, vectors. Those of origin=preprocessed are left out in a run, by its combinations.
Split:      preprocessed: Flex-MoE's, which comes with the files; patients it does not name are left out. raw: a fixed rule of this suite,
            stored in the prepared copy, because words, codes and laboratory items are chosen on its training part.
Gaps:       preprocessed: a row whose cells are all NaN or all zero does not observe that modality (a patient without any laboratory value,
            word or code); the released loader calls every row observed, though the paper reports gaps. raw: no row in the source files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.base import PARTS, DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report, spelled
from bench.datasets.safe import read_labels, read_split, read_torch
from bench.datasets.tables import check_unique

NAMES = ("lab", "note", "code")
CLASSES = ("survived", "died")
TABLES = {  # table: the number of features that needs it, "" for all
    "hosp/admissions": "",
    "hosp/patients": "",
    "hosp/labevents": "labs",
    "hosp/diagnoses_icd": "codes",
    "hosp/procedures_icd": "codes",
    "note/discharge": "notes",
}
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
            if type(getattr(self, key)) is not int or not 0 <= getattr(self, key) <= MOST:
                raise ValueError(f"{key} must be a whole number from 0 (left out) to {MOST}, got {getattr(self, key)!r}")
        given = sorted(key for key in options if key != "origin" and options[key] != self.options[key])
        if given and self.origin != "raw":
            raise ValueError(
                f"{', '.join(given)} say how raw files are read; they go with origin=raw alone (combinations leave modalities out of a run)"
            )
        if not any(getattr(self, key) for key in COUNTS):
            raise ValueError("labs, notes and codes are all 0; one modality at least must stay")
        if self.icd == 9 and not self.codes:
            raise ValueError("icd=9 says which codes are kept; it does not go with codes=0")
        self.split_kind = "fixed" if self.origin == "raw" else "Flex-MoE"

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        if self.origin != "raw":
            return super().needed
        return tuple((f"{table}.csv.gz", f"{table}.csv") for table in self._tables)

    @property
    def _tables(self) -> list[str]:
        return [table for table, count in TABLES.items() if not count or getattr(self, count)]

    def way_on(self, absent: tuple[str, ...]) -> str:
        count = TABLES.get(absent[0].partition(".")[0], "") if self.origin == "raw" else ""
        if not count:
            return self.obtain
        without = {key: 0 if key == count else getattr(self, key) for key in COUNTS}
        if not any(without.values()):
            return self.obtain
        demo = "The openly licensed demo has no notes: use" if count == "notes" else f"Without {count}: use"
        return f"{demo} {spelled(self, **{count: 0})}. {self.obtain}"

    def read(self, folder: Path, report: Report) -> Samples:
        if self.origin == "raw":
            from bench.datasets.mimic_raw import build  # brings pandas and scikit-learn

            tables = dict(zip(self._tables, self.sources(folder), strict=True))
            return build(tables, self.icd == 9, self.labs, self.notes, self.codes, report)
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
        row, column = np.argwhere(np.isinf(values))[0]
        raise DataError(f"{path.name} holds an infinite number in row {row}, column {column}, both counted from 0")
    there = ((values != 0) & ~np.isnan(values)).any(1)
    if not there.any():
        raise DataError(f"{path.name} is zero in every row; the file is not what it should be")
    values[~there] = np.nan
    return values, there

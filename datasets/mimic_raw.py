"""MIMIC-IV from its CSV files (versions 2 and 3): cohort, one-year mortality, laboratory values, discharge notes and codes.

Files (plain or .gz) and the columns that are read:
    hosp/admissions      subject_id hadm_id dischtime deathtime hospital_expire_flag
    hosp/patients        subject_id dod
    hosp/labevents       subject_id itemid charttime storetime valuenum
    hosp/diagnoses_icd   hadm_id icd_code icd_version
    hosp/procedures_icd  hadm_id chartdate icd_code icd_version
    note/discharge       hadm_id note_type charttime text
Cohort:  admissions during which the patient dies are dropped; patients with two admissions left or more stay (paper, appendix). The index
         time is the last discharge of those. Patients whose recorded death is before that day are dropped: one of the dates is wrong.
Label:   death, in or out of hospital, at most 365 days after the day of the index time. `dod` is known up to a year after the last
         discharge, so no longer horizon can be asked for.
Labs:    mean of each item's numbers that were drawn and stored by the index time; the items most training patients have.
Notes:   the last discharge summary charted by the index time (addenda not: they are written later). Words hashed into 65536 columns,
         sublinear TF-IDF fitted on the training part, the columns that vary most there.
Codes:   diagnoses and procedures of the admissions left, one column a code with its kind and ICD version; the codes most training patients
         have. Hospitals assign codes after discharge from the stay's record; they tell nothing that happened later.
Split:   70/15/15 within each class, in the order of the SHA-256 of subject_id. Whatever is chosen or fitted sees the training part alone.
Memory:  large files are read in pieces, and what is kept grows with the cohort, not with the files.
Modalities may be left out (labs, notes or codes 0): their tables are not read, and who is in the cohort stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from bench.datasets.base import PARTS, DataError, Modality, Samples, Schema
from bench.datasets.files import Report
from bench.datasets.mimic_iv import CLASSES, NAMES
from bench.datasets.safe import read_chunks, wrong_cell

ROWS = 500_000  # of a table in memory at once
NOTES = 2_000  # rows of the table of notes, which hold some 10 kB each
PENDING = 2_000_000  # laboratory means kept apart before they are merged
HASHED = 2**16
HORIZON = 365  # days
SHARES = (0.7, 0.85)  # where the training part ends, and the validation part
TIME = "read 2180-05-07 or 2180-05-07 13:30:00"


@dataclass(frozen=True)
class Cohort:
    """Patients in the order of their ids, and their admissions that are left.

    Shapes: subjects (N,) int64 ascending; index_time (N,) datetime64[s]; target (N,) int64; split (N,) str; admissions (A,) int64
    ascending; admission_rows (A,) int64, the patient of each.
    """

    subjects: np.ndarray
    index_time: np.ndarray
    target: np.ndarray
    split: np.ndarray
    admissions: np.ndarray
    admission_rows: np.ndarray

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def is_train(self) -> np.ndarray:
        return self.split == "train"


def build(tables: Mapping[str, Path], icd9: bool, labs: int, notes: int, codes: int, report: Report) -> Samples:
    """Samples of all patients of whom anything is observed, from the tables above by name (`hosp/admissions`). A modality of 0 features
    is left out, and its tables need not be there. Raises: DataError."""
    found: dict[str, np.ndarray] = {}
    report(0, 4, "choosing patients")
    cohort = choose_patients(tables["hosp/admissions"], tables["hosp/patients"])
    if notes:
        report(1, 4, "reading notes")
        found["note"] = note_values(cohort, tables["note/discharge"], notes, report)
    if codes:
        report(2, 4, "reading codes")
        found["code"] = code_values(cohort, tables["hosp/diagnoses_icd"], tables["hosp/procedures_icd"], icd9, codes)
    if labs:
        report(3, 4, "reading laboratory values")
        found["lab"] = lab_values(cohort, tables["hosp/labevents"], labs, report)
    values = {name: found[name] for name in NAMES if name in found}
    observed = np.stack([np.isfinite(array).any(1) for array in values.values()], axis=1)
    kept = np.flatnonzero(observed.any(1))
    if len(kept) < len(cohort):
        values = {name: array[kept] for name, array in values.items()}
    modalities = tuple(Modality(name, name[0].upper(), "vector", array.shape[1:]) for name, array in values.items())
    ids = cohort.subjects[kept].astype(str)
    return Samples(Schema(modalities, CLASSES), values, observed[kept], cohort.target[kept], ids, split=cohort.split[kept])


def choose_patients(admissions: Path, patients: Path) -> Cohort:
    """Raises: DataError if the tables are damaged or leave fewer than a patient of each class in a part."""
    kinds = {"subject_id": "int64", "hadm_id": "int64", "dischtime": "str", "deathtime": "str", "hospital_expire_flag": "float64"}
    stays = pd.concat(read_chunks(admissions, kinds, ROWS), ignore_index=True)
    _check(admissions, stays.hospital_expire_flag, stays.hospital_expire_flag.isin((0, 1)) | stays.hospital_expire_flag.isna(), "be 0 or 1")
    if stays.hadm_id.duplicated().any():
        raise DataError(f"{admissions.name} holds hadm_id {stays.hadm_id[stays.hadm_id.duplicated()].iloc[0]} twice; ids must be unique")
    died = pd.concat(read_chunks(patients, {"subject_id": "int64", "dod": "str"}, ROWS), ignore_index=True)
    if died.subject_id.duplicated().any():
        raise DataError(
            f"{patients.name} holds subject_id {died.subject_id[died.subject_id.duplicated()].iloc[0]} twice; ids must be unique"
        )
    stays["left"], stays["death"] = _times(admissions, stays.dischtime), _times(admissions, stays.deathtime)
    death_of = pd.Series(_times(patients, died.dod).to_numpy(), index=died.subject_id.to_numpy()).dt.floor("D")
    in_hospital = stays.groupby("subject_id").death.min().dt.floor("D")
    stays = stays[stays.death.isna() & (stays.hospital_expire_flag != 1) & stays.left.notna()]
    stays = stays[stays.groupby("subject_id").hadm_id.transform("size") > 1]
    index_time = stays.groupby("subject_id").left.max()  # ascending by subject
    unknown = index_time.index.difference(death_of.index)
    if len(unknown):
        raise DataError(f"{admissions.name} holds subject_id {unknown[0]}, {patients.name} does not; are both of one version?")
    death = pd.concat([death_of.reindex(index_time.index), in_hospital.reindex(index_time.index)], axis=1).min(axis=1)
    days = (death - index_time.dt.floor("D")).dt.days
    index_time = index_time[~(days < 0)]
    target = (days.reindex(index_time.index) <= HORIZON).to_numpy(np.int64)
    subjects = index_time.index.to_numpy(np.int64)
    split = fixed_split(subjects, target)
    for part in PARTS:
        if len(np.unique(target[split == part])) < len(CLASSES):
            raise DataError(
                f"{admissions.name} leaves {len(subjects)} patients, {target.sum()} of whom died; the {part} part lacks a class"
            )
    stays = stays[stays.subject_id.isin(subjects)].sort_values("hadm_id")
    rows = np.searchsorted(subjects, stays.subject_id.to_numpy(np.int64))
    return Cohort(subjects, index_time.to_numpy("datetime64[s]"), target, split, stays.hadm_id.to_numpy(np.int64), rows)


def fixed_split(subjects: np.ndarray, target: np.ndarray) -> np.ndarray:
    """70/15/15 within each class, in the order of the SHA-256 of each id. Shapes: (N,) int64, (N,) int64 -> (N,) str."""
    order = np.array([hashlib.sha256(str(subject).encode()).hexdigest() for subject in subjects.tolist()])
    split = np.full(len(subjects), "train", dtype="<U5")
    for code in np.unique(target):
        rows = np.flatnonzero(target == code)
        rows = rows[np.argsort(order[rows])]
        first, second = (round(share * len(rows)) for share in SHARES)
        split[rows[first:second]], split[rows[second:]] = "valid", "test"
    return split


# Laboratory


class Means:
    """Mean of a value for each of many (patient, item) pairs, few of which occur; memory grows with those that do."""

    def __init__(self) -> None:
        self.keys, self.sums, self.counts = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
        self.waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, rows: np.ndarray, items: np.ndarray, values: np.ndarray) -> None:
        """Shapes: (n,) int64 each of patients and items below 2^31, (n,) float64."""
        self.waiting.append(_summed(rows << 32 | items, values, np.ones(len(rows), dtype=np.int64)))
        if sum(len(keys) for keys, _, _ in self.waiting) > PENDING:
            self.merge()

    def merge(self) -> None:
        columns = zip((self.keys, self.sums, self.counts), *self.waiting, strict=True)
        self.keys, self.sums, self.counts = _summed(*(np.concatenate(column) for column in columns))
        self.waiting = []

    def means(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patients, items and means. Shapes: (P,) int64, (P,) int64, (P,) float64, one entry a pair."""
        self.merge()
        return self.keys >> 32, self.keys & 0xFFFFFFFF, self.sums / self.counts


def _summed(keys: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One entry a key, ascending, with its sums."""
    if not len(keys):
        return keys, sums, counts
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return keys[first], np.add.reduceat(sums[order], first), np.add.reduceat(counts[order], first)


def lab_values(cohort: Cohort, path: Path, features: int, report: Report) -> np.ndarray:
    """Means of the commonest items by the index time, NaN where a patient has none. Shapes: -> (N, F) float32. Raises: DataError."""
    kinds = {"subject_id": "int64", "itemid": "int64", "charttime": "str", "storetime": "str", "valuenum": "float64"}
    means, read = Means(), 0
    for chunk in read_chunks(path, kinds, ROWS, optional=("storetime",)):
        read += len(chunk)
        report(read, 0, f"{read} rows of {path.name}")
        rows, known = _positions(cohort.subjects, chunk.subject_id.to_numpy(np.int64))
        known &= np.isfinite(chunk.valuenum.to_numpy(np.float64))
        chunk, rows = chunk[known], rows[known]
        until = cohort.index_time[rows]
        in_time = _times(path, chunk.charttime).to_numpy() <= until  # an unknown time is not in time
        if "storetime" in chunk:
            stored = _times(path, chunk.storetime)
            in_time &= stored.isna().to_numpy() | (stored.to_numpy() <= until)
        items = chunk.itemid.to_numpy(np.int64)
        _check(path, chunk.itemid, chunk.itemid.between(0, 2**31 - 1), "be in [0, 2^31)")
        means.add(rows[in_time], items[in_time], chunk.valuenum.to_numpy(np.float64)[in_time])
    patients, items, mean = means.means()
    kept, column = _commonest(items, cohort.is_train[patients], features)
    if not len(kept):
        raise DataError(f"{path.name} has no value of a training patient before the index time; are the tables of one version?")
    values = np.full((len(cohort), len(kept)), np.nan, dtype=np.float32)
    values[patients[column >= 0], column[column >= 0]] = mean[column >= 0]
    return values


# Notes


def note_values(cohort: Cohort, path: Path, features: int, report: Report) -> np.ndarray:
    """TF-IDF of each patient's last note, NaN where there is none. Shapes: -> (N, F) float32. Raises: DataError."""
    place = _last_notes(cohort, path)
    patient_of = dict(zip(place[place >= 0].tolist(), np.flatnonzero(place >= 0).tolist(), strict=True))
    if not cohort.is_train[list(patient_of.values())].any():
        raise DataError(f"{path.name} has no discharge summary of a training patient; are the tables of one version?")
    hashing = HashingVectorizer(
        n_features=HASHED, alternate_sign=False, norm=None, dtype=np.float32, stop_words="english", token_pattern=r"(?u)\b[a-zA-Z]{2,}\b"
    )
    counts: list[sparse.csr_matrix] = []
    patients: list[int] = []
    read = 0
    for chunk in read_chunks(path, {"text": "str"}, NOTES):
        report(read, 0, f"{read} notes of {path.name}")
        wanted = [row for row in range(len(chunk)) if read + row in patient_of]
        texts = chunk.text.iloc[wanted]
        counts.append(hashing.transform(texts) if wanted else sparse.csr_matrix((0, HASHED), dtype=np.float32))
        patients.extend(patient_of[read + row] for row in wanted)
        read += len(chunk)
    hashed, rows = sparse.vstack(counts, format="csr"), np.array(patients)
    del counts
    weighing = TfidfTransformer(sublinear_tf=True).fit(hashed[cohort.is_train[rows]])
    weighed = weighing.transform(hashed, copy=False)
    train = weighed[cohort.is_train[rows]]
    mean = np.asarray(train.mean(0)).ravel()
    variance = np.asarray(train.multiply(train).mean(0)).ravel() - mean**2
    kept = np.sort(np.argsort(-variance, kind="stable")[: min(features, np.count_nonzero(mean))])
    if not len(kept):
        raise DataError(f"{path.name} has no word in the discharge summaries of the training patients")
    values = np.full((len(cohort), len(kept)), np.nan, dtype=np.float32)
    values[rows] = weighed[:, kept].toarray()
    return values


def _last_notes(cohort: Cohort, path: Path) -> np.ndarray:
    """Which row of the table is each patient's last discharge summary by the index time, -1 if there is none. Shapes: -> (N,) int64."""
    last = np.full(len(cohort), -1, dtype=np.int64)
    last_time = np.full(len(cohort), np.datetime64("NaT", "s"))
    read = 0
    for chunk in read_chunks(path, {"hadm_id": "id", "note_type": "str", "charttime": "str"}, NOTES):
        stay, known = _positions(cohort.admissions, chunk.hadm_id.to_numpy(np.int64))  # -1: some notes are of no admission
        rows = cohort.admission_rows[stay]
        times = _times(path, chunk.charttime).to_numpy("datetime64[s]")
        known &= (chunk.note_type == "DS").to_numpy() & (times <= cohort.index_time[rows])
        found = pd.DataFrame({"row": rows[known], "time": times[known], "place": read + np.flatnonzero(known)})
        found = found.sort_values(["time", "place"]).drop_duplicates("row", keep="last")
        row, time, position = found.row.to_numpy(), found.time.to_numpy("datetime64[s]"), found.place.to_numpy()
        later = ~(last_time[row] > time)
        last[row[later]], last_time[row[later]] = position[later], time[later]
        read += len(chunk)
    return last


# Codes


def code_values(cohort: Cohort, diagnoses: Path, procedures: Path, icd9: bool, features: int) -> np.ndarray:
    """1 for each of the commonest codes a patient has, else 0; NaN for a patient without codes.

    Shapes: -> (N, F) float32. Raises: DataError.
    """
    names: dict[str, int] = {}
    pairs = [*_code_pairs(cohort, diagnoses, "D", icd9, names), *_code_pairs(cohort, procedures, "P", icd9, names)]
    keys = np.unique(np.concatenate(pairs)) if pairs else np.empty(0, dtype=np.int64)
    patients, codes = keys >> 32, keys & 0xFFFFFFFF
    by_name = np.argsort(np.argsort(np.array(list(names))))  # so that ties do not depend on the order of rows
    kept, column = _commonest(by_name[codes] if len(codes) else codes, cohort.is_train[patients], features)
    if not len(kept):
        raise DataError(f"{diagnoses.name} and {procedures.name} have no code of a training patient; are the tables of one version?")
    values = np.full((len(cohort), len(kept)), np.nan, dtype=np.float32)
    values[np.unique(patients)] = 0
    values[patients[column >= 0], column[column >= 0]] = 1
    return values


def _code_pairs(cohort: Cohort, path: Path, kind: str, icd9: bool, names: dict[str, int]) -> Iterator[np.ndarray]:
    """Pairs of patient and code, as one number; new codes are entered into `names`. Shapes: -> (n,) int64 each time."""
    kinds = {"hadm_id": "int64", "icd_code": "str", "icd_version": "int64", "chartdate": "str"}
    for chunk in read_chunks(path, kinds, ROWS, optional=("chartdate",)):
        _check(path, chunk.icd_version, chunk.icd_version.isin((9, 10)), "be 9 or 10")
        stay, known = _positions(cohort.admissions, chunk.hadm_id.to_numpy(np.int64))
        known &= chunk.icd_code.str.strip().ne("").to_numpy(bool)
        if icd9:
            known &= chunk.icd_version.eq(9).to_numpy(bool)
        if "chartdate" in chunk:
            dates = _times(path, chunk.chartdate).to_numpy("datetime64[D]")
            known &= np.isnat(dates) | (dates <= cohort.index_time[cohort.admission_rows[stay]].astype("datetime64[D]"))
        chunk, rows = chunk[known], cohort.admission_rows[stay[known]]
        code = kind + chunk.icd_version.astype(str) + ":" + chunk.icd_code.str.strip()
        local, unique = pd.factorize(code)
        numbers = np.array([names.setdefault(name, len(names)) for name in unique], dtype=np.int64)
        yield np.unique(rows << 32 | numbers[local]) if len(rows) else np.empty(0, dtype=np.int64)


# Shared


def _times(path: Path, column: pd.Series) -> pd.Series:
    """Times or dates of a column, NaT where empty. Raises: DataError naming the first cell that is anything else."""
    times = pd.to_datetime(column, format="%Y-%m-%d %H:%M:%S", errors="coerce")
    if times.isna().any():
        times = times.fillna(pd.to_datetime(column, format="%Y-%m-%d", errors="coerce"))
    _check(path, column, times.notna() | (column == ""), TIME)
    return times.astype("datetime64[s]")


def _check(path: Path, column: pd.Series, good: pd.Series, rule: str) -> None:
    """Raises: DataError naming the first cell that is not good; the index counts the rows of the file."""
    if not good.all():
        raise wrong_cell(path, column[~good], rule)


def _positions(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted id is in `known` (ascending), and whether it is. Shapes: (K,), (n,) -> (n,) int64, (n,) bool."""
    position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return position, known[position] == wanted


def _commonest(items: np.ndarray, is_train: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The items that most training entries have, ascending, and the column of each entry, -1 if its item is not kept.

    Shapes: items (P,) int64, is_train (P,) bool -> (F,) int64, (P,) int64.
    """
    unique, counts = np.unique(items[is_train], return_counts=True)
    kept = np.sort(unique[np.lexsort((unique, -counts))[:most]])
    if not len(kept):
        return kept, np.full(len(items), -1)
    column, known = _positions(kept, items)
    return kept, np.where(known, column, -1)

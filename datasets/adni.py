"""ADNI: cognitively normal, mild impairment or dementia, from brain image, genome, clinic and laboratory; each may be missing.

Source:     Alzheimer's Disease Neuroimaging Initiative, in the layout that Flex-MoE and MoE-Retriever read (their `data.py`).
Licence:    data use agreement: no redistribution, derived vectors included.
Sizes:      2380 participants, 3 classes (paper); natural gaps in six combinations, all with C.
Modalities: I image: grey-matter density (RAVENS) of 84090 voxels, the latest scan of a participant. image=vector gives them as they are,
            image=volume puts them back into the 91 x 109 x 91 grid of the mask (grey matter is label 150 there); pool=2 averages cubes of
            2 x 2 x 2 voxels, which makes 8.6 GB of volumes 1.1 GB.
            G genomic: SNPs 0, 1 or 2. C clinical and B biospecimen: numbers. Single gaps in G, C and B stay gaps, which the suite fills
            from the training part.
Split:      Flex-MoE's `PTID_splits.json`; participants it does not name are left out, as in the released code, and so are those of
            whom nothing is observed.
Differs:    the released code scales and fills with statistics of all participants, test included, and takes the mean-filled tables;
            here nothing is scaled, and `clinical_merged.csv` comes before `clinical_merged_mean.csv` (the same for biospecimen). Clinical
            columns that tell the diagnosis (PTCOGBEG, PTADDX, PTADBEG) are dropped, as there. A missing modality is a mask, not -2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.datasets.base import PARTS, DataError, Kind, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.safe import read_h5ad, read_labels, read_matrix, read_nifti, read_npy, read_npz, read_split, read_text
from bench.datasets.tables import check_unique

MASK = "image/BLSA_SPGR+MPRAGE_averagetemplate_muse_seg_DS222.nii.gz"
GREY_MATTER = 150
LEAKY = ("PTCOGBEG", "PTADDX", "PTADBEG")
CLASSES = ("normal", "mild impairment", "dementia")  # DIAGNOSIS 1, 2, 3 of DXSUM
ALTERNATIVES = (  # one of each is needed; the first that is there is read
    ("genomic/genomic_merged.h5ad", "genomic/genomic.npz"),
    ("clinical/clinical_merged.csv", "clinical/clinical_merged_mean.csv"),
    ("biospecimen/biospecimen_merged.csv", "biospecimen/biospecimen_merged_mean.csv"),
)
SCANS = 32  # read at once
LARGEST_POOL = 16


class Adni(FileDataset):
    name = "adni"
    folder = "adni"
    files = ("label.csv", "PTID_splits.json", "image/ADNI_G.npy", "image/ADNI_subj.txt", MASK)
    title = "ADNI, diagnosis from image, genome, clinic and laboratory"
    source = "Alzheimer's Disease Neuroimaging Initiative (adni.loni.usc.edu), prepared as for Flex-MoE, Yun et al. 2024"
    licence = "ADNI data use agreement, no redistribution"
    obtain = (
        "Apply at adni.loni.usc.edu; prepare the files as github.com/UNITES-Lab/flex-moe describes, which also holds mask and split. "
        "The genome may also come as genomic/genomic.npz with the arrays X and PTID."
    )
    terms = "ADNI data use agreement: no redistribution, not even of derived vectors; acknowledge ADNI."
    restricted = True
    split_kind = "Flex-MoE"
    options = {"image": "vector", "pool": 1}
    choices = {"image": ("vector", "volume")}
    image: str
    pool: int

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        if type(self.pool) is not int or not 1 <= self.pool <= LARGEST_POOL:
            raise ValueError(f"pool must be a whole number from 1 to {LARGEST_POOL}, got {self.pool!r}")
        if self.pool > 1 and self.image != "volume":
            raise ValueError(f"pool={self.pool} averages voxels of volumes; it goes with image=volume alone")

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        return (*super().needed, *ALTERNATIVES)

    def read(self, folder: Path, report: Report) -> Samples:
        labels, splits, scans, subjects, mask, genome, clinic, laboratory = self.sources(folder)
        report(0, 5, "reading labels and split")
        ids, target, split = _labels(labels, read_split(splits))
        report(1, 5, f"reading {genome.name}")
        tables = {"genomic": _rows_of(genome, *_genome(genome), ids)}
        for step, (name, path) in enumerate((("clinical", clinic), ("biospecimen", laboratory)), start=2):
            report(step, 5, f"reading {path.name}")
            names, columns, numbers = read_matrix(path)
            kept = [position for position, column in enumerate(columns) if not column.startswith(LEAKY)]
            if not kept:
                raise DataError(f"{path.name} has no column but those that tell the diagnosis ({', '.join(columns)[:200]})")
            tables[name] = _rows_of(path, names, numbers[:, kept], ids)
        report(4, 5, f"reading {scans.name}")
        image, has_image = self._images(scans, subjects, mask, ids)
        values = {"image": image, **tables}
        observed = np.stack([has_image, *(np.isfinite(table).any(1) for table in tables.values())], axis=1)
        for position, name in enumerate(values):
            if not observed[:, position].any():
                raise DataError(f"{self.name}: no participant of {labels.name} has anything in {name}; do the files use the same PTIDs?")
        kinds: dict[str, Kind] = {"image": "volume" if self.image == "volume" else "vector"}
        modalities = tuple(Modality(name, name[0].upper(), kinds.get(name, "vector"), array.shape[1:]) for name, array in values.items())
        samples = Samples(Schema(modalities, CLASSES), values, observed, target, ids, split=split)
        return samples if observed.any(1).all() else samples.rows(np.flatnonzero(observed.any(1)))

    def _images(self, scans: Path, subjects: Path, mask: Path, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The latest scan of each participant, in the order of `ids`, read a few at a time; NaN where there is none.

        Shapes: -> (N, voxels) or (N, 1, X, Y, Z) float32, (N,) bool. Raises: DataError.
        """
        matrix = read_npy(scans, mapped=True)
        grey = read_nifti(mask) == GREY_MATTER  # (X, Y, Z)
        scan_of, count = _latest_scans(subjects)
        if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or matrix.shape != (count, grey.sum()):
            raise DataError(
                f"{scans.name} must hold numbers, one row for each of the {count} lines of {subjects.name} and one column for each of the "
                f"{grey.sum()} grey-matter voxels of {mask.name}, got {matrix.dtype} {matrix.shape}"
            )
        rows = np.array([scan_of.get(ptid, -1) for ptid in ids.tolist()])
        shape = grey.shape if self.image == "volume" else ()
        pooled = tuple(-(-length // self.pool) for length in shape)
        images = np.full((len(ids), 1, *pooled) if pooled else (len(ids), matrix.shape[1]), np.nan, dtype=np.float32)
        for block in np.array_split(np.flatnonzero(rows >= 0), max(1, len(ids) // SCANS)):
            with np.errstate(over="ignore", invalid="ignore"):
                voxels = np.asarray(matrix[rows[block]], dtype=np.float32)  # (b, voxels)
            if not np.isfinite(voxels).all():
                raise DataError(
                    f"{scans.name} holds voxels that are not finite numbers, in the scan of {ids[block][~np.isfinite(voxels).all(1)][0]}"
                )
            images[block] = pool_volumes(into_grid(voxels, grey), self.pool)[:, None] if pooled else voxels
        return images, rows >= 0


def _labels(path: Path, part_of: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Participants whose part is known. Shapes: -> ids (N,) str, target (N,) int64, split (N,) str. Raises: DataError."""
    table = read_labels(path)
    names = table.column("PTID")
    check_unique(table, "PTID", names)
    target = table.codes("DIAGNOSIS", (1, 2, 3))
    if target.min() < 0:
        raise DataError(f"{table.where(int(target.argmin()))}: DIAGNOSIS must be 1, 2 or 3, got none")
    known = np.array([name in part_of for name in names.tolist()])
    split = np.array([part_of[name] for name in names[known].tolist()])
    for part in PARTS:
        if part not in split:
            raise DataError(f"no PTID of {path.name} is in the {part} part of the split; do both files use the same PTIDs?")
    for code, diagnosis in enumerate(CLASSES):
        if code not in target[known]:
            raise DataError(f"{path.name} holds nobody with DIAGNOSIS {code + 1} ({diagnosis}) in the split; all three are needed")
    return names[known].astype(str), target[known], split


def _genome(path: Path) -> tuple[list[str], np.ndarray]:
    """Names and SNPs. Shapes: -> N names, (N, F) float32. Raises: DataError."""
    if path.suffix == ".h5ad":
        names, values = read_h5ad(path)
    else:
        arrays = read_npz(path, ("X", "PTID"))
        values, ptids = arrays["X"], arrays["PTID"]
        if values.ndim != 2 or values.dtype.kind not in "fiu" or ptids.shape != values.shape[:1] or ptids.dtype.kind != "U":
            raise DataError(
                f"{path.name}: X must be numbers, a row for each PTID, and PTID texts, got {values.dtype} {values.shape} and {ptids.shape}"
            )
        names, values = ptids.tolist(), values.astype(np.float32, copy=False)
    lowest, highest = (reduce(values, axis=None, initial=1.0) for reduce in (np.fmin.reduce, np.fmax.reduce))
    if not 0 <= lowest <= highest <= 2:
        name, place, value = next(
            (name, place, row[place]) for name, row in zip(names, values, strict=True) for place in np.flatnonzero((row < 0) | (row > 2))
        )
        raise DataError(f"{path.name}: SNPs must be 0 to 2 or missing, got {value} of {name[:60]!r} in column {place + 1}")
    return names, values


def _rows_of(path: Path, names: Sequence[str], values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The rows of `values` in the order of `ids`, NaN where a participant is not there. Raises: DataError if a name comes twice."""
    position = {name: row for row, name in enumerate(names)}
    if len(position) < len(names):
        raise DataError(f"{path.name} holds {len(names) - len(position)} participants twice; PTIDs must be unique")
    rows = np.array([position.get(ptid, -1) for ptid in ids.tolist()])
    found = np.empty((len(ids), values.shape[1]), dtype=np.float32)
    np.take(values, np.maximum(rows, 0), axis=0, out=found, mode="clip")
    found[rows < 0] = np.nan
    return found


def _latest_scans(path: Path) -> tuple[dict[str, int], int]:
    """Row of the latest scan of each participant (the first of two on one day), and the number of scans. Raises: DataError."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    latest: dict[str, tuple[str, int]] = {}
    for row, line in enumerate(lines):
        *words, date = line.split("_")
        day = date.replace("-", "")
        if len(words) < 3 or not re.fullmatch(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", day):
            raise DataError(f"{path.name} line {row + 1} must read PTID_date, such as 002_S_0295_2006-04-18, got {line[:60]!r}")
        ptid = "_".join(words[:3])
        if ptid not in latest or day > latest[ptid][0]:
            latest[ptid] = (day, row)
    return {ptid: row for ptid, (_, row) in latest.items()}, len(lines)


def into_grid(voxels: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Volumes that hold the voxels where `inside` is true, in C order, and 0 elsewhere.

    Shapes: voxels (b, voxels), inside (X, Y, Z) bool -> (b, X, Y, Z).

    >>> into_grid(np.array([[1.0, 2.0]]), np.array([[[False, True], [True, False]]])).tolist()
    [[[[0.0, 1.0], [2.0, 0.0]]]]
    """
    grid = np.zeros((len(voxels), *inside.shape), dtype=voxels.dtype)
    grid[:, inside] = voxels
    return grid


def pool_volumes(volumes: np.ndarray, pool: int) -> np.ndarray:
    """Means of cubes of pool^3 voxels, the grid filled up with zeros. Shapes: (b, X, Y, Z) -> (b, X/pool, Y/pool, Z/pool), rounded up."""
    if pool == 1:
        return volumes
    filled = np.pad(volumes, [(0, 0), *((0, -length % pool) for length in volumes.shape[1:])])
    cubes = filled.reshape(len(volumes), *(size for length in filled.shape[1:] for size in (length // pool, pool)))
    return cubes.mean((2, 4, 6))

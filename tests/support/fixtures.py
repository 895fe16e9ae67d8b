"""Small invented copies of the paper's four datasets, written in the formats in which their users have them.

Each `write_*` fills a folder and returns it. Contract tests, smoke runs and `benchmarks/fuzz_readers.py` use them; nothing is copied from
anywhere. Class signals are planted, so that a method has something to learn.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from pathlib import Path

import numpy as np

# CMU-MOSI: flavour -> (steps of vision, audio, text), (features of the same)
FLAVOURS = {
    "multibench": ((8, 8, 8), (35, 74, 300)),
    "mult": ((8, 8, 8), (20, 5, 300)),
    "mult_noalign": ((12, 9, 8), (20, 5, 300)),
    "mmsa_aligned": ((8, 8, 8), (20, 5, 768)),
    "mmsa_unaligned": ((12, 9, 8), (20, 5, 768)),
}
MOSI_ROWS = {"train": 36, "valid": 12, "test": 12}


def mosi_data(flavour: str, rows: dict[str, int] = MOSI_ROWS, seed: int = 0) -> dict:
    """The dictionary such a pickle holds. The labels of each fold walk through -2, 0, 1.5, 2.2, -0.6."""
    steps, widths = FLAVOURS[flavour]
    rng = np.random.default_rng(seed)
    data = {}
    for fold, (part, n) in enumerate(rows.items()):
        labels = np.resize([-2.0, 0.0, 1.5, 2.2, -0.6], n).astype(np.float32)
        lengths = rng.integers(2, min(steps) + 1, n)
        arrays = {}
        for name, length, width in zip(("vision", "audio", "text"), steps, widths, strict=True):
            array = np.zeros((n, length, width), dtype=np.float32)
            for row in range(n):
                real = rng.normal(size=(lengths[row], width)) + 0.5 * np.sign(labels[row])
                side = slice(0, lengths[row]) if flavour.startswith("mmsa") else slice(length - lengths[row], length)
                array[row, side] = real
            arrays[name] = array
        videos = [f"vid{fold}_{row // 4:02d}abcde"[:11] for row in range(n)]
        if flavour.startswith("mmsa"):
            mask = np.arange(steps[2]) < lengths[:, None]
            extra = {
                "raw_text": np.array([f"UTTERANCE {row}" for row in range(n)], dtype=object),
                "text_bert": np.stack([np.where(mask, 101, 0), mask, np.zeros_like(mask)], axis=1).astype(np.float32),
                "regression_labels": labels,
                "classification_labels": np.sign(labels) + 1,
                "annotations": ["Negative", "Neutral", "Positive"] * (n // 3),
                "id": [f"{video}$_${row}" for row, video in enumerate(videos)],
            }
            if flavour == "mmsa_unaligned":
                extra |= {"audio_lengths": lengths.tolist(), "vision_lengths": lengths.tolist()}
            data[part] = arrays | extra
        elif flavour == "multibench":
            data[part] = arrays | {"labels": labels.reshape(n, 1, 1), "id": [f"{video}[{row}]" for row, video in enumerate(videos)]}
            data[part]["audio"][0, -1, 0] = -np.inf
        else:
            ids = np.array([[video, f"{row}.0", f"{row}.9"] for row, video in enumerate(videos)]).astype("S")
            data[part] = arrays | {"labels": labels.reshape(n, 1, 1), "id": ids}
    return data


class _Python2(pickle._Pickler):
    """Writes texts and bytes as Python 2 does."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text):
        data = text.encode("latin-1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def pickled(value: object, protocol: int = 4, python2: bool = False) -> bytes:
    """A pickle of any protocol; `python2` writes protocol 2 as Python 2 and numpy 1 do."""
    if not python2:
        return pickle.dumps(value, protocol)
    stream = io.BytesIO()
    _Python2(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_cmu_mosi(folder: Path, flavour: str = "multibench", protocol: int = 4, python2: bool = False, name: str = "mosi.pkl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(pickled(mosi_data(flavour), protocol, python2))
    return folder


# ENRICO


def write_enrico(folder: Path, screens: int = 48, size: tuple[int, int] = (48, 27)) -> Path:
    """Three topics; 50105 is listed but has a broken wireframe, 22712 is marked high and 41602 medium."""
    from PIL import Image

    rng = np.random.default_rng(0)
    ids = [50105, 22712, 41602, *range(100, 100 + screens - 3)]
    topics = ["list", "login", "chat"]
    for place in ("screenshots", "wireframes"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    rows = ["screen_id,topic"]
    for row, screen in enumerate(ids):
        topic = row % 3
        rows.append(f"{screen},{topics[topic]}")
        pixels = rng.integers(0, 120, (*size, 4), dtype=np.uint8)
        pixels[..., topic] += 120
        Image.fromarray(pixels[..., :3]).save(folder / "screenshots" / f"{screen}.jpg")
        Image.fromarray(pixels).save(folder / "wireframes" / f"{screen}.png")
    (folder / "wireframes" / "50105.png").write_bytes(b"not an image")
    (folder / "design_topics.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    issues = ["screen_id,source,description,severity", "22712,wireframe,complete mismatch,high", "41602,screenshot,still loading,medium"]
    issues += ["100,hierarchy,overlapping sidebar,high", "50105,wireframe,not available,high"]
    (folder / "issues.csv").write_text("\n".join(issues) + "\n", encoding="utf-8")
    return folder


# ADNI

GRID = (6, 5, 4)
MASK = "BLSA_SPGR+MPRAGE_averagetemplate_muse_seg_DS222.nii.gz"


def grey_matter() -> np.ndarray:
    """The labels of the small mask, as nibabel would return them. Shapes: -> (X, Y, Z)."""
    x, y, z = np.indices(GRID)
    return np.select([(x + 2 * y + 3 * z) % 3 == 0, (x + y) % 2 == 0], [150, 50], 0)


def nifti(volume: np.ndarray, order: str = "<", slope: float = 1.0, shift: float = 0.0) -> bytes:
    """A NIfTI-1 file of a float32 volume, gzipped."""
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, *volume.shape, 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, 16, 32)
    struct.pack_into(f"{order}3f", header, 108, 352.0, slope, shift)
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + volume.astype(f"{order}f4").tobytes(order="F"), mtime=0)


def write_h5ad(path: Path, ids: list[str], matrix: np.ndarray, kind: str = "dense") -> None:
    """An AnnData file: dense, gzip-packed, or CSR."""
    import h5py
    from scipy import sparse

    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        if kind == "sparse":
            packed, group = sparse.csr_matrix(matrix), file.create_group("X")
            group.attrs["encoding-type"], group.attrs["shape"] = "csr_matrix", list(matrix.shape)
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(packed, part)
        else:
            file.create_dataset("X", data=matrix, compression="gzip" if kind == "packed" else None)
        for name, index, values in (("obs", "PTID", ids), ("var", "_index", [f"rs{snp}" for snp in range(matrix.shape[1])])):
            group = file.create_group(name)
            group.attrs["encoding-type"], group.attrs["_index"] = "dataframe", index
            group.attrs["column-order"] = np.array([], dtype="S1")
            group[index] = np.array(values, dtype=text)


def write_adni(folder: Path, genome: str = "dense", people: int = 60) -> Path:
    """Six combinations, all with C; some people have two scans; one is in no part; single cells are empty."""
    rng = np.random.default_rng(0)
    for place in ("image", "genomic", "clinical", "biospecimen"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    ids = [f"{row % 7:03d}_S_{1000 + row}" for row in range(people)]
    target = np.arange(people) % 3
    label = ["PTID,DIAGNOSIS", *(f"{ptid},{code + 1}" for ptid, code in zip(ids, target, strict=True))]
    (folder / "label.csv").write_text("\n".join(label) + "\n", encoding="utf-8")
    order = rng.permutation(people - 1)
    cuts = np.split(order, [int(0.7 * (people - 1)), int(0.85 * (people - 1))])
    parts = {key: [ids[row] for row in rows] for key, rows in zip(("training", "validation", "testing"), cuts, strict=True)}
    (folder / "PTID_splits.json").write_text(json.dumps(parts), encoding="utf-8")

    grey = grey_matter() == 150
    scanned = [row for row in range(people) if row % 6 in (0, 1, 2, 4)]
    dates = [(row, "2008-01-15") for row in scanned] + [(row, "2006-07-01") for row in scanned[::3]]
    dates = [dates[place] for place in rng.permutation(len(dates))]
    (folder / "image" / "ADNI_subj.txt").write_text("".join(f"{ids[row]}_{date}\n" for row, date in dates), encoding="utf-8")
    voxels = rng.normal(size=(len(dates), grey.sum())) + np.array([target[row] for row, _ in dates])[:, None]
    np.save(folder / "image" / "ADNI_G.npy", voxels)
    (folder / "image" / MASK).write_bytes(nifti(grey_matter()))

    with_genome = [row for row in range(people) if row % 6 in (0, 1, 3) or row % 12 == 11]
    snps = rng.integers(0, 3, (len(with_genome), 20)).astype(np.float32)
    snps[:, :5] = target[with_genome][:, None]
    snps[rng.random(snps.shape) < 0.05] = np.nan
    names = [ids[row] for row in with_genome]
    if genome == "npz":
        np.savez(folder / "genomic" / "genomic.npz", X=snps, PTID=np.array(names))
    else:
        write_h5ad(folder / "genomic" / "genomic_merged.h5ad", names, snps, genome)

    def table(path: Path, rows: list[int], columns: list[str]) -> None:
        values = rng.normal(size=(len(rows), len(columns))) + target[rows][:, None]
        lines = [",".join(["PTID", *columns])]
        for row, numbers in zip(rows, values, strict=True):
            cells = ["" if rng.random() < 0.05 else f"{number:.4f}" for number in numbers]
            lines.append(",".join([ids[row], *cells]))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    leaky = ["PTCOGBEG_1.0", "PTADDX", "PTADBEG_x"]
    table(folder / "clinical" / "clinical_merged.csv", list(range(people)), ["AGE", *leaky, "MMSE", "EDUC"])
    table(
        folder / "biospecimen" / "biospecimen_merged.csv",
        [row for row in range(people) if row % 6 != 4 and row % 12 != 11],
        ["ABETA", "TAU", "PTAU"],
    )
    return folder


# MIMIC-IV


def write_mimic_iv(folder: Path, origin: str = "preprocessed", patients: int = 80) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return _mimic_preprocessed(folder, patients) if origin == "preprocessed" else _mimic_raw(folder, patients)


def _mimic_preprocessed(folder: Path, patients: int) -> Path:
    """Patients 0, 10, ... have no laboratory row (NaN), 1, 11, ... no note and 2, 12, ... no code (zeros)."""
    import torch

    rng = np.random.default_rng(0)
    ids, target = 10_000_000 + 7 * np.arange(patients), (np.arange(patients) % 4 == 0).astype(int)
    rows = [f"{one},{label}" for one, label in zip(ids, target, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["subject_id,one_year_mortality", *rows]) + "\n", encoding="utf-8")
    lab = torch.from_numpy(rng.normal(size=(patients, 12)) + target[:, None])
    lab[::10] = torch.nan
    note = torch.from_numpy((rng.normal(size=(patients, 16)) + target[:, None]).astype(np.float32))
    note[1::10] = 0
    code = (rng.random((patients, 20)) < 0.2 + 0.3 * target[:, None]).astype(np.int64)
    code[:, 0], code[2::10] = 1, 0
    for name, value in (("lab", lab), ("note", note), ("code", code)):  # two tensors and a numpy array, as both occur
        torch.save(value, folder / f"{name}_x.pt")
    order = ids[rng.permutation(patients)].tolist()
    cuts = (int(0.7 * patients), int(0.85 * patients))
    split = {"training": order[: cuts[0]], "validation": order[cuts[0] : cuts[1]], "testing": order[cuts[1] :]}
    (folder / "PTID_splits_mimic.json").write_text(json.dumps(split), encoding="utf-8")
    return folder


def _day(patient: int, days: int, clock: str = "12:00:00") -> str:
    return f"{np.datetime64('2150-01-01') + patient * 3 + days} {clock}"


def _mimic_raw(folder: Path, patients: int) -> Path:
    """Six tables with all columns of version 2.2. Each patient leaves hospital on days 10 and 40; those with id % 4 == 0 die on day 140.

    Extras: 10000001 has one stay alone; 10000002 dies in a third stay, on day 60; 10000003 has no note, 10000005 no number,
    10000006 no code. Everyone has a number, a note and a procedure from after day 40, all with a tell-tale value or word.
    """
    rng = np.random.default_rng(0)
    tables: dict[str, list[str]] = {
        "hosp/patients": ["subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod"],
        "hosp/admissions": ["subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,hospital_expire_flag"],
        "hosp/labevents": [
            "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,"
            "ref_range_lower,ref_range_upper,flag,priority,comments"
        ],
        "hosp/diagnoses_icd": ["subject_id,hadm_id,seq_num,icd_code,icd_version"],
        "hosp/procedures_icd": ["subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version"],
        "note/discharge": ["note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text"],
    }
    for patient in range(patients):
        one, dies = 10_000_000 + patient, patient % 4 == 0
        died = _day(patient, 60 if patient == 2 else 140)[:10] if dies or patient == 2 else ""
        tables["hosp/patients"].append(f"{one},F,60,2150,2011 - 2013,{died}")
        stays = [(1, 10), (30, 40)][: 1 if patient == 1 else 2] + ([(55, 60)] if patient == 2 else [])
        for stay, (begin, end) in enumerate(stays):
            hadm, in_hospital = 20_000_000 + 10 * patient + stay, stay == 2
            death = _day(patient, end, "08:00:00") if in_hospital else ""
            tables["hosp/admissions"].append(f"{one},{hadm},{_day(patient, begin)},{_day(patient, end)},{death},URGENT,{int(in_hospital)}")
            if patient != 6:
                codes = ["4280"] * dies + ["25000", f"V{rng.integers(10, 20)}"]
                tables["hosp/diagnoses_icd"] += [f"{one},{hadm},{seq},{code},9" for seq, code in enumerate(codes, 1)]
                tables["hosp/diagnoses_icd"].append(f"{one},{hadm},9,E119,10")
                tables["hosp/procedures_icd"].append(f"{one},{hadm},1,{_day(patient, end - 1)[:10]},3995,9")
            if patient != 3:
                words = "heart failure, severe" if dies else "routine visit, stable"
                when = "latest" if stay else "earlier"
                text = f'"Name: ___\nDischarge ""summary"": {words}, {when} stay {stay} of patient.\n"'
                tables["note/discharge"].append(f"{one}-DS-{stay},{one},{hadm},DS,{stay},{_day(patient, end, '00:00:00')},,{text}")
        if patient != 5:
            for item in (50912, 50971, 51222, 50900 + patient % 3):
                for day in (5, 35):
                    number = f"{rng.normal() + 2 * dies:.3f}"
                    tables["hosp/labevents"].append(_lab(one, item, _day(patient, day), _day(patient, day, "13:00:00"), number))
        tables["hosp/labevents"].append(_lab(one, 50912, _day(patient, 50), _day(patient, 50), "99999"))  # too late
        tables["hosp/labevents"].append(_lab(one, 50912, _day(patient, 39), _day(patient, 41), "88888"))  # stored too late
        tables["hosp/labevents"].append(_lab(one, 50912, _day(patient, 5), _day(patient, 5), ""))  # no number
        late = 20_000_000 + 10 * patient + 1
        if patient not in (1, 6):
            tables["hosp/procedures_icd"].append(f"{one},{late},2,{_day(patient, 50)[:10]},LATE,9")
        if patient not in (1, 3):
            tables["note/discharge"].append(f"{one}-DS-8,{one},{late},DS,8,{_day(patient, 50)},,telltale")
            tables["note/discharge"].append(f"{one}-AD-9,{one},{late},AD,9,{_day(patient, 40, '00:00:00')},,addendum")
    for name, lines in tables.items():
        path = folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    return folder


def _lab(one: int, item: int, drawn: str, stored: str, number: str) -> str:
    return f'1,{one},,7,{item},,{drawn},{stored},{number},{number},mg/dL,,,,ROUTINE,"a ""comment"", quoted"'


WRITERS = {"cmu-mosi": write_cmu_mosi, "enrico": write_enrico, "adni": write_adni, "mimic-iv": write_mimic_iv}
FOLDERS = {"cmu-mosi": "cmu_mosi", "enrico": "enrico", "adni": "adni", "mimic-iv": "mimic_iv"}

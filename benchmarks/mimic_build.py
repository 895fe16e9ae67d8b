"""How long the raw MIMIC-IV build takes and how much memory, on invented tables with a million laboratory rows. Prints JSON.

    python benchmarks/mimic_build.py [--rows 1000000] [--patients 5000]

The tables have the columns and the layout of version 2.2, packed with gzip. The build runs in a process of its own, whose peak
resident memory is what the system reports; writing the tables is not counted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

WORDS = 3000
TEXT_WORDS = 800  # of a note


def write(folder: Path, rows: int, patients: int) -> None:
    """Six tables: two stays a patient, a note a stay, 12 codes a stay, and the laboratory rows in the order of patients."""
    rng = np.random.default_rng(0)
    (folder / "hosp").mkdir(parents=True)
    (folder / "note").mkdir()
    subjects = 10_000_000 + np.arange(patients)
    start = np.datetime64("2150-01-01T00:00:00") + rng.integers(0, 40 * 365, patients).astype("timedelta64[D]")
    died = rng.random(patients) < 0.25

    def day(patient: np.ndarray, days: np.ndarray) -> pd.Series:
        return pd.Series(start[patient] + (days * 86_400).astype("timedelta64[s]")).dt.strftime("%Y-%m-%d %H:%M:%S")

    def save(name: str, table: pd.DataFrame) -> None:
        with gzip.open(folder / f"{name}.csv.gz", "wt", compresslevel=6, encoding="utf-8") as stream:
            table.to_csv(stream, index=False)

    both = np.repeat(np.arange(patients), 2)
    stay = np.tile([0, 1], patients)
    hadm = 20_000_000 + np.arange(2 * patients)
    everyone = np.arange(patients)
    dod = day(everyone, np.full(patients, 200.0)).str[:10].where(died, "")
    save("hosp/patients", pd.DataFrame({"subject_id": subjects, "gender": "F", "anchor_age": 60, "anchor_year": 2150, "dod": dod}))
    save(
        "hosp/admissions",
        pd.DataFrame(
            {
                "subject_id": subjects[both], "hadm_id": hadm, "admittime": day(both, 5.0 + 60 * stay),
                "dischtime": day(both, 15.0 + 60 * stay), "deathtime": "", "admission_type": "URGENT", "hospital_expire_flag": 0,
            }
        ),
    )  # fmt: skip
    for name in ("diagnoses_icd", "procedures_icd"):
        many = np.repeat(np.arange(2 * patients), 6)
        codes = pd.Series(rng.zipf(1.3, len(many)) % 20_000).astype(str)
        table = {"subject_id": subjects[both[many]], "hadm_id": hadm[many], "seq_num": 1, "icd_code": codes, "icd_version": 9}
        if name == "procedures_icd":
            table["chartdate"] = day(both[many], 10.0 + 60 * stay[many]).str[:10]
        save(f"hosp/{name}", pd.DataFrame(table))
    vocabulary = np.array(["".join(rng.choice(list("abcdefghijklmnop"), rng.integers(3, 9))) for _ in range(WORDS)])
    texts = [" ".join(vocabulary[rng.zipf(1.3, TEXT_WORDS) % WORDS]) + ".\nPlan:\n" for _ in range(2 * patients)]
    note = {
        "note_id": [f"{one}-DS-1" for one in subjects[both]],
        "subject_id": subjects[both],
        "hadm_id": hadm,
        "note_type": "DS",
        "note_seq": 1,
    }
    save("note/discharge", pd.DataFrame({**note, "charttime": day(both, 15.0 + 60 * stay), "storetime": "", "text": texts}))
    who = np.sort(rng.integers(0, patients, rows))
    drawn = rng.random(rows) * 90
    number = rng.normal(size=rows).round(2)
    save(
        "hosp/labevents",
        pd.DataFrame(
            {
                "labevent_id": np.arange(rows), "subject_id": subjects[who], "hadm_id": "", "specimen_id": 7,
                "itemid": 50_800 + rng.zipf(1.2, rows) % 900, "order_provider_id": "", "charttime": day(who, drawn),
                "storetime": day(who, drawn + 0.05), "value": number, "valuenum": number, "valueuom": "mg/dL", "ref_range_lower": 1,
                "ref_range_upper": 2, "flag": "", "priority": "ROUTINE", "comments": "IN RANGE.",
            }
        ),
    )  # fmt: skip


def build(folder: str) -> None:
    """In the process that is measured."""
    from bench.datasets.mimic_iv import MimicIv
    from bench.training.cost import resident_mb

    begin = time.perf_counter()
    samples = MimicIv(origin="raw").read(Path(folder), lambda *_: None)
    seconds = time.perf_counter() - begin
    shapes = {name: list(array.shape) for name, array in samples.values.items()}
    print(json.dumps({"patients": len(samples), "shapes": shapes, "seconds": round(seconds, 1), "peak_memory_mb": round(resident_mb())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, default=5000)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.build:
        build(chosen.build)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "mimic", chosen.rows, chosen.patients)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.gz"))
        answer = subprocess.run([sys.executable, __file__, "--build", f"{folder}/mimic"], check=True, capture_output=True, text=True).stdout
    print(json.dumps({"labevents_rows": chosen.rows, "packed_mb": round(size / 1e6, 1), **json.loads(answer)}, indent=2))


if __name__ == "__main__":
    main()

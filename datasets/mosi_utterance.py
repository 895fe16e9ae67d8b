"""CMU-MOSI, real: sentiment of 2199 utterances of 93 film reviews, with ready-made features of text, voice and face.

Source:     MOSI (Zadeh, Zellers, Pincus and Morency 2016); features of Poria et al. 2017 as in soujanyaporia/contextual-multimodal-fusion.
Licence:    the repository is MIT; the corpus is for research use, see `terms`.
Sizes:      subset=author (default): 2199 utterances, 1447 train (738 negative, 709 positive) and 752 test (285, 467), of 62 and 31 videos,
            none in both. subset=clean: the 752 alone, to be split by video.
Classes:    negative, positive; positive is a sentiment of 0 or more (variant `ge0`).
Modalities: T text, 100 features of a text CNN; A audio, 73 of openSMILE; V video, 100 of a 3D-CNN. 32 columns of V do not vary and are kept
            (scaling makes them 0). No natural gaps.
Split:      author: the authors' train and test part, validation cut from train by whole videos. clean: 70/15/15 by whole videos.
Traps:      text and video features come from networks trained with the labels of the 1447 train utterances. So (1) with subset=author
            validation is optimistic: those features have seen its labels; (2) every other split of the 2199 leaks into the test part: on
            the CMU standard split, text alone scores 97.8 % on the test utterances that were trained on and 74.2 % on the others. Such a
            split cannot be asked for. `groups` holds the video.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.tables import Table, check_unique, read_table

PARTS = ("train", "test")
MODALITIES = {"text": ("T", 100), "audio": ("A", 73), "video": ("V", 100)}  # name: (letter, features)
LEAK = (
    "subset={} is not offered: text and video features come from networks trained with the labels of the authors' train part, so that any "
    "other split of all utterances, the CMU standard split among them, leaks test labels (text alone then scores 97.8 % on the "
    "utterances trained on, 74.2 % on the others); use subset=author or subset=clean"
)


class MosiUtterance(FileDataset):
    name = "mosi-utterance"
    folder = "mosi_utterance"
    files = (
        "transcripts.csv", "text_train.csv", "text_test.csv", "audio_train0.csv", "audio_test0.csv", "video_train0.csv", "video_test0.csv",
    )  # fmt: skip
    title = "sentiment of film review utterances, CMU-MOSI features (real)"
    source = "MOSI, Zadeh, Zellers, Pincus and Morency 2016, arXiv:1606.06259; features of Poria et al., ACL 2017"
    licence = "MIT (features); CMU-MOSI: research use"
    obtain = (
        "Get the files of data/, data/audio/ and data/video/ from github.com/soujanyaporia/contextual-multimodal-fusion, in one folder."
    )
    terms = "Research use. Cite Zadeh et al. 2016 for the corpus and Poria et al. 2017 for the features; do not pass videos on."
    checksums = {
        "transcripts.csv": "e7689e6d70720addd2a6b316419d245a68839c32b014ff426c406063ee777466",
        "text_train.csv": "73770b6302ad0f7a51f4eddcae6788efde4d0b6802e09f78249d5b538d1c1d67",
        "text_test.csv": "f3b735070bf07ceff7a6ef6c8f4c32757e988de484e35bd6d38b2aecef851a59",
        "audio_train0.csv": "5435398a54664e7b00304587dc59ae84a438852be033c2a2fba779588624a2a1",
        "audio_test0.csv": "ddd17eeefd3d951d51d4e2ef8a0d132652d8161e1886f71eb7262b7a14bffff6",
        "video_train0.csv": "b6efc0413132d627efd06f67f1706830e775e90af9a75696f535c48dbc73f12f",
        "video_test0.csv": "cab836253d81100f59d533fa2ff65cd53c486be3ec9fd82203c5e25a7a77265f",
    }
    options = {"subset": "author"}
    subset: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        if self.subset not in ("author", "clean"):
            raise ValueError(LEAK.format(self.subset))

    def read(self, folder: Path, report: Report) -> Samples:
        utterances = read_table(folder / "transcripts.csv", ("id", "text", "video", "positive"))
        check_unique(utterances, "id", utterances.column("id"))
        labels = utterances.codes("positive", ("0", "1"))
        values: dict[str, list[np.ndarray]] = {name: [] for name in MODALITIES}
        rows, split = [], []
        for part in PARTS if self.subset == "author" else ("test",):
            text = read_table(folder / f"text_{part}.csv", ("row", *_names("text")))
            index = _rows(text, len(utterances))
            values["text"].append(text.numbers(_names("text")))
            for name in ("audio", "video"):
                table = read_table(folder / f"{name}_{part}0.csv", (*_names(name), "positive"))
                _check_order(table, index, labels)
                values[name].append(table.numbers(_names(name)))
            rows.append(index)
            split += [part] * len(index)
        chosen = np.concatenate(rows)
        if len(np.unique(chosen)) < len(chosen):
            raise DataError(
                "text_train.csv and text_test.csv must name different rows of transcripts.csv; some are in both, or twice in one"
            )
        arrays = {name: np.concatenate(parts).astype(np.float32) for name, parts in values.items()}
        for name, array in arrays.items():
            if np.isnan(array).any():
                raise DataError(f"features of {name} must be complete, and some cell is empty")
        ids = utterances.column("id")[chosen].astype(str)
        return Samples(
            Schema(
                tuple(Modality(name, letter, "vector", (size,)) for name, (letter, size) in MODALITIES.items()), ("negative", "positive")
            ),
            arrays,
            observed=np.ones((len(chosen), len(MODALITIES)), dtype=bool),
            target=labels[chosen],
            ids=ids,
            groups=np.array([utterance.rpartition("_")[0] for utterance in ids]),
            split=np.array(split) if self.subset == "author" else None,
        )


def _names(modality: str) -> list[str]:
    return [f"{modality} {number}" for number in range(MODALITIES[modality][1])]


def _rows(text: Table, utterances: int) -> np.ndarray:
    """Rows of transcripts.csv that a text file names in its first column. Shapes: -> (N,) int64. Raises: DataError."""
    index = text.numbers(["row"])[:, 0]
    wrong = np.flatnonzero(~((index >= 0) & (index < utterances) & (index == np.floor(index))))
    if len(wrong):
        raise DataError(f"{text.where(wrong[0])}: the first column must be a row of transcripts.csv, 0 to {utterances - 1}")
    return index.astype(np.int64)


def _check_order(table: Table, index: np.ndarray, labels: np.ndarray) -> None:
    """Rows of the files of one part are the same utterances: their labels must agree. Raises: DataError."""
    if len(table) != len(index):
        raise DataError(f"{table.path.name} must have {len(index)} rows as the text file of its part, got {len(table)}; it is cut short")
    found = table.codes("positive", (0, 1))
    if (found != labels[index]).any():
        row = np.flatnonzero(found != labels[index])[0]
        raise DataError(f"{table.where(row)}: the label is not that of transcripts.csv; the rows of the files are not the same utterances")

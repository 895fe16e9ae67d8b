"""CMU-MOSI, real: sentiment of 2199 utterances of 93 film reviews, with ready-made features of text, voice and face.

Source:     MOSI (Zadeh, Zellers, Pincus and Morency 2016); features of Poria et al. 2017 as in soujanyaporia/contextual-multimodal-fusion.
            Real-valued labels and standard folds (split=standard): those of Lian et al. 2023 in zeroQiaoba/GCNet, as `labels.csv`.
Licence:    the repository is MIT; the corpus is for research use, see `terms`.
Sizes:      split=author (default), subset=author (default): 2199 utterances, 1447 train (738 negative, 709 positive) and 752 test (285,
            467), of 62 and 31 videos, none in both. subset=clean: the 752 alone, to be split by video. split=standard: the folds of the
            field, 1284 / 229 / 686 of 52 / 10 / 31 videos; labels=nonzero (default) drops the 96 utterances with label 0, which leaves 1231
            (679 positive) / 216 (124) / 656 (277); labels=ge0 makes them positive, labels=gt0 negative.
Target:     target=class (default), or target=value: the sentiment itself, -3 to 3, of `labels.csv`; then no utterance is dropped.
Classes:    negative, positive; with split=author positive is a sentiment of 0 or more (`ge0`), the one label its files hold.
Modalities: split=author: T text, 100 features of a text CNN; A audio, 73 of openSMILE; V video, 100 of a 3D-CNN. 32 columns of V do not
            vary and are kept (scaling makes them 0). split=standard: T text, counts of the words and word pairs that the transcripts of the
            train fold hold; A audio, as above; no V (see Traps). No natural gaps.
Learnt:     split=standard: the words=512 words and pairs that most training utterances hold, as TF-IDF
            at unit length, with the weights of the training utterances.
Split:      author: the authors' train and test part, validation cut from train by whole videos. clean: 70/15/15 by whole videos.
            standard: the three standard folds. `groups` holds the video.
Metrics:    split=standard, labels=nonzero: 57.8 % of the test part is negative, so that accuracy is read against that; text carries nearly
            everything, and audio that no label has trained adds nothing to it.
Traps:      text and video features come from networks trained with the labels of the 1447 train utterances. So (1) with subset=author
            validation is optimistic: those features have seen its labels; (2) under every other split of the 2199 they leak into the test
            part: on the CMU standard split, text alone scores 97.8 % on the test utterances that were trained on and 74.2 % on the
            others, video 91.9 % and 54.7 %. So split=standard leaves both out and rebuilds text from the transcripts; there is nothing
            that video could be rebuilt from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.datasets.base import PARTS as FOLDS
from bench.datasets.base import Classes, DataError, Modality, Samples, Schema, Target, Value
from bench.datasets.files import FileDataset, Report
from bench.datasets.tables import Table, check_unique, read_table
from bench.datasets.vocabulary import checked_size, commonest, unit_length

PARTS = ("train", "test")
MODALITIES = {"text": ("T", 100), "audio": ("A", 73), "video": ("V", 100)}  # name: (letter, features)
LEAK = (
    "subset={} is not offered: text and video features come from networks trained with the labels of the authors' train part, so that any "
    "other split of all utterances, the CMU standard split among them, leaks test labels (text alone then scores 97.8 % on the "
    "utterances trained on, 74.2 % on the others); use subset=author or subset=clean, or split=standard, which has audio and text rebuilt "
    "from the transcripts"
)
LABELS = ("labels.csv", "../mosi_labels/labels.csv")  # real-valued labels lie in the folder, or beside it
CLASSES, SENTIMENT = ("negative", "positive"), Value("sentiment", "points from -3 to 3")
LARGEST = 3.0  # labels are in [-3, 3]
STANDARD = {"labels": "nonzero", "words": 512}  # options of split=standard alone
TARGETS = ("class", "value")


class MosiUtterance(FileDataset):
    name = "mosi-utterance"
    folder = "mosi_utterance"
    files = (
        "transcripts.csv", "text_train.csv", "text_test.csv", "audio_train0.csv", "audio_test0.csv", "video_train0.csv", "video_test0.csv",
    )  # fmt: skip
    extra = LABELS
    title = "sentiment of film review utterances, CMU-MOSI features (real)"
    source = "MOSI, Zadeh, Zellers, Pincus and Morency 2016, arXiv:1606.06259; features of Poria et al., ACL 2017"
    licence = "MIT (features); CMU-MOSI: research use"
    obtain = (
        "Get the files of data/, data/audio/ and data/video/ from github.com/soujanyaporia/contextual-multimodal-fusion, in one folder. "
        "split=standard also needs labels.csv, there or in mosi_labels/ beside it: columns id, video, fold (train, valid, test) and "
        "sentiment, from dataset/CMUMOSI/CMUMOSI_features_raw_2way.pkl in github.com/zeroQiaoba/GCNet."
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
        **dict.fromkeys(LABELS, "366e4f3b0852a2e91ee71b76895aaf14487179fa5e669eaeb7510659e8350654"),
    }
    options = {"subset": "author", "split": "author", "target": "class", **STANDARD}
    choices = {"split": ("author", "standard"), "target": TARGETS, "labels": ("nonzero", "ge0", "gt0")}
    subset: str
    split: str
    target: str
    labels: str
    words: int

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        checked_size("words", self.words)
        if self.subset not in ("author", "clean"):
            raise ValueError(LEAK.format(self.subset))
        if self.split == "standard" and self.subset != "author":
            raise ValueError("subset=clean is a part of the authors' test utterances; it goes with split=author alone")
        given = sorted(key for key in STANDARD if options.get(key, STANDARD[key]) != STANDARD[key])
        if self.target == "value" and options.get("labels", STANDARD["labels"]) != STANDARD["labels"]:
            raise ValueError(
                "labels says which class an utterance of sentiment 0 is of; with target=value every utterance has its sentiment"
            )
        if given and self.split != "standard":
            raise ValueError(f"{', '.join(given)} say how the standard split is read; they go with split=standard alone")

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        if self.split != "standard":
            return (*super().needed, LABELS) if self.target == "value" else super().needed
        return (*((name,) for name in self.files if not name.startswith("video")), LABELS)

    def read(self, folder: Path, report: Report) -> Samples:
        utterances = read_table(folder / "transcripts.csv", ("id", "text", "video", "positive"))
        check_unique(utterances, "id", utterances.column("id"))
        labels = utterances.codes("positive", ("0", "1"))
        if self.split == "standard":
            return self._standard(folder, utterances, labels)
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
        asked: Target = Classes(CLASSES)
        target = labels
        if self.target == "value":
            asked, target = SENTIMENT, _scores(self.sources(folder)[-1], utterances, labels)[0]
        return Samples(
            Schema(tuple(Modality(name, letter, "vector", (size,)) for name, (letter, size) in MODALITIES.items()), asked),
            arrays,
            observed=np.ones((len(chosen), len(MODALITIES)), dtype=bool),
            target=target[chosen],
            ids=ids,
            groups=np.array([utterance.rpartition("_")[0] for utterance in ids]),
            split=np.array(split) if self.subset == "author" else None,
        )

    def _standard(self, folder: Path, utterances: Table, labels: np.ndarray) -> Samples:
        """Text as counts and audio, cut by the standard folds. Raises: DataError."""
        from sklearn.feature_extraction.text import CountVectorizer

        scores, folds = _scores(self.sources(folder)[-1], utterances, labels)
        audio = _audio(folder, labels)
        ids = utterances.column("id").astype(str)
        videos = np.array([name.rpartition("_")[0] for name in ids])
        check_folds(videos, folds)
        kept = np.flatnonzero((scores != 0) | (self.labels != "nonzero") | (self.target == "value"))
        texts, train = utterances.column("text")[kept], folds[kept] == "train"
        vectorizer = CountVectorizer(ngram_range=(1, 2), dtype=np.float32)
        try:
            vectorizer.fit(texts[train])
        except ValueError as error:  # no row, or no word in any
            raise DataError(f"transcripts.csv has no word in an utterance of the train fold ({error})") from error
        values = {"text": vectorizer.transform(texts).toarray(), "audio": audio[kept]}
        positive = scores >= 0 if self.labels == "ge0" else scores > 0
        target = scores[kept] if self.target == "value" else positive[kept].astype(np.int64)
        return Samples(
            Schema(
                tuple(Modality(name, MODALITIES[name][0], "vector", array.shape[1:]) for name, array in values.items()),
                SENTIMENT if self.target == "value" else CLASSES,
            ),
            values,
            observed=np.ones((len(kept), len(values)), dtype=bool),
            target=target,
            ids=ids[kept],
            groups=videos[kept],
            split=folds[kept],
        )

    def learn(self, train: Samples) -> Callable[[Samples], Samples] | None:
        if self.split != "standard" or "text" not in train.values:
            return None
        from sklearn.feature_extraction.text import TfidfTransformer

        columns = commonest(train.values["text"], self.words)
        counts = train.values["text"][train.observed[:, train.schema.names.index("text")]][:, columns]
        weights = TfidfTransformer(norm=None).fit(counts).idf_ if len(counts) else np.ones(len(columns))  # (K,)
        return lambda samples: samples.with_values({"text": unit_length(samples.values["text"][:, columns] * weights)})


def check_folds(videos: np.ndarray, folds: np.ndarray) -> None:
    """No video is in two folds. Shapes: (N,), (N,). Raises: DataError."""
    for video in np.unique(videos):
        here = np.unique(folds[videos == video])
        if len(here) > 1:
            raise DataError(f"labels.csv puts video {video} into folds {' and '.join(here)}; the standard folds hold whole videos")


def _audio(folder: Path, labels: np.ndarray) -> np.ndarray:
    """Audio of every utterance, whichever part of the authors holds it. Shapes: labels (N,) -> (N, 73) float32. Raises: DataError."""
    found = np.full((len(labels), MODALITIES["audio"][1]), np.nan, dtype=np.float32)
    for part in PARTS:
        index = _rows(read_table(folder / f"text_{part}.csv", ("row", *_names("text"))), len(labels))
        table = read_table(folder / f"audio_{part}0.csv", (*_names("audio"), "positive"))
        _check_order(table, index, labels)
        found[index] = table.numbers(_names("audio"))
    if np.isnan(found).any():
        row = int(np.isnan(found).any(1).argmax())
        raise DataError(f"features of audio must be complete, and row {row} of transcripts.csv has a gap, or is in no file")
    return found


def _scores(path: Path, utterances: Table, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real-valued label and standard fold of every utterance. Shapes: labels (N,) -> (N,) float64, (N,) str. Raises: DataError."""
    table = read_table(path)
    check_unique(table, "id", table.column("id"))
    row_of = {name: row for row, name in enumerate(table.column("id").tolist())}
    absent = [name for name in utterances.column("id").tolist() if name not in row_of]
    if absent or len(table) != len(utterances):
        which = f"has no utterance {absent[0]}" if absent else f"holds {len(table)} utterances"
        raise DataError(f"{path.name} {which}; it must hold the {len(utterances)} utterances of transcripts.csv and no other")
    rows = np.array([row_of[name] for name in utterances.column("id").tolist()])
    scores = table.numbers(["sentiment"])[:, 0]
    folds = table.codes("fold", FOLDS)
    for wrong, rule in (
        (~(np.abs(scores) <= LARGEST), f"sentiment must be in [-{LARGEST:g}, {LARGEST:g}]"),
        (folds < 0, f"fold must be one of {', '.join(FOLDS)}"),
    ):
        if wrong.any():
            raise DataError(f"{table.where(int(wrong.argmax()))}: {rule}, got {', '.join(table.cells[int(wrong.argmax())])}")
    other = (scores[rows] >= 0) != (labels == 1)
    if other.any():
        row = rows[int(other.argmax())]
        raise DataError(f"{table.where(row)}: sentiment {scores[row]:g} is not what transcripts.csv says of {table.column('id')[row]}")
    return scores[rows], np.array(FOLDS)[folds[rows]]


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

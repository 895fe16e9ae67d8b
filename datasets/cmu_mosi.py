"""CMU-MOSI: sentiment of film reviewers from their face, voice and words, as sequences of features.

Source:     Zadeh et al. 2016 (arXiv:1606.06259); features as packed by MultiBench (`mosi_raw.pkl`), MulT (`mosi_data.pkl`,
            `mosi_data_noalign.pkl`) or MMSA (`aligned_50.pkl`, `unaligned_50.pkl`). The keys and feature numbers tell which, not the name.
Licence:    corpus for research use; the packing code is MIT.
Sizes:      2199 utterances of 93 videos, standard folds 1284 / 229 / 686. labels=nonzero (default, the paper's): the 96 utterances with
            label 0 (53, 13 and 30 of the folds) are dropped, 2103 stay, test 277 positive of 656. labels=ge0: 0 is positive (307 of
            686). labels=gt0: 0 is negative (277 of 686).
Modalities: V vision, A audio, T text, sequences of at most 50 steps (unaligned files: more). MultiBench 35 / 74 / 300 features,
            MulT 20 / 5 / 300, MMSA 20 / 5 / 768 (BERT).
Split:      the standard folds, which the file holds; no video is in two.
Rules:      - A step whose features are all zero at either end of a sequence is padding, wherever the packer put it; steps move to the
              start. In aligned files one span holds for the three modalities: from the first word to the last step of any. BERT text
              is as long as its attention mask.
            - -inf in audio (a logarithm of silence) becomes 0, as in the three code bases; NaN stays a gap, filled with the train mean.
            - An utterance without any word is dropped, as MultiBench does; one without any face or voice does not observe that modality.
Differs:    MultiBench keeps all-zero steps at the end; they hold nothing but their number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.base import PARTS, DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.safe import read_pickle

NAMES = ("vision", "audio", "text")
WIDTHS = {(35, 74, 300): "MultiBench", (20, 5, 300): "MulT"}  # of vision, audio, text
UTTERANCES = 2199
VIDEO = re.compile(r"\[.*|\$_\$.*|(?<=^.{11})_\d+$")  # what follows the video in an id
LARGEST = 3.0  # labels are in [-3, 3]


class CmuMosi(FileDataset):
    name = "cmu-mosi"
    folder = "cmu_mosi"
    files = ("*.pkl",)
    title = "CMU-MOSI, sentiment of film reviews"
    source = "CMU-MOSI, Zadeh et al. 2016 (arXiv:1606.06259), features by MultiBench, MulT or MMSA"
    licence = "corpus for research use"
    obtain = (
        "Follow the data links in the README of github.com/pliang279/MultiBench (mosi_raw.pkl), github.com/yaohungt/Multimodal-Transformer "
        "(mosi_data.pkl) or github.com/thuiar/MMSA (aligned_50.pkl, unaligned_50.pkl)."
    )
    terms = "Research use; cite Zadeh et al. 2016 and whoever made the features."
    options = {"labels": "nonzero", "file": ""}  # file: which pickle, where the folder holds several
    choices = {"labels": ("nonzero", "ge0", "gt0")}
    labels: str
    file: str

    def sources(self, folder: Path) -> list[Path]:
        found = super().sources(folder)
        if self.file:
            found = [path for path in found if path.name == self.file]
        if len(found) != 1:
            known = ", ".join(path.name for path in super().sources(folder))
            raise DataError(f"{self.name} reads one pickle; {folder} holds {known}. Choose one: {self.name}[file=NAME]")
        return found

    def read(self, folder: Path, report: Report) -> Samples:
        path = self.sources(folder)[0]
        report(0, 2, f"reading {path.name}")
        folds = [_fold(f"{path.name}, {part}", fold) for part, fold in _folds(path).items()]
        report(1, 2, "finding where sequences begin and end")
        ids = np.concatenate([fold.ids for fold in folds])
        videos = np.concatenate([fold.videos for fold in folds])
        split = np.repeat(PARTS, [len(fold.ids) for fold in folds])
        _check_whole(path, ids, videos, split)
        scores = np.concatenate([fold.scores for fold in folds])
        lengths = {name: np.concatenate([fold.lengths[name] for fold in folds]) for name in NAMES}
        kept = (lengths["text"] > 0) & ((scores != 0) | (self.labels != "nonzero"))
        observed = np.stack([lengths[name][kept] > 0 for name in NAMES], axis=1)
        _check_left(path, split[kept], observed)
        values = {name: _gathered(folds, name, np.split(kept, np.cumsum([len(fold.ids) for fold in folds])[:-1])) for name in NAMES}
        modalities = tuple(Modality(name, name[0].upper(), "sequence", values[name].shape[1:]) for name in NAMES)
        return Samples(
            Schema(modalities, ("negative", "positive")),
            values,
            observed,
            target=(scores >= 0 if self.labels == "ge0" else scores > 0)[kept].astype(np.int64),
            ids=ids[kept],
            groups=videos[kept],
            split=split[kept],
            lengths={name: np.maximum(lengths[name][kept], 1) for name in NAMES},
        )


@dataclass(frozen=True)
class Fold:
    """One fold as packed.

    Shapes: ids and videos (n,) str; scores (n,); values[name] (n, T, F) float32; starts[name] and lengths[name] (n,) int64.
    """

    ids: np.ndarray
    videos: np.ndarray
    scores: np.ndarray
    values: dict[str, np.ndarray]
    starts: Mapping[str, np.ndarray]
    lengths: Mapping[str, np.ndarray]  # 0 where there is nothing


def _folds(path: Path) -> dict[str, dict[str, Any]]:
    """The three folds of a pickle. Raises: DataError if it is not one of the known packings."""
    data = read_pickle(path)
    if isinstance(data, list | tuple) and [isinstance(item, set | frozenset) for item in data[-3:]] == [True] * 3:
        raise DataError(
            f"{path.name} is the label file of GCNet and MoMKE: ids, labels, sentences and folds without features; it is no packing of "
            f"CMU-MOSI that is known here. {CmuMosi.obtain}"
        )
    if not isinstance(data, dict) or not all(isinstance(data.get(part), dict) for part in PARTS):
        raise DataError(f"{path.name} must hold a dictionary with train, valid and test; it is no packing of CMU-MOSI that is known here")
    return {part: data[part] for part in PARTS}


def _fold(where: str, fold: Mapping[str, Any]) -> Fold:
    """Checks one fold, whichever packing it has. Raises: DataError."""
    label = next((key for key in ("regression_labels", "labels") if key in fold), "labels")
    absent = [key for key in (*NAMES, label) if not isinstance(fold.get(key), np.ndarray | list)]
    if absent:
        raise DataError(
            f"{where} must hold {', '.join((*NAMES, label))}; {', '.join(absent)} is not there; it has {', '.join(map(str, fold))[:200]}"
        )
    scores = _numbers(where, label, fold[label])
    n = len(scores)
    if scores.size != n or not n:
        raise DataError(f"{where}: {label} must hold one number an utterance, got shape {scores.shape}")
    scores = scores.reshape(n)
    if not (np.abs(scores) <= LARGEST).all():  # NaN fails too
        row = np.flatnonzero(~(np.abs(scores) <= LARGEST))[0]
        raise DataError(f"{where}: {label} must be in [-3, 3], got {scores[row]} in utterance {row}")
    values = {name: _features(where, name, fold[name], n) for name in NAMES}
    widths = tuple(values[name].shape[2] for name in NAMES)
    if label == "labels" and widths not in WIDTHS:
        known = "; ".join(f"{'/'.join(map(str, width))} ({packer})" for width, packer in WIDTHS.items())
        raise DataError(f"{where}: vision, audio and text must have one of {known} features, got {'/'.join(map(str, widths))}")
    ids, videos = _ids(where, fold.get("id"), n)
    ends = {name: _ends(array) for name, array in values.items()}
    starts, lengths = {name: first for name, (first, _) in ends.items()}, {name: last - first for name, (first, last) in ends.items()}
    if label == "labels" and len({array.shape[1] for array in values.values()}) == 1:  # aligned: one span for all three
        last = np.max([last for _, last in ends.values()], axis=0)
        starts = dict.fromkeys(NAMES, ends["text"][0])
        there = {name: last_own > starts["text"] for name, (_, last_own) in ends.items()}
        lengths = {name: np.where(there[name] & there["text"], last - starts["text"], 0) for name in NAMES}
    elif "text_bert" in fold:
        mask = _numbers(where, "text_bert", fold["text_bert"])
        if mask.ndim != 3 or mask.shape[:2] != (n, 3) or mask.shape[2] != values["text"].shape[1] or not np.isin(mask[:, 1], (0, 1)).all():
            raise DataError(f"{where}: text_bert must be {(n, 3, values['text'].shape[1])} with a mask of 0 and 1, got {mask.shape}")
        words = np.where(lengths["text"] > 0, _ends(mask[:, 1, :, None])[1], 0)  # the mask begins at step 0
        starts, lengths = starts | {"text": np.zeros(n, dtype=np.int64)}, lengths | {"text": words}
    return Fold(ids, videos, scores, values, starts, lengths)


def _numbers(where: str, key: str, column: Any) -> np.ndarray:
    """Raises: DataError if a column does not hold numbers."""
    try:
        array = np.asarray(column)
    except ValueError:
        array = np.empty(0, dtype=object)  # rows of different lengths
    if array.dtype.kind not in "biuf" or not array.ndim:
        for row, item in enumerate(column if array.ndim else ()):
            if item is None or isinstance(item, str | bytes):
                raise DataError(f"{where}: {key} must hold numbers, got {str(_text(item))[:60]!r} in utterance {row}")
        raise DataError(f"{where}: {key} must hold numbers in rows of equal length")
    return array


def _features(where: str, name: str, column: Any, n: int) -> np.ndarray:
    """A modality with -inf of audio as 0. Shapes: -> (n, T, F) float32. Raises: DataError."""
    array = _numbers(where, name, column)
    if array.ndim != 3 or len(array) != n or 0 in array.shape:
        raise DataError(f"{where}: {name} must be utterances x steps x features with {n} utterances, got {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        single = array.astype(np.float32)  # a copy: what is read may not be written
    if name == "audio":
        single[array == -np.inf] = 0
    if np.isinf(single).any():
        row = int(np.argwhere(np.isinf(single))[0][0])
        raise DataError(f"{where}: {name} of utterance {row} holds an infinite number")
    return single


def _ends(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First step that holds something, and the step after the last one; both 0 where none does. Shapes: (n, T, F) -> (n,), (n,) int64."""
    full = ((array != 0) & ~np.isnan(array)).any(2)  # (n, T)
    some = full.any(1)
    return np.where(some, full.argmax(1), 0), np.where(some, full.shape[1] - full[:, ::-1].argmax(1), 0)


def _gathered(folds: list[Fold], name: str, kept: list[np.ndarray]) -> np.ndarray:
    """The kept utterances of all folds with their spans at the start, NaN after them; the folds give their copy up.

    Shapes: kept[k] (n_k,) bool -> (N, T, F) float32, T the longest span.
    """
    lengths = [fold.lengths[name][rows] for fold, rows in zip(folds, kept, strict=True)]
    step = np.arange(max(length.max(initial=1) for length in lengths))
    gathered = np.empty((sum(map(len, lengths)), len(step), folds[0].values[name].shape[2]), dtype=np.float32)
    begin = 0
    for fold, rows, length in zip(folds, kept, lengths, strict=True):
        array = fold.values.pop(name)
        if array.shape[2] != gathered.shape[2]:
            raise DataError(f"{name} must have the same features in every fold, got {gathered.shape[2]} and {array.shape[2]}")
        part = gathered[begin : begin + len(length)]
        index = np.minimum(fold.starts[name][rows][:, None] + step, array.shape[1] - 1)
        part[:] = array[np.flatnonzero(rows)[:, None], index]
        part[step >= length[:, None]] = np.nan
        begin += len(length)
    return gathered


def _ids(where: str, column: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and videos of a fold: `video[segment]`, `video$_$segment`, or rows of video, begin and end. Raises: DataError."""
    rows = column.tolist() if isinstance(column, np.ndarray) else column
    if not isinstance(rows, list) or len(rows) != n:
        raise DataError(f"{where}: id must name {n} utterances, got {len(rows) if isinstance(rows, list) else 'none'}")
    words = [[_text(cell) for cell in row] if isinstance(row, list | tuple) else [_text(row)] for row in rows]
    if not all(row and row[0] for row in words):
        raise DataError(f"{where}: an id is empty")
    return np.array(["_".join(row) for row in words]), np.array([VIDEO.sub("", row[0]) for row in words])


def _text(cell: object) -> str:
    return cell.decode("latin-1") if isinstance(cell, bytes) else str(cell)


def _check_whole(path: Path, ids: np.ndarray, videos: np.ndarray, split: np.ndarray) -> None:
    """Raises: DataError if ids repeat, a video is in two folds, or this is a larger corpus."""
    if len(ids) > UTTERANCES:
        raise DataError(f"{path.name} holds {len(ids)} utterances, CMU-MOSI has {UTTERANCES}; is it CMU-MOSEI?")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise DataError(f"{path.name} holds utterance {unique[counts > 1][0]} {counts.max()} times; ids must be unique")
    for video in np.unique(videos):
        folds = [part for part in PARTS if part in split[videos == video]]
        if len(folds) > 1:
            raise DataError(f"{path.name} holds video {video} in {' and '.join(folds)}; in the standard folds a video is in one alone")


def _check_left(path: Path, split: np.ndarray, observed: np.ndarray) -> None:
    """Raises: DataError if a fold or a modality is empty."""
    for part in PARTS:
        if not (split == part).any():
            raise DataError(f"{path.name} has no utterance with words and a label in {part}")
    for position, name in enumerate(NAMES):
        if not observed[:, position].any():
            raise DataError(f"{path.name}: {name} is zero in every utterance; the file is not what its packer made")

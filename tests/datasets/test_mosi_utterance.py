"""datasets/mosi_utterance.py: files of one part belong together, and no split that leaks can be asked for."""

import csv

import numpy as np
import pytest

from bench.data.parts import split_rows
from bench.datasets.base import DataError
from bench.datasets.mosi_utterance import MosiUtterance

LABELS = {"video_a_1": 1, "video_a_2": 0, "video-b_1": 1, "video-b_10": 0, "c_1": 1}  # utterance: positive
PARTS = {"train": [2, 3, 0], "test": [4, 1]}  # rows of transcripts.csv


def save(path, rows):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)


def write(folder, parts=PARTS, labels=LABELS):
    """Files as the authors hand them out: feature f of utterance u is u + f / 1000."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = list(labels.values())
    save(folder / "transcripts.csv", [[name, "SAID, AND\nDONE", "7", label] for name, label in labels.items()])
    for part, index in parts.items():
        save(folder / f"text_{part}.csv", [[u, *(u + f / 1000 for f in range(100))] for u in index])
        save(folder / f"audio_{part}0.csv", [[*(u + f / 1000 for f in range(73)), float(truth[u])] for u in index])
        save(folder / f"video_{part}0.csv", [[*(u + f / 1000 for f in range(100)), truth[u]] for u in index])
    return folder


def read(folder, subset="author"):
    return MosiUtterance(subset=subset).read(folder, lambda *_: None)


def test_rows_of_all_files_are_the_same_utterances(tmp_path):
    samples = read(write(tmp_path))
    assert samples.schema.combination == "TAV"
    assert samples.ids.tolist() == ["video-b_1", "video-b_10", "video_a_1", "c_1", "video_a_2"]
    assert samples.target.tolist() == [1, 0, 1, 1, 0]
    for array in samples.values.values():
        assert np.allclose(array[:, 5], np.array([2, 3, 0, 4, 1]) + 0.005)
    assert samples.split.tolist() == ["train"] * 3 + ["test"] * 2
    assert samples.groups.tolist() == ["video-b", "video-b", "video_a", "c", "video_a"]


def test_clean_subset_is_the_test_part_without_an_official_split(tmp_path):
    samples = read(write(tmp_path), "clean")
    assert samples.ids.tolist() == ["c_1", "video_a_2"]
    assert samples.split is None


@pytest.mark.parametrize("subset", ["standard", "cmu", "all", "stratified"])
def test_split_that_leaks_is_refused_with_the_reason(subset):
    with pytest.raises(ValueError, match=f"subset={subset} is not offered.*CMU standard split.*leaks test labels.*use subset=author"):
        MosiUtterance(subset=subset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": {**PARTS, "test": [4, 0]}}, "must name different rows"),
        ({"parts": {**PARTS, "test": [4, 9]}, "labels": {**LABELS, **{f"d_{i}": 1 for i in range(5)}}}, None),
        ({"labels": {**LABELS, "video_a_2": 2}}, "positive must be one of 0, 1"),
    ],
    ids=["row-twice", "unused-transcripts", "label"],
)
def test_tables_that_contradict_each_other_are_refused(tmp_path, change, message):
    folder = write(tmp_path, **change)
    if message is None:
        assert len(read(folder)) == 5
    else:
        with pytest.raises(DataError, match=message):
            read(folder)


def rewrite(path, edit):
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    edit(rows)
    save(path, rows)


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("audio_train0.csv", lambda rows: rows[0].__setitem__(-1, "0"), r"audio_train0\.csv line 1: the label is not that of transcripts"),
        ("video_test0.csv", lambda rows: rows.reverse(), r"video_test0\.csv line 1: the label is not that of transcripts"),
        ("audio_test0.csv", lambda rows: rows.pop(), r"audio_test0\.csv must have 2 rows as the text file of its part, got 1"),
        ("text_train.csv", lambda rows: rows[1].__setitem__(0, "17"), r"text_train\.csv line 2: the first column must be a row"),
        ("text_train.csv", lambda rows: rows[1].__setitem__(0, "1.5"), r"text_train\.csv line 2: the first column must be a row"),
        ("text_test.csv", lambda rows: rows[0].__setitem__(8, "nan"), r"text_test\.csv line 1: text 7 must be a finite number"),
        ("video_train0.csv", lambda rows: rows[2].__setitem__(3, "inf"), r"video_train0\.csv line 3: video 3 must be a finite number"),
        ("video_train0.csv", lambda rows: rows[2].__setitem__(3, ""), "features of video must be complete"),
        ("video_train0.csv", lambda rows: rows[2].pop(), r"video_train0\.csv line 3 must have 101 columns, got 100"),
        ("transcripts.csv", lambda rows: rows[1].__setitem__(0, "video_a_1"), "id 'video_a_1' comes twice"),
    ],
    ids=["label", "order", "rows", "index", "half-index", "nan", "infinite", "empty", "columns", "id"],
)
def test_damaged_file_is_named(tmp_path, file, edit, message):
    rewrite(write(tmp_path) / file, edit)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_real_files_are_what_the_page_says(real_data):
    samples = read(real_data / "mosi_utterance")
    train, test = (samples.rows(samples.split == part) for part in ("train", "test"))
    assert np.bincount(train.target).tolist() == [738, 709]
    assert np.bincount(test.target).tolist() == [285, 467]
    assert (len(set(train.groups)), len(set(test.groups))) == (62, 31)
    assert not set(train.groups) & set(test.groups)
    assert (np.ptp(samples.values["video"], axis=0) == 0).sum() == 32


@pytest.mark.parametrize("subset", ["author", "clean"])
def test_no_video_is_in_two_parts(real_data, subset):
    dataset = MosiUtterance(subset=subset)
    samples = dataset.read(real_data / "mosi_utterance", lambda *_: None)
    rows = split_rows(dataset, samples, 3)
    videos = [set(samples.groups[part]) for part in rows.values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == (93 if subset == "author" else 31)
    if subset == "author":
        assert (samples.split[rows["test"]] == "test").all()
        assert len(rows["test"]) == 752

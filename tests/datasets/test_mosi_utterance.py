"""datasets/mosi_utterance.py: files of one part belong together, and no split that leaks can be asked for."""

import csv

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from bench.data.grammar import parse_protocol
from bench.data.parts import build_parts, split_rows
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


# split=standard

SPOKEN = {  # utterance: (text, fold, sentiment)
    "video_a_1": ("A GOOD FILM", "train", 2.0),
    "video_a_2": ("a bad film", "train", -1.4),
    "video-b_1": ("NOT A GOOD FILM", "valid", 0.0),
    "video-b_10": ("never again", "valid", -3.0),
    "c_1": ("GOOD, GOOD popcorn", "test", 0.2),
}  # the binary labels are those of LABELS


def write_standard(folder, spoken=SPOKEN, beside=False, **changes):
    """The files that split=standard reads: transcripts with words, audio and the index of text; labels in the folder, or beside it."""
    write(folder)
    save(folder / "transcripts.csv", [[name, text, "7", LABELS[name]] for name, (text, _, _) in spoken.items()])
    for part in PARTS:
        (folder / f"video_{part}0.csv").unlink()
    rows = [[name, name.rpartition("_")[0], fold, score] for name, (_, fold, score) in reversed(spoken.items())]
    rows = changes.get("labels", lambda rows: rows)(rows)
    target = folder.parent / "mosi_labels" if beside else folder
    target.mkdir(exist_ok=True)
    save(target / "labels.csv", [["id", "video", "fold", "sentiment"], *rows])
    return folder


def read_standard(folder, **options):
    return MosiUtterance(split="standard", **options).read(folder, lambda *_: None)


@pytest.mark.parametrize(
    ("labels", "ids", "target"),
    [
        ("nonzero", ["video_a_1", "video_a_2", "video-b_10", "c_1"], [1, 0, 0, 1]),
        ("ge0", list(SPOKEN), [1, 0, 1, 0, 1]),
        ("gt0", list(SPOKEN), [1, 0, 0, 0, 1]),
    ],
)
def test_standard_folds_take_real_valued_labels(tmp_path, labels, ids, target):
    samples = read_standard(write_standard(tmp_path), labels=labels)
    assert samples.ids.tolist() == ids
    assert samples.target.tolist() == target
    assert samples.split.tolist() == [SPOKEN[name][1] for name in ids]
    assert samples.groups.tolist() == [name.rpartition("_")[0] for name in ids]
    assert samples.schema.combination == "TA"
    places = [list(LABELS).index(name) for name in ids]
    assert np.allclose(samples.values["audio"][:, 5], np.array(places) + 0.005)


def test_text_is_counts_of_words_and_pairs_of_the_train_fold(tmp_path):
    text = read_standard(write_standard(tmp_path), labels="ge0").values["text"]
    words = ["bad", "bad film", "film", "good", "good film"]  # one letter is no word to scikit-learn
    assert text.shape == (5, len(words))
    assert text.astype(int).tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0] * 5, [0, 0, 0, 2, 0]]


def test_weights_and_cut_are_those_of_the_visible_training_utterances(tmp_path):
    dataset = MosiUtterance(split="standard", labels="ge0", words=3)
    samples = dataset.read(write_standard(tmp_path), lambda *_: None)
    train = samples.rows(np.array([0, 1])).hide(np.array([[False, False], [True, False]]))  # the text of the second is hidden
    made = dataset.learn(train)(samples)
    expected = TfidfVectorizer(vocabulary=["film", "good", "good film"], ngram_range=(1, 2)).fit([SPOKEN["video_a_1"][0]])
    np.testing.assert_allclose(made.values["text"], expected.transform([text for text, _, _ in SPOKEN.values()]).toarray(), rtol=1e-6)
    assert made.values["audio"] is samples.values["audio"]
    assert dataset.learn(train.select("A")) is None
    nothing = dataset.learn(samples.hide(np.tile([True, False], (5, 1))))(samples)
    assert nothing.values["text"].shape == (5, 1)
    assert MosiUtterance().learn(train) is None


def test_labels_lie_in_the_folder_or_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    here = write_standard(tmp_path / "root" / "mosi_utterance", beside=True)
    dataset = MosiUtterance(split="standard")
    assert dataset.is_here
    assert dataset.load().fingerprint() == read_standard(write_standard(tmp_path / "other")).fingerprint()
    raw = dataset.load().fingerprint()
    dataset.prepare(here)
    (tmp_path / "root" / "mosi_labels" / "labels.csv").unlink()
    assert dataset.load().fingerprint() == raw
    with pytest.raises(DataError, match=r"needs labels\.csv or \.\./mosi_labels/labels\.csv in .*zeroQiaoba/GCNet"):
        dataset.sources(here)
    assert not MosiUtterance().is_here  # the author split needs video
    assert not MosiUtterance(split="standard", labels="ge0").is_here


def edit(place, column, value):
    def changed(rows):
        rows[place][column] = value
        return rows

    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], r"labels\.csv has no utterance c_1; it must hold the 5 utterances of transcripts\.csv"),
        (lambda rows: [*rows, ["d_1", "d", "test", 1]], r"labels\.csv holds 6 utterances; it must hold the 5"),
        (lambda rows: [*rows, rows[0]], r"labels\.csv line 7: id 'c_1' comes twice"),
        (edit(0, 3, -0.2), r"labels\.csv line 2: sentiment -0\.2 is not what transcripts\.csv says of c_1"),
        (edit(0, 3, 3.5), r"labels\.csv line 2: sentiment must be in \[-3, 3\], got c_1, c, test, 3\.5"),
        (edit(0, 3, ""), r"labels\.csv line 2: sentiment must be in"),
        (edit(0, 3, "good"), r"labels\.csv line 2: sentiment must be a finite number"),
        (edit(0, 2, "dev"), r"labels\.csv line 2: fold must be one of train, valid, test"),
        (edit(0, 2, ""), r"labels\.csv line 2: fold must be one of train, valid, test"),
        (edit(1, 2, "train"), r"labels\.csv puts video video-b into folds train and valid"),
    ],
    ids=["absent", "more", "twice", "other-label", "range", "empty", "text", "fold", "no-fold", "video-in-two"],
)
def test_labels_that_contradict_the_utterances_are_named(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_standard(write_standard(tmp_path, labels=change))


def test_utterance_without_audio_is_named(tmp_path):
    folder = write_standard(tmp_path)
    rewrite(folder / "audio_test0.csv", lambda rows: rows.pop())
    rewrite(folder / "text_test.csv", lambda rows: rows.pop())
    with pytest.raises(DataError, match=r"features of audio must be complete, and row 1 of transcripts\.csv has a gap, or is in no file"):
        read_standard(folder)


def test_train_fold_without_a_word_is_refused(tmp_path):
    silent = {name: ("!", fold, score) if fold == "train" else (text, fold, score) for name, (text, fold, score) in SPOKEN.items()}
    with pytest.raises(DataError, match=r"transcripts\.csv has no word in an utterance of the train fold"):
        read_standard(write_standard(tmp_path, silent))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"split": "standard", "subset": "clean"},
            "subset=clean is a part of the authors' test utterances; it goes with split=author alone",
        ),
        ({"labels": "ge0"}, "labels say how the standard split is read; they go with split=standard alone"),
        ({"words": 100}, "words say how the standard split is read"),
        ({"split": "standard", "words": 0}, "words must be a whole number from 1"),
    ],
    ids=["clean", "labels", "words", "no-words"],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MosiUtterance(**options)


@pytest.mark.parametrize("file", ["labels.csv", "transcripts.csv", "text_test.csv", "audio_train0.csv"])
def test_damage_of_any_kind_is_refused_or_harmless(tmp_path, survives, file):
    write_standard(tmp_path)
    assert survives(tmp_path / file, lambda: read_standard(tmp_path)) > 0


def test_real_standard_folds_are_what_the_page_says(real_data):
    for labels, rows, positive in (
        ("nonzero", [1231, 216, 656], [679, 124, 277]),
        ("ge0", [1284, 229, 686], [732, 137, 307]),
        ("gt0", [1284, 229, 686], [679, 124, 277]),
    ):
        samples = read_standard(real_data / "mosi_utterance", labels=labels)
        parts = [samples.split == part for part in ("train", "valid", "test")]
        assert [int(part.sum()) for part in parts] == rows
        assert [int(samples.target[part].sum()) for part in parts] == positive
        assert [len(np.unique(samples.groups[part])) for part in parts] == [52, 10, 31]


@pytest.mark.slow
def test_logistic_regression_on_rebuilt_text_scores_as_elsewhere(real_data):
    """Handed out as 69.7 accuracy, 69.6 macro-F1 and 78.1 AUROC by other code, with every word and pair."""
    dataset = MosiUtterance(split="standard", words=20_000)
    samples = dataset.read(real_data / "mosi_utterance", lambda *_: None)
    parts = build_parts(dataset, samples, "TA", parse_protocol("natural"), 0, 0, "training")
    train, test = parts.learnt(samples.rows(samples.split == "train")), parts.learnt(parts.test.raw)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(train.values["text"], train.target)
    chances = model.predict_proba(test.values["text"])[:, 1]
    found = (
        accuracy_score(test.target, chances > 0.5),
        f1_score(test.target, chances > 0.5, average="macro"),
        roc_auc_score(test.target, chances),
    )
    assert [100 * number for number in found] == pytest.approx([69.7, 69.6, 78.1], abs=2)

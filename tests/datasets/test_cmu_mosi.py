"""datasets/cmu_mosi.py: every packing is known by its content, sequences start at step 0, labels follow the named rule."""

import pickle

import numpy as np
import pytest

from bench.datasets import cmu_mosi
from bench.datasets.base import PARTS, DataError
from bench.datasets.cmu_mosi import CmuMosi
from bench.datasets.tables import read_table

FLAVOURS = ("multibench", "mult", "mult_noalign", "mmsa_aligned", "mmsa_unaligned")


def read(folder, **options):
    return CmuMosi(**options).read(folder, lambda *_: None)


@pytest.fixture
def changed(tmp_path, fixtures):
    """Writes one flavour after a function has changed its dictionary, and reads it."""

    def act(change, flavour="multibench", **options):
        data = fixtures.mosi_data(flavour)
        data = change(data) or data
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(data))
        return read(tmp_path, **options)

    return act


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_flavour_is_known_by_its_content(tmp_path, fixtures, flavour):
    samples = read(fixtures.write_cmu_mosi(tmp_path, flavour, name="any name.pkl"))
    assert samples.schema.combination == "VAT"
    assert tuple(modality.shape[1] for modality in samples.schema) == fixtures.FLAVOURS[flavour][1]
    assert samples.observed.all()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_protocol_of_the_pickle_does_not_matter(tmp_path, fixtures, protocol):
    first = read(fixtures.write_cmu_mosi(tmp_path / "a", "mult", protocol=4))
    assert read(fixtures.write_cmu_mosi(tmp_path / "b", "mult", protocol)).fingerprint() == first.fingerprint()
    assert read(fixtures.write_cmu_mosi(tmp_path / "c", "mult", python2=True)).fingerprint() == first.fingerprint()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sequences_start_at_step_0_and_keep_every_step(tmp_path, fixtures, flavour):
    data, samples = fixtures.mosi_data(flavour), read(fixtures.write_cmu_mosi(tmp_path, flavour), labels="ge0")
    packed = np.concatenate([data[part]["text"] for part in PARTS])
    for row in range(len(samples)):
        steps = packed[row][packed[row].any(1)]
        assert samples.lengths["text"][row] == len(steps)
        assert np.array_equal(samples.values["text"][row, : len(steps)], steps)
        assert np.isnan(samples.values["text"][row, len(steps) :]).all()


def test_aligned_modalities_share_one_span(tmp_path, fixtures):
    samples = read(fixtures.write_cmu_mosi(tmp_path, "mult"))
    assert np.array_equal(samples.lengths["vision"], samples.lengths["text"])
    assert np.array_equal(samples.lengths["audio"], samples.lengths["text"])


def test_aligned_span_runs_from_first_word_to_last_step_of_any(changed):
    def silence(data):
        fold = data["train"]
        for name, last in (("vision", 7), ("audio", 5), ("text", 6)):
            fold[name][0] = 0
            fold[name][0, 2 if name == "vision" else 3 : last + 1] = 1

    samples = changed(silence, "mult")
    assert samples.lengths["text"][0] == 5  # steps 3 to 7
    assert (samples.values["vision"][0, :5] == 1).all()
    assert samples.values["audio"][0, :5, 0].tolist() == [1, 1, 1, 0, 0]
    assert samples.values["text"][0, :5, 0].tolist() == [1, 1, 1, 1, 0]


def test_steps_of_zero_inside_a_sequence_stay(changed):
    def gap(data):
        data["train"]["text"][0] = 1
        data["train"]["text"][0, 4] = 0

    assert changed(gap).lengths["text"][0] == 8


def test_bert_text_is_as_long_as_its_mask(changed):
    def mask(data):
        data["train"]["text"][0] = 1  # BERT gives padding values too
        data["train"]["text_bert"][0, 1] = [1, 1, 1, 0, 0, 0, 0, 0]

    assert changed(mask, "mmsa_aligned").lengths["text"][0] == 3


def test_minus_infinity_of_audio_becomes_0(tmp_path, fixtures):
    data, samples = fixtures.mosi_data("multibench"), read(fixtures.write_cmu_mosi(tmp_path))
    assert np.isneginf(data["train"]["audio"][0, -1, 0])
    assert samples.values["audio"][0, samples.lengths["audio"][0] - 1, 0] == 0


@pytest.mark.parametrize(
    ("labels", "rows", "positive"), [("nonzero", 28 + 9 + 9, 0.5), ("ge0", 60, 0.6), ("gt0", 60, 0.4)], ids=lambda value: str(value)
)
def test_label_variants_follow_their_names(tmp_path, fixtures, labels, rows, positive):
    data, samples = fixtures.mosi_data("mult"), read(fixtures.write_cmu_mosi(tmp_path, "mult"), labels=labels)
    scores = np.concatenate([data[part]["labels"].ravel() for part in PARTS])
    expected = {"nonzero": scores[scores != 0] > 0, "ge0": scores >= 0, "gt0": scores > 0}[labels]
    assert samples.target.tolist() == expected.astype(int).tolist()
    assert abs(len(samples) - rows) <= 1
    assert abs(samples.target.mean() - positive) < 0.05


def test_standard_folds_and_videos_are_kept(tmp_path, fixtures):
    samples = read(fixtures.write_cmu_mosi(tmp_path, "mmsa_aligned"), labels="ge0")
    assert [(samples.split == part).sum() for part in PARTS] == [36, 12, 12]
    assert samples.ids[0] == "vid0_00abcd$_$0"
    assert samples.groups[0] == "vid0_00abcd"


def test_utterance_without_words_is_dropped_and_without_face_not_observed(changed):
    def empty(data):
        data["train"]["text"][0] = 0
        data["train"]["vision"][2] = 0

    samples = changed(empty, "mult", labels="ge0")
    assert len(samples) == 59
    assert samples.observed[1].tolist() == [False, True, True]
    assert np.isnan(samples.values["vision"][1]).all()


def test_missing_single_features_stay_gaps(changed):
    def gap(data):
        data["train"]["vision"][0, -1, 3] = np.nan

    samples = changed(gap)
    assert np.isnan(samples.values["vision"][0]).sum() > 0
    assert np.isnan(samples.values["vision"][0, samples.lengths["vision"][0] - 1, 3])
    assert samples.observed.all()


def test_several_pickles_need_a_choice(tmp_path, fixtures):
    fixtures.write_cmu_mosi(tmp_path, "mult", name="a.pkl")
    fixtures.write_cmu_mosi(tmp_path, "multibench", name="b.pkl")
    with pytest.raises(DataError, match=r"holds a\.pkl, b\.pkl.*cmu-mosi\[file=NAME\]"):
        read(tmp_path)
    assert read(tmp_path, file="b.pkl").schema.modalities[0].shape[1] == 35


def part(key, value):
    """A change that sets one key of the training fold."""

    def change(data):
        data["train"][key] = value(data["train"][key])

    return change


def without(key):
    def change(data):
        del data["train"][key]

    return change


WRONG = {
    "no-fold": (lambda data: {"train": data["train"]}, "must hold a dictionary with train, valid and test"),
    "list": (lambda data: [1, 2], "must hold a dictionary"),
    "no-text": (without("text"), "train must hold vision, audio, text, labels; text is not there"),
    "no-id": (without("id"), "id must name 36 utterances, got none"),
    "widths": (part("vision", lambda array: array[:, :, :7]), "must have one of 35/74/300 .* got 7/74/300"),
    "rows": (part("audio", lambda array: array[1:]), "audio must be utterances x steps x features with 36 utterances"),
    "rank": (part("audio", lambda array: array[0]), "audio must be utterances x steps x features"),
    "text-type": (part("text", lambda array: array.astype("U1")), "text must hold numbers"),
    "text-label": (
        part("labels", lambda array: [*array.ravel()[:-1].tolist(), "1,5"]),
        "labels must hold numbers, got '1,5' in utterance 35",
    ),
    "ragged": (part("labels", lambda array: [[1], [1, 2]]), "labels must hold numbers"),
    "classes": (part("labels", lambda array: np.repeat(array, 7, axis=2)), "labels must hold one number an utterance"),
    "range": (part("labels", lambda array: array + 2), r"labels must be in \[-3, 3\]"),
    "nan-label": (part("labels", lambda array: array * np.nan), r"labels must be in \[-3, 3\]"),
    "infinite": (part("vision", lambda array: array + np.inf), "vision of utterance 0 holds an infinite number"),
    "huge": (part("vision", lambda array: array.astype(float) + 1e300), "vision of utterance 0 holds an infinite number"),
    "ids": (part("id", lambda ids: ids[1:]), "id must name 36 utterances, got 35"),
    "same-id": (part("id", lambda ids: [ids[1], *ids[1:]]), "utterance .* 2 times; ids must be unique"),
    "empty-id": (part("id", lambda ids: ["", *ids[1:]]), "an id is empty"),
    "no-words": (part("text", lambda array: array * 0), "no utterance with words and a label in train"),
}


@pytest.mark.parametrize(("change", "reason"), WRONG.values(), ids=WRONG)
def test_wrong_content_is_refused(changed, change, reason):
    with pytest.raises(DataError, match=reason):
        changed(change)


def test_video_in_two_folds_is_refused(changed):
    def leak(data):
        data["test"]["id"][0] = data["train"]["id"][0].split("[")[0] + "[999]"

    with pytest.raises(DataError, match="video vid0_00abcd in train and test"):
        changed(leak)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_label_file_without_features_is_named(tmp_path, protocol):
    """As GCNet and MoMKE pack it: ids, labels, speakers and sentences by video, then three sets of videos."""
    ids, labels = {"vid0": ["vid0_1", "vid0_2"]}, {"vid0": [np.float64(1.5), -0.2]}
    packed = [ids, labels, {"vid0": ["", ""]}, {"vid0": ["a", "b"]}, {"vid0"}, {"vid1"}, {"vid2"}]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(packed, protocol))
    with pytest.raises(DataError, match=r"a\.pkl is the label file of GCNet and MoMKE: .* no packing of CMU-MOSI that is known here"):
        read(tmp_path)


@pytest.mark.parametrize("value", [[1, 2, 3], {"train": {1, 2}}, {"x"}, frozenset()], ids=["list", "set-as-fold", "set", "frozenset"])
def test_other_pickles_are_no_known_packing(tmp_path, value):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match="no packing of CMU-MOSI that is known here"):
        read(tmp_path)


def test_sets_beside_the_folds_change_nothing(changed, tmp_path, fixtures):
    def add(data):
        data["videos"], data["train"]["speakers"] = {"a", "b"}, frozenset({1, 2})

    assert changed(add).fingerprint() == read(fixtures.write_cmu_mosi(tmp_path / "plain")).fingerprint()


def test_modality_that_is_zero_everywhere_is_refused(changed):
    def erase(data):
        for fold in data.values():
            fold["vision"] *= 0

    with pytest.raises(DataError, match="vision is zero in every utterance"):
        changed(erase)


def test_folds_of_different_features_are_refused(changed):
    def narrow(data):
        data["test"]["audio"] = data["test"]["audio"][:, :, :4]

    with pytest.raises(DataError, match="audio must have the same features in every fold, got 5 and 4"):
        changed(narrow, "mmsa_aligned")


def test_larger_corpus_is_refused(changed):
    def grow(data):
        fold = data["train"]
        for key in ("vision", "audio", "text", "labels"):
            fold[key] = np.zeros((2200, *np.shape(fold[key])[1:]), dtype=np.float32)
        fold["id"] = [f"v{row}" for row in range(2200)]

    with pytest.raises(DataError, match="CMU-MOSI has 2199; is it CMU-MOSEI"):
        changed(grow)


def test_malicious_pickle_runs_nothing(tmp_path, fixtures):
    class Song:
        def __reduce__(self):
            return (open, (str(tmp_path / "canary"), "w"))

    data = fixtures.mosi_data("mult")
    data["train"]["id"] = Song()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data))
    with pytest.raises(DataError, match=r"a\.pkl is refused .* nothing was run"):
        read(tmp_path)
    assert not (tmp_path / "canary").exists()


def test_unknown_label_rule_is_refused():
    with pytest.raises(ValueError, match="labels must be one of nonzero, ge0, gt0, got 'has0'"):
        CmuMosi(labels="has0")


# Real labels


def test_page_counts_the_utterances_of_label_0_right(real_data):
    path = real_data / "mosi_labels" / "labels.csv"
    if not path.is_file():
        pytest.skip(f"the labels of CMU-MOSI are not in {real_data}")
    table = read_table(path)
    scores, folds = table.numbers(["sentiment"])[:, 0], table.column("fold")
    assert (len(table), (scores == 0).sum(), (scores != 0).sum()) == (2199, 96, 2103)
    assert [((scores == 0) & (folds == part)).sum() for part in PARTS] == [53, 13, 30]
    page = " ".join(cmu_mosi.__doc__.split())
    assert "the 96 utterances with label 0 (53, 13 and 30 of the folds) are dropped, 2103 stay" in page

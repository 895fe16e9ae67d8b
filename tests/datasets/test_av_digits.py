"""datasets/av_digits.py: recordings and images are paired by a fixed rule, spectrograms are right, archives are read with care."""

import io
import wave
import zipfile

import numpy as np
import pytest

from bench.data.parts import split_rows
from bench.datasets.av_digits import BANDS, HOP, RATE, STEPS, WINDOW, AvDigits, log_spectrogram
from bench.datasets.base import DataError


def wav(samples, rate=RATE, channels=1, width=2):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return stream.getvalue()


def tone(frequency, samples, amplitude=8000):
    return np.round(amplitude * np.sin(2 * np.pi * frequency / RATE * np.arange(samples)))


RECORDINGS = {
    "recordings/1_anna_0.wav": wav(tone(400, 2000)),
    "recordings/0_bert_10.wav": wav(tone(400, 300)),
    "recordings/0_anna_7.wav": wav(tone(1000, 100)),
    "recordings/0_bert_2.wav": wav(tone(2000, 20_000)),
}


def image(value, digit):
    return ",".join(["0"] * 63 + [str(value), str(digit)]) + "\n"


IMAGES = (image(1, 0) + image(2, 1) + image(3, 0), image(4, 0) + image(5, 1))  # of the training and the test file


def write(folder, recordings=RECORDINGS, tra=IMAGES[0], tes=IMAGES[1]):
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "fsdd_recordings.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in recordings.items():
            archive.writestr(name, data)
    (folder / "optdigits.tra").write_text("# the last digit is the class code\n" + tra, encoding="utf-8")
    (folder / "optdigits.tes").write_text("# the last digit is the class code\n" + tes, encoding="utf-8")
    return folder


def read(folder, split="stratified"):
    return AvDigits(split=split).read(folder, lambda *_: None)


def test_kth_recording_meets_the_kth_image_of_its_digit(tmp_path):
    samples = read(write(tmp_path))
    assert samples.ids.tolist() == ["0-anna-07", "0-bert-02", "0-bert-10", "1-anna-00"]
    assert samples.target.tolist() == [0, 0, 0, 1]
    assert (samples.values["image"][:, 0, 7, 7] * 16).tolist() == [1, 3, 4, 2]
    assert samples.groups.tolist() == ["anna", "bert", "bert", "anna"]


def test_lengths_count_frames_and_long_recordings_are_cut(tmp_path):
    samples = read(write(tmp_path))
    assert samples.lengths["audio"].tolist() == [1, STEPS, 2, 15]
    padding = np.isnan(samples.values["audio"]).all(2)
    assert (~padding).sum(1).tolist() == samples.lengths["audio"].tolist()


def test_spectrogram_equals_its_formula():
    sounds = np.stack([tone(440, 1280), tone(3000, 1280, 100)]).astype(np.int16)
    found = log_spectrogram(sounds)
    assert found.shape == (2, 1280 // HOP - 1, BANDS)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    for row, start in ((0, 0), (1, 3), (1, 8)):
        frame = sounds[row, start * HOP : start * HOP + WINDOW] / 32768 * window
        power = np.array([abs(np.sum(frame * np.exp(-2j * np.pi * k * np.arange(WINDOW) / WINDOW))) ** 2 for k in range(1, 129)])
        expected = np.log10(power.reshape(BANDS, 2).mean(1) / np.square(window).sum() + 1e-8)
        np.testing.assert_allclose(found[row, start], expected, atol=6e-4)


@pytest.mark.parametrize("frequency", [250, 1000, 2500])
def test_tone_is_loudest_in_its_band(frequency):
    found = log_spectrogram(tone(frequency, 2560)[None].astype(np.int16))[0]
    width = RATE / 2 / BANDS
    assert set(found.argmax(1)) <= {int(frequency / width - 0.75), int(frequency / width)}


def test_digital_silence_is_finite():
    np.testing.assert_allclose(log_spectrogram(np.zeros((1, 512), dtype=np.int16)), -8, rtol=1e-6)


def test_splits_keep_what_they_promise(tmp_path):
    folder = write(tmp_path)
    assert read(folder).split is None
    assert not AvDigits().keeps_groups
    assert AvDigits(split="speaker").keeps_groups
    official = AvDigits(split="official")
    assert not official.keeps_groups
    assert official.read(folder, lambda *_: None).split.tolist() == ["train", "test", "train", "test"]


def test_order_in_the_archive_changes_nothing(tmp_path):
    turned = dict(reversed(RECORDINGS.items()))
    assert read(write(tmp_path / "a")).fingerprint() == read(write(tmp_path / "b", turned)).fingerprint()


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ({"recordings/../../0_anna_1.wav": b""}, "may hold recordings/DIGIT_SPEAKER_INDEX.wav alone"),
        ({"/recordings/0_anna_1.wav": b""}, "may hold recordings/DIGIT_SPEAKER_INDEX.wav alone"),
        ({"recordings/12_anna_1.wav": b""}, "may hold recordings/DIGIT_SPEAKER_INDEX.wav alone"),
        ({"recordings/0_anna_1.txt": b""}, "may hold recordings/DIGIT_SPEAKER_INDEX.wav alone"),
        ({"recordings/0_anna_1.wav": b"\0" * (2**20 + 1)}, "a recording may have 1048576 bytes, got 1048577"),
        ({"recordings/0_anna_1.wav": b"RIFF"}, "recordings/0_anna_1.wav is no readable wav file"),
        ({"recordings/0_anna_1.wav": wav(tone(400, 900))[:-100]}, "must hold 900 samples, got 850"),
        ({"recordings/0_anna_1.wav": wav([])}, "must hold 0 samples, got 0; it is empty"),
        ({"recordings/0_anna_1.wav": wav(tone(400, 900), rate=44100)}, "must be mono, 2 bytes a sample, 8000 samples a second"),
        ({"recordings/0_anna_1.wav": wav(tone(400, 900), channels=2)}, "must be mono"),
        ({"recordings/0_anna_1.wav": RECORDINGS["recordings/1_anna_0.wav"], "recordings/0_anna_01.wav": wav([1])}, "twice"),
        ({}, "must hold 1 to 20000 recordings, got 0"),
        ({f"recordings/1_anna_{i}.wav": wav([1]) for i in range(3)}, "digit 1 has 3 recordings and 2 images"),
    ],
    ids=[
        "climbs", "absolute", "two-digits", "no-sound", "huge", "damaged", "cut-short", "silent", "rate", "stereo", "id", "empty", "images",
    ],
)  # fmt: skip
def test_archive_with_anything_else_is_refused(tmp_path, recordings, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, recordings))


def test_archive_cut_short_is_refused(tmp_path):
    path = write(tmp_path) / "fsdd_recordings.zip"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="no readable zip archive"):
        read(tmp_path)


def test_archive_with_a_damaged_member_is_refused(tmp_path):
    path = write(tmp_path) / "fsdd_recordings.zip"
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="no readable zip archive"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("tra", "message"),
    [
        (image(17, 0), r"optdigits\.tra line 2: pixels must be numbers from 0 to 16, got '17' in pixel 63"),
        (image("nan", 0), r"line 2: pixel 63 must be a finite number"),
        (image("", 0), r"line 2: pixels must be numbers from 0 to 16, got '' in pixel 63"),
        (image(3, 10), r"line 2: digit must be one of 0, 1"),
        (image(3, ""), r"line 2: the last column must be the digit"),
        ("1,2,3\n", "line 2 must have 65 columns, got 3"),
        ("", "holds no rows"),
    ],
    ids=["too-bright", "nan", "no-pixel", "digit", "no-digit", "columns", "empty"],
)
def test_bad_image_is_named(tmp_path, tra, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path, tra=tra))


def test_progress_is_reported(tmp_path):
    seen = []
    AvDigits().read(write(tmp_path), lambda *step: seen.append(step))
    assert seen[0] == (0, 4, "reading recordings")


def test_real_files_are_what_the_page_says(real_data):
    dataset = AvDigits(split="official")
    samples = dataset.read(real_data / "av_digits", lambda *_: None)
    assert np.bincount(samples.target).tolist() == [300] * 10
    assert len(np.unique(samples.groups)) == 6
    assert np.median(samples.lengths["audio"]) == 26
    rows = split_rows(dataset, samples, 0)
    assert len(rows["test"]) == 300
    flat = samples.values["image"].reshape(3000, -1)
    assert len(np.unique(np.column_stack([flat, samples.target]), axis=0)) > 2980  # an image comes once, but for equal ones in the files

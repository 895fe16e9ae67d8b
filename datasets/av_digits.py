"""Spoken and written digits, real: a recording and an image of the same digit (two corpora paired by class, as in AV-MNIST).

Source:     audio: Free Spoken Digit Dataset (Jackson et al.), `recordings/` zipped; images: UCI Optical Recognition of Handwritten Digits
            (Alpaydin and Kaynak 1998), `optdigits.tra` and `optdigits.tes`.
Licence:    audio CC BY-SA 4.0; images CC BY 4.0 (UCI data set 80).
Sizes:      3000 samples, 300 of each of ten classes; six speakers, 50 recordings of each digit by each.
Modalities: I image, 1 x 8 x 8, pixels 0 to 16 divided by 16; A audio, a sequence of at most 64 frames of 32 ms, one every 16 ms, each
            the log power in 64 bands of 62.5 Hz. The median recording has 26 frames; 14 have more than 64 (1.04 s) and are cut there.
Pairing:    the k-th recording of a digit, by speaker and index, with its k-th image in file order (training file first), so no image comes
            twice. Image and sound are independent given the class: a real pair of modalities would not be.
Split:      split=stratified (default): 70/15/15 by class. split=speaker: no speaker is in two parts, which is harder. split=official: test
            is recordings 0 to 4 of each speaker and digit, the rule of the audio's authors. No natural gaps. `groups` holds the speaker.
"""

from __future__ import annotations

import io
import re
import wave
import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.fft import rfft

from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, Report
from bench.datasets.stand_ins import refuse_stand_in, stand_in_of
from bench.datasets.tables import read_table

RATE = 8000  # samples a second
WINDOW, HOP = 256, 128  # samples: 32 ms and 16 ms
BANDS, STEPS = 64, 64
FLOOR = 1e-8  # power added before the logarithm, -80 dB of full scale: digital silence is finite
CHUNK = 200  # recordings transformed at once
RECORDING = re.compile(r"recordings/([0-9])_([a-z]+)_([0-9]{1,3})\.wav")
LARGEST_RECORDING = 2**20  # bytes of one wav file; the longest has 36 kB
MOST_RECORDINGS = 20_000
OFFICIAL_TEST = 5  # recordings with a smaller index are the test part


@dataclass(frozen=True, order=True)
class Recording:
    """What the name of a wav file says; recordings sort by digit, speaker and index."""

    digit: int
    speaker: str
    index: int
    member: str

    @property
    def id(self) -> str:
        return f"{self.digit}-{self.speaker}-{self.index:02d}"


class AvDigits(FileDataset):
    name = "av-digits"
    folder = "av_digits"
    files = ("fsdd_recordings.zip", "optdigits.tra", "optdigits.tes")
    title = "spoken and written digits, paired by class (real)"
    source = "Free Spoken Digit Dataset, Jackson et al.; UCI Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998"
    licence = "CC BY-SA 4.0 (audio), CC BY 4.0 (images)"
    obtain = (
        "Get github.com/Jakobovski/free-spoken-digit-dataset and zip its recordings/ as fsdd_recordings.zip; get optdigits.tra and "
        "optdigits.tes from archive.ics.uci.edu/dataset/80."
    )
    terms = "Name both sources; what is made of the audio is shared alike (CC BY-SA 4.0)."
    checksums = {
        "fsdd_recordings.zip": "005e7effa810271be22d7b8af382dfd756687fd1becc33f386c1a88c454c4ab6",
        "optdigits.tra": "a6d20dd0016ea85e8e207860d7b59411b07ddd18981ab250fa0ce37525570ab7",
        "optdigits.tes": "94d7b3c067125a5f6a6d51cf1dc8e95de7d731e41c7f1e714897330242949464",
    }
    options = {"split": "stratified"}
    choices = {"split": ("stratified", "speaker", "official")}
    split: str

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.keeps_groups = self.split == "speaker"

    def read(self, folder: Path, report: Report) -> Samples:
        images, digits = read_images([folder / "optdigits.tra", folder / "optdigits.tes"])
        recordings, audio, lengths = read_recordings(folder / "fsdd_recordings.zip", report)
        target = np.array([recording.digit for recording in recordings])
        rows = np.empty(len(target), dtype=np.int64)
        for digit in range(10):
            wanted, there = np.flatnonzero(target == digit), np.flatnonzero(digits == digit)
            if len(wanted) > len(there):
                raise DataError(
                    f"each recording needs an image of its own: digit {digit} has {len(wanted)} recordings and {len(there)} images"
                )
            rows[wanted] = there[: len(wanted)]
        official = np.where(np.array([recording.index for recording in recordings]) < OFFICIAL_TEST, "test", "train")
        return Samples(
            Schema(
                (Modality("image", "I", "image", (1, 8, 8)), Modality("audio", "A", "sequence", (STEPS, BANDS))),
                tuple(str(digit) for digit in range(10)),
            ),
            {"image": images[rows], "audio": audio},
            observed=np.ones((len(target), 2), dtype=bool),
            target=target,
            ids=np.array([recording.id for recording in recordings]),
            groups=np.array([recording.speaker for recording in recordings]),
            split=official if self.split == "official" else None,
            lengths={"audio": lengths},
        ).sealed()


def read_images(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) float32 in [0, 1] and digits (N,) of both files, in file order. Raises: DataError."""
    images, digits = [], []
    for path in paths:
        table = read_table(path, (*(f"pixel {pixel}" for pixel in range(64)), "digit"), comment="#")
        pixels = table.numbers(table.names[:64])
        wrong = np.argwhere(~((pixels >= 0) & (pixels <= 16)))
        if len(wrong):
            row, pixel = wrong[0]
            raise DataError(
                f"{table.where(row)}: pixels must be numbers from 0 to 16, got {table.cells[row, pixel][:60]!r} in {table.names[pixel]}"
            )
        digit = table.codes("digit", tuple(range(10)))
        if (digit < 0).any():
            raise DataError(f"{table.where(np.flatnonzero(digit < 0)[0])}: the last column must be the digit, and it is empty")
        images.append((pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8))
        digits.append(digit)
    return np.concatenate(images), np.concatenate(digits)


def read_recordings(path: Path, report: Report) -> tuple[list[Recording], np.ndarray, np.ndarray]:
    """Recordings in order, their spectrograms (N, 64, 64) float32, silence at the end, and their lengths in frames (N,). Raises: DataError.

    Nothing is unpacked to the disk; a member is read only if its name is one of a recording and its size that of a short sound.
    """
    try:
        refuse_stand_in(path)
        with zipfile.ZipFile(path) as archive:
            recordings = sorted(_recording(member) for member in archive.infolist() if not member.is_dir())
            if not 0 < len(recordings) <= MOST_RECORDINGS:
                raise DataError(f"{path.name} must hold 1 to {MOST_RECORDINGS} recordings, got {len(recordings)}")
            for first, second in pairwise(recordings):
                if first.id == second.id:
                    raise DataError(f"{path.name} holds {second.member} twice; ids must be unique")
            sounds = np.zeros((len(recordings), (STEPS + 1) * HOP), dtype=np.int16)
            samples = np.zeros(len(recordings), dtype=np.int64)
            for row, recording in enumerate(recordings):
                if row % 100 == 0:
                    report(row, len(recordings), "reading recordings")
                sound = _sound(archive.read(recording.member), recording.member)
                samples[row] = len(sound)
                sounds[row, : len(sound)] = sound[: sounds.shape[1]]
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(f"{path.name} is no readable zip archive ({error}); it is damaged or cut short") from error
    parts = [log_spectrogram(sounds[start : start + CHUNK]) for start in range(0, len(sounds), CHUNK)]
    return recordings, np.concatenate(parts), np.clip(-(-samples // HOP) - 1, 1, STEPS)


def _recording(member: zipfile.ZipInfo) -> Recording:
    match = RECORDING.fullmatch(member.filename)
    if match is None:
        raise DataError(f"fsdd_recordings.zip may hold recordings/DIGIT_SPEAKER_INDEX.wav alone, got {member.filename!r}")
    if member.file_size > LARGEST_RECORDING:
        raise DataError(f"a recording may have {LARGEST_RECORDING} bytes, got {member.file_size} of {member.filename}")
    return Recording(int(match[1]), match[2], int(match[3]), member.filename)


def _sound(data: bytes, name: str) -> np.ndarray:
    """Samples of a wav file. Shapes: -> (S,) int16. Raises: DataError if it is not 8 kHz mono 16 bit PCM, or empty."""
    if found := stand_in_of(data):
        raise DataError(f"{name} is {found}")
    try:
        with wave.open(io.BytesIO(data)) as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            if form != (1, 2, RATE):
                raise DataError(f"{name} must be mono, 2 bytes a sample, {RATE} samples a second, got {form}")
            expected, frames = file.getnframes(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise DataError(f"{name} is no readable wav file ({error})") from error
    if len(frames) != 2 * expected or not expected:
        raise DataError(f"{name} must hold {expected} samples, got {len(frames) // 2}; it is empty or cut short")
    return np.frombuffer(frames, dtype="<i2")


def log_spectrogram(sounds: np.ndarray) -> np.ndarray:
    """Log power of each frame (Hann window) in 64 bands of 62.5 Hz, the lowest around 47 Hz.

    Computed in double precision and rounded to 0.001, so that every machine gets the same bits.
    Shapes: (N, S) int16 -> (N, S / HOP - 1, 64) float32.
    """
    window = np.hanning(WINDOW + 1)[:-1] / 32768
    frames = np.lib.stride_tricks.sliding_window_view(sounds, WINDOW, axis=1)[:, ::HOP] * window  # (N, T, WINDOW)
    power = np.square(np.abs(rfft(frames)[..., 1:])) / (3 / 8 * WINDOW)  # (N, T, 128)
    return np.log10(power.reshape(*power.shape[:2], BANDS, -1).mean(3) + FLOOR).round(3).astype(np.float32)

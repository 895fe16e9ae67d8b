"""datasets/stand_ins.py: pointers and pages that lie where data should are named for what they are, by every reader."""

import gzip
import io
import wave
import zipfile

import numpy as np
import pytest

from bench.datasets import safe
from bench.datasets.av_digits import read_recordings
from bench.datasets.base import DataError
from bench.datasets.files import read_prepared, write_prepared
from bench.datasets.stand_ins import HEAD, stand_in_of
from bench.datasets.tables import read_table

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"5e" * 32 + b"\nsize 20971520\n"
POINTER = r"is a Git LFS pointer, not the data \(20971520 bytes\): run `git lfs pull`, or get the file from its source"
PAGE = "an HTML page.*, not the data: the download failed or asks for a log-in; get the file anew from its source"
STAND_INS = {
    "lfs": (LFS, POINTER),
    "lfs-crlf": (LFS.replace(b"\n", b"\r\n"), POINTER),
    "lfs-old": (LFS.replace(b"git-lfs", b"hawser"), POINTER),
    "lfs-extension": (LFS.replace(b"oid", b"ext-0-foo sha256:00\noid"), POINTER),
    "lfs-cut": (LFS[:60], "is a Git LFS pointer, not the data: run"),
    "annex": (b"/annex/objects/MD5E-s20971520--d41d8cd98f.pkl\n", r"git-annex pointer, not the data \(20971520 bytes\): run `git annex"),
    "html": (b"<!DOCTYPE html>\n<html><head><title>\n Sign in </title>", r"HTML page \('Sign in'\), not the data"),
    "html-lower": (b"<!doctype html><body>", PAGE),
    "html-upper": (b"\r\n \t<HTML lang='en'>", PAGE),
    "html-comment": (b"<!-- saved from url=(0021) -->\n<html>", PAGE),
    "html-mark": (b"\xef\xbb\xbf\n<html>", PAGE),
    "html-wide": ("\ufeff<html><head></head>".encode("utf-16-le"), PAGE),
    "xml": (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code></Error>", r"an XML page \('AccessDenied'\), not the data"),
    "xml-bare": (b"<Error><Code>NoSuchKey</Code>", "an XML page"),
    "not-found": (b"404: Not Found", "the answer of a server that has no such file, not the data"),
}  # fmt: skip
READERS = {
    "pickle": ("mosi.pkl", safe.read_pickle),
    "torch": ("lab_x.pt", safe.read_torch),
    "npy": ("ADNI_G.npy", safe.read_npy),
    "npy-mapped": ("ADNI_G.npy", lambda path: safe.read_npy(path, mapped=True)),
    "npz": ("genomic.npz", lambda path: safe.read_npz(path, ("X",))),
    "h5ad": ("genomic.h5ad", safe.read_h5ad),
    "nifti": ("mask.nii", safe.read_nifti),
    "nifti-packed": ("mask.nii.gz", safe.read_nifti),
    "image": ("100.jpg", lambda path: safe.read_image(path, 4, 4)),
    "json": ("split.json", safe.read_json),
    "text": ("subjects.txt", safe.read_text),
    "table": ("labels.csv", read_table),
    "labels": ("labels.csv", safe.read_labels),
    "matrix": ("clinical.csv", safe.read_matrix),
    "chunks": ("labevents.csv", lambda path: list(safe.read_chunks(path, {"id": "int64"}, 9))),
    "chunks-packed": ("labevents.csv.gz", lambda path: list(safe.read_chunks(path, {"id": "int64"}, 9))),
    "recordings": ("recordings.zip", lambda path: read_recordings(path, lambda *_: None)),
}


@pytest.mark.parametrize(("content", "message"), STAND_INS.values(), ids=STAND_INS)
def test_stand_in_is_known_by_its_first_bytes(tmp_path, content, message):
    (tmp_path / "a b.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"a b\.csv .*{message}"):
        read_table(tmp_path / "a b.csv")


@pytest.mark.parametrize(("file", "read"), READERS.values(), ids=READERS)
def test_every_reader_names_pointers_and_pages(tmp_path, file, read):
    for content, message in (STAND_INS["lfs"], STAND_INS["html"]):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            read(tmp_path / file)
        assert file in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nifti-packed", "chunks-packed", "matrix"])
def test_packed_pointer_is_named_too(tmp_path, name):
    file, read = READERS[name]
    path = tmp_path / (file if file.endswith(".gz") else f"{file}.gz")
    path.write_bytes(gzip.compress(LFS))
    with pytest.raises(DataError, match=POINTER):
        read(path)


def test_pointer_among_the_recordings_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("recordings/0_anna_0.wav", LFS)
    with pytest.raises(DataError, match=rf"recordings/0_anna_0\.wav {POINTER}"):
        read_recordings(tmp_path / "a.zip", lambda *_: None)


@pytest.mark.parametrize("file", ["data.npz", "values-1.npy", "meta.json"])
def test_pointer_in_a_prepared_copy_is_named(tmp_path, make_samples, file):
    write_prepared(tmp_path / "copy", make_samples(), {"dataset": "toy"})
    (tmp_path / "copy" / file).write_bytes(LFS)
    with pytest.raises(DataError, match=POINTER):
        read_prepared(tmp_path / "copy")


def sound():
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8000, 4, "NONE", ""))
        file.writeframes(bytes(8))
    return stream.getvalue()


@pytest.mark.parametrize(
    "head",
    [
        b"", b"id,x\n1,2\n", b"version,size\n1,2\n", b"html,xml\n", b"<5,6\n", b"404,1\n", b"annex/objects/a\n", b"\x80\x04\x95",
        b"(lp0\n.", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n", b"\x1f\x8b\x08", b"[]",
        b"\xff\xfe", b"\xfe\xff\x00", sound(), np.arange(3.0).tobytes(), bytes(HEAD),
    ],
    ids=lambda head: repr(head[:12]),
)  # fmt: skip
def test_beginnings_of_data_are_no_stand_ins(head):
    assert stand_in_of(head) == ""

"""bench/records/unpacking.py, strict.py: a hostile bundle is refused with its reason, without harm."""

import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from hashlib import sha256

import numpy as np
import pytest
import sent_in

from bench.errors import UsageError
from bench.records.bundle import zipped
from bench.records.unpacking import open_bundle


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of an honest bundle, by name."""
    place = tmp_path_factory.mktemp("honest")
    made = sent_in.made(place / "runs", ["mean-logistic"], place / "honest.bundle", seeds=[0])
    with zipfile.ZipFile(made.path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def listed(members):
    """The members with a manifest whose hashes fit."""
    manifest = json.loads(members["manifest.json"])
    others = {name: data for name, data in members.items() if name != "manifest.json"}
    manifest["files"] = {name: {"bytes": len(data), "sha256": sha256(data).hexdigest()} for name, data in others.items()}
    return {**others, "manifest.json": json.dumps(manifest).encode()}


def with_arrays(members, change):
    """The members with other predictions."""
    with np.load(io.BytesIO(members["predictions.npz"])) as arrays:
        found = {f"{name}.npy": npy(arrays[name]) for name in arrays.files}
    return listed({**members, "predictions.npz": zipped({**found, **change(found)}, zipfile.ZIP_STORED)})


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def with_line(members, change):
    """The members with another first record."""
    first, *lines = members["records.jsonl"].decode().splitlines()
    changed = change(json.loads(first))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    return listed({**members, "records.jsonl": ("\n".join([text, *lines]) + "\n").encode()})


def refused(tmp_path, data, words):
    path = tmp_path / "hostile.bundle"
    path.write_bytes(data)
    before = set(tmp_path.parent.rglob("*"))
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as raised:
            open_bundle(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 800
    assert peak < 64 * 2**20 + 2 * len(data)
    assert set(tmp_path.parent.rglob("*")) == before


def test_honest_one_is_read(members, tmp_path):
    (tmp_path / "one.bundle").write_bytes(zipped(listed(members)))
    assert [record.trial.method for record in open_bundle(tmp_path / "one.bundle").line] == ["mean-logistic"]


def archive_of(members, name, data=b"x", **facts):
    """An archive with a member more, whose facts are set as they may not be."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for own, content in members.items():
            archive.writestr(zipfile.ZipInfo(own), content, zipfile.ZIP_DEFLATED)
        member = zipfile.ZipInfo("x" * len(name))
        for key, value in facts.items():
            setattr(member, key, value)
        archive.writestr(member, data)
    return stream.getvalue().replace(b"x" * len(name), name.encode())


NAMES = {
    "a path upwards": ("../../evil.py", "would lie outside it"),
    "an absolute path": ("/etc/cron.d/evil", "would lie outside it"),
    "a drive": ("C:evil.dll", "would lie outside it"),
    "a path of Windows": ("code\\..\\evil.py", "would lie outside it"),
    "a NUL": ("other.toml\0.py", "which no bundle has"),
    "another file": ("notes.txt", "which no bundle has"),
    "a package marker upwards in code": ("code/0123456789ab/..py", "which no bundle has"),
    "a folder": ("code/0123456789ab/", "which no bundle has"),
    "capitals": ("SUITE.toml", "which no bundle has"),
    "code outside a version": ("code/mine.py", "which no bundle has"),
}


@pytest.mark.parametrize("case", NAMES)
def test_member_of_another_name_is_refused(members, tmp_path, case):
    name, words = NAMES[case]
    refused(tmp_path, archive_of(members, name), words)


def test_two_names_that_are_one_file_elsewhere_are_refused(members, tmp_path):
    code = {"code/0123456789ab/mine.py": b"1", "code/0123456789ab/Mine.py": b"2"}
    refused(tmp_path, zipped(listed({**members, **code})), "are one file where capitals do not count")


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o060644], ids=["link", "pipe", "device"])
def test_link_is_refused(members, tmp_path, mode):
    data = archive_of(members, "code/0123456789ab/mine.py", b"/etc/passwd", create_system=3, external_attr=mode << 16)
    refused(tmp_path, data, "is a link or a device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_comes_twice_is_refused(members, tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in [*members.items(), ("suite.toml", b"")]:
            archive.writestr(name, data)
    refused(tmp_path, stream.getvalue(), "comes twice")


def test_extra_file_and_lost_file_are_refused(members, tmp_path):
    code = {"code/0123456789ab/mine.py": b"import os"}
    refused(tmp_path, zipped({**members, **code}), "is in it and not in its manifest")
    refused(tmp_path, zipped({name: data for name, data in members.items() if name != "audit.json"}), "it has no audit.json")


def test_changed_member_is_refused_by_its_hash(members, tmp_path):
    refused(tmp_path, zipped({**members, "suite.toml": members["suite.toml"] + b"\n"}), "suite.toml is not the one whose hash")


def test_bytes_around_the_archive_are_refused(members, tmp_path):
    data = zipped(members)
    with zipfile.ZipFile(stream := io.BytesIO(data), "a") as archive:
        archive.comment = b"hello"
    refused(tmp_path, stream.getvalue(), "something stands before or behind its members")
    refused(tmp_path, b"#!/bin/sh\n" + data, "something stands before or behind its members")


# Bombs


def test_member_that_swells_is_refused_before_it_is_unpacked(members, tmp_path):
    refused(tmp_path, zipped({**members, "predictions.npz": bytes(300 * 2**20)}), "unpacked, in a file of")


def test_declared_size_over_the_bound_is_refused(members, tmp_path):
    refused(tmp_path, zipped({**members, "suite.toml": bytes(2 * 2**20)}), "suite.toml declares 2097152 bytes")


def test_member_that_lies_about_its_size_is_refused(members, tmp_path):
    data = bytearray(zipped({**listed(members), "suite.toml": bytes(2**19)}))
    place = data.rfind(b"PK\x01\x02", 0, data.rfind(b"suite.toml"))
    struct.pack_into("<I", data, place + 24, 100)
    refused(tmp_path, bytes(data), "suite.toml")


def test_bomb_inside_the_predictions_is_refused(members, tmp_path):
    inner = zipped({"0/scores.npy": bytes(150 * 2**20)})
    refused(tmp_path, zipped(listed({**members, "predictions.npz": inner})), "is compressed once more inside predictions.npz")


def test_overlapping_members_are_refused(members, tmp_path):
    """Every entry of the table of contents leads to the same bytes."""
    code = {f"code/0123456789ab/m{n:02}.py": bytes(60_000) for n in range(40)}
    data = bytearray(zipped({**members, **code}))
    first = None
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        name = bytes(data[place + 46 : place + 46 + struct.unpack_from("<H", data, place + 28)[0]])
        if name.startswith(b"code/"):
            first = struct.unpack_from("<I", data, place + 42)[0] if first is None else first
            struct.pack_into("<I", data, place + 42, first)
        place = data.find(b"PK\x01\x02", place + 4)
    refused(tmp_path, bytes(data), "overlap")


def test_too_many_members_are_refused(members, tmp_path):
    code = {f"code/0123456789ab/m{n}.py": b"" for n in range(600)}
    refused(tmp_path, zipped({**members, **code}), "members, more than the 500 a bundle may have")


# Arrays


def header(text):
    body = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


ARRAYS = {
    "a billion rows": (
        {"0/target.npy": header("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000,), }") + bytes(64)},
        "needs 8000000000 bytes, 64 are there",
    ),
    "a pickle": (
        {"0/ids.npy": header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + pickle.dumps([print])},
        "pickles",
    ),
    "a record type": ({"0/target.npy": npy(np.zeros(2, dtype=[("a", "<i4")]))}, "predictions.npz"),
    "a header that calls": ({"0/target.npy": header("__import__('os').system('true')")}, "predictions.npz"),
    "dates": ({"0/target.npy": npy(np.zeros(2, dtype="M8[s]"))}, "predictions.npz"),
    "another array": ({"0/extra.npy": npy(np.zeros(2))}, "which no bundle has"),
    "NaN": ({"0/scores.npy": npy(np.full((1, 86, 2), np.nan))}, "must hold finite numbers"),
    "infinity": ({"0/scores.npy": npy(np.full((1, 86, 2), np.inf, dtype=np.float32))}, "must hold finite numbers"),
    "half precision": ({"0/scores.npy": npy(np.zeros((1, 86, 2), dtype=np.float16))}, "single or double precision"),
    "complex": ({"0/scores.npy": npy(np.zeros((1, 86, 2), dtype=complex))}, "predictions.npz"),
    "other rows": ({"0/scores.npy": npy(np.zeros((1, 85, 2)))}, "is float64 of shape (1, 85, 2), and must be"),
    "no classes": ({"0/scores.npy": npy(np.zeros((1, 86, 0)))}, "other shapes than trials x rows x classes"),
    "a class without a score": ({"0/target.npy": npy(np.full(86, 7))}, "names a class that there is no score of"),
    "labels as texts": ({"0/target.npy": npy(np.full(86, "0"))}, "must be i or f of"),
    "a row twice": ({"0/ids.npy": npy(np.full(86, "a"))}, "names a row twice"),
    "another trial": ({"0/trials.npy": npy(np.array(["0" * 16]))}, "has predictions and no record that is done"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_array_that_is_none_is_refused(members, tmp_path, case):
    change, words = ARRAYS[case]
    refused(tmp_path, zipped(with_arrays(members, lambda _: change)), words)


# Records


def nested(record):
    return '{"a": ' * 50_000 + "1" + "}" * 50_000


RECORDS = {
    "another id": (lambda r: {**r, "id": "0" * 16}, "bears the id '0000000000000000', and its trial is"),
    "another trial under the id": (lambda r: {**r, "trial": {**r["trial"], "seed": 7}}, "the trial, or its id, was changed"),
    "a key twice": (lambda r: json.dumps(r)[:-1] + ', "status": "done"}', "has the key 'status' twice"),
    "depth": (nested, "is nested more than"),
    "NaN": (lambda r: {**r, "metrics": {"accuracy": float("nan")}}, "holds NaN, which is no number"),
    "infinity": (lambda r: {**r, "metrics": {"accuracy": float("inf")}}, "holds Infinity, which is no number"),
    "infinity by digits": (lambda r: json.dumps(r).replace('"accuracy": 0', '"accuracy": 1e9990', 1), "which is infinite"),
    "a number of many digits": (lambda r: json.dumps(r).replace('"seed": 0', f'"seed": {"9" * 30}', 1), "is a number of 30 digits"),
    "a number of very many digits": (lambda r: json.dumps(r).replace('"seed": 0', f'"seed": {"9" * 9000}', 1), "is no JSON"),
    "a score as a text": (lambda r: {**r, "metrics": {"accuracy": "1"}}, "metrics.accuracy must be a number, got str '1'"),
    "a list for a score": (lambda r: {**r, "metrics": [1]}, "metrics must be an object"),
    "a seed that is true": (lambda r: {**r, "trial": {**r["trial"], "seed": True}}, "trial.seed must be a whole number"),
    "another key": (lambda r: {**r, "more": 1}, "has the key 'more', which this bench does not know"),
    "another fact": (lambda r: {**r, "facts": {**r["facts"], "luck": 1}}, "has the key 'luck'"),
    "no trial": (lambda r: {key: value for key, value in r.items() if key != "trial"}, "has no trial"),
    "half a trial": (lambda r: {**r, "trial": {"method": "muse"}}, "is not whole"),
    "another status": (lambda r: {**r, "status": "won"}, "has the status 'won'"),
    "a path as the method": (lambda r: {**r, "trial": {**r["trial"], "method": "../../x.py:X"}}, "which is no name of a method"),
    "a path as an option": (lambda r: {**r, "trial": {**r["trial"], "options": {"weights": "/dev/zero"}}}, "names a path, '/dev/zero'"),
    "a link on the page": (lambda r: {**r, "reason": "see [this](http://x.org)"}, "would act on a page"),
    "a text of two lines": (lambda r: {**r, "reason": "a\n# b"}, "must be a text of one line"),
    "a device of its own": (lambda r: {**r, "provenance": {**r["provenance"], "device": "abacus"}}, "ran on a device"),
    "a million threads": (lambda r: {**r, "provenance": {**r["provenance"], "threads": 10**6}}, "ran on a device, or with a number"),
    "no JSON": (lambda r: "hello", "is no JSON"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_record_that_is_none_is_refused(members, tmp_path, case):
    change, words = RECORDS[case]
    refused(tmp_path, zipped(with_line(members, change)), words)


def test_trial_that_comes_twice_is_refused(members, tmp_path):
    first, *lines = members["records.jsonl"].decode().splitlines()
    text = "\n".join([first, first, *lines]) + "\n"
    refused(tmp_path, zipped(listed({**members, "records.jsonl": text.encode()})), "once more; a trial counts once")


# The question and the manifest


SUITES = {
    "a billion seeds": ('seeds = "0-1000000000"', "must be a list of whole numbers"),
    "a billion looks": ("max_seeds = 1000000000", "max_seeds of suite.toml must be"),
    "no TOML": ("= 3", "is no TOML"),
    "depth": ("x = " + "[" * 20_000, "suite.toml"),
    "another key": ("x = 3", "unknown suite key 'x'"),
}


@pytest.mark.parametrize("case", SUITES)
def test_question_that_is_none_is_refused(members, tmp_path, case):
    text, words = SUITES[case]
    rest = "\n".join(line for line in members["suite.toml"].decode().splitlines() if not line.startswith("seeds"))
    refused(tmp_path, zipped(listed({**members, "suite.toml": f"{text}\n{rest}\n".encode()})), words)


MANIFESTS = {
    "another format": ({"format": 2}, "it is of format 2, this bench reads 1; if it is newer, upgrade bench"),
    "no format": ({"format": None}, "it is of format None"),
    "a path as the suite": ({"suite": "../x"}, "the name of its suite is '../x'"),
    "code that is not there": (
        {"code": [{"method": "mine.py:Mine", "version": "0" * 12, "parts": {}, "contents": [], "texts": {"": "/etc/passwd"}, "entry": ""}]},
        "names the code '/etc/passwd', which is not in it",
    ),
    "another machine": ({"environment": []}, "is not that of its records"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifest_that_is_none_is_refused(members, tmp_path, case):
    change, words = MANIFESTS[case]
    manifest = {**json.loads(members["manifest.json"]), **change}
    refused(tmp_path, zipped({**members, "manifest.json": json.dumps(manifest).encode()}), words)


def test_file_that_is_no_archive_is_refused(members, tmp_path):
    refused(tmp_path, b"", "is refused as bundle")
    refused(tmp_path, zipped(members)[:-40], "is refused as bundle")

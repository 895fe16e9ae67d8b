"""datasets/safe.py and pickles.py: honest files are read exactly, and no file runs anything, hangs, or takes much memory."""

import codecs
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from bench.datasets import pickles, safe
from bench.datasets.base import DataError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
HONEST = {
    "float64": np.arange(24.0).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i4"),
    "bool": np.array([True, False]),
    "text": np.array(["x", "yy"]),
    "bytes": np.array([b"x", b"yy"]),
    "objects": np.array(["x", None, 3, 2.5, b"y"], dtype=object),
    "empty": np.zeros((0, 3)),
    "scalar": np.float32(3.5),
    "plain": ["a", 1, 2.5, True, None, (1, 2), b"", 10**30],
}


def same(found, expected):
    if isinstance(expected, np.ndarray | np.generic):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    return found == expected


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture
def canary(tmp_path):
    """A file that comes into being if code of a pickle is run; absent after the test, or the test fails."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


# Pickles


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickled_arrays_come_back_exactly(tmp_path, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(HONEST, protocol))
    found = safe.read_pickle(tmp_path / "a.pkl")
    assert list(found) == list(HONEST)
    assert all(same(found[key], value) for key, value in HONEST.items())


def test_pickles_of_python_2_are_read(tmp_path, fixtures):
    array = np.array([[1.5, -2.0], [3e10, 0.0]])
    (tmp_path / "a.pkl").write_bytes(fixtures.pickled({"a": array, "id": ["x"]}, python2=True))
    found = safe.read_pickle(tmp_path / "a.pkl")
    assert same(found["a"], array)
    assert found["id"] == [b"x"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval], ids=["os", "subprocess", "eval"])
def test_malicious_pickle_is_refused_and_runs_nothing(tmp_path, canary, protocol, function):
    command = f"open({str(canary)!r}, 'w')" if function is eval else f"touch '{canary}'"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"train": Calls(function, command)}, protocol))
    with pytest.raises(DataError, match=r"a\.pkl is refused .* nothing was run"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_same_pickle_run_by_python_would_have_sung(tmp_path):
    """The canary works: without this test the ones above could pass with a harmless pickle."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Calls(os.system, f"touch '{tmp_path / 'canary'}'")))
    pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cnumpy\nndarray\n(K\x08tR.",  # numpy.ndarray(8): room for any shape
        b"\x80\x02cnumpy\nndarray\n(K\x08t\x81.",  # numpy.ndarray.__new__
        b"(inumpy\nndarray\n.",  # INST
        b"c_codecs\nencode\n(Vx\nVzlib\ntR.",  # another codec
        b"cnumpy\ndtype\n(Vf8\ntR}Vx\nK\x01sb.",  # state of a dtype that is a dictionary
        b"cnumpy\ndtype\n}Vx\nK\x01sb.",  # attributes of an allowed name
        b"\x80\x04\x8f.",  # a set
        b"\x80\x02\x82\x01.",  # the extension registry
        b"((tK\x01dNs.",  # a tuple as key
        b"I1\nPsomething\n.",  # something outside the file
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",  # a frame longer than the file
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x00.",  # bytes longer than the file
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",
        b"",
        b".",
        b"\x80\x63N.",
    ],
    ids=[
        "ndarray", "new", "inst", "codec", "dtype-state", "token-state", "set", "extension", "tuple-key", "persistent", "frame",
        "bytearray", "bytes", "empty", "stop", "protocol",
    ],
)  # fmt: skip
def test_odd_pickle_programs_are_refused(tmp_path, program):
    (tmp_path / "a.pkl").write_bytes(program)
    with pytest.raises(DataError, match=r"a\.pkl"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_array_that_declares_more_than_it_holds_is_refused(tmp_path):
    honest = pickle.dumps(np.zeros(3, dtype=np.uint8), 2)
    assert honest.count(b"K\x03\x85") == 1
    (tmp_path / "a.pkl").write_bytes(honest.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"))
    with pytest.raises(DataError, match="do not fit its shape"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_pickle_of_very_many_instructions_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_STEPS", 1000)
    (tmp_path / "a.pkl").write_bytes(b"]0" * 600 + b"N.")
    with pytest.raises(DataError, match="instructions"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_lists_that_share_a_list_do_not_multiply(tmp_path):
    value = ["x"]
    for _ in range(14):
        value = [value] * 10
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    tracemalloc.start()
    safe.read_pickle(tmp_path / "a.pkl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


# torch files


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        torch.arange(12.0).reshape(3, 4), torch.arange(5), torch.arange(12.0).reshape(3, 4).T, torch.arange(25.0).reshape(5, 5)[1:3, ::2],
        torch.arange(6.0).bfloat16(), torch.tensor([True, False]), torch.zeros(0, 4), torch.nn.Parameter(torch.ones(2, 2)),
    ],
    ids=["float", "int", "transposed", "view", "bfloat16", "bool", "empty", "parameter"],
)  # fmt: skip
def test_saved_tensors_come_back_exactly(tmp_path, protocol, value):
    torch.save(value, tmp_path / "a.pt", pickle_protocol=protocol)
    value = value.detach()
    assert same(safe.read_torch(tmp_path / "a.pt"), (value.float() if value.dtype == torch.bfloat16 else value).numpy())


def test_numpy_arrays_that_torch_saved_are_read(tmp_path):
    torch.save(np.arange(6.0).reshape(2, 3), tmp_path / "a.pt")
    assert same(safe.read_torch(tmp_path / "a.pt"), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.ones(1).expand(10_000, 10_000), "more numbers than are stored"),
        ({"x": torch.ones(2)}, "holds a dict"),
        ([1, 2], "holds a list"),
        (torch.nn.Linear(2, 2), "nothing was run"),
    ],
    ids=["expanded", "dict", "list", "module"],
)
def test_other_torch_files_are_refused(tmp_path, value, reason):
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(DataError, match=reason):
        safe.read_torch(tmp_path / "a.pt")


def test_malicious_torch_file_is_refused_and_runs_nothing(tmp_path, canary):
    torch.save({"x": Calls(os.system, f"touch '{canary}'")}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="nothing was run"):
        safe.read_torch(tmp_path / "a.pt")


def test_torch_files_of_the_old_format_are_refused_with_a_way_on(tmp_path):
    torch.save(torch.ones(3), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"a\.pt is refused"):
        safe.read_torch(tmp_path / "a.pt")


# Zip archives


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:x", "..\\x"])
def test_zip_member_outside_the_archive_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good", "1")
        archive.writestr("placeholder", "1")
    data = (tmp_path / "a.zip").read_bytes().replace(b"placeholder", name.encode().ljust(11, b"x"))
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="would lie outside"), safe.open_zip(tmp_path / "a.zip"):
        pass


def test_zip_bomb_is_refused_before_it_unfolds(tmp_path, monkeypatch):
    monkeypatch.setattr(safe, "SWELL", 2**20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2 * 2**20))
    with pytest.raises(DataError, match="unpacked"), safe.open_zip(tmp_path / "a.zip"):
        pass


def test_zip_member_longer_than_declared_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(100_000))
    data = (tmp_path / "a.zip").read_bytes().replace(struct.pack("<I", 100_000), struct.pack("<I", 50_000))
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError), safe.open_zip(tmp_path / "a.zip") as archive:
        archive.read("x")


def test_zip_of_too_many_members_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(safe.MAX_MEMBERS + 1):
            archive.writestr(str(number), "")
    with pytest.raises(DataError, match="members"), safe.open_zip(tmp_path / "a.zip"):
        pass


# npy and npz


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("kind", ["float64", "fortran", "big-endian", "bool", "text", "empty"])
def test_npy_arrays_come_back_exactly(tmp_path, kind, mapped):
    np.save(tmp_path / "a.npy", HONEST[kind])
    assert same(safe.read_npy(tmp_path / "a.npy", mapped), HONEST[kind])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "packed"])
def test_npz_arrays_come_back_exactly(tmp_path, save):
    arrays = {kind.replace("-", "_"): HONEST[kind] for kind in ("float64", "fortran", "big-endian", "bool", "text", "bytes", "empty")}
    save(tmp_path / "a.npz", **arrays)
    found = safe.read_npz(tmp_path / "a.npz", list(arrays))
    assert all(same(found[name], array) for name, array in arrays.items())


def test_npy_of_objects_is_refused(tmp_path, canary):
    np.save(tmp_path / "a.npy", np.array([Calls(os.system, f"touch '{canary}'")], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickles"):
        safe.read_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(2,)", "(-3,)", "(3, True)", "(3.0,)"])
def test_npy_whose_shape_does_not_fit_its_size_is_refused(tmp_path, shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (3,)})
    header = stream.getvalue().replace(b"(3,)", shape.encode())
    header = header[: len(stream.getvalue())].ljust(len(stream.getvalue()))[:-1] + b"\n"
    (tmp_path / "a.npy").write_bytes(header + np.arange(3.0).tobytes())
    with pytest.raises(DataError, match=r"a\.npy"):
        safe.read_npy(tmp_path / "a.npy")


def test_absent_array_of_an_npz_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones(2))
    with pytest.raises(DataError, match="no array PTID"):
        safe.read_npz(tmp_path / "a.npz", ("X", "PTID"))


# HDF5


@pytest.mark.parametrize("kind", ["dense", "packed", "sparse"])
def test_h5ad_matrix_and_names_come_back(tmp_path, fixtures, kind):
    matrix = np.random.default_rng(0).integers(0, 3, (9, 5)).astype(np.float32)
    matrix[2, 3] = np.nan
    fixtures.write_h5ad(tmp_path / "a b.h5ad", [f"p{row}" for row in range(9)], matrix, kind)
    names, found = safe.read_h5ad(tmp_path / "a b.h5ad")
    assert names == [f"p{row}" for row in range(9)]
    assert np.array_equal(found, matrix, equal_nan=True)


def test_h5ad_larger_than_one_block_comes_back(tmp_path, fixtures):
    matrix = np.random.default_rng(0).integers(0, 3, (500, 6000)).astype(np.float32)  # 12 MB, blocks have 8
    fixtures.write_h5ad(tmp_path / "a.h5ad", [str(row) for row in range(500)], matrix, "packed")
    assert np.array_equal(safe.read_h5ad(tmp_path / "a.h5ad")[1], matrix)


def test_damaged_h5ad_is_refused(tmp_path, fixtures):
    fixtures.write_h5ad(tmp_path / "a.h5ad", ["p"], np.ones((1, 2), dtype=np.float32))
    data = (tmp_path / "a.h5ad").read_bytes()
    (tmp_path / "a.h5ad").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a\.h5ad is refused"):
        safe.read_h5ad(tmp_path / "a.h5ad")


@pytest.mark.parametrize("missing", ["X", "obs"])
def test_h5ad_without_its_parts_is_refused(tmp_path, fixtures, missing):
    import h5py

    fixtures.write_h5ad(tmp_path / "a.h5ad", ["p"], np.ones((1, 2), dtype=np.float32))
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        del file[missing]
    with pytest.raises(DataError, match=f"it has no {missing}"):
        safe.read_h5ad(tmp_path / "a.h5ad")


def test_h5ad_that_declares_a_huge_matrix_is_refused(tmp_path, fixtures):
    import h5py

    fixtures.write_h5ad(tmp_path / "a.h5ad", ["p"], np.ones((1, 2), dtype=np.float32))
    with h5py.File(tmp_path / "a.h5ad", "a") as file:
        del file["X"]
        file.create_dataset("X", shape=(1, 10**11), dtype="f4", chunks=(1, 1000))  # nothing is stored
    with pytest.raises(DataError, match="too large"):
        safe.read_h5ad(tmp_path / "a.h5ad")


def test_missing_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(safe, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'missing-modality-bench\[adni\]'"):
        safe.read_h5ad(tmp_path / "a.h5ad")


# NIfTI


def volume():
    return np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_nifti_volume_keeps_its_axes(tmp_path, fixtures, order):
    (tmp_path / "a.nii.gz").write_bytes(fixtures.nifti(volume(), order))
    assert np.array_equal(safe.read_nifti(tmp_path / "a.nii.gz"), volume())


def test_nifti_without_gzip_and_with_a_scale_is_read(tmp_path, fixtures):
    (tmp_path / "a.nii").write_bytes(gzip.decompress(fixtures.nifti(volume(), slope=2.0, shift=1.0)))
    assert np.array_equal(safe.read_nifti(tmp_path / "a.nii"), 2 * volume() + 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-8], lambda data: data + b"x", lambda data: data[:40] + struct.pack("<8h", 4, 2, 3, 4, 2, 1, 1, 1) + data[56:],
        lambda data: data[:40] + struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1) + data[56:],
        lambda data: data[:108] + struct.pack("<f", np.nan) + data[112:], lambda data: data[:100],
    ],
    ids=["short", "long", "four-axes", "huge", "offset", "no-header"],
)  # fmt: skip
def test_wrong_nifti_is_refused(tmp_path, fixtures, change):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(change(gzip.decompress(fixtures.nifti(volume())))))
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        safe.read_nifti(tmp_path / "a.nii.gz")


# Images


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_images_of_any_mode_become_rgb(tmp_path, mode):
    from PIL import Image

    image = Image.new("RGB", (20, 10), (200, 200, 200))
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(tmp_path / "a.png")
    found = safe.read_image(tmp_path / "a.png", 5, 4)
    assert found.shape == (5, 4, 3)
    assert (abs(found.astype(int) - 200) <= 2).all()


def test_image_of_too_many_pixels_is_refused_unread(tmp_path):
    from PIL import Image

    Image.new("1", (10_000, 3000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="more than the 20000000"):
        safe.read_image(tmp_path / "a.png", 8, 8)


def test_images_of_other_formats_are_refused(tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", format="GIF")
    with pytest.raises(DataError, match="cannot be read as image"):
        safe.read_image(tmp_path / "a.png", 8, 8)


# Text and tables


def test_large_tables_come_in_chunks(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b'id,x,note,unused\n1,0.5,"a, ""b""\nc",z\n2,,,z\n3,,NA,z\n'))
    chunks = list(
        safe.read_chunks(tmp_path / "a.csv.gz", {"id": "int64", "x": "float64", "note": "str", "gone": "str"}, 2, optional=("gone",))
    )
    assert [len(chunk) for chunk in chunks] == [2, 1]
    assert chunks[0].note.tolist() == ['a, "b"\nc', ""]
    assert chunks[1].note.tolist() == ["NA"]
    assert np.isnan([chunks[0].x[1], chunks[1].x[2]]).all()


WRONG_TABLES = {
    "column": (b"id,y\n1,2\n", "no column x"),
    "nan": (b"id,x\n1,nan\n", "cannot be read as CSV"),
    "text": (b"id,x\none,2\n", "cannot be read as CSV"),
    "empty-id": (b"id,x\n,2\n", "cannot be read as CSV"),
    "number": (b"id,x\n1,two\n", "cannot be read as CSV"),
    "long-first": (b"id,x\n1,2,3\n", "row 2, .* has 3 cells"),
    "long-row": (b'id,x\n1,2\n"1",2,3\n', "row 3, .* has 3 cells"),
    "short-row": (b'id,x\n"1\n",2\n1\n', "row 3, .* has 1 cells"),
    "blank": (b"id,x\n1,2\n\n", "row 3, .* has 1 cells"),
    "quote": (b'id,x\n1,"2\n', "EOF inside string"),
    "cut": (b"id,x\n1,2\n3", "cut short"),
    "encoding": (b"id,\xff\n1,2\n", "cannot be read as CSV"),
    "empty": (b"", "cannot be read as CSV"),
    "endless-line": (b'id,x\n1,"' + b"a" * (5 * 2**20) + b"\n", "one of its lines"),
    "endless-quote": (b'id,x\n1,"' + (b"a" * 99 + b"\n") * 60_000, "one of its lines"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_wrong_tables_are_refused(tmp_path, text, reason):
    (tmp_path / "a b.csv").write_bytes(text)
    with pytest.raises(DataError, match=rf"a b\.csv .*{reason}"):
        list(safe.read_chunks(tmp_path / "a b.csv", {"id": "int64", "x": "float64"}, 10))


def test_gzip_bomb_is_refused_as_it_unfolds(tmp_path, monkeypatch):
    monkeypatch.setattr(safe, "SWELL", 2**20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id,x\n" + b"1,2\n" * 2**19, 9))  # 2 MB in 5 kB
    rows = (len(chunk) for chunk in safe.read_chunks(tmp_path / "a.csv.gz", {"id": "int64", "x": "float64"}, 10**6))
    with pytest.raises(DataError, match="more than 200 times its size"):
        sum(rows)


def test_matrix_keeps_gaps_and_names(tmp_path):
    (tmp_path / "a.csv").write_bytes(codecs.BOM_UTF8 + b"PTID,x,y\na,1.5,\nb,,-2\n")
    names, columns, values = safe.read_matrix(tmp_path / "a.csv")
    assert (names, columns) == (["a", "b"], ["x", "y"])
    assert np.array_equal(values, np.array([[1.5, np.nan], [np.nan, -2]], dtype=np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"PTID,x\na,1,2\n", "line 2 has 3 cells"), (b"PTID,x\na\n", "line 2 has 1 cells"), (b"PTID,x\na,low\n", "no number"),
        (b"PTID,x\na,inf\n", "infinite"), (b"PTID,x\na,1e300\n", "infinite"), (b"PTID\na\n", "1 columns"), (b"PTID,x\n", "no rows"),
        (b"PTID,x\n\xe9,1\n", "cannot be read"),
    ],
    ids=["long", "short", "text", "inf", "overflow", "narrow", "empty", "encoding"],
)  # fmt: skip
def test_wrong_matrix_is_refused(tmp_path, text, reason):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(DataError, match=reason):
        safe.read_matrix(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"training": ["a"], "validation": ["b"], "testing": ["a"]}, "puts a into train and into test"),
        ({"training": ["a"], "validation": ["b"]}, "testing is none"),
        ({"training": ["a"], "validation": [], "testing": ["c"]}, "validation is none"),
        ({"training": ["a"], "validation": [1.5], "testing": ["c"]}, "validation is none"),
        ([], "training is none"),
    ],
    ids=["overlap", "absent", "empty", "float", "list"],
)
def test_wrong_split_is_refused(tmp_path, content, reason):
    (tmp_path / "split.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        safe.read_split(tmp_path / "split.json")


def test_split_of_numbers_names_texts(tmp_path):
    (tmp_path / "split.json").write_text('{"training": [1, 1], "validation": [2], "testing": ["3"]}', encoding="utf-8")
    assert safe.read_split(tmp_path / "split.json") == {"1": "train", "2": "valid", "3": "test"}


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"\xff", b"1" * 5000], ids=["cut", "deep", "encoding", "long-number"])
def test_wrong_json_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json"):
        safe.read_json(tmp_path / "a.json")


def test_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.npy is not there"):
        safe.read_npy(tmp_path / "gone.npy")

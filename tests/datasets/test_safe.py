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
    "set": {"a", b"b", 1, 2.5, None, 2**63, -(2**63)},
    "frozenset": frozenset({"x", "y"}),
    "empty-sets": [set(), frozenset()],
}


def same(found, expected):
    if isinstance(expected, np.ndarray | np.generic):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    return type(found) is type(expected) and found == expected


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


def test_sets_of_python_2_are_read(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"c__builtin__\nset\n((lp0\nS'x'\naS'y'\natR.")
    assert safe.read_pickle(tmp_path / "a.pkl") == {b"x", b"y"}


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
        b"\x80\x04\x8f(]\x90.",  # a list in a set
        b"\x80\x04\x8f(cnumpy\nndarray\n\x90.",  # a name in a set
        b"\x80\x04\x8f((K\x01t\x90.",  # a tuple in a set
        b"\x80\x04((K\x01\x91\x91.",  # a frozenset in a frozenset
        b"\x80\x04](K\x01\x90.",  # adding to a list
        b"\x80\x04(\x91(K\x01\x90.",  # adding to a frozenset
        b"cbuiltins\nset\n(Vab\ntR.",  # a set of a text's letters
        b"cbuiltins\nset\n(((tltR.",  # a list of tuples made a set
        b"cbuiltins\nset\n}Vx\nK\x01sb.",  # attributes of set
        b"\x80\x02}\x8a\x09" + b"\xff" * 8 + b"\x7fK\x01s.",  # a key of more than 64 bits
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
        "ndarray", "new", "inst", "codec", "dtype-state", "token-state", "set-list", "set-name", "set-tuple", "set-frozenset",
        "add-list", "add-frozenset", "set-text", "set-call", "set-state", "long-key", "extension", "tuple-key", "persistent", "frame",
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


@pytest.mark.parametrize(
    ("program", "name"),
    [(b"(inumpy\nndarray\n.", "INST"), (b"\x80\x02\x82\x01.", "EXT1"), (b"\x80\x02N)\x81.", "NEWOBJ"), (b"\x80\x05\x97.", "NEXT_BUFFER")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_instruction_has_its_name(tmp_path, program, name):
    (tmp_path / "a.pkl").write_bytes(program)
    with pytest.raises(DataError, match=f"uses instruction {name}, which arrays do not need"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_byte_that_is_no_instruction_is_shown(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\xfe\xff")
    with pytest.raises(DataError, match="byte 0xfe where an instruction should be; it is damaged or no pickle"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_one_list_cannot_become_many_sets(tmp_path, monkeypatch):
    """Each call copies the list: what is copied counts as instructions do."""
    monkeypatch.setattr(pickles, "MAX_STEPS", 1000)
    numbers = b"(" + b"".join(b"K" + bytes([number]) for number in range(100)) + b"l"
    (tmp_path / "a.pkl").write_bytes(b"]" + numbers + b"p1\n0" + b"cbuiltins\nset\n(g1\ntR0" * 20 + b".")
    with pytest.raises(DataError, match="more than 1000 instructions"):
        safe.read_pickle(tmp_path / "a.pkl")


def test_whole_numbers_that_share_a_hash_are_refused(tmp_path):
    """A hundred thousand of them in one set, or as keys, would take minutes."""
    colliding = [number * (2**61 - 1) for number in range(1, 40)]
    for value in (set(colliding), dict.fromkeys(colliding)):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(DataError, match="numbers of 64 bits"):
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
    (tmp_path / "a.h5ad").write_bytes(b"\x89HDF")
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
    "long-first": (b"id,x\n1,2,3\n", "row 2, .* has 3 cells"),
    "long-row": (b'id,x\n1,2\n"1",2,3\n', "row 3, .* has 3 cells"),
    "short-row": (b'id,x\n"1\n",2\n1\n', "row 3, .* has 1 cells"),
    "blank": (b"id,x\n1,2\n\n", "row 3, .* has 1 cells"),
    "quote": (b'id,x\n1,"2\n', "ends inside a quoted cell; it is cut short"),
    "cut": (b"id,x\n1,2\n3", "last row has 1 cells and no line end, the header 2 cells; it is cut short"),
    "one-line": (b"id,x", "append a line feed if the file is whole"),
    "encoding": (b"id,\xff\n1,2\n", "cannot be read as CSV .*must be UTF-8 text, and holds byte 0xff in line 1"),
    "encoding-below": (b"id,x,y\n1,2,a\n3,4,M\xfcller\n", "holds byte 0xfc in line 3; save it again as UTF-8"),
    "empty": (b"", "cannot be read as CSV"),
    "endless-line": (b'id,x\n1,"' + b"a" * (5 * 2**20) + b"\n", "one of its lines"),
    "endless-quote": (b'id,x\n1,"' + (b"a" * 99 + b"\n") * 60_000, "one of its lines"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_wrong_tables_are_refused(tmp_path, text, reason):
    (tmp_path / "a b.csv").write_bytes(text)
    with pytest.raises(DataError, match=rf"a b\.csv .*{reason}"):
        list(safe.read_chunks(tmp_path / "a b.csv", {"id": "int64", "x": "float64"}, 10))


WRONG_CELLS = {
    "nan": (b"1,nan,a\n", "line 2: x must be a finite number or empty, got 'nan'"),
    "word": (b"1,two,a\n", "line 2: x must be a finite number or empty, got 'two'"),
    "comma": (b'1,"12,5",a\n', "line 2: x must be a finite number or empty, got '12,5'; a decimal comma must be a point"),
    "overflow": (b"1,1e400,a\n", "line 2: x must be a finite number or empty, got '1e400'"),
    "infinite": (b"1,2,a\n1,-inf,a\n", "line 3: x must be a finite number or empty, got '-inf'"),
    "truth": (b"1,True,a\n", "line 2: x must be a finite number or empty, got 'True'"),
    "underscore": (b"1,1_000,a\n", "line 2: x must be a finite number or empty, got '1_000'"),
    "formula": (b"1,#DIV/0!,a\n", "got '#DIV/0!'; a spreadsheet has rewritten the file, get it anew"),
    "date": (b"1,5/7/2180,a\n", "got '5/7/2180'; a spreadsheet has rewritten the file, get it anew"),
    "id-word": (b"one,2,a\n", "line 2: id must be a whole number, got 'one'"),
    "id-empty": (b"1,2,a\n,2,a\n", "line 3: id must be a whole number, got ''"),
    "id-fraction": (b"1.0,2,a\n", "line 2: id must be a whole number, got '1.0'"),
    "id-rounded": (b"2.26E+07,2,a\n", "got '2.26E\\+07'; a spreadsheet has rewritten the file, get it anew"),
    "id-truth": (b"True,2,a\n", "line 2: id must be a whole number, got 'True'"),
    "id-overflow": (b"99999999999999999999,2,a\n", "line 2: id must be a whole number, got '99999999999999999999'"),
    "line-ends": (b'1,2,"a\nb\nc"\n1,2,"d\n"\nx,2,a\n', "line 7: id must be a whole number, got 'x'"),
    "later-chunk": (b"1,2,a\n" * 25 + b"1,x,a\n", "line 27: x must be a finite number or empty, got 'x'"),
    "optional-id": (b"1,2,3.5\n", "line 2: y must be a whole number or empty, got '3.5'"),
}


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@pytest.mark.parametrize(("rows", "message"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_cell_of_a_wrong_kind_is_named_with_line_column_and_value(tmp_path, rows, message, ending):
    path, kind = tmp_path / f"a b{ending}", "id" if "y must" in message else "str"
    path.write_bytes(gzip.compress(b"id,x,y\n" + rows) if ending.endswith(".gz") else b"id,x,y\n" + rows)
    with pytest.raises(DataError, match=rf"^a b\{ending} .*{message}$"):
        list(safe.read_chunks(path, {"id": "int64", "x": "float64", "y": kind}, 10))


@pytest.mark.parametrize("before", [9, 1_048_571, 1_048_574, 3_000_000], ids=["first-block", "on-the-edge", "across", "later"])
def test_byte_that_is_no_utf_8_is_found_in_any_block(tmp_path, before):
    text = b"\n" * (before - 5) + 'a"\xe9'.encode() + b"\n\xe2\x82"  # a cut euro sign
    for path, content in ((tmp_path / "a.txt", text), (tmp_path / "a.txt.gz", gzip.compress(text))):
        path.write_bytes(content)
        assert safe._line_of_byte(path) == f" in line {before - 3}"
    (tmp_path / "a.txt").write_bytes(text[:-2])
    assert safe._line_of_byte(tmp_path / "a.txt") == ""


def test_numbers_may_be_written_in_any_common_way(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id,x,y\n 1,.5,\n+2,5.,7\n3,-1e3, 8\n004,7,9\n")
    chunk = next(safe.read_chunks(tmp_path / "a.csv", {"id": "int64", "x": "float64", "y": "id"}, 10))
    assert chunk.id.tolist() == [1, 2, 3, 4]
    assert chunk.x.tolist() == [0.5, 5, -1000, 7]
    assert chunk.y.tolist() == [-1, 7, 8, 9]
    (tmp_path / "b.csv").write_bytes(b"x\n1\n99999999999999999999\n3\n")  # whole numbers beyond 64 bits, which pandas leaves as text
    chunks = list(safe.read_chunks(tmp_path / "b.csv", {"x": "float64"}, 2))
    assert [chunk.x.tolist() for chunk in chunks] == [[1, 1e20], [3]]


WHOLE = b'id,note\r\n1,"a, ""b""\r\nc"\r\n2,"z"\r\n'


@pytest.mark.parametrize("cut", [1, 2], ids=["carriage-return", "nothing"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_last_row_needs_no_line_end(tmp_path, ending, cut):
    (tmp_path / f"a{ending}").write_bytes(gzip.compress(WHOLE[:-cut]) if ending.endswith(".gz") else WHOLE[:-cut])
    found = next(safe.read_chunks(tmp_path / f"a{ending}", {"id": "int64", "note": "str"}, 10))
    assert found.id.tolist() == [1, 2]
    assert found.note.tolist() == ['a, "b"\r\nc', "z"]


OPEN = [size for size in range(len(WHOLE)) if WHOLE[:size].count(b'"') % 2]  # cuts inside a quoted cell
LACKING = [WHOLE.index(row) + len(row) for row in (b"\r\n1", b"\r\n2")]  # cuts after the first cell


@pytest.mark.parametrize("size", OPEN + LACKING)
def test_table_cut_inside_a_row_is_refused(tmp_path, size):
    (tmp_path / "a.csv").write_bytes(WHOLE[:size])
    with pytest.raises(DataError, match="cut short"):
        list(safe.read_chunks(tmp_path / "a.csv", {"id": "int64", "note": "str"}, 10))


def test_packed_table_without_its_end_is_refused(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(WHOLE)[:-9])
    with pytest.raises(DataError, match=r"a\.csv\.gz"):
        list(safe.read_chunks(tmp_path / "a.csv.gz", {"id": "int64"}, 10))


def test_packed_header_alone_is_whole(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id,x"))
    assert [len(chunk) for chunk in safe.read_chunks(tmp_path / "a.csv.gz", {"id": "int64", "x": "float64"}, 10)] == [0]


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
        (b"PTID,x\na,1,2\n", "line 2 has 3 cells"), (b"PTID,x\na\n", "line 2 has 1 cells"),
        (b"PTID\na\n", "1 columns"), (b"PTID,x\n", "no rows"),
        (b"PTID,x\n\xe9,1\n", "holds byte 0xe9 in line 2"), (b'PTID,x\na,"1', "ends inside a quoted cell"),
        (b"PTID,x,y\na,1,low\n", "line 2: y must be a finite number or empty, got 'low'"),
        (b"PTID,x\na,1\nb,inf\n", "line 3: x must be a finite number or empty, got 'inf'"),
        (b"PTID,x\na,1e300\n", "x must be a finite number or empty, got '1e300'"),
        (b'PTID,x\na,"12,5"\n', "got '12,5'; a decimal comma must be a point"), (b"PTID,x\na,1_0\n", "got '1_0'"),
        (b'PTID,"x\ny"\na,z\n', "line 3: x y must be a finite number"),
    ],
    ids=[
        "long", "short", "narrow", "empty", "encoding", "quote", "text", "inf", "overflow", "comma", "underscore", "two-line-name",
    ],
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
        (
            {"training": ["a"], "validation": [1, 1.5], "testing": ["c"]},
            "entry 2 of validation must be a text or a whole number, got '1.5'",
        ),
        ({"training": ["a"], "validation": "b", "testing": ["c"]}, "validation is none"),
        ([], "training is none"),
    ],
    ids=["overlap", "absent", "empty", "float", "text", "list"],
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

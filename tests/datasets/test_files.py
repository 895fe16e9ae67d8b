"""datasets/files.py: files are found, prepared copies equal their files, and half-written or damaged ones are never taken for good."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.datasets.base import DataError, Modality, Samples, Schema
from bench.datasets.files import FileDataset, check, data_root, prepared_copies, read_prepared, sha256, write_prepared


class Toy(FileDataset):
    """Rows `vector, label`; a sequence, a split and groups on top."""

    name = "toy"
    folder = "toy_files"
    files = ("rows.txt", "more/*.txt")
    obtain = "Get it from example.org/toy."
    options = {"scale": 1, "form": "long"}
    choices = {"form": ("long", "short")}
    scale: int
    form: str

    def read(self, folder, report):
        numbers = np.loadtxt(folder / "rows.txt").reshape(-1, 2)
        report(0, len(numbers), "reading rows")
        n = len(numbers)
        schema = Schema((Modality("number", "N", "vector", (1,)), Modality("sound", "S", "sequence", (3, 1))), ("no", "yes"))
        values = {"number": numbers[:, :1].astype(np.float32) * self.scale, "sound": np.ones((n, 3, 1), dtype=np.float32)}
        observed = np.column_stack([np.ones(n, dtype=bool), np.arange(n) % 2 == 0])
        return Samples(
            schema, values, observed, numbers[:, 1].astype(np.int64), np.array([f"r{i}" for i in range(n)]), np.arange(n) // 2,
            np.where(np.arange(n) < 2, "train", "test"), {"sound": np.array([1, 2, 3, 2][:n])},
        ).sealed()  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root with spaces in its name, and the toy's files in it."""
    root = tmp_path / "data of mine"
    (root / "toy_files" / "more").mkdir(parents=True)
    (root / "toy_files" / "rows.txt").write_text("1 0\n2 1\n3 0\n4 1\n")
    (root / "toy_files" / "more" / "b.txt").write_text("b")
    (root / "toy_files" / "more" / "a.txt").write_text("a")
    monkeypatch.setenv("BENCH_DATA", str(root))
    return root


def test_data_root_is_the_variable_or_a_folder_of_the_user(root, monkeypatch):
    assert data_root() == root
    monkeypatch.delenv("BENCH_DATA")
    assert "missing-modality-bench" in str(data_root())


def test_raw_files_load_without_preparation(root):
    samples = Toy().load()
    assert samples.values["number"].ravel().tolist() == [1, 2, 3, 4]
    assert not (root / "prepared").exists()


def test_prepared_copy_equals_the_files_and_says_where_it_is_from(root):
    raw = Toy().load()
    folder = Toy().prepare(root / "toy_files")
    made = read_prepared(folder)
    assert made.samples.fingerprint() == raw.fingerprint() == made.meta["fingerprint"]
    assert made.samples.split.tolist() == ["train", "train", "test", "test"]
    assert list(made.meta["sources"]) == ["rows.txt", "more/a.txt", "more/b.txt"]
    assert made.meta["sources"]["more/a.txt"] == {"sha256": sha256(root / "toy_files" / "more" / "a.txt"), "bytes": 1}
    assert made.meta["options"] == {"scale": 1, "form": "long"}
    (root / "toy_files" / "rows.txt").unlink()
    assert Toy().load().fingerprint() == raw.fingerprint()


def test_each_choice_of_options_has_its_own_copy(root):
    one, two = Toy().prepare(root / "toy_files"), Toy(scale=5).prepare(root / "toy_files")
    assert one != two
    assert Toy(scale=5).load().values["number"][0, 0] == 5
    assert sorted(path for path, _ in prepared_copies(Toy())) == sorted([one, two])
    (one / "meta.json").write_text("{")
    assert [path for path, _ in prepared_copies(Toy())] == [two]


def test_files_may_lie_anywhere_when_prepared(root, tmp_path):
    elsewhere = tmp_path / "downloads"
    (root / "toy_files").rename(elsewhere)
    Toy().prepare(elsewhere)
    assert len(Toy().load()) == 4


def test_preparing_again_replaces_the_copy(root):
    folder = Toy().prepare(root / "toy_files")
    (root / "toy_files" / "rows.txt").write_text("9 0\n8 1\n")
    assert Toy().prepare(root / "toy_files") == folder
    assert Toy().load().values["number"].ravel().tolist() == [9, 8]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_progress_names_what_is_being_done(root):
    seen = []
    Toy().prepare(root / "toy_files", lambda *step: seen.append(step))
    assert seen == [(0, 4, "reading rows"), (0, 3, "hashing rows.txt"), (1, 3, "hashing a.txt"), (2, 3, "hashing b.txt")]


def test_interrupted_preparation_leaves_nothing_behind(root, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bench.datasets.files.np.savez", full)
    with pytest.raises(DataError, match=r"cannot be written to .*No space left on device.*--data-root"):
        Toy().prepare(root / "toy_files")
    assert list((root / "prepared").iterdir()) == []


def test_absent_dataset_says_where_to_get_it(root, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(root / "nowhere"))
    with pytest.raises(DataError, match=r"toy is not here: there is no folder .*toy_files\. Get it from example\.org/toy\."):
        Toy().load()
    assert not Toy().is_here


def test_absent_file_is_named(root):
    (root / "toy_files" / "more" / "a.txt").unlink()
    assert Toy().is_here
    (root / "toy_files" / "more" / "b.txt").unlink()
    assert not Toy().is_here
    with pytest.raises(DataError, match=r"toy needs more/\*\.txt in .*toy_files, and it is not there\. Get it from"):
        Toy().load()


def test_preparing_from_nowhere_is_refused(root):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; give the folder that holds rows\.txt, more/\*\.txt"):
        Toy().prepare(root / "nowhere")


def test_large_files_must_be_prepared_first(root, monkeypatch):
    monkeypatch.setattr(Toy, "must_prepare", True)
    assert not Toy().is_here
    with pytest.raises(DataError, match="the raw files of toy are read once: run `bench data prepare toy"):
        Toy().load()
    Toy().prepare(root / "toy_files")
    assert Toy().is_here
    assert len(Toy().load()) == 4


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "data.npz").write_bytes((folder / "data.npz").read_bytes()[:-300]), "is damaged"),
        (lambda folder: (folder / "data.npz").unlink(), "is damaged"),
        (lambda folder: (folder / "values-0.npy").write_bytes((folder / "values-0.npy").read_bytes()[:-3]), "is damaged"),
        (lambda folder: (folder / "values-0.npy").unlink(), "is damaged"),
        (lambda folder: np.save(folder / "values-0.npy", np.array([object()]), allow_pickle=True), "is damaged"),
        (lambda folder: np.save(folder / "values-0.npy", np.zeros((4, 2), dtype=np.float32)), "is damaged"),
        (lambda folder: (folder / "meta.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "meta.json").write_text("{}"), "is damaged"),
        (lambda folder: rewrite(folder, format=99), "has format 99, this bench reads 1 and 2"),
        (lambda folder: rewrite(folder, classes=["no"]), "is damaged"),
        (lambda folder: np.savez(folder / "data.npz", observed=np.array([object()])), "is damaged"),
    ],
    ids=[
        "cut-short",
        "no-arrays",
        "values-cut-short",
        "no-values",
        "values-pickle",
        "values-shape",
        "no-json",
        "no-keys",
        "other-format",
        "wrong-schema",
        "pickle",
    ],
)
def test_damaged_copy_is_refused_with_the_way_on(root, damage, message):
    damage(Toy().prepare(root / "toy_files"))
    with pytest.raises(DataError, match=f"{message}.*bench data prepare"):
        Toy().load()


def test_copy_of_the_first_format_is_read_as_before(root):
    folder = Toy().prepare(root / "toy_files")
    before = Toy().load()
    with np.load(folder / "data.npz") as arrays:
        others = dict(arrays.items())
    np.savez(folder / "data.npz", **others, **{f"value/{name}": array for name, array in before.values.items()})
    for position in range(2):
        (folder / f"values-{position}.npy").unlink()
    rewrite(folder, format=1)
    assert Toy().load().fingerprint() == before.fingerprint()


def test_values_of_a_copy_are_mapped_and_not_to_be_written(root):
    Toy().prepare(root / "toy_files")
    array = Toy().load().values["number"]
    assert type(array) is np.ndarray
    assert isinstance(array.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_copy_that_is_made_anew_leaves_those_who_read_the_old_one_alone(root):
    Toy().prepare(root / "toy_files")
    before = Toy().load()
    held = before.fingerprint()
    (root / "toy_files" / "rows.txt").write_text("9 1\n8 0\n")
    Toy().prepare(root / "toy_files")
    assert before.fingerprint() == held != Toy().load().fingerprint()


def rewrite(folder: Path, **changes):
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.values["number"].__setitem__((1, 0), np.inf), "number of toy holds infinite values"),
        (lambda s: s.values["number"].__setitem__((1, 0), np.nan), "number of toy is observed in a sample that has no value of it"),
    ],
    ids=["infinite", "empty"],
)
def test_samples_no_loader_can_use_are_refused(root, change, message):
    samples = Toy().load()
    change(samples)
    with pytest.raises(DataError, match=message):
        check(samples, "toy")
    with pytest.raises(DataError, match="toy has no samples"):
        check(samples.rows(np.zeros(0, dtype=np.int64)), "toy")


def test_copy_keeps_what_is_optional_absent(root, make_samples):
    write_prepared(root / "prepared" / "plain", make_samples(), {"dataset": "plain"})
    made = read_prepared(root / "prepared" / "plain").samples
    assert made.groups is None
    assert made.split is None
    assert not made.lengths
    assert made.fingerprint() == make_samples().fingerprint()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"form": "wide"}, ValueError, "form must be one of long, short, got 'wide'"),
        ({"size": 3}, TypeError, "dataset toy has no option size"),
    ],
    ids=["choice", "name"],
)
def test_wrong_option_is_named(options, error, message):
    with pytest.raises(error, match=message):
        Toy(**options)

"""The paper's four datasets keep the contract on small invented copies, from the files to every method of the suite."""

import numpy as np
import pytest

import bench
from bench import registry
from bench.data.grammar import parse_protocol
from bench.data.parts import build_parts
from bench.datasets.base import DataError
from bench.datasets.files import read_prepared
from bench.methods.catalog import GROUPS
from bench.names import parse_choice

CASES = {  # as a user writes them -> what writes their files
    "cmu-mosi": {},
    "cmu-mosi[labels=ge0]": {"flavour": "mmsa_unaligned"},
    "enrico[size=32x16]": {"screens": 60},
    "adni": {"genome": "npz"},
    "adni[image=volume,pool=2]": {"genome": "npz"},
    "mimic-iv": {},
    "mimic-iv[origin=raw]": {"origin": "raw"},
}
RAW_FILES = {
    "cmu-mosi": ["mosi.pkl"],
    "enrico[size=32x16]": ["design_topics.csv", "screenshots/100.jpg", "wireframes/100.png"],
    "adni": [
        "label.csv", "PTID_splits.json", "image/ADNI_G.npy", "image/ADNI_subj.txt", "genomic/genomic.npz", "clinical/clinical_merged.csv",
        "biospecimen/biospecimen_merged.csv", "image/BLSA_SPGR+MPRAGE_averagetemplate_muse_seg_DS222.nii.gz",
    ],
    "mimic-iv": ["labels.csv", "PTID_splits_mimic.json", "lab_x.pt", "note_x.pt", "code_x.pt"],
}  # fmt: skip


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root with a space in its name."""
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data root"))
    return tmp_path / "data root"


@pytest.fixture
def written(root, fixtures):
    """Writes the files of a case where its dataset looks for them; returns the dataset."""

    def write(text):
        dataset = registry.dataset_of(parse_choice(text))
        fixtures.WRITERS[dataset.name](dataset.raw_folder, **CASES[text])
        return dataset

    return write


@pytest.mark.parametrize("text", CASES)
def test_prepared_copy_equals_what_was_read(written, root, text):
    dataset = written(text)
    samples = dataset.read(dataset.raw_folder, lambda *_: None)
    folder = dataset.prepare(dataset.raw_folder)
    assert folder.is_relative_to(root / "prepared")
    assert read_prepared(folder).samples.fingerprint() == dataset.load().fingerprint() == samples.fingerprint()


@pytest.mark.parametrize("text", CASES)
def test_samples_keep_the_contract(written, text):
    dataset = written(text)
    samples = dataset.read(dataset.raw_folder, lambda *_: None)
    sealed = samples.sealed()
    assert set(samples.target.tolist()) == set(range(len(samples.schema.classes)))
    assert samples.observed.any(0).all()
    assert samples.observed.any(1).all()
    for position, (name, array) in enumerate(samples.values.items()):
        assert np.array_equal(array, sealed.values[name], equal_nan=True)
        seen = array[samples.observed[:, position]].reshape(samples.observed[:, position].sum(), -1)
        assert np.isfinite(seen).any(1).all()
        assert not np.isinf(seen).any()


@pytest.mark.parametrize("text", CASES)
def test_suite_splits_and_scales_them(written, text):
    dataset = written(text)
    samples = dataset.read(dataset.raw_folder, lambda *_: None)
    parts = build_parts(dataset, samples, samples.schema.combination, parse_protocol("mcar(0.3)"), 0, 0, "training")
    for part in (part.samples for part in parts.named().values()):
        assert set(part.target.tolist()) == set(range(len(samples.schema.classes)))
        for position, (name, array) in enumerate(part.values.items()):
            rows = array[part.observed[:, position]]
            steps = np.arange(array.shape[1]) < part.lengths[name][part.observed[:, position], None] if name in part.lengths else ...
            assert np.isfinite(rows[steps]).all()


@pytest.mark.parametrize(("text", "name"), [(text, name) for text, names in RAW_FILES.items() for name in names])
def test_absent_file_is_named_with_the_way_to_it(written, text, name):
    dataset = written(text)
    (dataset.raw_folder / name).unlink()
    with pytest.raises(DataError) as caught:
        dataset.prepare(dataset.raw_folder)
    assert name.rpartition("/")[2].replace("mosi.pkl", "*.pkl") in str(caught.value)
    assert dataset.obtain in str(caught.value)


@pytest.mark.parametrize(("text", "name"), [(text, name) for text, names in RAW_FILES.items() for name in names])
def test_truncated_file_leaves_no_copy(written, text, name):
    dataset = written(text)
    path = dataset.raw_folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1])
    with pytest.raises(DataError):
        dataset.prepare(dataset.raw_folder)
    assert not dataset.prepared_folder.exists()


@pytest.mark.parametrize("name", ["label.csv", "image/ADNI_subj.txt", "PTID_splits.json", "clinical/clinical_merged.csv"])
def test_text_that_is_not_utf_8_is_refused(written, name):
    dataset = written("adni")
    path = dataset.raw_folder / name
    path.write_bytes(b"\xe9" + path.read_bytes())
    with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
        dataset.read(dataset.raw_folder, lambda *_: None)


@pytest.mark.parametrize("text", ["cmu-mosi", "mimic-iv"])
def test_cache_that_cannot_be_written_is_named(written, root, text):
    dataset = written(text)
    (root / "prepared").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(DataError, match="the prepared copy cannot be written"):
        dataset.prepare(dataset.raw_folder)


@pytest.mark.parametrize("text", ["cmu-mosi", "adni"])
def test_full_disk_leaves_the_old_copy(written, monkeypatch, text):
    dataset = written(text)
    before = read_prepared(dataset.prepare(dataset.raw_folder)).samples.fingerprint()

    def fail(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(DataError, match="No space left"):
        dataset.prepare(dataset.raw_folder)
    assert dataset.load().fingerprint() == before
    assert [path.name for path in dataset.prepared_folder.parent.iterdir()] == [dataset.prepared_folder.name]


def test_raw_mimic_must_be_prepared(written):
    dataset = written("mimic-iv[origin=raw]")
    with pytest.raises(DataError, match=r"run `bench data prepare 'mimic-iv\[origin=raw\]' --from"):
        dataset.load()


@pytest.mark.slow
@pytest.mark.parametrize("text", CASES)
def test_every_method_runs_on_them(written, tmp_path, text):
    """One epoch of every method, at natural gaps and a missing rate."""
    dataset = written(text)
    dataset.prepare(dataset.raw_folder)
    table = bench.run(
        methods="all", datasets=text, protocols="mcar(0.3)", seeds="0", training={"epochs": 1, "batch_size": 16}, out=tmp_path / "runs",
        quiet=True,
    )  # fmt: skip
    assert len(table) == len(GROUPS["all"])
    assert (table.status == "done").all(), table.loc[table.status != "done", ["method", "status", "reason"]].to_string()
    assert table.accuracy.between(0, 1).all()

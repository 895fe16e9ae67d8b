"""datasets/adni.py: the right scan and row of each participant, nothing that tells the diagnosis, nothing fitted."""

import gzip
import json

import numpy as np
import pytest

from bench.datasets.adni import LEAKY, Adni, into_grid, pool_volumes
from bench.datasets.base import DataError
from bench.datasets.tables import read_table


@pytest.fixture
def folder(tmp_path, fixtures):
    """With the genome as npz, which is read faster than h5ad."""
    return fixtures.write_adni(tmp_path / "adni", "npz")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory, fixtures):
    return fixtures.write_adni(tmp_path_factory.mktemp("adni"), "npz")


def read(folder, **options):
    return Adni(**options).read(folder, lambda *_: None)


def replaced(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_six_combinations_and_all_with_clinical(unchanged):
    samples = read(unchanged)
    assert samples.schema.combination == "IGCB"
    assert len(np.unique(samples.observed, axis=0)) == 6
    assert samples.observed[:, 2].all()


def test_latest_scan_of_each_participant_is_taken(unchanged):
    lines = (unchanged / "image" / "ADNI_subj.txt").read_text(encoding="utf-8").split()
    scans, samples = np.load(unchanged / "image" / "ADNI_G.npy"), read(unchanged)
    for row in np.flatnonzero(samples.observed[:, 0]):
        dates = sorted(line for line in lines if line.startswith(samples.ids[row]))
        assert np.array_equal(samples.values["image"][row], scans[lines.index(dates[-1])].astype(np.float32))


def test_volume_holds_its_voxels_where_the_mask_is_grey(unchanged, fixtures):
    vectors, volumes = read(unchanged), read(unchanged, image="volume")
    grey = fixtures.grey_matter() == 150
    seen = vectors.observed[:, 0]
    inside = volumes.values["image"][seen][:, 0][:, grey]
    assert np.array_equal(inside, vectors.values["image"][seen])
    assert (volumes.values["image"][seen][:, 0][:, ~grey] == 0).all()


def test_voxels_enter_the_grid_in_c_order_of_the_axes_nibabel_gives():
    inside = np.zeros((2, 2, 2), dtype=bool)
    inside[0, 0, 1] = inside[0, 1, 0] = inside[1, 0, 0] = True
    grid = into_grid(np.array([[1.0, 2.0, 3.0]]), inside)
    assert [grid[0, 0, 0, 1], grid[0, 0, 1, 0], grid[0, 1, 0, 0]] == [1, 2, 3]


def test_pooled_volume_is_the_mean_of_its_cubes():
    volume = np.arange(2 * 3 * 4, dtype=float).reshape(1, 2, 3, 4)
    pooled = pool_volumes(volume, 2)
    assert pooled.shape == (1, 1, 2, 2)
    assert pooled[0, 0, 0, 0] == volume[0, :2, :2, :2].mean()
    assert pooled[0, 0, 1, 1] == volume[0, :2, 2:, 2:].sum() / 8  # the grid is filled up with zeros


def test_pooled_volumes_load(unchanged):
    assert read(unchanged, image="volume", pool=2).values["image"].shape[1:] == (1, 3, 3, 2)


@pytest.mark.parametrize("genome", ["dense", "packed", "sparse"])
def test_genome_may_come_in_any_form(tmp_path, fixtures, unchanged, genome):
    assert read(fixtures.write_adni(tmp_path, genome)).fingerprint() == read(unchanged).fingerprint()


def test_columns_that_tell_the_diagnosis_are_dropped(unchanged):
    header = (unchanged / "clinical" / "clinical_merged.csv").read_text(encoding="utf-8").split()[0].split(",")
    kept = [column for column in header[1:] if not column.startswith(LEAKY)]
    assert read(unchanged).values["clinical"].shape[1] == len(kept) == len(header) - 1 - 3


def test_nothing_is_scaled_or_filled(unchanged):
    samples = read(unchanged)
    genome = samples.values["genomic"][samples.observed[:, 1]]
    assert set(np.unique(genome[np.isfinite(genome)])) == {0, 1, 2}
    assert np.isnan(genome).any()
    assert np.isnan(samples.values["clinical"]).any()
    assert samples.values["clinical"][np.isfinite(samples.values["clinical"])].std() > 0


def test_official_split_is_kept_and_who_it_does_not_name_left_out(unchanged):
    samples = read(unchanged)
    parts = json.loads((unchanged / "PTID_splits.json").read_text(encoding="utf-8"))
    assert set(samples.ids[samples.split == "test"]) == set(parts["testing"])
    assert len(samples) == sum(map(len, parts.values())) == len(read_table(unchanged / "label.csv")) - 1


def test_unfilled_table_comes_before_the_filled_one(folder):
    before = read(folder)
    path = folder / "clinical" / "clinical_merged.csv"
    (folder / "clinical" / "clinical_merged_mean.csv").write_text("PTID,a\n002_S_1002,5\n", encoding="utf-8")
    assert read(folder).fingerprint() == before.fingerprint()
    path.unlink()
    assert read(folder).observed[:, 2].sum() == 1


def test_participant_of_whom_nothing_is_observed_is_dropped(folder):
    samples = read(folder)
    row = next(row for row in range(len(samples)) if samples.observed[row].tolist() == [False, False, True, True])
    lonely = samples.ids[row]
    for name in ("clinical", "biospecimen"):
        path = folder / name / f"{name}_merged.csv"
        path.write_text(
            "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith(lonely)), encoding="utf-8"
        )
    assert set(samples.ids) - set(read(folder).ids) == {lonely}


def first_line(path):
    return path.read_text(encoding="utf-8").splitlines()[1]


def repeat(path):
    with path.open("a", encoding="utf-8") as stream:
        stream.write(first_line(path) + "\n")


def shorten_scans(folder):
    path = folder / "image" / "ADNI_G.npy"
    np.save(path, np.load(path)[1:])


def widen_scans(folder):
    path = folder / "image" / "ADNI_G.npy"
    np.save(path, np.pad(np.load(path), [(0, 0), (0, 1)]))


def break_scan(folder):
    path = folder / "image" / "ADNI_G.npy"
    scans = np.load(path)
    scans[:, 3] = np.nan
    np.save(path, scans)


def truncate(name):
    def damage(folder):
        path = folder / name
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * 0.6)])

    return damage


def everyone(value):
    def damage(folder):
        lines = [line.split(",")[0] + f",{value}" for line in (folder / "label.csv").read_text(encoding="utf-8").splitlines()[1:]]
        (folder / "label.csv").write_text("\n".join(["PTID,DIAGNOSIS", *lines]) + "\n", encoding="utf-8")

    return damage


def strangers(folder):
    path = folder / "biospecimen" / "biospecimen_merged.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("_S_", "_X_"), encoding="utf-8")


def overlap(folder):
    path = folder / "PTID_splits.json"
    parts = json.loads(path.read_text(encoding="utf-8"))
    parts["testing"].append(parts["training"][0])
    path.write_text(json.dumps(parts), encoding="utf-8")


def other_split(folder):
    (folder / "PTID_splits.json").write_text('{"training": ["a"], "validation": ["b"], "testing": ["c"]}', encoding="utf-8")


def text_cell(folder):
    path = folder / "clinical" / "clinical_merged.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    rows[0] = rows[0][: rows[0].rfind(",")] + ",low"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def other_snps(folder):
    np.savez(folder / "genomic" / "genomic.npz", X=np.full((1, 3), 7.0), PTID=np.array(["000_S_1000"]))


def mismatched_npz(folder):
    np.savez(folder / "genomic" / "genomic.npz", X=np.ones((2, 3)), PTID=np.array(["000_S_1000"]))


DAMAGE = {
    "diagnosis": (lambda f: replaced(f / "label.csv", ",2\n", ",4\n"), "DIAGNOSIS must be one of 1, 2, 3"),
    "no-diagnosis": (lambda f: replaced(f / "label.csv", ",2\n", ",\n"), "DIAGNOSIS must be 1, 2 or 3, got none"),
    "one-class": (everyone(1), r"nobody with DIAGNOSIS 2 \(mild impairment\)"),
    "label-twice": (lambda f: repeat(f / "label.csv"), "comes twice"),
    "split-overlap": (overlap, "into train and into test"),
    "split-strangers": (other_split, "no PTID of label.csv is in the train part of the split; do both files use the same PTIDs"),
    "scan-count": (shorten_scans, "one row for each of the 54 lines"),
    "voxel-count": (widen_scans, "one column for each of the 40 grey-matter voxels"),
    "nan-voxel": (break_scan, "voxels that are not finite"),
    "scan-line": (lambda f: replaced(f / "image" / "ADNI_subj.txt", "2008-01-15", "last week"), "must read PTID_date"),
    "cut-npy": (truncate("image/ADNI_G.npy"), r"ADNI_G\.npy is refused"),
    "cut-mask": (truncate("image/BLSA_SPGR+MPRAGE_averagetemplate_muse_seg_DS222.nii.gz"), r"nii\.gz cannot be read"),
    "cut-npz": (truncate("genomic/genomic.npz"), r"genomic\.npz is refused"),
    "cut-table": (truncate("clinical/clinical_merged.csv"), r"clinical_merged\.csv"),
    "table-twice": (lambda f: repeat(f / "biospecimen" / "biospecimen_merged.csv"), "participants twice"),
    "table-text": (text_cell, "line 2: EDUC must be a finite number or empty, got 'low'"),
    "strangers": (strangers, "no participant of label.csv has anything in biospecimen"),
    "snps": (other_snps, r"SNPs must be 0 to 2 or missing, got \S+ of '\d{3}_S_\d+' in column \d+"),
    "npz-rows": (mismatched_npz, "a row for each PTID"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_refused(folder, damage, reason):
    damage(folder)
    with pytest.raises(DataError, match=reason):
        read(folder)


def test_damaged_h5ad_is_refused(tmp_path, fixtures):
    folder = fixtures.write_adni(tmp_path)
    truncate("genomic/genomic_merged.h5ad")(folder)
    with pytest.raises(DataError, match=r"genomic_merged\.h5ad is refused"):
        read(folder)


def test_mask_without_grey_matter_is_refused(folder, fixtures):
    (folder / "image" / fixtures.MASK).write_bytes(fixtures.nifti(np.zeros(fixtures.GRID)))
    with pytest.raises(DataError, match="each of the 0 grey-matter voxels"):
        read(folder)


def test_mask_that_unfolds_too_far_is_refused(folder, fixtures):
    data = bytearray(gzip.decompress(fixtures.nifti(fixtures.grey_matter())))
    data[42:48] = np.array([30_000, 30_000, 30_000], dtype="<i2").tobytes()
    (folder / "image" / fixtures.MASK).write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DataError, match="needs 108000000000000 bytes"):
        read(folder)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pool": 0}, "pool must be"),
        ({"pool": 2}, "goes with image=volume"),
        ({"pool": "2"}, "pool must be"),
        ({"image": "slices"}, "image must be"),
    ],
    ids=["zero", "vector", "text", "image"],
)
def test_impossible_options_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        Adni(**options)

"""datasets/enrico.py: images and topics belong together, damaged screens can be left out, MultiBench's split is met."""

import numpy as np
import pytest

from bench.data.parts import split_rows
from bench.datasets.base import DataError
from bench.datasets.enrico import TOPICS, Enrico, multibench_split
from bench.datasets.tables import read_table

REAL = "enrico_meta"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fixtures):
    return fixtures.write_enrico(tmp_path_factory.mktemp("with space") / "enrico")


def read(folder, **options):
    return Enrico(**{"size": "32x16", **options}).read(folder, lambda *_: None)


def test_images_are_rgb_between_0_and_1_and_show_their_topic(folder):
    samples = read(folder)
    assert samples.schema.classes == ("chat", "list", "login")
    brightest = np.array([1, 2, 0])[np.stack([samples.values["wireframe"].mean((2, 3)).argmax(1)])][0]  # planted: channel of the topic
    assert np.array_equal(brightest, samples.target)
    for array in samples.values.values():
        assert 0 <= array.min() < array.max() <= 1


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [("unreadable", {"50105"}), ("high", {"50105", "22712"}), ("medium", {"50105", "22712", "41602"})],
    ids=["unreadable", "high", "medium"],
)
def test_damaged_screens_are_left_out(folder, exclude, left_out):
    listed = set(read_table(folder / "design_topics.csv").column("screen_id"))
    assert listed - set(read(folder, exclude=exclude).ids) == left_out


def test_damaged_screen_that_is_asked_for_is_an_error(folder):
    with pytest.raises(DataError, match=r"50105\.png cannot be read as image"):
        read(folder, exclude="none")


def test_suite_splits_70_15_15_with_every_topic_in_every_part(folder):
    samples = read(folder)
    rows = split_rows(Enrico(), samples, 0)
    assert all(len(np.unique(samples.target[part])) == 3 for part in rows.values())


def test_multibench_split_has_its_published_sizes():
    split = multibench_split(1458)
    assert [(split == part).sum() for part in ("train", "valid", "test")] == [947, 219, 292]


def test_multibench_split_follows_its_generator(folder):
    samples = read(folder, split="multibench")
    # random.Random(42).shuffle(list(range(10))) gives 7 3 2 8 5 6 | 9 4 | 0 1
    expected = ["test", "test", "train", "train", "valid", "train", "train", "train", "train", "valid"]
    assert multibench_split(10).tolist() == expected
    assert np.array_equal(samples.split, multibench_split(len(samples)))


def test_size_is_height_by_width(folder):
    assert read(folder, size="64x32").values["screenshot"].shape[1:] == (3, 64, 32)


@pytest.mark.parametrize("size", ["256", "8x8", "2000x10", "x", "256x128x3"])
def test_impossible_size_is_refused(size):
    with pytest.raises(ValueError, match="size must be height x width"):
        Enrico(size=size)


def test_multibench_split_goes_with_its_screens_alone():
    with pytest.raises(ValueError, match="exclude=unreadable alone"):
        Enrico(split="multibench", exclude="high")


WRONG_TABLES = {
    "topic": ("screen_id,topic\n100,list\n101,dialer\n", "line 3: topic must be one of bare, calculator"),
    "no-topic": ("screen_id,topic\n100,list\n101,\n", "line 3: topic must be one of .* got none"),
    "column": ("id,topic\n100,list\n", "no column 'screen_id'"),
    "twice": ("screen_id,topic\n100,list\n101,list\n100,chat\n", "'100' comes twice"),
    "path": ("screen_id,topic\n../x,list\n101,chat\n", "screen_id must be a number, got '../x'"),
    "absent": ("screen_id,topic\n100,list\n101,form\n9999,chat\n", r"1 of 3 files of .*screenshots are absent, 9999\.jpg first"),
    "cut": (
        "screen_id,topic\n100,list\n",
        r"1 images of .*screenshots are not in design_topics\.csv, 101\.jpg first; is the table cut short",
    ),
    "one-topic": ("screen_id,topic\n100,list\n101,list\n", "two topics at least"),
}


@pytest.mark.parametrize(("table", "reason"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_wrong_table_is_refused(tmp_path, fixtures, table, reason):
    folder = fixtures.write_enrico(tmp_path, 6)
    for path in [*folder.glob("*/*.jpg"), *folder.glob("*/*.png")]:
        if path.stem not in ("100", "101"):
            path.unlink()
    (folder / "design_topics.csv").write_text(table, encoding="utf-8")
    with pytest.raises(DataError, match=reason):
        read(folder)


def test_absent_issue_table_is_named(tmp_path, fixtures):
    folder = fixtures.write_enrico(tmp_path, 6)
    (folder / "issues.csv").unlink()
    assert len(read(folder)) == 5
    with pytest.raises(DataError, match=r"enrico\[exclude=high\] needs issues\.csv in .*and it is not there\. Get"):
        Enrico(exclude="high").sources(folder)


def test_severity_that_is_misspelt_is_named(tmp_path, fixtures):
    folder = fixtures.write_enrico(tmp_path, 6)
    issues = (folder / "issues.csv").read_text(encoding="utf-8")
    (folder / "issues.csv").write_text(issues.replace("mismatch,high", "mismatch,High"), encoding="utf-8")
    with pytest.raises(DataError, match=r"issues\.csv line 2: severity must be one of low, high, medium or empty, got 'High'"):
        read(folder, exclude="high")


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b""], ids=["truncated", "empty"])
@pytest.mark.parametrize("name", ["screenshots/101.jpg", "wireframes/101.png"])
def test_damaged_image_is_named(tmp_path, fixtures, name, damage):
    folder = fixtures.write_enrico(tmp_path, 6)
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(DataError, match=rf"{name.split('/')[1]} cannot be read as image"):
        read(folder)


# Real labels, issues and one screen


def test_real_tables_have_the_documented_counts(real_data):
    topics = read_table(real_data / REAL / "design_topics.csv")
    issues = read_table(real_data / REAL / "issues.csv")
    names, counts = np.unique(topics.column("topic").astype(str), return_counts=True)
    assert tuple(names) == TOPICS
    assert (len(topics), counts.min(), counts.max()) == (1460, 6, 265)
    high = (issues.column("source") == "wireframe") & (issues.column("severity") == "high")
    assert (len(issues), high.sum()) == (81, 14)


def test_real_labels_and_screen_load(real_data, tmp_path):
    """The one real screen stands for all: the real tables meet real images of both kinds."""
    topics = (real_data / REAL / "design_topics.csv").read_text(encoding="utf-8").splitlines()[:40]
    topics += ["10594," + next(line.split(",")[1] for line in topics if line.split(",")[0] != "screen_id")]
    ids = list(dict.fromkeys(line.split(",")[0] for line in topics[1:]))
    (tmp_path / "design_topics.csv").write_text("\n".join(dict.fromkeys(topics)) + "\n", encoding="utf-8")
    (tmp_path / "issues.csv").write_bytes((real_data / REAL / "issues.csv").read_bytes())
    for place, ending, name in (("screenshots", "jpg", "screenshot"), ("wireframes", "png", "wireframe")):
        (tmp_path / place).mkdir()
        for screen in ids:
            (tmp_path / place / f"{screen}.{ending}").symlink_to(real_data / REAL / "samples" / f"10594-{name}.{ending}")
    samples = read(tmp_path, size="256x128")
    assert samples.values["screenshot"].shape == (len(ids), 3, 256, 128)
    assert samples.values["screenshot"][0].std() > 0.1
    assert not np.array_equal(samples.values["screenshot"], samples.values["wireframe"])

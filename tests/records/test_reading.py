"""bench/records/reading.py: results are read whole wherever they lie, with a log beside them or without, and nothing is written there."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.records import database, reading
from bench.records.database import Store
from bench.records.reading import connect, share_of


@pytest.fixture
def written(tmp_path):
    """A database in use: its first row is in the file, its second in the log alone."""
    folder = tmp_path / "used"
    folder.mkdir()
    writer = sqlite3.connect(folder / "bench.db")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.executescript("CREATE TABLE rows (value); INSERT INTO rows VALUES (1); PRAGMA wal_checkpoint(TRUNCATE);")
    writer.execute("INSERT INTO rows VALUES (2)")
    writer.commit()
    yield folder
    writer.close()


@pytest.fixture
def closed(written, tmp_path):
    """A copy of some of its files, where no file can be made for readers to share: a link that leads nowhere stands in its place."""

    def copy(*names):
        folder = tmp_path / "copy"
        folder.mkdir()
        for name in names:
            shutil.copy(written / name, folder / name)
        (folder / "bench.db-shm").symlink_to(folder / "nowhere" / "shared")
        return folder / "bench.db"

    return copy


def rows_of(path):
    reader = connect(path)
    try:
        return [value for (value,) in reader.execute("SELECT value FROM rows")]
    finally:
        reader.close()


def test_database_in_use_is_read_with_what_its_log_holds(written):
    assert rows_of(written / "bench.db") == [1, 2]


def test_database_alone_is_read_as_it_lies(closed):
    assert rows_of(closed("bench.db")) == [1]


def test_log_in_a_folder_that_takes_no_file_is_read_too(closed):
    path = closed("bench.db", "bench.db-wal")
    before = {file.name: file.lstat().st_mtime_ns for file in path.parent.iterdir()}
    assert rows_of(path) == [1, 2]
    assert {file.name: file.lstat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_copy_that_was_read_goes_with_its_reader(closed):
    reader = connect(closed("bench.db", "bench.db-wal"))
    copy = reader.copy.name
    assert os.listdir(copy)  # noqa: PTH208
    reader.close()
    assert not os.path.exists(copy)  # noqa: PTH110


def test_database_that_changes_while_it_is_copied_is_told(closed, monkeypatch):
    path, states = closed("bench.db", "bench.db-wal"), iter(range(100))
    monkeypatch.setattr(reading, "_state", lambda *_: next(states))
    with pytest.raises(UsageError, match="being written by a run that this user cannot follow; try again when it has ended"):
        connect(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("names", [("bench.db",), ("bench.db", "bench.db-wal")], ids=" and ".join)
def test_folder_that_may_not_be_written_is_read(names, written, tmp_path):
    folder = tmp_path / "sealed"
    folder.mkdir()
    for name in names:
        shutil.copy(written / name, folder / name)
        (folder / name).chmod(0o444)
    folder.chmod(0o555)
    try:
        assert rows_of(folder / "bench.db") == [1, 2][: len(names)]
    finally:
        folder.chmod(0o755)


def test_file_that_is_no_database_stays_an_error(tmp_path):
    (tmp_path / "bench.db").write_bytes(b"not a database, but long enough to look at its head" * 20)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        connect(tmp_path / "bench.db")


@pytest.mark.parametrize(
    ("path", "share"),
    [("/home/me/runs", "nfs4"), ("/home/me", "nfs4"), ("/home/my disk/runs", "fuse.sshfs"), ("/home/local/x", None), ("/other", None)],
)
def test_a_share_is_known_by_the_mount_that_is_nearest(tmp_path, path, share):
    lines = [
        "/dev/sda / ext4 rw 0 0",
        "host:/me /home/me nfs4 rw 0 0",
        "x /home/my\\040disk fuse.sshfs rw 0 0",
        "/dev/sdb /home/local xfs rw 0 0",
    ]
    mounts = tmp_path / "mounts"
    mounts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert share_of(Path(path), mounts) == share


def test_a_folder_on_a_share_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "share_of", lambda _: "nfs4")
    (tmp_path / "bench.db").mkdir()
    with pytest.raises(UsageError, match=r"it lies on a share \(nfs4\), .* give an --out on a disk of this machine"):
        Store(tmp_path)

"""A results database opened for reading, whatever its folder allows: a share, a snapshot, a copy without rights to write. Free of torch.

SQLite reads a database with a write-ahead log beside it through a file that readers share (`bench.db-shm`), and makes that file where it
is not there. In a folder that takes no file it refuses. Then nobody here writes either, and what is right depends on the log: without one,
the database holds everything and is read as it lies; with one, finished trials may stand in it alone, so both are copied and read there.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.errors import UsageError

REFUSALS = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL)  # of the shared file
SHARES = ("nfs", "cifs", "smb", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p")  # kinds of mounts begin with these
TRIES = 3  # to copy both files while neither changes


class Reader(sqlite3.Connection):
    """A connection that reads, and takes the copy it reads, if it made one, away with it."""

    copy: TemporaryDirectory[str] | None = None

    def close(self) -> None:
        super().close()
        if self.copy is not None:
            self.copy.cleanup()


def connect(path: Path) -> Reader:
    """A database that is there, for reading. Raises: OSError, sqlite3.Error if it cannot be read; UsageError if it changes all the time."""
    with path.open("rb"):  # says why, where SQLite only says that it could not
        pass
    try:
        return _opened(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in REFUSALS:
            raise
    log = path.with_name(f"{path.name}-wal")
    return _copied(path, log) if log.exists() and log.stat().st_size else _opened(path, "immutable=1")


def _opened(path: Path, how: str) -> Reader:
    # what reads later may be dropped, and so closed, by another thread; none reads while another does
    found = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, factory=Reader, check_same_thread=False)
    try:
        found.execute("SELECT count(*) FROM sqlite_master").fetchone()  # nothing is read before it is asked for
    except sqlite3.Error:
        found.close()
        raise
    return found


def _copied(path: Path, log: Path) -> Reader:
    for _ in range(TRIES):
        copy = TemporaryDirectory(prefix="bench-")
        before = _state(path, log)
        for file in (log, path):
            shutil.copyfile(file, Path(copy.name) / file.name)
        if _state(path, log) == before:
            found = _opened(Path(copy.name) / path.name, "mode=ro")
            found.copy = copy
            return found
        copy.cleanup()
    raise UsageError(f"{path} is being written by a run that this user cannot follow; try again when it has ended")


def _state(*files: Path) -> list[tuple[int, int]]:
    return [(found.st_size, found.st_mtime_ns) for found in (file.stat() for file in files)]


def share_of(path: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The kind of the share that a path lies on, such as nfs4; None where it is a disk of this machine, or nobody says."""
    if not mounts.is_file():
        return None
    kinds = {}
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        where, kind = line.split(" ")[1:3]
        kinds[Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), where))] = kind  # the last mount at a place hides others
    path = path.resolve()
    kind = next((kinds[folder] for folder in (path, *path.parents) if folder in kinds), "")
    return kind if kind.startswith(SHARES) else None

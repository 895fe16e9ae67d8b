"""bench/grid/warm.py: processes can talk whatever the folder for temporary files is called, or one line says why not."""

import multiprocessing
import subprocess
import sys
import tempfile
from multiprocessing import util

import pytest

from bench.errors import UsageError
from bench.grid import warm


@pytest.fixture
def long(tmp_path, monkeypatch):
    """A folder for temporary files whose path is longer than a socket's may be."""
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_usual_folder_is_used_where_it_is_short_enough(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    assert str(warm.socket_folder()) == "/tmp"


def test_longest_folder_that_fits_a_socket_is_used(monkeypatch, tmp_path):
    room = warm.SOCKET - warm.FOLDER - warm.NAME
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        fits, not_any_more = (f"{short}/{'z' * (size - len(short) - 1)}" for size in (room, room + 1))
        monkeypatch.setattr(warm.Path, "is_dir", lambda _: True)
        monkeypatch.setattr(warm.os, "access", lambda *_: True)
        monkeypatch.setattr(tempfile, "tempdir", fits)
        assert str(warm.socket_folder()) == fits
        monkeypatch.setattr(tempfile, "tempdir", not_any_more)
        assert str(warm.socket_folder()) != not_any_more


def test_another_folder_takes_the_sockets_and_temporary_files_stay_where_they_were(long, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {"tempdir": str(long / "pymp-12345678")})
    warm._shorten_sockets()
    assert len(f"{util.get_temp_dir()}/listener-12345678") <= warm.SOCKET
    assert tempfile.gettempdir() == str(long)


def test_one_line_says_the_rule_where_no_folder_is_short_enough(long, monkeypatch):
    monkeypatch.setattr(warm, "SHORT", ())
    with pytest.raises(
        UsageError, match=r"TMPDIR is too long for a socket, whose path may have 10[37] bytes: .* set TMPDIR to a folder of"
    ):
        warm.socket_folder()


def test_process_started_from_here_inherits_the_short_folder(long):
    code = (
        "import multiprocessing, sys, tempfile; from multiprocessing import util; from bench.grid.warm import start_server\n"
        f"tempfile.tempdir = {str(long)!r}\n"
        "if __name__ == '__main__':\n"
        "    start_server()\n"
        "    with multiprocessing.get_context('forkserver').Pool(1) as pool: print(pool.apply(util.get_temp_dir) == util.get_temp_dir())\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout == "True\n", found.stderr

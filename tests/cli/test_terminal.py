"""The command line on a real terminal: what fits 80 and 120 columns, what stands last, and what a pipe gets instead."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import wcwidth

from bench.cli.screen import command_lines, page
from bench.grid.lost import grouped
from bench.text import Table

pty = pytest.importorskip("pty", reason="no terminals of this kind on this system")
import fcntl  # noqa: E402
import struct  # noqa: E402
import termios  # noqa: E402

OUTSIDE = Path(__file__).parents[1] / "support" / "outside.py"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NUMBER = re.compile(r"\d+\.\d ± \d+\.\d \(\d(?:/\d)?\)")
SEEN: dict[tuple, str] = {}
BENCH = [sys.executable, "-m", "bench"]


def environment(**more):
    """Ours, without what would say another width or colour."""
    own = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    return own | {"TERM": "xterm", "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"} | more


def on_terminal(*words, columns=80, code=0, **more):
    """What a command writes to a terminal of that width. A command that reads alone is asked once."""
    key = (*map(str, words), columns, *more.items())
    if words[0] != "run" and key in SEEN:
        return SEEN[key]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [*BENCH, *map(str, words)]
    done = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment(**more), close_fds=True)
    os.close(slave)
    found = b""
    try:
        while part := os.read(master, 65536):
            found += part
    except OSError:  # Linux says so when the other end is closed
        pass
    finally:
        os.close(master)
    assert done.wait() == code, found.decode(errors="replace")
    SEEN[key] = found.decode().replace("\r\n", "\n")
    return SEEN[key]


def in_pipe(*words, **more):
    return subprocess.run([*BENCH, *map(str, words)], capture_output=True, text=True, check=True, env=environment(**more)).stdout


def plain(text):
    return ESCAPE.sub("", text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two settings on a terminal, some of whose trials fail: the folder, and what was seen."""
    out = tmp_path_factory.mktemp("terminal") / "runs"
    methods = f"constant,mean-logistic,best-single,{OUTSIDE}:Mine,{OUTSIDE}:Raises"
    asked = ["--methods", methods, "--datasets", "breast-cancer", "--noise", "0.3,0.5", "--seeds", "0-2", "--epochs", "2", "-j", "2"]
    return out, on_terminal("run", *asked, "--out", out, code=1)


def of_board(seen):
    """What follows the last bar."""
    return plain(seen).rpartition("Suite quick")[2]


COMMANDS = {
    "leaderboard": ["leaderboard", "--out", "OUT"],
    "explained": ["leaderboard", "--out", "OUT", "--explain"],
    "compare": ["compare", "mean-logistic", "Mine", "--out", "OUT", "--patterns", "--explain"],
    "show": ["show", "--out", "OUT"],
    "methods": ["list", "methods"],
    "datasets": ["list", "datasets"],
    "suites": ["list", "suites"],
    "card": ["data", "card", "digits"],
    "check": ["data", "check", "breast-cancer"],
    "profile": ["profile", "mean-mlp", "constant", "--dataset", "breast-cancer"],
    "dry-run": ["run", "--suite", "quick", "--methods", "constant,mean-logistic", "--dry-run", "--out", "OUT"],
    "run-help": ["run", "--help"],
}


@pytest.mark.parametrize(("name", "columns"), [*((name, 80) for name in COMMANDS), ("leaderboard", 120), ("compare", 120), ("show", 120)])
def test_nothing_printed_is_wider_than_the_terminal(name, columns, run):
    words = [str(run[0]) if word == "OUT" else word for word in COMMANDS[name]]
    lines = plain(on_terminal(*words, columns=columns)).splitlines()
    addresses = [word for line in lines for word in line.split() if wcwidth.width(word) > columns - 10]  # stay whole, to be copied
    assert [line for line in lines if wcwidth.width(line) > columns and not any(word in line for word in addresses)] == []
    assert "|--" not in "".join(lines)


@pytest.mark.parametrize("columns", [40, 80])
def test_no_number_of_a_board_is_broken(columns, run):
    seen = plain(on_terminal("leaderboard", "--out", run[0], columns=columns))
    assert set(NUMBER.findall(seen)) == set(NUMBER.findall(in_pipe("leaderboard", "--out", run[0])))


def test_what_is_left_out_is_named_with_the_way_to_see_it(run):
    narrow = " ".join(plain(on_terminal("leaderboard", "--out", run[0])).split())
    said = re.search(r"Left out at 80 columns: (.+?)\. (\d+) columns show all; so does `\| less -S`", narrow)
    assert "Gap closed %" in said[1]
    assert "Left out" not in plain(on_terminal("leaderboard", "--out", run[0], columns=250))


@pytest.mark.parametrize("words", [["leaderboard"], ["compare", "mean-logistic", "best-single"]], ids=" ".join)
def test_the_verdict_stands_last(words, run):
    seen = plain(on_terminal(*words, "--out", run[0], "--explain"))
    before, _, verdict = seen.rpartition("\nVerdict\n")
    assert before.count("----") > 0
    assert "---" not in verdict
    assert re.search(r"mean-logistic|best-single", verdict)


def test_a_run_ends_with_its_verdict_and_without_a_glossary(run):
    seen = of_board(run[1])
    assert "How to read this" not in seen
    assert "--explain says how to read the columns" in " ".join(seen.split())
    assert "breast-cancer (MEW), mcar(0.5): " in " ".join(seen.rpartition("\nVerdict\n")[2].split())


def test_the_glossary_comes_when_it_is_asked_for(run):
    assert "How to read this" not in plain(on_terminal("leaderboard", "--out", run[0]))
    assert "How to read this" in plain(on_terminal("leaderboard", "--out", run[0], "--explain"))


def test_a_run_shows_the_settings_that_it_asked_for_alone(run):
    asked = ["--methods", "constant,mean-logistic", "--datasets", "breast-cancer", "--noise", "0.5", "--seeds", "0-2", "--epochs", "2"]
    seen = plain(on_terminal("run", *asked, "--out", run[0]))
    assert "breast-cancer (MEW), mcar(0.5)\n" in seen
    assert "breast-cancer (MEW), mcar(0.3)\n" not in seen
    assert "`bench leaderboard` shows 2 settings" in seen


def test_failed_trials_of_one_reason_are_one_entry(run):
    entries = re.findall(r"^failed, .*", plain(run[1]), flags=re.MULTILINE)
    assert len(entries) == 1
    assert entries[0].startswith("failed, 6 trials: KeyError")
    assert re.search(r"bench\s+show\s+[0-9a-f]{8}\s+--out", plain(run[1]))
    assert plain(run[1]).count("failed Raises") == 1  # while it ran


def test_time_left_is_told_before_the_run_is_over(run):
    assert re.search(r"time left not known yet|about [\d.]+ (?:s|min) left", plain(run[1]))
    assert "30/30 trials" in plain(run[1])


@pytest.mark.parametrize("words", [["leaderboard"], ["show"], ["compare", "mean-logistic", "Mine"]], ids=" ".join)
def test_a_pipe_gets_no_escape_codes_and_the_whole_page(words, run):
    piped = in_pipe(*words, "--out", run[0])
    assert "\x1b" not in piped
    assert "Left out at" not in piped
    fitted = in_pipe(*words, "--out", run[0], COLUMNS="80")
    assert "\x1b" not in fitted
    assert max(map(wcwidth.width, fitted.splitlines())) <= 80


def test_a_piped_board_is_markdown(run):
    piped = in_pipe("leaderboard", "--out", run[0])
    assert piped.startswith("# ")
    assert "\n|" in piped
    assert "## How to read this" in piped


@pytest.mark.parametrize(("key", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_refused(key, value, run):
    assert "\x1b[1m" in on_terminal("leaderboard", "--out", run[0])
    assert "\x1b" not in on_terminal("leaderboard", "--out", run[0], **{key: value})


def test_reasons_that_differ_in_numbers_are_one():
    found = [(f"trial {i}", f"non-finite loss (epoch {i}, batch 5)") for i in range(20)] + [("other", "killed by signal SIGKILL")]
    groups = grouped(found)
    assert [len(group.names) for group in groups] == [20, 1]
    assert groups[0].text == "non-finite loss (epoch 0, batch 5) (numbers differ): trial 0; trial 1; trial 2 and 17 more"


def test_page_keeps_paragraphs_bullets_and_tables_apart():
    found = page(["# Title", "", "one", "two", "- a bullet that goes on", "  and on", "", Table(["n"], [["1"]]), "", "", "", "end"], 20)
    assert plain(found).splitlines() == ["Title", "", "one two", "- a bullet that goes", "  on and on", "", "n", "-", "1", "", "end"]


def test_a_command_is_broken_between_its_words_alone():
    command = "bench run --methods a,b --settings 'digits mcar(0.5)' --noise 0.3"
    lines = command_lines(command, 30)
    assert max(map(len, lines)) <= 30
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert " ".join(line.removesuffix(" \\").strip() for line in lines) == command

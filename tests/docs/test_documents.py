"""README, CONTRIBUTING and docs/: what they tell a reader to type works as it stands, and what they list is what there is.

Blocks of a page run in order in one empty folder, with the committed leaderboards beside them. A block with a title is saved under it.
A `text` block after commands shows their output: each of its lines but `...` must come again, numbers and ids apart. TRIAL stands for
the first trial of the list that a page shows, else of `bench show`. `<!-- not run: reason -->` above a block says why it does not run.
Under `<!-- part of: FILE -->` a block shows lines of a file that the commands before it wrote.
"""

import csv
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytest

import bench
from bench import registry
from bench.data.grammar import PARSERS
from bench.datasets.catalog import DATASETS
from bench.datasets.files import FileDataset
from bench.methods.catalog import PAPER, REFERENCE
from bench.names import Choice
from bench.question.suite import SETTING_KEYS, SUITE_KEYS, Suite

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]
SETUP = ("pip install tox && tox run -e bench", "pip install tox && tox")  # run by CI itself, not from inside it
DIRTY = "uncommitted changes"  # a board of such a checkout claims less: what a page shows is then not compared
NOT_RUN = {  # page -> its blocks that do not run; each says why, and a new one is a decision
    "CONTRIBUTING.md": 1,
    "docs/extend/your-method.md": 1,
    "docs/use/clusters.md": 5,
    "docs/use/data.md": 1,
}
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.docs


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str  # the file it is saved as, empty: none
    reason: str  # why it is not run, empty: it is
    text: str
    whole: str = ""  # the file it is a part of, empty: none


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(name):
    pattern = r"(?:^<!-- (not run|part of): ([^\n]+) -->\n)?^```(\w*)(?: title=\"([^\n]+)\")?\n(.*?)^```$"
    found = re.findall(pattern, read(name), flags=re.DOTALL | re.MULTILINE)
    return [
        Block(language, title, said if what == "not run" else "", text, said if what == "part of" else "")
        for what, said, language, title, text in found
    ]


def prose(name):
    """The page without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", read(name), flags=re.DOTALL | re.MULTILINE))


def commands(text):
    lines = text.replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def run(command, folder):
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def with_trial(command, folder):
    """The command with a finished trial in the place of TRIAL: the first that `bench show` lists there."""
    where = re.search(r"--(?:out|from) \S+", command)
    found = run(f"bench show --json {where[0] if where else ''}", folder)
    return command.replace("TRIAL", next(trial["id"] for trial in json.loads(found)["trials"] if trial["status"] == "done"))


def masked(line):
    """What stays of a printed line on another machine and after other training: words, no numbers, ids and widths."""
    line = re.sub(r"\b[0-9a-f]{8,}\b", "ID", line)
    return " ".join(re.sub(r"[-+]?\d[\d.,]*(e[-+]\d+)?", "#", re.sub(r"-{2,}:?|:-+|\|", " ", line)).split())


CHECKS = {"toml": tomllib.loads, "json": json.loads, "csv": lambda text: list(csv.DictReader(text.splitlines()))}


def walk(name, folder):
    """Do what a page says, block by block. Raises: AssertionError at the first that does not work."""
    (folder / "leaderboards").mkdir()
    for board in (ROOT / "leaderboards").glob("*/suite.toml"):
        (folder / "leaderboards" / board.parent.name).symlink_to(board.parent)
    printed = shown = ""
    for block in blocks_of(name):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        if block.whole:
            assert block.text in (folder / block.whole).read_text(encoding="utf-8"), f"{name} shows lines that {block.whole} does not hold"
            continue
        if block.language in CHECKS:
            assert CHECKS[block.language](block.text)
        if block.reason:
            continue
        if block.language == "python" and not block.title:
            (folder / "block.py").write_text(block.text, encoding="utf-8")
            printed = run(f"{sys.executable} block.py", folder)
        elif block.language == "bash":
            printed = ""
            for command in commands(block.text):
                assert command in SETUP or command.startswith("bench "), f"{name} tells to type {command!r}, which this test does not know"
                if "TRIAL" in command:
                    command = command.replace("TRIAL", shown) if shown and "--" not in command else with_trial(command, folder)
                if command not in SETUP:
                    printed += run(command, folder)
            shown = next(iter(re.findall(r"^[0-9a-f]{16}\b", printed, flags=re.MULTILINE)), shown)  # the first trial of a list
        elif block.language == "text" and DIRTY not in printed:
            came = {masked(line) for line in printed.splitlines()}
            wanted = [masked(line) for line in block.text.splitlines() if line.strip() not in ("", "...")]
            assert [line for line in wanted if line not in came] == [], f"{name} shows output that does not come any more"


@pytest.fixture(scope="module")
def walks(request, tmp_path_factory):
    """The walk through each chosen page, as many at once as there are cores: most of their time is the start of processes."""
    names = [item.callspec.params["name"] for item in request.session.items if item.originalname == "test_blocks_run_in_order"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(walk, name, tmp_path_factory.mktemp("page")) for name in names}


@pytest.mark.parametrize("name", [name for name in PAGES if any(block.language in ("bash", "python") for block in blocks_of(name))])
def test_blocks_run_in_order(name, walks):
    walks[name].result()


def test_blocks_that_do_not_run_are_counted():
    """Each has its reason on the page; a new one is listed here or runs."""
    assert {name: n for name in PAGES if (n := sum(bool(block.reason) for block in blocks_of(name)))} == NOT_RUN
    comments = sum(read(name).count("<!-- not run") for name in PAGES)
    assert comments == sum(NOT_RUN.values()), "a comment `<!-- not run: reason -->` stands directly above its block"


def test_every_fence_is_a_block_that_is_seen():
    for name in PAGES:
        fences = len(re.findall(r"^\s*```", read(name), flags=re.MULTILINE))
        assert fences == 2 * len(blocks_of(name)), f"a fence of {name} is indented or not closed"


# README


def test_readme_opens_with_the_two_setup_commands():
    found = [command for block in blocks_of("README.md") if block.language == "bash" for command in commands(block.text)]
    assert found[:2] == list(SETUP)
    environments = re.findall(r"^\[testenv:(\w+)\]", read("tox.ini"), flags=re.MULTILINE)
    assert {"py", "bench", "lint", "types", "docs"} <= set(environments)


def test_readme_is_short():
    lines = read("README.md").splitlines()
    assert len(lines) <= 100
    texts = re.sub(r"^```.*?^```$", "", read("README.md"), flags=re.DOTALL | re.MULTILINE).splitlines()
    assert [line for line in texts if len(line) > 130 and not line.startswith(("|", "!["))] == []


def test_readme_counts_what_the_catalogs_hold():
    files = sum(isinstance(registry.dataset_of(Choice(name)), FileDataset) for name in DATASETS)
    words = {4: "four", 6: "six", 11: "eleven", 12: "twelve"}
    assert f"{words[len(DATASETS) - files]} datasets come along, {words[files]} more are read" in read("README.md")
    assert f"the {words[len(PAPER)]} papers, {words[len(REFERENCE)]} reference methods" in read("README.md")


def table_of(text):
    """A markdown table, a dictionary a row."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_readme_table_is_narrow():
    assert {len(row) for row in table_of(read("README.md"))} <= set(range(1, 7))  # docs/sources/readme.py writes it


# Links


def slugs(name):
    """Anchors of a page, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", read(name), flags=re.DOTALL | re.MULTILINE), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*PAGES, "CHANGELOG.md", "leaderboards/README.md"])
def test_links_lead_somewhere(name):
    folder, dead = (ROOT / name).parent, []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        page = (folder / path).resolve() if path else ROOT / name
        is_there = page.exists() and (not anchor or anchor in slugs(page.relative_to(ROOT).as_posix()))
        dead += [] if is_there else [target]
    assert dead == []


def test_map_names_every_page():
    linked = {(ROOT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)\)", read("docs/README.md"))}
    assert [name for name in DOCS if name != "docs/README.md" and (ROOT / name) not in linked] == []


# What pages list


def keys_of(section):
    return {match[1]: table for table in table_of(section) if (match := re.match(r"`(\w+)`$", table["key"]))}


def test_page_of_suites_lists_every_key():
    page = read("docs/use/suites.md")
    suite = keys_of(page.partition("\n## Keys of a suite\n")[2].partition("\n## ")[0])
    settings = keys_of(page.partition("\n## Keys of a `[[settings]]` table\n")[2].partition("\n## ")[0])
    assert set(suite) == set(SUITE_KEYS)
    assert set(settings) == set(SETTING_KEYS)
    stated = {key: tomllib.loads(f"x = {row['default'].strip('`')}")["x"] for key, row in suite.items() if row["default"].startswith("`")}
    plain = {field.name: field.default for field in fields(Suite) if isinstance(field.default, str | int | float) and field.default != ""}
    assert {key: stated[key] for key in plain} == plain


def test_page_of_protocols_names_every_term():
    page = read("docs/use/protocols.md")
    assert [term for term in PARSERS if not re.search(rf"^- `{term}\b", page, flags=re.MULTILINE)] == []


def test_model_with_its_own_recipe_takes_under_thirty_lines():
    (model,) = [block for block in blocks_of("docs/extend/your-model.md") if block.title == "my_model.py"]
    commands_of_page = [block.text for block in blocks_of("docs/extend/your-model.md") if block.language == "bash"]
    assert all(f"def {hook}(" in model.text for hook in ("optimiser", "loss"))
    assert any(command.startswith("bench audit my_model.py:") for command in commands_of_page)
    assert len(model.text.splitlines()) + len("\n".join(commands_of_page).splitlines()) < 30


def test_page_of_a_model_names_every_hook():
    from bench.training.recipe import HOOKS

    page = read("docs/extend/your-model.md")
    assert [hook for hook in HOOKS if f"`{hook}(self" not in page] == []


def test_page_of_python_shows_every_function():
    page = read("docs/use/python.md")
    assert [name for name in bench._API if f"bench.{name}(" not in page] == []
    assert all(inspect.getdoc(getattr(bench, name)) for name in bench._API)  # the reference is made of them
    reference = read("docs/use/reference.md")
    members = [name for line in re.findall(r"members: \[(.*)\]", reference) for name in line.split(", ")]
    assert sorted(members) == sorted(bench._API)


def test_architecture_names_every_room():
    rooms = {path.parent.name for path in (ROOT / "bench").glob("*/*.*") if path.suffix in (".py", ".toml")}
    page = read("docs/architecture.md")
    assert [room for room in rooms if not re.search(rf"^### .*`{room}/?`", page, flags=re.MULTILINE)] == []


def test_architecture_lists_the_arrows_that_are_allowed():
    listed = {
        row["room"].strip("`"): set(re.findall(r"`(\w+)`", row["may use, beside the ground"]))
        for row in table_of(read("docs/architecture.md"))
    }
    table = read("tests/test_structure.py").partition("ARROWS = {")[2].partition("}")[0]
    assert listed == {room: set(rooms.split()) - {"ground"} for room, rooms in re.findall(r'"(\w+)": "([\w ]*)",', table)}

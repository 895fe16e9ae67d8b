"""README.md and CONTRIBUTING.md: what they tell a reader to type works as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ("pip install tox && tox run -e bench", "pip install tox && tox")  # run by CI itself, not from inside it
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.docs


def blocks(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(name):
    lines = "".join(blocks(name, "bash")).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def run(command, folder):
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_and_blocks_run_in_order(name, tmp_path):
    for block in blocks(name, "python"):
        title = re.match(r"# (\w+\.py)\n", block)
        path = tmp_path / (title[1] if title else "block.py")
        path.write_text(block, encoding="utf-8")
        if not title:
            run(f"{sys.executable} {path}", tmp_path)
    found = [command for command in commands(name) if command not in SETUP]
    assert found
    for command in found:
        assert command.startswith("bench "), f"{name} tells a reader to type {command!r}, which this test does not know"
        run(command, tmp_path)


def test_readme_opens_with_the_two_setup_commands():
    assert commands("README.md")[:2] == list(SETUP)
    environments = re.findall(r"^\[testenv:(\w+)\]", (ROOT / "tox.ini").read_text(), flags=re.MULTILINE)
    assert {"py", "bench", "lint", "types", "docs"} <= set(environments)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []

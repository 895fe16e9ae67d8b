"""bench/registry/text.py: what counts in a source text, and a digest that no version of Python changes."""

import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from bench.registry import text
from bench.registry.text import canonical, digest

MODULE = Path(text.__file__)

TRICKY = '''# -*- coding: utf-8 -*-
"""Doc — of the module."""
from __future__ import annotations

WIDTH, NAMES = 3, {'a': "b", "c": 'd'}  # why


def shown(x: float, *, unit="µm", **more) -> str:
    r"""Doc \\d."""
    text = f"{x!r:>{WIDTH}} {more['unit'] if more else 'none'} {{}}" "joined" f\'\'\'{
        x + 1}\'\'\'; print(text)
    é = [y for y in (1, 2,
                     3) if y]
    return text \\
        if é else rf"\\d{x:.{WIDTH}f}"


class Net(Method):
    """Doc."""
    paper = "A (2020)"
    search = {"width": (8, 16)}
    deviations: tuple = (
        "none",
    )
    async def go(self):
        \'\'\'Doc.\'\'\'
        match self.width:
            case [1, *_] | {"k": 2}:
                return lambda a, /, b=(1,): a @ b
        try:
            pass
        except* ValueError:
            ...
'''
STORED = "f13b37cd992b"  # of TRICKY, from Python 3.11


def test_digest_of_a_text_is_the_stored_one():
    assert digest(TRICKY)[:12] == STORED


def others() -> list[str]:
    """Other Pythons of 3.11 and later that this machine has."""
    found = [shutil.which(f"python3.{minor}") for minor in range(11, 20) if minor != sys.version_info.minor]
    versions = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[1-9]*/bin/python"))
    names = [*(name for name in found if name), *map(str, versions)]
    return [name for name in names if subprocess.run([name, "-c", ""], capture_output=True).returncode == 0]


SAME = """
import importlib.util, sys
from pathlib import Path
specification = importlib.util.spec_from_file_location("text", sys.argv[1])
text = importlib.util.module_from_spec(specification)
specification.loader.exec_module(text)
for path in sys.argv[2:]:
    print(text.digest(Path(path).read_text(encoding="utf-8")))
"""


def test_every_other_python_here_gives_every_method_the_same_digest(tmp_path):
    pythons = others()
    if not pythons:
        pytest.skip("no other Python of 3.11 or later is on this machine")
    (tmp_path / "tricky.py").write_text(TRICKY, encoding="utf-8")
    root = Path(__file__).resolve().parents[2]
    paths = [tmp_path / "tricky.py", *sorted((root / "methods").glob("*.py"))]
    mine = [digest(path.read_text(encoding="utf-8")) for path in paths]
    for python in pythons:
        done = subprocess.run([python, "-c", SAME, str(MODULE), *map(str, paths)], capture_output=True, text=True, check=True)
        assert done.stdout.split() == mine, python


def test_f_strings_count_as_they_stand_where_the_tokenizer_takes_them_apart(monkeypatch):
    """Python 3.12 gives an f-string as start, middle, expression and end; here each way stands for the other."""
    source = "x = f'{a!r:>{w}} b' + 'c'\n"
    whole = tokenize.generate_tokens(iter(source.splitlines(True)).__next__)
    apart = []
    for found in whole:
        if found.string.startswith("f'"):
            (row, begin), end = found.start, found.end
            kinds = [(901, "f'", begin), (1, "a", begin + 3), (901, "f'", begin + 4), (902, "'", begin + 5), (902, "'", end[1] - 1)]
            apart += [tokenize.TokenInfo(kind, word, (row, at), (row, at + 1), source) for kind, word, at in kinds]
        elif found.type not in (901, 902):
            apart.append(found)
    expected = canonical("x = f'{a!r:>{w}} b' + 'c'\n")
    monkeypatch.setattr(text, "OPENING", {901})
    monkeypatch.setattr(text, "CLOSING", {902})
    monkeypatch.setattr(text.tokenize, "generate_tokens", lambda _: iter(apart))
    assert canonical(source) == expected == "x = f'{a!r:>{w}} b' + 'c'"


PLAIN = "class A(Method):\n    def forward(self, batch):\n        return f(batch, 1)\n"


@pytest.mark.parametrize(
    "same",
    [
        "'''Doc.'''\n# why\nclass A( Method ):\n  '''Doc.'''\n\n  def forward(self,batch):\n\n     return f( batch,1 )  # why\n",
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("    def", "    paper: str = 'B'\n    search = {'width': (8,)}\n    def"),
        PLAIN.replace("f(batch, 1)", "f(\n            batch,\n            1)"),
    ],
    ids=["comments, docstrings, blanks", "line ends", "stated facts", "broken lines"],
)
def test_what_moves_no_number_does_not_count(same):
    assert digest(same) == digest(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("1", "2"),
        PLAIN.replace("return", "return not"),
        PLAIN.replace("        return", "        if batch:\n            return"),
        PLAIN.replace("    def", "    presets = {'paper': {}}\n    def"),
        PLAIN.replace("f(batch, 1)", "'# no comment'"),
        PLAIN.replace("    def", "    search = width = 8\n    def"),
        PLAIN.replace("    def", "    year = 8\n    def").replace("1)", "self.year)"),
        PLAIN.replace("(Method)", "") + "    year = 8\n",
    ],
    ids=["number", "word", "indent", "presets", "text", "two names", "fact that is read", "no method"],
)
def test_what_may_move_a_number_counts(other):
    assert digest(other) != digest(PLAIN)


def test_lines_that_only_a_tokenizer_splits_keep_their_places():
    """A form feed and a line separator end no line of Python."""
    assert canonical("a = 'x\x0c\u2028y'\ndef f():\n    '''Doc µ.'''; b = 1\n") == "a = 'x\x0c\u2028y'\ndef f ( ) :\n{\n; b = 1\n}"

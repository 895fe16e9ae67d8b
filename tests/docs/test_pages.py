"""docs/sources/pages.py: what is generated is what its sources say."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = [
    "README.md",
    "docs/evidence/choosing.md",
    "docs/evidence/claims.md",
    "docs/evidence/errors.md",
    "docs/evidence/fidelity.md",
    "docs/evidence/moe-retriever.csv",
    "docs/evidence/paper-under-test.md",
    "docs/evidence/speed.md",
]


@pytest.fixture(scope="module")
def pages(source):
    return source("pages")


@pytest.mark.parametrize("name", GENERATED)
def test_committed_page_is_what_its_source_says(name, pages):
    assert (ROOT / name).read_text(encoding="utf-8") == pages.PAGES[ROOT / name](), f"{name} is stale: python docs/sources/pages.py"


def test_every_generated_page_is_tested(pages):
    assert {path.relative_to(ROOT).as_posix() for path in pages.PAGES} == set(GENERATED)


def test_picture_shows_the_numbers_of_its_board(source):
    assert not source("readme").is_stale(), "docs/pictures/ranks-real.svg is stale: python docs/sources/readme.py"


def test_check_names_stale_pages_and_leaves_them(pages, tmp_path, monkeypatch, capsys):
    readme = pages.readme
    fresh, stale, absent = (tmp_path / name for name in ("fresh.md", "stale.md", "absent.md"))
    fresh.write_text("a\n", encoding="utf-8")
    stale.write_text("b\n", encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "PICTURE", tmp_path / "picture.svg")
    monkeypatch.setattr(readme, "is_stale", lambda: not readme.PICTURE.exists())
    monkeypatch.setattr(readme, "write_picture", lambda: readme.PICTURE.write_text("drawn"))
    monkeypatch.setattr(pages, "PAGES", dict.fromkeys((fresh, stale, absent), lambda: "a\n"))
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == ["ok     fresh.md", "stale  stale.md", "stale  absent.md", "stale  picture.svg"]
    assert (stale.read_text(encoding="utf-8"), absent.exists()) == ("b\n", False)
    assert pages.main([]) == 0
    capsys.readouterr()
    assert pages.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines() == ["ok     fresh.md", "ok     stale.md", "ok     absent.md", "ok     picture.svg"]


def test_other_arguments_are_refused(pages, capsys):
    assert pages.main(["--render"]) == 2
    assert "takes nothing or --check, got --render" in capsys.readouterr().err

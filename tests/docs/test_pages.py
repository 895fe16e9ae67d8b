"""docs/sources/pages.py: what is generated is what its sources say."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = [
    "docs/evidence/choosing.md",
    "docs/evidence/claims.md",
    "docs/evidence/fidelity.md",
    "docs/evidence/moe-retriever.csv",
    "docs/evidence/paper-under-test.md",
]


@pytest.fixture(scope="module")
def pages(source):
    return source("pages")


@pytest.mark.parametrize("name", GENERATED)
def test_committed_page_is_what_its_source_says(name, pages):
    assert (ROOT / name).read_text(encoding="utf-8") == pages.PAGES[ROOT / name](), f"{name} is stale: python docs/sources/pages.py"


def test_every_generated_page_is_tested(pages):
    assert [str(path.relative_to(ROOT)) for path in sorted(pages.PAGES)] == GENERATED


def test_check_names_stale_pages_and_leaves_them(pages, tmp_path, monkeypatch, capsys):
    fresh, stale, absent = (tmp_path / name for name in ("fresh.md", "stale.md", "absent.md"))
    fresh.write_text("a\n", encoding="utf-8")
    stale.write_text("b\n", encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGES", dict.fromkeys((fresh, stale, absent), lambda: "a\n"))
    assert pages.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == ["ok     fresh.md", "stale  stale.md", "stale  absent.md"]
    assert (stale.read_text(encoding="utf-8"), absent.exists()) == ("b\n", False)
    assert pages.main([]) == 0
    capsys.readouterr()
    assert pages.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines() == ["ok     fresh.md", "ok     stale.md", "ok     absent.md"]


def test_other_arguments_are_refused(pages, capsys):
    assert pages.main(["--render"]) == 2
    assert "takes nothing or --check, got --render" in capsys.readouterr().err

"""docs/sources/site_hook.py: one link is right on GitHub and in the site."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs", reason="the site is built with the extra docs")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def site():
    specification = importlib.util.spec_from_file_location("site_hook", ROOT / "docs" / "sources" / "site_hook.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def turned(site, tmp_path):
    """A page's text as the site takes it; the repository has a board, a page of docs, a suite and a README."""
    for name in ("leaderboards/real/README.md", "docs/use/data.md", "suites/quick.toml", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    files = [SimpleNamespace(src_uri=uri) for uri in ("README.md", "use/data.md", "leaderboards/real/README.md", "CHANGELOG.md")]
    config = SimpleNamespace(docs_dir=str(tmp_path / "docs"))

    def turn(text, source="evidence/page.md", joined=None):
        page = SimpleNamespace(file=SimpleNamespace(src_uri=source, generated_by=joined), meta={})
        return site.on_page_markdown(text, page, config, files)

    return turn


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[board](../../leaderboards/real/README.md#x)", "[board](../leaderboards/real/README.md#x)"),
        ("[board](../../leaderboards/real)", "[board](../leaderboards/real/README.md)"),
        ("[data](../use/data.md)", "[data](../use/data.md)"),
        ("[here](#there)", "[here](#there)"),
        ("[paper](https://arxiv.org/abs/1)", "[paper](https://arxiv.org/abs/1)"),
        ("[a suite](../../suites/quick.toml)", "a suite (`suites/quick.toml`)"),
        ("[`suites/quick.toml`](../../suites/quick.toml)", "`suites/quick.toml`"),
        ("[start](../../README.md)", "start (`README.md`)"),
        ("`[no](../../link.md)`", "`[no](../../link.md)`"),
    ],
)
def test_link_of_a_page_leads_to_the_same_thing_in_the_site(turned, text, expected):
    assert turned(text) == expected


def test_link_of_a_page_outside_docs_finds_docs(turned):
    assert turned("[data](../docs/use/data.md)", "leaderboards/README.md", "site") == "[data](../use/data.md)"
    assert turned("[data](docs/use/data.md)", "CHANGELOG.md", "site") == "[data](use/data.md)"


def test_link_to_nothing_is_a_warning_which_ends_a_strict_build(turned, caplog):
    turned("[gone](../../suites/slow.toml)")
    assert "docs/evidence/page.md links to ../../suites/slow.toml, and there is no suites/slow.toml" in caplog.text


def test_tables_inside_a_fold_are_rendered(turned):
    assert turned("<details>\n", "leaderboards/real/README.md", "site") == "<details markdown>\n"

"""A headless Chromium for the tests of pages; where there is none, they are skipped with the reason."""

import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium():
    """A browser of this machine, driven by playwright; nothing is downloaded."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install 'missing-modality-bench[test]'")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH; apt-get install chromium")
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """A page that was opened from a file, with all that went wrong in it."""

    def __init__(self, context, path: Path, address: str = "") -> None:
        self.page = context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda message: self.troubles.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("request", lambda request: self.troubles.append(f"asks for {request.url}") if self._is_foreign(request.url) else None)
        self.open(path, address)

    @staticmethod
    def _is_foreign(url: str) -> bool:
        return not url.startswith(("file:", "data:"))

    def open(self, path: Path, address: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(f"file://{path}{address}")
        self.ready()

    def ready(self) -> None:
        """Waits until every plot is drawn."""
        self.page.locator("html:not([data-ready=no])").wait_for(state="attached")

    def column(self, table: str, title: str) -> list[str]:
        """The texts of a column, from the top."""
        return self.page.evaluate(
            """([table, title]) => {
                const heads = [...document.querySelectorAll(`#${table} thead th`)].map((head) => head.textContent);
                return [...document.querySelectorAll(`#${table} tbody tr`)].map((row) => row.children[heads.indexOf(title)].textContent);
            }""",
            [table, title],
        )

    def text(self, id_: str) -> str:
        return self.page.locator(f"#{id_}").text_content()

    @property
    def address(self) -> str:
        return self.page.evaluate("location.hash")


@pytest.fixture
def opened(chromium):
    """Opens a page of a site; `opened(path, address, width=375, color_scheme="dark")`. No test ends with an error in the console."""
    contexts, pages = [], []

    def open_(path, address="", width=1280, **options):
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, **options))
        contexts[-1].set_default_timeout(60_000)
        pages.append(Page(contexts[-1], path, address))
        return pages[-1]

    yield open_
    for context in contexts:
        context.close()
    assert [trouble for page in pages for trouble in page.troubles] == []

"""Hook of mkdocs.yml: pages of the repository that docs/ links to join the site, so that one link is right there and on GitHub.

`CHANGELOG.md`, `CONTRIBUTING.md` and the pages and plots of `leaderboards/` become pages of the site. A link from docs/ to any other file
of the repository is shown as its path. A link to what does not exist ends a strict build, like every broken link.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

JOINING = ("CHANGELOG.md", "CONTRIBUTING.md", "leaderboards/**/*.md", "leaderboards/**/*.svg")  # relative to the repository
LINK = r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)"
LINK_OR_CODE = re.compile(rf"^```.*?^```$|{LINK}|`[^`\n]+`", re.DOTALL | re.MULTILINE)  # whichever begins first

log = logging.getLogger("mkdocs.hooks.site")  # what it warns of ends a strict build


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the joining pages, each at its place in the repository."""
    root = Path(config.docs_dir).parent
    for path in sorted(found for pattern in JOINING for found in root.glob(pattern)):
        files.append(File.generated(config, path.relative_to(root).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with every link to a file of the repository turned into one of the site."""
    root = Path(config.docs_dir).parent
    if page.file.generated_by:  # a joining page
        place = page.file.src_uri
        page.meta["search"] = {"exclude": place.startswith("leaderboards/")}  # tables of numbers, which would bury the rest
        markdown = markdown.replace("<details>", "<details markdown>")
    else:
        place = f"docs/{page.file.src_uri}"
    known = {file.src_uri for file in files}
    return LINK_OR_CODE.sub(lambda match: _turned(match, place, page.file.src_uri, known, root), markdown)


def _turned(match: re.Match[str], place: str, source: str, known: set[str], root: Path) -> str:
    """One link; code stays. `place` is the page's path in the repository, `source` its path in the site."""
    image, text, target = match["image"], match["text"], match["target"] or ""
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return match[0]
    found = posixpath.normpath(posixpath.join(posixpath.dirname(place), path))
    if (root / found).is_dir():
        found = f"{found}/README.md"
    uri = found.removeprefix("docs/")
    if uri in known and (found.startswith("docs/") or found != "README.md"):
        return f"{image}[{text}]({posixpath.relpath(uri, posixpath.dirname(source) or '.')}{hash_}{anchor})"
    if not (root / found).exists():
        log.warning("%s links to %s, and there is no %s", place, target, found)
        return match[0]
    return f"`{found}`" if text.strip("`") == found else f"{text} (`{found}`)"

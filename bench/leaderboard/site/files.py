"""A site as files: one page a board, a page that lists them where there are several, and whether pages still say what the boards say."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.leaderboard.board import build
from bench.leaderboard.site.data import FORM, site_data
from bench.leaderboard.site.page import MARK, board_page, check_can_render, data_in, index_page
from bench.leaderboard.tables import significance_json, table_csv
from bench.records.answers import Answers
from bench.records.folder import Folder, answers_of
from bench.records.pieces import is_published, text_of
from bench.records.public import public
from bench.records.scoring import agreeing

INDEX = "index.html"


@dataclass(frozen=True)
class PageMismatch:
    """A value of a page that its board does not give."""

    page: str
    where: str  # the way to it in the page's JSON
    shown: object
    fresh: object

    def __str__(self) -> str:
        return f"{self.page}: {self.where} is {_short(self.shown)}, of its board now {_short(self.fresh)}"


@dataclass(frozen=True)
class CheckedSite:
    """What does not agree in a site: nothing, if it is as it should be."""

    stale: tuple[Path, ...]  # pages that do not say what their boards say now
    mismatches: tuple[PageMismatch, ...]
    unchecked: str = ""


def published_data(folder: Path) -> dict[str, Any]:
    """The values of the page of a published folder: from its records, its table and its tests. Raises: UsageError if one is absent."""
    with Folder(folder) as found:
        answers = found.answers()
    table, tests = (_read(folder / name) for name in ("table.csv", "significance.json"))
    source = _named_from_here(folder, answers.folder)
    return _checked_data(answers, table, tests, source, f"--from {shlex.quote(source)}", {}, folder)


def results_data(out: Path, suite: str | None = None, metric: str | None = None) -> dict[str, Any]:
    """The values of the page of a results folder, as `--publish` would write them. Raises: UsageError if it cannot be read."""
    answers = agreeing(public(answers_of(out, suite=suite).by(metric)))
    board = build(answers)
    source = _named_from_here(out, out.name)
    option = "" if source == "runs" else f"--out {shlex.quote(source)}"
    asked = {key: value for key, value in (("suite", suite), ("metric", metric)) if value is not None}
    return _checked_data(answers, table_csv(board), significance_json(board), source, option, asked, out)


def _checked_data(
    answers: Answers, table: str, significance: str, source: str, option: str, asked: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    """Raises: UsageError if the files of a board do not belong together."""
    try:
        return site_data(answers, table, significance, source, option) | {"asked": dict(asked)}
    except (KeyError, ValueError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
        way = f"`bench leaderboard --render {shlex.quote(str(folder))}` writes them anew"
        raise UsageError(f"table, tests and records of {folder} do not belong together ({problem}); {way}") from error


def _read(path: Path) -> str:
    try:
        return text_of(path)
    except (OSError, ValueError) as error:
        way = f"`bench leaderboard --render {shlex.quote(str(path.parent))}` writes it"
        raise UsageError(f"{path} cannot be read ({type(error).__name__}), and a page is made from it; {way}") from None


def _named_from_here(folder: Path, otherwise: str) -> str:
    """A folder as a command names it: from where it is typed, or, lying elsewhere, without its place on this machine."""
    here, there = Path.cwd().resolve(), folder.resolve()
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else otherwise


def write_site(site: Path, boards: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write the pages of these boards; of one it is index.html itself. Pages of ours that no longer belong to it go.

    Raises: UsageError if two boards would share a page, or the folder holds a board.
    """
    check_can_render()
    if is_published(site):
        raise UsageError(f"{site} is a published board; write its page to a folder of its own")
    pages = {name: board_page(data) for name, data in _by_page(boards).items()}
    if len(boards) > 1:
        pages[INDEX] = index_page(_index_data(_by_page(boards)))
    site.mkdir(parents=True, exist_ok=True)
    for path in _ours(site):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (site / name).write_text(text, encoding="utf-8")
    return [site / name for name in sorted(pages)]


def _by_page(boards: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    if len(boards) == 1:
        return {INDEX: boards[0]}
    found: dict[str, Mapping[str, Any]] = {}
    for data in boards:
        source = data["board"]["source"]
        name = re.sub(r"[^\w.-]+", "-", source.rstrip("/").rpartition("/")[2]) or "board"
        name = f"board-{name}.html" if name.lower() == "index" else f"{name}.html"
        if name.lower() in {known.lower() for known in found}:
            raise UsageError(f"two boards would share the page {name}, the second is {source}; give each folder a name of its own")
        found[name] = data
    return found


def _index_data(pages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the list says of each board."""
    entries = []
    for name, data in pages.items():
        board, settings = data["board"], data["settings"]
        entries.append(
            {
                "page": name,
                "title": board["title"],
                "source": board["source"],
                "metric": board["metric"],
                "datasets": list(dict.fromkeys(setting["dataset"] for setting in settings)),
                "settings": len(settings),
                "methods": sum(method["role"] not in ("floor", "ceiling") for method in data["methods"]),
                "trials": len(data["trials"]),
                "synthetic": all(setting["synthetic"] for setting in settings),
            }
        )
    return {"form": FORM, "boards": entries}


def is_site(folder: Path) -> bool:
    """Whether `--site` wrote this folder."""
    return not is_published(folder) and bool(_ours(folder))


def _ours(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.html")) if MARK in path.read_text(encoding="utf-8", errors="replace")]


def checked_site(site: Path) -> CheckedSite:
    """Pages that do not say what their boards say now, and where: values are compared, not the bytes of libraries.

    Boards are looked for from here and from the site's folder upwards. Of the list of boards, which has no script, every byte is
    compared. Raises: UsageError if a board is not there.
    """
    mismatches: list[PageMismatch] = []
    pages: dict[str, Mapping[str, Any]] = {}
    listed: Path | None = None
    for path in _ours(site):
        try:
            shown = data_in(path.read_text(encoding="utf-8"))
        except ValueError as error:
            mismatches.append(PageMismatch(path.name, "the page", f"not read ({error})", "values as JSON"))
            continue
        if not isinstance(shown, dict) or shown.get("form") != FORM:
            mismatches.append(PageMismatch(path.name, "form", shown.get("form") if isinstance(shown, dict) else None, FORM))
        elif "boards" in shown:
            listed = path
        else:
            pages[path.name] = _fresh(site, path, shown)
            mismatches += [PageMismatch(path.name, *found) for found in _differences("", shown, pages[path.name])]
    if listed is not None and not mismatches and listed.read_text(encoding="utf-8") != index_page(_index_data(_in_order(listed, pages))):
        mismatches.append(PageMismatch(listed.name, "the list", "other boards or words", "what its pages say"))
    stale = {mismatch.page for mismatch in mismatches}
    return CheckedSite(tuple(site / name for name in sorted(stale)), tuple(mismatches))


def _in_order(listed: Path, pages: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The pages in the order of the list, those that it lacks behind."""
    named = [entry.get("page") for entry in data_in(listed.read_text(encoding="utf-8"))["boards"]]
    return {name: pages[name] for name in [*(name for name in named if name in pages), *(name for name in pages if name not in named)]}


def _fresh(site: Path, page: Path, shown: Mapping[str, Any]) -> dict[str, Any]:
    source, asked = str(shown.get("board", {}).get("source", "")), shown.get("asked", {})
    for base in (Path(), *site.resolve().parents):
        folder = base / source
        if is_published(folder):
            return _as_named(published_data(folder), shown)
        if (folder / "bench.db").exists():
            return _as_named(results_data(folder, asked.get("suite"), asked.get("metric")), shown)
    raise UsageError(f"{page} shows {source!r}, which is neither here nor above the site; check it where that board lies")


def _as_named(fresh: dict[str, Any], shown: Mapping[str, Any]) -> dict[str, Any]:
    """The same values as of where the page was made: whence it is checked changes no number."""
    known = {key: shown["board"][key] for key in ("source", "option") if key in shown["board"]}
    return fresh | {"board": fresh["board"] | known}


def _differences(where: str, shown: Any, fresh: Any) -> Iterator[tuple[str, object, object]]:
    """Each place at which two JSON values differ."""
    if isinstance(shown, dict) and isinstance(fresh, dict):
        for key in dict.fromkeys([*shown, *fresh]):
            yield from _differences(f"{where}.{key}".lstrip("."), shown.get(key), fresh.get(key))
    elif isinstance(shown, list) and isinstance(fresh, list) and len(shown) == len(fresh):
        for i, (a, b) in enumerate(zip(shown, fresh, strict=True)):
            yield from _differences(f"{where}[{i}]", a, b)
    elif shown != fresh:
        yield where, shown, fresh


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

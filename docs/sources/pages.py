"""Writes every generated page of docs/, the tables in README.md and speed.md and the picture, or says which are stale.

python docs/sources/pages.py              writes them all
python docs/sources/pages.py --check      names those that are not what their sources say; exit code 1 if there are some
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import choosing
import claims
import errors
import fidelity
import moe_retriever_tables
import paper_report
import readme
import speed
from standings import ROOT

PAGES: Mapping[Path, Callable[[], str]] = {
    choosing.PAGE: choosing.page,
    claims.PAGE: claims.page,
    errors.PAGE: errors.page,
    fidelity.PAGE: fidelity.page,
    paper_report.PAGE: paper_report.page,
    moe_retriever_tables.BESIDE: moe_retriever_tables.beside,
    readme.PAGE: readme.page,
    speed.PAGE: speed.page,
}


def stale() -> list[Path]:
    """Pages that are absent or not what their sources say, byte for byte; the picture if it does not show the numbers of its board."""
    texts = [path for path, text in PAGES.items() if not path.exists() or path.read_bytes() != text().encode()]
    return texts + [readme.PICTURE] * readme.is_stale()


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"Error: pages.py takes nothing or --check, got {' '.join(arguments)}\n")
        return 2
    if not arguments:
        for path, text in PAGES.items():
            path.write_text(text(), encoding="utf-8")
        readme.write_picture()
        sys.stdout.writelines(f"wrote  {path.relative_to(ROOT)}\n" for path in (*PAGES, readme.PICTURE))
        return 0
    found = stale()
    for path in (*PAGES, readme.PICTURE):
        sys.stdout.write(f"{'stale' if path in found else 'ok   '}  {path.relative_to(ROOT)}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

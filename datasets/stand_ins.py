"""What lies where a data file should: pointers that a clone holds without its large files, and pages that a failed download left.

Every reader asks `refuse_stand_in` before it begins, so that such a file is named for what it is and not for what it fails to be.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from bench.datasets.base import DataError

HEAD = 1024  # bytes looked at; a Git LFS pointer is shorter (git-lfs, docs/spec.md)
_LFS = re.compile(r"version https://(?:git-lfs|hawser)\.github\.com/spec/")
_ANNEX = re.compile(r"/annex/objects/\S+")
_HTML = re.compile(r"<(?:!doctype\s|!--|html\b|head\b|body\b)", re.IGNORECASE)
_XML = re.compile(r"<(?:\?xml\b|error\b)", re.IGNORECASE)
_NOT_FOUND = re.compile(r"404: Not Found\s*\Z")  # all that raw.githubusercontent.com says
_TITLE = re.compile(r"<(title|code)\b[^>]*>([^<]*)</\1>", re.IGNORECASE)  # of a page; a file store puts its reason into <Code>


def refuse_stand_in(path: Path, inside: bytes | None = None) -> None:
    """Look at the first bytes of a file, or at those `inside` it once unpacked.

    Raises: DataError if it is a pointer or a page; OSError if it cannot be read.
    """
    if inside is None:
        with path.open("rb") as stream:
            inside = stream.read(HEAD)
    found = stand_in_of(inside)
    if found:
        raise DataError(f"{path} is {found}")


def stand_in_of(head: bytes) -> str:
    """What a file that begins so is instead of data, with the way on; "" if nothing speaks against data.

    >>> stand_in_of(b"version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 14158784\\n")
    'a Git LFS pointer, not the data (14158784 bytes): run `git lfs pull`, or get the file from its source'
    >>> stand_in_of(b"subject_id,hadm_id\\n")
    ''
    """
    text = _text(head[:HEAD])
    if _LFS.match(text):
        size = re.search(r"^size (\d{1,18})\s*$", text, re.MULTILINE)
        return f"a Git LFS pointer, not the data{_bytes(size)}: run `git lfs pull`, or get the file from its source"
    if _ANNEX.match(text):
        size = re.search(r"-s(\d{1,18})(?:-|--)", text)
        return f"a git-annex pointer, not the data{_bytes(size)}: run `git annex get`, or get the file from its source"
    for pattern, page in ((_HTML, "an HTML page"), (_XML, "an XML page"), (_NOT_FOUND, "the answer of a server that has no such file")):
        if pattern.match(text):
            title = _TITLE.search(text)
            said = f" ({' '.join(title[2].split())[:80]!r})" if title and title[2].strip() else ""
            return f"{page}{said}, not the data: the download failed or asks for a log-in; get the file anew from its source"
    return ""


def _text(head: bytes) -> str:
    """The beginning of a file as text, whatever its encoding, without byte-order mark and leading white space."""
    is_wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return head.decode("utf-16" if is_wide else "utf-8", "replace").lstrip("\ufeff \t\r\n\f\v")


def _bytes(size: re.Match[str] | None) -> str:
    return f" ({size[1]} bytes)" if size else ""

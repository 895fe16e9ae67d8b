"""Results of ours for others, and those of others here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.asking import DEFAULT_OUT
from bench.names import path_of, words_of

if TYPE_CHECKING:
    from bench.question.assemble import Names
    from bench.records.bundle import Bundle
    from bench.records.verification import Verification


def bundle(out: str | Path = DEFAULT_OUT, *, methods: Names | None = None, to: str | Path | None = None, **source: Any) -> Bundle:
    """Records of some methods, or of all, as one file that others can verify; `.path` is where it lies.

    `source` may give `published` and `suite`, and `with_code=False`. Raises: UsageError on bad input.
    """
    from bench.leaderboard.bundling import bundle_of

    return bundle_of(out, words_of(methods), None if to is None else path_of(to), **source)


def verify(file: str | Path, *, reproduce: int = 0, **how: Any) -> Verification:
    """What of a bundle holds here, as `bench verify` says it; `.result`, `.lies` and `.missing` sum it up.

    `how` are its options: `seed`, `code`, `data`, `trust_code`, `minutes`, `by`. Raises: UsageError on bad input, or if it is no bundle.
    """
    from bench.inspection.submission import verify_file

    return verify_file(path_of(file), reproduce, **how)

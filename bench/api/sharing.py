"""Results of ours for others, and those of others here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.asking import DEFAULT_OUT
from bench.names import path_of, words_of

if TYPE_CHECKING:
    from bench.question.assemble import Names
    from bench.records.bundle import Bundle
    from bench.records.merging import Merged
    from bench.records.verification import Verification


def merge(
    parts: Iterable[str | Path], out: str | Path, *, keep: str | None = None, mixed: bool = False, check: bool = False
) -> Merged:  # fmt: skip
    """Merge results folders, such as the parts of `run(shard="1/3")`, into the folder `out`, as `bench merge` does.

    `keep`, "first" or "last", says whose answer counts where two parts have done one trial with different bits; `mixed` allows different
    packages; `check` scores every stored prediction again. Raises: UsageError if they do not belong together; nothing is written then.
    """
    from bench.records.merging import merge as merge_folders

    return merge_folders([parts] if isinstance(parts, str | Path) else parts, out, keep, mixed, check)


def bundle(out: str | Path = DEFAULT_OUT, *, methods: Names | None = None, to: str | Path | None = None, **source: Any) -> Bundle:
    """Records of some methods, or of all, as one file that others can verify; `.path` is where it lies.

    `source` may give `published`, `suite`, `metric` (of results on several kinds of target: those that it scores) and `with_code=False`.
    Raises: UsageError on bad input.
    """
    from bench.leaderboard.bundling import bundle_of

    return bundle_of(out, words_of(methods), None if to is None else path_of(to), **source)


def verify(file: str | Path, *, reproduce: int = 0, **how: Any) -> Verification:
    """What of a bundle holds here, as `bench verify` says it; `.result`, `.lies` and `.missing` sum it up.

    `how` are its options: `seed`, `code`, `data`, `trust_code`, `minutes`, `by`. Raises: UsageError on bad input, or if it is no bundle.
    """
    from bench.inspection.submission import verify_file

    return verify_file(path_of(file), reproduce, **how)

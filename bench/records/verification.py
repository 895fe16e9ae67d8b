"""What came of verifying a bundle: values, their file beside it, and the list of them in a published folder. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.datasets.base import DataError
from bench.datasets.pickles import Refused
from bench.datasets.safe import MB, reading
from bench.errors import UsageError
from bench.names import bare_choice
from bench.records.facts import Origin
from bench.records.strict import check, parsed
from bench.text import listed

FORMAT = 1
FILE = "verification.json"  # in a published folder; beside a bundle it may bear the bundle's name
CLAIMED, RESCORED, REFUTED = "claimed", "re-scored", "refuted"


@dataclass(frozen=True)
class Check:
    """One question about a bundle. `passed` is None where it could not be answered, and `detail` says why."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True)
class Row:
    """A method whose records were verified."""

    method: str  # as `--methods` takes it, files without their folders
    version: str


@dataclass(frozen=True)
class Again:
    """A trial that was trained again."""

    id: str
    same: bool | None  # every stored bit, or as close as another machine comes; None: undecided, for something else has changed
    detail: str


@dataclass(frozen=True)
class Verification:
    """Signed off by whoever verified: what was checked with which data and versions, and what could not be."""

    bundle: str  # SHA-256 of the file
    rows: Sequence[Row]
    checks: Sequence[Check]
    again: Sequence[Again] = ()
    asked: int = 0  # trials to train again
    seed: int = 0  # that drew them
    by: str = ""  # as that person, or that machine, called itself
    when: str = ""  # UTC
    environment: Origin = field(default_factory=Origin)
    harness: int = 0
    format: int = FORMAT

    @property
    def lies(self) -> list[Check]:
        """Claims that do not hold."""
        return [one for one in self.checks if one.passed is False]

    @property
    def missing(self) -> list[Check]:
        """Claims that could not be looked at."""
        return [one for one in self.checks if one.passed is None]

    @property
    def result(self) -> str:
        """claimed, re-scored, `reproduced k of K`, or refuted."""
        if self.lies:
            return REFUTED
        if self.missing:
            return CLAIMED
        return f"reproduced {sum(one.same is True for one in self.again)} of {self.asked}" if self.asked else RESCORED

    @property
    def is_open(self) -> bool:
        """Whether something that was asked could not be answered."""
        return bool(self.missing) or any(one.same is None for one in self.again) or len(self.again) < self.asked

    def as_json(self) -> dict[str, object]:
        return {"result": self.result, **asdict(self), "environment": self.environment.as_json()}

    def __str__(self) -> str:
        marks = {True: "ok  ", False: "FAIL", None: "open"}
        rows = listed([row.method for row in self.rows])
        lines = [f"{marks[one.passed]}  {one.name}: {one.detail}" for one in self.checks]
        lines += [f"{marks[one.same]}  trial {one.id} again: {one.detail}" for one in self.again]
        if self.asked:
            lines.append(f"drawn with seed {self.seed}; `--seed {self.seed}` draws the same trials")
        return "\n".join([*lines, f"{self.result}: {rows}"])


@dataclass(frozen=True)
class _Stored:
    """A verification as its file has it."""

    result: str
    bundle: str
    rows: list[Row]
    checks: list[Check]
    again: list[Again]
    asked: int
    seed: int
    by: str
    when: str
    environment: Origin
    harness: int
    format: int


def place_of(bundle: Path) -> Path:
    """Where the verification of a bundle is written: beside it, under its name."""
    return bundle.with_suffix(f".{FILE}")


def write(verification: Verification, path: Path) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(json.dumps(verification.as_json(), indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def of_bundle(bundle: Path, sha256: str) -> Verification | None:
    """The verification that lies beside a bundle and is of its very bytes; None if there is none. Raises: UsageError if it is damaged."""
    for path in (place_of(bundle), bundle.with_name(FILE)):
        if path.exists():
            found = [one for one in _read(path) if one.bundle == sha256]
            if found:
                return found[-1]
    return None


def of_folder(folder: Path) -> list[Verification]:
    """The verifications of what joined a published folder; none where nothing did. Raises: UsageError if they cannot be read."""
    return _read(folder / FILE) if (folder / FILE).exists() else []


def write_folder(folder: Path, found: Iterable[Verification]) -> None:
    entries = ",\n".join(json.dumps(one.as_json()) for one in found)
    (folder / FILE).write_text(f"[\n{entries}\n]\n", encoding="utf-8")


def _read(path: Path) -> list[Verification]:
    try:
        with reading(path, "verification"):
            if path.stat().st_size > 8 * MB:
                raise Refused(f"it has more than {8 * MB} bytes")
            found = parsed(path.read_bytes(), "it")
            return [_one(entry) for entry in (found if isinstance(found, list) else [found])]
    except DataError as error:
        raise UsageError(f"{error}; write it anew with `bench verify`") from None


def _one(entry: object) -> Verification:
    check(entry, _Stored, "it")
    assert isinstance(entry, Mapping)
    if entry.get("format") != FORMAT:
        raise Refused(f"it is of format {entry.get('format')}, this bench reads {FORMAT}")
    absent = [name for name in ("result", "bundle", "rows", "checks", "again", "asked", "seed", "environment") if name not in entry]
    if absent:
        raise Refused(f"it has no {absent[0]}")
    values = {key: value for key, value in entry.items() if key != "result"} | {
        "rows": tuple(Row(**one) for one in entry["rows"]),
        "checks": tuple(Check(**one) for one in entry["checks"]),
        "again": tuple(Again(**one) for one in entry["again"]),
        "environment": Origin.from_json(entry["environment"]),
    }
    made = Verification(**values)
    if made.result != entry["result"]:
        raise Refused(f"it says {entry['result'][:40]!r}, and its checks come to {made.result!r}")
    return made


def verified(found: Iterable[Verification]) -> dict[tuple[str, str], str]:
    """What boards say of a method, by choice and version; the last verification of it counts."""
    return {(bare_choice(row.method), row.version): one.result for one in found for row in one.rows}

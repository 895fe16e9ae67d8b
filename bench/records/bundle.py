"""A bundle: what a published folder says of some methods, in one file that can be sent. Free of torch.

A zip archive of `manifest.json` (every other member with its size and SHA-256, and what the methods' code is made of), `suite.toml`,
`records.jsonl` and `audit.json` as a published folder has them, `predictions.npz` with its arrays stored as they are, and the source text
of methods that came from files, under `code/`. Members stand in order of their names and bear no date: the same answers make the same
bytes. Whoever opens one (`bench.records.unpacking`) runs nothing of it and writes nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.names import bare, bare_choice
from bench.question.suite import Suite
from bench.question.winners import winners_of
from bench.records.answers import Answers, named
from bench.records.database import one_of
from bench.records.predictions import Predictions, stack
from bench.records.record import Finding, Record

FORMAT = 1
MANIFEST, SUITE, RECORDS, AUDIT, PREDICTIONS, CODE = (
    "manifest.json", "suite.toml", "records.jsonl", "audit.json", "predictions.npz", "code/",
)  # fmt: skip
DATE = (1980, 1, 1, 0, 0, 0)  # of every member: the first that zip knows


@dataclass(frozen=True)
class Code:
    """What the version of a method is the hash of (see `bench.registry.code`), and which of its texts are in the bundle."""

    method: str
    version: str
    parts: Mapping[str, str] = field(default_factory=dict)  # by module, or ==distribution; empty: not known
    contents: list[str] = field(default_factory=list)  # SHA-256 of the files that its options name
    texts: Mapping[str, str] = field(default_factory=dict)  # module -> the member that holds its text
    entry: str = ""  # the member and class to load, `code/VERSION/mine.py:Mine`, if the texts are all that is needed


@dataclass(frozen=True)
class Bundle:
    """A bundle as it was read, or as it is to be written. It is a source of records, as a results folder is."""

    suite: Suite
    line: Sequence[Record]
    stored: Mapping[str, Predictions]
    findings: Sequence[Finding] = ()
    commands: Sequence[str] = ()
    code: Sequence[Code] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict)  # of code, by member
    bench: str = ""  # version that made it
    path: Path = Path()
    sha256: str = ""  # of the file

    def records(self) -> list[Record]:
        return list(self.line)

    def record(self, id_: str) -> Record:
        """The record whose id starts with `id_`. Raises: UsageError if none or several do."""
        return one_of([record for record in self.line if record.trial.id.startswith(id_)], id_, f"in {self.path}")

    def predictions(self, ids: Iterable[str]) -> dict[str, Predictions]:
        return {id_: self.stored[id_] for id_ in ids if id_ in self.stored}

    def audits(self) -> list[Finding]:
        return list(self.findings)

    def answers(self, suite: str | None = None) -> Answers:
        """The question, every record, and what belongs to them."""
        records = named(self.line, winners_of(self.suite))
        return Answers(self.suite, records, self.stored, self.findings, self.commands)

    def placed(self, files: Mapping[str, str]) -> Bundle:
        """The same with methods and datasets from files where they lie here; `files` maps `mine.py:Mine` to such a name with its path.

        Trials keep their ids: where a file lies is no part of them.
        """
        trials = [record.trial for record in self.line]
        moved = [replace(t, method=files.get(bare(t.method), t.method), dataset=files.get(bare(t.dataset), t.dataset)) for t in trials]
        settings = tuple(
            replace(table, datasets=tuple(files.get(bare_choice(name), name) for name in table.datasets)) for table in self.suite.settings
        )
        records = [replace(record, trial=trial) for record, trial in zip(self.line, moved, strict=True)]
        return replace(self, line=records, suite=replace(self.suite, settings=settings))


def packed(bundle: Bundle) -> bytes:
    """The bundle as a file."""
    lines = [json.dumps(record.as_line(), sort_keys=True) for record in bundle.line]
    members = {
        SUITE: bundle.suite.to_toml().encode(),
        RECORDS: "".join(f"{line}\n" for line in [*lines, json.dumps({"commands": list(bundle.commands)})]).encode(),
        AUDIT: (json.dumps([asdict(finding) for finding in bundle.findings], indent=1) + "\n").encode(),
        PREDICTIONS: _npz(stack(bundle.stored)),
        **bundle.texts,
    }
    manifest = {
        "format": FORMAT,
        "bench": bundle.bench,
        "suite": bundle.suite.name,
        "methods": list(dict.fromkeys(record.trial.choice for record in bundle.line)),
        "code": [asdict(one) for one in bundle.code],
        "environment": environments(bundle.line),
        "files": {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in sorted(members.items())},
    }
    members[MANIFEST] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    return zipped(members)


def environments(records: Iterable[Record]) -> list[dict[str, object]]:
    """What is known of the code and machines behind some records, each once."""
    texts = {json.dumps(record.provenance.as_json(), sort_keys=True) for record in records if record.status == "done"}
    return [json.loads(text) for text in sorted(texts)]


def zipped(members: Mapping[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive that says nothing of when and where it was made."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in sorted(members.items()):
            member = zipfile.ZipInfo(name, DATE)
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, data, how)
    return stream.getvalue()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as an npz file that is not compressed by itself: the bundle is."""
    members = {}
    for name, array in arrays.items():
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
        members[f"{name}.npy"] = stream.getvalue()
    return zipped(members, zipfile.ZIP_STORED)

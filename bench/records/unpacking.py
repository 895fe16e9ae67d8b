"""A bundle from somebody else, read: what is none is refused with its reason, and costs neither memory nor disk. Free of torch.

Sizes are those that the archive declares, looked at before anything is unpacked; every byte is compared with the manifest's hashes before
it is parsed; arrays go through `bench.datasets.safe`, which makes no room for more than is there and knows no pickles. What is read here
is well formed. Whether it is true is another question: `bench.inspection.submission`.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets.base import DataError
from bench.datasets.pickles import Refused
from bench.datasets.safe import Archive, open_zip, read_npz, reading
from bench.errors import UsageError
from bench.names import bare
from bench.question.suite import Suite, suite_from
from bench.question.trial import Trial
from bench.records import bundle as files
from bench.records.bundle import Bundle, Code
from bench.records.facts import Facts, Origin
from bench.records.predictions import EVALUATION, LOGITS, SCORES, Predictions, unstack
from bench.records.record import Finding, Record
from bench.records.strict import check, parsed
from bench.stats.kinds import kind_of, wrong_targets

MB = 2**20
MOST = {  # bytes of each member
    files.MANIFEST: 4 * MB, files.SUITE: MB, files.RECORDS: 128 * MB, files.AUDIT: 8 * MB, files.PREDICTIONS: 1024 * MB,
}  # fmt: skip
MOST_CODE = MB  # of each file of code
MOST_FILE = 512 * MB
MOST_MEMBERS = 500
MOST_LINE = MB
MOST_CROSSED = 20_000  # of the settings, or the seeds, that a suite may ask for
CODE_FILE = re.compile(r"code/[0-9a-f]{12}/(?:[A-Za-z_]\w*/)*[A-Za-z_]\w*\.py", re.ASCII)
NAME = re.compile(r"[\w.+ -]+(?:/[\w.+ -]+)*")  # of a method or dataset without its class
MOST_THREADS = 1024
STATUSES = ("done", "failed", "skipped", "planned")


@dataclass(frozen=True)
class _Line:
    """A line of `records.jsonl`."""

    id: str
    trial: Trial
    status: str
    reason: str | None
    metrics: Mapping[str, float]
    cost: Mapping[str, float]
    facts: Facts
    provenance: Origin


@dataclass(frozen=True)
class _File:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _Manifest:
    format: int
    bench: str
    suite: str
    methods: list[str]
    code: list[Code]
    environment: list[Origin]
    files: Mapping[str, _File] = field(default_factory=dict)


def open_bundle(path: Path) -> Bundle:
    """A bundle that is what it says it is, byte by byte. Raises: UsageError with the reason why it is refused; nothing of it is run."""
    try:
        with reading(path, "bundle"):
            size = path.stat().st_size
            if size > MOST_FILE:
                raise Refused(f"it has {size} bytes, more than the {MOST_FILE} a bundle may have")
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        with open_zip(path, "bundle") as archive:
            _check_members(archive)
            return _opened(archive, path, sha256)
    except (DataError, UsageError) as error:
        raise UsageError(str(error)) from None


def _check_members(archive: Archive) -> None:
    members = archive.file.infolist()
    if len(members) > MOST_MEMBERS:
        raise Refused(f"it has {len(members)} members, more than the {MOST_MEMBERS} a bundle may have")
    if archive.file.comment or (members and min(member.header_offset for member in members)):
        raise Refused("something stands before or behind its members")
    folded: dict[str, str] = {}
    for member in members:
        name = member.filename
        if member.orig_filename != name or member.is_dir() or not (name in MOST or CODE_FILE.fullmatch(name)):
            raise Refused(f"it has a member {member.orig_filename[:80]!r}, which no bundle has")
        if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
            raise Refused(f"its member {name[:80]!r} is a link or a device")
        if folded.setdefault(name.lower(), name) != name:
            raise Refused(f"its members {folded[name.lower()]!r} and {name!r} are one file where capitals do not count")
        most = MOST.get(name, MOST_CODE)
        if member.file_size > most:
            raise Refused(f"its member {name} declares {member.file_size} bytes, more than the {most} it may have")
    absent = [name for name in MOST if name not in folded]
    if absent:
        raise Refused(f"it has no {absent[0]}")


def _opened(archive: Archive, path: Path, sha256: str) -> Bundle:
    manifest = parsed(archive.read(files.MANIFEST).tobytes(), files.MANIFEST)
    form = manifest.get("format") if isinstance(manifest, dict) else None
    if type(form) is not int or form != files.FORMAT:
        raise Refused(f"it is of format {str(form)[:20]}, this bench reads {files.FORMAT}; if it is newer, upgrade bench")
    check(manifest, _Manifest, files.MANIFEST)
    listed = manifest.get("files", {})
    if set(listed) != set(archive.names) - {files.MANIFEST}:
        name = min(set(listed) ^ (set(archive.names) - {files.MANIFEST}))
        raise Refused(f"{name[:80]!r} is {'in its manifest and not in it' if name in listed else 'in it and not in its manifest'}")
    data = {}
    for name, said in listed.items():
        member = archive.read(name)
        if len(member) != said.get("bytes") or hashlib.sha256(member.data).hexdigest() != said.get("sha256"):
            raise Refused(f"its {name} is not the one whose hash the manifest has: it was changed, or damaged on the way")
        data[name] = member
    suite = _suite(manifest["suite"], data[files.SUITE].tobytes())
    records, commands = _records(data[files.RECORDS].tobytes())
    findings = parsed(data[files.AUDIT].tobytes(), files.AUDIT)
    check(findings, list[Finding], files.AUDIT)
    texts = {name: found.tobytes() for name, found in data.items() if name.startswith(files.CODE)}
    code = [Code(**one) for one in manifest["code"]]
    strange = [
        name for one in code for name in (*one.texts.values(), *[one.entry.partition(":")[0]] * bool(one.entry)) if name not in texts
    ]
    if strange:
        raise Refused(f"its manifest names the code {strange[0][:80]!r}, which is not in it")
    predictions = _predictions(data[files.PREDICTIONS], records)
    if manifest["environment"] != files.environments(records):
        raise Refused("the environment in its manifest is not that of its records")
    found = [Finding(**one) for one in findings]
    return Bundle(suite, records, predictions, found, commands, code, texts, manifest["bench"], path, sha256)


def _suite(name: str, text: bytes) -> Suite:
    if not re.fullmatch(r"[\w.+ -]{1,200}", name):
        raise Refused(f"the name of its suite is {name[:60]!r}")
    try:
        table = tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{files.SUITE} is no TOML: {' '.join(str(error).split())[:120]}") from None
    seeds = table.get("seeds", [])
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds) or len(seeds) > MOST_CROSSED:
        raise Refused(f"the seeds of {files.SUITE} must be a list of whole numbers, at most {MOST_CROSSED}")
    if type(table.get("max_seeds", 0)) is not int or table.get("max_seeds", 0) > MOST_CROSSED:
        raise Refused(f"max_seeds of {files.SUITE} must be a whole number, at most {MOST_CROSSED}")
    suite = suite_from(name, table)
    _check_texts(table, files.SUITE)
    crossed = sum(len(one.datasets) * len(one.combinations) * len(one.protocols) * max(1, len(one.noise)) for one in suite.settings)
    if crossed > MOST_CROSSED:
        raise Refused(f"{files.SUITE} asks for {crossed} settings, more than {MOST_CROSSED}")
    return suite


def _check_texts(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            check(key, str, f"a key of {where}")
            _check_texts(item, f"{where}, {key[:60]}")
    elif isinstance(value, list):
        for item in value:
            _check_texts(item, where)
    elif isinstance(value, str):
        check(value, str, where)


def _records(text: bytes) -> tuple[list[Record], list[str]]:
    *lines, last = text.split(b"\n")
    if last or not lines:
        raise Refused(f"the last line of {files.RECORDS} has no end")
    head = parsed(lines[-1], f"the last line of {files.RECORDS}")
    if not isinstance(head, dict) or set(head) != {"commands"}:
        raise Refused(f"the last line of {files.RECORDS} must hold the commands")
    check(head["commands"], list[str], "commands")
    records: list[Record] = []
    places: dict[tuple, str] = {}
    for number, line in enumerate(lines[:-1], start=1):
        where = f"line {number} of {files.RECORDS}"
        if len(line) > MOST_LINE:
            raise Refused(f"{where} has {len(line)} bytes, more than {MOST_LINE}")
        found = parsed(line, where)
        check(found, _Line, where)
        record = _record(found, where)
        trial = record.trial
        place = bare(trial.method), trial.preset, str(sorted(trial.options.items())), trial.setting, trial.seed
        for key, what in ((place, f"{trial.label} on {trial.setting.title} with seed {trial.seed}"), ((trial.id,), f"trial {trial.id}")):
            if key in places:
                raise Refused(f"{where} gives {what} once more; a trial counts once")
            places[key] = where
        records.append(record)
    if not records:
        raise Refused("it holds no record")
    return records, head["commands"]


def _record(found: dict[str, Any], where: str) -> Record:
    absent = [key for key in ("id", "trial", "status", "metrics", "cost", "facts", "provenance") if key not in found]
    if absent:
        raise Refused(f"{where} has no {absent[0]}")
    if found["status"] not in STATUSES:
        raise Refused(f"{where} has the status {found['status'][:40]!r}; one of {', '.join(STATUSES)} is known")
    try:
        trial = Trial(**found["trial"])
    except TypeError as error:
        raise Refused(f"the trial in {where} is not whole: {error}") from None
    options = {**trial.options, **trial.training, **trial.dataset_options}
    for name in (trial.method, trial.dataset):
        file = name.rpartition(":")[0] if ".py:" in name else name
        if not NAME.fullmatch(file) or ".." in file.split("/"):
            raise Refused(f"{where} names {name[:80]!r}, which is no name of a method or dataset")
    for key, value in options.items():
        if isinstance(value, str) and (re.search(r"[/\\]|^[.~]", value) or re.search(r"[/\\]", key)):
            raise Refused(f"option {key[:60]} in {where} names a path, {value[:60]!r}; a bundle leads to no file")
    where_it_ran = found["provenance"]
    if where_it_ran.get("device") not in (None, "cpu", "cuda") or not 1 <= (where_it_ran.get("threads") or 1) <= MOST_THREADS:
        raise Refused(f"{where} ran on a device, or with a number of threads, that no trial has")
    if trial.id != found["id"]:
        raise Refused(f"{where} bears the id {found['id'][:40]!r}, and its trial is {trial.id}: the trial, or its id, was changed")
    return Record.from_json(trial, found)


def _predictions(data: np.ndarray, records: Sequence[Record]) -> dict[str, Predictions]:
    """Predictions by trial, every array of the shape and type that it has in a published folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        path = Path(place) / files.PREDICTIONS
        path.write_bytes(data.data)
        with open_zip(path, "archive of predictions") as inner:
            packed = [name for name, member in inner.members.items() if member.compress_type != zipfile.ZIP_STORED]
            if packed:
                raise Refused(f"its {packed[0][:80]} is compressed once more inside {files.PREDICTIONS}")
            names = [name.removesuffix(".npy") for name in inner.names]
        arrays = read_npz(path, names)
    _check_arrays(arrays)
    done = [record.trial.id for record in records if record.status == "done"]
    ids = [str(id_) for name, array in arrays.items() if name.endswith("/trials") for id_ in array.tolist()]
    if len(set(ids)) != len(ids):
        raise Refused(f"{files.PREDICTIONS} holds the predictions of a trial twice")
    if set(ids) != set(done):
        id_ = min(set(ids) ^ set(done))
        raise Refused(f"trial {id_[:40]} has {'a record and no predictions' if id_ in done else 'predictions and no record that is done'}")
    return unstack(arrays, list(arrays), done)


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    heads: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        head, _, kind = name.partition("/")
        if not head.isdecimal() or not (kind in ("ids", "target", "trials", LOGITS, SCORES) or kind.startswith(EVALUATION)):
            raise Refused(f"{files.PREDICTIONS} holds an array {name[:80]!r}, which no bundle has")
        heads.setdefault(head, {})[kind] = array
    for head, own in heads.items():
        forms = [form for form in (LOGITS, SCORES) if form in own]
        if len(forms) != 1 or not {"ids", "target", "trials"} <= set(own):
            raise Refused(f"part {head} of {files.PREDICTIONS} must hold ids, target, trials and one of {LOGITS} and {SCORES}")
        outputs = own[forms[0]]
        if (
            outputs.ndim != 3
            or own["target"].ndim not in (1, 2)
            or outputs.shape[2] < kind_of(own["target"]).least_outputs
            or not len(own["ids"].shape) == len(own["trials"].shape) == 1
        ):
            raise Refused(f"part {head} of {files.PREDICTIONS} has arrays of other shapes than trials x rows x classes")
        rows = (len(own["trials"]), len(own["ids"]), outputs.shape[2])
        for kind, array in own.items():
            of_rows = kind in forms or kind.startswith(EVALUATION)
            wanted: tuple[int, ...] = rows if of_rows else (rows[0 if kind == "trials" else 1],)
            kinds = "f" if of_rows else "U"
            if kind == "target":
                wanted, kinds = (rows[1:] if array.ndim == 2 else rows[1:2]), "if" if array.ndim == 1 else "i"
            if array.shape != wanted or array.dtype.kind not in kinds:
                raise Refused(f"{head}/{kind[:60]} is {array.dtype} of shape {array.shape}, and must be {' or '.join(kinds)} of {wanted}")
            if of_rows and (array.dtype.itemsize not in (4, 8) or not np.isfinite(array).all()):
                raise Refused(f"{head}/{kind[:60]} must hold finite numbers in single or double precision")
        if wrong := wrong_targets(own["target"], rows[2]):
            raise Refused(f"{head}/target {wrong}")
        if len(np.unique(own["ids"])) != rows[1]:
            raise Refused(f"{head}/ids names a row twice")

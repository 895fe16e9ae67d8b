"""A bundle verified: every claim looked at, and some of its trials, drawn at random, trained again. Loads torch in a trial's process alone.

Nothing of a bundle is run unless whoever verifies says so: its methods are trained again if they are here, installed or as a file that is
named, or if its code is trusted.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench import registry
from bench.data.loading import loaded_once
from bench.errors import UsageError
from bench.inspection.claims import CLAIMS, Here
from bench.inspection.reproduction import Repeat, reproduce
from bench.names import bare, bare_choice, is_file, one_name, words_of
from bench.question.machine import Limits
from bench.question.trial import HARNESS_VERSION
from bench.records.bundle import Bundle
from bench.records.provenance import git_user, provenance
from bench.records.reached import Report
from bench.records.record import Record
from bench.records.unpacking import open_bundle
from bench.records.verification import Again, Check, Row, Verification

ELSEWHERE = ("hardware", "torch device", "python")  # with the packages: what moves the last bits of a number, and nothing more
LIMITS = Limits(3600.0, 8_000_000_000)  # of a trial that is trained again, whatever the bundle says that it takes
NEAR = 1e-3  # of a class score: what these may come to over a training
WITHIN = 1e-9  # relative: a counted cost is the same on every machine


def verify(
    bundle: Bundle,
    *,
    again: int = 0,
    seed: int | None = None,
    code: Iterable[str] = (),
    data: Iterable[str] = (),
    trust_code: bool = False,
    limits: Limits = LIMITS,
    by: str = "",
    report: Report = lambda _: None,
    told: Callable[[str], None] = lambda _: None,
    stopped: threading.Event | None = None,
) -> Verification:
    """What of a bundle holds here. `again` trials are trained again, drawn with `seed`, or with one drawn now.

    `code` and `data` name files here, `path/to/mine.py:Mine` or `path/to/study.toml`, in the place of those that the bundle names; with
    `trust_code` the code in the bundle is run. Raises: UsageError if one of them is not named by it; Stopped.
    """
    seed = secrets.randbelow(2**31) if seed is None else seed
    with _unpacked(bundle, trust_code) as unpacked, loaded_once():
        files = {**unpacked, **_named(bundle, [*code, *data])}
        placed = bundle.placed(files)
        here = Here(placed, _classes(placed, files))
        checks: list[Check] = []
        for claim in CLAIMS:
            told(claim.__name__)
            checks.append(claim(here))
        repeats: list[Again] = []
        if again and all(check.passed is not False for check in checks):
            able = [
                record for record in here.done if record.trial.method in here.classes and record.trial.dataset_choice not in here.absent
            ]
            drawn = np.random.default_rng(seed).permutation(len(able))[:again]
            for place in sorted(drawn.tolist()):
                told(f"trial {able[place].trial.id} again")
                repeats.append(_again(able[place], reproduce(placed, able[place].trial.id, report, stopped, limits=limits)))
        most = min(again, len(here.done))
    checks += [_lie(one) for one in repeats if one.same is False]
    rows = {(bare_choice(record.trial.choice), record.trial.version): None for record in bundle.line}
    return Verification(
        bundle.sha256,
        tuple(Row(method, version) for method, version in rows),
        tuple(checks),
        tuple(repeats),
        most,
        seed if again else 0,
        by,
        datetime.now(UTC).isoformat(timespec="seconds"),
        provenance(),
        HARNESS_VERSION,
    )


def verify_file(
    path: Path, reproduce: int = 0, *, code: object = None, data: object = None, minutes: float = 60.0, by: str | None = None, **how: Any
) -> Verification:
    """The same of a file, with options as a person gives them; who signs off is by default whoever git says. Raises: UsageError."""
    limits, by = replace(LIMITS, seconds=60 * minutes), git_user() if by is None else by
    return verify(open_bundle(path), again=reproduce, code=words_of(code), data=words_of(data), limits=limits, by=by, **how)


def _named(bundle: Bundle, given: Iterable[str]) -> dict[str, str]:
    """Names in the bundle -> the files here that are meant. Raises: UsageError if a file is not one that the bundle names."""
    known = {name for record in bundle.line for name in (record.trial.method, record.trial.dataset)}
    by_bare = {bare(name): name for name in known if is_file(name)}
    found = {}
    for text in given:
        name = bare(text)
        if name not in by_bare:
            raise UsageError(f"the bundle names no file {name!r}; it names {', '.join(sorted(by_bare)) or 'none'}")
        found[name] = _absolute(text)
    return found


def _absolute(name: str) -> str:
    """A file as trials name it, with a folder even where it lies in this one: a bare name stands for somebody else's."""
    full = one_name(name)
    if full == name and not Path(name.rpartition(":")[0] or name).is_file() and not Path(name).is_file():
        raise UsageError(f"file {name!r} is not there (looked in {Path.cwd()})")
    return full if "/" in full else f"./{full}"


@contextmanager
def _unpacked(bundle: Bundle, trust_code: bool):
    """The code of a trusted bundle in a folder of its own: names in it -> the files there. None otherwise."""
    if not trust_code:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        for member, text in bundle.texts.items():
            path = Path(place) / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        yield {one.method: f"{place}/{one.entry}" for one in bundle.code if one.entry}


def _classes(bundle: Bundle, files: Mapping[str, str]) -> dict[str, type[Any]]:
    """The methods that are here: listed, of an installed package, or in a file that was named. One that does not load is not here."""
    found = {}
    for name in {record.trial.method for record in bundle.line}:
        if name in registry.method_names() or name in files.values():
            found[name] = registry.method_class(name)
    return found


def _again(record: Record, repeat: Repeat) -> Again:
    """What a second training says of the first: the same, a lie, or undecided where something else is not as it was."""
    id_, elsewhere = record.trial.id, [change for change in repeat.changes if _is_elsewhere(change.what, repeat)]
    where = f"though {', '.join(f'{one.what} is {one.now}, was {one.then}' for one in elsewhere[:3])}" if elsewhere else ""
    if repeat.again.status != "done":
        return Again(id_, None, f"did not end here: {repeat.again.status}, {repeat.again.reason}")
    off = _told_otherwise(record, repeat.again)
    if repeat.same:
        return Again(id_, not off, off or f"same bits {where}".strip())
    if repeat.is_repeatable is False:
        return Again(id_, None, "this trial gives another answer each time it is trained on this machine")
    if not _is_near(repeat):
        how = f"largest difference of a class score {repeat.largest:.3g}, {repeat.changed} of {repeat.rows} predicted classes changed"
        return Again(id_, None if elsewhere else False, f"another answer: {how} {where}".strip())
    return Again(id_, not off if elsewhere else False, off or f"the same up to {repeat.largest:.1g} of a class score {where}".strip())


def _is_near(repeat: Repeat) -> bool:
    return repeat.changed is not None and repeat.largest <= NEAR


def _is_elsewhere(what: str, repeat: Repeat) -> bool:
    return what in ELSEWHERE or what in repeat.record.provenance.packages or what in repeat.again.provenance.packages


def _told_otherwise(record: Record, again: Record) -> str:
    """A fact of a training that it does not have when it is run again; empty if there is none."""
    for name in ("gflops_per_sample", "parameters", "active_parameters"):
        then, now = record.cost.get(name), again.cost.get(name)
        if (then is None) != (now is None) or (then is not None and now is not None and abs(then - now) > WITHIN * max(1.0, abs(now))):
            return f"its {name} is said to be {then}, and is {now}"
    if record.facts.best_epoch != again.facts.best_epoch:
        return f"its checkpoint is said to be of epoch {record.facts.best_epoch}, and is of {again.facts.best_epoch}"
    return ""


def _lie(one: Again) -> Check:
    return Check("training", False, f"trial {one.id} trained again: {one.detail}")

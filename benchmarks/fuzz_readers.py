"""Damaged files by the thousand through the readers of untrusted files: each gives a clear DataError or a valid dataset. Prints JSON.

    python benchmarks/fuzz_readers.py [--mutations 10000] [--formats pickle torch ...] [--seed 0]

A small invented file of each format is changed (flipped bits, cut ends, overwritten lengths, lost, repeated and moved pieces; packed
formats also inside the packing) and read through its dataset, where warnings are errors; bundles, damaged inside with hashes that fit, as
`bench verify` reads them. Workers are forked, so that a crash or a hang is
seen and counted. Seconds are processor time, so that a busy machine makes no hangs; the bound is 5, and a minute on the clock. Memory is
what a worker holds at most beyond what it held before; the bound is twice the file and 200 MB. (The process that reads HDF5 is held to
its bound by the system.) Every mutation has its own seed: `--only SEED` repeats one. Exit code 1 if any mutation failed.
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # before numpy: forked workers must have no threads
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import argparse
import gzip
import hashlib
import importlib.util
import io
import json
import pickletools
import random
import resource
import select
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from bench import registry
from bench.datasets.base import DataError
from bench.datasets.files import check
from bench.errors import UsageError
from bench.names import parse_choice
from bench.question.suite import Settings, Suite
from bench.question.trial import Trial
from bench.records.bundle import MANIFEST, PREDICTIONS, Bundle, Code, packed, zipped
from bench.records.facts import Facts, Origin
from bench.records.predictions import LOGITS, Predictions
from bench.records.record import Record
from bench.records.scoring import scored
from bench.records.unpacking import open_bundle

SECONDS = 5.0  # of processor time
CLOCK = 60.0  # seconds without an answer
MEMORY = 200 * 2**20
BATCH = 100  # mutations of one worker
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


def load_fixtures() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "tests" / "support" / "fixtures.py"
    spec = importlib.util.spec_from_file_location("bench_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Target:
    """A file of a dataset that is to be damaged; `places` are the offsets of its structure, where damage is most telling."""

    dataset: str
    folder: Path
    file: str
    places: Sequence[int] = ()

    @property
    def path(self) -> Path:
        return self.folder / self.file

    def read(self) -> None:
        """As a user's command would. Raises: DataError or UsageError if it is refused."""
        if self.file.endswith(".bundle"):
            open_bundle(self.path)
        else:
            dataset = registry.dataset_of(parse_choice(self.dataset))
            check(dataset.read(self.folder, lambda *_: None), self.dataset)


@dataclass
class Result:
    """What became of the mutations of one format."""

    outcomes: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_seed: int = -1
    memory: int = 0


# Damage


def damaged(data: bytes, rng: random.Random, places: Sequence[int]) -> bytes:
    """One to three changes of a file."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        if not changed:
            break
        place = min(rng.choice(places) if places and rng.random() < 0.75 else rng.randrange(len(changed)), len(changed) - 1)
        kind = rng.randrange(8)
        if kind <= 1:
            for _ in range(rng.randint(1, 8)):
                changed[min(place + rng.randrange(8), len(changed) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[place] = rng.choice((0, 1, 0x2E, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            size = rng.choice((1, 2, 4, 8))
            order = rng.choice(("<", ">"))
            value = rng.choice(EXTREMES) if rng.random() < 0.7 else rng.randrange(2**16)
            changed[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, "little" if order == "<" else "big")
        elif kind == 5:
            del changed[place : place + rng.choice((1, 2, 4, 16, 256))]
        elif kind == 6:
            piece = bytes(changed[place : place + rng.choice((1, 4, 32, 1024))])
            changed[place:place] = piece * rng.choice((1, 1, 2, 100))
        else:
            piece, other = bytes(changed[place : place + 16]), rng.randrange(len(changed))
            changed[other : other + len(piece)] = piece
    return bytes(changed)


def mutated(target: Target, data: bytes, rng: random.Random) -> bytes:
    """A damaged copy; of packed formats, half the time what is inside is damaged and packed again."""
    inside = rng.random() < 0.5
    if target.file.endswith(".gz") and inside:
        return gzip.compress(damaged(gzip.decompress(data), rng, target.places), 1, mtime=0)
    if target.file.endswith((".pt", ".npz")) and inside:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        chosen = rng.choice([name for name in members if name.endswith((".pkl", ".npy")) or rng.random() < 0.3] or list(members))
        members[chosen] = damaged(members[chosen], rng, range(min(200, len(members[chosen]))))
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)
        return stream.getvalue()
    if target.file.endswith(".bundle") and inside:
        return damaged_bundle(data, rng)
    changed = damaged(data, rng, () if inside else target.places)
    return with_checksums(changed) if target.file.endswith(".png") and inside else changed


def damaged_bundle(data: bytes, rng: random.Random) -> bytes:
    """A bundle with one member damaged, or one array of its predictions, by somebody who writes a manifest that fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice(list(members))
    if chosen == PREDICTIONS:
        with zipfile.ZipFile(io.BytesIO(members[chosen])) as inner:
            arrays = {name: inner.read(name) for name in inner.namelist()}
        name = rng.choice(list(arrays))
        members[chosen] = zipped({**arrays, name: damaged(arrays[name], rng, range(min(200, len(arrays[name]))))}, zipfile.ZIP_STORED)
    else:
        members[chosen] = damaged(members[chosen], rng, ())
    if chosen != MANIFEST:
        manifest = json.loads(members[MANIFEST])
        manifest["files"][chosen] = {"bytes": len(members[chosen]), "sha256": hashlib.sha256(members[chosen]).hexdigest()}
        members[MANIFEST] = json.dumps(manifest).encode()
    return zipped(members)


def with_checksums(png: bytes) -> bytes:
    """The same PNG with the checksum of every chunk made right, so that the decoder sees the damage."""
    changed, place = bytearray(png), 8
    while place + 12 <= len(changed):
        end = place + 8 + int.from_bytes(changed[place : place + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = zlib.crc32(changed[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(changed)


def structure_of_pickle(data: bytes) -> list[int]:
    """Offsets of instructions and of the first bytes of what they carry."""
    starts = [place for _, _, place in pickletools.genops(data) if place is not None]
    return sorted({place + step for place in starts for step in range(12) if place + step < len(data)})


# Formats


def pickles(fixtures: ModuleType, folder: Path) -> list[Target]:
    rows = {"train": 6, "valid": 6, "test": 6}
    targets = []
    for flavour, protocol in [
        ("mult", 0),
        ("mult", 1),
        ("mult", 2),
        ("mmsa_unaligned", 3),
        ("multibench", 4),
        ("mmsa_aligned", 5),
        ("mult", -1),
    ]:
        place = folder / f"{flavour}{protocol}"
        place.mkdir(parents=True)
        data = fixtures.mosi_data(flavour, rows)
        for fold in data.values():  # fewer features would be another packing; fewer steps are not
            for name in ("vision", "audio", "text"):
                fold[name] = fold[name][:, -4:] if not flavour.startswith("mmsa") else fold[name][:, :4]
            if "text_bert" in fold:
                fold["text_bert"] = fold["text_bert"][:, :, :4]
        data |= {"kept": {1, 2, 3}, "left": frozenset({4, 5})}  # of numbers: texts would be pickled in another order each time
        packed = fixtures.pickled(data, protocol, python2=False) if protocol >= 0 else fixtures.pickled(data, python2=True)
        (place / "mosi.pkl").write_bytes(packed)
        targets.append(Target("cmu-mosi", place, "mosi.pkl", structure_of_pickle(packed)))
    return targets


def images(ending: str) -> Callable[[ModuleType, Path], list[Target]]:
    def targets(fixtures: ModuleType, folder: Path) -> list[Target]:
        fixtures.write_enrico(folder, 6)
        name = "screenshots/100.jpg" if ending == "jpg" else "wireframes/100.png"
        return [Target("enrico[size=32x16]", folder, name, range(200))]

    return targets


def tables(fixtures: ModuleType, folder: Path) -> list[Target]:
    fixtures.write_adni(folder / "adni", "npz")
    fixtures.write_enrico(folder / "enrico", 6)
    fixtures.write_mimic_iv(folder / "mimic")
    names = ("label.csv", "clinical/clinical_merged.csv", "biospecimen/biospecimen_merged.csv", "image/ADNI_subj.txt")
    found = [Target("adni", folder / "adni", name) for name in names]
    found += [Target("enrico[size=32x16]", folder / "enrico", "design_topics.csv"), Target("mimic-iv", folder / "mimic", "labels.csv")]
    fixtures.write_mimic_iv(folder / "raw", "raw", 40)
    for name in ("hosp/patients", "hosp/diagnoses_icd", "note/discharge"):
        packed = folder / "raw" / f"{name}.csv.gz"
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
        found.append(Target("mimic-iv[origin=raw]", folder / "raw", f"{name}.csv"))
    return [*found, Target("enrico[size=32x16,exclude=high]", folder / "enrico", "issues.csv")]


def packed_tables(fixtures: ModuleType, folder: Path) -> list[Target]:
    fixtures.write_mimic_iv(folder, "raw", 40)
    names = ("hosp/admissions", "hosp/patients", "hosp/labevents", "hosp/diagnoses_icd", "hosp/procedures_icd", "note/discharge")
    return [Target("mimic-iv[origin=raw]", folder, f"{name}.csv.gz") for name in names]


def splits(fixtures: ModuleType, folder: Path) -> list[Target]:
    fixtures.write_adni(folder / "adni", "npz")
    fixtures.write_mimic_iv(folder / "mimic")
    return [Target("adni", folder / "adni", "PTID_splits.json"), Target("mimic-iv", folder / "mimic", "PTID_splits_mimic.json")]


def torch_files(fixtures: ModuleType, folder: Path) -> list[Target]:
    fixtures.write_mimic_iv(folder)
    return [Target("mimic-iv", folder, f"{name}_x.pt", range(400)) for name in ("lab", "note", "code")]


def adni_file(file: str, structure: int, dataset: str = "adni") -> Callable[[ModuleType, Path], list[Target]]:
    def targets(fixtures: ModuleType, folder: Path) -> list[Target]:
        fixtures.write_adni(folder, "npz")
        return [Target(dataset, folder, file, range(structure))]

    return targets


def hdf5_files(fixtures: ModuleType, folder: Path) -> list[Target]:
    for kind in ("dense", "packed", "sparse"):
        fixtures.write_adni(folder / kind, kind, people=24)
    return [Target("adni", folder / kind, "genomic/genomic_merged.h5ad") for kind in ("dense", "packed", "sparse")]


def bundles(fixtures: ModuleType, folder: Path) -> list[Target]:
    """One of two invented trials, one of which did not end, with code."""
    rows, version = 40, "0123456789ab"
    trial = Trial(
        "net.py:Net", "default", {"width": 8}, {}, "digits", {}, "NEWS", "mcar(0.3)", 0, "accuracy", "training", 0, "f" * 16, version
    )
    target = np.arange(rows) % 3
    stored = Predictions(np.arange(rows).astype(str), target, np.eye(3, dtype=np.float32)[target], {}, LOGITS)
    found = scored(stored.target, stored.scores)
    facts = {"rows": {"test": rows}, "masks": {"test": "a" * 16}, "classes": ["a", "b", "c"], "histogram": found.histogram}
    done = Record(trial, "done", None, found.metrics, {"parameters": 8}, Facts.from_json(facts), Origin(device="cpu", threads=1))
    failed = Record(replace(trial, seed=1), "failed", "out of memory")
    code = Code(trial.method, version, {"": "0" * 64}, [], {"": f"code/{version}/net.py"}, f"code/{version}/net.py:Net")
    suite = Suite("fuzz", (Settings(("digits",)),), methods=("net.py:Net",), seeds=(0, 1))
    made = Bundle(
        suite, [done, failed], {trial.id: stored}, [], ["bench run"], [code], {f"code/{version}/net.py": b"class Net: ...\n"}, "0"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one.bundle").write_bytes(packed(made))
    return [Target("", folder, "one.bundle", range(400))]


FORMATS: dict[str, Callable[[ModuleType, Path], list[Target]]] = {
    "pickle": pickles,
    "torch": torch_files,
    "npy": adni_file("image/ADNI_G.npy", 128),
    "npz": adni_file("genomic/genomic.npz", 300),
    "h5ad": hdf5_files,
    "nifti": adni_file(f"image/{load_fixtures().MASK}", 352, "adni[image=volume]"),
    "jpg": images("jpg"),
    "png": images("png"),
    "csv": tables,
    "csv.gz": packed_tables,
    "json": splits,
    "bundle": bundles,
}


# Running


def peak_memory(reset: bool = False) -> int:
    """Bytes of the largest resident memory since the last reset (Linux), else since the start."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)


def processor_seconds() -> float:
    """Of this process and those it has started and ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def read_one(target: Target, data: bytes, seed: int) -> tuple[str, str, float, int]:
    """Outcome, reason, seconds and memory of one mutation."""
    rng = random.Random(seed)
    target.path.write_bytes(mutated(target, data, rng))
    size = target.path.stat().st_size
    before, begin = peak_memory(reset=True), processor_seconds()
    outcome, reason = "read", ""
    try:
        target.read()
    except (DataError, UsageError) as error:
        outcome, reason = "refused", str(error)
        if "\n" in reason or len(reason) > 1500:
            outcome, reason = "unclear", f"a message of {len(reason)} characters: {reason[:200]!r}"
    except BaseException:
        outcome, reason = "error", traceback.format_exc(limit=-3)
    seconds = processor_seconds() - begin
    memory = peak_memory() - before
    if memory > 2 * size + MEMORY:
        outcome, reason = "memory", f"{memory / 2**20:.0f} MB for a file of {size} bytes"
    return outcome, reason, seconds, memory


def worker(target_of: Callable[[int], Target], contents: dict[Path, bytes], seeds: Sequence[int], pipe: int) -> None:
    """Report each mutation as a line of JSON; the last one that did not report is the one that crashed or hangs."""
    warnings.simplefilter("error")
    with os.fdopen(pipe, "w") as report:
        for seed in seeds:
            target = target_of(seed)
            answer = read_one(target, contents[target.path], seed)
            target.path.write_bytes(contents[target.path])
            report.write(json.dumps([seed, *answer]) + "\n")
            report.flush()


def run(name: str, mutations: int, seed: int, only: int | None = None) -> Result:
    result = Result()
    with tempfile.TemporaryDirectory(prefix="fuzz ") as place:
        targets = FORMATS[name](load_fixtures(), Path(place))
        contents = {target.path: target.path.read_bytes() for target in targets}
        waiting = [only] if only is not None else list(range(seed, seed + mutations))

        def target_of(number: int) -> Target:
            return targets[number % len(targets)]

        while waiting:
            batch, waiting = waiting[:BATCH], waiting[BATCH:]
            done = _run_batch(target_of, contents, batch, result)
            for path, data in contents.items():
                path.write_bytes(data)
            waiting = batch[done:] + waiting
    return result


def _run_batch(target_of: Callable[[int], Target], contents: dict[Path, bytes], batch: Sequence[int], result: Result) -> int:
    """Run a batch in a worker of its own; returns how many of it are done, the one that ended the worker included."""
    receive, send = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(receive)
            worker(target_of, contents, batch, send)
            code = 0
        finally:
            os._exit(code)
    os.close(send)
    done, text = 0, b""
    outcome = "crash"
    while True:
        ready, _, _ = select.select([receive], [], [], CLOCK)
        if not ready:
            outcome = "hang"
            os.kill(process, 9)
            break
        piece = os.read(receive, 2**16)
        if not piece:
            break
        text += piece
        *lines, text = text.split(b"\n")
        for line in lines:
            _note(result, *json.loads(line))
            done += 1
    os.close(receive)
    _, status = os.waitpid(process, 0)
    if done < len(batch):
        result.outcomes[outcome] += 1
        result.failures.append(f"seed {batch[done]}: {outcome}, status {status}")
        done += 1
    return done


def _note(result: Result, seed: int, outcome: str, reason: str, seconds: float, memory: int) -> None:
    if seconds > SECONDS:
        outcome, reason = "hang", f"{seconds:.1f} s"
    result.outcomes[outcome] += 1
    if outcome not in ("read", "refused"):
        result.failures.append(f"seed {seed}: {outcome}: {reason}")
    if seconds > result.slowest:
        result.slowest, result.slowest_seed = seconds, seed
    result.memory = max(result.memory, memory)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the seed of one mutation")
    chosen = parser.parse_args()
    report, failed = {}, False
    for name in chosen.formats:
        begin = time.perf_counter()
        result = run(name, chosen.mutations, chosen.seed, chosen.only)
        failed |= bool(result.failures)
        report[name] = {
            "mutations": sum(result.outcomes.values()),
            **dict(sorted(result.outcomes.items())),
            "slowest_seconds": round(result.slowest, 2),
            "slowest_seed": result.slowest_seed,
            "peak_memory_mb": round(result.memory / 2**20, 1),
            "seconds": round(time.perf_counter() - begin),
            "failures": result.failures[:20],
        }
    print(json.dumps(report, indent=2))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

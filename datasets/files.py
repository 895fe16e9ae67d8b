"""Datasets that come as files: where they lie, how they are prepared once, and how a prepared copy is read.

A data root holds one folder per dataset with the files as their source hands them out, and `prepared/` with our own copies: one
`values-0.npy`, `values-1.npy` and so on for each modality, one `data.npz` for all else, both without pickles, and one `meta.json` with the
schema and the SHA-256 of every source file. A dataset reads its prepared copy where there is one, else its raw files, unless these are too
large to be read for every run. Values of a prepared copy are mapped into memory: every process on a machine sees the same ones, and they
may be larger than it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import platformdirs

from bench.datasets.base import Classes, DataError, Dataset, Modality, Samples, Schema
from bench.datasets.stand_ins import refuse_stand_in
from bench.datasets.target import target_from

FORMAT = 2  # of prepared copies; those of format 1, which hold all values in `data.npz`, are read too
ATTRIBUTE = "attribute/"  # heads the name of an attribute in `data.npz`
INDICATORS = "indicators"  # the option, of datasets that have it, to give single gaps a column each; it acts in `learn` alone
Report = Callable[[int, int, str], None]  # steps done, steps in all (0: not known), what is being done


def data_root() -> Path:
    """The folder of all file datasets: `BENCH_DATA`, else a folder of this user."""
    given = Path(os.environ.get("BENCH_DATA") or platformdirs.user_data_path("missing-modality-bench"))
    try:
        return given.expanduser()
    except RuntimeError:  # `~name` of nobody: a folder is called so
        return given


@dataclass(frozen=True)
class Prepared:
    """A prepared copy: its samples and what `meta.json` says."""

    samples: Samples
    meta: Mapping[str, Any]


class FileDataset(Dataset):
    """A dataset of files. A subclass states its facts and writes `read`; options are attributes, checked in `__init__`.

    `sources` alone says which files count, for these options: loading, preparing, `bench data status` and `verify` all ask it.
    """

    name: ClassVar[str]  # as in the catalog
    folder: ClassVar[str]  # its folder under the data root
    files: ClassVar[tuple[str, ...]] = ()  # files it needs there, relative; a pattern such as "wireframes/*.png" needs one match at least
    extra: ClassVar[tuple[str, ...]] = ()  # files that some options alone need: `sources` names them
    obtain: ClassVar[str] = ""  # where to get them, in one or two sentences with the address
    terms: ClassVar[str] = ""  # what its owners ask of users
    must_prepare: ClassVar[bool] = False  # True: raw files are too large to be read for every run
    choices: ClassVar[Mapping[str, tuple[object, ...]]] = {}  # option -> values it may take; other options take any
    checksums: ClassVar[Mapping[str, str]] = {}  # file -> SHA-256 of the one this suite was tested with; others are read too

    def __init__(self, **options: object) -> None:
        for key, default in self.options.items():
            value = options.pop(key, default)
            allowed = self.choices.get(key, (value,))
            if not any(
                type(value) is type(choice) and value == choice for choice in allowed
            ):  # 1 is not True: it would name the same twice
                raise ValueError(f"{key} must be one of {', '.join(map(str, allowed))}, got {value!r}")
            setattr(self, key, value)
        if options:
            raise TypeError(f"dataset {self.name} has no option {', '.join(options)}")

    def read(self, folder: Path, report: Report) -> Samples:
        """Samples from the raw files of a folder that holds them. Raises: DataError."""
        raise TypeError(f"{type(self).__name__} must define read(self, folder, report) -> Samples")

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        """The files or patterns that these options need; of each group of alternatives, the first that is there."""
        return tuple((pattern,) for pattern in self.files)

    def sources(self, folder: Path) -> list[Path]:
        """The files that `read` uses, all present, in a fixed order. Raises: DataError naming the first that is absent."""
        found: list[Path] = []
        for alternatives in self.needed:
            matches = next(filter(None, (matching(folder, pattern) for pattern in alternatives)), None)
            if matches is None:
                absent = "it is not there" if len(alternatives) == 1 else "neither is there"
                raise DataError(f"{spelled(self)} needs {' or '.join(alternatives)} in {folder}, and {absent}. {self.way_on(alternatives)}")
            found.extend(matches)
        return found

    def way_on(self, absent: tuple[str, ...]) -> str:
        """What to do where none of some alternatives is there, in a sentence or two."""
        return self.obtain

    def lack(self, folder: Path) -> str:
        """Why `read` cannot begin in a folder: what `sources` says of it; "" if all it needs is there."""
        try:
            self.sources(folder)
        except DataError as error:
            return str(error)
        return ""

    @property
    def raw_folder(self) -> Path:
        return data_root() / self.folder

    @property
    def is_here(self) -> bool:
        """Whether `load` finds what it needs: a prepared copy, or all raw files where these may be read."""
        if (self.prepared_folder / "meta.json").is_file():
            return True
        return not self.must_prepare and not self.lack(self.raw_folder)

    @property
    def prepared_folder(self) -> Path:
        """Where the prepared copy for these options is kept."""
        chosen = {key: getattr(self, key) for key in sorted(self.options) if key != INDICATORS}
        key = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        return data_root() / "prepared" / (f"{self.name}-{key}" if chosen else self.name)

    def load(self) -> Samples:
        """Samples from the prepared copy, else from the raw files. Raises: DataError that says where to get them."""
        if (self.prepared_folder / "meta.json").is_file():
            return read_prepared(self.prepared_folder).samples
        if not self.raw_folder.is_dir():
            raise DataError(
                f"{self.name} is not here: there is no folder {self.raw_folder}. {self.obtain} Then put the files there, or run "
                f"`bench data prepare {shlex.quote(spelled(self))} --from DIR`; `bench data status` shows what is there"
            )
        self.sources(self.raw_folder)
        if self.must_prepare:
            command = f"bench data prepare {shlex.quote(spelled(self))} --from {shlex.quote(str(self.raw_folder))}"
            raise DataError(f"the raw files of {self.name} are read once: run `{command}`")
        return self.read(self.raw_folder, lambda *_: None)

    def prepare(self, folder: Path, report: Report = lambda *_: None) -> Path:
        """Read raw files, check them, and write the prepared copy in one step; returns its folder. Raises: DataError."""
        if not folder.is_dir():
            files = ", ".join(" or ".join(alternatives) for alternatives in self.needed)
            raise DataError(f"there is no folder {folder}; give the folder that holds {files}")
        sources = self.sources(folder)
        samples = self.read(folder, report)
        check(samples, self.name)
        hashes = {}
        for step, path in enumerate(sources):
            report(step, len(sources), f"hashing {path.name}")
            hashes[Path(os.path.relpath(path, folder)).as_posix()] = {"sha256": sha256(path), "bytes": path.stat().st_size}
        chosen = {key: getattr(self, key) for key in self.options if key != INDICATORS}
        write_prepared(self.prepared_folder, samples, {"dataset": self.name, "options": chosen, "sources": hashes})
        return self.prepared_folder


def matching(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that a pattern names, in order."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def spelled(dataset: FileDataset, **changed: object) -> str:
    """How one asks for a dataset with its options: NAME[option=value,...], defaults left out; `changed` gives some another value."""
    chosen = {key: changed.get(key, getattr(dataset, key)) for key in dataset.options}
    words = [f"{key}={value}" for key, value in chosen.items() if value != dataset.options[key]]
    return f"{dataset.name}[{','.join(words)}]" if words else dataset.name


def check(samples: Samples, name: str) -> None:
    """What no loader can use is refused before it is written. Raises: DataError."""
    if not len(samples):
        raise DataError(f"{name} has no samples; its files are empty")
    for position, name_of in enumerate(samples.schema.names):
        for rows, array in samples.in_blocks(name_of):
            seen = array[samples.observed[rows, position]]
            if np.isinf(seen).any():
                raise DataError(f"{name_of} of {name} holds infinite values; a value must be a number, or NaN where it is missing")
            if np.isnan(seen).all(tuple(range(1, seen.ndim))).any():
                raise DataError(f"{name_of} of {name} is observed in a sample that has no value of it")


def prepared_copies(dataset: FileDataset) -> list[tuple[Path, Mapping[str, Any]]]:
    """Prepared copies of a dataset, whatever their options: folder and `meta.json`. Damaged ones are left out."""
    found: list[tuple[Path, Mapping[str, Any]]] = []
    for path in sorted((data_root() / "prepared").glob(f"{dataset.name}*/meta.json")):
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(meta, dict) and meta.get("dataset") == dataset.name:
            found.append((path.parent, meta))
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_prepared(folder: Path, samples: Samples, facts: Mapping[str, Any]) -> None:
    """Write the files of a prepared copy under another name beside `folder`, then rename: a half-written copy is never seen.

    Raises: DataError if the disk refuses.
    """
    modalities = [{"name": m.name, "letter": m.letter, "kind": m.kind, "shape": list(m.shape)} for m in samples.schema]
    meta = {
        **facts,
        "format": FORMAT,
        "rows": len(samples),
        "modalities": modalities,
        **(
            {"classes": list(samples.schema.target.names)}
            if isinstance(samples.schema.target, Classes)
            else {"target": samples.schema.target.as_json()}
        ),
        "fingerprint": samples.fingerprint(),
    }
    arrays = {f"length/{name}": array for name, array in samples.lengths.items()}
    arrays |= {"observed": samples.observed, "target": samples.target, "ids": samples.ids.astype(str)}
    for key in ("groups", "split"):
        column = getattr(samples, key)
        if column is not None:
            arrays[key] = column.astype(str)
    arrays |= {f"{ATTRIBUTE}{name}": column for name, column in samples.attributes.items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as half:
            for position, name in enumerate(samples.schema.names):
                _write_values(_values_file(Path(half), position), samples, name)
            np.savez(Path(half) / "data.npz", **arrays)  # type: ignore[arg-type]
            (Path(half) / "meta.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            Path(half).rename(folder)
            Path(half).mkdir()  # for the manager to remove
    except OSError as error:
        raise DataError(f"the prepared copy cannot be written to {folder}: {error}; give another --data-root (or BENCH_DATA)") from error


def _values_file(folder: Path, position: int) -> Path:
    """Where the values of a modality lie, by its position: a name may hold anything."""
    return folder / f"values-{position}.npy"


def _write_values(path: Path, samples: Samples, name: str) -> None:
    """The sealed values of a modality, block by block; a disk that is full raises here, as a mapped file would not."""
    shape = {modality.name: modality.shape for modality in samples.schema}[name]
    with path.open("wb") as stream:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": (len(samples), *shape)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _, array in samples.in_blocks(name):
            stream.write(np.ascontiguousarray(array, dtype="<f4").data)


def read_prepared(folder: Path) -> Prepared:
    """A prepared copy, its values mapped, not read. Raises: DataError if it is damaged or of another format, saying how to make it anew."""
    again = "make it anew with `bench data prepare`"
    try:
        for file in ("meta.json", "data.npz"):
            refuse_stand_in(folder / file)
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["format"] not in (1, FORMAT):
            raise DataError(f"the prepared copy in {folder} has format {meta['format']}, this bench reads 1 and {FORMAT}; {again}")
        schema = Schema(
            tuple(Modality(m["name"], m["letter"], m["kind"], tuple(m["shape"])) for m in meta["modalities"]),
            target_from(meta["target"]) if "target" in meta else tuple(meta["classes"]),
        )
        with (folder / "data.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            if meta["format"] == 1:
                values = {name: arrays[f"value/{name}"] for name in schema.names}
            else:
                values = {name: _mapped(_values_file(folder, position)) for position, name in enumerate(schema.names)}
            samples = Samples(
                schema,
                values,
                arrays["observed"],
                arrays["target"],
                arrays["ids"],
                arrays.get("groups"),
                arrays.get("split"),
                {name: arrays[f"length/{name}"] for name in schema.names if f"length/{name}" in arrays},
                attributes={key.removeprefix(ATTRIBUTE): array for key, array in arrays.items() if key.startswith(ATTRIBUTE)},
            )
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive makes its readers raise
        raise DataError(f"the prepared copy in {folder} is damaged ({type(error).__name__}: {error}); {again}") from error
    return Prepared(samples, meta)


def _mapped(path: Path) -> np.ndarray:
    """The array in a file, mapped to be read alone."""
    refuse_stand_in(path)
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

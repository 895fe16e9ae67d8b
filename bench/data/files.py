"""The datasets that come as files: which are here, preparing them, and checking them against what they should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import registry
from bench.datasets.base import DataError
from bench.datasets.files import FileDataset, Report, prepared_copies, read_prepared, sha256
from bench.errors import UsageError
from bench.names import Choice, parse_choice

STATES = ("prepared", "here", "to prepare", "incomplete", "absent")


def file_datasets() -> dict[str, FileDataset]:
    """Every listed dataset that comes as files, with its default options."""
    found = {name: registry.dataset_of(Choice(name)) for name in registry.dataset_names()}
    return {name: dataset for name, dataset in found.items() if isinstance(dataset, FileDataset)}


def file_dataset_of(text: str) -> FileDataset:
    """The dataset that `NAME` or `NAME[option=value]` names. Raises: UsageError if it does not come as files."""
    dataset = registry.dataset_of(parse_choice(text))
    if not isinstance(dataset, FileDataset):
        raise UsageError(f"{text} needs no files of yours; those that do: {', '.join(file_datasets())}")
    return dataset


def status() -> list[dict[str, Any]]:
    """Each dataset of files: its state (see STATES), its folder, the files that are not there, its prepared copies, where to get it.

    `tested` says whether the files are those the suite was tested with; None where there is nothing to compare.
    """
    return [_status(dataset) for dataset in file_datasets().values()]


def _status(dataset: FileDataset) -> dict[str, Any]:
    folder = dataset.raw_folder
    missing = [pattern for pattern in dataset.files if not any(folder.glob(pattern))]
    copies = [
        {"folder": str(path), "options": meta.get("options", {}), "rows": meta.get("rows")} for path, meta in prepared_copies(dataset)
    ]
    if copies:
        state = "prepared"
    elif not missing:
        state = "to prepare" if dataset.must_prepare else "here"
    else:
        state = "incomplete" if len(missing) < len(dataset.files) else "absent"
    there = {file: digest for file, digest in dataset.checksums.items() if (folder / file).is_file()}
    return {
        "name": dataset.name,
        "state": state,
        "folder": str(folder),
        "missing": missing,
        "prepared": copies,
        "tested": all(sha256(folder / file) == digest for file, digest in there.items()) if there else None,
        "options": {key: list(dataset.choices.get(key, (value,))) for key, value in dataset.options.items()},
        "obtain": dataset.obtain,
        "licence": dataset.licence,
        "terms": dataset.terms,
    }


def prepare(text: str, folder: Path | None = None, report: Report = lambda *_: None) -> dict[str, Any]:
    """Read and check the files in `folder`, by default the dataset's own, and write the prepared copy. Raises: UsageError."""
    dataset = file_dataset_of(text)
    try:
        copy = dataset.prepare(folder or dataset.raw_folder, report)
        made = read_prepared(copy)
    except DataError as error:
        raise UsageError(str(error)) from error
    return {"name": text, "folder": str(copy), "rows": len(made.samples), "fingerprint": made.meta["fingerprint"]}


def verify(text: str, folder: Path | None = None, report: Report = lambda *_: None) -> list[dict[str, Any]]:
    """Checks of what is here: the prepared copy against its fingerprint, the files against their hashes, and both against each other.

    Each check says its name, whether it passed, and what was found. Raises: UsageError if there is nothing to check.
    """
    dataset = file_dataset_of(text)
    folder = folder or dataset.raw_folder
    raw = folder.is_dir() and all(any(folder.glob(pattern)) for pattern in dataset.files)
    prepared = (dataset.prepared_folder / "meta.json").is_file()
    if not raw and not prepared:
        raise UsageError(f"there is nothing to verify: {dataset.name} is not in {folder}. {dataset.obtain}")
    checks: list[dict[str, Any]] = []
    fingerprint = None
    if prepared:
        try:
            made = read_prepared(dataset.prepared_folder)
        except DataError as error:
            return [_check("prepared copy", False, str(error))]
        checks.append(_check("prepared copy", True, f"{len(made.samples)} samples in {dataset.prepared_folder}"))
        found, fingerprint = made.samples.fingerprint(), made.meta["fingerprint"]
        checks.append(_compare("fingerprint", found, fingerprint, "the copy was changed; make it anew with `bench data prepare`"))
        if raw:
            checks += _against_sources(folder, made.meta["sources"], report)
    if not raw:
        checks.append(_check("files", True, f"not in {folder}, so the prepared copy alone was checked"))
        return checks
    for file, digest in dataset.checksums.items():
        if (folder / file).is_file():
            checks.append(
                _compare(f"{file} as tested", sha256(folder / file), digest, "another version, or damaged: numbers will not compare")
            )
    try:
        again = dataset.read(folder, report).fingerprint()
    except DataError as error:
        return [*checks, _check("files can be read", False, str(error))]
    if fingerprint is None:
        checks.append(_check("files can be read", True, f"fingerprint {again}"))
    else:
        checks.append(_compare("files read again", again, fingerprint, "the copy was made of other files, or by other code"))
    return checks


def _against_sources(folder: Path, sources: Mapping[str, Mapping[str, Any]], report: Report) -> list[dict[str, Any]]:
    checks = []
    for step, (file, facts) in enumerate(sources.items()):
        report(step, len(sources), f"hashing {file}")
        if (folder / file).is_file():
            checks.append(_compare(file, sha256(folder / file), facts["sha256"], "changed since the copy was made"))
        else:
            checks.append(_check(file, False, f"not in {folder}, and the prepared copy was made of it"))
    return checks


def _check(name: str, passed: bool, detail: str) -> dict[str, Any]:
    return {"check": name, "passed": passed, "detail": detail}


def _compare(name: str, found: str, expected: str, otherwise: str) -> dict[str, Any]:
    return _check(name, found == expected, found if found == expected else f"{otherwise}; expected {expected}, got {found}")

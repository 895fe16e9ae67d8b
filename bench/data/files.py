"""The datasets that come as files: which are here, preparing them, and checking them against what they should be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.datasets.base import DataError
from bench.datasets.described.dataset import Described
from bench.datasets.files import FileDataset, Report, matching, prepared_copies, read_prepared, sha256, spelled
from bench.errors import UsageError
from bench.names import Choice, parse_choice

STATES = ("prepared", "here", "to prepare", "incomplete", "absent")  # incomplete: some files are here, and `problem` says what is wrong


def file_datasets() -> dict[str, FileDataset]:
    """Every listed dataset that comes as files, with its default options."""
    found = {name: registry.dataset_of(Choice(name)) for name in registry.dataset_names()}
    return {name: dataset for name, dataset in found.items() if isinstance(dataset, FileDataset)}


def file_dataset_of(text: str) -> FileDataset:
    """The dataset that `NAME` or `NAME[option=value]` names. Raises: UsageError if it does not come as files."""
    dataset = registry.dataset_of(parse_choice(text))
    if isinstance(dataset, Described):
        raise UsageError(f"{text} is read from its own files each time; `bench data card {text}` says what was read and handled")
    if not isinstance(dataset, FileDataset):
        raise UsageError(f"{text} needs no files of yours; those that do: {', '.join(file_datasets())}")
    return dataset


def status() -> list[dict[str, Any]]:
    """Each dataset of files: its state (see STATES), its folder, the files that are not there, its prepared copies, where to get it.

    `asked` is the dataset with the options that state, missing files and problem are of: the default ones, or others where the folder
    holds the files of those. What is prepared misses nothing. `tested` says whether the files are those the suite was tested with; None
    where there is nothing to compare.
    """
    return [_status(dataset) for dataset in file_datasets().values()]


def _status(dataset: FileDataset) -> dict[str, Any]:
    folder = dataset.raw_folder
    copies = [
        {"folder": str(path), "options": meta.get("options", {}), "rows": meta.get("rows")} for path, meta in prepared_copies(dataset)
    ]
    asked = dataset if copies else _asked(dataset, folder)
    problem = "" if copies else asked.lack(folder)
    missing = _missing(asked, folder) if problem else []
    if copies:
        state = "prepared"
    elif not problem:
        state = "to prepare" if dataset.must_prepare else "here"
    else:
        state = "incomplete" if _some(asked, folder) else "absent"
    there = {file: digest for file, digest in dataset.checksums.items() if (folder / file).is_file()}
    return {
        "name": dataset.name,
        "asked": spelled(asked),
        "state": state,
        "folder": str(folder),
        "missing": missing,
        "problem": problem,
        "prepared": copies,
        "tested": all(sha256(folder / file) == digest for file, digest in there.items()) if there else None,
        "options": {key: list(dataset.choices.get(key, (value,))) for key, value in dataset.options.items()},
        "obtain": next((asked.way_on(names) for names in asked.needed if missing and not _there(folder, names)), dataset.obtain),
        "licence": dataset.licence,
        "terms": dataset.terms,
    }


def _asked(dataset: FileDataset, folder: Path) -> FileDataset:
    """The options whose files a folder holds: all of them, else some, the default ones first; the default ones where it holds none."""
    others = _with_other_choices(dataset)
    whole = (one for one in (dataset, *others) if not one.lack(folder))
    return next(whole, None) or next((one for one in (dataset, *others) if _some(one, folder)), dataset)


def _with_other_choices(dataset: FileDataset) -> list[FileDataset]:
    """The dataset with each choice that is not the default, one at a time: other options may read other files."""
    found = []
    for key, values in dataset.choices.items():
        for value in values:
            if value != dataset.options[key]:
                try:
                    found.append(type(dataset)(**{key: value}))
                except ValueError:  # a choice that goes with another option alone
                    continue
    return found


def _missing(dataset: FileDataset, folder: Path) -> list[str]:
    """What these options need and the folder lacks; alternatives joined by "or"."""
    return [" or ".join(names) for names in dataset.needed if not _there(folder, names)]


def _some(dataset: FileDataset, folder: Path) -> bool:
    """Whether anything that these options need is in the folder."""
    return any(_there(folder, names) for names in dataset.needed)


def _there(folder: Path, alternatives: tuple[str, ...]) -> bool:
    return any(matching(folder, name) for name in alternatives)


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
    lack = dataset.lack(folder)
    prepared = (dataset.prepared_folder / "meta.json").is_file()
    if lack and not prepared:
        raise UsageError(f"there is nothing to verify: {_absence(dataset, folder, lack)}")
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
        if lack and not _some(dataset, folder):
            return [*checks, _check("files", True, f"not in {folder}, so the prepared copy alone was checked")]
        now = [] if lack else [Path(os.path.relpath(path, folder)).as_posix() for path in dataset.sources(folder)]
        checks += _against_sources(folder, made.meta["sources"], now, report)
    if lack:
        return [*checks, _check("files can be read", False, lack)]
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
        checks.append(_check("files can be read", True, f"fingerprint {again}; no prepared copy to compare with"))
    else:
        checks.append(_compare("files read again", again, fingerprint, "the copy was made of other files, or by other code"))
    return checks


def _absence(dataset: FileDataset, folder: Path, lack: str) -> str:
    return lack if _some(dataset, folder) else f"{spelled(dataset)} is not in {folder}. {dataset.obtain}"


def _against_sources(folder: Path, sources: Mapping[str, Mapping[str, Any]], now: Sequence[str], report: Report) -> list[dict[str, Any]]:
    """The files a copy was made of against those of the folder, and those that are read `now` though it was not made of them."""
    checks = []
    for step, (file, facts) in enumerate(sources.items()):
        report(step, len(sources), f"hashing {file}")
        if (folder / file).is_file():
            checks.append(_compare(file, sha256(folder / file), facts["sha256"], "changed since the copy was made"))
        else:
            checks.append(_check(file, False, f"not in {folder}, and the prepared copy was made of it"))
    return checks + [_check(file, False, "is read now, and the prepared copy was not made of it") for file in now if file not in sources]


def _check(name: str, passed: bool, detail: str) -> dict[str, Any]:
    return {"check": name, "passed": passed, "detail": detail}


def _compare(name: str, found: str, expected: str, otherwise: str) -> dict[str, Any]:
    return _check(name, found == expected, found if found == expected else f"{otherwise}; expected {expected}, got {found}")

"""Records of some methods made into a bundle that others can verify."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import bench
from bench import registry
from bench.errors import UsageError, unknown
from bench.leaderboard.folder import publish
from bench.names import Choice, bare, bare_choice, is_file, one_choice
from bench.question.trial import Trial
from bench.records import bundle as files
from bench.records.answers import Answers
from bench.records.bundle import Bundle, Code
from bench.records.folder import Folder, answers_of
from bench.records.unpacking import open_bundle
from bench.registry import code


def bundle_of(
    out: Path | str, methods: Collection[str], to: Path | None, *, published: Path | str | None = None, suite: str | None = None,
    metric: str | None = None, with_code: bool = True,
) -> Bundle:  # fmt: skip
    """A bundle of a results or published folder, written; methods as tables name them, or as `--methods` takes them.

    It holds answers on targets of one kind, as a board does; `metric` says which where there are several. Raises: UsageError.
    """
    answers = answers_of(out, published, suite).of_kind_of(metric)
    labels = {label for name in methods for label in _labels(name, answers)}
    return write(bundled(answers, labels, with_code), to or Path(f"{answers.suite.name}.bundle"))


def _labels(name: str, answers: Answers) -> set[str]:
    """Every row that a name stands for. Raises: UsageError if there is none."""
    trials = [record.trial for record in answers.records]
    found = {trial.label for trial in trials if name == trial.label}
    found = found or {trial.label for trial in trials if bare_choice(one_choice(name)) in (bare_choice(trial.choice), bare(trial.method))}
    if not found:
        raise unknown("method in these results", name, {trial.label for trial in trials})
    return found


def bundled(answers: Answers, labels: Collection[str] = (), with_code: bool = True) -> Bundle:
    """What a bundle holds of the methods with these labels, or of all: what `publish` would write of them, and their code.

    The texts of a method from a file go in, and those of the files beside it that it imports: nobody trains it again without them.
    Raises: UsageError if code is wanted and is not what it was when a trial ran.
    """
    chosen = [record for record in answers.records if not labels or record.trial.label in labels]
    kept = replace(answers.of(chosen), left_out=())
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder = Path(place) / (answers.suite.name or "suite")
        publish(folder, kept, draw=False)
        with Folder(folder) as found:
            records = found.records()
            stored = found.predictions(record.trial.id for record in records)
            audits, commands, suite = found.audits(), found.commands, found.suite
    made, texts = _code([record.trial for record in chosen], with_code)
    return Bundle(suite, records, stored, audits, commands, made, texts, bench.__version__)


def write(bundle: Bundle, path: Path) -> Bundle:
    """Write a bundle, and read it back as a stranger would; returns that. Raises: UsageError if it cannot be, or would be refused."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_bytes(files.packed(bundle))
        found = open_bundle(fresh)
        fresh.replace(path)
    except OSError as error:
        raise UsageError(f"bundle {path} cannot be written: {error.strerror}; give another --to") from None
    finally:
        fresh.unlink(missing_ok=True)
    return replace(found, path=path)


def _code(trials: list[Trial], with_code: bool) -> tuple[list[Code], dict[str, bytes]]:
    """What the methods' versions are made of, one a version, and the texts of those from files, by member."""
    first = {trial.version: trial for trial in trials}
    made: list[Code] = []
    texts: dict[str, bytes] = {}
    for version, trial in sorted(first.items()):
        name, by_file = bare(trial.method), is_file(trial.method)
        if trial.method in registry.method_names() or not with_code:
            made.append(Code(name, version))
            continue
        try:
            cls = registry.method_class(trial.method)
            parts = code.counted(cls)
            config = registry.config_of(cls, Choice(trial.method, trial.preset, trial.options), trial.training)
        except UsageError as error:
            raise UsageError(f"the code of {name} cannot go into the bundle: {error}; make it with --no-code to leave it out") from None
        contents = code.contents_of(vars(config).values())
        now = code.version_from(parts, contents)
        if now != version:
            raise UsageError(
                f"the code of {name} is not what its trials ran: version {version} then, {now} now; bring it back, run them again, or "
                "make the bundle with --no-code"
            )
        members, entry = {}, ""
        for source in code.sources_of(cls):
            if source.text and not source.name.startswith("bench."):
                key = "" if source.name not in parts else source.name
                members[key] = f"{files.CODE}{version}/{source.below}"
                texts[members[key]] = source.text.encode()
        if by_file and "" in members and not contents:
            entry = f"{members['']}:{trial.method.rpartition(':')[2]}"
        made.append(Code(name, version, parts, contents, members, entry))
    return made, texts

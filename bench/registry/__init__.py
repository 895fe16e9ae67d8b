"""Names to classes: the catalogs, entry points, files, and classes given in Python. Imports a class only when it is asked for.

`files`: imports a user's file with those beside it. `code`: the version of a class, from every file that its code comes from. `text`: what
counts in a source text. `live`: whether the code in memory is that of its file. `cells`: classes typed into a notebook. `overrides`:
names that a class takes from its base by accident.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.datasets.base import DataError, Dataset
from bench.datasets.catalog import DATASETS, PUBLIC_IDS
from bench.datasets.files import FileDataset
from bench.errors import OtherQuestion, UsageError, unknown
from bench.methods.catalog import GROUPS, METHODS
from bench.names import DEFAULT_PRESETS, Choice, Value, is_description, one_name, parse_choice
from bench.registry import code, files
from bench.registry.overrides import check_overrides, check_set

if TYPE_CHECKING:
    from bench.datasets.described.dataset import Framed

# Classes handed over from Python, by name. Suites and trials hold names, so what a name means must be known to the whole process: that of
# the notebook, where they are given, and that of a trial, whose job brings them (`grid.job.handed_over`).
_given: dict[str, type | Framed] = {}
_versions: dict[type, str] = {}  # of those that came with a job, whose files need not be here


class Handed(NamedTuple):
    """A class given in Python, or tables, on its way to another process, with what tells its code there."""

    cls: type | Framed
    version: str
    modules: tuple[str, ...]  # from files of the user, that its code imports
    files: Mapping[str, str]  # path -> digest of each: a function may import it from there when it is called


def handed(cls: type | Framed) -> Handed:
    """A class ready to be handed over. Raises: UsageError if its code cannot be told."""
    if not isinstance(cls, type):  # its code is the suite's
        return Handed(cls, "", (), {})
    if issubclass(cls, Dataset):  # what else it does is in its samples, and these are looked at where the trial runs
        return Handed(cls, source_version(cls, is_running=True) if acting(cls) else "", (), {})
    others = [source for source in code.sources_of(cls) if source.name != cls.__module__ and not source.name.startswith("bench.")]
    return Handed(cls, source_version(cls), tuple(other.name for other in others), {str(other.path): other.digest for other in others})


def acting(cls: type[Dataset]) -> list[str]:
    """The functions of its own that a dataset has in a trial: what they do is not in its samples."""
    return [name for name in code.ACTING if getattr(cls, name) is not getattr(Dataset, name)]


def take(given: Handed) -> None:
    """Make a class known that was handed over. Raises: OtherQuestion if a file that it may import is another one here by now."""
    for path, digest in given.files.items():
        if Path(path).is_file() and code.digest_of(Path(path)) != digest:
            raise OtherQuestion(
                f"the code of {_name_of(given.cls)} is not what it was when the run was planned: {Path(path).name} has changed"
            )
    if given.version and isinstance(given.cls, type):
        _versions[given.cls] = given.version
    give(given.cls)


def give(cls: type | Framed) -> str:
    """Make a class, or tables, known under its own name for this process; returns the name. Raises: UsageError if the name is taken."""
    name = _name_of(cls)
    known = METHODS | outside("methods") | DATASETS | outside("datasets")
    before = _given.get(name, cls)
    if name in known or isinstance(before, type) != isinstance(cls, type) or _qualified(before) != _qualified(cls):
        raise UsageError(f"the name {name!r} is taken; give {'the class' if isinstance(cls, type) else 'the tables'} another name")
    _given[name] = cls
    return name


def _name_of(cls: type | Framed) -> str:
    return cls.__name__ if isinstance(cls, type) else cls.name


def _qualified(cls: type | Framed) -> str:
    return cls.__qualname__ if isinstance(cls, type) else cls.name


def given() -> dict[str, type | Framed]:
    return dict(_given)


@lru_cache
def outside(what: str) -> dict[str, str]:
    """Entry points of group `bench.methods` or `bench.datasets`: name -> "module:Class". Raises: UsageError on a repeated name."""
    table: dict[str, str] = {}
    for entry in entry_points(group=f"bench.{what}"):
        if entry.name in table or entry.name in (METHODS if what == "methods" else DATASETS):
            raise UsageError(f"two installed packages name a {what[:-1]} {entry.name!r} ({entry.value}); uninstall or rename one")
        table[entry.name] = entry.value
    return table


def method_names() -> dict[str, str]:
    """Every listed method, outside ones included: name -> "module:Class"."""
    return METHODS | outside("methods")


def dataset_names() -> dict[str, str]:
    return DATASETS | outside("datasets")


def has_public_ids(dataset: str) -> bool:
    """Whether a listed dataset has ids that anybody may see; False for what is not listed."""
    return dataset in PUBLIC_IDS


def terms_of(dataset: str) -> tuple[bool, str]:
    """Whether the owners of a listed dataset forbid publishing what is derived of it, and their terms; (False, "") for others."""
    if dataset not in DATASETS:
        return False, ""
    cls = _find(dataset, DATASETS, "dataset")
    return cls.restricted, getattr(cls, "terms", "")


def is_from_outside(dataset: str) -> bool:
    """Whether a dataset is none of the catalog: a file, a class, or of another package. Nobody has looked at it before its user does."""
    return dataset not in DATASETS


def expand_methods(texts: Iterable[str]) -> list[Choice]:
    """Choices with the groups `all`, `paper` and `reference` written out; a method named by two groups comes once."""
    choices: dict[str, Choice] = {}
    for text in texts:
        for name in GROUPS.get(text, (text,)):
            choice = parse_choice(name)
            choices.setdefault(str(choice), choice)
    return list(choices.values())


def method_class(name: str) -> type[Any]:
    """The class of a method: listed, an entry point, given from Python, or path/to/file.py:Class. Raises: UsageError."""
    cls = _find(name, method_names(), "method")
    from bench.methods.base import Estimator, Method

    if not issubclass(cls, Method | Estimator):
        raise UsageError(f"method {name!r} must derive from bench.methods.base.Method or Estimator, got {cls.__mro__[1].__name__}")
    check_overrides(cls, Method if issubclass(cls, Method) else Estimator, f"method {name!r}")
    _check_stated(cls, name)
    if any(preset in DEFAULT_PRESETS for preset in list(cls.presets)[1:]):
        raise UsageError(f"method {name!r} must name its preset {' or '.join(DEFAULT_PRESETS)} first, got {', '.join(cls.presets)}")
    from bench.methods.tracing import TABLES

    for table in cls.traces:
        if table not in TABLES:
            raise unknown(f"table in traces of method {name}", table, TABLES)
    needed: dict[type[Any], list[list[str]]] = {Method: [["forward"]], Estimator: [["fit"], ["predict_proba", "predict"]]}  # one of each
    for base, names in needed.items():
        for either in names:
            if issubclass(cls, base) and all(getattr(cls, needs) is getattr(base, needs) for needs in either):
                missing = " or, of a value, ".join(either)
                raise UsageError(f"method {name!r} does not define {missing}; see `bench new method NAME` for a working template")
    return cls


def dataset_of(choice: Choice) -> Dataset:
    """The dataset a choice names, with its options. Raises: UsageError."""
    if choice.preset:
        raise UsageError(f"a dataset has options but no preset, got {str(choice)!r}; write {choice.name}[option=value]")
    known = _given.get(choice.name)
    if known is not None and not isinstance(known, type):
        if choice.options:
            raise UsageError(f"tables given from Python have no options, got {str(choice)!r}")
        return known
    if is_description(choice.name):
        return _described(choice)
    cls = _find(choice.name, dataset_names(), "dataset")
    if not issubclass(cls, Dataset):
        raise UsageError(f"dataset {choice.name!r} must derive from bench.datasets.base.Dataset, got {cls.__mro__[1].__name__}")
    base = FileDataset if issubclass(cls, FileDataset) else Dataset
    check_overrides(cls, base, f"dataset {choice.name!r}")
    for key in choice.options:
        if key not in cls.options:
            raise unknown(f"option of dataset {choice.name}", key, cls.options or ["(none)"])
    try:
        dataset = cls(**choice.options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"dataset {str(choice)!r}: {error}") from None
    check_set(dataset, base, f"dataset {choice.name!r}")
    if choice.name in PUBLIC_IDS:
        dataset.public_ids = True
    for fact, (kind, words) in DATASET_FACTS.items():
        if not isinstance(getattr(dataset, fact), kind):
            raise UsageError(f"{fact} of dataset {str(choice)!r} must be {words}, got {getattr(dataset, fact)!r}")
    if dataset.title and not dataset.title.isprintable():
        raise UsageError(f"title of dataset {str(choice)!r} must be a text of one line, got {dataset.title!r}")
    return dataset


def _described(choice: Choice) -> Dataset:
    """The dataset that a file describes. Raises: UsageError."""
    from bench.datasets.described.dataset import Described

    path = Path(one_name(choice.name))
    if choice.options:
        raise UsageError(f"a description has no options, got {str(choice)!r}; write what is meant into {path.name}")
    if not path.is_file():
        raise UsageError(f"dataset file {choice.name!r} does not exist (looked in {Path.cwd()}); `bench new dataset` writes one")
    try:
        return Described(path)
    except DataError as error:
        raise UsageError(f"dataset {choice.name!r}: {error}") from None


DATASET_FACTS: Mapping[str, tuple[type, str]] = {
    "title": (str, "a text"),
    "source": (str, "a text"),
    "licence": (str, "a text"),
    "synthetic": (bool, "True or False"),
    "public_ids": (bool, "True or False"),
    "public_attributes": (bool, "True or False"),
    "restricted": (bool, "True or False"),
    "keeps_groups": (bool, "True or False"),
    "split_kind": (str, "a text"),
    "options": (Mapping, "a mapping, name -> default"),
    "facts": (Mapping, "a mapping, name -> text"),
    "indicators": (bool, "True or False"),
    "learns": (bool, "True or False"),
    "learns_by": (str, "a text"),
    "column_names": (Mapping, "a mapping, modality -> names of its columns"),
}
METHOD_FACTS: Mapping[str, tuple[Any, str]] = {
    "paper": (str, "a text"),
    "year": (int | None, "a whole number, or None"),
    "repository": (str | None, "a text, or None"),
    "uses_other_samples": (bool, "True or False"),
    "batch_dependent": (bool, "True or False"),
    "deviations": (tuple | list, "a tuple of texts; one text needs a comma after it"),
    "traces": (tuple | list, "a tuple of texts; one text needs a comma after it"),
    "search": (Mapping, "a mapping, Config field -> values"),
    "presets": (Mapping, "a mapping, name -> changes to Config"),
}


def _check_stated(cls: type[Any], name: str) -> None:
    """What a method's class states of itself. Raises: UsageError if it is of another type than documented."""
    for fact, (kind, words) in METHOD_FACTS.items():
        given = getattr(cls, fact)
        texts = all(isinstance(one, str) for one in given) if isinstance(given, tuple | list) else True
        if not isinstance(given, kind) or (fact == "year" and isinstance(given, bool)) or not texts:
            came = type(given).__name__ if kind is Mapping else repr(given)
            raise UsageError(f"{fact} of method {name!r} must be {words}, got {came}")
    from bench.methods.base import EstimatorConfig, Method, MethodConfig

    base = MethodConfig if issubclass(cls, Method) else EstimatorConfig
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, base)):
        raise UsageError(f"Config of method {name!r} must derive from bench.methods.base.{base.__name__}, got {cls.Config!r}")
    shared = getattr(cls.Config, "shared", ())
    if isinstance(shared, str) or not isinstance(shared, Collection) or not all(isinstance(one, str) for one in shared):
        raise UsageError(f'shared of the Config of method {name!r} must be a set of field names, such as {{"width"}}, got {shared!r}')
    for key in shared:
        if key not in {each.name for each in fields(cls.Config)}:
            raise unknown(f"field in shared of method {name}", key, [each.name for each in fields(cls.Config)])
    if not cls.presets:
        raise UsageError(f"presets of method {name!r} must hold one at least, got none; leave `presets` out for a single default")
    known = {key.name for key in fields(cls.Config)}
    for preset, changes in cls.presets.items():
        if not isinstance(preset, str) or not isinstance(changes, Mapping):
            raise UsageError(f"presets of method {name!r} must be a mapping, name -> changes to Config, got {preset!r}: {changes!r}")
        for key in changes:
            if key not in known:
                raise unknown(f"field in preset {preset} of method {name}", str(key), known)


def shared_fields(cls: type[Any] | None) -> set[str]:
    """The Config fields of a method that a suite's settings for all methods reach: those that every Config has, and what it shares.

    Methods of the suite share every field: their names mean the same in all of them. Nothing reaches a method that fits itself. Of a
    class that is not known (None) they are those of every Config.
    """
    from bench.methods.base import Method, MethodConfig

    if cls is None:
        return {key.name for key in fields(MethodConfig)}
    if not issubclass(cls, Method):
        return set()
    common, own = ({key.name for key in fields(config)} for config in (MethodConfig, cls.Config))
    return own if cls.__module__.startswith("bench.methods.") else common | set(cls.Config.shared)


def config_of(cls: type[Any], choice: Choice, training: Mapping[str, Value]) -> Any:
    """The method's Config: preset, then the suite's changes the Config has a field for, then the choice's own options.

    Raises: UsageError if the preset or an own option is not known, or a value breaks a rule of the Config.
    """
    preset = choice.preset or next(iter(cls.presets))
    if preset not in cls.presets:
        raise unknown(f"preset of {choice.name}", preset, cls.presets)
    names = {key.name: key.default for key in fields(cls.Config)}
    for key in choice.options:
        if key not in names:
            raise unknown(f"option of {choice.name}", key, names)
    changes = {**cls.presets[preset], **{key: value for key, value in training.items() if key in names}, **choice.options}
    for key, value in changes.items():
        default = names[key]
        if isinstance(default, bool | int | float | str) and not fits(value, default):
            raise UsageError(f"option {key} of {choice.name} must be of type {type(default).__name__}, got {value!r}")
    try:
        return cls.Config(**changes)
    except (TypeError, ValueError) as error:
        raise UsageError(f"config of {str(choice)!r}: {error}") from None


def fits(value: object, default: object) -> bool:
    """Whether a value has the type of the field's default; an integer may stand for a float."""
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)


def source_version(cls: type[Any], is_running: bool = False) -> str:
    """Hash of the code behind a class: see `bench.registry.code`. What was handed over to a trial's process has the one it came with.

    Raises: UsageError where the code cannot be told, or is another one in memory than in its file and not `is_running`.
    """
    return _versions.get(cls) or code.source_version(cls, is_running)


def version_of(cls: type[Any], config: Any, is_running: bool = False) -> str:
    """Hash of the code behind a class, and of the content of the files that its config names. Raises: UsageError."""
    return code.with_files(source_version(cls, is_running), vars(config).values())


def _find(name: str, table: Mapping[str, str], what: str) -> type[Any]:
    found = _given.get(name)
    if isinstance(found, type):
        return found
    if name in table:
        module_name, _, class_name = table[name].partition(":")
        before = set(sys.modules)
        module = importlib.import_module(module_name)
        code.remember(found for found in set(sys.modules) - before if found.startswith(code.OURS))
        return getattr(module, class_name)
    if ".py:" in name or name.endswith(".py"):
        return from_file(name, what)
    raise unknown(what, name, [*table, *(GROUPS if what == "method" else ())])


def from_file(name: str, what: str = "class") -> type[Any]:
    """The class of `path/to/file.py:Class`. Raises: UsageError if file or class is not there or the file does not import."""
    name = one_name(name)
    file, _, class_name = name.rpartition(":") if ".py:" in name else (name, "", "")
    path = Path(file)
    if not class_name:
        raise UsageError(f"name the class in {name!r} as {name}:Class")
    if not path.is_file():
        raise UsageError(f"{what} file {file!r} does not exist (looked in {Path.cwd()})")
    try:
        module = files.load(path)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{what} file {file!r} does not import: {type(error).__name__}: {error}") from error
    cls = getattr(module, class_name, None)
    if not isinstance(cls, type):
        here = [key for key, value in vars(module).items() if isinstance(value, type) and value.__module__ == module.__name__]
        raise unknown(f"class in {file}", class_name, here)
    return cls

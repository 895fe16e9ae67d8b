"""The code behind a class: every source file that it comes from, and their version, which is the same wherever the code is the same.

Counted is what is neither Python's library nor an installed distribution: the class's file, the files of its bases, and whatever these
import, one after the other, in functions too; of the suite itself the files of `bench.methods`, for the rest of it is the harness.
Of an installed distribution that brings the class, name and version count. The text that counts is the one that was run, not the
one that stands in a file by now.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

from bench.errors import UsageError
from bench.registry import cells, files, live
from bench.registry.text import digest

OURS = ("bench.methods.", "bench.datasets.")  # their classes are hashed by their source wherever the suite lies
READERS = (  # of datasets: what they give is in the samples
    "base", "catalog", "deferred", "described", "files", "hdf5", "pickles", "safe", "stand_ins", "tables",
)  # fmt: skip
BASES = tuple(f"bench.datasets.{name}" for name in READERS)
ACTING = ("posterior", "learn")  # the functions of a dataset that run in a trial; what others do is in its samples
_run: dict[str, tuple[ModuleSpec | None, str]] = {}  # modules by name: what tells one import from the next, and the text that was run


@dataclass(frozen=True)
class Source:
    """A file of the code behind a class."""

    name: str  # of the module, for imports inside it
    path: Path
    text: str  # empty for a compiled module
    folder: files.Folder | None = None  # that it was imported from by `files.load`

    @property
    def below(self) -> str:
        """Where the file lies below the folder that its imports start from."""
        path = self.path.resolve()
        if self.folder is not None and path.is_relative_to(root := self.folder.root.resolve()):
            return path.relative_to(root).as_posix()
        last = "/__init__.py" if path.name == "__init__.py" else ".py"
        return self.name.replace(".", "/") + last

    @property
    def digest(self) -> str:
        if not self.text:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        try:
            return digest(self.text)
        except SyntaxError as error:
            raise UsageError(f"{self.path.name} does not parse: {error.msg}, line {error.lineno}") from None


def source_version(cls: type, is_running: bool = False) -> str:
    """Hash of the code behind a class.

    Where a file has changed since this process imported it, there are two answers to what its code is: then this is refused, unless
    `is_running` says that the code in memory is the one meant.
    Raises: UsageError where the code cannot be told.
    """
    return version_from(counted(cls, is_running))


def counted(cls: type, is_running: bool = False) -> dict[str, str]:
    """What the version of a class is the hash of: the digest of each module by its name, the class's own under the empty one, and the
    version of each distribution under `==NAME`. Raises: UsageError as `source_version` does."""
    parts = _parts_of(cls)
    found = dict(parts.texts)
    sources = _sources(parts.modules, cls, is_running)
    if parts.home is not None and not is_running:
        live.check_own(cls, parts.home, {cls.__module__, *(source.name for source in sources)})
    for source in sources:
        found["" if parts.home is not None and source.name == parts.home.__name__ else source.name] = source.digest
    return found


def version_from(parts: Mapping[str, str], contents: Sequence[str] = ()) -> str:
    """The version that `counted` parts make, with the `contents` of files that options name, in the order of these options' values."""
    version = hashlib.sha256("\n".join(f"{name} {found}" for name, found in sorted(parts.items())).encode()).hexdigest()[:12]
    return hashlib.sha256("\n".join([version, *contents]).encode()).hexdigest()[:12] if contents else version


def sources_of(cls: type) -> list[Source]:
    """The files behind a class, in no order. Raises: UsageError as `source_version` does."""
    return _sources(_parts_of(cls).modules, cls, is_running=False)


@dataclass(frozen=True)
class _Parts:
    """Where the code of a class begins."""

    texts: Mapping[str, str]  # what counts beside files, by name
    modules: Sequence[ModuleType]
    home: ModuleType | None  # that of the class itself, whose name does not count


def _parts_of(cls: type) -> _Parts:
    if cells.is_typed(cls):
        typed = cells.identified(cls)
        return _Parts(typed.texts, [module for module in typed.modules if _is_counted(module)], None)
    found = [module for base in reversed(cls.__mro__) if (module := _home(base)) is not None]
    home = files.module_of(cls)
    if not found or home is None:
        raise UsageError(f"the code of {cls.__name__} cannot be told: it is in no file; write it to one and give path/to/file.py:Class")
    acting = ACTING if any(base.__module__ == "bench.datasets.base" for base in cls.__mro__) else None
    texts = cells.enclosed(cls, acting) if "<locals>" in cls.__qualname__ else {}
    texts |= {name: found for module in found if not _is_counted(module) for name, found in _distribution(module).items()}
    return _Parts(texts, [module for module in dict.fromkeys(found) if _is_counted(module)], home)


def digest_of_module(name: str) -> str:
    """Of a module of the suite's own methods or datasets, as it is here; empty if there is none."""
    specification = importlib.util.find_spec(name) if name.startswith(OURS) and name.count(".") == 2 and name.isascii() else None
    return digest_of(Path(specification.origin)) if specification is not None and specification.origin else ""


def digest_of(path: Path) -> str:
    """Of what counts in a file as it is now."""
    return Source("", path, _read(path)).digest


def with_files(code: str, values: Iterable[object]) -> str:
    """A version of code with the content of every file that an option names, such as weights."""
    digests = contents_of(values)
    return hashlib.sha256("\n".join([code, *digests]).encode()).hexdigest()[:12] if digests else code


def contents_of(values: Iterable[object]) -> list[str]:
    """SHA-256 of the content of every file that an option names, as a text or a path or among several, in the order of these values."""
    found = {value: content(path) for value in _texts(values) if (path := named_file(value)) is not None}
    return [digest for _, digest in sorted(found.items())]


def _texts(values: Iterable[object]) -> Iterator[str]:
    """Every text and path among values, inside tuples, lists, sets and mappings too."""
    for value in values:
        if isinstance(value, str | os.PathLike):
            yield os.fspath(value)
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, tuple | list | set | frozenset):
            yield from _texts(value)


def named_file(value: str) -> Path | None:
    """The file or folder that an option's text names. A word without a dot or a slash is none: it may be anything."""
    path = Path(value).expanduser()
    looks_like_one = len(value) < 4096 and any(sign in value for sign in "./\\")
    try:
        return path if looks_like_one and (path.is_file() or (path.is_dir() and len(path.parts) > 1)) else None
    except (OSError, ValueError):  # too long, or with signs that no path may have
        return None


def content(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("\n".join(f"{file.relative_to(path).as_posix()} {content(file)}" for file in inside).encode()).hexdigest()


def remember(names: Iterable[str]) -> None:
    """Note the text of modules that were imported just now."""
    for name in names:
        module = sys.modules.get(name)
        path = _file_of(module) if module is not None else None
        if module is not None and path is not None and path.suffix == ".py":
            _run[name] = (module.__spec__, _read(path))


def _home(base: type) -> ModuleType | None:
    """The module of a class, if it is one that plugs in: a method, an estimator, a dataset, or a base of one that a user wrote."""
    module = files.module_of(base)
    if module is None or module.__name__ in BASES or _file_of(module) is None:
        return None
    plugs_in = any(other.__module__ in ("bench.methods.base", "bench.datasets.base") for other in base.__mro__)
    return module if plugs_in or _is_counted(module) else None


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


def _distribution(module: ModuleType) -> dict[str, str]:
    first = module.__name__.partition(".")[0]
    names = sorted(set(_distributions().get(first, ())))
    if not names:
        raise UsageError(f"the code of {module.__name__} cannot be told: it lies among installed packages and belongs to none; install it")
    return {f"=={name}": version(name) for name in names}


@lru_cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@lru_cache
def _installed_places() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {*site.getsitepackages(), site.getusersitepackages()}
    return tuple(Path(place).resolve() for place in found)


def _is_counted(module: ModuleType) -> bool:
    """Whether the text of a module counts: it is of this suite's methods or datasets, or not installed."""
    path = _file_of(module)
    return path is not None and (module.__name__.startswith(OURS) or not (_lies_installed(path) or module.__name__.startswith("bench.")))


def _lies_installed(path: Path) -> bool:
    path = path.resolve()
    return any(part in ("site-packages", "dist-packages") for part in path.parts) or any(
        place in path.parents for place in _installed_places()
    )


def _read(path: Path) -> str:
    return importlib.util.decode_source(path.read_bytes()) if path.suffix == ".py" else ""


def _sources(modules: Iterable[ModuleType], cls: type, is_running: bool) -> list[Source]:
    """The files of modules and of what they import, each once."""
    found: dict[str, Source] = {}
    waiting: list[Source] = []
    for module in modules:
        name, path, folder = module.__name__, _file_of(module), files.folder_of(module)
        assert path is not None
        if "." in name and not name.startswith(OURS):
            waiting += _find(name.rpartition(".")[0], folder, cls, is_running)
        waiting.append(Source(name, path, _text(name, path, folder, cls, is_running), folder))
    while waiting:
        source = waiting.pop()
        if source.name in found:
            continue
        found[source.name] = source
        for name in _imported(source):
            waiting += [other for other in _find(name, source.folder, cls, is_running) if other.name not in found]
    return list(found.values())


def _text(name: str, path: Path, folder: files.Folder | None, cls: type, is_running: bool) -> str:
    """The text of a module that was run, or that would be. Raises: UsageError if another one stands in its file by now."""
    if path.suffix != ".py":
        return ""
    if folder is not None:
        return importlib.util.decode_source(folder.texts[name]) if name in folder.texts else _read(path)
    module = sys.modules.get(name)
    if module is None or _file_of(module) is None:
        return _read(path)
    now = _read(path)
    known, text = _run.get(name, (None, ""))
    if name in _run and known is module.__spec__:
        if not is_running and text != now and digest(text) != digest(now):
            raise UsageError(live.stale(cls, path))
    else:
        _run[name], text = (module.__spec__, now), now
    if not is_running and not name.startswith(OURS):  # the suite's own are imported by each trial's process, whatever is done to them here
        live.check(cls, module, text)
    return text


def _imported(source: Source) -> tuple[str, ...]:
    return _imports(source.text, source.name, source.path.name) if source.text else ()


@lru_cache(maxsize=4096)
def _imports(text: str, module: str, file: str) -> tuple[str, ...]:
    """Names of modules that a file may import, functions included, in order; of `from a import b`, both `a` and `a.b`."""
    package = module if file == "__init__.py" else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1] if package else []
                base = ".".join([*parents, *([base] if base else [])])
            if base:
                found += [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
        elif isinstance(node, ast.Call) and not module.startswith("bench."):
            found += _called(node, file)
    return tuple(sorted(set(found)))


def _called(node: ast.Call, file: str) -> Iterator[str]:
    """The module that a call imports, if it is one that does. Raises: UsageError where its name is not written out."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in ("import_module", "__import__") and not (name == "exec" and isinstance(node.func, ast.Name)):
        return
    first = node.args[0] if node.args else None
    if name == "exec" or not isinstance(first, ast.Constant) or not isinstance(first.value, str) or first.value.startswith("."):
        raise UsageError(
            f"the code of {file} cannot be told: line {node.lineno} calls {name} on what is not written out; "
            "write an import statement, so that the file it reads counts as code"
        )
    yield first.value


def _find(name: str, folder: files.Folder | None, cls: type, is_running: bool) -> Iterator[Source]:
    """The files that count of a module and of the packages it lies in; none if it is of Python, installed, or no module."""
    first = name.partition(".")[0]
    if folder is not None and folder.owns(name):
        for part in _parts(name):
            path = folder.locate(part)
            if path is not None and path.is_file():
                yield Source(part, path, _text(part, path, folder, cls, is_running), folder)
        return
    if first in sys.stdlib_module_names:
        if folder is not None and folder.locate(first) is not None:
            raise UsageError(f"{first} is a module of Python and a file beside the method's, so an import may mean either; rename the file")
        return
    if first == "bench":
        module = ".".join(name.split(".")[:3])
        specification = importlib.util.find_spec(module) if name.startswith(OURS) and not name.startswith(BASES) else None
        if specification is not None and specification.origin is not None:
            yield Source(module, path := Path(specification.origin), _text(module, path, None, cls, is_running))
        return
    place = _place_of(first)
    if place is None:
        return
    for part in _parts(name):
        path = files.file_of(place, part)
        if path is not None:
            yield Source(part, path, _text(part, path, None, cls, is_running))


def _parts(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:count]) for count in range(1, len(words) + 1)]


def _place_of(first: str) -> Path | None:
    """The folder that holds a top-level module which is not installed."""
    try:
        specification = importlib.util.find_spec(first)
    except (ImportError, ValueError):  # a module that stands in `sys.modules` alone
        return None
    if specification is None:
        return None
    if specification.origin and Path(specification.origin).is_file():
        origin = Path(specification.origin)
        place = origin.parent.parent if specification.submodule_search_locations else origin.parent
        return None if _lies_installed(origin) else place
    places = [Path(place) for place in specification.submodule_search_locations or ()]
    return next((place.parent for place in places if not _lies_installed(place)), None)

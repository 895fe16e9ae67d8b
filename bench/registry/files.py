"""Python files of a user: imported with the files beside them, apart from those of other folders, and anew once one has changed.

Two repositories often hold files of one name (`layers.py`, `utils.py`). Each folder's modules are therefore in `sys.modules` only while
one of them is being imported, and what stood there under their names comes back. No bytecode is kept or used: it is told from its source
by size and second alone, so an edit could be missed.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import UsageError

_folders: dict[Path, Folder] = {}
_lock = threading.RLock()  # of `sys.modules` while names are exchanged in it


def load(path: Path) -> ModuleType:
    """The module of a file, as the file and those that it imported from beside it are now. Raises: whatever its code raises; UsageError."""
    path = path.resolve()
    with _lock:
        return _folders.setdefault(path.parent, Folder(path.parent)).load(path)


def folder_of(module: ModuleType) -> Folder | None:
    """The folder that a module was imported from by `load`."""
    loader = getattr(module, "__loader__", None)
    return loader.folder if isinstance(loader, _Source) else None


def module_of(cls: type) -> ModuleType | None:
    """The module that defines a class under its name."""
    known = [sys.modules.get(cls.__module__), *(folder.modules.get(cls.__module__) for folder in _folders.values())]
    name = cls.__qualname__.partition(".")[0]
    held = [module for module in known if module is not None]
    exact = [module for module in held if _reached(module, cls.__qualname__) is cls]
    return next(iter([*exact, *(module for module in held if hasattr(module, name)), *held]), None)


def _reached(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def file_of(root: Path, name: str) -> Path | None:
    """The file of a module, or of a package's own module, that lies below a folder under its dotted name."""
    place = root.joinpath(*name.split("."))
    names = (place / "__init__.py", *(place.with_name(place.name + ending) for ending in (".py", *EXTENSION_SUFFIXES)))
    return next((file for file in names if file.is_file()), None)


class Folder:
    """The modules of a folder. Absolute imports find the files beside it first, as for `python FILE`; packages are known by their names."""

    def __init__(self, path: Path) -> None:
        self.path = self.root = path
        while (self.root / "__init__.py").is_file() and self.root.parent != self.root:
            self.root = self.root.parent
        self.modules: dict[str, ModuleType] = {}
        self.texts: dict[str, bytes] = {}  # of every module, as it was run
        self.answers: dict[str, bool] = {}  # of `owns`
        self.finder = _Finder(self)
        self.builtins = {**vars(builtins), "__import__": self._import}
        self.depth = 0

    def load(self, path: Path) -> ModuleType:
        if any(self._look(name) != answer for name, answer in self.answers.items()) or any(map(self._has_changed, self.texts)):
            self.modules, self.texts, self.answers = {}, {}, {}
        name = self.name_of(path)
        if name not in self.modules:
            with self.active():
                self._import_file(name, path)
        return self.modules[name]

    def name_of(self, path: Path) -> str:
        """What a file is imported as: by its package, else by a name that is nobody else's."""
        if self.root == self.path:
            return f"bench_outside_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
        return ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")

    def locate(self, name: str) -> Path | None:
        """The file, or folder of a package without `__init__.py`, that a name of this folder stands for."""
        for root in dict.fromkeys((self.path, self.root)):
            file, place = file_of(root, name), root.joinpath(*name.split("."))
            if file is not None:
                return file
            if place.is_dir() and place.name.isidentifier():
                return place
        return None

    @contextmanager
    def active(self) -> Iterator[None]:
        """While its modules are those that an import finds."""
        with _lock:
            if self.depth:
                yield
                return
            hidden = {name: sys.modules.pop(name) for name in self._names_in_use()}
            sys.modules.update(self.modules)
            sys.meta_path.insert(0, self.finder)
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1
                sys.meta_path.remove(self.finder)
                self.modules.update({name: sys.modules.pop(name) for name in self._names_in_use()})
                sys.modules.update(hidden)

    def _names_in_use(self) -> list[str]:
        return [name for name in sys.modules if self.owns(name)]

    def _import_file(self, name: str, path: Path) -> None:
        if self.root != self.path:
            if not self.owns(name):
                raise UsageError(f"the package in {self.root / name.partition('.')[0]} bears the name of a known one; rename its folder")
            importlib.import_module(name)
            return
        loader = _Source(name, str(path), self)
        module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
        module.__file__ = str(path)
        sys.modules[name] = self.modules[name] = module  # dataclasses look their module up while it is being run
        try:
            loader.exec_module(module)
        except BaseException:
            del self.modules[name], sys.modules[name]
            raise

    def owns(self, name: str) -> bool:
        """Whether a module is one of this folder: there is a file or package of its first name, unless Python or this suite has it."""
        first = name.partition(".")[0]
        if first not in self.answers:
            self.answers[first] = self._look(first)
        return self.answers[first]

    def _look(self, first: str) -> bool:
        if first == "bench" or first in sys.stdlib_module_names or (place := self.locate(first)) is None:
            return False
        if place.is_file():
            return True
        elsewhere = importlib.machinery.PathFinder.find_spec(first)
        return elsewhere is None or elsewhere.origin is None  # a folder without `__init__.py` gives way to a package that has one

    def _has_changed(self, name: str) -> bool:
        path = Path(str(self.modules[name].__file__)) if name in self.modules else None
        return path is None or not path.is_file() or path.read_bytes() != self.texts[name]

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] = (), level: int = 0
    ) -> ModuleType:  # the arguments of the function it stands for
        """`__import__` of this folder's modules: an import inside a function finds the same files as one at the top."""
        if self.depth or (not level and not self.owns(name)):
            return builtins.__import__(name, globals, locals, fromlist, level)
        with self.active():
            return builtins.__import__(name, globals, locals, fromlist, level)


class _Source(SourceFileLoader):
    """Runs a file of a folder, and keeps the text that it ran."""

    def __init__(self, name: str, path: str, folder: Folder) -> None:
        super().__init__(name, path)
        self.folder = folder

    def get_code(self, fullname: str) -> Any:
        text = self.get_data(self.path)
        self.folder.texts[fullname] = text
        return self.source_to_code(text, self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self.folder.builtins
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of a folder while it is active."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        place = self.folder.locate(fullname) if self.folder.owns(fullname) else None
        if place is None:
            return None
        if place.is_dir():
            found = ModuleSpec(fullname, None, is_package=True)
            found.submodule_search_locations = [str(place)]
            return found
        if place.suffix != ".py":
            return spec_from_file_location(fullname, place, loader=ExtensionFileLoader(fullname, str(place)))
        inside = [str(place.parent)] if place.name == "__init__.py" else None
        return spec_from_file_location(
            fullname, place, loader=_Source(fullname, str(place), self.folder), submodule_search_locations=inside
        )

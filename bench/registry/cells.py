"""Classes typed into a notebook or an interpreter: what of the other cells they use, and the text of it.

A cell has a text as long as Python remembers it, which IPython does, and Python itself from 3.13 on. What a class uses of other cells
counts as well: classes and functions by their text, plain values and arrays by what they are. Anything else cannot be told.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.registry.text import digest

MAIN = "__main__"
PLAIN = (bool, int, float, complex, str, bytes, type(None))


@dataclass
class Identified:
    """What a class of a notebook is made of."""

    texts: dict[str, str] = field(default_factory=dict)  # names of the notebook, and digests of what they stand for
    modules: list[ModuleType] = field(default_factory=list)  # from files, that it uses


def is_typed(cls: type) -> bool:
    """Whether a class was typed in and is in no file."""
    if cls.__module__ != MAIN:
        return False
    file = getattr(sys.modules.get(MAIN), "__file__", None)
    return file is None or all(function.__code__.co_filename != file for function in _functions_of(cls))


def identified(cls: type) -> Identified:
    """What a class of a notebook and all that it uses of other cells are. Raises: UsageError where that cannot be told."""
    found = Identified()
    _add(cls.__qualname__, cls, cls, found)
    found.texts[""] = found.texts.pop(cls.__qualname__)
    return found


def enclosed(cls: type, names: Container[str] | None = None) -> dict[str, str]:
    """Digests of what the functions of a class use of the function that it was made in; of those of these names, if some are given.

    Raises: UsageError where that cannot be told.
    """
    found: dict[str, str] = {}
    waiting = [function for function in _functions_of(cls) if names is None or function.__name__ in names]
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        seen.add(function)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            value = cell.cell_contents
            if isinstance(value, FunctionType):
                waiting += [] if value in seen else [value]  # its text is in the same file
            elif not isinstance(value, type | ModuleType):
                found[f"<{name}>"] = _of_value(name, value, cls, "the function that it is made in")
    return found


def _add(name: str, value: Any, cls: type, found: Identified) -> None:
    """Note what a name stands for, and go on to what that uses."""
    if name in found.texts:
        return
    if isinstance(value, ModuleType):
        if value not in found.modules and value.__name__.partition(".")[0] not in sys.stdlib_module_names:
            found.modules.append(value)
    elif isinstance(value, type | FunctionType) and value.__module__ == MAIN:
        text, node = _definition(value, cls)
        found.texts[name] = digest(text)
        space = _space_of(value)
        for other in sorted(set(_names(node))):
            if other in space and other != name:
                _add(other, space[other], cls, found)
        for base in value.__mro__[1:] if isinstance(value, type) else ():
            if base.__module__ == MAIN:
                _add(base.__qualname__, base, cls, found)
            elif base.__module__ in sys.modules and sys.modules[base.__module__] not in found.modules:
                _add(base.__module__, sys.modules[base.__module__], cls, found)
    elif isinstance(value, type | FunctionType) or callable(value):
        module = sys.modules.get(getattr(value, "__module__", None) or "")
        if module is None or module.__name__ == MAIN:
            raise _unknown(name, value, cls)
        _add(module.__name__, module, cls, found)
    else:
        found.texts[name] = _of_value(name, value, cls)


def _of_value(name: str, value: Any, cls: type, where: str = "this notebook") -> str:
    """Digest of a plain value, an array, or a list or table of these. Raises: UsageError."""
    if isinstance(value, PLAIN):
        text = f"{type(value).__name__} {value!r}".encode()
    elif isinstance(value, list | tuple):
        text = " ".join([type(value).__name__, *(_of_value(name, item, cls, where) for item in value)]).encode()
    elif isinstance(value, dict):
        text = " ".join(_of_value(name, item, cls, where) for pair in value.items() for item in pair).encode()
    elif isinstance(value, set | frozenset):
        text = " ".join(["set", *sorted(_of_value(name, item, cls, where) for item in value)]).encode()
    else:
        array = value.detach().cpu().numpy() if type(value).__module__ == "torch" and hasattr(value, "detach") else value
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.hasobject:
            raise _unknown(name, value, cls, where)
        text = f"{array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(text).hexdigest()


def _unknown(name: str, value: Any, cls: type, where: str = "this notebook") -> UsageError:
    return UsageError(
        f"the code of {cls.__name__} cannot be told: it uses {name}, a {type(value).__name__} of {where}; make it inside the class, "
        f"or write the class to a file and give path/to/file.py:{cls.__name__}"
    )


def _definition(value: type | FunctionType, cls: type) -> tuple[str, ast.AST]:
    """The text of the cell's statement that defines a class or function, and its tree. Raises: UsageError if no text is kept."""
    for code in dict.fromkeys(function.__code__ for function in _functions_of(value)):
        text = "".join(linecache.getlines(code.co_filename))
        try:
            tree = ast.parse(text)
        except SyntaxError:  # a cell with commands of IPython, which no parser of Python reads
            tree = ast.Module([], [])
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == value.__name__:
                begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if isinstance(value, type) or begin <= code.co_firstlineno <= (node.end_lineno or begin):
                    lines = text.split("\n")[begin - 1 : node.end_lineno]
                    return "\n".join(line[node.col_offset :] for line in lines), node
    raise UsageError(
        f"the code of {cls.__name__} cannot be told: the text of {value.__name__} is not kept here; "
        f"write the class to a file and give path/to/file.py:{cls.__name__}"
    )


def _functions_of(value: Any) -> Iterator[FunctionType]:
    """A function, or the functions of a class that were written out."""
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, type):
        for item in vars(value).values():
            function = getattr(item, "__func__", getattr(item, "fget", item))
            if isinstance(function, FunctionType) and function.__code__.co_filename != "<string>":  # of a dataclass
                yield function


def _space_of(value: Any) -> dict[str, Any]:
    """The names that the code of a class or function sees."""
    return next((function.__globals__ for function in _functions_of(value)), vars(sys.modules[MAIN]))


def _names(node: ast.AST) -> Iterator[str]:
    for found in ast.walk(node):
        if isinstance(found, ast.Name):
            yield found.id

"""Whether the code of a class in memory is that of its file: what was edited, patched or reloaded in a running process.

Python keeps no text of a module. So at first sight a class is compared with its file, function by function and constant by constant;
from then on the text is known (see `bench.registry.code`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Container, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from bench.errors import UsageError

PLAIN = (bool, int, float, complex, str, bytes, type(None))
HAS_DOCSTRING = 0x4000000  # of a code object, from Python 3.13 on


def stale(cls: type, path: Path, what: str = "") -> str:
    return (
        f"{cls.__name__} in this process is not what {path.name} says{f' ({what})' if what else ''}: the file has changed since it was "
        "imported, or its module was changed in memory; reload it (importlib.reload, and take "
        f"{cls.__name__} from it anew) or restart Python"
    )


def check(cls: type, module: ModuleType, text: str) -> None:
    """Compare what is in memory of a module with the text that it was run from. Raises: UsageError if they differ."""
    path = Path(str(module.__file__))
    if type(module.__loader__) is not SourceFileLoader:  # whoever loads in another way may run another code, as pytest does
        return
    try:
        compiled = compile(text, str(path), "exec", dont_inherit=True)
        tree = ast.parse(text)
    except SyntaxError as error:
        raise UsageError(stale(cls, path, f"line {error.lineno} does not parse")) from None
    written: dict[str, list[object]] = {}
    for code in _codes(compiled):
        written.setdefault(code.co_qualname, []).append(_print_of(code))
    for function in _functions(module):
        code = function.__code__
        if code.co_filename == compiled.co_filename and _print_of(code) not in written.get(code.co_qualname, []):
            raise UsageError(stale(cls, path, f"function {code.co_qualname}"))
    for owner, name, value in _constants(tree):
        holder = module if not owner else getattr(module, owner, None)
        if holder is not None and name in vars(holder) and not _same(vars(holder)[name], value):
            where = f"{owner}.{name}" if owner else name
            raise UsageError(stale(cls, path, f"{where} is {vars(holder)[name]!r:.40} here, {value!r:.40} there"))


def check_own(cls: type, module: ModuleType, counted: Container[str]) -> None:
    """A class must be the one that its module holds, its functions of modules that count as its code. Raises: UsageError."""
    path = Path(str(getattr(module, "__file__", "") or module.__name__))
    if "<locals>" not in cls.__qualname__:
        found: object = module
        for name in cls.__qualname__.split("."):
            found = getattr(found, name, None)
        if isinstance(found, type) and found is not cls:
            raise UsageError(stale(cls, path, "the module holds a newer class of this name"))
        if found is None:
            raise UsageError(f"{cls.__name__} is not in {path.name}, so its code cannot be told; define it there under its name")
    for base in cls.__mro__:
        for value in vars(base).values() if base.__module__ in counted else ():
            where = getattr(value, "__module__", None) if isinstance(value, FunctionType) else base.__module__
            if where not in counted and where in sys.modules and where.partition(".")[0] != "bench":
                raise UsageError(
                    f"{base.__name__}.{value.__name__} was put in from {where}, so {path.name} does not tell its code; write it there"
                )


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _print_of(code: CodeType) -> object:
    """What a function does, without where it stands and what its docstring says."""
    constants = list(code.co_consts)
    if constants and isinstance(constants[0], str) and (sys.version_info < (3, 13) or code.co_flags & HAS_DOCSTRING):
        constants[0] = None
    return (
        code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags,
        tuple(_print_of(item) if isinstance(item, CodeType) else (type(item).__name__, repr(item)) for item in constants),
    )  # fmt: skip


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """Every function that a module defines, alone or in its classes."""
    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield from _of_class(value)
        else:
            yield from _unwrapped(value, module.__name__)


def _of_class(cls: type) -> Iterator[FunctionType]:
    for value in list(vars(cls).values()):
        if isinstance(value, type) and value.__qualname__.startswith(f"{cls.__qualname__}."):
            yield from _of_class(value)
        elif isinstance(value, property):
            for function in (value.fget, value.fset, value.fdel):
                yield from _unwrapped(function, cls.__module__)
        else:
            yield from _unwrapped(getattr(value, "__func__", getattr(value, "func", value)), cls.__module__)


def _unwrapped(value: object, module: str) -> Iterator[FunctionType]:
    seen = 0
    while hasattr(value, "__wrapped__") and seen < 20:
        value, seen = value.__wrapped__, seen + 1
    if isinstance(value, FunctionType) and (value.__module__ == module or value.__module__ == "__main__"):
        yield value


def _constants(tree: ast.Module) -> Iterator[tuple[str, str, object]]:
    """Plain values that a text gives to a name once, at the top or in a class at the top: class or nothing, name, value."""
    for owner, body in (("", tree.body), *((node.name, node.body) for node in tree.body if isinstance(node, ast.ClassDef))):
        given: dict[str, list[ast.expr | None]] = {}
        for statement in body:
            for node in ast.walk(statement) if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) else ():
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    given.setdefault(node.id, []).append(getattr(statement, "value", None) if statement in body else None)
        for name, values in given.items():
            if len(values) == 1 and isinstance(values[0], ast.Constant | ast.UnaryOp):
                try:
                    yield owner, name, ast.literal_eval(values[0])
                except ValueError:
                    continue


def _same(here: object, there: object) -> bool:
    """Equal, or no plain value at all: a field or a descriptor may have taken its place."""
    return not isinstance(here, PLAIN) or (type(here) is type(there) and (here == there or repr(here) == repr(there)))

"""Names that a user's class gives to something of its own, and that its base has for something else: refused by name.

A helper called `parts` or `learn` would be called as the base's function is, and fail in a trial, or worse, not fail.
"""

from __future__ import annotations

import inspect
from types import FunctionType

from bench.errors import UsageError


def check_overrides(cls: type, base: type, what: str) -> None:
    """Whatever `cls` writes over of `base` must be of its kind: a function called alike, no function for a fact. Raises: UsageError."""
    own = [one for one in cls.__mro__ if one not in base.__mro__ and not one.__module__.startswith("bench.")]
    for one in own:
        for name, value in vars(one).items():
            before = inspect.getattr_static(base, name, None)
            if before is None or (name.startswith("__") and name.endswith("__")):
                continue
            reason = _reason(before, value)
            if reason:
                raise UsageError(f"{what}: {name} of {one.__name__} {reason}; give your own another name")


def check_set(made: object, base: type, what: str) -> None:
    """What `__init__` sets must not hide a function of `base`. Raises: UsageError."""
    for name in vars(made):
        if isinstance(inspect.getattr_static(base, name, None), FunctionType):
            raise UsageError(f"{what}: self.{name} hides the function {name} of {base.__name__}; give your own another name")


def _reason(before: object, value: object) -> str:
    """Why `value` cannot stand where a base has `before`; "" if it can."""
    before = before.__func__ if isinstance(before, staticmethod | classmethod) else before
    if isinstance(before, FunctionType):
        function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if not callable(function):
            return f"must be a function, for bench calls {_call(before)}, got {function!r:.60}"
        if isinstance(value, FunctionType) and not _takes(value, before):
            return f"must take what bench gives it, {_call(before)}, and takes {inspect.signature(value)}"
        return ""
    is_function = isinstance(value, FunctionType | staticmethod | classmethod)
    if is_function and not callable(before):
        return "is a function, and the base has a fact of this name"
    return ""


def _call(function: FunctionType) -> str:
    names = list(inspect.signature(function).parameters.values())[1:]
    shown = [str(one.replace(annotation=inspect.Parameter.empty)) for one in names]
    return f"{function.__name__}({', '.join(shown)})"


def _takes(value: FunctionType, before: FunctionType) -> bool:
    """Whether a function can be called with all that another one takes by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one for one in inspect.signature(before).parameters.values() if one.kind in kinds and one.default is one.empty]
    try:
        inspect.signature(value).bind(*needed)
    except TypeError:
        return False
    return True

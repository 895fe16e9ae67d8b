"""JSON that somebody else wrote: refused unless it is what our own classes would have written. Free of torch.

No key comes twice, no number is NaN or infinite, nothing is nested without end, and every value has the type that its field states.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from bench.datasets.pickles import Refused

MAX_DEPTH = 8
MAX_WORDS = 20_000  # characters of a text
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
MARKUP = re.compile(r"\]\(|!\[|```")  # a link, a picture or a fence on a page; what opens HTML is written so that it does not


def parsed(data: bytes, what: str) -> Any:
    """The value of a JSON text. Raises: Refused; `what` it is of."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{what} is not UTF-8") from None
    _check_depth(text, what)
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except Refused as error:
        raise Refused(f"{what} {error}") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{what} is no JSON: {' '.join(str(error).split())[:120]}") from None


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for sign in re.findall(r"[\[\]{}]", STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        if depth > MAX_DEPTH:
            raise Refused(f"{what} is nested more than {MAX_DEPTH} deep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Refused(f"has the key {next(name for name in names if names.count(name) > 1)[:60]!r} twice")
    return found


def _no_number(text: str) -> Any:
    raise Refused(f"holds {text}, which is no number; null stands for what is not known")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Refused(f"holds the number {text[:40]}, which is infinite")
    return value


def check(value: object, kind: Any, where: str) -> None:
    """Whether a JSON value is of the type that an annotation states, texts and all. Raises: Refused; `where` it stands.

    A dataclass stands for an object with its fields as keys; what has a default may be absent. `Any` is a plain value.
    """
    if is_dataclass(kind):
        _check_object(value, kind, where)
        return
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        _check_one_of(value, inner, where)
    elif origin in (list, tuple):
        if not isinstance(value, list):
            raise Refused(f"{where} must be a list, got {_came(value)}")
        for place, item in enumerate(value):
            check(item, inner[0], f"{where}[{place}]")
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise Refused(f"{where} must be an object, got {_came(value)}")
        for key, item in value.items():
            check(key, str, f"a key of {where}")
            if item is not None or inner[1] is not float:  # null is NaN
                check(item, inner[1], f"{where}.{key}")
    else:
        _check_plain(value, kind, where)


def _check_one_of(value: object, kinds: tuple[Any, ...], where: str) -> None:
    reasons = []
    for kind in kinds:
        try:
            check(value, kind, where)
        except Refused as error:
            reasons.append(str(error))
        else:
            return
    raise Refused(reasons[0])


def _check_object(value: object, kind: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise Refused(f"{where} must be an object, got {_came(value)}")
    hints = _hints(kind)
    unknown = [key for key in value if key not in hints]
    if unknown:
        raise Refused(f"{where} has the key {unknown[0][:60]!r}, which this bench does not know; if a newer one wrote it, upgrade")
    for key, item in value.items():
        if item is not None or key not in _optional(kind):
            check(item, hints[key], f"{where}.{key}")


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return {key: hint for key, hint in get_type_hints(kind).items() if key in {one.name for one in fields(kind)} - {"more", "row", "data"}}


@lru_cache
def _optional(kind: Any) -> frozenset[str]:
    """Fields that may be null though their type does not say so: a NaN is stored as null."""
    return frozenset(key for key, hint in _hints(kind).items() if hint is float or hint == float | None)


def _check_plain(value: object, kind: Any, where: str) -> None:
    if isinstance(value, str):
        if not value.isprintable() or len(value) > MAX_WORDS:
            raise Refused(f"{where} must be a text of one line and at most {MAX_WORDS} signs, got {value[:60]!r}")
        if MARKUP.search(value):
            raise Refused(f"{where} holds markup, which would act on a page: {value[:60]!r}")
    allowed = {float: (int, float), Any: (bool, int, float, str, type(None))}.get(kind, (kind,))
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind not in (bool, Any)):
        raise Refused(f"{where} must be {_words(kind)}, got {_came(value)}")
    if isinstance(value, int) and abs(value) > 2**63:
        raise Refused(f"{where} is a number of {len(str(value))} digits")


def _words(kind: Any) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
    return names.get(kind, "a plain value")


def _came(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"

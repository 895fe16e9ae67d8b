"""What a dataset hands over as arrays: plain numpy arrays, texts and names, or one line that says what came and how to convert it.

A column that is looked up by label (a pandas Series), hides cells (a masked array) or keeps two dimensions (a matrix) means something
else than its rows in order, and nothing fails: so what is not a plain array is refused.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np

CONVERSIONS = {  # where a type is at home, its name -> what makes a plain array of it
    ("pandas", "Categorical"): "use np.asarray(...)",
    ("pandas", ""): "use .to_numpy()",
    ("polars", ""): "use .to_numpy()",
    ("torch", ""): "use .cpu().numpy()",
    ("numpy", "MaskedArray"): "fill what is masked and use .filled(...)",
    ("numpy", ""): "use np.asarray(...)",
    ("builtins", "NoneType"): "it must be given",
}


def kind_of(given: object) -> str:
    """What something is, in words: `a list`, `pandas Series`."""
    module, name = type(given).__module__.partition(".")[0], type(given).__name__
    if given is None:
        return "None"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}" if module == "builtins" else f"{module} {name}"


def plain(name: str, given: object, rows: int | None = None) -> np.ndarray:
    """The array itself, if it is a plain one. Raises: ValueError that says what came and how to convert it."""
    if type(given) in (np.ndarray, np.memmap):
        return given  # type: ignore[return-value]
    module = type(given).__module__.partition(".")[0]
    way = CONVERSIONS.get((module, type(given).__name__)) or CONVERSIONS.get((module, "")) or "use np.array(...)"
    size = "" if rows is None else f" of {rows}"
    raise ValueError(f"{name} must be a numpy array{size}, got {kind_of(given)}; {way}")


def flat_column(name: str, given: object, rows: int | None = None) -> np.ndarray:
    """A plain array with one dimension and, if given, so many rows. Raises: ValueError."""
    array = plain(name, given, rows)
    size = "of one dimension" if rows is None else f"of {rows}"
    if array.ndim != 1:
        way = "; use .ravel()" if array.ndim > 1 and array.size == len(array) else ""
        raise ValueError(f"{name} must be a numpy array {size}, got shape {array.shape}{way}")
    if rows is not None and len(array) != rows:
        raise ValueError(f"{name} must be a numpy array {size}, got {len(array)}")
    return array


def named(name: str, what: str, given: object, rows: int) -> np.ndarray:
    """A column that names something in every row: texts, or numbers or times. Shapes: -> (N,).

    Objects that are all texts or all whole numbers are taken as such. Raises: ValueError naming the first row without a name, or the
    first rows of two types.
    """
    array = flat_column(name, given, rows)
    if array.dtype.kind not in "OUSTbiufMm":
        raise ValueError(f"{name} must be texts or numbers, got {array.dtype}; use .astype(str)")
    if array.dtype.kind in "OT":
        array = _of_objects(name, what, array.astype(object))
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} must be texts, got bytes that are not UTF-8 ({error.object[:20]!r}); decode them") from None
    if array.dtype.kind == "U":
        absent = np.char.strip(array) == ""
    elif array.dtype.kind == "f":
        absent = np.isnan(array)
    elif array.dtype.kind in "Mm":
        absent = np.isnat(array)
    else:
        absent = np.zeros(len(array), dtype=bool)
    if absent.any():
        raise _nameless(name, what, int(absent.argmax()))
    return array


def _of_objects(name: str, what: str, array: np.ndarray) -> np.ndarray:
    kinds: dict[type, int] = {}  # text or whole number -> its first row
    for row, item in enumerate(array.tolist()):
        if _is_nothing(item):
            raise _nameless(name, what, row)
        kind = str if isinstance(item, str) else int if isinstance(item, Integral) and not isinstance(item, bool) else type(item)
        kinds.setdefault(kind, row)
    if len(kinds) > 1 or not kinds.keys() <= {str, int}:
        came = " and ".join(f"{kind.__name__} in row {row}" for kind, row in list(kinds.items())[:2])
        raise ValueError(f"{name} must be all texts or all whole numbers, got {came}; use .astype(str) if that tells them apart")
    if str in kinds:
        return array.astype(str)
    fits = all(abs(item) < 2**63 for item in array.tolist())
    return array.astype(np.int64) if fits else array.astype(str)


def _is_nothing(item: object) -> bool:
    """None, NaN, NaT and pandas' NA."""
    if item is None or type(item).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(item, np.datetime64 | np.timedelta64):
        return bool(np.isnat(item))
    return isinstance(item, float | np.floating) and bool(np.isnan(item))


def _nameless(name: str, what: str, row: int) -> ValueError:
    return ValueError(f"{name} must name {what} for every row, row {row} has none; fill it in, or leave such rows out")


def text(what: str, given: object) -> str:
    """A text of one line that is not empty. Raises: ValueError."""
    if not isinstance(given, str):
        raise ValueError(f"{what} must be a text, got {given!r} ({kind_of(given)})")
    if not given.strip() or not given.isprintable():
        raise ValueError(f"{what} must be a text of one line without control characters, got {given!r}")
    return str(given)  # numpy's texts print otherwise, which would tell equal schemas apart

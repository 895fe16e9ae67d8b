"""A pickle machine that can only make plain Python values and numpy arrays.

A pickle is a program. This machine knows the instructions of protocols 0 to 5 that build numbers, texts, lists, sets, dictionaries and
arrays, and no other. A name in the file (`numpy.ndarray`, `os.system`) is never imported: it becomes an inert `Token`, and calling a
token does what this module says for the few names it knows, or refuses. Arrays are made by us from their bytes, whose number must fit
the declared shape, so that a short file cannot ask for much memory, and no numpy or torch code sees what the file says about types.
Sets and keys are texts and numbers, whose hashes do not collide by the thousand.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, ClassVar

import numpy as np

MAX_STEPS = 300_000  # instructions of one pickle, so that small objects stay below 100 MB; arrays take some 30, a text 3
MAX_DEPTH = 16  # of lists in lists
MAX_ITEM = 2**20  # bytes of one array element

_CODES = (
    "MARK", "STOP", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1",
    "BININT2", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST",
    "EMPTY_LIST", "APPEND", "APPENDS", "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT",
    "LONG_BINPUT", "MEMOIZE", "PROTO", "FRAME", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "PERSID", "BINPERSID",
    "EMPTY_SET",
)  # fmt: skip


class Refused(ValueError):
    """Something that no honest file of the kind holds."""


class Token:
    """A name that a pickle mentions. It has no attributes to set and cannot be called."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Type:
    """A numpy dtype as a pickle spells it: its code and, by BUILD, its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object) -> None:
        text = code.decode("latin-1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not re.fullmatch(r"[biufSU]\d{1,7}|O8?|b1", text):
            raise Refused("it holds an array that is neither of numbers nor of texts")
        self.code, self.order = text, "="

    def build(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) >= 5 else None
        order = order.decode("latin-1") if isinstance(order, bytes) else order
        if not isinstance(state, tuple) or order not in ("<", ">", "=", "|") or any(field is not None for field in state[2:5]):
            raise Refused("it holds an array of a type with fields or a wrong byte order")
        self.order = str(order)

    @property
    def dtype(self) -> np.dtype:
        return plain_dtype(self.code if self.order == "|" else f"{self.order}{self.code}")


class _Array:
    """An array whose shape, type and bytes come by BUILD."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5) or not isinstance(state[-3], _Type):
            raise Refused("it holds an array without shape, type and bytes")
        shape, kind, fortran, raw = state[-4:]
        self.value = array_of(raw, kind.dtype, shape, "F" if fortran else "C")


def plain_dtype(code: str) -> np.dtype:
    """A dtype of numbers, texts, bytes or objects. Raises: Refused on another."""
    try:
        dtype = np.dtype(code)
    except TypeError:
        raise Refused(f"it holds an array of unknown type {code[:20]}") from None
    if dtype.kind not in "biufSUO" or dtype.itemsize > MAX_ITEM or dtype.names or dtype.subdtype:
        raise Refused("it holds an array that is neither of numbers nor of texts")
    return dtype


def array_of(raw: object, dtype: np.dtype, shape: object, order: str) -> np.ndarray:
    """An array over the given bytes or, for objects, list. Raises: Refused if their number does not fit the shape."""
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(size) is int and 0 <= size < 2**48 for size in shape):
        raise Refused("it holds an array of an impossible shape")
    count = math.prod(shape)
    if dtype.kind == "O":
        if not isinstance(raw, list) or len(raw) != count or not all(isinstance(item, str | bytes | int | float | None) for item in raw):
            raise Refused("it holds an array of objects that are not all texts or numbers")
        flat = np.empty(count, dtype=object)
        flat[:] = raw
        return flat.reshape(shape)
    data = raw.encode("latin-1") if isinstance(raw, str) else raw
    if not isinstance(data, bytes | bytearray) or len(data) != count * dtype.itemsize:
        raise Refused(f"it holds an array whose bytes do not fit its shape {shape}")
    if count == 0 or dtype.itemsize == 0:
        return np.zeros(shape if count == 0 else (0,), dtype=dtype)
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(cls: object, shape: object, code: object) -> _Array:
    if not isinstance(cls, Token) or cls.name != "numpy.ndarray" or shape != (0,):
        raise Refused("it makes an array in a way that numpy does not")
    return _Array()


def _from_buffer(raw: object, kind: object, shape: object, order: object) -> np.ndarray:
    if not isinstance(kind, _Type):
        raise Refused("it holds an array without a type")
    return array_of(raw, kind.dtype, shape, str(order))


def _scalar(kind: object, raw: object) -> object:
    if not isinstance(kind, _Type) or kind.dtype.kind == "O":
        raise Refused("it holds a number without a type")
    return array_of(raw, kind.dtype, (1,), "C")[0]


def _encode(text: object, codec: object = "utf-8") -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Refused("it encodes text in a way that arrays do not need")
    return text.encode("latin-1")


def _set(kind: type) -> Callable[..., object]:
    """A set or frozenset of a list, as protocols 0 to 3 make one."""

    def make(items: object = ()) -> object:
        if type(items) not in (list, tuple):
            raise Refused("it makes a set of something that is no list")
        return kind(_members(items))  # type: ignore[arg-type]

    return make


Calls = Mapping[str, Callable[..., object]]  # what calling a name does
_CORE: Calls = {"multiarray._reconstruct": _reconstruct, "multiarray.scalar": _scalar, "numeric._frombuffer": _from_buffer}
ARRAYS: Calls = {
    "numpy.dtype": lambda code, *_: _Type(code),
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how protocols 0 to 2 write no bytes
    **{f"{module}.{kind.__name__}": _set(kind) for module in ("builtins", "__builtin__") for kind in (set, frozenset)},
    **{f"numpy.{core}.{name}": function for core in ("core", "_core") for name, function in _CORE.items()},
}
NAMES = frozenset({"numpy.ndarray"})  # what may be mentioned but not called


_INSTRUCTIONS = {ord(instruction.code): instruction.name for instruction in pickletools.opcodes}


class _Counted(dict):
    """The instruction table. Every instruction looks itself up here, so this is where they are counted."""

    def __init__(self, table: Mapping[int, Callable]) -> None:
        super().__init__(table)
        self.steps = 0

    def __getitem__(self, code: int) -> Callable:
        self.spend(1)
        if code not in self:
            if code not in _INSTRUCTIONS:
                raise Refused(f"its pickle has byte {code:#04x} where an instruction should be; it is damaged or no pickle")
            raise Refused(f"its pickle uses instruction {_INSTRUCTIONS[code]}, which arrays do not need")
        return super().__getitem__(code)

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise Refused(f"its pickle has more than {MAX_STEPS} instructions")


class Machine(pickle._Unpickler):
    """Loads one pickle; `resolve(machine.load())` is the value. Raises: Refused, or whatever a damaged pickle causes."""

    TABLE: ClassVar = {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _CODES}

    def __init__(self, stream: BinaryIO, size: int, calls: Calls, names: frozenset[str] = NAMES) -> None:
        """`size` is the number of bytes the stream may give, `calls` what calling a name does."""
        super().__init__(_Bounded(stream, size), encoding="bytes")
        self.calls, self.names = calls, names
        self.counted = _Counted(self.TABLE)
        self.dispatch = self.counted  # type: ignore[misc]

    def find_class(self, module: str, name: str) -> Any:
        known = f"{module}.{name}"
        if known not in self.calls and known not in self.names:
            raise Refused(f"it asks for {known[:80]}, which is no part of an array; nothing was run")
        return Token(known)

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        if not isinstance(function, Token) or function.name not in self.calls or not isinstance(arguments, tuple):
            raise Refused("it calls something that is no part of an array; nothing was run")
        self.counted.spend(sum(len(item) for item in arguments if isinstance(item, list | tuple)))  # a call may copy one list many times
        self.stack.append(self.calls[function.name](*arguments))  # type: ignore[attr-defined]

    def load_build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        value = self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(value, _Type | _Array):
            raise Refused("it changes something that is no array")
        value.build(state)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        _fill(self.stack[-1], [key, value])  # type: ignore[attr-defined]

    def load_setitems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        _fill(self.stack[-1], items)  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        made: dict = {}
        _fill(made, items)
        self.append(made)  # type: ignore[attr-defined]

    def load_append(self) -> None:
        value = self.stack.pop()  # type: ignore[attr-defined]
        _extend(self.stack[-1], [value])  # type: ignore[attr-defined]

    def load_appends(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        _extend(self.stack[-1], items)  # type: ignore[attr-defined]

    def load_additems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        if type(self.stack[-1]) is not set:  # type: ignore[attr-defined]
            raise Refused("it adds to something that is no set")
        self.stack[-1].update(_members(items))  # type: ignore[attr-defined]

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append(frozenset(_members(items)))  # type: ignore[attr-defined]

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(self.read(size))  # type: ignore[attr-defined]

    def persistent_load(self, key: object) -> object:
        raise Refused("its pickle refers to something outside the file")

    for _name in ("reduce", "build", "setitem", "setitems", "dict", "append", "appends", "additems", "frozenset", "bytearray8"):
        TABLE[getattr(pickle, _name.upper())[0]] = locals()[f"load_{_name}"]


class _Bounded:
    """A stream that never gives, nor makes room for, more bytes than the file has left."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.left = stream, size

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise Refused(f"its pickle is cut short: {size} bytes are announced, {self.left} are there")
        self.left -= size
        return self.stream.read(size)

    def readline(self) -> bytes:
        line = self.stream.readline(self.left)
        self.left -= len(line)
        return line

    def readinto(self, buffer: bytearray) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _fill(target: object, items: list) -> None:
    if (
        not isinstance(target, dict)
        or len(items) % 2
        or not all(isinstance(key, str | bytes | int) and _is_plain(key) for key in items[::2])
    ):
        raise Refused("it holds a dictionary whose keys are not texts or numbers of 64 bits")
    target.update(zip(items[::2], items[1::2], strict=True))


def _is_plain(value: object) -> bool:
    """Whether a value may be a key or in a set: nothing that has parts, and no whole number so large that thousands could share a hash."""
    if isinstance(value, int):
        return value.bit_length() <= 64
    return value is None or isinstance(value, str | bytes | float | np.generic)


def _members(items: list | tuple) -> list | tuple:
    if not all(map(_is_plain, items)):
        raise Refused("it holds a set of something other than texts and numbers of 64 bits")
    return items


def _extend(target: object, items: list) -> None:
    if type(target) is not list:
        raise Refused("it appends to something that is no list")
    target.extend(items)


def resolve(value: object, depth: int = 0, done: dict[int, object] | None = None) -> Any:
    """The value without the machine's own objects, keys as text; what is shared stays shared. Raises: Refused."""
    done = {} if done is None else done
    if depth > MAX_DEPTH:
        raise Refused(f"it nests lists more than {MAX_DEPTH} deep")
    if isinstance(value, _Array):
        if value.value is None:
            raise Refused("it holds an array without shape, type and bytes")
        return value.value
    if isinstance(value, dict | list | tuple):
        if id(value) not in done:
            if isinstance(value, dict):
                pairs = ((key.decode("latin-1") if isinstance(key, bytes) else key, item) for key, item in value.items())
                done[id(value)] = {key: resolve(item, depth + 1, done) for key, item in pairs}
            else:
                done[id(value)] = type(value)(resolve(item, depth + 1, done) for item in value)
        return done[id(value)]
    if value is None or isinstance(value, bool | int | float | str | bytes | set | frozenset | np.ndarray | np.generic):
        return value  # sets hold plain values alone
    raise Refused("it holds something that is neither text, number nor array")

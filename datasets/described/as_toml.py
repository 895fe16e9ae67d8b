"""A description written as TOML, which `read_description` reads as the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

from bench.datasets.described.description import MODALITY_KEYS, Attribute, Column, DescribedModality, Description, Place, Target


def to_toml(description: Description, comments: Mapping[str, str] | None = None) -> str:
    """The text of a description, which `read_description` reads as the same; keys at their defaults are left out.

    `comments` are lines above what they are about: `""` the file, `target`, `groups`, `split`, `attributes`, a modality by its name,
    and a column as `modality.column`; a comment of several lines is written as such.
    """
    said = comments or {}
    lines = [*_remarks(said.get("")), f"title = {_value(description.title)}"]
    lines += [f"{key} = {_value(getattr(description, key))}" for key in ("source", "licence") if getattr(description, key)]
    lines += [f"{key} = true" for key in ("public_ids", "public_attributes", "restricted") if getattr(description, key)]
    lines += [f"id = {_value(description.id)}"]
    for key in ("target", "groups", "split"):
        table = getattr(description, key)
        if table is not None:
            lines += ["", *_remarks(said.get(key)), f"[{key}]", *_pairs(table)]
    for attribute in description.attributes:
        pairs = [pair for pair in _pairs(attribute) if not pair.startswith("name ")]
        lines += ["", *_remarks(said.get("attributes")), f"[attributes.{_key(attribute.name)}]", *pairs]
    for modality in description.modalities:
        keys = ("name", "letter", "kind", "id", *MODALITY_KEYS[modality.kind])
        pairs = [pair for pair in _pairs(modality, always=("letter", "kind")) if pair.partition(" ")[0] in keys]
        lines += ["", *_remarks(said.get(modality.name)), "[[modality]]", *pairs]
        if modality.columns:
            lines += ["", "[modality.columns]"]
        for column in modality.columns:
            lines += [*_remarks(said.get(f"{modality.name}.{column.name}")), f"{_key(column.name)} = {_of_column(column)}"]
    return "\n".join(lines) + "\n"


def _remarks(text: str | None) -> list[str]:
    return [f"# {line}".rstrip() for line in text.splitlines()] if text else []


def _pairs(table: Target | Place | Attribute | DescribedModality, always: Sequence[str] = ()) -> list[str]:
    found = []
    for one in fields(table):
        value = getattr(table, one.name)
        if one.name != "columns" and (value != one.default or one.name in always):
            found.append(f"{one.name} = {_value(value)}")
    return found


def _of_column(column: Column) -> str:
    pairs = [f"{one.name} = {_value(getattr(column, one.name))}" for one in fields(column)[2:] if getattr(column, one.name) != one.default]
    return f"{{ as = {_value(column.kind)}, {', '.join(pairs)} }}" if pairs else _value(column.kind)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: object) -> str:
    """A value as TOML writes it; texts escape what a basic string may not hold."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    escaped = "".join(_escape(sign) for sign in str(value))
    return f'"{escaped}"'


def _escape(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    return sign if sign.isprintable() else f"\\U{ord(sign):08X}"

"""The types of config fields as readers of YAML say them: ``float > 0``, ``"constant" | "linear"``."""

from __future__ import annotations

import json
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rltk.config import Kind

_CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


def type_name(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return a type in words, its constraints included.

    :param metadata: what annotates the type, such as the bounds in a pydantic field's ``metadata``.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if (alias := getattr(annotation, "__value__", None)) is not None:
        return type_name(alias, metadata)
    if origin is Annotated:
        return type_name(arguments[0], [*arguments[1:], *metadata])
    if kind := next((item.kind for item in metadata if isinstance(item, Kind)), None):
        return kind
    if origin in (Union, types.UnionType):
        return _union(arguments, metadata)
    return _with_constraints(_plain(annotation, origin, arguments), constraints(metadata))


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    """Yield what annotates a type, the contents of pydantic's ``Field(...)`` included."""
    for item in metadata:
        yield from item.metadata if isinstance(item, FieldInfo) else [item]


def constraints(metadata: Iterable[Any]) -> dict[str, Any]:
    """Return the bounds among a field's metadata by their pydantic names: ``{"gt": 0}``."""
    return {
        key: value
        for item in _flat(metadata)
        for key in _CONSTRAINTS
        if (value := getattr(item, key, None)) is not None and not callable(value)
    }


def component_kind(annotation: Any, metadata: Iterable[Any] = ()) -> str | None:
    """Return the kind of component that a field chooses by name, at any depth; None where it does not."""
    if kind := next((item.kind for item in metadata if isinstance(item, Kind)), None):
        return kind
    first, *rest = get_args(annotation) or (None,)
    if get_origin(annotation) is Annotated:
        return component_kind(first, rest)
    return next((kind for part in (first, *rest) if (kind := component_kind(part))), None) if first else None


def nested_model(annotation: Any) -> tuple[str, type[BaseModel]] | None:
    """Return the model inside a type and the path to it: ``.NAME`` in a mapping, ``[]`` in a list."""
    if _is(annotation, BaseModel):
        return "", annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if _is(origin, Mapping) and len(arguments) == 2:
        return _below(".NAME", arguments[1:])
    return _below("[]" if _is(origin, Collection) else "", arguments)


def _below(step: str, arguments: Iterable[Any]) -> tuple[str, type[BaseModel]] | None:
    found = next((inner for part in arguments if (inner := nested_model(part))), None)
    return None if found is None else (step + found[0], found[1])


def _union(arguments: tuple[Any, ...], metadata: Iterable[Any]) -> str:
    """Return the alternatives, null last; constraints belong to the one that is not null."""
    parts = [part for part in arguments if part is not type(None)]
    if len(parts) == 1:
        names = [type_name(parts[0], metadata)]
    else:
        names = [_with_constraints(type_name(part), constraints(metadata)) for part in parts]
    return " or ".join(names + ["null"] * (type(None) in arguments))


def _plain(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Literal:
        return " | ".join(json.dumps(value) for value in arguments)
    if _is(origin, Mapping):
        key = arguments[0].__origin__ if get_origin(arguments[0]) is Annotated else arguments[0]
        return f"mapping of {_part(key)} to {_part(arguments[1])}"
    if _is(origin, Collection):
        if origin is tuple and arguments[-1] is not ...:
            return f"[{', '.join(map(type_name, arguments))}]"
        return f"list of {_part(arguments[0])}"
    return _class_name(annotation)


def _class_name(annotation: Any) -> str:
    if annotation in (None, type(None), Any):
        return "any" if annotation is Any else "null"
    if _is(annotation, Enum):
        return " | ".join(json.dumps(item.value) for item in annotation)
    for base, name in ((PurePath, "path"), (BaseModel, "mapping"), (str, "str"), (Mapping, "mapping")):
        if _is(annotation, base):
            return name
    return getattr(annotation, "__name__", str(annotation))


def _part(annotation: Any) -> str:
    """Return the type of an element, in brackets where it would be read with what follows."""
    name = type_name(annotation)
    return f"({name})" if " or " in name or ", " in name else name


def _with_constraints(name: str, found: Mapping[str, Any]) -> str:
    low = next(((sign, found[key]) for key, sign in (("gt", ">"), ("ge", ">=")) if key in found), None)
    high = next(((sign, found[key]) for key, sign in (("lt", "<"), ("le", "<=")) if key in found), None)
    if low and high:
        opening, closing = "(" if low[0] == ">" else "[", ")" if high[0] == "<" else "]"
        name += f" in {opening}{low[1]}, {high[1]}{closing}"
    elif bound := low or high:
        name += f" {bound[0]} {bound[1]}"
    for key, words in (("multiple_of", "multiple of"), ("pattern", "matching")):
        name += f", {words} {found[key]}" if key in found else ""
    for key, sign in (("min_length", ">="), ("max_length", "<=")):
        name += f", length {sign} {found[key]}" if key in found else ""
    return name


def _is(candidate: Any, base: type) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, base)

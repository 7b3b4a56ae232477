"""A fragment of a recipe for a component: the options one sets first, and the place they go to."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from rltk import yaml_io
from rltk.config import Kind
from rltk.describing.type_names import component_kind, constraints
from rltk.registry import Registry

#: How many options an example shows where fewer are required.
_SHOWN = 4


def example(kind: str, component: type[Any], registry: Registry) -> str:
    """Return YAML that chooses a component; empty where valid options cannot be made up.

    A field's ``examples``, as pydantic has them, are taken as they are. Without them its default is shown,
    and a required field gets a value that fits its type.
    """
    options = _options(component, registry)
    if options is None:
        return ""
    trainable = getattr(component, "trainable", True)
    path = place(kind, component.name, registry) if trainable else (kind,)
    fragment: dict[str, Any] = {"stage" if kind == "stage" else "name": component.name, **options}
    if len(path) == 3:
        fragment = {"stage": path[1], path[2]: fragment}
    for key in reversed(path[:2]):
        fragment = {key: fragment}
    return yaml_io.dump(fragment)


def override(kind: str, component: type[Any], registry: Registry) -> str:
    """Return the overrides that choose a component, for the command line; empty where YAML is needed."""
    options = _options(component, registry) if getattr(component, "trainable", True) else None
    path = [key for key in place(kind, component.name, registry) if key != "stages"]
    fields: dict[str, FieldInfo] = component.Config.model_fields
    required = [key for key, field in fields.items() if field.is_required()]
    if kind == "stage" or options is None or any(isinstance(options[key], dict | list) for key in required):
        return ""
    chosen = {"name": component.name, **{key: options[key] for key in required}}
    return " ".join(f"{'.'.join([*path, key])}={value}" for key, value in chosen.items())


def place(kind: str, name: str, registry: Registry) -> tuple[str, ...]:
    """Return the keys that lead to where a recipe chooses a component.

    That is the first field of its kind in the stage that takes most components.
    """
    if kind == "environment":
        return ("environment",)
    if kind == "stage":
        return ("stages", name)
    found = {stage: _component_fields(stage, registry) for stage in registry.names("stage")}
    takers = [stage for stage in found if kind in found[stage].values()]
    if not takers:
        return (kind,)
    stage = max(takers, key=lambda taker: len(found[taker]))
    return ("stages", stage, next(key for key, of in found[stage].items() if of == kind))


def default_value(field: FieldInfo) -> Any:
    """Return the default of a field as a plain value; None where it has none or it depends on others."""
    if field.is_required() or field.default_factory_takes_validated_data:
        return None
    return to_jsonable_python(field.get_default(call_default_factory=True), fallback=str)


def _options(component: type[Any], registry: Registry) -> dict[str, Any] | None:
    """Return options worth showing; None where no valid ones can be made up."""
    fields: dict[str, FieldInfo] = component.Config.model_fields
    options = {key: _value(field, registry) for key, field in _chosen(fields).items()}
    trusted = any(fields[key].examples for key in options)
    return options if trusted or _is_valid(component, options) else None


def _component_fields(stage: str, registry: Registry) -> dict[str, str]:
    """Return the fields of a stage's Config that choose one component, each with its kind."""
    providers = [
        item.component for item in registry.provided if (item.kind, item.component.name) == ("stage", stage)
    ]
    fields = providers[0].Config.model_fields.items()
    kinds = {
        key: component_kind(field.annotation, field.metadata)
        for key, field in fields
        if not _is_collection(field.annotation)
    }
    return {key: kind for key, kind in kinds.items() if kind}


def _chosen(fields: Mapping[str, FieldInfo]) -> dict[str, FieldInfo]:
    """Return the fields that are required or have an example, then some whose default says something."""
    certain = [key for key, field in fields.items() if field.is_required() or field.examples]
    others = [key for key in fields if key not in certain and _is_telling(default_value(fields[key]))]
    return {key: fields[key] for key in certain + others[: max(0, _SHOWN - len(certain))]}


def _is_telling(value: Any) -> bool:
    return value not in (None, "") and not isinstance(value, dict | list) and "\n" not in str(value)


def _value(field: FieldInfo, registry: Registry) -> Any:
    if field.examples:
        return field.examples[0]
    return (
        _sample(field.annotation, field.metadata, registry) if field.is_required() else default_value(field)
    )


def _sample(annotation: Any, metadata: Collection[Any], registry: Registry) -> Any:
    """Return a plain value of a type, if not a sensible one."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _sample(arguments[0], [*arguments[1:], *metadata], registry)
    if kind := next((item.kind for item in metadata if isinstance(item, Kind)), None):
        return _component(kind, registry)
    if origin in (Union, types.UnionType):
        return _sample(next(part for part in arguments if part is not type(None)), metadata, registry)
    if origin is Literal:
        return arguments[0]
    if _is_collection(annotation):
        if issubclass(origin or annotation, Mapping):
            return {"NAME": _sample(arguments[1], [], registry)} if arguments else {}
        return [_sample(part, [], registry) for part in arguments[:1]]
    return _scalar(annotation, constraints(metadata), registry)


def _scalar(annotation: Any, bounds: Mapping[str, Any], registry: Registry) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return {key: _value(field, registry) for key, field in fields if field.is_required()}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return next(iter(annotation)).value
    if annotation is bool:
        return True
    if annotation in (int, float):
        low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
        if low is not None and high is not None:
            return annotation((low + high) / 2)
        return annotation(low + 1 if low is not None else high - 1 if high is not None else 1)
    return "..."


def _component(kind: str, registry: Registry) -> dict[str, Any]:
    """Return the first component of a kind that needs no options, else the first."""
    components = sorted(
        (item.component for item in registry.provided if item.kind == kind), key=lambda c: c.name
    )
    needs = {
        component.name: [key for key, field in component.Config.model_fields.items() if field.is_required()]
        for component in components
    }
    return {"name": min(needs, key=lambda name: bool(needs[name]), default="...")}


def _is_valid(component: type[Any], options: Mapping[str, Any]) -> bool:
    try:
        component.Config.model_validate(options)
    except ValidationError:
        return False
    return True


def _is_collection(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    return (
        isinstance(kind, type) and issubclass(kind, Collection) and not issubclass(kind, str | bytes | Enum)
    )

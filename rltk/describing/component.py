"""What a component is, as data: where it is from, its options, what its constructor takes, an example."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rltk.config import ComponentSpec
from rltk.describing.docstrings import docstring, summary
from rltk.describing.examples import default_value, example, override
from rltk.describing.type_names import component_kind, constraints, nested_model, type_name
from rltk.plugin_sources import Source
from rltk.registry import Provided, Registry


@dataclass(frozen=True)
class Option:
    """A field of a component's Config.

    :param name: key path, such as ``policies.NAME.shots`` inside a mapping of mappings.
    :param type: in words: ``float > 0 or null``.
    :param default: as a plain value; None also where it is required.
    :param constraints: bounds by their pydantic names.
    :param kind: the kind of component that the field chooses by name; None where it holds no component.
    """

    name: str
    type: str
    default: Any
    required: bool
    constraints: dict[str, Any]
    description: str
    kind: str | None


@dataclass(frozen=True)
class Collaborator:
    """What a constructor takes beside the config; a run passes it by name."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Description:
    """A component, from its class and the plugin that provides it.

    :param module: where the class is defined.
    :param example: a fragment of a recipe; empty where none can be made up that is valid.
    :param command: how to train with it; empty where its options cannot be written as plain values.
    """

    kind: str
    name: str
    plugin: str
    distribution: str
    version: str | None
    module: str
    class_name: str
    summary: str
    docstring: str
    paper: str
    options: tuple[Option, ...]
    collaborators: tuple[Collaborator, ...]
    example: str
    command: str


def describe(provided: Provided, registry: Registry) -> Description:
    """Return the description of one component.

    :param registry: what the example chooses nested components from.
    """
    component, source = provided.component, provided.source
    return Description(
        kind=provided.kind,
        name=component.name,
        plugin=source.plugin,
        distribution=source.distribution,
        version=source.version,
        module=component.__module__,
        class_name=component.__qualname__,
        summary=summary(component),
        docstring=docstring(component),
        paper=component.paper,
        options=tuple(_options(component.Config.model_fields)),
        collaborators=tuple(_collaborators(component)),
        example=example(provided.kind, component, registry),
        command=_command(override(provided.kind, component, registry), source),
    )


def _command(overrides: str, source: Source) -> str:
    """Return the command that trains with a component, its plugin named where no package brings it."""
    by_module = source.distribution == f"module {source.module}"
    local = f" -p {source.path or source.module}" if source.path or by_module else ""
    return f"rltk train RECIPE{local} {overrides}" if overrides else ""


def _options(
    fields: Mapping[str, FieldInfo], prefix: str = "", seen: tuple[type, ...] = ()
) -> Iterator[Option]:
    """Yield the fields of a model, and below each those of the model inside it."""
    for key, field in fields.items():
        yield Option(
            name=prefix + key,
            type=type_name(field.annotation, field.metadata),
            default=default_value(field),
            required=field.is_required(),
            constraints=constraints(field.metadata),
            description=field.description or "",
            kind=component_kind(field.annotation, field.metadata),
        )
        path, model = nested_model(field.annotation) or ("", None)
        if model is not None and model not in seen:
            yield from _options(_own_fields(model), f"{prefix}{key}{path}.", (*seen, model))


def _own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return a model's fields, without what every component's spec has."""
    shared = ComponentSpec.model_fields if issubclass(model, ComponentSpec) else {}
    return {key: field for key, field in model.model_fields.items() if key not in shared}


def _collaborators(component: type[Any]) -> Iterator[Collaborator]:
    """Yield what the constructor takes after the config."""
    for parameter in list(inspect.signature(component).parameters.values())[1:]:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            annotation = parameter.annotation
            shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
            untyped = annotation is parameter.empty
            yield Collaborator(parameter.name, "" if untyped else shown, parameter.default is parameter.empty)

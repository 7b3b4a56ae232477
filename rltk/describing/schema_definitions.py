"""The definitions of a JSON Schema: kinds of component, components, their nested models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from rltk.config import KIND_MARK
from rltk.describing.docstrings import summary
from rltk.errors import UserError
from rltk.plugin_checks import KINDS
from rltk.registry import Registry

Schema = dict[str, Any]
#: Keywords whose values map names to schemas, and those whose values are data.
_NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
_DATA = ("default", "examples", "const", "enum", "required")


class Definitions:
    """The ``$defs`` of one schema: what has been referred to, and what that refers to in turn.

    :param registry: whose components there are to choose from.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._built: dict[str, Schema] = {}
        #: By definition: the kind it is of, and what may stand beside the options of its components.
        self._wanted: dict[str, tuple[str, dict[str, Schema]]] = {}

    def build(self) -> dict[str, Schema]:
        """Return the definitions of all kinds that were referred to, their components and nested models."""
        done: set[str] = set()
        while pending := [key for key in self._wanted if key not in done]:
            for key in pending:
                done.add(key)
                kind, beside = self._wanted[key]
                choices = [self._choice(key, kind, name, beside) for name in self.registry.names(kind)]
                # oneOf must not be empty; where no plugin provides the kind, nothing is valid
                self._built[key] = {"oneOf": choices} if choices else {"not": {}}
        return dict(sorted(self._built.items()))

    def kind(self, kind: str, beside: dict[str, Schema] | None = None) -> Schema:
        """Return a reference to the schema of a component of a kind, chosen by name.

        :param beside: what may stand beside the component's own options, such as a weight.
        """
        key = "+".join([kind, *(beside or {})])
        self._wanted[key] = (kind, beside or {})
        return {"$ref": f"#/$defs/{key}"}

    def options(self, kind: str, name: str) -> Schema:
        """Return the schema of a component's options, the name not among them.

        :raises UserError: no such component, or two.
        """
        config = self.registry.get(kind, name).Config
        try:
            return self.model(config, f"{kind}.{name}")
        except PydanticInvalidForJsonSchema:
            # a type of the plugin's own that JSON Schema cannot express; checking it is left to rltk
            fields = {
                key: {"description": field.description or ""} for key, field in config.model_fields.items()
            }
            return {"type": "object", "properties": fields, "additionalProperties": False}

    def variants(self, kind: str) -> Schema:
        """Return a reference to options by component, some of each; others may come from elsewhere."""
        key = f"{kind}.variants"
        if key not in self._built:
            options = {name: self._some_options(kind, name) for name in self.registry.names(kind)}
            # those of components that are not installed are not looked at
            anything: Schema = {"type": "object"}
            self._built[key] = {"type": "object", "properties": options, "additionalProperties": anything}
        return {"$ref": f"#/$defs/{key}"}

    def chosen(self, kind: str, name: str) -> dict[str, str]:
        """Return the fields of a component's Config that choose a component, each with its kind."""
        try:
            fields = self.options(kind, name)["properties"]
        except UserError:
            return {}
        references = {f"#/$defs/{kind}": kind for kind in KINDS}
        found = {
            key: [references[part["$ref"]] for part in _alternatives(field) if part.get("$ref") in references]
            for key, field in fields.items()
        }
        return {key: kinds[0] for key, kinds in found.items() if kinds}

    def model(self, model: type[BaseModel], prefix: str) -> Schema:
        """Return the schema of a model, with all there are to choose from in place of each nested component.

        :param prefix: what to begin the names of the model's own definitions with.
        """
        schema = model.model_json_schema(schema_generator=_WithoutTitles)
        own = schema.pop("$defs", {})
        self._built |= {f"{prefix}.{name}": self._resolved(part, prefix) for name, part in own.items()}
        if "$ref" in schema:  # a model that contains itself
            schema = own[schema["$ref"].removeprefix("#/$defs/")]
        resolved: Schema = self._resolved(schema, prefix)
        for key, field in schema.get("properties", {}).items():
            if (nameless := self._nameless(field)) is not None:
                _allow(resolved["properties"][key], nameless)
        return {"properties": {}, **resolved}

    def _some_options(self, kind: str, name: str) -> Schema:
        """Return the schema of a variant's options; a key with a dot is a path from the recipe's root."""
        try:
            return {**self.options(kind, name), "required": [], "patternProperties": {r"\.": {}}}
        except UserError:
            return {"type": "object"}

    def _choice(self, key: str, kind: str, name: str, beside: dict[str, Schema]) -> Schema:
        """Return a reference to the schema of one component with its name."""
        try:
            component, options = self.registry.get(kind, name), self.options(kind, name)
        except UserError:  # two plugins provide it; rltk refuses the name until one of them is left out
            return {"not": {}}
        selector = "stage" if kind == "stage" else "name"
        about = summary(component)
        selected = {selector: {"const": name, "description": about}}
        self._built[f"{key}.{name}"] = {
            **options,
            "title": f"{kind} {name}",
            "description": f"{about} {component.paper}".strip(),
            "properties": {**selected, **beside, **options["properties"]},
            "required": [selector, *options.get("required", [])],
        }
        return {"$ref": f"#/$defs/{key}.{name}"}

    def _nameless(self, field: Schema) -> Schema | None:
        """Return the options a field takes without a name: those of the component that is its default.

        See ``_with_default_names`` in :mod:`rltk.config`: what is given goes on top of the default's options.
        """
        kind = next((part[KIND_MARK] for part in _alternatives(field) if KIND_MARK in part), None)
        default = field.get("default")
        if kind is None or not isinstance(default, dict):
            return None
        try:
            options = self.options(kind, default["name"])
        except UserError:
            return None
        properties = {
            key: {**part, "default": default[key]} if key in default else part
            for key, part in options["properties"].items()
        }
        required = [key for key in options.get("required", []) if key not in default]
        title = f"{kind} {default['name']}, the default"
        return {**options, "title": title, "properties": properties, "required": required}

    def _resolved(self, schema: Any, prefix: str) -> Any:
        """Return a schema with references into these definitions and to kinds in place of marks."""
        if isinstance(schema, list):
            return [self._resolved(part, prefix) for part in schema]
        if not isinstance(schema, dict):
            return schema
        if KIND_MARK in schema:
            kept = {key: schema[key] for key in ("description", "default", "examples") if key in schema}
            return {**self.kind(schema[KIND_MARK], _beside(schema)), **kept}
        resolved: Schema = {}
        for key, value in schema.items():
            if key == "$ref":
                resolved[key] = value.replace("#/$defs/", f"#/$defs/{prefix}.")
            elif key in _NAMED:
                resolved[key] = {name: self._resolved(part, prefix) for name, part in value.items()}
            elif key != "discriminator":  # a keyword of OpenAPI's
                resolved[key] = value if key in _DATA else self._resolved(value, prefix)
        return resolved


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False: editors show the name anyway."""
        return False


def _beside(marked: Schema) -> dict[str, Schema]:
    """Return the fields of a spec itself, which stand beside the options of the component that it names."""
    fields = marked["properties"].items()
    return {key: part for key, part in fields if key not in ("name", "stage")}


def _alternatives(field: Schema) -> Iterator[Schema]:
    """Yield a field's schema and the alternatives it consists of."""
    yield field
    for part in [*field.get("anyOf", []), *field.get("oneOf", [])]:
        yield from _alternatives(part)


def _allow(field: Schema, nameless: Schema) -> None:
    """Let a field take a component without its name too."""
    if "$ref" in field:
        field["anyOf"] = [{"$ref": field.pop("$ref")}]
    field["anyOf"].append(nameless)

"""Recipes as JSON Schema, from the installed plugins, so that editors complete and check them.

Every component is a definition ``KIND.NAME``, every kind one ``KIND`` that allows exactly one of them. What
only a validator of a plugin can see, such as one option that must exceed another, stays with rltk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rltk.config import Recipe, read_recipe
from rltk.describing.schema_definitions import Definitions, Schema
from rltk.registry import Registry, get_registry, load_plugins

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def print_schema(recipe: str, options: Sequence[str]) -> None:
    """Print the JSON Schema of recipes.

    :param recipe: a shipped recipe or file whose stages the schema offers by name.
    :param options: values of ``-p``.
    :raises UserError: there is no such recipe.
    """
    registry = load_plugins(options)
    print(json.dumps(recipe_schema(read_recipe(recipe), registry), indent=2, ensure_ascii=False))


def recipe_schema(tree: Mapping[str, Any], registry: Registry | None = None) -> Schema:
    """Return the JSON Schema (draft 2020-12) of recipes with stages named as in ``tree``.

    :param registry: whose components are allowed; this process's where not given.
    """
    definitions = Definitions(registry or get_registry())
    schema = definitions.model(Recipe, "recipe")
    stages, variants = schema["properties"]["stages"], schema["properties"]["variants"]
    named = {name: options for name, options in _mapping(tree.get("stages")).items() if isinstance(name, str)}
    pattern = next(iter(stages.pop("patternProperties")))
    stages["propertyNames"] = {"pattern": pattern, "not": {"enum": list(Recipe.model_fields)}}
    stages["additionalProperties"] = definitions.kind("stage")
    stages["properties"] = {name: _stage(name, options, definitions) for name, options in named.items()}
    variants["properties"] = _variants(named, definitions)
    schema["title"] = "rltk recipe"
    return {"$schema": DIALECT, **schema, "$defs": definitions.build()}


def component_schema(kind: str, name: str, registry: Registry | None = None) -> Schema:
    """Return the JSON Schema of a component's options.

    :raises UserError: no such component.
    """
    definitions = Definitions(registry or get_registry())
    options = definitions.options(kind, name)
    return {"$schema": DIALECT, **options, "$defs": definitions.build()}


def _stage(name: str, options: Any, definitions: Definitions) -> Schema:
    plugin = _mapping(options).get("stage")
    return {
        **definitions.kind("stage"),
        "description": f"The stage {name!r}; in the recipe, stage: {plugin}.",
    }


def _variants(stages: Mapping[str, Any], definitions: Definitions) -> Schema:
    """Return the schema of every key path of the recipe at which a component is chosen by name."""
    kinds = {"environment": "environment", **dict.fromkeys(stages, "stage")}
    for name, options in stages.items():
        plugin = _mapping(options).get("stage")
        if plugin in definitions.registry.names("stage"):
            chosen = definitions.chosen("stage", plugin)
            kinds |= {f"{name}.{field}": kind for field, kind in chosen.items()}
    return {path: definitions.variants(kind) for path, kind in kinds.items()}


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}

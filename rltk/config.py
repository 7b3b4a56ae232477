"""Recipes: what to run, from YAML and ``key.path=value`` overrides, checked in full before anything runs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, core_schema

from rltk.config_errors import one_line, origin, propagate, user_error
from rltk.errors import UserError, suggestion
from rltk.registry import get_registry
from rltk.yaml_io import parse

Model = TypeVar("Model", bound=BaseModel)
#: The key that holds the kind of component in the JSON Schema of a field that chooses one by name.
KIND_MARK = "x-rltk-kind"


class ComponentSpec(BaseModel):
    """A component chosen by name, and its options beside the name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="Which component, as `rltk plugins` lists them.")

    @property
    def options(self) -> dict[str, Any]:
        """The options, without the name."""
        return dict(self.model_extra or {})


@dataclass(frozen=True)
class Kind:
    """Annotates a :class:`ComponentSpec` field: options are checked against the chosen component's Config."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._resolve, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Mark the spec with its kind; :mod:`rltk.describing.config_schema` knows the components."""
        return {**handler.resolve_ref_schema(handler(schema)), KIND_MARK: self.kind}

    def _resolve(self, spec: ComponentSpec) -> ComponentSpec:
        config = propagate(_config_class, self.kind, spec.name, "name")
        beside = type(spec).model_fields.keys() - ComponentSpec.model_fields.keys()
        filled = _validated(config, spec.options, beside)
        own = propagate(_own_fields, spec, config)
        return type(spec)(**own, **filled.model_dump(mode="json"))


AlgorithmSpec = Annotated[ComponentSpec, Kind("algorithm")]
PolicySpec = Annotated[ComponentSpec, Kind("policy")]
RewardSpec = Annotated[ComponentSpec, Kind("reward_model")]
EnvironmentSpec = Annotated[ComponentSpec, Kind("environment")]


class StageSpec(BaseModel):
    """A stage of a recipe: the plugin that does it, and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    stage: str = Field(description="Which stage plugin, as `rltk plugins` lists them.")

    @property
    def options(self) -> dict[str, Any]:
        """The options, without the plugin's name."""
        return dict(self.model_extra or {})


class _StageKind(Kind):
    """Checks the options of a :class:`StageSpec`."""

    def _resolve(self, spec: StageSpec) -> StageSpec:  # type: ignore[override]
        config = propagate(_config_class, self.kind, spec.stage, "stage")
        filled = _validated(config, spec.options)
        return StageSpec(stage=spec.stage, **filled.model_dump(mode="json"))


class Recipe(BaseModel):
    """Everything that determines a run."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    name: str = Field("", description="What the run is called; the recipe file's name where not given.")
    description: str = Field("", description="What the recipe does, in one line.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random in the run.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="float32, or bfloat16 for autocast forward passes."
    )
    checkpoint_seconds: float = Field(
        60.0, ge=0, allow_inf_nan=False, description="Seconds between two checkpoints of a stage."
    )
    environment: EnvironmentSpec = Field(description="The environment's name and options.")
    stages: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")], _Stage] = Field(
        min_length=1, description="The stages in order, each by a name of its own."
    )
    variants: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict,
        description="Options a component takes when an override changes its name: path -> name -> options; "
        "a key with a dot is a key path of the recipe, set as an override would be.",
    )

    def resolved(self) -> dict[str, Any]:
        """Return the recipe with every default filled in, as plain YAML values; itself a valid recipe."""
        return self.model_dump(mode="json")


_Stage = Annotated[StageSpec, _StageKind("stage")]
Recipe.model_rebuild()


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return a shipped recipe or a YAML file, with overrides such as ``rl.algorithm.name=trpo`` applied.

    :raises UserError: anything wrong with the recipe or the overrides, all mistakes at once.
    """
    tree = read_recipe(str(name_or_path))
    _name_defaults(tree)
    apply_overrides(tree, overrides)
    where = Path(name_or_path).name
    return validate_recipe(tree, where)


def validate_recipe(tree: Mapping[str, Any], where: str) -> Recipe:
    """Return the recipe that a mapping describes.

    :param where: what to call the mapping in errors about it as a whole.
    :raises UserError: all mistakes at once.
    """
    try:
        stages = tree.get("stages")
        reserved = sorted(set(stages) & set(Recipe.model_fields)) if isinstance(stages, dict) else []
        if reserved:
            raise UserError(f"stages.{reserved[0]}", "a recipe key, no stage name", fix="rename the stage")
        return _validated(Recipe, tree)
    except ValidationError as error:
        raise user_error(error, where) from origin(error)


def build_config(kind: str, name: str, options: Mapping[str, Any], *, where: str) -> Any:
    """Return the Config of a component, built from its options.

    :param where: the key path of the options, for errors.
    :raises UserError: all mistakes at once.
    """
    try:
        return _validated(get_registry().get(kind, name, where=where).Config, options)
    except ValidationError as error:
        raise user_error(error, where, prefix=where) from origin(error)


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    files = resources.files("rltk").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Set ``key.path=value`` pairs in a recipe's tree.

    A path starts with a key of the recipe or with the name of a stage. Where an override changes a
    component's name, the options of the former component go, and those under ``variants`` come, with what
    else the variant sets in the recipe unless an override says otherwise.

    :raises UserError: an override is malformed or addresses nothing.
    """
    pairs = [_split(override, tree) for override in overrides]
    pairs += _brought_along(tree, pairs)
    # Outer before inner, and names first: what is given inside or beside them is meant for them, whatever
    # the order.
    for path, value in sorted(pairs, key=_precedence):
        parent = _descend(tree, path)
        if len(path) > 1 and path[-1] in ("name", "stage") and parent.get(path[-1]) != value:
            parent.clear()
            own, _ = _variant(tree, path[:-1], value)
            parent |= own
        parent[path[-1]] = value


def read_recipe(name: str) -> dict[str, Any]:
    """Return the tree of a recipe file or shipped recipe, not yet validated."""
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        path = Path(name)
        if not path.is_file():
            raise UserError("recipe", "no such file", got=name, fix="check the path")
    else:
        if name not in recipe_names():
            hint = f"{suggestion(name, recipe_names())}, or give a .yaml file"
            raise UserError("recipe", "unknown recipe", got=name, fix=hint)
        path = Path(str(resources.files("rltk").joinpath("recipes", f"{name}.yaml")))
    tree = parse(path.read_text(encoding="utf-8"), path.name)
    if not isinstance(tree, dict):
        what = "the file is empty" if tree is None else "the file holds no mapping"
        raise UserError(name, what, fix="write `environment:` and `stages:` as in the shipped recipes")
    tree.setdefault("name", path.stem)
    return tree


def _split(override: str, tree: Mapping[str, Any]) -> tuple[list[str], Any]:
    """Return the path, from the root of the tree, and the value of ``key.path=value``."""
    path, equals, text = override.partition("=")
    if not equals or not path or not all(path.split(".")):
        raise UserError("override", "not of the form key.path=value", got=override, fix="write e.g. seed=1")
    return _from_root(path, tree), parse(text, path)


def _from_root(path: str, tree: Mapping[str, Any]) -> list[str]:
    """Return the keys of a path that starts with a key of the recipe or with the name of a stage."""
    keys = path.split(".")
    stages = tree.get("stages")
    stages = stages if isinstance(stages, dict) else {}
    if keys[0] in stages:
        keys = ["stages", *keys]
    elif keys[0] not in Recipe.model_fields:
        hint = suggestion(keys[0], [*stages, *Recipe.model_fields])
        raise UserError(path, f"no stage or recipe key is named {keys[0]!r}", fix=hint)
    return keys


def _brought_along(
    tree: dict[str, Any], given: Sequence[tuple[list[str], Any]]
) -> list[tuple[list[str], Any]]:
    """Return what the variants of changed names set elsewhere in the recipe, less what is given anyway."""
    brought: list[tuple[list[str], Any]] = []
    for path, value in given:
        if len(path) > 1 and path[-1] in ("name", "stage") and _descend(tree, path).get(path[-1]) != value:
            brought += _variant(tree, path[:-1], value)[1]
    return [
        (path, value)
        for path, value in brought
        if not any(path[: len(overriding)] == overriding for overriding, _ in given)
    ]


def _precedence(pair: tuple[list[str], Any]) -> tuple[int, bool]:
    path, _ = pair
    return len(path), path[-1] not in ("name", "stage")


def _name_defaults(tree: dict[str, Any]) -> None:
    """Spell out component names that stages leave to their defaults, so that overrides see a change."""
    stages = tree.get("stages")
    for options in stages.values() if isinstance(stages, dict) else ():
        name = options.get("stage") if isinstance(options, dict) else None
        if name in get_registry().names("stage"):
            options |= _with_default_names(get_registry().get("stage", name).Config, options)


def _descend(tree: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Return the mapping that holds the last key of the path, making those that are missing."""
    parent = tree
    for depth, key in enumerate(path[:-1]):
        if parent.get(key) is None:
            parent[key] = {}
        parent = parent[key]
        if not isinstance(parent, dict):
            where = ".".join(path[: depth + 1])
            raise UserError(where, f"has no key {path[depth + 1]!r}", got=parent, fix="shorten the override")
    return parent


def _variant(
    tree: Mapping[str, Any], path: Sequence[str], name: Any
) -> tuple[dict[str, Any], list[tuple[list[str], Any]]]:
    """Return a variant's options of the component itself, and what it sets by paths from the root."""
    key = ".".join(path[1:] if path[0] == "stages" else path)
    variants = tree.get("variants")
    found = {}
    if isinstance(variants, dict) and isinstance(name, str):
        found = variants.get(key, {}).get(name, {})
    found = copy.deepcopy(found) if isinstance(found, dict) else {}
    elsewhere = [(_from_root(option, tree), value) for option, value in found.items() if "." in str(option)]
    return {option: value for option, value in found.items() if "." not in str(option)}, elsewhere


def _config_class(kind: str, name: str, where: str) -> type[BaseModel]:
    config: type[BaseModel] = get_registry().get(kind, name, where=where).Config
    return config


def _own_fields(spec: ComponentSpec, config: type[BaseModel]) -> dict[str, Any]:
    """Return what a spec holds beside the options: the name, and what a subclass adds, such as a weight."""
    for key in sorted(type(spec).model_fields.keys() & config.model_fields.keys()):
        raise UserError(
            key,
            f"{spec.name!r} has an option of this name, which means another thing here",
            fix="rename the option in the component's Config",
        )
    return {key: getattr(spec, key) for key in type(spec).model_fields}


def _validated(model: type[Model], options: Mapping[str, Any], beside: Iterable[str] = ()) -> Model:
    """Validate with messages that end up as one line each, wherever the options are nested.

    :param beside: keys that stand beside the options, which a misspelt one may have been meant for.
    """
    try:
        return model.model_validate(_with_default_names(model, options))
    except ValidationError as error:
        raise one_line(error, model, beside) from error


def _with_default_names(model: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    """Complete components given without a name by the name and options the field has by default."""
    completed = dict(options)
    for key, field in model.model_fields.items():
        given, default = completed.get(key), field.get_default(call_default_factory=True, validated_data={})
        if isinstance(given, dict) and "name" not in given and isinstance(default, ComponentSpec):
            completed[key] = {"name": default.name} | default.options | given
    return completed

"""The JSON Schema of recipes says what validation says."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

import rltk
from rltk import yaml_io
from rltk.config import (
    AlgorithmSpec,
    ComponentSpec,
    RewardSpec,
    load_recipe,
    read_recipe,
    recipe_names,
    validate_recipe,
)
from rltk.describing.config_schema import component_schema, print_schema, recipe_schema
from rltk.errors import UserError
from rltk.registry import Registry

Tree = dict[str, Any]


def _validator(tree: Tree, registry: Registry | None = None) -> Draft202012Validator:
    schema = recipe_schema(tree, registry)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@cache
def _mini() -> Draft202012Validator:
    return _validator(read_recipe("instructgpt-mini"))


def _accepted(tree: Tree) -> bool:
    """Tell what the real validation says."""
    try:
        validate_recipe(tree, "recipe")
    except UserError:
        return False
    return True


def _with(tree: Tree, path: str, value: Any) -> Tree:
    changed = copy.deepcopy(tree)
    *parents, last = path.split(".")
    holder = changed
    for key in parents:
        holder = holder[key]
    holder[last] = value
    return changed


def _mappings(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every mapping in a recipe whose keys are options; those of others are the user's."""
    free = path.rpartition(".")[2] in (
        "stages",
        "policies",
        "model",
        "options",
        "columns",
        "limits",
        "variants",
    )
    if isinstance(value, dict):
        if not free:
            yield path
        for key, part in value.items():
            if key != "variants":
                yield from _mappings(part, f"{path}.{key}".lstrip("."))


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid_as_written_and_as_resolved(name: str) -> None:
    validator = _validator(read_recipe(name))
    assert list(validator.iter_errors(read_recipe(name))) == []
    assert list(validator.iter_errors(load_recipe(name).resolved())) == []


# the other recipes have the same components
@pytest.mark.parametrize("name", ["cartpole", "instructgpt-files"])
def test_an_unknown_key_is_refused_wherever_validation_refuses_it(name: str) -> None:
    tree = load_recipe(name).resolved()
    validator = _validator(tree)
    paths = list(_mappings(tree))
    assert {"environment", "stages.rl", "stages.rl.algorithm", "stages.rl.policy"} <= set(paths)
    for path in paths:
        wrong = _with(tree, f"{path}.no_such_option".lstrip("."), 1)
        assert not _accepted(wrong), path
        assert not validator.is_valid(wrong), path


@pytest.mark.parametrize("name", ["cartpole", "instructgpt-tiny"])
def test_a_list_in_place_of_a_value_is_refused_wherever_validation_refuses_it(name: str) -> None:
    tree = load_recipe(name).resolved()
    validator = _validator(tree)
    for path in _mappings(tree):
        holder = tree
        for key in filter(None, path.split(".")):
            holder = holder[key]
        for key in holder:
            place = f"{path}.{key}".lstrip(".")
            wrong = _with(tree, place, [[1]])
            assert validator.is_valid(wrong) == _accepted(wrong), place


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stages.rl.algorithm.clip_rnage", 0.1),
        ("stages.rl.algorithm.clip_range", 0),
        ("stages.rl.algorithm.clip_range", "wide"),
        ("stages.rl.algorithm.schedule", "cosine"),
        ("stages.rl.algorithm.name", "pop"),
        ("stages.rl.algorithm.name", "trpo"),  # keeps PPO's options
        ("stages.rl.algorithm", "ppo"),
        ("stages.rl.reward.path", None),
        ("stages.rl.policy", None),
        ("stages.evaluate.policies.rl.policy.critic", "nobody"),
        ("stages.evaluate.policies.rl.policy", {"path": "$RUN/stages/rl/policy"}),  # nested: no default name
        ("stages.evaluate.policies", {}),
        ("stages.sft.stage", "stf"),
        ("stages.sft", {"epochs": 1}),
        ("stages.seed", {"stage": "sft"}),
        ("stages", {}),
        ("environment.name", "instrcut"),
        ("environment", {}),
        ("device", "gpu"),
        ("seed", -1),
        ("sead", 1),
    ],
)
def test_mistakes_that_validation_refuses_are_refused(path: str, value: Any) -> None:
    tree = read_recipe("instructgpt-mini")
    wrong = _with(tree, path, value)
    assert not _accepted(wrong)
    assert not _mini().is_valid(wrong)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("stages.rl.algorithm", {"clip_range": 0.1}),  # the name is the default's
        ("stages.rl.algorithm", {}),
        ("stages.rl.algorithm", {"name": "trpo", "max_kl": 0.1}),
        ("stages.rl.reward", None),
        ("stages.comparisons.policy", {"temperature": 0.7}),
        ("stages.another", {"stage": "sft", "epochs": 2}),
        ("stages.pretrain.model.anything", 3),
    ],
)
def test_what_validation_takes_is_taken(path: str, value: Any) -> None:
    tree = read_recipe("instructgpt-mini")
    changed = _with(tree, path, value)
    assert _accepted(changed)
    assert list(_mini().iter_errors(changed)) == []


@pytest.mark.parametrize(
    ("variants", "valid"),
    [
        ({"rl.algorithm": {"trpo": {"max_kl": 0.01}}}, True),
        ({"rl.algorithm": {"of_a_plugin_not_here": {"x": 1}}}, True),
        ({"rl.algorithm": {"trpo": {"max_lk": 0.01}}}, False),
        ({"rl.algorithm": {"trpo": {"max_kl": 0.01, "rl.episodes": 32}}}, True),
        ({"environment": {"gymnasium": {"options": {}}}}, True),
        ({"rl": {"sft": {"epochs": "many"}}}, False),
        ({"rl.algorithm": 3}, False),
    ],
)
def test_variants_hold_options_of_the_component_they_are_for(variants: Tree, valid: bool) -> None:
    tree = read_recipe("instructgpt-mini")
    assert _mini().is_valid({**tree, "variants": variants}) is valid


def test_every_option_is_described_where_an_editor_looks() -> None:
    schema = recipe_schema(read_recipe("instructgpt-mini"))
    rl = schema["$defs"]["stage.rl"]["properties"]
    assert rl["episodes"] == {
        "default": 256,
        "description": "Episodes per rollout.",
        "minimum": 1,
        "type": "integer",
    }
    assert rl["algorithm"]["description"]
    assert schema["$defs"]["algorithm.ppo"]["properties"]["name"]["const"] == "ppo"
    assert {"pretrain", "sft", "rl"} <= set(schema["properties"]["stages"]["properties"])
    assert all(schema["properties"][key]["description"] for key in rltk.config.Recipe.model_fields)


class _Algorithm(rltk.Algorithm):
    """Does nothing."""

    def update(self, rollout: Any, *, progress: float = 0.0) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class _Opaque:
    """A type that JSON Schema knows nothing of."""


class _WithOpaque(_Algorithm):
    name = "opaque"

    class Config(rltk.ComponentConfig):
        model_config = {"arbitrary_types_allowed": True}
        thing: _Opaque | None = Field(None, description="Something else.")


class _Nested(_Algorithm):
    name = "nested"

    class Config(rltk.ComponentConfig):
        inner: AlgorithmSpec = Field(
            ComponentSpec.model_validate({"name": "toy_second", "max_kl": 0.25}), description="Another."
        )
        more: dict[str, AlgorithmSpec] = Field({}, description="Several, by name.")


class _Plugin:
    @rltk.hookimpl
    def rltk_algorithms(self) -> list[type[rltk.Algorithm]]:
        return [_WithOpaque, _Nested]


def test_components_of_components_and_types_of_a_plugins_own(toys: Registry, recipe_file: Path) -> None:
    toys.register(_Plugin(), "mine")
    tree = yaml_io.parse(recipe_file.read_text(), "x")
    validator = _validator(tree, toys)

    def verdicts(algorithm: Tree) -> tuple[bool, bool]:
        changed = _with(tree, "stages.a.algorithm", algorithm)
        return validator.is_valid(changed), _accepted(changed)

    assert verdicts({"name": "opaque"}) == (True, True)
    assert verdicts({"name": "opaque", "thin": None}) == (False, False)
    assert verdicts({"name": "nested", "inner": {"max_kl": 0.1}}) == (True, True)
    assert verdicts({"name": "nested", "inner": {"clip_range": 0.1}}) == (False, False)
    assert verdicts({"name": "nested", "more": {"x": {"name": "nested"}}}) == (True, True)
    assert verdicts({"name": "nested", "more": {"x": {"max_kl": 0.1}}}) == (False, False)
    nameless = component_schema("algorithm", "nested", toys)["properties"]["inner"]["anyOf"][1]
    assert nameless["properties"]["max_kl"]["default"] == 0.25


def test_a_spec_may_have_fields_of_its_own() -> None:
    tree = read_recipe("instructgpt-tiny")
    validator = _validator(tree)

    def verdicts(part: Tree) -> tuple[bool, bool]:
        reward = {"name": "weighted_sum", "rewards": {"a": {"name": "length"}, "b": part}}
        changed = _with(tree, "stages.rl.reward", reward)
        return validator.is_valid(changed), _accepted(changed)

    assert verdicts({"name": "length", "weight": 2, "target": 3}) == (True, True)
    assert verdicts({"name": "length", "weight": "x"}) == (False, False)
    assert verdicts({"name": "length", "wight": 2}) == (False, False)
    alone = _with(tree, "stages.rl.reward", {"name": "length", "weight": 2})
    assert (validator.is_valid(alone), _accepted(alone)) == (False, False)


def test_nothing_is_valid_where_no_plugin_provides_a_kind(toys: Registry) -> None:
    class Scored(_Algorithm):
        name = "scored"

        class Config(rltk.ComponentConfig):
            reward: RewardSpec | None = Field(None, description="A reward.")

    class Plugin:
        @rltk.hookimpl
        def rltk_algorithms(self) -> list[type[rltk.Algorithm]]:
            return [Scored]

    toys.register(Plugin(), "scored")
    toys.provided = [item for item in toys.provided if item.kind != "reward_model"]
    validator = Draft202012Validator(component_schema("algorithm", "scored", toys))
    assert validator.is_valid({"reward": None})
    assert not validator.is_valid({"reward": {"name": "polite"}})


def test_a_name_that_two_plugins_provide_is_refused(toys: Registry, recipe_file: Path) -> None:
    class Plugin:
        @rltk.hookimpl
        def rltk_algorithms(self) -> list[type[rltk.Algorithm]]:
            return [type("Twin", (_Algorithm,), {"name": "toy_second"})]

    toys.register(Plugin(), "twin")
    tree = _with(yaml_io.parse(recipe_file.read_text(), "x"), "stages.a.algorithm", {"name": "toy_second"})
    assert not _accepted(tree)
    assert not _validator(tree, toys).is_valid(tree)


@pytest.mark.usefixtures("toys")  # which puts this process's registry back
def test_the_command_prints_the_schema_of_a_recipe(
    recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = Path(__file__).parent.parent / "toy_plugin.py"
    print_schema(str(recipe_file), [str(plugin)])
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]["stages"]["properties"]) == {"a", "b"}
    assert "stage.count" in schema["$defs"] and "stage.rl" in schema["$defs"]
    with pytest.raises(UserError, match="recipe: unknown recipe"):
        print_schema("no-such-recipe", [])

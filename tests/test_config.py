from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, Field, ValidationError

import rltk
from rltk import yaml_io
from rltk.config import AlgorithmSpec, ComponentSpec, build_config, load_recipe, recipe_names
from rltk.errors import UserError
from rltk.registry import Registry

pytestmark = pytest.mark.usefixtures("toys")


def _errors(recipe: Path, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as error:
        load_recipe(recipe, overrides)
    return str(error.value).splitlines()


def test_the_resolved_recipe_has_every_default_and_is_a_recipe_itself(
    recipe_file: Path, tmp_path: Path
) -> None:
    resolved = load_recipe(recipe_file).resolved()
    first = {"name": "toy_first", "clip_range": 0.2, "learning_rate": 1e-4}
    shared = {"stage": "count", "fail": False, "path": "$RUN/none"}
    assert resolved == {
        "name": "toy",
        "description": "",
        "seed": 1,
        "device": "auto",
        "dtype": "float32",
        "checkpoint_seconds": 0.0,
        "environment": {"name": "toy", "size": 3, "path": None},
        "stages": {
            "a": {**shared, "steps": 4, "algorithm": first},
            "b": {**shared, "steps": 5, "algorithm": {**first, "clip_range": 1e-4}},
        },
        "variants": {"b.algorithm": {"toy_second": {"max_kl": 0.5}}},
    }
    assert list(resolved["stages"]) == ["a", "b"]
    again = tmp_path / "config.yaml"
    again.write_text(yaml_io.dump(resolved))
    assert load_recipe(again).resolved() == resolved


def test_overrides_address_keys_and_stages(recipe_file: Path) -> None:
    overrides = [
        "seed=7",
        "a.steps=9",
        "environment.size=5",
        "b.algorithm.clip_range=3e-2",
        "stages.a.fail=yes",
    ]
    resolved = load_recipe(recipe_file, overrides).resolved()
    assert resolved["seed"] == 7
    assert resolved["stages"]["a"]["steps"] == 9 and resolved["stages"]["a"]["fail"] is True
    assert resolved["environment"]["size"] == 5
    assert resolved["stages"]["b"]["algorithm"]["clip_range"] == 0.03


def test_a_changed_name_takes_the_variants_options_or_the_components_defaults(recipe_file: Path) -> None:
    def algorithm(stage: str, *overrides: str) -> dict[str, object]:
        return load_recipe(recipe_file, overrides).resolved()["stages"][stage]["algorithm"]

    assert algorithm("b", "b.algorithm.name=toy_second") == {"name": "toy_second", "max_kl": 0.5}
    assert algorithm("a", "a.algorithm.name=toy_second") == {"name": "toy_second", "max_kl": 0.01}
    # options beside the new name win, whatever the order
    override = ["b.algorithm.max_kl=0.25", "b.algorithm.name=toy_second"]
    assert algorithm("b", *override) == {"name": "toy_second", "max_kl": 0.25}
    # the name it has already changes nothing
    assert algorithm("b", "b.algorithm.name=toy_first")["clip_range"] == 1e-4


def test_a_variant_sets_what_else_the_recipe_needs_unless_an_override_does(tmp_path: Path) -> None:
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(
        """
environment: {name: toy}
stages:
  a: {stage: count, steps: 4, algorithm: {clip_range: 0.1}}
variants:
  a.algorithm: {toy_second: {max_kl: 0.5, a.steps: 9, environment.size: 7}}
"""
    )

    def resolved(*overrides: str) -> tuple[int, int, dict[str, object]]:
        tree = load_recipe(recipe, overrides).resolved()
        return tree["stages"]["a"]["steps"], tree["environment"]["size"], tree["stages"]["a"]["algorithm"]

    first, second = {"name": "toy_first", "clip_range": 0.1, "learning_rate": 1e-4}, {"name": "toy_second"}
    assert resolved() == (4, 3, first)
    assert resolved("a.algorithm.name=toy_first") == (4, 3, first)
    assert resolved("a.algorithm.name=toy_second") == (9, 7, {**second, "max_kl": 0.5})
    # what is given wins, in any order, also where a whole mapping is given
    given = ["a.steps=5", "a.algorithm.name=toy_second", "environment={name: toy}"]
    assert resolved(*given) == resolved(*reversed(given)) == (5, 3, {**second, "max_kl": 0.5})


def test_a_variants_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(
        """
environment: {name: toy}
stages: {a: {stage: count}}
variants: {a.algorithm: {toy_second: {b.steps: 9}}}
"""
    )
    [line] = _errors(recipe, "a.algorithm.name=toy_second")
    assert line.startswith("b.steps: no stage or recipe key is named 'b'. Fix: choose one of a, ")


def test_all_mistakes_are_reported_one_a_line(recipe_file: Path) -> None:
    number = "should be a valid number, unable to parse string as a number"
    lines = _errors(
        recipe_file,
        "seed=x",
        "dtype=float8",
        "a.step=3",
        "a.steps=0",
        "b.algorithm.clp_range=0.1",
        "b.algorithm.learning_rate=1e-4x",
        "environment.size=big",
    )
    assert lines == [
        "seed: should be a valid integer, unable to parse string as an integer, got 'x'. "
        "Fix: choose a valid value (Seed of everything random in the run; default 0).",
        "dtype: should be 'float32' or 'bfloat16', got 'float8'. "
        "Fix: choose a valid value (float32, or bfloat16 for autocast forward passes; default 'float32').",
        "environment.size: should be a valid integer, unable to parse string as an integer, got 'big'. "
        "Fix: choose a valid value (Size of the world; default 3).",
        "a.steps: should be greater than 0, got 0. Fix: choose a valid value (How many; default 4).",
        "a.step: unknown key. Fix: did you mean 'steps'.",
        f"b.algorithm.learning_rate: {number}, got '1e-4x'. "
        "Fix: choose a valid value (Step size; default 0.0001).",
        "b.algorithm.clp_range: unknown key. Fix: did you mean 'clip_range'.",
    ]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "override: not of the form key.path=value, got 'seed'. Fix: write e.g. seed=1."),
        ("sead=1", "sead: no stage or recipe key is named 'sead'. Fix: did you mean 'seed'."),
        ("seed.x=1", "seed: has no key 'x', got 1. Fix: shorten the override."),
        (
            "seed=[1",
            "seed:1:3: no valid YAML: expected ',' or ']', but got '<stream end>'. Fix: correct the text.",
        ),
        ("a.stage=cuont", "a.stage: unknown stage, got 'cuont'. Fix: did you mean 'count'."),
        (
            "a.algorithm.name=toy_frist",
            "a.algorithm.name: unknown algorithm, got 'toy_frist'. Fix: did you mean 'toy_first'.",
        ),
        (
            "environment.name=toi",
            "environment.name: unknown environment, got 'toi'. Fix: did you mean 'toy'.",
        ),
    ],
)
def test_each_mistake_in_an_override_is_one_line(recipe_file: Path, override: str, line: str) -> None:
    assert _errors(recipe_file, override) == [line]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        ("- a\n- b", "holds no mapping"),
        ("a: [", "x.yaml:1:5: no valid YAML"),
        ("seed: 1\nseed: 2", "x.yaml:2:1: no valid YAML: the key 'seed' stands twice"),
        ("!!python/object/apply:os.system ['true']", "no valid YAML"),
        ("environment: {name: toy}", "stages: missing"),
        ("environment: {name: toy}\nstages: {}", "stages: dictionary should have at least 1 item"),
        ("environment: {name: toy}\nstages: [a]", "stages: should be a valid dictionary"),
        ("environment: {name: toy}\nstages: [[a]]", "stages: should be a valid dictionary"),
        ("environment: {}\nstages: {a: {stage: count}}", "environment.name: missing"),
        ("environment: toy\nstages: {a: {stage: count}}", "environment: should be a valid dictionary"),
        ("environment: {name: toy}\nstages: {seed: {stage: count}}", "stages.seed: a recipe key"),
        ("environment: {name: toy}\nstages: {../a: {stage: count}}", "../a: string should match"),
        ("environment: {name: toy}\nstages: {a: {steps: 1}}", "a.stage: missing"),
        ("environment: {name: toy}\nstages: {a: {stage: count}}\ndevice: gpu", "device: string should match"),
    ],
)
def test_a_recipe_that_cannot_be_used(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert part in "\n".join(_errors(path))


def test_unknown_recipes_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="recipe: no such file"):
        load_recipe(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="recipe: unknown recipe"):
        load_recipe("instructgpt_mini_")


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_mappings_with_a_description(name: str) -> None:
    from rltk.config import read_recipe

    assert read_recipe(name)["description"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e-3", -2.5e-3), (".5e1", 5.0), ("1_000", 1000), ("1e-4x", "1e-4x")],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    parsed = yaml_io.parse(text, "x")
    assert parsed == value and type(parsed) is type(value)


def test_what_is_dumped_is_read_back_by_any_yaml() -> None:
    tree = {"b": 1e-05, "a": [1, "1e-4", None, True, "é\n"], "c": {"$x": float("inf")}}
    assert yaml.safe_load(yaml_io.dump(tree)) == yaml_io.parse(yaml_io.dump(tree), "x") == tree


def test_specs_inside_any_model_are_checked_with_their_key_path() -> None:
    class Outer(BaseModel):
        algorithms: list[AlgorithmSpec] = Field(description="Several.")

    made = Outer(algorithms=[{"name": "toy_second"}])
    assert made.algorithms[0].options == {"max_kl": 0.01}
    with pytest.raises(ValidationError) as error:
        Outer(algorithms=[{"name": "toy_second"}, {"name": "toy_second", "max_kl": -1}])
    assert [detail["loc"] for detail in error.value.errors()] == [("algorithms", 1, "max_kl")]


def test_an_option_may_have_any_name() -> None:
    spec = ComponentSpec.model_validate({"name": "x", "options": 1, "copy": 2, "model_extra": 3})
    assert spec.options == {"options": 1, "copy": 2, "model_extra": 3}


def test_build_config_names_the_place(toys: Registry) -> None:
    assert build_config("algorithm", "toy_second", {}, where="x").max_kl == 0.01
    with pytest.raises(UserError, match=r"^x\.max_kl: should be greater than 0, got -1"):
        build_config("algorithm", "toy_second", {"max_kl": -1}, where="x")


def test_descriptions_of_failures_of_third_party_validators_stay_one_line(toys: Registry) -> None:
    class Strict(rltk.ComponentConfig):
        pair: tuple[int, int] = Field((1, 2), description="Two numbers.")

    class WithPair(toys.get("algorithm", "toy_first")):  # type: ignore[misc]
        name = "pair"
        Config = Strict

    class Plugin:
        @rltk.hookimpl
        def rltk_algorithms(self) -> list[type[rltk.Algorithm]]:
            return [WithPair]

    toys.register(Plugin(), "pair")
    with pytest.raises(UserError) as error:
        build_config("algorithm", "pair", {"pair": ["x", 1, 2]}, where="here")
    assert all(line.startswith("here.pair") for line in str(error.value).splitlines())

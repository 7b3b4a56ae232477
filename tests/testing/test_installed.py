"""Every component of every installed plugin keeps the contract of its kind; a new one is tested for free."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rltk.testing
from rltk.config import apply_overrides, read_recipe, validate_recipe
from rltk.registry import Provided, load_plugins
from rltk.runs import train

REGISTRY = load_plugins()
INSTALLED = REGISTRY.provided
#: The recipes that stages name for their checks, smaller still; others are taken as they are.
SMALLER = {
    "instructgpt-tiny": [
        "device=cpu",
        # More prompts than the comparisons stage answers in one step, so that it can be stopped between two.
        "environment.num_prompts=240",
        "comparisons.prompts=240",
        "comparisons.k_min=2",
        "comparisons.k_max=3",
        "environment.max_new_tokens=6",
        "pretrain.tokens=12000",
        "sft.epochs=1",
        "rl.iterations=3",
        "rl.episodes=16",
        "evaluate.num_prompts=10",
    ]
}


@pytest.fixture(autouse=True)
def _installed_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look names up among the installed plugins, whatever registry another test has left."""
    monkeypatch.setattr("rltk.registry._current", REGISTRY)


@pytest.fixture(scope="session")
def recipe_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Any], Path]]:
    """Return a function that gives a recipe's tree and a finished run of it, made at most once."""
    made: dict[str, tuple[dict[str, Any], Path]] = {}

    def run(name: str) -> tuple[dict[str, Any], Path]:
        if name not in made:
            tree = read_recipe(name)
            apply_overrides(tree, SMALLER.get(name, ["device=cpu"]))
            directory = tmp_path_factory.mktemp("runs") / name
            train(validate_recipe(tree, name), directory)
            made[name] = tree, directory
        return made[name]

    return run


@pytest.mark.parametrize("item", INSTALLED, ids=lambda item: f"{item.kind}:{item.component.name}")
def test_an_installed_component_keeps_its_contract(
    item: Provided, recipe_run: Callable[[str], tuple[dict[str, Any], Path]]
) -> None:
    if item.kind == "stage" and item.component.check_recipe:
        tree, directory = recipe_run(item.component.check_recipe)
        rltk.testing.check_stage(item.component, tree, directory=directory)
    else:
        getattr(rltk.testing, f"check_{item.kind}")(item.component)


def test_there_is_something_of_every_kind() -> None:
    assert {item.kind for item in INSTALLED} == {
        "algorithm",
        "environment",
        "policy",
        "reward_model",
        "stage",
    }

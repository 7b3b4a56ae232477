"""The recipe of the suite: any task by its name, any algorithm; two of them learn."""

from pathlib import Path

import pytest

from rltk.config import load_recipe
from rltk.runs import train
from rltk_envs.suite import rltk_environments

TINY = ("sft.epochs=1", "rl.iterations=1", "rl.episodes=8", "rl.num_envs=8", "evaluate.num_prompts=8")
SMALL = ("environment.num_demonstrations=40", "environment.num_prompts=20", "environment.heldout_prompts=10")


@pytest.mark.parametrize("name", [component.name for component in rltk_environments()])
def test_every_task_has_its_careless_demonstrations(name: str) -> None:
    recipe = load_recipe("suite", [f"environment.name={name}"])
    assert recipe.environment.name == name and recipe.environment.options["mistaken_share"] > 0


@pytest.mark.parametrize("algorithm", ["ppo", "trpo", "rloo", "grpo"])
def test_the_recipe_runs_with_every_algorithm(algorithm: str, tmp_path: Path) -> None:
    overrides = ["environment.name=copy", f"rl.algorithm.name={algorithm}", *TINY, *SMALL]
    summary = train(load_recipe("suite", overrides), tmp_path / "run")
    assert list(summary["policies"]) == ["sft", "rl"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "learning_rate"), [("sort", 0.0003), ("brackets", 0.0003), ("twenty_questions", 0.001)]
)
def test_reinforcement_makes_up_for_careless_demonstrations(
    name: str, learning_rate: float, tmp_path: Path
) -> None:
    overrides = [f"environment.name={name}", f"rl.algorithm.learning_rate={learning_rate}"]
    summary = train(load_recipe("suite", overrides), tmp_path / "run")
    before, after = (summary["policies"][policy]["utility"] for policy in ("sft", "rl"))
    assert before > 0.3 and after > before + 0.1

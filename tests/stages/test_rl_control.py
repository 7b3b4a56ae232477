"""The rl stage on control tasks: fragments, scales, and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

import rltk
from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.models import save_model
from rltk.registry import load_plugins
from rltk.runs import train
from tests.text_world import tiny_model, word_tokenizer

SMALL = ["rl.iterations=3", "rl.steps=64", "rl.num_envs=4", "evaluate.num_prompts=4"]


class Comparing(rltk.Algorithm):
    """Compares answers to one prompt, and learns nothing."""

    name = "comparing"
    needs_groups = True

    def update(self, rollout: rltk.Rollout, *, progress: float = 0.0) -> dict[str, float]:
        return {"groups": float(len(set(rollout.groups.tolist())))}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Plugin:
    """Provides ``comparing``."""

    @rltk.hookimpl
    def rltk_algorithms(self) -> list[type[rltk.Algorithm]]:
        return [Comparing]


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("rltk.registry._current", None)
    load_plugins().register(Plugin(), "comparing")
    yield


@pytest.fixture
def text_recipe(tmp_path: Path) -> Path:
    """A recipe of one rl stage on two prompts of a text."""
    save_model(tiny_model(), word_tokenizer(), tmp_path / "policy")
    rows = [{"prompt": prompt, "split": "train"} for prompt in ("w1 w2", "w3")]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {
        "stage": "rl",
        "policy": {"name": "causal_lm", "path": str(tmp_path / "policy")},
        "algorithm": {"name": "comparing"},
        "reward": {"name": "length"},
        "iterations": 1,
        "episodes": 6,
        "group_size": 3,
    }
    environment = {
        "name": "files",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "template": "{prompt} w28",
        "max_new_tokens": 3,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"environment": environment, "stages": {"rl": stage}}))
    return path


def test_metrics_are_recorded_at_an_interval_and_at_the_end(tmp_path: Path) -> None:
    options = ["rl.algorithm.name=a2c", *SMALL, "rl.iterations=5", "rl.log_interval=2"]
    train(load_recipe("cartpole", options), tmp_path / "run")
    records = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert [record["step"] for record in records if record["stage"] == "rl"] == [2, 4, 5]


def test_fragments_are_learned_from_and_scales_are_kept(tmp_path: Path) -> None:
    overrides = [*SMALL, "rl.normalize_rewards=true", "rl.policy.normalize_observations=true"]
    summary = train(load_recipe("cartpole", overrides), tmp_path / "run")
    assert summary["rl"]["steps"] == 192 and summary["rl"]["iterations"] == 3
    assert summary["rl"]["return"] >= 8  # no CartPole episode is shorter
    evaluated = summary["policies"]["rl"]
    assert evaluated["return"] >= 8 and evaluated["greedy_return"] >= 8
    for name in ("return", "greedy_return"):
        low, high = evaluated[f"{name}_ci"]
        assert low <= evaluated[name] <= high
    saved = load_file(tmp_path / "run/stages/rl/policy/model.safetensors")
    assert saved["moments.count"] == 192


def test_groups_reach_the_algorithm(text_recipe: Path, tmp_path: Path) -> None:
    assert train(load_recipe(text_recipe), tmp_path / "run")["rl"]["groups"] == 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rl.group_size=1", r"stages\.rl\.group_size: 'comparing' .*, got 1\. Fix: set it to 2 or more"),
        ("rl.steps=8", r"stages\.rl\.steps: text is collected in episodes\. Fix: set episodes instead"),
    ],
)
def test_what_text_refuses(text_recipe: Path, tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(load_recipe(text_recipe, [override]), tmp_path / "run")


def test_control_has_no_groups(tmp_path: Path) -> None:
    recipe = load_recipe("cartpole", [*SMALL, "rl.algorithm.name=comparing"])
    with pytest.raises(
        UserError, match=r"stages\.rl\.algorithm\.name: 'comparing' .* choose an algorithm with"
    ):
        train(recipe, tmp_path / "run")

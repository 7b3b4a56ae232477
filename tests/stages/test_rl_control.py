"""The rl stage on control tasks: fragments, scales, and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import rltk
from rltk.config import load_recipe
from rltk.errors import UserError
from rltk.models import save_model
from rltk.registry import load_plugins
from rltk.runs import train
from rltk_policies.mlp.policy import MLPPolicy
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


WHOLE_EPISODES = ["rl.steps=null", "rl.episodes=6"]


@pytest.mark.parametrize("rollout", [[], WHOLE_EPISODES], ids=["fragments", "episodes"])
@pytest.mark.parametrize("baseline", ["none", "value"])
def test_a_critic_is_asked_only_where_one_is_learned_from(
    rollout: list[str], baseline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("value", "evaluate"):
        original = getattr(MLPPolicy, name)
        monkeypatch.setattr(
            MLPPolicy, name, lambda self, batch, n=name, f=original: asked.append(n) or f(self, batch)
        )
    # Episodes that are cut off after two steps have a value at their end.
    cut_off = ["environment.options={max_episode_steps: 2}"]
    algorithm = ["rl.algorithm.name=reinforce", f"rl.algorithm.baseline={baseline}"]
    overrides = [*algorithm, *SMALL, *cut_off, "rl.steps=64", *rollout]
    summary = train(load_recipe("cartpole", overrides), tmp_path / "run")
    assert set(asked) == ({"value", "evaluate"} if baseline == "value" else set())
    assert ("explained_variance" in summary["rl"]) == (baseline == "value")


def test_a_rollout_without_a_critic_differs_in_the_values_alone(tmp_path: Path) -> None:
    rollouts: list[rltk.Rollout] = []

    class Watching:
        @rltk.hookimpl
        def rltk_rollout(self, rollout: rltk.Rollout) -> None:
            rollouts.append(rollout)

    load_plugins().register(Watching(), "watching")
    for baseline in ("value", "none"):
        options = ["rl.algorithm.name=reinforce", f"rl.algorithm.baseline={baseline}", *SMALL, "rl.steps=64"]
        train(load_recipe("cartpole", [*options, "rl.iterations=1"]), tmp_path / baseline)
    asked, unasked = rollouts
    for name in ("mask", "actions", "logprobs", "rewards", "observations", "episode_ids", "scores"):
        assert torch.equal(getattr(asked, name), getattr(unasked, name)), name
    assert bool(asked.values.any()) and not bool(unasked.values.any())
    assert bool(asked.bootstrap.any()) and not bool(unasked.bootstrap.any())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rl.group_size=1", r"^rl\.group_size: 'comparing' .*, got 1\. Fix: set it to 2 or more"),
        ("rl.steps=8", r"stages\.rl\.steps: text is collected in episodes\. Fix: set episodes instead"),
    ],
)
def test_what_text_refuses(text_recipe: Path, tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(load_recipe(text_recipe, [override]), tmp_path / "run")


def test_control_has_no_groups(tmp_path: Path) -> None:
    recipe = load_recipe("cartpole", [*SMALL, "rl.algorithm.name=comparing", "rl.group_size=4"])
    with pytest.raises(
        UserError, match=r"stages\.rl\.algorithm\.name: 'comparing' .* choose an algorithm with"
    ):
        train(recipe, tmp_path / "run")

"""The rl stage on control tasks: fragments, scales, and what it refuses."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import rltk
from rltk.config import load_recipe
from rltk.errors import NonFiniteError, UserError
from rltk.fragments import FragmentCollector
from rltk.models import save_model
from rltk.normalization import RewardScaler
from rltk.registry import load_plugins
from rltk.runs import train
from rltk_algorithms.ppo import PPO
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


def watched_rollouts() -> list[rltk.Rollout]:
    """Return a list to which every rollout is added that is collected from now on."""
    rollouts: list[rltk.Rollout] = []

    class Watching:
        @rltk.hookimpl
        def rltk_rollout(self, rollout: rltk.Rollout) -> None:
            rollouts.append(rollout)

    load_plugins().register(Watching(), "watching")
    return rollouts


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


def test_slots_are_as_many_as_asked_for_also_where_episodes_are_fewer(tmp_path: Path) -> None:
    options = ["rl.num_envs=8", "rl.steps=24", "rl.episodes=3", "rl.iterations=1", "evaluate.num_prompts=2"]
    rollouts = watched_rollouts()
    assert train(load_recipe("cartpole", options), tmp_path / "run")["rl"]["steps"] == 24
    assert [len(set(rollout.episode_ids.tolist())) >= 8 for rollout in rollouts] == [True]
    assert [rollout.num_actions for rollout in rollouts] == [24]


def test_the_return_is_still_that_of_the_latest_episodes_after_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("cartpole", [*SMALL, "checkpoint_seconds=0"])
    update = PPO.update

    def fails_at_the_end(self: PPO, rollout: rltk.Rollout, *, progress: float = 0.0) -> dict[str, float]:
        if progress > 0.6:
            raise UserError("here", "interrupted", fix="resume")
        return update(self, rollout, progress=progress)

    monkeypatch.setattr(PPO, "update", fails_at_the_end)
    with pytest.raises(UserError, match="interrupted"):
        train(recipe, tmp_path / "run")
    monkeypatch.setattr(PPO, "update", update)
    extended: list[int] = []
    collect = FragmentCollector.collect

    def collecting(self: FragmentCollector, steps: int) -> rltk.Rollout:
        extended.append(len(self.returns))
        return collect(self, steps)

    monkeypatch.setattr(FragmentCollector, "collect", collecting)
    train(recipe, tmp_path / "run", resume=True)
    assert len(extended) == 1 and extended[0] >= 2


@pytest.mark.parametrize(
    ("algorithm", "gamma"), [("name: a2c", 0.99), ("name: a2c, gamma: 0.5", 0.5), ("name: ppo", 1.0)]
)
def test_rewards_are_scaled_by_the_discount_of_the_algorithm_given_or_not(
    algorithm: str, gamma: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discounts: list[float] = []
    scale = RewardScaler.scale
    monkeypatch.setattr(
        RewardScaler, "scale", lambda self, *batch: discounts.append(self.gamma) or scale(self, *batch)
    )
    stage = f"{{stage: rl, policy: {{name: mlp}}, algorithm: {{{algorithm}}}, normalize_rewards: true, "
    stage += "iterations: 1, steps: 8, num_envs: 2}"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"environment: {{name: gymnasium, id: CartPole-v1}}\nstages: {{rl: {stage}}}\n")
    train(load_recipe(recipe), tmp_path / "run")
    assert discounts == [gamma]


@pytest.mark.parametrize("rollout", [[], ["rl.steps=null", "rl.episodes=6"]], ids=["fragments", "episodes"])
def test_a_reward_that_is_not_finite_is_an_error(rollout: list[str], tmp_path: Path) -> None:
    gym.register("PaysNaN-v0", PaysNaN)
    try:
        recipe = load_recipe(
            "cartpole", [*SMALL, "environment.id=PaysNaN-v0", "rl.normalize_rewards=true", *rollout]
        )
        with pytest.raises(NonFiniteError, match=r"stages\.rl, iteration 1, rollout: rewards of \d+ of \d+ "):
            train(recipe, tmp_path / "run")
    finally:
        gym.registry.pop("PaysNaN-v0")


class PaysNaN(gym.Env):
    """Episodes of three steps, the last of which pays what is no number."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (2,))
    action_space = gym.spaces.Discrete(2)
    count = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return np.zeros(2, np.float32), float("nan" if self.count == 3 else 1), self.count == 3, False, {}


@pytest.mark.parametrize("rollout", [[], ["rl.steps=null", "rl.episodes=6"]], ids=["fragments", "episodes"])
def test_the_kl_to_a_reference_is_measured_and_adapted_to(rollout: list[str], tmp_path: Path) -> None:
    train(load_recipe("cartpole", SMALL), tmp_path / "first")
    path = tmp_path / "first/stages/rl/policy"
    reference = [f"rl.reference={{name: mlp, path: {path}}}", "rl.kl_target=6"]
    summary = train(load_recipe("cartpole", [*SMALL, *reference, *rollout]), tmp_path / "run")
    assert summary["rl"]["kl_k3"] > 0 and summary["rl"]["kl"] < 6
    # The coefficient falls towards a KL that is allowed to be larger.
    assert summary["rl"]["kl_coef"] < 0.02


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
    rollouts = watched_rollouts()
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
        ("rl.kl_target=6", r"^rl\.kl_target: there is no reference to measure a KL to, got 6\.0"),
        ("rl.episodes=8", r"^rl\.group_size: a rollout of 8 episodes .*, got 3\. Fix: set episodes to 9"),
        ("rl.steps=8", r"stages\.rl\.steps: text is collected in episodes\. Fix: set episodes instead"),
    ],
)
def test_what_text_refuses(text_recipe: Path, tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(load_recipe(text_recipe, [override]), tmp_path / "run")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rl.group_size=4", r"^stages\.rl\.group_size: there are no prompts to share, got 4"),
        (
            "rl.reward={name: length}",
            r"^stages\.rl\.reward: the environment pays the rewards here, got 'length'",
        ),
    ],
)
def test_options_of_text_are_not_ignored(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(load_recipe("cartpole", [*SMALL, override]), tmp_path / "run")


def test_steps_are_shared_out_evenly(tmp_path: Path) -> None:
    words = r"^stages\.rl\.steps: not a multiple of num_envs=8, got 20\. Fix: set it to 24, or num_envs to 4"
    with pytest.raises(UserError, match=words):
        train(load_recipe("cartpole", [*SMALL, "rl.num_envs=8", "rl.steps=20"]), tmp_path / "run")


def test_control_has_no_groups(tmp_path: Path) -> None:
    recipe = load_recipe("cartpole", [*SMALL, "rl.algorithm.name=comparing", "rl.group_size=4"])
    with pytest.raises(
        UserError, match=r"stages\.rl\.algorithm\.name: 'comparing' .* choose ppo, trpo, a2c or"
    ):
        train(recipe, tmp_path / "run")

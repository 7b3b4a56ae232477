"""Mistakes on the command line of the rl stage: one line each that says what, where and how to mend it."""

import sys
from pathlib import Path

import pytest

from rltk import cli

#: Environments that something is wrong with: their spaces, or what is said of their resets.
WORLDS = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces

import rltk


class World(gym.Env):
    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, True, False, {}


class DictObservations(World):
    observation_space = spaces.Dict({"near": spaces.Box(-1.0, 1.0, (2,)), "far": spaces.Discrete(3)})


class TupleActions(World):
    action_space = spaces.Tuple([spaces.Discrete(2), spaces.Box(-1.0, 1.0, (1,))])


class FiveActions(World):
    action_space = spaces.Discrete(5)


class TwoAndThreeActions(World):
    action_space = spaces.MultiDiscrete([2, 3])


class WholeNumbers(World):
    action_space = spaces.Box(0, 5, (2,), np.int64)


for world in (DictObservations, TupleActions, FiveActions, TwoAndThreeActions, WholeNumbers):
    gym.register(f"{world.__name__}-v0", world)


class Unmarked(rltk.Environment):
    name = "unmarked"

    class Config(rltk.ComponentConfig):
        metadata: dict | None

    def make_vec(self, num_envs, *, split="train", **options):
        envs = gym.make_vec("CartPole-v1", num_envs, vectorization_mode="sync")
        envs.metadata = self.config.metadata
        return envs

    def spaces(self):
        env = gym.make("CartPole-v1")
        return env.observation_space, env.action_space


@rltk.hookimpl
def rltk_environments():
    return [Unmarked]
"""
CARTPOLE = [
    "train",
    "cartpole",
    "-p",
    "worlds.py",
    "rl.iterations=1",
    "rl.num_envs=2",
    "evaluate.num_prompts=2",
]
FRAGMENTS, EPISODES = ["rl.steps=16"], ["rl.steps=null", "rl.episodes=2"]
TRPO = "rl.algorithm.name=trpo"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltk.registry._current", None)
    monkeypatch.chdir(tmp_path)
    Path("worlds.py").write_text(WORLDS)


def command(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(sys, "argv", ["rltk", *arguments])
        cli.main()
    return int(ended.value.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that ends with exit code 2."""
    capsys.readouterr()
    assert command(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("rltk: error: ")] == lines[-1:]
    assert ". Fix: " in lines[-1]
    return lines[-1].removeprefix("rltk: error: ")


@pytest.mark.parametrize("value", ["0", "-0.01", ".nan", ".inf", "far"])
def test_a_trust_region_without_room(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *CARTPOLE, TRPO, f"rl.algorithm.max_kl={value}", "--run", "run")
    assert said.startswith("rl.algorithm.max_kl: should be a") or "should be greater than 0, got" in said
    assert value.removeprefix(".") in said and not Path("run").exists()


@pytest.mark.parametrize("collecting", [FRAGMENTS, EPISODES], ids=["fragments", "episodes"])
@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("{}", "its metadata do not say when an episode that ended is followed by the next. Fix: "),
        ("null", "its metadata do not say when an episode that ended is followed by the next. Fix: "),
        ("{autoreset_mode: NextStep}", "its autoreset mode must be SAME_STEP, got 'NextStep'. Fix: "),
    ],
)
def test_an_environment_that_is_not_reset_in_the_same_step(
    metadata: str, words: str, collecting: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("recipe.yaml").write_text(
        f"environment: {{name: unmarked, metadata: {metadata}}}\n"
        "stages: {rl: {stage: rl, policy: {name: mlp}, num_envs: 2, iterations: 1}}\n"
    )
    said = refused(capsys, "train", "recipe.yaml", "-p", "worlds.py", *collecting, "--run", "run")
    assert said.startswith(f"environment: {words}")


def test_observations_that_a_perceptron_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *CARTPOLE, "environment.id=DictObservations-v0", "--run", "run")
    assert said.startswith("policy.name: 'mlp' reads Box and discrete observations only, got Dict(")
    assert said.endswith("Fix: wrap the environment in gymnasium.wrappers.FlattenObservation.")


def test_actions_that_a_perceptron_cannot_take(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *CARTPOLE, "environment.id=TupleActions-v0", "--run", "run")
    assert said.startswith("policy.name: 'mlp' cannot take these actions, got Tuple(")
    assert "Fix: choose an environment with Discrete, MultiDiscrete or one-dimensional Box actions" in said


def test_a_policy_of_continuous_actions_where_they_are_discrete(capsys: pytest.CaptureFixture[str]) -> None:
    continuous = ["environment.id=Pendulum-v1", *FRAGMENTS]
    assert command(*CARTPOLE, *continuous, "--run", "pendulum") == 0
    said = refused(capsys, *CARTPOLE, "rl.policy.path=pendulum/stages/rl/policy", "--run", "run")
    assert said.startswith("policy.path: saved for an environment with observations Box(")
    assert "actions Box(-2.0, 2.0, (1,), float32), not Discrete(2)" in said
    assert said.endswith("Fix: choose the environment that it was trained in.")


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_group_of_one_is_refused_before_anything_runs(
    algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "train", "instructgpt-tiny", f"rl.algorithm.name={algorithm}", "--run", "run")
    compares = f"rl.group_size: {algorithm!r} compares the answers to one prompt with each other, got 1. "
    assert said.startswith(f"{compares}Fix: set it to 2 or more")
    assert not Path("run").exists()


def test_a_control_task_has_no_groups(capsys: pytest.CaptureFixture[str]) -> None:
    grouped = ["rl.algorithm.name=grpo", "rl.group_size=4"]
    said = refused(capsys, *CARTPOLE, *grouped, "--run", "run")
    assert said.startswith("stages.rl.algorithm.name: 'grpo' compares the answers")
    assert said.endswith("Fix: choose ppo, trpo, a2c or reinforce; there are no prompts here.")


def test_what_the_environment_does_not_take(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *CARTPOLE, "environment.options={colour: 1}", "--run", "run")
    assert said.startswith("environment.options: CartPole-v1 is not made with these: ")
    assert "'colour'" in said and said.endswith("Fix: leave out what it does not take.")


@pytest.mark.parametrize("size", ["0", "-1"])
def test_layers_without_units(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *CARTPOLE, f"rl.policy.hidden_sizes=[64, {size}]", "--run", "run")
    assert "rl.policy.hidden_sizes" in said and "greater than 0" in said


def test_a_list_in_place_of_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "rl.algorithm.name" in refused(capsys, *CARTPOLE, "rl.algorithm.name=[ppo]", "--run", "run")


@pytest.mark.parametrize("file", ["model.safetensors", "policy.json"])
@pytest.mark.parametrize("content", [None, "broken"])
def test_a_saved_policy_that_cannot_be_read(
    file: str, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*CARTPOLE, *FRAGMENTS, "--run", "whole") == 0
    broken = Path("whole/stages/rl/policy") / file
    broken.unlink()
    if content is not None:
        broken.write_text(content)
    said = refused(capsys, *CARTPOLE, "rl.policy.path=whole/stages/rl/policy", "--run", "run")
    missing = content is None and file == "policy.json"
    assert said.startswith(
        "policy.path: no saved mlp policy" if missing else f"policy.path: {file} cannot be read"
    )


def test_actions_of_the_same_sizes_that_mean_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    two = ["environment.id=TwoAndThreeActions-v0", *FRAGMENTS]
    assert command(*CARTPOLE, *two, "--run", "two") == 0
    other = ["environment.id=FiveActions-v0", "rl.policy.path=two/stages/rl/policy"]
    said = refused(capsys, *CARTPOLE, *other, "--run", "run")
    assert "saved for an environment with actions MultiDiscrete([2 3]), not Discrete(5)" in said


def test_actions_that_are_whole_numbers_in_a_box(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, *CARTPOLE, "environment.id=WholeNumbers-v0", "--run", "run")
    assert said.startswith("policy.name: 'mlp' cannot take these actions, got Box(")

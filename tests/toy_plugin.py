"""A plugin in one file: a pretend environment, two algorithms, and a stage that counts."""

import os
import signal
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from pydantic import Field

import rltk
from rltk.config import AlgorithmSpec, ComponentSpec
from rltk.rng import torch_generator


class ToyEnvironment(rltk.Environment):
    """Nothing to act in."""

    name = "toy"

    class Config(rltk.ComponentConfig):
        size: int = Field(3, gt=0, description="Size of the world.")
        path: str | None = Field(None, description="A file.")

    def make_vec(self, num_envs: int, *, split: str = "train", **options: Any) -> Any:
        raise NotImplementedError


class ToyAlgorithm(rltk.Algorithm):
    name = "toy_first"

    class Config(rltk.ComponentConfig):
        clip_range: float = Field(0.2, gt=0, description="Clip range.")
        learning_rate: float = Field(1e-4, gt=0, description="Step size.")

    def update(self, rollout: Any, *, progress: float = 0.0) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class OtherToyAlgorithm(ToyAlgorithm):
    name = "toy_second"

    class Config(rltk.ComponentConfig):
        max_kl: float = Field(0.01, gt=0, description="Largest step in nats.")


class Count(rltk.Stage):
    """Adds noise to a weight; TOY_KILL=STAGE:STEP:SIGNAL in the environment sends itself that signal."""

    name = "count"

    class Config(rltk.ComponentConfig):
        steps: int = Field(4, gt=0, description="How many.")
        fail: bool = Field(False, description="Whether to have a bug.")
        path: str = Field("$RUN/none", description="A path.")
        algorithm: AlgorithmSpec = Field(ComponentSpec(name="toy_first"), description="An algorithm.")

    def run(self) -> Mapping[str, Any]:
        restored = self.context.load_checkpoint()
        done, weight = (0, torch.zeros(2)) if restored is None else (restored[0], restored[1]["weight"])
        for step in range(done + 1, self.config.steps + 1):
            if self.config.fail:
                raise ZeroDivisionError("a bug")
            weight = weight + torch.randn(2, generator=torch_generator(self.context.seed, step))
            self.context.log(step, self.config.steps, {"count/weight": float(weight[0])})
            self._maybe_signal(step)
            self.context.checkpoint(step, partial(dict, weight=weight))
        return {
            "policies": {self.context.name: {"weight": weight.tolist(), "return": float("nan")}},
            "toy": {self.context.name: 1},
        }

    def _maybe_signal(self, step: int) -> None:
        stage, at, name = (os.environ.get("TOY_KILL") or "::").split(":")
        if stage == self.context.name and int(at) == step:
            os.kill(os.getpid(), signal.Signals[name])


@rltk.reward
def polite(episode: rltk.Episode) -> float | None:
    """Pays for manners."""
    return float("please" in episode.response) if episode.response else None


@rltk.hookimpl
def rltk_environments() -> list[type[rltk.Environment]]:
    return [ToyEnvironment]


@rltk.hookimpl
def rltk_algorithms() -> list[type[rltk.Algorithm]]:
    return [ToyAlgorithm, OtherToyAlgorithm]


@rltk.hookimpl
def rltk_stages() -> list[type[rltk.Stage]]:
    return [Count]

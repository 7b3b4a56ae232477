"""Train and evaluate Stable-Baselines3 or sb3-contrib on one job: JSON on stdin, JSON on stdout.

Runs in the environment that ``make peers`` makes, which has no rltk; called by
:mod:`tests.benchmarks.control`.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, sync_envs_normalization

_ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "trpo": TRPO, "a2c": A2C}
_ACTIVATIONS = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
_EVALUATION_SEED = 1_000_000
_EVALUATION_ENVS = 20
_CURVE_POINTS = 20


class Curve(BaseCallback):
    """Keeps the mean return of the last 100 training episodes, at about twenty points."""

    def __init__(self, total_steps: int) -> None:
        super().__init__()
        self.total_steps = total_steps
        self.points: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        reached = len(self.points) * self.total_steps / _CURVE_POINTS
        episodes = self.model.ep_info_buffer
        if self.num_timesteps >= reached and episodes:
            mean = sum(episode["r"] for episode in episodes) / len(episodes)
            self.points.append((self.num_timesteps, float(mean)))


def make_envs(job: dict[str, Any], num_envs: int, seed: int) -> VecEnv:
    """Return the vector environment of a job, normalised as it says."""
    envs = make_vec_env(job["environment"], n_envs=num_envs, seed=seed, env_kwargs=job["options"])
    return envs if job["normalize"] is None else VecNormalize(envs, **job["normalize"])


def make_model(job: dict[str, Any], envs: VecEnv) -> BaseAlgorithm:
    """Return the untrained algorithm."""
    keywords = {name: _scheduled(value) for name, value in job["keywords"].items()}
    policy = {key: value for key, value in job["policy_keywords"].items() if key != "activation"}
    policy["activation_fn"] = _ACTIVATIONS[job["policy_keywords"]["activation"]]
    algorithm: Any = _ALGORITHMS[job["algorithm"]]
    return algorithm("MlpPolicy", envs, seed=job["seed"], device="cpu", policy_kwargs=policy, **keywords)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate; return the measurements."""
    envs = make_envs(job, job["num_envs"], job["seed"])
    model, curve = make_model(job, envs), Curve(job["total_steps"])
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(job["total_steps"], callback=curve)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "steps": model.num_timesteps,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "return": evaluated(job, model, envs, deterministic=False),
        "greedy_return": evaluated(job, model, envs, deterministic=True),
        "curve": curve.points,
        "versions": {name: version(name) for name in ("stable-baselines3", "sb3-contrib", "torch")},
    }


def evaluated(job: dict[str, Any], model: BaseAlgorithm, trained: VecEnv, *, deterministic: bool) -> float:
    """Return the mean undiscounted return of new episodes, in the scale of the environment."""
    envs = make_envs(job, min(_EVALUATION_ENVS, job["episodes"]), _EVALUATION_SEED + job["seed"])
    if isinstance(envs, VecNormalize):
        sync_envs_normalization(trained, envs)
        envs.training, envs.norm_reward = False, False
    mean, _ = evaluate_policy(model, envs, n_eval_episodes=job["episodes"], deterministic=deterministic)
    envs.close()
    return float(mean)


def _scheduled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    initial: float = value["initial"]
    return LinearSchedule(initial, 0.0, 1.0) if value["schedule"] == "linear" else initial


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump(run(json.load(sys.stdin)), sys.stdout)

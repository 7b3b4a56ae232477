"""Whole iterations of rltk's rl stage, as ``rltk train`` does them, and what each phase of them takes."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

from speed_clock import Clock, timed
from speed_models import text_of

import rltk.rollout
import rltk_rewards.preference_model
import rltk_stages.rl
from rltk.config import Recipe
from rltk.hookspecs import hookimpl
from rltk.registry import get_registry
from rltk.runs import train


class Laps:
    """Takes a lap at every iteration that the rl stage reports."""

    def __init__(self, clock: Clock, phases: Counter[str]) -> None:
        self.clock, self.phases = clock, phases

    @hookimpl
    def rltk_stage_start(self) -> None:
        """Begin the first iteration."""
        self.clock.start()

    @hookimpl
    def rltk_metrics(self, step: int) -> None:
        """End an iteration; forget what the warm-up spent where."""
        self.clock.lap()
        if step == 1:
            self.phases.clear()


#: What is timed in an iteration beside the algorithm, by where the code that calls it looks it up.
_PHASES: dict[str, tuple[Any, str]] = {
    "collect": (rltk_stages.rl, "collect"),
    "reference": (rltk_stages.rl, "rollout_logprobs"),
    "values": (rltk.rollout, "rollout_values"),
    "reward": (rltk_rewards.preference_model.PreferenceModel, "score"),
}


def iterate(job: dict[str, Any]) -> dict[str, Any]:
    """Train with the rl stage, as ``rltk train`` does."""
    registry = get_registry()
    algorithm = registry.get("algorithm", job["kind"])
    clock, phases = Clock(job), Counter[str]()
    registry.register(Laps(clock, phases), "laps")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        for name, (owner, attribute) in {"update": (algorithm, "update"), **_PHASES}.items():
            function = timed(getattr(owner, attribute), name, phases)
            stack.enter_context(patch.object(owner, attribute, function))
        prompts = Path(directory) / "prompts.jsonl"
        rows = ({"prompt": text_of(prompt), "split": "train"} for prompt in job["prompts"])
        prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
        train(recipe(job, prompts), Path(directory) / "run")
    return clock.measured(tokens=sum(job["lengths"]), phases=split(phases))


def split(phases: Counter[str]) -> dict[str, float]:
    """Return phases that do not contain one another: collecting scores and values too, at its end."""
    collected = phases.pop("collect")
    return {"decode": collected - phases["values"] - phases["reward"], **phases}


def recipe(job: dict[str, Any], prompts: Path) -> Recipe:
    """Return the rl stage by itself, with TRL's settings."""
    policy = {"name": "causal_lm", "path": job["models"] + "/policy"}
    reward = job["models"] + "/reward"
    critic = {"critic": job["critic"]}
    if job["critic"] == "separate":
        critic["critic_path"] = reward
    algorithm = {"name": job["kind"], "learning_rate": 3e-6, "epochs": job["epochs"]}
    algorithm["minibatch_size"] = job["minibatch"]
    if job["kind"] == "ppo":
        algorithm["value_coef"] = 0.1
    stage = {
        "stage": "rl",
        "policy": {**policy, **critic},
        "reference": {**policy, "critic": "none"},
        "reward": {"name": "preference_model", "path": reward},
        "algorithm": algorithm,
        "iterations": 1 + job["repeats"],
        "episodes": job["episodes"],
        "num_envs": job["slots"],
        "group_size": job["group"],
        "kl_coef": 0.05,
    }
    return Recipe(
        device=job["device"],
        checkpoint_seconds=1e6,
        environment={
            "name": "files",
            "prompts": str(prompts),
            "template": "{prompt}",
            "max_new_tokens": job["new_tokens"],
        },
        stages={"rl": stage},
    )

"""Answering one prompt with a policy that a run left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rltk.config import Recipe, load_recipe
from rltk.errors import UserError, suggestion
from rltk.registry import create
from rltk.rollout import collect
from rltk.runs import choose_device, create_environment


def generate(
    run_directory: Path,
    prompt: str,
    *,
    policy: str | None = None,
    max_new_tokens: int | None = None,
    seed: int = 0,
    greedy: bool = False,
) -> str:
    """Return a policy's response to a prompt, in the environment of its run.

    :param policy: which policy, by its name in the summary or its stage's; the final one by default.
    :param max_new_tokens: length budget; the environment's own by default.
    :param seed: of the sampling.
    :param greedy: take the likeliest token every time.
    :raises UserError: there is no run, no such policy, or the prompt does not fit.
    """
    run_directory = run_directory.absolute()
    if not (run_directory / "config.yaml").is_file():
        raise UserError(str(run_directory), "no run is here", fix="name the directory that `rltk train` made")
    recipe = load_recipe(run_directory / "config.yaml")
    path = policy_directory(recipe, run_directory, policy)
    model = create("policy", "causal_lm", path=str(path), device=choose_device(recipe.device))
    budget = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    # nobody knows the truth about a prompt made up here: no reward
    material = {"prompts": [{"prompt": prompt}], "tokenizer": model.tokenizer, "reward": None}
    options: dict[str, Any] = {**material, **budget}
    environment = create_environment(recipe, run_directory)
    if environment.max_turns > 1:
        what = f"{environment.name!r} answers between a policy's turns, but not to a prompt made up here"
        fix = "see stages/evaluate for what the policy said, or use rltk bench"
        raise UserError(str(run_directory), what, fix=fix)
    envs = environment.make_vec(1, split="test", shuffle=False, **options)
    rollout = collect(envs, model, episodes=1, seed=seed, deterministic=greedy)
    return rollout.episodes[0].response


def policy_directory(recipe: Recipe, run_directory: Path, name: str | None = None) -> Path:
    """Return the folder of a policy: one with the name in the summary or of a stage, or the final one."""
    folders = {
        stage: folder
        for stage in recipe.stages
        if ((folder := run_directory / "stages" / stage / "policy") / "config.json").is_file()
    }
    summary = run_directory / "summary.json"
    policies = json.loads(summary.read_text(encoding="utf-8"))["policies"] if summary.is_file() else {}
    for key, values in policies.items():
        if isinstance(values.get("path"), str):
            folders[key] = run_directory / values["path"]
    if not folders:
        fix = "let a stage that trains one finish: rltk train --resume"
        raise UserError(str(run_directory), "holds no text policy yet", fix=fix)
    if name is None:
        final = next(reversed(policies), None)
        return folders[final] if final in folders else list(folders.values())[-1]
    if name not in folders:
        raise UserError("--policy", "no such policy", got=name, fix=suggestion(name, folders))
    return folders[name]

"""The return of a policy in an environment without text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from rltk.policy import Policy
from rltk.rng import derive_seed, numpy_generator
from rltk.rollout import collect
from rltk.stats import cluster_bootstrap_interval
from rltk.types import Rollout

if TYPE_CHECKING:
    from rltk.runs import StageContext


def evaluate_returns(context: StageContext, config: Any, policy: Policy) -> dict[str, Any]:
    """Return the mean undiscounted return and length of episodes, with the return's 95 % interval.

    Where the config asks for ``greedy``, the return of each distribution's mode stands beside that of
    sampled actions, on environments with the same seeds.
    """
    sampled = _episodes(context, config, policy, deterministic=False)
    measured = _measured(context, "return", sampled.scores)
    if config.greedy:
        greedy = _episodes(context, config, policy, deterministic=True)
        measured |= _measured(context, "greedy_return", greedy.scores)
    return {**measured, "length": float(sampled.mask.sum(1).double().mean())}


def _episodes(context: StageContext, config: Any, policy: Policy, *, deterministic: bool) -> Rollout:
    envs = context.environment.make_vec(min(config.num_envs, config.num_prompts), split=config.split)
    seed = derive_seed(context.seed, "sampling")
    try:
        return collect(
            envs,
            policy,
            episodes=config.num_prompts,
            seed=seed,
            deterministic=deterministic,
            values=False,
        )
    finally:
        envs.close()


def _measured(context: StageContext, name: str, scores: Tensor) -> dict[str, Any]:
    """Return the mean of one score per episode and its interval, under ``name`` and ``name_ci``."""
    returns = scores.double().cpu().numpy()
    generator = numpy_generator(context.seed, "bootstrap", name)
    low, high = cluster_bootstrap_interval(returns, np.ones(len(returns)), generator=generator)
    return {name: float(returns.mean()), f"{name}_ci": [low, high]}

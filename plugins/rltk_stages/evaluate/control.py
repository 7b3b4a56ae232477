"""The return of a policy in an environment without text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rltk.policy import Policy
from rltk.rng import derive_seed, numpy_generator
from rltk.rollout import collect
from rltk.stats import cluster_bootstrap_interval

if TYPE_CHECKING:
    from rltk.runs import StageContext


def evaluate_returns(context: StageContext, config: Any, policy: Policy) -> dict[str, Any]:
    """Return the mean undiscounted return and length of episodes, with the return's 95 % interval."""
    envs = context.environment.make_vec(min(config.num_envs, config.num_prompts), split=config.split)
    seed = derive_seed(context.seed, "sampling")
    rollout = collect(envs, policy, episodes=config.num_prompts, seed=seed)
    returns = rollout.scores.double().cpu().numpy()
    generator = numpy_generator(context.seed, "bootstrap", "return")
    low, high = cluster_bootstrap_interval(returns, np.ones(len(returns)), generator=generator)
    return {
        "return": float(returns.mean()),
        "return_ci": [low, high],
        "length": float(rollout.mask.sum(1).double().mean()),
    }

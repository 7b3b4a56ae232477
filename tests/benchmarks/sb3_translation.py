"""A recipe's settings as keyword arguments of Stable-Baselines3: the recipe is their only source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rltk.config import Recipe

Options = Mapping[str, Any]
#: How many numbers an action is; 1 where it is discrete. Written down, as making an environment needs extras.
COMPONENTS = {
    "CartPole-v1": 1,
    "Acrobot-v1": 1,
    "LunarLander-v3": 1,
    "Pendulum-v1": 1,
    "HalfCheetah-v5": 6,
    "Hopper-v5": 3,
}


def sb3_job(recipe: Recipe) -> dict[str, Any]:
    """Return what :mod:`tests.benchmarks.peers_sb3` needs to train as the recipe's rl stage does.

    :returns: plain JSON values; schedules as ``{"initial": x, "schedule": "linear"}``.
    :raises ValueError: the recipe uses what the peer does not have.
    """
    stage = recipe.stages["rl"].options
    policy, algorithm = stage["policy"], dict(stage["algorithm"])
    name = algorithm.pop("name")
    _require("policy", policy, {"name": "mlp", "path": None})
    if name == "trpo":
        algorithm |= _per_component(algorithm, recipe.environment.options["id"])
    if stage["steps"] is None:
        raise ValueError("the recipe collects whole episodes; the peer collects steps")
    return {
        "algorithm": name,
        "environment": recipe.environment.options["id"],
        "options": recipe.environment.options["options"],
        "num_envs": stage["num_envs"],
        "total_steps": stage["iterations"] * stage["steps"],
        "seed": recipe.seed,
        "normalize": _normalize(stage, algorithm["gamma"]),
        "keywords": {
            "n_steps": stage["steps"] // stage["num_envs"],
            "gamma": algorithm["gamma"],
            "gae_lambda": algorithm["gae_lambda"],
            **_ALGORITHMS[name](algorithm),
        },
        "policy_keywords": {
            "net_arch": list(policy["hidden_sizes"]),
            "activation": policy["activation"],
            "ortho_init": policy["initial_weights"] == "orthogonal",
            "log_std_init": policy["initial_log_std"],
        },
        "episodes": recipe.stages["evaluate"].options["num_prompts"],
    }


def _per_component(algorithm: Options, environment: str) -> dict[str, float]:
    """Return TRPO's trust region and damping for a KL that is a mean over an action's components.

    rltk's, as the paper's, is the KL of whole actions: the sum over their components. sb3-contrib takes the
    mean of what torch.distributions returns, which for a Gaussian is one number per component.
    """
    return {name: algorithm[name] / COMPONENTS[environment] for name in ("max_kl", "damping")}


def _normalize(stage: Options, gamma: float) -> dict[str, Any] | None:
    """Return keyword arguments of VecNormalize, or None where nothing is normalised."""
    observations, rewards = stage["policy"]["normalize_observations"], stage["normalize_rewards"]
    if not observations and not rewards:
        return None
    clip = stage["policy"]["clip_observations"]
    return {"norm_obs": observations, "norm_reward": rewards, "clip_obs": clip, "gamma": gamma}


def _ppo(options: Options) -> dict[str, Any]:
    same = {"critic_learning_rate": None, "ptx_coef": 0.0, "value_clip_range": None, "adam_epsilon": 1e-5}
    _require("ppo", options, same)
    if options["normalize_advantages"]:
        _require("ppo", options, {"normalize_over": "minibatch"})
    return {
        "learning_rate": _scheduled(options["learning_rate"], options["schedule"]),
        "batch_size": options["minibatch_size"],
        "n_epochs": options["epochs"],
        "clip_range": _scheduled(options["clip_range"], options["clip_schedule"]),
        "normalize_advantage": options["normalize_advantages"],
        "target_kl": options["target_kl"],
        **_losses(options),
    }


def _a2c(options: Options) -> dict[str, Any]:
    _require("a2c", options, {"rmsprop_alpha": 0.99})
    return {
        "learning_rate": _scheduled(options["learning_rate"], options["schedule"]),
        "use_rms_prop": options["optimizer"] == "rmsprop",
        "rms_prop_eps": options["epsilon"],
        "normalize_advantage": options["normalize_advantages"],
        **_losses(options),
    }


def _trpo(options: Options) -> dict[str, Any]:
    _require("trpo", options, {"fisher_rows": None})
    return {
        "learning_rate": options["critic_learning_rate"],
        "batch_size": options["minibatch_size"],
        "n_critic_updates": options["critic_epochs"],
        "target_kl": options["max_kl"],
        "cg_max_steps": options["cg_iterations"],
        "cg_damping": options["damping"],
        "line_search_max_iter": options["backtracks"],
        "line_search_shrinking_factor": options["backtrack_ratio"],
        "normalize_advantage": options["normalize_advantages"],
    }


_ALGORITHMS: dict[str, Callable[[Options], dict[str, Any]]] = {"ppo": _ppo, "trpo": _trpo, "a2c": _a2c}


def _losses(options: Options) -> dict[str, Any]:
    """Return the weights of the losses; the peer's value loss is the squared error, rltk's half of it."""
    return {
        "vf_coef": options["value_coef"] / 2,
        "ent_coef": options["entropy_coef"],
        "max_grad_norm": options["max_grad_norm"],
    }


def _scheduled(initial: float, schedule: str) -> dict[str, Any]:
    return {"initial": initial, "schedule": schedule}


def _require(where: str, options: Options, fixed: Options) -> None:
    """Raise a ValueError unless the options have the only values that the peer knows."""
    for key, value in fixed.items():
        if options[key] != value:
            raise ValueError(f"{where}.{key}: the peer has {value!r} only, got {options[key]!r}")

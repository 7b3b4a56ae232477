"""What policy, algorithm and environment need of one another, checked before anything is collected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rltk.errors import UserError
from rltk.registry import get_registry

if TYPE_CHECKING:
    from rltk.policy import Policy
    from rltk.runs import StageContext


_COMPARES = "compares the answers to one prompt with each other"


def check_requirements(config: Any, context: StageContext, policy: Policy) -> None:
    """Check that the algorithm of an rl stage can train the policy in the environment.

    :param config: the stage's.
    :raises UserError: saying what does not fit.
    """
    where, name = f"stages.{context.name}", config.algorithm.name
    algorithm = get_registry().get("algorithm", name, where=f"{where}.algorithm.name")
    if not policy.actor_parameters():
        fix = "choose mlp or causal_lm here; baselines belong in the evaluate stage"
        raise UserError(f"{where}.policy.name", f"{policy.name!r} has nothing to train", fix=fix)
    if algorithm.needs_groups and context.environment.spaces() is not None:
        fix = "choose ppo, trpo, a2c or reinforce; there are no prompts here"
        raise UserError(f"{where}.algorithm.name", f"{name!r} {_COMPARES}", fix=fix)
    if context.environment.spaces() is not None:
        _refuse_options_of_text(config, where)
    if config.steps is not None:
        _check_steps(config.steps, config.num_envs, context)


def _refuse_options_of_text(config: Any, where: str) -> None:
    fix = "leave it out; there is no text here"
    if config.group_size > 1:
        raise UserError(
            f"{where}.group_size", "there are no prompts to share", got=config.group_size, fix=fix
        )
    if config.reward is not None:
        what = "the environment pays the rewards here"
        raise UserError(f"{where}.reward", what, got=config.reward.name, fix=fix)


def _check_steps(steps: int, num_envs: int, context: StageContext) -> None:
    where = f"stages.{context.name}.steps"
    if context.environment.spaces() is None:
        raise UserError(where, "text is collected in episodes", fix="set episodes instead")
    if steps % num_envs:
        more = steps + num_envs - steps % num_envs
        fix = f"set it to {more}, or num_envs to {math.gcd(steps, num_envs)}"
        raise UserError(where, f"not a multiple of num_envs={num_envs}", got=steps, fix=fix)


def check_group_size(name: str, group_size: int, episodes: int) -> None:
    """Check that an algorithm that compares answers gets several to a prompt, before anything runs.

    :param name: the algorithm's.
    :param episodes: of a rollout.
    :raises UserError: it gets one, or rollouts do not hold whole groups.
    """
    if get_registry().get("algorithm", name).needs_groups and group_size < 2:
        fix = "set it to 2 or more; on control tasks choose ppo, trpo, a2c or reinforce"
        raise UserError("group_size", f"{name!r} {_COMPARES}", got=group_size, fix=fix)
    if episodes % group_size:
        more = episodes + group_size - episodes % group_size
        what = f"a rollout of {episodes} episodes would cut a group apart"
        raise UserError("group_size", what, got=group_size, fix=f"set episodes to {more}")


def check_kl_target(kl_target: float | None, reference: object) -> None:
    """Check that there is a KL to adapt the coefficient to.

    :param reference: of the KL penalty.
    :raises UserError: there is none.
    """
    if kl_target is not None and reference is None:
        what, fix = "there is no reference to measure a KL to", "set rl.reference, or leave kl_target out"
        raise UserError("kl_target", what, got=kl_target, fix=fix)

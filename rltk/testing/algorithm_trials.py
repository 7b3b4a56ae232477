"""An algorithm with a small policy and rollouts to learn from, for the checks of algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from rltk.interfaces import Algorithm
from rltk.rng import torch_generator
from rltk.rollout import collect
from rltk.testing.components import Component
from rltk.testing.reference_policy import LinearPolicy, shake
from rltk.testing.tiny_envs import FEATURES, ArrayWorld
from rltk.training import weights
from rltk.types import Rollout

ACTIONS = 3
#: Rows of a rollout; equal prompts stand together, eight rows each.
ROWS, GROUP = 24, 8
#: More rows than a mini-batch usually has, so that what one step may find too late shows.
MANY_ROWS = 160


@dataclass(frozen=True)
class Trial:
    """An algorithm with the policy it improves."""

    algorithm: Algorithm
    policy: LinearPolicy

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of it."""
        return {"policy": weights(self.policy), "algorithm": self.algorithm.state_dict()}


def start(
    found: Component, *, policy: LinearPolicy | None = None, seed: int = 0, **collaborators: Any
) -> Trial:
    """Return a fresh algorithm on a fresh policy; the seed is that of the algorithm's generator."""
    policy = LinearPolicy(FEATURES, ACTIONS) if policy is None else policy
    shake(policy.parameters(), seed=0)
    given = {"auxiliary_loss": None, "generator": torch_generator(seed), **collaborators}
    return Trial(found.make(policy=policy, **given), policy)


def rollout_of(policy: LinearPolicy, *, seed: int = 0, rows: int = ROWS) -> Rollout:
    """Return a rollout of ragged episodes, some of them cut off."""
    envs = ArrayWorld(8, spaces.Discrete(ACTIONS), group_size=GROUP)
    rollout = collect(envs, policy, episodes=rows, seed=seed)
    return rollout.replace(groups=rollout.episode_ids // GROUP)


def with_garbage(rollout: Rollout) -> Rollout:
    """Return the rollout with other finite numbers wherever its mask is False."""
    mask = rollout.mask
    numbers = {"logprobs": -3.0, "ref_logprobs": -2.0, "rewards": 50.0, "values": -20.0}
    changes: dict[str, Tensor] = {
        name: torch.where(mask, getattr(rollout, name), number) for name, number in numbers.items()
    }
    changes["actions"] = torch.where(mask, rollout.actions, ACTIONS - 1)
    if rollout.observations is not None:
        changes["observations"] = torch.where(mask[..., None], rollout.observations, 7.0)
    return rollout.replace(**changes)


def with_reference(rollout: Rollout) -> Rollout:
    """Return the rollout with log-probabilities of a reference policy that is near."""
    nearby = torch.where(rollout.mask, rollout.logprobs - 0.1 * rollout.logprobs.cos(), 0.0)
    return rollout.replace(ref_logprobs=nearby)


def copy_of(policy: LinearPolicy) -> dict[str, Tensor]:
    """Return a copy of the policy's weights."""
    return {name: tensor.clone() for name, tensor in weights(policy).items()}


def furthest_apart(first: LinearPolicy, second: LinearPolicy) -> float:
    """Return the largest difference between a weight of one policy and the same of another."""
    other = weights(second)
    return max(float((value - other[name]).abs().max()) for name, value in weights(first).items())

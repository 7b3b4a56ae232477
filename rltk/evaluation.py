"""What a policy makes of a rollout that another collected, in batches of like length."""

from __future__ import annotations

import torch
from torch import Tensor

from rltk.policy import Policy
from rltk.types import Rollout


@torch.no_grad()
def rollout_logprobs(policy: Policy, rollout: Rollout, *, max_tokens: int) -> Tensor:
    """Return the policy's teacher-forced log-probabilities ``[B, T]`` of the rollout's actions."""
    logprobs = torch.zeros_like(rollout.logprobs)
    for rows in rollout.micro_batches(max_tokens):
        _place(logprobs, rows, policy.action_logprobs(rollout.select(rows))[0])
    return logprobs


@torch.no_grad()
def rollout_values(policy: Policy, rollout: Rollout, *, max_tokens: int) -> Tensor:
    """Return the critic's values ``[B, T]``."""
    values = torch.zeros_like(rollout.rewards)
    for rows in rollout.micro_batches(max_tokens):
        _place(values, rows, policy.value(rollout.select(rows)))
    return values


def _place(target: Tensor, rows: Tensor, part: Tensor) -> None:
    """Write ``part [b, t]`` into some rows of ``target [B, T]``, from the left."""
    target[rows.to(target.device), : part.shape[1]] = part.to(target)

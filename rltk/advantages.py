"""From rewards to advantages: pure functions on ``[B, T]`` tensors and a mask."""

import torch
from torch import Tensor

from rltk.types import Rollout


def generalized_advantage_estimation(
    rewards: Tensor, values: Tensor, bootstrap: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Return advantages and value targets, zero where the mask is False.

    GAE(gamma, lambda), Schulman et al. 2016, equation 16: the discounted sum of the residuals
    ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)``; targets are ``advantages + values``.

    :param rewards: ``[B, T]`` reward after each action.
    :param values: ``[B, T]`` value before each action.
    :param bootstrap: ``[B]`` value after the last action of a row, 0 where the episode terminated.
    :param mask: ``[B, T]`` bool, True at actions; each row is a run of True from the left.
    :returns: advantages ``[B, T]`` and returns ``[B, T]``.
    """
    advantages = torch.zeros_like(rewards)
    next_advantage = torch.zeros_like(bootstrap)
    next_value = bootstrap
    for t in reversed(range(rewards.shape[1])):
        valid = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * gae_lambda * next_advantage
        advantages[:, t] = torch.where(valid, advantage, 0.0)
        next_advantage = torch.where(valid, advantage, next_advantage)
        next_value = torch.where(valid, values[:, t], next_value)
    return advantages, torch.where(mask, advantages + values, 0.0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``x`` where the mask is True; 0 where it is nowhere True."""
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)


def masked_variance(x: Tensor, mask: Tensor) -> Tensor:
    """Return the biased variance of ``x`` where the mask is True."""
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def whiten(x: Tensor, mask: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """Return ``x`` shifted and scaled to mean 0 and variance 1 over the mask, 0 elsewhere."""
    centred = x - masked_mean(x, mask)
    return torch.where(mask, centred * torch.rsqrt(masked_variance(x, mask) + epsilon), 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Return ``1 - Var(returns - values) / Var(returns)`` over the mask; 1 is a perfect critic."""
    return 1.0 - masked_variance(returns - values, mask) / masked_variance(returns, mask).clamp(min=1e-8)


def with_gae(rollout: Rollout, *, gamma: float, gae_lambda: float, normalize: bool) -> Rollout:
    """Return the rollout with ``advantages`` (whitened over all its actions if asked) and ``returns``."""
    advantages, returns = generalized_advantage_estimation(
        rollout.rewards, rollout.values, rollout.bootstrap, rollout.mask, gamma=gamma, gae_lambda=gae_lambda
    )
    if normalize:
        advantages = whiten(advantages, rollout.mask)
    return rollout.replace(advantages=advantages, returns=returns)

"""From rewards to advantages: pure functions on ``[B, T]`` tensors and a mask."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rltk.padding import without_padding
from rltk.types import Rollout


def discounted_sums(x: Tensor, factor: float) -> Tensor:
    """Return ``y_t = x_t + factor x_{t+1} + factor^2 x_{t+2} + ...`` along the last dimension of ``[B, T]``.

    By doubling (Hillis and Steele 1986): after k rounds every entry holds the sum over 2^k steps, so that a
    long row takes log2(T) operations on whole tensors where a loop takes T.
    """
    sums, reach = x, 1
    while reach < x.shape[-1]:
        sums = sums + factor**reach * F.pad(sums[..., reach:], (0, reach))
        reach *= 2
    return sums


def returns_to_go(rewards: Tensor, bootstrap: Tensor, mask: Tensor, *, gamma: float) -> Tensor:
    """Return the discounted rewards from each action on, ``[B, T]``, zero where the mask is False.

    Sutton and Barto 2018, equation 3.8: ``G_t = r_t + gamma r_{t+1} + ...``, closed by ``gamma`` times the
    value after the row's last action.

    :param rewards: ``[B, T]`` reward after each action.
    :param bootstrap: ``[B]`` value after the last action of a row, 0 where the episode terminated.
    :param mask: ``[B, T]`` bool, True at actions; each row is a run of True from the left.
    """
    closed = rewards + torch.where(_last_actions(mask), gamma * bootstrap[:, None], 0.0)
    return torch.where(mask, discounted_sums(torch.where(mask, closed, 0.0), gamma), 0.0)


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
    next_values = torch.where(_last_actions(mask), bootstrap[:, None], F.pad(values[:, 1:], (0, 1)))
    residuals = torch.where(mask, rewards + gamma * next_values - values, 0.0)
    advantages = torch.where(mask, discounted_sums(residuals, gamma * gae_lambda), 0.0)
    return advantages, torch.where(mask, advantages + values, 0.0)


def episode_returns(rewards: Tensor, mask: Tensor) -> Tensor:
    """Return the undiscounted sum of each row's rewards, ``[B]``."""
    return torch.where(mask, rewards, 0.0).sum(1)


def at_every_action(x: Tensor, mask: Tensor) -> Tensor:
    """Return one number per row, ``[B]``, repeated at each of the row's actions, ``[B, T]``; 0 elsewhere."""
    return torch.where(mask, x[:, None], 0.0)


def leave_one_out_advantages(returns: Tensor, groups: Tensor) -> Tensor:
    """Return each return less the mean of the others in its group, ``[B]``; 0 for one that is alone.

    The estimator of Ahmadian et al. 2024 (after Kool et al. 2019): ``R_i - 1 / (k - 1) sum_{j != i} R_j``,
    which is ``k / (k - 1)`` times the distance to the mean of all k.

    :param returns: ``[B]`` undiscounted return of each episode.
    :param groups: ``[B]`` equal for episodes that answer one prompt.
    """
    same, sizes = _companions(groups)
    advantages = (returns.double() - same @ returns.double() / sizes) * sizes / (sizes - 1).clamp(min=1)
    return advantages.to(returns)


def group_relative_advantages(
    returns: Tensor,
    groups: Tensor,
    *,
    scale: Literal["group", "batch", "none"],
    epsilon: float = 1e-4,
) -> Tensor:
    """Return each return less its group's mean, divided by a standard deviation, ``[B]``; 0 for one alone.

    :param returns: ``[B]`` undiscounted return of each episode.
    :param groups: ``[B]`` equal for episodes that answer one prompt.
    :param scale: the deviation to divide by: the group's (Shao et al. 2024, section 4.1.2), that of the
        centred returns of all episodes, or none (Liu et al. 2025, "Understanding R1-Zero-Like Training").
    :param epsilon: added to the deviation.
    """
    same, sizes = _companions(groups)
    centred = returns.double() - same @ returns.double() / sizes
    if scale == "none":
        return centred.to(returns)
    # The unbiased deviation, as in the other public implementations of GRPO.
    variance = same @ centred**2 / (sizes - 1).clamp(min=1)
    if scale == "batch":
        variance = (centred**2).sum() / max(len(returns) - 1, 1)
    return (centred / (variance.sqrt() + epsilon)).to(returns)


def lone_episodes(groups: Tensor) -> float:
    """Return the share of episodes whose group holds no other; nothing can be learned from them."""
    return float(((groups[:, None] == groups).sum(1) == 1).float().mean())


def indifferent_groups(returns: Tensor, groups: Tensor) -> float:
    """Return the share of episodes whose whole group has one return; nothing can be learned from them."""
    same = groups[:, None] == groups
    differs = (same & (returns[:, None] != returns)).any(1)
    return 1.0 - float(differs.float().mean())


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``x`` where the mask is True; 0 where it is nowhere True."""
    if without_padding(mask) and len(x):
        return x.mean()
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)


def masked_variance(x: Tensor, mask: Tensor) -> Tensor:
    """Return the biased variance of ``x`` where the mask is True."""
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def whiten(x: Tensor, mask: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """Return ``x`` shifted and scaled to mean 0 and variance 1 over the mask, 0 elsewhere."""
    if without_padding(mask):
        variance, mean = torch.var_mean(x, correction=0)
        return (x - mean) * torch.rsqrt(variance + epsilon)
    centred = x - masked_mean(x, mask)
    return torch.where(mask, centred * torch.rsqrt(masked_variance(x, mask) + epsilon), 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Return ``1 - Var(returns - values) / Var(returns)`` over the mask; 1 is a perfect critic.

    Where the returns are all the same there is nothing to explain, and it is 0.
    """
    variance = masked_variance(returns, mask)
    unexplained = masked_variance(returns - values, mask) / variance.clamp(min=1e-8)
    return torch.where(variance > 1e-8, 1.0 - unexplained, 0.0)


def with_gae(rollout: Rollout, *, gamma: float, gae_lambda: float, normalize: bool) -> Rollout:
    """Return the rollout with ``advantages`` (whitened over all its actions if asked) and ``returns``."""
    advantages, returns = generalized_advantage_estimation(
        rollout.rewards, rollout.values, rollout.bootstrap, rollout.mask, gamma=gamma, gae_lambda=gae_lambda
    )
    if normalize:
        advantages = whiten(advantages, rollout.mask)
    return rollout.replace(advantages=advantages, returns=returns)


def _last_actions(mask: Tensor) -> Tensor:
    """Return a mask ``[B, T]`` that is True at the last action of each row."""
    return mask & ~F.pad(mask[:, 1:], (0, 1))


def _companions(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``[B, B]`` 1 where two episodes share a group, and ``[B]`` the size of each one's group.

    In float64, so that the mean of equal returns is no other number, whose rounding would be an advantage.
    """
    same = (groups[:, None] == groups).double()
    return same, same.sum(1)

"""Losses and divergences of policy-gradient methods: pure functions on ``[B, T]`` tensors.

Losses are sums over the mask; callers divide once by the number of actions in the whole batch, so that
neither gradient accumulation nor ragged lengths change the result.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rltk.distributions import categorical_kl as categorical_kl
from rltk.padding import without_padding


def masked_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Return the sum of ``x`` where the mask is True."""
    return x.sum() if without_padding(mask) else torch.where(mask, x, 0.0).sum()


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    clip_range: float | None,
    clip_range_high: float | None = None,
) -> Tensor:
    """Return the negative clipped surrogate of each entry (Schulman et al. 2017, equation 7).

    :param logprobs: log-probabilities now, of actions or of whole responses; any shape.
    :param clip_range: how far below 1 the ratio counts, and above where ``clip_range_high`` is None; None:
        any ratio counts in full.
    :param clip_range_high: how far above 1 the ratio counts (Yu et al. 2025, "DAPO", section 3.1).
    """

    def loss_and_slope(logprobs: Tensor) -> tuple[Tensor, Tensor]:
        ratio = torch.exp(logprobs - old_logprobs)
        loss = -advantages * ratio
        if clip_range is None:
            return loss, loss
        high = clip_range if clip_range_high is None else clip_range_high
        clipped = -advantages * ratio.clamp(1.0 - clip_range, 1.0 + high)
        return torch.maximum(loss, clipped), loss.masked_fill(clipped > loss, 0.0)

    return _elementwise(loss_and_slope, logprobs)


def clipped_surrogate_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, *, clip_range: float
) -> Tensor:
    """Return the negative clipped surrogate, summed (Schulman et al. 2017, equation 7)."""
    return masked_sum(clipped_surrogate(logprobs, old_logprobs, advantages, clip_range=clip_range), mask)


def policy_gradient_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return ``-A_t log pi(a_t | s_t)``, summed, whose gradient is the policy gradient (Williams 1992)."""
    return masked_sum(-advantages * logprobs, mask)


def surrogate_loss(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """Return the negative importance-weighted surrogate, summed (Schulman et al. 2015, equation 14)."""
    return masked_sum(-advantages * torch.exp(logprobs - old_logprobs), mask)


def clipped_value_error(
    values: Tensor, old_values: Tensor, returns: Tensor, *, clip_range: float | None
) -> Tensor:
    """Return half the squared error of the critic at each entry; the worse of it and its clipped form.

    The clipped form lets values move at most ``clip_range`` from the old ones (PPO's reference
    implementation); None leaves it out.
    """

    def loss_and_slope(values: Tensor) -> tuple[Tensor, Tensor]:
        slope = values - returns
        squared_error = slope**2
        if clip_range is not None:
            clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
            clipped_error = (clipped - returns) ** 2
            slope = slope.masked_fill(clipped_error > squared_error, 0.0)
            squared_error = torch.maximum(squared_error, clipped_error)
        return 0.5 * squared_error, slope

    return _elementwise(loss_and_slope, values)


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip_range: float | None
) -> Tensor:
    """Return :func:`clipped_value_error`, summed over the mask."""
    return masked_sum(clipped_value_error(values, old_values, returns, clip_range=clip_range), mask)


def kl_k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return the unbiased estimator ``log p - log q`` of KL(p || q) at samples of p; may be negative."""
    return logprobs - ref_logprobs


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Return the estimator ``q/p - 1 - log(q/p)`` of KL(p || q): unbiased, never negative (Schulman 2020)."""
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def kl_shaped_rewards(
    rewards: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, *, kl_coef: float
) -> Tensor:
    """Return ``r_t - kl_coef (log pi(a_t) - log pi_ref(a_t))`` (Ouyang et al. 2022, equation 2)."""
    return torch.where(mask, rewards - kl_coef * kl_k1(logprobs, ref_logprobs), 0.0)


def adapted_kl_coef(kl_coef: float, kl: float, *, target: float, horizon: float, episodes: int) -> float:
    """Return the coefficient after a step of the proportional controller of Ziegler et al. 2019, 2.2.

    :param kl: mean KL of a response to the reference, in nats.
    :param horizon: episodes over which the controller acts.
    :param episodes: episodes since the last step.
    """
    error = min(max(kl / target - 1.0, -0.2), 0.2)
    return kl_coef * (1.0 + error * episodes / horizon)


def _elementwise(loss_and_slope: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Return the loss of each entry of ``x``, differentiable once, in ``x`` alone.

    For what every gradient step of a small network does: recording ten small operations and differentiating
    each of them takes several times as long as the operations do.

    :param loss_and_slope: returns the losses and their derivatives by the entries.
    """
    losses: Tensor = _Elementwise.apply(x, loss_and_slope)
    return losses


class _Elementwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, loss_and_slope: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
        loss, slope = loss_and_slope(x)
        ctx.save_for_backward(slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return by_loss * slope, None

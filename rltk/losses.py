"""Losses and divergences of policy-gradient methods: pure functions on ``[B, T]`` tensors.

Losses are sums over the mask; callers divide once by the number of actions in the whole batch, so that
neither gradient accumulation nor ragged lengths change the result.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rltk.distributions import categorical_kl as categorical_kl
from rltk.padding import without_padding
from rltk.types import Evaluation, Rollout


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

    It is differentiable once, by ``logprobs`` alone.

    :param logprobs: log-probabilities now, of actions or of whole responses; any shape.
    :param clip_range: how far below 1 the ratio counts, and above where ``clip_range_high`` is None; None:
        any ratio counts in full.
    :param clip_range_high: how far above 1 the ratio counts (Yu et al. 2025, "DAPO", section 3.1).
    """

    high = clip_range if clip_range_high is None else clip_range_high
    losses: Tensor = _Elementwise.apply(
        logprobs, _surrogate_and_slope, (old_logprobs, advantages), (clip_range, high)
    )
    return losses


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
    implementation); None leaves it out. Differentiable once, by ``values`` alone.
    """

    errors: Tensor = _Elementwise.apply(values, _value_error_and_slope, (old_values, returns), (clip_range,))
    return errors


def clipped_value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, *, clip_range: float | None
) -> Tensor:
    """Return :func:`clipped_value_error`, summed over the mask."""
    return masked_sum(clipped_value_error(values, old_values, returns, clip_range=clip_range), mask)


def ppo_loss(
    now: Evaluation,
    batch: Rollout,
    *,
    clip_range: float,
    value_clip_range: float | None,
    value_coef: float,
    entropy_coef: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return clipped surrogate, ``value_coef`` value loss and ``-entropy_coef`` entropy together, summed.

    Schulman et al. 2017, equation 9, with the sign of a loss. The sum of :func:`clipped_surrogate`,
    :func:`clipped_value_error` and entropy over the mask, as one step of automatic differentiation.

    :param now: the policy's evaluation of the batch; the sum is differentiable once, by its three tensors.
    :param batch: with advantages and returns.
    :returns: the sum; then, for logging and without a gradient, surrogate and value error of each entry.
    """
    loss: tuple[Tensor, Tensor, Tensor] = _PPOLoss.apply(
        now.logprobs,
        now.values,
        now.entropy,
        batch,
        clip_range,
        value_clip_range,
        value_coef,
        entropy_coef,
    )
    return loss


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


def _surrogate_and_slope(
    xp: Any, logprobs: Any, old_logprobs: Any, advantages: Any, low: float | None, high: float | None
) -> tuple[Any, Any]:
    """Return :func:`clipped_surrogate` and its derivative by the log-probabilities."""
    ratio = xp.exp(logprobs - old_logprobs)
    loss = -advantages * ratio
    if low is None or high is None:
        return loss, xp.asarray(loss, copy=True)
    clipped = -advantages * xp.clip(ratio, 1.0 - low, 1.0 + high)
    return xp.maximum(loss, clipped), xp.where(clipped > loss, 0.0, loss)


def _value_error_and_slope(
    xp: Any, values: Any, old_values: Any, returns: Any, clip_range: float | None
) -> tuple[Any, Any]:
    """Return :func:`clipped_value_error` and its derivative by the values."""
    slope = values - returns
    squared_error = slope * slope
    if clip_range is not None:
        clipped = old_values + xp.clip(values - old_values, -clip_range, clip_range) - returns
        clipped_error = clipped * clipped
        slope = xp.where(clipped_error > squared_error, 0.0, slope)
        squared_error = xp.maximum(squared_error, clipped_error)
    return 0.5 * squared_error, slope


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    """Return what computes with the tensors, NumPy on a CPU or else torch, and their values for it.

    NumPy takes a third of the time of torch for operations on as few numbers as a small mini-batch has; it
    does not know bfloat16.
    """
    if all(tensor.is_cpu and tensor.dtype is not torch.bfloat16 for tensor in tensors):
        return np, *(tensor.numpy(force=True) for tensor in tensors)
    return torch, *(tensor.detach() for tensor in tensors)


def _tensor(values: Any) -> Tensor:
    """Return the values of :func:`_arrays` as a tensor."""
    return values if isinstance(values, Tensor) else torch.from_numpy(np.asarray(values))


class _Elementwise(torch.autograd.Function):
    """A loss of each entry of ``x``, differentiable once, in ``x`` alone.

    For what every gradient step of a small network does: recording ten small operations and differentiating
    each of them takes several times as long as the operations do.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        loss_and_slope: Callable[..., tuple[Any, Any]],
        others: tuple[Tensor, ...],
        options: tuple[float | None, ...],
    ) -> Tensor:
        loss, slope = loss_and_slope(*_arrays(x, *others), *options)
        ctx.slope = _tensor(slope)
        return _tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor, None, None, None]:
        return by_loss * ctx.slope, None, None, None


class _PPOLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logprobs: Tensor,
        values: Tensor,
        entropy: Tensor,
        batch: Rollout,
        clip_range: float,
        value_clip_range: float | None,
        value_coef: float,
        entropy_coef: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert batch.advantages is not None and batch.returns is not None
        then = batch.logprobs, batch.advantages, batch.values, batch.returns
        xp, now, value, entropies, inside, *old = _arrays(logprobs, values, entropy, batch.mask, *then)
        old_logprobs, advantages, old_values, returns = old
        policy_loss, by_logprobs = _surrogate_and_slope(
            xp, now, old_logprobs, advantages, clip_range, clip_range
        )
        value_loss, by_values = _value_error_and_slope(xp, value, old_values, returns, value_clip_range)
        loss = policy_loss + value_coef * value_loss
        by_entropy = None
        if entropy_coef > 0:
            loss = loss - entropy_coef * entropies
            by_entropy = -entropy_coef * inside
        if not without_padding(batch.mask):
            loss, by_logprobs, by_values = (xp.where(inside, x, 0.0) for x in (loss, by_logprobs, by_values))
        ctx.slopes = (by_logprobs, value_coef * by_values, by_entropy)
        parts = _tensor(policy_loss), _tensor(value_loss)
        ctx.mark_non_differentiable(*parts)
        return _tensor(loss.sum()), *parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        (_module, factor) = _arrays(by_loss)
        slopes = (None if slope is None else _tensor(factor * slope) for slope in ctx.slopes)
        return *slopes, None, None, None, None, None

"""Distributions over actions, by their parameters: pure functions on ``[...]`` tensors, differentiable.

A logit of minus infinity is an action that cannot be taken: its probability is 0, it adds nothing to entropy
or KL, and no gradient comes from it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_LOG_TWO_PI = math.log(2 * math.pi)


def restrict(logits: Tensor, allowed: Tensor | None) -> Tensor:
    """Return logits ``[..., n]``, minus infinity where ``allowed [..., n]`` is False; None allows all."""
    return logits if allowed is None else logits.masked_fill(~allowed, -math.inf)


def categorical_logprobs_and_entropy(
    logits: Tensor, actions: Tensor, *, restricted: bool = True
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies in nats ``[...]``.

    :param logits: ``[..., n]``.
    :param actions: ``[...]`` int64.
    :param restricted: False promises that all logits are finite, which saves memory.
    """
    logprobs, entropy = _ChosenAndEntropy.apply(torch.log_softmax(logits, -1), actions, restricted)
    return logprobs, entropy


class _ChosenAndEntropy(torch.autograd.Function):
    """Log-probabilities and entropies of all log-probabilities, their derivatives by hand.

    One tensor ``[..., n]`` is kept for them, and nothing is computed for an entropy that no loss depends on.
    """

    @staticmethod
    def forward(ctx: Any, log_all: Tensor, actions: Tensor, restricted: bool) -> tuple[Tensor, Tensor]:
        """Return both, ``[...]``."""
        ctx.save_for_backward(log_all, actions)
        ctx.restricted = restricted
        ctx.set_materialize_grads(False)
        chosen = log_all.gather(-1, actions[..., None])[..., 0]
        return chosen, torch.special.entr(log_all.exp()).sum(-1)

    @staticmethod
    def backward(ctx: Any, by_chosen: Tensor | None, by_entropy: Tensor | None) -> tuple[Tensor, None, None]:
        """Return the derivative by ``log_all``: 1 at the action, and ``-p (log p + 1)``."""
        log_all, actions = ctx.saved_tensors
        slope = torch.zeros_like(log_all)
        if by_entropy is not None:
            finite = log_all.masked_fill(log_all == -math.inf, 0.0) if ctx.restricted else log_all
            slope = -by_entropy[..., None] * log_all.exp() * (finite + 1.0)
        if by_chosen is not None:
            slope = slope.scatter_add(-1, actions[..., None], by_chosen[..., None])
        return slope, None, None


def categorical_kl(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """Return the exact KL(p || q) ``[...]`` over the last dimension of two sets of logits.

    Infinite where p takes what q cannot.
    """
    p_log, q_log = torch.log_softmax(p_logits, -1), torch.log_softmax(q_logits, -1)
    apart = (p_log - q_log).masked_fill(p_log == -math.inf, 0.0)
    return (p_log.exp() * apart).sum(-1)


def gaussian_logprobs_and_entropy(mean: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-densities and differential entropies in nats ``[...]`` of diagonal Gaussians.

    :param mean: ``[..., n]``, as ``log_std`` and ``actions``.
    """
    standard = (actions - mean) / log_std.exp()
    logprobs = (-0.5 * standard**2 - log_std - 0.5 * _LOG_TWO_PI).sum(-1)
    return logprobs, (log_std + 0.5 * (_LOG_TWO_PI + 1)).sum(-1)


def gaussian_kl(p_mean: Tensor, p_log_std: Tensor, q_mean: Tensor, q_log_std: Tensor) -> Tensor:
    """Return the exact KL(p || q) ``[...]`` of diagonal Gaussians over the last dimension."""
    squared = (2 * p_log_std).exp() + (p_mean - q_mean) ** 2
    return (q_log_std - p_log_std + 0.5 * squared * (-2 * q_log_std).exp() - 0.5).sum(-1)

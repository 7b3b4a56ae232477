"""Log-probabilities, entropies and values of actions and their derivatives by the weights, in NumPy.

All in one function of torch's automatic differentiation: calling and recording the thirty that it stands for
takes a gradient step on a small batch longer than what they compute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rltk.types import Evaluation, Rollout
from rltk_policies.mlp.networks import numpy_of
from rltk_policies.mlp.numpy_distributions import evaluate
from rltk_policies.mlp.numpy_layers import Array, backward, forward

if TYPE_CHECKING:
    from rltk_policies.mlp.policy import MLPPolicy


def evaluate_in_numpy(policy: MLPPolicy, features: Tensor, batch: Rollout) -> Evaluation:
    """Return what :meth:`MLPPolicy.evaluate` does, differentiable once, by the weights.

    :param features: ``[B, T, size]``, what the networks read.
    """
    weights = (policy.actor.weights, policy.critic.weights, policy.log_std)
    return Evaluation(*_Evaluate.apply(*weights, policy, numpy_of(features), batch))


class _Evaluate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        actor: Tensor,
        critic: Tensor,
        log_std: Tensor,
        policy: MLPPolicy,
        features: Array,
        batch: Rollout,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(actor, critic, log_std)
        ctx.set_materialize_grads(False)
        ctx.shape, mask = features.shape[:-1], numpy_of(batch.mask).reshape(-1)
        ctx.padding = None if mask.all() else ~mask
        rows = features.reshape(len(mask), -1)
        ctx.activation = policy.config.activation
        ctx.actor, ctx.critic = policy.actor.numpy_layers(), policy.critic.numpy_layers()
        *ctx.seen_by_actor, outputs = forward(ctx.actor, ctx.activation, rows)
        *ctx.seen_by_critic, values = forward(ctx.critic, ctx.activation, rows)
        logprobs, entropy, ctx.derivative = evaluate(
            policy.distribution,
            outputs,
            numpy_of(log_std),
            numpy_of(batch.actions).reshape(len(mask), -1),
            _allowed(batch, mask),
        )
        return tuple(_without(each, ctx.padding, ctx.shape) for each in (logprobs, entropy, values[:, 0]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_results: Tensor | None) -> Any:
        _ = ctx.saved_tensors  # raises where the weights have changed since
        by_logprobs, by_entropy, by_values = (_slope(each, ctx.padding) for each in by_results)
        by_actor = by_critic = by_log_std = None
        if by_logprobs is not None or by_entropy is not None:
            by_outputs, by_log_std = ctx.derivative(by_logprobs, by_entropy)
            by_actor = backward(ctx.actor, ctx.activation, ctx.seen_by_actor, by_outputs)
        if by_values is not None:
            by_critic = backward(ctx.critic, ctx.activation, ctx.seen_by_critic, by_values[:, None])
        found = (by_actor, by_critic, by_log_std)
        return *(None if each is None else torch.from_numpy(each) for each in found), None, None, None


def _allowed(batch: Rollout, mask: Array) -> Array | None:
    """Return what may be taken: in the padding everything, as a softmax over nothing would not be finite."""
    if batch.allowed is None:
        return None
    return numpy_of(batch.allowed).reshape(len(mask), -1) | ~mask[:, None]


def _without(x: Array, padding: Array | None, shape: tuple[int, ...]) -> Tensor:
    """Return ``x [B * T]`` as ``[B, T]``, zero in the padding."""
    return torch.from_numpy(x if padding is None else np.where(padding, x.dtype.type(0), x)).view(shape)


def _slope(by_result: Tensor | None, padding: Array | None) -> Array | None:
    """Return a derivative by what :func:`_without` returned as ``[B * T]``."""
    if by_result is None:
        return None
    slope = numpy_of(by_result).reshape(-1)
    return slope if padding is None else np.where(padding, slope.dtype.type(0), slope)

"""Log-probabilities and entropies of actions in NumPy, with their derivatives by hand.

What :mod:`rltk.distributions` says by operations of torch; the two are tested against one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rltk_policies.action_distributions import ActionDistribution, Categoricals
from rltk_policies.mlp.numpy_layers import Array

#: From the derivatives by log-probabilities and entropies ``[N]``, None where nothing depends on them, to
#: those by the actor's outputs ``[N, outputs]`` and by the log standard deviations, None without them.
Derivative = Callable[[Array | None, Array | None], tuple[Array, Array | None]]


def evaluate(
    distribution: ActionDistribution, outputs: Array, log_std: Array, actions: Array, allowed: Array | None
) -> tuple[Array, Array, Derivative]:
    """Return log-probabilities and entropies ``[N]``, and what gives their derivatives.

    :param outputs: ``[N, outputs]`` of the actor.
    :param log_std: ``[log_stds]``.
    :param actions: ``[N, components]``.
    :param allowed: ``[N, outputs]`` which values may be taken; None: all.
    """
    if not isinstance(distribution, Categoricals):
        return _gaussian(outputs, log_std, actions)
    if allowed is not None:
        outputs = np.where(allowed, outputs, outputs.dtype.type(-np.inf))
    each = [
        _categorical(outputs[:, part], actions[:, index]) for index, part in enumerate(distribution.parts)
    ]
    logprobs, entropies, derivatives = zip(*each, strict=True)

    def derivative(by_logprobs: Array | None, by_entropy: Array | None) -> tuple[Array, None]:
        return np.concatenate([one(by_logprobs, by_entropy) for one in derivatives], axis=1), None

    return sum(logprobs[1:], logprobs[0]), sum(entropies[1:], entropies[0]), derivative


def _categorical(
    logits: Array, actions: Array
) -> tuple[Array, Array, Callable[[Array | None, Array | None], Array]]:
    """Of logits ``[N, n]``: ``d log p_a / d l_j = [j = a] - p_j``, ``d H / d l_j = -p_j (log p_j + H)``."""
    # As [n, N], since sums over a few neighbours take several times as long as sums of a few rows.
    shifted = np.ascontiguousarray(logits.T)
    shifted = shifted - np.maximum.reduce(shifted, axis=0)
    p = np.exp(shifted)
    total = np.add.reduce(p, axis=0)
    p /= total
    log_p, columns = shifted - np.log(total), np.arange(len(logits))
    logprobs = log_p[actions, columns]
    np.maximum(log_p, np.finfo(p.dtype).min, out=log_p)  # p log p is 0 where p is
    entropy = -np.add.reduce(p * log_p, axis=0)

    def derivative(by_logprob: Array | None, by_entropy: Array | None) -> Array:
        slope = np.zeros_like(p) if by_logprob is None else -by_logprob * p
        if by_logprob is not None:
            slope[actions, columns] += by_logprob
        if by_entropy is not None:
            slope -= by_entropy * p * (log_p + entropy)
        return slope.T

    return logprobs, entropy, derivative


def _gaussian(mean: Array, log_std: Array, actions: Array) -> tuple[Array, Array, Derivative]:
    """Of independent Gaussians: with z the standardised action, ``d log p / d mean = z / std`` and
    ``d log p / d log std = z^2 - 1``; the entropy grows by 1 with each log standard deviation."""
    std = np.exp(log_std)
    z = (actions - mean) / std
    half_log_two_pi = 0.5 * math.log(2 * math.pi)
    logprobs = -(0.5 * z**2 + (log_std + half_log_two_pi)).sum(1)
    entropy = np.full(len(mean), (log_std + (half_log_two_pi + 0.5)).sum(), dtype=mean.dtype)

    def derivative(by_logprobs: Array | None, by_entropy: Array | None) -> tuple[Array, Array]:
        by_mean, by_log_std = np.zeros_like(mean), np.zeros_like(log_std)
        if by_logprobs is not None:
            by_mean = by_logprobs[:, None] * z / std
            by_log_std = by_logprobs @ (z**2 - 1.0)
        if by_entropy is not None:
            by_log_std = by_log_std + by_entropy.sum()
        return by_mean, by_log_std

    return logprobs, entropy, derivative

"""What an actor's numbers mean for each kind of action: to act in NumPy, to learn in torch.

Actions of several components (MultiDiscrete, MultiBinary) are independent categoricals with their logits side
by side; Box actions are a diagonal Gaussian. The maths is in :mod:`rltk.distributions`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rltk.action_masks import choices
from rltk.distributions import (
    categorical_kl,
    categorical_logprobs_and_entropy,
    gaussian_kl,
    gaussian_logprobs_and_entropy,
)
from rltk.errors import UserError
from rltk.rng import EpisodeStream

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)

Chosen = tuple[NDArray[Any], NDArray[np.float32]]


class ActionDistribution(ABC):
    """Distributions over one action space.

    :ivar outputs: how many numbers the actor gives.
    :ivar log_stds: how many log standard deviations stand beside them, the same in every state.
    """

    outputs: int
    log_stds: int

    @abstractmethod
    def choose(
        self,
        outputs: NDArray[np.float32],
        log_std: NDArray[np.float32],
        stream: EpisodeStream | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Chosen:
        """Return actions ``[N, ...]`` and log-probabilities ``[N]``.

        :param outputs: ``[N, outputs]`` of the actor.
        :param log_std: ``[log_stds]``.
        :param stream: draws a sample; None takes the mode.
        :param allowed: ``[N, outputs]`` which values may be taken, None: all.
        """

    @abstractmethod
    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[...]`` of ``actions [..., *shape]``."""

    @abstractmethod
    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[...]``."""


class Categoricals(ActionDistribution):
    """Independent categoricals, whose parameters are their logits side by side.

    :param sizes: how many values each component has.
    :param shape: of an action; ``()`` where it is one number.
    """

    log_stds = 0

    def __init__(self, sizes: tuple[int, ...], shape: tuple[int, ...] = ()) -> None:
        self.sizes, self.shape = sizes, shape
        self.outputs = sum(sizes)
        self.parts = [slice(*ends) for ends in pairwise(accumulate(sizes, initial=0))]

    def choose(
        self,
        outputs: NDArray[np.float32],
        log_std: NDArray[np.float32],
        stream: EpisodeStream | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Chosen:
        """Return actions by inverse CDF with one uniform per component, or the likeliest."""
        if allowed is not None:
            outputs = np.where(allowed, outputs, np.float32(-np.inf))
        uniforms = None if stream is None else stream.uniform(len(self.sizes))
        if len(self.sizes) == 1:
            only, logprobs = _choose_category(outputs, uniforms)
            return only.reshape(-1, *self.shape), logprobs
        actions = np.empty((len(outputs), len(self.sizes)), dtype=np.int64)
        logprobs = np.zeros(len(outputs), dtype=np.float32)
        for index, part in enumerate(self.parts):
            drawn = None if uniforms is None else uniforms[:, index : index + 1]
            actions[:, index], chosen = _choose_category(outputs[:, part], drawn)
            logprobs += chosen
        return actions.reshape(-1, *self.shape), logprobs

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums over components; see :meth:`ActionDistribution.logprobs_and_entropy`."""
        indices = actions.reshape(*parameters.shape[:-1], len(self.sizes)).unbind(-1)
        each = [
            categorical_logprobs_and_entropy(logits, index)
            for logits, index in zip(self._split(parameters), indices, strict=True)
        ]
        logprobs, entropies = zip(*each, strict=True)
        return sum(logprobs[1:], logprobs[0]), sum(entropies[1:], entropies[0])

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the sum over components; see :meth:`ActionDistribution.kl_divergence`."""
        each = [categorical_kl(*pair) for pair in zip(self._split(p), self._split(q), strict=True)]
        return sum(each[1:], each[0])

    def _split(self, parameters: Tensor) -> Sequence[Tensor]:
        """Return each component's logits; a single one's without the cost of a slice."""
        return (parameters,) if len(self.sizes) == 1 else parameters.split(self.sizes, -1)


class DiagonalGaussian(ActionDistribution):
    """A Gaussian with independent components: means from the actor, then log standard deviations.

    :param size: components of an action.
    """

    def __init__(self, size: int) -> None:
        self.outputs = self.log_stds = size

    def choose(
        self,
        outputs: NDArray[np.float32],
        log_std: NDArray[np.float32],
        stream: EpisodeStream | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Chosen:
        """Return actions by inverse CDF with one uniform per component, or the mean."""
        noise = np.zeros_like(outputs)
        if stream is not None:
            # Not quite 0 or 1, where the inverse normal distribution function is infinite.
            uniforms = torch.from_numpy(np.clip(stream.uniform(outputs.shape[1]), 2.0**-54, 1 - 2.0**-53))
            noise = torch.special.ndtri(uniforms).numpy().astype(np.float32)
        logprobs = -(0.5 * noise**2 + log_std + _HALF_LOG_TWO_PI).sum(-1, dtype=np.float32)
        return outputs + np.exp(log_std) * noise, logprobs

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return those of all components together; see :meth:`ActionDistribution.logprobs_and_entropy`."""
        mean, log_std = parameters.chunk(2, -1)
        return gaussian_logprobs_and_entropy(mean, log_std, actions.reshape(mean.shape))

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the sum over components; see :meth:`ActionDistribution.kl_divergence`."""
        return gaussian_kl(*p.chunk(2, -1), *q.chunk(2, -1))


def learnable_distribution(policy: str, space: spaces.Space[Any]) -> ActionDistribution:
    """Return the distribution for an action space.

    :param policy: whose name to give in errors.
    :raises UserError: there is none.
    """
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return DiagonalGaussian(space.shape[0])
    if not (sizes := choices(space)):
        fix = "choose an environment with Discrete, MultiDiscrete or one-dimensional Box actions of floats"
        raise UserError("policy.name", f"{policy!r} cannot take these actions", got=space, fix=fix)
    if np.any(getattr(space, "start", 0)):
        fix = "wrap the environment in gymnasium.wrappers.TransformAction"
        raise UserError("policy.name", f"{policy!r} counts actions from 0", got=space, fix=fix)
    return Categoricals(sizes, space.shape or ())


def _choose_category(
    logits: NDArray[np.float32], uniforms: NDArray[np.float64] | None
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the first action whose cumulative probability exceeds the uniform, or the likeliest.

    :param logits: ``[N, n]``; minus infinity is never taken.
    :param uniforms: ``[N, 1]``, or None for the likeliest.
    """
    shifted = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    cumulative = np.exp(shifted, dtype=np.float64).cumsum(-1)
    total = cumulative[:, -1:]
    # The largest uniform, 1 - 2^-53, times the total is below the total, however it is rounded: an action
    # that adds nothing to the sum, as a forbidden one, is never taken.
    actions = logits.argmax(-1) if uniforms is None else (cumulative <= uniforms * total).sum(-1)
    chosen = shifted[np.arange(len(shifted)), actions]
    return actions, (chosen - np.log(total[:, 0])).astype(np.float32)

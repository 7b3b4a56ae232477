"""What a policy plugin implements: a distribution over actions with a critic, and its acting state.

Apart from the other contracts because a policy is a torch module, and they load without torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rltk.interfaces import Component
from rltk.types import Action, Evaluation, Rollout

if TYPE_CHECKING:
    from rltk.rng import EpisodeStream


class Session(ABC):
    """The acting state of a policy over ``N`` environment slots: a KV cache, an RNN state, or nothing.

    It belongs to the weights it began with: after an update, begin a new one.
    """

    @abstractmethod
    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> Action:
        """Choose one action for every slot.

        :param observations: the vector environment's batched observation.
        :param stream: one stream of uniforms a slot; the only source of randomness. A position of 0 says
            that the slot began a new episode, so state kept for the former one must go.
        :param active: ``[N]`` bool; what is answered for the other slots is ignored.
        :param deterministic: take the mode instead of a sample.
        """


class MaskableSession(Session):
    """A session for environments that restrict actions too; others refuse it there."""

    @abstractmethod
    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
        allowed: np.ndarray | None = None,
    ) -> Action:
        """Choose one action for every slot out of those allowed; see :meth:`Session.act`.

        Sampled from, and reported as log-probability, is what is left of the distribution when everything
        else has probability 0; :attr:`rltk.types.Rollout.allowed` tells :meth:`Policy.evaluate` the same.

        :param allowed: ``[N, n]`` bool, which values of a discrete action may be taken, those of several
            components side by side; None: all of them.
        """


class Policy(nn.Module, Component, ABC):
    """A distribution over actions and a critic; acts step by step, learns on whole episodes."""

    kind = "policy"
    #: Whether the observation alone decides: then algorithms may take a rollout apart into steps.
    memoryless: bool = False

    @abstractmethod
    def session(self, num_envs: int) -> Session:
        """Return fresh acting state for ``num_envs`` slots."""

    @abstractmethod
    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values of ``batch``, each ``[B, T]``, differentiable."""

    @abstractmethod
    def value(self, batch: Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``, differentiable."""

    @abstractmethod
    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return what defines each action distribution, ``[B, T, P]``, differentiable."""

    @abstractmethod
    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``[B, T]`` log-probabilities and entropies of distributions given by their parameters."""

    def action_logprobs(self, batch: Rollout) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]`` as :meth:`evaluate` does, without the values.

        For algorithms without a critic, and for references; override it where the critic costs a pass.
        """
        logprobs, entropy = self.logprobs_and_entropy(self.distribution_parameters(batch), batch.actions)
        return torch.where(batch.mask, logprobs, 0.0), torch.where(batch.mask, entropy, 0.0)

    @abstractmethod
    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]`` of two sets of distribution parameters."""

    @abstractmethod
    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the action distribution depends on."""

    @abstractmethod
    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that only the values depend on."""

    def reference(self, config: Any) -> Policy | None:
        """Return the policy that ``config`` describes as a view of this one's weights, to evaluate with.

        For policies that keep the weights they started from beside those that are trained: the KL penalty
        then needs no second copy of them.

        :param config: a ``Config`` of this class.
        :returns: None where the policy would need weights of its own.
        """
        return None

    def observe(self, batch: Rollout) -> None:
        """Take in what a rollout saw, such as the scale of observations; called after the update on it."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write everything needed to construct the policy again from ``directory``."""

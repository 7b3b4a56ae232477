"""Policies small enough to be right by inspection, to try algorithms on: of arrays, and of text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rltk.losses import categorical_kl
from rltk.policy import Policy, Session
from rltk.rng import EpisodeStream, torch_generator
from rltk.types import Action, Evaluation, Rollout


class LinearPolicy(Policy):
    """Logits and value are linear in the observation; all actions are equally likely at first.

    :param inputs: numbers an observation has.
    :param actions: how many there are to choose from.
    """

    name = "linear"
    memoryless = True

    def __init__(self, inputs: int, actions: int) -> None:
        super().__init__()
        self.actor = nn.utils.skip_init(nn.Linear, inputs, actions)
        self.critic = nn.utils.skip_init(nn.Linear, inputs, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def session(self, num_envs: int) -> LinearSession:
        """Return acting state; it remembers nothing."""
        return LinearSession(self)

    def evaluate(self, batch: Rollout) -> Evaluation:
        """Return log-probabilities, entropies and values; see :meth:`rltk.Policy.evaluate`."""
        logprobs, entropy = self.logprobs_and_entropy(self.distribution_parameters(batch), batch.actions)
        zero = torch.zeros(())
        return Evaluation(
            torch.where(batch.mask, logprobs, zero), torch.where(batch.mask, entropy, zero), self.value(batch)
        )

    def value(self, batch: Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        return torch.where(batch.mask, self.critic(self.features(batch))[..., 0], 0.0)

    def distribution_parameters(self, batch: Rollout) -> Tensor:
        """Return logits ``[B, T, n]``."""
        return self.actor(self.features(batch))

    def features(self, batch: Rollout) -> Tensor:
        """Return what the logits are linear in, ``[B, T, inputs]``."""
        assert batch.observations is not None
        return batch.observations

    def seen(self, observations: Any) -> Tensor:
        """Return the same of a vector environment's observations, ``[N, inputs]``."""
        return torch.from_numpy(observations)

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[B, T]``."""
        log_all = torch.log_softmax(parameters, -1)
        return log_all.gather(-1, actions[..., None])[..., 0], -(log_all.exp() * log_all).sum(-1)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]``."""
        return categorical_kl(p, q)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the actor's weights."""
        return list(self.actor.parameters())

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's weights."""
        return list(self.critic.parameters())

    def save(self, directory: Path) -> None:
        """Write the weights."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), directory / "model.safetensors")


class BigramPolicy(LinearPolicy):
    """A language model that looks at the last token only."""

    name = "bigram"
    memoryless = False

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(len(tokenizer), len(tokenizer))
        self.tokenizer = tokenizer

    def features(self, batch: Rollout) -> Tensor:
        """Return the token before each action as one of ``V``, ``[B, T, V]``."""
        assert batch.tokens is not None and batch.action_mask is not None
        rows, columns = batch.action_mask.nonzero(as_tuple=True)
        flat = self._one_hot(batch.tokens[rows, columns - 1])
        laid_out = flat.new_zeros(*batch.mask.shape, flat.shape[1])
        return laid_out.index_put(batch.mask.nonzero(as_tuple=True), flat)

    def seen(self, observations: Any) -> Tensor:
        """Return the last token of each slot, ``[N, V]``; of an idle slot, whatever stands there."""
        last = np.maximum(observations["length"] - 1, 0)
        return self._one_hot(torch.from_numpy(np.take_along_axis(observations["tokens"], last, 1)[:, 0]))

    def _one_hot(self, tokens: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens, len(self.tokenizer)).float()


class LinearSession(Session):
    """Acting without memory."""

    def __init__(self, policy: LinearPolicy) -> None:
        self.policy = policy

    @torch.no_grad()
    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> Action:
        """Choose one action per slot by one uniform each."""
        features = self.policy.seen(observations)
        logits = self.policy.actor(features)
        cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
        below = torch.from_numpy(stream.uniform()) > cumulative[:, :-1]
        actions = logits.argmax(-1) if deterministic else below.sum(-1)
        logprobs, _ = self.policy.logprobs_and_entropy(logits, actions)
        return Action(actions, logprobs, self.policy.critic(features)[..., 0])


def shake(parameters: Iterable[nn.Parameter], seed: int) -> None:
    """Move weights by about half their size, and by a third where they are 0."""
    with torch.no_grad():
        for index, parameter in enumerate(parameters):
            generator = torch_generator("shake", seed, index)
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            size = float(parameter.square().mean().sqrt()) if parameter.numel() else 0.0
            parameter.add_(noise * (0.3 + 0.5 * size))

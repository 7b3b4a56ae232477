"""A policy: linear in the observation, for environments with arrays to see and a few actions to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rltk
import torch
from gymnasium.spaces import Box, Discrete, Space
from pydantic import Field
from rltk.losses import categorical_kl
from rltk.rng import EpisodeStream
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

RLTK_API = 1
WEIGHTS = "model.safetensors"


class TemplateNamePolicy(rltk.Policy):
    """A softmax over linear functions of the observation, and a linear critic.

    :param spaces: the environment's single observation and action space; None for text.
    :param generator: draws the initial weights.
    """

    name = "template-name"

    class Config(rltk.ComponentConfig):
        """Options, such as ``policy: {name: template-name, scale: 0.1}``."""

        path: str | None = Field(None, description="Folder of a saved policy; null: new weights.")
        scale: float = Field(0.01, gt=0, description="Standard deviation of the actor's initial weights.")

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        spaces: tuple[Space[Any], Space[Any]] | None,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.config = config
        inputs, actions = _sizes(spaces)
        self.actor = nn.utils.skip_init(nn.Linear, inputs, actions)
        self.critic = nn.utils.skip_init(nn.Linear, inputs, 1)
        nn.init.normal_(self.actor.weight, std=config.scale, generator=generator)
        for zero in (self.actor.bias, self.critic.weight, self.critic.bias):
            nn.init.zeros_(zero)
        if config.path is not None:
            self.load_state_dict(load_file(Path(config.path) / WEIGHTS))
        self.device = torch.device(device)
        self.to(self.device)

    def session(self, num_envs: int) -> TemplateNameSession:
        """Return the acting state of ``num_envs`` slots: this policy remembers nothing."""
        return TemplateNameSession(self)

    def evaluate(self, batch: rltk.Rollout) -> rltk.Evaluation:
        """Return log-probabilities, entropies and values ``[B, T]``, 0 where the mask is False."""
        parameters = self.distribution_parameters(batch)
        logprobs, entropy = self.logprobs_and_entropy(parameters, batch.actions)
        logprobs, entropy = (torch.where(batch.mask, x, 0.0) for x in (logprobs, entropy))
        return rltk.Evaluation(logprobs, entropy, self.value(batch))

    def value(self, batch: rltk.Rollout) -> Tensor:
        """Return the critic's values ``[B, T]``."""
        return torch.where(batch.mask, self.critic(_features(batch.observations, 2))[..., 0], 0.0)

    def distribution_parameters(self, batch: rltk.Rollout) -> Tensor:
        """Return logits ``[B, T, actions]``."""
        logits: Tensor = self.actor(_features(batch.observations, 2))
        return logits

    def logprobs_and_entropy(self, parameters: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and entropies ``[...]`` under logits ``[..., actions]``."""
        log_all = torch.log_softmax(parameters, -1)
        return log_all.gather(-1, actions[..., None])[..., 0], -(log_all.exp() * log_all).sum(-1)

    def kl_divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return the exact KL(p || q) ``[B, T]`` between two sets of logits."""
        return categorical_kl(p, q)

    def actor_parameters(self) -> list[nn.Parameter]:
        """Return the weights that the actions depend on."""
        return list(self.actor.parameters())

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the weights that only the values depend on."""
        return list(self.critic.parameters())

    def save(self, directory: Path) -> None:
        """Write the weights where ``path`` finds them."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), directory / WEIGHTS)


class TemplateNameSession(rltk.Session):
    """Acts from the present observation alone."""

    def __init__(self, policy: TemplateNamePolicy) -> None:
        self.policy = policy

    @torch.no_grad()
    def act(
        self,
        observations: Any,
        *,
        stream: EpisodeStream,
        active: np.ndarray,
        deterministic: bool = False,
    ) -> rltk.Action:
        """Choose one action per slot; see :meth:`rltk.Session.act`."""
        policy = self.policy
        features = _features(torch.as_tensor(np.asarray(observations), device=policy.device), 1)
        logits = policy.actor(features)
        actions = logits.argmax(-1) if deterministic else _sample(logits, stream.uniform())
        logprobs, _ = policy.logprobs_and_entropy(logits, actions)
        return rltk.Action(actions, logprobs, policy.critic(features)[..., 0])


def _sample(logits: Tensor, uniforms: np.ndarray) -> Tensor:
    """Return for each row the first action whose cumulative probability exceeds the row's uniform."""
    cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
    thresholds = torch.from_numpy(uniforms).to(cumulative) * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
    return chosen.clamp(max=logits.shape[1] - 1)


def _features(observations: Tensor | None, batch_dims: int) -> Tensor:
    """Return observations ``[..., features]``: flat after the first ``batch_dims`` dimensions."""
    assert observations is not None
    return observations.float().reshape(*observations.shape[:batch_dims], -1)


def _sizes(spaces: tuple[Space[Any], Space[Any]] | None) -> tuple[int, int]:
    """Return the number of features and of actions.

    :raises UserError: the environment is not one this policy can act in.
    """
    seen, chosen = spaces or (None, None)
    if isinstance(seen, Box) and isinstance(chosen, Discrete) and chosen.start == 0:
        return int(np.prod(seen.shape)), int(chosen.n)
    what = "it sees arrays and chooses among a few actions; it cannot act here"
    fix = "choose an environment with Box observations and Discrete actions, such as CartPole-v1"
    raise rltk.UserError("policy template-name", what, got=spaces or "text", fix=fix)


@rltk.hookimpl
def rltk_policies() -> list[type[rltk.Policy]]:
    """Provide ``template-name``."""
    return [TemplateNamePolicy]

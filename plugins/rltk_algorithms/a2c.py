"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783), synchronous: A2C.

One update, top to bottom: advantages by GAE, whose lambda of 1 gives the paper's n-step returns, then one
gradient step over the whole rollout on

    policy gradient + value_coef * value loss - entropy_coef * entropy

with RMSprop, as in the paper, or Adam.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.advantages import whiten, with_gae
from rltk.diagnostics import Diagnostics, advantage_metrics, exact_kl
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.losses import clipped_value_loss, masked_sum, policy_gradient_loss
from rltk.optimizers import Adam, RMSprop
from rltk.policy import Policy
from rltk.training import (
    Batch,
    gradient_step,
    load_optimizer_state,
    optimizer_state,
    require_finite,
    scheduled,
)
from rltk.types import Metrics, Rollout


class A2C(Algorithm):
    """One actor-critic step on every rollout, which may be as short as a few steps an environment."""

    name = "a2c"
    needs_critic = True
    paper = "Mnih et al. 2016, Asynchronous Methods for Deep Reinforcement Learning, arXiv:1602.01783"

    class Config(ComponentConfig):
        """Options of A2C."""

        learning_rate: float = Field(7e-4, gt=0, description="Step size.")
        schedule: Literal["constant", "linear"] = Field(
            "constant", description="Whether the step size stays or falls linearly to 0 over the training."
        )
        optimizer: Literal["rmsprop", "adam"] = Field("rmsprop", description="What takes the steps.")
        rmsprop_alpha: float = Field(0.99, ge=0, lt=1, description="Decay of RMSprop's squared gradients.")
        epsilon: float = Field(1e-5, gt=0, description="Epsilon of the optimiser.")
        value_coef: float = Field(0.5, ge=0, description="Weight of the value loss, half a squared error.")
        entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
        gamma: float = Field(0.99, ge=0, le=1, description="Discount.")
        gae_lambda: float = Field(1.0, ge=0, le=1, description="Lambda of GAE; 1: n-step returns.")
        normalize_advantages: bool = Field(False, description="Shift and scale advantages to mean 0, std 1.")
        max_grad_norm: float = Field(0.5, gt=0, description="Gradients are scaled down to this norm.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of a forward pass; less saves memory."
        )

    config: Config

    def __init__(self, config: Config, *, policy: Policy, generator: torch.Generator) -> None:
        super().__init__(config, policy=policy, generator=generator)
        parameters = [*policy.actor_parameters(), *policy.critic_parameters()]
        self.optimizer: torch.optim.Optimizer
        if config.optimizer == "rmsprop":
            self.optimizer = RMSprop(parameters, alpha=config.rmsprop_alpha, eps=config.epsilon, foreach=True)
        else:
            self.optimizer = Adam(parameters, eps=config.epsilon, fused=True)

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take one gradient step on the whole rollout; see :meth:`rltk.interfaces.Algorithm.update`."""
        config = self.config
        require_finite(rollout, self.name)
        rollout = with_gae(rollout, gamma=config.gamma, gae_lambda=config.gae_lambda, normalize=False)
        assert rollout.advantages is not None and rollout.returns is not None
        metrics = advantage_metrics(rollout.advantages, rollout.returns, rollout.mask, rollout.values)
        if config.normalize_advantages:
            rollout = rollout.replace(advantages=whiten(rollout.advantages, rollout.mask))
        rate = scheduled(config.learning_rate, config.schedule, progress)
        self.optimizer.param_groups[0]["lr"] = rate
        kl, seen = exact_kl(self.policy, rollout), Diagnostics()
        step = gradient_step(
            self.optimizer,
            Batch(rollout.parts(config.max_tokens_per_batch), rollout.num_actions),
            lambda batch: self._loss(batch, seen),
            max_grad_norm=config.max_grad_norm,
            where=self.name,
        )
        seen.add_step(step)
        return {**metrics, **seen.metrics(), "kl": kl()}

    def _loss(self, batch: Rollout, seen: Diagnostics) -> Tensor:
        """Return the summed loss of a micro-batch, and add its diagnostics to ``seen``."""
        assert batch.advantages is not None and batch.returns is not None
        config, mask = self.config, batch.mask
        now = self.policy.evaluate(batch)
        seen.add(mask, logprobs=now.logprobs, old_logprobs=batch.logprobs, entropy=now.entropy)
        policy_loss = policy_gradient_loss(now.logprobs, batch.advantages, mask)
        value_loss = clipped_value_loss(now.values, batch.values, batch.returns, mask, clip_range=None)
        entropy = masked_sum(now.entropy, mask)
        return policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return {"optimizer": optimizer_state(self.optimizer)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``a2c``."""
    return [A2C]

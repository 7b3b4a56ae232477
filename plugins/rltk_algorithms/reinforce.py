"""REINFORCE (Williams 1992): actions that were followed by more reward than expected become likelier.

The shortest algorithm here, to be copied: one pass over the rollout, one gradient step. ``rollout`` holds
arrays ``[B, T]`` of episodes and a mask; nothing below knows whether they are text or control.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.advantages import returns_to_go
from rltk.diagnostics import Diagnostics, advantage_metrics, exact_kl
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.losses import masked_sum, policy_gradient_loss
from rltk.optimizers import Adam
from rltk.policy import Policy
from rltk.training import Batch, gradient_step, load_optimizer_state, optimizer_state, require_finite
from rltk.types import Metrics, Rollout


class Reinforce(Algorithm):
    """One policy-gradient step a rollout, on discounted returns less a baseline."""

    name = "reinforce"
    paper = (
        "Williams 1992, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement "
        "Learning, doi:10.1007/BF00992696"
    )

    class Config(ComponentConfig):
        """Options of REINFORCE."""

        learning_rate: float = Field(1e-3, gt=0, description="Adam step size.")
        gamma: float = Field(1.0, ge=0, le=1, description="Discount.")
        baseline: Literal["value", "none"] = Field(
            "value", description="What returns are compared with: the critic's value, or nothing."
        )
        entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
        max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of a forward pass; less saves memory."
        )

    config: Config

    def __init__(self, config: Config, *, policy: Policy, generator: torch.Generator) -> None:
        self.needs_critic = config.baseline == "value"
        super().__init__(config, policy=policy, generator=generator)
        parameters = policy.actor_parameters()
        if self.needs_critic:
            parameters = [*parameters, *policy.critic_parameters()]
        self.optimizer = Adam(parameters, lr=config.learning_rate, fused=True)

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take one gradient step on the whole rollout; see :meth:`rltk.interfaces.Algorithm.update`."""
        config = self.config
        require_finite(rollout, self.name)
        # Without a baseline the critic is untrained, so its value after a cut-off is no estimate of the rest.
        bootstrap = rollout.bootstrap if self.needs_critic else torch.zeros_like(rollout.bootstrap)
        returns = returns_to_go(rollout.rewards, bootstrap, rollout.mask, gamma=config.gamma)
        advantages = returns - rollout.values if self.needs_critic else returns
        rollout = rollout.replace(returns=returns, advantages=advantages)

        kl, seen = exact_kl(self.policy, rollout), Diagnostics()
        parts = Batch(rollout.parts(config.max_tokens_per_batch), rollout.num_actions)
        seen.add_step(
            gradient_step(
                self.optimizer,
                parts,
                lambda part: self._loss(part, seen),
                max_grad_norm=config.max_grad_norm,
                where=self.name,
            )
        )
        values = rollout.values if self.needs_critic else None
        metrics = advantage_metrics(advantages, returns, rollout.mask, values)
        return {**metrics, **seen.metrics(), "kl": kl()}

    def _loss(self, batch: Rollout, seen: Diagnostics) -> Tensor:
        """Return the summed loss of a micro-batch, and add its diagnostics to ``seen``."""
        assert batch.advantages is not None and batch.returns is not None
        if self.needs_critic:
            now = self.policy.evaluate(batch)
            logprobs, entropy = now.logprobs, now.entropy
        else:
            logprobs, entropy = self.policy.action_logprobs(batch)
        mask = batch.mask
        seen.add(mask, logprobs=logprobs, old_logprobs=batch.logprobs, entropy=entropy)
        loss = policy_gradient_loss(logprobs, batch.advantages, mask)
        loss = loss - self.config.entropy_coef * masked_sum(entropy, mask)
        if self.needs_critic:
            loss = loss + 0.5 * masked_sum((now.values - batch.returns) ** 2, mask)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted run needs beside the policy's weights to go on exactly."""
        return {"optimizer": optimizer_state(self.optimizer)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``reinforce``."""
    return [Reinforce]

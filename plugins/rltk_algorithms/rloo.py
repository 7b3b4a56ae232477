"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740): several answers to one prompt, no critic.

One update, top to bottom: a whole response counts as one action, worth the sum of its rewards (with the KL
penalty, where the stage adds one); its advantage is that sum less the mean of the other answers to its
prompt; then ``epochs`` passes of gradient steps on the clipped surrogate of whole responses, whose ratio is
the product over the tokens. In the first step, where every ratio is 1, the gradient is that of REINFORCE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.advantages import (
    at_every_action,
    episode_returns,
    indifferent_groups,
    leave_one_out_advantages,
    lone_episodes,
    whiten,
)
from rltk.diagnostics import Diagnostics, advantage_metrics, exact_kl
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.losses import clipped_surrogate
from rltk.optimizers import Adam
from rltk.policy import Policy
from rltk.training import (
    Batch,
    gradient_step,
    load_optimizer_state,
    optimizer_state,
    require_finite,
    require_groups,
    scheduled,
)
from rltk.types import Metrics, Rollout


class RLOO(Algorithm):
    """Policy gradient of whole responses, each compared with the other answers to its prompt."""

    name = "rloo"
    needs_groups = True
    paper = (
        "Ahmadian et al. 2024, Back to Basics: Revisiting REINFORCE Style Optimization for Learning from "
        "Human Feedback in LLMs, arXiv:2402.14740"
    )

    class Config(ComponentConfig):
        """Options of RLOO."""

        learning_rate: float = Field(3e-4, gt=0, description="Adam step size.")
        schedule: Literal["constant", "linear"] = Field(
            "constant", description="Whether the step size stays or falls linearly to 0 over the training."
        )
        epochs: int = Field(1, ge=1, description="Passes over each rollout.")
        minibatch_size: int = Field(64, ge=1, description="Episodes per gradient step.")
        clip_range: float | None = Field(
            0.2, gt=0, description="How far a response's ratio counts on either side of 1; null: any way."
        )
        entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus, summed a response.")
        normalize_advantages: bool = Field(False, description="Shift and scale advantages to mean 0, std 1.")
        max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
        adam_epsilon: float = Field(1e-5, gt=0, description="Epsilon of Adam.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of a forward pass; less saves memory."
        )

    config: Config

    def __init__(self, config: Config, *, policy: Policy, generator: torch.Generator) -> None:
        super().__init__(config, policy=policy, generator=generator)
        self.optimizer = Adam(policy.actor_parameters(), eps=config.adam_epsilon, fused=True)

    @classmethod
    def check_options(cls, directory: Path) -> dict[str, Any]:
        """Return a step size with which the few updates of a check show."""
        return {"learning_rate": 3e-3}

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take ``epochs`` passes of gradient steps; see :meth:`rltk.interfaces.Algorithm.update`.

        :raises UserError: the rollout has no groups.
        """
        config = self.config
        require_finite(rollout, self.name)
        groups = require_groups(rollout, self.name)
        returns = episode_returns(rollout.rewards, rollout.mask)
        advantages = leave_one_out_advantages(returns, groups)
        everyone = torch.ones_like(advantages, dtype=torch.bool)
        metrics = advantage_metrics(advantages, returns, everyone)
        metrics |= {"lone": lone_episodes(groups), "indifferent": indifferent_groups(returns, groups)}
        if config.normalize_advantages:
            advantages = whiten(advantages, everyone)
        rollout = rollout.replace(advantages=at_every_action(advantages, rollout.mask))
        self.optimizer.param_groups[0]["lr"] = scheduled(config.learning_rate, config.schedule, progress)
        kl, seen = exact_kl(self.policy, rollout), Diagnostics(config.clip_range)
        for _ in range(config.epochs):
            for batch in rollout.minibatches(config.minibatch_size, self.generator):
                seen.add_step(self._step(batch, seen))
        return {**metrics, **seen.metrics(), "kl": kl()}

    def _step(self, batch: Rollout, seen: Diagnostics) -> Metrics:
        return gradient_step(
            self.optimizer,
            Batch(batch.parts(self.config.max_tokens_per_batch), len(batch)),
            lambda part: self._loss(part, seen),
            max_grad_norm=self.config.max_grad_norm,
            where=self.name,
        )

    def _loss(self, batch: Rollout, seen: Diagnostics) -> Tensor:
        """Return the loss summed over the responses of a micro-batch, and add its diagnostics to ``seen``."""
        assert batch.advantages is not None
        logprobs, entropy = self.policy.action_logprobs(batch)
        logprobs, old_logprobs, entropy = (
            torch.where(batch.mask, x, 0.0).sum(1) for x in (logprobs, batch.logprobs, entropy)
        )
        policy_loss = clipped_surrogate(
            logprobs, old_logprobs, batch.advantages[:, 0], clip_range=self.config.clip_range
        )
        seen.add(
            batch.mask.any(1),
            logprobs=logprobs,
            old_logprobs=old_logprobs,
            policy_loss=policy_loss,
            entropy=entropy / batch.mask.sum(1).clamp(min=1),
        )
        return (policy_loss - self.config.entropy_coef * entropy).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the shuffling generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``rloo``."""
    return [RLOO]

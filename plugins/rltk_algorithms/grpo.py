"""Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300): PPO without a critic.

One update, top to bottom: an episode is worth the sum of its rewards; the advantage of all its actions is
that sum less the mean of its group, the answers to one prompt, divided by the group's standard deviation;
then ``epochs`` passes of gradient steps on the clipped surrogate of actions plus ``kl_loss_coef`` times
the KL to the reference policy. ``scale_rewards`` and ``loss_aggregation`` lead to Dr. GRPO (Liu et al. 2025,
arXiv 2503.20783) and, with ``clip_range_high``, to DAPO (Yu et al. 2025, arXiv 2503.14476).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from rltk.advantages import (
    at_every_action,
    episode_returns,
    group_relative_advantages,
    indifferent_groups,
    lone_episodes,
)
from rltk.config_errors import propagate
from rltk.diagnostics import Diagnostics, advantage_metrics, exact_kl
from rltk.errors import UserError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.losses import clipped_surrogate, kl_k3, masked_sum
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


class GRPO(Algorithm):
    """Clipped-surrogate policy gradient whose baseline is the mean of the other answers to the prompt."""

    name = "grpo"
    needs_groups = True
    paper = (
        "Shao et al. 2024, DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language "
        "Models, arXiv:2402.03300"
    )

    class Config(ComponentConfig):
        """Options of GRPO."""

        learning_rate: float = Field(3e-4, gt=0, description="Adam step size.")
        schedule: Literal["constant", "linear"] = Field(
            "constant", description="Whether the step size stays or falls linearly to 0 over the training."
        )
        epochs: int = Field(1, ge=1, description="Passes over each rollout.")
        minibatch_size: int = Field(64, ge=1, description="Episodes per gradient step.")
        scale_rewards: Literal["group", "batch", "none"] = Field(
            "group", description="Whose standard deviation advantages are divided by; none: Dr. GRPO."
        )
        loss_aggregation: Literal["sequence", "token", "constant"] = Field(
            "sequence",
            description="sequence: mean over each episode's actions, then over episodes; token: over all "
            "actions; constant: each episode's sum divided by constant_length, then the mean (Dr. GRPO).",
        )
        constant_length: int | None = Field(
            None,
            ge=1,
            description="What loss_aggregation: constant divides by, e.g. the environment's max_new_tokens.",
        )
        clip_range: float = Field(0.2, gt=0, description="How far below 1 the ratio counts, and above too.")
        clip_range_high: float | None = Field(
            None, gt=0, description="How far above 1 the ratio counts; null: clip_range."
        )
        kl_loss_coef: float = Field(
            0.0,
            ge=0,
            description="Weight of the KL to the reference in the loss; the stage's kl_coef adds to it.",
        )
        entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
        max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
        adam_epsilon: float = Field(1e-5, gt=0, description="Epsilon of Adam.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of a forward pass; less saves memory."
        )

        @model_validator(mode="after")
        def _one_divisor(self) -> GRPO.Config:
            propagate(_require_one_divisor, self.loss_aggregation, self.constant_length)
            return self

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

        :raises UserError: the rollout has no groups, or no reference where one is wanted.
        """
        config = self.config
        require_finite(rollout, self.name)
        groups = require_groups(rollout, self.name)
        self._require_reference(rollout)
        returns = episode_returns(rollout.rewards, rollout.mask)
        advantages = group_relative_advantages(returns, groups, scale=config.scale_rewards)
        metrics = advantage_metrics(advantages, returns, torch.ones_like(advantages, dtype=torch.bool))
        metrics |= {"lone": lone_episodes(groups), "indifferent": indifferent_groups(returns, groups)}
        rollout = rollout.replace(advantages=at_every_action(advantages, rollout.mask))
        self.optimizer.param_groups[0]["lr"] = scheduled(config.learning_rate, config.schedule, progress)
        kl, seen = exact_kl(self.policy, rollout), Diagnostics(config.clip_range, config.clip_range_high)
        for _ in range(config.epochs):
            for batch in rollout.minibatches(config.minibatch_size, self.generator):
                seen.add_step(self._step(batch, seen))
        return {**metrics, **seen.metrics(), "kl": kl()}

    def _require_reference(self, rollout: Rollout) -> None:
        if self.config.kl_loss_coef > 0 and rollout.ref_logprobs is None:
            what = "there is no reference policy to measure a KL to"
            fix = "set rl.reference, or kl_loss_coef=0"
            raise UserError("algorithm.kl_loss_coef", what, got=self.config.kl_loss_coef, fix=fix)

    def _step(self, batch: Rollout, seen: Diagnostics) -> Metrics:
        return gradient_step(
            self.optimizer,
            Batch(batch.parts(self.config.max_tokens_per_batch), self._count(batch)),
            lambda part: self._loss(part, seen),
            max_grad_norm=self.config.max_grad_norm,
            where=self.name,
        )

    def _count(self, batch: Rollout) -> int:
        """Return what the summed loss of a mini-batch is divided by."""
        if self.config.loss_aggregation == "token":
            return batch.num_actions
        return len(batch) * (self.config.constant_length or 1)

    def _loss(self, batch: Rollout, seen: Diagnostics) -> Tensor:
        """Return the summed loss of a micro-batch, and add its diagnostics to ``seen``."""
        assert batch.advantages is not None
        config, mask = self.config, batch.mask
        logprobs, entropy = self.policy.action_logprobs(batch)
        policy_loss = clipped_surrogate(
            logprobs,
            batch.logprobs,
            batch.advantages,
            clip_range=config.clip_range,
            clip_range_high=config.clip_range_high,
        )
        shown = {"policy_loss": policy_loss, "entropy": entropy}
        loss = policy_loss - config.entropy_coef * entropy
        if batch.ref_logprobs is not None and config.kl_loss_coef > 0:
            shown["kl_loss"] = kl_k3(logprobs, batch.ref_logprobs)
            loss = loss + config.kl_loss_coef * shown["kl_loss"]
        seen.add(mask, logprobs=logprobs, old_logprobs=batch.logprobs, **shown)
        if config.loss_aggregation == "sequence":
            loss = loss / mask.sum(1, keepdim=True).clamp(min=1)
        return masked_sum(loss, mask)

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the shuffling generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


def _require_one_divisor(loss_aggregation: str, constant_length: int | None) -> None:
    if loss_aggregation == "constant" and constant_length is None:
        what = "missing, but loss_aggregation=constant divides by it"
        raise UserError("constant_length", what, fix="set it, e.g. to the environment's max_new_tokens")
    if loss_aggregation != "constant" and constant_length is not None:
        what = f"loss_aggregation={loss_aggregation} does not divide by it"
        fix = "leave it out, or set loss_aggregation: constant"
        raise UserError("constant_length", what, got=constant_length, fix=fix)


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``grpo``."""
    return [GRPO]

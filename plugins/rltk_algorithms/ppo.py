"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), with the PPO-ptx term.

One update, top to bottom: advantages by GAE, then ``epochs`` passes over the rollout in shuffled
mini-batches, each one gradient step on

    clipped surrogate + value_coef * clipped value loss - entropy_coef * entropy + ptx_coef * auxiliary loss

where the auxiliary loss is the language-modelling loss on pretraining text (Ouyang et al. 2022, equation 2).
A mini-batch is of single steps where the policy needs nothing but the observation, of whole rows otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.advantages import whiten, with_gae
from rltk.diagnostics import Diagnostics, advantage_metrics, exact_kl
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.losses import kl_k3, masked_sum, ppo_loss
from rltk.optimizers import Adam
from rltk.policy import Policy
from rltk.training import (
    Batch,
    accumulate_gradients,
    apply_gradients,
    load_optimizer_state,
    optimizer_state,
    require_finite,
    scheduled,
)
from rltk.types import Metrics, Rollout


class PPO(Algorithm):
    """Clipped-surrogate policy gradient, several epochs on every rollout."""

    name = "ppo"
    needs_critic = True
    paper = "Schulman et al. 2017, Proximal Policy Optimization Algorithms, arXiv:1707.06347"

    class Config(ComponentConfig):
        """Options of PPO."""

        learning_rate: float = Field(3e-4, gt=0, description="Adam step size of the policy.")
        critic_learning_rate: float | None = Field(
            None, gt=0, description="Adam step size of the critic; null: that of the policy."
        )
        schedule: Literal["constant", "linear"] = Field(
            "constant", description="Whether learning rates stay or fall linearly to 0 over the training."
        )
        epochs: int = Field(4, ge=1, description="Passes over each rollout.")
        minibatch_size: int = Field(
            64,
            ge=1,
            description="Rows per gradient step: single steps for memoryless policies (mlp), else episodes.",
        )
        clip_range: float = Field(0.2, gt=0, description="How far the ratio counts on either side of 1.")
        value_clip_range: float | None = Field(
            0.2, gt=0, description="How far a value may move from its old one; null: any way."
        )
        clip_schedule: Literal["constant", "linear"] = Field(
            "constant", description="Whether both clip ranges stay or fall linearly to 0 over the training."
        )
        value_coef: float = Field(0.5, ge=0, description="Weight of the value loss, half a squared error.")
        entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
        ptx_coef: float = Field(0.0, ge=0, description="Weight of the pretraining loss (PPO-ptx).")
        gamma: float = Field(1.0, ge=0, le=1, description="Discount.")
        gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of GAE.")
        normalize_advantages: bool = Field(True, description="Shift and scale advantages to mean 0, std 1.")
        normalize_over: Literal["rollout", "minibatch"] = Field(
            "rollout", description="Over which actions normalize_advantages takes mean and deviation."
        )
        target_kl: float | None = Field(
            None,
            gt=0,
            description="Stop at a mini-batch whose approx_kl exceeds 1.5 times it.",
        )
        max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
        adam_epsilon: float = Field(1e-5, gt=0, description="Epsilon of Adam.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of a forward pass; less saves memory."
        )

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        policy: Policy,
        generator: torch.Generator,
        auxiliary_loss: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__(config, policy=policy, generator=generator, auxiliary_loss=auxiliary_loss)
        self._rates = [config.learning_rate]
        groups = [{"params": [*policy.actor_parameters(), *policy.critic_parameters()]}]
        if config.critic_learning_rate is not None:
            self._rates.append(config.critic_learning_rate)
            groups = [{"params": policy.actor_parameters()}, {"params": policy.critic_parameters()}]
        self.optimizer = Adam(groups, eps=config.adam_epsilon, fused=True)

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take ``epochs`` passes of gradient steps; see :meth:`rltk.interfaces.Algorithm.update`."""
        config = self.config
        require_finite(rollout, self.name)
        # Advantages need whole rows; only then may steps go their own ways.
        rollout = with_gae(rollout, gamma=config.gamma, gae_lambda=config.gae_lambda, normalize=False)
        assert rollout.advantages is not None and rollout.returns is not None
        metrics = advantage_metrics(rollout.advantages, rollout.returns, rollout.mask, rollout.values)
        if config.normalize_over == "rollout":
            rollout = self._normalized(rollout)
        if self.policy.memoryless and rollout.tokens is None:
            rollout = rollout.steps()
        self._schedule(progress)
        kl = exact_kl(self.policy, rollout)
        seen = Diagnostics(self._clip_range)
        self._take_epochs(rollout, seen)
        return {**metrics, **seen.metrics(), "kl": kl(), "clip_range": self._clip_range}

    def _take_epochs(self, rollout: Rollout, seen: Diagnostics) -> None:
        for _ in range(self.config.epochs):
            for batch in rollout.minibatches(self.config.minibatch_size, self.generator):
                if not self._step(batch, seen):
                    return

    def _step(self, batch: Rollout, seen: Diagnostics) -> bool:
        """Take one gradient step on a mini-batch; False without taking it where the KL is over its target."""
        config, count = self.config, batch.num_actions
        if config.normalize_over == "minibatch":
            batch = self._normalized(batch)
        kls: list[Tensor] = []
        parts: list[Callable[[], Tensor]] = [
            partial(self._loss, part, seen, kls) for part in batch.parts(config.max_tokens_per_batch)
        ]
        ptx_losses: list[Tensor] = []
        if self.auxiliary_loss is not None and config.ptx_coef > 0:
            parts.append(partial(self._pretraining_loss, self.auxiliary_loss, ptx_losses, count))
        loss = accumulate_gradients(self.optimizer, Batch(parts, count), lambda part: part())
        if config.target_kl is not None and float(sum(kls)) / count > 1.5 * config.target_kl:
            return False
        step = apply_gradients(self.optimizer, loss, max_grad_norm=config.max_grad_norm, where=self.name)
        if ptx_losses:
            step["ptx_loss"] = float(ptx_losses[0])
        seen.add_step(step)
        return True

    def _loss(self, batch: Rollout, seen: Diagnostics, kls: list[Tensor]) -> Tensor:
        """Return the summed loss of a micro-batch; add its diagnostics to ``seen``, its KL to ``kls``."""
        config = self.config
        now = self.policy.evaluate(batch)
        loss, policy_loss, value_loss = ppo_loss(
            now,
            batch,
            clip_range=self._clip_range,
            value_clip_range=self._value_clip_range,
            value_coef=config.value_coef,
            entropy_coef=config.entropy_coef,
        )
        seen.add(
            batch.mask,
            logprobs=now.logprobs,
            old_logprobs=batch.logprobs,
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropy=now.entropy,
        )
        if config.target_kl is not None:
            kls.append(masked_sum(kl_k3(batch.logprobs, now.logprobs.detach()), batch.mask))
        return loss

    def _pretraining_loss(
        self, auxiliary_loss: Callable[[], Tensor], losses: list[Tensor], count: int
    ) -> Tensor:
        """Return the weighted pretraining loss, as a sum like the others; add it, as it is, to ``losses``."""
        loss = auxiliary_loss()
        losses.append(loss.detach())
        return self.config.ptx_coef * loss * count

    def _normalized(self, batch: Rollout) -> Rollout:
        assert batch.advantages is not None
        # One advantage less its mean would be 0, and nothing would be learned from it.
        if not self.config.normalize_advantages or batch.num_actions == 1:
            return batch
        return batch.replace(advantages=whiten(batch.advantages, batch.mask))

    def _schedule(self, progress: float) -> None:
        """Set learning rates and clip ranges to what they are after a share of the training."""
        config = self.config
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = scheduled(rate, config.schedule, progress)
        self._clip_range = scheduled(config.clip_range, config.clip_schedule, progress)
        self._value_clip_range = config.value_clip_range and scheduled(
            config.value_clip_range, config.clip_schedule, progress
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the shuffling generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``ppo``."""
    return [PPO]

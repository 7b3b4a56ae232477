"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), with the PPO-ptx term.

One update, top to bottom: advantages by GAE, then ``epochs`` passes over the rollout in shuffled
mini-batches of whole rows, each one gradient step on

    clipped surrogate + value_coef * clipped value loss - entropy_coef * entropy + ptx_coef * auxiliary loss

where the auxiliary loss is the language-modelling loss on pretraining text (Ouyang et al. 2022, equation 2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.advantages import explained_variance, with_gae
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.losses import clipped_surrogate_loss, clipped_value_loss, kl_k3, masked_sum
from rltk.policy import Policy
from rltk.training import Batch, gradient_step, load_optimizer_state, optimizer_state, require_finite
from rltk.types import Metrics, Rollout


class PPO(Algorithm):
    """Clipped-surrogate policy gradient, several epochs on every rollout."""

    name = "ppo"
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
        minibatch_size: int = Field(64, ge=1, description="Rows (episodes or fragments) a gradient step.")
        clip_range: float = Field(0.2, gt=0, description="How far the ratio counts on either side of 1.")
        value_clip_range: float | None = Field(
            0.2, gt=0, description="How far a value may move from its old one; null: any way."
        )
        value_coef: float = Field(0.5, ge=0, description="Weight of the value loss.")
        entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
        ptx_coef: float = Field(0.0, ge=0, description="Weight of the pretraining loss (PPO-ptx).")
        gamma: float = Field(1.0, ge=0, le=1, description="Discount.")
        gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of GAE.")
        normalize_advantages: bool = Field(True, description="Whiten advantages over the rollout's actions.")
        target_kl: float | None = Field(
            None, gt=0, description="Stop the epochs once the mean KL to the old policy exceeds 1.5 times it."
        )
        max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
        adam_epsilon: float = Field(1e-5, gt=0, description="Epsilon of Adam.")
        max_tokens_per_batch: int = Field(
            8192,
            ge=1,
            description="Padded size of a forward pass; less saves memory.",
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
        critic_rate = config.critic_learning_rate or config.learning_rate
        self._rates = [config.learning_rate, critic_rate]
        groups: list[dict[str, Any]] = [
            {"params": policy.actor_parameters(), "lr": config.learning_rate},
            {"params": policy.critic_parameters(), "lr": critic_rate},
        ]
        self.optimizer = torch.optim.Adam(groups, eps=config.adam_epsilon, fused=True)

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take ``epochs`` passes of gradient steps; see :meth:`rltk.interfaces.Algorithm.update`."""
        config = self.config
        require_finite(rollout, self.name)
        rollout = with_gae(
            rollout,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            normalize=config.normalize_advantages,
        )
        assert rollout.returns is not None
        self._schedule(progress)
        steps: list[Metrics] = []
        for _ in range(config.epochs):
            order = torch.randperm(len(rollout), generator=self.generator)
            epoch = [self._step(rollout.select(rows)) for rows in order.split(config.minibatch_size)]
            steps += epoch
            if config.target_kl is not None and _mean(epoch)["approx_kl"] > 1.5 * config.target_kl:
                break
        variance = explained_variance(rollout.values, rollout.returns, rollout.mask)
        return {
            **_mean(steps),
            "ratio_max": max(step["ratio_max"] for step in steps),
            "explained_variance": float(variance),
            "gradient_steps": float(len(steps)),
        }

    def _step(self, batch: Rollout) -> Metrics:
        """Take one gradient step on a mini-batch, accumulated over micro-batches."""
        count = batch.num_actions
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=batch.mask.device))
        parts: list[Callable[[], Tensor]] = [
            partial(self._loss, batch.select(rows), sums)
            for rows in batch.micro_batches(self.config.max_tokens_per_batch)
        ]
        if self.auxiliary_loss is not None and self.config.ptx_coef > 0:
            parts.append(partial(self._pretraining_loss, self.auxiliary_loss, sums, count))
        step = gradient_step(
            self.optimizer,
            Batch(parts, count),
            lambda part: part(),
            max_grad_norm=self.config.max_grad_norm,
            where="ppo",
            autocast=nullcontext,
        )
        ratio_max = float(sums.pop("ratio_max"))
        return {
            **step,
            **{name: float(total) / count for name, total in sums.items()},
            "ratio_max": ratio_max,
        }

    def _loss(self, batch: Rollout, sums: dict[str, Tensor]) -> Tensor:
        """Return the summed loss of a micro-batch and add its diagnostics to ``sums``."""
        assert batch.advantages is not None and batch.returns is not None
        config, mask = self.config, batch.mask
        now = self.policy.evaluate(batch)
        policy_loss = clipped_surrogate_loss(
            now.logprobs, batch.logprobs, batch.advantages, mask, clip_range=config.clip_range
        )
        value_loss = clipped_value_loss(
            now.values, batch.values, batch.returns, mask, clip_range=config.value_clip_range
        )
        entropy = masked_sum(now.entropy, mask)
        with torch.no_grad():
            ratio = torch.exp(now.logprobs - batch.logprobs)
            sums["policy_loss"] += policy_loss
            sums["value_loss"] += value_loss
            sums["entropy"] += entropy
            sums["approx_kl"] += masked_sum(kl_k3(batch.logprobs, now.logprobs), mask)
            sums["clip_fraction"] += masked_sum(((ratio - 1).abs() > config.clip_range).float(), mask)
            sums["ratio_max"] = torch.maximum(sums["ratio_max"], torch.where(mask, ratio, 0.0).max())
        return policy_loss + config.value_coef * value_loss - config.entropy_coef * entropy

    def _pretraining_loss(
        self, auxiliary_loss: Callable[[], Tensor], sums: dict[str, Tensor], count: int
    ) -> Tensor:
        """Return the weighted pretraining loss, as a sum like the others."""
        loss = auxiliary_loss()
        sums["ptx_loss"] += loss.detach() * count
        return self.config.ptx_coef * loss * count

    def _schedule(self, progress: float) -> None:
        factor = 1.0 - progress if self.config.schedule == "linear" else 1.0
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the shuffling generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


def _mean(steps: list[Metrics]) -> Metrics:
    """Return the mean of each metric over gradient steps."""
    return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``ppo``."""
    return [PPO]

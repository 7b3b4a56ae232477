"""An algorithm: REINFORCE, the shortest one that learns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import rltk
import torch
from pydantic import Field
from rltk.advantages import masked_mean, returns_to_go
from rltk.losses import masked_sum
from rltk.training import Batch, gradient_step, load_optimizer_state, optimizer_state, require_finite
from torch import Tensor

RLTK_API = 1


class TemplateNameAlgorithm(rltk.Algorithm):
    """REINFORCE: actions that were followed by more reward than usual become likelier.

    What is usual is a moving average of the returns. The critic is left as it is, and so is
    ``auxiliary_loss``, which stages offer to algorithms with a ``ptx_coef``.
    """

    name = "template-name"
    paper = (
        "Williams 1992, Simple statistical gradient-following algorithms for connectionist "
        "reinforcement learning, doi:10.1007/BF00992696"
    )

    class Config(rltk.ComponentConfig):
        """Options, such as ``algorithm: {name: template-name, gamma: 0.9}``."""

        learning_rate: float = Field(0.01, gt=0, description="Adam step size.")
        gamma: float = Field(0.99, ge=0, le=1, description="Discount.")
        baseline_decay: float = Field(0.8, ge=0, lt=1, description="Share of the baseline that stays.")
        max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
        max_tokens_per_batch: int = Field(8192, ge=1, description="Padded size of a forward pass.")

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        policy: rltk.Policy,
        generator: torch.Generator,
        auxiliary_loss: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__(config, policy=policy, generator=generator, auxiliary_loss=auxiliary_loss)
        self.optimizer = torch.optim.Adam(policy.actor_parameters(), lr=config.learning_rate)
        self.baseline: float | None = None

    def update(self, rollout: rltk.Rollout, *, progress: float = 0.0) -> dict[str, float]:
        """Take one gradient step on the whole rollout.

        :raises NonFiniteError: a reward, the loss or its gradient is not finite; no weight has changed.
        """
        require_finite(rollout, self.name)
        config = self.config
        returns = self._returns(rollout)
        mean = float(masked_mean(returns, rollout.mask))
        baseline = mean if self.baseline is None else self.baseline
        rollout = rollout.replace(advantages=returns - baseline)
        parts = [rollout.select(rows) for rows in rollout.micro_batches(config.max_tokens_per_batch)]
        step = gradient_step(
            self.optimizer,
            Batch(parts, rollout.num_actions),
            self._loss,
            max_grad_norm=config.max_grad_norm,
            where=self.name,
            autocast=nullcontext,
        )
        self.baseline = config.baseline_decay * baseline + (1 - config.baseline_decay) * mean
        return {"policy_loss": step["loss"], "grad_norm": step["grad_norm"], "baseline": baseline}

    def _returns(self, rollout: rltk.Rollout) -> Tensor:
        """Return the discounted rewards ``[B, T]`` from each action on, with nothing after a cut-off."""
        nothing = torch.zeros_like(rollout.bootstrap)
        return returns_to_go(rollout.rewards, nothing, rollout.mask, gamma=self.config.gamma)

    def _loss(self, batch: rltk.Rollout) -> Tensor:
        """Return the summed loss of a micro-batch; ``gradient_step`` divides by all actions once."""
        assert batch.advantages is not None
        return -masked_sum(batch.advantages * self.policy.evaluate(batch).logprobs, batch.mask)

    def state_dict(self) -> dict[str, Any]:
        """Return what an interrupted run needs beside the policy's weights to go on exactly."""
        return {"optimizer": optimizer_state(self.optimizer), "baseline": self.baseline}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.baseline = state["baseline"]


@rltk.hookimpl
def rltk_algorithms() -> list[type[rltk.Algorithm]]:
    """Provide ``template-name``."""
    return [TemplateNameAlgorithm]

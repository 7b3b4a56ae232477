"""The algorithm: imitate the best of one's own episodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import rltk
import torch
from pydantic import Field
from rltk.losses import masked_sum
from rltk.training import Batch, gradient_step, load_optimizer_state, optimizer_state, require_finite
from torch import Tensor

RLTK_API = 1


class Raft(rltk.Algorithm):
    """RAFT: supervised learning on the episodes of a rollout that were rewarded most.

    The critic and ``auxiliary_loss`` are not used.
    """

    name = "wordsort-raft"
    paper = (
        "Dong et al. 2023, RAFT: Reward rAnked FineTuning for Generative Foundation Model Alignment, "
        "arXiv:2304.06767"
    )

    class Config(rltk.ComponentConfig):
        """Options: ``algorithm: {name: wordsort-raft, keep: 0.1}``."""

        learning_rate: float = Field(0.003, gt=0, description="Adam step size.")
        keep: float = Field(0.25, gt=0, le=1, description="Share of the episodes to learn from.")
        epochs: int = Field(2, ge=1, description="Passes over them.")
        minibatch_size: int = Field(32, ge=1, description="Episodes per gradient step.")
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

    def update(self, rollout: rltk.Rollout, *, progress: float = 0.0) -> dict[str, float]:
        """Take ``epochs`` passes over the best episodes.

        :raises NonFiniteError: a reward, the loss or its gradient is not finite.
        """
        require_finite(rollout, self.name)
        totals = torch.where(rollout.mask, rollout.rewards, 0.0).sum(1)
        count = math.ceil(self.config.keep * len(rollout))
        best = totals.argsort(descending=True, stable=True)[:count]
        chosen = rollout.select(best)
        losses = []
        for _ in range(self.config.epochs):
            order = torch.randperm(count, generator=self.generator)
            losses += [self._step(chosen.select(rows)) for rows in order.split(self.config.minibatch_size)]
        return {
            "imitation_loss": sum(losses) / len(losses),
            "threshold": float(totals[best[-1]]),
            "best": float(totals[best[0]]),
        }

    def _step(self, batch: rltk.Rollout) -> float:
        """Take one gradient step and return the loss in nats per action."""
        parts = [batch.select(rows) for rows in batch.micro_batches(self.config.max_tokens_per_batch)]
        step = gradient_step(
            self.optimizer,
            Batch(parts, batch.num_actions),
            lambda part: -masked_sum(self.policy.evaluate(part).logprobs, part.mask),
            max_grad_norm=self.config.max_grad_norm,
            where=self.name,
            autocast=nullcontext,
        )
        return step["loss"]

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the shuffling generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


@rltk.hookimpl
def rltk_algorithms() -> list[type[rltk.Algorithm]]:
    """Provide ``wordsort-raft``."""
    return [Raft]

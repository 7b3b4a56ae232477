"""Trust region policy optimisation (Schulman et al. 2015, arXiv 1502.05477).

One update, top to bottom: advantages by GAE; the gradient g of the surrogate; the natural direction
``F^-1 g`` by conjugate gradient on Fisher-vector products; the longest step along it that the quadratic model
of the KL allows; a backtracking line search on the true surrogate and the true KL, which puts every parameter
back when no step is good; then the critic fitted apart by regression on the returns.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltk.advantages import explained_variance, with_gae
from rltk.errors import NonFiniteError
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.linalg import conjugate_gradient, flatten, hessian_vector_product, unflatten
from rltk.losses import clipped_value_loss, masked_sum, surrogate_loss
from rltk.policy import Policy
from rltk.training import Batch, gradient_step, load_optimizer_state, optimizer_state, require_finite
from rltk.types import Metrics, Rollout


@dataclass(frozen=True)
class _Step:
    """The outcome of a line search: the share of the full step taken (0: none), KL and surrogate gain."""

    fraction: float
    kl: float
    improvement: float


class TRPO(Algorithm):
    """Natural gradient step as long as the trust region and a line search allow."""

    name = "trpo"
    paper = "Schulman et al. 2015, Trust Region Policy Optimization, arXiv:1502.05477"

    class Config(ComponentConfig):
        """Options of TRPO."""

        max_kl: float = Field(0.01, gt=0, description="Largest mean KL of a step, in nats an action.")
        cg_iterations: int = Field(10, ge=1, description="Conjugate gradient iterations.")
        damping: float = Field(0.1, ge=0, description="Added to the Fisher matrix's diagonal.")
        fisher_rows: int = Field(
            64, ge=1, description="Rows of the rollout that Fisher-vector products are computed on."
        )
        backtracks: int = Field(10, ge=1, description="Most step lengths the line search tries.")
        backtrack_ratio: float = Field(0.8, gt=0, lt=1, description="Each length as a share of the last.")
        critic_learning_rate: float = Field(1e-3, gt=0, description="Adam step size of the critic.")
        critic_epochs: int = Field(4, ge=1, description="Passes over each rollout for the critic.")
        minibatch_size: int = Field(64, ge=1, description="Rows a gradient step of the critic.")
        max_grad_norm: float = Field(1.0, gt=0, description="The critic's gradients are scaled to this norm.")
        gamma: float = Field(1.0, ge=0, le=1, description="Discount.")
        gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of GAE.")
        normalize_advantages: bool = Field(True, description="Whiten advantages over the rollout's actions.")
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
        self.optimizer = torch.optim.Adam(
            policy.critic_parameters(), lr=config.critic_learning_rate, fused=True
        )

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take one natural gradient step and fit the critic; see :meth:`rltk.interfaces.Algorithm.update`."""
        config = self.config
        require_finite(rollout, self.name)
        rollout = with_gae(
            rollout,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            normalize=config.normalize_advantages,
        )
        assert rollout.returns is not None
        loss, gradient = self._surrogate_gradient(rollout)
        direction = conjugate_gradient(
            self._fisher_product(rollout), -gradient, iterations=config.cg_iterations
        )
        step = self._line_search(rollout, loss, gradient, direction)
        value_loss = self._fit_critic(rollout)
        return {
            "policy_loss": loss,
            "kl": step.kl,
            "improvement": step.improvement,
            "step_fraction": step.fraction,
            "grad_norm": float(gradient.norm()),
            "entropy": self._entropy(rollout),
            "value_loss": value_loss,
            "explained_variance": float(explained_variance(rollout.values, rollout.returns, rollout.mask)),
        }

    def _surrogate_gradient(self, rollout: Rollout) -> tuple[float, Tensor]:
        """Return the mean surrogate loss at the current policy and its gradient as one vector."""
        parameters = self.policy.actor_parameters()
        count = rollout.num_actions
        total = torch.zeros((), device=rollout.mask.device)
        gradient = torch.zeros_like(flatten(parameters))
        for rows in rollout.micro_batches(self.config.max_tokens_per_batch):
            loss = self._surrogate(rollout.select(rows)) / count
            gradient += flatten(torch.autograd.grad(loss, parameters, materialize_grads=True))
            total += loss.detach()
        if not bool(torch.isfinite(total) & torch.isfinite(gradient).all()):
            fix = "lower max_kl or look at the rewards of this step; the last checkpoint is untouched"
            raise NonFiniteError("trpo", "the surrogate or its gradient is not finite", fix=fix)
        return float(total), gradient

    def _surrogate(self, batch: Rollout) -> Tensor:
        assert batch.advantages is not None
        parameters = self.policy.distribution_parameters(batch)
        logprobs, _ = self.policy.logprobs_and_entropy(parameters, batch.actions)
        return surrogate_loss(logprobs, batch.logprobs, batch.advantages, batch.mask)

    def _fisher_product(self, rollout: Rollout) -> Callable[[Tensor], Tensor]:
        """Return ``v -> (F + damping I) v`` with F the Hessian of the mean KL on a sample of rows."""
        parameters = self.policy.actor_parameters()
        chosen = torch.randperm(len(rollout), generator=self.generator)[: self.config.fisher_rows]
        sample = rollout.select(chosen)
        batches = [sample.select(rows) for rows in sample.micro_batches(self.config.max_tokens_per_batch)]

        def product(vector: Tensor) -> Tensor:
            result = self.config.damping * vector
            for batch in batches:
                # Fused attention kernels have no second derivative.
                with sdpa_kernel(SDPBackend.MATH):
                    now = self.policy.distribution_parameters(batch)
                    kl = masked_sum(self.policy.kl_divergence(now.detach(), now), batch.mask)
                    result = result + hessian_vector_product(kl / sample.num_actions, parameters, vector)
            return result

        return product

    def _line_search(self, rollout: Rollout, loss: float, gradient: Tensor, direction: Tensor) -> _Step:
        """Move the policy along ``direction``; back to where it was when no length is good enough.

        The full step is the longest at which the quadratic model of the KL stays within ``max_kl`` (TRPO,
        appendix C): ``sqrt(2 max_kl / (d F d))``, where ``d F d = d . (-g)`` for ``d = F^-1 (-g)``.
        """
        parameters = self.policy.actor_parameters()
        before = [parameter.detach().clone() for parameter in parameters]
        old = self._old_distributions(rollout)
        curvature = float(-(direction @ gradient))
        if curvature <= 0:
            return _Step(0.0, 0.0, 0.0)
        full_step = unflatten(direction * (2 * self.config.max_kl / curvature) ** 0.5, parameters)
        for attempt in range(self.config.backtracks):
            fraction = self.config.backtrack_ratio**attempt
            _move(parameters, before, full_step, fraction)
            new_loss, kl = self._loss_and_kl(rollout, old)
            if new_loss < loss and kl <= self.config.max_kl:
                return _Step(fraction, kl, loss - new_loss)
        _move(parameters, before, full_step, 0.0)
        return _Step(0.0, 0.0, 0.0)

    @torch.no_grad()
    def _old_distributions(self, rollout: Rollout) -> list[tuple[Rollout, Tensor]]:
        groups = rollout.micro_batches(self.config.max_tokens_per_batch)
        batches = [rollout.select(rows) for rows in groups]
        return [(batch, self.policy.distribution_parameters(batch)) for batch in batches]

    @torch.no_grad()
    def _loss_and_kl(self, rollout: Rollout, old: list[tuple[Rollout, Tensor]]) -> tuple[float, float]:
        """Return the mean surrogate loss and the exact mean KL(old || new)."""
        totals = torch.zeros(2, device=rollout.mask.device)
        for batch, before in old:
            assert batch.advantages is not None
            now = self.policy.distribution_parameters(batch)
            logprobs, _ = self.policy.logprobs_and_entropy(now, batch.actions)
            totals[0] += surrogate_loss(logprobs, batch.logprobs, batch.advantages, batch.mask)
            totals[1] += masked_sum(self.policy.kl_divergence(before, now), batch.mask)
        loss, kl = (totals / rollout.num_actions).tolist()
        return loss, kl

    @torch.no_grad()
    def _entropy(self, rollout: Rollout) -> float:
        """Return the mean entropy of the new policy on the first micro-batch."""
        batch = rollout.select(rollout.micro_batches(self.config.max_tokens_per_batch)[0])
        parameters = self.policy.distribution_parameters(batch)
        _, entropy = self.policy.logprobs_and_entropy(parameters, batch.actions)
        return float(masked_sum(entropy, batch.mask)) / batch.num_actions

    def _fit_critic(self, rollout: Rollout) -> float:
        """Regress the critic on the returns; return the mean loss of the last epoch."""

        def loss(batch: Rollout) -> Tensor:
            assert batch.returns is not None
            values = self.policy.value(batch)
            return clipped_value_loss(values, batch.values, batch.returns, batch.mask, clip_range=None)

        losses: list[float] = []
        for _ in range(self.config.critic_epochs):
            order = torch.randperm(len(rollout), generator=self.generator)
            losses = []
            for rows in order.split(self.config.minibatch_size):
                batch = rollout.select(rows)
                groups = batch.micro_batches(self.config.max_tokens_per_batch)
                step = gradient_step(
                    self.optimizer,
                    Batch([batch.select(group) for group in groups], batch.num_actions),
                    loss,
                    max_grad_norm=self.config.max_grad_norm,
                    where="trpo critic",
                    autocast=nullcontext,
                )
                losses.append(step["loss"])
        return sum(losses) / len(losses)

    def state_dict(self) -> dict[str, Any]:
        """Return the critic optimiser's state and the generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


def _move(parameters: list[Any], before: list[Tensor], step: list[Tensor], fraction: float) -> None:
    """Set ``parameters = before + fraction * step``; exactly ``before`` where the fraction is 0."""
    with torch.no_grad():
        for parameter, old, change in zip(parameters, before, step, strict=True):
            parameter.copy_(old if fraction == 0.0 else old + fraction * change)


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``trpo``."""
    return [TRPO]

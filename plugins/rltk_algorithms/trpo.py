"""Trust region policy optimisation (Schulman et al. 2015, arXiv 1502.05477).

One update, top to bottom: advantages by GAE; the gradient g of the surrogate; the natural direction
``F^-1 g`` by conjugate gradient on Fisher-vector products; the longest step along it that the quadratic model
of the KL allows; a backtracking line search on the true surrogate and the true KL, which puts every parameter
back when no step is good; then the critic fitted apart by regression on the returns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rltk.advantages import whiten, with_gae
from rltk.diagnostics import Diagnostics, advantage_metrics
from rltk.errors import NonFiniteError
from rltk.fisher import Product, gauss_newton_products, hessian_products, move
from rltk.hookspecs import hookimpl
from rltk.interfaces import Algorithm, ComponentConfig
from rltk.linalg import conjugate_gradient, flatten, unflatten
from rltk.losses import clipped_value_loss, masked_sum, surrogate_loss
from rltk.optimizers import Adam
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
    needs_critic = True
    paper = "Schulman et al. 2015, Trust Region Policy Optimization, arXiv:1502.05477"

    class Config(ComponentConfig):
        """Options of TRPO."""

        max_kl: float = Field(0.01, gt=0, description="Largest mean KL of a step, in nats per action.")
        cg_iterations: int = Field(10, ge=1, description="Conjugate gradient iterations.")
        damping: float = Field(0.1, ge=0, description="Added to the Fisher matrix's diagonal.")
        fisher: Literal["hessian", "gauss_newton"] = Field(
            "hessian", description="Form of the Fisher matrix; gauss_newton needs no second derivatives."
        )
        fisher_rows: int | None = Field(
            None, ge=1, description="Rows drawn for Fisher-vector products (rows as below); null: all."
        )
        backtracks: int = Field(10, ge=1, description="Most step lengths the line search tries.")
        backtrack_ratio: float = Field(0.8, gt=0, lt=1, description="Each length as a share of the last.")
        critic_learning_rate: float = Field(1e-3, gt=0, description="Adam step size of the critic.")
        critic_epochs: int = Field(4, ge=1, description="Passes over each rollout for the critic.")
        minibatch_size: int = Field(
            64,
            ge=1,
            description="Rows per step of the critic: steps for memoryless policies (mlp), else episodes.",
        )
        max_grad_norm: float = Field(1.0, gt=0, description="The critic's gradients are scaled to this norm.")
        adam_epsilon: float = Field(1e-5, gt=0, description="Epsilon of the critic's Adam.")
        gamma: float = Field(1.0, ge=0, le=1, description="Discount.")
        gae_lambda: float = Field(0.95, ge=0, le=1, description="Lambda of GAE.")
        normalize_advantages: bool = Field(True, description="Shift and scale advantages to mean 0, std 1.")
        max_tokens_per_batch: int = Field(
            8192, ge=1, description="Padded size of a forward pass; less saves memory."
        )

    config: Config

    def __init__(self, config: Config, *, policy: Policy, generator: torch.Generator) -> None:
        super().__init__(config, policy=policy, generator=generator)
        self.optimizer = Adam(
            policy.critic_parameters(), lr=config.critic_learning_rate, eps=config.adam_epsilon, fused=True
        )

    def update(self, rollout: Rollout, *, progress: float = 0.0) -> Metrics:
        """Take one natural gradient step and fit the critic; see :meth:`rltk.interfaces.Algorithm.update`."""
        config = self.config
        require_finite(rollout, self.name)
        rollout = with_gae(rollout, gamma=config.gamma, gae_lambda=config.gae_lambda, normalize=False)
        assert rollout.advantages is not None and rollout.returns is not None
        metrics = advantage_metrics(rollout.advantages, rollout.returns, rollout.mask, rollout.values)
        if config.normalize_advantages:
            rollout = rollout.replace(advantages=whiten(rollout.advantages, rollout.mask))
        if self.policy.memoryless and rollout.tokens is None:
            rollout = rollout.steps()
        batches = rollout.parts(config.max_tokens_per_batch)
        loss, gradient = self._surrogate_gradient(batches)
        direction = conjugate_gradient(
            self._fisher_product(rollout), -gradient, iterations=config.cg_iterations
        )
        step = self._line_search(batches, loss, gradient, direction)
        seen = Diagnostics()
        self._look_at(batches, seen)
        self._fit_critic(rollout, seen)
        return {
            **metrics,
            "policy_loss": loss,
            "kl": step.kl,
            "improvement": step.improvement,
            "step_fraction": step.fraction,
            "grad_norm": float(gradient.norm()),
            **seen.metrics(),
        }

    def _surrogate_gradient(self, batches: list[Rollout]) -> tuple[float, Tensor]:
        """Return the mean surrogate loss at the current policy and its gradient as one vector."""
        parameters = self.policy.actor_parameters()
        count = sum(batch.num_actions for batch in batches)
        losses, gradients = [], []
        for batch in batches:
            loss = self._surrogate(batch, self.policy.distribution_parameters(batch)) / count
            gradients.append(flatten(torch.autograd.grad(loss, parameters, materialize_grads=True)))
            losses.append(loss.detach())
        total, gradient = torch.stack(losses).sum(), torch.stack(gradients).sum(0)
        if not bool(torch.isfinite(total) & torch.isfinite(gradient).all()):
            fix = "lower max_kl or look at the rewards of this step; the last checkpoint is untouched"
            raise NonFiniteError("trpo", "the surrogate or its gradient is not finite", fix=fix)
        return float(total), gradient

    def _surrogate(self, batch: Rollout, parameters: Tensor) -> Tensor:
        """Return the surrogate loss of a batch, summed, for given distribution parameters."""
        assert batch.advantages is not None
        logprobs, _ = self.policy.logprobs_and_entropy(parameters, batch.actions)
        return surrogate_loss(logprobs, batch.logprobs, batch.advantages, batch.mask)

    def _fisher_product(self, rollout: Rollout) -> Product:
        """Return ``v -> (F + damping I) v`` with F the Fisher matrix on a sample of rows."""
        config, rows = self.config, self.config.fisher_rows
        if rows is not None and rows < len(rollout):
            rollout = rollout.select(torch.randperm(len(rollout), generator=self.generator)[:rows])
        form = hessian_products if config.fisher == "hessian" else gauss_newton_products
        product = form(self.policy, rollout.parts(config.max_tokens_per_batch))
        return lambda vector: product(vector) + config.damping * vector

    def _line_search(self, batches: list[Rollout], loss: float, gradient: Tensor, direction: Tensor) -> _Step:
        """Move the policy along ``direction``; back to where it was when no length is good enough.

        The full step has the length ``sqrt(2 max_kl / (d (F + damping I) d))`` (TRPO, appendix C): the
        longest at which the quadratic model of the KL stays within ``max_kl``, less what damping takes off.
        For an iterate d of conjugate gradient the denominator is ``d . (-g)``, converged or not, as the
        residual is orthogonal to it.
        """
        parameters = self.policy.actor_parameters()
        before = [parameter.detach().clone() for parameter in parameters]
        curvature = float(-(direction @ gradient))
        if not math.isfinite(curvature):
            fix = "raise damping, or lower learning rates; the last checkpoint is untouched"
            raise NonFiniteError("trpo", "the natural gradient is not finite", got=curvature, fix=fix)
        if curvature <= 0:
            return _Step(0.0, 0.0, 0.0)
        with torch.no_grad():
            old = [self.policy.distribution_parameters(batch) for batch in batches]
        full_step = unflatten(direction * (2 * self.config.max_kl / curvature) ** 0.5, parameters)
        for attempt in range(self.config.backtracks):
            fraction = self.config.backtrack_ratio**attempt
            move(parameters, before, full_step, fraction)
            new_loss, kl = self._loss_and_kl(batches, old)
            if new_loss < loss and kl <= self.config.max_kl:
                return _Step(fraction, kl, loss - new_loss)
        move(parameters, before, full_step, 0.0)
        return _Step(0.0, 0.0, 0.0)

    @torch.no_grad()
    def _loss_and_kl(self, batches: list[Rollout], old: list[Tensor]) -> tuple[float, float]:
        """Return the mean surrogate loss and the exact mean KL(old || new)."""
        totals = torch.zeros(2, device=batches[0].mask.device)
        for batch, before in zip(batches, old, strict=True):
            now = self.policy.distribution_parameters(batch)
            totals[0] += self._surrogate(batch, now)
            totals[1] += masked_sum(self.policy.kl_divergence(before, now), batch.mask)
        loss, kl = (totals / sum(batch.num_actions for batch in batches)).tolist()
        return loss, kl

    @torch.no_grad()
    def _look_at(self, batches: list[Rollout], seen: Diagnostics) -> None:
        """Add the ratios and the entropy of the new policy."""
        for batch in batches:
            parameters = self.policy.distribution_parameters(batch)
            logprobs, entropy = self.policy.logprobs_and_entropy(parameters, batch.actions)
            seen.add(batch.mask, logprobs=logprobs, old_logprobs=batch.logprobs, entropy=entropy)

    def _fit_critic(self, rollout: Rollout, seen: Diagnostics) -> None:
        """Regress the critic on the returns."""

        def loss(batch: Rollout) -> Tensor:
            assert batch.returns is not None
            values = self.policy.value(batch)
            return clipped_value_loss(values, batch.values, batch.returns, batch.mask, clip_range=None)

        for _ in range(self.config.critic_epochs):
            for batch in rollout.minibatches(self.config.minibatch_size, self.generator):
                step = gradient_step(
                    self.optimizer,
                    Batch(batch.parts(self.config.max_tokens_per_batch), batch.num_actions),
                    loss,
                    max_grad_norm=self.config.max_grad_norm,
                    where="trpo critic",
                )
                seen.add_step({"value_loss": step["loss"], "critic_grad_norm": step["grad_norm"]})

    def state_dict(self) -> dict[str, Any]:
        """Return the critic optimiser's state and the generator's."""
        return {"optimizer": optimizer_state(self.optimizer), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.generator.set_state(state["generator"])


@hookimpl
def rltk_algorithms() -> list[type[Algorithm]]:
    """Provide ``trpo``."""
    return [TRPO]

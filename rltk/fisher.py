"""Products with the Fisher information matrix of a policy, which is never formed.

The Fisher matrix is the Hessian of the mean KL(old || new) at new = old. It is also ``J' M J``, with J the
derivative of the distribution parameters by the weights and M the Hessian of the KL by the distribution
parameters (Martens 2020, "New Insights and Perspectives on the Natural Gradient Method"): both forms are the
same matrix, as the KL's gradient is 0 there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rltk.linalg import flatten, hessian_vector_product, unflatten, vector_jacobian_product
from rltk.losses import masked_sum
from rltk.policy import Policy
from rltk.types import Rollout

Product = Callable[[Tensor], Tensor]


def hessian_products(policy: Policy, batches: Sequence[Rollout]) -> Product:
    """Return ``v -> J' M J v``, exact.

    ``u -> J' u``, a backward pass, is linear in u, and what it gives for v differentiated by u is ``J v``
    (Townsend 2017, "A new trick for calculating Jacobian vector products"). Differentiating the KL's gradient
    by the weights instead would also cost the derivative of J, times a gradient that is 0.

    :param batches: what the mean KL is taken over; the graph of a single one is kept from product to product.
    """
    count = sum(batch.num_actions for batch in batches)
    kept = _Linearised(policy, batches[0], count) if len(batches) == 1 else None

    def product(vector: Tensor) -> Tensor:
        result = torch.zeros_like(vector)
        for batch in batches:
            result += (kept or _Linearised(policy, batch, count)).product(vector)
        return result

    return product


class _Linearised:
    """A batch's distribution parameters and the curvature of its KL, ready to be multiplied with vectors.

    :param count: the actions that the KL is the mean over.
    """

    def __init__(self, policy: Policy, batch: Rollout, count: int) -> None:
        self.weights = policy.actor_parameters()
        # Fused attention kernels have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            self.now = policy.distribution_parameters(batch)
        self.u = torch.zeros_like(self.now, requires_grad=True)
        self.pulled_back = self._pull_back(self.u, create_graph=True)
        self.at = self.now.detach().requires_grad_()
        kl = masked_sum(policy.kl_divergence(self.now.detach(), self.at), batch.mask) / count
        (self.slope,) = torch.autograd.grad(kl, self.at, create_graph=True)

    def product(self, vector: Tensor) -> Tensor:
        """Return ``J' M J v``."""
        (pushed,) = torch.autograd.grad(self.pulled_back @ vector, self.u, retain_graph=True)
        (curved,) = torch.autograd.grad((self.slope * pushed).sum(), self.at, retain_graph=True)
        return self._pull_back(curved)

    def _pull_back(self, u: Tensor, *, create_graph: bool = False) -> Tensor:
        """Return ``J' u``."""
        return vector_jacobian_product(
            self.now, self.weights, u, retain_graph=True, create_graph=create_graph
        )


def gauss_newton_products(policy: Policy, batches: Sequence[Rollout]) -> Product:
    """Return ``v -> J' M J v``, for networks that cannot be differentiated twice.

    ``J v`` is a central difference of two forward passes, and ``J'`` an ordinary backward pass, so that fused
    kernels will do. Three significant digits in float32; too rough for half precision.

    :param batches: what the mean KL is taken over.
    """
    parameters = policy.actor_parameters()
    count = sum(batch.num_actions for batch in batches)

    def product(vector: Tensor) -> Tensor:
        result = torch.zeros_like(vector)
        for batch in batches:
            tangent = _derivative_along(vector, policy, batch)
            now = policy.distribution_parameters(batch)
            at = now.detach().requires_grad_()
            kl = masked_sum(policy.kl_divergence(now.detach(), at), batch.mask) / count
            curved = hessian_vector_product(kl, [at], tangent.flatten()).view_as(now)
            result += vector_jacobian_product(now, parameters, curved)
        return result

    return product


@torch.no_grad()
def _derivative_along(vector: Tensor, policy: Policy, batch: Rollout) -> Tensor:
    """Return ``J v``; the weights are moved for it and put back bit for bit."""
    parameters = policy.actor_parameters()
    before = [parameter.detach().clone() for parameter in parameters]
    # The cube root of the rounding unit balances rounding and curvature where all derivatives are of one
    # size; networks curve more, and a tenth of it is better by two orders on a small transformer.
    relative = 0.1 * torch.finfo(vector.dtype).eps ** (1 / 3)
    size = float(relative * flatten(before).norm().clamp(min=1.0) / vector.norm().clamp(min=1e-30))
    direction = unflatten(vector, parameters)
    sides = []
    for sign in (1.0, -1.0):
        move(parameters, before, direction, sign * size)
        sides.append(policy.distribution_parameters(batch))
    move(parameters, before, direction, 0.0)
    # Logits of forbidden actions stay at minus infinity.
    return torch.where(torch.isfinite(sides[0]), sides[0] - sides[1], 0.0) / (2 * size)


@torch.no_grad()
def move(
    parameters: Sequence[Tensor], before: Sequence[Tensor], step: Sequence[Tensor], fraction: float
) -> None:
    """Set ``parameters = before + fraction * step``; exactly ``before`` where the fraction is 0."""
    for parameter, old, change in zip(parameters, before, step, strict=True):
        parameter.copy_(old if fraction == 0.0 else old + fraction * change)

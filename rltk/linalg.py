"""Linear algebra of natural-gradient methods: conjugate gradient and Fisher-vector products."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Return all entries of ``tensors`` as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut a vector into tensors of the shapes of ``like``."""
    pieces = torch.split(vector, [tensor.numel() for tensor in like])
    return [piece.view_as(tensor) for piece, tensor in zip(pieces, like, strict=True)]


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, *, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """Return an approximate solution of ``A x = b`` for a positive definite A given by its products.

    Hestenes and Stiefel 1952; TRPO, appendix C.

    :param product: returns ``A v``.
    :param iterations: most products to take.
    :param tolerance: squared residual at which to stop, as a share of that of ``b``.
    """
    x = torch.zeros_like(b)
    residual, direction = b.clone(), b.clone()
    squared = residual @ residual
    enough = tolerance * squared
    for _ in range(iterations):
        if squared <= enough:
            break
        curved = product(direction)
        step = squared / (direction @ curved)
        x += step * direction
        residual -= step * curved
        next_squared = residual @ residual
        direction = residual + (next_squared / squared) * direction
        squared = next_squared
    return x


def vector_jacobian_product(
    outputs: Tensor,
    parameters: Sequence[Tensor],
    vector: Tensor,
    *,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> Tensor:
    """Return ``J' v`` for the Jacobian J of ``outputs`` by the parameters, as one vector.

    As the gradient of ``outputs . v``: given v apart, ``torch.autograd.grad`` checks it with symbolic shapes,
    whose import takes half a second.

    :param vector: in the shape of the outputs.
    """
    parts = torch.autograd.grad(
        (outputs * vector).sum(),
        parameters,
        retain_graph=retain_graph,
        create_graph=create_graph,
        materialize_grads=True,
    )
    return flatten(parts)


def hessian_vector_product(scalar: Tensor, parameters: Sequence[Tensor], vector: Tensor) -> Tensor:
    """Return ``H v`` for the Hessian H of a scalar by double backward (Pearlmutter 1994).

    Of the KL divergence at the current parameters, H is the Fisher information matrix.
    """
    gradient = flatten(torch.autograd.grad(scalar, parameters, create_graph=True, materialize_grads=True))
    return flatten(torch.autograd.grad(gradient @ vector, parameters, materialize_grads=True)).detach()

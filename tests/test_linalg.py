"""Conjugate gradient and Hessian products against dense linear algebra."""

import torch

from rltk.linalg import conjugate_gradient, flatten, hessian_vector_product, unflatten
from rltk.rng import torch_generator


def test_conjugate_gradient_solves_a_positive_definite_system():
    generator = torch_generator("cg")
    root = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    matrix, b = root @ root.T + torch.eye(8), torch.randn(8, generator=generator, dtype=torch.float64)
    solution = conjugate_gradient(lambda v: matrix @ v, b, iterations=8, tolerance=0.0)
    torch.testing.assert_close(solution, torch.linalg.solve(matrix, b))


def test_conjugate_gradient_of_a_zero_right_side_is_zero():
    assert not conjugate_gradient(lambda v: 2 * v, torch.zeros(3), iterations=5).any()


def test_the_hessian_product_equals_the_dense_hessian_times_the_vector():
    generator = torch_generator("hvp")
    weight = torch.randn(3, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, generator=generator, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(5, 3, generator=generator, dtype=torch.float64)

    def scalar(flat):
        w, b = unflatten(flat, [weight, bias])
        return torch.tanh(inputs @ w + b).pow(2).sum()

    flat = flatten([weight, bias]).detach()
    dense = torch.autograd.functional.hessian(scalar, flat)
    vector = torch.randn(8, generator=generator, dtype=torch.float64)
    product = hessian_vector_product(scalar(flatten([weight, bias])), [weight, bias], vector)
    torch.testing.assert_close(product, dense @ vector)


def test_unflatten_undoes_flatten():
    tensors = [torch.arange(6.0).view(2, 3), torch.tensor(7.0), torch.arange(2.0)]
    for tensor, again in zip(tensors, unflatten(flatten(tensors), tensors), strict=True):
        assert torch.equal(tensor, again)

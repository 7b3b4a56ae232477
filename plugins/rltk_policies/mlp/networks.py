"""Multi-layer perceptrons, the weights of each one vector: trained by torch, computed in NumPy on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rltk_policies.mlp.numpy_layers import Activation, Layer, backward, cut, forward

InitialWeights = Literal["orthogonal", "uniform"]


class Perceptron(nn.Module):
    """Linear layers with an activation between every two.

    :param sizes: numbers going in, units of each hidden layer, numbers coming out.
    :ivar weights: weight and bias of each layer, one after the other: for a vector an optimiser takes one
        step, where it takes a dozen for a dozen small tensors.
    """

    def __init__(self, sizes: Sequence[int], *, activation: Activation) -> None:
        super().__init__()
        self.sizes, self.activation = tuple(sizes), activation
        self.shapes = [(outputs, inputs) for inputs, outputs in pairwise(sizes)]
        self.weights = nn.Parameter(torch.zeros(sum(o * (i + 1) for o, i in self.shapes)))

    def layers(self, weights: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return the weight ``[outputs, inputs]`` and the bias ``[outputs]`` of each layer, as views.

        :param weights: what to look at in place of the network's own, such as their gradient.
        """
        whole = self.weights if weights is None else weights
        parts = iter(whole.split([count for o, i in self.shapes for count in (o * i, o)]))
        return [(w.view(shape), b) for shape, w, b in zip(self.shapes, parts, parts, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[..., outputs]`` for ``x [..., inputs]``, differentiable as often as one likes."""
        if not self.weights.is_cpu:
            return self.in_torch(x, self.weights)
        outputs: Tensor = _InNumPy.apply(x, self.weights, self)
        return outputs

    def in_torch(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return what comes out for ``x [..., inputs]`` with other weights, by operations of torch alone."""
        *hidden, (weight, bias) = self.layers(weights)
        for w, b in hidden:
            x = functional.linear(x, w, b)
            x = x.tanh() if self.activation == "tanh" else x.relu()
        return functional.linear(x, weight, bias)

    def in_numpy(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Return the network as a function of ``[N, inputs]``, without the cost of torch.

        On a CPU it reads the weights where they are, so that it changes as they are trained.
        """
        layers = self.numpy_layers()
        return lambda x: forward(layers, self.activation, x)[-1]

    def numpy_layers(self) -> list[Layer]:
        """Return what :meth:`layers` does, in NumPy."""
        return cut(numpy_of(self.weights), self.shapes)


def build_network(
    sizes: Sequence[int],
    *,
    activation: Activation,
    initial_weights: InitialWeights,
    output_gain: float,
    generator: torch.Generator,
) -> Perceptron:
    """Return a perceptron with random weights.

    :param sizes: numbers going in, units of each hidden layer, numbers coming out.
    :param output_gain: of the last layer's orthogonal weights; the others' is the square root of 2.
    """
    network = Perceptron(sizes, activation=activation)
    with torch.no_grad():
        *hidden, last = network.layers()
        for weight, bias in (*hidden, last):
            if initial_weights == "orthogonal":
                gain = output_gain if weight is last[0] else math.sqrt(2)
                nn.init.orthogonal_(weight, gain, generator=generator)
            else:
                bound = weight.shape[1] ** -0.5
                for part in (weight, bias):
                    nn.init.uniform_(part, -bound, bound, generator=generator)
    return network


class _InNumPy(torch.autograd.Function):
    """A perceptron and its first derivative by the weights in NumPy; further derivatives are torch's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, network: Perceptron) -> Tensor:
        """Return the outputs."""
        layers = cut(numpy_of(weights), network.shapes)
        *seen, outputs = forward(layers, network.activation, numpy_of(x).reshape(-1, x.shape[-1]))
        ctx.save_for_backward(x, weights)
        ctx.network, ctx.layers, ctx.seen = network, layers, seen
        return torch.from_numpy(outputs).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        """Return the derivative by ``x`` and by the weights."""
        x, weights = ctx.saved_tensors
        if torch.is_grad_enabled() or x.requires_grad:
            return *_derivatives_by_torch(x, weights, ctx.network, slope), None
        rows = numpy_of(slope).reshape(len(ctx.seen[0]), -1)
        gradient = backward(ctx.layers, ctx.network.activation, ctx.seen, rows)
        return None, torch.from_numpy(gradient), None


def _derivatives_by_torch(
    x: Tensor, weights: Tensor, network: Perceptron, slope: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return the derivative by ``x`` and by the weights, itself differentiable where that is wanted."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        product = (network.in_torch(x, weights) * slope).sum()
    wanted = [each for each in (x, weights) if each.requires_grad]
    found = iter(torch.autograd.grad(product, wanted, create_graph=again))
    by_x, by_weights = (next(found) if each.requires_grad else None for each in (x, weights))
    return by_x, by_weights


def numpy_of(tensor: Tensor) -> NDArray[Any]:
    """Return the values of a tensor; shared with it on a CPU."""
    values: NDArray[Any] = tensor.numpy(force=True)
    return values

"""Multi-layer perceptrons: made and trained in torch, run in NumPy while acting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Activation = Literal["tanh", "relu"]
InitialWeights = Literal["orthogonal", "uniform"]


def build_network(
    sizes: Sequence[int],
    *,
    activation: Activation,
    initial_weights: InitialWeights,
    output_gain: float,
    generator: torch.Generator,
) -> nn.Sequential:
    """Return linear layers with an activation between every two.

    :param sizes: numbers going in, units of each hidden layer, numbers coming out.
    :param output_gain: of the last layer's orthogonal weights; the others' is the square root of 2.
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = i == len(sizes) - 2
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
        if initial_weights == "orthogonal":
            nn.init.orthogonal_(linear.weight, output_gain if last else math.sqrt(2), generator=generator)
            nn.init.zeros_(linear.bias)
        else:
            for parameter in (linear.weight, linear.bias):
                nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
        layers += [linear] if last else [linear, nn.Tanh() if activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers)


def in_numpy(
    network: nn.Sequential, activation: Activation
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the network as it is now as a function of ``[N, inputs]``, without torch's cost of a call."""
    layers = [(numpy_of(m.weight).T, numpy_of(m.bias)) for m in network if isinstance(m, nn.Linear)]
    *hidden, (weight, bias) = layers

    def forward(x: NDArray[np.float32]) -> NDArray[np.float32]:
        for w, b in hidden:
            x = np.tanh(x @ w + b) if activation == "tanh" else np.maximum(x @ w + b, 0.0)
        return x @ weight + bias

    return forward


def numpy_of(parameter: Tensor) -> NDArray[np.float32]:
    """Return a parameter's values."""
    return parameter.detach().cpu().numpy()

"""GPT-2's feed-forward layers on a CPU: a group of positions at a time, from one product to the next.

The widest activations of a model pass through here. torch's own kernel of the tanh form of GELU takes five
times as long as a sigmoid of the same numbers, once forward and once backward. Here

    gelu(u) = u * sigmoid(z),  z = 2 * sqrt(2 / pi) * (u + 0.044715 * u**3)

(Hendrycks and Gimpel 2016, arXiv 1606.08415; tanh(x) = 2 sigmoid(2 x) - 1) gives value and derivative at
once, while the numbers are still in the cache.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Positions of a group: enough for the full rate of a matrix product.
_POSITIONS = 512
_SLOPE, _CUBIC = 2.0 * math.sqrt(2.0 / math.pi), 0.044715


def feed_forward(x: Tensor, inner: tuple[Tensor, Tensor], outer: tuple[Tensor, Tensor]) -> Tensor:
    """Return ``gelu(x @ inner + bias) @ outer + bias``, ``[n, d]``, differentiable once.

    :param x: ``[n, d]``.
    :param inner: weight ``[d, f]`` and bias ``[f]``.
    :param outer: weight ``[f, d]`` and bias ``[d]``.
    """
    result: Tensor = _FeedForward.apply(x, *inner, *outer, torch.is_grad_enabled())
    return result


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        inner: Tensor,
        inner_bias: Tensor,
        outer: Tensor,
        outer_bias: Tensor,
        learning: bool,
    ) -> Tensor:
        """Return the layers' output; keep activations and derivatives only where gradients follow."""
        n, width = len(x), inner.shape[1]
        result = torch.empty_like(x)
        buffers = x.new_empty(3, min(n, _POSITIONS), width)
        active, slope = x.new_empty(2, n, width) if learning else (None, None)
        for rows in _groups(n):
            before, square, scratch = buffers[:, : rows.stop - rows.start]
            torch.addmm(inner_bias, x[rows], inner, out=before)
            value = before if active is None else active[rows]
            _gelu(before, value, None if slope is None else slope[rows], square, scratch)
            torch.addmm(outer_bias, value, outer, out=result[rows])
        ctx.save_for_backward(x, inner, outer, active, slope)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_result: Tensor) -> Any:
        """Return the gradients of ``x`` and of the four parameters."""
        x, inner, outer, active, slope = ctx.saved_tensors
        by_x, by_inner, by_outer = torch.empty_like(x), torch.zeros_like(inner), torch.zeros_like(outer)
        by_bias = inner.new_zeros(inner.shape[1])
        buffer = x.new_empty(min(len(x), _POSITIONS), inner.shape[1])
        for rows in _groups(len(x)):
            by_active = torch.mm(by_result[rows], outer.T, out=buffer[: rows.stop - rows.start])
            by_outer.addmm_(active[rows].T, by_result[rows])
            by_before = by_active.mul_(slope[rows])
            torch.mm(by_before, inner.T, out=by_x[rows])
            by_inner.addmm_(x[rows].T, by_before)
            by_bias += by_before.sum(0)
        return by_x, by_inner, by_bias, by_outer, by_result.sum(0), None


def _gelu(u: Tensor, value: Tensor, slope: Tensor | None, square: Tensor, scratch: Tensor) -> None:
    """Write GELU and, where it is wanted, its derivative; ``square`` and ``scratch`` are lost."""
    torch.mul(u, u, out=square)
    sigmoid = torch.addcmul(u, u, square, value=_CUBIC, out=scratch).mul_(_SLOPE).sigmoid_()
    torch.mul(u, sigmoid, out=value)
    if slope is not None:
        # sigmoid + u sigmoid (1 - sigmoid) dz/du
        by_u = square.mul_(3.0 * _CUBIC * _SLOPE).add_(_SLOPE)
        torch.addcmul(value, value, sigmoid, value=-1.0, out=slope)
        torch.addcmul(sigmoid, slope, by_u, out=slope)


def _groups(n: int) -> list[slice]:
    return [slice(start, min(n, start + _POSITIONS)) for start in range(0, n, _POSITIONS)]

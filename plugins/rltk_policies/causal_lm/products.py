"""Faster matrix products for acting on a CPU.

A decode step multiplies few rows by large weights. For such shapes oneDNN, which is part of torch, needs less
time than the library that torch takes for float32 by default, half as much for a large vocabulary; and it
adds a residual or applies an activation on the way. As for teacher forcing, both are alike there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Below this many hidden units its products are no faster, and it takes a while to prepare for each shape.
_FEWEST_UNITS = 256
#: How many rows oneDNN is to expect when it orders weights. It takes others too; in multiples of 8 none was
#: found for which it would order them anew.
_ROWS = 64


def use_onednn(model: PreTrainedModel) -> bool:
    """Return whether the linear layers of a model are faster in oneDNN when few rows go through them."""
    large = getattr(model.config, "hidden_size", 0) >= _FEWEST_UNITS
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return large and there and model.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def fast_products(
    model: PreTrainedModel, known: Mapping[Tensor, Product] | None = None
) -> AbstractContextManager[Any]:
    """Return a context in which the model's linear layers are computed in the fastest way; for inference.

    :param known: products that are there already, by the layers' own weights.
    """
    return _ThroughOneDNN(known or {}) if use_onednn(model) else nullcontext()


class Product:
    """A linear layer for acting, whose result can go on into something else.

    :param weight: ``[out, in]`` float32, of any strides.
    :param bias: ``[out]`` or None.
    :param onednn: whether oneDNN computes it. It then has a copy in its own order of weights that lie
        ``[out, in]`` in memory; with those that lie the other way round it is as fast as they are.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, onednn: bool) -> None:
        weight = weight.detach()
        reordered = onednn and weight.is_contiguous()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if reordered else weight
        self.bias, self.onednn = None if bias is None else bias.detach(), onednn

    def __call__(self, rows: Tensor) -> Tensor:
        """Return ``rows [n, in]`` times the weights."""
        return self._then(rows, "none") if self.onednn else F.linear(rows, self.weight, self.bias)

    def plus(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return the product added to ``others [n, out]``, which may be changed."""
        return self._with(rows, others, "add") if self.onednn else others.add_(self(rows))

    def times(self, rows: Tensor, others: Tensor) -> Tensor:
        """Return the product multiplied by ``others [n, out]``, which may be changed."""
        return self._with(rows, others, "mul") if self.onednn else others.mul_(self(rows))

    def silu(self, rows: Tensor) -> Tensor:
        """Return SiLU of the product."""
        return self._then(rows, "swish") if self.onednn else F.silu(self(rows), inplace=True)

    def gelu(self, rows: Tensor) -> Tensor:
        """Return GELU of the product, in its approximation by tanh."""
        if self.onednn:
            return self._then(rows, "gelu", "tanh")
        x = self(rows)
        # (1 + tanh u) / 2 is the sigmoid of 2u, which torch computes several times as fast
        return (x * x).mul_(2 * 0.7978845608 * 0.044715).add_(2 * 0.7978845608).mul_(x).sigmoid_().mul_(x)

    def _then(self, rows: Tensor, what: str, how: str = "") -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, what, [], how)
        return y

    def _with(self, rows: Tensor, others: Tensor, what: str) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, others, self.weight, self.bias, what)
        return y


class _ThroughOneDNN(TorchFunctionMode):
    """Sends linear layers to oneDNN, and everything else where it would go."""

    def __init__(self, known: Mapping[Tensor, Product]) -> None:
        super().__init__()
        self.known = known

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and not kwargs and _fits(args[0], args[1]):
            if args[1] in self.known:
                return self.known[args[1]](args[0])
            return _linear(args[0], args[1], args[2] if len(args) > 2 else None)
        # GPT-2's layers hold their weights the other way round
        if func is torch.addmm and not kwargs and args[0].dim() == 1 and _fits(args[1], args[2]):
            return _linear(args[1], args[2].t(), args[0])
        return func(*args, **(kwargs or {}))


def _fits(rows: Tensor, weight: Tensor) -> bool:
    return rows.dtype == weight.dtype == torch.float32 and rows.numel() > 0


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return product

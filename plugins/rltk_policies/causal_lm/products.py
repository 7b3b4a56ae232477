"""Faster matrix products for acting on a CPU.

A decode step multiplies few rows by large weights. For such shapes oneDNN, which is part of torch, needs
about a third less time than the library that torch takes for float32 by default, and half as much for a large
vocabulary; as for teacher forcing, both are alike there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

#: Below this many hidden units the products are as fast as ever, and looking at every call would cost more.
_FEWEST_UNITS = 512


def fast_products(model: PreTrainedModel) -> AbstractContextManager[Any]:
    """Return a context in which the model's linear layers are computed in the fastest way; for inference."""
    large = getattr(model.config, "hidden_size", 0) >= _FEWEST_UNITS
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if large and there and model.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
        return _ThroughOneDNN()
    return nullcontext()


class _ThroughOneDNN(TorchFunctionMode):
    """Sends linear layers to oneDNN, and everything else where it would go."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and not kwargs and _fits(args[0], args[1]):
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

"""The model's forward pass for acting, compiled by torch."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rltk.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def compile_trunk(model: PreTrainedModel) -> Callable[..., Any]:
    """Return a form of the model's trunk that compiles itself when it is called, for shapes of any size.

    Weights stay the model's own: it goes on being right when they are trained. On a GPU each size that comes
    up is recorded as a CUDA graph.

    :raises UserError: a CPU's code cannot be compiled here.
    """
    if model.device.type == "cpu":
        _require_compiler()
    mode = "reduce-overhead" if model.device.type == "cuda" else None
    compiled: Callable[..., Any] = torch.compile(model.base_model.forward, dynamic=True, mode=mode)
    return compiled


def keep_in_place(buffers: list[Tensor]) -> None:
    """Promise that buffers stay where they are, without which no CUDA graph writes into them."""
    for buffer in buffers:
        if buffer.is_cuda:
            torch._dynamo.mark_static_address(buffer)


def _require_compiler() -> None:
    """Look for the compiler that torch would call."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        fix = "install one, name it in the variable CXX, or leave compile: false"
        raise UserError("policy.compile", "there is no C++ compiler here", got=name, fix=fix)
